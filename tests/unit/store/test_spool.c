/* SPDX-License-Identifier: MIT */
/* Messages that were downloaded for good: what is recorded, and what another mount finds. */
#include "spool_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mailfs/util/log.h"

#define FROM     "From mailfs@localhost Thu Jan  1 00:00:00 1970\n"
#define FROM_LEN (sizeof(FROM) - 1)

static void test_round_trip(void **state)
{
	struct fixture *fixture = *state;
	static const size_t lengths[] = {
		0, 1, 1023, 1024, 1025, 4096, 65535, 65536, 65537, 131073, 300000};
	for (uint32_t i = 0; i < 11; i++)
		assert_int_equal(spool_put(fixture->store, i + 1, i + 1, lengths[i]), 0);
	assert_int_equal(spool_put(fixture->store, UINT32_MAX - 1, 99, 100), 0);
	for (int pass = 0; pass < 2; pass++) {
		assert_int_equal(spool_count(fixture->store), 12);
		for (uint32_t i = 0; i < 11; i++)
			check_message(fixture, i + 1, i + 1, lengths[i]);
		check_message(fixture, UINT32_MAX - 1, 99, 100);
		assert_int_equal(store_spool_clean(fixture->store, FOLDER), 0);
		fixture_reopen(fixture);
	}
	struct stat st;
	assert_int_equal(stat(fixture_path(fixture, FILE_OF(9)), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(stat(fixture_path(fixture, PACK_OF(1)), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0600);
	assert_int_equal(spool_files(fixture), 3);
	assert_int_equal(spool_packs(fixture), 1);
	assert_int_equal(spool_pack_length(fixture, 1), st.st_size);
}

static void test_group(void **state)
{
	struct fixture *fixture = *state;
	for (size_t count = 1; count <= 256; count = count * 2 + 1)
		assert_int_equal(spool_put_group(fixture->store, (uint32_t)count * 1000, count), 0);
	assert_int_equal(spool_put_group(fixture->store, 500000, 256), 0);
	assert_int_equal(spool_put_group(fixture->store, 1, 0), 0);
	fixture_reopen(fixture);
	for (size_t count = 1; count <= 256; count = count * 2 + 1)
		for (uint32_t i = 0; i < count; i++) {
			uint32_t uid = (uint32_t)count * 1000 + i;
			check_message(fixture, uid, uid, spool_length(uid));
		}
	uint64_t messages, unseen;
	assert_int_equal(store_folder_count(fixture->store, FOLDER, &messages, &unseen), 0);
	assert_int_equal(messages, 1 + 3 + 7 + 15 + 31 + 63 + 127 + 255 + 256);
}

static void test_nothing_recorded(void **state)
{
	struct fixture *fixture = *state;
	_cleanup_str_ struct str uidl = STR_INIT;
	uint32_t uid = 1;
	assert_int_equal(spool_count(fixture->store), 0);
	assert_int_equal(store_spool_uidl(fixture->store, FOLDER, 1, &uidl), -ENOENT);
	assert_int_equal(store_spool_verify(fixture->store, FOLDER, 1), -ENOENT);
	uint64_t offset;
	assert_int_equal(store_spool_open(fixture->store, FOLDER, 1, &offset), -ENOENT);
	assert_int_equal(store_spool_deleted(fixture->store, FOLDER, &uid, 1, 5), 0);
	assert_int_equal(store_spool_deleted(fixture->store, FOLDER, NULL, 0, 5), 0);
	assert_int_equal(store_spool_listed(fixture->store, FOLDER, 1, 5, NULL), 0);
	assert_int_equal(store_spool_clean(fixture->store, FOLDER), 0);
	assert_int_equal(spool_count(fixture->store), 0);
}

/* ---- unique-ids ---- */

struct odd {
	const char *uidl;
	size_t len;
};

static int check_odd(void *arg, const struct store_spool *record)
{
	const struct odd *odd = (const struct odd *)arg + record->uid - 1;
	assert_int_equal(record->uidl_len, odd->len);
	if (odd->len)
		assert_memory_equal(record->uidl, odd->uidl, odd->len);
	return 0;
}

static void test_odd_uidls(void **state)
{
	struct fixture *fixture = *state;
	static char longest[4000];
	memset(longest, '\xff', sizeof(longest));
	const struct odd odds[] = {{"a\0b", 3}, {"\0", 1}, {"\xe9\x80 '\"%s\t", 8}, {longest, 4000},
		{NULL, 0}, {"", 0}, {"a\0b", 3}};
	for (uint32_t i = 0; i < 7; i++) {
		struct store_spool_item item;
		assert_int_equal(spool_write(fixture->store, i + 1, i, 10, &item), 0);
		item.record.uidl = odds[i].uidl;
		item.record.uidl_len = odds[i].len;
		assert_int_equal(store_spool_commit(fixture->store, FOLDER, &item, 1), 0);
	}
	fixture_reopen(fixture);
	assert_int_equal(store_spool_load(fixture->store, FOLDER, check_odd, (void *)odds), 0);
	for (uint32_t i = 0; i < 7; i++) {
		_cleanup_str_ struct str uidl = STR_INIT;
		int rc = store_spool_uidl(fixture->store, FOLDER, i + 1, &uidl);
		assert_int_equal(rc, odds[i].len ? 0 : -ENODATA);
		assert_int_equal(uidl.len, odds[i].len);
		if (uidl.len)
			assert_memory_equal(uidl.data, odds[i].uidl, uidl.len);
	}
}

/* ---- loading ---- */

static int check_ascending(void *arg, const struct store_spool *record)
{
	uint32_t *last = arg;
	assert_true(record->uid > *last);
	*last = record->uid;
	return 0;
}

static int stop_at_third(void *arg, const struct store_spool *record)
{
	(void)record;
	return ++*(int *)arg == 3 ? -ECANCELED : 0;
}

/* More than one batch, by number and by bytes. */
static void test_load_many(void **state)
{
	struct fixture *fixture = *state;
	fixture_sql(fixture,
		"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
		" INSERT INTO spool(id, uidl, size, position, sha256, checksum, stored_s, deleted_s, lost)"
		" SELECT (5 << 32) + i * 3, zeroblob(i % 2000), 0, 0, zeroblob(32), 0, 0, 0, 0 FROM n");
	uint32_t last = 0;
	assert_int_equal(spool_count(fixture->store), 5000);
	assert_int_equal(store_spool_load(fixture->store, FOLDER, check_ascending, &last), 0);
	assert_int_equal(last, 15000);
	int calls = 0;
	assert_int_equal(
		store_spool_load(fixture->store, FOLDER, stop_at_third, &calls), -ECANCELED);
	assert_int_equal(calls, 3);
	assert_int_equal(store_spool_load(fixture->store, 4, check_ascending, &last), 0);
	assert_int_equal(store_spool_load(fixture->store, 6, check_ascending, &last), 0);
}

static void test_damaged_record(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(spool_put(fixture->store, 1, 1, 10), 0);
	fixture_sql(fixture, "UPDATE spool SET sha256 = x'00'");
	assert_int_equal(spool_count(fixture->store), SIZE_MAX);
	assert_int_equal(store_spool_verify(fixture->store, FOLDER, 1), -EIO);
}

/* ---- what is noted ---- */

static void test_deleted(void **state)
{
	struct fixture *fixture = *state;
	uint32_t uids[] = {2, 3, 77};
	assert_int_equal(spool_put_group(fixture->store, 1, 4), 0);
	assert_int_equal(store_spool_deleted(fixture->store, FOLDER, uids, 3, 1800000000), 0);
	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t uid = 1; uid <= 4; uid++)
			assert_int_equal(spool_record(fixture->store, uid).record.deleted_s,
				uid == 2 || uid == 3 ? 1800000000 : 0);
		fixture_reopen(fixture);
	}
	assert_int_equal(store_spool_deleted(fixture->store, FOLDER, uids, 1, 0), 0);
	assert_int_equal(spool_record(fixture->store, 2).record.deleted_s, 0);
	assert_int_equal(spool_record(fixture->store, 3).record.deleted_s, 1800000000);
	assert_false(spool_record(fixture->store, 77).found);
}

static void test_listed(void **state)
{
	struct fixture *fixture = *state;
	unsigned char top[STORE_DIGEST_BYTES];
	memset(top, 0xa7, sizeof(top));
	assert_int_equal(spool_put(fixture->store, 1, 1, 10), 0);
	assert_int_equal(store_spool_listed(fixture->store, FOLDER, 1, UINT64_C(1) << 40, top), 0);
	fixture_reopen(fixture);
	struct store_spool record = spool_record(fixture->store, 1).record;
	assert_int_equal(record.listed_bytes, UINT64_C(1) << 40);
	assert_true(record.has_top);
	assert_memory_equal(record.top, top, sizeof(top));
	assert_int_equal(store_spool_listed(fixture->store, FOLDER, 1, UINT64_MAX, NULL), 0);
	record = spool_record(fixture->store, 1).record;
	assert_true(record.listed_bytes == UINT64_MAX);
	assert_true(record.has_top);
	assert_memory_equal(record.top, top, sizeof(top));
}

static void test_record_as_given(void **state)
{
	struct fixture *fixture = *state;
	struct store_spool_item item;
	assert_int_equal(spool_write(fixture->store, 1, 1, 10, &item), 0);
	item.record.has_top = true;
	memset(item.record.top, 0x5c, STORE_DIGEST_BYTES);
	item.record.listed_bytes = UINT64_MAX;
	item.record.deleted_s = 55;
	item.structure = NULL;
	/* These two are the file's and the record's. */
	item.record.size_bytes = 4711;
	item.row.uid = 4711;
	assert_int_equal(store_spool_commit(fixture->store, FOLDER, &item, 1), 0);
	assert_null(item.file);
	struct store_spool record = spool_record(fixture->store, 1).record;
	assert_true(record.has_top);
	assert_int_equal(record.top[31], 0x5c);
	assert_true(record.listed_bytes == UINT64_MAX);
	assert_int_equal(record.deleted_s, 55);
	assert_int_equal(record.size_bytes, 10);
	assert_int_equal(store_row_get(fixture->store, FOLDER, 1, check_row, &record), 0);
	_cleanup_str_ struct str structure = STR_INIT;
	assert_int_equal(store_structure_get(fixture->store, FOLDER, 1, &structure), -ENOENT);
}

static void test_state(void **state)
{
	struct fixture *fixture = *state;
	struct store_spool_state now = {.complete_s = 7, .missing = 7};
	assert_int_equal(store_spool_state_get(fixture->store, FOLDER, &now), 0);
	assert_int_equal(now.complete_s, 0);
	assert_int_equal(now.missing, 0);
	now = (struct store_spool_state){.complete_s = 1800000000, .missing = 3};
	assert_int_equal(store_spool_state_put(fixture->store, FOLDER, &now), 0);
	now.missing = 4;
	assert_int_equal(store_spool_state_put(fixture->store, FOLDER, &now), 0);
	fixture_reopen(fixture);
	now = (struct store_spool_state){0};
	assert_int_equal(store_spool_state_get(fixture->store, FOLDER, &now), 0);
	assert_int_equal(now.complete_s, 1800000000);
	assert_int_equal(now.missing, 4);
	assert_int_equal(store_spool_state_get(fixture->store, 6, &now), 0);
	assert_int_equal(now.complete_s, 0);
}

/* ---- files that do not count ---- */

static void test_discard(void **state)
{
	struct fixture *fixture = *state;
	struct store_spool_item items[2];
	assert_int_equal(spool_write(fixture->store, 1, 1, 100000, &items[0]), 0);
	assert_int_equal(spool_write(fixture->store, 1, 2, 10, &items[1]), 0);
	assert_int_equal(spool_files(fixture), 1);
	assert_int_equal(access(fixture_path(fixture, FILE_OF(1)), F_OK), -1);
	spool_discard_all(items, 2);
	store_spool_discard(NULL);
	assert_int_equal(spool_files(fixture) + spool_packs(fixture), 0);
	assert_false(spool_record(fixture->store, 1).found);
	struct store_body *body = fixture_body(fixture, FOLDER, 1, "");
	char c;
	assert_int_equal(store_body_read(body, &c, 1, 0), -ENODATA);
	store_body_close(body);
}

static void touch(struct fixture *fixture, const char *name)
{
	int fd = open(fixture_path(fixture, name), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "x", 1), 1);
	close(fd);
}

