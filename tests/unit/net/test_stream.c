/* SPDX-License-Identifier: MIT */
/* Bytes in and out over TCP: deadlines, cancel, both sides writing, the peer's end. */
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

#include "mailfs/util/clock.h"
#include "peer.h"

#define BIG ((size_t)4 * 1024 * 1024)

struct link {
	struct peer peer;
	struct net_context *context;
	struct net_stream *stream;
};

static void link_open(struct link *link, peer_script *script, void *arg)
{
	struct source_error error;
	peer_start(&link->peer, NULL, 0, script, arg);
	link->context = peer_context(&link->peer);
	if (net_connect(link->context, clock_now_ms() + 10000, &link->stream, &error) < 0)
		fail_msg("%s", error.text);
}

static void link_close(struct link *link)
{
	net_close(link->stream);
	net_context_destroy(link->context);
	peer_stop(&link->peer);
}

static void assert_took(int64_t start_ms, int64_t least_ms, int64_t most_ms)
{
	int64_t took_ms = clock_now_ms() - start_ms;
	if (took_ms < least_ms || took_ms > most_ms)
		fail_msg("took %lld ms", (long long)took_ms);
}

static unsigned char pattern(size_t at)
{
	return (unsigned char)(at * 31 + at / 251);
}

static char *big_data(void)
{
	char *data = malloc(BIG);
	assert_non_null(data);
	for (size_t i = 0; i < BIG; i++)
		data[i] = (char)pattern(i);
	return data;
}

/* --- Scripts --- */

static void echo(struct peer_conn *conn)
{
	char buf[1000];
	int n;
	while ((n = peer_read(conn, buf, sizeof(buf))) > 0 && peer_write(conn, buf, (size_t)n))
		;
}

static void trickle(struct peer_conn *conn)
{
	while (peer_puts(conn, "x"))
		usleep(5000);
}

static void farewell(struct peer_conn *conn)
{
	peer_puts(conn, "* BYE going down\r\n");
}

/* Sends all of its own before it reads any of ours. */
static void write_then_read(struct peer_conn *conn)
{
	bool *ok = conn->arg;
	char *ours = malloc(BIG), *theirs = malloc(BIG);
	for (size_t i = 0; ours && i < BIG; i++)
		ours[i] = (char)pattern(i);
	*ok = ours && theirs && peer_write(conn, ours, BIG) && peer_read_all(conn, theirs, BIG) &&
	      memcmp(ours, theirs, BIG) == 0;
	free(ours);
	free(theirs);
}

/* A response with a literal of 1,000,000 bytes, and the next one right behind it. */
static void send_large_literal(struct peer_conn *conn)
{
	char *data = malloc(1000000);
	for (size_t i = 0; data && i < 1000000; i++)
		data[i] = (char)pattern(i);
	if (data && peer_puts(conn, "* 1 FETCH (BODY[] {1000000}\r\n") &&
		peer_write(conn, data, 1000000))
		peer_puts(conn, " UID 3)\r\nA1 OK done\r\n");
	free(data);
}

static void write_for_ever(struct peer_conn *conn)
{
	static char data[65536];
	while (peer_write(conn, data, sizeof(data)))
		;
}

