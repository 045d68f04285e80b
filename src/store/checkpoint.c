/* SPDX-License-Identifier: MIT */
/*
 * Checkpoints beside the work. A checkpoint syncs the log, copies its pages and syncs the database, which takes as long
 * as the disk takes to write everything else that is dirty as well, such as bodies that were just fetched. A passive
 * checkpoint from a second connection stops neither readers nor the writer.
 *
 * Its limit: while the writer never pauses, the log is never copied to its end, and so never begun anew. Beyond
 * 64 MiB the writer therefore does what is left itself.
 */
#include "checkpoint.h"

#include <signal.h>

#include "mailfs/util/cleanup.h"

#define DUE_PAGES   1024
#define LIMIT_PAGES 16384

/* Runs in the writer, with the store's lock, after each commit. */
static int committed(void *arg, sqlite3 *writer, const char *name, int pages)
{
	struct checkpoint *checkpoint = arg;
	if (pages >= LIMIT_PAGES)
		sqlite3_wal_checkpoint_v2(writer, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	if (pages < checkpoint->pages)
		checkpoint->pages = 0; /* the log was begun anew */
	if (pages - checkpoint->pages >= DUE_PAGES) {
		checkpoint->pages = pages;
		_cleanup_unlock_ pthread_mutex_t *guard = lock(&checkpoint->lock);
		checkpoint->due = true;
		pthread_cond_signal(&checkpoint->wake);
	}
	return SQLITE_OK;
}

/* Waits until there is something to do; false: stop. */
static bool wait_until_due(struct checkpoint *checkpoint)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&checkpoint->lock);
	while (!checkpoint->due && !checkpoint->stop)
		pthread_cond_wait(&checkpoint->wake, &checkpoint->lock);
	checkpoint->due = false;
	return !checkpoint->stop;
}

/* A failure is not told: the writer meets the same disk, and the log loses nothing. */
static void *run(void *arg)
{
	struct checkpoint *checkpoint = arg;
	while (wait_until_due(checkpoint))
		sqlite3_wal_checkpoint_v2(
			checkpoint->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	return NULL;
}

/* Signals are for the thread that waits for requests, not for this one. */
static int start_thread(struct checkpoint *checkpoint)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int err = pthread_create(&checkpoint->thread, NULL, run, checkpoint);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return err;
}

int checkpoint_start(struct checkpoint *checkpoint, const char *path, sqlite3 *writer)
{
	*checkpoint = (struct checkpoint){0};
	int rc = sqlite3_open_v2(path, &checkpoint->handle,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
	/* Reads the header: a connection that has not yet seen the log would check nothing in. */
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(checkpoint->handle,
			"PRAGMA synchronous=NORMAL; PRAGMA schema_version", NULL, NULL, NULL);
	if (rc != SQLITE_OK) {
		sqlite3_close(checkpoint->handle);
		return rc;
	}
	pthread_mutex_init(&checkpoint->lock, NULL);
	pthread_cond_init(&checkpoint->wake, NULL);
	checkpoint->started = start_thread(checkpoint) == 0;
	if (!checkpoint->started) {
		sqlite3_close(checkpoint->handle);
		return SQLITE_NOMEM;
	}
	sqlite3_wal_hook(writer, committed, checkpoint);
	return SQLITE_OK;
}

void checkpoint_stop(struct checkpoint *checkpoint)
{
	if (!checkpoint->started)
		return;
	pthread_mutex_lock(&checkpoint->lock);
	checkpoint->stop = true;
	pthread_cond_signal(&checkpoint->wake);
	pthread_mutex_unlock(&checkpoint->lock);
	pthread_join(checkpoint->thread, NULL);
	sqlite3_close(checkpoint->handle);
	pthread_cond_destroy(&checkpoint->wake);
	pthread_mutex_destroy(&checkpoint->lock);
	checkpoint->started = false;
}
