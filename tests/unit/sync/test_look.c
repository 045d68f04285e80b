/* SPDX-License-Identifier: MIT */
/*
 * Looks at a maildrop: what comes is in the spool, once, whatever the connection does; what is wrong is said; a start that has
 * something to show succeeds. What is deleted: test_sweep.c.
 */
#include "drop_fixture.h"
#include "mailfs/util/quirk.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "mailfs/util/clock.h"

/* Every look after an error ends at once: no further connection is granted. */
static void one_session(struct fixture *f)
{
	f->server.sessions_left = 1;
	f->server.away_retry = SOURCE_RETRY_NEVER;
}

static void test_mounts(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 20);
	assert_int_equal(fixture_look(f), 0);
	spool_check(f, false);
	assert_int_equal(server_counts(&f->server).retrs, 20);
	assert_int_equal(spool_state(f).missing, 0);
	assert_true(spool_state(f).complete_s > 0);
	fixture_end(f);
	/* Nothing new. */
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).retrs, 20);
	assert_int_equal(server_counts(&f->server).connects, 2);
	assert_int_equal(server_counts(&f->server).quits, 2);
	/* Three new ones; one that was here is gone on the server, and stays here. */
	letters_add(f, 21, 3);
	f->server.letters[4].gone = true;
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).retrs, 23);
	assert_int_equal(server_counts(&f->server).deles, 0);
	spool_check(f, true);
	assert_int_equal(f->warning_count, 0);
}

static int keep_row(void *arg, const struct source_row *row)
{
	struct str *out = arg;
	str_printf(out, "%u %llu %lld [%s] %.*s", row->have, (unsigned long long)row->size_bytes,
		(long long)row->date_s, row->flags, (int)row->header_len, row->header);
	return 0;
}

static void test_row(void **state)
{
	struct fixture *f = *state;
	_cleanup_str_ struct str row = STR_INIT;
	_cleanup_str_ struct str structure = STR_INIT;
	struct store_spool record;
	letter_add(f, "odd \x01\xfe uidl", 7, 1234);
	assert_int_equal(fixture_start(f), 0);
	assert_true(record_find(f, 7, &record));
	assert_int_equal(record.size_bytes, 1234);
	assert_int_equal(record.listed_bytes, 1234);
	uint32_t folder = f->account->drop->serve.number;
	assert_int_equal(store_row_get(f->store, folder, record.uid, keep_row, &row), 0);
	assert_string_equal(str_cstr(&row),
		"15 1234 1057056727 [] From: Writer 7 <w7@example.org>\r\nTo: alice@test\r\n"
		"Subject: Letter 7\r\nMessage-ID: <7@example.org>\r\n");
	assert_int_equal(store_structure_get(f->store, folder, record.uid, &structure), 0);
	struct mime_part *part;
	assert_int_equal(mime_part_parse(structure.data, structure.len, &part), 0);
	assert_true(part->located);
	mime_part_destroy(part);
}

static void test_empty(void **state)
{
	struct fixture *f = *state;
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(spool_count(f), 0);
	/* A message of no bytes at all. */
	letter_add(f, "nothing", 1, 0);
	fixture_end(f);
	assert_int_equal(fixture_look(f), 0);
	spool_check(f, false);
}

static void test_progress(void **state)
{
	struct fixture *f = *state;
	uint64_t bytes = 0;
	letters_add(f, 1, 30);
	for (size_t i = 0; i < 30; i++)
		bytes += f->server.letters[i].len;
	f->server.delay_us = 3000;
	int64_t begin = clock_now_ms();
	assert_int_equal(fixture_look(f), 0);
	int64_t took = clock_now_ms() - begin;
	assert_true(f->progress.done);
	assert_int_equal(f->progress.messages, 30);
	assert_int_equal(f->progress.messages_total, 30);
	assert_int_equal(f->progress.bytes, bytes);
	assert_int_equal(f->progress.bytes_total, bytes);
	assert_true(f->progress_calls >= 3);
	assert_true(f->progress_calls <= 3 + took / 100);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 10);
	f->server.letters[3].refused = true;
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(spool_count(f), 9);
	assert_int_equal(spool_state(f).missing, 1);
	assert_int_equal(spool_state(f).complete_s, 0);
	assert_int_equal(f->warning_count, 1);
	assert_true(warned(f, "alice@test: the server refuses 1 of 10 messages"));
	assert_true(warned(f, "-ERR it is locked"));
	f->server.letters[3].refused = false;
	fixture_end(f);
	assert_int_equal(fixture_look(f), 0);
	spool_check(f, false);
	assert_int_equal(server_counts(&f->server).retrs, 11);
	assert_int_equal(f->warning_count, 1);
}

