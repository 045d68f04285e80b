/* SPDX-License-Identifier: MIT */
/*
 * One run of a folder's listing job: listing.c decides what is wanted and makes store and tree follow, listing_find.c finds out what has
 * changed, listing_fetch.c gets it over the wire, carry.c saves what was fetched from a server's renumbering.
 */
#ifndef SYNC_LISTING_H
#define SYNC_LISTING_H

#include "batch.h"
#include "diff.h"
#include "ladder.h"
#include "private.h"
#include "uidset.h"

struct listing {
	struct sync_account *account;
	struct sync_folder *folder;
	struct worker *worker;
	struct store_mailbox known; /* what the store says, being brought up to date */
	struct source_state state;  /* what SELECT said */
	struct source_error error;
	bool changed;    /* the set of messages is another one than was shown before */
	bool made_again; /* the mailbox has the same UIDVALIDITY, and other messages */

	/* What the server has told with SELECT, or since a modification sequence. */
	struct session_resync resync;
	struct source_resync since;
	struct diff_rows told;
	struct uid_ranges vanished, exist;
	bool flooded; /* more of it than is believed */
	bool fewer;   /* it lists fewer than it counts, and that may be so */

	/* The call that runs. */
	enum source_columns columns;
	uint64_t
		changed_since; /* ask for what changed since this modification sequence; 0: for all */
	uint32_t first, last; /* what it asks for */
	uint32_t cursor;      /* the highest UID that came */
	bool unordered;       /* they did not come in ascending order */
	unsigned skipped;     /* rows without a UID, of all calls since it was set to 0 */
	uint64_t row_count;   /* likewise: rows, or ranges */
	int callback_err;
	struct diff_rows *into; /* where a scan goes; NULL: these are rows for the tree */

	/* Rows for the tree. */
	bool choosy;            /* only those that are wanted */
	struct uid_set wanted;  /* UIDs */
	uint32_t fresh_from;    /* nothing that is stored has a UID at or past this */
	struct uid_set seen;    /* UIDs that came */
	struct row_batch batch; /* not announced yet */
	int64_t batch_since_ms;
	bool announced_any;        /* the first batch, which is small, has gone out */
	struct row_batch suspects; /* rows that lack members: held back, to be asked for again */
	unsigned bare;             /* messages that have to be shown without all their facts */
	struct flag_table flags;
};

/* --- listing_fetch.c --- */

/* Calls rows() for first … last in slices that each fit into the time-out; the answers go where `into` says. */
int listing_rows(
	struct listing *listing, uint32_t first, uint32_t last, enum source_columns columns);
/* All of UIDs and flags (or UIDs alone) of first … last, into rows, sorted. */
int listing_scan(struct listing *listing, uint32_t first, uint32_t last,
	enum source_columns columns, struct diff_rows *rows);
/* UIDs and flags of what changed since the modification sequence that is known, with UID ≤ last, into told, sorted. */
int listing_changed(struct listing *listing, uint32_t last);
/* The UIDs that exist, up to last, into exist, sorted. */
int listing_uids(struct listing *listing, uint32_t last);
/* Fetches the rows of uids (ascending), which are all that is wanted, by a few ranges. */
int listing_fetch(struct listing *listing, const uint32_t *uids, size_t count);
/*
 * Every message of first … last that is wanted gets a row: asks again for those that lack members, and when complete is false (or rows
 * were unreadable) looks for UIDs that did not come; what can not be had is announced by its UID.
 */
int listing_settle(struct listing *listing, uint32_t first, uint32_t last, bool complete);
/* Stores and announces what is in the batch; not stored again when it came from there. */
int listing_flush(struct listing *listing, bool from_store);

/* --- listing_find.c --- */

/*
 * Selects the folder. resync: asks for what has changed, where the session can and something is known. -EIO also where there is more in it than is
 * listed: what is stored stays as it is.
 */
int listing_select(struct listing *listing, bool resync, struct source_state *ret);
/*
 * Finds out what has changed in the folder whose listing is stored whole, by the highest rung that can be believed. What can be believed of
 * none is an error, unless the server insists on it.
 */
int listing_find(struct listing *listing, struct diff *ret);
/* The same of a listing that was cut off, up to the highest UID in it, *ret_highest; *ret_stored: how many remain of it. */
int listing_find_part(
	struct listing *listing, struct diff *ret, uint32_t *ret_highest, size_t *ret_stored);

/* A refusal of a question (err) is LADDER_DOUBT: another way may do. */
int listing_doubt_refusal(const struct listing *listing, int err);

/* --- listing_same.c --- */

/* Whether the mailbox was made again under its old UIDVALIDITY, which is asked only where UIDNEXT has gone back. Blocks: network, disk. */
int listing_is_made_again(struct listing *listing, bool *ret);

/* --- listing_loss.c --- */

/*
 * Asks whether what diff has as gone is; searched: it was SEARCH that said so. LADDER_DOUBT: the server contradicts itself. last: there is no other way
 * to ask; then that it contradicts itself about less than half of them only takes these out of what is gone. listing->exist is what it says now.
 */
int listing_confirm_loss(struct listing *listing, struct diff *diff, bool searched, bool last);
/*
 * Takes out of what is gone, which is little, those that stayed in this way before, as long as SEARCH gives them; and of fewer than it counts each that
 * SEARCH gives.
 */
int listing_keep_ghosts(struct listing *listing, struct diff *diff);
/* The error for it. */
int listing_loss_doubted(struct listing *listing, size_t gone);
/* Whether there is really nothing in the folder, or as little as SELECT said: 0, or an error. */
int listing_confirm_few(struct listing *listing);

/* --- carry.c --- */

/*
 * What was fetched under the UIDVALIDITY before (known.former) is kept for the messages that are provably the same, and the rest removed.
 * A failure is logged, and the next run tries again.
 */
void listing_carry(struct listing *listing);

/* --- listing.c --- */

/* Announces the identity in known, and all rows that are stored. */
int listing_announce_stored(struct listing *listing);
/* Stores known. */
int listing_save_state(struct listing *listing);
/*
 * The job ends: those who wait are put into done, to hear how it went. checked_ms: when the listing was made; -1: it was not, what is
 * stored has to do. Lock held.
 */
void listing_done(struct sync_folder *folder, int64_t checked_ms, int err, struct list_node *done);
/* Frees what a run has gathered. */
void listing_finish(struct listing *listing);

#endif
