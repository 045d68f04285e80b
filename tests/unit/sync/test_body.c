/* SPDX-License-Identifier: MIT */
/* Bytes: single flight, ranges, wrong sizes, messages that vanish, a store that fails. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "fixture.h"
#include "mailfs/store.h"
#include "mailfs/util/quirk.h"

#define KIB 1024
#define MIB (1024 * 1024)

static struct sync_body *open_message(struct sync_folder *folder, uint32_t uid, uint64_t announced)
{
	struct sync_body *body;
	assert_int_equal(sync_body_open(folder, uid, "", NULL, announced, &body), 0);
	return body;
}

static void test_small_is_fetched_whole(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(100 * KIB);
	struct sync_folder *folder = fixture_start_with(f, data, 100 * KIB, 100 * KIB);
	struct sync_body *body = open_message(folder, 5, 100 * KIB);
	char buf[16];
	assert_read(body, data, 1000, 4096);
	assert_read(body, data, 0, 100 * KIB);
	assert_int_equal(body_read(body, buf, sizeof(buf), 100 * KIB), 0);
	assert_int_equal(body_read(body, buf, sizeof(buf), 100 * KIB - 4), 4);
	assert_int_equal(body_read(body, buf, sizeof(buf), UINT64_MAX - 3), 0);
	assert_int_equal(fake_counts(&f->fake).bodies, 1);
	assert_int_equal(f->fake.lengths[0], 0);
	assert_int_equal(f->told->sizes, 0);
	sync_body_close(body);
	/* A second mount has it in the store. */
	fixture_end(f);
	fixture_start(f);
	folder = fixture_inbox(f);
	body = open_message(folder, 5, 100 * KIB);
	assert_read(body, data, 0, 100 * KIB);
	assert_int_equal(body_read(body, buf, sizeof(buf), 100 * KIB), 0);
	sync_body_close(body);
	assert_int_equal(fake_counts(&f->fake).bodies, 1);
}

static void test_single_flight(void **state)
{
	struct fixture *f = *state;
	enum { READERS = 64 };
	static struct reader readers[READERS];
	static char bufs[READERS][4096];
	struct sync_body *bodies[READERS];
	char *data = pattern(100 * KIB);
	struct sync_folder *folder = fixture_start_with(f, data, 100 * KIB, 100 * KIB);
	f->fake.hold_bodies = true;
	for (int i = 0; i < READERS; i++) {
		bodies[i] = open_message(folder, 5, 100 * KIB);
		assert_ptr_equal(bodies[i], bodies[0]);
		reader_init(&readers[i], 20000);
		assert_int_equal(sync_body_read(bodies[i], bufs[i], 4096, (uint64_t)i * 1000,
					 &readers[i].waiter),
			-EINPROGRESS);
	}
	FAKE_SET(&f->fake, hold_bodies, false);
	for (int i = 0; i < READERS; i++) {
		assert_int_equal(reader_wait(&readers[i]), 4096);
		assert_memory_equal(bufs[i], data + i * 1000, 4096);
		reader_finish(&readers[i]);
		sync_body_close(bodies[i]);
	}
	assert_int_equal(fake_counts(&f->fake).bodies, 1);
}

struct racer {
	struct sync_folder *folder;
	const char *data;
	size_t len;
	pthread_t thread;
	unsigned seed;
	bool ok;
};

/* Opens, reads at random and closes, in a thread of its own: the handles come and go. */
static void *race(void *arg)
{
	struct racer *racer = arg;
	char *buf = malloc(8192);
	racer->ok = true;
	for (int i = 0; i < 60 && racer->ok; i++) {
		struct sync_body *body;
		if (sync_body_open(racer->folder, 5, "", NULL, racer->len, &body) < 0)
			racer->ok = false;
		if (!racer->ok)
			break;
		size_t offset = (size_t)rand_r(&racer->seed) % racer->len, want = 8192;
		size_t expect = racer->len - offset < want ? racer->len - offset : want;
		ssize_t n = body_read(body, buf, want, offset);
		racer->ok = n == (ssize_t)expect && memcmp(buf, racer->data + offset, expect) == 0;
		sync_body_close(body);
	}
	free(buf);
	return NULL;
}

