/* SPDX-License-Identifier: MIT */
/* Bodies: what is held, what is read, what another mount finds. */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (UINT64_C(1) << 20)

static size_t open_fds(void)
{
	size_t count = 0;
	DIR *dir = opendir("/proc/self/fd");
	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

static void test_empty(void **state)
{
	struct fixture *fixture = *state;
	size_t fds = open_fds();
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	char buf[10];
	uint64_t size = 77;
	assert_int_equal(store_body_read(body, buf, 10, 0), -ENODATA);
	assert_int_equal(store_body_held(body, 0), 0);
	assert_false(store_body_size(body, &size));
	assert_int_equal(size, 77);
	assert_int_equal(open_fds(), fds);
	store_body_close(body);
	/* It has left nothing behind. */
	assert_int_equal(access(fixture_path(fixture, "bodies/00000005"), F_OK), -1);
}

static void test_whole_small(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, 100, 0), 0);
	assert_int_equal(store_body_set_size(body, 100), 0);
	store_body_close(body);
	fixture_reopen(fixture);
	size_t fds = open_fds();
	body = fixture_body(fixture, 5, 1, "");
	uint64_t size = 0;
	assert_true(store_body_size(body, &size));
	assert_int_equal(size, 100);
	assert_int_equal(store_body_held(body, 0), 100);
	/* A handle costs no descriptor until its bytes are wanted. */
	assert_int_equal(open_fds(), fds);
	check_bytes(body, 1, 100, 0);
	assert_int_equal(open_fds(), fds + 1);
	char buf[200];
	assert_int_equal(store_body_read(body, buf, 200, 0), 100);
	assert_int_equal(store_body_read(body, buf, 200, 99), 1);
	assert_int_equal(store_body_read(body, buf, 200, 100), 0);
	assert_int_equal(store_body_read(body, buf, 200, UINT64_MAX), 0);
	store_body_close(body);
	assert_int_equal(open_fds(), fds);
}

static void test_no_bytes_at_all(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "1.2.MIME");
	assert_int_equal(store_body_write(body, "", 0, 0), 0);
	assert_int_equal(store_body_set_size(body, 0), 0);
	store_body_close(body);
	fixture_reopen(fixture);
	body = fixture_body(fixture, 5, 1, "1.2.MIME");
	uint64_t size = 1;
	char c;
	assert_true(store_body_size(body, &size));
	assert_int_equal(size, 0);
	assert_int_equal(store_body_read(body, &c, 1, 0), 0);
	store_body_close(body);
}

static void test_holes(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, 1000, 5000), 0);
	assert_int_equal(write_bytes(body, 1, 1000, 20 * MIB), 0);
	assert_int_equal(write_bytes(body, 1, 500, 6000), 0);
	for (int pass = 0; pass < 2; pass++) {
		char buf[4000];
		assert_int_equal(store_body_read(body, buf, 4000, 0), -ENODATA);
		assert_int_equal(store_body_read(body, buf, 4000, 4999), -ENODATA);
		assert_int_equal(store_body_read(body, buf, 4000, 6500), -ENODATA);
		assert_int_equal(store_body_read(body, buf, 4000, 5000), 1500);
		assert_int_equal(store_body_held(body, 5000), 1500);
		assert_int_equal(store_body_held(body, 20 * MIB + 1), 999);
		check_bytes(body, 1, 1500, 5000);
		check_bytes(body, 1, 1000, 20 * MIB);
		store_body_close(body);
		fixture_reopen(fixture);
		body = fixture_body(fixture, 5, 1, "");
	}
	store_body_close(body);
	struct stat st;
	assert_int_equal(stat(fixture_path(fixture, "bodies/00000005/1"), &st), 0);
	assert_int_equal(st.st_size, 20 * MIB + 1000);
	assert_true(st.st_blocks * 512 < (blkcnt_t)MIB);
}

static void test_sections_apart(void **state)
{
	struct fixture *fixture = *state;
	static const char *const sections[] = {
		"", "1", "1.1", "HEADER", "1.MIME", "2.HEADER", "..", "."};
	struct store_body *bodies[8];
	for (uint32_t i = 0; i < 8; i++) {
		bodies[i] = fixture_body(fixture, 5, 1, sections[i]);
		assert_int_equal(write_bytes(bodies[i], i, 300 + i, 0), 0);
		assert_int_equal(store_body_set_size(bodies[i], 300 + i), 0);
	}
	for (uint32_t i = 0; i < 8; i++)
		store_body_close(bodies[i]);
	fixture_reopen(fixture);
	for (uint32_t i = 0; i < 8; i++) {
		struct store_body *body = fixture_body(fixture, 5, 1, sections[i]);
		check_bytes(body, i, 300 + i, 0);
		store_body_close(body);
	}
	assert_int_equal(access(fixture_path(fixture, "bodies/00000005/1-1.MIME"), F_OK), 0);
}

