/* SPDX-License-Identifier: MIT */
/* The account at large: start, connections, waiters and their deadlines, stop in the middle of everything. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "mailfs/store.h"

#define KIB 1024

static struct sync_body *open_at(struct fixture *f, const char *name, uint32_t uid, uint64_t size)
{
	struct sync_folder *folder = fixture_folder(f, name);
	struct sync_body *body;
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(sync_body_open(folder, uid, "", NULL, size, &body), 0);
	return body;
}

static void add_messages(
	struct fake_mailbox *mailbox, uint32_t count, const char *data, uint64_t len)
{
	for (uint32_t uid = 1; uid <= count; uid++)
		fake_message_add(mailbox, uid, data, len);
}

static void wait_working(struct fixture *f, unsigned count)
{
	while (fake_counts(&f->fake).working < count)
		sleep_ms(1);
}

static void test_start(void **state)
{
	struct fixture *f = *state;
	struct source_quota quota;
	f->fake.quota_known = true;
	fake_mailbox_add(&f->fake, "INBOX", 1);
	fake_mailbox_add(&f->fake, "Sent", 2);
	fixture_start(f);
	assert_int_equal(sync_account_folder_count(f->account), 2);
	struct sync_folder *inbox = sync_account_folder(f->account, 0),
			   *sent = sync_account_folder(f->account, 1);
	assert_string_equal(sync_folder_mailbox(sent)->name, "Sent");
	uint32_t number = sync_folder_directory_number(inbox);
	assert_int_not_equal(number, 0);
	assert_int_not_equal(number, sync_folder_directory_number(sent));
	sync_account_quota(f->account, &quota);
	assert_true(quota.known);
	assert_int_equal(quota.limit_bytes, 5000);
	int tag;
	sync_folder_set_data(inbox, &tag);
	assert_ptr_equal(sync_folder_data(inbox), &tag);
	assert_null(sync_folder_data(sent));
	fixture_end(f);
	struct fake_counts counts = fake_counts(&f->fake);
	assert_int_equal(counts.connects, 1);
	assert_int_equal(counts.polite, 1);
	assert_int_equal(counts.disconnects, 1);
	f->fake.quota_known = false;
	fixture_start(f);
	assert_int_equal(sync_folder_directory_number(sync_account_folder(f->account, 0)), number);
	sync_account_quota(f->account, &quota);
	assert_false(quota.known);
}

static void test_start_fails(void **state)
{
	struct fixture *f = *state;
	struct sync_account *account;
	struct source_error error;
	struct str why = STR_INIT;
	fake_mailbox_add(&f->fake, "INBOX", 1);
	assert_int_equal(store_open(f->directory, STORE_CACHE, &f->store, &why), 0);
	f->params.store = f->store;
	f->fake.connect_failures = 1;
	f->fake.connect_cause = SOURCE_CAUSE_LOGIN;
	assert_int_equal(sync_account_create(&f->params, &account), 0);
	assert_int_equal(sync_account_start(account, &error), -EACCES);
	assert_int_equal(error.cause, SOURCE_CAUSE_LOGIN);
	sync_account_destroy(account);
	f->params.connections = 0;
	assert_int_equal(sync_account_create(&f->params, &account), -EINVAL);
	sync_account_destroy(NULL);
	f->params.connections = 4;
}

/* A demand does not wait behind listings, however many. */
static void test_demand_passes_bulk(void **state)
{
	struct fixture *f = *state;
	static const char *const names[] = {"INBOX", "A", "B", "C", "D", "E"};
	static struct reader readers[6];
	char *data = pattern(5000);
	for (int i = 0; i < 6; i++)
		add_messages(fake_mailbox_add(&f->fake, names[i], 9), 200, data, 5000);
	fixture_start(f);
	struct sync_body *body = open_at(f, "INBOX", 1, 5000);
	FAKE_SET(&f->fake, hold_rows, true);
	for (int i = 1; i < 6; i++) {
		reader_init(&readers[i], 20000);
		assert_int_equal(
			sync_folder_refresh(fixture_folder(f, names[i]), &readers[i].waiter),
			-EINPROGRESS);
	}
	while (fake_counts(&f->fake).rows[SOURCE_COLUMNS_ALL] < 4)
		sleep_ms(1);
	assert_read(body, data, 0, 5000);
	/* The last connection was not given to the listings. */
	assert_int_equal(fake_counts(&f->fake).rows[SOURCE_COLUMNS_ALL], 4);
	FAKE_SET(&f->fake, hold_rows, false);
	for (int i = 1; i < 6; i++) {
		assert_int_equal(reader_wait(&readers[i]), 0);
		reader_finish(&readers[i]);
	}
	assert_true(fake_counts(&f->fake).connects <= 4);
	sync_body_close(body);
}

