/* SPDX-License-Identifier: MIT */
/*
 * The first mailbox of an address list (RFC 5322 §3.4), from what people's programs write there: quoted names,
 * comments for names, groups, source routes, brackets and quotes that are never closed, commas in bare names.
 *
 * Linear: that something is never closed is found out once, and then remembered.
 */
#include <string.h>

#include "private.h"

struct scan {
	const char *p, *end;
	bool quotes_broken, comments_broken; /* what opens here is never closed */
	const char *last_semicolon;          /* no group begins behind it; NULL: none */
};

struct mailbox {
	struct str phrase; /* what stands outside of brackets: a name, or a bare address */
	struct str comment;
	struct str address; /* between the angle brackets */
	bool angle;
	bool at; /* the phrase has an '@' */
};

static void mailbox_finish(struct mailbox *m)
{
	str_finish(&m->phrase);
	str_finish(&m->comment);
	str_finish(&m->address);
}

static void mailbox_reset(struct mailbox *m)
{
	str_truncate(&m->phrase, 0);
	str_truncate(&m->comment, 0);
	str_truncate(&m->address, 0);
	m->angle = m->at = false;
}

static bool is_blank_text(const struct str *s)
{
	const char *text = str_cstr(s);
	size_t len = s->len;
	ascii_trim(&text, &len);
	return len == 0;
}

/* --- Pieces. Each begins at its opening character, and takes that alone when it is not closed. --- */

static void scan_quoted(struct scan *s, struct mailbox *m)
{
	const char *p = s->p + 1;
	size_t before = m->phrase.len;
	bool at = m->at;

	for (; !s->quotes_broken && p < s->end && *p != '"'; p++) {
		if (*p == '\\' && p + 1 < s->end)
			p++;
		at |= *p == '@';
		str_putc(&m->phrase, *p);
	}
	if (s->quotes_broken || p >= s->end) {
		s->quotes_broken = true;
		str_truncate(&m->phrase, before);
		s->p += 1;
		return;
	}
	m->at = at;
	s->p = p + 1;
}

static void scan_comment(struct scan *s, struct str *out)
{
	const char *p = s->p;
	size_t depth = 0, before = out->len;

	if (before > 0)
		str_putc(out, ' ');
	for (; !s->comments_broken && p < s->end; p++) {
		if (*p == ')' && --depth == 0)
			break;
		if (*p == '(' && depth++ == 0)
			continue;
		if (*p == '\\' && p + 1 < s->end)
			p++;
		str_putc(out, *p);
	}
	if (s->comments_broken || p >= s->end) {
		s->comments_broken = true;
		str_truncate(out, before);
		s->p += 1;
		return;
	}
	s->p = p + 1;
}

/* <address>, or <@route,@route:address>; without its '>' it ends at a comma. */
static void scan_angle(struct scan *s, struct str *out)
{
	bool route = false;
	const char *start = ++s->p;

	for (; s->p < s->end && *s->p != '>' && (*s->p != ',' || route); s->p++) {
		if (*s->p == '@' && s->p == start)
			route = true;
		if (*s->p == ':' && route) {
			route = false;
			str_truncate(out, 0);
		} else {
			str_putc(out, *s->p);
		}
	}
	if (s->p < s->end && *s->p == '>')
		s->p += 1;
}

static bool begins_group(const struct scan *s, const struct mailbox *m)
{
	return s->last_semicolon > s->p && !m->angle && !m->at;
}

/* A character that is nothing but itself, or an encoded word: that may hold any character. */
static void scan_text(struct scan *s, struct mailbox *m)
{
	size_t n = *s->p == '=' && s->end - s->p > 1 && s->p[1] == '?'
	                   ? mime_word_span(s->p, s->end)
	                   : 0;
	if (n == 0)
		n = 1;
	if (n > 1 || *s->p != '>')
		str_append(&m->phrase, s->p, n);
	m->at |= n == 1 && *s->p == '@';
	s->p += n;
}

/* < */
static void scan_address(struct scan *s, struct mailbox *m)
{
	m->angle = true;
	str_truncate(&m->address, 0);
	scan_angle(s, &m->address);
}

/* : */
static void scan_colon(struct scan *s, struct mailbox *m)
{
	if (begins_group(s, m))
		mailbox_reset(m);
	else
		str_putc(&m->phrase, ':');
	s->p += 1;
}

/* One mailbox up to its ',' or ';', which is taken too: returned, 0 at the end. */
static char scan_mailbox(struct scan *s, struct mailbox *m)
{
	while (s->p < s->end) {
		switch (*s->p) {
		case '"':
			scan_quoted(s, m);
			break;
		case '(':
			scan_comment(s, &m->comment);
			break;
		case '<':
			scan_address(s, m);
			break;
		case ':':
			scan_colon(s, m);
			break;
		case ',':
		case ';':
			return *s->p++;
		default:
			scan_text(s, m);
		}
	}
	return 0;
}

/* "Doe, John <j@x>" without its quotes is one mailbox: a bare name goes on behind the comma if an angle bracket follows. */
static char scan_name_with_commas(struct scan *s, struct mailbox *m)
{
	size_t name_len = m->phrase.len;
	char stop = ',';

	while (stop == ',' && !m->angle && !m->at && m->comment.len == 0) {
		str_append(&m->phrase, ", ", 2);
		stop = scan_mailbox(s, m);
	}
	if (!m->angle) {
		str_truncate(&m->phrase, name_len);
		str_truncate(&m->comment, 0);
	}
	return stop;
}

/* Scans to the first mailbox that has anything in it. */
static bool scan_first(struct scan *s, struct mailbox *m)
{
	for (char stop = ','; stop != 0;) {
		mailbox_reset(m);
		stop = scan_mailbox(s, m);
		bool name = !is_blank_text(&m->phrase);
		if (name && stop == ',')
			stop = scan_name_with_commas(s, m);
		if (name || !is_blank_text(&m->address) || !is_blank_text(&m->comment))
			return true;
	}
	return false;
}

/* Appends the text decoded, its blanks folded and its ends trimmed; whether there was any. */
static bool append_decoded(const struct str *text, struct str *out)
{
	_cleanup_str_ struct str decoded = STR_INIT;
	size_t before = out->len;

	if (mime_words_decode(str_cstr(text), text->len, &decoded) < 0)
		out->failed = true;
	for (size_t i = 0; i < decoded.len; i++) {
		bool blank = decoded.data[i] == ' ';
		if (!blank && i > 0 && decoded.data[i - 1] == ' ' && out->len > before)
			str_putc(out, ' ');
		if (!blank)
			str_putc(out, decoded.data[i]);
	}
	return out->len > before;
}

int mime_author(const char *value, size_t len, struct str *out)
{
	struct mailbox m = {0};
	struct scan s = {.p = value, .end = value + len};

	if (len > 0)
		s.last_semicolon = memrchr(value, ';', len);
	if (len > 0 && scan_first(&s, &m)) {
		if (!m.angle) /* a bare address: what stands behind it in parentheses is the name */
			(void)(append_decoded(&m.comment, out) || append_decoded(&m.phrase, out));
		else
			(void)(append_decoded(&m.phrase, out) || append_decoded(&m.comment, out) ||
				append_decoded(&m.address, out));
	}
	out->failed |= m.phrase.failed || m.comment.failed || m.address.failed;
	mailbox_finish(&m);
	return str_error(out);
}

int mime_addresses_decode(const char *value, size_t len, struct str *out)
{
	return mime_words_decode(value, len, out);
}
