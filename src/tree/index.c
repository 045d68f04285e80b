/* SPDX-License-Identifier: MIT */
/*
 * A folder's messages. Entries lie in one list of pages in the order of arrival, names in another, each within one page, so that it is
 * reached by 32 bits (which page << 12 | offset).
 *
 * Servers list in ascending order of UID, and then the entries themselves are searched. Once something
 * arrives out of order, positions sorted by UID are kept beside them: a sorted part and, at its end,
 * a few that are searched one by one and sorted in when they have become many. So each append costs
 * O(log n) on the average.
 */
#include "index.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"

#define ENTRIES_IN_PAGE (PAGE_BYTES / sizeof(struct index_entry))
#define RANKS_IN_PAGE   (PAGE_BYTES / sizeof(uint32_t))
#define NAME_PAGES_MAX  (UINT32_C(1) << 20)
#define TAIL_MAX        1024 /* unsorted positions that are searched one by one */

void index_init(struct index *index, struct pages *pages)
{
	*index = (struct index){.pages = pages};
}

void index_finish(struct index *index)
{
	page_list_finish(index->pages, &index->entries);
	page_list_finish(index->pages, &index->names);
	page_list_finish(index->pages, &index->sorted);
	index_init(index, index->pages);
}

/* --- Names --- */

static int name_store(struct index *index, const char *name, uint32_t *ret)
{
	size_t len = strlen(name) + 1;
	assert(len <= INDEX_NAME_SIZE);
	if (index->names.count == 0 || PAGE_BYTES - index->names_used < len) {
		if (index->names.count == NAME_PAGES_MAX)
			return -ENOSPC;
		int r = page_list_grow(index->pages, &index->names, index->names.count + 1);
		if (r < 0)
			return r;
		index->names_used = 0;
	}
	size_t page = index->names.count - 1;
	int r = pages_write(index->pages, index->names.numbers[page], index->names_used, name, len);
	if (r < 0)
		return r;
	*ret = (uint32_t)(page << 12 | index->names_used);
	index->names_used += len;
	return 0;
}

int index_name(
	const struct index *index, const struct index_entry *entry, char ret[INDEX_NAME_SIZE])
{
	size_t offset = entry->name & 0xfff, rest = PAGE_BYTES - offset;
	return pages_read(index->pages, index->names.numbers[entry->name >> 12], offset, ret,
		rest < INDEX_NAME_SIZE ? rest : INDEX_NAME_SIZE);
}

/* --- Entries --- */

static uint32_t entry_page(const struct index *index, size_t position)
{
	assert(position < index->count);
	return index->entries.numbers[position / ENTRIES_IN_PAGE];
}

static size_t entry_offset(size_t position)
{
	return position % ENTRIES_IN_PAGE * sizeof(struct index_entry);
}

int index_get(const struct index *index, size_t position, struct index_entry *ret)
{
	return pages_read(index->pages, entry_page(index, position), entry_offset(position), ret,
		sizeof(*ret));
}

int index_put(struct index *index, size_t position, const struct index_entry *entry)
{
	return pages_write(index->pages, entry_page(index, position), entry_offset(position), entry,
		sizeof(*entry));
}

static int uid_at(const struct index *index, size_t position, uint32_t *ret)
{
	return pages_read(index->pages, entry_page(index, position),
		entry_offset(position) + offsetof(struct index_entry, uid), ret, sizeof(*ret));
}

/* --- Positions by UID --- */

static int sorted_get(const struct index *index, size_t rank, uint32_t *ret)
{
	return pages_read(index->pages, index->sorted.numbers[rank / RANKS_IN_PAGE],
		rank % RANKS_IN_PAGE * sizeof(*ret), ret, sizeof(*ret));
}

static int sorted_put(struct index *index, size_t rank, uint32_t position)
{
	return pages_write(index->pages, index->sorted.numbers[rank / RANKS_IN_PAGE],
		rank % RANKS_IN_PAGE * sizeof(position), &position, sizeof(position));
}

struct rank {
	uint32_t uid, position;
};

static int sorted_rank(const struct index *index, size_t at, struct rank *ret)
{
	int r = sorted_get(index, at, &ret->position);
	return r < 0 ? r : uid_at(index, ret->position, &ret->uid);
}

static int rank_compare(const void *a, const void *b)
{
	const struct rank *x = a, *y = b;
	return (x->uid > y->uid) - (x->uid < y->uid);
}

/* Merges count sorted ranks, from the back, so that nothing is overwritten before it was moved. */
static int merge_ranks(struct index *index, const struct rank *ranks, size_t count)
{
	size_t old = index->sorted_count, to = old + count;
	struct rank last = {0};
	int r = old > 0 ? sorted_rank(index, old - 1, &last) : 0;
	while (count > 0 && r == 0) {
		if (old > 0 && last.uid > ranks[count - 1].uid) {
			r = sorted_put(index, --to, last.position);
			if (r == 0 && --old > 0)
				r = sorted_rank(index, old - 1, &last);
		} else {
			r = sorted_put(index, --to, ranks[--count].position);
		}
	}
	return r;
}

/* The positions that are not sorted yet, by UID. */
static int rank_tail(const struct index *index, struct rank *ranks, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		ranks[i].position = (uint32_t)(index->sorted_count + i);
		int r = uid_at(index, ranks[i].position, &ranks[i].uid);
		if (r < 0)
			return r;
	}
	qsort(ranks, count, sizeof(*ranks), rank_compare);
	return 0;
}

