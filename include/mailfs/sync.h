/* SPDX-License-Identifier: MIT */
/*
 * An account at work: its connections and worker threads, what is asked of the server and when, and the
 * one place where source and store meet. Nothing here blocks its caller on the network: a call that needs it
 * registers a waiter and returns -EINPROGRESS, and a worker wakes the waiter.
 */
#ifndef MAILFS_SYNC_H
#define MAILFS_SYNC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mailfs/maildrop.h"
#include "mailfs/mime.h"
#include "mailfs/source.h"
#include "mailfs/store.h"
#include "mailfs/util/list.h"

struct sync_account;
struct sync_folder;
struct sync_body;

/*
 * Somebody who waits. The caller owns the memory and fills wake and deadline_ms; between -EINPROGRESS and
 * wake() it belongs to sync. wake() is called once, on a thread of sync, with no lock held; it must not
 * block on the network. result: 0 or more as the call says, or a negative errno (-ETIMEDOUT at the deadline).
 * The waiter may be freed or reused inside wake().
 */
struct sync_waiter {
	void (*wake)(struct sync_waiter *waiter, ssize_t result);
	int64_t deadline_ms;   /* monotonic */
	struct list_node node; /* private to sync, as are those below; guarded by its lock */
	struct list_node order;
	void *owner;
	void *buf;
	size_t len;
	size_t filled;
	uint64_t offset;
	uint64_t seen;
	ssize_t result;
	bool queued; /* registered with sync */
	bool lenient; /* waits for something newer than what is known, which will do at the deadline */
	bool background; /* nobody is blocked by it: what is pinned is downloaded */
};

/*
 * What sync tells the tree. Called from worker threads with no lock held, before the waiters concerned are woken.
 * Calls for one folder do not overlap, but for size() and gone(), which may come at any time.
 */
struct sync_events {
	void *arg;
	/*
	 * The folder has this identity from now on and no messages yet; rows() follow. Comes before the first rows of a
	 * mount and again when the server changed UIDVALIDITY; and once more when what is stored could not be announced
	 * to its end; never when a listing that was cut off on the wire goes on.
	 */
	void (*reset)(void *arg, struct sync_folder *folder, uint32_t folder_number);
	/* Messages that are there (from the store, or new), in the order of arrival: not always ascending. */
	void (*rows)(
		void *arg, struct sync_folder *folder, const struct source_row *rows, size_t count);
	/* Messages that are gone. One that was never announced may be among them. */
	void (*gone)(void *arg, struct sync_folder *folder, const uint32_t *uids, size_t count);
	/* The true size of a message. */
	void (*size)(void *arg, struct sync_folder *folder, uint32_t uid, uint64_t size_bytes);
	/* The true decoded size of a section of a message. */
	void (*section_size)(void *arg, struct sync_folder *folder, uint32_t uid,
		const char *section, uint64_t size_bytes);
	/*
	 * Bytes of a message (section "": also of all its sections), or of a section of it, that were handed out are not those that it has: what is kept of them is to be
	 * forgotten. May come at any time. NULL: not wanted.
	 */
	void (*refuted)(void *arg, struct sync_folder *folder, uint32_t uid, const char *section);
	/* The set of messages changed after it had been shown; changed_s as in store_mailbox. */
	void (*changed)(void *arg, struct sync_folder *folder, int64_t changed_s);
	/* Flags of messages that were announced before are others now; flags[i] belongs to uids[i]. NULL: not wanted. */
	void (*flags)(void *arg, struct sync_folder *folder, const struct store_flags *flags,
		size_t count);
	/*
	 * A folder is there that was not; former: the one that it was before it was renamed, which is gone from now on (no removed()
	 * follows); NULL: it is new. Its sync_folder is not the former's. NULL: not wanted, as those below.
	 */
	void (*added)(void *arg, struct sync_folder *folder, struct sync_folder *former);
	/* The folder is gone from the server. The object stays; its calls that need the server give -ENOENT. */
	void (*removed)(void *arg, struct sync_folder *folder);
	/* Its attributes changed: subscription, special use, \Noselect. */
	void (*attributes)(void *arg, struct sync_folder *folder);
	/* The connection to the server: sync_account_status() says what it is now. */
	void (*link)(void *arg);
};

