/* SPDX-License-Identifier: MIT */
/* ENABLE, and SELECT with what CONDSTORE and QRESYNC add to it: good, odd and hostile answers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailfs/util/hash.h"
#include "session.h"

#define ENABLED                                                                                    \
	GREETING(" ENABLE QRESYNC"), "<C1 ENABLE QRESYNC", ">* ENABLED X QRESYNC\r\nC1 OK\r\n"
#define RESYNC2 "<C2 EXAMINE \"box\" (QRESYNC (7 100))"
#define HEAD    "* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [HIGHESTMODSEQ 200] x\r\n"

static int note_row(void *arg, const struct source_row *row)
{
	assert_int_equal(row->have, SOURCE_ROW_FLAGS);
	str_printf(arg, "%u [%s]\n", row->uid, row->flags);
	return 0;
}

static int note_range(void *arg, uint32_t first, uint32_t last)
{
	assert_true(first > 0 && first <= last);
	str_printf(arg, "-%u:%u\n", first, last);
	return 0;
}

/* Selects "box" knowing UIDVALIDITY 7, modseq 100, and appends to out what was told and what came of it. */
static void resync(struct peer *peer, struct str *out)
{
	const struct source_resync known = {7, 100, note_row, note_range, out};
	struct source_state state;
	if (peer->source->ops->select(peer->session, "box", true, &known, &state, &peer->error) < 0)
		fail_msg("select: %s", peer->error.text);
	str_printf(out, "%u messages, modseq %llu, %s\n", state.messages,
		(unsigned long long)state.modseq, state.resynced ? "resynced" : "not resynced");
	assert_true(state.mailbox_id == 0);
}

static void expect(const char *const *steps, const char *want)
{
	struct peer peer;
	struct str got = STR_INIT;
	session_begin(&peer, steps);
	resync(&peer, &got);
	assert_string_equal(str_cstr(&got), want);
	str_finish(&got);
	peer_finish(&peer);
}

static void expect_answer(const char *answer, const char *want)
{
	expect(SCRIPT(ENABLED, RESYNC2, answer, ">C2 OK done\r\n"), want);
}

static unsigned abilities(const struct peer *peer)
{
	return peer->source->ops->abilities(peer->session);
}

static void test_enable(void **state)
{
	static const struct {
		const char *caps, *command, *answer;
		unsigned abilities;
	} cases[] = {
		{" ENABLE QRESYNC", "<C1 ENABLE QRESYNC", ">* ENABLED QRESYNC\r\nC1 OK\r\n",
			SOURCE_CAN_CONDSTORE | SOURCE_CAN_QRESYNC},
		{" ENABLE QRESYNC CONDSTORE", "<C1 ENABLE QRESYNC",
			">* enabled condstore qresync\r\nC1 OK\r\n",
			SOURCE_CAN_CONDSTORE | SOURCE_CAN_QRESYNC},
		{" ENABLE QRESYNC", "<C1 ENABLE QRESYNC", ">* ENABLED\r\nC1 OK\r\n",
			SOURCE_CAN_CONDSTORE},
		{" ENABLE QRESYNC", "<C1 ENABLE QRESYNC", ">C1 OK\r\n", SOURCE_CAN_CONDSTORE},
		{" ENABLE QRESYNC", "<C1 ENABLE QRESYNC", ">C1 BAD what?\r\n",
			SOURCE_CAN_CONDSTORE},
		{" ENABLE QRESYNC", "<C1 ENABLE QRESYNC", ">C1 NO never\r\n", SOURCE_CAN_CONDSTORE},
		{" ENABLE CONDSTORE IDLE NOTIFY", "<C1 ENABLE CONDSTORE", ">C1 BAD\r\n",
			SOURCE_CAN_CONDSTORE | SOURCE_CAN_IDLE | SOURCE_CAN_NOTIFY},
		/* QRESYNC can not be used without it */
		{" QRESYNC", ">", ">", SOURCE_CAN_CONDSTORE},
		{" ENABLE", ">", ">", 0},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct peer peer;
		struct str greeting = STR_INIT;
		str_printf(&greeting, ">* PREAUTH [CAPABILITY IMAP4rev1%s] hi\r\n", cases[i].caps);
		session_begin(
			&peer, SCRIPT(str_cstr(&greeting), cases[i].command, cases[i].answer));
		assert_int_equal(abilities(&peer), cases[i].abilities);
		peer_finish(&peer);
		str_finish(&greeting);
	}
}

