/* SPDX-License-Identifier: MIT */
/* How long an operation may take, whatever the server does: times are numbers here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "limits.h"
#include "pace.h"

#define TIMEOUT 30000
#define START   INT64_C(1000000)
#define WINDOW  IMAP_LIMIT_RATE_MS

/*
 * Something comes every step_ms, from first_ms on: bytes of it, and rows. When the operation is cut off, after its beginning; at most max_ms.
 */
static int64_t lasts(
	int64_t first_ms, int64_t step_ms, uint64_t bytes, unsigned rows, int64_t max_ms)
{
	struct imap_pace pace;
	imap_pace_begin(&pace, START, TIMEOUT);
	for (int64_t at = first_ms; at < max_ms && START + at < pace.deadline_ms; at += step_ms) {
		imap_pace_came(&pace, START + at, bytes);
		for (unsigned i = 0; i < rows; i++)
			imap_pace_row(&pace);
	}
	return pace.deadline_ms - START < max_ms ? pace.deadline_ms - START : max_ms;
}

static void test_nothing(void **state)
{
	(void)state;
	assert_int_equal(lasts(60000, 1, 1, 0, 60000), TIMEOUT);
}

/* Whoever sends enough goes on, whenever he began: rows of a few bytes, lines without end. */
static void test_enough(void **state)
{
	const int64_t long_ms = 10 * 60 * 1000;
	(void)state;
	for (int64_t first = 0; first < TIMEOUT; first += 333) {
		assert_int_equal(lasts(first, 10, 11, 0, long_ms), long_ms);
		assert_int_equal(lasts(first, 250, 300, 0, long_ms), long_ms);
		assert_int_equal(lasts(first, 1000, 1100, 0, long_ms), long_ms);
		assert_int_equal(lasts(first, 800, 30, 1, long_ms), long_ms);
	}
}

/* A trickle has the time-out, and the windows that show that it is one; it begins when it likes. */
static void test_trickle(void **state)
{
	const int64_t long_ms = 10 * 60 * 1000;
	(void)state;
	for (int64_t first = 0; first < TIMEOUT; first += 333)
		for (int64_t step = 7; step < TIMEOUT; step = step * 3 / 2 + 1) {
			assert_in_range(
				lasts(first, step, 1, 0, long_ms), TIMEOUT, TIMEOUT + 2 * WINDOW);
			assert_in_range(lasts(first, step, (uint64_t)step * 900 / 1000, 0, long_ms),
				TIMEOUT, TIMEOUT + 2 * WINDOW);
		}
}

/* Who has sent enough once, and then does not any more, is cut off a time-out later. */
static void test_dries_up(void **state)
{
	struct imap_pace pace;
	int64_t at = 0;
	(void)state;
	imap_pace_begin(&pace, START, TIMEOUT);
	for (; at < 100000; at += 100)
		imap_pace_came(&pace, START + at, 4096);
	for (; START + at < pace.deadline_ms; at += 100)
		imap_pace_came(&pace, START + at, 1);
	assert_in_range(at, 100000 + TIMEOUT - WINDOW, 100000 + TIMEOUT + 3 * WINDOW);
}

/* What our own side takes its time for is given back, all of it. */
static void test_pause(void **state)
{
	struct imap_pace pace;
	(void)state;
	imap_pace_begin(&pace, START, TIMEOUT);
	imap_pace_came(&pace, START + 10, 1);
	imap_pace_pause(&pace, 100000);
	assert_int_equal(pace.deadline_ms, START + TIMEOUT + 100000);
	imap_pace_came(&pace, START + 100000 + 10 + WINDOW, 6000);
	assert_int_equal(pace.deadline_ms, START + 100000 + 10 + WINDOW + TIMEOUT);
}

/* Nothing takes longer than a day. */
static void test_longest(void **state)
{
	(void)state;
	assert_int_equal(lasts(0, 2000, 1 << 20, 0, INT64_MAX), IMAP_LIMIT_LONGEST_MS);
	assert_int_equal(lasts(0, 2000, 0, 3, INT64_MAX), IMAP_LIMIT_LONGEST_MS);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_enough),
		cmocka_unit_test(test_trickle),
		cmocka_unit_test(test_dries_up),
		cmocka_unit_test(test_pause),
		cmocka_unit_test(test_longest),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
