/* SPDX-License-Identifier: MIT */
/*
 * The intake of a maildrop, between its files:
 *
 *   drop.c      when to look, and what is said about it
 *   look.c      one look: connections, and what is done on each in which order
 *   intake.c    what arrives, message by message; the sink of retrieve()
 *   commit.c    makes it durable, in groups, on a thread of its own
 *   pause.c     waits
 *   sweep.c     what is deleted on the server
 *   plan.c      what a listing means
 *
 * A look belongs to one thread, but for what its committer is handed. "lock" marks what account->lock guards.
 */
#ifndef SYNC_INTAKE_H
#define SYNC_INTAKE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "drop.h"
#include "plan.h"

/* What waits for the disk: so many messages, or so many bytes; as much again is being written. */
#define COMMIT_FILES_MAX 256
#define COMMIT_BYTES_MAX (UINT64_C(8) << 20)
/* So much is kept of each field of a header that is wanted. */
#define FIELD_BYTES_MAX (64 << 10)
/* Messages over which connections broke, since a look went well. */
#define STUCK_MAX 16
#define WORDS_MAX 256
/* So many connections may break over headers alone; then whole messages are fetched instead, in this look. */
#define HEADER_TRIES 2

/* A message that was received, on its way to the disk. */
struct arrival {
	struct list_node node;
	struct store_spool_item item;
	struct str fields;    /* of the header, for the row */
	struct str structure; /* serialised; empty: none */
	size_t entry;
	uint64_t bytes; /* of memory and file */
};
void arrival_destroy(struct arrival *arrival);

struct look;

struct committer {
	struct look *look;
	pthread_t thread;
	bool started;
	struct list_node waiting; /* lock: arrivals */
	size_t files;             /* lock: how many */
	uint64_t bytes;           /* lock: of them */
	bool ending;              /* lock: no more will come */
	int err;                  /* lock: nothing more is taken */
};

/* Starts the thread. */
int committer_start(struct committer *committer, struct look *look);
/* Hands it over; it is the committer's, also when that fails. Waits while too much is waiting. The error of what was handed over before. */
int committer_push(struct committer *committer, struct arrival *arrival);
/* Waits until all is durable, and ends the thread. 0, or the error of the store. A second call does nothing. */
int committer_finish(struct committer *committer);

/* What became of a look. */
struct look_report {
	bool listed;       /* the server gave its list, at least once */
	uint64_t total;    /* messages in it */
	uint64_t stored;   /* lock: new here */
	uint64_t missing;  /* on the server, and not here at the end */
	uint64_t unlisted; /* of those: the server says that it has so many more than it lists */
	uint64_t refused;  /* of those: the server refuses them */
	char refused_words[WORDS_MAX];
	bool unswept; /* something that should have been deleted was not: */
	char unswept_words[WORDS_MAX];
	unsigned login_delay_s;
};

struct wanted {
	uint32_t uid;
	uint32_t entry;
};
/* By uid; for qsort and bsearch. */
int wanted_compare(const void *left, const void *right);

/* The turn of a message over which a connection broke: the last. */
#define TURN_STUCK 2

/* One look. What is of one connection is reset for the next. */
struct look {
	struct sync_account *account;
	struct drop *drop;
	bool first; /* its progress is told */
	struct look_report report;
	int store_err;           /* the store failed: the look ends */
	unsigned headers_failed; /* connections that broke over headers */
	uint64_t settled;        /* messages that turned out to be here already */
	uint64_t bytes_done;     /* of messages that have ended */
	uint64_t messages_total, bytes_total;
	int64_t told_ms; /* when progress was told */

	struct maildrop_session *session;
	struct maildrop_abilities abilities;
	struct maildrop_listing listing;
	struct plan plan;
	struct wanted *wanted; /* those whose number is known, by it */
	size_t wanted_count;
	uint32_t *asked; /* entries, in the order in which they were asked for */
	size_t asked_count, ended_count;
	uint32_t *
		again; /* entries that were doubted, in that order; the first again_taken were asked for again */
	size_t again_count, again_taken;
	unsigned turn; /* where next() goes on */
	size_t at;
	struct committer committer;

	/* The message that is being received. */
	struct arrival *arrival;
	struct mime_walker *walker;
	struct mime_fields fields; /* of its header */
	uint64_t received;         /* bytes of it */
};

/* --- intake.c --- */

/* Headers of all probes; some then count as here. */
int take_headers(struct look *look, struct source_error *error);
/* All that is to be fetched; 0: durable, but for what the server refused. look->store_err when it is the store that fails. */
int take_messages(struct look *look, struct source_error *error);
/* Tells the first look's progress, if it is time or done. */
void progress_tell(struct look *look, bool done);

/* --- look.c --- */

/* Looks at the server. report is filled in any case. Blocks: network, disk. */
int look_run(
	struct intake *intake, bool first, struct look_report *report, struct source_error *error);
/*
 * The store failed, or memory ran out: remembers it, so that the look ends without another attempt. Fills error, unless it is
 * NULL; returns err.
 */
int look_store_failed(struct look *look, int err, struct source_error *error);
/* A connection broke over this message: it comes last from now on. */
void look_stuck(struct look *look, size_t index);
/* A record that was stored then or earlier is due to be deleted on the server; INT64_MIN: none is. */
int64_t look_due_s(const struct look *look);

/* --- sweep.c --- */

/* Deletes what may be deleted, and ends the session with QUIT. What goes wrong is in the report; the messages are here. */
void sweep(struct look *look);

/* --- drop.c --- */

/* One complaint is made once, until it changes or its cause is over. */
struct complaint {
	char text[600];
};

struct intake {
	struct drop *drop;
	pthread_cond_t changed;           /* of what is marked lock, here and in a committer */
	bool stopping;                    /* lock */
	struct maildrop_session *session; /* lock: to be cancelled */
	bool listed, ended;               /* lock: the first look has listed; it has ended */
	pthread_t thread;
	bool thread_started;
	bool had_before; /* messages, or a whole look, of an earlier run */
	unsigned login_delay_s;
	uint64_t stuck[STUCK_MAX]; /* look_stuck_key() of each */
	size_t stuck_count;
	struct complaint failed, unlisted, refused, unswept;
	/* Of the first look, when it ran on the thread. */
	int first_err;                   /* lock */
	struct source_error first_error; /* lock */
};

/* Waits so long; true: the account stops. */
bool intake_pause(struct intake *intake, int64_t ms);
/* The session that intake_stop() cancels, NULL: none. false: it stops already. */
bool intake_use_session(struct intake *intake, struct maildrop_session *session);
/* The first look knows what is there. */
void intake_listed(struct intake *intake);

#endif
