/* SPDX-License-Identifier: MIT */
/*
 * The fields of a name from what most mail has: printable ASCII, no encoded words, an author in one of the usual forms. The result
 * is that of the general way (mime_author, mime_words_decode, mime_name_field), without memory and in one pass; whatever is not
 * so plain is left to that. A folder of a million messages is named when it is listed.
 */
#include <string.h>

#include "name.h"

/* Of an author's name, more than a name has room for; longer ones are not plain. */
#define AUTHOR_MAX 200

/*
 * What becomes of a character in a name: itself, or '-'; 0: the text is not plain. Line ends and tabs are blanks: where a fold is, one
 * follows in any case.
 */
static char plain_char(char c)
{
	static const char printable[] = "---#-----" /* to ( */
					"--+,-.-0123456789---=--@"
					"ABCDEFGHIJKLMNOPQRSTUVWXYZ------"
					"abcdefghijklmnopqrstuvwxyz----";

	if (c >= 0x20 && c < 0x7f)
		return printable[c - 0x20];
	return c == '\t' || c == '\r' || c == '\n' ? '-' : 0;
}

static bool begins_word(const char *p, const char *end)
{
	return *p == '=' && end - p > 1 && p[1] == '?';
}

/* As mime_name_sanitise() does it. */
static bool sanitise(const char *text, size_t len, size_t limit, char *out, size_t *ret_len)
{
	size_t n = 0;

	for (const char *p = text, *end = text + len; p < end; p++) {
		char c = plain_char(*p);
		if (c == 0 || begins_word(p, end))
			return false;
		if (n == limit || (c == '-' && (n == 0 || out[n - 1] == '-')))
			continue;
		out[n++] = c;
	}
	while (n > 0 && out[n - 1] == '-')
		n--;
	*ret_len = n;
	return true;
}

bool mime_name_plain_subject(struct mime_span raw, size_t limit, char *out, size_t *ret_len)
{
	return sanitise(raw.data, raw.len, limit, out, ret_len);
}

struct author {
	char name[AUTHOR_MAX]; /* what stands outside of the brackets */
	size_t len;
	bool named; /* … and it is not blank */
	struct mime_span address;
};

static bool add(struct author *author, char c)
{
	if (author->len == AUTHOR_MAX)
		return false;
	author->name[author->len++] = c;
	author->named |= !ascii_is_space(c);
	return true;
}

/* What is quoted, from behind the quote on. Where it ends; NULL: it is not plain. */
static const char *scan_quoted(struct author *author, const char *p, const char *end)
{
	for (; p < end && *p != '"'; p++)
		if (*p == '\\' || !add(author, *p))
			return NULL;
	return p < end ? p + 1 : NULL;
}

static const char *scan_address(struct author *author, const char *p, const char *end)
{
	const char *stop = memchr(p, '>', (size_t)(end - p));

	if (author->address.data || !stop || memchr(p, ',', (size_t)(stop - p)) ||
		memchr(p, ':', (size_t)(stop - p)))
		return NULL;
	author->address = (struct mime_span){p, (size_t)(stop - p)};
	return stop + 1;
}

/* One mailbox: NAME <ADDRESS>, or one of both. Lists, groups, comments and all that is escaped are not plain. */
static bool scan_author(struct author *author, struct mime_span raw)
{
	const char *p = raw.data, *end = raw.data + raw.len;

	while (p && p < end) {
		if (*p == '"')
			p = scan_quoted(author, p + 1, end);
		else if (*p == '<')
			p = scan_address(author, p + 1, end);
		else if (strchr("(),:;\\>", *p) || begins_word(p, end) || !add(author, *p))
			p = NULL;
		else
			p++;
	}
	return p;
}

bool mime_name_plain_author(struct mime_span raw, size_t limit, char *out, size_t *ret_len)
{
	struct author author;

	author.len = 0;
	author.named = false;
	author.address = (struct mime_span){NULL, 0};
	if (!scan_author(&author, raw))
		return false;
	if (author.named || !author.address.data)
		return sanitise(author.name, author.len, limit, out, ret_len);
	return sanitise(author.address.data, author.address.len, limit, out, ret_len);
}
