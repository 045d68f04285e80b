/* SPDX-License-Identifier: MIT */
/*
 * One look at a maildrop: connect, list, decide, fetch, make durable, delete, QUIT. When the connection breaks, what was stored
 * stays and another one goes on from there, with numbers and listing anew: at once as long as each brings something, else
 * after a pause, a few times, which is for a server that is busy, or takes the last session for open. One that is silent gets no second
 * timeout while somebody waits for the mount. A failure of the store ends the look: nothing that it could not take is fetched
 * again, and nothing is deleted.
 */
#include "intake.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/hash.h"
#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"

#define DAY_S INT64_C(86400)
/* A server that wants more time than this between two logins is not asked again in the same look. */
#define LOGIN_DELAY_MAX_S 20

static const int pauses_ms[] = {500, 1000, 2000};
#define PAUSES (sizeof(pauses_ms) / sizeof(*pauses_ms))

int look_store_failed(struct look *look, int err, struct source_error *error)
{
	if (look->store_err == 0)
		look->store_err = err;
	if (error)
		session_fail(error, SOURCE_SCOPE_ACCOUNT, err == -ENOMEM ? err : -EIO,
			"messages can not be stored: %s", strerror(-err));
	return err;
}

static int look_cancelled(struct source_error *error)
{
	return session_fail(error, SOURCE_SCOPE_CANCELLED, -ECANCELED, "stopped");
}

int64_t look_due_s(const struct look *look)
{
	const struct sync_drop_params *params = &look->drop->params;
	if (params->after != SYNC_AFTER_DELETE || look->listing.doubtful)
		return INT64_MIN;
	/* At once: whatever the clock says. */
	return params->after_days ? clock_wall_s() - params->after_days * DAY_S : INT64_MAX;
}

/* By what a message is known again on the next connection, well enough for the order of fetching. */
static uint64_t stuck_key(const struct look *look, size_t index)
{
	const struct maildrop_entry *listed = &look->listing.entries[index];
	if (listed->uidl_len)
		return hash64(
			HASH64_INIT, look->listing.uidls.data + listed->uidl, listed->uidl_len);
	return hash64(HASH64_INIT, &listed->size_bytes, sizeof(listed->size_bytes));
}

static bool is_stuck(const struct look *look, size_t index)
{
	const struct intake *intake = look->drop->intake;
	uint64_t key = intake->stuck_count ? stuck_key(look, index) : 0;
	for (size_t i = 0; i < intake->stuck_count; i++)
		if (intake->stuck[i] == key)
			return true;
	return false;
}

void look_stuck(struct look *look, size_t index)
{
	struct intake *intake = look->drop->intake;
	if (intake->stuck_count < STUCK_MAX && !is_stuck(look, index))
		intake->stuck[intake->stuck_count++] = stuck_key(look, index);
}

/* --- What one connection knows --- */

static void connection_finish(struct look *look)
{
	intake_use_session(look->drop->intake, NULL);
	if (look->session)
		look->drop->params.maildrop->ops->disconnect(steal_ptr(look->session));
	plan_finish(&look->plan);
	maildrop_listing_finish(&look->listing);
	free(steal_ptr(look->wanted));
	free(steal_ptr(look->asked));
	free(steal_ptr(look->again));
	look->wanted_count = 0;
	look->asked_count = 0;
	look->ended_count = 0;
	look->again_count = look->again_taken = 0;
}

static int look_connect(struct look *look, struct source_error *error)
{
	const struct sync_drop_params *params = &look->drop->params;
	const struct maildrop_ops *ops = params->maildrop->ops;
	int err = ops->connect(
		params->maildrop, clock_now_ms() + params->timeout_ms, &look->session, error);
	if (err < 0)
		return err;
	ops->set_timeout(look->session, params->timeout_ms);
	return intake_use_session(look->drop->intake, look->session) ? 0 : look_cancelled(error);
}

static int look_nameless(struct source_error *error)
{
	int err = session_fail(error, SOURCE_SCOPE_ACCOUNT, -EIO,
		"the server gives its messages no unique-ids (UIDL), so nobody can say which are new; "
		"with the option uidl=hash they are known by their content");
	error->cause = SOURCE_CAUSE_PROTOCOL;
	error->retry = SOURCE_RETRY_NEVER;
	return err;
}

/* Messages of which the server speaks, and which it does not list. */
static uint64_t unlisted(const struct maildrop_listing *listing)
{
	return listing->messages > listing->count ? listing->messages - listing->count : 0;
}

