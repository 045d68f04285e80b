/* SPDX-License-Identifier: MIT */
/* Pure functions of what was asked and answered so far. */
#include "reach.h"

#define CHUNK_RANDOM UINT64_C(65536)
#define CHUNK_MAX    UINT64_C(2097152)
#define FAST_MS      500
#define SLOW_MS      3000

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

uint64_t pace_next(struct pace *pace, uint64_t pos, size_t len, uint64_t announced)
{
	if (pace->runs == 0 || pos != pace->next) {
		pace->runs = 0;
		pace->size = pos == 0 ? PACE_WHOLE : CHUNK_RANDOM;
	} else if (pace->runs >= 2 && pace->took_ms < FAST_MS) {
		pace->size *= 2;
	} else if (pace->took_ms > SLOW_MS && pace->size >= 2 * CHUNK_RANDOM) {
		pace->size /= 2;
	}
	pace->runs++;
	pace->size = min_u64(max_u64(pace->size, len), CHUNK_MAX);
	if (announced != UINT64_MAX && pos < announced && announced - pos <= pace->size)
		return announced - pos + PACE_SLACK;
	return pace->size;
}

void pace_done(struct pace *pace, uint64_t end, int64_t took_ms)
{
	pace->next = end;
	pace->took_ms = took_ms;
}

enum reach_verdict reach_judge(struct reach *reach, uint64_t pos, uint64_t asked, uint64_t got)
{
	uint64_t end = pos + got;

	if (got > asked)
		return REACH_NONSENSE;
	if (got > 0)
		reach->existing = max_u64(reach->existing, end);
	if (got == asked)
		return REACH_MORE;
	bool again = got == 0 && reach->short_end == pos;
	reach->short_end = end;
	if (reach->existing > end)
		return again ? REACH_NONSENSE : REACH_MORE;
	if (!again && end != reach->announced)
		return REACH_MORE;
	return reach->existing == end ? REACH_END : REACH_PAST;
}
