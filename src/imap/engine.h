/* SPDX-License-Identifier: MIT */
/*
 * One IMAP connection: responses, capabilities, what the server's codes mean, commands and their answers.
 * Errors of functions that take a source_error: the negative errno that is in it (error must not be NULL).
 */
#ifndef MAILFS_IMAP_ENGINE_H
#define MAILFS_IMAP_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailfs/net.h"
#include "mailfs/source.h"
#include "mailfs/util/str.h"
#include "pace.h"
#include "sexp.h"

/* --- response.c: what a line is (RFC 3501 §7) --- */

struct imap_slice {
	const char *data;
	size_t len;
};
bool imap_slice_is(struct imap_slice slice, const char *word); /* in any case */
struct imap_slice imap_slice_trim(struct imap_slice slice);    /* blanks at both ends */
/* Cuts the next word, up to a blank, off the front. */
struct imap_slice imap_slice_word(struct imap_slice *rest);

enum imap_kind { IMAP_UNTAGGED, IMAP_CONTINUE, IMAP_TAGGED };
enum imap_status { IMAP_NONE, IMAP_OK, IMAP_NO, IMAP_BAD, IMAP_BYE, IMAP_PREAUTH };

struct imap_response {
	enum imap_kind kind;
	enum imap_status status; /* IMAP_NONE: not a status response */
	bool numbered;           /* "* 23 EXISTS" */
	uint32_t number;
	struct imap_slice tag;  /* of a tagged one */
	struct imap_slice name; /* EXISTS, FETCH, LIST, OK, … */
	struct imap_slice args; /* all behind the name; of a continuation: all behind "+" */
	struct imap_slice code, code_args; /* of a status: [CODE ARGS]; empty: none */
	struct imap_slice text;            /* of a status: the words for a person */
};
/* -EPROTO: nothing that a server may send. The slices point into data. */
int imap_response_parse(const char *data, size_t len, struct imap_response *ret);

/* --- capability.c (RFC 3501 §7.2.1) --- */

enum imap_capability {
	IMAP_CAP_STARTTLS = 1 << 0,
	IMAP_CAP_LOGINDISABLED = 1 << 1,
	IMAP_CAP_SASL_IR = 1 << 2,       /* RFC 4959 */
	IMAP_CAP_LITERAL_PLUS = 1 << 3,  /* RFC 7888 */
	IMAP_CAP_LITERAL_MINUS = 1 << 4, /* likewise, up to 4096 bytes */
	IMAP_CAP_NAMESPACE = 1 << 5,     /* RFC 2342 */
	IMAP_CAP_ID = 1 << 6,            /* RFC 2971 */
	IMAP_CAP_QUOTA = 1 << 7,         /* RFC 9208 */
	IMAP_CAP_CONDSTORE = 1 << 8,     /* RFC 7162; QRESYNC implies it */
	IMAP_CAP_LIST_EXTENDED = 1 << 9, /* RFC 5258 */
	IMAP_CAP_SPECIAL_USE = 1 << 10,  /* RFC 6154 */
	IMAP_CAP_GMAIL = 1 << 11,        /* X-GM-EXT-1 */
	IMAP_CAP_ENABLE = 1 << 12,       /* RFC 5161 */
	IMAP_CAP_QRESYNC = 1 << 13,      /* RFC 7162 */
	IMAP_CAP_IDLE = 1 << 14,         /* RFC 2177 */
	IMAP_CAP_NOTIFY = 1 << 15,       /* RFC 5465 */
	IMAP_CAP_ESEARCH = 1 << 16,      /* RFC 4731 */
	IMAP_CAP_OBJECTID = 1 << 17,     /* RFC 8474 */
	IMAP_CAP_UNSELECT = 1 << 18,     /* RFC 3691 */
	IMAP_CAP_COMPRESS = 1 << 19,     /* RFC 4978: COMPRESS=DEFLATE */
};
struct imap_capabilities {
	bool known;                /* the server has told them since the last change of state */
	unsigned set;              /* enum imap_capability */
	unsigned mechanisms;       /* bit n: AUTH=sasl_mechanisms[n] */
	unsigned token_mechanisms; /* bit n: AUTH=sasl_token_mechanisms[n] */
};
/* Replaces the set by that of a list of words. */
void imap_capabilities_parse(struct imap_capabilities *caps, struct imap_slice words);
/* Replaces out by the words as one line for people, without what is not printable, and not longer than anybody reads. */
void imap_capabilities_print(struct imap_slice words, struct str *out);
/* Replaces out by the name and version in the server's answer to ID (RFC 2971), likewise; empty: it tells none. */
void imap_id_print(struct imap_tree *tree, struct imap_slice args, struct str *out);

/* --- code.c: response codes and words (RFC 5530) to what a file operation shall give --- */

