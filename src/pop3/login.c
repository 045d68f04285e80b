/* SPDX-License-Identifier: MIT */
/*
 * From the greeting to a session that is logged in.
 *
 * Invariants: no credential goes over a stream that is not secured, unless plain text was asked for by name; what was
 * heard before TLS counts for nothing after it; a password is tried once: the next way to log in is tried only where the server says that
 * it does not know the one before.
 *
 * STLS is sent without asking by CAPA whether it is there: an answer in plain text could not be believed, and it costs a round trip.
 */
#include <errno.h>
#include <string.h>

#include "mailfs/util/log.h"
#include "private.h"

#define TIMESTAMP_BYTES 512

struct greeting {
	char timestamp[TIMESTAMP_BYTES]; /* "": none */
};

/* --- The greeting (RFC 1939 §4, §7) --- */

static void find_timestamp(struct greeting *greeting, struct pop3_slice text)
{
	const char *open = memchr(text.data, '<', text.len);
	const char *close = open ? memchr(open, '>', text.len - (size_t)(open - text.data)) : NULL;
	size_t len = close ? (size_t)(close + 1 - open) : 0;
	greeting->timestamp[0] = 0;
	if (len == 0 || len >= TIMESTAMP_BYTES || memchr(open, 0, len))
		return;
	memcpy(greeting->timestamp, open, len);
	greeting->timestamp[len] = 0;
}

static int greeting_refused(const struct pop3_reply *reply, struct source_error *error)
{
	if (reply->code == POP3_CODE_IN_USE)
		return pop3_login_refused(reply, error);
	return source_fail(error, SOURCE_SCOPE_ACCOUNT,
		reply->code == POP3_CODE_SYS_PERM ? SOURCE_RETRY_NEVER : SOURCE_RETRY_LATER,
		SOURCE_CAUSE_CONNECT, -EIO, "the server refuses the connection; it says: %s",
		pop3_reply_words(reply));
}

static int greeting_read(
	struct pop3_session *session, struct greeting *ret, struct source_error *error)
{
	struct pop3_reply reply;
	int r = pop3_reply_read(session, &reply, error);
	if (r < 0 && session->dead_err == 0 && error->cause == SOURCE_CAUSE_PROTOCOL)
		return pop3_broken(session, "the greeting is not one of POP3", error);
	if (r < 0)
		return r;
	if (reply.status == POP3_ERR)
		return greeting_refused(&reply, error);
	if (reply.status == POP3_CONTINUE)
		return pop3_broken(session, "the greeting is not one of POP3", error);
	find_timestamp(ret, reply.text);
	return 0;
}

/* --- STLS (RFC 2595 §4) --- */

static int tls_refuse(struct source_error *error, const char *why)
{
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NEVER, SOURCE_CAUSE_TLS,
		-EACCES,
		"%s; nothing was sent to it (STLS is required; pop3s:// is TLS from the start, tls=none does without)",
		why);
}

static bool has_unread(const struct pop3_session *session)
{
	return session->begin < session->end || net_buffered(session->stream) > 0;
}

static int secure(struct pop3_session *session, struct source_error *error)
{
	struct pop3_reply reply;
	if (has_unread(session))
		return tls_refuse(error, "the server sent more than a greeting in plain text");
	int r = pop3_command(session, "STLS", &reply, error);
	if (r < 0)
		return r;
	if (reply.status != POP3_OK)
		return tls_refuse(error, "the server refused STLS");
	if (has_unread(session))
		return tls_refuse(
			error, "the server sent data in plain text behind its answer to STLS");
	if (net_start_tls(session->stream, error) < 0) {
		session->dead = true;
		return error->err;
	}
	return 0;
}

/* --- APOP (RFC 1939 §7) and USER, PASS --- */

static int cannot_send(struct source_error *error)
{
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NEVER, SOURCE_CAUSE_LOGIN,
		-EINVAL,
		"the user name or the password is empty, or holds a line break or a NUL, which can not be sent");
}

static bool is_sendable(const char *text, size_t len)
{
	return len > 0 && !memchr(text, 0, len) && !memchr(text, '\r', len) &&
	       !memchr(text, '\n', len);
}

static int apop(struct pop3_session *session, const struct pop3_login *params, const char *digest,
	struct pop3_reply *ret, struct source_error *error)
{
	_cleanup_wipe_ struct str line = STR_INIT;
	str_printf(&line, "APOP %s %s\r\n", params->user, digest);
	if (str_error(&line) < 0)
		return pop3_no_memory(session, error);
	int r = pop3_in_step(session, error);
	log_debug("pop3: APOP");
	if (r == 0)
		r = pop3_send(session, line.data, line.len, error);
	return r < 0 ? r : pop3_answer(session, ret, error);
}

static void append_pass(struct str *line, const struct secret *password)
{
	str_append_cstr(line, "PASS ");
	str_append(line, secret_text(password), secret_len(password));
	str_append(line, "\r\n", 2);
}

static int user_send(struct pop3_session *session, struct str *line, struct source_error *error)
{
	if (str_error(line) < 0)
		return pop3_no_memory(session, error);
	int r = pop3_send(session, line->data, line->len, error);
	str_reset(line);
	return r;
}

static int user_then_pass(struct pop3_session *session, const struct pop3_login *params,
	struct str *line, struct pop3_reply *ret, struct source_error *error)
{
	str_printf(line, "USER %s\r\n", params->user);
	int r = user_send(session, line, error);
	if (r == 0)
		r = pop3_answer(session, ret, error);
	if (r < 0 || ret->status == POP3_ERR)
		return r;
	append_pass(line, params->password);
	r = user_send(session, line, error);
	return r < 0 ? r : pop3_answer(session, ret, error);
}

