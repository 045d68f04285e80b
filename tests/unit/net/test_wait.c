/* SPDX-License-Identifier: MIT */
/* Waiting for what the peer says by itself: news, pokes, time, cancel, the end, and what TLS does on the side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "fixture.h"
#include "mailfs/util/clock.h"
#include "stream.h"

#define LONG_MS 5000

struct wire {
	struct net_context *context;
	struct net_stream *stream;
	int peer;
};

static void wire_open(struct wire *wire)
{
	struct net_params params = {.host = "test", .port = 143, .tls = NET_TLS_NONE};
	struct source_error error;
	int fds[2];
	assert_int_equal(net_context_create(&params, &wire->context, &error), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
	/* the deadline of reads and writes is over: that of a wait is another */
	wire->stream = net_stream_create(wire->context, fds[0], clock_now_ms() - 1);
	assert_non_null(wire->stream);
	wire->peer = fds[1];
}

static void wire_close(struct wire *wire)
{
	net_close(wire->stream);
	net_context_destroy(wire->context);
	if (wire->peer >= 0)
		close(wire->peer);
}

static void put(struct wire *wire, const char *text, size_t len)
{
	assert_int_equal(send(wire->peer, text, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Waits, and fails the test if that takes less or more time than it should. */
static void expect_wait(struct net_stream *stream, int ms, int want, int least_ms, int most_ms)
{
	int64_t start = clock_now_ms();
	assert_int_equal(net_wait(stream, start + ms), want);
	int64_t took = clock_now_ms() - start;
	if (took < least_ms || took > most_ms)
		fail_msg("took %lld ms", (long long)took);
}

static void expect_at_once(struct net_stream *stream, int want)
{
	expect_wait(stream, LONG_MS, want, 0, 1500);
}

static void news_end_it(void **state)
{
	struct wire wire;
	char buf[10];
	(void)state;
	wire_open(&wire);
	put(&wire, "ab", 2);
	expect_at_once(wire.stream, 1);
	assert_false(net_line_buffered(wire.stream));
	/* what nobody has read is news still */
	expect_at_once(wire.stream, 1);
	put(&wire, "\ncd", 3);
	assert_int_equal(net_buffered(wire.stream), 2);
	net_set_deadline(wire.stream, clock_now_ms() + LONG_MS);
	assert_int_equal(net_read(wire.stream, buf, 2), 2);
	expect_at_once(wire.stream, 1);
	assert_true(net_line_buffered(wire.stream));
	assert_int_equal(net_read(wire.stream, buf, 3), 3);
	assert_false(net_line_buffered(wire.stream));
	expect_wait(wire.stream, 100, 0, 99, 1500);
	wire_close(&wire);
}

static void time_ends_it(void **state)
{
	struct wire wire;
	(void)state;
	wire_open(&wire);
	expect_wait(wire.stream, 100, 0, 99, 1500);
	expect_wait(wire.stream, 0, 0, 0, 1000);
	/* also where the peer never stops to talk */
	put(&wire, "x", 1);
	expect_at_once(wire.stream, 1);
	expect_wait(wire.stream, -1, 0, 0, 1000);
	wire_close(&wire);
}

static void *poke_soon(void *arg)
{
	usleep(100000);
	net_poke(arg);
	return NULL;
}

static void *cancel_soon(void *arg)
{
	usleep(100000);
	net_cancel(arg);
	return NULL;
}

static void a_poke_ends_it_once(void **state)
{
	struct wire wire;
	pthread_t thread;
	(void)state;
	wire_open(&wire);
	pthread_create(&thread, NULL, poke_soon, wire.stream);
	expect_wait(wire.stream, LONG_MS, 0, 90, 1500);
	pthread_join(thread, NULL);
	expect_wait(wire.stream, 100, 0, 99, 1500);
	/* one that came before; several are one; it goes before news */
	net_poke(wire.stream);
	net_poke(wire.stream);
	put(&wire, "x", 1);
	expect_at_once(wire.stream, 0);
	expect_at_once(wire.stream, 1);
	wire_close(&wire);
}

/* However often it is poked, the next wait is one that waits. */
static void *poke_often(void *arg)
{
	for (int i = 0; i < 2000; i++)
		net_poke(arg);
	return NULL;
}

static void pokes_leave_nothing_behind(void **state)
{
	struct wire wire;
	pthread_t thread;
	(void)state;
	wire_open(&wire);
	pthread_create(&thread, NULL, poke_often, wire.stream);
	for (int i = 0; i < 1000; i++)
		assert_int_equal(net_wait(wire.stream, clock_now_ms() + 1), 0);
	pthread_join(thread, NULL);
	assert_int_equal(net_wait(wire.stream, clock_now_ms()), 0);
	expect_wait(wire.stream, 100, 0, 99, 1500);
	wire_close(&wire);
}

static void cancel_ends_it_for_good(void **state)
{
	struct wire wire;
	pthread_t thread;
	(void)state;
	wire_open(&wire);
	pthread_create(&thread, NULL, cancel_soon, wire.stream);
	expect_wait(wire.stream, LONG_MS, -ECANCELED, 90, 1500);
	pthread_join(thread, NULL);
	put(&wire, "x", 1);
	expect_at_once(wire.stream, -ECANCELED);
	wire_close(&wire);
}

/* Last words first. */
static void the_end_ends_it(void **state)
{
	struct wire wire;
	char buf[10];
	(void)state;
	wire_open(&wire);
	put(&wire, "* BYE\n", 6);
	close(wire.peer);
	wire.peer = -1;
	expect_at_once(wire.stream, 1);
	net_set_deadline(wire.stream, clock_now_ms() + LONG_MS);
	assert_int_equal(net_read(wire.stream, buf, sizeof(buf)), 6);
	expect_at_once(wire.stream, -ECONNRESET);
	expect_at_once(wire.stream, -ECONNRESET);
	wire_close(&wire);
}

/* --- TLS --- */

static void talk_late(struct peer_conn *conn)
{
	char c;
	if (!peer_handshake(conn))
		return;
	/* the session tickets of TLS 1.3 are on the wire now, and mean nothing to who waits */
	usleep(300000);
	peer_puts(conn, "one\ntwo\n");
	peer_read(conn, &c, 1);
}

static void tls_is_asked_first(void **state)
{
	struct peer peer;
	struct net_stream *stream;
	struct source_error error;
	_cleanup_str_ struct str line = STR_INIT;
	uint64_t before, after, out;
	(void)state;
	peer_start(&peer, &fixture.leaf, TLS1_3_VERSION, talk_late, NULL);
	struct net_context *context =
		fixture_context(&peer, "127.0.0.1", NET_TLS_IMPLICIT, fixture.ca_file, NULL);
	if (net_connect(context, clock_now_ms() + LONG_MS, &stream, &error) < 0)
		fail_msg("%s", error.text);
	clock_t cpu = clock();
	net_traffic(stream, &before, &out);
	expect_wait(stream, 100, 0, 99, 1500);
	net_traffic(stream, &after, &out);
	assert_true(after > before);
	assert_true(clock() - cpu < CLOCKS_PER_SEC / 20);
	expect_at_once(stream, 1);
	assert_int_equal(net_read_response(stream, &net_limits_default, &line), 0);
	assert_string_equal(line.data, "one");
	expect_at_once(stream, 1); /* the socket has nothing more */
	assert_int_equal(net_read_response(stream, &net_limits_default, &line), 0);
	assert_string_equal(line.data, "two");
	expect_wait(stream, 50, 0, 49, 1500);
	net_close(stream);
	net_context_destroy(context);
	peer_stop(&peer);
}

/* --- Figures from another thread --- */

struct meter {
	struct net_stream *stream;
	atomic_bool stop;
	uint64_t in;
};

static void *measure(void *arg)
{
	struct meter *meter = arg;
	uint64_t out;
	while (!meter->stop)
		net_traffic(meter->stream, &meter->in, &out);
	/* What was read before it was to stop is known here, too. */
	net_traffic(meter->stream, &meter->in, &out);
	return NULL;
}

static void traffic_is_for_every_thread(void **state)
{
	struct wire wire;
	pthread_t thread;
	char buf[1000];
	(void)state;
	wire_open(&wire);
	net_set_deadline(wire.stream, clock_now_ms() + LONG_MS);
	struct meter meter = {.stream = wire.stream};
	pthread_create(&thread, NULL, measure, &meter);
	for (int i = 0; i < 1000; i++) {
		put(&wire, "0123456789", 10);
		assert_int_equal(net_read(wire.stream, buf, sizeof(buf)), 10);
	}
	meter.stop = true;
	pthread_join(thread, NULL);
	assert_int_equal(meter.in, 10000);
	wire_close(&wire);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(news_end_it),
		cmocka_unit_test(time_ends_it),
		cmocka_unit_test(a_poke_ends_it_once),
		cmocka_unit_test(pokes_leave_nothing_behind),
		cmocka_unit_test(cancel_ends_it_for_good),
		cmocka_unit_test(the_end_ends_it),
		cmocka_unit_test(tls_is_asked_first),
		cmocka_unit_test(traffic_is_for_every_thread),
	};
	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
