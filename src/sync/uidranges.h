/* SPDX-License-Identifier: MIT */
/* UIDs as ranges: what a server says has vanished, or exists. */
#ifndef SYNC_UIDRANGES_H
#define SYNC_UIDRANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uid_range {
	uint32_t first, last;
};
struct uid_ranges {
	struct uid_range *items;
	size_t count, cap;
};

void uid_ranges_finish(struct uid_ranges *ranges);
/* Adds first … last, in whatever order they stand; 0 is no UID and is left out. 0 or -ENOMEM. */
int uid_ranges_add(struct uid_ranges *ranges, uint32_t first, uint32_t last);
/* Brings them into ascending order, and joins those that touch or overlap. */
void uid_ranges_sort(struct uid_ranges *ranges);
/* Of sorted ones. */
bool uid_ranges_has(const struct uid_ranges *ranges, uint32_t uid);
/* How many UIDs there are in sorted ones. */
uint64_t uid_ranges_total(const struct uid_ranges *ranges);

#endif
