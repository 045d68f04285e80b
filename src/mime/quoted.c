/* SPDX-License-Identifier: MIT */
/*
 * Quoted-printable (RFC 2045 §6.7) as a stream. Line ends stay as they are; hexadecimal digits may be of either case;
 * an '=' that begins nothing is itself. Blanks before a line end stay too, against the letter of the RFC: they come from
 * senders that did not encode them far more often than from the way, and Python's email package and most
 * mail programs keep them.
 *
 * Invariant: held has the bytes since the last decision, and each state says what they are: TEXT none;
 * EQUALS "="; HEX "=" and a digit; SOFT "=" and blanks; SOFT_CR the same and a CR.
 */
#include <string.h>

#include "private.h"

static void release(struct mime_quoted *q, struct str *out)
{
	str_append(out, q->held, q->held_len);
	q->held_len = 0;
	q->state = QUOTED_TEXT;
}

static void drop(struct mime_quoted *q)
{
	q->held_len = 0;
	q->state = QUOTED_TEXT;
}

static void hold(struct mime_quoted *q, char c, enum quoted_state state)
{
	q->held[q->held_len++] = c;
	q->state = state;
}

/* After an "=": whether c belongs to it. Blanks without end are no soft line end. */
static bool take_escape(struct mime_quoted *q, char c, struct str *out)
{
	if (q->state == QUOTED_HEX) {
		int high = ascii_hex(q->held[1]), low = ascii_hex(c);
		if (low < 0)
			return false;
		drop(q);
		str_putc(out, (char)(high << 4 | low));
	} else if (c == '\n') {
		drop(q);
	} else if (q->state == QUOTED_SOFT_CR) {
		return false;
	} else if (c == '\r') {
		hold(q, c, QUOTED_SOFT_CR);
	} else if (ascii_is_blank(c) && q->held_len + 2 <= sizeof(q->held)) {
		hold(q, c, QUOTED_SOFT);
	} else if (q->state == QUOTED_EQUALS && ascii_hex(c) >= 0) {
		hold(q, c, QUOTED_HEX);
	} else {
		return false;
	}
	return true;
}

static void take(struct mime_quoted *q, char c, struct str *out)
{
	if (q->state != QUOTED_TEXT && take_escape(q, c, out))
		return;
	release(q, out);
	if (c == '=')
		hold(q, c, QUOTED_EQUALS);
	else
		str_putc(out, c);
}

void mime_quoted_push(struct mime_quoted *q, const char *data, size_t len, struct str *out)
{
	/* Each byte makes at most one, so that the appends below do no more than copy. */
	if (str_reserve(out, len + q->held_len) < 0)
		return;
	for (size_t i = 0; i < len;) {
		if (q->state != QUOTED_TEXT || data[i] == '=') {
			take(q, data[i++], out);
			continue;
		}
		const char *escape = memchr(data + i, '=', len - i);
		size_t run = escape ? (size_t)(escape - data) - i : len - i;
		str_append(out, data + i, run);
		i += run;
	}
}

void mime_quoted_end(struct mime_quoted *q, struct str *out)
{
	/* The end of the data ends its last line: a soft line end may lack it. Half an escape is given as it is. */
	if (q->state == QUOTED_HEX)
		release(q, out);
	drop(q);
}
