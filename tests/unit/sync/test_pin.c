/* SPDX-License-Identifier: MIT */
/* Pins: what is downloaded in the background, what it gives way to, and what ends it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "mailfs/util/log.h"
#include "private.h"

#define KIB 1024
#define MIB (1024 * 1024)

/* --- What is watched --- */

static pthread_mutex_t watch_lock = PTHREAD_MUTEX_INITIALIZER;
static unsigned warnings;
static char last_warning[600];
static int write_err;        /* of the store, from then on */
static uint32_t asked[4096]; /* UIDs of the calls of body(), in order */
static unsigned asked_count;

void __wrap_log_line(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

void __wrap_log_line(enum log_level level, const char *format, ...)
{
	va_list args;
	if (level > LOG_LEVEL_WARNING)
		return;
	pthread_mutex_lock(&watch_lock);
	warnings++;
	va_start(args, format);
	vsnprintf(last_warning, sizeof(last_warning), format, args);
	va_end(args);
	pthread_mutex_unlock(&watch_lock);
}

int __real_store_body_write(struct store_body *body, const void *data, size_t len, uint64_t offset);
int __wrap_store_body_write(struct store_body *body, const void *data, size_t len, uint64_t offset);

int __wrap_store_body_write(struct store_body *body, const void *data, size_t len, uint64_t offset)
{
	pthread_mutex_lock(&watch_lock);
	int err = write_err;
	pthread_mutex_unlock(&watch_lock);
	return err < 0 ? err : __real_store_body_write(body, data, len, offset);
}

/* With the source's lock held. */
static void on_body(struct fake_source *fake, uint32_t uid)
{
	(void)fake;
	if (asked_count < sizeof(asked) / sizeof(*asked))
		asked[asked_count++] = uid;
}

static unsigned times_asked(struct fixture *f, uint32_t uid)
{
	unsigned times = 0;
	pthread_mutex_lock(&f->fake.lock);
	for (unsigned i = 0; i < asked_count; i++)
		times += asked[i] == uid;
	pthread_mutex_unlock(&f->fake.lock);
	return times;
}

static void set_write_err(int err)
{
	pthread_mutex_lock(&watch_lock);
	write_err = err;
	pthread_mutex_unlock(&watch_lock);
}

static unsigned warned(void)
{
	pthread_mutex_lock(&watch_lock);
	unsigned count = warnings;
	pthread_mutex_unlock(&watch_lock);
	return count;
}

/* --- The account --- */

static int setup(void **state)
{
	warnings = asked_count = 0;
	last_warning[0] = 0;
	write_err = 0;
	int err = fixture_setup(state);
	((struct fixture *)*state)->fake.on_body = on_body;
	return err;
}

static struct sync_folder *start(struct fixture *f, uint32_t count, const char *data, size_t len)
{
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	for (uint32_t uid = 1; uid <= count; uid++)
		fake_message_add(inbox, uid, data, len);
	fixture_start(f);
	return fixture_inbox(f);
}

static struct sync_progress progress(struct fixture *f)
{
	struct sync_progress now;
	pins_progress(f->account, &now);
	return now;
}

static bool is_running(struct fixture *f)
{
	bool running = false;
	pthread_mutex_lock(&f->account->lock);
	running |= f->account->pins_job.busy || f->account->pins_waiting;
	for (size_t i = 0; i < f->account->folder_count; i++)
		running |= f->account->folders[i]->pins.running ||
		           f->account->folders[i]->listing_job.busy;
	pthread_mutex_unlock(&f->account->lock);
	return running;
}

/* Waits until nothing more is being downloaded. */
static void settle(struct fixture *f)
{
	for (int i = 0; i < 10000 && is_running(f); i++)
		sleep_ms(1);
	assert_false(is_running(f));
}

static bool is_here(struct sync_folder *folder, uint32_t uid, const char *data, size_t len)
{
	struct sync_body *body;
	struct reader reader;
	char *buf = malloc(len + 1);
	reader_init(&reader, 20000);
	assert_int_equal(sync_body_open(folder, uid, "", NULL, len, &body), 0);
	ssize_t n = sync_body_read(body, buf, len + 1, 0, &reader.waiter);
	bool here = n == (ssize_t)len && memcmp(buf, data, len) == 0;
	if (n == -EINPROGRESS && !sync_waiter_cancel(folder->account, &reader.waiter))
		reader_wait(&reader);
	reader_finish(&reader);
	sync_body_close(body);
	free(buf);
	return here;
}

static unsigned count_here(struct sync_folder *folder, uint32_t last, const char *data, size_t len)
{
	unsigned here = 0;
	for (uint32_t uid = 1; uid <= last; uid++)
		here += is_here(folder, uid, data, len);
	return here;
}

/* The server is away: each connection is dead, and no new one comes. */
static void go_away(struct fixture *f)
{
	pthread_mutex_lock(&f->fake.lock);
	f->fake.connect_failures = -1;
	f->fake.drop_sessions = true;
	f->fake.generation++;
	pthread_mutex_unlock(&f->fake.lock);
}

static void come_back(struct fixture *f)
{
	FAKE_SET(&f->fake, connect_failures, 0);
}

static void wait_for_body(struct fixture *f)
{
	for (int i = 0; i < 10000 && fake_counts(&f->fake).working == 0; i++)
		sleep_ms(1);
	assert_int_equal(fake_counts(&f->fake).working, 1);
}

/* --- What is downloaded --- */

static void test_a_folder(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000);
	struct sync_folder *folder = start(f, 700, data, 5000);
	assert_true(progress(f).done);
	assert_int_equal(sync_pin(folder, 0, true), 0);
	settle(f);
	struct sync_progress now = progress(f);
	assert_true(now.done);
	assert_int_equal(now.messages, 700);
	assert_int_equal(now.messages_total, 700);
	assert_int_equal(now.bytes, 700 * 5000);
	assert_int_equal(now.bytes_total, 700 * 5000);
	/* Structures too, some hundred in a command. */
	struct fake_counts counts = fake_counts(&f->fake);
	assert_int_equal(counts.structure_uids, 700);
	assert_in_range(counts.structures, 2, 4);
	assert_int_equal(counts.bodies, 700);
	go_away(f);
	assert_int_equal(count_here(folder, 700, data, 5000), 700);
	assert_int_equal(structure(folder, 700), 0);
	assert_int_equal(fake_counts(&f->fake).bodies, 700);
}

