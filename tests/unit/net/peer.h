/* SPDX-License-Identifier: MIT */
/*
 * The other end of the wire, for tests: a listener on loopback whose thread runs a script for each
 * connection, with blocking calls. Scripts must not use cmocka's assertions (they run in the thread);
 * they note what they saw in their argument.
 */
#ifndef TEST_NET_PEER_H
#define TEST_NET_PEER_H

#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "mailfs/net.h"
#include "pki.h"

struct peer_conn {
	int fd;
	SSL_CTX *ctx;
	SSL *ssl;
	void *arg;
	unsigned number; /* connections before this one */
};

typedef void peer_script(struct peer_conn *conn);

struct peer {
	pthread_t thread;
	int listen_fd;
	uint16_t port;
	SSL_CTX *ctx;
	peer_script *script;
	void *arg;
};

/* cert NULL: no TLS. max_version: TLS1_3_VERSION, … */
void peer_start(struct peer *peer, const struct pki_cert *cert, int max_version,
	peer_script *script, void *arg);
/* As peer_start, without TLS, on an address of its own: port 0 chooses one. */
void peer_start_at(
	struct peer *peer, uint32_t address, uint16_t port, peer_script *script, void *arg);
void peer_stop(struct peer *peer);

/* The server's side of a handshake; false when it failed. */
bool peer_handshake(struct peer_conn *conn);
/* The number of bytes, ≤ 0 at the end or on an error. */
int peer_read(struct peer_conn *conn, void *buf, size_t cap);
/* Exactly len bytes. */
bool peer_read_all(struct peer_conn *conn, void *buf, size_t len);
bool peer_write(struct peer_conn *conn, const void *data, size_t len);
bool peer_puts(struct peer_conn *conn, const char *text);
/* Reads until the client closes. */
void peer_drain(struct peer_conn *conn);

/* A context for peer, as "127.0.0.1" without TLS; asserts that it can be made. */
struct net_context *peer_context(const struct peer *peer);

#endif
