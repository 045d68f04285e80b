/* SPDX-License-Identifier: MIT */
/* Many messages at a time: in good order, out of order, hostile, and cut. What is cut at each byte: test_bulk_cuts.c. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "bulker.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/quirk.h"
#include "session.h"

#define COMMAND(tag, set)     "<C" #tag " UID FETCH " set " (UID BODY.PEEK[])"
#define PART(tag, uid, range) "<C" #tag " UID FETCH " uid " (UID BODY.PEEK[]<" range ">)"

/* Runs the sets against the steps that follow on login and EXAMINE; the result. */
static pthread_t canceller;

static int run_with(struct bulker *bulker, const struct source_bulk_set *sets, size_t count,
	const char *const *steps, struct source_error *ret_error)
{
	const char *all[40] = {GREETING(""), OPEN};
	size_t n = 0;
	struct peer peer;
	while (all[n])
		n++;
	for (; *steps; steps++)
		all[n++] = *steps;
	bulker->sets = sets;
	bulker->set_count = count;
	session_open(&peer, all);
	bulker->session = peer.session;
	bulker->ops = peer.source->ops;
	struct source_bulk calls = bulker_calls(bulker);
	int r = peer.source->ops->bulk(peer.session, &calls, &peer.error);
	bulker_over(bulker, r);
	*ret_error = peer.error;
	if (bulker->joins)
		pthread_join(canceller, NULL);
	peer_finish(&peer);
	return r;
}

static void expect_run(const struct source_bulk_set *sets, size_t count, const char *const *steps,
	const char *want)
{
	struct bulker bulker = {.refuse = 66};
	struct source_error error;
	int r = run_with(&bulker, sets, count, steps, &error);
	if (r < 0)
		fail_msg("bulk: %s", error.text);
	assert_string_equal(str_cstr(&bulker.log), want);
	str_finish(&bulker.log);
}

static void expect_loss(const struct source_bulk_set *sets, size_t count, const char *const *steps,
	enum source_scope scope, const char *want)
{
	struct bulker bulker = {0};
	struct source_error error;
	assert_true(run_with(&bulker, sets, count, steps, &error) < 0);
	assert_int_equal(error.scope, scope);
	assert_string_equal(str_cstr(&bulker.log), want);
	str_finish(&bulker.log);
}

#define ONE(...) SETS(WHOLE(__VA_ARGS__)), 1

/* --- In good order --- */

static void test_messages(void **state)
{
	(void)state;
	expect_run(ONE(5, 6, 7, 9),
		SCRIPT(COMMAND(2, "5:7,9"),
			">* 1 FETCH (UID 5 BODY[] {3}\r\nabc)\r\n* 4 FETCH (FLAGS (\\Seen) UID 9 BODY[] {0}\r\n)\r\n",
			">* 3 fetch (uid 7 body[] {5+}\r\nx\r\n)y flags ())\r\nC2 OK done\r\n"),
		"[5@0+3 abc][9@0+0 ][7@0+5 x\r\n)y]=0;");
	expect_run(ONE(5), SCRIPT(COMMAND(2, "5"), ">C2 OK nothing\r\n"), "=0;");
	expect_run(NULL, 0, SCRIPT("#0"), "");
}

/* Four go out before the first is answered, the fifth when the first has come. */
static void test_pipeline(void **state)
{
	(void)state;
	const struct source_bulk_set sets[] = {
		WHOLE(5), WHOLE(6, 7), PIECE(5, 2, 4), PIECE(5, 6, 4), WHOLE(8)};
	expect_run(sets, 5,
		SCRIPT(COMMAND(2, "5"), COMMAND(3, "6:7"), PART(4, "5", "2.4"), PART(5, "5", "6.4"),
			">* 1 FETCH (UID 5 BODY[] {1}\r\na)\r\n", COMMAND(6, "8"),
			">C2 OK\r\n* 2 FETCH (UID 6 BODY[] {1}\r\nb)\r\n* 3 FETCH (UID 7 BODY[] {1}\r\nc)\r\nC3 OK\r\n"
			"* 1 FETCH (UID 5 BODY[]<2> {4}\r\ndefg)\r\nC4 OK\r\n* 1 FETCH (UID 5 BODY[]<6> {2}\r\nhi)\r\nC5 OK\r\n"
			"C6 OK\r\n"),
		"[5@0+1 a]=0;[6@0+1 b][7@0+1 c]=0;[5@2+4 defg]=0;[5@6+2 hi]=0;=0;");
}

