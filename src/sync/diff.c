/* SPDX-License-Identifier: MIT */
/*
 * The comparison of two sorted lists, and the table that makes flags comparable. No I/O, nothing of the
 * account.
 */
#include "diff.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "mailfs/util/hash.h"

#define SLOTS_MIN 64

void flag_table_finish(struct flag_table *table)
{
	str_finish(&table->text);
	free(table->offsets);
	free(table->slots);
	*table = (struct flag_table){0};
}

const char *flag_table_text(const struct flag_table *table, uint32_t number)
{
	return number == FLAGS_UNKNOWN ? "" : table->text.data + table->offsets[number - 1];
}

/* The slot that holds flags, or the empty one where they belong. */
static size_t slot_of(const struct flag_table *table, const char *flags)
{
	uint64_t hash = hash64_finish(hash64(HASH64_INIT ^ table->seed, flags, strlen(flags)));
	size_t i = hash & (table->slots_cap - 1);
	while (table->slots[i] && strcmp(flag_table_text(table, table->slots[i]), flags) != 0)
		i = (i + 1) & (table->slots_cap - 1);
	return i;
}

static int grow(struct flag_table *table)
{
	uint32_t *old = table->slots;
	size_t cap = table->slots_cap ? table->slots_cap * 2 : SLOTS_MIN;
	uint32_t *slots = calloc(cap, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	if (!old && getrandom(&table->seed, sizeof(table->seed), GRND_NONBLOCK) < 0)
		table->seed = (uintptr_t)table;
	table->slots = slots;
	table->slots_cap = cap;
	for (uint32_t number = 1; number <= table->count; number++)
		slots[slot_of(table, flag_table_text(table, number))] = number;
	free(old);
	return 0;
}

int flag_table_add(struct flag_table *table, const char *flags, uint32_t *ret)
{
	if (table->count * 2 >= table->slots_cap && grow(table) < 0)
		return -ENOMEM;
	size_t slot = slot_of(table, flags);
	if (!table->slots[slot]) {
		if (array_grow(&table->offsets, &table->cap, table->count + 1,
			    sizeof(*table->offsets)) < 0)
			return -ENOMEM;
		size_t at = table->text.len;
		str_append(&table->text, flags, strlen(flags) + 1);
		if (str_error(&table->text) < 0)
			return -ENOMEM;
		table->offsets[table->count++] = at;
		table->slots[slot] = (uint32_t)table->count;
	}
	*ret = table->slots[slot];
	return 0;
}

void diff_rows_finish(struct diff_rows *rows)
{
	free(rows->items);
	*rows = (struct diff_rows){0};
}

int diff_rows_add(struct diff_rows *rows, uint32_t uid, uint32_t flags)
{
	int err = array_grow(&rows->items, &rows->cap, rows->count + 1, sizeof(*rows->items));
	if (err == 0)
		rows->items[rows->count++] = (struct diff_row){.uid = uid, .flags = flags};
	return err;
}

/* By UID; known flags first. */
static int compare(const void *a, const void *b)
{
	const struct diff_row *x = a, *y = b;
	if (x->uid != y->uid)
		return x->uid < y->uid ? -1 : 1;
	return (x->flags == FLAGS_UNKNOWN) - (y->flags == FLAGS_UNKNOWN);
}

/* As nearly every server's answer is. */
static bool is_sorted(const struct diff_rows *rows)
{
	for (size_t i = 1; i < rows->count; i++)
		if (compare(&rows->items[i - 1], &rows->items[i]) > 0)
			return false;
	return true;
}

void diff_rows_sort(struct diff_rows *rows)
{
	size_t kept = 0;
	if (!is_sorted(rows))
		qsort(rows->items, rows->count, sizeof(*rows->items), compare);
	for (size_t i = 0; i < rows->count; i++)
		if (kept == 0 || rows->items[kept - 1].uid != rows->items[i].uid)
			rows->items[kept++] = rows->items[i];
	rows->count = kept;
}

void diff_finish(struct diff *diff)
{
	free(diff->gone);
	free(diff->added);
	free(diff->changed);
	*diff = (struct diff){0};
}

/* Room for the most that there can be. */
static int diff_init(struct diff *diff, size_t stored, size_t server)
{
	*diff = (struct diff){
		.gone = calloc(stored + 1, sizeof(*diff->gone)),
		.added = calloc(server + 1, sizeof(*diff->added)),
		.changed = calloc(stored + 1, sizeof(*diff->changed)),
	};
	if (diff->gone && diff->added && diff->changed)
		return 0;
	diff_finish(diff);
	return -ENOMEM;
}

int diff_compute(const struct diff_rows *stored, const struct diff_rows *server, struct diff *ret)
{
	struct diff diff;
	size_t i = 0, k = 0;

	if (diff_init(&diff, stored->count, server->count) < 0)
		return -ENOMEM;
	while (i < stored->count || k < server->count) {
		const struct diff_row *have = i < stored->count ? &stored->items[i] : NULL;
		const struct diff_row *told = k < server->count ? &server->items[k] : NULL;
		if (!told || (have && have->uid < told->uid)) {
			diff.gone[diff.gone_count++] = have->uid;
			i++;
		} else if (!have || told->uid < have->uid) {
			diff.added[diff.added_count++] = told->uid;
			k++;
		} else {
			if (told->flags != FLAGS_UNKNOWN && told->flags != have->flags)
				diff.changed[diff.changed_count++] = *told;
			i++;
			k++;
		}
	}
	*ret = diff;
	return 0;
}
