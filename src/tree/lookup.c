/* SPDX-License-Identifier: MIT */
/*
 * From a name to a node, and from a node to its attributes. What can not be a message's name is
 * answered without asking anybody, so that the many names that programs try (.git, .hidden,
 * autorun.inf) cost nothing.
 */
#include <errno.h>
#include <string.h>

#include "private.h"

/*
 * Whether all messages that are there have been announced, so that one that is not found is not
 * there.
 */
static bool all_announced(struct folder *folder, uint64_t epoch)
{
	uint64_t seen;
	int err;
	struct sync_folder *sync = folder_messages(folder);
	return !sync || (sync_folder_progress(sync, &seen, &err) == SYNC_LISTING_WHOLE &&
				folder_epoch(folder) == epoch);
}

/*
 * The listing is waited for only where the name may be one of a message that was not announced yet.
 */
static int lookup_announced(struct tree *tree, struct folder *folder, const char *name, bool view,
	struct tree_entry *ret, struct tree_call *call)
{
	for (;;) {
		/*
		 * In this order: what is announced, or begins anew, after either was asked for must
		 * not be missed.
		 */
		uint64_t epoch = folder_epoch(folder);
		bool all = all_announced(folder, epoch);
		int r = message_lookup(tree, folder, name, view, ret);
		bool settled =
			(all && folder_epoch(folder) == epoch) || call->waited & WAITED_LISTING;
		if (r != -ENOENT || settled)
			return r;
		r = folder_listed(folder, call);
		if (r < 0)
			return r;
	}
}

/*
 * What is on its way to a maildrop is waited for. It may have come since it was looked for: then
 * nobody expects it any more, and it is found now.
 */
static int lookup_expected(struct tree *tree, struct folder *folder, const char *name, bool view,
	struct tree_entry *ret, struct tree_call *call)
{
	struct sync_folder *sync = folder_messages(folder);
	if (sync && !(call->waited & WAITED_EXPECTED)) {
		uint32_t uid = message_name_uid(tree, name, view);
		call->waited |= WAITED_EXPECTED;
		int r = (int)call_waits(
			call, WAITED_EXPECTED, sync_folder_expected(sync, uid, &call->waiter));
		if (r < 0)
			return r;
	}
	return message_lookup(tree, folder, name, view, ret);
}

static int lookup_message(struct tree *tree, struct folder *folder, const char *name, bool view,
	struct tree_entry *ret, struct tree_call *call)
{
	if (!folder_messages(folder) || message_name_uid(tree, name, view) == 0)
		return -ENOENT;
	int r = lookup_announced(tree, folder, name, view, ret, call);
	if (r == -ENOENT && tree->drop)
		r = lookup_expected(tree, folder, name, view, ret, call);
	/* It may be one that there was no memory for. */
	return r == -ENOENT && folder_is_incomplete(folder) ? -EIO : r;
}

static int lookup_in_folder(struct tree *tree, struct folder *folder, const char *name, bool view,
	struct tree_entry *ret, struct tree_call *call)
{
	struct folder *child = folder_find(tree, folder, name);
	bool is_view = !view && strcmp(name, VIEW_PARTS) == 0;
	if (!child && !is_view)
		return lookup_message(tree, folder, name, view, ret, call);
	entry_folder(tree, child ? child : folder, view || is_view, ret);
	return 0;
}

static int lookup_in_parts(struct tree *tree, struct folder *folder, const struct parts *parts,
	const struct index_entry *message, const char *name, struct tree_entry *ret)
{
	struct inside inside;
	int r = -ENOENT;
	const struct mime_leaf *leaf = parts_named(parts, name);
	if (leaf)
		r = inside_leaf(tree, parts, leaf, &inside);
	else if (strcmp(name, HEADERS_NAME) == 0)
		r = inside_header(tree, parts, message_shown_bytes(tree, message), &inside);
	else if (parts->cut && strcmp(name, TRUNCATED_NAME) == 0)
		r = inside_truncated(folder, parts, &inside);
	return r < 0 ? r : inside_entry(tree, &inside, message->date_s, ret);
}

static int lookup_in_message(struct tree *tree, uint64_t parent, const char *name,
	struct tree_entry *ret, struct tree_call *call)
{
	_cleanup_str_ struct str section = STR_INIT;
	struct index_entry message;
	struct folder *folder;
	struct parts *parts;
	uint32_t number, uid;
	int r = inside_directory(tree, parent, &number, &uid, &section);
	if (r == 0)
		r = message_get(tree, number, uid, &folder, &message);
	if (r == 0)
		r = parts_get(tree, folder, number, uid, str_cstr(&section), &parts, call);
	if (r < 0)
		return r;
	r = lookup_in_parts(tree, folder, parts, &message, name, ret);
	parts_unref(tree, parts);
	return r;
}