static void test_section_invalid(void **state)
{
	struct fixture *fixture = *state;
	char longest[202] = "", *too_long = longest;
	memset(longest, '1', 201);
	const char *const sections[] = {
		"/", "1/../../x", "a", "1 ", "1-2", "\n", "1\x80", "HEADER.FIELDS (To)", too_long};
	for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++) {
		struct store_body *body = NULL;
		assert_int_equal(
			store_body_open(fixture->store, 5, 1, sections[i], &body), -EINVAL);
		assert_null(body);
	}
	longest[200] = 0;
	struct store_body *body = fixture_body(fixture, INT32_MAX, UINT32_MAX, longest);
	assert_int_equal(write_bytes(body, 1, 10, 0), 0);
	store_body_close(body);
}

static void test_one_handle(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, ""), *second = NULL;
	assert_int_equal(store_body_open(fixture->store, 5, 1, "", &second), -EBUSY);
	struct store_body *section = fixture_body(fixture, 5, 1, "1");
	struct store_body *folder = fixture_body(fixture, 6, 1, "");
	store_body_close(body);
	store_body_close(section);
	store_body_close(folder);
	store_body_close(fixture_body(fixture, 5, 1, ""));
}

static void test_write_beyond_numbers(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_write(body, "ab", 2, UINT64_MAX), -EINVAL);
	assert_int_equal(store_body_write(body, "ab", 2, INT64_MAX), -EINVAL);
	assert_int_equal(store_body_set_size(body, UINT64_MAX), -EINVAL);
	assert_int_equal(store_body_held(body, 0), 0);
	store_body_close(body);
}

/* ---- size ---- */

static void test_size_cuts(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, 1000, 0), 0);
	assert_int_equal(store_body_set_size(body, 600), 0);
	for (int pass = 0; pass < 2; pass++) {
		char buf[2000];
		uint64_t size = 0;
		assert_true(store_body_size(body, &size));
		assert_int_equal(size, 600);
		assert_int_equal(store_body_held(body, 0), 600);
		assert_int_equal(store_body_read(body, buf, 2000, 0), 600);
		assert_int_equal(store_body_read(body, buf, 2000, 600), 0);
		store_body_close(body);
		struct stat st;
		assert_int_equal(stat(fixture_path(fixture, "bodies/00000005/1"), &st), 0);
		assert_int_equal(st.st_size, 600);
		fixture_reopen(fixture);
		body = fixture_body(fixture, 5, 1, "");
	}
	store_body_close(body);
}

/* The file of a body that was loaded is cut too, before anything was read of it. */
static void test_size_cuts_unopened(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, 1000, 0), 0);
	store_body_close(body);
	body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_set_size(body, 10), 0);
	check_bytes(body, 1, 10, 0);
	store_body_close(body);
	struct stat st;
	assert_int_equal(stat(fixture_path(fixture, "bodies/00000005/1"), &st), 0);
	assert_int_equal(st.st_size, 10);
}

static void test_size_clips_writes(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_set_size(body, 100), 0);
	assert_int_equal(write_bytes(body, 1, 50, 80), 0);
	assert_int_equal(store_body_held(body, 80), 20);
	assert_int_equal(write_bytes(body, 1, 50, 100), 0);
	assert_int_equal(write_bytes(body, 1, 80, 0), 0);
	assert_int_equal(store_body_held(body, 0), 100);
	check_bytes(body, 1, 100, 0);
	store_body_close(body);
}

/* Cut, then known to be longer after all: what lay beyond the cut is not held any more. */
static void test_size_cut_then_longer(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, 1000, 0), 0);
	assert_int_equal(store_body_set_size(body, 500), 0);
	assert_int_equal(store_body_set_size(body, 2000), 0);
	assert_int_equal(write_bytes(body, 1, 100, 1900), 0);
	for (int pass = 0; pass < 2; pass++) {
		assert_int_equal(store_body_held(body, 0), 500);
		assert_int_equal(store_body_held(body, 500), 0);
		check_bytes(body, 1, 500, 0);
		check_bytes(body, 1, 100, 1900);
		store_body_close(body);
		body = fixture_body(fixture, 5, 1, "");
	}
	store_body_close(body);
}

