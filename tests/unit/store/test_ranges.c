/* SPDX-License-Identifier: MIT */
#include "fixture.h"
#include "ranges.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void print(const struct ranges *ranges, char *out, size_t size)
{
	size_t at = 0;
	out[0] = 0;
	for (size_t i = 0; i < ranges->count; i++)
		at += (size_t)snprintf(out + at, size - at, "%s%llu-%llu", i ? " " : "",
			(unsigned long long)ranges->items[i].start,
			(unsigned long long)ranges->items[i].end);
}

static void check(const struct ranges *ranges, const char *expected)
{
	char text[512];
	print(ranges, text, sizeof(text));
	assert_string_equal(text, expected);
}

static void test_add(void **state)
{
	(void)state;
	static const struct {
		uint64_t start, end;
		const char *after;
	} steps[] = {
		{10, 10, ""},
		{11, 10, ""},
		{10, 20, "10-20"},
		{30, 40, "10-20 30-40"},
		{50, 60, "10-20 30-40 50-60"},
		{0, 5, "0-5 10-20 30-40 50-60"},
		{12, 18, "0-5 10-20 30-40 50-60"},
		{5, 7, "0-7 10-20 30-40 50-60"},
		{9, 10, "0-7 9-20 30-40 50-60"},
		{7, 9, "0-20 30-40 50-60"},
		{25, 55, "0-20 25-60"},
		{60, 61, "0-20 25-61"},
		{70, 80, "0-20 25-61 70-80"},
		{0, 100, "0-100"},
		{UINT64_MAX - 1, UINT64_MAX, "0-100 18446744073709551614-18446744073709551615"},
	};
	struct ranges ranges = {0};
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		assert_int_equal(ranges_add(&ranges, steps[i].start, steps[i].end), 0);
		check(&ranges, steps[i].after);
	}
	ranges_finish(&ranges);
	check(&ranges, "");
}

static void test_truncate(void **state)
{
	(void)state;
	static const struct {
		uint64_t size;
		const char *after;
	} cases[] = {
		{100, "10-20 30-40"},
		{40, "10-20 30-40"},
		{39, "10-20 30-39"},
		{31, "10-20 30-31"},
		{30, "10-20"},
		{25, "10-20"},
		{20, "10-20"},
		{11, "10-11"},
		{10, ""},
		{0, ""},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct ranges ranges = {0};
		ranges_add(&ranges, 10, 20);
		ranges_add(&ranges, 30, 40);
		ranges_truncate(&ranges, cases[i].size);
		check(&ranges, cases[i].after);
		ranges_finish(&ranges);
	}
}

static void test_held(void **state)
{
	(void)state;
	struct ranges ranges = {0};
	assert_int_equal(ranges_held(&ranges, 0), 0);
	assert_int_equal(ranges_end(&ranges), 0);
	ranges_add(&ranges, 10, 20);
	ranges_add(&ranges, 30, 40);
	assert_int_equal(ranges_held(&ranges, 0), 0);
	assert_int_equal(ranges_held(&ranges, 9), 0);
	assert_int_equal(ranges_held(&ranges, 10), 10);
	assert_int_equal(ranges_held(&ranges, 19), 1);
	assert_int_equal(ranges_held(&ranges, 20), 0);
	assert_int_equal(ranges_held(&ranges, 35), 5);
	assert_int_equal(ranges_held(&ranges, 40), 0);
	assert_int_equal(ranges_end(&ranges), 40);
	ranges_finish(&ranges);
}

static void test_serialize(void **state)
{
	(void)state;
	static const struct range samples[] = {
		{0, 1}, {2, 130}, {500, UINT64_C(1) << 33}, {UINT64_C(1) << 62, UINT64_MAX}};
	for (size_t from = 0; from <= 4; from++) {
		struct ranges ranges = {0}, back = {0};
		for (size_t i = from; i < 4; i++)
			ranges_add(&ranges, samples[i].start, samples[i].end);
		_cleanup_str_ struct str data = STR_INIT;
		ranges_serialize(&ranges, &data);
		assert_int_equal(ranges_parse(data.data, data.len, &back), 0);
		assert_int_equal(back.count, 4 - from);
		if (back.count)
			assert_memory_equal(
				back.items, ranges.items, back.count * sizeof(*back.items));
		ranges_finish(&ranges);
		ranges_finish(&back);
	}
}

