/* SPDX-License-Identifier: MIT */
/* The scripted peer. Its sockets give up after 20 s, so that a failed test ends. */
#include "peer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void run_script(struct peer *peer, int fd, unsigned number)
{
	const struct timeval limit = {.tv_sec = 20};
	struct peer_conn conn = {.fd = fd, .ctx = peer->ctx, .arg = peer->arg, .number = number};
	const int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	peer->script(&conn);
	SSL_free(conn.ssl);
	close(fd);
}

static void *serve(void *arg)
{
	struct peer *peer = arg;
	sigset_t pipe;
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	/* In this thread only: the client under test has to do without. */
	pthread_sigmask(SIG_BLOCK, &pipe, NULL);
	for (unsigned number = 0;; number++) {
		int fd = accept(peer->listen_fd, NULL, NULL);
		if (fd < 0)
			return NULL;
		run_script(peer, fd, number);
	}
}

static void listen_at(struct peer *peer, uint32_t address, uint16_t port)
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
	socklen_t len = sizeof(at);
	at.sin_addr.s_addr = htonl(address);
	peer->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(peer->listen_fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(peer->listen_fd, 8), 0);
	assert_int_equal(getsockname(peer->listen_fd, (struct sockaddr *)&at, &len), 0);
	peer->port = ntohs(at.sin_port);
}

static SSL_CTX *server_ctx(const struct pki_cert *cert, int max_version)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	assert_non_null(ctx);
	SSL_CTX_set_security_level(ctx, 0); /* who is weak is for the client to say */
	assert_int_equal(SSL_CTX_use_certificate(ctx, cert->cert), 1);
	assert_int_equal(SSL_CTX_use_PrivateKey(ctx, cert->key), 1);
	if (max_version < TLS1_2_VERSION)
		SSL_CTX_set_cipher_list(ctx, "ALL:@SECLEVEL=0");
	SSL_CTX_set_min_proto_version(
		ctx, max_version < TLS1_2_VERSION ? max_version : TLS1_2_VERSION);
	SSL_CTX_set_max_proto_version(ctx, max_version);
	return ctx;
}

static void start(struct peer *peer, peer_script *script, void *arg)
{
	peer->script = script;
	peer->arg = arg;
	assert_int_equal(pthread_create(&peer->thread, NULL, serve, peer), 0);
}

void peer_start(struct peer *peer, const struct pki_cert *cert, int max_version,
	peer_script *script, void *arg)
{
	*peer = (struct peer){.ctx = cert ? server_ctx(cert, max_version) : NULL};
	listen_at(peer, INADDR_LOOPBACK, 0);
	start(peer, script, arg);
}

void peer_start_at(
	struct peer *peer, uint32_t address, uint16_t port, peer_script *script, void *arg)
{
	*peer = (struct peer){.ctx = NULL};
	listen_at(peer, address, port);
	start(peer, script, arg);
}

void peer_stop(struct peer *peer)
{
	shutdown(peer->listen_fd, SHUT_RDWR);
	pthread_join(peer->thread, NULL);
	close(peer->listen_fd);
	SSL_CTX_free(peer->ctx);
}

bool peer_handshake(struct peer_conn *conn)
{
	conn->ssl = SSL_new(conn->ctx);
	SSL_set_fd(conn->ssl, conn->fd);
	return SSL_accept(conn->ssl) == 1;
}

int peer_read(struct peer_conn *conn, void *buf, size_t cap)
{
	if (conn->ssl)
		return SSL_read(conn->ssl, buf, (int)cap);
	return (int)recv(conn->fd, buf, cap, 0);
}

bool peer_read_all(struct peer_conn *conn, void *buf, size_t len)
{
	for (char *next = buf; len > 0;) {
		int n = peer_read(conn, next, len);
		if (n <= 0)
			return false;
		next += n;
		len -= (size_t)n;
	}
	return true;
}

bool peer_write(struct peer_conn *conn, const void *data, size_t len)
{
	if (conn->ssl)
		return SSL_write(conn->ssl, data, (int)len) == (int)len;
	for (const char *next = data; len > 0;) {
		ssize_t n = send(conn->fd, next, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		next += n;
		len -= (size_t)n;
	}
	return true;
}

bool peer_puts(struct peer_conn *conn, const char *text)
{
	return peer_write(conn, text, strlen(text));
}

void peer_drain(struct peer_conn *conn)
{
	char buf[4096];
	while (peer_read(conn, buf, sizeof(buf)) > 0)
		;
}

struct net_context *peer_context(const struct peer *peer)
{
	struct net_params params = {.host = "127.0.0.1", .port = peer->port, .tls = NET_TLS_NONE};
	struct net_context *context = NULL;
	struct source_error error;
	assert_int_equal(net_context_create(&params, &context, &error), 0);
	return context;
}
