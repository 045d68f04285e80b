/* SPDX-License-Identifier: MIT */
/* The POP3 maildrop (RFC 1939, 2449, 2595, 5034). All else of it is reached through maildrop.h. */
#ifndef MAILFS_POP3_H
#define MAILFS_POP3_H

#include "mailfs/maildrop.h"
#include "mailfs/net.h"
#include "mailfs/util/secret.h"

struct pop3_params {
	struct net_context *net;       /* borrowed; outlives the maildrop */
	const char *user;              /* UTF-8; copied */
	const struct secret *password; /* borrowed; outlives the maildrop */
	bool token; /* the password is an OAuth 2 access token: OAUTHBEARER or XOAUTH2, nothing else */
};

/* Makes a POP3 maildrop; nothing is connected yet. 0: *ret is freed by its ops->destroy. -ENOMEM. Blocks: never. */
int pop3_maildrop_create(const struct pop3_params *params, struct maildrop **ret);

/* The name of the one mailbox, as it is: for tree_params.decode_name. -ENOMEM. Blocks: never. */
int pop3_mailbox_decode(const char *name, struct str *out);

#endif
