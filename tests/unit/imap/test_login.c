/* SPDX-License-Identifier: MIT */
/* From the greeting to the login, against a scripted server: what is said, what is never said, and how it fails. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailfs/util/quirk.h"
#include "script.h"

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})

static void expect_success(enum net_tls tls, const char *const *steps)
{
	struct peer peer;
	peer_connect(&peer, tls, steps);
	if (peer.result < 0)
		fail_msg("connect: %s", peer.error.text);
	peer_finish(&peer);
}

/* words: must be in the error's text. */
static void expect_failure(enum net_tls tls, const char *const *steps, enum source_cause cause,
	enum source_retry retry, const char *words)
{
	struct peer peer;
	peer_connect(&peer, tls, steps);
	assert_true(peer.result < 0);
	assert_null(peer.session);
	assert_int_equal(peer.error.err, peer.result);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_ACCOUNT);
	if (!strstr(peer.error.text, words))
		fail_msg("'%s' is not in '%s'", words, peer.error.text);
	assert_int_equal(peer.error.cause, cause);
	assert_int_equal(peer.error.retry, retry);
	peer_finish(&peer);
}

/* --- The greeting --- */

static void test_preauth(void **state)
{
	(void)state;
	expect_success(NET_TLS_NONE, SCRIPT(">* PREAUTH [CAPABILITY IMAP4rev1] hi\r\n"));
}

static void test_preauth_asks_for_capabilities(void **state)
{
	(void)state;
	expect_success(NET_TLS_NONE, SCRIPT(">* PREAUTH hi\r\n", "<C1 CAPABILITY",
					     ">* CAPABILITY IMAP4rev1\r\nC1 OK\r\n"));
}

static void test_greeting_refused(void **state)
{
	(void)state;
	expect_failure(NET_TLS_NONE, SCRIPT(">* BYE [UNAVAILABLE] down for \x07 repair\r\n"),
		SOURCE_CAUSE_CONNECT, SOURCE_RETRY_LATER, "down for ? repair");
	expect_failure(NET_TLS_NONE, SCRIPT(">* BYE go away\r\n"), SOURCE_CAUSE_CONNECT,
		SOURCE_RETRY_NOW, "go away");
}

static void test_greeting_garbage(void **state)
{
	static const char *const greetings[] = {">HTTP/1.1 400 Bad Request\r\n",
		">220 smtp ready\r\n", ">+OK POP3\r\n", ">* NO\r\n", ">* 5 EXISTS\r\n",
		">C0 OK\r\n"};
	(void)state;
	for (size_t i = 0; i < sizeof(greetings) / sizeof(greetings[0]); i++)
		expect_failure(NET_TLS_NONE, SCRIPT(greetings[i]), SOURCE_CAUSE_PROTOCOL,
			SOURCE_RETRY_LATER, "can not be understood");
}

static void test_closed_at_once(void **state)
{
	(void)state;
	expect_failure(NET_TLS_NONE, SCRIPT("!"), SOURCE_CAUSE_CONNECT, SOURCE_RETRY_NOW, "closed");
	expect_failure(NET_TLS_NONE, SCRIPT(">* OK half a gree", "!"), SOURCE_CAUSE_CONNECT,
		SOURCE_RETRY_NOW, "closed");
}

/* --- STARTTLS: no credential before TLS --- */

static void test_starttls_not_offered(void **state)
{
	(void)state;
	expect_failure(NET_TLS_STARTTLS, SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n"),
		SOURCE_CAUSE_TLS, SOURCE_RETRY_NEVER, "does not offer STARTTLS");
	expect_failure(NET_TLS_STARTTLS,
		SCRIPT(">* OK hi\r\n", "<C1 CAPABILITY",
			">* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\nC1 OK\r\n"),
		SOURCE_CAUSE_TLS, SOURCE_RETRY_NEVER, "does not offer STARTTLS");
}

