/* SPDX-License-Identifier: MIT */
/* The small tools that everything stands on: strings, UTF-8, lists, hashes, numbers, clock, secrets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/hash.h"
#include "mailfs/util/list.h"
#include "mailfs/util/log.h"
#include "mailfs/util/number.h"
#include "mailfs/util/secret.h"
#include "mailfs/util/str.h"
#include "mailfs/util/utf8.h"

static void str_grows_and_stays_terminated(void **state)
{
	(void)state;
	struct str s = STR_INIT;
	assert_string_equal(str_cstr(&s), "");
	for (int i = 0; i < 1000; i++)
		str_printf(&s, "%d,", i);
	assert_int_equal(str_error(&s), 0);
	assert_int_equal(s.len, strlen(s.data));
	str_truncate(&s, 4);
	assert_string_equal(s.data, "0,1,");
	str_append(&s, "a\0b", 3);
	assert_int_equal(s.len, 7);
	assert_memory_equal(s.data, "0,1,a\0b", 8);
	char *taken = str_steal(&s);
	assert_memory_equal(taken, "0,1,a\0b", 8);
	assert_null(s.data);
	free(taken);
}

static void str_remembers_a_failure(void **state)
{
	(void)state;
	struct str s = STR_INIT;
	str_append_cstr(&s, "x");
	assert_int_equal(str_reserve(&s, SIZE_MAX / 2), -ENOMEM);
	str_append_cstr(&s, "y");
	assert_int_equal(str_error(&s), -ENOMEM);
	assert_string_equal(s.data, "x");
	assert_null(str_steal(&s));
	str_append_cstr(&s, "again");
	assert_string_equal(s.data, "again");
	str_finish(&s);
}

static void array_grows_and_keeps(void **state)
{
	(void)state;
	uint32_t *a = NULL;
	size_t cap = 0;
	for (uint32_t i = 0; i < 5000; i++) {
		assert_int_equal(array_grow(&a, &cap, i + 1, sizeof(*a)), 0);
		a[i] = i;
	}
	for (uint32_t i = 0; i < 5000; i++)
		assert_int_equal(a[i], i);
	assert_int_equal(array_grow(&a, &cap, SIZE_MAX / 2, sizeof(*a)), -ENOMEM);
	assert_int_equal(a[4999], 4999);
	free(a);
}

static void list_links_and_unlinks(void **state)
{
	(void)state;
	struct item {
		int value;
		struct list_node node;
	} items[3] = {{.value = 0}, {.value = 1}, {.value = 2}};
	struct list_node head, *pos, *tmp;
	list_init(&head);
	assert_null(list_pop(&head));
	for (int i = 0; i < 3; i++)
		list_push(&head, &items[i].node);
	int next = 0;
	list_for_each(pos, tmp, &head)
	{
		assert_int_equal(container_of(pos, struct item, node)->value, next++);
		if (next == 2)
			list_remove(pos);
	}
	assert_int_equal(next, 3);
	list_remove(&items[1].node);
	assert_ptr_equal(list_pop(&head), &items[0].node);
	assert_ptr_equal(list_pop(&head), &items[2].node);
	assert_true(list_empty(&head));
}

static void utf8_takes_what_rfc_3629_allows(void **state)
{
	(void)state;
	static const struct {
		const char *bytes;
		bool valid;
	} cases[] = {
		{"", true},
		{"plain", true},
		{"\xc3\xa9", true},
		{"\xe2\x82\xac", true},
		{"\xf0\x9f\x98\x80", true},
		{"\xf4\x8f\xbf\xbf", true},
		{"\xf4\x90\x80\x80", false},
		{"\xc0\xaf", false},
		{"\xe0\x80\xaf", false},
		{"\xf0\x80\x80\xaf", false},
		{"\xed\xa0\x80", false},
		{"\xff", false},
		{"\x80", false},
		{"\xc3", false},
		{"\xe2\x82", false},
		{"\xc3(", false},
		{"\xf8\x88\x80\x80\x80", false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(
			utf8_valid(cases[i].bytes, strlen(cases[i].bytes)), cases[i].valid);
}

static void utf8_round_trips_every_character(void **state)
{
	(void)state;
	char out[4];
	for (uint32_t c = 0; c <= 0x10ffff; c++) {
		size_t n = utf8_encode(c, out), pos = 0;
		if (c >= 0xd800 && c <= 0xdfff) {
			assert_int_equal(n, 0);
			continue;
		}
		assert_int_equal(utf8_next(out, n, &pos), c);
		assert_int_equal(pos, n);
	}
	assert_int_equal(utf8_encode(0x110000, out), 0);
}

static void utf8_cuts_between_characters(void **state)
{
	(void)state;
	const char *text = "a\xe2\x82\xac\xf0\x9f\x98\x80";
	static const size_t expected[] = {0, 1, 1, 1, 4, 4, 4, 4, 8, 8};
	for (size_t max = 0; max < 10; max++)
		assert_int_equal(utf8_cut(text, 8, max), expected[max]);
}

static void utf8_skips_one_bad_byte_at_a_time(void **state)
{
	(void)state;
	size_t pos = 0;
	const char *text = "\xe2\x82z";
	assert_int_equal(utf8_next(text, 3, &pos), UTF8_INVALID);
	assert_int_equal(pos, 1);
	assert_int_equal(utf8_next(text, 3, &pos), UTF8_INVALID);
	assert_int_equal(utf8_next(text, 3, &pos), 'z');
}

static void hash_is_the_same_for_ever(void **state)
{
	(void)state;
	/* Published FNV-1a vectors; inode numbers depend on them. */
	assert_true(hash64(HASH64_INIT, "", 0) == UINT64_C(0xcbf29ce484222325));
	assert_true(hash64(HASH64_INIT, "a", 1) == UINT64_C(0xaf63dc4c8601ec8c));
	assert_true(hash64(HASH64_INIT, "foobar", 6) == UINT64_C(0x85944171f73967e8));
	assert_true(
		hash64(hash64(HASH64_INIT, "foo", 3), "bar", 3) == UINT64_C(0x85944171f73967e8));
	assert_true(hash64_finish(1) != hash64_finish(2));
}

