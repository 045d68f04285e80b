/* SPDX-License-Identifier: MIT */
/*
 * How long an operation may take, as a function of time and of what came: pure. Nothing that came, or too little of it: the time-out, and no
 * longer than it takes to see that it is too little. Invariant: the deadline is never more than a time-out behind the last window that brought
 * enough, and the two windows that may be begun until then; nor behind the longest that anything may take.
 */
#include "pace.h"

#include "limits.h"

static int64_t window_of(const struct imap_pace *pace)
{
	int64_t half = pace->timeout_ms / 2;
	return half < IMAP_LIMIT_RATE_MS ? half : IMAP_LIMIT_RATE_MS;
}

static void extend(struct imap_pace *pace, int64_t until_ms)
{
	if (until_ms > pace->begun_ms + IMAP_LIMIT_LONGEST_MS)
		until_ms = pace->begun_ms + IMAP_LIMIT_LONGEST_MS;
	if (until_ms > pace->deadline_ms)
		pace->deadline_ms = until_ms;
}

void imap_pace_begin(struct imap_pace *pace, int64_t now_ms, int timeout_ms)
{
	*pace = (struct imap_pace){.timeout_ms = timeout_ms,
		.begun_ms = now_ms,
		.granted_ms = now_ms + timeout_ms,
		.deadline_ms = now_ms + timeout_ms};
}

void imap_pace_came(struct imap_pace *pace, int64_t now_ms, uint64_t bytes)
{
	int64_t window = window_of(pace), elapsed = now_ms - pace->window_ms;
	pace->window_bytes += bytes;
	if (pace->flowing && elapsed < window)
		return;
	if (pace->flowing &&
		pace->window_bytes >= (uint64_t)elapsed * IMAP_LIMIT_RATE_BYTES_S / 1000) {
		pace->granted_ms = now_ms + pace->timeout_ms;
		extend(pace, pace->granted_ms);
	} else {
		/* A server that has been thinking begins now: it gets the time to show how fast it is, and to be looked at once that is over. */
		int64_t from_ms = now_ms < pace->granted_ms ? now_ms : pace->granted_ms;
		extend(pace, from_ms + 2 * window);
	}
	pace->window_bytes = 0;
	pace->flowing = true;
	pace->window_ms = now_ms;
}

void imap_pace_row(struct imap_pace *pace)
{
	pace->window_bytes += IMAP_LIMIT_RATE_ROW_BYTES;
}

void imap_pace_pause(struct imap_pace *pace, int64_t ms)
{
	pace->begun_ms += ms;
	pace->granted_ms += ms;
	pace->deadline_ms += ms;
	pace->window_ms += ms;
}