static bool exists(struct fixture *fixture, const char *name)
{
	struct stat st;
	return lstat(fixture_path(fixture, name), &st) == 0;
}

/* Names of messages that were being written, and others, which stay. */
static const char *const unfinished[] = {
	"bodies/00000005/1.new7", "bodies/00000005/4294967295.new0", "bodies/nameless-3"};
static const char *const kept[] = {FILE_OF(4), FILE_OF(2), "bodies/00000005/1.old1",
	"bodies/00000005/1.new", "bodies/00000005/.new1", "bodies/00000005/1.new1x",
	"bodies/00000005/x.new1", "bodies/00000005/2-1.2.MIME", "bodies/00000005/01",
	"bodies/00000005/4294967297", "bodies/00000005/0", "bodies/00000005/x", PACK_OF(2),
	PACK_OF(01), PACK_OF(), PACK_OF(99999999999999999999), "bodies/00000005/pack-1x"};
#define COUNT(names) (sizeof(names) / sizeof(*(names)))

static void test_clean(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(spool_put_group(fixture->store, 1, 3), 0);
	assert_int_equal(spool_put_group(fixture->store, 11, 1), 0);
	for (size_t i = 0; i < COUNT(unfinished); i++)
		touch(fixture, unfinished[i]);
	for (size_t i = 0; i < COUNT(kept); i++)
		touch(fixture, kept[i]);
	touch(fixture, "bodies/other");
	assert_int_equal(symlink("1", fixture_path(fixture, FILE_OF(5))), 0);
	assert_int_equal(mkdir(fixture_path(fixture, FILE_OF(6)), 0700), 0);
	assert_int_equal(mkdir(fixture_path(fixture, "bodies/00000005/6.new1"), 0700), 0);
	fixture_sql(fixture,
		"INSERT INTO body(id, section, size, ranges) VALUES((5 << 32) + 1, '2', 5, x'0005')");
	int64_t length = spool_pack_length(fixture, 1);
	assert_int_equal(truncate(fixture_path(fixture, PACK_OF(1)), length + 777), 0);
	log_set_level(LOG_LEVEL_INFO);
	fixture_log_begin(fixture);
	assert_int_equal(store_spool_clean(fixture->store, FOLDER), 0);
	const char *text = fixture_log_end(fixture);
	log_set_level(LOG_LEVEL_WARNING);
	char line[64];
	snprintf(line, sizeof(line), "/bodies/00000005: %zu bytes in %zu files", 777 + COUNT(kept),
		1 + COUNT(kept));
	if (!strstr(text, line) || strchr(text, '\n') != strrchr(text, '\n'))
		fail_msg("not \"%s\" alone: %s", line, text);
	assert_int_equal(spool_pack_size(fixture, 1), length + 777);
	for (size_t i = 0; i < COUNT(unfinished); i++)
		if (exists(fixture, unfinished[i]))
			fail_msg("%s is still there", unfinished[i]);
	for (size_t i = 0; i < COUNT(kept); i++)
		if (!exists(fixture, kept[i]))
			fail_msg("%s is gone", kept[i]);
	assert_true(exists(fixture, FILE_OF(5)));
	assert_true(exists(fixture, FILE_OF(6)));
	assert_true(exists(fixture, "bodies/00000005/6.new1"));
	assert_true(exists(fixture, "bodies/other"));
	for (uint32_t uid = 1; uid <= 3; uid++)
		check_message(fixture, uid, uid, spool_length(uid));
	check_message(fixture, 11, 11, spool_length(11));
	fixture_sql(fixture, "CREATE TEMP TABLE t(x CHECK(x = 0));"
			     "INSERT INTO t SELECT count(*) FROM body");
}