static void test_starttls_preauth(void **state)
{
	(void)state;
	expect_failure(NET_TLS_STARTTLS,
		SCRIPT(">* PREAUTH [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n"), SOURCE_CAUSE_TLS,
		SOURCE_RETRY_NEVER, "PREAUTH");
}

static void test_starttls_refused(void **state)
{
	(void)state;
	expect_failure(NET_TLS_STARTTLS,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", "<C1 STARTTLS",
			">C1 NO not today\r\n"),
		SOURCE_CAUSE_TLS, SOURCE_RETRY_NEVER, "refused STARTTLS");
	expect_failure(NET_TLS_STARTTLS,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", "<C1 STARTTLS",
			">C1 BAD what?\r\n"),
		SOURCE_CAUSE_TLS, SOURCE_RETRY_NEVER, "refused STARTTLS");
}

static void test_starttls_injection(void **state)
{
	(void)state;
	expect_failure(NET_TLS_STARTTLS,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", "<C1 STARTTLS",
			">C1 OK go\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"),
		SOURCE_CAUSE_TLS, SOURCE_RETRY_NEVER, "plain text behind");
}

static void test_starttls_handshake_fails(void **state)
{
	struct peer peer;
	(void)state;
	/* whatever the client says next is no line of IMAP: the script ends here */
	peer_connect(&peer, NET_TLS_STARTTLS,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", "<C1 STARTTLS",
			">C1 OK go\r\n", "#100", ">this is not TLS at all\r\n"));
	assert_true(peer.result < 0);
	assert_int_equal(peer.error.cause, SOURCE_CAUSE_TLS);
	peer_finish(&peer);
}

/* What was said before TLS counts for nothing behind it: mechanisms, capabilities, that LOGIN is disabled, who the server is. */
static void test_starttls_forgets(void **state)
{
	struct peer peer;
	struct str words = STR_INIT;
	(void)state;
	peer_connect(&peer, NET_TLS_STARTTLS,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS AUTH=PLAIN SASL-IR LITERAL+ COMPRESS=DEFLATE IDLE] hi\r\n",
			"<C1 STARTTLS",
			">* ID (\"name\" \"evil\")\r\n* OK [ALERT] send your password to evil\r\n* CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN\r\n"
			"* 5 EXISTS\r\n* OK [UIDVALIDITY 9] x\r\nC1 OK go\r\n",
			"^", "<C2 CAPABILITY", ">* CAPABILITY IMAP4rev1\r\nC2 OK\r\n",
			"<C3 LOGIN alice s3cret", ">C3 OK [CAPABILITY IMAP4rev1 NAMESPACE] in\r\n",
			"<C4 NAMESPACE", ">C4 OK\r\n"));
	if (peer.result < 0)
		fail_msg("connect: %s", peer.error.text);
	assert_int_equal(peer.source->ops->abilities(peer.session), 0);
	peer.source->ops->describe(peer.session, &words);
	assert_string_equal(str_cstr(&words), "IMAP4rev1 NAMESPACE\n");
	str_finish(&words);
	peer_finish(&peer);
}

/* Each in its own words. */
static void test_starttls_bye(void **state)
{
	(void)state;
	expect_failure(NET_TLS_STARTTLS,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 STARTTLS] hi\r\n", "<C1 STARTTLS",
			">* BYE [UNAVAILABLE] no TLS today\r\n"),
		SOURCE_CAUSE_CONNECT, SOURCE_RETRY_LATER,
		"the server ended the connection: the server says: no TLS today");
	expect_failure(NET_TLS_STARTTLS, SCRIPT(">* BYE go away\r\n"), SOURCE_CAUSE_CONNECT,
		SOURCE_RETRY_NOW, "the server ended the connection");
}

/* --- LOGIN --- */

