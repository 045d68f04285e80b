/* SPDX-License-Identifier: MIT */
/* Watching all mailboxes by NOTIFY: news, what can not be understood, refusals, and how a watch goes on. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailfs/util/quirk.h"
#include "watcher.h"

#define EVENTS   "(MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange)"
#define SET(tag) "<" tag " NOTIFY SET (personal " EVENTS ")"
#define NOTIFY   GREETING(" NOTIFY UNSELECT"), SET("C1"), ">* STATUS early (MESSAGES 1)\r\nC1 OK\r\n"
#define NOOP     "<C2 NOOP", ">C2 OK\r\n"

static void test_notify_news(void **state)
{
	static const struct {
		const char *news, *want;
		unsigned poke_at;
	} cases[] = {
		{"* STATUS INBOX (MESSAGES 1 UIDNEXT 2)\r\n", "ready mailbox:INBOX ", 2},
		{"* status {3}\r\na\"b (HIGHESTMODSEQ 9)\r\n* STATUS \"q\\\\\" ()\r\n* STATUS {3}\r\na\"b (X (1))\r\n",
			"ready mailbox:a\"b mailbox:q\\ ", 3},
		{"* LIST () \"/\" New\r\n* STATUS New (MESSAGES 0)\r\n", "ready list mailbox:New ",
			3},
		{"* LIST () \"/\" b (\"OLDNAME\" (\"a\"))\r\n", "ready list ", 2},
		{"* LIST (\\NonExistent) \"/\" b\r\n* LIST (\\Subscribed) \"/\" c\r\n",
			"ready list ", 2},
		{"* LSUB () \"/\" b\r\n", "ready list ", 2},
		/* something happened, but what? */
		{"* STATUS\r\n", "ready lost ", 2},
		{"* STATUS (INBOX)\r\n", "ready lost ", 2},
		{"* STATUS \"\" ()\r\n", "ready lost ", 2},
		{"* STATUS INBOX (MESSAGES (\r\n", "ready lost ", 2},
		{"* OK x\r\n* 1 EXISTS\r\n* 1 EXPUNGE\r\n* VANISHED 1\r\n* 1 FETCH ()\r\n* METADATA \"\" ()\r\n* 7 STATUS x ()\r\n* STATUS x ()\r\n",
			"ready mailbox:x ", 2},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct str line = STR_INIT;
		str_printf(&line, ">%s", cases[i].news);
		expect(cases[i].poke_at, NULL, SCRIPT(NOTIFY, str_cstr(&line), NOOP),
			cases[i].want);
		str_finish(&line);
	}
}

static void test_notify_namespaces(void **state)
{
	uint64_t refused = quirk_count(QUIRK_NOTIFY_REFUSED);
	uint64_t abilities = quirk_count(QUIRK_ABILITY_REFUSED);
	(void)state;
	expect(1, NULL,
		SCRIPT(GREETING(" NOTIFY NAMESPACE"), "<C1 NAMESPACE",
			">* NAMESPACE ((\"\" \"/\")(\"Mine.\" \".\")) ((\"Other \\\"Users/\" \"/\")) ((\"Shared\\\\\" \"\\\\\")(\"flat\" NIL))\r\nC1 OK\r\n",
			"<C2 NOTIFY SET (personal " EVENTS
			") (subtree (\"Other \\\"Users\" \"Shared\" \"flat\") " EVENTS ")",
			">C2 OK\r\n", "<C3 NOOP", ">* STATUS Shared\\x ()\r\nC3 OK\r\n"),
		"ready mailbox:Shared\\x ");
	/* a root that has no name can not be watched */
	expect_fail(1, NULL,
		SCRIPT(GREETING(" NOTIFY NAMESPACE IDLE"), "<C1 NAMESPACE",
			">* NAMESPACE ((\"INBOX.\" \".\")) NIL ((\"\" \".\"))\r\nC1 OK\r\n"),
		-EOPNOTSUPP, SOURCE_SCOPE_MAILBOX, SOURCE_CAN_IDLE);
	/* which is not called the server's refusal */
	assert_int_equal(quirk_count(QUIRK_SHARED_AT_ROOT), 1);
	assert_int_equal(quirk_count(QUIRK_BELOW_INBOX), 1);
	assert_int_equal(quirk_count(QUIRK_NOTIFY_REFUSED), refused);
	assert_int_equal(quirk_count(QUIRK_ABILITY_REFUSED), abilities);
}

