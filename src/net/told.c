/* SPDX-License-Identifier: MIT */
/*
 * Secrets in what a server says: some repeat the command that they refuse, and its words go to a terminal or a log. As it is, or in base64, in
 * which it was sent (SASL), with whatever stands before it.
 */
#include <string.h>

#include "mailfs/net.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/secret.h"

#define DIGITS "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

/* Whole quanta that begin at one of the first four digits: one of the four is how it was encoded. padded: behind the digits, of the last quantum. */
static bool in_base64(const char *digits, size_t count, size_t padded)
{
	_cleanup_str_ struct str bytes = STR_INIT;
	bool found = false;
	for (size_t first = 0; first < 4 && first < count && !found; first++) {
		size_t len = count - first;
		len = padded <= 2 && (len + padded) % 4 == 0 ? len + padded : len / 4 * 4;
		if (len == 0 || net_base64_decode(digits + first, len, &bytes) < 0)
			continue;
		found = secret_is_in(bytes.data, bytes.len);
		secret_wipe(bytes.data, bytes.len);
	}
	return found;
}

bool net_tells_secret(const char *text)
{
	if (secret_is_in(text, strlen(text)))
		return true;
	for (text += strcspn(text, DIGITS); *text; text += strcspn(text, DIGITS)) {
		size_t count = strspn(text, DIGITS);
		if (in_base64(text, count, strspn(text + count, "=")))
			return true;
		text += count;
	}
	return false;
}