/* auto: where the line, as measured, is slower than deflate is. */
enum sync_compress { SYNC_COMPRESS_AUTO, SYNC_COMPRESS_ON, SYNC_COMPRESS_OFF };

struct sync_params {
	struct source *source; /* borrowed */
	struct store *store;   /* borrowed */
	const char *account;   /* identity for store_number; copied */
	bool readonly;         /* EXAMINE instead of SELECT */
	unsigned connections;  /* 1 … 16 */
	int timeout_ms;        /* of every operation */
	int refresh_ms; /* how old a listing may be when a directory is opened and nobody watches it */
	int watchdog_ms; /* a watching connection without a sign of life is dead after this; 0: 5 minutes */
	enum sync_compress compress; /* whether connections are deflated (COMPRESS=DEFLATE) */
	bool offline; /* start() succeeds without the server, where the store has the account */
};

/* How far a download is. */
struct sync_progress {
	uint64_t messages, messages_total; /* of those that were not here before */
	uint64_t bytes, bytes_total;       /* as received; total as listed */
	bool done;                         /* the last call */
};

/* What becomes of messages on the server once they are durable here. */
enum sync_after { SYNC_AFTER_KEEP, SYNC_AFTER_DELETE };

/* An account that is a maildrop: one folder, INBOX, that is downloaded for good. */
struct sync_drop_params {
	struct maildrop *maildrop; /* borrowed */
	struct store *store;       /* borrowed; a STORE_SPOOL */
	const char *account;       /* identity for store_number; copied */
	int timeout_ms;
	bool background; /* start() returns when the server has listed, not when all is here */
	bool uidl_hash;  /* a server without UIDL is taken: messages are known by their content */
	unsigned poll_s; /* looks again after so long; 0: never */
	enum sync_after after;
	unsigned after_days; /* SYNC_AFTER_DELETE: so many days after the download */
	/* Told of the first look, at most ten times a second, on any thread of sync; NULL: nobody. */
	void (*progress)(void *arg, const struct sync_progress *progress);
	void *progress_arg;
};

/* Copies params. Blocks: never. */
int sync_account_create(const struct sync_params *params, struct sync_account **ret);
/* As above, for a maildrop. The other calls are the same for both kinds. */
int sync_account_create_drop(const struct sync_drop_params *params, struct sync_account **ret);
/*
 * Connects, logs in, lists the mailboxes and asks for the quota, in the calling thread, then starts the workers. With params.offline
 * and a store that knows the account's mailboxes, a server that can not be reached (SOURCE_CAUSE_HOST, SOURCE_CAUSE_CONNECT) is one warning, and
 * the account begins SYNC_LINK_OFFLINE. Those who do not exist any more, or are new, are told to the events from then on.
 * Of a maildrop: looks at the server and downloads (background: lists) what is new. If that fails and messages are here from
 * before, it says so in one warning with their age, and returns 0.
 * Blocks: network.
 */
int sync_account_start(struct sync_account *account, struct source_error *error);
/* Who is told; before the first folder call. */
void sync_account_set_events(struct sync_account *account, const struct sync_events *events);
/*
 * Cancels what runs, fails every waiter with -EIO, says LOGOUT, joins the workers; a second call does nothing. Every
 * call afterwards that would need a worker fails with -EIO. Blocks: network, up to 3 s, or until the connection that
 * a worker is setting up at this moment has come up or failed.
 */
void sync_account_stop(struct sync_account *account);
/* Stops it and frees it; every body has been closed. NULL is allowed. */
void sync_account_destroy(struct sync_account *account);

