/* SPDX-License-Identifier: MIT */
/* What the files of the source in memory share. */
#ifndef FAKE_PRIVATE_H
#define FAKE_PRIVATE_H

#include "fake_source.h"

struct source_session {
	struct fake_source *fake;
	struct fake_mailbox *selected;
	uint32_t uidvalidity; /* of the mailbox when it was selected */
	uint32_t visible;     /* the highest UID that the session has heard of */
	unsigned generation;
	bool dead, cancelled, busy;

	int timeout_ms;
	bool poked;
	char watched[32]; /* by the last watch(), if no call came in between; "": nothing */
	size_t event_at;  /* the first event that it has not been told */
	uint64_t received;
	unsigned unable; /* enum source_ability that it has lost */
	bool deflated;   /* of test_compress.c, as the next */
	uint64_t waited_us;
};

/* Begins a call: takes the lock. A negative errno: the call is over, and the lock is not held. */
int fake_enter(struct source_session *session, bool needs_mailbox, struct source_error *error);
/* Ends it. */
int fake_leave(struct source_session *session, int err);
int fake_fail(struct source_error *error, enum source_scope scope, enum source_cause cause, int err,
	const char *text);
int fake_die(struct source_session *session, struct source_error *error);
/* Whether the connection is to be lost at this point. Lock held. */
bool fake_is_cut(struct fake_source *fake);
struct fake_mailbox *fake_mailbox_named(struct fake_source *fake, const char *name);

/* Tells what has changed since; lock held, but for the callbacks. fake_sync.c */
int fake_resync(struct source_session *session, const struct source_resync *resync,
	struct source_state *state, struct source_error *error);
int fake_changed(struct source_session *session, uint32_t first, uint32_t last, uint64_t modseq,
	source_row_fn *fn, void *arg, unsigned *ret_skipped, struct source_error *error);
int fake_uids(struct source_session *session, uint32_t first, uint32_t last, source_range_fn *fn,
	void *arg, struct source_error *error);
int fake_status(struct source_session *session, const char *mailbox, struct source_state *ret,
	struct source_error *error);
/* Waits for what never comes, until the time-out; false: cancelled. Lock held. */
bool fake_wait_out(struct source_session *session);
/* Waits until the time (monotonic) or until something changed. Lock held. */
void fake_wait_until(struct fake_source *fake, int64_t until_ms);
int fake_watch(struct source_session *session, const char *mailbox, int64_t until_ms,
	source_event_fn *fn, void *arg, struct source_error *error);
void fake_poke(struct source_session *session);
void fake_traffic(const struct source_session *session, uint64_t *ret_in, uint64_t *ret_out);
void fake_describe(const struct source_session *session, struct str *out);
/* Waits where the script says so; a negative errno: it fails. Lock held. */
int fake_connect_wait(struct fake_source *fake, int64_t deadline_ms, struct source_error *error);
int fake_bulk(struct source_session *session, const struct source_bulk *calls,
	struct source_error *error);
unsigned fake_abilities(const struct source_session *session);
struct source_state fake_state(const struct fake_mailbox *mailbox);

#endif
