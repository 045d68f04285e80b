/* SPDX-License-Identifier: MIT */
/* The connection as a whole: lost, missed, had again; a start without the server; an end in the middle of it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "mailfs/store.h"
#include "private.h"

#define LEN 5000

/* Attempts follow each other quickly, so that a test need not wait. */
static void quick(struct fixture *f)
{
	f->account->link.pace_ms = 20;
	f->account->link.sign_ms = 100;
}

/* As good as never: what comes back has another reason. */
static void slow(struct fixture *f)
{
	f->account->link.pace_ms = 600000;
	f->account->link.sign_ms = 100;
}

static struct sync_folder *start(struct fixture *f, void (*prepare)(struct fixture *))
{
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	char *data = pattern(LEN);
	for (uint32_t uid = 1; uid <= 9; uid++)
		fake_message_add(inbox, uid, data, LEN);
	f->prepare = prepare;
	fixture_start(f);
	return fixture_inbox(f);
}

static struct sync_status status(struct fixture *f)
{
	struct sync_status now;
	sync_account_status(f->account, &now);
	return now;
}

static enum sync_link state(struct fixture *f)
{
	return status(f).link;
}

static int read_uid(struct sync_folder *folder, uint32_t uid)
{
	struct sync_body *body;
	char buf[10];
	assert_int_equal(sync_body_open(folder, uid, "", NULL, LEN, &body), 0);
	int n = (int)body_read(body, buf, sizeof(buf), 0);
	sync_body_close(body);
	return n;
}

/* The server goes away: connections are cut, and no new one can be had. */
static void go_away(struct fixture *f, enum source_cause cause)
{
	pthread_mutex_lock(&f->fake.lock);
	f->fake.connect_failures = -1;
	f->fake.connect_cause = cause;
	pthread_mutex_unlock(&f->fake.lock);
	fake_cut(&f->fake);
}

static void test_offline_fails_at_once(void **state_)
{
	struct fixture *f = *state_;
	struct sync_folder *folder = start(f, slow);
	assert_int_equal(state(f), SYNC_LINK_ONLINE);
	assert_string_equal(status(f).trouble, "");
	go_away(f, SOURCE_CAUSE_CONNECT);
	assert_int_equal(read_uid(folder, 1), -EHOSTUNREACH);
	assert_int_equal(state(f), SYNC_LINK_OFFLINE);
	assert_string_equal(status(f).trouble, "connect refused by the script");
	assert_true(status(f).retry_s > 0);
	unsigned connects = fake_counts(&f->fake).connects;
	assert_int_equal(connects, 2);
	/* Nobody tries any more but the thread. */
	int64_t since = clock_now_ms();
	for (uint32_t uid = 1; uid <= 9; uid++)
		assert_int_equal(read_uid(folder, uid), -EHOSTUNREACH);
	assert_int_equal(structure(folder, 3), -EHOSTUNREACH);
	assert_true(clock_now_ms() - since < 1000);
	assert_int_equal(fake_counts(&f->fake).connects, connects);
	/* What was listed is shown. */
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(status(f).connections, 0);
}

static void test_host_unknown(void **state_)
{
	struct fixture *f = *state_;
	struct sync_folder *folder = start(f, slow);
	go_away(f, SOURCE_CAUSE_HOST);
	assert_int_equal(read_uid(folder, 1), -EHOSTUNREACH);
	assert_int_equal(state(f), SYNC_LINK_OFFLINE);
}

/* Not the network's fault, but there is no connection either; a captive portal looks like that. */
static void test_certificate_refused(void **state_)
{
	struct fixture *f = *state_;
	struct sync_folder *folder = start(f, quick);
	go_away(f, SOURCE_CAUSE_TLS);
	assert_int_equal(read_uid(folder, 1), -EIO);
	assert_int_equal(state(f), SYNC_LINK_OFFLINE);
	FAKE_SET(&f->fake, connect_failures, 0);
	wait_for(state(f) == SYNC_LINK_ONLINE);
	assert_int_equal(read_uid(folder, 1), 10);
}

