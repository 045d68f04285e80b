/* SPDX-License-Identifier: MIT */
/*
 * The structure of a message, found line by line as its bytes come (RFC 2045, RFC 2046 §5.1).
 *
 * The parts that are open form a path from the message to the part that the next line belongs to. The fields of a header that tell
 * of the part are kept until the header ends, wherever in it they stand; of any other line only what a boundary could be. Nothing is decided before a line is complete, so
 * where the input is cut makes no difference.
 *
 * Boundaries. A line is one when it begins with "--" and the boundary of an open multipart; what is behind it is not looked at
 * (RFC 2046 §5.1.1), but for the "--" that closes. Of several that fit, the one counts that is the whole line, else the longest, else
 * the innermost: there are messages in which one is the beginning of another. A boundary ends all parts inside of its multipart,
 * also in the middle of a header; the line end before it is its own, also if that is the empty line behind a header. What
 * stands before the first and behind the last belongs to no part. Where the message ends, all ends.
 *
 * A multipart without any part has one, empty text, as servers write it; one that can not be taken apart (no boundary or one
 * that is too long, too deep) is a leaf of unknown type, so that nothing is hidden. Once there are MIME_PARTS_MAX parts,
 * and another would come, no boundary counts any more: the rest belongs to the last part. What is cut in one of these ways is noted in the part.
 *
 * Memory: FIELD_MAX bytes of each of these fields of one header, MIME_PARTS_MAX parts, and FIELDS_MAX bytes of what their fields say. Fields
 * beyond that are not looked at.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "walker.h"

#define FIELD_MAX    (256 * 1024)
#define FIELDS_MAX   (4 * 1024 * 1024)
#define BOUNDARY_MAX 250 /* RFC 2046 allows 70 */
#define HEAD_MAX     (BOUNDARY_MAX + 8)

/* A part that is open. */
struct level {
	struct mime_part *part;
	bool splits; /* a multipart whose boundary is known */
	bool digest;
	bool closed; /* its last boundary has been there */
	size_t boundary_len;
	char boundary[BOUNDARY_MAX];
};

struct mime_walker {
	int error;
	struct mime_part *root;
	struct level levels[MIME_DEPTH_MAX];
	size_t depth;       /* how many are open; the last one gets the next line */
	size_t boundaries;  /* how many of them have a boundary that can come */
	size_t parts;       /* including one for each multipart that may have none */
	size_t fields_left; /* see FIELDS_MAX */
	bool full;          /* a boundary has come when there were MIME_PARTS_MAX parts */
	bool in_header;
	struct mime_fields fields; /* of that header */

	uint64_t position;   /* behind what has been taken */
	uint64_t line_start; /* of the line that has begun */
	size_t line_end;     /* bytes of the line end before it */
	size_t head_len;
	char head[HEAD_MAX]; /* its first bytes */
	char last;           /* the last byte taken */
};

/* --- Opening and closing --- */

static struct level *innermost(struct mime_walker *w)
{
	return &w->levels[w->depth - 1];
}

/* A part whose header begins here, inside of the innermost one. */
static int part_open(struct mime_walker *w, uint64_t start)
{
	struct mime_part *part = mime_part_create();

	if (!part)
		return -ENOMEM;
	if (w->depth > 0 && mime_part_add_child(innermost(w)->part, part) < 0)
		return -ENOMEM;
	if (w->depth == 0)
		w->root = part;
	w->levels[w->depth++] = (struct level){.part = part};
	part->located = true;
	part->header_offset = start;
	w->in_header = true;
	mime_fields_reset(&w->fields);
	return 0;
}

/* An empty text at the end of a multipart that has nothing. It was counted when that was opened. */
static int part_add_empty(struct mime_part *multipart, uint64_t end)
{
	struct mime_part *part = mime_part_create();

	if (!part)
		return -ENOMEM;
	part->located = true;
	part->header_offset = part->offset = end;
	part->type = strdup("text");
	part->subtype = strdup("plain");
	part->encoding = strdup("");
	bool failed = !part->type || !part->subtype || !part->encoding;
	return mime_part_add_child(multipart, part) < 0 || failed ? -ENOMEM : 0;
}

/* Takes back what is behind end, which the last line end can be: also from a header, or the header of an empty message. */
static void part_cut(struct mime_part *part, uint64_t end)
{
	if (part->header_offset > end)
		part->header_offset = end;
	if (part->offset > end)
		part->offset = end;
	part->header_bytes = part->offset - part->header_offset;
	part->size_bytes = end - part->offset;
}

