/* SPDX-License-Identifier: MIT */
/* COMPRESS=DEFLATE: what is offered and done once, refusals that end nothing, and sessions that go on deflated. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "watcher.h"

#define OFFER GREETING(" COMPRESS=DEFLATE IDLE NOTIFY UNSELECT")

static unsigned can_compress(const struct peer *peer)
{
	return peer->source->ops->abilities(peer->session) & SOURCE_CAN_COMPRESS;
}

static int compress_session(struct peer *peer)
{
	return peer->source->ops->compress(peer->session, &peer->error);
}

static bool is_deflated(const struct peer *peer)
{
	struct source_flow flow;
	peer->source->ops->flow(peer->session, &flow);
	return flow.deflated;
}

static int body(struct peer *peer, struct str *out)
{
	return peer->source->ops->body(peer->session, 4, "", 0, 0, 100000, out, &peer->error);
}

static void expect_select(struct peer *peer)
{
	struct source_state state;
	if (session_select(peer, "box", &state) < 0)
		fail_msg("select: %s", peer->error.text);
	assert_int_equal(state.messages, 3);
}

#define EXAMINE(tag)                                                                               \
	"<C" tag " EXAMINE \"box\"",                                                               \
		">* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nC" tag " OK [READ-ONLY] done\r\n"

static void test_goes_on_deflated(void **state)
{
	struct peer peer;
	struct str out = STR_INIT;
	uint64_t in, sent;
	struct source_flow flow;
	struct str answer = STR_INIT;
	(void)state;
	str_append_cstr(&answer, ">* 1 FETCH (UID 4 BODY[]<0> {50000}\r\n");
	for (int i = 0; i < 50000; i++)
		str_putc(&answer, 'x');
	str_append_cstr(&answer, ")\r\nC3 OK\r\n");
	assert_int_equal(str_error(&answer), 0);
	session_begin(
		&peer, SCRIPT(OFFER, "<C1 COMPRESS DEFLATE", "z* 9 EXISTS\r\nC1 OK begin\r\n|",
			       EXAMINE("2"), "<C3 UID FETCH 4 (UID BODY.PEEK[]<0.100001>)",
			       str_cstr(&answer)));
	assert_true(can_compress(&peer));
	assert_false(is_deflated(&peer));
	assert_int_equal(compress_session(&peer), 0);
	assert_true(is_deflated(&peer));
	expect_select(&peer);
	if (body(&peer, &out) < 0)
		fail_msg("body: %s", peer.error.text);
	assert_int_equal(out.len, 50000);
	for (size_t i = 0; i < out.len; i++)
		assert_true(out.data[i] == 'x');
	peer.source->ops->traffic(peer.session, &in, &sent);
	peer.source->ops->flow(peer.session, &flow);
	assert_true(in < 2000 && flow.content_bytes > 50000);
	str_finish(&out);
	str_finish(&answer);
	peer_finish(&peer);
}

/* Once: neither the ability nor the command comes again, whatever the server announces afterwards. */
static void test_is_done_once(void **state)
{
	struct peer peer;
	(void)state;
	session_begin(&peer,
		SCRIPT(OFFER, "<C1 COMPRESS DEFLATE", "zC1 OK\r\n|", "<C2 EXAMINE \"box\"",
			">* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nC2 OK\r\n"));
	assert_int_equal(compress_session(&peer), 0);
	assert_false(can_compress(&peer));
	expect_select(&peer);
	assert_false(can_compress(&peer));
	assert_int_equal(compress_session(&peer), -EOPNOTSUPP);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_MESSAGE);
	assert_true(is_deflated(&peer));
	peer_finish(&peer);
}

/* Not announced: nothing is sent. */
static void test_not_offered(void **state)
{
	struct peer peer;
	(void)state;
	session_begin(&peer, SCRIPT(GREETING(" COMPRESS=LZMA XCOMPRESS=DEFLATE"), EXAMINE("1")));
	assert_false(can_compress(&peer));
	assert_int_equal(compress_session(&peer), -EOPNOTSUPP);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_MESSAGE);
	assert_int_equal(peer.error.retry, SOURCE_RETRY_NEVER);
	expect_select(&peer);
	peer_finish(&peer);
}

static void test_refused(void **state)
{
	static const char *const answers[] = {
		">C1 NO [COMPRESSIONACTIVE] DEFLATE active via TLS\r\n", ">C1 NO no\r\n",
		">C1 BAD what\r\n", ">* 5 EXISTS\r\nC1 BAD Unknown command\r\n"};
	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
		struct peer peer;
		/* announced again by the next answer: it counts no more */
		session_begin(&peer,
			SCRIPT(OFFER, "<C1 COMPRESS DEFLATE", answers[i], "<C2 EXAMINE \"box\"",
				">* CAPABILITY IMAP4rev1 COMPRESS=DEFLATE\r\n* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nC2 OK\r\n"));
		assert_int_equal(compress_session(&peer), -EOPNOTSUPP);
		assert_int_equal(peer.error.scope, SOURCE_SCOPE_MESSAGE);
		assert_false(can_compress(&peer));
		assert_false(is_deflated(&peer));
		expect_select(&peer);
		assert_false(can_compress(&peer));
		assert_int_equal(compress_session(&peer), -EOPNOTSUPP);
		peer_finish(&peer);
	}
}

