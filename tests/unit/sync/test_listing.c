/* SPDX-License-Identifier: MIT */
/* Listings: the first, one that goes on, changes, lies, and what each costs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "mailfs/store.h"

static const char small[] = "Subject: hello\r\n\r\nbody\r\n";

extern uint32_t listing_slice_messages;

static struct fake_mailbox *inbox_with(struct fixture *f, uint32_t count)
{
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	for (uint32_t uid = 1; uid <= count; uid++)
		fake_message_add(inbox, uid, small, sizeof(small) - 1);
	return inbox;
}

static enum sync_listing progress(struct sync_folder *folder)
{
	uint64_t seen;
	int err;
	return sync_folder_progress(folder, &seen, &err);
}

/* The tree and the store both have exactly what the server has. */
static void assert_in_step(struct fixture *f, struct sync_folder *folder)
{
	struct fake_mailbox *inbox = &f->fake.mailboxes[0];
	struct store_mailbox state;
	uint64_t count, unseen;
	sync_folder_state(folder, &state);
	assert_int_equal(state.folder, f->told->number);
	assert_int_equal(state.uidvalidity, inbox->uidvalidity);
	assert_true(state.complete);
	assert_int_equal(progress(folder), SYNC_LISTING_WHOLE);
	assert_int_equal(store_folder_count(f->store, state.folder, &count, &unseen), 0);
	assert_int_equal(count, inbox->count);
	assert_int_equal(told_shown(f->told), inbox->count);
	for (size_t i = 0; i < inbox->count; i++)
		assert_true(told_has(f->told, inbox->messages[i].uid, NULL));
}

static void test_first_listing(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 2500);
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	struct store_mailbox before, after;
	assert_int_equal(progress(folder), SYNC_LISTING_NONE);
	sync_folder_state(folder, &before);
	assert_int_equal(before.folder, 0);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
	sync_folder_state(folder, &after);
	assert_int_equal(f->told->resets, 1);
	assert_true(f->told->batches >= 3);
	assert_int_equal(f->told->changes, 0);
	assert_int_equal(after.changed_s, before.changed_s);
	assert_int_equal(after.uidnext, 2501);
	struct fake_counts counts = fake_counts(&f->fake);
	assert_int_equal(counts.selects, 1);
	assert_int_equal(counts.rows[SOURCE_COLUMNS_ALL], 1);
	assert_int_equal(counts.rows[SOURCE_COLUMNS_UID] + counts.rows[SOURCE_COLUMNS_FLAGS], 0);
	assert_int_equal(counts.connects, 1);
}

static void test_empty_folder(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 0);
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
	assert_int_equal(f->told->resets, 1);
	assert_int_equal(fake_counts(&f->fake).rows[SOURCE_COLUMNS_ALL], 0);
}

static void test_unchanged_costs_a_select(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 100)->modseq = 5;
	fixture_start(f);
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	fixture_end(f);
	struct fake_counts before = fake_counts(&f->fake);
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
	assert_int_equal(refresh(folder), 0);
	struct fake_counts after = fake_counts(&f->fake);
	assert_int_equal(after.selects - before.selects, 2);
	for (int i = 0; i < 3; i++)
		assert_int_equal(after.rows[i], before.rows[i]);
	assert_int_equal(f->told->resets, 1);
}

static void test_refresh_interval(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 3);
	f->params.refresh_ms = 60000;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	struct reader reader;
	reader_init(&reader, 1000);
	assert_int_equal(sync_folder_refresh(folder, &reader.waiter), 0);
	reader_finish(&reader);
	assert_int_equal(fake_counts(&f->fake).selects, 1);
}

static void test_noselect(void **state)
{
	struct fixture *f = *state;
	fake_mailbox_add(&f->fake, "Parent", 1)->flags = SOURCE_MAILBOX_NOSELECT;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "Parent");
	struct reader reader;
	reader_init(&reader, 1000);
	assert_int_equal(sync_folder_refresh(folder, &reader.waiter), 0);
	assert_int_equal(sync_folder_wait(folder, 0, &reader.waiter), 0);
	reader_finish(&reader);
	assert_int_equal(fake_counts(&f->fake).selects, 0);
	assert_int_equal(progress(folder), SYNC_LISTING_WHOLE);
}

