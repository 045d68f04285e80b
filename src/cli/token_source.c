/* SPDX-License-Identifier: MIT */
/*
 * Calls of a session go to it directly, for it knows nothing of its source. Only connect() is ours: it goes to an IMAP source that knows one token; when
 * there is a new token, there is a new one of those. The old one ends when nobody connects with it any more.
 *
 * Several threads connect at once. One of those that find the token old asks for the next one, and the others wait for it: commands that run side by
 * side would spend the same refresh token, which providers take for theft. No lock is held while a command runs.
 */
#include "token_source.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "mailfs/util/thread.h"
#include "password.h"

/* Short beside the life of a token, long beside a burst of connections. */
#define FRESH_MS (5 * 60 * 1000)

struct token {
	unsigned refs;
	bool worked;  /* somebody has logged in with it */
	bool refused; /* since then the server has refused it: it is not shown again */
	struct secret *secret;
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
	bool asking;                 /* a thread runs the command */
	pthread_cond_t ended;        /* it has ended */
	struct source_error failure; /* how; err 0: there is a new token */
};

int64_t token_deadline(int64_t deadline_ms, int64_t begun_ms)
{
	return deadline_ms == CLOCK_NEVER ? CLOCK_NEVER : deadline_ms + clock_now_ms() - begun_ms;
}

/* What the command says is a login that fails; that it can not be run at all is not: it says nothing of the account. */
static int fail_asking(int err, const struct str *why, struct source_error *error)
{
	if (err == -ECANCELED)
		return source_fail(error, SOURCE_SCOPE_CANCELLED, SOURCE_RETRY_NEVER,
			SOURCE_CAUSE_OTHER, err, "cancelled");
	bool said = err == -EACCES || err == -ETIMEDOUT;
	int file_err = said ? -EACCES : err == -ENOMEM ? -ENOMEM : -EIO;
	if (why->len > 0)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			said ? SOURCE_CAUSE_LOGIN : SOURCE_CAUSE_OTHER, file_err, "%s", why->data);
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_OTHER,
		file_err, "token_command can not be run: %s", strerror(-err));
}

/* Whoever tries to connect again while the mount ends must not fill the helper with commands: it has to unmount. */
static bool is_cancelled(int cancel_fd)
{
	struct pollfd fd = {.fd = cancel_fd, .events = POLLIN};
	return poll(&fd, 1, 0) > 0;
}

int token_ask(const struct token_asker *asker, struct secret **ret, struct source_error *error)
{
	int64_t deadline_ms = clock_now_ms() + asker->timeout_ms;
	_cleanup_str_ struct str why = STR_INIT;
	int cancel_fd = net_context_cancel_fd(asker->net);
	if (is_cancelled(cancel_fd))
		return fail_asking(-ECANCELED, &why, error);
	int r = asker->helper ? password_from_helper(asker->helper, asker->command, deadline_ms,
					cancel_fd, ret, &why)
	                      : password_from_command("token_command", asker->command, deadline_ms,
					cancel_fd, ret, &why);
	return r == 0 ? 0 : fail_asking(r, &why, error);
}

/* --- Tokens --- */

static void token_free(struct token *token)
{
	if (token->imap)
		token->imap->ops->destroy(token->imap);
	secret_destroy(token->secret);
	free(token);
}

/* With one reference. secret is taken over, on failure too. */
static int token_create(struct token_source *source, struct secret *secret, struct token **ret)
{
	struct imap_params params = source->params;
	struct token *token = calloc(1, sizeof(*token));
	if (!token) {
		secret_destroy(secret);
		return -ENOMEM;
	}
	*token = (struct token){.refs = 1, .secret = secret};
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

/* A reference. *ret_old: there should be a newer one. */
static struct token *take(struct token_source *source, bool *ret_old)
{
	int64_t now_ms = clock_now_ms();
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&source->lock);
	*ret_old =
		source->asking || source->current->refused || now_ms - source->asked_ms >= FRESH_MS;
	source->current->refs++;
	return source->current;
}

/* Lock held. -ETIMEDOUT: somebody else asks, and it takes too long. Whoever asks is cancelled with the connections, which wakes all who wait. */
static int wait_for_asker(struct token_source *source)
{
	int64_t deadline_ms = clock_now_ms() + source->asker.timeout_ms;
	struct timespec end = {
		.tv_sec = deadline_ms / 1000, .tv_nsec = deadline_ms % 1000 * 1000000};
	int r = 0;
	while (source->asking && r == 0)
		r = pthread_cond_timedwait(&source->ended, &source->lock, &end);
	return source->asking ? -ETIMEDOUT : 0;
}

