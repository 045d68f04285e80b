/* SPDX-License-Identifier: MIT */
/*
 * Text of any charset to UTF-8, as a stream and at once. UTF-8, windows-1252 and ASCII need no library; the rest
 * is iconv's. ISO-2022-JP is turned into EUC-JP first: what mail programs write under that label (the letters of
 * NEC row 13, half-width kana) is in Microsoft's table for EUC, and refused by iconv's converter for the label. Where
 * that table gives a sign of JIS X 0208 another character than the standard does, the standard's is put in its place.
 *
 * Invariant: what comes out is valid UTF-8, and at most three bytes for each byte that went in; every byte
 * that is not explained is one U+FFFD. How the input is cut into pushes makes no difference.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/utf8.h"
#include "private.h"

#define REPLACEMENT "\xef\xbf\xbd"
/* No character (with its escape sequence) is longer; what iconv calls incomplete beyond this is malformed. */
#define HELD_MAX 32

static size_t ascii_run(const char *data, size_t len)
{
	size_t i = 0;
	uint64_t eight;

	for (; i + sizeof(eight) <= len; i += sizeof(eight)) {
		memcpy(&eight, data + i, sizeof(eight));
		if (eight & UINT64_C(0x8080808080808080))
			break;
	}
	while (i < len && !((unsigned char)data[i] & 0x80))
		i++;
	return i;
}

/* --- The built-in charsets: they take as much as they can, and tell how much --- */

static size_t convert_1252(const char *data, size_t len, struct str *out)
{
	/* 81, 8d, 8f, 90 and 9d are not assigned: they stay the control characters that ISO-8859-1 has there. */
	static const uint16_t high[32] = {0x20ac, 0x81, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020,
		0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8d, 0x017d, 0x8f, 0x90, 0x2018,
		0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a,
		0x0153, 0x9d, 0x017e, 0x0178};
	char encoded[4];

	for (size_t i = 0; i < len;) {
		size_t run = ascii_run(data + i, len - i);
		str_append(out, data + i, run);
		i += run;
		if (i == len)
			break;
		unsigned char c = (unsigned char)data[i++];
		str_append(out, encoded, utf8_encode(c < 0xa0 ? high[c - 0x80] : c, encoded));
	}
	return len;
}

/* Whether data, at most 3 bytes, can be the beginning of a character that goes on. */
static bool utf8_is_cut(const char *data, size_t len)
{
	unsigned char first = (unsigned char)*data;
	size_t need = first >= 0xf0 && first < 0xf8 ? 4 : first >= 0xe0 ? 3 : first >= 0xc0 ? 2 : 1;

	if (first >= 0xf8 || len >= need)
		return false;
	for (size_t i = 1; i < len; i++)
		if (((unsigned char)data[i] & 0xc0) != 0x80)
			return false;
	return true;
}

static size_t convert_utf8(const char *data, size_t len, bool end, struct str *out)
{
	size_t pos = 0, good = 0;

	while (pos < len) {
		pos += ascii_run(data + pos, len - pos);
		size_t at = pos;
		if (pos == len || utf8_next(data, len, &pos) != UTF8_INVALID)
			continue;
		if (!end && utf8_is_cut(data + at, len - at)) {
			str_append(out, data + good, at - good);
			return at;
		}
		str_append(out, data + good, at - good);
		str_append_cstr(out, REPLACEMENT);
		good = pos;
	}
	str_append(out, data + good, len - good);
	return len;
}

/* --- ISO-2022-JP to EUC-JP: a character is the same number with the high bits set --- */

struct jis_escape {
	const char *sequence; /* after ESC */
	enum jis_mode mode;
};

/* The escape sequence at data (an ESC): its length; 0: none that is known; SIZE_MAX: it is cut. */
static size_t jis_escape(const char *data, size_t len, enum jis_mode *ret)
{
	static const struct jis_escape escapes[] = {{"(B", JIS_ASCII}, {"(J", JIS_ASCII},
		{"(H", JIS_ASCII}, {"(I", JIS_KANA}, {"$@", JIS_X0208}, {"$B", JIS_X0208},
		{"$(@", JIS_X0208}, {"$(B", JIS_X0208}, {"$(D", JIS_X0212}};
	size_t found = 0;

	for (size_t i = 0; i < sizeof(escapes) / sizeof(*escapes); i++) {
		size_t want = strlen(escapes[i].sequence), have = len - 1;
		if (have >= want && memcmp(data + 1, escapes[i].sequence, want) == 0) {
			*ret = escapes[i].mode;
			return want + 1;
		}
		if (have < want && memcmp(data + 1, escapes[i].sequence, have) == 0)
			found = SIZE_MAX;
	}
	return found;
}

/* Stands in EUC for what is malformed: no character has this byte. */
#define NO_EUC '\xff'

static bool jis_graphic(char c)
{
	return c > 0x20 && c < 0x7f;
}