/* As Dovecot does it: the answer to a set comes behind the messages of the next one. The line is kept full all the same. */
static void test_late_answers(void **state)
{
	(void)state;
	const struct source_bulk_set sets[] = {WHOLE(1), WHOLE(2), WHOLE(3, 30), WHOLE(4), WHOLE(5),
		WHOLE(6), WHOLE(7), WHOLE(8), WHOLE(9)};
	expect_run(sets, 9,
		SCRIPT(COMMAND(2, "1"), COMMAND(3, "2"), COMMAND(4, "3,30"), COMMAND(5, "4"),
			">* 1 FETCH (UID 1 BODY[] {1}\r\na)\r\n", COMMAND(6, "5"),
			">* 2 FETCH (UID 2 BODY[] {1}\r\nb)\r\n", COMMAND(7, "6"),
			">* 3 FETCH (UID 3 BODY[] {1}\r\nc)\r\n* 30 FETCH (UID 30 BODY[] {1}\r\nd)\r\n",
			COMMAND(8, "7"), ">* 4 FETCH (UID 4 BODY[] {1}\r\ne)\r\n", COMMAND(9, "8"),
			/* eight wait for their answers */
			">* 5 FETCH (UID 5 BODY[] {1}\r\nf)\r\n", "#20", ">C2 OK\r\n",
			COMMAND(10, "9"),
			">C3 OK\r\nC4 OK\r\nC5 OK\r\nC6 OK\r\nC7 OK\r\nC8 OK\r\nC9 OK\r\nC10 NO [LIMIT] x\r\n"),
		"[1@0+1 a][2@0+1 b][3@0+1 c][30@0+1 d][4@0+1 e][5@0+1 f]=0;=0;=0;=0;=0;=0;=0;=0;=EIO;");
	/* by turns; the same message twice; a piece of the second before one of the first */
	const struct source_bulk_set turns[] = {WHOLE(5, 6), WHOLE(5, 7)};
	expect_run(turns, 2,
		SCRIPT(COMMAND(2, "5:6"), COMMAND(3, "5,7"),
			">* 7 FETCH (UID 7 BODY[] {1}\r\na)\r\n* 1 FETCH (UID 5 BODY[] {1}\r\nb)\r\n"
			"* 2 FETCH (BODY[] {1}\r\nc UID 6)\r\n* 1 FETCH (UID 5 BODY[] \"d\")\r\n* 1 FETCH (UID 5 BODY[] \"e\")\r\n"
			"C2 OK\r\nC3 OK\r\n"),
		"[7@0+1 a][5@0+1 b][6@0+1 c][5@0+1 d](5@0 again)=0;=0;");
	expect_run(SETS(PIECE(5, 10, 3), PIECE(5, 13, 3)), 2,
		SCRIPT(PART(2, "5", "10.3"), PART(3, "5", "13.3"),
			">* 1 FETCH (UID 5 BODY[]<13> {1}\r\na)\r\n* 1 FETCH (BODY[]<10> {1}\r\nb UID 5)\r\n"
			"* 1 FETCH (UID 5 BODY[]<13> {1}\r\nc)\r\nC2 OK\r\nC3 OK\r\n"),
		"[5@13+1 a][5@10+1 b](5@13 again)=0;=0;");
}

/* Who has nothing at the start is asked again after each message and each answer. */
static void test_asked_again(void **state)
{
	(void)state;
	/* 5:6, and nothing; after 5, 7, and nothing; after 6 nothing; after C2, 8, and nothing more */
	const struct source_bulk_set sets[] = {WHOLE(5, 6), {0}, WHOLE(7), {0}, {0}, WHOLE(8)};
	expect_run(sets, 6,
		SCRIPT(COMMAND(2, "5:6"), ">* 1 FETCH (UID 5 BODY[] {1}\r\na)\r\n", COMMAND(3, "7"),
			">* 2 FETCH (UID 6 BODY[] {1}\r\nb)\r\n", "#20", ">C2 OK\r\n",
			COMMAND(4, "8"),
			">* 3 FETCH (UID 7 BODY[] {1}\r\nc)\r\nC3 OK\r\nC4 OK\r\n"),
		"[5@0+1 a][6@0+1 b]=0;[7@0+1 c]=0;=0;");
}

