/* SPDX-License-Identifier: MIT */
/*
 * Hearing of changes: by watchers, threads with a session of their own in source watch(), and, for what they do not cover, by looking every so often
 * (watch_tick(), on the link's thread). Invariant: a folder counts as watched (watched_ms) only while a watch() runs that has said
 * SOURCE_EVENT_READY for it, or is about to go on without a gap; so it is current without asking if it was listed since.
 *
 * With NOTIFY one watcher hears of all folders. With IDLE there is one for INBOX and one for the folder last used, which moves; with two
 * connections only one of them, which is for the folder last used. With one connection nobody watches. What connections the watchers may
 * have (watch.slots) the workers leave to them.
 */
#include "private.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"
#include "mailfs/util/thread.h"

/* A watch that ends sooner, with its connection, is not begun again at once. */
#define LASTING_MS 10000
#define PAUSE_MS   1000
#define PAUSE_MAX  (60 * 1000)
#define HASTY_MAX  3
/* After so many connections that a kind of watch has cost it is not used any more. */
#define DEATHS_MAX 5
/* What was refused, or given up for want of connections, is tried again after this. */
#define REFUSED_MS     (60 * 1000)
#define YIELD_MS       (10 * 60 * 1000)
#define SURVEY_LATE_MS 5000
/* How soon, and how often, a watch of all folders is begun anew for those that have come. */
#define RENEW_MS        2000
#define RENEW_RARELY_MS (30 * 1000)
/* How long a watcher has for a polite end. */
#define STOP_MS 1000

/* --- The plan --- */

void watch_plan(struct sync_account *account)
{
	struct watch *watch = &account->watch;
	unsigned abilities = account->link.abilities, slots = 0;
	bool possible = account->connections > 1 && !account->drop &&
	                watch->yielded_until_ms <= clock_now_ms();
	watch->push = SYNC_PUSH_POLL;
	if (possible && abilities & SOURCE_CAN_NOTIFY && !watch->notify_refused) {
		watch->push = SYNC_PUSH_NOTIFY;
		slots = 1;
	} else if (possible && abilities & SOURCE_CAN_IDLE && !watch->idle_refused) {
		watch->push = SYNC_PUSH_IDLE;
		slots = account->connections > 2 ? 2 : 1;
	}
	watch->slots = slots;
	for (unsigned i = 0; i < account->connections; i++)
		pthread_cond_signal(&account->workers[i].wakeup);
	pthread_cond_broadcast(&account->link.changed);
	link_wake(account);
}

static void poke(struct watcher *watcher)
{
	watcher->poked = true;
	if (watcher->session)
		watcher->account->source->ops->poke(watcher->session);
	pthread_cond_broadcast(&watcher->account->link.changed);
}

void watch_hasten(struct sync_account *account)
{
	for (unsigned i = 0; i < WATCHERS_MAX; i++)
		account->watch.watchers[i].rest_until_ms = 0;
	pthread_cond_broadcast(&account->link.changed);
}

void watch_yield(struct sync_account *account)
{
	struct watch *watch = &account->watch;
	watch->yielded_until_ms = clock_now_ms() + YIELD_MS;
	watch_plan(account);
	for (unsigned i = 0; i < WATCHERS_MAX; i++)
		if (watch->watchers[i].started)
			poke(&watch->watchers[i]);
}

/* What the watcher is for: with IDLE a folder, NULL: none is to be watched. Lock held. */
static struct sync_folder *choose_target(const struct watcher *watcher)
{
	struct sync_account *account = watcher->account;
	const struct watch *watch = &account->watch;
	struct sync_folder *target = watch->slots == 1 ? watch->used : watch->used_other;
	if (watch->push == SYNC_PUSH_NOTIFY)
		return NULL;
	if (watch->slots > 1 && watcher->index == 0)
		target = roster_find(account, "INBOX");
	else if (watch->slots == 1 && !target)
		target = roster_find(account, "INBOX");
	return target && !target->gone ? target : NULL;
}

