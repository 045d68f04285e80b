/* SPDX-License-Identifier: MIT */
/* RETR and TOP against a scripted server: messages as they are, refusals, deadlines, cancel. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "mailfs/util/clock.h"
#include "sink.h"

static struct sink sink; /* large */

static void set_timeout(struct client *client, int timeout_ms)
{
	client->maildrop->ops->set_timeout(client->session, timeout_ms);
}

static void expect_message(size_t index, const char *data, size_t len)
{
	const struct sink_message *message = &sink.messages[index];
	assert_int_equal(message->err, 0);
	assert_int_equal(message->data.len, len);
	assert_memory_equal(str_cstr(&message->data), data, len);
}
#define EXPECT_MESSAGE(index, data) expect_message(index, data, sizeof(data) - 1)

static void test_one_by_one(void **state)
{
	/* SHA-256 of "a: b\r\n\r\n.x\r\n", computed with Python's hashlib */
	static const unsigned char digest[] = {0xfe, 0xc2, 0x38, 0x91, 0x2c, 0x76, 0x1d, 0xb6, 0x3a,
		0x7d, 0x27, 0xa2, 0xa3, 0x7c, 0xff, 0x80, 0x2f, 0xcd, 0x1a, 0x4c, 0x5f, 0xc2, 0x1b,
		0x37, 0x88, 0x8d, 0x7f, 0x4e, 0x3a, 0x6e, 0x78, 0x95};
	struct client client;
	(void)state;
	client_begin(&client,
		SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", ">+OK\r\na: b\r\n\r\n..x\r\n.\r\n",
			"<RETR 2", ">+OK 0 octets\r\n.\r\n", "<RETR 3",
			"%+OK\r\na%b\xff\r\nc\rd\ne\r\n.\r\n"));
	sink_init(&sink, 3);
	assert_int_equal(sink_run(&sink, &client, false), 0);
	assert_int_equal(sink.ended, 3);
	EXPECT_MESSAGE(0, "a: b\r\n\r\n.x\r\n");
	EXPECT_MESSAGE(1, "");
	EXPECT_MESSAGE(2, "a\0b\xff\r\nc\rd\ne\r\n");
	assert_memory_equal(sink.messages[0].sha256, digest, 32);
	sink_finish(&sink);
	client_finish(&client);
}

static void test_pipelined(void **state)
{
	struct client client;
	(void)state;
	client_begin(
		&client, SCRIPT(PIPELINED, CAPA_AGAIN_PIPELINED, "<RETR 1", "<RETR 2", "<RETR 3",
				 ">+OK\r\na\r\n.\r\n+OK\r\nb\r\n.\r\n+OK\r\nc\r\n.\r\n"));
	sink_init(&sink, 3);
	assert_int_equal(sink_run(&sink, &client, false), 0);
	EXPECT_MESSAGE(0, "a\r\n");
	EXPECT_MESSAGE(1, "b\r\n");
	EXPECT_MESSAGE(2, "c\r\n");
	sink_finish(&sink);
	client_finish(&client);
}

static void test_header(void **state)
{
	struct client client;
	(void)state;
	client_begin(&client, SCRIPT(LOGIN(""), CAPA_AGAIN, "<TOP 1 0", ">+OK\r\na: b\r\n\r\n.\r\n",
				      "<TOP 2 0", ">-ERR no\r\n"));
	sink_init(&sink, 2);
	assert_int_equal(sink_run(&sink, &client, true), 0);
	EXPECT_MESSAGE(0, "a: b\r\n\r\n");
	assert_int_equal(sink.messages[1].err, -ENOENT);
	sink_finish(&sink);
	client_finish(&client);
}

/* Nothing to fetch: nothing is sent but what settles the abilities. */
static void test_nothing(void **state)
{
	struct client client;
	(void)state;
	client_begin(&client, SCRIPT(LOGIN(""), CAPA_AGAIN));
	sink_init(&sink, 0);
	assert_int_equal(sink_run(&sink, &client, false), 0);
	assert_int_equal(sink_run(&sink, &client, false), 0);
	sink_finish(&sink);
	client_finish(&client);
}

