/* SPDX-License-Identifier: MIT */
/*
 * Open directories. The offset of an entry is its place: ".", "..", the subfolders by a place that
 * each has for ever, .parts where it is listed, then, from DIR_FIRST_MESSAGE on, the messages by
 * their position in the index, which stays while the directory is open. So any offset can be read
 * again, a folder can be read while it is still being listed, and nothing that comes or goes
 * meanwhile makes another entry be skipped or doubled.
 *
 * A listing never ends early: its end is where sync said, before the index was looked at, that all
 * was announced. A folder that was listed anew under another identity meanwhile is an error in the
 * middle, not a mixture; so is a folder that is gone, also if it has come back.
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
	uint32_t generation; /* of the folder */
	struct sync_folder *
		messages; /* its mailbox, when it was opened or read from its beginning; NULL: it held none */
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

/* Whether there can be folders below it that nobody has told us of. */
static bool may_have_children(const struct tree *tree, const struct folder *folder)
{
	struct sync_folder *sync = folder_sync(folder);
	const struct source_mailbox *mailbox = sync ? sync_folder_mailbox(sync) : NULL;
	return !tree->drop &&
	       (!mailbox || (mailbox->delimiter && !(mailbox->flags & SOURCE_MAILBOX_NOINFERIORS)));
}

/* Makes the list of folders current. */
static int open_survey(struct tree *tree, const struct folder *folder, struct tree_call *call)
{
	if (call->waited & WAITED_SURVEY || !may_have_children(tree, folder))
		return 0;
	call->waited |= WAITED_SURVEY;
	return (int)call_waits(
		call, WAITED_SURVEY, sync_account_survey(tree->account, &call->waiter));
}

