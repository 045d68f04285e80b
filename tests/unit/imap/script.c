/* SPDX-License-Identifier: MIT */
/* The scripted server: one connection, one thread, blocking calls with a time limit. */
#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <cmocka.h>

#include "mailfs/util/clock.h"
#include "pki.h"
#include "script.h"

int peer_patience_ms = 8000;

struct script {
	const char *const *steps;
	int listener, fd;
	uint16_t port;
	pthread_t thread;
	char wrong[1000]; /* "": nothing */
	bool deflated;
	z_stream out, in;
	struct pki_cert cert; /* made where TLS is spoken */
	SSL_CTX *ctx;
	SSL *ssl;
};

static void set_timeout(int fd, int seconds)
{
	struct timeval limit = {.tv_sec = seconds};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static bool send_all(const struct script *script, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = script->ssl ? SSL_write(script->ssl, data, (int)len)
		                        : send(script->fd, data, len, MSG_NOSIGNAL);
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t)n;
	}
	return true;
}

/* Sends plain as it is, and text behind it, deflated if that was begun. */
static bool send_text(struct script *script, const char *plain, size_t plain_len, const char *text)
{
	unsigned char data[16384];
	size_t len = strlen(text);
	if (!script->deflated)
		return send_all(script, text, len);
	assert(plain_len < 1000);
	memcpy(data, plain, plain_len);
	script->out.next_in = (unsigned char *)(uintptr_t)text;
	script->out.avail_in = (unsigned)len;
	do {
		script->out.next_out = data + plain_len;
		script->out.avail_out = (unsigned)(sizeof(data) - plain_len);
		deflate(&script->out, Z_SYNC_FLUSH);
		if (!send_all(script, (char *)data, sizeof(data) - script->out.avail_out))
			return false;
		plain_len = 0;
	} while (script->out.avail_out == 0);
	return true;
}

static void do_deflate(struct script *script, const char *step)
{
	const char *text = strchr(step, '|');
	assert(text && !script->deflated);
	if (deflateInit2(&script->out, 6, Z_DEFLATED, -15, 8, 0) != Z_OK ||
		inflateInit2(&script->in, -15) != Z_OK)
		return;
	script->deflated = true;
	if (!text[1] ? !send_all(script, step, (size_t)(text - step))
		     : !send_text(script, step, (size_t)(text - step), text + 1))
		snprintf(script->wrong, sizeof(script->wrong), "can not send '%.500s'", step);
}

static bool read_byte(struct script *script, char *ret)
{
	unsigned char byte;
	if (script->ssl)
		return SSL_read(script->ssl, ret, 1) == 1;
	if (!script->deflated)
		return recv(script->fd, ret, 1, 0) == 1;
	for (;;) {
		script->in.next_out = (unsigned char *)ret;
		script->in.avail_out = 1;
		int r = inflate(&script->in, Z_SYNC_FLUSH);
		if (script->in.avail_out == 0)
			return true;
		if ((r != Z_OK && r != Z_BUF_ERROR) || recv(script->fd, &byte, 1, 0) != 1)
			return false;
		script->in.next_in = &byte;
		script->in.avail_in = 1;
	}
}

static void do_expect(struct script *script, const char *want, bool beginning)
{
	char line[10000];
	size_t len = 0;
	while (len + 1 < sizeof(line) && (len < 2 || memcmp(line + len - 2, "\r\n", 2) != 0)) {
		if (!read_byte(script, line + len)) {
			snprintf(script->wrong, sizeof(script->wrong),
				"waited for '%s', got '%.*s'", want, (int)len, line);
			return;
		}
		len++;
	}
	size_t compared = beginning ? strlen(want) : len - 2;
	if (compared > len - 2 || strlen(want) != compared || memcmp(line, want, compared) != 0)
		snprintf(script->wrong, sizeof(script->wrong), "waited for '%s', got '%.*s'", want,
			(int)len - 2, line);
}

static void do_handshake(struct script *script)
{
	script->ctx = SSL_CTX_new(TLS_server_method());
	SSL_CTX_use_certificate(script->ctx, script->cert.cert);
	SSL_CTX_use_PrivateKey(script->ctx, script->cert.key);
	script->ssl = SSL_new(script->ctx);
	SSL_set_fd(script->ssl, script->fd);
	if (SSL_accept(script->ssl) != 1)
		snprintf(script->wrong, sizeof(script->wrong), "the handshake failed");
}

/* The peer may have had enough of it: that is no fault of the script. */
static void do_flood(struct script *script, const char *step)
{
	char *text, chunk[1 << 16];
	unsigned long count = strtoul(step, &text, 10), at_once = 0;
	size_t len = strlen(++text);
	for (; (at_once + 1) * len <= sizeof(chunk) && at_once < count; at_once++)
		memcpy(chunk + at_once * len, text, len);
	for (; count > 0; count -= at_once) {
		if (at_once > count)
			at_once = count;
		if (!send_all(script, chunk, at_once * len))
			return;
	}
}

static void do_trickle(struct script *script, const char *step)
{
	char *text;
	unsigned long pause_ms = strtoul(step, &text, 10);
	for (text++; *text && send_all(script, text, 1); text++)
		usleep((useconds_t)pause_ms * 1000);
}

