/* SPDX-License-Identifier: MIT */
/*
 * What is pinned is downloaded in the background. A folder has at most one run, which goes from message to message: it asks the store
 * which one is missing next, has its structure fetched (with those of the others), then its body, by the same jobs as for a reader.
 * Between messages, and within a large one, those jobs give way to whatever somebody waits for.
 *
 * Invariant: a run belongs to the thread that began it until a waiter is registered, then to the one that is woken. A message is tried
 * once in a run; what failed is tried again after the next listing. Without the server, or without room, a run ends: it begins again
 * when the folder is listed.
 */
#include "body.h"

#include <errno.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

#define COUNT_BATCH 256

static void pins_woken(struct sync_waiter *waiter, ssize_t result);

/* --- What is missing --- */

static int on_size(void *arg, const struct source_row *row)
{
	*(uint64_t *)arg = row->have & SOURCE_ROW_SIZE ? row->size_bytes : UINT64_MAX;
	return 0;
}

/* The size of a message as listed; UINT64_MAX: not known. */
static uint64_t listed_size(struct sync_folder *folder, uint32_t number, uint32_t uid)
{
	uint64_t size = UINT64_MAX;
	(void)store_row_get(folder->account->store, number, uid, on_size, &size);
	return size;
}

static uint64_t known_size(uint64_t size_bytes)
{
	return size_bytes == UINT64_MAX ? 0 : size_bytes;
}

/* The first message from `first` on that is pinned and not here; -ENOENT: there is none. */
static int find_missing(struct sync_folder *folder, uint32_t first, uint32_t *ret_uid)
{
	size_t count = 0;
	int err = store_pinned_missing(folder->account->store, folder->name, folder->pins.number,
		first, ret_uid, 1, &count);
	return err < 0 ? err : count > 0 ? 0 : -ENOENT;
}

/* How much there is to do, for who asks how far it is. */
static void count_missing(struct sync_folder *folder)
{
	struct pins *pins = &folder->pins;
	uint32_t uids[COUNT_BATCH], first = 1;
	uint64_t messages = 0, bytes = 0;
	size_t count = COUNT_BATCH;

	while (count == COUNT_BATCH && first != 0) {
		if (store_pinned_missing(folder->account->store, folder->name, pins->number, first,
			    uids, COUNT_BATCH, &count) < 0)
			break;
		for (size_t i = 0; i < count; i++)
			bytes += known_size(listed_size(folder, pins->number, uids[i]));
		messages += count;
		first = count ? uids[count - 1] + 1 : 0;
	}
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	if (messages > 0 && pins->messages_done >= pins->messages)
		pins->messages_done = pins->bytes_done = 0;
	pins->messages = pins->messages_done + messages;
	pins->bytes = pins->bytes_done + bytes;
}

/* --- A run --- */

/* false: another one goes on, and will look again. */
static bool begin_run(struct sync_folder *folder)
{
	struct pins *pins = &folder->pins;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	if (pins->running || folder->account->stopping || folder->state.folder == 0) {
		pins->again = pins->running;
		return false;
	}
	pins->running = true;
	pins->again = pins->failed = false;
	pins->uid = 0;
	pins->number = folder->state.folder;
	pins->looked = folder->state;
	pins->waiter = (struct sync_waiter){.wake = pins_woken, .deadline_ms = CLOCK_NEVER};
	return true;
}

/* complete: it has come to the end of the folder. true: there is another run to be done, which has begun. */
static bool end_run(struct sync_folder *folder, bool complete)
{
	struct pins *pins = &folder->pins;
	pthread_mutex_lock(&folder->account->lock);
	bool again = pins->again && complete;
	pins->running = false;
	pins->uid = 0;
	if (!complete || pins->failed)
		pins->looked = (struct store_mailbox){0};
	pthread_mutex_unlock(&folder->account->lock);
	if (!again || !begin_run(folder))
		return false;
	count_missing(folder);
	return true;
}

/* Whether the run may go on, in the same folder. */
static bool may_go_on(struct sync_folder *folder)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	return !folder->account->stopping && !folder->gone &&
	       folder->state.folder == folder->pins.number;
}

/* Chooses the next message; -ENOENT: there is none. */
static int next_message(struct sync_folder *folder)
{
	struct pins *pins = &folder->pins;
	uint32_t uid;
	if (!may_go_on(folder))
		return -ECANCELED;
	int err = pins->uid == UINT32_MAX ? -ENOENT : find_missing(folder, pins->uid + 1, &uid);
	if (err < 0)
		return err;
	pins->size_bytes = listed_size(folder, pins->number, uid);
	pins->step = PINS_NONE;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	pins->uid = uid;
	return 0;
}

