/* SPDX-License-Identifier: MIT */
/* An IMAP source that has a new access token when it needs one: connections are made anew for longer than a token lives. */
#ifndef CLI_TOKEN_SOURCE_H
#define CLI_TOKEN_SOURCE_H

#include "helper.h"
#include "mailfs/imap.h"

/* How a token is asked for. */
struct token_asker {
	struct helper *helper; /* who runs the command; NULL: this process */
	const char *command;
	const struct net_context *net; /* whose cancel ends it */
	/* It has this time for itself: one that is killed in the middle may lose the refresh token that the provider has just exchanged. */
	int timeout_ms;
};
/* Runs the command for a token. With error: -EACCES, -ECANCELED, -ENOMEM, -EIO: it can not be run. Blocks: the command, for timeout_ms at most. */
int token_ask(const struct token_asker *asker, struct secret **ret, struct source_error *error);
/* The deadline of a connection for which the command was begun then, moved on by what it took. */
int64_t token_deadline(int64_t deadline_ms, int64_t begun_ms);

/*
 * As imap_source_create(), but for params->password: first is a token that was printed just now; it is taken over, on failure too, so that it is wiped when there is
 * another one. Before a connection the command is run again if the last token is
 * older than five minutes, and after a login that was refused: at once if the token had been good before, else when somebody connects again. A token that
 * was refused is not shown again: no connection is made if the command fails then.
 * What asker and params point to outlives the source. -ENOMEM. Blocks: never.
 */
int token_source_create(const struct imap_params *params, struct secret *first,
	const struct token_asker *asker, struct source **ret);

#endif