/* Ends the innermost part. */
static int part_close(struct mime_walker *w, uint64_t end)
{
	struct level *level = innermost(w);
	int r = 0;

	part_cut(level->part, end);
	if (level->splits && level->part->child_count == 0)
		r = part_add_empty(level->part, end);
	if (level->splits && !level->closed)
		w->boundaries--;
	w->depth--;
	return r;
}

/* --- The end of a header --- */

static int part_make_unknown(struct mime_part *part)
{
	free(part->type);
	free(part->subtype);
	part->type = strdup("application");
	part->subtype = strdup("octet-stream");
	return part->type && part->subtype ? 0 : -ENOMEM;
}

static bool can_have_parts(const struct mime_walker *w)
{
	return w->depth < MIME_DEPTH_MAX && w->parts + 1 < MIME_PARTS_MAX;
}

/* Why it can not. */
static unsigned cut_here(const struct mime_walker *w)
{
	return w->depth < MIME_DEPTH_MAX ? MIME_CUT_COUNT : MIME_CUT_DEPTH;
}

static int multipart_begin(struct mime_walker *w, struct level *level, const struct str *boundary)
{
	if (boundary->len > BOUNDARY_MAX)
		level->part->cut |= MIME_CUT_BOUNDARY;
	else if (boundary->len > 0 && !can_have_parts(w))
		level->part->cut |= cut_here(w);
	if (boundary->len == 0 || boundary->len > BOUNDARY_MAX || !can_have_parts(w))
		return part_make_unknown(level->part);
	level->part->encoding[0] = 0; /* it means nothing, and BODYSTRUCTURE does not tell it */
	level->splits = true;
	level->digest = strcmp(level->part->subtype, "digest") == 0;
	level->boundary_len = boundary->len;
	memcpy(level->boundary, boundary->data, level->boundary_len);
	w->boundaries++;
	w->parts++; /* its first part */
	return 0;
}

static bool is_plain_message(const struct mime_part *part)
{
	return strcmp(part->type, "message") == 0 &&
	       (strcmp(part->subtype, "rfc822") == 0 || strcmp(part->subtype, "global") == 0) &&
	       mime_encoding_parse(part->encoding) == MIME_ENCODING_IDENTITY;
}

/* The part's header has been there; its body, if it has one, begins at the next line. */
static int header_end(struct mime_walker *w, uint64_t next)
{
	struct level *level = innermost(w), *outer = w->depth > 1 ? level - 1 : NULL;
	struct mime_content content = {.in_multipart = outer && outer->splits,
		.in_digest = outer && outer->digest,
		.fields_left = &w->fields_left,
		.cut = w->fields.cut};
	struct mime_part *part = level->part;

	w->in_header = false;
	part->offset = next;
	part->header_bytes = next - part->header_offset;
	int r = mime_fields_end(&w->fields);
	if (r == 0)
		r = mime_content_read(
			str_cstr(&w->fields.text), w->fields.text.len, &content, part);
	if (r == 0 && mime_part_is_multipart(part))
		r = multipart_begin(w, level, &content.boundary);
	else if (r == 0 && is_plain_message(part) && !can_have_parts(w))
		part->cut |= cut_here(w);
	else if (r == 0 && is_plain_message(part)) {
		w->parts++;
		r = part_open(w, part->offset);
	}
	str_finish(&content.boundary);
	return r;
}

/*
 * At a boundary or the end of the message, which is at next: ends headers that have not ended, and all parts but depth of
 * them, line_end bytes before.
 */
static int close_until(struct mime_walker *w, size_t depth, uint64_t next, size_t line_end)
{
	uint64_t end = next;
	int r = 0;

	/* A part that has had no line has none to give back: the line end before is that of another boundary. */
	if (w->depth > depth && next > w->levels[depth].part->header_offset)
		end -= line_end;
	while (r == 0 && w->in_header)
		r = header_end(w, next);
	while (r == 0 && w->depth > depth)
		r = part_close(w, end);
	return r;
}

/* --- Boundaries --- */

/* The line that is complete, without "--" and its end. Of a long one, more than any boundary has. */
struct candidate {
	const char *p;
	size_t len;
};

static bool candidate_find(const struct mime_walker *w, struct candidate *line)
{
	if (w->boundaries == 0 || w->full || w->head_len < 2 || w->head[0] != '-' ||
		w->head[1] != '-')
		return false;
	*line = (struct candidate){w->head + 2, w->head_len - 2};
	while (line->len > 0 && ascii_is_space(line->p[line->len - 1]))
		line->len--;
	return true;
}

