/* SPDX-License-Identifier: MIT */
/*
 * What happens, told to one listener in the terms of who looks at the mount: paths. And the way
 * back, from a path to what stands there.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"

#include "private.h"

/* --- News --- */

void tree_set_listener(struct tree *tree, tree_news_fn *fn, void *arg)
{
	pthread_rwlock_wrlock(&tree->listener_lock);
	tree->listener_arg = arg;
	atomic_store(&tree->listener, fn);
	pthread_rwlock_unlock(&tree->listener_lock);
}

bool news_wanted(struct tree *tree)
{
	return atomic_load(&tree->listener) != NULL;
}

static void tell(struct tree *tree, const struct tree_news *news)
{
	pthread_rwlock_rdlock(&tree->listener_lock);
	tree_news_fn *fn = atomic_load(&tree->listener);
	if (fn)
		fn(tree->listener_arg, news);
	pthread_rwlock_unlock(&tree->listener_lock);
}

void news_message(struct tree *tree, enum tree_news_kind kind, const struct folder *folder,
	const char *name, uint32_t uid, const char *flags)
{
	_cleanup_str_ struct str in = STR_INIT, path = STR_INIT;
	if (folder_path(tree, folder, &in) < 0)
		return;
	str_append(&path, str_cstr(&in), in.len);
	if (path.len)
		str_putc(&path, '/');
	str_append_cstr(&path, name);
	if (str_error(&path) < 0)
		return;
	tell(tree, &(struct tree_news){.kind = kind,
			   .path = str_cstr(&path),
			   .folder = str_cstr(&in),
			   .uid = uid,
			   .flags = flags});
}

void news_folder(struct tree *tree, enum tree_news_kind kind, const char *path, const char *former)
{
	tell(tree,
		&(struct tree_news){.kind = kind, .path = path, .folder = path, .former = former});
}

void news_link(struct tree *tree)
{
	tell(tree, &(struct tree_news){.kind = TREE_NEWS_LINK, .folder = ""});
}

/* --- Paths --- */

/* The next component of a path; false: there is none. */
static bool next_name(const char **path, char name[MIME_NAME_MAX + 256], size_t *ret_len)
{
	*path += strspn(*path, "/");
	size_t len = strcspn(*path, "/");
	*ret_len = len;
	if (len == 0)
		return false;
	if (len < MIME_NAME_MAX + 256) {
		memcpy(name, *path, len);
		name[len] = 0;
	}
	*path += len;
	return true;
}

/* The folder as far as path leads through folders; the rest is left in path. */
static struct folder *descend(struct tree *tree, const char **path, char name[MIME_NAME_MAX + 256])
{
	struct folder *at = tree->root;
	name[0] = 0;
	for (;;) {
		const char *rest = *path;
		size_t len;
		if (!next_name(&rest, name, &len))
			return at;
		struct folder *child =
			len < MIME_NAME_MAX + 256 ? folder_find(tree, at, name) : NULL;
		if (!child)
			return at;
		at = child;
		*path = rest;
	}
}

int tree_resolve(struct tree *tree, const char *path, struct tree_place *ret)
{
	char name[MIME_NAME_MAX + 256];
	struct tree_entry entry;
	size_t len;
	struct folder *folder = descend(tree, &path, name);
	if (!atomic_load(&folder->shown))
		return -ENOENT;
	*ret = (struct tree_place){.folder = folder_sync(folder)};
	if (!next_name(&path, name, &len))
		return 0;
	if (len > MIME_NAME_MAX || !folder_messages(folder) ||
		message_find(tree, folder, name, &entry) < 0)
		return -ENOENT;
	ret->uid = message_name_uid(tree, name, false);
	return *path ? -ENOTDIR : 0;
}

struct listed {
	char *path;
	struct sync_folder *sync;
};
struct list {
	struct listed *items;
	size_t count, cap;
};

static void list_finish(struct list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].path);
	free(list->items);
}

/* path is given back as it was. */
static int list_below(struct list *list, const struct folder *folder, struct str *path)
{
	size_t len = path->len;
	struct sync_folder *sync = folder_sync(folder);
	int r = 0;
	if (sync) {
		r = array_grow(&list->items, &list->cap, list->count + 1, sizeof(*list->items));
		char *copy = r == 0 ? strdup(str_cstr(path)) : NULL;
		if (!copy)
			return -ENOMEM;
		list->items[list->count++] = (struct listed){copy, sync};
	}
	for (size_t i = 0; i < folder->child_count && r == 0; i++) {
		if (len)
			str_putc(path, '/');
		str_append_cstr(path, folder->children[i]->name);
		r = str_error(path);
		if (r == 0)
			r = list_below(list, folder->children[i], path);
		str_truncate(path, len);
	}
	return r;
}

int tree_each_folder(struct tree *tree, const char *path, tree_folder_fn *fn, void *arg)
{
	_cleanup_(list_finish) struct list list = {0};
	_cleanup_str_ struct str at = STR_INIT;
	char name[MIME_NAME_MAX + 256];
	struct folder *folder = descend(tree, &path, name);
	if (path[strspn(path, "/")] || !atomic_load(&folder->shown))
		return -ENOENT;
	int r = folder_path(tree, folder, &at);
	if (r < 0)
		return r;
	pthread_rwlock_rdlock(&tree->folders_lock);
	r = list_below(&list, folder, &at);
	pthread_rwlock_unlock(&tree->folders_lock);
	for (size_t i = 0; i < list.count && r == 0; i++)
		r = fn(arg, list.items[i].path, list.items[i].sync);
	return r;
}
