/* SPDX-License-Identifier: MIT */
/*
 * SELECT and EXAMINE (RFC 3501 §6.3.1), with what CONDSTORE and QRESYNC add to them (RFC 7162). The command is always sent:
 * whether a mailbox is selected already is the caller's knowledge, and sending it again is how to learn what is new.
 *
 * What comes before [CLOSED] is about the mailbox that was open before and counts for nothing (RFC 7162 §3.2.11). Where something
 * of what QRESYNC brings can not be understood, or does not fit, `resynced` is false: the caller then finds the changes
 * by itself, and nothing is deleted on a malformed list's word.
 */
#include <errno.h>

#include "mailfs/util/hash.h"
#include "mailfs/util/log.h"
#include "private.h"

/* What is behind the mailbox's name. */
enum parameter { PARAMETER_NONE, PARAMETER_CONDSTORE, PARAMETER_QRESYNC };

struct selecting {
	struct source_state state;
	const struct source_resync *resync; /* NULL: none was asked for */
	bool current; /* what comes is about the new mailbox, not about the one before */
	bool counted; /* EXISTS was among it */
	bool doubtful;
	struct imap_row_reader reader;
	struct imap_set vanished;
};

/* --- ENABLE --- */

int imap_enable_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg)
{
	struct imap_slice words = response->args, word;
	(void)arg;
	if (response->numbered || !imap_slice_is(response->name, "ENABLED"))
		return 0;
	while ((word = imap_slice_word(&words)).len > 0)
		engine->qresync |= imap_slice_is(word, "QRESYNC");
	return 0;
}

bool imap_enable_command(struct imap_engine *engine, struct imap_command *command)
{
	const char *what = engine->caps.set & IMAP_CAP_QRESYNC ? "QRESYNC" : "CONDSTORE";
	if (!(engine->caps.set & IMAP_CAP_ENABLE) || !(engine->caps.set & IMAP_CAP_CONDSTORE))
		return false;
	imap_command_init(command, engine, "ENABLE %s", what);
	log_debug("imap: ENABLE %s", what);
	return true;
}

void imap_enable_answered(struct imap_engine *engine, const struct imap_answer *answer)
{
	/* CONDSTORE needs no ENABLE: SELECT asks for it too. */
	engine->answer = *answer;
	if (engine->caps.set & IMAP_CAP_QRESYNC && !engine->qresync)
		imap_engine_refuse(engine, IMAP_CAP_QRESYNC, "QRESYNC");
}

/* --- Response codes --- */

uint64_t imap_mailbox_id(struct imap_slice id)
{
	id = imap_slice_trim(id);
	if (id.len >= 2 && id.data[0] == '(' && id.data[id.len - 1] == ')')
		id = imap_slice_trim((struct imap_slice){id.data + 1, id.len - 2});
	return id.len > 0 ? hash64(HASH64_INIT, id.data, id.len) : 0;
}

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
		 imap_number_parse(args.data, args.len, SOURCE_MODSEQ_MAX, &number))
		state->modseq = number;
	else if (imap_slice_is(response->code, "NOMODSEQ"))
		state->modseq = 0;
	else if (imap_slice_is(response->code, "MAILBOXID"))
		state->mailbox_id = imap_mailbox_id(args);
}

/* --- What QRESYNC brings --- */

static int read_row(struct selecting *selecting, struct imap_engine *engine,
	const struct imap_response *response)
{
	struct imap_fetch fetch;
	struct source_row row;
	if (!imap_row_read(engine, response, &selecting->reader, &fetch, &row))
		return 0;
	if (row.uid == 0 || fetch.damaged || !(row.have & SOURCE_ROW_FLAGS)) {
		selecting->doubtful = true;
		return 0;
	}
	imap_engine_row(engine);
	int r = imap_row_error(&selecting->reader);
	row = (struct source_row){.uid = row.uid, .have = SOURCE_ROW_FLAGS, .flags = row.flags};
	return r < 0 ? r : selecting->resync->row(selecting->resync->arg, &row);
}

static int read_change(struct selecting *selecting, struct imap_engine *engine,
	const struct imap_response *response)
{
	if (imap_set_read(&selecting->vanished, engine, response))
		return selecting->vanished.err;
	return read_row(selecting, engine, response);
}

/* The mailbox before is closed. Only from now on vanished UIDs are told. */
static void begin_current(struct selecting *selecting)
{
	selecting->state = (struct source_state){0};
	selecting->current = true;
	selecting->counted = false;
	selecting->vanished.malformed = false;
	if (!selecting->resync)
		return;
	selecting->vanished.fn = selecting->resync->vanished;
	selecting->vanished.arg = selecting->resync->arg;
}

static int select_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg)
{
	struct selecting *selecting = arg;
	if (imap_slice_is(response->code, "CLOSED")) {
		begin_current(selecting);
	} else if (response->numbered && imap_slice_is(response->name, "EXISTS")) {
		selecting->state.messages = response->number;
		selecting->counted = true;
	} else if (response->code.len > 0) {
		read_code(&selecting->state, response);
	} else if (selecting->resync && selecting->current) {
		return read_change(selecting, engine, response);
	}
	return 0;
}

/* A modseq that went back is another mailbox's history, a restored backup's for one. */
static bool is_resynced(const struct selecting *selecting)
{
	const struct source_state *state = &selecting->state;
	const struct source_resync *resync = selecting->resync;
	return resync && selecting->current && !selecting->doubtful &&
	       !selecting->vanished.malformed && state->uidvalidity == resync->uidvalidity &&
	       state->modseq >= resync->modseq;
}

