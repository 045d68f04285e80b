/* SPDX-License-Identifier: MIT */
/* Messages that come before they are asked for: each is fetched once, nobody waits for what does not come, and nothing is believed that body() would not be. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "fixture.h"
#include "mailfs/store.h"

#define KIB 1024
#define MIB (1024 * 1024)

enum { MANY = 400 };

/* INBOX with messages 1 … count of `size` bytes each; the same bytes at another place for each. */
static struct sync_folder *start(struct fixture *f, uint32_t count, size_t size, char **ret_data)
{
	char *data = pattern(size + count);
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	for (uint32_t uid = 1; uid <= count; uid++)
		fake_message_add(inbox, uid, data + uid, size);
	fake_can_bulk(&f->fake);
	fixture_start(f);
	*ret_data = data;
	return fixture_inbox(f);
}

static struct sync_body *open_message(struct sync_folder *folder, uint32_t uid, uint64_t announced)
{
	struct sync_body *body;
	assert_int_equal(sync_body_open(folder, uid, "", NULL, announced, &body), 0);
	return body;
}

/* Opens, reads to the end and closes, as cat does; the number of bytes that are right. */
static ssize_t cat(struct sync_folder *folder, uint32_t uid, const char *data, size_t size)
{
	char *out = malloc(size + 1);
	struct sync_body *body = open_message(folder, uid, size);
	uint64_t known = 0;
	ssize_t n = size <= 128 * KIB ? body_size(body, &known) : 0;
	size_t pos = 0;
	while (n >= 0 && (n = body_read(body, out + pos,
				  size + 1 - pos < 131072 ? size + 1 - pos : 131072, pos)) > 0)
		pos += (size_t)n;
	bool right = pos == size && memcmp(out, data + uid, size) == 0;
	sync_body_close(body);
	free(out);
	return n < 0 ? n : right ? (ssize_t)pos : -EILSEQ;
}

static void walk(
	struct sync_folder *folder, uint32_t first, uint32_t last, const char *data, size_t size)
{
	for (uint32_t i = first; i != last; i += first < last ? 1 : (uint32_t)-1)
		assert_int_equal(cat(folder, i, data, size), size);
	assert_int_equal(cat(folder, last, data, size), size);
}

static unsigned sent_most(struct fixture *f)
{
	unsigned most = 0;
	pthread_mutex_lock(&f->fake.lock);
	for (size_t i = 0; i < f->fake.mailboxes[0].count; i++)
		if (f->fake.mailboxes[0].messages[i].sent > most)
			most = f->fake.mailboxes[0].messages[i].sent;
	pthread_mutex_unlock(&f->fake.lock);
	return most;
}

static bool is_quiet(struct fixture *f)
{
	struct sync_status status;
	sync_account_status(f->account, &status);
	return status.ahead == 0 && status.demand == 0;
}

static void settle_down(struct fixture *f)
{
	wait_for(is_quiet(f));
}

static void test_up(void **state)
{
	struct fixture *f = *state;
	char *data;
	struct sync_folder *folder = start(f, MANY, 10 * KIB, &data);
	walk(folder, 1, MANY, data, 10 * KIB);
	settle_down(f);
	struct fake_counts counts = fake_counts(&f->fake);
	assert_true(counts.bodies <= MANY / 4);
	assert_int_equal(sent_most(f), 1);
	assert_int_equal(counts.bytes, MANY * 10 * KIB);
	assert_true(counts.bulk_sets <= MANY / 4);
}

static void test_down(void **state)
{
	struct fixture *f = *state;
	char *data;
	struct sync_folder *folder = start(f, MANY, 10 * KIB, &data);
	walk(folder, MANY, 1, data, 10 * KIB);
	settle_down(f);
	assert_true(fake_counts(&f->fake).bodies <= MANY / 4);
	assert_int_equal(sent_most(f), 1);
}

static void test_in_the_store_for_the_next_mount(void **state)
{
	struct fixture *f = *state;
	char *data;
	struct sync_folder *folder = start(f, 50, 10 * KIB, &data);
	walk(folder, 1, 50, data, 10 * KIB);
	fixture_end(f);
	fixture_start(f);
	folder = fixture_inbox(f);
	unsigned bodies = fake_counts(&f->fake).bodies;
	walk(folder, 1, 50, data, 10 * KIB);
	assert_int_equal(fake_counts(&f->fake).bodies, bodies);
	assert_int_equal(sent_most(f), 1);
}