static void test_affinity(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000);
	add_messages(fake_mailbox_add(&f->fake, "INBOX", 9), 50, data, 5000);
	add_messages(fake_mailbox_add(&f->fake, "Other", 9), 50, data, 5000);
	fixture_start(f);
	struct sync_body *inbox[50], *other[50];
	for (uint32_t uid = 1; uid <= 50; uid++) {
		inbox[uid - 1] = open_at(f, "INBOX", uid, 5000);
	}
	for (uint32_t uid = 1; uid <= 50; uid++)
		other[uid - 1] = open_at(f, "Other", uid, 5000);
	unsigned selects = fake_counts(&f->fake).selects;
	for (int i = 0; i < 50; i++)
		assert_read(other[i], data, 0, 5000);
	assert_int_equal(fake_counts(&f->fake).selects, selects);
	for (int i = 0; i < 50; i++)
		assert_read(inbox[i], data, 0, 5000);
	assert_true(fake_counts(&f->fake).selects <= selects + 1);
	/* One after the other needs one connection. */
	assert_int_equal(fake_counts(&f->fake).connects, 1);
	for (int i = 0; i < 50; i++) {
		sync_body_close(inbox[i]);
		sync_body_close(other[i]);
	}
}

/* Two connections, two folders in turn: each stays where it is. */
static void test_affinity_of_two(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000), bufs[2][10];
	static const char *const names[] = {"INBOX", "Other"};
	struct sync_body *bodies[2][10];
	struct reader readers[2];
	f->params.refresh_ms = 60000;
	f->params.connections = 2;
	for (int i = 0; i < 2; i++)
		add_messages(fake_mailbox_add(&f->fake, names[i], 9), 10, data, 5000);
	fixture_start(f);
	for (int i = 0; i < 2; i++)
		for (uint32_t uid = 1; uid <= 10; uid++)
			bodies[i][uid - 1] = open_at(f, names[i], uid, 5000);
	FAKE_SET(&f->fake, hold_bodies, true);
	for (int i = 0; i < 2; i++) {
		reader_init(&readers[i], 20000);
		assert_int_equal(sync_body_read(bodies[i][0], bufs[i], 10, 0, &readers[i].waiter),
			-EINPROGRESS);
	}
	wait_working(f, 2);
	FAKE_SET(&f->fake, hold_bodies, false);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(reader_wait(&readers[i]), 10);
		reader_finish(&readers[i]);
	}
	unsigned selects = fake_counts(&f->fake).selects;
	for (int uid = 1; uid < 10; uid++)
		for (int i = 0; i < 2; i++)
			assert_read(bodies[i][uid], data, 0, 5000);
	assert_int_equal(fake_counts(&f->fake).selects, selects);
	assert_int_equal(fake_counts(&f->fake).connects, 2);
	for (int uid = 0; uid < 10; uid++)
		for (int i = 0; i < 2; i++)
			sync_body_close(bodies[i][uid]);
}

