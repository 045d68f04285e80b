/* SPDX-License-Identifier: MIT */
/* UIDs by ESEARCH and SEARCH, changes by CHANGEDSINCE, STATUS; and what the server says of itself. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailfs/util/quirk.h"
#include "session.h"

static int note_range(void *arg, uint32_t first, uint32_t last)
{
	str_printf(arg, "%u:%u ", first, last);
	return 0;
}

static int note_row(void *arg, const struct source_row *row)
{
	str_printf(arg, "%u [%s] ", row->uid, row->flags);
	return 0;
}

static int uids(struct peer *peer, uint32_t first, uint32_t last, struct str *out)
{
	return peer->source->ops->uids(peer->session, first, last, note_range, out, &peer->error);
}

static void expect(const char *const *steps, uint32_t first, uint32_t last, const char *want)
{
	struct peer peer;
	struct str got = STR_INIT;
	session_open(&peer, steps);
	int r = uids(&peer, first, last, &got);
	if (r < 0) {
		assert_int_equal(r, -EIO);
		assert_int_equal(peer.error.scope, SOURCE_SCOPE_MAILBOX);
		str_reset(&got);
		str_append_cstr(&got, "error");
	}
	assert_string_equal(str_cstr(&got), want);
	str_finish(&got);
	peer_finish(&peer);
}

#define SEARCH(answer)                                                                             \
	SCRIPT(GREETING(""), OPEN, "<C2 UID SEARCH UID 5:*", ">" answer "C2 OK done\r\n")
#define ESEARCH(answer)                                                                            \
	SCRIPT(GREETING(" ESEARCH"), OPEN, "<C2 UID SEARCH RETURN (ALL) UID 5:*",                  \
		">" answer "C2 OK done\r\n")

static void test_search(void **state)
{
	(void)state;
	expect(SEARCH("* SEARCH 5 6 7 9\r\n"), 5, UINT32_MAX, "5:7 9:9 ");
	expect(SEARCH("* SEARCH\r\n"), 5, UINT32_MAX, "");
	/* the last message comes always; an order of its own; several lines; a modseq; news of other kinds */
	expect(SEARCH("* SEARCH 4\r\n"), 5, UINT32_MAX, "");
	expect(SEARCH("* search 9 8\r\n* 3 EXISTS\r\n* VANISHED 12\r\n* SEARCH 4294967295 (MODSEQ 7)\r\n"),
		5, UINT32_MAX, "9:9 8:8 4294967295:4294967295 ");
	expect(SCRIPT(GREETING(""), OPEN, "<C2 UID SEARCH UID 1:9",
		       ">* SEARCH 3 9 10\r\nC2 OK\r\n"),
		0, 9, "3:3 9:9 ");
}

static void test_esearch(void **state)
{
	(void)state;
	expect(ESEARCH("* ESEARCH (TAG \"C2\") UID ALL 5:7,9,4000000000:3999999999\r\n"), 5,
		UINT32_MAX, "5:7 9:9 3999999999:4000000000 ");
	expect(ESEARCH("* esearch (tag \"C2\") uid COUNT 7 all 3:7,8 MODSEQ 5\r\n"), 5, UINT32_MAX,
		"5:8 ");
	/* none */
	expect(ESEARCH("* ESEARCH (TAG \"C2\") UID\r\n"), 5, UINT32_MAX, "");
	expect(ESEARCH("* ESEARCH (TAG \"C2\") UID COUNT 0\r\n"), 5, UINT32_MAX, "");
	/* that of another command is not ours */
	expect(ESEARCH("* ESEARCH (TAG \"C1\") UID ALL 50\r\n* ESEARCH (TAG \"C2\") UID ALL 7\r\n* ESEARCH UID ALL 51\r\n"),
		5, UINT32_MAX, "7:7 ");
	/* one that answers as if RETURN had not been asked for */
	expect(ESEARCH("* SEARCH 7 8\r\n"), 5, UINT32_MAX, "7:8 ");
}

/* What is missing counts as deleted: a damaged answer must not look like a short one. */
static void test_malformed(void **state)
{
	(void)state;
	expect(SEARCH("* SEARCH 5 6:* 7\r\n"), 5, UINT32_MAX, "error");
	expect(SEARCH("* SEARCH 5 x\r\n"), 5, UINT32_MAX, "error");
	expect(SEARCH("* SEARCH 0\r\n"), 5, UINT32_MAX, "error");
	expect(SEARCH("* SEARCH 4294967296\r\n"), 5, UINT32_MAX, "error");
	expect(ESEARCH("* ESEARCH (TAG \"C2\") UID ALL 5:*\r\n"), 5, UINT32_MAX, "error");
	expect(ESEARCH("* ESEARCH (TAG \"C2\") UID ALL (5)\r\n"), 5, UINT32_MAX, "error");
	expect(ESEARCH("* ESEARCH (TAG \"C2\") UID ALL \"5\"\r\n"), 5, UINT32_MAX, "error");
	expect(ESEARCH("* ESEARCH (TAG \"C2\") UID ALL 5 (\r\n"), 5, UINT32_MAX, "error");
	expect(ESEARCH("* ESEARCH (TAG \"C2\") UID ALL 5 ALL 6\r\n"), 5, UINT32_MAX, "error");
	expect(ESEARCH("* ESEARCH (TAG \"C2\") UID ALL 5,7, 9,11\r\n"), 5, UINT32_MAX, "error");
	/* sequence numbers */
	expect(ESEARCH("* ESEARCH (TAG \"C2\") ALL 5\r\n"), 5, UINT32_MAX, "error");
}

