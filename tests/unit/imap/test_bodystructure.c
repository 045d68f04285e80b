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
	if (r == 0)
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

/* A nest of multiparts; 0: its result. */
static int parse_nest(unsigned depth)
{
	struct str text = STR_INIT;
	struct mime_part *part = NULL;
	for (unsigned i = 1; i < depth; i++)
		str_putc(&text, '(');
	str_append_cstr(&text, "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1)");
	for (unsigned i = 1; i < depth; i++)
		str_append_cstr(&text, " \"mixed\")");
	int r = parse(text.data, text.len, &part);
	mime_part_destroy(part);
	str_finish(&text);
	return r;
}

static int parse_wide(unsigned parts)
{
	struct str text = STR_INIT;
	struct mime_part *part = NULL;
	str_putc(&text, '(');
	for (unsigned i = 1; i < parts; i++)
		str_append_cstr(
			&text, "(\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1 NIL NIL NIL NIL)");
	str_append_cstr(&text, " \"mixed\" (\"boundary\" \"b\") NIL NIL)");
	int r = parse(text.data, text.len, &part);
	if (r == 0)
		assert_int_equal(part->child_count, parts - 1);
	mime_part_destroy(part);
	str_finish(&text);
	return r;
}

static void test_limits(void **state)
{
	(void)state;
	assert_int_equal(parse_nest(1), 0);
	assert_int_equal(parse_nest(MIME_DEPTH_MAX), 0);
	assert_int_equal(parse_nest(MIME_DEPTH_MAX + 1), -EPROTO);
	assert_int_equal(parse_nest(100000), -EPROTO);
	assert_int_equal(parse_wide(MIME_PARTS_MAX), 0);
	assert_int_equal(parse_wide(MIME_PARTS_MAX + 1), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_cut_everywhere),
		cmocka_unit_test(test_limits),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
