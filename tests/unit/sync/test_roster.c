/* SPDX-License-Identifier: MIT */
/* Folders that are made, renamed and deleted by others, and what a server's hiccup must not do. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/store.h"
#include "private.h"
#include "roster_fixture.h"

static void test_nothing_new(void **state)
{
	struct fixture *f = *state;
	add(f, "INBOX", 1, 3, pattern(LEN));
	start(f);
	assert_int_equal(survey(f), 0);
	assert_true(has_said(""));
	assert_int_equal(fake_counts(&f->fake).statuses, 0);
	assert_int_equal(sync_account_folder_count(f->account), 1);
}

static void test_new_and_gone(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 3, data);
	struct fake_mailbox *old = add(f, "Old", 1, 3, data);
	start(f);
	struct sync_folder *folder = fixture_folder(f, "Old");
	assert_int_equal(refresh(folder), 0);
	struct store_mailbox before;
	sync_folder_state(folder, &before);
	CHANGE(f, add(f, "New", 1, 2, data));
	assert_int_equal(survey(f), 0);
	assert_true(has_said("+New "));
	assert_int_equal(refresh(living(f, "New")), 0);
	assert_int_not_equal(sync_folder_directory_number(living(f, "New")), 0);
	CHANGE(f, old->removed = true);
	assert_int_equal(survey(f), 0);
	assert_true(has_said("+New -Old "));
	assert_true(sync_folder_is_gone(folder));
	assert_int_equal(refresh(folder), -ENOENT);
	assert_int_equal(read_uid(folder, 1), -ENOENT);
	assert_int_equal(structure(folder, 1), -ENOENT);
	uint64_t count, unseen;
	assert_int_equal(store_folder_count(f->store, before.folder, &count, &unseen), 0);
	assert_int_equal(count, 0);
	/* It comes back, another one. */
	CHANGE(f, (old->removed = false, old->uidvalidity = 78));
	assert_int_equal(survey(f), 0);
	assert_true(has_said("+New -Old +Old "));
	assert_int_equal(refresh(living(f, "Old")), 0);
	sync_folder_state(living(f, "Old"), &before);
	assert_int_equal(before.uidvalidity, 78);
	assert_int_equal(stored(f, "Old"), 3);
	/* And so is the next mount. */
	fixture_end(f);
	said[0] = 0;
	start(f);
	assert_int_equal(sync_account_folder_count(f->account), 3);
	assert_true(has_said(""));
}

/* Parents before children when they come, after them when they go. */
static void test_order(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 1, data);
	start(f);
	CHANGE(f, (add(f, "P/b", 1, 1, data), add(f, "P", 1, 1, data), add(f, "P/a", 1, 1, data)));
	assert_int_equal(survey(f), 0);
	assert_true(has_said("+P +P/a +P/b "));
	CHANGE(f, (f->fake.mailboxes[1].removed = f->fake.mailboxes[2].removed =
				  f->fake.mailboxes[3].removed = true));
	assert_int_equal(survey(f), 0);
	assert_true(has_said("+P +P/a +P/b -P/b -P/a -P "));
}

/* The server forgets to list what it has: nothing is lost, nothing is even hidden. */
static void test_short_list(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 3, data);
	struct fake_mailbox *a = add(f, "A", 1, 3, data);
	start(f);
	assert_int_equal(refresh(fixture_folder(f, "A")), 0);
	CHANGE(f, a->unlisted = true);
	for (int i = 0; i < 3; i++)
		assert_int_equal(survey(f), 0);
	assert_true(has_said(""));
	assert_int_equal(stored(f, "A"), 3);
	assert_int_equal(refresh(fixture_folder(f, "A")), 0);
	/* Nor by the next mount. */
	fixture_end(f);
	start(f);
	assert_int_equal(sync_account_folder_count(f->account), 2);
	assert_int_equal(stored(f, "A"), 3);
}

