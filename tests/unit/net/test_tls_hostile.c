/* SPDX-License-Identifier: MIT */
/* TLS against somebody who means harm: what never ends, what is no TLS, what is too old, and that each is said in its own words. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fixture.h"
#include "mailfs/util/clock.h"

#define DEADLINE_MS 400
/* By when it has ended, on a machine that is busy with other things. */
#define ENDED_MS (DEADLINE_MS + 5000)

static void assert_says(const struct source_error *error, const char *part)
{
	if (!strstr(error->text, part))
		fail_msg("\"%s\" is not in: %s", part, error->text);
}

/* --- Scripts --- */

static bool send_raw(struct peer_conn *conn, const void *data, size_t len)
{
	return send(conn->fd, data, len, MSG_NOSIGNAL) == (ssize_t)len;
}

/* Handshake records full of HelloRequest, which a client passes over (RFC 5246 §7.4.1.1): no key is needed for them. */
static void hello_requests(struct peer_conn *conn)
{
	static const unsigned char head[] = {0x16, 3, 3, 0x40, 0};
	unsigned char records[4 * (sizeof(head) + 0x4000)] = {0};
	for (size_t i = 0; i < 4; i++)
		memcpy(records + i * (sizeof(head) + 0x4000), head, sizeof(head));
	for (;;) {
		for (size_t sent = 0; sent < sizeof(records);) {
			ssize_t n = send(
				conn->fd, records + sent, sizeof(records) - sent, MSG_NOSIGNAL);
			if (n <= 0)
				return;
			sent += (size_t)n;
		}
	}
}

/* The beginning of a record that would be 16 KiB long, a byte at a time. */
static void trickled_record(struct peer_conn *conn)
{
	static const unsigned char head[] = {0x16, 3, 3, 0x3f, 0xff};
	if (!send_raw(conn, head, sizeof(head)))
		return;
	for (int i = 0; i < 400 && send_raw(conn, "\2", 1); i++)
		usleep(20000);
}

/* After a good handshake nothing but records of TLS's own: no byte for a reader. */
static void key_updates(struct peer_conn *conn)
{
	if (!peer_handshake(conn))
		return;
	while (SSL_key_update(conn->ssl, SSL_KEY_UPDATE_NOT_REQUESTED) == 1 &&
		SSL_do_handshake(conn->ssl) == 1)
		;
}

/* Agrees to TLS, and then goes on in the clear, not in the same packet. */
static void starttls_then_text(struct peer_conn *conn)
{
	char buf[64];
	peer_puts(conn, "* OK hello\r\n");
	if (peer_read(conn, buf, sizeof(buf)) <= 0 || !peer_puts(conn, "A1 OK begin\r\n"))
		return;
	peer_read(conn, buf, sizeof(buf)); /* the ClientHello */
	peer_puts(conn, "* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n");
	peer_drain(conn);
}

/* A ServerHello of an old version; 0x0301: TLS 1.0. */
static void old_hello(struct peer_conn *conn)
{
	unsigned char hello[5 + 4 + 38] = {0x16, 3, 1, 0, 4 + 38, 2, 0, 0, 38, 3, 1};
	char buf[2048];
	memset(hello + 11, 'r', 32);
	hello[sizeof(hello) - 3] = 0;
	hello[sizeof(hello) - 2] = 0x2f; /* AES128-SHA */
	hello[sizeof(hello) - 1] = 0;
	if (peer_read(conn, buf, sizeof(buf)) > 0 && send_raw(conn, hello, sizeof(hello)))
		peer_drain(conn);
}

/* --- Tests --- */

/* How long a connection takes that can not come about. */
static int64_t connect_fails(peer_script *script, struct source_error *error)
{
	struct peer peer;
	struct net_stream *stream = NULL;
	peer_start(&peer, NULL, 0, script, NULL);
	struct net_context *context =
		fixture_context(&peer, FIXTURE_HOST, NET_TLS_IMPLICIT, fixture.ca_file, NULL);
	int64_t start = clock_now_ms();
	int r = net_connect(context, start + DEADLINE_MS, &stream, error);
	int64_t took = clock_now_ms() - start;
	assert_true(r < 0);
	assert_null(stream);
	net_context_destroy(context);
	peer_stop(&peer);
	return took;
}

static void handshakes_end_at_their_deadline(void **state)
{
	static peer_script *const scripts[] = {hello_requests, trickled_record, peer_drain};
	(void)state;
	for (size_t i = 0; i < sizeof(scripts) / sizeof(scripts[0]); i++) {
		struct source_error error;
		int64_t took = connect_fails(scripts[i], &error);
		assert_int_equal(error.err, -ETIMEDOUT);
		assert_says(&error, "TLS handshake timed out");
		assert_true(took < ENDED_MS);
	}
}

static void records_without_content_do_not_last(void **state)
{
	struct peer peer;
	struct source_error error;
	struct net_stream *stream = NULL;
	char c;
	(void)state;
	peer_start(&peer, &fixture.leaf, TLS1_3_VERSION, key_updates, NULL);
	struct net_context *context =
		fixture_context(&peer, FIXTURE_HOST, NET_TLS_IMPLICIT, fixture.ca_file, NULL);
	if (net_connect(context, clock_now_ms() + 10000, &stream, &error) < 0)
		fail_msg("%s", error.text);
	int64_t start = clock_now_ms();
	net_set_deadline(stream, start + DEADLINE_MS);
	assert_true(net_read(stream, &c, 1) < 0);
	assert_true(clock_now_ms() - start < ENDED_MS);
	net_close(stream);
	net_context_destroy(context);
	peer_stop(&peer);
}

static void text_in_the_place_of_tls(void **state)
{
	_cleanup_str_ struct str line = STR_INIT;
	struct peer peer;
	struct source_error error;
	struct net_stream *stream = NULL;
	(void)state;
	peer_start(&peer, NULL, 0, starttls_then_text, NULL);
	struct net_context *context =
		fixture_context(&peer, FIXTURE_HOST, NET_TLS_STARTTLS, fixture.ca_file, NULL);
	assert_int_equal(net_connect(context, clock_now_ms() + 10000, &stream, &error), 0);
	assert_int_equal(net_read_response(stream, &net_limits_default, &line), 0);
	assert_int_equal(net_write(stream, "A1 STARTTLS\r\n", 13), 0);
	assert_int_equal(net_read_response(stream, &net_limits_default, &line), 0);
	assert_true(net_start_tls(stream, &error) < 0);
	assert_int_equal(error.cause, SOURCE_CAUSE_TLS);
	assert_says(&error, "agreed to TLS and sent something else");
	assert_false(net_secured(stream));
	assert_true(net_write(stream, "A2 LOGIN me secret\r\n", 20) < 0);
	net_close(stream);
	net_context_destroy(context);
	peer_stop(&peer);
}

static void tls_1_0_is_refused(void **state)
{
	struct source_error error;
	(void)state;
	connect_fails(old_hello, &error);
	assert_int_equal(error.cause, SOURCE_CAUSE_TLS);
	assert_says(&error, "TLS 1.2 or later is required");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(handshakes_end_at_their_deadline),
		cmocka_unit_test(records_without_content_do_not_last),
		cmocka_unit_test(text_in_the_place_of_tls),
		cmocka_unit_test(tls_1_0_is_refused),
	};
	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