/* What changes between two refreshes, and between two mounts: the same result. */
static void change_world(struct fixture *f)
{
	struct fake_mailbox *inbox = &f->fake.mailboxes[0];
	fake_message_remove(&f->fake, inbox, 3);
	fake_message_remove(&f->fake, inbox, 7);
	pthread_mutex_lock(&f->fake.lock);
	fake_message(inbox, 5)->flags = "\\Seen \\Flagged";
	fake_message_add(inbox, 11, small, sizeof(small) - 1);
	fake_message_add(inbox, 12, small, sizeof(small) - 1);
	inbox->modseq++;
	pthread_mutex_unlock(&f->fake.lock);
}

static int on_flags(void *arg, const struct source_row *row)
{
	struct str *out = arg;
	str_append_cstr(out, row->flags);
	return 0;
}

static void assert_flags(struct fixture *f, uint32_t uid, const char *expect)
{
	struct str flags = STR_INIT;
	assert_int_equal(store_row_get(f->store, f->told->number, uid, on_flags, &flags), 0);
	assert_string_equal(str_cstr(&flags), expect);
	str_finish(&flags);
}

static void test_changes_in_a_mount(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 10)->modseq = 5;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	struct store_mailbox before, after;
	assert_int_equal(refresh(folder), 0);
	sync_folder_state(folder, &before);
	change_world(f);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
	assert_flags(f, 5, "\\Seen \\Flagged");
	sync_folder_state(folder, &after);
	assert_true(after.changed_s > before.changed_s);
	assert_int_equal(f->told->changes, 1);
	assert_int_equal(f->told->changed_s, after.changed_s);
	assert_int_equal(f->told->resets, 1);
	struct fake_counts counts = fake_counts(&f->fake);
	assert_int_equal(counts.rows[SOURCE_COLUMNS_FLAGS], 1);
	assert_int_equal(counts.rows[SOURCE_COLUMNS_ALL], 2);
	assert_int_equal(f->fake.row_ranges[2][0], 11);
	assert_int_equal(f->fake.row_ranges[2][1], 12);
}

static void test_changes_between_mounts(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 10)->modseq = 5;
	fixture_start(f);
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	fixture_end(f);
	change_world(f);
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
	assert_flags(f, 5, "\\Seen \\Flagged");
	/* What is gone was never shown. */
	for (size_t i = 0; i < f->told->count; i++)
		assert_false(f->told->messages[i].gone);
	assert_int_equal(f->told->changes, 1);
}

static void test_flags_alone_move_no_time(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, 10);
	inbox->modseq = 5;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	struct store_mailbox before, after;
	assert_int_equal(refresh(folder), 0);
	sync_folder_state(folder, &before);
	pthread_mutex_lock(&f->fake.lock);
	fake_message(inbox, 5)->flags = "";
	inbox->modseq = 6;
	pthread_mutex_unlock(&f->fake.lock);
	assert_int_equal(refresh(folder), 0);
	assert_flags(f, 5, "");
	sync_folder_state(folder, &after);
	assert_int_equal(after.changed_s, before.changed_s);
	assert_int_equal(after.modseq, 6);
	assert_int_equal(f->told->changes, 0);
}

static void test_uidvalidity_changes(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, 10);
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	struct store_mailbox before, after;
	uint64_t count, unseen;
	assert_int_equal(refresh(folder), 0);
	sync_folder_state(folder, &before);
	FAKE_SET(&f->fake, mailboxes[0].uidvalidity, 78);
	fake_message_remove(&f->fake, inbox, 1);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
	sync_folder_state(folder, &after);
	assert_int_not_equal(after.folder, before.folder);
	assert_true(after.changed_s > before.changed_s);
	assert_int_equal(f->told->resets, 2);
	assert_int_equal(f->told->changes, 1);
	assert_int_equal(store_folder_count(f->store, before.folder, &count, &unseen), 0);
	assert_int_equal(count, 0);
}

static void test_drop_in_the_middle_is_invisible(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 300);
	f->fake.drop_rows = 1;
	f->fake.drop_rows_after = 150;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
	assert_int_equal(f->fake.row_ranges[0][0], 1);
	assert_int_equal(f->fake.row_ranges[1][0], 151);
	for (size_t i = 0; i < f->told->count; i++)
		assert_int_equal(f->told->messages[i].times, 1);
	assert_int_equal(fake_counts(&f->fake).connects, 2);
}