/* Whether it is to have a connection now. Lock held. */
static bool is_wanted(const struct watcher *watcher)
{
	const struct sync_account *account = watcher->account;
	const struct watch *watch = &account->watch;
	return watcher->index < watch->slots && account->link.state != SYNC_LINK_OFFLINE &&
	       watcher->rest_until_ms <= clock_now_ms() &&
	       (watch->push == SYNC_PUSH_NOTIFY || choose_target(watcher));
}

/* --- Which folders are watched --- */

bool watch_covers(const struct sync_folder *folder)
{
	return !folder->gone && !(sync_folder_mailbox(folder)->flags & SOURCE_MAILBOX_NOSELECT);
}

/* Nothing is heard of what this watcher watched. Lock held. */
static void unwatch(struct watcher *watcher)
{
	struct sync_account *account = watcher->account;
	if (watcher->target)
		watcher->target->watched_ms = -1;
	else if (account->watch.all && watcher->index == 0)
		for (size_t i = 0; i < account->folder_count; i++)
			account->folders[i]->watched_ms = -1;
	if (!watcher->target && watcher->index == 0)
		account->watch.all = false;
	watcher->target = NULL;
}

/* From now on; what came before is not told, so what is shown is looked at once more. No lock. */
static void begin_folder(struct sync_folder *folder, bool continued)
{
	struct sync_account *account = folder->account;
	pthread_mutex_lock(&account->lock);
	bool selectable = watch_covers(folder);
	/* What came since the watch was begun is covered when it is begun anew. */
	if (selectable && !continued)
		folder->watched_ms = clock_now_ms();
	bool look = selectable && !continued && folder_is_shown(folder);
	pthread_mutex_unlock(&account->lock);
	if (look)
		folder_news(folder);
}

/* The folder at index, of those that there are by now; NULL: there are no more. */
static struct sync_folder *folder_at(struct sync_account *account, size_t index)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	return index < account->folder_count ? account->folders[index] : NULL;
}

/*
 * What was made or renamed before the watch began is not told. A mount has asked for the list only just before, and then has better things to do:
 * that can wait a little. Lock held.
 */
static void look_at_roster(struct sync_account *account)
{
	struct roster *roster = &account->roster;
	int64_t now = clock_now_ms();
	if (roster->surveyed_ms >= 0 && now - roster->surveyed_ms < SURVEY_LATE_MS) {
		roster->due_ms = now + SURVEY_LATE_MS;
		link_wake(account);
	} else {
		roster_request(account);
	}
}

static void begin_all(struct sync_account *account, bool continued)
{
	struct sync_folder *folder;
	pthread_mutex_lock(&account->lock);
	bool again = account->watch.all;
	account->watch.all = true;
	if (!continued || !again)
		account->watch.began_ms = clock_now_ms();
	if (!continued || !again)
		look_at_roster(account);
	pthread_mutex_unlock(&account->lock);
	for (size_t i = 0; (folder = folder_at(account, i)); i++)
		begin_folder(folder, continued && again);
}

/* A name that nobody knows is a new folder's, or one that the server does not list: it is not asked about without end. Lock held. */
static void ask_for_roster(struct sync_account *account)
{
	struct roster *roster = &account->roster;
	if (clock_now_ms() - roster->asked_ms >= SURVEY_LATE_MS) {
		roster_request(account);
		return;
	}
	if (roster->due_ms == CLOCK_NEVER)
		roster->due_ms = roster->asked_ms + SURVEY_LATE_MS;
	link_wake(account);
}

/* The first news of a folder that has come since the watch began shows that it is watched, too. */
static void tell_mailbox(struct sync_account *account, const char *name)
{
	pthread_mutex_lock(&account->lock);
	struct sync_folder *folder = roster_find(account, name);
	if (!folder) {
		ask_for_roster(account);
	} else if (account->watch.all && folder->watched_ms < 0 && watch_covers(folder)) {
		folder->watched_ms = clock_now_ms();
	}
	pthread_mutex_unlock(&account->lock);
	if (folder)
		folder_news(folder);
}

/* A name that is still there may be another folder's by now: who opens one looks whether it is. Lock held. */
static void distrust_all(struct sync_account *account)
{
	for (size_t i = 0; i < account->folder_count; i++)
		account->folders[i]->stale = true;
}

