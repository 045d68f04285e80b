/* SPDX-License-Identifier: MIT */
/* What a refresh costs on each rung, what it tells, and what it does when it fails in the middle or there is no connection. */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "mailfs/store.h"
#include "private.h"

enum { ALL = SOURCE_COLUMNS_ALL, FLAGS = SOURCE_COLUMNS_FLAGS };
enum { CONDSTORE = SOURCE_CAN_CONDSTORE, QRESYNC = CONDSTORE | SOURCE_CAN_QRESYNC };

/* Linked with --wrap: what the store was asked for, and what fails. */
static atomic_uint loads, gets, pin_looks;
static atomic_int puts_left = -1; /* so many states can be stored yet; -1: all */
static atomic_bool offline;

int __real_store_rows_load(struct store *, uint32_t, uint32_t, source_row_fn *, void *);
int __wrap_store_rows_load(
	struct store *store, uint32_t folder, uint32_t first, source_row_fn *fn, void *arg);
int __wrap_store_rows_load(
	struct store *store, uint32_t folder, uint32_t first, source_row_fn *fn, void *arg)
{
	loads++;
	return __real_store_rows_load(store, folder, first, fn, arg);
}

int __real_store_row_get(struct store *, uint32_t, uint32_t, source_row_fn *, void *);
int __wrap_store_row_get(
	struct store *store, uint32_t folder, uint32_t uid, source_row_fn *fn, void *arg);
int __wrap_store_row_get(
	struct store *store, uint32_t folder, uint32_t uid, source_row_fn *fn, void *arg)
{
	gets++;
	return __real_store_row_get(store, folder, uid, fn, arg);
}

int __real_store_mailbox_put(struct store *, const char *, const struct store_mailbox *);
int __wrap_store_mailbox_put(
	struct store *store, const char *mailbox, const struct store_mailbox *state);
int __wrap_store_mailbox_put(
	struct store *store, const char *mailbox, const struct store_mailbox *state)
{
	if (puts_left == 0)
		return -EIO;
	puts_left -= puts_left > 0;
	return __real_store_mailbox_put(store, mailbox, state);
}

bool __wrap_link_is_offline(struct sync_account *account);
bool __wrap_link_is_offline(struct sync_account *account)
{
	(void)account;
	return offline;
}

void __wrap_pins_folder_listed(struct sync_folder *folder);
void __wrap_pins_folder_listed(struct sync_folder *folder)
{
	(void)folder;
	pin_looks++;
}

static int delta_setup(void **state)
{
	puts_left = -1;
	offline = false;
	pin_looks = 0;
	return fixture_setup(state);
}

static struct fake_mailbox *inbox_with(struct fixture *f, unsigned abilities, uint32_t count)
{
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	f->fake.abilities = abilities;
	inbox->modseq = abilities ? 100 : 0;
	for (uint32_t i = 0; i < count; i++)
		fake_append(&f->fake, inbox, "x", 1, "");
	if (!abilities)
		inbox->modseq = 0;
	return inbox;
}

/* The flags that were told, as "uid text;". */
static struct str told_flags;
static atomic_uint flag_calls;
static void on_flags(
	void *arg, struct sync_folder *folder, const struct store_flags *flags, size_t count)
{
	(void)arg, (void)folder;
	flag_calls++;
	for (size_t i = 0; i < count; i++)
		str_printf(&told_flags, "%u %s;", flags[i].uid, flags[i].flags);
}

static struct sync_folder *mount(struct fixture *f)
{
	fixture_start(f);
	struct sync_events events = fixture_events(f);
	events.flags = on_flags;
	sync_account_set_events(f->account, &events);
	str_finish(&told_flags);
	flag_calls = 0;
	return fixture_folder(f, "INBOX");
}

static struct sync_folder *listed(struct fixture *f)
{
	struct sync_folder *folder = mount(f);
	assert_int_equal(refresh(folder), 0);
	loads = gets = 0;
	return folder;
}

/* What happened since before. */
static struct fake_counts since(struct fixture *f, const struct fake_counts *before)
{
	struct fake_counts now = fake_counts(&f->fake);
	for (int i = 0; i < 3; i++) {
		now.rows[i] -= before->rows[i];
		now.sent[i] -= before->sent[i];
	}
	now.selects -= before->selects;
	now.changed -= before->changed;
	now.uids -= before->uids;
	now.told -= before->told;
	now.resyncs -= before->resyncs;
	return now;
}

