/* SPDX-License-Identifier: MIT */
/* A server that means harm: what does not end, what is too large, what is no number, and what it says of things nobody asked for. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailfs/mime.h"
#include "mailfs/util/clock.h"
#include "session.h"

#define COLUMNS                                                                                    \
	"UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT MESSAGE-ID)]"
#define DEADLINE_MS 150
#define ALL         "<C2 UID FETCH 1:* (" COLUMNS ")"

/* The largest piece of memory that anybody has asked for. */
static size_t largest;
void *__real_realloc(void *data, size_t size);
void *__wrap_realloc(void *data, size_t size);
void *__wrap_realloc(void *data, size_t size)
{
	largest = size > largest ? size : largest;
	return __real_realloc(data, size);
}
#define HELD_MAX ((size_t)12 << 20)

static void assert_says(const struct source_error *error, const char *words)
{
	if (!strstr(error->text, words))
		fail_msg("'%s' is not in '%s'", words, error->text);
}

/* --- One deadline for a command, in every state --- */

typedef int call_fn(struct peer *peer);

static int ignore_mailbox(void *arg, const struct source_mailbox *mailbox)
{
	(void)arg;
	(void)mailbox;
	return 0;
}

static int ignore_row(void *arg, const struct source_row *row)
{
	(void)arg;
	(void)row;
	return 0;
}

static int ignore_structure(void *arg, uint32_t uid, const struct mime_part *structure)
{
	(void)arg;
	(void)uid;
	(void)structure;
	return 0;
}

static int ignore_range(void *arg, uint32_t first, uint32_t last)
{
	(void)arg;
	(void)first;
	(void)last;
	return 0;
}

static void ignore_event(void *arg, const struct source_event *event)
{
	(void)arg;
	(void)event;
}

static int call_select(struct peer *peer)
{
	struct source_state state;
	return session_select(peer, "x", &state);
}

static int call_list(struct peer *peer)
{
	return peer->source->ops->list(peer->session, ignore_mailbox, NULL, &peer->error);
}

static int call_status(struct peer *peer)
{
	struct source_state state;
	return peer->source->ops->status(peer->session, "x", &state, &peer->error);
}

static int call_quota(struct peer *peer)
{
	struct source_quota quota;
	return peer->source->ops->quota(peer->session, &quota, &peer->error);
}

static int call_rows(struct peer *peer)
{
	unsigned skipped;
	return peer->source->ops->rows(peer->session, 1, UINT32_MAX, SOURCE_COLUMNS_ALL, ignore_row,
		NULL, &skipped, &peer->error);
}

static int call_uids(struct peer *peer)
{
	return peer->source->ops->uids(
		peer->session, 1, UINT32_MAX, ignore_range, NULL, &peer->error);
}

static int call_structures(struct peer *peer)
{
	static const uint32_t uids[] = {5, 6};
	return peer->source->ops->structures(
		peer->session, uids, 2, ignore_structure, NULL, &peer->error);
}

static int call_body(struct peer *peer)
{
	_cleanup_str_ struct str out = STR_INIT;
	return peer->source->ops->body(peer->session, 5, "", 0, 100000, 0, &out, &peer->error);
}

static int call_watch(struct peer *peer)
{
	return peer->source->ops->watch(
		peer->session, "x", clock_now_ms() + 60000, ignore_event, NULL, &peer->error);
}

static int call_compress(struct peer *peer)
{
	return peer->source->ops->compress(peer->session, &peer->error);
}

struct bulk_asker {
	bool asked;
	int err;
};

static bool bulk_next(void *arg, struct source_bulk_set *ret)
{
	static const uint32_t uids[] = {5};
	struct bulk_asker *asker = arg;
	*ret = (struct source_bulk_set){.uids = uids, .count = 1, .limit_bytes = 1 << 20};
	bool more = !asker->asked;
	asker->asked = true;
	return more;
}

static int bulk_begin(void *arg, uint32_t uid, uint64_t offset, uint64_t size)
{
	(void)arg;
	(void)uid;
	(void)offset;
	(void)size;
	return 0;
}

static void bulk_data(void *arg, const char *data, size_t len)
{
	(void)arg;
	(void)data;
	(void)len;
}

