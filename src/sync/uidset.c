/* SPDX-License-Identifier: MIT */
/*
 * Open addressing with linear probing, at most half full. Nothing is ever removed: a set lives as long as one
 * listing.
 */
#include "uidset.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include "mailfs/util/hash.h"

#define CAP_MIN 64

void uid_set_finish(struct uid_set *set)
{
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
	struct uid_set larger = {
		.cap = set->cap ? set->cap * 2 : CAP_MIN, .count = set->count, .seed = set->seed};
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

int uid_set_add(struct uid_set *set, uint32_t uid)
{
	if (set->count * 2 >= set->cap && grow(set) < 0)
		return -ENOMEM;
	size_t slot = slot_of(set, uid);
	if (set->slots[slot])
		return 0;
	set->slots[slot] = uid;
	set->count++;
	return 1;
}

bool uid_set_has(const struct uid_set *set, uint32_t uid)
{
	return set->cap && set->slots[slot_of(set, uid)] != 0;
}
