/* SPDX-License-Identifier: MIT */
/* Rows, structures and bodies: good, malformed and hostile answers. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailfs/mime.h"
#include "mailfs/util/quirk.h"
#include "session.h"

#define COLUMNS                                                                                    \
	"UID FLAGS INTERNALDATE RFC822.SIZE BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT MESSAGE-ID)]"

/* --- Rows --- */

static int note_row(void *arg, const struct source_row *row)
{
	struct str *out = arg;
	str_printf(out, "%u", row->uid);
	if (row->have & SOURCE_ROW_FLAGS)
		str_printf(out, " [%s]", row->flags);
	else
		assert_string_equal(row->flags, "");
	if (row->have & SOURCE_ROW_DATE)
		str_printf(out, " @%lld", (long long)row->date_s);
	if (row->have & SOURCE_ROW_SIZE)
		str_printf(out, " #%llu", (unsigned long long)row->size_bytes);
	if (row->have & SOURCE_ROW_HEADER)
		str_printf(out, " <%.*s>", (int)row->header_len, row->header);
	if (row->have & SOURCE_ROW_LABELS)
		str_printf(out, " {%s}", row->labels);
	else
		assert_null(row->labels);
	str_putc(out, '\n');
	return 0;
}

static void expect_rows(const char *rows, const char *want, unsigned want_skipped)
{
	struct peer peer;
	struct str got = STR_INIT;
	unsigned skipped = 99;
	session_open(&peer, SCRIPT(GREETING(""), OPEN, "<C2 UID FETCH 5:* (" COLUMNS ")", rows,
				    ">C2 OK done\r\n"));
	if (peer.source->ops->rows(peer.session, 5, UINT32_MAX, SOURCE_COLUMNS_ALL, note_row, &got,
		    &skipped, &peer.error) < 0)
		fail_msg("rows: %s", peer.error.text);
	assert_string_equal(str_cstr(&got), want);
	assert_int_equal(skipped, want_skipped);
	str_finish(&got);
	peer_finish(&peer);
}

static void test_rows(void **state)
{
	(void)state;
	expect_rows(
		">* 1 FETCH (UID 5 FLAGS (\\Seen \\Recent $x) INTERNALDATE \" 1-Jan-1970 00:01:00 +0000\" RFC822.SIZE 8589934592 "
		"BODY[HEADER.FIELDS (FROM TO SUBJECT MESSAGE-ID)] {9}\r\nSubject:\n)\r\n"
		"* 2 fetch (body[header.fields (\"FROM\" \"TO\")] \"a\\\"b\" rfc822.size 0 internaldate \"01-Jan-1970 00:00:00 +0000\" flags "
		"() modseq (7) uid 4294967295)\r\n"
		"* 3 FETCH (UID 6 BODY[HEADER.FIELDS (FROM TO SUBJECT MESSAGE-ID)] NIL)\r\n",
		"5 [\\Seen $x] @60 #8589934592 <Subject:\n>\n4294967295 [] @0 #0 <a\"b>\n6 <>\n",
		0);
}

/* What was not asked for: `5:*` brings the last message even when it is before 5; flags that others change; other responses. */
static void test_rows_not_asked_for(void **state)
{
	(void)state;
	expect_rows(
		">* 1 FETCH (UID 4 FLAGS ())\r\n* 2 FETCH (FLAGS (\\Seen))\r\n* 3 FETCH (FLAGS (\\Seen) MODSEQ (9))\r\n* 4 EXISTS\r\n"
		"* 2 EXPUNGE\r\n* OK still here\r\n* VANISHED 1:3\r\n* SEARCH\r\n* 999 EXPUNGE\r\n",
		"", 0);
}

