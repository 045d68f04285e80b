/* SPDX-License-Identifier: MIT */
/*
 * What a listing of a maildrop means, held against what is recorded here: which of its messages are here, which are to be
 * fetched and as what number, and of which that can only be said once their content is known. No I/O.
 *
 * A message is its unique-id, where that is beyond doubt: it stands once in the listing, at most one message was recorded
 * under it, of the listed size, and the server never confirmed to have deleted that. All others are known by their content, and by how
 * many of that content there are: each entry of a listing claims one record, and each record is claimed once.
 * So nothing is lost where two messages share a unique-id, and nothing is stored twice.
 *
 * Everything is sorted, nothing hashed, but for the numbers (uidset.h has a seed): a server chooses the unique-ids and a sender
 * the contents, and neither can make this slow.
 */
#ifndef SYNC_PLAN_H
#define SYNC_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailfs/maildrop.h"
#include "mailfs/store.h"
#include "mailfs/util/str.h"
#include "uidset.h"

#define PLAN_NO_RECORD UINT32_MAX

/* Where a listed message stands. The plan gives the first three; what comes of them is noted by who fetches. */
enum plan_state {
	PLAN_PROBE,           /* its content will tell */
	PLAN_FETCH,           /* not here; will be stored as uid */
	PLAN_HERE,            /* by its unique-id */
	PLAN_HERE_BY_TOP,     /* header and size are those of a message here: likely, not proven */
	PLAN_HERE_BY_CONTENT, /* it was fetched in this session, and its content is here */
	PLAN_ON_ITS_WAY,      /* fetched, not durable yet */
	PLAN_STORED,          /* fetched in this session and durable */
	PLAN_REFUSED,         /* the server does not give it */
};

struct plan_entry {
	uint32_t class;      /* what it may be identical with; see plan.c */
	uint32_t record;     /* the one that it claims; PLAN_NO_RECORD */
	uint32_t uid;        /* 0: not known before its content is */
	uint64_t before;     /* as in maildrop_want */
	uint64_t size_bytes; /* of what is here, or came now */
	unsigned char state;
	unsigned char turn;   /* 0: fetched first; more: later */
	bool asked;           /* for its content, in this session */
	unsigned char doubts; /* what came for it may have been another message: so often */
	bool has_top;
};

struct plan_record {
	uint32_t uid;
	uint32_t uidl, uidl_len; /* in plan->uidls */
	uint32_t class;
	uint64_t listed_bytes, size_bytes; /* as LIST said then; of the file */
	int64_t stored_s;
	unsigned char sha256[STORE_DIGEST_BYTES];
	unsigned char top[STORE_DIGEST_BYTES];
	bool has_top, deleted, lost, claimed;
};

struct plan_index;

struct plan {
	struct plan_record *records;
	size_t record_count, record_cap;
	struct str uidls;
	struct uid_set uids; /* of records, and those given since */
	bool nameless;       /* there are records without a unique-id */
	uint64_t random;

	const struct maildrop_listing *listing; /* borrowed */
	struct plan_entry *entries;             /* as many as the listing has */
	size_t fetches, probes;
	unsigned char (*tops)[STORE_DIGEST_BYTES]; /* by entry, where has_top; NULL: none yet */
	struct plan_index *by_content, *by_top, *without_top, *by_size;
};

void plan_init(struct plan *plan);
void plan_finish(struct plan *plan);
/* Adds a copy of a record; a store_spool_fn, arg is the plan. -ENOMEM. */
int plan_add_record(void *arg, const struct store_spool *record);
/* Decides about each entry, after all records were added. listing outlives the plan. -ENOMEM. */
int plan_make(struct plan *plan, const struct maildrop_listing *listing);
/*
 * What TOP gave for an entry that is PLAN_PROBE: noted, and if a record has the same header and listed size, that is claimed: true,
 * and the state is PLAN_HERE_BY_TOP. prove_until_s: a record that was stored then or earlier is not believed on
 * its header; INT64_MIN: all are. -ENOMEM.
 */
int plan_top(struct plan *plan, size_t index, const unsigned char *digest, int64_t prove_until_s);
/*
 * The content of an entry that was fetched. 1: it is here, the record is claimed, the state is PLAN_HERE_BY_CONTENT. 0: it is to be
 * stored as entry->uid, which may be another than before; the state is PLAN_ON_ITS_WAY. -ENOMEM.
 */
int plan_content(struct plan *plan, size_t index, const unsigned char *sha256);
/* Whether the message is here for certain or probably. */
bool plan_entry_here(const struct plan_entry *entry);

#endif
