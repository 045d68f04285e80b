/* SPDX-License-Identifier: MIT */
/*
 * What the files of the POP3 maildrop share. From the wire upwards: reader, reply, command; then capa, sasl, login; then
 * list, retrieve (over multiline), remove; session and maildrop above all.
 *
 * Errors of functions that take a source_error: the negative errno that is in it (error must not be NULL).
 */
#ifndef MAILFS_POP3_PRIVATE_H
#define MAILFS_POP3_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailfs/maildrop.h"
#include "mailfs/net.h"
#include "mailfs/pop3.h"

#define POP3_TIMEOUT_MS     30000 /* of a call, until set_timeout() */
#define POP3_BUFFER_BYTES   ((size_t)128 * 1024)
#define POP3_LINE_BYTES     ((size_t)4096)      /* of a status line, a line of a list */
#define POP3_SASL_BYTES     ((size_t)16 * 1024) /* of a challenge; RFC 5034 §4 speaks of 12288 */
#define POP3_RENEW_BYTES    ((size_t)64 * 1024) /* so much received moves the deadline on */
#define POP3_WINDOW_COUNT   1024                /* commands that wait for their answers */
#define POP3_WINDOW_BYTES   ((uint64_t)8 << 20) /* announced and not yet received */
#define POP3_COMMAND_BYTES  255                 /* RFC 2449 §4 */
#define POP3_MECHANISMS_MAX 8

struct pop3_slice {
	const char *data;
	size_t len;
};
/* Whether the slice is this word, in any case. */
bool pop3_slice_is(struct pop3_slice slice, const char *word);
/* Cuts the next word, up to a blank, off the front. Empty: there is none. */
struct pop3_slice pop3_slice_word(struct pop3_slice *rest);
/* false: not a number of digits alone, or one above max. */
bool pop3_slice_number(struct pop3_slice slice, uint64_t max, uint64_t *ret);

/* --- capa.c (RFC 2449) --- */

struct pop3_capabilities {
	bool known; /* the server knows CAPA */
	bool user, uidl, top, pipelining;
	unsigned mechanisms,
		token_mechanisms; /* bit n: sasl_mechanisms[n], sasl_token_mechanisms[n] */
	unsigned login_delay_s;
	int expire_days; /* as in maildrop_abilities */
};

/* --- The session --- */

struct pop3_session {
	struct net_stream *stream;
	char *buffer; /* what was received and not yet taken: begin to end */
	size_t begin, end;
	size_t received; /* bytes since the deadline was moved on */
	int64_t deadline_ms;
	int timeout_ms;
	bool connecting; /* the deadline is the caller's: it does not move */
	struct pop3_capabilities caps;
	/*
	 * SASL is done but for an empty line of ours and the server's OK, which travel with the first commands: the server has proved
	 * that it knows the password, so that only a refusal for another reason can come of it.
	 */
	bool login_pending;
	bool capa_pending; /* to be asked for again, after the login */
	bool *one_by_one;  /* of the maildrop: PIPELINING is not believed; NULL: it is */
	bool dead;         /* connection lost or out of step: nothing more is sent */
	int dead_err;      /* the network's error, if that was it */
	struct net_sha256 *digest;
	struct source_error spare; /* where the caller wants none */
};

/* A call begins: its deadline. Fails on a dead session. */
int pop3_begin(struct pop3_session *session, struct source_error *error);
/* Something has ended, or has been answered: the deadline moves on. */
void pop3_renew(struct pop3_session *session);
/* The time since since_ms was spent by the caller, not by the server. */
void pop3_excuse(struct pop3_session *session, int64_t since_ms);
/* The network's error ends the session. Returns the errno in error. */
int pop3_dead(struct pop3_session *session, int err, struct source_error *error);
/* What the server sends can not be understood, or there is no memory to: this ends the session. */
int pop3_broken(struct pop3_session *session, const char *why, struct source_error *error);
int pop3_no_memory(struct pop3_session *session, struct source_error *error);
/* How many commands may wait for their answers. */
size_t pop3_window_count(const struct pop3_session *session);
/* The sink has had enough (err). */
int pop3_stopped(struct pop3_session *session, int err, struct source_error *error);

/* --- reader.c --- */

/* Reads at least one more byte behind what is there. There is room as long as less than POP3_BUFFER_BYTES are. */
int pop3_fill(struct pop3_session *session, struct source_error *error);
/*
 * The next line, without its line end (CRLF, or a bare LF: *ret_bare, may be NULL), valid until the next read. At most limit bytes,
 * which is less than POP3_BUFFER_BYTES.
 */
int pop3_line(struct pop3_session *session, size_t limit, struct pop3_slice *ret, bool *ret_bare,
	struct source_error *error);
/* Whether there are bytes that were received and not yet read, and that are more than line ends. */
bool pop3_is_ahead(struct pop3_session *session);

/* --- reply.c: the one line that answers a command (RFC 1939 §3, RFC 2449 §8, RFC 3206) --- */

enum pop3_status { POP3_OK, POP3_ERR, POP3_CONTINUE };
enum pop3_code {
	POP3_CODE_NONE,
	POP3_CODE_OTHER,
	POP3_CODE_IN_USE,
	POP3_CODE_LOGIN_DELAY,
	POP3_CODE_AUTH,
	POP3_CODE_SYS_TEMP,
	POP3_CODE_SYS_PERM,
};
struct pop3_reply {
	enum pop3_status status;
	enum pop3_code code;    /* of a refusal */
	bool bare;              /* the line ended in LF alone */
	struct pop3_slice text; /* behind the status; valid until the next read */
	char words[300];        /* behind status and code, for a person */
};
/* -EPROTO: none of those that a server may send. */
int pop3_reply_parse(struct pop3_slice line, struct pop3_reply *ret);
/* Its words, for a person to read. */
const char *pop3_reply_words(const struct pop3_reply *reply);
int pop3_reply_read(
	struct pop3_session *session, struct pop3_reply *ret, struct source_error *error);
