/* SPDX-License-Identifier: MIT */
/* Emptying a cache of what is not pinned: bodies and structures, batch by batch. Files go before rows, as in remove.c. */
#include <errno.h>
#include <string.h>

#include "private.h"

#define BATCH_ROWS 512

struct victim {
	uint64_t id;
	int64_t bytes;
	char *section;
};

struct clearing {
	struct store *store;
	struct usage_place place;
	struct victim rows[BATCH_ROWS];
	size_t count;
	uint64_t bytes;
};

static void drop_rows(struct clearing *clearing)
{
	for (size_t i = 0; i < clearing->count; i++)
		free(clearing->rows[i].section);
	clearing->count = 0;
}

static int take_row(struct clearing *clearing, sqlite3_stmt *statement)
{
	const char *section = (const char *)sqlite3_column_text(statement, 1);
	char *copy = section ? strdup(section) : NULL;
	if (!copy)
		return -ENOMEM;
	clearing->rows[clearing->count++] =
		(struct victim){.id = (uint64_t)sqlite3_column_int64(statement, 0),
			.section = copy,
			.bytes = sqlite3_column_int64(statement, 2)};
	return 0;
}

static int take_rows(struct clearing *clearing)
{
	struct db *db = &clearing->store->db;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_BODIES_AFTER);
	sqlite3_bind_int64(statement, 1, clearing->place.id);
	db_bind_text(db, statement, 2, str_cstr(&clearing->place.section));
	sqlite3_bind_int(statement, 3, BATCH_ROWS);
	int rc;
	while ((rc = db_step(db, statement)) > 0) {
		rc = take_row(clearing, statement);
		if (rc < 0)
			break;
	}
	return rc;
}

static int clear_body(struct clearing *clearing, const struct victim *row)
{
	struct store *store = clearing->store;
	body_disown_message(store, row->id);
	if (body_file_section_valid(row->section) &&
		body_file_remove(store, row->id, row->section) < 0)
		return -EIO;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_BODY_REMOVE);
	bind_id(statement, 1, row->id);
	db_bind_text(&store->db, statement, 2, row->section);
	int rc = db_run(&store->db, statement);
	const struct usage_change change = {.was = true, .was_bytes = row->bytes};
	if (rc == 0)
		usage_row_changed(store, row->id, row->section, &change);
	return rc;
}

static int clear_rows(struct clearing *clearing, const struct pin_set *pins)
{
	struct store *store = clearing->store;
	uint64_t bytes = 0;
	int rc = db_begin(&store->db);
	for (size_t i = 0; rc == 0 && i < clearing->count; i++) {
		const struct victim *row = &clearing->rows[i];
		clearing->place.id = (int64_t)row->id;
		str_reset(&clearing->place.section);
		str_append_cstr(&clearing->place.section, row->section);
		if (pin_set_has(pins, row->id))
			continue;
		rc = clear_body(clearing, row);
		bytes += row->bytes > 0 ? (uint64_t)row->bytes : 0;
	}
	rc = db_end(&store->db, rc);
	if (rc < 0)
		usage_recount(store);
	else
		clearing->bytes += bytes;
	return rc < 0 ? rc : str_error(&clearing->place.section);
}

/* 1: there may be more. */
static int clear_batch(struct clearing *clearing)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&clearing->store->lock);
	_cleanup_pin_set_ struct pin_set pins = {0};
	int rc = pin_set_load(clearing->store, &pins);
	if (rc == 0)
		rc = take_rows(clearing);
	if (rc == 0 && clearing->count)
		rc = clear_rows(clearing, &pins);
	size_t count = clearing->count;
	drop_rows(clearing);
	return rc < 0 ? rc : count == BATCH_ROWS;
}

static int clear_bodies(struct store *store, uint64_t *ret_bytes)
{
	_cleanup_free_ struct clearing *clearing = calloc(1, sizeof(*clearing));
	if (!clearing)
		return -ENOMEM;
	clearing->store = store;
	usage_place_reset(&clearing->place);
	int rc;
	do
		rc = clear_batch(clearing);
	while (rc > 0);
	usage_place_finish(&clearing->place);
	*ret_bytes = clearing->bytes;
	return rc;
}

/* ---- structures ---- */

static int remove_structure(struct db *db, uint64_t id)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_REMOVE_STRUCTURES);
	bind_id(statement, 1, id);
	bind_id(statement, 2, id);
	return db_run(db, statement);
}

static int structures_after(struct db *db, int64_t after, uint64_t *ids, size_t *count)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_STRUCTURES_AFTER);
	sqlite3_bind_int64(statement, 1, after);
	sqlite3_bind_int(statement, 2, BATCH_ROWS);
	int rc;
	for (*count = 0; (rc = db_step(db, statement)) > 0;)
		ids[(*count)++] = (uint64_t)sqlite3_column_int64(statement, 0);
	return rc;
}

/* 1: there may be more, behind *after. */
static int clear_structures_batch(struct store *store, int64_t *after)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	_cleanup_pin_set_ struct pin_set pins = {0};
	uint64_t ids[BATCH_ROWS];
	size_t count = 0;
	int rc = pin_set_load(store, &pins);
	if (rc == 0)
		rc = structures_after(&store->db, *after, ids, &count);
	if (rc < 0 || count == 0)
		return rc;
	*after = (int64_t)ids[count - 1];
	rc = db_begin(&store->db);
	for (size_t i = 0; rc == 0 && i < count; i++)
		if (!pin_set_has(&pins, ids[i]))
			rc = remove_structure(&store->db, ids[i]);
	rc = db_end(&store->db, rc);
	return rc < 0 ? rc : count == BATCH_ROWS;
}

int store_cache_clear(struct store *store, uint64_t *ret_bytes)
{
	if (store->kind != STORE_CACHE)
		return -EINVAL;
	uint64_t bytes = 0;
	int64_t after = INT64_MIN;
	int rc = clear_bodies(store, &bytes);
	for (bool more = rc == 0; more; more = rc > 0)
		rc = clear_structures_batch(store, &after);
	if (rc == 0)
		*ret_bytes = bytes;
	return rc;
}