/* OK and nothing else is no answer. */
static void test_no_answer(void **state)
{
	(void)state;
	expect(SCRIPT(GREETING(""), OPEN, "<C2 UID SEARCH UID 5:*", ">C2 OK\r\n",
		       "<C3 UID FETCH 5:* (UID)",
		       ">* 1 FETCH (UID 5)\r\n* 2 FETCH (UID 7)\r\nC3 OK\r\n"),
		5, UINT32_MAX, "5:5 7:7 ");
	expect(SCRIPT(GREETING(" ESEARCH"), OPEN, "<C2 UID SEARCH RETURN (ALL) UID 5:*",
		       ">* ESEARCH (TAG \"C9\") UID ALL 50\r\nC2 OK\r\n", "<C3 UID FETCH 5:* (UID)",
		       ">* 1 FETCH (UID 5\r\n* 2 FETCH (X \"\r\nC3 OK\r\n"),
		5, UINT32_MAX, "error");
}

static void test_refused_esearch(void **state)
{
	struct peer peer;
	struct str got = STR_INIT;
	(void)state;
	session_open(
		&peer, SCRIPT(GREETING(" ESEARCH"), OPEN, "<C2 UID SEARCH RETURN (ALL) UID 1:9",
			       ">C2 BAD RETURN?\r\n", "<C3 UID SEARCH UID 1:9",
			       ">* SEARCH 7\r\nC3 OK\r\n", "<C4 UID SEARCH UID 1:9",
			       ">C4 NO [SERVERBUG] oops\r\n", "<C5 UID SEARCH UID 1:9",
			       ">* 0 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\nC5 OK\r\n"));
	assert_int_equal(uids(&peer, 1, 9, &got), 0);
	assert_string_equal(str_cstr(&got), "7:7 ");
	assert_int_equal(uids(&peer, 1, 9, &got), -EIO);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_MAILBOX);
	assert_int_equal(uids(&peer, 1, 9, &got), -EIO);
	assert_non_null(strstr(peer.error.text, "identity"));
	/* and now none is open */
	assert_int_equal(uids(&peer, 1, 9, &got), -EIO);
	assert_non_null(strstr(peer.error.text, "no folder is open"));
	str_finish(&got);
	peer_finish(&peer);
}

static int count_range(void *arg, uint32_t first, uint32_t last)
{
	*(uint64_t *)arg += last - first + 1;
	return 0;
}

static int stop_at_once(void *arg, uint32_t first, uint32_t last)
{
	assert_int_equal(++*(unsigned *)arg, 1);
	assert_int_equal(first, last);
	return -ENOSPC;
}

static void expect_many(
	const char *caps, const char *command, const char *head, const char *flood, uint64_t want)
{
	struct peer peer;
	uint64_t count = 0;
	unsigned calls = 0;
	char again[100];
	snprintf(again, sizeof(again), "<C3%s", command + 3);
	session_open(&peer, SCRIPT(caps, OPEN, command, head, flood, ">\r\nC2 OK\r\n", again,
				    ">* SEARCH 1 3 5\r\nC3 OK\r\n"));
	if (peer.source->ops->uids(peer.session, 1, UINT32_MAX, count_range, &count, &peer.error) <
		0)
		fail_msg("%s", peer.error.text);
	assert_int_equal(count, want);
	assert_int_equal(peer.source->ops->uids(
				 peer.session, 1, UINT32_MAX, stop_at_once, &calls, &peer.error),
		-ENOSPC);
	peer_finish(&peer);
}

/* Millions of numbers in a line that is longer than any line may be that has to be held. */
static void test_millions(void **state)
{
	(void)state;
	expect_many(GREETING(""), "<C2 UID SEARCH UID 1:*", ">* SEARCH 1", "*2000000  4000000000",
		2000001);
	expect_many(GREETING(" ESEARCH"), "<C2 UID SEARCH RETURN (ALL) UID 1:*",
		">* ESEARCH (TAG \"C2\") UID ALL 1", "*1000000 ,4000000000:4000000001", 2000001);
}