/* A refusal as an error: "WHAT: the server says: WORDS". err is what it gives. */
int pop3_refused(const struct pop3_reply *reply, enum source_scope scope, int err, const char *what,
	struct source_error *error);
/* A refused login. */
int pop3_login_refused(const struct pop3_reply *reply, struct source_error *error);
/* Whether the server refuses because it does not know the command or the mechanism, rather than the password. */
bool pop3_is_unsupported(const struct pop3_reply *reply);

/* --- command.c --- */

/* Sends whole commands. */
int pop3_send(
	struct pop3_session *session, const void *data, size_t len, struct source_error *error);
/*
 * To be called where every command has been answered, before the next is sent: what lies there unread is an answer to
 * nothing, and must not be taken for one.
 */
int pop3_in_step(struct pop3_session *session, struct source_error *error);
/* Sends one command that holds no secret (without CRLF) and reads its answer; POP3_CONTINUE is an error. */
int pop3_command(struct pop3_session *session, const char *command, struct pop3_reply *ret,
	struct source_error *error);
/* Reads the answer to a command that was sent; POP3_CONTINUE is an error. */
int pop3_answer(struct pop3_session *session, struct pop3_reply *ret, struct source_error *error);

/* A line of a multi-line answer; a negative errno: no memory. */
typedef int pop3_row_fn(void *arg, struct pop3_slice line);
struct pop3_rows {
	pop3_row_fn *fn;
	void *arg;
	size_t lines_max;
	uint64_t bytes_max;
};
/* Reads a multi-line answer behind its status line. */
int pop3_rows_read(
	struct pop3_session *session, const struct pop3_rows *rows, struct source_error *error);

/* Wipes what may hold a secret, and frees it. */
void pop3_str_wipe(struct str *s);
#define _cleanup_wipe_ __attribute__((cleanup(pop3_str_wipe)))

/* --- capa.c --- */

/* CAPA. -ERR is no error: ret is then as it was. */
int pop3_capa(struct pop3_session *session, struct source_error *error);
/* The answer to a CAPA that was sent. */
int pop3_capa_answer(struct pop3_session *session, struct source_error *error);
/* The answer to the last line of a login that was sent. */
int pop3_login_answer(struct pop3_session *session, struct source_error *error);
/* Ends the login, if that is still to be done. */
int pop3_login_settle(struct pop3_session *session, struct source_error *error);
/* Asks what holds after the login, unless that was done. */
int pop3_capa_settle(struct pop3_session *session, struct source_error *error);
/* One line of CAPA's answer. */
void pop3_capa_parse(struct pop3_capabilities *caps, struct pop3_slice line);

/* --- sasl.c, login.c --- */

struct pop3_login {
	enum net_tls tls;
	const char *user;
	const struct secret *password;
	bool token;
};
/* AUTH (RFC 5034). 0: answered, see ret. */
int pop3_sasl(struct pop3_session *session, const struct pop3_login *params, const char *mechanism,
	struct pop3_reply *ret, struct source_error *error);
/*
 * From the greeting to a session that is logged in. The stream's deadline is set. No credential is sent unless the stream is
 * secured or NET_TLS_NONE was asked for. Blocks: network.
 */
int pop3_log_in(
	struct pop3_session *session, const struct pop3_login *params, struct source_error *error);

/* --- multiline.c: a message out of its multi-line answer --- */

enum pop3_ends { POP3_ENDS_UNKNOWN, POP3_ENDS_CRLF, POP3_ENDS_LF };
enum pop3_at { POP3_AT_START, POP3_AT_BARE, POP3_AT_INSIDE };
struct pop3_multiline {
	enum pop3_ends ends;     /* what a line ends in */
	enum pop3_at at;         /* behind a line's end, behind an LF that may be none, elsewhere */
	bool cr;                 /* the byte before is CR */
	bool ended;              /* the final dot was seen */
	uint64_t given;          /* bytes of the message so far */
	uint64_t expected_bytes; /* as listed; UINT64_MAX: unknown */
};
/* bare: the status line ended in LF alone. */
void pop3_multiline_init(struct pop3_multiline *multiline, bool bare, uint64_t expected_bytes);
/*
 * Takes from the front of data, and gives in *ret_run the bytes of the message that are in what it took. The number of bytes taken; 0:
 * more must come first (it then left at most 2).
 */
size_t pop3_multiline_take(
	struct pop3_multiline *multiline, const char *data, size_t len, struct pop3_slice *ret_run);

/* --- The calls of maildrop.h --- */

int pop3_list(
	struct pop3_session *session, struct maildrop_listing *ret, struct source_error *error);
int pop3_retrieve(struct pop3_session *session, bool header, const struct maildrop_sink *sink,
	struct source_error *error);
int pop3_remove(struct pop3_session *session, const uint32_t *numbers, size_t count,
	maildrop_removed_fn *fn, void *arg, struct source_error *error);
int pop3_quit(struct pop3_session *session, struct source_error *error);
void pop3_leave(struct pop3_session *session);

/* --- session.c --- */

/* Connects and logs in. 0: *ret is freed by pop3_session_destroy(). */
int pop3_session_create(struct net_context *net, const struct pop3_login *login,
	int64_t deadline_ms, struct pop3_session **ret, struct source_error *error);
/* Closes the connection. */
void pop3_session_destroy(struct pop3_session *session);

#endif