static void test_empty_list(void **state)
{
	struct fixture *f = *state;
	struct source_error error;
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 3, data)->unlisted = false;
	start(f);
	fixture_inbox(f);
	CHANGE(f, f->fake.mailboxes[0].unlisted = true);
	/* Who asked is shown what is known. */
	assert_int_equal(survey(f), 0);
	CHANGE(f, f->fake.mailboxes[0].removed = true);
	assert_int_equal(survey(f), 0);
	assert_true(has_said(""));
	assert_int_equal(stored(f, "INBOX"), 3);
	CHANGE(f, f->fake.list_err = -EIO);
	assert_int_equal(survey(f), 0);
	assert_true(has_said(""));
	fixture_end(f);
	/* A mount fails rather than to show an account without folders. */
	f->fake.list_err = 0;
	struct str why = STR_INIT;
	assert_int_equal(store_open(f->directory, STORE_CACHE, &f->store, &why), 0);
	str_finish(&why);
	f->params.store = f->store;
	assert_int_equal(sync_account_create(&f->params, &f->account), 0);
	assert_true(sync_account_start(f->account, &error) < 0);
	assert_non_null(strstr(error.text, "lists no folders"));
}

/* INBOX is always there, whether LIST has it or not; and an account without any folder is none. */
static void test_inbox_is_not_listed(void **state)
{
	struct fixture *f = *state;
	struct source_error error;
	struct str why = STR_INIT;
	struct fake_mailbox *inbox = add(f, "INBOX", 1, 3, pattern(LEN));
	struct fake_mailbox *a = add(f, "A", 1, 3, pattern(LEN));
	inbox->unlisted = true;
	start(f);
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	assert_int_equal(stored(f, "INBOX"), 3);
	CHANGE(f, inbox->unlisted = false);
	assert_int_equal(survey(f), 0);
	assert_true(has_said(""));
	fixture_end(f);
	assert_int_equal(store_open(f->directory, STORE_CACHE, &f->store, &why), 0);
	assert_int_equal(store_roster_put(f->store, NULL, 0), 0);
	/* Not for each account. */
	inbox->removed = true;
	start(f);
	assert_int_equal(sync_account_folder_count(f->account), 1);
	CHANGE(f, inbox->removed = false);
	assert_int_equal(survey(f), 0);
	assert_true(has_said("+INBOX "));
	fixture_end(f);
	assert_int_equal(store_open(f->directory, STORE_CACHE, &f->store, &why), 0);
	assert_int_equal(store_roster_put(f->store, NULL, 0), 0);
	str_finish(&why);
	inbox->removed = a->removed = true;
	f->params.store = f->store;
	assert_int_equal(sync_account_create(&f->params, &f->account), 0);
	assert_true(sync_account_start(f->account, &error) < 0);
	assert_non_null(strstr(error.text, "lists no folders"));
}

/* Refused without a reason: hidden at the second time, and kept in the store for when it comes back. */
static void test_refused_without_a_reason(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 3, data);
	struct fake_mailbox *a = add(f, "A", 1, 3, data);
	start(f);
	assert_int_equal(refresh(fixture_folder(f, "A")), 0);
	assert_int_equal(read_uid(fixture_folder(f, "A"), 1), 10);
	CHANGE(f, (a->unlisted = true, a->status_err = -EIO));
	assert_int_equal(survey(f), 0);
	assert_true(has_said(""));
	assert_int_equal(survey(f), 0);
	assert_true(has_said("-A "));
	CHANGE(f, (a->unlisted = false, a->status_err = 0));
	assert_int_equal(survey(f), 0);
	assert_true(has_said("-A +A "));
	assert_int_equal(refresh(living(f, "A")), 0);
	uint64_t bytes = fixture_bytes(f);
	assert_int_equal(read_uid(living(f, "A"), 1), 10);
	assert_int_equal(fixture_bytes(f), bytes);
}

