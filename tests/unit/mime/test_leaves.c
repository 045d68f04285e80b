/* SPDX-License-Identifier: MIT */
/* The leaves of messages: sections, file names, how they are decoded, how long they can be. */
#include "tree.h"

/* Compares the leaves with lines "section name"; a name with '/' behind it is a message. */
static void assert_leaves(const struct mime_part *message, const char *section, const char *want)
{
	struct mime_leaves leaves;
	struct str got = STR_INIT;

	assert_int_equal(mime_leaves(message, section, &leaves), 0);
	for (size_t i = 0; i < leaves.count; i++)
		str_printf(&got, "%s %s%s\n", leaves.items[i].section, leaves.items[i].name,
			leaves.items[i].is_message ? "/" : "");
	assert_string_equal(str_cstr(&got), want);
	str_finish(&got);
	mime_leaves_finish(&leaves);
}

static struct mime_part *plain(void)
{
	return part_new("text/plain", NULL, NULL, "", 1);
}

static struct mime_part *mixed(void)
{
	return part_new("multipart/mixed", NULL, NULL, "", 0);
}

static struct mime_part *message(const char *name)
{
	return part_new("message/rfc822", NULL, name, "", 100);
}

static void test_single(void **state)
{
	struct mime_part *root = plain();
	(void)state;

	assert_leaves(root, NULL, "1 1-text.txt\n");
	mime_part_destroy(root);
	root = mime_part_create();
	assert_leaves(root, NULL, "1 1-text.bin\n");
	mime_part_destroy(root);
	root = message(NULL);
	part_in(root, plain());
	assert_leaves(root, NULL, "1 1-message/\n");
	assert_leaves(root, "1", "1.1 1-text.txt\n");
	mime_part_destroy(root);
}

static void test_nested(void **state)
{
	struct mime_part *root = mixed(), *child, *inner, *attached;
	(void)state;

	child = part_in(root, part_new("multipart/alternative", NULL, NULL, "", 0));
	part_in(child, plain());
	inner = part_in(child, part_new("multipart/related", NULL, NULL, "", 0));
	part_in(inner, part_new("text/html", NULL, NULL, "", 1));
	part_in(inner, part_new("image/png", "; name=logo.png", NULL, "base64", 1));
	part_in(root, part_new("application/pdf", NULL, "; filename=report.pdf", "base64", 1));
	part_in(root, mixed());
	attached = part_in(root, message("; filename=\"Fwd: hello.eml\""));
	part_in(attached, plain());
	attached = part_in(root, message(NULL));
	child = part_in(attached, mixed());
	part_in(child, plain());
	child = part_in(child, mixed());
	part_in(child, plain());
	attached = part_in(child, message("; filename=.eml"));
	part_in(attached, plain());

	assert_leaves(root, NULL,
		"1.1 1.1-text.txt\n1.2.1 1.2.1-text.html\n1.2.2 1.2.2-logo.png\n2 2-report.pdf\n"
		"4 4-Fwd-hello/\n5 5-message/\n");
	assert_leaves(root->children[3], "4", "4.1 1-text.txt\n");
	assert_leaves(
		root->children[4], "5", "5.1 1-text.txt\n5.2.1 2.1-text.txt\n5.2.2 2.2-eml/\n");
	assert_leaves(attached, "5.2.2", "5.2.2.1 1-text.txt\n");
	mime_part_destroy(root);
}

static void test_no_children(void **state)
{
	struct mime_part *root = mixed();
	(void)state;

	assert_leaves(root, NULL, "");
	part_in(root, mixed());
	assert_leaves(root, NULL, "");
	part_in(root, plain());
	assert_leaves(root, NULL, "2 2-text.txt\n");
	mime_part_destroy(root);
}

/* Messages whose inside is not known, or can not be reached, are files. */
static void test_message_files(void **state)
{
	struct mime_part *root = mixed(), *encoded;
	(void)state;

	part_in(root, message(NULL));
	part_in(root, message("; filename=old.eml"));
	part_in(root, message("; filename=old.msg"));
	encoded = part_in(root, part_new("message/rfc822", NULL, NULL, "base64", 100));
	part_in(encoded, plain());
	part_in(root, part_new("message/delivery-status", NULL, NULL, "", 1));
	assert_leaves(root, NULL,
		"1 1-message.eml\n2 2-old.eml\n3 3-old.msg.eml\n4 4-message.eml\n5 5-text.txt\n");
	mime_part_destroy(root);
}

struct name_case {
	const char *type, *filename, *want;
};

