/* SPDX-License-Identifier: MIT */
/*
 * A message's place in its folder's index. The name is never searched for: the UID that it must
 * have is read from it, and the name that is kept under that UID compared.
 */
#include <errno.h>
#include <limits.h>
#include <string.h>

#include "mailfs/util/cleanup.h"

#include "private.h"

#define SUFFIX ".eml"

size_t message_view_len(const char *name)
{
	size_t len = strlen(name), suffix = strlen(SUFFIX);
	return len > suffix && strcmp(name + len - suffix, SUFFIX) == 0 ? len - suffix : len;
}

int message_get(struct tree *tree, uint32_t number, uint32_t uid, struct folder **ret_folder,
	struct index_entry *ret)
{
	struct index_entry entry;
	int r = message_get_former(tree, number, uid, ret_folder, &entry);
	if (r < 0 || entry.flags & INDEX_GONE)
		return r < 0 ? r : -ENOENT;
	*ret = entry;
	return 0;
}

int message_get_former(struct tree *tree, uint32_t number, uint32_t uid, struct folder **ret_folder,
	struct index_entry *ret)
{
	struct folder *folder = folder_of_number(tree, number);
	if (!folder)
		return -ENOENT;
	*ret_folder = folder;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	ssize_t at = folder->number == number ? index_find(&folder->index, uid) : -ENOENT;
	return at < 0 ? (int)at : index_get(&folder->index, (size_t)at, ret);
}

int message_name(struct folder *folder, uint32_t number, uint32_t uid, struct str *out)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	ssize_t at = folder->number == number ? index_find(&folder->index, uid) : -ENOENT;
	struct index_entry entry;
	char name[INDEX_NAME_SIZE];
	int r = at < 0 ? (int)at : index_get(&folder->index, (size_t)at, &entry);
	if (r == 0)
		r = index_name(&folder->index, &entry, name);
	if (r < 0)
		return r;
	str_append_cstr(out, name);
	return str_error(out);
}

/*
 * A name of the view leads back to the name of a file with .eml, or, with a template of the user,
 * to itself.
 */
uint32_t message_name_uid(const struct tree *tree, const char *name, bool view)
{
	char file[NAME_MAX + sizeof(SUFFIX)];
	size_t len = strlen(name);
	if (!view)
		return mime_name_uid(tree->names, name);
	if (len > NAME_MAX)
		return 0;
	memcpy(file, name, len);
	memcpy(file + len, SUFFIX, sizeof(SUFFIX));
	uint32_t uid = mime_name_uid(tree->names, file);
	return uid ? uid : mime_name_uid(tree->names, name);
}

static bool name_matches(const char *kept, const char *name, bool view)
{
	if (!view)
		return strcmp(kept, name) == 0;
	size_t len = message_view_len(kept);
	return strlen(name) == len && memcmp(kept, name, len) == 0;
}

static int add_flags(
	struct index *index, size_t position, struct index_entry *entry, unsigned flags)
{
	if (!(flags & ~entry->flags))
		return 0;
	entry->flags |= (uint16_t)flags;
	return index_put(index, position, entry);
}

/* What is kept of the message that has this name, and where. */
static ssize_t find_named(
	struct index *index, uint32_t uid, const char *name, bool view, struct index_entry *ret)
{
	char kept[INDEX_NAME_SIZE];
	ssize_t at = index_find(index, uid);
	int r = at < 0 ? (int)at : index_get(index, (size_t)at, ret);
	if (r == 0 && ret->flags & INDEX_GONE)
		return -ENOENT;
	if (r == 0)
		r = index_name(index, ret, kept);
	if (r < 0)
		return r;
	return name_matches(kept, name, view) ? at : -ENOENT;
}

static int find(const struct tree *tree, struct folder *folder, const char *name, bool view,
	unsigned mark, struct tree_entry *ret)
{
	uint32_t uid = message_name_uid(tree, name, view);
	if (uid == 0)
		return -ENOENT;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	struct index_entry entry;
	ssize_t at = find_named(&folder->index, uid, name, view, &entry);
	if (at < 0)
		return (int)at;
	int r = add_flags(&folder->index, (size_t)at, &entry, mark);
	if (r < 0)
		return r;
	entry_message(tree, folder->number, &entry, view, ret);
	return 0;
}

int message_lookup(const struct tree *tree, struct folder *folder, const char *name, bool view,
	struct tree_entry *ret)
{
	return find(tree, folder, name, view, view ? INDEX_SHOWN_VIEW : INDEX_SHOWN, ret);
}

int message_find(
	const struct tree *tree, struct folder *folder, const char *name, struct tree_entry *ret)
{
	return find(tree, folder, name, false, 0, ret);
}

static bool set_size(const struct tree *tree, struct folder *folder, uint32_t number, uint32_t uid,
	uint64_t size_bytes)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	ssize_t at = folder->number == number ? index_find(&folder->index, uid) : -ENOENT;
	struct index_entry entry;
	if (at < 0 || index_get(&folder->index, (size_t)at, &entry) < 0)
		return false;
	bool grown = size_bytes > message_shown_bytes(tree, &entry);
	entry.size_bytes =
		(size_bytes < INDEX_SIZE_MAX ? size_bytes : INDEX_SIZE_MAX) & INDEX_SIZE_MAX;
	entry.flags |= INDEX_SIZED | INDEX_TRUE_SIZE;
	return index_put(&folder->index, (size_t)at, &entry) == 0 && grown;
}

void message_set_flags(struct tree *tree, uint32_t number, uint32_t uid, unsigned flags)
{
	struct folder *folder = folder_of_number(tree, number);
	if (!folder)
		return;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	ssize_t at = folder->number == number ? index_find(&folder->index, uid) : -ENOENT;
	struct index_entry entry;
	/* What is not remembered is asked for again. */
	if (at >= 0 && index_get(&folder->index, (size_t)at, &entry) == 0)
		add_flags(&folder->index, (size_t)at, &entry, flags);
}

void message_set_size(struct tree *tree, uint32_t number, uint32_t uid, uint64_t size_bytes)
{
	struct folder *folder = folder_of_number(tree, number);
	if (folder && set_size(tree, folder, number, uid, size_bytes))
		tell_attributes(tree, node_message(number, uid, false));
}
