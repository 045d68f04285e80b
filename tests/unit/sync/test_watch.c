/* SPDX-License-Identifier: MIT */
/* Hearing of changes: which folders are watched, what follows from the server's word, and what is done where it says none. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "mailfs/store.h"
#include "mailfs/util/quirk.h"
#include "private.h"

#define LEN 5000

static void quick(struct fixture *f)
{
	f->account->link.pace_ms = 20;
	f->account->link.sign_ms = 100;
	f->account->watch.move_ms = 300;
}

static const char *const names[] = {"INBOX", "A", "B", "C"};

/* Four folders of three messages each; refresh= is long, so that what is listed again was heard of. */
static void start(struct fixture *f, unsigned abilities, unsigned connections)
{
	char *data = pattern(LEN);
	for (size_t i = 0; i < 4; i++) {
		struct fake_mailbox *mailbox = fake_mailbox_add(&f->fake, names[i], 77);
		for (uint32_t uid = 1; uid <= 3; uid++)
			fake_message_add(mailbox, uid, data, LEN);
	}
	f->fake.abilities = abilities;
	f->params.connections = connections;
	if (f->params.refresh_ms == 0)
		f->params.refresh_ms = 600000;
	f->prepare = quick;
	fixture_start(f);
}

static bool is_watched(struct fixture *f, const char *name)
{
	struct sync_folder_status status;
	assert_int_equal(sync_folder_status(fixture_folder(f, name), &status), 0);
	return status.watched;
}

static enum sync_push push(struct fixture *f)
{
	struct sync_status status;
	sync_account_status(f->account, &status);
	return status.push;
}

static unsigned connections(struct fixture *f)
{
	struct sync_status status;
	sync_account_status(f->account, &status);
	return status.connections;
}

static unsigned jobs(struct fixture *f)
{
	struct sync_status status;
	sync_account_status(f->account, &status);
	return status.demand + status.bulk;
}

static void deliver(struct fixture *f, size_t mailbox)
{
	fake_deliver(&f->fake, &f->fake.mailboxes[mailbox], "x", 1);
}

/* Without a word from the server. */
static void deliver_silently(struct fixture *f, size_t mailbox)
{
	pthread_mutex_lock(&f->fake.lock);
	struct fake_mailbox *at = &f->fake.mailboxes[mailbox];
	fake_message_add(at, at->uidnext, "x", 1);
	pthread_mutex_unlock(&f->fake.lock);
}

static unsigned watches(struct fixture *f)
{
	return fake_counts(&f->fake).watches;
}

static unsigned selects(struct fixture *f)
{
	return fake_counts(&f->fake).selects;
}

static bool watched_last(struct fixture *f, const char *name)
{
	pthread_mutex_lock(&f->fake.lock);
	size_t count = f->fake.watched_count;
	bool is = count > 0 && strcmp(f->fake.watched[count - 1], name) == 0;
	pthread_mutex_unlock(&f->fake.lock);
	return is;
}

static void test_notify(void **state)
{
	struct fixture *f = *state;
	start(f, SOURCE_CAN_NOTIFY | SOURCE_CAN_IDLE, 4);
	struct sync_folder *inbox = fixture_inbox(f);
	wait_for(is_watched(f, "INBOX"));
	assert_int_equal(push(f), SYNC_PUSH_NOTIFY);
	assert_true(is_watched(f, "C"));
	assert_int_equal(connections(f), 2);
	wait_for(refresh(inbox) == 0);
	deliver(f, 0);
	wait_for(told_has(f->told, 4, NULL));
	deliver(f, 0);
	wait_for(told_has(f->told, 5, NULL));
	/* Current without asking. */
	unsigned before = selects(f);
	assert_int_equal(refresh(inbox), 0);
	assert_int_equal(selects(f), before);
	/* What nobody was shown is not listed. */
	deliver(f, 2);
	deliver(f, 0);
	wait_for(told_has(f->told, 6, NULL));
	assert_int_equal(selects(f), before + 1);
	assert_int_equal(watches(f), 1);
}

/* How long a message takes from the server's word to the tree: no pause is in the way. */
static void test_latency(void **state)
{
	struct fixture *f = *state;
	enum { ROUNDS = 40 };
	start(f, SOURCE_CAN_NOTIFY, 4);
	fixture_inbox(f);
	wait_for(is_watched(f, "INBOX"));
	int64_t best = INT64_MAX;
	for (uint32_t i = 0; i < ROUNDS; i++) {
		int64_t since = clock_now_ms();
		deliver(f, 0);
		while (!told_has(f->told, 4 + i, NULL) && clock_now_ms() < since + 5000)
			sched_yield();
		int64_t took = clock_now_ms() - since;
		best = took < best ? took : best;
	}
	assert_true(best <= 10);
}

