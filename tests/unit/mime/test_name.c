/* SPDX-License-Identifier: MIT */
/* Message names: their fields, their form, and the UID in them. */
#include "helpers.h"

/* 2026-11-21 09:15:42 UTC */
#define SOME_DATE INT64_C(1795252542)

/* --- Fields --- */

static int field_of(const char *value, size_t len, struct str *out)
{
	return mime_name_field(value, len, 1000, out);
}

static const struct text_case fields[] = {
	{"Quarterly report", "Quarterly-report"},
	{"build@ci", "build@ci"},
	{"nightly #812 passed", "nightly-#812-passed"},
	{"a.b-c+d@e#f=g,h", "a.b-c+d@e#f=g,h"},
	{"snake_case_name", "snake-case-name"},
	{"a/b\\c", "a-b-c"},
	{"!\"$%&'()*/:;<>?[\\]^_`{|}~", ""},
	{"x!\"$%&'()*/:;<>?[\\]^_`{|}~y", "x-y"},
	{"  a   b  ", "a-b"},
	{"a -- b - c", "a-b-c"},
	{"a\tb\r\nc\x01\x7f", "a-b-c"},
	{"-rf", "rf"},
	{"...and so on...", "...and-so-on..."},
	{".hidden", ".hidden"},
	{"..", ".."},
	{".", "."},
	{"/", ""},
	{"../../etc/passwd", "..-..-etc-passwd"},
	{"-.-.x.-.-", ".-.x.-."},
	{"a.-b", "a.-b"},
	{"", ""},
	{"---", ""},
	/* Beyond ASCII. */
	{"Übersicht für März", "Übersicht-für-März"},
	{"日本語 の 件名", "日本語-の-件名"},
	{"日本語\xe3\x80\x80件名", "日本語-件名"},
	{"Привет, мир!", "Привет,-мир"},
	{"“quoted”", "“quoted”"},
	{"❤\xef\xb8\x8f you", "❤\xef\xb8\x8f-you"},
	{"👍", "👍"},
	/* Blanks, controls, bidi, zero width, private use, noncharacters, tags. */
	{"a\xc2\xa0"
	 "b",
		"a-b"},
	{"a\xc2\x85"
	 "b",
		"a-b"},
	{"a\xc2\xad"
	 "b",
		"a-b"},
	{"a\xe1\x9a\x80"
	 "b",
		"a-b"},
	{"a\xe2\x80\x8b"
	 "b",
		"a-b"},
	{"a\xe2\x80\x8d"
	 "b",
		"a-b"},
	{"a\xe2\x80\xa8"
	 "b",
		"a-b"},
	{"invoice\xe2\x80\xae"
	 "fdp.exe",
		"invoice-fdp.exe"},
	{"\xe2\x81\xa6"
	 "a\xe2\x81\xa9",
		"a"},
	{"a\xd8\x9c"
	 "b",
		"a-b"},
	{"a\xe1\xa0\x8e"
	 "b",
		"a-b"},
	{"a\xe2\x81\xa0\xe2\x81\xa1"
	 "b",
		"a-b"},
	{"a\xef\xbb\xbf"
	 "b",
		"a-b"},
	{"a\xee\x80\x80"
	 "b",
		"a-b"},
	{"a\xef\xa3\xbf"
	 "b",
		"a-b"},
	{"a\xef\xb7\x90"
	 "b",
		"a-b"},
	{"a\xef\xbf\xbe"
	 "b",
		"a-b"},
	{"a\xef\xbf\xb9"
	 "b",
		"a-b"},
	{"a" FFFD "b", "a-b"},
	{"a\xf0\x9f\xbf\xbf"
	 "b",
		"a-b"},
	{"a\xf3\xa0\x81\xa1"
	 "b",
		"a-b"},
	{"a\xf3\xb0\x80\x80"
	 "b",
		"a-b"},
	{"a\xf4\x8f\xbf\xbd"
	 "b",
		"a-b"},
	{"a\xe3\x85\xa4"
	 "b",
		"a-b"},
	{"a\xe2\xa0\x80"
	 "b",
		"a-b"},
	/* Neighbours of these ranges stay. */
	{"\xc2\xa1\xc2\xac\xc2\xae", "\xc2\xa1\xc2\xac\xc2\xae"},
	{"\xe2\x80\x90\xe2\x80\xa7\xe2\x80\xb0\xe2\x81\x9e\xe2\x81\xb0",
		"\xe2\x80\x90\xe2\x80\xa7\xe2\x80\xb0\xe2\x81\x9e\xe2\x81\xb0"},
	{"\xed\x9f\xbf\xef\xa4\x80\xef\xbf\xaf\xf3\xa0\x84\x80",
		"\xed\x9f\xbf\xef\xa4\x80\xef\xbf\xaf\xf3\xa0\x84\x80"},
	/* Not UTF-8. */
	{"a\xff\xc3"
	 "b",
		"a-b"},
	{"\xed\xa0\x80x", "x"},
};