/* Those who wait in the queue hear it too, at once. */
static void test_queue_fails(void **state_)
{
	struct fixture *f = *state_;
	enum { READERS = 8 };
	struct reader readers[READERS];
	struct sync_body *bodies[READERS];
	char buf[10];
	f->params.connections = 1;
	struct sync_folder *folder = start(f, slow);
	FAKE_SET(&f->fake, hold_bodies, true);
	for (uint32_t i = 0; i < READERS; i++) {
		assert_int_equal(sync_body_open(folder, i + 1, "", NULL, LEN, &bodies[i]), 0);
		reader_init(&readers[i], 20000);
		assert_int_equal(
			sync_body_read(bodies[i], buf, 10, 0, &readers[i].waiter), -EINPROGRESS);
	}
	wait_for(fake_counts(&f->fake).working == 1);
	pthread_mutex_lock(&f->fake.lock);
	f->fake.connect_failures = -1;
	f->fake.drop_bodies = 1;
	f->fake.hold_bodies = false;
	pthread_cond_broadcast(&f->fake.changed);
	pthread_mutex_unlock(&f->fake.lock);
	for (int i = 0; i < READERS; i++) {
		assert_int_equal(reader_wait(&readers[i]), -EHOSTUNREACH);
		reader_finish(&readers[i]);
		sync_body_close(bodies[i]);
	}
	assert_int_equal(fake_counts(&f->fake).connects, 2);
}

/* The thread tries, with pauses that grow, and what was shown is looked at again. */
static void test_comes_back(void **state_)
{
	struct fixture *f = *state_;
	f->params.refresh_ms = 600000;
	struct sync_folder *folder = start(f, quick);
	go_away(f, SOURCE_CAUSE_CONNECT);
	assert_int_equal(read_uid(folder, 1), -EHOSTUNREACH);
	int64_t since = clock_now_ms();
	wait_for(fake_counts(&f->fake).connects >= 5);
	/* 20, 40, 80 ms, less a quarter. */
	assert_true(clock_now_ms() - since >= (20 + 40 + 80) * 3 / 4);
	pthread_mutex_lock(&f->fake.lock);
	fake_message_add(&f->fake.mailboxes[0], 10, "x", 1);
	f->fake.connect_failures = 0;
	pthread_mutex_unlock(&f->fake.lock);
	wait_for(state(f) == SYNC_LINK_ONLINE);
	assert_int_equal(status(f).reconnects, 1);
	assert_int_equal(status(f).retry_s, 0);
	wait_for(told_has(f->told, 10, NULL));
	assert_int_equal(read_uid(folder, 1), 10);
}

static void test_pauses_have_a_limit(void **state_)
{
	struct fixture *f = *state_;
	struct sync_folder *folder = start(f, slow);
	f->account->link.pace_ms = 1;
	go_away(f, SOURCE_CAUSE_CONNECT);
	assert_int_equal(read_uid(folder, 1), -EHOSTUNREACH);
	/* 1 + 2 + … + 32 ms, then 60 ± 15 each. */
	wait_for(fake_counts(&f->fake).connects >= 12);
	int64_t since = clock_now_ms();
	unsigned connects = fake_counts(&f->fake).connects;
	wait_for(fake_counts(&f->fake).connects >= connects + 5);
	assert_in_range(clock_now_ms() - since, 4 * 45, 2000);
}

/* A login that is refused is not repeated, but when somebody asks for it. */
static void test_login_refused(void **state_)
{
	struct fixture *f = *state_;
	struct sync_folder *folder = start(f, quick);
	FAKE_SET(&f->fake, login_refused, true);
	fake_cut(&f->fake);
	assert_int_equal(read_uid(folder, 1), -EACCES);
	assert_int_equal(read_uid(folder, 2), -EACCES);
	assert_int_equal(state(f), SYNC_LINK_OFFLINE);
	sleep_ms(150);
	assert_int_equal(fake_counts(&f->fake).connects, 2);
	assert_in_range(status(f).retry_s - clock_wall_s(), 14 * 60, 15 * 60 + 1);
	sync_account_refresh(f->account);
	wait_for(fake_counts(&f->fake).connects == 3);
	assert_int_equal(read_uid(folder, 2), -EACCES);
	FAKE_SET(&f->fake, login_refused, false);
	sync_account_refresh(f->account);
	wait_for(state(f) == SYNC_LINK_ONLINE);
	assert_int_equal(read_uid(folder, 2), 10);
}

/* Many find the connection gone at the same time: one tries. */
struct herd {
	struct sync_folder *folder;
	uint32_t uid;
	pthread_t thread;
	int result;
};

static void *herd_main(void *arg)
{
	struct herd *herd = arg;
	herd->result = read_uid(herd->folder, herd->uid);
	return NULL;
}

