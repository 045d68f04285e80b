/* SPDX-License-Identifier: MIT */
/*
 * What has been received, in one buffer for status lines, lists and messages alike, because one read brings the end of one
 * answer and the beginning of the next. It does not grow: a line is bounded by its limit, and a message is taken out as it comes.
 */
#include <errno.h>
#include <string.h>

#include "private.h"

int pop3_fill(struct pop3_session *session, struct source_error *error)
{
	size_t have = session->end - session->begin;
	/* Little is left over, as a rule: the beginning of a line, or a dot. */
	if (session->begin > 0 && have > 0)
		memmove(session->buffer, session->buffer + session->begin, have);
	session->begin = 0;
	session->end = have;
	ssize_t n = net_read(session->stream, session->buffer + have, POP3_BUFFER_BYTES - have);
	if (n < 0)
		return pop3_dead(session, (int)n, error);
	session->end += (size_t)n;
	session->received += (size_t)n;
	if (session->received >= POP3_RENEW_BYTES)
		pop3_renew(session);
	return 0;
}

/* Behind the next LF; NULL: there is none yet. */
static const char *line_end(const struct pop3_session *session, size_t seen)
{
	const char *from = session->buffer + session->begin + seen;
	const char *lf = memchr(from, '\n', session->end - session->begin - seen);
	return lf ? lf + 1 : NULL;
}

/* Cuts the line end off. Returns whether it is an LF alone. */
static bool line_trim(struct pop3_slice *line)
{
	line->len--;
	bool bare = line->len == 0 || line->data[line->len - 1] != '\r';
	if (!bare)
		line->len--;
	return bare;
}

int pop3_line(struct pop3_session *session, size_t limit, struct pop3_slice *ret, bool *ret_bare,
	struct source_error *error)
{
	const char *end = line_end(session, 0);
	while (!end && session->end - session->begin < limit) {
		size_t seen = session->end - session->begin;
		int r = pop3_fill(session, error);
		if (r < 0)
			return r;
		end = line_end(session, seen);
	}
	const char *begin = session->buffer + session->begin;
	if (!end || (size_t)(end - begin) > limit)
		return pop3_broken(session, "a line is too long", error);
	*ret = (struct pop3_slice){begin, (size_t)(end - begin)};
	session->begin += ret->len;
	bool bare = line_trim(ret);
	if (ret_bare)
		*ret_bare = bare;
	return 0;
}

/* A blank line behind a message is a known slip of servers, and can not be taken for an answer. */
static void skip_blank(struct pop3_session *session)
{
	while (session->begin < session->end && (session->buffer[session->begin] == '\r' ||
							session->buffer[session->begin] == '\n'))
		session->begin++;
}

bool pop3_is_ahead(struct pop3_session *session)
{
	skip_blank(session);
	return session->begin < session->end || net_buffered(session->stream) > 0;
}
