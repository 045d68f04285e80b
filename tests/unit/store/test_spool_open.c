/* SPDX-License-Identifier: MIT */
/* Opening a spool whose database is missing, damaged, newer or older: no message goes, and nobody is told to delete any. */
#include "spool_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sql.h"

/* Three messages with files of their own. */
static void fill(struct fixture *fixture)
{
	for (uint32_t uid = 1; uid <= 3; uid++)
		assert_int_equal(spool_put(fixture->store, uid, uid, OWN_FILE + uid), 0);
}

static void check_file(struct fixture *fixture, const char *name, uint32_t uid)
{
	unsigned char bytes[100000];
	int fd = open(fixture_path(fixture, name), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(read(fd, bytes, sizeof(bytes)), OWN_FILE + uid);
	for (size_t i = 0; i < OWN_FILE + uid; i++)
		assert_int_equal(bytes[i], byte_at(uid, i));
	close(fd);
}

static void check_files(struct fixture *fixture, const char *bodies)
{
	for (uint32_t uid = 1; uid <= 3; uid++) {
		char name[64];
		snprintf(name, sizeof(name), "%s/00000005/%u", bodies, (unsigned)uid);
		check_file(fixture, name, uid);
	}
}

static bool exists(struct fixture *fixture, const char *name)
{
	return access(fixture_path(fixture, name), F_OK) == 0;
}

/* ---- no database ---- */

static void check_set_aside(struct fixture *fixture, const char *name)
{
	fixture_log_begin(fixture);
	fixture_reopen(fixture);
	const char *text = fixture_log_end(fixture);
	assert_non_null(strstr(text, fixture_path(fixture, name)));
	assert_non_null(strstr(text, "plain files"));
	assert_non_null(strstr(text, "store.db"));
	check_files(fixture, name);
	assert_int_equal(spool_count(fixture->store), 0);
	assert_int_equal(store_spool_clean(fixture->store, FOLDER), 0);
}

static void test_database_deleted(void **state)
{
	struct fixture *fixture = *state;
	fill(fixture);
	fixture_close(fixture);
	assert_int_equal(unlink(fixture_path(fixture, "store.db")), 0);
	check_set_aside(fixture, "bodies.1");
	/* And again, with what was downloaded since. */
	fill(fixture);
	fixture_close(fixture);
	assert_int_equal(truncate(fixture_path(fixture, "store.db"), 0), 0);
	check_set_aside(fixture, "bodies.2");
	check_files(fixture, "bodies.1");
	fill(fixture);
	check_files(fixture, "bodies");
	assert_int_equal(store_spool_verify(fixture->store, FOLDER, 3), 0);
	struct stat st;
	assert_int_equal(stat(fixture_path(fixture, "bodies"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
}

/* Names that are taken, by whatever, stay. */
static void test_names_taken(void **state)
{
	struct fixture *fixture = *state;
	fill(fixture);
	fixture_close(fixture);
	assert_int_equal(unlink(fixture_path(fixture, "store.db")), 0);
	assert_int_equal(mkdir(fixture_path(fixture, "bodies.1"), 0700), 0);
	assert_int_equal(symlink("nowhere", fixture_path(fixture, "bodies.2")), 0);
	check_set_aside(fixture, "bodies.3");
}

static void test_no_files(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(mkdir(fixture_path(fixture, "bodies/00000005"), 0700), 0);
	fixture_close(fixture);
	assert_int_equal(unlink(fixture_path(fixture, "store.db")), 0);
	fixture_log_begin(fixture);
	fixture_reopen(fixture);
	assert_string_equal(fixture_log_end(fixture), "");
	assert_false(exists(fixture, "bodies.1"));
}

/* Where the files can not be set aside, the spool does not open, and the next try finds all as it was. */
static void test_not_set_aside(void **state)
{
	struct fixture *fixture = *state;
	fill(fixture);
	fixture_close(fixture);
	assert_int_equal(unlink(fixture_path(fixture, "store.db")), 0);
	close(open(fixture_path(fixture, "store.db"), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	assert_int_equal(chmod(fixture->directory, 0500), 0);
	fixture_drop_rights(fixture);
	fixture_expect_refused(
		fixture, -EIO, (const char *const[]){"set aside", fixture->directory, NULL});
	fixture_take_rights();
	check_files(fixture, "bodies");
	assert_int_equal(chmod(fixture->directory, 0700), 0);
	check_set_aside(fixture, "bodies.1");
}

/* ---- damage ---- */

static void overwrite(struct fixture *fixture, off_t offset, size_t len)
{
	char junk[4096];
	memset(junk, 'J', sizeof(junk));
	int fd = open(fixture_path(fixture, "store.db"), O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, junk, len, offset), len);
	close(fd);
}

static void check_no_advice_to_delete(const char *text)
{
	assert_null(strstr(text, "delete"));
	assert_null(strstr(text, "cache:"));
	assert_null(strstr(text, "only a cache"));
}

static void check_refused(struct fixture *fixture, int rc, const char *word)
{
	_cleanup_str_ struct str why = STR_INIT;
	char bodies[160];
	snprintf(bodies, sizeof(bodies), "plain files under %s/bodies", fixture->directory);
	fixture_expect_refused(fixture, rc,
		(const char *const[]){word, bodies, "move the directory away",
			"download anew what the server still has", NULL});
	struct store *store;
	assert_int_equal(store_open(fixture->directory, STORE_SPOOL, &store, &why), rc);
	check_no_advice_to_delete(str_cstr(&why));
	check_files(fixture, "bodies");
	assert_false(exists(fixture, "bodies.1"));
}

static void test_damaged_header(void **state)
{
	struct fixture *fixture = *state;
	fill(fixture);
	fixture_close(fixture);
	overwrite(fixture, 0, 4096);
	check_refused(fixture, -EIO, "damaged");
}

static void test_damaged_schema(void **state)
{
	struct fixture *fixture = *state;
	fill(fixture);
	fixture_close(fixture);
	overwrite(fixture, 100, 3000);
	check_refused(fixture, -EIO, "damaged");
}

static void test_table_missing(void **state)
{
	struct fixture *fixture = *state;
	fill(fixture);
	fixture_close(fixture);
	fixture_sql(fixture, "DROP TABLE spool");
	check_refused(fixture, -EIO, "spool");
}

static void test_newer_schema(void **state)
{
	struct fixture *fixture = *state;
	fill(fixture);
	fixture_close(fixture);
	fixture_sql(fixture, "PRAGMA user_version=5");
	check_refused(fixture, -EPROTO, "newer");
	fixture_sql(fixture, "PRAGMA user_version=4");
	fixture_reopen(fixture);
	assert_int_equal(spool_count(fixture->store), 3);
}

static int ignore(void *arg, const struct source_row *row)
{
	(void)arg;
	(void)row;
	return 0;
}

/* Damage that only shows while it is open. */
static void test_damaged_rows(void **state)
{
	struct fixture *fixture = *state;
	fill(fixture);
	for (uint32_t uid = 10; uid <= 2000; uid++) {
		struct source_row row = {.uid = uid, .have = SOURCE_ROW_FLAGS, .flags = "\\Seen"};
		assert_int_equal(store_rows_put(fixture->store, FOLDER, &row, 1), 0);
	}
	fixture_close(fixture);
	struct stat st;
	assert_int_equal(stat(fixture_path(fixture, "store.db"), &st), 0);
	for (off_t at = 4096 * 14; at < st.st_size; at += 4096)
		overwrite(fixture, at, 4096);
	fixture_reopen(fixture);
	fixture_log_begin(fixture);
	int rc = store_rows_load(fixture->store, FOLDER, 1, ignore, NULL);
	const char *text = fixture_log_end(fixture);
	assert_int_equal(rc, -EIO);
	assert_non_null(strstr(text, "damaged"));
	assert_non_null(strstr(text, fixture_path(fixture, "bodies")));
	check_no_advice_to_delete(text);
	check_files(fixture, "bodies");
}

/* ---- a store of version 1 ---- */

static void make_version_1(struct fixture *fixture)
{
	fixture_close(fixture);
	assert_int_equal(unlink(fixture_path(fixture, "store.db")), 0);
	fixture_sql(fixture, sql_schema[0]);
	fixture_sql(fixture,
		"PRAGMA user_version=1;"
		"INSERT INTO number VALUES(5, x'61');"
		"INSERT INTO mailbox VALUES(x'62', 5, 1, 9, 7, 1, 1700000000);"
		"INSERT INTO message VALUES((5 << 32) + 1, 10, 11, 12, 0, '', NULL, x'63'),"
		" ((5 << 32) + 2, 10, NULL, 12, 1, '\\Seen', NULL, NULL);"
		"INSERT INTO structure VALUES((5 << 32) + 1, x'64'), ((5 << 32) + 2, x'65');"
		"INSERT INTO section_size VALUES((5 << 32) + 1, '1', 77);"
		"INSERT INTO body(id, section, size, ranges) VALUES((5 << 32) + 1, '', 3, x'0003')");
}

static void check_migrated(struct fixture *fixture)
{
	struct store_mailbox mailbox;
	uint64_t messages, unseen, size;
	uint32_t missing[5];
	size_t count = 0;
	_cleanup_str_ struct str structure = STR_INIT;
	assert_int_equal(store_mailbox_get(fixture->store, "b", &mailbox), 0);
	assert_int_equal(mailbox.folder, 5);
	assert_int_equal(store_folder_count(fixture->store, 5, &messages, &unseen), 0);
	assert_int_equal(messages, 2);
	assert_int_equal(unseen, 1);
	assert_int_equal(store_section_size_get(fixture->store, 5, 1, "1", &size), 0);
	assert_int_equal(size, 77);
	assert_int_equal(store_structure_get(fixture->store, 5, 1, &structure), -ENOENT);
	assert_int_equal(store_structures_missing(fixture->store, 5, 1, missing, 5, &count), 0);
	assert_int_equal(count, 2);
}

/* A cache: its rows and bodies stay, structures are fetched again. */
static void test_migration(void **state)
{
	struct fixture *fixture = *state;
	fixture->kind = STORE_CACHE;
	make_version_1(fixture);
	assert_int_equal(mkdir(fixture_path(fixture, "bodies/00000005"), 0700), 0);
	int fd = open(fixture_path(fixture, FILE_OF(1)), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "abc", 3), 3);
	close(fd);
	for (int pass = 0; pass < 2; pass++) {
		char buf[10];
		fixture_reopen(fixture);
		check_migrated(fixture);
		struct store_body *body = fixture_body(fixture, 5, 1, "");
		assert_int_equal(store_body_read(body, buf, 10, 0), 3);
		assert_memory_equal(buf, "abc", 3);
		store_body_close(body);
		assert_int_equal(spool_count(fixture->store), 0);
	}
}

/* The step happens once: structures of the new kind stay. */
static void test_migrated_once(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_str_ struct str structure = STR_INIT;
	make_version_1(fixture);
	fixture_reopen(fixture);
	assert_int_equal(store_structure_put(fixture->store, 5, 1, "new", 3), 0);
	fixture_reopen(fixture);
	assert_int_equal(store_structure_get(fixture->store, 5, 1, &structure), 0);
	assert_string_equal(str_cstr(&structure), "new");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, spool_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_database_deleted),
		TEST(test_names_taken),
		TEST(test_no_files),
		TEST(test_not_set_aside),
		TEST(test_damaged_header),
		TEST(test_damaged_schema),
		TEST(test_table_missing),
		TEST(test_newer_schema),
		TEST(test_damaged_rows),
		TEST(test_migration),
		TEST(test_migrated_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
