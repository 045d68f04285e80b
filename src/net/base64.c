/* SPDX-License-Identifier: MIT */
/*
 * Base64 (RFC 4648 §4), strict: what SASL exchanges is short and made by programs, so anything but the
 * one canonical form is an error. Mail bodies, which need leniency, are decoded elsewhere.
 */
#include <errno.h>
#include <stdint.h>

#include "mailfs/net.h"

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

int net_base64_encode(const void *data, size_t len, struct str *out)
{
	const unsigned char *in = data;
	str_reset(out);
	/* At once, so that growing leaves no copy of a secret behind. */
	if (len > SIZE_MAX / 4 || str_reserve(out, (len + 2) / 3 * 4) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < len; i += 3) {
		size_t left = len - i;
		uint32_t bits = (uint32_t)in[i] << 16;
		if (left > 1)
			bits |= (uint32_t)in[i + 1] << 8;
		if (left > 2)
			bits |= in[i + 2];
		str_putc(out, alphabet[bits >> 18]);
		str_putc(out, alphabet[bits >> 12 & 63]);
		str_putc(out, left > 1 ? alphabet[bits >> 6 & 63] : '=');
		str_putc(out, left > 2 ? alphabet[bits & 63] : '=');
	}
	return str_error(out);
}

static int digit_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* The 6 to 24 bits of count digits, left-aligned in 24; -1 when one of them is none. */
static int32_t quantum_bits(const char *text, size_t count)
{
	int32_t bits = 0;
	for (size_t i = 0; i < 4; i++) {
		int value = i < count ? digit_value(text[i]) : 0;
		if (value < 0)
			return -1;
		bits = bits << 6 | value;
	}
	return bits;
}

int net_base64_decode(const char *text, size_t len, struct str *out)
{
	str_reset(out);
	if (len % 4)
		return -EPROTO;
	size_t padding = 0;
	while (padding < 2 && padding < len && text[len - 1 - padding] == '=')
		padding++;
	if (str_reserve(out, len / 4 * 3) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < len; i += 4) {
		size_t digits = i + 4 == len ? 4 - padding : 4;
		int32_t bits = quantum_bits(text + i, digits);
		/* The bits that padding leaves over are zero in the canonical form. */
		if (bits < 0 || (bits & ((1 << (8 * (4 - digits))) - 1)))
			return -EPROTO;
		const char bytes[] = {(char)(bits >> 16), (char)(bits >> 8), (char)bits};
		str_append(out, bytes, digits - 1);
	}
	return str_error(out);
}
