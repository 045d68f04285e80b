/* SPDX-License-Identifier: MIT */
/* Authors, as From fields have them. */
#include "helpers.h"

static const struct text_case authors[] = {
	{"Alice Smith <alice@example.org>", "Alice Smith"},
	{"\"Doe, John\" <j@x>", "Doe, John"},
	{"\"John \\\"Q\\\" Doe\" <j@x>", "John \"Q\" Doe"},
	{"\"back\\\\slash\" <j@x>", "back\\slash"},
	{"John \"Q\" Doe <j@x>", "John Q Doe"},
	{"j@x (John Doe)", "John Doe"},
	{"j@x (John (Johnny) Doe)", "John (Johnny) Doe"},
	{"j@x (a \\) b)", "a ) b"},
	{"(comment first) j@x", "comment first"},
	{"<j@x> (John)", "John"},
	{"John (at work) <j@x>", "John"},
	{"j@x", "j@x"},
	{"<j@x>", "j@x"},
	{" \t<j@x>", "j@x"},
	{"\"\" <j@x>", "j@x"},
	{"\" \" <j@x>", "j@x"},
	{"j@x ()", "j@x"},
	{"alice@example.org, bob@example.org", "alice@example.org"},
	{"Alice <a@x>, Bob <b@x>", "Alice"},
	{", ,Alice <a@x>", "Alice"},
	{"root", "root"},
	{"root, alice@x", "root"},
	{"root, daemon, bin", "root"},
	/* A comma that should have been quoted. */
	{"Doe, John <j@x>", "Doe, John"},
	{"Doe, John, Jr. <j@x>, Other <o@x>", "Doe, John, Jr."},
	/* Groups. */
	{"undisclosed-recipients:;", ""},
	{"Undisclosed recipients: ;", ""},
	{"Team: Alice <a@x>, Bob <b@x>;", "Alice"},
	{"Team: a@x;", "a@x"},
	{"Nobody:;, Alice <a@x>", "Alice"},
	{"Note: this <a@x>", "Note: this"},
	/* Source routes. */
	{"<@a.example,@b.example:j@x>", "j@x"},
	{"John <@a:j@x>", "John"},
	/* Encoded words. */
	{"=?utf-8?Q?Andr=C3=A9?= <a@x>", "André"},
	{"\"=?utf-8?Q?Andr=C3=A9?=\" <a@x>", "André"},
	{"=?utf-8?B?5pel5pys?= =?utf-8?B?6Kqe?= <a@x>", "日本語"},
	{"a@x (=?utf-8?Q?Andr=C3=A9?=)", "André"},
	{"=?utf-8?Q?Doe,_John_(x)_<y>?= <j@x>", "Doe, John (x) <y>"},
	{"=?utf-8?Q?_?= <a@x>", "a@x"},
	{"=?iso-8859-1?Q?Andr=E9?= Smith <a@x>", "André Smith"},
	/* Raw 8-bit. */
	{"Andr\xc3\xa9 <a@x>", "André"},
	{"Andr\xe9 <a@x>", "André"},
	{"\"Andr\xe9\" <a@x>", "André"},
	/* What is not closed. */
	{"Alice <alice@x", "Alice"},
	{"<alice@x", "alice@x"},
	{"<alice@x, bob@x", "alice@x"},
	{"Alice alice@x>", "Alice alice@x"},
	{"\"Alice <alice@x>", "Alice"},
	{"Alice (away <alice@x>", "Alice away"},
	{"Alice \\", "Alice \\"},
	{"\"Alice\\", "Alice\\"},
	{"(", ""},
	{"\"", ""},
	/* Nothing. */
	{"", ""},
	{" ", ""},
	{"<>", ""},
	{"\"\" <>", ""},
	{",;,", ""},
	{"<>, Bob <b@x>", "Bob"},
	{"()", ""},
	{":", ":"},
	/* Blanks are folded. */
	{"  Alice \t  Smith  <a@x>", "Alice Smith"},
	{"Alice\r\n Smith <a@x>", "Alice Smith"},
	{"A\x1b\x1b"
	 "B <a@x>",
		"A B"},
	{"<a@x> Alice", "Alice"},
};

static void test_authors(void **state)
{
	(void)state;
	assert_table(mime_author, authors, COUNT(authors));
}

static const struct text_case lists[] = {
	{"=?utf-8?Q?Andr=C3=A9?= <a@x>, Bob <b@x>", "André <a@x>, Bob <b@x>"},
	{"undisclosed-recipients:;", "undisclosed-recipients:;"},
	{"", ""},
};

static void test_lists(void **state)
{
	(void)state;
	assert_table(mime_addresses_decode, lists, COUNT(lists));
}

static void test_linear(void **state)
{
	static const char *const patterns[] = {
		"\"",
		"\\\"",
		"\"\\\"",
		"(",
		")",
		"((",
		"<",
		">",
		",",
		";",
		":",
		"a,",
		"a:",
		"a;",
		"a@",
		"a@,",
		"<,",
		"<@",
		"=?",
		"=?utf-8?Q?",
		"=?utf-8?Q?,?= ",
		" ",
		"a b",
		"(a)",
		"\"a\"",
		"<a>",
		"a@b, ",
		"@::::::::::",
		"\xe9",
	};
	(void)state;

	for (size_t i = 0; i < COUNT(patterns); i++)
		assert_linear(mime_author, patterns[i]);
}

static int author_of_group(const char *value, size_t len, struct str *out)
{
	struct str all = STR_INIT;
	str_append(&all, value, len);
	str_append_cstr(&all, ":;");
	int r = mime_author(all.data, all.len, out);
	str_finish(&all);
	return r;
}

static void test_linear_in_groups(void **state)
{
	(void)state;
	assert_linear(author_of_group, "a:");
	assert_linear(author_of_group, "a@:");
	assert_linear(author_of_group, "(a:");
	assert_linear(author_of_group, "a:,");
}

static void test_every_cut(void **state)
{
	static const char in[] = "\"Doe, \\\"J\" (c (d)) =?utf-8?Q?,=C3=A9?= <@a,@b:j@x>, G: b@y;";
	(void)state;

	for (size_t len = 0; len < sizeof(in); len++) {
		char *copy = malloc(len ? len : 1);
		struct str out = STR_INIT;
		memcpy(copy, in, len);
		assert_int_equal(mime_author(copy, len, &out), 0);
		assert_true(utf8_valid(str_cstr(&out), out.len));
		str_finish(&out);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_authors),
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_linear),
		cmocka_unit_test(test_linear_in_groups),
		cmocka_unit_test(test_every_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
