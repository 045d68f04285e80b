/* SPDX-License-Identifier: MIT */
/*
 * The set of ranges as a sorted array. Bodies are read in order or in large pieces, so that there are few
 * ranges, and one more read mostly extends one of them in place. Parsing trusts nothing: what it takes in fulfils the same
 * invariant as what was added.
 */
#include "ranges.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

void ranges_finish(struct ranges *ranges)
{
	free(ranges->items);
	*ranges = (struct ranges){0};
}

/* The index of the first range with end ≥ offset; count when there is none. */
static size_t find(const struct ranges *ranges, uint64_t offset)
{
	size_t low = 0, high = ranges->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (ranges->items[mid].end < offset)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int insert(struct ranges *ranges, size_t index, struct range range)
{
	int rc = array_grow(&ranges->items, &ranges->cap, ranges->count + 1, sizeof(range));
	if (rc < 0)
		return rc;
	memmove(ranges->items + index + 1, ranges->items + index,
		(ranges->count - index) * sizeof(range));
	ranges->items[index] = range;
	ranges->count++;
	return 0;
}

int ranges_add(struct ranges *ranges, uint64_t start, uint64_t end)
{
	if (start >= end)
		return 0;
	size_t first = find(ranges, start), last = first;
	while (last < ranges->count && ranges->items[last].start <= end)
		last++;
	if (first == last)
		return insert(ranges, first, (struct range){start, end});

	struct range *merged = &ranges->items[first];
	if (merged->start > start)
		merged->start = start;
	if (end < ranges->items[last - 1].end)
		end = ranges->items[last - 1].end;
	merged->end = end;
	memmove(merged + 1, ranges->items + last, (ranges->count - last) * sizeof(*merged));
	ranges->count -= last - first - 1;
	return 0;
}

void ranges_truncate(struct ranges *ranges, uint64_t size)
{
	size_t index = find(ranges, size);
	if (index < ranges->count && ranges->items[index].start < size)
		ranges->items[index++].end = size;
	ranges->count = index;
}

int ranges_remove(struct ranges *ranges, uint64_t start, uint64_t end)
{
	if (start >= end || ranges->count == 0)
		return 0;
	size_t index = find(ranges, start);
	if (index < ranges->count && ranges->items[index].start < start) {
		struct range *range = &ranges->items[index++];
		if (range->end > end) {
			uint64_t behind = range->end;
			int rc = insert(ranges, index, (struct range){end, behind});
			if (rc == 0)
				ranges->items[index - 1].end = start;
			return rc;
		}
		range->end = start;
	}
	size_t last = index;
	while (last < ranges->count && ranges->items[last].end <= end)
		last++;
	if (last < ranges->count && ranges->items[last].start < end)
		ranges->items[last].start = end;
	memmove(ranges->items + index, ranges->items + last,
		(ranges->count - last) * sizeof(*ranges->items));
	ranges->count -= last - index;
	return 0;
}

/* The index of the first range with end > offset; count when there is none. */
static size_t find_behind(const struct ranges *ranges, uint64_t offset)
{
	size_t index = find(ranges, offset);
	return index < ranges->count && ranges->items[index].end == offset ? index + 1 : index;
}

int ranges_slice(const struct ranges *ranges, uint64_t start, uint64_t end, struct ranges *ret)
{
	struct ranges slice = {0};
	int rc = 0;
	for (size_t i = find_behind(ranges, start);
		rc == 0 && start < end && i < ranges->count && ranges->items[i].start < end; i++) {
		struct range range = ranges->items[i];
		range.start = range.start < start ? start : range.start;
		range.end = range.end > end ? end : range.end;
		rc = insert(&slice, slice.count, range);
	}
	if (rc < 0)
		ranges_finish(&slice);
	*ret = slice;
	return rc;
}

uint64_t ranges_next(const struct ranges *ranges, uint64_t offset)
{
	size_t index = find_behind(ranges, offset);
	if (index == ranges->count)
		return UINT64_MAX;
	return ranges->items[index].start < offset ? offset : ranges->items[index].start;
}

uint64_t ranges_blocks(const struct ranges *ranges, uint64_t start, uint64_t end, uint64_t block)
{
	uint64_t count = 0, counted = 0; /* blocks before the latter are */
	if (start >= end)
		return 0;
	for (size_t i = find_behind(ranges, start);
		i < ranges->count && ranges->items[i].start < end; i++) {
		struct range range = ranges->items[i];
		uint64_t first = (range.start < start ? start : range.start) / block;
		uint64_t last = ((range.end > end ? end : range.end) - 1) / block;
		first = first < counted ? counted : first;
		if (last + 1 > first)
			count += last + 1 - first;
		counted = last + 1;
	}
	return count * block;
}

uint64_t ranges_held(const struct ranges *ranges, uint64_t offset)
{
	size_t index = find(ranges, offset);
	if (index == ranges->count || ranges->items[index].start > offset)
		return 0;
	return ranges->items[index].end - offset;
}

uint64_t ranges_end(const struct ranges *ranges)
{
	return ranges->count ? ranges->items[ranges->count - 1].end : 0;
}

static void put_number(struct str *out, uint64_t value)
{
	for (; value >= 0x80; value >>= 7)
		str_putc(out, (char)(value | 0x80));
	str_putc(out, (char)value);
}

void ranges_serialize(const struct ranges *ranges, struct str *out)
{
	uint64_t at = 0;
	for (size_t i = 0; i < ranges->count; i++) {
		put_number(out, ranges->items[i].start - at);
		put_number(out, ranges->items[i].end - ranges->items[i].start);
		at = ranges->items[i].end;
	}
}

static bool get_number(const unsigned char **data, const unsigned char *end, uint64_t *ret)
{
	uint64_t value = 0;
	for (unsigned shift = 0; *data < end && shift < 64; shift += 7) {
		unsigned char c = *(*data)++;
		uint64_t bits = c & 0x7f;
		if (bits << shift >> shift != bits)
			return false;
		value |= bits << shift;
		if (!(c & 0x80)) {
			*ret = value;
			return true;
		}
	}
	return false;
}

/* Reads one pair; a gap of 0 is only right before the first range. */
static bool get_range(
	const unsigned char **data, const unsigned char *end, uint64_t at, struct range *ret)
{
	uint64_t gap, len;
	if (!get_number(data, end, &gap) || !get_number(data, end, &len))
		return false;
	if (len == 0 || (gap == 0 && at > 0) || gap > UINT64_MAX - at ||
		len > UINT64_MAX - at - gap)
		return false;
	*ret = (struct range){at + gap, at + gap + len};
	return true;
}

int ranges_parse(const void *data, size_t len, struct ranges *ret)
{
	const unsigned char *at = data, *end = at + len;
	struct ranges ranges = {0};
	int rc = 0;
	while (rc == 0 && at < end) {
		struct range range;
		if (get_range(&at, end, ranges_end(&ranges), &range))
			rc = insert(&ranges, ranges.count, range);
		else
			rc = -EINVAL;
	}
	if (rc < 0)
		ranges_finish(&ranges);
	*ret = ranges;
	return rc;
}