static void test_login(void **state)
{
	(void)state;
	expect_success(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1] hi\r\n", "<C1 LOGIN alice s3cret",
			">* OK [PERMANENTFLAGS (\r\n* ANNOTATION \"message\" \"x*\r\n* 5 EXISTS\r\nC1 OK in\r\n",
			"<C2 CAPABILITY", ">* CAPABILITY  IMAP4rev1   ID \r\nC2 OK\r\n",
			"<C3 ID (\"name\" \"mailfs\" \"version\" \"" MAILFS_VERSION "\")",
			">* ID (\"name\" NIL)\r\nC3 OK\r\n"));
}

/* The tagged OK that brings the capabilities saves a round trip; NO to ID does no harm. */
static void test_login_brings_capabilities(void **state)
{
	(void)state;
	quirk_forget();
	expect_success(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1] hi\r\n", "<C1 LOGIN alice s3cret",
			">C1 OK [CAPABILITY IMAP4rev1 ID] in\r\n",
			"<C2 ID (\"name\" \"mailfs\" \"version\" \"" MAILFS_VERSION "\")",
			">C2 NO why\r\n"));
	expect_success(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1] hi\r\n", "<C1 LOGIN alice s3cret",
			">* CAPABILITY IMAP4rev1\r\nC1 OK in\r\n"));
	assert_int_equal(quirk_count(QUIRK_ID_REFUSED), 1);
}

static void test_login_quotes(void **state)
{
	struct peer peer;
	(void)state;
	peer_connect_as(&peer, NET_TLS_NONE, "al ice", "a\"b\\c) {5}",
		SCRIPT(">* OK [CAPABILITY IMAP4rev1] hi\r\n",
			"<C1 LOGIN \"al ice\" \"a\\\"b\\\\c) {5}\"",
			">C1 OK [CAPABILITY IMAP4rev1] in\r\n"));
	assert_int_equal(peer.result, 0);
	peer_finish(&peer);
}

/* What is not ASCII, and what is empty, goes as literals and quotes of our own. */
static void test_login_literals(void **state)
{
	struct peer peer;
	(void)state;
	peer_connect_as(&peer, NET_TLS_NONE, "alice", "p\xc3\xa4ss",
		SCRIPT(">* OK [CAPABILITY IMAP4rev1] hi\r\n", "<C1 LOGIN \"alice\" {5}",
			">+ go\r\n", "<p\xc3\xa4ss", ">C1 OK [CAPABILITY IMAP4rev1] in\r\n"));
	assert_int_equal(peer.result, 0);
	peer_finish(&peer);
	peer_connect_as(&peer, NET_TLS_NONE, "alice", "p\xc3\xa4ss",
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 LITERAL+] hi\r\n", "<C1 LOGIN \"alice\" {5+}",
			"<p\xc3\xa4ss", ">C1 NO [AUTHENTICATIONFAILED] no\r\n"));
	assert_int_equal(peer.result, -EACCES);
	assert_int_equal(peer.error.cause, SOURCE_CAUSE_LOGIN);
	peer_finish(&peer);
	peer_connect_as(&peer, NET_TLS_NONE, "alice", "p\xc3\xa4ss",
		SCRIPT(">* OK [CAPABILITY IMAP4rev1] hi\r\n", "<C1 LOGIN \"alice\" {5}",
			">C1 BAD no literals here\r\n"));
	assert_int_equal(peer.error.cause, SOURCE_CAUSE_LOGIN);
	assert_non_null(strstr(peer.error.text, "no literals here"));
	peer_finish(&peer);
}

static void test_login_injection(void **state)
{
	struct peer peer;
	(void)state;
	peer_connect_as(&peer, NET_TLS_NONE, "alice\r\nC2 DELETE INBOX", "x",
		SCRIPT(">* OK [CAPABILITY IMAP4rev1] hi\r\n"));
	assert_int_equal(peer.result, -EINVAL);
	peer_finish(&peer);
	peer_connect_as(&peer, NET_TLS_NONE, "alice", "x\r\ny",
		SCRIPT(">* OK [CAPABILITY IMAP4rev1] hi\r\n"));
	assert_int_equal(peer.result, -EINVAL);
	peer_finish(&peer);
}

