/* SPDX-License-Identifier: MIT */
/*
 * A folder as the tree sees it: what it is, where its listing stands, who waits for it, and when it is to be listed again. The listing
 * itself is made by the job in listing.c.
 */
#include "body.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"

#define WATCHED_MS (5 * 60 * 1000)
/* Others may read each that a folder had: so many are kept, of a server that never gives the same twice. */
#define ATTRIBUTES_MAX 16

static void attributes_destroy(struct folder_attributes *attributes)
{
	while (attributes) {
		struct folder_attributes *former = attributes->former;
		free(attributes->special_use);
		free(attributes);
		attributes = former;
	}
}

/* NULL: no memory. */
static struct folder_attributes *attributes_create(
	const struct source_mailbox *mailbox, const char *name)
{
	struct folder_attributes *attributes = calloc(1, sizeof(*attributes));
	if (!attributes)
		return NULL;
	attributes->mailbox = *mailbox;
	attributes->mailbox.name = name;
	if (mailbox->special_use)
		attributes->special_use = strdup(mailbox->special_use);
	attributes->mailbox.special_use = attributes->special_use;
	if (!mailbox->special_use || attributes->special_use)
		return attributes;
	free(attributes);
	return NULL;
}

static int name_folder(struct sync_folder *folder, const struct source_mailbox *mailbox)
{
	folder->name = strdup(mailbox->name);
	if (!folder->name)
		return -ENOMEM;
	folder->said = attributes_create(mailbox, folder->name);
	folder->attributes = folder->said;
	return folder->said ? 0 : -ENOMEM;
}

int folder_create(struct sync_account *account, const struct source_mailbox *mailbox,
	struct sync_folder **ret)
{
	struct sync_folder *folder = calloc(1, sizeof(*folder));
	if (!folder)
		return -ENOMEM;
	if (name_folder(folder, mailbox) < 0) {
		folder_destroy(folder);
		return -ENOMEM;
	}
	folder->account = account;
	folder->checked_ms = -1;
	folder->watched_ms = -1;
	list_init(&folder->refreshers);
	list_init(&folder->watchers);
	list_init(&folder->structure_waiters);
	listing_job_init(folder);
	structure_job_init(folder);
	*ret = folder;
	return 0;
}

void folder_destroy(struct sync_folder *folder)
{
	attributes_destroy(folder->said);
	uid_ranges_finish(&folder->ghosts);
	free(folder->name);
	free(folder);
}

const struct source_mailbox *sync_folder_mailbox(const struct sync_folder *folder)
{
	return &atomic_load(&folder->attributes)->mailbox;
}

static bool same_text(const char *a, const char *b)
{
	return a && b ? strcmp(a, b) == 0 : a == b;
}

static bool same_mailbox(const struct source_mailbox *a, const struct source_mailbox *b)
{
	return a->flags == b->flags && a->delimiter == b->delimiter &&
	       same_text(a->special_use, b->special_use);
}

/* The attributes that are these, from before or made; *ret NULL: there were too many before. */
static int attributes_find(struct sync_folder *folder, const struct source_mailbox *mailbox,
	struct folder_attributes **ret)
{
	unsigned count = 0;
	struct folder_attributes *found = folder->said;
	for (; found && !same_mailbox(&found->mailbox, mailbox); found = found->former)
		count++;
	*ret = found;
	if (found || count >= ATTRIBUTES_MAX)
		return 0;
	*ret = attributes_create(mailbox, folder->name);
	if (!*ret)
		return -ENOMEM;
	(*ret)->former = folder->said;
	folder->said = *ret;
	return 0;
}

int folder_describe(struct sync_folder *folder, const struct source_mailbox *mailbox)
{
	struct folder_attributes *attributes;
	if (same_mailbox(sync_folder_mailbox(folder), mailbox))
		return false;
	int err = attributes_find(folder, mailbox, &attributes);
	if (err < 0 || !attributes)
		return err;
	atomic_store(&folder->attributes, attributes);
	return true;
}

bool sync_folder_is_gone(const struct sync_folder *folder)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	return folder->gone;
}

