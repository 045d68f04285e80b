/* SPDX-License-Identifier: MIT */
/* LIST, NAMESPACE, SELECT, quota, and what holds for every command: refusals, BYE, time-outs, cancel. */
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

#include "mailfs/util/clock.h"
#include "mailfs/util/quirk.h"
#include "session.h"

/* --- LIST --- */

static int note_mailbox(void *arg, const struct source_mailbox *mailbox)
{
	str_printf(arg, "%s|%c|%x|%s\n", mailbox->name,
		mailbox->delimiter ? mailbox->delimiter : '-', mailbox->flags,
		mailbox->special_use ? mailbox->special_use : "");
	return 0;
}

static void expect_list(const char *const *steps, const char *want)
{
	struct peer peer;
	struct str got = STR_INIT;
	session_begin(&peer, steps);
	if (peer.source->ops->list(peer.session, note_mailbox, &got, &peer.error) < 0)
		fail_msg("list: %s", peer.error.text);
	assert_string_equal(str_cstr(&got), want);
	str_finish(&got);
	peer_finish(&peer);
}

static void test_list_plain(void **state)
{
	(void)state;
	expect_list(SCRIPT(GREETING(""), "<C1 LIST \"\" \"*\"",
			    ">* LIST (\\HasNoChildren) \"/\" INBOX\r\n"
			    "* LIST (\\Noselect \\HasChildren) \"/\" \"[Gmail]\"\r\n"
			    "* LIST (\\All) \"/\" [Gmail]/All\r\n"
			    "* list (\\noinferiors) NIL {6}\r\nfl\"at)\r\n"
			    "* LIST () \"\\\\\" \"a \\\"b\\\" c\"\r\n"
			    "* LIST (\\NonExistent) \".\" Entw&APw-rfe\r\n"
			    "* LIST () \"/\" \"\"\r\nC1 OK\r\n"),
		"INBOX|/|8|\n[Gmail]|/|9|\n[Gmail]/All|/|8|\\All\nfl\"at)|-|a|\na \"b\" c|\\|8|\nEntw&APw-rfe|.|9|\n");
}

static void test_list_extended(void **state)
{
	(void)state;
	quirk_forget();
	expect_list(
		SCRIPT(GREETING(" LIST-EXTENDED SPECIAL-USE"),
			"<C1 LIST \"\" \"*\" RETURN (SUBSCRIBED SPECIAL-USE)",
			">* LIST (\\Subscribed \\Sent) \"/\" Sent (\"CHILDINFO\" (\"SUBSCRIBED\"))\r\n"
			"* LIST (\\Subscribed) \"/\" inbox (\"OLDNAME\" (\"x\"))\r\nC1 OK\r\n"),
		"Sent|/|c|\\Sent\ninbox|/|c|\n");
	/* announced, but not known */
	expect_list(SCRIPT(GREETING(" LIST-EXTENDED"), "<C1 LIST \"\" \"*\" RETURN (SUBSCRIBED)",
			    ">C1 BAD what?\r\n", "<C2 LIST \"\" \"*\"",
			    ">* LIST () \"/\" INBOX\r\nC2 OK\r\n"),
		"INBOX|/|8|\n");
	assert_int_equal(quirk_count(QUIRK_LIST_PARAMETERS), 1);
}

static void test_list_namespaces(void **state)
{
	(void)state;
	expect_list(
		SCRIPT(GREETING(" NAMESPACE"), "<C1 NAMESPACE",
			">* NAMESPACE ((\"\" \"/\")(\"#mh\" NIL \"X-PARAM\" (\"F1\" \"F2\"))) ((\"~\" \"/\")) "
			"((\"Shared/\" \"/\")(\"Sha\\\"red\" \"\"))\r\nC1 OK\r\n",
			"<C2 LIST \"\" \"*\"",
			">* LIST () \"/\" INBOX\r\n* LIST () \"/\" Shared/x\r\nC2 OK\r\n",
			"<C3 LIST \"\" \"#mh*\"", ">* LIST () NIL #mhinbox\r\nC3 OK\r\n",
			"<C4 LIST \"\" \"~*\"", ">* LIST (\\Trash) \"/\" ~bob/t\r\nC4 OK\r\n",
			"<C5 LIST \"\" \"Shared/*\"",
			">* LIST (\\Archive) \"/\" Shared/x\r\n* LIST () \"/\" Shared/y\r\nC5 OK\r\n",
			"<C6 LIST \"\" \"Sha\\\"red*\"", ">C6 NO [NOPERM] no\r\n"),
		"INBOX|/|8|\nShared/x|/|20|\\Archive\n#mhinbox|-|8|\n~bob/t|/|10|\\Trash\nShared/y|/|20|\n");
}

