/* SPDX-License-Identifier: MIT */
/* Files of the spool that are missing, damaged or something else: never an empty file, never a hole; and their replacing. */
#include "spool_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define UID     3
#define SEED    9
#define LEN_MAX 100000

/* Every test is run for a message with a file of its own and for one in a pack. */
static bool packed;
#define LEN ((size_t)(packed ? 5000 : LEN_MAX))
/* Where it begins in its file. */
#define START (packed ? 47 : 0)

static const char *file_path(struct fixture *fixture)
{
	return fixture_path(fixture, packed ? PACK_OF(1) : FILE_OF(3));
}

static void remove_file(struct fixture *fixture)
{
	assert_int_equal(unlink(file_path(fixture)), 0);
}

static void cut_file(struct fixture *fixture)
{
	assert_int_equal(truncate(file_path(fixture), (off_t)(START + LEN - 1)), 0);
}

static void empty_file(struct fixture *fixture)
{
	assert_int_equal(truncate(file_path(fixture), 0), 0);
}

static void put_symlink(struct fixture *fixture)
{
	char target[128];
	snprintf(target, sizeof(target), "%s/target", fixture->root);
	remove_file(fixture);
	int fd = open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, 1 << 20), 0);
	close(fd);
	assert_int_equal(symlink(target, file_path(fixture)), 0);
}

static void put_directory(struct fixture *fixture)
{
	remove_file(fixture);
	assert_int_equal(mkdir(file_path(fixture), 0700), 0);
	char kept[256];
	snprintf(kept, sizeof(kept), "%s/kept", file_path(fixture));
	assert_int_equal(mkdir(kept, 0700), 0);
}

static void put_fifo(struct fixture *fixture)
{
	remove_file(fixture);
	assert_int_equal(mkfifo(file_path(fixture), 0600), 0);
}

static void remove_folder(struct fixture *fixture)
{
	remove_file(fixture);
	assert_int_equal(rmdir(fixture_path(fixture, "bodies/00000005")), 0);
}

struct damage {
	void (*make)(struct fixture *fixture);
	const char *word;
};

static const struct damage damages[] = {
	{remove_file, "is missing"},
	{cut_file, "is damaged"},
	{empty_file, "is damaged"},
	{put_symlink, "is missing"},
	{put_directory, "is missing"},
	{put_fifo, "is missing"},
	{remove_folder, "is missing"},
};
#define DAMAGES (sizeof(damages) / sizeof(*damages))

static bool is_lost(struct fixture *fixture)
{
	struct spool_record found = spool_record(fixture->store, UID);
	assert_true(found.found);
	assert_int_equal(found.record.size_bytes, LEN);
	return found.record.lost;
}

/* What a reader gets of a lost message. */
static void check_reads(struct fixture *fixture)
{
	struct store_body *body = fixture_body(fixture, FOLDER, UID, "");
	char buf[100];
	uint64_t size = 0;
	for (uint64_t at = 0; at < LEN; at += 700)
		assert_int_equal(store_body_read(body, buf, sizeof(buf), at), -EIO);
	assert_int_equal(store_body_held(body, 0), 0);
	assert_true(store_body_size(body, &size));
	assert_int_equal(size, LEN);
	assert_int_equal(store_body_write(body, "x", 1, 0), -EPERM);
	assert_int_equal(store_body_drop(body), -EPERM);
	store_body_close(body);
	uint64_t offset;
	assert_int_equal(store_spool_open(fixture->store, FOLDER, UID, &offset), -EIO);
	assert_int_equal(store_spool_verify(fixture->store, FOLDER, UID), -EBADMSG);
}

static size_t occurrences(const char *text, const char *word)
{
	size_t count = 0;
	for (; (text = strstr(text, word)); text += strlen(word))
		count++;
	return count;
}

static void check_logged_once(struct fixture *fixture, const char *text, const char *word)
{
	_cleanup_str_ struct str line = STR_INIT;
	str_printf(&line,
		"message 3: its file %s %s; it is fetched again at the next look if the server still has it",
		file_path(fixture), word);
	if (occurrences(text, str_cstr(&line)) != 1)
		fail_msg("not once \"%s\" in: %s", str_cstr(&line), text);
	assert_int_equal(occurrences(text, "\n"), 1);
}

