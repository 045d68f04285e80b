/* SPDX-License-Identifier: MIT */
/* TLS as a transport: handshakes that fail, STARTTLS, resumption, ends, deadlines, big writes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "context.h"
#include "fixture.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"

#define BIG ((size_t)4 * 1024 * 1024)

struct link {
	struct peer peer;
	struct net_context *context;
	struct net_stream *stream;
};

static void link_start(
	struct link *link, enum net_tls tls, int version, peer_script *script, void *arg)
{
	*link = (struct link){0};
	peer_start(&link->peer, &fixture.leaf, version, script, arg);
	link->context = fixture_context(&link->peer, FIXTURE_HOST, tls, fixture.ca_file, NULL);
}

static void link_connect(struct link *link)
{
	struct source_error error;
	if (net_connect(link->context, clock_now_ms() + 15000, &link->stream, &error) < 0)
		fail_msg("%s", error.text);
}

static void link_close(struct link *link)
{
	net_close(link->stream);
	net_context_destroy(link->context);
	peer_stop(&link->peer);
}

static void assert_says(const struct source_error *error, const char *part)
{
	if (!strstr(error->text, part))
		fail_msg("\"%s\" is not in: %s", part, error->text);
}

/* A connection that has to fail within patience_ms. */
static int connect_fails(enum net_tls tls, int version, peer_script *script, int patience_ms,
	struct source_error *error)
{
	struct link link;
	link_start(&link, tls, version, script, NULL);
	int64_t start = clock_now_ms();
	int r = net_connect(link.context, start + patience_ms, &link.stream, error);
	assert_true(r < 0);
	assert_null(link.stream);
	assert_true(clock_now_ms() - start < patience_ms + 1500);
	link_close(&link);
	return r;
}

/* --- Scripts --- */

static void echo(struct peer_conn *conn)
{
	char buf[1000];
	int n;
	if (!peer_handshake(conn))
		return;
	while ((n = peer_read(conn, buf, sizeof(buf))) > 0 && peer_write(conn, buf, (size_t)n))
		;
}

static void speak_plain(struct peer_conn *conn)
{
	peer_puts(conn, "* OK no TLS on this port\r\n");
	peer_drain(conn);
}

static void hang_up(struct peer_conn *conn)
{
	char c;
	peer_read(conn, &c, 1);
}

static void shake_only(struct peer_conn *conn)
{
	peer_handshake(conn);
	peer_drain(conn);
}

static void starttls(struct peer_conn *conn)
{
	char buf[64];
	peer_puts(conn, "* OK hello\r\n");
	if (peer_read(conn, buf, sizeof(buf)) > 0 && peer_puts(conn, "A1 OK begin\r\n"))
		echo(conn);
}

static void starttls_with_injection(struct peer_conn *conn)
{
	char buf[64];
	peer_puts(conn, "* OK hello\r\n");
	if (peer_read(conn, buf, sizeof(buf)) > 0 &&
		peer_puts(conn, "A1 OK begin\r\n* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n"))
		echo(conn);
}

static void say_bye_cleanly(struct peer_conn *conn)
{
	if (!peer_handshake(conn))
		return;
	peer_puts(conn, "* BYE\r\n");
	SSL_shutdown(conn->ssl);
	char c;
	recv(conn->fd, &c, 1, 0); /* until the client has closed */
}

static void cut_off(struct peer_conn *conn)
{
	if (peer_handshake(conn))
		peer_puts(conn, "* BYE\r\n");
}

static void garbage(struct peer_conn *conn)
{
	static const char junk[] = "\x17\x03\x03\x00\x20this is no ciphertext at all.....";
	if (!peer_handshake(conn))
		return;
	peer_puts(conn, "* BYE\r\n");
	send(conn->fd, junk, sizeof(junk) - 1, MSG_NOSIGNAL);
	char buf[100];
	while (recv(conn->fd, buf, sizeof(buf), 0) > 0)
		;
}

static void write_then_read(struct peer_conn *conn)
{
	bool *ok = conn->arg;
	char *ours = malloc(BIG), *theirs = malloc(BIG);
	if (!ours || !theirs || !peer_handshake(conn))
		return;
	memset(ours, 's', BIG);
	*ok = peer_write(conn, ours, BIG) && peer_read_all(conn, theirs, BIG);
	for (size_t i = 0; *ok && i < BIG; i++)
		*ok = theirs[i] == (char)(i * 31 + i / 251);
	free(ours);
	free(theirs);
}

/* Sends a long response with one TLS record for each byte. */
static void byte_by_byte(struct peer_conn *conn)
{
	static const char text[] = "* 1 FETCH (BODY[] {10}\r\n0123456789 UID 3)\r\nA1 OK\r\n";
	if (!peer_handshake(conn))
		return;
	for (size_t i = 0; i < sizeof(text) - 1; i++)
		peer_write(conn, text + i, 1);
	peer_drain(conn);
}