static void test_refused(void **state)
{
	struct client client;
	(void)state;
	client_begin(
		&client, SCRIPT(PIPELINED, CAPA_AGAIN_PIPELINED, "<RETR 1", "<RETR 2", "<RETR 3",
				 ">+OK\r\na\r\n.\r\n-ERR [SYS/TEMP] bad disk\r\n+OK\r\ncc\r\n.\r\n",
				 "<QUIT", ">+OK\r\n"));
	static const struct maildrop_want wants[] = {{.number = 1, .size_bytes = 3},
		{.number = 2, .size_bytes = 9}, {.number = 3, .size_bytes = 4}};
	sink_init(&sink, 3);
	sink.wants = wants;
	assert_int_equal(sink_run(&sink, &client, false), 0);
	EXPECT_MESSAGE(0, "a\r\n");
	assert_int_equal(sink.messages[1].err, -ENOENT);
	assert_non_null(strstr(sink.messages[1].text, "the server says: bad disk"));
	EXPECT_MESSAGE(2, "cc\r\n");
	assert_int_equal(client.maildrop->ops->quit(client.session, &client.error), 0);
	sink_finish(&sink);
	client_finish(&client);
}

/* +OK and the final dot alone, where a message is listed. One that is listed as empty may be. */
static void test_without_a_byte(void **state)
{
	static const struct maildrop_want wants[] = {{.number = 1, .size_bytes = 3},
		{.number = 2, .size_bytes = 9}, {.number = 3, .size_bytes = 0},
		{.number = 4, .size_bytes = 3}};
	struct client client;
	(void)state;
	client_begin(&client, SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", ">+OK\r\na\r\n.\r\n",
				      "<RETR 2", ">+OK\r\n.\r\n", "<LIST 3", ">+OK 3 0\r\n",
				      "<RETR 3", ">+OK\r\n.\r\n", "<RETR 4", ">+OK\r\nd\r\n.\r\n"));
	sink_init(&sink, 4);
	sink.wants = wants;
	assert_int_equal(sink_run(&sink, &client, false), 0);
	assert_int_equal(sink.messages[1].err, -ENOENT);
	assert_non_null(strstr(sink.messages[1].text, "comes without a byte"));
	EXPECT_MESSAGE(0, "a\r\n");
	EXPECT_MESSAGE(2, "");
	EXPECT_MESSAGE(3, "d\r\n");
	sink_finish(&sink);
	client_finish(&client);
}

static uint64_t mark_of(size_t index)
{
	return maildrop_mark(sink.messages[index].sha256);
}

/* Another size than the listed one: doubted, with what is in flight behind it; believed when the same bytes come alone, behind a LIST. */
static void test_misfit(void **state)
{
	static struct maildrop_want wants[] = {{.number = 1, .size_bytes = 3},
		{.number = 2, .size_bytes = 9}, {.number = 3, .size_bytes = 4},
		{.number = 2, .size_bytes = 9, .before = 1}, {.number = 4, .size_bytes = 3}};
	(void)state;
	for (int run = 0; run < 2; run++) {
		struct client client;
		client_begin(&client,
			SCRIPT(PIPELINED, CAPA_AGAIN_PIPELINED, "<RETR 1", "<RETR 2", "<RETR 3",
				">+OK\r\na\r\n.\r\n+OK\r\nbbbb\r\n.\r\n+OK\r\ncc\r\n.\r\n",
				"<LIST 2", ">+OK 2 9\r\n", "<RETR 2", ">+OK\r\nbbbb\r\n.\r\n",
				"<LIST 4", ">+OK 4 3\r\n", "<RETR 4", ">+OK\r\nd\r\n.\r\n"));
		sink_init(&sink, 5);
		sink.wants = wants;
		sink.pause = 3;
		assert_int_equal(sink_run(&sink, &client, false), 0);
		EXPECT_MESSAGE(0, "a\r\n");
		assert_int_equal(sink.messages[1].err, -EAGAIN);
		EXPECT_MESSAGE(2, "cc\r\n");
		/* Other bytes than before are not. */
		assert_int_equal(sink.messages[3].err, run ? 0 : -EAGAIN);
		EXPECT_MESSAGE(4, "d\r\n");
		wants[3].before = mark_of(1);
		sink_finish(&sink);
		client_finish(&client);
	}
}

