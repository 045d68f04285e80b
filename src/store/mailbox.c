/* SPDX-License-Identifier: MIT */
/*
 * Numbers, which inode numbers are made of, and what is known of each mailbox. A number comes from a hash, so
 * that two machines agree on it; the table settles who has it when two keys hash to the same, and is never cleaned.
 */
#include "private.h"

#include <errno.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/hash.h"

#define NUMBER_MAX UINT32_C(0x7fffffff)

static void number_key(struct str *key, const char *account, enum store_number_kind kind,
	const char *mailbox, uint32_t uidvalidity)
{
	str_append(key, account, strlen(account) + 1);
	str_append(key, kind == STORE_NUMBER_DIRECTORY ? "d" : "f", 2);
	str_append(key, mailbox, strlen(mailbox) + 1);
	str_printf(key, "%u", (unsigned)uidvalidity);
}

/* The number a key has when no other key has it. */
static uint32_t number_of_key(const struct str *key)
{
	uint64_t hash = hash64_finish(hash64(HASH64_INIT, key->data, key->len));
	uint32_t number = (uint32_t)(hash >> 33);
	return number ? number : 1;
}

/* 1: *ret is the number of key; 0: it has none yet. */
static int number_find(struct db *db, const struct str *key, uint32_t *ret)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_NUMBER_FIND);
	db_bind_blob(db, statement, 1, key->data, key->len);
	int rc = db_step(db, statement);
	if (rc > 0)
		*ret = (uint32_t)sqlite3_column_int64(statement, 0);
	return rc;
}

static int number_taken(struct db *db, uint32_t number)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_NUMBER_TAKEN);
	sqlite3_bind_int64(statement, 1, number);
	return db_step(db, statement);
}

static int number_add(struct db *db, const struct str *key, uint32_t *ret)
{
	uint32_t number = number_of_key(key);
	int rc;
	while ((rc = number_taken(db, number)) > 0)
		number = number == NUMBER_MAX ? 1 : number + 1;
	if (rc < 0)
		return rc;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_NUMBER_ADD);
	sqlite3_bind_int64(statement, 1, number);
	db_bind_blob(db, statement, 2, key->data, key->len);
	rc = db_run(db, statement);
	/* It is the same next time, unless another key gets it before; that takes two of one hash. */
	if (rc < 0 && db_unwritable(db, rc))
		rc = 0;
	if (rc == 0)
		*ret = number;
	return rc;
}

int store_number(struct store *store, const char *account, enum store_number_kind kind,
	const char *mailbox, uint32_t uidvalidity, uint32_t *ret)
{
	_cleanup_str_ struct str key = STR_INIT;
	number_key(&key, account, kind, mailbox, uidvalidity);
	if (str_error(&key) < 0)
		return -ENOMEM;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	int rc = number_find(&store->db, &key, ret);
	if (rc == 0)
		return number_add(&store->db, &key, ret);
	return rc < 0 ? rc : 0;
}

/* 1: found; 0: not there. */
static int mailbox_find(struct db *db, const char *mailbox, struct store_mailbox *ret)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_MAILBOX_GET);
	db_bind_blob(db, statement, 1, mailbox, strlen(mailbox));
	int rc = db_step(db, statement);
	if (rc > 0)
		*ret = (struct store_mailbox){
			.folder = (uint32_t)sqlite3_column_int64(statement, 0),
			.uidvalidity = (uint32_t)sqlite3_column_int64(statement, 1),
			.uidnext = (uint32_t)sqlite3_column_int64(statement, 2),
			.modseq = (uint64_t)sqlite3_column_int64(statement, 3),
			.complete = sqlite3_column_int(statement, 4) != 0,
			.changed_s = sqlite3_column_int64(statement, 5),
			.checked_s = sqlite3_column_int64(statement, 6),
			.mailbox_id = (uint64_t)sqlite3_column_int64(statement, 7),
			.former = (uint32_t)sqlite3_column_int64(statement, 8),
		};
	return rc;
}

static int mailbox_put(struct db *db, const char *mailbox, const struct store_mailbox *state)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_MAILBOX_PUT);
	db_bind_blob(db, statement, 1, mailbox, strlen(mailbox));
	sqlite3_bind_int64(statement, 2, state->folder);
	sqlite3_bind_int64(statement, 3, state->uidvalidity);
	sqlite3_bind_int64(statement, 4, state->uidnext);
	sqlite3_bind_int64(statement, 5, (sqlite3_int64)state->modseq);
	sqlite3_bind_int(statement, 6, state->complete);
	sqlite3_bind_int64(statement, 7, state->changed_s);
	sqlite3_bind_int64(statement, 8, state->checked_s);
	sqlite3_bind_int64(statement, 9, (sqlite3_int64)state->mailbox_id);
	sqlite3_bind_int64(statement, 10, state->former);
	return db_run(db, statement);
}

int store_mailbox_get(struct store *store, const char *mailbox, struct store_mailbox *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	int rc = mailbox_find(&store->db, mailbox, ret);
	if (rc != 0)
		return rc < 0 ? rc : 0;
	struct store_mailbox state = {.changed_s = clock_wall_s()};
	rc = mailbox_put(&store->db, mailbox, &state);
	if (rc == 0)
		*ret = state;
	return rc;
}

int store_mailbox_put(struct store *store, const char *mailbox, const struct store_mailbox *state)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	return mailbox_put(&store->db, mailbox, state);
}

static int run_named(struct db *db, enum db_statement which, const char *mailbox)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, which);
	db_bind_blob(db, statement, 1, mailbox, strlen(mailbox));
	return db_run(db, statement);
}

int store_mailbox_remove(struct store *store, const char *mailbox)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	int rc = db_begin(&store->db);
	if (rc == 0)
		rc = run_named(&store->db, DB_MAILBOX_REMOVE, mailbox);
	if (rc == 0)
		rc = run_named(&store->db, DB_MAILBOX_UNPIN, mailbox);
	return db_end(&store->db, rc);
}
