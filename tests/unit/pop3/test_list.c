/* SPDX-License-Identifier: MIT */
/* STAT, UIDL and LIST against a scripted server: what they say together, and every way in which they can be wrong. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailfs/util/quirk.h"
#include "script.h"

/* One listing: its entries as "number=uidl:size", divided by "|"; "?" stands for a size that is not known. */
static void describe(const struct maildrop_listing *listing, struct str *out)
{
	for (size_t i = 0; i < listing->count; i++) {
		const struct maildrop_entry *entry = &listing->entries[i];
		str_printf(out, "%s%u=", i > 0 ? "|" : "", entry->number);
		str_append(out, str_cstr(&listing->uidls) + entry->uidl, entry->uidl_len);
		if (entry->size_bytes == UINT64_MAX)
			str_append_cstr(out, ":?");
		else
			str_printf(out, ":%llu", (unsigned long long)entry->size_bytes);
	}
}

static int list(struct client *client, struct maildrop_listing *ret)
{
	return client->maildrop->ops->list(client->session, ret, &client->error);
}

static void expect(const char *const *steps, const char *want, bool doubtful)
{
	struct client client;
	struct maildrop_listing listing;
	_cleanup_str_ struct str have = STR_INIT;
	client_begin(&client, steps);
	if (list(&client, &listing) < 0)
		fail_msg("list: %s", client.error.text);
	describe(&listing, &have);
	if (strcmp(str_cstr(&have), want) != 0)
		fail_msg("'%s', not '%s'", str_cstr(&have), want);
	if (listing.doubtful != doubtful)
		fail_msg("'%s' is %sdoubtful", want, listing.doubtful ? "" : "not ");
	maildrop_listing_finish(&listing);
	client_finish(&client);
}

/* A session's lists: the answers to STAT, UIDL and LIST, each with its status line. */
static void expect_lists(
	const char *stat, const char *uidl, const char *lines, const char *want, bool doubtful)
{
	char steps[3][2000];
	snprintf(steps[0], sizeof(steps[0]), ">%s\r\n", stat);
	snprintf(steps[1], sizeof(steps[1]), ">+OK\r\n%s.\r\n", uidl);
	snprintf(steps[2], sizeof(steps[2]), ">+OK\r\n%s.\r\n", lines);
	expect(SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", steps[0], "<UIDL", steps[1], "<LIST",
		       steps[2]),
		want, doubtful);
	/* pipelined, all in one piece */
	char all[6000];
	snprintf(all, sizeof(all), ">%s\r\n%s%s", stat, steps[1] + 1, steps[2] + 1);
	expect(SCRIPT(PIPELINED, "<CAPA", "<STAT", "<UIDL", "<LIST",
		       ">+OK\r\nUSER\r\nUIDL\r\nPIPELINING\r\n.\r\n", all),
		want, doubtful);
}

static void test_plain_lists(void **state)
{
	(void)state;
	expect_lists("+OK 2 320", "1 abc\r\n2 def\r\n", "1 120\r\n2 200\r\n", "1=abc:120|2=def:200",
		false);
	expect_lists("+OK 0 0", "", "", "", false);
	/* a gap is what DELE leaves behind */
	expect_lists("+OK 2 320", "1 abc\r\n3 def\r\n", "1 120\r\n3 200\r\n", "1=abc:120|3=def:200",
		false);
	/* RFC 1939 allows more behind the size */
	expect_lists("+OK 1 120 octets", "1 abc\r\n", "1 120 octets\r\n", "1=abc:120", false);
}

static void test_odd_uidls(void **state)
{
	char line[400], want[400];
	(void)state;
	expect_lists("+OK 1 9", "1 a b  c \r\n", "1 9\r\n", "1=a b  c :9", false);
	expect_lists("+OK 1 9", " 1 \t abc\r\n", "  1   9  \r\n", "1=abc:9", false);
	expect_lists("+OK 1 9", "1 \xff\x01\x7f.\r\n", "1 9\r\n", "1=\xff\x01\x7f.:9", false);
	expect_lists("+OK 1 9", "1 a\rb\r\n", "1 9\r\n", "1=a\rb:9", false);
	for (int len = 69; len < 300; len += 33) {
		snprintf(line, sizeof(line), "1 %0*d\r\n", len, 7);
		snprintf(want, sizeof(want), "1=%0*d:9", len, 7);
		expect_lists("+OK 1 9", line, "1 9\r\n", want, false);
	}
	/* the same for two messages: told as it is */
	expect_lists("+OK 2 9", "1 abc\r\n2 abc\r\n", "1 4\r\n2 5\r\n", "1=abc:4|2=abc:5", false);
}