static void test_threads_at_random_offsets(void **state)
{
	struct fixture *f = *state;
	enum { RACERS = 8 };
	struct racer racers[RACERS];
	size_t len = 3 * MIB + 17;
	char *data = pattern(len);
	struct sync_folder *folder = fixture_start_with(f, data, len, len);
	for (unsigned i = 0; i < RACERS; i++) {
		racers[i] =
			(struct racer){.folder = folder, .data = data, .len = len, .seed = i + 1};
		pthread_create(&racers[i].thread, NULL, race, &racers[i]);
	}
	for (int i = 0; i < RACERS; i++) {
		pthread_join(racers[i].thread, NULL);
		assert_true(racers[i].ok);
	}
}

static void test_large_reads_ranges(void **state)
{
	struct fixture *f = *state;
	size_t len = 30 * MIB;
	char *data = pattern(len);
	struct sync_folder *folder = fixture_start_with(f, data, len, len);
	struct sync_body *body = open_message(folder, 5, len);
	assert_read(body, data, 0, 4096);
	assert_fetched(f, 128 * KIB, 0);
	assert_read(body, data, 4096, 124 * KIB);
	assert_fetched(f, 128 * KIB, 0);
	/* The kernel's read-ahead of a short look: still little. */
	assert_read(body, data, 128 * KIB, 128 * KIB);
	assert_fetched(f, 256 * KIB, 0);
	for (size_t offset = 256 * KIB; offset < len; offset += 128 * KIB)
		assert_read(body, data, offset, 128 * KIB);
	struct fake_counts counts = fake_counts(&f->fake);
	assert_fetched(f, len, 0);
	assert_in_range(counts.bodies, 17, 25);
	for (unsigned i = 0; i < counts.bodies; i++)
		assert_true(f->fake.lengths[i] <= 2 * MIB + 4096 + WITNESS);
	char byte;
	assert_int_equal(body_read(body, &byte, 1, len), 0);
	assert_int_equal(fake_counts(&f->fake).bodies, counts.bodies);
	sync_body_close(body);
}

static void test_random_access_is_cheap(void **state)
{
	struct fixture *f = *state;
	size_t len = 30 * MIB;
	char *data = pattern(len);
	struct sync_folder *folder = fixture_start_with(f, data, len, len);
	struct sync_body *body = open_message(folder, 5, len);
	assert_read(body, data, 20 * MIB + 5, 100);
	assert_read(body, data, 10 * MIB + 5, 100);
	assert_read(body, data, len - 100, 100);
	assert_fetched(f, 128 * KIB + 100, PROOF);
	/* A read over a hole: what is held is not fetched again, nor is it a short read. */
	assert_read(body, data, 10 * MIB - 50 * KIB, 200 * KIB);
	sync_body_close(body);
}

/* A server whose ranges are shifted: every byte is right all the same, wherever the reading begins. */
static void check_shifted(struct fixture *f, size_t first_offset)
{
	size_t len = 3 * MIB + 77; /* not too large to be held */
	char *data = pattern(len), *out = malloc(len + 1);
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	for (uint32_t uid = 5; uid <= 6; uid++)
		fake_message_add(inbox, uid, data, len)->shifted_from = 18000;
	quirk_forget();
	fixture_start(f);
	struct sync_folder *folder = fixture_inbox(f);
	struct sync_body *body = open_message(folder, 5, len);
	assert_read(body, data, first_offset, 1000);
	assert_int_equal(body_read_all(body, out, len + 1), len);
	assert_memory_equal(out, data, len);
	int64_t when_ms;
	assert_int_equal(sync_body_refuted(body, &when_ms), 0);
	sync_body_close(body);
	/* Once burnt: the next message is fetched whole, at once. */
	unsigned before = fake_counts(&f->fake).bodies;
	body = open_message(folder, 6, len);
	assert_read(body, data, 2 * MIB, 1000);
	assert_int_equal(fake_counts(&f->fake).bodies, before + 1);
	assert_true(quirk_count(QUIRK_RANGES_WRONG) > 0);
	sync_body_close(body);
	assert_int_equal(f->told->sizes, 0);
	free(out);
}

