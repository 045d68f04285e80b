/* SPDX-License-Identifier: MIT */
/*
 * Walks that count: what is here of a folder, what of the pinned is missing, how much of the cache is pinned. Many rows, so that the lock is let
 * go in between; what changes meanwhile is counted as it was or as it is.
 */
#include <errno.h>

#include "private.h"

/* What a walk through the messages of a folder sees of each. */
struct seen_message {
	uint32_t uid;
	bool seen, pinned, whole;
	uint64_t bytes;
};
/* 0: go on; 1: it is enough. */
typedef int seen_message_fn(void *arg, const struct seen_message *message);

struct walk {
	struct store *store;
	uint64_t next, last;
	bool mailbox_pinned;
	int64_t newer_than_s;
	seen_message_fn *fn;
	void *arg;
};

static int see(struct walk *walk, sqlite3_stmt *statement)
{
	uint64_t id = (uint64_t)sqlite3_column_int64(statement, 0);
	bool newer = walk->newer_than_s != INT64_MAX &&
	             sqlite3_column_type(statement, 2) != SQLITE_NULL &&
	             sqlite3_column_int64(statement, 2) >= walk->newer_than_s;
	const struct seen_message message = {
		.uid = (uint32_t)id,
		.seen = sqlite3_column_int(statement, 1) != 0,
		.pinned = walk->mailbox_pinned || newer || sqlite3_column_int(statement, 4) != 0,
		.whole = sqlite3_column_type(statement, 3) != SQLITE_NULL,
		.bytes = (uint64_t)sqlite3_column_int64(statement, 3),
	};
	walk->next = id + 1;
	return walk->fn(walk->arg, &message);
}

/* 1: there may be more; 0: the end. */
static int walk_batch(struct walk *walk)
{
	struct db *db = &walk->store->db;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&walk->store->lock);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_MESSAGES_WALK);
	bind_id(statement, 1, walk->next);
	bind_id(statement, 2, walk->last);
	sqlite3_bind_int(statement, 3, STORE_BATCH_ROWS);
	int rc;
	size_t count = 0;
	for (; (rc = db_step(db, statement)) > 0; count++)
		if (see(walk, statement))
			return 0;
	return rc < 0 ? rc : count == STORE_BATCH_ROWS;
}

/* What the answer depends on beside the rows. */
static void walk_init(struct walk *walk, struct store *store, const char *mailbox, uint64_t first)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	bool cache = store->kind == STORE_CACHE;
	walk->store = store;
	walk->next = first;
	walk->last = first | UINT32_MAX;
	walk->mailbox_pinned = cache && pin_mailbox_has(store, mailbox);
	walk->newer_than_s = cache ? store->policy.newer_than_s : INT64_MAX;
}

static int walk_all(struct walk *walk)
{
	int rc;
	do
		rc = walk_batch(walk);
	while (rc > 0 && walk->next <= walk->last);
	return rc < 0 ? rc : 0;
}

/* ---- what is missing ---- */

struct missing {
	uint32_t *uids;
	size_t max, count;
};

static int note_missing(void *arg, const struct seen_message *message)
{
	struct missing *missing = arg;
	if (message->pinned && !message->whole)
		missing->uids[missing->count++] = message->uid;
	return missing->count == missing->max;
}

int store_pinned_missing(struct store *store, const char *mailbox, uint32_t folder, uint32_t first,
	uint32_t *uids, size_t max, size_t *count)
{
	struct missing missing = {.uids = uids, .max = max};
	struct walk walk = {.fn = note_missing, .arg = &missing};
	/* In a spool everything is here. */
	if (max == 0 || store->kind != STORE_CACHE) {
		*count = 0;
		return 0;
	}
	walk_init(&walk, store, mailbox, store_id(folder, first));
	int rc = walk_all(&walk);
	if (rc == 0)
		*count = missing.count;
	return rc;
}

/* ---- a folder ---- */

static int add_message(void *arg, const struct seen_message *message)
{
	struct store_folder_usage *usage = arg;
	usage->messages++;
	usage->unseen += !message->seen;
	usage->cached += message->whole;
	usage->cached_bytes += message->whole ? message->bytes : 0;
	usage->pinned += message->pinned;
	usage->pinned_missing += message->pinned && !message->whole;
	return 0;
}

int store_folder_usage(
	struct store *store, const char *mailbox, uint32_t folder, struct store_folder_usage *ret)
{
	struct store_folder_usage usage = {0};
	struct walk walk = {.fn = add_message, .arg = &usage};
	walk_init(&walk, store, mailbox, store_id(folder, 0));
	usage.mailbox_pinned = walk.mailbox_pinned;
	int rc = walk_all(&walk);
	if (rc == 0)
		*ret = usage;
	return rc;
}

/* ---- the cache ---- */

/* Adds up some pinned bodies; 1: there may be more; 0: the end. */
static int add_pinned(struct store *store, struct usage_place *place, uint64_t *bytes)
{
	struct db *db = &store->db;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	_cleanup_pin_set_ struct pin_set pins = {0};
	_cleanup_str_ struct str section = STR_INIT;
	int rc = pin_set_load(store, &pins);
	if (rc < 0 || pin_set_empty(&pins))
		return rc;
	str_append(&section, place->section.data, place->section.len);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_BODIES_AFTER);
	sqlite3_bind_int64(statement, 1, place->id);
	db_bind_text(db, statement, 2, str_cstr(&section));
	sqlite3_bind_int(statement, 3, STORE_BATCH_ROWS);
	size_t count = 0;
	for (; (rc = db_step(db, statement)) > 0; count++) {
		const char *text = (const char *)sqlite3_column_text(statement, 1);
		if (!text)
			return -ENOMEM;
		place->id = sqlite3_column_int64(statement, 0);
		str_reset(&place->section);
		str_append_cstr(&place->section, text);
		if (pin_set_has(&pins, (uint64_t)place->id))
			*bytes += (uint64_t)sqlite3_column_int64(statement, 2);
	}
	rc = rc < 0 ? rc : str_error(&place->section);
	return rc < 0 ? rc : count == STORE_BATCH_ROWS;
}

static uint64_t pinned_bytes(struct store *store)
{
	uint64_t bytes = 0;
	struct usage_place place = {0};
	usage_place_reset(&place);
	while (add_pinned(store, &place, &bytes) > 0)
		;
	usage_place_finish(&place);
	return bytes;
}

void store_usage(struct store *store, struct store_usage *ret)
{
	struct usage *usage = &store->usage;
	usage_measure_database(store);
	int64_t taken = atomic_load(&usage->taken_bytes);
	*ret = (struct store_usage){
		.limit_bytes = atomic_load(&usage->limit_bytes),
		.body_bytes = taken > 0 ? (uint64_t)taken : 0,
		.database_bytes = atomic_load(&usage->database_bytes),
		.full = store->kind == STORE_CACHE && db_spilling(&store->db),
		.settled = atomic_load(&usage->settled),
	};
	if (store->kind == STORE_CACHE)
		ret->pinned_bytes = pinned_bytes(store);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	ret->bodies = usage->rows;
}
