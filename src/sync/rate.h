/* SPDX-License-Identifier: MIT */
/*
 * How fast the line is, and whether its sessions are to be deflated (COMPRESS=DEFLATE). The meter is pure: figures and time in, a verdict
 * out. The rest applies it to the account's sessions.
 */
#ifndef SYNC_RATE_H
#define SYNC_RATE_H

#include <stdbool.h>
#include <stdint.h>

#include "mailfs/sync.h"

struct source_error;
struct source_session;
struct sync_account;
struct worker;

/* --- The meter --- */

/*
 * Dovecot deflates 36 MB/s of mail on a core of its own, and 10 to 16 on one that is shared with others (measured). A line that is slower than
 * that gains: a third with attachments, half with text; a faster one loses, without a cap eight times. Where a server is slower still,
 * the meter finds out.
 */
#define RATE_DEFLATE_BYTES_S UINT64_C(12000000)

enum rate_verdict {
	RATE_UNKNOWN, /* sessions are left as they are, new ones are plain */
	RATE_PLAIN, /* new ones are plain; deflated ones are renewed before they are to carry much */
	RATE_DEFLATE,
};

/* Sums of the sessions that transfer; they only grow, unless a session ends. */
struct rate_totals {
	uint64_t wire_bytes, content_bytes, waited_us;
};

struct rate_meter {
	enum rate_verdict verdict;
	uint64_t line_bytes_s; /* what the line gave while it was the limit; 0: not known */
	uint64_t
		deflate_bytes_s; /* content that came deflated while the line had room; 0: that was never so */
	bool doubted;       /* it was found too low, and only plain sessions can show what it is */
	int64_t doubted_ms; /* when that was last so; 0: never */
	int64_t trip_ms; /* the shortest call, which is a round trip or little more; 0: none yet */
	int64_t from_ms; /* of the window that is open; 0: none is */
	struct rate_totals from;
};

/* Opens a window. */
void rate_meter_open(struct rate_meter *meter, int64_t now_ms, const struct rate_totals *totals);
/*
 * Looks whether the open window says something, and begins the next. longest_ms: since when the longest of the calls runs; last: none runs on, the
 * window ends in any case.
 */
void rate_meter_look(struct rate_meter *meter, int64_t now_ms, const struct rate_totals *totals,
	int64_t longest_ms, bool last);
/* A call that brought something took so long. */
void rate_meter_trip(struct rate_meter *meter, int64_t took_ms);
/* What was known counts no more. */
void rate_meter_forget(struct rate_meter *meter);
/* Takes what an earlier mount found; 0: nothing. */
void rate_meter_begin(struct rate_meter *meter, uint64_t line_bytes_s);

/* --- The account's (members of rate: account->lock) --- */

struct rate {
	struct rate_meter meter;
	enum sync_compress mode;
	bool refused;       /* the server announces it, and fails at it: not used in this mount */
	unsigned failures;  /* connections that were lost over it, in a row */
	int64_t put_off_ms; /* until then new sessions that have little time are left as they are */
	uint64_t kept_bytes_s; /* in the store */
};

/* What an earlier mount measured. Before the first session. Blocks: disk. */
void rate_load(struct sync_account *account);
/* Bytes per second on the wire; 0: not known. Takes the lock. Blocks: never. */
uint64_t rate_bytes_s(struct sync_account *account);
/* The network is another. Lock held. */
void rate_forget(struct sync_account *account);

/*
 * source.connect(), and compress() where that is known to be right; a server that fails at it is connected to once more, without. The
 * time-out is set. Blocks: network.
 */
int rate_connect(struct sync_account *account, int64_t deadline_ms, struct source_session **ret,
	struct source_error *error);
/* Between two calls: whether the worker's session is to be replaced by a plain one. Takes the lock. */
bool rate_renews(struct worker *worker);
/* Between two calls: deflates the worker's session if that is due. An error: it is lost. Blocks: network. */
int rate_tune(struct worker *worker, struct source_error *error);
/* A call of the worker's session begins, and has ended; that is what is measured. end() keeps what is new. Blocks: disk. */
void rate_call_begin(struct worker *worker);
void rate_call_end(struct worker *worker);
/*
 * For a call that goes on for long, now and then (as often as it likes): measures, and says whether it had better end soon, because the session is to be
 * deflated or renewed before the next. Takes the lock. Blocks: never.
 */
bool rate_due(struct worker *worker);
/* The worker's session was lost. Takes the lock. */
void rate_lost(struct worker *worker, const struct source_error *error);

#endif
