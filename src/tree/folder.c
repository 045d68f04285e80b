/* SPDX-License-Identifier: MIT */
/*
 * One folder: what it is at the moment, and the ways to it. What these calls tell may be over when
 * they return; the folder itself stays.
 */
#include <errno.h>

#include "mailfs/util/cleanup.h"

#include "private.h"

struct folder *folder_find(struct tree *tree, const struct folder *folder, const char *name)
{
	pthread_rwlock_rdlock(&tree->folders_lock);
	struct folder *child = folder_child(folder, name);
	pthread_rwlock_unlock(&tree->folders_lock);
	return child;
}

bool folder_place_at(
	struct tree *tree, const struct folder *folder, size_t place, struct folder **ret)
{
	pthread_rwlock_rdlock(&tree->folders_lock);
	bool found = place < folder->place_count;
	*ret = found ? folder->places[place] : NULL;
	pthread_rwlock_unlock(&tree->folders_lock);
	if (found && !atomic_load(&(*ret)->shown))
		*ret = NULL;
	return found;
}

size_t folder_children(struct tree *tree, const struct folder *folder)
{
	pthread_rwlock_rdlock(&tree->folders_lock);
	size_t count = folder->child_count;
	pthread_rwlock_unlock(&tree->folders_lock);
	return count;
}

struct sync_folder *folder_sync(const struct folder *folder)
{
	return atomic_load(&folder->mailbox) ? atomic_load(&folder->sync) : NULL;
}

struct sync_folder *folder_messages(const struct folder *folder)
{
	struct sync_folder *sync = folder_sync(folder);
	return sync && !(sync_folder_mailbox(sync)->flags & SOURCE_MAILBOX_NOSELECT) ? sync : NULL;
}

uint64_t folder_node(const struct tree *tree, const struct folder *folder, bool view)
{
	return folder == tree->root && !view
	               ? TREE_NODE_ROOT
	               : node_directory(atomic_load(&folder->directory), view);
}

bool folder_is_incomplete(struct folder *folder)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	return folder->incomplete;
}

struct folder *folder_of_number(struct tree *tree, uint32_t number)
{
	pthread_rwlock_rdlock(&tree->folders_lock);
	struct folder *folder = numbers_get(&tree->folders, number);
	pthread_rwlock_unlock(&tree->folders_lock);
	return folder;
}

int folder_set_number(struct tree *tree, uint32_t number, struct folder *folder)
{
	pthread_rwlock_wrlock(&tree->folders_lock);
	int r = numbers_put(&tree->folders, number, folder);
	pthread_rwlock_unlock(&tree->folders_lock);
	return r;
}

struct folder *folder_of_sync(struct sync_folder *sync)
{
	struct folder *folder = sync_folder_data(sync);
	return folder && folder_sync(folder) == sync ? folder : NULL;
}

int folder_of_node(struct tree *tree, struct node_number n, struct folder **ret)
{
	struct folder *folder = tree->root;
	if (n.kind != NODE_ROOT) {
		if (n.kind != NODE_DIRECTORY && n.kind != NODE_VIEW)
			return -ENOENT;
		pthread_rwlock_rdlock(&tree->folders_lock);
		folder = numbers_get(&tree->directories, n.number);
		pthread_rwlock_unlock(&tree->folders_lock);
	}
	if (!folder)
		return -ENOENT;
	/* Whoever looks at the mount must not take it for one that is empty, or for no mount at all. */
	if (!atomic_load(&folder->shown))
		return folder == tree->root ? -EIO : -ENOENT;
	*ret = folder;
	return 0;
}

/* Up to the root first, which is what a path begins below. */
int folder_path(const struct tree *tree, const struct folder *folder, struct str *out)
{
	if (folder == tree->root)
		return 0;
	if (!folder->parent)
		return -ENOENT;
	int r = folder_path(tree, folder->parent, out);
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
	struct folder *folder;
	int r = n.kind == NODE_VIEW ? -ENOENT : folder_of_node(tree, n, &folder);
	return r < 0 ? -ENOENT : folder_path(tree, folder, out);
}

int64_t folder_time(struct folder *folder)
{
	struct store_mailbox state = {0};
	struct sync_folder *sync = folder_sync(folder);
	if (sync)
		sync_folder_state(sync, &state);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	return state.changed_s > folder->moved_s ? state.changed_s : folder->moved_s;
}

bool folder_announced(struct folder *folder)
{
	return folder_number(folder) != 0;
}

uint32_t folder_number(struct folder *folder)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	return folder->number;
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
	struct sync_folder *sync = folder_messages(folder);
	if (!sync || call->waited & WAITED_LISTING)
		return 0;
	if (sync_folder_progress(sync, &seen, &err) == SYNC_LISTING_WHOLE)
		return 0;
	call->waited |= WAITED_LISTING;
	return (int)call_waits(call, WAITED_LISTING, sync_folder_refresh(sync, &call->waiter));
}
