/* SPDX-License-Identifier: MIT */
/*
 * A map from 31-bit numbers, never 0, to pointers. Numbers are replaced, never taken out. The owner
 * locks.
 */
#ifndef MAILFS_TREE_NUMBERS_H
#define MAILFS_TREE_NUMBERS_H

#include <stddef.h>
#include <stdint.h>

struct numbers {
	struct {
		uint32_t number; /* 0: free */
		void *value;
	} * slots;
	size_t count, cap; /* cap: a power of two */
};

void numbers_finish(struct numbers *numbers);
/* value NULL: the number stands for nothing any more. -ENOMEM. */
int numbers_put(struct numbers *numbers, uint32_t number, void *value);
void *numbers_get(const struct numbers *numbers, uint32_t number);

#endif
