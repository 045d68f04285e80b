/* SPDX-License-Identifier: MIT */
/* Watching one mailbox by IDLE: news, odd news, floods, refusals, and how a watch ends. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "mailfs/util/quirk.h"
#include "watcher.h"

#define EXAMINE                                                                                    \
	GREETING(" IDLE"), "<C1 EXAMINE \"box\"",                                                  \
		">* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nC1 OK\r\n"
#define IDLE EXAMINE, "<C2 IDLE", ">+ idling\r\n"
#define DONE "<DONE", ">C2 OK\r\n"

static void test_idle_news(void **state)
{
	static const char *const news[] = {"* 4 EXISTS\r\n", "* 1 EXPUNGE\r\n",
		"* VANISHED 1:9\r\n", "* VANISHED\r\n", "* 1 FETCH (FLAGS ())\r\n",
		"* 1 FETCH (\r\n", "* 0 exists\r\n", "* 999 EXPUNGE\r\n",
		"* OK [UIDVALIDITY 8] x\r\n",
		"* 4 EXISTS\r\n* 1 RECENT\r\n* 4 EXISTS\r\n* 1 EXPUNGE\r\n"};
	(void)state;
	for (size_t i = 0; i < sizeof(news) / sizeof(news[0]); i++) {
		struct str line = STR_INIT;
		str_printf(&line, ">%s", news[i]);
		expect(2, "box", SCRIPT(IDLE, str_cstr(&line), DONE), "ready mailbox:box ");
		str_finish(&line);
	}
}

/* Signs of life, and what is about nothing; then a poke from elsewhere. */
static void *poke_soon(void *arg)
{
	struct watcher *watcher = arg;
	usleep(100000);
	watcher->peer.source->ops->poke(watcher->peer.session);
	return NULL;
}

static void test_idle_no_news(void **state)
{
	struct watcher watcher;
	pthread_t thread;
	(void)state;
	watcher_begin(&watcher, 0,
		SCRIPT(IDLE,
			">* OK still here\r\n* 3 EXISTS\r\n* 0 RECENT\r\n* STATUS x (MESSAGES 1)\r\n* SEARCH\r\n+ x\r\n* FLAGS ()\r\n",
			DONE));
	assert_int_equal(pthread_create(&thread, NULL, poke_soon, &watcher), 0);
	int64_t start = clock_now_ms();
	assert_int_equal(watch(&watcher, "box", LONG_MS), 0);
	assert_true(clock_now_ms() - start < LONG_MS / 2);
	pthread_join(thread, NULL);
	assert_string_equal(str_cstr(&watcher.told), "ready ");
	watcher_finish(&watcher);
}

/* What came before the watch had begun is not told, what comes with its end is. */
static void test_idle_edges(void **state)
{
	(void)state;
	expect(1, "box",
		SCRIPT(EXAMINE, "<C2 IDLE", ">* 4 EXISTS\r\n", "#20", ">* 1 EXPUNGE\r\n+\r\n",
			"<DONE", ">* 5 EXISTS\r\n* 2 FETCH (FLAGS ())\r\nC2 OK\r\n"),
		"ready mailbox:box ");
}

/* The same number again is a sign of life, unless one has gone meanwhile. */
static void test_idle_same_count(void **state)
{
	(void)state;
	quirk_forget();
	expect(3, "box",
		SCRIPT(IDLE, ">* 3 EXISTS\r\n", "#50", ">* VANISHED 5\r\n", "#50",
			">* 3 EXISTS\r\n", "#50", "<DONE", ">* 3 EXISTS\r\nC2 OK\r\n"),
		"ready mailbox:box mailbox:box ");
	assert_int_equal(quirk_count(QUIRK_SIGN_OF_LIFE), 2);
}

/* A thousand responses are a few events; a response in pieces does no harm. */
static void test_idle_coalesces(void **state)
{
	struct watcher watcher;
	(void)state;
	watcher_begin(&watcher, 0,
		SCRIPT(IDLE, "*1000 * 1 EXPUNGE\r\n", "~2 * 2 EXISTS\r\n", "#0", DONE));
	assert_int_equal(watch(&watcher, "box", 300), 0);
	assert_true(watcher.count >= 2 && watcher.count < 500);
	watcher_finish(&watcher);
}

/* In one piece on the wire they are one event. */
static void test_idle_one_read(void **state)
{
	struct str burst = STR_INIT;
	(void)state;
	str_putc(&burst, '>');
	for (int i = 0; i < 1000; i++)
		str_append_cstr(&burst, "* 1 EXPUNGE\r\n");
	expect(2, "box", SCRIPT(IDLE, str_cstr(&burst), DONE), "ready mailbox:box ");
	str_finish(&burst);
}

