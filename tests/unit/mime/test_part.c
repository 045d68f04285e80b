/* SPDX-License-Identifier: MIT */
/* Structures, and their form for the store: what is written is read, and nothing else is. */
#include "tree.h"

static struct mime_part *sample(void)
{
	struct mime_part *root = part_new("multipart/mixed", "; boundary=x", NULL, "7bit", 0);
	struct mime_part *alternative =
		part_in(root, part_new("multipart/alternative", NULL, NULL, "", 0));
	struct mime_part *message;

	part_in(alternative, part_new("text/plain", "; charset=koi8-r", NULL, "base64", 1000));
	part_in(alternative,
		part_new("text/html", "; charset=utf-8", NULL, "quoted-printable", 200));
	part_in(root, part_new("image/png", "; name=a.png", "; filename*=utf-8''%C3%A9.png",
			      "base64", UINT64_MAX));
	message = part_in(root, part_new("message/rfc822", NULL, NULL, "7bit", 300));
	part_in(message, part_new("text/plain", NULL, NULL, "", 128));
	part_in(root, mime_part_create());
	message->located = true;
	message->header_offset = 70000;
	message->header_bytes = 129;
	message->offset = UINT64_MAX - 300;
	message->cut = MIME_CUT_DEPTH | MIME_CUT_HEADER;
	return root;
}

static void assert_same_text(const char *a, const char *b)
{
	assert_int_equal(!a, !b);
	if (a)
		assert_string_equal(a, b);
}

static void assert_same_params(const struct mime_params *a, const struct mime_params *b)
{
	assert_int_equal(a->count, b->count);
	for (size_t i = 0; i < a->count; i++) {
		assert_string_equal(a->items[i].name, b->items[i].name);
		assert_string_equal(a->items[i].value, b->items[i].value);
	}
}

static void assert_same_part(const struct mime_part *a, const struct mime_part *b)
{
	assert_same_text(a->type, b->type);
	assert_same_text(a->subtype, b->subtype);
	assert_same_text(a->disposition, b->disposition);
	assert_same_text(a->encoding, b->encoding);
	assert_same_params(&a->params, &b->params);
	assert_same_params(&a->disposition_params, &b->disposition_params);
	assert_true(a->size_bytes == b->size_bytes);
	assert_int_equal(a->located, b->located);
	assert_int_equal(a->cut, b->cut);
	assert_true(a->header_offset == b->header_offset && a->header_bytes == b->header_bytes);
	assert_true(a->offset == b->offset);
	assert_int_equal(a->child_count, b->child_count);
	for (size_t i = 0; i < a->child_count; i++)
		assert_same_part(a->children[i], b->children[i]);
}

static void test_round_trip(void **state)
{
	struct mime_part *part = sample(), *read = NULL;
	struct str form = STR_INIT;
	(void)state;

	assert_int_equal(mime_part_serialize(part, &form), 0);
	assert_int_equal(mime_part_parse(form.data, form.len, &read), 0);
	assert_same_part(part, read);
	assert_string_equal(
		mime_params_get(&read->children[1]->disposition_params, "filename"), "é.png");
	mime_part_destroy(part);
	mime_part_destroy(read);
	str_finish(&form);
}

/* A prefix of the form, or the form and something behind it, is refused. */
static void test_truncated(void **state)
{
	struct mime_part *part = sample(), *read = NULL;
	struct str form = STR_INIT;
	(void)state;

	assert_int_equal(mime_part_serialize(part, &form), 0);
	for (size_t len = 0; len < form.len; len++) {
		char *copy = malloc(len ? len : 1);
		memcpy(copy, form.data, len);
		assert_int_equal(mime_part_parse(copy, len, &read), -EINVAL);
		assert_null(read);
		free(copy);
	}
	str_putc(&form, 0);
	assert_int_equal(mime_part_parse(form.data, form.len, &read), -EINVAL);
	mime_part_destroy(part);
	str_finish(&form);
}

