/* SPDX-License-Identifier: MIT */
/*
 * Open files. A size that is not known is settled before open() returns where that is cheap (a
 * small message, one of unknown size, a header, all but large parts): no reader then sees a file that
 * is shorter than it is. A large part of unknown decoded size is opened with a bound; its reads end where it ends.
 *
 * In a mount that is read-only the kernel need not open anything: then it is opened at its first read, with nothing settled. What is
 * shown as its size is a bound or what the server announced; reads end where it ends, and one that comes to where it was said to end
 * finds out whether that is true.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"

#include "private.h"

/*
 * In a mount that is read-only nobody knows when a reader begins anew: so long after bytes were refuted nobody reads on. The kernel asks
 * again, page by page, for what it could not have.
 */
#define REFUTED_MS 500

struct tree_file {
	struct tree *tree;
	_Atomic(struct sync_body *) body; /* NULL: nobody has read yet */
	atomic_uint refuted;              /* sync_body_refuted() when it was opened */
	struct sync_folder *sync;         /* what it is in; NULL: nothing any more */
	struct parts *parts;              /* NULL, or what body's leaf belongs to */
	uint32_t folder, uid;
	bool settle; /* the size is to be known before the file counts as open */
	bool bound;
	struct tree_entry entry; /* as it was when it was opened */
	uint64_t size_bytes;     /* as the listing has it; UINT64_MAX: it does not know */
	uint64_t shown_bytes;    /* where readers were told that it ends; UINT64_MAX: a bound */
	struct str text;         /* of truncated.txt, which has no body */
	char section[NODE_SECTION_MAX + 1];
};

