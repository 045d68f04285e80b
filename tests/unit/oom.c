/* SPDX-License-Identifier: MIT */
/* The allocator that refuses. One counter for all threads: where there are several, which of them is hit differs from run to run. */
#include "oom.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
void *__wrap_reallocarray(void *old, size_t count, size_t size);
char *__wrap_strdup(const char *text);
char *__wrap_strndup(const char *text, size_t len);
int __wrap_asprintf(char **ret, const char *format, ...) __attribute__((format(printf, 2, 3)));
int __wrap_vasprintf(char **ret, const char *format, va_list args)
	__attribute__((format(printf, 2, 0)));
int __wrap___asprintf_chk(char **ret, int flag, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
int __wrap___vasprintf_chk(char **ret, int flag, const char *format, va_list args)
	__attribute__((format(printf, 3, 0)));

static atomic_bool armed, always, refused;
static atomic_ulong left;
static _Thread_local unsigned held;

void oom_arm(unsigned long nth, bool forever)
{
	atomic_store(&left, nth);
	atomic_store(&always, forever);
	atomic_store(&refused, false);
	atomic_store(&armed, true);
}

bool oom_disarm(void)
{
	atomic_store(&armed, false);
	return atomic_load(&refused);
}

void oom_hold(void)
{
	held++;
}

void oom_release(void)
{
	held--;
}

bool oom_refuse(void)
{
	if (!atomic_load(&armed) || held > 0)
		return false;
	bool now = atomic_load(&left) == 0 ? atomic_load(&always) : atomic_fetch_sub(&left, 1) == 1;
	if (now) {
		atomic_store(&refused, true);
		errno = ENOMEM;
	}
	return now;
}

void *__wrap_malloc(size_t size)
{
	return oom_refuse() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return oom_refuse() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return oom_refuse() ? NULL : __real_realloc(old, size);
}

void *__wrap_reallocarray(void *old, size_t count, size_t size)
{
	if (size > 0 && count > SIZE_MAX / size) {
		errno = ENOMEM;
		return NULL;
	}
	return __wrap_realloc(old, count * size);
}

char *__wrap_strndup(const char *text, size_t len)
{
	len = strnlen(text, len);
	char *copy = __wrap_malloc(len + 1);
	if (copy) {
		memcpy(copy, text, len);
		copy[len] = 0;
	}
	return copy;
}

char *__wrap_strdup(const char *text)
{
	return __wrap_strndup(text, strlen(text));
}

int __wrap_vasprintf(char **ret, const char *format, va_list args)
{
	va_list again;
	va_copy(again, args);
	int len = vsnprintf(NULL, 0, format, again);
	va_end(again);
	if (len < 0 || !(*ret = __wrap_malloc((size_t)len + 1)))
		return -1;
	return vsnprintf(*ret, (size_t)len + 1, format, args);
}

int __wrap_asprintf(char **ret, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int len = __wrap_vasprintf(ret, format, args);
	va_end(args);
	return len;
}

/* What _FORTIFY_SOURCE makes of them. */
int __wrap___vasprintf_chk(char **ret, int flag, const char *format, va_list args)
{
	(void)flag;
	return __wrap_vasprintf(ret, format, args);
}

int __wrap___asprintf_chk(char **ret, int flag, const char *format, ...)
{
	(void)flag;
	va_list args;
	va_start(args, format);
	int len = __wrap_vasprintf(ret, format, args);
	va_end(args);
	return len;
}

/* Once; false: the work had all that it asked for. */
static bool try(const char *what, oom_fn *fn, void *arg, unsigned long nth, bool forever)
{
	int rc = fn(arg, nth, forever);
	bool hit = oom_disarm();
	if (rc < 0 && rc != -ENOMEM)
		fail_msg("%s: %s at allocation %lu", what, strerror(-rc), nth);
	if (rc < 0 && !hit)
		fail_msg("%s: -ENOMEM, and nothing was refused", what);
	return hit;
}

/* How many allocations the work makes. */
static unsigned long count_of(const char *what, oom_fn *fn, void *arg)
{
	const unsigned long many = 1UL << 30;
	if (try(what, fn, arg, many, false))
		fail_msg("%s never ends", what);
	return many - atomic_load(&left);
}

unsigned long oom_some(const char *what, oom_fn *fn, void *arg, unsigned long most)
{
	unsigned long tried = 0, all = count_of(what, fn, arg),
		      step = getenv("MAILFS_TEST_OOM") ? 1 : all / most + 1;
	unsigned long first = 1 + (unsigned long)time(NULL) / 86400 % step;
	for (int forever = 0; forever < 2; forever++)
		for (unsigned long nth = first; try(what, fn, arg, nth, forever); nth += step)
			tried++;
	if (try(what, fn, arg, 1UL << 30, false))
		fail_msg("%s: not as before", what);
	printf("# %s: %lu allocations, %lu refusals\n", what, all, tried);
	return tried;
}

unsigned long oom_each(const char *what, oom_fn *fn, void *arg)
{
	return oom_some(what, fn, arg, 1UL << 30);
}