/* Never silent: with what could be read, or counted. */
static void test_rows_malformed(void **state)
{
	(void)state;
	/* values that are none */
	expect_rows(
		">* 1 FETCH (UID 5 FLAGS \\Seen INTERNALDATE \"yesterday\" RFC822.SIZE big BODY[HEADER.FIELDS (FROM)] (x))\r\n",
		"5\n", 0);
	expect_rows(">* 1 FETCH (UID 5 FLAGS (\\Seen) INTERNALDATE NIL RFC822.SIZE -5 X)\r\n",
		"5 [\\Seen]\n", 0);
	expect_rows(">* 1 FETCH (UID 5 RFC822.SIZE 18446744073709551616)\r\n", "5\n", 0);
	/* parentheses that are not closed, or closed too often */
	expect_rows(">* 1 FETCH (UID 5 RFC822.SIZE 7 FLAGS (\\Seen\r\n", "5 #7\n", 0);
	expect_rows(">* 1 FETCH (UID 5 FLAGS (\\Seen)) RFC822.SIZE 7)\r\n", "5 [\\Seen]\n", 0);
	/* the UID behind the fault: found, where it can not be a part of a string */
	expect_rows(">* 1 FETCH (FLAGS (\\Seen)) RFC822.SIZE 7 UID 5)\r\n", "5 [\\Seen]\n", 0);
	expect_rows(">* 1 FETCH (X {7}\r\n UID 9  UID 5))\r\n", "5\n", 0);
	expect_rows(">* 1 FETCH (X \" UID 9 \" ) UID 5)\r\n", "5\n", 0);
	expect_rows(">* 1 FETCH (X \"no end UID 9)\r\n", "", 1);
	expect_rows(">* 1 FETCH (FLAGS (\\Seen\r\n* 2 FETCH\r\n* 3 FETCH x\r\n", "", 3);
	/* UIDs that are none, in rows that are rows */
	expect_rows(
		">* 1 FETCH (UID 0 RFC822.SIZE 5)\r\n* 2 FETCH (UID 4294967296 RFC822.SIZE 5)\r\n* 3 FETCH (RFC822.SIZE 5)\r\n",
		"", 3);
	/* the good ones around it are all there */
	expect_rows(
		">* 1 FETCH (UID 5 RFC822.SIZE 1)\r\n* 2 FETCH (UID 6 RFC822.SIZE \"\r\n* 3 FETCH (UID 7 RFC822.SIZE 3)\r\n",
		"5 #1\n6\n7 #3\n", 0);
}

static int note_header_len(void *arg, const struct source_row *row)
{
	*(size_t *)arg += row->header_len;
	return 0;
}

/* A sender's Subject of megabytes costs neither the connection nor the other rows. */
static void test_rows_long_header(void **state)
{
	struct peer peer;
	unsigned skipped;
	size_t len = 0;
	(void)state;
	session_open(&peer,
		SCRIPT(GREETING(""), OPEN, "<C2 UID FETCH 1:* (" COLUMNS ")",
			">* 1 FETCH (UID 1 BODY[HEADER.FIELDS (FROM)] {8000011}\r\n",
			"*1000000 Subject:",
			">\r\nFrom: a\r\n)\r\n* 2 FETCH (UID 2 BODY[HEADER.FIELDS (FROM)] \"x\")\r\nC2 OK\r\n"));
	assert_int_equal(peer.source->ops->rows(peer.session, 1, UINT32_MAX, SOURCE_COLUMNS_ALL,
				 note_header_len, &len, &skipped, &peer.error),
		0);
	/* the beginning of the one, all of the field behind it, and the other row's */
	assert_int_equal(len, (64 << 10) + strlen("\r\nFrom: a\r\n") + 1);
	assert_int_equal(skipped, 0);
	peer_finish(&peer);
}

static void test_rows_columns(void **state)
{
	struct peer peer;
	struct str got = STR_INIT;
	unsigned skipped;
	(void)state;
	session_open(&peer,
		SCRIPT(GREETING(" X-GM-EXT-1"), OPEN, "<C2 UID FETCH 1:9 (UID)",
			">* 1 FETCH (UID 3)\r\n* 1 FETCH (UID 10)\r\nC2 OK\r\n",
			"<C3 UID FETCH 3:3 (UID FLAGS)",
			">* 1 FETCH (UID 3 FLAGS (a))\r\nC3 OK\r\n",
			"<C4 UID FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE X-GM-LABELS BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT "
			"MESSAGE-ID)])",
			">* 1 FETCH (UID 3 X-GM-LABELS (\"\\\\Inbox\" Work \"a b\" {3}\r\nq\"r))\r\n* 2 FETCH (UID 4 X-GM-LABELS "
			"())\r\nC4 OK\r\n"));
	assert_int_equal(peer.source->ops->rows(peer.session, 0, 9, SOURCE_COLUMNS_UID, note_row,
				 &got, &skipped, &peer.error),
		0);
	assert_int_equal(peer.source->ops->rows(peer.session, 3, 3, SOURCE_COLUMNS_FLAGS, note_row,
				 &got, &skipped, &peer.error),
		0);
	assert_int_equal(peer.source->ops->rows(peer.session, 1, UINT32_MAX, SOURCE_COLUMNS_ALL,
				 note_row, &got, &skipped, &peer.error),
		0);
	assert_string_equal(
		str_cstr(&got), "3\n3 [a]\n3 {\"\\\\Inbox\" Work \"a b\" \"q\\\"r\"}\n4 {}\n");
	str_finish(&got);
	peer_finish(&peer);
}

