/* SPDX-License-Identifier: MIT */
/* Deflate on a stream (RFC 4978): between the wire, which is the socket or TLS, and the framing. */
#ifndef NET_DEFLATE_H
#define NET_DEFLATE_H

#include "stream.h"

struct net_deflate;

/*
 * As net_stream_wire_read(), inflated. -EAGAIN with *ret_events 0: bytes came, but nothing was in them: call again, after a look at the
 * clock. -EPROTO: what came is not deflated. -ECONNRESET: also where the peer has ended its deflated stream.
 */
ssize_t net_deflate_read(struct net_stream *stream, void *buf, size_t cap, short *ret_events);
/* As net_stream_wire_write(), deflated and flushed: the peer can inflate all of it at once. */
int net_deflate_write(struct net_stream *stream, const void *data, size_t len);
/* What ended the stream, for a person; NULL: nothing of deflate did. */
const char *net_deflate_reason(const struct net_stream *stream);
void net_deflate_finish(struct net_stream *stream);

#endif
