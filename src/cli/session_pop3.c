/* SPDX-License-Identifier: MIT */
/*
 * A POP3 account: what was downloaded may be the only copy, so it is state, not cache, and is found again whichever of the two ports
 * the server is reached at: who changes from pop3:// to pop3s:// must not see an empty mailbox.
 */
#include <stdio.h>
#include <string.h>

#include "home.h"
#include "mailfs/pop3.h"
#include "mailfs/sync.h"
#include "progress.h"
#include "protocol.h"
#include "token.h"

static char *store_base(const struct options *options)
{
	if (options->state_dir)
		return strdup(options->state_dir);
	return home_xdg_path("XDG_STATE_HOME", ".local/state", "mailfs");
}

static char *identity(const struct session *session)
{
	const char *host = session->settings->url.host, *user = session->password.user;
	unsigned port = session->settings->port;
	bool usual = port == 110 || port == 995;
	char *text;

	if ((usual ? asprintf(&text, "%s@%s", user, host)
		   : asprintf(&text, "%s@%s:%u", user, host, port)) < 0)
		return NULL;
	return text;
}

static int create_source(struct session *session)
{
	struct pop3_params params = {
		.net = session->net,
		.user = session->password.user,
		.password = session->password.secret,
		.token = session->password.token,
	};

	if (!params.token)
		return pop3_maildrop_create(&params, &session->maildrop);
	const struct token_asker asker = session_token_asker(session);
	return token_maildrop_create(&params, &asker, &session->maildrop);
}

static int create_account(struct session *session)
{
	const struct options *options = &session->settings->options;
	bool watched = !options->background && !options->debug;
	struct sync_drop_params params = {
		.maildrop = session->maildrop,
		.store = session->store,
		.account = session->account,
		.timeout_ms = (int)options->timeout_s * 1000,
		.background = options->background,
		.uidl_hash = options->uidl_hash,
		.poll_s = options->poll_s,
		.after = options->after_delete ? SYNC_AFTER_DELETE : SYNC_AFTER_KEEP,
		.after_days = options->after_days,
		.progress = watched ? progress_show : NULL,
	};

	if (watched)
		progress_begin();
	return sync_account_create_drop(&params, &session->sync);
}

/* The one folder is the root; nothing in it can be changed, whatever the mount says. */
static void fill_tree(const struct session *session, struct tree_params *params)
{
	(void)session;
	params->root_folder = "INBOX";
	params->decode_name = pop3_mailbox_decode;
	params->readonly = true;
}

const struct protocol protocol_pop3 = {
	.store_kind = STORE_SPOOL,
	.store_base = store_base,
	.store_option = "state_dir",
	/* Without a network there may be no token, and what is here is shown all the same. */
	.token_at_connect = true,
	.identity = identity,
	.create_source = create_source,
	.create_account = create_account,
	.fill_tree = fill_tree,
};
