/* SPDX-License-Identifier: MIT */
/* Messages beyond all limits, and mutated ones: time and results stay within bounds, and what is found is inside. */
#include "walk.h"

#define CPU_MS_MAX                                                                                 \
	20000 /* linear is a fraction of a second, quadratic are hours; with room for sanitizers */

static void push(struct mime_walker *walker, const char *text)
{
	assert_int_equal(mime_walker_push(walker, text, strlen(text)), 0);
}

/* len bytes of a character. */
static void push_many(struct mime_walker *walker, char c, size_t len)
{
	char piece[65536];

	memset(piece, c, sizeof(piece));
	for (; len > 0; len -= len < sizeof(piece) ? len : sizeof(piece))
		assert_int_equal(
			mime_walker_push(walker, piece, len < sizeof(piece) ? len : sizeof(piece)),
			0);
}

static struct mime_part *end(struct mime_walker *walker)
{
	struct mime_part *part = NULL;

	assert_int_equal(mime_walker_end(walker, &part), 0);
	mime_walker_destroy(walker);
	return part;
}

static size_t count_parts(const struct mime_part *part)
{
	size_t n = 1;

	for (size_t i = 0; i < part->child_count; i++)
		n += count_parts(part->children[i]);
	return n;
}

/* What fits into the form for the store, whole. */
static void assert_storable(const struct mime_part *part)
{
	struct str form = STR_INIT;
	struct mime_part *read = NULL;

	assert_int_equal(mime_part_serialize(part, &form), 0);
	assert_int_equal(mime_part_parse(form.data, form.len, &read), 0);
	assert_int_equal(count_parts(read), count_parts(part));
	mime_part_destroy(read);
	str_finish(&form);
}

static void test_deep(void **state)
{
	long start = cpu_ms();
	(void)state;

	for (int messages = 0; messages < 2; messages++) {
		struct mime_walker *walker = mime_walker_create();
		char line[100];
		for (int i = 0; i < 100000; i++) {
			snprintf(line, sizeof(line),
				"Content-Type: multipart/mixed; boundary=\"b%06d\"\n\n--b%06d\n", i,
				i);
			push(walker, messages ? "Content-Type: message/rfc822\n\n" : line);
		}
		struct mime_part *root = end(walker), *at = root;
		for (size_t depth = 1; depth < MIME_DEPTH_MAX; depth++) {
			assert_int_equal(at->child_count, 1);
			at = at->children[0];
		}
		assert_int_equal(at->child_count, 0);
		assert_string_equal(at->subtype, messages ? "rfc822" : "octet-stream");
		assert_int_equal(at->cut, MIME_CUT_DEPTH);
		assert_int_equal(mime_part_cuts(root), MIME_CUT_DEPTH);
		assert_true(at->size_bytes > (messages ? 2900000 : 5000000));
		assert_false(mime_part_is_message(at));
		assert_storable(root);
		mime_part_destroy(root);
	}
	assert_true(cpu_ms() - start < CPU_MS_MAX);
}

/* The rest belongs to the last part. */
static void test_wide(void **state)
{
	struct mime_walker *walker = mime_walker_create();
	long start = cpu_ms();
	(void)state;

	push(walker, "Content-Type: multipart/mixed; boundary=b\n\n");
	for (int i = 0; i < 1000000; i++)
		push(walker, "--b\n\nx\n");
	push(walker, "--b--\n");
	struct mime_part *root = end(walker);
	assert_int_equal(count_parts(root), MIME_PARTS_MAX);
	assert_int_equal(root->child_count, MIME_PARTS_MAX - 1);
	assert_int_equal(mime_part_cuts(root), MIME_CUT_COUNT);
	assert_int_equal(root->children[MIME_PARTS_MAX - 3]->size_bytes, 1);
	const struct mime_part *last = root->children[MIME_PARTS_MAX - 2];
	assert_true(last->offset + last->size_bytes == root->offset + root->size_bytes);
	assert_true(last->size_bytes > 6900000);
	assert_storable(root);
	mime_part_destroy(root);
	assert_true(cpu_ms() - start < CPU_MS_MAX);
}

/* As many as there may be are not too many. */
static void test_wide_enough(void **state)
{
	struct mime_walker *walker = mime_walker_create();
	(void)state;

	push(walker, "Content-Type: multipart/mixed; boundary=b\n\n");
	for (int i = 1; i < MIME_PARTS_MAX; i++)
		push(walker, "--b\n\nx\n");
	push(walker, "--b--\nepilogue\n");
	struct mime_part *root = end(walker);
	assert_int_equal(count_parts(root), MIME_PARTS_MAX);
	assert_int_equal(mime_part_cuts(root), 0);
	assert_int_equal(root->children[MIME_PARTS_MAX - 2]->size_bytes, 1);
	mime_part_destroy(root);
}

