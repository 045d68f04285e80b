/* SPDX-License-Identifier: MIT */
/* Processes that are forked at the start to do one thing, and that have nothing of the starter but a socket. */
#ifndef MAILFS_UTIL_PROCESS_H
#define MAILFS_UTIL_PROCESS_H

#include <sys/types.h>

/*
 * Forks one, which runs main(arg, fd, starter) with its end of a socket (SOCK_SEQPACKET) and never returns from it; *ret_fd is the other end, never one of the
 * first three descriptors. SIGCHLD is not ignored from then on, so that the pid stays its own until it is waited for. A negative errno:
 * there is no process. Blocks: never.
 */
int process_start(
	void (*main)(void *arg, int fd, pid_t starter), void *arg, pid_t *ret_pid, int *ret_fd);
/* Waits for the end of one that is about to end; one that is stopped, or waits for a disk of others', is left to init. Blocks: 2 s at most. */
void process_reap(pid_t pid);

/*
 * In it, first: the socket becomes PROCESS_SOCKET, and all but that and the first three is closed: no pipe of the starter's, nothing that shows
 * when the starter has ended. Blocks: never.
 */
#define PROCESS_SOCKET 3
void process_keep(int fd);
/* Any process: lets go of the first three, too, which are what the caller gave; /dev/null takes their places. Blocks: never. */
void process_silence(void);

#endif
