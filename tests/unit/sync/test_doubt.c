/* SPDX-License-Identifier: MIT */
/* What a refresh does when the server lies, when it fails in the middle, when there is no connection, and when it is not the last word. */
#include <errno.h>

#include "delta.h"
#include "mailfs/util/quirk.h"

/* --- Lies --- */

static void assert_settled(struct fixture *f, unsigned lies, bool expect_uids, bool expect_scan)
{
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	FAKE_SET(&f->fake, mailboxes[0].lies, lies);
	struct fake_counts before = fake_counts(&f->fake);
	assert_int_equal(refresh(folder), 0);
	struct fake_counts cost = since(f, &before);
	assert_in_step(f);
	assert_int_equal(cost.uids > 0, expect_uids);
	assert_int_equal(cost.rows[FLAGS] > 0, expect_scan);
	assert_int_equal(f->told->changes, 0);
}

static void test_false_deletions(void **state)
{
	struct fixture *f = *state;
	quirk_forget();
	inbox_with(f, QRESYNC, 20);
	listed(f);
	/* The numbers contradict them; they are those of nothing having gone. */
	assert_settled(f, FAKE_LIE_VANISHED, false, false);
	assert_settled(f, FAKE_LIE_VANISHED_ALL, false, false);
	/* Nor is a list of UIDs believed that lacks one. */
	FAKE_SET(&f->fake, mailboxes[0].modseq, f->fake.mailboxes[0].modseq + 1);
	FAKE_SET(&f->fake, mailboxes[0].uidnext, 0);
	assert_settled(f, FAKE_LIE_VANISHED | FAKE_LIE_UIDS, true, true);
	assert_settled(f, FAKE_LIE_VANISHED | FAKE_LIE_UIDS_ALL, true, true);
	assert_true(quirk_count(QUIRK_CHANGES_WRONG) > 0);
}

/* More than can be listed is not listed, and what was listed before stays, and can be read: it is no folder that has broken. */
static void test_too_many(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, QRESYNC, 20);
	struct sync_folder *folder = listed(f);
	struct sync_body *body;
	struct fake_counts before = fake_counts(&f->fake);
	for (unsigned qresync = 0; qresync < 2; qresync++) {
		FAKE_SET(&f->fake, abilities, qresync ? QRESYNC : 0);
		FAKE_SET(&f->fake, mailboxes[0].exists, SOURCE_MESSAGES_MAX + 1);
		assert_int_equal(refresh(folder), -EIO);
		assert_in_step(f);
	}
	struct fake_counts cost = since(f, &before);
	assert_int_equal(cost.rows[FLAGS] + cost.uids + cost.changed, 0);
	struct fake_message *message = fake_message(&f->fake.mailboxes[0], 3);
	assert_int_equal(sync_body_open(folder, 3, "", NULL, message->len, &body), 0);
	assert_read(body, message->data, 0, message->len);
	sync_body_close(body);
	FAKE_SET(&f->fake, mailboxes[0].exists, 0);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
}

static void test_modseq_that_stands_still(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, QRESYNC, 20);
	inbox->lies = FAKE_LIE_MODSEQ_STANDS;
	struct sync_folder *folder = listed(f);
	fake_append(&f->fake, inbox, "x", 1, "");
	fake_flag(&f->fake, inbox, 3, "\\Seen");
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
	assert_flags(f, 3, "\\Seen");
}

static void test_modseq_that_goes_back(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, QRESYNC, 20);
	struct sync_folder *folder = listed(f);
	FAKE_SET(&f->fake, mailboxes[0].messages[2].flags, "\\Seen");
	FAKE_SET(&f->fake, mailboxes[0].modseq, 3);
	(void)inbox;
	assert_int_equal(refresh(folder), 0);
	assert_flags(f, 3, "\\Seen");
	/* From there on it is used again. */
	struct fake_counts before = fake_counts(&f->fake);
	fake_flag(&f->fake, inbox, 3, "");
	assert_int_equal(refresh(folder), 0);
	assert_flags(f, 3, "");
	assert_int_equal(since(f, &before).rows[FLAGS], 0);
}

