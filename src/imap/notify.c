/* SPDX-License-Identifier: MIT */
/*
 * NOTIFY (RFC 5465): the server tells of all mailboxes on one connection, at any time. No mailbox is open meanwhile, so that the
 * news of every one of them comes as STATUS.
 *
 * News that can not be understood, and a server that could not keep up, are SOURCE_EVENT_LOST: something has changed, and
 * anything may have.
 */
#include <errno.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"
#include "namespace.h"
#include "private.h"

#define EVENTS " (MessageNew MessageExpunge FlagChange MailboxName SubscriptionChange))"
/* A server that gives up sooner than this after it was asked can not do it. */
#define OVERFLOW_MIN_MS 10000

static void note_status(
	struct imap_watch *watch, struct imap_engine *engine, const struct imap_response *response)
{
	int r = imap_tree_parse(&engine->tree, response->args.data, response->args.len);
	const struct imap_node *mailbox = imap_tree_top(&engine->tree);
	if (r < 0 || !mailbox || mailbox->type == IMAP_NODE_LIST) {
		watch->lost = true;
		return;
	}
	_cleanup_str_ struct str name = STR_INIT;
	str_reset(&engine->scratch);
	imap_node_append(mailbox, &engine->scratch);
	if (str_error(&engine->scratch) < 0 ||
		imap_mailbox_to_wire(str_cstr(&engine->scratch), &name) < 0)
		watch->lost = true;
	else
		imap_watch_note(watch, str_cstr(&name), name.len);
}

static int notify_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg)
{
	struct imap_watch *watch = arg;
	if (imap_slice_is(response->code, "NOTIFICATIONOVERFLOW")) {
		watch->lost = watch->ended = true;
		engine->notifying = false;
	} else if (response->numbered) {
		return 0;
	} else if (imap_slice_is(response->name, "STATUS")) {
		note_status(watch, engine, response);
	} else if (imap_slice_is(response->name, "LIST") || imap_slice_is(response->name, "LSUB")) {
		watch->list = true;
	}
	return 0;
}

static int notify_run(struct imap_watch *watch, struct imap_command *command, const char *what,
	struct source_error *error)
{
	const struct imap_exchange exchange = {.what = what,
		.scope = SOURCE_SCOPE_MAILBOX,
		.untagged = notify_untagged,
		.arg = watch,
		.responses_max = 1000000,
		.streaming = true};
	log_debug("imap: %s", what);
	return imap_engine_run(watch->engine, command, &exchange, error);
}

/* --- The beginning --- */

static int unable(struct imap_engine *engine, struct source_error *error)
{
	engine->notifying = false;
	quirk_seen(QUIRK_NOTIFY_REFUSED);
	imap_engine_refuse(engine, IMAP_CAP_NOTIFY, "NOTIFY");
	return source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_NEVER, SOURCE_CAUSE_OTHER,
		-EOPNOTSUPP, "the server can not watch all folders%s%s",
		imap_engine_refused(engine) ? ": " : "",
		imap_engine_refused(engine) ? engine->answer.text : "");
}

/* No fault of the server's: but a subtree of all would bring all twice. */
static int nameless(struct imap_engine *engine, struct source_error *error)
{
	quirk_seen(QUIRK_SHARED_AT_ROOT);
	engine->refused |= IMAP_CAP_NOTIFY;
	engine->caps.set &= ~(unsigned)IMAP_CAP_NOTIFY;
	return source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_NEVER, SOURCE_CAUSE_OTHER,
		-EOPNOTSUPP, "NOTIFY is not used: the folders of others have no prefix");
}

/* With a mailbox open its news would come in another form. */
static int close_mailbox(struct imap_watch *watch, struct source_error *error)
{
	struct imap_engine *engine = watch->engine;
	_cleanup_command_ struct imap_command command = {0};
	if (!engine->opened)
		return 0;
	if (!(engine->caps.set & IMAP_CAP_UNSELECT))
		return unable(engine, error);
	imap_command_init(&command, engine, "UNSELECT");
	engine->selected = false;
	int r = notify_run(watch, &command, "UNSELECT", error);
	if (r == 0)
		engine->opened = false;
	return r < 0 && imap_engine_refused(engine) ? unable(engine, error) : r;
}

