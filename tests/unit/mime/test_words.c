/* SPDX-License-Identifier: MIT */
/* Encoded words, and what is made of them in the field. */
#include "helpers.h"

static const struct text_case well_formed[] = {
	{"plain", "plain"},
	{"", ""},
	{"=?utf-8?Q?caf=C3=A9?=", "café"},
	{"=?UTF-8?B?Y2Fmw6k=?=", "café"},
	{"=?iso-8859-1?q?caf=e9_au_lait?=", "café au lait"},
	{"=?iso-8859-1?Q?a?= b", "a b"},
	{"=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?=", "ab"},
	{"=?ISO-8859-1?Q?a?=\r\n  =?ISO-8859-2?Q?b?=", "ab"},
	{"=?ISO-8859-1?Q?a_?= =?ISO-8859-1?Q?b?=", "a b"},
	{"Re: =?utf-8?Q?=C3=A9?= and =?utf-8?Q?=C3=A8?= too", "Re: é and è too"},
	{"=?utf-8*en?Q?caf=C3=A9?=", "café"},
	{"=?utf-8*en-GB?B?Y2Fmw6k=?=", "café"},
	{"=?ISO-2022-JP?B?GyRCRnxLXDhsGyhC?=", "日本語"},
	{"=?shift_jis?B?k/qWe4zq?=", "日本語"},
	{"=?EUC-JP?B?xvzL3Ljs?=", "日本語"},
	{"=?koi8-r?B?8NLJ18XU?=", "Привет"},
	{"=?windows-1251?Q?=CF=F0=E8=E2=E5=F2?=", "Привет"},
	{"=?gb2312?B?1tDOxA==?=", "中文"},
	{"=?big5?B?pKSk5Q==?=", "中文"},
	{"=?ks_c_5601-1987?B?x9Gxub7u?=", "한국어"},
	{"=?unicode-1-1-utf-7?Q?Hi_Mom_-+Jjo--!?=", "Hi Mom -☺-!"},
};

static void test_well_formed(void **state)
{
	(void)state;
	assert_table(mime_words_decode, well_formed, COUNT(well_formed));
}

static const struct text_case split[] = {
	/* A character split across two words, in both encodings and in a mix of them. */
	{"=?utf-8?Q?caf=C3?= =?utf-8?Q?=A9?=", "café"},
	{"=?utf-8?B?44I=?= =?UTF-8?B?qw==?=", "カ"},
	{"=?utf-8?Q?=E3=82?= =?utf8?B?qw==?=", "カ"},
	{"=?gb2312?B?1g==?= =?gbk?B?0M7E?=", "中文"},
	{"=?utf-8?Q?=E3?==?utf-8?Q?=82?=\r\n\t=?utf-8?Q?=AB?=", "カ"},
	/* Different charsets are not joined. */
	{"=?utf-8?Q?=C3?= =?iso-8859-15?Q?=A9?=", FFFD "©"},
	/* Text between them parts them. */
	{"=?utf-8?Q?=C3?= x =?utf-8?Q?=A9?=", FFFD " x " FFFD},
	/* The base64 text is cut inside a group: after 3, after 1 and after 2 characters. */
	{"=?utf-8?B?44K?= =?utf-8?B?r44Kr?=", "カカ"},
	{"=?utf-8?B?44Kr4?= =?utf-8?B?4Kr?=", "カカ"},
	{"=?utf-8?B?44Kr44?= =?utf-8?B?Kr?=", "カカ"},
	/* Padding that is missing in each word is something else. */
	{"=?utf-8?B?YQ?= =?utf-8?B?Yg?= =?utf-8?B?YmM?=", "abbc"},
	{"=?iso-2022-jp?B?GyRCRnwbKEI=?= =?iso-2022-jp?B?GyRCS1wbKEI=?=", "日本"},
	/* UTF-7 begins anew in each word. */
	{"=?utf-7?Q?+AGE?= =?utf-7?Q?bc?=", "abc"},
};

static void test_split(void **state)
{
	(void)state;
	assert_table(mime_words_decode, split, COUNT(split));
}

static const struct text_case abused[] = {
	{"\"=?utf-8?Q?caf=C3=A9?=\"", "\"café\""},
	{"a=?utf-8?Q?b?=c", "abc"},
	{"=?utf-8?Q?a?==?utf-8?Q?b?=", "ab"},
	{"=?utf-8?q?a?=b=?utf-8?b?Yw?=", "abc"},
	{"=?utf-8?B?Y2Fmw6k?=", "café"},
	{"=?utf-8?B?Y2Fm w6k=?=", "café"},
	{"=?utf-8?Q?with blanks in it?=", "with blanks in it"},
	{"=?utf-8?Q?what?\?=", "what?"},
	{"=?utf-8?Q?=?=", "="},
	{"=?utf-8?Q?a=?= b", "a= b"},
	{"=?utf-8?Q?=4?=", "=4"},
	{"=?utf-8?Q?=zz=41?=", "=zzA"},
	{"=?utf-8?Q?\?=", ""},
	{"=?utf-8?B?\?= x", " x"},
	{"=?utf-8?Q?a?= =?utf-8?Q?\?= =?utf-8?Q?b?=", "ab"},
	{"=?utf-8?B?!!!!?=", ""},
	{"=?x-unknown?Q?caf=C3=A9?=", "café"},
	{"=?x-unknown?Q?caf=E9?=", "café"},
	{"=?x-unknown?Q?=C3?= =?X-UNKNOWN?Q?=A9?=", "é"},
	{"=?us-ascii?Q?caf=C3=A9?=", "café"},
	{"=?us-ascii?Q?caf=E9?=", "café"},
	{"=?utf-8?Q?caf=E9?=", "caf" FFFD},
	{"=?iso-2022-jp?B?GyRC?= x", " x"},
	/* Raw 8-bit, in valid UTF-8 and in none, next to words and in them. */
	{"caf\xc3\xa9", "café"},
	{"caf\xe9 \x80", "café €"},
	{"caf\xe9 =?utf-8?Q?=C3=A9?= caf\xc3\xa9", "café é café"},
	{"=?utf-8?Q?caf\xc3\xa9?=", "café"},
	{"=?iso-8859-1?Q?caf\xe9?=", "café"},
	{"=?iso-8859-1?Q?=80=93?=", "€“"},
	/* Control characters are blanks, wherever they come from. */
	{"a\tb\x1b[31mc\x7f", "a b [31mc "},
	{"=?utf-8?Q?a=00b=0D=0Ac=1B?=", "a b  c "},
	{"=?utf-16be?B?AGEAAABiAAoAYw==?=", "a b c"},
	{"=?utf-8?Q?a=C2=85b?=", "a b"},
	{"=?iso-8859-1?Q?a=81b?=", "a b"},
	{"a\r\n b", "a   b"},
};