static void test_failed_listing_goes_on(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 300);
	f->fake.drop_rows = 2;
	f->fake.drop_rows_after = 120;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	uint64_t seen;
	int err;
	assert_int_equal(refresh(folder), -EIO);
	assert_int_equal(sync_folder_progress(folder, &seen, &err), SYNC_LISTING_FAILED);
	assert_int_equal(err, -EIO);
	assert_int_equal(told_shown(f->told), 240);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
	assert_int_equal(f->told->resets, 1);
	for (size_t i = 0; i < f->told->count; i++)
		assert_int_equal(f->told->messages[i].times, 1);
	assert_int_equal(f->told->changes, 0);
}

static void test_cut_off_listing_goes_on_in_the_next_mount(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, 300);
	f->fake.drop_rows = 2;
	f->fake.drop_rows_after = 120;
	fixture_start(f);
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), -EIO);
	fixture_end(f);
	fake_message_remove(&f->fake, inbox, 50);
	struct fake_counts before = fake_counts(&f->fake);
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
	for (size_t i = 0; i < f->told->count; i++)
		assert_false(f->told->messages[i].gone);
	unsigned n = before.rows[0] + before.rows[1] + before.rows[2];
	/* What was stored is checked, what was not is fetched, nothing twice. */
	assert_int_equal(f->fake.row_ranges[n][1], 240);
	assert_int_equal(f->fake.row_ranges[n + 1][0], 241);
}

static void test_malformed_rows(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, 20);
	unsigned all = fake_message(inbox, 1)->have, have;
	fake_message(inbox, 3)->have = 0;                                  /* always unreadable */
	fake_message(inbox, 5)->have = SOURCE_ROW_FLAGS | SOURCE_ROW_DATE; /* never a size */
	fake_message(inbox, 7)->have_once = SOURCE_ROW_FLAGS | SOURCE_ROW_DATE; /* none at first */
	fake_message(inbox, 9)->have = all & ~(unsigned)SOURCE_ROW_HEADER;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
	assert_true(told_has(f->told, 3, &have));
	assert_int_equal(have, 0);
	assert_true(told_has(f->told, 5, &have));
	assert_int_equal(have, SOURCE_ROW_FLAGS | SOURCE_ROW_DATE);
	assert_true(told_has(f->told, 7, &have));
	assert_int_equal(have, all);
	assert_true(told_has(f->told, 9, &have));
	assert_int_equal(have, all & ~(unsigned)SOURCE_ROW_HEADER);
	for (size_t i = 0; i < f->told->count; i++)
		assert_int_equal(f->told->messages[i].times, 1);
}

static void test_a_gap_filled_in_part(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, 20);
	unsigned have;
	fake_message(inbox, 3)->skip_once = true;
	fake_message(inbox, 3)->have = SOURCE_ROW_FLAGS | SOURCE_ROW_DATE;
	fake_message(inbox, 4)->skip_once = true;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
	assert_true(told_has(f->told, 3, &have));
	assert_int_equal(have, SOURCE_ROW_FLAGS | SOURCE_ROW_DATE);
	assert_true(told_has(f->told, 4, &have));
	assert_int_equal(have, fake_message(inbox, 4)->have);
}

/* A scan with holes: nothing in a hole is taken for gone. */
static void test_unreadable_scans_remove_nothing(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, 10);
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	/* The flags can not be read, the UIDs can. */
	FAKE_SET(&f->fake, mailboxes[0].messages[4].scan_skips, 1);
	fake_message_remove(&f->fake, inbox, 9);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
	/* Neither can: even what is gone stays, until it can be told. */
	FAKE_SET(&f->fake, mailboxes[0].messages[4].scan_skips, 2);
	fake_message_remove(&f->fake, inbox, 8);
	assert_int_equal(refresh(folder), 0);
	assert_true(told_has(f->told, 5, NULL));
	assert_true(told_has(f->told, 8, NULL));
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
}

static void test_flood_ends(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 10)->floods = 1000000;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), -EIO);
	assert_int_equal(progress(folder), SYNC_LISTING_FAILED);
}

static void test_all_rows_malformed(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, 500);
	for (size_t i = 0; i < inbox->count; i++)
		inbox->messages[i].have = i % 2 ? 0 : SOURCE_ROW_FLAGS;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
}

static void test_new_row_malformed(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, 5);
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	pthread_mutex_lock(&f->fake.lock);
	fake_message_add(inbox, 6, small, sizeof(small) - 1)->have = 0;
	pthread_mutex_unlock(&f->fake.lock);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
}

static void test_duplicates_and_disorder(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, 400);
	inbox->reversed = true;
	for (size_t i = 0; i < inbox->count; i += 3)
		inbox->messages[i].twice = true;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
	assert_int_equal(f->told->count, 400);
	for (size_t i = 0; i < f->told->count; i++)
		assert_int_equal(f->told->messages[i].times, 1);
}

