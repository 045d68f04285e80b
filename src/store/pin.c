/* SPDX-License-Identifier: MIT */
/*
 * Pins: of mailboxes by name, because a mailbox keeps its name when its folder number changes; of messages by id. Which folder a
 * name means is looked up when it is asked, and so is the one whose bodies may still be carried over from.
 */
#include "pin.h"

#include <errno.h>
#include <string.h>

#include "private.h"

void pin_policy_finish(struct pin_policy *policy)
{
	for (size_t i = 0; i < policy->mailbox_count; i++)
		free(policy->mailboxes[i]);
	free(policy->mailboxes);
	*policy = (struct pin_policy){.newer_than_s = INT64_MAX};
}

static int copy_mailboxes(const char *const *mailboxes, struct pin_policy *policy)
{
	size_t cap = 0;
	for (; mailboxes && *mailboxes; mailboxes++) {
		if (array_grow(&policy->mailboxes, &cap, policy->mailbox_count + 1,
			    sizeof(*policy->mailboxes)) < 0)
			return -ENOMEM;
		char *copy = strdup(*mailboxes);
		if (!copy)
			return -ENOMEM;
		policy->mailboxes[policy->mailbox_count++] = copy;
	}
	return 0;
}

int store_set_policy(struct store *store, const struct store_policy *policy)
{
	if (store->kind != STORE_CACHE)
		return -EINVAL;
	struct pin_policy copy = {.all = policy->all, .newer_than_s = policy->newer_than_s};
	int rc = copy_mailboxes(policy->mailboxes, &copy);
	if (rc < 0) {
		pin_policy_finish(&copy);
		return rc;
	}
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	pin_policy_finish(&store->policy);
	store->policy = copy;
	usage_place_reset(&store->usage.evicted);
	return 0;
}

/* ---- recording: store->lock is held ---- */

/* What is unpinned may go, wherever the search for what may is. */
static int put_pin(struct store *store, sqlite3_stmt *statement, bool pin)
{
	int rc = db_run(&store->db, statement);
	if (rc == 0 && !pin)
		usage_place_reset(&store->usage.evicted);
	return rc;
}

int store_pin_mailbox(struct store *store, const char *mailbox, bool pin)
{
	if (store->kind != STORE_CACHE)
		return -EINVAL;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	_cleanup_statement_ sqlite3_stmt *statement =
		db_statement(&store->db, pin ? DB_PIN_MAILBOX_ADD : DB_PIN_MAILBOX_REMOVE);
	db_bind_blob(&store->db, statement, 1, mailbox, strlen(mailbox));
	return put_pin(store, statement, pin);
}

int store_pin_message(struct store *store, uint32_t folder, uint32_t uid, bool pin)
{
	if (store->kind != STORE_CACHE)
		return -EINVAL;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	_cleanup_statement_ sqlite3_stmt *statement =
		db_statement(&store->db, pin ? DB_PIN_ADD : DB_PIN_REMOVE);
	bind_id(statement, 1, store_id(folder, uid));
	return put_pin(store, statement, pin);
}

/* ---- the set ---- */

static int add_folder(struct pin_set *set, uint32_t folder)
{
	if (folder == 0)
		return 0;
	if (array_grow(&set->folders, &set->cap, set->count + 1, sizeof(*set->folders)) < 0)
		return -ENOMEM;
	set->folders[set->count++] = folder;
	return 0;
}

/* Adds the folders of all rows (folder, former) of a statement. */
static int add_folders(struct pin_set *set, sqlite3_stmt *statement)
{
	int rc;
	while ((rc = db_step(&set->store->db, statement)) > 0) {
		rc = add_folder(set, (uint32_t)sqlite3_column_int64(statement, 0));
		if (rc == 0)
			rc = add_folder(set, (uint32_t)sqlite3_column_int64(statement, 1));
		if (rc < 0)
			break;
	}
	return rc;
}