/* What was not told as the end of a bulk is the session's to go on with. */
static void test_session_goes_on(void **state)
{
	(void)state;
	struct peer peer;
	struct bulker bulker = {.sets = SETS(WHOLE(5), WHOLE(6)), .set_count = 2};
	struct source_bulk calls = bulker_calls(&bulker);
	_cleanup_str_ struct str out = STR_INIT;
	session_open(&peer,
		SCRIPT(GREETING(""), OPEN, COMMAND(2, "5"), COMMAND(3, "6"),
			">C2 NO [LIMIT] slowly\r\n* 2 FETCH (UID 6 BODY[] {1}\r\nb)\r\nC3 BAD no\r\n",
			"<C4 UID FETCH 6 (UID BODY.PEEK[]<0.10>)",
			">* 2 FETCH (UID 6 BODY[]<0> \"b\")\r\nC4 OK\r\n", COMMAND(5, "6"),
			">* 2 FETCH (UID 6 BODY[] {1}\r\nb)\r\nC5 OK\r\n"));
	const struct source_ops *ops = peer.source->ops;
	assert_int_equal(ops->bulk(peer.session, &calls, &peer.error), 0);
	assert_non_null(strstr(str_cstr(&bulker.log), ";[6@0+1 b]=E"));
	assert_int_equal(ops->body(peer.session, 6, "", 0, 10, 0, &out, &peer.error), 0);
	assert_string_equal(str_cstr(&out), "b");
	str_reset(&bulker.log);
	bulker.set_next = 1;
	assert_int_equal(ops->bulk(peer.session, &calls, NULL), 0);
	assert_string_equal(str_cstr(&bulker.log), "[6@0+1 b]=0;");
	str_finish(&bulker.log);
	peer_finish(&peer);
}

/* A set that no command line holds is two commands and one answer, and the next one's tags follow. */
static void test_long_set(void **state)
{
	(void)state;
	uint32_t uids[SOURCE_BULK_UIDS];
	struct str lines[2] = {STR_INIT, STR_INIT};
	for (size_t i = 0; i < SOURCE_BULK_UIDS; i++)
		uids[i] = (uint32_t)(4000000000U + 2 * i);
	for (size_t i = 0, line = 0; i < SOURCE_BULK_UIDS; i++) {
		if (lines[line].len > 0 && lines[line].len >= 7900 - 24 + 17)
			line++;
		if (lines[line].len == 0)
			str_printf(&lines[line], "<C%zu UID FETCH %u", 2 + line, uids[i]);
		else
			str_printf(&lines[line], ",%u", uids[i]);
	}
	str_append_cstr(&lines[0], " (UID BODY.PEEK[])");
	str_append_cstr(&lines[1], " (UID BODY.PEEK[])");
	const struct source_bulk_set sets[] = {
		{.uids = uids, .count = SOURCE_BULK_UIDS, .limit_bytes = 100}, WHOLE(7), WHOLE(8)};
	expect_run(sets, 3,
		SCRIPT(str_cstr(&lines[0]), str_cstr(&lines[1]), COMMAND(4, "7"),
			">* 1 FETCH (UID 4000001998 BODY[] {1}\r\na)\r\nC2 NO x\r\n* 1 FETCH (UID 4000000000 BODY[] {1}\r\nb)\r\n",
			">C3 OK x\r\n", COMMAND(5, "8"), ">C4 OK x\r\nC5 OK x\r\n"),
		"[4000001998@0+1 a][4000000000@0+1 b]=EIO;=0;=0;");
	str_finish(&lines[0]);
	str_finish(&lines[1]);
}

/* --- In other forms, and what was not asked for --- */

#define FORM(answer, want)                                                                         \
	expect_run(ONE(5, 6, 66), SCRIPT(COMMAND(2, "5:6,66"), answer, ">C2 OK x\r\n"), want)

static void test_forms(void **state)
{
	(void)state;
	/* the UID behind it; a quoted string; a literal8 */
	FORM(">* 1 FETCH (BODY[] {3}\r\nabc UID 5)\r\n", "[5@0+3 abc]=0;");
	FORM(">* 1 FETCH (UID 5 BODY[] \"a\\\"b\\\\\")\r\n* 2 FETCH (BODY[] \"\" UID 6)\r\n",
		"[5@0+4 a\"b\\][6@0+0 ]=0;");
	FORM(">* 1 FETCH (UID 5 BODY[] ~{3}\r\nabc)\r\n", "[5@0+3 abc]=0;");
	/* other items with literals around it */
	FORM(">* 1 FETCH (ENVELOPE ({4}\r\nBODY NIL) UID 5 X {2}\r\n)) BODY[] {3}\r\nabc Y {5}\r\n UID )\r\n",
		"[5@0+3 abc]=0;");
	/* blank lines, and news between */
	FORM(">\r\n* 7 EXISTS\r\n* 1 FETCH (UID 5 FLAGS (\\Seen))\r\n* VANISHED 1:3\r\n* OK [ALERT] x\r\n* 1 FETCH (UID 5 BODY[] {1}\r\na)\r\n",
		"[5@0+1 a]=0;");
}

