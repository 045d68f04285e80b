/* SPDX-License-Identifier: MIT */
/* Times are compared at n and 4 n, with n as small as can be measured, so that what is linear takes a moment only. */
#include "linear.h"

#include <malloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define RATIO_MAX 7
/* A sanitizer looks at the whole of what memmem() and its like are given, and its allocator costs by the page: sizes say nothing then. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
static const size_t least_max = 0;
#else
static const size_t least_max = 1 << 20;
#endif
/* What is shorter says nothing of the ratio: then more is tried. */
#define TIME_MIN_US    2500
#define SIZE_MAX_BYTES (2 << 20)

static long cpu_us(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (long)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

void linear_build(const struct linear_case *c, size_t len, struct str *out)
{
	const char *mark = strchr(c->pattern, '%');

	str_reset(out);
	str_append_cstr(out, c->head);
	for (unsigned n = 0; out->len < len; n++) {
		if (!mark) {
			str_append_cstr(out, c->pattern);
			continue;
		}
		str_append(out, c->pattern, (size_t)(mark - c->pattern));
		str_printf(out, "%u%s", n, mark + 1);
	}
	str_append_cstr(out, c->tail);
	assert_int_equal(str_error(out), 0);
}

/* The least of three: another process can only make it longer. */
static long measure(const struct linear_case *c, const struct str *data)
{
	long best = 0;

	for (int i = 0; i < 3; i++) {
		long start = cpu_us();
		c->work(data->data, data->len);
		long took = cpu_us() - start;
		best = i == 0 || took < best ? took : best;
	}
	return best;
}

/* Both once more, together: the machine may have become slower in between. */
static bool grows_too_fast(const struct linear_case *c, size_t len, struct str *data, long large)
{
	linear_build(c, len / 4, data);
	long small = measure(c, data);

	linear_build(c, len, data);
	long again = measure(c, data);
	large = again < large ? again : large;
	return small > TIME_MIN_US / 4 && large > small * RATIO_MAX;
}

void linear_assert(const struct linear_case *c, size_t least)
{
	struct str data = STR_INIT;
	long small, large = 0;
	size_t len = 1 << 14;
	least = least < least_max ? least : least_max;

	do {
		len *= 4;
		small = large;
		linear_build(c, len, &data);
		large = measure(c, &data);
		bool fast = small > TIME_MIN_US / 4 && large > small * RATIO_MAX;
		for (int i = 0; i < 5 && fast; i++)
			fast = grows_too_fast(c, len, &data, large);
		if (fast)
			fail_msg("%s: %ld us, four times as much %ld us", c->what, small, large);
	} while ((large < TIME_MIN_US || len < least) && len * 4 <= SIZE_MAX_BYTES);
	str_finish(&data);
}

void linear_prepare(void)
{
	/* Memory that is given back and taken again costs by the page, from a size on: that is not what is measured. */
	mallopt(M_MMAP_THRESHOLD, 1 << 30);
	mallopt(M_TRIM_THRESHOLD, 1 << 30);
}
