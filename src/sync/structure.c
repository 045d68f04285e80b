/* SPDX-License-Identifier: MIT */
/*
 * Structures of messages. They go into the store, where the tree reads them. Whoever asks for a second message
 * of a folder soon after the first is walking it: the structures of the messages that follow are then fetched
 * in the same command. Who asks in the background gets those of all that is pinned and not here.
 *
 * A folder has one such job; it serves its waiters message by message, in the order in which they came. In a
 * waiter, offset is the UID.
 */
#include "body.h"

#include <errno.h>
#include <stdlib.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

#define BATCH_MAX 500
#define WALK_MS   5000

struct ask {
	struct sync_folder *folder;
	uint32_t number, uidvalidity;
	uint32_t uid; /* of the first waiter */
	bool walking, background;
	uint32_t uids[BATCH_MAX]; /* ascending: what is asked for in one command */
	size_t count;
	bool answered; /* uid was */
	bool unknown;  /* … and the server's structure of it can not be understood */
	int put_err;
};

/* --- What is stored --- */

/* Whether a stored structure tells where the parts lie: a maildrop's must, or the message is walked again. */
static bool is_located(struct sync_account *account, uint64_t id, const struct str *data)
{
	struct mime_part *part;
	if (mime_part_parse(str_cstr(data), data->len, &part) < 0)
		return false;
	bool located = part->located;
	if (located)
		mime_kept_put(&account->structure, id, part);
	else
		mime_part_destroy(part);
	return located;
}

/* Whether the store has a structure that serves; an error of the store. */
static int is_stored(struct sync_folder *folder, uint32_t number, uint32_t uid, bool *ret)
{
	_cleanup_str_ struct str structure = STR_INIT;
	struct sync_account *account = folder->account;
	uint64_t id = message_id(number, uid);
	*ret = mime_kept_has(&account->structure, id);
	if (*ret)
		return 0;
	int err = store_structure_get(account->store, number, uid, &structure);
	*ret = err == 0 && (!account->drop || is_located(account, id, &structure));
	return err == -ENOENT ? 0 : err;
}

/* --- Asking the server --- */

static int compare_uids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return (x > y) - (x < y);
}

static bool is_asked_for(const struct ask *ask, uint32_t uid)
{
	return bsearch(&uid, ask->uids, ask->count, sizeof(uid), compare_uids) != NULL;
}

static int on_structure(void *arg, uint32_t uid, const struct mime_part *structure)
{
	struct ask *ask = arg;
	_cleanup_str_ struct str data = STR_INIT;
	int err = 0;

	if (!is_asked_for(ask, uid))
		return 0;
	if (structure)
		err = mime_part_serialize(structure, &data);
	if (err == 0)
		err = store_structure_put(ask->folder->account->store, ask->number, uid,
			structure ? data.data : NULL, data.len);
	if (uid == ask->uid && err == 0) {
		ask->answered = true;
		ask->unknown = !structure;
	}
	return ask->put_err = err;
}

static int call_structures(struct worker *worker, void *arg, struct source_error *error)
{
	struct ask *ask = arg;
	if (ask->put_err < 0)
		return session_fail(
			error, SOURCE_SCOPE_MESSAGE, ask->put_err, "a structure can not be stored");
	int err = worker->account->source->ops->structures(
		worker->session, ask->uids, ask->count, on_structure, ask, error);
	if (err < 0 || ask->answered)
		return err;
	return session_fail(error, SOURCE_SCOPE_MESSAGE, -ENOENT, "the server has no such message");
}

/* Adds those that others wait for. Lock held. */
static void add_waiting(struct ask *ask)
{
	struct list_node *pos, *tmp;
	list_for_each(pos, tmp, &ask->folder->structure_waiters)
	{
		uint32_t uid = (uint32_t)container_of(pos, struct sync_waiter, node)->offset;
		if (ask->count < BATCH_MAX && uid != ask->uid)
			ask->uids[ask->count++] = uid;
	}
}

