/* SPDX-License-Identifier: MIT */
/*
 * Open directories. The offset of an entry is its place: ".", "..", the subfolders, .parts where it
 * is listed, then the messages by their position in the index, which stays while the directory is
 * open. So any offset can be read again, and a folder can be read while it is still being listed.
 *
 * A listing never ends early: its end is where sync said, before the index was looked at, that all
 * was announced. A folder that was listed anew under another identity meanwhile is an error in the
 * middle, not a mixture.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"

#include "private.h"

struct tree_dir {
	struct tree *tree;
	struct folder *folder;
	bool view;
	bool cacheable, unchanged;
	/* Of the index, when it was opened or read from its beginning; guarded by the folder's lock. */
	uint64_t epoch;

	/* a directory inside a message: */
	struct parts *parts;
	struct index_entry message;
	uint64_t self, parent; /* inode numbers */
};

struct fill {
	tree_fill_fn *fn;
	void *arg;
	bool references;
	bool full;
	size_t count;
};

/* Hands over one entry; without references it is only a name with a type and an inode number. */
static bool fill_entry(struct fill *fill, const char *name, struct tree_entry *entry, uint64_t next)
{
	if (!fill->references)
		entry->node = 0;
	fill->full = !fill->fn(fill->arg, name, entry, next);
	fill->count += fill->full ? 0 : 1;
	return !fill->full;
}

static bool fill_dot(
	struct fill *fill, const struct tree *tree, const char *name, uint64_t ino, uint64_t next)
{
	struct tree_entry entry = {0};
	attr_directory(tree, ino, 2, 0, &entry.attr);
	return fill_entry(fill, name, &entry, next);
}

/* --- A folder, or its view --- */

/* Makes the listing current, or, the first time, begins it. */
static int open_listing(struct folder *folder, struct tree_call *call)
{
	int r = 0, err = -EIO;
	while (r == 0) {
		uint64_t seen;
		enum sync_listing state = sync_folder_progress(folder->sync, &seen, &err);
		bool begun = state == SYNC_LISTING_WHOLE || state == SYNC_LISTING_FAILED;
		if (begun && call->waited & WAITED_LISTING)
			return state == SYNC_LISTING_WHOLE ? 0 : err;
		if (state == SYNC_LISTING_RUNNING && folder_announced(folder))
			return 0;
		call->waited |= WAITED_LISTING;
		r = begun ? sync_folder_refresh(folder->sync, &call->waiter)
		          : sync_folder_wait(folder->sync, seen, &call->waiter);
		r = (int)call_waits(call, WAITED_LISTING, r);
		if (r == 0 && begun)
			return 0;
	}
	return r;
}

/*
 * Counts as a reader from now on. The kernel may keep what it reads once all is announced; what it
 * kept before is right if nothing changed since, and then it may begin in the middle.
 */
static void attach(struct tree_dir *dir)
{
	struct folder *folder = dir->folder;
	uint64_t seen;
	int err;
	dir->cacheable = !folder_selectable(folder) ||
	                 sync_folder_progress(folder->sync, &seen, &err) == SYNC_LISTING_WHOLE;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	if (folder->open_dirs++ == 0 && index_wasteful(&folder->index) &&
		index_compact(&folder->index) == 0)
		folder->version++;
	dir->epoch = folder->epoch;
	uint64_t *cached = &folder->cached_version[dir->view];
	dir->unchanged = dir->cacheable && *cached == folder->version;
	*cached = dir->cacheable ? folder->version : UINT64_MAX;
}

/* A refresh may have moved the folder's time after the kernel was told another. */
static void correct_time(struct tree *tree, struct folder *folder)
{
	struct store_mailbox state;
	if (!folder->sync)
		return;
	sync_folder_state(folder->sync, &state);
	pthread_mutex_lock(&folder->lock);
	bool stale = folder->told_s && folder->told_s != state.changed_s;
	folder->told_s = stale ? state.changed_s : folder->told_s;
	pthread_mutex_unlock(&folder->lock);
	if (stale)
		tell_directory(tree, folder);
}

static int open_folder(struct tree *tree, struct folder *folder, bool view, struct tree_dir **ret,
	struct tree_call *call)
{
	int r = folder_selectable(folder) ? open_listing(folder, call) : 0;
	if (r < 0)
		return r;
	struct tree_dir *dir = calloc(1, sizeof(*dir));
	if (!dir)
		return -ENOMEM;
	dir->tree = tree;
	dir->folder = folder;
	dir->view = view;
	attach(dir);
	correct_time(tree, folder);
	*ret = dir;
	return 0;
}

