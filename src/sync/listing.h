/* SPDX-License-Identifier: MIT */
/* One run of a folder's listing job: listing.c decides what is wanted, listing_fetch.c gets it. */
#ifndef SYNC_LISTING_H
#define SYNC_LISTING_H

#include "batch.h"
#include "diff.h"
#include "private.h"
#include "uidset.h"

struct listing {
	struct sync_account *account;
	struct sync_folder *folder;
	struct worker *worker;
	struct store_mailbox known; /* what the store says, being brought up to date */
	struct source_state state;  /* what SELECT said */
	struct source_error error;
	bool changed; /* the set of messages is another one than was shown before */

	/* The call that runs. */
	enum source_columns columns;
	uint32_t first, last; /* what it asks for */
	uint32_t cursor;      /* the highest UID that came */
	bool unordered;       /* they did not come in ascending order */
	unsigned skipped;     /* rows without a UID, of all calls since it was set to 0 */
	uint64_t row_count;   /* likewise: rows */
	int callback_err;
	struct diff_rows *into; /* where a scan goes; NULL: these are rows for the tree */

	/* Rows for the tree. */
	struct uid_set seen;    /* UIDs that are in the store, or came */
	struct row_batch batch; /* not announced yet */
	int64_t batch_since_ms;
	bool announced_any;        /* the first batch, which is small, has gone out */
	struct row_batch suspects; /* rows that lack members: held back, to be asked for again */
	unsigned bare;             /* messages that have to be shown without all their facts */
	struct flag_table flags;
};

/* Calls rows() for first … last in slices that each fit into the time-out; the answers go where `into` says. */
int listing_rows(
	struct listing *listing, uint32_t first, uint32_t last, enum source_columns columns);
/* All of UIDs and flags (or UIDs alone) between 1 and last, into rows, sorted. */
int listing_scan(struct listing *listing, uint32_t last, enum source_columns columns,
	struct diff_rows *rows);
/* Fetches the rows of uids (ascending) by as few ranges as leave out what is known. */
int listing_fetch(struct listing *listing, const uint32_t *uids, size_t count,
	const struct diff_rows *server);
/*
 * Every message gets a row: asks again for those that lack members, and when complete is false (or rows were
 * unreadable) looks for UIDs that did not come; what can not be had is announced by its UID.
 */
int listing_settle(struct listing *listing, bool complete);
/* Stores and announces what is in the batch; not stored again when it came from there. */
int listing_flush(struct listing *listing, bool from_store);

/* Announces the identity in known, and all rows that are stored. */
int listing_announce_stored(struct listing *listing);
/* The job ends: those who wait are put into done, to hear how it went. Lock held. */
void listing_done(struct sync_folder *folder, int64_t checked_ms, int err, struct list_node *done);
/* Frees what a run has gathered. */
void listing_finish(struct listing *listing);

#endif
