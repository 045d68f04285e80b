/* SPDX-License-Identifier: MIT */
/* What the shell that started mailfs gets to see: the code of the child, or 0 when it is ready. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "daemon.h"

/* Runs body in a background process; the status of the process that waits in the foreground. */
static int status_of(void (*body)(struct daemon *, int), int arg)
{
	int status;
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct daemon daemon;
		alarm(30);
		if (daemon_start(&daemon, false) < 0)
			_exit(99);
		alarm(30);
		body(&daemon, arg);
		_exit(98);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static void exits(struct daemon *daemon, int code)
{
	(void)daemon;
	_exit(code);
}

static void is_killed(struct daemon *daemon, int number)
{
	(void)daemon;
	raise(number);
}

/* Tells over the pipe what has become of it. */
static void gets_ready(struct daemon *daemon, int pipe_fd)
{
	char facts[4] = {0}, link[64] = {0};
	char *here;
	daemon_ready(daemon);
	facts[0] = getsid(0) == getpid() ? 's' : '-';
	here = getcwd(NULL, 0);
	facts[1] = here && strcmp(here, "/") == 0 ? 'd' : '-';
	free(here);
	ssize_t n = readlink("/proc/self/fd/2", link, sizeof(link) - 1);
	facts[2] = n > 0 && strcmp(link, "/dev/null") == 0 ? 'n' : '-';
	usleep(100 * 1000);
	n = write(pipe_fd, facts, 3);
	_exit(0);
}

static void the_code_of_a_failure_is_handed_on(void **state)
{
	(void)state;
	for (int code = 0; code < 9; code++) {
		int status = status_of(exits, code);
		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), code);
	}
}

static void so_is_a_signal(void **state)
{
	(void)state;
	static const int numbers[] = {SIGINT, SIGTERM, SIGKILL};
	for (size_t i = 0; i < sizeof(numbers) / sizeof(*numbers); i++) {
		int status = status_of(is_killed, numbers[i]);
		assert_true(WIFSIGNALED(status));
		assert_int_equal(WTERMSIG(status), numbers[i]);
	}
}

static void when_ready_it_goes_on_by_itself(void **state)
{
	int ends[2];
	char facts[8] = {0};
	(void)state;
	assert_int_equal(pipe(ends), 0);
	int status = status_of(gets_ready, ends[1]);
	close(ends[1]);
	assert_int_equal(status, 0);
	assert_int_equal(read(ends[0], facts, 3), 3);
	assert_string_equal(facts, "sdn");
	close(ends[0]);
}

static void in_the_foreground_nothing_happens(void **state)
{
	struct daemon daemon;
	pid_t session = getsid(0);
	(void)state;
	assert_int_equal(daemon_start(&daemon, true), 0);
	daemon_ready(&daemon);
	assert_int_equal(getsid(0), session);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_code_of_a_failure_is_handed_on),
		cmocka_unit_test(so_is_a_signal),
		cmocka_unit_test(when_ready_it_goes_on_by_itself),
		cmocka_unit_test(in_the_foreground_nothing_happens),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
