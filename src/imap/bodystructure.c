/* SPDX-License-Identifier: MIT */
/*
 * BODYSTRUCTURE (RFC 3501 §7.4.2) as a tree of parts.
 *
 * Tolerant where servers differ and nothing is at stake (NIL for a name, no extension data, a multipart without parts, a
 * message/rfc822 without its envelope); strict about the size of a leaf, from which the sizes of files come.
 *
 * What is deeper than MIME_DEPTH_MAX, or comes when there are MIME_PARTS_MAX parts, is left out, and the part that it is in says so. So it is where
 * the text ends too soon (imap_tree.cut): a part whose end is missing is left out. A multipart is not, as its parts come first.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/quirk.h"
#include "private.h"

struct builder {
	const struct imap_tree *tree;
	unsigned parts;
};

static void part_cleanup(struct mime_part **part)
{
	mime_part_destroy(*part);
}
#define _cleanup_part_ __attribute__((cleanup(part_cleanup)))

/* --- Values --- */

static char *lower_text(const struct imap_node *node, const char *fallback)
{
	struct str text = STR_INIT;
	if (node && node->type != IMAP_NODE_LIST && !imap_node_is_nil(node))
		imap_node_append(node, &text);
	else
		str_append_cstr(&text, fallback);
	str_reserve(&text, 0);
	for (size_t i = 0; i < text.len; i++)
		if (text.data[i] >= 'A' && text.data[i] <= 'Z')
			text.data[i] += 'a' - 'A';
	return str_steal(&text);
}

static int param_add(
	struct mime_params *params, const struct imap_node *name, const struct imap_node *value)
{
	struct str text = STR_INIT;
	if (!name || !value || name->type == IMAP_NODE_LIST || value->type == IMAP_NODE_LIST ||
		imap_node_is_nil(name) || imap_node_is_nil(value))
		return 0;
	_cleanup_free_ char *key = lower_text(name, "");
	imap_node_append(value, &text);
	int r = !key || str_error(&text) < 0
	                ? -ENOMEM
	                : mime_params_add(params, key, strlen(key), str_cstr(&text), text.len);
	str_finish(&text);
	return r;
}

/* ("NAME" "VALUE" …) or NIL */
static int params_read(
	const struct imap_tree *tree, const struct imap_node *list, struct mime_params *params)
{
	const struct imap_node *name = imap_node_child(tree, list);
	int r = 0;
	while (r == 0 && name) {
		const struct imap_node *value = imap_node_next(tree, name);
		r = param_add(params, name, value);
		name = imap_node_next(tree, value);
	}
	return r < 0 ? r : mime_params_join(params);
}

/* ("attachment" ("FILENAME" "x")), a bare string, or NIL */
static int disposition_read(
	const struct imap_tree *tree, const struct imap_node *node, struct mime_part *part)
{
	if (!node || imap_node_is_nil(node))
		return 0;
	const struct imap_node *name = imap_node_is_list(node) ? imap_node_child(tree, node) : node;
	if (!imap_node_is_string(name))
		return 0;
	part->disposition = lower_text(name, "");
	if (!part->disposition)
		return -ENOMEM;
	return imap_node_is_list(node)
	               ? params_read(tree, imap_node_next(tree, name), &part->disposition_params)
	               : 0;
}

static int type_set(struct mime_part *part, const struct imap_node *type, const char *type_fallback,
	const struct imap_node *subtype, const char *subtype_fallback)
{
	part->type = lower_text(type, type_fallback);
	part->subtype = lower_text(subtype, subtype_fallback);
	return part->type && part->subtype ? 0 : -ENOMEM;
}

/* --- Parts --- */

static int part_read(struct builder *builder, const struct imap_node *list, unsigned depth,
	struct mime_part **ret);

/* A list that is not closed tells of a multipart its first parts, of a message its own structure: that is behind eight others. */
static bool tells_enough(const struct imap_tree *tree, const struct imap_node *list)
{
	const struct imap_node *node = imap_node_child(tree, list);
	if (list->closed || imap_node_is_list(node))
		return true;
	for (int i = 0; i < 8; i++)
		node = imap_node_next(tree, node);
	return imap_node_is_list(node);
}

/* Why a part is to be left out (enum mime_cut); 0: it is not. */
static unsigned child_cut(
	const struct builder *builder, const struct imap_node *list, unsigned depth)
{
	if (list->cut || depth + 1 > MIME_DEPTH_MAX)
		return MIME_CUT_DEPTH;
	if (builder->parts >= MIME_PARTS_MAX)
		return MIME_CUT_COUNT;
	return tells_enough(builder->tree, list) ? 0 : MIME_CUT_LENGTH;
}

static int child_read(struct builder *builder, const struct imap_node *list, unsigned depth,
	struct mime_part *part)
{
	struct mime_part *child = NULL;
	unsigned cut = child_cut(builder, list, depth);
	part->cut |= cut;
	if (cut)
		return 0;
	int r = part_read(builder, list, depth + 1, &child);
	return r < 0 ? r : mime_part_add_child(part, child);
}

static bool is_text(const struct imap_node *node)
{
	return imap_node_is_string(node) || imap_node_is_nil(node);
}

/* A body begins with a part or with two strings; a disposition with a string and a list. */
static bool looks_like_body(const struct imap_tree *tree, const struct imap_node *node)
{
	const struct imap_node *first = imap_node_child(tree, node);
	if (!first)
		return false;
	return imap_node_is_list(first) || (is_text(first) && is_text(imap_node_next(tree, first)));
}

