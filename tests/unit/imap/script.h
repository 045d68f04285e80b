/* SPDX-License-Identifier: MIT */
/* A scripted IMAP server on loopback, in a thread of the test's own process: exact lines in, exact bytes out. */
#ifndef MAILFS_TEST_IMAP_SCRIPT_H
#define MAILFS_TEST_IMAP_SCRIPT_H

#include "mailfs/imap.h"

/*
 * A step begins with what to do:
 *   ">text"   sends the text
 *   "<line"   reads a line, which must be this one
 *   "?text"   reads a line, which must begin so
 *   "*N text" sends the text N times, or until the peer is gone
 *   "~N text" sends the text byte by byte, N ms apart, or until the peer is gone
 *   "#N"      waits N ms
 *   "^"       does a TLS handshake, once
 *   "!"       closes the connection
 *   "@"       waits until the client has closed it, and takes the next one
 *   "zA|B"    sends A; from then on both sides deflate (not in the steps * and ~), and B goes out together with A
 * NULL ends it: the connection stays open until the client closes it.
 */
struct script;

struct script *script_start(const char *const *steps);
/* Waits for the end. NULL: every step was done; else what went wrong, valid until the next call. */
const char *script_finish(struct script *script);
uint16_t script_port(const struct script *script);

/* A source that talks to a script, and its session. */
struct peer {
	struct script *script;
	struct net_context *net;
	struct secret *password;
	struct source *source;
	struct source_session *session; /* NULL: connect failed */
	struct source_error error;
	int result; /* of connect */
};

/* Ends the session, and connects anew. */
void peer_reconnect(struct peer *peer);

/* How long a connect may take. */
extern int peer_patience_ms;

/* Starts the script and connects as alice, password "s3cret". Fails the test only where the machine is to blame. */
void peer_connect(struct peer *peer, enum net_tls tls, const char *const *steps);
/* As above with another user and password. */
void peer_connect_as(struct peer *peer, enum net_tls tls, const char *user, const char *password,
	const char *const *steps);
/* As above with an access token for the password. */
void peer_connect_token(struct peer *peer, const char *token, const char *const *steps);
/* Disconnects (without LOGOUT) and fails the test if the script was not followed to its end. */
void peer_finish(struct peer *peer);

#endif
