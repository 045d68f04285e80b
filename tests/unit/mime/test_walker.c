/* SPDX-License-Identifier: MIT */
/* The structure of messages: parts and boundaries, by the rules and against them. */
#include "walk.h"

#define MIXED(boundary) "Content-Type: multipart/mixed; boundary=\"" boundary "\"\n\n"
#define RFC822          "Content-Type: message/rfc822\n\n"

struct walk_case {
	const char *message, *want;
};

static void assert_cases(const struct walk_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++)
		assert_walk(cases[i].message, cases[i].want);
}

static void test_messages(void **state)
{
	static const struct walk_case cases[] = {
		{"", "text/plain{}"},
		{"\n", "text/plain{}"},
		{"x", "text/plain{}"},
		{"Subject: x\n", "text/plain{}"},
		{"Subject: x\n\n", "text/plain{}"},
		{"Subject: x\n\nhello\n", "text/plain{hello\n}"},
		{"Subject: x\n\nhello", "text/plain{hello}"},
		{"\n\n\n", "text/plain{\n\n}"},
		/* A folded line of blanks does not end a header. */
		{"Subject: x\n \nTo: y\n\t\n\nbody\n", "text/plain{body\n}"},
		{"From x Mon Nov 21\nContent-Type: text/html\n\n--b\n", "text/html{--b\n}"},
		{RFC822 "Subject: inner\n\nhi\n", "message/rfc822[text/plain{hi\n}]"},
		{RFC822, "message/rfc822[text/plain{}]"},
		{RFC822 RFC822 RFC822 "\nx\n",
			"message/rfc822[message/rfc822[message/rfc822[text/plain{x\n}]]]"},
		{"Content-Type: message/global\n\nSubject: i\n\nhi\n",
			"message/global[text/plain{hi\n}]"},
		{"Content-Type: message/delivery-status\n\nReporting-MTA: x\n\n",
			"message/delivery-status{Reporting-MTA: x\n\n}"},
		/* What is encoded as a whole can not be looked into. */
		{"Content-Transfer-Encoding: base64\n" RFC822 "U3ViamVjdDogeA==\n",
			"message/rfc822~base64{U3ViamVjdDogeA==\n}"},
		{"Content-Transfer-Encoding: 8bit\n" RFC822 "\nx\n",
			"message/rfc822~8bit[text/plain{x\n}]"},
	};
	(void)state;
	assert_cases(cases, COUNT(cases));
}

static void test_multiparts(void **state)
{
	static const struct walk_case cases[] = {
		{MIXED("b") "pre\n--b\n\nhello\n--b\nContent-Type: image/png\n\nP\n\n--b--\nepi\n",
			"multipart/mixed;boundary=b[text/plain{hello} image/png{P\n}]"},
		{MIXED("b") "--b  \t\n\nx\n--b-- \nepi\n--b\n\nno part\n",
			"multipart/mixed;boundary=b[text/plain{x}]"},
		/* Never closed. */
		{MIXED("b") "--b\n\nx\n--b\n\ny\n",
			"multipart/mixed;boundary=b[text/plain{x} text/plain{y\n}]"},
		{MIXED("b") "--b\n\nx\n--b--", "multipart/mixed;boundary=b[text/plain{x}]"},
		/* Without any part. */
		{MIXED("b") "hello\n", "multipart/mixed;boundary=b[text/plain{}]"},
		{MIXED("b") "hello\n--b--\n", "multipart/mixed;boundary=b[text/plain{}]"},
		{"Content-Type: multipart/mixed; boundary=b",
			"multipart/mixed;boundary=b[text/plain{}]"},
		/* Without a boundary. */
		{"Content-Type: multipart/mixed\n\n--\n\nx\n",
			"application/octet-stream{--\n\nx\n}"},
		{MIXED("") "--\n\nx\n", "application/octet-stream;boundary={--\n\nx\n}"},
		/* An encoding of the whole means nothing. */
		{"Content-Transfer-Encoding: base64\n" MIXED("b") "--b\n\nx\n--b--\n",
			"multipart/mixed;boundary=b[text/plain{x}]"},
		/* Empty parts, with and without the empty line. */
		{MIXED("b") "--b\n--b\n\n--b\n\n\n--b\n\n\n\n--b--\n",
			"multipart/mixed;boundary=b[text/plain{} text/plain{} text/plain{} text/plain{\n}]"},
		/* A header that a boundary ends. */
		{MIXED("b") "--b\nContent-Type: image/png\n--b\nContent-Type: image/gif\n\n--b--\n",
			"multipart/mixed;boundary=b[image/png{} image/gif{}]"},
		{MIXED("b") "--b\n" RFC822 "--b\nContent-Type: message/rfc822\n--b--\n",
			"multipart/mixed;boundary=b[message/rfc822[text/plain{}] message/rfc822[text/plain{}]]"},
		{MIXED("b") "--b\nContent-Type: multipart/mixed; boundary=c\n--b\n" MIXED(
			 "c") "--b--\n",
			"multipart/mixed;boundary=b[multipart/mixed;boundary=c[text/plain{}] "
			"multipart/mixed;boundary=c[text/plain{}]]"},
		/* A boundary in its own header is none. */
		{"Content-Type: multipart/mixed; boundary=b\n--b\n\nA\n--b\n\nB\n--b--\n",
			"multipart/mixed;boundary=b[text/plain{B}]"},
	};
	(void)state;
	assert_cases(cases, COUNT(cases));
}