static void test_uidl_with_nul(void **state)
{
	struct client client;
	struct maildrop_listing listing;
	(void)state;
	client_begin(&client, SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n", "<UIDL",
				      "%+OK\r\n1 a%b%\r\n.\r\n", "<LIST", ">+OK\r\n1 9\r\n.\r\n"));
	assert_int_equal(list(&client, &listing), 0);
	assert_int_equal(listing.count, 1);
	assert_int_equal(listing.entries[0].uidl_len, 4);
	assert_memory_equal(listing.uidls.data + listing.entries[0].uidl, "a\0b\0", 4);
	maildrop_listing_finish(&listing);
	client_finish(&client);
}

static void test_hostile_numbers(void **state)
{
	static const char *const numbers[] = {"0", "-1", "4294967296", "4294967301",
		"18446744073709551617", "99999999999999999999999999", "x", "1x", "+1", "\xff",
		"1,2"};
	char uidl[200], lines[200];
	(void)state;
	for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++) {
		snprintf(uidl, sizeof(uidl), "1 abc\r\n%s def\r\n2 ghi\r\n", numbers[i]);
		snprintf(lines, sizeof(lines), "1 120\r\n%s 5\r\n2 200\r\n", numbers[i]);
		expect_lists("+OK 2 320", uidl, "1 120\r\n2 200\r\n", "1=abc:120|2=ghi:200", true);
		expect_lists("+OK 2 320", "1 abc\r\n2 ghi\r\n", lines, "1=abc:120|2=ghi:200", true);
	}
	expect_lists(
		"+OK 1 9", "4294967295 abc\r\n", "4294967295 9\r\n", "4294967295=abc:9", false);
}

static void test_lines_without_meaning(void **state)
{
	(void)state;
	expect_lists("+OK 1 9", "\r\n1 abc\r\n", "1 9\r\n", "1=abc:9", true);
	expect_lists("+OK 1 9", "1 abc\r\n", " \r\n1 9\r\n", "1=abc:9", true);
	expect_lists("+OK 1 9", "1 abc\r\n..\r\n", "1 9\r\n", "1=abc:9", true);
	/* a number without anything behind it */
	expect_lists("+OK 1 9", "1\r\n", "1 9\r\n", "1=:9", true);
	expect_lists("+OK 1 9", "1  \r\n", "1 9\r\n", "1=:9", true);
	expect_lists("+OK 1 9", "1 abc\r\n", "1\r\n", "1=abc:?", true);
	expect_lists("+OK 1 9", "1 abc\r\n", "1 -5\r\n", "1=abc:?", true);
	expect_lists("+OK 1 9", "1 abc\r\n", "1 many\r\n", "1=abc:?", true);
	expect_lists("+OK 1 9", "1 abc\r\n", "1 18446744073709551615\r\n", "1=abc:?", true);
	expect_lists("+OK 1 9", "1 abc\r\n", "1 18446744073709551614\r\n",
		"1=abc:18446744073709551614", false);
}

static void test_numbers_twice(void **state)
{
	(void)state;
	expect_lists("+OK 2 9", "1 abc\r\n1 def\r\n2 x\r\n", "1 4\r\n2 5\r\n", "1=:4|2=x:5", true);
	expect_lists(
		"+OK 2 9", "1 abc\r\n2 x\r\n1 abc\r\n", "1 4\r\n2 5\r\n", "1=abc:4|2=x:5", true);
	expect_lists("+OK 2 9", "1 abc\r\n1 def\r\n1 abc\r\n2 x\r\n", "1 4\r\n2 5\r\n",
		"1=:4|2=x:5", true);
	expect_lists("+OK 2 9", "1 abc\r\n2 x\r\n", "1 4\r\n2 5\r\n1 6\r\n", "1=abc:?|2=x:5", true);
}

static void test_not_ascending(void **state)
{
	(void)state;
	expect_lists("+OK 3 9", "3 c\r\n1 a\r\n2 b\r\n", "2 20\r\n3 30\r\n1 10\r\n",
		"1=a:10|2=b:20|3=c:30", false);
}

