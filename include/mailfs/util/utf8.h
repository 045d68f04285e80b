/* SPDX-License-Identifier: MIT */
/* UTF-8 as RFC 3629 has it: no surrogates, nothing over U+10FFFF, no overlong forms. */
#ifndef MAILFS_UTIL_UTF8_H
#define MAILFS_UTIL_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UTF8_INVALID UINT32_MAX

/* Decodes the character at data[*pos] and moves *pos behind it; UTF8_INVALID for a bad byte, which is skipped alone. *pos < len. */
uint32_t utf8_next(const char *data, size_t len, size_t *pos);
/* Writes c into out[4]; the number of bytes, 0 when c is not a character. */
size_t utf8_encode(uint32_t c, char out[4]);
/*
 * Whether a character beyond ASCII is none to be shown: a C1 control, a separator of lines or paragraphs, one that turns the direction of writing, or no
 * character at all (UTF8_INVALID).
 */
bool utf8_misleads(uint32_t c);
bool utf8_valid(const char *data, size_t len);
/* The largest length ≤ max at which valid UTF-8 data can be cut between characters. */
size_t utf8_cut(const char *data, size_t len, size_t max);

#endif
