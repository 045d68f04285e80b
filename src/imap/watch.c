/* SPDX-License-Identifier: MIT */
/*
 * Waiting for the server's news, by IDLE (RFC 2177) on one mailbox; notify.c does all of them.
 *
 * What arrives together is told together: news is noted while there are whole lines in the buffer, and told before the
 * next wait, so that the responses of a thousand expunged messages are a few events. A watch lasts for hours, so its limits are of
 * bursts: each response has a time-out of its own, and so many may come in a minute.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"
#include "private.h"

#define NAMES_MAX      64    /* noted before they are told */
#define NAME_MAX_BYTES 10000 /* a longer one is no name */
#define IDLE_MIN_MS    1000  /* an IDLE that the server ends sooner is no IDLE */

/* --- What is noted, and told --- */

static void tell(const struct imap_watch *watch, enum source_event_kind kind, const char *mailbox)
{
	const struct source_event event = {
		.kind = kind, .mailbox = mailbox, .continued = watch->continued};
	watch->fn(watch->arg, &event);
}

void imap_watch_ready(struct imap_watch *watch)
{
	if (!watch->armed) /* what came before is no news */
		imap_watch_tell(watch);
	watch->armed = true;
	tell(watch, SOURCE_EVENT_READY, NULL);
	watch->continued = false;
}

static bool is_noted(const struct imap_watch *watch, const char *mailbox, size_t len)
{
	const char *names = str_cstr(&watch->names);
	for (size_t at = 0; at < watch->names.len; at += strlen(names + at) + 1)
		if (strlen(names + at) == len && memcmp(names + at, mailbox, len) == 0)
			return true;
	return false;
}

void imap_watch_note(struct imap_watch *watch, const char *mailbox, size_t len)
{
	if (len == 0 || len > NAME_MAX_BYTES || memchr(mailbox, 0, len)) {
		watch->lost = true;
		return;
	}
	if (is_noted(watch, mailbox, len))
		return;
	if (watch->name_count == NAMES_MAX)
		imap_watch_tell(watch);
	str_append(&watch->names, mailbox, len);
	str_putc(&watch->names, 0);
	watch->name_count++;
	watch->lost |= str_error(&watch->names) < 0;
}

/* Lost first: it is all the rest as well. New mailboxes before the news from them. */
void imap_watch_tell(struct imap_watch *watch)
{
	const char *names = str_cstr(&watch->names);
	if (watch->armed && watch->lost)
		tell(watch, SOURCE_EVENT_LOST, NULL);
	if (watch->armed && watch->list)
		tell(watch, SOURCE_EVENT_LIST, NULL);
	for (size_t at = 0; watch->armed && at < watch->names.len; at += strlen(names + at) + 1)
		tell(watch, SOURCE_EVENT_MAILBOX, names + at);
	watch->lost = watch->list = false;
	watch->name_count = 0;
	str_reset(&watch->names);
}

/* --- The wait --- */

/* One response. 1: it is a tagged one, or there will be no more. */
static int read_news(struct imap_watch *watch, struct source_error *error)
{
	struct net_limits limits;
	struct imap_set dropped; /* the UIDs of a VANISHED, which may be many, tell nothing here */
	struct imap_response response;
	const struct imap_exchange exchange = {.limits = &limits};
	imap_set_init(&dropped, IMAP_SET_VANISHED, 1, UINT32_MAX, NULL, NULL);
	imap_set_limits(&dropped, watch->engine, &limits);
	imap_engine_begin(watch->engine);
	int r = imap_engine_read(watch->engine, &exchange, &response, error);
	if (r < 0)
		return r;
	if (response.kind == IMAP_UNTAGGED)
		watch->untagged(watch->engine, &response, watch);
	return response.kind == IMAP_TAGGED || watch->ended;
}

static uint64_t burst_max(const struct imap_engine *engine)
{
	return IMAP_LIMIT_BURST_RESPONSES + UINT64_C(4) * engine->messages;
}