static void test_refused_commands(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, CONDSTORE, 20);
	struct sync_folder *folder = listed(f);
	FAKE_SET(&f->fake, mailboxes[0].changed_err, -EIO);
	fake_flag(&f->fake, inbox, 3, "\\Seen");
	assert_int_equal(refresh(folder), 0);
	assert_flags(f, 3, "\\Seen");
	/* Rows that can not be read may be anything. */
	FAKE_SET(&f->fake, mailboxes[0].changed_err, 0);
	FAKE_SET(&f->fake, mailboxes[0].changed_skips, 1);
	FAKE_SET(&f->fake, mailboxes[0].lies, FAKE_LIE_UNTOLD);
	fake_flag(&f->fake, inbox, 4, "\\Seen");
	assert_int_equal(refresh(folder), 0);
	assert_flags(f, 4, "\\Seen");
}

/* On the last rung too: an error first, its word when it says the same again. */
static void test_a_server_that_insists(void **state)
{
	struct fixture *f = *state;
	quirk_forget();
	struct fake_mailbox *inbox = inbox_with(f, 0, 10);
	struct sync_folder *folder = listed(f);
	fake_message_remove(&f->fake, inbox, 4);
	FAKE_SET(&f->fake, mailboxes[0].exists, 10);
	assert_int_equal(refresh(folder), -EIO);
	assert_int_equal(told_shown(f->told), 10);
	/* Another number is another word. */
	fake_message_remove(&f->fake, inbox, 5);
	assert_int_equal(refresh(folder), -EIO);
	assert_int_equal(told_shown(f->told), 10);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
	/* And does not count for the next. */
	fake_message_remove(&f->fake, inbox, 6);
	assert_int_equal(refresh(folder), -EIO);
	FAKE_SET(&f->fake, mailboxes[0].exists, 0);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
	assert_int_equal(quirk_count(QUIRK_COUNT_WRONG), 1);
}

/* Expunged between SELECT and the scan: it takes one more of both, and is no lie. */
static atomic_uint expunges_left;
static void expunge_in_the_middle(struct fake_source *fake)
{
	if (expunges_left == 0)
		return;
	expunges_left--;
	fake->mailboxes[0].count--;
}

static void test_expunged_during_the_scan(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 0, 10);
	struct sync_folder *folder = listed(f);
	f->fake.on_rows = expunge_in_the_middle;
	expunges_left = 1;
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
	assert_int_equal(told_shown(f->told), 9);
}

/* --- Failures in the middle --- */

static void test_what_was_heard_is_stored_before_the_state(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, QRESYNC, 20);
	struct sync_folder *folder = listed(f);
	struct store_mailbox before, after;
	assert_int_equal(store_mailbox_get(f->store, "INBOX", &before), 0);
	fake_expunge(&f->fake, inbox, 4);
	fake_flag(&f->fake, inbox, 5, "\\Seen");
	fake_append(&f->fake, inbox, "x", 1, "");
	puts_left = 1; /* that it changed; not what it is asked for since */
	assert_int_equal(refresh(folder), -EIO);
	assert_in_step(f);
	assert_flags(f, 5, "\\Seen");
	assert_int_equal(store_mailbox_get(f->store, "INBOX", &after), 0);
	assert_int_equal(after.modseq, before.modseq);
	fixture_end(f);
	/* Killed here: it is told again, and is known. */
	puts_left = -1;
	listed(f);
	assert_in_step(f);
	assert_int_equal(store_mailbox_get(f->store, "INBOX", &after), 0);
	assert_int_equal(after.modseq, inbox->modseq);
}

static void test_a_resync_that_is_cut_begins_anew(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, QRESYNC, 500);
	struct sync_folder *folder = listed(f);
	for (uint32_t uid = 1; uid <= 100; uid++)
		fake_expunge(&f->fake, inbox, uid);
	FAKE_SET(&f->fake, cut_in[0], 50);
	struct fake_counts before = fake_counts(&f->fake);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
	struct fake_counts cost = since(f, &before);
	assert_int_equal(cost.selects, 2);
	assert_int_equal(cost.uids + cost.changed + cost.rows[FLAGS], 0);
}

