/* SPDX-License-Identifier: MIT */
/* Stand-ins until the store has pins: nothing is pinned, no fact is known. */
#include "mailfs/store.h"

#include <errno.h>

#define STUB __attribute__((weak))

STUB int store_pin_mailbox(struct store *store, const char *mailbox, bool pin)
{
	(void)store, (void)mailbox, (void)pin;
	return -ENOSPC;
}

STUB int store_pin_message(struct store *store, uint32_t folder, uint32_t uid, bool pin)
{
	(void)store, (void)folder, (void)uid, (void)pin;
	return -ENOSPC;
}

STUB bool store_is_pinned(struct store *store, const char *mailbox, uint32_t folder, uint32_t uid)
{
	(void)store, (void)mailbox, (void)folder, (void)uid;
	return false;
}

STUB bool store_pins_any(struct store *store, const char *mailbox, uint32_t folder)
{
	(void)store, (void)mailbox, (void)folder;
	return false;
}

STUB int store_pinned_missing(struct store *store, const char *mailbox, uint32_t folder,
	uint32_t first, uint32_t *uids, size_t max, size_t *count)
{
	(void)store, (void)mailbox, (void)folder, (void)first, (void)uids, (void)max;
	*count = 0;
	return 0;
}

STUB int store_folder_usage(
	struct store *store, const char *mailbox, uint32_t folder, struct store_folder_usage *ret)
{
	(void)mailbox;
	*ret = (struct store_folder_usage){0};
	return store_folder_count(store, folder, &ret->messages, &ret->unseen);
}
