/* SPDX-License-Identifier: MIT */
/* What the tests of mime share: cmocka, and tables of bytes in and text out. */
#ifndef MAILFS_TESTS_MIME_HELPERS_H
#define MAILFS_TESTS_MIME_HELPERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mailfs/mime.h"
#include "mailfs/util/utf8.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define FFFD         "\xef\xbf\xbd"

struct text_case {
	const char *in, *want;
};

typedef int text_fn(const char *value, size_t len, struct str *out);

/* Runs fn on in, which may hold NULs, and compares; also that it appends, and that UTF-8 comes out. */
static inline void assert_text_len(text_fn *fn, const char *in, size_t len, const char *want)
{
	struct str out = STR_INIT;
	/* An exact copy, so that a sanitizer sees a read beyond the end. */
	char *copy = malloc(len ? len : 1);

	assert_non_null(copy);
	memcpy(copy, in, len);
	str_append_cstr(&out, "before:");
	assert_int_equal(fn(copy, len, &out), 0);
	assert_memory_equal(str_cstr(&out), "before:", 7);
	assert_string_equal(str_cstr(&out) + 7, want);
	assert_int_equal(out.len, 7 + strlen(want));
	assert_true(utf8_valid(out.data, out.len));
	str_finish(&out);
	free(copy);
}

static inline void assert_text(text_fn *fn, const char *in, const char *want)
{
	assert_text_len(fn, in, strlen(in), want);
}

static inline void assert_table(text_fn *fn, const struct text_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_text(fn, cases[i].in, cases[i].want);
}

/* len bytes made of text again and again; free() it. */
static inline char *repeated(const char *text, size_t len)
{
	char *data = malloc(len + 1);
	size_t n = strlen(text);

	assert_non_null(data);
	for (size_t i = 0; i < len; i++)
		data[i] = text[i % n];
	data[len] = 0;
	return data;
}

/* The same bytes at each run: a linear congruential generator. */
static inline unsigned next_random(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)(*state >> 33);
}

/* CPU time of this thread in ms: other processes on the machine do not count. */
static inline long cpu_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
	return (long)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/*
 * Asserts that fn on 500 kB of text made of a pattern is not quadratic: that would take minutes, linear is
 * milliseconds, and the limit lies between, with room for sanitizers.
 */
static inline void assert_linear(text_fn *fn, const char *pattern)
{
	size_t len = 500000;
	char *data = repeated(pattern, len);
	struct str out = STR_INIT;
	long start = cpu_ms();

	assert_int_equal(fn(data, len, &out), 0);
	assert_true(cpu_ms() - start < 8000);
	assert_true(utf8_valid(str_cstr(&out), out.len));
	str_finish(&out);
	free(data);
}

#endif
