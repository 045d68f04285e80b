/* SPDX-License-Identifier: MIT */
/*
 * The same messages under other numbers: a folder that was renamed keeps its UIDs and gets a new number; in one that was
 * renumbered each message has a new UID.
 *
 * The files are renamed inside the transaction, right before its commit. Whoever is killed in between leaves rows that have
 * no files, which body.c takes for nothing held, and files that have no rows, which are emptied when somebody begins a body there.
 * So bodies may be lost in a crash, and a row never meets the file of another message: for that, no row of the new number may be there
 * when a file comes (nothing was stored of the folder; the section of the message was not), nor a handle that is about
 * to write one.
 *
 * A folder moves in one transaction, however large it is: half of a listing under each number would be two wrong ones.
 */
#include "private.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mailfs/util/log.h"

/* ---- a folder: store->lock is held ---- */

/* Moves the rows of all tables with first ≤ id ≤ last by delta. */
static int move_rows(struct db *db, uint32_t from, uint32_t to)
{
	static const enum db_statement statements[] = {DB_MOVE_ROWS, DB_MOVE_STRUCTURES,
		DB_MOVE_SECTION_SIZES, DB_MOVE_BODIES, DB_MOVE_PINS};
	int64_t delta = (int64_t)(store_id(to, 0) - store_id(from, 0));
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < sizeof(statements) / sizeof(*statements); i++) {
		_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, statements[i]);
		bind_id(statement, 1, store_id(from, 0));
		bind_id(statement, 2, store_id(from, UINT32_MAX));
		sqlite3_bind_int64(statement, 3, delta);
		rc = db_run(db, statement);
	}
	return rc;
}

/* 0; -EEXIST: messages are listed there. What hangs on no message is removed. */
static int clear_place(struct store *store, uint32_t folder)
{
	uint64_t first = store_id(folder, 0), last = store_id(folder, UINT32_MAX);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_ROWS_BOUND);
	bind_id(statement, 1, first);
	bind_id(statement, 2, last);
	sqlite3_bind_int(statement, 3, 0);
	int rc = db_step(&store->db, statement);
	if (rc != 0)
		return rc < 0 ? rc : -EEXIST;
	return remove_attached(store, first, last);
}

/* What stands in the new place is of nobody: an attempt that was killed has left it. */
static int move_files(struct store *store, uint32_t from, uint32_t to)
{
	struct body_file_name old = body_file_folder_name(from), new = body_file_folder_name(to);
	int rc = body_file_remove_folder(store, to);
	if (rc < 0)
		return rc;
	if (renameat(store->bodies_fd, old.text, store->bodies_fd, new.text) == 0 ||
		errno == ENOENT)
		return 0;
	/* Rows without files hold nothing. */
	log_debug("store: bodies/%s: %s", old.text, strerror(errno));
	body_file_remove_folder(store, from);
	return 0;
}

static int disown_and_move(struct store *store, uint32_t from, uint32_t to)
{
	body_disown_folder(store, from);
	body_disown_folder(store, to);
	return move_files(store, from, to);
}

int store_folder_move(struct store *store, uint32_t from, uint32_t to)
{
	if (from == to)
		return 0;
	/* A maildrop has one folder, which nobody renames; its messages lie in files with its number. */
	if (store->kind == STORE_SPOOL)
		return -EPERM;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	int rc = db_begin(&store->db);
	if (rc == 0)
		rc = clear_place(store, to);
	if (rc == 0)
		rc = move_rows(&store->db, from, to);
	bool moved = rc == 0;
	if (moved)
		rc = disown_and_move(store, from, to);
	rc = db_end(&store->db, rc);
	/* The rows are where they were: so are the files. */
	if (rc < 0 && moved)
		move_files(store, to, from);
	usage_moved(store, rc);
	return rc;
}

/* ---- single messages: store->lock is held ---- */

static int carry_known(struct db *db, uint64_t from, uint64_t to)
{
	static const enum db_statement statements[] = {
		DB_CARRY_SIZE, DB_CARRY_STRUCTURE, DB_CARRY_SECTION_SIZES, DB_CARRY_PIN};
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < sizeof(statements) / sizeof(*statements); i++) {
		_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, statements[i]);
		bind_id(statement, 1, from);
		bind_id(statement, 2, to);
		rc = db_run(db, statement);
	}
	return rc;
}

/* The sections of from that to has no row of, each with its NUL. */
static int carried_sections(struct db *db, uint64_t from, uint64_t to, struct str *sections)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_CARRY_SECTIONS);
	bind_id(statement, 1, from);
	bind_id(statement, 2, to);
	int rc;
	while ((rc = db_step(db, statement)) > 0) {
		const char *section = (const char *)sqlite3_column_text(statement, 0);
		if (!section)
			return -ENOMEM;
		str_append(sections, section, strlen(section) + 1);
	}
	return rc < 0 ? rc : str_error(sections);
}

static int carry_body(struct store *store, uint64_t from, uint64_t to, const char *section)
{
	/* Whoever has it open is fetching it, into the file with that name. */
	if (!body_file_section_valid(section) || body_is_open(store, to, section))
		return 0;
	/* The row goes without its file too, and holds nothing then: not what an attempt that was killed has left there. */
	int rc = body_file_rename(store, from, to, section);
	if (rc < 0)
		rc = body_file_remove(store, to, section);
	if (rc < 0)
		return rc;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_CARRY_BODY);
	bind_id(statement, 1, from);
	bind_id(statement, 2, to);
	db_bind_text(&store->db, statement, 3, section);
	return db_run(&store->db, statement);
}

static int carry_bodies(struct store *store, uint64_t from, uint64_t to)
{
	_cleanup_str_ struct str sections = STR_INIT;
	body_disown_message(store, from);
	int rc = carried_sections(&store->db, from, to, &sections);
	const char *section = str_cstr(&sections);
	for (const char *end = section + sections.len; rc == 0 && section < end;) {
		rc = carry_body(store, from, to, section);
		section += strlen(section) + 1;
	}
	return rc;
}

static int carry_batch(struct store *store, uint32_t from, uint32_t to,
	const struct store_carry *pairs, size_t count)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	int rc = db_begin(&store->db);
	for (size_t i = 0; rc == 0 && i < count; i++) {
		uint64_t old = store_id(from, pairs[i].from_uid);
		uint64_t new = store_id(to, pairs[i].to_uid);
		rc = carry_known(&store->db, old, new);
		if (rc == 0)
			rc = carry_bodies(store, old, new);
	}
	rc = db_end(&store->db, rc);
	usage_moved(store, rc);
	return rc;
}

int store_messages_carry(struct store *store, uint32_t from, uint32_t to,
	const struct store_carry *pairs, size_t count)
{
	/* In a spool UIDs are our own, the same for ever. */
	if (store->kind == STORE_SPOOL)
		return -EPERM;
	int rc = 0;
	for (size_t done = 0; rc == 0 && done < count;) {
		size_t n = count - done < STORE_BATCH_ROWS ? count - done : STORE_BATCH_ROWS;
		rc = carry_batch(store, from, to, pairs + done, n);
		done += n;
	}
	return rc;
}
