/* SPDX-License-Identifier: MIT */
/* How much is asked for, and what is believed of the end. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "reach.h"

#define KIB (UINT64_C(1) << 10)
#define MIB (UINT64_C(1) << 20)

static uint64_t step(
	struct pace *pace, uint64_t pos, size_t len, uint64_t announced, int64_t took_ms)
{
	uint64_t n = pace_next(pace, pos, len, announced);
	pace_done(pace, pos + n, took_ms);
	return n;
}

static void test_sequential_grows(void **state)
{
	static const uint64_t expect[] = {
		128 * KIB, 128 * KIB, 256 * KIB, 512 * KIB, 1 * MIB, 2 * MIB, 2 * MIB, 2 * MIB};
	struct pace pace = {0};
	uint64_t pos = 0;
	(void)state;
	for (size_t i = 0; i < sizeof(expect) / sizeof(*expect); i++) {
		assert_int_equal(step(&pace, pos, 4096, 100 * MIB, 10), expect[i]);
		pos += expect[i];
	}
}

static void test_slow_line_does_not_grow(void **state)
{
	struct pace pace = {0};
	(void)state;
	for (uint64_t pos = 0; pos < 10 * 128 * KIB; pos += 128 * KIB)
		assert_int_equal(step(&pace, pos, 4096, 100 * MIB, 600), 128 * KIB);
}

/* A line that has become slow gets chunks that it can carry within a time-out. */
static void test_slower_line_shrinks(void **state)
{
	static const uint64_t expect[] = {
		1 * MIB, 512 * KIB, 256 * KIB, 128 * KIB, 64 * KIB, 64 * KIB};
	struct pace pace = {0};
	uint64_t pos = 0, n = 0;
	(void)state;
	while (n < 2 * MIB)
		pos += n = step(&pace, pos, 4096, 100 * MIB, 10);
	pace_done(&pace, pos, 20000);
	for (size_t i = 0; i < sizeof(expect) / sizeof(*expect); i++) {
		n = step(&pace, pos, 4096, 100 * MIB, 20000);
		assert_int_equal(n, expect[i]);
		pos += n;
	}
}

static void test_random_is_small(void **state)
{
	struct pace pace = {0};
	(void)state;
	assert_int_equal(step(&pace, 50 * MIB, 4096, 100 * MIB, 1), 64 * KIB);
	assert_int_equal(step(&pace, 10 * MIB, 100 * KIB, 100 * MIB, 1), 100 * KIB);
	assert_int_equal(step(&pace, 90 * MIB, 9 * MIB, 100 * MIB, 1), 2 * MIB);
	assert_int_equal(step(&pace, 20 * MIB, 1, 100 * MIB, 1), 64 * KIB);
}

static void test_end_asks_for_a_little_more(void **state)
{
	struct pace pace = {0};
	(void)state;
	assert_int_equal(step(&pace, 0, 4096, 100000, 1), 100000 + 4096);
	pace = (struct pace){0};
	assert_int_equal(step(&pace, 1000000, 4096, 1000010, 1), 10 + 4096);
	pace = (struct pace){0};
	assert_int_equal(step(&pace, 0, 4096, UINT64_MAX, 1), 128 * KIB);
}

static struct reach reach_of(uint64_t announced)
{
	return (struct reach){.announced = announced, .short_end = UINT64_MAX};
}

static void test_announced_end(void **state)
{
	struct reach reach = reach_of(1000);
	(void)state;
	assert_int_equal(reach_judge(&reach, 0, 600, 600), REACH_MORE);
	assert_int_equal(reach_judge(&reach, 600, 800, 400), REACH_END);
	reach = reach_of(0);
	assert_int_equal(reach_judge(&reach, 0, 600, 0), REACH_END);
}

static void test_short_answer_is_asked_again(void **state)
{
	struct reach reach = reach_of(1000);
	(void)state;
	assert_int_equal(reach_judge(&reach, 0, 2000, 500), REACH_MORE);
	assert_int_equal(reach_judge(&reach, 500, 2000, 0), REACH_END);
	/* It was only an answer cut short. */
	reach = reach_of(1000);
	assert_int_equal(reach_judge(&reach, 0, 2000, 500), REACH_MORE);
	assert_int_equal(reach_judge(&reach, 500, 2000, 500), REACH_END);
	/* The first empty answer is not believed, unless it is where the end was announced. */
	reach = reach_of(1000);
	assert_int_equal(reach_judge(&reach, 0, 500, 500), REACH_MORE);
	assert_int_equal(reach_judge(&reach, 500, 500, 0), REACH_MORE);
	assert_int_equal(reach_judge(&reach, 500, 500, 0), REACH_END);
}

static void test_more_than_announced(void **state)
{
	struct reach reach = reach_of(1000);
	(void)state;
	assert_int_equal(reach_judge(&reach, 0, 5096, 5096), REACH_MORE);
	assert_int_equal(reach_judge(&reach, 5096, 4096, 100), REACH_MORE);
	assert_int_equal(reach_judge(&reach, 5196, 4096, 0), REACH_END);
}

static void test_far_past_the_end(void **state)
{
	struct reach reach = reach_of(UINT64_MAX);
	(void)state;
	assert_int_equal(reach_judge(&reach, 9000, 100, 0), REACH_MORE);
	assert_int_equal(reach_judge(&reach, 9000, 100, 0), REACH_PAST);
	assert_int_equal(reach_judge(&reach, 0, 100, 50), REACH_MORE);
	assert_int_equal(reach_judge(&reach, 50, 100, 0), REACH_END);
}

