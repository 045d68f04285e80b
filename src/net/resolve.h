/* SPDX-License-Identifier: MIT */
/* Host names to addresses, with a deadline and a cancel, which getaddrinfo() has not. */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include "stream.h"

/* The addresses of the stream's host, at least one. error is filled on failure. Blocks: network. */
int net_resolve(struct net_stream *stream, struct net_answer *ret, struct source_error *error);

#endif