/* Parts, "SUBTYPE", then PARAMS DISPOSITION LANGUAGE LOCATION, of which any may be missing. */
static int multipart_read(struct builder *builder, const struct imap_node *node, unsigned depth,
	struct mime_part *part)
{
	const struct imap_tree *tree = builder->tree;
	int r = 0;
	for (; r == 0 && imap_node_is_list(node); node = imap_node_next(tree, node))
		r = child_read(builder, node, depth, part);
	if (r == 0)
		r = type_set(part, NULL, "multipart", node, "mixed");
	part->encoding = strdup("");
	if (r == 0 && !part->encoding)
		r = -ENOMEM;
	node = imap_node_next(tree, node);
	if (r == 0)
		r = params_read(tree, node, &part->params);
	return r < 0 ? r : disposition_read(tree, imap_node_next(tree, node), part);
}

/* ENVELOPE BODY LINES behind the size of a message/rfc822. Returns what follows. */
static int message_read(struct builder *builder, const struct imap_node **node, unsigned depth,
	struct mime_part *part)
{
	const struct imap_tree *tree = builder->tree;
	const struct imap_node *body = imap_node_next(tree, *node);
	uint64_t lines;
	if (!looks_like_body(tree, body) && !(imap_node_is_list(body) && body->cut))
		return 0;
	int r = child_read(builder, body, depth, part);
	*node = imap_node_next(tree, body);
	if (imap_node_number(*node, UINT64_MAX, &lines))
		*node = imap_node_next(tree, *node);
	return r;
}

/* What is behind the size: of a text its lines, of a message its structure; then MD5 DISPOSITION. */
static int extension_read(struct builder *builder, const struct imap_node *node, unsigned depth,
	struct mime_part *part)
{
	const struct imap_tree *tree = builder->tree;
	uint64_t lines;
	int r = 0;
	if (strcmp(part->type, "message") == 0 &&
		(strcmp(part->subtype, "rfc822") == 0 || strcmp(part->subtype, "global") == 0))
		r = message_read(builder, &node, depth, part);
	else if (imap_node_number(node, UINT64_MAX, &lines))
		node = imap_node_next(tree, node);
	return r < 0 ? r : disposition_read(tree, imap_node_next(tree, node), part);
}

/* TYPE SUBTYPE PARAMS ID DESCRIPTION ENCODING SIZE */
static int single_read(struct builder *builder, const struct imap_node *node, unsigned depth,
	struct mime_part *part)
{
	const struct imap_tree *tree = builder->tree;
	const struct imap_node *subtype = imap_node_next(tree, node),
			       *params = imap_node_next(tree, subtype);
	const struct imap_node *id = imap_node_next(tree, params),
			       *description = imap_node_next(tree, id);
	const struct imap_node *encoding = imap_node_next(tree, description),
			       *size = imap_node_next(tree, encoding);
	int r = type_set(part, node, "application", subtype, "octet-stream");
	if (r == 0)
		r = params_read(tree, params, &part->params);
	part->encoding = lower_text(encoding, "");
	if (r == 0 && !part->encoding)
		r = -ENOMEM;
	if (r < 0)
		return r;
	if (!imap_node_number(size, UINT64_MAX, &part->size_bytes))
		return -EPROTO;
	return extension_read(builder, imap_node_next(tree, size), depth, part);
}

/* "MIXED" ("BOUNDARY" …): how some servers write a multipart without parts. */
static bool is_empty_multipart(const struct imap_tree *tree, const struct imap_node *first)
{
	const struct imap_node *second = imap_node_next(tree, first);
	return is_text(first) && (!second || imap_node_is_list(second));
}

static int part_read(struct builder *builder, const struct imap_node *list, unsigned depth,
	struct mime_part **ret)
{
	const struct imap_node *first = imap_node_child(builder->tree, list);
	if (!first)
		return -EPROTO;
	_cleanup_part_ struct mime_part *part = mime_part_create();
	if (!part)
		return -ENOMEM;
	builder->parts++;
	int r = imap_node_is_list(first) || is_empty_multipart(builder->tree, first)
	                ? multipart_read(builder, first, depth, part)
	                : single_read(builder, first, depth, part);
	if (r == 0 && part->type && strcasecmp(part->type, "multipart") == 0 &&
		part->child_count == 0 && part->cut == 0)
		quirk_seen(QUIRK_MULTIPART_EMPTY);
	if (r == 0 && !list->closed)
		part->cut |= builder->parts < MIME_PARTS_MAX ? MIME_CUT_LENGTH : MIME_CUT_COUNT;
	if (r == 0)
		*ret = steal_ptr(part);
	return r;
}

int imap_bodystructure_parse(
	const struct imap_tree *tree, const struct imap_node *list, struct mime_part **ret)
{
	struct builder builder = {.tree = tree};
	bool taken = imap_node_is_list(list) && (list->closed || tree->cut);
	int r = taken && tells_enough(tree, list) ? part_read(&builder, list, 1, ret) : -EPROTO;
	if (r == 0 && builder.parts >= MIME_PARTS_MAX)
		(*ret)->cut |= MIME_CUT_COUNT; /* Dovecot stops there, too, and does not say so */
	return r;
}