static void test_disorder_and_a_drop(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 400)->reversed = true;
	f->fake.drop_rows = 2;
	f->fake.drop_rows_after = 100;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), -EIO);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
}

static void test_exists_too_large(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 10)->exists = 12;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(told_shown(f->told), 10);
	assert_int_equal(fake_counts(&f->fake).rows[SOURCE_COLUMNS_UID], 1);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(told_shown(f->told), 10);
	assert_int_equal(f->told->changes, 0);
}

static void test_a_listing_of_nothing_is_not_believed(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, 10);
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	pthread_mutex_lock(&f->fake.lock);
	inbox->count = 0;
	inbox->exists = 11;
	pthread_mutex_unlock(&f->fake.lock);
	assert_int_equal(refresh(folder), -EIO);
	assert_int_equal(told_shown(f->told), 10);
	FAKE_SET(&f->fake, mailboxes[0].exists, 0);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(told_shown(f->told), 0);
}

static void test_select_refused(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 10)->select_err = -EACCES;
	struct fake_mailbox *other = fake_mailbox_add(&f->fake, "Other", 5);
	fake_message_add(other, 1, small, sizeof(small) - 1);
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), -EACCES);
	assert_int_equal(progress(folder), SYNC_LISTING_FAILED);
	assert_int_equal(refresh(fixture_folder(f, "Other")), 0);
	FAKE_SET(&f->fake, mailboxes[0].select_err, 0);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
}

static void test_no_uidnext(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	inbox->uidnext = 0;
	for (uint32_t uid = 1; uid <= 5; uid++)
		fake_message_add(inbox, uid, small, sizeof(small) - 1);
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	fake_message_remove(&f->fake, inbox, 2);
	pthread_mutex_lock(&f->fake.lock);
	fake_message_add(inbox, 6, small, sizeof(small) - 1);
	pthread_mutex_unlock(&f->fake.lock);
	/* As many as before: only a scan tells. */
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
}

static void drop_again(struct fake_source *fake)
{
	fake->drop_rows += fake->row_ranges[1][0] && !fake->row_ranges[2][0];
	fake->drop_rows_after = fake->row_ranges[1][0] ? 12000 : 150;
}

static void test_slices(void **state)
{
	struct fixture *f = *state;
	const uint32_t slice = listing_slice_messages;
	listing_slice_messages = 1000;
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	for (uint32_t i = 1; i <= 1900; i++)
		fake_message_add(inbox, i * 10, small, sizeof(small) - 1);
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
	assert_int_equal(fake_counts(&f->fake).rows[SOURCE_COLUMNS_ALL], 2);
	assert_int_equal(f->fake.row_ranges[1][0], f->fake.row_ranges[0][1] + 1);
	assert_int_equal(f->fake.row_ranges[1][1], UINT32_MAX);
	listing_slice_messages = slice;
}

/* A connection that is lost again, but after it has brought much: the one command goes on where it was cut off. */
static void test_cut_off_often(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 15000);
	f->fake.drop_rows = 1;
	f->fake.drop_rows_after = 150;
	f->fake.on_rows = drop_again;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f, folder);
	assert_int_equal(fake_counts(&f->fake).rows[SOURCE_COLUMNS_ALL], 3);
	assert_int_equal(f->fake.row_ranges[1][0], 151);
	assert_int_equal(f->fake.row_ranges[2][0], 151 + 12000);
}

static int wait_for_news(struct sync_folder *folder, uint64_t seen)
{
	struct reader watcher;
	reader_init(&watcher, 20000);
	int got = sync_folder_wait(folder, seen, &watcher.waiter);
	if (got == -EINPROGRESS)
		got = (int)reader_wait(&watcher);
	reader_finish(&watcher);
	return got;
}

