/* SPDX-License-Identifier: MIT */
/*
 * The thread of a cache that does what nobody is to wait for: counts the bodies of earlier mounts, removes files that a killed process has
 * left, writes which bodies were used.
 */
#ifndef MAILFS_STORE_KEEPER_H
#define MAILFS_STORE_KEEPER_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct store;

struct keeper {
	bool started;
	pthread_t thread;
	pthread_cond_t wake;
	atomic_bool stop;
	/* store->lock guards what follows. */
	bool sweep; /* there may be files that nothing is recorded of */
	bool trim;  /* there may be more than the limit allows */
};

/* Starts it; no-op for a spool. store stays where it is. 0, or -ENOMEM. */
int keeper_start(struct store *store);
/* Ends it after what it is at, no lock is held; no-op when it was not started. */
void keeper_stop(struct store *store);
/* There is something to do. store->lock is held. */
void keeper_wake(struct store *store);

#endif
