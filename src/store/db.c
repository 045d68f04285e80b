/* SPDX-License-Identifier: MIT */
/*
 * Opening a database, and the one place where SQLite's codes become errno and log lines. Opening reads
 * the header and the schema and prepares every statement, which fails if a table is not as it should be; it never reads the
 * rows, so that it takes the same time however many there are.
 *
 * Left out: repairing. A damaged cache is set aside at the next opening (aside.c), a damaged spool is reported with what to do about it.
 */
#include "db.h"

#include <errno.h>
#include <string.h>

#include "mailfs/util/log.h"
#include "private.h"
#include "sql.h"

/* How long a statement waits for a stranger (a person with sqlite3(1)) who has the database locked. */
#define BUSY_TIMEOUT_MS 2000

/* Changes that are gathered at most; a thread commits them before that (recorder.c). */
#define GATHERED_MAX 4096

static bool is_damage(int rc)
{
	int primary = rc & 0xff;
	return primary == SQLITE_CORRUPT || primary == SQLITE_NOTADB;
}

/* Also of a table that is not as it was made. */
static bool is_broken(int rc)
{
	int primary = rc & 0xff;
	return is_damage(rc) || primary == SQLITE_ERROR || primary == SQLITE_MISMATCH;
}

/* Called right after the failure. SQLite knows ENOSPC as FULL, but not a quota or a limit of file sizes: errno still tells. */
static int to_errno(int rc)
{
	int os_errno = errno;
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return -ENOSPC;
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		return rc == SQLITE_IOERR_NOMEM ? -ENOMEM : store_errno(os_errno);
	default:
		return -EIO;
	}
}

static int fail(struct db *db, int rc)
{
	int err = to_errno(rc);
	bool broken = is_damage(rc) || (!db->spool && is_broken(rc));
	unsigned kind = broken ? 1 : err == -ENOSPC ? 2 : err == -ENOMEM ? 4 : 8;
	/* In a spool a full disk is told by who downloads, with what it means for the mail. */
	if (db->logged & kind || (db->spool && err == -ENOSPC))
		return err;
	db->logged |= kind;
	if (broken && !db->spool)
		db->on_damage(db->arg);
	if (broken && db->spool)
		log_error(
			"the store in %s is damaged (%s); its messages are plain files under %s/bodies (small ones together, as mbox files): "
			"unmount, move the directory away and mount again to download anew what the server still has",
			db->directory, sqlite3_errmsg(db->handle), db->directory);
	else if (broken)
		log_error(
			"the store in %s is damaged (%s); it is only a cache: unmount and mount again, and it is begun anew",
			db->directory, sqlite3_errmsg(db->handle));
	else
		log_error("the store in %s: %s (%s)", db->directory, sqlite3_errmsg(db->handle),
			strerror(-err));
	return err;
}

static int fail_open(struct db *db, int rc, struct str *why)
{
	int err = to_errno(rc);
	db->full_err = spill_errno(rc);
	const char *text = db->handle ? sqlite3_errmsg(db->handle) : sqlite3_errstr(rc);
	db->damaged = is_damage(rc) || (rc & 0xff) == SQLITE_ERROR;
	if (db->damaged && db->spool)
		str_printf(why,
			"the store in %s is damaged (%s); its messages are plain files under %s/bodies (small ones together, as mbox files): "
			"move the directory away and try again to download anew what the server still has",
			db->directory, text, db->directory);
	else if (db->damaged)
		str_printf(why,
			"the store in %s is damaged (%s); it is only a cache: delete that directory and try again",
			db->directory, text);
	else if (err == -ENOSPC)
		/* SQLite calls it an I/O error: even a reader needs 32 KiB, for store.db-shm. */
		str_printf(why,
			"the store in %s can not be opened: %s: free some space there and try again",
			db->directory, strerror(ENOSPC));
	else
		str_printf(why, "the store in %s can not be opened: %s", db->directory, text);
	return err;
}