/* Whether there is a connection. */
enum sync_link {
	SYNC_LINK_ONLINE,     /* the last that was asked was answered */
	SYNC_LINK_CONNECTING, /* it was lost; the first attempt to have it again runs */
	SYNC_LINK_OFFLINE, /* that has failed: what needs the server fails at once (-EHOSTUNREACH), while attempts go on */
};
/* How changes are heard of. */
enum sync_push { SYNC_PUSH_POLL, SYNC_PUSH_IDLE, SYNC_PUSH_NOTIFY };
struct sync_status {
	enum sync_link link;
	enum sync_push push;
	int64_t since_s;              /* wall clock: when link became what it is */
	int64_t retry_s;              /* wall clock: the next attempt; 0: none is planned */
	char trouble[400];            /* why not ONLINE; "" */
	unsigned connections;         /* that are open now, the watching ones included */
	unsigned compressed;          /* of these, with COMPRESS=DEFLATE */
	uint64_t rate_bytes_s;        /* what the line gives, as measured last; 0: not known */
	uint64_t bytes_in, bytes_out; /* on the wire, since the mount */
	uint64_t reconnects;
	unsigned demand, bulk, ahead, background; /* jobs that wait or run */
	struct sync_progress
		pinning; /* of what is pinned and not here yet; done: nothing is missing */
};
/* Blocks: never. */
void sync_account_status(struct sync_account *account, struct sync_status *ret);
/* Appends what the server says it can do (source.describe()), as heard last, and the names of the quirks that were met or are remembered (util/quirk.h), each on a line. Blocks: disk. */
void sync_account_describe(struct sync_account *account, struct str *out, struct str *quirks);
/* Everything is to be looked at again, the connection too, as after a resume: for `mailfsctl refresh`. Blocks: never. */
void sync_account_refresh(struct sync_account *account);
/* Announced sizes were wrong twice: none is believed before the body's end was seen. Blocks: never. */
bool sync_account_sizes_distrusted(const struct sync_account *account);

/*
 * Pins (see store.h), which are downloaded in the background from then on. uid 0: the whole folder. -ENOENT: no such message. Blocks:
 * disk.
 */
int sync_pin(struct sync_folder *folder, uint32_t uid, bool pin);
/* What is pinned by the store's policy or pins is looked for, and downloaded. Once the events are set. Blocks: never. */
void sync_pins_start(struct sync_account *account);

enum sync_listing {
	SYNC_LISTING_NONE, /* nothing announced in this mount yet: sync_folder_refresh() starts it */
	SYNC_LISTING_RUNNING, /* the first listing runs: rows are being announced */
	SYNC_LISTING_WHOLE,   /* all rows were announced */
	SYNC_LISTING_FAILED, /* the first listing failed with *ret_err; what was announced is true but not all */
};
struct sync_folder_status {
	struct store_mailbox state;
	enum sync_listing listing;
	bool watched; /* changes are told by the server: it is current without asking */
	struct store_folder_usage usage;
};
/* Blocks: disk. */
int sync_folder_status(struct sync_folder *folder, struct sync_folder_status *ret);

/*
 * Makes the list of folders current: 0 when the server tells of its changes, or it was asked for less than refresh_ms ago, or can not be asked now; else
 * -EINPROGRESS, and result 0 once it is; those that came and went were told to the events then. Result -EIO: the server has listed more names by now
 * than an account may have in its life.
 */
int sync_account_survey(struct sync_account *account, struct sync_waiter *waiter);
/* The quota as last heard. Blocks: never. */
void sync_account_quota(struct sync_account *account, struct source_quota *ret);

/*
 * A mailbox as LIST gave it. Folders live as long as the account; one that is gone stays in the list, sync_folder_is_gone(). The list
 * grows only after the events were set, and before each added().
 */
size_t sync_account_folder_count(const struct sync_account *account);
struct sync_folder *sync_account_folder(const struct sync_account *account, size_t index);
const struct source_mailbox *sync_folder_mailbox(const struct sync_folder *folder);
bool sync_folder_is_gone(const struct sync_folder *folder);
/* store_number(DIRECTORY). */
uint32_t sync_folder_directory_number(const struct sync_folder *folder);
/* As stored. Blocks: never. */
void sync_folder_state(struct sync_folder *folder, struct store_mailbox *ret);

