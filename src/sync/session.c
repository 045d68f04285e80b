/* SPDX-License-Identifier: MIT */
/*
 * A worker's session: connected when it is first needed, selected where the job is, dropped when it is dead,
 * and the retry that makes a dropped connection invisible. Invariant: what is called sees the mailbox under the
 * UIDVALIDITY that the caller knows, or is not called at all.
 *
 * Whether there can be a connection at all is link.c's affair. Where the server refuses this worker one while
 * another has one, that one does the work.
 */
#include "private.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

/* How long a worker that was refused a further connection leaves the work to the others. */
#define RESTING_MS 30000
/* How long watchers may take to give up their connection; who waits for that is woken. */
#define YIELDING_MS 3000
/* A call that brought so much before its connection was lost has earned another attempt. */
#define PROGRESS_MIN 10000
/* A session unused for so long may be dead without a sign: it is tried with a part of the time first. */
#define IDLE_MS (5 * 60 * 1000)

int session_fail(
	struct source_error *error, enum source_scope scope, int err, const char *format, ...)
{
	*error = (struct source_error){.scope = scope,
		.retry = SOURCE_RETRY_LATER,
		.cause = SOURCE_CAUSE_OTHER,
		.err = err};
	va_list args;
	va_start(args, format);
	vsnprintf(error->text, sizeof(error->text), format, args);
	va_end(args);
	return err;
}

/* The errno that a file operation gives for a call that returned err. */
static int session_errno(int err, const struct source_error *error)
{
	if (error->scope < SOURCE_SCOPE_ACCOUNT)
		return err;
	if (error->cause == SOURCE_CAUSE_LOGIN)
		return -EACCES;
	return err == -ETIMEDOUT || error->err == -ETIMEDOUT ? -ETIMEDOUT : -EIO;
}

void session_drop(struct worker *worker, bool polite)
{
	struct sync_account *account = worker->account;
	pthread_mutex_lock(&account->lock);
	struct source_session *session = steal_ptr(worker->session);
	worker->selected = NULL;
	pthread_mutex_unlock(&account->lock);
	if (session)
		link_disconnect(account, session, polite);
}

/* Gives a new session to the worker; false: the account stops. */
static bool session_adopt(struct worker *worker, struct source_session *session)
{
	struct sync_account *account = worker->account;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	worker->session = session;
	worker->selected = NULL;
	worker->resting_until_ms = 0;
	worker->suspect = worker->watched = worker->cut = false;
	worker->used_ms = clock_now_ms();
	return !account->stopping;
}

void session_give(struct worker *worker, struct source_session *session)
{
	link_began(worker->account, session);
	session_adopt(worker, session);
}

/* Whether another worker has a connection. Lock held. */
static bool others_connected(const struct sync_account *account)
{
	for (unsigned i = 0; i < account->connections; i++)
		if (account->workers[i].session)
			return true;
	return false;
}

/* The server has refused this worker a connection: final, or others have one, or will have. */
static int connect_failed(struct worker *worker, struct source_error *error)
{
	struct sync_account *account = worker->account;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	if (account->stopping || account->link.state == SYNC_LINK_OFFLINE)
		return error->err;
	/* The last other connection has ended since: the next attempt says how things are. */
	if (account->link.sessions == 0)
		return -EAGAIN;
	if (others_connected(account)) {
		worker->resting_until_ms = clock_now_ms() + RESTING_MS;
		return -EAGAIN;
	}
	watch_yield(account);
	/* Nobody asks before they have. */
	for (unsigned i = 0; i < account->connections; i++)
		account->workers[i].resting_until_ms = clock_now_ms() + YIELDING_MS;
	return -EAGAIN;
}

int session_connect(struct worker *worker, struct source_error *error)
{
	struct sync_account *account = worker->account;
	struct source_session *session = NULL;

	if (account_stopping(account))
		return session_fail(error, SOURCE_SCOPE_CANCELLED, -EIO, "the mount ends");
	if (worker->session)
		return 0;
	if (link_connect(account, &session, error) < 0)
		return connect_failed(worker, error);
	if (session_adopt(worker, session))
		return 0;
	return session_fail(error, SOURCE_SCOPE_CANCELLED, -EIO, "the mount ends");
}

static void session_selected(
	struct worker *worker, struct sync_folder *folder, uint32_t uidvalidity)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&worker->account->lock);
	worker->selected = folder;
	worker->uidvalidity = uidvalidity;
}

static int select_now(struct worker *worker, struct sync_folder *folder,
	struct session_resync *resync, struct source_state *ret, struct source_error *error)
{
	struct sync_account *account = worker->account;
	const struct source_ops *ops = account->source->ops;
	bool idle = clock_now_ms() - worker->used_ms > IDLE_MS;

	session_selected(worker, NULL, 0);
	if (idle)
		ops->set_timeout(worker->session, account->timeout_ms / 3 + 1);
	*error = (struct source_error){.err = -EIO};
	const struct source_resync *since = resync ? resync->begin(resync, worker) : NULL;
	int err = ops->select(worker->session, folder->name, account->readonly, since, ret, error);
	if (err < 0)
		return err;
	if (idle)
		ops->set_timeout(worker->session, account->timeout_ms);
	worker->used_ms = clock_now_ms();
	session_selected(worker, folder, ret->uidvalidity);
	return 0;
}

/* What is to be done with a session: a SELECT alone, a call in a folder, or one of the account (folder NULL). */
struct attempt {
	struct sync_folder *folder;
	struct source_state *ret_state; /* of select; NULL: call */
	struct session_resync *resync;  /* likewise; NULL: nothing is known */
	uint32_t uidvalidity;
	session_fn *fn;
	void *arg;
	const uint64_t *progress; /* how much has come; NULL: it is not counted */
};

