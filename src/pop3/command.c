/* SPDX-License-Identifier: MIT */
/* Commands and their answers. Answers come in the order of the commands, and nothing else tells which is whose (RFC 2449 §6.6). */
#include <errno.h>
#include <string.h>

#include "mailfs/util/log.h"
#include "private.h"

void pop3_str_wipe(struct str *s)
{
	if (s->data)
		secret_wipe(s->data, s->cap);
	str_finish(s);
}

int pop3_send(
	struct pop3_session *session, const void *data, size_t len, struct source_error *error)
{
	int r = net_write(session->stream, data, len);
	return r < 0 ? pop3_dead(session, r, error) : 0;
}

int pop3_in_step(struct pop3_session *session, struct source_error *error)
{
	if (pop3_is_ahead(session))
		return pop3_broken(session, "more than was asked for", error);
	return 0;
}

int pop3_answer(struct pop3_session *session, struct pop3_reply *ret, struct source_error *error)
{
	int r = pop3_reply_read(session, ret, error);
	if (r == 0 && ret->status == POP3_CONTINUE)
		return pop3_broken(session, "a continuation that was not asked for", error);
	return r;
}

int pop3_command(struct pop3_session *session, const char *command, struct pop3_reply *ret,
	struct source_error *error)
{
	_cleanup_str_ struct str line = STR_INIT;
	int r = pop3_in_step(session, error);
	if (r < 0)
		return r;
	log_debug("pop3: %s", command);
	str_append_cstr(&line, command);
	str_append(&line, "\r\n", 2);
	if (str_error(&line) < 0)
		return pop3_no_memory(session, error);
	r = pop3_send(session, line.data, line.len, error);
	return r < 0 ? r : pop3_answer(session, ret, error);
}

/* A line that begins with a dot is the end, or has got that dot on its way (RFC 1939 §3). */
static bool row_unstuff(struct pop3_slice *line)
{
	if (line->len == 0 || *line->data != '.')
		return true;
	line->data++;
	line->len--;
	return line->len > 0;
}

int pop3_rows_read(
	struct pop3_session *session, const struct pop3_rows *rows, struct source_error *error)
{
	uint64_t bytes = 0;
	for (size_t lines = 0;; lines++) {
		struct pop3_slice line;
		int r = pop3_line(session, POP3_LINE_BYTES, &line, NULL, error);
		if (r < 0)
			return r;
		if (!row_unstuff(&line))
			return 0;
		bytes += line.len + 2;
		if (lines >= rows->lines_max || bytes > rows->bytes_max)
			return pop3_broken(session, "a list is too long", error);
		if (rows->fn(rows->arg, line) < 0)
			return pop3_no_memory(session, error);
	}
}
