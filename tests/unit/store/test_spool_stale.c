/* SPDX-License-Identifier: MIT */
/* A database that is older than the files beside it: nothing of them is destroyed. And files that are not there any more. */
#include "spool_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mailfs/util/hash.h"

#define FILES_MAX 200

struct content {
	char names[FILES_MAX][64];
	uint64_t hashes[FILES_MAX];
	off_t sizes[FILES_MAX];
	size_t count;
};

static uint64_t hash_file(int dir_fd, const char *name, off_t size)
{
	char *bytes = malloc((size_t)size + 1);
	int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC);
	assert_non_null(bytes);
	assert_int_equal(read(fd, bytes, (size_t)size), size);
	close(fd);
	uint64_t hash = hash64(HASH64_INIT, bytes, (size_t)size);
	free(bytes);
	return hash;
}

/* What lies in the folder. */
static void read_content(struct fixture *fixture, struct content *ret)
{
	struct stat st;
	DIR *dir = opendir(fixture_path(fixture, "bodies/00000005"));
	assert_non_null(dir);
	ret->count = 0;
	for (struct dirent *entry; (entry = readdir(dir));) {
		assert_int_equal(fstatat(dirfd(dir), entry->d_name, &st, 0), 0);
		if (!S_ISREG(st.st_mode))
			continue;
		size_t i = ret->count++;
		assert_true(i < FILES_MAX);
		snprintf(ret->names[i], sizeof(ret->names[i]), "%.63s", entry->d_name);
		ret->hashes[i] = hash_file(dirfd(dir), entry->d_name, st.st_size);
		ret->sizes[i] = st.st_size;
	}
	closedir(dir);
}

/* Whether the bytes of every file are still there: under its name, or that with ".old1". */
static void check_kept(const struct content *before, const struct content *after)
{
	for (size_t i = 0; i < before->count; i++) {
		char old[80];
		bool found = false;
		snprintf(old, sizeof(old), "%s.old1", before->names[i]);
		for (size_t k = 0; k < after->count; k++)
			found = found || ((strcmp(after->names[k], before->names[i]) == 0 ||
						  strcmp(after->names[k], old) == 0) &&
						 after->sizes[k] == before->sizes[i] &&
						 after->hashes[k] == before->hashes[i]);
		if (!found)
			fail_msg("%s is not there any more", before->names[i]);
	}
}

