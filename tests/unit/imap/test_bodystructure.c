/* SPDX-License-Identifier: MIT */
/* BODYSTRUCTURE: what servers send, what they should not send, and how deep and wide it may be. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailfs/util/quirk.h"
#include "private.h"

#define ENVELOPE "(NIL \"inner\" ((\"A\" NIL \"a\" \"b\")) NIL NIL NIL NIL NIL NIL NIL)"

/* type/subtype;name=value:size[children]!disposition;name=value */
static void dump(const struct mime_part *part, struct str *out)
{
	str_printf(out, "%s/%s", part->type, part->subtype);
	for (size_t i = 0; i < part->params.count; i++)
		str_printf(out, ";%s=%s", part->params.items[i].name, part->params.items[i].value);
	str_printf(out, "~%s:%llu", part->encoding, (unsigned long long)part->size_bytes);
	for (size_t i = 0; i < part->child_count; i++) {
		str_append_cstr(out, i ? " " : "[");
		dump(part->children[i], out);
	}
	if (part->child_count > 0)
		str_putc(out, ']');
	if (part->disposition)
		str_printf(out, "!%s", part->disposition);
	for (size_t i = 0; i < part->disposition_params.count; i++)
		str_printf(out, ";%s=%s", part->disposition_params.items[i].name,
			part->disposition_params.items[i].value);
}

static int parse(const char *text, size_t len, struct mime_part **ret)
{
	struct imap_tree tree = {0};
	int r = imap_tree_parse(&tree, text, len);
	if (r == 0 || tree.cut)
		r = imap_bodystructure_parse(&tree, imap_tree_top(&tree), ret);
	imap_tree_finish(&tree);
	return r;
}

