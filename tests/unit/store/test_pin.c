/* SPDX-License-Identifier: MIT */
/* Pins: by mailbox, by message, by the policy of a mount; what they protect, and what of them is missing. */
#include "fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KIB UINT64_C(1024)

static void list(struct fixture *fixture, const char *mailbox, uint32_t folder, uint32_t count)
{
	struct store_mailbox state = {0};
	assert_int_equal(store_mailbox_get(fixture->store, mailbox, &state), 0);
	state.folder = folder;
	assert_int_equal(store_mailbox_put(fixture->store, mailbox, &state), 0);
	struct source_row *rows = calloc(count, sizeof(*rows));
	assert_non_null(rows);
	for (uint32_t i = 0; i < count; i++)
		rows[i] = (struct source_row){.uid = i + 1,
			.have = SOURCE_ROW_DATE | SOURCE_ROW_FLAGS,
			.date_s = 1000 + i + 1,
			.flags = i % 3 ? "\\Seen" : ""};
	assert_int_equal(store_rows_put(fixture->store, folder, rows, count), 0);
	free(rows);
}

static void keep(struct fixture *fixture, uint32_t folder, uint32_t uid, uint64_t size)
{
	struct store_body *body = fixture_body(fixture, folder, uid, "");
	assert_int_equal(write_bytes(body, uid, size, 0), 0);
	assert_int_equal(store_body_set_size(body, size), 0);
	store_body_close(body);
}

static bool holds(struct fixture *fixture, uint32_t folder, uint32_t uid)
{
	struct store_body *body = fixture_body(fixture, folder, uid, "");
	bool held = store_body_held(body, 0) > 0;
	store_body_close(body);
	return held;
}

static bool pinned(struct fixture *fixture, const char *mailbox, uint32_t folder, uint32_t uid)
{
	return store_is_pinned(fixture->store, mailbox, folder, uid);
}

static void policy(struct fixture *fixture, bool all, int64_t newer_than_s, const char *mailbox)
{
	char name[32] = "";
	snprintf(name, sizeof(name), "%s", mailbox ? mailbox : "");
	const char *const mailboxes[] = {name, NULL};
	const struct store_policy given = {
		.all = all, .newer_than_s = newer_than_s, .mailboxes = mailbox ? mailboxes : NULL};
	assert_int_equal(store_set_policy(fixture->store, &given), 0);
	/* It was copied. */
	memset(name, 'x', sizeof(name) - 1);
}

/* Everything goes that may. */
static void evict_all(struct fixture *fixture)
{
	struct store_usage usage;
	do
		store_usage(fixture->store, &usage);
	while (!usage.settled);
	assert_int_equal(store_set_limit(fixture->store, 0), 0);
	assert_int_equal(store_set_limit(fixture->store, UINT64_MAX), 0);
}

static uint64_t pinned_bytes(struct fixture *fixture)
{
	struct store_usage usage;
	store_usage(fixture->store, &usage);
	return usage.pinned_bytes;
}

static void test_mailbox(void **state)
{
	struct fixture *fixture = *state;
	list(fixture, "INBOX", 5, 10);
	list(fixture, "INBOX.x", 6, 10);
	assert_false(pinned(fixture, "INBOX", 5, 0));
	assert_false(store_pins_any(fixture->store, "INBOX", 5));
	assert_int_equal(store_pin_mailbox(fixture->store, "INBOX", true), 0);
	assert_int_equal(store_pin_mailbox(fixture->store, "INBOX", true), 0);
	fixture_reopen(fixture);
	assert_true(pinned(fixture, "INBOX", 5, 0));
	assert_true(pinned(fixture, "INBOX", 5, 3));
	assert_true(store_pins_any(fixture->store, "INBOX", 5));
	assert_false(pinned(fixture, "INBOX.x", 6, 0));
	assert_false(pinned(fixture, "INBOX.x", 6, 3));
	assert_false(pinned(fixture, "inbox", 7, 3));
	keep(fixture, 5, 3, 10);
	keep(fixture, 6, 3, 5000);
	assert_int_equal(pinned_bytes(fixture), 4 * KIB);
	evict_all(fixture);
	assert_true(holds(fixture, 5, 3));
	assert_false(holds(fixture, 6, 3));
	assert_int_equal(store_pin_mailbox(fixture->store, "INBOX", false), 0);
	assert_int_equal(store_pin_mailbox(fixture->store, "INBOX", false), 0);
	assert_false(pinned(fixture, "INBOX", 5, 3));
	evict_all(fixture);
	assert_false(holds(fixture, 5, 3));
}

