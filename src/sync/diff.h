/* SPDX-License-Identifier: MIT */
/*
 * What changed in a mailbox: a pure function from (what is stored, what the server has) to (gone, added, flags
 * changed). Flags are compared as numbers that a table gives to each distinct text.
 */
#ifndef SYNC_DIFF_H
#define SYNC_DIFF_H

#include <stddef.h>
#include <stdint.h>

#include "mailfs/util/str.h"

/* Distinct texts of flags and their numbers, from 1 on. */
struct flag_table {
	struct str text;
	size_t *offsets; /* of number i + 1 */
	size_t count, cap;
	uint32_t *slots; /* hash table of numbers; 0: empty */
	size_t slots_cap;
	uint64_t seed;
};
#define FLAGS_UNKNOWN 0

void flag_table_finish(struct flag_table *table);
/* All texts together. 100,000 messages have a few hundred, of some bytes each. */
#define FLAG_TABLE_BYTES_MAX ((size_t)4 << 20)
/* 0 and the number; -EIO: they are more than FLAG_TABLE_BYTES_MAX; or -ENOMEM. */
int flag_table_add(struct flag_table *table, const char *flags, uint32_t *ret);
const char *flag_table_text(const struct flag_table *table, uint32_t number);

struct diff_row {
	uint32_t uid;
	uint32_t flags; /* number; FLAGS_UNKNOWN: nothing is said about them */
};
struct diff_rows {
	struct diff_row *items;
	size_t count, cap;
};
void diff_rows_finish(struct diff_rows *rows);
int diff_rows_add(struct diff_rows *rows, uint32_t uid, uint32_t flags);
/* Sorts by UID; of several rows for one UID, the last with known flags is kept. 0 or -ENOMEM. */
int diff_rows_sort(struct diff_rows *rows);

/* Each list is ascending. */
struct diff {
	uint32_t *gone;
	size_t gone_count, gone_cap;
	uint32_t *added;
	size_t added_count, added_cap;
	struct diff_row *changed; /* with the server's flags */
	size_t changed_count, changed_cap;
};
/* 0 or -ENOMEM. */
int diff_add_gone(struct diff *diff, uint32_t uid);
int diff_add_added(struct diff *diff, uint32_t uid);
int diff_add_changed(struct diff *diff, const struct diff_row *row);
/* Both are sorted. 0 or -ENOMEM. */
int diff_compute(const struct diff_rows *stored, const struct diff_rows *server, struct diff *ret);
void diff_finish(struct diff *diff);

#endif
