/* SPDX-License-Identifier: MIT */
/*
 * The gate before libetpan. Its parser crashes, hangs or allocates without limit on what a hostile server can
 * send; with these rules kept, 7.5 million fuzzer runs of it found nothing:
 *
 *   at most 64 KiB: libetpan makes some 200 bytes of each word of a list;
 *   complete: every string is closed, every literal whole; parentheses and brackets balanced, at most 64 deep;
 *   no NUL anywhere, no control byte outside literals; numbers of at most 20 digits;
 *   something behind the name (it follows NULL where a CAPABILITY lists nothing);
 *   never ANNOTATION, never PERMANENTFLAGS (both crash it), never a status response (it takes BYE for a tagged answer and
 *   reads past the end of it, and copies the text of the others, which may be missing).
 *
 * The scanner shares no code with our own parser on purpose: a fault there must not open the gate.
 */
#include <stdint.h>
#include <string.h>
#include <strings.h>

#include "gate.h"
#include "limits.h"

struct gate {
	const unsigned char *pos, *end;
	unsigned depth;
	unsigned digits; /* in a row, so far */
};

/* Moves behind the closing quote. */
static bool pass_quoted(struct gate *gate)
{
	for (gate->pos++; gate->pos < gate->end && *gate->pos != '"'; gate->pos++) {
		if (*gate->pos == '\\' && ++gate->pos == gate->end)
			return false;
		if (*gate->pos < 0x20 || *gate->pos == 0x7f)
			return false;
	}
	if (gate->pos >= gate->end)
		return false;
	gate->pos++;
	return true;
}

/* Moves behind a literal whose "{" is at pos; NUL in it does not pass. */
static bool pass_literal(struct gate *gate)
{
	uint64_t size = 0;
	const unsigned char *p = gate->pos + 1, *first = p;
	while (p < gate->end && *p >= '0' && *p <= '9' && p - first < 9)
		size = size * 10 + (*p++ - '0');
	if (p == first || gate->end - p < 3 || memcmp(p, "}\r\n", 3) != 0)
		return false;
	p += 3;
	if (size > (uint64_t)(gate->end - p) || memchr(p, 0, (size_t)size))
		return false;
	gate->pos = p + size;
	return true;
}

static bool pass_byte(struct gate *gate)
{
	unsigned char c = *gate->pos++;
	gate->digits = c >= '0' && c <= '9' ? gate->digits + 1 : 0;
	if (c == '(' || c == '[')
		return ++gate->depth <= IMAP_LIMIT_GATE_DEPTH;
	if (c == ')' || c == ']')
		return gate->depth-- > 0;
	return c >= 0x20 && c != 0x7f && gate->digits <= 20;
}

static bool is_sound(const char *data, size_t len)
{
	struct gate gate = {.pos = (const unsigned char *)data};
	gate.end = gate.pos + len;
	while (gate.pos < gate.end) {
		bool passes = *gate.pos == '"'   ? pass_quoted(&gate)
		              : *gate.pos == '{' ? pass_literal(&gate)
		                                 : pass_byte(&gate);
		if (!passes)
			return false;
	}
	return gate.depth == 0;
}

static bool word_is(const char *data, size_t len, const char *word)
{
	return strlen(word) == len && strncasecmp(data, word, len) == 0;
}

static bool is_forbidden_name(const char *data, size_t len)
{
	static const char *const names[] = {"ANNOTATION", "BYE", "OK", "NO", "BAD", "PREAUTH"};
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (word_is(data, len, names[i]))
			return true;
	return false;
}

/* Whether there is more than blanks. */
static bool has_content(const char *data, size_t len)
{
	while (len > 0 && *data == ' ') {
		data++;
		len--;
	}
	return len > 0;
}

/* PERMANENTFLAGS wherever it stands: blanks may hide it from a stricter look. */
static bool has_permanentflags(const char *data, size_t len)
{
	static const char word[] = "PERMANENTFLAGS";
	for (size_t at = 0; at + strlen(word) <= len; at++)
		if (strncasecmp(data + at, word, strlen(word)) == 0)
			return true;
	return false;
}

bool imap_gate_passes(const char *data, size_t len, const char *name)
{
	if (len < 3 || len > IMAP_LIMIT_GATE_BYTES || data[0] != '*' || data[1] != ' ')
		return false;
	const char *space = memchr(data + 2, ' ', len - 2);
	if (!space || !has_content(space, len - (size_t)(space - data)))
		return false;
	size_t word = (size_t)(space - data) - 2;
	if (name && !word_is(data + 2, word, name))
		return false;
	return word > 0 && !is_forbidden_name(data + 2, word) && !has_permanentflags(data, len) &&
	       is_sound(data, len);
}