static const struct name_case names[] = {
	{"text/plain", "notes.txt", "1-notes.txt"},
	{"text/plain", "README", "1-README"},
	{"text/plain", "a b\tc.txt", "1-a-b-c.txt"},
	{"text/plain", "my_report_(1).txt", "1-my_report_-1.txt"},
	{"application/pdf", "Quarterly report.pdf", "1-Quarterly-report.pdf"},
	{"application/pdf", "report.PDF", "1-report.PDF"},
	{"application/gzip", "src.tar.gz", "1-src.tar.gz"},
	{"application/pdf", "Übersicht März.pdf", "1-Übersicht-März.pdf"},
	{"image/png", "日本語.png", "1-日本語.png"},
	/* Paths. */
	{"text/plain", "../../etc/passwd", "1-passwd"},
	{"text/plain", "/etc/passwd", "1-passwd"},
	{"text/plain", "C:\\Users\\x\\a.doc", "1-a.doc"},
	{"text/plain", "dir/", "1-dir"},
	{"text/plain", "..", "1-text.txt"},
	{"text/plain", ".", "1-text.txt"},
	{"text/plain", "/", "1-text.txt"},
	{"text/plain", "\\..\\", "1-text.txt"},
	{"text/plain", ".bashrc", "1-bashrc"},
	{"text/plain", "-rf", "1-rf"},
	{"text/plain", "a.txt.", "1-a.txt"},
	{"text/plain", "a.txt ", "1-a.txt"},
	{"text/plain", "a/b:c*d?.txt", "1-b-c-d.txt"},
	{"text/plain", "$(rm -rf ~).txt", "1-rm-rf.txt"},
	{"text/plain", "a\nb.txt", "1-a-b.txt"},
	/* What is not seen, or changes what is seen. */
	{"text/plain",
		"exe.\xe2\x80\xae"
		"fdp.txt",
		"1-exe.-fdp.txt"},
	{"text/plain", "a\xe2\x80\xae.txt\xe2\x80\x8b", "1-a.txt"},
	{"text/plain", "\xe2\x80\xae", "1-text.txt"},
	{"text/plain", " ", "1-text.txt"},
	{"application/pdf", "???.pdf", "1-text.pdf"},
	{"text/plain", "???", "1-text.txt"},
	{"text/plain", "a.???", "1-a"},
	/* An extension that is none. */
	{"text/plain", "a.this is a whole sentence", "1-a.this-is-a-whole-sentence"},
	/* No name: by type. */
	{"text/plain", NULL, "1-text.txt"},
	{"text/html", NULL, "1-text.html"},
	{"text/calendar", NULL, "1-text.ics"},
	{"text/x-unheard-of", NULL, "1-text.txt"},
	{"image/jpeg", NULL, "1-text.jpg"},
	{"application/octet-stream", NULL, "1-text.bin"},
	{"x/y", NULL, "1-text.bin"},
};

static char *name_of(const char *type, const char *filename)
{
	struct mime_part *part = part_new(type, NULL, NULL, "", 1);
	struct mime_leaves leaves;

	if (filename)
		mime_params_add(
			&part->disposition_params, "filename", 8, filename, strlen(filename));
	assert_int_equal(mime_leaves(part, NULL, &leaves), 0);
	assert_int_equal(leaves.count, 1);
	char *name = strdup(leaves.items[0].name);
	mime_leaves_finish(&leaves);
	mime_part_destroy(part);
	return name;
}

static void test_names(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(names); i++) {
		char *name = name_of(names[i].type, names[i].filename);
		assert_string_equal(name, names[i].want);
		free(name);
	}
}

static void test_long_names(void **state)
{
	char *given = repeated("日本", 6000), *name = name_of("text/plain", given);
	(void)state;

	assert_true(strlen(name) <= MIME_NAME_MAX && strlen(name) > 200);
	assert_true(utf8_valid(name, strlen(name)));
	free(name);
	memcpy(given + 5995, ".docx", 6);
	name = name_of("text/plain", given);
	assert_true(strlen(name) <= MIME_NAME_MAX && strlen(name) > 200);
	assert_true(utf8_valid(name, strlen(name)));
	assert_string_equal(name + strlen(name) - 5, ".docx");
	free(name);
	free(given);
	given = repeated("x", 5000);
	memcpy(given + 4990, ".abcdefghi", 10);
	name = name_of("message/rfc822", given);
	assert_true(strlen(name) <= MIME_NAME_MAX);
	assert_string_equal(name + strlen(name) - 14, ".abcdefghi.eml");
	free(name);
	free(given);
}

/* The disposition's name is preferred to the type's; an empty one is none. */
static void test_which_name(void **state)
{
	struct mime_part *root = mixed();
	(void)state;

	part_in(root,
		part_new("text/plain", "; name=type.txt", "; filename=disposition.txt", "", 1));
	part_in(root, part_new("text/plain", "; name=type.txt", NULL, "", 1));
	part_in(root, part_new("text/plain", "; name=type.txt", "; filename=\"\"", "", 1));
	assert_leaves(root, NULL, "1 1-disposition.txt\n2 2-type.txt\n3 3-type.txt\n");
	mime_part_destroy(root);
}

