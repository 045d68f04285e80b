/* SPDX-License-Identifier: MIT */
/*
 * The leaves of a message, as the .parts view shows them: which section each is (RFC 3501 §6.4.5), what it is
 * called, how it is decoded. An attached message is one leaf here, a directory, whose leaves are another call.
 *
 * Names are unique since each begins with the part's number, which has no '-' in it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

/* A number that is longer than this (50 levels of many parts each) is replaced by the leaf's place in the list. */
#define NUMBER_MAX 160

struct walk {
	struct mime_leaves leaves;
	size_t cap;
	const char *base;   /* section of the message, "" for the root */
	struct str section; /* of the part that is looked at, relative to the message */
	int error;
};

static bool ends_in_txt(const char *name)
{
	size_t len = strlen(name);
	return len > 4 && ascii_equal(name + len - 4, 4, ".txt");
}

static bool is_type(const char *text, const char *lower)
{
	return strcmp(text ? text : "", lower) == 0;
}

/* Only a charset that is known, and is not UTF-8 already, makes a conversion. */
static bool wants_utf8(const struct mime_leaf *leaf)
{
	const struct mime_part *part = leaf->part;

	if (!leaf->charset || !is_type(part->type, "text") || !is_type(part->subtype, "plain") ||
		!ends_in_txt(leaf->name))
		return false;
	const struct mime_charset *charset =
		mime_charset_find(leaf->charset, strlen(leaf->charset));
	return charset && charset->kind != MIME_CHARSET_UTF8 && charset->kind != MIME_CHARSET_ASCII;
}

static uint64_t decoded_bound(const struct mime_leaf *leaf)
{
	uint64_t size = leaf->part->size_bytes;

	if (leaf->encoding == MIME_ENCODING_BASE64)
		size = size / 4 * 3 + 3;
	if (!leaf->to_utf8)
		return size;
	return size > UINT64_MAX / 3 ? UINT64_MAX : size * 3;
}

static char *leaf_section(const struct walk *walk)
{
	struct str section = STR_INIT;

	str_append_cstr(&section, walk->base);
	if (*walk->base)
		str_putc(&section, '.');
	str_append(&section, str_cstr(&walk->section), walk->section.len);
	return str_steal(&section);
}

static char *leaf_name(const struct walk *walk, const struct mime_part *part)
{
	struct str name = STR_INIT;

	if (walk->section.len <= NUMBER_MAX)
		str_append(&name, str_cstr(&walk->section), walk->section.len);
	else
		str_printf(&name, "deep%zu", walk->leaves.count + 1);
	str_putc(&name, '-');
	if (mime_leaf_file_name(part, MIME_NAME_MAX - name.len, &name) < 0)
		name.failed = true;
	return str_steal(&name);
}

/* Another one says nothing, and may be a megabyte long. */
static const char *known_charset(const struct mime_part *part)
{
	const char *charset =
		is_type(part->type, "text") ? mime_params_get(&part->params, "charset") : NULL;

	return charset && mime_charset_find(charset, strlen(charset)) ? charset : NULL;
}

static void leaf_finish(struct mime_leaf *leaf)
{
	free(leaf->section);
	free(leaf->name);
	free(leaf->charset);
}

static int leaf_init(const struct walk *walk, const struct mime_part *part, struct mime_leaf *leaf)
{
	leaf->part = part;
	leaf->section = leaf_section(walk);
	leaf->name = leaf_name(walk, part);
	const char *charset = known_charset(part);
	leaf->charset = charset ? strdup(charset) : NULL;
	if (!leaf->section || !leaf->name || (charset && !leaf->charset)) {
		leaf_finish(leaf);
		return -ENOMEM;
	}
	leaf->size_bytes = part->size_bytes;
	leaf->is_message = mime_part_is_message(part);
	leaf->encoding = mime_encoding_parse(part->encoding);
	leaf->to_utf8 = wants_utf8(leaf);
	leaf->size_bound = decoded_bound(leaf);
	return 0;
}

static void add_leaf(struct walk *walk, const struct mime_part *part)
{
	struct mime_leaves *leaves = &walk->leaves;
	struct mime_leaf leaf = {0};

	if (leaves->count >= MIME_PARTS_MAX)
		return;
	walk->error = array_grow(&leaves->items, &walk->cap, leaves->count + 1, sizeof(leaf));
	if (walk->error == 0)
		walk->error = leaf_init(walk, part, &leaf);
	if (walk->error == 0)
		leaves->items[leaves->count++] = leaf;
}

/* Visits the children of a multipart whose relative section is in walk->section. */
static void visit_children(struct walk *walk, const struct mime_part *part, unsigned depth)
{
	size_t len = walk->section.len;

	for (size_t i = 0; i < part->child_count && walk->error == 0; i++) {
		const struct mime_part *child = part->children[i];
		if (walk->leaves.count >= MIME_PARTS_MAX)
			break;
		str_printf(&walk->section, len > 0 ? ".%zu" : "%zu", i + 1);
		if (walk->section.failed)
			walk->error = -ENOMEM;
		else if (!mime_part_is_multipart(child))
			add_leaf(walk, child);
		else if (depth + 1 < MIME_DEPTH_MAX)
			visit_children(walk, child, depth + 1);
		str_truncate(&walk->section, len);
	}
}

int mime_leaves(const struct mime_part *message, const char *section, struct mime_leaves *ret)
{
	struct walk walk = {.base = section ? section : ""};
	const struct mime_part *body = message;

	if (section && message->child_count > 0)
		body = message->children[0];
	if (mime_part_is_multipart(body)) {
		visit_children(&walk, body, 0);
	} else {
		str_putc(&walk.section, '1');
		walk.error = str_error(&walk.section);
		if (walk.error == 0)
			add_leaf(&walk, body);
	}
	str_finish(&walk.section);
	if (walk.error < 0) {
		mime_leaves_finish(&walk.leaves);
		return walk.error;
	}
	*ret = walk.leaves;
	return 0;
}

void mime_leaves_finish(struct mime_leaves *leaves)
{
	for (size_t i = 0; i < leaves->count; i++)
		leaf_finish(&leaves->items[i]);
	free(leaves->items);
	*leaves = (struct mime_leaves){0};
}

void mime_leaves_detach(struct mime_leaves *leaves)
{
	for (size_t i = 0; i < leaves->count; i++)
		leaves->items[i].part = NULL;
}