/* Makes the listing current, or, the first time, begins it. */
static int open_listing(struct folder *folder, struct sync_folder *sync, struct tree_call *call)
{
	int r = 0, err = -EIO;
	while (r == 0) {
		uint64_t seen;
		enum sync_listing state = sync_folder_progress(sync, &seen, &err);
		bool begun = state == SYNC_LISTING_WHOLE || state == SYNC_LISTING_FAILED;
		if (begun && call->waited & WAITED_LISTING)
			return state == SYNC_LISTING_WHOLE ? 0 : err;
		if (state == SYNC_LISTING_RUNNING && folder_announced(folder))
			return 0;
		call->waited |= WAITED_LISTING;
		r = begun ? sync_folder_refresh(sync, &call->waiter)
		          : sync_folder_wait(sync, seen, &call->waiter);
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
	dir->cacheable = !dir->messages ||
	                 sync_folder_progress(dir->messages, &seen, &err) == SYNC_LISTING_WHOLE;
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
	int64_t time_s = folder_time(folder);
	pthread_mutex_lock(&folder->lock);
	bool stale = folder->told_s && folder->told_s != time_s;
	folder->told_s = stale ? time_s : folder->told_s;
	pthread_mutex_unlock(&folder->lock);
	if (stale)
		tell_directory(tree, folder);
}

static int open_folder(struct tree *tree, struct folder *folder, bool view, struct tree_dir **ret,
	struct tree_call *call)
{
	int r = open_survey(tree, folder, call);
	uint32_t generation = atomic_load(&folder->generation);
	struct sync_folder *messages = folder_messages(folder);
	if (r == 0 && messages)
		r = open_listing(folder, messages, call);
	if (r == 0 && !atomic_load(&folder->shown))
		r = folder == tree->root ? -EIO : -ENOENT;
	if (r < 0)
		return r;
	struct tree_dir *dir = calloc(1, sizeof(*dir));
	if (!dir)
		return -ENOMEM;
	dir->tree = tree;
	dir->folder = folder;
	dir->view = view;
	dir->generation = generation;
	dir->messages = messages;
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

/* One entry before the messages, and the offset behind it. false: there was no room. */
static bool fill_folder_entry(const struct tree_dir *dir, uint64_t *offset, struct fill *fill)
{
	struct tree *tree = dir->tree;
	struct folder *child = NULL;
	struct tree_entry entry;
	uint64_t next = *offset + 1;
	bool filled = true;
	if (*offset == 0) {
		filled = fill_dot(fill, tree, ".", folder_node(tree, dir->folder, dir->view), next);
	} else if (*offset == 1) {
		filled = fill_dot(fill, tree, "..", parent_ino(dir), next);
	} else if (folder_place_at(tree, dir->folder, (size_t)*offset - 2, &child)) {
		if (child)
			entry_folder(tree, child, dir->view, &entry);
		filled = !child || fill_entry(fill, child->name, &entry, next);
	} else {
		next = DIR_FIRST_MESSAGE;
		if (lists_view(dir)) {
			entry_folder(tree, dir->folder, true, &entry);
			filled = fill_entry(fill, VIEW_PARTS, &entry, next);
		}
	}
	*offset = filled ? next : *offset;
	return filled;
}

/* It is marked as shown before it is: what was not marked would not be forgotten. */
static int fill_message(
	const struct tree_dir *dir, size_t position, struct index_entry *message, struct fill *fill)
{
	struct folder *folder = dir->folder;
	struct tree_entry entry;
	char name[INDEX_NAME_SIZE];
	unsigned shown = dir->view ? INDEX_SHOWN_VIEW : INDEX_SHOWN;
	int r = index_name(&folder->index, message, name);
	if (r == 0 && fill->references && !(message->flags & shown)) {
		message->flags |= (uint16_t)shown;
		r = index_put(&folder->index, position, message);
	}
	if (r < 0)
		return r;
	if (dir->view)
		name[message_view_len(name)] = 0;
	entry_message(dir->tree, folder->number, message, dir->view, &entry);
	fill_entry(fill, name, &entry, DIR_FIRST_MESSAGE + position + 1);
	return 0;
}

/*
 * Messages from a position on, as far as they are announced and there is room. -EAGAIN: epoch is
 * over, and nothing was read yet.
 */
static int fill_messages(struct tree_dir *dir, uint64_t epoch, uint64_t position, struct fill *fill)
{
	struct folder *folder = dir->folder;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	if (position == 0)
		dir->epoch = epoch;
	if (dir->epoch != folder->epoch)
		return position == 0 ? -EAGAIN : -EIO;
	if (folder->incomplete)
		return -EIO;
	int r = 0;
	for (; position < folder->index.count && r == 0 && !fill->full; position++) {
		struct index_entry message;
		r = index_get(&folder->index, position, &message);
		if (r == 0 && !(message.flags & INDEX_GONE))
			r = fill_message(dir, position, &message, fill);
	}
	/* What was read before is handed over; the failure comes again. */
	return fill->count > 0 ? 0 : r;
}

/* Whether there is more to come than what is announced: 0: look again, 1: no, this is the end. */
static int wait_for_more(struct sync_folder *sync, enum sync_listing state, uint64_t seen, int err,
	struct tree_call *call)
{
	if (state == SYNC_LISTING_WHOLE)
		return 1;
	if (state == SYNC_LISTING_FAILED)
		return err < 0 ? err : -EIO;
	return sync_folder_wait(sync, seen, &call->waiter);
}

static int read_messages(
	struct tree_dir *dir, uint64_t offset, struct fill *fill, struct tree_call *call)
{
	struct folder *folder = dir->folder;
	struct sync_folder *sync = dir->messages;
	uint64_t seen;
	int r = 0, err;
	while (r == 0) {
		/*
		 * In this order: what is announced, or begins anew, after either was asked for must
		 * not be missed.
		 */
		uint64_t epoch = folder_epoch(folder);
		enum sync_listing state = sync_folder_progress(sync, &seen, &err);
		r = fill_messages(dir, epoch, offset - DIR_FIRST_MESSAGE, fill);
		if (r == 0 && (fill->count > 0 || fill->full))
			break;
		if (r == 0)
			r = wait_for_more(sync, state, seen, err, call);
		else if (r == -EAGAIN)
			r = 0;
	}
	return fill->count > 0 || r > 0 ? 0 : r;
}

static int read_folder(
	struct tree_dir *dir, uint64_t offset, struct fill *fill, struct tree_call *call)
{
	struct folder *folder = dir->folder;
	if (!atomic_load(&folder->shown) || atomic_load(&folder->generation) != dir->generation)
		return -ENOENT;
	if (offset == 0)
		dir->messages = folder_messages(folder);
	while (offset < DIR_FIRST_MESSAGE)
		if (!fill_folder_entry(dir, &offset, fill))
			return 0;
	if (dir->messages && dir->messages != folder_messages(folder))
		return fill->count > 0 ? 0 : -EIO;
	return dir->messages ? read_messages(dir, offset, fill, call) : 0;
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

/* What comes before the leaves: the header, and truncated.txt where there is need of it. */
static size_t inside_first_leaf(const struct tree_dir *dir)
{
	return dir->parts->cut ? 2 : 1;
}

static int inside_at(
	const struct tree_dir *dir, size_t place, struct inside *ret, const char **ret_name)
{
	size_t first = inside_first_leaf(dir);
	const struct mime_leaf *leaf =
		place >= first ? &dir->parts->leaves.items[place - first] : NULL;
	*ret_name = leaf ? leaf->name : place ? TRUNCATED_NAME : HEADERS_NAME;
	if (leaf)
		return inside_leaf(dir->tree, dir->parts, leaf, ret);
	if (place > 0)
		return inside_truncated(dir->folder, dir->parts, ret);
	return inside_header(
		dir->tree, dir->parts, message_shown_bytes(dir->tree, &dir->message), ret);
}

static int fill_inside_entry(const struct tree_dir *dir, size_t place, struct fill *fill)
{
	struct tree *tree = dir->tree;
	struct tree_entry entry;
	struct inside inside;
	const char *name;
	int r = inside_at(dir, place, &inside, &name);
	if (r == 0 && fill->references)
		r = inside_entry(tree, &inside, dir->message.date_s, &entry);
	else if (r == 0)
		entry_inside(tree, &inside, dir->message.date_s, &entry);
	if (r < 0)
		return r;
	uint64_t node = entry.node;
	if (!fill_entry(fill, name, &entry, place + 3) && fill->references)
		tree_forget(tree, node, 1);
	return 0;
}

/*
 * A node inside a message takes memory as long as the kernel refers to it, which it does until it needs its own. Of a directory of so many
 * entries, names are given, and those that somebody asks for are looked up.
 */
#define INSIDE_REFERENCED_MAX 1000

static int read_inside(struct tree_dir *dir, uint64_t offset, struct fill *fill)
{
	if (dir->parts->leaves.count > INSIDE_REFERENCED_MAX)
		fill->references = false;
	uint64_t end = 2 + inside_first_leaf(dir) + dir->parts->leaves.count;
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
	/* Also where it is gone: to open the root is the one way left to find out that it is back. */
	struct folder *folder = tree->root;
	int r = n.kind == NODE_ROOT ? 0 : folder_of_node(tree, n, &folder);
	return r < 0 ? r : open_folder(tree, folder, n.kind == NODE_VIEW, ret, call);
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
