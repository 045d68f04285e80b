/* SPDX-License-Identifier: MIT */
/*
 * The account: made, started (the one time that the caller's thread talks to the server), stopped, freed. What
 * it does while it runs is in the other files.
 */
#include "drop.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"
#include "mailfs/util/str.h"
#include "mailfs/util/thread.h"

/* How long a start may take to find out that the server is away, where there is something to show without it. */
#define START_MS    10000
#define WATCHDOG_MS (5 * 60 * 1000)
#define MOVE_MS     2000

static int locks_init(struct sync_account *account)
{
	int err = pthread_mutex_init(&account->lock, NULL);
	if (err)
		return -err;
	cond_init_monotonic(&account->reaper_wakeup);
	cond_init_monotonic(&account->bodies_changed);
	for (unsigned i = 0; i < SYNC_CONNECTIONS_MAX; i++)
		cond_init_monotonic(&account->workers[i].wakeup);
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
	ahead_init(account);
	mime_kept_init(&account->structure);
	account->link.wake_fd = -1;
	if (link_init(&account->link) < 0 || roster_init(account) < 0) {
		sync_account_destroy(account);
		return NULL;
	}
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
	account->offline_allowed = params->offline;
	account->rate.mode = params->compress;
	account->watch.move_ms = MOVE_MS;
	account->watch.renew_ms = CLOCK_NEVER;
	account->watch.watchdog_ms = params->watchdog_ms ? params->watchdog_ms : WATCHDOG_MS;
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

int account_failed(struct source_error *error, int err, const char *what)
{
	return session_fail(error, SOURCE_SCOPE_ACCOUNT, err == -ENOMEM ? err : -EIO, "%s: %s",
		what, strerror(-err));
}

static void ask_quota(struct sync_account *account, struct worker *worker)
{
	struct source_error error = {0};
	if (!worker->session)
		return;
	int err = account->source->ops->quota(worker->session, &account->quota, &error);
	if (err < 0)
		log_info("%s: no quota: %s", account->name, error.text);
	if (err < 0)
		account->quota = (struct source_quota){0};
	/* The session may have died over it, which the first job then finds out and repairs. */
}

/* A maildrop: what is here can be served before the server was looked at. */
static int start_drop(struct sync_account *account, struct source_error *error)
{
	int err = drop_serve_init(account->drop);
	if (err < 0)
		return account_failed(error, err, "the store can not be used");
	account->started = true;
	err = workers_start(account);
	if (err < 0)
		account_failed(error, err, "threads can not be started");
	else
		err = intake_start(account->drop, error);
	if (err < 0)
		sync_account_stop(account);
	return err;
}

static bool knows_folders(struct sync_account *account);

/* Connects, and asks all that is asked before the workers start, as the first of them. */
static int start_online(struct sync_account *account, bool hurry, struct source_error *error)
{
	struct worker *worker = &account->workers[0];
	struct source_session *session = NULL;
	int limit_ms = account->timeout_ms;

	if (hurry && limit_ms > START_MS)
		limit_ms = START_MS;
	*error = (struct source_error){.scope = SOURCE_SCOPE_ACCOUNT, .err = -EIO};
	int err = rate_connect(account, clock_now_ms() + limit_ms, &session, error);
	if (err < 0)
		return err;
	session_give(worker, session);
	err = roster_begin(account, worker, error);
	if (err == 0)
		ask_quota(account, worker);
	else
		session_drop(worker, error->scope < SOURCE_SCOPE_ACCOUNT);
	return err;
}

/* Whether the server could not be reached, which an account may start without. */
static bool is_away(const struct source_error *error)
{
	return error->scope == SOURCE_SCOPE_ACCOUNT &&
	       (error->cause == SOURCE_CAUSE_HOST || error->cause == SOURCE_CAUSE_CONNECT);
}

/* When the newest of what is stored was known to be the server's; 0: nobody knows. */
static int64_t stored_s(const struct sync_account *account)
{
	int64_t newest = 0;
	for (size_t i = 0; i < account->folder_count; i++)
		if (account->folders[i]->state.checked_s > newest)
			newest = account->folders[i]->state.checked_s;
	return newest;
}

static void say_offline(const struct sync_account *account, const struct source_error *error)
{
	time_t stored = (time_t)stored_s(account);
	struct tm tm;
	char when[32] = "";
	size_t len = strlen(error->text);
	/* A server's words may end in a full stop. */
	while (len > 0 && error->text[len - 1] == '.')
		len--;
	if (stored && localtime_r(&stored, &tm))
		strftime(when, sizeof(when), " on %Y-%m-%d %H:%M", &tm);
	log_warning("%.*s; showing what was stored%s", (int)len, error->text, when);
}

/* What is stored is shown instead; error is kept when that fails too. */
static int start_offline(struct sync_account *account, const struct source_error *error)
{
	struct source_error ignored;
	int err = roster_restore(account, &ignored);
	if (err < 0)
		return err;
	link_begin_offline(account, error);
	say_offline(account, error);
	return 0;
}

int sync_account_start(struct sync_account *account, struct source_error *error)
{
	if (account->drop)
		return start_drop(account, error);
	sizes_load(account);
	rate_load(account);
	bool known = account->offline_allowed && knows_folders(account);
	int err = start_online(account, known, error);
	if (err < 0 && known && is_away(error) && start_offline(account, error) == 0)
		err = 0;
	if (err < 0)
		return err;
	account->started = true;
	err = workers_start(account);
	if (err < 0) {
		sync_account_stop(account);
		return account_failed(error, err, "threads can not be started");
	}
	return 0;
}

static int on_known(void *arg, const struct source_mailbox *mailbox)
{
	(void)mailbox;
	*(bool *)arg = true;
	return -ECANCELED;
}

static bool knows_folders(struct sync_account *account)
{
	bool known = false;
	(void)store_roster_load(account->store, on_known, &known);
	return known;
}

void sync_account_set_events(struct sync_account *account, const struct sync_events *events)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	account->events = *events;
	/* Messages of a maildrop come by themselves: they are announced though nobody has asked for a listing. */
	if (account->drop && account->folder_count > 0 && !account->stopping)
		folder_start_listing(account->folders[0]);
	/* What was heard before could not be told. */
	if (account->roster.wanted)
		roster_request(account);
}