/* The name of a namespace's root: its prefix without the delimiter at its end. */
static bool append_root(struct imap_command *command, const struct imap_engine *engine,
	const struct imap_namespace *space)
{
	_cleanup_str_ struct str root = STR_INIT;
	size_t len = strlen(space->prefix);
	if (len > 0 && space->delimiter && space->prefix[len - 1] == space->delimiter)
		len--;
	str_append(&root, space->prefix, len);
	if (len == 0 || str_error(&root) < 0)
		return false;
	imap_command_string(command, engine, str_cstr(&root));
	return true;
}

/* (subtree ("A" "B") (EVENTS)) for what is not personal. False: it can not be said. */
static bool append_subtrees(struct imap_command *command, const struct imap_engine *engine,
	const struct imap_namespaces *spaces)
{
	unsigned count = 0;
	for (size_t i = 0; i < spaces->count; i++) {
		if (spaces->items[i].flag == SOURCE_MAILBOX_PERSONAL)
			continue;
		str_append_cstr(&command->text, count++ == 0 ? " (subtree (" : " ");
		if (!append_root(command, engine, &spaces->items[i]))
			return false;
	}
	if (count > 0)
		str_append_cstr(&command->text, ")" EVENTS);
	return true;
}

static int set_run(
	struct imap_watch *watch, const struct imap_namespaces *spaces, struct source_error *error)
{
	struct imap_engine *engine = watch->engine;
	_cleanup_command_ struct imap_command command;
	imap_command_init(&command, engine, "NOTIFY SET (personal" EVENTS);
	if (!append_subtrees(&command, engine, spaces))
		return nameless(engine, error);
	engine->notifying =
		true; /* until the server says otherwise, which it may do before its OK */
	int r = notify_run(watch, &command, "NOTIFY SET", error);
	if (r == 0)
		return engine->notifying ? 0 : unable(engine, error);
	engine->notifying = false;
	return imap_engine_refused(engine) ? unable(engine, error) : r;
}

static int notify_begin(struct imap_watch *watch, struct source_error *error)
{
	struct imap_namespaces spaces = {.count = 0};
	imap_engine_begin(watch->engine);
	int r = close_mailbox(watch, error);
	if (r == 0)
		r = imap_namespaces_ask(watch->engine, &spaces, error);
	if (r == 0)
		r = set_run(watch, &spaces, error);
	imap_namespaces_finish(&spaces);
	return r;
}

/* --- The watch --- */

/* A command that does nothing: its answer shows that the connection is alive, and brings what came last. */
static int notify_end(struct imap_watch *watch, struct source_error *error)
{
	_cleanup_command_ struct imap_command command;
	imap_engine_begin(watch->engine);
	imap_command_init(&command, watch->engine, "NOOP");
	return notify_run(watch, &command, "NOOP", error);
}

static int watch_begin(struct imap_watch *watch, struct source_error *error)
{
	int r = watch->continued ? 0 : notify_begin(watch, error);
	if (r == 0)
		imap_watch_ready(watch);
	return r;
}

/* The server could not keep up and has stopped to tell: it is asked again, unless that is all it ever says. */
static int begin_again(struct imap_watch *watch, int64_t begun_ms, struct source_error *error)
{
	if (!watch->ended)
		return imap_engine_broken(
			watch->engine, "an answer to nothing that was asked", error);
	watch->ended = false;
	if (clock_now_ms() - begun_ms < OVERFLOW_MIN_MS)
		return unable(watch->engine, error);
	return watch_begin(watch, error);
}

int imap_notify(struct imap_watch *watch, struct source_error *error)
{
	watch->untagged = notify_untagged;
	int r = watch_begin(watch, error);
	while (r == 0) {
		int64_t begun_ms = clock_now_ms();
		r = imap_watch_wait(watch, error);
		if (r <= 0)
			break;
		r = begin_again(watch, begun_ms, error);
	}
	if (r == 0)
		r = notify_end(watch, error);
	imap_watch_tell(watch);
	return r;
}