static void test_idle_until(void **state)
{
	struct watcher watcher;
	(void)state;
	watcher_begin(&watcher, 0, SCRIPT(IDLE, DONE, "<C3 IDLE", ">+\r\n", "<DONE", ">C3 OK\r\n"));
	int64_t start = clock_now_ms();
	assert_int_equal(watch(&watcher, "box", 150), 0);
	assert_true(clock_now_ms() - start >= 150 && clock_now_ms() - start < 2000);
	/* at once, and its time is over: still it shows that the server is there */
	assert_int_equal(watch(&watcher, "box", -5), 0);
	assert_string_equal(str_cstr(&watcher.told), "ready ready+ ");
	watcher_finish(&watcher);
}

/* A poke before the watch ends it too, once. */
static void test_poke_before(void **state)
{
	struct watcher watcher;
	(void)state;
	watcher_begin(&watcher, 4,
		SCRIPT(IDLE, DONE, "<C3 IDLE", ">* 9 EXISTS\r\n+\r\n", ">* 1 EXPUNGE\r\n", "<DONE",
			">C3 OK\r\n"));
	watcher.peer.source->ops->poke(watcher.peer.session);
	watcher.peer.source->ops->poke(watcher.peer.session);
	assert_int_equal(watch(&watcher, "box", LONG_MS), 0);
	assert_string_equal(str_cstr(&watcher.told), "ready ");
	/* the next goes on where it ended: nothing is lost in between, and nothing is opened again */
	assert_int_equal(watch(&watcher, "box", 300), 0);
	assert_memory_equal(watcher.told.data, "ready ready+ mailbox:box ", 25);
	watcher_finish(&watcher);
}

/* Another call in between, another mailbox, another identity: it begins anew. */
static void test_idle_anew(void **state)
{
	struct watcher watcher;
	struct source_state box;
	(void)state;
	watcher_begin(&watcher, 0,
		SCRIPT(IDLE, DONE, "<C3 EXAMINE \"y\"",
			">* 0 EXISTS\r\n* OK [UIDVALIDITY 9] x\r\nC3 OK\r\n", "<C4 EXAMINE \"box\"",
			">* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nC4 OK\r\n", "<C5 IDLE",
			">+\r\n* OK [UIDVALIDITY 8] x\r\n", "<DONE", ">C5 OK\r\n",
			"<C6 EXAMINE \"box\"", ">* 0 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\nC6 OK\r\n",
			"<C7 IDLE", ">+\r\n", "<DONE", ">C7 OK\r\n", "<C8 EXAMINE \"y\"",
			">C8 NO [NOPERM] x\r\n"));
	assert_int_equal(watch(&watcher, "box", 0), 0);
	assert_int_equal(session_select(&watcher.peer, "y", &box), 0);
	assert_int_equal(watch(&watcher, "box", 100), 0);
	assert_int_equal(watch(&watcher, "box", 0), 0);
	assert_string_equal(str_cstr(&watcher.told), "ready ready mailbox:box ready ");
	assert_int_equal(watch(&watcher, "y", LONG_MS), -EACCES);
	assert_int_equal(watcher.peer.error.scope, SOURCE_SCOPE_MAILBOX);
	watcher_finish(&watcher);
}

/* A server that ends an IDLE by itself is asked again; one that does nothing else, is not. */
static void test_idle_ended_by_server(void **state)
{
	(void)state;
	expect(3, "box",
		SCRIPT(IDLE, "#1100", ">* 4 EXISTS\r\nC2 OK had enough\r\n", "<C3 IDLE",
			">+\r\n* 5 EXISTS\r\n", "<DONE", ">C3 OK\r\n"),
		"ready mailbox:box mailbox:box ");
	expect_fail(0, "box", SCRIPT(IDLE, ">C2 OK\r\n"), -EOPNOTSUPP, SOURCE_SCOPE_MAILBOX, 0);
}

static void test_idle_refused(void **state)
{
	(void)state;
	expect_fail(0, "box", SCRIPT(EXAMINE, "<C2 IDLE", ">C2 BAD what?\r\n"), -EIO,
		SOURCE_SCOPE_MAILBOX, 0);
	expect_fail(0, "box", SCRIPT(EXAMINE, "<C2 IDLE", ">* 4 EXISTS\r\nC2 NO [NOPERM] no\r\n"),
		-EACCES, SOURCE_SCOPE_MAILBOX, 0);
	expect_fail(1, "box", SCRIPT(IDLE, "<DONE", ">C2 BAD what?\r\n"), -EIO,
		SOURCE_SCOPE_MAILBOX, 0);
	expect_fail(0, "box", SCRIPT(GREETING("")), -EOPNOTSUPP, SOURCE_SCOPE_MAILBOX, 0);
}

