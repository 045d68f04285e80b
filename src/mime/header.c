/* SPDX-License-Identifier: MIT */
/*
 * Finding one field in raw header bytes (RFC 5322 §2.2). One pass, line by line; a line is ended by LF, and a CR
 * before it belongs to the end. What is not a field (an mbox "From " line, garbage) is passed over, and the
 * first empty line ends the header.
 */
#include <errno.h>
#include <string.h>

#include "private.h"

struct lines {
	const char *p, *end;
};

/* The next line without its end; false after the last. */
static bool lines_next(struct lines *lines, const char **line, size_t *len)
{
	if (lines->p == lines->end)
		return false;
	const char *lf = memchr(lines->p, '\n', (size_t)(lines->end - lines->p));
	*line = lines->p;
	*len = (size_t)((lf ? lf : lines->end) - lines->p);
	lines->p = lf ? lf + 1 : lines->end;
	if (lf && *len > 0 && (*line)[*len - 1] == '\r')
		*len -= 1;
	return true;
}

/* The offset of the value when the line begins that field; blanks before the colon are tolerated. 0: it does not. */
static size_t line_value(const char *line, size_t len, const char *field)
{
	size_t i = 0;

	while (i < len && field[i] != 0 && ascii_lower(line[i]) == ascii_lower(field[i]))
		i++;
	if (field[i] != 0)
		return 0;
	while (i < len && ascii_is_blank(line[i]))
		i++;
	return i < len && line[i] == ':' ? i + 1 : 0;
}

/* The value that begins at start of a line, with the lines that go on with it. */
static struct mime_span take_value(struct lines *lines, const char *line, size_t len, size_t start)
{
	const char *begin = line + start;

	while (lines->p < lines->end && ascii_is_blank(*lines->p))
		lines_next(lines, &line, &len);
	return (struct mime_span){begin, (size_t)(line + len - begin)};
}

void mime_unfold(struct mime_span raw, struct str *out)
{
	struct lines lines = {raw.data, raw.data + raw.len};
	struct str value = STR_INIT;
	const char *line;
	size_t len;

	while (raw.len > 0 && lines_next(&lines, &line, &len))
		str_append(&value, line, len);

	const char *text = str_cstr(&value);
	size_t text_len = value.len;
	ascii_trim(&text, &text_len);
	str_append(out, text, text_len);
	out->failed |= value.failed;
	str_finish(&value);
}

int mime_header_get(const char *header, size_t len, const char *field, struct str *out)
{
	struct lines lines = {header, len > 0 ? header + len : header};
	const char *line;
	size_t line_len;

	while (lines_next(&lines, &line, &line_len) && line_len > 0) {
		size_t start = ascii_is_blank(*line) ? 0 : line_value(line, line_len, field);
		if (start > 0) {
			mime_unfold(take_value(&lines, line, line_len, start), out);
			return str_error(out);
		}
	}
	return -ENOENT;
}

void mime_header_find(const char *header, size_t len, const char *const *fields, size_t count,
	struct mime_span *ret)
{
	struct lines lines = {header, len > 0 ? header + len : header};
	const char *line;
	size_t line_len, missing = count;

	memset(ret, 0, count * sizeof(*ret));
	while (missing > 0 && lines_next(&lines, &line, &line_len) && line_len > 0) {
		for (size_t i = 0; i < count && !ascii_is_blank(*line); i++) {
			size_t start = ret[i].data ? 0 : line_value(line, line_len, fields[i]);
			if (start == 0)
				continue;
			ret[i] = take_value(&lines, line, line_len, start);
			missing--;
			break;
		}
	}
}

int mime_header_copy(const char *header, size_t len, const char *field, struct str *out)
{
	struct lines lines = {header, len > 0 ? header + len : header};
	const char *line;
	size_t line_len;

	while (lines_next(&lines, &line, &line_len) && line_len > 0) {
		const char *start = line;
		if (ascii_is_blank(*line) || line_value(line, line_len, field) == 0)
			continue;
		while (lines.p < lines.end && ascii_is_blank(*lines.p))
			lines_next(&lines, &line, &line_len);
		str_append(out, start, (size_t)(lines.p - start));
		return str_error(out);
	}
	return -ENOENT;
}