static bool file_is_there(struct fixture *fixture)
{
	struct stat st;
	return lstat(file_path(fixture), &st) == 0 && S_ISREG(st.st_mode) &&
	       st.st_size >= (off_t)(START + LEN);
}

/* A replacement makes it whole again, and leaves nothing else behind. */
static void check_replaced(struct fixture *fixture, uint32_t seed, size_t len)
{
	assert_int_equal(spool_put(fixture->store, UID, seed, len), 0);
	for (int pass = 0; pass < 2; pass++) {
		struct spool_record found = spool_record(fixture->store, UID);
		assert_false(found.record.lost);
		assert_int_equal(found.record.size_bytes, len);
		assert_int_equal(store_spool_verify(fixture->store, FOLDER, UID), 0);
		assert_int_equal(spool_read(fixture->store, UID, seed, len), 0);
		fixture_reopen(fixture);
	}
	assert_int_equal(spool_count(fixture->store), 1);
}

/* How it is noticed. */
static void by_body(struct fixture *fixture)
{
	struct store_body *body = fixture_body(fixture, FOLDER, UID, "");
	store_body_close(body);
}

static void by_verify(struct fixture *fixture)
{
	assert_int_equal(store_spool_verify(fixture->store, FOLDER, UID), -EBADMSG);
}

static void by_open(struct fixture *fixture)
{
	uint64_t offset;
	int fd = store_spool_open(fixture->store, FOLDER, UID, &offset);
	assert_true(fd == -EIO || fd == -ENOENT);
}

static void check_damage(const struct damage *damage, void (*notice)(struct fixture *fixture))
{
	void *state;
	spool_create_open(&state);
	struct fixture *fixture = state;
	assert_int_equal(spool_put(fixture->store, UID, SEED, LEN), 0);
	damage->make(fixture);
	fixture_log_begin(fixture);
	assert_false(is_lost(fixture));
	notice(fixture);
	assert_true(is_lost(fixture));
	for (int pass = 0; pass < 2; pass++) {
		check_reads(fixture);
		fixture_reopen(fixture);
		assert_true(is_lost(fixture));
	}
	check_logged_once(fixture, fixture_log_end(fixture), damage->word);
	assert_false(file_is_there(fixture));
	fixture_log_begin(fixture);
	check_replaced(fixture, SEED, LEN);
	const char *text = fixture_log_end(fixture);
	assert_int_equal(
		occurrences(text, "is a directory"), !packed && damage->make == put_directory);
	fixture_destroy(&state);
}

static void test_noticed_by_body(void **state)
{
	(void)state;
	for (size_t i = 0; i < DAMAGES; i++)
		check_damage(&damages[i], by_body);
}

static void test_noticed_by_verify(void **state)
{
	(void)state;
	for (size_t i = 0; i < DAMAGES; i++)
		check_damage(&damages[i], by_verify);
}

static void test_noticed_by_open(void **state)
{
	(void)state;
	for (size_t i = 0; i < DAMAGES; i++)
		check_damage(&damages[i], by_open);
}

/* ---- while it is open ---- */

static void put(struct fixture *fixture)
{
	assert_int_equal(spool_put(fixture->store, UID, SEED, LEN), 0);
}

static void test_missing_after_open(void **state)
{
	struct fixture *fixture = *state;
	char buf[10];
	put(fixture);
	struct store_body *body = fixture_body(fixture, FOLDER, UID, "");
	remove_file(fixture);
	assert_int_equal(store_body_read(body, buf, 10, 0), -EIO);
	assert_int_equal(store_body_read(body, buf, 10, LEN), -EIO);
	assert_true(is_lost(fixture));
	store_body_close(body);
	assert_int_equal(access(file_path(fixture), F_OK), -1);
}

static void test_cut_while_read(void **state)
{
	struct fixture *fixture = *state;
	char buf[LEN_MAX];
	put(fixture);
	struct store_body *body = fixture_body(fixture, FOLDER, UID, "");
	check_bytes(body, SEED, 100, 0);
	assert_int_equal(truncate(file_path(fixture), 1000), 0);
	assert_int_equal(store_body_read(body, buf, LEN, 0), -EIO);
	assert_true(is_lost(fixture));
	store_body_close(body);
}

