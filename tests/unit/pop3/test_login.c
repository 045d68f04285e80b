/* SPDX-License-Identifier: MIT */
/* From the greeting to the login, against a scripted server: what is said, what is never said, and how it fails. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailfs/util/quirk.h"
#include "script.h"

#define PLAIN "AGFsaWNlAHMzY3JldA=="
/* A timestamp and the digest of it and "s3cret", computed with Python's hashlib. */
#define STAMP  "<1.2@pop.example>"
#define DIGEST "c6fa374e144b745562e2490ac4da43b5"

/* The linker puts this in secret_wipe()'s place: what was wiped. */
void __real_secret_wipe(void *data, size_t len);
void __wrap_secret_wipe(void *data, size_t len);
static unsigned wiped_passwords, wiped_base64;

void __wrap_secret_wipe(void *data, size_t len)
{
	wiped_passwords += memmem(data, len, "s3cret", 6) != NULL;
	wiped_base64 += memmem(data, len, PLAIN, sizeof(PLAIN) - 1) != NULL;
	__real_secret_wipe(data, len);
}

static void expect_success_as(const struct client_params *params, const char *const *steps)
{
	struct client client;
	client_connect(&client, params, steps);
	if (client.result < 0)
		fail_msg("connect: %s", client.error.text);
	client_finish(&client);
}

static void expect_success(enum net_tls tls, const char *const *steps)
{
	expect_success_as(&(struct client_params){.tls = tls}, steps);
}

/* words: must be in the error's text. */
static void expect_failure_as(const struct client_params *params, const char *const *steps,
	enum source_cause cause, enum source_retry retry, const char *words)
{
	struct client client;
	client_connect(&client, params, steps);
	assert_true(client.result < 0);
	assert_null(client.session);
	assert_int_equal(client.error.err, client.result);
	assert_int_equal(client.error.scope, SOURCE_SCOPE_ACCOUNT);
	if (!strstr(client.error.text, words))
		fail_msg("'%s' is not in '%s'", words, client.error.text);
	assert_null(strstr(client.error.text, "s3cret"));
	assert_int_equal(client.error.cause, cause);
	assert_int_equal(client.error.retry, retry);
	client_finish(&client);
}

static void expect_failure(enum net_tls tls, const char *const *steps, enum source_cause cause,
	enum source_retry retry, const char *words)
{
	expect_failure_as(&(struct client_params){.tls = tls}, steps, cause, retry, words);
}

/* --- The greeting --- */

static void test_greeting_refused(void **state)
{
	(void)state;
	expect_failure(NET_TLS_NONE, SCRIPT(">-ERR down for \x07 repair\r\n"), SOURCE_CAUSE_CONNECT,
		SOURCE_RETRY_LATER, "down for ? repair");
	expect_failure(NET_TLS_NONE, SCRIPT(">-ERR [SYS/PERM] gone\r\n"), SOURCE_CAUSE_CONNECT,
		SOURCE_RETRY_NEVER, "gone");
	expect_failure(NET_TLS_NONE, SCRIPT(">-ERR [IN-USE] one at a time\r\n"), SOURCE_CAUSE_LOGIN,
		SOURCE_RETRY_LATER, "try again");
}

static void test_greeting_garbage(void **state)
{
	static const char *const greetings[] = {">HTTP/1.1 400 Bad Request\r\n",
		">220 smtp ready\r\n", ">* OK IMAP4rev1\r\n", ">+ \r\n", ">\r\n", "*99999 x"};
	(void)state;
	for (size_t i = 0; i < sizeof(greetings) / sizeof(greetings[0]); i++)
		expect_failure(NET_TLS_NONE, SCRIPT(greetings[i]), SOURCE_CAUSE_PROTOCOL,
			SOURCE_RETRY_LATER, "the greeting is not one of POP3");
}

static void test_closed_at_once(void **state)
{
	(void)state;
	expect_failure(NET_TLS_NONE, SCRIPT("!"), SOURCE_CAUSE_CONNECT, SOURCE_RETRY_NOW, "closed");
	expect_failure(NET_TLS_NONE, SCRIPT(">+OK half a gree", "!"), SOURCE_CAUSE_CONNECT,
		SOURCE_RETRY_NOW, "closed");
	expect_failure(NET_TLS_NONE, SCRIPT(">+OK\r\n", "<CAPA", ">+OK\r\nUSER\r\n", "!"),
		SOURCE_CAUSE_CONNECT, SOURCE_RETRY_NOW, "closed");
}

