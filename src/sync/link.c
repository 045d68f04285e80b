/* SPDX-License-Identifier: MIT */
/*
 * Whether there is a connection, and the attempts to have one again. Invariants:
 *
 *   - while the link is not ONLINE, one thread at a time tries to connect, whoever it is; all others wait for how that ends, or,
 *     once it has failed, hear so at once
 *   - OFFLINE means that there is no session: as long as another one exists the link counts as ONLINE, and that one is tried (workers_suspect(),
 *     watch_suspect()), so that a dead one is found within link.sign_ms
 *   - whoever leaves the link CONNECTING tries at once, or has kicked the thread
 *
 * The thread also hears of changes of the network, and does what is due by time (watch_tick()). It holds no lock while it
 * waits or connects.
 */
#include "private.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/hash.h"
#include "mailfs/util/linkwatch.h"
#include "mailfs/util/log.h"
#include "mailfs/util/thread.h"

#define PACE_MS 1000
/* The longest pause between two attempts, in paces. */
#define PACE_MAX 60
/* A login that was refused is not repeated before: servers lock accounts, and people who try. */
#define REFUSED_MS (15 * 60 * 1000)
/* Of an attempt to connect; but each fourth has the whole time-out. */
#define SHORT_MS   5000
#define LONG_EVERY 4
#define SIGN_MS    4000

/* --- Time and figures --- */

static int shorter(int a, int b)
{
	return a < b ? a : b;
}

/*
 * How long an attempt may take. Slow servers get more once it is clear that nobody is waiting; but not each time, because the network may come back in the
 * middle of an attempt that is lost, and then nobody hears of it before its end. Lock held.
 */
static int attempt_ms(const struct sync_account *account)
{
	bool quick = account->link.state == SYNC_LINK_CONNECTING ||
	             account->link.failures % LONG_EVERY != LONG_EVERY - 1;
	return quick ? shorter(account->timeout_ms, SHORT_MS) : account->timeout_ms;
}

/* The pause after so many failures: doubled each time, and ±25 %, so that a thousand of us do not come at once. */
static int64_t pause_ms(const struct link *link)
{
	unsigned doublings = link->failures > 1 ? link->failures - 1 : 0;
	int64_t paces = doublings < 6 ? INT64_C(1) << doublings : PACE_MAX;
	if (paces > PACE_MAX)
		paces = PACE_MAX;
	uint64_t seed = (uint64_t)clock_now_ms() ^ (uint64_t)(uintptr_t)link;
	int64_t permille = 750 + (int64_t)(hash64_finish(seed) % 501);
	return paces * link->pace_ms * permille / 1000;
}

static bool login_refused(const struct source_error *error)
{
	return error->retry == SOURCE_RETRY_NEVER &&
	       (error->cause == SOURCE_CAUSE_LOGIN || error->err == -EACCES);
}

/* What a file operation gives because of a failed attempt. */
static int offline_errno(const struct source_error *error)
{
	if (error->cause == SOURCE_CAUSE_LOGIN || error->err == -EACCES)
		return -EACCES;
	if (error->cause == SOURCE_CAUSE_HOST || error->cause == SOURCE_CAUSE_CONNECT ||
		error->err == -ETIMEDOUT)
		return -EHOSTUNREACH;
	return error->err == -ENOMEM ? -ENOMEM : -EIO;
}

void link_traffic(const struct sync_account *account, const struct source_session *session,
	uint64_t *ret_in, uint64_t *ret_out)
{
	*ret_in = *ret_out = 0;
	if (account->source->ops->traffic)
		account->source->ops->traffic(session, ret_in, ret_out);
}

/* --- What it is --- */

static void tell_link(struct sync_account *account)
{
	struct sync_events events = account_events(account);
	if (events.link)
		events.link(events.arg);
}

/* false: it was that already. Lock held. */
static bool set_state(struct sync_account *account, enum sync_link state)
{
	struct link *link = &account->link;
	if (link->state == state)
		return false;
	link->state = state;
	link->since_s = clock_wall_s();
	pthread_cond_broadcast(&link->changed);
	return true;
}

