/* SPDX-License-Identifier: MIT */
/*
 * A source is where mail comes from: IMAP now, POP3 later. This is the contract between sync, which
 * decides what to ask for and when, and the protocols, which know how.
 *
 * A source makes sessions; a session is one connection, used by one thread at a time. Every call of a
 * session that says `Blocks: network` ends by itself within the source's time-out, and at once after
 * cancel(). After an error whose scope is SOURCE_SCOPE_ACCOUNT the session is dead: only disconnect()
 * may follow. After any other error it goes on.
 *
 * Mailbox names are the server's own bytes, as LIST gave them (not decoded), NUL-terminated.
 */
#ifndef MAILFS_SOURCE_H
#define MAILFS_SOURCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailfs/util/str.h"

struct mime_part;
struct source;
struct source_session;

/* How far a failure reaches. */
enum source_scope {
	SOURCE_SCOPE_MESSAGE, /* this message only: gone, or its answer could not be understood */
	SOURCE_SCOPE_MAILBOX, /* this mailbox: it can not be selected, or changed its UIDVALIDITY */
	SOURCE_SCOPE_ACCOUNT, /* the connection or the login: the session is dead */
	SOURCE_SCOPE_CANCELLED, /* cancel() was called: the session is dead */
};

/* When the same call may succeed. */
enum source_retry { SOURCE_RETRY_NOW, SOURCE_RETRY_LATER, SOURCE_RETRY_NEVER };

/* What went wrong, for the exit code of the command. */
enum source_cause {
	SOURCE_CAUSE_OTHER,
	SOURCE_CAUSE_HOST,    /* host name unknown */
	SOURCE_CAUSE_CONNECT, /* refused, unreachable, timed out, cut */
	SOURCE_CAUSE_TLS,     /* certificate not trusted, STARTTLS missing, handshake failed */
	SOURCE_CAUSE_LOGIN,   /* the server refused the login, or offers no way to log in */
	SOURCE_CAUSE_MAILBOX, /* no such mailbox, or no access to it */
	SOURCE_CAUSE_PROTOCOL /* the server's answer can not be understood, or breaks a limit */
};

struct source_error {
	enum source_scope scope;
	enum source_retry retry;
	enum source_cause cause;
	int err; /* negative errno that a file operation shall give: -EIO, -EACCES, -ENOENT, -ETIMEDOUT, … */
	char text[400]; /* one line for a person: what was tried, what was said, what to do */
};

/* Attributes of a mailbox (RFC 3501 §7.2.2, RFC 5258, RFC 6154). */
enum source_mailbox_flag {
	SOURCE_MAILBOX_NOSELECT = 1 << 0, /* \Noselect or \NonExistent: holds no messages */
	SOURCE_MAILBOX_NOINFERIORS = 1 << 1,
	SOURCE_MAILBOX_SUBSCRIBED = 1 << 2,
	SOURCE_MAILBOX_PERSONAL = 1 << 3, /* lies in a personal namespace (RFC 2342) */
	SOURCE_MAILBOX_OTHER = 1 << 4,    /* … in another user's */
	SOURCE_MAILBOX_SHARED = 1 << 5,   /* … in a shared one */
};

/* More mailboxes than that in one account, or more bytes of all their names, are refused: each takes more than a kilobyte of memory. */
#define SOURCE_MAILBOXES_MAX     20000
#define SOURCE_MAILBOX_BYTES_MAX ((size_t)4 << 20)

struct source_mailbox {
	const char *name;        /* as on the wire */
	char delimiter;          /* hierarchy delimiter; 0: a flat name */
	unsigned flags;          /* enum source_mailbox_flag */
	const char *special_use; /* "\\Sent", … as the server wrote it; NULL: none */
};

/*
 * A mailbox of more messages than that is not listed: each takes some 100 bytes of memory once it is, and a server can say any number. What of it is known
 * can be read.
 * A size over the second is taken for one that was not told, a modification sequence over the third for none (RFC 7162 §7: 63 bits).
 */