/* Brings every position into the sorted ones. */
static int sort_tail(struct index *index)
{
	size_t count = index->count - index->sorted_count;
	size_t pages = (index->count + RANKS_IN_PAGE - 1) / RANKS_IN_PAGE;
	int r = page_list_grow(index->pages, &index->sorted, pages);
	if (r < 0)
		return r;
	_cleanup_free_ struct rank *ranks = malloc(count * sizeof(*ranks));
	if (!ranks)
		return -ENOMEM;
	r = rank_tail(index, ranks, count);
	if (r < 0)
		return r;
	r = merge_ranks(index, ranks, count);
	/* What is half merged is of no use. */
	index->sorted_count = r == 0 ? index->count : 0;
	return r;
}

/* The first of count that has this UID or a higher one. */
static int find_rank(const struct index *index,
	int (*get)(const struct index *, size_t at, struct rank *ret), size_t count, uint32_t uid,
	size_t *ret_at, struct rank *ret)
{
	size_t low = 0, high = count;
	struct rank rank;
	*ret = (struct rank){0};
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int r = get(index, mid, &rank);
		if (r < 0)
			return r;
		if (rank.uid < uid) {
			low = mid + 1;
			continue;
		}
		high = mid;
		*ret = rank;
	}
	*ret_at = low;
	return 0;
}

static int entry_rank(const struct index *index, size_t at, struct rank *ret)
{
	ret->position = (uint32_t)at;
	return uid_at(index, at, &ret->uid);
}

static ssize_t find_ascending(const struct index *index, uint32_t uid)
{
	struct rank found;
	size_t at;
	if (index->last_uid < uid)
		return -ENOENT; /* one that comes now */
	int r = find_rank(index, entry_rank, index->count, uid, &at, &found);
	if (r < 0)
		return r;
	return at < index->count && found.uid == uid ? (ssize_t)at : -ENOENT;
}

static ssize_t find_tail(const struct index *index, uint32_t uid)
{
	for (size_t i = index->sorted_count; i < index->count; i++) {
		uint32_t other;
		int r = uid_at(index, i, &other);
		if (r < 0)
			return r;
		if (other == uid)
			return (ssize_t)i;
	}
	return -ENOENT;
}

static ssize_t find_sorted(const struct index *index, uint32_t uid)
{
	struct rank found;
	size_t at;
	int r = find_rank(index, sorted_rank, index->sorted_count, uid, &at, &found);
	if (r < 0)
		return r;
	if (at < index->sorted_count && found.uid == uid)
		return found.position;
	return find_tail(index, uid);
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

/* --- Changes --- */

ssize_t index_append(struct index *index, const struct index_entry *entry, const char *name)
{
	if (index->count == UINT32_MAX)
		return -ENOMEM;
	int r = page_list_grow(index->pages, &index->entries, index->count / ENTRIES_IN_PAGE + 1);
	struct index_entry copy = *entry;
	if (r == 0)
		r = name_store(index, name, &copy.name);
	if (r < 0)
		return r;
	size_t position = index->count++;
	r = index_put(index, position, &copy);
	if (r < 0) {
		index->count--;
		return r;
	}
	index->unordered = index->unordered || (position > 0 && copy.uid <= index->last_uid);
	index->last_uid = copy.uid;
	return (ssize_t)position;
}

int index_rename(struct index *index, size_t position, struct index_entry *entry, const char *name)
{
	uint32_t stored;
	int r = name_store(index, name, &stored);
	if (r < 0)
		return r;
	entry->name = stored;
	return index_put(index, position, entry);
}

static int set_gone(struct index *index, size_t position, bool gone)
{
	struct index_entry entry;
	int r = index_get(index, position, &entry);
	if (r < 0 || gone == (bool)(entry.flags & INDEX_GONE))
		return r;
	entry.flags ^= INDEX_GONE;
	r = index_put(index, position, &entry);
	if (r == 0)
		index->gone = gone ? index->gone + 1 : index->gone - 1;
	return r;
}

int index_bury(struct index *index, size_t position)
{
	return set_gone(index, position, true);
}

int index_revive(struct index *index, size_t position)
{
	return set_gone(index, position, false);
}

size_t index_live(const struct index *index)
{
	return index->count - index->gone;
}

bool index_wasteful(const struct index *index)
{
	return index->gone > 4096 && index->gone > index_live(index);
}

static int copy_live(const struct index *index, struct index *fresh)
{
	for (size_t i = 0; i < index->count; i++) {
		struct index_entry entry;
		char name[INDEX_NAME_SIZE];
		int r = index_get(index, i, &entry);
		if (r == 0 && entry.flags & INDEX_GONE)
			continue;
		if (r == 0)
			r = index_name(index, &entry, name);
		ssize_t at = r == 0 ? index_append(fresh, &entry, name) : r;
		if (at < 0)
			return (int)at;
	}
	return 0;
}

int index_compact(struct index *index)
{
	struct index fresh;
	index_init(&fresh, index->pages);
	int r = copy_live(index, &fresh);
	if (r < 0) {
		index_finish(&fresh);
		return r;
	}
	index_finish(index);
	*index = fresh;
	return 0;
}
