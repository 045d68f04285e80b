/* SPDX-License-Identifier: MIT */
/*
 * The same answers cut at each byte: into two packets, and at the end of the connection; and with bytes changed.
 *
 * The wire is a SOCK_SEQPACKET pair, as in the reader's own tests: each packet is what one recv() gives. All of it is written, and the sending side
 * closed, before it is read: what would wait for more fails at once.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "bulker.h"
#include "mailfs/util/clock.h"
#include "private.h"
#include "stream.h"

#define LITERAL_UID_LATER "* 3 FETCH (BODY[] {6}\r\n[9!]]\n UID 9)\r\n"
static const char answers[] =
	"* 1 FETCH (UID 5 BODY[] {12}\r\nC1 OK\r\n{3}\r\n)\r\n" /* looks like other answers, and is none */
	"* OK [ALERT] {5}\r\n* 1 FETCH (FLAGS (\\Seen))\r\n"
	"* 2 FETCH (X {2}\r\n{9 UID 6 BODY[] \"a\\\"b\" Y \"{1}\")\r\n"
	"* 3 FETCH (UID 7 BODY[] {0}\r\n)\r\n" LITERAL_UID_LATER "C1 OK done\r\n"
	"* 1 FETCH (UID 5 BODY[] {3}\r\nxyz)\r\n* 1 FETCH (UID 5 BODY[]<4> {3}\r\nxyz)\r\nC2 NO slowly\r\n"
	"* 4 FETCH (UID 8 BODY[] {4}\r\nabcd)\r\n* 4 FETCH (UID 8 BODY[] {4}\r\nabcd)\r\nC3 OK done\r\n";
#define WANT                                                                                       \
	"[5@0+12 C1 OK\r\n{3}\r\n][6@0+3 a\"b][7@0+0 ][9@0+6 [9!]]\n]=0;[5@4+3 xyz]=EIO;[8@0+4 abcd](8@0 again)=0;"

static struct net_context *context;

static int set_up(void **state)
{
	(void)state;
	struct net_params params = {.host = "test", .port = 143, .tls = NET_TLS_NONE};
	struct source_error error;
	return net_context_create(&params, &context, &error);
}

static int tear_down(void **state)
{
	(void)state;
	net_context_destroy(context);
	return 0;
}

/* Answers with these bytes, in packets of at most `packet`, the first of which ends at first. */
static int run_bytes(struct bulker *bulker, const char *data, size_t len, size_t first,
	size_t packet, struct source_error *ret_error)
{
	const struct source_bulk_set sets[] = {WHOLE(5, 6, 7, 9), PIECE(5, 4, 3), WHOLE(8)};
	struct imap_engine engine;
	struct source_bulk calls = bulker_calls(bulker);
	int fds[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
	for (size_t at = 0, n; at < len; at += n) {
		size_t most = at == 0 && first > 0 ? first : packet;
		n = len - at < most ? len - at : most;
		assert_int_equal(send(fds[1], data + at, n, 0), (ssize_t)n);
	}
	shutdown(fds[1], SHUT_WR);
	imap_engine_init(&engine, net_stream_create(context, fds[0], CLOCK_NEVER));
	engine.selected = true;
	bulker->sets = sets;
	bulker->set_count = 3;
	int r = imap_bulk(&engine, &calls, ret_error);
	bulker_over(bulker, r);
	assert_true(engine.line.cap < 1 << 20);
	imap_engine_finish(&engine);
	close(fds[1]);
	return r;
}

static void expect_whole(size_t first, size_t packet)
{
	struct bulker bulker = {0};
	struct source_error error;
	assert_int_equal(run_bytes(&bulker, answers, strlen(answers), first, packet, &error), 0);
	assert_string_equal(str_cstr(&bulker.log), WANT);
	str_finish(&bulker.log);
}

static void test_packets(void **state)
{
	(void)state;
	for (size_t cut = 0; cut < strlen(answers); cut++)
		expect_whole(cut, strlen(answers));
}

/* A wire holds only so many packets: the first part byte by byte is enough to have been everywhere, in three runs. */
static void test_small_packets(void **state)
{
	(void)state;
	for (size_t packet = 3; packet < 20; packet++)
		expect_whole(0, packet);
}

/* What is told before the cut is what is told without it, but for the message that was cut, whose end is not told. */
static void test_lost(void **state)
{
	(void)state;
	for (size_t cut = 0; cut < strlen(answers); cut++) {
		struct bulker bulker = {0};
		struct source_error error;
		assert_int_equal(
			run_bytes(&bulker, answers, cut, 0, strlen(answers), &error), -EIO);
		assert_int_equal(error.scope, SOURCE_SCOPE_ACCOUNT);
		const char *log = str_cstr(&bulker.log);
		size_t len = strlen(log);
		if (len > 0 && log[len - 1] == '?')
			len--;
		assert_true(len < strlen(WANT) && memcmp(log, WANT, len) == 0);
		str_finish(&bulker.log);
	}
}

/* Anything may be told of bytes that are wrong, but in order: the bulker asserts it. And it always ends. */
static void test_changed(void **state)
{
	(void)state;
	static const char changes[] = "{}()[]<>\" \r\n*+0159UBC\\~";
	char data[sizeof(answers)];
	uint32_t random = 1;
	for (int i = 0; i < 4000; i++) {
		struct bulker bulker = {0};
		struct source_error error;
		memcpy(data, answers, sizeof(data));
		for (int n = 1 + i % 3; n > 0; n--) {
			random = random * 1664525 + 1013904223;
			size_t at = (random >> 8) % strlen(answers);
			random = random * 1664525 + 1013904223;
			data[at] = changes[(random >> 8) % strlen(changes)];
		}
		run_bytes(&bulker, data, strlen(answers), 0, 100, &error);
		str_finish(&bulker.log);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_packets),
		cmocka_unit_test(test_small_packets),
		cmocka_unit_test(test_lost),
		cmocka_unit_test(test_changed),
	};
	return cmocka_run_group_tests_name("imap_bulk_cuts", tests, set_up, tear_down);
}