/* A connection that is lost in the middle changes nothing. */
static void test_cut_anywhere(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 3, data);
	struct fake_mailbox *a = add(f, "A", 1, 30, data);
	f->params.connections = 1;
	start(f);
	struct sync_folder *folder = fixture_folder(f, "A");
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(read_uid(folder, 7), 10);
	CHANGE(f, a->name = "B");
	for (int at = 1; has_said(""); at++) {
		/* Now, and again on the new connection. */
		CHANGE(f, (f->fake.cut_in[0] = at, f->fake.cut_in[1] = 1));
		(void)survey(f);
		CHANGE(f, (f->fake.cut_in[0] = 0, f->fake.cut_in[1] = 0));
		wait_for(!link_is_offline(f->account));
		assert_true(at < 100);
		if (has_said(""))
			assert_false(sync_folder_is_gone(folder));
	}
	assert_true(has_said("A>B "));
	uint64_t bytes = fixture_bytes(f);
	assert_int_equal(refresh(living(f, "B")), 0);
	assert_int_equal(read_uid(living(f, "B"), 7), 10);
	assert_int_equal(fixture_bytes(f), bytes);
}

/* --- Renamed --- */

static void check_renamed(struct fixture *f, const char *from, const char *to, uint32_t count)
{
	struct sync_folder *folder = living(f, to);
	char text[100];
	snprintf(text, sizeof(text), "%s>%s ", from, to);
	assert_true(has_said(text));
	assert_non_null(folder);
	uint64_t bytes = fixture_bytes(f);
	unsigned rows = fake_counts(&f->fake).sent[SOURCE_COLUMNS_ALL];
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(stored(f, to), count);
	assert_int_equal(read_uid(folder, 2), 10);
	/* Neither bodies nor rows are fetched again. */
	assert_int_equal(fixture_bytes(f), bytes);
	assert_int_equal(fake_counts(&f->fake).sent[SOURCE_COLUMNS_ALL], rows);
}

static struct fake_mailbox *start_renaming(struct fixture *f, uint64_t mailbox_id)
{
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 3, data);
	struct fake_mailbox *a = add(f, "A", 1, 40, data);
	a->mailbox_id = mailbox_id;
	start(f);
	assert_int_equal(refresh(fixture_folder(f, "A")), 0);
	assert_int_equal(read_uid(fixture_folder(f, "A"), 2), 10);
	return a;
}

static void test_renamed_by_id(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *a = start_renaming(f, 4711);
	CHANGE(f, a->name = "B");
	assert_int_equal(survey(f), 0);
	check_renamed(f, "A", "B", 40);
	/* And back, over what it left. */
	said[0] = 0;
	CHANGE(f, a->name = "A");
	assert_int_equal(survey(f), 0);
	check_renamed(f, "B", "A", 40);
}

static void test_renamed_by_proof(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *a = start_renaming(f, 0);
	CHANGE(f, a->name = "B");
	assert_int_equal(survey(f), 0);
	check_renamed(f, "A", "B", 40);
	fixture_end(f);
	said[0] = 0;
	start(f);
	assert_int_equal(sync_account_folder_count(f->account), 2);
	assert_int_equal(stored(f, "B"), 40);
}

/* Some were expunged at the same time. */
static void test_renamed_and_changed(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *a = start_renaming(f, 0);
	for (uint32_t uid = 10; uid < 20; uid++)
		fake_message_remove(&f->fake, a, uid);
	CHANGE(f, a->name = "B");
	assert_int_equal(survey(f), 0);
	check_renamed(f, "A", "B", 30);
}

/* A pin goes with it. */
static void test_renamed_pinned(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *a = start_renaming(f, 0);
	assert_int_equal(store_pin_mailbox(f->store, "A", true), 0);
	CHANGE(f, a->name = "B");
	assert_int_equal(survey(f), 0);
	assert_true(has_said("A>B "));
	assert_true(store_is_pinned(f->store, "B", 0, 0));
	assert_false(store_is_pinned(f->store, "A", 0, 0));
}