static void test_changed(void **state)
{
	struct peer peer;
	struct str got = STR_INIT;
	unsigned skipped = 0;
	(void)state;
	session_begin(&peer,
		SCRIPT(GREETING(" CONDSTORE"), "<C1 EXAMINE \"box\" (CONDSTORE)",
			">* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nC1 OK\r\n",
			"<C2 UID FETCH 5:9 (UID FLAGS) (CHANGEDSINCE 9223372036854775807)",
			">* 1 FETCH (UID 5 FLAGS (a) MODSEQ (9))\r\n* VANISHED 6\r\n* 2 FETCH (UID 10 FLAGS ())\r\n* 3 FETCH (FLAGS (x) MODSEQ (8))\r\n"
			"* 4 FETCH (X \"\r\n* 2 EXPUNGE\r\nC2 OK\r\n",
			"<C3 UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 7)", ">C3 NO later\r\n",
			"<C4 UID FETCH 1:* (UID FLAGS) (CHANGEDSINCE 7)", ">C4 BAD what?\r\n"));
	const struct source_ops *ops = peer.source->ops;
	struct source_state box;
	assert_int_equal(session_select(&peer, "box", &box), 0);
	assert_int_equal(
		ops->changed(peer.session, 5, 9, INT64_MAX, note_row, &got, &skipped, &peer.error),
		0);
	assert_string_equal(str_cstr(&got), "5 [a] ");
	assert_int_equal(skipped, 1);
	assert_int_equal(
		ops->changed(peer.session, 1, UINT32_MAX, 7, note_row, &got, &skipped, &peer.error),
		-EIO);
	assert_int_equal(ops->abilities(peer.session), SOURCE_CAN_CONDSTORE);
	assert_int_equal(
		ops->changed(peer.session, 1, UINT32_MAX, 7, note_row, &got, &skipped, &peer.error),
		-EIO);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_MAILBOX);
	assert_int_equal(ops->abilities(peer.session), 0);
	assert_int_equal(
		ops->changed(peer.session, 1, UINT32_MAX, 7, note_row, &got, &skipped, &peer.error),
		-EOPNOTSUPP);
	str_finish(&got);
	peer_finish(&peer);
}

#define STATUS(items, answer)                                                                      \
	"<C1 STATUS \"a \\\"b\" (MESSAGES UIDNEXT UIDVALIDITY" items ")", ">" answer

static void expect_status(const char *const *steps, int result, const char *want)
{
	struct peer peer;
	struct source_state box = {0};
	char got[200];
	session_begin(&peer, steps);
	int r = peer.source->ops->status(peer.session, "a \"b", &box, &peer.error);
	if (r != result)
		fail_msg("%d: %s", r, peer.error.text);
	if (r < 0) {
		assert_int_equal(peer.error.err, r);
		assert_int_equal(peer.error.scope, SOURCE_SCOPE_MAILBOX);
		assert_non_null(strstr(peer.error.text, want));
	} else {
		snprintf(got, sizeof(got), "%u %u %u %llu %s", box.uidvalidity, box.uidnext,
			box.messages, (unsigned long long)box.modseq, box.mailbox_id ? "id" : "-");
		assert_string_equal(got, want);
	}
	peer_finish(&peer);
}

static void test_status(void **state)
{
	(void)state;
	quirk_forget();
	expect_status(
		SCRIPT(GREETING(""),
			STATUS("",
				"* STATUS \"a \\\"b\" (MESSAGES 3 UIDNEXT 9 UIDVALIDITY 7)\r\nC1 OK\r\n")),
		0, "7 9 3 0 -");
	expect_status(
		SCRIPT(GREETING(" CONDSTORE OBJECTID"),
			STATUS(" HIGHESTMODSEQ MAILBOXID",
				"* STATUS x (UIDVALIDITY 1)\r\n* status {4}\r\na \"b (x (1 2) uidvalidity 7 HIGHESTMODSEQ 9223372036854775807 "
				"MAILBOXID (q))\r\n* STATUS y (UIDVALIDITY 2)\r\nC1 OK\r\n")),
		0, "7 0 0 9223372036854775807 id");
	/* written in another way; in two parts */
	expect_status(SCRIPT(GREETING(""), STATUS("", "* STATUS ab (UIDVALIDITY 7)\r\nC1 OK\r\n")),
		0, "7 0 0 0 -");
	expect_status(
		SCRIPT(GREETING(""),
			STATUS("",
				"* STATUS {4}\r\na \"b (UIDVALIDITY 7)\r\n* STATUS {4}\r\na \"b (MESSAGES 2)\r\nC1 OK\r\n")),
		0, "7 0 2 0 -");
	assert_int_equal(quirk_count(QUIRK_STATUS_NAME), 1);
}