/* One may go between two answers: it is asked once more, and the fuller answer counts. */
static int list_again(struct look *look, struct source_error *error)
{
	struct maildrop_listing again = {0};
	int err = look->drop->params.maildrop->ops->list(look->session, &again, error);
	if (err == 0 && unlisted(&again) < unlisted(&look->listing)) {
		maildrop_listing_finish(&look->listing);
		look->listing = again;
		return 0;
	}
	if (err == 0)
		maildrop_listing_finish(&again);
	return err;
}

/* An empty directory would say that there is no mail. */
static int look_unlisted(const struct look *look, struct source_error *error)
{
	uint64_t messages = look->listing.messages;
	int err = session_fail(error, SOURCE_SCOPE_ACCOUNT, -EIO,
		"the server's answers contradict each other: it says that it has %llu message%s, and lists none",
		(unsigned long long)messages, messages == 1 ? "" : "s");
	error->cause = SOURCE_CAUSE_PROTOCOL;
	/* It was asked twice; the next look asks again. */
	error->retry = SOURCE_RETRY_NEVER;
	return err;
}

static int look_list(struct look *look, struct source_error *error)
{
	const struct sync_drop_params *params = &look->drop->params;
	const struct maildrop_ops *ops = params->maildrop->ops;
	int err = ops->list(look->session, &look->listing, error);
	if (err == 0 && unlisted(&look->listing))
		err = list_again(look, error);
	if (err < 0)
		return err;
	ops->abilities(look->session, &look->abilities);
	look->report.login_delay_s = look->abilities.login_delay_s;
	if (look->listing.count == 0 && look->listing.messages > 0)
		return look_unlisted(look, error);
	if (!look->abilities.uidl && !params->uidl_hash && look->listing.count > 0)
		return look_nameless(error);
	return 0;
}

/* The messages whose number is known, in its order. */
static int look_expect(struct look *look)
{
	size_t count = look->plan.fetches;
	_cleanup_free_ uint32_t *uids = calloc(count + 1, sizeof(*uids));
	look->wanted = calloc(count + 1, sizeof(*look->wanted));
	if (!uids || !look->wanted)
		return -ENOMEM;
	for (size_t i = 0; i < look->listing.count; i++)
		if (look->plan.entries[i].state == PLAN_FETCH)
			look->wanted[look->wanted_count++] =
				(struct wanted){look->plan.entries[i].uid, (uint32_t)i};
	qsort(look->wanted, count, sizeof(*look->wanted), wanted_compare);
	for (size_t i = 0; i < count; i++)
		uids[i] = look->wanted[i].uid;
	return drop_expect(look->drop, uids, count);
}

/* Messages over which earlier connections broke come last. */
static void defer_stuck(struct look *look)
{
	for (size_t i = 0; i < look->listing.count; i++)
		if (is_stuck(look, i))
			look->plan.entries[i].turn = TURN_STUCK;
}

static int look_plan(struct look *look, struct source_error *error)
{
	plan_init(&look->plan);
	int err = store_spool_load(
		look->account->store, look->drop->serve.number, plan_add_record, &look->plan);
	if (err == 0)
		err = plan_make(&look->plan, &look->listing);
	if (err == 0)
		err = look_expect(look);
	if (err < 0)
		return look_store_failed(look, err, error);
	defer_stuck(look);
	look->report.listed = true;
	look->report.total = look->listing.count;
	look->report.unlisted = unlisted(&look->listing);
	look->report.refused = 0;
	if (look->first)
		intake_listed(look->drop->intake);
	return 0;
}

/*
 * A server that has confirmed to have deleted these lists them again. Only where the whole content says so: a header does not
 * make a unique-id trustworthy by which the message will be deleted.
 */
static int look_undelete(struct look *look, struct source_error *error)
{
	const struct plan *plan = &look->plan;
	_cleanup_free_ uint32_t *uids = calloc(look->listing.count + 1, sizeof(*uids));
	size_t count = 0;
	for (size_t i = 0; uids && i < look->listing.count; i++) {
		const struct plan_entry *entry = &plan->entries[i];
		if (entry->state == PLAN_HERE_BY_CONTENT && plan->records[entry->record].deleted)
			uids[count++] = entry->uid;
	}
	int err = uids ? 0 : -ENOMEM;
	if (count)
		quirk_seen(QUIRK_POP3_UNDELETED);
	if (count)
		err = store_spool_deleted(
			look->account->store, look->drop->serve.number, uids, count, 0);
	return err < 0 ? look_store_failed(look, err, error) : 0;
}