bool folder_is_inbox(const struct sync_folder *folder)
{
	return strcasecmp(folder->name, "INBOX") == 0;
}

uint32_t sync_folder_directory_number(const struct sync_folder *folder)
{
	return folder->directory_number;
}

void sync_folder_state(struct sync_folder *folder, struct store_mailbox *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	*ret = folder->state;
	folder->time_told = true;
}

void sync_folder_set_data(struct sync_folder *folder, void *data)
{
	atomic_store(&folder->data, data);
}

void *sync_folder_data(const struct sync_folder *folder)
{
	return atomic_load(&folder->data);
}

void folder_identity(struct sync_folder *folder, uint32_t *ret_number, uint32_t *ret_uidvalidity)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	*ret_number = folder->state.folder;
	*ret_uidvalidity = folder->state.uidvalidity;
}

void folder_mark_stale(struct sync_folder *folder)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	folder->stale = true;
}

/* Marks that a message is gone; false: the folder has another identity by now. */
static bool mark_gone(struct sync_folder *folder, uint32_t number)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	folder->stale = true;
	if (folder->state.folder != number)
		return false;
	folder->touched = true;
	return true;
}

/* Tells before it removes: a listing that finds the row missing, and the message there, announces it again after that. */
static void forget_message(struct sync_folder *folder, uint32_t number, uint32_t uid)
{
	struct sync_account *account = folder->account;
	if (!mark_gone(folder, number))
		return;
	account->events.gone(account->events.arg, folder, &uid, 1);
	int err = store_rows_remove(account->store, number, &uid, 1);
	if (err < 0)
		log_warning("%s: message %u is gone, but stays in the store: %s", folder->name, uid,
			strerror(-err));
}

struct probe {
	uint32_t uid;
	bool listed;
};

static int on_probe_row(void *arg, const struct source_row *row)
{
	struct probe *probe = arg;
	probe->listed |= row->uid == probe->uid;
	return 0;
}

static int call_probe(struct worker *worker, void *arg, struct source_error *error)
{
	struct probe *probe = arg;
	unsigned skipped;
	return worker->account->source->ops->rows(worker->session, probe->uid, probe->uid,
		SOURCE_COLUMNS_UID, on_probe_row, probe, &skipped, error);
}

int folder_message_missing(struct sync_folder *folder, struct worker *worker, uint32_t number,
	uint32_t uidvalidity, uint32_t uid)
{
	struct probe probe = {.uid = uid};
	struct source_error error;
	if (folder->account->drop)
		return -EIO;
	int err = session_call(worker, folder, uidvalidity, call_probe, &probe, &error);
	if (err == 0 && probe.listed) {
		log_warning("%s: message %u: the server lists it, but does not give it",
			folder->name, uid);
		return -EIO;
	}
	if (err < 0)
		return err;
	forget_message(folder, number, uid);
	return -ENOENT;
}

int64_t changed_after(int64_t changed_s)
{
	int64_t now = clock_wall_s();
	return now > changed_s ? now : changed_s + 1;
}

static bool holds_messages(const struct sync_folder *folder)
{
	return !(sync_folder_mailbox(folder)->flags & SOURCE_MAILBOX_NOSELECT);
}

bool folder_is_shown(const struct sync_folder *folder)
{
	return folder->listing != SYNC_LISTING_NONE;
}

/*
 * How long a watch is taken at its word: servers lose some of what they should tell (Dovecot's NOTIFY does), and a look at a folder in which nothing
 * changed costs some hundred bytes. refresh=0 asks each time.
 */
static int64_t trusted_ms(const struct sync_folder *folder)
{
	int64_t refresh_ms = folder->account->refresh_ms;
	quirk_heeded(QUIRK_WATCH_SILENT);
	bool watched = folder->watched_ms >= 0 && folder->checked_ms >= folder->watched_ms;
	return watched && refresh_ms > 0 && refresh_ms < WATCHED_MS ? WATCHED_MS : refresh_ms;
}

/*
 * Whether the listing need not be looked at again yet: a maildrop's is kept current by those who store, a watched one by the watch, and nothing
 * better can be had while there is no server. Lock held.
 */
