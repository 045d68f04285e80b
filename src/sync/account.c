/* SPDX-License-Identifier: MIT */
/*
 * The account: made, started (the one time that the caller's thread talks to the server), stopped, freed. What
 * it does while it runs is in the other files; mailboxes that appear on the server later are not seen until the
 * next mount.
 */
#include "private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "mailfs/util/str.h"

/* More mailboxes than any account has; a server that lists more is not believed. */
#define FOLDERS_MAX 100000

static int locks_init(struct sync_account *account)
{
	pthread_condattr_t monotonic;
	int err = pthread_mutex_init(&account->lock, NULL);
	if (err)
		return -err;
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&account->reaper_wakeup, &monotonic);
	pthread_cond_init(&account->bodies_changed, &monotonic);
	for (unsigned i = 0; i < SYNC_CONNECTIONS_MAX; i++)
		pthread_cond_init(&account->workers[i].wakeup, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return 0;
}

static void locks_finish(struct sync_account *account)
{
	for (unsigned i = 0; i < SYNC_CONNECTIONS_MAX; i++)
		pthread_cond_destroy(&account->workers[i].wakeup);
	pthread_cond_destroy(&account->bodies_changed);
	pthread_cond_destroy(&account->reaper_wakeup);
	pthread_mutex_destroy(&account->lock);
}

static void lists_init(struct sync_account *account)
{
	list_init(&account->waiters);
	for (int class = 0; class < JOB_CLASSES; class ++)
		list_init(&account->queues[class]);
	for (size_t i = 0; i < SYNC_BODY_BUCKETS; i++)
		list_init(&account->bodies[i]);
	for (unsigned i = 0; i < SYNC_CONNECTIONS_MAX; i++) {
		account->workers[i].account = account;
		list_init(&account->workers[i].done);
	}
}

int sync_account_create(const struct sync_params *params, struct sync_account **ret)
{
	if (params->connections < 1 || params->connections > SYNC_CONNECTIONS_MAX)
		return -EINVAL;
	struct sync_account *account = calloc(1, sizeof(*account));
	if (!account)
		return -ENOMEM;
	account->source = params->source;
	account->store = params->store;
	account->readonly = params->readonly;
	account->connections = params->connections;
	account->timeout_ms = params->timeout_ms;
	account->refresh_ms = params->refresh_ms;
	account->name = strdup(params->account);
	int err = account->name ? locks_init(account) : -ENOMEM;
	if (err < 0) {
		free(account->name);
		free(account);
		return err;
	}
	lists_init(account);
	*ret = account;
	return 0;
}

static int on_mailbox(void *arg, const struct source_mailbox *mailbox)
{
	struct sync_account *account = arg;
	if (account->folder_count >= FOLDERS_MAX)
		return -E2BIG;
	int err = array_grow(&account->folders, &account->folder_cap, account->folder_count + 1,
		sizeof(*account->folders));
	if (err == 0)
		err = folder_create(account, mailbox, &account->folders[account->folder_count]);
	if (err == 0)
		account->folder_count++;
	return err;
}

/* A failure that is not the server's: the store's, or memory. */
static int local_failed(struct source_error *error, int err, const char *what)
{
	return session_fail(error, SOURCE_SCOPE_ACCOUNT, err == -ENOMEM ? err : -EIO, "%s: %s",
		what, strerror(-err));
}

static int load_folders(struct sync_account *account, struct source_error *error)
{
	for (size_t i = 0; i < account->folder_count; i++) {
		struct sync_folder *folder = account->folders[i];
		int err = store_number(account->store, account->name, STORE_NUMBER_DIRECTORY,
			folder->name, 0, &folder->directory_number);
		/* Those that hold no messages too: a directory has a time. */
		if (err == 0)
			err = store_mailbox_get(account->store, folder->name, &folder->state);
		if (err < 0)
			return local_failed(error, err, "the store can not be used");
	}
	return 0;
}

/* All that is asked before the workers start. */
static int account_survey(
	struct sync_account *account, struct source_session *session, struct source_error *error)
{
	const struct source_ops *ops = account->source->ops;
	struct source_error quota_error = {0};

	*error = (struct source_error){.err = -EIO};
	int err = ops->list(session, on_mailbox, account, error);
	if (err == -E2BIG)
		return session_fail(error, SOURCE_SCOPE_ACCOUNT, -EIO,
			"the server lists over %d mailboxes", FOLDERS_MAX);
	if (err == -ENOMEM)
		return local_failed(error, err, "the list of mailboxes");
	if (err < 0)
		return err;
	err = load_folders(account, error);
	if (err < 0)
		return err;
	err = ops->quota(session, &account->quota, &quota_error);
	if (err < 0)
		log_info("%s: no quota: %s", account->name, quota_error.text);
	if (err < 0)
		account->quota = (struct source_quota){0};
	/* The session may have died over it, which the first job then finds out and repairs. */
	return 0;
}

int sync_account_start(struct sync_account *account, struct source_error *error)
{
	const struct source_ops *ops = account->source->ops;
	struct source_session *session = NULL;

	*error = (struct source_error){.scope = SOURCE_SCOPE_ACCOUNT, .err = -EIO};
	int err = ops->connect(
		account->source, clock_now_ms() + account->timeout_ms, &session, error);
	if (err < 0)
		return err;
	ops->set_timeout(session, account->timeout_ms);
	err = account_survey(account, session, error);
	if (err < 0) {
		ops->disconnect(session, error->scope < SOURCE_SCOPE_ACCOUNT);
		return err;
	}
	account->started = true;
	err = workers_start(account, session);
	if (err < 0) {
		sync_account_stop(account);
		return local_failed(error, err, "threads can not be started");
	}
	return 0;
}

void sync_account_set_events(struct sync_account *account, const struct sync_events *events)
{
	account->events = *events;
}

void sync_account_stop(struct sync_account *account)
{
	pthread_mutex_lock(&account->lock);
	bool first = !account->stopping;
	account->stopping = true;
	pthread_mutex_unlock(&account->lock);
	if (first)
		workers_stop(account);
}

void sync_account_destroy(struct sync_account *account)
{
	if (!account)
		return;
	sync_account_stop(account);
	for (size_t i = 0; i < account->folder_count; i++)
		folder_destroy(account->folders[i]);
	free(account->folders);
	locks_finish(account);
	free(account->name);
	free(account);
}

bool account_stopping(struct sync_account *account)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	return account->stopping;
}

void sync_account_quota(struct sync_account *account, struct source_quota *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	*ret = account->quota;
}

size_t sync_account_folder_count(const struct sync_account *account)
{
	return account->folder_count;
}

struct sync_folder *sync_account_folder(const struct sync_account *account, size_t index)
{
	return account->folders[index];
}
