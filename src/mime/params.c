/* SPDX-License-Identifier: MIT */
/*
 * Parameters of a media type or a disposition (RFC 2045 §5.1), and what RFC 2231 made of them: values in pieces
 * (name*0, name*1), in a charset and percent signs (name*), or both (name*0*). Here belongs too what
 * programs do against the rules: encoded words in values, unquoted values with blanks.
 *
 * Which one counts, when a name is there several times: name*, else the pieces, else the plain one; of equals the first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "private.h"

static void param_finish(struct mime_param *param)
{
	free(param->name);
	free(param->value);
}

void mime_params_finish(struct mime_params *params)
{
	for (size_t i = 0; i < params->count; i++)
		param_finish(&params->items[i]);
	free(params->items);
	*params = (struct mime_params){0};
}

/* A copy as a C string; a NUL inside it becomes a blank. */
static char *copy_text(const char *text, size_t len)
{
	char *copy = malloc(len + 1);

	if (!copy)
		return NULL;
	for (size_t i = 0; i < len; i++)
		copy[i] = text[i] ? text[i] : ' ';
	copy[len] = 0;
	return copy;
}

/* Makes room for one more. The capacity is the power of two that count has reached. */
static int params_grow(struct mime_params *params)
{
	size_t count = params->count;

	if (count & (count - 1))
		return 0;
	struct mime_param *items =
		reallocarray(params->items, count ? count * 2 : 1, sizeof(*items));
	if (!items)
		return -ENOMEM;
	params->items = items;
	return 0;
}

int mime_params_add(struct mime_params *params, const char *name, size_t name_len,
	const char *value, size_t value_len)
{
	if (params->count >= MIME_PARAMS_MAX) {
		params->cut = true;
		return 0;
	}
	struct mime_param param = {copy_text(name, name_len), copy_text(value, value_len)};
	if (!param.name || !param.value || params_grow(params) < 0) {
		param_finish(&param);
		return -ENOMEM;
	}
	for (char *p = param.name; *p; p++)
		*p = ascii_lower(*p);
	params->items[params->count++] = param;
	return 0;
}

const char *mime_params_get(const struct mime_params *params, const char *name)
{
	for (size_t i = 0; i < params->count; i++)
		if (strcmp(params->items[i].name, name) == 0)
			return params->items[i].value;
	return NULL;
}

/* --- Parsing --- */

void mime_scan_skip(struct mime_scan *s, bool semicolons)
{
	size_t depth = 0;

	for (; s->p < s->end; s->p++) {
		if (*s->p == '(')
			depth++;
		else if (*s->p == ')' && depth > 0)
			depth--;
		else if (depth == 0 && !(semicolons && *s->p == ';') && !ascii_is_space(*s->p))
			return;
		else if (*s->p == '\\' && s->p + 1 < s->end)
			s->p++;
	}
}

static void skip_spaces(struct mime_scan *s)
{
	while (s->p < s->end && ascii_is_space(*s->p))
		s->p++;
}

static void skip_to_semicolon(struct mime_scan *s)
{
	const char *p = memchr(s->p, ';', (size_t)(s->end - s->p));
	s->p = p ? p : s->end;
}

static void scan_name(struct mime_scan *s, const char **name, size_t *len)
{
	*name = s->p;
	while (s->p < s->end && *s->p != '=' && *s->p != ';')
		s->p++;
	*len = (size_t)(s->p - *name);
	ascii_trim(name, len);
}

/*
 * "value": a backslash escapes a quote or itself only, because file names with a path in them are written
 * without escaping it. Folded line ends vanish.
 */
static void scan_quoted(struct mime_scan *s, struct str *value)
{
	for (s->p++; s->p < s->end && *s->p != '"'; s->p++) {
		bool escape =
			*s->p == '\\' && s->p + 1 < s->end && (s->p[1] == '"' || s->p[1] == '\\');
		if (escape)
			s->p++;
		if (*s->p != '\r' && *s->p != '\n')
			str_putc(value, *s->p);
	}
	skip_to_semicolon(s);
}

