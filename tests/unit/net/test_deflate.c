/* SPDX-License-Identifier: MIT */
/* A deflated stream: both ways, in any pieces, where it begins and ends, damage, growth, and what lies in zlib when somebody waits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <zlib.h>

#include "fixture.h"
#include "mailfs/util/clock.h"
#include "stream.h"

#define LONG_MS 5000
#define MUCH    ((size_t)2 * 1024 * 1024)

struct wire {
	struct net_context *context;
	struct net_stream *stream;
	int peer;
	z_stream out, in; /* the peer's */
	struct str line;
};

static void wire_open(struct wire *wire)
{
	struct net_params params = {.host = "test", .port = 143, .tls = NET_TLS_NONE};
	struct source_error error;
	int fds[2];
	*wire = (struct wire){0};
	assert_int_equal(net_context_create(&params, &wire->context, &error), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	wire->stream = net_stream_create(wire->context, fds[0], clock_now_ms() + 60000);
	assert_non_null(wire->stream);
	wire->peer = fds[1];
	assert_int_equal(deflateInit2(&wire->out, 6, Z_DEFLATED, -15, 8, 0), Z_OK);
	assert_int_equal(inflateInit2(&wire->in, -15), Z_OK);
}

static void wire_close(struct wire *wire)
{
	net_close(wire->stream);
	net_context_destroy(wire->context);
	if (wire->peer >= 0)
		close(wire->peer);
	deflateEnd(&wire->out);
	inflateEnd(&wire->in);
	str_finish(&wire->line);
}

/* For cmocka: *state is a wire that is deflated from the first byte on. */
static int wire_set_up(void **state)
{
	static struct wire wire;
	wire_open(&wire);
	assert_int_equal(net_start_deflate(wire.stream), 0);
	*state = &wire;
	return 0;
}

static int wire_tear_down(void **state)
{
	wire_close(*state);
	return 0;
}

/* What can not be deflated. */
static char *noise(void)
{
	uint32_t value = 1;
	char *data = malloc(MUCH);
	assert_non_null(data);
	for (size_t i = 0; i < MUCH; i++)
		data[i] = (char)((value = value * 1664525 + 1013904223) >> 24);
	return data;
}

static void put(struct wire *wire, const void *data, size_t len)
{
	assert_int_equal(send(wire->peer, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* Deflated by the peer, as it goes over the wire. */
static void deflated(struct wire *wire, const void *data, size_t len, int flush, struct str *out)
{
	wire->out.next_in = (unsigned char *)(uintptr_t)data;
	wire->out.avail_in = (unsigned)len;
	do {
		assert_int_equal(str_reserve(out, 65536), 0);
		wire->out.next_out = (unsigned char *)out->data + out->len;
		wire->out.avail_out = 65536;
		assert_int_not_equal(deflate(&wire->out, flush), Z_STREAM_ERROR);
		out->len += 65536 - wire->out.avail_out;
	} while (wire->out.avail_out == 0);
}

static void put_deflated(struct wire *wire, const char *text, int flush)
{
	_cleanup_str_ struct str out = STR_INIT;
	deflated(wire, text, strlen(text), flush, &out);
	put(wire, out.data, out.len);
}

static void expect_line(struct wire *wire, const char *want)
{
	assert_int_equal(net_read_response(wire->stream, &net_limits_default, &wire->line), 0);
	assert_string_equal(str_cstr(&wire->line), want);
}

/* What the peer has received by now, inflated. */
static void peer_inflates(struct wire *wire, char *buf, size_t cap)
{
	unsigned char data[65536];
	ssize_t n = recv(wire->peer, data, sizeof(data), 0);
	assert_true(n > 0);
	wire->in.next_in = data;
	wire->in.avail_in = (unsigned)n;
	wire->in.next_out = (unsigned char *)buf;
	wire->in.avail_out = (unsigned)cap - 1;
	assert_int_equal(inflate(&wire->in, Z_SYNC_FLUSH), Z_OK);
	buf[cap - 1 - wire->in.avail_out] = 0;
}

static void assert_lost(struct wire *wire, int err, const char *words)
{
	struct source_error error;
	char buf[10];
	assert_int_equal(net_read(wire->stream, buf, sizeof(buf)), err);
	assert_int_equal(net_wait(wire->stream, clock_now_ms() + LONG_MS), err);
	assert_int_equal(net_write(wire->stream, "x", 1), err);
	net_fail(wire->stream, err, &error);
	assert_int_equal(error.scope, SOURCE_SCOPE_ACCOUNT);
	assert_int_equal(error.err, -EIO);
	if (!strstr(error.text, words))
		fail_msg("%s", error.text);
}

/* --- Both ways --- */

static void lines_go_both_ways(void **state)
{
	struct wire *wire = *state;
	struct source_flow flow;
	uint64_t in, out;
	char got[1000];
	put_deflated(wire, "* 3 EXISTS\r\n* 1 FETCH (X {5}\r\nab\r\nc)\r\nC1 OK\r\n", Z_SYNC_FLUSH);
	expect_line(wire, "* 3 EXISTS");
	expect_line(wire, "* 1 FETCH (X {5}\r\nab\r\nc)");
	expect_line(wire, "C1 OK");
	for (int i = 0; i < 100; i++) {
		/* each command can be read at once */
		assert_int_equal(net_write(wire->stream, "C2 UID FETCH 4711 (FLAGS)\r\n", 27), 0);
		peer_inflates(wire, got, sizeof(got));
		assert_string_equal(got, "C2 UID FETCH 4711 (FLAGS)\r\n");
		put_deflated(wire, "* 1 FETCH (UID 4711 FLAGS (\\Seen))\r\n", Z_SYNC_FLUSH);
		expect_line(wire, "* 1 FETCH (UID 4711 FLAGS (\\Seen))");
	}
	net_traffic(wire->stream, &in, &out);
	net_flow(wire->stream, &flow);
	assert_true(flow.deflated);
	assert_in_range(out, 100, 2000); /* of 2700 */
	assert_in_range(in, 100, flow.content_bytes / 2);
	assert_int_equal(flow.content_bytes, 12 + 26 + 7 + 100 * 36);
}

static void *put_slowly(void *arg)
{
	struct wire *wire = arg;
	_cleanup_str_ struct str out = STR_INIT;
	deflated(wire, "* OK first\r\n* 2 FETCH (X {3}\r\nabc)\r\n", 37, Z_SYNC_FLUSH, &out);
	for (size_t i = 0; i < out.len; i++) {
		usleep(500);
		put(wire, out.data + i, 1);
	}
	return NULL;
}

static void bytes_may_come_one_by_one(void **state)
{
	struct wire *wire = *state;
	pthread_t thread;
	pthread_create(&thread, NULL, put_slowly, wire);
	expect_line(wire, "* OK first");
	expect_line(wire, "* 2 FETCH (X {3}\r\nabc)");
	pthread_join(thread, NULL);
}

/* Bytes that came together with the OK are the beginning of the deflated stream. */
static void what_came_early_is_deflated(void **state)
{
	struct wire wire;
	_cleanup_str_ struct str out = STR_INIT;
	(void)state;
	for (int pieces = 1; pieces <= 2; pieces++) {
		wire_open(&wire);
		str_reset(&out);
		str_append_cstr(&out, "* 3 EXISTS\r\nC1 OK begin\r\n");
		deflated(&wire, "* 4 EXISTS\r\n* 5 EXISTS\r\n", 24, Z_SYNC_FLUSH, &out);
		size_t first = pieces == 1 ? out.len : out.len - 9;
		put(&wire, out.data, first);
		expect_line(&wire, "* 3 EXISTS");
		expect_line(&wire, "C1 OK begin");
		assert_true(net_buffered(wire.stream) > 0);
		assert_int_equal(net_start_deflate(wire.stream), 0);
		assert_int_equal(net_buffered(wire.stream), 0);
		if (pieces == 2)
			put(&wire, out.data + first, 9);
		expect_line(&wire, "* 4 EXISTS");
		expect_line(&wire, "* 5 EXISTS");
		wire_close(&wire);
	}
}

/* --- Its end --- */

static void garbage_ends_it(void **state)
{
	struct wire *wire = *state;
	put_deflated(wire, "* OK\r\n", Z_SYNC_FLUSH);
	expect_line(wire, "* OK");
	put(wire, "\xff\xff\xff\xff", 4);
	assert_lost(wire, -EPROTO, "test:143: what the server sent is not compressed");
}

/* A server that says OK and goes on in the clear. */
static void plain_text_ends_it(void **state)
{
	struct wire *wire = *state;
	put(wire, "* 3 EXISTS\r\nC2 OK done, and some words more\r\n", 45);
	assert_lost(wire, -EPROTO, "not compressed");
}

static void last_words_come_before_the_end(void **state)
{
	struct wire *wire = *state;
	put_deflated(wire, "* BYE\r\n", Z_FINISH);
	put(wire, "more", 4);
	expect_line(wire, "* BYE");
	assert_lost(wire, -ECONNRESET, "the server ended the compressed stream");
}

static void the_end_of_the_wire_is_one(void **state)
{
	struct wire *wire = *state;
	put_deflated(wire, "* OK\r\n* cut", Z_SYNC_FLUSH);
	close(wire->peer);
	wire->peer = -1;
	expect_line(wire, "* OK");
	assert_int_equal(
		net_read_response(wire->stream, &net_limits_default, &wire->line), -ECONNRESET);
}

/* --- What grows --- */

/* 16 MiB in 16 KiB. */
static void a_bomb_is_a_long_answer(void **state)
{
	struct wire *wire = *state;
	_cleanup_str_ struct str out = STR_INIT;
	char *zeros = calloc(1, 1 << 20);
	deflated(wire, "* X ", 4, Z_NO_FLUSH, &out);
	for (int i = 0; i < 16; i++)
		deflated(wire, zeros, 1 << 20, Z_NO_FLUSH, &out);
	deflated(wire, "\r\n", 2, Z_SYNC_FLUSH, &out);
	free(zeros);
	put(wire, out.data, out.len);
	assert_int_equal(
		net_read_response(wire->stream, &net_limits_default, &wire->line), -EMSGSIZE);
	/* nothing has grown with it */
	assert_true(wire->stream->buffer_cap <= STREAM_BUFFER_BYTES);
	assert_true(wire->line.cap <= 2 * net_limits_default.line_bytes);
}

static void long_literals_arrive_whole(void **state)
{
	struct wire *wire = *state;
	struct net_limits limits = net_limits_default;
	_cleanup_str_ struct str out = STR_INIT;
	char *data = malloc(MUCH);
	for (size_t i = 0; i < MUCH; i++)
		data[i] = "0123456789abcdef"[(i * 7 + i / 1000) % 16];
	deflated(wire, "* 1 FETCH ({2097152}\r\n", 22, Z_NO_FLUSH, &out);
	deflated(wire, data, MUCH, Z_NO_FLUSH, &out);
	deflated(wire, ")\r\n", 3, Z_SYNC_FLUSH, &out);
	assert_true(out.len < 60000);
	put(wire, out.data, out.len);
	limits.literal_bytes = limits.response_bytes = 2 * MUCH;
	assert_int_equal(net_read_response(wire->stream, &limits, &wire->line), 0);
	assert_int_equal(wire->line.len, 22 + MUCH + 1);
	assert_memory_equal(wire->line.data + 22, data, MUCH);
	free(data);
}

/* --- Both sides writing --- */

static void *write_then_read(void *arg)
{
	struct wire *wire = arg;
	_cleanup_str_ struct str out = STR_INIT;
	static unsigned char data[65536], inflated[65536];
	size_t got = 0;
	for (int i = 0; i < 20000; i++)
		deflated(wire, "* 1 EXISTS\r\n", 12, Z_FULL_FLUSH, &out);
	put(wire, out.data, out.len);
	while (got < MUCH) {
		ssize_t n = recv(wire->peer, data, sizeof(data), 0);
		assert_true(n > 0);
		wire->in.next_in = data;
		wire->in.avail_in = (unsigned)n;
		do {
			wire->in.next_out = inflated;
			wire->in.avail_out = sizeof(inflated);
			int r = inflate(&wire->in, Z_SYNC_FLUSH);
			assert_true(r == Z_OK || r == Z_BUF_ERROR);
			got += sizeof(inflated) - wire->in.avail_out;
		} while (wire->in.avail_out == 0);
	}
	put_deflated(wire, "* got it\r\n", Z_SYNC_FLUSH);
	return NULL;
}

/* The peer sends all of its own before it takes any of ours. */
static void both_may_write_at_a_time(void **state)
{
	struct wire *wire = *state;
	pthread_t thread;
	char *data = noise();
	pthread_create(&thread, NULL, write_then_read, wire);
	assert_int_equal(net_write(wire->stream, data, MUCH), 0);
	for (int i = 0; i < 20000; i++)
		expect_line(wire, "* 1 EXISTS");
	expect_line(wire, "* got it");
	pthread_join(thread, NULL);
	free(data);
}

static void a_stuck_write_ends_at_its_deadline(void **state)
{
	struct wire *wire = *state;
	char *data = noise();
	net_set_deadline(wire->stream, clock_now_ms() + 100);
	assert_int_equal(net_write(wire->stream, data, MUCH), -ETIMEDOUT);
	net_set_deadline(wire->stream, clock_now_ms() + 100);
	assert_int_equal(net_write(wire->stream, "x", 1), -ETIMEDOUT);
	free(data);
}

/* --- Waiting --- */

static void expect_wait(struct wire *wire, int ms, int want, int least_ms, int most_ms)
{
	int64_t start = clock_now_ms();
	assert_int_equal(net_wait(wire->stream, start + ms), want);
	int64_t took = clock_now_ms() - start;
	if (took < least_ms || took > most_ms)
		fail_msg("took %lld ms", (long long)took);
}

/* What zlib holds is news, though the socket has none; one line at a time, more than the buffer can hold. */
static void what_zlib_holds_is_news(void **state)
{
	struct wire *wire = *state;
	_cleanup_str_ struct str out = STR_INIT;
	for (int i = 0; i < 20000; i++)
		deflated(wire, "* 1 EXISTS\r\n", 12, Z_NO_FLUSH, &out);
	deflated(wire, "", 0, Z_SYNC_FLUSH, &out);
	assert_true(out.len < 8192);
	put(wire, out.data, out.len);
	for (int i = 0; i < 20000; i++) {
		expect_wait(wire, LONG_MS, 1, 0, 1500);
		expect_line(wire, "* 1 EXISTS");
	}
	expect_wait(wire, 50, 0, 49, 1500);
	net_poke(wire->stream);
	expect_wait(wire, LONG_MS, 0, 0, 1500);
	net_cancel(wire->stream);
	expect_wait(wire, LONG_MS, -ECANCELED, 0, 1500);
}

static void *put_nothing(void *arg)
{
	struct wire *wire = arg;
	static unsigned char blocks[65535]; /* empty stored blocks, as a flush makes them */
	for (size_t i = 0; i < sizeof(blocks); i += 5)
		memcpy(blocks + i, "\0\0\0\xff\xff", 5);
	while (send(wire->peer, blocks, sizeof(blocks), MSG_NOSIGNAL) > 0)
		;
	return NULL;
}

/* Bytes without content keep nothing alive past its time. */
static void nothing_for_ever_meets_the_deadline(void **state)
{
	struct wire *wire = *state;
	pthread_t thread;
	char buf[10];
	pthread_create(&thread, NULL, put_nothing, wire);
	int64_t start = clock_now_ms();
	net_set_deadline(wire->stream, start + 100);
	assert_int_equal(net_read(wire->stream, buf, sizeof(buf)), -ETIMEDOUT);
	assert_in_range(clock_now_ms() - start, 99, 1500);
	expect_wait(wire, 100, 0, 99, 1500);
	net_poke(wire->stream);
	expect_wait(wire, LONG_MS, 0, 0, 1500);
	net_cancel(wire->stream);
	expect_wait(wire, LONG_MS, -ECANCELED, 0, 1500);
	shutdown(wire->peer, SHUT_RDWR);
	pthread_join(thread, NULL);
}

/* A flush without content is no news, and does not keep the processor busy. */
static void a_flush_is_no_news(void **state)
{
	struct wire *wire = *state;
	put(wire, "\0\0\0\xff\xff", 5);
	clock_t cpu = clock();
	expect_wait(wire, 200, 0, 199, 1500);
	assert_true(clock() - cpu < CLOCKS_PER_SEC / 20);
}

/* --- Over TLS --- */

/* Inflates what it gets, and sends it back deflated, all of it in one record. */
static void echo_deflated(struct peer_conn *conn)
{
	struct wire codec = {0};
	_cleanup_str_ struct str out = STR_INIT;
	unsigned char data[4096], inflated[4096];
	int n;
	if (!peer_handshake(conn) || inflateInit2(&codec.in, -15) != Z_OK ||
		deflateInit2(&codec.out, 6, Z_DEFLATED, -15, 8, 0) != Z_OK)
		return;
	while ((n = peer_read(conn, data, sizeof(data))) > 0) {
		codec.in.next_in = data;
		codec.in.avail_in = (unsigned)n;
		codec.in.next_out = inflated;
		codec.in.avail_out = sizeof(inflated);
		inflate(&codec.in, Z_SYNC_FLUSH);
		str_reset(&out);
		for (int i = 0; i < 2000; i++)
			deflated(&codec, inflated, sizeof(inflated) - codec.in.avail_out,
				i < 1999 ? Z_NO_FLUSH : Z_SYNC_FLUSH, &out);
		if (!peer_write(conn, out.data, out.len))
			break;
	}
	inflateEnd(&codec.in);
	deflateEnd(&codec.out);
}

static void it_goes_through_tls(void **state)
{
	struct peer peer;
	struct wire wire = {0};
	struct source_error error;
	(void)state;
	peer_start(&peer, &fixture.leaf, TLS1_3_VERSION, echo_deflated, NULL);
	wire.context = fixture_context(&peer, "127.0.0.1", NET_TLS_IMPLICIT, fixture.ca_file, NULL);
	if (net_connect(wire.context, clock_now_ms() + LONG_MS, &wire.stream, &error) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(net_start_deflate(wire.stream), 0);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(net_write(wire.stream, "* some words to be echoed\r\n", 27), 0);
		for (int i = 0; i < 2000; i++) {
			expect_wait(&wire, LONG_MS, 1, 0, 1500);
			expect_line(&wire, "* some words to be echoed");
		}
	}
	net_close(wire.stream);
	net_context_destroy(wire.context);
	str_finish(&wire.line);
	peer_stop(&peer);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, wire_set_up, wire_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_bomb_is_a_long_answer),
		TEST(lines_go_both_ways),
		TEST(bytes_may_come_one_by_one),
		cmocka_unit_test(what_came_early_is_deflated),
		TEST(garbage_ends_it),
		TEST(plain_text_ends_it),
		TEST(last_words_come_before_the_end),
		TEST(the_end_of_the_wire_is_one),
		TEST(long_literals_arrive_whole),
		TEST(both_may_write_at_a_time),
		TEST(a_stuck_write_ends_at_its_deadline),
		TEST(what_zlib_holds_is_news),
		TEST(nothing_for_ever_meets_the_deadline),
		TEST(a_flush_is_no_news),
		cmocka_unit_test(it_goes_through_tls),
	};
	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