static void test_no_herd(void **state_)
{
	struct fixture *f = *state_;
	struct herd herd[8];
	struct sync_folder *folder = start(f, slow);
	/* Four connections first. */
	f->fake.body_delay_ms = 20;
	for (uint32_t i = 0; i < 4; i++) {
		herd[i] = (struct herd){.folder = folder, .uid = i + 1};
		pthread_create(&herd[i].thread, NULL, herd_main, &herd[i]);
	}
	for (int i = 0; i < 4; i++) {
		pthread_join(herd[i].thread, NULL);
		assert_int_equal(herd[i].result, 10);
	}
	unsigned before = fake_counts(&f->fake).connects;
	assert_true(before >= 2);
	FAKE_SET(&f->fake, hold_connects, true);
	fake_cut(&f->fake);
	for (uint32_t i = 0; i < 5; i++) {
		herd[i] = (struct herd){.folder = folder, .uid = i + 5};
		pthread_create(&herd[i].thread, NULL, herd_main, &herd[i]);
	}
	wait_for(fake_counts(&f->fake).connects == before + 1);
	assert_int_equal(state(f), SYNC_LINK_CONNECTING);
	sleep_ms(100);
	assert_int_equal(fake_counts(&f->fake).connects, before + 1);
	pthread_mutex_lock(&f->fake.lock);
	f->fake.connect_failures = -1;
	f->fake.hold_connects = false;
	pthread_cond_broadcast(&f->fake.changed);
	pthread_mutex_unlock(&f->fake.lock);
	for (int i = 0; i < 5; i++) {
		pthread_join(herd[i].thread, NULL);
		assert_int_equal(herd[i].result, -EHOSTUNREACH);
	}
	assert_int_equal(state(f), SYNC_LINK_OFFLINE);
	/* The others were found dead without asking for a connection each. */
	assert_in_range(fake_counts(&f->fake).connects, before + 1, before + 3);
}

/* An operation that times out: the waiter hears that; the thread finds out what there is. */
static void test_blackhole(void **state_)
{
	struct fixture *f = *state_;
	f->params.timeout_ms = 200;
	struct sync_folder *folder = start(f, quick);
	FAKE_SET(&f->fake, blackhole, true);
	int64_t since = clock_now_ms();
	assert_int_equal(read_uid(folder, 1), -ETIMEDOUT);
	assert_true(clock_now_ms() - since < 2000);
	wait_for(state(f) == SYNC_LINK_OFFLINE);
	since = clock_now_ms();
	assert_int_equal(read_uid(folder, 2), -EHOSTUNREACH);
	assert_int_equal(read_uid(folder, 3), -EHOSTUNREACH);
	assert_true(clock_now_ms() - since < 100);
	FAKE_SET(&f->fake, blackhole, false);
	wait_for(state(f) == SYNC_LINK_ONLINE);
	assert_int_equal(read_uid(folder, 2), 10);
}

/* One that timed out was the server's fault, and it is there: nobody else hears of it. */
static void test_timeout_once(void **state_)
{
	struct fixture *f = *state_;
	f->params.timeout_ms = 200;
	struct sync_folder *folder = start(f, slow);
	FAKE_SET(&f->fake, blackhole, true);
	assert_int_equal(read_uid(folder, 1), -ETIMEDOUT);
	FAKE_SET(&f->fake, blackhole, false);
	wait_for(state(f) == SYNC_LINK_ONLINE);
	assert_int_equal(read_uid(folder, 2), 10);
	assert_int_equal(status(f).reconnects, 1);
}

/* What is idle may be dead without a sign: asked to look, it is found within sign_ms, before somebody waits for it. */
static void test_dead_idle_session(void **state_)
{
	struct fixture *f = *state_;
	struct sync_folder *folder = start(f, quick);
	assert_int_equal(status(f).connections, 1);
	FAKE_SET(&f->fake, blackhole, true);
	sync_account_refresh(f->account);
	wait_for(status(f).connections == 0);
	assert_int_not_equal(state(f), SYNC_LINK_ONLINE);
	FAKE_SET(&f->fake, blackhole, false);
	wait_for(state(f) == SYNC_LINK_ONLINE);
	assert_int_equal(read_uid(folder, 1), 10);
}

/* One that is in the middle of a call, and hears nothing, is cut; the call is made again on another connection. */
static void test_dead_busy_session(void **state_)
{
	struct fixture *f = *state_;
	struct reader reader;
	struct sync_body *body;
	char buf[10];
	struct sync_folder *folder = start(f, quick);
	FAKE_SET(&f->fake, hold_bodies, true);
	assert_int_equal(sync_body_open(folder, 1, "", NULL, LEN, &body), 0);
	reader_init(&reader, 20000);
	assert_int_equal(sync_body_read(body, buf, 10, 0, &reader.waiter), -EINPROGRESS);
	wait_for(fake_counts(&f->fake).working == 1);
	unsigned bodies = fake_counts(&f->fake).bodies;
	sync_account_refresh(f->account);
	wait_for(fake_counts(&f->fake).bodies == bodies + 1);
	assert_int_equal(fake_counts(&f->fake).cancels, 1);
	FAKE_SET(&f->fake, hold_bodies, false);
	assert_int_equal(reader_wait(&reader), 10);
	reader_finish(&reader);
	sync_body_close(body);
}