static void test_login_refused(void **state)
{
	(void)state;
	expect_failure(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1] hi\r\n", "<C1 LOGIN alice s3cret",
			">C1 NO [AUTHENTICATIONFAILED] wrong password, Alice\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "wrong password, Alice");
	expect_failure(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1] hi\r\n", "<C1 LOGIN alice s3cret",
			">C1 NO [UNAVAILABLE] later\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_LATER, "later");
	expect_failure(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1] hi\r\n", "<C1 LOGIN alice s3cret",
			">* BYE too many failures\r\n"),
		SOURCE_CAUSE_CONNECT, SOURCE_RETRY_LATER, "too many failures");
	expect_failure(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1] hi\r\n", "<C1 LOGIN alice s3cret", "!"),
		SOURCE_CAUSE_CONNECT, SOURCE_RETRY_NOW, "closed");
}

static void test_login_disabled(void **state)
{
	(void)state;
	expect_failure(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=GSSAPI] hi\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "no way to log in");
}

static void test_login_out_of_step(void **state)
{
	static const char *const answers[] = {
		">C7 OK in\r\n", ">1 OK in\r\n", ">+ go on\r\n", ">garbage\r\n", ">C1 MAYBE\r\n"};
	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		expect_failure(NET_TLS_NONE,
			SCRIPT(">* OK [CAPABILITY IMAP4rev1] hi\r\n", "<C1 LOGIN alice s3cret",
				answers[i]),
			SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER, "can not be understood");
}

/* --- CAPABILITY through libetpan, which follows NULL behind an OK without data --- */

static void test_capability_without_data(void **state)
{
	(void)state;
	expect_failure(NET_TLS_NONE, SCRIPT(">* OK hi\r\n", "<C1 CAPABILITY", ">C1 OK done\r\n"),
		SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER, "no capabilities");
	expect_failure(NET_TLS_NONE, SCRIPT(">* OK hi\r\n", "<C1 CAPABILITY", ">C1 NO why\r\n"),
		SOURCE_CAUSE_OTHER, SOURCE_RETRY_LATER, "why");
	expect_failure(NET_TLS_NONE, SCRIPT(">* OK hi\r\n", "<C1 CAPABILITY", ">* BYE\r\n"),
		SOURCE_CAUSE_CONNECT, SOURCE_RETRY_NOW, "(nothing)");
	expect_failure(NET_TLS_STARTTLS,
		SCRIPT(">* OK hi\r\n", "<C1 CAPABILITY", ">* CAPABILITY\r\nC1 OK done\r\n"),
		SOURCE_CAUSE_TLS, SOURCE_RETRY_NEVER, "does not offer STARTTLS");
}

/* None of these may reach libetpan; the login goes on behind them. */
static void test_capability_among_hostile_lines(void **state)
{
	(void)state;
	expect_success(NET_TLS_NONE,
		SCRIPT(">* OK hi\r\n", "<C1 CAPABILITY",
			">* OK [PERMANENTFLAGS (\r\n* OK  [PERMANENTFLAGS (\\Seen\r\n",
			">* ANNOTATION \"message\" \"x*\r\n* 999 EXPUNGE\r\n* SEARCH 1 2 3\r\n* NAMESPACE ((\"\" \"\")) NIL NIL\r\n",
			"*900 * CAPABILITY (((((((((((((\r\n", ">* CAPABILITY IMAP4rev1 \"\r\n",
			">* CAPABILITY IMAP4rev1 AUTH=CRAM-MD5\r\nC1 OK [PERMANENTFLAGS (\r\n",
			"<C2 AUTHENTICATE CRAM-MD5", ">C2 BAD not now\r\n",
			"<C3 LOGIN alice s3cret", ">C3 OK [CAPABILITY IMAP4rev1] in\r\n"));
}

