/* SPDX-License-Identifier: MIT */
/*
 * TLS by OpenSSL over a BIO of our own, which sends with MSG_NOSIGNAL and counts the bytes of the wire.
 * Nothing here waits but the handshake, and that by net_stream_wait(). A peer's end without close_notify is
 * a lost connection like any other: no reader of ours takes an end for the end of a message.
 */
#include "tls.h"

#include <assert.h>
#include <errno.h>
#include <openssl/err.h>
#include <poll.h>
#include <string.h>

#include "mailfs/util/log.h"
#include "trust.h"

/*
 * So much OpenSSL may take off the socket in one call. It goes on by itself behind records that bring no content (tickets, new keys, HelloRequest),
 * as long as more come; where it has to stop and come back, the clock is looked at in between. More than what it reads at once.
 */
#define TURN_BYTES (2 * STREAM_BUFFER_BYTES)

/* --- The socket as a BIO --- */

static int bio_result(struct net_stream *stream, ssize_t n)
{
	if (n > 0)
		return (int)n;
	stream->socket_err = n == 0 ? -ECONNRESET : (int)n;
	return n == 0 ? 0 : -1;
}

static int bio_read(BIO *bio, char *buf, int cap)
{
	struct net_stream *stream = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	ssize_t n = stream->tls_turn_bytes < TURN_BYTES ? net_stream_recv(stream, buf, (size_t)cap)
	                                                : -EAGAIN;
	stream->tls_turn_bytes += n > 0 ? (size_t)n : 0;
	if (n == -EAGAIN) {
		BIO_set_retry_read(bio);
		return -1;
	}
	return bio_result(stream, n);
}

static int bio_write(BIO *bio, const char *data, int len)
{
	struct net_stream *stream = BIO_get_data(bio);
	BIO_clear_retry_flags(bio);
	ssize_t n = net_stream_send(stream, data, (size_t)len);
	if (n == -EAGAIN) {
		BIO_set_retry_write(bio);
		return -1;
	}
	return bio_result(stream, n);
}

static long bio_ctrl(BIO *bio, int command, long number, void *arg)
{
	(void)bio;
	(void)number;
	(void)arg;
	return command == BIO_CTRL_FLUSH; /* nothing is held back; nothing else is known */
}

static int bio_create(BIO *bio)
{
	BIO_set_init(bio, 1);
	return 1;
}

BIO_METHOD *net_tls_bio_method(void)
{
	BIO_METHOD *method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "mailfs");
	if (!method)
		return NULL;
	BIO_meth_set_read(method, bio_read);
	BIO_meth_set_write(method, bio_write);
	BIO_meth_set_ctrl(method, bio_ctrl);
	BIO_meth_set_create(method, bio_create);
	return method;
}

/* OpenSSL is about to be called. SSL_get_error() takes any older entry of this thread for that call's. */
static void turn_begin(struct net_stream *stream)
{
	ERR_clear_error();
	stream->tls_turn_bytes = 0;
}

/* --- Results --- */

const char *net_tls_reason(const struct net_stream *stream)
{
	/* TLS 1.3 tells it only behind the handshake. */
	if (ERR_GET_REASON(stream->tls_error) == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED)
		return "the server demands a certificate of its clients, and mailfs has none";
	return stream->tls_error ? ERR_reason_error_string(stream->tls_error) : NULL;
}

/* The connection is over: by the socket, or by an error of TLS itself. */
static ssize_t tls_end(struct net_stream *stream)
{
	unsigned long code = ERR_peek_error();
	stream->tls_ended = true;
	if (stream->socket_err < 0)
		return stream->socket_err;
	if (code == 0)
		return -ECONNRESET;
	stream->tls_error = code;
	return -EIO;
}

static ssize_t tls_result(struct net_stream *stream, int r, short *ret_events)
{
	switch (SSL_get_error(stream->ssl, r)) {
	case SSL_ERROR_WANT_READ:
		*ret_events = POLLIN;
		return -EAGAIN;
	case SSL_ERROR_WANT_WRITE:
		*ret_events = POLLOUT;
		return -EAGAIN;
	case SSL_ERROR_ZERO_RETURN:
		return -ECONNRESET;
	default:
		return tls_end(stream);
	}
}

ssize_t net_tls_read(struct net_stream *stream, void *buf, size_t cap, short *ret_events)
{
	size_t n;
	turn_begin(stream);
	int r = SSL_read_ex(stream->ssl, buf, cap, &n);
	return r > 0 ? (ssize_t)n : tls_result(stream, r, ret_events);
}

ssize_t net_tls_write(struct net_stream *stream, const void *data, size_t len, short *ret_events)
{
	size_t n;
	turn_begin(stream);
	int r = SSL_write_ex(stream->ssl, data, len, &n);
	return r > 0 ? (ssize_t)n : tls_result(stream, r, ret_events);
}

