/* SPDX-License-Identifier: MIT */
/* How many commands are under way, and how fast the answers go: a server that counts. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "mailfs/util/clock.h"
#include "sink.h"

#define QUIET_MS 30

static struct sink sink; /* large */

struct counter {
	size_t count;     /* messages in all */
	size_t body;      /* bytes of each, without the final dot */
	size_t batch;     /* answers between two looks at what is asked */
	size_t most;      /* commands that waited at a time */
	size_t first;     /* commands that came before the first answer */
	size_t looks;     /* looks that found commands */
	const char *verb; /* "RETR", "DELE" */
};

/* Takes all commands that have come, once nothing more comes. idle: some must. */
static size_t commands_take(
	struct script_conn *conn, const struct counter *counter, size_t next, bool idle)
{
	char line[100], want[100];
	size_t taken = 0;
	struct pollfd fd = {.fd = conn->fd, .events = POLLIN};
	while (next < counter->count && poll(&fd, 1, idle && taken == 0 ? 2000 : QUIET_MS) > 0) {
		if (!script_line(conn, line, sizeof(line)))
			break;
		snprintf(want, sizeof(want), "%s %zu", counter->verb, ++next);
		if (strcmp(line, want) != 0)
			script_wrong(conn, "'%.50s' instead of '%s'", line, want);
		taken++;
	}
	return taken;
}

static void answer(struct script_conn *conn, const struct counter *counter, size_t number)
{
	static const char line[] =
		"0123456789012345678901234567890123456789012345678901234567890\r\n";
	struct str out = STR_INIT;
	str_printf(&out, "+OK %zu\r\n", number);
	if (counter->body > 0) {
		size_t head = out.len;
		while (out.len - head + sizeof(line) - 1 <= counter->body)
			str_append(&out, line, sizeof(line) - 1);
		if (out.len - head < counter->body) /* by two bytes at least */
			str_append_cstr(
				&out, line + sizeof(line) - 1 - (counter->body - (out.len - head)));
		str_append_cstr(&out, ".\r\n");
	}
	script_send(conn, out.data, out.len);
	str_finish(&out);
}

/* Answers in batches, and between them looks at what is asked for. */
static void serve_counting(struct script_conn *conn)
{
	struct counter *counter = conn->arg;
	size_t asked = 0, answered = 0;
	while (answered < counter->count && !conn->wrong[0]) {
		size_t taken = commands_take(conn, counter, asked, asked == answered);
		asked += taken;
		counter->looks += taken > 0;
		if (answered == 0)
			counter->first = asked;
		if (asked - answered > counter->most)
			counter->most = asked - answered;
		if (asked == answered) {
			script_wrong(conn, "nothing more is asked for after %zu", asked);
			return;
		}
		for (size_t i = 0; i < counter->batch && answered < asked; i++)
			answer(conn, counter, ++answered);
	}
}

static void begin(struct client *client, struct counter *counter, bool pipelining)
{
	const struct client_params params = {
		.tls = NET_TLS_NONE, .fn = serve_counting, .arg = counter};
	static const char *const with[] = {PIPELINED, CAPA_AGAIN_PIPELINED, NULL};
	static const char *const without[] = {LOGIN(""), CAPA_AGAIN, NULL};
	client_connect(client, &params, pipelining ? with : without);
	assert_int_equal(client->result, 0);
}

static void retrieve(struct counter *counter, bool pipelining, uint64_t want_bytes)
{
	struct client client;
	counter->verb = "RETR";
	begin(&client, counter, pipelining);
	sink_init(&sink, counter->count);
	sink.want_bytes = want_bytes;
	int r = sink_run(&sink, &client, false);
	client_finish(&client);
	if (r < 0)
		fail_msg("%s", client.error.text);
	assert_int_equal(sink.ended, counter->count);
	sink_finish(&sink);
}

static void test_commands(void **state)
{
	struct counter counter = {.count = 2000, .body = 100, .batch = 100};
	(void)state;
	retrieve(&counter, true, 100);
	assert_int_equal(counter.first, 1024);
	assert_int_equal(counter.most, 1024);
	/* refilled by halves, not one by one */
	assert_true(counter.looks <= 8);
}

static void test_bytes(void **state)
{
	struct counter counter = {.count = 40, .body = 1 << 20, .batch = 1};
	(void)state;
	retrieve(&counter, true, 1 << 20);
	assert_int_equal(counter.first, 8);
	assert_true(counter.most <= 9);
}

