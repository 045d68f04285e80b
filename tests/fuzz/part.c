/* SPDX-License-Identifier: MIT */
#include "part.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANY_BYTES UINT64_MAX /* what the structure says of places is not looked at */

static void check_params(const struct mime_params *params)
{
	FUZZ_CHECK(params->count == 0 || params->items);
	for (size_t i = 0; i < params->count; i++) {
		FUZZ_CHECK(params->items[i].name && params->items[i].value);
		fuzz_check_text(params->items[i].value, strlen(params->items[i].value));
	}
}

/* The number of parts from here on. */
static size_t check_tree(const struct mime_part *part, unsigned depth, uint64_t message_bytes)
{
	size_t count = 1;
	FUZZ_CHECK(depth <= MIME_DEPTH_MAX);
	FUZZ_CHECK(part->type && part->subtype && part->encoding);
	check_params(&part->params);
	check_params(&part->disposition_params);
	if (part->located) {
		FUZZ_CHECK(part->offset <= message_bytes);
		FUZZ_CHECK(part->size_bytes <= message_bytes - part->offset);
		FUZZ_CHECK(part->header_offset <= message_bytes);
		FUZZ_CHECK(part->header_bytes <= message_bytes - part->header_offset);
	}
	for (size_t i = 0; i < part->child_count; i++) {
		FUZZ_CHECK(!part->located || part->children[i]->located);
		count += check_tree(part->children[i], depth + 1, message_bytes);
	}
	return count;
}

static void check_serialized(const struct mime_part *root)
{
	_cleanup_str_ struct str first = STR_INIT, second = STR_INIT;
	struct mime_part *again = NULL;
	FUZZ_CHECK(mime_part_serialize(root, &first) == 0);
	FUZZ_CHECK(mime_part_parse(str_cstr(&first), first.len, &again) == 0);
	FUZZ_CHECK(mime_part_serialize(again, &second) == 0);
	FUZZ_CHECK(first.len == second.len && memcmp(first.data, second.data, first.len) == 0);
	mime_part_destroy(again);
}

void part_check_name(const char *name, size_t len)
{
	FUZZ_CHECK(len > 0 && len <= MIME_NAME_MAX && strlen(name) == len);
	FUZZ_CHECK(name[0] != '.' && !strchr(name, '/'));
	fuzz_check_text(name, len);
}

static void check_span(const struct mime_part *root, const char *section, const char *suffix,
	uint64_t message_bytes)
{
	char path[1024];
	uint64_t offset, len;
	snprintf(path, sizeof(path), "%s%s", section, suffix);
	int r = mime_part_locate(root, path, &offset, &len);
	FUZZ_CHECK(r == 0 || r == -ENOENT || r == -ENODATA || r == -EINVAL);
	FUZZ_CHECK(root->located ? r != -ENODATA : r != 0);
	if (r == 0 && message_bytes != ANY_BYTES)
		FUZZ_CHECK(offset <= message_bytes && len <= message_bytes - offset);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void check_distinct(const struct mime_leaves *leaves)
{
	char **names = calloc(leaves->count + 1, sizeof(*names));
	FUZZ_CHECK(names);
	for (size_t i = 0; i < leaves->count; i++)
		names[i] = leaves->items[i].name;
	qsort(names, leaves->count, sizeof(*names), by_name);
	for (size_t i = 1; i < leaves->count; i++)
		FUZZ_CHECK(strcmp(names[i - 1], names[i]) != 0);
	free(names);
}

static void check_leaves(const struct mime_part *root, const struct mime_part *message,
	const char *section, unsigned depth, uint64_t message_bytes)
{
	static const char *const suffixes[] = {"", ".MIME", ".HEADER", ".TEXT"};
	struct mime_leaves leaves;
	FUZZ_CHECK(depth <= MIME_DEPTH_MAX);
	FUZZ_CHECK(mime_leaves(message, section, &leaves) == 0);
	check_distinct(&leaves);
	for (size_t i = 0; i < leaves.count; i++) {
		const struct mime_leaf *leaf = &leaves.items[i];
		part_check_name(leaf->name, strlen(leaf->name));
		FUZZ_CHECK(strspn(leaf->section, "0123456789.") == strlen(leaf->section));
		FUZZ_CHECK(leaf->section[0] && strcmp(leaf->section, "0") != 0);
		for (size_t s = 0; s < sizeof(suffixes) / sizeof(suffixes[0]); s++)
			check_span(root, leaf->section, suffixes[s], message_bytes);
		FUZZ_CHECK(mime_message_at(root, leaf->section) ==
			   (leaf->is_message ? leaf->part : NULL));
		if (leaf->is_message)
			check_leaves(root, leaf->part, leaf->section, depth + 1, message_bytes);
	}
	mime_leaves_finish(&leaves);
}

void part_check(const struct mime_part *root, uint64_t message_bytes)
{
	FUZZ_CHECK(check_tree(root, 1, message_bytes) <= MIME_PARTS_MAX);
	check_serialized(root);
	check_leaves(root, root, NULL, 1, message_bytes);
	check_span(root, "", "HEADER", message_bytes);
	check_span(root, "", "TEXT", message_bytes);
}

void part_check_leaves(const struct mime_part *root)
{
	check_leaves(root, root, NULL, 1, ANY_BYTES);
}
