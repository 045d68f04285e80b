/* SPDX-License-Identifier: MIT */
/* The address of a mailbox, taken apart. */
#ifndef CLI_URL_H
#define CLI_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "mailfs/util/str.h"

enum url_scheme { URL_IMAPS, URL_IMAP, URL_POP3S, URL_POP3 };

struct url {
	enum url_scheme scheme;
	char *user; /* UTF-8; NULL: not given */
	char *host; /* name or address, an IPv6 address without its brackets; of POP3: in small letters */
	uint16_t port; /* 0: not given */
	char *folder; /* UTF-8, without slashes at its ends; NULL: the whole account; of POP3: always NULL */
};

/* All schemes that are served, for messages. */
#define URL_SCHEMES "imaps://, imap://, pop3s:// or pop3://"

/* "imaps", … Blocks: never, as all here. */
const char *url_scheme_name(enum url_scheme scheme);
bool url_is_pop3(enum url_scheme scheme);
/* TLS from the first byte. */
bool url_is_implicit(enum url_scheme scheme);

/* Whether text is an address at all, and not the name of an account. Blocks: never. */
bool url_is_address(const char *text);
/*
 * Parses imaps://[USER@]HOST[:PORT][/FOLDER] (or imap://), or pop3s://[USER@]HOST[:PORT] (or pop3://), whose only folder, INBOX,
 * may be named. USER and FOLDER are percent-decoded; a raw @ in
 * USER is allowed, the last one ends it. -EINVAL: why says what is wrong in one line, never repeating a
 * password. -EPROTONOSUPPORT: a scheme that is not served. -ENOMEM. *ret is untouched on failure. Blocks: never.
 */
int url_parse(const char *text, struct url *ret, struct str *why);
void url_finish(struct url *url);

#endif