/* An answer that is missing: the next ones are not taken for it and for each other. */
static void test_one_behind(void **state)
{
	static const struct maildrop_want wants[] = {{.number = 1, .size_bytes = 3},
		{.number = 2, .size_bytes = 4}, {.number = 3, .size_bytes = 5}};
	struct client client;
	(void)state;
	client_begin(&client, SCRIPT(PIPELINED, CAPA_AGAIN_PIPELINED, "<RETR 1", "<RETR 2",
				      "<RETR 3", ">+OK\r\na\r\n.\r\n+OK\r\nccc\r\n.\r\n", "!"));
	sink_init(&sink, 3);
	sink.wants = wants;
	assert_true(sink_run(&sink, &client, false) < 0);
	EXPECT_MESSAGE(0, "a\r\n");
	assert_int_equal(sink.messages[1].err, -EAGAIN);
	assert_int_equal(sink.ended, 2);
	sink_finish(&sink);
	client_abandon(&client);
}

/* A refusal that nobody asked for: what follows is not taken for the answer to the next question. */
static void test_refusal_too_many(void **state)
{
	struct client client;
	(void)state;
	client_begin(&client,
		SCRIPT(PIPELINED, CAPA_AGAIN_PIPELINED, "<RETR 1", "<RETR 2", "<RETR 3",
			">+OK\r\na\r\n.\r\n-ERR never asked\r\n+OK\r\nbbbb\r\n.\r\n+OK\r\nc\r\n.\r\n"));
	sink_init(&sink, 3);
	sink.want_bytes = 3;
	/* What is left over then is seen. */
	assert_int_equal(sink_run(&sink, &client, false), -EIO);
	assert_int_equal(client.error.cause, SOURCE_CAUSE_PROTOCOL);
	EXPECT_MESSAGE(0, "a\r\n");
	assert_int_equal(sink.messages[1].err, -ENOENT);
	assert_int_equal(sink.messages[2].err, -EAGAIN);
	assert_true(client.maildrop->ops->quit(client.session, &client.error) < 0);
	sink_finish(&sink);
	client_abandon(&client);
}

#define SIZES_MAX 6
/* As the sink asks for them: 1, 2, 3, 4 and then 3, 4 again. */
static void wants_of(struct maildrop_want *wants, uint64_t size_bytes)
{
	static const uint32_t numbers[SIZES_MAX] = {1, 2, 3, 4, 3, 4};
	for (size_t i = 0; i < SIZES_MAX; i++)
		wants[i] = (struct maildrop_want){.number = numbers[i], .size_bytes = size_bytes};
}

/*
 * Sizes that are not known, or those of all: what was in flight behind a refusal counts for nothing. Then one answer that fits its question
 * is enough for all that follows, in both modes.
 */
static void test_refused_without_sizes(void **state)
{
	static const uint64_t sizes[] = {0, 3, UINT64_MAX};
	struct maildrop_want wants[SIZES_MAX];
	(void)state;
	for (size_t i = 0; i < 2 * sizeof(sizes) / sizeof(*sizes); i++) {
		bool header = i % 2;
		struct client client;
		client_begin(&client,
			SCRIPT(PIPELINED, CAPA_AGAIN_PIPELINED, header ? "<TOP 1 0" : "<RETR 1",
				header ? "<TOP 2 0" : "<RETR 2", header ? "<TOP 3 0" : "<RETR 3",
				header ? "<TOP 4 0" : "<RETR 4",
				">+OK\r\na\r\n.\r\n-ERR no\r\n+OK\r\nc\r\n.\r\n+OK\r\nd\r\n.\r\n",
				"<LIST 3", ">+OK 3 17\r\n", header ? "<TOP 3 0" : "<RETR 3",
				header ? "<TOP 4 0" : "<RETR 4",
				">+OK\r\nc\r\n.\r\n+OK\r\nd\r\n.\r\n"));
		sink_init(&sink, SIZES_MAX);
		wants_of(wants, sizes[i / 2]);
		sink.wants = wants;
		sink.pause = 4;
		assert_int_equal(sink_run(&sink, &client, header), 0);
		assert_int_equal(sink.messages[1].err, -ENOENT);
		assert_int_equal(sink.messages[2].err, -EAGAIN);
		assert_int_equal(sink.messages[3].err, -EAGAIN);
		EXPECT_MESSAGE(4, "c\r\n");
		EXPECT_MESSAGE(5, "d\r\n");
		sink_finish(&sink);
		client_finish(&client);
	}
}

