/* SPDX-License-Identifier: MIT */
/*
 * A session's life: its connection, its deadline, its death.
 *
 * Invariants: after a failure of the connection, or an answer that can not be understood, `dead` is set and nothing more goes out, because
 * what follows could be taken for the answer to something else. The deadline moves only with what arrives, and with
 * time that the caller spent.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "private.h"

static void session_deadline(struct pop3_session *session, int64_t deadline_ms)
{
	session->deadline_ms = deadline_ms;
	net_set_deadline(session->stream, deadline_ms);
}

void pop3_renew(struct pop3_session *session)
{
	session->received = 0;
	if (!session->connecting)
		session_deadline(session, clock_now_ms() + session->timeout_ms);
}

void pop3_excuse(struct pop3_session *session, int64_t since_ms)
{
	int64_t spent = clock_now_ms() - since_ms;
	if (spent > 0)
		session_deadline(session, session->deadline_ms + spent);
}

static int session_is_dead(struct pop3_session *session, struct source_error *error)
{
	if (session->dead_err < 0)
		return pop3_dead(session, session->dead_err, error);
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NOW, SOURCE_CAUSE_CONNECT,
		-EIO, "the connection has ended");
}

int pop3_begin(struct pop3_session *session, struct source_error *error)
{
	if (session->dead)
		return session_is_dead(session, error);
	pop3_renew(session);
	return 0;
}

int pop3_dead(struct pop3_session *session, int err, struct source_error *error)
{
	session->dead = true;
	session->dead_err = err;
	net_fail(session->stream, err, error);
	return error->err;
}

int pop3_broken(struct pop3_session *session, const char *why, struct source_error *error)
{
	session->dead = true;
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_PROTOCOL,
		-EIO, "the server's answer can not be understood: %s", why);
}

int pop3_no_memory(struct pop3_session *session, struct source_error *error)
{
	session->dead = true;
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_OTHER,
		-ENOMEM, "out of memory");
}

int pop3_stopped(struct pop3_session *session, int err, struct source_error *error)
{
	session->dead = true;
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_OTHER, err,
		"stopped: %s", strerror(-err));
}

size_t pop3_window_count(const struct pop3_session *session)
{
	bool one = session->one_by_one && *session->one_by_one;
	return session->caps.pipelining && !one ? POP3_WINDOW_COUNT : 1;
}

void pop3_session_destroy(struct pop3_session *session)
{
	net_close(session->stream);
	net_sha256_destroy(session->digest);
	free(session->buffer);
	free(session);
}

static struct pop3_session *session_new(void)
{
	struct pop3_session *session = calloc(1, sizeof(*session));
	if (!session)
		return NULL;
	session->buffer = malloc(POP3_BUFFER_BYTES);
	session->digest = net_sha256_create();
	session->timeout_ms = POP3_TIMEOUT_MS;
	session->caps.expire_days = -1;
	if (session->buffer && session->digest)
		return session;
	pop3_session_destroy(session);
	return NULL;
}

static int session_open(struct pop3_session *session, struct net_context *net,
	const struct pop3_login *login, int64_t deadline_ms, struct source_error *error)
{
	if (net_connect(net, deadline_ms, &session->stream, error) < 0)
		return error->err;
	session_deadline(session, deadline_ms);
	session->connecting = true;
	int r = pop3_log_in(session, login, error);
	session->connecting = false;
	if (r == 0)
		net_established(session->stream);
	return r;
}

int pop3_session_create(struct net_context *net, const struct pop3_login *login,
	int64_t deadline_ms, struct pop3_session **ret, struct source_error *error)
{
	struct pop3_session *session = session_new();
	if (!session)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_OTHER, -ENOMEM, "out of memory");
	int r = session_open(session, net, login, deadline_ms, error);
	if (r < 0) {
		pop3_session_destroy(session);
		return r;
	}
	*ret = session;
	return 0;
}
