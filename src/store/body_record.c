/* SPDX-License-Identifier: MIT */
/* Recording what is held of a body, so that the next opening finds it. See body.h. */
#include "body.h"

#include <errno.h>

#define RECORD_EVERY_BYTES (8 << 20)

bool body_is_whole(const struct store_body *body)
{
	return body->size_known && ranges_held(&body->held, 0) == body->size;
}

/* Takes what is to be recorded; true: the body has neither bytes nor a size, and needs no row. */
static bool snapshot(struct store_body *body, struct str *map, uint64_t *size, bool *size_known)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	ranges_serialize(&body->held, map);
	*size = body->size;
	*size_known = body->size_known;
	body->dirty = false;
	body->unrecorded_bytes = 0;
	return body->held.count == 0 && !body->size_known;
}

static int put_row(struct store_body *body)
{
	struct db *db = &body->store->db;
	_cleanup_str_ struct str map = STR_INIT;
	uint64_t size;
	bool size_known;
	bool empty = snapshot(body, &map, &size, &size_known);
	if (str_error(&map) < 0)
		return -ENOMEM;
	_cleanup_statement_ sqlite3_stmt *statement =
		db_statement(db, empty ? DB_BODY_REMOVE : DB_BODY_PUT);
	bind_id(statement, 1, body->id);
	db_bind_text(db, statement, 2, body->section);
	if (!empty && size_known)
		sqlite3_bind_int64(statement, 3, (sqlite3_int64)size);
	if (!empty)
		db_bind_blob(db, statement, 4, map.data, map.len);
	return db_run(db, statement);
}

int body_record_locked(struct store_body *body)
{
	if (body->disowned)
		return 0;
	int rc = put_row(body);
	/* What is in memory only is not there after a crash. */
	if (rc == 0 && db_spilling(&body->store->db))
		rc = -ENOSPC;
	if (rc < 0) {
		_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
		body->dirty = true;
	}
	return rc;
}

void body_record(struct store_body *body)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->store->lock);
	body_record_locked(body);
}

bool body_due(const struct store_body *body)
{
	return body->dirty && (body_is_whole(body) || body->unrecorded_bytes >= RECORD_EVERY_BYTES);
}