/* There is a session again. Lock held; *ret_away: after there was none for long. true: to be told. */
static bool come_online(struct sync_account *account, unsigned abilities, bool *ret_away)
{
	struct link *link = &account->link;
	bool away = *ret_away = link->state == SYNC_LINK_OFFLINE;
	if (abilities != link->abilities) {
		link->abilities = abilities;
		watch_plan(account);
	}
	link->failures = 0;
	link->retry_ms = CLOCK_NEVER;
	link->encouraged = link->kicked = false;
	if (!set_state(account, SYNC_LINK_ONLINE))
		return false;
	link->reconnects++;
	for (unsigned i = 0; i < account->connections; i++)
		account->workers[i].resting_until_ms = 0;
	if (away) {
		watch_hasten(account);
		folders_news(account, false);
		roster_request(account);
	}
	job_dispatch(account);
	link_wake(account);
	return true;
}

/* Lock held; queued: what is to be failed; *ret_news: this is not what was said last. */
static bool go_offline(struct sync_account *account, const struct source_error *error,
	struct list_node *queued, bool *ret_news)
{
	struct link *link = &account->link;
	bool first = set_state(account, SYNC_LINK_OFFLINE);
	*ret_news = first || strcmp(link->error.text, error->text) != 0;
	link->error = *error;
	link->error.err = offline_errno(error);
	link->failures++;
	link->retry_ms = clock_now_ms() + (login_refused(error) ? REFUSED_MS : pause_ms(link));
	if (link->encouraged)
		link->retry_ms = clock_now_ms();
	link->encouraged = link->kicked = false;
	job_take_all(account, queued);
	link_wake(account);
	return first;
}

/* An attempt has failed although there are other sessions: they may be dead too. Lock held. */
static bool stay_online(struct sync_account *account, const struct source_error *error)
{
	account->link.error = *error;
	bool told = set_state(account, SYNC_LINK_ONLINE);
	account->link.check_ms = clock_now_ms() + account->link.sign_ms;
	workers_suspect(account);
	watch_suspect(account);
	link_wake(account);
	return told;
}

bool link_is_offline(struct sync_account *account)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	return account->link.state == SYNC_LINK_OFFLINE;
}

/* --- Sessions --- */

/* What the server says of itself, for those who ask while it is away. */
static void keep_description(struct sync_account *account, const struct source_session *session)
{
	_cleanup_str_ struct str text = STR_INIT;
	if (!account->source->ops->describe)
		return;
	account->source->ops->describe(session, &text);
	if (str_error(&text) < 0)
		return;
	_cleanup_free_ char *copy = strdup(str_cstr(&text));
	pthread_mutex_lock(&account->lock);
	char *before = account->link.description;
	bool changed = copy && (!before || strcmp(before, copy) != 0);
	if (changed) {
		account->link.description = steal_ptr(copy);
		copy = before;
	}
	pthread_mutex_unlock(&account->lock);
	if (changed)
		(void)store_fact_put(account->store, "server.describe", str_cstr(&text), text.len);
}

static unsigned abilities_of(
	const struct sync_account *account, const struct source_session *session)
{
	/* What matters to who watches; a session that is deflated can not be deflated, and is no other for that. */
	return account->source->ops->abilities
	               ? account->source->ops->abilities(session) & ~(unsigned)SOURCE_CAN_COMPRESS
	               : 0;
}

void link_began(struct sync_account *account, struct source_session *session)
{
	unsigned abilities = abilities_of(account, session);
	keep_description(account, session);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	account->link.sessions++;
	account->link.abilities = abilities;
	watch_plan(account);
}

void link_disconnect(struct sync_account *account, struct source_session *session, bool polite)
{
	uint64_t in, out;
	pthread_mutex_lock(&account->lock);
	link_traffic(account, session, &in, &out);
	account->link.bytes_in += in;
	account->link.bytes_out += out;
	pthread_mutex_unlock(&account->lock);
	account->source->ops->disconnect(session, polite);
	/* Not before: until then it may be the one that is too many for the server. */
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	account->link.sessions--;
}

