/* SPDX-License-Identifier: MIT */
/*
 * Parent and child are joined by a pipe: a byte means ready; its end without a byte means that the child has failed, said
 * why on stderr, and that its exit code is the answer. Ctrl-C reaches both, because they share the terminal; the parent leaves it to
 * the child, which may have to give the terminal its echo back, and then ends as the child did.
 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "exit.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/log.h"
#include "mailfs/util/process.h"

/* Ends this process the way the child ended. */
static _Noreturn void follow(int status)
{
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	if (WIFSIGNALED(status)) {
		signal(WTERMSIG(status), SIG_DFL);
		raise(WTERMSIG(status));
	}
	_exit(EXIT_CODE_OTHER);
}

static _Noreturn void wait_for_child(pid_t pid, int fd)
{
	char byte;
	ssize_t n;
	int status = 0;

	signal(SIGINT, SIG_IGN);
	signal(SIGQUIT, SIG_IGN);
	do
		n = read(fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	if (n == 1)
		_exit(EXIT_CODE_OK);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			_exit(EXIT_CODE_OTHER);
	follow(status);
}

int daemon_start(struct daemon *daemon, bool foreground)
{
	int ends[2];

	daemon->ready_fd = -1;
	if (foreground)
		return 0;
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	pid_t parent = getpid(), pid = fork();
	if (pid < 0) {
		int err = -errno;
		close(ends[0]);
		close(ends[1]);
		return err;
	}
	if (pid > 0) {
		close(ends[1]);
		wait_for_child(pid, ends[0]);
	}
	close(ends[0]);
	/* Whoever kills the waiting parent means the mount. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(EXIT_CODE_OTHER);
	daemon->ready_fd = ends[1];
	return 0;
}

void daemon_ready(struct daemon *daemon)
{
	if (daemon->ready_fd < 0)
		return;
	prctl(PR_SET_PDEATHSIG, 0);
	setsid();
	if (chdir("/") < 0)
		log_warning("can not change to /");
	log_to_syslog();
	process_silence();
	ssize_t ignored = write(daemon->ready_fd, "", 1);
	(void)ignored;
	close(steal_fd(&daemon->ready_fd));
}
