/* SPDX-License-Identifier: MIT */
/*
 * The inside of a connection. Layers: net_stream_recv()/net_stream_send() move bytes on the socket and never wait; the wire is these, or TLS on
 * them (tls.c); deflate (deflate.c), when it was agreed, lies on that; the buffer holds what was received before a reader asked for it.
 */
#ifndef NET_STREAM_H
#define NET_STREAM_H

#include <openssl/ssl.h>
#include <stdatomic.h>

#include "context.h"
#include "mailfs/net.h"

#define STREAM_BUFFER_BYTES     ((size_t)64 * 1024)
#define STREAM_BUFFER_MAX_BYTES ((size_t)8 * 1024 * 1024)

/* Why the server's certificate was refused; filled during the handshake. */
struct net_verdict {
	bool refused;
	int code;      /* X509_V_ERR_*; X509_V_ERR_APPLICATION_VERIFICATION: not the pinned one */
	X509 *leaf;    /* the server's own certificate; owned */
	X509 *culprit; /* the one in the chain that code is about; owned; may be NULL */
};

struct net_stream {
	struct net_context *context;
	int fd;        /* non-blocking socket; -1 before it is connected */
	int cancel_fd; /* eventfd, readable once cancelled */
	int poke_fd;   /* eventfd, readable after a poke */
	atomic_bool cancelled, poked;
	bool connecting; /* net_context_cancel() reaches this stream too */
	int64_t deadline_ms;
	void (*on_arrival)(void *arg, size_t bytes); /* NULL: nobody is told */
	void *on_arrival_arg;

	SSL *ssl;
	bool secured;
	struct net_verdict verdict;
	bool tls_ended;        /* OpenSSL allows no further I/O */
	size_t tls_turn_bytes; /* that it has read since it was called */
	unsigned long
		tls_error; /* OpenSSL's code of what ended it; 0: nothing did, or the socket */
	int socket_err;    /* negative errno of the socket's end, which OpenSSL does not hand on */

	struct net_deflate *deflate; /* NULL: what is on the wire is not deflated */
	atomic_bool deflated;        /* the same, for other threads */

	int broken;       /* negative errno: the transport has ended with it */
	bool out_of_step; /* a response was read in part: what follows can not be framed */

	char *buffer;
	size_t buffer_begin, buffer_end, buffer_cap;
	_Atomic uint64_t bytes_in, bytes_out;
	_Atomic uint64_t content_bytes, waited_us; /* see struct source_flow */
};

/* A stream on a connected non-blocking socket, which it owns from now on (also on failure); fd -1: set later. */
struct net_stream *net_stream_create(struct net_context *context, int fd, int64_t deadline_ms);

/* 0, -ECANCELED or -ETIMEDOUT: whether the current operation may go on. */
int net_stream_check(const struct net_stream *stream);
/* Waits for poll() events on fd. The events seen (> 0), -ECANCELED, -ETIMEDOUT. */
int net_stream_wait(struct net_stream *stream, int fd, short events);

/* Bytes moved, 0 at the peer's end, -EAGAIN instead of waiting, another negative errno. Never SIGPIPE. */
ssize_t net_stream_recv(struct net_stream *stream, void *buf, size_t cap);
ssize_t net_stream_send(struct net_stream *stream, const void *data, size_t len);

/*
 * Bytes of the wire, which is the socket or TLS on it. read: as net_stream_recv(), never 0; -EAGAIN: *ret_events says what poll() is to wait
 * for. write: all of it, waiting, as net_write().
 */
ssize_t net_stream_wire_read(struct net_stream *stream, void *buf, size_t cap, short *ret_events);
int net_stream_wire_write(struct net_stream *stream, const void *data, size_t len);

/* At least one received byte lies in the buffer afterwards: its place and their number. 0 or an error. */
int net_stream_peek(struct net_stream *stream, const char **ret_data, size_t *ret_len);
/* Takes len of the bytes that net_stream_peek() showed. */
void net_stream_consume(struct net_stream *stream, size_t len);

#endif