static void test_fields(void **state)
{
	(void)state;
	assert_table(field_of, fields, COUNT(fields));
	assert_text_len(field_of, "a\0b", 3, "a-b");
	assert_text_len(field_of, "\0", 1, "");
}

static void test_field_limit(void **state)
{
	static const struct {
		const char *in;
		size_t limit;
		const char *want;
	} cases[] = {
		{"abcdef", 6, "abcdef"},
		{"abcdef", 3, "abc"},
		{"ab cdef", 3, "ab"},
		{"ab. cdef", 4, "ab."},
		{"ééé", 5, "éé"},
		{"日本語", 8, "日本"},
		{"日本語", 2, ""},
		{"   abc", 2, "ab"},
		{"abc", 0, ""},
	};
	(void)state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct str out = STR_INIT;
		assert_int_equal(
			mime_name_field(cases[i].in, strlen(cases[i].in), cases[i].limit, &out), 0);
		assert_string_equal(str_cstr(&out), cases[i].want);
		str_finish(&out);
	}
}

static void test_field_linear(void **state)
{
	(void)state;
	assert_linear(field_of, " ");
	assert_linear(field_of, "-.");
	assert_linear(field_of, "\xff");
}

/* --- Names --- */

static size_t write_name(
	const char *template_text, int64_t date_s, uint32_t uid, const char *header, char *out)
{
	struct mime_name_template *name_template = NULL;
	struct mime_name_facts facts = {.date_s = date_s,
		.uid = uid,
		.header = header,
		.header_len = header ? strlen(header) : 0};
	const char *why;

	if (template_text)
		assert_int_equal(mime_name_template_parse(template_text, &name_template, &why), 0);
	memset(out, 'x', MIME_NAME_MAX + 1);
	size_t len = mime_name_message(name_template, &facts, out);
	assert_int_equal(len, strlen(out));
	assert_true(len > 0 && len <= MIME_NAME_MAX);
	assert_true(utf8_valid(out, len));
	assert_null(strchr(out, '/'));
	assert_true(*out != '.');
	/* Whoever knows the template finds the UID. */
	assert_int_equal(mime_name_uid(name_template, out), uid);
	mime_name_template_destroy(name_template);
	return len;
}

static void assert_name(const char *template_text, int64_t date_s, uint32_t uid, const char *header,
	const char *want)
{
	char name[MIME_NAME_MAX + 1];

	write_name(template_text, date_s, uid, header, name);
	assert_string_equal(name, want);
}

static void test_default(void **state)
{
	static const struct text_case cases[] = {
		{"From: Alice Smith <alice@example.org>\r\nSubject: Quarterly report\r\n\r\n",
			"2026-11-21_0915_Alice-Smith_Quarterly-report.4711.eml"},
		{"Subject: nightly #812 passed\r\nFrom: build@ci\r\n\r\n",
			"2026-11-21_0915_build@ci_nightly-#812-passed.4711.eml"},
		{"From: =?utf-8?Q?Andr=C3=A9_N.?= <a@x>\r\nSubject: =?iso-2022-jp?B?GyRCRnxLXDhsGyhC?=\r\n",
			"2026-11-21_0915_André-N._日本語.4711.eml"},
		{"From: undisclosed-recipients:;\r\nSubject: \r\n\r\n",
			"2026-11-21_0915_unknown_no-subject.4711.eml"},
		{"From: <>\r\nSubject: =?utf-8?Q?=E2=80=AE?=\r\n\r\n",
			"2026-11-21_0915_unknown_no-subject.4711.eml"},
		{"To: x\r\n\r\n", "2026-11-21_0915_unknown_no-subject.4711.eml"},
		{"", "2026-11-21_0915_unknown_no-subject.4711.eml"},
		{"From: a_b@x\r\nSubject: a_b_c\r\n\r\n", "2026-11-21_0915_a-b@x_a-b-c.4711.eml"},
		{"From: a@x\r\nSubject: ../../etc/passwd\r\n\r\n",
			"2026-11-21_0915_a@x_..-..-etc-passwd.4711.eml"},
		{"From: a@x\r\nSubject: ..\r\n\r\n", "2026-11-21_0915_a@x_...4711.eml"},
		{"From: a@x\r\nSubject: /\r\n\r\n", "2026-11-21_0915_a@x_no-subject.4711.eml"},
		{"From: a@x\r\nSubject: v1.2.\r\n\r\n", "2026-11-21_0915_a@x_v1.2..4711.eml"},
		{"From: a@x\r\nSubject: 12.34.eml\r\n\r\n",
			"2026-11-21_0915_a@x_12.34.eml.4711.eml"},
		{"From: a@x\r\nSubject: a\r\n b\r\n\r\n", "2026-11-21_0915_a@x_a-b.4711.eml"},
		{"From: \"Doe, John\" <j@x>\r\nSubject: caf\xe9\r\n\r\n",
			"2026-11-21_0915_Doe,-John_café.4711.eml"},
	};
	(void)state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		assert_name(NULL, SOME_DATE, 4711, cases[i].in, cases[i].want);
		assert_name(
			"%Y-%m-%d_%H%M_%f_%s.%u.eml", SOME_DATE, 4711, cases[i].in, cases[i].want);
	}
	assert_name(NULL, SOME_DATE, UINT32_MAX, NULL,
		"2026-11-21_0915_unknown_no-subject.4294967295.eml");
}

