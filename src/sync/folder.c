/* SPDX-License-Identifier: MIT */
/*
 * A folder as the tree sees it: what it is, where its listing stands, and who waits for it. The listing itself
 * is made by the job in listing.c.
 */
#include "private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

static int copy_mailbox(struct sync_folder *folder, const struct source_mailbox *mailbox)
{
	folder->mailbox = *mailbox;
	folder->name = strdup(mailbox->name);
	if (mailbox->special_use)
		folder->special_use = strdup(mailbox->special_use);
	folder->mailbox.name = folder->name;
	folder->mailbox.special_use = folder->special_use;
	return !folder->name || (mailbox->special_use && !folder->special_use) ? -ENOMEM : 0;
}

int folder_create(struct sync_account *account, const struct source_mailbox *mailbox,
	struct sync_folder **ret)
{
	struct sync_folder *folder = calloc(1, sizeof(*folder));
	if (!folder)
		return -ENOMEM;
	if (copy_mailbox(folder, mailbox) < 0) {
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
	free(folder->name);
	free(folder->special_use);
	free(folder);
}

const struct source_mailbox *sync_folder_mailbox(const struct sync_folder *folder)
{
	return &folder->mailbox;
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
	return !(folder->mailbox.flags & SOURCE_MAILBOX_NOSELECT);
}

/* Whether the listing need not be looked at again yet; a maildrop's is kept current by those who store. Lock held. */
static bool is_current(const struct sync_folder *folder)
{
	if (folder->listing != SYNC_LISTING_WHOLE || folder->stale || folder->checked_ms < 0)
		return false;
	return folder->account->drop ||
	       clock_now_ms() - folder->checked_ms < folder->account->refresh_ms;
}

void folder_start_listing(struct sync_folder *folder)
{
	if (folder->listing_job.busy)
		return;
	if (folder->listing != SYNC_LISTING_WHOLE) {
		folder->listing = SYNC_LISTING_RUNNING;
		folder->listing_err = 0;
	}
	job_queue(folder->account, &folder->listing_job);
}

/* Lets waiter wait in list for the listing job, which is started if it does not run. Lock held. */
static int wait_for_listing(
	struct sync_folder *folder, struct list_node *list, struct sync_waiter *waiter)
{
	if (folder->account->stopping)
		return -EIO;
	waiter_add(folder->account, list, waiter);
	folder_start_listing(folder);
	return -EINPROGRESS;
}

int sync_folder_refresh(struct sync_folder *folder, struct sync_waiter *waiter)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	if (!holds_messages(folder) || is_current(folder))
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
