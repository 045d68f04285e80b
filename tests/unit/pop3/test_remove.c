/* SPDX-License-Identifier: MIT */
/* DELE and QUIT against a scripted server: what is believed of them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "script.h"

static void note(void *arg, uint32_t number, int err, const char *text)
{
	str_printf(arg, "%u:%d:%s|", number, err, text);
}

static int remove_three(struct client *client, struct str *notes)
{
	static const uint32_t numbers[] = {2, 5, 4294967295};
	return client->maildrop->ops->remove(
		client->session, numbers, 3, note, notes, &client->error);
}

static int quit(struct client *client)
{
	return client->maildrop->ops->quit(client->session, &client->error);
}

static void test_one_by_one(void **state)
{
	struct client client;
	char want[200];
	_cleanup_str_ struct str notes = STR_INIT;
	(void)state;
	client_begin(&client, SCRIPT(LOGIN(""), CAPA_AGAIN, "<DELE 2", ">+OK gone\r\n", "<DELE 5",
				      ">-ERR no such message\r\n", "<DELE 4294967295",
				      ">-ERR [SYS/TEMP] disk\r\n", "<QUIT", ">+OK bye\r\n"));
	assert_int_equal(remove_three(&client, &notes), 0);
	snprintf(want, sizeof(want), "2:0:gone|5:%d:no such message|4294967295:%d:disk|", -EACCES,
		-EIO);
	assert_string_equal(notes.data, want);
	assert_int_equal(quit(&client), 0);
	client_finish(&client);
}

static void test_pipelined(void **state)
{
	struct client client;
	_cleanup_str_ struct str notes = STR_INIT;
	(void)state;
	client_begin(&client,
		SCRIPT(PIPELINED, CAPA_AGAIN_PIPELINED, "<DELE 2", "<DELE 5", "<DELE 4294967295",
			">+OK a\r\n+OK b\r\n+OK c\r\n", "<QUIT", ">+OK\r\n"));
	assert_int_equal(remove_three(&client, &notes), 0);
	assert_string_equal(notes.data, "2:0:a|5:0:b|4294967295:0:c|");
	assert_int_equal(quit(&client), 0);
	client_finish(&client);
}

/* Each answer that came is told; the others are not. */
static void test_cut(void **state)
{
	static const char *const answers[] = {">+OK a\r\n+OK", ">+OK a\r\nOK b\r\n"};
	static const enum source_cause causes[] = {SOURCE_CAUSE_CONNECT, SOURCE_CAUSE_PROTOCOL};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct client client;
		_cleanup_str_ struct str notes = STR_INIT;
		client_begin(&client, SCRIPT(PIPELINED, CAPA_AGAIN_PIPELINED, "<DELE 2", "<DELE 5",
					      "<DELE 4294967295", answers[i], "!"));
		assert_int_equal(remove_three(&client, &notes), -EIO);
		assert_int_equal(client.error.cause, causes[i]);
		assert_string_equal(notes.data, "2:0:a|");
		assert_int_equal(quit(&client), -EIO);
		client_finish(&client);
	}
}

/* QUIT is said, and the answer not waited for. */
static void test_leave(void **state)
{
	struct client client;
	(void)state;
	client_begin(&client, SCRIPT(LOGIN(""), "<QUIT"));
	client.maildrop->ops->leave(client.session);
	client_finish(&client);
}

static void expect_quit_fails(const char *const *steps, const char *words)
{
	struct client client;
	client_begin(&client, steps);
	assert_int_equal(quit(&client), -EIO);
	assert_int_equal(client.error.scope, SOURCE_SCOPE_ACCOUNT);
	if (!strstr(client.error.text, words))
		fail_msg("'%s' is not in '%s'", words, client.error.text);
	/* it is not said twice */
	assert_int_equal(quit(&client), -EIO);
	client_finish(&client);
}

static void test_quit_fails(void **state)
{
	(void)state;
	expect_quit_fails(SCRIPT(LOGIN(""), "<QUIT", ">-ERR some deleted messages not removed\r\n"),
		"some deleted messages not removed");
	expect_quit_fails(SCRIPT(LOGIN(""), "<QUIT", "!"), "closed");
	expect_quit_fails(SCRIPT(LOGIN(""), "<QUIT", ">+OK by", "!"), "closed");
	expect_quit_fails(SCRIPT(LOGIN(""), "<QUIT", ">OK\r\n"), "can not be understood");
	expect_quit_fails(SCRIPT(LOGIN(""), "<QUIT", ">+ \r\n"), "can not be understood");
}

static void test_quit_once(void **state)
{
	struct client client;
	(void)state;
	client_begin(&client, SCRIPT(LOGIN(""), "<QUIT", ">+OK\r\n"));
	assert_int_equal(quit(&client), 0);
	assert_int_equal(quit(&client), -EIO);
	client_finish(&client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_by_one),
		cmocka_unit_test(test_pipelined),
		cmocka_unit_test(test_cut),
		cmocka_unit_test(test_leave),
		cmocka_unit_test(test_quit_fails),
		cmocka_unit_test(test_quit_once),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