static int stop_at_two(void *arg, const struct source_row *row)
{
	unsigned *count = arg;
	(void)row;
	return ++*count == 2 ? -ENOSPC : 0;
}

/* The callback's error ends the call, the rest is drained, and the session goes on. */
static void test_rows_stopped(void **state)
{
	struct peer peer;
	struct source_state box;
	unsigned skipped, count = 0;
	(void)state;
	session_open(&peer,
		SCRIPT(GREETING(""), OPEN, "<C2 UID FETCH 1:* (UID)",
			">* 1 FETCH (UID 1)\r\n* 2 FETCH (UID 2)\r\n* 3 FETCH (UID 3)\r\nC2 OK\r\n",
			"<C3 EXAMINE \"y\"", ">* 0 EXISTS\r\n* OK [UIDVALIDITY 9]\r\nC3 OK\r\n"));
	assert_int_equal(peer.source->ops->rows(peer.session, 1, UINT32_MAX, SOURCE_COLUMNS_UID,
				 stop_at_two, &count, &skipped, &peer.error),
		-ENOSPC);
	assert_int_equal(count, 2);
	assert_true(peer.error.scope != SOURCE_SCOPE_ACCOUNT);
	assert_int_equal(session_select(&peer, "y", &box), 0);
	peer_finish(&peer);
}

static void expect_rows_fail(
	const char *first, const char *second, enum source_scope scope, const char *words)
{
	struct peer peer;
	struct str got = STR_INIT;
	unsigned skipped = 99;
	session_open(
		&peer, SCRIPT(GREETING(""), OPEN, "<C2 UID FETCH 1:* (UID FLAGS)", first, second));
	assert_int_equal(peer.source->ops->rows(peer.session, 1, UINT32_MAX, SOURCE_COLUMNS_FLAGS,
				 note_row, &got, &skipped, &peer.error),
		-EIO);
	assert_int_equal(peer.error.scope, scope);
	if (!strstr(peer.error.text, words))
		fail_msg("'%s' is not in '%s'", words, peer.error.text);
	assert_int_equal(skipped, 99);
	str_finish(&got);
	peer_finish(&peer);
}

static void test_rows_fail(void **state)
{
	(void)state;
	expect_rows_fail(">* 1 FETCH (UID 1 FLAGS ())\r\n", "!", SOURCE_SCOPE_ACCOUNT, "closed");
	expect_rows_fail(
		">* 1 FETCH (UID 1 FLAGS ({100}\r\nhalf", "!", SOURCE_SCOPE_ACCOUNT, "closed");
	expect_rows_fail(">* 1 FETCH (UID 1 FLAGS ())\r\n", ">* BYE restart\r\n",
		SOURCE_SCOPE_ACCOUNT, "restart");
	expect_rows_fail(">* 1 FETCH (UID 1 FLAGS ())\r\n", ">C2 NO [SERVERBUG] oops\r\n",
		SOURCE_SCOPE_MAILBOX, "oops");
	expect_rows_fail(">* 1 FETCH (UID 1 FLAGS ())\r\n",
		">* 0 EXISTS\r\n* OK [UIDVALIDITY 8] x\r\nC2 OK\r\n", SOURCE_SCOPE_MAILBOX,
		"identity");
	expect_rows_fail(">* 1 FETCH (UID 1 FLAGS ({4294967301}\r\n", "*100000 x",
		SOURCE_SCOPE_ACCOUNT, "limit");
	expect_rows_fail(">* 1 FETCH (UID 1 FLAGS ({99999999999999999999999}\r\n", "*1 x",
		SOURCE_SCOPE_ACCOUNT, "understood");
	expect_rows_fail(
		">* 1 FETCH (", "*2000000 0123456789abcdef", SOURCE_SCOPE_ACCOUNT, "limit");
	expect_rows_fail(
		"*200000 * 1 FETCH (FLAGS ())\r\n", "#0", SOURCE_SCOPE_ACCOUNT, "more responses");
}

/* --- Structures --- */