#define SOURCE_MESSAGES_MAX 1000000
#define SOURCE_SIZE_MAX     ((UINT64_C(1) << 48) - 1)
#define SOURCE_MODSEQ_MAX   ((uint64_t)INT64_MAX)

/* What SELECT or EXAMINE says. */
struct source_state {
	uint32_t uidvalidity; /* never 0 on success */
	uint32_t uidnext;     /* 0: the server did not say */
	uint32_t messages;    /* EXISTS, any number */
	uint64_t modseq;      /* HIGHESTMODSEQ; 0: no CONDSTORE here */
	uint64_t mailbox_id;  /* hash64 of MAILBOXID (RFC 8474); 0: the server gives none */
	bool resynced;        /* the server took source_resync: it has told all that changed */
};

/* What the server can do beyond RFC 3501, as far as it matters to who decides what to ask for. */
enum source_ability {
	SOURCE_CAN_CONDSTORE = 1 << 0, /* RFC 7162: modseq, changed() */
	SOURCE_CAN_QRESYNC =
		1 << 1, /* RFC 7162: select() takes a source_resync; enabled in this session */
	SOURCE_CAN_IDLE = 1 << 2,   /* RFC 2177: watch() of one mailbox */
	SOURCE_CAN_NOTIFY = 1 << 3, /* RFC 5465: watch() of all */
	SOURCE_CAN_COMPRESS =
		1 << 4, /* RFC 4978: compress(), which this session has not done yet */
};

/* Which columns of a listing are asked for. */
enum source_columns {
	SOURCE_COLUMNS_UID,   /* UID alone */
	SOURCE_COLUMNS_FLAGS, /* UID, FLAGS */
	SOURCE_COLUMNS_ALL, /* UID, FLAGS, INTERNALDATE, RFC822.SIZE, header fields, labels on Gmail */
};

/* Which members of a row the server's answer really held. */
enum source_row_have {
	SOURCE_ROW_FLAGS = 1 << 0,
	SOURCE_ROW_DATE = 1 << 1,
	SOURCE_ROW_SIZE = 1 << 2,
	SOURCE_ROW_HEADER = 1 << 3,
	SOURCE_ROW_LABELS = 1 << 4,
};

/* One message of a listing. The pointers are valid during the callback only. */
struct source_row {
	uint32_t uid; /* never 0 */
	unsigned have;
	uint64_t size_bytes;
	int64_t date_s;    /* INTERNALDATE, seconds since the epoch, UTC */
	const char *flags; /* space-separated, as IMAP writes them; "" when none */
	const char *
		labels; /* X-GM-LABELS, space-separated, as the server wrote them; NULL: not Gmail */
	const char *
		header; /* the raw fields From, To, Subject, Message-ID, as they stand in the message */
	size_t header_len;
};

struct source_quota {
	bool known;
	uint64_t used_bytes, limit_bytes;       /* STORAGE; limit 0: none given */
	uint64_t used_messages, limit_messages; /* MESSAGE; limit 0: none given */
};

/* How the receiving of a session goes, since it was connected. */
struct source_flow {
	uint64_t content_bytes; /* received, as the server meant them: without TLS, inflated */
	uint64_t waited_us;     /* spent waiting for bytes that a call wanted */
	bool deflated;          /* compress() was done */
};

/* A callback's return: 0 to go on; a negative errno ends the call with that error (the rest of the answer is drained). */
typedef int source_mailbox_fn(void *arg, const struct source_mailbox *mailbox);
typedef int source_row_fn(void *arg, const struct source_row *row);
/* structure: owned by the callee until it returns; NULL: the server's BODYSTRUCTURE for uid can not be understood. */
typedef int source_structure_fn(void *arg, uint32_t uid, const struct mime_part *structure);

/* The messages with first ≤ UID ≤ last. */
typedef int source_range_fn(void *arg, uint32_t first, uint32_t last);

