/* SPDX-License-Identifier: MIT */
/* What was handed out ahead of readers, and does not fit in the end, does not stay: neither in the store nor where it was handed to. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "mailfs/store.h"

enum { COUNT = 22, LIED = 20 };
#define SIZE ((size_t)270 << 10)

static char *data;

/* INBOX with messages 1 … COUNT; the same bytes at another place for each, and of LIED other bytes than its own. */
static struct sync_folder *start(struct fixture *f)
{
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	data = pattern(SIZE + COUNT);
	for (uint32_t uid = 1; uid <= COUNT; uid++)
		fake_message_add(inbox, uid, uid == LIED ? data : data + uid, SIZE);
	fake_can_bulk(&f->fake);
	fixture_start(f);
	return fixture_inbox(f);
}

static struct sync_body *open_message(struct sync_folder *folder, uint32_t uid)
{
	struct sync_body *body;
	assert_int_equal(sync_body_open(folder, uid, "", NULL, SIZE, &body), 0);
	return body;
}

static void check_bytes(struct sync_body *body, uint32_t uid)
{
	char out[131072];
	ssize_t n;
	size_t pos = 0;
	for (; (n = body_read(body, out, sizeof(out), pos)) > 0; pos += (size_t)n)
		assert_memory_equal(out, data + uid + pos, (size_t)n);
	assert_int_equal(n, 0);
	assert_int_equal(pos, SIZE);
}

static bool is_quiet(struct fixture *f)
{
	struct sync_status status;
	sync_account_status(f->account, &status);
	return status.ahead == 0 && status.demand == 0;
}

static unsigned refuted(const struct sync_body *body)
{
	int64_t when_ms;
	return sync_body_refuted(body, &when_ms);
}

/* Somebody reads up to the one that is LIED, which comes meanwhile. From then on the server is honest. */
static struct sync_body *walk(struct fixture *f, struct sync_folder *folder)
{
	struct sync_body *lied = open_message(folder, LIED);
	for (uint32_t uid = 1; uid < LIED; uid++) {
		struct sync_body *body = open_message(folder, uid);
		check_bytes(body, uid);
		sync_body_close(body);
		wait_for(is_quiet(f));
	}
	wait_for(fake_message(&f->fake.mailboxes[0], LIED)->sent > 0);
	wait_for(is_quiet(f));
	assert_int_equal(fake_message(&f->fake.mailboxes[0], LIED)->sent, 1);
	FAKE_SET(&f->fake, mailboxes[0].messages[LIED - 1].data, data + LIED);
	return lied;
}

static void test_the_end_does_not_fit(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = start(f);
	FAKE_SET(&f->fake, bulk_broken, LIED);
	struct sync_body *lied = walk(f, folder);
	assert_int_equal(refuted(lied), 1);
	assert_int_equal(f->told->refuted, 1);
	check_bytes(lied, LIED);
	assert_int_equal(refuted(lied), 1);
	sync_body_close(lied);
}

/* Nobody knows which of the two is right. */
static void test_it_comes_twice(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = start(f);
	FAKE_SET(&f->fake, bulk_again, LIED);
	struct sync_body *lied = walk(f, folder);
	assert_int_equal(refuted(lied), 1);
	check_bytes(lied, LIED);
	sync_body_close(lied);
}

/* The server says NO to all of it in the end. */
static void test_it_is_taken_back(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = start(f);
	FAKE_SET(&f->fake, bulk_takes_back, LIED);
	struct sync_body *lied = walk(f, folder);
	assert_int_equal(refuted(lied), 1);
	assert_int_equal(f->told->sizes, 0);
	check_bytes(lied, LIED);
	sync_body_close(lied);
}

#define MIB ((size_t)1 << 20)

static struct sync_body *open_large(struct sync_folder *folder, size_t len)
{
	struct sync_body *body;
	assert_int_equal(sync_body_open(folder, 5, "", NULL, len, &body), 0);
	return body;
}

/* What was handed out is not what comes again: nobody is given more of it, and the tree hears of it. */
static void test_other_bytes_later(void **state)
{
	struct fixture *f = *state;
	size_t len = 3 * MIB + 77;
	char *lies = pattern(len + 1), *truth = lies + 1, *out = malloc(len + 1);
	struct sync_folder *folder = fixture_start_with(f, lies, len, len);
	struct sync_body *body = open_large(folder, len);
	int64_t when_ms;
	assert_read(body, lies, 0, 1000);
	FAKE_SET(&f->fake, mailboxes[0].messages[0].data, truth);
	assert_read(body, truth, MIB, 1000);
	assert_int_equal(sync_body_refuted(body, &when_ms), 1);
	assert_true(f->told->refuted > 0);
	assert_int_equal(body_read_all(body, out, len + 1), len);
	assert_memory_equal(out, truth, len);
	assert_int_equal(sync_body_refuted(body, &when_ms), 1);
	sync_body_close(body);
	free(out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_the_end_does_not_fit),
		TEST(test_it_comes_twice),
		TEST(test_it_is_taken_back),
		TEST(test_other_bytes_later),
	};
	return cmocka_run_group_tests_name("sync/refuted", tests, NULL, NULL);
}