static int note_structure(void *arg, uint32_t uid, const struct mime_part *structure)
{
	str_printf(arg, "%u %s%s\n", uid, structure ? structure->subtype : "-",
		structure && mime_part_cuts(structure) ? " cut" : "");
	return 0;
}

static void test_structures(void **state)
{
	static const uint32_t uids[] = {1, 2, 3, 5, 7, 8, 9};
	struct peer peer;
	struct str got = STR_INIT;
	(void)state;
	session_open(&peer,
		SCRIPT(GREETING(""), OPEN, "<C2 UID FETCH 1:3,5,7:9 (UID BODYSTRUCTURE)",
			">* 1 FETCH (UID 1 BODYSTRUCTURE (\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1))\r\n"
			"* 2 FETCH (UID 2 FLAGS ())\r\n* 2 FETCH (FLAGS ())\r\n"
			"* 3 FETCH (BODYSTRUCTURE ((\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1) \"mixed\") UID 3)\r\n"
			"* 4 FETCH (UID 4 BODYSTRUCTURE (\"not\" \"asked\" NIL NIL NIL \"7bit\" 1 1))\r\n"
			"* 5 FETCH (UID 5 BODYSTRUCTURE NIL)\r\n"
			"* 6 FETCH (UID 7 BODYSTRUCTURE ((((\r\n",
			">* 7 FETCH (UID 8 BODYSTRUCTURE ", "*100000 (", "*100000 )",
			">)\r\nC2 OK\r\n"));
	assert_int_equal(peer.source->ops->structures(
				 peer.session, uids, 7, note_structure, &got, &peer.error),
		0);
	assert_string_equal(str_cstr(&got), "1 plain\n3 mixed\n5 -\n7 -\n8 mixed cut\n");
	str_finish(&got);
	peer_finish(&peer);
}

/* One that is too long to be held is told as far as it is. */
static void test_structure_long(void **state)
{
#define NAME_50  "a name of some length, so that there are few parts "
#define NAME_500 NAME_50 NAME_50 NAME_50 NAME_50 NAME_50 NAME_50 NAME_50 NAME_50 NAME_50 NAME_50
	/* Of the first the words are too many, of the other the bytes. */
	static const char *const parts[] = {"*200000 (\"a\" \"b\" (\"name\" \"" NAME_50
					    "\") NIL NIL \"7bit\" 5)",
		"*20000 (\"a\" \"b\" (\"name\" \"" NAME_500 NAME_500 "\") NIL NIL \"7bit\" 5)"};
	static const uint32_t uids[] = {8, 9};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct peer peer;
		struct str got = STR_INIT;
		session_open(&peer,
			SCRIPT(GREETING(""), OPEN, "<C2 UID FETCH 8:9 (UID BODYSTRUCTURE)",
				">* 7 FETCH (UID 8 BODYSTRUCTURE (", parts[i],
				">\"mixed\"))\r\n* 8 FETCH (UID 9 BODYSTRUCTURE (\"text\" \"plain\" NIL NIL NIL \"7bit\" 1 1))\r\nC2 OK\r\n"));
		assert_int_equal(peer.source->ops->structures(
					 peer.session, uids, 2, note_structure, &got, &peer.error),
			0);
		assert_string_equal(str_cstr(&got), "8 mixed cut\n9 plain\n");
		str_finish(&got);
		peer_finish(&peer);
	}
}

/* A structure beyond all limits costs the connection. Whoever asked for it alone need not ask again. */
static void test_structure_too_long(void **state)
{
	static const uint32_t uids[] = {8, 9};
	(void)state;
	for (size_t count = 1; count <= 2; count++) {
		struct peer peer;
		struct str got = STR_INIT;
		session_open(&peer,
			SCRIPT(GREETING(""), OPEN,
				count == 1 ? "<C2 UID FETCH 8 (UID BODYSTRUCTURE)"
					   : "<C2 UID FETCH 8:9 (UID BODYSTRUCTURE)",
				">* 7 FETCH (UID 8 BODYSTRUCTURE (", "*9000000 (NIL NIL)", "#0"));
		assert_int_equal(peer.source->ops->structures(peer.session, uids, count,
					 note_structure, &got, &peer.error),
			-EIO);
		assert_int_equal(peer.error.scope, SOURCE_SCOPE_ACCOUNT);
		assert_string_equal(str_cstr(&got), count == 1 ? "8 -\n" : "");
		str_finish(&got);
		peer_finish(&peer);
	}
}

