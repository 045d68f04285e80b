/* SPDX-License-Identifier: MIT */
/* Numbers compared, limited, and found among others. Pure. */
#ifndef MAILFS_UTIL_NUMBER_H
#define MAILFS_UTIL_NUMBER_H

#include <stddef.h>
#include <stdint.h>

static inline uint64_t u64_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t u64_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* The value, or the limit that it is beyond: low ≤ high. */
static inline uint64_t u64_clamp(uint64_t value, uint64_t low, uint64_t high)
{
	return value < low ? low : value > high ? high : value;
}

/* The index of the first of the numbers, which ascend, that is not less than value; count: there is none. */
static inline size_t u32_lower_bound(const uint32_t *sorted, size_t count, uint32_t value)
{
	size_t low = 0, high = count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (sorted[middle] < value)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

#endif