#define HELLO                                                                                      \
	"<C1 ID (\"name\" \"mailfs\" \"version\" \"" MAILFS_VERSION "\")", "<C2 ENABLE QRESYNC",   \
		"<C3 NAMESPACE"

/* What needs no answer of another goes together, and the answers may come in any order; the quota was asked for by then. */
static void test_flights(void **state)
{
	struct peer peer;
	struct str got = STR_INIT;
	struct source_quota quota;
	(void)state;
	session_begin(&peer,
		SCRIPT(GREETING(" ID ENABLE QRESYNC NAMESPACE QUOTA"), HELLO,
			">* NAMESPACE ((\"\" \"/\")) NIL ((\"S/\" \"/\"))\r\nC3 OK\r\nC1 NO no\r\n* ENABLED QRESYNC\r\nC2 OK\r\n",
			"<C4 LIST \"\" \"*\"", "<C5 LIST \"\" \"S/*\"",
			"<C6 GETQUOTAROOT \"INBOX\"",
			">C5 NO [NOPERM] no\r\n* QUOTA \"\" (STORAGE 1 2)\r\n* LIST () \"/\" INBOX\r\nC6 OK\r\n* LIST () \"/\" S/x\r\nC4 OK\r\n",
			"<C7 NAMESPACE", "<C8 LIST \"\" \"*\"",
			">* NAMESPACE ((\"\" \"/\")) NIL NIL\r\nC7 OK\r\n* LIST () \"/\" INBOX\r\nC8 OK\r\n",
			"<C9 GETQUOTAROOT \"INBOX\"", ">* QUOTA \"\" (STORAGE 2 3)\r\nC9 OK\r\n"));
	const struct source_ops *ops = peer.source->ops;
	assert_true(ops->abilities(peer.session) & SOURCE_CAN_QRESYNC);
	assert_int_equal(ops->list(peer.session, note_mailbox, &got, &peer.error), 0);
	assert_string_equal(str_cstr(&got), "INBOX|/|8|\nS/x|/|20|\n");
	assert_int_equal(ops->quota(peer.session, &quota, &peer.error), 0);
	assert_int_equal(quota.limit_bytes, 2048);
	/* Later all of it is asked for again. */
	str_reset(&got);
	assert_int_equal(ops->list(peer.session, note_mailbox, &got, &peer.error), 0);
	assert_string_equal(str_cstr(&got), "INBOX|/|8|\n");
	assert_int_equal(ops->quota(peer.session, &quota, &peer.error), 0);
	assert_int_equal(quota.limit_bytes, 3072);
	str_finish(&got);
	peer_finish(&peer);
}

/* An answer to what was not asked, or twice to the same, ends the connection; so does its loss in the middle. */
static void test_flights_out_of_step(void **state)
{
	static const char *const answers[] = {">C1 OK\r\nC4 OK\r\n", ">C1 OK\r\nC1 OK\r\n",
		">C1 OK\r\nC0 OK\r\n", ">C2 OK\r\n+ go on\r\n", ">C3 OK\r\n* BYE bye\r\n", "!"};
	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct peer peer;
		peer_connect(&peer, NET_TLS_NONE,
			SCRIPT(GREETING(" ID ENABLE QRESYNC NAMESPACE"), HELLO, answers[i]));
		assert_true(peer.result < 0);
		assert_null(peer.session);
		assert_int_equal(peer.error.scope, SOURCE_SCOPE_ACCOUNT);
		peer_finish(&peer);
	}
}