void link_begin_offline(struct sync_account *account, const struct source_error *error)
{
	struct link *link = &account->link;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	set_state(account, SYNC_LINK_OFFLINE);
	link->error = *error;
	link->error.err = offline_errno(error);
	link->failures = 1;
	link->retry_ms = clock_now_ms() + pause_ms(link);
	watch_plan(account);
}

void link_lost(struct sync_account *account, const struct source_error *error, bool again)
{
	struct link *link = &account->link;
	pthread_mutex_lock(&account->lock);
	bool online = link->state != SYNC_LINK_OFFLINE && !account->stopping && !account->drop;
	bool told = online && set_state(account, SYNC_LINK_CONNECTING);
	if (online) {
		link->error = *error;
		/* That is all that is known of a session that was cut. */
		if (error->scope == SOURCE_SCOPE_CANCELLED)
			session_fail(&link->error, SOURCE_SCOPE_ACCOUNT, -ETIMEDOUT,
				"the connection gave no sign of life");
		link->kicked |= !again;
		link->check_ms = clock_now_ms() + link->sign_ms;
		workers_suspect(account);
		watch_suspect(account);
		link_wake(account);
	}
	pthread_mutex_unlock(&account->lock);
	if (told)
		tell_link(account);
}

/* --- Connecting --- */

enum entry { ENTRY_REFUSED, ENTRY_GIVEN, ENTRY_ALONE, ENTRY_FREE };

/*
 * Whether the caller may try: alone, if the link is not ONLINE. It is given the session that somebody else has made, or hears why it
 * may not. thread: the link's own, which does not wait.
 */
static enum entry enter(struct sync_account *account, bool thread, struct source_session **ret,
	struct source_error *error)
{
	struct link *link = &account->link;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	link->waiting++;
	while (!thread && !account->stopping && !link->spare && link->attempting &&
		link->state == SYNC_LINK_CONNECTING)
		pthread_cond_wait(&link->changed, &account->lock);
	link->waiting--;
	if (account->stopping) {
		session_fail(error, SOURCE_SCOPE_CANCELLED, -EIO, "the mount ends");
		return ENTRY_REFUSED;
	}
	if (!thread && link->spare) {
		*ret = steal_ptr(link->spare);
		return ENTRY_GIVEN;
	}
	if (link->state == SYNC_LINK_ONLINE && !thread)
		return ENTRY_FREE;
	if ((link->state == SYNC_LINK_OFFLINE && !thread) || link->attempting ||
		link->state == SYNC_LINK_ONLINE) {
		*error = link->error;
		error->scope = SOURCE_SCOPE_ACCOUNT;
		return ENTRY_REFUSED;
	}
	link->attempting = true;
	link->kicked = false;
	return ENTRY_ALONE;
}

/* Whether there is a connection of which nobody doubts that it lives. Lock held. */
static bool is_sure(const struct sync_account *account)
{
	return account->link.state == SYNC_LINK_ONLINE && account->link.check_ms == CLOCK_NEVER;
}

/* *ret_given_up: watch.given_up as it was when the attempt began. */
static int attempt(struct sync_account *account, struct source_session **ret,
	unsigned *ret_given_up, struct source_error *error)
{
	pthread_mutex_lock(&account->lock);
	*ret_given_up = account->watch.given_up;
	int limit_ms = is_sure(account) ? account->timeout_ms : attempt_ms(account);
	pthread_mutex_unlock(&account->lock);
	*error = (struct source_error){.scope = SOURCE_SCOPE_ACCOUNT, .err = -EIO};
	return rate_connect(account, clock_now_ms() + limit_ms, ret, error);
}

/* A session that the thread has made goes to whoever waits, else to a worker that has none. Lock held; false: nobody needs it. */
static bool place(struct sync_account *account, struct source_session *session)
{
	struct link *link = &account->link;
	if (account->stopping)
		return false;
	if (link->waiting == 0 || link->spare)
		return workers_adopt(account, session);
	link->spare = session;
	return true;
}