/* --- STLS: no credential before TLS --- */

static void test_stls(void **state)
{
	(void)state;
	expect_success(NET_TLS_STARTTLS,
		SCRIPT(">+OK hi\r\n", "<STLS", ">+OK go\r\n", "^", "<CAPA",
			">+OK\r\nSASL PLAIN\r\n.\r\n", "<AUTH PLAIN " PLAIN, ">+OK in\r\n"));
}

/* What was heard in plain text counts for nothing: that timestamp least of all. */
static void test_stls_forgets(void **state)
{
	(void)state;
	expect_success(
		NET_TLS_STARTTLS, SCRIPT(">+OK hi " STAMP "\r\n", "<STLS", ">+OK go\r\n", "^",
					  "<CAPA", ">+OK\r\nTOP\r\n.\r\n", "<USER alice",
					  ">+OK\r\n", "<PASS s3cret", ">+OK in\r\n"));
}

static void test_stls_refused(void **state)
{
	(void)state;
	expect_failure(NET_TLS_STARTTLS, SCRIPT(">+OK hi\r\n", "<STLS", ">-ERR what?\r\n"),
		SOURCE_CAUSE_TLS, SOURCE_RETRY_NEVER, "the server refused STLS; nothing was sent");
}

static void test_stls_injection(void **state)
{
	(void)state;
	expect_failure(NET_TLS_STARTTLS,
		SCRIPT(">+OK hi\r\n", "<STLS", ">+OK go\r\n+OK\r\nUSER\r\n.\r\n"), SOURCE_CAUSE_TLS,
		SOURCE_RETRY_NEVER, "plain text behind its answer");
	expect_failure(NET_TLS_STARTTLS, SCRIPT(">+OK hi\r\n", "<STLS", ">+OK go\r\n\r\n"),
		SOURCE_CAUSE_TLS, SOURCE_RETRY_NEVER, "plain text behind its answer");
	expect_failure(NET_TLS_STARTTLS, SCRIPT(">+OK hi\r\n+OK go\r\n"), SOURCE_CAUSE_TLS,
		SOURCE_RETRY_NEVER, "more than a greeting");
}

static void test_stls_handshake_fails(void **state)
{
	struct client client;
	(void)state;
	client_connect(&client, &(struct client_params){.tls = NET_TLS_STARTTLS},
		SCRIPT(">+OK hi\r\n", "<STLS", ">+OK go\r\n", "#100",
			">this is not TLS at all\r\n"));
	assert_true(client.result < 0);
	assert_int_equal(client.error.cause, SOURCE_CAUSE_TLS);
	client_finish(&client);
}

/* --- CAPA --- */

static void test_without_capa(void **state)
{
	(void)state;
	quirk_forget();
	expect_success(
		NET_TLS_NONE, SCRIPT(">+OK hi\r\n", "<CAPA", ">-ERR what?\r\n", "<USER alice",
				      ">+OK\r\n", "<PASS s3cret", ">+OK\r\n"));
	expect_success(NET_TLS_NONE, SCRIPT(">+OK hi " STAMP "\r\n", "<CAPA", ">-ERR what?\r\n",
					     "<APOP alice " DIGEST, ">+OK\r\n"));
	assert_int_equal(quirk_count(QUIRK_POP3_NO_CAPA), 2);
}

static void test_capa_hostile(void **state)
{
	(void)state;
	expect_failure(NET_TLS_NONE, SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\n", "*100000 X\r\n"),
		SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER, "too long");
	expect_failure(NET_TLS_NONE, SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\n", "*100000 X"),
		SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER, "too long");
	expect_failure(NET_TLS_NONE, SCRIPT(">+OK hi\r\n", "<CAPA", ">+ \r\n"),
		SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER, "continuation");
	/* answers before they were asked for */
	expect_failure(NET_TLS_NONE, SCRIPT(">+OK hi\r\n+OK\r\nUSER\r\n.\r\n"),
		SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER, "more than was asked for");
	expect_failure(NET_TLS_NONE,
		SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\nUSER\r\n.\r\n+OK\r\n+OK\r\n"),
		SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER, "more than was asked for");
}

