/* SPDX-License-Identifier: MIT */
/*
 * A source in memory, for tests of sync: mailboxes and messages are plain data that a test may change between
 * calls, failures and delays are scripted, and every call is counted. It is strict where sync must be: a
 * session that is used after it died, or by two threads at once, or without SELECT, counts as misuse.
 */
#ifndef FAKE_SOURCE_H
#define FAKE_SOURCE_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "mailfs/source.h"

enum { FAKE_MAILBOXES = 8 };

struct fake_message {
	uint32_t uid;
	uint64_t modseq;
	const char *flags;
	int64_t date_s;     /* 0: one that follows from the UID */
	const char *header; /* NULL: the same for all */
	unsigned have;      /* what the row of the full listing holds; 0: its UID can not be read */
	unsigned have_once; /* once: what it holds the first time; 0: as have */
	uint64_t announced; /* RFC822.SIZE */
	const char *data;   /* borrowed; the body, or the one part, as it is on the server */
	uint64_t len;
	uint64_t short_at; /* once: an answer that reaches over this offset ends there; 0: never */
	uint64_t most;     /* bytes of one answer; 0: all that were asked for */
	uint64_t
		shifted_from; /* an answer that begins at or past this is of bytes one earlier, as Dovecot 2.4.1's; 0: none */
	bool twice;          /* the listing gives it twice */
	bool skip_once;      /* once: its row of the full listing can not be read */
	unsigned scan_skips; /* this many scans (of UIDs, or of flags) can not read its UID */
	bool nil_structure;
	bool breaks;   /* the connection, when its structure is asked for */
	bool withheld; /* with gone: it is listed all the same, only not given */
	bool gone;     /* listed, but not there any more */
	unsigned sent; /* how often bulk() gave some of it, or body() did */
};

/* Messages that were expunged. */
struct fake_gone {
	uint32_t first, last;
	uint64_t modseq;
};

/* Lies that are told of a mailbox. */
enum fake_lie {
	FAKE_LIE_VANISHED = 1 << 0,      /* the first message is said to have vanished */
	FAKE_LIE_VANISHED_ALL = 1 << 1,  /* all UIDs that there are are */
	FAKE_LIE_GONE_UNTOLD = 1 << 2,   /* the last that vanished is not told */
	FAKE_LIE_UNTOLD = 1 << 3,        /* the last that changed is not told */
	FAKE_LIE_STRAY_FLAGS = 1 << 4,   /* flags of `stray` are told */
	FAKE_LIE_MODSEQ_STANDS = 1 << 5, /* HIGHESTMODSEQ is always 1 */
	FAKE_LIE_UIDS = 1 << 6,          /* SEARCH leaves out the first message */
	FAKE_LIE_UIDS_ALL = 1 << 7,      /* SEARCH says that all UIDs exist */
	FAKE_LIE_EMPTY = 1 << 9,         /* SELECT counts none … */
	FAKE_LIE_EMPTY_STATUS = 1 << 10, /* … and so does STATUS */
	FAKE_LIE_TWICE = 1 << 8, /* no lie: what changed comes twice, first with older flags */
};

struct fake_mailbox {
	const char *name;
	char delimiter; /* 0: '/' */
	unsigned flags;
	uint32_t uidvalidity, uidnext;
	uint64_t modseq;
	uint32_t exists; /* more than there are; 0: what there are */
	int select_err;  /* refuse with this */
	bool unlisted;   /* LIST leaves it out */
	bool removed;    /* there is none of that name */
	int status_err;  /* refuse STATUS with this */
	const char *special_use;
	struct fake_message *messages;
	size_t count, cap;
	bool reversed;   /* rows come in descending order */
	unsigned floods; /* the first row comes so many times more */
	struct fake_gone *gone;
	size_t gone_count, gone_cap;
	uint64_t mailbox_id;
	unsigned lies;          /* enum fake_lie */
	uint32_t stray;         /* of FAKE_LIE_STRAY_FLAGS */
	int changed_err;        /* refuse CHANGEDSINCE with this */
	unsigned changed_skips; /* rows of its answer that can not be read */
	int uids_err;           /* refuse SEARCH with this */
	uint32_t unsearched;    /* SEARCH leaves out so many of the first */
	uint32_t ghosts_first,
		ghosts_last; /* SEARCH gives these too, which are not there; 0: none */
};

struct fake_counts {
	unsigned connects, disconnects, polite, cancels, selects, rows[3], bodies, structures,
		structure_uids;
	unsigned misuse;
	unsigned working, working_max; /* calls of bodies that run at the same time */
	uint64_t bytes;
	unsigned resyncs, changed, uids;
	unsigned lists, statuses, watches, pokes;
	unsigned told;    /* rows and ranges that these have told */
	unsigned sent[3]; /* rows by columns */
	unsigned bulks, bulks_now, bulks_max, bulk_sets, bulk_pieces, bulk_messages, bulk_swapped;
};

enum { FAKE_EVENTS = 64 };
struct fake_event {
	enum source_event_kind kind;
	char mailbox[32];
};

struct fake_source {
	struct source base; /* first */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct fake_mailbox mailboxes[FAKE_MAILBOXES];
	size_t mailbox_count;
	struct fake_counts counts;

