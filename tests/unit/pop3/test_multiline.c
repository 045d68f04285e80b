/* SPDX-License-Identifier: MIT */
/* A message out of its multi-line answer, in every cut. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailfs/util/quirk.h"
#include "private.h"

struct sample {
	const char *wire;
	size_t wire_len;
	const char *message;
	size_t message_len;
	bool bare;         /* the status line ended in LF */
	uint64_t expected; /* size as listed */
	size_t rest;       /* bytes behind the end; SIZE_MAX: it does not end */
};

#define B(text) (text), sizeof(text) - 1
#define ANY     UINT64_MAX
#define OPEN    SIZE_MAX

static const struct sample samples[] = {
	/* RFC 1939 §3 */
	{B(".\r\n"), B(""), false, ANY, 0},
	{B("\r\n.\r\n"), B("\r\n"), false, ANY, 0},
	{B("a\r\n.\r\n+OK\r\n"), B("a\r\n"), false, ANY, 5},
	{B("a\r\n..\r\n.\r\n"), B("a\r\n.\r\n"), false, ANY, 0},
	{B("..a\r\n...\r\n.\r\n"), B(".a\r\n..\r\n"), false, ANY, 0},
	{B("a.\r\n.\r\n"), B("a.\r\n"), false, ANY, 0},
	{B("a\r\n. \r\n.\r\n"), B("a\r\n. \r\n"), false, ANY, 0},
	/* bytes as they are */
	{B("a\0b\r\n\0.\r\n\xff\xfe\r\n.\r\n"), B("a\0b\r\n\0.\r\n\xff\xfe\r\n"), false, ANY, 0},
	{B("a\r\nb\rc\r\r\n.\r\n"), B("a\r\nb\rc\r\r\n"), false, ANY, 0},
	{B("a\r\nb\n\nc\r\n.\r\n"), B("a\r\nb\n\nc\r\n"), false, ANY, 0},
	{B("a\r\n\r.\r\n.\r\n"), B("a\r\n\r.\r\n"), false, ANY, 0},
	/* a server that puts no dots before dots: nothing is lost that need not be */
	{B("a\r\n.b\r\n.\rb\r\n.\n\r\n.\r\n"), B("a\r\n.b\r\n.\rb\r\n.\n\r\n"), false, ANY, 0},
	/* a dot behind a bare LF, or before one, ends no message whose lines end in CRLF */
	{B("a\r\nb\n.\r\nc\r\n.\r\n"), B("a\r\nb\n.\r\nc\r\n"), false, ANY, 0},
	{B("a\r\nb\n.\nc\r\n.\r\n"), B("a\r\nb\n.\nc\r\n"), false, ANY, 0},
	{B("a\r\n.\nc\r\n.\r\n"), B("a\r\n.\nc\r\n"), false, ANY, 0},
	{B("a\r\nb\n..c\r\n.\r\n"), B("a\r\nb\n..c\r\n"), false, ANY, 0},
	{B("a\r\nb\n.\r\n.\r\n"), B("a\r\nb\n.\r\n"), false, 4, 0},
	/* except where all that was listed has come */
	{B("a\r\nb\n.\r\n+OK"), B("a\r\nb\n"), false, 5, 3},
	{B("a\r\nb\n.\n.\r\n"), B("a\r\nb\n.\n.\r\n"), false, 5, OPEN},
	/* lines that end in LF: the first one tells, or the status line */
	{B("a\nb\n.\r\n+OK"), B("a\nb\n"), false, ANY, 3},
	{B("a\nb\n.\n"), B("a\nb\n"), false, ANY, 0},
	{B("a\n..b\n...\n.\r\n"), B("a\n.b\n..\n"), false, ANY, 0},
	{B("a\r\nb\n.\n"), B("a\r\nb\n"), true, ANY, 0},
	{B(".\n"), B(""), true, ANY, 0},
	{B(".\n"), B(""), false, ANY, 0},
	{B("\n.\n"), B("\n"), false, ANY, 0},
	/* no end */
	{B("a\r\n"), B("a\r\n"), false, ANY, OPEN},
	{B("a.\r\n"), B("a.\r\n"), false, ANY, OPEN},
	{B("a\r\n.\r"), B("a\r\n"), false, ANY, OPEN},
	{B("a\r\n."), B("a\r\n"), false, ANY, OPEN},
	{B(""), B(""), false, ANY, OPEN},
};

/* What came of a sample. */
struct outcome {
	char *message;
	size_t len;
	size_t rest;
	bool left_too_much;
};

