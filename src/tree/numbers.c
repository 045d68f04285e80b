/* SPDX-License-Identifier: MIT */
/*
 * Open addressing with linear probing, at most half full. The numbers are hashes already, so they
 * are not hashed again.
 */
#include "numbers.h"

#include <errno.h>
#include <stdlib.h>

void numbers_finish(struct numbers *numbers)
{
	free(numbers->slots);
	*numbers = (struct numbers){0};
}

static size_t slot_of(const struct numbers *numbers, uint32_t number)
{
	size_t i = number & (numbers->cap - 1);
	while (numbers->slots[i].number && numbers->slots[i].number != number)
		i = (i + 1) & (numbers->cap - 1);
	return i;
}

static int numbers_grow(struct numbers *numbers)
{
	struct numbers wider = {.cap = numbers->cap ? numbers->cap * 2 : 16};
	wider.slots = calloc(wider.cap, sizeof(*wider.slots));
	if (!wider.slots)
		return -ENOMEM;
	for (size_t i = 0; i < numbers->cap; i++)
		if (numbers->slots[i].number)
			wider.slots[slot_of(&wider, numbers->slots[i].number)] = numbers->slots[i];
	wider.count = numbers->count;
	free(numbers->slots);
	*numbers = wider;
	return 0;
}

int numbers_put(struct numbers *numbers, uint32_t number, void *value)
{
	if ((numbers->count + 1) * 2 > numbers->cap) {
		int r = numbers_grow(numbers);
		if (r < 0)
			return r;
	}
	size_t i = slot_of(numbers, number);
	if (!numbers->slots[i].number)
		numbers->count++;
	numbers->slots[i].number = number;
	numbers->slots[i].value = value;
	return 0;
}

void *numbers_get(const struct numbers *numbers, uint32_t number)
{
	if (numbers->cap == 0 || number == 0)
		return NULL;
	size_t i = slot_of(numbers, number);
	return numbers->slots[i].number ? numbers->slots[i].value : NULL;
}
