/* SPDX-License-Identifier: MIT */
/*
 * The growing byte string. Capacity doubles, so that n appends cost O(n); the first failed allocation
 * sticks until str_reset(), so that a caller checks once.
 */
#include "mailfs/util/str.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void str_finish(struct str *s)
{
	free(s->data);
	*s = (struct str)STR_INIT;
}

void str_reset(struct str *s)
{
	s->failed = false;
	str_truncate(s, 0);
}

int str_reserve(struct str *s, size_t extra)
{
	if (s->failed || extra > SIZE_MAX / 2 - s->len - 1)
		goto fail;
	size_t need = s->len + extra + 1;
	if (need <= s->cap)
		return 0;
	size_t cap = s->cap < 64 ? 64 : s->cap;
	while (cap < need)
		cap *= 2;
	char *data = realloc(s->data, cap);
	if (!data)
		goto fail;
	data[s->len] = 0;
	s->data = data;
	s->cap = cap;
	return 0;
fail:
	s->failed = true;
	return -ENOMEM;
}

void str_append(struct str *s, const void *data, size_t len)
{
	/* Nearly always there is room: names are made byte by byte. */
	bool fits = !s->failed && len < s->cap - s->len;
	if (!fits && str_reserve(s, len) < 0)
		return;
	if (len)
		memcpy(s->data + s->len, data, len);
	s->len += len;
	s->data[s->len] = 0;
}

void str_append_cstr(struct str *s, const char *text)
{
	str_append(s, text, strlen(text));
}

void str_putc(struct str *s, char c)
{
	if (s->failed || s->cap - s->len < 2) {
		str_append(s, &c, 1);
		return;
	}
	s->data[s->len++] = c;
	s->data[s->len] = 0;
}

void str_printf(struct str *s, const char *format, ...)
{
	va_list args;
	va_start(args, format);
	int need = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (need < 0) {
		s->failed = true;
		return;
	}
	if (str_reserve(s, (size_t)need) < 0)
		return;
	va_start(args, format);
	vsnprintf(s->data + s->len, (size_t)need + 1, format, args);
	va_end(args);
	s->len += (size_t)need;
}

void str_truncate(struct str *s, size_t len)
{
	if (!s->data || len > s->len)
		return;
	s->len = len;
	s->data[len] = 0;
}

int str_error(const struct str *s)
{
	return s->failed ? -ENOMEM : 0;
}

const char *str_cstr(const struct str *s)
{
	return s->data ? s->data : "";
}

char *str_steal(struct str *s)
{
	char *data = NULL;
	if (str_reserve(s, 0) == 0) {
		data = s->data;
		s->data = NULL;
	}
	str_finish(s);
	return data;
}
