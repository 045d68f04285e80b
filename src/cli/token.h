/* SPDX-License-Identifier: MIT */
/* A POP3 maildrop that asks for a new access token whenever it connects: poll= goes on for longer than a token lives. */
#ifndef CLI_TOKEN_H
#define CLI_TOKEN_H

#include "mailfs/pop3.h"
#include "token_source.h"

/*
 * As pop3_maildrop_create(), but before each connection the command is run for the password.
 * One session at a time. What asker and params point to outlives the maildrop. -ENOMEM. Blocks: never.
 */
int token_maildrop_create(
	const struct pop3_params *params, const struct token_asker *asker, struct maildrop **ret);

#endif