static void test_capa_among_odd_lines(void **state)
{
	(void)state;
	expect_success(NET_TLS_NONE,
		SCRIPT(">+OK hi\r\n", "<CAPA",
			">+OK\r\n\r\n \r\n..\r\n.X\r\n\xff\xfe\r\nuser \r\nsasl\tplain  \r\n.\r\n",
			"<AUTH PLAIN " PLAIN, ">+OK in\r\n"));
	/* a server whose lines end in LF */
	expect_success(NET_TLS_NONE, SCRIPT(">+OK hi\n", "<CAPA", ">+OK\nUSER\n.\n", "<USER alice",
					     ">+OK\n", "<PASS s3cret", ">+OK\n"));
}

/* --- SASL --- */

static void test_plain(void **state)
{
	(void)state;
	expect_success(NET_TLS_IMPLICIT,
		SCRIPT("^", ">+OK hi\r\n", "<CAPA", ">+OK\r\nUSER\r\nSASL PLAIN LOGIN\r\n.\r\n",
			"<AUTH PLAIN " PLAIN, ">+OK in\r\n"));
}

/* A command line holds 255 octets; "+" is waited for where it would be longer. */
static void test_plain_long(void **state)
{
	char password[200], line[400] = "<AUTH PLAIN ", late[400] = "<";
	struct str raw = STR_INIT, base64 = STR_INIT;
	(void)state;
	for (size_t len = 165; len < 185; len++) {
		memset(password, 'p', len);
		password[len] = 0;
		str_reset(&raw);
		str_reset(&base64);
		str_append(&raw, "\0alice\0", 7);
		str_append(&raw, password, len);
		assert_int_equal(net_base64_encode(raw.data, raw.len, &base64), 0);
		strcpy(line + 12, base64.data);
		strcpy(late + 1, base64.data);
		bool fits = strlen(line) - 1 + 2 <= 255;
		const struct client_params params = {.tls = NET_TLS_NONE, .password = password};
		const char *capa = ">+OK\r\nSASL PLAIN\r\n.\r\n";
		if (fits)
			expect_success_as(
				&params, SCRIPT(">+OK hi\r\n", "<CAPA", capa, line, ">+OK in\r\n"));
		else
			expect_success_as(
				&params, SCRIPT(">+OK hi\r\n", "<CAPA", capa, "<AUTH PLAIN",
						 ">+\r\n", late, ">+OK in\r\n"));
	}
	str_finish(&raw);
	str_finish(&base64);
}

/* RFC 2195's method with a challenge of our own; the digest was computed with Python's hmac. */
#define CRAM                                                                                       \
	"<AUTH CRAM-MD5", ">+ PDEyMzRAZXhhbXBsZS5vcmc+\r\n",                                       \
		"<YWxpY2UgNjRhODRjZmNkODIxYzY5Y2U1YTRkMDY1NWM4Yjc4OWM="

static void test_cram_md5(void **state)
{
	(void)state;
	expect_success(
		NET_TLS_NONE, SCRIPT(">+OK " STAMP "\r\n", "<CAPA",
				      ">+OK\r\nSASL PLAIN CRAM-MD5\r\n.\r\n", CRAM, ">+OK in\r\n"));
}

static void test_scram(void **state)
{
	(void)state;
	expect_success(NET_TLS_NONE,
		SCRIPT(">+OK " STAMP "\r\n", "<CAPA",
			">+OK\r\nSASL PLAIN CRAM-MD5 SCRAM-SHA-256\r\n.\r\n", "&right"));
	expect_failure(NET_TLS_NONE,
		SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\nSASL PLAIN SCRAM-SHA-256\r\n.\r\n",
			"&wrong"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "server's part");
}

/* A server that says OK without having proved that it knows the password. */
static void test_scram_without_proof(void **state)
{
	static const char *const oks[] = {">+OK in\r\n", ">+ \r\n+OK in\r\n"};
	struct client client;
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		client_connect(&client, &(struct client_params){.tls = NET_TLS_NONE},
			SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\nSASL PLAIN SCRAM-SHA-1\r\n.\r\n",
				oks[i]));
		assert_true(client.result < 0);
		assert_int_not_equal(client.error.retry, SOURCE_RETRY_NOW);
		client_abandon(&client);
	}
}