static void test_partly_cached(void **state)
{
	struct fixture *f = *state;
	char *data;
	struct sync_folder *folder = start(f, 200, 10 * KIB, &data);
	for (uint32_t uid = 20; uid <= 200; uid += 20)
		assert_int_equal(cat(folder, uid, data, 10 * KIB), 10 * KIB);
	walk(folder, 1, 200, data, 10 * KIB);
	settle_down(f);
	assert_int_equal(sent_most(f), 1);
	assert_true(fake_counts(&f->fake).bodies <= 10 + 60);
}

static void test_reader_stops(void **state)
{
	struct fixture *f = *state;
	char *data;
	struct sync_folder *folder = start(f, MANY, 10 * KIB, &data);
	walk(folder, 1, 4, data, 10 * KIB);
	settle_down(f);
	assert_true(fixture_bytes(f) <= (256 + 64) * KIB);
	uint64_t before = fixture_bytes(f);
	sleep_ms(50);
	assert_int_equal(fixture_bytes(f), before);
}

static void test_one_message_is_no_walk(void **state)
{
	struct fixture *f = *state;
	char *data;
	struct sync_folder *folder = start(f, MANY, 10 * KIB, &data);
	assert_int_equal(cat(folder, 100, data, 10 * KIB), 10 * KIB);
	assert_int_equal(cat(folder, 300, data, 10 * KIB), 10 * KIB);
	settle_down(f);
	assert_int_equal(fake_counts(&f->fake).bulk_sets, 0);
}

static void wait_until_held(struct fixture *f)
{
	pthread_mutex_lock(&f->fake.lock);
	while (!f->fake.bulk_held)
		pthread_cond_wait(&f->fake.changed, &f->fake.lock);
	pthread_mutex_unlock(&f->fake.lock);
}

/* Starts a walk whose bulk is held before message `at`; then somebody reads that, and does not ask for it again. */
static struct sync_body *begin_held(struct fixture *f, struct sync_folder *folder, const char *data,
	uint32_t at, struct reader *reader, char *buf, size_t len)
{
	f->fake.hold_bulk = true;
	f->fake.hold_bulk_at = at;
	walk(folder, 1, 3, data, 10 * KIB);
	wait_until_held(f);
	struct sync_body *body = open_message(folder, at & 0x7fffffff, 10 * KIB);
	reader_init(reader, 20000);
	assert_int_equal(sync_body_read(body, buf, len, 0, &reader->waiter), -EINPROGRESS);
	return body;
}

static void check_held(struct fixture *f, uint32_t at)
{
	char *data, buf[10 * KIB];
	struct reader reader;
	struct sync_folder *folder = start(f, MANY, 10 * KIB, &data);
	struct sync_body *body = begin_held(f, folder, data, at, &reader, buf, sizeof(buf));
	unsigned bodies = fake_counts(&f->fake).bodies;
	sleep_ms(20);
	assert_int_equal(reader_wakes(&reader), 0);
	FAKE_SET(&f->fake, hold_bulk, false);
	assert_int_equal(reader_wait(&reader), sizeof(buf));
	assert_memory_equal(buf, data + (at & 0x7fffffff), sizeof(buf));
	reader_finish(&reader);
	sync_body_close(body);
	settle_down(f);
	assert_int_equal(fake_counts(&f->fake).bodies, bodies);
	assert_int_equal(sent_most(f), 1);
}

static void test_a_reader_waits_for_what_comes(void **state)
{
	check_held(*state, 10);
}

static void test_a_reader_waits_in_the_middle_of_a_message(void **state)
{
	check_held(*state, 0x80000000 | 10);
}

