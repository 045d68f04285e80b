/* SPDX-License-Identifier: MIT */
/* Numbers compared and limited. Pure. */
#ifndef MAILFS_UTIL_NUMBER_H
#define MAILFS_UTIL_NUMBER_H

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

#endif
