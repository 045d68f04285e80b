/* SPDX-License-Identifier: MIT */
/*
 * The committer: takes what has arrived since the last group, makes that durable, tells who waits. A group is as large as the
 * disk is slow, so that neither waits for the other; what waits is bounded, and then the network waits.
 *
 * After an error nothing more is taken: what was handed over goes back to nothing, and the server still has it.
 */
#include "intake.h"

#include <errno.h>
#include <stdlib.h>

#include "mailfs/util/thread.h"

void arrival_destroy(struct arrival *arrival)
{
	if (!arrival)
		return;
	store_spool_discard(arrival->item.file);
	str_finish(&arrival->fields);
	str_finish(&arrival->structure);
	free(arrival);
}

static void discard_all(struct list_node *list)
{
	struct list_node *node;
	while ((node = list_pop(list)))
		arrival_destroy(container_of(node, struct arrival, node));
}

/* --- A group --- */

struct group {
	struct list_node arrivals;
	size_t count;
};

/* Waits for the next group; false: there is none any more. */
static bool group_take(struct committer *committer, struct group *ret)
{
	struct sync_account *account = committer->look->account;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	while (list_empty(&committer->waiting) && !committer->ending)
		pthread_cond_wait(&committer->look->drop->intake->changed, &account->lock);
	struct list_node *node;
	list_init(&ret->arrivals);
	while ((node = list_pop(&committer->waiting)))
		list_push(&ret->arrivals, node);
	ret->count = committer->files;
	committer->files = 0;
	committer->bytes = 0;
	pthread_cond_broadcast(&committer->look->drop->intake->changed);
	return ret->count > 0;
}

/* They are durable. */
static void group_count(struct look *look, struct group *group, const uint32_t *uids)
{
	struct list_node *node;
	while ((node = list_pop(&group->arrivals))) {
		struct arrival *arrival = container_of(node, struct arrival, node);
		look->plan.entries[arrival->entry].state = PLAN_STORED;
		arrival->item.file = NULL;
		arrival_destroy(arrival);
	}
	drop_stored(look->drop, uids, group->count);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&look->account->lock);
	look->report.stored += group->count;
}

static int group_commit(struct look *look, struct group *group)
{
	struct drop *drop = look->drop;
	_cleanup_free_ struct store_spool_item *items = calloc(group->count, sizeof(*items));
	_cleanup_free_ uint32_t *uids = calloc(group->count, sizeof(*uids));
	struct list_node *pos, *tmp;
	size_t i = 0;
	int err = items && uids ? 0 : -ENOMEM;
	if (err == 0) {
		list_for_each(pos, tmp, &group->arrivals)
		{
			items[i] = container_of(pos, struct arrival, node)->item;
			uids[i] = items[i].record.uid;
			i++;
		}
		err = store_spool_commit(
			look->account->store, drop->serve.number, items, group->count);
	}
	if (err == 0)
		group_count(look, group, uids);
	return err;
}

static void committer_fail(struct committer *committer, int err)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&committer->look->account->lock);
	if (committer->err == 0)
		committer->err = err;
	pthread_cond_broadcast(&committer->look->drop->intake->changed);
}

static void *committer_main(void *arg)
{
	struct committer *committer = arg;
	struct group group;
	int err = 0;
	while (group_take(committer, &group)) {
		if (err == 0)
			err = group_commit(committer->look, &group);
		if (err < 0)
			committer_fail(committer, err);
		discard_all(&group.arrivals);
	}
	return NULL;
}

/* --- For the look --- */

int committer_start(struct committer *committer, struct look *look)
{
	*committer = (struct committer){.look = look};
	list_init(&committer->waiting);
	int err = thread_start(&committer->thread, committer_main, committer);
	committer->started = err == 0;
	return err;
}

/* Lock held. */
static bool is_full(const struct committer *committer, uint64_t bytes)
{
	return committer->files > 0 && (committer->files >= COMMIT_FILES_MAX ||
					       committer->bytes + bytes > COMMIT_BYTES_MAX);
}

int committer_push(struct committer *committer, struct arrival *arrival)
{
	struct sync_account *account = committer->look->account;
	struct intake *intake = committer->look->drop->intake;
	pthread_mutex_lock(&account->lock);
	while (is_full(committer, arrival->bytes) && committer->err == 0)
		pthread_cond_wait(&intake->changed, &account->lock);
	int err = committer->err;
	if (err == 0) {
		list_push(&committer->waiting, &arrival->node);
		committer->files++;
		committer->bytes += arrival->bytes;
		pthread_cond_broadcast(&intake->changed);
	}
	pthread_mutex_unlock(&account->lock);
	if (err < 0)
		arrival_destroy(arrival);
	return err;
}

int committer_finish(struct committer *committer)
{
	if (!committer->started)
		return 0;
	struct sync_account *account = committer->look->account;
	pthread_mutex_lock(&account->lock);
	committer->ending = true;
	pthread_cond_broadcast(&committer->look->drop->intake->changed);
	pthread_mutex_unlock(&account->lock);
	pthread_join(committer->thread, NULL);
	committer->started = false;
	return committer->err;
}
