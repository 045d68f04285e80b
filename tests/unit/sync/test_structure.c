/* SPDX-License-Identifier: MIT */
/* Structures: once, in batches for a walker, and what the server can not tell. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "mailfs/store.h"

static const char small[] = "Subject: hello\r\n\r\nbody\r\n";

static struct sync_folder *start_with(struct fixture *f, uint32_t count)
{
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	for (uint32_t uid = 1; uid <= count; uid++)
		fake_message_add(inbox, uid, small, sizeof(small) - 1);
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	return folder;
}

static void test_once(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = start_with(f, 10);
	struct str data = STR_INIT;
	struct mime_part *part;
	struct reader reader;
	assert_int_equal(structure(folder, 5), 0);
	assert_int_equal(store_structure_get(f->store, f->told->number, 5, &data), 0);
	assert_int_equal(mime_part_parse(data.data, data.len, &part), 0);
	assert_string_equal(part->subtype, "pdf");
	mime_part_destroy(part);
	str_finish(&data);
	reader_init(&reader, 1000);
	assert_int_equal(sync_structure(folder, 5, &reader.waiter), 0);
	reader_finish(&reader);
	struct fake_counts counts = fake_counts(&f->fake);
	assert_int_equal(counts.structures, 1);
	assert_int_equal(counts.structure_uids, 1);
}

static void test_walker_gets_batches(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = start_with(f, 1200);
	for (uint32_t uid = 1; uid <= 1200; uid++)
		assert_int_equal(structure(folder, uid), 0);
	/* One alone, then 500 from the second on, twice, then the rest. */
	struct fake_counts counts = fake_counts(&f->fake);
	assert_int_equal(counts.structures, 4);
	assert_int_equal(counts.structure_uids, 1200);
}

static void test_second_mount(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = start_with(f, 10);
	assert_int_equal(structure(folder, 5), 0);
	fixture_end(f);
	fixture_start(f);
	folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(structure(folder, 5), 0);
	assert_int_equal(fake_counts(&f->fake).structures, 1);
}

static void test_not_understood(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = start_with(f, 10);
	struct str data = STR_INIT;
	FAKE_SET(&f->fake, mailboxes[0].messages[4].nil_structure, true);
	assert_int_equal(structure(folder, 5), 0);
	assert_int_equal(store_structure_get(f->store, f->told->number, 5, &data), 0);
	assert_int_equal(data.len, 0);
	str_finish(&data);
	assert_int_equal(structure(folder, 5), 0);
	assert_int_equal(fake_counts(&f->fake).structures, 1);
}

/* One message over which the server fails: a walker has all others, each asked for once, and the error for that one alone. */
static void test_one_breaks(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = start_with(f, 10);
	FAKE_SET(&f->fake, mailboxes[0].messages[4].breaks, true);
	for (uint32_t uid = 1; uid <= 10; uid++)
		assert_int_equal(structure(folder, uid) == 0, uid != 5);
	struct str data = STR_INIT;
	assert_int_equal(store_structure_get(f->store, f->told->number, 5, &data), -ENOENT);
	FAKE_SET(&f->fake, mailboxes[0].messages[4].breaks, false);
	assert_int_equal(structure(folder, 5), 0);
	str_finish(&data);
}

static void test_gone(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = start_with(f, 10);
	assert_int_equal(structure(folder, 4), 0);
	FAKE_SET(&f->fake, mailboxes[0].messages[4].gone, true);
	assert_int_equal(structure(folder, 5), -ENOENT);
	assert_false(told_has(f->told, 5, NULL));
	assert_int_equal(structure(folder, 6), 0);
	assert_true(told_has(f->told, 6, NULL));
}

static void test_withheld(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = start_with(f, 3);
	FAKE_SET(&f->fake, mailboxes[0].messages[1].withheld, true);
	FAKE_SET(&f->fake, mailboxes[0].messages[1].gone, true);
	assert_int_equal(structure(folder, 2), -EIO);
	assert_true(told_has(f->told, 2, NULL));
}

static void test_new_message_in_an_old_session(void **state)
{
	struct fixture *f = *state;
	f->fake.session_views = true;
	struct sync_folder *folder = start_with(f, 10);
	pthread_mutex_lock(&f->fake.lock);
	fake_message_add(&f->fake.mailboxes[0], 11, small, sizeof(small) - 1);
	pthread_mutex_unlock(&f->fake.lock);
	assert_int_equal(structure(folder, 11), 0);
}

static void test_connection_lost(void **state)
{
	struct fixture *f = *state;
	struct sync_folder *folder = start_with(f, 10);
	pthread_mutex_lock(&f->fake.lock);
	f->fake.generation++;
	f->fake.drop_sessions = true;
	pthread_mutex_unlock(&f->fake.lock);
	assert_int_equal(structure(folder, 1), 0);
	assert_int_equal(fake_counts(&f->fake).connects, 2);
}

static void test_many_at_once(void **state)
{
	struct fixture *f = *state;
	enum { READERS = 40 };
	static struct reader readers[READERS];
	struct sync_folder *folder = start_with(f, 10);
	for (uint32_t i = 0; i < READERS; i++) {
		reader_init(&readers[i], 20000);
		int err = sync_structure(folder, 1 + i % 10, &readers[i].waiter);
		if (err == 0)
			readers[i].wakes = 1;
		else
			assert_int_equal(err, -EINPROGRESS);
	}
	for (uint32_t i = 0; i < READERS; i++) {
		assert_int_equal(reader_wait(&readers[i]), 0);
		reader_finish(&readers[i]);
	}
	struct fake_counts counts = fake_counts(&f->fake);
	assert_int_equal(counts.structure_uids, 10);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_once),
		TEST(test_walker_gets_batches),
		TEST(test_second_mount),
		TEST(test_not_understood),
		TEST(test_one_breaks),
		TEST(test_gone),
		TEST(test_withheld),
		TEST(test_new_message_in_an_old_session),
		TEST(test_connection_lost),
		TEST(test_many_at_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
