/* SPDX-License-Identifier: MIT */
/* The line that says how far a download is: its words for numbers and widths, its rate, and what a terminal gets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pty.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mailfs/util/log.h"
#include "progress.h"

#define MB UINT64_C(1000000)

static const struct {
	struct sync_progress at;
	uint64_t rate;
	unsigned columns;
	const char *line;
} lines[] = {
	{{1234, 2000, 5100000, 8200000, false}, 3200000, 79,
		"mailfs: 1234 of 2000 messages, 5.1 of 8.2 MB, 3.2 MB/s, 1 s left"},
	{{0, 1, 0, 999, false}, 0, 79, "mailfs: 0 of 1 messages, 0 of 999 bytes"},
	{{1, 2, 1000, 2000, false}, 0, 79, "mailfs: 1 of 2 messages, 1 of 2 kB"},
	{{1, 2, 1000, 999999, false}, 999, 79,
		"mailfs: 1 of 2 messages, 1 of 1000 kB, 999 bytes/s, 0:16:40 left"},
	{{0, 3, 12, 5000 * MB, false}, 0, 79, "mailfs: 0 of 3 messages, 0.0 of 5.0 GB"},
	/* Time: rounded up, whole hours, none that nobody believes. */
	{{0, 1, 0, 59 * MB, false}, MB, 79,
		"mailfs: 0 of 1 messages, 0.0 of 59.0 MB, 1.0 MB/s, 59 s left"},
	{{0, 1, 0, 60 * MB, false}, MB, 79,
		"mailfs: 0 of 1 messages, 0.0 of 60.0 MB, 1.0 MB/s, 0:01:00 left"},
	{{0, 1, 0, 36 * MB, false}, 10000, 79,
		"mailfs: 0 of 1 messages, 0.0 of 36.0 MB, 10 kB/s, 1:00:00 left"},
	{{0, 1, 0, 1000 * MB, false}, 1, 79, "mailfs: 0 of 1 messages, 0.0 of 1.0 GB, 1 bytes/s"},
	/* The server said too little. */
	{{1, 2, 5 * MB, 0, false}, MB, 79, "mailfs: 1 of 2 messages, 5.0 MB, 1.0 MB/s"},
	{{1, 2, 5 * MB, 5 * MB, false}, MB, 79, "mailfs: 1 of 2 messages, 5.0 of 5.0 MB, 1.0 MB/s"},
	/* Whole fields, as many as fit. */
	{{1234, 2000, 5100000, 8200000, false}, 3200000, 64,
		"mailfs: 1234 of 2000 messages, 5.1 of 8.2 MB, 3.2 MB/s, 1 s left"},
	{{1234, 2000, 5100000, 8200000, false}, 3200000, 63,
		"mailfs: 1234 of 2000 messages, 5.1 of 8.2 MB, 3.2 MB/s"},
	{{1234, 2000, 5100000, 8200000, false}, 3200000, 43, "mailfs: 1234 of 2000 messages"},
	{{1234, 2000, 5100000, 8200000, false}, 3200000, 10, "mailfs: 12"},
	{{1234, 2000, 5100000, 8200000, false}, 3200000, 0, ""},
	/* The largest numbers there are, and no width that is too large. */
	{{UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX, false}, UINT64_MAX, 10000,
		"mailfs: 18446744073709551615 of 18446744073709551615 messages, "
		"18446744073.7 of 18446744073.7 GB, 18446744073.7 GB/s"},
};

static void the_line_says_what_fits(void **state)
{
	char line[PROGRESS_LINE_MAX];
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		size_t len = progress_format(&lines[i].at, lines[i].rate, lines[i].columns, line);
		assert_string_equal(line, lines[i].line);
		assert_int_equal(len, strlen(line));
	}
}