static void test_not_told(void **state)
{
	(void)state;
	FORM(">* 1 FETCH (UID 5 BODY[] NIL)\r\n* 1 FETCH (UID 6 BODY[] (x))\r\n", "=0;");
	/* nobody asked */
	FORM(">* 1 FETCH (UID 4 BODY[] {3}\r\nabc)\r\n* 1 FETCH (UID 0 BODY[] {3}\r\nabc)\r\n",
		"=0;");
	FORM(">* 1 FETCH (BODY[] {3}\r\nabc)\r\n* 1 FETCH (UID 7 BODY[] \"abc\")\r\n", "=0;");
	/* other sections, pieces that were not asked for */
	FORM(">* 1 FETCH (UID 5 BODY[TEXT] {3}\r\nabc)\r\n* 1 FETCH (UID 5 BODY[1] {3}\r\nabc)\r\n"
	     "* 1 FETCH (UID 5 BODY[]<0> {3}\r\nabc)\r\n* 1 FETCH (UID 5 BODY[]< {3}\r\nabc)\r\n"
	     "* 1 FETCH (UID 5 RFC822 {3}\r\nabc)\r\n* 1 FETCH (UID 5 X (BODY[] {3}\r\nabc))\r\n",
		"=0;");
	/* no content, or one behind the list */
	FORM(">* 1 FETCH (UID 5 BODY[]) {3}\r\nabc\r\n* 1 FETCH UID 5 BODY[] {3}\r\nabc\r\n",
		"=0;");
	FORM(">* 1 FETCH (UID 5 BODY[])\r\n* 2 FETCH\r\n* 2 FETCH (\r\n", "=0;");
	FORM(">* SEARCH (UID 5 BODY[] {3}\r\nabc)\r\n* FETCH (UID 5 BODY[] {3}\r\nabc)\r\n", "=0;");
}

static void test_twice(void **state)
{
	(void)state;
	FORM(">* 1 FETCH (UID 5 BODY[] {1}\r\na)\r\n* 1 FETCH (UID 5 BODY[] {1}\r\nb)\r\n* 1 FETCH (UID 5 BODY[] \"c\")\r\n",
		"[5@0+1 a](5@0 again)(5@0 again)=0;");
	/* but not what is something else */
	FORM(">* 1 FETCH (UID 5 BODY[] {1}\r\na)\r\n* 1 FETCH (UID 5 BODY[TEXT] {1}\r\nb FLAGS ())\r\n* 1 FETCH (UID 5 BODY[]<0> {1}\r\nb)\r\n",
		"[5@0+1 a]=0;");
	/* in one response: nobody can say which */
	FORM(">* 1 FETCH (UID 5 BODY[] {1}\r\na BODY[] {1}\r\nb)\r\n", "[5@0+1 a!=0;");
	FORM(">* 1 FETCH (UID 5 BODY[] {1}\r\na BODY[] \"b\")\r\n", "[5@0+1 a!=0;");
	FORM(">* 1 FETCH (BODY[] {1}\r\na BODY[] {1}\r\nb UID 5)\r\n", "=0;");
	/* the same UID in two sets is two questions */
	expect_run(SETS(WHOLE(5), WHOLE(5)), 2,
		SCRIPT(COMMAND(2, "5"), COMMAND(3, "5"),
			">* 1 FETCH (UID 5 BODY[] {1}\r\na)\r\nC2 OK\r\n* 1 FETCH (UID 5 BODY[] {1}\r\nb)\r\nC3 OK\r\n"),
		"[5@0+1 a]=0;[5@0+1 b]=0;");
}

/* What its end contradicts does not count; the next message is as good as ever. */
static void test_contradicted(void **state)
{
	(void)state;
	FORM(">* 1 FETCH (UID 5 BODY[] {1}\r\na UID 6)\r\n* 2 FETCH (UID 6 BODY[] {1}\r\nb)\r\n",
		"[5@0+1 a![6@0+1 b]=0;");
	FORM(">* 1 FETCH (UID 5 BODY[] {3}\r\nabcde)\r\n", "[5@0+3 abc!=0;");
	FORM(">* 1 FETCH (UID 5 BODY[] {3}\r\nabc X)\r\n", "[5@0+3 abc!=0;");
	FORM(">* 1 FETCH (UID 5 BODY[] {3}\r\nabc\r\n", "[5@0+3 abc!=0;");
	FORM(">* 1 FETCH (UID 5 BODY[] {3}\r\nabc))\r\n", "[5@0+3 abc!=0;");
	FORM(">* 1 FETCH (UID 5 BODY[] {3}\r\nabc) x\r\n", "[5@0+3 abc!=0;");
	FORM(">* 1 FETCH (UID 5 BODY[] \"{3}\r\nabc)\r\n", "=0;");
	/* the UID may come later, but must come: until then nothing is told, also where only one was asked for */
	expect_run(ONE(5),
		SCRIPT(COMMAND(2, "5"), ">* 1 FETCH (BODY[] {3}\r\nabc UID 5)\r\nC2 OK\r\n"),
		"[5@0+3 abc]=0;");
	expect_run(ONE(5),
		SCRIPT(COMMAND(2, "5"), ">* 1 FETCH (BODY[] {3}\r\nabc UID 6)\r\nC2 OK\r\n"),
		"=0;");
	expect_run(ONE(5), SCRIPT(COMMAND(2, "5"), ">* 1 FETCH (BODY[] {3}\r\nabc)\r\nC2 OK\r\n"),
		"=0;");
}

