/* SPDX-License-Identifier: MIT */
/* The short way to the fields of a name gives what the long one gives, or says that it can not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "name.h"

struct way {
	bool (*plain)(struct mime_span raw, size_t limit, char *out, size_t *ret_len);
	int (*decode)(const char *value, size_t len, struct str *out);
};
static const struct way author = {mime_name_plain_author, mime_author};
static const struct way subject = {mime_name_plain_subject, mime_words_decode};

/* Whether it was plain. */
static bool compare(const struct way *way, const char *raw, size_t limit)
{
	struct mime_span span = {raw, strlen(raw)};
	struct str value = STR_INIT, text = STR_INIT, want = STR_INIT;
	char got[MIME_NAME_MAX + 1];
	size_t len = 0;
	bool plain = way->plain(span, limit, got, &len);
	mime_unfold(span, &value);
	assert_int_equal(way->decode(str_cstr(&value), value.len, &text), 0);
	assert_int_equal(mime_name_field(str_cstr(&text), text.len, limit, &want), 0);
	if (plain) {
		assert_true(len <= limit);
		got[len] = 0;
		if (strcmp(got, str_cstr(&want)) != 0)
			print_error("for [%s], limit %zu\n", raw, limit);
		assert_string_equal(got, str_cstr(&want));
	}
	str_finish(&value);
	str_finish(&text);
	str_finish(&want);
	return plain;
}

static void test_usual_forms(void **state)
{
	static const char *const authors[] = {" Alice Smith <a@example.org>",
		" \"Smith, Alice\" <a@example.org>", " <a@example.org>", " a@example.org",
		"a@example.org", " \"\" <a@example.org>", " build@ci <x@y>", " !!! <a@b>", "",
		" \"A.\" \"B.\" C <a@b>", " Long\r\n Name <a@b>", " \"quoted\r\n name\" <a@b>",
		" <a@b> Name behind"};
	static const char *const subjects[] = {" Quarterly report", " Re: [list] it's -- done!",
		" folded\r\n line\r\n\tand another", "", " = ?", " =", " \t ", " a_b", " ..."};
	(void)state;
	for (size_t i = 0; i < sizeof(authors) / sizeof(*authors); i++)
		assert_true(compare(&author, authors[i], 64));
	for (size_t i = 0; i < sizeof(subjects) / sizeof(*subjects); i++)
		assert_true(compare(&subject, subjects[i], 200));
}

static void test_what_is_not_plain(void **state)
{
	static const char *const authors[] = {" a@b, c@d", " \"A \\\" B\" <a@b>", " \"open <a@b>",
		" Name <a@b", " group: a@b;", " a@b (Name)", " <@r:a@b>", " <a@b> <c@d>",
		" =?utf-8?q?x?= <a@b>", " J\xc3\xbcrgen <a@b>", " x > y <a@b>", " <a,b@c>",
		" A <a@b\x01>\x01"};
	static const char *const subjects[] = {
		" =?utf-8?q?x?=", " caf\xc3\xa9", " bell\x07", " del\x7f", " x=?y"};
	(void)state;
	for (size_t i = 0; i < sizeof(authors) / sizeof(*authors); i++)
		assert_false(compare(&author, authors[i], 64));
	for (size_t i = 0; i < sizeof(subjects) / sizeof(*subjects); i++)
		assert_false(compare(&subject, subjects[i], 64));
}

static void test_every_character(void **state)
{
	char text[20];
	(void)state;
	for (int c = 1; c < 256; c++) {
		if (c == '\n')
			continue; /* stands in folds alone */
		snprintf(text, sizeof(text), " a%cb", c);
		compare(&subject, text, 64);
		compare(&author, text, 64);
		snprintf(text, sizeof(text), " %c <x@y>", c);
		compare(&author, text, 64);
		snprintf(text, sizeof(text), " <x%c@y>", c);
		compare(&author, text, 64);
	}
}

static void test_limits(void **state)
{
	char text[700];
	(void)state;
	for (size_t limit = 0; limit < 30; limit++)
		assert_true(compare(&subject, " one two, three -- four - five_six", limit));
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	assert_true(compare(&subject, text, MIME_NAME_MAX));
	assert_false(compare(&author, text, 64)); /* too long to be plain */
	text[190] = 0;
	assert_true(compare(&author, text, 64));
}

static uint32_t seed = 1;

static uint32_t next_random(void)
{
	seed = seed * 1664525 + 1013904223;
	return seed >> 8;
}

static void test_anything(void **state)
{
	static const char alphabet[] = "ab \"<>,;:()\\@.-=?\r\n\t_\xc3\xa9!x";
	unsigned plain = 0;
	(void)state;
	for (unsigned round = 0; round < 60000; round++) {
		char text[24];
		size_t len = next_random() % (sizeof(text) - 1);
		for (size_t i = 0; i < len; i++)
			text[i] = alphabet[next_random() % (sizeof(alphabet) - 1)];
		text[len] = 0;
		/* a value that was found has line ends in folds alone */
		for (char *lf = text; (lf = strchr(lf, '\n')); lf++)
			*lf = lf[1] == ' ' || lf[1] == '\t' ? '\n' : ' ';
		plain += compare(&author, text, 1 + round % 20);
		plain += compare(&subject, text, 1 + round % 20);
	}
	assert_true(plain > 1000);
}

/* One pass finds what as many searches find. */
static void test_find(void **state)
{
	static const char *const names[] = {"From", "Subject", "To", "Message-ID"};
	static const char *const headers[] = {
		"From: a\r\nTo: b\r\n c\r\nsubject : s\r\n\r\nMessage-ID: body\r\n",
		"Subject: first\nSubject: second\nFROM:x\n\n", "", "\r\nFrom: a\r\n",
		" From: fold of nothing\r\nFrom: b\r\n", "From a@b Mon\nFrom: c\nTo:", "To:\r\n\tx",
		"Message-ID: <1>\r\nFrom\r\nTo : \r\n", "Fromage: x\r\nFrom:\r\n y\r"};
	(void)state;
	for (size_t h = 0; h < sizeof(headers) / sizeof(*headers); h++) {
		struct mime_span found[4];
		mime_header_find(headers[h], strlen(headers[h]), names, 4, found);
		for (size_t i = 0; i < 4; i++) {
			struct str want = STR_INIT, got = STR_INIT;
			int r = mime_header_get(headers[h], strlen(headers[h]), names[i], &want);
			assert_int_equal(r == 0, found[i].data != NULL);
			if (r == 0)
				mime_unfold(found[i], &got);
			assert_string_equal(str_cstr(&got), str_cstr(&want));
			str_finish(&want);
			str_finish(&got);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usual_forms),
		cmocka_unit_test(test_what_is_not_plain),
		cmocka_unit_test(test_every_character),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_anything),
		cmocka_unit_test(test_find),
	};
	return cmocka_run_group_tests_name("mime/name_plain", tests, NULL, NULL);
}