static void bulk_end(void *arg, bool whole)
{
	(void)arg;
	(void)whole;
}

static void bulk_answered(void *arg, int err)
{
	((struct bulk_asker *)arg)->err = err;
}

static int call_bulk(struct peer *peer)
{
	struct bulk_asker asker = {0};
	const struct source_bulk bulk = {
		&asker, bulk_next, bulk_begin, bulk_data, bulk_end, bulk_answered, NULL};
	return peer->source->ops->bulk(peer->session, &bulk, &peer->error);
}

#define SLOW                                                                                       \
	"~10 * OK one byte after the other, and this is a line that is long enough to take a while longer than anybody waits\r\n"
#define LOGGED GREETING(" IDLE COMPRESS=DEFLATE QUOTA")

static void test_deadlines(void **state)
{
	static const struct {
		const char *what;
		call_fn *call;
		const char *steps[8];
	} cases[] = {
		{"select", call_select, {LOGGED, "<C1 EXAMINE \"x\"", SLOW}},
		{"list", call_list, {LOGGED, "<C1 LIST \"\" \"*\"", SLOW}},
		{"status", call_status,
			{LOGGED, "<C1 STATUS \"x\" (MESSAGES UIDNEXT UIDVALIDITY)", SLOW}},
		{"quota", call_quota, {LOGGED, "<C1 GETQUOTAROOT \"INBOX\"", SLOW}},
		{"compress", call_compress, {LOGGED, "<C1 COMPRESS DEFLATE", SLOW}},
		{"idle", call_watch,
			{LOGGED, "<C1 EXAMINE \"x\"",
				">* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nC1 OK\r\n", "<C2 IDLE",
				SLOW}},
		{"news", call_watch,
			{LOGGED, "<C1 EXAMINE \"x\"",
				">* 0 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nC1 OK\r\n", "<C2 IDLE",
				">+ idling\r\n", SLOW}},
		{"rows", call_rows, {GREETING(""), OPEN, ALL, SLOW}},
		{"a row", call_rows,
			{GREETING(""), OPEN, ALL,
				">* 1 FETCH (UID 5 BODY[HEADER.FIELDS (FROM)] {5000}\r\n", SLOW}},
		{"a long row", call_rows,
			{GREETING(""), OPEN, ALL,
				">* 1 FETCH (UID 5 BODY[HEADER.FIELDS (FROM)] {5000000}\r\n",
				SLOW}},
		{"search", call_uids, {GREETING(""), OPEN, "<C2 UID SEARCH UID 1:*", SLOW}},
		{"structures", call_structures,
			{GREETING(""), OPEN, "<C2 UID FETCH 5:6 (UID BODYSTRUCTURE)", SLOW}},
		{"body", call_body,
			{GREETING(""), OPEN, "<C2 UID FETCH 5 (UID BODY.PEEK[]<0.100000>)",
				">* 1 FETCH (UID 5 BODY[]<0> {100000}\r\n", SLOW}},
		{"bulk", call_bulk,
			{GREETING(""), OPEN, "<C2 UID FETCH 5 (UID BODY.PEEK[])",
				">* 1 FETCH (UID 5 BODY[] {100000}\r\n", SLOW}},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct peer peer;
		/* OPEN is two steps */
		if (strncmp(cases[i].steps[1], "<C1 EXAMINE \"box\"", 17) == 0)
			session_open(&peer, cases[i].steps);
		else
			session_begin(&peer, cases[i].steps);
		peer.source->ops->set_timeout(peer.session, DEADLINE_MS);
		int64_t start = clock_now_ms();
		if (cases[i].call(&peer) != -ETIMEDOUT)
			fail_msg("%s: %s", cases[i].what, peer.error.text);
		assert_int_equal(peer.error.scope, SOURCE_SCOPE_ACCOUNT);
		if (clock_now_ms() - start > DEADLINE_MS + 1000)
			fail_msg("%s took %d ms", cases[i].what, (int)(clock_now_ms() - start));
		peer_finish(&peer);
	}
}

