/* SPDX-License-Identifier: MIT */
/* Making room on a full disk. */
#include "private.h"

#include <errno.h>

__attribute__((weak)) int store_make_room(struct store *store, uint64_t bytes)
{
	(void)store;
	(void)bytes;
	return -ENOSPC;
}