static void test_clean_elsewhere(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(spool_put_group(fixture->store, 1, 22), 0);
	assert_int_equal(store_spool_clean(fixture->store, 4), 0);
	assert_int_equal(store_spool_clean(fixture->store, 6), 0);
	assert_int_equal(spool_files(fixture), 2);
	assert_int_equal(spool_packs(fixture), 1);
}

/* ---- reading ---- */

static void check_open(struct fixture *fixture, uint32_t uid, size_t len, uint64_t expected)
{
	static unsigned char buf[OWN_FILE];
	uint64_t offset = 77;
	int fd = store_spool_open(fixture->store, FOLDER, uid, &offset);
	assert_true(fd >= 0);
	assert_int_equal(offset, expected);
	assert_int_equal(fcntl(fd, F_GETFL) & O_ACCMODE, O_RDONLY);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(pread(fd, buf, len, (off_t)offset), len);
	for (size_t i = 0; i < len; i++)
		assert_int_equal(buf[i], byte_at(9, i));
	close(fd);
}

static void test_open(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(spool_put(fixture->store, 1, 9, 100), 0);
	assert_int_equal(spool_put(fixture->store, 2, 9, 200), 0);
	assert_int_equal(spool_put(fixture->store, 3, 9, OWN_FILE), 0);
	check_open(fixture, 1, 100, FROM_LEN);
	check_open(fixture, 2, 200, FROM_LEN + 100 + 1 + FROM_LEN);
	check_open(fixture, 3, OWN_FILE, 0);
}

