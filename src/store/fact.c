/* SPDX-License-Identifier: MIT */
/* Small facts about the account. What they mean is not known here. */
#include "private.h"

#include <errno.h>

#define FACT_MAX (64 << 10)

int fact_put(struct store *store, const char *key, const void *data, size_t len)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_FACT_PUT);
	db_bind_text(&store->db, statement, 1, key);
	db_bind_blob(&store->db, statement, 2, data, len);
	return db_run(&store->db, statement);
}

int store_fact_put(struct store *store, const char *key, const void *data, size_t len)
{
	if (len > FACT_MAX)
		return -EINVAL;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	return fact_put(store, key, data, len);
}

int fact_get(struct store *store, const char *key, struct str *out)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_FACT_GET);
	db_bind_text(&store->db, statement, 1, key);
	int rc = db_step(&store->db, statement);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	const void *data = sqlite3_column_blob(statement, 0);
	str_append(out, data, data ? (size_t)sqlite3_column_bytes(statement, 0) : 0);
	return str_error(out);
}

int store_fact_get(struct store *store, const char *key, struct str *out)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	return fact_get(store, key, out);
}