/* Multiparts that have no part each count for two; the limit holds for them as well. */
static void test_wide_empty(void **state)
{
	struct mime_walker *walker = mime_walker_create();
	(void)state;

	push(walker, "Content-Type: multipart/mixed; boundary=b\n\n");
	for (int i = 0; i < 20000; i++)
		push(walker, "--b\nContent-Type: multipart/mixed; boundary=c\n\n");
	struct mime_part *root = end(walker);
	size_t parts = count_parts(root);
	assert_true(parts <= MIME_PARTS_MAX && parts >= MIME_PARTS_MAX - 2);
	assert_storable(root);
	mime_part_destroy(root);
}

static void test_long_header(void **state)
{
	struct mime_walker *walker = mime_walker_create();
	(void)state;

	push(walker, "Content-Type: text/html\nX-Long: ");
	push_many(walker, 'z', 10000000);
	push(walker, "\nContent-Disposition: attachment\n\nbody\n");
	struct mime_part *part = end(walker);
	assert_string_equal(part->subtype, "html");
	assert_string_equal(part->disposition, "attachment"); /* however far behind */
	assert_int_equal(mime_part_cuts(part), 0);
	assert_int_equal(part->size_bytes, 5);
	assert_true(part->header_bytes > 10000000);
	mime_part_destroy(part);
}

static void test_long_lines(void **state)
{
	struct mime_walker *walker = mime_walker_create();
	long start = cpu_ms();
	(void)state;

	push(walker, "Content-Type: multipart/mixed; boundary=-\n\n---\n\n");
	push_many(walker, 'a', 100000000);
	push(walker, "\n--");
	push_many(walker, '-', 10000000);
	struct mime_part *part = end(walker);
	assert_int_equal(part->child_count, 1);
	assert_int_equal(part->children[0]->size_bytes, 100000000);
	mime_part_destroy(part);
	assert_true(cpu_ms() - start < CPU_MS_MAX);
}

/* Each line could be each of the open boundaries. */
static void test_many_candidates(void **state)
{
	struct mime_walker *walker = mime_walker_create();
	char *same = repeated("-", 200);
	char text[1000];
	long start = cpu_ms();
	(void)state;

	for (int i = 0; i < MIME_DEPTH_MAX - 1; i++) {
		snprintf(text, sizeof(text),
			"Content-Type: multipart/mixed; boundary=%s%02d\n\n--%s%02d\n", same, i,
			same, i);
		push(walker, text);
	}
	snprintf(text, sizeof(text), "\n--%s", same);
	for (int i = 0; i < 20000; i++)
		push(walker, text);
	struct mime_part *part = end(walker);
	assert_int_equal(count_parts(part), MIME_DEPTH_MAX);
	mime_part_destroy(part);
	free(same);
	assert_true(cpu_ms() - start < CPU_MS_MAX);
}

/* Parameters beyond what a structure may hold are left out; the parts are not. */
static void test_many_params(void **state)
{
	struct mime_walker *walker = mime_walker_create();
	struct str header = STR_INIT;
	long start = cpu_ms();
	(void)state;

	push(walker, "Content-Type: multipart/mixed; boundary=b\n\n");
	str_append_cstr(&header, "--b\nContent-Type: a/b");
	for (int i = 0; i < 300; i++)
		str_printf(&header, ";a*%d=", i);
	str_append_cstr(&header, "\n\nx\n");
	for (int i = 0; i < 3000; i++)
		push(walker, header.data);
	struct mime_part *part = end(walker);
	assert_int_equal(part->child_count, 3000);
	assert_int_equal(part->children[0]->params.count, 1);
	assert_string_equal(part->children[0]->type, "a");
	assert_int_equal(part->children[100]->params.count, 1);
	assert_int_equal(
		part->children[500]->params.count, 0); /* they count for more than their bytes */
	assert_int_equal(part->children[2999]->params.count, 0);
	assert_int_equal(part->children[0]->cut, 0);
	assert_int_equal(part->children[2999]->cut, MIME_CUT_HEADER);
	mime_part_destroy(part);
	str_finish(&header);
	assert_true(cpu_ms() - start < CPU_MS_MAX);
}

/* --- Mutations --- */

