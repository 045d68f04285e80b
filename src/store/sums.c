/* SPDX-License-Identifier: MIT */
/* See sums.h. */
#include "sums.h"

#include <endian.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void sums_finish(struct sums *sums)
{
	free(sums->items);
	*sums = (struct sums){0};
}

/* The index of the first one with a number ≥ piece; count when there is none. */
static size_t find(const struct sums *sums, uint64_t piece)
{
	size_t low = 0, high = sums->count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (sums->items[mid].piece < piece)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

struct sum *sums_find(const struct sums *sums, uint64_t piece)
{
	size_t index = find(sums, piece);
	return index < sums->count && sums->items[index].piece == piece ? &sums->items[index]
	                                                                : NULL;
}

int sums_put(struct sums *sums, struct sum sum)
{
	size_t index = find(sums, sum.piece);
	if (index < sums->count && sums->items[index].piece == sum.piece) {
		sums->items[index] = sum;
		return 0;
	}
	int rc = array_grow(&sums->items, &sums->cap, sums->count + 1, sizeof(sum));
	if (rc < 0)
		return rc;
	memmove(sums->items + index + 1, sums->items + index, (sums->count - index) * sizeof(sum));
	sums->items[index] = sum;
	sums->count++;
	return 0;
}

void sums_forget(struct sums *sums, uint64_t start, uint64_t end)
{
	if (start >= end || sums->count == 0)
		return;
	size_t first = find(sums, start / SUMS_PIECE_BYTES);
	size_t last = find(sums, (end - 1) / SUMS_PIECE_BYTES + 1);
	memmove(sums->items + first, sums->items + last,
		(sums->count - last) * sizeof(*sums->items));
	sums->count -= last - first;
}

struct sum *sums_next_stored(const struct sums *sums, uint64_t first, uint64_t last)
{
	for (size_t i = find(sums, first); i < sums->count && sums->items[i].piece <= last; i++)
		if (sums->items[i].state == SUM_STORED)
			return &sums->items[i];
	return NULL;
}

void sums_serialize(uint64_t value, struct str *out)
{
	value = htole64(value);
	str_append(out, &value, sizeof(value));
}

static uint64_t get(const unsigned char *data)
{
	uint64_t value;
	memcpy(&value, data, sizeof(value));
	return le64toh(value);
}

int sums_parse(const void *data, size_t len, const struct ranges *held, struct sums *ret)
{
	const unsigned char *at = data, *end = at + len;
	struct sums sums = {0};
	int rc = 0;
	/* Bounded by what there is, however much the map says. */
	for (uint64_t piece = 0; rc == 0 && sums_next_piece(held, &piece); piece++) {
		if (end - at < (ptrdiff_t)sizeof(uint64_t)) {
			rc = -EINVAL;
			break;
		}
		rc = sums_put(&sums, (struct sum){piece, get(at), SUM_STORED});
		at += sizeof(uint64_t);
	}
	if (rc == 0 && at != end)
		rc = -EINVAL;
	if (rc < 0)
		sums_finish(&sums);
	*ret = sums;
	return rc;
}

bool sums_next_piece(const struct ranges *held, uint64_t *piece)
{
	if (*piece > UINT64_MAX / SUMS_PIECE_BYTES)
		return false;
	uint64_t next = ranges_next(held, *piece * SUMS_PIECE_BYTES);
	if (next == UINT64_MAX)
		return false;
	*piece = next / SUMS_PIECE_BYTES;
	return true;
}
