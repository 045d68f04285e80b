/* SPDX-License-Identifier: MIT */
/* See recorder.h. It commits with store->lock held, which is why it does so before there is much: a commit syncs nothing. */
#include "recorder.h"

#include <errno.h>
#include <time.h>

#include "mailfs/util/thread.h"
#include "private.h"

/* What is gathered for so long, or has become so much, is committed. */
#define DELAY_MS 50
#define DUE      256

static struct timespec soon(void)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += DELAY_MS * 1000000;
	until.tv_sec += until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	return until;
}

/* Lets it become more. store->lock is held, and let go meanwhile. */
static void gather(struct store *store)
{
	struct recorder *recorder = &store->recorder;
	struct timespec until = soon();
	int err = 0;
	while (!recorder->stop && err == 0 && db_pending(&store->db) &&
		db_gathered(&store->db) < DUE)
		err = pthread_cond_timedwait(&recorder->wake, &store->lock, &until);
}

static void wait_for_work(struct store *store)
{
	struct recorder *recorder = &store->recorder;
	while (!recorder->stop && !db_pending(&store->db)) {
		recorder->idle = true;
		pthread_cond_wait(&recorder->wake, &store->lock);
	}
	recorder->idle = false;
}

static void *run(void *arg)
{
	struct store *store = arg;
	struct recorder *recorder = &store->recorder;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	while (!recorder->stop) {
		wait_for_work(store);
		gather(store);
		bool changed = db_gathered(&store->db) > 0;
		/* A failure is logged, and its bodies are fetched again. */
		(void)db_flush(&store->db);
		if (changed)
			usage_measure_database(store);
	}
	return NULL;
}

int recorder_start(struct store *store)
{
	if (store->kind != STORE_CACHE)
		return 0;
	cond_init_monotonic(&store->recorder.wake);
	store->recorder.started = thread_start(&store->recorder.thread, run, store) == 0;
	if (!store->recorder.started)
		pthread_cond_destroy(&store->recorder.wake);
	return store->recorder.started ? 0 : -ENOMEM;
}

void recorder_stop(struct store *store)
{
	struct recorder *recorder = &store->recorder;
	if (!recorder->started)
		return;
	pthread_mutex_lock(&store->lock);
	recorder->stop = true;
	pthread_cond_signal(&recorder->wake);
	pthread_mutex_unlock(&store->lock);
	pthread_join(recorder->thread, NULL);
	pthread_cond_destroy(&recorder->wake);
	recorder->started = false;
	(void)db_flush(&store->db);
}

void recorder_wake(struct store *store)
{
	struct recorder *recorder = &store->recorder;
	if (recorder->started && recorder->idle && db_pending(&store->db)) {
		recorder->idle = false;
		pthread_cond_signal(&recorder->wake);
	} else if (recorder->started && db_gathered(&store->db) == DUE) {
		pthread_cond_signal(&recorder->wake);
	}
}