/* --- The command --- */

static int select_run(struct imap_engine *engine, const char *mailbox, bool readonly,
	enum parameter parameter, struct selecting *selecting, struct source_error *error)
{
	const char *name = readonly ? "EXAMINE" : "SELECT";
	struct net_limits limits;
	struct imap_exchange exchange = {.what = "the folder can not be opened",
		.scope = SOURCE_SCOPE_MAILBOX,
		.untagged = select_untagged,
		.arg = selecting,
		.limits = &limits,
		.responses_max = 100000,
		.per_message = true,
		.streaming = true};
	_cleanup_command_ struct imap_command command;
	imap_set_limits(&selecting->vanished, engine, &limits);
	imap_command_init(&command, engine, "%s ", name);
	imap_command_string(&command, engine, mailbox);
	if (parameter == PARAMETER_QRESYNC)
		str_printf(&command.text, " (QRESYNC (%u %llu))", selecting->resync->uidvalidity,
			(unsigned long long)selecting->resync->modseq);
	else if (parameter == PARAMETER_CONDSTORE)
		str_append_cstr(&command.text, " (CONDSTORE)");
	log_debug(
		"imap: %s %s%s", name, mailbox, parameter == PARAMETER_QRESYNC ? " (QRESYNC)" : "");
	engine->messages = 0;
	return imap_engine_run(engine, &command, &exchange, error);
}

/* What can not be worked with. An EXISTS that is missing must not make an empty folder. */
static int check_state(const struct selecting *selecting, struct source_error *error)
{
	const char *why = NULL;
	if (selecting->state.uidvalidity == 0)
		why = "the server gives it no identity (UIDVALIDITY)";
	else if (!selecting->counted)
		why = "the server does not say how many messages are in it (EXISTS)";
	if (!why)
		return 0;
	return source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_LATER, SOURCE_CAUSE_MAILBOX,
		-EIO, "the folder can not be opened: %s", why);
}

static int select_once(struct imap_engine *engine, const char *mailbox, bool readonly,
	enum parameter parameter, const struct source_resync *resync, struct source_state *ret,
	struct source_error *error)
{
	struct selecting selecting = {.resync = parameter == PARAMETER_QRESYNC ? resync : NULL};
	imap_set_init(&selecting.vanished, IMAP_SET_VANISHED, 1, UINT32_MAX, NULL, NULL);
	if (!engine->opened)
		begin_current(&selecting);
	int r = select_run(engine, mailbox, readonly, parameter, &selecting, error);
	if (engine->answer.status == IMAP_OK)
		engine->opened = true;
	else if (engine->answer.status == IMAP_NO)
		engine->opened = false;
	selecting.state.resynced = is_resynced(&selecting);
	if (r == 0 && selecting.doubtful + selecting.vanished.malformed > 0)
		imap_engine_refuse(engine, IMAP_CAP_QRESYNC, "QRESYNC");
	imap_row_finish(&selecting.reader);
	*ret = selecting.state;
	return r == 0 ? check_state(&selecting, error) : r;
}

static enum parameter parameter_best(
	const struct imap_engine *engine, const struct source_resync *resync)
{
	if (resync && engine->qresync && engine->caps.set & IMAP_CAP_QRESYNC &&
		resync->uidvalidity > 0 && resync->modseq > 0 &&
		resync->modseq <= SOURCE_MODSEQ_MAX)
		return PARAMETER_QRESYNC;
	return engine->caps.set & IMAP_CAP_CONDSTORE ? PARAMETER_CONDSTORE : PARAMETER_NONE;
}

/* A server that does not understand a parameter that it has announced is asked with less. */
static int select_any(struct imap_engine *engine, const char *mailbox, bool readonly,
	const struct source_resync *resync, struct source_state *ret, struct source_error *error)
{
	const enum parameter best = parameter_best(engine, resync);
	enum parameter parameter = best;
	for (;;) {
		int r = select_once(engine, mailbox, readonly, parameter, resync, ret, error);
		if (r == 0 && parameter < best)
			imap_engine_refuse(engine,
				parameter == PARAMETER_NONE ? IMAP_CAP_QRESYNC | IMAP_CAP_CONDSTORE
							    : IMAP_CAP_QRESYNC,
				parameter == PARAMETER_NONE ? "CONDSTORE" : "QRESYNC");
		if (r == 0 || !imap_engine_not_understood(engine) || parameter == PARAMETER_NONE)
			return r;
		parameter--;
	}
}

static int select_fail(struct imap_engine *engine, struct source_error *error)
{
	const struct imap_answer *answer = &engine->answer;
	/* Not -ENOENT, even of a folder that is gone: to a backup what is listed and then absent was deleted. */
	int err = answer->err == -EACCES ? -EACCES : -EIO;
	return source_fail(error, SOURCE_SCOPE_MAILBOX, answer->retry, SOURCE_CAUSE_MAILBOX, err,
		"the folder can not be opened: the server says: %s",
		answer->text[0] ? answer->text : "(nothing)");
}

int imap_select(struct imap_engine *engine, const char *mailbox, bool readonly,
	const struct source_resync *resync, struct source_state *ret, struct source_error *error)
{
	struct source_state state;
	imap_engine_begin(engine);
	engine->selected = false;
	engine->uidvalidity = 0;
	engine->uidvalidity_changed = false;
	int r = select_any(engine, mailbox, readonly, resync, &state, error);
	if (r < 0)
		return imap_engine_refused(engine) ? select_fail(engine, error) : r;
	engine->selected = true;
	engine->uidvalidity = state.uidvalidity;
	*ret = state;
	return 0;
}
