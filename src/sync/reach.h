/* SPDX-License-Identifier: MIT */
/*
 * Where a body ends, and how much of it to ask for at a time: two small machines without I/O. A body is read by
 * ranges from a server whose word on its length can not be trusted.
 */
#ifndef SYNC_REACH_H
#define SYNC_REACH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The kernel's largest read; up to it a message is fetched whole. */
#define PACE_WHOLE UINT64_C(131072)
#define PACE_SLACK UINT64_C(4096) /* asked for past the announced end, to see whether it is one */

/* The size of the next chunk. Zeroed at the start. */
struct pace {
	uint64_t next; /* where the last chunk ended */
	uint64_t size;
	unsigned runs; /* chunks that followed each other */
	int64_t took_ms;
	uint64_t cap; /* a chunk is not larger than this; 0: 2 MiB */
};
/*
 * How many bytes to ask for at pos for a reader who wants len. Doubles from the third chunk in a row on, while
 * the line is fast, to 2 MiB, and halves while it is so slow that a chunk may come near the time-out: who only looks at the beginning has caused two small ones. announced: bytes, or
 * UINT64_MAX.
 */
uint64_t pace_next(struct pace *pace, uint64_t pos, size_t len, uint64_t announced);
void pace_done(struct pace *pace, uint64_t end, int64_t took_ms);

/* What is known of the end. Zeroed at the start but for short_end. */
struct reach {
	uint64_t announced; /* UINT64_MAX: nothing */
	uint64_t existing;  /* bytes before this exist */
	uint64_t short_end; /* where an answer ended that was too short; UINT64_MAX: none was */
};
enum reach_verdict {
	REACH_MORE,     /* nothing about the end */
	REACH_END,      /* the body ends where the answer ends */
	REACH_PAST,     /* it ends there or before */
	REACH_NONSENSE, /* the server has contradicted itself */
};
/*
 * Judges an answer of got bytes at pos to a question for asked. A short answer is believed when it ends where
 * it was announced, or when a second question at that place has an empty answer.
 */
enum reach_verdict reach_judge(struct reach *reach, uint64_t pos, uint64_t asked, uint64_t got);

/*
 * The search for the end by questions of a few bytes, when the size is wanted and the bytes are not: from where it was announced outwards in
 * growing steps, until it lies between two answers, then by halves. An answer in the middle that is not true costs questions, no
 * more: what counts is the last one, at the end itself, and that is reach_judge()'s to believe. Zeroed at the start but for high.
 */
#define SEARCH_WINDOW UINT64_C(4096) /* the end is this near: one question finds it */
struct search {
	uint64_t high; /* an answer had nothing at or past it; UINT64_MAX: none had */
	uint64_t step;
	unsigned asked;
	bool found; /* an answer had bytes */
};
/* What to ask next; existing: as in struct reach. false: the server does not come to an end (128 questions). */
bool search_next(struct search *search, uint64_t announced, uint64_t existing, uint64_t *ret_pos,
	uint64_t *ret_len);
/* existing: after reach_judge() has taken the answer. */
void search_answer(
	struct search *search, uint64_t existing, uint64_t pos, uint64_t asked, uint64_t got);

#endif