static void test_capability_flood(void **state)
{
	(void)state;
	expect_failure(NET_TLS_NONE,
		SCRIPT(">* OK hi\r\n", "<C1 CAPABILITY", "*1000000 * CAPABILITY IMAP4rev1\r\n"),
		SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER, "can not be understood");
	expect_failure(NET_TLS_NONE,
		SCRIPT(">* OK hi\r\n", "<C1 CAPABILITY", ">* CAPABILITY {4294967295}\r\n"),
		SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER, "larger than the limit");
	expect_failure(NET_TLS_NONE,
		SCRIPT(">* OK hi\r\n", "<C1 CAPABILITY", ">* CAPABILITY ", "*3000000 x"),
		SOURCE_CAUSE_PROTOCOL, SOURCE_RETRY_LATER, "larger than the limit");
}

/* --- AUTHENTICATE --- */

static void test_plain(void **state)
{
	(void)state;
	expect_success(
		NET_TLS_NONE, SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n",
				      "<C1 AUTHENTICATE PLAIN AGFsaWNlAHMzY3JldA==",
				      ">C1 OK [CAPABILITY IMAP4rev1] in\r\n"));
	expect_success(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN LOGINDISABLED] hi\r\n",
			"<C1 AUTHENTICATE PLAIN", ">+ \r\n",
			"<AGFsaWNlAHMzY3JldA==", ">C1 OK [CAPABILITY IMAP4rev1] in\r\n"));
}

/* RFC 2195's method with a challenge of our own; the digest was computed with Python's hmac. */
static void test_cram_md5(void **state)
{
	(void)state;
	expect_success(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=CRAM-MD5] hi\r\n",
			"<C1 AUTHENTICATE CRAM-MD5", ">+ PDEyMzRAZXhhbXBsZS5vcmc+\r\n",
			"<YWxpY2UgNjRhODRjZmNkODIxYzY5Y2U1YTRkMDY1NWM4Yjc4OWM=",
			">C1 OK [CAPABILITY IMAP4rev1] in\r\n"));
}

/* A wrong password is sent once: not by the next mechanism, not by LOGIN. */
static void test_one_attempt(void **state)
{
	(void)state;
	expect_failure(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=CRAM-MD5] hi\r\n",
			"<C1 AUTHENTICATE CRAM-MD5", ">+ PDEyMzRAZXhhbXBsZS5vcmc+\r\n",
			"<YWxpY2UgNjRhODRjZmNkODIxYzY5Y2U1YTRkMDY1NWM4Yjc4OWM=",
			">C1 NO [AUTHENTICATIONFAILED] no\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "no");
	/* Without a code the password itself would follow over TLS (tests/mount/test_interop.py), but not on a line that others may read. */
	expect_failure(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=CRAM-MD5] hi\r\n",
			"<C1 AUTHENTICATE CRAM-MD5", ">+ PDEyMzRAZXhhbXBsZS5vcmc+\r\n",
			"<YWxpY2UgNjRhODRjZmNkODIxYzY5Y2U1YTRkMDY1NWM4Yjc4OWM=",
			">C1 NO authentication failed\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "authentication failed");
	expect_failure(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] hi\r\n",
			"<C1 AUTHENTICATE PLAIN AGFsaWNlAHMzY3JldA==", ">C1 NO Login failed\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "Login failed");
}

/* --- A server that has no secret for what it announces --- */

#define SECURED(caps)    "^", ">* OK [CAPABILITY IMAP4rev1 SASL-IR" caps "] hi\r\n"
#define CRAM_MD5_REFUSED "<C1 AUTHENTICATE CRAM-MD5", ">C1 NO authentication failed\r\n"
#define PLAIN_TAKEN(tag)                                                                           \
	"<" tag " AUTHENTICATE PLAIN AGFsaWNlAHMzY3JldA==",                                        \
		">" tag " OK [CAPABILITY IMAP4rev1] in\r\n"
#define PLAIN_REFUSED(tag)                                                                         \
	"<" tag " AUTHENTICATE PLAIN AGFsaWNlAHMzY3JldA==", ">" tag " NO authentication failed\r\n"

