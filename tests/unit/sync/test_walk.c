/* SPDX-License-Identifier: MIT */
/*
 * The judge of what comes next, against readers that are simulated: a folder of messages, an order in which they are read, and a wire that brings
 * at once what is asked for. What counts is how many reads found their message missing, and how much was brought that nobody read.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "walk.h"

#define KIB 1024
#define MIB (1024 * 1024)

enum { MESSAGES_MAX = 20000 };

struct world {
	struct walk walk;
	uint32_t count, gap;
	uint64_t size;
	bool here[MESSAGES_MAX], read[MESSAGES_MAX];
	unsigned misses, sets, reads;
	uint64_t fetched; /* ahead */
	int64_t now_ms;
	bool no_wire; /* nothing is brought: a test does it itself */
};

static struct world *world_create(uint32_t count, uint32_t gap, uint64_t size)
{
	struct world *w = calloc(1, sizeof(*w));
	assert_non_null(w);
	w->count = count;
	w->gap = gap;
	w->size = size;
	w->now_ms = 1000;
	return w;
}

static uint32_t uid_of(const struct world *w, uint32_t at)
{
	return (at + 1) * w->gap;
}

/* One set of what is missing before the front, as ahead_set.c makes it. */
static void bring(struct world *w, struct walk_front *front)
{
	uint64_t budget = walk_budget(&w->walk, front), bytes = 0;
	bool up = front->direction == WALK_UP;
	uint32_t next = walk_next(front), first = 0, last = 0;
	int64_t at = up ? (next + w->gap - 1) / w->gap - 1 : next / w->gap - 1;
	for (at = at < 0 ? 0 : at; at >= 0 && at < w->count && bytes < budget; at += up ? 1 : -1) {
		if (w->here[at])
			continue;
		w->here[at] = true;
		bytes += w->size;
		last = uid_of(w, (uint32_t)at);
		first = first ? first : last;
	}
	bool more = at >= 0 && at < w->count;
	walk_asked(front, first < last ? first : last, first < last ? last : first, bytes,
		more ? uid_of(w, (uint32_t)at) : 0);
	w->sets += bytes > 0;
	w->fetched += bytes;
}

static struct walk_front *touch(struct world *w, uint32_t at)
{
	struct walk_read read = {.folder = 1,
		.uid = uid_of(w, at),
		.gap = w->gap,
		.size_bytes = w->size,
		.here = w->here[at]};
	w->misses += !w->here[at];
	w->here[at] = w->read[at] = true;
	w->reads++;
	struct walk_front *front = walk_note(&w->walk, &read, ++w->now_ms), *due;
	while (!w->no_wire && (due = walk_due(&w->walk, 1, w->now_ms)))
		bring(w, due);
	return front;
}

static uint64_t wasted(const struct world *w)
{
	uint64_t bytes = 0;
	for (uint32_t i = 0; i < w->count; i++)
		bytes += w->here[i] && !w->read[i] ? w->size : 0;
	return bytes;
}

/* --- Orders --- */

static void check_straight(uint32_t gap, uint64_t size, bool up)
{
	struct world *w = world_create(3000, gap, size);
	for (uint32_t i = 0; i < w->count; i++)
		touch(w, up ? i : w->count - 1 - i);
	assert_in_range(w->misses, 1, 3);
	assert_int_equal(wasted(w), 0);
	free(w);
}

static void test_up(void **state)
{
	(void)state;
	check_straight(1, 4 * KIB, true);
	check_straight(1, 100 * KIB, true);
	check_straight(1, MIB, true);
	check_straight(37, 4 * KIB, true);
}

static void test_down(void **state)
{
	(void)state;
	check_straight(1, 4 * KIB, false);
	check_straight(37, 50 * KIB, false);
}

static void test_window_grows_and_no_further(void **state)
{
	(void)state;
	struct world *w = world_create(15000, 1, 10 * KIB);
	struct walk_front *front = NULL;
	for (uint32_t i = 0; i < 3; i++)
		front = touch(w, i);
	assert_true(wasted(w) <= WALK_WINDOW_MIN);
	assert_int_equal(front->window, WALK_WINDOW_MIN);
	for (uint32_t i = 3; i < 8000; i++) {
		touch(w, i);
		assert_true(wasted(w) <= WALK_WINDOW_MAX + WALK_SET_MAX);
	}
	assert_int_equal(front->window, WALK_WINDOW_MAX);
	assert_true(wasted(w) >= WALK_WINDOW_MAX / 2);
	/* The reader stops: so does what is fetched. */
	uint64_t before = w->fetched;
	w->now_ms += 100000;
	assert_null(walk_due(&w->walk, 1, w->now_ms));
	assert_int_equal(w->fetched, before);
	free(w);
}

