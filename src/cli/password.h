/* SPDX-License-Identifier: MIT */
/* Who logs in, and with what password. Passwords lie in struct secret; every other copy is wiped. */
#ifndef CLI_PASSWORD_H
#define CLI_PASSWORD_H

#include <stdbool.h>
#include <stdint.h>

#include "mailfs/util/secret.h"
#include "mailfs/util/str.h"

struct password_request {
	const char *host;
	const char *user;    /* NULL: ~/.netrc tells it, else the name of the local user is taken */
	const char *command; /* password_command=, NULL: not given */
	const char *file;    /* password_file=, NULL: not given */
	const char *token_command; /* token_command=, instead of both; NULL: not given */
	bool token_later; /* token_command is run by whoever connects; the secret is empty until then */
	const char *netrc; /* path of ~/.netrc; NULL: there is no home directory */
};

struct password {
	char *user;
	struct secret *secret;
	bool token; /* it is an OAuth 2 access token */
};

/*
 * Asks, in this order: the token command, the command, the file, ~/.netrc, the person at the terminal. One that is given and fails ends the search.
 * -EACCES: a file that others can read; -ENOENT: nobody to ask; else another error; why says it in one
 * line. Blocks: disk, the command, the person.
 */
int password_get(const struct password_request *request, struct password *ret, struct str *why);
void password_finish(struct password *password);

/*
 * The parts of it. Each makes *ret from the first line of what it reads. option: the one that named the command, for why.
 * -ETIMEDOUT: it was killed at the deadline (monotonic, or CLOCK_NEVER); -ECANCELED: or as soon as cancel_fd was readable (-1: none).
 */
int password_from_command(const char *option, const char *command, int64_t deadline_ms,
	int cancel_fd, struct secret **ret, struct str *why);
/* token_command, run by the helper, which knows it; command: for why. Whoever cancels does not wait for its end; the helper kills it. */
struct helper;
int password_from_helper(struct helper *helper, const char *command, int64_t deadline_ms,
	int cancel_fd, struct secret **ret, struct str *why);
int password_from_file(const char *path, struct secret **ret, struct str *why);
int password_from_terminal(
	const char *user, const char *host, struct secret **ret, struct str *why);

#endif