/* What comes together with the OK, deflated, is taken as what it is: here the server's next words. */
static void test_early_bytes(void **state)
{
	struct peer peer;
	(void)state;
	session_begin(&peer, SCRIPT(OFFER, EXAMINE("1"), "<C2 COMPRESS DEFLATE",
				     "zC2 OK begin\r\n|* 4 EXISTS\r\n* OK [ALERT] hello\r\n",
				     "<C3 EXAMINE \"box\"",
				     ">* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nC3 OK\r\n"));
	expect_select(&peer);
	assert_int_equal(compress_session(&peer), 0);
	expect_select(&peer);
	peer_finish(&peer);
}

/* A server that says OK and goes on in the clear: the connection is lost, with words that say why. */
static void test_goes_on_in_the_clear(void **state)
{
	struct peer peer;
	struct source_state ignored;
	(void)state;
	session_begin(&peer,
		SCRIPT(OFFER, "<C1 COMPRESS DEFLATE", ">C1 OK\r\n* 3 EXISTS\r\nC2 OK done\r\n"));
	assert_int_equal(compress_session(&peer), 0);
	assert_int_equal(session_select(&peer, "box", &ignored), -EIO);
	assert_int_equal(peer.error.scope, SOURCE_SCOPE_ACCOUNT);
	assert_int_equal(peer.error.cause, SOURCE_CAUSE_PROTOCOL);
	assert_non_null(strstr(peer.error.text, "not compressed as agreed"));
	assert_int_equal(session_select(&peer, "box", &ignored), -EIO);
	peer_finish(&peer);
}

static void test_ends_in_the_middle(void **state)
{
	static const char *const last[] = {"!", ">* BYE going down\r\n", ">C7 OK what\r\n"};
	(void)state;
	for (size_t i = 0; i < sizeof(last) / sizeof(last[0]); i++) {
		struct peer peer;
		session_begin(&peer, SCRIPT(OFFER, "<C1 COMPRESS DEFLATE", last[i]));
		assert_int_equal(compress_session(&peer), -EIO);
		assert_int_equal(peer.error.scope, SOURCE_SCOPE_ACCOUNT);
		assert_false(is_deflated(&peer));
		peer_finish(&peer);
	}
}

/* --- News on a deflated session --- */

static void test_idle(void **state)
{
	struct watcher watcher;
	(void)state;
	watcher_begin(&watcher, 3,
		SCRIPT(OFFER, "<C1 COMPRESS DEFLATE", "zC1 OK\r\n|", EXAMINE("2"), "<C3 IDLE",
			">+ idling\r\n", ">* 4 EXISTS\r\n", "#100", ">* 5 EXISTS\r\n", "<DONE",
			">C3 OK\r\n", "<C4 EXAMINE \"box\"",
			">* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\nC4 OK\r\n"));
	assert_int_equal(compress_session(&watcher.peer), 0);
	int64_t start = clock_now_ms();
	if (watch(&watcher, "box", LONG_MS) < 0)
		fail_msg("watch: %s", watcher.peer.error.text);
	assert_true(clock_now_ms() - start < LONG_MS / 2);
	assert_string_equal(str_cstr(&watcher.told), "ready mailbox:box mailbox:box ");
	expect_select(&watcher.peer);
	watcher_finish(&watcher);
}

static void test_notify(void **state)
{
	struct watcher watcher;
	(void)state;
	watcher_begin(&watcher, 3,
		SCRIPT(OFFER, "<C1 COMPRESS DEFLATE", "zC1 OK\r\n|",
			"<C2 NOTIFY SET (personal (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))",
			">C2 OK\r\n", "#50", ">* STATUS \"a\" (MESSAGES 1)\r\n", "#100",
			">* STATUS \"b\" (MESSAGES 1)\r\n", "<C3 NOOP", ">C3 OK\r\n"));
	assert_int_equal(compress_session(&watcher.peer), 0);
	if (watch(&watcher, NULL, LONG_MS) < 0)
		fail_msg("watch: %s", watcher.peer.error.text);
	assert_string_equal(str_cstr(&watcher.told), "ready mailbox:a mailbox:b ");
	watcher_finish(&watcher);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_goes_on_deflated),
		cmocka_unit_test(test_is_done_once),
		cmocka_unit_test(test_not_offered),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_early_bytes),
		cmocka_unit_test(test_goes_on_in_the_clear),
		cmocka_unit_test(test_ends_in_the_middle),
		cmocka_unit_test(test_idle),
		cmocka_unit_test(test_notify),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