/* What is open is closed before, without expunging anything. */
static void test_notify_closes(void **state)
{
	struct watcher watcher;
	struct source_state box;
	unsigned skipped;
	(void)state;
	watcher_begin(&watcher, 1,
		SCRIPT(GREETING(" NOTIFY UNSELECT"), "<C1 EXAMINE \"box\"",
			">* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nC1 OK\r\n", "<C2 UNSELECT",
			">C2 OK\r\n", SET("C3"), ">C3 OK\r\n", "<C4 NOOP", ">C4 OK\r\n"));
	assert_int_equal(session_select(&watcher.peer, "box", &box), 0);
	assert_int_equal(watch(&watcher, NULL, LONG_MS), 0);
	assert_int_equal(watcher.peer.source->ops->rows(watcher.peer.session, 1, 2,
				 SOURCE_COLUMNS_UID, NULL, NULL, &skipped, &watcher.peer.error),
		-EIO);
	watcher_finish(&watcher);
	watcher_begin(&watcher, 1,
		SCRIPT(GREETING(" NOTIFY"), "<C1 EXAMINE \"box\"",
			">* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nC1 OK\r\n"));
	assert_int_equal(session_select(&watcher.peer, "box", &box), 0);
	assert_int_equal(watch(&watcher, NULL, LONG_MS), -EOPNOTSUPP);
	assert_int_equal(watcher.peer.source->ops->abilities(watcher.peer.session), 0);
	watcher_finish(&watcher);
}

/* It goes on where it ended, with what came in between; after another call it is asked for again. */
static void test_notify_continues(void **state)
{
	struct watcher watcher;
	struct source_state box;
	(void)state;
	watcher_begin(&watcher, 0,
		SCRIPT(NOTIFY, "<C2 NOOP", ">* STATUS a ()\r\nC2 OK\r\n* STATUS b ()\r\n",
			"<C3 NOOP", ">C3 OK\r\n", "<C4 STATUS \"x\" (MESSAGES UIDNEXT UIDVALIDITY)",
			">* STATUS c ()\r\n* STATUS x (UIDVALIDITY 7)\r\nC4 OK\r\n", SET("C5"),
			">C5 OK\r\n", "<C6 NOOP", ">C6 OK\r\n"));
	assert_int_equal(watch(&watcher, NULL, 0), 0);
	assert_int_equal(watch(&watcher, NULL, 100), 0);
	assert_int_equal(watcher.peer.source->ops->status(
				 watcher.peer.session, "x", &box, &watcher.peer.error),
		0);
	assert_int_equal(watch(&watcher, NULL, 0), 0);
	assert_string_equal(str_cstr(&watcher.told), "ready mailbox:a ready+ mailbox:b ready ");
	watcher_finish(&watcher);
}

