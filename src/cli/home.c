/* SPDX-License-Identifier: MIT */
/* Paths of the user's own files, after the XDG base directory specification. */
#include "home.h"

#include <ctype.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/hash.h"

const char *home_directory(void)
{
	const char *home = getenv("HOME");
	if (home && *home == '/')
		return home;
	const struct passwd *entry = getpwuid(getuid());
	return entry && entry->pw_dir && *entry->pw_dir == '/' ? entry->pw_dir : NULL;
}

static char *join(const char *directory, const char *separator, const char *file)
{
	char *path;
	if (!directory || asprintf(&path, "%s%s%s", directory, separator, file) < 0)
		return NULL;
	return path;
}

char *home_expand(const char *path)
{
	if (*path == '/')
		return strdup(path);
	if (strncmp(path, "~/", 2) == 0)
		return join(home_directory(), "/", path + 2);
	_cleanup_free_ char *here = getcwd(NULL, 0);
	return join(here, "/", path);
}

char *home_xdg_path(const char *variable, const char *fallback, const char *file)
{
	const char *base = getenv(variable);
	if (base && *base == '/')
		return join(base, "/", file);
	_cleanup_free_ char *directory = join(home_directory(), "/", fallback);
	return join(directory, "/", file);
}

void home_account_name(
	const char *account, const char *user, const char *host, char *out, size_t cap)
{
	uint64_t hash = hash64_finish(hash64(HASH64_INIT, account, strlen(account)));

	snprintf(out, cap, "%.40s@%.60s-%016" PRIx64, user, host, hash);
	for (char *c = out; *c; c++)
		if (!isalnum((unsigned char)*c) && !strchr("@-_", *c) && (*c != '.' || c == out))
			*c = '_';
}