static void test_dead_idle_sessions_are_replaced(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000);
	add_messages(fake_mailbox_add(&f->fake, "INBOX", 9), 3, data, 5000);
	fixture_start(f);
	struct sync_body *body = open_at(f, "INBOX", 1, 5000);
	pthread_mutex_lock(&f->fake.lock);
	f->fake.drop_sessions = true;
	f->fake.generation++;
	pthread_mutex_unlock(&f->fake.lock);
	assert_read(body, data, 0, 5000);
	sync_body_close(body);
	pthread_mutex_lock(&f->fake.lock);
	f->fake.generation++;
	pthread_mutex_unlock(&f->fake.lock);
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	assert_int_equal(fake_counts(&f->fake).connects, 3);
}

static bool is_online(struct fixture *f)
{
	struct sync_status status;
	sync_account_status(f->account, &status);
	return status.link == SYNC_LINK_ONLINE;
}

/* The server is away: everything that is queued fails with one attempt; soon after, when it is back, all is well. */
static void test_server_away(void **state)
{
	struct fixture *f = *state;
	enum { READERS = 20 };
	static struct reader readers[READERS];
	struct sync_body *bodies[READERS];
	char *data = pattern(5000), buf[10];
	f->params.connections = 1;
	add_messages(fake_mailbox_add(&f->fake, "INBOX", 9), READERS, data, 5000);
	fixture_start(f);
	for (uint32_t i = 0; i < READERS; i++)
		bodies[i] = open_at(f, "INBOX", i + 1, 5000);
	FAKE_SET(&f->fake, hold_bodies, true);
	for (uint32_t i = 0; i < READERS; i++) {
		reader_init(&readers[i], 20000);
		assert_int_equal(
			sync_body_read(bodies[i], buf, 10, 0, &readers[i].waiter), -EINPROGRESS);
	}
	wait_working(f, 1);
	pthread_mutex_lock(&f->fake.lock);
	f->fake.connect_failures = 1;
	f->fake.drop_bodies = 1;
	f->fake.hold_bodies = false;
	pthread_cond_broadcast(&f->fake.changed);
	pthread_mutex_unlock(&f->fake.lock);
	for (int i = 0; i < READERS; i++) {
		assert_int_equal(reader_wait(&readers[i]), -EHOSTUNREACH);
		reader_finish(&readers[i]);
	}
	wait_for(fake_counts(&f->fake).connects == 3);
	wait_for(is_online(f));
	for (int i = 0; i < READERS; i++) {
		assert_read(bodies[i], data, 0, 5000);
		sync_body_close(bodies[i]);
	}
	assert_int_equal(fake_counts(&f->fake).connects, 3);
}

static void test_login_refused_later(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000), buf[10];
	add_messages(fake_mailbox_add(&f->fake, "INBOX", 9), 3, data, 5000);
	fixture_start(f);
	struct sync_body *body = open_at(f, "INBOX", 1, 5000);
	pthread_mutex_lock(&f->fake.lock);
	f->fake.drop_sessions = true;
	f->fake.generation++;
	f->fake.connect_failures = 1;
	f->fake.connect_cause = SOURCE_CAUSE_LOGIN;
	pthread_mutex_unlock(&f->fake.lock);
	assert_int_equal(body_read(body, buf, 10, 0), -EACCES);
	wait_for(is_online(f));
	assert_read(body, data, 0, 5000);
	sync_body_close(body);
}

/* A server that grants fewer connections than we may use: the granted ones do the work. */
static void test_fewer_connections_granted(void **state)
{
	struct fixture *f = *state;
	enum { READERS = 12 };
	static struct reader readers[READERS];
	static char bufs[READERS][5000];
	struct sync_body *bodies[READERS];
	char *data = pattern(5000);
	add_messages(fake_mailbox_add(&f->fake, "INBOX", 9), READERS, data, 5000);
	f->fake.connections_max = 2;
	fixture_start(f);
	for (uint32_t i = 0; i < READERS; i++)
		bodies[i] = open_at(f, "INBOX", i + 1, 5000);
	f->fake.body_delay_ms = 5;
	for (int i = 0; i < READERS; i++) {
		reader_init(&readers[i], 20000);
		assert_int_equal(sync_body_read(bodies[i], bufs[i], 5000, 0, &readers[i].waiter),
			-EINPROGRESS);
	}
	for (int i = 0; i < READERS; i++) {
		assert_int_equal(reader_wait(&readers[i]), 5000);
		assert_memory_equal(bufs[i], data, 5000);
		reader_finish(&readers[i]);
		sync_body_close(bodies[i]);
	}
	/* Two were refused once and did not ask again. */
	assert_int_equal(fake_counts(&f->fake).connects, 4);
}

