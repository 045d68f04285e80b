/* SPDX-License-Identifier: MIT */
/* What of a file differs from the one on the disk, in memory, by blocks. The caller locks. */
#ifndef MAILFS_STORE_OVERLAY_H
#define MAILFS_STORE_OVERLAY_H

#include <stddef.h>
#include <stdint.h>

#define OVERLAY_BLOCK 4096

struct overlay {
	unsigned char **blocks; /* by number; NULL: as on the disk */
	size_t cap;             /* of blocks */
	size_t count;           /* those that are not NULL */
	uint64_t size;          /* of the file as it is here */
	uint64_t base_size;     /* how much of the disk's file still shows through */
};

/* Reads len bytes at offset of the file on the disk, zeros past its end. 0, or a code of SQLite's. */
typedef int overlay_base_fn(void *arg, void *buf, size_t len, uint64_t offset);

/* The file as it is on the disk. */
void overlay_begin(struct overlay *overlay, uint64_t base_size);
void overlay_finish(struct overlay *overlay);
/* 0, -ENOMEM, or what base has returned. */
int overlay_write(struct overlay *overlay, const void *data, size_t len, uint64_t offset,
	overlay_base_fn *base, void *arg);
/* The same; bytes past the end are zeros. */
int overlay_read(const struct overlay *overlay, void *buf, size_t len, uint64_t offset,
	overlay_base_fn *base, void *arg);
void overlay_truncate(struct overlay *overlay, uint64_t size);

#endif
