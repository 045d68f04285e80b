/* SPDX-License-Identifier: MIT */
/*
 * The structure of a message, and its compact form for the store.
 *
 * The form: a version byte, then the root part. A part is its strings (type, subtype, encoding, disposition),
 * its two parameter lists, its size, where it stands in the message (0: not known, or 1 and three numbers), what was cut of
 * it, its number of children, and these. A string is its length plus one (0: NULL) and
 * its bytes; numbers have 7 bits to the byte, lowest first, no longer than needed: so that each tree
 * has one form, and a form that was tampered with is either refused or another tree's own.
 *
 * Deeper than MIME_DEPTH_MAX and beyond MIME_PARTS_MAX a tree is cut off when it is written, and refused when it is read.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

#define VERSION 3 /* 1 did not say where a part stands, 2 not what was cut */
/* The least bytes of a part: four strings, two lists, size, place, cut and number of children. */
#define PART_BYTES_MIN 10
#define CUT_ALL        ((MIME_CUT_LENGTH << 1) - 1)

struct mime_part *mime_part_create(void)
{
	return calloc(1, sizeof(struct mime_part));
}

static void part_free(struct mime_part *part)
{
	free(part->type);
	free(part->subtype);
	mime_params_finish(&part->params);
	free(part->disposition);
	mime_params_finish(&part->disposition_params);
	free(part->encoding);
	free(part->children);
	free(part);
}

/*
 * Without recursion, since a tree can be of any depth here: on the way down the slot of the last child holds the
 * way back up, and is given up when the child is gone.
 */
void mime_part_destroy(struct mime_part *part)
{
	struct mime_part *up = NULL;

	while (part) {
		if (part->child_count > 0) {
			struct mime_part **slot = &part->children[part->child_count - 1];
			struct mime_part *child = *slot;
			*slot = up;
			up = part;
			part = child;
			continue;
		}
		part_free(part);
		part = up;
		if (part)
			up = part->children[--part->child_count];
	}
}

int mime_part_add_child(struct mime_part *part, struct mime_part *child)
{
	size_t count = part->child_count;

	if (!(count & (count - 1))) { /* the capacity is the power of two that count has reached */
		struct mime_part **children = reallocarray(
			part->children, count ? count * 2 : 1, sizeof(struct mime_part *));
		if (!children) {
			mime_part_destroy(child);
			return -ENOMEM;
		}
		part->children = children;
	}
	part->children[part->child_count++] = child;
	return 0;
}

static bool text_is(const char *text, const char *lower)
{
	return text && strcmp(text, lower) == 0;
}

bool mime_part_is_multipart(const struct mime_part *part)
{
	return text_is(part->type, "multipart");
}

bool mime_part_is_message(const struct mime_part *part)
{
	return text_is(part->type, "message") &&
	       (text_is(part->subtype, "rfc822") || text_is(part->subtype, "global")) &&
	       part->child_count > 0 &&
	       mime_encoding_parse(part->encoding) == MIME_ENCODING_IDENTITY;
}

unsigned mime_part_cuts(const struct mime_part *part)
{
	unsigned cuts =
		part->cut |
		(part->params.cut || part->disposition_params.cut ? (unsigned)MIME_CUT_HEADER : 0);

	for (size_t i = 0; i < part->child_count; i++)
		cuts |= mime_part_cuts(part->children[i]);
	return cuts;
}

/* --- Writing --- */

static void put_number(struct str *out, uint64_t n)
{
	for (; n >= 0x80; n >>= 7)
		str_putc(out, (char)(0x80 | (n & 0x7f)));
	str_putc(out, (char)n);
}

static void put_text(struct str *out, const char *text)
{
	size_t len = text ? strlen(text) : 0;

	put_number(out, text ? len + 1 : 0);
	if (text)
		str_append(out, text, len);
}

static void put_params(struct str *out, const struct mime_params *params)
{
	size_t count = params->count < MIME_PARAMS_MAX ? params->count : MIME_PARAMS_MAX;

	put_number(out, count);
	for (size_t i = 0; i < count; i++) {
		put_text(out, params->items[i].name);
		put_text(out, params->items[i].value);
	}
}

static void put_place(struct str *out, const struct mime_part *part)
{
	put_number(out, part->located);
	if (!part->located)
		return;
	put_number(out, part->header_offset);
	put_number(out, part->header_bytes);
	put_number(out, part->offset);
}

/* How many children are written, and in *cut, too, that there are more. */
static size_t children_limit(
	const struct mime_part *part, unsigned depth, const size_t *left, unsigned *cut)
{
	size_t count = part->child_count;

	if (depth + 1 >= MIME_DEPTH_MAX && count > 0) {
		*cut |= MIME_CUT_DEPTH;
		return 0;
	}
	if (count > *left)
		*cut |= MIME_CUT_COUNT;
	return count < *left ? count : *left;
}

/* Writes part and what is below it; left: how many more parts the limit allows. */
static void put_part(struct str *out, const struct mime_part *part, unsigned depth, size_t *left)
{
	unsigned cut = part->cut;
	size_t count = children_limit(part, depth, left, &cut);

	if (part->params.cut || part->disposition_params.cut)
		cut |= MIME_CUT_HEADER;
	*left -= count;
	put_text(out, part->type);
	put_text(out, part->subtype);
	put_text(out, part->encoding);
	put_text(out, part->disposition);
	put_params(out, &part->params);
	put_params(out, &part->disposition_params);
	put_number(out, part->size_bytes);
	put_place(out, part);
	put_number(out, cut);
	put_number(out, count);
	for (size_t i = 0; i < count; i++)
		put_part(out, part->children[i], depth + 1, left);
}