/* What is accepted is the form of what was read, to the byte. */
static bool check_accepted(const char *data, size_t len)
{
	struct mime_part *read = NULL;
	struct str again = STR_INIT;
	int r = mime_part_parse(data, len, &read);

	if (r < 0) {
		assert_int_equal(r, -EINVAL);
		assert_null(read);
		return false;
	}
	assert_int_equal(mime_part_serialize(read, &again), 0);
	assert_int_equal(again.len, len);
	assert_memory_equal(again.data, data, len);
	str_finish(&again);
	mime_part_destroy(read);
	return true;
}

static void test_damaged(void **state)
{
	struct mime_part *part = sample();
	struct str form = STR_INIT;
	uint64_t random = 3;
	unsigned accepted = 0;
	(void)state;

	assert_int_equal(mime_part_serialize(part, &form), 0);
	for (size_t i = 0; i < form.len; i++) {
		for (int value = 0; value < 256; value++) {
			char was = form.data[i];
			form.data[i] = (char)value;
			accepted += check_accepted(form.data, form.len);
			form.data[i] = was;
		}
	}
	assert_true(accepted > form.len);
	for (int round = 0; round < 20000; round++) {
		char garbage[64];
		size_t len = next_random(&random) % sizeof(garbage);
		for (size_t i = 0; i < len; i++)
			garbage[i] = (char)(next_random(&random) % (round % 2 ? 256 : 4));
		check_accepted(garbage, len);
	}
	mime_part_destroy(part);
	str_finish(&form);
}

static void assert_refused(const char *form, size_t len)
{
	struct mime_part *read = NULL;
	assert_int_equal(mime_part_parse(form, len, &read), -EINVAL);
	assert_null(read);
}

