/* SPDX-License-Identifier: MIT */
/* What the connections of one account share: trust settings, TLS sessions, and the cancel of connects. */
#ifndef NET_CONTEXT_H
#define NET_CONTEXT_H

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "mailfs/net.h"

/* TLS 1.3 tickets are for one use and come two at a time: enough for an account's connections. */
#define CONTEXT_SESSIONS_MAX 8

struct net_context {
	struct net_params params;
	char *host;
	char *ca_file;
	unsigned char fingerprint[32];
	char *peer_name; /* the name that the certificate must bear: host without a final dot or a zone */
	bool peer_is_address;
	char *label; /* host:port, for messages */

	SSL_CTX *ssl_ctx;
	BIO_METHOD *bio_method;

	int cancel_fd;
	atomic_bool cancelled;

	pthread_mutex_t lock;                        /* guards the sessions */
	SSL_SESSION *sessions[CONTEXT_SESSIONS_MAX]; /* oldest first */
	unsigned session_count;
};

/* The newest session, to be freed by the caller; NULL: none. A TLS 1.3 ticket is handed out once. */
SSL_SESSION *net_context_take_session(struct net_context *context);
/* After a resumption that failed: none of them is tried again. */
void net_context_forget_sessions(struct net_context *context);

#endif