static void copy_file(struct fixture *fixture, const char *from, const char *to)
{
	char buf[4096];
	int in = open(fixture_path(fixture, from), O_RDONLY | O_CLOEXEC);
	int out = open(fixture_path(fixture, to), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(in >= 0 && out >= 0);
	for (ssize_t n; (n = read(in, buf, sizeof(buf))) > 0;)
		assert_int_equal(write(out, buf, (size_t)n), n);
	close(in);
	close(out);
}

static void move(struct fixture *fixture, const char *from, const char *to)
{
	char path[256];
	snprintf(path, sizeof(path), "%s", fixture_path(fixture, from));
	assert_int_equal(rename(path, fixture_path(fixture, to)), 0);
}

/* Two groups, of which the database then knows the first only. */
static void make_stale(struct fixture *fixture)
{
	assert_int_equal(spool_put_group(fixture->store, 1, 40), 0);
	fixture_close(fixture);
	copy_file(fixture, "store.db", "copy");
	fixture_reopen(fixture);
	assert_int_equal(spool_put_group(fixture->store, 41, 30), 0);
	fixture_close(fixture);
	move(fixture, "copy", "store.db");
	unlink(fixture_path(fixture, "store.db-wal"));
	unlink(fixture_path(fixture, "store.db-shm"));
	fixture_reopen(fixture);
}

static void check_messages(struct fixture *fixture, uint32_t first, uint32_t last)
{
	for (uint32_t uid = first; uid <= last; uid++)
		check_message(fixture, uid, uid, spool_length(uid));
}

static void test_stale(void **state)
{
	static struct content before, after;
	struct fixture *fixture = *state;
	make_stale(fixture);
	read_content(fixture, &before);
	int64_t size = spool_pack_size(fixture, 1);
	assert_true(size > spool_pack_length(fixture, 1));
	for (int pass = 0; pass < 2; pass++) {
		assert_int_equal(store_spool_clean(fixture->store, FOLDER), 0);
		read_content(fixture, &after);
		assert_int_equal(after.count, before.count);
		check_kept(&before, &after);
		fixture_reopen(fixture);
	}
	assert_int_equal(spool_count(fixture->store), 40);
	check_messages(fixture, 1, 40);
	/* Some of them once more, with the same numbers, and others. */
	assert_int_equal(spool_put_group(fixture->store, 41, 10), 0);
	assert_int_equal(spool_put_group(fixture->store, 100, 20), 0);
	assert_int_equal(spool_pack_size(fixture, 1), size);
	assert_int_equal(spool_pack_size(fixture, 2), spool_pack_length(fixture, 2));
	assert_int_equal(spool_packs(fixture), 2);
	for (int pass = 0; pass < 2; pass++) {
		read_content(fixture, &after);
		check_kept(&before, &after);
		check_messages(fixture, 1, 50);
		check_messages(fixture, 100, 119);
		assert_int_equal(spool_count(fixture->store), 70);
		fixture_reopen(fixture);
		assert_int_equal(store_spool_clean(fixture->store, FOLDER), 0);
	}
}

/* The same where the one who wants the number fails: what stood there has its name again. */
static void test_stale_failure(void **state)
{
	static struct content before, after;
	struct fixture *fixture = *state;
	make_stale(fixture);
	read_content(fixture, &before);
	struct store_spool_item items[3];
	assert_int_equal(spool_write(fixture->store, 44, 1, OWN_FILE, &items[0]), 0);
	assert_int_equal(spool_write(fixture->store, 55, 1, OWN_FILE, &items[1]), 0);
	/* One number twice. */
	assert_int_equal(spool_write(fixture->store, 55, 2, OWN_FILE, &items[2]), 0);
	fixture_log_begin(fixture);
	assert_int_equal(store_spool_commit(fixture->store, FOLDER, items, 3), -EIO);
	fixture_log_end(fixture);
	spool_discard_all(items, 3);
	read_content(fixture, &after);
	assert_int_equal(after.count, before.count);
	check_kept(&before, &after);
}

/* A database of before there was a message at all: its folder is not removed either. */
static void test_empty_database(void **state)
{
	static struct content before, after;
	struct fixture *fixture = *state;
	make_stale(fixture);
	read_content(fixture, &before);
	fixture_sql(fixture,
		"DELETE FROM spool; DELETE FROM spool_pack; DELETE FROM message;"
		"INSERT INTO body(id, section, size, ranges) VALUES((5 << 32) + 11, '', 5, x'0005')");
	struct source_row row = {.uid = 11, .have = SOURCE_ROW_FLAGS, .flags = ""};
	uint32_t uid = 11;
	assert_int_equal(store_rows_put(fixture->store, FOLDER, &row, 1), 0);
	assert_int_equal(store_rows_remove(fixture->store, FOLDER, &uid, 1), 0);
	assert_int_equal(store_folder_remove(fixture->store, FOLDER), 0);
	assert_int_equal(store_spool_clean(fixture->store, FOLDER), 0);
	assert_int_equal(spool_put(fixture->store, 1, 1, 100), 0);
	read_content(fixture, &after);
	assert_int_equal(after.count, before.count + 1);
	check_kept(&before, &after);
	assert_int_equal(spool_pack_length(fixture, 2), spool_pack_size(fixture, 2));
}

/* ---- missing at the start ---- */

static size_t lines(const char *text)
{
	size_t count = 0;
	for (; *text; text++)
		count += *text == '\n';
	return count;
}

static bool lost(struct fixture *fixture, uint32_t uid)
{
	return spool_record(fixture->store, uid).record.lost;
}

/* Cleans, and expects to be told, in one line, of so many lost ones, or of none. */
static void check_told(struct fixture *fixture, const char *count, const char *first)
{
	fixture_log_begin(fixture);
	assert_int_equal(store_spool_clean(fixture->store, FOLDER), 0);
	const char *text = fixture_log_end(fixture);
	assert_int_equal(lines(text), count != NULL);
	if (count && (!strstr(text, count) || !strstr(text, first)))
		fail_msg("not \"%s\", \"%s\": %s", count, first, text);
	fixture_log_begin(fixture);
	assert_int_equal(store_spool_clean(fixture->store, FOLDER), 0);
	assert_string_equal(fixture_log_end(fixture), "");
}

static void test_missing_pack(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(spool_put_group(fixture->store, 1, 40), 0);
	assert_int_equal(unlink(fixture_path(fixture, PACK_OF(1))), 0);
	assert_int_equal(unlink(fixture_path(fixture, FILE_OF(11))), 0);
	/* 22 and 33 have files of their own. */
	check_told(fixture, ": 38, ", "message 1, whose file");
	for (uint32_t uid = 1; uid <= 40; uid++)
		assert_int_equal(lost(fixture, uid), uid != 22 && uid != 33);
	assert_int_equal(spool_put_group(fixture->store, 1, 40), 0);
	check_told(fixture, NULL, NULL);
	check_messages(fixture, 1, 40);
}

static void test_cut_pack(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(spool_put_group(fixture->store, 1, 10), 0);
	assert_int_equal(spool_put_group(fixture->store, 11, 1), 0);
	int64_t length = spool_pack_length(fixture, 1);
	/* The empty line at the end is no message's. */
	assert_int_equal(truncate(fixture_path(fixture, PACK_OF(1)), length - 1), 0);
	check_told(fixture, NULL, NULL);
	assert_int_equal(truncate(fixture_path(fixture, PACK_OF(1)), length - 2), 0);
	assert_int_equal(truncate(fixture_path(fixture, FILE_OF(11)), 70000), 0);
	check_told(fixture, ": 2, ", "message 10, whose file");
	for (uint32_t uid = 1; uid <= 11; uid++)
		assert_int_equal(lost(fixture, uid), uid >= 10);
}

static void test_missing_folder(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(spool_put_group(fixture->store, 1, 11), 0);
	move(fixture, "bodies/00000005", "elsewhere");
	check_told(fixture, ": 11, ", "is missing");
	assert_int_equal(spool_put_group(fixture->store, 1, 11), 0);
	check_messages(fixture, 1, 11);
}

/* Of what can not be looked at nobody knows whether it is there. */
static void test_unreadable_folder(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(spool_put_group(fixture->store, 1, 11), 0);
	assert_int_equal(chmod(fixture_path(fixture, "bodies/00000005"), 0100), 0);
	fixture_drop_rights(fixture);
	assert_int_equal(store_spool_clean(fixture->store, FOLDER), -EIO);
	fixture_take_rights();
	assert_int_equal(chmod(fixture_path(fixture, "bodies/00000005"), 0700), 0);
	check_told(fixture, NULL, NULL);
	check_messages(fixture, 1, 11);
}

/* ---- what is said ---- */

static void flip(struct fixture *fixture)
{
	struct stat st;
	int fd = open(fixture_path(fixture, PACK_OF(1)), O_RDWR | O_CLOEXEC);
	assert_int_equal(fstat(fd, &st), 0);
	for (off_t at = 0; at < st.st_size; at++)
		assert_int_equal(pwrite(fd, "?", 1, at), 1);
	close(fd);
}

static void put_small(struct fixture *fixture, uint32_t count)
{
	static struct store_spool_item items[256];
	for (uint32_t i = 0; i < count; i++)
		assert_int_equal(spool_write(fixture->store, i + 1, i, 10, &items[i]), 0);
	assert_int_equal(store_spool_commit(fixture->store, FOLDER, items, count), 0);
}

/* Thousands of lost messages are not thousands of lines: three, and at the end of the look, or of the store, how many more. */
static void check_lines(struct fixture *fixture, void (*end)(struct fixture *fixture))
{
	put_small(fixture, 200);
	flip(fixture);
	fixture_log_begin(fixture);
	for (uint32_t uid = 1; uid <= 200; uid += 2)
		assert_int_equal(store_spool_verify(fixture->store, FOLDER, uid), -EBADMSG);
	for (uint32_t uid = 2; uid <= 200; uid += 2)
		assert_int_equal(spool_read(fixture->store, uid, uid, 10), -EIO);
	end(fixture);
	const char *text = fixture_log_end(fixture);
	assert_int_equal(lines(text), 4);
	assert_non_null(strstr(text, "message 1: "));
	assert_non_null(strstr(text, "message 5: "));
	assert_non_null(strstr(text, ": 197 more messages in "));
	for (uint32_t uid = 1; uid <= 200; uid++)
		assert_true(lost(fixture, uid));
}

static void end_look(struct fixture *fixture)
{
	const struct store_spool_state state = {.missing = 200};
	assert_int_equal(store_spool_state_put(fixture->store, FOLDER, &state), 0);
	assert_int_equal(store_spool_state_put(fixture->store, FOLDER, &state), 0);
}

static void test_lines_look(void **state)
{
	check_lines(*state, end_look);
}

static void test_lines_close(void **state)
{
	check_lines(*state, fixture_reopen);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, spool_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stale),
		TEST(test_stale_failure),
		TEST(test_empty_database),
		TEST(test_missing_pack),
		TEST(test_cut_pack),
		TEST(test_missing_folder),
		TEST(test_unreadable_folder),
		TEST(test_lines_look),
		TEST(test_lines_close),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
