/* SPDX-License-Identifier: MIT */
/*
 * What the files of sync share.
 *
 * Locks: there is one, account->lock. It guards the job queues and which worker has which job, the pointers to
 * sessions (so that stop() can cancel one that its worker is using), every list of waiters, the members of
 * folders and bodies that are marked "lock", and the table of bodies. It is a leaf: nothing is called under it
 * that takes another lock, touches the disk or the network, or belongs to the tree; source cancel(), poke() and
 * traffic(), which never block, are the exceptions. What is marked "job" is touched only by the one worker that runs the job
 * it belongs to. What is not marked does not change after it was made.
 *
 * Threads: each worker runs one job at a time and is the only one to use its session; so is each watcher (watch.c) of
 * its own; the reaper wakes waiters whose deadline has passed; the link's thread (link.c) brings a lost connection back, hears of changes of
 * the network, and sees to what is due. Waiters and events are called by all of them with no lock held.
 */
#ifndef SYNC_PRIVATE_H
#define SYNC_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "link.h"
#include "mailfs/sync.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/list.h"
#include "rate.h"
#include "uidranges.h"
#include "walk.h"

#define SYNC_CONNECTIONS_MAX 16
/* A folder that was asked for less than this ago is one that somebody looks at. */
#define SYNC_RECENT_MS    (10 * 60 * 1000)
#define SYNC_BODY_BUCKETS 1024

struct worker;

/* --- Jobs (worker.c) --- */

/*
 * Somebody is blocked on a few bytes; a whole listing is to be fetched; a reader who walks a folder will want it next; nobody waits for it
 * (pins).
 */
enum job_class { JOB_DEMAND, JOB_BULK, JOB_AHEAD, JOB_BACKGROUND, JOB_CLASSES };

/* Something for a worker to do; a member of what it is done for, which it keeps alive while busy. */
struct job {
	struct list_node node; /* lock */
	enum job_class class;
	struct sync_folder *folder;
	/*
	 * Does it and clears busy; the job may be gone afterwards. -EAGAIN: this worker can not get a
	 * connection but others have one, or the job gives way to others: still busy, it is queued again, as the first of
	 * its class, and goes on from where it was.
	 */
	int (*run)(struct job *job, struct worker *worker);
	/* It will not be done: fails whom it concerns and clears busy. */
	void (*fail)(struct job *job, int err);
	bool busy;  /* lock: queued or running */
	bool bound; /* a worker that is not connected takes it, too: it may need no connection, or is there to make one */
	bool patient; /* lock: it waits for a worker that is connected, as long as there is one; so does all of the background */
};

struct worker {
	struct sync_account *account;
	pthread_t thread;
	pthread_cond_t wakeup;
	bool started;
	struct job *job;      /* lock; NULL: idle */
	enum job_class class; /* lock: of the job */
	/* Written by its thread, under the lock; NULL: not connected. */
	struct source_session *session;
	struct sync_folder *selected; /* lock, as session */
	bool cancelled;               /* lock: the session was cancelled by stop() */
	int64_t resting_until_ms;     /* lock: the server refused one more connection */
	bool unreachable;             /* job: the last attempt to connect failed */
	uint32_t uidvalidity;         /* job: of what is selected */
	int64_t used_ms;              /* job: when the session last answered */
	bool suspect;    /* lock: idle, and its session may be dead: no job before it was tried */
	bool testing;    /* lock: that runs */
	bool connecting; /* lock: without a job, for the first of those who are blocked */
	bool cut;        /* lock: the session was cancelled because it gave no sign of life */
	bool watched;    /* lock: busy; if nothing comes until link.check_ms it is cut */
	uint64_t mark;   /* lock: bytes received when that began */
	int64_t call_ms; /* lock: since when a call of its session runs; 0: none does (rate.c) */
	uint64_t call_bytes; /* lock: received when that began */
	bool carries;        /* lock: the last call brought much */
	/*
	 * Waiters of its own thread, taken and to be woken. They are woken when the worker is free again, or
	 * before the job goes on: what they ask for next then finds the worker that suits them, not one that
	 * has to connect.
	 */
	struct list_node done;
};