static void test_shifted_ranges_in_sequence(void **state)
{
	check_shifted(*state, 0);
}

static void test_shifted_ranges_at_random(void **state)
{
	check_shifted(*state, 2 * MIB + 3);
}

static void test_waiters_at_many_offsets(void **state)
{
	struct fixture *f = *state;
	enum { READERS = 30 };
	static struct reader readers[READERS];
	size_t len = 30 * MIB;
	char *data = pattern(len), *bufs = malloc(READERS * 1000);
	struct sync_folder *folder = fixture_start_with(f, data, len, len);
	struct sync_body *body = open_message(folder, 5, len);
	f->fake.hold_bodies = true;
	for (size_t i = 0; i < READERS; i++) {
		reader_init(&readers[i], 20000);
		size_t offset = (READERS - i) * (MIB - 100);
		assert_int_equal(
			sync_body_read(body, bufs + i * 1000, 1000, offset, &readers[i].waiter),
			-EINPROGRESS);
	}
	FAKE_SET(&f->fake, hold_bodies, false);
	for (size_t i = 0; i < READERS; i++) {
		assert_int_equal(reader_wait(&readers[i]), 1000);
		assert_memory_equal(bufs + i * 1000, data + (READERS - i) * (MIB - 100), 1000);
		reader_finish(&readers[i]);
	}
	/* One job: never two fetches of a body at a time. */
	assert_int_equal(fake_counts(&f->fake).working_max, 1);
	sync_body_close(body);
	free(bufs);
}

/* The listing says `announced`, the message has `len` bytes. */
static void check_size(struct fixture *f, size_t len, uint64_t announced)
{
	char *data = pattern(len), *out = malloc(len + MIB);
	struct sync_folder *folder = fixture_start_with(f, data, len, announced);
	struct sync_body *body = open_message(folder, 5, announced);
	assert_int_equal(body_read_all(body, out, len + MIB), len);
	assert_memory_equal(out, data, len);
	sync_body_close(body);
	assert_int_equal(f->told->sizes, announced != len);
	if (announced != len)
		assert_int_equal(f->told->size, len);
	/* Known from now on. */
	unsigned bodies = fake_counts(&f->fake).bodies;
	body = open_message(folder, 5, announced);
	uint64_t size;
	struct reader reader;
	reader_init(&reader, 1000);
	assert_int_equal(sync_body_size(body, &size, &reader.waiter), 0);
	assert_int_equal(size, len);
	reader_finish(&reader);
	sync_body_close(body);
	assert_int_equal(fake_counts(&f->fake).bodies, bodies);
	free(out);
}

/* A server that gives so many bytes at a time, of any message: it is right, or an error. */
static void test_few_bytes_at_a_time(void **state)
{
	static const struct {
		uint64_t most;
		bool right;
	} cases[] = {
		{1, false}, {100, false}, {255, false}, {256, false}, {257, true}, {1000, true}};
	struct fixture *f = *state;
	size_t len = 40 * KIB;
	char *data = pattern(len), *out = malloc(len + 1);
	struct sync_folder *folder = fixture_start_with(f, data, len, len);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		FAKE_SET(&f->fake, mailboxes[0].messages[0].most, cases[i].most);
		struct sync_body *body = open_message(folder, 5, len);
		size_t pos = body_read_all(body, out, len + 1);
		uint64_t size;
		assert_int_equal(pos, cases[i].right ? len : 0);
		assert_memory_equal(out, data, pos);
		assert_int_equal(body_size(body, &size), cases[i].right ? 0 : -EIO);
		sync_body_close(body);
	}
	assert_int_equal(f->told->sizes, 0);
	free(out);
}