static void test_contradictions(void **state)
{
	(void)state;
	expect_lists("+OK 2 9", "1 a\r\n2 b\r\n", "1 4\r\n", "1=a:4|2=b:?", true);
	expect_lists("+OK 2 9", "2 b\r\n", "1 4\r\n2 5\r\n", "1=:4|2=b:5", true);
	expect_lists("+OK 3 9", "1 a\r\n2 b\r\n", "2 5\r\n3 6\r\n", "1=a:?|2=b:5|3=:6", true);
	expect_lists("+OK 3 9", "1 a\r\n2 b\r\n", "1 4\r\n2 5\r\n", "1=a:4|2=b:5", true);
	expect_lists("+OK 0 0", "1 a\r\n", "1 4\r\n", "1=a:4", true);
	expect_lists("+OK", "1 a\r\n", "1 4\r\n", "1=a:4", true);
	expect_lists("+OK one", "1 a\r\n", "1 4\r\n", "1=a:4", true);
	expect_lists("+OK -1 4", "1 a\r\n", "1 4\r\n", "1=a:4", true);
}

/* --- What the server can do --- */

static void expect_abilities(
	struct client *client, bool uidl, bool top, bool pipelining, unsigned delay_s, int expire)
{
	struct maildrop_abilities abilities;
	client->maildrop->ops->abilities(client->session, &abilities);
	assert_int_equal(abilities.uidl, uidl);
	assert_int_equal(abilities.top, top);
	assert_int_equal(abilities.pipelining, pipelining);
	assert_int_equal(abilities.login_delay_s, delay_s);
	assert_int_equal(abilities.expire_days, expire);
}

/* CAPA after the login counts. */
static void test_abilities(void **state)
{
	struct client client;
	struct maildrop_listing listing;
	(void)state;
	client_begin(&client,
		SCRIPT(LOGIN(""), "<CAPA",
			">+OK\r\nTOP\r\nUIDL\r\nPIPELINING\r\nLOGIN-DELAY 60\r\nEXPIRE 30\r\n.\r\n",
			"<STAT", ">+OK 0 0\r\n", "<UIDL", ">+OK\r\n.\r\n", "<LIST",
			">+OK\r\n.\r\n"));
	assert_int_equal(list(&client, &listing), 0);
	expect_abilities(&client, true, true, true, 60, 30);
	maildrop_listing_finish(&listing);
	client_finish(&client);
}

/* CAPA that is refused after the login leaves what was said before it. */
static void test_capa_refused_later(void **state)
{
	struct client client;
	struct maildrop_listing listing;
	(void)state;
	client_begin(&client,
		SCRIPT(LOGIN("TOP\r\n"), "<CAPA", ">-ERR\r\n", "<STAT", ">+OK 0 0\r\n", "<UIDL",
			">+OK\r\n.\r\n", "<LIST", ">+OK\r\n.\r\n", "<STAT", ">+OK 0 0\r\n", "<UIDL",
			">+OK\r\n.\r\n", "<LIST", ">+OK\r\n.\r\n"));
	assert_int_equal(list(&client, &listing), 0);
	expect_abilities(&client, true, true, false, 0, -1);
	maildrop_listing_finish(&listing);
	/* and is not asked for again */
	assert_int_equal(list(&client, &listing), 0);
	maildrop_listing_finish(&listing);
	client_finish(&client);
}

static void expect_without_uidl(const char *const *steps, const char *want, bool uidl)
{
	struct client client;
	struct maildrop_listing listing;
	_cleanup_str_ struct str have = STR_INIT;
	client_begin(&client, steps);
	if (list(&client, &listing) < 0)
		fail_msg("list: %s", client.error.text);
	describe(&listing, &have);
	assert_string_equal(str_cstr(&have), want);
	assert_false(listing.doubtful);
	expect_abilities(&client, uidl, false, false, 0, -1);
	maildrop_listing_finish(&listing);
	client_finish(&client);
}

static void test_without_uidl(void **state)
{
	(void)state;
	quirk_forget();
	expect_without_uidl(SCRIPT(LOGIN(""), "<CAPA", ">+OK\r\n.\r\n", "<STAT", ">+OK 1 9\r\n",
				    "<UIDL", ">-ERR what?\r\n", "<LIST", ">+OK\r\n1 9\r\n.\r\n"),
		"1=:9", false);
	/* it has it and does not say so */
	expect_without_uidl(
		SCRIPT(LOGIN(""), "<CAPA", ">+OK\r\n.\r\n", "<STAT", ">+OK 1 9\r\n", "<UIDL",
			">+OK\r\n1 abc\r\n.\r\n", "<LIST", ">+OK\r\n1 9\r\n.\r\n"),
		"1=abc:9", true);
	/* nothing to list is no reason to think that it has none */
	expect_without_uidl(
		SCRIPT(LOGIN(""), "<CAPA", ">+OK\r\nUIDL\r\n.\r\n", "<STAT", ">+OK 0 0\r\n",
			"<UIDL", ">-ERR no messages\r\n", "<LIST", ">-ERR no messages\r\n"),
		"", true);
	assert_int_equal(quirk_count(QUIRK_POP3_NO_UIDL), 1);
}

