/* SPDX-License-Identifier: MIT */
/* The helper: what it does, what it can not be made to do, and when it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#include "helper.h"
#include "helper_order.h"
#include "made_up.h"
#include "mailfs/util/clock.h"
#include "password.h"

#define PATIENCE_MS 20000

/* --- Jobs --- */

static void answers(void *arg, int fd)
{
	if (write(fd, arg, strlen(arg)) < 0)
		_exit(1);
}

static void hangs(void *arg, int fd)
{
	(void)arg;
	(void)fd;
	sleep(60);
}

/* Tells first that it has begun. */
static void goes_on(void *arg, int fd)
{
	answers(arg, fd);
	sleep(60);
}

static int dies_mounting(void *arg, struct str *why)
{
	(void)arg;
	(void)why;
	_exit(1);
}

static int mounts(void *arg, struct str *why)
{
	int fd = memfd_create("mounted", MFD_CLOEXEC);
	(void)why;
	return write(fd, arg, strlen(arg)) < 0 ? -errno : fd;
}

static int can_not_mount(void *arg, struct str *why)
{
	(void)arg;
	str_append_cstr(why, "there is a reason");
	return -ENODEV;
}

static void unmounts(void *arg)
{
	unlink(arg);
}

/* --- What is read of it --- */

static bool readable(int fd, int patience_ms)
{
	struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
	return poll(&poll_fd, 1, patience_ms) == 1;
}

/* All up to its end, within patience. */
static const char *text_of(int fd)
{
	static char text[256];
	size_t len = 0;
	ssize_t n = 1;
	while (n > 0 && len < sizeof(text) - 1) {
		assert_true(readable(fd, PATIENCE_MS));
		n = read(fd, text + len, sizeof(text) - 1 - len);
		assert_true(n >= 0);
		len += (size_t)n;
	}
	close(fd);
	text[len] = 0;
	return text;
}

static struct helper *start(const struct helper_jobs *jobs)
{
	struct helper *helper;
	assert_int_equal(helper_start(jobs, &helper), 0);
	return helper;
}

static int64_t soon(int ms)
{
	return clock_now_ms() + ms;
}

/* --- Resolving --- */

static void test_resolve(void **state)
{
	char name[] = "127.0.0.1";
	const struct helper_jobs jobs = {.arg = name, .resolve = answers};
	struct helper *helper = start(&jobs);
	int fds[20];
	(void)state;
	for (size_t i = 0; i < 20; i++)
		fds[i] = helper_resolve(helper, soon(PATIENCE_MS));
	for (size_t i = 0; i < 20; i++)
		assert_string_equal(text_of(fds[i]), "127.0.0.1");
	helper_stop(helper);
}

static void test_resolve_ends_at_its_deadline(void **state)
{
	const struct helper_jobs jobs = {.resolve = hangs};
	struct helper *helper = start(&jobs);
	(void)state;
	int64_t begin_ms = clock_now_ms();
	int fd = helper_resolve(helper, soon(50));
	assert_string_equal(text_of(fd), "");
	assert_true(clock_now_ms() - begin_ms >= 40);
	helper_stop(helper);
}

static void test_too_much_at_once(void **state)
{
	char name[] = "again";
	struct helper_jobs jobs = {.arg = name, .resolve = hangs};
	struct helper *helper = start(&jobs);
	int fds[200];
	size_t refused = 0;
	(void)state;
	for (size_t i = 0; i < 200; i++)
		fds[i] = helper_resolve(helper, soon(500));
	for (size_t i = 0; i < 200; i++) {
		refused += fds[i] == -EAGAIN;
		if (fds[i] >= 0)
			assert_string_equal(text_of(fds[i]), "");
		else
			assert_int_equal(fds[i], -EAGAIN);
	}
	print_message("# %zu could not be sent\n", refused);
	helper_stop(helper);
}

/* --- The command --- */

