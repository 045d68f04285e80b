/* SPDX-License-Identifier: MIT */
/* The store's pins in memory: mailboxes, messages, and whether all is pinned. Bodies are the real store's. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/store.h"
#include "pin_store.h"

enum { PINS = 64 };

static struct {
	char mailboxes[PINS][64];
	size_t mailbox_count;
	uint64_t messages[PINS];
	size_t message_count;
	bool all;
} pins;

void pin_store_reset(void)
{
	memset(&pins, 0, sizeof(pins));
}

int store_set_policy(struct store *store, const struct store_policy *policy)
{
	(void)store;
	pins.all = policy->all;
	return 0;
}

static size_t find_mailbox(const char *mailbox)
{
	size_t i = 0;
	while (i < pins.mailbox_count && strcmp(pins.mailboxes[i], mailbox) != 0)
		i++;
	return i;
}

int store_pin_mailbox(struct store *store, const char *mailbox, bool pin)
{
	size_t i = find_mailbox(mailbox);
	(void)store;
	if (pin && i == pins.mailbox_count)
		strcpy(pins.mailboxes[pins.mailbox_count++], mailbox);
	if (!pin && i < pins.mailbox_count)
		strcpy(pins.mailboxes[i], "");
	return 0;
}

static size_t find_message(uint32_t folder, uint32_t uid)
{
	size_t i = 0;
	while (i < pins.message_count && pins.messages[i] != ((uint64_t)folder << 32 | uid))
		i++;
	return i;
}

int store_pin_message(struct store *store, uint32_t folder, uint32_t uid, bool pin)
{
	size_t i = find_message(folder, uid);
	(void)store;
	if (pin && i == pins.message_count)
		pins.messages[pins.message_count++] = (uint64_t)folder << 32 | uid;
	if (!pin && i < pins.message_count)
		pins.messages[i] = 0;
	return 0;
}

bool store_is_pinned(struct store *store, const char *mailbox, uint32_t folder, uint32_t uid)
{
	(void)store;
	return pins.all || find_mailbox(mailbox) < pins.mailbox_count ||
	       (uid && find_message(folder, uid) < pins.message_count);
}

bool store_pins_any(struct store *store, const char *mailbox, uint32_t folder)
{
	bool any = store_is_pinned(store, mailbox, folder, 0);
	for (size_t i = 0; i < pins.message_count; i++)
		any |= folder && pins.messages[i] >> 32 == folder;
	return any;
}

struct uids {
	uint32_t items[30000];
	size_t count;
};

static int on_row(void *arg, const struct source_row *row)
{
	struct uids *uids = arg;
	uids->items[uids->count++] = row->uid;
	return 0;
}

/* One that somebody has open is taken for missing. */
static bool is_whole(struct store *store, uint32_t folder, uint32_t uid)
{
	struct store_body *body;
	uint64_t size;
	if (store_body_open(store, folder, uid, "", &body) < 0)
		return false;
	bool whole = store_body_size(body, &size) && store_body_held(body, 0) >= size;
	store_body_close(body);
	return whole;
}

int store_pinned_missing(struct store *store, const char *mailbox, uint32_t folder, uint32_t first,
	uint32_t *uids, size_t max, size_t *count)
{
	struct uids *rows = calloc(1, sizeof(*rows));
	int err = store_rows_load(store, folder, first, on_row, rows);
	*count = 0;
	for (size_t i = 0; err == 0 && i < rows->count && *count < max; i++)
		if (store_is_pinned(store, mailbox, folder, rows->items[i]) &&
			!is_whole(store, folder, rows->items[i]))
			uids[(*count)++] = rows->items[i];
	free(rows);
	return err;
}
