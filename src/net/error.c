/* SPDX-License-Identifier: MIT */
/*
 * Failures in words. What servers say gets into these lines, so they are cleaned here, once: no control
 * character reaches a terminal or a log through them, and a cut never leaves half a character behind.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "mailfs/util/utf8.h"
#include "deflate.h"
#include "stream.h"
#include "tls.h"

/*
 * Long enough that the text is full even when every character shrinks: the worst case is a C1 control,
 * two bytes that become one.
 */
#define FORMAT_BYTES (2 * sizeof(((struct source_error *)0)->text) + 8)

static bool is_control(uint32_t c)
{
	return c < 0x20 || c == 0x7f || utf8_misleads(c);
}

/* Replaces what is not printable, in place. Returns the length; the result is valid UTF-8. */
static size_t clean(char *text, size_t len)
{
	size_t out = 0;
	for (size_t pos = 0; pos < len;) {
		size_t start = pos;
		uint32_t c = utf8_next(text, len, &pos);
		if (c == '\n' || c == '\r' || c == '\t') {
			text[out++] = ' ';
		} else if (is_control(c)) {
			text[out++] = '?';
		} else {
			memmove(text + out, text + start, pos - start);
			out += pos - start;
		}
	}
	return out;
}

int source_fail(struct source_error *error, enum source_scope scope, enum source_retry retry,
	enum source_cause cause, int err, const char *format, ...)
{
	static const char more[] = "...";
	char text[FORMAT_BYTES]; /* apart from error->text, which may be among the arguments */

	if (!error)
		return err;
	va_list args;
	va_start(args, format);
	int full = vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	size_t len = full < 0 ? 0 : clean(text, strnlen(text, sizeof(text)));
	*error = (struct source_error){.scope = scope, .retry = retry, .cause = cause, .err = err};
	size_t room = sizeof(error->text) - 1;
	if (len <= room && full < (int)sizeof(text)) {
		memcpy(error->text, text, len);
		return err;
	}
	size_t cut = utf8_cut(text, len, room - strlen(more));
	memcpy(error->text, text, cut);
	memcpy(error->text + cut, more, strlen(more));
	return err;
}

struct meaning {
	int err;
	int file_err; /* what a file operation gives */
	enum source_scope scope;
	enum source_retry retry;
	enum source_cause cause;
	const char *text;
};

static const struct meaning meanings[] = {
	{-ECANCELED, -ECANCELED, SOURCE_SCOPE_CANCELLED, SOURCE_RETRY_NEVER, SOURCE_CAUSE_OTHER,
		"cancelled"},
	{-ETIMEDOUT, -ETIMEDOUT, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_CONNECT,
		"connection timed out"},
	{-ECONNREFUSED, -EIO, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_CONNECT,
		"connection refused"},
	{-ENETUNREACH, -EIO, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_CONNECT,
		"network unreachable"},
	{-EHOSTUNREACH, -EIO, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_CONNECT,
		"host unreachable"},
	{-ECONNRESET, -EIO, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NOW, SOURCE_CAUSE_CONNECT,
		"connection closed by the server"},
	{-EPIPE, -EIO, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NOW, SOURCE_CAUSE_CONNECT,
		"connection closed by the server"},
	{-EPROTO, -EIO, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_PROTOCOL,
		"the server's answer can not be understood"},
	{-EMSGSIZE, -EIO, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_PROTOCOL,
		"the server's answer is larger than the limit"},
	{-ENOMEM, -ENOMEM, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_OTHER,
		"out of memory"},
};

static struct meaning find_meaning(int err)
{
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (meanings[i].err == err)
			return meanings[i];
	return (struct meaning){err, -EIO, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
		SOURCE_CAUSE_CONNECT, strerror(-err)};
}

int net_fail(const struct net_stream *stream, int err, struct source_error *error)
{
	struct meaning m = find_meaning(err);
	const char *label = stream->context->label;
	const char *reason = net_tls_reason(stream);
	const char *deflate = net_deflate_reason(stream);
	if (deflate && (err == -EPROTO || err == -ECONNRESET))
		source_fail(error, m.scope, m.retry, m.cause, m.file_err, "%s: %s", label, deflate);
	else if (err == -EIO && reason)
		source_fail(error, m.scope, SOURCE_RETRY_NOW, SOURCE_CAUSE_TLS, m.file_err,
			"%s: TLS: %s", label, reason);
	else
		source_fail(error, m.scope, m.retry, m.cause, m.file_err, "%s: %s", label, m.text);
	return err;
}
