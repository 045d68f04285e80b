/* SPDX-License-Identifier: MIT */
/* A store that was made by schema 2, as it was released, with what it has in it. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char schema_2[] =
	"PRAGMA journal_mode=WAL; PRAGMA application_id=0x6d6c6673;"
	"CREATE TABLE number(number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE) STRICT;"
	"CREATE TABLE mailbox(name BLOB PRIMARY KEY NOT NULL, folder INTEGER NOT NULL, uidvalidity INTEGER NOT NULL,"
	" uidnext INTEGER NOT NULL, modseq INTEGER NOT NULL, complete INTEGER NOT NULL, changed_s INTEGER NOT NULL)"
	" STRICT, WITHOUT ROWID;"
	"CREATE TABLE message(id INTEGER PRIMARY KEY, size INTEGER, true_size INTEGER, date INTEGER,"
	" seen INTEGER NOT NULL, flags TEXT, labels TEXT, header BLOB) STRICT;"
	"CREATE INDEX message_seen ON message(seen);"
	"CREATE TABLE structure(id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;"
	"CREATE TABLE section_size(id INTEGER NOT NULL, section TEXT NOT NULL, size INTEGER NOT NULL,"
	" PRIMARY KEY(id, section)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE body(id INTEGER NOT NULL, section TEXT NOT NULL, size INTEGER, ranges BLOB NOT NULL,"
	" PRIMARY KEY(id, section)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE spool(id INTEGER PRIMARY KEY, uidl BLOB, size INTEGER NOT NULL, pack INTEGER,"
	" position INTEGER NOT NULL, listed INTEGER, sha256 BLOB NOT NULL, top BLOB, checksum INTEGER NOT NULL,"
	" stored_s INTEGER NOT NULL, deleted_s INTEGER NOT NULL, lost INTEGER NOT NULL) STRICT;"
	"CREATE TABLE spool_pack(folder INTEGER NOT NULL, pack INTEGER NOT NULL, length INTEGER NOT NULL,"
	" PRIMARY KEY(folder, pack)) STRICT, WITHOUT ROWID;"
	"CREATE TABLE spool_state(folder INTEGER PRIMARY KEY, complete_s INTEGER NOT NULL, missing INTEGER NOT NULL) STRICT;"
	"PRAGMA user_version=2;";

/* Folder 5: two messages; of the first one all of the body, 100 bytes, of the second the bytes from 10 to 50 of one whose size is not known. */
static const char content_2[] =
	"INSERT INTO number VALUES(5, CAST('a' AS BLOB));"
	"INSERT INTO mailbox VALUES(CAST('INBOX' AS BLOB), 5, 1700000000, 3, 77, 1, 1600000000);"
	"INSERT INTO message VALUES(5 << 32 | 1, 90, 100, 1500000000, 1, '\\Seen', NULL, CAST('Subject: x' AS BLOB));"
	"INSERT INTO message VALUES(5 << 32 | 2, 200, NULL, NULL, 0, '', 'label', NULL);"
	"INSERT INTO structure VALUES(5 << 32 | 1, CAST('structure' AS BLOB));"
	"INSERT INTO section_size VALUES(5 << 32 | 1, '1.2', 33);";

static void make_directories(const struct fixture *fixture)
{
	char path[256];
	for (const char *at = fixture->directory + strlen(fixture->root) + 1; at;
		at = strchr(at, '/')) {
		at++;
		const char *end = strchr(at, '/');
		size_t len = end ? (size_t)(end - fixture->directory) : strlen(fixture->directory);
		memcpy(path, fixture->directory, len);
		path[len] = 0;
		assert_int_equal(mkdir(path, 0700), 0);
	}
	assert_int_equal(mkdir(fixture_path(fixture, "bodies"), 0700), 0);
	assert_int_equal(mkdir(fixture_path(fixture, "bodies/00000005"), 0700), 0);
}

