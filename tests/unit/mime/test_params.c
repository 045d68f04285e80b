/* SPDX-License-Identifier: MIT */
/* Parameters: RFC 2045's form, RFC 2231's pieces and charsets, and what programs do instead. */
#include "helpers.h"

/* Parses, joins, and writes "name=value;" for each. */
static int join_text(const char *text, size_t len, struct str *out)
{
	struct mime_params params = {0};
	int r = mime_params_parse(text, len, &params);

	if (r == 0)
		r = mime_params_join(&params);
	for (size_t i = 0; i < params.count; i++)
		str_printf(out, "%s=%s;", params.items[i].name, params.items[i].value);
	mime_params_finish(&params);
	return r < 0 ? r : str_error(out);
}

static const struct text_case plain[] = {
	{"; charset=utf-8", "charset=utf-8;"},
	{"charset=utf-8", "charset=utf-8;"},
	{";charset=\"utf-8\"; format=flowed", "charset=utf-8;format=flowed;"},
	{"; CharSet = UTF-8 ;", "charset=UTF-8;"},
	{"; name=\"a b;c\"; x=y", "name=a b;c;x=y;"},
	{"; name=\"a \\\"b\\\" \\\\ c\"", "name=a \"b\" \\ c;"},
	{"; name=\"C:\\dir\\file.txt\"", "name=C:\\dir\\file.txt;"},
	{"; name=a b c.txt; x=y", "name=a b c.txt;x=y;"},
	{"; name=\"a\" junk; x=y", "name=a;x=y;"},
	{"; name=\"open; x=y", "name=open; x=y;"},
	{"; name=\"folded\r\n name\"", "name=folded name;"},
	{";\r\n\tname=a\r\n\t;\r\n x=y", "name=a;x=y;"},
	{"; name=", "name=;"},
	{"; name=\"\"", "name=;"},
	{"; name=;x=y", "name=;x=y;"},
	{"; (comment; x=z) name=a", "name=a;"},
	{"; (open name=a", ""},
	{"; =a; x=y", "x=y;"},
	{"; flag; x=y", "x=y;"},
	{";;; ;", ""},
	{"", ""},
	{"; name=a=b", "name=a=b;"},
	{"; name=one; name=two", "name=one;"},
	{"; Name=one; nAME=two", "name=one;"},
	{"; name=caf\xe9", "name=café;"},
	{"; name=\"caf\xc3\xa9\"", "name=café;"},
	{"; name=\"a\x01\x1b"
	 "b\"",
		"name=a  b;"},
	{"; name=\"=?utf-8?Q?caf=C3=A9.txt?=\"", "name=café.txt;"},
	{"; name==?utf-8?B?Y2Fmw6k=?=; x=y", "name=café;x=y;"},
	{"; name=\"=?utf-8?Q?caf=C3?=\r\n =?utf-8?Q?=A9?=\"", "name=café;"},
	{"; name=\"100%41\"", "name=100%41;"},
};

static void test_plain(void **state)
{
	(void)state;
	assert_table(join_text, plain, COUNT(plain));
}

static const struct text_case extended[] = {
	{"; filename*=utf-8''caf%C3%A9.txt", "filename=café.txt;"},
	{"; filename*=UTF-8'fr'caf%c3%a9.txt", "filename=café.txt;"},
	{"; filename*=\"utf-8''caf%C3%A9\"", "filename=café;"},
	{"; filename*=iso-8859-1''caf%E9", "filename=café;"},
	{"; filename*=iso-2022-jp''%1B%24B%46%7C%1B%28B", "filename=日;"},
	{"; filename*=x-unknown''caf%E9", "filename=café;"},
	{"; filename*=''caf%C3%A9", "filename=café;"},
	{"; filename*=caf%C3%A9", "filename=café;"},
	{"; filename*=utf-8''it's%20here", "filename=it's here;"},
	{"; filename*=utf-8'it%20is", "filename=utf-8'it is;"},
	{"; filename*=utf-8''100%25%zz%4", "filename=100%%zz%4;"},
	{"; filename*=utf-8''a%00b%0D%0Ac", "filename=a b  c;"},
	{"; filename*=utf-8''%FF", "filename=" FFFD ";"},
	{"; filename*=", "filename=;"},
	/* A quoted word in an extended value is no word. */
	{"; filename*=utf-8''=?utf-8?Q?a?=", "filename==?utf-8?Q?a?=;"},
};

static void test_extended(void **state)
{
	(void)state;
	assert_table(join_text, extended, COUNT(extended));
}