/* Refused, or not to be understood: the folders are listed all the same. */
static void test_list_without_namespaces(void **state)
{
	static const char *const answers[] = {">C1 NO no\r\n", ">C1 BAD no\r\n", ">C1 OK\r\n",
		">* NAMESPACE ((\r\nC1 OK\r\n", ">* NAMESPACE x y z\r\nC1 OK\r\n",
		">* NAMESPACE ((\"\" \"\")) NIL NIL\r\nC1 OK\r\n",
		">* NAMESPACE NIL NIL NIL\r\nC1 OK\r\n",
		">* NAMESPACE (()((())(NIL)(5 6))) NIL\r\nC1 OK\r\n"};
	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		expect_list(SCRIPT(GREETING(" NAMESPACE"), "<C1 NAMESPACE", answers[i],
				    "<C2 LIST \"\" \"*\"", ">* LIST () \"/\" INBOX\r\nC2 OK\r\n"),
			"INBOX|/|8|\n");
}

/* INBOX is asked for where the server does not list it, and comes once, whatever its case. */
static void test_list_inbox(void **state)
{
	(void)state;
	expect_list(
		SCRIPT(GREETING(""), "<C1 LIST \"\" \"*\"",
			">* LIST () \"/\" b\r\n* LIST () \"/\" B\r\n* LIST () \"/\" b\r\nC1 OK\r\n",
			"<C2 LIST \"\" \"INBOX\"", ">* LIST () \"/\" INBOX\r\nC2 OK\r\n"),
		"b|/|8|\nB|/|8|\nINBOX|/|8|\n");
	expect_list(
		SCRIPT(GREETING(""), "<C1 LIST \"\" \"*\"",
			">* LIST () \"/\" Inbox\r\n* LIST () \"/\" INBOX\r\n* LIST (\\Noinferiors) \"/\" iNBOX\r\nC1 OK\r\n"),
		"Inbox|/|a|\n");
	/* Which of the two is true SELECT tells. */
	expect_list(
		SCRIPT(GREETING(""), "<C1 LIST \"\" \"*\"",
			">* LIST (\\Noselect \\Noinferiors) \"/\" INBOX\r\n* LIST (\\NonExistent) \"/\" a\r\n* LIST () \"/\" INBOX\r\n"
			"* LIST () \"/\" a\r\n* LIST (\\Noselect) \"/\" a\r\n* LIST (\\NonExistent) \"/\" b\r\n* LIST (\\Noselect) \"/\" b\r\nC1 OK\r\n"),
		"INBOX|/|a|\na|/|8|\nb|/|9|\n");
}

/* A row that can not be understood costs its folder alone. */
static void test_list_malformed(void **state)
{
	(void)state;
	expect_list(
		SCRIPT(GREETING(""), "<C1 LIST \"\" \"*\"",
			">* LIST (\\x \"/\" a\r\n* LIST\r\n* LIST () \"//\" b\r\n* LIST () / c\r\n* LIST () \"/\" \"d\r\n"
			"* LIST () \"/\" (e)\r\n* LIST x \"/\" f\r\n* LIST () \"/\"\r\n* LSUB () \"/\" g\r\n* 5 LIST () \"/\" h\r\n"
			"* LIST () \"/\" INBOX\r\nC1 OK\r\n"),
		"INBOX|/|8|\n");
}

static void expect_list_fails(const char *const *steps, int err, const char *words)
{
	struct peer peer;
	struct str got = STR_INIT;
	session_begin(&peer, steps);
	assert_int_equal(
		peer.source->ops->list(peer.session, note_mailbox, &got, &peer.error), err);
	assert_int_equal(peer.error.err, err);
	if (!strstr(peer.error.text, words))
		fail_msg("'%s' is not in '%s'", words, peer.error.text);
	assert_int_equal(got.len, 0); /* no half list */
	str_finish(&got);
	peer_finish(&peer);
}