static void test_nested(void **state)
{
	static const struct walk_case cases[] = {
		{MIXED("b") "--b\n" MIXED("c") "--c\n\nx\n--c\n\ny\n--c--\n\n--b\n\nz\n--b--\n",
			"multipart/mixed;boundary=b[multipart/mixed;boundary=c[text/plain{x} text/plain{y}] "
			"text/plain{z}]"},
		/* The outer boundary ends what is inside. */
		{MIXED("b") "--b\n" MIXED("c") "--c\n\nx\n--b\n\ny\n--c\n\nz\n--b--\n",
			"multipart/mixed;boundary=b[multipart/mixed;boundary=c[text/plain{x}] "
			"text/plain{y\n--c\n\nz}]"},
		{MIXED("b") "--b\n" RFC822 MIXED("c") "--c\n\nx\n--b--\n",
			"multipart/mixed;boundary=b[message/rfc822[multipart/mixed;boundary=c[text/plain{x}]]]"},
		/* Twice the same: the innermost that is open. */
		{MIXED("b") "--b\n" MIXED("b") "--b\n\nx\n--b--\n--b\n\ny\n--b--\n",
			"multipart/mixed;boundary=b[multipart/mixed;boundary=b[text/plain{x}] text/plain{y}]"},
		/* A digest's parts are messages, unless they say what they are. */
		{"Content-Type: multipart/digest; boundary=b\n\n"
		 "--b\n\nSubject: x\n\none\n--b\nContent-Type: text/plain\n\ntwo\n--b--\n",
			"multipart/digest;boundary=b[message/rfc822[text/plain{one}] text/plain{two}]"},
		{"Content-Type: multipart/digest; boundary=b\n\n"
		 "--b\nContent-Disposition: attachment\n\n\n\none\n--b\nContent-Type: ?\n\ntwo\n--b--\n",
			"multipart/digest;boundary=b[message/rfc822!attachment[text/plain{\none}] text/plain{two}]"},
	};
	(void)state;
	assert_cases(cases, COUNT(cases));
}

static void test_prefixes(void **state)
{
	static const struct walk_case cases[] = {
		{MIXED("foo") "--foo\n" MIXED(
			 "foobar") "--foobar\n\nx\n--foobar--\n\n--foo\n\ny\n--foo--\n",
			"multipart/mixed;boundary=foo[multipart/mixed;boundary=foobar[text/plain{x}] "
			"text/plain{y}]"},
		{MIXED("foobar") "--foobar\n" MIXED(
			 "foo") "--foo\n\nx\n--foo--\n\n--foobar\n\ny\n--foobar--\n",
			"multipart/mixed;boundary=foobar[multipart/mixed;boundary=foo[text/plain{x}] "
			"text/plain{y}]"},
		/* Not closed: the longer one is not the shorter one's. */
		{MIXED("foobar") "--foobar\n" MIXED(
			 "foo") "--foo\n\nx\n--foobar\n\ny\n--foobar--\n",
			"multipart/mixed;boundary=foobar[multipart/mixed;boundary=foo[text/plain{x}] "
			"text/plain{y}]"},
		{MIXED("foo--") "--foo--\n" MIXED(
			 "foo") "--foo\n\nx\n--foo--\n\n--foo--\n\ny\n--foo----\n",
			"multipart/mixed;boundary=foo--[multipart/mixed;boundary=foo[text/plain{x}] "
			"text/plain{y}]"},
		{MIXED("foo") "--foo\n" MIXED(
			 "foo--") "--foo--\n\nx\n--foo----\n\n--foo\n\ny\n--foo--\n",
			"multipart/mixed;boundary=foo[multipart/mixed;boundary=foo--[text/plain{x}] "
			"text/plain{y}]"},
		/* What is behind a boundary does not matter (RFC 2046 section 5.1.1). */
		{MIXED("b") "--bjunk\n\nx\n--b junk\n\ny\n--b--junk\nepi\n",
			"multipart/mixed;boundary=b[text/plain{x} text/plain{y}]"},
		/* What is before it does. */
		{MIXED("b") "--b\n\n --b\n-b\n---b\nx--b\n--B\n--\n--b--\n",
			"multipart/mixed;boundary=b[text/plain{ --b\n-b\n---b\nx--b\n--B\n--}]"},
	};
	(void)state;
	assert_cases(cases, COUNT(cases));
}

