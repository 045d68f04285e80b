/* SPDX-License-Identifier: MIT */
/*
 * What is higher than all before goes into the last range or begins another one; what is not into a table: open addressing with linear probing,
 * at most half full. Nothing is ever removed: a set lives as long as one listing.
 */
#include "uidset.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "mailfs/util/str.h"
#include "mailfs/util/hash.h"

#define CAP_MIN 64

void uid_set_finish(struct uid_set *set)
{
	free(set->ranges);
	free(set->slots);
	*set = (struct uid_set){0};
}

/* The slot that holds uid, or the empty one where it belongs. */
static size_t slot_of(const struct uid_set *set, uint32_t uid)
{
	size_t i = hash64_finish(set->seed ^ uid) & (set->cap - 1);
	while (set->slots[i] != 0 && set->slots[i] != uid)
		i = (i + 1) & (set->cap - 1);
	return i;
}

static int grow(struct uid_set *set)
{
	struct uid_set larger = *set;
	larger.cap = set->cap ? set->cap * 2 : CAP_MIN;
	if (!set->slots && getrandom(&larger.seed, sizeof(larger.seed), GRND_NONBLOCK) < 0)
		larger.seed =
			(uintptr_t)set; /* early boot: any seed works, this one is guessable */
	larger.slots = calloc(larger.cap, sizeof(*larger.slots));
	if (!larger.slots)
		return -ENOMEM;
	for (size_t i = 0; i < set->cap; i++)
		if (set->slots[i])
			larger.slots[slot_of(&larger, set->slots[i])] = set->slots[i];
	free(set->slots);
	*set = larger;
	return 0;
}

static int table_add(struct uid_set *set, uint32_t uid)
{
	if (set->slot_count * 2 >= set->cap && grow(set) < 0)
		return -ENOMEM;
	size_t slot = slot_of(set, uid);
	if (set->slots[slot])
		return 0;
	set->slots[slot] = uid;
	set->slot_count++;
	set->count++;
	return 1;
}

static int ranges_add(struct uid_set *set, uint32_t uid)
{
	struct uid_run *last = set->range_count ? &set->ranges[set->range_count - 1] : NULL;
	if (last && last->last + 1 == uid) {
		last->last = uid;
	} else {
		int err = array_grow(
			&set->ranges, &set->range_cap, set->range_count + 1, sizeof(*set->ranges));
		if (err < 0)
			return err;
		set->ranges[set->range_count++] = (struct uid_run){uid, uid};
	}
	set->count++;
	return 1;
}

static bool ranges_have(const struct uid_set *set, uint32_t uid)
{
	size_t low = 0, high = set->range_count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (set->ranges[mid].last < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low < set->range_count && set->ranges[low].first <= uid;
}

static bool is_next(const struct uid_set *set, uint32_t uid)
{
	return set->range_count == 0 || uid > set->ranges[set->range_count - 1].last;
}

int uid_set_add(struct uid_set *set, uint32_t uid)
{
	if (is_next(set, uid))
		return ranges_add(set, uid);
	return ranges_have(set, uid) ? 0 : table_add(set, uid);
}

bool uid_set_has(const struct uid_set *set, uint32_t uid)
{
	return ranges_have(set, uid) || (set->cap && set->slots[slot_of(set, uid)] != 0);
}
