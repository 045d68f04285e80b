/* SPDX-License-Identifier: MIT */
/*
 * The directories of the mail tree, built from the mailboxes that LIST gave, in the order of their
 * wire names, so that the same mailboxes always give the same tree. A parent that has no mailbox is
 * made up. Where two mailboxes would have the same path (INBOX and inbox, "a/b" and "a.b" with
 * different delimiters), the first in that order has it, and the others get a hash of their wire
 * name behind it.
 *
 * Mailboxes come and go afterwards (roster.c). A name that is shown stays what it is then: a new
 * mailbox whose name is taken is the twin, whatever the order. Places never go away while the tree
 * lives: node numbers, the account's folders and directory handles point to them. One that comes
 * back has its old place, so there are as many as there ever were names.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/hash.h"
#include "mailfs/util/log.h"

#include "folder_name.h"
#include "private.h"

static void folder_destroy(struct folder *folder)
{
	if (!folder)
		return;
	index_finish(&folder->index);
	pthread_mutex_destroy(&folder->lock);
	free(folder->children);
	free(folder->places);
	free(folder->wire);
	free(folder->name);
	free(folder);
}

void folders_destroy(struct tree *tree)
{
	for (size_t i = 0; i < tree->count; i++)
		folder_destroy(tree->all[i]);
	free(tree->all);
	free(tree->account_name);
	free(tree->control);
	numbers_finish(&tree->directories);
	numbers_finish(&tree->folders);
}

/* --- Children --- */