/* Up to the login and past it the deadline is the caller's, whatever comes. */
static void test_deadline_of_a_login(void **state)
{
	static const char *const cases[][6] = {
		{SLOW},
		{">* OK hi\r\n", "<C1 CAPABILITY", SLOW},
		{">* OK [CAPABILITY IMAP4rev1] hi\r\n", "<C1 LOGIN alice s3cret", SLOW},
		{">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n",
			"<C1 AUTHENTICATE PLAIN AGFsaWNlAHMzY3JldA==", SLOW},
		{">* PREAUTH [CAPABILITY IMAP4rev1 ID] hi\r\n",
			"<C1 ID (\"name\" \"mailfs\" \"version\" \"" MAILFS_VERSION "\")", SLOW},
		/* lines at full speed, too */
		{">* OK [CAPABILITY IMAP4rev1] hi\r\n", "<C1 LOGIN alice s3cret",
			"*100000000 * OK on and on\r\n"},
	};
	(void)state;
	peer_patience_ms = DEADLINE_MS;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct peer peer;
		int64_t start = clock_now_ms();
		peer_connect(&peer, NET_TLS_NONE, cases[i]);
		assert_true(peer.result < 0);
		if (peer.result != -ETIMEDOUT)
			assert_says(&peer.error, "can not be understood");
		assert_true(clock_now_ms() - start < DEADLINE_MS + 1000);
		peer_finish(&peer);
	}
	peer_patience_ms = 8000;
}

/* At the rate that moves a deadline on, but of what nobody asked for. */
static void test_useless_stream(void **state)
{
	char junk[4000] = ">* 9 FETCH (UID 9 BODY[] {3000}\r\n";
	struct peer peer;
	(void)state;
	memset(junk + strlen(junk), 'x', 3000);
	strcat(junk, ")\r\n");
	session_open(&peer, SCRIPT(GREETING(""), OPEN, "<C2 UID FETCH 5 (UID BODY.PEEK[])", junk,
				    "#60", junk, "#60", junk, "#60", junk, "#60", junk, "#60", junk,
				    "#60", junk, "#60", junk, "#60", junk, "#60", junk));
	peer.source->ops->set_timeout(peer.session, 200);
	int64_t start = clock_now_ms();
	assert_int_equal(call_bulk(&peer), -ETIMEDOUT);
	assert_true(clock_now_ms() - start < 1200);
	/* the script may not have come to its end */
	peer.source->ops->disconnect(peer.session, false);
	peer.session = NULL;
	peer.source->ops->destroy(peer.source);
	secret_destroy(peer.password);
	net_context_destroy(peer.net);
	script_finish(peer.script);
}

/* --- What is too large to be held --- */

static int note_row(void *arg, const struct source_row *row)
{
	str_printf(arg, "%u:%zu:%zu ", row->uid, strlen(row->flags), row->header_len);
	return 0;
}

/* Each row is there, with the beginning of what it holds; no memory is taken for the rest, and the session goes on. */
static void test_long_rows(void **state)
{
	struct peer peer;
	struct str got = STR_INIT;
	unsigned skipped = 0;
	(void)state;
	largest = 0;
	session_open(&peer,
		SCRIPT(GREETING(""), OPEN, ALL,
			">* 1 FETCH (UID 1 FLAGS (a) BODY[HEADER.FIELDS (SUBJECT)] {50000000}\r\n",
			"*5000000 Subject: x", ">)\r\n* 2 FETCH (UID 2 FLAGS (b) X \"",
			"*1000000 0123456789", ">\" BODY[HEADER.FIELDS (TO)] {3}\r\nabc)\r\n",
			">* 3 FETCH (UID 3 FLAGS (", "*100000 keyword ",
			">) BODY[HEADER.FIELDS (TO)] {0}\r\n)\r\nC2 OK\r\n",
			"<C3 UID FETCH 1:* (" COLUMNS ")", ">C3 OK\r\n"));
	if (peer.source->ops->rows(peer.session, 1, UINT32_MAX, SOURCE_COLUMNS_ALL, note_row, &got,
		    &skipped, &peer.error) < 0)
		fail_msg("%s", peer.error.text);
	assert_string_equal(str_cstr(&got), "1:1:65538 2:1:0 3:8191:0 ");
	assert_int_equal(call_rows(&peer), 0);
	assert_true(largest <= HELD_MAX);
	str_finish(&got);
	peer_finish(&peer);
}