static void test_wait_sees_rows_as_they_come(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 300);
	f->fake.hold_rows = true;
	f->fake.hold_rows_after = 150;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	struct reader refresher;
	uint64_t seen;
	int err;
	reader_init(&refresher, 20000);
	assert_int_equal(sync_folder_refresh(folder, &refresher.waiter), -EINPROGRESS);
	assert_int_equal(sync_folder_progress(folder, &seen, &err), SYNC_LISTING_RUNNING);
	/* The first rows are shown while the server is still sending. */
	while (told_shown(f->told) == 0) {
		assert_int_equal(wait_for_news(folder, seen), 0);
		assert_int_equal(sync_folder_progress(folder, &seen, &err), SYNC_LISTING_RUNNING);
	}
	assert_true(told_shown(f->told) <= 150);
	assert_int_equal(reader_wakes(&refresher), 0);
	FAKE_SET(&f->fake, hold_rows, false);
	while (sync_folder_progress(folder, &seen, &err) == SYNC_LISTING_RUNNING)
		assert_int_equal(wait_for_news(folder, seen), 0);
	assert_int_equal(progress(folder), SYNC_LISTING_WHOLE);
	assert_int_equal(reader_wait(&refresher), 0);
	reader_finish(&refresher);
	assert_in_step(f, folder);
}

static void test_wait_starts_and_fails(void **state)
{
	struct fixture *f = *state;
	inbox_with(f, 10)->select_err = -ENOENT;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	struct reader watcher;
	reader_init(&watcher, 20000);
	assert_int_equal(sync_folder_wait(folder, 0, &watcher.waiter), -EINPROGRESS);
	assert_int_equal(reader_wait(&watcher), -ENOENT);
	reader_finish(&watcher);
	/* The failure counts as something that happened. */
	reader_init(&watcher, 20000);
	assert_int_equal(sync_folder_wait(folder, 0, &watcher.waiter), 0);
	reader_finish(&watcher);
}

static void test_many_refresh_once(void **state)
{
	struct fixture *f = *state;
	enum { READERS = 20 };
	static struct reader readers[READERS];
	inbox_with(f, 300);
	f->fake.hold_rows = true;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	for (int i = 0; i < READERS; i++) {
		reader_init(&readers[i], 20000);
		assert_int_equal(sync_folder_refresh(folder, &readers[i].waiter), -EINPROGRESS);
	}
	FAKE_SET(&f->fake, hold_rows, false);
	for (int i = 0; i < READERS; i++) {
		assert_int_equal(reader_wait(&readers[i]), 0);
		reader_finish(&readers[i]);
	}
	assert_int_equal(fake_counts(&f->fake).selects, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

/* Linked with --wrap: the call after this many fails, once; -1: none. */
static int load_fails_after = -1;
int __real_store_rows_load(struct store *, uint32_t, uint32_t, source_row_fn *, void *);
int __wrap_store_rows_load(
	struct store *store, uint32_t folder, uint32_t first, source_row_fn *fn, void *arg);
int __wrap_store_rows_load(
	struct store *store, uint32_t folder, uint32_t first, source_row_fn *fn, void *arg)
{
	if (load_fails_after >= 0 && load_fails_after-- == 0)
		return -EIO;
	return __real_store_rows_load(store, folder, first, fn, arg);
}

/* A store that can not be read in the middle is an error, and leaves no hole when it can again. */
static void test_stored_rows_unreadable_once(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	for (uint32_t uid = 1; uid <= 5000; uid++)
		fake_message_add(inbox, uid, "x", 1);
	fixture_start(f);
	fixture_inbox(f);
	fixture_end(f);
	fixture_start(f);
	load_fails_after = 1;
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), -EIO);
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	assert_int_equal(told_shown(f->told), 5000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_stored_rows_unreadable_once),
		TEST(test_first_listing),
		TEST(test_empty_folder),
		TEST(test_unchanged_costs_a_select),
		TEST(test_refresh_interval),
		TEST(test_noselect),
		TEST(test_changes_in_a_mount),
		TEST(test_changes_between_mounts),
		TEST(test_flags_alone_move_no_time),
		TEST(test_uidvalidity_changes),
		TEST(test_drop_in_the_middle_is_invisible),
		TEST(test_failed_listing_goes_on),
		TEST(test_cut_off_listing_goes_on_in_the_next_mount),
		TEST(test_malformed_rows),
		TEST(test_a_gap_filled_in_part),
		TEST(test_unreadable_scans_remove_nothing),
		TEST(test_flood_ends),
		TEST(test_all_rows_malformed),
		TEST(test_new_row_malformed),
		TEST(test_duplicates_and_disorder),
		TEST(test_disorder_and_a_drop),
		TEST(test_exists_too_large),
		TEST(test_a_listing_of_nothing_is_not_believed),
		TEST(test_select_refused),
		TEST(test_no_uidnext),
		TEST(test_slices),
		TEST(test_cut_off_often),
		TEST(test_wait_sees_rows_as_they_come),
		TEST(test_wait_starts_and_fails),
		TEST(test_many_refresh_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