/* --- Failures --- */

/* The session goes on: the next list is asked for, and answered. */
static void expect_refused(const char *const *steps, const char *words)
{
	struct client client;
	struct maildrop_listing listing;
	client_begin(&client, steps);
	assert_int_equal(list(&client, &listing), -EIO);
	assert_int_equal(client.error.scope, SOURCE_SCOPE_MAILBOX);
	assert_int_equal(client.error.retry, SOURCE_RETRY_LATER);
	if (!strstr(client.error.text, words))
		fail_msg("'%s' is not in '%s'", words, client.error.text);
	assert_int_equal(list(&client, &listing), 0);
	assert_int_equal(listing.count, 1);
	maildrop_listing_finish(&listing);
	client_finish(&client);
}

#define GOOD                                                                                       \
	"<STAT", ">+OK 1 9\r\n", "<UIDL", ">+OK\r\n1 abc\r\n.\r\n", "<LIST", ">+OK\r\n1 9\r\n.\r\n"
#define GOOD_PIPELINED                                                                             \
	"<STAT", "<UIDL", "<LIST", ">+OK 1 9\r\n+OK\r\n1 abc\r\n.\r\n+OK\r\n1 9\r\n.\r\n"

static void test_refused(void **state)
{
	(void)state;
	expect_refused(SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">-ERR closed\r\n", GOOD), "closed");
	expect_refused(SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n", "<UIDL",
			       ">-ERR [SYS/TEMP] later\r\n", GOOD),
		"UIDL failed: the server says: later");
	expect_refused(SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n", "<UIDL",
			       ">+OK\r\n1 abc\r\n.\r\n", "<LIST", ">-ERR no\r\n", GOOD),
		"LIST failed");
	/* the first refusal is told, the other answers are read */
	expect_refused(
		SCRIPT(PIPELINED, "<CAPA", "<STAT", "<UIDL", "<LIST",
			">+OK\r\nPIPELINING\r\nUIDL\r\n.\r\n-ERR one\r\n+OK\r\n1 abc\r\n.\r\n-ERR two\r\n",
			GOOD_PIPELINED),
		"STAT failed: the server says: one");
}

/* The session is over. */
static void expect_broken(
	const char *const *steps, enum source_cause cause, enum source_retry retry)
{
	struct client client;
	struct maildrop_listing listing;
	client_begin(&client, steps);
	assert_true(list(&client, &listing) < 0);
	assert_int_equal(client.error.scope, SOURCE_SCOPE_ACCOUNT);
	if (client.error.cause != cause || client.error.retry != retry)
		fail_msg("%s", client.error.text);
	assert_true(list(&client, &listing) < 0);
	client_finish(&client);
}

/* Neither STAT nor a list says whether there is mail: that is no empty maildrop. Where STAT says it, or no line lies, it is one. */
static void test_nonsense(void **state)
{
	struct client client;
	struct maildrop_listing listing;
	(void)state;
	client_begin(
		&client, SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK three\r\n", "<UIDL",
				 ">+OK\r\nno number\r\n.\r\n", "<LIST", ">+OK\r\nnone\r\n.\r\n"));
	assert_int_equal(list(&client, &listing), -EIO);
	assert_int_equal(client.error.cause, SOURCE_CAUSE_PROTOCOL);
	client_finish(&client);
	expect_lists("+OK 0 0", "none\r\n", "none\r\n", "", true);
	expect_lists("+OK", "", "", "", true);
}

static void test_broken(void **state)
{
	static const char *const answers[] = {">1 abc\r\n", ">* OK\r\n", ">\r\n", ">+ \r\n"};
	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		expect_broken(
			SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n", "<UIDL", answers[i]),
			SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER);
	expect_broken(SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n+OK\r\n.\r\n"),
		SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER);
	expect_broken(SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n", "<UIDL",
			      ">+OK\r\n1 abc\r\n", "!"),
		SOURCE_CAUSE_CONNECT, SOURCE_RETRY_NOW);
}