/* --- Bodies --- */

struct body_case {
	const char *section;
	uint64_t offset, length, limit;
	const char *command, *answer;
	int result;
	const char *want; /* content, or words of the error */
	enum source_scope scope;
};

static void expect_body(const struct body_case *c)
{
	struct peer peer;
	struct str got = STR_INIT;
	str_append_cstr(&got, "before:");
	session_open(&peer, SCRIPT(GREETING(""), OPEN, c->command, c->answer));
	int r = peer.source->ops->body(
		peer.session, 5, c->section, c->offset, c->length, c->limit, &got, &peer.error);
	if (r != c->result)
		fail_msg("%d instead of %d for %s", r, c->result, c->answer);
	if (r == 0) {
		assert_string_equal(got.data + 7, c->want);
	} else {
		assert_string_equal(got.data, "before:");
		assert_int_equal(peer.error.err, r);
		assert_int_equal(peer.error.scope, c->scope);
		if (!strstr(peer.error.text, c->want))
			fail_msg("'%s' is not in '%s'", c->want, peer.error.text);
	}
	str_finish(&got);
	peer_finish(&peer);
}

#define WHOLE "<C2 UID FETCH 5 (UID BODY.PEEK[]<0.101>)"
#define RANGE "<C2 UID FETCH 5 (UID BODY.PEEK[1.2]<10.4>)"

static void test_body_good(void **state)
{
	static const struct body_case cases[] = {
		{"", 0, 0, 100, WHOLE, ">* 1 FETCH (UID 5 BODY[]<0> {5}\r\nab\r\nc)\r\nC2 OK\r\n",
			0, "ab\r\nc", 0},
		{"", 0, 0, 100, WHOLE, ">* 1 FETCH (UID 5 BODY[] {5}\r\nab\r\nc)\r\nC2 OK\r\n", 0,
			"ab\r\nc", 0},
		{"", 0, 0, 100, WHOLE, ">* 1 FETCH (BODY[]<0> ~{2}\r\nab UID 5)\r\nC2 OK\r\n", 0,
			"ab", 0},
		{"", 0, 0, 100, WHOLE, ">* 1 FETCH (UID 5 BODY[]<0> \"a\\\\b\")\r\nC2 OK\r\n", 0,
			"a\\b", 0},
		{"", 0, 0, 100, WHOLE, ">* 1 FETCH (UID 5 BODY[]<0> \"\")\r\nC2 OK\r\n", 0, "", 0},
		{"", 0, 0, 0, "<C2 UID FETCH 5 (UID BODY.PEEK[])",
			">* 1 FETCH (UID 5 BODY[] {1}\r\nx)\r\nC2 OK\r\n", 0, "x", 0},
		{"1.2", 10, 4, 0, RANGE,
			">* 1 FETCH (UID 5 BODY[1.2]<10> {4}\r\nabcd)\r\nC2 OK\r\n", 0, "abcd", 0},
		{"1.2", 10, 4, 0, RANGE, ">* 1 FETCH (UID 5 BODY[1.2]<10> {2}\r\nab)\r\nC2 OK\r\n",
			0, "ab", 0},
		{"2.HEADER", 0, 4, 0, "<C2 UID FETCH 5 (UID BODY.PEEK[2.HEADER]<0.4>)",
			">* 1 FETCH (UID 5 body[2.header]<0> {1}\r\nx)\r\nC2 OK\r\n", 0, "x", 0},
		/* another message's, another section's, and changes of flags in between */
		{"1.2", 10, 4, 0, RANGE,
			">* 9 FETCH (UID 6 BODY[1.2]<10> {1}\r\nz)\r\n* 1 FETCH (UID 5 BODY[1]<10> {1}\r\ny)\r\n* 1 FETCH (FLAGS (\\Seen))\r\n"
			"* 1 FETCH (UID 5 BODY[1.2]<10> {1}\r\nx)\r\nC2 OK\r\n",
			0, "x", 0},
		/* a server that does not know partial fetches */
		{"1.2", 10, 4, 0, RANGE,
			">* 1 FETCH (UID 5 BODY[1.2] {16}\r\n0123456789abcdef)\r\nC2 OK\r\n", 0,
			"abcd", 0},
		{"1.2", 10, 4, 0, RANGE,
			">* 1 FETCH (UID 5 BODY[1.2] {12}\r\n0123456789ab)\r\nC2 OK\r\n", 0, "ab",
			0},
		{"1.2", 10, 4, 0, RANGE,
			">* 1 FETCH (UID 5 BODY[1.2] {8}\r\n01234567)\r\nC2 OK\r\n", 0, "", 0},
	};
	(void)state;
	quirk_forget();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_body(&cases[i]);
	assert_int_equal(quirk_count(QUIRK_RANGES_UNKNOWN), 3);
}