static void on_event(void *arg, const struct source_event *event)
{
	struct watcher *watcher = arg;
	struct sync_account *account = watcher->account;
	switch (event->kind) {
	case SOURCE_EVENT_READY:
		if (watcher->target)
			begin_folder(watcher->target, event->continued);
		else
			begin_all(account, event->continued);
		return;
	case SOURCE_EVENT_MAILBOX:
		tell_mailbox(account, event->mailbox);
		return;
	case SOURCE_EVENT_LIST:
	case SOURCE_EVENT_LOST: {
		_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
		roster_request(account);
		if (event->kind == SOURCE_EVENT_LOST)
			folders_news(account, true);
		else
			distrust_all(account);
		return;
	}
	}
}

/* --- A watcher --- */

/* After so many failures, 1 …. */
static int64_t pause_ms(unsigned failures)
{
	int64_t pause = (int64_t)PAUSE_MS << (failures < 10 ? failures - 1 : 9);
	return pause < PAUSE_MAX ? pause : PAUSE_MAX;
}

/* Until it is wanted, or the account stops. Lock held. */
static void wait_wanted(struct watcher *watcher)
{
	struct sync_account *account = watcher->account;
	int64_t until = watcher->rest_until_ms;
	struct timespec end = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};
	if (until > clock_now_ms())
		pthread_cond_timedwait(&account->link.changed, &account->lock, &end);
	else
		pthread_cond_wait(&account->link.changed, &account->lock);
}

/* Workers that were refused a connection may have this one's place. Lock held. */
static void take_over(struct sync_account *account)
{
	account->watch.given_up++;
	for (unsigned i = 0; i < account->connections; i++)
		account->workers[i].resting_until_ms = 0;
	job_dispatch(account);
}

static void drop(struct watcher *watcher, bool polite)
{
	struct sync_account *account = watcher->account;
	pthread_mutex_lock(&account->lock);
	struct source_session *session = steal_ptr(watcher->session);
	unwatch(watcher);
	pthread_mutex_unlock(&account->lock);
	if (!session)
		return;
	link_disconnect(account, session, polite);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	if (account->watch.yielded_until_ms)
		take_over(account);
}

/* Whether there is something to do; what the connection is not needed for, it is given up for. */
static bool next(struct watcher *watcher)
{
	struct sync_account *account = watcher->account;
	pthread_mutex_lock(&account->lock);
	while (!account->stopping && !is_wanted(watcher)) {
		if (watcher->session) {
			pthread_mutex_unlock(&account->lock);
			drop(watcher, true);
			pthread_mutex_lock(&account->lock);
			continue;
		}
		wait_wanted(watcher);
	}
	bool go_on = !account->stopping;
	pthread_mutex_unlock(&account->lock);
	return go_on;
}

/* false: not now; it rests, or waits for the link. */
static bool connect_watcher(struct watcher *watcher)
{
	struct sync_account *account = watcher->account;
	struct source_session *session = NULL;
	struct source_error error;
	if (watcher->session)
		return true;
	int err = link_connect(account, &session, &error);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	if (err < 0) {
		/* While others have connections there may be no more for us; else the link says when there is one. */
		watcher->denials += watcher->denials < 10;
		if (account->link.state != SYNC_LINK_OFFLINE)
			watcher->rest_until_ms = clock_now_ms() + pause_ms(watcher->denials);
		return false;
	}
	watcher->denials = 0;
	watcher->moved_ms = clock_now_ms();
	watcher->session = session;
	watcher->asked = watcher->cut = false;
	return true;
}

/* The connection is lost. If that comes again and again it is the watch that the server does not like. */
static void lost(struct watcher *watcher, const struct source_error *error)
{
	struct sync_account *account = watcher->account;
	int64_t now = clock_now_ms();
	watcher->failures = now - watcher->moved_ms < LASTING_MS ? watcher->failures + 1 : 0;
	int64_t pause = watcher->failures > 1 ? pause_ms(watcher->failures - 1) : 0;
	log_debug("%s: watching: %s", account->name, error->text);
	pthread_mutex_lock(&account->lock);
	if (watcher->failures >= DEATHS_MAX) {
		account->watch.notify_refused |= account->watch.push == SYNC_PUSH_NOTIFY;
		account->watch.idle_refused |= account->watch.push == SYNC_PUSH_IDLE;
		watcher->failures = 0;
		watch_plan(account);
	}
	watcher->rest_until_ms = pause ? now + pause : 0;
	pthread_mutex_unlock(&account->lock);
	drop(watcher, false);
	/* Not by this one at once: what it watched may be gone, and then it would wait, and everybody with it. */
	link_lost(account, error, false);
}