/* Its inode is there as long as somebody has it open. */
static void test_removed_while_read(void **state)
{
	struct fixture *fixture = *state;
	put(fixture);
	struct store_body *body = fixture_body(fixture, FOLDER, UID, "");
	check_bytes(body, SEED, 100, 0);
	remove_file(fixture);
	check_bytes(body, SEED, LEN, 0);
	store_body_close(body);
}

static void flip(struct fixture *fixture)
{
	int fd = open(file_path(fixture), O_RDWR | O_CLOEXEC);
	assert_int_equal(pwrite(fd, "?", 1, (off_t)(START + LEN - 1)), 1);
	close(fd);
}

/* Bytes that are wrong and as many: verify() tells, and who opens a small one, and who reads all of a large one. */
static void test_other_bytes(void **state)
{
	struct fixture *fixture = *state;
	put(fixture);
	flip(fixture);
	assert_false(is_lost(fixture));
	by_verify(fixture);
	assert_true(is_lost(fixture));
	check_reads(fixture);
	check_replaced(fixture, SEED, LEN);
}

static void test_other_bytes_opened(void **state)
{
	struct fixture *fixture = *state;
	put(fixture);
	flip(fixture);
	by_body(fixture);
	assert_int_equal(is_lost(fixture), packed);
	if (packed)
		check_reads(fixture);
}

/* Reads [from, to) in pieces; what the last one returned. */
static ssize_t read_pieces(struct store_body *body, uint64_t from, uint64_t to, size_t len)
{
	char buf[LEN_MAX];
	ssize_t n = 0;
	for (uint64_t at = from; n >= 0 && at < to; at += (uint64_t)n)
		n = store_body_read(body, buf, len < to - at ? len : (size_t)(to - at), at);
	return n;
}

/* The last piece of one that was read in order is an error, and so is everything from then on. */
static void check_read_through(struct fixture *fixture, size_t piece)
{
	struct store_body *body = fixture_body(fixture, FOLDER, UID, "");
	assert_int_equal(read_pieces(body, LEN - 10, LEN, 10), 10);
	assert_true(read_pieces(body, 0, LEN - 1, piece) > 0);
	assert_false(is_lost(fixture));
	/* Pieces that overlap, and pieces ahead, change nothing. */
	assert_true(read_pieces(body, 5, 1000, 7) > 0);
	assert_false(is_lost(fixture));
	assert_int_equal(read_pieces(body, LEN - 50, LEN, 50), -EIO);
	assert_true(is_lost(fixture));
	assert_int_equal(read_pieces(body, 0, 10, 10), -EIO);
	store_body_close(body);
	check_reads(fixture);
}

static void test_other_bytes_read(void **state)
{
	struct fixture *fixture = *state;
	static const size_t pieces[] = {1, 4095, LEN_MAX};
	if (packed)
		return;
	put(fixture);
	/* No more: further ones would have no lines of their own. */
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(spool_put(fixture->store, UID, SEED, LEN), 0);
		flip(fixture);
		fixture_log_begin(fixture);
		check_read_through(fixture, pieces[i]);
		check_logged_once(fixture, fixture_log_end(fixture), "is damaged");
	}
	assert_int_equal(spool_put(fixture->store, UID, SEED, LEN), 0);
	struct store_body *body = fixture_body(fixture, FOLDER, UID, "");
	for (size_t i = 0; i < 4; i++)
		check_bytes(body, SEED, LEN, 0);
	store_body_close(body);
	assert_false(is_lost(fixture));
}

struct reader {
	pthread_t thread;
	struct store_body *body;
	ssize_t end; /* what the last read returned */
};

static void *read_all(void *arg)
{
	struct reader *reader = arg;
	reader->end = read_pieces(reader->body, 0, LEN, 777);
	return NULL;
}

/* Several at once, through one handle: all of them, or none, of a whole one; and somebody notices a damaged one. */
static void check_read_together(struct fixture *fixture, bool damaged)
{
	struct reader readers[4];
	struct store_body *body = fixture_body(fixture, FOLDER, UID, "");
	size_t failed = 0;
	for (int i = 0; i < 4; i++) {
		readers[i].body = body;
		assert_int_equal(
			pthread_create(&readers[i].thread, NULL, read_all, &readers[i]), 0);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(readers[i].thread, NULL);
		failed += readers[i].end < 0;
	}
	assert_int_equal(failed > 0, damaged);
	assert_int_equal(is_lost(fixture), damaged);
	store_body_close(body);
}

