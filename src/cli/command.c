/* SPDX-License-Identifier: MIT */
/*
 * password_command=: a shell runs it, and the first line that it prints is the password. All of its output
 * is read, so that a command that prints more is not killed by SIGPIPE; but no longer than it runs, because an agent that it
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

#include "mailfs/util/cleanup.h"

#define OUTPUT_MAX_BYTES 4096 /* what is beyond is read and dropped: it is not the first line */

struct output {
	char text[OUTPUT_MAX_BYTES];
	size_t len;
};

static void output_finish(struct output *output)
{
	secret_wipe(output, sizeof(*output));
}

static void run_shell(const char *command, int out)
{
	struct sigaction plain = {.sa_handler = SIG_DFL};

	sigaction(SIGPIPE, &plain, NULL);
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

/* Reads until the end of the output, or until the command has ended and nothing more is there. */
static void collect(int fd, int pidfd, struct output *output)
{
	struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.fd = pidfd, .events = POLLIN}};

	for (;;) {
		if (poll(fds, 2, -1) < 0 && errno != EINTR)
			return;
		if (fds[0].revents && !take_output(fd, output))
			return;
		if (fds[1].revents && !fds[0].revents)
			return;
	}
}

static int judge(
	const char *command, int status, const struct output *output, size_t len, struct str *why)
{
	str_printf(why, "password_command `%s' ", command);
	if (WIFSIGNALED(status))
		str_printf(why, "was killed by signal %d (%s)", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
	else if (WEXITSTATUS(status) != 0)
		str_printf(why, "failed with exit code %d", WEXITSTATUS(status));
	else if (len == 0)
		str_append_cstr(why, "printed no password: the first line of its output is empty");
	else if (len == sizeof(output->text) || memchr(output->text, 0, len))
		str_append_cstr(why, "printed something that can not be a password");
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

int password_from_command(const char *command, struct secret **ret, struct str *why)
{
	__attribute__((cleanup(output_finish))) struct output output = {.len = 0};
	int ends[2], status = 0;

	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
		return -errno;
	_cleanup_close_ int in = ends[0];
	_cleanup_close_ int out = ends[1];
	/* The command's own end is an ordinary, blocking pipe. */
	fcntl(out, F_SETFL, 0);
	pid_t pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		run_shell(command, out);
	close(steal_fd(&out));
	_cleanup_close_ int pidfd = pidfd_open(pid, 0);
	collect(in, pidfd, &output);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	size_t len = first_line(&output);
	_cleanup_str_ struct str verdict = STR_INIT;
	int r = judge(command, status, &output, len, &verdict);
	if (r < 0) {
		str_append_cstr(why, str_cstr(&verdict));
		return r;
	}
	*ret = secret_create(output.text, len);
	return *ret ? 0 : -ENOMEM;
}
