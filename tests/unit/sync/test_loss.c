/* SPDX-License-Identifier: MIT */
/* A folder that is said to be empty, or to have lost most of what it had: asked again before anything is dropped, and believed when it is so. */
#include <errno.h>

#include "delta.h"

static void lie(struct fixture *f, unsigned lies)
{
	FAKE_SET(&f->fake, mailboxes[0].lies, lies);
}

static void expunge(struct fixture *f, uint32_t count)
{
	struct fake_mailbox *inbox = &f->fake.mailboxes[0];
	for (uint32_t i = 0; i < count; i++) {
		if (f->fake.abilities)
			fake_expunge(&f->fake, inbox, inbox->messages[0].uid);
		else
			fake_message_remove(&f->fake, inbox, inbox->messages[0].uid);
	}
}

/* Nothing was dropped, and nothing is once the server is well again. */
static void assert_kept(struct fixture *f, struct sync_folder *folder, int expect)
{
	assert_int_equal(refresh(folder), expect);
	assert_in_step(f);
	assert_int_equal(f->told->changes, 0);
	lie(f, 0);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
	assert_int_equal(f->told->changes, 0);
}

static void said_to_be_empty(struct fixture *f, unsigned abilities, unsigned lies)
{
	struct fake_mailbox *inbox = inbox_with(f, abilities, 20);
	struct sync_folder *folder = listed(f);
	if (abilities)
		fake_flag(&f->fake, inbox, 1, "\\Seen"); /* there is something to be told */
	lie(f, FAKE_LIE_EMPTY | FAKE_LIE_EMPTY_STATUS | lies);
	assert_kept(f, folder, -EIO);
}

static void test_said_to_be_empty_by_exists(void **state)
{
	said_to_be_empty(*state, 0, 0);
}

static void test_said_to_be_empty_with_condstore(void **state)
{
	said_to_be_empty(*state, CONDSTORE, 0);
}

static void test_said_to_be_empty_with_qresync(void **state)
{
	said_to_be_empty(*state, QRESYNC, FAKE_LIE_VANISHED_ALL);
}

/* EXISTS and FETCH have nothing, and SEARCH, which is asked on every rung, has it all. */
static void empty_but_for_search(struct fixture *f, unsigned abilities)
{
	inbox_with(f, abilities, 20);
	struct sync_folder *folder = listed(f);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_last, 20);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_first, 1);
	expunge(f, 20);
	for (int i = 0; i < 2; i++)
		assert_int_equal(refresh(folder), -EIO);
	assert_int_equal(told_shown(f->told), 20);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_first, 0);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
}

static void test_empty_but_for_search(void **state)
{
	empty_but_for_search(*state, 0);
}

static void test_empty_but_for_search_with_condstore(void **state)
{
	empty_but_for_search(*state, CONDSTORE);
}

/* Where SEARCH is refused the count of STATUS decides. */
static void test_search_is_refused(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 0, 20);
	struct sync_folder *folder = listed(f);
	FAKE_SET(&f->fake, mailboxes[0].uids_err, -EIO);
	lie(f, FAKE_LIE_EMPTY);
	assert_kept(f, folder, -EIO);
	expunge(f, 20);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
}

/* What SEARCH gives for good and FETCH does not is no reason to keep the others; but most of them are. */
static void lost_with_ghosts(struct fixture *f, unsigned abilities)
{
	inbox_with(f, abilities, 400);
	struct sync_folder *folder = listed(f);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_last, 151);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_first, 1);
	expunge(f, 300);
	assert_int_equal(refresh(folder), -EIO);
	assert_int_equal(told_shown(f->told), 400);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_first, 2);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(told_shown(f->told), 250);
	assert_int_equal(refresh(folder), 0);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_first, 0);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
}

static void test_lost_with_ghosts(void **state)
{
	lost_with_ghosts(*state, 0);
}

static void test_lost_with_ghosts_and_qresync(void **state)
{
	lost_with_ghosts(*state, QRESYNC);
}

/* So few that their loss alone would not be asked about: they stay as well, but no other does for them. */
static void test_lost_with_few_ghosts(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, 0, 400);
	struct sync_folder *folder = listed(f);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_last, 50);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_first, 1);
	expunge(f, 300);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(refresh(folder), 0);
		assert_int_equal(told_shown(f->told), 150);
	}
	fake_message_remove(&f->fake, inbox, 400);
	FAKE_SET(&f->fake, mailboxes[0].uids_err, -EIO);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(told_shown(f->told), 149);
	FAKE_SET(&f->fake, mailboxes[0].uids_err, 0);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_first, 0);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
}

