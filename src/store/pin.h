/* SPDX-License-Identifier: MIT */
/* What is pinned, as eviction asks: by id. A set is good while store->lock is held, which it is in all calls. */
#ifndef MAILFS_STORE_PIN_H
#define MAILFS_STORE_PIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct store;

/* This mount's (store_set_policy). */
struct pin_policy {
	bool all;
	int64_t newer_than_s; /* INT64_MAX: none */
	char **mailboxes;
	size_t mailbox_count;
};

struct pin_set {
	struct store *store;
	bool all;
	bool messages; /* there are single ones */
	int64_t newer_than_s;
	uint32_t *folders; /* ascending */
	size_t count, cap;
};

void pin_policy_finish(struct pin_policy *policy);
int pin_set_load(struct store *store, struct pin_set *ret);
void pin_set_finish(struct pin_set *set);
#define _cleanup_pin_set_ _cleanup_(pin_set_finish)
/* Whether nothing is pinned. */
bool pin_set_empty(const struct pin_set *set);
/* Whether a message is; what can not be found out is. */
bool pin_set_has(const struct pin_set *set, uint64_t id);
/* Whether a mailbox is pinned by itself, or by the policy. */
bool pin_mailbox_has(struct store *store, const char *mailbox);

#endif