#define TYPE(type, want)                                                                           \
	{                                                                                          \
		"Content-Type: " type "\n\n", want "{}"                                            \
	}
#define ENCODING(encoding, want)                                                                   \
	{                                                                                          \
		"MIME-Version: 1.0\nContent-Transfer-Encoding: " encoding "\n\n",                  \
			"text/plain" want "{}"                                                     \
	}
#define DISPOSITION(disposition, want)                                                             \
	{                                                                                          \
		"MIME-Version: 1.0\nContent-Disposition: " disposition "\n\n",                     \
			"text/plain" want "{}"                                                     \
	}

static void test_fields(void **state)
{
	static const struct walk_case cases[] = {
		TYPE("Image/PNG; Name=A.png", "image/png;name=A.png"),
		TYPE("(c) image / (d) png (e); name=a.png", "image/png;name=a.png"),
		TYPE("\n image/png;\n\tname=\n \"a.png\"", "image/png;name=a.png"),
		TYPE("image/png name=\"a.png\"", "image/png;name=a.png"),
		TYPE("image/png; name*0*=utf-8''%c3; name*1*=%a9.png",
			"image/png;name=\xc3\xa9.png"),
		TYPE("x-a/vnd.b+c; d=1; d=2", "x-a/vnd.b+c;d=1"),
		/* What can not be read is text. */
		TYPE("", "text/plain"),
		TYPE("text", "text/plain"),
		TYPE("image/", "text/plain"),
		TYPE("/png; name=a", "text/plain"),
		TYPE("\"image/png\"", "text/plain"),
		TYPE("<html>", "text/plain"),
		ENCODING("BASE64", "~base64"),
		ENCODING(" base64 (c) ", "~base64"),
		ENCODING("x-uuencode", "~x-uuencode"),
		ENCODING("base64;", ""),
		ENCODING("base64 8bit", ""),
		ENCODING("", ""),
		DISPOSITION("ATTACHMENT; FileName=\"a b.txt\"", "!attachment;filename=a b.txt"),
		DISPOSITION("inline", "!inline"),
		DISPOSITION("; filename=x", ";filename=x"),
		/* The first one counts. */
		{"Content-Type: text/html\nContent-Type: image/png\n\n", "text/html{}"},
		/* It is not MIME, unless it says so or has a type. */
		{"Content-Transfer-Encoding: base64\nContent-Disposition: inline\n\nx\n",
			"text/plain{x\n}"},
		{"Content-Transfer-Encoding: base64\nContent-Type: a/b\n\nx\n", "a/b~base64{x\n}"},
		{RFC822 "Content-Transfer-Encoding: base64\n\nx\n",
			"message/rfc822[text/plain{x\n}]"},
		{MIXED("b") "--b\nContent-Transfer-Encoding: base64\n\nx\n--b--\n",
			"multipart/mixed;boundary=b[text/plain~base64{x}]"},
	};
	(void)state;
	assert_cases(cases, COUNT(cases));
}

