/* SPDX-License-Identifier: MIT */
/* What the files of the FUSE side share. */
#ifndef MAILFS_FS_PRIVATE_H
#define MAILFS_FS_PRIVATE_H

#define FUSE_USE_VERSION 35

#include <fuse_lowlevel.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "mailfs/fs.h"
#include "mailfs/tree.h"
#include "mailfs/util/list.h"

#include "files.h"
#include "herald.h"
#include "notify.h"

/* Every change is announced, so that the kernel may keep what it knows. */
#define KEEP_SECONDS 86400.0

struct fs {
	struct tree *tree;
	struct sync_account *account;
	struct fuse_session *session;
	struct tree_observer observer;
	struct notify notify;
	struct fs_herald *herald; /* NULL: none */
	int timeout_ms;
	bool mounted;
	int (*mount)(void *arg, struct str *why); /* by another process; NULL: by libfuse, here */
	void (*unmount)(void *arg);
	void *mount_arg;
	bool no_open; /* the kernel need not open files to read them; set before the first of them */
	struct files files;
	pthread_mutex_t open_lock;
	struct list_node open_dirs; /* guarded by open_lock */
};

static inline struct fs *fs_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* How long the kernel may keep attributes: not at all while the size is not exact. */
static inline double attr_timeout(const struct tree_entry *entry)
{
	return entry->provisional ? 0 : KEEP_SECONDS;
}
struct fuse_entry_param entry_param(const struct tree_entry *entry);

/* --- entry.c: valid replies are those that fuse_lowlevel.h names for each --- */
void fs_op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_op_forget(fuse_req_t req, fuse_ino_t node, uint64_t count);
void fs_op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets);
void fs_op_getattr(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void fs_op_statfs(fuse_req_t req, fuse_ino_t node);
void fs_op_getxattr(fuse_req_t req, fuse_ino_t node, const char *name, size_t size);
void fs_op_listxattr(fuse_req_t req, fuse_ino_t node, size_t size);
/* --- announce.c --- */
/* Whether it was the herald's, which is answered. */
bool announce_lookup(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev);
void fs_op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode);
void fs_op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name);
void fs_op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name);
/* --- dir.c --- */
/* Closes what is still open when the mount has ended: no release comes any more. */
void dirs_close(struct fs *fs);
void fs_op_opendir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void fs_op_readdir(
	fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *fi);
void fs_op_readdirplus(
	fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *fi);
void fs_op_releasedir(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
/* --- file.c --- */
/* The reads of file, which are not answered, are told of a size. */
void file_told(struct fs_file *file, uint64_t size_bytes);
void fs_op_open(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
void fs_op_read(
	fuse_req_t req, fuse_ino_t node, size_t size, off_t offset, struct fuse_file_info *fi);
void fs_op_release(fuse_req_t req, fuse_ino_t node, struct fuse_file_info *fi);
/* --- dirops.c: after the mount, before the loop --- */
void dirops_make_parallel(struct fuse_session *session);
/* --- mount.c: options for libfuse; its session on the mount point, with what it said in why; and that taken down again --- */
struct fuse_session *mount_session(
	const struct fs_params *params, const struct fuse_lowlevel_ops *ops, void *userdata);
int mount_here(struct fs *fs, const char *mountpoint, struct str *why);
int mount_by_other(struct fs *fs, struct str *why);
/* Ends the session, too. */
void mount_end(struct fs *fs);
/* --- refuse.c: adds what would change something --- */
void refuse_changes(struct fuse_lowlevel_ops *ops);

#endif
