/* SPDX-License-Identifier: MIT */
/* STATUS (RFC 3501 §6.3.10): a mailbox looked at without being selected. */
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"
#include "private.h"

struct looking {
	const char *mailbox;
	struct source_state state;
	struct source_state other; /* of a mailbox with another name */
	unsigned named, others;    /* how often each came */
};

static bool is_mailbox(struct imap_engine *engine, const struct imap_node *node, const char *name)
{
	str_reset(&engine->scratch);
	imap_node_append(node, &engine->scratch);
	const char *text = str_cstr(&engine->scratch);
	if (engine->scratch.len != strlen(name))
		return false;
	return strcmp(text, name) == 0 ||
	       (strcasecmp(name, "INBOX") == 0 && strcasecmp(text, "INBOX") == 0);
}

static void read_value(const struct imap_tree *tree, const struct imap_node *name,
	const struct imap_node *value, struct source_state *state)
{
	uint64_t number;
	const struct imap_node *id = imap_node_child(tree, value);
	if (imap_node_is(name, "MAILBOXID") && id && id->type != IMAP_NODE_LIST)
		state->mailbox_id = imap_mailbox_id((struct imap_slice){id->data, id->len});
	else if (imap_node_is(name, "HIGHESTMODSEQ") &&
		 imap_node_number(value, SOURCE_MODSEQ_MAX, &number))
		state->modseq = number;
	else if (!imap_node_number(value, UINT32_MAX, &number))
		return;
	else if (imap_node_is(name, "MESSAGES"))
		state->messages = (uint32_t)number;
	else if (imap_node_is(name, "UIDNEXT"))
		state->uidnext = (uint32_t)number;
	else if (imap_node_is(name, "UIDVALIDITY"))
		state->uidvalidity = (uint32_t)number;
}

/* STATUS NAME (ITEM VALUE …). What comes in two responses adds up. */
static int status_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg)
{
	struct looking *looking = arg;
	const struct imap_tree *tree = &engine->tree;
	if (response->numbered || !imap_slice_is(response->name, "STATUS") ||
		imap_tree_parse(&engine->tree, response->args.data, response->args.len) < 0)
		return 0;
	const struct imap_node *mailbox = imap_tree_top(tree);
	if (!mailbox || mailbox->type == IMAP_NODE_LIST)
		return 0;
	bool named = is_mailbox(engine, mailbox, looking->mailbox);
	looking->named += named;
	looking->others += !named;
	const struct imap_node *item = imap_node_child(tree, imap_node_next(tree, mailbox));
	while (item) {
		const struct imap_node *value = imap_node_next(tree, item);
		if (value)
			read_value(tree, item, value, named ? &looking->state : &looking->other);
		item = imap_node_next(tree, value);
	}
	return 0;
}

static int status_run(struct imap_engine *engine, struct looking *looking, unsigned wanted,
	struct source_error *error)
{
	struct imap_exchange exchange = {.what = "the folder can not be looked at",
		.scope = SOURCE_SCOPE_MAILBOX,
		.untagged = status_untagged,
		.arg = looking};
	_cleanup_command_ struct imap_command command;
	imap_command_init(&command, engine, "STATUS ");
	imap_command_string(&command, engine, looking->mailbox);
	str_printf(&command.text, " (MESSAGES UIDNEXT UIDVALIDITY%s%s)",
		wanted & IMAP_CAP_CONDSTORE ? " HIGHESTMODSEQ" : "",
		wanted & IMAP_CAP_OBJECTID ? " MAILBOXID" : "");
	log_debug("imap: STATUS %s", looking->mailbox);
	return imap_engine_run(engine, &command, &exchange, error);
}

/* What the server has announced and does not understand here is left out, the newest extension first. */
static int status_any(
	struct imap_engine *engine, struct looking *looking, struct source_error *error)
{
	unsigned wanted = engine->caps.set & (IMAP_CAP_CONDSTORE | IMAP_CAP_OBJECTID), left_out = 0;
	for (;;) {
		int r = status_run(engine, looking, wanted, error);
		if (r == 0 && left_out)
			imap_engine_refuse(engine, left_out,
				left_out & IMAP_CAP_CONDSTORE ? "CONDSTORE" : "OBJECTID");
		if (r == 0 || !wanted || !imap_engine_not_understood(engine))
			return r;
		left_out |= wanted & IMAP_CAP_OBJECTID ? IMAP_CAP_OBJECTID
		                                       : IMAP_CAP_CONDSTORE | IMAP_CAP_QRESYNC;
		wanted &= ~left_out;
	}
}

/* Not every server has a code for it (RFC 5530): Dovecot has none here. Only what can mean nothing else. */
static bool says_missing(const struct imap_answer *answer)
{
	static const char *const words[] = {
		"doesn't exist", "does not exist", "no such mailbox", "unknown mailbox"};
	if (answer->status != IMAP_NO || answer->known)
		return false;
	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcasestr(answer->text, words[i])) {
			quirk_seen(QUIRK_MISSING_WITHOUT_CODE);
			return true;
		}
	return false;
}

int imap_status(struct imap_engine *engine, const char *mailbox, struct source_state *ret,
	struct source_error *error)
{
	struct looking looking = {.mailbox = mailbox};
	imap_engine_begin(engine);
	int r = status_any(engine, &looking, error);
	if (r < 0 && says_missing(&engine->answer))
		r = error->err = -ENOENT;
	if (r < 0)
		return r;
	/* A server may write the name in its own way; one that tells of others unasked may not. */
	if (looking.named == 0 && looking.others == 1 && !engine->notifying) {
		quirk_seen(QUIRK_STATUS_NAME);
		looking.state = looking.other;
	}
	if (looking.state.uidvalidity == 0)
		return source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_PROTOCOL, -EIO,
			"the folder can not be looked at: the server tells nothing of it");
	*ret = looking.state;
	return 0;
}
