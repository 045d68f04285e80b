/* SPDX-License-Identifier: MIT */
/*
 * The schema and every statement, in one place, so that they can be read against each other.
 *
 * What belongs to a message is found by id = folder << 32 | uid, the same number as its inode: one integer key, rows of
 * a folder side by side in UID order, and a folder is the range of ids from folder << 32 to folder << 32 | 0xffffffff.
 * A member of a row that the server did not give is NULL. Numbers of folders are never given up, so that an
 * inode number never means another message.
 *
 * A step of the schema that has been released is never edited: a change is one more step.
 */
#include "sql.h"

/*
 * NORMAL with WAL: a commit survives the death of the process, not always that of the machine, which is right for what
 * can be had from the server again; db_begin_durable() is for the rest. Checkpoints are made by checkpoint.c. No mmap_size: an I/O error would be a SIGBUS.
 * A cache of 16 MiB takes 13 MiB more memory and is no faster where rows are put and bodies are read and written in order; one of 1 MiB saves 3.
 * What SQLite notes for taking back one statement is little, and in memory, where a full disk is no matter.
 */
const char *const sql_pragmas = "PRAGMA journal_mode=WAL;"
				"PRAGMA synchronous=NORMAL;"
				"PRAGMA journal_size_limit=16777216;"
				"PRAGMA cache_size=-4096;"
				"PRAGMA temp_store=MEMORY;"
				"PRAGMA cell_size_check=ON;";

