/* SPDX-License-Identifier: MIT */
/* The server renumbers a mailbox: what was fetched is kept for the messages that are provably the same, and nothing is left over. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "mailfs/store.h"
#include "mailfs/util/quirk.h"

/* Linked with --wrap: what fails. */
static int carries_left = -1, removes_left = -1; /* so many succeed; -1: all */

int __real_store_messages_carry(
	struct store *, uint32_t, uint32_t, const struct store_carry *, size_t);
int __wrap_store_messages_carry(struct store *store, uint32_t from, uint32_t to,
	const struct store_carry *pairs, size_t count);
int __wrap_store_messages_carry(struct store *store, uint32_t from, uint32_t to,
	const struct store_carry *pairs, size_t count)
{
	if (carries_left == 0)
		return -EIO;
	carries_left -= carries_left > 0;
	return __real_store_messages_carry(store, from, to, pairs, count);
}

int __real_store_folder_remove(struct store *, uint32_t);
int __wrap_store_folder_remove(struct store *store, uint32_t folder);
int __wrap_store_folder_remove(struct store *store, uint32_t folder)
{
	if (removes_left == 0)
		return -EIO;
	removes_left -= removes_left > 0;
	return __real_store_folder_remove(store, folder);
}

static int carry_setup(void **state)
{
	carries_left = removes_left = -1;
	return fixture_setup(state);
}

enum { SIZE = 3000, COUNT = 6 };
static const char *const headers[COUNT] = {"Message-ID: <one@x>\r\n",
	"From: a@b\r\nmessage-id: <two@x>\r\n", "Subject: none\r\n", /* it has no Message-ID */
	"Message-ID:\r\n <four@x>\r\n", "Message-ID: <five@x>\r\nMessage-ID: <5@x>\r\n",
	"Message-ID: <six@x>\r\n"};

/* Messages 1 … 6, each with its own bytes. */
static struct fake_mailbox *make_inbox(struct fixture *f)
{
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	const char *data = pattern(SIZE + COUNT);
	f->fake.abilities = SOURCE_CAN_CONDSTORE | SOURCE_CAN_QRESYNC;
	inbox->modseq = 5;
	for (uint32_t i = 0; i < COUNT; i++) {
		uint32_t uid = fake_append(&f->fake, inbox, data + i, SIZE, "");
		fake_message(inbox, uid)->header = headers[i];
		fake_message(inbox, uid)->date_s = 1700000000 + (int)i;
	}
	return inbox;
}

static void read_message(struct fixture *f, uint32_t uid)
{
	struct fake_message *message = fake_message(&f->fake.mailboxes[0], uid);
	struct sync_body *body;
	assert_int_equal(sync_body_open(fixture_folder(f, "INBOX"), uid, "", NULL, SIZE, &body), 0);
	assert_read(body, message->data, 0, SIZE);
	sync_body_close(body);
}

/* Whether the message's bytes are here: reading them asks the server for none. */
static bool is_kept(struct fixture *f, uint32_t uid)
{
	uint64_t before = fixture_bytes(f);
	read_message(f, uid);
	return fixture_bytes(f) == before;
}

static struct sync_folder *read_all(struct fixture *f)
{
	fixture_start(f);
	struct sync_folder *folder = fixture_inbox(f);
	for (size_t i = 0; i < f->fake.mailboxes[0].count; i++)
		read_message(f, f->fake.mailboxes[0].messages[i].uid);
	return folder;
}

static struct store_mailbox stored_state(struct fixture *f)
{
	struct store_mailbox state;
	assert_int_equal(store_mailbox_get(f->store, "INBOX", &state), 0);
	return state;
}

static void assert_empty(struct fixture *f, uint32_t folder)
{
	uint64_t count, unseen;
	struct store_body *body;
	assert_int_equal(store_folder_count(f->store, folder, &count, &unseen), 0);
	assert_int_equal(count, 0);
	for (uint32_t uid = 1; uid <= COUNT; uid++) {
		assert_int_equal(store_body_open(f->store, folder, uid, "", &body), 0);
		assert_int_equal(store_body_held(body, 0), 0);
		store_body_close(body);
	}
}

static void test_what_is_the_same_is_kept(void **state)
{
	struct fixture *f = *state;
	quirk_forget();
	struct fake_mailbox *inbox = make_inbox(f);
	struct sync_folder *folder = read_all(f);
	uint32_t former = stored_state(f).folder;
	fake_renumber(&f->fake, inbox, 78, 101);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(told_shown(f->told), COUNT);
	assert_int_equal(stored_state(f).former, 0);
	assert_int_not_equal(stored_state(f).folder, former);
	assert_empty(f, former);
	assert_true(is_kept(f, 101));
	assert_true(is_kept(f, 102));
	assert_false(is_kept(f, 103));
	assert_true(is_kept(f, 104));
	assert_false(is_kept(f, 105));
	assert_true(is_kept(f, 106));
	assert_int_equal(quirk_count(QUIRK_RENUMBERED), 1);
}

