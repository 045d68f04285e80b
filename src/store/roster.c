/* SPDX-License-Identifier: MIT */
/*
 * The account's mailboxes, for a mount without the server. That one was put at all is a fact of its own: an account
 * may have none.
 *
 * They are handed out from a copy, without the lock.
 */
#include "private.h"

#include <errno.h>
#include <string.h>

#define PUT_FACT "store.roster"

struct entry {
	struct source_mailbox mailbox;
	size_t name, special_use; /* offsets in bytes: they move while it grows */
};

struct roster {
	struct str bytes;
	struct entry *entries;
	size_t count, cap;
};

static void roster_finish(struct roster *roster)
{
	free(roster->entries);
	str_finish(&roster->bytes);
}
#define _cleanup_roster_ _cleanup_(roster_finish)

/* ---- put ---- */

static int clear(struct db *db)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_ROSTER_CLEAR);
	return db_run(db, statement);
}

static int add(struct db *db, size_t position, const struct source_mailbox *mailbox)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_ROSTER_ADD);
	const char *use = mailbox->special_use;
	sqlite3_bind_int64(statement, 1, (sqlite3_int64)position);
	db_bind_blob(db, statement, 2, mailbox->name, strlen(mailbox->name));
	sqlite3_bind_int(statement, 3, (unsigned char)mailbox->delimiter);
	sqlite3_bind_int64(statement, 4, mailbox->flags);
	if (use)
		db_bind_blob(db, statement, 5, use, strlen(use));
	return db_run(db, statement);
}

int store_roster_put(struct store *store, const struct source_mailbox *mailboxes, size_t count)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	struct db *db = &store->db;
	int rc = db_begin(db);
	if (rc == 0)
		rc = clear(db);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = add(db, i, &mailboxes[i]);
	if (rc == 0)
		rc = fact_put(store, PUT_FACT, NULL, 0);
	return db_end(db, rc);
}

/* ---- load ---- */

/* Copies a column behind the bytes, NUL-terminated; where it begins. */
static size_t copy(struct roster *roster, sqlite3_stmt *statement, int column)
{
	size_t at = roster->bytes.len;
	const void *data = sqlite3_column_blob(statement, column);
	str_append(
		&roster->bytes, data, data ? (size_t)sqlite3_column_bytes(statement, column) : 0);
	str_putc(&roster->bytes, 0);
	return at;
}

static int load_entry(struct roster *roster, sqlite3_stmt *statement)
{
	if (array_grow(&roster->entries, &roster->cap, roster->count + 1,
		    sizeof(*roster->entries)) < 0)
		return -ENOMEM;
	struct entry *entry = &roster->entries[roster->count++];
	*entry = (struct entry){
		.mailbox.delimiter = (char)sqlite3_column_int(statement, 1),
		.mailbox.flags = (unsigned)sqlite3_column_int64(statement, 2),
		.name = copy(roster, statement, 0),
		.special_use = SIZE_MAX,
	};
	if (sqlite3_column_type(statement, 3) != SQLITE_NULL)
		entry->special_use = copy(roster, statement, 3);
	return str_error(&roster->bytes);
}

static int load(struct store *store, struct roster *roster)
{
	_cleanup_str_ struct str fact = STR_INIT;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	int rc = fact_get(store, PUT_FACT, &fact);
	if (rc < 0)
		return rc;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_ROSTER_LOAD);
	while ((rc = db_step(&store->db, statement)) > 0) {
		rc = load_entry(roster, statement);
		if (rc < 0)
			return rc;
	}
	return rc;
}

int store_roster_load(struct store *store, source_mailbox_fn *fn, void *arg)
{
	_cleanup_roster_ struct roster roster = {0};
	int rc = load(store, &roster);
	const char *bytes = str_cstr(&roster.bytes);
	for (size_t i = 0; rc == 0 && i < roster.count; i++) {
		struct entry *entry = &roster.entries[i];
		entry->mailbox.name = bytes + entry->name;
		if (entry->special_use != SIZE_MAX)
			entry->mailbox.special_use = bytes + entry->special_use;
		rc = fn(arg, &entry->mailbox);
	}
	return rc;
}
