/* SPDX-License-Identifier: MIT */
/*
 * The helper's own side: takes an order, has a child do it, and sees to it that the child ends in time. It believes nothing but the kind of an order and how long it may take.
 *
 * Signals. Ctrl-C at the terminal is for mailfs, which then ends and needs the helper for unmounting; so are those that systemd sends to all.
 * The helper ends with its socket. A command gets the signals as a program is used to.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "helper_order.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/process.h"

#define JOBS_MAX 64

/* A child at work. */
struct job {
	pid_t pid; /* 0: the place is free */
	int report_fd;
	int64_t deadline_ms;
	bool late;
	bool alone; /* with what it starts, in a process group of its own */
};

struct state {
	const struct helper_jobs *jobs;
	pid_t starter;
	int children_fd; /* of SIGCHLD */
	bool detached;
	struct job running[JOBS_MAX];
};

/* --- Settling --- */

static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGPIPE};

static void set_signals(struct state *state)
{
	sigset_t children;
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	for (size_t i = 0; i < sizeof(ignored) / sizeof(*ignored); i++)
		signal(ignored[i], SIG_IGN);
	sigprocmask(SIG_SETMASK, &children, NULL);
	state->children_fd = signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
	if (state->children_fd < 0)
		_exit(1);
}

/* --- Children --- */

static void begin_child(bool command)
{
	sigset_t none;
	sigemptyset(&none);
	/* No handler: what is not ignored is as it was in the beginning. */
	for (size_t i = 0; command && i < sizeof(ignored) / sizeof(*ignored); i++)
		signal(ignored[i], SIG_DFL);
	sigprocmask(SIG_SETMASK, &none, NULL);
	prctl(PR_SET_NAME, "mailfs-job");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
}

/*
 * What a command starts ends with it when it is late. At the terminal it stays in the group that may ask there, and only the
 * shell can be killed.
 */
static bool runs_alone(const struct state *state, uint32_t kind)
{
	return kind == HELPER_TOKEN && state->detached;
}

static void kill_job(const struct job *job)
{
	kill(job->alone ? -job->pid : job->pid, SIGKILL);
}

static _Noreturn void run_token(const struct state *state, int out)
{
	begin_child(true);
	if (runs_alone(state, HELPER_TOKEN))
		setpgid(0, 0);
	if (dup2(out, STDOUT_FILENO) >= 0)
		execl("/bin/sh", "sh", "-c", state->jobs->token_command, (char *)NULL);
	_exit(127);
}

static _Noreturn void run_mount(const struct state *state)
{
	struct helper_mounted answer = {0};
	_cleanup_str_ struct str why = STR_INIT;
	begin_child(false);
	int fd = state->jobs->mount(state->jobs->arg, &why);
	answer.err = fd < 0 ? fd : 0;
	snprintf(answer.why, sizeof(answer.why), "%s", str_cstr(&why));
	helper_send(PROCESS_SOCKET, &answer, sizeof(answer), &fd, fd < 0 ? 0 : 1, 0);
	_exit(0);
}

static _Noreturn void run_child(const struct state *state, uint32_t kind, const int *fds)
{
	switch (kind) {
	case HELPER_TOKEN:
		run_token(state, fds[0]);
	case HELPER_MOUNT:
		run_mount(state);
	case HELPER_RESOLVE:
		begin_child(false);
		process_silence(); /* it may go on when mailfs has let go of the caller's pipe */
		state->jobs->resolve(state->jobs->arg, fds[0]);
		_exit(0);
	case HELPER_UNMOUNT:
		begin_child(false);
		state->jobs->unmount(state->jobs->arg);
		_exit(0);
	default:
		_exit(1);
	}
}

/* How many descriptors come with an order that a child does; -1: it is none of those. */
static int fds_of(const struct state *state, uint32_t kind)
{
	switch (kind) {
	case HELPER_RESOLVE:
	case HELPER_UNMOUNT:
		return 1;
	case HELPER_MOUNT:
		return 0;
	case HELPER_TOKEN:
		return state->jobs->token_command ? 2 : -1;
	default:
		return -1;
	}
}

static struct job *free_job(struct state *state)
{
	for (size_t i = 0; i < JOBS_MAX; i++)
		if (state->running[i].pid == 0)
			return &state->running[i];
	return NULL;
}

/* Whoever mounts waits for an answer; the other orders have pipes, which end. */
static void refuse(const struct helper_order *order, int err)
{
	struct helper_mounted answer = {.err = -err};
	if (order->kind != HELPER_MOUNT)
		return;
	snprintf(answer.why, sizeof(answer.why), "no process can be started: %s", strerror(err));
	helper_send(PROCESS_SOCKET, &answer, sizeof(answer), NULL, 0, MSG_DONTWAIT);
}

