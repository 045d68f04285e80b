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

#include <time.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/thread.h"
#include "spill.h"

#define DUE_PAGES    1024
#define LIMIT_PAGES  16384
#define MEMORY_PAGES 256
/* How often room is looked for on a full disk. */
#define FULL_SECONDS 60

static bool is_full(const struct checkpoint *checkpoint)
{
	return checkpoint->spill && spill_frozen(checkpoint->spill);
}

/* Runs in the writer, with the store's lock, after each commit. */
static int committed(void *arg, sqlite3 *writer, const char *name, int pages)
{
	struct checkpoint *checkpoint = arg;
	/* In memory there is no fsync to wait for, and no room for a long log. */
	int limit = is_full(checkpoint)  ? MEMORY_PAGES
	            : checkpoint->handle ? LIMIT_PAGES
	                                 : DUE_PAGES;
	if (pages >= limit)
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

void checkpoint_wake(struct checkpoint *checkpoint)
{
	if (!checkpoint->started)
		return;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&checkpoint->lock);
	checkpoint->due = true;
	pthread_cond_signal(&checkpoint->wake);
}

/* Waits for a signal, on a full disk no longer than until it is time to look; false: it is. */
static bool wait_for_signal(struct checkpoint *checkpoint)
{
	if (!is_full(checkpoint)) {
		pthread_cond_wait(&checkpoint->wake, &checkpoint->lock);
		return true;
	}
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += FULL_SECONDS;
	return pthread_cond_timedwait(&checkpoint->wake, &checkpoint->lock, &until) == 0;
}

/* Waits until there is something to do; false: stop. */
static bool wait_until_due(struct checkpoint *checkpoint)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&checkpoint->lock);
	while (!checkpoint->due && !checkpoint->stop && wait_for_signal(checkpoint))
		;
	checkpoint->due = false;
	return !checkpoint->stop;
}

/* A failure is not told: the writer meets the same disk, and the log loses nothing. */
static void *run(void *arg)
{
	struct checkpoint *checkpoint = arg;
	while (wait_until_due(checkpoint))
		if (is_full(checkpoint))
			checkpoint->full(checkpoint->arg);
		else if (checkpoint->handle)
			sqlite3_wal_checkpoint_v2(
				checkpoint->handle, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	return NULL;
}

static int open_handle(struct checkpoint *checkpoint, const struct checkpoint_params *params)
{
	if (params->spill && params->spill->alone)
		return SQLITE_OK;
	int rc = sqlite3_open_v2(params->path, &checkpoint->handle,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX |
			SQLITE_OPEN_EXRESCODE,
		params->vfs);
	/* Reads the header: a connection that has not yet seen the log would check nothing in. */
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(checkpoint->handle,
			"PRAGMA synchronous=NORMAL; PRAGMA schema_version", NULL, NULL, NULL);
	return rc;
}

int checkpoint_start(struct checkpoint *checkpoint, const struct checkpoint_params *params)
{
	*checkpoint = (struct checkpoint){
		.spill = params->spill, .full = params->full, .arg = params->arg};
	int rc = open_handle(checkpoint, params);
	if (rc == SQLITE_OK) {
		pthread_mutex_init(&checkpoint->lock, NULL);
		cond_init_monotonic(&checkpoint->wake);
		/* It may have become full while the database was opened. */
		checkpoint->due = is_full(checkpoint);
		checkpoint->started = thread_start(&checkpoint->thread, run, checkpoint) == 0;
		rc = checkpoint->started ? SQLITE_OK : SQLITE_NOMEM;
	}
	if (rc != SQLITE_OK) {
		sqlite3_close(checkpoint->handle);
		return rc;
	}
	sqlite3_wal_hook(params->writer, committed, checkpoint);
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
