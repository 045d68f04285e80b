/* SPDX-License-Identifier: MIT */
/* Charsets: their names, what they can not explain, and their use as a stream. */
#include "helpers.h"

struct charset_case {
	const char *charset, *in, *want;
};

static void assert_charset_len(const char *charset, const char *in, size_t len, const char *want)
{
	struct str out = STR_INIT;
	char *copy = malloc(len ? len : 1);

	memcpy(copy, in, len);
	assert_int_equal(mime_charset_decode(charset, copy, len, &out), 0);
	assert_string_equal(str_cstr(&out), want);
	assert_true(utf8_valid(str_cstr(&out), out.len));
	str_finish(&out);
	free(copy);
}

static void assert_charsets(const struct charset_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_charset_len(
			cases[i].charset, cases[i].in, strlen(cases[i].in), cases[i].want);
}

static const struct charset_case names[] = {
	{"utf-8", "\xc3\xa9", "é"},
	{"UTF8", "\xc3\xa9", "é"},
	{" utf-8 ", "\xc3\xa9", "é"},
	{"unicode-1-1-utf-8", "\xc3\xa9", "é"},
	{"iso-8859-1", "\xe9", "é"},
	{"ISO_8859-1:1987", "\xe9", "é"},
	{"iso8859-1", "\xe9", "é"},
	{"8859-1", "\xe9", "é"},
	{"latin1", "\xe9", "é"},
	{"csISOLatin1", "\xe9", "é"},
	{"windows-1252", "\x80\xe9", "€é"},
	{"cp1252", "\x93", "“"},
	{"x-cp1252", "\x93", "“"},
	{"win-1252", "\x93", "“"},
	{"ibm850", "\x82", "é"},
	{"iso-8859-2", "\xb1", "ą"},
	{"iso-8859-5", "\xbf", "П"},
	{"iso-8859-7", "\xe1", "α"},
	{"iso-8859-8", "\xe0", "א"},
	{"iso-8859-8-i", "\xe0", "א"},
	{"ISO-8859-8-E", "\xe0", "א"},
	{"iso-8859-9", "\xfd", "ı"},
	{"iso-8859-15", "\xa4", "€"},
	{"latin-9", "\xa4", "€"},
	{"windows-1251", "\xcf", "П"},
	{"cp-1251", "\xcf", "П"},
	{"windows-1250", "\xb9", "ą"},
	{"windows-1258", "\x61\xcc", "à"},
	{"windows-874", "\xa1", "ก"},
	{"tis-620", "\xa1", "ก"},
	{"koi8-r", "\xf0", "П"},
	{"KOI8-U", "\xa4", "є"},
	{"macintosh", "\x8e", "é"},
	{"x-mac-roman", "\x8e", "é"},
	{"gb2312", "\xd6\xd0", "中"},
	{"GB_2312-80", "\xd6\xd0", "中"},
	{"gbk", "\x8f\x42", "廈"},
	{"gb2312", "\x8f\x42", "廈"},
	{"cp936", "\xd6\xd0", "中"},
	{"x-gbk", "\xd6\xd0", "中"},
	{"gb18030", "\x81\x39\xee\x39", "㐀"},
	{"big5", "\xa4\xa4", "中"},
	{"big5-hkscs", "\xa4\xa4", "中"},
	{"euc-kr", "\xc7\xd1", "한"},
	{"ks_c_5601-1987", "\xc7\xd1", "한"},
	{"ks_c_5601-1987", "\x8c\x63", "똠"},
	{"cp949", "\x8c\x63", "똠"},
	{"korean", "\xc7\xd1", "한"},
	{"iso-2022-kr", "\x1b$)C\x0e\x47\x51\x0f", "한"},
	{"shift_jis", "\x93\xfa", "日"},
	{"x-sjis", "\x93\xfa\x87\x40", "日①"},
	{"cp932", "\x93\xfa", "日"},
	{"windows-31j", "\xb1", "ｱ"},
	{"euc-jp", "\xc6\xfc", "日"},
	{"x-euc-jp", "\xc6\xfc\xad\xa1", "日①"},
	/* The standard's wave dash, minus and not sign, not those of Microsoft's table. */
	{"iso-2022-jp", "\x1b$B!A!]\"L\x1b(B!", "〜−¬!"},
	{"iso-2022-jp", "\x1b$BF|\x1b(B.", "日."},
	{"csISO2022JP", "\x1b$@F|\x1b(J.", "日."},
	{"cp50221", "\x1b$BF|\x1b(B", "日"},
	{"iso-2022-jp-2", "\x1b$BF|\x1b(B", "日"},
	{"iso-2022-jp-3", "\x1b$BF|\x1b(B", "日"},
	{"iso-2022-cn", "\x1b$)A\x0e\x56\x50\x0f", "中"},
	{"utf-7", "+AOk-", "é"},
	{"unicode-1-1-utf-7", "+AOk-", "é"},
	{"x-unicode-2-0-utf-7", "+AOk-", "é"},
	{"viscii", "\xe0", "à"},
};

static void test_names(void **state)
{
	(void)state;
	assert_charsets(names, COUNT(names));
	assert_charset_len("utf-16le", "\xe9\0", 2, "é");
	assert_charset_len("UTF-16BE", "\0\xe9", 2, "é");
	assert_charset_len("utf-16", "\xfe\xff\0\xe9", 4, "é");
	assert_charset_len("utf-16", "\xff\xfe\xe9\0", 4, "é");
	assert_charset_len("utf-32be", "\0\0\0\xe9", 4, "é");
}

