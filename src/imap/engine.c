/* SPDX-License-Identifier: MIT */
/*
 * Commands and answers on one connection. At most one command runs at a time, so everything between its
 * first byte and its tagged answer belongs to it. Only FETCHes of bulk.c form a pipeline: their answers are demanded in
 * the order of the commands, so that what comes belongs to the oldest; and small commands go together (errands.c).
 *
 * Invariants: after a failure of the connection, a wrong tag, or a line that no server may send, `dead` is
 * set and nothing more goes out. A malformed untagged response in intact framing is the handler's business
 * and ends nothing. No exchange is endless: its responses are counted, and its time is limited.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine.h"
#include "limits.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"

#define ALERTS_LOGGED 10
/* What a long response made of the buffers is given back when the next operation begins. */
#define KEEP_BYTES (1 << 20)

static void came(struct imap_engine *engine, size_t bytes)
{
	imap_pace_came(&engine->pace, clock_now_ms(), bytes);
	net_set_deadline(engine->stream, engine->pace.deadline_ms);
}

/* Also in the middle of a line: it may be one of megabytes, on a slow line. */
static void arrived(void *arg, size_t bytes)
{
	struct imap_engine *engine = arg;
	if (engine->streaming)
		came(engine, bytes);
}

void imap_engine_init(struct imap_engine *engine, struct net_stream *stream)
{
	*engine = (struct imap_engine){.stream = stream, .timeout_ms = IMAP_TIMEOUT_MS};
	net_on_arrival(stream, arrived, engine);
}

void imap_engine_secured(struct imap_engine *engine)
{
	engine->in_clear = false;
	engine->caps = (struct imap_capabilities){0};
	engine->answer = (struct imap_answer){0};
	str_reset(&engine->words);
	str_reset(&engine->name);
	engine->uidvalidity = engine->messages = 0;
}

void imap_engine_finish(struct imap_engine *engine)
{
	net_close(engine->stream);
	engine->stream = NULL;
	str_finish(&engine->line);
	str_finish(&engine->scratch);
	str_finish(&engine->words);
	str_finish(&engine->name);
	free(engine->watched);
	engine->watched = NULL;
	imap_namespaces_finish(&engine->spaces);
	imap_tree_finish(&engine->tree);
}

void imap_engine_begin(struct imap_engine *engine)
{
	imap_pace_begin(&engine->pace, clock_now_ms(), engine->timeout_ms);
	net_set_deadline(engine->stream, engine->pace.deadline_ms);
	engine->bytes = 0;
	if (engine->line.cap > KEEP_BYTES)
		str_finish(&engine->line);
	if (engine->scratch.cap > KEEP_BYTES)
		str_finish(&engine->scratch);
	if (engine->tree.cap > KEEP_BYTES / sizeof(*engine->tree.nodes))
		imap_tree_finish(&engine->tree);
}

void imap_engine_received(struct imap_engine *engine, size_t bytes)
{
	engine->bytes += bytes;
}

void imap_engine_progress(struct imap_engine *engine, size_t bytes)
{
	came(engine, bytes);
}

void imap_engine_row(struct imap_engine *engine)
{
	imap_pace_row(&engine->pace);
}

void imap_engine_useful(struct imap_engine *engine)
{
	engine->bytes = 0;
}

void imap_engine_pause(struct imap_engine *engine, int64_t ms)
{
	imap_pace_pause(&engine->pace, ms);
	net_set_deadline(engine->stream, engine->pace.deadline_ms);
}

int imap_engine_lost(struct imap_engine *engine, int err, struct source_error *error)
{
	engine->dead = true;
	engine->dead_err = err;
	net_fail(engine->stream, err, error);
	return error->err;
}

void imap_engine_refuse(struct imap_engine *engine, unsigned capabilities, const char *what)
{
	bool no = imap_engine_refused(engine);
	if (!(engine->refused & capabilities))
		log_info("%s is not used on this connection: the server announces it, but %s%s",
			what, no ? "refuses it: " : "does not keep to it",
			no ? engine->answer.text : "");
	quirk_seen(QUIRK_ABILITY_REFUSED);
	engine->refused |= capabilities;
	engine->caps.set &= ~capabilities;
}

bool imap_engine_refused(const struct imap_engine *engine)
{
	return !engine->dead &&
	       (engine->answer.status == IMAP_NO || engine->answer.status == IMAP_BAD);
}

bool imap_engine_not_understood(const struct imap_engine *engine)
{
	return !engine->dead && engine->answer.status == IMAP_BAD && engine->answer.unsupported;
}

int imap_engine_broken(struct imap_engine *engine, const char *why, struct source_error *error)
{
	engine->dead = true;
	return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_PROTOCOL,
		-EIO, "the server's answer can not be understood: %s", why);
}

