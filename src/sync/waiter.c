/* SPDX-License-Identifier: MIT */
/*
 * Those who wait. Invariant: a waiter is either queued, in the list of what it waits for and in the account's
 * list by deadline, or it is not sync's any more; it leaves both lists under the lock, in one step, which
 * decides who wakes it. So wake() is called exactly once, or sync_waiter_cancel() returned true, never both.
 */
#include "private.h"

#include <errno.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/thread.h"

void waiter_add(struct sync_account *account, struct list_node *list, struct sync_waiter *waiter)
{
	/*
	 * Deadlines mostly come in order, as one time-out is added to a clock: the search from the end is
	 * short.
	 */
	struct list_node *after = account->waiters.prev;
	while (after != &account->waiters &&
		container_of(after, struct sync_waiter, order)->deadline_ms > waiter->deadline_ms)
		after = after->prev;
	list_push(after->next, &waiter->order);
	list_push(list, &waiter->node);
	waiter->lenient = false;
	waiter->queued = true;
	if (account->waiters.next == &waiter->order)
		pthread_cond_signal(&account->reaper_wakeup);
}

void waiter_take(struct sync_waiter *waiter, ssize_t result, struct list_node *done)
{
	list_remove(&waiter->order);
	list_remove(&waiter->node);
	waiter->queued = false;
	waiter->result = result;
	list_push(done, &waiter->node);
}

void waiter_take_all(struct list_node *list, ssize_t result, struct list_node *done)
{
	struct list_node *pos, *tmp;
	list_for_each(pos, tmp, list)
		waiter_take(container_of(pos, struct sync_waiter, node), result, done);
}

void waiter_wake_all(struct list_node *done)
{
	struct list_node *node;
	while ((node = list_pop(done))) {
		struct sync_waiter *waiter = container_of(node, struct sync_waiter, node);
		waiter->wake(waiter, waiter->result);
	}
}

bool sync_waiter_cancel(struct sync_account *account, struct sync_waiter *waiter)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	if (!waiter->queued)
		return false;
	list_remove(&waiter->order);
	list_remove(&waiter->node);
	waiter->queued = false;
	return true;
}

/* Takes those whose deadline has passed, or all when the account stops. Lock held. */
static void take_due(struct sync_account *account, struct list_node *done)
{
	int64_t now = account->stopping ? CLOCK_NEVER : clock_now_ms();
	int result = account->stopping ? -EIO : -ETIMEDOUT;
	while (!list_empty(&account->waiters)) {
		struct sync_waiter *waiter =
			container_of(account->waiters.next, struct sync_waiter, order);
		if (waiter->deadline_ms > now)
			return;
		bool lenient = waiter->lenient && !account->stopping;
		waiter_take(waiter, lenient ? 0 : result, done);
	}
}

/* Sleeps until the nearest deadline, or until there is a nearer one. Lock held. */
static void sleep_until_due(struct sync_account *account)
{
	if (list_empty(&account->waiters)) {
		pthread_cond_wait(&account->reaper_wakeup, &account->lock);
		return;
	}
	int64_t due = container_of(account->waiters.next, struct sync_waiter, order)->deadline_ms;
	if (due == CLOCK_NEVER) {
		pthread_cond_wait(&account->reaper_wakeup, &account->lock);
		return;
	}
	struct timespec until = {.tv_sec = due / 1000, .tv_nsec = due % 1000 * 1000000};
	pthread_cond_timedwait(&account->reaper_wakeup, &account->lock, &until);
}

static void *reaper_main(void *arg)
{
	struct sync_account *account = arg;
	struct list_node done;
	bool stopping;

	list_init(&done);
	do {
		pthread_mutex_lock(&account->lock);
		take_due(account, &done);
		if (list_empty(&done) && !account->stopping)
			sleep_until_due(account);
		stopping = account->stopping && list_empty(&account->waiters);
		pthread_mutex_unlock(&account->lock);
		waiter_wake_all(&done);
	} while (!stopping);
	return NULL;
}

int reaper_start(struct sync_account *account)
{
	int err = thread_start(&account->reaper, reaper_main, account);
	account->reaper_started = err == 0;
	return err;
}

void reaper_join(struct sync_account *account)
{
	pthread_mutex_lock(&account->lock);
	pthread_cond_signal(&account->reaper_wakeup);
	pthread_mutex_unlock(&account->lock);
	if (account->reaper_started)
		pthread_join(account->reaper, NULL);
	account->reaper_started = false;
}
