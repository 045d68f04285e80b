/* SPDX-License-Identifier: MIT */
/* UTF-8, strictly (RFC 3629 §3 and §4): what this accepts every other program accepts. */
#include "mailfs/util/utf8.h"

/* The number of bytes that the lead byte announces, its own bits in *bits, the least value allowed in *min; 0: not a lead byte. */
static size_t lead(unsigned char c, uint32_t *bits, uint32_t *min)
{
	static const struct {
		unsigned char mask, value;
		uint32_t min;
	} forms[] = {
		{0x80, 0x00, 0}, {0xe0, 0xc0, 0x80}, {0xf0, 0xe0, 0x800}, {0xf8, 0xf0, 0x10000}};

	for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
		if ((c & forms[i].mask) == forms[i].value) {
			*bits = c & (unsigned char)~forms[i].mask;
			*min = forms[i].min;
			return i + 1;
		}
	}
	return 0;
}

uint32_t utf8_next(const char *data, size_t len, size_t *pos)
{
	const unsigned char *p = (const unsigned char *)data + *pos;
	uint32_t c, min;
	size_t n = lead(*p, &c, &min), left = len - *pos;

	*pos += 1;
	if (n == 0 || n > left)
		return UTF8_INVALID;
	for (size_t i = 1; i < n; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return UTF8_INVALID;
		c = c << 6 | (p[i] & 0x3f);
	}
	if (c < min || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return UTF8_INVALID;
	*pos += n - 1;
	return c;
}

size_t utf8_encode(uint32_t c, char out[4])
{
	if (c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char heads[] = {0, 0, 0xc0, 0xe0, 0xf0};
	for (size_t i = n - 1; i > 0; i--, c >>= 6)
		out[i] = (char)(0x80 | (c & 0x3f));
	out[0] = (char)(heads[n] | c);
	return n;
}

bool utf8_misleads(uint32_t c)
{
	return (c >= 0x80 && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069) || c == 0xfeff ||
	       c == UTF8_INVALID;
}

bool utf8_valid(const char *data, size_t len)
{
	for (size_t pos = 0; pos < len;)
		if (utf8_next(data, len, &pos) == UTF8_INVALID)
			return false;
	return true;
}

size_t utf8_cut(const char *data, size_t len, size_t max)
{
	if (len <= max)
		return len;
	while (max > 0 && ((unsigned char)data[max] & 0xc0) == 0x80)
		max--;
	return max;
}
