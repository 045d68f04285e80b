/* SPDX-License-Identifier: MIT */
/* Responses, capabilities, and what codes and words of a refusal mean. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine.h"
#include "mailfs/util/quirk.h"

static void assert_slice(struct imap_slice slice, const char *want)
{
	assert_int_equal(slice.len, strlen(want));
	if (slice.len > 0)
		assert_memory_equal(slice.data, want, slice.len);
}

static void test_parse(void **state)
{
	static const struct {
		const char *line;
		enum imap_kind kind;
		enum imap_status status;
		bool numbered;
		uint32_t number;
		const char *name, *args, *code, *code_args, *text;
	} cases[] = {
		{"* OK hi there", IMAP_UNTAGGED, IMAP_OK, false, 0, "OK", "hi there", "", "",
			"hi there"},
		{"* ok [ALERT] x", IMAP_UNTAGGED, IMAP_OK, false, 0, "ok", "[ALERT] x", "ALERT", "",
			"x"},
		{"* 23 EXISTS", IMAP_UNTAGGED, IMAP_NONE, true, 23, "EXISTS", "", "", "", ""},
		{"* 4294967295 FETCH (X)", IMAP_UNTAGGED, IMAP_NONE, true, 4294967295, "FETCH",
			"(X)", "", "", ""},
		{"* 4294967296 EXISTS", IMAP_UNTAGGED, IMAP_NONE, false, 0, "4294967296", "EXISTS",
			"", "", ""},
		{"* LIST () \"/\" x", IMAP_UNTAGGED, IMAP_NONE, false, 0, "LIST", "() \"/\" x", "",
			"", ""},
		{"*\tOK\t[UIDVALIDITY  7 ]  x ", IMAP_UNTAGGED, IMAP_OK, false, 0, "OK",
			"[UIDVALIDITY  7 ]  x", "UIDVALIDITY", "7", "x"},
		{"* NO [X \"]\" y] z", IMAP_UNTAGGED, IMAP_NO, false, 0, "NO", "[X \"]\" y] z", "X",
			"\"]\" y", "z"},
		{"* OK [not closed", IMAP_UNTAGGED, IMAP_OK, false, 0, "OK", "[not closed", "", "",
			"[not closed"},
		{"C7 NO [NOPERM] no", IMAP_TAGGED, IMAP_NO, false, 0, "NO", "[NOPERM] no", "NOPERM",
			"", "no"},
		{"C7 BAD", IMAP_TAGGED, IMAP_BAD, false, 0, "BAD", "", "", "", ""},
		{"+", IMAP_CONTINUE, IMAP_NONE, false, 0, "", "", "", "", ""},
		{"+ YWJj ", IMAP_CONTINUE, IMAP_NONE, false, 0, "", "YWJj", "", "", ""},
		{"* BYE", IMAP_UNTAGGED, IMAP_BYE, false, 0, "BYE", "", "", "", ""},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct imap_response response;
		assert_int_equal(
			imap_response_parse(cases[i].line, strlen(cases[i].line), &response), 0);
		assert_int_equal(response.kind, cases[i].kind);
		assert_int_equal(response.status, cases[i].status);
		assert_int_equal(response.numbered, cases[i].numbered);
		assert_int_equal(response.number, cases[i].number);
		assert_slice(response.name, cases[i].name);
		assert_slice(response.args, cases[i].args);
		assert_slice(response.code, cases[i].code);
		assert_slice(response.code_args, cases[i].code_args);
		assert_slice(response.text, cases[i].text);
	}
}

static void test_not_responses(void **state)
{
	static const char *const lines[] = {"", "*", "* ", "HTTP/1.1 400 Bad Request", "C1",
		"C1 BYE x", "C1 PREAUTH x", "C1 WHAT x", "garbage", "*OK", "* 5"};
	struct imap_response response;
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_int_equal(
			imap_response_parse(lines[i], strlen(lines[i]), &response), -EPROTO);
}

static struct imap_capabilities caps_of(const char *words)
{
	struct imap_capabilities caps = {.set = ~0U, .mechanisms = ~0U, .token_mechanisms = ~0U};
	imap_capabilities_parse(&caps, (struct imap_slice){words, strlen(words)});
	return caps;
}

static void test_capabilities(void **state)
{
	struct imap_capabilities caps = caps_of(
		"  IMAP4rev1  starttls LOGINDISABLED AUTH=PLAIN auth=scram-sha-256 AUTH=GSSAPI "
		"AUTH= LITERAL+ XYZ qresync ID ");
	(void)state;
	assert_true(caps.known);
	assert_int_equal(caps.set, IMAP_CAP_STARTTLS | IMAP_CAP_LOGINDISABLED |
					   IMAP_CAP_LITERAL_PLUS | IMAP_CAP_CONDSTORE |
					   IMAP_CAP_QRESYNC | IMAP_CAP_ID);
	for (unsigned i = 0; sasl_mechanisms[i]; i++) {
		bool want = !strcmp(sasl_mechanisms[i], "PLAIN") ||
		            !strcmp(sasl_mechanisms[i], "SCRAM-SHA-256");
		assert_int_equal(caps.mechanisms >> i & 1, want);
	}
	assert_int_equal(caps.token_mechanisms, 0);
	caps = caps_of("AUTH=XOAUTH2 XOAUTH2 AUTH=OAUTHBEARERS");
	assert_int_equal(caps.mechanisms, 0);
	assert_int_equal(caps.token_mechanisms, 2);
	assert_string_equal(sasl_token_mechanisms[1], "XOAUTH2");
	caps = caps_of("");
	assert_true(caps.known);
	assert_int_equal(caps.set | caps.mechanisms | caps.token_mechanisms, 0);
}

static void test_answers(void **state)
{
	static const struct {
		const char *line;
		enum source_cause cause;
		enum source_retry retry;
		int err;
		bool unsupported;
	} cases[] = {
		{"C1 NO [AUTHENTICATIONFAILED] wrong", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER,
			-EACCES, false},
		{"C1 NO [authenticationfailed] mechanism", SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER,
			-EACCES, false},
		{"C1 NO [NOPERM] x", SOURCE_CAUSE_MAILBOX, SOURCE_RETRY_NEVER, -EACCES, false},
		{"C1 NO [NONEXISTENT] x", SOURCE_CAUSE_MAILBOX, SOURCE_RETRY_NEVER, -ENOENT, false},
		{"C1 NO [EXPUNGEISSUED] x", SOURCE_CAUSE_OTHER, SOURCE_RETRY_NOW, -ENOENT, false},
		{"C1 NO [UNAVAILABLE] x", SOURCE_CAUSE_OTHER, SOURCE_RETRY_LATER, -EIO, false},
		{"C1 NO [THROTTLED] x", SOURCE_CAUSE_OTHER, SOURCE_RETRY_LATER, -EIO, false},
		{"C1 NO [OVERQUOTA] x", SOURCE_CAUSE_OTHER, SOURCE_RETRY_NEVER, -EDQUOT, false},
		{"C1 NO Permission denied", SOURCE_CAUSE_MAILBOX, SOURCE_RETRY_NEVER, -EACCES,
			false},
		{"C1 NO whatever", SOURCE_CAUSE_OTHER, SOURCE_RETRY_LATER, -EIO, false},
		{"C1 NO [X-NEW] whatever", SOURCE_CAUSE_OTHER, SOURCE_RETRY_LATER, -EIO, false},
		{"C1 NO Unsupported authentication mechanism", SOURCE_CAUSE_OTHER,
			SOURCE_RETRY_LATER, -EIO, true},
		{"C1 BAD what?", SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_NEVER, -EIO, true},
		{"C1 BAD Request is throttled. Suggested Backoff Time: 9 ms", SOURCE_CAUSE_OTHER,
			SOURCE_RETRY_LATER, -EIO, false},
		{"* BYE timeout", SOURCE_CAUSE_CONNECT, SOURCE_RETRY_NOW, -EIO, false},
		{"* BYE Too many connections", SOURCE_CAUSE_CONNECT, SOURCE_RETRY_LATER, -EIO,
			false},
	};
	(void)state;
	quirk_forget();
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct imap_response response;
		struct imap_answer answer;
		struct source_error error;
		assert_int_equal(
			imap_response_parse(cases[i].line, strlen(cases[i].line), &response), 0);
		imap_answer_read(&answer, &response);
		assert_int_equal(answer.unsupported, cases[i].unsupported);
		assert_int_equal(imap_answer_fail(&answer, SOURCE_SCOPE_MAILBOX, "it", &error),
			cases[i].err);
		assert_int_equal(error.err, cases[i].err);
		assert_int_equal(error.cause, cases[i].cause);
		assert_int_equal(error.retry, cases[i].retry);
		assert_int_equal(error.scope, SOURCE_SCOPE_MAILBOX);
		assert_memory_equal(error.text, "it: the server says: ", 21);
	}
	assert_int_equal(quirk_count(QUIRK_THROTTLED), 2);
}

static void test_long_words_are_cut(void **state)
{
	char line[2000] = "C1 NO ";
	struct imap_response response;
	struct imap_answer answer;
	(void)state;
	memset(line + 6, 'x', sizeof(line) - 6);
	assert_int_equal(imap_response_parse(line, sizeof(line), &response), 0);
	imap_answer_read(&answer, &response);
	assert_int_equal(strlen(answer.text), sizeof(answer.text) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_not_responses),
		cmocka_unit_test(test_capabilities),
		cmocka_unit_test(test_answers),
		cmocka_unit_test(test_long_words_are_cut),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