/* Puts a job that is not busy into its queue and sets busy. Lock held. */
void job_queue(struct sync_account *account, struct job *job);
/* Whether it waits in the queue of its class: one that was taken out to be failed does not. Lock held. */
bool job_is_queued(struct sync_account *account, const struct job *job);
/* As above for a job that may be busy: one that is queued or runs in a lower class is raised to this one. Lock held. */
void job_want(struct sync_account *account, struct job *job, enum job_class class);
/* Moves all queued jobs to list; those of the background only if the account stops. Lock held. */
void job_take_all(struct sync_account *account, struct list_node *list);
/*
 * For what is fetched ahead of readers: a listing waits, or somebody who is blocked, for whom there is no other worker. It then gives its own free by
 * returning -EAGAIN, and goes on when it is called again. One that is ahead of readers goes on while there are several, because it serves those who
 * are blocked too. No lock.
 */
bool job_is_too_far_ahead(const struct worker *worker);
/* Hands out what waits, after something has changed that it waited for. Lock held. */
void job_dispatch(struct sync_account *account);
/* Fails jobs that were taken. No lock. */
void job_fail_all(struct list_node *list, int err);
int workers_start(struct sync_account *account);
/* Gives a new session to a worker that is idle and has none; false: there is no such. Lock held. */
bool workers_adopt(struct sync_account *account, struct source_session *session);
/*
 * Sessions may be dead: idle ones are tried, busy ones are marked, to be cut by workers_cut() if nothing has come by then.
 * Lock held.
 */
void workers_suspect(struct sync_account *account);
void workers_cut(struct sync_account *account);
/* Cancels what runs, fails what is queued, joins. account->stopping is set. */
void workers_stop(struct sync_account *account);

/* --- Sessions (session.c) --- */

typedef int session_fn(struct worker *worker, void *arg, struct source_error *error);

/*
 * Who wants to hear with the SELECT what has changed: begin() is called before each attempt, on the worker's session, forgets what an attempt
 * before has told, and gives what is known; NULL: nothing is, or the session can not (SOURCE_CAN_QRESYNC).
 */
struct session_resync {
	const struct source_resync *(*begin)(struct session_resync *resync, struct worker *worker);
};
/* Selects the folder anew, whatever was selected before. resync NULL: a plain SELECT. Retried once on a new connection. Blocks: network. */
int session_select(struct worker *worker, struct sync_folder *folder, struct session_resync *resync,
	struct source_state *ret, struct source_error *error);
/*
 * Calls fn with the folder selected under uidvalidity; once more on a new connection when the connection was
 * lost, and once more after a new SELECT when a message is said not to exist, because a session may not have
 * heard of new messages yet. The errno for a file operation; -EAGAIN as job.run says. Another UIDVALIDITY:
 * -EIO, and the folder is stale. Blocks: network.
 */
int session_call(struct worker *worker, struct sync_folder *folder, uint32_t uidvalidity,
	session_fn *fn, void *arg, struct source_error *error);
/* The same for what may take minutes: once more after each loss before which *progress, which fn counts up, has grown by much. */
int session_call_long(struct worker *worker, struct sync_folder *folder, uint32_t uidvalidity,
	session_fn *fn, void *arg, const uint64_t *progress, struct source_error *error);
/* As session_call(), of the account as a whole: nothing is selected for it. Blocks: network. */
int session_ask(struct worker *worker, session_fn *fn, void *arg, struct source_error *error);
/* Gives a session that was connected by the thread that starts the account to a worker. */
void session_give(struct worker *worker, struct source_session *session);
/* Connects if need be. What it returns is final: no further attempt helps this job. */
int session_connect(struct worker *worker, struct source_error *error);
/* Ends the session if there is one. Blocks: network, when polite. */
void session_drop(struct worker *worker, bool polite);
/* Fills error and returns err. */
int session_fail(struct source_error *error, enum source_scope scope, int err, const char *format,
	...) __attribute__((format(printf, 4, 5)));