static void connection_finish(struct script *script)
{
	if (script->fd >= 0)
		close(script->fd);
	SSL_free(script->ssl);
	SSL_CTX_free(script->ctx);
	script->ssl = NULL;
	script->ctx = NULL;
	if (script->deflated) {
		deflateEnd(&script->out);
		inflateEnd(&script->in);
	}
	script->deflated = false;
}

static void wait_for_end(struct script *script)
{
	char rest[4096];
	while (recv(script->fd, rest, sizeof(rest), 0) > 0)
		;
}

static bool take_connection(struct script *script)
{
	script->fd = accept(script->listener, NULL, NULL);
	if (script->fd < 0) {
		snprintf(script->wrong, sizeof(script->wrong), "nobody came");
		return false;
	}
	set_timeout(script->fd, 10);
	setsockopt(script->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	return true;
}

static void do_step(struct script *script, const char *step)
{
	switch (step[0]) {
	case '>':
		if (!send_text(script, "", 0, step + 1))
			snprintf(script->wrong, sizeof(script->wrong), "can not send '%.500s'",
				step + 1);
		break;
	case '<':
	case '?':
		do_expect(script, step + 1, step[0] == '?');
		break;
	case '*':
		do_flood(script, step + 1);
		break;
	case '~':
		do_trickle(script, step + 1);
		break;
	case '#':
		usleep((useconds_t)atoi(step + 1) * 1000);
		break;
	case '^':
		do_handshake(script);
		break;
	case '@':
		wait_for_end(script);
		connection_finish(script);
		take_connection(script);
		break;
	case 'z':
		do_deflate(script, step + 1);
		break;
	case '!':
		shutdown(script->fd, SHUT_RDWR);
		break;
	default:
		snprintf(script->wrong, sizeof(script->wrong), "no such step: '%.500s'", step);
	}
}

static void *script_main(void *arg)
{
	struct script *script = arg;
	if (!take_connection(script))
		return NULL;
	for (const char *const *step = script->steps; *step && !script->wrong[0]; step++)
		do_step(script, *step);
	if (!script->wrong[0])
		wait_for_end(script);
	connection_finish(script);
	return NULL;
}

struct script *script_start(const char *const *steps)
{
	struct script *script = calloc(1, sizeof(*script));
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	assert_non_null(script);
	script->steps = steps;
	for (const char *const *step = steps; *step; step++)
		if (**step == '^' && !script->cert.cert)
			script->cert = pki_create(&(struct pki_spec){.name = "server"});
	script->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_true(script->listener >= 0);
	set_timeout(script->listener, 10);
	assert_int_equal(bind(script->listener, (struct sockaddr *)&address, len), 0);
	assert_int_equal(listen(script->listener, 1), 0);
	assert_int_equal(getsockname(script->listener, (struct sockaddr *)&address, &len), 0);
	script->port = ntohs(address.sin_port);
	assert_int_equal(pthread_create(&script->thread, NULL, script_main, script), 0);
	return script;
}

uint16_t script_port(const struct script *script)
{
	return script->port;
}

const char *script_finish(struct script *script)
{
	static char wrong[sizeof(script->wrong)];
	pthread_join(script->thread, NULL);
	close(script->listener);
	memcpy(wrong, script->wrong, sizeof(wrong));
	pki_destroy(&script->cert);
	free(script);
	return wrong[0] ? wrong : NULL;
}

void peer_reconnect(struct peer *peer)
{
	if (peer->session)
		peer->source->ops->disconnect(peer->session, false);
	peer->session = NULL;
	peer->result = peer->source->ops->connect(
		peer->source, clock_now_ms() + peer_patience_ms, &peer->session, &peer->error);
}

static void peer_login(struct peer *peer, enum net_tls tls, const char *user, const char *password,
	bool token, const char *const *steps)
{
	*peer = (struct peer){.script = script_start(steps)};
	unsigned char fingerprint[32];
	struct net_params net = {
		.host = "127.0.0.1", .port = script_port(peer->script), .tls = tls};
	if (peer->script->cert.cert) {
		pki_fingerprint(&peer->script->cert, fingerprint);
		net.fingerprint = fingerprint;
	}
	assert_int_equal(net_context_create(&net, &peer->net, &peer->error), 0);
	peer->password = secret_create(password, strlen(password));
	assert_non_null(peer->password);
	struct imap_params params = {
		.net = peer->net, .user = user, .password = peer->password, .token = token};
	assert_int_equal(imap_source_create(&params, &peer->source), 0);
	peer_reconnect(peer);
}

void peer_connect_as(struct peer *peer, enum net_tls tls, const char *user, const char *password,
	const char *const *steps)
{
	peer_login(peer, tls, user, password, false, steps);
}

void peer_connect_token(struct peer *peer, const char *token, const char *const *steps)
{
	peer_login(peer, NET_TLS_NONE, "alice", token, true, steps);
}

void peer_connect(struct peer *peer, enum net_tls tls, const char *const *steps)
{
	peer_connect_as(peer, tls, "alice", "s3cret", steps);
}

void peer_finish(struct peer *peer)
{
	if (peer->session)
		peer->source->ops->disconnect(peer->session, false);
	peer->source->ops->destroy(peer->source);
	secret_destroy(peer->password);
	net_context_destroy(peer->net);
	const char *wrong = script_finish(peer->script);
	if (wrong)
		fail_msg("script: %s", wrong);
}
