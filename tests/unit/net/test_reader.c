/* SPDX-License-Identifier: MIT */
/*
 * Framing. The wire is a SOCK_SEQPACKET pair: each packet is what one recv() gives, so where the bytes
 * are cut is up to the test and nothing else. It is all written before it is read: a test that would
 * have to wait fails at its deadline.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mailfs/util/clock.h"
#include "stream.h"

#define PATIENCE_MS 50

struct wire {
	struct net_context *context;
	struct net_stream *stream;
	int peer;
};

static void wire_open(struct wire *wire)
{
	struct net_params params = {.host = "test", .port = 143, .tls = NET_TLS_NONE};
	struct source_error error;
	int fds[2], size = 4 * 1024 * 1024;
	assert_int_equal(net_context_create(&params, &wire->context, &error), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK, 0, fds), 0);
	setsockopt(fds[1], SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size));
	wire->stream = net_stream_create(wire->context, fds[0], CLOCK_NEVER);
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

static void wire_put(struct wire *wire, const void *data, size_t len)
{
	if (len > 0)
		assert_int_equal(send(wire->peer, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

#define WIRE_PUT(wire, text) wire_put(wire, text, sizeof(text) - 1)

static void wire_end(struct wire *wire)
{
	close(wire->peer);
	wire->peer = -1;
}

static int read_response(struct wire *wire, const struct net_limits *limits, struct str *out)
{
	net_set_deadline(wire->stream, clock_now_ms() + PATIENCE_MS);
	return net_read_response(wire->stream, limits, out);
}

static void expect_response(struct wire *wire, const char *data, size_t len)
{
	_cleanup_str_ struct str out = STR_INIT;
	int r = read_response(wire, &net_limits_default, &out);
	if (r < 0)
		fail_msg("%s instead of a response", strerror(-r));
	assert_int_equal(out.len, len);
	if (len > 0)
		assert_memory_equal(out.data, data, len);
}

/* A whole response, and one more that shows that the stream is in step. */
struct sample {
	const char *wire;
	size_t len;
	size_t line_end; /* bytes of the last line end */
};

#define SAMPLE(text, line_end)                                                                     \
	{                                                                                          \
		text, sizeof(text) - 1, line_end                                                   \
	}

static const struct sample samples[] = {
	SAMPLE("* OK ready\r\n", 2),
	SAMPLE("* 1 EXISTS\n", 1),
	SAMPLE("\r\n", 2),
	SAMPLE("\n", 1),
	SAMPLE("* 1 FETCH (BODY[] {5}\r\nab\r\nc UID 3)\r\n", 2),
	SAMPLE("* 1 FETCH (BODY[] {5}\nab\n\nc UID 3)\n", 1),
	SAMPLE("* 1 FETCH (BODY[] {0}\r\n)\r\n", 2),
	SAMPLE("* 1 FETCH (BODY[] {000003}\r\nxyz)\r\n", 2),
	SAMPLE("* 1 FETCH (BODY[1] {3}\r\n}{\nBODY[2] {2}\r\n\r\n X {1}\r\nq)\r\n", 2),
	SAMPLE("* 1 FETCH (BODY[] {23}\r\nA1 OK look {9}\r\n* BYE\r\n)\r\n", 2),
	SAMPLE("* LIST () \"/\" {4+}\r\nname\r\n", 2),
	SAMPLE("* 2 FETCH (BINARY[1] ~{3}\r\n\0\0\0)\r\n", 2),
	SAMPLE("* 1 FETCH (BODY[HEADER.FIELDS ({4}\r\nDate)] {2}\r\n\r\n)\r\n", 2),
	SAMPLE("{3}\r\nabc\r\n", 2),
	/* Text for people announces nothing. */
	SAMPLE("* OK look {5}\r\n", 2),
	SAMPLE("* ok look {5}\r\n", 2),
	SAMPLE("* NO [ALERT] {5}\r\n", 2),
	SAMPLE("* BAD {99999999999999999999999999}\r\n", 2),
	SAMPLE("* BYE {5}\r\n", 2),
	SAMPLE("* PREAUTH {5}\r\n", 2),
	SAMPLE("A0001 OK done {5}\r\n", 2),
	SAMPLE("A0001 NO {4294967295}\r\n", 2),
	SAMPLE("A0001 BAD {-1}\r\n", 2),
	SAMPLE("+ go on {5}\r\n", 2),
	SAMPLE("+ {5}\r\n", 2),
	SAMPLE("+{5}\r\n", 2),
	/* What only looks like a literal. */
	SAMPLE("* X {5} \r\n", 2),
	SAMPLE("* X \"a {5}\"\r\n", 2),
	SAMPLE("* X {abc}\r\n", 2),
	SAMPLE("* X 5}\r\n", 2),
	SAMPLE("}\r\n", 2),
	/* Bytes are bytes. */
	SAMPLE("* X \0\r\xff\r\n", 2),
	SAMPLE("* X \r\r\n", 2),
};