struct imap_answer {
	enum imap_status status;
	enum source_cause cause;
	enum source_retry retry;
	int err;          /* what the code or the words of a NO or BAD mean */
	bool known;       /* the tables tell it; false: a guess */
	bool unsupported; /* the server does not know the command or the SASL mechanism */
	char text[300];   /* the server's words */
};
void imap_answer_read(struct imap_answer *answer, const struct imap_response *response);
/* Fills error from a NO, BAD or BYE: "WHAT: the server says: WORDS". Returns answer->err. */
int imap_answer_fail(const struct imap_answer *answer, enum source_scope scope, const char *what,
	struct source_error *error);

/* --- namespace.c (RFC 2342) --- */

#define IMAP_NAMESPACES_MAX 64

struct imap_namespace {
	char *prefix;
	char delimiter; /* 0: none */
	unsigned flag;  /* SOURCE_MAILBOX_PERSONAL, _OTHER or _SHARED */
};
struct imap_namespaces {
	struct imap_namespace items[IMAP_NAMESPACES_MAX];
	size_t count;
};

void imap_namespaces_finish(struct imap_namespaces *spaces);

/* --- engine.c --- */

#define IMAP_TIMEOUT_MS 30000 /* of an operation, until set_timeout() */

struct imap_engine {
	struct net_stream *stream;
	struct imap_capabilities caps;
	struct imap_answer answer; /* the tagged answer to the last command */
	struct str line;           /* the response that is being looked at */
	struct imap_tree tree;     /* scratch for handlers */
	struct str scratch;        /* likewise */
	int tag;                   /* number of the last command; its tag is C and the number */
	unsigned waiting; /* commands of a pipeline that are not answered; 0: there is none */
	int companions;   /* so many before it were sent with it (imap_engine_run_all) */
	int timeout_ms;
	unsigned refused; /* enum imap_capability: announced, but the server does not do it */
	bool qresync;     /* ENABLE QRESYNC was accepted */
	bool compressed;  /* COMPRESS DEFLATE was */
	struct str words; /* the capabilities as the server wrote them */
	struct str name;  /* what it says it is (ID) */
	bool opening; /* the source's first session, before its first LIST, which the quota goes with */
	bool has_spaces; /* spaces is what the server said */
	struct imap_namespaces spaces;
	bool has_quota; /* likewise, for the first who asks */
	struct source_quota quota;
	unsigned
		lacking; /* bit n: sasl_mechanisms[n] was refused as if the server had no secret for it */
	bool dead;       /* connection lost or out of step: nothing more is sent */
	int dead_err;             /* the network's error, if that was it */
	unsigned alerts;          /* ALERTs so far */
	bool in_clear;            /* TLS is still to come: who speaks may be anybody */
	bool leaving;             /* LOGOUT was sent: BYE is no failure */
	bool selected;            /* by the last select(), and still the same */
	bool opened;              /* the server may have a mailbox open, whatever we think of it */
	bool notifying;           /* the server tells of other mailboxes (NOTIFY) */
	int watch_tag;            /* the last command of the last watch; 0: there was none */
	char *watched;            /* the mailbox of that watch; NULL: all */
	uint32_t uidvalidity;     /* of the selected mailbox; 0: not known yet */
	uint32_t messages;        /* the last EXISTS, as far as it is believed */
	bool uidvalidity_changed; /* the server changed it under us */
	struct imap_pace pace;    /* the deadline of a call that imap_engine_begin() began */
	bool streaming;           /* what arrives moves it on */
	uint64_t bytes;           /* received since imap_engine_begin() or imap_engine_useful() */
};

/* Takes the stream. */
void imap_engine_init(struct imap_engine *engine, struct net_stream *stream);
/* TLS begins: what was heard before it, by whomever, is forgotten. */
void imap_engine_secured(struct imap_engine *engine);
/* Closes the connection. */
void imap_engine_finish(struct imap_engine *engine);
/*
 * An operation begins: its deadline is timeout_ms from now. Where an exchange is streaming, the deadline is moved on as
 * long as the server sends at a reasonable rate: in each window of 5 s (of half the time-out, if that is less), 1 KiB/s, or a row a second, for a
 * day at the most.
 */
void imap_engine_begin(struct imap_engine *engine);

struct imap_exchange;
/*
 * Looks at an untagged response; it is valid during the call. A negative errno ends the exchange with that
 * error, once the tagged answer is there.
 */
typedef int imap_untagged_fn(
	struct imap_engine *engine, const struct imap_response *response, void *arg);

/* How a command is run. All members may be 0. */
struct imap_exchange {
	const char *what; /* for the error: what failed, for a person. NULL: "the server refused" */
	enum source_scope scope; /* of a refusal */
	imap_untagged_fn *untagged;
	void *arg;
	const struct net_limits *limits; /* NULL: net_limits_default */
	uint64_t responses_max;          /* 0: 10,000 */
	uint64_t bytes_max;              /* of all of them; 0: 256 MiB */
	bool per_message;                /* and four for each message (EXISTS) */
	bool streaming;                  /* see imap_engine_begin() */
};

