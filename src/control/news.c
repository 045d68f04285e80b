/* SPDX-License-Identifier: MIT */
/*
 * From the tree's threads, which must not wait, to the loop's: a bounded queue of finished lines. Where it is full, or a client's own
 * queue, that client's watch ends with a line that says so: whoever acts on events must know that it has missed some.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"

#include "private.h"

static void news_free(struct news *news)
{
	if (!news)
		return;
	free(news->line);
	free(news->path);
	free(news->former);
	free(news);
}

/* --- The tree's threads --- */

static const char *kind_name(enum tree_news_kind kind)
{
	static const char *const names[] = {
		[TREE_NEWS_NEW] = "new",
		[TREE_NEWS_GONE] = "gone",
		[TREE_NEWS_FLAGS] = "flags",
		[TREE_NEWS_FOLDER_NEW] = "folder-new",
		[TREE_NEWS_FOLDER_GONE] = "folder-gone",
		[TREE_NEWS_FOLDER_RENAMED] = "folder-renamed",
		[TREE_NEWS_FOLDER_CHANGED] = "folder-changed",
	};
	size_t count = sizeof(names) / sizeof(*names);
	return (size_t)kind < count ? names[kind] : NULL;
}

/* Members that do not apply are left out. */
static json_t *describe(const struct tree_news *news, const struct sync_status *status)
{
	struct answer answer;
	const char *event = status ? status_link_name(status->link) : kind_name(news->kind);
	if (!event || answer_init(&answer) < 0)
		return NULL;
	answer_time(&answer, answer.root, "time", clock_wall_s());
	answer_string(&answer, answer.root, "event", event);
	if (news->path)
		answer_string(&answer, answer.root, "path", news->path);
	if (news->former)
		answer_string(&answer, answer.root, "former", news->former);
	if (news->folder)
		answer_string(&answer, answer.root, "folder", news->folder);
	if (news->uid > 0)
		answer_number(&answer, answer.root, "uid", news->uid);
	if (news->flags)
		answer_string(&answer, answer.root, "flags", news->flags);
	if (status && *status->trouble)
		answer_string(&answer, answer.root, "trouble", status->trouble);
	if (answer.failed) {
		json_decref(answer.root);
		return NULL;
	}
	return answer.root;
}

static char *dump_line(json_t *object)
{
	_cleanup_str_ struct str line = STR_INIT;
	return answer_line(object, &line) < 0 ? NULL : str_steal(&line);
}

static struct news *news_create(const struct tree_news *news, const struct sync_status *status)
{
	struct news *made = calloc(1, sizeof(*made));
	if (!made)
		return NULL;
	made->line = dump_line(describe(news, status));
	made->path = news->path ? strdup(news->path) : NULL;
	made->former = news->former ? strdup(news->former) : NULL;
	if (!made->line || (news->path && !made->path) || (news->former && !made->former)) {
		news_free(made);
		return NULL;
	}
	made->len = strlen(made->line);
	return made;
}

/* made NULL: there was no memory for it, which is as bad as no room: what comes behind it is not told before that is said. */
static void queue(struct control *control, struct news *made)
{
	pthread_mutex_lock(&control->lock);
	bool fits = made && !control->flooded && control->queued < QUEUE_MAX_EVENTS;
	if (fits) {
		list_push(&control->queue, &made->node);
		control->queued++;
	} else {
		control->flooded = true;
	}
	pthread_mutex_unlock(&control->lock);
	if (!fits)
		news_free(made);
	loop_wake(control);
}

/* What is said of the connection may come more than once for one change. */
static bool is_link_told(struct control *control, enum sync_link link)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&control->lock);
	bool told = control->link_told == link;
	control->link_told = link;
	return told;
}

void news_listen(void *arg, const struct tree_news *news)
{
	struct control *control = arg;
	bool of_link = news->kind == TREE_NEWS_LINK;
	struct sync_status status;

	if (of_link) {
		sync_account_status(control->account, &status);
		if (is_link_told(control, status.link))
			return;
	}
	if (atomic_load(&control->watchers) > 0)
		queue(control, news_create(news, of_link ? &status : NULL));
}

/* --- The loop's thread --- */

static bool is_at_or_below(const char *path, const char *top)
{
	size_t len = strlen(top);
	return len == 0 || (strncmp(path, top, len) == 0 && (!path[len] || path[len] == '/'));
}

static bool concerns(const struct news *news, const struct client *client)
{
	const char *filter = client->filter ? client->filter : "";
	return !news->path || is_at_or_below(news->path, filter) ||
	       (news->former && is_at_or_below(news->former, filter));
}

static void tell_all(struct control *control, const struct news *news)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &control->clients[i];
		if (client->watching && concerns(news, client))
			client_tell(client, news->line, news->len);
	}
}

static void overflow_all(struct control *control)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (control->clients[i].watching)
			client_overflow(&control->clients[i]);
}

/* Takes all that is queued; whether something did not fit behind it. */
static bool take_all(struct control *control, struct list_node *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&control->lock);
	bool flooded = control->flooded;
	struct list_node *node;
	list_init(ret);
	while ((node = list_pop(&control->queue)))
		list_push(ret, node);
	control->queued = 0;
	control->flooded = false;
	return flooded;
}

void news_deliver(struct control *control)
{
	struct list_node list, *node;
	bool flooded = take_all(control, &list);
	while ((node = list_pop(&list))) {
		struct news *news = container_of(node, struct news, node);
		tell_all(control, news);
		news_free(news);
	}
	if (flooded)
		overflow_all(control);
}

void news_drop_all(struct control *control)
{
	struct list_node list, *node;
	take_all(control, &list);
	while ((node = list_pop(&list)))
		news_free(container_of(node, struct news, node));
}
