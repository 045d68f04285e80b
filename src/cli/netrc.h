/* SPDX-License-Identifier: MIT */
/* The file ~/.netrc, as ftp(1) and curl(1) know it. */
#ifndef CLI_NETRC_H
#define CLI_NETRC_H

#include <stddef.h>

#include "mailfs/util/str.h"

struct netrc_entry {
	char *login;          /* NULL: the entry has none */
	const char *password; /* points into the text, NUL-terminated there; NULL: none */
};

/*
 * Finds the first entry for host (any case) whose login is user, or which has none; user NULL: any entry. The
 * entry `default` is for every host. text is changed: tokens are terminated and unquoted in place, so that the password
 * has no second copy. -ENOENT: no such entry; -ENOMEM. Blocks: never.
 */
int netrc_find(char *text, const char *host, const char *user, struct netrc_entry *ret);
void netrc_entry_finish(struct netrc_entry *entry);

#endif
