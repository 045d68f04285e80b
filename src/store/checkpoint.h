/* SPDX-License-Identifier: MIT */
/* A thread that moves what was committed from the write-ahead log into the database, so that nobody waits for its fsyncs. */
#ifndef MAILFS_STORE_CHECKPOINT_H
#define MAILFS_STORE_CHECKPOINT_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdbool.h>

struct checkpoint {
	sqlite3 *handle; /* the thread's own */
	bool started;
	int pages; /* of the log when the thread was last woken; guarded by the caller, as writer is */
	pthread_t thread;
	pthread_mutex_t lock; /* guards due and stop; the last of all locks */
	pthread_cond_t wake;
	bool due, stop;
};

/*
 * Starts the thread for the database at path that writer has open, and takes writer's automatic checkpoints over.
 * checkpoint stays where it is. SQLITE_OK, or the code of what failed.
 */
int checkpoint_start(struct checkpoint *checkpoint, const char *path, sqlite3 *writer);
/* Ends the thread; before writer is closed. No-op when it was not started. */
void checkpoint_stop(struct checkpoint *checkpoint);

#endif