static bool is_current(const struct sync_folder *folder)
{
	const struct sync_account *account = folder->account;
	if (folder->listing != SYNC_LISTING_WHOLE)
		return false;
	if (account->link.state == SYNC_LINK_OFFLINE)
		return true;
	if (folder->stale || folder->dirty || folder->checked_ms < 0)
		return false;
	return account->drop || clock_now_ms() - folder->checked_ms < trusted_ms(folder);
}

static void start_listing(struct sync_folder *folder, bool patient)
{
	if (folder->listing_job.busy || folder->gone)
		return;
	if (folder->arrival != FOLDER_HERE) {
		folder->arrival = FOLDER_AWAITED;
		return;
	}
	folder->listing_job.patient = patient;
	if (folder->listing != SYNC_LISTING_WHOLE) {
		folder->listing = SYNC_LISTING_RUNNING;
		folder->listing_err = 0;
	}
	job_queue(folder->account, &folder->listing_job);
}

void folder_start_listing(struct sync_folder *folder)
{
	start_listing(folder, false);
}

void folder_poll(struct sync_folder *folder)
{
	start_listing(folder, true);
}

void folder_placed(struct sync_folder *folder)
{
	struct list_node done;
	list_init(&done);
	pthread_mutex_lock(&folder->account->lock);
	bool awaited = folder->arrival == FOLDER_AWAITED;
	folder->arrival = FOLDER_HERE;
	if (awaited && !folder->account->stopping) {
		start_listing(folder, false);
	} else if (awaited) {
		waiter_take_all(&folder->refreshers, -EIO, &done);
		waiter_take_all(&folder->watchers, -EIO, &done);
	}
	pthread_mutex_unlock(&folder->account->lock);
	waiter_wake_all(&done);
}

/* Nobody hears of a listing before the events are set, nor while the server is away. Lock held. */
static bool may_list(const struct sync_folder *folder)
{
	const struct sync_account *account = folder->account;
	return !folder->gone && !account->stopping && account->events.rows &&
	       account->link.state != SYNC_LINK_OFFLINE && holds_messages(folder);
}

void folder_news(struct sync_folder *folder)
{
	struct sync_account *account = folder->account;
	uint32_t number;
	pthread_mutex_lock(&account->lock);
	folder->dirty = true;
	bool shown = folder_is_shown(folder);
	if (shown && may_list(folder))
		folder_start_listing(folder);
	number = folder->state.folder;
	pthread_mutex_unlock(&account->lock);
	if (shown || !store_is_pinned(account->store, folder->name, number, 0))
		return;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	if (may_list(folder))
		folder_start_listing(folder);
}

void folders_news(struct sync_account *account, bool all)
{
	int64_t since = clock_now_ms() - SYNC_RECENT_MS;
	for (size_t i = 0; i < account->folder_count; i++) {
		struct sync_folder *folder = account->folders[i];
		if (!folder_is_shown(folder))
			continue;
		folder->dirty = true;
		bool recent = folder->used_ms && folder->used_ms >= since;
		if ((all || recent || folder_is_inbox(folder)) && may_list(folder))
			folder_start_listing(folder);
	}
}

void folder_listing_ended(struct sync_folder *folder, int err)
{
	/* The worker that calls this is free in a moment, and the best one; another would have to connect. */
	if (err == 0 && folder->dirty && may_list(folder))
		start_listing(folder, true);
	else if (err < 0 && folder->watched_ms >= 0)
		watch_retry(folder->account);
}

void folder_bury(struct sync_folder *folder)
{
	struct list_node done;
	list_init(&done);
	pthread_mutex_lock(&folder->account->lock);
	folder->gone = true;
	folder->watched_ms = -1;
	waiter_take_all(&folder->refreshers, -ENOENT, &done);
	waiter_take_all(&folder->watchers, -ENOENT, &done);
	waiter_take_all(&folder->structure_waiters, -ENOENT, &done);
	pthread_mutex_unlock(&folder->account->lock);
	waiter_wake_all(&done);
}

static bool has_bodies(const struct sync_folder *folder)
{
	struct sync_account *account = folder->account;
	struct list_node *pos, *tmp;
	for (size_t i = 0; i < SYNC_BODY_BUCKETS; i++) {
		list_for_each(pos, tmp, &account->bodies[i])
		{
			if (container_of(pos, struct sync_body, link)->folder == folder)
				return true;
		}
	}
	return false;
}

