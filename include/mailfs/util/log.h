/* SPDX-License-Identifier: MIT */
/*
 * Log lines: to stderr in the foreground, to syslog in the background. A failure is logged once, where
 * it stops. Text from a server is printed with its control characters replaced, and cut at 500 bytes.
 * Never pass a password or a line that holds one.
 */
#ifndef MAILFS_UTIL_LOG_H
#define MAILFS_UTIL_LOG_H

#include <stdbool.h>

enum log_level { LOG_LEVEL_ERROR, LOG_LEVEL_WARNING, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };

/* What is logged: this level and the more severe ones. Default: LOG_LEVEL_WARNING. */
void log_set_level(enum log_level level);
bool log_enabled(enum log_level level);
/* From now on to syslog (facility daemon) instead of stderr. */
void log_to_syslog(void);

/* What shall be in syslog is handed to sink instead, because this process may not reach it. Before there are threads. NULL: nobody. */
void log_set_sink(void (*sink)(void *arg, enum log_level level, const char *text), void *arg);

/* Called before each line that goes to stderr, on its thread: whoever draws there takes the drawing away. NULL: nobody. */
void log_set_before(void (*before)(void));

void log_line(enum log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)   log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...)    log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (log_enabled(LOG_LEVEL_DEBUG))                                                  \
			log_line(LOG_LEVEL_DEBUG, __VA_ARGS__);                                    \
	} while (0)

#endif
