/* SPDX-License-Identifier: MIT */
/*
 * The directories of the mail tree, built once from the mailboxes that LIST gave, in the order of
 * their wire names, so that the same mailboxes always give the same tree. A parent that has no
 * mailbox is made up. Where two mailboxes would have the same path (INBOX and inbox, "a/b" and
 * "a.b" with different delimiters), the first in that order has it, and the others get a hash of
 * their wire name behind it.
 *
 * Folders never go away while the tree lives: node numbers, the account's folders and directory
 * handles point to them.
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

#include "folder_name.h"
#include "private.h"

static void folder_destroy(struct folder *folder)
{
	if (!folder)
		return;
	index_finish(&folder->index);
	pthread_mutex_destroy(&folder->lock);
	free(folder->children);
	free(folder->wire);
	free(folder->name);
	free(folder);
}

void folders_destroy(struct tree *tree)
{
	for (size_t i = 0; i < tree->count; i++)
		folder_destroy(tree->all[i]);
	free(tree->all);
	numbers_finish(&tree->directories);
	numbers_finish(&tree->folders);
}

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

static int child_insert(struct folder *parent, struct folder *child)
{
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
	child->parent = parent;
	return 0;
}

/* A folder of the tree, with no parent yet. */
static int folder_create(
	struct tree *tree, const char *name, const char *wire, size_t wire_len, struct folder **ret)
{
	int r = array_grow(&tree->all, &tree->cap, tree->count + 1, sizeof(struct folder *));
	struct folder *folder = r == 0 ? calloc(1, sizeof(*folder)) : NULL;
	if (!folder)
		return -ENOMEM;
	pthread_mutex_init(&folder->lock, NULL);
	index_init(&folder->index);
	folder->cached_version[0] = folder->cached_version[1] = UINT64_MAX;
	tree->all[tree->count++] = folder;
	folder->name = strdup(name);
	folder->wire = strndup(wire, wire_len);
	if (!folder->name || !folder->wire)
		return -ENOMEM;
	*ret = folder;
	return 0;
}

static int child_create(struct tree *tree, struct folder *parent, const char *name,
	const char *wire, size_t wire_len, struct folder **ret)
{
	struct folder *folder;
	int r = folder_create(tree, name, wire, wire_len, &folder);
	if (r == 0)
		r = child_insert(parent, folder);
	if (r == 0)
		*ret = folder;
	return r;
}

/* A name beside one that is taken: NAME~ and a hash of the wire name, within the limit. */
static int twin_create(struct tree *tree, struct folder *parent, const char *name, const char *wire,
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
	return child_create(tree, parent, twin, wire, strlen(wire), ret);
}

/* The folder a mailbox of that path belongs into, made with all its parents. */
static int place_path(
	struct tree *tree, const struct folder_path *path, const char *wire, struct folder **ret)
{
	struct folder *at = tree->top;
	for (size_t i = 0; i < path->count; i++) {
		const struct folder_component *c = &path->items[i];
		struct folder *child = folder_child(at, c->name);
		bool last = i + 1 == path->count;
		int r = 0;
		if (child && last && child->sync)
			r = twin_create(tree, at, c->name, wire, &child);
		else if (!child)
			r = child_create(tree, at, c->name, wire, c->wire_len, &child);
		if (r < 0)
			return r;
		at = child;
	}
	*ret = at;
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

static int place(struct tree *tree, struct sync_folder *sync, folder_decode_fn *decode)
{
	const struct source_mailbox *mailbox = sync_folder_mailbox(sync);
	_cleanup_(folder_path_finish) struct folder_path path = {0};
	_cleanup_free_ char *wire = strndup(mailbox->name, wire_len(mailbox));
	struct folder *folder = NULL;
	int r = wire ? folder_path_split(wire, mailbox->delimiter, decode, &path) : -ENOMEM;
	if (r == 0)
		r = place_path(tree, &path, mailbox->name, &folder);
	if (r < 0)
		return r;
	char *name = strdup(mailbox->name);
	if (!name)
		return -ENOMEM;
	free(folder->wire);
	folder->wire = name;
	folder->sync = sync;
	folder->directory = sync_folder_directory_number(sync);
	sync_folder_set_data(sync, folder);
	return 0;
}

static int sync_compare(const void *a, const void *b)
{
	struct sync_folder *const *x = a, *const *y = b;
	return strcmp(sync_folder_mailbox(*x)->name, sync_folder_mailbox(*y)->name);
}

static int place_all(struct tree *tree, folder_decode_fn *decode)
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
	for (size_t i = 0; i < count && r == 0; i++)
		r = place(tree, sorted[i], decode);
	return r;
}

