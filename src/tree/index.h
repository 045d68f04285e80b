/* SPDX-License-Identifier: MIT */
/*
 * The messages of one folder in the order of their arrival, small enough for a million of them: 24
 * bytes each and the name. Positions never change while a directory is open: a message that is gone
 * leaves a tombstone. The owner locks.
 */
#ifndef MAILFS_TREE_INDEX_H
#define MAILFS_TREE_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define INDEX_SIZE_MAX ((UINT64_C(1) << 48) - 1)

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
	struct index_entry *entries;
	size_t count, cap; /* tombstones included */
	size_t gone;
	char **chunks; /* the names, NUL-terminated */
	size_t chunk_count, chunk_cap;
	size_t chunk_used; /* bytes of the last one */
	/* Positions by UID, when the arrival was not ascending; the first sorted_count of them. */
	uint32_t *sorted;
	size_t sorted_count, sorted_cap;
	bool unordered;
};

void index_init(struct index *index);
void index_finish(struct index *index);
/* Appends a message whose UID is not there yet. Its position; -ENOMEM. */
ssize_t index_append(struct index *index, const struct index_entry *entry, const char *name);
/* The position of a UID, tombstones included; -ENOENT. */
ssize_t index_find(struct index *index, uint32_t uid);
struct index_entry *index_at(struct index *index, size_t position);
const char *index_name(const struct index *index, const struct index_entry *entry);
int index_rename(struct index *index, size_t position, const char *name);
void index_bury(struct index *index, size_t position);
void index_revive(struct index *index, size_t position);
/* The messages that are there. */
size_t index_live(const struct index *index);
/* Whether most of it is tombstones. */
bool index_wasteful(const struct index *index);
/* Drops the tombstones; positions change. -ENOMEM: nothing was done. */
int index_compact(struct index *index);

#endif
