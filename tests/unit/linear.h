/* SPDX-License-Identifier: MIT */
/*
 * Time that grows with the length of what is read, and no faster: four times as much of it takes about four times as long. Ratios of a thread's own time,
 * since machines differ, and are busy with other things: linear is 4, quadratic is 16.
 */
#ifndef MAILFS_TEST_LINEAR_H
#define MAILFS_TEST_LINEAR_H

#include <stddef.h>

#include "mailfs/util/str.h"

/* head; the pattern again and again, with its "%" a count; tail. */
struct linear_case {
	const char *what, *head, *pattern, *tail;
	void (*work)(const char *data, size_t len);
};

/* Makes it so long that there are len bytes before the tail, or a few more. */
void linear_build(const struct linear_case *c, size_t len, struct str *out);
/*
 * Fails the test if the work takes more than its length explains: at a size that can be measured, and at least at this one (at most 1 MiB); 0: the former
 * alone. With a sanitizer, too, the former alone.
 */
void linear_assert(const struct linear_case *c, size_t least);
/* To be called by main(): the allocator shall cost the same, whatever the size. */
void linear_prepare(void);

#endif