/* The same UIDVALIDITY and the same UIDs, as with servers that count from 1 everywhere: other mail. */
static void test_not_renamed(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *a = start_renaming(f, 0);
	CHANGE(f, (a->removed = true, add(f, "B", 1, 40, pattern(LEN))));
	assert_int_equal(survey(f), 0);
	assert_true(has_said("+B -A "));
	uint64_t bytes = fixture_bytes(f);
	assert_int_equal(refresh(living(f, "B")), 0);
	assert_int_equal(read_uid(living(f, "B"), 2), 10);
	assert_true(fixture_bytes(f) > bytes);
}

/* Only the header of one message of a few differs. */
static void test_nearly_the_same(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 3, data);
	struct fake_mailbox *a = add(f, "A", 1, 12, data);
	start(f);
	assert_int_equal(refresh(fixture_folder(f, "A")), 0);
	CHANGE(f, (a->name = "B", fake_message(a, 7)->header = "Message-ID: <other@x>\r\n"));
	assert_int_equal(survey(f), 0);
	assert_true(has_said("+B -A "));
}

/* Two that fit are one too many. */
static void test_ambiguous(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	struct fake_mailbox *a = start_renaming(f, 0);
	pthread_mutex_lock(&f->fake.lock);
	a->name = "B";
	struct fake_mailbox *copy = fake_mailbox_add(&f->fake, "C", 77);
	for (uint32_t uid = 1; uid <= 40; uid++) {
		struct fake_message *message = fake_message_add(copy, uid, data, LEN);
		*message = *fake_message(a, uid);
	}
	pthread_mutex_unlock(&f->fake.lock);
	assert_int_equal(survey(f), 0);
	assert_true(has_said("+B +C -A "));
}

/* Children come along. */
static void test_renamed_tree(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 3, data);
	struct fake_mailbox *p = add(f, "P", 1, 5, data), *x = add(f, "P/x", 1, 5, data),
			    *y = add(f, "P/y", 1, 5, data);
	start(f);
	assert_int_equal(refresh(fixture_folder(f, "P")), 0);
	assert_int_equal(refresh(fixture_folder(f, "P/x")), 0);
	assert_int_equal(refresh(fixture_folder(f, "P/y")), 0);
	CHANGE(f, (p->name = "Q", x->name = "Q/x", y->name = "Q/y"));
	assert_int_equal(survey(f), 0);
	assert_true(has_said("P>Q P/x>Q/x P/y>Q/y "));
	assert_int_equal(stored(f, "Q/y"), 5);
}

/* While nobody was there. */
static void test_renamed_between_mounts(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *a = start_renaming(f, 0);
	fixture_end(f);
	a->name = "B";
	start(f);
	assert_true(has_said(""));
	assert_int_equal(sync_account_folder_count(f->account), 2);
	assert_int_equal(stored(f, "B"), 40);
	struct sync_folder *folder = fixture_folder(f, "B");
	uint64_t bytes = fixture_bytes(f);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(read_uid(folder, 2), 10);
	assert_int_equal(fixture_bytes(f), bytes);
}

/* The mount began without the server: what happened meanwhile is told once it is there. */
static void test_renamed_before_online(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *a = start_renaming(f, 0);
	fixture_end(f);
	a->name = "B";
	add(f, "New", 1, 1, a->messages[0].data);
	f->params.offline = true;
	f->fake.connect_failures = -1;
	start(f);
	assert_non_null(living(f, "A"));
	assert_int_equal(survey(f), 0);
	FAKE_SET(&f->fake, connect_failures, 0);
	wait_for(has_said("A>B +New "));
	assert_int_equal(refresh(living(f, "B")), 0);
	assert_int_equal(stored(f, "B"), 40);
}