/* Appends one character as EUC, always a complete one; its length, 0: it is cut. */
static size_t jis_char(enum jis_mode mode, const char *data, size_t len, struct str *euc)
{
	if (data[0] & 0x80) { /* is not ISO-2022-JP */
		str_putc(euc, NO_EUC);
		return 1;
	}
	if (mode == JIS_ASCII || !jis_graphic(data[0])) {
		str_putc(euc, data[0]);
		return 1;
	}
	if (mode == JIS_KANA) {
		if (data[0] < 0x60)
			str_putc(euc, '\x8e');
		str_putc(euc, data[0] < 0x60 ? (char)(data[0] | 0x80) : NO_EUC);
		return 1;
	}
	if (len < 2)
		return 0;
	if (!jis_graphic(data[1])) {
		str_putc(euc, NO_EUC);
		return 1;
	}
	if (mode == JIS_X0212)
		str_putc(euc, '\x8f');
	str_putc(euc, (char)(data[0] | 0x80));
	str_putc(euc, (char)(data[1] | 0x80));
	return 2;
}

static size_t jis_to_euc(enum jis_mode *mode, const char *data, size_t len, struct str *euc)
{
	size_t i = 0;

	while (i < len) {
		size_t n = data[i] == 0x1b ? jis_escape(data + i, len - i, mode) : 0;
		if (n == SIZE_MAX)
			break;
		if (data[i] == '\n')
			*mode = JIS_ASCII; /* RFC 1468: each line begins so; a lost escape costs one line */
		if (n == 0)
			n = jis_char(*mode, data + i, len - i, euc);
		if (n == 0)
			break;
		i += n;
	}
	return i;
}

/* --- iconv --- */

/* The fewest bytes of a character, which are also given up when there is no such character. */
static size_t malformed_len(const struct mime_converter *c, const char *data, size_t len)
{
	const char *name = c->charset->iconv_name;
	size_t n = 1;

	if (strncmp(name, "UTF-16", 6) == 0)
		n = 2;
	else if (strncmp(name, "UTF-32", 6) == 0)
		n = 4;
	else if (c->charset->kind == MIME_CHARSET_JIS && *data != NO_EUC)
		n = (unsigned char)*data == 0x8f ? 3 : (unsigned char)*data >= 0x8e ? 2 : 1;
	return n < len ? n : len;
}

static size_t convert_iconv(struct mime_converter *c, const char *data, size_t len, struct str *out)
{
	size_t left = len;

	while (left > 0) {
		size_t room = left < 32768 ? left * 3 + 16 : 98304;
		if (str_reserve(out, room) < 0)
			return len;
		char *in = (char *)(uintptr_t)(data + len - left), *to = out->data + out->len;
		size_t r = iconv(c->cd, &in, &left, &to, &room);
		int error = r == (size_t)-1 ? errno : 0;
		out->len = (size_t)(to - out->data);
		out->data[out->len] = 0;
		if (error == EINVAL && left <= HELD_MAX)
			break;
		if (error == EILSEQ || error == EINVAL) {
			str_append_cstr(out, REPLACEMENT);
			left -= malformed_len(c, in, left);
		}
	}
	return len - left;
}

/*
 * Character by character: how far the C library takes back what it has read of a malformed shifted run depends on how much it is given at a
 * time, and the same text must not become another when it comes in other pieces.
 */
static size_t convert_singly(
	struct mime_converter *c, const char *data, size_t len, struct str *out)
{
	size_t at = 0;

	while (at < len) {
		size_t take = malformed_len(c, data + at, SIZE_MAX), done = 0;
		for (; done == 0 && at + take <= len; take++)
			done = convert_iconv(c, data + at, take, out);
		if (done == 0)
			break;
		at += done;
	}
	return at;
}

/* Lets iconv write what its state still holds (a letter that waits for its accent), and start anew. */
static void flush_iconv(struct mime_converter *c, struct str *out)
{
	size_t room = 64;

	if (str_reserve(out, room) < 0)
		return;
	char *to = out->data + out->len;
	iconv(c->cd, NULL, NULL, &to, &room);
	out->len = (size_t)(to - out->data);
	out->data[out->len] = 0;
}

/* Puts the standard's signs (row 1: wave dash, parallel, minus, cent, pound, not) where Microsoft's table has others. */
static void jis_standard(struct str *out, size_t from)
{
	static const char *const signs[][2] = {{"\uff5e", "\u301c"}, {"\u2225", "\u2016"},
		{"\uff0d", "\u2212"}, {"\uffe0", "\u00a2"}, {"\uffe1", "\u00a3"},
		{"\uffe2", "\u00ac"}};
	size_t to = from;

	for (size_t i = from; i < out->len;) {
		const char *put = out->data + i;
		size_t take = 1, put_len = 1;
		for (size_t k = 0; *put & 0x80 && k < sizeof(signs) / sizeof(*signs); k++) {
			if (out->len - i < 3 || memcmp(out->data + i, signs[k][0], 3) != 0)
				continue;
			put = signs[k][1];
			put_len = strlen(put);
			take = 3;
			break;
		}
		memmove(out->data + to, put, put_len);
		to += put_len;
		i += take;
	}
	str_truncate(out, to);
}