static const char after[] = "A9 OK in step\r\n";

static void check_sample(struct wire *wire, const struct sample *sample)
{
	expect_response(wire, sample->wire, sample->len - sample->line_end);
	expect_response(wire, after, sizeof(after) - 3);
}

/* Each response, cut into two at every place. */
static void every_cut(void **state)
{
	(void)state;
	struct wire wire;
	wire_open(&wire);
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		const struct sample *sample = &samples[i];
		for (size_t cut = 0; cut <= sample->len; cut++) {
			wire_put(&wire, sample->wire, cut);
			wire_put(&wire, sample->wire + cut, sample->len - cut);
			wire_put(&wire, after, sizeof(after) - 1);
			check_sample(&wire, sample);
		}
	}
	assert_int_equal(net_buffered(wire.stream), 0);
	wire_close(&wire);
}

static void one_byte_at_a_time(void **state)
{
	(void)state;
	struct wire wire;
	wire_open(&wire);
	for (size_t i = 0; i < sizeof(samples) / sizeof(samples[0]); i++) {
		for (size_t at = 0; at < samples[i].len; at++)
			wire_put(&wire, samples[i].wire + at, 1);
		for (size_t at = 0; at < sizeof(after) - 1; at++)
			wire_put(&wire, after + at, 1);
		check_sample(&wire, &samples[i]);
	}
	wire_close(&wire);
}

/* Several responses in one packet are handed out one by one, and what is left is counted. */
static void many_at_once(void **state)
{
	(void)state;
	_cleanup_str_ struct str all = STR_INIT;
	struct wire wire;
	wire_open(&wire);
	const size_t count = sizeof(samples) / sizeof(samples[0]);
	for (size_t i = 0; i < count; i++)
		str_append(&all, samples[i].wire, samples[i].len);
	wire_put(&wire, all.data, all.len);
	size_t left = all.len;
	for (size_t i = 0; i < count; i++) {
		expect_response(&wire, samples[i].wire, samples[i].len - samples[i].line_end);
		left -= samples[i].len;
		assert_int_equal(net_buffered(wire.stream), left);
	}
	wire_close(&wire);
}

static const struct net_limits small = {
	.line_bytes = 40, .literal_bytes = 100, .response_bytes = 150, .literals = 2};

struct refusal {
	const char *wire;
	int err;
};

static const struct refusal refusals[] = {
	{"* X 34567890123456789012345678901234567890\r\n", -EMSGSIZE},
	{"* X 345678901234567890123456789012345678901", -EMSGSIZE}, {"* X {101}\r\n", -EMSGSIZE},
	{"* X {4294967295}\r\n", -EMSGSIZE}, {"* X {4294967301}\r\n", -EMSGSIZE}, /* 5 in 32 bits */
	{"* X {18446744073709551621}\r\n", -EMSGSIZE},                            /* 5 in 64 bits */
	{"* X {99999999999999999999}\r\n", -EMSGSIZE},
	{"* X {1234567890123456789012345}\r\n", -EPROTO},
	{"* X {0000000000000000000000005}\r\n", -EPROTO}, {"* X {}\r\n", -EPROTO},
	{"* X {+}\r\n", -EPROTO}, {"* X {-1}\r\n", -EPROTO}, {"* X {5x}\r\n", -EPROTO},
	{"* X {5++}\r\n", -EPROTO}, {"* X {5 }\r\n", -EPROTO},
	{"* X {1}\r\na {1}\r\nb {1}\r\n", -EMSGSIZE}, /* a third literal */
	{"* X {15}\r\n123456789012345 {1}\r\na and more text, and more\r\n",
		-EMSGSIZE}, /* pieces add up */
	{"* X {60}\r\n123456789012345678901234567890123456789012345678901234567890 {80}\r\n",
		-EMSGSIZE}, /* literals add up */
};

