/* SPDX-License-Identifier: MIT */
/* What the files of the IMAP source share above the engine. */
#ifndef MAILFS_IMAP_PRIVATE_H
#define MAILFS_IMAP_PRIVATE_H

#include "engine.h"
#include "limits.h"
#include "mailfs/imap.h"
#include "mailfs/mime.h"

/* --- login.c --- */

struct imap_login_params {
	enum net_tls tls;
	const char *user;
	const struct secret *password;
	bool token; /* the password is an OAuth 2 access token */
	unsigned
		lacking; /* bit n: an earlier login has shown that the server has no secret for sasl_mechanisms[n] */
};
/*
 * From the greeting to a session that is logged in. The stream's deadline is set. No credential is sent unless the stream is
 * secured or NET_TLS_NONE was asked for. Blocks: network.
 */
int imap_login(struct imap_engine *engine, const struct imap_login_params *params,
	struct source_error *error);

/* --- The calls of source.h, each an operation with a deadline of its own --- */

int imap_list(
	struct imap_engine *engine, source_mailbox_fn *fn, void *arg, struct source_error *error);
int imap_quota(struct imap_engine *engine, struct source_quota *ret, struct source_error *error);
int imap_select(struct imap_engine *engine, const char *mailbox, bool readonly,
	const struct source_resync *resync, struct source_state *ret, struct source_error *error);
int imap_status(struct imap_engine *engine, const char *mailbox, struct source_state *ret,
	struct source_error *error);
int imap_rows(struct imap_engine *engine, uint32_t first, uint32_t last,
	enum source_columns columns, source_row_fn *fn, void *arg, unsigned *ret_skipped,
	struct source_error *error);
int imap_changed(struct imap_engine *engine, uint32_t first, uint32_t last, uint64_t modseq,
	source_row_fn *fn, void *arg, unsigned *ret_skipped, struct source_error *error);
int imap_uids(struct imap_engine *engine, uint32_t first, uint32_t last, source_range_fn *fn,
	void *arg, struct source_error *error);
int imap_structures(struct imap_engine *engine, const uint32_t *uids, size_t count,
	source_structure_fn *fn, void *arg, struct source_error *error);
int imap_body(struct imap_engine *engine, uint32_t uid, const char *section, uint64_t offset,
	uint64_t length, uint64_t limit_bytes, struct str *out, struct source_error *error);
int imap_bulk(
	struct imap_engine *engine, const struct source_bulk *calls, struct source_error *error);
int imap_compress(struct imap_engine *engine, struct source_error *error);
int imap_watch(struct imap_engine *engine, const char *mailbox, int64_t until_ms,
	source_event_fn *fn, void *arg, struct source_error *error);

/* --- fetch.c: what FETCH responses have in common --- */

struct imap_fetch {
	uint32_t uid;                 /* 0: it does not tell */
	const struct imap_node *item; /* the first item's name; NULL: none */
	bool damaged; /* the response is malformed; the items before the fault are there */
};
/* Whether this is a FETCH; its items are in engine->tree then. */
bool imap_fetch_parse(
	struct imap_engine *engine, const struct imap_response *response, struct imap_fetch *ret);
/* The value behind an item's name, NULL when it is missing, and *ret_next: the next item's name. */
const struct imap_node *imap_fetch_value(const struct imap_tree *tree, const struct imap_node *item,
	const struct imap_node **ret_next);
/*
 * Appends as many of the ascending uids as a command line has room for, as ranges. The number of those it
 * took, at least one.
 */
size_t imap_uid_set_append(struct str *out, const uint32_t *uids, size_t count);
/*
 * The limits of listings and structures. What is in them comes from senders, who may write a Subject of megabytes or a message of
 * thousands of parts: such a row must not cost the connection, and with it the rows of all the others; nor may it cost memory. So what is too
 * long to be held is cut: a line in its end, which leaves a response that is malformed; a literal to nothing. Of one that is header fields, what
 * is kept of each goes to header.
 */
struct imap_long {
	struct imap_engine *engine;
	struct mime_fields *header; /* NULL: nowhere */
	bool receiving;
	bool left_out; /* a literal was; reset by who looks at responses */
};
void imap_long_limits(struct imap_long *own, uint64_t line_bytes, struct net_limits *ret);
/* Fails unless a mailbox is selected. */
int imap_fetch_begin(struct imap_engine *engine, struct source_error *error);

/* --- rows.c: one row --- */

/* The texts of a row live here until the next one is read. Zero it before, finish it after. */
struct imap_row_reader {
	struct str flags, labels, header;
	struct mime_fields long_header; /* of header fields that are too long to be held */
};
/* Whether the response is a FETCH, and what of a row is in it. */
bool imap_row_read(struct imap_engine *engine, const struct imap_response *response,
	struct imap_row_reader *reader, struct imap_fetch *ret_fetch, struct source_row *ret);
