/* SPDX-License-Identifier: MIT */
/* Structures of messages, and the decoded sizes of their sections. Their meaning is not known here. */
#include "private.h"

#include <errno.h>

int structure_put(struct store *store, uint64_t id, const void *data, size_t len)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_STRUCTURE_PUT);
	bind_id(statement, 1, id);
	db_bind_blob(&store->db, statement, 2, data, len);
	return db_run(&store->db, statement);
}

int store_structure_put(
	struct store *store, uint32_t folder, uint32_t uid, const void *data, size_t len)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	return structure_put(store, store_id(folder, uid), data, len);
}

int store_structure_get(struct store *store, uint32_t folder, uint32_t uid, struct str *out)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_STRUCTURE_GET);
	bind_id(statement, 1, store_id(folder, uid));
	int rc = db_step(&store->db, statement);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	const void *data = sqlite3_column_blob(statement, 0);
	str_append(out, data, data ? (size_t)sqlite3_column_bytes(statement, 0) : 0);
	return str_error(out);
}

int store_structures_missing(struct store *store, uint32_t folder, uint32_t first, uint32_t *uids,
	size_t max, size_t *count)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	_cleanup_statement_ sqlite3_stmt *statement =
		db_statement(&store->db, DB_STRUCTURES_MISSING);
	bind_id(statement, 1, store_id(folder, first));
	bind_id(statement, 2, store_id(folder, UINT32_MAX));
	sqlite3_bind_int64(statement, 3, (sqlite3_int64)max);
	size_t found = 0;
	int rc;
	while ((rc = db_step(&store->db, statement)) > 0)
		uids[found++] = (uint32_t)sqlite3_column_int64(statement, 0);
	if (rc == 0)
		*count = found;
	return rc;
}

int store_section_size_put(struct store *store, uint32_t folder, uint32_t uid, const char *section,
	uint64_t size_bytes)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_SECTION_SIZE_PUT);
	bind_id(statement, 1, store_id(folder, uid));
	db_bind_text(&store->db, statement, 2, section);
	sqlite3_bind_int64(statement, 3, (sqlite3_int64)size_bytes);
	return db_run(&store->db, statement);
}

int store_section_size_get(
	struct store *store, uint32_t folder, uint32_t uid, const char *section, uint64_t *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_SECTION_SIZE_GET);
	bind_id(statement, 1, store_id(folder, uid));
	db_bind_text(&store->db, statement, 2, section);
	int rc = db_step(&store->db, statement);
	if (rc > 0)
		*ret = (uint64_t)sqlite3_column_int64(statement, 0);
	return rc < 0 ? rc : rc > 0 ? 0 : -ENOENT;
}
