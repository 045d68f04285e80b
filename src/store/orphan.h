/* SPDX-License-Identifier: MIT */
/*
 * Files below bodies/ of a cache that nothing is recorded of: a killed process left them, or the loss of power. They are looked for
 * after an end that was not store_close().
 */
#ifndef MAILFS_STORE_ORPHAN_H
#define MAILFS_STORE_ORPHAN_H

#include <stdbool.h>

struct store;

/* Whether there may be any. store->lock is held. */
bool orphan_due(const struct store *store);
/* Removes them, if there may be any; ends early when the keeper is to stop. No lock is held. */
void orphan_sweep(struct store *store);

#endif