static int run_token(const char *command, int64_t deadline_ms, char *ret_text, struct str *why)
{
	const struct helper_jobs jobs = {.token_command = command};
	struct helper *helper = start(&jobs);
	struct secret *secret = NULL;
	int r = password_from_helper(helper, command, deadline_ms, -1, &secret, why);
	if (r == 0)
		snprintf(ret_text, 64, "%s", secret_text(secret));
	secret_destroy(secret);
	helper_stop(helper);
	return r;
}

static void test_token(void **state)
{
	char text[64];
	struct str why = STR_INIT;
	(void)state;
	assert_int_equal(run_token("echo tok-1; echo more", CLOCK_NEVER, text, &why), 0);
	assert_string_equal(text, "tok-1");
	/* An agent that it leaves behind keeps the pipe open. */
	assert_int_equal(run_token("echo tok-2; sleep 5 2>&- &", CLOCK_NEVER, text, &why), 0);
	assert_string_equal(text, "tok-2");
	/* It closes its output long before it ends. */
	assert_int_equal(run_token("echo tok-3; exec >&-; sleep 0.1", CLOCK_NEVER, text, &why), 0);
	str_finish(&why);
}

static void test_token_fails(void **state)
{
	static const struct {
		const char *command, *words;
		int deadline_ms, result;
	} cases[] = {
		{"exit 7", "exit code 7", PATIENCE_MS, -EACCES},
		{"kill -INT $$", "signal 2", PATIENCE_MS, -EACCES},
		{":", "printed nothing", PATIENCE_MS, -EACCES},
		{"echo x; exec sleep 30", "did not end in time", 100, -ETIMEDOUT},
		{"exec >&-; exec sleep 30", "did not end in time", 100, -ETIMEDOUT},
		{"kill -9 $PPID; exec >&-; sleep 1", "or has ended", PATIENCE_MS, -EPIPE},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char text[64];
		struct str why = STR_INIT;
		assert_int_equal(
			run_token(cases[i].command, soon(cases[i].deadline_ms), text, &why),
			cases[i].result);
		assert_non_null(strstr(str_cstr(&why), cases[i].words));
		str_finish(&why);
	}
}

/* Who asked does not wait: neither for what it prints, nor, where it has closed that, for its end. */
static void test_token_cancelled(void **state)
{
	static const char *const commands[] = {"exec sleep 30", "exec >&-; exec sleep 30"};
	const struct itimerspec soon_over = {.it_value.tv_nsec = 200 * 1000 * 1000};
	int cancel_fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	(void)state;
	assert_int_equal(timerfd_settime(cancel_fd, 0, &soon_over, NULL), 0);
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++) {
		const struct helper_jobs jobs = {.token_command = commands[i]};
		struct helper *helper = start(&jobs);
		struct secret *secret = NULL;
		struct str why = STR_INIT;
		assert_int_equal(password_from_helper(helper, commands[i], CLOCK_NEVER, cancel_fd,
					 &secret, &why),
			-ECANCELED);
		helper_stop(helper);
		str_finish(&why);
		assert_int_equal(timerfd_settime(cancel_fd, 0, &soon_over, NULL), 0);
	}
	close(cancel_fd);
}

/* In the background, where no terminal is in the way: seen by the output, which they hold open. */
static void test_token_ends_with_its_children(void **state)
{
	const struct helper_jobs jobs = {.token_command = "sleep 60; echo x"};
	int output, report;
	(void)state;
	for (int stopped = 0; stopped < 2; stopped++) {
		struct helper *helper = start(&jobs);
		helper_detach(helper);
		assert_int_equal(helper_run_token(helper, soon(stopped ? PATIENCE_MS * 3 : 200),
					 &output, &report),
			0);
		if (stopped) {
			usleep(200000);
			helper_stop(helper);
		}
		assert_string_equal(text_of(output), "");
		close(report);
		if (!stopped)
			helper_stop(helper);
	}
}