int imap_engine_send(
	struct imap_engine *engine, const void *data, size_t len, struct source_error *error)
{
	if (engine->dead_err < 0)
		return imap_engine_lost(engine, engine->dead_err, error);
	if (engine->dead)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NOW,
			SOURCE_CAUSE_CONNECT, -EIO, "the connection is lost");
	int r = net_write(engine->stream, data, len);
	return r < 0 ? imap_engine_lost(engine, r, error) : 0;
}

static int engine_bye(struct imap_engine *engine, const struct imap_response *response,
	struct source_error *error)
{
	struct imap_answer answer;
	imap_answer_read(&answer, response);
	engine->dead = true;
	return imap_answer_fail(
		&answer, SOURCE_SCOPE_ACCOUNT, "the server ended the connection", error);
}

static void note_uidvalidity(struct imap_engine *engine, struct imap_slice args)
{
	uint64_t number;
	if (!imap_number_parse(args.data, args.len, UINT32_MAX, &number) || number == 0)
		return;
	if (engine->selected && engine->uidvalidity != 0 && engine->uidvalidity != number)
		engine->uidvalidity_changed = true;
	engine->uidvalidity = (uint32_t)number;
}

static void note_capabilities(struct imap_engine *engine, struct imap_slice words)
{
	imap_capabilities_parse(&engine->caps, words);
	imap_capabilities_print(words, &engine->words);
	engine->caps.set &= ~engine->refused;
}

static void log_alert(const struct imap_slice *text)
{
	char words[500];
	snprintf(words, sizeof(words), "%.*s", (int)text->len, text->data);
	log_warning("the server says: %s", net_tells_secret(words) ? NET_SECRET_TOLD : words);
}

static void note_code(struct imap_engine *engine, const struct imap_response *response)
{
	if (imap_slice_is(response->code, "CAPABILITY"))
		note_capabilities(engine, response->code_args);
	else if (imap_slice_is(response->code, "ALERT") && !engine->in_clear &&
		 engine->alerts++ < ALERTS_LOGGED)
		log_alert(&response->text);
	else if (imap_slice_is(response->code, "UIDVALIDITY"))
		note_uidvalidity(engine, response->code_args);
}

/* What concerns the connection as a whole, whoever asked. */
static void engine_note(struct imap_engine *engine, const struct imap_response *response)
{
	if (response->status != IMAP_NONE)
		note_code(engine, response);
	else if (imap_slice_is(response->name, "CAPABILITY"))
		note_capabilities(engine, response->args);
	else if (imap_slice_is(response->name, "ID"))
		imap_id_print(&engine->tree, response->args, &engine->name);
	else if (response->numbered && imap_slice_is(response->name, "EXISTS"))
		engine->messages = response->number < SOURCE_MESSAGES_MAX ? response->number
		                                                          : SOURCE_MESSAGES_MAX;
}

/* The tag of the command that is answered next. */
static bool is_running_tag(const struct imap_engine *engine, struct imap_slice tag)
{
	uint64_t number;
	int behind = engine->waiting > 0 ? (int)engine->waiting - 1 : 0;
	int last = engine->tag - behind;
	return tag.len > 1 && tag.data[0] == 'C' && tag.data[1] != '0' &&
	       imap_number_parse(tag.data + 1, tag.len - 1, INT32_MAX, &number) &&
	       (int)number <= last && (int)number >= last - engine->companions;
}

/* A stray blank line is no response; servers have been seen to send one behind a literal. */
static int read_line(struct imap_engine *engine, const struct imap_exchange *exchange,
	struct source_error *error)
{
	const struct net_limits *limits = exchange->limits ? exchange->limits : &net_limits_default;
	for (int blank = 0; blank < 16; blank++) {
		int r = net_read_response(engine->stream, limits, &engine->line);
		if (r < 0)
			return imap_engine_lost(engine, r, error);
		if (engine->line.len > 0)
			return 0;
	}
	return imap_engine_broken(engine, "blank lines", error);
}

int imap_engine_read(struct imap_engine *engine, const struct imap_exchange *exchange,
	struct imap_response *ret, struct source_error *error)
{
	engine->streaming = exchange->streaming;
	int r = read_line(engine, exchange, error);
	engine->streaming = false;
	if (r < 0)
		return r;
	engine->bytes += engine->line.len;
	if (engine->bytes > (exchange->bytes_max ? exchange->bytes_max : IMAP_LIMIT_BYTES))
		return imap_engine_broken(engine, "more than it can be", error);
	if (imap_response_parse(engine->line.data, engine->line.len, ret) < 0)
		return imap_engine_broken(engine, "not a response", error);
	if (ret->kind == IMAP_TAGGED && !is_running_tag(engine, ret->tag))
		return imap_engine_broken(engine, "an answer to nothing that was asked", error);
	if (ret->kind == IMAP_UNTAGGED && ret->status == IMAP_BYE && !engine->leaving)
		return engine_bye(engine, ret, error);
	engine_note(engine, ret);
	if (ret->kind != IMAP_TAGGED)
		return 0;
	imap_answer_read(&engine->answer, ret);
	engine->waiting -= engine->waiting > 0;
	return 0;
}