/* Of select(): what is known, and who is told what has changed since (RFC 7162 §3.2.5). */
struct source_resync {
	uint32_t uidvalidity;
	uint64_t modseq; /* never 0 */
	/*
	 * UID, FLAGS (have = SOURCE_ROW_FLAGS) of a message that is new or whose flags changed. As the server tells them: a
	 * message may come twice, or may be gone by now.
	 */
	source_row_fn *row;
	source_range_fn *vanished; /* may reach over UIDs that never were */
	void *arg;
};

enum source_event_kind {
	SOURCE_EVENT_READY,   /* the watch has begun: what happens from now on is told */
	SOURCE_EVENT_MAILBOX, /* messages of `mailbox` came, went, or changed flags */
	SOURCE_EVENT_LIST,    /* the set of mailboxes, or their subscriptions, changed */
	SOURCE_EVENT_LOST, /* the server could not keep up (NOTIFICATIONOVERFLOW): anything may have changed */
};
/* Pointers are valid during the callback only. */
struct source_event {
	enum source_event_kind kind;
	const char *mailbox; /* of SOURCE_EVENT_MAILBOX, as on the wire; else NULL */
	bool continued; /* of SOURCE_EVENT_READY: nothing was missed since the last watch of the same, which no other call followed */
};
typedef void source_event_fn(void *arg, const struct source_event *event);

/* What one command of bulk() asks for: whole messages, or a piece of one. */
struct source_bulk_set {
	const uint32_t *uids;    /* ascending, each once; valid until next() is called again */
	size_t count;            /* at most SOURCE_BULK_UIDS */
	uint64_t offset, length; /* count 1: a piece of that message; length 0: whole messages */
	uint64_t
		limit_bytes; /* no message of the set can have more; one that has costs the connection */
};
#define SOURCE_BULK_UIDS 1000

/*
 * Who asks for many messages at a time and takes them as they come. Calls are made on the thread of bulk(). What is told of a message
 * lies between begin() and end(); messages come in any order, also before an earlier set is answered. Where two sets lack the
 * same message or piece, the first that comes is the older set's.
 */
struct source_bulk {
	void *arg;
	/*
	 * What to ask for next. Called whenever a command can be sent without waiting for the one before, at the start, after each message and
	 * each answer: as long as fewer than two sets lack messages, or fewer than four short ones, and fewer than eight wait for their
	 * answers. false: nothing now. Once it gives nothing and all is answered, bulk() returns.
	 */
	bool (*next)(void *arg, struct source_bulk_set *ret);
	/*
	 * A message, or the piece that begins at offset; size_bytes will follow. The UID is one of those that were asked for and not answered
	 * yet. A negative errno: its bytes are passed over, and no data(), no end() of it is told.
	 */
	int (*begin)(void *arg, uint32_t uid, uint64_t offset, uint64_t size_bytes);
	/* Valid during the call. The size is the stream's: up to 64 KiB. */
	void (*data)(void *arg, const char *data, size_t len);
	/*
	 * whole: the response was understood to its end; false: it does not fit, and nothing of what was told of this message counts. Not called where the
	 * connection is lost before: what came is as good as any bytes.
	 */
	void (*end)(void *arg, bool whole);
	/*
	 * The oldest set is answered. 0: what did not come of it is not there, or came in a form that is not taken here (ask again with body()). A
	 * negative errno: the server refused it, and what was told of it does not count.
	 */
	void (*answered)(void *arg, int err);
	/*
	 * A message, or piece, of which begin() was told, has come once more before its set is answered. Nobody knows which of the two is right: what was told of
	 * it does not count. NULL: not wanted.
	 */
	void (*again)(void *arg, uint32_t uid, uint64_t offset);
};