/* thread: the session is nobody's yet; false: and is to be ended. */
static bool succeeded(
	struct sync_account *account, enum entry entry, bool thread, struct source_session *session)
{
	unsigned abilities = abilities_of(account, session);
	bool away;
	keep_description(account, session);
	pthread_mutex_lock(&account->lock);
	account->link.sessions++;
	if (entry == ENTRY_ALONE)
		account->link.attempting = false;
	/* Before the others hear of it, who would each connect. */
	bool placed = !thread || place(account, session);
	bool told = come_online(account, abilities, &away);
	pthread_cond_broadcast(&account->link.changed);
	pthread_mutex_unlock(&account->lock);
	if (away) {
		log_info("%s: connected again", account->name);
		sync_pins_start(account);
	}
	if (told)
		tell_link(account);
	return placed;
}

/*
 * true: it is to be tried once more: meanwhile the link was found lost by others, and how that ends counts; or a watcher has made room.
 */
static bool failed(struct sync_account *account, enum entry entry, unsigned given_up,
	struct source_error *error)
{
	struct link *link = &account->link;
	struct list_node queued;
	bool told = false, news = false, overtaken = false;
	list_init(&queued);
	pthread_mutex_lock(&account->lock);
	if (entry == ENTRY_ALONE)
		link->attempting = false;
	bool counts = !account->stopping && error->scope != SOURCE_SCOPE_CANCELLED;
	if (counts && entry == ENTRY_FREE && link->state != SYNC_LINK_ONLINE)
		overtaken = true;
	else if (counts && account->watch.given_up != given_up)
		overtaken = link->kicked = true;
	else if (counts)
		told = link->sessions > 0 ? stay_online(account, error)
		                          : go_offline(account, error, &queued, &news);
	if (counts) {
		error->scope = SOURCE_SCOPE_ACCOUNT;
		error->err = offline_errno(error);
	}
	/* At the start it is told by who starts. */
	news = news && account->started;
	pthread_cond_broadcast(&link->changed);
	pthread_mutex_unlock(&account->lock);
	if (news)
		log_warning("%s: %s", account->name, error->text);
	job_fail_all(&queued, error->err);
	if (told)
		tell_link(account);
	return overtaken;
}

int link_connect(
	struct sync_account *account, struct source_session **ret, struct source_error *error)
{
	enum entry entry;
	unsigned given_up;
	do {
		entry = enter(account, false, ret, error);
		if (entry == ENTRY_REFUSED)
			return error->err;
		if (entry == ENTRY_GIVEN)
			return 0;
		if (attempt(account, ret, &given_up, error) == 0) {
			succeeded(account, entry, false, *ret);
			return 0;
		}
	} while (failed(account, entry, given_up, error));
	return error->err;
}

/* --- The thread --- */

static void try_again(struct sync_account *account)
{
	struct source_session *session = NULL;
	struct source_error error;
	unsigned given_up;
	if (enter(account, true, NULL, &error) != ENTRY_ALONE)
		return;
	if (attempt(account, &session, &given_up, &error) < 0)
		failed(account, ENTRY_ALONE, given_up, &error);
	else if (!succeeded(account, ENTRY_ALONE, true, session))
		link_disconnect(account, session, true);
}

/* Something changed that may let an attempt succeed. Lock held. */
static void encourage(struct sync_account *account, bool by_hand)
{
	struct link *link = &account->link;
	if (link->state != SYNC_LINK_OFFLINE && !link->attempting)
		return;
	if (login_refused(&link->error) && !by_hand)
		return;
	link->encouraged = link->attempting;
	link->failures = 0;
	link->retry_ms = clock_now_ms();
}

/* What is connected may be dead. Lock held. */
static void doubt(struct sync_account *account)
{
	struct link *link = &account->link;
	if (link->state == SYNC_LINK_OFFLINE)
		return;
	link->check_ms = clock_now_ms() + link->sign_ms;
	workers_suspect(account);
	watch_suspect(account);
}