/* What ends there, however far it was said to go, costs one small question more. */
static void test_tiny_announced_larger(void **state)
{
	struct fixture *f = *state;
	check_size(f, 100, 50 * KIB);
	assert_int_equal(fake_counts(&f->fake).bodies, 2);
	assert_int_equal(f->fake.offsets[1], 100);
	assert_int_equal(f->fake.lengths[1], 1);
}

static void test_small_announced_smaller(void **state)
{
	check_size(*state, 5000, 4000);
}

static void test_small_announced_but_large(void **state)
{
	check_size(*state, 3 * MIB, 4000);
}

static void test_small_announced_larger(void **state)
{
	check_size(*state, 4000, 5000);
}

static void test_large_announced_smaller(void **state)
{
	check_size(*state, MIB + 100000, MIB);
}

static void test_large_announced_larger(void **state)
{
	check_size(*state, MIB, MIB + 100000);
}

static void test_large_announced_far_larger(void **state)
{
	check_size(*state, 200 * KIB, 50 * MIB);
}

static void test_size_unknown(void **state)
{
	check_size(*state, 500 * KIB, UINT64_MAX);
}

static void test_size_right(void **state)
{
	check_size(*state, 500 * KIB, 500 * KIB);
}

/* The size without the bytes: a few small questions, wherever it was announced; then the bytes, once. */
static void check_probe(struct fixture *f, size_t len, uint64_t announced, uint64_t max_bytes,
	unsigned max_questions)
{
	char *data = pattern(len);
	struct sync_folder *folder = fixture_start_with(f, data, len, announced);
	struct sync_body *body = open_message(folder, 5, announced);
	uint64_t size;
	assert_int_equal(body_size(body, &size), 0);
	assert_int_equal(size, len);
	struct fake_counts counts = fake_counts(&f->fake);
	assert_true(counts.bytes <= max_bytes + PROOF + counts.bodies * WITNESS);
	/* With those that prove a range. */
	assert_in_range(counts.bodies, 1, max_questions + 2);
	assert_int_equal(f->told->sizes, announced != len);
	assert_read(body, data, 0, len);
	counts = fake_counts(&f->fake);
	assert_true(counts.bytes <= len + max_bytes + PROOF + counts.bodies * WITNESS);
	sync_body_close(body);
}

static void test_probe_right(void **state)
{
	check_probe(*state, 30 * MIB, 30 * MIB, 1, 1);
}

static void test_probe_one_more(void **state)
{
	check_probe(*state, 30 * MIB + 1, 30 * MIB, 5000, 2);
}

static void test_probe_one_less(void **state)
{
	check_probe(*state, 30 * MIB - 1, 30 * MIB, 5000, 3);
}

static void test_probe_more(void **state)
{
	check_probe(*state, 33 * MIB, 30 * MIB, 13000, 30);
}

static void test_probe_less(void **state)
{
	check_probe(*state, 27 * MIB, 30 * MIB, 13000, 30);
}

static void test_probe_ten_times_more(void **state)
{
	check_probe(*state, 30 * MIB, 3 * MIB, 13000, 35);
}

static void test_probe_ten_times_less(void **state)
{
	check_probe(*state, 3 * MIB, 30 * MIB, 13000, 35);
}

static void test_probe_unknown(void **state)
{
	check_probe(*state, 4 * MIB, UINT64_MAX, 13000, 35);
}

static void test_probe_small(void **state)
{
	check_probe(*state, 3000, 4000, 3000, 2);
}