/* How long an order may take: what its deadline leaves, a minute where there is none, an hour at the most. */
static void test_time_of_orders(void **state)
{
	char name[] = "timed";
	const struct helper_jobs jobs = {.arg = name, .resolve = answers};
	struct helper *helper = start(&jobs);
	(void)state;
	close(helper_resolve(helper, CLOCK_NEVER));
	assert_int_equal(last_order.timeout_ms, 60000);
	close(helper_resolve(helper, soon(600000)));
	assert_in_range(last_order.timeout_ms, 600000 - PATIENCE_MS, 600000);
	close(helper_resolve(helper, soon(7200000)));
	assert_int_equal(last_order.timeout_ms, 3600000);
	close(helper_resolve(helper, soon(-1)));
	assert_int_equal(last_order.timeout_ms, 1);
	helper_stop(helper);
}

/* Twice: when the second is answered, it has seen to its jobs since the first was sent. */
static void let_helper_look(struct helper *helper)
{
	for (int i = 0; i < 2; i++)
		assert_string_equal(text_of(helper_resolve(helper, soon(7200000))), "timed");
}

/* As long as it has, and no longer. Two minutes and ten go by in no time. */
static void test_token_has_its_time(void **state)
{
	char name[] = "timed", begun[16];
	const struct helper_jobs jobs = {
		.arg = name, .resolve = answers, .token_command = "echo begun; exec sleep 60"};
	struct helper *helper = start(&jobs);
	struct helper_report ended = {0};
	int output, report;
	(void)state;
	assert_int_equal(helper_run_token(helper, soon(600000), &output, &report), 0);
	assert_true(readable(output, PATIENCE_MS) && read(output, begun, sizeof(begun)) > 0);
	made_up->later_ms = 120000;
	let_helper_look(helper);
	assert_false(readable(report, 100));
	made_up->later_ms = 600000;
	let_helper_look(helper);
	made_up->later_ms = 0;
	assert_true(readable(report, PATIENCE_MS));
	assert_int_equal(read(report, &ended, sizeof(ended)), sizeof(ended));
	assert_true(ended.late);
	close(output);
	close(report);
	helper_stop(helper);
}

/* --- Mounting --- */

