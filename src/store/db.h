/* SPDX-License-Identifier: MIT */
/*
 * The database below the store: one SQLite handle with its schema and its prepared statements. The caller
 * holds the store's lock in every call; nothing here locks.
 */
#ifndef MAILFS_STORE_DB_H
#define MAILFS_STORE_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "checkpoint.h"
#include "mailfs/util/str.h"
#include "spill.h"

/* How many rows of messages DB_ROWS_PUT takes; each has its members one after the other. */
#define DB_ROWS_PUT_COUNT   32
#define DB_ROWS_PUT_MEMBERS 7

enum db_statement {
	DB_BEGIN,
	DB_BEGIN_READ,
	DB_COMMIT,
	DB_ROLLBACK,
	DB_NUMBER_FIND,
	DB_NUMBER_TAKEN,
	DB_NUMBER_ADD,
	DB_MAILBOX_GET,
	DB_MAILBOX_PUT,
	DB_ROW_PUT,
	DB_ROWS_PUT,
	DB_ROWS_LOAD,
	DB_FLAGS_PUT,
	DB_SIZE_PUT,
	DB_COUNT,
	DB_ROWS_BOUND,
	DB_STRUCTURE_PUT,
	DB_STRUCTURE_GET,
	DB_STRUCTURES_MISSING,
	DB_SECTION_SIZE_PUT,
	DB_SECTION_SIZE_GET,
	DB_MAILBOX_REMOVE,
	DB_MAILBOX_UNPIN,
	DB_ROSTER_CLEAR,
	DB_ROSTER_ADD,
	DB_ROSTER_LOAD,
	DB_FACT_PUT,
	DB_FACT_GET,
	DB_MOVE_ROWS,
	DB_MOVE_STRUCTURES,
	DB_MOVE_SECTION_SIZES,
	DB_MOVE_BODIES,
	DB_MOVE_PINS,
	DB_CARRY_SIZE,
	DB_CARRY_STRUCTURE,
	DB_CARRY_SECTION_SIZES,
	DB_CARRY_PIN,
	DB_CARRY_SECTIONS,
	DB_CARRY_BODY,
	DB_BODY_PUT,
	DB_BODY_GET,
	DB_BODY_REMOVE,
	DB_BODY_SECTIONS,
	DB_BODY_COUNTED,
	DB_BODY_USED,
	DB_BODY_CLOCK,
	DB_BODIES_AFTER,
	DB_BODIES_BY_USE,
	DB_BODIES_SUM,
	DB_STRUCTURES_AFTER,
	DB_PIN_ADD,
	DB_PIN_REMOVE,
	DB_PIN_GET,
	DB_PIN_ANY,
	DB_PIN_WITHIN,
	DB_PIN_MAILBOX_ADD,
	DB_PIN_MAILBOX_REMOVE,
	DB_PIN_MAILBOX_GET,
	DB_PIN_FOLDERS,
	DB_MAILBOX_FOLDERS,
	DB_MESSAGE_DATE,
	DB_MESSAGES_WALK,
	DB_MISSING_UP,
	DB_MISSING_DOWN,
	DB_SPOOL_ADD,
	DB_SPOOL_REMOVE,
	DB_SPOOL_FIND,
	DB_SPOOL_ANY,
	DB_SPOOL_LOAD,
	DB_SPOOL_PLACES,
	DB_SPOOL_UIDL,
	DB_SPOOL_DELETED,
	DB_SPOOL_LISTED,
	DB_SPOOL_LOSE,
	DB_PACK_PUT,
	DB_PACKS,
	DB_SPOOL_STATE_GET,
	DB_SPOOL_STATE_PUT,
	DB_REMOVE_ROWS,
	DB_REMOVE_STRUCTURES,
	DB_REMOVE_SECTION_SIZES,
	DB_REMOVE_BODIES,
	DB_STATEMENTS
};

struct db {
	sqlite3 *handle;
	sqlite3_stmt *statements[DB_STATEMENTS];
	const char *directory; /* of the store, for messages; borrowed */
	bool spool;            /* what to do about damage is another thing there */
	unsigned logged;       /* kinds of failure that were logged */
	bool looking;          /* a transaction is open that only reads */
	bool gathering;        /* one is open that others may join */
	bool joining;          /* and somebody is about to write in it */
	unsigned gathered;     /* how often that was done */
	int bind_rc;           /* of a binding that failed, for db_step() to give */
	struct checkpoint checkpoint;
	struct spill spill; /* not of a spool, whose messages are on the disk or nowhere */
	void (*on_damage)(void *arg);
	void (*on_lost)(void *arg);
	void *arg;
	bool damaged; /* what db_open() failed with */
	int full_err; /* as above: a positive errno, if nothing could be written */
};