static void test_nothing_is_pinned(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000);
	start(f, 10, data, 5000);
	sync_pins_start(f->account);
	settle(f);
	assert_true(progress(f).done);
	assert_int_equal(fake_counts(&f->fake).bodies, 0);
	assert_int_equal(fake_counts(&f->fake).structures, 0);
}

static void test_one_message(void **state)
{
	struct fixture *f = *state;
	size_t len = 3 * MIB + 17;
	char *data = pattern(len);
	struct sync_folder *folder = start(f, 5, data, len);
	assert_int_equal(sync_pin(folder, 6, true), -ENOENT);
	assert_int_equal(sync_pin(folder, 4, true), 0);
	settle(f);
	assert_true(is_here(folder, 4, data, len));
	assert_fetched(f, len, 0);
	assert_int_equal(progress(f).messages_total, 1);
	assert_int_equal(fake_counts(&f->fake).structure_uids, 1);
	/* Already here: nothing is fetched again. */
	uint64_t bytes = fixture_bytes(f);
	assert_int_equal(sync_pin(folder, 4, true), 0);
	settle(f);
	assert_int_equal(fixture_bytes(f), bytes);
	assert_int_equal(count_here(folder, 3, data, len), 0);
}

/* Sizes that are wrong end no download and make none endless. */
static void test_wrong_sizes(void **state)
{
	struct fixture *f = *state;
	size_t len = 700 * KIB;
	char *data = pattern(len);
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	static const uint64_t announced[] = {
		700 * KIB, 700 * KIB + 1, 700 * KIB - 1, 7000 * KIB, 300 * KIB, 1000, 1};
	for (uint32_t i = 0; i < 7; i++)
		fake_message_add(inbox, i + 1, data, len)->announced = announced[i];
	fixture_start(f);
	struct sync_folder *folder = fixture_inbox(f);
	assert_int_equal(sync_pin(folder, 0, true), 0);
	settle(f);
	assert_true(progress(f).done);
	assert_int_equal(count_here(folder, 7, data, len), 7);
	assert_int_equal(f->told->sizes, 6);
	assert_true(sync_account_sizes_distrusted(f->account));
}

static void test_new_mail(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000);
	struct sync_folder *folder = start(f, 3, data, 5000);
	assert_int_equal(sync_pin(folder, 0, true), 0);
	settle(f);
	pthread_mutex_lock(&f->fake.lock);
	fake_message_add(&f->fake.mailboxes[0], 4, data, 5000);
	pthread_mutex_unlock(&f->fake.lock);
	assert_int_equal(refresh(folder), 0);
	pins_folder_listed(folder);
	settle(f);
	assert_true(is_here(folder, 4, data, 5000));
	/* A listing that finds nothing new costs no look at what is here. */
	unsigned bodies = fake_counts(&f->fake).bodies;
	assert_int_equal(refresh(folder), 0);
	pins_folder_listed(folder);
	settle(f);
	assert_int_equal(fake_counts(&f->fake).bodies, bodies);
}