static void test_list_fails(void **state)
{
	(void)state;
	/* Nothing that is understood is not nothing. */
	expect_list_fails(SCRIPT(GREETING(""), "<C1 LIST \"\" \"*\"",
				  ">* LIST\r\n* LIST () \"/\" (a)\r\n* LIST x\r\nC1 OK\r\n",
				  "<C2 LIST \"\" \"INBOX\"", ">C2 OK\r\n"),
		-EIO, "can not be understood");
	expect_list_fails(SCRIPT(GREETING(""), "<C1 LIST \"\" \"*\"",
				  ">* LIST () \"/\" a\r\nC1 NO [UNAVAILABLE] later\r\n"),
		-EIO, "later");
	expect_list_fails(
		SCRIPT(GREETING(""), "<C1 LIST \"\" \"*\"", ">* LIST () \"/\" a\r\n", "!"), -EIO,
		"closed");
	expect_list_fails(SCRIPT(GREETING(""), "<C1 LIST \"\" \"*\"",
				  ">* LIST () \"/\" a\r\n* BYE restart\r\n"),
		-EIO, "restart");
	expect_list_fails(
		SCRIPT(GREETING(""), "<C1 LIST \"\" \"*\"", "*200000 * LIST () \"/\" a\r\n"), -EIO,
		"more responses than there can be");
	expect_list_fails(SCRIPT(GREETING(" NAMESPACE"), "<C1 NAMESPACE",
				  ">* NAMESPACE NIL ((\"o/\" \"/\")) NIL\r\nC1 OK\r\n",
				  "<C2 LIST \"\" \"*\"", ">* LIST () \"/\" INBOX\r\nC2 OK\r\n",
				  "<C3 LIST \"\" \"o/*\"", ">C3 NO [UNAVAILABLE] later\r\n"),
		-EIO, "later");
}

/* A step that sends a LIST response for each of count folders, 0 and on, with names of name_len bytes at least. */
static char *list_step(unsigned count, int name_len)
{
	struct str step = STR_INIT;
	str_putc(&step, '>');
	for (unsigned i = 0; i < count; i++)
		str_printf(&step, "* LIST () \"/\" %0*u\r\n", name_len, i);
	assert_int_equal(str_error(&step), 0);
	return str_steal(&step);
}

/* More than anybody has is an error, and not a list that ends there; the session goes on. */
static void expect_too_many(unsigned count, int name_len)
{
	struct peer peer;
	struct str got = STR_INIT;
	char *flood = list_step(count, name_len);
	session_begin(&peer, SCRIPT(GREETING(""), "<C1 LIST \"\" \"*\"", flood,
				     ">* LIST () \"/\" INBOX\r\nC1 OK\r\n", "<C2 LIST \"\" \"*\"",
				     ">* LIST () \"/\" INBOX\r\nC2 OK\r\n"));
	assert_int_equal(
		peer.source->ops->list(peer.session, note_mailbox, &got, &peer.error), -EMSGSIZE);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_MAILBOX);
	assert_non_null(strstr(peer.error.text, "more than 20000 folders"));
	assert_string_equal(str_cstr(&got), "");
	assert_int_equal(peer.source->ops->list(peer.session, note_mailbox, &got, &peer.error), 0);
	str_finish(&got);
	peer_finish(&peer);
	free(flood);
}

static void test_list_too_many(void **state)
{
	(void)state;
	expect_too_many(20000, 8); /* and INBOX */
	expect_too_many(41000, 8);
	/* fewer, with names of sixty kilobytes */
	expect_too_many(90, 60000);
	expect_too_many(180, 60000);
}

/* And so many, without end, cost the connection. */
static void test_list_endless(void **state)
{
	char *flood = list_step(60000, 8);
	(void)state;
	expect_list_fails(SCRIPT(GREETING(""), "<C1 LIST \"\" \"*\"", flood, "!"), -EMSGSIZE,
		"more than 20000 folders");
	free(flood);
}

static int count_mailbox(void *arg, const struct source_mailbox *mailbox)
{
	*(unsigned *)arg += 1;
	assert_int_equal(mailbox->flags & SOURCE_MAILBOX_SUBSCRIBED, 0);
	return 0;
}