static void test_deadline(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000), early[10], late[10];
	add_messages(fake_mailbox_add(&f->fake, "INBOX", 9), 3, data, 5000);
	fixture_start(f);
	struct sync_body *body = open_at(f, "INBOX", 1, 5000);
	struct reader first, second, third;
	FAKE_SET(&f->fake, hold_bodies, true);
	reader_init(&second, 20000);
	assert_int_equal(sync_body_read(body, late, 10, 5, &second.waiter), -EINPROGRESS);
	reader_init(&first, 50);
	int64_t since = clock_now_ms();
	assert_int_equal(sync_body_read(body, early, 10, 0, &first.waiter), -EINPROGRESS);
	assert_int_equal(reader_wait(&first), -ETIMEDOUT);
	assert_true(clock_now_ms() - since >= 49);
	assert_true(clock_now_ms() - since < 5000);
	/* A deadline that has passed already. */
	reader_init(&third, -1000);
	assert_int_equal(sync_body_read(body, early, 10, 0, &third.waiter), -EINPROGRESS);
	assert_int_equal(reader_wait(&third), -ETIMEDOUT);
	FAKE_SET(&f->fake, hold_bodies, false);
	assert_int_equal(reader_wait(&second), 10);
	assert_memory_equal(late, data + 5, 10);
	assert_int_equal(reader_wakes(&first), 1);
	reader_finish(&first);
	reader_finish(&second);
	reader_finish(&third);
	sync_body_close(body);
}

static void test_cancel(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000), buf[10];
	add_messages(fake_mailbox_add(&f->fake, "INBOX", 9), 3, data, 5000);
	fixture_start(f);
	struct sync_body *body = open_at(f, "INBOX", 1, 5000);
	struct reader reader;
	FAKE_SET(&f->fake, hold_bodies, true);
	reader_init(&reader, 20000);
	assert_int_equal(sync_body_read(body, buf, 10, 0, &reader.waiter), -EINPROGRESS);
	assert_true(sync_waiter_cancel(f->account, &reader.waiter));
	assert_false(sync_waiter_cancel(f->account, &reader.waiter));
	FAKE_SET(&f->fake, hold_bodies, false);
	assert_read(body, data, 0, 5000);
	assert_int_equal(reader_wakes(&reader), 0);
	reader_finish(&reader);
	sync_body_close(body);
}

/* Who reads message 1, of which the server gives nothing yet, and who will read message 2. */
struct two {
	char *data, buf[10], other[10];
	struct sync_body *one, *two;
	struct reader first, second;
};

static void two_start(struct fixture *f, unsigned connections, int second_ms, struct two *two)
{
	two->data = pattern(5000);
	f->params.connections = connections;
	add_messages(fake_mailbox_add(&f->fake, "INBOX", 9), 3, two->data, 5000);
	fixture_start(f);
	two->one = open_at(f, "INBOX", 1, 5000);
	two->two = open_at(f, "INBOX", 2, 5000);
	FAKE_SET(&f->fake, hold_bodies, true);
	reader_init(&two->first, 20000);
	reader_init(&two->second, second_ms);
	assert_int_equal(
		sync_body_read(two->one, two->buf, 10, 0, &two->first.waiter), -EINPROGRESS);
	wait_working(f, 1);
}

static void two_finish(struct two *two)
{
	reader_finish(&two->first);
	reader_finish(&two->second);
	sync_body_close(two->one);
	sync_body_close(two->two);
}

