/* SPDX-License-Identifier: MIT */
/*
 * POP3 as a maildrop: the calls of maildrop.h handed to the files that do them. Where a caller passes no source_error, one
 * is put in its place, so that the files below need not ask.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/list.h"
#include "private.h"

struct pop3_maildrop {
	struct maildrop base;
	struct net_context *net;
	char *user;
	const struct secret *password;
	bool token;
	bool one_by_one; /* PIPELINING turned out to be a lie; only who uses a session touches it */
};

static struct pop3_session *session_of(
	struct maildrop_session *session, struct source_error **error)
{
	struct pop3_session *own = (struct pop3_session *)session;
	if (error && !*error)
		*error = &own->spare;
	return own;
}

static int drop_connect(struct maildrop *base, int64_t deadline_ms, struct maildrop_session **ret,
	struct source_error *error)
{
	struct pop3_maildrop *maildrop = container_of(base, struct pop3_maildrop, base);
	const struct pop3_login login = {.tls = net_context_params(maildrop->net)->tls,
		.user = maildrop->user,
		.password = maildrop->password,
		.token = maildrop->token};
	struct pop3_session *session;
	struct source_error spare;
	int r = pop3_session_create(
		maildrop->net, &login, deadline_ms, &session, error ? error : &spare);
	if (r < 0)
		return r;
	session->one_by_one = &maildrop->one_by_one;
	*ret = (struct maildrop_session *)session;
	return r;
}

static void drop_disconnect(struct maildrop_session *session)
{
	pop3_session_destroy(session_of(session, NULL));
}

static void drop_cancel(struct maildrop_session *session)
{
	net_cancel(session_of(session, NULL)->stream);
}

static void drop_set_timeout(struct maildrop_session *session, int timeout_ms)
{
	session_of(session, NULL)->timeout_ms = timeout_ms;
}

static void drop_abilities(struct maildrop_session *session, struct maildrop_abilities *ret)
{
	const struct pop3_capabilities *caps = &session_of(session, NULL)->caps;
	*ret = (struct maildrop_abilities){.uidl = caps->uidl,
		.top = caps->top,
		.pipelining = caps->pipelining,
		.login_delay_s = caps->login_delay_s,
		.expire_days = caps->expire_days};
}

static int drop_list(
	struct maildrop_session *session, struct maildrop_listing *ret, struct source_error *error)
{
	struct pop3_session *own = session_of(session, &error);
	return pop3_list(own, ret, error);
}

static int drop_retrieve(struct maildrop_session *session, bool header,
	const struct maildrop_sink *sink, struct source_error *error)
{
	struct pop3_session *own = session_of(session, &error);
	return pop3_retrieve(own, header, sink, error);
}

static int drop_remove(struct maildrop_session *session, const uint32_t *numbers, size_t count,
	maildrop_removed_fn *fn, void *arg, struct source_error *error)
{
	struct pop3_session *own = session_of(session, &error);
	return pop3_remove(own, numbers, count, fn, arg, error);
}

static int drop_quit(struct maildrop_session *session, struct source_error *error)
{
	struct pop3_session *own = session_of(session, &error);
	return pop3_quit(own, error);
}

static void drop_leave(struct maildrop_session *session)
{
	pop3_leave(session_of(session, NULL));
}

static void drop_destroy(struct maildrop *base)
{
	struct pop3_maildrop *maildrop = container_of(base, struct pop3_maildrop, base);
	free(maildrop->user);
	free(maildrop);
}

static const struct maildrop_ops drop_ops = {
	.connect = drop_connect,
	.disconnect = drop_disconnect,
	.cancel = drop_cancel,
	.set_timeout = drop_set_timeout,
	.abilities = drop_abilities,
	.list = drop_list,
	.retrieve = drop_retrieve,
	.remove = drop_remove,
	.quit = drop_quit,
	.leave = drop_leave,
	.destroy = drop_destroy,
};

int pop3_maildrop_create(const struct pop3_params *params, struct maildrop **ret)
{
	_cleanup_free_ struct pop3_maildrop *maildrop = calloc(1, sizeof(*maildrop));
	if (!maildrop)
		return -ENOMEM;
	maildrop->base.ops = &drop_ops;
	maildrop->net = params->net;
	maildrop->password = params->password;
	maildrop->token = params->token;
	maildrop->user = strdup(params->user);
	if (!maildrop->user)
		return -ENOMEM;
	*ret = &steal_ptr(maildrop)->base;
	return 0;
}

int pop3_mailbox_decode(const char *name, struct str *out)
{
	str_append_cstr(out, name);
	return str_error(out);
}
