/* SPDX-License-Identifier: MIT */
/* Folders that come back, and always other ones: what they cost in the life of an account. */
#include <errno.h>
#include <string.h>

#include "mailfs/store.h"
#include "private.h"
#include "roster_fixture.h"
#include "survey.h"

/* Other folders each time: known ones stay, new ones are an error from a number on, and nothing is shown of a list that is not whole. */
static void test_too_many_by_and_by(void **state)
{
	struct fixture *f = *state;
	const size_t most = survey_places_max;
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 3, data);
	struct fake_mailbox *a = add(f, "A", 1, 3, data);
	struct fake_mailbox *b = add(f, "B", 1, 3, data);
	add(f, "x", 1, 3, data);
	survey_places_max = 6;
	start(f);
	said[0] = 0;
	/* three directories, of which none is there yet */
	CHANGE(f, a->name = "x/y/z/1");
	assert_int_equal(survey(f), -EIO);
	assert_true(has_said(""));
	/* "2" and "3" fit; what they took the place of goes on to count */
	CHANGE(f, (a->name = "2", b->name = "3"));
	assert_int_equal(survey(f), 0);
	wait_for(strstr(said, "2"));
	said[0] = 0;
	CHANGE(f, a->name = "4");
	assert_int_equal(survey(f), -EIO);
	assert_int_equal(survey(f), -EIO);
	assert_true(has_said(""));
	assert_int_equal(refresh(living(f, "3")), 0);
	/* What else fails shows what is known. */
	CHANGE(f, f->fake.list_err = -EACCES);
	assert_int_equal(survey(f), 0);
	CHANGE(f, f->fake.list_err = 0);
	assert_int_equal(survey(f), -EIO);
	/* It may come back under a name that was there. */
	CHANGE(f, a->name = "2");
	assert_int_equal(survey(f), 0);
	assert_int_equal(refresh(living(f, "2")), 0);
	survey_places_max = most;
}

/* The same folders again and again: that they come back costs nothing, and is never an error. */
static void test_come_and_go(void **state)
{
	struct fixture *f = *state;
	const size_t most = survey_places_max;
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 3, data);
	struct fake_mailbox *a = add(f, "A", 1, 3, data), *b = add(f, "B/C", 1, 3, data);
	f->params.connections = 1;
	survey_places_max = 5;
	start(f);
	for (int i = 0; i < 10; i++) {
		said[0] = 0;
		CHANGE(f, a->removed = b->removed = true);
		assert_int_equal(survey(f), 0);
		assert_true(has_said("-B/C -A "));
		assert_null(living(f, "A"));
		CHANGE(f, (a->removed = b->removed = false, a->uidvalidity++));
		assert_int_equal(survey(f), 0);
		assert_true(has_said("-B/C -A +A +B/C "));
		assert_int_equal(refresh(living(f, "A")), 0);
		assert_int_equal(stored(f, "A"), 3);
		assert_int_equal(read_uid(living(f, "A"), 1 + i % 3), 10);
	}
	assert_int_equal(sync_account_folder_count(f->account), 3);
	survey_places_max = most;
}

/* The same name with another delimiter is other directories, which count. */
static void test_other_delimiter(void **state)
{
	struct fixture *f = *state;
	const size_t most = survey_places_max;
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 3, data);
	struct fake_mailbox *a = add(f, "x.y.z-1-2", 1, 3, data);
	survey_places_max = 5;
	start(f);
	/* "x", "y" and "z-1-2" fit beside INBOX and "x.y.z-1-2", again and again; "x.y.z", "1" and "2" do not. */
	for (const char *delimiter = "/..-"; *delimiter; delimiter++) {
		CHANGE(f, a->removed = true);
		assert_int_equal(survey(f), 0);
		assert_null(living(f, "x.y.z-1-2"));
		CHANGE(f, (a->removed = false, a->delimiter = *delimiter));
		assert_int_equal(survey(f), *delimiter == '-' ? -EIO : 0);
	}
	survey_places_max = most;
}

