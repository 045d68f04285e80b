/* SPDX-License-Identifier: MIT */
/*
 * The parts of an account that concern its connection as a whole: whether there is one (link.c), who watches for changes (watch.c), and which
 * folders there are (roster.c). Members are guarded by account->lock where nothing else is said.
 */
#ifndef SYNC_LINK_H
#define SYNC_LINK_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "mailfs/sync.h"

struct job;
struct linkwatch;
struct sync_account;
struct sync_folder;
struct worker;

/* --- Whether there is a connection (link.c) --- */

struct link {
	enum sync_link state;
	int64_t since_s;
	bool attempting;  /* somebody tries; all others wait for how it ends */
	unsigned waiting; /* so many */
	bool kicked;      /* the thread is to try at once */
	bool encouraged; /* while somebody tried, something changed that may help: try once more at once */
	unsigned failures; /* attempts since it was last ONLINE */
	int64_t retry_ms;  /* when the thread tries next; CLOCK_NEVER: it does not */
	int64_t check_ms; /* when sessions that gave no sign of life since they were asked are cut; CLOCK_NEVER */
	struct source_error error;    /* why it is not ONLINE; err is for file operations */
	unsigned sessions;            /* that are connected */
	struct source_session *spare; /* connected by the thread for one of those who wait */
	unsigned abilities;           /* as told to the last session */
	char *description;            /* likewise; NULL: never connected in this mount */
	uint64_t reconnects;
	uint64_t bytes_in, bytes_out; /* of sessions that have ended */
	pthread_cond_t changed;       /* any of this, or what the watchers wait for */

	int pace_ms;           /* between the first two attempts */
	int sign_ms;           /* how long a session that may be dead has for a sign of life */
	int wake_fd;           /* wakes the thread */
	struct linkwatch *net; /* its thread's; NULL: the kernel does not tell */
	pthread_t thread;
	bool started; /* of the starting thread */
};

int link_init(struct link *link);
void link_finish(struct link *link);
/* Starts the thread. state OFFLINE: attempts begin soon. */
int link_start(struct sync_account *account);
/* Ends it; account->stopping is set. Blocks: until an attempt that runs has ended. */
void link_stop(struct sync_account *account);
/* Makes the thread look at what is due. Lock held or not. Blocks: never. */
void link_wake(struct sync_account *account);
/*
 * A new session, with the account's time-out set. While OFFLINE it fails at once; while CONNECTING one caller tries, and the others wait for that. A failure
 * that leaves the account without a connection makes it OFFLINE, and fails all that is queued. error->err is for file operations.
 * link_ended() for every session. Blocks: network.
 */
int link_connect(
	struct sync_account *account, struct source_session **ret, struct source_error *error);
/* Ends a session and counts its traffic. Blocks: network, when polite. */
void link_disconnect(struct sync_account *account, struct source_session *session, bool polite);
/* A session of which link_connect() did not know: the first one. */
void link_began(struct sync_account *account, struct source_session *session);
/* The account starts without the server. */
void link_begin_offline(struct sync_account *account, const struct source_error *error);
/* A session was lost, and has been ended. again: the caller calls link_connect() at once; false: the thread tries. No lock. */
void link_lost(struct sync_account *account, const struct source_error *error, bool again);
/* Whether what needs the server fails at once. Takes the lock. */
bool link_is_offline(struct sync_account *account);
/* What a session has moved; 0 where the source does not tell. */
void link_traffic(const struct sync_account *account, const struct source_session *session,
	uint64_t *ret_in, uint64_t *ret_out);

/* --- Who watches (watch.c) --- */

#define WATCHERS_MAX 2

struct watcher {
	struct sync_account *account;
	unsigned index;
	pthread_t thread;
	bool started;                   /* of the starting thread */
	struct source_session *session; /* written by its thread, under the lock */
	struct sync_folder *target;     /* what watch() was called for; NULL: all, or nothing */
	bool inside;                    /* watch() runs */
	bool poked, cut, ended;
	bool asked;    /* for a sign of life */
	uint64_t mark; /* bytes received when that was */
	int64_t rest_until_ms;
	int64_t moved_ms;  /* own: when it began to watch what it watches */
	unsigned failures; /* own: connections lost soon after they were made */
	unsigned refusals; /* own: watches refused in a row */
	unsigned denials;  /* own: connections refused in a row */
	unsigned hasty;    /* watches in a row that ended for no reason */
};

