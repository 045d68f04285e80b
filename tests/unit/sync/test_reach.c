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
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