/* What happens to who waits for message 10 when its set ends without it. */
static void check_lost(struct fixture *f, void (*trouble)(struct fixture *f), bool again)
{
	char *data, buf[10 * KIB];
	struct reader reader;
	struct sync_folder *folder = start(f, MANY, 10 * KIB, &data);
	struct sync_body *body = begin_held(f, folder, data, 6, &reader, buf, sizeof(buf));
	struct sync_body *other = open_message(folder, 10, 10 * KIB);
	struct reader second;
	char bytes[10 * KIB];
	reader_init(&second, 20000);
	assert_int_equal(
		sync_body_read(other, bytes, sizeof(bytes), 0, &second.waiter), -EINPROGRESS);
	unsigned bodies = fake_counts(&f->fake).bodies;
	pthread_mutex_lock(&f->fake.lock);
	trouble(f);
	f->fake.hold_bulk = false;
	pthread_cond_broadcast(&f->fake.changed);
	pthread_mutex_unlock(&f->fake.lock);
	assert_int_equal(reader_wait(&reader), sizeof(buf));
	assert_memory_equal(buf, data + 6, sizeof(buf));
	assert_int_equal(reader_wait(&second), sizeof(bytes));
	assert_memory_equal(bytes, data + 10, sizeof(bytes));
	reader_finish(&reader);
	reader_finish(&second);
	sync_body_close(body);
	sync_body_close(other);
	if (again)
		assert_true(fake_counts(&f->fake).bodies > bodies);
	walk(folder, 1, 60, data, 10 * KIB);
	settle_down(f);
}

static void omit(struct fixture *f)
{
	f->fake.bulk_omit = 10;
}

static void break_response(struct fixture *f)
{
	f->fake.bulk_broken = 10;
}

static void cut(struct fixture *f)
{
	f->fake.drop_bulk = 1;
	f->fake.drop_bulk_at = 10;
}

static void cut_twice(struct fixture *f)
{
	f->fake.drop_bulk = 2;
	f->fake.drop_bulk_at = 6;
}

static void test_left_out(void **state)
{
	check_lost(*state, omit, true);
}

static void test_not_understood(void **state)
{
	check_lost(*state, break_response, true);
}

static void test_connection_lost(void **state)
{
	check_lost(*state, cut, true);
}

static void test_connection_lost_at_the_start(void **state)
{
	check_lost(*state, cut_twice, true);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	char *data;
	f->fake.bulk_refusals = 1;
	struct sync_folder *folder = start(f, 60, 10 * KIB, &data);
	walk(folder, 1, 60, data, 10 * KIB);
	settle_down(f);
	assert_int_equal(sent_most(f), 1);
	/* For a while nothing more is tried. */
	assert_true(fake_counts(&f->fake).bodies >= 10);
}

static void test_stop_in_the_middle(void **state)
{
	struct fixture *f = *state;
	char *data, buf[10 * KIB];
	struct reader reader;
	struct sync_folder *folder = start(f, MANY, 10 * KIB, &data);
	struct sync_body *body = begin_held(f, folder, data, 10, &reader, buf, sizeof(buf));
	sync_account_stop(f->account);
	assert_int_equal(reader_wait(&reader), -EIO);
	reader_finish(&reader);
	sync_body_close(body);
}

static void test_cancelled_waiter(void **state)
{
	struct fixture *f = *state;
	char *data, buf[10 * KIB];
	struct reader reader;
	struct sync_folder *folder = start(f, MANY, 10 * KIB, &data);
	struct sync_body *body = begin_held(f, folder, data, 10, &reader, buf, sizeof(buf));
	assert_true(sync_waiter_cancel(f->account, &reader.waiter));
	FAKE_SET(&f->fake, hold_bulk, false);
	settle_down(f);
	assert_int_equal(reader_wakes(&reader), 0);
	reader_finish(&reader);
	sync_body_close(body);
}

/* One message announced as another size than it has. */
static void check_size(struct fixture *f, size_t len, uint64_t announced)
{
	char *data = pattern(len + 100), *out = malloc(len + 100);
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	for (uint32_t uid = 1; uid <= 20; uid++)
		fake_message_add(inbox, uid, data + uid, uid == 10 ? len : 1000);
	fake_message(inbox, 10)->announced = announced;
	fake_can_bulk(&f->fake);
	fixture_start(f);
	struct sync_folder *folder = fixture_inbox(f);
	for (uint32_t uid = 1; uid <= 4; uid++)
		assert_int_equal(cat(folder, uid, data, 1000), 1000);
	settle_down(f);
	struct sync_body *body = open_message(folder, 10, announced);
	uint64_t size = 0;
	assert_int_equal(body_size(body, &size), 0);
	assert_int_equal(size, len);
	assert_int_equal(body_read_all(body, out, len + 100), len);
	assert_memory_equal(out, data + 10, len);
	assert_int_equal(f->told->size, len);
	sync_body_close(body);
	free(out);
}

static void test_larger_than_announced(void **state)
{
	struct fixture *f = *state;
	check_size(f, 3000, 1000);
	assert_int_equal(fake_message(&f->fake.mailboxes[0], 10)->sent, 1);
}

