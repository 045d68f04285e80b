/* SPDX-License-Identifier: MIT */
/* The question at the terminal, on a terminal of its own: no echo, and the echo is back whatever happens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "password.h"

#define WAIT_MS 10000

struct dialog {
	pid_t pid;
	int master;
	char seen[4096]; /* all that the terminal showed */
	size_t len;
};

/* What the child does: asks, and tells what it got. */
static void ask(void)
{
	_cleanup_str_ struct str why = STR_INIT;
	struct secret *secret = NULL;
	alarm(30);
	int r = password_from_terminal("alice", "h", &secret, &why);
	if (r == 0)
		printf("[got %zu bytes, %s]\n", secret_len(secret),
			strcmp(secret_text(secret), "hunter2") == 0 ? "right" : "wrong");
	else
		printf("[failed: %s]\n", str_cstr(&why));
	fflush(stdout);
	_exit(r == 0 ? 0 : 1);
}

static void start(struct dialog *dialog)
{
	*dialog = (struct dialog){0};
	dialog->pid = forkpty(&dialog->master, NULL, NULL, NULL);
	assert_true(dialog->pid >= 0);
	if (dialog->pid == 0)
		ask();
}

/* Reads what the terminal shows until it holds text, or ends. */
static bool shows(struct dialog *dialog, const char *text)
{
	struct pollfd fd = {.fd = dialog->master, .events = POLLIN};

	while (!strstr(dialog->seen, text)) {
		size_t room = sizeof(dialog->seen) - 1 - dialog->len;
		if (poll(&fd, 1, WAIT_MS) <= 0)
			return false;
		ssize_t n = read(dialog->master, dialog->seen + dialog->len, room);
		if (n <= 0)
			return false;
		dialog->len += (size_t)n;
	}
	return true;
}

static bool echoes(const struct dialog *dialog)
{
	struct termios attributes;
	assert_int_equal(tcgetattr(dialog->master, &attributes), 0);
	return attributes.c_lflag & ECHO;
}

static void type(const struct dialog *dialog, const char *text)
{
	assert_int_equal(write(dialog->master, text, strlen(text)), strlen(text));
}

static int end(struct dialog *dialog)
{
	int status;
	assert_int_equal(waitpid(dialog->pid, &status, 0), dialog->pid);
	close(dialog->master);
	return status;
}

static void the_answer_is_not_shown(void **state)
{
	struct dialog dialog;
	(void)state;
	start(&dialog);
	assert_true(shows(&dialog, "Password for alice at h: "));
	assert_false(echoes(&dialog));
	type(&dialog, "hunter2\n");
	assert_true(shows(&dialog, "[got 7 bytes, right]"));
	assert_null(strstr(dialog.seen, "hunter"));
	assert_true(echoes(&dialog));
	assert_int_equal(end(&dialog), 0);
}

static void nothing_typed_is_no_password(void **state)
{
	struct dialog dialog;
	(void)state;
	start(&dialog);
	assert_true(shows(&dialog, "Password for"));
	type(&dialog, "\n");
	assert_true(shows(&dialog, "[failed: no password for alice at h was typed]"));
	assert_int_equal(WEXITSTATUS(end(&dialog)), 1);
}

static void ctrl_d_is_no_password(void **state)
{
	struct dialog dialog;
	(void)state;
	start(&dialog);
	assert_true(shows(&dialog, "Password for"));
	type(&dialog, "\x04");
	assert_true(shows(&dialog, "[failed"));
	end(&dialog);
}

static void ctrl_c_gives_the_echo_back_and_ends(void **state)
{
	struct dialog dialog;
	siginfo_t info;
	(void)state;
	start(&dialog);
	assert_true(shows(&dialog, "Password for"));
	type(&dialog, "hun\x03");
	/* The terminal is looked at before its last user is reaped. */
	assert_int_equal(waitid(P_PID, (id_t)dialog.pid, &info, WEXITED | WNOWAIT), 0);
	assert_true(echoes(&dialog));
	int status = end(&dialog);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGINT);
}

static void ctrl_z_gives_the_echo_back_and_asks_again(void **state)
{
	struct dialog dialog;
	int status;
	(void)state;
	start(&dialog);
	assert_true(shows(&dialog, "Password for"));
	/* forkpty's child leads an orphaned process group, in which a terminal's stop is ignored: the signal comes all the same. */
	type(&dialog, "\x1a");
	assert_true(shows(&dialog, "Password for alice at h: "));
	dialog.len = 0;
	memset(dialog.seen, 0, sizeof(dialog.seen));
	assert_true(shows(&dialog, "Password for alice at h: "));
	type(&dialog, "hunter2\n");
	assert_true(shows(&dialog, "[got 7 bytes, right]"));
	status = end(&dialog);
	assert_int_equal(status, 0);
}

static void a_password_that_is_too_long_is_refused(void **state)
{
	struct dialog dialog;
	char line[601];
	(void)state;
	memset(line, 'x', 600);
	line[600] = 0;
	start(&dialog);
	assert_true(shows(&dialog, "Password for"));
	/* A terminal gives at most 4095 bytes of a line. */
	for (int i = 0; i < 3; i++)
		type(&dialog, line);
	type(&dialog, "\n");
	assert_true(shows(&dialog, "[failed"));
	end(&dialog);
}

static void without_a_terminal_the_ways_are_named(void **state)
{
	int status;
	(void)state;
	pid_t pid = fork();
	if (pid == 0) {
		_cleanup_str_ struct str why = STR_INIT;
		struct secret *secret;
		setsid();
		int r = password_from_terminal("alice", "h", &secret, &why);
		_exit(r == -ENOENT && strstr(str_cstr(&why), "password_command=") ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_answer_is_not_shown),
		cmocka_unit_test(nothing_typed_is_no_password),
		cmocka_unit_test(ctrl_d_is_no_password),
		cmocka_unit_test(ctrl_c_gives_the_echo_back_and_ends),
		cmocka_unit_test(ctrl_z_gives_the_echo_back_and_asks_again),
		cmocka_unit_test(a_password_that_is_too_long_is_refused),
		cmocka_unit_test(without_a_terminal_the_ways_are_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
