/* SPDX-License-Identifier: MIT */
/* A server whose ranges are wrong: messages come whole, into the store and to their readers, and none is held; large parts are cut out of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "body.h"
#include "fixture.h"
#include "mailfs/store.h"
#include "private.h"

#define MIB      ((size_t)1 << 20)
#define HELD_MAX (8 * MIB)

/* The largest piece of memory that anybody has asked for. */
static atomic_size_t largest;
void *__real_realloc(void *data, size_t size);
void *__wrap_realloc(void *data, size_t size);
void *__wrap_realloc(void *data, size_t size)
{
	if (size > largest)
		largest = size;
	return __real_realloc(data, size);
}

/* The disk, or the cache, is full. */
static atomic_int full;
int __real_store_body_write(struct store_body *body, const void *data, size_t len, uint64_t offset);
int __wrap_store_body_write(struct store_body *body, const void *data, size_t len, uint64_t offset);
int __wrap_store_body_write(struct store_body *body, const void *data, size_t len, uint64_t offset)
{
	return full < 0 ? full : __real_store_body_write(body, data, len, offset);
}

static struct sync_folder *start(struct fixture *f, const char *data, size_t len)
{
	fake_can_bulk(&f->fake);
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	fake_message_add(inbox, 5, data, len);
	fixture_start(f);
	struct sync_folder *folder = fixture_inbox(f);
	atomic_store(&f->account->ranges_distrusted, true);
	largest = 0;
	return folder;
}

static void read_all(struct sync_body *body, const char *data, size_t len)
{
	char *out = malloc(len + 1);
	assert_int_equal(body_read_all(body, out, len + 1), len);
	assert_memory_equal(out, data, len);
	free(out);
}

static void test_message(void **state)
{
	struct fixture *f = *state;
	size_t len = 20 * MIB + 7;
	const char *data = pattern(len);
	struct sync_folder *folder = start(f, data, len);
	struct sync_body *body;
	assert_int_equal(sync_body_open(folder, 5, "", NULL, len, &body), 0);
	assert_read(body, data, 15 * MIB, 1000);
	read_all(body, data, len);
	struct fake_counts counts = fake_counts(&f->fake);
	assert_int_equal(counts.bodies, 0);
	assert_int_equal(counts.bytes, len);
	assert_true(largest <= HELD_MAX);
	sync_body_close(body);
}

/* Cut off in the middle, once: it is fetched again, and right. Not understood to its end: no file. */
static void test_cut(void **state)
{
	struct fixture *f = *state;
	size_t len = 6 * MIB;
	const char *data = pattern(len);
	struct sync_folder *folder = start(f, data, len);
	struct sync_body *body;
	uint64_t size;
	FAKE_SET(&f->fake, bulk_broken, 5);
	assert_int_equal(sync_body_open(folder, 5, "", NULL, len, &body), 0);
	assert_int_equal(body_size(body, &size), -EIO);
	FAKE_SET(&f->fake, bulk_broken, 0);
	FAKE_SET(&f->fake, drop_bulk_at, 5);
	FAKE_SET(&f->fake, drop_bulk, 1);
	read_all(body, data, len);
	sync_body_close(body);
}

/* Of the announced size, and empty; and another size than announced. */
static void test_sizes(void **state)
{
	struct fixture *f = *state;
	size_t len = 5 * MIB;
	const char *data = pattern(len);
	struct sync_folder *folder = start(f, data, len);
	struct sync_body *body;
	uint64_t size;
	char buf[100];
	FAKE_SET(&f->fake, mailboxes[0].messages[0].len, 0);
	assert_int_equal(sync_body_open(folder, 5, "", NULL, len, &body), 0);
	assert_int_equal(body_read(body, buf, sizeof(buf), 0), -EIO);
	FAKE_SET(&f->fake, mailboxes[0].messages[0].len, len - 10);
	assert_int_equal(body_size(body, &size), 0);
	assert_int_equal(size, len - 10);
	assert_int_equal(f->told->size, len - 10);
	read_all(body, data, len - 10);
	sync_body_close(body);
}

/* It can not be kept: it can be read all the same, from any place, and whoever wants it kept hears why it is not. */
static void not_kept(struct fixture *f, int why)
{
	size_t len = 10 * MIB + 7;
	const char *data = pattern(len);
	struct sync_folder *folder = start(f, data, len);
	struct sync_body *body;
	struct reader reader;
	char buf[100];
	full = why;
	assert_int_equal(sync_body_open(folder, 5, "", NULL, len, &body), 0);
	reader_init(&reader, 20000);
	assert_int_equal(body_download(body, &reader.waiter), -EINPROGRESS);
	assert_int_equal(reader_wait(&reader), why);
	reader_finish(&reader);
	assert_read(body, data, 9 * MIB, 1000);
	assert_read(body, data, 4 * MIB - 1, 1000);
	assert_int_equal(body_read(body, buf, sizeof(buf), len + 5 * MIB), 0);
	read_all(body, data, len);
	assert_true(largest <= HELD_MAX);
	assert_true(fake_counts(&f->fake).bytes <= 8 * len);
	/* Of the body, which its job may keep for a moment, another window is held than the one that is asked for next. */
	assert_read(body, data, 0, 1000);
	sync_body_close(body);
	/* Not understood to its end: none of it counts. */
	assert_int_equal(sync_body_open(folder, 5, "", NULL, len, &body), 0);
	FAKE_SET(&f->fake, bulk_broken, 5);
	assert_int_equal(body_read(body, buf, sizeof(buf), 9 * MIB), -EIO);
	full = 0;
	FAKE_SET(&f->fake, bulk_broken, 0);
	read_all(body, data, len);
	sync_body_close(body);
}

static void test_cache_full(void **state)
{
	not_kept(*state, -EDQUOT);
}

