/* SPDX-License-Identifier: MIT */
/*
 * What a message's directory holds: headers.txt, truncated.txt, the parts, and attached messages, which are
 * directories again. Each is known by (folder, uid, section); how it is decoded is looked up in the
 * structure when it is opened.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "private.h"

static int inside_init(
	const struct parts *parts, enum inside_kind kind, const char *section, struct inside *ret)
{
	ret->kind = kind;
	ret->folder = parts->folder;
	ret->uid = parts->uid;
	ret->parent_len = strlen(parts->section);
	ret->size_bytes = 0;
	ret->exact = false;
	int len = snprintf(ret->section, sizeof(ret->section), "%s", section);
	return len < 0 || (size_t)len >= sizeof(ret->section) ? -ENAMETOOLONG : 0;
}

/* The true size where it is known, else bound; not 0, because nobody reads what is shown as empty. */
static void settle(struct tree *tree, struct inside *inside, uint64_t bound)
{
	uint64_t size;
	inside->exact = store_section_size_get(tree->store, inside->folder, inside->uid,
				inside->section, &size) == 0;
	if (!inside->exact)
		size = bound || !tree->readonly ? bound : HEADERS_BYTES;
	inside->size_bytes = size;
}

/*
 * A header of more than HEADERS_BYTES is rare, and its size is known once it is opened. In a mount where nothing is opened it is read to the size that is
 * shown, so there the bound is the message's.
 */
int inside_header(
	struct tree *tree, const struct parts *parts, uint64_t message_bytes, struct inside *ret)
{
	char section[NODE_SECTION_MAX + sizeof(".HEADER")];
	const char *dot = parts->section[0] ? "." : "";
	snprintf(section, sizeof(section), "%s%sHEADER", parts->section, dot);
	int r = inside_init(parts, INSIDE_HEADER, section, ret);
	if (r < 0)
		return r;
	bool whole = message_bytes < HEADERS_BYTES || tree->readonly;
	settle(tree, ret,
		parts->located ? parts->header_bytes
		: whole        ? message_bytes
			       : HEADERS_BYTES);
	ret->exact |= parts->located;
	return 0;
}

int inside_truncated(struct folder *folder, const struct parts *parts, struct inside *ret)
{
	char section[NODE_SECTION_MAX + sizeof(".TRUNCATED")];
	_cleanup_str_ struct str text = STR_INIT;
	const char *dot = parts->section[0] ? "." : "";
	snprintf(section, sizeof(section), "%s%sTRUNCATED", parts->section, dot);
	int r = inside_init(parts, INSIDE_TRUNCATED, section, ret);
	if (r == 0)
		r = truncated_text(folder, parts->folder, parts->uid, parts->cut, &text);
	if (r < 0)
		return r;
	ret->size_bytes = text.len;
	ret->exact = true;
	return 0;
}

int inside_leaf(struct tree *tree, const struct parts *parts, const struct mime_leaf *leaf,
	struct inside *ret)
{
	int r = inside_init(
		parts, leaf->is_message ? INSIDE_MESSAGE : INSIDE_PART, leaf->section, ret);
	if (r == 0 && !leaf->is_message)
		settle(tree, ret, leaf->size_bound);
	return r;
}

int inside_directory(struct tree *tree, uint64_t node, uint32_t *ret_number, uint32_t *ret_uid,
	struct str *ret_section)
{
	struct node_number n = node_parse(node);
	struct inside inside;
	if (n.kind == NODE_VIEW_MESSAGE) {
		*ret_number = n.number;
		*ret_uid = n.uid;
		return 0;
	}
	int r = n.kind == NODE_INSIDE ? nodes_get(&tree->nodes, node, &inside) : -ENOTDIR;
	if (r < 0)
		return r;
	if (inside.kind != INSIDE_MESSAGE)
		return -ENOTDIR;
	*ret_number = inside.folder;
	*ret_uid = inside.uid;
	str_append_cstr(ret_section, inside.section);
	return str_error(ret_section);
}

int inside_entry(struct tree *tree, struct inside *inside, int64_t date_s, struct tree_entry *ret)
{
	uint64_t node, generation;
	int r = nodes_ref(&tree->nodes, inside, &node, &generation);
	if (r < 0)
		return r;
	entry_inside(tree, inside, date_s, ret);
	ret->node = node;
	ret->generation = generation;
	return 0;
}

void inside_set_size(
	struct tree *tree, uint32_t number, uint32_t uid, const char *section, uint64_t size_bytes)
{
	uint64_t grown = nodes_set_size(&tree->nodes, number, uid, section, size_bytes);
	if (grown)
		tell_attributes(tree, grown);
}
