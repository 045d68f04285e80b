/* SPDX-License-Identifier: MIT */
/* A session that is cut off after every byte that the server sends: an error each time, and never a message that is not whole. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "sink.h"

static struct sink sink; /* large */

/* What is answered, in the order of the commands; the first is the greeting. */
static const struct {
	const char *command, *answer;
} dialogue[] = {
	{NULL, "+OK hi\r\n"},
	{"CAPA", "+OK\r\nUSER\r\nUIDL\r\nPIPELINING\r\n.\r\n"},
	{"USER alice", "+OK\r\n"},
	{"PASS s3cret", "+OK in\r\n"},
	{"CAPA", "+OK\r\nUSER\r\nUIDL\r\nPIPELINING\r\n.\r\n"},
	{"STAT", "+OK 3 30\r\n"},
	{"UIDL", "+OK\r\n1 a\r\n2 b\r\n3 c\r\n.\r\n"},
	{"LIST", "+OK\r\n1 10\r\n2 10\r\n3 10\r\n.\r\n"},
	{"RETR 1", "+OK\r\na: b\r\n\r\n..\r\n\r\n.\r\n"},
	{"RETR 2", "+OK 0\r\n.\r\n"},
	{"RETR 3", "+OK\r\nc: d\r\n\r\nx\r\n.\r\n"},
	{"DELE 1", "+OK\r\n"},
	{"DELE 2", "+OK\r\n"},
	{"QUIT", "+OK bye\r\n"},
};
#define STEPS (sizeof(dialogue) / sizeof(dialogue[0]))

static void serve(struct script_conn *conn)
{
	size_t left = *(size_t *)conn->arg;
	char line[100];
	for (size_t i = 0; i < STEPS; i++) {
		if (dialogue[i].command && (!script_line(conn, line, sizeof(line)) ||
						   strcmp(line, dialogue[i].command) != 0)) {
			script_wrong(conn, "'%.50s' instead of '%s'", line, dialogue[i].command);
			return;
		}
		size_t len = strlen(dialogue[i].answer);
		script_send(conn, dialogue[i].answer, len < left ? len : left);
		if (len > left) {
			shutdown(conn->fd, SHUT_WR);
			return;
		}
		left -= len;
	}
}

static void note(void *arg, uint32_t number, int err, const char *text)
{
	(void)number;
	(void)text;
	*(int *)arg += err == 0;
}

struct seen {
	int result, removed;
	bool quit;
};

static void session(struct client *client, struct seen *seen)
{
	static const uint32_t numbers[] = {1, 2};
	const struct maildrop_ops *ops = client->maildrop->ops;
	struct maildrop_listing listing = {0};
	seen->result = ops->list(client->session, &listing, &client->error);
	if (seen->result == 0)
		assert_int_equal(listing.count, 3);
	maildrop_listing_finish(&listing);
	if (seen->result == 0)
		seen->result = sink_run(&sink, client, false);
	if (seen->result == 0)
		seen->result = ops->remove(
			client->session, numbers, 2, note, &seen->removed, &client->error);
	if (seen->result == 0)
		seen->result = ops->quit(client->session, &client->error);
	seen->quit = seen->result == 0;
}

/* The bytes sent up to the end of a step. */
static size_t sent_until(const char *command)
{
	size_t sum = 0;
	for (size_t i = 0; i < STEPS; i++) {
		sum += strlen(dialogue[i].answer);
		if (dialogue[i].command && strcmp(dialogue[i].command, command) == 0)
			return sum;
	}
	fail_msg("no such step");
	return 0;
}

static void check(size_t cut, size_t all)
{
	struct client client;
	struct seen seen = {0};
	sink_init(&sink, 3);
	client_connect(&client,
		&(struct client_params){.tls = NET_TLS_NONE, .fn = serve, .arg = &cut},
		SCRIPT(NULL));
	seen.result = client.result;
	if (client.session)
		session(&client, &seen);
	if ((seen.result < 0) != (cut < all))
		fail_msg("cut after %zu of %zu: %d", cut, all, seen.result);
	if (seen.result < 0) {
		assert_int_equal(client.error.cause, SOURCE_CAUSE_CONNECT);
		assert_int_equal(client.error.retry, SOURCE_RETRY_NOW);
	}
	/* RETRs and their answers overlap, so that a cut within the first leaves later ones unsent: the order tells */
	assert_int_equal(sink.ended, (cut >= sent_until("RETR 1")) + (cut >= sent_until("RETR 2")) +
					     (cut >= sent_until("RETR 3")));
	assert_int_equal(
		seen.removed, (cut >= sent_until("DELE 1")) + (cut >= sent_until("DELE 2")));
	if (sink.ended > 0)
		assert_string_equal(sink.messages[0].data.data, "a: b\r\n\r\n.\r\n\r\n");
	if (sink.ended > 2)
		assert_string_equal(sink.messages[2].data.data, "c: d\r\n\r\nx\r\n");
	sink_finish(&sink);
	if (cut < all)
		client_abandon(&client);
	else
		client_finish(&client);
}

static void test_every_byte(void **state)
{
	size_t all = sent_until("QUIT");
	(void)state;
	for (size_t cut = 0; cut <= all; cut++)
		check(cut, all);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_byte),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
