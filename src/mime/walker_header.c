/* SPDX-License-Identifier: MIT */
/*
 * What the header of a part says of it (RFC 2045), as servers write it into BODYSTRUCTURE: of each field the first
 * one counts; without a type it is text/plain, in a multipart/digest message/rfc822 (RFC 2046 §5.1.5). So it is, too, when
 * the type can not be read (RFC 2045 §5.2). A message that has neither a type nor a MIME-Version is none of MIME's: its
 * other fields do not count. A part of a multipart always is.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "walker.h"

#define TOKEN_MAX  127 /* RFC 6838 §4.2 */
#define PARAM_COST 64  /* bytes that a parameter counts in addition to its text */

const char *const mime_content_fields[MIME_CONTENT_FIELDS] = {
	"content-type", "content-transfer-encoding", "content-disposition", "mime-version"};

static bool is_token(char c)
{
	return (unsigned char)c > ' ' && c != 0x7f && !strchr("()<>@,;:\\\"/[]?=", c);
}

/* Takes a token and the blanks around it, in lower case. *ret is NULL: there is none, or it is too long. -ENOMEM. */
static int token_take(struct mime_scan *s, char **ret)
{
	mime_scan_skip(s, false);
	const char *start = s->p;
	while (s->p < s->end && is_token(*s->p))
		s->p++;
	size_t len = (size_t)(s->p - start);
	mime_scan_skip(s, false);
	*ret = NULL;
	if (len == 0 || len > TOKEN_MAX)
		return 0;
	char *token = strndup(start, len);
	if (!token)
		return -ENOMEM;
	for (char *c = token; *c; c++)
		*c = ascii_lower(*c);
	*ret = token;
	return 0;
}

static int text_set(char **text, const char *value)
{
	char *copy = strdup(value);

	if (!copy)
		return -ENOMEM;
	free(*text);
	*text = copy;
	return 0;
}

/* The first field of that name. *ret_found: it is there, and the message has not had too many of them. */
static int field_get(const char *header, size_t len, const char *name, struct mime_content *content,
	struct str *value, bool *ret_found)
{
	str_reset(value);
	int r = mime_header_get(header, len, name, value);
	*ret_found = r == 0 && value->len <= *content->fields_left;
	if (*ret_found)
		*content->fields_left -= value->len;
	content->cut |= r == 0 && !*ret_found;
	return r == -ENOMEM ? r : 0;
}

/* A parameter of one byte takes many in memory, so they are counted as well. */
static int params_read(
	const struct mime_scan *s, struct mime_content *content, struct mime_params *params)
{
	int r = mime_params_parse(s->p, (size_t)(s->end - s->p), params);
	size_t cost = params->count * PARAM_COST;

	*content->fields_left -= cost < *content->fields_left ? cost : *content->fields_left;
	return r < 0 ? r : mime_params_join(params);
}

/* --- Content-Type --- */

static int type_default(struct mime_part *part, bool digest)
{
	int r = text_set(&part->type, digest ? "message" : "text");
	return r < 0 ? r : text_set(&part->subtype, digest ? "rfc822" : "plain");
}

/*
 * The boundary is bytes, not text: it is taken as it stands, unless it is written by RFC 2231. Without quotes it ends at a
 * blank; a file name does not, hence the second look.
 */
static int boundary_read(
	const struct mime_scan *s, const struct mime_part *part, struct str *boundary)
{
	struct mime_params raw = {0};
	int r = mime_params_parse_tokens(s->p, (size_t)(s->end - s->p), &raw);
	const char *value = mime_params_get(&raw, "boundary");

	if (!value)
		value = mime_params_get(&part->params, "boundary");
	size_t len = value ? strlen(value) : 0;
	while (len > 0 && ascii_is_space(value[len - 1]))
		len--;
	str_append(boundary, value, len);
	mime_params_finish(&raw);
	return r < 0 ? r : str_error(boundary);
}

static int type_read(struct mime_scan *s, struct mime_content *content, struct mime_part *part)
{
	int r = token_take(s, &part->type);

	if (r == 0 && part->type && s->p < s->end && *s->p == '/') {
		s->p++;
		r = token_take(s, &part->subtype);
	}
	if (r == 0 && (!part->type || !part->subtype))
		return type_default(part, false);
	if (r == 0)
		r = params_read(s, content, &part->params);
	if (r == 0 && mime_part_is_multipart(part))
		r = boundary_read(s, part, &content->boundary);
	return r;
}

/* --- The others --- */

/* A field of which only one token makes sense; anything behind it, and it is as if it were not there. */
static int encoding_read(const struct str *value, struct mime_part *part)
{
	struct mime_scan s = {str_cstr(value), str_cstr(value) + value->len};
	int r = token_take(&s, &part->encoding);

	if (r == 0 && part->encoding && s.p < s.end) {
		free(part->encoding);
		part->encoding = NULL;
	}
	return r;
}

static int disposition_read(
	const struct str *value, struct mime_content *content, struct mime_part *part)
{
	struct mime_scan s = {str_cstr(value), str_cstr(value) + value->len};
	int r = token_take(&s, &part->disposition);

	return r < 0 ? r : params_read(&s, content, &part->disposition_params);
}

/* The fields that count only where there is MIME. */
static int others_read(
	const char *header, size_t len, struct mime_content *content, struct mime_part *part)
{
	_cleanup_str_ struct str value = STR_INIT;
	bool found;
	int r = field_get(header, len, "Content-Transfer-Encoding", content, &value, &found);

	if (r == 0 && found)
		r = encoding_read(&value, part);
	if (r == 0)
		r = field_get(header, len, "Content-Disposition", content, &value, &found);
	if (r == 0 && found)
		r = disposition_read(&value, content, part);
	return r;
}

int mime_content_read(
	const char *header, size_t len, struct mime_content *content, struct mime_part *part)
{
	_cleanup_str_ struct str value = STR_INIT;
	bool found, mime = content->in_multipart;
	int r = field_get(header, len, "Content-Type", content, &value, &found);

	mime |= found;
	struct mime_scan s = {str_cstr(&value), str_cstr(&value) + value.len};
	if (r == 0)
		r = found ? type_read(&s, content, part) : type_default(part, content->in_digest);
	if (r == 0 && !mime)
		r = field_get(header, len, "MIME-Version", content, &value, &mime);
	if (r == 0 && mime)
		r = others_read(header, len, content, part);
	if (r == 0 && !part->encoding)
		r = text_set(&part->encoding, "");
	if (content->cut || part->params.cut || part->disposition_params.cut)
		part->cut |= MIME_CUT_HEADER;
	return r;
}