/* A value without quotes: all up to the semicolon; tokens: as it is right, up to a blank or a comment. */
static void scan_bare(struct mime_scan *s, bool tokens, struct str *value)
{
	const char *text = s->p;

	skip_to_semicolon(s);
	size_t len = (size_t)(s->p - text);
	ascii_trim(&text, &len);
	for (size_t i = 0; tokens && i < len; i++)
		if (ascii_is_space(text[i]) || text[i] == '(')
			len = i;
	for (size_t i = 0; i < len; i++)
		if (text[i] != '\r' && text[i] != '\n')
			str_putc(value, text[i]);
}

static int params_parse(const char *text, size_t len, bool tokens, struct mime_params *params)
{
	struct mime_scan s = {text, text + len};
	_cleanup_str_ struct str value = STR_INIT;

	if (len == 0)
		return 0;
	for (mime_scan_skip(&s, true); s.p < s.end; mime_scan_skip(&s, true)) {
		const char *name;
		size_t name_len;
		scan_name(&s, &name, &name_len);
		if (s.p == s.end || *s.p != '=')
			continue;
		s.p++;
		skip_spaces(&s);
		str_reset(&value);
		if (s.p < s.end && *s.p == '"')
			scan_quoted(&s, &value);
		else
			scan_bare(&s, tokens, &value);
		int r = str_error(&value);
		if (r == 0 && name_len > 0)
			r = mime_params_add(params, name, name_len, str_cstr(&value), value.len);
		if (r < 0)
			return r;
	}
	return 0;
}

int mime_params_parse(const char *text, size_t len, struct mime_params *params)
{
	return params_parse(text, len, false, params);
}

int mime_params_parse_tokens(const char *text, size_t len, struct mime_params *params)
{
	return params_parse(text, len, true, params);
}

/* --- Joining (RFC 2231 §3 and §4) --- */

#define WHOLE (-1)

/* name, name*, name*7, name*7* */
struct key {
	const struct mime_param *param;
	size_t base_len;
	int piece; /* its number, or WHOLE */
	bool extended;
};

/* The keys of one base, by piece, equals in the order in which they came. */
struct group {
	const struct key *keys;
	size_t count;
	const struct mime_param *first; /* that came */
};

static struct key key_parse(const struct mime_param *param)
{
	const char *name = param->name;
	struct key key = {param, strlen(name), WHOLE, false};
	size_t len = key.base_len;

	if (len > 1 && name[len - 1] == '*') {
		key.extended = true;
		key.base_len = --len;
	}
	size_t digits = len;
	while (digits > 0 && ascii_is_digit(name[digits - 1]))
		digits--;
	if (digits < len && len - digits <= 4 && digits > 1 && name[digits - 1] == '*') {
		key.piece = atoi(name + digits);
		key.base_len = digits - 1;
	}
	return key;
}

static void append_percent(const char *text, struct str *out)
{
	for (; *text; text++) {
		int high = *text == '%' ? ascii_hex(text[1]) : -1;
		int low = high >= 0 ? ascii_hex(text[2]) : -1;
		if (low >= 0) {
			str_putc(out, (char)(high << 4 | low));
			text += 2;
		} else {
			str_putc(out, *text);
		}
	}
}

/* Splits charset'language'text; without its two quotes all of it is text. */
static const char *split_charset(const char *value, struct str *charset)
{
	const char *first = strchr(value, '\'');
	const char *second = first ? strchr(first + 1, '\'') : NULL;

	if (!second)
		return value;
	str_append(charset, value, (size_t)(first - value));
	return second + 1;
}

struct joined {
	struct str bytes, charset;
	bool extended;
};

static void joined_add(struct joined *j, const struct mime_param *param, bool extended, bool first)
{
	const char *value = param->value;

	if (extended && first)
		value = split_charset(value, &j->charset);
	if (extended)
		append_percent(value, &j->bytes);
	else
		str_append_cstr(&j->bytes, value);
	j->extended |= extended;
}

/* The first key with that piece, from *at on, which is moved behind all of them; NULL: there is none. */
static const struct key *piece_take(const struct group *group, int piece, size_t *at)
{
	const struct key *found = NULL;

	while (*at < group->count && group->keys[*at].piece < piece)
		*at += 1;
	for (; *at < group->count && group->keys[*at].piece == piece; *at += 1)
		if (!found)
			found = &group->keys[*at];
	return found;
}

