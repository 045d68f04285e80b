/* SPDX-License-Identifier: MIT */
/* The source in memory while it waits: watches, connects that take long, a network that swallows everything. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "fake_private.h"
#include "mailfs/util/clock.h"

void fake_wait_until(struct fake_source *fake, int64_t until_ms)
{
	struct timespec end;
	int64_t left_ms = until_ms - clock_now_ms();
	clock_gettime(CLOCK_REALTIME, &end);
	if (left_ms < 0)
		left_ms = 0;
	if (left_ms > 3600000)
		left_ms = 3600000;
	end.tv_sec += left_ms / 1000;
	end.tv_nsec += left_ms % 1000 * 1000000;
	end.tv_sec += end.tv_nsec / 1000000000;
	end.tv_nsec %= 1000000000;
	pthread_cond_timedwait(&fake->changed, &fake->lock, &end);
}

bool fake_wait_out(struct source_session *session)
{
	int64_t until_ms = clock_now_ms() + session->timeout_ms;
	while (!session->cancelled && clock_now_ms() < until_ms)
		fake_wait_until(session->fake, until_ms);
	return !session->cancelled;
}

int fake_connect_wait(struct fake_source *fake, int64_t deadline_ms, struct source_error *error)
{
	while ((fake->hold_connects || fake->blackhole) && !fake->cut_connects &&
		clock_now_ms() < deadline_ms)
		fake_wait_until(fake, deadline_ms);
	if (fake->cut_connects)
		return fake_fail(error, SOURCE_SCOPE_CANCELLED, SOURCE_CAUSE_OTHER, -EIO,
			"connect cut by the script");
	if (fake->hold_connects || fake->blackhole)
		return fake_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_CAUSE_CONNECT, -ETIMEDOUT,
			"connection timed out");
	if (!fake->login_refused)
		return 0;
	error->retry = SOURCE_RETRY_NEVER;
	return fake_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_CAUSE_LOGIN, -EACCES,
		"login refused by the script");
}

/* --- Watching --- */

static bool is_lost(const struct source_session *session)
{
	const struct fake_source *fake = session->fake;
	return fake->drop_sessions && session->generation != fake->generation;
}

static void note_watched(struct fake_source *fake, const char *name)
{
	size_t last = fake->watched_count;
	if (last == FAKE_EVENTS || (last > 0 && strcmp(fake->watched[last - 1], name) == 0))
		return;
	snprintf(fake->watched[last], sizeof(fake->watched[last]), "%s", name);
	fake->watched_count++;
}

static void tell_one(struct source_session *session, const struct source_event *event,
	source_event_fn *fn, void *arg)
{
	pthread_mutex_unlock(&session->fake->lock);
	fn(arg, event);
	pthread_mutex_lock(&session->fake->lock);
}

/* Tells what has happened since it was told last. */
static void tell_news(
	struct source_session *session, const char *mailbox, source_event_fn *fn, void *arg)
{
	struct fake_source *fake = session->fake;
	while (session->event_at < fake->event_count) {
		struct fake_event copy = fake->events[session->event_at++];
		struct source_event event = {.kind = copy.kind,
			.mailbox = copy.kind == SOURCE_EVENT_MAILBOX ? copy.mailbox : NULL};
		bool concerns = !mailbox || (copy.kind == SOURCE_EVENT_MAILBOX &&
						    strcmp(copy.mailbox, mailbox) == 0);
		session->received += 30;
		if (concerns)
			tell_one(session, &event, fn, arg);
	}
}

static int refuse(struct source_session *session, const char *mailbox, struct source_error *error)
{
	struct fake_source *fake = session->fake;
	if (!fake->able_still)
		session->unable |= mailbox ? SOURCE_CAN_IDLE : SOURCE_CAN_NOTIFY;
	return fake_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_CAUSE_OTHER,
		mailbox ? fake->idle_err : fake->notify_err, "watch refused by the script");
}

