/* SPDX-License-Identifier: MIT */
/*
 * What may stand in a name. The list is written here and fixed for ever: a name must be the same on every machine, so it can
 * not depend on the Unicode version of a library. A change of this file renames people's files.
 */
#include <string.h>

#include "mailfs/util/utf8.h"
#include "private.h"

/*
 * Beyond ASCII: what is blank, what can not be seen, and what changes how the rest is shown. Variation selectors
 * stay: they are not format characters, and belong to the emoji or the ideograph before them.
 */
static const struct {
	uint32_t first, last;
} refused[] = {
	{0x0080, 0x00a0},    /* C1 controls, no-break space */
	{0x00ad, 0x00ad},    /* soft hyphen */
	{0x034f, 0x034f},    /* combining grapheme joiner */
	{0x061c, 0x061c},    /* Arabic letter mark */
	{0x115f, 0x1160},    /* Hangul fillers */
	{0x1680, 0x1680},    /* Ogham space */
	{0x17b4, 0x17b5},    /* Khmer inherent vowels, not shown */
	{0x180e, 0x180e},    /* Mongolian vowel separator */
	{0x2000, 0x200f},    /* spaces, zero width, direction marks */
	{0x2028, 0x202f},    /* separators, embeddings and overrides, narrow space */
	{0x205f, 0x206f},    /* mathematical space, word joiner, invisible operators, isolates */
	{0x2800, 0x2800},    /* Braille blank */
	{0x3000, 0x3000},    /* ideographic space */
	{0x3164, 0x3164},    /* Hangul filler */
	{0xd800, 0xf8ff},    /* surrogates, private use */
	{0xfdd0, 0xfdef},    /* noncharacters */
	{0xfeff, 0xfeff},    /* byte order mark */
	{0xffa0, 0xffa0},    /* half-width Hangul filler */
	{0xfff0, 0xffff},    /* interlinear annotation, object and replacement character */
	{0x13430, 0x1343f},  /* Egyptian hieroglyph format controls */
	{0x1bca0, 0x1bca3},  /* shorthand format controls */
	{0x1d173, 0x1d17a},  /* musical format controls */
	{0xe0000, 0xe00ff},  /* tags */
	{0xe01f0, 0xe0fff},  /* reserved, not to be shown */
	{0xf0000, 0x10ffff}, /* private use */
};

bool mime_name_keeps(uint32_t c)
{
	if ((c & 0xfffe) == 0xfffe || c > 0x10ffff)
		return false;
	for (size_t i = 0; i < sizeof(refused) / sizeof(*refused) && c >= refused[i].first; i++)
		if (c <= refused[i].last)
			return false;
	return true;
}

static bool keeps_ascii(uint32_t c, const char *extra)
{
	return ascii_is_alnum((char)c) ||
	       (c != 0 && (strchr(".-+@#=,", (int)c) || strchr(extra, (int)c)));
}

static bool is_trimmed(char c, const char *trimmed)
{
	return c != 0 && strchr(trimmed, c);
}

void mime_name_sanitise(const char *utf8, size_t len, size_t limit_bytes, const char *extra,
	const char *trimmed, struct str *out)
{
	size_t start = out->len;

	for (size_t pos = 0; pos < len;) {
		size_t at = pos;
		uint32_t c = utf8_next(utf8, len, &pos);
		bool keep = c < 0x80 ? keeps_ascii(c, extra) : mime_name_keeps(c);
		const char *text = keep ? utf8 + at : "-";
		size_t n = keep ? pos - at : 1;
		if (out->len - start + n > limit_bytes)
			break;
		bool first = out->len == start;
		if (first ? is_trimmed(*text, trimmed)
			  : *text == '-' && out->data[out->len - 1] == '-')
			continue;
		str_append(out, text, n);
	}
	while (out->len > start && is_trimmed(out->data[out->len - 1], trimmed))
		str_truncate(out, out->len - 1);
}

int mime_name_field(const char *utf8, size_t len, size_t limit_bytes, struct str *out)
{
	mime_name_sanitise(utf8, len, limit_bytes, "", "-", out);
	return str_error(out);
}