/* Who is blocked is served by the first worker that is free, not by the one that is being connected for him. */
static void test_not_bound_to_who_connects(void **state)
{
	struct fixture *f = *state;
	struct two two;
	two_start(f, 4, 5000, &two); /* in which nobody gives up connecting */
	FAKE_SET(&f->fake, hold_connects, true);
	assert_int_equal(
		sync_body_read(two.two, two.other, 10, 0, &two.second.waiter), -EINPROGRESS);
	FAKE_SET(&f->fake, hold_bodies, false);
	assert_int_equal(reader_wait(&two.first), 10);
	assert_int_equal(reader_wait(&two.second), 10);
	assert_memory_equal(two.other, two.data, 10);
	FAKE_SET(&f->fake, hold_connects, false);
	two_finish(&two);
}

/* Nobody waits any more: what was not begun is not fetched. */
static void test_unwanted_is_not_fetched(void **state)
{
	struct fixture *f = *state;
	struct two two;
	two_start(f, 1, 20000, &two);
	assert_int_equal(
		sync_body_read(two.two, two.other, 10, 0, &two.second.waiter), -EINPROGRESS);
	assert_true(sync_waiter_cancel(f->account, &two.second.waiter));
	/* The reader has gone too: the job alone keeps the body. */
	sync_body_close(two.two);
	FAKE_SET(&f->fake, hold_bodies, false);
	assert_int_equal(reader_wait(&two.first), 10);
	two.two = open_at(f, "INBOX", 3, 5000);
	assert_read(two.two, two.data, 0, 5000);
	assert_int_equal(fake_counts(&f->fake).bodies, 2);
	two_finish(&two);
}

/* Answer, deadline and cancel at the same moment: exactly one of them wins. */
struct rival {
	struct fixture *f;
	struct sync_folder *folder;
	pthread_t thread;
	unsigned seed;
	unsigned answered, timed_out, cancelled, wrong;
};

static void compete(struct rival *rival, unsigned round)
{
	struct reader reader;
	struct sync_body *body;
	char buf[100];
	uint32_t uid = 1 + (uint32_t)rand_r(&rival->seed) % 200;
	if (sync_body_open(rival->folder, uid, "", NULL, 5000, &body) < 0) {
		rival->wrong++;
		return;
	}
	reader_init(&reader, round % 3 == 0 ? 1 : 20000);
	ssize_t n = sync_body_read(body, buf, sizeof(buf), 0, &reader.waiter);
	bool cancelled = false;
	if (n == -EINPROGRESS && round % 3 == 1) {
		sleep_ms(rand_r(&rival->seed) % 3);
		cancelled = sync_waiter_cancel(rival->f->account, &reader.waiter);
	}
	if (n == -EINPROGRESS && !cancelled)
		n = reader_wait(&reader);
	rival->cancelled += cancelled;
	rival->answered += n == sizeof(buf);
	rival->timed_out += n == -ETIMEDOUT;
	rival->wrong +=
		cancelled ? reader_wakes(&reader) != 0 : n != sizeof(buf) && n != -ETIMEDOUT;
	sync_body_close(body);
	reader_finish(&reader);
}

static void *compete_often(void *arg)
{
	struct rival *rival = arg;
	for (unsigned round = 0; round < 150; round++)
		compete(rival, round);
	return NULL;
}

static void test_races_of_wake_deadline_and_cancel(void **state)
{
	struct fixture *f = *state;
	enum { RIVALS = 8 };
	struct rival rivals[RIVALS];
	char *data = pattern(5000);
	unsigned total = 0;
	add_messages(fake_mailbox_add(&f->fake, "INBOX", 9), 200, data, 5000);
	f->fake.body_delay_ms = 1;
	fixture_start(f);
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	for (unsigned i = 0; i < RIVALS; i++) {
		rivals[i] = (struct rival){.f = f, .folder = folder, .seed = i + 1};
		pthread_create(&rivals[i].thread, NULL, compete_often, &rivals[i]);
	}
	for (unsigned i = 0; i < RIVALS; i++) {
		pthread_join(rivals[i].thread, NULL);
		assert_int_equal(rivals[i].wrong, 0);
		total += rivals[i].answered + rivals[i].timed_out + rivals[i].cancelled;
	}
	assert_int_equal(total, RIVALS * 150);
}

