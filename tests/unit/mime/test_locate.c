/* SPDX-License-Identifier: MIT */
/* Where sections are (RFC 3501 section 6.4.5): their numbers and what they hold, to the byte. */
#include "walk.h"

static const char sample[] =
	"From: a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" /* HEADER */
	"preamble\r\n"
	"--b\r\nX: 1\r\n\r\none\r\n"
	"--b\r\nContent-Type: message/rfc822\r\n\r\n" /* 2.MIME */
	"Subject: two\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"
	"--c\r\n\r\n2.1\r\n"
	"--c\r\nContent-Type: multipart/alternative; boundary=d\r\n\r\n"
	"--d\r\n\r\n2.2.1\r\n"
	"--d\r\nContent-Type: message/rfc822\r\n\r\n"
	"Subject: 2.2.2\r\n\r\nplain\r\n"
	"--d--\r\n"
	"--c--\r\n"
	"--b\r\nContent-Type: image/png\r\n\r\nthree\r\n"
	"--b--\r\nepilogue\r\n";

static void assert_section(
	const struct mime_part *part, const char *data, const char *section, const char *want)
{
	uint64_t offset = 0, len = 0;

	assert_int_equal(mime_part_locate(part, section, &offset, &len), 0);
	assert_int_equal(len, strlen(want));
	assert_memory_equal(data + offset, want, len);
}

static void assert_none(const struct mime_part *part, const char *section, int want)
{
	uint64_t offset = 7, len = 7;

	assert_int_equal(mime_part_locate(part, section, &offset, &len), want);
	assert_int_equal(offset, 7);
	assert_int_equal(len, 7);
}

static void test_sections(void **state)
{
	static const struct {
		const char *section, *want;
	} cases[] = {
		{"HEADER", "From: a\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"},
		{"1", "one"},
		{"1.MIME", "X: 1\r\n\r\n"},
		{"2.MIME", "Content-Type: message/rfc822\r\n\r\n"},
		{"2.HEADER", "Subject: two\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n"},
		{"2.1", "2.1"},
		{"2.1.MIME", "\r\n"},
		{"2.2", "--d\r\n\r\n2.2.1\r\n--d\r\nContent-Type: message/rfc822\r\n\r\n"
			"Subject: 2.2.2\r\n\r\nplain\r\n--d--"},
		{"2.2.MIME", "Content-Type: multipart/alternative; boundary=d\r\n\r\n"},
		{"2.2.1", "2.2.1"},
		{"2.2.2", "Subject: 2.2.2\r\n\r\nplain"},
		{"2.2.2.HEADER", "Subject: 2.2.2\r\n\r\n"},
		{"2.2.2.TEXT", "plain"},
		{"2.2.2.1", "plain"},
		/* Not a part of its own: the header is the message's. */
		{"2.2.2.1.MIME", "Subject: 2.2.2\r\n\r\n"},
		{"3", "three"},
	};
	struct mime_part *part = walk(sample, sizeof(sample) - 1, 10);
	(void)state;

	for (size_t i = 0; i < COUNT(cases); i++)
		assert_section(part, sample, cases[i].section, cases[i].want);
	assert_section(part, sample, "TEXT", strstr(sample, "preamble"));
	uint64_t offset, len, text_offset, text_len;
	assert_int_equal(mime_part_locate(part, "2", &offset, &len), 0);
	assert_int_equal(mime_part_locate(part, "2.TEXT", &text_offset, &text_len), 0);
	assert_memory_equal(sample + offset, "Subject: two\r\n", 14);
	assert_memory_equal(sample + offset + len, "\r\n--b\r\n", 7);
	assert_memory_equal(sample + text_offset, "--c\r\n\r\n2.1\r\n", 12);
	assert_int_equal(text_offset + text_len, offset + len);
	mime_part_destroy(part);
}

static void test_missing(void **state)
{
	static const char *const missing[] = {"4", "1.1", "1.2", "1.HEADER", "1.TEXT", "2.3",
		"2.2.3", "2.2.HEADER", "2.2.2.2", "2.2.2.1.1", "3.TEXT", "99999999999999999999",
		"4294967297", "4.MIME", "1.1.MIME"};
	static const char *const wrong[] = {"", "MIME", "header", "0", "01", "1.", ".1", "1..1",
		"1.0", "1.header", "-1", "1 ", " 1", "1.MIME.1", "HEADER.1", "TEXTS", "1.2.", "1x",
		"x"};
	struct mime_part *part = walk(sample, sizeof(sample) - 1, 10);
	(void)state;

	for (size_t i = 0; i < COUNT(missing); i++)
		assert_none(part, missing[i], -ENOENT);
	for (size_t i = 0; i < COUNT(wrong); i++)
		assert_none(part, wrong[i], -EINVAL);
	part->located = false;
	assert_none(part, "1", -ENODATA);
	mime_part_destroy(part);
}

