/* SPDX-License-Identifier: MIT */
/* The state of the mount, as mailfsctl(1) documents it: the keys are an interface, none is ever renamed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"

#include "private.h"

/* --- Folders --- */

static int collect(void *arg, const char *path, struct sync_folder *folder)
{
	struct folder_list *list = arg;
	if (!folder || sync_folder_is_gone(folder) ||
		sync_folder_mailbox(folder)->flags & SOURCE_MAILBOX_NOSELECT)
		return 0;
	int r = array_grow(&list->items, &list->cap, list->count + 1, sizeof(*list->items));
	char *copy = r == 0 ? strdup(path) : NULL;
	if (!copy)
		return -ENOMEM;
	list->items[list->count++] = (struct folder_item){copy, folder};
	return 0;
}

int folder_list_get(struct control *control, const char *path, struct folder_list *ret)
{
	struct folder_list list = {0};
	int r = tree_each_folder(control->tree, path, collect, &list);
	if (r < 0) {
		folder_list_finish(&list);
		return r;
	}
	*ret = list;
	return 0;
}

void folder_list_finish(struct folder_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i].path);
	free(list->items);
	*list = (struct folder_list){0};
}

static const char *listing_name(enum sync_listing listing)
{
	switch (listing) {
	case SYNC_LISTING_NONE:
		return "none";
	case SYNC_LISTING_RUNNING:
		return "running";
	case SYNC_LISTING_WHOLE:
		return "whole";
	case SYNC_LISTING_FAILED:
		return "failed";
	}
	return NULL;
}

static void put_folder(struct answer *answer, json_t *entry, const struct folder_item *item,
	const struct sync_folder_status *status)
{
	const struct store_folder_usage *usage = &status->usage;
	answer_string(answer, entry, "path", item->path);
	answer_string(answer, entry, "mailbox", sync_folder_mailbox(item->folder)->name);
	answer_put(answer, entry, "known", json_boolean(status->state.folder != 0));
	answer_put(answer, entry, "complete", json_boolean(status->state.complete));
	answer_number(answer, entry, "messages", usage->messages);
	answer_number(answer, entry, "unseen", usage->unseen);
	answer_string(answer, entry, "listing", listing_name(status->listing));
	answer_put(answer, entry, "watched", json_boolean(status->watched));
	answer_time(answer, entry, "checked", status->state.checked_s);
	answer_number(answer, entry, "cached", usage->cached);
	answer_number(answer, entry, "cached_bytes", usage->cached_bytes);
	answer_put(answer, entry, "folder_pinned", json_boolean(usage->mailbox_pinned));
	answer_number(answer, entry, "pinned", usage->pinned);
	answer_number(answer, entry, "pinned_missing", usage->pinned_missing);
}

/* One that can not be asked says so; the others are shown. */
static void put_trouble(
	struct answer *answer, json_t *entry, const struct folder_item *item, int err)
{
	answer_string(answer, entry, "path", item->path);
	answer_string(answer, entry, "mailbox", sync_folder_mailbox(item->folder)->name);
	answer_string(answer, entry, "error", strerror(-err));
}

int status_folders(
	struct control *control, const struct folder_list *folders, struct answer *answer)
{
	json_t *array = answer_array(answer, answer->root, "folders");
	for (size_t i = 0; i < folders->count && !answer->failed; i++) {
		struct sync_folder_status status = {0};
		if (atomic_load(&control->stopping))
			return -ECANCELED;
		json_t *entry = json_object();
		answer_append(answer, array, entry);
		if (answer->failed)
			break;
		int r = sync_folder_status(folders->items[i].folder, &status);
		if (r < 0)
			put_trouble(answer, entry, &folders->items[i], r);
		else
			put_folder(answer, entry, &folders->items[i], &status);
	}
	return answer->failed ? -ENOMEM : 0;
}

/* --- The account --- */

const char *status_link_name(enum sync_link link)
{
	switch (link) {
	case SYNC_LINK_ONLINE:
		return "online";
	case SYNC_LINK_CONNECTING:
		return "connecting";
	case SYNC_LINK_OFFLINE:
		return "offline";
	}
	return NULL;
}

static const char *push_name(enum sync_push push)
{
	switch (push) {
	case SYNC_PUSH_POLL:
		return "poll";
	case SYNC_PUSH_IDLE:
		return "idle";
	case SYNC_PUSH_NOTIFY:
		return "notify";
	}
	return NULL;
}