/* One is always asked for; the next when most of it has come. */
static void test_large(void **state)
{
	struct counter counter = {.count = 3, .body = 12 << 20, .batch = 1};
	(void)state;
	retrieve(&counter, true, 12 << 20);
	assert_int_equal(counter.first, 1);
	assert_true(counter.most <= 2);
}

static void test_sizes_unknown(void **state)
{
	struct counter counter = {.count = 100, .body = 100, .batch = 8};
	(void)state;
	retrieve(&counter, true, UINT64_MAX);
	assert_true(counter.most <= 8);
}

static void test_sizes_wrong(void **state)
{
	struct counter counter = {.count = 1500, .body = 5000, .batch = 1024};
	(void)state;
	retrieve(&counter, true, 0);
	assert_int_equal(counter.most, 1024);
}

static void test_without_pipelining(void **state)
{
	struct counter counter = {.count = 20, .body = 100, .batch = 1};
	(void)state;
	retrieve(&counter, false, 100);
	assert_int_equal(counter.most, 1);
}

static void count_removed(void *arg, uint32_t number, int err, const char *text)
{
	(void)text;
	size_t *count = arg;
	assert_int_equal(err, 0);
	assert_int_equal(number, ++*count);
}

static void test_remove(void **state)
{
	(void)state;
	for (int pipelining = 0; pipelining < 2; pipelining++) {
		struct counter counter = {
			.count = pipelining ? 1500 : 20, .batch = 100, .verb = "DELE"};
		struct client client;
		uint32_t numbers[1500];
		size_t removed = 0;
		for (uint32_t i = 0; i < 1500; i++)
			numbers[i] = i + 1;
		begin(&client, &counter, pipelining);
		assert_int_equal(client.maildrop->ops->remove(client.session, numbers,
					 counter.count, count_removed, &removed, &client.error),
			0);
		assert_int_equal(removed, counter.count);
		assert_int_equal(counter.most, pipelining ? 1024 : 1);
		client_finish(&client);
	}
}

/* --- Speed: no assertion; MAILFS_TEST_BULK_MB=200 measures --- */

#define BULK_MESSAGE ((size_t)1 << 20)

static void serve_bulk(struct script_conn *conn)
{
	size_t count = *(size_t *)conn->arg;
	struct str out = STR_INIT;
	char line[100];
	str_append_cstr(&out, "+OK\r\n");
	while (out.len < BULK_MESSAGE)
		str_append_cstr(&out,
			"MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2\r\n");
	str_append_cstr(&out, ".\r\n");
	for (size_t i = 0; i < count && script_line(conn, line, sizeof(line)); i++)
		if (!script_send(conn, out.data, out.len))
			break;
	str_finish(&out);
}

static void bulk(enum net_tls tls, size_t count)
{
	struct client client;
	const struct client_params params = {.tls = tls, .fn = serve_bulk, .arg = &count};
	static const char *const steps[] = {"^", PIPELINED, CAPA_AGAIN_PIPELINED, NULL};
	client_connect(&client, &params, tls == NET_TLS_NONE ? steps + 1 : steps);
	assert_int_equal(client.result, 0);
	sink_init(&sink, count);
	sink.discard = true;
	int64_t since = clock_now_ms();
	if (sink_run(&sink, &client, false) < 0)
		fail_msg("%s", client.error.text);
	int64_t ms = clock_now_ms() - since;
	assert_int_equal(sink.ended, count);
	print_message("# %zu MiB in %lld ms%s\n", count, (long long)ms,
		tls == NET_TLS_NONE ? "" : " over TLS");
	sink_finish(&sink);
	client_finish(&client);
}

static void test_bulk(void **state)
{
	const char *mb = getenv("MAILFS_TEST_BULK_MB");
	size_t count = mb ? strtoul(mb, NULL, 10) : 16;
	(void)state;
	bulk(NET_TLS_NONE, count);
	bulk(NET_TLS_IMPLICIT, count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_commands),
		cmocka_unit_test(test_bytes),
		cmocka_unit_test(test_large),
		cmocka_unit_test(test_sizes_unknown),
		cmocka_unit_test(test_sizes_wrong),
		cmocka_unit_test(test_without_pipelining),
		cmocka_unit_test(test_remove),
		cmocka_unit_test(test_bulk),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