static void test_long_line(void **state)
{
	char line[5000], steps[5100], want[5100];
	(void)state;
	/* 4096 bytes with the line end, and one more */
	memset(line, 'u', sizeof(line));
	line[4092] = 0;
	snprintf(steps, sizeof(steps), ">+OK\r\n1 %s\r\n.\r\n", line);
	snprintf(want, sizeof(want), "1=%s:9", line);
	expect(SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n", "<UIDL", steps, "<LIST",
		       ">+OK\r\n1 9\r\n.\r\n"),
		want, false);
	line[4092] = 'u';
	line[4093] = 0;
	snprintf(steps, sizeof(steps), ">+OK\r\n1 %s\r\n.\r\n", line);
	expect_broken(SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n", "<UIDL", steps),
		SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER);
	expect_broken(SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n", "<UIDL", ">+OK\r\n",
			      "*1000000 x"),
		SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER);
}

/* An answer without end is ended: by its lines, by the bytes of its unique-ids. */
#define LINES "1 a\r\n0\r\n\r\nx\r\n2 b\r\n1 a\r\n0\r\n\r\nx\r\n2 b\r\n"
#define WIDE                                                                                       \
	"1 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n"

static void test_flood(void **state)
{
	(void)state;
	expect_broken(SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n", "<UIDL", ">+OK\r\n",
			      "*100000000 " LINES LINES LINES LINES),
		SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER);
	expect_broken(SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n", "<UIDL", ">+OK\r\n",
			      "*100000000 " WIDE WIDE WIDE WIDE WIDE WIDE),
		SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER);
}

/* --- Large --- */

#define MANY 100000

static void send_many(struct script_conn *conn)
{
	struct str out = STR_INIT;
	str_printf(&out, "+OK\r\nUIDL\r\n.\r\n+OK %d 9\r\n+OK\r\n", MANY);
	/* the worst order: descending */
	for (int i = MANY; i > 0; i--)
		str_printf(&out, "%d uid-%d\r\n", i, i);
	str_append_cstr(&out, ".\r\n+OK\r\n");
	for (int i = 1; i <= MANY; i++)
		str_printf(&out, "%d %d\r\n", i, i + 1000);
	str_append_cstr(&out, ".\r\n");
	script_send(conn, out.data, out.len);
	str_finish(&out);
}

static void test_many(void **state)
{
	struct client client;
	struct maildrop_listing listing;
	char want[20];
	(void)state;
	client_connect(&client, &(struct client_params){.tls = NET_TLS_NONE, .fn = send_many},
		SCRIPT(PIPELINED, "<CAPA", "<STAT", "<UIDL", "<LIST"));
	assert_int_equal(client.result, 0);
	assert_int_equal(list(&client, &listing), 0);
	assert_int_equal(listing.count, MANY);
	assert_int_equal(listing.messages, MANY);
	assert_false(listing.doubtful);
	for (uint32_t i = 0; i < MANY; i++) {
		const struct maildrop_entry *entry = &listing.entries[i];
		int len = snprintf(want, sizeof(want), "uid-%u", i + 1);
		if (entry->number != i + 1 || entry->size_bytes != i + 1001 ||
			entry->uidl_len != (uint32_t)len ||
			memcmp(listing.uidls.data + entry->uidl, want, (size_t)len) != 0)
			fail_msg("entry %u is wrong", i);
	}
	maildrop_listing_finish(&listing);
	client_finish(&client);
}

/* The last line of SCRAM, which is empty, and the server's OK travel with the lists. */
static void test_behind_scram(void **state)
{
	(void)state;
	expect(SCRIPT(">+OK hi\r\n", "<CAPA",
		       ">+OK\r\nPIPELINING\r\nUIDL\r\nSASL SCRAM-SHA-256\r\n.\r\n", "&right",
		       "<CAPA", "<STAT", "<UIDL", "<LIST",
		       ">+OK\r\nPIPELINING\r\nUIDL\r\n.\r\n+OK 1 9\r\n+OK\r\n1 a\r\n.\r\n+OK\r\n1 9\r\n.\r\n"),
		"1=a:9", false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_behind_scram),
		cmocka_unit_test(test_plain_lists),
		cmocka_unit_test(test_odd_uidls),
		cmocka_unit_test(test_uidl_with_nul),
		cmocka_unit_test(test_hostile_numbers),
		cmocka_unit_test(test_lines_without_meaning),
		cmocka_unit_test(test_numbers_twice),
		cmocka_unit_test(test_not_ascending),
		cmocka_unit_test(test_contradictions),
		cmocka_unit_test(test_abilities),
		cmocka_unit_test(test_capa_refused_later),
		cmocka_unit_test(test_without_uidl),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_nonsense),
		cmocka_unit_test(test_broken),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_flood),
		cmocka_unit_test(test_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
