/* SPDX-License-Identifier: MIT */
/*
 * Removing messages and folders with all that hangs on them. Files go before the rows that know of them: whoever is
 * killed in between leaves a row without a file, which body.c takes for nothing held, and never a file that nobody knows.
 * Many are removed in batches, each of them whole, with the lock released in between.
 *
 * A message that the spool records is never removed, whoever asks: -EPERM, for the whole batch, before anything is touched.
 * Nor is any file of a spool.
 */
#include "private.h"

#include <errno.h>

/* 0, or -EPERM: a message among them may be the only copy. */
static int check_unspooled(struct store *store, uint32_t folder, const uint32_t *uids, size_t count)
{
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < count; i++) {
		struct spool_known known;
		rc = spool_find(store, store_id(folder, uids[i]), &known);
	}
	return rc > 0 ? -EPERM : rc;
}

static int remove_recorded_files(struct store *store, uint64_t id)
{
	/* In a spool a file belongs to a message that is recorded, or may be the only copy of one that is not. */
	if (store->kind == STORE_SPOOL)
		return 0;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_BODY_SECTIONS);
	bind_id(statement, 1, id);
	int rc;
	while ((rc = db_step(&store->db, statement)) > 0) {
		const char *section = (const char *)sqlite3_column_text(statement, 0);
		if (!section)
			return -ENOMEM;
		if (body_file_section_valid(section))
			body_file_remove(store, id, section);
	}
	return rc;
}

/* Removes the rows of all tables with first ≤ id ≤ last; attached: but for the listing's. */
static int remove_range(struct store *store, uint64_t first, uint64_t last, bool attached)
{
	struct db *db = &store->db;
	static const enum db_statement statements[] = {
		DB_REMOVE_ROWS, DB_REMOVE_STRUCTURES, DB_REMOVE_SECTION_SIZES, DB_REMOVE_BODIES};
	int rc = usage_forget(store, first, last);
	for (size_t i = attached; rc == 0 && i < sizeof(statements) / sizeof(*statements); i++) {
		_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, statements[i]);
		bind_id(statement, 1, first);
		bind_id(statement, 2, last);
		rc = db_run(db, statement);
	}
	return rc;
}

static int remove_message(struct store *store, uint64_t id)
{
	body_disown_message(store, id);
	int rc = remove_recorded_files(store, id);
	return rc < 0 ? rc : remove_range(store, id, id, false);
}

int remove_attached(struct store *store, uint64_t first, uint64_t last)
{
	return remove_range(store, first, last, true);
}

/* Where the rows are back, what was told of them is not true. */
static int end(struct store *store, int rc)
{
	rc = db_end(&store->db, rc);
	if (rc < 0)
		usage_recount(store);
	return rc;
}

static int remove_batch(struct store *store, uint32_t folder, const uint32_t *uids, size_t count)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	int rc = check_unspooled(store, folder, uids, count);
	if (rc < 0)
		return rc;
	rc = db_begin(&store->db);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = remove_message(store, store_id(folder, uids[i]));
	return end(store, rc);
}

int store_rows_remove(struct store *store, uint32_t folder, const uint32_t *uids, size_t count)
{
	int rc = 0;
	for (size_t done = 0; rc == 0 && done < count;) {
		size_t n = count - done < STORE_BATCH_ROWS ? count - done : STORE_BATCH_ROWS;
		rc = remove_batch(store, folder, uids + done, n);
		done += n;
	}
	return rc;
}

/* The id at which a batch that begins at first ends; last when the rest is no more than a batch. */
static int batch_bound(struct db *db, uint64_t first, uint64_t last, uint64_t *ret)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_ROWS_BOUND);
	bind_id(statement, 1, first);
	bind_id(statement, 2, last);
	sqlite3_bind_int(statement, 3, STORE_BATCH_ROWS);
	int rc = db_step(db, statement);
	*ret = rc > 0 ? (uint64_t)sqlite3_column_int64(statement, 0) : last;
	return rc < 0 ? rc : 0;
}

/* Removes what is left from *first on, in part; *first is moved behind it. */
static int remove_folder_batch(struct store *store, uint64_t *first, uint64_t last)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	uint64_t bound = last;
	int rc = db_begin(&store->db);
	if (rc == 0)
		rc = batch_bound(&store->db, *first, last, &bound);
	if (rc == 0)
		rc = remove_range(store, *first, bound, false);
	*first = bound + 1;
	return end(store, rc);
}

/* 0, or -EPERM: there are messages in it that may be the only copies. */
static int disown_folder(struct store *store, uint32_t folder)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	int rc = spool_any(store, folder);
	if (rc == 0)
		body_disown_folder(store, folder);
	return rc > 0 ? -EPERM : rc;
}

int store_folder_remove(struct store *store, uint32_t folder)
{
	uint64_t first = store_id(folder, 0), last = store_id(folder, UINT32_MAX);
	/* Nothing comes into the spool meanwhile. */
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->commit_lock);
	int rc = disown_folder(store, folder);
	if (rc < 0)
		return rc;
	int files_rc = store->kind == STORE_SPOOL ? 0 : body_file_remove_folder(store, folder);
	while (rc == 0 && first <= last)
		rc = remove_folder_batch(store, &first, last);
	return rc == 0 ? files_rc : rc;
}
