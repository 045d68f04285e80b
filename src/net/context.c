/* SPDX-License-Identifier: MIT */
/*
 * The context of an account's connections. Everything but the sessions and the cancel flag is constant
 * after creation, so that threads share it without a lock. Sessions are kept here and not in OpenSSL's
 * own cache, which a client has to search by itself anyway; a context knows one server and one set of
 * trust settings only, so a session can never be resumed under other settings than it was made with.
 */
#include "context.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "mailfs/util/cleanup.h"
#include "tls.h"
#include "trust.h"

/* Called by OpenSSL for each new session; 1: the reference is ours now. */
static int keep_session(SSL *ssl, SSL_SESSION *session)
{
	struct net_context *context = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&context->lock);
	if (context->session_count == CONTEXT_SESSIONS_MAX) {
		SSL_SESSION_free(context->sessions[0]);
		context->session_count--;
		memmove(context->sessions, context->sessions + 1,
			context->session_count * sizeof(context->sessions[0]));
	}
	context->sessions[context->session_count++] = session;
	return 1;
}

SSL_SESSION *net_context_take_session(struct net_context *context)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&context->lock);
	if (context->session_count == 0)
		return NULL;
	SSL_SESSION *session = context->sessions[context->session_count - 1];
	if (SSL_SESSION_get_protocol_version(session) >= TLS1_3_VERSION)
		context->session_count--;
	else
		SSL_SESSION_up_ref(session);
	return session;
}

void net_context_forget_sessions(struct net_context *context)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&context->lock);
	while (context->session_count > 0)
		SSL_SESSION_free(context->sessions[--context->session_count]);
}

static bool is_address(const char *name)
{
	unsigned char address[sizeof(struct in6_addr)];
	return inet_pton(AF_INET, name, address) == 1 || inet_pton(AF_INET6, name, address) == 1;
}

/* The name without what is no part of it in a certificate: a zone (fe80::1%eth0) or the root's dot. */
static char *peer_name(const char *host)
{
	size_t len = strcspn(host, "%");
	if (host[len] == 0 && len > 1 && host[len - 1] == '.')
		len--;
	return strndup(host, len);
}

static char *host_and_port(const char *host, unsigned port)
{
	char *text;
	int n = strchr(host, ':') ? asprintf(&text, "[%s]:%u", host, port)
	                          : asprintf(&text, "%s:%u", host, port);
	return n < 0 ? NULL : text;
}

static int copy_params(struct net_context *context, const struct net_params *params)
{
	context->host = strdup(params->host);
	context->peer_name = peer_name(params->host);
	if (params->ca_file)
		context->ca_file = strdup(params->ca_file);
	if (params->fingerprint)
		memcpy(context->fingerprint, params->fingerprint, sizeof(context->fingerprint));
	context->label = host_and_port(params->host, params->port);
	if (!context->host || !context->peer_name || !context->label ||
		(params->ca_file && !context->ca_file))
		return -ENOMEM;
	context->peer_is_address = is_address(context->peer_name);
	context->params = *params;
	context->params.host = context->host;
	context->params.ca_file = context->ca_file;
	context->params.fingerprint = params->fingerprint ? context->fingerprint : NULL;
	return 0;
}

/* The administrator's openssl.cnf may ask for more than TLS 1.2; it is never lowered. */
static void demand_tls12(SSL_CTX *ctx)
{
	if (SSL_CTX_get_min_proto_version(ctx) < TLS1_2_VERSION)
		SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
}

static int create_ssl_ctx(struct net_context *context)
{
	context->bio_method = net_tls_bio_method();
	SSL_CTX *ctx = context->ssl_ctx = SSL_CTX_new(TLS_client_method());
	if (!context->bio_method || !ctx)
		return -ENOMEM;
	demand_tls12(ctx);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
	/* Several records with one recv(), instead of two recv() for each. */
	SSL_CTX_set_read_ahead(ctx, 1);
	SSL_CTX_set_default_read_buffer_len(ctx, STREAM_BUFFER_BYTES);
	if (!SSL_CTX_set_app_data(ctx, context))
		return -ENOMEM;
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
	SSL_CTX_sess_set_new_cb(ctx, keep_session);
	return 0;
}

static int context_init(
	struct net_context *context, const struct net_params *params, struct source_error *error)
{
	int r = copy_params(context, params);
	if (r == 0) {
		context->cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		r = context->cancel_fd < 0 ? -errno : create_ssl_ctx(context);
	}
	if (r < 0)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_OTHER, r, "%s: preparing the connection: %s", params->host,
			strerror(-r));
	return net_trust_load(context, error);
}

int net_context_create(
	const struct net_params *params, struct net_context **ret, struct source_error *error)
{
	struct net_context *context = calloc(1, sizeof(*context));
	if (!context)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_OTHER, -ENOMEM, "%s: out of memory", params->host);
	context->cancel_fd = -1;
	pthread_mutex_init(&context->lock, NULL);
	int r = context_init(context, params, error);
	if (r < 0) {
		net_context_destroy(context);
		return r;
	}
	*ret = context;
	return 0;
}

void net_context_destroy(struct net_context *context)
{
	if (!context)
		return;
	net_context_forget_sessions(context);
	SSL_CTX_free(context->ssl_ctx);
	BIO_meth_free(context->bio_method);
	cleanup_close(&context->cancel_fd);
	pthread_mutex_destroy(&context->lock);
	free(context->label);
	free(context->peer_name);
	free(context->ca_file);
	free(context->host);
	free(context);
}

const struct net_params *net_context_params(const struct net_context *context)
{
	return &context->params;
}

void net_context_cancel(struct net_context *context)
{
	context->cancelled = true;
	/* The counter of an eventfd can not run full here: a failed write means that it is readable already. */
	(void)!eventfd_write(context->cancel_fd, 1);
}

int net_context_cancel_fd(const struct net_context *context)
{
	return context->cancel_fd;
}