/* What one attempt told is forgotten: a message whose flags it told of may be gone by the next. */
static void expunge_the_last(struct fake_source *fake)
{
	struct fake_mailbox *inbox = &fake->mailboxes[0];
	uint32_t uid = inbox->messages[--inbox->count].uid;
	inbox->gone[inbox->gone_count++] = (struct fake_gone){uid, uid, ++inbox->modseq};
}

static void test_told_and_gone_after_a_cut(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, QRESYNC, 20);
	struct sync_folder *folder = listed(f);
	fake_expunge(&f->fake, inbox, 4);
	fake_expunge(&f->fake, inbox, 5);
	fake_expunge(&f->fake, inbox, 6);
	fake_flag(&f->fake, inbox, 20, "\\Seen");
	fake_flag(&f->fake, inbox, 1, "\\Seen");
	inbox->reversed = true; /* 20 is told first */
	f->fake.on_cut = expunge_the_last;
	FAKE_SET(&f->fake, cut_in[0], 6);
	struct fake_counts before = fake_counts(&f->fake);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
	struct fake_counts cost = since(f, &before);
	assert_int_equal(cost.selects, 2);
	assert_int_equal(cost.uids + cost.changed + cost.rows[FLAGS], 0);
}

/* What one attempt told does not count when the next one can not tell. */
static void test_another_server_takes_over(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, QRESYNC, 50);
	struct sync_folder *folder = listed(f);
	fake_expunge(&f->fake, inbox, 7);
	fake_flag(&f->fake, inbox, 8, "\\Seen");
	FAKE_SET(&f->fake, cut_in[0], 3);
	f->fake.lose_on_cut = SOURCE_CAN_QRESYNC;
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
	assert_flags(f, 8, "\\Seen");
	assert_int_equal(fake_counts(&f->fake).uids, 1);
}

/* --- Without the server --- */

static bool is_online(struct fixture *f)
{
	struct sync_status status;
	sync_account_status(f->account, &status);
	return status.link == SYNC_LINK_ONLINE;
}

static void test_cut_off(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, QRESYNC, 20);
	f->params.refresh_ms = 60000;
	listed(f);
	fixture_end(f);
	fake_append(&f->fake, inbox, "x", 1, "");
	struct sync_folder *folder = mount(f);
	struct store_mailbox before, after;
	sync_folder_state(folder, &before);
	pthread_mutex_lock(&f->account->lock);
	f->account->link.pace_ms = 20;
	pthread_mutex_unlock(&f->account->lock);
	/* The connection is lost, and can not be had again: what is stored is shown. */
	f->fake.cut_in[0] = 1;
	FAKE_SET(&f->fake, connect_failures, -1);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(told_shown(f->told), 20);
	assert_int_equal(refresh(folder), 0);
	sync_folder_state(folder, &after);
	assert_int_equal(after.checked_s, before.checked_s);
	assert_int_equal(pin_looks, 1);
	/* As soon as it is there again, the folder is looked at, though refresh= is long. */
	FAKE_SET(&f->fake, connect_failures, 0);
	wait_for(is_online(f));
	for (int i = 0; i < 1000 && pin_looks < 2; i++) {
		assert_int_equal(refresh(folder), 0);
		sleep_ms(10);
	}
	assert_in_step(f);
	assert_int_equal(pin_looks, 2);
}

static void test_cut_off_before_the_first_listing(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, QRESYNC, 300);
	struct sync_folder *folder = mount(f);
	f->fake.cut_in[0] = 100;
	f->fake.cut_in[1] = 100;
	assert_int_equal(refresh(folder), -EIO);
	fixture_end(f);
	folder = mount(f);
	offline = true;
	assert_int_equal(refresh(folder), -EHOSTUNREACH);
	offline = false;
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
}