/* The answer that was one too many comes late, as that to the next question. */
static void test_refusal_too_many_late(void **state)
{
	static const char *const answers[] = {">+OK\r\nb\r\n.\r\n", ">+OK 3 octets\r\nb\r\n.\r\n",
		">+OK 2 3\r\nb\r\n.\r\n", ">+OK 3\r\nb\r\n.\r\n"};
	(void)state;
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		struct client client;
		client_begin(&client,
			SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", ">+OK\r\na\r\n.\r\n", "<RETR 2",
				">-ERR never asked\r\n", "<LIST 3", answers[i]));
		sink_init(&sink, 3);
		sink.want_bytes = 3;
		assert_int_equal(sink_run(&sink, &client, false), -EIO);
		assert_int_equal(client.error.cause, SOURCE_CAUSE_PROTOCOL);
		assert_int_equal(sink.ended, 2);
		sink_finish(&sink);
		client_finish(&client);
	}
}

/* Without LIST of one: only sizes tell, and none that is not known. */
static void test_refused_without_list(void **state)
{
	static const struct maildrop_want wants[] = {{.number = 1, .size_bytes = 3},
		{.number = 2, .size_bytes = 5}, {.number = 3, .size_bytes = 0},
		{.number = 4, .size_bytes = 4}, {.number = 5, .size_bytes = 0}};
	struct client client;
	(void)state;
	client_begin(
		&client, SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", ">+OK\r\na\r\n.\r\n", "<RETR 2",
				 ">-ERR no\r\n", "<LIST 3", ">-ERR no\r\n", "<RETR 3",
				 ">+OK\r\nc\r\n.\r\n", "<LIST 4", ">-ERR no\r\n", "<RETR 4",
				 ">+OK\r\ndd\r\n.\r\n", "<RETR 5", ">+OK\r\ne\r\n.\r\n"));
	sink_init(&sink, 5);
	sink.wants = wants;
	assert_int_equal(sink_run(&sink, &client, false), 0);
	assert_int_equal(sink.messages[2].err, -EAGAIN);
	EXPECT_MESSAGE(3, "dd\r\n");
	EXPECT_MESSAGE(4, "e\r\n");
	sink_finish(&sink);
	client_finish(&client);
}

/* next() may have no more for now, and more once something has ended. */
static void test_more_later(void **state)
{
	struct client client;
	(void)state;
	client_begin(&client,
		SCRIPT(PIPELINED, CAPA_AGAIN_PIPELINED, "<RETR 1", ">+OK\r\na\r\n.\r\n", "<RETR 2",
			">-ERR\r\n", "<LIST 3", ">+OK 3 100\r\n", "<RETR 3", ">+OK\r\nc\r\n.\r\n"));
	sink_init(&sink, 3);
	sink.step = 1;
	assert_int_equal(sink_run(&sink, &client, false), 0);
	assert_int_equal(sink.ended, 3);
	sink_finish(&sink);
	client_finish(&client);
}

static void test_sink_fails(void **state)
{
	struct client client;
	(void)state;
	client_begin(&client, SCRIPT(PIPELINED, CAPA_AGAIN_PIPELINED, "<RETR 1", "<RETR 2",
				      ">+OK\r\na\r\n.\r\n+OK\r\nb\r\n.\r\n"));
	sink_init(&sink, 2);
	sink.data_err = -ENOSPC;
	assert_int_equal(sink_run(&sink, &client, false), -ENOSPC);
	assert_int_equal(client.error.err, -ENOSPC);
	assert_int_equal(client.error.scope, SOURCE_SCOPE_ACCOUNT);
	assert_int_equal(sink.ended, 0);
	assert_int_equal(client.maildrop->ops->quit(client.session, &client.error), -EIO);
	sink_finish(&sink);
	client_finish(&client);
}

