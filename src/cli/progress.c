/* SPDX-License-Identifier: MIT */
/*
 * There is one terminal, and so one line: its state is static, because a signal that ends the process must find it, to take
 * the line away. `drawn` says whether the line is there; it is all that the handler looks at.
 */
#include "progress.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

#define DEFAULT_COLUMNS 80
#define SAMPLE_MS       500
#define RATE_MIN_MS     1000  /* no rate from less */
#define LEFT_MAX_S      86400 /* no time that nobody believes */
#define STAYS_MS        1000  /* a download that took longer leaves a line */

static const char erase[] = "\r\033[K";

static struct {
	pthread_mutex_t lock;
	bool active;
	int64_t begin_ms;
	struct progress_rate rate;
	struct sigaction actions[3];
} line = {.lock = PTHREAD_MUTEX_INITIALIZER};
static atomic_bool drawn;

static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
#define SIGNAL_COUNT (sizeof(signals) / sizeof(*signals))

/* --- What it says --- */

struct unit {
	const char *name;
	double bytes;
	int digits; /* after the point */
};

static const struct unit *unit_for(uint64_t bytes)
{
	static const struct unit units[] = {
		{"GB", 1e9, 1}, {"MB", 1e6, 1}, {"kB", 1e3, 0}, {"bytes", 1, 0}};
	const struct unit *unit = units;

	while (unit->bytes > 1 && (double)bytes < unit->bytes)
		unit++;
	return unit;
}

static void format_messages(const struct sync_progress *progress, char *out, size_t cap)
{
	snprintf(out, cap, "mailfs: %" PRIu64 " of %" PRIu64 " messages", progress->messages,
		progress->messages_total);
}

/* The server's sizes may be wrong, or missing: what has come may be more than what was announced. */
static void format_bytes(const struct sync_progress *progress, char *out, size_t cap)
{
	bool known = progress->bytes_total >= progress->bytes;
	const struct unit *unit = unit_for(known ? progress->bytes_total : progress->bytes);

	if (known)
		snprintf(out, cap, ", %.*f of %.*f %s", unit->digits,
			(double)progress->bytes / unit->bytes, unit->digits,
			(double)progress->bytes_total / unit->bytes, unit->name);
	else
		snprintf(out, cap, ", %.*f %s", unit->digits, (double)progress->bytes / unit->bytes,
			unit->name);
}

static void format_rate(uint64_t rate_bytes, char *out, size_t cap)
{
	const struct unit *unit = unit_for(rate_bytes);

	*out = 0;
	if (rate_bytes > 0)
		snprintf(out, cap, ", %.*f %s/s", unit->digits, (double)rate_bytes / unit->bytes,
			unit->name);
}

static void format_left(
	const struct sync_progress *progress, uint64_t rate_bytes, char *out, size_t cap)
{
	uint64_t left = 0;

	*out = 0;
	if (rate_bytes == 0 || progress->bytes_total <= progress->bytes)
		return;
	left = (progress->bytes_total - progress->bytes + rate_bytes - 1) / rate_bytes;
	if (left < 60)
		snprintf(out, cap, ", %" PRIu64 " s left", left);
	else if (left < LEFT_MAX_S)
		snprintf(out, cap, ", %" PRIu64 ":%02" PRIu64 ":%02" PRIu64 " left", left / 3600,
			left / 60 % 60, left % 60);
}

size_t progress_format(const struct sync_progress *progress, uint64_t rate_bytes, unsigned columns,
	char out[PROGRESS_LINE_MAX])
{
	char fields[4][PROGRESS_LINE_MAX];
	size_t room = columns < PROGRESS_LINE_MAX ? columns : PROGRESS_LINE_MAX - 1, len = 0;

	format_messages(progress, fields[0], sizeof(fields[0]));
	format_bytes(progress, fields[1], sizeof(fields[1]));
	format_rate(rate_bytes, fields[2], sizeof(fields[2]));
	format_left(progress, rate_bytes, fields[3], sizeof(fields[3]));
	for (size_t i = 0; i < 4; i++) {
		size_t field_len = strlen(fields[i]);
		if (len + field_len > room && len > 0)
			break;
		if (field_len > room)
			field_len = room;
		memcpy(out + len, fields[i], field_len);
		len += field_len;
	}
	out[len] = 0;
	return len;
}

size_t progress_format_end(
	const struct sync_progress *progress, int64_t took_ms, char out[PROGRESS_LINE_MAX])
{
	const struct unit *unit = unit_for(progress->bytes);
	int64_t took_s = took_ms / 1000;
	char took[32];

	if (took_s < 60)
		snprintf(took, sizeof(took), "%" PRIi64 " s", took_s);
	else
		snprintf(took, sizeof(took), "%" PRIi64 ":%02d:%02d", took_s / 3600,
			(int)(took_s / 60 % 60), (int)(took_s % 60));
	return (size_t)snprintf(out, PROGRESS_LINE_MAX,
		"mailfs: %" PRIu64 " messages, %.*f %s, in %s", progress->messages, unit->digits,
		(double)progress->bytes / unit->bytes, unit->name, took);
}