/* Another folder number of the same mailbox, and the one that bodies may still be carried over from. */
static void test_mailbox_renumbered(void **state)
{
	struct fixture *fixture = *state;
	list(fixture, "INBOX", 5, 10);
	assert_int_equal(store_pin_mailbox(fixture->store, "INBOX", true), 0);
	keep(fixture, 5, 1, 10);
	keep(fixture, 9, 1, 10);
	struct store_mailbox mailbox;
	assert_int_equal(store_mailbox_get(fixture->store, "INBOX", &mailbox), 0);
	mailbox.former = 5;
	mailbox.folder = 9;
	assert_int_equal(store_mailbox_put(fixture->store, "INBOX", &mailbox), 0);
	evict_all(fixture);
	assert_true(holds(fixture, 5, 1));
	assert_true(holds(fixture, 9, 1));
	mailbox.former = 0;
	assert_int_equal(store_mailbox_put(fixture->store, "INBOX", &mailbox), 0);
	/* The search for who may go had passed it. */
	assert_int_equal(store_pin_message(fixture->store, 1, 1, false), 0);
	evict_all(fixture);
	assert_false(holds(fixture, 5, 1));
	assert_true(holds(fixture, 9, 1));
}

static void test_message(void **state)
{
	struct fixture *fixture = *state;
	list(fixture, "INBOX", 5, 10);
	assert_int_equal(store_pin_message(fixture->store, 5, 3, true), 0);
	assert_int_equal(store_pin_message(fixture->store, 5, 3, true), 0);
	fixture_reopen(fixture);
	assert_true(pinned(fixture, "INBOX", 5, 3));
	assert_false(pinned(fixture, "INBOX", 5, 4));
	assert_false(pinned(fixture, "INBOX", 5, 0));
	assert_true(store_pins_any(fixture->store, "INBOX", 5));
	assert_false(store_pins_any(fixture->store, "other", 6));
	keep(fixture, 5, 3, 10);
	keep(fixture, 5, 4, 10);
	/* Its sections with it. */
	struct store_body *body = fixture_body(fixture, 5, 3, "1.2");
	assert_int_equal(write_bytes(body, 3, 10, 0), 0);
	store_body_close(body);
	assert_int_equal(pinned_bytes(fixture), 8 * KIB);
	evict_all(fixture);
	assert_true(holds(fixture, 5, 3));
	assert_false(holds(fixture, 5, 4));
	assert_int_equal(pinned_bytes(fixture), 8 * KIB);
	assert_int_equal(store_pin_message(fixture->store, 5, 3, false), 0);
	evict_all(fixture);
	assert_false(holds(fixture, 5, 3));
}

static void test_policy(void **state)
{
	struct fixture *fixture = *state;
	list(fixture, "INBOX", 5, 10);
	list(fixture, "Lists", 6, 10);
	for (uint32_t uid = 1; uid <= 10; uid++) {
		keep(fixture, 5, uid, 10);
		keep(fixture, 6, uid, 10);
	}
	policy(fixture, true, INT64_MAX, NULL);
	assert_true(pinned(fixture, "INBOX", 5, 0));
	assert_true(pinned(fixture, "never listed", 77, 4));
	evict_all(fixture);
	assert_int_equal(pinned_bytes(fixture), 80 * KIB);

	policy(fixture, false, 1006, "Lists");
	assert_false(pinned(fixture, "INBOX", 5, 0));
	assert_true(pinned(fixture, "Lists", 6, 0));
	assert_true(pinned(fixture, "Lists", 6, 1));
	assert_false(pinned(fixture, "INBOX", 5, 5));
	assert_true(pinned(fixture, "INBOX", 5, 6));
	assert_false(pinned(fixture, "INBOX", 5, 11));
	assert_true(store_pins_any(fixture->store, "never listed", 77));
	evict_all(fixture);
	assert_int_equal(pinned_bytes(fixture), 60 * KIB);
	for (uint32_t uid = 1; uid <= 10; uid++) {
		assert_int_equal(holds(fixture, 5, uid), uid >= 6);
		assert_true(holds(fixture, 6, uid));
	}

	policy(fixture, false, INT64_MAX, NULL);
	assert_false(store_pins_any(fixture->store, "Lists", 6));
	evict_all(fixture);
	assert_int_equal(pinned_bytes(fixture), 0);
	assert_false(holds(fixture, 6, 1));
	/* It is this mount's alone. */
	policy(fixture, true, INT64_MAX, NULL);
	fixture_reopen(fixture);
	assert_false(pinned(fixture, "INBOX", 5, 0));
}

/* ---- what is missing ---- */

static size_t missing(struct fixture *fixture, uint32_t first, uint32_t *uids, size_t max)
{
	size_t count = 777;
	assert_int_equal(
		store_pinned_missing(fixture->store, "INBOX", 5, first, uids, max, &count), 0);
	return count;
}

static struct store_folder_usage folder(struct fixture *fixture)
{
	struct store_folder_usage usage;
	assert_int_equal(store_folder_usage(fixture->store, "INBOX", 5, &usage), 0);
	return usage;
}