static void test_contradictions(void **state)
{
	struct reach reach = reach_of(1000);
	(void)state;
	assert_int_equal(reach_judge(&reach, 0, 100, 101), REACH_NONSENSE);
	reach = reach_of(10000);
	assert_int_equal(reach_judge(&reach, 5000, 100, 100), REACH_MORE);
	assert_int_equal(reach_judge(&reach, 0, 100, 50), REACH_MORE);
	assert_int_equal(reach_judge(&reach, 50, 100, 0), REACH_NONSENSE);
}

/* A server with a message of len bytes; one answer may be cut short. */
struct sea {
	uint64_t len, asked_bytes;
	unsigned questions;
	unsigned lie_at;  /* this question, from 1 on; 0: never */
	uint64_t lie_got; /* is answered with no more than so many bytes */
	bool endless;
};

static uint64_t answer(struct sea *sea, uint64_t pos, uint64_t asked)
{
	uint64_t got = sea->endless ? asked : pos < sea->len ? sea->len - pos : 0;
	got = got < asked ? got : asked;
	if (++sea->questions == sea->lie_at && got > sea->lie_got)
		got = sea->lie_got;
	sea->asked_bytes += got;
	return got;
}

/* Searches as body_fetch.c does; false: the server contradicts itself. */
static bool find_end(struct sea *sea, uint64_t announced, uint64_t held, uint64_t *ret)
{
	struct search search = {.high = UINT64_MAX};
	struct reach reach = {.announced = announced, .short_end = UINT64_MAX, .existing = held};
	uint64_t pos, asked;
	while (search_next(&search, announced, reach.existing, &pos, &asked)) {
		assert_in_range(asked, 1, SEARCH_WINDOW + 1);
		uint64_t got = answer(sea, pos, asked);
		enum reach_verdict verdict = reach_judge(&reach, pos, asked, got);
		if (verdict == REACH_NONSENSE)
			return false;
		if (verdict == REACH_END) {
			*ret = pos + got;
			return true;
		}
		search_answer(&search, reach.existing, pos, asked, got);
	}
	return false;
}

static void check_search(uint64_t len, uint64_t announced, uint64_t held, unsigned max_questions)
{
	struct sea sea = {.len = len};
	uint64_t end = 0;
	assert_true(find_end(&sea, announced, held, &end));
	assert_int_equal(end, len);
	assert_in_range(sea.questions, 1, max_questions);
	assert_true(sea.asked_bytes <= 4 * SEARCH_WINDOW);
}

static void test_search_right(void **state)
{
	(void)state;
	check_search(30 * MIB, 30 * MIB, 0, 1);
	check_search(30 * MIB, 30 * MIB, 30 * MIB - 1, 1);
	/* All that was announced is here already. */
	check_search(30 * MIB, 30 * MIB, 30 * MIB, 1);
}

static void test_search_wrong(void **state)
{
	static const uint64_t lens[] = {1, 2, 4095, 4096, 4097, 200 * KIB, 30 * MIB, 30 * MIB + 1};
	(void)state;
	for (size_t i = 0; i < sizeof(lens) / sizeof(*lens); i++) {
		uint64_t len = lens[i];
		check_search(len, len + 1, 0, 5);
		check_search(len, len - 1, 0, 5);
		check_search(len, len + len / 50 + 1, 0, 30);
		check_search(len, len - len / 50, 0, 30);
		check_search(len, len + len / 10 + 1, 0, 30);
		check_search(len, len - len / 10, 0, 30);
		check_search(len, len * 10, 0, 35);
		check_search(len, len / 10, 0, 35);
		check_search(len, 0, 0, 35);
		check_search(len, UINT64_MAX, 0, 35);
		check_search(len, UINT64_MAX - 1, 0, 100);
		check_search(len, len * 10, len / 2, 35);
		check_search(len, len / 10, len / 2, 35);
		check_search(len, len / 10, len, 35);
	}
}

/* One answer that is not true (and does not end where all were told that it would) costs questions, no more; or the server is not believed. */
static void test_search_survives_a_lie(void **state)
{
	static const uint64_t announced[] = {
		3 * MIB, 3 * MIB + 1, 3 * MIB - 1, 30 * MIB, 300 * KIB, UINT64_MAX};
	unsigned right = 0, all = 0;
	(void)state;
	for (size_t i = 0; i < sizeof(announced) / sizeof(*announced); i++) {
		for (unsigned at = 1; at <= 40; at++) {
			struct sea sea = {.len = 3 * MIB, .lie_at = at, .lie_got = at % 3 * 5};
			uint64_t end = 0;
			bool found = find_end(&sea, announced[i], 0, &end);
			assert_true(!found || end == 3 * MIB);
			all++;
			right += found;
		}
	}
	assert_true(right * 10 >= all * 9);
}

static void test_search_gives_up(void **state)
{
	struct sea sea = {.endless = true};
	uint64_t end;
	(void)state;
	assert_false(find_end(&sea, 30 * MIB, 0, &end));
	assert_in_range(sea.questions, 20, 128);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sequential_grows),
		cmocka_unit_test(test_slow_line_does_not_grow),
		cmocka_unit_test(test_slower_line_shrinks),
		cmocka_unit_test(test_random_is_small),
		cmocka_unit_test(test_end_asks_for_a_little_more),
		cmocka_unit_test(test_announced_end),
		cmocka_unit_test(test_short_answer_is_asked_again),
		cmocka_unit_test(test_more_than_announced),
		cmocka_unit_test(test_far_past_the_end),
		cmocka_unit_test(test_contradictions),
		cmocka_unit_test(test_search_right),
		cmocka_unit_test(test_search_wrong),
		cmocka_unit_test(test_search_survives_a_lie),
		cmocka_unit_test(test_search_gives_up),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