struct wire_count {
	uint64_t in, out;
};

static void count_wire(struct peer_conn *conn)
{
	struct wire_count *count = conn->arg;
	echo(conn);
	count->in = BIO_number_read(SSL_get_rbio(conn->ssl));
	count->out = BIO_number_written(SSL_get_wbio(conn->ssl));
}

/* --- Tests --- */

static void echo_lines(struct net_stream *stream, int lines)
{
	_cleanup_str_ struct str line = STR_INIT;
	for (int i = 0; i < lines; i++) {
		assert_int_equal(net_write(stream, "hello\r\n", 7), 0);
		assert_int_equal(net_read_response(stream, &net_limits_default, &line), 0);
		assert_string_equal(line.data, "hello");
	}
}

static void bytes_of_the_wire_are_counted(void **state)
{
	(void)state;
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	for (size_t i = 0; i < 2; i++) {
		struct link link;
		struct wire_count count = {0};
		uint64_t in, out;
		link_start(&link, NET_TLS_IMPLICIT, versions[i], count_wire, &count);
		link_connect(&link);
		assert_true(net_secured(link.stream));
		echo_lines(link.stream, 10);
		net_traffic(link.stream, &in, &out);
		net_close(steal_ptr(link.stream));
		link_close(&link);
		assert_int_equal(in, count.out);
		assert_true(count.in >= out && count.in - out < 64); /* our close_notify */
		assert_true(out > 10 * 7 + 200);
	}
}

static void plain_server_is_explained(void **state)
{
	(void)state;
	struct source_error error;
	connect_fails(NET_TLS_IMPLICIT, TLS1_3_VERSION, speak_plain, 5000, &error);
	assert_int_equal(error.cause, SOURCE_CAUSE_TLS);
	assert_says(&error, "TLS handshake failed: ");
	assert_says(&error, "imap://");
}

static void old_tls_is_refused(void **state)
{
	(void)state;
	struct source_error error;
	connect_fails(NET_TLS_IMPLICIT, TLS1_1_VERSION, shake_only, 5000, &error);
	assert_int_equal(error.cause, SOURCE_CAUSE_TLS);
	assert_says(&error, "TLS 1.2 or later is required");
}

static void silent_server_meets_the_deadline(void **state)
{
	(void)state;
	struct source_error error;
	assert_int_equal(connect_fails(NET_TLS_IMPLICIT, TLS1_3_VERSION, peer_drain, 200, &error),
		-ETIMEDOUT);
	assert_int_equal(error.cause, SOURCE_CAUSE_CONNECT);
	assert_int_equal(error.err, -ETIMEDOUT);
	assert_says(&error, "TLS handshake timed out");
}

static void end_during_the_handshake(void **state)
{
	(void)state;
	struct source_error error;
	assert_true(connect_fails(NET_TLS_IMPLICIT, TLS1_3_VERSION, hang_up, 5000, &error) < 0);
	assert_int_equal(error.cause, SOURCE_CAUSE_TLS);
	assert_says(&error, "closed the connection during the TLS handshake");
}

static void *cancel_soon(void *context)
{
	usleep(100000);
	net_context_cancel(context);
	return NULL;
}

static void cancel_ends_a_handshake(void **state)
{
	(void)state;
	struct link link;
	struct source_error error;
	pthread_t thread;
	link_start(&link, NET_TLS_IMPLICIT, TLS1_3_VERSION, peer_drain, NULL);
	pthread_create(&thread, NULL, cancel_soon, link.context);
	assert_int_equal(net_connect(link.context, CLOCK_NEVER, &link.stream, &error), -ECANCELED);
	assert_int_equal(error.scope, SOURCE_SCOPE_CANCELLED);
	pthread_join(thread, NULL);
	link_close(&link);
}

/* Up to the point where the handshake begins. */
static void starttls_begin(struct link *link, peer_script *script)
{
	_cleanup_str_ struct str line = STR_INIT;
	link_start(link, NET_TLS_STARTTLS, TLS1_3_VERSION, script, NULL);
	link_connect(link);
	assert_false(net_secured(link->stream));
	assert_int_equal(net_read_response(link->stream, &net_limits_default, &line), 0);
	assert_int_equal(net_write(link->stream, "A1 STARTTLS\r\n", 13), 0);
	assert_int_equal(net_read_response(link->stream, &net_limits_default, &line), 0);
	assert_string_equal(line.data, "A1 OK begin");
}

static void starttls_secures(void **state)
{
	(void)state;
	struct link link;
	struct source_error error;
	starttls_begin(&link, starttls);
	if (net_start_tls(link.stream, &error) < 0)
		fail_msg("%s", error.text);
	assert_true(net_secured(link.stream));
	echo_lines(link.stream, 3);
	link_close(&link);
}