static void test_short_answer_in_the_middle(void **state)
{
	struct fixture *f = *state;
	size_t len = 4 * MIB;
	char *data = pattern(len), *out = malloc(len + 1);
	struct sync_folder *folder = fixture_start_with(f, data, len, len);
	struct sync_body *body = open_message(folder, 5, len);
	FAKE_SET(&f->fake, mailboxes[0].messages[0].short_at, 70 * KIB);
	assert_int_equal(body_read(body, out, 128 * KIB, 0), 128 * KIB);
	FAKE_SET(&f->fake, mailboxes[0].messages[0].short_at, 2 * MIB + 1);
	assert_int_equal(body_read_all(body, out, len + 1), len);
	assert_memory_equal(out, data, len);
	assert_int_equal(f->told->sizes, 0);
	sync_body_close(body);
	free(out);
}

static void test_empty_answer_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	fake_message_add(inbox, 5, "", 0)->announced = 4000;
	fake_message_add(inbox, 6, "", 0)->announced = 4000000;
	fixture_start(f);
	struct sync_folder *folder = fixture_inbox(f);
	char buf[16];
	for (uint32_t uid = 5; uid <= 6; uid++) {
		struct sync_body *body = open_message(folder, uid, uid == 5 ? 4000 : 4000000);
		assert_int_equal(body_read(body, buf, sizeof(buf), 0), -EIO);
		sync_body_close(body);
	}
	assert_int_equal(f->told->sizes, 0);
}

static void test_dropped_once_is_invisible(void **state)
{
	struct fixture *f = *state;
	size_t len = MIB;
	char *data = pattern(len);
	struct sync_folder *folder = fixture_start_with(f, data, len, len);
	struct sync_body *body = open_message(folder, 5, len);
	FAKE_SET(&f->fake, drop_bodies, 1);
	assert_read(body, data, 0, 100000);
	FAKE_SET(&f->fake, drop_bodies, 1);
	assert_read(body, data, 0, len);
	assert_int_equal(fake_counts(&f->fake).connects, 3);
	FAKE_SET(&f->fake, drop_bodies, 0);
	sync_body_close(body);
}

static void test_dropped_twice_is_an_error(void **state)
{
	struct fixture *f = *state;
	size_t len = MIB;
	char *data = pattern(len), buf[100];
	struct sync_folder *folder = fixture_start_with(f, data, len, len);
	struct sync_body *body = open_message(folder, 5, len);
	FAKE_SET(&f->fake, drop_bodies, 2);
	assert_int_equal(body_read(body, buf, sizeof(buf), 0), -EIO);
	assert_read(body, data, 0, len);
	sync_body_close(body);
}

/* What the server lists and does not give is an error; it does not vanish. */
static void test_withheld(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000), buf[100];
	struct sync_folder *folder = fixture_start_with(f, data, 5000, 5000);
	struct sync_body *body = open_message(folder, 5, 5000);
	FAKE_SET(&f->fake, mailboxes[0].messages[0].withheld, true);
	FAKE_SET(&f->fake, mailboxes[0].messages[0].gone, true);
	assert_int_equal(body_read(body, buf, sizeof(buf), 0), -EIO);
	assert_true(told_has(f->told, 5, NULL));
	FAKE_SET(&f->fake, mailboxes[0].messages[0].gone, false);
	assert_read(body, data, 0, 5000);
	sync_body_close(body);
}

/* One short answer to a question for all of it is not the end of the message. */
static void test_small_answered_short_once(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(100000), *out = malloc(100001);
	struct sync_folder *folder = fixture_start_with(f, data, 100000, 100000);
	struct sync_body *body = open_message(folder, 5, 100000);
	FAKE_SET(&f->fake, mailboxes[0].messages[0].short_at, 65536);
	assert_int_equal(body_read_all(body, out, 100001), 100000);
	assert_memory_equal(out, data, 100000);
	assert_int_equal(f->told->sizes, 0);
	sync_body_close(body);
	free(out);
}