static void test_size_known_without_bytes(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_set_size(body, 30 * MIB), 0);
	store_body_close(body);
	fixture_reopen(fixture);
	body = fixture_body(fixture, 5, 1, "");
	uint64_t size = 0;
	assert_true(store_body_size(body, &size));
	assert_int_equal(size, 30 * MIB);
	char c;
	assert_int_equal(store_body_read(body, &c, 1, 0), -ENODATA);
	store_body_close(body);
}

/* ---- dropping ---- */

static void test_drop(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, 1000, 0), 0);
	assert_int_equal(store_body_set_size(body, 1000), 0);
	assert_int_equal(store_body_drop(body), 0);
	uint64_t size;
	char c;
	assert_false(store_body_size(body, &size));
	assert_int_equal(store_body_held(body, 0), 0);
	assert_int_equal(store_body_read(body, &c, 1, 0), -ENODATA);
	assert_int_equal(access(fixture_path(fixture, "bodies/00000005/1"), F_OK), -1);
	/* It can be filled again, with a hole where bytes had been. */
	assert_int_equal(write_bytes(body, 1, 10, 500), 0);
	for (int pass = 0; pass < 2; pass++) {
		assert_int_equal(store_body_held(body, 0), 0);
		assert_int_equal(store_body_held(body, 500), 10);
		check_bytes(body, 1, 10, 500);
		store_body_close(body);
		fixture_reopen(fixture);
		body = fixture_body(fixture, 5, 1, "");
	}
	store_body_close(body);
}

static void test_drop_lasts(void **state)
{
	struct fixture *fixture = *state;
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, 1000, 0), 0);
	store_body_close(body);
	body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_drop(body), 0);
	assert_int_equal(store_body_drop(body), 0);
	store_body_close(body);
	body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_held(body, 0), 0);
	store_body_close(body);
}

/* ---- what a stranger did to the files ---- */

static void whole(struct fixture *fixture, uint64_t size)
{
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, size, 0), 0);
	assert_int_equal(store_body_set_size(body, size), 0);
	store_body_close(body);
}

static void test_file_missing(void **state)
{
	struct fixture *fixture = *state;
	whole(fixture, 1000);
	assert_int_equal(unlink(fixture_path(fixture, "bodies/00000005/1")), 0);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	uint64_t size = 0;
	assert_true(store_body_size(body, &size));
	assert_int_equal(size, 1000);
	assert_int_equal(store_body_held(body, 0), 0);
	/* A hole in the new file is not taken for what was held before. */
	assert_int_equal(write_bytes(body, 1, 10, 990), 0);
	store_body_close(body);
	body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_held(body, 0), 0);
	check_bytes(body, 1, 10, 990);
	store_body_close(body);
}

static void test_file_short(void **state)
{
	struct fixture *fixture = *state;
	whole(fixture, 1000);
	assert_int_equal(truncate(fixture_path(fixture, "bodies/00000005/1"), 300), 0);
	/* What is left of the piece has no checksum, and a file that lost its end may have lost more. */
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_held(body, 0), 0);
	assert_int_equal(store_body_drop(body), 0);
	store_body_close(body);
	whole(fixture, 1000000);
	assert_int_equal(truncate(fixture_path(fixture, "bodies/00000005/1"), 300000), 0);
	body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_held(body, 0), 262144);
	check_bytes(body, 1, 262144, 0);
	store_body_close(body);
}

static void test_file_cut_while_open(void **state)
{
	struct fixture *fixture = *state;
	whole(fixture, 1000);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	check_bytes(body, 1, 1000, 0);
	assert_int_equal(truncate(fixture_path(fixture, "bodies/00000005/1"), 300), 0);
	char buf[1000];
	assert_int_equal(store_body_read(body, buf, 1000, 0), 300);
	assert_int_equal(store_body_read(body, buf, 1000, 300), -ENODATA);
	assert_int_equal(store_body_held(body, 0), 300);
	assert_int_equal(write_bytes(body, 1, 700, 300), 0);
	check_bytes(body, 1, 1000, 0);
	store_body_close(body);
}

static void test_file_gone_before_first_read(void **state)
{
	struct fixture *fixture = *state;
	whole(fixture, 1000);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(unlink(fixture_path(fixture, "bodies/00000005/1")), 0);
	char c;
	assert_int_equal(store_body_read(body, &c, 1, 0), -ENODATA);
	store_body_close(body);
}