static void test_parse_damaged(void **state)
{
	(void)state;
	static const struct {
		const char *data;
		size_t len;
	} cases[] = {
		{"\x01", 1},                                          /* no length */
		{"\x01\x00", 2},                                      /* an empty range */
		{"\x01\x05\x00\x05", 4},                              /* touches the one before */
		{"\x80", 1},                                          /* a number without an end */
		{"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x7f", 11}, /* over 64 bits */
		{"\x00\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x01\x01",
			13}, /* past the end of numbers */
		{"\x05\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11},
		{"\x00\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 12},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct ranges ranges = {0};
		assert_int_equal(ranges_parse(cases[i].data, cases[i].len, &ranges), -EINVAL);
		assert_int_equal(ranges.count, 0);
		assert_null(ranges.items);
	}
}

/* Whatever bytes are parsed, what comes out is a set as adding makes it. */
static void test_parse_random(void **state)
{
	(void)state;
	uint64_t seed = 7;
	for (int round = 0; round < 20000; round++) {
		unsigned char data[24];
		size_t len = random_next(&seed) % sizeof(data);
		for (size_t i = 0; i < len; i++)
			data[i] = (unsigned char)random_next(&seed);
		struct ranges ranges;
		if (ranges_parse(data, len, &ranges) < 0)
			continue;
		for (size_t i = 0; i < ranges.count; i++) {
			assert_true(ranges.items[i].start < ranges.items[i].end);
			assert_true(i == 0 || ranges.items[i - 1].end < ranges.items[i].start);
		}
		ranges_finish(&ranges);
	}
}

#define MODEL_SIZE 256

static void check_model(const struct ranges *ranges, const bool *model)
{
	size_t count = 0;
	for (size_t i = 0; i < MODEL_SIZE; i++) {
		size_t run = 0;
		while (i + run < MODEL_SIZE && model[i + run])
			run++;
		assert_int_equal(ranges_held(ranges, i), run);
		count += model[i] && (i == 0 || !model[i - 1]);
	}
	assert_int_equal(ranges->count, count);
}

static void test_remove(void **state)
{
	(void)state;
	static const struct {
		uint64_t start, end;
		const char *after;
	} steps[] = {
		{0, 10, "10-50 60-70 80-90"},
		{50, 60, "10-50 60-70 80-90"},
		{20, 30, "10-20 30-50 60-70 80-90"},
		{10, 11, "11-20 30-50 60-70 80-90"},
		{49, 50, "11-20 30-49 60-70 80-90"},
		{40, 65, "11-20 30-40 65-70 80-90"},
		{20, 80, "11-20 80-90"},
		{15, 15, "11-20 80-90"},
		{0, UINT64_MAX, ""},
		{0, UINT64_MAX, ""},
	};
	struct ranges ranges = {0};
	ranges_add(&ranges, 10, 50);
	ranges_add(&ranges, 60, 70);
	ranges_add(&ranges, 80, 90);
	for (size_t i = 0; i < sizeof(steps) / sizeof(*steps); i++) {
		assert_int_equal(ranges_remove(&ranges, steps[i].start, steps[i].end), 0);
		check(&ranges, steps[i].after);
	}
	ranges_finish(&ranges);
}

#define UNIVERSE 400

static void fill_model(struct ranges *ranges, bool *model, uint64_t *seed)
{
	for (int i = 0; i < 30; i++) {
		uint64_t start = random_next(seed) % UNIVERSE;
		uint64_t end = start + random_next(seed) % 30;
		end = end > UNIVERSE ? UNIVERSE : end;
		bool add = random_next(seed) % 2;
		assert_int_equal(
			add ? ranges_add(ranges, start, end) : ranges_remove(ranges, start, end),
			0);
		for (uint64_t at = start; at < end; at++)
			model[at] = add;
	}
}

static uint64_t model_blocks(const bool *model, uint64_t start, uint64_t end, uint64_t block)
{
	uint64_t bytes = 0;
	for (uint64_t first = 0; first < UNIVERSE; first += block) {
		bool found = false;
		for (uint64_t at = first; at < first + block && at < UNIVERSE; at++)
			found = found || (at >= start && at < end && model[at]);
		bytes += found ? block : 0;
	}
	return bytes;
}

/* Looking at parts of the set, against a map of single bytes. */
static void test_parts_model(void **state)
{
	(void)state;
	uint64_t seed = 11;
	for (int round = 0; round < 200; round++) {
		struct ranges ranges = {0}, slice;
		bool model[UNIVERSE] = {false};
		fill_model(&ranges, model, &seed);
		uint64_t start = random_next(&seed) % UNIVERSE;
		uint64_t end = start + random_next(&seed) % (UNIVERSE - start + 1);
		uint64_t block = 1 + random_next(&seed) % 20;
		assert_int_equal(ranges_slice(&ranges, start, end, &slice), 0);
		for (uint64_t at = 0; at < UNIVERSE; at++)
			assert_int_equal(
				ranges_held(&slice, at) > 0, at >= start && at < end && model[at]);
		uint64_t next = start;
		while (next < UNIVERSE && !model[next])
			next++;
		assert_true(ranges_next(&ranges, start) == (next < UNIVERSE ? next : UINT64_MAX));
		assert_int_equal(ranges_blocks(&ranges, start, end, block),
			model_blocks(model, start, end, block));
		assert_int_equal(ranges_blocks(&ranges, 0, UINT64_MAX, block),
			model_blocks(model, 0, UNIVERSE, block));
		ranges_finish(&slice);
		ranges_finish(&ranges);
	}
}

static void test_random_model(void **state)
{
	(void)state;
	uint64_t seed = 42;
	for (int round = 0; round < 200; round++) {
		struct ranges ranges = {0};
		bool model[MODEL_SIZE] = {false};
		for (int step = 0; step < 60; step++) {
			size_t start = random_next(&seed) % MODEL_SIZE;
			size_t end = start + random_next(&seed) % 24;
			end = end > MODEL_SIZE ? MODEL_SIZE : end;
			if (random_next(&seed) % 16 == 0) {
				ranges_truncate(&ranges, start);
				memset(model + start, 0, MODEL_SIZE - start);
			} else {
				assert_int_equal(ranges_add(&ranges, start, end), 0);
				memset(model + start, 1, end - start);
			}
			check_model(&ranges, model);
		}
		ranges_finish(&ranges);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_add),
		cmocka_unit_test(test_truncate),
		cmocka_unit_test(test_held),
		cmocka_unit_test(test_serialize),
		cmocka_unit_test(test_parse_damaged),
		cmocka_unit_test(test_parse_random),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_parts_model),
		cmocka_unit_test(test_random_model),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