/* Two messages that are alike in all but the UID. */
static void test_twins(void **state)
{
	char a[MIME_NAME_MAX + 1], b[MIME_NAME_MAX + 1];
	struct str header = STR_INIT;
	(void)state;

	str_append_cstr(&header, "From: a@x\r\nSubject: ");
	for (int i = 0; i < 1000; i++)
		str_append_cstr(&header, "same ");
	write_name(NULL, SOME_DATE, 1, header.data, a);
	write_name(NULL, SOME_DATE, 4294967295u, header.data, b);
	assert_string_not_equal(a, b);
	str_finish(&header);
}

static void test_dates(void **state)
{
	static const struct {
		int64_t date_s;
		const char *want;
	} cases[] = {
		{0, "1970-01-01T00:00:00 70"},
		{1, "1970-01-01T00:00:01 70"},
		{86399, "1970-01-01T23:59:59 70"},
		{951782400, "2000-02-29T00:00:00 00"},
		{951868800, "2000-03-01T00:00:00 00"},
		{1709164799, "2024-02-28T23:59:59 24"},
		{1709164800, "2024-02-29T00:00:00 24"},
		{4107542399, "2100-02-28T23:59:59 00"},
		{4107542400, "2100-03-01T00:00:00 00"},
		{SOME_DATE, "2026-11-21T09:15:42 26"},
		{1735689599, "2024-12-31T23:59:59 24"},
		{253402300799, "9999-12-31T23:59:59 99"},
		{253402300800, "9999-12-31T23:59:59 99"},
		{INT64_MAX, "9999-12-31T23:59:59 99"},
		{-1, "1969-12-31T23:59:59 69"},
		{-INT64_C(62135596800), "0001-01-01T00:00:00 01"},
		{INT64_MIN, "0001-01-01T00:00:00 01"},
	};
	(void)state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct str want = STR_INIT;
		str_printf(&want, "%s.7.eml", cases[i].want);
		assert_name("%Y-%m-%dT%H:%M:%S %y.%u", cases[i].date_s, 7, NULL, want.data);
		str_finish(&want);
	}
}

/* Every day of 130 years, against the C library. */
static void test_every_day(void **state)
{
	(void)state;
	for (int64_t day = 0; day < 130 * 366; day++) {
		time_t s = (time_t)(day * 86400 + day % 86400);
		char want[64];
		struct tm tm;
		assert_non_null(gmtime_r(&s, &tm));
		strftime(want, sizeof(want), "%Y%m%d%H%M%S.1.eml", &tm);
		assert_name("%Y%m%d%H%M%S.%u", s, 1, NULL, want);
	}
}