struct source_ops {
	/*
	 * Connects, secures and logs in. 0: *ret is a session to be ended with disconnect().
	 * Blocks: network, until deadline_ms (monotonic).
	 */
	int (*connect)(struct source *source, int64_t deadline_ms, struct source_session **ret,
		struct source_error *error);
	/* Ends the session and frees it. polite: says LOGOUT first and waits up to 2 s for the answer. */
	void (*disconnect)(struct source_session *session, bool polite);
	/* Makes the call that runs, and every later one but disconnect(), fail with SOURCE_SCOPE_CANCELLED. Any thread. Blocks: never. */
	void (*cancel)(struct source_session *session);
	/*
	 * The longest a following call may take, from its own start. list(), select(), rows(), changed(), uids(), structures() and bulk() go on beyond it for as
	 * long as the server sends enough (IMAP: 1 KiB or a row a second), for a day at the most; one that is sent too little ends as much
	 * later at the most, or 10 s if that is less. Blocks: never.
	 */
	void (*set_timeout)(struct source_session *session, int timeout_ms);

	/*
	 * Calls fn for each mailbox of every namespace, each once. -EMSGSIZE (SOURCE_SCOPE_MAILBOX): there are more than SOURCE_MAILBOXES_MAX, or their
	 * names are longer than SOURCE_MAILBOX_BYTES_MAX; none is given then. Blocks: network.
	 */
	int (*list)(struct source_session *session, source_mailbox_fn *fn, void *arg,
		struct source_error *error);
	/* The quota of the INBOX; known = false where the server has none. Blocks: network. */
	int (*quota)(struct source_session *session, struct source_quota *ret,
		struct source_error *error);
	/*
	 * Selects a mailbox for the calls below; readonly: EXAMINE. resync NULL: nothing is known, or not
	 * SOURCE_CAN_QRESYNC; where the server does not take it (another UIDVALIDITY, no modseq here) nothing, or a part, is told
	 * and ret->resynced is false. -EACCES, -EIO with SOURCE_SCOPE_MAILBOX when the server refuses. Blocks: network.
	 */
	int (*select)(struct source_session *session, const char *mailbox, bool readonly,
		const struct source_resync *resync, struct source_state *ret,
		struct source_error *error);
	/*
	 * What STATUS says of a mailbox that need not be selected (messages, uidnext, uidvalidity, modseq, mailbox_id).
	 * -ENOENT (SOURCE_SCOPE_MAILBOX): there is none of that name. Blocks: network.
	 */
	int (*status)(struct source_session *session, const char *mailbox, struct source_state *ret,
		struct source_error *error);
	/*
	 * One row for each message with first ≤ UID ≤ last (last UINT32_MAX: to the end), as they
	 * arrive. A row that can not be understood is given with what could be read of it (have); when
	 * not even its UID could, *ret_skipped counts it. Blocks: network.
	 */
	int (*rows)(struct source_session *session, uint32_t first, uint32_t last,
		enum source_columns columns, source_row_fn *fn, void *arg, unsigned *ret_skipped,
		struct source_error *error);
	/*
	 * UID and FLAGS of the messages with first ≤ UID ≤ last that are new or changed since modseq (CHANGEDSINCE);
	 * SOURCE_CAN_CONDSTORE, and the mailbox has a modseq. As rows(). Blocks: network.
	 */
	int (*changed)(struct source_session *session, uint32_t first, uint32_t last,
		uint64_t modseq, source_row_fn *fn, void *arg, unsigned *ret_skipped,
		struct source_error *error);
	/*
	 * The UIDs that exist with first ≤ UID ≤ last, each once, as ranges in which there is no other: by ESEARCH (RFC 4731) where
	 * the server has it, which takes a few bytes for each hole, else by SEARCH. The order is the server's; one that says a UID twice
	 * is not corrected. After an error what was told counts for nothing. Blocks: network.
	 */
	int (*uids)(struct source_session *session, uint32_t first, uint32_t last,
		source_range_fn *fn, void *arg, struct source_error *error);
	/* BODYSTRUCTURE of the messages in uids (ascending). A UID that no longer exists is not called. Blocks: network. */
	int (*structures)(struct source_session *session, const uint32_t *uids, size_t count,
		source_structure_fn *fn, void *arg, struct source_error *error);
	/*
	 * Appends to out length bytes at offset of a section of a message, never setting \Seen.
	 * section: "" for the whole message, else an IMAP section ("HEADER", "2", "2.HEADER", "2.MIME").
	 * length 0 and offset 0: all of it (limited to limit_bytes). Fewer bytes than length mean that the section
	 * ends there. -ENOENT (SOURCE_SCOPE_MESSAGE): no such message any more. Blocks: network.
	 */
	int (*body)(struct source_session *session, uint32_t uid, const char *section,
		uint64_t offset, uint64_t length, uint64_t limit_bytes, struct str *out,
		struct source_error *error);