static void test_what_differs_is_not(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = make_inbox(f);
	struct sync_folder *folder = read_all(f);
	const char *other = pattern(SIZE + 1);
	fake_renumber(&f->fake, inbox, 78, 1); /* the same UIDs, other messages */
	fake_message(inbox, 1)->header = "Message-ID: <other@x>\r\n";
	fake_message(inbox, 1)->data = other;
	fake_message(inbox, 2)->date_s++;
	fake_message(inbox, 2)->data = other;
	fake_message(inbox, 4)->data = other;
	fake_message(inbox, 4)->len = fake_message(inbox, 4)->announced = SIZE + 1;
	assert_int_equal(refresh(folder), 0);
	assert_false(is_kept(f, 1));
	assert_false(is_kept(f, 2));
	assert_false(is_kept(f, 4));
	assert_true(is_kept(f, 6));
}

/* Two that agree in all three may be different: under the old numbers, and under the new. */
static void test_two_candidates(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = make_inbox(f);
	fake_message(inbox, 2)->header = headers[0];
	fake_message(inbox, 2)->date_s = 1700000000;
	struct sync_folder *folder = read_all(f);
	fake_renumber(&f->fake, inbox, 78, 101);
	/* The first of them has gone: which one it was nobody can know. */
	fake_expunge(&f->fake, inbox, 101);
	/* One that is there twice now. */
	uint32_t copy = fake_append(&f->fake, inbox, pattern(SIZE), SIZE, "");
	fake_message(inbox, copy)->header = headers[5];
	fake_message(inbox, copy)->date_s = 1700000005;
	assert_int_equal(refresh(folder), 0);
	assert_false(is_kept(f, 102));
	assert_false(is_kept(f, 106));
	assert_false(is_kept(f, copy));
	assert_true(is_kept(f, 104));
}

/* Cut off, or killed, at each place: the next run goes on from there. */
static void test_a_listing_that_is_cut_keeps_the_former(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = make_inbox(f);
	struct sync_folder *folder = read_all(f);
	uint32_t former = stored_state(f).folder;
	fake_renumber(&f->fake, inbox, 78, 101);
	f->fake.drop_rows = 2;
	f->fake.drop_rows_after = 2;
	assert_int_equal(refresh(folder), -EIO);
	assert_int_equal(stored_state(f).former, former);
	assert_false(stored_state(f).complete);
	fixture_end(f);
	fixture_start(f);
	fixture_inbox(f);
	assert_int_equal(told_shown(f->told), COUNT);
	assert_int_equal(stored_state(f).former, 0);
	assert_true(is_kept(f, 101));
	assert_true(is_kept(f, 106));
	assert_empty(f, former);
}

static void test_killed_before_the_carrying(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = make_inbox(f);
	struct sync_folder *folder = read_all(f);
	uint32_t former = stored_state(f).folder;
	fake_renumber(&f->fake, inbox, 78, 101);
	carries_left = 0;
	/* The listing itself is whole. */
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(told_shown(f->told), COUNT);
	assert_int_equal(stored_state(f).former, former);
	assert_true(stored_state(f).complete);
	fixture_end(f);
	carries_left = -1;
	fixture_start(f);
	fixture_inbox(f);
	assert_int_equal(stored_state(f).former, 0);
	assert_true(is_kept(f, 101));
	assert_empty(f, former);
}

static void test_killed_before_the_removal(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = make_inbox(f);
	struct sync_folder *folder = read_all(f);
	uint32_t former = stored_state(f).folder;
	fake_renumber(&f->fake, inbox, 78, 101);
	removes_left = 0;
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(stored_state(f).former, former);
	removes_left = -1;
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(stored_state(f).former, 0);
	assert_true(is_kept(f, 101));
	assert_true(is_kept(f, 104));
	assert_empty(f, former);
}

/* Renumbered once more while the first is not finished: what people have read is kept, and nothing of the one in between. */
static void test_renumbered_twice(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = make_inbox(f);
	struct sync_folder *folder = read_all(f);
	uint32_t former = stored_state(f).folder;
	fake_renumber(&f->fake, inbox, 78, 101);
	f->fake.drop_rows = 2;
	f->fake.drop_rows_after = 2;
	assert_int_equal(refresh(folder), -EIO);
	uint32_t between = stored_state(f).folder;
	assert_int_not_equal(between, former);
	fake_renumber(&f->fake, inbox, 79, 201);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(stored_state(f).former, 0);
	assert_true(is_kept(f, 201));
	assert_true(is_kept(f, 206));
	assert_empty(f, former);
	assert_empty(f, between);
}