static int note_structure(void *arg, uint32_t uid, const struct mime_part *structure)
{
	str_printf(arg, "%u:%s ", uid, structure ? "good" : "bad");
	return 0;
}

/* A structure without end costs itself alone. */
static void test_long_structure(void **state)
{
	static const uint32_t uids[] = {5, 6};
	struct peer peer;
	struct str got = STR_INIT;
	(void)state;
	largest = 0;
	session_open(&peer,
		SCRIPT(GREETING(""), OPEN, "<C2 UID FETCH 5:6 (UID BODYSTRUCTURE)",
			">* 1 FETCH (UID 5 BODYSTRUCTURE (",
			"*900000 (\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1)",
			"> \"mixed\"))\r\n* 2 FETCH (UID 6 BODYSTRUCTURE (\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1))\r\nC2 OK\r\n"));
	assert_int_equal(peer.source->ops->structures(
				 peer.session, uids, 2, note_structure, &got, &peer.error),
		0);
	assert_string_equal(str_cstr(&got), "5:good 6:good ");
	assert_true(largest <= HELD_MAX);
	str_finish(&got);
	peer_finish(&peer);
}

static void expect_cut_off(call_fn *call, const char *const *steps, const char *words)
{
	struct peer peer;
	largest = 0;
	session_open(&peer, steps);
	assert_int_equal(call(&peer), -EIO);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_ACCOUNT);
	assert_says(&peer.error, words);
	assert_true(largest <= HELD_MAX);
	peer_finish(&peer);
}

static void test_without_end(void **state)
{
	(void)state;
	/* a line; lines; literals; what is announced */
	expect_cut_off(call_rows, SCRIPT(GREETING(""), OPEN, ALL, ">* 1 FETCH (", "*9000000 1234"),
		"limit");
	expect_cut_off(call_rows,
		SCRIPT(GREETING(""), OPEN, ALL, "*20000000 * 1 FETCH (FLAGS ())\r\n"),
		"more responses");
	expect_cut_off(call_rows,
		SCRIPT(GREETING(""), OPEN, ALL, ">* 1 FETCH (X ", "*9000000 {1}\r\nx "), "limit");
	expect_cut_off(call_rows,
		SCRIPT(GREETING(""), OPEN, ALL, ">* 1 FETCH (UID 5 X {4294967295}\r\n"), "limit");
	expect_cut_off(call_rows,
		SCRIPT(GREETING(""), OPEN, ALL, ">* 1 FETCH (UID 5 X {4294967301}\r\nabcde"),
		"limit");
	expect_cut_off(call_status,
		SCRIPT(GREETING(""), OPEN, "<C2 STATUS \"x\" (MESSAGES UIDNEXT UIDVALIDITY)",
			">* OK [X ", "*9000000 1234"),
		"limit");
	expect_cut_off(call_body,
		SCRIPT(GREETING(""), OPEN, "<C2 UID FETCH 5 (UID BODY.PEEK[]<0.100000>)",
			"*90000000 * OK still there\r\n"),
		"more responses");
	expect_cut_off(call_body,
		SCRIPT(GREETING(""), OPEN, "<C2 UID FETCH 5 (UID BODY.PEEK[]<0.100000>)",
			"*90000000 + go on\r\n"),
		"continuation");
	expect_cut_off(call_body,
		SCRIPT(GREETING(""), OPEN, "<C2 UID FETCH 5 (UID BODY.PEEK[]<0.100000>)",
			">C1 OK not mine\r\n"),
		"nothing that was asked");
}

/* What is inflated counts, not what was sent. */
static void test_bomb(void **state)
{
	size_t len = (size_t)24 << 20;
	char *bomb = malloc(len + 1);
	struct peer peer;
	(void)state;
	assert_non_null(bomb);
	memset(bomb, 'x', len);
	memcpy(bomb, ">* 1 FETCH (", 12);
	bomb[len] = 0;
	session_open(&peer, SCRIPT(GREETING(" COMPRESS=DEFLATE"), OPEN, "<C2 COMPRESS DEFLATE",
				    "zC2 OK\r\n|", "<C3 UID FETCH 1:* (" COLUMNS ")", bomb));
	largest = 0;
	assert_int_equal(call_compress(&peer), 0);
	assert_int_equal(call_rows(&peer), -EIO);
	assert_says(&peer.error, "limit");
	assert_true(largest <= HELD_MAX);
	peer.source->ops->disconnect(peer.session, false);
	peer.session = NULL;
	peer.source->ops->destroy(peer.source);
	secret_destroy(peer.password);
	net_context_destroy(peer.net);
	script_finish(peer.script);
	free(bomb);
}