static void assert_in_step(struct fixture *f)
{
	struct fake_mailbox *inbox = &f->fake.mailboxes[0];
	uint64_t count, unseen;
	assert_int_equal(store_folder_count(f->store, f->told->number, &count, &unseen), 0);
	assert_int_equal(count, inbox->count);
	assert_int_equal(told_shown(f->told), inbox->count);
	for (size_t i = 0; i < inbox->count; i++)
		assert_true(told_has(f->told, inbox->messages[i].uid, NULL));
}

static int on_row_flags(void *arg, const struct source_row *row)
{
	str_append_cstr(arg, row->flags);
	return 0;
}

static void assert_flags(struct fixture *f, uint32_t uid, const char *expect)
{
	struct str flags = STR_INIT;
	assert_int_equal(
		__real_store_row_get(f->store, f->told->number, uid, on_row_flags, &flags), 0);
	assert_string_equal(str_cstr(&flags), expect);
	str_finish(&flags);
}

static void change_300(struct fixture *f, struct fake_mailbox *inbox)
{
	for (uint32_t i = 0; i < 100; i++) {
		fake_expunge(&f->fake, inbox, 1000 + i);
		fake_flag(&f->fake, inbox, 3000 + 7 * i, "\\Seen");
		fake_append(&f->fake, inbox, "x", 1, "");
	}
	if (!f->fake.abilities)
		inbox->modseq = 0;
}

/* --- Cost --- */

static void test_qresync_costs_what_has_changed(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, QRESYNC, 10000);
	struct sync_folder *folder = listed(f);
	struct fake_counts before = fake_counts(&f->fake);
	assert_int_equal(refresh(folder), 0);
	struct fake_counts cost = since(f, &before);
	assert_int_equal(cost.selects, 1);
	assert_int_equal(cost.resyncs, 1);
	assert_int_equal(cost.told, 0);
	assert_int_equal(cost.changed + cost.uids + cost.rows[0] + cost.rows[1] + cost.rows[2], 0);
	assert_int_equal(loads + gets, 0);

	change_300(f, inbox);
	before = fake_counts(&f->fake);
	assert_int_equal(refresh(folder), 0);
	cost = since(f, &before);
	assert_in_step(f);
	assert_int_equal(cost.selects, 1);
	assert_int_equal(cost.told, 300);
	assert_int_equal(cost.sent[ALL], 100);
	assert_int_equal(cost.rows[ALL], 1);
	assert_int_equal(cost.changed + cost.uids + cost.rows[FLAGS], 0);
	/* The stored listing is not read from end to end. */
	assert_int_equal(loads, 0);
	assert_in_range(gets, 200, 300);
	assert_int_equal(flag_calls, 1);
}

/* Nothing at all is to be fetched for a remount. */
static void test_remount_with_qresync(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, QRESYNC, 5000);
	listed(f);
	fixture_end(f);
	struct fake_counts before = fake_counts(&f->fake);
	listed(f);
	struct fake_counts cost = since(f, &before);
	assert_in_step(f);
	assert_int_equal(cost.selects, 1);
	assert_int_equal(cost.told, 0);
	assert_int_equal(cost.changed + cost.uids + cost.rows[0] + cost.rows[1] + cost.rows[2], 0);
	assert_int_equal(f->told->changes, 0);
	assert_int_equal(flag_calls, 0);
}

static void test_condstore_costs(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, CONDSTORE, 10000);
	struct sync_folder *folder = listed(f);
	struct fake_counts before = fake_counts(&f->fake);
	assert_int_equal(refresh(folder), 0);
	struct fake_counts cost = since(f, &before);
	assert_int_equal(cost.selects, 1);
	assert_int_equal(cost.resyncs + cost.changed + cost.uids + cost.rows[FLAGS], 0);

	/* New mail and flags: the numbers show that nothing went. */
	fake_flag(&f->fake, inbox, 4000, "\\Flagged");
	fake_append(&f->fake, inbox, "x", 1, "");
	before = fake_counts(&f->fake);
	assert_int_equal(refresh(folder), 0);
	cost = since(f, &before);
	assert_in_step(f);
	assert_flags(f, 4000, "\\Flagged");
	assert_int_equal(cost.changed, 1);
	assert_int_equal(cost.told, 2);
	assert_int_equal(cost.sent[ALL], 1);
	assert_int_equal(cost.uids + cost.rows[FLAGS], 0);
	assert_int_equal(loads, 0);

	/* Something went, and nothing else: only the UIDs are asked for. */
	fake_expunge(&f->fake, inbox, 77);
	FAKE_SET(&f->fake, mailboxes[0].modseq, inbox->modseq - 1);
	before = fake_counts(&f->fake);
	assert_int_equal(refresh(folder), 0);
	cost = since(f, &before);
	assert_in_step(f);
	assert_int_equal(cost.uids, 1);
	assert_int_equal(cost.changed + cost.rows[FLAGS] + cost.rows[ALL], 0);

	change_300(f, inbox);
	before = fake_counts(&f->fake);
	assert_int_equal(refresh(folder), 0);
	cost = since(f, &before);
	assert_in_step(f);
	assert_int_equal(cost.changed, 1);
	assert_int_equal(cost.uids, 1);
	assert_int_equal(cost.sent[ALL], 100);
	assert_int_equal(cost.rows[FLAGS], 0);
}