static void test_resynced(void **state)
{
	(void)state;
	expect_answer(">" HEAD, "3 messages, modseq 200, resynced\n");
	expect_answer(
		">" HEAD
		"* VANISHED (EARLIER) 3:5,9,10\r\n* 1 FETCH (UID 2 FLAGS (\\Seen) MODSEQ (120))\r\n"
		"* 2 FETCH (MODSEQ (200) UID 4294967295 FLAGS (\\Recent))\r\n",
		"-3:5\n-9:10\n2 [\\Seen]\n4294967295 []\n3 messages, modseq 200, resynced\n");
	/* in an order of its own; without EARLIER; in several lines */
	expect_answer(
		">* vanished (earlier) 3\r\n* 1 FETCH (UID 2 FLAGS ())\r\n* VANISHED 4\r\n" HEAD,
		"-3:3\n2 []\n-4:4\n3 messages, modseq 200, resynced\n");
	/* nothing changed at all */
	expect_answer(
		">* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [HIGHESTMODSEQ 100] x\r\n* VANISHED (EARLIER)\r\n",
		"3 messages, modseq 100, resynced\n");
}

/* A list may be strange and still mean something. */
static void test_odd_sets(void **state)
{
	(void)state;
	expect_answer(">" HEAD "* VANISHED (EARLIER) 9:7,8:8,1:4294967295,,5, 6\r\n",
		"-7:9\n-8:8\n-1:4294967295\n-5:6\n3 messages, modseq 200, resynced\n");
}

/* What can not be understood makes the whole of it worth nothing, and the session uses it no more. */
static void test_malformed(void **state)
{
	static const char *const answers[] = {
		"* VANISHED (EARLIER) *\r\n",
		"* VANISHED (EARLIER) 1:*\r\n",
		"* VANISHED (EARLIER) 0\r\n",
		"* VANISHED (EARLIER) 0:4\r\n",
		"* VANISHED (EARLIER) 4294967296\r\n",
		"* VANISHED (EARLIER) 99999999999999999999999999\r\n",
		"* VANISHED (EARLIER) 5:\r\n",
		"* VANISHED (EARLIER) :5\r\n",
		"* VANISHED (EARLIER) -5\r\n",
		"* VANISHED (EARLIER) 1:2:3\r\n",
		"* VANISHED (EARLIER) (5)\r\n",
		"* VANISHED EARLIER 5\r\n",
		"* VANISHED (EARLIER) \"5\"\r\n",
		"* 1 FETCH (FLAGS (\\Seen))\r\n",
		"* 1 FETCH (UID 0 FLAGS (\\Seen))\r\n",
		"* 1 FETCH (UID 5 MODSEQ (120))\r\n",
		"* 1 FETCH (UID 5 FLAGS (\\Seen\r\n",
		"* 1 FETCH (UID 5 FLAGS NIL)\r\n",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct peer peer;
		struct str got = STR_INIT;
		struct str line = STR_INIT;
		str_printf(&line, ">%s", answers[i]);
		session_begin(
			&peer, SCRIPT(ENABLED, RESYNC2, ">" HEAD, str_cstr(&line),
				       ">* 1 FETCH (UID 1 FLAGS (a))\r\nC2 OK done\r\n",
				       "<C3 EXAMINE \"box\" (CONDSTORE)", ">" HEAD "C3 OK\r\n"));
		assert_int_equal(abilities(&peer), SOURCE_CAN_CONDSTORE | SOURCE_CAN_QRESYNC);
		resync(&peer, &got);
		if (!strstr(str_cstr(&got), "1 [a]\n3 messages, modseq 200, not resynced\n"))
			fail_msg("%s: %s", answers[i], str_cstr(&got));
		assert_int_equal(abilities(&peer), SOURCE_CAN_CONDSTORE);
		resync(&peer, &got);
		str_finish(&got);
		str_finish(&line);
		peer_finish(&peer);
	}
}

