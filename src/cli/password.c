/* SPDX-License-Identifier: MIT */
/*
 * Where the password comes from. The order is that of being explicit: a command or a file that was named
 * and fails is an error, never a reason to ask somebody else.
 */
#include "password.h"

#include <errno.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "netrc.h"
#include "secretfile.h"

void password_finish(struct password *password)
{
	free(password->user);
	secret_destroy(password->secret);
	*password = (struct password){0};
}

/* What ~/.netrc has for this host and user. Absence of the file or of an entry is no failure. */
static int ask_netrc(
	const struct password_request *request, struct password *password, struct str *why)
{
	__attribute__((cleanup(secretfile_finish))) struct secretfile file = {0};
	__attribute__((cleanup(netrc_entry_finish))) struct netrc_entry entry = {0};

	if (!request->netrc || access(request->netrc, F_OK) < 0)
		return 0;
	int r = secretfile_read(request->netrc, &file, why);
	if (r < 0)
		return r;
	r = netrc_find(file.text, request->host, password->user, &entry);
	if (r < 0)
		return r == -ENOENT ? 0 : r;
	bool wanted = !password->secret && entry.password;
	if (wanted && file.exposed)
		return secretfile_refuse(request->netrc, &file, why);
	if (!password->user)
		password->user = steal_ptr(entry.login);
	if (!wanted)
		return 0;
	password->secret = secret_create(entry.password, strlen(entry.password));
	return password->secret ? 0 : -ENOMEM;
}

/* The name of the local user, as mail programs take it for granted. */
static int default_user(struct password *password, struct str *why)
{
	if (password->user)
		return 0;
	const struct passwd *entry = getpwuid(getuid());
	if (!entry) {
		str_append_cstr(
			why, "who shall log in? USER@HOST in the address or -o user=USER tells it");
		return -ENOENT;
	}
	password->user = strdup(entry->pw_name);
	return password->user ? 0 : -ENOMEM;
}

static int ask_named(
	const struct password_request *request, struct password *password, struct str *why)
{
	password->token = request->token_command != NULL;
	if (password->token && request->token_later) {
		password->secret = secret_create("", 0);
		return password->secret ? 0 : -ENOMEM;
	}
	if (password->token)
		return password_from_command("token_command", request->token_command, CLOCK_NEVER,
			-1, &password->secret, why);
	if (request->command)
		return password_from_command("password_command", request->command, CLOCK_NEVER, -1,
			&password->secret, why);
	if (request->file)
		return password_from_file(request->file, &password->secret, why);
	return 0;
}

int password_get(const struct password_request *request, struct password *ret, struct str *why)
{
	__attribute__((cleanup(password_finish))) struct password password = {0};

	if (request->user && !(password.user = strdup(request->user)))
		return -ENOMEM;
	int r = ask_named(request, &password, why);
	if (r == 0 && (!password.user || !password.secret))
		r = ask_netrc(request, &password, why);
	if (r == 0)
		r = default_user(&password, why);
	if (r == 0 && !password.secret)
		r = password_from_terminal(password.user, request->host, &password.secret, why);
	if (r < 0)
		return r;
	*ret = password;
	password = (struct password){0};
	return 0;
}

int password_from_file(const char *path, struct secret **ret, struct str *why)
{
	__attribute__((cleanup(secretfile_finish))) struct secretfile file = {0};
	int r = secretfile_read(path, &file, why);
	if (r < 0)
		return r;
	if (file.exposed)
		return secretfile_refuse(path, &file, why);
	size_t len = strcspn(file.text, "\r\n");
	if (len == 0) {
		str_printf(
			why, "%s: its first line is empty; the password is expected there", path);
		return -ENOENT;
	}
	*ret = secret_create(file.text, len);
	return *ret ? 0 : -ENOMEM;
}