/* results: of each connect. */
static void expect_logins(const char *const *steps, const int *results, size_t count)
{
	struct peer peer;
	peer_connect(&peer, NET_TLS_IMPLICIT, steps);
	for (size_t i = 0; i < count; i++) {
		if (i > 0)
			peer_reconnect(&peer);
		if (peer.result != results[i])
			fail_msg("login %zu: %d, %s", i, peer.result, peer.error.text);
	}
	peer_finish(&peer);
}

/* It is asked once, and not by each connection of the pool; with what it takes instead, be it LOGIN. */
static void test_without_secret(void **state)
{
	(void)state;
	expect_logins(
		SCRIPT(SECURED(" AUTH=PLAIN AUTH=CRAM-MD5"), CRAM_MD5_REFUSED, PLAIN_TAKEN("C2"),
			"@", SECURED(" AUTH=PLAIN AUTH=CRAM-MD5"), PLAIN_TAKEN("C1"), "@",
			SECURED(" AUTH=PLAIN AUTH=CRAM-MD5"), PLAIN_TAKEN("C1")),
		(const int[]){0, 0, 0}, 3);
	expect_logins(
		SCRIPT(SECURED(" AUTH=CRAM-MD5"), CRAM_MD5_REFUSED, "<C2 LOGIN alice s3cret",
			">C2 OK [CAPABILITY IMAP4rev1] in\r\n", "@", SECURED(" AUTH=CRAM-MD5"),
			"<C1 LOGIN alice s3cret", ">C1 OK [CAPABILITY IMAP4rev1] in\r\n"),
		(const int[]){0, 0}, 2);
}

/* What was not shown is not taken for granted: the password goes nowhere that the first login would not have sent it to. */
static void test_without_secret_shown(void **state)
{
	(void)state;
	/* that PLAIN is refused as well shows nothing */
	expect_logins(SCRIPT(SECURED(" AUTH=PLAIN AUTH=CRAM-MD5"), CRAM_MD5_REFUSED,
			      PLAIN_REFUSED("C2"), "@", SECURED(" AUTH=PLAIN AUTH=CRAM-MD5"),
			      CRAM_MD5_REFUSED, PLAIN_TAKEN("C2")),
		(const int[]){-EACCES, 0}, 2);
	/* a mechanism that was not refused; one that was, where there is nothing else */
	expect_logins(
		SCRIPT(SECURED(" AUTH=PLAIN AUTH=CRAM-MD5"), CRAM_MD5_REFUSED, PLAIN_TAKEN("C2"),
			"@", SECURED(" AUTH=PLAIN AUTH=CRAM-MD5 AUTH=SCRAM-SHA-1"),
			"?C1 AUTHENTICATE SCRAM-SHA-1 ", ">C1 NO [UNAVAILABLE] not now\r\n"),
		(const int[]){0, -EACCES}, 2);
	expect_logins(SCRIPT(SECURED(" AUTH=PLAIN AUTH=CRAM-MD5"), CRAM_MD5_REFUSED,
			      PLAIN_TAKEN("C2"), "@", SECURED(" LOGINDISABLED AUTH=CRAM-MD5"),
			      "<C1 AUTHENTICATE CRAM-MD5", ">C1 NO [UNAVAILABLE] not now\r\n"),
		(const int[]){0, -EACCES}, 2);
	/* and it counts as long as it works */
	expect_logins(
		SCRIPT(SECURED(" AUTH=PLAIN AUTH=CRAM-MD5"), CRAM_MD5_REFUSED, PLAIN_TAKEN("C2"),
			"@", SECURED(" AUTH=PLAIN AUTH=CRAM-MD5"), PLAIN_REFUSED("C1"), "@",
			SECURED(" AUTH=PLAIN AUTH=CRAM-MD5"), CRAM_MD5_REFUSED, PLAIN_TAKEN("C2")),
		(const int[]){0, -EACCES, 0}, 3);
}