/* --- Waiters (waiter.c) --- */

/* Registers waiter in list until it is taken, cancelled or its deadline passes. Lock held. */
void waiter_add(struct sync_account *account, struct list_node *list, struct sync_waiter *waiter);
/* Takes a waiter out; it is to be woken with result. Lock held. */
void waiter_take(struct sync_waiter *waiter, ssize_t result, struct list_node *done);
void waiter_take_all(struct list_node *list, ssize_t result, struct list_node *done);
/* Wakes those that were taken. No lock. */
void waiter_wake_all(struct list_node *done);
int reaper_start(struct sync_account *account);
void reaper_join(struct sync_account *account);

/* --- Account (account.c) and folders (folder.c) --- */

/* What LIST says of a mailbox; once made it does not change. */
struct folder_attributes {
	struct source_mailbox mailbox;
	char *special_use;                /* what mailbox points to */
	struct folder_attributes *former; /* another that it has said */
};

/* What of a folder is pinned and not here yet, and the run that fetches it (pin.c). */
struct pins {
	bool running; /* lock: a run goes from message to message; what is marked "run" is its own */
	bool again;   /* lock: there may be more to fetch than the run has seen */
	uint64_t messages, messages_done, bytes, bytes_done; /* lock: to be fetched; fetched */
	struct store_mailbox
		looked;      /* lock: the folder, when a run last found nothing or ended whole */
	uint32_t uid;        /* lock: which message is being fetched; 0: none */
	uint32_t number;     /* run: the folder's */
	uint64_t size_bytes; /* run: of uid, as listed */
	bool failed;         /* run: something could not be fetched */
	enum { PINS_NONE, PINS_STRUCTURE, PINS_BODY } step; /* run: what was asked for last */
	struct sync_body *body;                             /* run: of uid; NULL: not open */
	struct sync_waiter waiter; /* run: for the structure, then the body */
};

/* Until the tree has it nobody hears of its rows: it is not listed before. */
enum folder_arrival {
	FOLDER_HERE,
	FOLDER_ARRIVING,
	FOLDER_AWAITED, /* and somebody wants a listing */
};

struct sync_folder {
	struct sync_account *account;
	/* As LIST gave it last; never freed before the folder: others read it without a lock. */
	_Atomic(struct folder_attributes *) attributes;
	struct folder_attributes *said; /* job (survey): all that LIST gave, of which that is one */
	char *name;
	uint32_t directory_number;
	_Atomic(void *) data;

	struct store_mailbox state; /* lock */
	enum sync_listing listing;  /* lock */
	int listing_err;            /* lock */
	uint64_t seen;              /* lock: counts announcements */
	int64_t checked_ms; /* lock: when the listing was last known to be current; -1: never in this mount */
	bool stale; /* lock: something showed that the listing is not current */
	bool touched; /* lock: a message was found gone outside of a listing, changed_s did not move yet */
	bool time_told; /* lock: somebody was given state.changed_s as it is now */
	struct list_node refreshers, watchers; /* lock: waiters */
	struct job listing_job;
	uint32_t announced; /* job (listing): the folder number whose rows the tree has seen */
	/* job (listing): what the server said at the last run that was not believed, EXISTS and how many it listed; 0: it was. */
	uint32_t doubted_messages;
	size_t doubted_listed;
	uint32_t
		excess; /* job (listing): so many more than it listed it said that there are, and was believed; 0: none */
	struct uid_ranges
		ghosts; /* job (listing): what FETCH does not list, and SEARCH does; noted when others were gone */
	int64_t used_ms;             /* lock: when somebody last asked for the listing; 0: never */
	bool gone;                   /* lock: the server has it no more */
	enum folder_arrival arrival; /* lock */
	unsigned
		missed; /* job (survey): LIST left it out, or said that it holds no messages, so many times in a row, and the server did not say why */
	bool disowned; /* job (survey): LIST says that it holds no messages, which is not believed */
	bool dirty;    /* lock: a watch said that it changed, since the listing job last began */
	int64_t watched_ms; /* lock: since when a watch tells of every change of it; -1: none does */

