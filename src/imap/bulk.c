/* SPDX-License-Identifier: MIT */
/*
 * Many messages at a time: sets of UIDs, each a command (RFC 3501 §6.4.8), the next one sent before the last is answered.
 *
 * Invariants: a set is answered in its turn; a server that does otherwise is left. Messages may come before the answer to an
 * earlier set, so a set that has all its messages lets the next one be sent.
 * Nothing of what is held grows with a message or with the number of messages. When a mailbox turns out to be another one (UIDVALIDITY) nothing
 * more is told or asked for, and what is under way is drained, so that the connection stays in step.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "bulk.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

/* A limit beyond any message, small enough to be added to. */
#define LIMIT_MAX (UINT64_MAX / 4)

struct bulk_set *bulk_set_at(struct bulk *bulk, unsigned n)
{
	return n < bulk->count ? &bulk->sets[(bulk->first + n) % BULK_SETS] : NULL;
}

/* --- Asking --- */

static bool is_valid(const struct source_bulk_set *wanted)
{
	if (wanted->count == 0 || wanted->count > SOURCE_BULK_UIDS || wanted->uids[0] == 0 ||
		(wanted->length > 0 ? wanted->count > 1 : wanted->offset > 0) ||
		wanted->length > UINT32_MAX)
		return false;
	for (size_t i = 1; i < wanted->count; i++)
		if (wanted->uids[i] <= wanted->uids[i - 1])
			return false;
	return true;
}

/* The last in the row; the caller of next() may change his arrays before it is answered. */
static struct bulk_set *set_add(struct bulk *bulk, const struct source_bulk_set *wanted)
{
	struct bulk_set *set = &bulk->sets[(bulk->first + bulk->count++) % BULK_SETS];
	uint64_t limit = wanted->limit_bytes;
	*set = (struct bulk_set){.offset = wanted->offset,
		.length = wanted->length,
		.limit_bytes = limit == 0 || limit > LIMIT_MAX ? LIMIT_MAX : limit};
	if (!is_valid(wanted)) {
		set->err = -EINVAL;
		return set;
	}
	set->count = set->missing = wanted->count;
	memcpy(set->uids, wanted->uids, wanted->count * sizeof(set->uids[0]));
	return set;
}

static void command_write(
	struct imap_command *command, const struct bulk_set *set, size_t from, size_t *ret_taken)
{
	*ret_taken = imap_uid_set_append(&command->text, set->uids + from, set->count - from);
	str_append_cstr(&command->text, " (UID BODY.PEEK[]");
	if (set->length > 0)
		str_printf(&command->text, "<%llu.%llu>", (unsigned long long)set->offset,
			(unsigned long long)set->length);
	str_append_cstr(&command->text, ")\r\n");
}

/* A set that does not fit into one command line becomes several commands. */
static int set_send(struct bulk *bulk, struct bulk_set *set, struct source_error *error)
{
	struct imap_engine *engine = bulk->engine;
	size_t taken;
	for (size_t sent = 0; sent < set->count; sent += taken) {
		_cleanup_command_ struct imap_command command;
		imap_command_init(&command, engine, "UID FETCH ");
		command_write(&command, set, sent, &taken);
		if (str_error(&command.text) < 0) {
			engine->tag--; /* it was not sent, and none may be missing in the row */
			set->err = bulk->stop = -ENOMEM;
			return 0;
		}
		int r = imap_engine_pipeline(engine, &command, error);
		if (r < 0)
			return r;
		set->commands++;
		set->bytes += command.text.len;
	}
	log_debug("imap: UID FETCH of %zu messages from %u, %llu+%llu", set->count,
		set->count > 0 ? set->uids[0] : 0, (unsigned long long)set->offset,
		(unsigned long long)set->length);
	return 0;
}

/* Answers the sets of which nothing is under way any more. */
static void sets_settle(struct bulk *bulk)
{
	for (struct bulk_set *set; (set = bulk_set_at(bulk, 0)) && set->commands == 0;) {
		int err = set->err;
		bulk->first = (bulk->first + 1) % BULK_SETS;
		bulk->count--;
		bulk->calls->answered(bulk->calls->arg, err);
	}
}

static void note_stop(struct bulk *bulk)
{
	if (bulk->stop == 0 && bulk->engine->uidvalidity_changed)
		bulk->stop = -EIO;
}

static bool may_ask(struct bulk *bulk)
{
	unsigned lacking = 0;
	size_t unread = 0;
	note_stop(bulk);
	for (unsigned i = 0; i < bulk->count; i++) {
		const struct bulk_set *set = bulk_set_at(bulk, i);
		lacking += set->missing > 0;
		unread += set->missing > 0 ? set->bytes : 0;
	}
	if (bulk->stop < 0 || bulk->count == BULK_SETS || lacking >= BULK_LACKING_MAX)
		return false;
	return lacking < BULK_LACKING_MIN || unread < BULK_UNREAD_BYTES;
}