/* --- A start without the server --- */

static int start_err(struct fixture *f, struct source_error *error)
{
	struct sync_events events = fixture_events(f);
	struct str why = STR_INIT;
	if (!f->store)
		assert_int_equal(store_open(f->directory, STORE_CACHE, &f->store, &why), 0);
	str_finish(&why);
	f->params.store = f->store;
	assert_int_equal(sync_account_create(&f->params, &f->account), 0);
	sync_account_set_events(f->account, &events);
	quick(f);
	return sync_account_start(f->account, error);
}

static void test_start_offline(void **state_)
{
	struct fixture *f = *state_;
	struct source_error error;
	struct str text = STR_INIT, quirks = STR_INIT;
	fake_mailbox_add(&f->fake, "Sent", 5)->special_use = "\\Sent";
	struct sync_folder *folder = start(f, quick);
	(void)folder;
	fixture_end(f);
	f->params.offline = true;
	f->fake.connect_failures = -1;
	assert_int_equal(start_err(f, &error), 0);
	assert_int_equal(state(f), SYNC_LINK_OFFLINE);
	assert_int_equal(sync_account_folder_count(f->account), 2);
	assert_string_equal(sync_folder_mailbox(fixture_folder(f, "Sent"))->special_use, "\\Sent");
	/* What is stored is told. */
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	assert_int_equal(told_shown(f->told), 0); /* of the first mailbox, which is Sent */
	struct store_mailbox stored;
	sync_folder_state(fixture_folder(f, "INBOX"), &stored);
	assert_int_equal(stored.uidvalidity, 77);
	assert_int_equal(refresh(fixture_folder(f, "Sent")), -EHOSTUNREACH);
	sync_account_describe(f->account, &text, &quirks);
	assert_non_null(strstr(str_cstr(&text), "Fake 1.0"));
	assert_int_equal(quirks.len, 0);
	str_finish(&text);
	str_finish(&quirks);
	assert_int_equal(read_uid(fixture_folder(f, "INBOX"), 1), -EHOSTUNREACH);
	FAKE_SET(&f->fake, connect_failures, 0);
	wait_for(state(f) == SYNC_LINK_ONLINE);
	assert_int_equal(read_uid(fixture_folder(f, "INBOX"), 1), 10);
	assert_int_equal(refresh(fixture_folder(f, "Sent")), 0);
}

static void test_start_offline_refused(void **state_)
{
	struct fixture *f = *state_;
	struct source_error error;
	fake_mailbox_add(&f->fake, "INBOX", 5);
	f->fake.connect_failures = -1;
	/* Nothing is known of the account. */
	f->params.offline = true;
	assert_true(start_err(f, &error) < 0);
	assert_int_equal(error.cause, SOURCE_CAUSE_CONNECT);
	fixture_end(f);
	f->fake.connect_failures = 0;
	assert_int_equal(start_err(f, &error), 0);
	fixture_end(f);
	/* It was not asked for. */
	f->params.offline = false;
	f->fake.connect_failures = -1;
	assert_true(start_err(f, &error) < 0);
	fixture_end(f);
	/* Nobody is to believe that a wrong password, or certificate, is the network's fault. */
	f->params.offline = true;
	f->fake.connect_cause = SOURCE_CAUSE_TLS;
	assert_true(start_err(f, &error) < 0);
	fixture_end(f);
	f->fake.connect_cause = SOURCE_CAUSE_LOGIN;
	assert_int_equal(start_err(f, &error), -EACCES);
	fixture_end(f);
	f->fake.connect_cause = SOURCE_CAUSE_HOST;
	assert_int_equal(start_err(f, &error), 0);
	assert_int_equal(state(f), SYNC_LINK_OFFLINE);
}

/* Lost in the midst of the start. */
static void test_start_cut(void **state_)
{
	struct fixture *f = *state_;
	struct source_error error;
	fake_mailbox_add(&f->fake, "INBOX", 5);
	assert_int_equal(start_err(f, &error), 0);
	fixture_end(f);
	f->params.offline = true;
	f->fake.cut_in[0] = 1;
	f->fake.cut_in[1] = 1;
	assert_int_equal(start_err(f, &error), 0);
	assert_int_equal(sync_account_folder_count(f->account), 1);
	wait_for(state(f) == SYNC_LINK_ONLINE);
}

