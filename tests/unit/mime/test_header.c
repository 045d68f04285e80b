/* SPDX-License-Identifier: MIT */
/* Finding and unfolding header fields. */
#include "helpers.h"

static void assert_field(const char *header, size_t len, const char *field, const char *want)
{
	struct str out = STR_INIT;
	int r = mime_header_get(header, len, field, &out);

	assert_int_equal(r, want ? 0 : -ENOENT);
	assert_string_equal(str_cstr(&out), want ? want : "");
	str_finish(&out);
}

static void test_finds(void **state)
{
	static const struct {
		const char *header, *field, *want;
	} cases[] = {
		{"Subject: one\r\n\r\n", "Subject", "one"},
		{"Subject: one\n\n", "Subject", "one"},
		{"Subject: one", "Subject", "one"},
		{"SUBJECT:one\r\n", "subject", "one"},
		{"subject : one \t\r\n", "Subject", "one"},
		{"From: a\r\nSubject: one\r\nSubject: two\r\n", "Subject", "one"},
		{"Subject: one\r\n two\r\n\tthree\r\nTo: x\r\n", "Subject", "one two\tthree"},
		{"Subject:\r\n one\r\n", "Subject", "one"},
		{"Subject: one\r\n \r\n two\r\n", "Subject", "one  two"},
		{"Subject:\r\nTo: x\r\n", "Subject", ""},
		{"Subject:", "Subject", ""},
		{"Subject: a:b: c\r\n", "Subject", "a:b: c"},
		{"Subject: \r\r\n", "Subject", ""},
		{"From alice Mon Nov 21 09:15\nFrom: b\n", "From", "b"},
		{"garbage\r\n\x80\xff\r\nSubject: x\r\n", "Subject", "x"},
		{" Subject: folded\r\nSubject: x\r\n", "Subject", "x"},
		{"Subject: \xe4\r\n", "Subject", "\xe4"},
		{"Subjec: x\r\nSubjectX: y\r\nXSubject: z\r\n", "Subject", NULL},
		{"Subject\r\n", "Subject", NULL},
		{"To: x\r\n\r\nSubject: in the body\r\n", "Subject", NULL},
		{"\r\nSubject: in the body\r\n", "Subject", NULL},
		{"\nSubject: in the body\n", "Subject", NULL},
		{"", "Subject", NULL},
	};
	(void)state;

	for (size_t i = 0; i < COUNT(cases); i++)
		assert_field(
			cases[i].header, strlen(cases[i].header), cases[i].field, cases[i].want);
	assert_field(NULL, 0, "Subject", NULL);
}

static void test_nul_is_data(void **state)
{
	static const char header[] = "Subject: a\0b\r\n\r\n";
	struct str out = STR_INIT;
	(void)state;

	assert_int_equal(mime_header_get(header, sizeof(header) - 1, "Subject", &out), 0);
	assert_int_equal(out.len, 3);
	assert_memory_equal(out.data, "a\0b", 3);
	str_finish(&out);
}

static void test_every_cut(void **state)
{
	static const char header[] = "To: x\r\nSubject: one\r\n two\r\n\r\nbody";
	(void)state;

	for (size_t len = 0; len < sizeof(header); len++) {
		char *copy = malloc(len ? len : 1);
		struct str out = STR_INIT;
		memcpy(copy, header, len);
		int r = mime_header_get(copy, len, "Subject", &out);
		assert_int_equal(r, len < strlen("To: x\r\nSubject:") ? -ENOENT : 0);
		assert_memory_equal(str_cstr(&out), "one two", out.len);
		str_finish(&out);
		free(copy);
	}
}

static void test_copies(void **state)
{
	static const struct {
		const char *header, *field, *want;
	} cases[] = {
		{"Subject: one\r\n\r\n", "subject", "Subject: one\r\n"},
		{"To: x\nSUBJECT :  one \n two\n\tthree\nFrom: y\n\n", "Subject",
			"SUBJECT :  one \n two\n\tthree\n"},
		{"Subject: one\r\n \r\n two\r\n\r\n", "Subject", "Subject: one\r\n \r\n two\r\n"},
		{"Subject: one", "Subject", "Subject: one"},
		{"Subject: one\n two", "Subject", "Subject: one\n two"},
		{"Subject:", "Subject", "Subject:"},
		{"Subject: one\nSubject: two\n", "Subject", "Subject: one\n"},
		{"X: y\n Subject: folded\nSubject: x\n", "Subject", "Subject: x\n"},
		{"SubjectX: y\n\nSubject: body\n", "Subject", NULL},
		{"", "Subject", NULL},
	};
	struct str out = STR_INIT;
	(void)state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		size_t len = strlen(cases[i].header);
		char *copy = malloc(len ? len : 1);
		memcpy(copy, cases[i].header, len);
		str_reset(&out);
		str_append_cstr(&out, "before:");
		int r = mime_header_copy(copy, len, cases[i].field, &out);
		assert_int_equal(r, cases[i].want ? 0 : -ENOENT);
		assert_string_equal(str_cstr(&out) + 7, cases[i].want ? cases[i].want : "");
		free(copy);
	}
	str_finish(&out);
}

static int get_missing(const char *value, size_t len, struct str *out)
{
	return mime_header_get(value, len, "Subject", out) == -ENOENT ? 0 : -1;
}

static int get_folded(const char *value, size_t len, struct str *out)
{
	struct str header = STR_INIT;
	str_append_cstr(&header, "Subject:");
	str_append(&header, value, len);
	int r = mime_header_get(header.data, header.len, "Subject", out);
	str_finish(&header);
	return r;
}

static int copy_folded(const char *value, size_t len, struct str *out)
{
	struct str header = STR_INIT;
	str_append_cstr(&header, "Subject:");
	str_append(&header, value, len);
	int r = mime_header_copy(header.data, header.len, "Subject", out);
	str_finish(&header);
	return r;
}

static void test_linear(void **state)
{
	(void)state;
	assert_linear(get_missing, "X: y\r\n");
	assert_linear(get_missing, " ");
	assert_linear(get_missing, "Subjec");
	assert_linear(get_folded, "\r\n x");
	assert_linear(copy_folded, "\r\n x");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_finds),
		cmocka_unit_test(test_nul_is_data),
		cmocka_unit_test(test_every_cut),
		cmocka_unit_test(test_copies),
		cmocka_unit_test(test_linear),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