static void test_notify_refused(void **state)
{
	(void)state;
	quirk_forget();
	expect_fail(0, NULL, SCRIPT(GREETING(" IDLE")), -EOPNOTSUPP, SOURCE_SCOPE_MAILBOX,
		SOURCE_CAN_IDLE);
	expect_fail(0, NULL,
		SCRIPT(GREETING(" NOTIFY IDLE"), SET("C1"),
			">C1 NO [NOTIFICATIONOVERFLOW] not for you\r\n"),
		-EOPNOTSUPP, SOURCE_SCOPE_MAILBOX, SOURCE_CAN_IDLE);
	expect_fail(0, NULL,
		SCRIPT(GREETING(" NOTIFY IDLE"), SET("C1"),
			">C1 NO [BADEVENT (MessageNew)] not all\r\n"),
		-EOPNOTSUPP, SOURCE_SCOPE_MAILBOX, SOURCE_CAN_IDLE);
	expect_fail(0, NULL, SCRIPT(GREETING(" NOTIFY IDLE"), SET("C1"), ">C1 BAD what?\r\n"),
		-EOPNOTSUPP, SOURCE_SCOPE_MAILBOX, SOURCE_CAN_IDLE);
	expect_fail(0, NULL,
		SCRIPT(GREETING(" NOTIFY IDLE"), SET("C1"),
			">* OK [NOTIFICATIONOVERFLOW] at once\r\nC1 OK\r\n"),
		-EOPNOTSUPP, SOURCE_SCOPE_MAILBOX, SOURCE_CAN_IDLE);
	/* gives up as soon as it has begun */
	expect_fail(0, NULL,
		SCRIPT(GREETING(" NOTIFY IDLE"), SET("C1"),
			">C1 OK\r\n* OK [NOTIFICATIONOVERFLOW] too much\r\n"),
		-EOPNOTSUPP, SOURCE_SCOPE_MAILBOX, SOURCE_CAN_IDLE);
	/* an answer that nobody asked for, the end, silence */
	expect_fail(0, NULL, SCRIPT(NOTIFY, ">C1 OK\r\n"), -EIO, SOURCE_SCOPE_ACCOUNT, 0);
	expect_fail(0, NULL, SCRIPT(NOTIFY, ">* BYE\r\n"), -EIO, SOURCE_SCOPE_ACCOUNT, 0);
	expect_fail(1, NULL, SCRIPT(NOTIFY, "<C2 NOOP"), -ETIMEDOUT, SOURCE_SCOPE_ACCOUNT, 0);
	assert_int_equal(quirk_count(QUIRK_NOTIFY_REFUSED), 5);
}

/* In the last answer: told, and the next watch asks again. */
static void test_notify_overflow_at_the_end(void **state)
{
	struct watcher watcher;
	(void)state;
	watcher_begin(&watcher, 0,
		SCRIPT(NOTIFY, "<C2 NOOP", ">* OK [NOTIFICATIONOVERFLOW] x\r\nC2 OK\r\n", SET("C3"),
			">C3 OK\r\n", "<C4 NOOP", ">C4 OK\r\n"));
	assert_int_equal(watch(&watcher, NULL, 0), 0);
	assert_int_equal(watch(&watcher, NULL, 0), 0);
	assert_string_equal(str_cstr(&watcher.told), "ready lost ready ");
	watcher_finish(&watcher);
}

/* Each once, however many there are in one read, and all of them. */
static void test_notify_many(void **state)
{
	struct watcher watcher;
	struct str burst = STR_INIT;
	(void)state;
	str_putc(&burst, '>');
	for (int i = 0; i < 1000; i++)
		str_printf(&burst, "* STATUS b%d ()\r\n", i % 100);
	watcher_begin(&watcher, 0, SCRIPT(NOTIFY, str_cstr(&burst), NOOP));
	assert_int_equal(watch(&watcher, NULL, 200), 0);
	assert_true(watcher.count > 100 && watcher.count <= 1001);
	for (int i = 0; i < 64; i++) {
		char name[30];
		snprintf(name, sizeof(name), "mailbox:b%d ", i);
		assert_non_null(strstr(str_cstr(&watcher.told), name));
	}
	str_finish(&burst);
	watcher_finish(&watcher);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_notify_news),
		cmocka_unit_test(test_notify_namespaces),
		cmocka_unit_test(test_notify_closes),
		cmocka_unit_test(test_notify_continues),
		cmocka_unit_test(test_notify_refused),
		cmocka_unit_test(test_notify_overflow_at_the_end),
		cmocka_unit_test(test_notify_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