/* CVE-2011-0411: what came in the clear must not count as said under TLS. */
static void injected_bytes_are_refused(void **state)
{
	(void)state;
	struct link link;
	struct source_error error;
	starttls_begin(&link, starttls_with_injection);
	assert_true(net_buffered(link.stream) > 0);
	assert_int_equal(net_start_tls(link.stream, &error), -EPROTO);
	assert_int_equal(error.cause, SOURCE_CAUSE_TLS);
	assert_says(&error, "unencrypted bytes");
	assert_false(net_secured(link.stream));
	assert_int_equal(net_write(link.stream, "A2 LOGIN me secret\r\n", 20), -EPROTO);
	link_close(&link);
}

/* A failed handshake leaves nothing that could be used in the clear. */
static void failed_starttls_ends_the_stream(void **state)
{
	(void)state;
	struct link link;
	struct source_error error;
	char buf[10];
	link_start(&link, NET_TLS_STARTTLS, TLS1_3_VERSION, speak_plain, NULL);
	link_connect(&link);
	_cleanup_str_ struct str line = STR_INIT;
	assert_int_equal(net_read_response(link.stream, &net_limits_default, &line), 0);
	net_set_deadline(link.stream, clock_now_ms() + 200);
	assert_int_equal(net_start_tls(link.stream, &error), -ETIMEDOUT);
	net_set_deadline(link.stream, clock_now_ms() + 5000);
	assert_true(net_write(link.stream, "x", 1) < 0);
	assert_true(net_read(link.stream, buf, sizeof(buf)) < 0);
	assert_false(net_secured(link.stream));
	link_close(&link);
}

struct reuse {
	bool reused[8];
};

static void note_reuse(struct peer_conn *conn)
{
	struct reuse *reuse = conn->arg;
	char buf[100];
	int n;
	if (!peer_handshake(conn))
		return;
	reuse->reused[conn->number & 7] = SSL_session_reused(conn->ssl);
	while ((n = peer_read(conn, buf, sizeof(buf))) > 0 && peer_write(conn, buf, (size_t)n))
		;
}

static void sessions_are_resumed(void **state)
{
	(void)state;
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	for (size_t i = 0; i < 2; i++) {
		struct link link;
		struct reuse reuse = {0};
		link_start(&link, NET_TLS_IMPLICIT, versions[i], note_reuse, &reuse);
		for (int n = 0; n < 6; n++) {
			link_connect(&link);
			echo_lines(
				link.stream, 1); /* TLS 1.3 sends its tickets with the first data */
			net_close(steal_ptr(link.stream));
		}
		assert_true(link.context->session_count <= CONTEXT_SESSIONS_MAX);
		link_close(&link);
		assert_false(reuse.reused[0]);
		for (int n = 1; n < 6; n++)
			assert_true(reuse.reused[n]);
	}
}

struct visitor {
	struct net_context *context;
	pthread_t thread;
	bool ok;
};

static void *visit(void *arg)
{
	struct visitor *visitor = arg;
	struct net_stream *stream;
	_cleanup_str_ struct str line = STR_INIT;
	visitor->ok = true;
	for (int i = 0; i < 3 && visitor->ok; i++) {
		visitor->ok =
			net_connect(visitor->context, clock_now_ms() + 15000, &stream, NULL) == 0;
		if (!visitor->ok)
			break;
		visitor->ok = net_write(stream, "hello\r\n", 7) == 0 &&
		              net_read_response(stream, &net_limits_default, &line) == 0;
		net_close(stream);
	}
	return NULL;
}

static void threads_share_a_context(void **state)
{
	(void)state;
	struct link link;
	struct reuse reuse = {0};
	struct visitor visitors[6];
	link_start(&link, NET_TLS_IMPLICIT, TLS1_3_VERSION, note_reuse, &reuse);
	for (int i = 0; i < 6; i++) {
		visitors[i] = (struct visitor){.context = link.context};
		assert_int_equal(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]), 0);
	}
	for (int i = 0; i < 6; i++)
		pthread_join(visitors[i].thread, NULL);
	for (int i = 0; i < 6; i++)
		assert_true(visitors[i].ok);
	link_close(&link);
}

/* Another context has other trust settings, and must not profit. */
static void sessions_stay_in_their_context(void **state)
{
	(void)state;
	struct link link;
	struct reuse reuse = {0};
	link_start(&link, NET_TLS_IMPLICIT, TLS1_3_VERSION, note_reuse, &reuse);
	link_connect(&link);
	echo_lines(link.stream, 1);
	net_close(steal_ptr(link.stream));
	net_context_destroy(link.context);
	link.context =
		fixture_context(&link.peer, FIXTURE_HOST, NET_TLS_IMPLICIT, fixture.ca_file, NULL);
	link_connect(&link);
	echo_lines(link.stream, 1);
	link_close(&link);
	assert_false(reuse.reused[0]);
	assert_false(reuse.reused[1]);
}