struct sync_events account_events(struct sync_account *account)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	return account->events;
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
	ahead_forget(account);
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
	roster_finish(account);
	link_finish(&account->link);
	ahead_finish(account);
	mime_kept_finish(&account->structure);
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
	/* The lock is the account's own; who only looks has no other way to it. */
	_cleanup_unlock_ pthread_mutex_t *guard = lock((pthread_mutex_t *)&account->lock);
	return account->folder_count;
}

struct sync_folder *sync_account_folder(const struct sync_account *account, size_t index)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock((pthread_mutex_t *)&account->lock);
	return account->folders[index];
}

/* --- How it is --- */

/* Jobs of a class that wait or run. Lock held. */
static unsigned count_jobs(struct sync_account *account, enum job_class class)
{
	struct list_node *pos, *tmp;
	unsigned count = 0;
	list_for_each(pos, tmp, &account->queues[class]) count++;
	for (unsigned i = 0; i < account->connections; i++)
		count += account->workers[i].job && account->workers[i].class == class;
	return count;
}

static void add_traffic(const struct sync_account *account, const struct source_session *session,
	struct sync_status *status)
{
	uint64_t in, out;
	struct source_flow flow = {0};
	if (!session)
		return;
	if (account->source->ops->flow)
		account->source->ops->flow(session, &flow);
	status->compressed += flow.deflated;
	link_traffic(account, session, &in, &out);
	status->bytes_in += in;
	status->bytes_out += out;
	status->connections++;
}

static int64_t wall_of(int64_t ms)
{
	return ms == CLOCK_NEVER ? 0 : clock_wall_s() + (ms - clock_now_ms() + 999) / 1000;
}

void sync_account_status(struct sync_account *account, struct sync_status *ret)
{
	const struct link *link = &account->link;
	struct sync_progress pinning;
	pins_progress(account, &pinning);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	*ret = (struct sync_status){.link = link->state,
		.push = account->watch.push,
		.since_s = link->since_s,
		.retry_s = link->state == SYNC_LINK_OFFLINE ? wall_of(link->retry_ms) : 0,
		.bytes_in = link->bytes_in,
		.bytes_out = link->bytes_out,
		.reconnects = link->reconnects,
		.rate_bytes_s = account->rate.meter.line_bytes_s,
		.demand = count_jobs(account, JOB_DEMAND),
		.bulk = count_jobs(account, JOB_BULK),
		.ahead = count_jobs(account, JOB_AHEAD),
		.background = count_jobs(account, JOB_BACKGROUND),
		.pinning = pinning};
	if (link->state != SYNC_LINK_ONLINE)
		memcpy(ret->trouble, link->error.text, sizeof(ret->trouble));
	for (unsigned i = 0; i < account->connections; i++)
		add_traffic(account, account->workers[i].session, ret);
	for (unsigned i = 0; i < WATCHERS_MAX; i++)
		add_traffic(account, account->watch.watchers[i].session, ret);
}

/* One that the account remembers, also from an earlier mount: it need not have been seen in this one. */
static void put_kept(struct str *quirks, enum quirk quirk, bool in_use)
{
	if (in_use && quirk_count(quirk) == 0)
		str_printf(quirks, "%s\n", quirk_row(quirk)->name);
}

void sync_account_describe(struct sync_account *account, struct str *out, struct str *quirks)
{
	pthread_mutex_lock(&account->lock);
	bool heard = account->link.description;
	if (heard)
		str_append_cstr(out, account->link.description);
	pthread_mutex_unlock(&account->lock);
	if (!heard)
		(void)store_fact_get(account->store, "server.describe", out);
	put_kept(quirks, QUIRK_RANGES_WRONG, atomic_load(&account->ranges_distrusted));
	put_kept(quirks, QUIRK_SIZES_WRONG, sync_account_sizes_distrusted(account));
	quirk_names(quirks);
}