/* Refused as soon as it is known, without waiting for what was announced; and nothing is read after that. */
static void limits_end_the_stream(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		_cleanup_str_ struct str out = STR_INIT;
		struct wire wire;
		char buf[8];
		wire_open(&wire);
		wire_put(&wire, refusals[i].wire, strlen(refusals[i].wire));
		wire_put(&wire, after, sizeof(after) - 1);
		int r = read_response(&wire, &small, &out);
		if (r != refusals[i].err)
			fail_msg("%s: %d", refusals[i].wire, r);
		assert_true(out.cap < 4096);
		assert_int_equal(read_response(&wire, &net_limits_default, &out), -EPROTO);
		assert_int_equal(net_read(wire.stream, buf, sizeof(buf)), -EPROTO);
		wire_close(&wire);
	}
}

/* 120 bytes and a second literal. */
static int read_two_literals(unsigned second)
{
	_cleanup_str_ struct str text = STR_INIT, out = STR_INIT;
	struct wire wire;
	wire_open(&wire);
	str_printf(&text, "* X {100}\r\n%0100d {%02u}\r\n%0*d\r\n", 0, second, (int)second, 0);
	assert_int_equal(text.len, 120 + second);
	wire_put(&wire, text.data, text.len);
	int r = read_response(&wire, &small, &out);
	if (r == 0)
		assert_int_equal(out.len, text.len - 2);
	wire_close(&wire);
	return r;
}

static void limits_are_inclusive(void **state)
{
	static const char line[] = "* X 4567890123456789012345678901234567\r\n";
	(void)state;
	_cleanup_str_ struct str out = STR_INIT;
	struct wire wire;
	wire_open(&wire);
	assert_int_equal(strlen(line), small.line_bytes);
	wire_put(&wire, line, strlen(line));
	assert_int_equal(read_response(&wire, &small, &out), 0);
	assert_int_equal(out.len, small.line_bytes - 2);
	wire_close(&wire);
	assert_int_equal(read_two_literals(30), 0);
	assert_int_equal(read_two_literals(31), -EMSGSIZE);
}

/* What was announced costs nothing: memory follows what has arrived. */
static void memory_follows_what_arrives(void **state)
{
	(void)state;
	_cleanup_str_ struct str out = STR_INIT;
	struct net_limits limits = net_limits_default;
	struct wire wire;
	wire_open(&wire);
	limits.literal_bytes = limits.response_bytes = UINT64_C(1) << 40;
	WIRE_PUT(&wire, "* 1 FETCH (BODY[] {1000000000000}\r\nabc");
	assert_int_equal(read_response(&wire, &limits, &out), -ETIMEDOUT);
	assert_true(out.cap <= 4 * STREAM_BUFFER_BYTES);
	wire_close(&wire);
}

static void waiting_keeps_step_only_between_responses(void **state)
{
	(void)state;
	_cleanup_str_ struct str out = STR_INIT;
	struct wire wire;
	wire_open(&wire);
	assert_int_equal(read_response(&wire, &net_limits_default, &out), -ETIMEDOUT);
	wire_put(&wire, after, sizeof(after) - 1);
	expect_response(&wire, after, sizeof(after) - 3);
	WIRE_PUT(&wire, "* OK hal");
	assert_int_equal(read_response(&wire, &net_limits_default, &out), -ETIMEDOUT);
	WIRE_PUT(&wire, "f\r\n");
	assert_int_equal(read_response(&wire, &net_limits_default, &out), -EPROTO);
	wire_close(&wire);
}

/* The end is an error wherever it comes. */
static void the_end_at_every_place(void **state)
{
	static const char text[] = "* 1 FETCH (BODY[] {5}\r\nabcde UID 3)\r\n";
	(void)state;
	for (size_t len = 0; len < sizeof(text) - 1; len++) {
		_cleanup_str_ struct str out = STR_INIT;
		struct wire wire;
		wire_open(&wire);
		wire_put(&wire, text, len);
		wire_end(&wire);
		assert_int_equal(read_response(&wire, &net_limits_default, &out), -ECONNRESET);
		assert_int_equal(read_response(&wire, &net_limits_default, &out),
			len == 0 ? -ECONNRESET : -EPROTO);
		wire_close(&wire);
	}
}