/* News while the folder is being listed: it is listed once more. */
static void test_news_during_a_listing(void **state)
{
	struct fixture *f = *state;
	start(f, SOURCE_CAN_NOTIFY, 4);
	fixture_inbox(f);
	wait_for(is_watched(f, "INBOX"));
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	wait_for(jobs(f) == 0);
	unsigned before = selects(f);
	FAKE_SET(&f->fake, hold_rows, true);
	deliver(f, 0);
	wait_for(selects(f) == before + 1);
	for (int i = 0; i < 10; i++)
		deliver(f, 0);
	sleep_ms(20);
	assert_int_equal(selects(f), before + 1);
	FAKE_SET(&f->fake, hold_rows, false);
	wait_for(told_has(f->told, 14, NULL));
	/* Ten words, one more run. */
	assert_in_range(selects(f), before + 2, before + 3);
}

/* What happened before the watch began is not told: shown folders are looked at once. */
static void test_ready_looks_once(void **state)
{
	struct fixture *f = *state;
	start(f, SOURCE_CAN_NOTIFY, 4);
	fixture_inbox(f);
	wait_for(is_watched(f, "INBOX"));
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	pthread_mutex_lock(&f->fake.lock);
	f->fake.hold_connects = true;
	pthread_mutex_unlock(&f->fake.lock);
	fake_cut(&f->fake);
	wait_for(!is_watched(f, "INBOX"));
	deliver_silently(f, 0);
	FAKE_SET(&f->fake, hold_connects, false);
	wait_for(told_has(f->told, 4, NULL));
	wait_for(is_watched(f, "INBOX"));
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
}

/* A watch that goes on where it was costs nothing. */
static void test_watchdog(void **state)
{
	struct fixture *f = *state;
	f->params.watchdog_ms = 200;
	start(f, SOURCE_CAN_NOTIFY, 4);
	fixture_inbox(f);
	wait_for(watches(f) >= 2);
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	unsigned before = selects(f);
	unsigned count = watches(f);
	wait_for(watches(f) >= count + 3);
	assert_int_equal(selects(f), before);
	assert_true(is_watched(f, "INBOX"));
	deliver(f, 0);
	wait_for(told_has(f->told, 4, NULL));
}

/* Nothing comes any more, and nothing says so: the watchdog finds it. */
static void test_silent_death(void **state)
{
	struct fixture *f = *state;
	f->params.watchdog_ms = 400;
	f->params.timeout_ms = 100;
	start(f, SOURCE_CAN_IDLE, 4);
	fixture_inbox(f);
	wait_for(is_watched(f, "INBOX"));
	FAKE_SET(&f->fake, blackhole, true);
	int64_t since = clock_now_ms();
	wait_for(!is_watched(f, "INBOX"));
	assert_true(clock_now_ms() - since < 2000);
	wait_for(link_is_offline(f->account));
	deliver_silently(f, 0);
	FAKE_SET(&f->fake, blackhole, false);
	wait_for(told_has(f->told, 4, NULL));
	wait_for(is_watched(f, "INBOX"));
}

/* Somebody says that the network changed: a dead watch is found in sign_ms, long before the watchdog. */
static void test_asked_for_a_sign(void **state)
{
	struct fixture *f = *state;
	f->params.timeout_ms = 300;
	start(f, SOURCE_CAN_NOTIFY, 4);
	fixture_inbox(f);
	wait_for(is_watched(f, "INBOX"));
	unsigned connects = fake_counts(&f->fake).connects;
	/* Alive: nothing happens but a question. */
	sync_account_refresh(f->account);
	wait_for(watches(f) == 2);
	sleep_ms(150);
	assert_true(is_watched(f, "INBOX"));
	/* The listing may have connected beside what was being asked. */
	assert_in_range(fake_counts(&f->fake).connects, connects, connects + 1);
	assert_int_equal(fake_counts(&f->fake).cancels, 0);
	FAKE_SET(&f->fake, blackhole, true);
	sync_account_refresh(f->account);
	wait_for(!is_watched(f, "INBOX"));
	FAKE_SET(&f->fake, blackhole, false);
	wait_for(is_watched(f, "INBOX"));
}