/* What each pattern lists again is no folder more: not of the number, not of the bytes of names, not of the responses. */
static void expect_all_again(unsigned count, int name_len)
{
	struct peer peer;
	unsigned got = 0;
	char *flood = list_step(count, name_len);
	session_begin(&peer,
		SCRIPT(GREETING(" NAMESPACE"), "<C1 NAMESPACE",
			">* NAMESPACE ((\"\" \"/\")) ((\"a/\" \"/\")) ((\"b/\" \"/\"))\r\nC1 OK\r\n",
			"<C2 LIST \"\" \"*\"", ">* LIST () \"/\" INBOX\r\n", flood, ">C2 OK\r\n",
			"<C3 LIST \"\" \"a/*\"", flood, ">C3 OK\r\n", "<C4 LIST \"\" \"b/*\"",
			flood, ">C4 OK\r\n"));
	if (peer.source->ops->list(peer.session, count_mailbox, &got, &peer.error) < 0)
		fail_msg("list: %s", peer.error.text);
	assert_int_equal(got, count + 1);
	peer_finish(&peer);
	free(flood);
}

static void test_list_all_again(void **state)
{
	(void)state;
	expect_all_again(19999, 8);
	expect_all_again(60, 60000);
}

/* --- SELECT --- */

static void test_select(void **state)
{
	struct peer peer;
	struct source_state box;
	(void)state;
	session_begin(&peer,
		SCRIPT(GREETING(""), "<C1 EXAMINE \"a \\\"b\\\\\"",
			">* FLAGS (\\Seen)\r\n* OK [PERMANENTFLAGS (\r\n* 5 EXISTS\r\n* 0 RECENT\r\n* OK [UIDVALIDITY 4294967295]\r\n"
			"* OK [UIDNEXT 12] x\r\n* OK [HIGHESTMODSEQ 9223372036854775807] x\r\n* 6 EXISTS\r\nC1 OK [READ-ONLY]\r\n",
			"<C2 SELECT \"plain\"",
			">* 0 EXISTS\r\n* OK [UIDVALIDITY 1]\r\nC2 OK [READ-WRITE] ok\r\n"));
	assert_int_equal(session_select(&peer, "a \"b\\", &box), 0);
	assert_true(box.uidvalidity == 4294967295 && box.uidnext == 12 && box.messages == 6 &&
		    box.modseq == INT64_MAX);
	assert_int_equal(
		peer.source->ops->select(peer.session, "plain", false, NULL, &box, &peer.error), 0);
	assert_true(
		box.uidvalidity == 1 && box.uidnext == 0 && box.messages == 0 && box.modseq == 0);
	peer_finish(&peer);
}

static void test_select_condstore(void **state)
{
	struct peer peer;
	struct source_state box;
	(void)state;
	session_begin(&peer,
		SCRIPT(GREETING(" QRESYNC"), "<C1 EXAMINE \"x\" (CONDSTORE)",
			">* 0 EXISTS\r\n* OK [UIDVALIDITY 1]\r\n* OK [HIGHESTMODSEQ 5]\r\n* OK [NOMODSEQ] no\r\nC1 OK\r\n"));
	assert_int_equal(session_select(&peer, "x", &box), 0);
	assert_true(box.modseq == 0);
	peer_finish(&peer);
}

static void test_select_literal(void **state)
{
	struct peer peer;
	struct source_state box;
	(void)state;
	session_begin(&peer, SCRIPT(GREETING(" LITERAL-"), "<C1 EXAMINE {3+}", "<\xc3\xa9x",
				     ">* 0 EXISTS\r\n* OK [UIDVALIDITY 1]\r\nC1 OK\r\n"));
	assert_int_equal(session_select(&peer, "\xc3\xa9x", &box), 0);
	peer_finish(&peer);
	session_begin(
		&peer, SCRIPT(GREETING(""), "<C1 EXAMINE {3}", ">* 3 EXISTS\r\n+ go\r\n",
			       "<\xc3\xa9x", ">* 0 EXISTS\r\n* OK [UIDVALIDITY 1]\r\nC1 OK\r\n",
			       "<C2 EXAMINE {2}", ">C2 NO [NOPERM] never\r\n"));
	assert_int_equal(session_select(&peer, "\xc3\xa9x", &box), 0);
	assert_int_equal(session_select(&peer, "\xc3\xa9", &box), -EACCES);
	peer_finish(&peer);
}