static void test_long(void **state)
{
	static const char *const units[] = {"a", "é", "日", "😀", "a ", "日 ", ". ", "日.", "x-"};
	char name[MIME_NAME_MAX + 1];
	(void)state;

	for (size_t i = 0; i < COUNT(units) * COUNT(units); i++) {
		char *from =
			repeated(units[i % COUNT(units)], strlen(units[i % COUNT(units)]) * 1000);
		char *subject =
			repeated(units[i / COUNT(units)], strlen(units[i / COUNT(units)]) * 1000);
		struct str header = STR_INIT;
		str_printf(&header, "From: \"%s\" <x@y>\r\nSubject: %s\r\n\r\n", from, subject);
		size_t len = write_name(NULL, SOME_DATE, 4711, header.data, name);
		bool short_subject = strcmp(units[i / COUNT(units)], ". ") == 0;
		bool short_from = strcmp(units[i % COUNT(units)], ". ") == 0;
		assert_true(len > MIME_NAME_MAX - 5 || short_subject);
		assert_memory_equal(name, "2026-11-21_0915_", 16);
		assert_string_equal(name + len - 9, ".4711.eml");
		assert_true(name[len - 10] != '-');
		const char *separator = strchr(name + 16, '_');
		assert_non_null(separator);
		assert_true(separator - name - 16 <= 64);
		assert_true(separator - name - 16 >= 60 || short_from);
		assert_true(separator[-1] != '-');
		assert_null(strchr(separator + 1, '_'));
		str_finish(&header);
		free(from);
		free(subject);
	}
}

/* --- Templates --- */

static const char header[] = "From: Bob 7 <b@x>\r\nSubject: 99 bottles 5.6\r\n\r\n";

static void test_templates(void **state)
{
	static const struct text_case cases[] = {
		{"uid", "4711.eml"},
		{"%u", "4711.eml"},
		{"%u.eml", "4711.eml"},
		{"%u.txt", "4711.txt.eml"},
		{"%s.%u", "99-bottles-5.6.4711.eml"},
		{"%u %s", "4711 99-bottles-5.6.eml"},
		{"%u_%s", "4711_99-bottles-5.6.eml"},
		{"%u-%s-%f", "4711-99-bottles-5.6-Bob-7.eml"},
		{"%s_%u_%f", "99-bottles-5.6_4711_Bob-7.eml"},
		{"%f_%H%u_%s", "Bob-7_094711_99-bottles-5.6.eml"},
		{"%f_%u%H_%s", "Bob-7_471109_99-bottles-5.6.eml"},
		{"%f_%Y%u%H_%s", "Bob-7_2026471109_99-bottles-5.6.eml"},
		{"%f_%s=%u%Y_x", "Bob-7_99-bottles-5.6=47112026_x.eml"},
		{"%f-%s.%u", "Bob-7-99-bottles-5.6.4711.eml"},
		{"100%% %u", "100% 4711.eml"},
		{"%s é%u", "99-bottles-5.6 é4711.eml"},
		{"1_2_3_%u", "1_2_3_4711.eml"},
		{"mail %u (%y)", "mail 4711 (26).eml"},
		{"%f_%f_%s_%s.%u", "Bob-7_Bob-7_99-bottles-5.6_99-bottles-5.6.4711.eml"},
	};
	(void)state;

	for (size_t i = 0; i < COUNT(cases); i++)
		assert_name(cases[i].in, SOME_DATE, 4711, header, cases[i].want);
}

static void test_refused_templates(void **state)
{
	static const char *const refused[] = {
		"",
		"x",
		"%s",
		"%",
		"%u%",
		"%q%u",
		"%u%u",
		"%u_%u",
		"a/%u",
		"%u/",
		".%u",
		"..",
		"%u\n",
		"%u\x7f",
		"%u\xff",
		"%u\xe2\x80\xae",
		"%u\xc2\xa0",
		/* Nobody could tell where the UID is. */
		"%s%u",
		"%u%s",
		"%s1%u",
		"%u1%s",
		"%f.%u.%s",
		"%f-%u-%s",
		"%s%u_",
		"%s%H%u",
		"%u%H%s",
	};
	(void)state;

	for (size_t i = 0; i < COUNT(refused); i++) {
		struct mime_name_template *name_template = NULL;
		const char *why = NULL;
		assert_int_equal(
			mime_name_template_parse(refused[i], &name_template, &why), -EINVAL);
		assert_null(name_template);
		assert_true(why && strlen(why) > 10);
	}
	mime_name_template_destroy(NULL);
}

