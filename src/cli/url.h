/* SPDX-License-Identifier: MIT */
/* The address of a mailbox, taken apart. */
#ifndef CLI_URL_H
#define CLI_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "mailfs/util/str.h"

enum url_scheme { URL_IMAPS, URL_IMAP };

struct url {
	enum url_scheme scheme;
	char *user;    /* UTF-8; NULL: not given */
	char *host;    /* name or address, an IPv6 address without its brackets */
	uint16_t port; /* 0: not given */
	char *folder;  /* UTF-8, without slashes at its ends; NULL: the whole account */
};

/* Whether text is an address at all, and not the name of an account. Blocks: never. */
bool url_is_address(const char *text);
/*
 * Parses imaps://[USER@]HOST[:PORT][/FOLDER] (or imap://). USER and FOLDER are percent-decoded; a raw @ in
 * USER is allowed, the last one ends it. -EINVAL: why says what is wrong in one line, never repeating a
 * password. -EPROTONOSUPPORT: a scheme that is not served. -ENOMEM. *ret is untouched on failure. Blocks: never.
 */
int url_parse(const char *text, struct url *ret, struct str *why);
void url_finish(struct url *url);

#endif