	struct list_node structure_waiters; /* lock */
	struct job structure_job;
	uint32_t walk_uid; /* lock: the message whose structure was asked for last, and when */
	int64_t walk_ms;   /* lock */
	bool walking;      /* lock: somebody goes from message to message */
	struct pins pins;
	atomic_uint uid_gap; /* how far apart its UIDs are, about; 0: not looked at yet */
};

struct drop;

/* What is fetched ahead of readers (ahead.c). */
struct ahead {
	struct walk walk; /* lock */
	struct list_node
		streams; /* lock: large bodies of which more is wanted, each with a reference */
	struct job jobs[SYNC_CONNECTIONS_MAX]; /* lock */
	struct job spare;                      /* has a connection ready for who comes next */
	int64_t spare_ms;                      /* lock: when that was last tried; 0: never */
	/* Held while a set is made, across the disk; account->lock is taken under it, and the store's. */
	pthread_mutex_t making;
};

struct sync_account {
	struct source *source;
	struct store *store;
	char *name;
	bool readonly;
	unsigned connections;
	int timeout_ms;
	int refresh_ms;
	struct sync_events events;
	struct drop *drop;             /* NULL: a mailbox account */
	atomic_bool ranges_distrusted; /* the server's partial FETCH gives other bytes */
	struct sync_folder **folders;  /* lock, as the next two; an entry does not change */
	size_t folder_count, folder_cap;
	bool offline_allowed;
	struct link link;
	struct watch watch;
	struct roster roster;
	struct rate rate; /* lock */

	pthread_mutex_t lock;
	bool started, stopping;               /* lock */
	struct source_quota quota;            /* lock */
	struct list_node queues[JOB_CLASSES]; /* lock */
	struct worker workers[SYNC_CONNECTIONS_MAX];

	struct list_node waiters; /* lock: all of them, by `order`, the nearest deadline first */
	pthread_cond_t reaper_wakeup;
	pthread_t reaper;
	bool reaper_started;

	struct list_node bodies[SYNC_BODY_BUCKETS]; /* lock */
	pthread_cond_t bodies_changed;              /* a body's file was opened or closed */
	int64_t unkept_ms; /* lock: when it was last said that bodies are not kept; 0: never */

	struct job pins_job;             /* looks for folders in which something is pinned */
	size_t pins_at;                  /* lock: the folder that comes next */
	bool pins_full_told;             /* lock: that what is pinned does not fit */
	struct sync_waiter pins_waiter;  /* for the listing of one of them */
	bool pins_waiting;               /* lock: it is used */
	struct sync_folder *pins_folder; /* while it is: which one */
	uint64_t sizes_wrong[2]; /* lock: messages whose announced size was wrong: message_id() */
	unsigned sizes_wrong_count;   /* lock */
	atomic_bool sizes_distrusted; /* it is 2 */
	struct ahead ahead;
	struct mime_kept structure; /* located; of a message_id() */
};

/* One name for a message among all. number: of its folder in the store. */
static inline uint64_t message_id(uint32_t number, uint32_t uid)
{
	return (uint64_t)number << 32 | uid;
}

/* ahead.c */
void ahead_init(struct sync_account *account);
void ahead_finish(struct sync_account *account);
/* Gives back what it holds of bodies; the workers have ended. */
void ahead_forget(struct sync_account *account);

