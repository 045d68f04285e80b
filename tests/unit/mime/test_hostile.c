/* SPDX-License-Identifier: MIT */
/* Mail that is made to cost: four times as much of it takes about four times as long, whatever it is. And what comes of it. */
#include "walk.h"

#include "linear.h"

static void do_walk(const char *data, size_t len)
{
	mime_part_destroy(walk(data, len, 65536));
}

static void do_words(const char *data, size_t len)
{
	struct str out = STR_INIT;
	assert_int_equal(mime_words_decode(data, len, &out), 0);
	str_finish(&out);
}

static void do_author(const char *data, size_t len)
{
	struct str out = STR_INIT;
	assert_int_equal(mime_author(data, len, &out), 0);
	str_finish(&out);
}

/* The whole list, for people. */
static void do_addresses(const char *data, size_t len)
{
	struct str out = STR_INIT;
	assert_int_equal(mime_addresses_decode(data, len, &out), 0);
	assert_true(out.len <= 4 * len + 16);
	str_finish(&out);
}

static void do_params(const char *data, size_t len)
{
	struct mime_params params = {0};
	assert_int_equal(mime_params_parse(data, len, &params), 0);
	assert_int_equal(mime_params_join(&params), 0);
	mime_params_finish(&params);
}

static void do_date(const char *data, size_t len)
{
	int64_t date;
	(void)mime_header_date(data, len, &date);
}

static void do_name(const char *data, size_t len)
{
	struct mime_name_facts facts = {.uid = 7, .header = data, .header_len = len};
	char name[MIME_NAME_MAX + 1];
	assert_true(mime_name_message(NULL, &facts, name) > 0);
}

static void decode(enum mime_encoding encoding, const char *charset, const char *data, size_t len)
{
	struct mime_decoder *decoder = mime_decoder_create(encoding, charset != NULL, charset);
	struct str out = STR_INIT;

	for (size_t i = 0; i < len; i += 4096) {
		size_t bytes = len - i < 4096 ? len - i : 4096;
		assert_int_equal(mime_decoder_push(decoder, data + i, bytes, &out), 0);
	}
	assert_int_equal(mime_decoder_end(decoder, &out), 0);
	mime_decoder_destroy(decoder);
	str_finish(&out);
}

static void do_base64(const char *data, size_t len)
{
	decode(MIME_ENCODING_BASE64, NULL, data, len);
}

static void do_quoted(const char *data, size_t len)
{
	decode(MIME_ENCODING_QUOTED_PRINTABLE, "koi8-r", data, len);
}

static void do_jis(const char *data, size_t len)
{
	decode(MIME_ENCODING_IDENTITY, "iso-2022-jp", data, len);
}

static void do_charset(const char *data, size_t len)
{
	struct str out = STR_INIT;
	assert_int_equal(mime_charset_decode(data, "\xe4", 1, &out), 0);
	assert_string_equal(out.data, "\xc3\xa4");
	str_finish(&out);
	(void)len;
}

/* Walks, keeps, reads again, and makes names of it. */
static void do_leaves(const char *data, size_t len)
{
	struct mime_part *part = walk(data, len, 65536), *read = NULL;
	struct mime_leaves leaves;
	struct str form = STR_INIT;

	assert_int_equal(mime_part_serialize(part, &form), 0);
	assert_int_equal(mime_part_parse(form.data, form.len, &read), 0);
	assert_int_equal(mime_leaves(read, NULL, &leaves), 0);
	mime_leaves_finish(&leaves);
	mime_part_destroy(part);
	mime_part_destroy(read);
	str_finish(&form);
}

#define MIXED_B "Content-Type: multipart/mixed; boundary=b\n\n"