/* libetpan makes two hundred bytes of every word: it gets no list that is longer than lists are. */
static void test_many_capabilities(void **state)
{
	struct peer peer;
	(void)state;
	largest = 0;
	peer_connect(&peer, NET_TLS_NONE,
		SCRIPT(">* OK hi\r\n", "<C1 CAPABILITY", ">* CAPABILITY IMAP4rev1", "*400000  A",
			">\r\nC1 OK\r\n", "<C2 LOGIN alice s3cret",
			">C2 OK [CAPABILITY IMAP4rev1] in\r\n"));
	if (peer.result < 0)
		fail_msg("%s", peer.error.text);
	assert_true(largest <= (size_t)2 << 20);
	peer_finish(&peer);
}

/* --- Numbers --- */

static void expect_select(const char *answer, const char *want)
{
	struct peer peer;
	struct source_state box = {0};
	char got[200] = "refused";
	largest = 0;
	session_begin(
		&peer, SCRIPT(GREETING(" CONDSTORE"), "<C1 EXAMINE \"x\" (CONDSTORE)", answer));
	int r = session_select(&peer, "x", &box);
	if (r == 0)
		snprintf(got, sizeof(got), "%u %u %u %llu", box.uidvalidity, box.uidnext,
			box.messages, (unsigned long long)box.modseq);
	else
		assert_int_equal(peer.error.scope, SOURCE_SCOPE_MAILBOX);
	if (strcmp(got, want) != 0)
		fail_msg("%s instead of %s for %s", got, want, answer);
	assert_true(largest < (size_t)1 << 20);
	peer_finish(&peer);
}

#define SELECTED "* OK [UIDVALIDITY 7] x\r\nC1 OK\r\n"

static void test_numbers_of_select(void **state)
{
	static const char *const none[] = {"4294967295", "4294967296", "4294967301",
		"18446744073709551616", "-1", "000000000000000000001", "x"};
	char answer[300];
	(void)state;
	expect_select(">* 3 EXISTS\r\n" SELECTED, "7 0 3 0");
	expect_select(">* 1000000 EXISTS\r\n" SELECTED, "7 0 1000000 0");
	/* whether so many can be listed is not asked here: single ones can be read */
	expect_select(">* 1000001 EXISTS\r\n" SELECTED, "7 0 1000001 0");
	/* a folder of which nobody says that it is empty is not */
	expect_select(">" SELECTED, "refused");
	for (size_t i = 0; i < sizeof(none) / sizeof(none[0]); i++) {
		snprintf(answer, sizeof(answer), ">* %s EXISTS\r\n" SELECTED, none[i]);
		expect_select(answer, i == 0 ? "7 0 4294967295 0" : "refused");
		if (i == 0)
			continue;
		snprintf(answer, sizeof(answer), ">* 3 EXISTS\r\n* OK [UIDNEXT %s] x\r\n" SELECTED,
			none[i]);
		expect_select(answer, "7 0 3 0");
		snprintf(answer, sizeof(answer),
			">* 3 EXISTS\r\n* OK [UIDVALIDITY %s] x\r\nC1 OK\r\n", none[i]);
		expect_select(answer, "refused");
	}
	expect_select(">* 3 EXISTS\r\n* OK [UIDNEXT 0] x\r\n" SELECTED, "7 0 3 0");
	expect_select(
		">* 3 EXISTS\r\n* OK [UIDNEXT 4294967295] x\r\n" SELECTED, "7 4294967295 3 0");
	expect_select(">* 3 EXISTS\r\n* OK [UIDVALIDITY 0] x\r\nC1 OK\r\n", "refused");
	expect_select(">* 3 EXISTS\r\n* OK [HIGHESTMODSEQ 9223372036854775807] x\r\n" SELECTED,
		"7 0 3 9223372036854775807");
	expect_select(">* 3 EXISTS\r\n* OK [HIGHESTMODSEQ 9223372036854775808] x\r\n" SELECTED,
		"7 0 3 0");
	expect_select(">* 3 EXISTS\r\n* OK [HIGHESTMODSEQ 18446744073709551616] x\r\n" SELECTED,
		"7 0 3 0");
}