/* Collects the pieces until one is missing. Some count from 1. */
static bool join_pieces(const struct group *group, struct joined *j)
{
	size_t at = 0;
	const struct key *key = piece_take(group, 0, &at);
	int first = key ? 0 : 1, piece = first;

	if (!key)
		key = piece_take(group, 1, &at);
	for (; key; key = piece_take(group, ++piece, &at))
		joined_add(j, key->param, key->extended, piece == first);
	return piece > first;
}

/* The first whole value; extended: that is written so. NULL: there is none. */
static const struct key *whole_find(const struct group *group, bool extended)
{
	for (size_t i = 0; i < group->count && group->keys[i].piece == WHOLE; i++)
		if (group->keys[i].extended || !extended)
			return &group->keys[i];
	return NULL;
}

static void join_value(const struct group *group, struct joined *j)
{
	const struct key *key = whole_find(group, true);

	if (!key && join_pieces(group, j))
		return;
	if (!key)
		key = whole_find(group, false);
	if (key)
		joined_add(j, key->param, key->extended, true);
}

static int join_decode(const struct joined *j, struct str *out)
{
	const char *charset = j->charset.len > 0 ? str_cstr(&j->charset) : NULL;

	if (!j->extended)
		return mime_words_decode(str_cstr(&j->bytes), j->bytes.len, out);
	int r = mime_charset_decode(charset, str_cstr(&j->bytes), j->bytes.len, out);
	mime_text_clean(out, 0);
	return r;
}

/* Adds what a name is, all its parameters taken together, to joined. */
static int join_group(const struct group *group, struct mime_params *joined)
{
	struct joined j = {0};
	_cleanup_str_ struct str value = STR_INIT;

	join_value(group, &j);
	int r = j.bytes.failed || j.charset.failed ? -ENOMEM : join_decode(&j, &value);
	if (r == 0)
		r = mime_params_add(joined, group->keys->param->name, group->keys->base_len,
			str_cstr(&value), value.len);
	str_finish(&j.bytes);
	str_finish(&j.charset);
	return r;
}

static int base_compare(const struct key *a, const struct key *b)
{
	size_t len = a->base_len < b->base_len ? a->base_len : b->base_len;
	int r = memcmp(a->param->name, b->param->name, len);

	return r ? r : (a->base_len > b->base_len) - (a->base_len < b->base_len);
}

/* By name, by piece, and as they came. */
static int key_compare(const void *left, const void *right)
{
	const struct key *a = left, *b = right;
	int r = base_compare(a, b);

	if (r == 0)
		r = (a->piece > b->piece) - (a->piece < b->piece);
	return r ? r : (a->param > b->param) - (a->param < b->param);
}

static int group_compare(const void *left, const void *right)
{
	const struct group *a = left, *b = right;
	return (a->first > b->first) - (a->first < b->first);
}

/* Cuts sorted keys into groups, in the order in which their names came. How many. */
static size_t groups_make(const struct key *keys, size_t count, struct group *groups)
{
	size_t made = 0;

	for (size_t i = 0; i < count; i++) {
		if (i == 0 || base_compare(&keys[i - 1], &keys[i]) != 0)
			groups[made++] = (struct group){&keys[i], 0, keys[i].param};
		struct group *group = &groups[made - 1];
		group->count++;
		if (keys[i].param < group->first)
			group->first = keys[i].param;
	}
	qsort(groups, made, sizeof(*groups), group_compare);
	return made;
}

static int join_all(const struct mime_params *params, struct mime_params *joined)
{
	_cleanup_free_ struct key *keys = calloc(params->count, sizeof(*keys));
	_cleanup_free_ struct group *groups = calloc(params->count, sizeof(*groups));
	int r = 0;

	if (!keys || !groups)
		return -ENOMEM;
	for (size_t i = 0; i < params->count; i++)
		keys[i] = key_parse(&params->items[i]);
	qsort(keys, params->count, sizeof(*keys), key_compare);
	size_t count = groups_make(keys, params->count, groups);
	for (size_t i = 0; i < count && r == 0; i++)
		r = join_group(&groups[i], joined);
	return r;
}

int mime_params_join(struct mime_params *params)
{
	struct mime_params joined = {.cut = params->cut};
	int r = params->count > 0 ? join_all(params, &joined) : 0;

	if (r < 0) {
		mime_params_finish(&joined);
		return r;
	}
	mime_params_finish(params);
	*params = joined;
	return 0;
}