static const struct linear_case hostiles[] = {
	{"nested multiparts", "", "Content-Type: multipart/mixed; boundary=b%\n\n--b%\n", "",
		do_walk},
	{"nested messages", "", "Content-Type: message/rfc822\n\n", "", do_walk},
	{"parts", MIXED_B, "--b\n\nx\n", "--b--\n", do_walk},
	{"parts in parts", "",
		"Content-Type: multipart/mixed; boundary=c\n\n--c\n\nx\n--c--\n--c\n", "", do_walk},
	{"almost boundaries", MIXED_B "--b\n\n", "--a\n--", "", do_walk},
	{"closed again and again", MIXED_B "--b\n\n", "--b--\n", "", do_walk},
	{"header", "X-Long: ", "z", "\n\nbody\n", do_walk},
	{"header fields", "", "X-%: y\n", "\nbody\n", do_walk},
	{"fields that count", "", "Content-Type: a/b; c=%\n", "\nbody\n", do_walk},
	{"folds", "Content-Type: a/b", ";\n x%=y", "\n\nbody\n", do_walk},
	{"blanks before a colon", "Content-Type", " ", ": a/b\n\nbody\n", do_walk},
	{"bare CR", "", "X: y\r", "\n\nbody\n", do_walk},
	{"a boundary", "Content-Type: multipart/mixed; boundary=", "b", "\n\n--b\n\nx\n", do_walk},
	{"empty lines", MIXED_B "--b\n", "\n", "", do_walk},
	{"names of parts", MIXED_B,
		"--b\nContent-Disposition: a; filename=\"../\xe2\x80\xae\x01name\"\n\nx\n",
		"--b--\n", do_leaves},
	{"a long name", MIXED_B "--b\nContent-Disposition: a; filename=\"", "../", "\"\n\nx\n",
		do_leaves},
	{"encoded words", "", "=?utf-8?q?=C3=A4%?= ", "", do_words},
	{"encoded words of many charsets", "", "=?utf-8?b?w6Q=?= =?koi8-r?q?=C1?= =?x-%?q?a?= ", "",
		do_words},
	{"words that do not end", "", "=?utf-8?q?", "", do_words},
	{"words that end too soon", "", "=?=?=?a?q?=?=", "", do_words},
	{"a word", "=?utf-8?b?", "QUJD", "?=", do_words},
	{"words that are cut", "", "=?utf-8?b?w?= ", "", do_words},
	{"the charset of a word", "=?", "a", "?q?x?=", do_words},
	{"the language of a word", "=?a*", "b*", "?q?x?=", do_words},
	{"controls", "", "\x01\xc2\x85", "", do_words},
	{"recipients", "", "\"Name %\" <n%@example.org>, ", "", do_author},
	{"names without an address", "", "a%,", "", do_author},
	{"comments in comments", "", "(", "", do_author},
	{"comments that end", "a@b (", "(x)", ")", do_author},
	{"groups in groups", "", "g%: ", ";", do_author},
	{"brackets", "", "<", "", do_author},
	{"routes", "<@a", ",@b:@c", ">", do_author},
	{"quotes", "", "\"\\\"", "", do_author},
	{"commas", "", ",", "", do_author},
	{"parameters", "", "; p%=v", "", do_params},
	{"the same parameter", "", "; p=v", "", do_params},
	{"continuations", "", "; p*%=v", "", do_params},
	{"continuations with gaps", "", "; p*%0=v; p*0*=%41", "", do_params},
	{"one value", "; p=\"", "\\\"x", "\"", do_params},
	{"percent signs", "; p*=utf-8''", "%41%C3", "", do_params},
	{"a quote that does not end", "; p=\"", "; q=x", "", do_params},
	{"comments before a parameter", "", "(", "; p=v", do_params},
	{"equals signs", "", "=", "", do_params},
	{"semicolons", "", ";", "", do_params},
	{"the name of a charset", "", "a", "", do_charset},
	{"a date in comments", "Date: ", "(1 Jan 2020)", "\n", do_date},
	{"a date that does not end", "Date: 1 Jan 2020 ", "0", "\n", do_date},
	{"Received", "", "Received: from x; Fri, 99999\n", "Date: Fri\n", do_date},
	{"semicolons in Received", "Received: ", "; 1 Jan", "\n", do_date},
	{"a subject", "Subject: ", "=?utf-8?q?=e2=80=ae?= ../", "\n", do_name},
	{"an author", "From: ", "x%@y, ", "\nSubject: x\n", do_name},
	{"lines of base64", "", "QUJD\r\n", "", do_base64},
	{"base64 of nothing", "", "=", "", do_base64},
	{"base64 of garbage", "", "!-\x80", "", do_base64},
	{"one quoted line", "", "a=C1", "", do_quoted},
	{"soft line ends", "", "= \t", "", do_quoted},
	{"equals signs in quoted", "", "=", "", do_quoted},
	{"shifts of a charset", "", "\x1b$B\x1b(B\x1b", "", do_jis},
};

/* At 1 MiB, too: tens of thousands of them. */
static const struct linear_case recipients[] = {
	{"all recipients", "", "=?utf-8?q?N=C3=A4me_%?= <n%@example.org>,\r\n ", "", do_addresses},
	{"recipients in quotes", "", "\"Name, %\" <n%@example.org>, ", "", do_addresses},
	{"recipients in many charsets", "", "=?x-%?b?w6Q=?= <a@b>,", "", do_addresses},
	{"recipients that do not end", "", "=?utf-8?q?<\"(", "", do_addresses},
	{"recipients in halves", "", "=?utf-8?b?w?= =?utf-8?b?pA==?=,", "", do_addresses},
	{"recipients of RLO", "", "\xe2\x80\xae%\xff\x1b\r\n ,", "", do_addresses},
};

static void test_linear(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(hostiles); i++)
		linear_assert(&hostiles[i], 0);
	for (size_t i = 0; i < COUNT(recipients); i++)
		linear_assert(&recipients[i], 1 << 20);
}

/* --- What it says, at the sizes that people fear --- */

