/* SPDX-License-Identifier: MIT */
/* Status lines, what a refusal means, and CAPA's lines. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "mailfs/util/quirk.h"
#include "private.h"

static struct pop3_slice slice(const char *text)
{
	return (struct pop3_slice){text, strlen(text)};
}

static struct pop3_reply parse(const char *line)
{
	struct pop3_reply reply;
	if (pop3_reply_parse(slice(line), &reply) < 0)
		fail_msg("not understood: %s", line);
	return reply;
}

static void test_status(void **state)
{
	(void)state;
	quirk_forget();
	assert_int_equal(parse("+OK").status, POP3_OK);
	assert_int_equal(parse("+OK 2 320").status, POP3_OK);
	assert_int_equal(parse("+ok").status, POP3_OK);
	assert_int_equal(parse("-ERR").status, POP3_ERR);
	assert_int_equal(parse("+").status, POP3_CONTINUE);
	assert_int_equal(parse("+ ").status, POP3_CONTINUE);
	assert_int_equal(parse("+ abc").status, POP3_CONTINUE);
	assert_string_equal(parse("+OK  hello  you").words, "hello  you");
	assert_string_equal(parse("-ERR [AUTH] no").words, "no");
	assert_string_equal(parse("-ERR [AUTH no").words, "[AUTH no");
	/* a code of +OK is text */
	assert_string_equal(parse("+OK [x] y").words, "[x] y");
	assert_int_equal(quirk_count(QUIRK_POP3_EMPTY_CHALLENGE), 1);
}

static void test_not_a_status(void **state)
{
	static const char *const lines[] = {
		"", "OK", "-", "-ER", "+O", "+x", "ERR", "* OK", " +OK", "220 smtp", "."};
	struct pop3_reply reply;
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_int_equal(pop3_reply_parse(slice(lines[i]), &reply), -EPROTO);
}

static void test_long_words_are_cut(void **state)
{
	char line[1000];
	(void)state;
	memset(line, 'x', sizeof(line));
	memcpy(line, "-ERR ", 5);
	struct pop3_reply reply;
	assert_int_equal(pop3_reply_parse((struct pop3_slice){line, sizeof(line)}, &reply), 0);
	assert_int_equal(strlen(reply.words), sizeof(reply.words) - 1);
}

static void test_login_refused(void **state)
{
	static const struct {
		const char *line;
		enum source_cause cause;
		enum source_retry retry;
	} cases[] = {
		{"-ERR invalid password", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER},
		{"-ERR", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER},
		{"-ERR [AUTH] Authentication failed.", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER},
		{"-ERR [AUTH] mailbox locked", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER},
		{"-ERR Your account is locked", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER},
		{"-ERR user blocked, try again", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER},
		{"-ERR [IN-USE] Do you have another POP session running?", SOURCE_CAUSE_LOGIN,
			SOURCE_RETRY_LATER},
		{"-ERR [in-use] x", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_LATER},
		{"-ERR maildrop already locked", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_LATER},
		{"-ERR Can't get lock.  Mailbox in use", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_LATER},
		{"-ERR x.pop lock busy!  Is another session active?", SOURCE_CAUSE_LOGIN,
			SOURCE_RETRY_LATER},
		{"-ERR [LOGIN-DELAY] minimum time between mail checks", SOURCE_CAUSE_LOGIN,
			SOURCE_RETRY_LATER},
		{"-ERR [SYS/TEMP] disk", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_LATER},
		{"-ERR Temporary failure", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_LATER},
		{"-ERR [SYS/PERM] mailbox damaged", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_LATER},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct pop3_reply reply = parse(cases[i].line);
		struct source_error error;
		assert_int_equal(pop3_login_refused(&reply, &error), -EACCES);
		if (error.cause != cases[i].cause || error.retry != cases[i].retry)
			fail_msg("%s: cause %d, retry %d", cases[i].line, error.cause, error.retry);
		assert_int_equal(error.scope, SOURCE_SCOPE_ACCOUNT);
		assert_non_null(strstr(error.text, reply.words));
	}
}