/* A line break in a name is no second command. */
static void test_select_injection(void **state)
{
	struct peer peer;
	struct source_state box;
	(void)state;
	session_begin(&peer, SCRIPT(GREETING("")));
	assert_int_equal(session_select(&peer, "x\"\r\nC9 DELETE \"INBOX", &box), -EINVAL);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_MAILBOX);
	assert_int_equal(session_select(&peer, "x\ny", &box), -EINVAL);
	peer_finish(&peer);
}

static void test_select_refused(void **state)
{
	static const struct {
		const char *answer;
		int err;
		enum source_retry retry;
	} cases[] = {
		{"NO [NOPERM] x", -EACCES, SOURCE_RETRY_NEVER},
		{"NO [NONEXISTENT] x", -EIO, SOURCE_RETRY_NEVER},
		{"NO Mailbox doesn't exist", -EIO, SOURCE_RETRY_LATER},
		{"NO [INUSE] x", -EIO, SOURCE_RETRY_LATER},
		{"NO [OVERQUOTA] x", -EIO, SOURCE_RETRY_NEVER},
		{"BAD x", -EIO, SOURCE_RETRY_NEVER},
		{"OK no UIDVALIDITY", -EIO, SOURCE_RETRY_LATER},
		{"OK [UIDVALIDITY 0] x", -EIO, SOURCE_RETRY_LATER},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct peer peer;
		struct source_state box = {.messages = 99};
		char line[200];
		unsigned skipped;
		snprintf(line, sizeof(line), ">* 3 EXISTS\r\nC1 %s\r\n", cases[i].answer);
		session_begin(&peer, SCRIPT(GREETING(""), "<C1 EXAMINE \"x\"", line));
		assert_int_equal(session_select(&peer, "x", &box), cases[i].err);
		assert_int_equal(peer.error.scope, SOURCE_SCOPE_MAILBOX);
		assert_int_equal(peer.error.cause, SOURCE_CAUSE_MAILBOX);
		assert_int_equal(peer.error.retry, cases[i].retry);
		assert_int_equal(box.messages, 99);
		/* nothing is open now: nothing is asked */
		assert_int_equal(peer.source->ops->rows(peer.session, 1, 2, SOURCE_COLUMNS_UID,
					 NULL, NULL, &skipped, &peer.error),
			-EIO);
		peer_finish(&peer);
	}
}

/* --- Quota --- */

static void expect_quota(const char *caps, const char *answer, int result, struct source_quota want)
{
	struct peer peer;
	struct source_quota got = {.used_bytes = 99};
	session_begin(
		&peer, answer ? SCRIPT(caps, "<C1 GETQUOTAROOT \"INBOX\"", answer) : SCRIPT(caps));
	assert_int_equal(peer.source->ops->quota(peer.session, &got, &peer.error), result);
	assert_int_equal(got.known, want.known);
	assert_true(got.used_bytes == want.used_bytes && got.limit_bytes == want.limit_bytes);
	assert_true(got.used_messages == want.used_messages &&
		    got.limit_messages == want.limit_messages);
	peer_finish(&peer);
}