int imap_engine_stopped(int err, struct source_error *error)
{
	return source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_LATER, SOURCE_CAUSE_OTHER, err,
		"stopped: %s", strerror(-err));
}

uint64_t imap_engine_responses_max(
	const struct imap_engine *engine, const struct imap_exchange *exchange)
{
	uint64_t most = exchange->responses_max ? exchange->responses_max : IMAP_LIMIT_RESPONSES;
	return most + (exchange->per_message ? UINT64_C(4) * engine->messages : 0);
}

int imap_engine_tell(struct imap_engine *engine, const struct imap_exchange *exchange,
	const struct imap_response *response)
{
	engine->tree.no_memory = false;
	int r = exchange->untagged(engine, response, exchange->arg);
	return r == 0 && engine->tree.no_memory ? -ENOMEM : r;
}

int imap_engine_next(struct imap_engine *engine, const struct imap_exchange *exchange,
	struct imap_response *ret, struct source_error *error)
{
	int stopped = 0;
	for (uint64_t seen = 0;; seen++) {
		int r = imap_engine_read(engine, exchange, ret, error);
		if (r < 0)
			return r;
		if (ret->kind != IMAP_UNTAGGED)
			return stopped < 0 ? imap_engine_stopped(stopped, error) : 0;
		if (seen >= imap_engine_responses_max(engine, exchange))
			return imap_engine_broken(
				engine, "more responses than there can be", error);
		if (stopped == 0 && exchange->untagged)
			stopped = imap_engine_tell(engine, exchange, ret);
	}
}

/* Sends up to each synchronizing literal and waits to be told to go on. 1: all was sent; 0: it was answered before. */
static int send_pieces(struct imap_engine *engine, const struct imap_command *command,
	const struct imap_exchange *exchange, struct source_error *error)
{
	size_t sent = 0;
	struct imap_response response;
	for (unsigned i = 0; i < command->wait_count; i++) {
		int r = imap_engine_send(
			engine, command->text.data + sent, command->waits[i] - sent, error);
		if (r == 0)
			r = imap_engine_next(engine, exchange, &response, error);
		if (r < 0)
			return r;
		if (response.kind == IMAP_TAGGED)
			return 0;
		sent = command->waits[i];
	}
	int r = imap_engine_send(
		engine, command->text.data + sent, command->text.len - sent, error);
	return r < 0 ? r : 1;
}

static int run_pieces(struct imap_engine *engine, const struct imap_command *command,
	const struct imap_exchange *exchange, struct source_error *error)
{
	struct imap_response response;
	int r = send_pieces(engine, command, exchange, error);
	if (r <= 0)
		return r;
	r = imap_engine_next(engine, exchange, &response, error);
	if (r == 0 && response.kind == IMAP_CONTINUE)
		return imap_engine_broken(engine, "a continuation that was not asked for", error);
	return r;
}

static int command_bad(enum source_scope scope, struct source_error *error)
{
	return source_fail(error, scope, SOURCE_RETRY_NEVER, SOURCE_CAUSE_OTHER, -EINVAL,
		"a name with a line break can not be sent to the server");
}

int imap_engine_settle(struct imap_engine *engine, struct source_error *error)
{
	if (!engine->uidvalidity_changed)
		return 0;
	engine->uidvalidity_changed = false;
	engine->selected = false;
	return source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_NOW, SOURCE_CAUSE_MAILBOX,
		-EIO, "the mailbox changed its identity (UIDVALIDITY) while it was read");
}

int imap_engine_run(struct imap_engine *engine, struct imap_command *command,
	const struct imap_exchange *exchange, struct source_error *error)
{
	engine->answer = (struct imap_answer){0};
	str_append(&command->text, "\r\n", 2);
	if (str_error(&command->text) < 0)
		return source_fail(error, exchange->scope, SOURCE_RETRY_LATER, SOURCE_CAUSE_OTHER,
			-ENOMEM, "out of memory");
	if (command->bad)
		return command_bad(exchange->scope, error);
	int r = run_pieces(engine, command, exchange, error);
	if (r < 0)
		return r;
	if (engine->answer.status != IMAP_OK)
		return imap_answer_fail(&engine->answer, exchange->scope, exchange->what, error);
	return imap_engine_settle(engine, error);
}

int imap_engine_pipeline(
	struct imap_engine *engine, const struct imap_command *command, struct source_error *error)
{
	int r = imap_engine_send(engine, command->text.data, command->text.len, error);
	engine->waiting += r == 0;
	return r;
}
