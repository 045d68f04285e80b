/* SPDX-License-Identifier: MIT */
/* What the files of the IMAP source share above the engine. */
#ifndef MAILFS_IMAP_PRIVATE_H
#define MAILFS_IMAP_PRIVATE_H

#include "engine.h"
#include "mailfs/imap.h"
#include "mailfs/mime.h"

/* --- login.c --- */

struct imap_login_params {
	enum net_tls tls;
	const char *user;
	const struct secret *password;
	bool token; /* the password is an OAuth 2 access token */
};
/*
 * From the greeting to a session that is logged in. The stream's deadline is set. No credential is sent unless the stream is
 * secured or NET_TLS_NONE was asked for. Blocks: network.
 */
int imap_login(struct imap_engine *engine, const struct imap_login_params *params,
	struct source_error *error);

/* --- The calls of source.h, each an operation with a deadline of its own --- */

int imap_list(
	struct imap_engine *engine, source_mailbox_fn *fn, void *arg, struct source_error *error);
int imap_quota(struct imap_engine *engine, struct source_quota *ret, struct source_error *error);
int imap_select(struct imap_engine *engine, const char *mailbox, bool readonly,
	struct source_state *ret, struct source_error *error);
int imap_rows(struct imap_engine *engine, uint32_t first, uint32_t last,
	enum source_columns columns, source_row_fn *fn, void *arg, unsigned *ret_skipped,
	struct source_error *error);
int imap_structures(struct imap_engine *engine, const uint32_t *uids, size_t count,
	source_structure_fn *fn, void *arg, struct source_error *error);
int imap_body(struct imap_engine *engine, uint32_t uid, const char *section, uint64_t offset,
	uint64_t length, uint64_t limit_bytes, struct str *out, struct source_error *error);

/* --- fetch.c: what FETCH responses have in common --- */

struct imap_fetch {
	uint32_t uid;                 /* 0: it does not tell */
	const struct imap_node *item; /* the first item's name; NULL: none */
	bool damaged; /* the response is malformed; the items before the fault are there */
};
/* Whether this is a FETCH; its items are in engine->tree then. */
bool imap_fetch_parse(
	struct imap_engine *engine, const struct imap_response *response, struct imap_fetch *ret);
/* The value behind an item's name, NULL when it is missing, and *ret_next: the next item's name. */
const struct imap_node *imap_fetch_value(const struct imap_tree *tree, const struct imap_node *item,
	const struct imap_node **ret_next);
/*
 * Appends as many of the ascending uids as a command line has room for, as ranges. The number of those it
 * took, at least one.
 */
size_t imap_uid_set_append(struct str *out, const uint32_t *uids, size_t count);
/*
 * The limits of listings and structures. What is in them comes from senders, who may write a Subject of megabytes or a
 * message of thousands of parts: such a row must not cost the connection, and with it the rows of all the others.
 */
extern const struct net_limits imap_fetch_limits;
/* Fails unless a mailbox is selected. */
int imap_fetch_begin(struct imap_engine *engine, struct source_error *error);

/* --- bodystructure.c --- */

/* The structure that a BODYSTRUCTURE's list tells. -EPROTO: not understood, or over MIME_DEPTH_MAX or MIME_PARTS_MAX. -ENOMEM. */
int imap_bodystructure_parse(
	const struct imap_tree *tree, const struct imap_node *list, struct mime_part **ret);

/* --- date.c --- */

/* Reads an INTERNALDATE ("17-Jul-1996 02:44:25 -0700", RFC 3501 date-time) as seconds since the epoch. false: it is none. */
bool imap_date_parse(const char *text, size_t len, int64_t *ret_s);

#endif