static void the_last_line_says_how_long_it_took(void **state)
{
	static const struct {
		int64_t took_ms;
		const char *line;
	} ends[] = {{1999, "mailfs: 2000 messages, 8.2 MB, in 1 s"},
		{59999, "mailfs: 2000 messages, 8.2 MB, in 59 s"},
		{60000, "mailfs: 2000 messages, 8.2 MB, in 0:01:00"},
		{36061000, "mailfs: 2000 messages, 8.2 MB, in 10:01:01"}};
	static const struct sync_progress at = {2000, 2000, 8200000, 8100000, true};
	char line[PROGRESS_LINE_MAX];
	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(*ends); i++) {
		size_t len = progress_format_end(&at, ends[i].took_ms, line);
		assert_string_equal(line, ends[i].line);
		assert_int_equal(len, strlen(line));
	}
}

static void the_rate_is_that_of_the_last_seconds(void **state)
{
	struct progress_rate rate = {.count = 0};
	(void)state;
	assert_int_equal(progress_rate(&rate, 10000, 0), 0);
	assert_int_equal(progress_rate(&rate, 10900, 9 * MB), 0); /* too early */
	assert_int_equal(progress_rate(&rate, 11000, 10 * MB), 10 * MB);
	/* Ten a second for ten seconds, then a hundred times slower. */
	for (int64_t ms = 11100; ms <= 20000; ms += 100)
		assert_int_equal(progress_rate(&rate, ms, (uint64_t)(ms - 10000) * 10000), 10 * MB);
	uint64_t bytes = 100 * MB, last = 0;
	for (int64_t ms = 20100; ms <= 30000; ms += 100)
		last = progress_rate(&rate, ms, bytes += 10000);
	assert_int_equal(last, 100000);
	/* Nothing comes any more; then the count begins anew. */
	for (int64_t ms = 30100; ms <= 40000; ms += 100)
		last = progress_rate(&rate, ms, bytes);
	assert_int_equal(last, 0);
	assert_int_equal(progress_rate(&rate, 40100, 5), 0);
}

/* --- On a terminal of its own --- */

/* What a child's stderr, a terminal, shows while it runs fn. */
static int run_on_terminal(void (*fn)(void), const struct winsize *size, char *out, size_t cap)
{
	int master, status;
	size_t len = 0;
	ssize_t n;
	pid_t pid = forkpty(&master, NULL, NULL, size);
	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(30);
		fn();
		_exit(0);
	}
	while (len + 1 < cap && (n = read(master, out + len, cap - 1 - len)) > 0)
		len += (size_t)n;
	out[len] = 0;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(master);
	return status;
}

static const struct sync_progress half = {1, 2, MB, 2 * MB, false}, whole = {2, 2, MB, MB, true},
				  none = {0, 0, 0, 0, false};

static void download(void)
{
	progress_show(NULL, &half); /* not begun */
	progress_begin();
	progress_show(NULL, &none);
	progress_show(NULL, &half);
	progress_show(NULL, &whole);
	progress_show(NULL, &half);
	log_warning("a warning");
	log_warning("another");
	progress_end();
	log_warning("the end");
	progress_show(NULL, &half);
}

#define HALF "\r\033[Kmailfs: 1 of 2 messages, 1.0 of 2.0 MB"

static void the_line_is_redrawn_and_taken_away(void **state)
{
	char shown[1024];
	(void)state;
	assert_int_equal(run_on_terminal(download, NULL, shown, sizeof(shown)), 0);
	assert_string_equal(shown,
		HALF "\r\033[K" HALF "\r\033[Kmailfs: a warning\r\nmailfs: another\r\n"
		     "mailfs: the end\r\n");
}

static void the_line_is_as_wide_as_the_terminal(void **state)
{
	static const struct winsize narrow = {.ws_row = 24, .ws_col = 38};
	char shown[1024];
	(void)state;
	assert_int_equal(run_on_terminal(download, &narrow, shown, sizeof(shown)), 0);
	assert_null(strstr(shown, "MB"));
	assert_non_null(strstr(shown, "mailfs: 1 of 2 messages\r"));
}