/* --- Lists that nobody holds --- */

struct list {
	uint64_t taken;
	size_t longest; /* of the lines that were shown */
	int err;
};

/* Takes all but the first four and the last four bytes. */
static int take_middle(void *arg, struct str *line)
{
	struct list *list = arg;
	if (line->len > list->longest)
		list->longest = line->len;
	if (line->len > 8) {
		list->taken += line->len - 8;
		memmove(line->data + 4, line->data + line->len - 4, 4);
		str_truncate(line, 8);
	}
	return list->err;
}

static void put_list(struct wire *wire, int packets, const char *end)
{
	char digits[1000];
	memset(digits, '7', sizeof(digits));
	WIRE_PUT(wire, "* S ");
	for (int i = 0; i < packets; i++)
		wire_put(wire, digits, sizeof(digits));
	wire_put(wire, end, strlen(end));
}

static void long_lists_are_spilled(void **state)
{
	struct wire wire;
	struct list list = {0};
	_cleanup_str_ struct str out = STR_INIT;
	struct net_limits limits = net_limits_default;
	(void)state;
	limits.line_bytes = 100008;
	limits.spill = take_middle;
	limits.spill_arg = &list;
	limits.spill_bytes = 5000;
	wire_open(&wire);
	put_list(&wire, 100, "12\r\n* OK in step\r\n");
	assert_int_equal(read_response(&wire, &limits, &out), 0);
	assert_memory_equal(out.data, "* S 7777", 8);
	assert_memory_equal(out.data + out.len - 2, "12", 2);
	assert_int_equal(list.taken + out.len, 100006);
	assert_true(list.taken > 90000 && list.longest < 7000 && out.cap < 20000);
	assert_int_equal(read_response(&wire, &limits, &out), 0);
	assert_string_equal(out.data, "* OK in step");
	/* all of it counts for the limit */
	put_list(&wire, 101, "\r\n");
	assert_int_equal(read_response(&wire, &limits, &out), -EMSGSIZE);
	wire_close(&wire);
}

static void spilling_can_fail(void **state)
{
	struct wire wire;
	struct list list = {.err = -EMSGSIZE};
	_cleanup_str_ struct str out = STR_INIT;
	struct net_limits limits = net_limits_default;
	(void)state;
	limits.spill = take_middle;
	limits.spill_arg = &list;
	limits.spill_bytes = 5000;
	wire_open(&wire);
	/* a short line is not shown, nor what is behind a literal */
	WIRE_PUT(&wire, "* S 123\r\n* S {3}\r\n");
	assert_int_equal(read_response(&wire, &limits, &out), 0);
	put_list(&wire, 4, "\r\n");
	assert_int_equal(read_response(&wire, &limits, &out), 0);
	assert_int_equal(list.longest, 0);
	put_list(&wire, 10, "\r\n* OK out of step\r\n");
	assert_int_equal(read_response(&wire, &limits, &out), -EMSGSIZE);
	assert_int_equal(read_response(&wire, &limits, &out), -EPROTO);
	assert_int_equal(net_wait(wire.stream, clock_now_ms() + 1000), -EPROTO);
	wire_close(&wire);
	/* nor is it held */
	wire_open(&wire);
	WIRE_PUT(&wire, "* S {3}\r\n");
	put_list(&wire, 6, "\r\n");
	assert_int_equal(read_response(&wire, &limits, &out), -EMSGSIZE);
	assert_int_equal(list.longest, 5004);
	wire_close(&wire);
}

/* --- Literals that are handed on --- */

struct taker {
	struct str heads, bytes;
	uint64_t size; /* literals of this size are taken; 0: all */
};

static bool take(void *arg, const char *head, size_t len, uint64_t size)
{
	struct taker *taker = arg;
	str_append(&taker->heads, head, len);
	str_printf(&taker->heads, "|%llu;", (unsigned long long)size);
	return taker->size == 0 || taker->size == size;
}

static void take_bytes(void *arg, const char *data, size_t len)
{
	struct taker *taker = arg;
	assert_true(len > 0 && len <= STREAM_BUFFER_BYTES);
	str_append(&taker->bytes, data, len);
}