/* Adds the messages that are pinned and not here, and whose structure is not either. */
static void add_pinned(struct ask *ask)
{
	struct sync_folder *folder = ask->folder;
	uint32_t uids[BATCH_MAX];
	size_t count = 0;
	if (store_pinned_missing(folder->account->store, folder->name, ask->number, ask->uid, uids,
		    BATCH_MAX, &count) < 0)
		return;
	for (size_t i = 0; i < count && ask->count < BATCH_MAX; i++) {
		bool stored = false;
		if (is_stored(folder, ask->number, uids[i], &stored) == 0 && !stored)
			ask->uids[ask->count++] = uids[i];
	}
}

/* Chooses what one command asks for: the message, what others wait for, and for a walker what comes next. */
static void choose_batch(struct ask *ask)
{
	struct sync_account *account = ask->folder->account;
	size_t more = 0, kept = 0;

	ask->uids[0] = ask->uid;
	ask->count = 1;
	pthread_mutex_lock(&account->lock);
	add_waiting(ask);
	pthread_mutex_unlock(&account->lock);
	if (ask->walking && ask->count < BATCH_MAX &&
		store_structures_missing(account->store, ask->number, ask->uid,
			ask->uids + ask->count, BATCH_MAX - ask->count, &more) == 0)
		ask->count += more;
	if (ask->background)
		add_pinned(ask);
	qsort(ask->uids, ask->count, sizeof(*ask->uids), compare_uids);
	for (size_t i = 0; i < ask->count; i++)
		if (kept == 0 || ask->uids[kept - 1] != ask->uids[i])
			ask->uids[kept++] = ask->uids[i];
	ask->count = kept;
}

static int call_once(struct ask *ask, struct worker *worker, struct source_error *error)
{
	ask->answered = false;
	ask->put_err = 0;
	int err = session_call(worker, ask->folder, ask->uidvalidity, call_structures, ask, error);
	return ask->put_err < 0 ? ask->put_err : err;
}

/* Fetches and stores the structure; when the neighbours spoil it, alone. */
static int fetch_structure(struct ask *ask, struct worker *worker)
{
	struct source_error error;
	choose_batch(ask);
	int err = call_once(ask, worker, &error);
	if (err < 0 && ask->count > 1 && !ask->answered && ask->put_err == 0 &&
		!worker->unreachable) {
		ask->uids[0] = ask->uid;
		ask->count = 1;
		err = call_once(ask, worker, &error);
	}
	if (err == -ENOENT && error.scope == SOURCE_SCOPE_MESSAGE)
		err = folder_message_missing(
			ask->folder, worker, ask->number, ask->uidvalidity, ask->uid);
	else if (err < 0 && error.scope < SOURCE_SCOPE_ACCOUNT)
		log_warning(
			"%s: structure of message %u: %s", ask->folder->name, ask->uid, error.text);
	return err;
}

/* The server does not tell, or not so that it is understood, but the message is here whole: its bytes do. */
static int find_here(const struct ask *ask)
{
	_cleanup_str_ struct str data = STR_INIT;
	struct mime_part *structure;
	int err = carve_structure(ask->folder, ask->uid, &structure);
	if (err < 0)
		return err;
	err = mime_part_serialize(structure, &data);
	mime_part_destroy(structure);
	return err < 0 ? err
	               : store_structure_put(ask->folder->account->store, ask->number, ask->uid,
				 data.data, data.len);
}

/* Another waiter, or the batch of another message, may have brought it meanwhile. */
static int serve(struct ask *ask, struct worker *worker)
{
	bool stored;
	int err = is_stored(ask->folder, ask->number, ask->uid, &stored);
	if (err < 0 || stored)
		return err;
	err = fetch_structure(ask, worker);
	if (ask->answered) { /* also where the connection was lost over it, or over its neighbours */
		if (ask->unknown)
			(void)find_here(ask);
		return 0;
	}
	if (err < 0 && err != -EAGAIN && err != -ENOENT && find_here(ask) == 0)
		return 0;
	return err;
}

/* --- The job --- */