/* Asked again and again, also between two watches: the connection is kept, and nobody takes it for a watch that will not last. */
static void test_asked_often(void **state)
{
	struct fixture *f = *state;
	start(f, SOURCE_CAN_NOTIFY, 4);
	fixture_inbox(f);
	wait_for(is_watched(f, "INBOX"));
	unsigned disconnects = fake_counts(&f->fake).disconnects;
	for (int i = 0; i < 300; i++) {
		pthread_mutex_lock(&f->account->lock);
		watch_suspect(f->account);
		pthread_mutex_unlock(&f->account->lock);
		if (i % 3 == 0)
			sched_yield();
	}
	sleep_ms(50);
	assert_int_equal(fake_counts(&f->fake).disconnects, disconnects);
	wait_for(is_watched(f, "INBOX"));
	deliver(f, 0);
	wait_for(told_has(f->told, 4, NULL));
}

/* INBOX, and the folder last used. */
static void test_idle(void **state)
{
	struct fixture *f = *state;
	start(f, SOURCE_CAN_IDLE, 4);
	fixture_inbox(f);
	wait_for(is_watched(f, "INBOX"));
	assert_int_equal(push(f), SYNC_PUSH_IDLE);
	/* The other waits for something to watch. */
	assert_int_equal(watches(f), 1);
	assert_int_equal(refresh(fixture_folder(f, "A")), 0);
	wait_for(is_watched(f, "A"));
	assert_true(is_watched(f, "INBOX"));
	assert_int_equal(connections(f), 3);
	deliver(f, 0);
	wait_for(told_has(f->told, 4, NULL));
	/* Others follow refresh=. */
	assert_false(is_watched(f, "B"));
	/* INBOX is never watched twice. */
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	assert_int_equal(refresh(fixture_folder(f, "A")), 0);
	unsigned before = selects(f);
	assert_int_equal(refresh(fixture_folder(f, "A")), 0);
	assert_int_equal(selects(f), before);
}

/* The watch moves with who uses the folders, but does not run after every step. */
static void test_idle_moves(void **state)
{
	struct fixture *f = *state;
	start(f, SOURCE_CAN_IDLE, 4);
	fixture_inbox(f);
	assert_int_equal(refresh(fixture_folder(f, "A")), 0);
	wait_for(is_watched(f, "A"));
	int64_t since = clock_now_ms();
	for (int i = 0; i < 10; i++) {
		assert_int_equal(refresh(fixture_folder(f, "B")), 0);
		assert_int_equal(refresh(fixture_folder(f, "C")), 0);
	}
	wait_for(is_watched(f, "C"));
	assert_true(clock_now_ms() - since >= 200);
	assert_false(is_watched(f, "A"));
	assert_false(is_watched(f, "B"));
	assert_true(is_watched(f, "INBOX"));
	assert_int_equal(watches(f), 3);
}

/* Two connections: one watches what was used last, one works. */
static void test_idle_with_two(void **state)
{
	struct fixture *f = *state;
	start(f, SOURCE_CAN_IDLE, 2);
	fixture_inbox(f);
	wait_for(is_watched(f, "INBOX"));
	assert_int_equal(connections(f), 2);
	assert_int_equal(refresh(fixture_folder(f, "B")), 0);
	wait_for(is_watched(f, "B"));
	assert_false(is_watched(f, "INBOX"));
	assert_int_equal(connections(f), 2);
	deliver(f, 0);
	assert_true(fake_counts(&f->fake).connects <= 2);
}

/* One: nobody watches, INBOX and what is in use is looked at every refresh=. */
static void test_poll(void **state)
{
	struct fixture *f = *state;
	f->params.refresh_ms = 50;
	start(f, SOURCE_CAN_IDLE | SOURCE_CAN_NOTIFY, 1);
	assert_int_equal(push(f), SYNC_PUSH_POLL);
	unsigned before = selects(f);
	sleep_ms(150);
	/* Nothing was shown. */
	assert_int_equal(selects(f), before);
	fixture_inbox(f);
	deliver_silently(f, 0);
	wait_for(told_has(f->told, 4, NULL));
	deliver_silently(f, 0);
	wait_for(told_has(f->told, 5, NULL));
	assert_int_equal(watches(f), 0);
	unsigned lists = fake_counts(&f->fake).lists;
	wait_for(fake_counts(&f->fake).lists >= lists + 2);
	assert_int_equal(connections(f), 1);
}

static void age(struct sync_folder *folder, int64_t minutes)
{
	pthread_mutex_lock(&folder->account->lock);
	folder->checked_ms -= minutes * 60000;
	folder->watched_ms -= minutes * 60000;
	pthread_mutex_unlock(&folder->account->lock);
}

