/* SPDX-License-Identifier: MIT */
/*
 * libfuse reports why a mount failed with a line to its log function, fusermount3 with one to its
 * stderr, and the child that fails to start fusermount3 with a line that is lost to a log function.
 * So all of it is made to go to one place, the descriptor 2, and that is a file in memory
 * meanwhile.
 */
#define FUSE_USE_VERSION 35
#include "capture.h"

#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

#define CAPTURE_MAX_BYTES 4096
#define REPEAT_MS         60000

static atomic_bool capturing;

static enum log_level level_of(enum fuse_log_level level)
{
	if (level <= FUSE_LOG_ERR)
		return LOG_LEVEL_ERROR;
	if (level == FUSE_LOG_WARNING)
		return LOG_LEVEL_WARNING;
	return level == FUSE_LOG_DEBUG ? LOG_LEVEL_DEBUG : LOG_LEVEL_INFO;
}

/* Where memory or threads are refused, libfuse says so at each request. What debug asks for is never left out. */
static bool is_repeated(enum fuse_log_level level, const char *format)
{
	static _Atomic(const char *) last;
	static atomic_llong last_ms;
	if (level == FUSE_LOG_DEBUG)
		return false;
	int64_t now_ms = clock_now_ms();
	bool same = atomic_exchange(&last, format) == format;
	if (same && now_ms - atomic_load(&last_ms) < REPEAT_MS)
		return true;
	atomic_store(&last_ms, now_ms);
	return false;
}

__attribute__((format(printf, 2, 0))) static void libfuse_log(
	enum fuse_log_level level, const char *format, va_list args)
{
	char line[1024];
	if (atomic_load(&capturing)) {
		vfprintf(stderr, format, args);
		return;
	}
	if (!log_enabled(level_of(level)) || is_repeated(level, format))
		return;
	vsnprintf(line, sizeof(line), format, args);
	line[strcspn(line, "\n")] = 0;
	log_line(level_of(level), "%s", line);
}

void capture_libfuse_log(void)
{
	fuse_set_log_func(libfuse_log);
}

void capture_begin(struct capture *capture)
{
	fflush(stderr);
	capture->saved = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
	capture->file = memfd_create("mailfs-stderr", MFD_CLOEXEC);
	if (capture->saved >= 0 && capture->file >= 0)
		dup2(capture->file, STDERR_FILENO);
	atomic_store(&capturing, true);
}

void capture_end(struct capture *capture, struct str *out)
{
	_cleanup_close_ int saved = capture->saved, file = capture->file;
	char text[CAPTURE_MAX_BYTES];
	atomic_store(&capturing, false);
	fflush(stderr);
	if (saved < 0 || file < 0)
		return;
	dup2(saved, STDERR_FILENO);
	ssize_t n = pread(file, text, sizeof(text), 0);
	if (n > 0)
		str_append(out, text, (size_t)n);
}

void capture_line(const char *text, struct str *out)
{
	text += strspn(text, " \n");
	if (strncmp(text, "fuse: ", 6) == 0)
		text += 6;
	str_append(out, text, strcspn(text, "\n"));
}