/* Nothing came: that is no mailbox without mail. */
static void test_all_refused(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 2);
	f->server.letters[0].refused = f->server.letters[1].refused = true;
	assert_true(fixture_look(f) < 0);
	assert_non_null(
		strstr(f->error.text, "the server refuses all 2 messages: -ERR it is locked"));
	assert_int_equal(f->warning_count, 0);
	assert_int_equal(spool_state(f).missing, 2);
	fixture_end(f);
	f->params.background = true;
	assert_int_equal(fixture_look(f), 0);
	fixture_end(f);
	f->params.background = false;
	f->server.letters[0].refused = false;
	assert_int_equal(fixture_look(f), 0);
	fixture_end(f);
	f->server.letters[0].gone = true;
	assert_int_equal(fixture_look(f), 0);
	assert_true(warned(f, "the server refuses 1 of 1 messages"));
	assert_int_equal(spool_count(f), 1);
}

/* STAT says that there are more than the lists have. */
static void test_unlisted(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 3);
	/* One that goes between two answers is none. */
	f->server.unlisted[0] = 1;
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).lists, 2);
	assert_int_equal(server_counts(&f->server).connects, 1);
	assert_int_equal(spool_state(f).missing, 0);
	assert_int_equal(f->warning_count, 0);
	fixture_end(f);
	f->server.unlisted[2] = 4;
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).lists, 4);
	assert_true(warned(f,
		"it says that it has 7 messages, and lists 3; what it does not list can not be downloaded"));
	assert_int_equal(f->warning_count, 1);
	assert_int_equal(spool_state(f).missing, 4);
	spool_check(f, false);
}

static void test_listless(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 3);
	f->server.listless = true;
	f->server.unlisted[0] = f->server.unlisted[1] = f->server.unlisted[2] = 1;
	assert_true(fixture_look(f) < 0);
	assert_int_equal(f->error.cause, SOURCE_CAUSE_PROTOCOL);
	assert_non_null(strstr(f->error.text, "it says that it has 4 messages, and lists none"));
	fixture_end(f);
	f->server.listless = false;
	memset(f->server.unlisted, 0, sizeof(f->server.unlisted));
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(f->warning_count, 0);
	fixture_end(f);
	f->server.listless = true;
	f->server.unlisted[2] = 1;
	assert_int_equal(fixture_look(f), 0);
	assert_true(warned(f, "and lists none; shown is what is here, as of 20"));
	spool_check(f, false);
}

/* After each callback in turn the connection is cut, and the look with it. */
static void test_cuts(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 6);
	for (unsigned cut = 1; cut <= 14; cut++) {
		f->server.cut_at = server_counts(&f->server).callbacks + 1 + cut % 3;
		one_session(f);
		(void)fixture_look(f);
		if (cut % 4 == 0)
			letters_add(f, 100 + cut, 2);
	}
	f->server.sessions_left = -1;
	f->server.cut_at = 0;
	assert_int_equal(fixture_look(f), 0);
	spool_check(f, false);
	/* What was whole came once. */
	for (size_t i = 0; i < *f->server.count; i++)
		assert_int_equal(f->server.letters[i].came_out, 1);
}

static void test_cut_at_each(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 5);
	assert_int_equal(fixture_look(f), 0);
	unsigned callbacks = server_counts(&f->server).callbacks;
	for (unsigned cut = 1; cut <= callbacks; cut++) {
		unsigned first = cut * 10;
		size_t before = *f->server.count;
		letters_add(f, first, 5);
		for (size_t i = before; i < before + 5; i++)
			f->server.letters[i].len = f->server.letters[i - before].len;
		f->server.cut_at = server_counts(&f->server).callbacks + cut;
		one_session(f);
		/* There was a look before: it starts, and says so. */
		assert_int_equal(fixture_look(f), 0);
		f->server.sessions_left = -1;
		f->server.cut_at = 0;
		assert_int_equal(fixture_look(f), 0);
		spool_check(f, false);
		fixture_end(f);
	}
	for (size_t i = 0; i < *f->server.count; i++)
		assert_int_equal(f->server.letters[i].came_out, 1);
}

/* Connections that each bring something are made again at once. */
static void test_reconnect(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 12);
	for (size_t i = 0; i < 12; i++)
		f->server.letters[i].len = 400;
	/* Two callbacks for each. */
	f->server.cut_each = 7;
	int64_t begin = clock_now_ms();
	assert_int_equal(fixture_look(f), 0);
	assert_true(clock_now_ms() - begin < 2000);
	assert_int_equal(server_counts(&f->server).connects, 4);
	assert_int_equal(f->warning_count, 0);
	assert_true(f->progress.done);
	assert_int_equal(f->progress.messages, 12);
	spool_check(f, false);
}

