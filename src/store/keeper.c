/* SPDX-License-Identifier: MIT */
/* See keeper.h. It takes the lock for some rows or files at a time, and leaves it to others in between. */
#include "keeper.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "evict.h"
#include "mailfs/util/log.h"
#include "mailfs/util/thread.h"
#include "orphan.h"
#include "private.h"

/* A lock that is let go and taken again at once is had by nobody else. */
static void pause_for_others(void)
{
	nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

static bool is_idle(struct store *store)
{
	return atomic_load(&store->usage.settled) && !store->keeper.trim && !orphan_due(store) &&
	       !usage_touched_due(store);
}

static void wait_for_work(struct store *store)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	while (!atomic_load(&store->keeper.stop) && is_idle(store))
		pthread_cond_wait(&store->keeper.wake, &store->lock);
}

/* One step of what is done under the lock; true: there is more. */
static bool step(struct store *store)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	if (!atomic_load(&store->usage.settled))
		usage_count(store);
	else if (store->keeper.trim)
		store->keeper.trim = evict_over_limit(store) > 0;
	else if (usage_touched_due(store))
		usage_write_some_touched(store);
	else
		return false;
	return true;
}

static void *run(void *arg)
{
	struct store *store = arg;
	while (!atomic_load(&store->keeper.stop)) {
		wait_for_work(store);
		while (!atomic_load(&store->keeper.stop) && step(store))
			pause_for_others();
		orphan_sweep(store);
	}
	return NULL;
}

int keeper_start(struct store *store)
{
	if (store->kind != STORE_CACHE)
		return 0;
	pthread_cond_init(&store->keeper.wake, NULL);
	store->keeper.started = thread_start(&store->keeper.thread, run, store) == 0;
	if (!store->keeper.started)
		pthread_cond_destroy(&store->keeper.wake);
	return store->keeper.started ? 0 : -ENOMEM;
}

/* Who finds no pid in the lock file when it gets it knows that the owner before it came to this point. */
static void leave_clean(struct store *store)
{
	if (!store->keeper.sweep && ftruncate(store->lock_fd, 0) < 0)
		log_debug("store: the lock file: %s", strerror(errno));
}

void keeper_stop(struct store *store)
{
	struct keeper *keeper = &store->keeper;
	if (!keeper->started)
		return;
	pthread_mutex_lock(&store->lock);
	atomic_store(&keeper->stop, true);
	pthread_cond_signal(&keeper->wake);
	pthread_mutex_unlock(&store->lock);
	pthread_join(keeper->thread, NULL);
	pthread_cond_destroy(&keeper->wake);
	keeper->started = false;
	pthread_mutex_lock(&store->lock);
	usage_write_touched(store);
	pthread_mutex_unlock(&store->lock);
	leave_clean(store);
}

void keeper_wake(struct store *store)
{
	if (store->kind == STORE_CACHE)
		pthread_cond_signal(&store->keeper.wake);
}