static void add_sample(struct progress_rate *rate, int64_t now_ms, uint64_t bytes)
{
	unsigned next = (rate->first + rate->count) % PROGRESS_SAMPLES;

	if (rate->count == PROGRESS_SAMPLES)
		rate->first = (rate->first + 1) % PROGRESS_SAMPLES;
	else
		rate->count++;
	rate->samples[next].at_ms = now_ms;
	rate->samples[next].bytes = bytes;
}

uint64_t progress_rate(struct progress_rate *rate, int64_t now_ms, uint64_t bytes)
{
	unsigned last = (rate->first + rate->count + PROGRESS_SAMPLES - 1) % PROGRESS_SAMPLES;

	if (rate->count == 0 || now_ms - rate->samples[last].at_ms >= SAMPLE_MS)
		add_sample(rate, now_ms, bytes);
	int64_t span_ms = now_ms - rate->samples[rate->first].at_ms;
	uint64_t old = rate->samples[rate->first].bytes;
	if (span_ms < RATE_MIN_MS || bytes < old)
		return 0;
	return (bytes - old) * 1000 / (uint64_t)span_ms;
}

/* --- The terminal --- */

/* All bytes or none that matter: a terminal that does not take them is not worth a failure. */
static void put(const char *text, size_t len)
{
	ssize_t ignored = write(STDERR_FILENO, text, len);
	(void)ignored;
}

static unsigned terminal_columns(void)
{
	struct winsize size;

	return ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col
	                                                                       : DEFAULT_COLUMNS;
}

/* Whether somebody may be drawn for: a shell's job in the background keeps quiet. */
static bool in_foreground(void)
{
	pid_t group = tcgetpgrp(STDERR_FILENO);
	return group < 0 || group == getpgrp();
}

static void clear_line(void)
{
	if (atomic_exchange(&drawn, false))
		put(erase, sizeof(erase) - 1);
}

/* The process ends as it would have ended, but not in the middle of the line. */
static void on_signal(int number)
{
	clear_line();
	signal(number, SIG_DFL);
	raise(number);
}

/* Before a line of the log; the next progress_show() draws again. */
static void on_log(void)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&line.lock);

	clear_line();
}

void progress_begin(void)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&line.lock);
	struct sigaction action = {.sa_handler = on_signal};

	if (!isatty(STDERR_FILENO) || line.active)
		return;
	line.active = true;
	log_set_before(on_log);
	line.begin_ms = clock_now_ms();
	line.rate = (struct progress_rate){.count = 0};
	for (size_t i = 0; i < SIGNAL_COUNT; i++) {
		sigaction(signals[i], NULL, &line.actions[i]);
		if (line.actions[i].sa_handler == SIG_DFL)
			sigaction(signals[i], &action, NULL);
	}
}

/* The last word on a download that was long enough to be watched. */
static void draw_end(const struct sync_progress *progress)
{
	char text[PROGRESS_LINE_MAX + 1];
	int64_t took_ms = clock_now_ms() - line.begin_ms;

	if (took_ms < STAYS_MS || progress->messages < progress->messages_total)
		return;
	size_t len = progress_format_end(progress, took_ms, text);
	text[len++] = '\n';
	put(text, len);
}

static void draw(const struct sync_progress *progress)
{
	char text[sizeof(erase) + PROGRESS_LINE_MAX];
	uint64_t rate = progress_rate(&line.rate, clock_now_ms(), progress->bytes);

	/* The last column stays free: a terminal may go to the next line when it is written. */
	unsigned columns = terminal_columns() - 1;
	memcpy(text, erase, sizeof(erase) - 1);
	size_t len = progress_format(progress, rate, columns, text + sizeof(erase) - 1);
	atomic_store(&drawn, true);
	put(text, sizeof(erase) - 1 + len);
}

void progress_show(void *arg, const struct sync_progress *progress)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&line.lock);

	(void)arg;
	if (!line.active || progress->messages_total == 0 || !in_foreground())
		return;
	if (!progress->done) {
		draw(progress);
		return;
	}
	clear_line();
	draw_end(progress);
}

void progress_end(void)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&line.lock);

	if (!line.active)
		return;
	clear_line();
	line.active = false;
	log_set_before(NULL);
	for (size_t i = 0; i < SIGNAL_COUNT; i++)
		sigaction(signals[i], &line.actions[i], NULL);
}