static void test_long_templates(void **state)
{
	char name[MIME_NAME_MAX + 1], *text = repeated("x", 500);
	struct mime_name_template *name_template = NULL;
	const char *why;
	(void)state;

	assert_int_equal(mime_name_template_parse(text, &name_template, &why), -EINVAL);
	/* The longest that leaves room for ".", ten digits and ".eml". */
	memcpy(text + 225, ".%u", 4);
	assert_int_equal(write_name(text, 0, UINT32_MAX, NULL, name), MIME_NAME_MAX);
	memcpy(text + 225, "x.%u", 5);
	assert_int_equal(mime_name_template_parse(text, &name_template, &why), -EINVAL);
	/* With fields, each keeps room to be told by. */
	memcpy(text + 100, "_%s_%f_%s.%u", 13);
	char *subject = repeated("y", 4000);
	struct str fields_header = STR_INIT;
	str_printf(&fields_header, "Subject: %s\r\nFrom: %s\r\n\r\n", subject, subject);
	size_t len = write_name(text, 0, UINT32_MAX, fields_header.data, name);
	assert_true(len > MIME_NAME_MAX - 3);
	memset(text, 'x', 170);
	memcpy(text + 170, "_%s_%f_%s.%u", 13);
	assert_int_equal(mime_name_template_parse(text, &name_template, &why), -EINVAL);
	str_finish(&fields_header);
	free(subject);
	free(text);
}

/* --- Reading the UID back --- */

static void test_foreign_names(void **state)
{
	static const struct {
		const char *name;
		uint32_t uid;
	} cases[] = {
		{"2026-11-21_0915_a_b.4711.eml", 4711},
		{"2026-11-21_0915_a_b.1.eml", 1},
		{"2026-11-21_0915_a_b.4294967295.eml", 4294967295},
		{"2026-11-21_0915_a_b.4294967296.eml", 0},
		{"2026-11-21_0915_a_b.99999999999999999999.eml", 0},
		{"2026-11-21_0915_a_b.0.eml", 0},
		{"2026-11-21_0915_a_b.0815.eml", 0},
		{"2026-11-21_0915_a_b..eml", 0},
		{"2026-11-21_0915_a_b.4711.EML", 0},
		{"2026-11-21_0915_a_b.4711", 0},
		{"2026-11-21_0915_a_b.4711.eml~", 0},
		{"2026-11-21_0915_a.4711.eml", 0},
		{"4711.eml", 0},
		{".eml", 0},
		{"", 0},
		{"_", 0},
		{"___", 0},
		{"___.eml", 0},
		{".parts", 0},
		{"INBOX", 0},
	};
	(void)state;

	for (size_t i = 0; i < COUNT(cases); i++)
		assert_int_equal(mime_name_uid(NULL, cases[i].name), cases[i].uid);
	char *name = repeated("4", 300);
	memcpy(name + 296, ".eml", 5);
	assert_int_equal(mime_name_uid(NULL, name), 0);
	free(name);
}

/* Whatever the header, whatever the template: the name is fit, and tells its UID (write_name asserts both). */
static void test_random(void **state)
{
	static const char *const templates[] = {NULL, "uid", "%u_%s", "%s_%u_%f", "%f-%s.%u",
		"%f_%s=%u%Y_x", "%f_%Y%u%H_%s", "x%u%%%s", "%s_%f %u"};
	static const char *const tokens[] = {"a", "_", ".", "-", " ", "7", "12", ".eml",
		"=?utf-8?Q?=E2=80=AE?=", "=?utf-8?Q?_?=", "é", "\xff", "/", "..", "\x01", "日",
		"\"", "<", ">", ",", "(", "4711.eml", "%u"};
	char name[MIME_NAME_MAX + 1];
	uint64_t random = 13;
	(void)state;

	for (int round = 0; round < 20000; round++) {
		struct str text = STR_INIT;
		str_append_cstr(&text, "From: ");
		for (unsigned n = next_random(&random) % 30; n > 0; n--)
			str_append_cstr(&text, tokens[next_random(&random) % COUNT(tokens)]);
		str_append_cstr(&text, "\r\nSubject: ");
		for (unsigned n = next_random(&random) % 80; n > 0; n--)
			str_append_cstr(&text, tokens[next_random(&random) % COUNT(tokens)]);
		str_append_cstr(&text, "\r\n\r\n");
		write_name(templates[next_random(&random) % COUNT(templates)], next_random(&random),
			1 + next_random(&random), text.data, name);
		str_finish(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_field_limit),
		cmocka_unit_test(test_field_linear),
		cmocka_unit_test(test_default),
		cmocka_unit_test(test_twins),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_every_day),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_templates),
		cmocka_unit_test(test_refused_templates),
		cmocka_unit_test(test_long_templates),
		cmocka_unit_test(test_foreign_names),
		cmocka_unit_test(test_random),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