static bool begins_with_boundary(const struct candidate *line, const struct level *level)
{
	return level->splits && !level->closed && level->boundary_len <= line->len &&
	       memcmp(line->p, level->boundary, level->boundary_len) == 0;
}

static bool is_closing(const struct candidate *line, size_t boundary_len)
{
	return line->len >= boundary_len + 2 && memcmp(line->p + boundary_len, "--", 2) == 0;
}

/* The number of levels down to the multipart whose boundary it is; 0: it is none. */
static size_t boundary_find(const struct mime_walker *w, const struct candidate *line)
{
	size_t best = 0, best_len = 0;

	for (size_t depth = w->depth; depth > 0; depth--) {
		const struct level *level = &w->levels[depth - 1];
		size_t len = level->boundary_len;
		if (!begins_with_boundary(line, level) || (best > 0 && len <= best_len))
			continue;
		best = depth;
		best_len = len;
		if (len == line->len || (len + 2 == line->len && is_closing(line, len)))
			break;
	}
	return best;
}

static int boundary_take(struct mime_walker *w, const struct candidate *line, size_t depth)
{
	struct level *level = &w->levels[depth - 1];
	bool closing = is_closing(line, level->boundary_len);

	if (!closing && w->parts >= MIME_PARTS_MAX) {
		level->part->cut |= MIME_CUT_COUNT;
		w->full = true;
		return 0;
	}
	int r = close_until(w, depth, w->line_start, w->line_end);
	if (r < 0)
		return r;
	if (closing) {
		level->closed = true;
		w->boundaries--;
		return 0;
	}
	if (level->part->child_count > 0)
		w->parts++;
	return part_open(w, w->position);
}

/* --- Lines --- */

static bool line_is_empty(const struct mime_walker *w)
{
	return (w->head_len == 1 && w->head[0] == '\n') ||
	       (w->head_len == 2 && w->head[0] == '\r' && w->head[1] == '\n');
}

/* The bytes of a line have been there, up to its end or the end of the message. */
static int line_take(struct mime_walker *w)
{
	struct candidate line;
	size_t depth = candidate_find(w, &line) ? boundary_find(w, &line) : 0;

	if (depth > 0)
		return boundary_take(w, &line, depth);
	return w->in_header && line_is_empty(w) ? header_end(w, w->position) : 0;
}

/* More bytes of a line. */
static void line_push(struct mime_walker *w, const char *data, size_t len)
{
	size_t head = HEAD_MAX - w->head_len;

	if (head > len)
		head = len;
	memcpy(w->head + w->head_len, data, head);
	w->head_len += head;
	if (w->in_header)
		(void)mime_fields_push(&w->fields, data, len); /* header_end() asks */
	w->position += len;
}

static void line_finish(struct mime_walker *w, bool crlf)
{
	w->error = line_take(w);
	w->head_len = 0;
	w->line_start = w->position;
	w->line_end = crlf ? 2 : 1;
}

int mime_walker_push(struct mime_walker *walker, const void *data, size_t len)
{
	const char *p = data;

	while (len > 0 && walker->error == 0) {
		const char *lf = memchr(p, '\n', len);
		size_t bytes = lf ? (size_t)(lf - p) + 1 : len;
		line_push(walker, p, bytes);
		if (lf)
			line_finish(walker, (lf > p ? lf[-1] : walker->last) == '\r');
		walker->last = p[bytes - 1];
		p += bytes;
		len -= bytes;
	}
	return walker->error;
}

/* --- The whole --- */

struct mime_walker *mime_walker_create(void)
{
	struct mime_walker *walker = calloc(1, sizeof(*walker));

	if (!walker)
		return NULL;
	mime_fields_init(&walker->fields, mime_content_fields, MIME_CONTENT_FIELDS, FIELD_MAX);
	walker->fields_left = FIELDS_MAX;
	walker->parts = 1;
	if (part_open(walker, 0) < 0) {
		mime_walker_destroy(walker);
		return NULL;
	}
	return walker;
}

void mime_walker_destroy(struct mime_walker *walker)
{
	if (!walker)
		return;
	mime_part_destroy(walker->root);
	mime_fields_finish(&walker->fields);
	free(walker);
}

int mime_walker_end(struct mime_walker *walker, struct mime_part **ret)
{
	if (walker->error == 0 && walker->head_len > 0)
		walker->error = line_take(walker);
	if (walker->error == 0)
		walker->error = close_until(walker, 0, walker->position, 0);
	if (walker->error < 0)
		return walker->error;
	*ret = steal_ptr(walker->root);
	walker->error = -EINVAL;
	return 0;
}