/* *ret_mine becomes true: it is the caller's to ask for a newer token than this, until he calls end_asking(). Else there is one; or an error, also that of who has asked. */
static int begin_asking(struct token_source *source, const struct token *token, bool *ret_mine,
	struct source_error *error)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&source->lock);
	bool waited = source->asking;
	if (wait_for_asker(source) < 0)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_OTHER, -ETIMEDOUT,
			"token_command runs for another connection, and does not end");
	if (source->current != token)
		return 0;
	if (waited && source->failure.err < 0) {
		*error = source->failure;
		return error->err;
	}
	*ret_mine = source->asking = true;
	source->asked_ms = clock_now_ms();
	return 0;
}

/* next: the new one, of which the source takes the caller's reference; NULL: there is none, because of the error. */
static void end_asking(
	struct token_source *source, struct token *next, const struct source_error *error)
{
	struct token *was = NULL;
	{
		_cleanup_unlock_ pthread_mutex_t *guard = lock(&source->lock);
		source->asking = false;
		source->failure = next ? (struct source_error){0} : *error;
		if (next) {
			was = source->current;
			source->current = next;
			source->asked_ms = clock_now_ms();
		}
		pthread_cond_broadcast(&source->ended);
	}
	if (was)
		token_unref(source, was);
}

static int ask(struct token_source *source, struct source_error *error)
{
	struct secret *secret = NULL;
	struct token *next = NULL;
	int r = token_ask(&source->asker, &secret, error);
	if (r == 0 && token_create(source, secret, &next) < 0)
		r = source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_OTHER,
			-ENOMEM, "out of memory");
	end_asking(source, next, error);
	return r;
}

/* *token, and its reference, become the newest: that which the command prints, or another thread has got meanwhile. *deadline_ms moves on. */
static int renew(struct token_source *source, struct token **token, int64_t *deadline_ms,
	struct source_error *error)
{
	int64_t begun_ms = clock_now_ms();
	bool mine = false, old;
	int r = begin_asking(source, *token, &mine, error);
	if (r == 0 && mine)
		r = ask(source, error);
	*deadline_ms = token_deadline(*deadline_ms, begun_ms);
	if (r < 0)
		return r;
	token_unref(source, *token);
	*token = take(source, &old);
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

/* *token is the newest that can be had before. */
static int connect_and_renew(struct token_source *source, struct token **token, int64_t deadline_ms,
	struct source_session **ret, struct source_error *error)
{
	int r = connect_with(source, *token, deadline_ms, ret, error);
	if (r == 0 || !has_expired(source, *token))
		return r;
	r = renew(source, token, &deadline_ms, error);
	return r < 0 ? r : connect_with(source, *token, deadline_ms, ret, error);
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
	int r = old ? renew(source, &token, &deadline_ms, error) : 0;
	/* It may be good for longer than that; but one that was refused is not shown again, for logins that fail lock accounts. */
	if (r < 0 && r != -ECANCELED && !is_refused(source, token)) {
		log_info("%s: the last token is tried", error->text);
		r = 0;
	}
	if (r == 0)
		r = connect_and_renew(source, &token, deadline_ms, ret, error);
	token_unref(source, token);
	return r;
}

/* --- Life --- */

static void token_destroy(struct source *base)
{
	struct token_source *source = (struct token_source *)base;
	token_free(source->current);
	pthread_cond_destroy(&source->ended);
	pthread_mutex_destroy(&source->lock);
	free(source);
}

int token_source_create(const struct imap_params *params, struct secret *first,
	const struct token_asker *asker, struct source **ret)
{
	_cleanup_free_ struct token_source *source = calloc(1, sizeof(*source));
	if (!source) {
		secret_destroy(first);
		return -ENOMEM;
	}
	source->params = *params;
	source->asker = *asker;
	source->asked_ms = clock_now_ms();
	int r = token_create(source, first, &source->current);
	if (r < 0)
		return r;
	source->ops = *source->current->imap->ops;
	source->ops.connect = token_connect;
	source->ops.destroy = token_destroy;
	source->source.ops = &source->ops;
	pthread_mutex_init(&source->lock, NULL);
	cond_init_monotonic(&source->ended);
	*ret = &steal_ptr(source)->source;
	return 0;
}