static void test_disk_full(void **state)
{
	not_kept(*state, -ENOSPC);
}

/* Larger than announced, too: the announced size would have been held. */
static void test_not_kept_and_larger(void **state)
{
	struct fixture *f = *state;
	size_t len = 5 * MIB;
	const char *data = pattern(len);
	struct sync_folder *folder = start(f, data, len);
	struct sync_body *body;
	full = -ENOSPC;
	assert_int_equal(sync_body_open(folder, 5, "", NULL, 1000, &body), 0);
	read_all(body, data, len);
	sync_body_close(body);
	full = 0;
}

/* In a form that bulk() does not take. Small: it is held; large: an error, and the server is not asked in vain again and again. */
static void test_no_stream(void **state)
{
	struct fixture *f = *state;
	size_t len = 5 * MIB;
	const char *data = pattern(len);
	struct sync_folder *folder = start(f, data, len);
	struct sync_body *body;
	char buf[100];
	FAKE_SET(&f->fake, bulk_omit, 5);
	assert_int_equal(sync_body_open(folder, 5, "", NULL, len, &body), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(body_read(body, buf, sizeof(buf), (size_t)i * 1000), -EIO);
	struct fake_counts counts = fake_counts(&f->fake);
	assert_int_equal(counts.bulks, 1);
	assert_int_equal(counts.bodies, 1);
	sync_body_close(body);
	FAKE_SET(&f->fake, mailboxes[0].messages[0].len, 3 * MIB);
	assert_int_equal(sync_body_open(folder, 5, "", NULL, len, &body), 0);
	read_all(body, data, 3 * MIB);
	sync_body_close(body);
	counts = fake_counts(&f->fake);
	assert_int_equal(counts.bulks, 2);
	assert_int_equal(counts.bodies, 2);
}

/* A refusal may be for now. */
static void test_stream_refused(void **state)
{
	struct fixture *f = *state;
	size_t len = 5 * MIB;
	const char *data = pattern(len);
	struct sync_folder *folder = start(f, data, len);
	struct sync_body *body;
	FAKE_SET(&f->fake, bulk_refusals, 2);
	assert_int_equal(sync_body_open(folder, 5, "", NULL, len, &body), 0);
	read_all(body, data, len);
	sync_body_close(body);
}

/* --- Parts --- */

#define HEAD                                                                                       \
	"Subject: x\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n" \
	"--b\r\n\r\nHello.\r\n--b\r\nContent-Type: application/octet-stream\r\n\r\n"
#define TAIL "\r\n--b--\r\n"

static void forget_places(struct mime_part *part)
{
	part->located = false;
	part->header_offset = part->header_bytes = part->offset = 0;
	if (mime_part_is_multipart(part))
		part->size_bytes = 0;
	for (size_t i = 0; i < part->child_count; i++)
		forget_places(part->children[i]);
}

/* The message's structure, as a server tells it. */
static struct mime_part *structure_of(struct fixture *f, const char *message, size_t len)
{
	struct mime_walker *walker = mime_walker_create();
	_cleanup_str_ struct str data = STR_INIT;
	struct mime_part *part;
	assert_int_equal(mime_walker_push(walker, message, len), 0);
	assert_int_equal(mime_walker_end(walker, &part), 0);
	mime_walker_destroy(walker);
	forget_places(part);
	assert_int_equal(mime_part_serialize(part, &data), 0);
	assert_int_equal(store_structure_put(f->store, f->told->number, 5, data.data, data.len), 0);
	return part;
}

static void test_part(void **state)
{
	struct fixture *f = *state;
	size_t part_len = 10 * MIB + 100, head = strlen(HEAD), len = head + part_len + strlen(TAIL);
	char *message = malloc(len + 1);
	memcpy(message, HEAD, head);
	for (size_t i = 0; i < part_len; i++)
		message[head + i] = i % 60 == 59 ? '\n' : (char)('a' + i % 60 % 26);
	strcpy(message + head + part_len, TAIL);
	struct sync_folder *folder = start(f, message, len);
	struct mime_part *structure = structure_of(f, message, len);
	struct mime_leaf leaf = {
		.part = structure->children[1], .size_bytes = structure->children[1]->size_bytes};
	struct sync_body *body;
	largest = 0;
	assert_int_equal(sync_body_open(folder, 5, "2", &leaf, UINT64_MAX, &body), 0);
	read_all(body, message + head, part_len);
	assert_true(largest <= HELD_MAX);
	sync_body_close(body);
	mime_part_destroy(structure);
	fixture_end(f);
	free(message);
}

/* Where the structure does not agree with the message the part is an error, and the message is not. */
static void test_part_that_is_not_there(void **state)
{
	struct fixture *f = *state;
	size_t len = 6 * MIB;
	const char *data = pattern(len);
	struct sync_folder *folder = start(f, data, len);
	struct mime_part part = {.size_bytes = 5 * MIB};
	struct mime_leaf leaf = {.part = &part, .size_bytes = 5 * MIB};
	struct sync_body *body;
	char buf[100];
	assert_int_equal(sync_body_open(folder, 5, "2", &leaf, UINT64_MAX, &body), 0);
	assert_int_equal(body_read(body, buf, sizeof(buf), 0), -EIO);
	sync_body_close(body);
	assert_int_equal(sync_body_open(folder, 5, "", NULL, len, &body), 0);
	read_all(body, data, len);
	sync_body_close(body);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_message),
		TEST(test_cut),
		TEST(test_sizes),
		TEST(test_cache_full),
		TEST(test_disk_full),
		TEST(test_not_kept_and_larger),
		TEST(test_no_stream),
		TEST(test_stream_refused),
		TEST(test_part),
		TEST(test_part_that_is_not_there),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
