/* SPDX-License-Identifier: MIT */
/* Forking, and letting go. */
#include "mailfs/util/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define REAP_TRIES 200
#define REAP_MS    10

int process_start(
	void (*main)(void *arg, int fd, pid_t starter), void *arg, pid_t *ret_pid, int *ret_fd)
{
	int ends[2];
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
		return -errno;
	/* Whoever started us may have had it ignored: then the pid would not stay the child's after its end. */
	signal(SIGCHLD, SIG_DFL);
	/* Where the first three are closed, they will be the log's or nobody's. */
	int fd = fcntl(ends[0], F_DUPFD_CLOEXEC, 3);
	pid_t starter = getpid(), pid = fd < 0 ? -1 : fork();
	if (pid == 0) {
		main(arg, ends[1], starter);
		_exit(0);
	}
	int r = pid < 0 ? -errno : 0;
	close(ends[0]);
	close(ends[1]);
	if (r < 0 && fd >= 0)
		close(fd);
	if (r < 0)
		return r;
	*ret_pid = pid;
	*ret_fd = fd;
	return 0;
}

void process_reap(pid_t pid)
{
	for (int i = 0; i < REAP_TRIES; i++) {
		pid_t r = waitpid(pid, NULL, WNOHANG);
		if (r == pid || (r < 0 && errno != EINTR))
			return;
		usleep(REAP_MS * 1000);
	}
}

void process_keep(int fd)
{
	/* Out of the way of the first three. */
	while (fd < PROCESS_SOCKET && fd >= 0)
		fd = fcntl(fd, F_DUPFD, PROCESS_SOCKET);
	if (fd != PROCESS_SOCKET)
		dup2(fd, PROCESS_SOCKET);
	fcntl(PROCESS_SOCKET, F_SETFD, FD_CLOEXEC);
	if (syscall(SYS_close_range, PROCESS_SOCKET + 1, ~0U, 0) == 0)
		return;
	for (int i = PROCESS_SOCKET + 1; i < sysconf(_SC_OPEN_MAX); i++)
		close(i);
}

void process_silence(void)
{
	int null = open("/dev/null",
		O_RDWR); /* not to be closed by exec, if it takes one of their places itself */
	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	if (null > 2)
		close(null);
}
