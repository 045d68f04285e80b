/* SPDX-License-Identifier: MIT */
/*
 * Small commands that are sent together (RFC 3501 §5.5), so that all of them take one round trip. Invariant: it ends when each has had its
 * tagged answer, or with the connection; nothing of theirs is left for the command behind them.
 */
#include <errno.h>
#include <string.h>

#include "engine.h"

struct errands {
	struct imap_engine *engine;
	struct imap_errand *items;
	size_t count, answered;
	const struct imap_exchange *exchange;
	uint64_t seen; /* untagged responses so far */
	int stopped;   /* what a handler returned, negative; 0: nothing of the kind */
};

static int note_answer(
	struct errands *errands, const struct imap_response *response, struct source_error *error)
{
	struct imap_engine *engine = errands->engine;
	uint64_t number;
	/* The engine has seen that it is one of the running ones. */
	if (!imap_number_parse(response->tag.data + 1, response->tag.len - 1, INT32_MAX, &number))
		return imap_engine_broken(engine, "an answer without a number", error);
	size_t at = errands->count - 1 - (size_t)(engine->tag - (int)number);
	struct imap_errand *errand = &errands->items[at];
	if (errand->answer.status != IMAP_NONE)
		return imap_engine_broken(engine, "a second answer to one command", error);
	errand->answer = engine->answer;
	errands->answered++;
	return 0;
}

/* One response, taken care of. *ret_continue: it was a continuation. */
static int errands_read(struct errands *errands, bool *ret_continue, struct source_error *error)
{
	const struct imap_exchange *exchange = errands->exchange;
	struct imap_engine *engine = errands->engine;
	struct imap_response response;
	int r = imap_engine_read(engine, exchange, &response, error);
	if (r < 0)
		return r;
	*ret_continue = response.kind == IMAP_CONTINUE;
	if (response.kind == IMAP_TAGGED)
		return note_answer(errands, &response, error);
	if (response.kind != IMAP_UNTAGGED)
		return 0;
	if (errands->seen++ >= imap_engine_responses_max(engine, exchange))
		return imap_engine_broken(engine, "more responses than there can be", error);
	if (errands->stopped == 0)
		errands->stopped = imap_engine_tell(engine, exchange, &response);
	return 0;
}

/* Sends what has been gathered. Where that is not all of it, what was sent before may have been the beginning of a command. */
static int flush(struct errands *errands, struct str *out, struct source_error *error)
{
	if (str_error(out) < 0)
		return imap_engine_lost(errands->engine, -ENOMEM, error);
	int r = out->len > 0 ? imap_engine_send(errands->engine, out->data, out->len, error) : 0;
	str_reset(out);
	return r;
}

/* Up to each literal that the server wants to be asked for; one that is refused is not sent. */
static int gather(struct errands *errands, struct imap_errand *errand, struct str *out,
	struct source_error *error)
{
	const struct imap_command *command = &errand->command;
	size_t taken = 0;
	for (unsigned i = 0; i < command->wait_count; i++) {
		bool go_on = false;
		str_append(out, command->text.data + taken, command->waits[i] - taken);
		taken = command->waits[i];
		int r = flush(errands, out, error);
		while (r == 0 && !go_on && errand->answer.status == IMAP_NONE)
			r = errands_read(errands, &go_on, error);
		if (r < 0 || errand->answer.status != IMAP_NONE)
			return r;
	}
	str_append(out, command->text.data + taken, command->text.len - taken);
	return 0;
}

static int send_all(struct errands *errands, struct str *out, struct source_error *error)
{
	int r = 0;
	for (size_t i = 0; r == 0 && i < errands->count; i++)
		r = gather(errands, &errands->items[i], out, error);
	return r < 0 ? r : flush(errands, out, error);
}

static int read_all(struct errands *errands, struct source_error *error)
{
	while (errands->answered < errands->count) {
		bool go_on = false;
		int r = errands_read(errands, &go_on, error);
		if (r < 0)
			return r;
		if (go_on)
			return imap_engine_broken(
				errands->engine, "a continuation that was not asked for", error);
	}
	return errands->stopped < 0 ? imap_engine_stopped(errands->stopped, error) : 0;
}

static int check(struct errands *errands, struct source_error *error)
{
	for (size_t i = 0; i < errands->count; i++) {
		struct imap_command *command = &errands->items[i].command;
		str_append(&command->text, "\r\n", 2);
		if (command->bad || str_error(&command->text) < 0)
			return source_fail(error, errands->exchange->scope, SOURCE_RETRY_NEVER,
				SOURCE_CAUSE_OTHER, command->bad ? -EINVAL : -ENOMEM,
				"the commands can not be made");
	}
	return 0;
}

int imap_engine_run_all(struct imap_engine *engine, struct imap_errand *items, size_t count,
	const struct imap_exchange *exchange, struct source_error *error)
{
	struct errands errands = {
		.engine = engine, .items = items, .count = count, .exchange = exchange};
	_cleanup_str_ struct str out = STR_INIT;
	engine->answer = (struct imap_answer){0};
	int r = check(&errands, error);
	if (r < 0 || count == 0)
		return r;
	engine->companions = (int)count - 1;
	r = send_all(&errands, &out, error);
	if (r == 0)
		r = read_all(&errands, error);
	engine->companions = 0;
	return r;
}

void imap_errands_finish(struct imap_errand *errands, size_t count)
{
	for (size_t i = 0; i < count; i++)
		imap_command_finish(&errands[i].command);
}
