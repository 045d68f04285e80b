/* SPDX-License-Identifier: MIT */
/*
 * A maildrop is the other kind of source: one list of messages that are fetched whole and may be deleted, in sessions
 * that are short and exclusive (RFC 1939). This is the contract between sync, which decides what to fetch, keep and
 * delete, and pop3, which knows how.
 *
 * A session is one connection, used by one thread; only cancel() may come from others. Every call that says
 * `Blocks: network` ends by itself: the deadline is the time-out from its start, and moves on with what arrives (a message that has
 * ended, or another 64 KiB), so that a large message takes its time and a server that sends a byte a second does not. After an
 * error whose scope is SOURCE_SCOPE_ACCOUNT or _CANCELLED the session is dead: only disconnect() may follow.
 *
 * Message numbers mean something within one session only (RFC 1939 §3); they never leave sync and pop3.
 */
#ifndef MAILFS_MAILDROP_H
#define MAILFS_MAILDROP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/source.h"
#include "mailfs/util/str.h"

#define MAILDROP_DIGEST_BYTES 32 /* SHA-256 */

struct maildrop;
struct maildrop_session;

/* What the server can do, from CAPA before and after login (RFC 2449). */
struct maildrop_abilities {
	bool uidl;              /* answers UIDL */
	bool top;               /* answers TOP */
	bool pipelining;        /* commands may be sent before earlier ones are answered */
	unsigned login_delay_s; /* LOGIN-DELAY: the least time between two logins; 0: none */
	int expire_days; /* EXPIRE: the server deletes by itself after so many days; 0: after RETR; -1: it does not say, or NEVER */
};

struct maildrop_entry {
	uint32_t number;   /* of this session */
	uint32_t uidl;     /* where in maildrop_listing.uidls its unique-id begins */
	uint32_t uidl_len; /* bytes, any but LF; 0: the server gave none, or two */
	uint64_t
		size_bytes; /* as LIST says, with the line ends of the wire; UINT64_MAX: it does not */
};

/* What UIDL and LIST say together, by ascending number. */
struct maildrop_listing {
	struct maildrop_entry *entries;
	size_t count;
	struct str uidls;
	/* UIDL, LIST and STAT contradict each other, or hold lines that mean nothing: nothing may be deleted by it. */
	bool doubtful;
	uint64_t messages; /* as STAT says */
};
/* Frees what a listing holds. */
static inline void maildrop_listing_finish(struct maildrop_listing *listing)
{
	free(listing->entries);
	str_finish(&listing->uidls);
	*listing = (struct maildrop_listing){0};
}

/* One message that is wanted. */
struct maildrop_want {
	uint32_t number;
	uint64_t size_bytes; /* as listed, to bound what is in flight; UINT64_MAX: unknown */
	void *cookie;        /* handed back */
	/* maildrop_mark() of what came for it before and was doubted for its size: it is asked for when nothing else is. 0: nothing did. */
	uint64_t before;
};
/* Whether a message has the size that LIST says, which often is without the line end that its last line gets on the wire. */
static inline bool maildrop_fits(uint64_t listed_bytes, uint64_t size_bytes)
{
	return size_bytes == listed_bytes || (size_bytes > 2 && size_bytes - 2 == listed_bytes);
}
/* Tells one content from another, where that is by chance. Never 0. */
static inline uint64_t maildrop_mark(const unsigned char sha256[MAILDROP_DIGEST_BYTES])
{
	uint64_t mark;
	memcpy(&mark, sha256, sizeof(mark));
	return mark ? mark : 1;
}

/* What is told of a message that was asked for. */
struct maildrop_result {
	/*
	 * 0: it is complete. -ENOENT: the server refuses it (error says how), the session goes on. -EAGAIN: what data() got may
	 * be another message, because a refusal among pipelined answers may be one too many, or because it has not the listed size: to be
	 * asked for again. The same bytes are believed then, whatever their number; size_bytes and sha256 are theirs.
	 */
	int err;
	const struct source_error *error;            /* when err is not 0 */
	uint64_t size_bytes;                         /* bytes given to data() */
	unsigned char sha256[MAILDROP_DIGEST_BYTES]; /* of them */
};

