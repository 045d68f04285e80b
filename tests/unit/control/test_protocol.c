/* SPDX-License-Identifier: MIT */
/* Requests and answers: what is malformed, too long, unknown; what comes in pieces, at once, or half closed. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fake.h"
#include "mailfs/util/cleanup.h"

static void what_is_no_request_is_refused(void **state)
{
	(void)state;
	static const char *const bad[] = {"", "x", "{", "[]", "1", "null", "\"status\"", "{}",
		"{\"command\":1}", "{\"command\":null,\"path\":\"\"}",
		"{\"command\":\"status\",\"path\":1}", "{\"command\":\"status\",\"path\":null}",
		"{\"command\":\"status\",\"command\":\"pin\"}", "{\"command\":\"status\"} x",
		"{\"command\":\"\\ud800\"}", "{\"command\":\"a\\u0000b\"}",
		"{\"command\":\"\xff\"}"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		fake_refused(bad[i], "EINVAL", "command");
	fake_refused("{\"command\":\"format\"}", "ENOSYS", "does not know");
	fake_refused("{\"command\":\"\"}", "ENOSYS", "does not know");
}

static void nesting_has_an_end(void **state)
{
	(void)state;
	_cleanup_str_ struct str deep = STR_INIT;
	for (int i = 0; i < 60000; i++)
		str_putc(&deep, '[');
	fake_refused(str_cstr(&deep), "EINVAL", "command");
}

/* A bad line costs its sender nothing but an answer. */
static void a_client_goes_on_after_an_error(void **state)
{
	(void)state;
	_cleanup_close_ int fd = fake_connect();
	json_decref(fake_ask(fd, "nonsense"));
	json_t *answer = fake_ask(fd, "{\"command\":\"refresh\"}");
	assert_true(json_is_true(json_object_get(answer, "ok")));
	json_decref(answer);
	assert_int_equal(fake.refreshes, 1);
}

/* Who is refused may be hung up on before all was said. */
static void push(int fd, const struct str *text)
{
	ssize_t ignored = send(fd, text->data, text->len, MSG_NOSIGNAL);
	(void)ignored;
}

static void a_huge_line_ends_the_connection(void **state)
{
	(void)state;
	_cleanup_close_ int fd = fake_connect();
	_cleanup_str_ struct str line = STR_INIT;
	for (int i = 0; i < 70000; i++)
		str_putc(&line, 'x');
	push(fd, &line);
	_cleanup_free_ char *answer = fake_line(fd);
	assert_non_null(answer);
	assert_non_null(strstr(answer, "E2BIG"));
	assert_null(fake_line(fd));
}

/* With its end it is as long; one of just that length is not too long. */
static void the_limit_is_exact(void **state)
{
	(void)state;
	static const size_t lengths[] = {65536, 65537};
	for (int i = 0; i < 2; i++) {
		_cleanup_close_ int fd = fake_connect();
		_cleanup_str_ struct str line = STR_INIT;
		str_append_cstr(&line, "{\"command\":\"refresh\"}");
		while (line.len < lengths[i])
			str_putc(&line, ' ');
		str_putc(&line, '\n');
		push(fd, &line);
		_cleanup_free_ char *answer = fake_line(fd);
		assert_non_null(answer);
		assert_non_null(strstr(answer, i == 0 ? "true" : "E2BIG"));
	}
}

static void a_request_may_come_byte_by_byte(void **state)
{
	(void)state;
	_cleanup_close_ int fd = fake_connect();
	const char *request = "{\"command\":\"refresh\"}\n";
	for (const char *c = request; *c; c++) {
		char one[] = {*c, 0};
		fake_send(fd, one);
		usleep(500);
	}
	_cleanup_free_ char *answer = fake_line(fd);
	assert_string_equal(answer, "{\"ok\":true}");
}

static void many_requests_at_once_are_answered_in_order(void **state)
{
	(void)state;
	_cleanup_close_ int fd = fake_connect();
	for (int i = 0; i < 100; i++)
		fake_send(fd, i % 2 ? "x\n" : "{\"command\":\"refresh\"}\n");
	/* Says no more, and still gets all. */
	shutdown(fd, SHUT_WR);
	for (int i = 0; i < 100; i++) {
		_cleanup_free_ char *answer = fake_line(fd);
		assert_non_null(answer);
		assert_non_null(strstr(answer, i % 2 ? "EINVAL" : "true"));
	}
	assert_null(fake_line(fd));
	assert_int_equal(fake.refreshes, 50);
}