static void test_refused(void **state)
{
	static const char least[] = "\x03\0\0\0\0\0\0\0\0\0\0";
	struct mime_part *read = NULL;
	(void)state;

	assert_int_equal(mime_part_parse(least, 11, &read), 0);
	mime_part_destroy(read);
	assert_refused(NULL, 0);
	/* The forms of before, which had no place, or did not say what was cut; one to come. */
	assert_refused("\x01\0\0\0\0\0\0\0\0", 9);
	assert_refused("\x02\0\0\0\0\0\0\0\0\0", 10);
	assert_refused("\x02\0\0\0\0\0\0\0\0\0\0", 11);
	assert_refused("\x04\0\0\0\0\0\0\0\0\0\0", 11);
	/* A number longer than it needs to be, one that overflows, one that never ends. */
	assert_refused("\x03\x80\0\0\0\0\0\0\0\0\0\0", 12);
	assert_refused("\x03\0\0\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02\0\0\0", 20);
	assert_refused("\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 15);
	/* Lengths and counts that promise more than there is. */
	assert_refused("\x03\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\0\0\0\0\0\0\0\0", 20);
	assert_refused("\x03\0\0\0\0\xff\xff\x03\0\0\0\0\0", 13);
	assert_refused("\x03\0\0\0\0\0\0\0\0\0\xff\xff\xff\x7f", 14);
	/* A NUL in a text; a parameter without a name; one with capitals. */
	assert_refused("\x03\x03"
		       "a\0\0\0\0\0\0\0\0\0\0",
		13);
	assert_refused("\x03\0\0\0\0\x01\0\x01\0\0\0\0\0", 13);
	assert_refused("\x03\0\0\0\0\x01\x02"
		       "A\x01\0\0\0\0\0",
		14);
	/* A place that is neither known nor not; a header and a body that end beyond all bytes. */
	assert_int_equal(mime_part_parse("\x03\0\0\0\0\0\0\x01\x01\0\0\x05\0\0", 14, &read), 0);
	mime_part_destroy(read);
	read = NULL;
	assert_refused("\x03\0\0\0\0\0\0\x01\x02\0\0\x05\0\0", 14);
	assert_refused(
		"\x03\0\0\0\0\0\0\0\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\0\0", 23);
	assert_refused(
		"\x03\0\0\0\0\0\0\x01\x01\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\0\0", 23);
	/* A cut for a reason that there is not. */
	assert_int_equal(mime_part_parse("\x03\0\0\0\0\0\0\0\0\x3f\0", 11, &read), 0);
	assert_int_equal(read->cut, 0x3f);
	mime_part_destroy(read);
	read = NULL;
	assert_refused("\x03\0\0\0\0\0\0\0\0\x40\0", 11);
	assert_refused("\x03\0\0\0\0\0\0\0\0\x80\x80\x80\x80\x10\0", 15);
}

static size_t count_parts(const struct mime_part *part)
{
	size_t n = 1;
	for (size_t i = 0; i < part->child_count; i++)
		n += count_parts(part->children[i]);
	return n;
}

static size_t depth_of(const struct mime_part *part)
{
	size_t depth = 1;
	for (; part->child_count > 0; part = part->children[0])
		depth++;
	return depth;
}

/* Trees beyond the limits are cut off when they are written; those that are written so all the same, refused. */
static void test_limits(void **state)
{
	struct mime_part *root = part_new("multipart/mixed", NULL, NULL, "", 0), *at = root, *read;
	struct str form = STR_INIT;
	(void)state;

	for (int i = 0; i < 100000; i++)
		at = part_in(at, part_new("multipart/mixed", NULL, NULL, "", 0));
	assert_int_equal(mime_part_serialize(root, &form), 0);
	assert_int_equal(mime_part_parse(form.data, form.len, &read), 0);
	assert_int_equal(depth_of(read), MIME_DEPTH_MAX);
	assert_int_equal(mime_part_cuts(read), MIME_CUT_DEPTH);
	assert_int_equal(read->cut, 0); /* it is said where it is */
	mime_part_destroy(read);
	mime_part_destroy(root);

	str_reset(&form);
	root = part_new("multipart/mixed", NULL, NULL, "", 0);
	at = part_in(root, part_new("multipart/mixed", NULL, NULL, "", 0));
	for (int i = 0; i < 2 * MIME_PARTS_MAX; i++)
		part_in(at, mime_part_create());
	part_in(root, mime_part_create());
	assert_int_equal(mime_part_serialize(root, &form), 0);
	assert_int_equal(mime_part_parse(form.data, form.len, &read), 0);
	assert_int_equal(count_parts(read), MIME_PARTS_MAX);
	assert_int_equal(mime_part_cuts(read), MIME_CUT_COUNT);
	mime_part_destroy(read);
	mime_part_destroy(root);
	str_finish(&form);
}

static void test_too_deep_refused(void **state)
{
	struct str form = STR_INIT;
	(void)state;

	str_putc(&form, 3);
	for (int i = 0; i < 100000; i++)
		str_append(&form, "\0\0\0\0\0\0\0\0\0\x01", 10);
	str_append(&form, "\0\0\0\0\0\0\0\0\0\0", 10);
	assert_refused(form.data, form.len);
	str_finish(&form);
}

static void test_kinds(void **state)
{
	static const struct {
		const char *type, *encoding;
		bool child, multipart, message;
	} cases[] = {
		{"multipart/mixed", "", true, true, false},
		{"multipart/x", "", false, true, false},
		{"text/plain", "", false, false, false},
		{"message/rfc822", "", true, false, true},
		{"message/rfc822", "8bit", true, false, true},
		{"message/global", "8bit", true, false, true},
		{"message/rfc822", "", false, false, false},
		{"message/rfc822", "base64", true, false, false},
		{"message/rfc822", "quoted-printable", true, false, false},
		{"message/partial", "", true, false, false},
		{"text/rfc822", "", true, false, false},
	};
	struct mime_part *empty = mime_part_create();
	(void)state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct mime_part *part = part_new(cases[i].type, NULL, NULL, cases[i].encoding, 0);
		if (cases[i].child)
			part_in(part, mime_part_create());
		assert_int_equal(mime_part_is_multipart(part), cases[i].multipart);
		assert_int_equal(mime_part_is_message(part), cases[i].message);
		mime_part_destroy(part);
	}
	assert_false(mime_part_is_multipart(empty));
	assert_false(mime_part_is_message(empty));
	mime_part_destroy(empty);
	mime_part_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_round_trip),
		cmocka_unit_test(test_truncated),
		cmocka_unit_test(test_damaged),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_too_deep_refused),
		cmocka_unit_test(test_kinds),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
