/* SPDX-License-Identifier: MIT */
/* What the tests of watching share: what was told, as text, and a watch that is ended after so many events. */
#ifndef MAILFS_TEST_IMAP_WATCHER_H
#define MAILFS_TEST_IMAP_WATCHER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "mailfs/util/clock.h"
#include "session.h"

#define LONG_MS 8000 /* of a watch that is ended in another way */

struct watcher {
	struct peer peer;
	struct str told;
	unsigned count;   /* events */
	unsigned poke_at; /* the watch is poked when so many were told; 0: never */
	bool cancel;      /* or cancelled */
};

static inline void note_event(void *arg, const struct source_event *event)
{
	struct watcher *watcher = arg;
	static const char *const kinds[] = {"ready", "mailbox", "list", "lost"};
	assert_true((event->kind == SOURCE_EVENT_MAILBOX) == (event->mailbox != NULL));
	if (watcher->told.len < 1000)
		str_printf(&watcher->told, "%s%s%s%s ", kinds[event->kind],
			event->mailbox ? ":" : "", event->mailbox ? event->mailbox : "",
			event->continued ? "+" : "");
	if (++watcher->count != watcher->poke_at)
		return;
	if (watcher->cancel)
		watcher->peer.source->ops->cancel(watcher->peer.session);
	else
		watcher->peer.source->ops->poke(watcher->peer.session);
}

static inline void watcher_begin(
	struct watcher *watcher, unsigned poke_at, const char *const *steps)
{
	*watcher = (struct watcher){.poke_at = poke_at};
	session_begin(&watcher->peer, steps);
}

static inline void watcher_finish(struct watcher *watcher)
{
	str_finish(&watcher->told);
	peer_finish(&watcher->peer);
}

static inline int watch(struct watcher *watcher, const char *mailbox, int ms)
{
	struct peer *peer = &watcher->peer;
	return peer->source->ops->watch(
		peer->session, mailbox, clock_now_ms() + ms, note_event, watcher, &peer->error);
}

/* One watch that is poked after so many events. */
static inline void expect(
	unsigned poke_at, const char *mailbox, const char *const *steps, const char *want)
{
	struct watcher watcher;
	watcher_begin(&watcher, poke_at, steps);
	int64_t start = clock_now_ms();
	if (watch(&watcher, mailbox, LONG_MS) < 0)
		fail_msg("watch: %s", watcher.peer.error.text);
	assert_string_equal(str_cstr(&watcher.told), want);
	assert_true(clock_now_ms() - start < LONG_MS / 2);
	watcher_finish(&watcher);
}

static inline void expect_fail(unsigned poke_at, const char *mailbox, const char *const *steps,
	int err, enum source_scope scope, unsigned abilities)
{
	struct watcher watcher;
	watcher_begin(&watcher, poke_at, steps);
	/* Short only where it is to pass: a busy machine may take as long for an answer. */
	if (err == -ETIMEDOUT)
		watcher.peer.source->ops->set_timeout(watcher.peer.session, 150);
	int r = watch(&watcher, mailbox, LONG_MS);
	if (r != err || watcher.peer.error.scope != scope || watcher.peer.error.err != err)
		fail_msg("%d, scope %d: %s", r, watcher.peer.error.scope, watcher.peer.error.text);
	if (scope == SOURCE_SCOPE_MAILBOX)
		assert_int_equal(
			watcher.peer.source->ops->abilities(watcher.peer.session), abilities);
	watcher_finish(&watcher);
}

#endif
