/* SPDX-License-Identifier: MIT */
/*
 * Invalidation. To forget an entry the kernel takes the lock of its directory, to forget pages that
 * of each page; both are held while a request is on its way to us. So this must never happen on a
 * thread that has a request to answer, nor on one that a request waits for: it has a thread of its
 * own, and a queue. A message that is gone and a lookup that still finds it need no order among
 * each other for the same reason: the lookup holds the directory's lock until its entry is there,
 * and the entry is forgotten after that.
 *
 * Names that come and go are announced from here, too, so that the kernel is never told to forget a
 * name while another is being made in the same directory (see herald.c); one at a time, in their
 * order, and only when nothing is to be forgotten. So what is announced as gone is forgotten by
 * then. Two that take each other back are dropped while they wait; if the first was on its way and
 * found that it is not true any more, the second is dropped, too.
 *
 * To forget attributes alone takes no such lock. That is done at once, because a reader of a file
 * that turned out longer than announced must see the new length before its read returns.
 */
#include "private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "mailfs/util/thread.h"

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
/* On a busy machine the making takes long, too. So each name is followed by a pause of so many times that, which ends at PAUSE_MS_MAX. */
#define PAUSE_TIMES  2
#define PAUSE_MS_MAX 20

struct notice {
	struct list_node node;
	uint64_t inode; /* or the parent */
	/* of what is announced */
	enum herald_kind kind;
	uint64_t what;
	char name[]; /* "": the inode itself */
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
	notify->name_count = notify->gone_count = 0;
	free(steal_ptr(notify->unpaired));
}

static void take_name(struct notify *notify, struct notice *notice)
{
	list_remove(&notice->node);
	notify->name_count--;
	notify->gone_count -= herald_is_gone(notice->kind) ? 1 : 0;
	notify->flooded = notify->flooded && notify->name_count > 0;
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

/* Directories fall into classes, so that counting needs no memory; two in one class wait for each other at times. */
static int *held_of(struct notify *notify, uint64_t directory)
{
	return &notify->held[(directory ^ directory >> 32 ^ directory >> 38) % NOTIFY_HELD];
}

/* The first name; NULL: there is none, or what it takes the lock of is held. */
static struct notice *first_name(struct notify *notify)
{
	if (list_empty(&notify->names))
		return NULL;
	struct notice *notice = container_of(notify->names.next, struct notice, node);
	bool held = *held_of(notify, notice->inode) > 0 ||
	            (notice->what && *held_of(notify, notice->what) > 0);
	return held ? NULL : notice;
}

/* Lock held. NULL: there is none yet, the herald is late, or would have to wait for a request. */
static struct notice *pop_name(struct notify *notify)
{
	bool ready = herald_ready(notify->herald);
	if (!herald_is_there(notify->herald))
		drop_names(notify);
	struct notice *notice = ready ? first_name(notify) : NULL;
	if (!notice || is_paced(notify) || is_expecting(notify))
		return NULL;
	take_name(notify, notice);
	notify->naming = true;
	notify->naming_parent = notice->inode;
	notify->naming_node = notice->what;
	return notice;
}

/* Lock held. */
static void wait_change(struct notify *notify)
{
	struct timespec until;
	bool late = herald_is_late(notify->herald);
	/* Not is_paced() again: the pause may be over by now, and nobody would say so. */
	bool paced = first_name(notify);
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
		struct notice *notice =
			node ? container_of(node, struct notice, node) : pop_name(notify);
		notify->busy = notice;
		if (notice)
			return notice;
	}
	return NULL;
}

static bool is_opposite(const struct notice *a, const struct notice *b)
{
	return a->inode == b->inode &&
	       herald_is_directory(a->kind) == herald_is_directory(b->kind) &&
	       herald_is_gone(a->kind) != herald_is_gone(b->kind) && strcmp(a->name, b->name) == 0;
}

/* The last that waits and is taken back by notice; NULL. Lock held. */
static struct notice *find_opposite(struct notify *notify, const struct notice *notice)
{
	size_t others = herald_is_gone(notice->kind) ? notify->name_count - notify->gone_count
	                                             : notify->gone_count;
	if (others == 0)
		return NULL;
	for (struct list_node *pos = notify->names.prev; pos != &notify->names; pos = pos->prev) {
		struct notice *other = container_of(pos, struct notice, node);
		if (is_opposite(notice, other))
			return other;
	}
	return NULL;
}

