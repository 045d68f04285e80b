/* SPDX-License-Identifier: MIT */
/*
 * Which messages will be wanted next: what readers have read so far, in which order, and how far ahead of them it is worth to be. A machine without
 * I/O and without locks; all sizes are bytes, all times monotonic milliseconds.
 *
 * A front is a place in a folder where messages are read one after the other, up or down by UID, by one reader or by several whose steps are
 * mixed. What lies before it is asked for in sets; the window says how much may be asked for and not be read yet. It doubles with each set that was
 * read, and halves with one that was passed over. Readers in no order at all are a front that goes up through all that they have left out.
 */
#ifndef SYNC_WALK_H
#define SYNC_WALK_H

#include <stdbool.h>
#include <stdint.h>

#define WALK_FRONTS     16
#define WALK_SETS       32
#define WALK_UNFINISHED 8
#define WALK_WINDOW_MIN UINT64_C(262144)
/* Over all connections: of each some 8 MiB are under way at RTT 50 ms on a fast line. */
#define WALK_WINDOW_MAX UINT64_C(25165824)
#define WALK_SET_MIN    UINT64_C(131072)
#define WALK_SET_MAX    UINT64_C(2097152)
/* What is larger than this is fetched for its beginning alone when readers leave such messages before their end. */
#define WALK_HEAD UINT64_C(131072)

enum walk_direction { WALK_NONE, WALK_UP, WALK_DOWN };

/* What was asked for with one command: the messages of a front with first ≤ UID ≤ last that were missing. */
struct walk_set {
	uint32_t first, last;
	uint64_t bytes, read;
	unsigned reads;
};

struct walk_front {
	uint64_t id;        /* 0: not in use; another one each time that the place is used anew */
	uint32_t folder;    /* its number */
	uint32_t low, high; /* what was read lies between them */
	uint32_t last;      /* UID read last */
	unsigned reads, steps_up, steps_down; /* steps: in a row */
	unsigned votes_up, votes_down;        /* how it grows at its ends, lately */
	unsigned astray;               /* reads in a row that were missing behind the front */
	unsigned beyond;               /* … and far before it */
	bool sweep;                    /* it follows no reader: all that is missing of the folder */
	enum walk_direction direction; /* WALK_NONE: nothing is known yet */
	uint32_t next_up, next_down;   /* what to ask for next; 0: there is no more */
	uint64_t window, ahead;        /* ahead: asked for, and neither read nor passed */
	struct walk_set sets[WALK_SETS]; /* in the order in which they were asked for */
	unsigned set_count;
	int64_t used_ms;
	/* Large messages that are being read, and how many were left before their end in a row. */
	uint32_t unfinished[WALK_UNFINISHED];
	unsigned unfinished_count, left;
};

/* Zeroed at the start. */
struct walk {
	struct walk_front fronts[WALK_FRONTS];
	uint64_t ids;
	uint32_t scattered_folder; /* of the last read that no front has led to */
	unsigned scattered;        /* how many of those found their message missing */
	int64_t scattered_ms;
	int64_t stopped_until_ms;
	uint64_t rate; /* bytes in a second that one connection brings; 0: not measured */
};

/* A message of which some bytes are read for the first time since it was opened. */
struct walk_read {
	uint32_t folder, uid;
	uint32_t gap;        /* how far apart the folder's UIDs are; at least 1 */
	uint64_t size_bytes; /* UINT64_MAX: not known */
	bool here;           /* no need to fetch it */
};
/* The front that it belongs to; never NULL. */
struct walk_front *walk_note(struct walk *walk, const struct walk_read *read, int64_t now_ms);
/* A message of more than WALK_HEAD was read to its end. */
void walk_finished(struct walk *walk, uint32_t folder, uint32_t uid);
/* Whether there is something to ask for before this front. */
bool walk_is_due(const struct walk *walk, const struct walk_front *front, int64_t now_ms);
/* The front of the folder that is due and has the least before it; NULL: none is. */
struct walk_front *walk_due(struct walk *walk, uint32_t folder, int64_t now_ms);
/* The front with this id; NULL: it is no more. */
struct walk_front *walk_front(struct walk *walk, uint64_t id);
/* How much the next set may hold. */
uint64_t walk_budget(const struct walk *walk, const struct walk_front *front);
/* Where the next set begins. */
uint32_t walk_next(const struct walk_front *front);
/* No message larger than this is to be fetched whole; UINT64_MAX: readers read them all. */
uint64_t walk_limit(const struct walk_front *front);
/* A set was made; bytes 0: nothing was missing there. next: where to go on, 0: there is no more. */
void walk_asked(
	struct walk_front *front, uint32_t first, uint32_t last, uint64_t bytes, uint32_t next);
/* What is fetched is of no use: nothing is due until then. */
void walk_stop(struct walk *walk, int64_t until_ms);
bool walk_is_stopped(const struct walk *walk, int64_t now_ms);
/* One connection took so long for so many bytes. */
void walk_measured(struct walk *walk, uint64_t bytes, int64_t took_ms);

#endif