static void test_good(void **state)
{
	static const struct {
		const char *in, *want;
	} cases[] = {
		{"(\"TEXT\" \"PLAIN\" (\"CHARSET\" \"US-ASCII\") NIL NIL \"7BIT\" 3028 92)",
			"text/plain;charset=US-ASCII~7bit:3028"},
		{"(\"text\" \"html\" NIL NIL NIL \"base64\" 5 1 NIL (\"inline\" NIL) NIL NIL)",
			"text/html~base64:5!inline"},
		{"(\"application\" \"pdf\" (\"name\" \"r.pdf\") \"<id>\" \"desc\" \"BASE64\" 99 NIL (\"ATTACHMENT\" (\"FILENAME\" "
		 "\"r.pdf\")) (\"en\") NIL)",
			"application/pdf;name=r.pdf~base64:99!attachment;filename=r.pdf"},
		{"((\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1)(\"text\" \"html\" NIL NIL NIL \"7bit\" 2 1) \"ALTERNATIVE\" (\"BOUNDARY\" "
		 "\"b\") NIL NIL NIL)",
			"multipart/alternative;boundary=b~:0[text/plain~7bit:1 text/html~7bit:2]"},
		{"((\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1) \"mixed\")",
			"multipart/mixed~:0[text/plain~7bit:1]"},
		{"(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 500 " ENVELOPE
		 " (\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1) 20 NIL "
		 "(\"attachment\" (\"filename\" \"m.eml\")) NIL)",
			"message/rfc822~7bit:500[text/plain~7bit:1]!attachment;filename=m.eml"},
		{"(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 500 " ENVELOPE
		 " ((\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1)(\"text\" \"html\" NIL NIL NIL \"7bit\" 1 1) \"mixed\") 20)",
			"message/rfc822~7bit:500[multipart/mixed~:0[text/plain~7bit:1 text/html~7bit:1]]"},
		/* RFC 2231 in a server that passes it on */
		{"(\"a\" \"b\" (\"name*0*\" \"utf-8''r%C3%A9\" \"name*1\" \"s.pdf\") NIL NIL \"7bit\" 7)",
			"a/b;name=r\xc3\xa9s.pdf~7bit:7"},
		/* literals, and sizes beyond 32 bits */
		{"({4}\r\ntext {5}\r\nplain (\"name\" {3}\r\na\"b) NIL NIL NIL 8589934592 1)",
			"text/plain;name=a\"b~:8589934592"},
		/* NILs */
		{"(NIL NIL NIL NIL NIL NIL 0)", "application/octet-stream~:0"},
		{"(\"text\" \"plain\" (\"charset\" NIL \"format\" \"flowed\") NIL NIL NIL 4 NIL)",
			"text/plain;format=flowed~:4"},
		/* a multipart without parts */
		{"(\"mixed\" (\"boundary\" \"x\") NIL NIL)", "multipart/mixed;boundary=x~:0"},
		{"(\"mixed\")", "multipart/mixed~:0"},
		/* as Courier writes it */
		{"(\"multipart\" \"mixed\" (\"boundary\" \"x\") NIL NIL \"8bit\" 0 NIL NIL NIL)",
			"multipart/mixed;boundary=x~8bit:0"},
		/* message/rfc822 without its structure, with and without a disposition */
		{"(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 5)", "message/rfc822~7bit:5"},
		{"(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 5 NIL (\"attachment\" (\"filename\" \"x\")) NIL)",
			"message/rfc822~7bit:5!attachment;filename=x"},
		{"(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 5 NIL (\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1) 2)",
			"message/rfc822~7bit:5[text/plain~7bit:1]"},
		{"(\"message\" \"delivery-status\" NIL NIL NIL \"7bit\" 5 NIL NIL NIL)",
			"message/delivery-status~7bit:5"},
		/* a bare disposition */
		{"(\"a\" \"b\" NIL NIL NIL \"7bit\" 5 NIL \"attachment\")",
			"a/b~7bit:5!attachment"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mime_part *part = NULL;
		struct str out = STR_INIT;
		if (parse(cases[i].in, strlen(cases[i].in), &part) != 0)
			fail_msg("not understood: %s", cases[i].in);
		dump(part, &out);
		assert_string_equal(str_cstr(&out), cases[i].want);
		str_finish(&out);
		mime_part_destroy(part);
	}
	assert_int_equal(quirk_count(QUIRK_MULTIPART_EMPTY), 3);
}

static void test_malformed(void **state)
{
	static const char *const cases[] = {
		"NIL",
		"()",
		"\"text\"",
		"(\"text\" \"plain\")",
		"(\"text\" \"plain\" NIL NIL NIL \"7bit\" NIL 1)",
		"(\"text\" \"plain\" NIL NIL NIL \"7bit\" \"x\" 1)",
		"(\"text\" \"plain\" NIL NIL NIL \"7bit\" -1 1)",
		"(\"text\" \"plain\" NIL NIL NIL \"7bit\" 99999999999999999999 1)",
		"(() \"mixed\")",
		"((\"text\" \"plain\") \"mixed\")",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct mime_part *part = NULL;
		if (parse(cases[i], strlen(cases[i]), &part) != -EPROTO)
			fail_msg("taken: %s", cases[i]);
		assert_null(part);
	}
}

static void test_cut_everywhere(void **state)
{
	static const char whole[] =
		"((\"text\" \"plain\" (\"a\" \"b\") NIL NIL \"7bit\" 1 1)(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 5 " ENVELOPE
		" (\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1) 2) \"mixed\" (\"boundary\" {1}\r\nb))";
	(void)state;
	for (size_t len = 0; len < sizeof(whole) - 1; len++) {
		struct mime_part *part = NULL;
		assert_int_equal(parse(whole, len, &part), -EPROTO);
		assert_null(part);
	}
}

static size_t depth_of(const struct mime_part *part)
{
	size_t depth = 1;
	for (; part->child_count > 0; part = part->children[0])
		depth++;
	return depth;
}

/* A nest of multiparts, or of messages, with a part behind it. What was cut of it; *ret_depth: how deep it is then. */
static unsigned cut_nest(unsigned depth, bool messages, size_t *ret_depth)
{
	struct str text = STR_INIT;
	struct mime_part *part = NULL;
	str_putc(&text, '(');
	for (unsigned i = 2; i < depth; i++)
		str_append_cstr(&text,
			messages ? "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 99 " ENVELOPE " "
				 : "(");
	str_append_cstr(&text, "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1 \"(\" {3}\r\n)\")");
	str_append_cstr(&text, ")");
	for (unsigned i = 2; i < depth; i++)
		str_append_cstr(&text, messages ? " 7)" : " \"mixed\")");
	str_append_cstr(&text, "(\"a\" \"b\" NIL NIL NIL \"7bit\" 5) \"mixed\")");
	assert_int_equal(parse(text.data, text.len, &part), 0);
	assert_string_equal(part->subtype, "mixed");
	assert_int_equal(part->cut, 0);
	*ret_depth = depth_of(part);
	const struct mime_part *last = part->children[part->child_count - 1];
	assert_string_equal(last->type, "a");
	unsigned cuts = mime_part_cuts(part);
	mime_part_destroy(part);
	str_finish(&text);
	return cuts;
}

static void test_deep(void **state)
{
	(void)state;
	for (int messages = 0; messages < 2; messages++)
		for (unsigned depth = 2; depth < 200; depth += 3) {
			size_t got;
			unsigned cuts = cut_nest(depth, messages, &got);
			assert_int_equal(got, depth < MIME_DEPTH_MAX ? depth : MIME_DEPTH_MAX);
			assert_int_equal(cuts, depth <= MIME_DEPTH_MAX ? 0 : MIME_CUT_DEPTH);
		}
	size_t got;
	assert_int_equal(cut_nest(100000, false, &got), MIME_CUT_DEPTH);
	assert_int_equal(cut_nest(100000, true, &got), MIME_CUT_DEPTH);
}

/* So many parts, below so many messages. whole: nothing is missing at the end. How many there are then. */
static size_t count_wide(unsigned parts, unsigned messages, unsigned *ret_cuts)
{
	struct str text = STR_INIT;
	struct mime_part *part = NULL, *at;
	for (unsigned i = 0; i < messages; i++)
		str_append_cstr(
			&text, "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 99 " ENVELOPE " ");
	str_putc(&text, '(');
	for (unsigned i = 0; i < parts; i++)
		str_append_cstr(
			&text, "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1 NIL NIL NIL NIL)");
	str_append_cstr(&text, " \"mixed\" (\"boundary\" \"b\") NIL NIL)");
	for (unsigned i = 0; i < messages; i++)
		str_append_cstr(&text, " 7)");
	assert_int_equal(parse(text.data, text.len, &part), 0);
	*ret_cuts = mime_part_cuts(part);
	for (at = part; at->child_count == 1; at = at->children[0])
		assert_string_equal(at->type, "message");
	size_t count = at->child_count;
	mime_part_destroy(part);
	str_finish(&text);
	return count;
}

static void test_wide(void **state)
{
	unsigned cuts;
	(void)state;
	assert_int_equal(count_wide(MIME_PARTS_MAX - 2, 0, &cuts), MIME_PARTS_MAX - 2);
	assert_int_equal(cuts, 0);
	/* As many as a server tells that has the same limit. */
	assert_int_equal(count_wide(MIME_PARTS_MAX - 1, 0, &cuts), MIME_PARTS_MAX - 1);
	assert_int_equal(cuts, MIME_CUT_COUNT);
	assert_int_equal(count_wide(MIME_PARTS_MAX, 0, &cuts), MIME_PARTS_MAX - 1);
	assert_int_equal(cuts, MIME_CUT_COUNT);
	assert_int_equal(count_wide(1000000, 0, &cuts), MIME_PARTS_MAX - 1);
	assert_int_equal(cuts, MIME_CUT_COUNT);
	assert_int_equal(count_wide(1000000, 3, &cuts), MIME_PARTS_MAX - 4);
	assert_int_equal(cuts, MIME_CUT_COUNT);
}

/* The text is cut, with a NUL behind: the parts that are there whole are shown, whatever comes behind it. */
static void test_cut_with_a_nul(void **state)
{
	static const char first[] = "((\"a\" \"b\" NIL NIL NIL \"7bit\" 5)", rest[] = " \"mixed\")",
			  next[] = "(\"text\" \"plain\" (\"name\" \"x\") NIL NIL \"7bit\" 1 1)";
	(void)state;
	for (size_t len = 0; len < sizeof(next); len++) {
		struct str text = STR_INIT;
		struct mime_part *part = NULL;
		str_append_cstr(&text, first);
		str_append(&text, next, len);
		str_putc(&text, 0);
		str_append_cstr(&text, next + 1); /* so that it would be balanced */
		str_append_cstr(&text, rest);
		assert_int_equal(parse(text.data, text.len, &part), 0);
		assert_int_equal(part->child_count, len == sizeof(next) - 1 ? 2 : 1);
		assert_int_equal(part->children[0]->size_bytes, 5);
		assert_int_equal(mime_part_cuts(part), MIME_CUT_LENGTH);
		mime_part_destroy(part);
		str_finish(&text);
	}
}

/* A part has as many parameters as there is room for; which of them are kept is noted. */
static void test_many_params(void **state)
{
	struct str text = STR_INIT;
	struct mime_part *part = NULL;
	(void)state;
	str_append_cstr(&text, "(\"a\" \"b\" (");
	for (int i = 0; i < 100000; i++)
		str_printf(&text, "\"p%d\" \"v\" ", i);
	str_append_cstr(&text, ") NIL NIL \"7bit\" 5)");
	assert_int_equal(parse(text.data, text.len, &part), 0);
	assert_int_equal(mime_part_cuts(part), MIME_CUT_HEADER);
	mime_part_destroy(part);
	str_finish(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_cut_everywhere),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_wide),
		cmocka_unit_test(test_cut_with_a_nul),
		cmocka_unit_test(test_many_params),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