int mime_part_serialize(const struct mime_part *part, struct str *out)
{
	size_t left = MIME_PARTS_MAX - 1;

	str_putc(out, VERSION);
	put_part(out, part, 0, &left);
	return str_error(out);
}

/* --- Reading --- */

struct reader {
	const unsigned char *p, *end;
	size_t parts_left;
};

static int get_number(struct reader *r, uint64_t *ret)
{
	uint64_t n = 0;

	for (unsigned shift = 0; r->p < r->end && shift < 64; shift += 7) {
		unsigned char c = *r->p++;
		if (shift == 63 && c > 1)
			return -EINVAL;
		n |= (uint64_t)(c & 0x7f) << shift;
		if (c & 0x80)
			continue;
		if (c == 0 && shift > 0)
			return -EINVAL;
		*ret = n;
		return 0;
	}
	return -EINVAL;
}

static int get_text(struct reader *r, char **ret)
{
	uint64_t n;

	if (get_number(r, &n) < 0)
		return -EINVAL;
	if (n == 0)
		return 0;
	size_t len = (size_t)(n - 1);
	if (n - 1 > (uint64_t)(r->end - r->p) || memchr(r->p, 0, len))
		return -EINVAL;
	*ret = strndup((const char *)r->p, len);
	r->p += len;
	return *ret ? 0 : -ENOMEM;
}

static int get_param(struct reader *r, struct mime_params *params)
{
	char *name = NULL, *value = NULL;
	int e = get_text(r, &name);

	if (e == 0)
		e = get_text(r, &value);
	if (e == 0 && (!name || !value))
		e = -EINVAL;
	for (const char *c = name; e == 0 && *c; c++)
		if (ascii_lower(*c) != *c)
			e = -EINVAL;
	if (e == 0)
		e = mime_params_add(params, name, strlen(name), value, strlen(value));
	free(name);
	free(value);
	return e;
}

static int get_params(struct reader *r, struct mime_params *params)
{
	uint64_t count;

	if (get_number(r, &count) < 0 || count > MIME_PARAMS_MAX)
		return -EINVAL;
	int e = 0;
	for (uint64_t i = 0; i < count && e == 0; i++)
		e = get_param(r, params);
	return e;
}

static bool overflows(uint64_t offset, uint64_t bytes)
{
	return bytes > UINT64_MAX - offset;
}

static int get_place(struct reader *r, struct mime_part *part)
{
	uint64_t located;

	if (get_number(r, &located) < 0 || located > 1)
		return -EINVAL;
	part->located = located;
	if (!located)
		return 0;
	if (get_number(r, &part->header_offset) < 0 || get_number(r, &part->header_bytes) < 0 ||
		get_number(r, &part->offset) < 0 ||
		overflows(part->header_offset, part->header_bytes) ||
		overflows(part->offset, part->size_bytes))
		return -EINVAL;
	return 0;
}

static int get_cut(struct reader *r, struct mime_part *part)
{
	uint64_t cut;

	if (get_number(r, &cut) < 0 || cut & ~(uint64_t)CUT_ALL)
		return -EINVAL;
	part->cut = (unsigned)cut;
	return 0;
}

static int get_fields(struct reader *r, struct mime_part *part)
{
	char **texts[] = {&part->type, &part->subtype, &part->encoding, &part->disposition};
	int e = 0;

	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts) && e == 0; i++)
		e = get_text(r, texts[i]);
	if (e == 0)
		e = get_params(r, &part->params);
	if (e == 0)
		e = get_params(r, &part->disposition_params);
	if (e == 0)
		e = get_number(r, &part->size_bytes);
	if (e == 0)
		e = get_place(r, part);
	if (e == 0)
		e = get_cut(r, part);
	return e;
}

static int get_part(struct reader *r, unsigned depth, struct mime_part *part)
{
	uint64_t count = 0;
	int e = get_fields(r, part);

	if (e == 0)
		e = get_number(r, &count);
	if (e < 0)
		return e;
	if (count > r->parts_left || count > (uint64_t)(r->end - r->p) / PART_BYTES_MIN ||
		(count > 0 && depth + 1 >= MIME_DEPTH_MAX))
		return -EINVAL;
	r->parts_left -= (size_t)count;
	for (uint64_t i = 0; i < count && e == 0; i++) {
		struct mime_part *child = mime_part_create();
		if (!child)
			return -ENOMEM;
		e = mime_part_add_child(part, child);
		if (e == 0)
			e = get_part(r, depth + 1, child);
	}
	return e;
}

int mime_part_parse(const char *data, size_t len, struct mime_part **ret)
{
	if (len == 0 || *data != VERSION)
		return -EINVAL;
	struct reader r = {(const unsigned char *)data + 1, (const unsigned char *)data + len,
		MIME_PARTS_MAX - 1};
	struct mime_part *part = mime_part_create();
	int e = part ? get_part(&r, 0, part) : -ENOMEM;
	if (e == 0 && r.p != r.end)
		e = -EINVAL;
	if (e < 0) {
		mime_part_destroy(part);
		return e;
	}
	*ret = part;
	return 0;
}
