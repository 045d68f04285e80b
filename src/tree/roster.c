/* SPDX-License-Identifier: MIT */
/*
 * Folders that come and go while the tree is looked at. One change of the tree is one step under
 * folders_lock: who looks sees the state before or after it. Afterwards, without the lock, the
 * kernel is told what to forget, then whoever waits for events.
 *
 * A mailbox that is gone leaves its directory where there are others below it. A directory without
 * a mailbox goes with the last one below it.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/log.h"

#include "folder_name.h"
#include "private.h"

#define DEPTH_MAX (FOLDER_DEPTH_MAX + 1)

/* What one event has done. */
struct change {
	struct folder *lost; /* has no mailbox any more; NULL: none */
	struct index messages;
	struct folder *hidden[DEPTH_MAX]; /* not there any more, the innermost first */
	size_t hidden_count;
	struct folder *placed;           /* has one now; NULL: none */
	bool renumbered;                 /* … and was there before under another number */
	struct folder *shown[DEPTH_MAX]; /* there now, the innermost first */
	size_t shown_count;
};

/* --- In the tree --- */

/* The folder's messages are nobody's any more. */
static uint32_t take_messages(struct folder *folder, struct index *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	uint32_t number = folder->number;
	*ret = folder->index;
	index_init(&folder->index, ret->pages);
	folder->number = 0;
	folder->epoch++;
	folder->version++;
	folder->incomplete = false;
	return number;
}

/* Lock held. */
static void lose(struct tree *tree, struct sync_folder *sync, struct change *change)
{
	struct folder *folder = folder_of_sync(sync);
	if (!folder)
		return;
	atomic_store(&folder->mailbox, false);
	uint32_t number = take_messages(folder, &change->messages);
	if (number && numbers_get(&tree->folders, number) == folder)
		numbers_put(&tree->folders, number, NULL);
	change->lost = folder;
	change->hidden_count = folder_prune(folder, change->hidden, DEPTH_MAX);
}

/* What stands above a place; their numbers are needed where there is no mailbox for them. Blocks: disk. */
static int make_up(const struct tree *tree, const char *wire, const struct folder_path *path,
	struct made_up **ret)
{
	_cleanup_free_ struct made_up *made_up = calloc(path->count + 1, sizeof(*made_up));
	int r = made_up ? 0 : -ENOMEM;
	for (size_t i = 0; i + 1 < path->count && r == 0; i++) {
		_cleanup_free_ char *parent = strndup(wire, path->items[i].wire_len);
		r = parent ? folders_made_up(tree, parent, &made_up[i]) : -ENOMEM;
	}
	if (r == 0)
		*ret = steal_ptr(made_up);
	return r;
}

/* The number of the directory that is there already; 0: none is. Lock held. */
static uint32_t number_at(const struct tree *tree, const struct folder_path *path)
{
	const struct folder *at = tree->top;
	for (size_t i = 0; i < path->count && at; i++)
		at = folder_child(at, path->items[i].name);
	return at && !atomic_load(&at->mailbox) ? atomic_load(&at->directory) : 0;
}

/* Lock held. */
static int put(struct tree *tree, struct sync_folder *sync, const struct folder_path *path,
	const struct made_up *made_up, struct change *change)
{
	struct folder *folder = NULL;
	uint32_t before = number_at(tree, path);
	tree->generations++;
	int r = folders_place(tree, sync, path, made_up, &folder);
	if (r < 0) {
		folder_prune(folder, change->shown, DEPTH_MAX);
		return r;
	}
	change->placed = folder;
	change->renumbered = before && before != atomic_load(&folder->directory);
	for (; folder->parent && atomic_load(&folder->generation) == tree->generations &&
		change->shown_count < DEPTH_MAX;
		folder = folder->parent)
		change->shown[change->shown_count++] = folder;
	return 0;
}

static int place(struct tree *tree, struct sync_folder *sync, struct sync_folder *former,
	struct change *change)
{
	_cleanup_(folder_path_finish) struct folder_path path = {0};
	_cleanup_free_ struct made_up *made_up = NULL;
	const struct source_mailbox *mailbox = sync_folder_mailbox(sync);
	int r = folders_split(tree, mailbox, &path);
	if (r == 0)
		r = make_up(tree, mailbox->name, &path, &made_up);
	pthread_rwlock_wrlock(&tree->folders_lock);
	if (former)
		lose(tree, former, change);
	if (r == 0)
		r = put(tree, sync, &path, made_up, change);
	pthread_rwlock_unlock(&tree->folders_lock);
	return r;
}

/* --- To those who look --- */

/* The time of a directory that is nobody's mailbox is kept with the mailboxes'. Blocks: disk. */
static void keep_time(struct tree *tree, const struct folder *folder, int64_t moved_s)
{
	struct store_mailbox state;
	pthread_rwlock_rdlock(&tree->folders_lock);
	_cleanup_free_ char *wire = folder_sync(folder) ? NULL : strdup(folder->wire);
	pthread_rwlock_unlock(&tree->folders_lock);
	if (!wire || store_mailbox_get(tree->store, wire, &state) < 0)
		return;
	state.changed_s = moved_s;
	if (store_mailbox_put(tree->store, wire, &state) < 0)
		log_debug("%s: the time of its last change is not kept", folder->name);
}