/* What our own side takes its time for is not the server's. */
static bool ask(struct bulk *bulk, struct source_bulk_set *ret)
{
	int64_t begun_ms = clock_now_ms();
	*ret = (struct source_bulk_set){0};
	bool more = bulk->calls->next(bulk->calls->arg, ret);
	imap_engine_pause(bulk->engine, clock_now_ms() - begun_ms);
	return more;
}

static int sets_fill(struct bulk *bulk, struct source_error *error)
{
	struct source_bulk_set wanted;
	while (may_ask(bulk) && ask(bulk, &wanted)) {
		int r = set_send(bulk, set_add(bulk, &wanted), error);
		if (r < 0)
			return r;
		sets_settle(bulk);
	}
	return 0;
}

/* --- Being answered --- */

static void command_answered(struct bulk *bulk)
{
	struct bulk_set *set = bulk_set_at(bulk, 0);
	const struct imap_answer *answer = &bulk->engine->answer;
	set->commands--;
	if (answer->status != IMAP_OK && set->err == 0) {
		set->err = answer->err;
		log_info("messages can not be fetched: the server says: %s", answer->text);
	}
	note_stop(bulk);
	if (set->err == 0)
		set->err = bulk->stop; /* some of it may not have been told */
	sets_settle(bulk);
}

/* No line but that of a VANISHED needs to be long, and of that nothing is kept. */
static int spill(void *arg, struct str *line)
{
	struct bulk *bulk = arg;
	int r = bulk->spill(&bulk->dropped, line);
	return r == 0 && line->len > IMAP_LIMIT_BODY_LINE_BYTES ? -EMSGSIZE : r;
}

/* The limits are those of the largest message that may come. */
static void set_limits(struct bulk *bulk, struct net_limits *ret)
{
	uint64_t most = 0;
	for (unsigned i = 0; i < bulk->count; i++) {
		const struct bulk_set *set = bulk_set_at(bulk, i);
		most = set->limit_bytes > most ? set->limit_bytes : most;
	}
	imap_set_init(&bulk->dropped, IMAP_SET_VANISHED, 1, UINT32_MAX, NULL, NULL);
	imap_set_limits(&bulk->dropped, bulk->engine, ret);
	bulk->spill = ret->spill;
	ret->spill = spill;
	ret->literal_bytes = most + IMAP_LIMIT_BULK_SLACK;
	ret->response_bytes = most + ret->line_bytes + IMAP_LIMIT_BULK_SLACK;
	ret->literals = IMAP_LIMIT_BODY_LITERALS;
	ret->pass = bulk_pass;
	ret->passed = bulk_passed;
	ret->spill_arg = ret->pass_arg = bulk;
}

static uint64_t responses_max(const struct bulk *bulk)
{
	return UINT64_C(4) * (SOURCE_BULK_UIDS + bulk->engine->messages) + IMAP_LIMIT_ROWS_EXTRA;
}

/* Reads one response, and hands on what it holds of a message while it comes. */
static int read_one(struct bulk *bulk, struct imap_response *ret, struct source_error *error)
{
	struct net_limits limits;
	/* What was not asked for moves no deadline on: bulk_message.c says what was. */
	const struct imap_exchange exchange = {.limits = &limits};
	set_limits(bulk, &limits);
	bulk->message = (struct bulk_message){0};
	int r = imap_engine_read(bulk->engine, &exchange, ret, error);
	if (r < 0)
		return r;
	if (ret->kind == IMAP_CONTINUE)
		return imap_engine_broken(
			bulk->engine, "a continuation that was not asked for", error);
	if (ret->kind == IMAP_TAGGED) {
		command_answered(bulk);
		imap_engine_begin(bulk->engine); /* of the next one */
	} else {
		bulk_message_read(bulk, ret);
	}
	return 0;
}

static int bulk_run(struct bulk *bulk, struct source_error *error)
{
	struct imap_response response;
	uint64_t seen = 0;
	int r = sets_fill(bulk, error);
	while (r == 0 && bulk->count > 0) {
		r = read_one(bulk, &response, error);
		if (r < 0)
			return r;
		seen = response.kind == IMAP_TAGGED ? 0 : seen + 1;
		if (seen > responses_max(bulk))
			return imap_engine_broken(
				bulk->engine, "more responses than there can be", error);
		if (response.kind == IMAP_TAGGED || bulk->message.finished)
			r = sets_fill(bulk, error);
	}
	return r;
}

static int no_memory(struct source_error *error)
{
	return source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_LATER, SOURCE_CAUSE_OTHER,
		-ENOMEM, "out of memory");
}

int imap_bulk(
	struct imap_engine *engine, const struct source_bulk *calls, struct source_error *error)
{
	int r = imap_fetch_begin(engine, error);
	if (r < 0)
		return r;
	_cleanup_free_ struct bulk *bulk = calloc(1, sizeof(*bulk));
	if (!bulk)
		return no_memory(error);
	bulk->engine = engine;
	bulk->calls = calls;
	r = bulk_run(bulk, error);
	if (r < 0)
		bulk_message_abandon(bulk, error);
	if (r == 0)
		r = imap_engine_settle(engine, error);
	return r == 0 && bulk->stop == -ENOMEM ? no_memory(error) : r;
}