static void checksum_is_the_same_for_ever(void **state)
{
	(void)state;
	/* Published XXH64 vectors; people's stores hold them. */
	static const char text[] = "Nobody inspects the spammish repetition";
	assert_true(checksum64(0, "", 0) == UINT64_C(0xef46db3751d8e999));
	assert_true(checksum64(0, "a", 1) == UINT64_C(0xd24ec4f1a98c6e5b));
	assert_true(checksum64(0, "abc", 3) == UINT64_C(0x44bc2cf5ad770999));
	assert_true(checksum64(0, text, sizeof(text) - 1) == UINT64_C(0xfbcea83c8a378bf1));
	/* Every byte counts, wherever it lies, and so does the seed. */
	unsigned char bytes[100] = {0};
	uint64_t zeros = checksum64(1, bytes, sizeof(bytes));
	assert_true(zeros != checksum64(0, bytes, sizeof(bytes)));
	assert_true(zeros != checksum64(1, bytes, sizeof(bytes) - 1));
	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] = 1;
		assert_true(zeros != checksum64(1, bytes, sizeof(bytes)));
		bytes[i] = 0;
	}
}

static void clock_counts_down(void **state)
{
	(void)state;
	assert_int_equal(clock_left_ms(CLOCK_NEVER), -1);
	assert_int_equal(clock_left_ms(clock_now_ms() - 5), 0);
	int left = clock_left_ms(clock_now_ms() + 10000);
	assert_in_range(left, 9000, 10000);
	assert_int_equal(clock_left_ms(CLOCK_NEVER - 1), INT_MAX);
}

static void numbers_are_limited(void **state)
{
	(void)state;
	assert_int_equal(u64_min(1, UINT64_MAX), 1);
	assert_int_equal(u64_min(UINT64_MAX, 1), 1);
	assert_true(u64_max(1, UINT64_MAX) == UINT64_MAX);
	assert_true(u64_max(UINT64_MAX, 1) == UINT64_MAX);
	assert_int_equal(u64_clamp(4, 5, 7), 5);
	assert_int_equal(u64_clamp(6, 5, 7), 6);
	assert_int_equal(u64_clamp(8, 5, 7), 7);
}

/* Against a walk from the beginning. */
static void numbers_are_found(void **state)
{
	static const uint32_t sorted[] = {0, 2, 3, 3, 7, UINT32_MAX - 1, UINT32_MAX};
	static const uint32_t values[] = {0, 1, 2, 3, 4, 7, 8, UINT32_MAX - 1, UINT32_MAX};
	(void)state;
	for (size_t count = 0; count <= sizeof(sorted) / sizeof(sorted[0]); count++)
		for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
			size_t want = 0;
			while (want < count && sorted[want] < values[i])
				want++;
			assert_int_equal(u32_lower_bound(sorted, count, values[i]), want);
		}
	assert_int_equal(u32_lower_bound(NULL, 0, 1), 0);
}

static void secret_holds_its_bytes(void **state)
{
	(void)state;
	struct secret *secret = secret_create("pa\0ss", 5);
	assert_non_null(secret);
	assert_int_equal(secret_len(secret), 5);
	assert_memory_equal(secret_text(secret), "pa\0ss", 6);
	secret_destroy(secret);
	secret_destroy(NULL);
	char copy[] = "hunter2";
	secret_wipe(copy, sizeof(copy));
	for (size_t i = 0; i < sizeof(copy); i++)
		assert_int_equal(copy[i], 0);
}

static void log_lets_no_control_byte_through(void **state)
{
	(void)state;
	int ends[2], saved = dup(STDERR_FILENO);
	char line[1200];
	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	log_warning("server said: %s", "\x1b[2J evil\r\nsecond \xe2\x80\xae\xc3\xbc\xff\xc2\x9b");
	log_debug("not shown");
	char *long_text = calloc(1, 2001);
	memset(long_text, 'x', 2000);
	log_error("%s", long_text);
	dup2(saved, STDERR_FILENO);
	ssize_t n = read(ends[0], line, sizeof(line));
	free(long_text);
	close(saved);
	close(ends[0]);
	close(ends[1]);
	assert_true(n > 0);
	static const char first[] = "mailfs: server said: ?[2J evil??second ?\xc3\xbc??\n";
	assert_memory_equal(line, first, sizeof(first) - 1);
	assert_in_range(n, 500, 600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(str_grows_and_stays_terminated),
		cmocka_unit_test(str_remembers_a_failure),
		cmocka_unit_test(array_grows_and_keeps),
		cmocka_unit_test(list_links_and_unlinks),
		cmocka_unit_test(utf8_takes_what_rfc_3629_allows),
		cmocka_unit_test(utf8_round_trips_every_character),
		cmocka_unit_test(utf8_cuts_between_characters),
		cmocka_unit_test(utf8_skips_one_bad_byte_at_a_time),
		cmocka_unit_test(hash_is_the_same_for_ever),
		cmocka_unit_test(checksum_is_the_same_for_ever),
		cmocka_unit_test(clock_counts_down),
		cmocka_unit_test(numbers_are_limited),
		cmocka_unit_test(numbers_are_found),
		cmocka_unit_test(secret_holds_its_bytes),
		cmocka_unit_test(log_lets_no_control_byte_through),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
