/* SPDX-License-Identifier: MIT */
/*
 * Encoded words (RFC 2047), as they come and not as they should: anywhere in the text, without blanks between
 * them, of any length, with blanks inside, without padding. Neighbours of the same charset are one run: their
 * bytes are joined before the charset is looked at, because characters are split across them. What is not
 * a word stays as it is.
 *
 * Linear: the search for the end of a word stops where the next one begins, so no byte is looked at twice.
 */
#include <stdlib.h>
#include <string.h>

#include "private.h"

struct word {
	const char *charset, *text;
	size_t charset_len, text_len;
	char encoding; /* 'b' or 'q' */
	const char *end;
};

/* Words that belong together, and where their text goes. */
struct run {
	struct word *words;
	size_t count, cap;
	const struct mime_charset *charset;
	struct mime_converters converters;
	struct str *out;
	bool failed;
};

/* --- Finding a word --- */

static bool is_charset_char(char c)
{
	return ascii_is_alnum(c) || (c != 0 && strchr("-_.:+()", c) != NULL);
}

/* Where the text that starts at p is ended by "?="; NULL when another word begins, or nothing comes, before. */
static const char *text_end(const char *p, const char *end)
{
	for (; p + 1 < end; p++) {
		if (p[0] == '?' && p[1] == '=')
			return p;
		bool padding = p + 2 < end && p[2] == '='; /* "=?=" ends a word after a '=' */
		if (p[0] == '=' && p[1] == '?' && !padding)
			return NULL;
	}
	return NULL;
}

/* Parses the word at p, which begins with "=?". */
static bool word_parse(const char *p, const char *end, struct word *ret)
{
	struct word word = {.charset = p + 2};

	for (p += 2; p < end && is_charset_char(*p);)
		p++;
	word.charset_len = (size_t)(p - word.charset);
	if (p < end && *p == '*') /* a language, RFC 2231 §5 */
		while (p < end && (*p == '*' || is_charset_char(*p)))
			p++;
	if (word.charset_len == 0 || end - p < 3 || p[0] != '?' || p[2] != '?')
		return false;
	word.encoding = ascii_lower(p[1]);
	if (word.encoding != 'b' && word.encoding != 'q')
		return false;
	word.text = p + 3;
	const char *stop = text_end(word.text, end);
	if (!stop)
		return false;
	word.text_len = (size_t)(stop - word.text);
	word.end = stop + 2;
	*ret = word;
	return true;
}

size_t mime_word_span(const char *p, const char *end)
{
	struct word word;
	return word_parse(p, end, &word) ? (size_t)(word.end - p) : 0;
}

/* --- Decoding a run --- */

static void append_q(const char *text, size_t len, struct str *out)
{
	for (size_t i = 0; i < len; i++) {
		int high = i + 2 < len ? ascii_hex(text[i + 1]) : -1;
		int low = high >= 0 ? ascii_hex(text[i + 2]) : -1;
		if (text[i] == '=' && low >= 0) {
			str_putc(out, (char)(high << 4 | low));
			i += 2;
		} else {
			str_putc(out, text[i] == '_' ? ' ' : text[i]);
		}
	}
}

/* Whether a word ends inside a group in a way that missing padding does not explain. */
static bool is_split(const struct word *word)
{
	unsigned count = 0, last = 0;

	for (size_t i = 0; i < word->text_len; i++) {
		unsigned value = mime_base64_value((unsigned char)word->text[i]);
		if (word->text[i] == '=')
			return false;
		if (value < 64) {
			last = value;
			count = (count + 1) % 4;
		}
	}
	return count == 1 || (count == 2 && last & 0x0f) || (count == 3 && last & 0x03);
}

/* Some programs cut the base64 text anywhere, not between groups. One such word tells for its run. */
static bool run_is_split(const struct run *run)
{
	for (size_t i = 0; i + 1 < run->count; i++)
		if (run->words[i].encoding == 'b' && run->words[i + 1].encoding == 'b' &&
			is_split(&run->words[i]))
			return true;
	return false;
}