static void test_idle_dies(void **state)
{
	(void)state;
	expect_fail(0, "box", SCRIPT(IDLE, ">* BYE restart\r\n"), -EIO, SOURCE_SCOPE_ACCOUNT, 0);
	expect_fail(0, "box", SCRIPT(IDLE, "#50", "!"), -EIO, SOURCE_SCOPE_ACCOUNT, 0);
	expect_fail(0, "box", SCRIPT(IDLE, ">* 4 EX", "!"), -EIO, SOURCE_SCOPE_ACCOUNT, 0);
	expect_fail(0, "box", SCRIPT(IDLE, ">C1 OK\r\n"), -EIO, SOURCE_SCOPE_ACCOUNT, 0);
	expect_fail(0, "box", SCRIPT(IDLE, ">nonsense\r\n"), -EIO, SOURCE_SCOPE_ACCOUNT, 0);
	/* no "+", no answer to DONE, half a line: each within the session's time-out */
	expect_fail(0, "box", SCRIPT(EXAMINE, "<C2 IDLE"), -ETIMEDOUT, SOURCE_SCOPE_ACCOUNT, 0);
	expect_fail(1, "box", SCRIPT(IDLE, "<DONE"), -ETIMEDOUT, SOURCE_SCOPE_ACCOUNT, 0);
	expect_fail(
		0, "box", SCRIPT(IDLE, ">* 4 EXISTS\r\n* 4"), -ETIMEDOUT, SOURCE_SCOPE_ACCOUNT, 0);
	expect_fail(0, "box", SCRIPT(IDLE, "~10 * 444444444444444444444444444444"), -ETIMEDOUT,
		SOURCE_SCOPE_ACCOUNT, 0);
}

/* What is known is told before the wait for the rest of a line. */
static void test_idle_told_before_half_a_line(void **state)
{
	struct watcher watcher;
	(void)state;
	watcher_begin(&watcher, 0, SCRIPT(IDLE, ">* 4 EXISTS\r\n* 4"));
	watcher.peer.source->ops->set_timeout(watcher.peer.session, 300);
	assert_int_equal(watch(&watcher, "box", LONG_MS), -ETIMEDOUT);
	assert_string_equal(str_cstr(&watcher.told), "ready mailbox:box ");
	watcher_finish(&watcher);
}

static void test_idle_cancelled(void **state)
{
	struct watcher watcher;
	(void)state;
	watcher_begin(&watcher, 2, SCRIPT(IDLE, ">* 4 EXISTS\r\n"));
	watcher.cancel = true;
	assert_int_equal(watch(&watcher, "box", LONG_MS), -ECANCELED);
	assert_int_equal(watcher.peer.error.scope, SOURCE_SCOPE_CANCELLED);
	watcher_finish(&watcher);
}

/* The time-out is of a response, not of the watch: it may last longer, and wait longer. */
static void test_idle_outlasts_the_timeout(void **state)
{
	struct watcher watcher;
	(void)state;
	watcher_begin(&watcher, 3,
		SCRIPT(IDLE, "#200", ">* 4 EXISTS\r\n", "#200", ">* 5 EXISTS\r\n", DONE));
	watcher.peer.source->ops->set_timeout(watcher.peer.session, 100);
	assert_int_equal(watch(&watcher, "box", LONG_MS), 0);
	assert_string_equal(str_cstr(&watcher.told), "ready mailbox:box mailbox:box ");
	watcher_finish(&watcher);
}

/* One that never ends costs the connection, also where each of its responses means nothing; and a poke is heard in it. */
static void test_idle_flood(void **state)
{
	static const struct {
		unsigned poke_at;
		const char *flood;
	} cases[] = {{0, "*300000 * OK x\r\n"}, {5, "*300000 * 1 EXPUNGE\r\n"}};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct watcher watcher;
		watcher_begin(&watcher, cases[i].poke_at, SCRIPT(IDLE, cases[i].flood));
		assert_int_equal(watch(&watcher, "box", LONG_MS), -EIO);
		assert_int_equal(watcher.peer.error.scope, SOURCE_SCOPE_ACCOUNT);
		assert_non_null(strstr(watcher.peer.error.text, "more responses"));
		watcher_finish(&watcher);
	}
}

/* UIDs without end tell no more than one does, and take no memory. */
static void test_idle_long_vanished(void **state)
{
	(void)state;
	expect(2, "box", SCRIPT(IDLE, ">* VANISHED 1", "*300000 ,4000000000", ">\r\n", DONE),
		"ready mailbox:box ");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_idle_news),
		cmocka_unit_test(test_idle_no_news),
		cmocka_unit_test(test_idle_edges),
		cmocka_unit_test(test_idle_same_count),
		cmocka_unit_test(test_idle_coalesces),
		cmocka_unit_test(test_idle_one_read),
		cmocka_unit_test(test_idle_until),
		cmocka_unit_test(test_poke_before),
		cmocka_unit_test(test_idle_anew),
		cmocka_unit_test(test_idle_ended_by_server),
		cmocka_unit_test(test_idle_refused),
		cmocka_unit_test(test_idle_dies),
		cmocka_unit_test(test_idle_told_before_half_a_line),
		cmocka_unit_test(test_idle_cancelled),
		cmocka_unit_test(test_idle_outlasts_the_timeout),
		cmocka_unit_test(test_idle_flood),
		cmocka_unit_test(test_idle_long_vanished),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