/* Names that are nobody's, and such that must not get as far as the C library. */
static void test_unknown(void **state)
{
	static const char *const unknown[] = {"", "x-unknown", "unknown-8bit", "iso-8859-12",
		"iso-8859-99", "iso-8859-", "cp0", "cp99999999999999999999", "../../tmp/evil", "//",
		"INTERNAL", "WCHAR_T", "EBCDIC-US", "cs", "x-", "iso-8859-1-x", "windows-"};
	(void)state;

	for (size_t i = 0; i < COUNT(unknown); i++) {
		assert_charset_len(unknown[i], "\xc3\xa9", 2, "é");
		assert_charset_len(unknown[i], "\xe9\x80", 2, "é€");
		assert_charset_len(unknown[i], "plain", 5, "plain");
	}
	assert_charset_len(NULL, "\xc3\xa9", 2, "é");
	assert_charset_len(NULL, "\xe9", 1, "é");
	assert_charset_len(NULL, "", 0, "");
	assert_charset_len("us-ascii", "\xc3\xa9", 2, "é");
	assert_charset_len("ANSI_X3.4-1968", "\xe9", 1, "é");
}

static const struct charset_case malformed[] = {
	{"utf-8",
		"a\xff"
		"b",
		"a" FFFD "b"},
	{"utf-8", "\xc3", FFFD},
	{"utf-8", "a\xe3\x82", "a" FFFD FFFD},
	{"utf-8", "\xed\xa0\x80", FFFD FFFD FFFD},
	{"utf-8", "\xc0\xaf", FFFD FFFD},
	{"utf-8", "\xf4\x90\x80\x80", FFFD FFFD FFFD FFFD},
	{"gb2312", "\xd6", FFFD},
	{"gb2312",
		"\xff"
		"a\xd6\xd0",
		FFFD "a中"},
	{"euc-kr", "\xc7", FFFD},
	{"shift_jis", "\x93", FFFD},
	{"big5", "\xa4", FFFD},
	{"iso-8859-7", "\xff", FFFD},
	{"iso-2022-jp", "\x1b$BF|", "日"},
	{"iso-2022-jp", "\x1b$BF", FFFD},
	{"iso-2022-jp", "\x1b$BF|\na", "日\na"},
	{"iso-2022-jp", "\x1b$B-~\x1b(Ba", FFFD "a"},
	{"iso-2022-jp", "\x1b$BF a", FFFD " " FFFD},
	{"iso-2022-jp", "a\xe9", "a" FFFD},
	{"iso-2022-jp", "\x1bz", "\x1bz"},
	{"iso-2022-jp", "\x1b$", FFFD},
	{"iso-2022-jp", "\x1b$B-!\x1b(I1\x1b(B", "①ｱ"},
	{"iso-2022-jp", "\x1b(Iz", FFFD},
	{"iso-2022-jp-1", "\x1b$(D0!\x1b(B", "丂"},
};

static void test_malformed(void **state)
{
	(void)state;
	assert_charsets(malformed, COUNT(malformed));
	assert_charset_len("utf-16be", "\xd8\0\0a", 4, FFFD "a");
	assert_charset_len("utf-16be", "\0a\0", 3, "a" FFFD);
}

/* Random bytes in every charset: UTF-8 comes out, at most three bytes for one. */
static void test_random(void **state)
{
	uint64_t random = 7;
	(void)state;

	for (size_t i = 0; i < COUNT(names); i++) {
		for (int round = 0; round < 60; round++) {
			char data[300];
			struct str out = STR_INIT;
			size_t len = next_random(&random) % sizeof(data);
			unsigned mask = round % 2 ? 0xff : 0x7f;
			for (size_t k = 0; k < len; k++)
				data[k] = (char)(next_random(&random) & mask);
			for (size_t k = 0; k + 3 < len; k += 20)
				memcpy(data + k, round % 3 ? "\x1b$B" : "\x1b$(D", 3);
			assert_int_equal(mime_charset_decode(names[i].charset, data, len, &out), 0);
			assert_true(utf8_valid(str_cstr(&out), out.len));
			assert_true(out.len <= 3 * len);
			str_finish(&out);
		}
	}
}

static int decode_gb(const char *data, size_t len, struct str *out)
{
	return mime_charset_decode("gb2312", data, len, out);
}

static int decode_jis(const char *data, size_t len, struct str *out)
{
	return mime_charset_decode("iso-2022-jp", data, len, out);
}

static int decode_utf8(const char *data, size_t len, struct str *out)
{
	return mime_charset_decode("utf-8", data, len, out);
}

static void test_linear(void **state)
{
	static const char *const patterns[] = {
		"\xff", "\xd6\xd0", "\x1b$B", "\x1b", "F|", "\xc3", "\xe3\x82", "a\xff"};
	(void)state;

	for (size_t i = 0; i < COUNT(patterns); i++) {
		assert_linear(decode_gb, patterns[i]);
		assert_linear(decode_jis, patterns[i]);
		assert_linear(decode_utf8, patterns[i]);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_linear),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
