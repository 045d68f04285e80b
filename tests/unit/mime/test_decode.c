/* SPDX-License-Identifier: MIT */
/*
 * Transfer decoding as a stream. Each input is decoded at once, byte by byte, and cut in two at every position: that
 * must make no difference.
 */
#include "helpers.h"

struct decode_case {
	const char *in, *want;
};

static void push(struct mime_decoder *decoder, const char *data, size_t len, struct str *out)
{
	char *copy = malloc(len ? len : 1); /* so that a sanitizer sees a read beyond the end */
	memcpy(copy, data, len);
	assert_int_equal(mime_decoder_push(decoder, copy, len, out), 0);
	free(copy);
}

/* Decodes with a cut behind the first bytes; SIZE_MAX: between all of them. */
static void decode_cut(enum mime_encoding encoding, const char *charset, const char *in, size_t len,
	size_t cut, struct str *out)
{
	struct mime_decoder *decoder = mime_decoder_create(encoding, charset != NULL, charset);

	assert_non_null(decoder);
	if (cut == SIZE_MAX) {
		for (size_t i = 0; i < len; i++)
			push(decoder, in + i, 1, out);
	} else {
		push(decoder, in, cut, out);
		push(decoder, in + cut, len - cut, out);
	}
	assert_int_equal(mime_decoder_end(decoder, out), 0);
	mime_decoder_destroy(decoder);
}

static void assert_decoded(enum mime_encoding encoding, const char *charset, const char *in,
	size_t len, const char *want, size_t want_len)
{
	for (size_t cut = 0; cut <= len + 1; cut++) {
		struct str out = STR_INIT;
		decode_cut(encoding, charset, in, len, cut <= len ? cut : SIZE_MAX, &out);
		assert_int_equal(out.len, want_len);
		assert_memory_equal(str_cstr(&out), want, want_len);
		str_finish(&out);
	}
}

static void assert_cases(enum mime_encoding encoding, const struct decode_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_decoded(encoding, NULL, cases[i].in, strlen(cases[i].in), cases[i].want,
			strlen(cases[i].want));
}

static const struct decode_case base64[] = {
	{"", ""},
	{"YQ==", "a"},
	{"YWI=", "ab"},
	{"YWJj", "abc"},
	{"YWJjZA==\r\n", "abcd"},
	{"YWJj\r\nZGVm\r\n", "abcdef"},
	{"YW\r\nJjZ\nGVm", "abcdef"},
	{"+/+/", "\xfb\xff\xbf"},
	/* Stray bytes are skipped. */
	{"Y W\tJ!j*Z.G\x80V_m-", "abcdef"},
	/* Padding that is missing, too much, or where none is needed. */
	{"YQ", "a"},
	{"YWI", "ab"},
	{"YWJjZ", "abc"},
	{"YQ=", "a"},
	{"YWI==", "ab"},
	{"YWJj====", "abc"},
	{"=", ""},
	{"==YQ==", "a"},
	{"Y=Q==", "a"},
	/* Padded pieces put together. */
	{"YQ==YmM=\r\nZA==", "abcd"},
	{"YQ==\r\nYWJj\r\n", "aabc"},
	{"YQ=\r\n=YmM=", "abc"},
};

static void test_base64(void **state)
{
	(void)state;
	assert_cases(MIME_ENCODING_BASE64, base64, COUNT(base64));
}

static const struct decode_case quoted[] = {
	{"", ""},
	{"plain text", "plain text"},
	{"caf=C3=A9", "café"},
	{"caf=c3=a9", "café"},
	{"a=3Db", "a=b"},
	{"one\r\ntwo\nthree\r\n", "one\r\ntwo\nthree\r\n"},
	/* Soft line breaks. */
	{"a=\r\nb", "ab"},
	{"a=\nb", "ab"},
	{"a= \t\r\nb", "ab"},
	{"a=\r\n=\r\nb", "ab"},
	{"a  =\r\n  b", "a    b"},
	{"a=", "a"},
	{"a= ", "a"},
	{"a=\r", "a"},
	{"a=\r\n", "a"},
	/* Blanks at the end of a line stay, as in Python's email package. */
	{"a \r\nb\t\nc \t ", "a \r\nb\t\nc \t "},
	{" \r\n \r\n", " \r\n \r\n"},
	{"a=20\r\nb=09\n", "a \r\nb\t\n"},
	{"a b\tc  d", "a b\tc  d"},
	/* A CR that ends nothing. */
	{"a\rb", "a\rb"},
	{"a \rb", "a \rb"},
	{"a\r\r\nb", "a\r\r\nb"},
	{"a \r", "a \r"},
	/* An '=' that begins nothing. */
	{"a=zb", "a=zb"},
	{"a=4", "a=4"},
	{"a=4zb", "a=4zb"},
	{"a=4=41", "a=4A"},
	{"a==41", "a=A"},
	{"a= b", "a= b"},
	{"a= =41", "a= A"},
	{"a=\rb", "a=\rb"},
	{"a= \rb=41", "a= \rbA"},
	{"a=\r=41", "a=\rA"},
	{"===", "=="},
	/* Bytes that should have been encoded. */
	{"caf\xc3\xa9\x01", "caf\xc3\xa9\x01"},
};

