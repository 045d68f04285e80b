/* SPDX-License-Identifier: MIT */
/* Log lines, one write each, so that lines of several threads never mix. */
#include "mailfs/util/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

#include "mailfs/util/utf8.h"

#define LINE_MAX_BYTES 500

static _Atomic enum log_level level_max = LOG_LEVEL_WARNING;
static atomic_bool use_syslog;
static void (*_Atomic before_line)(void);
static struct {
	void (*fn)(void *arg, enum log_level level, const char *text);
	void *arg;
} sink;

void log_set_level(enum log_level level)
{
	level_max = level;
}

bool log_enabled(enum log_level level)
{
	return level <= level_max;
}

void log_to_syslog(void)
{
	openlog("mailfs", LOG_PID, LOG_DAEMON);
	use_syslog = true;
}

void log_set_sink(void (*fn)(void *arg, enum log_level level, const char *text), void *arg)
{
	sink.fn = fn;
	sink.arg = arg;
}

void log_set_before(void (*before)(void))
{
	atomic_store(&before_line, before);
}

/* A server's text may hold escape sequences for the terminal, or turn what stands beside it: nothing of that passes. */
static void clean(char *text)
{
	size_t len = strlen(text), out = 0;
	for (size_t pos = 0; pos < len;) {
		size_t start = pos;
		uint32_t c = utf8_next(text, len, &pos);
		if (c < 0x20 || c == 0x7f || utf8_misleads(c)) {
			text[out++] = '?';
		} else {
			memmove(text + out, text + start, pos - start);
			out += pos - start;
		}
	}
	text[out] = 0;
}

void log_line(enum log_level level, const char *format, ...)
{
	static const int priorities[] = {LOG_ERR, LOG_WARNING, LOG_INFO, LOG_DEBUG};
	static const char prefix[] = "mailfs: ";
	char line[sizeof(prefix) + LINE_MAX_BYTES + 1];

	if (!log_enabled(level))
		return;
	memcpy(line, prefix, sizeof(prefix));
	char *text = line + sizeof(prefix) - 1;
	va_list args;
	va_start(args, format);
	vsnprintf(text, LINE_MAX_BYTES, format, args);
	va_end(args);
	clean(text);
	if (use_syslog && sink.fn) {
		sink.fn(sink.arg, level, text);
		return;
	}
	if (use_syslog) {
		syslog(priorities[level], "%s", text);
		return;
	}
	void (*before)(void) = atomic_load(&before_line);
	if (before)
		before();
	size_t len = strlen(line);
	line[len++] = '\n';
	ssize_t ignored = write(STDERR_FILENO, line, len);
	(void)ignored;
}