/*
 * Where messages go. Called in the thread that called retrieve(), in the order of the wire. Bytes are those of the message: the line ends
 * as the server sent them, dot-stuffing undone (RFC 1939 §3), the line with the final dot left out. A return other than 0 (a negative
 * errno) ends retrieve() with it, and the session is dead.
 */
struct maildrop_sink {
	void *arg;
	/* The next message to ask for; false: no more for now, and after all answers have come, the end. Called when there is room. */
	bool (*next)(void *arg, struct maildrop_want *ret);
	int (*data)(void *arg, void *cookie, const void *data, size_t len);
	/* The message has ended, or was refused. Not called for what was in flight when the session died. */
	int (*end)(void *arg, void *cookie, const struct maildrop_result *result);
};

/* For each message of remove(): err 0: +OK; -EIO: refused for now; -EACCES: refused (text: the server's words). */
typedef void maildrop_removed_fn(void *arg, uint32_t number, int err, const char *text);

struct maildrop_ops {
	/*
	 * Connects, secures, logs in, asks for the abilities. 0: *ret is a session to be ended with disconnect().
	 * Blocks: network, until deadline_ms (monotonic).
	 */
	int (*connect)(struct maildrop *maildrop, int64_t deadline_ms,
		struct maildrop_session **ret, struct source_error *error);
	/*
	 * Closes the connection and frees the session. Without a quit() before it, the server deletes nothing (RFC 1939 §6).
	 * Blocks: never.
	 */
	void (*disconnect)(struct maildrop_session *session);
	/* Makes the call that runs, and every later one but disconnect(), fail with SOURCE_SCOPE_CANCELLED. Any thread. Blocks: never. */
	void (*cancel)(struct maildrop_session *session);
	/* The time-out of the calls below. Blocks: never. */
	void (*set_timeout)(struct maildrop_session *session, int timeout_ms);
	/*
	 * Final after list(): what holds after the login is asked together with the lists, and uidl is then whether UIDL was
	 * answered. Blocks: never.
	 */
	void (*abilities)(struct maildrop_session *session, struct maildrop_abilities *ret);
	/*
	 * STAT, LIST and, where it is there, UIDL. ret is filled on success. Refused: SOURCE_SCOPE_MAILBOX. What is left of a login may
	 * come with it, and fail. Blocks: network.
	 */
	int (*list)(struct maildrop_session *session, struct maildrop_listing *ret,
		struct source_error *error);
	/*
	 * Fetches what sink->next() names, by RETR, or its header alone, by TOP n 0 (header). With PIPELINING as many are
	 * under way as fit into the window (1,024 commands, 8 MiB of announced sizes, always one). Blocks: network, and on what sink does.
	 */
	int (*retrieve)(struct maildrop_session *session, bool header,
		const struct maildrop_sink *sink, struct source_error *error);
	/* DELE for each number. 0: every one was answered, by fn. Nothing is deleted before quit(). Blocks: network. */
	int (*remove)(struct maildrop_session *session, const uint32_t *numbers, size_t count,
		maildrop_removed_fn *fn, void *arg, struct source_error *error);
	/* QUIT. 0: the server said +OK, and so has deleted what was removed; any error: it may have. The session is then over. Blocks: network. */
	int (*quit)(struct maildrop_session *session, struct source_error *error);
	/*
	 * QUIT from a session that has removed nothing: the answer would tell nothing, and is not waited for. Only disconnect() may
	 * follow. Blocks: no longer than it takes to send.
	 */
	void (*leave)(struct maildrop_session *session);

	/* Frees the maildrop; all sessions have ended. */
	void (*destroy)(struct maildrop *maildrop);
};

/* A protocol's own maildrop begins with this member. */
struct maildrop {
	const struct maildrop_ops *ops;
};

#endif
