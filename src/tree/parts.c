/* SPDX-License-Identifier: MIT */
/*
 * The structures of the messages used last. A directory inside a message is the unit: a message's
 * own, or that of a message attached to it, each with the whole structure that its leaves point
 * into. Those in use have references beside the cache's own, so that dropping one from the cache
 * harms nobody.
 */
#include "parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/log.h"

#include "private.h"

int parts_cache_init(struct parts_cache *cache)
{
	list_init(&cache->used);
	cache->count = 0;
	return -pthread_mutex_init(&cache->lock, NULL);
}

static void parts_destroy(struct parts *parts)
{
	mime_leaves_finish(&parts->leaves);
	mime_part_destroy(parts->structure);
	free(parts->section);
	free(parts);
}

static void parts_destroyp(struct parts **parts)
{
	if (*parts)
		parts_destroy(*parts);
}

void parts_cache_finish(struct parts_cache *cache)
{
	struct list_node *node;
	while ((node = list_pop(&cache->used)))
		parts_destroy(container_of(node, struct parts, node));
	pthread_mutex_destroy(&cache->lock);
}

void parts_unref(struct tree *tree, struct parts *parts)
{
	if (!parts)
		return;
	pthread_mutex_lock(&tree->parts.lock);
	bool last = --parts->references == 0;
	pthread_mutex_unlock(&tree->parts.lock);
	if (last)
		parts_destroy(parts);
}

static struct parts *cache_find(
	struct parts_cache *cache, uint32_t folder, uint32_t uid, const char *section)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&cache->lock);
	struct list_node *pos, *tmp;
	list_for_each(pos, tmp, &cache->used)
	{
		struct parts *parts = container_of(pos, struct parts, node);
		if (parts->folder != folder || parts->uid != uid ||
			strcmp(parts->section, section) != 0)
			continue;
		parts->references++;
		list_remove(pos);
		list_push(&cache->used, pos);
		return parts;
	}
	return NULL;
}

/* Takes parts, with one reference for the cache and one for the caller. */
static void cache_add(struct tree *tree, struct parts *parts)
{
	struct parts *oldest = NULL;
	pthread_mutex_lock(&tree->parts.lock);
	parts->references = 2;
	list_push(&tree->parts.used, &parts->node);
	if (tree->parts.count < PARTS_KEPT)
		tree->parts.count++;
	else
		oldest = container_of(list_pop(&tree->parts.used), struct parts, node);
	pthread_mutex_unlock(&tree->parts.lock);
	parts_unref(tree, oldest);
}

static const struct mime_leaf *leaf_of(const struct mime_leaves *leaves, const char *section)
{
	for (size_t i = 0; i < leaves->count; i++)
		if (strcmp(leaves->items[i].section, section) == 0)
			return &leaves->items[i];
	return NULL;
}

const struct mime_leaf *parts_leaf(const struct parts *parts, const char *section)
{
	return leaf_of(&parts->leaves, section);
}

/* The attached message among the leaves that is, or holds, the one at section. */
static const struct mime_leaf *message_towards(
	const struct mime_leaves *leaves, const char *section)
{
	for (size_t i = 0; i < leaves->count; i++) {
		const struct mime_leaf *leaf = &leaves->items[i];
		size_t len = strlen(leaf->section);
		if (leaf->is_message && strncmp(section, leaf->section, len) == 0 &&
			(section[len] == '.' || section[len] == 0))
			return leaf;
	}
	return NULL;
}

/* Goes from attached message to attached message down to the one at section. */
static int descend(struct parts *parts)
{
	int r = mime_leaves(parts->structure, NULL, &parts->leaves);
	bool arrived = parts->section[0] == 0;
	for (unsigned depth = 0; r == 0 && !arrived && depth <= MIME_DEPTH_MAX; depth++) {
		const struct mime_leaf *leaf = message_towards(&parts->leaves, parts->section);
		struct mime_leaves inner;
		if (!leaf)
			return -ENOENT;
		arrived = strcmp(leaf->section, parts->section) == 0;
		r = mime_leaves(leaf->part, leaf->section, &inner);
		if (r < 0)
			return r;
		mime_leaves_finish(&parts->leaves);
		parts->leaves = inner;
	}
	return r < 0 ? r : arrived ? 0 : -ENOENT;
}

/*
 * Reads the stored structure. One that is not understood leaves the message with its header alone.
 */
static int load_structure(struct tree *tree, const struct folder *folder, struct parts *parts)
{
	_cleanup_str_ struct str data = STR_INIT;
	int r = store_structure_get(tree->store, parts->folder, parts->uid, &data);
	if (r == -ENOENT)
		return -EIO; /* sync has just said that it is there */
	if (r < 0)
		return r;
	r = data.len ? mime_part_parse(data.data, data.len, &parts->structure) : -EINVAL;
	if (r == -EINVAL) {
		log_warning(
			"%s: message %u: its structure can not be understood, .parts shows the header only",
			folder->name, parts->uid);
		return parts->section[0] ? -ENOENT : 0;
	}
	return r < 0 ? r : descend(parts);
}

static int parts_load(struct tree *tree, const struct folder *folder, uint32_t number, uint32_t uid,
	const char *section, struct parts **ret)
{
	_cleanup_(parts_destroyp) struct parts *parts = calloc(1, sizeof(*parts));
	if (!parts)
		return -ENOMEM;
	parts->folder = number;
	parts->uid = uid;
	parts->section = strdup(section);
	int r = parts->section ? load_structure(tree, folder, parts) : -ENOMEM;
	if (r < 0)
		return r;
	*ret = parts;
	cache_add(tree, steal_ptr(parts));
	return 0;
}

int parts_get(struct tree *tree, struct folder *folder, uint32_t number, uint32_t uid,
	const char *section, struct parts **ret, struct tree_call *call)
{
	struct parts *found = cache_find(&tree->parts, number, uid, section);
	if (found) {
		*ret = found;
		return 0;
	}
	struct sync_folder *sync = folder_messages(folder);
	if (!sync)
		return -ENOENT;
	if (!(call->waited & WAITED_STRUCTURE)) {
		/*
		 * The server is not asked for decoded sizes: Dovecot's BINARY.SIZE is too small for mail that
		 * it keeps with LF, and tar cuts a file at the size it is shown. A bound is always enough.
		 */
		call->waited |= WAITED_STRUCTURE;
		int r = (int)call_waits(
			call, WAITED_STRUCTURE, sync_structure(sync, uid, &call->waiter));
		if (r < 0)
			return r;
	}
	return parts_load(tree, folder, number, uid, section, ret);
}