static void expect_broken(const char *answer)
{
	struct client client;
	client_begin(
		&client, SCRIPT(PIPELINED, CAPA_AGAIN_PIPELINED, "<RETR 1", "<RETR 2", answer));
	sink_init(&sink, 2);
	assert_int_equal(sink_run(&sink, &client, false), -EIO);
	assert_int_equal(client.error.scope, SOURCE_SCOPE_ACCOUNT);
	assert_int_equal(client.error.cause, SOURCE_CAUSE_PROTOCOL);
	assert_int_equal(sink.ended, 1);
	EXPECT_MESSAGE(0, "a\r\n");
	/* nothing more is sent */
	assert_int_equal(client.maildrop->ops->quit(client.session, NULL), -EIO);
	sink_finish(&sink);
	client_finish(&client);
}

static void test_out_of_step(void **state)
{
	(void)state;
	expect_broken(">+OK\r\na\r\n.\r\nb\r\n.\r\n");
	expect_broken(">+OK\r\na\r\n.\r\n.\r\n");
	expect_broken(">+OK\r\na\r\n.\r\n+ \r\n");
	expect_broken(">+OK\r\na\r\n.\r\n\r\n+OK\r\nb\r\n.\r\n");
}

/* What comes unasked is seen, and not taken for the answer to QUIT. */
static void test_unasked(void **state)
{
	struct client client;
	(void)state;
	client_begin(
		&client, SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", ">+OK\r\na\r\n.\r\n+OK bye\r\n"));
	sink_init(&sink, 1);
	assert_int_equal(sink_run(&sink, &client, false), -EIO);
	assert_int_equal(client.error.cause, SOURCE_CAUSE_PROTOCOL);
	assert_int_equal(client.maildrop->ops->quit(client.session, &client.error), -EIO);
	sink_finish(&sink);
	client_finish(&client);
}

/* --- Large --- */

#define LONG_LINE 10000000
#define DOTS      ".................................................."

static void test_long_line(void **state)
{
	struct client client;
	(void)state;
	client_begin(&client, SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", ">+OK\r\nx\r\n",
				      "*50000 " DOTS DOTS DOTS DOTS, ">\r\n.\r\n"));
	sink_init(&sink, 1);
	assert_int_equal(sink_run(&sink, &client, false), 0);
	/* of the dots at its beginning one was put there on its way */
	assert_int_equal(sink.messages[0].data.len, 3 + LONG_LINE - 1 + 2);
	assert_int_equal(strspn(sink.messages[0].data.data + 3, "."), LONG_LINE - 1);
	sink_finish(&sink);
	client_finish(&client);
}

/* --- Time --- */

static int retrieve_in(const char *const *steps, size_t count, int timeout_ms, int64_t *ret_ms)
{
	struct client client;
	client_begin(&client, steps);
	set_timeout(&client, timeout_ms);
	int64_t since = clock_now_ms();
	sink_init(&sink, count);
	int r = sink_run(&sink, &client, false);
	*ret_ms = clock_now_ms() - since;
	if (r < 0) {
		assert_int_equal(client.error.scope, SOURCE_SCOPE_ACCOUNT);
		assert_int_equal(client.error.cause, SOURCE_CAUSE_CONNECT);
	}
	client_abandon(&client);
	sink_finish(&sink);
	return r;
}

/* A byte now and then keeps nothing alive. */
static void test_trickle(void **state)
{
	int64_t ms;
	(void)state;
	assert_int_equal(
		retrieve_in(SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", ">+OK\r\n",
				    "~20 abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"),
			1, 300, &ms),
		-ETIMEDOUT);
	assert_true(ms >= 290 && ms < 900);
	assert_int_equal(sink.ended, 0);
}