/* A pack is an mbox file. */
static void test_pack_is_mbox(void **state)
{
	struct fixture *fixture = *state;
	static const char *const mails[] = {"Subject: 1\r\n\r\nOne\r\n", "Subject: 2\r\n\r\n"};
	struct store_spool_item items[2];
	for (uint32_t i = 0; i < 2; i++) {
		assert_int_equal(spool_write(fixture->store, i + 1, 1, 0, &items[i]), 0);
		assert_int_equal(store_spool_append(items[i].file, mails[i], strlen(mails[i])), 0);
	}
	assert_int_equal(store_spool_commit(fixture->store, FOLDER, items, 2), 0);
	char text[400] = "", expected[400];
	int fd = open(fixture_path(fixture, PACK_OF(1)), O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	snprintf(expected, sizeof(expected), FROM "%s\n" FROM "%s\n", mails[0], mails[1]);
	assert_string_equal(text, expected);
}

/* One pack for all groups, and a new one when it is full. */
static void test_packs_grow(void **state)
{
	struct fixture *fixture = *state;
	for (uint32_t i = 0; i < 3; i++) {
		assert_int_equal(spool_put(fixture->store, 1 + i, 1 + i, 1000), 0);
		fixture_reopen(fixture);
	}
	assert_int_equal(spool_packs(fixture), 1);
	int64_t length = 3 * (FROM_LEN + 1000 + 1);
	assert_int_equal(spool_pack_length(fixture, 1), length);
	/* As if 64 MiB were in it. */
	assert_int_equal(truncate(fixture_path(fixture, PACK_OF(1)), 64 << 20), 0);
	fixture_sql(fixture, "UPDATE spool_pack SET length = 64 << 20");
	assert_int_equal(spool_put_group(fixture->store, 4, 3), 0);
	assert_int_equal(spool_put_group(fixture->store, 7, 3), 0);
	assert_int_equal(spool_packs(fixture), 2);
	assert_int_equal(spool_pack_size(fixture, 1), 64 << 20);
	assert_int_equal(spool_pack_size(fixture, 2), spool_pack_length(fixture, 2));
	for (uint32_t uid = 1; uid <= 3; uid++)
		check_message(fixture, uid, uid, 1000);
	for (uint32_t uid = 4; uid <= 9; uid++)
		check_message(fixture, uid, uid, spool_length(uid));
}

/* A pack behind whose length something lies is left alone, and so is every name that is taken; the next number is higher. */
static void test_pack_leftovers(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(spool_put(fixture->store, 1, 1, 1000), 0);
	assert_int_equal(truncate(fixture_path(fixture, PACK_OF(1)), 99999), 0);
	assert_int_equal(spool_put(fixture->store, 2, 2, 1000), 0);
	assert_int_equal(spool_pack_size(fixture, 1), 99999);
	assert_int_equal(spool_pack_length(fixture, 2), FROM_LEN + 1000 + 1);
	fixture_sql(fixture, "UPDATE spool_pack SET length = 64 << 20 WHERE pack = 2");
	assert_int_equal(truncate(fixture_path(fixture, PACK_OF(2)), 64 << 20), 0);
	touch(fixture, PACK_OF(4));
	assert_int_equal(symlink("elsewhere", fixture_path(fixture, PACK_OF(5))), 0);
	assert_int_equal(mkdir(fixture_path(fixture, PACK_OF(6)), 0700), 0);
	touch(fixture, PACK_OF(4000000000));
	assert_int_equal(spool_put(fixture->store, 3, 3, 1000), 0);
	assert_int_equal(spool_pack_size(fixture, 1), 99999);
	assert_int_equal(spool_pack_size(fixture, 4), 1);
	assert_int_equal(spool_pack_length(fixture, 7), FROM_LEN + 1000 + 1);
	for (uint32_t uid = 1; uid <= 3; uid++)
		check_message(fixture, uid, uid, 1000);
}

static void check_body_is_whole(struct fixture *fixture, uint32_t uid, size_t len)
{
	assert_int_equal(spool_put(fixture->store, uid, 9, len), 0);
	struct store_body *body = fixture_body(fixture, FOLDER, uid, ""), *second = NULL;
	uint64_t size = 0;
	assert_true(store_body_size(body, &size));
	assert_int_equal(size, len);
	assert_int_equal(store_body_held(body, 0), len);
	assert_int_equal(store_body_held(body, 40), len - 40);
	check_bytes(body, 9, len - 40, 40);
	assert_int_equal(store_body_open(fixture->store, FOLDER, uid, "", &second), -EBUSY);
	store_body_close(body);
}

static void test_body_is_whole(void **state)
{
	struct fixture *fixture = *state;
	check_body_is_whole(fixture, 1, 100);
	check_body_is_whole(fixture, 2, OWN_FILE);
	check_body_is_whole(fixture, 3, 100);
}

/* A file that somebody has made longer is served as far as it was written. */
static void test_longer(void **state)
{
	struct fixture *fixture = *state;
	assert_int_equal(spool_put(fixture->store, 1, 9, OWN_FILE), 0);
	int fd = open(fixture_path(fixture, FILE_OF(1)), O_WRONLY | O_APPEND | O_CLOEXEC);
	assert_int_equal(write(fd, "abc", 3), 3);
	close(fd);
	assert_int_equal(spool_read(fixture->store, 1, 9, OWN_FILE), 0);
	fixture_log_begin(fixture);
	assert_int_equal(store_spool_verify(fixture->store, FOLDER, 1), -EBADMSG);
	fixture_log_end(fixture);
}

/* What is not in the spool has a file only as long as it is open. */
static void test_other_bodies(void **state)
{
	struct fixture *fixture = *state;
	static const char *const sections[] = {"", "1", "2.HEADER"};
	assert_int_equal(spool_put(fixture->store, 1, 9, 100), 0);
	for (uint32_t i = 0; i < 3; i++) {
		uint32_t uid = i ? 1 : 2;
		struct store_body *body = fixture_body(fixture, FOLDER, uid, sections[i]);
		assert_int_equal(write_bytes(body, 3, 5000, 0), 0);
		assert_int_equal(store_body_set_size(body, 4000), 0);
		check_bytes(body, 3, 4000, 0);
		assert_int_equal(store_body_drop(body), 0);
		assert_int_equal(write_bytes(body, 4, 50, 0), 0);
		check_bytes(body, 4, 50, 0);
		assert_int_equal(spool_files(fixture), 0);
		store_body_close(body);
		body = fixture_body(fixture, FOLDER, uid, sections[i]);
		assert_int_equal(store_body_held(body, 0), 0);
		store_body_close(body);
	}
	check_message(fixture, 1, 9, 100);
}

/* Opened before its message was stored: it has its own bytes, and does the message no harm. */
static void check_opened_before(struct fixture *fixture, uint32_t first, size_t len)
{
	struct store_body *early = fixture_body(fixture, FOLDER, first, "");
	struct store_body *written = fixture_body(fixture, FOLDER, first + 1, "");
	assert_int_equal(write_bytes(written, 8, 50, 0), 0);
	assert_int_equal(spool_put(fixture->store, first, 9, len), 0);
	assert_int_equal(spool_put(fixture->store, first + 1, 9, len), 0);
	assert_int_equal(write_bytes(early, 8, 50, 0), 0);
	assert_int_equal(store_body_set_size(early, 20), 0);
	assert_int_equal(store_body_set_size(written, 20), 0);
	check_bytes(early, 8, 20, 0);
	assert_int_equal(store_body_drop(early), 0);
	assert_int_equal(store_body_drop(written), 0);
	store_body_close(early);
	store_body_close(written);
	check_message(fixture, first, 9, len);
	check_message(fixture, first + 1, 9, len);
}

static void test_opened_before(void **state)
{
	check_opened_before(*state, 1, 100);
	check_opened_before(*state, 3, OWN_FILE);
}

/* ---- the number ---- */

/* The uid of the record counts, not the one it was created with; several may be created with the same. */
static void test_uid_known_late(void **state)
{
	struct fixture *fixture = *state;
	static const size_t lengths[] = {10, 4000, 200000};
	struct store_spool_item items[3];
	for (uint32_t i = 0; i < 3; i++) {
		char uidl[24];
		assert_int_equal(spool_write(fixture->store, i + 1, i, lengths[i], &items[i]), 0);
		store_spool_discard(items[i].file);
		assert_int_equal(store_spool_create(fixture->store, FOLDER, 0, &items[i].file), 0);
		unsigned char *bytes = malloc(lengths[i]);
		fill_bytes(bytes, lengths[i], i, 0);
		assert_int_equal(store_spool_append(items[i].file, bytes, lengths[i]), 0);
		free(bytes);
		snprintf(uidl, sizeof(uidl), "uidl-%u", (unsigned)(i + 1));
		assert_string_equal(items[i].record.uidl, uidl);
	}
	assert_int_equal(store_spool_commit(fixture->store, FOLDER + 1, items, 3), -EINVAL);
	assert_int_equal(store_spool_commit(fixture->store, FOLDER, items, 3), 0);
	for (uint32_t i = 0; i < 3; i++)
		check_message(fixture, i + 1, i, lengths[i]);
	assert_false(spool_record(fixture->store, 0).found);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, spool_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_round_trip),
		TEST(test_group),
		TEST(test_nothing_recorded),
		TEST(test_odd_uidls),
		TEST(test_load_many),
		TEST(test_damaged_record),
		TEST(test_deleted),
		TEST(test_listed),
		TEST(test_record_as_given),
		TEST(test_state),
		TEST(test_discard),
		TEST(test_clean),
		TEST(test_clean_elsewhere),
		TEST(test_open),
		TEST(test_pack_is_mbox),
		TEST(test_packs_grow),
		TEST(test_pack_leftovers),
		TEST(test_body_is_whole),
		TEST(test_longer),
		TEST(test_other_bodies),
		TEST(test_opened_before),
		TEST(test_uid_known_late),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