static void test_renumbered_twice_after_a_failure_to_carry(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = make_inbox(f);
	struct sync_folder *folder = read_all(f);
	uint32_t former = stored_state(f).folder;
	fake_renumber(&f->fake, inbox, 78, 101);
	carries_left = 0;
	assert_int_equal(refresh(folder), 0);
	uint32_t between = stored_state(f).folder;
	/* Read under the numbers in between. */
	uint32_t uid = fake_append(&f->fake, inbox, pattern(SIZE), SIZE, "");
	fake_message(inbox, uid)->header = "Message-ID: <late@x>\r\n";
	assert_int_equal(refresh(folder), 0);
	read_message(f, uid);
	carries_left = -1;
	fake_message(inbox, uid)->date_s = 1700000000 + uid;
	fake_renumber(&f->fake, inbox, 79, 201);
	assert_int_equal(refresh(folder), 0);
	assert_true(is_kept(f, 201));
	assert_true(is_kept(f, 201 + COUNT));
	assert_empty(f, former);
	assert_empty(f, between);
}

/* There and back: the messages have their old numbers again. */
static void test_renumbered_back(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = make_inbox(f);
	struct sync_folder *folder = read_all(f);
	uint32_t former = stored_state(f).folder;
	fake_renumber(&f->fake, inbox, 78, 101);
	f->fake.drop_rows = 2;
	f->fake.drop_rows_after = 2;
	assert_int_equal(refresh(folder), -EIO);
	uint32_t between = stored_state(f).folder;
	fake_renumber(&f->fake, inbox, 77, 1);
	fake_expunge(&f->fake, inbox, 2);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(stored_state(f).folder, former);
	assert_int_equal(stored_state(f).former, 0);
	assert_int_equal(told_shown(f->told), COUNT - 1);
	assert_false(told_has(f->told, 2, NULL));
	assert_true(is_kept(f, 1));
	assert_true(is_kept(f, 3));
	assert_empty(f, between);
}

static void test_renumbered_and_emptied(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = make_inbox(f);
	struct sync_folder *folder = read_all(f);
	uint32_t former = stored_state(f).folder;
	fake_renumber(&f->fake, inbox, 78, 101);
	while (inbox->count)
		fake_expunge(&f->fake, inbox, inbox->messages[0].uid);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(told_shown(f->told), 0);
	assert_int_equal(stored_state(f).former, 0);
	assert_empty(f, former);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, carry_setup, fixture_teardown)

/* Deleted and made again within a second: UIDVALIDITY is the same, UIDNEXT is lower, and the same UIDs are other messages. */
static void test_made_again(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = make_inbox(f);
	struct sync_folder *folder = read_all(f);
	uint32_t former = stored_state(f).folder;
	for (uint32_t uid = 4; uid <= COUNT; uid++)
		fake_expunge(&f->fake, inbox, uid);
	fake_message(inbox, 1)->header = "Message-ID: <other@x>\r\n";
	fake_message(inbox, 1)->data = pattern(SIZE + 1);
	FAKE_SET(&f->fake, mailboxes[0].uidnext, 4);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(told_shown(f->told), 3);
	assert_int_not_equal(stored_state(f).folder, former);
	assert_empty(f, former);
	assert_false(is_kept(f, 1));
	assert_true(is_kept(f, 2));
	former = stored_state(f).folder;
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(stored_state(f).folder, former);
}

/* A server that says one more than the highest UID that is there: nothing is another message, and nothing is listed anew. */
static void test_uidnext_goes_back(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = make_inbox(f);
	struct sync_folder *folder = read_all(f);
	uint32_t former = stored_state(f).folder;
	fake_expunge(&f->fake, inbox, COUNT);
	FAKE_SET(&f->fake, mailboxes[0].uidnext, COUNT);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(told_shown(f->told), COUNT - 1);
	assert_int_equal(stored_state(f).folder, former);
	assert_true(is_kept(f, 1));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_what_is_the_same_is_kept),
		TEST(test_what_differs_is_not),
		TEST(test_two_candidates),
		TEST(test_a_listing_that_is_cut_keeps_the_former),
		TEST(test_killed_before_the_carrying),
		TEST(test_killed_before_the_removal),
		TEST(test_renumbered_twice),
		TEST(test_renumbered_twice_after_a_failure_to_carry),
		TEST(test_renumbered_back),
		TEST(test_renumbered_and_emptied),
		TEST(test_made_again),
		TEST(test_uidnext_goes_back),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
