/* SPDX-License-Identifier: MIT */
/*
 * Recording what is held of a body, so that the next opening finds it. The checksums are made before store->lock is taken,
 * for they may have to wait for the disk. See body.h.
 */
#include "body.h"

#include <errno.h>

#define RECORD_EVERY_BYTES (8 << 20)
#define RECORD_NOW_BYTES   (1 << 20)

bool body_is_whole(const struct store_body *body)
{
	return body->size_known && ranges_held(&body->held, 0) == body->size;
}

bool body_due(const struct store_body *body)
{
	return body->dirty && (body_is_whole(body) || body->unrecorded_bytes >= RECORD_EVERY_BYTES);
}

static void set_dirty(struct store_body *body)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	body->dirty = true;
}

/* Whether the map was cut since: whoever did that records, or has recorded, what is left. */
static bool is_void(struct store_body *body, const struct body_state *state)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	return body->cuts != state->cuts;
}

/* ---- the row: store->lock is held ---- */

void body_forget_row(struct store_body *body)
{
	usage_take(body->store, body->row_bytes);
	body->row_bytes = 0;
	body->has_row = false;
}

/* Tells what the row says now. */
static void note_row(struct store_body *body, bool has_row, int64_t bytes)
{
	const struct usage_change change = {.was = body->has_row,
		.was_bytes = body->row_bytes,
		.is = has_row,
		.is_bytes = bytes};
	usage_row_changed(body->store, body->id, body->section, &change);
	/* What it takes is the same as before, only the row knows more of it. */
	usage_take(body->store, body->row_bytes - bytes);
	body->has_row = has_row;
	body->row_bytes = bytes;
	atomic_store(&body->used, false);
}

/* One of an older mailfs, which was open while the others were counted. */
static void count_old_row(struct store_body *body)
{
	struct db *db = &body->store->db;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_BODY_COUNTED);
	bind_id(statement, 1, body->id);
	db_bind_text(db, statement, 2, body->section);
	sqlite3_bind_int64(statement, 3, (sqlite3_int64)body->taken_bytes);
	sqlite3_bind_int(statement, 4, body_is_whole(body));
	if (db_run(db, statement) == 0)
		note_row(body, true, (int64_t)body->taken_bytes);
}

void body_settle(struct store_body *body)
{
	/* In a spool no row of this table means nothing: a file may be all there is of a message. */
	if (body->store->kind != STORE_CACHE)
		return;
	if (body->has_row && body->row_bytes == 0 && body->taken_bytes > 0)
		count_old_row(body);
	usage_take(body->store, body->row_bytes - (int64_t)body->taken_bytes);
	if (!body->disowned && !body->has_row && (body->may_have_file || body->fd >= 0))
		body_file_remove(body->store, body->id, body->section);
}

static int remove_row(struct store_body *body)
{
	struct db *db = &body->store->db;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_BODY_REMOVE);
	bind_id(statement, 1, body->id);
	db_bind_text(db, statement, 2, body->section);
	int rc = db_run(db, statement);
	if (rc == 0)
		note_row(body, false, 0);
	return rc;
}

static int put_row(struct store_body *body, const struct body_state *state)
{
	struct db *db = &body->store->db;
	_cleanup_str_ struct str map = STR_INIT;
	ranges_serialize(&state->held, &map);
	if (str_error(&map) < 0)
		return -ENOMEM;
	int64_t bytes = (int64_t)ranges_blocks(&state->held, 0, UINT64_MAX, USAGE_BLOCK_BYTES);
	bool whole = state->size_known && ranges_held(&state->held, 0) == state->size;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_BODY_PUT);
	bind_id(statement, 1, body->id);
	db_bind_text(db, statement, 2, body->section);
	if (state->size_known)
		sqlite3_bind_int64(statement, 3, (sqlite3_int64)state->size);
	db_bind_blob(db, statement, 4, map.data, map.len);
	sqlite3_bind_int64(statement, 5, usage_next(body->store));
	sqlite3_bind_int64(statement, 6, bytes);
	sqlite3_bind_int(statement, 7, whole);
	db_bind_blob(db, statement, 8, state->sums.data, state->sums.len);
	int rc = db_run(db, statement);
	if (rc == 0)
		note_row(body, true, bytes);
	return rc;
}

/* A body that has neither bytes nor a size needs no row. */
static int put(struct store_body *body, const struct body_state *state)
{
	if (body->disowned || is_void(body, state))
		return 0;
	int rc = state->held.count == 0 && !state->size_known ? remove_row(body)
	                                                      : put_row(body, state);
	if (rc < 0)
		set_dirty(body);
	return rc;
}

/*
 * Gathered with others; what a crash takes of that are small bodies, which are fetched again. Not what took long to fetch, and not that something is
 * not held any more.
 */
static int put_gathered(struct store_body *body, const struct body_state *state)
{
	struct store *store = body->store;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	int64_t before = body->row_bytes;
	int rc = db_join(&store->db);
	if (rc == 0)
		rc = db_part(&store->db, put(body, state));
	else
		set_dirty(body);
	int64_t more = body->row_bytes - before;
	if (rc == 0 && (more < 0 || more >= RECORD_NOW_BYTES))
		rc = db_flush(&store->db);
	recorder_wake(store);
	return rc;
}

/* ---- recording ---- */

int body_record_locked(struct store_body *body)
{
	if (body->disowned)
		return 0;
	_cleanup_body_state_ struct body_state state = {0};
	int rc = body_sums_take(body, &state);
	/* Not gathered: what is taken away may come back in no crash. */
	if (rc == 0)
		rc = put(body, &state);
	usage_measure_database(body->store);
	/* What is in memory only is not there after a crash. */
	if (rc == 0 && db_spilling(&body->store->db))
		rc = -ENOSPC;
	if (rc < 0)
		set_dirty(body);
	return rc;
}

/* The file is needed only where there are checksums to make. */
static int begin(struct store_body *body)
{
	if (body_sums_missing(body))
		return body_io_begin(body);
	pthread_rwlock_rdlock(&body->io);
	return 0;
}

static int take(struct store_body *body, struct body_state *ret)
{
	int rc = begin(body);
	if (rc < 0)
		return rc;
	/* What nobody records costs nothing. */
	rc = body->disowned ? -ESTALE : body_sums_take(body, ret);
	body_io_end(body);
	return rc;
}

int body_record(struct store_body *body)
{
	_cleanup_unlock_ pthread_mutex_t *recording = lock(&body->recording);
	_cleanup_body_state_ struct body_state state = {0};
	int rc = take(body, &state);
	if (rc == -ESTALE)
		return 0;
	if (rc < 0) {
		set_dirty(body);
		return rc;
	}
	return put_gathered(body, &state);
}