static void test_quoted(void **state)
{
	(void)state;
	assert_cases(MIME_ENCODING_QUOTED_PRINTABLE, quoted, COUNT(quoted));
	assert_decoded(MIME_ENCODING_QUOTED_PRINTABLE, NULL, "a=00b\0c", 7, "a\0b\0c", 5);
}

/* More blanks than any line can have: nothing grows, and the text before and behind is right. */
static void test_quoted_many_blanks(void **state)
{
	struct str in = STR_INIT, out = STR_INIT;
	char *blanks = repeated(" \t", 5000);
	(void)state;

	str_printf(&in, "a%sb=%sc", blanks, blanks);
	decode_cut(MIME_ENCODING_QUOTED_PRINTABLE, NULL, in.data, in.len, SIZE_MAX, &out);
	assert_int_equal(out.len, in.len);
	assert_memory_equal(out.data, in.data, in.len);
	str_finish(&in);
	str_finish(&out);
	free(blanks);
}

static void test_identity(void **state)
{
	static const char in[] = "a=41 \r\n\0\xff=\n";
	(void)state;
	assert_decoded(MIME_ENCODING_IDENTITY, NULL, in, sizeof(in) - 1, in, sizeof(in) - 1);
}

static void test_encodings(void **state)
{
	(void)state;
	assert_int_equal(mime_encoding_parse("base64"), MIME_ENCODING_BASE64);
	assert_int_equal(mime_encoding_parse(" BASE64 "), MIME_ENCODING_BASE64);
	assert_int_equal(mime_encoding_parse("Quoted-Printable"), MIME_ENCODING_QUOTED_PRINTABLE);
	assert_int_equal(mime_encoding_parse("7bit"), MIME_ENCODING_IDENTITY);
	assert_int_equal(mime_encoding_parse("binary"), MIME_ENCODING_IDENTITY);
	assert_int_equal(mime_encoding_parse("base6"), MIME_ENCODING_IDENTITY);
	assert_int_equal(mime_encoding_parse("base644"), MIME_ENCODING_IDENTITY);
	assert_int_equal(mime_encoding_parse("x-uuencode"), MIME_ENCODING_IDENTITY);
	assert_int_equal(mime_encoding_parse(""), MIME_ENCODING_IDENTITY);
	assert_int_equal(mime_encoding_parse(NULL), MIME_ENCODING_IDENTITY);
}

/* --- What an encoder writes comes back, whatever it was --- */

static void encode_base64(const char *data, size_t len, struct str *out)
{
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < len; i += 3) {
		uint32_t bits = 0;
		for (size_t k = 0; k < 3; k++)
			bits = bits << 8 | (i + k < len ? (unsigned char)data[i + k] : 0);
		for (size_t k = 0; k < 4; k++)
			str_putc(out, i + k > len ? '=' : alphabet[bits >> (18 - 6 * k) & 63]);
		if (i / 3 % 19 == 18)
			str_append_cstr(out, "\r\n");
	}
}

static void encode_quoted(const char *data, size_t len, struct str *out)
{
	for (size_t i = 0, column = 0; i < len; i++, column++) {
		bool plain = data[i] > ' ' && data[i] < 0x7f && data[i] != '=';
		if (column > 70) {
			str_append_cstr(out, "=\r\n");
			column = 0;
		}
		if (plain || (data[i] == ' ' && i + 1 < len && data[i + 1] > ' '))
			str_putc(out, data[i]);
		else
			str_printf(out, "=%02X", (unsigned char)data[i]);
	}
}

static void assert_comes_back(enum mime_encoding encoding, const struct str *encoded,
	const char *data, size_t len, uint64_t *random)
{
	struct mime_decoder *decoder = mime_decoder_create(encoding, false, NULL);
	struct str out = STR_INIT;

	for (size_t at = 0, n; at < encoded->len; at += n) {
		n = 1 + next_random(random) % 100;
		if (n > encoded->len - at)
			n = encoded->len - at;
		push(decoder, encoded->data + at, n, &out);
	}
	assert_int_equal(mime_decoder_end(decoder, &out), 0);
	assert_int_equal(out.len, len);
	if (len > 0)
		assert_memory_equal(out.data, data, len);
	str_finish(&out);
	mime_decoder_destroy(decoder);
}

static void test_round_trip(void **state)
{
	uint64_t random = 5;
	(void)state;

	for (size_t len = 0; len < 600; len++) {
		char data[600] = {0};
		struct str encoded = STR_INIT;
		for (size_t i = 0; i < len; i++)
			data[i] = (char)(next_random(&random) % (len % 2 ? 256 : 64));
		encode_base64(data, len, &encoded);
		assert_comes_back(MIME_ENCODING_BASE64, &encoded, data, len, &random);
		str_reset(&encoded);
		encode_quoted(data, len, &encoded);
		assert_comes_back(MIME_ENCODING_QUOTED_PRINTABLE, &encoded, data, len, &random);
		str_finish(&encoded);
	}
}

/* --- The charset behind it --- */

