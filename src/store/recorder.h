/* SPDX-License-Identifier: MIT */
/*
 * The thread that commits what is recorded of bodies, so that nobody who writes one waits for that: many in one transaction, soon after the first of
 * them. Before that they are seen by all who ask (db_join()); a crash costs no more than those.
 */
#ifndef MAILFS_STORE_RECORDER_H
#define MAILFS_STORE_RECORDER_H

#include <pthread.h>
#include <stdbool.h>

struct store;

/* store->lock guards all of it. */
struct recorder {
	pthread_t thread;
	pthread_cond_t wake;
	bool started, stop;
	bool idle; /* it waits, and for no time */
};

/* Only of a cache. 0, or -ENOMEM. */
int recorder_start(struct store *store);
/* Ends it; what is gathered is committed. No-op for one that was not started. */
void recorder_stop(struct store *store);
/* There may be something for db_flush(). store->lock is held. */
void recorder_wake(struct store *store);

#endif