/* The server has another history than ours: it has nothing to add to it. */
static void test_another_history(void **state)
{
	struct peer peer;
	(void)state;
	expect_answer(">* 3 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\n* OK [HIGHESTMODSEQ 200] x\r\n",
		"3 messages, modseq 200, not resynced\n");
	expect_answer(">* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [HIGHESTMODSEQ 99] x\r\n",
		"3 messages, modseq 99, not resynced\n");
	expect_answer(">" HEAD "* OK [NOMODSEQ] x\r\n", "3 messages, modseq 0, not resynced\n");
	expect_answer(">* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n",
		"3 messages, modseq 0, not resynced\n");
	/* no history of ours is that long (RFC 7162 §7: 63 bits) */
	const struct source_resync known = {7, UINT64_C(1) << 63, note_row, note_range, NULL};
	struct source_state box;
	session_begin(
		&peer, SCRIPT(ENABLED, "<C2 SELECT \"box\" (CONDSTORE)", ">" HEAD "C2 OK\r\n"));
	assert_int_equal(
		peer.source->ops->select(peer.session, "box", false, &known, &box, &peer.error), 0);
	assert_false(box.resynced);
	peer_finish(&peer);
}

/* What is said before [CLOSED] is about the mailbox before. */
static void test_closed(void **state)
{
	struct peer peer;
	struct str got = STR_INIT;
	struct source_state first;
	(void)state;
	session_begin(&peer,
		SCRIPT(ENABLED, "<C2 EXAMINE \"old\" (CONDSTORE)", ">" HEAD "C2 OK\r\n",
			"<C3 EXAMINE \"box\" (QRESYNC (7 100))",
			">* 99 EXISTS\r\n* VANISHED 1:9\r\n* VANISHED (EARLIER) 1:9,*\r\n* 1 FETCH (UID 5 FLAGS (old))\r\n* 1 FETCH (FLAGS (old))\r\n"
			"* OK [MAILBOXID (x)] x\r\n* OK [CLOSED] x\r\n" HEAD
			"* VANISHED (EARLIER) 12\r\n* 1 FETCH (UID 2 FLAGS (new))\r\nC3 OK\r\n"));
	assert_int_equal(session_select(&peer, "old", &first), 0);
	resync(&peer, &got);
	assert_string_equal(str_cstr(&got), "-12:12\n2 [new]\n3 messages, modseq 200, resynced\n");
	str_finish(&got);
	peer_finish(&peer);
}

/* A server that does not say where the mailbox before ends: nothing is told that might be about that one. */
static void test_never_closed(void **state)
{
	struct peer peer;
	struct str got = STR_INIT;
	struct source_state first;
	(void)state;
	session_begin(&peer,
		SCRIPT(ENABLED, "<C2 EXAMINE \"old\" (CONDSTORE)", ">" HEAD "C2 OK\r\n",
			"<C3 EXAMINE \"box\" (QRESYNC (7 100))",
			">" HEAD
			"* VANISHED (EARLIER) 12\r\n* 1 FETCH (UID 2 FLAGS (new))\r\nC3 OK\r\n",
			"<C4 EXAMINE \"no\" (CONDSTORE)",
			">* OK [CLOSED] x\r\nC4 NO [NONEXISTENT] x\r\n",
			"<C5 EXAMINE \"box\" (QRESYNC (7 100))",
			">" HEAD "* VANISHED (EARLIER) 12\r\nC5 OK\r\n"));
	assert_int_equal(session_select(&peer, "old", &first), 0);
	resync(&peer, &got);
	assert_string_equal(str_cstr(&got), "3 messages, modseq 200, not resynced\n");
	/* a SELECT that fails leaves none open */
	assert_int_equal(session_select(&peer, "no", &first), -EIO);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_MAILBOX);
	str_reset(&got);
	resync(&peer, &got);
	assert_string_equal(str_cstr(&got), "-12:12\n3 messages, modseq 200, resynced\n");
	str_finish(&got);
	peer_finish(&peer);
}