/* The server does not want to watch this, or at all: it takes the ability back then. */
static void refused(struct watcher *watcher, const struct source_error *error)
{
	struct sync_account *account = watcher->account;
	unsigned abilities = account->source->ops->abilities(watcher->session);
	log_info("%s: %s", account->name, error->text);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	struct watch *watch = &account->watch;
	struct sync_folder *target = watcher->target;
	unwatch(watcher);
	if (watch->push == SYNC_PUSH_NOTIFY) {
		watch->notify_refused = true;
	} else if (!(abilities & SOURCE_CAN_IDLE) || ++watcher->refusals > DEATHS_MAX) {
		watch->idle_refused = true;
		quirk_seen(QUIRK_IDLE_REFUSED);
	} else {
		if (target == watch->used)
			watch->used = NULL;
		if (target == watch->used_other)
			watch->used_other = NULL;
		watcher->rest_until_ms = clock_now_ms() + REFUSED_MS;
	}
	watch_plan(account);
}

/* What to watch next; what was watched before is not, if it is something else. false: nothing, all of a sudden. */
static bool aim(struct watcher *watcher, int64_t *ret_until_ms)
{
	struct sync_account *account = watcher->account;
	int64_t watchdog_ms = account->watch.watchdog_ms;
	int64_t timeout_ms =
		account->timeout_ms < watchdog_ms / 2 ? account->timeout_ms : watchdog_ms / 2;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	/* The poke that said so may have come while there was no session. */
	if (account->stopping)
		return false;
	struct sync_folder *target = choose_target(watcher);
	if (target != watcher->target) {
		unwatch(watcher);
		watcher->target = target;
		watcher->moved_ms = clock_now_ms();
	}
	if (!target && account->watch.push != SYNC_PUSH_NOTIFY)
		return false;
	watcher->inside = true;
	*ret_until_ms = clock_now_ms() + watchdog_ms - timeout_ms;
	return true;
}

/* Whether the watch is to be begun anew although nothing was missed, as far as one knows. Lock held. */
static bool is_stale(const struct watcher *watcher)
{
	return watcher->account->watch.renew_ms <= clock_now_ms() && !watcher->target;
}

/*
 * A folder that came while a watch of all began may be left out of it: Dovecot 2.3 never tells of it then. So after folders have come the watch is begun
 * anew, which another call in between brings about. false: the connection is lost.
 */
static bool renew(struct watcher *watcher)
{
	struct sync_account *account = watcher->account;
	struct source_error error = {.err = -EIO};
	struct source_state state;
	pthread_mutex_lock(&account->lock);
	bool stale = is_stale(watcher);
	if (stale)
		account->watch.renew_ms = CLOCK_NEVER;
	pthread_mutex_unlock(&account->lock);
	if (!stale)
		return true;
	quirk_heeded(QUIRK_WATCH_STALE);
	int err = account->source->ops->status(watcher->session, "INBOX", &state, &error);
	if (err == 0 || error.scope < SOURCE_SCOPE_ACCOUNT)
		return true;
	lost(watcher, &error);
	return false;
}

void watch_arrived(struct sync_folder *folder)
{
	struct watch *watch = &folder->account->watch;
	if (!watch->all)
		return;
	int64_t soon = clock_now_ms() + RENEW_MS;
	if (watch->renew_ms == CLOCK_NEVER)
		watch->renew_ms = soon > watch->began_ms + RENEW_RARELY_MS
		                          ? soon
		                          : watch->began_ms + RENEW_RARELY_MS;
	link_wake(folder->account);
}