static void put_connection(struct answer *answer, const struct sync_status *status)
{
	json_t *object = answer_object(answer, answer->root, "connection");
	answer_string(answer, object, "state", status_link_name(status->link));
	answer_time(answer, object, "since", status->since_s);
	answer_string(answer, object, "trouble", *status->trouble ? status->trouble : NULL);
	answer_time(answer, object, "retry", status->retry_s);
	answer_string(answer, object, "push", push_name(status->push));
	answer_number(answer, object, "connections", status->connections);
	answer_number(answer, object, "compressed", status->compressed);
	answer_number(answer, object, "reconnects", status->reconnects);
	object = answer_object(answer, answer->root, "traffic");
	answer_number(answer, object, "bytes_in", status->bytes_in);
	answer_number(answer, object, "bytes_out", status->bytes_out);
	if (status->rate_bytes_s)
		answer_number(answer, object, "rate", status->rate_bytes_s);
	else
		answer_put(answer, object, "rate", json_null());
	object = answer_object(answer, answer->root, "jobs");
	answer_number(answer, object, "demand", status->demand);
	answer_number(answer, object, "bulk", status->bulk);
	answer_number(answer, object, "ahead", status->ahead);
	answer_number(answer, object, "background", status->background);
	object = answer_object(answer, answer->root, "pinning");
	answer_number(answer, object, "messages", status->pinning.messages);
	answer_number(answer, object, "messages_total", status->pinning.messages_total);
	answer_number(answer, object, "bytes", status->pinning.bytes);
	answer_number(answer, object, "bytes_total", status->pinning.bytes_total);
	answer_put(answer, object, "done", json_boolean(status->pinning.done));
}

/* Each run of bytes that are none of the separators. */
static void put_words(struct answer *answer, json_t *array, const char *text, const char *between)
{
	while (*(text += strspn(text, between))) {
		size_t len = strcspn(text, between);
		answer_append(answer, array, answer_text(text, len));
		text += len;
	}
}

/* What the server said: a line with its name, if it told that, and one with its capabilities. */
static void put_server(struct control *control, struct answer *answer)
{
	_cleanup_str_ struct str says = STR_INIT;
	_cleanup_str_ struct str quirks = STR_INIT;
	json_t *object = answer_object(answer, answer->root, "server");

	sync_account_describe(control->account, &says, &quirks);
	const char *text = str_cstr(&says);
	size_t line = strcspn(text, "\n");
	bool named = text[line] && text[line + 1];
	answer_put(answer, object, "name", named ? answer_text(text, line) : json_null());
	put_words(answer, answer_array(answer, object, "capabilities"), named ? text + line : text,
		" \r\n");
	put_words(answer, answer_array(answer, object, "quirks"), str_cstr(&quirks), "\r\n");
	if (str_error(&says) < 0 || str_error(&quirks) < 0)
		answer->failed = true;
}

static void put_store(struct control *control, struct answer *answer)
{
	struct store_usage usage = {.limit_bytes = UINT64_MAX};
	json_t *object = answer_object(answer, answer->root, "store");

	store_usage(control->store, &usage);
	if (usage.limit_bytes == UINT64_MAX)
		answer_put(answer, object, "limit_bytes", json_null());
	else
		answer_number(answer, object, "limit_bytes", usage.limit_bytes);
	answer_number(answer, object, "bodies", usage.bodies);
	answer_number(answer, object, "body_bytes", usage.body_bytes);
	answer_number(answer, object, "pinned_bytes", usage.pinned_bytes);
	answer_number(answer, object, "database_bytes", usage.database_bytes);
	answer_put(answer, object, "full", json_boolean(usage.full));
	answer_put(answer, object, "settled", json_boolean(usage.settled));
}

void status_account(struct control *control, struct answer *answer)
{
	struct sync_status status = {0};
	bool drop = sync_account_is_drop(control->account);

	sync_account_status(control->account, &status);
	answer_string(answer, answer->root, "version", MAILFS_VERSION);
	answer_string(answer, answer->root, "protocol", drop ? "pop3" : "imap");
	answer_string(answer, answer->root, "account", control->account_name);
	answer_string(answer, answer->root, "source", control->source);
	answer_string(answer, answer->root, "mountpoint", control->mountpoint);
	answer_number(answer, answer->root, "pid", (uint64_t)getpid());
	put_connection(answer, &status);
	put_server(control, answer);
	put_store(control, answer);
}
