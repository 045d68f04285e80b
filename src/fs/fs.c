/* SPDX-License-Identifier: MIT */
/*
 * The session: made, mounted, served, ended. The operations are in entry.c, announce.c, dir.c,
 * file.c and refuse.c; how they wait is in op.c.
 *
 * libfuse's threads never wait for the network, so ten of them are enough for any number of
 * readers.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/log.h"

#include "capture.h"
#include "private.h"
#include "signals.h"

#define IDLE_THREADS 10
/* Beyond the time-out of an operation that the herald may wait behind. */
#define HERALD_PATIENCE_MS 5000

/* --- The session with the kernel --- */

static void want(struct fuse_conn_info *conn, unsigned capability, bool wanted)
{
	if (wanted && conn->capable & capability)
		conn->want |= capability;
	else
		conn->want &= ~capability;
}

static void fs_op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct fs *fs = userdata;
	/*
	 * Always: an entry costs us nothing more with its attributes, and saves a lookup each to
	 * whoever reads names first and stats later.
	 */
	want(conn, FUSE_CAP_READDIRPLUS, true);
	want(conn, FUSE_CAP_READDIRPLUS_AUTO, false);
	want(conn, FUSE_CAP_PARALLEL_DIROPS, true);
	want(conn, FUSE_CAP_ASYNC_READ, true);
	want(conn, FUSE_CAP_AUTO_INVAL_DATA, false);
	want(conn, FUSE_CAP_EXPLICIT_INVAL_DATA, true);
	/* What nothing can be written to needs no open. Who opens to truncate is to hear that it can not be done. */
	fs->no_open = tree_is_readonly(fs->tree) && conn->capable & FUSE_CAP_NO_OPEN_SUPPORT;
	want(conn, FUSE_CAP_ATOMIC_O_TRUNC, !fs->no_open);
}

static struct fuse_lowlevel_ops operations(void)
{
	struct fuse_lowlevel_ops ops = {
		.init = fs_op_init,
		.lookup = fs_op_lookup,
		.mknod = fs_op_mknod,
		.mkdir = fs_op_mkdir,
		.unlink = fs_op_unlink,
		.rmdir = fs_op_rmdir,
		.forget = fs_op_forget,
		.forget_multi = fs_op_forget_multi,
		.getattr = fs_op_getattr,
		.statfs = fs_op_statfs,
		.getxattr = fs_op_getxattr,
		.listxattr = fs_op_listxattr,
		.opendir = fs_op_opendir,
		.readdir = fs_op_readdir,
		.readdirplus = fs_op_readdirplus,
		.releasedir = fs_op_releasedir,
		.open = fs_op_open,
		.read = fs_op_read,
		.release = fs_op_release,
	};
	refuse_changes(&ops);
	return ops;
}

/* --- What the tree tells --- */

static void tree_attributes_changed(void *arg, uint64_t node)
{
	notify_attributes(arg, node);
}

/*
 * Reads that are answered before that is done end too early for what the kernel has been told: it would not believe a short answer.
 */
static void tree_contents_changed(void *arg, uint64_t node)
{
	files_told(container_of(arg, struct fs, notify), node, UINT64_MAX);
	notify_inode(arg, node);
}

static void tree_directory_changed(void *arg, uint64_t node)
{
	notify_inode(arg, node);
}

static void tree_entry_gone(void *arg, uint64_t parent, const char *name)
{
	notify_entry(arg, parent, name);
}

static void tree_entry_appeared(void *arg, uint64_t parent, const char *name, bool directory)
{
	notify_event(arg,
		&(struct herald_event){.kind = directory ? HERALD_DIRECTORY_NEW : HERALD_FILE_NEW,
			.parent = parent,
			.name = name});
}

static void tree_entry_disappeared(
	void *arg, uint64_t parent, const char *name, uint64_t node, bool directory)
{
	/* Who reads it from now on is told so. */
	if (!directory)
		files_drop(container_of(arg, struct fs, notify), node);
	notify_event(arg,
		&(struct herald_event){.kind = directory ? HERALD_DIRECTORY_GONE : HERALD_FILE_GONE,
			.parent = parent,
			.node = node,
			.name = name});
}

