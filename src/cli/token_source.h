/* SPDX-License-Identifier: MIT */
/* An IMAP source that has a new access token when it needs one: connections are made anew for longer than a token lives. */
#ifndef CLI_TOKEN_SOURCE_H
#define CLI_TOKEN_SOURCE_H

#include "helper.h"
#include "mailfs/imap.h"

/*
 * As imap_source_create(), params->password being a token that was printed just now. Before a connection the command is run again if the last token is
 * older than five minutes, and after a login that was refused: at once if the token had been good before, else when somebody connects again. A token that
 * was refused is not shown again: no connection is made if the command fails then. helper runs it; NULL: this process.
 * command, helper, and what params points to, outlive the source. -ENOMEM. Blocks: never.
 */
int token_source_create(const struct imap_params *params, const char *command,
	struct helper *helper, struct source **ret);

/*
 * Runs the command for a token, until the deadline, or until connections of this context are cancelled: -ECANCELED. -EACCES with error, -ENOMEM.
 * helper: who runs it; NULL: this process. Blocks: the command.
 */
struct token_asker {
	struct helper *helper;
	const char *command;
	const struct net_context *net;
};
int token_ask(const struct token_asker *asker, int64_t deadline_ms, struct secret **ret,
	struct source_error *error);

#endif
