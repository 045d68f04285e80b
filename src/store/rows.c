/* SPDX-License-Identifier: MIT */
/*
 * The rows of listings. A member that the server did not give is NULL in the table and its bit is missing in `have`;
 * the true size of a message, once learned, is kept beside the announced one and wins over it.
 *
 * Rows are handed out from a copy, without the lock: a callback may take its time, and nobody who wants a body waits
 * until a large folder is loaded.
 */
#include "private.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define BATCH_BYTES (1 << 20)

struct batch_row {
	struct source_row row;
	size_t flags, labels, header; /* offsets in bytes: they move while it grows */
};

struct batch {
	struct str bytes;
	struct batch_row *rows;
	size_t count, cap;
};

static void batch_finish(struct batch *batch)
{
	free(batch->rows);
	str_finish(&batch->bytes);
}
#define _cleanup_batch_ _cleanup_(batch_finish)

/* Whether \Seen, which is case-insensitive (RFC 3501 §2.3.2), is among flags. */
static bool flags_seen(const char *flags)
{
	static const char seen[] = "\\Seen";
	while (*flags) {
		size_t len = strcspn(flags, " ");
		if (len == sizeof(seen) - 1 && strncasecmp(flags, seen, len) == 0)
			return true;
		flags += len;
		flags += strspn(flags, " ");
	}
	return false;
}

/* Binds the members of a row, the first of them at `at`. */
static void row_bind(struct db *db, sqlite3_stmt *statement, int at, uint32_t folder,
	const struct source_row *row)
{
	const char *flags = row->have & SOURCE_ROW_FLAGS && row->flags ? row->flags : "";
	bind_id(statement, at, store_id(folder, row->uid));
	if (row->have & SOURCE_ROW_SIZE)
		sqlite3_bind_int64(statement, at + 1, (sqlite3_int64)row->size_bytes);
	if (row->have & SOURCE_ROW_DATE)
		sqlite3_bind_int64(statement, at + 2, row->date_s);
	sqlite3_bind_int(statement, at + 3, flags_seen(flags));
	if (row->have & SOURCE_ROW_FLAGS)
		db_bind_text(db, statement, at + 4, flags);
	if (row->have & SOURCE_ROW_LABELS)
		db_bind_text(db, statement, at + 5, row->labels ? row->labels : "");
	if (row->have & SOURCE_ROW_HEADER)
		db_bind_blob(db, statement, at + 6, row->header, row->header ? row->header_len : 0);
}

int row_put(struct store *store, uint32_t folder, const struct source_row *row)
{
	struct db *db = &store->db;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_ROW_PUT);
	row_bind(db, statement, 1, folder, row);
	return db_run(db, statement);
}

/* DB_ROWS_PUT_COUNT rows by one statement. */
static int rows_put(struct store *store, uint32_t folder, const struct source_row *rows)
{
	struct db *db = &store->db;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_ROWS_PUT);
	for (int i = 0; i < DB_ROWS_PUT_COUNT; i++)
		row_bind(db, statement, 1 + i * DB_ROWS_PUT_MEMBERS, folder, &rows[i]);
	return db_run(db, statement);
}

int store_rows_put(
	struct store *store, uint32_t folder, const struct source_row *rows, size_t count)
{
	size_t done = 0;
	if (count == 0)
		return 0;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	int rc = db_begin(&store->db);
	for (; rc == 0 && count - done >= DB_ROWS_PUT_COUNT; done += DB_ROWS_PUT_COUNT)
		rc = rows_put(store, folder, rows + done);
	for (; rc == 0 && done < count; done++)
		rc = row_put(store, folder, &rows[done]);
	return db_end(&store->db, rc);
}

/* A member of a row that is bytes. */
struct piece {
	const void *data;
	size_t len;
};

/*
 * sqlite3_column_*() takes a lock and looks for an error for each of the four things that are asked of a member; of its value they are
 * asked without, which nobody else uses meanwhile.
 */
static bool piece_get(sqlite3_stmt *statement, int column, struct piece *ret)
{
	sqlite3_value *value = sqlite3_column_value(statement, column);
	ret->data = sqlite3_value_blob(value);
	ret->len = ret->data ? (size_t)sqlite3_value_bytes(value) : 0;
	return ret->data || sqlite3_value_type(value) != SQLITE_NULL;
}

static bool number_get(sqlite3_stmt *statement, int column, int64_t *ret)
{
	sqlite3_value *value = sqlite3_column_value(statement, column);
	*ret = sqlite3_value_int64(value);
	return sqlite3_value_type(value) != SQLITE_NULL;
}

/* Copies a piece to *at, NUL-terminated; where it lies in the batch. */
static size_t piece_copy(struct batch *batch, const struct piece *piece)
{
	char *to = batch->bytes.data + batch->bytes.len;
	size_t offset = batch->bytes.len;
	if (piece->len)
		memcpy(to, piece->data, piece->len);
	to[piece->len] = 0;
	batch->bytes.len += piece->len + 1;
	return offset;
}

