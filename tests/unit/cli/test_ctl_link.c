/* SPDX-License-Identifier: MIT */
/* The other end of the socket may be gone, silent, or somebody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl_link.h"
#include "mailfs/util/clock.h"

struct ends {
	struct ctl_link link;
	int peer;
};

static int setup(void **state)
{
	static struct ends ends;
	int fds[2];
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0)
		return -1;
	ends = (struct ends){.link = {.fd = fds[0]}, .peer = fds[1]};
	*state = &ends;
	return 0;
}

static int teardown(void **state)
{
	struct ends *ends = *state;
	ctl_link_close(&ends->link);
	if (ends->peer >= 0)
		close(ends->peer);
	return 0;
}

static void say(struct ends *ends, const char *text)
{
	assert_int_equal(send(ends->peer, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

static void hang_up(struct ends *ends)
{
	close(ends->peer);
	ends->peer = -1;
}

static int64_t soon(void)
{
	return clock_now_ms() + 2000;
}

static void lines_come_one_by_one(void **state)
{
	struct ends *ends = *state;
	const char *line;
	say(ends, "one\n\ntwo\nthr");
	assert_int_equal(ctl_link_line(&ends->link, soon(), -1, &line), 0);
	assert_string_equal(line, "one");
	assert_int_equal(ctl_link_line(&ends->link, soon(), -1, &line), 0);
	assert_string_equal(line, "");
	assert_int_equal(ctl_link_line(&ends->link, soon(), -1, &line), 0);
	assert_string_equal(line, "two");
	assert_int_equal(ctl_link_line(&ends->link, clock_now_ms() + 20, -1, &line), -ETIMEDOUT);
	say(ends, "ee\n");
	assert_int_equal(ctl_link_line(&ends->link, soon(), -1, &line), 0);
	assert_string_equal(line, "three");
	say(ends, "half");
	hang_up(ends);
	assert_int_equal(ctl_link_line(&ends->link, soon(), -1, &line), -EPIPE);
}

/* `mailfsctl watch | head -1' ends with head, not with the next event. */
static void it_is_seen_that_nobody_reads_on(void **state)
{
	struct ends *ends = *state;
	const char *line;
	int pipe_fds[2];
	assert_return_code(pipe(pipe_fds), errno);
	close(pipe_fds[0]);
	assert_int_equal(ctl_link_line(&ends->link, soon(), pipe_fds[1], &line), -ENOTCONN);
	close(pipe_fds[1]);
}

static void an_answer_is_taken(void **state)
{
	struct ends *ends = *state;
	_cleanup_str_ struct str why = STR_INIT;
	json_t *answer = NULL;
	char request[200];
	say(ends, "{\"ok\":true,\"freed_bytes\":7}\n");
	assert_int_equal(
		ctl_link_ask(&ends->link, "clear", "a \"b\"/\xc3\xbc", &answer, &why), CTL_EXIT_OK);
	assert_int_equal(json_integer_value(json_object_get(answer, "freed_bytes")), 7);
	json_decref(answer);
	ssize_t n = recv(ends->peer, request, sizeof(request) - 1, 0);
	assert_true(n > 0);
	request[n] = 0;
	assert_string_equal(request, "{\"command\":\"clear\",\"path\":\"a \\\"b\\\"/\xc3\xbc\"}\n");
}

static void assert_fails(struct ends *ends, const char *answer, int code, const char *says)
{
	_cleanup_str_ struct str why = STR_INIT;
	json_t *json = NULL;
	say(ends, answer);
	assert_int_equal(ctl_link_ask(&ends->link, "pin", "INBOX", &json, &why), code);
	assert_null(json);
	if (!strstr(str_cstr(&why), says))
		fail_msg("`%s' lacks `%s'", str_cstr(&why), says);
}

static void a_refusal_is_told(void **state)
{
	struct ends *ends = *state;
	assert_fails(ends, "{\"ok\":false,\"code\":\"ENOENT\",\"error\":\"No such file\"}\n",
		CTL_EXIT_FAILED, "pin INBOX: No such file");
	assert_fails(ends, "{\"ok\":false}\n", CTL_EXIT_FAILED, "no reason given");
	assert_fails(ends, "nonsense\n", CTL_EXIT_FAILED, "no reason given");
	assert_fails(ends, "[true]\n", CTL_EXIT_FAILED, "no reason given");
	assert_fails(ends, "{\"ok\":1,\"error\":2}\n", CTL_EXIT_FAILED, "no reason given");
}

/* Who is turned away at the door gets its line, although it can not say anything any more. */
static void a_last_word_is_heard(void **state)
{
	struct ends *ends = *state;
	_cleanup_str_ struct str why = STR_INIT;
	say(ends, "{\"ok\":false,\"error\":\"too many\"}\n");
	hang_up(ends);
	assert_int_equal(ctl_link_ask(&ends->link, "pin", "", NULL, &why), CTL_EXIT_FAILED);
	assert_string_equal(str_cstr(&why), "pin /: too many");
}

static void the_end_of_the_mount_is_told(void **state)
{
	struct ends *ends = *state;
	_cleanup_str_ struct str why = STR_INIT;
	hang_up(ends);
	assert_int_equal(ctl_link_ask(&ends->link, "pin", "INBOX", NULL, &why), CTL_EXIT_MOUNT);
	assert_non_null(strstr(str_cstr(&why), "has ended"));
}

static void nobody_at_the_socket_is_told(void **state)
{
	(void)state;
	struct ctl_link link = CTL_LINK_INIT;
	_cleanup_str_ struct str why = STR_INIT;
	char path[300];
	assert_int_equal(ctl_link_open(&link, "/no/such/socket", "/m", &why), CTL_EXIT_MOUNT);
	assert_non_null(strstr(str_cstr(&why), "/m: "));
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	str_reset(&why);
	assert_int_equal(ctl_link_open(&link, path, "/m", &why), CTL_EXIT_FAILED);
	assert_int_equal(link.fd, -1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(lines_come_one_by_one),
		TEST(it_is_seen_that_nobody_reads_on),
		TEST(an_answer_is_taken),
		TEST(a_refusal_is_told),
		TEST(a_last_word_is_heard),
		TEST(the_end_of_the_mount_is_told),
		TEST(nobody_at_the_socket_is_told),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
