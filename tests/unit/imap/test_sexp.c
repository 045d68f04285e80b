/* SPDX-License-Identifier: MIT */
/* The s-expression parser: what it makes of good, malformed, cut and hostile input. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailfs/util/quirk.h"
#include "sexp.h"

/* Writes a tree back in one form: atoms as they are, strings as <text>, lists in parentheses, open ones with "…". */
static void dump(const struct imap_tree *tree, const struct imap_node *node, struct str *out)
{
	for (bool first = true; node; node = imap_node_next(tree, node), first = false) {
		if (!first)
			str_putc(out, ' ');
		if (imap_node_is_list(node)) {
			str_putc(out, '(');
			dump(tree, imap_node_child(tree, node), out);
			str_append_cstr(out, node->closed ? ")" : "...");
		} else if (imap_node_is_string(node)) {
			str_putc(out, '<');
			imap_node_append(node, out);
			str_putc(out, '>');
		} else {
			imap_node_append(node, out);
		}
	}
}

static void expect_parse(const char *data, size_t len, int result, const char *want)
{
	struct imap_tree tree = {0};
	struct str out = STR_INIT;
	char *copy = malloc(len ? len : 1); /* so that a sanitizer sees a read past the end */
	assert_non_null(copy);
	memcpy(copy, data, len);
	assert_int_equal(imap_tree_parse(&tree, copy, len), result);
	dump(&tree, imap_tree_top(&tree), &out);
	assert_string_equal(str_cstr(&out), want);
	str_finish(&out);
	imap_tree_finish(&tree);
	free(copy);
}

static void test_good(void **state)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{"", ""},
		{"a", "a"},
		{"  a\t b ", "a b"},
		{"(a b)(c)", "(a b) (c)"},
		{"()", "()"},
		{"(((x)))", "(((x)))"},
		{"\"q \\\" \\\\ z\"", "<q \" \\ z>"},
		{"\"\"", "<>"},
		{"{3}\r\na)b", "<a)b>"},
		{"{3}\na)b x", "<a)b> x"},
		{"{0}\r\n", "<>"},
		{"~{2}\r\nxy", "<xy>"},
		{"{2+}\r\nxy", "<xy>"},
		{"~x", "~x"},
		{"(\\Seen \\* $Junk)", "(\\Seen \\* $Junk)"},
		{"(UID 5 BODY[HEADER.FIELDS (FROM TO)] {4}\r\n\r\n\r\n)",
			"(UID 5 BODY[HEADER.FIELDS (FROM TO)] <\r\n\r\n>)"},
		{"BODY[1.2]<17> NIL", "BODY[1.2]<17> NIL"},
		{"BODY[HEADER.FIELDS (\"X Y\")] \"z\"", "BODY[HEADER.FIELDS (\"X Y\")] <z>"},
		{"[Gmail]/All (x)", "[Gmail]/All (x)"},
		{"\"a\"\"b\"NIL", "<a> <b> NIL"},
		{"\xe4\xff", "\xe4\xff"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_parse(cases[i].in, strlen(cases[i].in), 0, cases[i].want);
}

/* The tree keeps what stands before the fault. */
static void test_malformed(void **state)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{"(a", "(a..."},
		{"(UID 5 FLAGS (\\Seen", "(UID 5 FLAGS (\\Seen......"},
		{"a)", "a"},
		{"a \"b", "a"},
		{"a \"b\\", "a"},
		{"a \"b\rc\"", "a"},
		{"a {5}\r\nxy", "a"},
		{"a {18446744073709551615}\r\nxy", "a"},
		{"a {18446744073709551616}\r\nxy", "a"},
		{"a {99999999999999999999999}\r\nx", "a"},
		{"a {-1}\r\nx", "a"},
		{"a {}\r\nx", "a"},
		{"a {1}x", "a"},
		{"a BODY[HEADER", "a"},
		{"a BODY[HEAD\r\nER]", "a"},
		{"a \x01", "a"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_parse(cases[i].in, strlen(cases[i].in), -EPROTO, cases[i].want);
	expect_parse("a \"b\0c\"", 7, -EPROTO, "a");
	expect_parse("a\0b", 3, -EPROTO, "a");
}

static void test_cut_everywhere(void **state)
{
	static const char whole[] =
		"(UID 5 FLAGS (\\Seen) BODY[HEADER.FIELDS (FROM)] {7}\r\nF: \"(\r\n X \"a\\\"b\" BODYSTRUCTURE ((\"a\" NIL) \"m\"))";
	struct imap_tree tree = {0};
	(void)state;
	for (size_t len = 0; len < sizeof(whole); len++) {
		char *copy = malloc(len ? len : 1);
		assert_non_null(copy);
		memcpy(copy, whole, len);
		int r = imap_tree_parse(&tree, copy, len);
		assert_true(r == 0 || r == -EPROTO);
		assert_int_equal(r == 0, len == 0 || len == sizeof(whole) - 1);
		free(copy);
	}
	imap_tree_finish(&tree);
}

static void test_depth(void **state)
{
	struct imap_tree tree = {0};
	static char deep[200001];
	(void)state;
	memset(deep, '(', 100000);
	memset(deep + 100000, ')', 100000);
	assert_int_equal(imap_tree_parse(&tree, deep, 200000), -EPROTO);
	assert_int_equal(
		imap_tree_parse(&tree, deep + 100000 - IMAP_DEPTH_MAX, 2 * IMAP_DEPTH_MAX), 0);
	assert_int_equal(
		imap_tree_parse(&tree, deep + 100000 - IMAP_DEPTH_MAX - 1, 2 * IMAP_DEPTH_MAX + 2),
		-EPROTO);
	assert_true(tree.cut);
	imap_tree_finish(&tree);
}