/* At the start of a mount folders with pins are listed, one after the other, and others are left alone. */
static void test_start(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000);
	static const char *const names[] = {"INBOX", "One", "Two", "Holder", "Other"};
	for (uint32_t i = 0; i < 5; i++)
		for (uint32_t uid = 1; uid <= 3; uid++)
			fake_message_add(uid > 1 ? &f->fake.mailboxes[i]
						 : fake_mailbox_add(&f->fake, names[i], 77),
				uid, data, 5000);
	f->fake.mailboxes[3].flags = SOURCE_MAILBOX_NOSELECT;
	struct str why = STR_INIT;
	assert_int_equal(store_open(f->directory, STORE_CACHE, &f->store, &why), 0);
	str_finish(&why);
	static const char *const pinned[] = {"One", "Two", "Holder"};
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(store_pin_mailbox(f->store, pinned[i], true), 0);
	fixture_start(f);
	sync_pins_start(f->account);
	sync_pins_start(f->account);
	settle(f);
	assert_string_equal(last_warning, "");
	assert_int_equal(progress(f).messages_total, 6);
	assert_int_equal(progress(f).messages, 6);
	assert_int_equal(count_here(fixture_folder(f, "One"), 3, data, 5000), 3);
	assert_int_equal(count_here(fixture_folder(f, "Two"), 3, data, 5000), 3);
	uint64_t seen;
	int err;
	assert_int_equal(
		sync_folder_progress(fixture_folder(f, "Other"), &seen, &err), SYNC_LISTING_NONE);
	assert_int_equal(
		sync_folder_progress(fixture_folder(f, "INBOX"), &seen, &err), SYNC_LISTING_NONE);
}

/* --- What it gives way to --- */

static void test_a_reader_goes_first(void **state)
{
	struct fixture *f = *state;
	size_t len = 4 * MIB;
	char *data = pattern(len);
	f->params.connections = 1;
	struct sync_folder *folder = start(f, 5, data, len);
	f->fake.hold_bodies = true;
	assert_int_equal(sync_pin(folder, 1, true), 0);
	wait_for_body(f);
	/* The one connection has a part of message 1 under way. */
	struct sync_body *body;
	struct reader reader;
	char buf[100];
	reader_init(&reader, 20000);
	assert_int_equal(sync_body_open(folder, 5, "", NULL, len, &body), 0);
	assert_int_equal(sync_body_read(body, buf, 100, 0, &reader.waiter), -EINPROGRESS);
	FAKE_SET(&f->fake, hold_bodies, false);
	assert_int_equal(reader_wait(&reader), 100);
	reader_finish(&reader);
	settle(f);
	assert_true(is_here(folder, 1, data, len));
	sync_body_close(body);
	/* It came as the second, and no step was large. */
	assert_int_equal(asked[0], 1);
	assert_int_equal(asked[1], 5);
	assert_in_range(times_asked(f, 1), 16, 20);
	for (unsigned i = 0; i < 17; i++)
		assert_true(f->fake.lengths[i] <= 256 * KIB + 4096 + WITNESS);
	assert_int_equal(fake_counts(&f->fake).connects, 1);
}

/* Who reads what is being downloaded does not wait for all of it, and nothing is fetched twice. */
static void test_a_reader_of_the_same_message(void **state)
{
	struct fixture *f = *state;
	size_t len = 4 * MIB;
	char *data = pattern(len);
	struct sync_folder *folder = start(f, 1, data, len);
	f->fake.hold_bodies = true;
	assert_int_equal(sync_pin(folder, 1, true), 0);
	wait_for_body(f);
	struct sync_body *body;
	struct reader reader;
	char buf[100];
	reader_init(&reader, 20000);
	assert_int_equal(sync_body_open(folder, 1, "", NULL, len, &body), 0);
	assert_int_equal(sync_body_read(body, buf, 100, len - 100, &reader.waiter), -EINPROGRESS);
	FAKE_SET(&f->fake, hold_bodies, false);
	assert_int_equal(reader_wait(&reader), 100);
	assert_memory_equal(buf, data + len - 100, 100);
	reader_finish(&reader);
	/* The end came next (after a proof of the range), not last. */
	assert_true(f->fake.offsets[1] >= len - 128 * KIB || f->fake.offsets[2] >= len - 128 * KIB);
	settle(f);
	assert_read(body, data, 0, len);
	sync_body_close(body);
	assert_fetched(f, len, PROOF + 64 * KIB);
	assert_int_equal(fake_counts(&f->fake).working_max, 1);
}

