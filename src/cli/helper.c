/* SPDX-License-Identifier: MIT */
/* The helper as seen by mailfs. Each order is one packet, so that threads need no lock; what is to come back has a pipe of its own. */
#include "helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "helper_order.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/process.h"

#define UNMOUNT_MS 10000
#define MARGIN_MS  5000
#define DETACH_MS  2000

struct helper {
	pid_t pid;
	int fd; /* a socket to it */
};

/* --- Life --- */

static void run(void *arg, int fd, pid_t starter)
{
	helper_main(fd, starter, arg);
}

int helper_start(const struct helper_jobs *jobs, struct helper **ret)
{
	_cleanup_free_ struct helper *helper = calloc(1, sizeof(*helper));
	if (!helper)
		return -ENOMEM;
	int r = process_start(run, (void *)jobs, &helper->pid, &helper->fd);
	if (r < 0)
		return r;
	*ret = steal_ptr(helper);
	return 0;
}

/* It ends when the socket does. */
void helper_stop(struct helper *helper)
{
	if (!helper)
		return;
	close(helper->fd);
	process_reap(helper->pid);
	free(helper);
}

/* --- Orders --- */

static uint32_t timeout_of(int64_t deadline_ms)
{
	int left = clock_left_ms(deadline_ms);
	if (left < 0)
		return HELPER_USUAL_S * 1000;
	if (left > HELPER_TIMEOUT_S * 1000)
		return HELPER_TIMEOUT_S * 1000;
	return left > 0 ? (uint32_t)left : 1;
}

static int send_order(struct helper *helper, enum helper_kind kind, int64_t deadline_ms,
	const int *fds, size_t count)
{
	struct helper_order order = {.kind = kind, .timeout_ms = timeout_of(deadline_ms)};
	int r = helper_send(helper->fd, &order, HELPER_ORDER_MIN, fds, count, MSG_DONTWAIT);
	return r == -ECONNRESET ? -EPIPE : r; /* it has ended with orders unread */
}

int helper_resolve(void *arg, int64_t deadline_ms)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	_cleanup_close_ int in = ends[0];
	_cleanup_close_ int out = ends[1];
	int r = send_order(arg, HELPER_RESOLVE, deadline_ms, &out, 1);
	return r < 0 ? r : steal_fd(&in);
}

int helper_run_token(struct helper *helper, int64_t deadline_ms, int *ret_output, int *ret_report)
{
	int output[2], report[2];
	if (pipe2(output, O_CLOEXEC) < 0)
		return -errno;
	_cleanup_close_ int output_in = output[0];
	_cleanup_close_ int output_out = output[1];
	if (pipe2(report, O_CLOEXEC) < 0)
		return -errno;
	_cleanup_close_ int report_in = report[0];
	_cleanup_close_ int report_out = report[1];
	const int fds[] = {output_out, report_out};
	/* Only this end: the command's is an ordinary one, that blocks. */
	if (fcntl(output_in, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	int r = send_order(helper, HELPER_TOKEN, deadline_ms, fds, 2);
	if (r < 0)
		return r;
	*ret_output = steal_fd(&output_in);
	*ret_report = steal_fd(&report_in);
	return 0;
}

/* The job is ended when its time is over, and then nobody answers. */
static bool is_answered(const struct helper *helper)
{
	struct pollfd fd = {.fd = helper->fd, .events = POLLIN};
	int64_t until_ms = clock_now_ms() + HELPER_USUAL_S * 1000 + MARGIN_MS;
	int r;
	do
		r = poll(&fd, 1, clock_left_ms(until_ms));
	while (r < 0 && errno == EINTR);
	return r > 0;
}

int helper_mount(struct helper *helper, struct str *why)
{
	struct helper_mounted answer = {0};
	int fds[HELPER_FDS_MAX];
	size_t count = 0;
	int r = send_order(helper, HELPER_MOUNT, CLOCK_NEVER, NULL, 0);
	if (r < 0)
		return r;
	if (!is_answered(helper)) {
		str_append_cstr(why, "mounting takes too long");
		return -ETIMEDOUT;
	}
	ssize_t n = helper_receive(helper->fd, &answer, sizeof(answer), fds, &count);
	if (n != sizeof(answer) || (answer.err == 0 && count != 1)) {
		str_append_cstr(why, "the helper that mounts has ended");
		return n < 0 ? (int)n : -EPIPE;
	}
	answer.why[sizeof(answer.why) - 1] = 0;
	str_append_cstr(why, answer.why);
	return answer.err < 0 ? answer.err : fds[0];
}

/* An order that is waited for; what is written to its pipe, or the pipe's end. The number of bytes, or a negative errno. */
static ssize_t send_and_wait(
	struct helper *helper, enum helper_kind kind, int wait_ms, struct helper_report *ret)
{
	int ends[2];
	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	_cleanup_close_ int in = ends[0];
	int r = send_order(helper, kind, CLOCK_NEVER, &ends[1], 1);
	close(ends[1]);
	struct pollfd fd = {.fd = in, .events = POLLIN};
	int64_t until_ms = clock_now_ms() + wait_ms;
	while (r == 0 && (r = poll(&fd, 1, clock_left_ms(until_ms))) < 0 && errno == EINTR)
		r = 0;
	return r > 0 ? read(in, ret, sizeof(*ret)) : -ETIMEDOUT;
}

void helper_unmount(struct helper *helper)
{
	struct helper_report report;
	if (send_and_wait(helper, HELPER_UNMOUNT, UNMOUNT_MS, &report) != sizeof(report))
		log_warning("the helper that unmounts has ended: fusermount3 -u does it");
}

void helper_detach(struct helper *helper)
{
	struct helper_report none;
	(void)send_and_wait(helper, HELPER_DETACH, DETACH_MS, &none);
}

void helper_log(void *arg, enum log_level level, const char *line)
{
	struct helper *helper = arg;
	struct helper_order order = {.kind = HELPER_LOG, .level = level};
	size_t len = strnlen(line, sizeof(order.line) - 1);
	memcpy(order.line, line, len);
	(void)helper_send(helper->fd, &order, HELPER_ORDER_MIN + len, NULL, 0, MSG_DONTWAIT);
}