/* Takes notice, which was not announced, because it is not true any more: its opposite is not to be either. */
static void leave_unpaired(struct notify *notify, struct notice *notice)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&notify->lock);
	struct notice *other = find_opposite(notify, notice);
	if (other) {
		take_name(notify, other);
		free(other);
		free(notice);
		return;
	}
	free(notify->unpaired);
	notify->unpaired = notice;
}

/* After a name that took so long. */
static void pause_names(struct notify *notify, int64_t took_ms)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&notify->lock);
	int64_t pause_ms = took_ms * PAUSE_TIMES;
	if (pause_ms > PAUSE_MS_MAX)
		pause_ms = PAUSE_MS_MAX;
	if (notify->name_count >= PACE_NAMES && pause_ms < notify->pace_ms)
		pause_ms = notify->pace_ms;
	int64_t until_ms = clock_now_ms() + pause_ms;
	if (notify->name_ms < until_ms)
		notify->name_ms = until_ms;
}

/* Takes notice. */
static void announce(struct notify *notify, struct notice *notice)
{
	const struct herald_event event = {notice->kind, notice->inode, notice->what, notice->name};
	int64_t begun_ms = clock_now_ms();
	int r = herald_announce(notify->herald, &event);
	pause_names(notify, clock_now_ms() - begun_ms);
	if (r == -ENOENT)
		leave_unpaired(notify, notice);
	else
		free(notice);
}

static void *notify_main(void *arg)
{
	struct notify *notify = arg;
	struct notice *notice;
	bool name;
	while ((notice = notice_next(notify, &name))) {
		if (name) {
			announce(notify, notice);
			continue;
		}
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

int notify_init(struct notify *notify, struct fuse_session *session, struct fs_herald *herald)
{
	*notify = (struct notify){.session = session, .herald = herald, .pace_ms = PACE_MS};
	list_init(&notify->queue);
	list_init(&notify->names);
	pthread_mutex_init(&notify->lock, NULL);
	cond_init_monotonic(&notify->changed);
	int r = thread_start(&notify->thread, notify_main, notify);
	notify->running = r == 0;
	return r;
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
	struct notice *notice = calloc(1, sizeof(*notice) + name_size);
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

/* Whether notice takes back one that waits, or could not be announced: neither is told. Lock held. */
static bool cancel(struct notify *notify, const struct notice *notice)
{
	struct notice *other = find_opposite(notify, notice);
	if (other) {
		take_name(notify, other);
		free(other);
		return true;
	}
	bool pair = notify->unpaired && is_opposite(notice, notify->unpaired);
	if (pair)
		free(steal_ptr(notify->unpaired));
	return pair;
}

/* Takes notice. false: it is one too many, the first of this flood. */
static bool name_push(struct notify *notify, struct notice *notice)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&notify->lock);
	if (!notify->quiet && cancel(notify, notice)) {
		free(notice);
		return true;
	}
	if (notify->quiet || notify->name_count >= NOTIFY_NAMES_MAX) {
		bool first = !notify->quiet && !notify->flooded;
		notify->flooded = true;
		free(notice);
		return !first;
	}
	list_push(&notify->names, &notice->node);
	notify->name_count++;
	notify->gone_count += herald_is_gone(notice->kind) ? 1 : 0;
	pthread_cond_signal(&notify->changed);
	return true;
}

void notify_event(struct notify *notify, const struct herald_event *event)
{
	struct notice *notice =
		herald_is_there(notify->herald) ? notice_create(event->parent, event->name) : NULL;
	if (!notice)
		return;
	notice->kind = event->kind;
	notice->what = herald_is_gone(event->kind) ? event->node : 0;
	if (!name_push(notify, notice))
		log_info("too many changes at once: inotify is not told of all of them");
}

bool notify_hold(struct notify *notify, uint64_t directory, int change)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&notify->lock);
	int *held = held_of(notify, directory);
	*held += change;
	if (*held <= 0 && !list_empty(&notify->names))
		pthread_cond_signal(&notify->changed);
	bool meets = notify->naming && (held == held_of(notify, notify->naming_parent) ||
					       held == held_of(notify, notify->naming_node));
	if (change < 0 || !meets)
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