static size_t convert_jis(struct mime_converter *c, const char *data, size_t len, struct str *out)
{
	str_reset(&c->euc);
	size_t taken = jis_to_euc(&c->jis_mode, data, len, &c->euc);
	size_t from = out->len;
	convert_iconv(c, str_cstr(&c->euc), c->euc.len, out);
	jis_standard(out, from);
	out->failed |= c->euc.failed;
	return taken;
}

/* --- The stream --- */

int mime_converter_init(struct mime_converter *c, const struct mime_charset *charset)
{
	*c = (struct mime_converter){.charset = charset, .cd = (iconv_t)-1};
	if (!charset->iconv_name)
		return 0;
	c->cd = iconv_open("UTF-8", charset->iconv_name);
	if (c->cd != (iconv_t)-1)
		return 0;
	return errno == ENOMEM ? -ENOMEM : -EINVAL;
}

void mime_converter_finish(struct mime_converter *c)
{
	if (c->cd != (iconv_t)-1)
		iconv_close(c->cd);
	str_finish(&c->held);
	str_finish(&c->joined);
	str_finish(&c->euc);
}

static size_t convert(
	struct mime_converter *c, const char *data, size_t len, bool end, struct str *out)
{
	switch (c->charset->kind) {
	case MIME_CHARSET_WINDOWS_1252:
		return convert_1252(data, len, out);
	case MIME_CHARSET_ASCII:
	case MIME_CHARSET_UTF8:
		return convert_utf8(data, len, end, out);
	case MIME_CHARSET_JIS:
		return convert_jis(c, data, len, out);
	case MIME_CHARSET_ICONV_7BIT:
		return convert_singly(c, data, len, out);
	case MIME_CHARSET_ICONV:
		break;
	}
	return convert_iconv(c, data, len, out);
}

void mime_converter_push(struct mime_converter *c, const char *data, size_t len, struct str *out)
{
	if (len == 0)
		return;
	if (c->held.len > 0) {
		str_reset(&c->joined);
		str_append(&c->joined, c->held.data, c->held.len);
		str_append(&c->joined, data, len);
		out->failed |= c->joined.failed;
		data = str_cstr(&c->joined);
		len = c->joined.len;
		str_reset(&c->held);
	}
	size_t done = convert(c, data, len, false, out);
	str_append(&c->held, data + done, len - done);
	out->failed |= c->held.failed;
}

void mime_converter_end(struct mime_converter *c, struct str *out)
{
	size_t done = 0;

	if (c->held.len > 0)
		done = convert(c, c->held.data, c->held.len, true, out);
	if (done < c->held.len)
		str_append_cstr(out, REPLACEMENT);
	str_reset(&c->held);
	if (c->cd != (iconv_t)-1)
		flush_iconv(c, out);
	c->jis_mode = JIS_ASCII;
}

/* --- At once --- */

static int convert_guessed(const char *data, size_t len, struct str *out)
{
	if (utf8_valid(data, len))
		str_append(out, data, len);
	else
		convert_1252(data, len, out);
	return str_error(out);
}

void mime_converters_finish(struct mime_converters *converters)
{
	for (size_t i = 0; i < converters->count; i++)
		mime_converter_finish(&converters->items[i]);
	free(converters->items);
	*converters = (struct mime_converters){0};
}

/* The converter of a charset. -EINVAL: this machine has none. */
static int converters_get(struct mime_converters *converters, const struct mime_charset *charset,
	struct mime_converter **ret)
{
	for (size_t i = 0; i < converters->count; i++) {
		*ret = &converters->items[i];
		if ((*ret)->charset == charset)
			return charset->iconv_name && (*ret)->cd == (iconv_t)-1 ? -EINVAL : 0;
	}
	int r = array_grow(
		&converters->items, &converters->cap, converters->count + 1, sizeof(**ret));
	if (r < 0)
		return r;
	*ret = &converters->items[converters->count];
	r = mime_converter_init(*ret, charset);
	converters->count += r != -ENOMEM;
	return r;
}

int mime_charset_convert(struct mime_converters *converters, const struct mime_charset *charset,
	const char *data, size_t len, struct str *out)
{
	bool seven = charset && (charset->kind == MIME_CHARSET_ICONV_7BIT ||
					charset->kind == MIME_CHARSET_JIS);
	struct mime_converter *converter;

	if (!seven && ascii_run(data, len) == len) {
		str_append(out, data, len);
		return str_error(out);
	}
	if (!charset || charset->kind == MIME_CHARSET_ASCII)
		return convert_guessed(data, len, out);
	int r = converters_get(converters, charset, &converter);
	if (r == -EINVAL)
		return convert_guessed(data, len, out);
	if (r < 0)
		return r;
	mime_converter_push(converter, data, len, out);
	mime_converter_end(converter, out);
	return str_error(out);
}

int mime_charset_decode(const char *charset, const char *data, size_t len, struct str *out)
{
	const struct mime_charset *found =
		charset ? mime_charset_find(charset, strlen(charset)) : NULL;
	struct mime_converters converters = {0};
	int r = mime_charset_convert(&converters, found, data, len, out);

	mime_converters_finish(&converters);
	return r;
}