/* A session that has it selected, or watches it, knows the mailbox that it was. */
static bool has_sessions(const struct sync_folder *folder)
{
	const struct sync_account *account = folder->account;
	for (size_t i = 0; i < SYNC_CONNECTIONS_MAX; i++)
		if (account->workers[i].selected == folder)
			return true;
	for (size_t i = 0; i < WATCHERS_MAX; i++)
		if (account->watch.watchers[i].target == folder)
			return true;
	return false;
}

/* Whether what was begun with it has not ended. Lock held. */
static bool is_in_use(struct sync_folder *folder)
{
	return folder->listing_job.busy || folder->structure_job.busy || folder->pins.running ||
	       (folder->account->pins_waiting && folder->account->pins_folder == folder) ||
	       !list_empty(&folder->refreshers) || !list_empty(&folder->watchers) ||
	       !list_empty(&folder->structure_waiters) || has_sessions(folder) ||
	       has_bodies(folder);
}

/* Nothing of what was found out about it holds. Lock held. */
static void begin_anew(struct sync_folder *folder)
{
	folder->listing = SYNC_LISTING_NONE;
	folder->listing_err = 0;
	folder->seen++;
	folder->checked_ms = folder->watched_ms = -1;
	folder->stale = folder->touched = folder->time_told = folder->dirty = false;
	folder->announced = folder->doubted_messages = 0;
	folder->doubted_listed = folder->ghosts.count = folder->excess = 0;
	folder->used_ms = folder->walk_ms = 0;
	folder->missed = folder->walk_uid = 0;
	folder->walking = folder->disowned = false;
	folder->pins = (struct pins){0};
	atomic_store(&folder->uid_gap, 0);
	folder->arrival = FOLDER_ARRIVING;
	folder->gone = false;
}

int folder_revive(struct sync_folder *folder, const struct sync_folder *fresh)
{
	pthread_mutex_lock(&folder->account->lock);
	bool in_use = is_in_use(folder);
	pthread_mutex_unlock(&folder->account->lock);
	int err = in_use ? -EBUSY : folder_describe(folder, sync_folder_mailbox(fresh));
	if (err < 0)
		return err;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	if (is_in_use(folder))
		return -EBUSY;
	folder->state = fresh->state;
	begin_anew(folder);
	watch_arrived(folder);
	return 0;
}

/* Lets waiter wait in list for the listing job, which is started if it does not run. Lock held. */
static int wait_for_listing(
	struct sync_folder *folder, struct list_node *list, struct sync_waiter *waiter)
{
	if (folder->account->stopping)
		return -EIO;
	if (folder->gone)
		return -ENOENT;
	waiter_add(folder->account, list, waiter);
	waiter->lenient = folder->listing == SYNC_LISTING_WHOLE;
	folder_start_listing(folder);
	/* One that waits for a connected worker has somebody to hurry for now. */
	if (folder->listing_job.patient) {
		folder->listing_job.patient = false;
		job_dispatch(folder->account);
	}
	return -EINPROGRESS;
}

int sync_folder_refresh(struct sync_folder *folder, struct sync_waiter *waiter)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	if (!holds_messages(folder))
		return 0;
	if (!waiter->background)
		watch_used(folder);
	if (!folder->gone && is_current(folder))
		return 0;
	return wait_for_listing(folder, &folder->refreshers, waiter);
}

int sync_folder_wait(struct sync_folder *folder, uint64_t seen, struct sync_waiter *waiter)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	if (!holds_messages(folder) || folder->seen != seen ||
		folder->listing == SYNC_LISTING_WHOLE)
		return 0;
	return wait_for_listing(folder, &folder->watchers, waiter);
}

enum sync_listing sync_folder_progress(struct sync_folder *folder, uint64_t *ret_seen, int *ret_err)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	*ret_seen = folder->seen;
	*ret_err = folder->listing_err;
	return holds_messages(folder) ? folder->listing : SYNC_LISTING_WHOLE;
}