/* Asks for what the message lacks next. -EINPROGRESS: the run goes on when the waiter is woken. */
static int fetch_next(struct sync_folder *folder)
{
	struct pins *pins = &folder->pins;
	int err = 0;
	if (pins->step == PINS_NONE) {
		pins->step = PINS_STRUCTURE;
		return structure_download(folder, pins->uid, &pins->waiter);
	}
	pins->step = PINS_BODY;
	if (!pins->body)
		err = sync_body_open(folder, pins->uid, "", NULL, pins->size_bytes, &pins->body);
	if (err == 0 && pins->body->number != pins->number)
		err = -ECANCELED;
	return err < 0 ? err : body_download(pins->body, &pins->waiter);
}

static bool has_connection(struct sync_account *account)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	for (unsigned i = 0; i < account->connections; i++)
		if (account->workers[i].session)
			return true;
	return false;
}

/* Whether an error says that no other message can be had either. */
static bool is_offline(struct sync_account *account, ssize_t err)
{
	switch (err) {
	case -EHOSTUNREACH:
	case -ENETUNREACH:
	case -ENETDOWN:
	case -EACCES:
		return true;
	case -ETIMEDOUT:
	case -EIO:
		return !has_connection(account);
	default:
		return false;
	}
}

static void tell_full(struct sync_folder *folder, int err)
{
	struct sync_account *account = folder->account;
	pthread_mutex_lock(&account->lock);
	bool told = account->pins_full_told;
	account->pins_full_told = true;
	pthread_mutex_unlock(&account->lock);
	if (!told)
		log_warning(
			"%s: what is pinned can not all be kept, from %s, message %u on: %s; %s, or unpin something (mailfsctl unpin)",
			account->name, folder->name, folder->pins.uid,
			err == -EDQUOT ? "the cache is full" : strerror(-err),
			err == -EDQUOT ? "raise cache_size=" : "make room on the disk");
}

static void note_done(struct sync_folder *folder)
{
	struct pins *pins = &folder->pins;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	pins->messages_done++;
	pins->bytes_done += known_size(pins->size_bytes);
}

/* A message that is not to be had any more, or not wanted. */
static void note_dropped(struct sync_folder *folder, bool look_again)
{
	struct pins *pins = &folder->pins;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	pins->messages -= pins->messages > pins->messages_done;
	uint64_t left = pins->bytes - pins->bytes_done, size = known_size(pins->size_bytes);
	pins->bytes -= size < left ? size : left;
	pins->again |= look_again;
}

/* What became of the body. false: the run is over. */
static bool take_body(struct sync_folder *folder, int err)
{
	struct pins *pins = &folder->pins;
	struct sync_body *body = steal_ptr(pins->body);
	if (body)
		sync_body_close(body);
	if (err == 0)
		note_done(folder);
	else if (err == -ENOENT || err == -ECANCELED)
		note_dropped(folder, err == -ECANCELED);
	else if (err == -EDQUOT || err == -ENOSPC)
		tell_full(folder, err);
	else
		pins->failed = true;
	return err != -EDQUOT && err != -ENOSPC && !is_offline(folder->account, err);
}

/* Takes the result of what was asked for last. A structure that can not be had does not keep the body away. */
static bool take_result(struct sync_folder *folder, int err, bool *ret_done)
{
	*ret_done = folder->pins.step == PINS_BODY || err == -ENOENT || err == -ECANCELED;
	if (*ret_done)
		return take_body(folder, err);
	return err == 0 || !is_offline(folder->account, err);
}

/* Goes on until a waiter is registered, or the run is over. done: with the message that was being fetched. */
static void run(struct sync_folder *folder, bool done)
{
	for (;;) {
		int err = done ? next_message(folder) : 0;
		if (err < 0 && end_run(folder, err == -ENOENT))
			continue;
		if (err < 0)
			return;
		err = fetch_next(folder);
		if (err == -EINPROGRESS)
			return;
		if (!take_result(folder, err, &done)) {
			end_run(folder, false);
			return;
		}
	}
}

static void pins_woken(struct sync_waiter *waiter, ssize_t result)
{
	struct sync_folder *folder = container_of(waiter, struct sync_folder, pins.waiter);
	bool done;
	if (take_result(folder, (int)result, &done))
		run(folder, done);
	else
		end_run(folder, false);
}

static void look_for_missing(struct sync_folder *folder)
{
	if (!begin_run(folder))
		return;
	count_missing(folder);
	run(folder, true);
}

/* --- When to look --- */

/* Whether the folder is as it was when a run found nothing missing, or left nothing. */
static bool is_looked_at(struct sync_folder *folder)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	const struct store_mailbox *now = &folder->state, *then = &folder->pins.looked;
	return !folder->pins.running && then->folder == now->folder &&
	       then->uidnext == now->uidnext && then->changed_s == now->changed_s;
}

static bool holds_messages(struct sync_folder *folder)
{
	if (sync_folder_mailbox(folder)->flags & SOURCE_MAILBOX_NOSELECT)
		return false;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	return !folder->gone;
}

static bool may_have_pins(struct sync_folder *folder)
{
	uint32_t number, uidvalidity;
	folder_identity(folder, &number, &uidvalidity);
	return holds_messages(folder) &&
	       store_pins_any(folder->account->store, folder->name, number);
}