static void test_unsupported(void **state)
{
	static const char *const yes[] = {"-ERR Unsupported authentication mechanism",
		"-ERR Unknown command.", "-ERR unrecognized command", "-ERR AUTH not implemented",
		"-ERR syntax error", "-ERR too many arguments"};
	static const char *const no[] = {"-ERR", "-ERR wrong password", "-ERR [AUTH] mechanism",
		"-ERR [SYS/TEMP] not supported now", "+OK mechanism", "-ERR unknown user"};
	(void)state;
	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
		struct pop3_reply reply = parse(yes[i]);
		assert_true(pop3_is_unsupported(&reply));
	}
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++) {
		struct pop3_reply reply = parse(no[i]);
		assert_false(pop3_is_unsupported(&reply));
	}
}

static void test_numbers(void **state)
{
	static const char *const bad[] = {
		"", "-1", "+1", "1x", "x", "4294967296", "99999999999999999999999", "1 ", "0x1"};
	uint64_t number = 7;
	(void)state;
	assert_true(pop3_slice_number(slice("4294967295"), UINT32_MAX, &number));
	assert_int_equal(number, UINT32_MAX);
	assert_true(pop3_slice_number(slice("0012"), UINT32_MAX, &number));
	assert_int_equal(number, 12);
	assert_true(pop3_slice_number(slice("18446744073709551615"), UINT64_MAX, &number));
	assert_true(number == UINT64_MAX);
	assert_false(pop3_slice_number(slice("18446744073709551616"), UINT64_MAX, &number));
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(pop3_slice_number(slice(bad[i]), UINT32_MAX, &number));
}

static struct pop3_capabilities capa(const char *const *lines)
{
	struct pop3_capabilities caps = {.expire_days = -1};
	for (; *lines; lines++)
		pop3_capa_parse(&caps, slice(*lines));
	return caps;
}
#define CAPA(...) capa((const char *const[]){__VA_ARGS__, NULL})

static void test_capa(void **state)
{
	(void)state;
	struct pop3_capabilities caps = CAPA("TOP", "uidl", "Pipelining", "USER", "RESP-CODES",
		"SASL CRAM-MD5  plain XOAUTH2 NTLM", "EXPIRE 60", "LOGIN-DELAY 900", "");
	assert_true(caps.top && caps.uidl && caps.pipelining && caps.user);
	assert_int_equal(caps.login_delay_s, 900);
	assert_int_equal(caps.expire_days, 60);
	for (unsigned i = 0; sasl_mechanisms[i]; i++) {
		bool want = !strcmp(sasl_mechanisms[i], "CRAM-MD5") ||
		            !strcmp(sasl_mechanisms[i], "PLAIN");
		assert_int_equal(!!(caps.mechanisms & 1U << i), want);
	}
	for (unsigned i = 0; sasl_token_mechanisms[i]; i++)
		assert_int_equal(!!(caps.token_mechanisms & 1U << i),
			!strcmp(sasl_token_mechanisms[i], "XOAUTH2"));
	caps = CAPA("TOPX", "X UIDL", "SASL", "EXPIRE", "LOGIN-DELAY x");
	assert_false(caps.top || caps.uidl || caps.mechanisms || caps.login_delay_s);
	assert_int_equal(caps.expire_days, -1);
}

static void test_capa_values(void **state)
{
	(void)state;
	assert_int_equal(CAPA("EXPIRE 0").expire_days, 0);
	assert_int_equal(CAPA("EXPIRE NEVER").expire_days, -1);
	assert_int_equal(CAPA("EXPIRE 5 USER").expire_days, 5);
	assert_int_equal(CAPA("EXPIRE -3").expire_days, -1);
	assert_int_equal(CAPA("EXPIRE 99999999999").expire_days, -1);
	assert_int_equal(CAPA("LOGIN-DELAY 120 USER").login_delay_s, 120);
	assert_int_equal(CAPA("LOGIN-DELAY 99999999999").login_delay_s, 24 * 3600);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_status),
		cmocka_unit_test(test_not_a_status),
		cmocka_unit_test(test_long_words_are_cut),
		cmocka_unit_test(test_login_refused),
		cmocka_unit_test(test_unsupported),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_capa),
		cmocka_unit_test(test_capa_values),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
