/* SPDX-License-Identifier: MIT */
/*
 * The question at the terminal. Signals that end or stop the program are held back while the echo is off,
 * and delivered when it is on again: Ctrl-C leaves the terminal as it was.
 */
#include "password.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"

static volatile sig_atomic_t caught;

static void catch (int number)
{
	caught = number;
}

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
#define SIGNAL_COUNT (sizeof(signals) / sizeof(*signals))

struct terminal {
	int fd;
	struct termios attributes;
	struct sigaction actions[SIGNAL_COUNT];
	sigset_t mask;
};

static void terminal_quiet(struct terminal *terminal)
{
	struct sigaction action = {.sa_handler = catch};
	sigset_t held;

	sigemptyset(&held);
	for (size_t i = 0; i < SIGNAL_COUNT; i++)
		sigaddset(&held, signals[i]);
	caught = 0;
	sigprocmask(SIG_BLOCK, &held, &terminal->mask);
	for (size_t i = 0; i < SIGNAL_COUNT; i++)
		sigaction(signals[i], &action, &terminal->actions[i]);
	tcgetattr(terminal->fd, &terminal->attributes);
	struct termios quiet = terminal->attributes;
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	quiet.c_lflag |= ECHONL;
	tcsetattr(terminal->fd, TCSAFLUSH, &quiet);
}

static void terminal_restore(struct terminal *terminal)
{
	tcsetattr(terminal->fd, TCSADRAIN, &terminal->attributes);
	for (size_t i = 0; i < SIGNAL_COUNT; i++)
		sigaction(signals[i], &terminal->actions[i], NULL);
	sigprocmask(SIG_SETMASK, &terminal->mask, NULL);
	if (caught)
		raise(caught);
}

/* Reads a line; its length, or a negative errno; -EINTR: a signal came. */
static ssize_t read_line(const struct terminal *terminal, char *buf, size_t cap)
{
	size_t len = 0;

	while (len < cap) {
		struct pollfd fd = {.fd = terminal->fd, .events = POLLIN};
		int r = ppoll(&fd, 1, NULL, &terminal->mask);
		if (caught)
			return -EINTR;
		if (r < 0 && errno == EINTR)
			continue;
		ssize_t n = r < 0 ? -1 : read(terminal->fd, buf + len, cap - len);
		if (n < 0)
			return -errno;
		len += (size_t)n;
		if (n == 0 || buf[len - 1] == '\n')
			return (ssize_t)len;
	}
	return -EMSGSIZE;
}

static ssize_t ask_once(struct terminal *terminal, const char *question, char *buf, size_t cap)
{
	ssize_t len = -EIO;

	terminal_quiet(terminal);
	if (write(terminal->fd, question, strlen(question)) >= 0)
		len = read_line(terminal, buf, cap);
	terminal_restore(terminal);
	return len;
}

int password_from_terminal(const char *user, const char *host, struct secret **ret, struct str *why)
{
	char line[1024];
	_cleanup_str_ struct str question = STR_INIT;
	struct terminal terminal = {.fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC)};

	if (terminal.fd < 0) {
		str_printf(why,
			"no password for %s at %s: password_command=, password_file= or ~/.netrc can tell it, and there is no terminal to ask at",
			user, host);
		return -ENOENT;
	}
	str_printf(&question, "Password for %s at %s: ", user, host);
	ssize_t len;
	/* After a stop and a continue (Ctrl-Z, fg) the question is asked again. */
	do
		len = ask_once(&terminal, str_cstr(&question), line, sizeof(line));
	while (len == -EINTR);
	close(terminal.fd);
	while (len > 0 && strchr("\r\n", line[len - 1]))
		len--;
	if (len > 0)
		*ret = secret_create(line, (size_t)len);
	secret_wipe(line, sizeof(line));
	if (len > 0)
		return *ret ? 0 : -ENOMEM;
	str_printf(why, "no password for %s at %s was typed", user, host);
	return len < 0 ? (int)len : -ENOENT;
}
