/* SPDX-License-Identifier: MIT */
/* An array of ranges. A range that continues the one before it, as nearly all do that a server sends one by one, takes no room. */
#include "uidranges.h"

#include <stdlib.h>

#include "mailfs/util/str.h"

void uid_ranges_finish(struct uid_ranges *ranges)
{
	free(ranges->items);
	*ranges = (struct uid_ranges){0};
}

/* Joins next to range if nothing lies between them; range does not begin behind next. */
static bool join(struct uid_range *range, const struct uid_range *next)
{
	if (next->first > range->last && next->first - range->last > 1)
		return false;
	if (next->last > range->last)
		range->last = next->last;
	return true;
}

int uid_ranges_add(struct uid_ranges *ranges, uint32_t first, uint32_t last)
{
	struct uid_range added = {first < last ? first : last, first < last ? last : first};
	struct uid_range *before = ranges->count ? &ranges->items[ranges->count - 1] : NULL;
	if (added.last == 0)
		return 0;
	if (added.first == 0)
		added.first = 1;
	if (before && before->first <= added.first && join(before, &added))
		return 0;
	int err =
		array_grow(&ranges->items, &ranges->cap, ranges->count + 1, sizeof(*ranges->items));
	if (err == 0)
		ranges->items[ranges->count++] = added;
	return err;
}

static int compare(const void *a, const void *b)
{
	const struct uid_range *x = a, *y = b;
	return (x->first > y->first) - (x->first < y->first);
}

void uid_ranges_sort(struct uid_ranges *ranges)
{
	size_t kept = 0;
	if (ranges->count > 1)
		qsort(ranges->items, ranges->count, sizeof(*ranges->items), compare);
	for (size_t i = 0; i < ranges->count; i++)
		if (kept == 0 || !join(&ranges->items[kept - 1], &ranges->items[i]))
			ranges->items[kept++] = ranges->items[i];
	ranges->count = kept;
}

bool uid_ranges_has(const struct uid_ranges *ranges, uint32_t uid)
{
	size_t low = 0, high = ranges->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (ranges->items[middle].last < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < ranges->count && ranges->items[low].first <= uid;
}

uint64_t uid_ranges_total(const struct uid_ranges *ranges)
{
	uint64_t total = 0;
	for (size_t i = 0; i < ranges->count; i++)
		total += (uint64_t)ranges->items[i].last - ranges->items[i].first + 1;
	return total;
}