static void test_abused(void **state)
{
	(void)state;
	assert_table(mime_words_decode, abused, COUNT(abused));
}

static const char *const untouched[] = {
	"=?",
	"=?=",
	"=?\?=",
	"=?utf-8",
	"=?utf-8?",
	"=?utf-8?Q",
	"=?utf-8?Q?",
	"=?utf-8?Q?abc",
	"=?utf-8?Q?abc?",
	"=?utf-8?X?abc?=",
	"=?utf-8?QQ?abc?=",
	"=??Q?abc?=",
	"=?utf 8?Q?abc?=",
	"=?utf-8??abc?=",
	"? =",
	"a=b?c",
	"=?*en?Q?x?=",
	"=?utf-8*?",
};

static void test_untouched(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(untouched); i++)
		assert_text(mime_words_decode, untouched[i], untouched[i]);
	/* A word that is not closed does not swallow the next one. */
	assert_text(
		mime_words_decode, "=?utf-8?Q?open =?utf-8?Q?closed?=", "=?utf-8?Q?open closed");
	assert_text(mime_words_decode, "=?=?utf-8?Q?x?=", "=?x");
	assert_text(mime_words_decode, "=?utf-8?X?a?= =?utf-8?Q?b?=", "=?utf-8?X?a?= b");
}

static void test_nul(void **state)
{
	(void)state;
	assert_text_len(mime_words_decode, "a\0b", 3, "a b");
	assert_text_len(mime_words_decode, "\0", 1, " ");
}

/* 4,000 bytes of subject in one word, and in words of three characters each. */
static void test_long(void **state)
{
	struct str in = STR_INIT, want = STR_INIT;
	(void)state;

	str_append_cstr(&in, "=?utf-8?Q?");
	for (int i = 0; i < 4000; i++) {
		str_append_cstr(&in, "=C3=A9");
		str_append_cstr(&want, "é");
	}
	str_append_cstr(&in, "?=");
	assert_text(mime_words_decode, in.data, want.data);
	str_reset(&in);
	for (int i = 0; i < 4000; i++)
		str_append_cstr(&in, i % 2 ? "=?utf-8?B?qQ==?=\r\n " : "=?utf-8?Q?=C3?=\r\n ");
	str_truncate(&want, 4000);
	str_append_cstr(&in, ".");
	str_append_cstr(&want, "   .");
	assert_text(mime_words_decode, in.data, want.data);
	str_finish(&in);
	str_finish(&want);
}

static void test_linear(void **state)
{
	static const char *const patterns[] = {
		"=?utf-8?Q?=C3=A9?= ",
		"=?utf-8?Q?a?= =?gb2312?Q?=D6=D0?= =?koi8-r?Q?=C3?= ",
		"=?utf-8?Q?",
		"=?",
		"=?=",
		"=?utf-8",
		"=?utf-8?B?",
		"?=",
		"=?x?Q?a?= b ",
		" ",
		"=",
		"=?iso-2022-jp?B?GyRCRnwbKEI=?=",
		"\xe9",
		"=?utf-8?B?A?= ",
		"=?a?Q?=?=",
	};
	(void)state;

	for (size_t i = 0; i < COUNT(patterns); i++)
		assert_linear(mime_words_decode, patterns[i]);
}

/* Whatever comes in, valid UTF-8 without control characters comes out. */
static void test_random(void **state)
{
	static const char *const tokens[] = {"=?", "?=", "utf-8", "?Q?", "?B?", "=C3", "=A9",
		"4pyT", "iso-2022-jp", "utf-7", "GyRC", "\xc3", "\xff", " ", "\r\n", "+AGE", "x",
		"=", "?", "*", "utf-16", "big5", "gb18030", "\x1b$B", "_"};
	uint64_t random = 1;
	(void)state;

	for (int round = 0; round < 3000; round++) {
		struct str in = STR_INIT, out = STR_INIT;
		for (unsigned n = next_random(&random) % 40; n > 0; n--)
			str_append_cstr(&in, tokens[next_random(&random) % COUNT(tokens)]);
		assert_int_equal(mime_words_decode(str_cstr(&in), in.len, &out), 0);
		assert_true(utf8_valid(str_cstr(&out), out.len));
		for (size_t i = 0; i < out.len; i++)
			assert_true((unsigned char)out.data[i] >= 0x20 && out.data[i] != 0x7f);
		str_finish(&in);
		str_finish(&out);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_well_formed),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_abused),
		cmocka_unit_test(test_untouched),
		cmocka_unit_test(test_nul),
		cmocka_unit_test(test_long),
		cmocka_unit_test(test_linear),
		cmocka_unit_test(test_random),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