/* Asks without end and does not listen: what waits for it is one answer, not all of them. */
static void who_does_not_listen_is_not_read(void **state)
{
	(void)state;
	_cleanup_close_ int fd = fake_connect();
	static const char request[] = "{\"command\":\"status\"}\n";
	size_t sent = 0;
	for (int quiet = 0; quiet < 50;) {
		ssize_t n = send(fd, request, sizeof(request) - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
		quiet = n < 0 ? quiet + 1 : 0;
		sent += n > 0 ? 1 : 0;
		if (n < 0)
			usleep(2000);
		assert_true(sent < 200000);
	}
	/* Others are served meanwhile. */
	json_decref(fake_ok("{\"command\":\"refresh\"}"));
	/* And it gets what it asked for once it listens. */
	for (size_t i = 0; i < 100; i++) {
		_cleanup_free_ char *answer = fake_line(fd);
		assert_non_null(answer);
		assert_non_null(strstr(answer, "\"ok\":true"));
	}
}

static void one_client_too_many_is_told_so(void **state)
{
	(void)state;
	int fds[33];
	for (int i = 0; i < 32; i++) {
		fds[i] = fake_connect();
		json_decref(fake_ask(fds[i], "{\"command\":\"refresh\"}"));
	}
	fds[32] = fake_connect();
	_cleanup_free_ char *line = fake_line(fds[32]);
	assert_non_null(line);
	assert_non_null(strstr(line, "EBUSY"));
	assert_null(fake_line(fds[32]));
	/* One goes, and there is room. */
	close(fds[5]);
	for (int tries = 0; tries < 100; tries++) {
		_cleanup_close_ int fd = fake_connect();
		json_t *answer = fake_ask(fd, "{\"command\":\"refresh\"}");
		bool ok = json_is_true(json_object_get(answer, "ok"));
		json_decref(answer);
		if (ok)
			break;
		assert_true(tries < 99);
		usleep(10000);
	}
	for (int i = 0; i < 33; i++)
		if (i != 5)
			close(fds[i]);
}

static void clients_that_vanish_do_no_harm(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++) {
		_cleanup_close_ int fd = fake_connect();
		fake_send(fd, i % 3 == 0   ? "{\"command\":\"status\"}\n{\"command\":\"status\"}\n"
			      : i % 3 == 1 ? "{\"comm"
					   : "{\"command\":\"watch\"}\n");
		fake_new_message("INBOX/1.eml");
	}
	for (int tries = 0; tries < 200; tries++) {
		_cleanup_close_ int fd = fake_connect();
		json_t *answer = fake_ask(fd, "{\"command\":\"refresh\"}");
		bool ok = json_is_true(json_object_get(answer, "ok"));
		json_decref(answer);
		if (ok)
			return;
		usleep(5000);
	}
	fail_msg("no place was freed");
}

static void the_end_ends_its_clients(void **state)
{
	(void)state;
	_cleanup_close_ int idle = fake_connect();
	_cleanup_close_ int watching = fake_connect();
	json_decref(fake_ask(idle, "{\"command\":\"refresh\"}"));
	json_decref(fake_ask(watching, "{\"command\":\"watch\"}"));
	control_destroy(fake.control);
	fake.control = NULL;
	assert_null(fake.listener);
	assert_null(fake_line(idle));
	assert_null(fake_line(watching));
	assert_int_equal(access(fake.socket, F_OK), -1);
	control_destroy(NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(what_is_no_request_is_refused),
		TEST(nesting_has_an_end),
		TEST(a_client_goes_on_after_an_error),
		TEST(a_huge_line_ends_the_connection),
		TEST(the_limit_is_exact),
		TEST(a_request_may_come_byte_by_byte),
		TEST(many_requests_at_once_are_answered_in_order),
		TEST(who_does_not_listen_is_not_read),
		TEST(one_client_too_many_is_told_so),
		TEST(clients_that_vanish_do_no_harm),
		TEST(the_end_ends_its_clients),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