static void test_missing(void **state)
{
	struct fixture *fixture = *state;
	uint32_t uids[10];
	list(fixture, "INBOX", 5, 6);
	list(fixture, "other", 6, 6);
	assert_int_equal(missing(fixture, 1, uids, 10), 0);
	assert_int_equal(store_pin_message(fixture->store, 5, 2, true), 0);
	assert_int_equal(store_pin_message(fixture->store, 5, 4, true), 0);
	/* Of a message that is not listed (any more) there is nothing to be had. */
	assert_int_equal(store_pin_message(fixture->store, 5, 99, true), 0);
	assert_int_equal(missing(fixture, 1, uids, 10), 2);
	assert_int_equal(uids[0], 2);
	assert_int_equal(uids[1], 4);
	assert_int_equal(missing(fixture, 3, uids, 10), 1);
	assert_int_equal(missing(fixture, 1, uids, 1), 1);
	assert_int_equal(missing(fixture, 1, uids, 0), 0);
	keep(fixture, 5, 2, 10);
	assert_int_equal(missing(fixture, 1, uids, 10), 1);
	assert_int_equal(store_pin_mailbox(fixture->store, "INBOX", true), 0);
	assert_int_equal(missing(fixture, 1, uids, 10), 5);
	/* In part is not whole, a section is not the message. */
	struct store_body *body = fixture_body(fixture, 5, 1, "");
	assert_int_equal(write_bytes(body, 1, 10, 0), 0);
	assert_int_equal(store_body_set_size(body, 11), 0);
	store_body_close(body);
	body = fixture_body(fixture, 5, 3, "1");
	assert_int_equal(write_bytes(body, 3, 10, 0), 0);
	assert_int_equal(store_body_set_size(body, 10), 0);
	store_body_close(body);
	keep(fixture, 5, 5, 0);
	assert_int_equal(missing(fixture, 1, uids, 10), 4);
	assert_int_equal(uids[0], 1);
	assert_int_equal(uids[1], 3);
	assert_int_equal(uids[2], 4);
	assert_int_equal(uids[3], 6);
	struct store_folder_usage usage = folder(fixture);
	assert_int_equal(usage.messages, 6);
	assert_int_equal(usage.unseen, 2);
	assert_int_equal(usage.cached, 2);
	assert_int_equal(usage.cached_bytes, 4 * KIB);
	assert_int_equal(usage.pinned, 6);
	assert_int_equal(usage.pinned_missing, 4);
	assert_true(usage.mailbox_pinned);
	assert_int_equal(store_pin_mailbox(fixture->store, "INBOX", false), 0);
	usage = folder(fixture);
	assert_int_equal(usage.pinned, 2);
	assert_int_equal(usage.pinned_missing, 1);
	assert_false(usage.mailbox_pinned);
	policy(fixture, false, 1006, NULL);
	assert_int_equal(missing(fixture, 1, uids, 10), 2);
	assert_int_equal(uids[1], 6);
}

/* More than are looked at at once. */
static void test_missing_many(void **state)
{
	struct fixture *fixture = *state;
	static uint32_t uids[6000];
	list(fixture, "INBOX", 5, 5000);
	for (uint32_t uid = 1; uid <= 5000; uid += 1000)
		keep(fixture, 5, uid, 10);
	policy(fixture, true, INT64_MAX, NULL);
	assert_int_equal(missing(fixture, 1, uids, 6000), 4995);
	assert_int_equal(uids[0], 2);
	assert_int_equal(uids[4994], 5000);
	assert_int_equal(missing(fixture, 4097, uids, 6000), 5000 - 4096);
	assert_int_equal(missing(fixture, 3, uids, 2500), 2500);
	assert_int_equal(uids[2499], 2504);
	struct store_folder_usage usage = folder(fixture);
	assert_int_equal(usage.messages, 5000);
	assert_int_equal(usage.cached, 5);
	assert_int_equal(usage.pinned_missing, 4995);
	assert_int_equal(missing(fixture, UINT32_MAX, uids, 10), 0);
}

static void test_spool(void **state)
{
	struct fixture *fixture = *state;
	fixture->kind = STORE_SPOOL;
	fixture_reopen(fixture);
	const struct store_policy all = {.all = true, .newer_than_s = INT64_MAX};
	assert_int_equal(store_pin_mailbox(fixture->store, "INBOX", true), -EINVAL);
	assert_int_equal(store_pin_message(fixture->store, 5, 1, true), -EINVAL);
	assert_int_equal(store_set_policy(fixture->store, &all), -EINVAL);
	assert_false(pinned(fixture, "INBOX", 5, 1));
	list(fixture, "INBOX", 5, 3);
	uint32_t uids[3];
	assert_int_equal(missing(fixture, 1, uids, 3), 0);
	assert_int_equal(folder(fixture).messages, 3);
	assert_int_equal(folder(fixture).cached, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mailbox),
		TEST(test_mailbox_renumbered),
		TEST(test_message),
		TEST(test_policy),
		TEST(test_missing),
		TEST(test_missing_many),
		cmocka_unit_test_setup_teardown(test_spool, fixture_create, fixture_destroy),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
