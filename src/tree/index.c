/* SPDX-License-Identifier: MIT */
/*
 * A folder's messages in memory. Entries lie in one array in the order of arrival, names in chunks
 * of 64 KiB, so that growing never copies them and a name is reached by 32 bits (chunk << 16 |
 * offset).
 *
 * Servers list in ascending order of UID, and then the array itself is searched. Once something
 * arrives out of order, positions sorted by UID are kept beside it: a sorted part and, at its end,
 * a few that are searched one by one and sorted in when they have become many. So each append costs
 * O(log n) on the average.
 */
#include "index.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/str.h"

#define CHUNK_BYTES 65536
#define CHUNKS_MAX  65536
#define TAIL_MAX    1024 /* unsorted positions that are searched one by one */

void index_init(struct index *index)
{
	*index = (struct index){0};
}

void index_finish(struct index *index)
{
	for (size_t i = 0; i < index->chunk_count; i++)
		free(index->chunks[i]);
	free(index->chunks);
	free(index->entries);
	free(index->sorted);
	index_init(index);
}

static int chunk_add(struct index *index)
{
	if (index->chunk_count == CHUNKS_MAX)
		return -ENOMEM;
	int r = array_grow(
		&index->chunks, &index->chunk_cap, index->chunk_count + 1, sizeof(*index->chunks));
	if (r < 0)
		return r;
	char *chunk = malloc(CHUNK_BYTES);
	if (!chunk)
		return -ENOMEM;
	index->chunks[index->chunk_count++] = chunk;
	index->chunk_used = 0;
	return 0;
}

static int name_store(struct index *index, const char *name, uint32_t *ret)
{
	size_t len = strlen(name) + 1;
	assert(len <= CHUNK_BYTES);
	if (index->chunk_count == 0 || CHUNK_BYTES - index->chunk_used < len) {
		int r = chunk_add(index);
		if (r < 0)
			return r;
	}
	memcpy(index->chunks[index->chunk_count - 1] + index->chunk_used, name, len);
	*ret = (uint32_t)((index->chunk_count - 1) << 16 | index->chunk_used);
	index->chunk_used += len;
	return 0;
}

const char *index_name(const struct index *index, const struct index_entry *entry)
{
	return index->chunks[entry->name >> 16] + (entry->name & 0xffff);
}

struct index_entry *index_at(struct index *index, size_t position)
{
	assert(position < index->count);
	return &index->entries[position];
}

static uint32_t uid_sorted(const struct index *index, size_t rank)
{
	return index->entries[index->sorted[rank]].uid;
}

struct rank {
	uint32_t uid, position;
};

static int rank_compare(const void *a, const void *b)
{
	const struct rank *x = a, *y = b;
	return (x->uid > y->uid) - (x->uid < y->uid);
}

/* Merges count sorted ranks, from the back, so that nothing is overwritten before it was moved. */
static void merge_ranks(struct index *index, const struct rank *ranks, size_t count)
{
	size_t old = index->sorted_count, to = old + count;
	while (count > 0) {
		if (old > 0 && uid_sorted(index, old - 1) > ranks[count - 1].uid)
			index->sorted[--to] = index->sorted[--old];
		else
			index->sorted[--to] = ranks[--count].position;
	}
}

/* Brings every position into the sorted ones. */
static int sort_tail(struct index *index)
{
	size_t count = index->count - index->sorted_count;
	int r = array_grow(
		&index->sorted, &index->sorted_cap, index->count, sizeof(*index->sorted));
	if (r < 0)
		return r;
	_cleanup_free_ struct rank *ranks = malloc(count * sizeof(*ranks));
	if (!ranks)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		size_t position = index->sorted_count + i;
		ranks[i] = (struct rank){index->entries[position].uid, (uint32_t)position};
	}
	qsort(ranks, count, sizeof(*ranks), rank_compare);
	merge_ranks(index, ranks, count);
	index->sorted_count = index->count;
	return 0;
}

static ssize_t find_ascending(const struct index *index, uint32_t uid)
{
	size_t low = 0, high = index->count;
	if (high > 0 && index->entries[high - 1].uid < uid)
		return -ENOENT; /* one that comes now */
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (index->entries[mid].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	return low < index->count && index->entries[low].uid == uid ? (ssize_t)low : -ENOENT;
}

static ssize_t find_sorted(const struct index *index, uint32_t uid)
{
	size_t low = 0, high = index->sorted_count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (uid_sorted(index, mid) < uid)
			low = mid + 1;
		else
			high = mid;
	}
	if (low < index->sorted_count && uid_sorted(index, low) == uid)
		return index->sorted[low];
	for (size_t i = index->sorted_count; i < index->count; i++)
		if (index->entries[i].uid == uid)
			return (ssize_t)i;
	return -ENOENT;
}

ssize_t index_find(struct index *index, uint32_t uid)
{
	if (!index->unordered)
		return find_ascending(index, uid);
	/* Without memory for the sorting the search is slow, and still right. */
	if (index->count - index->sorted_count > TAIL_MAX)
		sort_tail(index);
	return find_sorted(index, uid);
}

ssize_t index_append(struct index *index, const struct index_entry *entry, const char *name)
{
	if (index->count == UINT32_MAX)
		return -ENOMEM;
	int r = array_grow(&index->entries, &index->cap, index->count + 1, sizeof(*index->entries));
	struct index_entry copy = *entry;
	if (r == 0)
		r = name_store(index, name, &copy.name);
	if (r < 0)
		return r;
	if (index->count > 0 && copy.uid <= index->entries[index->count - 1].uid)
		index->unordered = true;
	index->entries[index->count] = copy;
	return (ssize_t)index->count++;
}

int index_rename(struct index *index, size_t position, const char *name)
{
	return name_store(index, name, &index_at(index, position)->name);
}

void index_bury(struct index *index, size_t position)
{
	struct index_entry *entry = index_at(index, position);
	index->gone += entry->flags & INDEX_GONE ? 0 : 1;
	entry->flags |= INDEX_GONE;
}

void index_revive(struct index *index, size_t position)
{
	struct index_entry *entry = index_at(index, position);
	index->gone -= entry->flags & INDEX_GONE ? 1 : 0;
	entry->flags &= (uint16_t)~INDEX_GONE;
}

size_t index_live(const struct index *index)
{
	return index->count - index->gone;
}

bool index_wasteful(const struct index *index)
{
	return index->gone > 4096 && index->gone > index_live(index);
}

int index_compact(struct index *index)
{
	struct index fresh;
	index_init(&fresh);
	for (size_t i = 0; i < index->count; i++) {
		const struct index_entry *entry = &index->entries[i];
		if (entry->flags & INDEX_GONE)
			continue;
		ssize_t r = index_append(&fresh, entry, index_name(index, entry));
		if (r < 0) {
			index_finish(&fresh);
			return (int)r;
		}
	}
	index_finish(index);
	*index = fresh;
	return 0;
}