/* Who still has a message of it open does not read one of another mailbox that has the name now. */
static void test_open_while_gone(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN), buf[10];
	struct sync_body *body;
	add(f, "INBOX", 1, 3, data);
	struct fake_mailbox *a = add(f, "A", 1, 3, data);
	f->params.connections = 1;
	start(f);
	struct sync_folder *folder = fixture_folder(f, "A");
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(sync_body_open(folder, 1, "", NULL, LEN, &body), 0);
	CHANGE(f, a->removed = true);
	assert_int_equal(survey(f), 0);
	CHANGE(f, a->removed = false);
	assert_int_equal(survey(f), 0);
	assert_true(has_said("-A +A "));
	assert_ptr_not_equal(living(f, "A"), folder);
	assert_int_equal(body_read(body, buf, sizeof(buf), 0), -ENOENT);
	assert_int_equal(refresh(living(f, "A")), 0);
	assert_int_equal(read_uid(living(f, "A"), 1), 10);
	/* That one is as good as ever, and comes back. */
	struct sync_folder *second = living(f, "A");
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	for (int i = 0; i < 3; i++) {
		CHANGE(f, a->removed = true);
		assert_int_equal(survey(f), 0);
		CHANGE(f, a->removed = false);
		assert_int_equal(survey(f), 0);
		assert_ptr_equal(living(f, "A"), second);
	}
	sync_body_close(body);
}

/* A listing that is asked for while the tree makes a place for the folder is made when it has one. */
static struct fixture *placing;
static struct reader early;

static void on_place(void *arg, struct sync_folder *folder, struct sync_folder *former)
{
	(void)arg, (void)former;
	unsigned before = fake_counts(&placing->fake).selects;
	assert_int_equal(sync_folder_refresh(folder, &early.waiter), -EINPROGRESS);
	sleep_ms(50);
	assert_int_equal(fake_counts(&placing->fake).selects, before);
	assert_int_equal(reader_wakes(&early), 0);
}

static void test_asked_for_while_placed(void **state)
{
	struct fixture *f = placing = *state;
	char *data = pattern(LEN);
	add(f, "INBOX", 1, 3, data);
	struct fake_mailbox *a = add(f, "A", 1, 3, data);
	a->removed = true;
	f->more.added = on_place;
	start(f);
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	/* A new one, and one that comes back. */
	for (int i = 0; i < 2; i++) {
		reader_init(&early, 20000);
		CHANGE(f, a->removed = false);
		assert_int_equal(survey(f), 0);
		assert_int_equal(reader_wait(&early), 0);
		assert_int_equal(stored(f, "A"), 3);
		reader_finish(&early);
		CHANGE(f, a->removed = true);
		assert_int_equal(survey(f), 0);
	}
}

/* Both who have it open, in the folder that went and in the one that came back, have what the store has of it. */
static void test_kept_while_gone(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(LEN), buf[LEN];
	struct sync_body *old, *body;
	add(f, "INBOX", 1, 3, data);
	struct fake_mailbox *a = add(f, "A", 1, 3, data);
	f->params.connections = 1;
	start(f);
	struct sync_folder *folder = fixture_folder(f, "A");
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(sync_body_open(folder, 1, "", NULL, LEN, &old), 0);
	/* It goes, and nobody says why: what is stored of it stays. */
	CHANGE(f, (a->unlisted = true, a->status_err = -EACCES));
	for (int i = 0; i < 2; i++)
		assert_int_equal(survey(f), 0);
	assert_true(has_said("-A "));
	CHANGE(f, (a->unlisted = false, a->status_err = 0));
	assert_int_equal(survey(f), 0);
	assert_ptr_not_equal(living(f, "A"), folder);
	assert_int_equal(refresh(living(f, "A")), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(sync_body_open(living(f, "A"), 1, "", NULL, LEN, &body), 0);
		assert_int_equal(body_read(body, buf, LEN, 0), LEN);
		assert_memory_equal(buf, data, LEN);
		if (i == 1) {
			assert_int_equal(body_read(old, buf, LEN, 0), LEN);
			sync_body_close(old);
			assert_int_equal(body_read(body, buf, LEN, 0), LEN);
		}
		sync_body_close(body);
	}
	assert_int_equal(fake_message(a, 1)->sent, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, roster_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_too_many_by_and_by),
		TEST(test_come_and_go),
		TEST(test_other_delimiter),
		TEST(test_open_while_gone),
		TEST(test_kept_while_gone),
		TEST(test_asked_for_while_placed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