/* EXISTS counts them, too: once that is believed it is no reason to fail, also when others come and go. */
static void test_lost_with_ghosts_that_count(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, 0, 400);
	struct sync_folder *folder = listed(f);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_last, 151);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_first, 2);
	expunge(f, 300);
	FAKE_SET(&f->fake, mailboxes[0].exists, 250);
	assert_int_equal(refresh(folder), -EIO);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(refresh(folder), 0);
		assert_int_equal(told_shown(f->told), 250);
	}
	fake_message_remove(&f->fake, inbox, 400);
	FAKE_SET(&f->fake, mailboxes[0].exists, 249);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(told_shown(f->told), 249);
	/* Another number of them is another word. */
	FAKE_SET(&f->fake, mailboxes[0].exists, 250);
	assert_int_equal(refresh(folder), -EIO);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_first, 0);
	FAKE_SET(&f->fake, mailboxes[0].exists, 0);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
	/* What it was believed of is over. */
	fake_message_remove(&f->fake, inbox, 399);
	FAKE_SET(&f->fake, mailboxes[0].exists, 248);
	assert_int_equal(refresh(folder), -EIO);
}

/* It lists a part of what it counts, twice: what SEARCH gives stays, however little is missing, and also when it counts as many too many as before. */
static void test_fewer_than_it_counts(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, 0, 25);
	struct sync_folder *folder = listed(f);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_last, 15);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_first, 1);
	expunge(f, 15);
	FAKE_SET(&f->fake, mailboxes[0].exists, 25);
	assert_int_equal(refresh(folder), -EIO);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(refresh(folder), 0);
		assert_int_equal(told_shown(f->told), 25);
	}
	FAKE_SET(&f->fake, mailboxes[0].ghosts_last, 16);
	expunge(f, 1);
	FAKE_SET(&f->fake, mailboxes[0].exists, 24);
	assert_int_equal(refresh(folder), 0);
	FAKE_SET(&f->fake, mailboxes[0].uids_err, -EIO);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(told_shown(f->told), 25);
	assert_int_equal(f->told->changes, 0);
	/* What really went goes, and with SEARCH's word all of it. */
	FAKE_SET(&f->fake, mailboxes[0].uids_err, 0);
	fake_message_remove(&f->fake, inbox, 25);
	FAKE_SET(&f->fake, mailboxes[0].exists, 23);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(told_shown(f->told), 24);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_first, 0);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
}

/* Most of it: an error as long as SEARCH gives it, or does not answer; that STATUS counts it, too, is no proof of the loss. */
static void test_far_fewer_than_it_counts(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 0, 400);
	struct sync_folder *folder = listed(f);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_last, 300);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_first, 1);
	expunge(f, 300);
	FAKE_SET(&f->fake, mailboxes[0].exists, 400);
	for (int i = 0; i < 3; i++)
		assert_int_equal(refresh(folder), -EIO);
	FAKE_SET(&f->fake, mailboxes[0].uids_err, -EIO);
	lie(f, FAKE_LIE_EMPTY_STATUS);
	for (int i = 0; i < 3; i++)
		assert_int_equal(refresh(folder), -EIO);
	assert_int_equal(told_shown(f->told), 400);
	FAKE_SET(&f->fake, mailboxes[0].uids_err, 0);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_first, 0);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
}

/* EXISTS, SEARCH and STATUS say that most are gone, and FETCH, which has a row that can not be read, gives them. */
static void test_said_to_be_gone_and_listed(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, CONDSTORE, 400);
	struct sync_folder *folder = listed(f);
	fake_flag(&f->fake, inbox, 1, "\\Seen");
	FAKE_SET(&f->fake, mailboxes[0].exists, 100);
	FAKE_SET(&f->fake, mailboxes[0].unsearched, 300);
	FAKE_SET(&f->fake, mailboxes[0].messages[350].scan_skips, 1);
	lie(f, FAKE_LIE_EMPTY_STATUS);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
	assert_int_equal(told_shown(f->told), 400);
}

/* How many questions beyond SELECT it took to see that so many are gone. */
static unsigned questions(struct fixture *f, struct sync_folder *folder, uint32_t gone)
{
	expunge(f, gone);
	struct fake_counts before = fake_counts(&f->fake);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
	struct fake_counts cost = since(f, &before);
	assert_int_equal(cost.selects, 1);
	return cost.uids + cost.changed + cost.rows[SOURCE_COLUMNS_UID] + cost.rows[FLAGS];
}

/* It costs one question more, and only then. */
static void really_empty(struct fixture *f, unsigned abilities, unsigned usual)
{
	inbox_with(f, abilities, 400);
	struct sync_folder *folder = listed(f);
	assert_int_equal(questions(f, folder, 100), usual); /* 300 are left */
	assert_int_equal(questions(f, folder, 170), usual + 1);
	assert_int_equal(questions(f, folder, 80), usual); /* 50: less than a hundred went */
	unsigned left = questions(f, folder, 50);
	/* Of none that are left nobody asks for flags or UIDs. */
	assert_true(left <= usual + 1 && left > 0);
	assert_int_equal(told_shown(f->told), 0);
}