/* A command, in pieces that a synchronizing literal ends. */
struct imap_command {
	struct str text;
	size_t waits[16]; /* offsets in text where "+" must come before the rest is sent */
	unsigned wait_count;
	bool bad; /* holds a string that can not be sent */
};
/* Begins "TAG NAME" with the engine's next tag. */
void imap_command_init(struct imap_command *command, struct imap_engine *engine, const char *format,
	...) __attribute__((format(printf, 3, 4)));
/* Wipes (it may hold a password) and frees. */
void imap_command_finish(struct imap_command *command);
#define _cleanup_command_ __attribute__((cleanup(imap_command_finish)))
/* Appends a string as quoted where that is safe, else as a literal. NUL, CR and LF make the command fail with -EINVAL. */
void imap_command_string(
	struct imap_command *command, const struct imap_engine *engine, const char *text);

/*
 * Sends the command and reads its answer; every untagged response goes to exchange->untagged. 0: the server said OK. NO
 * and BAD: engine->answer, and error filled from it with exchange->scope.
 */
int imap_engine_run(struct imap_engine *engine, struct imap_command *command,
	const struct imap_exchange *exchange, struct source_error *error);

/* One of several commands that are sent together. */
struct imap_errand {
	struct imap_command command;
	struct imap_answer answer; /* status IMAP_NONE: not yet */
};
/*
 * As imap_engine_run(), for commands that were begun one right after the other, none of which depends on the answer to another: they take one round
 * trip. 0: each has its answer, whatever it is. Untagged responses, whosever they are, go to exchange->untagged.
 */
int imap_engine_run_all(struct imap_engine *engine, struct imap_errand *errands, size_t count,
	const struct imap_exchange *exchange, struct source_error *error);
void imap_errands_finish(struct imap_errand *errands, size_t count);

/* The steps of it, for commands with a dialogue of their own. */
int imap_engine_send(
	struct imap_engine *engine, const void *data, size_t len, struct source_error *error);
/* Reads one response. BYE, an unreadable line and a wrong tag end the connection; what concerns the connection is noted. */
int imap_engine_read(struct imap_engine *engine, const struct imap_exchange *exchange,
	struct imap_response *ret, struct source_error *error);
/*
 * Hands an untagged response to who has asked. -ENOMEM also where it could not be parsed for that: what it says is not known, so nobody may take it
 * for nothing.
 */
int imap_engine_tell(struct imap_engine *engine, const struct imap_exchange *exchange,
	const struct imap_response *response);
/* Reads up to the next continuation or tagged answer (engine->answer). *ret is valid until the next read. */
int imap_engine_next(struct imap_engine *engine, const struct imap_exchange *exchange,
	struct imap_response *ret, struct source_error *error);
/* How many untagged responses an exchange may have. */
uint64_t imap_engine_responses_max(
	const struct imap_engine *engine, const struct imap_exchange *exchange);
/* A handler ended an exchange with err. Returns it. */
int imap_engine_stopped(int err, struct source_error *error);
/* So many bytes came that are not, or not any more, in the response: bytes_max counts them. */
void imap_engine_received(struct imap_engine *engine, size_t bytes);
/*
 * In an exchange that is not streaming, so many bytes came of what was asked for: they move its deadline on (see imap_engine_begin()). How many there may be the
 * caller knows; bytes_max is for what else comes.
 */
void imap_engine_progress(struct imap_engine *engine, size_t bytes);
/* A row that was asked for came. */
void imap_engine_row(struct imap_engine *engine);
/* What came was asked for: bytes_max counts from here. */
void imap_engine_useful(struct imap_engine *engine);
/* Our own side took so long that the server could not send, or was not read: that is no fault of its. */
void imap_engine_pause(struct imap_engine *engine, int64_t ms);
/*
 * Sends a command while others wait for their answers: a pipeline, whose answers come in its order. imap_engine_read() gives
 * them one by one. The command must be the last that was begun; it has no synchronizing literal.
 */
int imap_engine_pipeline(
	struct imap_engine *engine, const struct imap_command *command, struct source_error *error);
/* Whether the mailbox is still the one that was selected: 0, or the error that says so. After the last answer. */
int imap_engine_settle(struct imap_engine *engine, struct source_error *error);
/* What the server has announced and refuses is not used any more in this session. what: for the log. */
void imap_engine_refuse(struct imap_engine *engine, unsigned capabilities, const char *what);
/* Whether the last command was answered with NO or BAD. */
bool imap_engine_refused(const struct imap_engine *engine);
/* Whether that was because the server does not understand it. */
bool imap_engine_not_understood(const struct imap_engine *engine);
/* The connection failed with err. Returns the errno in error. */
int imap_engine_lost(struct imap_engine *engine, int err, struct source_error *error);
/* The connection is of no use any more. Returns the errno in error. */
int imap_engine_broken(struct imap_engine *engine, const char *why, struct source_error *error);

#endif