static void test_read_together(void **state)
{
	struct fixture *fixture = *state;
	put(fixture);
	check_read_together(fixture, false);
	flip(fixture);
	check_read_together(fixture, true);
}

/* A failure that says nothing about the file is no reason to give it up. */
static void test_not_readable(void **state)
{
	struct fixture *fixture = *state;
	put(fixture);
	assert_int_equal(chmod(file_path(fixture), 0), 0);
	fixture_drop_rights(fixture);
	char c;
	struct store_body *body = fixture_body(fixture, FOLDER, UID, "");
	assert_int_equal(store_body_read(body, &c, 1, 0), -EIO);
	store_body_close(body);
	assert_int_equal(store_spool_verify(fixture->store, FOLDER, UID), -EIO);
	uint64_t offset;
	assert_int_equal(store_spool_open(fixture->store, FOLDER, UID, &offset), -EIO);
	assert_false(is_lost(fixture));
	fixture_take_rights();
	assert_int_equal(chmod(file_path(fixture), 0600), 0);
	assert_int_equal(store_spool_verify(fixture->store, FOLDER, UID), 0);
}

/* ---- replacing ---- */

static void lose_it(struct fixture *fixture)
{
	put(fixture);
	flip(fixture);
}

static void test_replaced_by_another(void **state)
{
	struct fixture *fixture = *state;
	lose_it(fixture);
	assert_int_equal(store_size_put(fixture->store, FOLDER, UID, LEN + 5), 0);
	assert_int_equal(store_section_size_put(fixture->store, FOLDER, UID, "1", 77), 0);
	/* Not noticed yet: the commit looks at the file itself. */
	check_replaced(fixture, SEED + 1, 2 * LEN);
	uint64_t size;
	assert_int_equal(store_section_size_get(fixture->store, FOLDER, UID, "1", &size), -ENOENT);
	/* What stood in its place is kept beside it. */
	assert_int_equal(spool_files(fixture), packed ? 0 : 2);
}

static int row_size(void *arg, const struct source_row *row)
{
	*(uint64_t *)arg = row->size_bytes;
	return 0;
}

static void test_replaced_row(void **state)
{
	struct fixture *fixture = *state;
	uint64_t size = 0;
	lose_it(fixture);
	by_verify(fixture);
	assert_int_equal(store_size_put(fixture->store, FOLDER, UID, LEN), 0);
	assert_int_equal(spool_put(fixture->store, UID, SEED + 1, 10), 0);
	assert_int_equal(store_row_get(fixture->store, FOLDER, UID, row_size, &size), 0);
	assert_int_equal(size, 10);
}

/* Who has the old file open gets its bytes or an error, and the next one gets the new. */
static void check_open_replaced(struct fixture *fixture, bool read_before)
{
	unsigned char buf[2 * LEN_MAX];
	put(fixture);
	struct store_body *old = fixture_body(fixture, FOLDER, UID, "");
	if (read_before)
		check_bytes(old, SEED, 100, 0);
	flip(fixture);
	assert_int_equal(spool_put(fixture->store, UID, SEED + 1, 2 * LEN), 0);
	struct store_body *new = fixture_body(fixture, FOLDER, UID, "");
	check_bytes(new, SEED + 1, 2 * LEN, 0);
	if (read_before)
		check_bytes(old, SEED, LEN - 1, 0);
	else
		assert_int_equal(store_body_read(old, buf, sizeof(buf), 0), -EIO);
	assert_int_equal(store_body_write(old, "x", 1, 0), -EPERM);
	store_body_close(old);
	check_bytes(new, SEED + 1, 2 * LEN, 0);
	store_body_close(new);
	assert_false(spool_record(fixture->store, UID).record.lost);
	assert_int_equal(store_spool_verify(fixture->store, FOLDER, UID), 0);
}

static void test_replaced_while_read(void **state)
{
	check_open_replaced(*state, true);
}

static void test_replaced_while_open(void **state)
{
	check_open_replaced(*state, false);
}