struct watch {
	struct watcher watchers[WATCHERS_MAX];
	int watchdog_ms;
	int move_ms; /* walking through folders does not drag the watch along at every step: it stays so long at least */
	enum sync_push push; /* how changes are heard of, as planned */
	unsigned slots;      /* connections that are not the workers' */
	bool notify_refused, idle_refused;
	int64_t yielded_until_ms; /* the server grants too few connections for a watch */
	unsigned given_up;        /* connections that were, for want of them */
	bool all;                 /* a watch of all folders is on */
	int64_t began_ms;         /* since then, without a gap */
	int64_t renew_ms; /* when it is to be begun anew, for folders that have come since; CLOCK_NEVER */
	struct sync_folder *used, *used_other; /* the folder last used; that is not INBOX */
	int64_t polled_ms;
};

/* What the server can do is known, or has changed: who watches, and how. Lock held. */
void watch_plan(struct sync_account *account);
int watch_start(struct sync_account *account);
/* Makes the watchers return; account->stopping is set. */
void watch_interrupt(struct sync_account *account);
/* Joins them. */
void watch_stop(struct sync_account *account);
/* The workers can not have a connection, and only watchers have: these give theirs up for a while. Lock held. */
void watch_yield(struct sync_account *account);
/* A folder has come that the watch of all may not know. Lock held. */
void watch_arrived(struct sync_folder *folder);
/* Whether a watch may tell of it: it is there, and holds messages. Lock held. */
bool watch_covers(const struct sync_folder *folder);

/* --- poll.c --- */

/* A listing failed: what is left to be looked at is looked at again soon. Lock held. */
void watch_retry(struct sync_account *account);
/* Lists what is in use and not watched, or was not looked at to the end. Lock held. */
void poll_folders(struct sync_account *account, int64_t now, int64_t interval);
/* Milliseconds between that, and between looks at the list of folders. Lock held. */
int64_t poll_interval(const struct sync_account *account);
int64_t survey_interval(const struct sync_account *account);
/* What they rested for may be over: there was no connection, and now there is. Lock held. */
void watch_hasten(struct sync_account *account);
/* Somebody asked for the folder. Lock held. */
void watch_used(struct sync_folder *folder);
/* As workers_suspect() and workers_cut(). Lock held. */
void watch_suspect(struct sync_account *account);
void watch_cut(struct sync_account *account);
/* Does what is due by time; when to be called next (monotonic). No lock. Blocks: never. */
int64_t watch_tick(struct sync_account *account);

/* --- Which folders there are (roster.c) --- */

struct roster_job;

struct roster {
	struct roster_job *job;
	bool wanted;         /* a survey, as soon as it can be told of */
	int64_t asked_ms;    /* when the last survey began */
	int64_t surveyed_ms; /* when the last one that succeeded began; -1: none in this mount */
	int64_t due_ms;      /* when one is to be done at the latest; CLOCK_NEVER */
	int64_t patient_ms; /* until when one waits for a worker that is connected; CLOCK_NEVER: none waits */
	struct list_node waiters;
	bool full; /* the last survey found more names than an account may have in its life */
	size_t places; /* survey: directories that were ever made for folders, about; none goes while the account lives */
};

int roster_init(struct sync_account *account);
void roster_finish(struct sync_account *account);
/*
 * In the thread that starts the account, before it has workers: asks the server for the folders through the worker, and makes them. Folders that were
 * renamed or deleted since the last mount are followed in the store. Blocks: network, disk.
 */
int roster_begin(struct sync_account *account, struct worker *worker, struct source_error *error);
/* Makes them from the store. -ENOENT: it knows none. Blocks: disk. */
int roster_restore(struct sync_account *account, struct source_error *error);
/* The list of folders is to be looked at. Lock held. */
void roster_request(struct sync_account *account);
/* Reads what is stored of a folder that is new. Blocks: disk. */
int roster_load_folder(struct sync_folder *folder);
/* A survey has waited long enough for a worker that is connected: any will do. Lock held. */
void roster_hurry(struct sync_account *account);
/* The mailbox of that name, as on the wire; NULL. Lock held. */
struct sync_folder *roster_find(struct sync_account *account, const char *name);

#endif
