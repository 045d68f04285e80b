/* SPDX-License-Identifier: MIT */
/* The files that are open, or are read without being open: see files.c. */
#ifndef MAILFS_FS_FILES_H
#define MAILFS_FS_FILES_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailfs/tree.h"
#include "mailfs/util/list.h"

#define FILES_BUCKETS  256
#define FILES_KEPT_MAX 128 /* fewer where the process may have few descriptors */
#define FILES_IDLE_MS  1000

struct fs;

/* An open file, as the kernel's handle; or one that is read by its node. */
struct fs_file {
	struct list_node bucket; /* among those of the same hash; guarded by files.lock */
	struct list_node kept;   /* in files.kept; alone: the kernel has opened it */
	int64_t used_ms;         /* monotonic; guarded by files.lock */
	struct fs *fs;
	_Atomic(struct tree_file *) file; /* NULL: nobody has read yet */
	uint64_t inode;
	bool by_node;                 /* not opened by the kernel */
	atomic_uint references;       /* the kernel's or the table's, and one for each read */
	atomic_llong silent_until_ms; /* monotonic: reads fail at once until then */
	pthread_mutex_t lock;
	struct list_node running; /* reads that are not answered, but for those kept back */
	struct list_node
		late; /* empty answers that are kept back; each has a reference to its op */
};

struct files {
	pthread_mutex_t lock;
	struct list_node buckets[FILES_BUCKETS];
	struct list_node kept; /* those by node, the one that was read longest ago first */
	size_t kept_count, kept_max;
	atomic_uint reading; /* reads that are not answered */
	pthread_cond_t changed;
	pthread_t thread;
	bool running, ending;
};

/* closer: starts the thread that closes what is idle. -EAGAIN, -ENOMEM. */
int files_init(struct files *files, bool closer);
/* When the mount has ended: no release comes any more, and all reads are answered. */
void files_finish(struct files *files);

/* Takes file, which the kernel has opened. NULL: there is no memory. */
struct fs_file *files_add(struct fs *fs, struct tree_file *file, uint64_t inode);
/* The file that is read by that node, not opened yet if it is new. It is to be given back with files_unref(). NULL: no memory. */
struct fs_file *files_get(struct fs *fs, uint64_t inode);
/* What is read by that node is something else from now on, or nothing. */
void files_drop(struct fs *fs, uint64_t inode);
void files_unref(struct fs_file *file);
/* Closes what was not read for a while, or is too much. */
void files_trim(struct files *files);

/* The kernel is about to be told that the file has so many bytes. */
void files_told(struct fs *fs, uint64_t node, uint64_t size_bytes);

/* The attributes of a node that is open; false: it is not. */
bool files_attributes(struct fs *fs, uint64_t node, struct tree_entry *ret);
/* What is open is what it was when it was opened. */
void files_correct(struct fs *fs, struct tree_entry *entry);

#endif
