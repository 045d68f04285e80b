/* SPDX-License-Identifier: MIT */
/* What a refresh costs on each rung, and what it tells. */
#include "delta.h"

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

/* Too many gaps for a command each: what comes with them is not announced again. */
static void test_many_holes(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = inbox_with(f, QRESYNC, 1000);
	struct sync_folder *folder = listed(f);
	for (uint32_t uid = 100; uid < 700; uid += 3) {
		assert_int_equal(store_rows_remove(f->store, f->told->number, &uid, 1), 0);
		fake_flag(&f->fake, inbox, uid, "\\Seen");
	}
	struct fake_counts before = fake_counts(&f->fake);
	assert_int_equal(refresh(folder), 0);
	assert_in_step(f);
	assert_in_range(since(f, &before).rows[ALL], 1, 100);
	for (size_t i = 0; i < f->told->count; i++) {
		uint32_t uid = f->told->messages[i].uid;
		bool lost = uid >= 100 && uid < 700 && uid % 3 == 1;
		assert_int_equal(f->told->messages[i].times, lost ? 2 : 1);
	}
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		DELTA_TEST(test_qresync_costs_what_has_changed),
		DELTA_TEST(test_remount_with_qresync),
		DELTA_TEST(test_condstore_costs),
		DELTA_TEST(test_scan_finds_flags_each_time),
		DELTA_TEST(test_new_ones_far_apart_are_fetched_alone),
		DELTA_TEST(test_many_holes),
		DELTA_TEST(test_flags_are_told_of_what_is_shown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