static void test_silence(void **state)
{
	int64_t ms;
	(void)state;
	assert_int_equal(retrieve_in(SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", "#500"), 1, 200, &ms),
		-ETIMEDOUT);
	assert_true(ms >= 190 && ms < 800);
}

/* Each message that ends moves the deadline on, and so does each 64 KiB; all together take longer. */
static void test_deadline_moves(void **state)
{
	static const char message[] = ">+OK\r\na\r\n.\r\n";
	int64_t ms;
	(void)state;
	assert_int_equal(retrieve_in(SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", "#200", message,
					     "<RETR 2", "#200", message, "<RETR 3", "#200", message,
					     "<RETR 4", "#200", ">-ERR\r\n", "<LIST 5",
					     ">+OK 5 3\r\n", "<RETR 5", "#200", message),
				 5, 800, &ms),
		0);
	assert_int_equal(sink.ended, 5);
	assert_true(ms >= 900);
#define LINES "*6554 012345678901\r\n"
	assert_int_equal(retrieve_in(SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", ">+OK\r\n", LINES,
					     "#200", LINES, "#200", LINES, "#200", LINES, "#200",
					     LINES, "#200", LINES, ">.\r\n"),
				 1, 800, &ms),
		0);
	assert_true(ms >= 900);
}

/* The time that a sink takes is not the server's. */
static void test_slow_sink(void **state)
{
	struct client client;
	(void)state;
	client_begin(&client,
		SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", ">+OK\r\na\r\n", "#100", ">b\r\n.\r\n"));
	set_timeout(&client, 250);
	sink_init(&sink, 1);
	sink.sleep_ms = 400;
	assert_int_equal(sink_run(&sink, &client, false), 0);
	EXPECT_MESSAGE(0, "a\r\nb\r\n");
	sink_finish(&sink);
	client_finish(&client);
}

static void *cancel_later(void *arg)
{
	struct client *client = arg;
	usleep(100000);
	client->maildrop->ops->cancel(client->session);
	return NULL;
}

static void test_cancel(void **state)
{
	struct client client;
	pthread_t thread;
	(void)state;
	client_begin(&client, SCRIPT(LOGIN(""), CAPA_AGAIN, "<RETR 1", ">+OK\r\na\r\n"));
	sink_init(&sink, 1);
	assert_int_equal(pthread_create(&thread, NULL, cancel_later, &client), 0);
	int64_t since = clock_now_ms();
	assert_int_equal(sink_run(&sink, &client, false), -ECANCELED);
	assert_true(clock_now_ms() - since < 1000);
	pthread_join(thread, NULL);
	assert_int_equal(client.error.scope, SOURCE_SCOPE_CANCELLED);
	assert_int_equal(sink.ended, 0);
	client.error = (struct source_error){0};
	assert_int_equal(client.maildrop->ops->quit(client.session, &client.error), -ECANCELED);
	assert_int_equal(client.error.scope, SOURCE_SCOPE_CANCELLED);
	sink_finish(&sink);
	client_finish(&client);
}

/* Before a call it is remembered. */
static void test_cancelled_before(void **state)
{
	struct client client;
	struct maildrop_listing listing;
	(void)state;
	client_begin(&client, SCRIPT(LOGIN("")));
	client.maildrop->ops->cancel(client.session);
	assert_int_equal(
		client.maildrop->ops->list(client.session, &listing, &client.error), -ECANCELED);
	client_finish(&client);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_one_by_one),
		cmocka_unit_test(test_pipelined),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_nothing),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_without_a_byte),
		cmocka_unit_test(test_misfit),
		cmocka_unit_test(test_one_behind),
		cmocka_unit_test(test_refusal_too_many),
		cmocka_unit_test(test_refused_without_sizes),
		cmocka_unit_test(test_refusal_too_many_late),
		cmocka_unit_test(test_refused_without_list),
		cmocka_unit_test(test_more_later),
		cmocka_unit_test(test_sink_fails),
		cmocka_unit_test(test_out_of_step),
		cmocka_unit_test(test_unasked),
		cmocka_unit_test(test_long_line),
		cmocka_unit_test(test_trickle),
		cmocka_unit_test(test_silence),
		cmocka_unit_test(test_deadline_moves),
		cmocka_unit_test(test_slow_sink),
		cmocka_unit_test(test_cancel),
		cmocka_unit_test(test_cancelled_before),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