static const struct text_case pieces[] = {
	{"; filename*0=\"a \"; filename*1=\"b\"", "filename=a b;"},
	{"; filename*1=b; filename*0=a; filename*2=c", "filename=abc;"},
	{"; filename*0*=utf-8''caf%C3; filename*1*=%A9.txt", "filename=café.txt;"},
	{"; filename*0*=utf-8''caf%C3%A9; filename*1=\"%41.txt\"", "filename=café%41.txt;"},
	{"; filename*0=\"caf\"; filename*1*=%C3%A9", "filename=café;"},
	{"; filename*1*=%A9; filename*0*=utf-8''%C3", "filename=é;"},
	{"; filename*0*=utf-8''a; filename*1*=b''c", "filename=ab''c;"},
	/* Gaps end it. */
	{"; filename*0=a; filename*2=c", "filename=a;"},
	{"; filename*0=a; filename*1=b; filename*3=d", "filename=ab;"},
	{"; filename*2=c", "filename=;"},
	{"; filename*1=a; filename*2=b", "filename=ab;"},
	/* More than nine, and no pieces of another name. */
	{"; n*0=0;n*1=1;n*2=2;n*3=3;n*4=4;n*5=5;n*6=6;n*7=7;n*8=8;n*9=9;n*10=a;m*11=x",
		"n=0123456789a;m=;"},
	{"; n*0=a; nn*1=b; n*1=c", "n=ac;nn=b;"},
	/* Twice the same piece: the first. */
	{"; n*0=a; n*0=x; n*1=b; n*1=y", "n=ab;"},
	/* Encoded words in pieces, even split by them. */
	{"; n*0=\"=?utf-8?Q?caf\"; n*1=\"=C3=A9?=\"", "n=café;"},
	/* Which one wins. */
	{"; filename=\"cafe.txt\"; filename*=utf-8''caf%C3%A9.txt", "filename=café.txt;"},
	{"; filename*=utf-8''caf%C3%A9.txt; filename=\"cafe.txt\"", "filename=café.txt;"},
	{"; filename=plain; filename*0=a; filename*1=b", "filename=ab;"},
	{"; filename*0=a; filename*=utf-8''star; filename=plain", "filename=star;"},
	{"; filename*=utf-8''one; filename*=utf-8''two", "filename=one;"},
	{"; a=1; filename*1=y; b=2; filename*0=x", "a=1;filename=xy;b=2;"},
	/* No pieces at all. */
	{"; n*x=a", "n*x=a;"},
	{"; *=a", "*=a;"},
	{"; *0=a", "*0=a;"},
	{"; n*99999=a", "n*99999=a;"},
	{"; n**=a", "n*=a;"},
};

static void test_pieces(void **state)
{
	(void)state;
	assert_table(join_text, pieces, COUNT(pieces));
}

static void test_add_and_get(void **state)
{
	struct mime_params params = {0};
	(void)state;

	assert_null(mime_params_get(&params, "name"));
	assert_int_equal(mime_params_add(&params, "NAME", 4, "a\0b", 3), 0);
	assert_int_equal(mime_params_add(&params, "xyz", 1, "1234", 2), 0);
	assert_string_equal(mime_params_get(&params, "name"), "a b");
	assert_string_equal(mime_params_get(&params, "x"), "12");
	assert_null(mime_params_get(&params, "xyz"));
	mime_params_finish(&params);
	assert_int_equal(params.count, 0);
	mime_params_finish(&params);
}

/* So many that joining them would take for ever if they all counted. */
static void test_limited(void **state)
{
	struct str in = STR_INIT, out = STR_INIT;
	(void)state;

	for (int i = 0; i < 100000; i++)
		str_printf(&in, ";n%d*0=x;n%d*1=y", i, i);
	long start = cpu_ms();
	assert_int_equal(join_text(in.data, in.len, &out), 0);
	assert_true(cpu_ms() - start < 8000);
	assert_memory_equal(out.data, "n0=xy;n1=xy;", 12);
	str_reset(&in);
	str_reset(&out);
	for (int i = 999; i >= 0; i--)
		str_printf(&in, ";n*%d*=%c", i, 'a' + i % 26);
	assert_int_equal(join_text(in.data, in.len, &out), 0);
	assert_int_equal(out.len, 3 + 1000);
	assert_memory_equal(out.data, "n=abcdefghijklmnopqrstuvwxyzab", 30);
	str_finish(&in);
	str_finish(&out);
}

static void test_linear(void **state)
{
	static const char *const patterns[] = {";", "(", ")", "=", "a=b;", "\"", "\\", ";a=\"", "a",
		";(a)", " ", ";a=\"\\\"", ";a*=''%"};
	(void)state;

	for (size_t i = 0; i < COUNT(patterns); i++)
		assert_linear(join_text, patterns[i]);
}

static void test_every_cut(void **state)
{
	static const char in[] =
		"; (c \\) d) name=\"a \\\" b\"; filename*0*=utf-8''%C3; filename*1*=%A9; x = y z ;";
	(void)state;

	for (size_t len = 0; len < sizeof(in); len++) {
		char *copy = malloc(len ? len : 1);
		struct str out = STR_INIT;
		memcpy(copy, in, len);
		assert_int_equal(join_text(copy, len, &out), 0);
		assert_true(utf8_valid(str_cstr(&out), out.len));
		str_finish(&out);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_extended),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_add_and_get),
		cmocka_unit_test(test_limited),
		cmocka_unit_test(test_linear),
		cmocka_unit_test(test_every_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
