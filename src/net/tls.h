/* SPDX-License-Identifier: MIT */
/* TLS on a stream: the BIO over the socket, the handshake, reading and writing that never wait. */
#ifndef NET_TLS_H
#define NET_TLS_H

#include "stream.h"

/* The BIO type whose object is a net_stream. NULL: no memory. */
BIO_METHOD *net_tls_bio_method(void);
/*
 * As net_stream_recv() and net_stream_send(), through TLS. -EAGAIN: *ret_events says what poll() is to wait
 * for; net_tls_write() must then be called again with the same bytes. -EIO: the peer broke the protocol.
 */
ssize_t net_tls_read(struct net_stream *stream, void *buf, size_t cap, short *ret_events);
ssize_t net_tls_write(struct net_stream *stream, const void *data, size_t len, short *ret_events);
/* What ended the TLS connection, in OpenSSL's words; NULL: nothing of TLS did. */
const char *net_tls_reason(const struct net_stream *stream);
/* Says goodbye if that needs no waiting, and frees the TLS state. */
void net_tls_finish(struct net_stream *stream);

#endif
