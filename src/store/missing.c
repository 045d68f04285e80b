/* SPDX-License-Identifier: MIT */
/*
 * Which bodies of a folder are still to be fetched. The rows are walked in the order that is asked for, and no further than until enough were
 * found; those that are whole are gone past, some at a time, with the lock let go in between. Of a body that somebody has open the handle knows
 * better than its row.
 */
#include "private.h"

#include <errno.h>

struct search {
	struct store *store;
	enum db_statement which;
	uint64_t first, last; /* what is left of the folder */
	struct store_missing *found;
	size_t max, count;
};

/* What is left of the folder lies behind this message. */
static void go_past(struct search *search, uint64_t id)
{
	if (search->which == DB_MISSING_UP)
		search->first = id + 1;
	else
		search->last = id - 1;
}

static void look_at(struct search *search, sqlite3_stmt *statement)
{
	uint64_t id = (uint64_t)sqlite3_column_int64(statement, 0);
	int whole = body_open_whole(search->store, id, "");
	if (whole < 0)
		whole = sqlite3_column_int(statement, 2);
	go_past(search, id);
	if (whole)
		return;
	bool known = sqlite3_column_type(statement, 1) != SQLITE_NULL;
	search->found[search->count++] = (struct store_missing){.uid = (uint32_t)id,
		.size_bytes = known ? (uint64_t)sqlite3_column_int64(statement, 1) : UINT64_MAX};
}

/* 1: there may be more; 0: the end, or enough. */
static int search_batch(struct search *search)
{
	struct db *db = &search->store->db;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&search->store->lock);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, search->which);
	bind_id(statement, 1, search->first);
	bind_id(statement, 2, search->last);
	sqlite3_bind_int(statement, 3, STORE_BATCH_ROWS);
	int rc = 0;
	size_t rows = 0;
	for (; search->count < search->max && (rc = db_step(db, statement)) > 0; rows++)
		look_at(search, statement);
	return rc < 0 ? rc : rows == STORE_BATCH_ROWS && search->count < search->max;
}

int store_bodies_missing(struct store *store, uint32_t folder, uint32_t first, bool ascending,
	struct store_missing *ret, size_t max, size_t *count)
{
	struct search search = {.store = store,
		.which = ascending ? DB_MISSING_UP : DB_MISSING_DOWN,
		.first = store_id(folder, ascending ? first : 0),
		.last = store_id(folder, ascending ? UINT32_MAX : first),
		.found = ret,
		.max = max};
	int rc = 0;
	/* In a spool everything is here. */
	if (store->kind == STORE_CACHE)
		do
			rc = search_batch(&search);
		while (rc > 0);
	if (rc == 0)
		*count = search.count;
	return rc;
}
