/* SPDX-License-Identifier: MIT */
/*
 * A message out of its multi-line answer (RFC 1939 §3): the way that every byte goes, so it is cut by memchr() into
 * runs as long as the data, and nothing is copied. Bytes are kept as they are, NUL and lone CR or LF too; what is undone is the
 * dot that was put before another dot.
 *
 * What ends a line decides where a message ends, and a message cut short would make its rest the server's answers. The RFC
 * knows CRLF alone. Servers exist that hand out files whose lines end in a bare LF, all of them; and others that hand out, within lines
 * that end in CRLF, what a sender wrote, bare LFs too, and put no dot before a dot behind those. So:
 *
 *   - If the status line or the message's first line ends in a bare LF, any LF ends a line, and so "." is the end
 *     however it is ended. The first line is the receiving server's own, not the sender's, as a rule.
 *   - Else CRLF alone does: a dot behind a bare LF means nothing. One exception: "." CRLF behind a bare LF is the end if as many
 *     bytes as were listed have come, for there are servers that do not complete a message's last line.
 */
#include <string.h>

#include "private.h"
#include "mailfs/util/quirk.h"

void pop3_multiline_init(struct pop3_multiline *multiline, bool bare, uint64_t expected_bytes)
{
	*multiline = (struct pop3_multiline){.ends = bare ? POP3_ENDS_LF : POP3_ENDS_UNKNOWN,
		.at = POP3_AT_START,
		.expected_bytes = expected_bytes};
}

enum dot { DOT_WAIT, DOT_END, DOT_STUFFED, DOT_CONTENT };

/* What a dot behind a line end is. */
static enum dot dot_judge(const struct pop3_multiline *multiline, const char *data, size_t len)
{
	bool start = multiline->at == POP3_AT_START;
	if (len < 2)
		return DOT_WAIT;
	if (data[1] == '.' && start)
		return DOT_STUFFED;
	if (data[1] == '\n' && start && multiline->ends != POP3_ENDS_CRLF)
		return DOT_END;
	if (data[1] != '\r')
		return DOT_CONTENT;
	if (len < 3)
		return DOT_WAIT;
	if (data[2] == '\n' && start)
		return DOT_END;
	if (data[2] != '\n' || multiline->given != multiline->expected_bytes)
		return DOT_CONTENT;
	quirk_seen(QUIRK_POP3_LAST_LINE);
	return DOT_END;
}

/* Behind an LF: what it ended. */
static void line_ended(struct pop3_multiline *multiline, bool bare)
{
	if (multiline->ends == POP3_ENDS_UNKNOWN && bare)
		quirk_seen(QUIRK_POP3_BARE_LINES);
	if (multiline->ends == POP3_ENDS_UNKNOWN)
		multiline->ends = bare ? POP3_ENDS_LF : POP3_ENDS_CRLF;
	multiline->at = bare && multiline->ends == POP3_ENDS_CRLF ? POP3_AT_BARE : POP3_AT_START;
	multiline->cr = false;
}

/* From the inside of a line on: up to the next dot that must be looked at, or the end of data. */
static size_t scan(struct pop3_multiline *multiline, const char *data, size_t from, size_t len)
{
	size_t pos = from;
	while (pos < len) {
		const char *lf = memchr(data + pos, '\n', len - pos);
		if (!lf) {
			multiline->at = POP3_AT_INSIDE;
			multiline->cr = data[len - 1] == '\r';
			return len;
		}
		line_ended(multiline, lf > data ? lf[-1] != '\r' : !multiline->cr);
		pos = (size_t)(lf - data) + 1;
		if (pos < len && data[pos] == '.')
			return pos;
	}
	return len;
}

size_t pop3_multiline_take(
	struct pop3_multiline *multiline, const char *data, size_t len, struct pop3_slice *ret_run)
{
	size_t from = 0;
	*ret_run = (struct pop3_slice){data, 0};
	if (len > 0 && multiline->at != POP3_AT_INSIDE && *data == '.') {
		enum dot dot = dot_judge(multiline, data, len);
		if (dot == DOT_WAIT)
			return 0;
		multiline->ended = dot == DOT_END;
		if (multiline->ended)
			return data[1] == '\n' ? 2 : 3;
		from = dot == DOT_STUFFED;
	}
	size_t end = scan(multiline, data, from, len);
	*ret_run = (struct pop3_slice){data + from, end - from};
	multiline->given += ret_run->len;
	return end;
}