static void test_decoding(void **state)
{
	static const struct {
		const char *type, *params, *encoding;
		uint64_t size, bound;
		bool to_utf8;
	} cases[] = {
		{"text/plain", "; charset=koi8-r", "", 100, 300, true},
		{"text/plain", "; charset=koi8-r; name=A.TXT", "8bit", 100, 300, true},
		{"text/plain", "; charset=koi8-r", "quoted-printable", 100, 300, true},
		{"text/plain", "; charset=koi8-r", "base64", 100, 234, true},
		{"text/plain", "; charset=koi8-r", "base64", UINT64_MAX, UINT64_MAX, true},
		{"text/plain", "; charset=koi8-r", "", UINT64_MAX, UINT64_MAX, true},
		{"text/plain", "; charset=utf-8", "base64", 100, 78, false},
		{"text/plain", "; charset=US-ASCII", "", 100, 100, false},
		{"text/plain", "; charset=x-unknown", "", 100, 100, false},
		{"text/plain", NULL, "quoted-printable", 100, 100, false},
		{"text/plain", "; charset=koi8-r; name=a.diff", "", 100, 100, false},
		{"text/plain", "; charset=koi8-r; name=txt", "", 100, 100, false},
		{"text/html", "; charset=koi8-r", "", 100, 100, false},
		{"text/html", "; charset=koi8-r; name=a.txt", "", 100, 100, false},
		{"application/pdf", "; charset=koi8-r; name=a.txt", "base64", 5, 6, false},
	};
	(void)state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mime_part *part = part_new(
			cases[i].type, cases[i].params, NULL, cases[i].encoding, cases[i].size);
		struct mime_leaves leaves;
		assert_int_equal(mime_leaves(part, NULL, &leaves), 0);
		const struct mime_leaf *leaf = leaves.items;
		assert_ptr_equal(leaf->part, part);
		assert_int_equal(leaf->to_utf8, cases[i].to_utf8);
		assert_true(leaf->size_bound == cases[i].bound);
		assert_int_equal(leaf->encoding, mime_encoding_parse(cases[i].encoding));
		assert_int_equal(leaf->size_bytes, cases[i].size);
		const char *charset = mime_params_get(&part->params, "charset");
		if (strncmp(cases[i].type, "text", 4) != 0 || !charset ||
			strcmp(charset, "x-unknown") == 0)
			assert_null(leaf->charset);
		else
			assert_string_equal(leaf->charset, charset);
		mime_leaves_finish(&leaves);
		mime_part_destroy(part);
	}
}

static void test_limits(void **state)
{
	struct mime_part *root = mixed(), *at = root;
	struct mime_leaves leaves;
	(void)state;

	for (int i = 0; i < MIME_PARTS_MAX + 5; i++)
		part_in(root, plain());
	assert_int_equal(mime_leaves(root, NULL, &leaves), 0);
	assert_int_equal(leaves.count, MIME_PARTS_MAX);
	assert_string_equal(leaves.items[9999].name, "10000-text.txt");
	mime_leaves_finish(&leaves);
	mime_part_destroy(root);

	/* Deeper than the limit there is nothing; what comes behind is still there. */
	root = at = mixed();
	for (int i = 0; i < 20000; i++) {
		struct mime_part *child = part_in(at, mixed());
		part_in(at, plain());
		at = child;
	}
	assert_int_equal(mime_leaves(root, NULL, &leaves), 0);
	assert_int_equal(leaves.count, MIME_DEPTH_MAX);
	assert_string_equal(leaves.items[MIME_DEPTH_MAX - 1].section, "2");
	mime_leaves_finish(&leaves);
	mime_part_destroy(root);
}

/* 60 levels with hundreds of parts each: the number alone would be too long for a name. */
static void test_long_numbers(void **state)
{
	struct mime_part *root = mixed(), *at = root;
	struct mime_leaves leaves;
	(void)state;

	for (int depth = 0; depth < 60; depth++) {
		for (int i = 0; i < 99; i++)
			part_in(at, plain());
		at = part_in(at, mixed());
	}
	part_in(at, plain());
	part_in(at, plain());
	assert_int_equal(mime_leaves(root, NULL, &leaves), 0);
	assert_int_equal(leaves.count, 60 * 99 + 2);
	for (size_t i = 0; i < leaves.count; i++)
		assert_true(strlen(leaves.items[i].name) <= MIME_NAME_MAX);
	assert_int_equal(strlen(leaves.items[leaves.count - 1].section), 60 * 4 + 1);
	assert_string_equal(leaves.items[leaves.count - 1].name, "deep5942-text.txt");
	assert_string_equal(leaves.items[leaves.count - 2].name, "deep5941-text.txt");
	mime_leaves_finish(&leaves);
	mime_part_destroy(root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_single),
		cmocka_unit_test(test_nested),
		cmocka_unit_test(test_no_children),
		cmocka_unit_test(test_message_files),
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_long_names),
		cmocka_unit_test(test_which_name),
		cmocka_unit_test(test_decoding),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_long_numbers),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
