/* SPDX-License-Identifier: MIT */
/* Structures found in bytes, and written down so that a table can hold them. */
#ifndef MAILFS_TESTS_MIME_WALK_H
#define MAILFS_TESTS_MIME_WALK_H

#include "helpers.h"

/* Walks through data, pushed in pieces of step bytes; each is a copy, so that a sanitizer sees a read beyond its end. */
static inline struct mime_part *walk(const char *data, size_t len, size_t step)
{
	struct mime_walker *walker = mime_walker_create();
	struct mime_part *part = NULL;

	assert_non_null(walker);
	for (size_t i = 0; i < len; i += step) {
		size_t bytes = len - i < step ? len - i : step;
		char *piece = malloc(bytes);
		memcpy(piece, data + i, bytes);
		assert_int_equal(mime_walker_push(walker, piece, bytes), 0);
		free(piece);
	}
	assert_int_equal(mime_walker_end(walker, &part), 0);
	mime_walker_destroy(walker);
	return part;
}

static inline void dump_params(const struct mime_params *params, struct str *out)
{
	for (size_t i = 0; i < params->count; i++)
		str_printf(out, ";%s=%s", params->items[i].name, params->items[i].value);
}

/* type/subtype;name=value~encoding!disposition;name=value, then {body} or [parts]. Without CRs. */
static inline void dump(const struct mime_part *part, const char *data, struct str *out)
{
	str_printf(out, "%s/%s", part->type, part->subtype);
	dump_params(&part->params, out);
	if (*part->encoding)
		str_printf(out, "~%s", part->encoding);
	if (part->disposition)
		str_printf(out, "!%s", part->disposition);
	dump_params(&part->disposition_params, out);
	str_putc(out, part->child_count > 0 ? '[' : '{');
	for (size_t i = 0; i < part->child_count; i++) {
		if (i > 0)
			str_putc(out, ' ');
		dump(part->children[i], data, out);
	}
	for (uint64_t i = 0; part->child_count == 0 && i < part->size_bytes; i++)
		if (data[part->offset + i] != '\r')
			str_putc(out, data[part->offset + i]);
	str_putc(out, part->child_count > 0 ? ']' : '}');
}

/* Text with LF, with CRLF or (every second line) with both. */
enum line_ends { LINE_ENDS_LF, LINE_ENDS_CRLF, LINE_ENDS_MIXED, LINE_ENDS_COUNT };

static inline void text_with(const char *text, size_t len, enum line_ends ends, struct str *out)
{
	size_t lines = 0;

	str_reset(out);
	for (size_t i = 0; i < len; i++) {
		bool crlf = ends == LINE_ENDS_CRLF || (ends == LINE_ENDS_MIXED && lines % 2);
		if (text[i] == '\n' && crlf)
			str_putc(out, '\r');
		lines += text[i] == '\n';
		str_putc(out, text[i]);
	}
	assert_int_equal(str_error(out), 0);
}

/* Whatever the line ends, wherever it is cut, the structure is that. */
static inline void assert_walk(const char *text, const char *want)
{
	static const size_t steps[] = {SIZE_MAX / 2, 1, 2, 7};
	struct str data = STR_INIT, found = STR_INIT;

	for (int ends = 0; ends < LINE_ENDS_COUNT; ends++)
		for (size_t i = 0; i < COUNT(steps); i++) {
			text_with(text, strlen(text), (enum line_ends)ends, &data);
			struct mime_part *part = walk(str_cstr(&data), data.len, steps[i]);
			str_reset(&found);
			dump(part, str_cstr(&data), &found);
			assert_string_equal(str_cstr(&found), want);
			mime_part_destroy(part);
		}
	str_finish(&data);
	str_finish(&found);
}

#endif
