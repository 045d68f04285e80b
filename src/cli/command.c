/* SPDX-License-Identifier: MIT */
/*
 * password_command= and token_command=: a shell runs it, and the first line that it prints is the password,
 * or the token. All of its output is read, so that a command that prints more is not killed by SIGPIPE; but no longer than it runs, because an agent that it
 * leaves behind may keep the pipe open.
 */
#include "password.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>
#include <fcntl.h>

#include "helper.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"

/* A token may have some thousands of bytes. What is beyond is read and dropped: it is not the first line. */
#define OUTPUT_MAX_BYTES 16384

struct output {
	char text[OUTPUT_MAX_BYTES];
	size_t len;
};

static void output_finish(struct output *output)
{
	secret_wipe(output, sizeof(*output));
}

/*
 * Without a terminal a command has a process group of its own, so that what it has started ends with it when it is late. At a terminal it stays in
 * the group that may ask there.
 */
static bool runs_alone(void)
{
	_cleanup_close_ int fd = open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0;
}

static void run_shell(const char *command, int out, bool alone)
{
	if (alone)
		setpgid(0, 0);
	struct sigaction plain = {.sa_handler = SIG_DFL};
	sigset_t none;

	sigaction(SIGPIPE, &plain, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (dup2(out, STDOUT_FILENO) >= 0)
		execl("/bin/sh", "sh", "-c", command, (char *)NULL);
	_exit(127);
}

/* Reads what is there; false at the end. */
static bool take_output(int fd, struct output *output)
{
	char chunk[1024];
	ssize_t n = read(fd, chunk, sizeof(chunk));
	if (n < 0)
		return errno == EINTR || errno == EAGAIN;
	size_t room = sizeof(output->text) - output->len;
	size_t take = (size_t)n < room ? (size_t)n : room;
	memcpy(output->text + output->len, chunk, take);
	output->len += take;
	secret_wipe(chunk, sizeof(chunk));
	return n > 0;
}

/* How long it is waited for. */
struct patience {
	int64_t deadline_ms;
	int cancel_fd; /* readable: no longer; -1: none */
};

/* Waits until some of the two can be read. 0, -ETIMEDOUT, -ECANCELED, or another error. */
static int wait_for(const struct patience *patience, struct pollfd fds[2])
{
	struct pollfd all[] = {fds[0], fds[1], {.fd = patience->cancel_fd, .events = POLLIN}};
	int n;
	do
		n = poll(all, 3, clock_left_ms(patience->deadline_ms));
	while (n < 0 && errno == EINTR);
	fds[0].revents = all[0].revents;
	fds[1].revents = all[1].revents;
	if (n <= 0)
		return n < 0 ? -errno : -ETIMEDOUT;
	return all[2].revents ? -ECANCELED : 0;
}

/* Reads until the end of the output, or until the command has ended and nothing more is there. end_fd is readable then. As wait_for(). */
static int collect(int fd, int end_fd, const struct patience *patience, struct output *output)
{
	struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = end_fd, .events = POLLIN}};

	for (;;) {
		int r = wait_for(patience, fds);
		if (r < 0)
			return r;
		if (fds[0].revents && !take_output(fd, output))
			return 0;
		if (fds[1].revents && !fds[0].revents)
			return 0;
	}
}

static int judge(int status, const struct output *output, size_t len, struct str *why)
{
	if (WIFSIGNALED(status))
		str_printf(why, "was killed by signal %d (%s)", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) != 0)
		str_printf(why, "failed with exit code %d", WEXITSTATUS(status));
	else if (len == 0)
		str_append_cstr(why, "printed nothing: the first line of its output is empty");
	else if (len == sizeof(output->text) || memchr(output->text, 0, len))
		str_append_cstr(why, "printed something that can not be a password or a token");
	else
		return 0;
	return -EACCES;
}

static size_t first_line(const struct output *output)
{
	size_t len = 0;
	while (len < output->len && output->text[len] != '\n')
		len++;
	if (len > 0 && output->text[len - 1] == '\r')
		len--;
	return len;
}

/* How it went: the secret, or why there is none. */
struct ending {
	const char *option, *command;
	int waited; /* 0, or why its end is not known: -ETIMEDOUT, -ECANCELED, … */
	int status; /* as waitpid() tells it */
};

static int finish(const struct ending *ending, const struct output *output, struct secret **ret,
	struct str *why)
{
	_cleanup_str_ struct str verdict = STR_INIT;
	size_t len = first_line(output);
	if (ending->waited == -ETIMEDOUT)
		str_append_cstr(&verdict, "did not end in time");
	else if (ending->waited == -EPIPE)
		str_append_cstr(&verdict, "was not run: the helper could not, or has ended");
	else if (ending->waited < 0)
		str_printf(&verdict, "is not waited for: %s", strerror(-ending->waited));
	int r = ending->waited < 0 ? ending->waited : judge(ending->status, output, len, &verdict);
	if (r < 0) {
		str_printf(why, "%s `%s' %s", ending->option, ending->command, str_cstr(&verdict));
		return r;
	}
	*ret = secret_create(output->text, len);
	return *ret ? 0 : -ENOMEM;
}

int password_from_command(const char *option, const char *command, int64_t deadline_ms,
	int cancel_fd, struct secret **ret, struct str *why)
{
	const struct patience patience = {deadline_ms, cancel_fd};
	__attribute__((cleanup(output_finish))) struct output output = {.len = 0};
	struct ending ending = {.option = option, .command = command};
	int ends[2];

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	_cleanup_close_ int in = ends[0];
	_cleanup_close_ int out = ends[1];
	/* The command's own end is an ordinary, blocking pipe. */
	fcntl(out, F_SETFL, 0);
	bool alone = runs_alone();
	pid_t pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		run_shell(command, out, alone);
	if (alone)
		setpgid(pid, pid); /* here too: it may be killed before it has come to that */
	close(steal_fd(&out));
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	ending.waited = collect(in, pidfd, &patience, &output);
	if (ending.waited < 0)
		kill(alone ? -pid : pid, SIGKILL);
	while (waitpid(pid, &ending.status, 0) < 0 && errno == EINTR)
		;
	return finish(&ending, &output, ret, why);
}

/* Waits for the end of a command that has closed its output. As wait_for(). */
static int take_report(int fd, const struct patience *patience, struct helper_report *ret)
{
	struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = -1}};
	int r = wait_for(patience, fds);
	if (r < 0)
		return r;
	if (read(fd, ret, sizeof(*ret)) != sizeof(*ret))
		return -EPIPE;
	return ret->late ? -ETIMEDOUT : 0;
}

int password_from_helper(struct helper *helper, const char *command, int64_t deadline_ms,
	int cancel_fd, struct secret **ret, struct str *why)
{
	const struct patience patience = {deadline_ms, cancel_fd};
	__attribute__((cleanup(output_finish))) struct output output = {.len = 0};
	struct ending ending = {.option = "token_command", .command = command};
	struct helper_report report = {0};
	_cleanup_close_ int in = -1;
	_cleanup_close_ int end = -1;

	int r = helper_run_token(helper, deadline_ms, &in, &end);
	if (r < 0) {
		str_printf(why, "token_command `%s' can not be run: %s", command,
			r == -EPIPE ? "the helper has ended: unmount, and mount again"
				    : strerror(-r));
		return r;
	}
	ending.waited = collect(in, end, &patience, &output);
	if (ending.waited == 0)
		ending.waited = take_report(end, &patience, &report);
	ending.status = report.status;
	return finish(&ending, &output, ret, why);
}