static void test_status_fails(void **state)
{
	(void)state;
	quirk_forget();
	static const char *const answers[] = {"C1 OK\r\n", "* STATUS\r\nC1 OK\r\n",
		"* STATUS (\r\nC1 OK\r\n", "* STATUS {4}\r\na \"b (UIDVALIDITY 0)\r\nC1 OK\r\n",
		"* STATUS {4}\r\na \"b (MESSAGES)\r\nC1 OK\r\n",
		"* STATUS {4}\r\na \"b\r\nC1 OK\r\n",
		"* STATUS x (UIDVALIDITY 7)\r\n* STATUS y (UIDVALIDITY 7)\r\nC1 OK\r\n"};
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct str line = STR_INIT;
		str_printf(&line, ">%s", answers[i]);
		expect_status(SCRIPT(GREETING(""),
				      "<C1 STATUS \"a \\\"b\" (MESSAGES UIDNEXT UIDVALIDITY)",
				      str_cstr(&line)),
			-EIO, "nothing");
		str_finish(&line);
	}
	expect_status(SCRIPT(GREETING(""), STATUS("", "C1 NO [NONEXISTENT] x\r\n")), -ENOENT, "x");
	expect_status(SCRIPT(GREETING(""), STATUS("", "C1 NO Mailbox doesn't exist: a\r\n")),
		-ENOENT, "exist");
	expect_status(SCRIPT(GREETING(""), STATUS("", "C1 NO [SERVERBUG] doesn't exist\r\n")), -EIO,
		"exist");
	expect_status(SCRIPT(GREETING(""), STATUS("", "C1 NO [NOPERM] x\r\n")), -EACCES, "x");
	expect_status(SCRIPT(GREETING(""), STATUS("", "C1 NO no idea\r\n")), -EIO, "idea");
	assert_int_equal(quirk_count(QUIRK_MISSING_WITHOUT_CODE), 1);
}

static void test_status_refused(void **state)
{
	struct peer peer;
	struct source_state box;
	(void)state;
	quirk_forget();
	session_begin(&peer,
		SCRIPT(GREETING(" CONDSTORE OBJECTID"),
			"<C1 STATUS \"x\" (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ MAILBOXID)",
			">C1 BAD MAILBOXID?\r\n",
			"<C2 STATUS \"x\" (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)",
			">* STATUS x (UIDVALIDITY 7 HIGHESTMODSEQ 5)\r\nC2 OK\r\n",
			"<C3 STATUS \"x\" (MESSAGES UIDNEXT UIDVALIDITY HIGHESTMODSEQ)",
			">* STATUS x (UIDVALIDITY 7 HIGHESTMODSEQ 5)\r\nC3 OK\r\n"));
	for (int i = 0; i < 2; i++) {
		assert_int_equal(peer.source->ops->status(peer.session, "x", &box, &peer.error), 0);
		assert_int_equal(box.modseq, 5);
	}
	assert_int_equal(peer.source->ops->abilities(peer.session), SOURCE_CAN_CONDSTORE);
	peer_finish(&peer);
	assert_int_equal(quirk_count(QUIRK_ABILITY_REFUSED), 1);
}

static void test_describe(void **state)
{
	struct peer peer;
	struct str got = STR_INIT;
	uint64_t in, out;
	(void)state;
	session_begin(&peer,
		SCRIPT(GREETING("  X\033[31m \tID"),
			"<C1 ID (\"name\" \"mailfs\" \"version\" \"" MAILFS_VERSION "\")",
			">* ID (\"vendor\" \"v\" \"version\" \"2 \\\"3\" \"support-url\" NIL \"Name\" {4}\r\nDo\001t)\r\nC1 OK\r\n"));
	peer.source->ops->describe(peer.session, &got);
	assert_string_equal(str_cstr(&got), "Do?t 2 \\\"3\nIMAP4rev1 X?[31m ID\n");
	peer.source->ops->traffic(peer.session, &in, &out);
	assert_true(in > 100 && out > 40 && out < 100);
	str_reset(&got);
	peer_finish(&peer);
	/* none, and a server that talks too much */
	session_begin(&peer,
		SCRIPT(">* PREAUTH [CAPABILITY IMAP4rev1", "*9000  capability", ">] hi\r\n"));
	peer.source->ops->describe(peer.session, &got);
	assert_memory_equal(got.data, "IMAP4rev1 capability", 20);
	assert_true(got.len < 9000);
	str_finish(&got);
	peer_finish(&peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_search),
		cmocka_unit_test(test_esearch),
		cmocka_unit_test(test_malformed),
		cmocka_unit_test(test_no_answer),
		cmocka_unit_test(test_refused_esearch),
		cmocka_unit_test(test_millions),
		cmocka_unit_test(test_changed),
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_status_fails),
		cmocka_unit_test(test_status_refused),
		cmocka_unit_test(test_describe),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
