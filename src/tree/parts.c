/* SPDX-License-Identifier: MIT */
/*
 * What the messages used last hold. A directory inside a message is the unit: a message's
 * own, or that of a message attached to it. Those in use have references beside the cache's own, so that dropping one from the cache
 * harms nobody.
 *
 * Memory: a message can have MIME_PARTS_MAX parts, of which the structure takes megabytes, the leaves a part of that. So leaves are
 * kept alone, not too many in all, and there is one structure at a time: that of the message looked at last.
 */
#include "parts.h"

#include <errno.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/log.h"

#include "private.h"

/* A stored structure of this length takes megabytes in memory, in small pieces. */
#define STRUCTURE_HEAVY (256 * 1024)

int parts_cache_init(struct parts_cache *cache)
{
	list_init(&cache->used);
	cache->count = cache->leaf_count = 0;
	cache->loading = false;
	mime_kept_init(&cache->structure);
	int r = -pthread_mutex_init(&cache->lock, NULL);
	return r < 0 ? r : -pthread_cond_init(&cache->loaded, NULL);
}

static void parts_destroy(struct parts *parts)
{
	mime_leaves_finish(&parts->leaves);
	free(parts->by_name);
	free(parts->by_section);
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
	mime_kept_finish(&cache->structure);
	pthread_mutex_destroy(&cache->lock);
	pthread_cond_destroy(&cache->loaded);
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

/* Takes the oldest out, if there is more than is kept. The lock is held. */
static struct parts *cache_evict(struct parts_cache *cache)
{
	if (cache->count < 2 || (cache->count <= PARTS_KEPT && cache->leaf_count <= LEAVES_KEPT))
		return NULL;
	struct parts *oldest = container_of(list_pop(&cache->used), struct parts, node);
	cache->count--;
	cache->leaf_count -= oldest->leaves.count;
	return oldest;
}

/* Takes parts, with one reference for the cache and one for the caller. */
static void cache_add(struct tree *tree, struct parts *parts)
{
	struct parts_cache *cache = &tree->parts;
	struct parts *oldest;
	pthread_mutex_lock(&cache->lock);
	parts->references = 2;
	list_push(&cache->used, &parts->node);
	cache->count++;
	cache->leaf_count += parts->leaves.count;
	pthread_mutex_unlock(&cache->lock);
	do {
		pthread_mutex_lock(&cache->lock);
		oldest = cache_evict(cache);
		pthread_mutex_unlock(&cache->lock);
		parts_unref(tree, oldest);
	} while (oldest);
}

/* --- Finding leaves --- */

static int compare_names(const void *a, const void *b)
{
	const struct mime_leaf *const *x = a, *const *y = b;
	return strcmp((*x)->name, (*y)->name);
}

static int compare_sections(const void *a, const void *b)
{
	const struct mime_leaf *const *x = a, *const *y = b;
	return strcmp((*x)->section, (*y)->section);
}

static int compare_to_name(const void *key, const void *leaf)
{
	return strcmp(key, (*(const struct mime_leaf *const *)leaf)->name);
}

static int compare_to_section(const void *key, const void *leaf)
{
	return strcmp(key, (*(const struct mime_leaf *const *)leaf)->section);
}

static const struct mime_leaf **sorted(
	const struct mime_leaves *leaves, int (*compare)(const void *, const void *))
{
	const struct mime_leaf **list = calloc(leaves->count + 1, sizeof(*list));
	for (size_t i = 0; list && i < leaves->count; i++)
		list[i] = &leaves->items[i];
	if (list)
		qsort(list, leaves->count, sizeof(*list), compare);
	return list;
}

static int sort_leaves(struct parts *parts)
{
	parts->by_name = sorted(&parts->leaves, compare_names);
	parts->by_section = sorted(&parts->leaves, compare_sections);
	return parts->by_name && parts->by_section ? 0 : -ENOMEM;
}

static const struct mime_leaf *find(const struct parts *parts, const struct mime_leaf **list,
	const char *key, int (*compare)(const void *, const void *))
{
	const struct mime_leaf **found =
		bsearch(key, list, parts->leaves.count, sizeof(*list), compare);
	return found ? *found : NULL;
}

const struct mime_leaf *parts_named(const struct parts *parts, const char *name)
{
	return find(parts, parts->by_name, name, compare_to_name);
}

const struct mime_leaf *parts_leaf(const struct parts *parts, const char *section)
{
	return find(parts, parts->by_section, section, compare_to_section);
}

/* --- Loading --- */

/* The leaves of the message, or of the attached one at section. */
static int find_leaves(struct parts *parts, const struct mime_part *structure)
{
	bool attached = parts->section[0];
	const struct mime_part *message =
		attached ? mime_message_at(structure, parts->section) : structure;
	if (!message)
		return -ENOENT;
	const struct mime_part *body = attached ? message->children[0] : message;
	parts->cut = mime_part_cuts(message);
	parts->located = body->located;
	parts->header_bytes = body->header_bytes;
	int r = mime_leaves(message, attached ? parts->section : NULL, &parts->leaves);
	mime_leaves_detach(&parts->leaves);
	return r;
}

/* Of megabytes in small pieces, which the C library keeps for each thread by itself. */
static void give_memory_back(void)
{
#ifdef __GLIBC__
	malloc_trim(0);
#endif
}

/* The structure as stored. -EINVAL: it is not understood. */
static int read_structure(struct tree *tree, struct parts *parts, struct mime_part **ret)
{
	_cleanup_str_ struct str data = STR_INIT;
	*ret = mime_kept_take(
		&tree->parts.structure, node_message(parts->folder, parts->uid, false));
	if (*ret)
		return 0;
	int r = store_structure_get(tree->store, parts->folder, parts->uid, &data);
	if (r == -ENOENT)
		return -EIO; /* sync has just said that it is there */
	if (r < 0)
		return r;
	parts->heavy = data.len > STRUCTURE_HEAVY;
	return data.len ? mime_part_parse(data.data, data.len, ret) : -EINVAL;
}

/* One that is not understood leaves the message with its header alone. */
static int load_structure(struct tree *tree, const struct folder *folder, struct parts *parts)
{
	struct mime_part *structure = NULL;
	int r = read_structure(tree, parts, &structure);
	if (r == -EINVAL) {
		log_warning(
			"%s: message %u: its structure can not be understood, .parts shows the header only",
			folder->name, parts->uid);
		parts->cut = MIME_CUT_UNKNOWN;
		return parts->section[0] ? -ENOENT : 0;
	}
	if (r < 0)
		return r;
	r = find_leaves(parts, structure);
	mime_kept_put(
		&tree->parts.structure, node_message(parts->folder, parts->uid, false), structure);
	return r;
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
	if (r == 0)
		r = sort_leaves(parts);
	if (r < 0)
		return r;
	*ret = parts;
	cache_add(tree, steal_ptr(parts));
	return 0;
}

/* No lock is held across the disk: whose turn it is, is a state. */
static void turn_begin(struct parts_cache *cache)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&cache->lock);
	while (cache->loading)
		pthread_cond_wait(&cache->loaded, &cache->lock);
	cache->loading = true;
}

static void turn_end(struct parts_cache *cache)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&cache->lock);
	cache->loading = false;
	pthread_cond_signal(&cache->loaded);
}

/* Of several who want the same, one reads it. */
static int parts_load_once(struct tree *tree, const struct folder *folder, uint32_t number,
	uint32_t uid, const char *section, struct parts **ret)
{
	turn_begin(&tree->parts);
	struct parts *parts = cache_find(&tree->parts, number, uid, section);
	bool found = parts;
	int r = found ? 0 : parts_load(tree, folder, number, uid, section, &parts);
	turn_end(&tree->parts);
	/* That takes a while, and concerns nobody else. */
	if (r == 0 && !found && parts->heavy)
		give_memory_back();
	if (r == 0)
		*ret = parts;
	return r;
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
	/* Where another takes its place in between, the store is asked, like for one that is not kept. */
	if (mime_kept_has(&tree->parts.structure, node_message(number, uid, false)) &&
		parts_load_once(tree, folder, number, uid, section, ret) == 0)
		return 0;
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
	return parts_load_once(tree, folder, number, uid, section, ret);
}