static void test_gone(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(MIB), buf[100];
	struct sync_folder *folder = fixture_start_with(f, data, MIB, MIB);
	struct sync_body *body = open_message(folder, 5, MIB);
	struct store_mailbox before, after;
	sync_folder_state(folder, &before);
	assert_read(body, data, 0, 100000);
	FAKE_SET(&f->fake, mailboxes[0].count, 0);
	assert_int_equal(body_read(body, buf, sizeof(buf), 900000), -ENOENT);
	assert_false(told_has(f->told, 5, NULL));
	sync_body_close(body);
	uint64_t count, unseen;
	assert_int_equal(store_folder_count(f->store, f->told->number, &count, &unseen), 0);
	assert_int_equal(count, 0);
	/* That the folder changed is told by the next listing, also when the first attempt fails. */
	FAKE_SET(&f->fake, mailboxes[0].exists, 3);
	assert_int_equal(refresh(folder), -EIO);
	assert_int_equal(f->told->changes, 0);
	FAKE_SET(&f->fake, mailboxes[0].exists, 0);
	assert_int_equal(refresh(folder), 0);
	sync_folder_state(folder, &after);
	assert_true(after.changed_s > before.changed_s);
	assert_int_equal(f->told->changes, 1);
}

static void test_a_session_that_has_not_heard_is_asked_again(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000);
	f->fake.session_views = true;
	struct sync_folder *folder = fixture_start_with(f, data, 5000, 5000);
	/* Two sessions have selected the mailbox: one reads, another lists. */
	struct sync_body *body = open_message(folder, 5, 5000), *other;
	struct reader reader;
	char buf[10];
	f->fake.hold_bodies = true;
	reader_init(&reader, 20000);
	assert_int_equal(sync_body_read(body, buf, 10, 0, &reader.waiter), -EINPROGRESS);
	while (fake_counts(&f->fake).working == 0)
		sleep_ms(1);
	pthread_mutex_lock(&f->fake.lock);
	fake_message_add(&f->fake.mailboxes[0], 6, data, 5000);
	pthread_mutex_unlock(&f->fake.lock);
	assert_int_equal(refresh(folder), 0);
	assert_true(told_has(f->told, 6, NULL));
	FAKE_SET(&f->fake, hold_bodies, false);
	assert_int_equal(reader_wait(&reader), 10);
	reader_finish(&reader);
	/* Whichever session gets it, the new message is read and not taken for gone. */
	other = open_message(folder, 6, 5000);
	assert_read(other, data, 0, 5000);
	assert_true(told_has(f->told, 6, NULL));
	sync_body_close(other);
	sync_body_close(body);
}

static void test_uidvalidity_changed_gives_no_other_bytes(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000), buf[10];
	struct sync_folder *folder = fixture_start_with(f, data, 5000, 5000);
	struct sync_body *body = open_message(folder, 5, 5000);
	/* The session finds out when it selects again. */
	pthread_mutex_lock(&f->fake.lock);
	f->fake.mailboxes[0].uidvalidity = 78;
	f->fake.drop_sessions = true;
	f->fake.generation++;
	pthread_mutex_unlock(&f->fake.lock);
	assert_int_equal(body_read(body, buf, sizeof(buf), 0), -EIO);
	sync_body_close(body);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(f->told->resets, 2);
	body = open_message(folder, 5, 5000);
	assert_read(body, data, 0, 5000);
	sync_body_close(body);
}