/* It came back: the server has answered. */
static void returned(struct watcher *watcher, int err)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&watcher->account->lock);
	watcher->inside = false;
	if (err < 0)
		return;
	watcher->asked = false;
	watcher->refusals = 0;
}

/*
 * A watch() that ends for no reason, again and again, is not begun again at once. Once is no sign: a poke may come between two of them. The
 * connection stays.
 */
static void pace(struct watcher *watcher, int64_t since_ms, int64_t until_ms)
{
	struct sync_account *account = watcher->account;
	int64_t now = clock_now_ms(), end_ms = now + PAUSE_MS;
	struct timespec end = {.tv_sec = end_ms / 1000, .tv_nsec = end_ms % 1000 * 1000000};
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	bool hasty = !watcher->poked && now < until_ms && now - since_ms < PAUSE_MS;
	watcher->poked = false;
	watcher->hasty = hasty ? watcher->hasty + 1 : 0;
	if (watcher->hasty < HASTY_MAX)
		return;
	while (!account->stopping && clock_now_ms() < end_ms)
		if (pthread_cond_timedwait(&account->link.changed, &account->lock, &end) ==
			ETIMEDOUT)
			break;
}

static void watch_once(struct watcher *watcher)
{
	struct sync_account *account = watcher->account;
	struct source_error error = {.err = -EIO};
	int64_t until_ms, since_ms = clock_now_ms();
	if (!renew(watcher) || !aim(watcher, &until_ms))
		return;
	const char *name = watcher->target ? watcher->target->name : NULL;
	int err = account->source->ops->watch(
		watcher->session, name, until_ms, on_event, watcher, &error);
	returned(watcher, err);
	if (err == 0)
		pace(watcher, since_ms, until_ms);
	else if (error.scope >= SOURCE_SCOPE_ACCOUNT)
		lost(watcher, &error);
	else
		refused(watcher, &error);
}

static void *watcher_main(void *arg)
{
	struct watcher *watcher = arg;
	while (next(watcher))
		if (connect_watcher(watcher))
			watch_once(watcher);
	pthread_mutex_lock(&watcher->account->lock);
	bool polite = !watcher->cut;
	pthread_mutex_unlock(&watcher->account->lock);
	drop(watcher, polite);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&watcher->account->lock);
	watcher->ended = true;
	pthread_cond_broadcast(&watcher->account->link.changed);
	return NULL;
}

int watch_start(struct sync_account *account)
{
	unsigned count = account->connections > 2 ? WATCHERS_MAX : account->connections - 1;
	int err = 0;
	for (unsigned i = 0; err == 0 && i < count; i++) {
		struct watcher *watcher = &account->watch.watchers[i];
		watcher->account = account;
		watcher->index = i;
		err = thread_start(&watcher->thread, watcher_main, watcher);
		pthread_mutex_lock(&account->lock);
		watcher->started = err == 0;
		pthread_mutex_unlock(&account->lock);
	}
	return err;
}

void watch_interrupt(struct sync_account *account)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	pthread_cond_broadcast(&account->link.changed);
	for (unsigned i = 0; i < WATCHERS_MAX; i++)
		if (account->watch.watchers[i].started)
			poke(&account->watch.watchers[i]);
}

/* One that does not end by itself within the time is cut off. */
static void end(struct watcher *watcher, int64_t until_ms)
{
	struct sync_account *account = watcher->account;
	struct timespec end = {.tv_sec = until_ms / 1000, .tv_nsec = until_ms % 1000 * 1000000};
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	while (!watcher->ended)
		if (pthread_cond_timedwait(&account->link.changed, &account->lock, &end) ==
			ETIMEDOUT)
			break;
	watcher->cut = !watcher->ended;
	if (watcher->cut && watcher->session)
		account->source->ops->cancel(watcher->session);
}

void watch_stop(struct sync_account *account)
{
	int64_t until_ms = clock_now_ms() + STOP_MS;
	for (unsigned i = 0; i < WATCHERS_MAX; i++) {
		struct watcher *watcher = &account->watch.watchers[i];
		if (!watcher->started)
			continue;
		end(watcher, until_ms);
		pthread_join(watcher->thread, NULL);
		watcher->started = false;
	}
}