static void test_a_few_messages_are_no_walk(void **state)
{
	(void)state;
	struct world *w = world_create(3000, 1, 4 * KIB);
	static const uint32_t some[] = {100, 2000, 104, 900, 901, 2500, 50};
	for (size_t i = 0; i < sizeof(some) / sizeof(some[0]); i++)
		touch(w, some[i]);
	assert_int_equal(w->fetched, 0);
	/* The same one again and again, and two in turn. */
	for (int i = 0; i < 50; i++)
		touch(w, 1200 + (uint32_t)(i % 2));
	assert_int_equal(w->sets, 0);
	free(w);
}

static void test_outliers_do_not_end_a_walk(void **state)
{
	(void)state;
	struct world *w = world_create(3000, 1, 4 * KIB);
	unsigned outside = 0;
	for (uint32_t i = 0; i < 2000; i++) {
		touch(w, i);
		if (i % 50 == 49) {
			outside += !w->here[2999 - i];
			touch(w, 2999 - i);
		}
	}
	assert_true(w->misses <= outside + 3);
	free(w);
}

static void test_skips_are_followed(void **state)
{
	(void)state;
	struct world *w = world_create(6000, 1, 4 * KIB);
	for (uint32_t i = 0; i < w->count; i += 3)
		touch(w, i);
	assert_true(w->misses <= 5);
	free(w);
}

static void test_partly_cached(void **state)
{
	(void)state;
	struct world *w = world_create(3000, 1, 4 * KIB);
	for (uint32_t i = 0; i < w->count; i++)
		w->here[i] = i % 7 < 5;
	for (uint32_t i = 0; i < w->count; i++)
		touch(w, i);
	assert_in_range(w->misses, 0, 3);
	free(w);
}

static void check_parallel(uint32_t readers, bool up)
{
	struct world *w = world_create(4000, 1, 4 * KIB);
	uint32_t part = w->count / readers;
	for (uint32_t i = 0; i < part; i++)
		for (uint32_t k = 0; k < readers; k++)
			touch(w, k * part + (up ? i : part - 1 - i));
	assert_true(w->misses <= 3 * readers);
	free(w);
}

static void test_parallel_chunks(void **state)
{
	(void)state;
	check_parallel(2, true);
	check_parallel(4, true);
	check_parallel(8, true);
	check_parallel(4, false);
	/* xargs -n 50 -P 8: neighbouring chunks. */
	struct world *w = world_create(4000, 1, 4 * KIB);
	for (uint32_t block = 0; block < w->count; block += 400)
		for (uint32_t i = 0; i < 50; i++)
			for (uint32_t k = 0; k < 8; k++)
				touch(w, block + k * 50 + i);
	assert_true(w->misses <= w->count / 20);
	free(w);
}

/* As rg does it: the one that lists takes the last of all, the others take parts of 32 from the front, and each the last of its part first. */
static void test_last_in_first_out(void **state)
{
	(void)state;
	enum { THREADS = 8, PART = 32 };
	struct world *w = world_create(4000, 1, 4 * KIB);
	uint32_t low = 0, high = w->count, parts[THREADS] = {0}, left[THREADS] = {0};
	while (w->reads < w->count) {
		for (int k = 0; k < THREADS; k++) {
			if (k == 0 && high > low)
				touch(w, --high);
			else if (k > 0 && left[k] == 0 && low < high) {
				left[k] = high - low < PART ? high - low : PART;
				parts[k] = low;
				low += left[k];
			}
			if (left[k] > 0)
				touch(w, parts[k] + --left[k]);
		}
	}
	assert_true(w->misses <= w->count / 20);
	free(w);
}

static void test_in_no_order(void **state)
{
	(void)state;
	struct world *w = world_create(3000, 1, 4 * KIB);
	uint32_t order[3000];
	srand(3);
	for (uint32_t i = 0; i < w->count; i++)
		order[i] = i;
	for (uint32_t i = w->count - 1; i > 0; i--) {
		uint32_t k = (uint32_t)rand() % (i + 1), tmp = order[i];
		order[i] = order[k];
		order[k] = tmp;
	}
	for (uint32_t i = 0; i < w->count; i++)
		touch(w, order[i]);
	assert_true(w->misses <= w->count / 4);
	free(w);
}

/* --- What else counts --- */

static void test_what_is_not_read_shrinks_the_window(void **state)
{
	(void)state;
	struct world *w = world_create(15000, 1, 10 * KIB);
	struct walk_front *front = NULL;
	for (uint32_t i = 0; i < 6000; i++)
		front = touch(w, i);
	assert_int_equal(front->window, WALK_WINDOW_MAX);
	/* From now on one of thirty is read. */
	for (uint32_t i = 6000; i < 12000; i += 30)
		front = touch(w, i);
	assert_true(front->window <= MIB);
	free(w);
}