int tree_lookup(struct tree *tree, uint64_t parent, const char *name, struct tree_entry *ret,
	struct tree_call *call)
{
	struct node_number n = node_parse(parent);
	if (n.kind == NODE_VIEW_MESSAGE || n.kind == NODE_INSIDE)
		return lookup_in_message(tree, parent, name, ret, call);
	if (n.kind == NODE_MESSAGE)
		return -ENOTDIR;
	struct folder *folder;
	int r = folder_of_node(tree, n, &folder);
	return r < 0 ? r : lookup_in_folder(tree, folder, name, n.kind == NODE_VIEW, ret, call);
}

void tree_forget(struct tree *tree, uint64_t node, uint64_t count)
{
	if (node_parse(node).kind == NODE_INSIDE)
		nodes_forget(&tree->nodes, node, count);
}

static int attributes_inside(struct tree *tree, uint64_t node, struct tree_entry *ret)
{
	struct inside inside;
	struct index_entry message;
	struct folder *folder;
	int r = nodes_get(&tree->nodes, node, &inside);
	if (r == 0)
		r = message_get(tree, inside.folder, inside.uid, &folder, &message);
	if (r < 0)
		return r;
	entry_inside(tree, &inside, message.date_s, ret);
	ret->node = node;
	return 0;
}

int tree_attributes(struct tree *tree, uint64_t node, struct tree_entry *ret)
{
	struct node_number n = node_parse(node);
	struct index_entry message;
	struct folder *folder;
	if (n.kind == NODE_INSIDE)
		return attributes_inside(tree, node, ret);
	if (n.kind == NODE_MESSAGE || n.kind == NODE_VIEW_MESSAGE) {
		int r = message_get(tree, n.number, n.uid, &folder, &message);
		if (r == 0)
			entry_message(tree, n.number, &message, n.kind == NODE_VIEW_MESSAGE, ret);
		return r;
	}
	int r = folder_of_node(tree, n, &folder);
	if (r == 0)
		entry_folder(tree, folder, n.kind == NODE_VIEW, ret);
	return r;
}

/* --- What is gone --- */

static int former_message(
	struct tree *tree, uint64_t parent, const char *name, uint64_t node, struct tree_entry *ret)
{
	struct node_number n = node_parse(node);
	struct index_entry message;
	struct tree_entry there;
	struct folder *folder;
	if (folder_of_node(tree, node_parse(parent), &folder) < 0)
		return -ENOENT;
	/* Also where nobody can say. */
	if (message_find(tree, folder, name, &there) != -ENOENT)
		return -EEXIST;
	/* Nobody remembers it: a file of that number, and no more. */
	int r = message_get_former(tree, n.number, n.uid, &folder, &message);
	if (r == -ENOENT)
		message = (struct index_entry){.uid = n.uid};
	else if (r < 0 || !(message.flags & INDEX_GONE))
		return -EEXIST;
	entry_message(tree, n.number, &message, false, ret);
	ret->provisional = true;
	return 0;
}

static int former_folder(
	struct tree *tree, uint64_t parent, const char *name, uint64_t node, struct tree_entry *ret)
{
	struct node_number n = node_parse(node);
	struct folder *folder, *former;
	if (folder_of_node(tree, node_parse(parent), &folder) < 0)
		return -ENOENT;
	pthread_rwlock_rdlock(&tree->folders_lock);
	former = folder_former_child(folder, name);
	bool known = former && numbers_get(&tree->directories, n.number) == former;
	pthread_rwlock_unlock(&tree->folders_lock);
	if (!known)
		return -ENOENT;
	if (atomic_load(&former->shown))
		return -EEXIST;
	entry_folder(tree, former, false, ret);
	ret->provisional = true;
	/* It has come back meanwhile: then that may not be its own generation. */
	return atomic_load(&former->shown) ? -EEXIST : 0;
}

int tree_former(struct tree *tree, uint64_t parent, const char *name, uint64_t node, bool directory,
	struct tree_entry *ret)
{
	return directory ? former_folder(tree, parent, name, node, ret)
	                 : former_message(tree, parent, name, node, ret);
}
