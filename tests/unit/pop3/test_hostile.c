/* SPDX-License-Identifier: MIT */
/* A server that means harm: one deadline in every state, messages and lists without end, bounded memory. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailfs/util/clock.h"
#include "sink.h"

#define DEADLINE_MS 150
#define SLOW                                                                                       \
	"~10 one byte after the other, and this is a line that is long enough to take longer than anybody waits for it"

static struct sink sink; /* large */

/* The largest piece of memory that anybody has asked for. */
static size_t largest;
void *__real_realloc(void *data, size_t size);
void *__wrap_realloc(void *data, size_t size);
void *__wrap_realloc(void *data, size_t size)
{
	largest = size > largest ? size : largest;
	return __real_realloc(data, size);
}

typedef int call_fn(struct client *client);

static int call_list(struct client *client)
{
	struct maildrop_listing listing = {0};
	int r = client->maildrop->ops->list(client->session, &listing, &client->error);
	maildrop_listing_finish(&listing);
	return r;
}

static int retrieve_listed(struct client *client, uint64_t listed_bytes)
{
	sink_init(&sink, 1);
	sink.discard = true;
	sink.want_bytes = listed_bytes;
	int r = sink_run(&sink, client, false);
	sink_finish(&sink);
	return r;
}

static int call_retrieve(struct client *client)
{
	return retrieve_listed(client, 1000);
}

static int call_header(struct client *client)
{
	sink_init(&sink, 1);
	sink.discard = true;
	int r = sink_run(&sink, client, true);
	sink_finish(&sink);
	return r;
}

static void ignore_removed(void *arg, uint32_t number, int err, const char *text)
{
	(void)arg, (void)number, (void)err, (void)text;
}

static int call_remove(struct client *client)
{
	static const uint32_t numbers[] = {1};
	return client->maildrop->ops->remove(
		client->session, numbers, 1, ignore_removed, NULL, &client->error);
}

static int call_quit(struct client *client)
{
	return client->maildrop->ops->quit(client->session, &client->error);
}

static void test_deadlines(void **state)
{
	static const struct {
		const char *what;
		call_fn *call;
		const char *steps[20];
	} cases[] = {
		{"CAPA", call_list, {LOGIN(""), "<CAPA", ">+OK\r\n", SLOW}},
		{"STAT", call_list, {LOGIN(""), CAPA_AGAIN, "<STAT", SLOW}},
		{"UIDL", call_list,
			{LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n", "<UIDL", ">+OK\r\n",
				SLOW}},
		{"LIST", call_list,
			{LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n", "<UIDL", ">+OK\r\n.\r\n",
				"<LIST", ">+OK\r\n", SLOW}},
		{"RETR", call_retrieve, {LOGIN(""), CAPA_AGAIN, "<RETR 1", SLOW}},
		{"a message", call_retrieve, {LOGIN(""), CAPA_AGAIN, "<RETR 1", ">+OK\r\n", SLOW}},
		{"TOP", call_header, {LOGIN(""), CAPA_AGAIN, "<TOP 1 0", ">+OK\r\n", SLOW}},
		{"DELE", call_remove, {LOGIN(""), CAPA_AGAIN, "<DELE 1", SLOW}},
		{"QUIT", call_quit, {LOGIN(""), "<QUIT", SLOW}},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct client client;
		client_begin(&client, cases[i].steps);
		client.maildrop->ops->set_timeout(client.session, DEADLINE_MS);
		int64_t start = clock_now_ms();
		if (cases[i].call(&client) != -ETIMEDOUT)
			fail_msg("%s: %s", cases[i].what, client.error.text);
		if (clock_now_ms() - start > DEADLINE_MS + 1000)
			fail_msg("%s took %d ms", cases[i].what, (int)(clock_now_ms() - start));
		client_finish(&client);
	}
}

static void expect_cut_off(call_fn *call, const char *const *steps, const char *words)
{
	struct client client;
	client_begin(&client, steps);
	largest = 0;
	assert_int_equal(call(&client), -EIO);
	assert_int_equal(client.error.scope, SOURCE_SCOPE_ACCOUNT);
	if (!strstr(client.error.text, words))
		fail_msg("'%s' is not in '%s'", words, client.error.text);
	assert_true(largest <= (size_t)24 << 20);
	client_finish(&client);
}

#define LINE100                                                                                    \
	"abcdefghij abcdefghij abcdefghij abcdefghij abcdefghij abcdefghij abcdefghij abcdefghij abcdefghij\r\n"

static void test_without_end(void **state)
{
	(void)state;
	/* far longer than it was listed: by lines, without any */
	expect_cut_off(call_retrieve,
		SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", ">+OK\r\n", "*100000000 " LINE100),
		"does not end");
	expect_cut_off(call_retrieve,
		SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", ">+OK\r\n",
			"*1000000000 abcdefghijklmnop"),
		"does not end");
	expect_cut_off(call_header,
		SCRIPT(LOGIN(""), CAPA_AGAIN, "<TOP 1 0", ">+OK\r\n", "*100000000 " LINE100),
		"does not end");
	expect_cut_off(call_list,
		SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n", "<UIDL", ">+OK\r\n",
			"*100000000 1 a\r\n2 b\r\n"),
		"list is too long");
	expect_cut_off(call_list,
		SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n", "<UIDL", ">+OK\r\n",
			"*100000000 1 " LINE100),
		"unique-ids are too long");
	expect_cut_off(call_list,
		SCRIPT(LOGIN(""), CAPA_AGAIN, "<STAT", ">+OK 1 9\r\n", "<UIDL", ">+OK\r\n.\r\n",
			"<LIST", ">+OK\r\n", "*100000000 4294967295 9\r\n"),
		"list is too long");
	expect_cut_off(call_list, SCRIPT(LOGIN(""), "<CAPA", ">+OK\r\n", "*100000000 USER\r\n"),
		"list is too long");
	expect_cut_off(call_quit, SCRIPT(LOGIN(""), "<QUIT", ">+OK ", "*100000000 x"), "too long");
}

/* A size that is listed too small, as servers do, is no harm; 0 says nothing. */
static void test_longer_than_listed(void **state)
{
	struct client client;
	(void)state;
	client_begin(&client,
		SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", ">+OK\r\n", "*500000 " LINE100, ">.\r\n"));
	assert_int_equal(call_retrieve(&client), 0);
	client_finish(&client);
	client_begin(&client,
		SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", ">+OK\r\n", "*750000 " LINE100, ">.\r\n"));
	assert_int_equal(retrieve_listed(&client, 0), 0);
	client_finish(&client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_deadlines),
		cmocka_unit_test(test_without_end),
		cmocka_unit_test(test_longer_than_listed),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