static void run_bytes(const struct run *run, struct str *bytes)
{
	bool split = run_is_split(run);
	struct mime_base64 base64 = {0};

	for (size_t i = 0; i < run->count; i++) {
		const struct word *word = &run->words[i];
		bool goes_on = split && i + 1 < run->count && run->words[i + 1].encoding == 'b';
		if (word->encoding == 'q') {
			append_q(word->text, word->text_len, bytes);
			continue;
		}
		mime_base64_push(&base64, word->text, word->text_len, bytes);
		if (!goes_on)
			mime_base64_end(&base64, bytes);
	}
}

static void run_flush(struct run *run)
{
	if (run->count == 0)
		return;
	_cleanup_str_ struct str bytes = STR_INIT;
	run_bytes(run, &bytes);
	if (bytes.failed || mime_charset_convert(&run->converters, run->charset, str_cstr(&bytes),
				    bytes.len, run->out) < 0)
		run->failed = true;
	run->count = 0;
}

/* UTF-7 can leave its shifted state open at the end of a word, so each word of it stands alone. */
static bool run_takes(
	const struct run *run, const struct word *word, const struct mime_charset *charset)
{
	const struct word *first = run->words;

	if (run->count == 0)
		return true;
	if (charset)
		return charset == run->charset && charset->kind != MIME_CHARSET_ICONV_7BIT;
	return !run->charset && first->charset_len == word->charset_len &&
	       strncasecmp(first->charset, word->charset, word->charset_len) == 0;
}

static void run_add(struct run *run, const struct word *word)
{
	const struct mime_charset *charset = mime_charset_find(word->charset, word->charset_len);

	if (!run_takes(run, word, charset))
		run_flush(run);
	if (array_grow(&run->words, &run->cap, run->count + 1, sizeof(*run->words)) < 0) {
		run->failed = true;
		return;
	}
	run->words[run->count++] = *word;
	run->charset = charset;
}

/* Text between words. Blanks between two of them are only there to separate them. */
static void run_gap(struct run *run, const char *text, size_t len)
{
	const char *rest = text;
	size_t rest_len = len;

	ascii_trim(&rest, &rest_len);
	if (run->count > 0 && rest_len == 0)
		return;
	run_flush(run);
	if (mime_charset_convert(&run->converters, NULL, text, len, run->out) < 0)
		run->failed = true;
}

/* Not by memmem(), of which a sanitizer has all that is left looked at each time. */
static const char *next_word(const char *p, const char *end)
{
	while (p < end && (p = memchr(p, '=', (size_t)(end - p)))) {
		if (++p < end && *p == '?')
			return p - 1;
	}
	return NULL;
}

static void decode(struct run *run, const char *value, const char *end)
{
	const char *gap = value, *p = value;
	struct word word;

	while ((p = next_word(p, end))) {
		if (!word_parse(p, end, &word)) {
			p += 2;
			continue;
		}
		run_gap(run, gap, (size_t)(p - gap));
		run_add(run, &word);
		gap = p = word.end;
	}
	run_flush(run);
	run_gap(run, gap, (size_t)(end - gap));
}

void mime_text_clean(struct str *text, size_t offset)
{
	size_t to = offset;

	if (!text->data)
		return;
	for (size_t i = offset; i < text->len; i++, to++) {
		unsigned char c = (unsigned char)text->data[i];
		bool c1 = c == 0xc2 && (unsigned char)text->data[i + 1] < 0xa0;
		if (c1)
			i++;
		text->data[to] = c < 0x20 || c == 0x7f || c1 ? ' ' : (char)c;
	}
	str_truncate(text, to);
}

int mime_words_decode(const char *value, size_t len, struct str *out)
{
	struct run run = {.out = out};
	size_t start = out->len;

	if (len > 0)
		decode(&run, value, value + len);
	free(run.words);
	mime_converters_finish(&run.converters);
	mime_text_clean(out, start);
	out->failed |= run.failed;
	return str_error(out);
}