/* A wrong password is sent once: not by the next mechanism, not by APOP, not by USER. */
static void test_one_attempt(void **state)
{
	(void)state;
	expect_failure(NET_TLS_NONE,
		SCRIPT(">+OK " STAMP "\r\n", "<CAPA",
			">+OK\r\nUSER\r\nSASL PLAIN CRAM-MD5\r\n.\r\n", CRAM,
			">-ERR [AUTH] no\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "login refused; the server says: no");
	expect_failure(NET_TLS_NONE,
		SCRIPT(">+OK " STAMP "\r\n", "<CAPA", ">+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n",
			"<APOP alice " DIGEST, ">-ERR wrong\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "wrong");
	expect_failure(NET_TLS_NONE,
		SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\nUSER\r\nSASL PLAIN\r\n.\r\n",
			"<AUTH PLAIN " PLAIN, ">-ERR Login failed\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "Login failed");
}

static void test_next_mechanism(void **state)
{
	(void)state;
	expect_success(NET_TLS_NONE,
		SCRIPT(">+OK " STAMP "\r\n", "<CAPA",
			">+OK\r\nUSER\r\nSASL PLAIN CRAM-MD5\r\n.\r\n", "<AUTH CRAM-MD5",
			">-ERR Unsupported authentication mechanism\r\n", "<APOP alice " DIGEST,
			">-ERR unknown command\r\n", "<AUTH PLAIN " PLAIN,
			">-ERR too many arguments\r\n", "<USER alice", ">+OK\r\n", "<PASS s3cret",
			">+OK in\r\n"));
}

/* No falling back to a weaker mechanism when a challenge is wrong: it may be the work of a man in the middle. */
static void test_bad_challenge(void **state)
{
	(void)state;
	expect_failure(NET_TLS_NONE,
		SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\nUSER\r\nSASL PLAIN CRAM-MD5\r\n.\r\n",
			"<AUTH CRAM-MD5", ">+ this is not base64!\r\n", "<*",
			">-ERR cancelled\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "server's part");
}

static void test_endless_challenges(void **state)
{
	struct client client;
	(void)state;
	client_connect(&client, &(struct client_params){.tls = NET_TLS_NONE},
		SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\nSASL PLAIN\r\n.\r\n", "<AUTH PLAIN " PLAIN,
			"*1000 + \r\n"));
	assert_true(client.result < 0);
	client_abandon(&client);
}

/* --- An access token: "t0ken" --- */

#define OAUTHBEARER "bixhPWFsaWNlLAFhdXRoPUJlYXJlciB0MGtlbgEB"
#define XOAUTH2     "dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0MGtlbgEB"
#define REFUSED     ">+ eyJzdGF0dXMiOiI0MDEifQ==\r\n"

static const struct client_params token = {.tls = NET_TLS_NONE, .password = "t0ken", .token = true};

static void test_token(void **state)
{
	(void)state;
	expect_success_as(&token, SCRIPT(">+OK hi\r\n", "<CAPA",
					  ">+OK\r\nUSER\r\nSASL PLAIN XOAUTH2 OAUTHBEARER\r\n.\r\n",
					  "<AUTH OAUTHBEARER " OAUTHBEARER, ">+OK in\r\n"));
	expect_success_as(&token,
		SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\nUSER\r\nSASL PLAIN XOAUTH2\r\n.\r\n",
			"<AUTH XOAUTH2 " XOAUTH2, ">+OK in\r\n"));
}

static void test_token_refused(void **state)
{
	(void)state;
	expect_failure_as(&token,
		SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\nUSER\r\nSASL PLAIN XOAUTH2\r\n.\r\n",
			"<AUTH XOAUTH2 " XOAUTH2, REFUSED, "<", ">-ERR [AUTH] expired\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "expired");
	expect_failure_as(&token,
		SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\nUSER\r\nSASL OAUTHBEARER\r\n.\r\n",
			"<AUTH OAUTHBEARER " OAUTHBEARER, REFUSED,
			"<AQ==", ">-ERR [AUTH] expired\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "expired");
}

/* A token is no password: it is not tried as one. */
static void test_token_not_offered(void **state)
{
	(void)state;
	expect_failure_as(&token,
		SCRIPT(">+OK " STAMP "\r\n", "<CAPA",
			">+OK\r\nUSER\r\nSASL PLAIN CRAM-MD5\r\n.\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "OAuth 2");
	expect_failure_as(&token, SCRIPT(">+OK " STAMP "\r\n", "<CAPA", ">-ERR\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "OAuth 2");
}

/* --- APOP --- */

static void test_apop(void **state)
{
	(void)state;
	/* RFC 1939 §7 */
	expect_success_as(
		&(struct client_params){
			.tls = NET_TLS_NONE, .user = "mrose", .password = "tanstaaf"},
		SCRIPT(">+OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>\r\n", "<CAPA",
			">+OK\r\nUSER\r\n.\r\n", "<APOP mrose c4c9334bac560ecc979e58001b3e22fb",
			">+OK maildrop has 1 message (369 octets)\r\n"));
}

/* Over TLS it protects nothing that needs it, and demands that the server knows the password itself. */
static void test_apop_over_tls(void **state)
{
	(void)state;
	expect_success(NET_TLS_IMPLICIT,
		SCRIPT("^", ">+OK hi " STAMP "\r\n", "<CAPA", ">+OK\r\nUSER\r\n.\r\n",
			"<USER alice", ">+OK\r\n", "<PASS s3cret", ">+OK in\r\n"));
	expect_success(NET_TLS_IMPLICIT,
		SCRIPT("^", ">+OK hi " STAMP "\r\n", "<CAPA", ">+OK\r\nTOP\r\n.\r\n",
			"<APOP alice " DIGEST, ">+OK in\r\n"));
}

/* CVE-2007-1558: what is no msg-id may be a chosen challenge. */
static void test_apop_bad_timestamp(void **state)
{
	static const char *const greetings[] = {">+OK <\x80@x>\r\n", ">+OK <no-at-sign>\r\n",
		">+OK <a@b\r\n", ">+OK a@b>\r\n", "%+OK <a%@b>\r\n", ">+OK <>\r\n"};
	(void)state;
	for (size_t i = 0; i < sizeof(greetings) / sizeof(greetings[0]); i++)
		expect_success(NET_TLS_NONE,
			SCRIPT(greetings[i], "<CAPA", ">+OK\r\nUSER\r\n.\r\n", "<USER alice",
				">+OK\r\n", "<PASS s3cret", ">+OK in\r\n"));
}

/* --- USER and PASS --- */

static void test_user_pass_pipelined(void **state)
{
	(void)state;
	expect_success(
		NET_TLS_NONE, SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\nUSER\r\nPIPELINING\r\n.\r\n",
				      "<USER alice", "<PASS s3cret", ">+OK\r\n+OK in\r\n"));
	expect_failure(NET_TLS_NONE,
		SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\nUSER\r\nPIPELINING\r\n.\r\n", "<USER alice",
			"<PASS s3cret", ">-ERR no such user\r\n-ERR USER first\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "no such user");
	expect_failure(NET_TLS_NONE,
		SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\nUSER\r\nPIPELINING\r\n.\r\n", "<USER alice",
			"<PASS s3cret", ">+OK\r\n-ERR [IN-USE] wait\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_LATER, "another session");
}

static void test_user_refused(void **state)
{
	(void)state;
	/* PASS is not sent */
	expect_failure(NET_TLS_NONE,
		SCRIPT(">+OK hi\r\n", "<CAPA", ">-ERR\r\n", "<USER alice",
			">-ERR [SYS/TEMP] no database\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_LATER, "no database");
	expect_failure(NET_TLS_NONE,
		SCRIPT(">+OK hi\r\n", "<CAPA", ">-ERR\r\n", "<USER alice", ">+OK\r\n",
			"<PASS s3cret", ">-ERR [LOGIN-DELAY] wait\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_LATER, "wait");
	expect_failure(NET_TLS_NONE,
		SCRIPT(">+OK hi\r\n", "<CAPA", ">-ERR\r\n", "<USER alice", ">+OK\r\n",
			"<PASS s3cret", "!"),
		SOURCE_CAUSE_CONNECT, SOURCE_RETRY_NOW, "closed");
	expect_failure(NET_TLS_NONE,
		SCRIPT(">+OK hi\r\n", "<CAPA", ">-ERR\r\n", "<USER alice", ">+OK\r\n",
			"<PASS s3cret", ">* OK\r\n"),
		SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER, "can not be understood");
}

/* A server that leaves USER out without TLS means that it wants none. */
static void test_user_not_offered(void **state)
{
	(void)state;
	expect_failure(NET_TLS_NONE,
		SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\nSTLS\r\nSASL GSSAPI\r\n.\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "no way to log in");
}

/* Nothing but CAPA is sent. */
static void test_injection(void **state)
{
	static const struct client_params cases[] = {
		{.tls = NET_TLS_NONE, .user = "alice\r\nDELE 1"},
		{.tls = NET_TLS_NONE, .user = "alice\n"},
		{.tls = NET_TLS_NONE, .password = "s3\rcret"},
		{.tls = NET_TLS_NONE, .password = "s3\ncret"},
		{.tls = NET_TLS_NONE, .password = "s3\0cret", .password_len = 7},
		{.tls = NET_TLS_NONE, .user = ""},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect_failure_as(&cases[i],
			SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\nUSER\r\n.\r\n"), SOURCE_CAUSE_LOGIN,
			SOURCE_RETRY_NEVER, "can not be sent");
}

static void test_password_with_blanks(void **state)
{
	(void)state;
	expect_success_as(&(struct client_params){.tls = NET_TLS_NONE, .password = " a b "},
		SCRIPT(">+OK hi\r\n", "<CAPA", ">-ERR\r\n", "<USER alice", ">+OK\r\n",
			"<PASS  a b ", ">+OK\r\n"));
}

/* Of each copy that was made on the way. */
static void test_wiped(void **state)
{
	(void)state;
	wiped_passwords = wiped_base64 = 0;
	expect_success(NET_TLS_NONE, SCRIPT(">+OK hi\r\n", "<CAPA", ">-ERR\r\n", "<USER alice",
					     ">+OK\r\n", "<PASS s3cret", ">+OK\r\n"));
	assert_int_equal(wiped_passwords, 1);
	wiped_passwords = wiped_base64 = 0;
	expect_success(NET_TLS_NONE, SCRIPT(">+OK hi\r\n", "<CAPA", ">+OK\r\nSASL PLAIN\r\n.\r\n",
					     "<AUTH PLAIN " PLAIN, ">+OK\r\n"));
	assert_int_equal(wiped_passwords, 1);
	/* in base64, behind the command, and with the line end */
	assert_int_equal(wiped_base64, 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_greeting_refused),
		cmocka_unit_test(test_greeting_garbage),
		cmocka_unit_test(test_closed_at_once),
		cmocka_unit_test(test_stls),
		cmocka_unit_test(test_stls_forgets),
		cmocka_unit_test(test_stls_refused),
		cmocka_unit_test(test_stls_injection),
		cmocka_unit_test(test_stls_handshake_fails),
		cmocka_unit_test(test_without_capa),
		cmocka_unit_test(test_capa_hostile),
		cmocka_unit_test(test_capa_among_odd_lines),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_plain_long),
		cmocka_unit_test(test_cram_md5),
		cmocka_unit_test(test_scram),
		cmocka_unit_test(test_scram_without_proof),
		cmocka_unit_test(test_one_attempt),
		cmocka_unit_test(test_next_mechanism),
		cmocka_unit_test(test_bad_challenge),
		cmocka_unit_test(test_endless_challenges),
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_token_refused),
		cmocka_unit_test(test_token_not_offered),
		cmocka_unit_test(test_apop),
		cmocka_unit_test(test_apop_over_tls),
		cmocka_unit_test(test_apop_bad_timestamp),
		cmocka_unit_test(test_user_pass_pipelined),
		cmocka_unit_test(test_user_refused),
		cmocka_unit_test(test_user_not_offered),
		cmocka_unit_test(test_injection),
		cmocka_unit_test(test_password_with_blanks),
		cmocka_unit_test(test_wiped),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