static int add_recorded(struct pin_set *set)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&set->store->db, DB_PIN_FOLDERS);
	return add_folders(set, statement);
}

static int add_policy(struct pin_set *set, const char *mailbox)
{
	struct db *db = &set->store->db;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_MAILBOX_FOLDERS);
	db_bind_blob(db, statement, 1, mailbox, strlen(mailbox));
	return add_folders(set, statement);
}

static int look_for_messages(struct pin_set *set)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&set->store->db, DB_PIN_ANY);
	int rc = db_step(&set->store->db, statement);
	set->messages = rc > 0;
	return rc < 0 ? rc : 0;
}

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

int pin_set_load(struct store *store, struct pin_set *ret)
{
	const struct pin_policy *policy = &store->policy;
	*ret = (struct pin_set){
		.store = store, .all = policy->all, .newer_than_s = policy->newer_than_s};
	int rc = look_for_messages(ret);
	if (rc == 0)
		rc = add_recorded(ret);
	for (size_t i = 0; rc == 0 && i < policy->mailbox_count; i++)
		rc = add_policy(ret, policy->mailboxes[i]);
	if (ret->count)
		qsort(ret->folders, ret->count, sizeof(*ret->folders), compare);
	return rc;
}

void pin_set_finish(struct pin_set *set)
{
	free(set->folders);
	*set = (struct pin_set){0};
}

bool pin_set_empty(const struct pin_set *set)
{
	return !set->all && !set->messages && set->count == 0 && set->newer_than_s == INT64_MAX;
}

static bool is_message_pinned(struct store *store, uint64_t id)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_PIN_GET);
	bind_id(statement, 1, id);
	return db_step(&store->db, statement) != 0;
}

static bool is_newer(struct store *store, uint64_t id, int64_t than_s)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_MESSAGE_DATE);
	bind_id(statement, 1, id);
	int rc = db_step(&store->db, statement);
	if (rc <= 0)
		return rc < 0;
	return sqlite3_column_type(statement, 0) != SQLITE_NULL &&
	       sqlite3_column_int64(statement, 0) >= than_s;
}

bool pin_set_has(const struct pin_set *set, uint64_t id)
{
	uint32_t folder = (uint32_t)(id >> 32);
	if (set->all ||
		(set->count && bsearch(&folder, set->folders, set->count, sizeof(folder), compare)))
		return true;
	if (set->messages && is_message_pinned(set->store, id))
		return true;
	return set->newer_than_s != INT64_MAX && is_newer(set->store, id, set->newer_than_s);
}

/* ---- one mailbox, or message ---- */

bool pin_mailbox_has(struct store *store, const char *mailbox)
{
	const struct pin_policy *policy = &store->policy;
	if (policy->all)
		return true;
	for (size_t i = 0; i < policy->mailbox_count; i++)
		if (strcmp(policy->mailboxes[i], mailbox) == 0)
			return true;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_PIN_MAILBOX_GET);
	db_bind_blob(&store->db, statement, 1, mailbox, strlen(mailbox));
	return db_step(&store->db, statement) > 0;
}

bool store_pins_any(struct store *store, const char *mailbox, uint32_t folder)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	if (store->kind != STORE_CACHE)
		return false;
	if (store->policy.newer_than_s != INT64_MAX || pin_mailbox_has(store, mailbox))
		return true;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_PIN_WITHIN);
	bind_id(statement, 1, store_id(folder, 0));
	bind_id(statement, 2, store_id(folder, UINT32_MAX));
	return db_step(&store->db, statement) > 0;
}

bool store_is_pinned(struct store *store, const char *mailbox, uint32_t folder, uint32_t uid)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	if (store->kind != STORE_CACHE)
		return false;
	if (pin_mailbox_has(store, mailbox))
		return true;
	uint64_t id = store_id(folder, uid);
	if (uid == 0)
		return false;
	int64_t than_s = store->policy.newer_than_s;
	return is_message_pinned(store, id) || (than_s != INT64_MAX && is_newer(store, id, than_s));
}