/* A mount waits once for a server that says nothing, and once more only if something came. */
static void test_silent(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 6);
	f->server.silent = true;
	assert_true(fixture_look(f) < 0);
	assert_int_equal(server_counts(&f->server).connects, 1);
	assert_int_equal(f->error.err, -ETIMEDOUT);
	fixture_end(f);
	server_reset_counts(&f->server);
	f->server.silent = false;
	f->server.times_out = true;
	f->server.letters[4].breaks = true;
	assert_true(fixture_look(f) < 0);
	assert_int_equal(server_counts(&f->server).connects, 3);
	assert_int_equal(spool_count(f), 5);
	fixture_end(f);
	/* There is something to show; what came is kept. */
	server_reset_counts(&f->server);
	letters_add(f, 7, 2);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).connects, 1);
	assert_true(warned(f, "test: timed out; shown is what is here"));
	fixture_end(f);
	f->server.silent = true;
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).connects, 2);
}

/* One over which every connection breaks does not keep the others away. */
static void test_stuck(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 8);
	f->server.letters[2].breaks = true;
	f->server.letters[5].breaks = true;
	assert_true(fixture_look(f) < 0);
	assert_int_equal(spool_count(f), 6);
	assert_int_equal(spool_state(f).missing, 2);
	assert_int_equal(f->error.cause, SOURCE_CAUSE_CONNECT);
	assert_non_null(strstr(f->error.text, "connection cut; 6 of 8 messages were stored, and "
					      "the next mount goes on from there"));
	fixture_end(f);
	/* The next one has something to show. */
	assert_int_equal(fixture_look(f), 0);
	assert_true(warned(f, "alice: test: connection cut; shown is what is here, which was "
			      "never all; 2 messages are missing"));
	assert_int_equal(f->warning_count, 1);
}

static void test_away(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 3);
	f->server.away = true;
	f->server.away_cause = SOURCE_CAUSE_LOGIN;
	assert_true(fixture_look(f) < 0);
	assert_int_equal(f->error.cause, SOURCE_CAUSE_LOGIN);
	assert_int_equal(f->warning_count, 0);
	f->server.away = false;
	assert_int_equal(fixture_look(f), 0);
	f->server.away = true;
	assert_int_equal(fixture_start(f), 0);
	assert_int_equal(f->warning_count, 1);
	assert_true(warned(f, "alice: test: can not connect; shown is what is here, as of 20"));
	spool_check(f, false);
	fixture_end(f);
	/* Two days ago, with one missing. */
	struct store_spool_state old = spool_state(f);
	old.complete_s -= 2 * 86400 + 100;
	old.missing = 1;
	uint32_t number;
	assert_int_equal(store_number(f->store, "alice@test", STORE_NUMBER_FOLDER, DROP_MAILBOX,
				 DROP_UIDVALIDITY, &number),
		0);
	assert_int_equal(store_spool_state_put(f->store, number, &old), 0);
	fixture_end(f);
	assert_int_equal(fixture_look(f), 0);
	assert_true(warned(f, ", 2 days ago; 1 message is missing\n"));
}

/* --- Messages that are known by their content --- */

static void test_no_uidl(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 3);
	f->server.abilities.uidl = false;
	assert_true(fixture_look(f) < 0);
	assert_non_null(strstr(f->error.text, "uidl=hash"));
	assert_int_equal(f->error.retry, SOURCE_RETRY_NEVER);
	assert_int_equal(server_counts(&f->server).connects, 1);
	assert_int_equal(spool_count(f), 0);
}

static void hash_mode(struct fixture *f, bool top)
{
	letters_add(f, 1, 10);
	/* The same letter three times. */
	for (int i = 0; i < 3; i++)
		letter_add(f, "", 50, 600);
	f->server.abilities.uidl = false;
	f->server.abilities.top = top;
	f->params.uidl_hash = true;
	assert_int_equal(fixture_look(f), 0);
	spool_check(f, false);
	fixture_end(f);
	server_reset_counts(&f->server);
	letters_add(f, 20, 1);
	letter_add(f, "", 50, 600);
	assert_int_equal(fixture_look(f), 0);
	spool_check(f, false);
	fixture_end(f);
}

static void test_hash(void **state)
{
	struct fixture *f = *state;
	hash_mode(f, false);
	assert_int_equal(server_counts(&f->server).retrs, 15);
	/* Cut where it may be: what is new comes first, so that each connection brings something. */
	letters_add(f, 30, 2);
	f->server.cut_each = 12;
	f->server.sessions_left = 2;
	(void)fixture_look(f);
	f->server.cut_each = 0;
	f->server.sessions_left = -1;
	spool_check(f, false);
}

