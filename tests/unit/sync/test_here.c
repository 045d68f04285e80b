/* SPDX-License-Identifier: MIT */
/* What is here whole needs no server: sections are cut out of it, its structure is found in it. Where in doubt, they are not. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "body.h"
#include "fixture.h"
#include "mailfs/store.h"
#include "mailfs/util/clock.h"

static const char message[] =
	"From: a@example.org\r\nSubject: three parts\r\nMIME-Version: 1.0\r\n"
	"Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\npreamble\r\n"
	"--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nHello.\r\n"
	"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"
	"JVBERi0xLjQK\r\n"
	"--b\r\nContent-Type: message/rfc822\r\n\r\n"
	"Subject: inner\r\n\r\nInner text.\r\n"
	"--b--\r\n";
#define MESSAGE_LEN (sizeof(message) - 1)

static bool unreadable;               /* the store has lost what it held */
static const struct store_body *lost; /* … of this one */

ssize_t __real_store_body_read(struct store_body *body, void *buf, size_t len, uint64_t offset);
ssize_t __wrap_store_body_read(struct store_body *body, void *buf, size_t len, uint64_t offset);

ssize_t __wrap_store_body_read(struct store_body *body, void *buf, size_t len, uint64_t offset)
{
	return unreadable || (lost && body == lost)
	               ? -ENODATA
	               : __real_store_body_read(body, buf, len, offset);
}

static int setup(void **state)
{
	unreadable = false;
	lost = NULL;
	return fixture_setup(state);
}

static struct mime_part *walk(const char *data, size_t len)
{
	struct mime_walker *walker = mime_walker_create();
	struct mime_part *part;
	assert_int_equal(mime_walker_push(walker, data, len), 0);
	assert_int_equal(mime_walker_end(walker, &part), 0);
	mime_walker_destroy(walker);
	return part;
}

/* As a server tells it: without places, and without the size of a multipart. */
static void forget_places(struct mime_part *part)
{
	part->located = false;
	part->header_offset = part->header_bytes = part->offset = 0;
	if (mime_part_is_multipart(part))
		part->size_bytes = 0;
	for (size_t i = 0; i < part->child_count; i++)
		forget_places(part->children[i]);
}

static void store_structure(struct fixture *f, const struct mime_part *part)
{
	struct str data = STR_INIT;
	assert_int_equal(mime_part_serialize(part, &data), 0);
	assert_int_equal(store_structure_put(f->store, f->told->number, 5, data.data, data.len), 0);
	str_finish(&data);
}

static struct mime_part *stored_structure(struct fixture *f)
{
	struct str data = STR_INIT;
	struct mime_part *part;
	assert_int_equal(store_structure_get(f->store, f->told->number, 5, &data), 0);
	assert_int_equal(mime_part_parse(data.data, data.len, &part), 0);
	str_finish(&data);
	return part;
}

static void go_away(struct fixture *f)
{
	pthread_mutex_lock(&f->fake.lock);
	f->fake.connect_failures = -1;
	f->fake.drop_sessions = true;
	f->fake.generation++;
	pthread_mutex_unlock(&f->fake.lock);
}

/* Reads all of the message. */
static void fetch_message(struct sync_folder *folder)
{
	struct sync_body *body;
	assert_int_equal(sync_body_open(folder, 5, "", NULL, MESSAGE_LEN, &body), 0);
	assert_read(body, message, 0, MESSAGE_LEN);
	sync_body_close(body);
}

static const struct mime_leaf *leaf_of(const struct mime_leaves *leaves, const char *section)
{
	for (size_t i = 0; i < leaves->count; i++)
		if (strcmp(leaves->items[i].section, section) == 0)
			return &leaves->items[i];
	fail_msg("no leaf %s", section);
	return NULL;
}

/* Reads a section, up to 200 bytes. */
static ssize_t read_section(
	struct sync_folder *folder, const char *section, const struct mime_leaf *leaf, char *out)
{
	struct sync_body *body;
	assert_int_equal(sync_body_open(folder, 5, section, leaf, UINT64_MAX, &body), 0);
	ssize_t n = body_read(body, out, 200, 0);
	sync_body_close(body);
	return n;
}

static void check_section(struct sync_folder *folder, const char *section,
	const struct mime_leaf *leaf, const char *expect)
{
	char out[200];
	ssize_t n = read_section(folder, section, leaf, out);
	assert_int_equal(n, strlen(expect));
	assert_memory_equal(out, expect, strlen(expect));
}

