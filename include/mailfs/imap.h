/* SPDX-License-Identifier: MIT */
/* The IMAP source (RFC 3501, RFC 9051's wire form is not asked for). All else of it is reached through source.h. */
#ifndef MAILFS_IMAP_H
#define MAILFS_IMAP_H

#include "mailfs/net.h"
#include "mailfs/source.h"
#include "mailfs/util/secret.h"

struct imap_params {
	struct net_context *net;       /* borrowed; outlives the source */
	const char *user;              /* UTF-8; copied */
	const struct secret *password; /* borrowed; outlives the source */
	bool token; /* the password is an OAuth 2 access token: OAUTHBEARER or XOAUTH2, nothing else */
};

/* Makes an IMAP source; nothing is connected yet. 0: *ret is freed by its ops->destroy. -ENOMEM. Blocks: never. */
int imap_source_create(const struct imap_params *params, struct source **ret);

/*
 * Decodes a mailbox name from the wire (modified UTF-7, RFC 3501 §5.1.3) into UTF-8. A name that is not
 * valid modified UTF-7 is given back byte for byte, so the result may be invalid UTF-8. -ENOMEM.
 * Blocks: never.
 */
int imap_mailbox_decode(const char *wire, struct str *out);

#endif
