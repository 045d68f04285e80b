/* SPDX-License-Identifier: MIT */
/*
 * All calls go to a maildrop of pop3's, which knows one token; when there is a new token, there is a new one of those.
 * The old one is freed then, for there is one session at a time, and it has ended.
 */
#include "token.h"

#include <errno.h>
#include <stdlib.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"

struct token_maildrop {
	struct maildrop maildrop;
	struct maildrop_ops ops; /* pop3's, but for connect and destroy */
	struct pop3_params params;
	struct maildrop *pop3;
	struct secret *token; /* of pop3; NULL: none yet */
	struct token_asker asker;
};

/* Takes the new token, and a maildrop that knows it. */
static int renew(struct token_maildrop *drop, struct secret *token)
{
	struct pop3_params params = drop->params;
	struct maildrop *pop3;

	params.password = token;
	int r = pop3_maildrop_create(&params, &pop3);
	if (r < 0) {
		secret_destroy(token);
		return r;
	}
	drop->pop3->ops->destroy(drop->pop3);
	secret_destroy(drop->token);
	drop->pop3 = pop3;
	drop->token = token;
	return 0;
}

static int ask(struct token_maildrop *drop, struct source_error *error)
{
	struct secret *token = NULL;

	int r = token_ask(&drop->asker, &token, error);
	if (r < 0)
		return r;
	return renew(drop, token) == 0
	               ? 0
	               : source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
				 SOURCE_CAUSE_OTHER, -ENOMEM, "out of memory");
}

static int token_connect(struct maildrop *maildrop, int64_t deadline_ms,
	struct maildrop_session **ret, struct source_error *error)
{
	struct token_maildrop *drop = (struct token_maildrop *)maildrop;
	int64_t begun_ms = clock_now_ms();

	int r = ask(drop, error);
	return r < 0 ? r
	             : drop->pop3->ops->connect(
			       drop->pop3, token_deadline(deadline_ms, begun_ms), ret, error);
}

static void token_destroy(struct maildrop *maildrop)
{
	struct token_maildrop *drop = (struct token_maildrop *)maildrop;

	drop->pop3->ops->destroy(drop->pop3);
	secret_destroy(drop->token);
	free(drop);
}

int token_maildrop_create(
	const struct pop3_params *params, const struct token_asker *asker, struct maildrop **ret)
{
	_cleanup_free_ struct token_maildrop *drop = calloc(1, sizeof(*drop));

	if (!drop)
		return -ENOMEM;
	int r = pop3_maildrop_create(params, &drop->pop3);
	if (r < 0)
		return r;
	drop->ops = *drop->pop3->ops;
	drop->ops.connect = token_connect;
	drop->ops.destroy = token_destroy;
	drop->maildrop.ops = &drop->ops;
	drop->params = *params;
	drop->asker = *asker;
	*ret = &steal_ptr(drop)->maildrop;
	return 0;
}