/* A message that is not a multipart has one part, number 1. */
static void test_single(void **state)
{
	static const char plain[] = "Subject: x\r\n\r\nbody\r\n";
	static const char message[] =
		"Content-Type: message/rfc822\r\n\r\nSubject: y\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n"
		"--b\r\n\r\nA\r\n--b--\r\n";
	struct mime_part *part = walk(plain, sizeof(plain) - 1, 10);
	(void)state;

	assert_section(part, plain, "1", "body\r\n");
	assert_section(part, plain, "TEXT", "body\r\n");
	assert_section(part, plain, "HEADER", "Subject: x\r\n\r\n");
	assert_section(part, plain, "1.MIME", "Subject: x\r\n\r\n");
	assert_none(part, "2", -ENOENT);
	assert_none(part, "1.1", -ENOENT);
	assert_none(part, "1.HEADER", -ENOENT);
	mime_part_destroy(part);

	part = walk(message, sizeof(message) - 1, 10);
	assert_section(part, message, "1", strstr(message, "Subject"));
	assert_section(part, message, "1.TEXT", strstr(message, "--b"));
	assert_section(part, message, "1.1", "A");
	assert_section(part, message, "HEADER", "Content-Type: message/rfc822\r\n\r\n");
	assert_none(part, "1.2", -ENOENT);
	mime_part_destroy(part);
}

/* An encoded message can not be looked into; a multipart without parts has an empty one. */
static void test_special(void **state)
{
	static const char encoded[] =
		"Content-Type: message/rfc822\r\nContent-Transfer-Encoding: base64\r\n\r\nQUJD\r\n";
	static const char empty[] = "Content-Type: multipart/mixed; boundary=b\r\n\r\nfoo\r\n";
	struct mime_part *part = walk(encoded, sizeof(encoded) - 1, 10);
	(void)state;

	assert_section(part, encoded, "1", "QUJD\r\n");
	assert_none(part, "1.1", -ENOENT);
	assert_none(part, "1.HEADER", -ENOENT);
	mime_part_destroy(part);
	part = walk(empty, sizeof(empty) - 1, 10);
	assert_section(part, empty, "TEXT", "foo\r\n");
	assert_section(part, empty, "1", "");
	assert_section(part, empty, "1.MIME", "");
	mime_part_destroy(part);
}

static void assert_leaves(
	const struct mime_part *root, const struct mime_part *message, const char *section)
{
	struct mime_leaves leaves;

	assert_int_equal(mime_leaves(message, section, &leaves), 0);
	for (size_t i = 0; i < leaves.count; i++) {
		const struct mime_leaf *leaf = &leaves.items[i];
		uint64_t offset, len;
		assert_int_equal(mime_part_locate(root, leaf->section, &offset, &len), 0);
		assert_true(offset == leaf->part->offset && len == leaf->part->size_bytes);
		const struct mime_part *attached = mime_message_at(root, leaf->section);
		assert_ptr_equal(attached, leaf->is_message ? leaf->part : NULL);
		if (leaf->is_message)
			assert_leaves(root, leaf->part, leaf->section);
	}
	mime_leaves_finish(&leaves);
}

/* The sections that mime_leaves() gives are found here. */
static void test_leaves(void **state)
{
	struct mime_part *part = walk(sample, sizeof(sample) - 1, 10);
	(void)state;
	assert_leaves(part, part, NULL);
	mime_part_destroy(part);
}

static void test_no_attached_message(void **state)
{
	static const char *const sections[] = {"", "0", "1", "4", "2.2", "2.HEADER", "2.MIME", "2.",
		".2", "02", "2.2.2.1", "2.2.2.1.1", "-2", "2 ", "99999999999999999999"};
	struct mime_part *part = walk(sample, sizeof(sample) - 1, 10);
	(void)state;
	for (size_t i = 0; i < sizeof(sections) / sizeof(*sections); i++)
		assert_null(mime_message_at(part, sections[i]));
	assert_ptr_equal(mime_message_at(part, "2"), part->children[1]);
	mime_part_destroy(part);
}

/* Nobody else has what was taken, and there are never two. */
static void test_kept(void **state)
{
	struct mime_kept kept;
	struct mime_part *first = mime_part_create(), *second = mime_part_create();
	(void)state;
	mime_kept_init(&kept);
	assert_null(mime_kept_take(&kept, 0));
	mime_kept_put(&kept, 1, first);
	assert_true(mime_kept_has(&kept, 1));
	assert_false(mime_kept_has(&kept, 2));
	assert_ptr_equal(mime_kept_take(&kept, 1), first);
	assert_false(mime_kept_has(&kept, 1));
	assert_null(mime_kept_take(&kept, 1));
	mime_kept_put(&kept, 1, first);
	mime_kept_put(&kept, 2, second);
	assert_null(mime_kept_take(&kept, 1));
	assert_false(mime_kept_has(&kept, 2));
	mime_kept_put(&kept, 3, mime_part_create());
	mime_kept_finish(&kept);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sections),
		cmocka_unit_test(test_missing),
		cmocka_unit_test(test_single),
		cmocka_unit_test(test_special),
		cmocka_unit_test(test_leaves),
		cmocka_unit_test(test_no_attached_message),
		cmocka_unit_test(test_kept),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
