/* SPDX-License-Identifier: MIT */
/*
 * What targets have in common whose input is a whole session: its first line names the calls to be made, one letter each, with modes among them; the rest is
 * all that the server ever says.
 *
 * Modes: g: the greeting and the login are the input's; t: likewise, and STARTTLS (STLS) is demanded; o: with a token.
 */
#ifndef MAILFS_FUZZ_SESSION_H
#define MAILFS_FUZZ_SESSION_H

#include "fuzz.h"
#include "mailfs/net.h"

struct client; /* what the target has of its own */

struct session_call {
	char letter;
	/* 0; a negative errno, with the error; 1: the session is over. */
	int (*fn)(struct client *client);
};

/* Of the target: one session. */
void session_target(const char *names, struct fuzz_input in);

/* The network is the wire, which says first, where the modes do not leave that to the input. */
struct net_context *session_open(
	const char *names, const char *first, struct fuzz_input in, bool packets);
/* Lives as long as the process. */
struct secret *session_password(void);
/* An error as source.h has it. Whether the session goes on. */
bool session_check_error(const struct source_error *error, int r);
/* Makes the calls that are named, the first 16, until one ends the session; error is the client's. Whether it lives. */
bool session_run(const struct session_call *calls, size_t count, const char *names,
	struct client *client, struct source_error *error);
/* Where TLS was demanded: there is no handshake that this server could do, so nobody came in, and nothing was confided. */
void session_check_kept(const char *names, bool connected);

#endif
