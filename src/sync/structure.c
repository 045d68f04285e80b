/* SPDX-License-Identifier: MIT */
/*
 * Structures of messages, and what the server tells of the decoded sizes of their parts. They go into the
 * store, where the tree reads them. Whoever asks for a second message of a folder soon after the first is
 * walking it: the structures of the messages that follow are then fetched in the same command.
 *
 * A folder has one such job; it serves its waiters message by message, in the order in which they came. In a
 * waiter, offset is the UID and seen is whether sizes are wanted.
 */
#include "private.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

#define BATCH_MAX    500
#define WALK_MS      5000
#define SECTIONS_MAX 200 /* sizes asked for in one command */

struct ask {
	struct sync_folder *folder;
	uint32_t number, uidvalidity;
	uint32_t uid; /* of the first waiter */
	bool sizes, walking;
	uint32_t uids[BATCH_MAX]; /* ascending: what is asked for in one command */
	size_t count;
	bool answered; /* uid was */
	int put_err;
};

/* --- Sizes of sections --- */

/* The sections whose decoded size only the server knows, and the store does not. */
struct sections {
	const char *names[SECTIONS_MAX];
	size_t count;
	struct mime_leaves leaves;
	struct mime_part *root;
};

static void sections_finish(struct sections *sections)
{
	mime_leaves_finish(&sections->leaves);
	mime_part_destroy(sections->root);
}

static int sections_find(struct sync_folder *folder, uint32_t number, uint32_t uid,
	const struct str *structure, struct sections *ret)
{
	struct store *store = folder->account->store;
	uint64_t size;
	int err = mime_part_parse(str_cstr(structure), structure->len, &ret->root);
	if (err == 0)
		err = mime_leaves(ret->root, NULL, &ret->leaves);
	for (size_t i = 0; err == 0 && i < ret->leaves.count && ret->count < SECTIONS_MAX; i++) {
		const struct mime_leaf *leaf = &ret->leaves.items[i];
		if (leaf->is_message || leaf->to_utf8)
			continue;
		if (store_section_size_get(store, number, uid, leaf->section, &size) == -ENOENT)
			ret->names[ret->count++] = leaf->section;
	}
	return err;
}

/* Whether asking for sizes would give nothing new. */
static bool sizes_asked(struct sync_folder *folder, uint32_t uid)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	return folder->account->no_binary || uid_set_has(&folder->sizes_asked, uid);
}

static void note_sizes_asked(struct sync_folder *folder, uint32_t number, uint32_t uid)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	if (folder->state.folder == number)
		(void)uid_set_add(&folder->sizes_asked, uid); /* no memory: it is asked again */
}

/* A session that answered so lately was not lost by being idle. */
#define LIVELY_MS 10000

struct size_call {
	uint32_t uid;
	const struct sections *sections;
	bool fatal; /* the question ended a session that was alive: it is not asked again */
	uint64_t sizes[SECTIONS_MAX];
};

static int call_sizes(struct worker *worker, void *arg, struct source_error *error)
{
	struct size_call *call = arg;
	if (call->fatal)
		return session_fail(error, SOURCE_SCOPE_MESSAGE, -EIO,
			"the server does not survive the question");
	call->fatal = clock_now_ms() - worker->used_ms < LIVELY_MS;
	return worker->account->source->ops->section_sizes(worker->session, call->uid,
		call->sections->names, call->sections->count, call->sizes, error);
}

static int fetch_sizes(
	const struct ask *ask, struct worker *worker, const struct sections *sections)
{
	struct sync_account *account = ask->folder->account;
	struct size_call call = {.uid = ask->uid, .sections = sections};
	struct source_error error;

	int err = session_call(worker, ask->folder, ask->uidvalidity, call_sizes, &call, &error);
	if (err == -EOPNOTSUPP) {
		_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
		account->no_binary = true;
		return 0;
	}
	if (err == -ENOENT || err == -EAGAIN)
		return err;
	/*
	 * What the server can not tell is learned when the part is read. Dovecot 2.3 says BYE over a part whose
	 * base64 is broken: the structure is there, so that is no failure.
	 */
	if (err < 0) {
		log_warning("%s: sizes of the parts of message %u: %s", ask->folder->name, ask->uid,
			error.text);
		return 0;
	}
	for (size_t i = 0; i < sections->count; i++)
		if (call.sizes[i] != UINT64_MAX)
			(void)store_section_size_put(account->store, ask->number, ask->uid,
				sections->names[i], call.sizes[i]);
	return 0;
}