static void reset(struct peer_conn *conn)
{
	const struct linger now = {.l_onoff = 1};
	char c;
	peer_read(conn, &c, 1);
	setsockopt(conn->fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

/* --- Tests --- */

static void reads_and_writes_and_counts(void **state)
{
	(void)state;
	struct link link;
	char buf[100];
	uint64_t in, out;
	link_open(&link, echo, NULL);
	assert_false(net_secured(link.stream));
	assert_int_equal(net_write(link.stream, "hello world", 11), 0);
	size_t got = 0;
	while (got < 11) {
		ssize_t n = net_read(link.stream, buf + got, 4);
		assert_true(n > 0 && n <= 4);
		got += (size_t)n;
	}
	assert_memory_equal(buf, "hello world", 11);
	net_traffic(link.stream, &in, &out);
	assert_int_equal(in, 11);
	assert_int_equal(out, 11);
	assert_int_equal(net_write(link.stream, "", 0), 0);
	link_close(&link);
}

static void read_ends_at_its_deadline(void **state)
{
	(void)state;
	struct link link;
	char buf[10];
	link_open(&link, peer_drain, NULL);
	int64_t start = clock_now_ms();
	net_set_deadline(link.stream, start + 100);
	assert_int_equal(net_read(link.stream, buf, sizeof(buf)), -ETIMEDOUT);
	assert_took(start, 99, 1000);
	assert_int_equal(net_read(link.stream, buf, sizeof(buf)), -ETIMEDOUT);
	assert_int_equal(net_write(link.stream, "x", 1), -ETIMEDOUT);
	/* A new deadline, and it goes on. */
	net_set_deadline(link.stream, clock_now_ms() + 5000);
	assert_int_equal(net_write(link.stream, "x", 1), 0);
	link_close(&link);
}

/* A peer that always has one more byte does not keep it alive. */
static void trickling_peer_meets_the_deadline(void **state)
{
	(void)state;
	struct link link;
	_cleanup_str_ struct str out = STR_INIT;
	link_open(&link, trickle, NULL);
	int64_t start = clock_now_ms();
	net_set_deadline(link.stream, start + 150);
	assert_int_equal(net_read_response(link.stream, &net_limits_default, &out), -ETIMEDOUT);
	assert_took(start, 149, 1000);
	link_close(&link);
}

static void stuck_write_ends_at_its_deadline(void **state)
{
	(void)state;
	struct link link;
	char *data = big_data();
	/* The peer serves the first connection only: for the second, the kernel takes what its buffers hold. */
	peer_start(&link.peer, NULL, 0, peer_drain, NULL);
	link.context = peer_context(&link.peer);
	struct net_stream *first;
	struct source_error error;
	assert_int_equal(net_connect(link.context, clock_now_ms() + 5000, &first, &error), 0);
	assert_int_equal(net_connect(link.context, clock_now_ms() + 5000, &link.stream, &error), 0);
	int64_t start = clock_now_ms();
	net_set_deadline(link.stream, start + 200);
	int r = 0;
	for (int i = 0; i < 8 && r == 0; i++)
		r = net_write(link.stream, data, BIG);
	assert_int_equal(r, -ETIMEDOUT);
	assert_took(start, 199, 2000);
	/* A command was cut in the middle: no other may follow it. */
	net_set_deadline(link.stream, clock_now_ms() + 1000);
	assert_int_equal(net_write(link.stream, "x", 1), -ETIMEDOUT);
	net_close(first);
	free(data);
	link_close(&link);
}

struct canceller {
	struct net_stream *stream;
	pthread_t thread;
};

static void *cancel_soon(void *arg)
{
	struct canceller *canceller = arg;
	usleep(100000);
	net_cancel(canceller->stream);
	return NULL;
}

static void cancel_ends_a_blocked_read(void **state)
{
	(void)state;
	struct link link;
	char buf[10];
	link_open(&link, echo, NULL);
	net_set_deadline(link.stream, CLOCK_NEVER);
	struct canceller canceller = {.stream = link.stream};
	int64_t start = clock_now_ms();
	pthread_create(&canceller.thread, NULL, cancel_soon, &canceller);
	assert_int_equal(net_read(link.stream, buf, sizeof(buf)), -ECANCELED);
	assert_took(start, 90, 1500);
	pthread_join(canceller.thread, NULL);
	/* And it stays so. */
	assert_int_equal(net_read(link.stream, buf, sizeof(buf)), -ECANCELED);
	assert_int_equal(net_write(link.stream, "x", 1), -ECANCELED);
	net_cancel(link.stream);
	net_set_deadline(link.stream, clock_now_ms() + 1000);
	_cleanup_str_ struct str out = STR_INIT;
	assert_int_equal(net_read_response(link.stream, &net_limits_default, &out), -ECANCELED);
	link_close(&link);
}

static void cancel_ends_a_blocked_write(void **state)
{
	(void)state;
	struct link link;
	char *data = big_data();
	link_open(&link, trickle, NULL); /* it never reads */
	net_set_deadline(link.stream, CLOCK_NEVER);
	struct canceller canceller = {.stream = link.stream};
	pthread_create(&canceller.thread, NULL, cancel_soon, &canceller);
	int r = 0;
	for (int i = 0; i < 8 && r == 0; i++)
		r = net_write(link.stream, data, BIG);
	assert_int_equal(r, -ECANCELED);
	pthread_join(canceller.thread, NULL);
	free(data);
	link_close(&link);
}

static void both_sides_writing_is_no_deadlock(void **state)
{
	(void)state;
	struct link link;
	bool ok = false;
	char *data = big_data(), *back = malloc(BIG);
	link_open(&link, write_then_read, &ok);
	net_set_deadline(link.stream, clock_now_ms() + 15000);
	assert_int_equal(net_write(link.stream, data, BIG), 0);
	for (size_t got = 0; got < BIG;) {
		ssize_t n = net_read(link.stream, back + got, BIG - got);
		assert_true(n > 0);
		got += (size_t)n;
	}
	assert_memory_equal(data, back, BIG);
	assert_int_equal(net_buffered(link.stream), 0);
	uint64_t in, out;
	net_traffic(link.stream, &in, &out);
	assert_int_equal(in, BIG);
	assert_int_equal(out, BIG);
	link_close(&link);
	assert_true(ok);
	free(data);
	free(back);
}

static void flooding_peer_is_given_up(void **state)
{
	(void)state;
	struct link link;
	char *data = big_data();
	link_open(&link, write_for_ever, NULL);
	net_set_deadline(link.stream, clock_now_ms() + 15000);
	int r = 0;
	for (int i = 0; i < 8 && r == 0; i++)
		r = net_write(link.stream, data, BIG);
	assert_int_equal(r, -EPROTO);
	assert_true(net_buffered(link.stream) <= (size_t)8 * 1024 * 1024);
	free(data);
	link_close(&link);
}

static void large_literal(void **state)
{
	static const char head[] = "* 1 FETCH (BODY[] {1000000}\r\n";
	(void)state;
	struct link link;
	_cleanup_str_ struct str out = STR_INIT;
	link_open(&link, send_large_literal, NULL);
	assert_int_equal(net_read_response(link.stream, &net_limits_default, &out), 0);
	size_t start = sizeof(head) - 1;
	assert_int_equal(out.len, start + 1000000 + 7);
	assert_memory_equal(out.data, head, start);
	for (size_t i = 0; i < 1000000; i++)
		if ((unsigned char)out.data[start + i] != pattern(i))
			fail_msg("wrong byte at %zu", i);
	assert_string_equal(out.data + start + 1000000, " UID 3)");
	assert_int_equal(net_read_response(link.stream, &net_limits_default, &out), 0);
	assert_string_equal(out.data, "A1 OK done");
	link_close(&link);
}

/* What the server said before it closed is still read; then the end is an error, each time. */
static void last_words_are_read(void **state)
{
	(void)state;
	struct link link;
	_cleanup_str_ struct str out = STR_INIT;
	link_open(&link, farewell, NULL);
	assert_int_equal(net_read_response(link.stream, &net_limits_default, &out), 0);
	assert_string_equal(out.data, "* BYE going down");
	assert_int_equal(net_read_response(link.stream, &net_limits_default, &out), -ECONNRESET);
	assert_int_equal(net_read_response(link.stream, &net_limits_default, &out), -ECONNRESET);
	link_close(&link);
}

/* SIGPIPE has its default action here: it would end the test. */
static void writing_to_the_dead_is_an_error(void **state)
{
	(void)state;
	struct link link;
	struct source_error error;
	link_open(&link, reset, NULL);
	int r = 0;
	for (int i = 0; i < 100 && r == 0; i++) {
		r = net_write(link.stream, "x", 1);
		usleep(10000);
	}
	assert_true(r == -EPIPE || r == -ECONNRESET);
	assert_int_equal(net_fail(link.stream, r, &error), r);
	assert_int_equal(error.retry, SOURCE_RETRY_NOW);
	assert_int_equal(error.err, -EIO);
	link_close(&link);
}

static void closing_nothing_is_allowed(void **state)
{
	(void)state;
	net_close(NULL);
	net_context_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_and_writes_and_counts),
		cmocka_unit_test(read_ends_at_its_deadline),
		cmocka_unit_test(trickling_peer_meets_the_deadline),
		cmocka_unit_test(stuck_write_ends_at_its_deadline),
		cmocka_unit_test(cancel_ends_a_blocked_read),
		cmocka_unit_test(cancel_ends_a_blocked_write),
		cmocka_unit_test(both_sides_writing_is_no_deadlock),
		cmocka_unit_test(flooding_peer_is_given_up),
		cmocka_unit_test(large_literal),
		cmocka_unit_test(last_words_are_read),
		cmocka_unit_test(writing_to_the_dead_is_an_error),
		cmocka_unit_test(closing_nothing_is_allowed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
