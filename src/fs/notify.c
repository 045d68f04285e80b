/* SPDX-License-Identifier: MIT */
/*
 * Invalidation. To forget an entry the kernel takes the lock of its directory, to forget pages that
 * of each page; both are held while a request is on its way to us. So this must never happen on a
 * thread that has a request to answer, nor on one that a request waits for: it has a thread of its
 * own, and a queue. A message that is gone and a lookup that still finds it need no order among
 * each other for the same reason: the lookup holds the directory's lock until its entry is there,
 * and the entry is forgotten after that.
 *
 * New names are announced from here, too, so that the kernel is never told to forget a name while
 * another is being made in the same directory (see herald.c); one at a time, and only when nothing
 * is to be forgotten.
 *
 * To forget attributes alone takes no such lock. That is done at once, because a reader of a file
 * that turned out longer than announced must see the new length before its read returns.
 */
#include "private.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

#include "herald.h"

/* How often a herald that is late is looked at. */
#define LATE_MS 100
/*
 * While a name is made the mount is in use, and `fusermount3 -u` says so. Many names are made with pauses that are much longer
 * than the making.
 */
#define AGAIN_MS   50 /* in which a lookup that had to let go comes again */
#define PACE_NAMES 8
#define PACE_MS    3

struct notice {
	struct list_node node;
	uint64_t inode; /* or the parent */
	char name[];    /* "": the inode itself */
};

static void notice_send(struct notify *notify, const struct notice *notice)
{
	/* An error says that the kernel does not know it, or is gone. */
	if (notice->name[0])
		fuse_lowlevel_notify_inval_entry(
			notify->session, notice->inode, notice->name, strlen(notice->name));
	else
		fuse_lowlevel_notify_inval_inode(notify->session, notice->inode, 0, 0);
}

static void drop_names(struct notify *notify)
{
	struct list_node *node;
	while ((node = list_pop(&notify->names)))
		free(container_of(node, struct notice, node));
	notify->name_count = 0;
}

static bool is_paced(const struct notify *notify)
{
	return notify->name_count > 0 && clock_now_ms() < notify->name_ms;
}

/* While messages are on their way a lookup may begin to wait at any moment: their names are announced afterwards. */
static bool is_expecting(struct notify *notify)
{
	notify->expecting = notify->account && sync_account_is_expecting(notify->account);
	return notify->expecting;
}

/* Lock held. NULL: there is none yet, the herald is late, or would have to wait for a lookup. */
static struct list_node *pop_name(struct notify *notify)
{
	bool ready = herald_ready(notify->herald);
	if (!herald_is_there(notify->herald))
		drop_names(notify);
	if (!ready || notify->held > 0 || list_empty(&notify->names) || is_paced(notify) ||
		is_expecting(notify))
		return NULL;
	if (notify->name_count > PACE_NAMES)
		notify->name_ms = clock_now_ms() + notify->pace_ms;
	notify->name_count--;
	notify->flooded = notify->flooded && notify->name_count > 0;
	return list_pop(&notify->names);
}

/* Lock held. */
static void wait_change(struct notify *notify)
{
	struct timespec until;
	bool late = herald_is_late(notify->herald);
	/* Not is_paced() again: the pause may be over by now, and nobody would say so. */
	bool paced = notify->name_count > 0 && notify->held <= 0;
	if (!late && !paced) {
		pthread_cond_wait(&notify->changed, &notify->lock);
		return;
	}
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += (late || notify->expecting ? LATE_MS : notify->pace_ms) * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_cond_timedwait(&notify->changed, &notify->lock, &until);
}

/* NULL: the thread is to end. *ret_name: it is to be announced, not forgotten. */
static struct notice *notice_next(struct notify *notify, bool *ret_name)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&notify->lock);
	notify->busy = notify->naming = false;
	pthread_cond_broadcast(&notify->changed);
	for (; !notify->ending; wait_change(notify)) {
		struct list_node *node = list_pop(&notify->queue);
		*ret_name = !node;
		if (!node)
			node = pop_name(notify);
		notify->busy = node;
		notify->naming = node && *ret_name;
		if (node)
			return container_of(node, struct notice, node);
	}
	return NULL;
}

static void *notify_main(void *arg)
{
	struct notify *notify = arg;
	struct notice *notice;
	bool name;
	while ((notice = notice_next(notify, &name))) {
		if (name)
			herald_announce(notify->herald, notice->inode, notice->name);
		else
			notice_send(notify, notice);
		free(notice);
	}
	return NULL;
}

