/* SPDX-License-Identifier: MIT */
/*
 * Commands as bytes. A string from outside goes in only through imap_command_string(), which no
 * content can break out of: quoted where every byte is harmless, a literal otherwise (RFC 3501 §4.3, RFC 7888).
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "engine.h"

#define LITERAL_MINUS_MAX 4096

void imap_command_init(
	struct imap_command *command, struct imap_engine *engine, const char *format, ...)
{
	char head[512];
	va_list args;
	*command = (struct imap_command){0};
	va_start(args, format);
	int len = vsnprintf(head, sizeof(head), format, args);
	va_end(args);
	if (len < 0 || (size_t)len >= sizeof(head))
		command->bad = true;
	str_printf(&command->text, "C%d %s", ++engine->tag, head);
}

void imap_command_finish(struct imap_command *command)
{
	if (command->text.data)
		secret_wipe(command->text.data, command->text.cap);
	str_finish(&command->text);
}

static bool is_quotable(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c < 0x20 || c >= 0x7f)
			return false;
	}
	return len <= 1000;
}

static void append_quoted(struct str *out, const char *text, size_t len)
{
	str_putc(out, '"');
	for (size_t i = 0; i < len; i++) {
		if (text[i] == '"' || text[i] == '\\')
			str_putc(out, '\\');
		str_putc(out, text[i]);
	}
	str_putc(out, '"');
}

static void append_literal(
	struct imap_command *command, unsigned caps, const char *text, size_t len)
{
	bool waits = !(caps & IMAP_CAP_LITERAL_PLUS) &&
	             !((caps & IMAP_CAP_LITERAL_MINUS) && len <= LITERAL_MINUS_MAX);
	str_printf(&command->text, "{%zu%s}\r\n", len, waits ? "" : "+");
	if (waits && command->wait_count == sizeof(command->waits) / sizeof(command->waits[0]))
		command->bad = true;
	else if (waits)
		command->waits[command->wait_count++] = command->text.len;
	str_append(&command->text, text, len);
}

void imap_command_string(
	struct imap_command *command, const struct imap_engine *engine, const char *text)
{
	size_t len = strlen(text);
	if (strpbrk(text, "\r\n"))
		command->bad = true;
	else if (is_quotable(text, len))
		append_quoted(&command->text, text, len);
	else
		append_literal(command, engine->caps.set, text, len);
}