/* Renamed while its listing runs, and somebody waits for it: the one ends, the other hears that it is gone. */
static void test_renamed_while_listed(void **state)
{
	struct fixture *f = *state;
	static struct reader reader;
	struct fake_mailbox *a = start_renaming(f, 0);
	struct sync_folder *folder = fixture_folder(f, "A");
	fake_message_add(a, 41, "x", 1);
	FAKE_SET(&f->fake, hold_rows, true);
	reader_init(&reader, 20000);
	assert_int_equal(sync_folder_refresh(folder, &reader.waiter), -EINPROGRESS);
	unsigned lists = fake_counts(&f->fake).lists;
	sleep_ms(20);
	/* The proof needs rows too, so it is by MAILBOXID this time. */
	struct store_mailbox state_now;
	sync_folder_state(folder, &state_now);
	CHANGE(f, a->name = "B");
	pthread_mutex_lock(&f->account->lock);
	folder->state.mailbox_id = 4711;
	pthread_mutex_unlock(&f->account->lock);
	CHANGE(f, a->mailbox_id = 4711);
	pthread_mutex_lock(&f->account->lock);
	roster_request(f->account);
	pthread_mutex_unlock(&f->account->lock);
	wait_for(fake_counts(&f->fake).lists > lists);
	assert_int_equal(reader_wait(&reader), -ENOENT);
	reader_finish(&reader);
	FAKE_SET(&f->fake, hold_rows, false);
	wait_for(has_said("A>B "));
	assert_int_equal(refresh(living(f, "B")), 0);
	assert_int_equal(stored(f, "B"), 41);
}

/* --- Attributes --- */

static void test_attributes(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 3, data);
	struct fake_mailbox *a = add(f, "A", 1, 3, data);
	a->flags = SOURCE_MAILBOX_NOSELECT;
	start(f);
	struct sync_folder *folder = fixture_folder(f, "A");
	const struct source_mailbox *before = sync_folder_mailbox(folder);
	assert_int_equal(refresh(folder), 0);
	CHANGE(f, (a->flags = SOURCE_MAILBOX_SUBSCRIBED, a->special_use = "\\Archive"));
	assert_int_equal(survey(f), 0);
	assert_true(has_said("~A "));
	assert_string_equal(sync_folder_mailbox(folder)->special_use, "\\Archive");
	assert_int_equal(sync_folder_mailbox(folder)->flags, SOURCE_MAILBOX_SUBSCRIBED);
	/* Who still has the old ones may read them. */
	assert_null(before->special_use);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(stored(f, "A"), 3);
	assert_int_equal(survey(f), 0);
	assert_true(has_said("~A "));
	CHANGE(f, a->special_use = NULL);
	assert_int_equal(survey(f), 0);
	assert_true(has_said("~A ~A "));
}

/* The same ones in turn are always followed; always other ones are not. */
static void test_attributes_that_flicker(void **state)
{
	struct fixture *f = *state;
	static char uses[40][16];
	add(f, "INBOX", 1, 3, pattern(LEN));
	struct fake_mailbox *a = add(f, "A", 1, 3, pattern(LEN));
	start(f);
	const struct sync_folder *folder = fixture_folder(f, "A");
	for (unsigned i = 0; i < 40; i++) {
		CHANGE(f, a->special_use = i % 2 ? "\\Sent" : "\\Junk");
		assert_int_equal(survey(f), 0);
		assert_string_equal(sync_folder_mailbox(folder)->special_use, a->special_use);
	}
	for (unsigned i = 0; i < 40; i++) {
		snprintf(uses[i], sizeof(uses[i]), "\\Use%u", i);
		CHANGE(f, a->special_use = uses[i]);
		assert_int_equal(survey(f), 0);
	}
	unsigned kept = 0;
	for (const struct folder_attributes *at = folder->said; at; at = at->former)
		kept++;
	assert_int_equal(kept, 16);
	CHANGE(f, a->special_use = NULL);
	assert_int_equal(survey(f), 0);
	assert_null(sync_folder_mailbox(folder)->special_use);
}

