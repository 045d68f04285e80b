/* SPDX-License-Identifier: MIT */
/* Invariant: within a run, everything before the cursor of its first place is claimed. */
#include "plan_index.h"

#include <stdlib.h>
#include <string.h>

#include "plan.h"

struct plan_index {
	enum plan_index_kind kind;
	size_t count;
	uint32_t *order;  /* records */
	uint32_t *cursor; /* by the first place of a run: its first place that may be free */
};

void plan_index_destroy(struct plan_index *index)
{
	if (!index)
		return;
	free(index->order);
	free(index->cursor);
	free(index);
}

static int compare_numbers(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare(
	enum plan_index_kind kind, const struct plan_record *record, const struct plan_key *key)
{
	int order = compare_numbers(record->class, key->class);
	if (order == 0 && kind != PLAN_BY_CONTENT)
		order = compare_numbers(record->listed_bytes, key->listed_bytes);
	if (order == 0 && (kind == PLAN_BY_CONTENT || kind == PLAN_BY_TOP))
		order = memcmp(kind == PLAN_BY_TOP ? record->top : record->sha256, key->digest,
			STORE_DIGEST_BYTES);
	return order;
}

static struct plan_key key_of(enum plan_index_kind kind, const struct plan_record *record)
{
	return (struct plan_key){record->class, record->listed_bytes,
		kind == PLAN_BY_TOP ? record->top : record->sha256};
}

struct sorting {
	const struct plan_record *records;
	enum plan_index_kind kind;
};

static int record_order(const void *left, const void *right, void *arg)
{
	const struct sorting *sorting = arg;
	const struct plan_record *a = &sorting->records[*(const uint32_t *)left];
	const struct plan_record *b = &sorting->records[*(const uint32_t *)right];
	struct plan_key key = key_of(sorting->kind, b);
	int order = compare(sorting->kind, a, &key);
	if (order == 0)
		order = a->lost - b->lost;
	return order ? order : compare_numbers(a->uid, b->uid);
}

static bool belongs(enum plan_index_kind kind, const struct plan_record *record)
{
	if (record->claimed)
		return false;
	switch (kind) {
	case PLAN_BY_TOP:
		return record->has_top && !record->lost;
	case PLAN_WITHOUT_TOP:
		return !record->has_top || record->lost;
	case PLAN_BY_SIZE:
		return !record->lost;
	default:
		return true;
	}
}

static void fill(struct plan_index *index, const struct plan *plan)
{
	struct sorting sorting = {plan->records, index->kind};
	for (uint32_t i = 0; i < plan->record_count; i++)
		if (belongs(index->kind, &plan->records[i]))
			index->order[index->count++] = i;
	qsort_r(index->order, index->count, sizeof(*index->order), record_order, &sorting);
	for (uint32_t i = 0; i < index->count; i++)
		index->cursor[i] = i;
}

struct plan_index *plan_index_create(const struct plan *plan, enum plan_index_kind kind)
{
	struct plan_index *index = calloc(1, sizeof(*index));
	if (!index)
		return NULL;
	index->kind = kind;
	index->order = calloc(plan->record_count + 1, sizeof(*index->order));
	index->cursor = calloc(plan->record_count + 1, sizeof(*index->cursor));
	if (!index->order || !index->cursor) {
		plan_index_destroy(index);
		return NULL;
	}
	fill(index, plan);
	return index;
}

/* The first place that is not before the key. */
static size_t lower_bound(
	const struct plan_index *index, const struct plan *plan, const struct plan_key *key)
{
	size_t low = 0, high = index->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (compare(index->kind, &plan->records[index->order[middle]], key) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static bool in_run(const struct plan_index *index, const struct plan *plan, size_t place,
	const struct plan_key *key)
{
	return place < index->count &&
	       compare(index->kind, &plan->records[index->order[place]], key) == 0;
}

uint32_t plan_index_find(
	struct plan_index *index, const struct plan *plan, const struct plan_key *key)
{
	size_t first = lower_bound(index, plan, key);
	if (!in_run(index, plan, first, key))
		return PLAN_NO_RECORD;
	uint32_t *cursor = &index->cursor[first];
	while (in_run(index, plan, *cursor, key) && plan->records[index->order[*cursor]].claimed)
		++*cursor;
	if (!in_run(index, plan, *cursor, key))
		return PLAN_NO_RECORD;
	uint32_t record = index->order[*cursor];
	*cursor += index->kind == PLAN_BY_SIZE;
	return record;
}
