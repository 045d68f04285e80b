/* SPDX-License-Identifier: MIT */
/* The scripted server: one connection, one thread, blocking calls with a time limit. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "mailfs/util/clock.h"
#include "pki.h"
#include "script.h"

#define CONNECT_MS 8000

struct script {
	const char *const *steps;
	script_fn *fn;
	int listener;
	uint16_t port;
	struct pki_cert cert; /* with TLS */
	struct script_conn conn;
	pthread_t thread;
};

void script_wrong(struct script_conn *conn, const char *format, ...)
{
	va_list args;
	if (conn->wrong[0])
		return;
	va_start(args, format);
	vsnprintf(conn->wrong, sizeof(conn->wrong), format, args);
	va_end(args);
}

static ssize_t conn_write(struct script_conn *conn, const char *data, size_t len)
{
	if (conn->ssl)
		return SSL_write(conn->ssl, data, (int)len);
	return send(conn->fd, data, len, MSG_NOSIGNAL);
}

static ssize_t conn_read(struct script_conn *conn, char *data, size_t cap)
{
	return conn->ssl ? SSL_read(conn->ssl, data, (int)cap) : recv(conn->fd, data, cap, 0);
}

bool script_send(struct script_conn *conn, const void *data, size_t len)
{
	for (const char *next = data; len > 0;) {
		ssize_t n = conn_write(conn, next, len);
		if (n <= 0)
			return false;
		next += n;
		len -= (size_t)n;
	}
	return true;
}

bool script_line(struct script_conn *conn, char *line, size_t cap)
{
	size_t len = 0;
	while (len + 1 < cap && (len < 2 || memcmp(line + len - 2, "\r\n", 2) != 0)) {
		if (conn_read(conn, line + len, 1) != 1) {
			line[len] = 0;
			return false;
		}
		len++;
	}
	line[len >= 2 ? len - 2 : 0] = 0;
	return true;
}

void script_drain(struct script_conn *conn)
{
	char rest[4096];
	while (conn_read(conn, rest, sizeof(rest)) > 0)
		;
}

static void do_expect(struct script_conn *conn, const char *want)
{
	char line[10000];
	bool whole = script_line(conn, line, sizeof(line));
	if (!whole || strcmp(line, want) != 0)
		script_wrong(conn, "waited for '%.300s', got '%.300s'", want, line);
}

static void do_nul(struct script_conn *conn, const char *text)
{
	size_t len = strlen(text);
	char *bytes = strdup(text);
	for (size_t i = 0; i < len; i++)
		if (bytes[i] == '%')
			bytes[i] = 0;
	script_send(conn, bytes, len);
	free(bytes);
}

/* The peer may have had enough of it: that is no fault of the script. */
static void do_flood(struct script_conn *conn, const char *step)
{
	static _Thread_local char many[1 << 16];
	char *text;
	unsigned long count = strtoul(step, &text, 10);
	size_t len = strlen(++text), fit = 0; /* each step fits */
	for (; fit < count && (fit + 1) * len <= sizeof(many); fit++)
		memcpy(many + fit * len, text, len);
	for (; count > 0; count -= fit) {
		fit = fit < count ? fit : count;
		if (!script_send(conn, many, fit * len))
			break;
	}
}

static void do_trickle(struct script_conn *conn, const char *step)
{
	char *text;
	unsigned long pause_ms = strtoul(step, &text, 10);
	for (text++; *text && script_send(conn, text, 1); text++)
		usleep((useconds_t)pause_ms * 1000);
}

static void do_handshake(struct script *script)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
	SSL_CTX_use_certificate(ctx, script->cert.cert);
	SSL_CTX_use_PrivateKey(ctx, script->cert.key);
	script->conn.ssl = SSL_new(ctx);
	SSL_CTX_free(ctx);
	SSL_set_fd(script->conn.ssl, script->conn.fd);
	if (SSL_accept(script->conn.ssl) != 1)
		script_wrong(&script->conn, "the handshake failed");
}

