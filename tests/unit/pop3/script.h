/* SPDX-License-Identifier: MIT */
/* A scripted POP3 server on loopback, in a thread of the test's own process: exact lines in, exact bytes out. */
#ifndef MAILFS_TEST_POP3_SCRIPT_H
#define MAILFS_TEST_POP3_SCRIPT_H

#include <openssl/ssl.h>

#include "mailfs/pop3.h"

/*
 * A step begins with what to do:
 *   ">text"   sends the text
 *   "%text"   sends the text with a NUL for each further "%"
 *   "<line"   reads a line, which must be this one
 *   "*N text" sends the text N times, or until the peer is gone
 *   "~N text" sends the text byte by byte, N ms apart, or until the peer is gone
 *   "#N"      waits N ms
 *   "^"       does a TLS handshake
 *   "&right"  is the server's side of AUTH SCRAM-SHA-256, up to the +OK; "&wrong": its signature is wrong
 *   "!"       closes the connection
 * NULL ends it: the connection stays open until the client closes it.
 */
struct script;

/* The connection, for steps that are functions. */
struct script_conn {
	int fd;
	SSL *ssl;         /* NULL: no TLS */
	char wrong[1000]; /* "": nothing */
	void *arg;
};
void script_wrong(struct script_conn *conn, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
bool script_send(struct script_conn *conn, const void *data, size_t len);
/* Reads a line without its CRLF. false: there is none. */
bool script_line(struct script_conn *conn, char *line, size_t cap);
/* Reads until the client closes. */
void script_drain(struct script_conn *conn);
void script_scram(struct script_conn *conn, const char *password, bool right);

typedef void script_fn(struct script_conn *conn);

/* A client that talks to a script, and its session. */
struct client {
	struct script *script;
	struct net_context *net;
	struct secret *password;
	struct maildrop *maildrop;
	struct maildrop_session *session; /* NULL: connect failed */
	struct source_error error;
	int result; /* of connect */
};

struct client_params {
	enum net_tls tls;
	const char *user, *password; /* NULL: "alice", "s3cret" */
	size_t password_len;         /* 0: up to the NUL */
	bool token;
	void (*ready)(void); /* called right before the client connects; NULL */
	script_fn *fn;       /* after the steps */
	void *arg;           /* its conn->arg */
};

#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})
/* The steps of a login without TLS; caps: further lines of CAPA, each with its line end. */
#define LOGIN(caps)                                                                                \
	">+OK hi\r\n", "<CAPA", ">+OK\r\nUSER\r\nUIDL\r\n" caps ".\r\n", "<USER alice",            \
		">+OK\r\n", "<PASS s3cret", ">+OK in\r\n"
#define PIPELINED                                                                                  \
	">+OK hi\r\n", "<CAPA", ">+OK\r\nUSER\r\nUIDL\r\nTOP\r\nPIPELINING\r\n.\r\n",              \
		"<USER alice", "<PASS s3cret", ">+OK\r\n+OK in\r\n"
#define CAPA_AGAIN           "<CAPA", ">+OK\r\nUSER\r\nUIDL\r\nTOP\r\n.\r\n"
#define CAPA_AGAIN_PIPELINED "<CAPA", ">+OK\r\nUSER\r\nUIDL\r\nTOP\r\nPIPELINING\r\n.\r\n"

/* Starts the script and connects. Fails the test only where the machine is to blame. */
void client_connect(
	struct client *client, const struct client_params *params, const char *const *steps);
/* As above without TLS; fails the test where the client is not let in. */
void client_begin(struct client *client, const char *const *steps);
/* Disconnects and fails the test if the script was not followed to its end. */
void client_finish(struct client *client);
/* As above, but a script that was cut short is no failure. */
void client_abandon(struct client *client);

#endif
