/* SPDX-License-Identifier: MIT */
/* An IMAP account: all of it can be had from the server again, so what is kept of it is a cache. */
#include <stdio.h>
#include <string.h>

#include "home.h"
#include "mailfs/imap.h"
#include "mailfs/sync.h"
#include "mailfs/util/cleanup.h"
#include "protocol.h"

static char *store_base(const struct options *options)
{
	if (options->cache_dir)
		return strdup(options->cache_dir);
	return home_xdg_path("XDG_CACHE_HOME", ".cache", "mailfs");
}

static char *identity(const struct session *session)
{
	char *text;

	if (asprintf(&text, "%s@%s:%u", session->password.user, session->settings->url.host,
		    (unsigned)session->settings->port) < 0)
		return NULL;
	return text;
}

static int create_source(struct session *session)
{
	struct imap_params params = {
		.net = session->net,
		.user = session->password.user,
		.password = session->password.secret,
		.token = session->password.token,
	};

	if (!params.token)
		return imap_source_create(&params, &session->source);
	const struct token_asker asker = session_token_asker(session);
	return token_source_create(
		&params, steal_ptr(session->password.secret), &asker, &session->source);
}

static int create_account(struct session *session)
{
	const struct options *options = &session->settings->options;
	struct sync_params params = {
		.source = session->source,
		.store = session->store,
		.account = session->account,
		.readonly = options->readonly,
		.connections = options->connections,
		.timeout_ms = (int)options->timeout_s * 1000,
		.refresh_ms = (int)options->refresh_s * 1000,
		.watchdog_ms = (int)options->watchdog_s * 1000,
		.compress = options->compress,
		.offline = true,
	};

	return sync_account_create(&params, &session->sync);
}

static void fill_tree(const struct session *session, struct tree_params *params)
{
	params->root_folder = session->settings->url.folder;
	params->decode_name = imap_mailbox_decode;
	params->readonly = session->settings->options.readonly;
}

const struct protocol protocol_imap = {
	.store_kind = STORE_CACHE,
	.store_base = store_base,
	.store_option = "cache_dir",
	.identity = identity,
	.create_source = create_source,
	.create_account = create_account,
	.fill_tree = fill_tree,
};