	/* The script. Numbers of times count down. */
	int connect_failures; /* this many connects fail; -1: all */
	enum source_cause connect_cause;
	unsigned connections_max; /* connects beyond fail; 0: no limit */
	unsigned connected;
	int drop_bodies; /* this many calls of body() lose the connection */
	int close_bodies; /* this many end with another UIDVALIDITY, said in the middle: nothing is selected then */
	int drop_rows;            /* this many calls of rows() lose the connection … */
	unsigned drop_rows_after; /* … after so many rows */
	unsigned abilities;       /* enum source_ability */
	int cut_in
		[2]; /* the connection is lost at the so-manieth call or row from now, and at the so-manieth after it; 0: not */
	bool session_views;  /* a session sees only what there was at its SELECT */
	bool drop_sessions;  /* the next call of every existing session finds it dead, once each */
	unsigned generation; /* of sessions, for that */
	int body_delay_ms;
	bool hold_bodies;         /* body() waits until this is false, or cancel() */
	bool hold_rows;           /* likewise, rows() … */
	unsigned hold_rows_after; /* … after so many rows */
	bool quota_known;
	bool ghosts; /* STATUS of the selected mailbox succeeds though it was removed */

	/* Of fake_bulk.c. */
	bool hold_bulk; /* bulk() waits before it gives … */
	uint32_t
		hold_bulk_at; /* … this message, 0: each; with the highest bit: after its first bytes; until hold_bulk is false, or cancel() */
	bool bulk_held;       /* it does now */
	int drop_bulk;        /* the connection is lost so many times … */
	uint32_t drop_bulk_at;    /* … after the first bytes of this message */
	uint32_t bulk_omit;       /* this message is left out of the answer */
	uint32_t bulk_broken;     /* the response with this message is not understood to its end */
	uint32_t bulk_again;      /* this message is given twice */
	uint32_t bulk_takes_back; /* the set with this message is refused when all of it has come */
	int bulk_refusals; /* so many sets are answered with NO; with bulk_swaps: of those that were overtaken */
	bool bulk_swaps; /* of two pieces of a message the second is sent before the first */

	/* Of fake_watch.c. */
	bool blackhole;     /* nothing is answered: calls end by their time-outs */
	bool hold_connects; /* connect() waits until this is false, or … */
	bool cut_connects; /* … this is true, as by net_context_cancel(), or its deadline passes */
	int login_refused;        /* connect fails for good */
	int list_err;             /* refuse LIST */
	int notify_err, idle_err; /* refuse to watch */
	bool able_still;          /* and do not take the ability back */
	int watch_deaths; /* this many watches lose the connection after they began; -1: all */
	struct fake_event events[FAKE_EVENTS]; /* what was told to those who watch */
	size_t event_count;
	char watched[FAKE_EVENTS][32]; /* what was watched, in order, each change once; "*": all */
	size_t watched_count;
	unsigned watching; /* calls of watch() that run */

	unsigned lose_on_cut; /* enum source_ability: what it can not any more after that */
	/* Called with the lock held when the connection is cut. */
	void (*on_cut)(struct fake_source *fake);
	/* Called with the lock held before each rows(). */
	void (*on_rows)(struct fake_source *fake);
	/* Called with the lock held before each body(), to change the world in the middle. */
	void (*on_body)(struct fake_source *fake, uint32_t uid);
	uint64_t lengths[64]; /* of the first calls of body() */
	uint64_t offsets[64];
	uint32_t row_ranges[64][2]; /* of the first calls of rows() */
};

void fake_init(struct fake_source *fake);
void fake_finish(struct fake_source *fake);
/* The source can bulk() from now on: nothing is fetched ahead of readers without it. */
void fake_can_bulk(struct fake_source *fake);
struct fake_mailbox *fake_mailbox_add(
	struct fake_source *fake, const char *name, uint32_t uidvalidity);
/* Adds a whole and well-formed message; data is borrowed. The pointer is valid until the next one. */
struct fake_message *fake_message_add(
	struct fake_mailbox *mailbox, uint32_t uid, const char *data, uint64_t len);
struct fake_message *fake_message(struct fake_mailbox *mailbox, uint32_t uid);
void fake_message_remove(struct fake_source *fake, struct fake_mailbox *mailbox, uint32_t uid);
/* What another client does, each with a modification sequence of its own; the mailbox has one (modseq > 0). */
void fake_expunge(struct fake_source *fake, struct fake_mailbox *mailbox, uint32_t uid);
void fake_flag(
	struct fake_source *fake, struct fake_mailbox *mailbox, uint32_t uid, const char *flags);
uint32_t fake_append(struct fake_source *fake, struct fake_mailbox *mailbox, const char *data,
	uint64_t len, const char *flags);
/* Another UIDVALIDITY: the same messages have UIDs from first_uid on. */
void fake_renumber(struct fake_source *fake, struct fake_mailbox *mailbox, uint32_t uidvalidity,
	uint32_t first_uid);
struct fake_counts fake_counts(struct fake_source *fake);
/* Tells those who watch. mailbox: of SOURCE_EVENT_MAILBOX. */
void fake_tell(struct fake_source *fake, enum source_event_kind kind, const char *mailbox);
/* A new message, and that it is there. */
void fake_deliver(
	struct fake_source *fake, struct fake_mailbox *mailbox, const char *data, uint64_t len);
/* Every connection that there is is found dead when it is used next; those that watch find it at once. */
void fake_cut(struct fake_source *fake);
/* Changes a member of the script while sync runs: FAKE_SET(fake, hold_bodies, false). */
#define FAKE_SET(fake, member, value)                                                              \
	do {                                                                                       \
		pthread_mutex_lock(&(fake)->lock);                                                 \
		(fake)->member = (value);                                                          \
		pthread_cond_broadcast(&(fake)->changed);                                          \
		pthread_mutex_unlock(&(fake)->lock);                                               \
	} while (0)

#endif
