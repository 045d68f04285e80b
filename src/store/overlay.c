/* SPDX-License-Identifier: MIT */
/*
 * A file whose disk takes nothing any more, going on in memory. A block is there as a whole or not at all: the first write
 * into one that is not takes the rest of it from the disk.
 */
#include "overlay.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/str.h"

void overlay_begin(struct overlay *overlay, uint64_t base_size)
{
	*overlay = (struct overlay){.size = base_size, .base_size = base_size};
}

static void drop_from(struct overlay *overlay, size_t first)
{
	for (size_t i = first; i < overlay->cap; i++) {
		overlay->count -= overlay->blocks[i] != NULL;
		free(overlay->blocks[i]);
		overlay->blocks[i] = NULL;
	}
}

void overlay_finish(struct overlay *overlay)
{
	drop_from(overlay, 0);
	free(overlay->blocks);
	*overlay = (struct overlay){0};
}

static int grow(struct overlay *overlay, size_t need)
{
	size_t cap = overlay->cap;
	if (array_grow(&overlay->blocks, &overlay->cap, need, sizeof(*overlay->blocks)) < 0)
		return -ENOMEM;
	if (overlay->cap > cap)
		memset(overlay->blocks + cap, 0, (overlay->cap - cap) * sizeof(*overlay->blocks));
	return 0;
}

/* The block as the disk has it, as far as that shows through. */
static int read_base(const struct overlay *overlay, unsigned char *buf, size_t len, uint64_t offset,
	overlay_base_fn *base, void *arg)
{
	uint64_t shown = offset < overlay->base_size ? overlay->base_size - offset : 0;
	size_t n = shown < len ? (size_t)shown : len;
	memset(buf + n, 0, len - n);
	return n ? base(arg, buf, n, offset) : 0;
}

static int block_get(struct overlay *overlay, size_t number, overlay_base_fn *base, void *arg,
	unsigned char **ret)
{
	int rc = grow(overlay, number + 1);
	if (rc == 0 && !overlay->blocks[number]) {
		unsigned char *block = malloc(OVERLAY_BLOCK);
		rc = block ? read_base(overlay, block, OVERLAY_BLOCK,
				     (uint64_t)number * OVERLAY_BLOCK, base, arg)
		           : -ENOMEM;
		if (rc != 0) {
			free(block);
			return rc;
		}
		overlay->blocks[number] = block;
		overlay->count++;
	}
	if (rc == 0)
		*ret = overlay->blocks[number];
	return rc;
}

/* How much of [offset, offset + len) lies in the block of offset. */
static size_t in_block(uint64_t offset, size_t len)
{
	size_t left = OVERLAY_BLOCK - (size_t)(offset % OVERLAY_BLOCK);
	return len < left ? len : left;
}

int overlay_write(struct overlay *overlay, const void *data, size_t len, uint64_t offset,
	overlay_base_fn *base, void *arg)
{
	for (const char *from = data; len > 0;) {
		unsigned char *block;
		int rc = block_get(overlay, (size_t)(offset / OVERLAY_BLOCK), base, arg, &block);
		if (rc != 0)
			return rc;
		size_t n = in_block(offset, len);
		memcpy(block + offset % OVERLAY_BLOCK, from, n);
		from += n;
		offset += n;
		len -= n;
		if (overlay->size < offset)
			overlay->size = offset;
	}
	return 0;
}

int overlay_read(const struct overlay *overlay, void *buf, size_t len, uint64_t offset,
	overlay_base_fn *base, void *arg)
{
	int rc = 0;
	for (unsigned char *to = buf; rc == 0 && len > 0;) {
		size_t number = (size_t)(offset / OVERLAY_BLOCK), n = in_block(offset, len);
		if (number < overlay->cap && overlay->blocks[number])
			memcpy(to, overlay->blocks[number] + offset % OVERLAY_BLOCK, n);
		else
			rc = read_base(overlay, to, n, offset, base, arg);
		to += n;
		offset += n;
		len -= n;
	}
	return rc;
}

void overlay_truncate(struct overlay *overlay, uint64_t size)
{
	if (size >= overlay->size)
		return;
	size_t number = (size_t)(size / OVERLAY_BLOCK), within = (size_t)(size % OVERLAY_BLOCK);
	drop_from(overlay, number + (within > 0));
	if (within && number < overlay->cap && overlay->blocks[number])
		memset(overlay->blocks[number] + within, 0, OVERLAY_BLOCK - within);
	overlay->size = size;
	if (overlay->base_size > size)
		overlay->base_size = size;
}