/* How a boundary is given. */
static void test_boundary_parameter(void **state)
{
	static const struct {
		const char *parameter, *boundary;
	} cases[] = {
		{"boundary=foo", "foo"},
		{"BOUNDARY=\"foo\"", "foo"},
		{"boundary=\"foo bar\"", "foo bar"},
		{"boundary=\"foo \"", "foo"},
		{"boundary=foo (comment)", "foo"},
		{"boundary=foo bar; charset=x", "foo"},
		{"boundary=----=_Part_1.2", "----=_Part_1.2"},
		{"charset=x; boundary=foo; boundary=bar", "foo"},
		{"boundary*0=fo; boundary*1=o", "foo"},
		{"boundary*=us-ascii''f%6Fo", "foo"},
		{"boundary=\"=?utf-8?Q?a?=\"", "=?utf-8?Q?a?="},
		{"boundary=\"\xff\"", "\xff"},
	};
	struct str text = STR_INIT;
	(void)state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		const char *b = cases[i].boundary;
		str_reset(&text);
		str_printf(&text, "Content-Type: multipart/mixed; %s\n\n--%s\n\nx\n--%s--\n",
			cases[i].parameter, b, b);
		struct mime_part *part = walk(text.data, text.len, text.len);
		assert_int_equal(part->child_count, 1);
		assert_int_equal(part->children[0]->size_bytes, 1);
		assert_int_equal(text.data[part->children[0]->offset], 'x');
		mime_part_destroy(part);
	}
	str_finish(&text);
}

/* Longer than RFC 2046 allows; one that is beyond reason makes a leaf. */
static void test_long_boundary(void **state)
{
	struct str text = STR_INIT;
	(void)state;

	for (size_t len = 1; len < 1000; len += 3) {
		char *b = repeated("0123456789", len);
		str_reset(&text);
		str_printf(&text, MIXED("%s") "--%s\n\nx\n--%.*s\n--%s--\n", b, b, (int)(len - 1),
			b, b);
		struct mime_part *part = walk(text.data, text.len, 100);
		assert_int_equal(part->child_count, len <= 250);
		assert_int_equal(mime_part_cuts(part), len <= 250 ? 0 : MIME_CUT_BOUNDARY);
		if (part->child_count > 0)
			assert_int_equal(part->children[0]->size_bytes, 1 + 3 + len - 1);
		else
			assert_string_equal(part->subtype, "octet-stream");
		mime_part_destroy(part);
		free(b);
	}
	str_finish(&text);
}

/* No registered name is longer than 127 bytes (RFC 6838). */
static void test_long_type(void **state)
{
	char *name = repeated("x", 128);
	struct str text = STR_INIT;
	(void)state;

	for (int len = 127; len <= 128; len++) {
		str_reset(&text);
		str_printf(&text, "Content-Type: %.*s/y\n\n", len, name);
		struct mime_part *part = walk(text.data, text.len, text.len);
		assert_string_equal(part->subtype, len == 127 ? "y" : "plain");
		mime_part_destroy(part);
	}
	str_finish(&text);
	free(name);
}

static void test_nul_and_cr(void **state)
{
	static const char text[] = MIXED(
		"b") "--b\nContent-Type: te\0xt/a; name=a\0b\n\nx\0y\r\r\n--b\n\r\r\n\n\rz\r\n--b--\n";
	struct mime_part *part = walk(text, sizeof(text) - 1, 3);
	(void)state;

	assert_int_equal(part->child_count, 2);
	assert_int_equal(part->children[0]->size_bytes, 4);
	assert_memory_equal(text + part->children[0]->offset, "x\0y\r", 4);
	assert_int_equal(part->children[1]->size_bytes, 2);
	assert_memory_equal(text + part->children[1]->offset, "\rz", 2);
	mime_part_destroy(part);
}

static void test_ends(void **state)
{
	struct mime_walker *walker = mime_walker_create();
	struct mime_part *part = NULL;
	(void)state;

	assert_int_equal(mime_walker_push(walker, NULL, 0), 0);
	assert_int_equal(mime_walker_push(walker, "a", 1), 0);
	assert_int_equal(mime_walker_end(walker, &part), 0);
	mime_part_destroy(part);
	part = NULL;
	assert_int_equal(mime_walker_push(walker, "a", 1), -EINVAL);
	assert_int_equal(mime_walker_end(walker, &part), -EINVAL);
	assert_null(part);
	mime_walker_destroy(walker);

	walker = mime_walker_create(); /* given up in the middle */
	assert_int_equal(
		mime_walker_push(walker, "Content-Type: multipart/x; boundary=b\n\n--b\n", 44), 0);
	mime_walker_destroy(walker);
	mime_walker_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_multiparts),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_prefixes),
		cmocka_unit_test(test_fields),
		cmocka_unit_test(test_boundary_parameter),
		cmocka_unit_test(test_long_boundary),
		cmocka_unit_test(test_long_type),
		cmocka_unit_test(test_nul_and_cr),
		cmocka_unit_test(test_ends),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
