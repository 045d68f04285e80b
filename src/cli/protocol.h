/* SPDX-License-Identifier: MIT */
/* A mount while it is built, and what each protocol does in its own way. For session.c and the protocols' files beside it. */
#ifndef CLI_PROTOCOL_H
#define CLI_PROTOCOL_H

#include "exit.h"
#include "mailfs/store.h"
#include "mailfs/tree.h"
#include "password.h"
#include "settings.h"
#include "token_source.h"

struct control;
struct control_place;
struct fs;
struct fs_herald;
struct helper;
struct maildrop;
struct source;

struct session {
	const struct settings *settings;
	const struct protocol *protocol;
	const char *mountpoint;
	struct password password;
	struct helper *helper;       /* NULL: sandbox=off */
	char *store_directory;       /* it is there */
	struct control_place *place; /* NULL: there is none, or control has it */
	bool placeless;              /* none could be made, which was said */
	char *account; /* protocol->identity, by which numbers and the store's directory are made */
	struct net_context *net;
	struct store *store;
	struct source *source;     /* of IMAP */
	struct maildrop *maildrop; /* of POP3 */
	struct sync_account *sync;
	bool started;
	struct tree *tree;
	struct fs_herald *herald; /* NULL: inotify=off, or ro */
	struct fs *fs;
	struct control *control; /* NULL: mailfsctl gets no answer */
};

struct protocol {
	enum store_kind store_kind;
	/* The directory under which stores lie; free() it. NULL: no memory, or no home. */
	char *(*store_base)(const struct options *options);
	const char *store_option; /* the one that tells another place */
	bool token_at_connect; /* token_command= is run for each connection, not once at the start */
	/* What the account is known by on this machine, for ever; free() it. NULL: no memory. */
	char *(*identity)(const struct session *session);
	/* Makes session->source or session->maildrop. 0 or a negative errno. */
	int (*create_source)(struct session *session);
	/* Makes session->sync, not started. 0 or a negative errno. */
	int (*create_account)(struct session *session);
	/* Fills in root_folder, decode_name and readonly. */
	void (*fill_tree)(const struct session *session, struct tree_params *params);
};
extern const struct protocol protocol_imap, protocol_pop3;

/* How an access token is asked for; what it points to lasts as long as the session. session.c */
struct token_asker session_token_asker(const struct session *session);

#endif