static int serve_sizes(const struct ask *ask, struct worker *worker, const struct str *structure)
{
	_cleanup_(sections_finish) struct sections sections = {0};
	if (structure->len == 0 || sizes_asked(ask->folder, ask->uid))
		return 0;
	int err = sections_find(ask->folder, ask->number, ask->uid, structure, &sections);
	if (err == 0 && sections.count > 0)
		err = fetch_sizes(ask, worker, &sections);
	if (err == 0)
		note_sizes_asked(ask->folder, ask->number, ask->uid);
	return err;
}

/* --- Structures --- */

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
	ask->answered |= uid == ask->uid;
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
	if (err < 0 && ask->count > 1 && ask->put_err == 0 && !worker->unreachable) {
		ask->uids[0] = ask->uid;
		ask->count = 1;
		err = call_once(ask, worker, &error);
	}
	if (err == -ENOENT && error.scope == SOURCE_SCOPE_MESSAGE)
		folder_message_gone(ask->folder, ask->number, ask->uid);
	else if (err < 0 && error.scope < SOURCE_SCOPE_ACCOUNT)
		log_warning(
			"%s: structure of message %u: %s", ask->folder->name, ask->uid, error.text);
	return err;
}

static int serve(struct ask *ask, struct worker *worker)
{
	struct store *store = ask->folder->account->store;
	_cleanup_str_ struct str structure = STR_INIT;

	int err = store_structure_get(store, ask->number, ask->uid, &structure);
	if (err == -ENOENT) {
		err = fetch_structure(ask, worker);
		if (err == 0)
			err = store_structure_get(store, ask->number, ask->uid, &structure);
	}
	if (err == 0 && ask->sizes)
		err = serve_sizes(ask, worker, &structure);
	return err;
}

/* --- The job --- */

/* What the first waiter asks for; false: nobody waits, and the job is done. */
static bool next_ask(struct sync_folder *folder, struct ask *ask)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	if (list_empty(&folder->structure_waiters)) {
		folder->structure_job.busy = false;
		return false;
	}
	const struct sync_waiter *waiter =
		container_of(folder->structure_waiters.next, struct sync_waiter, node);
	ask->folder = folder;
	ask->number = folder->state.folder;
	ask->uidvalidity = folder->state.uidvalidity;
	ask->uid = (uint32_t)waiter->offset;
	ask->sizes = waiter->seen != 0;
	ask->walking = folder->walking;
	return true;
}

/* Takes those who asked for no more than was done. */
static void answer(const struct ask *ask, int err, struct list_node *done)
{
	struct sync_folder *folder = ask->folder;
	struct list_node *pos, *tmp;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	list_for_each(pos, tmp, &folder->structure_waiters)
	{
		struct sync_waiter *waiter = container_of(pos, struct sync_waiter, node);
		if (waiter->offset == ask->uid && (err < 0 || ask->sizes || !waiter->seen))
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

/* Whether the store has all that the caller wants; an error of the store. */
static int is_stored(struct sync_folder *folder, uint32_t uid, bool sizes, bool *ret)
{
	_cleanup_str_ struct str structure = STR_INIT;
	_cleanup_(sections_finish) struct sections sections = {0};
	uint32_t number, uidvalidity;

	folder_identity(folder, &number, &uidvalidity);
	*ret = false;
	int err = store_structure_get(folder->account->store, number, uid, &structure);
	if (err < 0)
		return err == -ENOENT ? 0 : err;
	if (sizes && structure.len > 0 && !sizes_asked(folder, uid)) {
		err = sections_find(folder, number, uid, &structure, &sections);
		if (err < 0)
			return err;
	}
	*ret = sections.count == 0;
	return 0;
}

int sync_structure(struct sync_folder *folder, uint32_t uid, bool sizes, struct sync_waiter *waiter)
{
	struct sync_account *account = folder->account;
	bool stored;
	int err = is_stored(folder, uid, sizes, &stored);
	if (err < 0)
		return err;

	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	watch_walker(folder, uid);
	if (stored)
		return 0;
	if (account->stopping)
		return -EIO;
	waiter->offset = uid;
	waiter->seen = sizes;
	waiter_add(account, &folder->structure_waiters, waiter);
	if (!folder->structure_job.busy)
		job_queue(account, &folder->structure_job);
	return -EINPROGRESS;
}