static void test_next_mechanism(void **state)
{
	(void)state;
	expect_success(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=CRAM-MD5 SASL-IR] hi\r\n",
			"<C1 AUTHENTICATE CRAM-MD5",
			">C1 NO Unsupported authentication mechanism\r\n",
			"<C2 AUTHENTICATE PLAIN AGFsaWNlAHMzY3JldA==",
			">C2 NO [CANNOT] mechanism too weak\r\n", "<C3 LOGIN alice s3cret",
			">C3 OK [CAPABILITY IMAP4rev1] in\r\n"));
}

/* A server that says OK without having proved that it knows the password. */
static void test_scram_without_proof(void **state)
{
	struct peer peer;
	(void)state;
	peer_connect(&peer, NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=SCRAM-SHA-256 AUTH=PLAIN] hi\r\n",
			"<C1 AUTHENTICATE SCRAM-SHA-256", ">C1 OK [CAPABILITY IMAP4rev1] in\r\n"));
	assert_int_equal(peer.result, -EACCES);
	assert_int_equal(peer.error.cause, SOURCE_CAUSE_LOGIN);
	assert_non_null(strstr(peer.error.text, "did not prove"));
	peer_finish(&peer);
}

/* No falling back to a weaker mechanism when a challenge is wrong: it may be the work of a man in the middle. */
static void test_bad_challenge(void **state)
{
	(void)state;
	expect_failure(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=CRAM-MD5 AUTH=PLAIN] hi\r\n",
			"<C1 AUTHENTICATE CRAM-MD5", ">+ this is not base64!\r\n", "<*",
			">C1 BAD cancelled\r\n"),
		SOURCE_CAUSE_LOGIN, SOURCE_RETRY_NEVER, "server's part");
}

static void test_endless_challenges(void **state)
{
	struct peer peer;
	(void)state;
	peer_connect(&peer, NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n", "<C1 AUTHENTICATE PLAIN",
			"*1000 + \r\n"));
	assert_true(peer.result < 0);
	peer_finish(&peer);
}

/* --- An access token --- */

#define OAUTHBEARER "bixhPWFsaWNlLAFhdXRoPUJlYXJlciB0MGtlbgEB"
#define XOAUTH2     "dXNlcj1hbGljZQFhdXRoPUJlYXJlciB0MGtlbgEB"
#define REFUSED                                                                                    \
	">+ eyJzdGF0dXMiOiJpbnZhbGlkX3Rva2VuIiwic2NvcGUiOiJtYWlsIn0=\r\n" /* {"status":"invalid_token","scope":"mail"} */

static void expect_token_success(const char *const *steps)
{
	struct peer peer;
	peer_connect_token(&peer, "t0ken", steps);
	if (peer.result < 0)
		fail_msg("connect: %s", peer.error.text);
	peer_finish(&peer);
}

static void expect_token_failure(const char *token, const char *const *steps, const char *words)
{
	struct peer peer;
	peer_connect_token(&peer, token, steps);
	assert_int_equal(peer.result, -EACCES);
	if (!strstr(peer.error.text, words))
		fail_msg("'%s' is not in '%s'", words, peer.error.text);
	assert_int_equal(peer.error.cause, SOURCE_CAUSE_LOGIN);
	assert_int_equal(peer.error.retry, SOURCE_RETRY_NEVER);
	peer_finish(&peer);
}

static void test_token(void **state)
{
	(void)state;
	expect_token_success(SCRIPT(
		">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=XOAUTH2 AUTH=OAUTHBEARER SASL-IR] hi\r\n",
		"<C1 AUTHENTICATE OAUTHBEARER " OAUTHBEARER,
		">C1 OK [CAPABILITY IMAP4rev1] in\r\n"));
	expect_token_success(
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 LOGINDISABLED] hi\r\n",
			"<C1 AUTHENTICATE XOAUTH2", ">+ \r\n", "<" XOAUTH2,
			">C1 OK [CAPABILITY IMAP4rev1] in\r\n"));
}