static void test_refused_by_caller(void **state)
{
	(void)state;
	FORM(">* 1 FETCH (UID 66 BODY[] {3}\r\nabc)\r\n* 1 FETCH (UID 66 BODY[] {3}\r\nabc)\r\n* 1 FETCH (UID 6 BODY[] {1}\r\nx)\r\n",
		"(66@0 again)[6@0+1 x]=0;");
	FORM(">* 1 FETCH (UID 66 BODY[] \"abc\")\r\n* 1 FETCH (UID 6 BODY[] {1}\r\nx)\r\n",
		"[6@0+1 x]=0;");
}

static void test_pieces(void **state)
{
	(void)state;
	static const struct {
		const char *answer, *want;
	} cases[] = {
		{">* 1 FETCH (UID 5 BODY[]<10> {3}\r\nabc)\r\n", "[5@10+3 abc]=0;"},
		{">* 1 FETCH (UID 5 BODY[]<10> {2}\r\nab)\r\n", "[5@10+2 ab]=0;"},
		{">* 1 FETCH (UID 5 BODY[]<10> \"\")\r\n", "[5@10+0 ]=0;"},
		{">* 1 FETCH (BODY[]<10> {3}\r\nabc UID 5)\r\n", "[5@10+3 abc]=0;"},
		/* another place, more than was asked for, the whole */
		{">* 1 FETCH (UID 5 BODY[]<0> {3}\r\nabc)\r\n", "=0;"},
		{">* 1 FETCH (UID 5 BODY[]<11> {3}\r\nabc)\r\n", "=0;"},
		{">* 1 FETCH (UID 5 BODY[]<10> {4}\r\nabcd)\r\n", "=0;"},
		{">* 1 FETCH (UID 5 BODY[]<10> \"abcd\")\r\n", "=0;"},
		{">* 1 FETCH (UID 5 BODY[] {3}\r\nabc)\r\n", "=0;"},
		{">* 1 FETCH (UID 5 BODY[]<> {3}\r\nabc)\r\n", "=0;"},
		{">* 1 FETCH (UID 5 BODY[]<10.3> {3}\r\nabc)\r\n", "=0;"},
		{">* 1 FETCH (UID 5 BODY[]<10>> {3}\r\nabc)\r\n", "=0;"},
		{">* 1 FETCH (UID 5 BODY[]<18446744073709551626> {3}\r\nabc)\r\n", "=0;"},
		{">* 1 FETCH (UID 6 BODY[]<10> {3}\r\nabc)\r\n", "=0;"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_run(SETS(PIECE(5, 10, 3)), 1,
			SCRIPT(PART(2, "5", "10.3"), cases[i].answer, ">C2 OK\r\n"), cases[i].want);
	/* from the start: what has no origin is still not taken */
	expect_run(SETS(PIECE(5, 0, 3)), 1,
		SCRIPT(PART(2, "5", "0.3"), ">* 1 FETCH (UID 5 BODY[] {2}\r\nab)\r\nC2 OK\r\n"),
		"=0;");
}

/* --- Limits --- */

static long peak_kib(void)
{
	struct rusage use;
	getrusage(RUSAGE_SELF, &use);
	return use.ru_maxrss;
}

/* 100 MB of a message pass through, told in pieces, held in none; and so do those that nobody asked for. */
static void test_large(void **state)
{
	(void)state;
	long before_kib = peak_kib();
	struct bulker bulker = {.quiet = true};
	struct source_error error;
	const struct source_bulk_set sets[] = {
		{.uids = UIDS(5, 6), .count = 2, .limit_bytes = 200 << 20}};
	int r = run_with(&bulker, sets, 1,
		SCRIPT(COMMAND(2, "5:6"), ">* 1 FETCH (UID 5 BODY[] {104857600}\r\n",
			"*6553600 0123456789abcdef", ">)\r\n* 1 FETCH (UID 4 BODY[] {16777216}\r\n",
			"*1048576 0123456789abcdef", ">)\r\n* 1 FETCH (BODY[] {3145728}\r\n",
			"*196608 0123456789abcdef", "> UID 6)\r\n* 1 FETCH (UID 6 X {1048576}\r\n",
			"*65536 0123456789abcdef",
			"> BODY[] {16}\r\n0123456789abcdef)\r\nC2 OK\r\n"),
		&error);
	assert_int_equal(r, 0);
	assert_int_equal(bulker.messages, 2);
	assert_int_equal(bulker.told_bytes, 16);
	assert_string_equal(str_cstr(&bulker.log), "=0;");
	assert_true(peak_kib() - before_kib < 16384);
	assert_true(bulker.largest > 4096);
	str_finish(&bulker.log);
}

/* Nor does a message that is larger than what may come of anything else. */
static void test_larger(void **state)
{
	(void)state;
	struct bulker bulker = {.quiet = true};
	struct source_error error;
	const struct source_bulk_set set = {.uids = UIDS(5), .count = 1, .limit_bytes = 300 << 20};
	int r = run_with(&bulker, &set, 1,
		SCRIPT(COMMAND(2, "5"), ">* 1 FETCH (UID 5 BODY[] {285212672}\r\n",
			"*17825792 0123456789abcdef", ">)\r\nC2 OK\r\n"),
		&error);
	if (r < 0)
		fail_msg("bulk: %s", error.text);
	assert_int_equal(bulker.told_bytes, 285212672);
	assert_string_equal(str_cstr(&bulker.log), "=0;");
	str_finish(&bulker.log);
}

/* A server that writes the UID last is believed as any other, up to what is asked for at once. */
static void test_uid_last(void **state)
{
	(void)state;
	struct bulker bulker = {.quiet = true};
	struct source_error error;
	const struct source_bulk_set sets[] = {
		{.uids = UIDS(5), .count = 1, .offset = 7, .length = 2 << 20},
		{.uids = UIDS(6), .count = 1, .limit_bytes = 1 << 20}};
	quirk_forget();
	int r = run_with(&bulker, sets, 2,
		SCRIPT(PART(2, "5", "7.2097152"), COMMAND(3, "6"),
			">* 1 FETCH (BODY[]<7> {2097152}\r\n", "*131072 0123456789abcdef",
			"> FLAGS () UID 5)\r\nC2 OK\r\n* 2 FETCH (UID 6 BODY[] {1}\r\na)\r\nC3 OK\r\n"),
		&error);
	assert_int_equal(r, 0);
	assert_int_equal(bulker.messages, 2);
	assert_string_equal(str_cstr(&bulker.log), "=0;=0;");
	assert_int_equal(quirk_count(QUIRK_UID_LAST), 1);
	str_finish(&bulker.log);
}

static void test_limits(void **state)
{
	(void)state;
	/* a little more than there can be is passed over, much more costs the connection */
	const struct source_bulk_set sets[] = {{.uids = UIDS(5, 6), .count = 2, .limit_bytes = 2}};
	expect_run(sets, 1,
		SCRIPT(COMMAND(2, "5:6"),
			">* 1 FETCH (UID 5 BODY[] {3}\r\nabc)\r\n* 1 FETCH (UID 6 BODY[] {2}\r\nab)\r\nC2 OK\r\n"),
		"[6@0+2 ab]=0;");
	expect_loss(sets, 1, SCRIPT(COMMAND(2, "5:6"), ">* 1 FETCH (UID 5 BODY[] {1000000}\r\n"),
		SOURCE_SCOPE_ACCOUNT, "");
	expect_loss(sets, 1,
		SCRIPT(COMMAND(2, "5:6"), ">* 1 FETCH (UID 5 BODY[] {99999999999999999999}\r\n"),
		SOURCE_SCOPE_ACCOUNT, "");
	expect_loss(sets, 1, SCRIPT(COMMAND(2, "5:6"), ">* 1 FETCH (UID 5 BODY[] {-1}\r\n"),
		SOURCE_SCOPE_ACCOUNT, "");
	/* lines and literals without end, before and behind a content */
	expect_loss(sets, 1,
		SCRIPT(COMMAND(2, "5:6"), ">* 1 FETCH (UID 5 ", "*200000 ABCDEFGHIJKL"),
		SOURCE_SCOPE_ACCOUNT, "");
	expect_loss(sets, 1,
		SCRIPT(COMMAND(2, "5:6"), ">* 1 FETCH (UID 5 BODY[] {1}\r\na ",
			"*200000 ABCDEFGHIJKL"),
		SOURCE_SCOPE_ACCOUNT, "[5@0+1 a!");
	expect_loss(sets, 1,
		SCRIPT(COMMAND(2, "5:6"), ">* 1 FETCH (UID 5 BODY[] {1}\r\na", "*100  X {1}\r\na"),
		SOURCE_SCOPE_ACCOUNT, "[5@0+1 a!");
	expect_loss(sets, 1, SCRIPT(COMMAND(2, "5:6"), "*300000 * 1 FETCH (FLAGS ())\r\n"),
		SOURCE_SCOPE_ACCOUNT, "");
	/* a VANISHED of megabytes is news that nobody holds */
	expect_run(sets, 1,
		SCRIPT(COMMAND(2, "5:6"), ">* VANISHED 1", "*400000 ,1000000000",
			">\r\n* 1 FETCH (UID 6 BODY[] {2}\r\nab)\r\nC2 OK\r\n"),
		"[6@0+2 ab]=0;");
}

/* --- Answers --- */

static void test_answers(void **state)
{
	(void)state;
	const struct source_bulk_set sets[] = {WHOLE(5), WHOLE(6)};
#define BOTH(...) sets, 2, SCRIPT(COMMAND(2, "5"), COMMAND(3, "6"), __VA_ARGS__)
	/* what came of a refused set counts */
	expect_run(
		BOTH(">* 1 FETCH (UID 5 BODY[] {1}\r\na)\r\nC2 NO [EXPUNGEISSUED] gone\r\nC3 OK\r\n"),
		"[5@0+1 a]=ENOENT;=0;");
	expect_loss(BOTH(">C3 OK\r\nC2 OK\r\n"), SOURCE_SCOPE_ACCOUNT, "");
	expect_loss(BOTH(">C2 OK\r\nC2 OK\r\n"), SOURCE_SCOPE_ACCOUNT, "=0;");
	expect_loss(BOTH(">C2 OK\r\nC4 OK\r\n"), SOURCE_SCOPE_ACCOUNT, "=0;");
	expect_loss(BOTH(">C2 OK\r\nX OK\r\n"), SOURCE_SCOPE_ACCOUNT, "=0;");
	expect_loss(BOTH(">+ go on\r\n"), SOURCE_SCOPE_ACCOUNT, "");
	expect_loss(BOTH(">what?\r\n"), SOURCE_SCOPE_ACCOUNT, "");
	expect_loss(BOTH(">C2 OK\r\n* BYE enough\r\n"), SOURCE_SCOPE_ACCOUNT, "=0;");
	/* another mailbox under the same name: nothing more is told, and the connection stays */
	expect_loss(
		BOTH(">* 1 FETCH (UID 5 BODY[] {1}\r\na)\r\n* OK [UIDVALIDITY 8] x\r\nC2 OK\r\n* 1 FETCH (UID 6 BODY[] {1}\r\nb)\r\nC3 OK\r\n"),
		SOURCE_SCOPE_MAILBOX, "[5@0+1 a]=EIO;=EIO;");
#undef BOTH
}

/* Sets that are none are answered in their turn and cost nothing else. */
static void test_invalid_sets(void **state)
{
	(void)state;
	const struct source_bulk_set sets[] = {WHOLE(5), WHOLE(0, 1), WHOLE(7, 7), WHOLE(9, 8),
		{.uids = UIDS(5, 6), .count = 2, .length = 5},
		{.uids = UIDS(5), .count = 1, .offset = 5},
		{.uids = UIDS(5), .count = 1, .length = UINT64_C(1) << 32},
		{.uids = UIDS(5), .count = SOURCE_BULK_UIDS + 1}, WHOLE(6)};
	expect_run(sets, 9,
		SCRIPT(COMMAND(2, "5"), ">* 1 FETCH (UID 5 BODY[] {1}\r\na)\r\nC2 OK\r\n",
			COMMAND(3, "6"), ">* 1 FETCH (UID 6 BODY[] {1}\r\na)\r\nC3 OK\r\n"),
		"[5@0+1 a]=0;=EINVAL;=EINVAL;=EINVAL;=EINVAL;=EINVAL;=EINVAL;=EINVAL;[6@0+1 a]=0;");
}

static void test_no_folder(void **state)
{
	(void)state;
	struct peer peer;
	struct bulker bulker = {0};
	struct source_bulk calls = bulker_calls(&bulker);
	session_begin(&peer, SCRIPT(GREETING("")));
	assert_int_equal(peer.source->ops->bulk(peer.session, &calls, &peer.error), -EIO);
	assert_int_equal(bulker.asked, 0);
	peer_finish(&peer);
}

/* --- Ends --- */

static void test_cuts(void **state)
{
	(void)state;
	expect_loss(ONE(5), SCRIPT(COMMAND(2, "5"), ">* 1 FETCH (UID 5 BODY[] {10}\r\nabc", "!"),
		SOURCE_SCOPE_ACCOUNT, "[5@0+10 abc?");
	expect_loss(ONE(5, 6),
		SCRIPT(COMMAND(2, "5:6"), ">* 1 FETCH (UID 5 BODY[] {3}\r\nabc)\r\n", "!"),
		SOURCE_SCOPE_ACCOUNT, "[5@0+3 abc]");
	expect_loss(ONE(5), SCRIPT(COMMAND(2, "5"), ">* 1 FETCH (UID 5 BODY[] {3}\r\nabc)", "!"),
		SOURCE_SCOPE_ACCOUNT, "[5@0+3 abc?");
}

static void cancel_now(struct bulker *bulker)
{
	bulker->ops->cancel(bulker->session);
}

static void *cancel_later(void *arg)
{
	struct bulker *bulker = arg;
	usleep(100000);
	bulker->ops->cancel(bulker->session);
	return NULL;
}

static void start_canceller(struct bulker *bulker)
{
	bulker->at_data = NULL;
	bulker->joins = true;
	assert_int_equal(pthread_create(&canceller, NULL, cancel_later, bulker), 0);
}

/* In the middle of a literal, of one that comes and of one that does not. */
static void test_cancel(void **state)
{
	(void)state;
	struct bulker bulker = {.at_data = cancel_now};
	struct source_error error;
	int64_t begun_ms = clock_now_ms();
	assert_true(run_with(&bulker, ONE(5),
			    SCRIPT(COMMAND(2, "5"), ">* 1 FETCH (UID 5 BODY[] {1000000}\r\n",
				    "*1000000 a"),
			    &error) < 0);
	assert_int_equal(error.scope, SOURCE_SCOPE_CANCELLED);
	assert_true(bulker.told_bytes <= 65536);
	str_finish(&bulker.log);
	bulker = (struct bulker){.at_data = start_canceller};
	assert_true(run_with(&bulker, ONE(5),
			    SCRIPT(COMMAND(2, "5"), ">* 1 FETCH (UID 5 BODY[] {1000000}\r\na"),
			    &error) < 0);
	assert_int_equal(error.scope, SOURCE_SCOPE_CANCELLED);
	str_finish(&bulker.log);
	assert_true(clock_now_ms() - begun_ms < 3000);
}

/* --- Time --- */

static void take_long(struct bulker *bulker)
{
	(void)bulker;
	usleep(550000);
}

static int run_timed(struct bulker *bulker, int timeout_ms, const char *const *steps)
{
	struct peer peer;
	session_open(&peer, steps);
	peer.source->ops->set_timeout(peer.session, timeout_ms);
	struct source_bulk calls = bulker_calls(bulker);
	int r = peer.source->ops->bulk(peer.session, &calls, &peer.error);
	str_finish(&bulker->log);
	peer_finish(&peer);
	return r;
}

/* The time-out is that of a silence, not of the whole; and not of our own side. */
static void test_time(void **state)
{
	(void)state;
	struct source_bulk_set set = WHOLE(5);
	struct bulker bulker = {.sets = &set, .set_count = 1};
	assert_int_equal(run_timed(&bulker, 200,
				 SCRIPT(GREETING(""), OPEN, COMMAND(2, "5"),
					 ">* 1 FETCH (UID 5 BODY[] {10}\r\nabc")),
		-ETIMEDOUT);
	bulker = (struct bulker){.sets = &set, .set_count = 1};
	assert_int_equal(
		run_timed(&bulker, 700,
			SCRIPT(GREETING(""), OPEN, COMMAND(2, "5"),
				">* 1 FETCH (UID 5 BODY[] {4000}\r\n", "*1000 a", "#200", "*1000 a",
				"#200", "*1000 a", "#200", "*1000 a", "#200", ">)\r\nC2 OK\r\n")),
		0);
	bulker = (struct bulker){.sets = &set, .set_count = 1, .at_data = take_long};
	assert_int_equal(
		run_timed(&bulker, 500,
			SCRIPT(GREETING(""), OPEN, COMMAND(2, "5"),
				">* 1 FETCH (UID 5 BODY[] {1}\r\na", "#600", ">)\r\nC2 OK\r\n")),
		0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_pipeline),
		cmocka_unit_test(test_late_answers),
		cmocka_unit_test(test_asked_again),
		cmocka_unit_test(test_session_goes_on),
		cmocka_unit_test(test_long_set),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_not_told),
		cmocka_unit_test(test_twice),
		cmocka_unit_test(test_contradicted),
		cmocka_unit_test(test_refused_by_caller),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_larger),
		cmocka_unit_test(test_uid_last),
		cmocka_unit_test(test_limits),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_invalid_sets),
		cmocka_unit_test(test_no_folder),
		cmocka_unit_test(test_cuts),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_time),
	};
	return cmocka_run_group_tests_name("imap_bulk", tests, NULL, NULL);
}
