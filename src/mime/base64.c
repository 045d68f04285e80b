/* SPDX-License-Identifier: MIT */
/*
 * Base64 (RFC 2045 §6.8) as a stream. Well-formed input gives what every decoder gives. Of malformed input as much
 * as possible is kept: bytes outside the alphabet are skipped, padding ends a group and the next group may follow
 * (parts that were encoded in pieces and put together), missing padding at the end is made up, and a single
 * character that is left over (6 bits) is dropped.
 */
#include <string.h>

#include "private.h"

#define BAD 0xff

/* clang-format off */
static const unsigned char values[256] = {
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, 62, BAD, BAD, BAD, 63,
	52, 53, 54, 55, 56, 57, 58, 59, 60, 61, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,
	15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, BAD, BAD, BAD, BAD, BAD,
	BAD, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40,
	41, 42, 43, 44, 45, 46, 47, 48, 49, 50, 51, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
	BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD, BAD,
};
/* clang-format on */

unsigned mime_base64_value(unsigned char c)
{
	return values[c];
}

/* Decodes whole groups as long as nothing but the alphabet comes; the number of bytes taken. */
static size_t decode_groups(const unsigned char *in, size_t len, unsigned char **to)
{
	unsigned char *out = *to;
	size_t i = 0;

	for (; i + 4 <= len; i += 4, out += 3) {
		uint32_t a = values[in[i]], b = values[in[i + 1]];
		uint32_t c = values[in[i + 2]], d = values[in[i + 3]];
		if ((a | b | c | d) & 0x80)
			break;
		uint32_t bits = a << 18 | b << 12 | c << 6 | d;
		out[0] = (unsigned char)(bits >> 16);
		out[1] = (unsigned char)(bits >> 8);
		out[2] = (unsigned char)bits;
	}
	*to = out;
	return i;
}

/* Writes the bytes that are complete in a group that ends early. */
static unsigned char *close_group(struct mime_base64 *b, unsigned char *out)
{
	if (b->count == 3)
		*out++ = (unsigned char)(b->bits >> 10);
	if (b->count >= 2)
		*out++ = (unsigned char)(b->bits >> (b->count == 3 ? 2 : 4));
	*b = (struct mime_base64){0};
	return out;
}

static unsigned char *decode_one(struct mime_base64 *b, unsigned char c, unsigned char *out)
{
	if (c == '=' && b->count >= 2)
		return close_group(b, out);
	if (values[c] == BAD)
		return out;
	b->bits = b->bits << 6 | values[c];
	b->count += 1;
	if (b->count < 4)
		return out;
	*out++ = (unsigned char)(b->bits >> 16);
	*out++ = (unsigned char)(b->bits >> 8);
	*out++ = (unsigned char)b->bits;
	*b = (struct mime_base64){0};
	return out;
}

void mime_base64_push(struct mime_base64 *b, const char *data, size_t len, struct str *out)
{
	const unsigned char *in = (const unsigned char *)data;

	if (str_reserve(out, len / 4 * 3 + 6) < 0)
		return;
	unsigned char *start = (unsigned char *)out->data + out->len, *to = start;
	for (size_t i = 0; i < len;) {
		if (b->count == 0)
			i += decode_groups(in + i, len - i, &to);
		if (i < len)
			to = decode_one(b, in[i++], to);
	}
	out->len += (size_t)(to - start);
	out->data[out->len] = 0;
}

void mime_base64_end(struct mime_base64 *b, struct str *out)
{
	unsigned char rest[3];
	str_append(out, rest, (size_t)(close_group(b, rest) - rest));
}