static int wait_loop(struct imap_watch *watch, struct source_error *error)
{
	struct imap_engine *engine = watch->engine;
	int64_t burst_ms = clock_now_ms();
	for (uint64_t responses = 0;; responses++) {
		if (!net_line_buffered(engine->stream))
			imap_watch_tell(watch);
		int r = net_wait(engine->stream, watch->until_ms);
		if (r <= 0)
			return r < 0 ? imap_engine_lost(engine, r, error) : 0;
		int64_t now = clock_now_ms();
		if (now - burst_ms > IMAP_LIMIT_BURST_MS) {
			burst_ms = now;
			responses = 0;
		}
		if (responses >= burst_max(engine))
			return imap_engine_broken(
				engine, "more responses than there can be", error);
		r = read_news(watch, error);
		if (r != 0)
			return r;
	}
}

int imap_watch_wait(struct imap_watch *watch, struct source_error *error)
{
	int r = wait_loop(watch, error);
	imap_watch_tell(watch);
	return r;
}

/* --- IDLE --- */

/* Some servers say how many there are every two minutes, as a sign of life. */
static bool is_news(struct imap_watch *watch, const struct imap_response *response)
{
	if (imap_slice_is(response->name, "VANISHED") ||
		(response->numbered && imap_slice_is(response->name, "EXPUNGE"))) {
		watch->counted = false;
		return true;
	}
	if (response->numbered && imap_slice_is(response->name, "EXISTS")) {
		bool same = watch->counted && watch->exists == response->number;
		watch->counted = true;
		watch->exists = response->number;
		if (same)
			quirk_seen(QUIRK_SIGN_OF_LIFE);
		return !same;
	}
	return (response->numbered && imap_slice_is(response->name, "FETCH")) ||
	       imap_slice_is(response->code, "UIDVALIDITY") ||
	       imap_slice_is(response->code, "CLOSED");
}

static int idle_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg)
{
	struct imap_watch *watch = arg;
	(void)engine;
	if (is_news(watch, response))
		imap_watch_note(watch, watch->mailbox, strlen(watch->mailbox));
	return 0;
}

static int idle_fail(struct imap_engine *engine, struct source_error *error)
{
	imap_engine_refuse(engine, IMAP_CAP_IDLE, "IDLE");
	if (engine->answer.status == IMAP_OK)
		return source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_NEVER,
			SOURCE_CAUSE_PROTOCOL, -EOPNOTSUPP,
			"the folder can not be watched: the server ends IDLE at once");
	return imap_answer_fail(
		&engine->answer, SOURCE_SCOPE_MAILBOX, "the folder can not be watched", error);
}

/* Reads up to "+" (begin) or the tagged answer. */
static int idle_next(struct imap_watch *watch, bool begin, struct source_error *error)
{
	struct imap_response response;
	struct net_limits limits;
	struct imap_set dropped;
	const struct imap_exchange exchange = {.untagged = idle_untagged,
		.arg = watch,
		.limits = &limits,
		.responses_max = IMAP_LIMIT_BURST_RESPONSES,
		.per_message = true};
	imap_set_init(&dropped, IMAP_SET_VANISHED, 1, UINT32_MAX, NULL, NULL);
	imap_set_limits(&dropped, watch->engine, &limits);
	do {
		int r = imap_engine_next(watch->engine, &exchange, &response, error);
		if (r < 0)
			return r;
	} while (!begin && response.kind != IMAP_TAGGED);
	return response.kind == IMAP_TAGGED && (begin || watch->engine->answer.status != IMAP_OK)
	               ? idle_fail(watch->engine, error)
	               : 0;
}

static int idle_begin(struct imap_watch *watch, struct source_error *error)
{
	struct imap_engine *engine = watch->engine;
	_cleanup_command_ struct imap_command command;
	imap_command_init(&command, engine, "IDLE");
	str_append_cstr(&command.text, "\r\n");
	log_debug("imap: IDLE in %s", watch->mailbox);
	engine->answer = (struct imap_answer){0};
	int r = str_error(&command.text) < 0
	                ? imap_engine_broken(engine, "out of memory", error)
	                : imap_engine_send(engine, command.text.data, command.text.len, error);
	return r < 0 ? r : idle_next(watch, true, error);
}