static void test_hash_top(void **state)
{
	struct fixture *f = *state;
	hash_mode(f, true);
	assert_int_equal(server_counts(&f->server).tops, 15);
	assert_int_equal(server_counts(&f->server).retrs, 2);
}

/* A server that says it knows TOP, and falls over it. */
static void test_hash_top_breaks(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 5);
	f->server.abilities.uidl = false;
	f->server.abilities.top = true;
	f->server.letters[3].breaks_top = true;
	f->params.uidl_hash = true;
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).connects, 3);
	assert_int_equal(server_counts(&f->server).retrs, 5);
	spool_check(f, false);
}

/* Two messages under one unique-id, in one listing and in two. */
static void test_same_uidl(void **state)
{
	struct fixture *f = *state;
	quirk_forget();
	letter_add(f, "same", 1, 500);
	letter_add(f, "same", 2, 500);
	letter_add(f, "other", 3, 500);
	assert_int_equal(fixture_look(f), 0);
	spool_check(f, false);
	fixture_end(f);
	/* One is gone, and a third has its unique-id. */
	f->server.letters[0].gone = true;
	letter_add(f, "same", 4, 700);
	/* And one stands for another now. */
	f->server.letters[2] = (struct letter){.uidl = "other", .content = 5, .len = 900};
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(spool_count(f), 5);
	fixture_end(f);
	server_reset_counts(&f->server);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(spool_count(f), 5);
	assert_true(quirk_count(QUIRK_POP3_UIDL_TWICE) > 0);
}

/* A file that was lost is fetched again, under its number. */
static void test_lost(void **state)
{
	struct fixture *f = *state;
	struct store_spool before, after;
	letters_add(f, 1, 4);
	assert_int_equal(fixture_start(f), 0);
	assert_true(record_find(f, 3, &before));
	spool_damage(f, 3);
	uint32_t folder = f->account->drop->serve.number;
	assert_int_equal(store_spool_verify(f->store, folder, before.uid), -EBADMSG);
	assert_int_equal(spool_count(f), 3);
	fixture_end(f);
	assert_int_equal(fixture_look(f), 0);
	spool_check(f, false);
	assert_true(record_find(f, 3, &after));
	assert_int_equal(before.uid, after.uid);
	assert_int_equal(server_counts(&f->server).retrs, 5);
}

/* --- Size and number --- */

static long peak_kib(void)
{
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	return usage.ru_maxrss;
}

static void test_large(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 1);
	assert_int_equal(fixture_look(f), 0);
	long before = peak_kib();
	letter_add(f, "large", 2, 60 << 20);
	assert_int_equal(fixture_look(f), 0);
	long grown = peak_kib() - before;
	printf("# a message of 60 MiB: %ld KiB\n", grown);
	spool_check(f, false);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_true(grown < 8 << 10);
#endif
}

static double cpu_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MANY = 3000 };
#else
enum { MANY = 10000 };
#endif

/* A second look at many costs next to nothing; the rest of 100,000 is in test_plan.c. */
static void test_many(void **state)
{
	struct fixture *f = *state;
	for (unsigned i = 0; i < MANY; i++) {
		char uidl[24];
		snprintf(uidl, sizeof(uidl), "%021u", i);
		letter_add(f, uidl, i, 10);
	}
	double begin = cpu_s();
	assert_int_equal(fixture_look(f), 0);
	printf("# %d messages, first look: %.2f s of CPU\n", MANY, cpu_s() - begin);
	begin = cpu_s();
	assert_int_equal(fixture_start(f), 0);
	double seconds = cpu_s() - begin;
	printf("# %d messages, second look: %.3f s of CPU\n", MANY, seconds);
	assert_int_equal(server_counts(&f->server).retrs, MANY);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
	assert_true(seconds * (100000.0 / MANY) < 2);
#endif
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_mounts),
		TEST(test_row),
		TEST(test_empty),
		TEST(test_progress),
		TEST(test_refused),
		TEST(test_all_refused),
		TEST(test_unlisted),
		TEST(test_listless),
		TEST(test_cuts),
		TEST(test_cut_at_each),
		TEST(test_reconnect),
		TEST(test_silent),
		TEST(test_stuck),
		TEST(test_away),
		TEST(test_no_uidl),
		TEST(test_hash),
		TEST(test_hash_top),
		TEST(test_hash_top_breaks),
		TEST(test_same_uidl),
		TEST(test_lost),
		TEST(test_large),
		TEST(test_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