static void test_token_next_mechanism(void **state)
{
	(void)state;
	expect_token_success(SCRIPT(
		">* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 AUTH=OAUTHBEARER SASL-IR] hi\r\n",
		"<C1 AUTHENTICATE OAUTHBEARER " OAUTHBEARER,
		">C1 NO [CANNOT] Unsupported authentication mechanism\r\n",
		"<C2 AUTHENTICATE XOAUTH2 " XOAUTH2, ">C2 OK [CAPABILITY IMAP4rev1] in\r\n"));
}

/* The refusal is answered as the mechanism demands; a refused token is sent once. */
static void test_token_refused(void **state)
{
	(void)state;
	expect_token_failure("t0ken",
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 AUTH=OAUTHBEARER SASL-IR] hi\r\n",
			"<C1 AUTHENTICATE OAUTHBEARER " OAUTHBEARER, REFUSED,
			"<AQ==", ">C1 NO [AUTHENTICATIONFAILED] the token is too old\r\n"),
		"the token is too old");
	expect_token_failure("t0ken",
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=XOAUTH2 SASL-IR] hi\r\n",
			"<C1 AUTHENTICATE XOAUTH2 " XOAUTH2, REFUSED, "<",
			">C1 NO SASL authentication failed\r\n"),
		"SASL authentication failed");
}

/* Where nobody takes tokens, it is not sent: not as a password either. */
static void test_token_not_offered(void **state)
{
	(void)state;
	expect_token_failure("t0ken",
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN AUTH=CRAM-MD5 SASL-IR] hi\r\n"),
		"neither by OAUTHBEARER nor by XOAUTH2");
	expect_token_failure("t0ken\n",
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER SASL-IR] hi\r\n"),
		"can not be sent");
}

/* Nor is a password sent as a token. */
static void test_password_is_no_token(void **state)
{
	(void)state;
	expect_success(NET_TLS_NONE,
		SCRIPT(">* OK [CAPABILITY IMAP4rev1 AUTH=OAUTHBEARER AUTH=XOAUTH2 SASL-IR] hi\r\n",
			"<C1 LOGIN alice s3cret", ">C1 OK [CAPABILITY IMAP4rev1] in\r\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_preauth),
		cmocka_unit_test(test_preauth_asks_for_capabilities),
		cmocka_unit_test(test_greeting_refused),
		cmocka_unit_test(test_greeting_garbage),
		cmocka_unit_test(test_closed_at_once),
		cmocka_unit_test(test_starttls_not_offered),
		cmocka_unit_test(test_starttls_preauth),
		cmocka_unit_test(test_starttls_refused),
		cmocka_unit_test(test_starttls_injection),
		cmocka_unit_test(test_starttls_forgets),
		cmocka_unit_test(test_starttls_bye),
		cmocka_unit_test(test_starttls_handshake_fails),
		cmocka_unit_test(test_login),
		cmocka_unit_test(test_login_brings_capabilities),
		cmocka_unit_test(test_login_quotes),
		cmocka_unit_test(test_login_literals),
		cmocka_unit_test(test_login_injection),
		cmocka_unit_test(test_login_refused),
		cmocka_unit_test(test_login_disabled),
		cmocka_unit_test(test_login_out_of_step),
		cmocka_unit_test(test_capability_without_data),
		cmocka_unit_test(test_capability_among_hostile_lines),
		cmocka_unit_test(test_capability_flood),
		cmocka_unit_test(test_plain),
		cmocka_unit_test(test_cram_md5),
		cmocka_unit_test(test_one_attempt),
		cmocka_unit_test(test_without_secret),
		cmocka_unit_test(test_without_secret_shown),
		cmocka_unit_test(test_next_mechanism),
		cmocka_unit_test(test_scram_without_proof),
		cmocka_unit_test(test_bad_challenge),
		cmocka_unit_test(test_endless_challenges),
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_token_next_mechanism),
		cmocka_unit_test(test_token_refused),
		cmocka_unit_test(test_token_not_offered),
		cmocka_unit_test(test_password_is_no_token),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
