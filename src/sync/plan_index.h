/* SPDX-License-Identifier: MIT */
/*
 * The records that no entry has claimed by its unique-id, in an order by which they are found by what else is known of
 * them. Those that are alike lie side by side; each such run has a cursor over those that were claimed since, so that
 * a thousand messages of the same content cost no more than a thousand different ones.
 */
#ifndef SYNC_PLAN_INDEX_H
#define SYNC_PLAN_INDEX_H

#include <stdint.h>

struct plan;
struct plan_index;

/* Classes of records; from FIRST on, one for each unique-id in the listing. */
#define PLAN_CLASS_NAMELESS 0 /* without a unique-id */
#define PLAN_CLASS_ABSENT   1 /* with one that is not in the listing */
#define PLAN_CLASS_FIRST    2

enum plan_index_kind {
	PLAN_BY_CONTENT,  /* class, SHA-256; those whose file is lost come last */
	PLAN_BY_TOP,      /* class, listed size, digest of TOP; without the lost */
	PLAN_WITHOUT_TOP, /* class, listed size; those that are not in PLAN_BY_TOP */
	PLAN_BY_SIZE, /* class, listed size; what is found counts as taken, though it is not claimed */
};

struct plan_key {
	uint32_t class;
	uint64_t listed_bytes;
	const unsigned char *digest;
};

/* NULL: no memory. */
struct plan_index *plan_index_create(const struct plan *plan, enum plan_index_kind kind);
void plan_index_destroy(struct plan_index *index);
/* A record that is alike and not claimed; PLAN_NO_RECORD. */
uint32_t plan_index_find(
	struct plan_index *index, const struct plan *plan, const struct plan_key *key);

#endif