/* --- What ends it --- */

static void test_a_message_that_fails(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000);
	struct sync_folder *folder = start(f, 10, data, 5000);
	FAKE_SET(&f->fake, mailboxes[0].messages[3].withheld, true);
	FAKE_SET(&f->fake, mailboxes[0].messages[3].gone, true);
	assert_int_equal(sync_pin(folder, 0, true), 0);
	settle(f);
	assert_int_equal(count_here(folder, 10, data, 5000), 9);
	struct sync_progress now = progress(f);
	assert_false(now.done);
	assert_int_equal(now.messages, 9);
	assert_int_equal(now.messages_total, 10);
	unsigned times = times_asked(f, 4);
	assert_in_range(times, 1, 4);
	/* Tried again at the next listing, when it works. */
	FAKE_SET(&f->fake, mailboxes[0].messages[3].gone, false);
	pins_folder_listed(folder);
	settle(f);
	assert_true(is_here(folder, 4, data, 5000));
	assert_true(progress(f).done);
}

static void test_no_room(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000);
	struct sync_folder *folder = start(f, 50, data, 5000);
	set_write_err(-EDQUOT);
	assert_int_equal(sync_pin(folder, 0, true), 0);
	settle(f);
	assert_int_equal(fake_counts(&f->fake).bodies, 1);
	assert_false(progress(f).done);
	/* One line says what to do. */
	assert_int_equal(warned(), 1);
	assert_non_null(strstr(last_warning, "cache_size="));
	assert_non_null(strstr(last_warning, "unpin"));
	pins_folder_listed(folder);
	settle(f);
	assert_int_equal(warned(), 1);
	/* Reading goes on. */
	struct sync_body *body;
	assert_int_equal(sync_body_open(folder, 7, "", NULL, 5000, &body), 0);
	assert_read(body, data, 0, 5000);
	sync_body_close(body);
	assert_int_equal(warned(), 1);
	set_write_err(0);
	pins_folder_listed(folder);
	settle(f);
	assert_int_equal(count_here(folder, 50, data, 5000), 50);
}

static void test_offline(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000);
	struct sync_folder *folder = start(f, 50, data, 5000);
	f->fake.hold_bodies = true;
	assert_int_equal(sync_pin(folder, 0, true), 0);
	wait_for_body(f);
	go_away(f);
	FAKE_SET(&f->fake, drop_bodies, 1);
	FAKE_SET(&f->fake, hold_bodies, false);
	settle(f);
	assert_int_equal(fake_counts(&f->fake).bodies, 1);
	assert_false(progress(f).done);
	come_back(f);
	assert_int_equal(refresh(folder), 0);
	pins_folder_listed(folder);
	settle(f);
	assert_int_equal(count_here(folder, 50, data, 5000), 50);
	assert_true(progress(f).done);
}

static void test_unpin(void **state)
{
	struct fixture *f = *state;
	size_t len = 4 * MIB;
	char *data = pattern(len);
	struct sync_folder *folder = start(f, 5, data, len);
	f->fake.hold_bodies = true;
	assert_int_equal(sync_pin(folder, 0, true), 0);
	wait_for_body(f);
	assert_int_equal(sync_pin(folder, 0, false), 0);
	FAKE_SET(&f->fake, hold_bodies, false);
	settle(f);
	sleep_ms(20);
	assert_int_equal(fake_counts(&f->fake).bodies, 1);
	assert_true(progress(f).done);
	assert_int_equal(progress(f).messages_total, 0);
}

/* One of two pins of the same message keeps it. */
static void test_unpin_one(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(MIB);
	struct sync_folder *folder = start(f, 3, data, MIB);
	f->fake.hold_bodies = true;
	assert_int_equal(sync_pin(folder, 1, true), 0);
	assert_int_equal(sync_pin(folder, 2, true), 0);
	wait_for_body(f);
	assert_int_equal(sync_pin(folder, 2, false), 0);
	FAKE_SET(&f->fake, hold_bodies, false);
	settle(f);
	assert_true(is_here(folder, 1, data, MIB));
	assert_false(is_here(folder, 2, data, MIB));
	assert_true(progress(f).done);
}

