/* SPDX-License-Identifier: MIT */
/*
 * See evict.h. The search goes on where it ended the last time, because what it went past (pinned, or open) would else be looked at
 * again for each body that goes: what is used gets a higher number, and whoever unpins begins the search anew. So does, once a minute,
 * one that has found nothing behind its place.
 */
#include "evict.h"

#include <errno.h>
#include <string.h>

#include "keeper.h"
#include "mailfs/util/clock.h"
#include "private.h"

#define BATCH_ROWS     64
#define SEARCH_ANEW_MS 60000
/* So that not every write evicts: this much more goes at once, or that part of the limit. */
#define SLACK_BYTES (1 << 20)
#define SLACK_PART  256
/* What goes before others get the lock. */
#define TRIM_BYTES (4 << 20)

struct candidate {
	uint64_t id;
	int64_t used, bytes;
	char *section;
};

struct eviction {
	struct store *store;
	struct pin_set pins;
	struct candidate rows[BATCH_ROWS];
	size_t count;
	int64_t wanted; /* bytes that are to go */
	int64_t gone_bytes;
};

static void drop_candidates(struct eviction *eviction)
{
	for (size_t i = 0; i < eviction->count; i++)
		free(eviction->rows[i].section);
	eviction->count = 0;
}

static void eviction_finish(struct eviction *eviction)
{
	drop_candidates(eviction);
	pin_set_finish(&eviction->pins);
}

static int take_candidate(struct eviction *eviction, sqlite3_stmt *statement)
{
	const char *section = (const char *)sqlite3_column_text(statement, 2);
	char *copy = section ? strdup(section) : NULL;
	if (!copy)
		return -ENOMEM;
	eviction->rows[eviction->count++] =
		(struct candidate){.used = sqlite3_column_int64(statement, 0),
			.id = (uint64_t)sqlite3_column_int64(statement, 1),
			.section = copy,
			.bytes = sqlite3_column_int64(statement, 3)};
	return 0;
}

/* The next ones in the order of use. */
static int find_candidates(struct eviction *eviction)
{
	struct db *db = &eviction->store->db;
	struct usage_place *place = &eviction->store->usage.evicted;
	drop_candidates(eviction);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_BODIES_BY_USE);
	sqlite3_bind_int64(statement, 1, place->used);
	sqlite3_bind_int64(statement, 2, place->id);
	db_bind_text(db, statement, 3, str_cstr(&place->section));
	sqlite3_bind_int(statement, 4, BATCH_ROWS);
	int rc;
	while ((rc = db_step(db, statement)) > 0) {
		rc = take_candidate(eviction, statement);
		if (rc < 0)
			break;
	}
	return rc;
}

/* 0; 1: the file can not be removed, and both stay. */
static int evict_body(struct store *store, const struct candidate *row)
{
	if (body_file_section_valid(row->section) &&
		body_file_remove(store, row->id, row->section) < 0)
		return 1;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_BODY_REMOVE);
	bind_id(statement, 1, row->id);
	db_bind_text(&store->db, statement, 2, row->section);
	int rc = db_run(&store->db, statement);
	const struct usage_change change = {.was = true, .was_bytes = row->bytes};
	if (rc == 0)
		usage_row_changed(store, row->id, row->section, &change);
	return rc;
}

/* Goes past a row, removing it where that may be. */
static int pass(struct eviction *eviction, const struct candidate *row)
{
	struct store *store = eviction->store;
	struct usage_place *place = &store->usage.evicted;
	place->used = row->used;
	place->id = (int64_t)row->id;
	str_reset(&place->section);
	str_append_cstr(&place->section, row->section);
	if (str_error(&place->section) < 0)
		return -ENOMEM;
	if (body_skip_open(store, row->id, row->section) || pin_set_has(&eviction->pins, row->id))
		return 0;
	int rc = evict_body(store, row);
	if (rc == 0)
		eviction->gone_bytes += row->bytes;
	return rc < 0 ? rc : 0;
}