/* A folder that holds no messages goes as soon as it is not listed: there is nothing to lose. */
static void test_noselect_gone(void **state)
{
	struct fixture *f = *state;
	add(f, "INBOX", 1, 3, pattern(LEN));
	add(f, "Dir", 1, 0, NULL)->flags = SOURCE_MAILBOX_NOSELECT;
	start(f);
	CHANGE(f, f->fake.mailboxes[1].unlisted = true);
	assert_int_equal(survey(f), 0);
	assert_true(has_said("-Dir "));
	assert_int_equal(fake_counts(&f->fake).statuses, 0);
}

static bool holds_messages(struct fixture *f, const char *name)
{
	return !(sync_folder_mailbox(living(f, name))->flags & SOURCE_MAILBOX_NOSELECT);
}

/* LIST says that a folder that had messages holds none: that is not believed as long as the server has it. */
static void test_disowned(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 3, data);
	add(f, "New", 1, 3, data);
	struct fake_mailbox *a = add(f, "A", 1, 3, data);
	start(f);
	assert_int_equal(refresh(fixture_folder(f, "A")), 0);
	CHANGE(f, (a->flags = SOURCE_MAILBOX_NOSELECT, a->special_use = "\\Junk"));
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(survey(f), 0);
		assert_int_equal(fake_counts(&f->fake).statuses, i);
	}
	assert_true(has_said("~A ")); /* the rest of it is */
	assert_true(holds_messages(f, "A"));
	assert_int_equal(refresh(living(f, "A")), 0);
	CHANGE(f, a->unlisted = true);
	assert_int_equal(survey(f), 0);
	assert_true(has_said("~A "));
	/* Nor by the next mount. */
	CHANGE(f, a->unlisted = false);
	fixture_end(f);
	start(f);
	assert_true(holds_messages(f, "A"));
	assert_int_equal(refresh(living(f, "A")), 0);
	assert_int_equal(stored(f, "A"), 3);
	/* Of which nothing is known, nothing is asked. */
	unsigned statuses = fake_counts(&f->fake).statuses;
	CHANGE(f, (a->flags = 0, f->fake.mailboxes[1].flags = SOURCE_MAILBOX_NOSELECT));
	assert_int_equal(survey(f), 0);
	assert_false(holds_messages(f, "New"));
	assert_int_equal(fake_counts(&f->fake).statuses, statuses);
}

/* RFC 3501 section 6.3.4: it was deleted, and is there for its children. */
static void test_deleted_and_still_a_parent(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 3, data);
	struct fake_mailbox *a = add(f, "A", 1, 3, data);
	struct fake_mailbox *b = add(f, "B", 1, 3, data);
	start(f);
	assert_int_equal(refresh(fixture_folder(f, "A")), 0);
	assert_int_equal(refresh(fixture_folder(f, "B")), 0);
	CHANGE(f, (a->flags = b->flags = SOURCE_MAILBOX_NOSELECT, a->status_err = -ENOENT,
			  b->status_err = -EIO));
	assert_int_equal(survey(f), 0);
	assert_true(has_said("~A "));
	/* Refused without a reason: at the second time. */
	assert_int_equal(survey(f), 0);
	assert_true(has_said("~A ~B "));
	assert_false(holds_messages(f, "A"));
	assert_false(holds_messages(f, "B"));
	/* It goes, after it was asked for: rows of it are stored. */
	CHANGE(f, a->unlisted = true);
	assert_int_equal(survey(f), 0);
	assert_true(has_said("~A ~B -A "));
	/* A refusal that does not last is no reason. */
	CHANGE(f, (b->flags = 0, b->status_err = 0));
	assert_int_equal(survey(f), 0);
	for (int i = 0; i < 3; i++) {
		CHANGE(f, (b->flags = SOURCE_MAILBOX_NOSELECT, b->status_err = -EIO));
		assert_int_equal(survey(f), 0);
		assert_true(holds_messages(f, "B"));
		CHANGE(f, i == 1 ? (void)(b->flags = 0) : (void)(b->status_err = 0));
		assert_int_equal(survey(f), 0);
		assert_true(holds_messages(f, "B"));
	}
}