/* Sees to it that the folder is selected under the UIDVALIDITY that the job knows. *fresh: just now. */
static int enter_folder(struct worker *worker, const struct attempt *attempt, bool *fresh,
	struct source_error *error)
{
	struct source_state state;
	bool idle = clock_now_ms() - worker->used_ms > IDLE_MS;
	if (!*fresh && !idle && worker->selected == attempt->folder &&
		worker->uidvalidity == attempt->uidvalidity)
		return 0;
	int err = select_now(worker, attempt->folder, NULL, &state, error);
	if (err < 0)
		return err;
	*fresh = true;
	if (state.uidvalidity == attempt->uidvalidity)
		return 0;
	folder_mark_stale(attempt->folder);
	return session_fail(error, SOURCE_SCOPE_MAILBOX, -EIO,
		"%s: the server renumbered the messages (UIDVALIDITY %u, was %u)",
		attempt->folder->name, state.uidvalidity, attempt->uidvalidity);
}

/* Whether the session has no mailbox open any more: what was open has another identity, by the server's word. */
static bool is_closed(const struct source_error *error)
{
	return error->scope == SOURCE_SCOPE_MAILBOX && error->cause == SOURCE_CAUSE_MAILBOX &&
	       error->retry == SOURCE_RETRY_NOW;
}

static int attempt_call(
	struct worker *worker, const struct attempt *attempt, struct source_error *error)
{
	for (bool fresh = !attempt->folder;;) {
		int err = attempt->folder ? enter_folder(worker, attempt, &fresh, error) : 0;
		if (err < 0)
			return err;
		*error = (struct source_error){.err = -EIO};
		err = attempt->fn(worker, attempt->arg, error);
		if (error->scope < SOURCE_SCOPE_ACCOUNT)
			worker->used_ms = clock_now_ms();
		/* The next call selects, and sees whether that is so. */
		if (err < 0 && is_closed(error))
			session_selected(worker, NULL, 0);
		if (err != -ENOENT || error->scope != SOURCE_SCOPE_MESSAGE || fresh)
			return err;
		fresh = true;
	}
}

static int attempt_once(
	struct worker *worker, const struct attempt *attempt, struct source_error *error)
{
	if (attempt->ret_state)
		return select_now(
			worker, attempt->folder, attempt->resync, attempt->ret_state, error);
	return attempt_call(worker, attempt, error);
}

static int attempt_measured(
	struct worker *worker, const struct attempt *attempt, struct source_error *error)
{
	rate_call_begin(worker);
	int err = attempt_once(worker, attempt, error);
	rate_call_end(worker);
	return err;
}

/* The connection was lost in the middle. Whether it was cut on purpose, because nothing came. */
static bool was_cut(struct worker *worker)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&worker->account->lock);
	return worker->cut && !worker->account->stopping;
}

static bool is_gone(struct sync_folder *folder)
{
	if (!folder)
		return false;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	return folder->gone;
}

static int attempt_run(
	struct worker *worker, const struct attempt *attempt, struct source_error *error)
{
	if (is_gone(attempt->folder))
		return session_fail(error, SOURCE_SCOPE_MAILBOX, -ENOENT,
			"%s: the server has this folder no more", attempt->folder->name);
	for (int lost = 0;; lost++) {
		if (rate_renews(worker))
			session_drop(worker, true);
		int err = session_connect(worker, error);
		if (err < 0)
			return err;
		uint64_t before = attempt->progress ? *attempt->progress : 0;
		err = rate_tune(worker, error);
		if (err == 0)
			err = attempt_measured(worker, attempt, error);
		if (err == 0 || error->scope < SOURCE_SCOPE_ACCOUNT)
			return err;
		bool cut = was_cut(worker);
		rate_lost(worker, error);
		session_drop(worker, false);
		if (error->scope == SOURCE_SCOPE_CANCELLED && !cut)
			return -EIO;
		if (attempt->progress && *attempt->progress - before >= PROGRESS_MIN)
			lost = 0;
		/* A second time-out would come after those who wait have given up. */
		bool again = !lost && error->err != -ETIMEDOUT;
		link_lost(worker->account, error, again);
		if (!again) {
			/* At the start it is told by who starts. */
			if (worker->account->started)
				log_warning("%s: %s", worker->account->name, error->text);
			return session_errno(err, error);
		}
		log_debug("%s: %s; connecting again", worker->account->name, error->text);
	}
}

int session_select(struct worker *worker, struct sync_folder *folder, struct session_resync *resync,
	struct source_state *ret, struct source_error *error)
{
	struct attempt attempt = {.folder = folder, .ret_state = ret, .resync = resync};
	return attempt_run(worker, &attempt, error);
}

int session_call(struct worker *worker, struct sync_folder *folder, uint32_t uidvalidity,
	session_fn *fn, void *arg, struct source_error *error)
{
	struct attempt attempt = {
		.folder = folder, .uidvalidity = uidvalidity, .fn = fn, .arg = arg};
	return attempt_run(worker, &attempt, error);
}

int session_call_long(struct worker *worker, struct sync_folder *folder, uint32_t uidvalidity,
	session_fn *fn, void *arg, const uint64_t *progress, struct source_error *error)
{
	struct attempt attempt = {.folder = folder,
		.uidvalidity = uidvalidity,
		.fn = fn,
		.arg = arg,
		.progress = progress};
	return attempt_run(worker, &attempt, error);
}

int session_ask(struct worker *worker, session_fn *fn, void *arg, struct source_error *error)
{
	struct attempt attempt = {.fn = fn, .arg = arg};
	return attempt_run(worker, &attempt, error);
}
