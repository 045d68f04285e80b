/* SPDX-License-Identifier: MIT */
/*
 * Checksums of a body's pieces. A piece is 128 KiB of the file; what counts of it are the bytes that are held, and where they lie. A
 * piece without a checksum here has none: it was written since, or comes from an older mailfs. Pure: no lock, no disk.
 */
#ifndef MAILFS_STORE_SUMS_H
#define MAILFS_STORE_SUMS_H

#include "ranges.h"

#define SUMS_PIECE_BYTES (UINT64_C(128) << 10)

enum sum_state {
	SUM_PENDING, /* being computed: as good as none, but shows whether somebody writes meanwhile */
	SUM_KNOWN,  /* computed here, or compared */
	SUM_STORED, /* as it was recorded; the bytes were not compared with it yet */
};

struct sum {
	uint64_t piece; /* its number: offset / SUMS_PIECE_BYTES */
	uint64_t value;
	enum sum_state state;
};

struct sums {
	struct sum *items; /* ascending */
	size_t count, cap;
};

void sums_finish(struct sums *sums);
/* The checksum of a piece; NULL: it has none. Valid until the set changes. */
struct sum *sums_find(const struct sums *sums, uint64_t piece);
/* Adds or replaces one. -ENOMEM. */
int sums_put(struct sums *sums, struct sum sum);
/* Bytes of [start, end) are others now. */
void sums_forget(struct sums *sums, uint64_t start, uint64_t end);
/* The first one that is to be compared of the pieces first to last; NULL: none. */
struct sum *sums_next_stored(const struct sums *sums, uint64_t first, uint64_t last);

/* Appends one as sums_parse() reads it, piece after piece. */
void sums_serialize(uint64_t value, struct str *out);
/* Reads those of all pieces of which something is held. -EINVAL: they do not fit together; -ENOMEM. ret is empty then. */
int sums_parse(const void *data, size_t len, const struct ranges *held, struct sums *ret);

/* The first piece from *piece on of which something is held; false: none. */
bool sums_next_piece(const struct ranges *held, uint64_t *piece);

#endif