	/*
	 * Whole messages, many with one command, the next command written before the last is drained, never setting \Seen. What arrives is handed on
	 * at once: no message is held in memory. Returns 0 when all is answered; after an error with SOURCE_SCOPE_ACCOUNT the sets that were not
	 * answered are lost, and a message that had begun is ended (whole = false) before. The time-out is for each moment without progress,
	 * not for the whole. NULL: the source can not. Blocks: network.
	 */
	int (*bulk)(struct source_session *session, const struct source_bulk *bulk,
		struct source_error *error);
	/*
	 * From now on both sides deflate (COMPRESS=DEFLATE). -EOPNOTSUPP (SOURCE_SCOPE_MESSAGE): the server does not, and abilities() tells so; the session
	 * goes on without. traffic() counts the bytes on the wire. NULL: the source can not. Blocks: network.
	 */
	int (*compress)(struct source_session *session, struct source_error *error);

	/*
	 * Waits for the server's news and tells fn of them, on the calling thread, until until_ms (monotonic), or poke(); then
	 * 0, and the session can be used for other calls. mailbox: the one to be watched, selected read-only for that (IDLE); NULL:
	 * all of them (SOURCE_CAN_NOTIFY; nothing is selected). Before it returns 0 the server has answered within the session's time-out: the
	 * connection is alive. An event that was told is not told again; what came before SOURCE_EVENT_READY is not told at
	 * all. -EOPNOTSUPP, or what the server's refusal means, with SOURCE_SCOPE_MAILBOX: it can not be watched in this way, and abilities() of this
	 * session tell so. Blocks: network, until until_ms and a time-out.
	 */
	int (*watch)(struct source_session *session, const char *mailbox, int64_t until_ms,
		source_event_fn *fn, void *arg, struct source_error *error);
	/* Makes the watch() that runs, or else the next one, return soon. Any thread. Blocks: never. */
	void (*poke)(struct source_session *session);

	/* enum source_ability; what the server has announced to this session. Blocks: never. */
	unsigned (*abilities)(const struct source_session *session);
	/*
	 * Appends the server's name and version as it told them (ID), if it did, as one line, then its capabilities as one line, blanks between
	 * them. Printable ASCII. Blocks: never.
	 */
	void (*describe)(const struct source_session *session, struct str *out);
	/* Bytes received and sent on the wire, TLS included. Any thread. Blocks: never. */
	void (*traffic)(const struct source_session *session, uint64_t *ret_in, uint64_t *ret_out);

	/* NULL: the source does not tell. Any thread. Blocks: never. */
	void (*flow)(const struct source_session *session, struct source_flow *ret);

	/* Frees the source; all sessions have ended. */
	void (*destroy)(struct source *source);
};

/* A protocol's own source begins with this member. */
struct source {
	const struct source_ops *ops;
};

/* Fills error and returns err, so that `return source_fail(…)` reads well. error NULL: only returns. */
int source_fail(struct source_error *error, enum source_scope scope, enum source_retry retry,
	enum source_cause cause, int err, const char *format, ...)
	__attribute__((format(printf, 6, 7)));

#endif
