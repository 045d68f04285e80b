/* SPDX-License-Identifier: MIT */
/* Pure functions of what was asked and answered so far. */
#include "reach.h"

#include "mailfs/util/number.h"

#define CHUNK_RANDOM UINT64_C(65536)
#define CHUNK_MAX    UINT64_C(2097152)
#define FAST_MS      500
#define SLOW_MS      3000
#define SEARCH_MAX   128
#define SEARCH_GROWS 4

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
	pace->size = u64_min(u64_max(pace->size, len), pace->cap ? pace->cap : CHUNK_MAX);
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
		reach->existing = u64_max(reach->existing, end);
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

/* The first question: at the last byte that was announced, and a little over it. */
static void search_begin(struct search *search, uint64_t announced, uint64_t existing,
	uint64_t *ret_pos, uint64_t *ret_len)
{
	bool beyond = announced == UINT64_MAX || announced <= existing;
	search->step = SEARCH_WINDOW;
	*ret_pos = beyond ? existing : announced - 1;
	*ret_len = PACE_SLACK + !beyond;
}

/* Outwards, by a step that grows: up from what exists, or down from what does not. */
static uint64_t search_reach_out(struct search *search, uint64_t existing)
{
	uint64_t step = search->step, from = search->high;
	search->step = u64_min(step * SEARCH_GROWS, UINT64_MAX / (2 * SEARCH_GROWS));
	if (from == UINT64_MAX)
		return existing < UINT64_MAX / 4 ? existing + step : existing;
	return from - existing > 2 * step ? from - step : existing + (from - existing) / 2;
}

bool search_next(struct search *search, uint64_t announced, uint64_t existing, uint64_t *ret_pos,
	uint64_t *ret_len)
{
	if (search->asked++ >= SEARCH_MAX)
		return false;
	if (search->high <= existing) {
		*ret_pos = existing;
		*ret_len = SEARCH_WINDOW;
	} else if (search->step == 0) {
		search_begin(search, announced, existing, ret_pos, ret_len);
	} else if (search->high - existing <= SEARCH_WINDOW) {
		*ret_pos = existing;
		*ret_len = search->high - existing + 1;
	} else {
		bool halve = search->high != UINT64_MAX && search->found;
		*ret_pos = halve ? existing + (search->high - existing) / 2
		                 : search_reach_out(search, existing);
		bool near = search->high - *ret_pos <= SEARCH_WINDOW;
		*ret_len = near ? search->high - *ret_pos + 1 : 1;
	}
	return true;
}

void search_answer(
	struct search *search, uint64_t existing, uint64_t pos, uint64_t asked, uint64_t got)
{
	uint64_t end = got < asked ? pos + got : UINT64_MAX;
	search->found = search->found || got > 0;
	search->high = u64_min(search->high, end);
	if (existing <= search->high)
		return;
	/* Somewhere an answer was not true: on from what exists. */
	search->high = UINT64_MAX;
	search->step = SEARCH_WINDOW;
}
