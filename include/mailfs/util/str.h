/* SPDX-License-Identifier: MIT */
/*
 * A growing byte string. data is NUL-terminated whenever it is not NULL, but may hold NULs itself.
 * A failed allocation is remembered in `failed` and makes every later append a no-op, so that a
 * sequence of appends needs one check at its end: str_error().
 */
#ifndef MAILFS_UTIL_STR_H
#define MAILFS_UTIL_STR_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

struct str {
	char *data;
	size_t len; /* bytes, without the NUL */
	size_t cap; /* bytes allocated */
	bool failed;
};

#define STR_INIT                                                                                   \
	{                                                                                          \
		0                                                                                  \
	}
#define _cleanup_str_ __attribute__((cleanup(str_finish)))

/* Frees the bytes; s is empty and usable afterwards. */
void str_finish(struct str *s);
/* Empties s and keeps its memory. Also forgets an earlier failure. */
void str_reset(struct str *s);
/* Makes room for extra more bytes and the NUL. 0, or -ENOMEM. */
int str_reserve(struct str *s, size_t extra);
void str_append(struct str *s, const void *data, size_t len);
void str_append_cstr(struct str *s, const char *text);
void str_putc(struct str *s, char c);
void str_printf(struct str *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Cuts to len bytes; no-op when it is shorter. */
void str_truncate(struct str *s, size_t len);
/* 0, or -ENOMEM when an append failed. */
int str_error(const struct str *s);
/* The bytes as a C string, "" when there are none yet; owned by s. */
const char *str_cstr(const struct str *s);
/* Hands the bytes to the caller (free()), NUL-terminated; NULL when an append failed. s is empty afterwards. */
char *str_steal(struct str *s);

/* Grows *array (elements of elem_size) to hold at least need of them. 0 or -ENOMEM, array untouched then. */
int array_grow(void *array_ptr, size_t *cap, size_t need, size_t elem_size);

#endif
