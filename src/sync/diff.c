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

#include "mailfs/util/cleanup.h"
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
		if (strlen(flags) >= FLAG_TABLE_BYTES_MAX - at)
			return -EIO;
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

/* As nearly every server's answer is. */
static bool is_sorted(const struct diff_rows *rows)
{
	for (size_t i = 1; i < rows->count; i++)
		if (rows->items[i - 1].uid >= rows->items[i].uid)
			return false;
	return true;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
	return (x > y) - (x < y);
}

/* Takes over a row that follows those that are kept; later flags are truer. */
static void keep_row(struct diff_rows *rows, const struct diff_row *row)
{
	struct diff_row *last = rows->count ? &rows->items[rows->count - 1] : NULL;
	if (!last || last->uid != row->uid)
		rows->items[rows->count++] = *row;
	else if (row->flags != FLAGS_UNKNOWN)
		last->flags = row->flags;
}

int diff_rows_sort(struct diff_rows *rows)
{
	if (is_sorted(rows))
		return 0;
	/* By UID, then by place: whichever way qsort() sorts, the order of arrival stays. */
	_cleanup_free_ uint64_t *order = calloc(rows->count, sizeof(*order));
	struct diff_rows sorted = {
		.items = calloc(rows->count, sizeof(*rows->items)), .cap = rows->count};
	if (!order || !sorted.items || rows->count > UINT32_MAX) {
		diff_rows_finish(&sorted);
		return -ENOMEM;
	}
	for (size_t i = 0; i < rows->count; i++)
		order[i] = (uint64_t)rows->items[i].uid << 32 | i;
	qsort(order, rows->count, sizeof(*order), compare);
	for (size_t i = 0; i < rows->count; i++)
		keep_row(&sorted, &rows->items[(uint32_t)order[i]]);
	diff_rows_finish(rows);
	*rows = sorted;
	return 0;
}

void diff_finish(struct diff *diff)
{
	free(diff->gone);
	free(diff->added);
	free(diff->changed);
	*diff = (struct diff){0};
}

static int add_uid(uint32_t **uids, size_t *count, size_t *cap, uint32_t uid)
{
	int err = array_grow(uids, cap, *count + 1, sizeof(**uids));
	if (err == 0)
		(*uids)[(*count)++] = uid;
	return err;
}

int diff_add_gone(struct diff *diff, uint32_t uid)
{
	return add_uid(&diff->gone, &diff->gone_count, &diff->gone_cap, uid);
}

int diff_add_added(struct diff *diff, uint32_t uid)
{
	return add_uid(&diff->added, &diff->added_count, &diff->added_cap, uid);
}

int diff_add_changed(struct diff *diff, const struct diff_row *row)
{
	int err = array_grow(&diff->changed, &diff->changed_cap, diff->changed_count + 1,
		sizeof(*diff->changed));
	if (err == 0)
		diff->changed[diff->changed_count++] = *row;
	return err;
}

/* have and told are the rows that come next, one of them NULL when its list is at its end; *i and *k are moved past what was taken. */
static int take_pair(const struct diff_row *have, const struct diff_row *told, size_t *i, size_t *k,
	struct diff *diff)
{
	bool stored = have && (!told || have->uid <= told->uid);
	bool listed = told && (!have || told->uid <= have->uid);
	*i += stored;
	*k += listed;
	if (!listed)
		return diff_add_gone(diff, have->uid);
	if (!stored)
		return diff_add_added(diff, told->uid);
	if (told->flags != FLAGS_UNKNOWN && told->flags != have->flags)
		return diff_add_changed(diff, told);
	return 0;
}

int diff_compute(const struct diff_rows *stored, const struct diff_rows *server, struct diff *ret)
{
	struct diff diff = {0};
	size_t i = 0, k = 0;
	int err = 0;

	while (err == 0 && (i < stored->count || k < server->count)) {
		const struct diff_row *have = i < stored->count ? &stored->items[i] : NULL;
		const struct diff_row *told = k < server->count ? &server->items[k] : NULL;
		err = take_pair(have, told, &i, &k, &diff);
	}
	if (err == 0)
		*ret = diff;
	else
		diff_finish(&diff);
	return err;
}