static void watched_download(void)
{
	progress_begin();
	progress_show(NULL, &half);
	usleep(1100 * 1000);
	progress_show(NULL, &whole);
	progress_end();
}

static void a_download_that_was_watched_leaves_its_sum(void **state)
{
	char shown[1024];
	(void)state;
	assert_int_equal(run_on_terminal(watched_download, NULL, shown, sizeof(shown)), 0);
	assert_string_equal(shown, HALF "\r\033[Kmailfs: 2 messages, 1.0 MB, in 1 s\r\n");
}

static void incomplete_download(void)
{
	struct sync_progress cut = half;
	progress_begin();
	progress_show(NULL, &half);
	usleep(1100 * 1000);
	cut.done = true;
	progress_show(NULL, &cut);
	progress_end();
}

static void one_that_was_cut_leaves_none(void **state)
{
	char shown[1024];
	(void)state;
	assert_int_equal(run_on_terminal(incomplete_download, NULL, shown, sizeof(shown)), 0);
	assert_string_equal(shown, HALF "\r\033[K");
}

static void killed_download(void)
{
	progress_begin();
	progress_show(NULL, &half);
	raise(SIGTERM);
	sleep(30);
}

static void a_signal_ends_it_without_a_trace(void **state)
{
	char shown[1024];
	(void)state;
	int status = run_on_terminal(killed_download, NULL, shown, sizeof(shown));
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
	assert_string_equal(shown, HALF "\r\033[K");
}

static void ended_download(void)
{
	signal(SIGHUP, SIG_IGN);
	progress_begin();
	raise(SIGHUP);
	progress_end();
	struct sigaction action;
	sigaction(SIGTERM, NULL, &action);
	bool restored = action.sa_handler == SIG_DFL;
	sigaction(SIGHUP, NULL, &action);
	_exit(restored && action.sa_handler == SIG_IGN ? 0 : 1);
}

static void signals_are_as_they_were(void **state)
{
	char shown[1024];
	(void)state;
	assert_int_equal(run_on_terminal(ended_download, NULL, shown, sizeof(shown)), 0);
}

static void quiet_download(void)
{
	progress_begin();
	progress_show(NULL, &half);
	progress_show(NULL, &whole);
	progress_end();
}

static void background_download(void)
{
	/* As a shell's job that is not in the foreground. */
	signal(SIGTTOU, SIG_IGN);
	pid_t pid = fork();
	if (pid == 0) {
		setpgid(0, 0);
		quiet_download();
		_exit(0);
	}
	int status;
	waitpid(pid, &status, 0);
	_exit(WEXITSTATUS(status));
}

static void a_job_in_the_background_keeps_quiet(void **state)
{
	char shown[1024];
	(void)state;
	assert_int_equal(run_on_terminal(background_download, NULL, shown, sizeof(shown)), 0);
	assert_string_equal(shown, "");
}

static void a_pipe_gets_nothing(void **state)
{
	int ends[2], saved = dup(STDERR_FILENO);
	char byte;
	(void)state;
	assert_int_equal(pipe(ends), 0);
	dup2(ends[1], STDERR_FILENO);
	quiet_download();
	dup2(saved, STDERR_FILENO);
	close(ends[1]);
	close(saved);
	assert_int_equal(read(ends[0], &byte, 1), 0);
	close(ends[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_line_says_what_fits),
		cmocka_unit_test(the_last_line_says_how_long_it_took),
		cmocka_unit_test(the_rate_is_that_of_the_last_seconds),
		cmocka_unit_test(the_line_is_redrawn_and_taken_away),
		cmocka_unit_test(the_line_is_as_wide_as_the_terminal),
		cmocka_unit_test(a_download_that_was_watched_leaves_its_sum),
		cmocka_unit_test(one_that_was_cut_leaves_none),
		cmocka_unit_test(a_signal_ends_it_without_a_trace),
		cmocka_unit_test(signals_are_as_they_were),
		cmocka_unit_test(a_job_in_the_background_keeps_quiet),
		cmocka_unit_test(a_pipe_gets_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