static void test_mount(void **state)
{
	char text[] = "mounted here";
	const struct helper_jobs jobs = {.arg = text, .mount = mounts};
	struct helper *helper = start(&jobs);
	struct str why = STR_INIT;
	(void)state;
	int fd = helper_mount(helper, &why);
	assert_true(fd >= 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	assert_string_equal(text_of(fd), "mounted here");
	helper_stop(helper);
	str_finish(&why);
}

static void test_mount_fails(void **state)
{
	const struct helper_jobs jobs = {.mount = can_not_mount};
	struct helper *helper = start(&jobs);
	struct str why = STR_INIT;
	(void)state;
	assert_int_equal(helper_mount(helper, &why), -ENODEV);
	assert_string_equal(str_cstr(&why), "there is a reason");
	helper_stop(helper);
	str_finish(&why);
}

/* Neither is waited for for ever: a process that can not be started, one that ends without an answer. */
static void test_mount_is_not_answered(void **state)
{
	const struct helper_jobs jobs = {.mount = dies_mounting};
	struct helper *helper = start(&jobs);
	struct str why = STR_INIT;
	(void)state;
	/* All but 0.1 s of the time that mounting has is over already. */
	made_up->earlier_ms = HELPER_USUAL_S * 1000 + 5000 - 100;
	int r = helper_mount(helper, &why);
	made_up->earlier_ms = 0;
	assert_int_equal(r, -ETIMEDOUT);
	assert_string_equal(str_cstr(&why), "mounting takes too long");
	helper_stop(helper);
	str_finish(&why);
}

static void test_mount_without_processes(void **state)
{
	const struct helper_jobs jobs = {.mount = can_not_mount};
	struct helper *helper = start(&jobs);
	struct str why = STR_INIT;
	(void)state;
	made_up->no_fork = true;
	int r = helper_mount(helper, &why);
	made_up->no_fork = false;
	assert_int_equal(r, -EAGAIN);
	assert_non_null(strstr(str_cstr(&why), "no process can be started: "));
	helper_stop(helper);
	str_finish(&why);
}

static void test_mount_while_all_are_busy(void **state)
{
	char text[] = "b";
	const struct helper_jobs jobs = {.arg = text, .resolve = goes_on, .mount = can_not_mount};
	struct helper *helper = start(&jobs);
	struct str why = STR_INIT;
	int fds[64];
	(void)state;
	for (size_t i = 0; i < 64; i++) {
		fds[i] = helper_resolve(helper, soon(PATIENCE_MS));
		assert_true(readable(fds[i], PATIENCE_MS));
	}
	assert_int_equal(helper_mount(helper, &why), -EAGAIN);
	assert_non_null(strstr(str_cstr(&why), "no process can be started: "));
	helper_stop(helper);
	for (size_t i = 0; i < 64; i++)
		close(fds[i]);
	str_finish(&why);
}

static void test_unmount_is_waited_for(void **state)
{
	char path[] = "/tmp/mailfs-helper-XXXXXX";
	const struct helper_jobs jobs = {.arg = path, .unmount = unmounts};
	(void)state;
	close(mkstemp(path));
	struct helper *helper = start(&jobs);
	helper_unmount(helper);
	assert_int_equal(access(path, F_OK), -1);
	helper_stop(helper);
}

/* --- The system's log: what would go there is written to a file --- */

static const char *log_name = "nobody";

void __wrap_openlog(const char *name, int options, int facility);
void __wrap_syslog(int priority, const char *format, ...) __attribute__((format(printf, 2, 3)));
void __wrap___syslog_chk(int priority, int flag, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

void __wrap_openlog(const char *name, int options, int facility)
{
	assert_int_equal(options, 0);
	assert_int_equal(facility, LOG_DAEMON);
	log_name = name;
}

__attribute__((format(printf, 2, 0))) static void log_to_file(
	int priority, const char *format, va_list args)
{
	FILE *file = fopen(log_path, "ae");
	fprintf(file, "%d %s: ", priority, log_name);
	vfprintf(file, format, args);
	fputc('\n', file);
	fclose(file);
}

void __wrap_syslog(int priority, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	log_to_file(priority, format, args);
	va_end(args);
}

void __wrap___syslog_chk(int priority, int flag, const char *format, ...)
{
	va_list args;
	(void)flag;
	va_start(args, format);
	log_to_file(priority, format, args);
	va_end(args);
}

static void test_log(void **state)
{
	char name[] = "logged", expected[200], text[2000] = "", large[2000];
	const struct helper_jobs jobs = {.arg = name, .resolve = answers};
	(void)state;
	assert_int_equal(truncate(log_path, 0), 0); /* others have written, too */
	struct helper *helper = start(&jobs);
	helper_log(helper, LOG_LEVEL_ERROR, "too early: the foreground has no log");
	helper_detach(helper);
	helper_log(helper, LOG_LEVEL_WARNING, "100% of a %s %n line");
	memset(large, 'x', sizeof(large));
	large[sizeof(large) - 1] = 0;
	helper_log(helper, (enum log_level)77, "there is no such level");
	helper_log(helper, LOG_LEVEL_DEBUG, large);
	assert_string_equal(text_of(helper_resolve(helper, CLOCK_NEVER)), "logged");
	helper_stop(helper);

	int fd = open(log_path, O_RDONLY | O_CLOEXEC);
	assert_true(read(fd, text, sizeof(text) - 1) > 0);
	close(fd);
	snprintf(expected, sizeof(expected),
		"%d mailfs[%ld]: 100%% of a %%s %%n line\n%d mailfs[%ld]: xxx", LOG_WARNING,
		(long)getpid(), LOG_DEBUG, (long)getpid());
	assert_memory_equal(text, expected, strlen(expected));
	assert_int_equal(text[strlen(text) - 1], '\n');
	assert_true(strlen(text) < 700);
}

/* --- What it can not be made to do --- */

/* A helper that is spoken to directly. */
static int start_raw(const struct helper_jobs *jobs, pid_t *ret_pid)
{
	int ends[2];
	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends), 0);
	*ret_pid = fork();
	if (*ret_pid == 0)
		helper_main(ends[1], getppid(), jobs);
	close(ends[1]);
	return ends[0];
}