void pins_folder_listed(struct sync_folder *folder)
{
	if (!folder->account->drop && !is_looked_at(folder) && may_have_pins(folder))
		look_for_missing(folder);
}

/* --- All folders, one after the other --- */

/* false: the walk is over. */
static bool next_folder(struct sync_account *account, struct sync_folder **ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	bool more = account->pins_at < account->folder_count && !account->stopping;
	if (more)
		*ret = account->folders[account->pins_at++];
	else
		account->pins_job.busy = false;
	return more;
}

/* The job is idle while the waiter is in use: who wakes it queues the job again. */
static void set_waiting(struct sync_account *account, bool waiting)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	account->pins_waiting = waiting;
	account->pins_job.busy = !waiting;
}

static void folder_refreshed(struct sync_waiter *waiter, ssize_t result)
{
	struct sync_account *account = container_of(waiter, struct sync_account, pins_waiter);
	if (result == 0)
		pins_folder_listed(account->pins_folder);
	bool offline = result < 0 && is_offline(account, result);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	account->pins_waiting = false;
	if (!offline && !account->stopping)
		job_queue(account, &account->pins_job);
}

/* Has each folder listed in which something may be pinned; what is missing is looked for when it is. */
static int pins_run(struct job *job, struct worker *worker)
{
	struct sync_account *account = worker->account;
	struct sync_folder *folder;
	(void)job;
	while (next_folder(account, &folder)) {
		if (!may_have_pins(folder))
			continue;
		account->pins_folder = folder;
		account->pins_waiter = (struct sync_waiter){
			.wake = folder_refreshed, .deadline_ms = CLOCK_NEVER, .background = true};
		set_waiting(account, true);
		int err = sync_folder_refresh(folder, &account->pins_waiter);
		if (err == -EINPROGRESS)
			return 0;
		set_waiting(account, false);
		if (err == 0)
			pins_folder_listed(folder);
	}
	return 0;
}

static void pins_fail(struct job *job, int err)
{
	struct sync_account *account = container_of(job, struct sync_account, pins_job);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	(void)err;
	account->pins_job.busy = false;
}

void sync_pins_start(struct sync_account *account)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	struct job *job = &account->pins_job;
	if (account->drop || account->stopping)
		return;
	account->pins_at = 0;
	if (job->busy || account->pins_waiting)
		return;
	*job = (struct job){.class = JOB_BACKGROUND, .run = pins_run, .fail = pins_fail};
	list_init(&job->node);
	job_queue(account, job);
}

/* --- For who pins --- */

/* Whether the folder's rows are all known, so that nothing need be asked first. */
static bool start_listing(struct sync_folder *folder)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	if (folder->listing == SYNC_LISTING_WHOLE || folder->account->stopping)
		return false;
	folder_start_listing(folder);
	return true;
}

static void pin(struct sync_folder *folder, uint32_t uid)
{
	if (holds_messages(folder) && (uid || !start_listing(folder)))
		look_for_missing(folder);
}

/* What is being fetched and is not pinned any more is given up. */
static void unpin(struct sync_folder *folder)
{
	struct sync_account *account = folder->account;
	struct pins *pins = &folder->pins;
	pthread_mutex_lock(&account->lock);
	uint32_t uid = pins->running ? pins->uid : 0, number = pins->number;
	pins->again |= pins->running;
	if (!pins->running)
		pins->messages = pins->messages_done = pins->bytes = pins->bytes_done = 0;
	pthread_mutex_unlock(&account->lock);
	if (uid && !store_is_pinned(account->store, folder->name, number, uid) &&
		sync_waiter_cancel(account, &pins->waiter))
		pins_woken(&pins->waiter, -ECANCELED);
}

int sync_pin(struct sync_folder *folder, uint32_t uid, bool pinned)
{
	struct sync_account *account = folder->account;
	uint32_t number, uidvalidity;
	uint64_t size;
	if (account->drop)
		return 0;
	folder_identity(folder, &number, &uidvalidity);
	int err = uid == 0 ? 0 : store_row_get(account->store, number, uid, on_size, &size);
	if (err == 0)
		err = uid ? store_pin_message(account->store, number, uid, pinned)
		          : store_pin_mailbox(account->store, folder->name, pinned);
	if (err < 0)
		return err;
	pthread_mutex_lock(&account->lock);
	folder->pins.looked = (struct store_mailbox){0};
	account->pins_full_told = false;
	pthread_mutex_unlock(&account->lock);
	if (pinned)
		pin(folder, uid);
	else
		unpin(folder);
	return 0;
}

void pins_progress(struct sync_account *account, struct sync_progress *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	*ret = (struct sync_progress){0};
	bool running = account->pins_job.busy || account->pins_waiting;
	for (size_t i = 0; i < account->folder_count; i++) {
		const struct pins *pins = &account->folders[i]->pins;
		ret->messages += pins->messages_done;
		ret->messages_total += pins->messages;
		ret->bytes += pins->bytes_done;
		ret->bytes_total += pins->bytes;
		running |= pins->running;
	}
	ret->done = !running && ret->messages == ret->messages_total;
}
