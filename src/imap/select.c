/* SPDX-License-Identifier: MIT */
/*
 * SELECT and EXAMINE (RFC 3501 §6.3.1, CONDSTORE: RFC 7162). The command is always sent: whether a mailbox is
 * selected already is the caller's knowledge, and sending it again is how to learn what is new.
 */
#include <errno.h>

#include "mailfs/util/log.h"
#include "private.h"

static void read_code(struct source_state *state, const struct imap_response *response)
{
	uint64_t number;
	struct imap_slice args = response->code_args;
	if (imap_slice_is(response->code, "UIDNEXT") &&
		imap_number_parse(args.data, args.len, UINT32_MAX, &number))
		state->uidnext = (uint32_t)number;
	else if (imap_slice_is(response->code, "UIDVALIDITY") &&
		 imap_number_parse(args.data, args.len, UINT32_MAX, &number))
		state->uidvalidity = (uint32_t)number;
	else if (imap_slice_is(response->code, "HIGHESTMODSEQ") &&
		 imap_number_parse(args.data, args.len, UINT64_MAX, &number))
		state->modseq = number;
	else if (imap_slice_is(response->code, "NOMODSEQ"))
		state->modseq = 0;
}

static int select_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg)
{
	struct source_state *state = arg;
	(void)engine;
	if (response->numbered && imap_slice_is(response->name, "EXISTS"))
		state->messages = response->number;
	else if (response->code.len > 0)
		read_code(state, response);
	return 0;
}

static int select_fail(struct imap_engine *engine, const char *what, struct source_error *error)
{
	const struct imap_answer *answer = &engine->answer;
	/* Not -ENOENT, even of a folder that is gone: to a backup what is listed and then absent was deleted. */
	int err = answer->err == -EACCES ? -EACCES : -EIO;
	return source_fail(error, SOURCE_SCOPE_MAILBOX, answer->retry, SOURCE_CAUSE_MAILBOX, err,
		"%s: the server says: %s", what, answer->text[0] ? answer->text : "(nothing)");
}

int imap_select(struct imap_engine *engine, const char *mailbox, bool readonly,
	struct source_state *ret, struct source_error *error)
{
	struct source_state state = {0};
	struct imap_exchange exchange = {.what = "the folder can not be opened",
		.scope = SOURCE_SCOPE_MAILBOX,
		.untagged = select_untagged,
		.arg = &state};
	_cleanup_command_ struct imap_command command;
	imap_engine_begin(engine);
	imap_command_init(&command, engine, "%s ", readonly ? "EXAMINE" : "SELECT");
	imap_command_string(&command, engine, mailbox);
	if (engine->caps.set & IMAP_CAP_CONDSTORE)
		str_append_cstr(&command.text, " (CONDSTORE)");
	log_debug("imap: %s %s", readonly ? "EXAMINE" : "SELECT", mailbox);
	engine->selected = false;
	engine->uidvalidity = 0;
	engine->uidvalidity_changed = false;
	engine->messages = 0;
	int r = imap_engine_run(engine, &command, &exchange, error);
	if (r < 0)
		return engine->dead || engine->answer.status == IMAP_NONE
		               ? r
		               : select_fail(engine, exchange.what, error);
	if (state.uidvalidity == 0)
		return source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_MAILBOX, -EIO,
			"the folder can not be opened: the server gives it no identity (UIDVALIDITY)");
	engine->selected = true;
	engine->uidvalidity = state.uidvalidity;
	*ret = state;
	return 0;
}