/* Feeds the wire as chunks would lie in a buffer: what was not taken stays before what comes. */
static void feed(const struct sample *sample, size_t first, size_t step, struct outcome *ret)
{
	struct pop3_multiline multiline;
	size_t begin = 0, end = first < sample->wire_len ? first : sample->wire_len;
	*ret = (struct outcome){.message = malloc(sample->wire_len + 1), .rest = OPEN};
	assert_non_null(ret->message);
	pop3_multiline_init(&multiline, sample->bare, sample->expected);
	for (;;) {
		struct pop3_slice run;
		/* A copy of its own, so that a look behind its end is seen by a sanitizer. */
		char *chunk = malloc(end - begin + 1);
		assert_non_null(chunk);
		memcpy(chunk, sample->wire + begin, end - begin);
		chunk = realloc(chunk, end - begin > 0 ? end - begin : 1);
		size_t taken = pop3_multiline_take(&multiline, chunk, end - begin, &run);
		memcpy(ret->message + ret->len, run.data, run.len);
		free(chunk);
		ret->len += run.len;
		begin += taken;
		assert_true(begin <= end);
		if (multiline.ended)
			break;
		if (taken > 0)
			continue;
		ret->left_too_much |= end - begin > 2;
		if (end == sample->wire_len)
			return;
		end = end + step < sample->wire_len ? end + step : sample->wire_len;
	}
	assert_int_equal(multiline.given, ret->len);
	ret->rest = sample->wire_len - begin;
}

static void check(const struct sample *sample, size_t first, size_t step)
{
	struct outcome outcome;
	feed(sample, first, step, &outcome);
	if (outcome.len != sample->message_len || outcome.rest != sample->rest ||
		memcmp(outcome.message, sample->message, outcome.len) != 0)
		fail_msg("sample %zu, first %zu, step %zu: '%.*s', rest %zd",
			(size_t)(sample - samples), first, step, (int)outcome.len, outcome.message,
			(ssize_t)outcome.rest);
	assert_false(outcome.left_too_much);
	free(outcome.message);
}

/* Lines that end in LF alone, and an end behind what is no line: what the samples above say of them, said by its name. */
static void test_quirks(void **state)
{
	static const struct {
		const char *wire;
		uint64_t expected;
		unsigned bare_lines, last_line;
	} cases[] = {
		{"a\r\nb\r\n.\r\n", ANY, 0, 0},
		{"a\nb\n.\n", ANY, 1, 0},
		{"a\r\nb\n.\r\n", 5, 0, 1},
		{"a\r\nb\n.\r\n", ANY, 0, 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct sample sample = {
			cases[i].wire, strlen(cases[i].wire), "", 0, false, cases[i].expected, 0};
		struct outcome outcome;
		quirk_forget();
		feed(&sample, sample.wire_len, 1, &outcome);
		assert_int_equal(quirk_count(QUIRK_POP3_BARE_LINES), cases[i].bare_lines);
		assert_int_equal(quirk_count(QUIRK_POP3_LAST_LINE), cases[i].last_line);
		free(outcome.message);
	}
}

static void test_every_cut(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		for (size_t step = 1; step <= samples[i].wire_len; step++)
			check(&samples[i], step, step);
		for (size_t first = 1; first <= samples[i].wire_len; first++)
			check(&samples[i], first, samples[i].wire_len + 1);
		check(&samples[i], samples[i].wire_len, 1);
	}
}

/* Whatever a message holds comes back, if the server does what the RFC says. */
static void stuff(const char *message, size_t len, struct str *wire)
{
	bool start = true;
	str_reset(wire);
	for (size_t i = 0; i < len; i++) {
		if (start && message[i] == '.')
			str_putc(wire, '.');
		str_putc(wire, message[i]);
		start = i > 0 && message[i] == '\n' && message[i - 1] == '\r';
	}
	str_append_cstr(wire, ".\r\n");
}

static void test_random_messages(void **state)
{
	static const char letters[] = "..\r\n\r\na\0";
	struct str message = STR_INIT, wire = STR_INIT;
	unsigned seed = 1;
	(void)state;
	for (int round = 0; round < 20000; round++) {
		str_reset(&message);
		str_append_cstr(&message, "F: x\r\n");
		for (int n = rand_r(&seed) % 12; n > 0; n--)
			str_putc(&message, letters[rand_r(&seed) % 7]);
		str_append_cstr(&message, "\r\n");
		stuff(message.data, message.len, &wire);
		struct sample sample = {.wire = wire.data,
			.wire_len = wire.len,
			.message = message.data,
			.message_len = message.len,
			.expected = ANY};
		size_t step = 1 + (size_t)(rand_r(&seed) % 5);
		struct outcome outcome;
		feed(&sample, step, step, &outcome);
		assert_int_equal(outcome.rest, 0);
		assert_int_equal(outcome.len, message.len);
		assert_memory_equal(outcome.message, message.data, message.len);
		free(outcome.message);
	}
	str_finish(&message);
	str_finish(&wire);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_quirks),
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_random_messages),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