static void drop_queue(struct notify *notify)
{
	struct list_node *node;
	while ((node = list_pop(&notify->queue)))
		free(container_of(node, struct notice, node));
	drop_names(notify);
}

/* Signals are for the thread that serves. */
static int thread_start(struct notify *notify)
{
	sigset_t all, old;
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	int r = pthread_create(&notify->thread, NULL, notify_main, notify);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	notify->running = r == 0;
	return -r;
}

int notify_init(struct notify *notify, struct fuse_session *session, struct fs_herald *herald)
{
	pthread_condattr_t monotonic;
	*notify = (struct notify){.session = session, .herald = herald, .pace_ms = PACE_MS};
	list_init(&notify->queue);
	list_init(&notify->names);
	pthread_mutex_init(&notify->lock, NULL);
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&notify->changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	return thread_start(notify);
}

void notify_finish(struct notify *notify)
{
	pthread_mutex_lock(&notify->lock);
	notify->ending = notify->quiet = true;
	pthread_cond_broadcast(&notify->changed);
	pthread_mutex_unlock(&notify->lock);
	if (notify->running)
		pthread_join(notify->thread, NULL);
	drop_queue(notify);
	pthread_cond_destroy(&notify->changed);
	pthread_mutex_destroy(&notify->lock);
}

void notify_quiesce(struct notify *notify, int timeout_ms)
{
	struct timespec until;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&notify->lock);
	notify->quiet = true;
	drop_queue(notify);
	while (notify->busy)
		if (pthread_cond_timedwait(&notify->changed, &notify->lock, &until) == ETIMEDOUT)
			break;
}

/* Several changes of one directory in a row are one. */
static bool is_repeated(const struct notify *notify, const struct notice *notice)
{
	if (list_empty(&notify->queue) || notice->name[0])
		return false;
	const struct notice *last = container_of(notify->queue.prev, struct notice, node);
	return last->inode == notice->inode && !last->name[0];
}

static struct notice *notice_create(uint64_t inode, const char *name)
{
	size_t name_size = strlen(name) + 1;
	struct notice *notice = malloc(sizeof(*notice) + name_size);
	if (!notice)
		return NULL;
	notice->inode = inode;
	memcpy(notice->name, name, name_size);
	return notice;
}

static void notify_push(struct notify *notify, uint64_t inode, const char *name)
{
	_cleanup_free_ struct notice *notice = notice_create(inode, name);
	if (!notice) {
		log_error("no memory: the kernel goes on showing something that has changed");
		return;
	}
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&notify->lock);
	if (notify->quiet || is_repeated(notify, notice))
		return;
	list_push(&notify->queue, &notice->node);
	notice = NULL;
	pthread_cond_signal(&notify->changed);
}

/* Takes notice. false: it is one too many, the first of this flood. */
static bool name_push(struct notify *notify, struct notice *notice)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&notify->lock);
	if (notify->quiet || notify->name_count >= NOTIFY_NAMES_MAX) {
		bool first = !notify->quiet && !notify->flooded;
		notify->flooded = true;
		free(notice);
		return !first;
	}
	list_push(&notify->names, &notice->node);
	notify->name_count++;
	pthread_cond_signal(&notify->changed);
	return true;
}

void notify_appeared(struct notify *notify, uint64_t parent, const char *name)
{
	struct notice *notice =
		herald_is_there(notify->herald) ? notice_create(parent, name) : NULL;
	if (notice && !name_push(notify, notice))
		log_info("too many new messages at once: inotify is not told of all of them");
}

bool notify_hold(struct notify *notify, int change)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&notify->lock);
	notify->held += change;
	if (notify->held <= 0 && !list_empty(&notify->names))
		pthread_cond_signal(&notify->changed);
	if (change < 0 || !notify->naming)
		return true;
	notify->name_ms = clock_now_ms() + AGAIN_MS;
	return false;
}

void notify_named(struct notify *notify)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&notify->lock);
	notify->naming = false;
}

void notify_attributes(struct notify *notify, uint64_t node)
{
	pthread_mutex_lock(&notify->lock);
	bool quiet = notify->quiet;
	pthread_mutex_unlock(&notify->lock);
	if (!quiet)
		fuse_lowlevel_notify_inval_inode(notify->session, node, -1, 0);
}

void notify_inode(struct notify *notify, uint64_t node)
{
	notify_push(notify, node, "");
}

void notify_entry(struct notify *notify, uint64_t parent, const char *name)
{
	notify_push(notify, parent, name);
}
