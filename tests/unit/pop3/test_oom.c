/* SPDX-License-Identifier: MIT */
/* A session of which each allocation is refused in turn: -ENOMEM, and never a message that is not whole, or a list that lacks one. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "oom.h"
#include "script.h"

/* What comes after the login, whatever is asked: a session that gave up asks less. */
static const struct {
	const char *command, *answer;
} table[] = {
	{"CAPA", "+OK\r\nUSER\r\nUIDL\r\nPIPELINING\r\n.\r\n"},
	{"USER alice", "+OK\r\n"},
	{"PASS s3cret", "+OK in\r\n"},
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

static void serve(struct script_conn *conn)
{
	char line[100];
	bool alive = script_send(conn, "+OK hi\r\n", 8);
	while (alive && script_line(conn, line, sizeof(line)))
		for (size_t i = 0; i < sizeof(table) / sizeof(*table); i++)
			if (strcmp(line, table[i].command) == 0)
				alive = script_send(conn, table[i].answer, strlen(table[i].answer));
}

static unsigned long refuse_nth;
static bool refuse_forever;

static void arm(void)
{
	oom_arm(refuse_nth, refuse_forever);
}

struct got {
	size_t asked, ended, removed;
	char text[200];
	size_t len;
};

static bool got_next(void *arg, struct maildrop_want *ret)
{
	struct got *got = arg;
	if (got->asked == 3)
		return false;
	*ret = (struct maildrop_want){.number = (uint32_t)++got->asked, .size_bytes = UINT64_MAX};
	return true;
}

static int got_data(void *arg, void *cookie, const void *data, size_t len)
{
	struct got *got = arg;
	(void)cookie;
	assert_true(got->len + len < sizeof(got->text));
	memcpy(got->text + got->len, data, len);
	got->len += len;
	return 0;
}

static int got_end(void *arg, void *cookie, const struct maildrop_result *result)
{
	static const size_t ends[] = {13, 13, 24};
	struct got *got = arg;
	(void)cookie;
	if (result->err == 0)
		assert_int_equal(got->len, ends[got->ended++]);
	return result->err;
}

static void got_removed(void *arg, uint32_t number, int err, const char *text)
{
	struct got *got = arg;
	(void)number;
	(void)text;
	got->removed += err == 0;
}

static int session(struct client *client)
{
	static const uint32_t numbers[] = {1, 2};
	const struct maildrop_ops *ops = client->maildrop->ops;
	struct maildrop_listing listing = {0};
	struct got got = {.asked = 0};
	const struct maildrop_sink sink = {
		.arg = &got, .next = got_next, .data = got_data, .end = got_end};
	ops->set_timeout(client->session, 20000);
	int r = ops->list(client->session, &listing, &client->error);
	if (r == 0)
		assert_int_equal(listing.count, 3);
	maildrop_listing_finish(&listing);
	if (r == 0)
		r = ops->retrieve(client->session, false, &sink, &client->error);
	assert_memory_equal(got.text, "a: b\r\n\r\n.\r\n\r\nc: d\r\n\r\nx\r\n", got.len);
	if (r == 0)
		assert_int_equal(got.ended, 3);
	if (r == 0)
		r = ops->remove(client->session, numbers, 2, got_removed, &got, &client->error);
	if (r == 0)
		assert_int_equal(got.removed, 2);
	return r == 0 ? ops->quit(client->session, &client->error) : r;
}

static int try_session(void *arg, unsigned long nth, bool forever)
{
	struct client client;
	(void)arg;
	refuse_nth = nth;
	refuse_forever = forever;
	client_connect(&client,
		&(struct client_params){.tls = NET_TLS_NONE, .ready = arm, .fn = serve},
		(const char *const[]){NULL});
	int r = client.result;
	if (client.session)
		r = session(&client);
	oom_disarm();
	if (r < 0 && r != -ENOMEM)
		fail_msg("allocation %lu%s: %s", nth, forever ? " and on" : "", client.error.text);
	client_abandon(&client);
	return r;
}

static void test_session(void **state)
{
	(void)state;
	oom_each("pop3 session", try_session, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