static uint64_t parent_ino(const struct tree_dir *dir)
{
	const struct folder *folder = dir->folder;
	if (folder == dir->tree->root || !folder->parent)
		return TREE_NODE_ROOT;
	return folder_node(dir->tree, folder->parent, dir->view);
}

static bool lists_view(const struct tree_dir *dir)
{
	return dir->tree->views_listed && !dir->view;
}

/* Offsets below this one are not messages. */
static uint64_t first_message(const struct tree_dir *dir)
{
	return 2 + dir->folder->child_count + (lists_view(dir) ? 1 : 0);
}

static bool fill_folder_entry(const struct tree_dir *dir, uint64_t offset, struct fill *fill)
{
	struct tree *tree = dir->tree;
	struct tree_entry entry;
	if (offset == 0)
		return fill_dot(fill, tree, ".", folder_node(tree, dir->folder, dir->view), 1);
	if (offset == 1)
		return fill_dot(fill, tree, "..", parent_ino(dir), 2);
	bool child = offset - 2 < dir->folder->child_count;
	struct folder *shown = child ? dir->folder->children[offset - 2] : dir->folder;
	entry_folder(tree, shown, dir->view || !child, &entry);
	return fill_entry(fill, child ? shown->name : VIEW_PARTS, &entry, offset + 1);
}

static bool fill_message(
	const struct tree_dir *dir, struct index_entry *message, uint64_t next, struct fill *fill)
{
	struct folder *folder = dir->folder;
	struct tree_entry entry;
	char view_name[MIME_NAME_MAX + 1];
	const char *name = index_name(&folder->index, message);
	if (dir->view) {
		size_t len = message_view_len(name);
		memcpy(view_name, name, len);
		view_name[len] = 0;
		name = view_name;
	}
	entry_message(dir->tree, folder->number, message, dir->view, &entry);
	if (!fill_entry(fill, name, &entry, next))
		return false;
	if (fill->references)
		message->flags |= dir->view ? INDEX_SHOWN_VIEW : INDEX_SHOWN;
	return true;
}

/*
 * Messages from a position on, as far as they are announced and there is room. -EAGAIN: epoch is
 * over, and nothing was read yet.
 */
static int fill_messages(
	struct tree_dir *dir, uint64_t epoch, uint64_t first, uint64_t position, struct fill *fill)
{
	struct folder *folder = dir->folder;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	if (position == 0)
		dir->epoch = epoch;
	if (dir->epoch != folder->epoch)
		return position == 0 ? -EAGAIN : -EIO;
	if (folder->incomplete)
		return -EIO;
	for (; position < folder->index.count; position++) {
		struct index_entry *message = index_at(&folder->index, position);
		if (!(message->flags & INDEX_GONE) &&
			!fill_message(dir, message, first + position + 1, fill))
			break;
	}
	return 0;
}

/* Whether there is more to come than what is announced: 0: look again, 1: no, this is the end. */
static int wait_for_more(struct folder *folder, enum sync_listing state, uint64_t seen, int err,
	struct tree_call *call)
{
	if (state == SYNC_LISTING_WHOLE)
		return 1;
	if (state == SYNC_LISTING_FAILED)
		return err < 0 ? err : -EIO;
	return sync_folder_wait(folder->sync, seen, &call->waiter);
}

static int read_messages(
	struct tree_dir *dir, uint64_t offset, struct fill *fill, struct tree_call *call)
{
	struct folder *folder = dir->folder;
	uint64_t first = first_message(dir), seen;
	int r = 0, err;
	while (r == 0) {
		/*
		 * In this order: what is announced, or begins anew, after either was asked for must
		 * not be missed.
		 */
		uint64_t epoch = folder_epoch(folder);
		enum sync_listing state = sync_folder_progress(folder->sync, &seen, &err);
		r = fill_messages(dir, epoch, first, offset - first, fill);
		if (r == 0 && (fill->count > 0 || fill->full))
			break;
		if (r == 0)
			r = wait_for_more(folder, state, seen, err, call);
		else if (r == -EAGAIN)
			r = 0;
	}
	return fill->count > 0 || r > 0 ? 0 : r;
}

