/* SPDX-License-Identifier: MIT */
/*
 * Keeping the limit: bodies go in the order of their use, the one that was used longest ago first; never a pinned or an open
 * one. Files go before rows, as in remove.c.
 */
#ifndef MAILFS_STORE_EVICT_H
#define MAILFS_STORE_EVICT_H

#include <stdbool.h>
#include <stdint.h>

struct store;

/* Takes room for so many bytes before they are written, and evicts for it. -EDQUOT: there is none. No lock is held. */
int evict_reserve(struct store *store, uint64_t bytes);
/* Evicts some of what is over the limit; 1: there is more; 0: there is not, or nobody is left who may go. store->lock is held. */
int evict_over_limit(struct store *store);
/* The disk is full: evicts to free so many bytes, and some more. Whether something went. No lock is held. */
bool evict_for_disk(struct store *store, uint64_t bytes);

#endif