static int idle_end(struct imap_watch *watch, struct source_error *error)
{
	imap_engine_begin(watch->engine);
	log_debug("imap: DONE");
	int r = imap_engine_send(watch->engine, "DONE\r\n", 6, error);
	return r < 0 ? r : idle_next(watch, false, error);
}

/* One IDLE. 1: the server has ended it by itself. */
static int idle_once(struct imap_watch *watch, struct source_error *error)
{
	imap_engine_begin(watch->engine);
	int r = idle_begin(watch, error);
	if (r < 0)
		return r;
	if (!watch->armed)
		imap_watch_ready(watch);
	int64_t begun_ms = clock_now_ms();
	r = imap_watch_wait(watch, error);
	if (r == 1 && (watch->engine->answer.status != IMAP_OK ||
			      clock_now_ms() - begun_ms < IDLE_MIN_MS))
		return idle_fail(watch->engine, error);
	return r == 0 ? idle_end(watch, error) : r;
}

static int idle_open(struct imap_watch *watch, struct source_error *error)
{
	struct source_state state;
	if (!watch->continued) {
		int r = imap_select(watch->engine, watch->mailbox, true, NULL, &state, error);
		if (r < 0)
			return r;
	}
	watch->counted = !watch->continued;
	watch->exists = watch->engine->messages;
	return 0;
}

static int idle_watch(struct imap_watch *watch, struct source_error *error)
{
	struct imap_engine *engine = watch->engine;
	watch->untagged = idle_untagged;
	int r = idle_open(watch, error);
	if (r == 0 &&
		watch->continued) /* nothing was missed: what comes with the "+" is news too */
		imap_watch_ready(watch);
	do
		r = r < 0 ? r : idle_once(watch, error);
	while (r == 1);
	imap_watch_tell(watch);
	if (engine->uidvalidity_changed) { /* told; the next watch opens it anew */
		engine->uidvalidity_changed = false;
		engine->selected = false;
	}
	return r;
}

/* --- All of it --- */

static bool is_same(const struct imap_engine *engine, const char *mailbox)
{
	if (engine->watch_tag == 0 || engine->watch_tag != engine->tag)
		return false;
	if (!mailbox)
		return !engine->watched && engine->notifying;
	return engine->watched && engine->selected && strcmp(engine->watched, mailbox) == 0;
}

/* Remembers how the watch ended, for the next one. */
static void note_end(struct imap_engine *engine, const char *mailbox)
{
	free(engine->watched);
	engine->watched = mailbox ? strdup(mailbox) : NULL;
	engine->watch_tag = mailbox && !engine->watched ? 0 : engine->tag;
}

static int unable(struct source_error *error, const char *what)
{
	return source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_NEVER, SOURCE_CAUSE_OTHER,
		-EOPNOTSUPP, "the server can not watch: it has no %s", what);
}

int imap_watch(struct imap_engine *engine, const char *mailbox, int64_t until_ms,
	source_event_fn *fn, void *arg, struct source_error *error)
{
	struct imap_watch watch = {.engine = engine,
		.until_ms = until_ms,
		.fn = fn,
		.arg = arg,
		.mailbox = mailbox,
		.continued = is_same(engine, mailbox)};
	engine->watch_tag = 0;
	if (!(engine->caps.set & (mailbox ? IMAP_CAP_IDLE : IMAP_CAP_NOTIFY)))
		return unable(error, mailbox ? "IDLE" : "NOTIFY");
	int r = mailbox ? idle_watch(&watch, error) : imap_notify(&watch, error);
	str_finish(&watch.names);
	if (r == 0)
		note_end(engine, mailbox);
	return r;
}
