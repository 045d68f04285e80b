/* SPDX-License-Identifier: MIT */
/*
 * Folder names. The wire name is split first and each component decoded by itself, because the
 * delimiter is a character of the wire (RFC 3501 §5.1.3: printable ASCII stands for itself) and a
 * decoded component may well contain it.
 *
 * The escaping is reversible: a byte that may not be shown becomes %XX, and a '%' becomes %25
 * exactly where two hex digits follow, where it would otherwise read as an escape. Only a component
 * cut at 255 bytes can not be turned back; a hash of the whole keeps it apart from others.
 */
#include "folder_name.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/hash.h"
#include "mailfs/util/utf8.h"

#define CUT_SUFFIX 17 /* "~" and 16 hex digits */

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return -1;
}

static bool is_escape(const char *text, size_t len)
{
	return len >= 3 && text[0] == '%' && hex_digit(text[1]) >= 0 && hex_digit(text[2]) >= 0;
}

/* Where the dot of a final ".eml" stands; len when there is none. */
static size_t message_suffix(const char *raw, size_t len)
{
	return len >= 4 && strncasecmp(raw + len - 4, ".eml", 4) == 0 ? len - 4 : len;
}

static bool must_escape(const char *raw, size_t len, size_t at)
{
	unsigned char c = (unsigned char)raw[at];
	bool dot = c == '.' && (at == 0 || (len == 2 && raw[0] == '.'));
	return c < 0x20 || c == 0x7f || c == '/' || dot || is_escape(raw + at, len - at);
}

/* Of more than one byte: C1 controls; separators of lines, and what turns the direction of the text around it. */
static bool misleads(uint32_t c)
{
	return (c >= 0x80 && c < 0xa0) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069);
}

static void append_escaped(const char *raw, size_t len, struct str *out)
{
	size_t suffix = message_suffix(raw, len);
	for (size_t at = 0; at < len;) {
		size_t start = at;
		uint32_t c = utf8_next(raw, len, &at);
		bool escape = c == UTF8_INVALID || misleads(c) || start == suffix ||
		              must_escape(raw, len, start);
		if (!escape)
			str_append(out, raw + start, at - start);
		for (size_t i = start; escape && i < at; i++)
			str_printf(out, "%%%02X", (unsigned char)raw[i]);
	}
}

/* Cuts name, which began at start, so that neither a character nor an escape is halved. */
static void cut(struct str *name, size_t start, const char *raw, size_t len)
{
	uint64_t hash = hash64_finish(hash64(HASH64_INIT, raw, len));
	size_t keep = utf8_cut(name->data + start, name->len - start, FOLDER_NAME_MAX - CUT_SUFFIX);
	for (size_t back = 1; back <= 2 && back < keep; back++) {
		const char *tail = name->data + start + keep - back;
		if (is_escape(tail, name->len - (start + keep - back)))
			keep -= back;
	}
	str_truncate(name, start + keep);
	str_printf(name, "~%016" PRIx64, hash);
}

int folder_name_escape(const char *raw, size_t len, struct str *out)
{
	size_t start = out->len;
	if (len == 0)
		str_append_cstr(out, "%00");
	append_escaped(raw, len, out);
	if (str_error(out) == 0 && out->len - start > FOLDER_NAME_MAX)
		cut(out, start, raw, len);
	return str_error(out);
}

int folder_name_unescape(const char *name, struct str *out)
{
	size_t len = strlen(name);
	if (strcmp(name, "%00") == 0)
		return str_error(out);
	for (size_t i = 0; i < len; i++) {
		bool escape = is_escape(name + i, len - i);
		str_putc(out, escape ? (char)(hex_digit(name[i + 1]) * 16 + hex_digit(name[i + 2]))
				     : name[i]);
		i += escape ? 2 : 0;
	}
	return str_error(out);
}

void folder_path_finish(struct folder_path *path)
{
	for (size_t i = 0; i < path->count; i++)
		free(path->items[i].name);
	free(path->items);
	*path = (struct folder_path){0};
}

/* INBOX is one mailbox in any case (RFC 3501 §5.1), also as the parent of others. */
static bool is_inbox(const struct folder_path *path, const char *wire, size_t len)
{
	return path->count == 0 && len == 5 && strncasecmp(wire, "inbox", 5) == 0;
}

static int component_name(const struct folder_path *path, const char *wire, size_t len,
	folder_decode_fn *decode, char **ret)
{
	_cleanup_str_ struct str decoded = STR_INIT, shown = STR_INIT;
	_cleanup_free_ char *part = strndup(wire, len);
	if (!part)
		return -ENOMEM;
	if (is_inbox(path, wire, len)) {
		str_append_cstr(&shown, "INBOX");
	} else {
		int r = decode(part, &decoded);
		if (r < 0)
			return r;
		folder_name_escape(str_cstr(&decoded), decoded.len, &shown);
	}
	*ret = str_steal(&shown);
	return *ret ? 0 : -ENOMEM;
}

static int path_add(struct folder_path *path, const char *wire, const char *end, size_t wire_len,
	folder_decode_fn *decode, size_t *cap)
{
	char *name;
	int r = array_grow(&path->items, cap, path->count + 1, sizeof(*path->items));
	if (r == 0)
		r = component_name(path, wire, (size_t)(end - wire), decode, &name);
	if (r == 0)
		path->items[path->count++] = (struct folder_component){name, wire_len};
	return r;
}

int folder_path_split(
	const char *wire, char delimiter, folder_decode_fn *decode, struct folder_path *ret)
{
	struct folder_path path = {0};
	size_t cap = 0;
	const char *start = wire;
	for (;;) {
		const char *end = delimiter && path.count < FOLDER_DEPTH_MAX - 1
		                          ? strchr(start, delimiter)
		                          : NULL;
		bool last = !end;
		if (last)
			end = start + strlen(start);
		int r = path_add(&path, start, end, (size_t)(end - wire), decode, &cap);
		if (r < 0) {
			folder_path_finish(&path);
			return r;
		}
		if (last)
			break;
		start = end + 1;
	}
	*ret = path;
	return 0;
}