static void test_replaced_while_lost(void **state)
{
	struct fixture *fixture = *state;
	char c;
	put(fixture);
	remove_file(fixture);
	struct store_body *old = fixture_body(fixture, FOLDER, UID, "");
	assert_int_equal(store_body_read(old, &c, 1, 0), -EIO);
	assert_int_equal(spool_put(fixture->store, UID, SEED, LEN), 0);
	assert_int_equal(store_body_read(old, &c, 1, 0), -EIO);
	assert_int_equal(spool_read(fixture->store, UID, SEED, LEN), 0);
	store_body_close(old);
	assert_false(is_lost(fixture));
}

/* The old file stands until the new one is on the disk. */
static void test_not_touched_before_commit(void **state)
{
	struct fixture *fixture = *state;
	struct store_spool_item item;
	lose_it(fixture);
	by_verify(fixture);
	assert_int_equal(spool_write(fixture->store, UID, SEED + 1, 100000, &item), 0);
	assert_true(file_is_there(fixture));
	store_spool_discard(item.file);
	assert_true(file_is_there(fixture));
	assert_int_equal(store_spool_clean(fixture->store, FOLDER), 0);
	assert_true(file_is_there(fixture));
	assert_true(is_lost(fixture));
}

/* A message that changes from a file of its own to a pack, and back. */
static void test_replaced_elsewhere(void **state)
{
	struct fixture *fixture = *state;
	lose_it(fixture);
	check_replaced(fixture, SEED + 1, packed ? OWN_FILE : 10);
	assert_int_equal(spool_files(fixture), 1);
	assert_int_equal(store_spool_clean(fixture->store, FOLDER), 0);
	assert_int_equal(store_spool_verify(fixture->store, FOLDER, UID), 0);
}

/* A pack that somebody has cut or taken away is not gone on with, or what is missing would become a hole. */
static void check_pack_left(struct fixture *fixture, void (*make)(struct fixture *fixture))
{
	put(fixture);
	assert_int_equal(spool_put(fixture->store, 4, 4, 3000), 0);
	make(fixture);
	fixture_log_begin(fixture);
	for (uint32_t uid = 10; uid < 20; uid++)
		assert_int_equal(spool_put(fixture->store, uid, uid, 3000), 0);
	for (uint32_t uid = 3; uid <= 4; uid++) {
		struct store_body *body = fixture_body(fixture, FOLDER, uid, "");
		char c;
		ssize_t n = store_body_read(body, &c, 1, 0);
		if (n > 0)
			assert_int_equal((unsigned char)c, byte_at(uid == UID ? SEED : uid, 0));
		else
			assert_int_equal(n, -EIO);
		store_body_close(body);
	}
	fixture_log_end(fixture);
	for (uint32_t uid = 10; uid < 20; uid++)
		assert_int_equal(spool_read(fixture->store, uid, uid, 3000), 0);
	assert_true(spool_record(fixture->store, 4).record.lost);
	assert_int_equal(store_spool_clean(fixture->store, FOLDER), 0);
	for (uint32_t uid = 10; uid < 20; uid++)
		assert_int_equal(store_spool_verify(fixture->store, FOLDER, uid), 0);
}

static void test_pack_left(void **state)
{
	(void)state;
	for (size_t i = 0; packed && i < DAMAGES; i++) {
		void *made;
		spool_create_open(&made);
		check_pack_left(made, damages[i].make);
		fixture_destroy(&made);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, spool_create_open, fixture_destroy)

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_noticed_by_body),
		cmocka_unit_test(test_noticed_by_verify),
		cmocka_unit_test(test_noticed_by_open),
		cmocka_unit_test(test_pack_left),
		TEST(test_missing_after_open),
		TEST(test_cut_while_read),
		TEST(test_removed_while_read),
		TEST(test_other_bytes),
		TEST(test_other_bytes_opened),
		TEST(test_other_bytes_read),
		TEST(test_read_together),
		TEST(test_not_readable),
		TEST(test_replaced_by_another),
		TEST(test_replaced_row),
		TEST(test_replaced_while_read),
		TEST(test_replaced_while_open),
		TEST(test_replaced_while_lost),
		TEST(test_replaced_elsewhere),
		TEST(test_not_touched_before_commit),
	};
	packed = argc > 1 && strcmp(argv[1], "packed") == 0;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
