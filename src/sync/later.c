/* SPDX-License-Identifier: MIT */
/* Stands in for what other parts bring; weak, and to be deleted with the last of them. */
#include "private.h"

__attribute__((weak)) bool store_is_pinned(
	struct store *store, const char *mailbox, uint32_t folder, uint32_t uid)
{
	(void)store, (void)mailbox, (void)folder, (void)uid;
	return false;
}

__attribute__((weak)) int store_pin_mailbox(struct store *store, const char *mailbox, bool pin)
{
	(void)store, (void)mailbox, (void)pin;
	return 0;
}

__attribute__((weak)) bool sync_account_sizes_distrusted(const struct sync_account *account)
{
	(void)account;
	return false;
}