static void test_quota(void **state)
{
	const struct source_quota none = {0};
	(void)state;
	expect_quota(GREETING(""), NULL, 0, none);
	expect_quota(GREETING(" QUOTA"), ">* QUOTAROOT INBOX\r\nC1 OK\r\n", 0, none);
	expect_quota(GREETING(" QUOTA"), ">C1 NO no\r\n", 0, none);
	expect_quota(GREETING(" QUOTA"),
		">* QUOTAROOT INBOX \"User quota\"\r\n* QUOTA \"User quota\" (STORAGE 10 512 MESSAGE 3 1000)\r\nC1 OK\r\n",
		0, (struct source_quota){true, 10240, 524288, 3, 1000});
	/* the one with the least room counts */
	expect_quota(GREETING(" QUOTA"),
		">* QUOTA \"\" ()\r\n* QUOTA a (STORAGE 0 9)\r\n* QUOTA b (storage 8 9 X 1 2)\r\n* QUOTA c (STORAGE 1 9)\r\nC1 OK\r\n",
		0, (struct source_quota){true, 8192, 9216, 0, 0});
	expect_quota(GREETING(" QUOTA"),
		">* QUOTA \"\" (STORAGE 18446744073709551615 18446744073709551615)\r\nC1 OK\r\n", 0,
		(struct source_quota){true, UINT64_MAX, UINT64_MAX, 0, 0});
	expect_quota(GREETING(" QUOTA"),
		">* QUOTA \"\" (STORAGE\r\n* QUOTA\r\n* QUOTA \"\" (STORAGE x y)\r\nC1 OK\r\n", 0,
		(struct source_quota){.known = true});
	expect_quota(
		GREETING(" QUOTA"), ">* BYE x\r\n", -EIO, (struct source_quota){.used_bytes = 99});
}

/* --- What holds for every command --- */

/* A dead session says nothing more. */
static void test_dead(void **state)
{
	struct peer peer;
	struct source_state box;
	(void)state;
	session_begin(&peer,
		SCRIPT(GREETING(""), "<C1 EXAMINE \"x\"", ">* BYE [UNAVAILABLE] closing\r\n"));
	assert_int_equal(session_select(&peer, "x", &box), -EIO);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_ACCOUNT);
	assert_non_null(strstr(peer.error.text, "closing"));
	assert_int_equal(session_select(&peer, "x", &box), -EIO);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_ACCOUNT);
	peer_finish(&peer);
}

/* A byte now and then does not keep a command alive. */
static void test_trickle(void **state)
{
	struct peer peer;
	struct str got = STR_INIT;
	(void)state;
	session_begin(&peer,
		SCRIPT(GREETING(""), "<C1 LIST \"\" \"*\"",
			"~50 * LIST () \"/\" a\r\n* LIST () \"/\" b\r\n* LIST () \"/\" c\r\n* LIST () \"/\" d\r\n"
			"* LIST () \"/\" e\r\n* LIST () \"/\" f\r\n"));
	peer.source->ops->set_timeout(peer.session, 500);
	int64_t start = clock_now_ms();
	assert_int_equal(
		peer.source->ops->list(peer.session, note_mailbox, &got, &peer.error), -ETIMEDOUT);
	assert_true(clock_now_ms() - start < 3000);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_ACCOUNT);
	str_finish(&got);
	peer_finish(&peer);
}

/* A listing that takes longer than the time-out goes on as long as it comes at a reasonable rate. */
static void test_long_listing(void **state)
{
	char row[2000] = ">* LIST () \"/\" ";
	struct peer peer;
	struct str got = STR_INIT;
	(void)state;
	memset(row + strlen(row), 'x', 1500);
	strcat(row, "\r\n");
	session_begin(&peer, SCRIPT(GREETING(""), "<C1 LIST \"\" \"*\"", row, "#250", row, "#250",
				     row, "#250", row, "#250", row, "#250", row, "#250",
				     ">* LIST () \"/\" INBOX\r\nC1 OK\r\n"));
	peer.source->ops->set_timeout(peer.session, 1000);
	assert_int_equal(peer.source->ops->list(peer.session, note_mailbox, &got, &peer.error), 0);
	str_finish(&got);
	peer_finish(&peer);
}