/* OpenSSL takes a session whose connection was not shut down for a bad one, and never resumes it. */
void net_tls_finish(struct net_stream *stream)
{
	if (!stream->ssl)
		return;
	ERR_clear_error();
	if (stream->secured && !stream->tls_ended)
		SSL_shutdown(stream->ssl);
	else if (stream->secured && !stream->tls_error)
		SSL_set_shutdown(stream->ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
	SSL_free(stream->ssl);
	stream->ssl = NULL;
	ERR_clear_error();
}

/* --- The handshake --- */

static int create_ssl(struct net_stream *stream)
{
	struct net_context *context = stream->context;
	stream->ssl = SSL_new(context->ssl_ctx);
	BIO *bio = BIO_new(context->bio_method);
	if (!stream->ssl || !bio) {
		BIO_free(bio);
		return -ENOMEM;
	}
	BIO_set_data(bio, stream);
	SSL_set_bio(stream->ssl, bio, bio);
	if (!SSL_set_app_data(stream->ssl, stream))
		return -ENOMEM;
	int r = net_trust_expect_peer(context, stream->ssl);
	if (r < 0)
		return r;
	SSL_SESSION *session = net_context_take_session(context);
	if (session)
		SSL_set_session(stream->ssl, session);
	SSL_SESSION_free(session);
	return 0;
}

static int run_handshake(struct net_stream *stream)
{
	for (;;) {
		int r = net_stream_check(stream);
		if (r < 0)
			return r;
		turn_begin(stream);
		r = SSL_connect(stream->ssl);
		if (r == 1)
			return net_trust_check_peer(stream) ? 0 : -EPROTO;
		short events = 0;
		ssize_t n = tls_result(stream, r, &events);
		if (n != -EAGAIN)
			return (int)n;
		r = net_stream_wait(stream, stream->fd, events);
		if (r < 0)
			return r;
	}
}

/* What the usual mistakes, and attacks, look like from here. */
static const char *handshake_advice(const struct net_stream *stream)
{
	bool implicit = stream->context->params.tls == NET_TLS_IMPLICIT;
	switch (ERR_GET_REASON(stream->tls_error)) {
	case SSL_R_WRONG_VERSION_NUMBER:
	case SSL_R_PACKET_LENGTH_TOO_LONG:
	case SSL_R_HTTP_REQUEST:
		return implicit
		               ? " (no TLS on this port? STARTTLS is used by imap:// and pop3://)"
		               : " (the server agreed to TLS and sent something else: somebody may be tampering with the connection)";
	case SSL_R_TLSV1_ALERT_PROTOCOL_VERSION:
	case SSL_R_UNSUPPORTED_PROTOCOL:
	case SSL_R_WRONG_SSL_VERSION:
		return " (TLS 1.2 or later is required)";
	case SSL_R_INAPPROPRIATE_FALLBACK:
		return " (somebody may be holding the connection down to an old TLS)";
	default:
		return "";
	}
}

static int handshake_fail(struct net_stream *stream, int err, struct source_error *error)
{
	const char *label = stream->context->label;
	const char *reason = net_tls_reason(stream);
	if (stream->verdict.refused)
		return net_trust_fail(stream, error);
	if (err == -ETIMEDOUT)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_CONNECT, err, "%s: TLS handshake timed out", label);
	if (err == -ECONNRESET || err == -EPIPE)
		source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_TLS, -EIO,
			"%s: the server closed the connection during the TLS handshake", label);
	else if (err == -EIO && reason)
		source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_TLS, -EIO,
			"%s: TLS handshake failed: %s%s", label, reason, handshake_advice(stream));
	else
		net_fail(stream, err, error);
	return err;
}

static int refuse_injection(struct net_stream *stream, struct source_error *error)
{
	stream->broken = -EPROTO;
	source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_TLS, -EIO,
		"%s: unencrypted bytes between STARTTLS and the TLS handshake: somebody may be "
		"tampering with the connection",
		stream->context->label);
	return -EPROTO;
}

int net_start_tls(struct net_stream *stream, struct source_error *error)
{
	assert(!stream->ssl);
	if (net_buffered(stream) > 0)
		return refuse_injection(stream, error);
	int r = stream->broken ? stream->broken : create_ssl(stream);
	if (r == 0)
		r = run_handshake(stream);
	if (r < 0) {
		stream->broken = r; /* nothing goes over it in the clear either */
		net_context_forget_sessions(stream->context);
		return handshake_fail(stream, r, error);
	}
	stream->secured = true;
	log_debug("%s: %s, %s%s", stream->context->label, SSL_get_version(stream->ssl),
		SSL_get_cipher_name(stream->ssl),
		SSL_session_reused(stream->ssl) ? ", resumed" : "");
	return 0;
}