/* -ENOMEM: what was read lacks something. */
int imap_row_error(const struct imap_row_reader *reader);
void imap_row_finish(struct imap_row_reader *reader);

/* --- set.c: sets of UIDs --- */

enum imap_set_kind { IMAP_SET_VANISHED, IMAP_SET_SEARCH };
struct imap_set {
	enum imap_set_kind kind;
	uint32_t first, last; /* what is outside is not told */
	source_range_fn *fn;  /* NULL: nothing is told */
	void *arg;
	bool malformed; /* some of what came is no set of UIDs */
	int err;        /* what fn returned, negative; 0: nothing of the kind */
	uint32_t run_first, run_last;
	struct imap_engine *engine;
};
void imap_set_init(struct imap_set *set, enum imap_set_kind kind, uint32_t first, uint32_t last,
	source_range_fn *fn, void *arg);
/* Whether the response is of this kind (VANISHED; SEARCH or, with the running command's tag, ESEARCH); it is told then. */
bool imap_set_read(
	struct imap_set *set, struct imap_engine *engine, const struct imap_response *response);
/* The limits of an exchange in which such responses are of any length: they are told while they arrive, and not held. */
void imap_set_limits(struct imap_set *set, struct imap_engine *engine, struct net_limits *ret);

/* --- select.c --- */

/* The hash of an OBJECTID (RFC 8474), "(ID)" or "ID"; 0: it is none. */
uint64_t imap_mailbox_id(struct imap_slice id);
/* ENABLE of what the server announces and the session will use (RFC 5161). false: nothing. */
bool imap_enable_command(struct imap_engine *engine, struct imap_command *command);
int imap_enable_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg);
void imap_enable_answered(struct imap_engine *engine, const struct imap_answer *answer);

/* --- quota.c --- */

#define IMAP_QUOTA_COMMAND "GETQUOTAROOT \"INBOX\""
/* arg: a struct source_quota, zeroed. */
int imap_quota_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg);

/* --- opening.c --- */

/*
 * What is said at once when a session is logged in: who we are, what of the server's we use, and in the first session of a source the question for
 * its namespaces. Refusals are no errors. Blocks: network, one round trip.
 */
int imap_open(struct imap_engine *engine, struct source_error *error);

/* --- watch.c, notify.c --- */

struct imap_watch {
	struct imap_engine *engine;
	int64_t until_ms;
	source_event_fn *fn;
	void *arg;
	const char *mailbox;        /* NULL: all */
	imap_untagged_fn *untagged; /* notes what is to be told; its arg is the watch */
	bool armed;                 /* READY was told: what comes is news */
	bool continued;             /* the last watch was the same and nothing came in between */
	bool counted; /* exists is what the server said last, and none has gone since */
	uint32_t exists;
	/* To be told. */
	bool list, lost;
	bool ended;       /* the server will tell nothing more */
	struct str names; /* of mailboxes, NUL-terminated */
	unsigned name_count;
};
/* From now on what the server says is news. */
void imap_watch_ready(struct imap_watch *watch);
/* Notes that a mailbox changed. */
void imap_watch_note(struct imap_watch *watch, const char *mailbox, size_t len);
/* Tells what was noted. */
void imap_watch_tell(struct imap_watch *watch);
/*
 * Reads what comes, and tells it, until until_ms or a poke: 0; until a tagged answer (engine->answer), or `ended`: 1; or the
 * connection is lost.
 */
int imap_watch_wait(struct imap_watch *watch, struct source_error *error);
/* The watch of all mailboxes, by NOTIFY. */
int imap_notify(struct imap_watch *watch, struct source_error *error);

/* --- bodystructure.c --- */

/* The structure that a BODYSTRUCTURE's list tells, as far as the limits reach; its parts say what was cut. -EPROTO: not understood. -ENOMEM. */
int imap_bodystructure_parse(
	const struct imap_tree *tree, const struct imap_node *list, struct mime_part **ret);

/* --- mutf7.c --- */

/*
 * Appends the name as it stands on the wire elsewhere: what is not modified UTF-7 but UTF-8 becomes that. Dovecot 2.3 writes names so in the STATUS
 * responses of NOTIFY, and nowhere else.
 */
int imap_mailbox_to_wire(const char *name, struct str *out);

/* --- date.c --- */

/* Reads an INTERNALDATE ("17-Jul-1996 02:44:25 -0700", RFC 3501 date-time) as seconds since the epoch. false: it is none. */
bool imap_date_parse(const char *text, size_t len, int64_t *ret_s);

#endif
