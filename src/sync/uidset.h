/* SPDX-License-Identifier: MIT */
/*
 * A set of UIDs: ranges for those that come in ascending order, as nearly all do, and for the others a hash table with a seed of its own,
 * because it is a server that chooses the UIDs.
 */
#ifndef SYNC_UIDSET_H
#define SYNC_UIDSET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uid_run {
	uint32_t first, last;
};

struct uid_set {
	size_t count;
	struct uid_run *ranges; /* ascending, with gaps between them */
	size_t range_count, range_cap;
	uint32_t *slots; /* 0: empty; none of what lies in a range */
	size_t cap;      /* a power of two */
	size_t slot_count;
	uint64_t seed;
};

void uid_set_finish(struct uid_set *set);
/* 1: added; 0: it was there; -ENOMEM. uid is not 0. */
int uid_set_add(struct uid_set *set, uint32_t uid);
bool uid_set_has(const struct uid_set *set, uint32_t uid);

#endif