/* What is announced and not understood is left out, in this session for good, also when it is announced again. */
static void test_refused_parameters(void **state)
{
	struct peer peer;
	struct str got = STR_INIT;
	(void)state;
	session_begin(&peer,
		SCRIPT(ENABLED, RESYNC2, ">* 3 EXISTS\r\nC2 BAD what is QRESYNC?\r\n",
			"<C3 EXAMINE \"box\" (CONDSTORE)", ">" HEAD "C3 OK\r\n",
			"<C4 EXAMINE \"box\" (CONDSTORE)",
			">* CAPABILITY IMAP4rev1 QRESYNC CONDSTORE\r\nC4 BAD what is CONDSTORE?\r\n",
			"<C5 EXAMINE \"box\"",
			">* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nC5 OK [CAPABILITY IMAP4rev1 QRESYNC IDLE] x\r\n",
			"<C6 EXAMINE \"box\"",
			">* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nC6 OK\r\n"));
	resync(&peer, &got);
	assert_int_equal(abilities(&peer), SOURCE_CAN_CONDSTORE);
	resync(&peer, &got);
	assert_int_equal(abilities(&peer), SOURCE_CAN_IDLE);
	resync(&peer, &got);
	str_finish(&got);
	peer_finish(&peer);
}

/* The fault was not the parameter's: nothing is concluded from it. Nor from other refusals. */
static void test_refused_mailbox(void **state)
{
	struct peer peer;
	struct source_state box;
	struct str told = STR_INIT;
	const struct source_resync known = {7, 100, note_row, note_range, &told};
	(void)state;
	session_begin(
		&peer, SCRIPT(ENABLED, RESYNC2, ">C2 BAD such a name\r\n",
			       "<C3 EXAMINE \"box\" (CONDSTORE)", ">C3 BAD such a name\r\n",
			       "<C4 EXAMINE \"box\"", ">C4 BAD such a name\r\n",
			       "<C5 EXAMINE \"box\" (QRESYNC (7 100))",
			       ">C5 BAD Request is throttled. Suggested Backoff Time: 9 ms\r\n",
			       "<C6 EXAMINE \"box\" (QRESYNC (7 100))", ">C6 NO [NOPERM] no\r\n",
			       "<C7 EXAMINE \"box\" (QRESYNC (7 100))", ">* BYE\r\n"));
	static const int results[] = {-EIO, -EIO, -EACCES, -EIO};
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(peer.source->ops->select(
					 peer.session, "box", true, &known, &box, &peer.error),
			results[i]);
		assert_int_equal(
			peer.error.scope, i < 3 ? SOURCE_SCOPE_MAILBOX : SOURCE_SCOPE_ACCOUNT);
		assert_int_equal(abilities(&peer), SOURCE_CAN_CONDSTORE | SOURCE_CAN_QRESYNC);
	}
	assert_int_equal(told.len, 0);
	str_finish(&told);
	peer_finish(&peer);
}

struct counts {
	uint64_t ranges, rows;
	int stop_at; /* range; 0: never */
};

static int count_range(void *arg, uint32_t first, uint32_t last)
{
	struct counts *counts = arg;
	assert_int_equal(last - first, 1);
	return ++counts->ranges == (uint64_t)counts->stop_at ? -ENOSPC : 0;
}

static int count_row(void *arg, const struct source_row *row)
{
	(void)row;
	((struct counts *)arg)->rows++;
	return 0;
}

/* A million holes in one line, which is longer than any line may be that has to be held. */
static void test_long_vanished(void **state)
{
	struct peer peer;
	struct source_state box;
	struct counts counts = {0};
	const struct source_resync known = {7, 100, count_row, count_range, &counts};
	(void)state;
	session_begin(&peer, SCRIPT(ENABLED, RESYNC2, ">" HEAD "* VANISHED (EARLIER) 1:2",
				     "*900000 ,4000000000:4000000001",
				     ">,7:8\r\n* 1 FETCH (UID 2 FLAGS ())\r\nC2 OK\r\n"));
	assert_int_equal(
		peer.source->ops->select(peer.session, "box", true, &known, &box, &peer.error), 0);
	assert_true(box.resynced);
	assert_int_equal(counts.ranges, 900002);
	assert_int_equal(counts.rows, 1);
	peer_finish(&peer);
}

