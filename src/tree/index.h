/* SPDX-License-Identifier: MIT */
/*
 * The messages of one folder in the order of their arrival, small enough for a million of them: 24
 * bytes each and the name. They lie in pages, of which only those that are in use are in memory. Positions never change while a
 * directory is open: a message that is gone leaves a tombstone. The owner locks.
 *
 * Whatever looks at a message can fail with -EIO, -ENOSPC or -ENOMEM: its page does not come back. May block: disk.
 */
#ifndef MAILFS_TREE_INDEX_H
#define MAILFS_TREE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "pages.h"

/* Of a name, with the NUL. */
#define INDEX_NAME_SIZE 256
#define INDEX_SIZE_MAX  ((UINT64_C(1) << 48) - 1)

enum index_flag {
	INDEX_GONE = 1 << 0,       /* a tombstone */
	INDEX_SIZED = 1 << 1,      /* size_bytes is known */
	INDEX_SHOWN = 1 << 2,      /* the kernel may know the entry of the folder */
	INDEX_SHOWN_VIEW = 1 << 3, /* … of its .parts view */
	/* what the listing held, so that listxattr needs no disk */
	INDEX_DATED = 1 << 4,
	INDEX_FLAGGED = 1 << 5,
	INDEX_LABELLED = 1 << 6,
	INDEX_FROM = 1 << 7,
	INDEX_TO = 1 << 8,
	INDEX_SUBJECT = 1 << 9,
	INDEX_MESSAGE_ID = 1 << 10,
	/* what the store said when it was first asked, for the same reason */
	INDEX_UIDL = 1 << 11,
	INDEX_NO_UIDL = 1 << 12,
	INDEX_TRUE_SIZE =
		1 << 13, /* size_bytes is where the body ends, not only what was announced */
};
/* What the listing decides; the other flags belong to the tree. */
#define INDEX_FACTS                                                                                \
	(INDEX_SIZED | INDEX_DATED | INDEX_FLAGGED | INDEX_LABELLED | INDEX_FROM | INDEX_TO |      \
		INDEX_SUBJECT | INDEX_MESSAGE_ID)

struct index_entry {
	uint64_t size_bytes : 48;
	uint64_t flags : 16;
	int64_t date_s;
	uint32_t uid;
	uint32_t name; /* index_name() */
};

struct index {
	struct pages *pages;
	struct page_list entries;
	size_t count; /* tombstones included */
	size_t gone;
	struct page_list names; /* NUL-terminated */
	size_t names_used;      /* bytes of the last page */
	/* Positions by UID, when the arrival was not ascending; the first sorted_count of them. */
	struct page_list sorted;
	size_t sorted_count;
	uint32_t last_uid;
	bool unordered;
};

void index_init(struct index *index, struct pages *pages);
/* Empty afterwards. */
void index_finish(struct index *index);
/* Appends a message whose UID is not there yet. Its position; -ENOMEM. */
ssize_t index_append(struct index *index, const struct index_entry *entry, const char *name);
/* The position of a UID, tombstones included; -ENOENT. */
ssize_t index_find(struct index *index, uint32_t uid);
int index_get(const struct index *index, size_t position, struct index_entry *ret);
/* Changes what is known of a message; its UID, its name and whether it is gone stay. */
int index_put(struct index *index, size_t position, const struct index_entry *entry);
int index_name(
	const struct index *index, const struct index_entry *entry, char ret[INDEX_NAME_SIZE]);
/* Also in entry. */
int index_rename(struct index *index, size_t position, struct index_entry *entry, const char *name);
int index_bury(struct index *index, size_t position);
int index_revive(struct index *index, size_t position);
/* The messages that are there. */
size_t index_live(const struct index *index);
/* Whether most of it is tombstones. */
bool index_wasteful(const struct index *index);
/* Drops the tombstones; positions change. A failure: nothing was done. */
int index_compact(struct index *index);

#endif