static void test_really_empty(void **state)
{
	really_empty(*state, 0, 1);
}

static void test_really_empty_with_qresync(void **state)
{
	really_empty(*state, QRESYNC, 0);
}

static void test_really_empty_with_condstore(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, CONDSTORE, 5);
	struct sync_folder *folder = listed(f);
	assert_true(questions(f, folder, 5) <= 2);
	assert_int_equal(told_shown(f->told), 0);
}

/* A new UIDVALIDITY and no messages: what was there under the old one stays until that is certain. */
static void test_renumbered_and_empty(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, 0, 20);
	struct sync_folder *folder = listed(f);
	struct store_mailbox known;
	fake_renumber(&f->fake, inbox, 78, 101);
	lie(f, FAKE_LIE_EMPTY | FAKE_LIE_EMPTY_STATUS);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(refresh(folder), -EIO);
		assert_int_equal(store_mailbox_get(f->store, "INBOX", &known), 0);
		assert_true(known.former != 0);
		assert_false(known.complete);
	}
	lie(f, 0);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
	fake_renumber(&f->fake, inbox, 79, 201);
	expunge(f, 20);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
	assert_int_equal(store_mailbox_get(f->store, "INBOX", &known), 0);
	assert_true(known.complete);
}

/* A new UIDVALIDITY and hardly any messages. */
static void test_renumbered_and_few(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, 0, 400);
	struct sync_folder *folder = listed(f);
	struct store_mailbox known;
	uint64_t count, unseen;
	fake_renumber(&f->fake, inbox, 78, 1001);
	expunge(f, 399);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_last, 1399);
	FAKE_SET(&f->fake, mailboxes[0].ghosts_first, 1001);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(refresh(folder), -EIO);
		assert_int_equal(store_mailbox_get(f->store, "INBOX", &known), 0);
		assert_int_equal(store_folder_count(f->store, known.former, &count, &unseen), 0);
		assert_int_equal(count, 400);
	}
	FAKE_SET(&f->fake, mailboxes[0].ghosts_first, 0);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
}

/* UIDNEXT and modification sequences that go back hide nothing and drop nothing. */
static void test_numbers_that_go_back(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, QRESYNC, 20);
	struct sync_folder *folder = listed(f);
	uint32_t uidnext = inbox->uidnext;
	for (uint32_t lower = 1; lower <= uidnext; lower += 7) {
		FAKE_SET(&f->fake, mailboxes[0].uidnext, lower);
		assert_int_equal(refresh(folder), 0);
		assert_in_step(f);
	}
	FAKE_SET(&f->fake, mailboxes[0].uidnext, uidnext);
	FAKE_SET(&f->fake, mailboxes[0].modseq, 1);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
	assert_int_equal(f->told->changes, 0);
}

/*
 * QUIRK_SELECTED_GHOST: a mailbox that is gone and selected, of which the server says that it is there as long as it is open: another is selected before it is
 * asked.
 */
static void test_gone_while_selected(void **state)
{
	struct fixture *f = *state;
	struct reader reader;
	f->fake.ghosts = true;
	f->params.connections = 1;
	inbox_with(f, 0, 1);
	fake_mailbox_add(&f->fake, "A", 77);
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "A");
	assert_int_equal(refresh(folder), 0);
	FAKE_SET(&f->fake, mailboxes[1].removed, true);
	reader_init(&reader, 20000);
	int err = sync_account_survey(f->account, &reader.waiter);
	assert_int_equal(err == -EINPROGRESS ? reader_wait(&reader) : err, 0);
	reader_finish(&reader);
	assert_true(sync_folder_is_gone(folder));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		DELTA_TEST(test_said_to_be_empty_by_exists),
		DELTA_TEST(test_said_to_be_empty_with_condstore),
		DELTA_TEST(test_said_to_be_empty_with_qresync),
		DELTA_TEST(test_empty_but_for_search),
		DELTA_TEST(test_empty_but_for_search_with_condstore),
		DELTA_TEST(test_search_is_refused),
		DELTA_TEST(test_lost_with_ghosts),
		DELTA_TEST(test_lost_with_ghosts_and_qresync),
		DELTA_TEST(test_lost_with_few_ghosts),
		DELTA_TEST(test_lost_with_ghosts_that_count),
		DELTA_TEST(test_fewer_than_it_counts),
		DELTA_TEST(test_far_fewer_than_it_counts),
		DELTA_TEST(test_said_to_be_gone_and_listed),
		DELTA_TEST(test_really_empty),
		DELTA_TEST(test_really_empty_with_qresync),
		DELTA_TEST(test_really_empty_with_condstore),
		DELTA_TEST(test_renumbered_and_empty),
		DELTA_TEST(test_renumbered_and_few),
		DELTA_TEST(test_numbers_that_go_back),
		DELTA_TEST(test_gone_while_selected),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