static void test_a_refused_login_is_an_error(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, QRESYNC, 20);
	listed(f);
	fixture_end(f);
	struct sync_folder *folder = mount(f);
	f->fake.cut_in[0] = 1;
	f->fake.connect_cause = SOURCE_CAUSE_LOGIN;
	FAKE_SET(&f->fake, connect_failures, -1);
	assert_int_equal(refresh(folder), -EACCES);
}

static void test_offline(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, QRESYNC, 20);
	f->params.refresh_ms = 60000;
	listed(f);
	fixture_end(f);
	fake_append(&f->fake, inbox, "x", 1, "");
	struct sync_folder *folder = mount(f);
	offline = true;
	struct fake_counts before = fake_counts(&f->fake);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(told_shown(f->told), 20);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(f->told->resets, 1);
	assert_int_equal(since(f, &before).selects, 0);
	offline = false;
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
}

/* --- News while it runs --- */

static void test_dirty_again(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, QRESYNC, 20);
	struct sync_folder *folder = listed(f);
	fake_append(&f->fake, inbox, "x", 1, "");
	FAKE_SET(&f->fake, hold_rows_after, 0);
	FAKE_SET(&f->fake, hold_rows, true);
	struct reader reader;
	reader_init(&reader, 20000);
	assert_int_equal(sync_folder_refresh(folder, &reader.waiter), -EINPROGRESS);
	while (fake_counts(&f->fake).rows[ALL] < 2)
		sleep_ms(1);
	/* A watch says so in the middle. */
	fake_append(&f->fake, inbox, "x", 1, "");
	pthread_mutex_lock(&f->account->lock);
	folder->dirty = true;
	pthread_mutex_unlock(&f->account->lock);
	FAKE_SET(&f->fake, hold_rows, false);
	assert_int_equal(reader_wait(&reader), 0);
	reader_finish(&reader);
	for (int i = 0; i < 2000 && told_shown(f->told) < 22; i++)
		sleep_ms(1);
	assert_in_step(f);
	pthread_mutex_lock(&f->account->lock);
	assert_false(folder->dirty);
	pthread_mutex_unlock(&f->account->lock);
}

static void test_when_it_was_looked_at(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, QRESYNC, 5);
	inbox->mailbox_id = 4711;
	int64_t now = clock_wall_s();
	struct sync_folder *folder = listed(f);
	struct store_mailbox stored;
	assert_int_equal(store_mailbox_get(f->store, "INBOX", &stored), 0);
	assert_in_range(stored.checked_s, now, now + 10);
	assert_int_equal(stored.mailbox_id, 4711);
	assert_int_equal(pin_looks, 1);
	/* A server that forgets to say is no other mailbox. */
	FAKE_SET(&f->fake, mailboxes[0].mailbox_id, 0);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(store_mailbox_get(f->store, "INBOX", &stored), 0);
	assert_int_equal(stored.mailbox_id, 4711);
	/* A failure is none. */
	FAKE_SET(&f->fake, mailboxes[0].select_err, -EACCES);
	assert_int_equal(refresh(folder), -EACCES);
	assert_int_equal(pin_looks, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DELTA_TEST(test_false_deletions),
		DELTA_TEST(test_too_many),
		DELTA_TEST(test_modseq_that_stands_still),
		DELTA_TEST(test_modseq_that_goes_back),
		DELTA_TEST(test_refused_commands),
		DELTA_TEST(test_a_server_that_insists),
		DELTA_TEST(test_expunged_during_the_scan),
		DELTA_TEST(test_what_was_heard_is_stored_before_the_state),
		DELTA_TEST(test_a_resync_that_is_cut_begins_anew),
		DELTA_TEST(test_told_and_gone_after_a_cut),
		DELTA_TEST(test_another_server_takes_over),
		DELTA_TEST(test_cut_off),
		DELTA_TEST(test_cut_off_before_the_first_listing),
		DELTA_TEST(test_a_refused_login_is_an_error),
		DELTA_TEST(test_offline),
		DELTA_TEST(test_dirty_again),
		DELTA_TEST(test_when_it_was_looked_at),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