/* Selects, as the real one does. */
static int begin(struct source_session *session, const char *mailbox, struct source_error *error)
{
	struct fake_source *fake = session->fake;
	unsigned able = fake->abilities & ~session->unable;
	fake->counts.misuse += !(able & (mailbox ? SOURCE_CAN_IDLE : SOURCE_CAN_NOTIFY));
	if (mailbox ? fake->idle_err : fake->notify_err)
		return refuse(session, mailbox, error);
	session->selected = mailbox ? fake_mailbox_named(fake, mailbox) : NULL;
	if (mailbox && !session->selected)
		return fake_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_CAUSE_MAILBOX, -ENOENT,
			"no such mailbox");
	note_watched(fake, mailbox ? mailbox : "*");
	return 0;
}

static int wait_for_news(struct source_session *session, const char *mailbox, int64_t until_ms,
	source_event_fn *fn, void *arg, struct source_error *error)
{
	struct fake_source *fake = session->fake;
	for (;;) {
		if (session->cancelled || is_lost(session))
			return fake_die(session, error);
		if (!fake->blackhole)
			tell_news(session, mailbox, fn, arg);
		if (session->poked || clock_now_ms() >= until_ms)
			break;
		if (session->event_at == fake->event_count || fake->blackhole)
			fake_wait_until(fake, until_ms);
	}
	session->poked = false;
	if (!fake->blackhole)
		return 0;
	if (!fake_wait_out(session))
		return fake_die(session, error);
	session->dead = true;
	return fake_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_CAUSE_CONNECT, -ETIMEDOUT,
		"connection timed out");
}

int fake_watch(struct source_session *session, const char *mailbox, int64_t until_ms,
	source_event_fn *fn, void *arg, struct source_error *error)
{
	struct fake_source *fake = session->fake;
	const char *name = mailbox ? mailbox : "*";
	pthread_mutex_lock(&fake->lock);
	bool continued = strcmp(session->watched, name) == 0;
	pthread_mutex_unlock(&fake->lock);
	int err = fake_enter(session, false, error);
	if (err < 0)
		return err;
	fake->counts.watches++;
	err = begin(session, mailbox, error);
	if (err < 0)
		return fake_leave(session, err);
	if (!continued)
		session->event_at = fake->event_count;
	struct source_event ready = {.kind = SOURCE_EVENT_READY, .continued = continued};
	tell_one(session, &ready, fn, arg);
	fake->watching++;
	pthread_cond_broadcast(&fake->changed);
	bool dies = fake->watch_deaths != 0;
	fake->watch_deaths -= fake->watch_deaths > 0;
	err = dies ? fake_die(session, error)
	           : wait_for_news(session, mailbox, until_ms, fn, arg, error);
	fake->watching--;
	if (err == 0)
		snprintf(session->watched, sizeof(session->watched), "%s", name);
	return fake_leave(session, err);
}

void fake_poke(struct source_session *session)
{
	struct fake_source *fake = session->fake;
	pthread_mutex_lock(&fake->lock);
	fake->counts.pokes++;
	session->poked = true;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
}

void fake_traffic(const struct source_session *session, uint64_t *ret_in, uint64_t *ret_out)
{
	pthread_mutex_lock(&session->fake->lock);
	*ret_in = session->received;
	*ret_out = 1;
	pthread_mutex_unlock(&session->fake->lock);
}

void fake_describe(const struct source_session *session, struct str *out)
{
	(void)session;
	str_append_cstr(out, "Fake 1.0\nIMAP4rev1 IDLE\n");
}

/* --- What a test does --- */

void fake_tell(struct fake_source *fake, enum source_event_kind kind, const char *mailbox)
{
	pthread_mutex_lock(&fake->lock);
	if (fake->event_count < FAKE_EVENTS) {
		struct fake_event *event = &fake->events[fake->event_count++];
		event->kind = kind;
		snprintf(event->mailbox, sizeof(event->mailbox), "%s", mailbox ? mailbox : "");
	}
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
}

void fake_deliver(
	struct fake_source *fake, struct fake_mailbox *mailbox, const char *data, uint64_t len)
{
	pthread_mutex_lock(&fake->lock);
	fake_message_add(mailbox, mailbox->uidnext, data, len);
	pthread_mutex_unlock(&fake->lock);
	fake_tell(fake, SOURCE_EVENT_MAILBOX, mailbox->name);
}

void fake_cut(struct fake_source *fake)
{
	pthread_mutex_lock(&fake->lock);
	fake->drop_sessions = true;
	fake->generation++;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
}