static void test_shorter_than_announced(void **state)
{
	check_size(*state, 3000, 4000);
}

/* An answer that is cut short once is not taken for the message. */
static void test_short_answer(void **state)
{
	struct fixture *f = *state;
	char *data;
	struct sync_folder *folder = start(f, 60, 10 * KIB, &data);
	fake_message(&f->fake.mailboxes[0], 20)->short_at = 5000;
	walk(folder, 1, 60, data, 10 * KIB);
	assert_int_equal(f->told->sizes, 0);
}

static void test_message_is_gone(void **state)
{
	struct fixture *f = *state;
	char *data;
	struct sync_folder *folder = start(f, 60, 10 * KIB, &data);
	fake_message(&f->fake.mailboxes[0], 20)->gone = true;
	walk(folder, 1, 19, data, 10 * KIB);
	assert_int_equal(cat(folder, 20, data, 10 * KIB), -ENOENT);
	walk(folder, 21, 60, data, 10 * KIB);
}

static void test_store_full(void **state)
{
	struct fixture *f = *state;
	struct rlimit before, none;
	char *data;
	struct sync_folder *folder = start(f, 200, 10 * KIB, &data);
	walk(folder, 1, 3, data, 10 * KIB);
	settle_down(f);
	getrlimit(RLIMIT_FSIZE, &before);
	none = before;
	none.rlim_cur = 1;
	setrlimit(RLIMIT_FSIZE, &none);
	for (uint32_t uid = 4; uid <= 200; uid++)
		if (cat(folder, uid, data, 10 * KIB) != 10 * KIB)
			fail_msg("message %u", uid);
	setrlimit(RLIMIT_FSIZE, &before);
	/* It is not fetched in vain for long. */
	assert_true(fixture_bytes(f) < 200 * 10 * KIB + 1024 * KIB);
}

/* --- Large ones --- */

/* Read one after the other: each is fetched once, and all of them with at most so many bytes more. */
static void check_large(struct fixture *f, uint32_t count, size_t size, uint64_t more)
{
	char *data;
	struct sync_folder *folder = start(f, count, size, &data);
	walk(folder, 1, count, data, size);
	settle_down(f);
	assert_in_range(fixture_bytes(f), count * size, count * size + more);
}

static void test_large_in_a_walk(void **state)
{
	check_large(*state, 40, 300 * KIB, 40 * 2 * WITNESS + 10 * KIB);
}

/* Who reads one of those that a set brings whole does not make its pieces come beside. */
static void test_large_on_its_way(void **state)
{
	enum { COUNT = 30, READ = 8, AT = 9 };
	struct fixture *f = *state;
	char *data, buf[4096];
	struct reader reader;
	f->params.connections = 2;
	struct sync_folder *folder = start(f, COUNT, MIB, &data);
	f->fake.hold_bulk = true;
	f->fake.hold_bulk_at = 0x80000000 | AT;
	walk(folder, 1, READ, data, MIB);
	wait_until_held(f);
	struct sync_body *body = open_message(folder, AT, MIB);
	reader_init(&reader, 20000);
	assert_int_equal(
		sync_body_read(body, buf, sizeof(buf), MIB / 2, &reader.waiter), -EINPROGRESS);
	sleep_ms(20);
	FAKE_SET(&f->fake, hold_bulk, false);
	assert_int_equal(reader_wait(&reader), sizeof(buf));
	reader_finish(&reader);
	sync_body_close(body);
	walk(folder, READ + 1, COUNT, data, MIB);
	settle_down(f);
	assert_in_range(fixture_bytes(f), COUNT * MIB, COUNT * MIB + 64 * KIB);
}

static void test_very_large_in_a_walk(void **state)
{
	struct fixture *f = *state;
	check_large(f, 5, 5 * MIB, 64 * KIB);
	assert_true(fake_counts(&f->fake).bulk_pieces > 4);
}

/* Servers may answer what waits for the line in another order: nothing comes twice for that. */
static void test_swapped_pieces(void **state)
{
	struct fixture *f = *state;
	f->fake.bulk_swaps = true;
	check_large(f, 5, 5 * MIB, 64 * KIB);
	assert_in_range(fake_counts(&f->fake).bulk_swapped, 2, 1000);
}