const char *const sql_schema[SQL_SCHEMA_VERSION] = {
	/* clang-format off */
	/* 0 → 1 */
	"PRAGMA application_id=0x6d6c6673;"
	"CREATE TABLE number("
	"  number INTEGER PRIMARY KEY,"    /* 1 … 2³¹-1 */
	"  key BLOB NOT NULL UNIQUE"       /* account NUL kind NUL mailbox NUL uidvalidity */
	") STRICT;"
	"CREATE TABLE mailbox("
	"  name BLOB PRIMARY KEY NOT NULL," /* as LIST gave it */
	"  folder INTEGER NOT NULL,"
	"  uidvalidity INTEGER NOT NULL,"
	"  uidnext INTEGER NOT NULL,"
	"  modseq INTEGER NOT NULL,"
	"  complete INTEGER NOT NULL,"
	"  changed_s INTEGER NOT NULL"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE message("
	"  id INTEGER PRIMARY KEY,"
	"  size INTEGER,"                  /* as the server announced it */
	"  true_size INTEGER,"             /* as the bytes showed it; outlives a new listing */
	"  date INTEGER,"
	"  seen INTEGER NOT NULL,"         /* whether flags has \Seen */
	"  flags TEXT,"
	"  labels TEXT,"
	"  header BLOB"
	") STRICT;"
	/* Its entries are (seen, id): a folder is counted without reading its rows. */
	"CREATE INDEX message_seen ON message(seen);"
	"CREATE TABLE structure("
	"  id INTEGER PRIMARY KEY,"
	"  data BLOB NOT NULL"             /* empty: could not be understood */
	") STRICT;"
	"CREATE TABLE section_size("
	"  id INTEGER NOT NULL,"
	"  section TEXT NOT NULL,"
	"  size INTEGER NOT NULL,"
	"  PRIMARY KEY(id, section)"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE body("
	"  id INTEGER NOT NULL,"
	"  section TEXT NOT NULL,"
	"  size INTEGER,"                  /* NULL: not known yet */
	"  ranges BLOB NOT NULL,"          /* ranges_serialize() */
	"  PRIMARY KEY(id, section)"
	") STRICT, WITHOUT ROWID;",
	/* 1 → 2 */
	"CREATE TABLE spool("
	"  id INTEGER PRIMARY KEY,"
	"  uidl BLOB,"                     /* NULL: it had none */
	"  size INTEGER NOT NULL,"         /* it is whole: such a message has no row in body */
	"  pack INTEGER,"                  /* number of the file in which it lies among others; NULL: it has one of its own */
	"  position INTEGER NOT NULL,"     /* in that file */
	"  listed INTEGER,"                /* NULL: the server did not say */
	"  sha256 BLOB NOT NULL,"
	"  top BLOB,"                      /* NULL: TOP was not asked for */
	"  checksum INTEGER NOT NULL,"     /* hash64 of the file */
	"  stored_s INTEGER NOT NULL,"
	"  deleted_s INTEGER NOT NULL,"
	"  lost INTEGER NOT NULL"
	") STRICT;"
	"CREATE TABLE spool_pack("
	"  folder INTEGER NOT NULL,"
	"  pack INTEGER NOT NULL,"
	"  length INTEGER NOT NULL,"       /* what lies behind is not recorded */
	"  PRIMARY KEY(folder, pack)"
	") STRICT, WITHOUT ROWID;"
	"CREATE TABLE spool_state("
	"  folder INTEGER PRIMARY KEY,"
	"  complete_s INTEGER NOT NULL,"
	"  missing INTEGER NOT NULL"
	") STRICT;"
	/* Their serialised form has changed. */
	"DELETE FROM structure;",
	/* 2 → 3 */
	"ALTER TABLE mailbox ADD COLUMN checked_s INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE mailbox ADD COLUMN mailbox_id INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE mailbox ADD COLUMN former INTEGER NOT NULL DEFAULT 0;"
	"CREATE TABLE roster("
	"  position INTEGER PRIMARY KEY,"  /* in the order of LIST */
	"  name BLOB NOT NULL,"
	"  delimiter INTEGER NOT NULL,"
	"  flags INTEGER NOT NULL,"
	"  special_use BLOB"               /* NULL: none */
	") STRICT;"
	"CREATE TABLE fact("
	"  key TEXT PRIMARY KEY NOT NULL,"
	"  value BLOB NOT NULL"
	") STRICT, WITHOUT ROWID;"
	"ALTER TABLE body ADD COLUMN used INTEGER NOT NULL DEFAULT 0;"  /* the order in which bodies were used */
	"ALTER TABLE body ADD COLUMN bytes INTEGER NOT NULL DEFAULT 0;" /* what they take on the disk; 0: not counted yet */
	"ALTER TABLE body ADD COLUMN whole INTEGER NOT NULL DEFAULT 0;"
	"ALTER TABLE body ADD COLUMN sums BLOB;"                        /* of its pieces; NULL: none, of an older mailfs */
	"CREATE INDEX body_used ON body(used);"
	"CREATE TABLE pin(id INTEGER PRIMARY KEY) STRICT;"
	"CREATE TABLE pin_mailbox(name BLOB PRIMARY KEY NOT NULL) STRICT, WITHOUT ROWID;",
	/* 3 → 4: their serialised form has changed again; each is asked for, or found, anew. */
	"DELETE FROM structure;",
	/* clang-format on */
};

/* The messages of a range, each with its size, and whether its body is whole. */
#define SQL_WHOLE                                                                                  \
	"SELECT id, coalesce(true_size, size),"                                                    \
	" EXISTS(SELECT 1 FROM body AS b WHERE b.id = m.id AND b.section = '' AND b.whole = 1)"    \
	" FROM message AS m WHERE id BETWEEN ?1 AND ?2"
/* A statement for each row of a listing would be half of what storing it takes. */
#define SQL_ROW         "(?, ?, ?, ?, ?, ?, ?)"
#define SQL_ROWS_4      SQL_ROW "," SQL_ROW "," SQL_ROW "," SQL_ROW
#define SQL_ROWS_16     SQL_ROWS_4 "," SQL_ROWS_4 "," SQL_ROWS_4 "," SQL_ROWS_4
#define SQL_ROWS_INSERT "INSERT INTO message(id, size, date, seen, flags, labels, header) VALUES"
#define SQL_ROWS_UPDATE                                                                            \
	" ON CONFLICT(id) DO UPDATE SET size = excluded.size, date = excluded.date,"               \
	" seen = excluded.seen, flags = excluded.flags, labels = excluded.labels,"                 \
	" header = excluded.header"

const char *const sql_statements[DB_STATEMENTS] = {
	/* clang-format off */
	[DB_BEGIN] = "BEGIN IMMEDIATE",
	[DB_BEGIN_READ] = "BEGIN",
	[DB_COMMIT] = "COMMIT",
	[DB_ROLLBACK] = "ROLLBACK",

	[DB_NUMBER_FIND] = "SELECT number FROM number WHERE key = ?1",
	[DB_NUMBER_TAKEN] = "SELECT 1 FROM number WHERE number = ?1",
	[DB_NUMBER_ADD] = "INSERT INTO number(number, key) VALUES(?1, ?2)",

	[DB_MAILBOX_GET] =
		"SELECT folder, uidvalidity, uidnext, modseq, complete, changed_s, checked_s, mailbox_id, former"
		" FROM mailbox WHERE name = ?1",
	[DB_MAILBOX_PUT] =
		"INSERT INTO mailbox(name, folder, uidvalidity, uidnext, modseq, complete, changed_s, checked_s,"
		" mailbox_id, former) VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
		" ON CONFLICT(name) DO UPDATE SET folder = excluded.folder, uidvalidity = excluded.uidvalidity,"
		" uidnext = excluded.uidnext, modseq = excluded.modseq, complete = excluded.complete,"
		" changed_s = excluded.changed_s, checked_s = excluded.checked_s, mailbox_id = excluded.mailbox_id,"
		" former = excluded.former",

	[DB_ROW_PUT] =
		SQL_ROWS_INSERT SQL_ROW SQL_ROWS_UPDATE,
	[DB_ROWS_PUT] =
		SQL_ROWS_INSERT SQL_ROWS_16 "," SQL_ROWS_16 SQL_ROWS_UPDATE,
	[DB_ROWS_LOAD] =
		"SELECT id, coalesce(true_size, size), date, flags, labels, header FROM message"
		" WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3",
	[DB_FLAGS_PUT] = "UPDATE message SET flags = ?2, seen = ?3 WHERE id = ?1",
	[DB_SIZE_PUT] = "UPDATE message SET true_size = ?2 WHERE id = ?1",
	[DB_COUNT] = "SELECT count(*) FROM message WHERE seen = ?1 AND id BETWEEN ?2 AND ?3",
	[DB_ROWS_BOUND] = "SELECT id FROM message WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT 1 OFFSET ?3",

	[DB_STRUCTURE_PUT] =
		"INSERT INTO structure(id, data) VALUES(?1, ?2) ON CONFLICT(id) DO UPDATE SET data = excluded.data",
	[DB_STRUCTURE_GET] = "SELECT data FROM structure WHERE id = ?1",
	[DB_STRUCTURES_MISSING] =
		"SELECT id FROM message AS m WHERE id BETWEEN ?1 AND ?2"
		" AND NOT EXISTS(SELECT 1 FROM structure AS s WHERE s.id = m.id) ORDER BY id LIMIT ?3",
	[DB_SECTION_SIZE_PUT] =
		"INSERT INTO section_size(id, section, size) VALUES(?1, ?2, ?3)"
		" ON CONFLICT(id, section) DO UPDATE SET size = excluded.size",
	[DB_SECTION_SIZE_GET] = "SELECT size FROM section_size WHERE id = ?1 AND section = ?2",

	[DB_MAILBOX_REMOVE] = "DELETE FROM mailbox WHERE name = ?1",
	[DB_MAILBOX_UNPIN] = "DELETE FROM pin_mailbox WHERE name = ?1",
	[DB_ROSTER_CLEAR] = "DELETE FROM roster",
	[DB_ROSTER_ADD] =
		"INSERT INTO roster(position, name, delimiter, flags, special_use) VALUES(?1, ?2, ?3, ?4, ?5)",
	[DB_ROSTER_LOAD] = "SELECT name, delimiter, flags, special_use FROM roster ORDER BY position",
	[DB_FACT_PUT] =
		"INSERT INTO fact(key, value) VALUES(?1, ?2) ON CONFLICT(key) DO UPDATE SET value = excluded.value",
	[DB_FACT_GET] = "SELECT value FROM fact WHERE key = ?1",

	/* OR ROLLBACK: nothing is noted for taking back one statement alone, which would be a file of half of the folder. */
	[DB_MOVE_ROWS] = "UPDATE OR ROLLBACK message SET id = id + ?3 WHERE id BETWEEN ?1 AND ?2",
	[DB_MOVE_STRUCTURES] = "UPDATE OR ROLLBACK structure SET id = id + ?3 WHERE id BETWEEN ?1 AND ?2",
	[DB_MOVE_SECTION_SIZES] = "UPDATE OR ROLLBACK section_size SET id = id + ?3 WHERE id BETWEEN ?1 AND ?2",
	[DB_MOVE_BODIES] = "UPDATE OR ROLLBACK body SET id = id + ?3 WHERE id BETWEEN ?1 AND ?2",
	[DB_MOVE_PINS] = "UPDATE OR REPLACE pin SET id = id + ?3 WHERE id BETWEEN ?1 AND ?2",

	/* ?1: from, ?2: to. */
	[DB_CARRY_SIZE] =
		"UPDATE message SET true_size = (SELECT true_size FROM message WHERE id = ?1)"
		" WHERE id = ?2 AND true_size IS NULL",
	[DB_CARRY_STRUCTURE] = "UPDATE OR IGNORE structure SET id = ?2 WHERE id = ?1",
	[DB_CARRY_SECTION_SIZES] = "UPDATE OR IGNORE section_size SET id = ?2 WHERE id = ?1",
	[DB_CARRY_PIN] = "UPDATE OR IGNORE pin SET id = ?2 WHERE id = ?1",
	/* Whose place is free. */
	[DB_CARRY_SECTIONS] =
		"SELECT section FROM body AS b WHERE id = ?1"
		" AND NOT EXISTS(SELECT 1 FROM body AS o WHERE o.id = ?2 AND o.section = b.section)",
	[DB_CARRY_BODY] = "UPDATE OR IGNORE body SET id = ?2 WHERE id = ?1 AND section = ?3",

	[DB_BODY_PUT] =
		"INSERT INTO body(id, section, size, ranges, used, bytes, whole, sums)"
		" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"
		" ON CONFLICT(id, section) DO UPDATE SET size = excluded.size, ranges = excluded.ranges,"
		" used = excluded.used, bytes = excluded.bytes, whole = excluded.whole, sums = excluded.sums",
	[DB_BODY_GET] = "SELECT size, ranges, sums, bytes FROM body WHERE id = ?1 AND section = ?2",
	[DB_BODY_REMOVE] = "DELETE FROM body WHERE id = ?1 AND section = ?2",
	[DB_BODY_SECTIONS] = "SELECT section FROM body WHERE id = ?1",
	[DB_BODY_COUNTED] = "UPDATE body SET bytes = ?3, whole = ?4 WHERE id = ?1 AND section = ?2",
	[DB_BODY_USED] = "UPDATE body SET used = ?3 WHERE id = ?1 AND section = ?2 AND used < ?3",
	[DB_BODY_CLOCK] = "SELECT max(used) FROM body",
	/* Walks in the order of the key, and in that of the index body_used, whose entries are (used, id, section). */
	[DB_BODIES_AFTER] =
		"SELECT id, section, bytes, size, ranges, whole FROM body WHERE (id, section) > (?1, ?2)"
		" ORDER BY id, section LIMIT ?3",
	[DB_BODIES_BY_USE] =
		"SELECT used, id, section, bytes FROM body WHERE (used, id, section) > (?1, ?2, ?3)"
		" ORDER BY used, id, section LIMIT ?4",
	[DB_BODIES_SUM] =
		"SELECT count(*), coalesce(sum(bytes), 0) FROM body WHERE id BETWEEN ?1 AND ?2"
		" AND (id, section) <= (?3, ?4)",
	[DB_STRUCTURES_AFTER] = "SELECT id FROM structure WHERE id > ?1 ORDER BY id LIMIT ?2",

	[DB_PIN_ADD] = "INSERT OR IGNORE INTO pin(id) VALUES(?1)",
	[DB_PIN_REMOVE] = "DELETE FROM pin WHERE id = ?1",
	[DB_PIN_GET] = "SELECT 1 FROM pin WHERE id = ?1",
	[DB_PIN_ANY] = "SELECT 1 FROM pin LIMIT 1",
	[DB_PIN_WITHIN] = "SELECT 1 FROM pin WHERE id BETWEEN ?1 AND ?2 LIMIT 1",
	[DB_PIN_MAILBOX_ADD] = "INSERT OR IGNORE INTO pin_mailbox(name) VALUES(?1)",
	[DB_PIN_MAILBOX_REMOVE] = "DELETE FROM pin_mailbox WHERE name = ?1",
	[DB_PIN_MAILBOX_GET] = "SELECT 1 FROM pin_mailbox WHERE name = ?1",
	[DB_PIN_FOLDERS] =
		"SELECT m.folder, m.former FROM pin_mailbox AS p CROSS JOIN mailbox AS m ON m.name = p.name",
	[DB_MAILBOX_FOLDERS] = "SELECT folder, former FROM mailbox WHERE name = ?1",
	[DB_MESSAGE_DATE] = "SELECT date FROM message WHERE id = ?1",
	/* bytes NULL: the body is not whole. */
	[DB_MESSAGES_WALK] =
		"SELECT id, seen, date, coalesce("
		"(SELECT bytes FROM body AS b WHERE b.id = m.id AND b.section = '' AND b.whole = 1),"
		" (SELECT size FROM spool AS s WHERE s.id = m.id AND s.lost = 0)) AS bytes,"
		" EXISTS(SELECT 1 FROM pin AS p WHERE p.id = m.id)"
		" FROM message AS m WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3",

	[DB_MISSING_UP] = SQL_WHOLE " ORDER BY id LIMIT ?3",
	[DB_MISSING_DOWN] = SQL_WHOLE " ORDER BY id DESC LIMIT ?3",

	[DB_SPOOL_ADD] =
		"INSERT INTO spool(id, uidl, size, listed, sha256, top, checksum, stored_s, deleted_s, pack, position, lost)"
		" VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 0)",
	[DB_SPOOL_REMOVE] = "DELETE FROM spool WHERE id = ?1",
	[DB_SPOOL_FIND] = "SELECT size, checksum, lost, sha256, pack, position FROM spool WHERE id = ?1",
	[DB_SPOOL_ANY] = "SELECT 1 FROM spool WHERE id BETWEEN ?1 AND ?2 LIMIT 1",
	[DB_SPOOL_LOAD] =
		"SELECT id, uidl, size, listed, sha256, top, stored_s, deleted_s, lost FROM spool"
		" WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3",
	[DB_SPOOL_PLACES] = "SELECT id, size, pack, position, lost FROM spool WHERE id BETWEEN ?1 AND ?2",
	[DB_SPOOL_UIDL] = "SELECT uidl FROM spool WHERE id = ?1",
	[DB_SPOOL_DELETED] = "UPDATE spool SET deleted_s = ?2 WHERE id = ?1",
	[DB_SPOOL_LISTED] = "UPDATE spool SET listed = ?2, top = coalesce(?3, top) WHERE id = ?1",
	[DB_SPOOL_LOSE] = "UPDATE spool SET lost = 1 WHERE id = ?1 AND lost = 0",
	[DB_PACK_PUT] =
		"INSERT INTO spool_pack(folder, pack, length) VALUES(?1, ?2, ?3)"
		" ON CONFLICT(folder, pack) DO UPDATE SET length = excluded.length",
	[DB_PACKS] = "SELECT pack, length FROM spool_pack WHERE folder = ?1 ORDER BY pack DESC",
	[DB_SPOOL_STATE_GET] = "SELECT complete_s, missing FROM spool_state WHERE folder = ?1",
	[DB_SPOOL_STATE_PUT] =
		"INSERT INTO spool_state(folder, complete_s, missing) VALUES(?1, ?2, ?3)"
		" ON CONFLICT(folder) DO UPDATE SET complete_s = excluded.complete_s, missing = excluded.missing",

	[DB_REMOVE_ROWS] = "DELETE FROM message WHERE id BETWEEN ?1 AND ?2",
	[DB_REMOVE_STRUCTURES] = "DELETE FROM structure WHERE id BETWEEN ?1 AND ?2",
	[DB_REMOVE_SECTION_SIZES] = "DELETE FROM section_size WHERE id BETWEEN ?1 AND ?2",
	[DB_REMOVE_BODIES] = "DELETE FROM body WHERE id BETWEEN ?1 AND ?2",
	/* clang-format on */
};