static void test_body_bad(void **state)
{
	static const struct body_case cases[] = {
		{"", 0, 0, 100, WHOLE, ">C2 OK nothing\r\n", -ENOENT, "not there",
			SOURCE_SCOPE_MESSAGE},
		{"", 0, 0, 100, WHOLE, ">* 1 FETCH (UID 6 BODY[]<0> {1}\r\nx)\r\nC2 OK\r\n",
			-ENOENT, "not there", SOURCE_SCOPE_MESSAGE},
		{"", 0, 0, 100, WHOLE, ">* 1 FETCH (UID 5 FLAGS ())\r\nC2 OK\r\n", -ENOENT,
			"not there", SOURCE_SCOPE_MESSAGE},
		{"", 0, 0, 100, WHOLE, ">C2 NO [EXPUNGEISSUED] gone\r\n", -ENOENT, "gone",
			SOURCE_SCOPE_MESSAGE},
		{"", 0, 0, 100, WHOLE, ">C2 NO [NONEXISTENT] gone\r\n", -ENOENT, "gone",
			SOURCE_SCOPE_MESSAGE},
		{"", 0, 0, 100, WHOLE, ">C2 NO [SERVERBUG] oops\r\n", -EIO, "oops",
			SOURCE_SCOPE_MESSAGE},
		{"", 0, 0, 100, WHOLE, ">C2 BAD no\r\n", -EIO, "no", SOURCE_SCOPE_MESSAGE},
		/* bytes, and then a refusal: no bytes */
		{"", 0, 0, 100, WHOLE, ">* 1 FETCH (UID 5 BODY[]<0> {2}\r\nab)\r\nC2 NO failed\r\n",
			-EIO, "failed", SOURCE_SCOPE_MESSAGE},
		{"", 0, 0, 100, WHOLE, ">* 1 FETCH (UID 5 BODY[]<0> NIL)\r\nC2 OK\r\n", -EIO,
			"nothing", SOURCE_SCOPE_MESSAGE},
		{"", 0, 0, 100, WHOLE, ">* 1 FETCH (UID 5 BODY[]<0> atom)\r\nC2 OK\r\n", -EIO,
			"fit", SOURCE_SCOPE_MESSAGE},
		{"", 0, 0, 100, WHOLE, ">* 1 FETCH (UID 5 BODY[]<0> (a b))\r\nC2 OK\r\n", -EIO,
			"fit", SOURCE_SCOPE_MESSAGE},
		{"", 0, 0, 100, WHOLE, ">* 1 FETCH (UID 5 BODY[]<0>)\r\nC2 OK\r\n", -EIO, "fit",
			SOURCE_SCOPE_MESSAGE},
		{"", 0, 0, 100, WHOLE, ">* 1 FETCH (UID 5 BODY[]<0> {2}\r\nab\r\nC2 OK\r\n", -EIO,
			"fit", SOURCE_SCOPE_MESSAGE},
		{"1.2", 10, 4, 0, RANGE, ">* 1 FETCH (UID 5 BODY[1.2]<11> {2}\r\nab)\r\nC2 OK\r\n",
			-EIO, "fit", SOURCE_SCOPE_MESSAGE},
		{"1.2", 10, 4, 0, RANGE, ">* 1 FETCH (UID 5 BODY[1.2]<0> {2}\r\nab)\r\nC2 OK\r\n",
			-EIO, "fit", SOURCE_SCOPE_MESSAGE},
		{"1.2", 10, 4, 0, RANGE,
			">* 1 FETCH (UID 5 BODY[1.2]<10> {5}\r\nabcde)\r\nC2 OK\r\n", -EIO, "fit",
			SOURCE_SCOPE_MESSAGE},
		/* no origin, and no longer than the range: it could be either */
		{"1.2", 10, 4, 0, RANGE, ">* 1 FETCH (UID 5 BODY[1.2] {4}\r\nabcd)\r\nC2 OK\r\n",
			-EIO, "fit", SOURCE_SCOPE_MESSAGE},
		/* without a UID: whose? */
		{"1.2", 10, 4, 0, RANGE, ">* 1 FETCH (BODY[1.2]<10> {1}\r\nx)\r\nC2 OK\r\n", -EIO,
			"fit", SOURCE_SCOPE_MESSAGE},
		{"1.2", 10, 4, 0, RANGE,
			">* 1 FETCH (UID 5 BODY[1.2]<10> {1}\r\nx)\r\n* 2 FETCH (BODY[1.2]<10> {1}\r\ny)\r\nC2 OK\r\n",
			-EIO, "fit", SOURCE_SCOPE_MESSAGE},
		/* two of them: which? */
		{"1.2", 10, 4, 0, RANGE,
			">* 1 FETCH (UID 5 BODY[1.2]<10> {1}\r\nx)\r\n* 1 FETCH (UID 5 BODY[1.2]<10> {1}\r\ny)\r\nC2 OK\r\n",
			-EIO, "fit", SOURCE_SCOPE_MESSAGE},
		{"1.2", 10, 4, 0, RANGE,
			">* 1 FETCH (BODY[1.2]<10> {1}\r\nx)\r\n* 2 FETCH (BODY[1.2]<10> {1}\r\ny)\r\nC2 OK\r\n",
			-EIO, "fit", SOURCE_SCOPE_MESSAGE},
		/* longer than its limit, by a byte */
		{"", 0, 0, 3, "<C2 UID FETCH 5 (UID BODY.PEEK[]<0.4>)",
			">* 1 FETCH (UID 5 BODY[]<0> {4}\r\nabcd)\r\nC2 OK\r\n", -EFBIG, "longer",
			SOURCE_SCOPE_MESSAGE},
		/* the connection */
		{"", 0, 0, 100, WHOLE, ">* 1 FETCH (UID 5 BODY[]<0> {4294967295}\r\n", -EIO,
			"limit", SOURCE_SCOPE_ACCOUNT},
		{"", 0, 0, 100, WHOLE, ">* BYE\r\n", -EIO, "ended", SOURCE_SCOPE_ACCOUNT},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_body(&cases[i]);
}

static void test_body_cut_in_literal(void **state)
{
	struct peer peer;
	struct str got = STR_INIT;
	(void)state;
	session_open(&peer,
		SCRIPT(GREETING(""), OPEN, WHOLE, ">* 1 FETCH (UID 5 BODY[]<0> {50}\r\nhalf", "!"));
	assert_int_equal(
		peer.source->ops->body(peer.session, 5, "", 0, 0, 100, &got, &peer.error), -EIO);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_ACCOUNT);
	assert_int_equal(peer.error.retry, SOURCE_RETRY_NOW);
	assert_int_equal(got.len, 0);
	str_finish(&got);
	peer_finish(&peer);
}

