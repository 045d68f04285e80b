/* SPDX-License-Identifier: MIT */
/*
 * Open files. A size that is not known is settled before open() returns where that is cheap (a
 * small message, one of unknown size, a header, all but large parts): no reader then sees a file that
 * is shorter than it is. A large part of unknown decoded size is opened with a bound; its reads end where it ends.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"

#include "private.h"

struct tree_file {
	struct tree *tree;
	struct sync_body *body;
	struct parts *parts; /* NULL, or what body's leaf belongs to */
	uint32_t folder, uid;
	bool settle; /* the size is to be known before the file counts as open */
	bool bound;
	struct tree_entry entry; /* as it was when it was opened */
	uint64_t shown_bytes;    /* where readers were told that it ends; UINT64_MAX: a bound */
	char section[NODE_SECTION_MAX + 1];
};

void tree_file_close(struct tree_file *file)
{
	if (!file)
		return;
	if (file->body)
		sync_body_close(file->body);
	parts_unref(file->tree, file->parts);
	free(file);
}

static void closep(struct tree_file **file)
{
	tree_file_close(*file);
}

static struct tree_file *file_create(struct tree *tree, uint32_t number, uint32_t uid)
{
	struct tree_file *file = calloc(1, sizeof(*file));
	if (file) {
		file->tree = tree;
		file->folder = number;
		file->uid = uid;
	}
	return file;
}

/*
 * Opens the body of a message that was found under number; the folder may have been listed anew
 * since, and the UID be another's.
 */
static int open_body(struct tree_file *file, struct folder *folder, const struct mime_leaf *leaf,
	uint64_t size_bytes)
{
	struct store_mailbox state;
	struct sync_folder *sync = folder_messages(folder);
	int r = sync ? sync_body_open(sync, file->uid, file->section, leaf, size_bytes, &file->body)
	             : -ENOENT;
	if (r < 0)
		return r;
	sync_folder_state(sync, &state);
	return state.folder == file->folder ? 0 : -ENOENT;
}

static int open_message(struct tree *tree, uint32_t number, uint32_t uid, struct tree_file **ret)
{
	struct index_entry message;
	struct folder *folder;
	int r = message_get(tree, number, uid, &folder, &message);
	if (r < 0)
		return r;
	_cleanup_(closep) struct tree_file *file = file_create(tree, number, uid);
	if (!file)
		return -ENOMEM;
	/*
	 * A small message is fetched whole in any case: then what fstat() says of it is true. A server that has told
	 * wrong sizes is not believed about any.
	 */
	bool sized = message.flags & INDEX_SIZED;
	file->settle = !sized || message.size_bytes <= SETTLE_MESSAGE_BYTES ||
	               sync_account_sizes_distrusted(tree->account);
	entry_message(tree, number, &message, false, &file->entry);
	uint64_t size = sized ? message.size_bytes : UINT64_MAX;
	file->shown_bytes = size;
	r = open_body(file, folder, NULL, size);
	if (r == 0)
		*ret = steal_ptr(file);
	return r;
}

/* Finds how a part is encoded; file keeps the structure that says so. */
static int find_leaf(struct tree_file *file, struct folder *folder, const struct inside *inside,
	const struct mime_leaf **ret, struct tree_call *call)
{
	_cleanup_str_ struct str parent = STR_INIT;
	str_append(&parent, inside->section, inside->parent_len);
	if (str_error(&parent) < 0)
		return -ENOMEM;
	int r = parts_get(file->tree, folder, inside->folder, inside->uid, str_cstr(&parent),
		&file->parts, call);
	if (r < 0)
		return r;
	*ret = parts_leaf(file->parts, inside->section);
	return *ret ? 0 : -ENOENT;
}