/* Longer than any server's can be, or made of no elements. */
static void test_endless_vanished(void **state)
{
	static const char *const floods[] = {"*9000000 ,4000000000", "*9000000 99999999"};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct peer peer;
		struct source_state box;
		struct counts counts = {0};
		const struct source_resync known = {7, 100, count_row, count_range, &counts};
		session_begin(&peer,
			SCRIPT(ENABLED, RESYNC2, ">" HEAD "* VANISHED (EARLIER) 1:2", floods[i]));
		/* the ranges here are single numbers, which count_range() does not expect: they are not told */
		struct source_resync silent = known;
		silent.vanished = NULL;
		assert_int_equal(peer.source->ops->select(
					 peer.session, "box", true, &silent, &box, &peer.error),
			-EIO);
		assert_int_equal(peer.error.scope, SOURCE_SCOPE_ACCOUNT);
		assert_non_null(strstr(peer.error.text, "limit"));
		peer_finish(&peer);
	}
}

/* The callback's error ends the call, the rest is drained, and the session goes on. */
static void test_stopped(void **state)
{
	struct peer peer;
	struct source_state box;
	struct str got = STR_INIT;
	struct counts counts = {.stop_at = 2};
	const struct source_resync known = {7, 100, count_row, count_range, &counts};
	(void)state;
	session_begin(&peer,
		SCRIPT(ENABLED, RESYNC2,
			">" HEAD
			"* VANISHED (EARLIER) 1:2,4:5,7:8,10:11\r\n* 1 FETCH (UID 2 FLAGS ())\r\nC2 OK\r\n",
			"<C3 EXAMINE \"box\" (QRESYNC (7 100))",
			">* VANISHED 1\r\n* OK [CLOSED] x\r\n" HEAD "C3 OK\r\n"));
	assert_int_equal(
		peer.source->ops->select(peer.session, "box", true, &known, &box, &peer.error),
		-ENOSPC);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_MAILBOX);
	assert_int_equal(counts.ranges, 2);
	assert_int_equal(counts.rows, 0);
	resync(&peer, &got);
	assert_string_equal(str_cstr(&got), "3 messages, modseq 200, resynced\n");
	str_finish(&got);
	peer_finish(&peer);
}

/* More flags than a folder has messages, for ever. */
static void test_flood(void **state)
{
	struct peer peer;
	struct source_state box;
	struct counts counts = {0};
	const struct source_resync known = {7, 100, count_row, count_range, &counts};
	(void)state;
	session_begin(&peer,
		SCRIPT(ENABLED, RESYNC2, ">" HEAD, "*300000 * 1 FETCH (UID 2 FLAGS ())\r\n"));
	assert_int_equal(
		peer.source->ops->select(peer.session, "box", true, &known, &box, &peer.error),
		-EIO);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_ACCOUNT);
	assert_true(counts.rows <= 100012);
	peer_finish(&peer);
}

static void test_mailbox_id(void **state)
{
	struct peer peer;
	struct source_state box;
	static const char id[] = "F2212ea87-6097-4256-9d51-71338625";
	(void)state;
	session_begin(&peer,
		SCRIPT(GREETING(" OBJECTID"), "<C1 EXAMINE \"box\"",
			">* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [MAILBOXID (F2212ea87-6097-4256-9d51-71338625)] x\r\nC1 OK\r\n",
			"<C2 STATUS \"box\" (MESSAGES UIDNEXT UIDVALIDITY MAILBOXID)",
			">* STATUS box (UIDVALIDITY 7 MAILBOXID (F2212ea87-6097-4256-9d51-71338625))\r\nC2 OK\r\n",
			"<C3 EXAMINE \"y\"",
			">* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [MAILBOXID ()] x\r\nC3 OK\r\n"));
	assert_int_equal(session_select(&peer, "box", &box), 0);
	assert_true(box.mailbox_id == hash64(HASH64_INIT, id, strlen(id)));
	uint64_t selected = box.mailbox_id;
	assert_int_equal(peer.source->ops->status(peer.session, "box", &box, &peer.error), 0);
	assert_true(box.mailbox_id == selected);
	assert_int_equal(session_select(&peer, "y", &box), 0);
	assert_true(box.mailbox_id == 0);
	peer_finish(&peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_enable),
		cmocka_unit_test(test_resynced),
		cmocka_unit_test(test_odd_sets),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_another_history),
		cmocka_unit_test(test_closed),
		cmocka_unit_test(test_never_closed),
		cmocka_unit_test(test_refused_parameters),
		cmocka_unit_test(test_refused_mailbox),
		cmocka_unit_test(test_long_vanished),
		cmocka_unit_test(test_endless_vanished),
		cmocka_unit_test(test_stopped),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_mailbox_id),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