static const char *const seeds[] = {
	"Content-Type: multipart/mixed; boundary=\"b\"\n\npre\n--b\n\nhello\n"
	"--b\nContent-Type: message/rfc822\n\nSubject: i\nContent-Type: multipart/digest; boundary=bb\n\n"
	"--bb\n\nSubject: x\n\none\n--bb--\n\n--b\nContent-Type: image/png; name=a.png\n"
	"Content-Disposition: attachment; filename*0*=utf-8''a; filename*1=b\n"
	"Content-Transfer-Encoding: base64\n\nQUJD\n--b--\nepi\n",
	"Content-Type: message/rfc822\n\nContent-Type: multipart/a; boundary=b--\n\n--b--\n"
	"Content-Type: multipart/b; boundary=b\n\n--b\n\nx\n--b--\n--b----\n",
};
static const char *const pieces[] = {"--b", "--b--", "--bb", "\n", "\n\n", "\r\n", "\r", "--", ": ",
	";", "=", "\"", "Content-Type: multipart/mixed; boundary=b\n\n",
	"Content-Type: message/rfc822\n\n", "(", "\\", "*", "%", " "};

/* Changes a byte, takes some out, or puts a piece in. */
static void mutate(struct str *text, uint64_t *random)
{
	struct str out = STR_INIT;
	size_t at = text->len > 0 ? next_random(random) % text->len : 0, skip = 0;

	str_append(&out, text->data, at);
	switch (next_random(random) % 3) {
	case 0:
		str_putc(&out, (char)next_random(random));
		skip = 1;
		break;
	case 1:
		skip = next_random(random) % 20;
		break;
	default:
		str_append_cstr(&out, pieces[next_random(random) % COUNT(pieces)]);
	}
	if (at + skip < text->len)
		str_append(&out, text->data + at + skip, text->len - at - skip);
	assert_int_equal(str_error(&out), 0);
	str_finish(text);
	*text = out;
}

/* Header, body and parts follow upon each other and lie inside of start and end. */
static void assert_inside(const struct mime_part *part, uint64_t start, uint64_t end)
{
	assert_true(part->located && part->type && part->subtype && part->encoding);
	assert_true(part->header_offset >= start);
	assert_true(part->header_offset + part->header_bytes == part->offset);
	assert_true(part->offset + part->size_bytes <= end);
	end = part->offset + part->size_bytes;
	start = part->offset;
	for (size_t i = 0; i < part->child_count; i++) {
		const struct mime_part *child = part->children[i];
		assert_inside(child, start, end);
		start = child->offset + child->size_bytes;
	}
	if (strcmp(part->type, "message") == 0 && part->child_count > 0)
		assert_true(part->child_count == 1 &&
			    part->children[0]->header_offset == part->offset && start == end);
}

static void check_mutation(const struct str *text, uint64_t *random)
{
	size_t step = 1 + next_random(random) % 9;
	struct mime_part *whole = walk(str_cstr(text), text->len, SIZE_MAX / 2);
	struct mime_part *cut = walk(str_cstr(text), text->len, step);
	struct str a = STR_INIT, b = STR_INIT;

	assert_inside(whole, 0, text->len);
	assert_true(whole->header_offset == 0 && whole->offset + whole->size_bytes == text->len);
	assert_storable(whole);
	assert_int_equal(mime_part_serialize(whole, &a), 0);
	assert_int_equal(mime_part_serialize(cut, &b), 0);
	assert_int_equal(a.len, b.len);
	assert_memory_equal(a.data, b.data, a.len);
	str_finish(&a);
	str_finish(&b);
	mime_part_destroy(whole);
	mime_part_destroy(cut);
}

static void test_mutations(void **state)
{
	uint64_t random = 11;
	(void)state;

	for (int round = 0; round < 3000; round++) {
		const char *seed = seeds[next_random(&random) % COUNT(seeds)];
		struct str text = STR_INIT;
		text_with(seed, strlen(seed), (enum line_ends)(round % LINE_ENDS_COUNT), &text);
		for (unsigned n = next_random(&random) % 12; n > 0; n--)
			mutate(&text, &random);
		check_mutation(&text, &random);
		str_finish(&text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_wide),
		cmocka_unit_test(test_wide_enough),
		cmocka_unit_test(test_wide_empty),
		cmocka_unit_test(test_long_header),
		cmocka_unit_test(test_long_lines),
		cmocka_unit_test(test_many_candidates),
		cmocka_unit_test(test_many_params),
		cmocka_unit_test(test_mutations),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