/* What is behind a list that is too deep is there. */
static void test_behind_the_depth(void **state)
{
	static const char inside[] = "a \"(\" {2}\r\n(( BODY[(] ~{1}\r\n) x{5} ((b) c)",
			  *const bad[] = {"\"", "{9}\r\nx", "\x01", "BODY[", "("};
	struct imap_tree tree = {0};
	struct str text = STR_INIT;
	(void)state;
	for (size_t i = 0; i <= sizeof(bad) / sizeof(bad[0]); i++) {
		str_reset(&text);
		for (int depth = 0; depth < IMAP_DEPTH_MAX; depth++)
			str_putc(&text, '(');
		str_printf(&text, "(%s%s) x", inside, i > 0 ? bad[i - 1] : "");
		for (int depth = 0; depth < IMAP_DEPTH_MAX; depth++)
			str_putc(&text, ')');
		str_append_cstr(&text, " UID 7");
		assert_int_equal(imap_tree_parse(&tree, text.data, text.len), -EPROTO);
		assert_true(tree.cut);
		const struct imap_node *node = imap_tree_top(&tree);
		assert_int_equal(node->closed, i == 0);
		assert_int_equal(imap_node_is(imap_node_next(&tree, node), "UID"), i == 0);
		for (int depth = 0; depth < IMAP_DEPTH_MAX; depth++)
			node = imap_node_child(&tree, node);
		assert_true(node->cut);
		assert_null(imap_node_child(&tree, node));
		assert_int_equal(imap_node_is(imap_node_next(&tree, node), "x"), i == 0);
	}
	assert_int_equal(imap_tree_parse(&tree, "(a", 2), -EPROTO);
	assert_false(tree.cut);
	imap_tree_finish(&tree);
	str_finish(&text);
}

static void test_count(void **state)
{
	struct imap_tree tree = {0};
	size_t len = 2 * (size_t)(IMAP_NODES_MAX + 10);
	char *many = malloc(len);
	(void)state;
	assert_non_null(many);
	for (size_t i = 0; i < len; i += 2)
		memcpy(many + i, "a ", 2);
	assert_int_equal(imap_tree_parse(&tree, many, len), -EPROTO);
	assert_true(tree.count <= IMAP_NODES_MAX && tree.cut);
	assert_int_equal(imap_tree_parse(&tree, many, len - 40), 0);
	free(many);
	imap_tree_finish(&tree);
}

/* Bytes from a fixed generator, built of what the parser cares for: it ends, and stays inside its input. */
static void test_noise(void **state)
{
	static const char *const pieces[] = {"(", ")", "\"", "\\", "{3}\r\n", "{", "BODY[", "]",
		" ", "a", "\r\n", "NIL", "~", "<0>"};
	struct imap_tree tree = {0};
	unsigned seed = 1;
	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct str text = STR_INIT;
		for (int i = 0; i < 12; i++) {
			seed = seed * 1103515245 + 12345;
			str_append_cstr(
				&text, pieces[(seed >> 16) % (sizeof(pieces) / sizeof(pieces[0]))]);
		}
		int r = imap_tree_parse(&tree, text.data, text.len);
		assert_true(r == 0 || r == -EPROTO);
		for (size_t i = 1; i < tree.count; i++) {
			assert_true(tree.nodes[i].data >= text.data);
			assert_true(tree.nodes[i].data + tree.nodes[i].len <= text.data + text.len);
		}
		str_finish(&text);
	}
	imap_tree_finish(&tree);
}

static void test_numbers(void **state)
{
	uint64_t number = 7;
	(void)state;
	assert_true(imap_number_parse("0", 1, 10, &number));
	assert_int_equal(number, 0);
	assert_true(imap_number_parse("18446744073709551615", 20, UINT64_MAX, &number));
	assert_true(number == UINT64_MAX);
	assert_true(imap_number_parse("4294967301", 10, UINT64_MAX, &number));
	assert_true(number == UINT64_C(4294967301));
	assert_false(imap_number_parse("4294967301", 10, UINT32_MAX, &number));
	assert_false(imap_number_parse("18446744073709551616", 20, UINT64_MAX, &number));
	assert_false(imap_number_parse("000000000000000000001", 21, UINT64_MAX, &number));
	assert_false(imap_number_parse("", 0, 10, &number));
	assert_false(imap_number_parse("-1", 2, 10, &number));
	assert_false(imap_number_parse("1a", 2, 10, &number));
	/* as a literal or in quotes, too */
	static const char *const written[] = {"42", "\"42\"", "{2}\r\n42"};
	quirk_forget();
	for (size_t i = 0; i < sizeof(written) / sizeof(written[0]); i++) {
		struct imap_tree tree = {0};
		assert_int_equal(imap_tree_parse(&tree, written[i], strlen(written[i])), 0);
		assert_true(imap_node_number(imap_tree_top(&tree), 42, &number));
		assert_int_equal(number, 42);
		assert_false(imap_node_number(imap_tree_top(&tree), 41, &number));
		imap_tree_finish(&tree);
	}
	assert_int_equal(quirk_count(QUIRK_NUMBER_QUOTED), 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_cut_everywhere),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_behind_the_depth),
		cmocka_unit_test(test_count),
		cmocka_unit_test(test_noise),
		cmocka_unit_test(test_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