static void count_missing(struct look *look)
{
	if (!look->plan.entries)
		return;
	look->report.missing = look->report.unlisted;
	for (size_t i = 0; i < look->listing.count; i++)
		look->report.missing += !plan_entry_here(&look->plan.entries[i]);
}

/* All that is done on one connection. */
static int look_once(struct look *look, struct source_error *error)
{
	*error = (struct source_error){.scope = SOURCE_SCOPE_ACCOUNT, .err = -EIO};
	int err = look_connect(look, error);
	if (err == 0)
		err = look_list(look, error);
	if (err == 0)
		err = look_plan(look, error);
	if (err == 0)
		err = take_headers(look, error);
	if (look->store_err < 0)
		err = look_store_failed(look, look->store_err, error);
	if (err == 0)
		err = take_messages(look, error);
	if (err == 0)
		err = look_undelete(look, error);
	count_missing(look);
	if (err == 0)
		sweep(look);
	return err;
}

/* --- Connection after connection --- */

/* Whether another connection may do better. connected: this was not the first attempt to get one. */
static bool look_again(const struct look *look, const struct source_error *error, bool connected)
{
	return connected && look->store_err == 0 && error->scope != SOURCE_SCOPE_CANCELLED &&
	       error->retry != SOURCE_RETRY_NEVER && error->cause != SOURCE_CAUSE_TLS &&
	       look->abilities.login_delay_s <= LOGIN_DELAY_MAX_S;
}

/*
 * Whether the mount has waited for a silent server long enough: somebody waits for it, and either there is something to show, or nothing
 * came on this connection.
 */
static bool look_is_waste(const struct look *look, const struct source_error *error, bool progress)
{
	const struct intake *intake = look->drop->intake;
	bool mounted = look->drop->params.background && look->report.listed;
	return error->err == -ETIMEDOUT && look->first && !mounted &&
	       (intake->had_before || !progress);
}

/* How long to wait; *futile counts connections that brought nothing. -1: it is enough. */
static int64_t look_wait_ms(const struct look *look, bool progress, size_t *futile)
{
	int64_t delay_ms = look->abilities.login_delay_s * INT64_C(1000);
	if (progress) {
		*futile = 0;
		return delay_ms;
	}
	if (*futile == PAUSES)
		return -1;
	int64_t pause_ms = pauses_ms[(*futile)++];
	return pause_ms > delay_ms ? pause_ms : delay_ms;
}

static int look_all(struct look *look, struct source_error *error)
{
	size_t futile = 0;
	bool connected = false;
	for (;;) {
		uint64_t stored = look->report.stored;
		int err = look_once(look, error);
		connected = connected || look->session;
		connection_finish(look);
		if (err == 0 || !look_again(look, error, connected))
			return err;
		bool progress = look->report.stored > stored;
		if (look_is_waste(look, error, progress))
			return err;
		int64_t wait_ms = look_wait_ms(look, progress, &futile);
		if (wait_ms < 0)
			return err;
		log_debug("%s: %s; once more", look->account->name, error->text);
		if (intake_pause(look->drop->intake, wait_ms))
			return look_cancelled(error);
	}
}

/* What the next mount is to know of it. */
static void put_state(struct look *look)
{
	struct store *store = look->account->store;
	struct store_spool_state state;
	if (!look->report.listed ||
		store_spool_state_get(store, look->drop->serve.number, &state) < 0)
		return;
	state.missing = look->report.missing;
	if (state.missing == 0)
		state.complete_s = clock_wall_s();
	/* A failure is logged by the store; it costs a line that is less exact. */
	store_spool_state_put(store, look->drop->serve.number, &state);
}

/* What a reader of a message gets that did not come. */
static int waiters_errno(int err, const struct source_error *error)
{
	bool known = err < 0 && error->scope != SOURCE_SCOPE_CANCELLED && error->err < 0;
	return known ? error->err : -EIO;
}

int look_run(
	struct intake *intake, bool first, struct look_report *report, struct source_error *error)
{
	struct look look = {.account = intake->drop->account, .drop = intake->drop, .first = first};
	int err = look_all(&look, error);
	if (err == 0)
		intake->stuck_count = 0;
	put_state(&look);
	drop_expect_nothing(intake->drop, waiters_errno(err, error));
	progress_tell(&look, true);
	*report = look.report;
	return err;
}