static void test_orders_that_are_none(void **state)
{
	char name[] = "still there";
	const struct helper_jobs jobs = {.arg = name, .resolve = answers};
	pid_t pid;
	int fd = start_raw(&jobs, &pid), ends[2];
	struct helper_order order = {.kind = HELPER_RESOLVE, .timeout_ms = 1000};
	(void)state;
	assert_int_equal(pipe(ends), 0);
	const int three[] = {ends[1], ends[1], ends[1]};
	/* Too short, too long, unknown, without a pipe, with too many; a command where there is none. */
	assert_int_equal(helper_send(fd, &order, 3, three, 1, 0), 0);
	assert_int_equal(helper_send(fd, &order, sizeof(order), three, 1, 0), 0);
	assert_int_equal(helper_send(fd, &order, HELPER_ORDER_MIN, NULL, 0, 0), 0);
	assert_int_equal(helper_send(fd, &order, HELPER_ORDER_MIN, three, 2, 0), 0);
	for (uint32_t kind = 0; kind < 200; kind++) {
		order.kind = kind;
		if (kind != HELPER_RESOLVE && kind != HELPER_MOUNT && kind != HELPER_UNMOUNT)
			assert_int_equal(helper_send(fd, &order, HELPER_ORDER_MIN, three, 2, 0), 0);
	}
	order.kind = HELPER_TOKEN;
	assert_int_equal(helper_send(fd, &order, HELPER_ORDER_MIN, three, 2, 0), 0);
	/* None of them has cost it its life, or has kept the pipe. */
	order.kind = HELPER_RESOLVE;
	assert_int_equal(helper_send(fd, &order, HELPER_ORDER_MIN, three, 1, 0), 0);
	close(ends[1]);
	assert_string_equal(text_of(ends[0]), "still there");
	close(fd);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

/* --- How it ends --- */

static void test_signals_of_the_terminal(void **state)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
	char name[] = "here";
	const struct helper_jobs jobs = {.arg = name, .resolve = answers};
	pid_t pid;
	int fd = start_raw(&jobs, &pid), ends[2];
	struct helper_order order = {.kind = HELPER_RESOLVE, .timeout_ms = 1000};
	(void)state;
	for (int round = 0; round < 2; round++) {
		assert_int_equal(pipe(ends), 0);
		assert_int_equal(helper_send(fd, &order, HELPER_ORDER_MIN, &ends[1], 1, 0), 0);
		close(ends[1]);
		/* The first round shows that it has begun. */
		assert_string_equal(text_of(ends[0]), "here");
		for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
			kill(pid, signals[i]);
	}
	close(fd);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* It and what it does have the standard output of who started it, and nobody else has. */
static void test_ends_with_its_starter(void **state)
{
	const struct helper_jobs jobs = {
		.token_command = "echo begun; exec sleep 60", .resolve = hangs};
	int ends[2], output, report;
	char begun[16];
	(void)state;
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	pid_t pid = fork();
	if (pid == 0) {
		struct helper *helper;
		dup2(ends[1], STDOUT_FILENO);
		if (helper_start(&jobs, &helper) < 0 || helper_resolve(helper, CLOCK_NEVER) < 0 ||
			helper_run_token(helper, CLOCK_NEVER, &output, &report) < 0)
			_exit(1);
		if (!readable(output, PATIENCE_MS) || read(output, begun, sizeof(begun)) <= 0)
			_exit(1);
		raise(SIGKILL);
	}
	close(ends[1]);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_string_equal(text_of(ends[0]), "");
}

static void test_gone(void **state)
{
	char name[] = "gone";
	const struct helper_jobs jobs = {.arg = name, .resolve = answers};
	pid_t pid;
	int fd = start_raw(&jobs, &pid);
	struct helper_order order = {.kind = HELPER_RESOLVE};
	(void)state;
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(helper_send(fd, &order, HELPER_ORDER_MIN, NULL, 0, 0), -EPIPE);
	close(fd);
}

/* A helper whose standard output is a pipe; its other end. */
static int start_with_pipe(const struct helper_jobs *jobs, struct helper **ret)
{
	int ends[2], saved = dup(STDOUT_FILENO);
	fflush(stdout);
	assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
	dup2(ends[1], STDOUT_FILENO);
	int r = helper_start(jobs, ret);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	close(ends[1]);
	assert_int_equal(r, 0);
	return ends[0];
}

/* Orders to who has ended: one that it has not read any more is no other case. */
static void test_orders_to_the_dead(void **state)
{
	const struct helper_jobs jobs = {.resolve = hangs, .token_command = "echo x"};
	(void)state;
	for (int unread = 0; unread < 2; unread++) {
		struct helper *helper = start(&jobs);
		struct str why = STR_INIT;
		struct secret *secret = NULL;
		helper_detach(helper);
		kill(made_up->helper, SIGSTOP);
		if (unread)
			helper_log(helper, LOG_LEVEL_ERROR, "nobody reads this");
		kill(made_up->helper, SIGKILL);
		waitpid(made_up->helper, NULL, 0);
		assert_int_equal(unread ? helper_resolve(helper, CLOCK_NEVER) : -EPIPE, -EPIPE);
		assert_int_equal(password_from_helper(
					 helper, "echo x", soon(PATIENCE_MS), -1, &secret, &why),
			-EPIPE);
		assert_string_equal(str_cstr(&why),
			"token_command `echo x' can not be run: the helper has ended: unmount, and mount again");
		assert_int_equal(helper_resolve(helper, CLOCK_NEVER), -EPIPE);
		helper_log(helper, LOG_LEVEL_ERROR, "nor this");
		helper_stop(helper);
		str_finish(&why);
	}
}

static void test_detach(void **state)
{
	char name[] = "here";
	const struct helper_jobs jobs = {.arg = name, .resolve = answers};
	struct helper *helper;
	(void)state;
	int out = start_with_pipe(&jobs, &helper);
	assert_false(readable(out, 20));
	helper_detach(helper);
	assert_string_equal(text_of(out), "");
	assert_string_equal(text_of(helper_resolve(helper, CLOCK_NEVER)), "here");
	helper_stop(helper);
}

/* A look-up that goes on: $(mailfs …) does not wait for it. */
static void test_detach_while_resolving(void **state)
{
	char name[] = "begun";
	const struct helper_jobs jobs = {.arg = name, .resolve = goes_on};
	struct helper *helper;
	(void)state;
	int out = start_with_pipe(&jobs, &helper);
	int answer = helper_resolve(helper, CLOCK_NEVER);
	assert_true(readable(answer, PATIENCE_MS));
	helper_detach(helper);
	assert_string_equal(text_of(out), "");
	close(answer);
	helper_stop(helper);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_resolve),
		cmocka_unit_test(test_resolve_ends_at_its_deadline),
		cmocka_unit_test(test_too_much_at_once),
		cmocka_unit_test(test_token),
		cmocka_unit_test(test_token_fails),
		cmocka_unit_test(test_token_cancelled),
		cmocka_unit_test(test_token_ends_with_its_children),
		cmocka_unit_test(test_time_of_orders),
		cmocka_unit_test(test_token_has_its_time),
		cmocka_unit_test(test_mount),
		cmocka_unit_test(test_mount_fails),
		cmocka_unit_test(test_mount_is_not_answered),
		cmocka_unit_test(test_mount_without_processes),
		cmocka_unit_test(test_mount_while_all_are_busy),
		cmocka_unit_test(test_unmount_is_waited_for),
		cmocka_unit_test(test_orders_that_are_none),
		cmocka_unit_test(test_signals_of_the_terminal),
		cmocka_unit_test(test_ends_with_its_starter),
		cmocka_unit_test(test_gone),
		cmocka_unit_test(test_orders_to_the_dead),
		cmocka_unit_test(test_detach),
		cmocka_unit_test(test_detach_while_resolving),
		cmocka_unit_test(test_log),
	};
	signal(SIGPIPE, SIG_IGN);
	return cmocka_run_group_tests(tests, make_up, clean_up);
}