static struct net_limits taker_limits(struct taker *taker)
{
	struct net_limits limits = small;
	limits.pass = take;
	limits.passed = take_bytes;
	limits.pass_arg = taker;
	return limits;
}

static void taker_finish(struct taker *taker)
{
	str_finish(&taker->heads);
	str_finish(&taker->bytes);
}

/* An empty literal stands where one was, and what is behind it is framed as ever; cut at every place. */
static void literals_are_handed_on(void **state)
{
	static const char wire_text[] = "* A {5}\r\nab{3} B {2+}\nxy C\r\n";
	struct wire wire;
	(void)state;
	wire_open(&wire);
	for (size_t cut = 0; cut < sizeof(wire_text); cut++) {
		struct taker taker = {.size = cut % 2 ? 0 : 5};
		struct net_limits limits = taker_limits(&taker);
		_cleanup_str_ struct str out = STR_INIT;
		wire_put(&wire, wire_text, cut);
		wire_put(&wire, wire_text + cut, sizeof(wire_text) - 1 - cut);
		wire_put(&wire, after, sizeof(after) - 1);
		assert_int_equal(read_response(&wire, &limits, &out), 0);
		assert_string_equal(str_cstr(&taker.heads), "* A |5;* A {0}\r\n B |2;");
		assert_string_equal(str_cstr(&taker.bytes), taker.size ? "ab{3}" : "ab{3}xy");
		assert_string_equal(str_cstr(&out),
			taker.size ? "* A {0}\r\n B {2+}\nxy C" : "* A {0}\r\n B {0}\n C");
		expect_response(&wire, after, sizeof(after) - 3);
		taker_finish(&taker);
	}
	wire_close(&wire);
}

static void handed_on_counts(void **state)
{
	static const struct refusal cases[] = {
		{"* {101}\r\n", -EMSGSIZE},
		{"* {1}\r\na{1}\r\na{1}\r\n", -EMSGSIZE},
		{"* {100}\r\n"
		 "0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"
		 " {48}\r\n",
			-EMSGSIZE},
		{"* {5}\r\nab", -ETIMEDOUT},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct wire wire;
		struct taker taker = {0};
		struct net_limits limits = taker_limits(&taker);
		_cleanup_str_ struct str out = STR_INIT;
		wire_open(&wire);
		wire_put(&wire, cases[i].wire, strlen(cases[i].wire));
		assert_int_equal(read_response(&wire, &limits, &out), cases[i].err);
		assert_int_equal(read_response(&wire, &limits, &out), -EPROTO);
		wire_close(&wire);
		taker_finish(&taker);
	}
}

/* Whatever its size, only its line takes memory. */
static void what_is_handed_on_is_not_held(void **state)
{
	struct wire wire;
	struct taker taker = {.size = 100000}; /* what the socket holds */
	struct net_limits limits = taker_limits(&taker);
	char piece[5000];
	_cleanup_str_ struct str out = STR_INIT;
	(void)state;
	limits.literal_bytes = limits.response_bytes = 10000000;
	memset(piece, 'x', sizeof(piece));
	wire_open(&wire);
	WIRE_PUT(&wire, "* {100000}\r\n");
	for (int i = 0; i < 20; i++)
		wire_put(&wire, piece, sizeof(piece));
	WIRE_PUT(&wire, "\r\n");
	assert_int_equal(read_response(&wire, &limits, &out), 0);
	assert_int_equal(taker.bytes.len, 100000);
	assert_true(out.cap < 10000);
	wire_close(&wire);
	taker_finish(&taker);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cut),
		cmocka_unit_test(one_byte_at_a_time),
		cmocka_unit_test(many_at_once),
		cmocka_unit_test(limits_end_the_stream),
		cmocka_unit_test(limits_are_inclusive),
		cmocka_unit_test(memory_follows_what_arrives),
		cmocka_unit_test(waiting_keeps_step_only_between_responses),
		cmocka_unit_test(the_end_at_every_place),
		cmocka_unit_test(long_lists_are_spilled),
		cmocka_unit_test(spilling_can_fail),
		cmocka_unit_test(literals_are_handed_on),
		cmocka_unit_test(handed_on_counts),
		cmocka_unit_test(what_is_handed_on_is_not_held),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