/* What is parked does not come when the piece before it is lost with the connection: all comes again. (No cut where its reader asks first.) */
static void test_swapped_and_cut(void **state)
{
	struct fixture *f = *state;
	size_t size = 5 * MIB;
	char *data;
	struct sync_folder *folder = start(f, 8, size, &data);
	f->fake.bulk_swaps = true;
	FAKE_SET(&f->fake, drop_bulk_at, 5);
	FAKE_SET(&f->fake, drop_bulk, 1);
	walk(folder, 1, 8, data, size);
	settle_down(f);
}

/* Nor does it when that one is refused. */
static void test_swapped_and_refused(void **state)
{
	struct fixture *f = *state;
	size_t size = 5 * MIB;
	char *data;
	struct sync_folder *folder = start(f, 4, size, &data);
	f->fake.bulk_swaps = true;
	FAKE_SET(&f->fake, bulk_refusals, 1);
	walk(folder, 1, 4, data, size);
	settle_down(f);
	assert_int_equal(f->fake.bulk_refusals, 0);
}

static void test_stream_of_one_large(void **state)
{
	struct fixture *f = *state;
	size_t size = 30 * MIB;
	char *data;
	struct sync_folder *folder = start(f, 1, size, &data);
	assert_int_equal(cat(folder, 1, data, size), size);
	settle_down(f);
	struct fake_counts counts = fake_counts(&f->fake);
	/*
	 * How many ranges the reader gets to ask for before depends on who is scheduled; one that he asks for while its bytes arrive may come
	 * twice.
	 */
	assert_in_range(counts.bytes, size, size + (64 + 128) * KIB);
	assert_true(counts.bulk_pieces > 5);
}

static void test_beginning_of_a_large(void **state)
{
	struct fixture *f = *state;
	size_t size = 30 * MIB;
	char *data;
	struct sync_folder *folder = start(f, 1, size, &data);
	struct sync_body *body = open_message(folder, 1, size);
	assert_read(body, data + 1, 0, 4096);
	assert_read(body, data + 1, 128 * KIB, 128 * KIB);
	settle_down(f);
	assert_true(fixture_bytes(f) <= 300 * KIB);
	sync_body_close(body);
}

/* A server whose ranges are shifted: no wrong byte, and from then on no pieces. */
static void test_shifted_pieces(void **state)
{
	struct fixture *f = *state;
	size_t size = 5 * MIB;
	char *data;
	struct fake_mailbox *inbox;
	data = pattern(size + 10);
	inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	for (uint32_t uid = 1; uid <= 6; uid++)
		fake_message_add(inbox, uid, data + uid, size)->shifted_from = 18000;
	fake_can_bulk(&f->fake);
	fixture_start(f);
	walk(fixture_inbox(f), 1, 6, data, size);
}

/* --- Many at once --- */

struct racer {
	struct sync_folder *folder;
	const char *data;
	size_t size;
	uint32_t first, last, step;
	pthread_t thread;
	uint32_t failed;
};

static void *race(void *arg)
{
	struct racer *racer = arg;
	for (uint32_t uid = racer->first; uid >= 1 && uid <= racer->last; uid += racer->step)
		if (cat(racer->folder, uid, racer->data, racer->size) != (ssize_t)racer->size)
			racer->failed = uid;
	return NULL;
}

static void run_racers(struct racer *racers, int count)
{
	for (int i = 0; i < count; i++)
		pthread_create(&racers[i].thread, NULL, race, &racers[i]);
	for (int i = 0; i < count; i++) {
		pthread_join(racers[i].thread, NULL);
		assert_int_equal(racers[i].failed, 0);
	}
}

static void test_two_fronts(void **state)
{
	struct fixture *f = *state;
	char *data;
	struct sync_folder *folder = start(f, 2 * MANY, 10 * KIB, &data);
	struct racer racers[2] = {{.first = 1, .last = MANY, .step = 1},
		{.first = 2 * MANY, .last = 2 * MANY, .step = (uint32_t)-1}};
	for (int i = 0; i < 2; i++) {
		racers[i].folder = folder;
		racers[i].data = data;
		racers[i].size = 10 * KIB;
	}
	run_racers(racers, 2);
	settle_down(f);
	assert_int_equal(sent_most(f), 1);
	assert_true(fake_counts(&f->fake).bodies <= MANY / 2);
}