static void make_body(
	const struct fixture *fixture, const char *name, uint32_t uid, size_t len, uint64_t offset)
{
	unsigned char bytes[100];
	fill_bytes(bytes, len, uid, offset);
	int fd = open(fixture_path(fixture, name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(pwrite(fd, bytes, len, (off_t)offset), len);
	close(fd);
}

static void make_store(struct fixture *fixture)
{
	make_directories(fixture);
	make_body(fixture, "bodies/00000005/1", 1, 100, 0);
	make_body(fixture, "bodies/00000005/2", 2, 40, 10);
	fixture_sql(fixture, schema_2);
	fixture_sql(fixture, content_2);
	/* Ranges as they are written: distance to the range before, and length, in seven bits each. */
	fixture_sql(fixture, "INSERT INTO body VALUES(5 << 32 | 1, '', 100, X'0064');"
			     "INSERT INTO body VALUES(5 << 32 | 2, '', NULL, X'0A28');");
}

static int see_row(void *arg, const struct source_row *row)
{
	int *count = arg;
	++*count;
	assert_int_equal(row->uid, *count);
	if (row->uid == 1) {
		assert_int_equal(row->have,
			SOURCE_ROW_SIZE | SOURCE_ROW_DATE | SOURCE_ROW_FLAGS | SOURCE_ROW_HEADER);
		assert_int_equal(row->size_bytes, 100);
		assert_string_equal(row->flags, "\\Seen");
		assert_memory_equal(row->header, "Subject: x", row->header_len);
	} else {
		assert_int_equal(row->have, SOURCE_ROW_SIZE | SOURCE_ROW_FLAGS | SOURCE_ROW_LABELS);
		assert_string_equal(row->labels, "label");
	}
	return 0;
}

static void check_mailbox(struct fixture *fixture)
{
	struct store_mailbox state;
	assert_int_equal(store_mailbox_get(fixture->store, "INBOX", &state), 0);
	assert_int_equal(state.folder, 5);
	assert_int_equal(state.uidvalidity, 1700000000);
	assert_int_equal(state.uidnext, 3);
	assert_int_equal(state.modseq, 77);
	assert_true(state.complete);
	assert_int_equal(state.changed_s, 1600000000);
	assert_int_equal(state.checked_s, 0);
	assert_int_equal(state.mailbox_id, 0);
	assert_int_equal(state.former, 0);
}

static void check_bodies(struct fixture *fixture)
{
	uint64_t size;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_true(store_body_size(body, &size));
	assert_int_equal(size, 100);
	check_bytes(body, 1, 100, 0);
	store_body_close(body);
	body = fixture_body(fixture, 5, 2, "");
	assert_false(store_body_size(body, &size));
	assert_int_equal(store_body_held(body, 0), 0);
	check_bytes(body, 2, 40, 10);
	store_body_close(body);
}

static void check_content(struct fixture *fixture)
{
	int rows = 0;
	uint64_t messages, unseen, size;
	_cleanup_str_ struct str structure = STR_INIT;
	assert_int_equal(store_rows_load(fixture->store, 5, 1, see_row, &rows), 0);
	assert_int_equal(rows, 2);
	assert_int_equal(store_folder_count(fixture->store, 5, &messages, &unseen), 0);
	assert_int_equal(messages, 2);
	assert_int_equal(unseen, 1);
	/* of another form: it is asked for anew */
	assert_int_equal(store_structure_get(fixture->store, 5, 1, &structure), -ENOENT);
	assert_int_equal(store_section_size_get(fixture->store, 5, 1, "1.2", &size), 0);
	assert_int_equal(size, 33);
	check_mailbox(fixture);
	check_bodies(fixture);
}

/* What was new in version 3 is empty, and works. */
static void check_new_tables(struct fixture *fixture)
{
	_cleanup_str_ struct str fact = STR_INIT;
	assert_int_equal(store_fact_get(fixture->store, "a.fact", &fact), -ENOENT);
	assert_int_equal(store_fact_put(fixture->store, "a.fact", "x", 1), 0);
	assert_int_equal(store_roster_load(fixture->store, NULL, NULL), -ENOENT);
	assert_int_equal(store_roster_put(fixture->store, NULL, 0), 0);
	struct store_mailbox state = {.checked_s = 1, .former = 2, .mailbox_id = 3};
	assert_int_equal(store_mailbox_put(fixture->store, "new", &state), 0);
	fixture_reopen(fixture);
	assert_int_equal(store_fact_get(fixture->store, "a.fact", &fact), 0);
	assert_int_equal(store_roster_load(fixture->store, NULL, NULL), 0);
	memset(&state, 0, sizeof(state));
	assert_int_equal(store_mailbox_get(fixture->store, "new", &state), 0);
	assert_int_equal(state.former, 2);
}

static void test_from_2(void **state)
{
	struct fixture *fixture = *state;
	make_store(fixture);
	fixture_log_begin(fixture);
	fixture_reopen(fixture);
	assert_string_equal(fixture_log_end(fixture), "");
	check_content(fixture);
	fixture_reopen(fixture);
	check_content(fixture);
	check_new_tables(fixture);
	check_content(fixture);
}

static int see_version(void *arg, int columns, char **values, char **names)
{
	(void)columns;
	(void)names;
	*(int *)arg = atoi(values[0]);
	return 0;
}

static int version(const struct fixture *fixture)
{
	sqlite3 *handle;
	int ret = -1;
	assert_int_equal(sqlite3_open(fixture_path(fixture, "store.db"), &handle), SQLITE_OK);
	sqlite3_exec(handle, "PRAGMA user_version", see_version, &ret, NULL);
	sqlite3_close(handle);
	return ret;
}

/* A step that fails leaves nothing behind: the older mailfs still has its store. */
static void test_all_or_nothing(void **state)
{
	struct fixture *fixture = *state;
	make_store(fixture);
	fixture_sql(fixture, "CREATE TABLE pin_mailbox(x)");
	fixture->kind = STORE_SPOOL; /* which is not set aside */
	fixture_expect_refused(fixture, -EIO, (const char *const[]){"pin_mailbox", NULL});
	assert_int_equal(version(fixture), 2);
	fixture_sql(fixture, "DROP TABLE pin_mailbox");
	fixture->kind = STORE_CACHE;
	fixture_reopen(fixture);
	assert_int_equal(version(fixture), 4);
	check_content(fixture);
}

/* From the first version, and twice. */
static void test_from_1(void **state)
{
	struct fixture *fixture = *state;
	make_store(fixture);
	fixture_sql(fixture,
		"DROP TABLE spool; DROP TABLE spool_pack; DROP TABLE spool_state; PRAGMA user_version=1");
	fixture_reopen(fixture);
	_cleanup_str_ struct str structure = STR_INIT;
	assert_int_equal(store_structure_get(fixture->store, 5, 1, &structure), -ENOENT);
	check_mailbox(fixture);
	check_bodies(fixture);
	fixture_reopen(fixture);
	check_bodies(fixture);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_from_2),
		TEST(test_all_or_nothing),
		TEST(test_from_1),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
