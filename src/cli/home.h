/* SPDX-License-Identifier: MIT */
/* Where things of this user lie. */
#ifndef CLI_HOME_H
#define CLI_HOME_H

#include <stddef.h>

/* $HOME, else the home directory of the user database; NULL: there is none. Valid until the next call. */
const char *home_directory(void);
/*
 * An absolute path: ~/ at its beginning is the home directory, a relative one begins at the working directory
 * (the background process has none: it goes to /). free() it; NULL: no memory, or no home.
 */
char *home_expand(const char *path);
/* The file below $NAME if that is an absolute path, else below the home directory's fallback ("/.config"). free() it; NULL as above. */
char *home_xdg_path(const char *variable, const char *fallback, const char *file);
/*
 * The directory of an account in the cache: readable (user and host, letters and digits only) and unique (a hash of
 * account), so that no server and no user name chooses a path. Written into out.
 */
void home_account_name(
	const char *account, const char *user, const char *host, char *out, size_t cap);

#endif
