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
		return -ENOENT;
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
	if (at < 0)
		return -ENOENT;
	*ret = *index_at(&folder->index, (size_t)at);
	return 0;
}

int message_name(struct folder *folder, uint32_t number, uint32_t uid, struct str *out)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	ssize_t at = folder->number == number ? index_find(&folder->index, uid) : -ENOENT;
	if (at < 0)
		return -ENOENT;
	str_append_cstr(out, index_name(&folder->index, index_at(&folder->index, (size_t)at)));
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

static int find(const struct tree *tree, struct folder *folder, const char *name, bool view,
	unsigned mark, struct tree_entry *ret)
{
	uint32_t uid = message_name_uid(tree, name, view);
	if (uid == 0)
		return -ENOENT;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	ssize_t at = index_find(&folder->index, uid);
	if (at < 0)
		return -ENOENT;
	struct index_entry *entry = index_at(&folder->index, (size_t)at);
	if (entry->flags & INDEX_GONE ||
		!name_matches(index_name(&folder->index, entry), name, view))
		return -ENOENT;
	entry->flags |= (uint16_t)mark;
	entry_message(tree, folder->number, entry, view, ret);
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
	if (at < 0)
		return false;
	struct index_entry *entry = index_at(&folder->index, (size_t)at);
	bool grown = size_bytes > message_shown_bytes(tree, entry);
	entry->size_bytes =
		(size_bytes < INDEX_SIZE_MAX ? size_bytes : INDEX_SIZE_MAX) & INDEX_SIZE_MAX;
	entry->flags |= INDEX_SIZED | INDEX_TRUE_SIZE;
	return grown;
}

void message_set_flags(struct tree *tree, uint32_t number, uint32_t uid, unsigned flags)
{
	struct folder *folder = folder_of_number(tree, number);
	if (!folder)
		return;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	ssize_t at = folder->number == number ? index_find(&folder->index, uid) : -ENOENT;
	if (at >= 0)
		index_at(&folder->index, (size_t)at)->flags |= (uint16_t)flags;
}

void message_set_size(struct tree *tree, uint32_t number, uint32_t uid, uint64_t size_bytes)
{
	struct folder *folder = folder_of_number(tree, number);
	if (folder && set_size(tree, folder, number, uid, size_bytes))
		tell_attributes(tree, node_message(number, uid, false));
}