static const struct {
	enum mime_encoding encoding;
	const char *charset, *in, *want;
} charsets[] = {
	{MIME_ENCODING_BASE64, "koi8-r", "8NLJ18XUDQo=", "Привет\r\n"},
	{MIME_ENCODING_QUOTED_PRINTABLE, "gb2312", "=D6=D0=\r\n=CE=C4 a", "中文 a"},
	{MIME_ENCODING_IDENTITY, "iso-2022-jp", "\x1b$BF|K\\8l\x1b(B\r\nabc", "日本語\r\nabc"},
	{MIME_ENCODING_IDENTITY, "iso-2022-jp", "\x1b$BF|K\\8l", "日本語"},
	{MIME_ENCODING_IDENTITY, "iso-2022-jp", "\x1b$BF|\x1b(IB\x1b(B\x1b", "日ﾂ" FFFD},
	{MIME_ENCODING_IDENTITY, "iso-2022-jp-2", "\x1b$BF|K\\8l\x1b(Ba", "日本語a"},
	{MIME_ENCODING_IDENTITY, "iso-2022-kr",
		"\x1b$)C\x0e\x47\x51\x0f"
		"a",
		"한a"},
	{MIME_ENCODING_IDENTITY, "gb18030",
		"\x81\x39\xee\x39"
		"a\xd6\xd0",
		"㐀a中"},
	{MIME_ENCODING_IDENTITY, "utf-7", "Hi +Jjo-! +AOk", "Hi ☺! é"},
	{MIME_ENCODING_IDENTITY, "windows-1258", "a\xcc", "à"},
	{MIME_ENCODING_IDENTITY, "windows-1252", "\x80 caf\xe9", "€ café"},
	{MIME_ENCODING_IDENTITY, "utf-8", "caf\xc3\xa9 \xff \xf0\x9f\x98\x80 \xe3\x82",
		"café " FFFD " 😀 " FFFD FFFD},
	{MIME_ENCODING_IDENTITY, "euc-jp",
		"\xc6\xfc\xff"
		"a\xc6",
		"日" FFFD "a" FFFD},
	{MIME_ENCODING_IDENTITY, "shift_jis", "\x93\xfa\x93", "日" FFFD},
	{MIME_ENCODING_BASE64, "big5", "pKSk5aQ=", "中文" FFFD},
	/* Not known: the bytes stay what they are. */
	{MIME_ENCODING_QUOTED_PRINTABLE, "x-unknown", "caf=E9", "caf\xe9"},
};

static void test_charsets(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(charsets); i++)
		assert_decoded(charsets[i].encoding, charsets[i].charset, charsets[i].in,
			strlen(charsets[i].in), charsets[i].want, strlen(charsets[i].want));
	assert_decoded(
		MIME_ENCODING_IDENTITY, "utf-16be", "\0a\x62\x11\xd8\x3d\xde\0", 8, "a我😀", 8);
	assert_decoded(MIME_ENCODING_IDENTITY, "utf-16",
		"\xff\xfe"
		"a\0\r\0\n\0",
		8, "a\r\n", 3);
}

/* No more comes out than mime_leaves() promises, even of bytes that are none of the charset's. */
static void test_bound(void **state)
{
	static const char *const names[] = {"koi8-r", "gb18030", "iso-2022-jp", "utf-7", "big5",
		"euc-kr", "shift_jis", "windows-1258", "iso-2022-jp-3", "euc-tw", "big5-hkscs",
		"iso-2022-cn"};
	uint64_t random = 11;
	(void)state;

	for (size_t i = 0; i < COUNT(names) * 200; i++) {
		char data[200];
		struct str out = STR_INIT;
		size_t len = next_random(&random) % sizeof(data);
		for (size_t k = 0; k < len; k++)
			data[k] = (char)next_random(&random);
		decode_cut(
			MIME_ENCODING_IDENTITY, names[i % COUNT(names)], data, len, len / 2, &out);
		assert_true(out.len <= 3 * len);
		assert_true(utf8_valid(str_cstr(&out), out.len));
		str_reset(&out);
		decode_cut(MIME_ENCODING_BASE64, NULL, data, len, len / 2, &out);
		assert_true(out.len <= len / 4 * 3 + 3);
		str_reset(&out);
		decode_cut(MIME_ENCODING_QUOTED_PRINTABLE, NULL, data, len, len / 2, &out);
		assert_true(out.len <= len);
		str_finish(&out);
	}
}

static void test_destroy(void **state)
{
	(void)state;
	mime_decoder_destroy(NULL);
	struct mime_decoder *decoder = mime_decoder_create(MIME_ENCODING_IDENTITY, true, "gb18030");
	struct str out = STR_INIT;
	assert_int_equal(mime_decoder_push(decoder, "\xd6", 1, &out), 0);
	assert_int_equal(out.len, 0);
	mime_decoder_destroy(decoder);
	str_finish(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_base64),
		cmocka_unit_test(test_quoted),
		cmocka_unit_test(test_quoted_many_blanks),
		cmocka_unit_test(test_identity),
		cmocka_unit_test(test_encodings),
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_charsets),
		cmocka_unit_test(test_bound),
		cmocka_unit_test(test_destroy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