static int read_folder(
	struct tree_dir *dir, uint64_t offset, struct fill *fill, struct tree_call *call)
{
	for (; offset < first_message(dir); offset++)
		if (!fill_folder_entry(dir, offset, fill))
			return 0;
	return folder_selectable(dir->folder) ? read_messages(dir, offset, fill, call) : 0;
}

/* --- A directory inside a message --- */

static int open_inside(
	struct tree *tree, uint64_t node, struct tree_dir **ret, struct tree_call *call)
{
	_cleanup_str_ struct str section = STR_INIT;
	uint32_t number, uid;
	_cleanup_free_ struct tree_dir *dir = calloc(1, sizeof(*dir));
	int r = dir ? inside_directory(tree, node, &number, &uid, &section) : -ENOMEM;
	if (r == 0)
		r = message_get(tree, number, uid, &dir->folder, &dir->message);
	if (r == 0)
		r = parts_get(
			tree, dir->folder, number, uid, str_cstr(&section), &dir->parts, call);
	if (r < 0)
		return r;
	uint64_t message = node_message(number, uid, true);
	dir->tree = tree;
	dir->cacheable = dir->unchanged = true; /* a message never changes */
	dir->self = section.len ? node_inside_ino(number, uid, section.data) : message;
	dir->parent = section.len ? message : folder_node(tree, dir->folder, true);
	*ret = steal_ptr(dir);
	return 0;
}

/* The entry at place: 0 is the header, then the leaves. */
static int fill_inside_entry(const struct tree_dir *dir, size_t place, struct fill *fill)
{
	struct tree *tree = dir->tree;
	const struct mime_leaf *leaf = place > 0 ? &dir->parts->leaves.items[place - 1] : NULL;
	struct tree_entry entry;
	struct inside inside;
	int r = leaf ? inside_leaf(tree, dir->parts, leaf, &inside)
	             : inside_header(tree, dir->parts, dir->message.size_bytes, &inside);
	if (r == 0 && fill->references)
		r = inside_entry(tree, &inside, dir->message.date_s, &entry);
	else if (r == 0)
		entry_inside(tree, &inside, dir->message.date_s, &entry);
	if (r < 0)
		return r;
	uint64_t node = entry.node;
	if (!fill_entry(fill, leaf ? leaf->name : HEADERS_NAME, &entry, place + 3) &&
		fill->references)
		tree_forget(tree, node, 1);
	return 0;
}

static int read_inside(struct tree_dir *dir, uint64_t offset, struct fill *fill)
{
	uint64_t end = 3 + dir->parts->leaves.count;
	int r = 0;
	for (; offset < end && r == 0 && !fill->full; offset++) {
		if (offset < 2)
			fill_dot(fill, dir->tree, offset ? ".." : ".",
				offset ? dir->parent : dir->self, offset + 1);
		else
			r = fill_inside_entry(dir, (size_t)offset - 2, fill);
	}
	return fill->count > 0 ? 0 : r;
}

/* --- All of them --- */

int tree_dir_open(struct tree *tree, uint64_t node, struct tree_dir **ret, struct tree_call *call)
{
	struct node_number n = node_parse(node);
	if (n.kind == NODE_MESSAGE)
		return -ENOTDIR;
	if (n.kind == NODE_VIEW_MESSAGE || n.kind == NODE_INSIDE)
		return open_inside(tree, node, ret, call);
	struct folder *folder = folder_of_node(tree, n);
	return folder ? open_folder(tree, folder, n.kind == NODE_VIEW, ret, call) : -ENOENT;
}

void tree_dir_close(struct tree_dir *dir)
{
	if (!dir)
		return;
	if (dir->parts) {
		parts_unref(dir->tree, dir->parts);
	} else {
		_cleanup_unlock_ pthread_mutex_t *guard = lock(&dir->folder->lock);
		dir->folder->open_dirs--;
	}
	free(dir);
}

bool tree_dir_cacheable(const struct tree_dir *dir, bool *ret_unchanged)
{
	*ret_unchanged = dir->unchanged;
	return dir->cacheable;
}

int tree_dir_read(struct tree_dir *dir, uint64_t offset, bool references, tree_fill_fn *fn,
	void *arg, struct tree_call *call)
{
	struct fill fill = {.fn = fn, .arg = arg, .references = references};
	return dir->parts ? read_inside(dir, offset, &fill) : read_folder(dir, offset, &fill, call);
}