/* Children of the folder came or went. */
static void touch(struct tree *tree, struct folder *folder)
{
	int64_t before_s = folder_time(folder), now_s = clock_wall_s();
	pthread_mutex_lock(&folder->lock);
	int64_t moved_s = now_s > before_s ? now_s : before_s + 1;
	folder->moved_s = moved_s;
	folder->version++;
	pthread_mutex_unlock(&folder->lock);
	keep_time(tree, folder, moved_s);
	tell_directory(tree, folder);
}

/* The entries of a directory in its parent. */
static void tell_entry(struct tree *tree, const struct folder *folder)
{
	const struct tree_observer *observer = atomic_load(&tree->observer);
	if (!observer || !folder->parent)
		return;
	for (int view = 0; view <= 1; view++)
		observer->gone(
			observer->arg, folder_node(tree, folder->parent, view), folder->name);
}

static void tell_disappeared(struct tree *tree, const struct folder *folder)
{
	const struct tree_observer *observer = atomic_load(&tree->observer);
	if (observer && observer->disappeared)
		observer->disappeared(observer->arg, folder_node(tree, folder->parent, false),
			folder->name, folder_node(tree, folder, false), true);
}

static void tell_appeared(struct tree *tree, const struct folder *folder)
{
	const struct tree_observer *observer = atomic_load(&tree->observer);
	if (observer && observer->appeared)
		observer->appeared(observer->arg, folder_node(tree, folder->parent, false),
			folder->name, true);
}

static bool is_among(struct folder *const *folders, size_t count, const struct folder *folder)
{
	for (size_t i = 0; i < count; i++)
		if (folders[i] == folder)
			return true;
	return false;
}

static void tell_lost(struct tree *tree, struct change *change)
{
	struct folder *lost = change->lost;
	if (!lost)
		return;
	/* What is forgotten with its directory needs no order of its own; the root is never forgotten. */
	if (!is_among(change->hidden, change->hidden_count, lost) || lost == tree->root) {
		tell_all_gone(tree, lost, &change->messages);
		tell_directory(tree, lost);
	}
	for (size_t i = 0; i < change->hidden_count; i++)
		tell_entry(tree, change->hidden[i]);
	if (change->hidden_count > 0)
		touch(tree, change->hidden[change->hidden_count - 1]->parent);
	if (is_among(change->hidden, change->hidden_count, tree->root))
		tell_directory(tree, tree->root);
	for (size_t i = 0; i < change->hidden_count; i++)
		tell_disappeared(tree, change->hidden[i]);
}

static void tell_placed(struct tree *tree, const struct change *change)
{
	struct folder *placed = change->placed;
	if (!placed)
		return;
	if (change->shown_count > 0) {
		touch(tree, change->shown[change->shown_count - 1]->parent);
	} else {
		/* A directory that was there has got a mailbox. */
		if (change->renumbered)
			tell_entry(tree, placed);
		tell_directory(tree, placed);
	}
	if (is_among(change->shown, change->shown_count, tree->root))
		tell_directory(tree, tree->root);
	for (size_t i = change->shown_count; i > 0; i--)
		tell_appeared(tree, change->shown[i - 1]);
}

static void tell_news(struct tree *tree, const struct change *change)
{
	_cleanup_str_ struct str lost = STR_INIT, placed = STR_INIT;
	if (!news_wanted(tree))
		return;
	bool has_lost = change->lost && folder_path(tree, change->lost, &lost) == 0;
	bool has_placed = change->placed && folder_path(tree, change->placed, &placed) == 0;
	if (has_lost && has_placed)
		news_folder(tree, TREE_NEWS_FOLDER_RENAMED, str_cstr(&placed), str_cstr(&lost));
	else if (has_lost)
		news_folder(tree, TREE_NEWS_FOLDER_GONE, str_cstr(&lost), NULL);
	else if (has_placed)
		news_folder(tree, TREE_NEWS_FOLDER_NEW, str_cstr(&placed), NULL);
}

static void tell(struct tree *tree, struct change *change)
{
	tell_lost(tree, change);
	tell_placed(tree, change);
	tell_news(tree, change);
	index_finish(&change->messages);
}

/* --- Events --- */

void roster_added(void *arg, struct sync_folder *sync, struct sync_folder *former)
{
	struct tree *tree = arg;
	struct change change = {0};
	index_init(&change.messages, &tree->pages);
	int r = place(tree, sync, former, &change);
	if (r < 0)
		log_error("%s: the new folder can not be shown: %s",
			sync_folder_mailbox(sync)->name, strerror(-r));
	tell(tree, &change);
}

void roster_removed(void *arg, struct sync_folder *sync)
{
	struct tree *tree = arg;
	struct change change = {0};
	index_init(&change.messages, &tree->pages);
	pthread_rwlock_wrlock(&tree->folders_lock);
	lose(tree, sync, &change);
	pthread_rwlock_unlock(&tree->folders_lock);
	tell(tree, &change);
}

void roster_attributes(void *arg, struct sync_folder *sync)
{
	struct tree *tree = arg;
	struct folder *folder = folder_of_sync(sync);
	_cleanup_str_ struct str path = STR_INIT;
	if (!folder)
		return;
	pthread_mutex_lock(&folder->lock);
	folder->version++;
	pthread_mutex_unlock(&folder->lock);
	/* Its messages are not shown any more; what the kernel knows of them goes with the directory. */
	if (!folder_messages(folder))
		tell_entry(tree, folder);
	tell_directory(tree, folder);
	if (news_wanted(tree) && folder_path(tree, folder, &path) == 0)
		news_folder(tree, TREE_NEWS_FOLDER_CHANGED, str_cstr(&path), NULL);
}