/* --- Dead connections --- */

void watch_suspect(struct sync_account *account)
{
	for (unsigned i = 0; i < WATCHERS_MAX; i++) {
		struct watcher *watcher = &account->watch.watchers[i];
		uint64_t out;
		if (!watcher->started || !watcher->session)
			continue;
		watcher->asked = true;
		link_traffic(account, watcher->session, &watcher->mark, &out);
		poke(watcher);
	}
}

void watch_cut(struct sync_account *account)
{
	for (unsigned i = 0; i < WATCHERS_MAX; i++) {
		struct watcher *watcher = &account->watch.watchers[i];
		uint64_t in, out;
		if (!watcher->asked || !watcher->session || account->stopping)
			continue;
		watcher->asked = false;
		link_traffic(account, watcher->session, &in, &out);
		if (in != watcher->mark)
			continue;
		watcher->cut = true;
		account->source->ops->cancel(watcher->session);
	}
}

/* --- What is due by time --- */

/* The one that follows the folder last used; NULL: none does. Lock held. */
static struct watcher *follower(struct sync_account *account)
{
	struct watch *watch = &account->watch;
	if (watch->push != SYNC_PUSH_IDLE || watch->slots == 0)
		return NULL;
	return &watch->watchers[watch->slots - 1];
}

/* Sends it to the folder last used, unless it has only just come to where it is; when to ask again. Lock held. */
static int64_t follow(struct sync_account *account, int64_t now)
{
	struct watcher *watcher = follower(account);
	if (!watcher || !watcher->session || !watcher->inside || watcher->poked)
		return CLOCK_NEVER;
	if (choose_target(watcher) == watcher->target)
		return CLOCK_NEVER;
	if (now < watcher->moved_ms + account->watch.move_ms)
		return watcher->moved_ms + account->watch.move_ms;
	poke(watcher);
	return CLOCK_NEVER;
}

void watch_used(struct sync_folder *folder)
{
	struct sync_account *account = folder->account;
	struct watch *watch = &account->watch;
	folder->used_ms = clock_now_ms();
	if (folder->gone || account->drop || watch->used == folder)
		return;
	watch->used = folder;
	if (!folder_is_inbox(folder))
		watch->used_other = folder;
	struct watcher *watcher = follower(account);
	if (!watcher)
		return;
	/* One that has nothing to watch yet waits for this; one that came only just is sent later, by the tick. */
	pthread_cond_broadcast(&account->link.changed);
	if (follow(account, folder->used_ms) != CLOCK_NEVER)
		link_wake(account);
}

int64_t watch_tick(struct sync_account *account)
{
	struct watch *watch = &account->watch;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	int64_t now = clock_now_ms(), due = follow(account, now);
	if (account->stopping || account->link.state != SYNC_LINK_ONLINE)
		return CLOCK_NEVER;
	if (watch->yielded_until_ms && watch->yielded_until_ms <= now) {
		watch->yielded_until_ms = 0;
		watch_plan(account);
	}
	int64_t interval = poll_interval(account);
	/* Nothing was shown yet when the account began. */
	if (watch->polled_ms && account->events.rows && now - watch->polled_ms >= interval)
		poll_folders(account, now, interval);
	if (!watch->polled_ms || now - watch->polled_ms >= interval)
		watch->polled_ms = now;
	if (now - account->roster.asked_ms >= survey_interval(account) ||
		now >= account->roster.due_ms)
		roster_request(account);
	if (now >= account->roster.patient_ms)
		roster_hurry(account);
	if (now >= watch->renew_ms && watch->all && !watch->watchers[0].poked)
		poke(&watch->watchers[0]);
	int64_t dues[] = {watch->polled_ms + interval, account->roster.due_ms,
		account->roster.patient_ms, account->roster.asked_ms + survey_interval(account),
		watch->renew_ms > now ? watch->renew_ms : CLOCK_NEVER,
		watch->yielded_until_ms ? watch->yielded_until_ms : CLOCK_NEVER};
	for (size_t i = 0; i < sizeof(dues) / sizeof(*dues); i++)
		due = dues[i] < due ? dues[i] : due;
	return due;
}
