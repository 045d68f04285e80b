/* SPDX-License-Identifier: MIT */
/*
 * Calls of a session go to it directly, for it knows nothing of its source. Only connect() is ours: it goes to an IMAP source that knows one token; when
 * there is a new token, there is a new one of those. The old one ends when nobody connects with it any more.
 *
 * Several threads connect at once. Who finds the token old claims to ask for the next one, and the others take the old one meanwhile; no lock is
 * held while a command runs.
 */
#include "token_source.h"

#include <errno.h>
#include <stdlib.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "password.h"

/* Short beside the life of a token, long beside a burst of connections. */
#define FRESH_MS (5 * 60 * 1000)

struct token {
	unsigned refs;
	bool worked;           /* somebody has logged in with it */
	bool refused;          /* since then the server has refused it: it is not shown again */
	struct secret *secret; /* NULL: the caller's, of params */
	struct source *imap;
};

struct token_source {
	struct source source;
	struct source_ops ops; /* imap's, but for connect and destroy */
	struct imap_params params;
	struct token_asker asker;
	pthread_mutex_t lock;  /* guards what follows, and what changes of tokens */
	struct token *current; /* a reference */
	int64_t asked_ms;
};

int token_ask(const struct token_asker *asker, int64_t deadline_ms, struct secret **ret,
	struct source_error *error)
{
	_cleanup_str_ struct str why = STR_INIT;
	int cancel_fd = net_context_cancel_fd(asker->net);
	int r = asker->helper ? password_from_helper(asker->helper, asker->command, deadline_ms,
					cancel_fd, ret, &why)
	                      : password_from_command("token_command", asker->command, deadline_ms,
					cancel_fd, ret, &why);
	if (r == -ECANCELED)
		return source_fail(error, SOURCE_SCOPE_CANCELLED, SOURCE_RETRY_NEVER,
			SOURCE_CAUSE_OTHER, r, "cancelled");
	return r == 0 ? 0
	              : source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
				SOURCE_CAUSE_LOGIN, -EACCES, "%s",
				why.len > 0 ? why.data : "no memory");
}

/* --- Tokens --- */

static void token_free(struct token *token)
{
	if (token->imap)
		token->imap->ops->destroy(token->imap);
	secret_destroy(token->secret);
	free(token);
}

/* With one reference. secret is taken over, on failure too; NULL: that of params. */
static int token_create(struct token_source *source, struct secret *secret, struct token **ret)
{
	struct imap_params params = source->params;
	struct token *token = calloc(1, sizeof(*token));
	if (!token) {
		secret_destroy(secret);
		return -ENOMEM;
	}
	*token = (struct token){.refs = 1, .secret = secret};
	if (secret)
		params.password = secret;
	int r = imap_source_create(&params, &token->imap);
	if (r < 0) {
		token_free(token);
		return r;
	}
	*ret = token;
	return 0;
}

static void token_unref(struct token_source *source, struct token *token)
{
	unsigned left;
	{
		_cleanup_unlock_ pthread_mutex_t *guard = lock(&source->lock);
		left = --token->refs;
	}
	if (left == 0)
		token_free(token);
}

/* A reference. *ret_old: it is the caller's to ask for the next one. */
static struct token *take(struct token_source *source, bool *ret_old)
{
	int64_t now_ms = clock_now_ms();
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&source->lock);
	*ret_old = source->current->refused || now_ms - source->asked_ms >= FRESH_MS;
	if (*ret_old)
		source->asked_ms = now_ms;
	source->current->refs++;
	return source->current;
}

/* *token, and its reference, become the newest: that which the command prints, or another thread has got meanwhile. */
static int renew(struct token_source *source, struct token **token, int64_t deadline_ms,
	struct source_error *error)
{
	bool old;
	struct secret *secret = NULL;
	struct token *next = take(source, &old);
	bool is_newer = next != *token;
	token_unref(source, is_newer ? *token : next);
	if (is_newer) {
		*token = next;
		return 0;
	}
	int r = token_ask(&source->asker, deadline_ms, &secret, error);
	if (r < 0)
		return r;
	if (token_create(source, secret, &next) < 0)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_OTHER, -ENOMEM, "out of memory");
	struct token *was;
	{
		_cleanup_unlock_ pthread_mutex_t *guard = lock(&source->lock);
		was = source->current;
		source->current = next;
		source->asked_ms = clock_now_ms();
		next->refs++;
	}
	token_unref(source, was);
	token_unref(source, *token);
	*token = next;
	return 0;
}

/* --- Connecting --- */

static bool is_refused(struct token_source *source, const struct token *token)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&source->lock);
	return token->refused;
}

/* An expired token; one that has never been good is no better when it is printed again at once, and logins that fail lock accounts. */
static bool has_expired(struct token_source *source, const struct token *token)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&source->lock);
	return token->refused && token->worked;
}

static int connect_with(struct token_source *source, struct token *token, int64_t deadline_ms,
	struct source_session **ret, struct source_error *error)
{
	int r = token->imap->ops->connect(token->imap, deadline_ms, ret, error);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&source->lock);
	token->worked = token->worked || r == 0;
	token->refused = r == 0 ? false
	                        : token->refused || (error->cause == SOURCE_CAUSE_LOGIN &&
							    error->retry == SOURCE_RETRY_NEVER);
	return r;
}

/* Of the time that is left, so that a command that hangs leaves some for the old token. */
static int64_t half_of(int64_t deadline_ms)
{
	int left_ms = clock_left_ms(deadline_ms);
	return left_ms < 0 ? CLOCK_NEVER : deadline_ms - left_ms / 2;
}

static int token_connect(struct source *base, int64_t deadline_ms, struct source_session **ret,
	struct source_error *error)
{
	struct token_source *source = (struct token_source *)base;
	struct source_error spare = {0};
	bool old;
	if (!error)
		error = &spare;
	struct token *token = take(source, &old);
	int r = old ? renew(source, &token, half_of(deadline_ms), error) : 0;
	/* It may be good for longer than that; but one that was refused is not shown again, for logins that fail lock accounts. */
	if (r < 0 && r != -ECANCELED && !is_refused(source, token)) {
		log_info("%s: the last token is tried", error->text);
		r = 0;
	}
	if (r == 0)
		r = connect_with(source, token, deadline_ms, ret, error);
	if (r < 0 && has_expired(source, token)) {
		r = renew(source, &token, deadline_ms, error);
		if (r == 0)
			r = connect_with(source, token, deadline_ms, ret, error);
	}
	token_unref(source, token);
	return r;
}

/* --- Life --- */

static void token_destroy(struct source *base)
{
	struct token_source *source = (struct token_source *)base;
	token_free(source->current);
	pthread_mutex_destroy(&source->lock);
	free(source);
}

int token_source_create(const struct imap_params *params, const char *command,
	struct helper *helper, struct source **ret)
{
	_cleanup_free_ struct token_source *source = calloc(1, sizeof(*source));
	if (!source)
		return -ENOMEM;
	source->params = *params;
	source->asker = (struct token_asker){helper, command, params->net};
	source->asked_ms = clock_now_ms();
	int r = token_create(source, NULL, &source->current);
	if (r < 0)
		return r;
	source->ops = *source->current->imap->ops;
	source->ops.connect = token_connect;
	source->ops.destroy = token_destroy;
	source->source.ops = &source->ops;
	pthread_mutex_init(&source->lock, NULL);
	*ret = &steal_ptr(source)->source;
	return 0;
}