/* Takes what the kernel tells; when to look again. */
static int64_t hear(struct sync_account *account)
{
	int64_t again_ms = CLOCK_NEVER;
	unsigned events = account->link.net ? linkwatch_read(account->link.net, &again_ms) : 0;
	if (!events)
		return again_ms;
	log_debug("%s: the network changed (%u)", account->name, events);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	doubt(account);
	rate_forget(account);
	if (events & (LINKWATCH_GAINED | LINKWATCH_RESUMED))
		encourage(account, false);
	return again_ms;
}

/* Those who gave no sign are cut. Lock held. */
static void check(struct sync_account *account)
{
	if (clock_now_ms() < account->link.check_ms)
		return;
	account->link.check_ms = CLOCK_NEVER;
	workers_cut(account);
	watch_cut(account);
}

/* Whether an attempt is due. */
static bool is_due(struct sync_account *account)
{
	struct link *link = &account->link;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	check(account);
	if (link->attempting || account->stopping)
		return false;
	return (link->state == SYNC_LINK_CONNECTING && link->kicked) ||
	       (link->state == SYNC_LINK_OFFLINE && link->retry_ms <= clock_now_ms());
}

/* Lock not held. When there is something to do next, but for what wakes it. */
static int64_t next_ms(struct sync_account *account, int64_t until_ms)
{
	struct link *link = &account->link;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	if (link->state == SYNC_LINK_OFFLINE && !link->attempting && link->retry_ms < until_ms)
		until_ms = link->retry_ms;
	return link->check_ms < until_ms ? link->check_ms : until_ms;
}

static void rest(struct sync_account *account, int64_t until_ms)
{
	struct link *link = &account->link;
	struct pollfd fds[2] = {{.fd = link->wake_fd, .events = POLLIN},
		{.fd = link->net ? linkwatch_fd(link->net) : -1, .events = POLLIN}};
	eventfd_t count;
	if (poll(fds, 2, clock_left_ms(until_ms)) > 0 && fds[0].revents)
		(void)!eventfd_read(link->wake_fd, &count);
}

static void *link_main(void *arg)
{
	struct sync_account *account = arg;
	while (!account_stopping(account)) {
		int64_t until_ms = hear(account);
		int64_t tick_ms = watch_tick(account);
		if (is_due(account)) {
			try_again(account);
			continue;
		}
		rest(account, next_ms(account, tick_ms < until_ms ? tick_ms : until_ms));
	}
	return NULL;
}

void link_wake(struct sync_account *account)
{
	if (account->link.wake_fd >= 0)
		(void)!eventfd_write(account->link.wake_fd, 1);
}

int link_init(struct link *link)
{
	link->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (link->wake_fd < 0)
		return -errno;
	cond_init_monotonic(&link->changed);
	link->state = SYNC_LINK_ONLINE;
	link->since_s = clock_wall_s();
	link->retry_ms = link->check_ms = CLOCK_NEVER;
	link->pace_ms = PACE_MS;
	link->sign_ms = SIGN_MS;
	return 0;
}

void link_finish(struct link *link)
{
	linkwatch_destroy(link->net);
	cleanup_close(&link->wake_fd);
	pthread_cond_destroy(&link->changed);
	free(link->description);
}

int link_start(struct sync_account *account)
{
	struct link *link = &account->link;
	int err = linkwatch_create(&link->net);
	if (err < 0)
		log_info("%s: changes of the network are not heard of: %s", account->name,
			strerror(-err));
	err = thread_start(&link->thread, link_main, account);
	link->started = err == 0;
	return err;
}

void link_stop(struct sync_account *account)
{
	struct link *link = &account->link;
	pthread_mutex_lock(&account->lock);
	pthread_cond_broadcast(&link->changed);
	pthread_mutex_unlock(&account->lock);
	link_wake(account);
	if (link->started)
		pthread_join(link->thread, NULL);
	link->started = false;
	if (link->spare)
		link_disconnect(account, steal_ptr(link->spare), true);
}

/* --- For who asks --- */

void sync_account_refresh(struct sync_account *account)
{
	pthread_mutex_lock(&account->lock);
	doubt(account);
	encourage(account, true);
	folders_news(account, true);
	roster_request(account);
	pthread_mutex_unlock(&account->lock);
	link_wake(account);
}
