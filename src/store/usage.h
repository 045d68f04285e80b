/* SPDX-License-Identifier: MIT */
/*
 * How much the bodies of a cache take, kept as a running total:
 *
 *   taken = the bytes column of all rows of body that were counted
 *         + for each open body what it has taken on the disk less what its row says of it
 *         + what is being written
 *
 * Opening a store counts nothing: a thread does (keeper.c), in the order of the key, some rows at a time. A row is
 * counted if its key is not past where that thread is; changes of one that is not are left for the thread to find. So the total is exact as soon as
 * it is settled, whatever happened meanwhile. Whoever changes rows in a way that is not told here has them
 * counted anew (usage_recount).
 *
 * The order in which bodies were used: each recording gives the row the next number. A mere read is noted in memory, and
 * written with many others.
 */
#ifndef MAILFS_STORE_USAGE_H
#define MAILFS_STORE_USAGE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "mailfs/util/str.h"

/* What a byte takes at least: a file consists of blocks. */
#define USAGE_BLOCK_BYTES UINT64_C(4096)

struct store;

/* Where a walk through the table of bodies is: behind this key. */
struct usage_place {
	int64_t used; /* of a walk in the order of use */
	int64_t id;
	struct str section;
};
struct usage_touch {
	uint64_t id;
	int64_t used;
	char *section;
};

struct usage {
	_Atomic uint64_t limit_bytes;    /* UINT64_MAX: none */
	_Atomic int64_t taken_bytes;     /* by bodies */
	_Atomic uint64_t database_bytes; /* when it was looked at last */
	atomic_bool settled;

	/* store->lock guards what follows. */
	uint64_t rows;
	int64_t row_bytes;
	struct usage_place counted;
	int64_t clock; /* the number that was given last */
	struct usage_touch *touched;
	size_t touched_count, touched_cap, touched_done; /* those that are written */
	struct usage_place evicted; /* what is before it is gone, pinned, or was open */
	int64_t exhausted_ms;       /* when nothing was found behind it; 0: not */
};

/* store->lock is held in all calls, but for the last three. */

void usage_init(struct store *store);
void usage_finish(struct store *store);
/* Counts some rows more; 1: and there may be others; 0: it is settled. */
int usage_count(struct store *store);
/* Begins anew; also the search for what to evict. */
void usage_recount(struct store *store);
/* Rows have other ids now, or would have if the transaction had not failed (rc). The search for what to evict begins anew. */
void usage_moved(struct store *store, int rc);
/* A row has other bytes now. */
struct usage_change {
	bool was, is; /* whether there was a row, and is */
	int64_t was_bytes, is_bytes;
};
void usage_row_changed(
	struct store *store, uint64_t id, const char *section, const struct usage_change *change);
/* The rows with first ≤ id ≤ last are about to be removed. If that fails: usage_recount(). */
int usage_forget(struct store *store, uint64_t first, uint64_t last);
/* The next number of use. */
int64_t usage_next(struct store *store);
/* A body was used: noted, to be written later. */
void usage_touch(struct store *store, uint64_t id, const char *section);
/* Whether enough was noted to write it. */
bool usage_touched_due(const struct store *store);
/* Writes what was noted: some of it, gathered with what others write (db_join()), or all of it. */
int usage_write_some_touched(struct store *store);
int usage_write_touched(struct store *store);

/* Looks how large the database is. */
void usage_measure_database(struct store *store);
/* Bodies have taken so much more on the disk (or less). Blocks: never. */
void usage_take(struct store *store, int64_t bytes);
/* The same if the limit allows it. Blocks: never. */
bool usage_try_take(struct store *store, uint64_t bytes);

void usage_place_reset(struct usage_place *place);
void usage_place_finish(struct usage_place *place);

#endif