static void test_stop_while_busy(void **state)
{
	struct fixture *f = *state;
	enum { READERS = 10 };
	static struct reader readers[READERS + 2];
	struct sync_body *bodies[READERS];
	char *data = pattern(5000), buf[10];
	add_messages(fake_mailbox_add(&f->fake, "INBOX", 9), READERS, data, 5000);
	add_messages(fake_mailbox_add(&f->fake, "Other", 9), 300, data, 5000);
	f->params.connections = 3;
	fixture_start(f);
	for (uint32_t i = 0; i < READERS; i++)
		bodies[i] = open_at(f, "INBOX", i + 1, 5000);
	pthread_mutex_lock(&f->fake.lock);
	f->fake.hold_bodies = f->fake.hold_rows = true;
	pthread_mutex_unlock(&f->fake.lock);
	for (int i = 0; i < READERS; i++) {
		reader_init(&readers[i], 20000);
		assert_int_equal(
			sync_body_read(bodies[i], buf, 10, 0, &readers[i].waiter), -EINPROGRESS);
	}
	struct sync_folder *other = fixture_folder(f, "Other");
	reader_init(&readers[READERS], 20000);
	assert_int_equal(sync_folder_refresh(other, &readers[READERS].waiter), -EINPROGRESS);
	reader_init(&readers[READERS + 1], 20000);
	assert_int_equal(
		sync_structure(fixture_folder(f, "INBOX"), 3, &readers[READERS + 1].waiter),
		-EINPROGRESS);
	wait_working(f, 2);
	int64_t since = clock_now_ms();
	sync_account_stop(f->account);
	assert_true(clock_now_ms() - since < 3000);
	for (int i = 0; i < READERS + 2; i++) {
		assert_int_equal(reader_wait(&readers[i]), -EIO);
		reader_finish(&readers[i]);
	}
	struct fake_counts counts = fake_counts(&f->fake);
	assert_int_equal(counts.disconnects, counts.connects);
	assert_true(counts.cancels >= 2);
	/* Whoever comes too late hears it at once. */
	reader_init(&readers[0], 20000);
	assert_int_equal(sync_body_read(bodies[0], buf, 10, 0, &readers[0].waiter), -EIO);
	assert_int_equal(sync_folder_refresh(other, &readers[0].waiter), -EIO);
	assert_int_equal(sync_folder_wait(other, 1u << 30, &readers[0].waiter), 0);
	reader_finish(&readers[0]);
	for (int i = 0; i < READERS; i++)
		sync_body_close(bodies[i]);
}

static void test_stop_idle_says_logout(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000);
	add_messages(fake_mailbox_add(&f->fake, "INBOX", 9), 3, data, 5000);
	fixture_start(f);
	struct sync_body *body = open_at(f, "INBOX", 1, 5000);
	assert_read(body, data, 0, 5000);
	sync_account_stop(f->account);
	sync_account_stop(f->account);
	struct fake_counts counts = fake_counts(&f->fake);
	assert_int_equal(counts.polite, counts.connects);
	assert_int_equal(counts.disconnects, counts.connects);
	/* What is here can still be read. */
	assert_read(body, data, 0, 5000);
	sync_body_close(body);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_start),
		TEST(test_start_fails),
		TEST(test_demand_passes_bulk),
		TEST(test_affinity),
		TEST(test_affinity_of_two),
		TEST(test_dead_idle_sessions_are_replaced),
		TEST(test_server_away),
		TEST(test_login_refused_later),
		TEST(test_fewer_connections_granted),
		TEST(test_deadline),
		TEST(test_cancel),
		TEST(test_not_bound_to_who_connects),
		TEST(test_unwanted_is_not_fetched),
		TEST(test_races_of_wake_deadline_and_cancel),
		TEST(test_stop_while_busy),
		TEST(test_stop_idle_says_logout),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