/* Where name stands, or would stand, among the children. */
static size_t child_position(const struct folder *folder, const char *name, bool *ret_found)
{
	size_t low = 0, high = folder->child_count;
	*ret_found = false;
	while (low < high && !*ret_found) {
		size_t mid = low + (high - low) / 2;
		int order = strcmp(folder->children[mid]->name, name);
		*ret_found = order == 0;
		if (order < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return *ret_found ? high : low;
}

struct folder *folder_child(const struct folder *folder, const char *name)
{
	bool found;
	size_t at = child_position(folder, name, &found);
	return found ? folder->children[at] : NULL;
}

struct folder *folder_former_child(const struct folder *folder, const char *name)
{
	struct folder *child = folder_child(folder, name);
	for (size_t i = 0; i < folder->place_count && !child; i++)
		if (strcmp(folder->places[i]->name, name) == 0)
			child = folder->places[i];
	return child;
}

/* Shows child in its parent, under a generation of its own. */
static int child_show(struct tree *tree, struct folder *child)
{
	struct folder *parent = child->parent;
	bool found;
	size_t at = child_position(parent, child->name, &found);
	int r = array_grow(&parent->children, &parent->child_cap, parent->child_count + 1,
		sizeof(struct folder *));
	if (r < 0)
		return r;
	memmove(parent->children + at + 1, parent->children + at,
		(parent->child_count - at) * sizeof(struct folder *));
	parent->children[at] = child;
	parent->child_count++;
	atomic_store(&child->generation, tree->generations);
	atomic_store(&child->shown, true);
	return 0;
}

static void child_hide(struct folder *child)
{
	struct folder *parent = child->parent;
	bool found;
	size_t at = child_position(parent, child->name, &found);
	atomic_store(&child->shown, false);
	if (!found)
		return;
	parent->child_count--;
	memmove(parent->children + at, parent->children + at + 1,
		(parent->child_count - at) * sizeof(struct folder *));
}

size_t folder_prune(struct folder *folder, struct folder **ret, size_t max)
{
	size_t count = 0;
	while (folder->parent && atomic_load(&folder->shown) && !atomic_load(&folder->mailbox) &&
		folder->child_count == 0 && count < max) {
		child_hide(folder);
		ret[count++] = folder;
		folder = folder->parent;
	}
	return count;
}

/* --- Places --- */

/* A folder of the tree, with no parent yet. */
static int folder_create(
	struct tree *tree, const char *name, const char *wire, size_t wire_len, struct folder **ret)
{
	int r = array_grow(&tree->all, &tree->cap, tree->count + 1, sizeof(struct folder *));
	struct folder *folder = r == 0 ? calloc(1, sizeof(*folder)) : NULL;
	if (!folder)
		return -ENOMEM;
	pthread_mutex_init(&folder->lock, NULL);
	index_init(&folder->index, &tree->pages);
	folder->cached_version[0] = folder->cached_version[1] = UINT64_MAX;
	tree->all[tree->count++] = folder;
	folder->name = strdup(name);
	folder->wire = strndup(wire, wire_len);
	if (!folder->name || !folder->wire)
		return -ENOMEM;
	*ret = folder;
	return 0;
}

static int place_create(struct tree *tree, struct folder *parent, const char *name,
	const char *wire, size_t wire_len, struct folder **ret)
{
	struct folder *folder;
	if (parent->place_count == DIR_CHILDREN_MAX) {
		log_error("%s: too many folders in it: one is not shown", parent->name);
		return -ENOSPC;
	}
	int r = array_grow(&parent->places, &parent->place_cap, parent->place_count + 1,
		sizeof(struct folder *));
	if (r == 0)
		r = folder_create(tree, name, wire, wire_len, &folder);
	if (r < 0)
		return r;
	folder->parent = parent;
	parent->places[parent->place_count++] = folder;
	*ret = folder;
	return 0;
}

static void set_time(struct folder *folder, int64_t time_s)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	if (folder->moved_s < time_s)
		folder->moved_s = time_s;
}

/* Shows a directory of that name, which is not there at the moment; made_up: what it is without a mailbox. */
static int child_make(struct tree *tree, struct folder *parent, const char *name, const char *wire,
	size_t wire_len, const struct made_up *made_up, struct folder **ret)
{
	struct folder *folder = folder_former_child(parent, name);
	int r = folder ? 0 : place_create(tree, parent, name, wire, wire_len, &folder);
	if (r == 0 && made_up) {
		set_time(folder, made_up->time_s);
		atomic_store(&folder->directory, made_up->number);
		r = numbers_put(&tree->directories, made_up->number, folder);
	}
	if (r == 0)
		r = child_show(tree, folder);
	if (r == 0)
		*ret = folder;
	return r;
}

/* A name beside one that is taken: NAME~ and a hash of the wire name, within the limit. */
static int twin_make(struct tree *tree, struct folder *parent, const char *name, const char *wire,
	struct folder **ret)
{
	uint64_t hash = hash64(HASH64_INIT, wire, strlen(wire));
	char twin[FOLDER_NAME_MAX + 1];
	do {
		hash = hash64_finish(hash);
		size_t keep = strlen(name);
		if (keep > FOLDER_NAME_MAX - 9)
			keep = FOLDER_NAME_MAX - 9;
		while (keep > 0 && ((unsigned char)name[keep] & 0xc0) == 0x80)
			keep--;
		snprintf(twin, sizeof(twin), "%.*s~%08" PRIx32, (int)keep, name, (uint32_t)hash);
	} while (folder_child(parent, twin));
	return child_make(tree, parent, twin, wire, strlen(wire), NULL, ret);
}

/* The folder a mailbox of that path belongs into, made with all its parents. */
static int place_path(struct tree *tree, const struct folder_path *path, const char *wire,
	const struct made_up *made_up, struct folder **ret)
{
	*ret = tree->top;
	for (size_t i = 0; i < path->count; i++) {
		const struct folder_component *c = &path->items[i];
		struct folder *child = folder_child(*ret, c->name);
		bool last = i + 1 == path->count;
		int r = 0;
		if (child && last && atomic_load(&child->mailbox))
			r = twin_make(tree, *ret, c->name, wire, &child);
		else if (!child)
			r = child_make(tree, *ret, c->name, wire, c->wire_len,
				made_up && !last ? &made_up[i] : NULL, &child);
		if (r < 0)
			return r;
		*ret = child;
	}
	return 0;
}

int folders_place(struct tree *tree, struct sync_folder *sync, const struct folder_path *path,
	const struct made_up *made_up, struct folder **ret)
{
	const char *wire = sync_folder_mailbox(sync)->name;
	uint32_t directory = sync_folder_directory_number(sync);
	int r = place_path(tree, path, wire, made_up, ret);
	char *copy = r == 0 ? strdup(wire) : NULL;
	if (copy && made_up)
		r = numbers_put(&tree->directories, directory, *ret);
	if (r < 0 || !copy) {
		free(copy);
		return r < 0 ? r : -ENOMEM;
	}
	free((*ret)->wire);
	(*ret)->wire = copy;
	atomic_store(&(*ret)->directory, directory);
	atomic_store(&(*ret)->sync, sync);
	atomic_store(&(*ret)->mailbox, true);
	sync_folder_set_data(sync, *ret);
	return 0;
}

/*
 * Namespace roots are often listed as "Shared/": that is the directory, not one without a name
 * below it.
 */
static size_t wire_len(const struct source_mailbox *mailbox)
{
	size_t len = strlen(mailbox->name);
	bool open_end = mailbox->flags & SOURCE_MAILBOX_NOSELECT && mailbox->delimiter && len > 1 &&
	                mailbox->name[len - 1] == mailbox->delimiter;
	return open_end ? len - 1 : len;
}

int folders_split(
	const struct tree *tree, const struct source_mailbox *mailbox, struct folder_path *ret)
{
	_cleanup_free_ char *wire = strndup(mailbox->name, wire_len(mailbox));
	return wire ? folder_path_split(wire, mailbox->delimiter, tree->decode_name, ret) : -ENOMEM;
}

/* --- Building --- */

static int place(struct tree *tree, struct sync_folder *sync)
{
	_cleanup_(folder_path_finish) struct folder_path path = {0};
	struct folder *folder;
	int r = folders_split(tree, sync_folder_mailbox(sync), &path);
	return r < 0 ? r : folders_place(tree, sync, &path, NULL, &folder);
}

static int sync_compare(const void *a, const void *b)
{
	struct sync_folder *const *x = a, *const *y = b;
	return strcmp(sync_folder_mailbox(*x)->name, sync_folder_mailbox(*y)->name);
}

static int place_all(struct tree *tree)
{
	size_t count = sync_account_folder_count(tree->account);
	_cleanup_free_ struct sync_folder **sorted =
		calloc(count + 1, sizeof(struct sync_folder *));
	if (!sorted)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++)
		sorted[i] = sync_account_folder(tree->account, i);
	qsort(sorted, count, sizeof(struct sync_folder *), sync_compare);
	int r = 0;
	for (size_t i = 0; i < count && r == 0; i++) {
		r = place(tree, sorted[i]);
		r = r == -ENOSPC ? 0 : r;
	}
	return r;
}