/* In one write. The answer that counts is that to PASS, but behind a USER that was refused it says less. */
static int user_with_pass(struct pop3_session *session, const struct pop3_login *params,
	struct str *line, struct pop3_reply *ret, struct source_error *error)
{
	struct pop3_reply user;
	str_printf(line, "USER %s\r\n", params->user);
	append_pass(line, params->password);
	int r = user_send(session, line, error);
	if (r == 0)
		r = pop3_answer(session, &user, error);
	if (r == 0)
		r = pop3_answer(session, ret, error);
	if (r == 0 && ret->status == POP3_ERR && user.status == POP3_ERR)
		*ret = user;
	return r;
}

static int user_pass(struct pop3_session *session, const struct pop3_login *params,
	struct pop3_reply *ret, struct source_error *error)
{
	_cleanup_wipe_ struct str line = STR_INIT;
	size_t user_len = strlen(params->user), password_len = secret_len(params->password);
	if (!is_sendable(params->user, user_len) ||
		!is_sendable(secret_text(params->password), password_len))
		return cannot_send(error);
	int r = pop3_in_step(session, error);
	if (r < 0)
		return r;
	str_reserve(&line, user_len + password_len + 20); /* no copy is left behind by growing */
	log_debug("pop3: USER, PASS");
	return session->caps.pipelining ? user_with_pass(session, params, &line, ret, error)
	                                : user_then_pass(session, params, &line, ret, error);
}

/* --- Which of them --- */

/* A way to log in was tried. true: it is settled, *r is how. */
static bool is_settled(const struct pop3_reply *reply, struct source_error *error, int *r)
{
	if (*r < 0 || reply->status == POP3_OK)
		return true;
	if (pop3_is_unsupported(reply))
		return false;
	*r = pop3_login_refused(reply, error);
	return true;
}

static bool try_mechanisms(struct pop3_session *session, const struct pop3_login *params,
	const char *const *names, unsigned offered, struct source_error *error, int *r)
{
	struct pop3_reply reply;
	for (unsigned i = 0; names[i] && i < POP3_MECHANISMS_MAX; i++) {
		if (!(offered & 1U << i))
			continue;
		*r = pop3_sasl(session, params, names[i], &reply, error);
		if (is_settled(&reply, error, r))
			return true;
	}
	return false;
}

static bool try_apop(struct pop3_session *session, const struct pop3_login *params,
	const struct greeting *greeting, struct source_error *error, int *r)
{
	struct pop3_reply reply;
	char digest[33];
	/* A timestamp that is none may be a challenge that was chosen to learn the password from the answer. */
	if (!greeting->timestamp[0] ||
		net_apop_digest(greeting->timestamp, params->password, digest) < 0)
		return false;
	if (!is_sendable(params->user, strlen(params->user)) || strchr(params->user, ' '))
		return false;
	*r = apop(session, params, digest, &reply, error);
	return is_settled(&reply, error, r);
}

static int no_way(struct source_error *error, const char *what)
{
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NEVER, SOURCE_CAUSE_LOGIN,
		-EACCES, "the server offers no way to log in %s", what);
}

static int log_in_token(
	struct pop3_session *session, const struct pop3_login *params, struct source_error *error)
{
	int r = 0;
	if (try_mechanisms(session, params, sasl_token_mechanisms, session->caps.token_mechanisms,
		    error, &r))
		return r;
	return no_way(error, "with an OAuth 2 access token (OAUTHBEARER, XOAUTH2)");
}

/* The bit of a mechanism that sends the password as it is. */
static unsigned plain_bit(void)
{
	for (unsigned i = 0; sasl_mechanisms[i] && i < POP3_MECHANISMS_MAX; i++)
		if (strcmp(sasl_mechanisms[i], "PLAIN") == 0)
			return 1U << i;
	return 0;
}

/*
 * The best first: what does not send the password, then, on a stream that others may read, APOP, which is weak, but better than
 * the password itself; then what sends it.
 */
static int log_in_password(struct pop3_session *session, const struct pop3_login *params,
	const struct greeting *greeting, struct source_error *error)
{
	const struct pop3_capabilities *caps = &session->caps;
	bool secured = net_secured(session->stream);
	bool user = caps->user || !caps->known;
	struct pop3_reply reply;
	int r = 0;
	if (try_mechanisms(
		    session, params, sasl_mechanisms, caps->mechanisms & ~plain_bit(), error, &r))
		return r;
	if (!secured && try_apop(session, params, greeting, error, &r))
		return r;
	if (try_mechanisms(
		    session, params, sasl_mechanisms, caps->mechanisms & plain_bit(), error, &r))
		return r;
	if (secured && !user && try_apop(session, params, greeting, error, &r))
		return r;
	/* A server that leaves USER out may still know it; but it may mean that the stream is not secured. */
	if (!user && !secured)
		return no_way(error, "that mailfs knows (no USER, no mechanism)");
	r = user_pass(session, params, &reply, error);
	if (r < 0 || reply.status == POP3_OK)
		return r;
	return pop3_login_refused(&reply, error);
}

int pop3_log_in(
	struct pop3_session *session, const struct pop3_login *params, struct source_error *error)
{
	struct greeting greeting;
	int r = greeting_read(session, &greeting, error);
	if (r == 0 && params->tls == NET_TLS_STARTTLS) {
		r = secure(session, error);
		greeting.timestamp[0] = 0; /* heard before TLS */
	}
	if (r < 0)
		return r;
	if (params->tls != NET_TLS_NONE && !net_secured(session->stream))
		return tls_refuse(error, "the connection is not secured");
	r = pop3_capa(session, error);
	if (r < 0)
		return r;
	r = params->token ? log_in_token(session, params, error)
	                  : log_in_password(session, params, &greeting, error);
	session->capa_pending = true;
	return r;
}