static void check_parts(struct sync_folder *folder, const struct mime_part *structure)
{
	struct mime_leaves leaves, inner;
	assert_int_equal(mime_leaves(structure, NULL, &leaves), 0);
	check_section(folder, "1", leaf_of(&leaves, "1"), "Hello.");
	check_section(folder, "2", leaf_of(&leaves, "2"), "%PDF-1.4\n");
	const struct mime_leaf *attached = leaf_of(&leaves, "3");
	assert_true(attached->is_message);
	assert_int_equal(mime_leaves(attached->part, attached->section, &inner), 0);
	check_section(folder, "3.1", leaf_of(&inner, "3.1"), "Inner text.");
	check_section(folder, "3.HEADER", NULL, "Subject: inner\r\n\r\n");
	mime_leaves_finish(&inner);
	mime_leaves_finish(&leaves);
}

static const char header[] = "From: a@example.org\r\nSubject: three parts\r\nMIME-Version: 1.0\r\n"
			     "Content-Type: multipart/mixed; boundary=\"b\"\r\n\r\n";

static void test_sections_without_the_server(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = fixture_start_with(f, message, MESSAGE_LEN, MESSAGE_LEN);
	struct mime_part *structure = walk(message, MESSAGE_LEN);
	forget_places(structure);
	store_structure(f, structure);
	fetch_message(folder);
	go_away(f);
	check_parts(folder, structure);
	check_section(folder, "HEADER", NULL, header);
	assert_int_equal(fake_counts(&f->fake).bodies, 1);
	mime_part_destroy(structure);
	/* What was found is kept, and still the server's own. */
	structure = stored_structure(f);
	assert_true(structure->located);
	assert_string_equal(mime_params_get(&structure->children[0]->params, "charset"), "utf-8");
	check_parts(folder, structure);
	mime_part_destroy(structure);
}

/* Also where all who are connected are busy, and nobody else can connect. */
static void test_sections_while_all_are_busy(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = fixture_start_with(f, message, MESSAGE_LEN, MESSAGE_LEN);
	struct mime_part *structure = walk(message, MESSAGE_LEN);
	struct reader reader;
	forget_places(structure);
	store_structure(f, structure);
	fetch_message(folder);
	FAKE_SET(&f->fake, hold_connects, true);
	FAKE_SET(&f->fake, hold_rows, true);
	reader_init(&reader, 20000);
	assert_int_equal(sync_folder_refresh(folder, &reader.waiter), -EINPROGRESS);
	int64_t since = clock_now_ms();
	check_section(folder, "HEADER", NULL, header);
	check_parts(folder, structure);
	assert_true(clock_now_ms() - since < 5000); /* in which nobody gives up connecting */
	FAKE_SET(&f->fake, hold_rows, false);
	FAKE_SET(&f->fake, hold_connects, false);
	assert_int_equal(reader_wait(&reader), 0);
	reader_finish(&reader);
	mime_part_destroy(structure);
}

static void test_structure_without_the_server(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = fixture_start_with(f, message, MESSAGE_LEN, MESSAGE_LEN);
	fetch_message(folder);
	go_away(f);
	assert_int_equal(structure(folder, 5), 0);
	struct mime_part *structure = stored_structure(f);
	check_parts(folder, structure);
	mime_part_destroy(structure);
	assert_int_equal(fake_counts(&f->fake).bodies, 1);
}

/* What the server tells can not be understood: the message's bytes can. */
static void test_structure_not_understood(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = fixture_start_with(f, message, MESSAGE_LEN, MESSAGE_LEN);
	FAKE_SET(&f->fake, mailboxes[0].messages[0].nil_structure, true);
	fetch_message(folder);
	assert_int_equal(structure(folder, 5), 0);
	struct mime_part *structure = stored_structure(f);
	assert_int_equal(structure->child_count, 3);
	check_parts(folder, structure);
	mime_part_destroy(structure);
}

/* The message is not here: neither. */
static void test_not_here(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = fixture_start_with(f, message, MESSAGE_LEN, MESSAGE_LEN);
	char out[200];
	go_away(f);
	assert_int_equal(structure(folder, 5), -EHOSTUNREACH);
	assert_int_equal(read_section(folder, "HEADER", NULL, out), -EHOSTUNREACH);
}

/* The structure that the server tells is not that of the bytes: a part is the server's to give. */
static void check_disagreement(
	struct fixture *f, struct sync_folder *folder, struct mime_part *structure)
{
	struct mime_leaves leaves;
	char out[200];
	store_structure(f, structure);
	assert_int_equal(mime_leaves(structure, NULL, &leaves), 0);
	assert_int_equal(read_section(folder, "1", leaf_of(&leaves, "1"), out), -EHOSTUNREACH);
	check_section(folder, "HEADER", NULL, header);
	mime_leaves_finish(&leaves);
}

static void test_disagreement(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = fixture_start_with(f, message, MESSAGE_LEN, MESSAGE_LEN);
	fetch_message(folder);
	go_away(f);
	for (int i = 0; i < 4; i++) {
		struct mime_part *structure = walk(message, MESSAGE_LEN);
		forget_places(structure);
		if (i == 0)
			structure->children[0]->size_bytes++;
		if (i == 1)
			structure->children[1]->encoding[0] = 'q';
		if (i == 2)
			structure->children[2]->children[0]->size_bytes--;
		if (i == 3)
			structure->children[0]->subtype[0] = 'h';
		check_disagreement(f, folder, structure);
		mime_part_destroy(structure);
	}
}