static void test_gone_meanwhile(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000);
	struct sync_folder *folder = start(f, 5, data, 5000);
	fake_message_remove(&f->fake, &f->fake.mailboxes[0], 3);
	assert_int_equal(sync_pin(folder, 0, true), 0);
	settle(f);
	assert_true(progress(f).done);
	assert_int_equal(progress(f).messages_total, 4);
	assert_false(told_has(f->told, 3, NULL));
}

static void test_renumbered_meanwhile(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000);
	struct sync_folder *folder = start(f, 20, data, 5000);
	f->fake.hold_bodies = true;
	assert_int_equal(sync_pin(folder, 0, true), 0);
	wait_for_body(f);
	pthread_mutex_lock(&f->fake.lock);
	f->fake.mailboxes[0].uidvalidity = 78;
	f->fake.drop_sessions = true;
	f->fake.generation++;
	pthread_mutex_unlock(&f->fake.lock);
	FAKE_SET(&f->fake, hold_bodies, false);
	settle(f);
	assert_int_equal(refresh(folder), 0);
	pins_folder_listed(folder);
	settle(f);
	assert_int_equal(f->told->resets, 2);
	assert_int_equal(count_here(folder, 20, data, 5000), 20);
}

static void test_stop_in_the_middle(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(MIB);
	struct sync_folder *folder = start(f, 20, data, MIB);
	f->fake.body_delay_ms = 1;
	assert_int_equal(sync_pin(folder, 0, true), 0);
	sleep_ms(15);
	fixture_end(f);
	/* And while a call hangs. */
	f->fake.hold_bodies = true;
	fixture_start(f);
	folder = fixture_inbox(f);
	pins_folder_listed(folder);
	wait_for_body(f);
	fixture_end(f);
	f->fake.hold_bodies = false;
	f->fake.body_delay_ms = 0;
	fixture_start(f);
	folder = fixture_inbox(f);
	pins_folder_listed(folder);
	settle(f);
	assert_int_equal(count_here(folder, 20, data, MIB), 20);
	assert_fetched(f, 20 * MIB, 2 * MIB);
}

/* Pins, unpins and readers from several threads: all ends, and every byte is right. */
struct racer {
	struct sync_folder *folder;
	const char *data;
	size_t len;
	unsigned seed;
	pthread_t thread;
};

static void *race(void *arg)
{
	struct racer *racer = arg;
	char *buf = malloc(racer->len);
	for (int i = 0; i < 40; i++) {
		uint32_t uid = (uint32_t)rand_r(&racer->seed) % 8 + 1;
		if (rand_r(&racer->seed) % 2) {
			pins_folder_listed(racer->folder);
			continue;
		}
		struct sync_body *body;
		if (sync_body_open(racer->folder, uid, "", NULL, racer->len, &body) < 0)
			abort();
		if (body_read(body, buf, racer->len, 0) != (ssize_t)racer->len ||
			memcmp(buf, racer->data, racer->len) != 0)
			abort();
		sync_body_close(body);
	}
	free(buf);
	return NULL;
}

static void test_races(void **state)
{
	struct fixture *f = *state;
	enum { RACERS = 3 };
	struct racer racers[RACERS];
	size_t len = 300 * KIB;
	char *data = pattern(len);
	struct sync_folder *folder = start(f, 8, data, len);
	for (unsigned i = 0; i < RACERS; i++) {
		racers[i] =
			(struct racer){.folder = folder, .data = data, .len = len, .seed = i + 1};
		pthread_create(&racers[i].thread, NULL, race, &racers[i]);
	}
	for (int i = 0; i < 60; i++)
		assert_int_equal(sync_pin(folder, 0, i % 2 == 0), 0);
	for (int i = 0; i < RACERS; i++)
		pthread_join(racers[i].thread, NULL);
	assert_int_equal(sync_pin(folder, 0, true), 0);
	settle(f);
	assert_int_equal(count_here(folder, 8, data, len), 8);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_a_folder),
		TEST(test_nothing_is_pinned),
		TEST(test_one_message),
		TEST(test_wrong_sizes),
		TEST(test_new_mail),
		TEST(test_start),
		TEST(test_a_reader_goes_first),
		TEST(test_a_reader_of_the_same_message),
		TEST(test_a_message_that_fails),
		TEST(test_no_room),
		TEST(test_offline),
		TEST(test_unpin),
		TEST(test_unpin_one),
		TEST(test_gone_meanwhile),
		TEST(test_renumbered_meanwhile),
		TEST(test_stop_in_the_middle),
		TEST(test_races),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