/* The server says in the middle that it has another one: the read fails, and the next selects, and finds that it is not so, or is. */
static void test_uidvalidity_said_to_have_changed(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(5000), buf[10];
	f->params.connections = 1;
	struct sync_folder *folder = fixture_start_with(f, data, 5000, 5000);
	struct sync_body *body = open_message(folder, 5, 5000);
	unsigned selects = fake_counts(&f->fake).selects;
	FAKE_SET(&f->fake, close_bodies, 1);
	assert_int_equal(body_read(body, buf, sizeof(buf), 0), -EIO);
	assert_read(body, data, 0, 5000);
	assert_int_equal(fake_counts(&f->fake).selects, selects + 1);
	sync_body_close(body);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(f->told->resets, 1);
	pthread_mutex_lock(&f->fake.lock);
	struct fake_mailbox *inbox = &f->fake.mailboxes[0];
	fake_message_add(inbox, 6, data, 5000);
	pthread_mutex_unlock(&f->fake.lock);
	assert_int_equal(refresh(folder), 0);
	body = open_message(folder, 6, 5000);
	pthread_mutex_lock(&f->fake.lock);
	inbox->uidvalidity = 78;
	f->fake.close_bodies = 1;
	pthread_mutex_unlock(&f->fake.lock);
	for (int i = 0; i < 3; i++)
		assert_int_equal(body_read(body, buf, sizeof(buf), 0), -EIO);
	sync_body_close(body);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(f->told->resets, 2);
	assert_int_equal(fake_counts(&f->fake).misuse, 0);
}

static void test_bytes_without_a_store(void **state)
{
	struct fixture *f = *state;
	char *data = pattern(3 * MIB), *out = malloc(3 * MIB + 1);
	struct rlimit before, none;
	struct sync_folder *folder = fixture_start_with(f, data, 3 * MIB, 3 * MIB);
	/* Files can not grow any more: what the store refuses is served all the same. */
	getrlimit(RLIMIT_FSIZE, &before);
	none = before;
	none.rlim_cur = 1;
	struct sync_body *body = open_message(folder, 5, 3 * MIB);
	setrlimit(RLIMIT_FSIZE, &none);
	size_t len = body_read_all(body, out, 3 * MIB + 1);
	struct fake_counts counts = fake_counts(&f->fake);
	setrlimit(RLIMIT_FSIZE, &before);
	assert_int_equal(len, 3 * MIB);
	assert_memory_equal(out, data, len);
	/* And not fetched much more than once. */
	assert_true(counts.bytes < 4 * MIB);
	sync_body_close(body);
	free(out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_small_is_fetched_whole),
		TEST(test_single_flight),
		TEST(test_threads_at_random_offsets),
		TEST(test_large_reads_ranges),
		TEST(test_random_access_is_cheap),
		TEST(test_shifted_ranges_in_sequence),
		TEST(test_shifted_ranges_at_random),
		TEST(test_waiters_at_many_offsets),
		TEST(test_few_bytes_at_a_time),
		TEST(test_tiny_announced_larger),
		TEST(test_small_announced_smaller),
		TEST(test_small_announced_but_large),
		TEST(test_small_announced_larger),
		TEST(test_large_announced_smaller),
		TEST(test_large_announced_larger),
		TEST(test_large_announced_far_larger),
		TEST(test_size_unknown),
		TEST(test_size_right),
		TEST(test_probe_right),
		TEST(test_probe_one_more),
		TEST(test_probe_one_less),
		TEST(test_probe_more),
		TEST(test_probe_less),
		TEST(test_probe_ten_times_more),
		TEST(test_probe_ten_times_less),
		TEST(test_probe_unknown),
		TEST(test_probe_small),
		TEST(test_short_answer_in_the_middle),
		TEST(test_empty_answer_is_an_error),
		TEST(test_dropped_once_is_invisible),
		TEST(test_dropped_twice_is_an_error),
		TEST(test_withheld),
		TEST(test_small_answered_short_once),
		TEST(test_gone),
		TEST(test_a_session_that_has_not_heard_is_asked_again),
		TEST(test_uidvalidity_changed_gives_no_other_bytes),
		TEST(test_uidvalidity_said_to_have_changed),
		TEST(test_bytes_without_a_store),
	};
	signal(SIGXFSZ, SIG_IGN); /* a file limit shows as EFBIG */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