/* The store loses the message while its part is read: the server has it. */
static void test_damaged(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = fixture_start_with(f, message, MESSAGE_LEN, MESSAGE_LEN);
	struct mime_part *structure = walk(message, MESSAGE_LEN);
	store_structure(f, structure);
	fetch_message(folder);
	unreadable = true;
	struct mime_leaves leaves;
	char out[200];
	assert_int_equal(mime_leaves(structure, NULL, &leaves), 0);
	assert_true(read_section(folder, "1", leaf_of(&leaves, "1"), out) > 0);
	assert_int_equal(fake_counts(&f->fake).bodies, 2);
	mime_leaves_finish(&leaves);
	mime_part_destroy(structure);
}

#define LINES 12000
#define LINE  "bWFpbGZzIGlzIGEgZmlsZXN5c3RlbSB0aGF0IG1vdW50cyBtYWlsYm94ZXMsIGFuZCB0aGlz\r\n"
#define PLAIN "mailfs is a filesystem that mounts mailboxes, and this"
#define BEFORE                                                                                            \
	"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n--b\r\n\r\nHello.\r\n" \
	"--b\r\nContent-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n"

/* A message with a part that is decoded in several steps; no line of it is as another. */
static char *large_message(size_t *ret_part_len, size_t *ret_len, char *plain)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef";
	size_t before = strlen(BEFORE), line = strlen(LINE);
	char *data = malloc(before + LINES * line + 20);
	strcpy(data, BEFORE);
	for (size_t i = 0; i < LINES; i++) {
		char *to = data + before + i * line;
		memcpy(to, LINE, line);
		memcpy(plain + i * strlen(PLAIN), PLAIN, strlen(PLAIN));
		/* Three bytes of each tell which it is. */
		to[0] = to[1] = 'A';
		to[2] = digits[i >> 10 & 31];
		to[3] = digits[i & 31];
		plain[i * strlen(PLAIN)] = 0;
		plain[i * strlen(PLAIN) + 1] = (char)((i >> 10 & 31) >> 2);
		plain[i * strlen(PLAIN) + 2] = (char)(((i >> 10 & 31) << 6) | (i & 31));
	}
	strcpy(data + before + LINES * line - 2, "\r\n--b--\r\n");
	*ret_part_len = LINES * line - 2;
	*ret_len = strlen(BEFORE) + *ret_part_len + strlen("\r\n--b--\r\n");
	return data;
}

/* The same while it is decoded half way, from a server whose ranges are wrong: it gives all of it, and decoding begins anew. */
static void test_damaged_half_way(void **state)
{
	struct fixture *f = *state;
	size_t part_len, len, plain_len = LINES * strlen(PLAIN);
	char *plain = malloc(plain_len), *data = large_message(&part_len, &len, plain);
	char *out = malloc(len + 1);
	struct sync_folder *folder = fixture_start_with(f, data, len, len);
	struct mime_part *structure = walk(data, len);
	struct mime_leaves leaves;
	struct sync_body *whole, *body;
	atomic_store(&f->account->ranges_distrusted, true);
	store_structure(f, structure);
	assert_int_equal(sync_body_open(folder, 5, "", NULL, len, &whole), 0);
	assert_int_equal(body_read_all(whole, out, len), len);
	assert_int_equal(mime_leaves(structure, NULL, &leaves), 0);
	assert_int_equal(
		sync_body_open(folder, 5, "2", leaf_of(&leaves, "2"), UINT64_MAX, &body), 0);
	assert_read(body, plain, 0, 100);
	assert_true(body->decoded_pos > 0 && body->decoded_pos < plain_len);
	lost = whole->store;
	/* From now on the server is asked, for the part. */
	FAKE_SET(&f->fake, mailboxes[0].messages[0].data, data + strlen(BEFORE));
	FAKE_SET(&f->fake, mailboxes[0].messages[0].len, part_len);
	assert_int_equal(body_read_all(body, out, plain_len + 1), plain_len);
	assert_memory_equal(out, plain, plain_len);
	sync_body_close(body);
	sync_body_close(whole);
	mime_leaves_finish(&leaves);
	mime_part_destroy(structure);
	fixture_end(f);
	free(data);
	free(plain);
	free(out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_sections_without_the_server),
		TEST(test_sections_while_all_are_busy),
		TEST(test_structure_without_the_server),
		TEST(test_structure_not_understood),
		TEST(test_not_here),
		TEST(test_disagreement),
		TEST(test_damaged),
		TEST(test_damaged_half_way),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