/* The last descriptor is where the end is told; but who resolves writes the answer itself. */
static void begin_job(struct state *state, const struct helper_order *order, int *fds, size_t count)
{
	struct job *job = free_job(state);
	if (fds_of(state, order->kind) != (int)count)
		return;
	if (!job) {
		refuse(order, EAGAIN);
		return;
	}
	uint32_t limit = HELPER_TIMEOUT_S * 1000;
	uint32_t timeout_ms =
		order->timeout_ms > 0 && order->timeout_ms < limit ? order->timeout_ms : limit;
	bool reports = order->kind == HELPER_TOKEN || order->kind == HELPER_UNMOUNT;
	pid_t pid = fork();
	if (pid == 0)
		run_child(state, order->kind, fds);
	if (pid < 0) {
		refuse(order, errno);
		return;
	}
	bool alone = runs_alone(state, order->kind);
	if (alone)
		setpgid(pid, pid); /* here too: it may be killed before it has come to that */
	*job = (struct job){.pid = pid,
		.alone = alone,
		.report_fd = reports ? steal_fd(&fds[count - 1]) : -1,
		.deadline_ms = clock_now_ms() + timeout_ms};
}

static void end_job(struct job *job, int status)
{
	struct helper_report report = {.status = status, .late = job->late};
	if (job->report_fd >= 0) {
		ssize_t told = write(job->report_fd, &report, sizeof(report));
		(void)told;
		close(job->report_fd);
	}
	job->pid = 0;
}

static void reap(struct state *state)
{
	struct signalfd_siginfo info;
	int status;
	pid_t pid;
	while (read(state->children_fd, &info, sizeof(info)) > 0)
		;
	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (size_t i = 0; i < JOBS_MAX; i++)
			if (state->running[i].pid == pid)
				end_job(&state->running[i], status);
}

/* Kills what is late; the next deadline. */
static int64_t end_late(struct state *state)
{
	int64_t now_ms = clock_now_ms(), next_ms = CLOCK_NEVER;
	for (size_t i = 0; i < JOBS_MAX; i++) {
		struct job *job = &state->running[i];
		if (job->pid == 0 || job->late)
			continue;
		if (job->deadline_ms <= now_ms) {
			job->late = true;
			kill_job(job);
		} else if (next_ms == CLOCK_NEVER || job->deadline_ms < next_ms) {
			next_ms = job->deadline_ms;
		}
	}
	return next_ms;
}

static _Noreturn void end(struct state *state)
{
	for (size_t i = 0; i < JOBS_MAX; i++)
		if (state->running[i].pid > 0)
			kill_job(&state->running[i]);
	_exit(0);
}

/* --- What it does itself --- */

static void detach(struct state *state)
{
	static char name[32];
	setsid();
	if (chdir("/") < 0)
		_exit(1);
	process_silence();
	snprintf(name, sizeof(name), "mailfs[%ld]", (long)state->starter);
	openlog(name, 0, LOG_DAEMON);
	state->detached = true;
}

static void write_line(const struct state *state, const struct helper_order *order)
{
	static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
	if (state->detached && order->level < sizeof(priorities) / sizeof(*priorities))
		syslog(priorities[order->level], "%s", order->line);
}

static void obey(struct state *state)
{
	struct helper_order order = {0};
	int fds[HELPER_FDS_MAX] = {-1, -1};
	size_t count = 0;
	ssize_t n = helper_receive(PROCESS_SOCKET, &order, sizeof(order) - 1, fds, &count);
	if (n == 0 || (n < 0 && n != -EAGAIN))
		end(state);
	if (n >= (ssize_t)HELPER_ORDER_MIN && order.kind == HELPER_DETACH)
		detach(state);
	else if (n >= (ssize_t)HELPER_ORDER_MIN && order.kind == HELPER_LOG)
		write_line(state, &order);
	else if (n == (ssize_t)HELPER_ORDER_MIN)
		begin_job(state, &order, fds, count);
	for (size_t i = 0; i < HELPER_FDS_MAX; i++)
		cleanup_close(&fds[i]);
}

_Noreturn void helper_main(int fd, pid_t starter, const struct helper_jobs *jobs)
{
	static struct state state;
	state.jobs = jobs;
	state.starter = starter;
	process_keep(fd);
	set_signals(&state);
	prctl(PR_SET_NAME, "mailfs-helper");
	prctl(PR_SET_PDEATHSIG, 0);
	for (;;) {
		struct pollfd fds[] = {{.fd = PROCESS_SOCKET, .events = POLLIN},
			{.fd = state.children_fd, .events = POLLIN}};
		int64_t next_ms = end_late(&state);
		if (poll(fds, 2, clock_left_ms(next_ms)) < 0 && errno != EINTR)
			_exit(1);
		if (fds[1].revents)
			reap(&state);
		if (fds[0].revents)
			obey(&state);
	}
}