/* QUIRK_WATCH_SILENT: a watch is taken at its word for five minutes, whatever refresh= says; then the server is asked all the same. */
static void test_watch_that_keeps_silent(void **state)
{
	struct fixture *f = *state;
	f->params.refresh_ms = 1;
	start(f, SOURCE_CAN_NOTIFY, 4);
	struct sync_folder *inbox = fixture_inbox(f);
	wait_for(is_watched(f, "INBOX") && jobs(f) == 0);
	deliver_silently(f, 0);
	unsigned before = selects(f);
	assert_int_equal(refresh(inbox), 0);
	age(inbox, 4);
	assert_int_equal(refresh(inbox), 0);
	assert_int_equal(selects(f), before);
	assert_int_equal(told_shown(f->told), 3);
	age(inbox, 2);
	assert_int_equal(refresh(inbox), 0);
	assert_int_equal(told_shown(f->told), 4);
}

static void test_no_push_at_all(void **state)
{
	struct fixture *f = *state;
	f->params.refresh_ms = 50;
	start(f, 0, 4);
	assert_int_equal(push(f), SYNC_PUSH_POLL);
	fixture_inbox(f);
	deliver_silently(f, 0);
	wait_for(told_has(f->told, 4, NULL));
	assert_int_equal(watches(f), 0);
}

static void test_notify_refused(void **state)
{
	struct fixture *f = *state;
	struct str text = STR_INIT, quirks = STR_INIT;
	f->fake.notify_err = -EOPNOTSUPP;
	start(f, SOURCE_CAN_NOTIFY | SOURCE_CAN_IDLE, 4);
	fixture_inbox(f);
	wait_for(is_watched(f, "INBOX"));
	assert_int_equal(push(f), SYNC_PUSH_IDLE);
	deliver(f, 0);
	wait_for(told_has(f->told, 4, NULL));
	sync_account_describe(f->account, &text, &quirks);
	/* Whose fault it is, the source knows (imap/notify.c). */
	assert_string_equal(str_cstr(&quirks), "");
	str_finish(&text);
	str_finish(&quirks);
}

static void test_idle_refused(void **state)
{
	struct fixture *f = *state;
	quirk_forget();
	f->params.refresh_ms = 50;
	f->fake.notify_err = f->fake.idle_err = -EOPNOTSUPP;
	start(f, SOURCE_CAN_NOTIFY | SOURCE_CAN_IDLE, 4);
	fixture_inbox(f);
	wait_for(push(f) == SYNC_PUSH_POLL);
	deliver_silently(f, 0);
	wait_for(told_has(f->told, 4, NULL));
	/* Its connection is the workers' again. */
	wait_for(connections(f) == 1);
	assert_true(quirk_count(QUIRK_IDLE_REFUSED) > 0);
}

/* One folder that can not be watched says nothing of others. */
static void test_one_folder_refused(void **state)
{
	struct fixture *f = *state;
	start(f, SOURCE_CAN_IDLE, 4);
	fixture_inbox(f);
	wait_for(is_watched(f, "INBOX"));
	f->fake.able_still = true;
	FAKE_SET(&f->fake, idle_err, -EIO);
	assert_int_equal(refresh(fixture_folder(f, "A")), 0);
	wait_for(watches(f) == 2);
	sleep_ms(50);
	assert_int_equal(push(f), SYNC_PUSH_IDLE);
	assert_true(is_watched(f, "INBOX"));
	assert_int_equal(watches(f), 2);
}

/* Each watch costs its connection: after a few it is the watch that is given up, and never is there a storm. */
static void test_deadly_watch(void **state)
{
	struct fixture *f = *state;
	f->fake.watch_deaths = -1;
	start(f, SOURCE_CAN_NOTIFY, 4);
	fixture_inbox(f);
	sleep_ms(300);
	assert_in_range(watches(f), 1, 4);
	assert_true(fake_counts(&f->fake).connects <= 8);
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	FAKE_SET(&f->fake, watch_deaths, 0);
	wait_for(is_watched(f, "INBOX"));
}

