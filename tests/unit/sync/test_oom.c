/* SPDX-License-Identifier: MIT */
/*
 * Memory that is refused to an account at work, in whatever thread: everybody who waits is answered, with what is right or an error; and with memory again all of
 * it is right, in the same mount: no folder that lacks a message, no short body.
 *
 * This program's own allocations are not refused (meson.build): the fakes are not what is tested.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fixture.h"
#include "mailfs/store.h"
#include "oom.h"

#define KIB   1024
#define LARGE (300 * KIB)
#define CARE  15 /* refusals of each kind: each is an account */

static const char small[] = "Subject: hello\r\n\r\nbody\r\n";
static char *large;

static void fill(struct fixture *f)
{
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	for (uint32_t uid = 1; uid <= 20; uid++)
		fake_message_add(inbox, uid, small, sizeof(small) - 1);
	fake_message_add(inbox, 21, large, LARGE);
	fake_message_add(fake_mailbox_add(&f->fake, "Other", 78), 1, small, sizeof(small) - 1);
}

static int begin(struct fixture *f)
{
	struct source_error error;
	struct sync_events events = fixture_events(f);
	f->params.store = f->store;
	int r = sync_account_create(&f->params, &f->account);
	if (r < 0)
		return r;
	sync_account_set_events(f->account, &events);
	r = sync_account_start(f->account, &error);
	return r < 0 ? error.err : 0;
}

/* All of a message; what came is right, also where it ends in an error. */
static int read_message(struct sync_folder *folder, uint32_t uid, const char *want, size_t len)
{
	static char buf[LARGE];
	struct sync_body *body;
	size_t at = 0;
	int r = sync_body_open(folder, uid, "", NULL, len, &body);
	if (r < 0)
		return r;
	while (at < len) {
		ssize_t n = body_read(body, buf, len - at < 50000 ? len - at : 50000, at);
		if (n <= 0) {
			/* A short file would be a wrong one. */
			assert_true(n < 0);
			r = (int)n;
			break;
		}
		assert_memory_equal(buf, want + at, (size_t)n);
		at += (size_t)n;
	}
	sync_body_close(body);
	return r;
}

static int use(struct fixture *f)
{
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	int results[] = {refresh(folder), read_message(folder, 3, small, sizeof(small) - 1),
		read_message(folder, 21, large, LARGE), structure(folder, 5),
		refresh(fixture_folder(f, "Other")), refresh(folder)};
	for (size_t i = 0; i < sizeof(results) / sizeof(*results); i++)
		if (results[i] < 0)
			return results[i];
	return 0;
}

/* It need not be at once: a link that was lost comes back when it is asked for. */
static void expect_all(struct fixture *f, unsigned long nth)
{
	int64_t until_ms = clock_now_ms() + 30000;
	int r = use(f);
	while (r < 0 && clock_now_ms() < until_ms) {
		sleep_ms(5);
		r = use(f);
	}
	if (r < 0)
		fail_msg("still %s after allocation %lu", strerror(-r), nth);
	assert_int_equal(told_shown(f->told), 21);
	struct str data = STR_INIT;
	assert_int_equal(store_structure_get(f->store, f->told->number, 5, &data), 0);
	assert_true(data.len > 0);
	str_finish(&data);
}

static int try_account(void *arg, unsigned long nth, bool forever)
{
	void *state;
	struct str why = STR_INIT;
	(void)arg;
	fixture_setup(&state);
	struct fixture *f = state;
	fill(f);
	assert_int_equal(store_open(f->directory, STORE_CACHE, &f->store, &why), 0);
	str_finish(&why);
	oom_arm(nth, forever);
	int r = begin(f);
	bool begun = r == 0;
	if (begun)
		r = use(f);
	bool hit = oom_disarm();
	/* What a thread of sync could not do is an error of the connection, or of the message. */
	if (r < 0 && !(hit && (r == -EIO || r == -ENOMEM || r == -EHOSTUNREACH || r == -EAGAIN)))
		fail_msg("%s at allocation %lu", strerror(-r), nth);
	if (begun)
		expect_all(f, nth);
	fixture_end(f);
	fixture_teardown(&state);
	return r < 0 ? -ENOMEM : 0;
}

static void test_account(void **state)
{
	(void)state;
	oom_some("account", try_account, NULL, CARE);
}

static int set_up(void **state)
{
	(void)state;
	large = malloc(LARGE);
	for (size_t i = 0; i < LARGE; i++)
		large[i] = (char)(i * 2654435761U >> 24);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	free(large);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_account),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
