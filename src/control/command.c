/* SPDX-License-Identifier: MIT */
/*
 * What can be asked for: {"command": NAME, "path": PATH below the root, …}. The answer is {"ok": true, …}, or {"ok": false, "code":
 * errno's name, "error": a line for a person}. Members that nobody knows are passed over, so that an older mailfs understands a newer
 * mailfsctl as far as it can.
 */
#include <errno.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/log.h"

#include "private.h"

struct request {
	struct control *control;
	struct client *client;
	json_t *json;
	const char *path; /* without a slash at its end; "" is the root */
	struct answer *answer;
	const char *error; /* for a person; NULL: as the errno says */
	bool watch;
};

typedef int command_fn(struct request *request);

/* --- Status --- */

/* What a message's path says beyond its folder's. */
static int put_message(struct request *request, const struct tree_place *place)
{
	struct answer *answer = request->answer;
	struct store_mailbox state;
	json_t *object = answer_object(answer, answer->root, "message");
	sync_folder_state(place->folder, &state);
	bool pinned = store_is_pinned(request->control->store,
		sync_folder_mailbox(place->folder)->name, state.folder, place->uid);
	answer_string(answer, object, "path", request->path);
	answer_number(answer, object, "uid", place->uid);
	answer_put(answer, object, "pinned", json_boolean(pinned));
	return 0;
}

/* The one folder of a message: its path is all before the last slash. */
static int list_of_message(
	const struct request *request, const struct tree_place *place, struct folder_list *ret)
{
	const char *slash = strrchr(request->path, '/');
	size_t len = slash ? (size_t)(slash - request->path) : 0;
	int r = array_grow(&ret->items, &ret->cap, 1, sizeof(*ret->items));
	char *copy = r == 0 ? strndup(request->path, len) : NULL;
	if (!copy)
		return -ENOMEM;
	ret->items[ret->count++] = (struct folder_item){copy, place->folder};
	return 0;
}

static int command_status(struct request *request)
{
	__attribute__((cleanup(folder_list_finish))) struct folder_list folders = {0};
	struct tree_place place;
	int r = tree_resolve(request->control->tree, request->path, &place);
	if (r < 0)
		return r;
	status_account(request->control, request->answer);
	if (place.uid > 0)
		r = list_of_message(request, &place, &folders);
	else
		r = folder_list_get(request->control, request->path, &folders);
	if (r == 0 && place.uid > 0)
		r = put_message(request, &place);
	return r < 0 ? r : status_folders(request->control, &folders, request->answer);
}

/* --- Watch --- */

static int command_watch(struct request *request)
{
	struct tree_place place;
	int r = tree_resolve(request->control->tree, request->path, &place);
	if (r < 0)
		return r;
	request->client->filter = strdup(request->path);
	if (!request->client->filter)
		return -ENOMEM;
	request->watch = true;
	return 0;
}

/* --- Pins --- */

static int refuse_drop(struct request *request)
{
	if (!sync_account_is_drop(request->control->account))
		return 0;
	request->error = "a POP3 mailbox is downloaded for good anyway";
	return -EOPNOTSUPP;
}

static int pin_folders(struct request *request, bool pin)
{
	__attribute__((cleanup(folder_list_finish))) struct folder_list folders = {0};
	int r = folder_list_get(request->control, request->path, &folders);
	for (size_t i = 0; i < folders.count && r == 0; i++)
		r = sync_pin(folders.items[i].folder, 0, pin);
	if (r == 0 && folders.count == 0) {
		request->error = "there is no folder with messages at or below it";
		return -ENOENT;
	}
	answer_number(request->answer, request->answer->root, "folders", folders.count);
	return r;
}

/* Whether it is pinned then: a message may be by its folder, everything by offline=. */
static bool is_pinned(const struct request *request, const struct tree_place *place)
{
	struct store_mailbox state;
	if (!place->folder)
		return false;
	sync_folder_state(place->folder, &state);
	return store_is_pinned(request->control->store, sync_folder_mailbox(place->folder)->name,
		state.folder, place->uid);
}

static int set_pin(struct request *request, bool pin)
{
	struct tree_place place;
	int r = refuse_drop(request);
	if (r == 0)
		r = tree_resolve(request->control->tree, request->path, &place);
	if (r == 0)
		r = place.uid > 0 ? sync_pin(place.folder, place.uid, pin)
		                  : pin_folders(request, pin);
	if (r == 0)
		answer_put(request->answer, request->answer->root, "pinned",
			json_boolean(is_pinned(request, &place)));
	return r;
}

static int command_pin(struct request *request)
{
	return set_pin(request, true);
}

static int command_unpin(struct request *request)
{
	return set_pin(request, false);
}

/* --- How far what is pinned is --- */

struct progress {
	uint64_t messages, missing,
		unlisted; /* unlisted: folders whose messages are not all known */
};

static int add_message(
	const struct request *request, const struct tree_place *place, struct progress *progress)
{
	struct store_mailbox state;
	uint32_t uid = 0;
	size_t count = 0;
	sync_folder_state(place->folder, &state);
	int r = store_pinned_missing(request->control->store,
		sync_folder_mailbox(place->folder)->name, state.folder, place->uid, &uid, 1,
		&count);
	progress->messages++;
	progress->missing += r == 0 && count > 0 && uid == place->uid ? 1 : 0;
	return r;
}