/* For the tree's own use: one pointer. */
void sync_folder_set_data(struct sync_folder *folder, void *data);
void *sync_folder_data(const struct sync_folder *folder);

/*
 * Makes the listing current: 0 when it was listed in this mount less than refresh_ms ago, else -EINPROGRESS and
 * result 0 once it is. A folder that can not be selected: -EACCES, -ENOENT or -EIO, and the next call tries again.
 * For a \Noselect folder: 0. One that the server tells of changes (sync_folder_status.watched) is current without asking, for five minutes after a look. While
 * SYNC_LINK_OFFLINE: what is stored is current, if it was ever listed whole, else -EHOSTUNREACH.
 */
int sync_folder_refresh(struct sync_folder *folder, struct sync_waiter *waiter);
/*
 * For a folder that is not known yet, or was announced in part: as above, but wakes as soon as something was
 * announced. seen: what sync_folder_progress() gave before the caller looked at what it has. 0: something has happened
 * since, look again.
 */
int sync_folder_wait(struct sync_folder *folder, uint64_t seen, struct sync_waiter *waiter);
/* Where the listing stands; *ret_seen changes with each announcement. Blocks: never. */
enum sync_listing sync_folder_progress(
	struct sync_folder *folder, uint64_t *ret_seen, int *ret_err);

/*
 * Of a maildrop in its background: whether the message with this number is on its way. 0: it is not (it is here, or nobody
 * knows of it). -EINPROGRESS: result 0 once it is here and was announced, or the error that kept it away; it is fetched next.
 * For other folders: 0.
 */
int sync_folder_expected(struct sync_folder *folder, uint32_t uid, struct sync_waiter *waiter);
/* Whether a maildrop is downloading, so that sync_folder_expected() may have somebody wait. Blocks: never. */
bool sync_account_is_expecting(struct sync_account *account);
/* Whether the account is a maildrop: store_spool_uidl() then knows its messages. */
bool sync_account_is_drop(const struct sync_account *account);

/*
 * Sees to it that the structure of a message is in the store (no event: the caller reads it there). 0: it is.
 * -ENOENT: no such message. Blocks: disk.
 */
int sync_structure(struct sync_folder *folder, uint32_t uid, struct sync_waiter *waiter);

/*
 * The bytes of a message, or of a section decoded as leaf says (leaf NULL: the whole message; section "HEADER" or
 * "2.HEADER" with leaf NULL: raw). size_bytes: what the listing says, UINT64_MAX when it is not known.
 * References to one body are shared, so that what many readers want is fetched once. Blocks: disk.
 */
int sync_body_open(struct sync_folder *folder, uint32_t uid, const char *section,
	const struct mime_leaf *leaf, uint64_t size_bytes, struct sync_body **ret);
void sync_body_close(struct sync_body *body);
/*
 * Reads len bytes at offset into buf: the number read at once (fewer than len only at the true end, 0 past it), or
 * -EINPROGRESS, and the result is that number; buf must stay until then. -ENOENT: the message is gone.
 * -ETIMEDOUT: no answer in time, which is not tried again. -EIO: connection lost twice, or an answer that can not be understood. Blocks: disk.
 */
ssize_t sync_body_read(
	struct sync_body *body, void *buf, size_t len, uint64_t offset, struct sync_waiter *waiter);
/*
 * How often bytes that were handed out have turned out not to be those of the message, and when the last time (monotonic). Whoever has read before must not go
 * on: what follows may not fit. Blocks: never.
 */
unsigned sync_body_refuted(const struct sync_body *body, int64_t *ret_ms);
/* Settles the true size before a reader relies on it: 0 with *ret, or -EINPROGRESS; result 0 once it is known. */
int sync_body_size(struct sync_body *body, uint64_t *ret, struct sync_waiter *waiter);

/* Takes the waiter back: true: wake() will not be called. false: it was, or is being called. Blocks: never. */
bool sync_waiter_cancel(struct sync_account *account, struct sync_waiter *waiter);

#endif