bool account_stopping(struct sync_account *account);
/* The events as they were set; all NULL before. No lock. */
struct sync_events account_events(struct sync_account *account);
/* A failure that is not the server's: the store's, or memory. */
int account_failed(struct source_error *error, int err, const char *what);
int folder_create(struct sync_account *account, const struct source_mailbox *mailbox,
	struct sync_folder **ret);
void folder_destroy(struct sync_folder *folder);
/* The number and UIDVALIDITY that the folder has now. */
void folder_identity(struct sync_folder *folder, uint32_t *ret_number, uint32_t *ret_uidvalidity);
/* The listing is to be looked at again by the next refresh. */
void folder_mark_stale(struct sync_folder *folder);
/* The tree has heard of it. No lock. */
void folder_placed(struct sync_folder *folder);
/* Starts the listing job if it does not run. Lock held. */
void folder_start_listing(struct sync_folder *folder);
/* As above, where nobody waits for it: not worth a connection of its own. Lock held. */
void folder_poll(struct sync_folder *folder);
/*
 * The server gave nothing for a message: asks whether it lists it. -ENOENT: it does not, and the message is forgotten, if
 * number is still the folder's. -EIO: it does; of a maildrop always: nothing of it is ever forgotten. Else as session_call().
 * Blocks: network, disk.
 */
int folder_message_missing(struct sync_folder *folder, struct worker *worker, uint32_t number,
	uint32_t uidvalidity, uint32_t uid);

/*
 * The watch heard that something changed in the folder: its listing job is started if it was ever shown in this mount or is
 * pinned, and runs once more if it runs already. Any thread, no lock. folder.c
 */
void folder_news(struct sync_folder *folder);
/* As above, of all folders that were shown. Those that nobody looks at are marked only; all: started too. Lock held. */
void folders_news(struct sync_account *account, bool all);
/* After a listing has cleared busy: what was heard since it began starts it once more. Lock held. */
void folder_listing_ended(struct sync_folder *folder, int err);
/* Nothing more can be had of it: fails who waits with -ENOENT. No lock. */
void folder_bury(struct sync_folder *folder);
/*
 * One that is gone is there again, as fresh, which stays the caller's, was made and loaded. -EBUSY: somebody still has to do with what it was. No lock; one
 * thread at a time.
 */
int folder_revive(struct sync_folder *folder, const struct sync_folder *fresh);
/*
 * Takes over what LIST says now; true: that is something else than before. What is new after a number of changes is not taken over: each is kept.
 * -ENOMEM. No lock; one thread at a time.
 */
int folder_describe(struct sync_folder *folder, const struct source_mailbox *mailbox);
/* Whether it was announced in this mount, if only in part. Lock held. */
bool folder_is_shown(const struct sync_folder *folder);
bool folder_is_inbox(const struct sync_folder *folder);
/*
 * After each listing that succeeded, on the listing's worker with no lock held: what is pinned in the folder and not here is downloaded in the
 * background. Blocks: disk. pin.c
 */
void pins_folder_listed(struct sync_folder *folder);
/* How far that is, of all folders. Any thread, no lock. pin.c */
void pins_progress(struct sync_account *account, struct sync_progress *ret);
/* What earlier mounts found out about sizes. Before the workers start. Blocks: disk. sizes.c */
void sizes_load(struct sync_account *account);
/* An announced size was wrong; the second message of which that is said makes sizes distrusted. Blocks: disk. sizes.c */
void sizes_wrong(struct sync_account *account, uint32_t folder, uint32_t uid);

/* As sync_structure(), in the background, for all of the folder that is pinned and not here. structure.c */
int structure_download(struct sync_folder *folder, uint32_t uid, struct sync_waiter *waiter);

/* About so many messages are asked for by one command; a variable for the tests. */
extern uint32_t listing_slice_messages;
/* Prepare the jobs of a folder: listing.c, structure.c. */
void listing_job_init(struct sync_folder *folder);
void structure_job_init(struct sync_folder *folder);

/* When a set of messages changed: now, but always later than what was said before. */
int64_t changed_after(int64_t changed_s);

#endif
