/* SPDX-License-Identifier: MIT */
/*
 * Attributes and entries. Everything in them is a pure function of immutable facts, but for the
 * times of directories and the sizes that were not exact yet, so that a backup sees the same thing
 * every night.
 */
#include "private.h"

static void attr_common(const struct tree *tree, uint64_t ino, int64_t time_s, struct stat *ret)
{
	*ret = (struct stat){0};
	ret->st_ino = ino;
	ret->st_uid = tree->uid;
	ret->st_gid = tree->gid;
	ret->st_blksize = 4096;
	ret->st_atim.tv_sec = ret->st_mtim.tv_sec = ret->st_ctim.tv_sec = time_s;
}

void attr_size(uint64_t size_bytes, struct stat *ret)
{
	ret->st_size = size_bytes > INT64_MAX ? INT64_MAX : (off_t)size_bytes;
	ret->st_blocks = (blkcnt_t)(ret->st_size / 512 + (ret->st_size % 512 != 0));
}

void attr_file(const struct tree *tree, uint64_t ino, uint64_t size_bytes, int64_t time_s,
	struct stat *ret)
{
	attr_common(tree, ino, time_s, ret);
	ret->st_mode = S_IFREG | tree->file_mode;
	ret->st_nlink = 1;
	attr_size(size_bytes, ret);
}

void attr_directory(
	const struct tree *tree, uint64_t ino, unsigned links, int64_t time_s, struct stat *ret)
{
	attr_common(tree, ino, time_s, ret);
	ret->st_mode = S_IFDIR | tree->directory_mode;
	ret->st_nlink = links;
}

void entry_folder(struct tree *tree, struct folder *folder, bool view, struct tree_entry *ret)
{
	int64_t time_s = folder_time(folder);
	uint64_t node = folder_node(tree, folder, view);
	/*
	 * In a view 1 says that links are not counted there, as btrfs does: find(1) then looks
	 * itself.
	 */
	size_t links = view ? 1 : 2 + folder_children(tree, folder) + (tree->views_listed ? 1 : 0);
	*ret = (struct tree_entry){.node = node, .generation = atomic_load(&folder->generation)};
	attr_directory(tree, node, (unsigned)links, time_s, &ret->attr);
	pthread_mutex_lock(&folder->lock);
	folder->told_s = time_s;
	pthread_mutex_unlock(&folder->lock);
}

/* Where a file is shown as empty nobody reads, and so nobody finds out that it is not. */
uint64_t message_shown_bytes(const struct tree *tree, const struct index_entry *message)
{
	bool told = tree->drop || message->flags & INDEX_TRUE_SIZE ||
	            (message->flags & INDEX_SIZED && message->size_bytes > 0);
	return tree->readonly && !told ? MESSAGE_BYTES_BOUND : message->size_bytes;
}

void entry_message(const struct tree *tree, uint32_t number, const struct index_entry *message,
	bool view, struct tree_entry *ret)
{
	uint64_t node = node_message(number, message->uid, view);
	*ret = (struct tree_entry){.node = node};
	if (view) {
		attr_directory(tree, node, 1, message->date_s, &ret->attr);
	} else {
		attr_file(tree, node, message_shown_bytes(tree, message), message->date_s,
			&ret->attr);
		/* A bound may be kept: the kernel corrects it itself, at the first read, unless it is told again meanwhile. */
		ret->provisional = !tree->readonly && !(message->flags & INDEX_SIZED);
	}
}

void entry_inside(const struct tree *tree, const struct inside *inside, int64_t date_s,
	struct tree_entry *ret)
{
	uint64_t ino = node_inside_ino(inside->folder, inside->uid, inside->section);
	*ret = (struct tree_entry){0};
	if (inside->kind == INSIDE_MESSAGE) {
		attr_directory(tree, ino, 1, date_s, &ret->attr);
	} else {
		attr_file(tree, ino, inside->size_bytes, date_s, &ret->attr);
		ret->provisional = !tree->readonly && !inside->exact;
	}
}
