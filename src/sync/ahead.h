/* SPDX-License-Identifier: MIT */
/*
 * Messages that come before they are asked for. walk.c decides which and how far; ahead.c runs the jobs; ahead_set.c makes the sets they ask for;
 * ahead_feed.c takes what comes.
 *
 * A body is fed while a set that is under way will bring bytes of it: then body->feeds counts, [fed_to, fed_end) is what is still to come,
 * and the set holds a reference. Who waits for those bytes needs no job. When the last set is done with the body, however it ended, who is still
 * waiting gets one (body_serve_rest()): so nobody waits for what does not come.
 */
#ifndef SYNC_AHEAD_H
#define SYNC_AHEAD_H

#include "body.h"

#define AHEAD_UIDS      512
#define AHEAD_UNDER_WAY 6
#define AHEAD_CHUNK     (size_t)(256 << 10)
/* What is larger comes in pieces, as its reader goes on. */
#define AHEAD_WHOLE (UINT64_C(2) << 20)
/* So much of a large message may be ahead of its reader. */
#define AHEAD_STREAM (UINT64_C(8) << 20)
/* A message may be larger than it was announced: up to this it is taken. */
#define AHEAD_LIMIT (UINT64_C(64) << 20)

/* What one command asks for. */
struct ahead_set {
	uint32_t uids[AHEAD_UIDS];
	struct sync_body *bodies[AHEAD_UIDS]; /* NULL: done with */
	bool handed[AHEAD_UIDS];              /* some of it was handed on */
	size_t count;
	uint64_t offset, length;    /* of a piece: what is wanted of it; length 0: whole messages */
	uint64_t witness;           /* so many bytes before offset are asked for, too */
	uint64_t taken;             /* bytes that came */
	int64_t begun_ms, ended_ms; /* when the first came, and the last; 0: not yet */
};

/* A job while it runs. All of it belongs to the worker's thread. */
struct ahead_run {
	struct worker *worker;
	struct sync_folder *folder;
	uint32_t number, uidvalidity;
	struct ahead_set sets[AHEAD_UNDER_WAY]; /* a ring */
	unsigned first, count, made;
	bool gave_way;

	/* The message that is coming. */
	struct ahead_set *set;
	size_t index;
	struct sync_body *body;
	uint64_t start;   /* where buf begins */
	size_t known_len; /* bytes at the front of buf that are known, and must be these */
	char known[RANGE_WITNESS_BYTES];
	bool bad;   /* what comes is not taken */
	bool early; /* it comes before the piece before it */
	struct str buf;

	/* A piece that came early waits for the one before it: all of it, its witness first. NULL: none does. */
	struct ahead_set *parked;
	struct str parked_buf;
};

/* The callbacks of struct source_bulk; arg: the run. next makes a set of what is wanted next. ahead_set.c, ahead_feed.c. Block: disk. */
bool ahead_next(void *arg, struct source_bulk_set *ret);
int ahead_begin(void *arg, uint32_t uid, uint64_t offset, uint64_t size_bytes);
void ahead_data(void *arg, const char *data, size_t len);
void ahead_end(void *arg, bool whole);
void ahead_answered(void *arg, int err);
void ahead_again(void *arg, uint32_t uid, uint64_t offset);
/* Nothing more comes of what was asked for. ahead_feed.c */
void ahead_release(struct ahead_run *run);
/* A set under way brings all of it: no piece is to be asked for beside. Lock held. */
static inline bool ahead_feeds_whole(const struct sync_body *body)
{
	return body->feeds > 0 && body->fed_end == UINT64_MAX;
}
/* The set is done with a body that it feeds. */
void ahead_fed(struct sync_body *body);
/* What is fetched ahead is of no use: no more of it for so long. No lock. */
void ahead_stop(struct ahead_run *run, int ms);

#endif
