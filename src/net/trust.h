/* SPDX-License-Identifier: MIT */
/* Who is trusted, and the words for why somebody is not. */
#ifndef NET_TRUST_H
#define NET_TRUST_H

#include "stream.h"

/* Loads what the parameters trust into the context's SSL_CTX. Blocks: disk. */
int net_trust_load(struct net_context *context, struct source_error *error);
/* Makes ssl demand the context's name or address of the certificate. 0 or -ENOMEM. */
int net_trust_expect_peer(const struct net_context *context, SSL *ssl);
/* Whether a finished handshake, which may have resumed a session, ended at a trusted peer. */
bool net_trust_check_peer(struct net_stream *stream);
/* The error for a refused certificate: why, and how to trust it. Returns -EPROTO. */
int net_trust_fail(const struct net_stream *stream, struct source_error *error);
void net_verdict_finish(struct net_verdict *verdict);

#endif
