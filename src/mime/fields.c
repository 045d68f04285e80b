/* SPDX-License-Identifier: MIT */
/*
 * Fields out of a header that comes in pieces and may be of any length: what is not asked for is passed over, what is asked for is
 * kept up to a limit. So neither a field of megabytes nor a hundred thousand others keep away what stands behind them.
 *
 * Linear: whether a line is wanted is decided once, when enough of it is here to know its name.
 */
#include <string.h>

#include "private.h"

void mime_fields_init(
	struct mime_fields *fields, const char *const *names, size_t count, size_t field_max)
{
	*fields = (struct mime_fields){.names = names, .count = count, .field_max = field_max};
	mime_fields_reset(fields);
}

void mime_fields_reset(struct mime_fields *fields)
{
	str_reset(&fields->text);
	fields->whole = fields->cut = false;
	fields->seen = 0;
	fields->state = MIME_FIELD_PASSED;
	fields->line_len = fields->head_len = 0;
}

void mime_fields_finish(struct mime_fields *fields)
{
	str_finish(&fields->text);
}

/* The number of bytes of a character whose first byte that is; 1 also for what is none. */
static size_t utf8_len(unsigned char c)
{
	return c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc0 ? 2 : 1;
}

/* The field has all that it may have: it ends between two characters, and with its line. */
static void field_cut(struct mime_fields *fields)
{
	const char *data = fields->text.data;
	size_t len = fields->text.len, at = len;

	while (at > fields->field_start && len - at < 4 &&
		((unsigned char)data[at - 1] & 0xc0) == 0x80)
		at--;
	if (at > fields->field_start && utf8_len((unsigned char)data[at - 1]) > len - at + 1)
		str_truncate(&fields->text, at - 1);
	if (fields->text.data[fields->text.len - 1] != '\n') /* which would be an empty line */
		str_append(&fields->text, "\r\n", 2);
	fields->state = MIME_FIELD_PASSED;
	fields->cut = true;
}

static void keep(struct mime_fields *fields, const char *data, size_t len)
{
	size_t room = fields->field_max - (fields->text.len - fields->field_start);

	str_append(&fields->text, data, len < room ? len : room);
	if (len > room && !fields->text.failed)
		field_cut(fields);
}

/* Whether the line in head, or as much of it as that holds, begins the field. */
static bool begins(const struct mime_fields *fields, const char *name)
{
	size_t i = 0;

	while (i < fields->head_len && name[i] &&
		ascii_lower(fields->head[i]) == ascii_lower(name[i]))
		i++;
	if (name[i])
		return false;
	while (i < fields->head_len && ascii_is_blank(fields->head[i]))
		i++;
	return i < fields->head_len && fields->head[i] == ':';
}

/* The line is known well enough; before: so many bytes of it, which are in head, have come before those that are pushed now. */
static void decide(struct mime_fields *fields, size_t before)
{
	fields->state = MIME_FIELD_PASSED;
	for (size_t i = 0; i < fields->count; i++) {
		if (fields->seen >> i & 1 || !begins(fields, fields->names[i]))
			continue;
		fields->seen |= UINT32_C(1) << i;
		fields->state = MIME_FIELD_KEPT;
		fields->field_start = fields->text.len;
		keep(fields, fields->head, before);
		return;
	}
}

/* Bytes of one line, with its end if that is among them. */
static void line_push(struct mime_fields *fields, const char *data, size_t len)
{
	size_t room = sizeof(fields->head) - fields->head_len, before = fields->line_len;
	bool ends = data[len - 1] == '\n';

	if (before == 0 && !ascii_is_blank(*data))
		fields->state = MIME_FIELD_BEGINS;
	memcpy(fields->head + fields->head_len, data, len < room ? len : room);
	fields->head_len += len < room ? len : room;
	fields->line_len += len;
	if (fields->state == MIME_FIELD_BEGINS &&
		(ends || fields->head_len == sizeof(fields->head)))
		decide(fields, before);
	if (fields->state == MIME_FIELD_KEPT)
		keep(fields, data, len);
	if (!ends)
		return;
	fields->whole = fields->line_len == 1 || (fields->line_len == 2 && fields->head[0] == '\r');
	fields->line_len = fields->head_len = 0;
}

int mime_fields_push(struct mime_fields *fields, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0 && !fields->whole) {
		const char *lf = memchr(p, '\n', len);
		size_t bytes = lf ? (size_t)(lf - p) + 1 : len;
		line_push(fields, p, bytes);
		p += bytes;
		len -= bytes;
	}
	return str_error(&fields->text);
}

int mime_fields_end(struct mime_fields *fields)
{
	if (fields->state == MIME_FIELD_BEGINS && fields->line_len > 0)
		decide(fields, fields->line_len);
	fields->whole = true;
	return str_error(&fields->text);
}