/* One transaction; 1: there may be more; 0: nobody is left. */
static int evict_batch(struct eviction *eviction)
{
	struct store *store = eviction->store;
	int rc = find_candidates(eviction);
	if (rc < 0 || eviction->count == 0)
		return rc;
	rc = db_begin(&store->db);
	for (size_t i = 0; rc == 0 && i < eviction->count; i++)
		if (eviction->gone_bytes < eviction->wanted)
			rc = pass(eviction, &eviction->rows[i]);
	rc = db_end(&store->db, rc);
	/* The rows are there again. */
	if (rc < 0)
		usage_recount(store);
	return rc < 0 ? rc : 1;
}

/* Whether the search, which is at its end, is worth beginning anew. */
static bool search_anew(struct store *store)
{
	struct usage *usage = &store->usage;
	int64_t now = clock_now_ms();
	if (usage->exhausted_ms && now - usage->exhausted_ms < SEARCH_ANEW_MS)
		return false;
	usage->exhausted_ms = now;
	usage_place_reset(&usage->evicted);
	return true;
}

/* Evicts until wanted bytes are gone, or nobody is left. */
static int evict(struct store *store, int64_t wanted, int64_t *ret_gone)
{
	struct eviction eviction = {.store = store, .wanted = wanted};
	usage_write_touched(store);
	int rc = pin_set_load(store, &eviction.pins);
	while (rc == 0 && eviction.gone_bytes < wanted && !eviction.pins.all) {
		rc = evict_batch(&eviction);
		if (rc == 0 && !search_anew(store))
			break;
		rc = rc > 0 ? 0 : rc;
	}
	*ret_gone = eviction.gone_bytes;
	eviction_finish(&eviction);
	return rc;
}

/* ---- the limit ---- */

static int64_t over_limit(struct store *store, uint64_t bytes)
{
	struct usage *usage = &store->usage;
	uint64_t limit = atomic_load(&usage->limit_bytes);
	if (limit > INT64_MAX || !atomic_load(&usage->settled))
		return 0;
	return atomic_load(&usage->taken_bytes) +
	       (int64_t)(atomic_load(&usage->database_bytes) + bytes - limit);
}

static int64_t slack(struct store *store)
{
	uint64_t part = atomic_load(&store->usage.limit_bytes) / SLACK_PART;
	return part < SLACK_BYTES ? (int64_t)part : SLACK_BYTES;
}

int evict_reserve(struct store *store, uint64_t bytes)
{
	if (bytes == 0 || usage_try_take(store, bytes))
		return 0;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	usage_measure_database(store);
	if (usage_try_take(store, bytes))
		return 0;
	/* Where all of them would not be enough, none has to go. */
	uint64_t limit = atomic_load(&store->usage.limit_bytes);
	uint64_t database = atomic_load(&store->usage.database_bytes);
	if (database > limit || bytes > limit - database)
		return -EDQUOT;
	int64_t gone;
	evict(store, over_limit(store, bytes) + slack(store), &gone);
	return usage_try_take(store, bytes) ? 0 : -EDQUOT;
}

int evict_over_limit(struct store *store)
{
	usage_measure_database(store);
	int64_t over = over_limit(store, 0), gone = 0;
	if (over <= 0)
		return 0;
	int rc = evict(store, over < TRIM_BYTES ? over : TRIM_BYTES, &gone);
	if (rc < 0)
		return rc;
	return gone > 0 && over_limit(store, 0) > 0;
}

int store_set_limit(struct store *store, uint64_t bytes)
{
	if (store->kind != STORE_CACHE)
		return -EINVAL;
	atomic_store(&store->usage.limit_bytes, bytes);
	int rc;
	do {
		/* Others get the lock in between. */
		_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
		rc = evict_over_limit(store);
	} while (rc > 0);
	return rc;
}

/* ---- a full disk ---- */

bool evict_for_disk(struct store *store, uint64_t bytes)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	return store_make_room(store, bytes + SLACK_BYTES) == 0;
}

int store_make_room(struct store *store, uint64_t bytes)
{
	(void)db_flush(&store->db);
	/* The rows of a transaction that is open would come back, if it fails, without their files. */
	if (store->kind != STORE_CACHE || !sqlite3_get_autocommit(store->db.handle))
		return -ENOSPC;
	int64_t gone = 0;
	evict(store, bytes < INT64_MAX ? (int64_t)bytes : INT64_MAX, &gone);
	return gone > 0 ? 0 : -ENOSPC;
}
