/* SPDX-License-Identifier: MIT */
/*
 * What lies between SQLite and the disk in a STORE_CACHE, so that a full disk stops nobody: a VFS that passes everything on,
 * until the write-ahead log can not be written. From that moment on no file is written any more, and what SQLite writes is in memory.
 */
#ifndef MAILFS_STORE_SPILL_H
#define MAILFS_STORE_SPILL_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "overlay.h"

#define SPILL_SHM_REGIONS 64

/* How much may be in memory. Tests lower it. */
extern uint64_t spill_limit_bytes;

struct spill_file;

/* Called in the middle of a write, by whoever writes, when the disk's files are frozen. */
typedef void spill_frozen_fn(void *arg);

struct spill {
	sqlite3_vfs vfs; /* its name is unique */
	sqlite3_vfs *base;
	char name[40];
	bool alone; /* from the opening on frozen; nothing is locked on the disk, and one connection only */
	spill_frozen_fn *fn;
	void *arg;
	atomic_bool frozen;
	int err;              /* what froze it: a positive errno */
	pthread_mutex_t lock; /* guards what follows; the last of all locks */
	struct overlay db, wal;
	struct spill_file *files;     /* that are open */
	void *shm[SPILL_SHM_REGIONS]; /* parts of the log's index that the disk did not take */
};

/* What the caller of SQLite has to know of a file. */
struct spill_file {
	sqlite3_file methods; /* first: SQLite knows no more of it */
	struct spill *spill;
	struct spill_file *next;
	struct overlay *overlay;
	const char *
		path; /* SQLite's own, which has parameters around it: no copy will do; valid until it is closed */
	bool read_only;
	sqlite3_file *base; /* behind this; NULL: not to be had */
};

/*
 * Registers the VFS. alone: nothing is written from the beginning (for a disk that was full before); then err says why. fn may be
 * NULL. spill stays where it is. 0, or a code of SQLite's.
 */
int spill_init(struct spill *spill, int alone_err, spill_frozen_fn *fn, void *arg);
/* After all connections were closed. No-op for one that was not registered. */
void spill_finish(struct spill *spill);

/* Whether nothing is written to the disk. Blocks: never. */
static inline bool spill_frozen(const struct spill *spill)
{
	return atomic_load_explicit(&spill->frozen, memory_order_acquire);
}

/* A positive errno if what has just failed with a code of SQLite's did so because nothing can be written: ENOSPC, EDQUOT, EFBIG, EROFS; else 0. */
int spill_errno(int rc);

/* One that is open, of the database or of its log; NULL: none is. spill->lock is held. */
struct spill_file *spill_find_file(struct spill *spill, const struct overlay *overlay);
/* How much room it takes to write back what is in memory. */
uint64_t spill_need_bytes(struct spill *spill);
/*
 * Writes back what is in memory, and goes on with the disk. handle: the connection that writes; no transaction is begun, no
 * statement used, and no other connection does anything meanwhile. A failure leaves everything in memory, and the disk as it was or as it
 * shall be. 0, or a negative errno. Blocks: disk.
 */
int spill_thaw(struct spill *spill, sqlite3 *handle);

#endif