static void test_cuts(void **state)
{
	static const struct {
		struct linear_case hostile;
		size_t len;
		unsigned cuts;
	} cases[] = {
		{{"", "", "Content-Type: message/rfc822\n\n", "", NULL}, 3000000, MIME_CUT_DEPTH},
		{{"", MIXED_B, "--b\n\nx\n", "--b--\n", NULL}, 7000000, MIME_CUT_COUNT},
		{{"", "X: ", "z", "\nContent-Type: a/b\n\n", NULL}, 10000000, 0},
		{{"", "", "X-%: z\n", "\n", NULL}, 1000000, 0},
		{{"", "Content-Type: a/b", "; p%=x", "\n\n", NULL}, 200000, MIME_CUT_HEADER},
		{{"", "Content-Type: a/b; p=", "x", "\n\n", NULL}, 2000000, MIME_CUT_HEADER},
		{{"", "Content-Type: multipart/mixed; boundary=", "x", "\n\n", NULL}, 10000,
			MIME_CUT_BOUNDARY},
		{{"", "Content-Type: multipart/mixed\n\n", "x", "\n", NULL}, 1000, 0},
		{{"", "Subject: ", "x", "\n\n", NULL}, 1000000, 0},
	};
	struct str data = STR_INIT;
	(void)state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		linear_build(&cases[i].hostile, cases[i].len, &data);
		struct mime_part *part = walk(data.data, data.len, 10000);
		assert_int_equal(mime_part_cuts(part), cases[i].cuts);
		mime_part_destroy(part);
	}
	str_finish(&data);
}

/* Continuations by number, whatever their order, up to the first gap; of equals the first. */
static void test_continuations(void **state)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{"; p*2=c; p*0=a; p*1=b", "abc"},
		{"; p*3=d; p*0=a; p*1=b", "ab"},
		{"; p*2=b; p*1=a", "ab"},
		{"; p*0=a; p*0=x; p*1=b; p*1=y", "ab"},
		{"; p*1*=%41; p*0*=utf-8''%C3%A4", "\xc3\xa4"
						   "A"},
		{"; p=z; p*1=x; p*0=a", "ax"},
		{"; p*0=a; p*=utf-8''q; p=z", "q"},
		{"; p*2=c", NULL},
	};
	(void)state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mime_params params = {0};
		assert_int_equal(mime_params_parse(cases[i].in, strlen(cases[i].in), &params), 0);
		assert_int_equal(mime_params_join(&params), 0);
		assert_int_equal(params.count, 1);
		assert_string_equal(params.items[0].value, cases[i].want ? cases[i].want : "");
		mime_params_finish(&params);
	}
}

/* Whatever a name is made of, it is one that a directory can have. */
static void test_names(void **state)
{
	static const char *const patterns[] = {"\xe2\x80\xae", "../", "/", "\\", "..", ".", "-",
		"\xc0\xaf", "\xc0\xae\xc0\xae\xc0\xaf", "\xe2\x80\x8b", "\xed\xa0\x80", "\xff",
		"=?utf-8?b?Li4v?=", "\x07", "\xf4\x90\x80\x80", "%2F", " ", "a\tb", "\xcc\x88",
		"truncated.txt", "headers.txt", "\xf0\x9f\x92\xa9"};
	struct str text = STR_INIT;
	(void)state;

	for (size_t i = 0; i < COUNT(patterns); i++) {
		char *name = repeated(patterns[i], 4096);
		str_reset(&text);
		str_printf(&text,
			"Subject: %s\nFrom: %s\n" MIXED_B
			"--b\nContent-Disposition: a; filename=\"%s\"\n\nx\n--b\nContent-Type: a/b; name=%s\n\nx\n",
			name, name, name, name);
		struct mime_part *part = walk(text.data, text.len, 1000);
		struct mime_leaves leaves;
		assert_int_equal(mime_leaves(part, NULL, &leaves), 0);
		assert_int_equal(leaves.count, 2);
		struct mime_name_facts facts = {
			.uid = 7, .header = text.data, .header_len = text.len};
		char message[MIME_NAME_MAX + 1];
		mime_name_message(NULL, &facts, message);
		const char *const made[] = {leaves.items[0].name, leaves.items[1].name, message};
		for (size_t j = 0; j < COUNT(made); j++) {
			assert_true(utf8_valid(made[j], strlen(made[j])));
			assert_true(strlen(made[j]) <= MIME_NAME_MAX);
			assert_true(made[j][0] >= '0' && made[j][0] <= '9');
			assert_null(strpbrk(made[j], "/\\ \t\n\r\x01\x07"));
			assert_null(strstr(made[j], "\xe2\x80\xae"));
			assert_null(strstr(made[j], "\xe2\x80\x8b"));
			assert_string_not_equal(made[j], "truncated.txt");
			assert_string_not_equal(made[j], "headers.txt");
		}
		mime_leaves_finish(&leaves);
		mime_part_destroy(part);
		free(name);
	}
	str_finish(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_linear),
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_continuations),
		cmocka_unit_test(test_names),
	};
	linear_prepare();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