/* Nothing that is no section is ever sent. */
static void test_body_arguments(void **state)
{
	static const char *const sections[] = {
		"1]", "a", "HEADER.FIELDS (X)", "1\r\nC9 DELETE INBOX", "1 2"};
	struct peer peer;
	struct str got = STR_INIT;
	(void)state;
	session_open(&peer, SCRIPT(GREETING(""), OPEN));
	for (size_t i = 0; i < sizeof(sections) / sizeof(sections[0]); i++)
		assert_int_equal(peer.source->ops->body(
					 peer.session, 5, sections[i], 0, 5, 0, &got, &peer.error),
			-EINVAL);
	assert_int_equal(
		peer.source->ops->body(peer.session, 0, "", 0, 5, 0, &got, &peer.error), -EINVAL);
	assert_int_equal(peer.source->ops->body(peer.session, 5, "", 7, 0, 0, &got, NULL), -EINVAL);
	str_finish(&got);
	peer_finish(&peer);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows),
		cmocka_unit_test(test_rows_not_asked_for),
		cmocka_unit_test(test_rows_malformed),
		cmocka_unit_test(test_rows_long_header),
		cmocka_unit_test(test_rows_columns),
		cmocka_unit_test(test_rows_stopped),
		cmocka_unit_test(test_rows_fail),
		cmocka_unit_test(test_structures),
		cmocka_unit_test(test_structure_long),
		cmocka_unit_test(test_structure_too_long),
		cmocka_unit_test(test_body_good),
		cmocka_unit_test(test_body_bad),
		cmocka_unit_test(test_body_cut_in_literal),
		cmocka_unit_test(test_body_arguments),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
