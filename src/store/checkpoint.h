/* SPDX-License-Identifier: MIT */
/*
 * A thread that moves what was committed from the write-ahead log into the database, so that nobody waits for its fsyncs; and
 * that looks after a full disk.
 */
#ifndef MAILFS_STORE_CHECKPOINT_H
#define MAILFS_STORE_CHECKPOINT_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>

struct spill;

/* Called while nothing can be written: at once, and then every minute. No lock is held. */
typedef void checkpoint_full_fn(void *arg);

struct checkpoint_params {
	const char *path, *vfs; /* of the database; vfs NULL: the system's */
	sqlite3 *writer;
	struct spill *spill; /* NULL: none */
	checkpoint_full_fn *full;
	void *arg;
};

struct checkpoint {
	sqlite3 *handle; /* the thread's own; NULL: the writer alone has the database */
	struct spill *spill;
	checkpoint_full_fn *full;
	void *arg;
	bool started;
	int pages; /* of the log when the thread was last woken; guarded by the caller, as writer is */
	pthread_t thread;
	pthread_mutex_t lock; /* guards due and stop; the last of all locks */
	pthread_cond_t wake;
	bool due, stop;
};

/*
 * Starts the thread for the database that writer has open, and takes writer's automatic checkpoints over.
 * checkpoint stays where it is. SQLITE_OK, or the code of what failed.
 */
int checkpoint_start(struct checkpoint *checkpoint, const struct checkpoint_params *params);
/* There is something to do: nothing can be written any more. Any thread, with any lock. Blocks: never. */
void checkpoint_wake(struct checkpoint *checkpoint);
/* Ends the thread; before writer is closed. No-op when it was not started. */
void checkpoint_stop(struct checkpoint *checkpoint);

#endif