void tree_file_close(struct tree_file *file)
{
	if (!file)
		return;
	struct sync_body *body = atomic_load(&file->body);
	if (body)
		sync_body_close(body);
	parts_unref(file->tree, file->parts);
	str_finish(&file->text);
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
 * Opens the body of a message that was found under file->folder; the folder may have been listed anew
 * since, and the UID be another's.
 */
static int open_body(
	const struct tree_file *file, const struct mime_leaf *leaf, struct sync_body **ret)
{
	struct store_mailbox state;
	struct sync_body *body;
	int r = file->sync ? sync_body_open(file->sync, file->uid, file->section, leaf,
				     file->size_bytes, &body)
	                   : -ENOENT;
	if (r < 0)
		return r;
	sync_folder_state(file->sync, &state);
	if (state.folder != file->folder) {
		sync_body_close(body);
		return -ENOENT;
	}
	*ret = body;
	return 0;
}

static void note_refuted(struct tree_file *file, const struct sync_body *body)
{
	int64_t when_ms;
	atomic_store(&file->refuted, sync_body_refuted(body, &when_ms));
}

/* Whether what was read of it before was not what it holds. */
static bool is_refuted(struct tree_file *file, const struct sync_body *body)
{
	int64_t when_ms;
	unsigned refuted = sync_body_refuted(body, &when_ms);
	if (refuted == atomic_load(&file->refuted))
		return false;
	if (!file->tree->readonly || clock_now_ms() - when_ms < REFUTED_MS)
		return true;
	atomic_store(&file->refuted, refuted);
	return false;
}

/*
 * The body of a message, which is opened when it is first needed: most of what is opened again is read from the kernel's pages. Of two
 * threads that do so at once, one is late.
 */
static int need_body(struct tree_file *file, struct sync_body **ret)
{
	struct sync_body *none = NULL, *body = atomic_load(&file->body);
	if (!body) {
		int r = open_body(file, NULL, &body);
		if (r < 0)
			return r;
		note_refuted(file, body);
		if (!atomic_compare_exchange_strong(&file->body, &none, body)) {
			sync_body_close(body);
			body = none;
		}
	}
	*ret = body;
	return 0;
}

static int open_message(struct tree *tree, uint32_t number, uint32_t uid, struct tree_file **ret)
{
	struct index_entry message;
	struct folder *folder;
	struct sync_body *body;
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
	bool sized = message.flags & INDEX_SIZED, is_true = message.flags & INDEX_TRUE_SIZE;
	file->settle = !is_true && (!sized || message.size_bytes <= SETTLE_MESSAGE_BYTES ||
					   sync_account_sizes_distrusted(tree->account));
	entry_message(tree, number, &message, false, &file->entry);
	file->sync = folder_messages(folder);
	file->size_bytes = sized ? message.size_bytes : UINT64_MAX;
	file->shown_bytes = tree->readonly ? message_shown_bytes(tree, &message) : file->size_bytes;
	if (!is_true)
		r = need_body(file, &body);
	if (r == 0)
		*ret = steal_ptr(file);
	return r;
}

/* The directory that inside lies in; the file keeps it. */
static int find_parts(struct tree_file *file, struct folder *folder, const struct inside *inside,
	struct tree_call *call)
{
	_cleanup_str_ struct str parent = STR_INIT;
	str_append(&parent, inside->section, inside->parent_len);
	if (str_error(&parent) < 0)
		return -ENOMEM;
	return parts_get(file->tree, folder, inside->folder, inside->uid, str_cstr(&parent),
		&file->parts, call);
}

/* Finds how a part is encoded. */
static int find_leaf(struct tree_file *file, struct folder *folder, const struct inside *inside,
	const struct mime_leaf **ret, struct tree_call *call)
{
	int r = find_parts(file, folder, inside, call);
	if (r < 0)
		return r;
	*ret = parts_leaf(file->parts, inside->section);
	return *ret ? 0 : -ENOENT;
}

/* truncated.txt is made here, and has nothing to wait for but the structure. */
static int open_truncated(struct tree_file *file, struct folder *folder,
	const struct inside *inside, struct tree_call *call)
{
	int r = find_parts(file, folder, inside, call);
	if (r == 0 && !file->parts->cut)
		r = -ENOENT;
	if (r == 0)
		r = truncated_text(
			folder, inside->folder, inside->uid, file->parts->cut, &file->text);
	return r;
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
	else if (inside->kind == INSIDE_TRUNCATED)
		r = open_truncated(file, folder, inside, call);
	if (r < 0)
		return r;
	memcpy(file->section, inside->section, strlen(inside->section) + 1);
	entry_inside(tree, inside, message.date_s, &file->entry);
	if (file->text.len > 0) {
		*ret = steal_ptr(file);
		return 0;
	}
	file->settle = !inside->exact && (!leaf || leaf->size_bytes <= SETTLE_BYTES);
	file->bound = !inside->exact && !file->settle;
	file->size_bytes = inside->exact ? inside->size_bytes : UINT64_MAX;
	file->shown_bytes = tree->readonly ? inside->size_bytes : file->size_bytes;
	struct sync_body *body;
	file->sync = folder_messages(folder);
	r = open_body(file, leaf, &body);
	if (r < 0)
		return r;
	note_refuted(file, body);
	atomic_store(&file->body, body);
	*ret = steal_ptr(file);
	return 0;
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

/* Later stats show it. */
static void remember_size(const struct tree_file *file, uint64_t size_bytes)
{
	if (file->section[0])
		inside_set_size(file->tree, file->folder, file->uid, file->section, size_bytes);
	else
		message_set_size(file->tree, file->folder, file->uid, size_bytes);
}

/* The size is there before the file counts as open. */
static void settled(struct tree_file *file, uint64_t size_bytes)
{
	bool shrunk = file->shown_bytes != UINT64_MAX && size_bytes < file->shown_bytes;
	file->settle = false;
	file->shown_bytes = size_bytes;
	attr_size(size_bytes, &file->entry.attr);
	file->entry.provisional = false;
	remember_size(file, size_bytes);
	if (shrunk)
		tell_attributes(file->tree, node_message(file->folder, file->uid, false));
}

int tree_file_open_unsettled(
	struct tree *tree, uint64_t node, struct tree_file **ret, struct tree_call *call)
{
	int r = open_node(tree, node, ret, call);
	if (r < 0)
		return r;
	(*ret)->entry.node = node;
	return 0;
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
		int r = sync_body_size(atomic_load(&call->file->body), &size, &call->waiter);
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
 * does, the true end is found before they are handed out: a reader takes the size for the end. Where there is more the kernel is
 * told, before its read is answered.
 */
static int confirm_end(struct tree_file *file, struct sync_body *body, struct tree_call *call)
{
	uint64_t size = 0;
	call->waited |= WAITED_END;
	int r = (int)call_waits(call, WAITED_END, sync_body_size(body, &size, &call->waiter));
	if (r == 0)
		remember_size(file, size);
	return r;
}

static ssize_t read_text(const struct str *text, void *buf, size_t len, uint64_t offset)
{
	if (offset >= text->len)
		return 0;
	size_t left = text->len - (size_t)offset;
	memcpy(buf, text->data + offset, len < left ? len : left);
	return (ssize_t)(len < left ? len : left);
}

static ssize_t read_body(struct tree_file *file, struct sync_body *body, void *buf, size_t len,
	uint64_t offset, struct tree_call *call)
{
	if (call->waited & WAITED_END)
		return call->bytes;
	ssize_t n = call->result;
	if (!(call->waited & WAITED_READ)) {
		call->waited |= WAITED_READ;
		n = call_waits(
			call, WAITED_READ, sync_body_read(body, buf, len, offset, &call->waiter));
	}
	if (n <= 0 || offset + (uint64_t)n < file->shown_bytes)
		return n;
	call->bytes = n;
	int r = confirm_end(file, body, call);
	return r < 0 ? r : n;
}

ssize_t tree_file_read(
	struct tree_file *file, void *buf, size_t len, uint64_t offset, struct tree_call *call)
{
	struct sync_body *body;
	if (file->text.len > 0)
		return read_text(&file->text, buf, len, offset);
	int r = need_body(file, &body);
	if (r < 0)
		return r;
	ssize_t n = read_body(file, body, buf, len, offset, call);
	return n >= 0 && is_refuted(file, body) ? -EIO : n;
}
