/* SPDX-License-Identifier: MIT */
/* Fields out of headers of any length, cut anywhere: as they are found in a header that is there whole. */
#include "helpers.h"

static const char *const names[] = {"From", "To", "Subject", "Message-ID"};

/* Pushes text in pieces of step bytes, each a copy. */
static void take(struct mime_fields *fields, const char *text, size_t len, size_t step)
{
	for (size_t i = 0; i < len; i += step) {
		size_t bytes = len - i < step ? len - i : step;
		char *piece = malloc(bytes);
		memcpy(piece, text + i, bytes);
		assert_int_equal(mime_fields_push(fields, piece, bytes), 0);
		free(piece);
	}
	assert_int_equal(mime_fields_end(fields), 0);
}

/* Whatever is asked of what was taken is answered as of all of it. */
static void assert_same(const char *text, size_t len, size_t step)
{
	struct mime_fields fields;

	mime_fields_init(&fields, names, COUNT(names), 100000);
	take(&fields, text, len, step);
	assert_false(fields.cut);
	for (size_t i = 0; i < COUNT(names); i++) {
		struct str want = STR_INIT, got = STR_INIT;
		int r = mime_header_get(text, len, names[i], &want);
		assert_int_equal(
			mime_header_get(str_cstr(&fields.text), fields.text.len, names[i], &got),
			r);
		assert_string_equal(str_cstr(&got), str_cstr(&want));
		str_finish(&want);
		str_finish(&got);
	}
	mime_fields_finish(&fields);
}

static void test_as_found(void **state)
{
	static const char *const headers[] = {
		"From: a\r\nTo: b\r\nSubject: c\r\nMessage-ID: d\r\n\r\nFrom: body\r\n",
		"from:a\nTO : b\nsubject\t: c\n d\n\te\n\nTo: body\n",
		"X-From: a\nFromage: b\nFrom : c\nFrom: d\n f\n",
		" From: folded\nFrom: x\n",
		"From\n : no\nFrom: y",
		"From mallory Fri Nov 21\nFrom: z\r\n\r\n",
		"Subject: a\rb\r\r\nTo: \n\nFrom: late\n",
		"\r\nFrom: late\n",
		"\nFrom: late\n",
		" \nFrom: early\n",
		":\n::\nFrom: q\n",
		"Subject:",
		"Subject",
		"",
	};
	(void)state;
	for (size_t i = 0; i < COUNT(headers); i++)
		for (size_t step = 1; step < 90; step++)
			assert_same(headers[i], strlen(headers[i]), step);
}

static void test_random(void **state)
{
	static const char *const pieces[] = {"From", "To", "Subject", "Message-ID", "X", ":", " ",
		"\t", "\n", "\r\n", "\r", "a", "From: ", "\nTo: ", "\n ", "\xc3\xa4"};
	uint64_t random = 5;
	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct str text = STR_INIT;
		for (unsigned n = next_random(&random) % 24; n > 0; n--)
			str_append_cstr(&text, pieces[next_random(&random) % COUNT(pieces)]);
		assert_same(str_cstr(&text), text.len, 1 + next_random(&random) % 7);
		str_finish(&text);
	}
}

/* A long field is cut, and what is behind it is there. */
static void test_long(void **state)
{
	static const struct {
		const char *pattern, *end;
	} cases[] = {{"a", "a"}, {"\xc3\xa4", "\xc3\xa4"}, {"\xe2\x82\xac", "\xe2\x82\xac"},
		{"\xf0\x9f\x92\xa9", "\xf0\x9f\x92\xa9"}, {"\n x", NULL}, {"\x80", NULL},
		{"\xff", NULL}};
	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		for (size_t max = 40; max < 48; max++) {
			char *value = repeated(cases[i].pattern, strlen(cases[i].pattern) * 5000);
			struct str text = STR_INIT, got = STR_INIT;
			struct mime_fields fields;
			str_printf(&text, "To: %s\r\n more\r\nX: %s\r\nFrom: a\r\nTo: b\r\n\r\n",
				value, value);
			mime_fields_init(&fields, names, COUNT(names), max);
			take(&fields, text.data, text.len, 7);
			assert_true(fields.cut && fields.whole);
			assert_true(fields.text.len <= max + strlen("\r\nFrom: a\r\n"));
			assert_true(fields.text.len >= max - 3);
			assert_int_equal(
				mime_header_get(fields.text.data, fields.text.len, "From", &got),
				0);
			assert_string_equal(got.data, "a");
			str_reset(&got);
			assert_int_equal(
				mime_header_get(fields.text.data, fields.text.len, "To", &got), 0);
			if (cases[i].end) {
				assert_true(utf8_valid(got.data, got.len));
				size_t n = strlen(cases[i].end);
				assert_memory_equal(got.data + got.len - n, cases[i].end, n);
			}
			mime_fields_finish(&fields);
			str_finish(&text);
			str_finish(&got);
			free(value);
		}
}

/* What is passed over takes no memory; after a reset nothing is left. */
static void test_bounded(void **state)
{
	struct mime_fields fields;
	char *line = repeated("X-Y: abcdefgh\n", 14 * 1000);
	(void)state;
	mime_fields_init(&fields, names, COUNT(names), 1000);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(mime_fields_push(&fields, line, 14 * 1000), 0);
	assert_int_equal(fields.text.cap, 0);
	assert_int_equal(mime_fields_push(&fields, "Subject: x\n\n", 12), 0);
	assert_true(fields.whole);
	assert_string_equal(fields.text.data, "Subject: x\n");
	mime_fields_reset(&fields);
	assert_int_equal(mime_fields_push(&fields, "Subject: y", 10), 0);
	assert_int_equal(fields.text.len, 0);
	assert_int_equal(mime_fields_end(&fields), 0);
	assert_string_equal(fields.text.data, "Subject: y");
	mime_fields_finish(&fields);
	free(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_as_found),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_bounded),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