static int add_folders(const struct request *request, struct progress *progress)
{
	__attribute__((cleanup(folder_list_finish))) struct folder_list folders = {0};
	int r = folder_list_get(request->control, request->path, &folders);
	for (size_t i = 0; i < folders.count && r == 0; i++) {
		struct sync_folder_status status = {0};
		if (atomic_load(&request->control->stopping))
			return -ECANCELED;
		r = sync_folder_status(folders.items[i].folder, &status);
		progress->messages += status.usage.pinned;
		progress->missing += status.usage.pinned_missing;
		progress->unlisted += status.state.complete ? 0 : 1;
	}
	return r;
}

static int command_progress(struct request *request)
{
	struct answer *answer = request->answer;
	struct progress progress = {0};
	struct sync_status status = {0};
	struct store_usage usage = {0};
	struct tree_place place;
	int r = tree_resolve(request->control->tree, request->path, &place);
	if (r == 0)
		r = place.uid > 0 ? add_message(request, &place, &progress)
		                  : add_folders(request, &progress);
	if (r < 0)
		return r;
	sync_account_status(request->control->account, &status);
	store_usage(request->control->store, &usage);
	answer_number(answer, answer->root, "messages", progress.messages);
	answer_number(answer, answer->root, "missing", progress.missing);
	answer_number(answer, answer->root, "unlisted", progress.unlisted);
	answer_string(answer, answer->root, "state", status_link_name(status.link));
	answer_string(answer, answer->root, "trouble", *status.trouble ? status.trouble : NULL);
	answer_number(answer, answer->root, "jobs",
		(uint64_t)status.demand + status.bulk + status.ahead + status.background);
	answer_number(answer, answer->root, "bytes", status.pinning.bytes);
	answer_put(answer, answer->root, "full", json_boolean(usage.full));
	return 0;
}

/* --- The rest --- */

static int command_refresh(struct request *request)
{
	sync_account_refresh(request->control->account);
	return 0;
}

static int command_clear(struct request *request)
{
	uint64_t freed = 0;
	if (sync_account_is_drop(request->control->account)) {
		request->error = "POP3 mail is no cache: what was downloaded may be the only copy";
		return -EOPNOTSUPP;
	}
	int r = store_cache_clear(request->control->store, &freed);
	answer_number(request->answer, request->answer->root, "freed_bytes", freed);
	return r;
}

static command_fn *find(const char *name)
{
	static const struct {
		const char *name;
		command_fn *fn;
	} commands[] = {
		{"status", command_status},
		{"watch", command_watch},
		{"pin", command_pin},
		{"unpin", command_unpin},
		{"progress", command_progress},
		{"refresh", command_refresh},
		{"clear", command_clear},
	};
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].fn;
	return NULL;
}

/* --- Request and answer --- */

static void send_error(struct client *client, int err, const char *text)
{
	const char *code = strerrorname_np(-err);
	client_send(client, json_pack("{s:b, s:s, s:s}", "ok", 0, "code", code ? code : "EIO",
				    "error", text ? text : strerror(-err)));
}

static int run(struct request *request, command_fn *fn)
{
	int r = fn(request);
	return r == 0 && request->answer->failed ? -ENOMEM : r;
}

static void answer_request(struct request *request, command_fn *fn)
{
	struct answer answer;
	if (answer_init(&answer) < 0) {
		client_end(request->client);
		return;
	}
	request->answer = &answer;
	answer_put(&answer, answer.root, "ok", json_true());
	int r = run(request, fn);
	if (r < 0) {
		json_decref(answer.root);
		send_error(request->client, r, request->error);
		return;
	}
	/* From before the answer: what happens once it was read is told. */
	request->client->watching = request->watch;
	loop_count_watchers(request->control);
	client_send(request->client, answer.root);
}

/* NULL: path is not there, or is no string; "" is none that is missing. */
static char *take_path(json_t *json)
{
	json_t *path = json_object_get(json, "path");
	if (path && !json_is_string(path))
		return NULL;
	char *copy = strdup(path ? json_string_value(path) : "");
	size_t len = copy ? strlen(copy) : 0;
	while (len > 0 && copy[len - 1] == '/')
		copy[--len] = 0;
	return copy;
}

void command_run(struct control *control, struct client *client, const char *line, size_t len)
{
	errno = 0;
	json_t *json = json_loadb(line, len, JSON_REJECT_DUPLICATES, NULL);
	const char *name = json_string_value(json_object_get(json, "command"));
	command_fn *fn = name ? find(name) : NULL;
	_cleanup_free_ char *path = json ? take_path(json) : NULL;
	struct request request = {.control = control, .client = client, .json = json, .path = path};

	if ((!json || !path) && errno == ENOMEM)
		send_error(client, -ENOMEM, NULL);
	else if (!name || !path)
		send_error(client, -EINVAL,
			"a request is an object with the strings command and path");
	else if (!fn)
		send_error(client, -ENOSYS, "this mailfs does not know that command");
	else
		answer_request(&request, fn);
	json_decref(json);
}