static int batch_add(struct batch *batch, sqlite3_stmt *statement)
{
	struct piece flags, labels, header;
	int64_t id, size, date;
	unsigned have = 0;
	number_get(statement, 0, &id);
	have |= number_get(statement, 1, &size) ? SOURCE_ROW_SIZE : 0;
	have |= number_get(statement, 2, &date) ? SOURCE_ROW_DATE : 0;
	have |= piece_get(statement, 3, &flags) ? SOURCE_ROW_FLAGS : 0;
	have |= piece_get(statement, 4, &labels) ? SOURCE_ROW_LABELS : 0;
	have |= piece_get(statement, 5, &header) ? SOURCE_ROW_HEADER : 0;
	if (array_grow(&batch->rows, &batch->cap, batch->count + 1, sizeof(*batch->rows)) < 0 ||
		str_reserve(&batch->bytes, flags.len + labels.len + header.len + 3) < 0)
		return -ENOMEM;
	batch->rows[batch->count++] = (struct batch_row){
		.row = {.uid = (uint32_t)id,
			.have = have,
			.size_bytes = (uint64_t)size,
			.date_s = date,
			.header_len = header.len},
		.flags = piece_copy(batch, &flags),
		.labels = piece_copy(batch, &labels),
		.header = piece_copy(batch, &header),
	};
	return 0;
}

/* Fills batch with rows from first to last, ascending: at most max, fewer when they are large; none: there are none. */
static int batch_load(
	struct store *store, struct batch *batch, uint64_t first, uint64_t last, size_t max)
{
	batch->count = 0;
	str_reset(&batch->bytes);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_ROWS_LOAD);
	bind_id(statement, 1, first);
	bind_id(statement, 2, last);
	sqlite3_bind_int64(statement, 3, (sqlite3_int64)max);
	int rc = 0;
	while (rc == 0 && batch->bytes.len < BATCH_BYTES &&
		(rc = db_step(&store->db, statement)) > 0)
		rc = batch_add(batch, statement);
	return rc;
}

static int batch_call(struct batch *batch, source_row_fn *fn, void *arg)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < batch->count; i++) {
		struct batch_row *row = &batch->rows[i];
		const char *bytes = str_cstr(&batch->bytes);
		row->row.flags = bytes + row->flags;
		row->row.header = bytes + row->header;
		if (row->row.have & SOURCE_ROW_LABELS)
			row->row.labels = bytes + row->labels;
		rc = fn(arg, &row->row);
	}
	return rc;
}

int store_rows_load(
	struct store *store, uint32_t folder, uint32_t first, source_row_fn *fn, void *arg)
{
	_cleanup_batch_ struct batch batch = {0};
	uint64_t next = store_id(folder, first), last = store_id(folder, UINT32_MAX);
	while (next <= last) {
		int rc = batch_load(store, &batch, next, last, STORE_BATCH_ROWS);
		if (rc < 0 || batch.count == 0)
			return rc;
		rc = batch_call(&batch, fn, arg);
		if (rc < 0)
			return rc;
		next = store_id(folder, batch.rows[batch.count - 1].row.uid) + 1;
	}
	return 0;
}

int store_row_get(struct store *store, uint32_t folder, uint32_t uid, source_row_fn *fn, void *arg)
{
	_cleanup_batch_ struct batch batch = {0};
	uint64_t id = store_id(folder, uid);
	int rc = batch_load(store, &batch, id, id, 1);
	if (rc < 0)
		return rc;
	return batch.count ? batch_call(&batch, fn, arg) : -ENOENT;
}

static int flags_put(struct db *db, uint32_t folder, const struct store_flags *flags)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_FLAGS_PUT);
	bind_id(statement, 1, store_id(folder, flags->uid));
	db_bind_text(db, statement, 2, flags->flags);
	sqlite3_bind_int(statement, 3, flags_seen(flags->flags));
	return db_run(db, statement);
}

int store_flags_put(
	struct store *store, uint32_t folder, const struct store_flags *flags, size_t count)
{
	if (count == 0)
		return 0;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	int rc = db_begin(&store->db);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = flags_put(&store->db, folder, &flags[i]);
	return db_end(&store->db, rc);
}

int row_size_put(struct store *store, uint32_t folder, uint32_t uid, uint64_t size_bytes)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_SIZE_PUT);
	bind_id(statement, 1, store_id(folder, uid));
	sqlite3_bind_int64(statement, 2, (sqlite3_int64)size_bytes);
	return db_run(&store->db, statement);
}

int store_size_put(struct store *store, uint32_t folder, uint32_t uid, uint64_t size_bytes)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	return row_size_put(store, folder, uid, size_bytes);
}

static int count_seen(struct db *db, uint32_t folder, bool seen, uint64_t *ret)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_COUNT);
	sqlite3_bind_int(statement, 1, seen);
	bind_id(statement, 2, store_id(folder, 0));
	bind_id(statement, 3, store_id(folder, UINT32_MAX));
	int rc = db_step(db, statement);
	if (rc > 0)
		*ret = (uint64_t)sqlite3_column_int64(statement, 0);
	return rc < 0 ? rc : 0;
}

int store_folder_count(
	struct store *store, uint32_t folder, uint64_t *ret_messages, uint64_t *ret_unseen)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	uint64_t seen = 0, unseen = 0;
	int rc = count_seen(&store->db, folder, true, &seen);
	if (rc == 0)
		rc = count_seen(&store->db, folder, false, &unseen);
	if (rc < 0)
		return rc;
	*ret_messages = seen + unseen;
	*ret_unseen = unseen;
	return 0;
}