static void test_a_slow_line_gets_small_sets(void **state)
{
	(void)state;
	struct world *w = world_create(15000, 1, 10 * KIB);
	struct walk_front *front = NULL;
	for (uint32_t i = 0; i < 3000; i++)
		front = touch(w, i);
	front->ahead = 0;
	assert_true(walk_budget(&w->walk, front) > MIB);
	for (int i = 0; i < 20; i++)
		walk_measured(&w->walk, MIB, 1000);
	assert_true(walk_budget(&w->walk, front) <= 128 * KIB + 1);
	free(w);
}

static void test_stopped_for_a_while(void **state)
{
	(void)state;
	struct world *w = world_create(3000, 1, 4 * KIB);
	w->no_wire = true;
	for (uint32_t i = 0; i < 5; i++)
		touch(w, i);
	assert_non_null(walk_due(&w->walk, 1, w->now_ms));
	assert_null(walk_due(&w->walk, 2, w->now_ms));
	walk_stop(&w->walk, w->now_ms + 1000);
	assert_null(walk_due(&w->walk, 1, w->now_ms));
	w->now_ms += 1000;
	assert_non_null(walk_due(&w->walk, 1, w->now_ms));
	free(w);
}

static void test_a_second_walk_after_the_cache_was_cleared(void **state)
{
	(void)state;
	struct world *w = world_create(2000, 1, 4 * KIB);
	for (uint32_t i = 0; i < w->count; i++)
		touch(w, i);
	memset(w->here, 0, sizeof(w->here));
	w->misses = 0;
	for (uint32_t i = 0; i < w->count; i++)
		touch(w, i);
	assert_in_range(w->misses, 1, 8);
	free(w);
}

static void test_large_ones_that_are_left(void **state)
{
	(void)state;
	struct world *w = world_create(2000, 1, MIB);
	struct walk_front *front = NULL;
	for (uint32_t i = 0; i < 40; i++)
		front = touch(w, i);
	assert_int_equal(walk_limit(front), WALK_HEAD);
	/* Read to their ends from now on. */
	for (uint32_t i = 40; i < 60; i++) {
		front = touch(w, i);
		walk_finished(&w->walk, 1, uid_of(w, i));
	}
	assert_true(walk_limit(front) == UINT64_MAX);
	free(w);
}

static void test_the_ends_of_the_numbers(void **state)
{
	(void)state;
	struct walk walk = {0};
	struct walk_front *front = NULL;
	for (uint32_t i = 0; i < 4; i++) {
		struct walk_read read = {.folder = 1,
			.uid = UINT32_MAX - 3 + i,
			.gap = UINT32_MAX,
			.size_bytes = UINT64_MAX};
		front = walk_note(&walk, &read, i + 1);
	}
	assert_true(walk_is_due(&walk, front, 5));
	walk_asked(front, UINT32_MAX - 1, UINT32_MAX, 1, 0);
	assert_false(walk_is_due(&walk, front, 5));
	for (uint32_t i = 4; i > 0; i--) {
		struct walk_read read = {.folder = 2, .uid = i, .gap = 1, .size_bytes = 0};
		front = walk_note(&walk, &read, 10);
	}
	assert_true(walk_is_due(&walk, front, 10));
	walk_asked(front, 1, 4, 1, 0);
	assert_false(walk_is_due(&walk, front, 10));
	free(NULL);
}

static void test_many_folders(void **state)
{
	(void)state;
	struct walk walk = {0};
	for (uint32_t i = 0; i < 10000; i++) {
		struct walk_read read = {
			.folder = i % 1000, .uid = i / 3 * 1000 + 1, .gap = 1, .size_bytes = 1};
		assert_non_null(walk_note(&walk, &read, i));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(test_up), cmocka_unit_test(test_down),
		cmocka_unit_test(test_window_grows_and_no_further),
		cmocka_unit_test(test_a_few_messages_are_no_walk),
		cmocka_unit_test(test_outliers_do_not_end_a_walk),
		cmocka_unit_test(test_skips_are_followed), cmocka_unit_test(test_partly_cached),
		cmocka_unit_test(test_parallel_chunks), cmocka_unit_test(test_last_in_first_out),
		cmocka_unit_test(test_in_no_order),
		cmocka_unit_test(test_what_is_not_read_shrinks_the_window),
		cmocka_unit_test(test_a_slow_line_gets_small_sets),
		cmocka_unit_test(test_stopped_for_a_while),
		cmocka_unit_test(test_a_second_walk_after_the_cache_was_cleared),
		cmocka_unit_test(test_large_ones_that_are_left),
		cmocka_unit_test(test_the_ends_of_the_numbers),
		cmocka_unit_test(test_many_folders)};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
