/* SPDX-License-Identifier: MIT */
/* A POP3 maildrop that asks for a new access token whenever it connects: poll= goes on for longer than a token lives. */
#ifndef CLI_TOKEN_H
#define CLI_TOKEN_H

#include "helper.h"
#include "mailfs/pop3.h"

/*
 * As pop3_maildrop_create(), but before each connection the command is run for the password, within the deadline of the connection.
 * helper runs it; NULL: this process. One session at a time. command, helper, and what params points to, outlive the maildrop. -ENOMEM. Blocks: never.
 */
int token_maildrop_create(const struct pop3_params *params, const char *command,
	struct helper *helper, struct maildrop **ret);

#endif