/* --- The end --- */

/* Everybody hangs in connect(): whoever ends the account has cut that before, as a mount does. */
static void test_stop_while_connecting(void **state_)
{
	struct fixture *f = *state_;
	struct herd herd;
	struct sync_folder *folder = start(f, quick);
	FAKE_SET(&f->fake, hold_connects, true);
	fake_cut(&f->fake);
	herd = (struct herd){.folder = folder, .uid = 1};
	pthread_create(&herd.thread, NULL, herd_main, &herd);
	wait_for(fake_counts(&f->fake).connects == 2);
	FAKE_SET(&f->fake, cut_connects, true);
	int64_t since = clock_now_ms();
	sync_account_stop(f->account);
	assert_true(clock_now_ms() - since < 1000);
	pthread_join(herd.thread, NULL);
	assert_int_equal(herd.result, -EIO);
	assert_int_equal(sync_folder_refresh(folder, &(struct sync_waiter){0}), -EIO);
}

static void test_stop_while_offline(void **state_)
{
	struct fixture *f = *state_;
	struct sync_folder *folder = start(f, quick);
	go_away(f, SOURCE_CAUSE_CONNECT);
	assert_int_equal(read_uid(folder, 1), -EHOSTUNREACH);
	FAKE_SET(&f->fake, hold_connects, true);
	unsigned connects = fake_counts(&f->fake).connects;
	wait_for(fake_counts(&f->fake).connects > connects);
	FAKE_SET(&f->fake, cut_connects, true);
	int64_t since = clock_now_ms();
	sync_account_stop(f->account);
	assert_true(clock_now_ms() - since < 1000);
}

/* Comes and goes at random while many read: every answer is right, or one of the errors that say why. */
static void *stir(void *arg)
{
	struct fixture *f = arg;
	for (unsigned i = 0; i < 40; i++) {
		FAKE_SET(&f->fake, connect_failures, i % 4 == 1 ? 2 : 0);
		fake_cut(&f->fake);
		if (i % 8 == 0)
			sync_account_refresh(f->account);
		sleep_ms(5);
	}
	FAKE_SET(&f->fake, connect_failures, 0);
	return NULL;
}

static void *read_often(void *arg)
{
	struct herd *herd = arg;
	for (uint32_t i = 0; i < 100; i++) {
		int n = structure(herd->folder, 1 + (herd->uid * 7 + i) % 9);
		if (n == -EIO || n == -EHOSTUNREACH)
			sleep_ms(1);
		else if (n < 0)
			herd->result = n;
		n = refresh(herd->folder);
		if (n < 0 && n != -EIO && n != -EHOSTUNREACH)
			herd->result = n;
	}
	return NULL;
}

static void test_stirred(void **state_)
{
	struct fixture *f = *state_;
	struct herd herd[6];
	pthread_t stirrer;
	f->fake.abilities = SOURCE_CAN_IDLE;
	struct sync_folder *folder = start(f, quick);
	f->account->link.pace_ms = 2;
	pthread_create(&stirrer, NULL, stir, f);
	for (uint32_t i = 0; i < 6; i++) {
		herd[i] = (struct herd){.folder = folder, .uid = i};
		pthread_create(&herd[i].thread, NULL, read_often, &herd[i]);
	}
	for (int i = 0; i < 6; i++) {
		pthread_join(herd[i].thread, NULL);
		assert_int_equal(herd[i].result, 0);
	}
	pthread_join(stirrer, NULL);
	wait_for(state(f) == SYNC_LINK_ONLINE);
	wait_for(read_uid(folder, 1) == 10);
	assert_int_equal(refresh(folder), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_offline_fails_at_once),
		TEST(test_host_unknown),
		TEST(test_certificate_refused),
		TEST(test_queue_fails),
		TEST(test_comes_back),
		TEST(test_pauses_have_a_limit),
		TEST(test_login_refused),
		TEST(test_no_herd),
		TEST(test_blackhole),
		TEST(test_timeout_once),
		TEST(test_dead_idle_session),
		TEST(test_dead_busy_session),
		TEST(test_start_offline),
		TEST(test_start_offline_refused),
		TEST(test_start_cut),
		TEST(test_stop_while_connecting),
		TEST(test_stop_while_offline),
		TEST(test_stirred),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