static int open_inside(struct tree *tree, const struct inside *inside, struct tree_file **ret,
	struct tree_call *call)
{
	const struct mime_leaf *leaf = NULL;
	struct index_entry message;
	struct folder *folder;
	int r = message_get(tree, inside->folder, inside->uid, &folder, &message);
	if (r < 0)
		return r;
	_cleanup_(closep) struct tree_file *file = file_create(tree, inside->folder, inside->uid);
	if (!file)
		return -ENOMEM;
	if (inside->kind == INSIDE_PART)
		r = find_leaf(file, folder, inside, &leaf, call);
	if (r < 0)
		return r;
	memcpy(file->section, inside->section, strlen(inside->section) + 1);
	file->settle = !inside->exact && (!leaf || leaf->part->size_bytes <= SETTLE_BYTES);
	file->bound = !inside->exact && !file->settle;
	entry_inside(tree, inside, message.date_s, &file->entry);
	uint64_t size = inside->exact ? inside->size_bytes : UINT64_MAX;
	file->shown_bytes = size;
	r = open_body(file, folder, leaf, size);
	if (r == 0)
		*ret = steal_ptr(file);
	return r;
}

static int open_node(
	struct tree *tree, uint64_t node, struct tree_file **ret, struct tree_call *call)
{
	struct node_number n = node_parse(node);
	struct inside inside;
	if (n.kind == NODE_MESSAGE)
		return open_message(tree, n.number, n.uid, ret);
	if (n.kind != NODE_INSIDE)
		return -EISDIR;
	int r = nodes_get(&tree->nodes, node, &inside);
	if (r < 0)
		return r;
	return inside.kind == INSIDE_MESSAGE ? -EISDIR : open_inside(tree, &inside, ret, call);
}

/* The size is there: later stats show it. */
static void settled(struct tree_file *file, uint64_t size_bytes)
{
	bool shrunk = file->shown_bytes != UINT64_MAX && size_bytes < file->shown_bytes;
	file->settle = false;
	file->shown_bytes = size_bytes;
	attr_size(size_bytes, &file->entry.attr);
	file->entry.provisional = false;
	if (file->section[0])
		inside_set_size(file->tree, file->folder, file->uid, file->section, size_bytes);
	else
		message_set_size(file->tree, file->folder, file->uid, size_bytes);
	if (shrunk)
		tell_attributes(file->tree, node_message(file->folder, file->uid, false));
}

int tree_file_open(struct tree *tree, uint64_t node, struct tree_file **ret, struct tree_call *call)
{
	if (!call->file) {
		int r = open_node(tree, node, &call->file, call);
		if (r < 0)
			return r;
	}
	if (call->file->settle) {
		uint64_t size;
		int r = sync_body_size(call->file->body, &size, &call->waiter);
		if (r < 0)
			return r;
		settled(call->file, size);
	}
	call->file->entry.node = node;
	*ret = steal_ptr(call->file);
	return 0;
}

void tree_file_attributes(struct tree *tree, struct tree_file *file, struct tree_entry *ret)
{
	if (tree_attributes(tree, file->entry.node, ret) == 0)
		return;
	*ret = file->entry;
	ret->attr.st_nlink = 0;
}

bool tree_file_size_is_bound(const struct tree_file *file)
{
	return file->bound;
}

/*
 * The bytes of this read reach to where the file was said to end. Unless sync knows already that it
 * does, the true end is found before they are handed out: a reader takes the size for the end.
 */
static int confirm_end(struct tree_file *file, struct tree_call *call)
{
	uint64_t size;
	call->waited |= WAITED_END;
	return (int)call_waits(call, WAITED_END, sync_body_size(file->body, &size, &call->waiter));
}

ssize_t tree_file_read(
	struct tree_file *file, void *buf, size_t len, uint64_t offset, struct tree_call *call)
{
	if (call->waited & WAITED_END)
		return call->bytes;
	ssize_t n = call->result;
	if (!(call->waited & WAITED_READ)) {
		call->waited |= WAITED_READ;
		n = call_waits(call, WAITED_READ,
			sync_body_read(file->body, buf, len, offset, &call->waiter));
	}
	if (n <= 0 || offset + (uint64_t)n < file->shown_bytes)
		return n;
	call->bytes = n;
	int r = confirm_end(file, call);
	return r < 0 ? r : n;
}