struct db_params {
	const char *path;      /* exists; an empty file is a new database */
	const char *directory; /* of the store, for messages; stays */
	bool spool;            /* its messages may be the only copies */
	/*
	 * Called for a new database, before it becomes one: if it fails, or the process dies in it, the database is new again
	 * next time.
	 */
	int (*fresh)(void *arg, struct str *why);
	/* Called when damage is met while the database is open, if it is no spool's; the caller of a db_* call has its locks. */
	void (*on_damage)(void *arg);
	/* Called when what was gathered is lost: see db_join(). It may read the database. */
	void (*on_lost)(void *arg);
	checkpoint_full_fn *full; /* see checkpoint.h; not for a spool */
	void *arg;
};

/*
 * Opens the database and brings its schema up to date. -EPROTO: of a newer mailfs. On failure why has a line, and db needs
 * no close; db->damaged and db->full_err say more. db stays where it is: a thread knows it. alone_err: 0, or a positive errno because of which
 * nothing is to be written from the beginning (not for a spool; the file need not exist then).
 */
int db_open(struct db *db, const struct db_params *params, int alone_err, struct str *why);
void db_close(struct db *db);

/* The statement, ready to be bound. One that writes, and does not join, begins with db_flush(). */
sqlite3_stmt *db_statement(struct db *db, enum db_statement which);
/* Ends the use of a statement: it would hold a read transaction open otherwise. */
static inline void cleanup_statement(sqlite3_stmt **statement)
{
	sqlite3_reset(*statement);
	sqlite3_clear_bindings(*statement);
}
#define _cleanup_statement_ __attribute__((cleanup(cleanup_statement)))

/* Bytes that stay valid until the statement is reset; len 0 is an empty value, not NULL. */
void db_bind_blob(struct db *db, sqlite3_stmt *statement, int index, const void *data, size_t len);
void db_bind_text(struct db *db, sqlite3_stmt *statement, int index, const char *text);

/* 1: a row; 0: no more; -ENOSPC, -ENOMEM, -EIO (logged once for each kind of failure). */
int db_step(struct db *db, sqlite3_stmt *statement);
/* Runs a statement that gives no rows. */
int db_run(struct db *db, sqlite3_stmt *statement);

/* Whether what is written gets no further than memory: the disk is full. Blocks: never. */
static inline bool db_spilling(const struct db *db)
{
	return spill_frozen(&db->spill);
}

/* Writes back what is in memory, see spill_thaw(). No transaction is begun, and no statement used. */
int db_thaw(struct db *db);

/* Whether what has just failed with rc did so because nothing can be written: the disk is full, or read-only. Before any other call. */
bool db_unwritable(struct db *db, int rc);

/* What was gathered is committed before. */
int db_begin(struct db *db);
/* Commits when rc is 0, else takes everything back; returns rc, or what the commit failed with. */
int db_end(struct db *db, int rc);
/*
 * Small changes that may be lost in a crash, as a whole and only the latest of them, are gathered in one transaction, because a commit costs more than
 * they do: db_join(), a change of one statement, db_part(). Whoever reads sees them; whoever writes anything else commits them first. Within a transaction they are
 * part of that one. In a spool nothing may be lost: there each is committed. If they can not be committed all are lost, which on_lost() is told.
 */
int db_join(struct db *db);
/* rc: what came of the change, which is returned, or what its commit failed with. */
int db_part(struct db *db, int rc);
/* Commits what was gathered, and ends db_look(). 0, also where nothing was; else it is lost. */
int db_flush(struct db *db);
/*
 * For many small reads in a row, which share a transaction, because to begin and end one costs as much as they do. It ends with db_flush(), or
 * before anything is written. Until then strangers' changes are not seen.
 */
void db_look(struct db *db);
/* Whether there is something for db_flush(). */
static inline bool db_pending(const struct db *db)
{
	return db->gathering || db->looking;
}
/* How many changes are gathered. */
static inline unsigned db_gathered(const struct db *db)
{
	return db->gathering ? db->gathered : 0;
}
/* db_begin() and db_end() for a transaction that is on the disk, and survives the loss of power, when db_end_durable() returns 0. */
int db_begin_durable(struct db *db);
int db_end_durable(struct db *db, int rc);

#endif
