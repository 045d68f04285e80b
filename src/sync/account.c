/* SPDX-License-Identifier: MIT */
/*
 * The account: made, started (the one time that the caller's thread talks to the server), stopped, freed. What
 * it does while it runs is in the other files; mailboxes that appear on the server later are not seen until the
 * next mount.
 */
#include "drop.h"

#include <errno.h>
#include <limits.h>
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

/* What both kinds have. NULL: no memory. */
static struct sync_account *account_new(
	const char *name, struct store *store, unsigned connections, int timeout_ms)
{
	struct sync_account *account = calloc(1, sizeof(*account));
	if (!account)
		return NULL;
	account->store = store;
	account->connections = connections;
	account->timeout_ms = timeout_ms;
	account->name = strdup(name);
	if (!account->name || locks_init(account) < 0) {
		free(account->name);
		free(account);
		return NULL;
	}
	lists_init(account);
	return account;
}

int sync_account_create(const struct sync_params *params, struct sync_account **ret)
{
	if (params->connections < 1 || params->connections > SYNC_CONNECTIONS_MAX)
		return -EINVAL;
	struct sync_account *account = account_new(
		params->account, params->store, params->connections, params->timeout_ms);
	if (!account)
		return -ENOMEM;
	account->source = params->source;
	account->readonly = params->readonly;
	account->refresh_ms = params->refresh_ms;
	*ret = account;
	return 0;
}

int sync_account_create_drop(const struct sync_drop_params *params, struct sync_account **ret)
{
	struct sync_account *account =
		account_new(params->account, params->store, DROP_WORKERS, params->timeout_ms);
	if (!account)
		return -ENOMEM;
	account->readonly = true;
	/* Its listing is what is here: who stores keeps it current. */
	account->refresh_ms = INT_MAX;
	account->drop = calloc(1, sizeof(*account->drop));
	int err = account->drop ? 0 : -ENOMEM;
	if (err == 0) {
		account->drop->account = account;
		account->drop->params = *params;
		account->drop->params.account = account->name;
		err = intake_create(account->drop);
	}
	if (err < 0) {
		sync_account_destroy(account);
		return err;
	}
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

/* A maildrop: what is here can be served before the server was looked at. */
static int start_drop(struct sync_account *account, struct source_error *error)
{
	int err = drop_serve_init(account->drop);
	if (err < 0)
		return local_failed(error, err, "the store can not be used");
	account->started = true;
	err = workers_start(account, NULL);
	if (err < 0)
		local_failed(error, err, "threads can not be started");
	else
		err = intake_start(account->drop, error);
	if (err < 0)
		sync_account_stop(account);
	return err;
}

int sync_account_start(struct sync_account *account, struct source_error *error)
{
	if (account->drop)
		return start_drop(account, error);
	sizes_load(account);
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
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	account->events = *events;
	/* Messages of a maildrop come by themselves: they are announced though nobody has asked for a listing. */
	if (account->drop && account->folder_count > 0 && !account->stopping)
		folder_start_listing(account->folders[0]);
}

void sync_account_stop(struct sync_account *account)
{
	pthread_mutex_lock(&account->lock);
	bool first = !account->stopping;
	account->stopping = true;
	pthread_mutex_unlock(&account->lock);
	if (!first)
		return;
	if (account->drop && account->drop->intake)
		intake_stop(account->drop);
	workers_stop(account);
}

void sync_account_destroy(struct sync_account *account)
{
	if (!account)
		return;
	sync_account_stop(account);
	if (account->drop) {
		intake_destroy(account->drop);
		drop_serve_finish(account->drop);
	}
	for (size_t i = 0; i < account->folder_count; i++)
		folder_destroy(account->folders[i]);
	free(account->folders);
	locks_finish(account);
	free(account->drop);
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