/* Without modification sequences the set can be the same, and the flags others. */
static void test_scan_finds_flags_each_time(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 0, 50);
	struct sync_folder *folder = listed(f);
	FAKE_SET(&f->fake, mailboxes[0].messages[9].flags, "\\Seen $Work");
	struct fake_counts before = fake_counts(&f->fake);
	assert_int_equal(refresh(folder), 0);
	assert_flags(f, 10, "\\Seen $Work");
	assert_string_equal(str_cstr(&told_flags), "10 \\Seen $Work;");
	assert_int_equal(f->told->changes, 0);
	struct fake_counts cost = since(f, &before);
	assert_int_equal(cost.rows[FLAGS], 1);
	assert_int_equal(cost.sent[FLAGS], 50);
	assert_int_equal(cost.rows[ALL], 0);
	/* Told once. */
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(flag_calls, 1);
}

static void test_new_ones_far_apart_are_fetched_alone(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, QRESYNC, 1000);
	struct sync_folder *folder = listed(f);
	for (int i = 0; i < 50; i++) {
		fake_append(&f->fake, inbox, "x", 1, "");
		inbox->uidnext += 1000;
	}
	struct fake_counts before = fake_counts(&f->fake);
	assert_int_equal(refresh(folder), 0);
	struct fake_counts cost = since(f, &before);
	assert_in_step(f);
	assert_int_equal(cost.rows[ALL], 1);
	assert_int_equal(cost.sent[ALL], 50);
	/* One that was not known among those that are: it alone. */
	uint32_t lost = 500;
	assert_int_equal(store_rows_remove(f->store, f->told->number, &lost, 1), 0);
	fake_flag(&f->fake, inbox, 500, "\\Seen");
	before = fake_counts(&f->fake);
	assert_int_equal(refresh(folder), 0);
	cost = since(f, &before);
	assert_int_equal(cost.sent[ALL], 1);
	assert_flags(f, 500, "\\Seen");
}

/* --- What is told --- */

static void test_flags_are_told_of_what_is_shown(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, QRESYNC, 20);
	struct sync_folder *folder = listed(f);
	fake_flag(&f->fake, inbox, 3, "\\Seen");
	fake_flag(&f->fake, inbox, 5, "\\Seen \\Flagged");
	fake_flag(&f->fake, inbox, 7, "");
	fake_expunge(&f->fake, inbox, 4);
	assert_int_equal(refresh(folder), 0);
	assert_string_equal(str_cstr(&told_flags), "3 \\Seen;5 \\Seen \\Flagged;");
	fixture_end(f);
	/* Between two mounts: what is announced has them. */
	fake_flag(&f->fake, inbox, 3, "");
	listed(f);
	assert_int_equal(flag_calls, 0);
	assert_flags(f, 3, "");
}

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

static int delta_teardown(void **state)
{
	str_finish(&told_flags);
	return fixture_teardown(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, delta_setup, delta_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_qresync_costs_what_has_changed),
		TEST(test_remount_with_qresync),
		TEST(test_condstore_costs),
		TEST(test_scan_finds_flags_each_time),
		TEST(test_new_ones_far_apart_are_fetched_alone),
		TEST(test_flags_are_told_of_what_is_shown),
		TEST(test_false_deletions),
		TEST(test_modseq_that_stands_still),
		TEST(test_modseq_that_goes_back),
		TEST(test_refused_commands),
		TEST(test_a_server_that_insists),
		TEST(test_expunged_during_the_scan),
		TEST(test_what_was_heard_is_stored_before_the_state),
		TEST(test_a_resync_that_is_cut_begins_anew),
		TEST(test_another_server_takes_over),
		TEST(test_cut_off),
		TEST(test_cut_off_before_the_first_listing),
		TEST(test_a_refused_login_is_an_error),
		TEST(test_offline),
		TEST(test_dirty_again),
		TEST(test_when_it_was_looked_at),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
