/* SPDX-License-Identifier: MIT */
/*
 * A set of byte ranges: which bytes of a body are here. Ranges are kept ascending and apart, neither
 * overlapping nor touching. Pure: no lock, no disk. Finding is O(log n), adding O(n) in the worst case.
 */
#ifndef MAILFS_STORE_RANGES_H
#define MAILFS_STORE_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailfs/util/str.h"

struct range {
	uint64_t start, end; /* start < end; end is the first byte that is not in it */
};

struct ranges {
	struct range *items;
	size_t count, cap;
};

void ranges_finish(struct ranges *ranges);
/* Adds [start, end); nothing when it is empty. 0, or -ENOMEM and the set is as it was. */
int ranges_add(struct ranges *ranges, uint64_t start, uint64_t end);
/* Takes out everything from size on. */
void ranges_truncate(struct ranges *ranges, uint64_t size);
/* Takes out [start, end). 0, or -ENOMEM and the set is as it was. */
int ranges_remove(struct ranges *ranges, uint64_t start, uint64_t end);
/* Copies what lies in [start, end). -ENOMEM; ret is empty then. */
int ranges_slice(const struct ranges *ranges, uint64_t start, uint64_t end, struct ranges *ret);
/* The first offset from offset on that is in the set; UINT64_MAX: none. */
uint64_t ranges_next(const struct ranges *ranges, uint64_t offset);
/* The number of bytes of those blocks, of block bytes each, that have some of [start, end) and in it something of the set. */
uint64_t ranges_blocks(const struct ranges *ranges, uint64_t start, uint64_t end, uint64_t block);
/* The number of bytes from offset on that are in the set without a gap. */
uint64_t ranges_held(const struct ranges *ranges, uint64_t offset);
/* The end of the last range; 0 when there is none. */
uint64_t ranges_end(const struct ranges *ranges);

/* Appends the set to out: for each range the gap before it and its length, as LEB128. */
void ranges_serialize(const struct ranges *ranges, struct str *out);
/* Reads what ranges_serialize() wrote. -EINVAL: not such a thing; -ENOMEM. ret is empty then. */
int ranges_parse(const void *data, size_t len, struct ranges *ret);

#endif