static int exec(struct db *db, const char *sql, struct str *why)
{
	errno = 0;
	int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : fail_open(db, rc, why);
}

static int read_version(struct db *db, int *ret, struct str *why)
{
	sqlite3_stmt *statement = NULL;
	errno = 0;
	int rc = sqlite3_prepare_v2(db->handle, "PRAGMA user_version", -1, &statement, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(statement);
	if (rc == SQLITE_ROW)
		*ret = sqlite3_column_int(statement, 0);
	int err = rc == SQLITE_ROW ? 0 : fail_open(db, rc, why);
	sqlite3_finalize(statement);
	return err;
}

static int check_version(struct db *db, int version, struct str *why)
{
	if (version >= 0 && version <= SQL_SCHEMA_VERSION)
		return 0;
	str_printf(why,
		"the store in %s is of a newer mailfs (its schema is version %d, this mailfs knows up to %d): "
		"use that mailfs, or ",
		db->directory, version, SQL_SCHEMA_VERSION);
	if (db->spool)
		str_printf(why,
			"move the directory away (its messages are plain files under %s/bodies, small ones together, as mbox files) "
			"to download anew what the server still has",
			db->directory);
	else
		str_append_cstr(why, "delete the directory, which is only a cache");
	return -EPROTO;
}

/* All steps in one transaction, the version among them: a schema is whole or not there. */
static int migrate(struct db *db, int version, struct str *why)
{
	if (version == SQL_SCHEMA_VERSION)
		return 0;
	int rc = exec(db, "BEGIN IMMEDIATE", why);
	for (; rc == 0 && version < SQL_SCHEMA_VERSION; version++)
		rc = exec(db, sql_schema[version], why);
	char text[64];
	sqlite3_snprintf(sizeof(text), text, "PRAGMA user_version=%d; COMMIT", SQL_SCHEMA_VERSION);
	if (rc == 0)
		rc = exec(db, text, why);
	return rc;
}

static int prepare(struct db *db, struct str *why)
{
	for (int i = 0; i < DB_STATEMENTS; i++) {
		int rc = sqlite3_prepare_v3(db->handle, sql_statements[i], -1,
			SQLITE_PREPARE_PERSISTENT, &db->statements[i], NULL);
		if (rc != SQLITE_OK)
			return fail_open(db, rc, why);
	}
	return 0;
}

/* What a damaged or planted database could make SQLite do is switched off. */
static void harden(sqlite3 *handle)
{
	sqlite3_db_config(handle, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
	sqlite3_db_config(handle, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
	sqlite3_db_config(handle, SQLITE_DBCONFIG_ENABLE_VIEW, 0, NULL);
}

static const char *vfs_name(const struct db *db)
{
	return db->spool ? NULL : db->spill.name;
}

static int open_handle(struct db *db, const char *path, struct str *why)
{
	errno = 0;
	int rc = sqlite3_open_v2(path, &db->handle,
		SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOFOLLOW | SQLITE_OPEN_NOMUTEX |
			SQLITE_OPEN_EXRESCODE,
		vfs_name(db));
	if (rc != SQLITE_OK)
		return fail_open(db, rc, why);
	sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT_MS);
	harden(db->handle);
	/* With the database to itself, SQLite needs no store.db-shm, which can not be made on a full disk. */
	return db->spill.alone ? exec(db, "PRAGMA locking_mode=EXCLUSIVE", why) : 0;
}

static void frozen(void *arg)
{
	struct db *db = arg;
	checkpoint_wake(&db->checkpoint);
}

static int start_spill(struct db *db, int alone_err, struct str *why)
{
	if (db->spool)
		return 0;
	int rc = spill_init(&db->spill, alone_err, frozen, db);
	return rc == SQLITE_OK ? 0 : fail_open(db, rc, why);
}

static int start_checkpoints(struct db *db, const struct db_params *p, struct str *why)
{
	errno = 0;
	const struct checkpoint_params params = {.path = p->path,
		.vfs = vfs_name(db),
		.writer = db->handle,
		.spill = db->spool ? NULL : &db->spill,
		.full = p->full,
		.arg = p->arg};
	int rc = checkpoint_start(&db->checkpoint, &params);
	return rc == SQLITE_OK ? 0 : fail_open(db, rc, why);
}

/* A new database gets its first page by way of a journal, which shall not be a file where nothing is written. */
static int begin_fresh(struct db *db, const struct db_params *params, struct str *why)
{
	int rc = params->fresh(params->arg, why);
	if (rc == 0 && db->spill.alone)
		rc = exec(db, "PRAGMA journal_mode=MEMORY", why);
	return rc;
}

/* Nobody asks how much memory SQLite has, and to count it takes a lock for each allocation. After its first use SQLite refuses, which is as well. */
static void configure(void)
{
	sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

int db_open(struct db *db, const struct db_params *params, int alone_err, struct str *why)
{
	*db = (struct db){.directory = params->directory,
		.spool = params->spool,
		.on_damage = params->on_damage,
		.on_lost = params->on_lost,
		.arg = params->arg};
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	pthread_once(&once, configure);
	int version = 0;
	int rc = start_spill(db, alone_err, why);
	if (rc == 0)
		rc = open_handle(db, params->path, why);
	if (rc == 0)
		rc = read_version(db, &version, why);
	if (rc == 0)
		rc = check_version(db, version, why);
	if (rc == 0 && version == 0)
		rc = begin_fresh(db, params, why);
	if (rc == 0)
		rc = exec(db, sql_pragmas, why);
	if (rc == 0)
		rc = migrate(db, version, why);
	if (rc == 0)
		rc = prepare(db, why);
	if (rc == 0)
		rc = start_checkpoints(db, params, why);
	if (rc < 0) {
		bool damaged = db->damaged;
		int full_err = db->full_err;
		db_close(db);
		db->damaged = damaged;
		db->full_err = full_err;
	}
	return rc;
}

void db_close(struct db *db)
{
	if (db->handle)
		(void)db_flush(db);
	checkpoint_stop(&db->checkpoint);
	for (int i = 0; i < DB_STATEMENTS; i++)
		sqlite3_finalize(db->statements[i]);
	/* What is in memory only is lost now: no need to bring it from the log into the database. */
	if (db_spilling(db))
		sqlite3_db_config(db->handle, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	sqlite3_close(db->handle);
	spill_finish(&db->spill);
	*db = (struct db){0};
}

int db_thaw(struct db *db)
{
	(void)db_flush(db);
	return spill_thaw(&db->spill, db->handle);
}

sqlite3_stmt *db_statement(struct db *db, enum db_statement which)
{
	sqlite3_stmt *statement = db->statements[which];
	if (db_pending(db) && !db->joining && !sqlite3_stmt_readonly(statement))
		(void)db_flush(db);
	db->bind_rc = SQLITE_OK;
	return statement;
}

void db_bind_blob(struct db *db, sqlite3_stmt *statement, int index, const void *data, size_t len)
{
	int rc = sqlite3_bind_blob64(statement, index, len ? data : "", len, SQLITE_STATIC);
	if (rc != SQLITE_OK)
		db->bind_rc = rc;
}

void db_bind_text(struct db *db, sqlite3_stmt *statement, int index, const char *text)
{
	int rc = sqlite3_bind_text64(
		statement, index, text, strlen(text), SQLITE_STATIC, SQLITE_UTF8);
	if (rc != SQLITE_OK)
		db->bind_rc = rc;
}

int db_step(struct db *db, sqlite3_stmt *statement)
{
	errno = 0;
	int rc = db->bind_rc == SQLITE_OK ? sqlite3_step(statement) : db->bind_rc;
	if (rc == SQLITE_ROW)
		return 1;
	return rc == SQLITE_DONE ? 0 : fail(db, rc);
}

int db_run(struct db *db, sqlite3_stmt *statement)
{
	int rc = db_step(db, statement);
	return rc > 0 ? 0 : rc;
}

bool db_unwritable(struct db *db, int rc)
{
	int primary = sqlite3_errcode(db->handle) & 0xff;
	if (rc == -ENOSPC || primary == SQLITE_READONLY)
		return true;
	return (primary == SQLITE_IOERR || primary == SQLITE_CANTOPEN) &&
	       sqlite3_system_errno(db->handle) == EROFS;
}

static int run(struct db *db, enum db_statement which)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, which);
	return db_run(db, statement);
}

int db_begin(struct db *db)
{
	(void)db_flush(db);
	return run(db, DB_BEGIN);
}

int db_end(struct db *db, int rc)
{
	if (rc == 0)
		rc = run(db, DB_COMMIT);
	/* After some errors, a full disk among them, SQLite has rolled back by itself. */
	if (rc < 0 && !sqlite3_get_autocommit(db->handle))
		run(db, DB_ROLLBACK);
	return rc;
}

/* ---- small changes, gathered ---- */

/* Whether all that was gathered is gone: SQLite has rolled back by itself, for which a failed read is enough. */
static bool note_lost(struct db *db)
{
	if (!db->gathering || !sqlite3_get_autocommit(db->handle))
		return false;
	db->gathering = false;
	db->on_lost(db->arg);
	return true;
}

void db_look(struct db *db)
{
	if (!db->spool && sqlite3_get_autocommit(db->handle))
		db->looking = run(db, DB_BEGIN_READ) == 0;
}

static void end_look(struct db *db)
{
	db->looking = false;
	/* After some errors SQLite has ended it by itself. */
	if (!sqlite3_get_autocommit(db->handle))
		(void)run(db, DB_COMMIT);
}

int db_flush(struct db *db)
{
	if (db->looking)
		end_look(db);
	if (!db->gathering)
		return 0;
	if (note_lost(db))
		return -EIO;
	db->joining = true;
	int rc = db_end(db, 0);
	db->joining = false;
	if (rc < 0)
		note_lost(db);
	db->gathering = false;
	return rc;
}

int db_join(struct db *db)
{
	int rc = 0;
	note_lost(db);
	if (db->looking)
		end_look(db);
	/* Within a transaction there is nothing to begin. */
	if (!db->spool && !db->gathering && sqlite3_get_autocommit(db->handle)) {
		rc = run(db, DB_BEGIN);
		db->gathering = rc == 0;
		db->gathered = 0;
	}
	db->joining = db->gathering;
	return rc;
}

int db_part(struct db *db, int rc)
{
	db->joining = false;
	if (!db->gathering)
		return rc;
	if (rc < 0) {
		note_lost(db);
		return rc;
	}
	return ++db->gathered < GATHERED_MAX ? 0 : db_flush(db);
}

/* No statement can be prepared once for this: it takes effect when it is compiled. Not within a transaction. */
static int set_synchronous(struct db *db, const char *sql)
{
	errno = 0;
	int rc = sqlite3_exec(db->handle, sql, NULL, NULL, NULL);
	return rc == SQLITE_OK ? 0 : fail(db, rc);
}

/*
 * FULL syncs the log at the commit. What a checkpoint takes out of the log later is safe too: with NORMAL, which both
 * connections have at least, SQLite syncs the database before the log is begun anew.
 */
int db_begin_durable(struct db *db)
{
	int rc = set_synchronous(db, "PRAGMA synchronous=FULL");
	return rc < 0 ? rc : db_begin(db);
}

int db_end_durable(struct db *db, int rc)
{
	rc = db_end(db, rc);
	/* It stays FULL where this fails, which is slow, not wrong. */
	(void)set_synchronous(db, "PRAGMA synchronous=NORMAL");
	return rc;
}