int folders_made_up(const struct tree *tree, const char *wire, struct made_up *ret)
{
	struct store_mailbox state;
	int r = store_number(
		tree->store, tree->account_name, STORE_NUMBER_DIRECTORY, wire, 0, &ret->number);
	if (r < 0)
		return r;
	r = store_mailbox_get(tree->store, wire, &state);
	ret->time_s = r == 0 ? state.changed_s : clock_wall_s();
	return 0;
}

/* A directory without a mailbox is numbered and dated by what its wire name would be. */
static int settle_made_up(struct tree *tree, struct folder *folder)
{
	struct made_up made_up;
	int r = folders_made_up(tree, folder->wire, &made_up);
	if (r < 0)
		return r;
	atomic_store(&folder->directory, made_up.number);
	folder->moved_s = made_up.time_s;
	return 0;
}

/* What was made in the order of wire names is listed in that of names. */
static int settle_all(struct tree *tree)
{
	int r = 0;
	for (size_t i = 0; i < tree->count && r == 0; i++) {
		struct folder *folder = tree->all[i];
		for (size_t j = 0; j < folder->child_count; j++)
			folder->places[j] = folder->children[j];
		if (!atomic_load(&folder->mailbox))
			r = settle_made_up(tree, folder);
		if (r == 0)
			r = numbers_put(
				&tree->directories, atomic_load(&folder->directory), folder);
	}
	return r;
}

/* Follows a path as the tree shows it. */
static struct folder *find_path(const struct tree *tree, const char *path)
{
	struct folder *at = tree->top;
	while (at && *path) {
		size_t len = strcspn(path, "/");
		_cleanup_free_ char *name = strndup(path, len);
		if (!name)
			return NULL;
		if (at == tree->top && strcasecmp(name, "inbox") == 0)
			at = folder_child(at, "INBOX");
		else if (len > 0)
			at = folder_child(at, name);
		path += len + (path[len] == '/');
	}
	return at;
}

static bool is_server_name(const struct tree *tree, const struct folder *folder, const char *name)
{
	_cleanup_str_ struct str decoded = STR_INIT;
	if (!atomic_load(&folder->mailbox))
		return false;
	if (strcmp(folder->wire, name) == 0)
		return true;
	return tree->decode_name(folder->wire, &decoded) == 0 &&
	       strcmp(str_cstr(&decoded), name) == 0;
}

static struct folder *find_root(const struct tree *tree, const char *name)
{
	if (!name)
		return tree->top;
	struct folder *found = find_path(tree, name);
	for (size_t i = 0; i < tree->count && !found; i++)
		if (is_server_name(tree, tree->all[i], name))
			found = tree->all[i];
	return found;
}

int folders_build(struct tree *tree, const struct tree_params *params)
{
	tree->decode_name = params->decode_name;
	tree->account_name = strdup(params->account_name);
	int r = tree->account_name ? folder_create(tree, "", "", 0, &tree->top) : -ENOMEM;
	if (r < 0)
		return r;
	atomic_store(&tree->top->shown, true);
	r = place_all(tree);
	if (r == 0)
		r = settle_all(tree);
	if (r == 0) {
		tree->root = find_root(tree, params->root_folder);
		r = tree->root ? 0 : -ENOENT;
	}
	return r;
}
