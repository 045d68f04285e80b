/* SPDX-License-Identifier: MIT */
/*
 * What the files of mime share with each other and nobody else. ASCII is classified here and not by
 * <ctype.h>, whose answers depend on the locale.
 */
#ifndef MAILFS_MIME_PRIVATE_H
#define MAILFS_MIME_PRIVATE_H

#include <iconv.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailfs/mime.h"

/* A part has a handful of parameters; what is beyond this is dropped. */
#define MIME_PARAMS_MAX 1000

static inline char ascii_lower(char c)
{
	return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static inline bool ascii_is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static inline bool ascii_is_alnum(char c)
{
	return ascii_is_digit(c) || (ascii_lower(c) >= 'a' && ascii_lower(c) <= 'z');
}

static inline bool ascii_is_blank(char c)
{
	return c == ' ' || c == '\t';
}

/* A blank, or a piece of a line end. */
static inline bool ascii_is_space(char c)
{
	return ascii_is_blank(c) || c == '\r' || c == '\n';
}

/* The value of a hexadecimal digit of either case; -1 for anything else. */
static inline int ascii_hex(char c)
{
	if (ascii_is_digit(c))
		return c - '0';
	c = ascii_lower(c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Whether the bytes are that lower-case word, in any case. */
bool ascii_equal(const char *data, size_t len, const char *lower);
/* Moves *data and *len past the blanks and line ends at both ends. */
void ascii_trim(const char **data, size_t *len);

/* --- charset_name.c --- */

enum mime_charset_kind {
	MIME_CHARSET_ASCII,        /* says nothing: 8-bit bytes in it are guessed */
	MIME_CHARSET_UTF8,         /* checked here */
	MIME_CHARSET_WINDOWS_1252, /* converted here, so that the last resort needs no library */
	MIME_CHARSET_ICONV,        /* a superset of ASCII */
	MIME_CHARSET_ICONV_7BIT,   /* ASCII bytes can mean something else */
	MIME_CHARSET_JIS,          /* ISO-2022-JP: turned into EUC first, see charset.c */
};

struct mime_charset {
	const char *iconv_name;
	enum mime_charset_kind kind;
};

/* The charset of that name or alias; NULL when it is unknown, or name is NULL. */
const struct mime_charset *mime_charset_find(const char *name, size_t len);

/* --- charset.c --- */

enum jis_mode { JIS_ASCII, JIS_KANA, JIS_X0208, JIS_X0212 };

struct mime_converter {
	const struct mime_charset *charset;
	iconv_t cd;        /* (iconv_t)-1 where it is not needed */
	struct str held;   /* the beginning of a character that was cut */
	struct str joined; /* held and what came next */
	struct str euc;
	enum jis_mode jis_mode;
};

/* 0, -EINVAL (this machine can not convert it; finish is allowed), -ENOMEM. */
int mime_converter_init(struct mime_converter *c, const struct mime_charset *charset);
void mime_converter_finish(struct mime_converter *c);
/* Appends what data is in UTF-8; holds back a character that is cut at its end. */
void mime_converter_push(struct mime_converter *c, const char *data, size_t len, struct str *out);
/* Appends U+FFFD for what is held back, and whatever the charset's state still holds. */
void mime_converter_end(struct mime_converter *c, struct str *out);

/* Converters that were used for a text: opening one can mean that a library is loaded. At most one for each charset. */
struct mime_converters {
	struct mime_converter *items;
	size_t count, cap;
};
void mime_converters_finish(struct mime_converters *converters);
/* As mime_charset_decode(), for a charset that has been looked up. */
int mime_charset_convert(struct mime_converters *converters, const struct mime_charset *charset,
	const char *data, size_t len, struct str *out);

/* --- params.c --- */

/* The rest of a structured field that is being read. */
struct mime_scan {
	const char *p, *end;
};
/* Skips blanks and comments, and semicolons if that is wanted. A comment that is not closed ends the text. */
void mime_scan_skip(struct mime_scan *s, bool semicolons);
/* As mime_params_parse(), but a value without quotes ends at a blank or a comment. */
int mime_params_parse_tokens(const char *text, size_t len, struct mime_params *params);

/* --- header.c --- */

/* Appends a value that mime_header_find() has found, unfolded, its ends trimmed. */
void mime_unfold(struct mime_span raw, struct str *out);

/* --- words.c --- */

/* The length of the encoded word at p (which begins with "=?"); 0 when there is none. */
size_t mime_word_span(const char *p, const char *end);
/* Replaces control characters from offset on by blanks. The bytes there are valid UTF-8. */
void mime_text_clean(struct str *text, size_t offset);

/* --- base64.c, quoted.c --- */

struct mime_base64 {
	uint32_t bits;  /* of the group that has begun */
	unsigned count; /* characters of it */
};
/* The value of a base64 character; ≥ 64 for any other byte. */
unsigned mime_base64_value(unsigned char c);
void mime_base64_push(struct mime_base64 *b, const char *data, size_t len, struct str *out);
void mime_base64_end(struct mime_base64 *b, struct str *out);

enum quoted_state { QUOTED_TEXT, QUOTED_EQUALS, QUOTED_HEX, QUOTED_SOFT, QUOTED_SOFT_CR };

struct mime_quoted {
	enum quoted_state state;
	size_t held_len;
	char held[80]; /* "=" and what may belong to it */
};
void mime_quoted_push(struct mime_quoted *q, const char *data, size_t len, struct str *out);
void mime_quoted_end(struct mime_quoted *q, struct str *out);

/* --- name_field.c --- */

/* Whether a character beyond ASCII may stand in a name. */
bool mime_name_keeps(uint32_t c);
/* As mime_name_field(); extra: more ASCII characters that survive; trimmed: those that do not at either end. */
void mime_name_sanitise(const char *utf8, size_t len, size_t limit_bytes, const char *extra,
	const char *trimmed, struct str *out);

/* --- leaf_name.c --- */

/* Appends the file name of a part, without its number: at most limit_bytes (≥ 40), never empty. */
int mime_leaf_file_name(const struct mime_part *part, size_t limit_bytes, struct str *out);

#endif