/* A server that has been thinking for nearly as long as it may, and begins then, gets on, also with a line so long that it does not end in time. */
static void test_thinks_first(void **state)
{
	struct peer peer;
	struct str got = STR_INIT, row = STR_INIT;
	const char *steps[60] = {GREETING(""), "<C1 LIST \"\" \"*\"", "#700", ">* LIST () \"/\" "};
	size_t count = 4;
	(void)state;
	str_putc(&row, '>');
	while (row.len < 600)
		str_putc(&row, 'x');
	for (int i = 0; i < 4; i++) { /* 1.2 s of one line */
		steps[count++] = str_cstr(&row);
		steps[count++] = "#300";
	}
	steps[count++] = ">\r\n";
	steps[count++] = ">* LIST () \"/\" INBOX\r\n";
	steps[count++] = ">C1 OK\r\n";
	session_begin(&peer, steps);
	peer.source->ops->set_timeout(peer.session, 1000);
	if (peer.source->ops->list(peer.session, note_mailbox, &got, &peer.error) < 0)
		fail_msg("list: %s", peer.error.text);
	str_finish(&got);
	str_finish(&row);
	peer_finish(&peer);
}

/* Nor is one too slow that finds a folder every 0.15 s, however few bytes that is. */
static void test_few_bytes(void **state)
{
	struct peer peer;
	struct str got = STR_INIT;
	const char *steps[40] = {GREETING(""), "<C1 LIST \"\" \"*\""};
	size_t count = 2;
	(void)state;
	for (int i = 0; i < 14; i++) {
		steps[count++] = ">* LIST () \"/\" INBOX\r\n";
		steps[count++] = "#150";
	}
	steps[count++] = ">C1 OK\r\n";
	session_begin(&peer, steps);
	peer.source->ops->set_timeout(peer.session, 1500);
	if (peer.source->ops->list(peer.session, note_mailbox, &got, &peer.error) < 0)
		fail_msg("list: %s", peer.error.text);
	str_finish(&got);
	peer_finish(&peer);
}

static void *cancel_soon(void *arg)
{
	struct peer *peer = arg;
	usleep(100000);
	peer->source->ops->cancel(peer->session);
	return NULL;
}

static void test_cancel(void **state)
{
	struct peer peer;
	struct source_state box;
	pthread_t thread;
	(void)state;
	session_begin(&peer, SCRIPT(GREETING(""), "<C1 EXAMINE \"x\""));
	assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &peer), 0);
	int64_t start = clock_now_ms();
	assert_int_equal(session_select(&peer, "x", &box), -ECANCELED);
	assert_true(clock_now_ms() - start < 2000);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_CANCELLED);
	pthread_join(thread, NULL);
	assert_int_equal(
		session_select(&peer, "x", &box), -ECANCELED); /* and so does every later call */
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_CANCELLED);
	peer_finish(&peer);
}

static void test_logout(void **state)
{
	struct peer peer;
	(void)state;
	session_begin(&peer, SCRIPT(GREETING(""), "<C1 LOGOUT", ">* BYE bye\r\nC1 OK\r\n", "!"));
	peer.source->ops->disconnect(peer.session, true);
	peer.session = NULL;
	peer_finish(&peer);
	/* a server that does not answer is not waited for */
	session_begin(&peer, SCRIPT(GREETING(""), "<C1 LOGOUT"));
	int64_t start = clock_now_ms();
	peer.source->ops->disconnect(peer.session, true);
	peer.session = NULL;
	assert_true(clock_now_ms() - start < 4000);
	peer_finish(&peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_list_plain),
		cmocka_unit_test(test_list_extended),
		cmocka_unit_test(test_list_namespaces),
		cmocka_unit_test(test_flights),
		cmocka_unit_test(test_flights_out_of_step),
		cmocka_unit_test(test_list_without_namespaces),
		cmocka_unit_test(test_list_inbox),
		cmocka_unit_test(test_list_malformed),
		cmocka_unit_test(test_list_fails),
		cmocka_unit_test(test_list_too_many),
		cmocka_unit_test(test_list_endless),
		cmocka_unit_test(test_list_all_again),
		cmocka_unit_test(test_select),
		cmocka_unit_test(test_select_condstore),
		cmocka_unit_test(test_select_literal),
		cmocka_unit_test(test_select_injection),
		cmocka_unit_test(test_select_refused),
		cmocka_unit_test(test_quota),
		cmocka_unit_test(test_dead),
		cmocka_unit_test(test_trickle),
		cmocka_unit_test(test_long_listing),
		cmocka_unit_test(test_thinks_first),
		cmocka_unit_test(test_few_bytes),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_logout),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