/* --- Life --- */

static void fs_freep(struct fs **fs)
{
	if (!*fs)
		return;
	if ((*fs)->session)
		fuse_session_destroy((*fs)->session);
	free(*fs);
}

int fs_create(const struct fs_params *params, struct fs **ret, struct str *why)
{
	_cleanup_(fs_freep) struct fs *fs = calloc(1, sizeof(*fs));
	if (!fs)
		return -ENOMEM;
	fs->tree = params->tree;
	fs->account = tree_account(params->tree);
	fs->herald = params->herald;
	fs->timeout_ms = params->timeout_ms;
	pthread_mutex_init(&fs->open_lock, NULL);
	list_init(&fs->open_dirs);
	capture_libfuse_log();
	fs->mount = params->mount;
	fs->unmount = params->unmount;
	fs->mount_arg = params->mount_arg;
	struct fuse_lowlevel_ops ops = operations();
	fs->session = mount_session(params, &ops, fs);
	if (!fs->session) {
		str_append_cstr(why, "libfuse does not take the mount options");
		return -EINVAL;
	}
	int r = files_init(&fs->files, tree_is_readonly(fs->tree));
	int told = notify_init(&fs->notify, fs->session, fs->herald);
	fs->notify.account = fs->account;
	if (r == 0)
		r = told;
	if (r < 0) {
		notify_finish(&fs->notify);
		files_finish(&fs->files);
		str_printf(why, "no thread can be started: %s", strerror(-r));
		return r;
	}
	fs->observer = (struct tree_observer){
		.arg = &fs->notify,
		.attributes = tree_attributes_changed,
		.directory = tree_directory_changed,
		.contents = tree_contents_changed,
		.gone = tree_entry_gone,
		.appeared = tree_entry_appeared,
		.disappeared = tree_entry_disappeared,
	};
	*ret = steal_ptr(fs);
	return 0;
}

int fs_mount(struct fs *fs, const char *mountpoint, struct str *why)
{
	int r = signals_init(fs);
	if (r < 0) {
		str_printf(why, "no thread can be started: %s", strerror(-r));
		return r;
	}
	r = fs->mount ? mount_by_other(fs, why) : mount_here(fs, mountpoint, why);
	if (r < 0) {
		signals_finish();
		return r;
	}
	dirops_make_parallel(fs->session);
	fs->mounted = true;
	r = herald_attach(fs->herald, fs->tree, mountpoint, fs->timeout_ms + HERALD_PATIENCE_MS);
	if (r < 0)
		log_info("inotify can not be told of changes: %s", strerror(-r));
	tree_set_observer(fs->tree, &fs->observer);
	return 0;
}

int fs_loop(struct fs *fs)
{
	struct fuse_loop_config config = {.clone_fd = 0, .max_idle_threads = IDLE_THREADS};
	signals_loop_begin();
	int r = fuse_session_loop_mt(fs->session, &config);
	signals_loop_end();
	notify_quiesce(&fs->notify, 0);
	herald_kill(fs->herald); /* what it asks now is answered by nobody */
	/* ECONNABORTED: the kernel has ended the connection; seen, very rarely, instead of ENODEV, at an unmount right after the mount. */
	return r < 0 && r != -ECONNABORTED ? -EIO : 0;
}

void fs_destroy(struct fs *fs)
{
	if (!fs)
		return;
	tree_set_observer(fs->tree, NULL);
	herald_kill(fs->herald);
	notify_finish(&fs->notify);
	if (fs->mounted && !fs->unmount)
		fuse_session_unmount(fs->session);
	if (fs->mounted)
		signals_finish();
	files_finish(&fs->files);
	dirs_close(fs);
	mount_end(fs);
	pthread_mutex_destroy(&fs->open_lock);
	free(fs);
}

const char *fs_fuse_version(void)
{
	return fuse_pkgversion();
}
