/* SPDX-License-Identifier: MIT */
/* A structure that is made to cost: reading it takes time by its length, whether it is good, broken, or beyond what is kept of it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "linear.h"
#include "private.h"

static int parse(const char *data, size_t len, struct mime_part **ret)
{
	struct imap_tree tree = {0};
	int r = imap_tree_parse(&tree, data, len);
	if (r == 0 || tree.cut)
		r = imap_bodystructure_parse(&tree, imap_tree_top(&tree), ret);
	imap_tree_finish(&tree);
	return r;
}

static void do_good(const char *data, size_t len)
{
	struct mime_part *part = NULL;
	assert_int_equal(parse(data, len, &part), 0);
	mime_part_destroy(part);
}

/* A structure or not: of what has more than IMAP_NODES_MAX pieces the end is not read. */
static void do_any(const char *data, size_t len)
{
	struct mime_part *part = NULL;
	int r = parse(data, len, &part);
	assert_true(r == 0 || r == -EPROTO);
	mime_part_destroy(part);
}

#define TEXT  "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1)"
#define OUTER "(\"application\" \"pdf\" "
#define REST  " NIL NIL \"base64\" 9 NIL NIL)"

static const struct linear_case cases[] = {
	{"parts", "(", TEXT, " \"mixed\")", do_good},
	{"parts without a multipart", "", TEXT, "", do_any},
	{"parts that are not closed", "((", TEXT, "", do_any},
	{"parts in parts", "", "(", "", do_any},
	{"parts in parts, all closed", "(", "(" TEXT " \"mixed\")", " \"mixed\")", do_good},
	{"levels beyond what is kept", "(" TEXT,
		"(((((((((((((((((((((((((((((((()))))))))))))))))))))))))))))))))", " \"mixed\")",
		do_any},
	{"levels that come and go", "(" TEXT, "(((\"a\")))", " \"mixed\")", do_any},
	{"messages in messages", "", "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 9 () ", "",
		do_any},
	{"parameters", OUTER "(", "\"p%\" \"v\" ", ")" REST, do_good},
	{"the same parameter", OUTER "(", "\"p\" \"v\" ", ")" REST, do_any},
	{"continuations", OUTER "(", "\"p*%*\" \"%41\" ", ")" REST, do_good},
	{"continuations with gaps", OUTER "(", "\"p*%0\" \"v\" \"p*0*\" \"w\" ", ")" REST, do_good},
	{"a value", OUTER "(\"name\" \"", "\\\"x", "\")" REST, do_good},
	{"a value of percent signs", OUTER "(\"name*\" \"utf-8''", "%C3%A4", "\")" REST, do_good},
	{"values in literals", OUTER "(", "\"p%\" {3}\r\nabc ", ")" REST, do_good},
	{"a type", "(\"", "a", "\" \"b\" NIL NIL NIL \"7bit\" 1)", do_good},
	{"extensions", "(" TEXT " \"mixed\" NIL NIL NIL NIL ", "(\"x\" %) ", ")", do_good},
	{"a disposition of lists", OUTER "NIL NIL NIL \"7bit\" 1 NIL (\"a\" (", "(\"x\") ", ")))",
		do_any},
	{"numbers", "(", "% ", ")", do_any},
	{"quotes that do not end", "(", "\"a ", "", do_any},
	{"literals that are too long", "(", "{9999999}\r\n", ")", do_any},
	{"blanks", "(", " ", ")", do_any},
};

static void test_linear(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		linear_assert(&cases[i], 1 << 20);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_linear),
	};
	linear_prepare();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