static void test_eight_readers(void **state)
{
	struct fixture *f = *state;
	enum { READERS = 8 };
	char *data;
	struct sync_folder *folder = start(f, READERS * 100, 10 * KIB, &data);
	struct racer racers[READERS];
	for (uint32_t i = 0; i < READERS; i++)
		racers[i] = (struct racer){.folder = folder,
			.data = data,
			.size = 10 * KIB,
			.first = 1 + i,
			.last = READERS * 100,
			.step = READERS};
	run_racers(racers, READERS);
	settle_down(f);
	assert_int_equal(sent_most(f), 1);
	assert_true(fake_counts(&f->fake).bulks_max <= 3);
}

static void test_all_read_all(void **state)
{
	struct fixture *f = *state;
	enum { READERS = 4 };
	char *data;
	struct sync_folder *folder = start(f, 20, 700 * KIB, &data);
	struct racer racers[READERS];
	for (uint32_t i = 0; i < READERS; i++)
		racers[i] = (struct racer){.folder = folder,
			.data = data,
			.size = 700 * KIB,
			.first = i % 2 ? 20 : 1,
			.last = 20,
			.step = i % 2 ? (uint32_t)-1 : 1};
	run_racers(racers, READERS);
	settle_down(f);
}

/* Where readers keep up, and one connection does not, a second one fetches, too. */
static void test_more_connections(void **state)
{
	enum { COUNT = 600, SIZE = 64 * KIB, AT = 150 };
	struct fixture *f = *state;
	char *data;
	f->params.connections = 6; /* of which watchers have some */
	struct sync_folder *folder = start(f, COUNT, SIZE, &data);
	f->fake.hold_bulk = true;
	f->fake.hold_bulk_at = AT;
	walk(folder, 1, AT - 1, data, SIZE);
	wait_for(fake_counts(&f->fake).bulks_max > 1);
	FAKE_SET(&f->fake, hold_bulk, false);
	walk(folder, AT, COUNT, data, SIZE);
	settle_down(f);
	assert_int_equal(sent_most(f), 1);
}

static void test_one_connection(void **state)
{
	struct fixture *f = *state;
	char *data;
	f->params.connections = 1;
	struct sync_folder *folder = start(f, MANY, 10 * KIB, &data);
	walk(folder, 1, MANY, data, 10 * KIB);
	settle_down(f);
	assert_int_equal(sent_most(f), 1);
	assert_true(fake_counts(&f->fake).bodies <= MANY / 2);
}

/* While all that may be ahead is, somebody who wants something else is served. */
static void test_demand_beside_it(void **state)
{
	struct fixture *f = *state;
	char *data;
	struct sync_folder *folder = start(f, MANY, 10 * KIB, &data);
	f->fake.hold_bulk = true;
	f->fake.hold_bulk_at = 10; /* the third may come with what is fetched ahead */
	walk(folder, 1, 3, data, 10 * KIB);
	wait_until_held(f);
	assert_int_equal(cat(folder, MANY, data, 10 * KIB), 10 * KIB);
	assert_int_equal(refresh(folder), 0);
	FAKE_SET(&f->fake, hold_bulk, false);
	settle_down(f);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {TEST(test_up), TEST(test_down),
		TEST(test_in_the_store_for_the_next_mount), TEST(test_partly_cached),
		TEST(test_reader_stops), TEST(test_one_message_is_no_walk),
		TEST(test_a_reader_waits_for_what_comes),
		TEST(test_a_reader_waits_in_the_middle_of_a_message), TEST(test_left_out),
		TEST(test_not_understood), TEST(test_connection_lost),
		TEST(test_connection_lost_at_the_start), TEST(test_refused),
		TEST(test_stop_in_the_middle), TEST(test_cancelled_waiter),
		TEST(test_larger_than_announced), TEST(test_shorter_than_announced),
		TEST(test_short_answer), TEST(test_message_is_gone), TEST(test_store_full),
		TEST(test_large_in_a_walk), TEST(test_large_on_its_way),
		TEST(test_very_large_in_a_walk), TEST(test_stream_of_one_large),
		TEST(test_beginning_of_a_large), TEST(test_shifted_pieces),
		TEST(test_swapped_pieces), TEST(test_swapped_and_cut),
		TEST(test_swapped_and_refused), TEST(test_two_fronts), TEST(test_eight_readers),
		TEST(test_all_read_all), TEST(test_more_connections), TEST(test_one_connection),
		TEST(test_demand_beside_it)};
	signal(SIGXFSZ, SIG_IGN);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