static void test_lost_and_list(void **state)
{
	struct fixture *f = *state;
	start(f, SOURCE_CAN_NOTIFY, 4);
	fixture_inbox(f);
	wait_for(is_watched(f, "INBOX"));
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	sleep_ms(20);
	unsigned lists = fake_counts(&f->fake).lists;
	deliver_silently(f, 0);
	fake_tell(&f->fake, SOURCE_EVENT_LOST, NULL);
	wait_for(told_has(f->told, 4, NULL));
	wait_for(fake_counts(&f->fake).lists == lists + 1);
	fake_tell(&f->fake, SOURCE_EVENT_LIST, NULL);
	wait_for(fake_counts(&f->fake).lists == lists + 2);
	/* A name may be another folder's by now: who opens it looks. */
	deliver_silently(f, 0);
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	assert_true(told_has(f->told, 5, NULL));
	/* A name that nobody knows is a reason to ask which there are, but not again and again. */
	pthread_mutex_lock(&f->account->lock);
	f->account->roster.asked_ms -= 60000;
	pthread_mutex_unlock(&f->account->lock);
	fake_tell(&f->fake, SOURCE_EVENT_MAILBOX, "Unknown");
	wait_for(fake_counts(&f->fake).lists == lists + 3);
	fake_tell(&f->fake, SOURCE_EVENT_MAILBOX, "Unknown");
	sleep_ms(50);
	assert_int_equal(fake_counts(&f->fake).lists, lists + 3);
}

/* The server grants one connection less than there are: the watch gives way, and polling goes on. */
static void test_watch_gives_way(void **state)
{
	struct fixture *f = *state;
	char buf[10];
	struct sync_body *body;
	start(f, SOURCE_CAN_NOTIFY, 4);
	struct sync_folder *inbox = fixture_inbox(f);
	wait_for(is_watched(f, "INBOX"));
	assert_int_equal(refresh(inbox), 0);
	f->fake.connections_max = 1;
	/* The worker's connection dies; the watch has the only other one. */
	pthread_mutex_lock(&f->fake.lock);
	f->fake.drop_bodies = 1;
	pthread_mutex_unlock(&f->fake.lock);
	assert_int_equal(sync_body_open(inbox, 1, "", NULL, LEN, &body), 0);
	assert_int_equal(body_read(body, buf, sizeof(buf), 0), sizeof(buf));
	assert_false(is_watched(f, "INBOX"));
	assert_int_equal(push(f), SYNC_PUSH_POLL);
	sync_body_close(body);
}

static void test_stop_while_watching(void **state)
{
	struct fixture *f = *state;
	start(f, SOURCE_CAN_IDLE, 4);
	fixture_inbox(f);
	assert_int_equal(refresh(fixture_folder(f, "A")), 0);
	wait_for(is_watched(f, "INBOX") && is_watched(f, "A"));
	wait_for(jobs(f) == 0);
	int64_t since = clock_now_ms();
	sync_account_stop(f->account);
	assert_true(clock_now_ms() - since < 500);
	struct fake_counts counts = fake_counts(&f->fake);
	assert_int_equal(counts.disconnects, counts.connects);
	assert_int_equal(counts.polite, counts.connects);
}

/* A server that does not answer the end of a watch is cut off. */
static void test_stop_while_dead(void **state)
{
	struct fixture *f = *state;
	start(f, SOURCE_CAN_NOTIFY, 4);
	fixture_inbox(f);
	wait_for(is_watched(f, "INBOX"));
	FAKE_SET(&f->fake, blackhole, true);
	int64_t since = clock_now_ms();
	sync_account_stop(f->account);
	assert_true(clock_now_ms() - since < 3000);
	assert_int_equal(fake_counts(&f->fake).disconnects, fake_counts(&f->fake).connects);
}

static void test_names_of_inbox(void **state)
{
	struct fixture *f = *state;
	start(f, SOURCE_CAN_NOTIFY, 4);
	fixture_inbox(f);
	wait_for(is_watched(f, "INBOX"));
	assert_int_equal(refresh(fixture_folder(f, "INBOX")), 0);
	deliver_silently(f, 0);
	fake_tell(&f->fake, SOURCE_EVENT_MAILBOX, "Inbox");
	wait_for(told_has(f->told, 4, NULL));
	assert_true(watched_last(f, "*"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_notify),
		TEST(test_latency),
		TEST(test_news_during_a_listing),
		TEST(test_ready_looks_once),
		TEST(test_watchdog),
		TEST(test_silent_death),
		TEST(test_asked_for_a_sign),
		TEST(test_asked_often),
		TEST(test_idle),
		TEST(test_idle_moves),
		TEST(test_idle_with_two),
		TEST(test_poll),
		TEST(test_watch_that_keeps_silent),
		TEST(test_no_push_at_all),
		TEST(test_notify_refused),
		TEST(test_idle_refused),
		TEST(test_one_folder_refused),
		TEST(test_deadly_watch),
		TEST(test_lost_and_list),
		TEST(test_watch_gives_way),
		TEST(test_stop_while_watching),
		TEST(test_stop_while_dead),
		TEST(test_names_of_inbox),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