/* The first of those who are blocked, else of those who are not. Lock held. */
static const struct sync_waiter *first_waiter(struct sync_folder *folder)
{
	struct list_node *pos, *tmp;
	list_for_each(pos, tmp, &folder->structure_waiters)
	{
		const struct sync_waiter *waiter = container_of(pos, struct sync_waiter, node);
		if (!waiter->background)
			return waiter;
	}
	return container_of(folder->structure_waiters.next, struct sync_waiter, node);
}

/* What the first waiter asks for; false: nobody waits, and the job is done. */
static bool next_ask(struct sync_folder *folder, struct ask *ask)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	if (list_empty(&folder->structure_waiters)) {
		folder->structure_job.busy = false;
		return false;
	}
	const struct sync_waiter *waiter = first_waiter(folder);
	folder->structure_job.class = waiter->background ? JOB_BACKGROUND : JOB_DEMAND;
	ask->folder = folder;
	ask->number = folder->state.folder;
	ask->uidvalidity = folder->state.uidvalidity;
	ask->uid = (uint32_t)waiter->offset;
	ask->walking = folder->walking && !waiter->background;
	ask->background = waiter->background;
	return true;
}

/* Takes those who asked for this message. */
static void answer(const struct ask *ask, int err, struct list_node *done)
{
	struct sync_folder *folder = ask->folder;
	struct list_node *pos, *tmp;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	list_for_each(pos, tmp, &folder->structure_waiters)
	{
		struct sync_waiter *waiter = container_of(pos, struct sync_waiter, node);
		if (waiter->offset == ask->uid)
			waiter_take(waiter, err, done);
	}
}

static int structure_run(struct job *job, struct worker *worker)
{
	struct ask ask;
	while (next_ask(job->folder, &ask)) {
		waiter_wake_all(&worker->done);
		int err = serve(&ask, worker);
		if (err == -EAGAIN)
			return err;
		answer(&ask, err, &worker->done);
	}
	return 0;
}

static void structure_fail(struct job *job, int err)
{
	struct sync_folder *folder = job->folder;
	struct list_node done;
	list_init(&done);
	pthread_mutex_lock(&folder->account->lock);
	job->busy = false;
	waiter_take_all(&folder->structure_waiters, err, &done);
	pthread_mutex_unlock(&folder->account->lock);
	waiter_wake_all(&done);
}

void structure_job_init(struct sync_folder *folder)
{
	folder->structure_job = (struct job){.class = JOB_DEMAND,
		.folder = folder,
		.run = structure_run,
		.fail = structure_fail};
	list_init(&folder->structure_job.node);
}

/* --- For the tree --- */

/* Notices who goes from message to message. Lock held. */
static void watch_walker(struct sync_folder *folder, uint32_t uid)
{
	int64_t now = clock_now_ms();
	if (uid == folder->walk_uid)
		return;
	folder->walking = folder->walk_uid && now - folder->walk_ms <= WALK_MS;
	folder->walk_uid = uid;
	folder->walk_ms = now;
}

static int want_structure(
	struct sync_folder *folder, uint32_t uid, bool background, struct sync_waiter *waiter)
{
	struct sync_account *account = folder->account;
	uint32_t number, uidvalidity;
	bool stored;
	folder_identity(folder, &number, &uidvalidity);
	int err = is_stored(folder, number, uid, &stored);
	if (err < 0)
		return err;

	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	if (!background)
		watch_walker(folder, uid);
	if (stored)
		return 0;
	if (account->stopping)
		return -EIO;
	waiter->offset = uid;
	waiter->background = background;
	waiter_add(account, &folder->structure_waiters, waiter);
	job_want(account, &folder->structure_job, background ? JOB_BACKGROUND : JOB_DEMAND);
	return -EINPROGRESS;
}

int sync_structure(struct sync_folder *folder, uint32_t uid, struct sync_waiter *waiter)
{
	return want_structure(folder, uid, false, waiter);
}

int structure_download(struct sync_folder *folder, uint32_t uid, struct sync_waiter *waiter)
{
	return want_structure(folder, uid, true, waiter);
}