/* A directory without a mailbox is numbered and dated by what its wire name would be. */
static int settle_made_up(struct tree *tree, struct folder *folder, const char *account)
{
	struct store_mailbox state;
	int r = store_number(
		tree->store, account, STORE_NUMBER_DIRECTORY, folder->wire, 0, &folder->directory);
	if (r < 0)
		return r;
	r = store_mailbox_get(tree->store, folder->wire, &state);
	folder->made_s = r == 0 ? state.changed_s : clock_wall_s();
	return 0;
}

static int settle_all(struct tree *tree, const char *account)
{
	int r = 0;
	for (size_t i = 0; i < tree->count && r == 0; i++) {
		struct folder *folder = tree->all[i];
		if (!folder->sync)
			r = settle_made_up(tree, folder, account);
		if (r == 0)
			r = numbers_put(&tree->directories, folder->directory, folder);
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

static bool is_server_name(const struct folder *folder, const char *name, folder_decode_fn *decode)
{
	_cleanup_str_ struct str decoded = STR_INIT;
	if (!folder->sync)
		return false;
	if (strcmp(folder->wire, name) == 0)
		return true;
	return decode(folder->wire, &decoded) == 0 && strcmp(str_cstr(&decoded), name) == 0;
}

static struct folder *find_root(const struct tree *tree, const struct tree_params *params)
{
	if (!params->root_folder)
		return tree->top;
	struct folder *found = find_path(tree, params->root_folder);
	for (size_t i = 0; i < tree->count && !found; i++)
		if (is_server_name(tree->all[i], params->root_folder, params->decode_name))
			found = tree->all[i];
	return found;
}

int folders_build(struct tree *tree, const struct tree_params *params)
{
	int r = folder_create(tree, "", "", 0, &tree->top);
	if (r == 0)
		r = place_all(tree, params->decode_name);
	if (r == 0)
		r = settle_all(tree, params->account_name);
	if (r == 0) {
		tree->root = find_root(tree, params);
		r = tree->root ? 0 : -ENOENT;
	}
	return r;
}

bool folder_selectable(const struct folder *folder)
{
	return folder->sync &&
	       !(sync_folder_mailbox(folder->sync)->flags & SOURCE_MAILBOX_NOSELECT);
}

uint64_t folder_node(const struct tree *tree, const struct folder *folder, bool view)
{
	return folder == tree->root && !view ? TREE_NODE_ROOT
	                                     : node_directory(folder->directory, view);
}

struct folder *folder_of_number(struct tree *tree, uint32_t number)
{
	pthread_rwlock_rdlock(&tree->folders_lock);
	struct folder *folder = numbers_get(&tree->folders, number);
	pthread_rwlock_unlock(&tree->folders_lock);
	return folder;
}

struct folder *folder_of_node(const struct tree *tree, struct node_number n)
{
	if (n.kind == NODE_ROOT)
		return tree->root;
	return n.kind == NODE_DIRECTORY || n.kind == NODE_VIEW
	               ? numbers_get(&tree->directories, n.number)
	               : NULL;
}

/* Up to the root first, which is what a path begins below. */
static int append_path(const struct tree *tree, const struct folder *folder, struct str *out)
{
	if (folder == tree->root)
		return 0;
	if (!folder->parent)
		return -ENOENT;
	int r = append_path(tree, folder->parent, out);
	if (r < 0)
		return r;
	if (folder->parent != tree->root)
		str_putc(out, '/');
	str_append_cstr(out, folder->name);
	return str_error(out);
}

int tree_directory_path(struct tree *tree, uint64_t node, struct str *out)
{
	struct node_number n = node_parse(node);
	struct folder *folder = n.kind == NODE_VIEW ? NULL : folder_of_node(tree, n);
	return folder ? append_path(tree, folder, out) : -ENOENT;
}

bool folder_announced(struct folder *folder)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	return folder->number != 0;
}

uint64_t folder_epoch(struct folder *folder)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	return folder->epoch;
}

int folder_listed(struct folder *folder, struct tree_call *call)
{
	uint64_t seen;
	int err;
	if (!folder_selectable(folder) || call->waited & WAITED_LISTING)
		return 0;
	if (sync_folder_progress(folder->sync, &seen, &err) == SYNC_LISTING_WHOLE)
		return 0;
	call->waited |= WAITED_LISTING;
	return (int)call_waits(
		call, WAITED_LISTING, sync_folder_refresh(folder->sync, &call->waiter));
}