static void read_bye_and_end(peer_script *script, int end)
{
	struct link link;
	struct source_error error;
	_cleanup_str_ struct str line = STR_INIT;
	link_start(&link, NET_TLS_IMPLICIT, TLS1_3_VERSION, script, NULL);
	link_connect(&link);
	assert_int_equal(net_read_response(link.stream, &net_limits_default, &line), 0);
	assert_string_equal(line.data, "* BYE");
	assert_int_equal(net_read_response(link.stream, &net_limits_default, &line), end);
	assert_int_equal(net_read_response(link.stream, &net_limits_default, &line), end);
	net_fail(link.stream, end, &error);
	assert_int_equal(error.retry, SOURCE_RETRY_NOW);
	assert_int_equal(error.err, -EIO);
	assert_says(&error, end == -EIO ? "TLS: " : "connection closed by the server");
	assert_true(net_write(link.stream, "x", 1) < 0);
	link_close(&link);
}

static void ends_are_errors(void **state)
{
	(void)state;
	read_bye_and_end(say_bye_cleanly, -ECONNRESET);
	read_bye_and_end(cut_off, -ECONNRESET);
	read_bye_and_end(garbage, -EIO);
}

static void records_of_one_byte(void **state)
{
	(void)state;
	struct link link;
	_cleanup_str_ struct str out = STR_INIT;
	link_start(&link, NET_TLS_IMPLICIT, TLS1_3_VERSION, byte_by_byte, NULL);
	link_connect(&link);
	assert_int_equal(net_read_response(link.stream, &net_limits_default, &out), 0);
	assert_string_equal(out.data, "* 1 FETCH (BODY[] {10}\r\n0123456789 UID 3)");
	assert_int_equal(net_read_response(link.stream, &net_limits_default, &out), 0);
	assert_string_equal(out.data, "A1 OK");
	link_close(&link);
}

static void read_ends_at_its_deadline(void **state)
{
	(void)state;
	struct link link;
	char buf[10];
	link_start(&link, NET_TLS_IMPLICIT, TLS1_3_VERSION, echo, NULL);
	link_connect(&link);
	int64_t start = clock_now_ms();
	net_set_deadline(link.stream, start + 100);
	assert_int_equal(net_read(link.stream, buf, sizeof(buf)), -ETIMEDOUT);
	assert_true(clock_now_ms() - start < 1500);
	net_set_deadline(link.stream, clock_now_ms() + 5000);
	echo_lines(link.stream, 1);
	link_close(&link);
}

static void both_sides_writing_is_no_deadlock(void **state)
{
	(void)state;
	static const int versions[] = {TLS1_2_VERSION, TLS1_3_VERSION};
	char *data = malloc(BIG);
	assert_non_null(data);
	for (size_t i = 0; i < BIG; i++)
		data[i] = (char)(i * 31 + i / 251);
	for (size_t v = 0; v < 2; v++) {
		struct link link;
		bool ok = false;
		size_t got = 0;
		char buf[30000];
		link_start(&link, NET_TLS_IMPLICIT, versions[v], write_then_read, &ok);
		link_connect(&link);
		assert_int_equal(net_write(link.stream, data, BIG), 0);
		while (got < BIG) {
			ssize_t n = net_read(link.stream, buf, sizeof(buf));
			assert_true(n > 0);
			for (ssize_t i = 0; i < n; i++)
				if (buf[i] != 's')
					fail_msg("wrong byte after %zu", got);
			got += (size_t)n;
		}
		assert_int_equal(got, BIG);
		link_close(&link);
		assert_true(ok);
	}
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bytes_of_the_wire_are_counted),
		cmocka_unit_test(plain_server_is_explained),
		cmocka_unit_test(old_tls_is_refused),
		cmocka_unit_test(silent_server_meets_the_deadline),
		cmocka_unit_test(end_during_the_handshake),
		cmocka_unit_test(cancel_ends_a_handshake),
		cmocka_unit_test(starttls_secures),
		cmocka_unit_test(injected_bytes_are_refused),
		cmocka_unit_test(failed_starttls_ends_the_stream),
		cmocka_unit_test(sessions_are_resumed),
		cmocka_unit_test(threads_share_a_context),
		cmocka_unit_test(sessions_stay_in_their_context),
		cmocka_unit_test(ends_are_errors),
		cmocka_unit_test(records_of_one_byte),
		cmocka_unit_test(read_ends_at_its_deadline),
		cmocka_unit_test(both_sides_writing_is_no_deadlock),
	};
	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