static void do_step(struct script *script, const char *step)
{
	struct script_conn *conn = &script->conn;
	switch (step[0]) {
	case '>':
		if (!script_send(conn, step + 1, strlen(step + 1)))
			script_wrong(conn, "can not send '%.300s'", step + 1);
		break;
	case '%':
		do_nul(conn, step + 1);
		break;
	case '<':
		do_expect(conn, step + 1);
		break;
	case '*':
		do_flood(conn, step + 1);
		break;
	case '~':
		do_trickle(conn, step + 1);
		break;
	case '#':
		usleep((useconds_t)atoi(step + 1) * 1000);
		break;
	case '^':
		do_handshake(script);
		break;
	case '&':
		script_scram(conn, "s3cret", strcmp(step, "&right") == 0);
		break;
	case '!':
		shutdown(conn->fd, SHUT_RDWR);
		break;
	default:
		script_wrong(conn, "no such step: '%.300s'", step);
	}
}

static void set_timeout(int fd, int seconds)
{
	struct timeval limit = {.tv_sec = seconds};
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
}

static void *script_main(void *arg)
{
	struct script *script = arg;
	struct script_conn *conn = &script->conn;
	sigset_t pipe;
	/* OpenSSL writes without MSG_NOSIGNAL. In this thread only: the client under test has to do without. */
	sigemptyset(&pipe);
	sigaddset(&pipe, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe, NULL);
	conn->fd = accept(script->listener, NULL, NULL);
	if (conn->fd < 0) {
		script_wrong(conn, "nobody came");
		return NULL;
	}
	set_timeout(conn->fd, 10);
	setsockopt(conn->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	for (const char *const *step = script->steps; *step && !conn->wrong[0]; step++)
		do_step(script, *step);
	if (script->fn && !conn->wrong[0])
		script->fn(conn);
	if (!conn->wrong[0])
		script_drain(conn);
	SSL_free(conn->ssl);
	close(conn->fd);
	return NULL;
}

static struct script *script_start(const struct client_params *params, const char *const *steps)
{
	struct script *script = calloc(1, sizeof(*script));
	struct sockaddr_in address = {
		.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	assert_non_null(script);
	script->steps = steps;
	script->fn = params->fn;
	script->conn.arg = params->arg;
	if (params->tls != NET_TLS_NONE)
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

static void script_finish(struct script *script, char *wrong, size_t cap)
{
	pthread_join(script->thread, NULL);
	close(script->listener);
	snprintf(wrong, cap, "%s", script->conn.wrong);
	pki_destroy(&script->cert);
	free(script);
}

void client_connect(
	struct client *client, const struct client_params *params, const char *const *steps)
{
	unsigned char fingerprint[32];
	const char *password = params->password ? params->password : "s3cret";
	size_t len = params->password_len ? params->password_len : strlen(password);
	*client = (struct client){.script = script_start(params, steps)};
	struct net_params net = {
		.host = "127.0.0.1", .port = client->script->port, .tls = params->tls};
	if (params->tls != NET_TLS_NONE) {
		pki_fingerprint(&client->script->cert, fingerprint);
		net.fingerprint = fingerprint;
	}
	assert_int_equal(net_context_create(&net, &client->net, &client->error), 0);
	client->password = secret_create(password, len);
	assert_non_null(client->password);
	struct pop3_params pop3 = {.net = client->net,
		.user = params->user ? params->user : "alice",
		.password = client->password,
		.token = params->token};
	assert_int_equal(pop3_maildrop_create(&pop3, &client->maildrop), 0);
	if (params->ready)
		params->ready();
	client->result = client->maildrop->ops->connect(
		client->maildrop, clock_now_ms() + CONNECT_MS, &client->session, &client->error);
}

void client_begin(struct client *client, const char *const *steps)
{
	client_connect(client, &(struct client_params){.tls = NET_TLS_NONE}, steps);
	if (client->result < 0)
		fail_msg("connect: %s", client->error.text);
	client->maildrop->ops->set_timeout(client->session, 5000);
}

static void client_end(struct client *client, char *wrong, size_t cap)
{
	if (client->session)
		client->maildrop->ops->disconnect(client->session);
	client->maildrop->ops->destroy(client->maildrop);
	secret_destroy(client->password);
	net_context_destroy(client->net);
	script_finish(client->script, wrong, cap);
}

void client_finish(struct client *client)
{
	char wrong[1000];
	client_end(client, wrong, sizeof(wrong));
	if (wrong[0])
		fail_msg("script: %s", wrong);
}

void client_abandon(struct client *client)
{
	char wrong[1000];
	/* It may never have come. */
	if (!client->session)
		shutdown(client->script->listener, SHUT_RDWR);
	client_end(client, wrong, sizeof(wrong));
}