static void test_file_is_a_symlink(void **state)
{
	struct fixture *fixture = *state;
	whole(fixture, 1000);
	char target[128];
	snprintf(target, sizeof(target), "%s/precious", fixture->root);
	int fd = open(target, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, 5000), 0);
	close(fd);
	assert_int_equal(unlink(fixture_path(fixture, "bodies/00000005/1")), 0);
	assert_int_equal(symlink(target, fixture_path(fixture, "bodies/00000005/1")), 0);
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_held(body, 0), 0);
	assert_int_equal(write_bytes(body, 1, 10, 0), -EIO);
	store_body_close(body);
	struct stat st;
	assert_int_equal(stat(target, &st), 0);
	assert_int_equal(st.st_size, 5000);
}

/* A file that is there without a record: its bytes are nobody's, and go when the body begins. */
static void test_file_without_record(void **state)
{
	struct fixture *fixture = *state;
	whole(fixture, 1000);
	fixture_sql(fixture, "DELETE FROM body");
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_held(body, 0), 0);
	assert_int_equal(write_bytes(body, 1, 10, 0), 0);
	store_body_close(body);
	struct stat st;
	assert_int_equal(stat(fixture_path(fixture, "bodies/00000005/1"), &st), 0);
	assert_int_equal(st.st_size, 10);
}

static void test_record_damaged(void **state)
{
	struct fixture *fixture = *state;
	whole(fixture, 1000);
	fixture_sql(fixture, "UPDATE body SET ranges = x'0000ff'");
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(store_body_held(body, 0), 0);
	assert_int_equal(write_bytes(body, 1, 1000, 0), 0);
	check_bytes(body, 1, 1000, 0);
	store_body_close(body);
}

/* ---- against a model ---- */

#define MODEL_SIZE 3000

struct model {
	bool held[MODEL_SIZE];
	uint64_t size; /* UINT64_MAX: not known */
};

static void check_model(struct store_body *body, const struct model *model)
{
	uint64_t size = UINT64_MAX;
	store_body_size(body, &size);
	assert_true(size == model->size);
	for (uint64_t at = 0; at < MODEL_SIZE;) {
		uint64_t run = 0;
		while (at + run < MODEL_SIZE && model->held[at + run])
			run++;
		assert_int_equal(store_body_held(body, at), run);
		char c;
		if (run)
			check_bytes(body, 9, run, at);
		else
			assert_int_equal(
				store_body_read(body, &c, 1, at), at >= model->size ? 0 : -ENODATA);
		at += run ? run : 1;
	}
}

static void model_step(struct store_body *body, struct model *model, uint64_t *seed)
{
	uint64_t start = random_next(seed) % MODEL_SIZE;
	uint64_t len = random_next(seed) % 200;
	len = len > MODEL_SIZE - start ? MODEL_SIZE - start : len;
	switch (random_next(seed) % 20) {
	case 0:
		assert_int_equal(store_body_drop(body), 0);
		*model = (struct model){.size = UINT64_MAX};
		break;
	case 1:
		assert_int_equal(store_body_set_size(body, start), 0);
		model->size = start;
		memset(model->held + start, 0, MODEL_SIZE - start);
		break;
	default:
		assert_int_equal(write_bytes(body, 9, len, start), 0);
		for (uint64_t i = start; i < start + len && i < model->size; i++)
			model->held[i] = true;
	}
}

static void test_random_model(void **state)
{
	struct fixture *fixture = *state;
	uint64_t seed = 4;
	struct model model = {.size = UINT64_MAX};
	struct store_body *body = fixture_body(fixture, 5, 9, "");
	for (int step = 0; step < 600; step++) {
		if (random_next(&seed) % 12 == 0) {
			store_body_close(body);
			if (random_next(&seed) % 4 == 0)
				fixture_reopen(fixture);
			body = fixture_body(fixture, 5, 9, "");
		}
		model_step(body, &model, &seed);
		if (step % 5 == 0)
			check_model(body, &model);
	}
	store_body_close(body);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_empty),
		TEST(test_whole_small),
		TEST(test_no_bytes_at_all),
		TEST(test_holes),
		TEST(test_sections_apart),
		TEST(test_section_invalid),
		TEST(test_one_handle),
		TEST(test_write_beyond_numbers),
		TEST(test_size_cuts),
		TEST(test_size_cuts_unopened),
		TEST(test_size_clips_writes),
		TEST(test_size_cut_then_longer),
		TEST(test_size_known_without_bytes),
		TEST(test_drop),
		TEST(test_drop_lasts),
		TEST(test_file_missing),
		TEST(test_file_short),
		TEST(test_file_cut_while_open),
		TEST(test_file_gone_before_first_read),
		TEST(test_file_is_a_symlink),
		TEST(test_file_without_record),
		TEST(test_record_damaged),
		TEST(test_random_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
