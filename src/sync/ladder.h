/* SPDX-License-Identifier: MIT */
/*
 * The ladder: by what means it is found out what has changed in a mailbox, and what it was. Pure functions from (what is stored, what
 * the server has said) to (gone, added, flags changed), or to the doubt that sends the caller one rung down.
 */
#ifndef SYNC_LADDER_H
#define SYNC_LADDER_H

#include "diff.h"
#include "mailfs/source.h"
#include "uidranges.h"

/* From the top. */
enum ladder_rung {
	LADDER_UNCHANGED, /* SELECT alone shows that nothing has */
	LADDER_QRESYNC,   /* SELECT has told all of it (RFC 7162) */
	LADDER_CONDSTORE, /* CHANGEDSINCE tells what is new and whose flags changed; what is gone follows from numbers, or from the UIDs that there are */
	LADDER_SCAN,      /* UID and FLAGS of all messages */
};

/* What is stored of a mailbox, under the UIDVALIDITY that it has. */
struct ladder_known {
	uint64_t messages; /* rows */
	uint32_t uidnext;  /* of the SELECT that the listing was made after, as modseq */
	uint64_t modseq;
	bool complete; /* the listing was whole */
};

/* Whether a SELECT is to ask for what has changed; abilities: enum source_ability. */
bool ladder_resyncs(const struct ladder_known *known, unsigned abilities);
/* The highest rung that SELECT's answer allows. */
enum ladder_rung ladder_choose(
	const struct ladder_known *known, unsigned abilities, const struct source_state *state);
/* The next one after an answer that could not be believed; none is below LADDER_SCAN. */
enum ladder_rung ladder_below(enum ladder_rung rung, const struct ladder_known *known,
	unsigned abilities, const struct source_state *state);
const char *ladder_name(enum ladder_rung rung);

/*
 * Whether so many messages are more than an answer alone may take away: all of them, or more than half and more than a hundred. Then the server
 * is asked again.
 */
bool ladder_is_loss(uint64_t messages, uint64_t gone);

/* All that is known; lists are sorted. */
struct ladder_case {
	enum ladder_rung rung;
	const struct ladder_known *known;
	const struct source_state *state;
	/*
	 * What is stored. Where the rows come from SELECT or CHANGEDSINCE alone (LADDER_QRESYNC; LADDER_CONDSTORE without exist), those that
	 * told and vanished are about are enough.
	 */
	const struct diff_rows *stored;
	/* UID and flags of what is new or changed; LADDER_SCAN: of all messages. */
	const struct diff_rows *told;
	const struct uid_ranges *vanished; /* of LADDER_QRESYNC */
	const struct uid_ranges *
		exist; /* of LADDER_CONDSTORE: the UIDs that there are; NULL: they were not asked for */
	bool holes; /* of LADDER_SCAN: there are messages whose UID could not be read */
	bool again; /* of LADDER_SCAN: the server has said the same at the run before */
};

/*
 * LADDER_DOUBT: the answers contradict each other, or what is stored; nothing is known. -ENOMEM. With LADDER_CONDSTORE and no `exist`,
 * the doubt is settled by these.
 */
#define LADDER_DOUBT 1
int ladder_changes(const struct ladder_case *c, struct diff *ret);

#endif