/* It can not be deleted. */
static void test_disowned_inbox(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = add(f, "INBOX", 1, 3, pattern(LEN));
	inbox->flags = SOURCE_MAILBOX_NOSELECT;
	start(f);
	assert_true(holds_messages(f, "INBOX"));
	assert_int_equal(refresh(living(f, "INBOX")), 0);
	CHANGE(f, inbox->status_err = inbox->select_err = -ENOENT);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(survey(f), 0);
		assert_true(holds_messages(f, "INBOX"));
		assert_true(refresh(living(f, "INBOX")) < 0);
	}
	CHANGE(f, inbox->status_err = inbox->select_err = 0);
	assert_int_equal(refresh(living(f, "INBOX")), 0);
	assert_int_equal(stored(f, "INBOX"), 3);
}

/* --- When --- */

/* What the watch hears is looked at, and told. */
static void test_told_by_the_watch(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN);
	f->fake.abilities = SOURCE_CAN_NOTIFY;
	f->params.refresh_ms = 600000;
	add(f, "INBOX", 1, 3, data);
	start(f);
	fixture_inbox(f);
	wait_for(f->fake.watching == 1);
	unsigned lists = fake_counts(&f->fake).lists;
	assert_int_equal(survey(f), 0);
	assert_int_equal(fake_counts(&f->fake).lists, lists);
	CHANGE(f, add(f, "New", 1, 1, data));
	fake_tell(&f->fake, SOURCE_EVENT_LIST, NULL);
	wait_for(has_said("+New "));
	/* QUIRK_WATCH_STALE: whether the server tells of it is not sure before the watch was begun anew. */
	struct sync_folder_status status;
	assert_int_equal(sync_folder_status(living(f, "New"), &status), 0);
	assert_false(status.watched);
	assert_int_equal(refresh(living(f, "New")), 0);
	fake_deliver(&f->fake, &f->fake.mailboxes[1], "x", 1);
	wait_for(stored(f, "New") == 2);
	struct fake_counts before = fake_counts(&f->fake);
	pthread_mutex_lock(&f->account->lock);
	f->account->watch.renew_ms = clock_now_ms();
	pthread_mutex_unlock(&f->account->lock);
	link_wake(f->account);
	wait_for(fake_counts(&f->fake).watches == before.watches + 1);
	/* Without another call in between it would go on as it was. */
	assert_int_equal(fake_counts(&f->fake).statuses, before.statuses + 1);
	wait_for(sync_folder_status(living(f, "New"), &status) == 0 && status.watched);
}

static void test_not_too_often(void **state)
{
	struct fixture *f = *state;
	f->params.refresh_ms = 600000;
	add(f, "INBOX", 1, 3, pattern(LEN));
	start(f);
	for (int i = 0; i < 5; i++)
		assert_int_equal(survey(f), 0);
	assert_int_equal(fake_counts(&f->fake).lists, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, roster_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_nothing_new),
		TEST(test_new_and_gone),
		TEST(test_order),
		TEST(test_short_list),
		TEST(test_empty_list),
		TEST(test_inbox_is_not_listed),
		TEST(test_refused_without_a_reason),
		TEST(test_cut_anywhere),
		TEST(test_renamed_by_id),
		TEST(test_renamed_by_proof),
		TEST(test_renamed_and_changed),
		TEST(test_renamed_pinned),
		TEST(test_not_renamed),
		TEST(test_nearly_the_same),
		TEST(test_ambiguous),
		TEST(test_renamed_tree),
		TEST(test_renamed_between_mounts),
		TEST(test_renamed_before_online),
		TEST(test_renamed_while_listed),
		TEST(test_attributes),
		TEST(test_attributes_that_flicker),
		TEST(test_noselect_gone),
		TEST(test_disowned),
		TEST(test_deleted_and_still_a_parent),
		TEST(test_disowned_inbox),
		TEST(test_told_by_the_watch),
		TEST(test_not_too_often),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