static int note_size(void *arg, const struct source_row *row)
{
	if (row->have & SOURCE_ROW_SIZE)
		str_printf(arg, "%u:%llu ", row->uid, (unsigned long long)row->size_bytes);
	else
		str_printf(arg, "%u:- ", row->uid);
	return 0;
}

static void test_numbers_of_rows(void **state)
{
	struct peer peer;
	struct str got = STR_INIT;
	unsigned skipped = 0;
	(void)state;
	session_open(&peer,
		SCRIPT(GREETING(""), OPEN, ALL,
			">* 1 FETCH (UID 4294967301 RFC822.SIZE 5)\r\n* 1 FETCH (UID 18446744073709551617 RFC822.SIZE 5)\r\n"
			"* 1 FETCH (UID -1 RFC822.SIZE 5)\r\n* 1 FETCH (UID 0 RFC822.SIZE 5)\r\n"
			"* 1 FETCH (UID 000000000000000000005 RFC822.SIZE 5)\r\n"
			"* 4294967295 FETCH (UID 1 RFC822.SIZE 281474976710655)\r\n* 0 FETCH (UID 2 RFC822.SIZE 281474976710656)\r\n"
			"* 1 FETCH (UID 3 RFC822.SIZE 9223372036854775808)\r\n* 1 FETCH (UID 4294967295 RFC822.SIZE -1)\r\n"
			"* 4294967296 FETCH (UID 4 RFC822.SIZE 1)\r\nC2 OK\r\n"));
	assert_int_equal(peer.source->ops->rows(peer.session, 1, UINT32_MAX, SOURCE_COLUMNS_ALL,
				 note_size, &got, &skipped, &peer.error),
		0);
	assert_string_equal(str_cstr(&got), "1:281474976710655 2:- 3:- 4294967295:- ");
	assert_int_equal(skipped, 5);
	str_finish(&got);
	peer_finish(&peer);
}

/* Nothing of what is told of messages that are not there, or of others, does anything. */
static void test_untagged_that_can_not_be(void **state)
{
	struct peer peer;
	_cleanup_str_ struct str out = STR_INIT;
	(void)state;
	session_open(&peer,
		SCRIPT(GREETING(""), OPEN, "<C2 UID FETCH 5 (UID BODY.PEEK[]<0.4>)",
			">* 999 EXPUNGE\r\n* 0 EXPUNGE\r\n* 4294967295 EXISTS\r\n* VANISHED 1:4294967295\r\n"
			"* OK [UIDNEXT 1] x\r\n* OK [HIGHESTMODSEQ 1] x\r\n* FLAGS (\r\n* OK [PERMANENTFLAGS (\r\n"
			"* ANNOTATION \"message\" \"x*\r\n* LIST () \"/\" evil\r\n* SEARCH 1 2 3\r\n* STATUS evil (MESSAGES 5)\r\n"
			"* 1 FETCH (UID 6 BODY[]<0> {4}\r\nevil)\r\n* 1 FETCH (UID 5 BODY[1]<0> {4}\r\nevil)\r\n"
			"* 1 FETCH (UID 5 BODY[]<0> {4}\r\ngood)\r\nC2 OK\r\n"));
	assert_int_equal(
		peer.source->ops->body(peer.session, 5, "", 0, 4, 0, &out, &peer.error), 0);
	assert_string_equal(str_cstr(&out), "good");
	peer_finish(&peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_deadline_of_a_login),
		cmocka_unit_test(test_useless_stream),
		cmocka_unit_test(test_long_rows),
		cmocka_unit_test(test_long_structure),
		cmocka_unit_test(test_without_end),
		cmocka_unit_test(test_bomb),
		cmocka_unit_test(test_many_capabilities),
		cmocka_unit_test(test_numbers_of_select),
		cmocka_unit_test(test_numbers_of_rows),
		cmocka_unit_test(test_untagged_that_can_not_be),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
