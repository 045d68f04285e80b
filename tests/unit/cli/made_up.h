/* SPDX-License-Identifier: MIT */
/* What the helper's test makes it see: the time, and whether there are processes. In memory that both have in common. For that test alone. */
#ifndef TEST_CLI_MADE_UP_H
#define TEST_CLI_MADE_UP_H

#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "helper_order.h"

static struct {
	_Atomic int64_t later_ms;   /* the clock is ahead by so much, */
	_Atomic int64_t earlier_ms; /* and behind for who gives orders */
	_Atomic bool no_fork;
	_Atomic pid_t helper;
} * made_up;
static pid_t tester;
static struct helper_order last_order;

int64_t __real_clock_now_ms(void);
int64_t __wrap_clock_now_ms(void);
pid_t __real_fork(void);
pid_t __wrap_fork(void);
int __real_helper_send(
	int fd, const void *data, size_t len, const int *fds, size_t count, int flags);
int __wrap_helper_send(
	int fd, const void *data, size_t len, const int *fds, size_t count, int flags);

int64_t __wrap_clock_now_ms(void)
{
	if (getpid() == tester)
		return __real_clock_now_ms() - made_up->earlier_ms;
	made_up->helper = getpid(); /* no job asks for the time */
	return __real_clock_now_ms() + made_up->later_ms;
}

pid_t __wrap_fork(void)
{
	if (!made_up->no_fork)
		return __real_fork();
	errno = EAGAIN;
	return -1;
}

int __wrap_helper_send(
	int fd, const void *data, size_t len, const int *fds, size_t count, int flags)
{
	if (getpid() == tester)
		memcpy(&last_order, data, len < sizeof(last_order) ? len : sizeof(last_order));
	return __real_helper_send(fd, data, len, fds, count, flags);
}

static char log_path[] = "/tmp/mailfs-helper-log-XXXXXX";

static int make_up(void **state)
{
	(void)state;
	close(mkstemp(log_path));
	tester = getpid();
	made_up = mmap(
		NULL, sizeof(*made_up), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	return made_up == MAP_FAILED;
}

static int clean_up(void **state)
{
	(void)state;
	return unlink(log_path);
}

#endif
