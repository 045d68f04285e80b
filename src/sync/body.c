/* SPDX-License-Identifier: MIT */
/*
 * Bodies that somebody has open. Invariants: there is one struct sync_body for each (folder, number of it, UID, section), shared by all who have it
 * open; it has at most one job, so what many wait for is fetched once; a waiter's buffer is written only under the lock while the waiter is queued.
 * A folder that went and came back is another folder, of which the number may be the same: then two bodies, of which one gets nothing any more from the
 * server, have the same handle of the store, and the last of them closes it. One at a time of those is opened or closed.
 */
#include "body.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/hash.h"
#include "mailfs/util/log.h"

/* How often a read looks at the store again because bytes arrive. */
#define ARRIVALS_MAX 4

static int body_run(struct job *job, struct worker *worker);
static void body_job_failed(struct job *job, int err);

static struct list_node *bucket(
	struct sync_account *account, uint32_t number, uint32_t uid, const char *section)
{
	uint64_t hash = hash64(HASH64_INIT, &number, sizeof(number));
	hash = hash64(hash, &uid, sizeof(uid));
	hash = hash64(hash, section, strlen(section));
	return &account->bodies[hash64_finish(hash) % SYNC_BODY_BUCKETS];
}

static void body_free(struct sync_body *body)
{
	mime_decoder_destroy(body->decoder);
	str_finish(&body->chunk);
	str_finish(&body->plain);
	str_finish(&body->recent);
	free(body->section);
	free(body->charset);
	free(body);
}

/* What of a leaf is needed: the tree may free it while a job still runs. */
static int copy_leaf(struct sync_body *body, const struct mime_leaf *leaf)
{
	body->decoded = true;
	body->encoding = leaf->encoding;
	body->to_utf8 = leaf->to_utf8;
	body->announced = leaf->size_bytes;
	if (!leaf->charset)
		return 0;
	body->charset = strdup(leaf->charset);
	return body->charset ? 0 : -ENOMEM;
}

static struct sync_body *body_create(struct sync_folder *folder, uint32_t uid, const char *section,
	const struct mime_leaf *leaf, uint64_t size_bytes)
{
	struct sync_body *body = calloc(1, sizeof(*body));
	if (!body)
		return NULL;
	body->folder = folder;
	body->refs = 1;
	body->uid = uid;
	body->section = strdup(section);
	body->announced = section[0] ? UINT64_MAX : size_bytes;
	body->distrusted = atomic_load(&folder->account->ranges_distrusted);
	body->bound = UINT64_MAX;
	/* What can be carved out of a message that is here needs no server. */
	body->job = (struct job){.class = JOB_DEMAND,
		.folder = folder,
		.run = body_run,
		.fail = body_job_failed,
		.bound = section[0] != 0};
	list_init(&body->job.node);
	list_init(&body->waiters);
	list_init(&body->keepers);
	list_init(&body->stream);
	body->short_end = UINT64_MAX;
	folder_identity(folder, &body->number, &body->uidvalidity);
	if (!body->section || (leaf && copy_leaf(body, leaf) < 0)) {
		body_free(body);
		return NULL;
	}
	body->reach = (struct reach){.announced = body->announced, .short_end = UINT64_MAX};
	body->search = (struct search){.high = UINT64_MAX};
	return body;
}

static struct list_node *bucket_of(const struct sync_body *body)
{
	return bucket(body->folder->account, body->number, body->uid, body->section);
}

/* The next but key, behind pos, that is the same to the store; NULL: there is none. Lock held. */
static struct sync_body *next_alike(const struct list_node *pos, const struct sync_body *key)
{
	const struct list_node *list = bucket_of(key);
	for (pos = pos->next; pos != list; pos = pos->next) {
		struct sync_body *body = container_of(pos, struct sync_body, link);
		if (body != key && body->number == key->number && body->uid == key->uid &&
			strcmp(body->section, key->section) == 0)
			return body;
	}
	return NULL;
}

/* Not one of a folder that went and came back: that one can not be read any more. Lock held. */
static struct sync_body *find(const struct sync_body *key)
{
	struct sync_body *body = next_alike(bucket_of(key), key);
	while (body && body->folder != key->folder)
		body = next_alike(&body->link, key);
	return body;
}

/* Whether the handle of such a one is being opened or closed. Lock held. */
static bool is_moving(const struct sync_body *key)
{
	struct sync_body *body = next_alike(bucket_of(key), key);
	while (body && body->life == BODY_OPEN)
		body = next_alike(&body->link, key);
	return body != NULL;
}

/*
 * The body that others have open, with one more reference, or NULL, and mine is in the table from now on. Waits
 * while the same body's file is being opened or closed.
 */
static struct sync_body *share(struct sync_account *account, struct sync_body *mine)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	while (is_moving(mine))
		pthread_cond_wait(&account->bodies_changed, &account->lock);
	struct sync_body *body = find(mine);
	if (body)
		body->refs++;
	else
		list_push(bucket_of(mine), &mine->link);
	return body;
}

/* A whole message of a maildrop: all of it is in the store, or it is damaged. There is nobody else to ask. */
static bool is_spooled(const struct sync_body *body)
{
	return body->folder->account->drop && !body->section[0];
}

/*
 * The handle that the store has given out already, to who read the message in a folder that went: that of the last who opened one. false: it is
 * closed by now.
 */
static bool borrow_store(struct sync_body *mine)
{
	struct sync_account *account = mine->folder->account;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	while (is_moving(mine))
		pthread_cond_wait(&account->bodies_changed, &account->lock);
	struct sync_body *body = next_alike(bucket_of(mine), mine);
	for (; body; body = next_alike(&body->link, mine))
		if (body->store)
			mine->store = body->store;
	return mine->store != NULL;
}

static int open_store(struct sync_body *body)
{
	struct sync_account *account = body->folder->account;
	struct store_body *store;
	int err = -EBUSY;
	for (int tries = 0; err == -EBUSY && tries < 2; tries++) {
		err = store_body_open(
			account->store, body->number, body->uid, body->section, &store);
		if (err == -EBUSY && borrow_store(body))
			return 0;
	}
	if (err < 0)
		return err;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	body->store = store;
	return 0;
}

/* Opens what the store has of it. Without a store the body is kept in memory, chunk by chunk. */
static void attach_store(struct sync_body *body)
{
	struct sync_folder *folder = body->folder;
	int err = open_store(body);
	if (err < 0) {
		body->unwritable = err;
		if (is_spooled(body))
			log_warning("%s: message %u can not be read: %s", folder->name, body->uid,
				strerror(-err));
		else
			body_tell_unkept(body, err);
		return;
	}
	uint64_t size;
	if (store_body_size(body->store, &size)) {
		body->bound = size;
		body->size_known = true;
		body->reach.existing = size;
	} else if (body->decoded && store_body_held(body->store, 0) > 0) {
		/* Cut off by an earlier end of the mount: where the encoded part would go on is not known. */
		(void)store_body_drop(body->store);
	}
}

int sync_body_open(struct sync_folder *folder, uint32_t uid, const char *section,
	const struct mime_leaf *leaf, uint64_t size_bytes, struct sync_body **ret)
{
	struct sync_account *account = folder->account;
	struct sync_body *mine = body_create(folder, uid, section, leaf, size_bytes);
	if (!mine)
		return -ENOMEM;
	if (mine->number == 0) {
		body_free(mine);
		return -ENOENT;
	}
	struct sync_body *shared = share(account, mine);
	if (shared) {
		body_free(mine);
		*ret = shared;
		return 0;
	}
	attach_store(mine);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	mine->life = BODY_OPEN;
	pthread_cond_broadcast(&account->bodies_changed);
	*ret = mine;
	return 0;
}

/* Whether another has the same handle, and will close it. Lock held. */
static bool has_heir(const struct sync_body *body)
{
	struct sync_body *other = next_alike(bucket_of(body), body);
	while (other && other->store != body->store)
		other = next_alike(&other->link, body);
	return other != NULL;
}

/* Whether the caller has dropped the last reference and has to end the body. */
static bool drop_ref(struct sync_body *body)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->folder->account->lock);
	if (--body->refs > 0)
		return false;
	body->life = BODY_CLOSING;
	if (body->store && has_heir(body))
		body->store = NULL;
	return true;
}

void sync_body_close(struct sync_body *body)
{
	struct sync_account *account = body->folder->account;
	if (!drop_ref(body))
		return;
	body_doubt_end(body);
	/* The message itself is here: what was decoded of it need not be kept twice. */
	if ((account->drop || body->carve.message) && body->section[0] && body->store)
		(void)store_body_drop(body->store);
	carve_end(body);
	store_body_close(body->store);
	pthread_mutex_lock(&account->lock);
	list_remove(&body->link);
	pthread_cond_broadcast(&account->bodies_changed);
	pthread_mutex_unlock(&account->lock);
	body_free(body);
}

size_t body_held_read(struct sync_body *body, void *buf, size_t len, uint64_t offset)
{
	size_t filled = 0;
	/* Of a maildrop it is asked again: there is no other way to the bytes, and what failed may have been for want of descriptors. */
	bool usable = body->store && !atomic_load(&body->doubted) &&
	              (is_spooled(body) || !atomic_load(&body->store_broken));
	while (usable && filled < len) {
		ssize_t n = store_body_read(
			body->store, (char *)buf + filled, len - filled, offset + filled);
		bool failed = n < 0 && (n != -ENODATA || is_spooled(body));
		if (failed && !atomic_exchange(&body->store_broken, true))
			log_warning("%s: message %u in the store can not be read: %s",
				body->folder->name, body->uid, strerror((int)-n));
		if (n <= 0)
			break;
		filled += (size_t)n;
	}
	return filled;
}

/* Copies from data, which begins at start, what the waiter still lacks there. Lock held. */
static void feed(struct sync_waiter *waiter, const struct str *data, uint64_t start)
{
	uint64_t pos = waiter->offset + waiter->filled;
	if (pos < start || pos - start >= data->len)
		return;
	size_t have = data->len - (size_t)(pos - start), lack = waiter->len - waiter->filled;
	size_t n = have < lack ? have : lack;
	memcpy((char *)waiter->buf + waiter->filled, data->data + (pos - start), n);
	waiter->filled += n;
}

/* Lock held. */
static bool is_served(const struct sync_body *body, const struct sync_waiter *waiter)
{
	if (!waiter->buf)
		return body->size_known;
	return waiter->filled == waiter->len || waiter->offset + waiter->filled >= body->bound;
}

/* Lock held. */
static void note_bound(struct sync_body *body, uint64_t bound, bool exact)
{
	if (exact || bound < body->bound)
		body->bound = bound;
	body->size_known |= exact;
}

void body_deliver(struct sync_body *body, struct str *data, uint64_t start, uint64_t bound,
	bool exact, bool keep, struct list_node *done)
{
	struct list_node *pos, *tmp;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->folder->account->lock);
	note_bound(body, bound, exact);
	atomic_fetch_add(&body->arrivals, 1);
	if (body->feeds > 0 && start <= body->fed_to && start + data->len > body->fed_to)
		body->fed_to = start + data->len;
	list_for_each(pos, tmp, &body->waiters)
	{
		struct sync_waiter *waiter = container_of(pos, struct sync_waiter, node);
		if (waiter->buf)
			feed(waiter, data, start);
		if (is_served(body, waiter))
			waiter_take(waiter, waiter->buf ? (ssize_t)waiter->filled : 0, done);
	}
	if (!keep)
		return;
	struct str before = body->recent;
	body->recent = *data;
	body->recent_start = start;
	*data = before;
}

/* The first who waits for what does not come by itself; NULL: there is none. Lock held. */
static const struct sync_waiter *first_to_serve(const struct sync_body *body)
{
	const struct list_node *pos;
	for (pos = body->waiters.next; pos != &body->waiters; pos = pos->next) {
		const struct sync_waiter *waiter = container_of(pos, struct sync_waiter, node);
		if (!ahead_is_coming(body, waiter))
			return waiter;
	}
	return NULL;
}

/* Lock held. */
static void start_job(struct sync_body *body, enum job_class class)
{
	if (!body->job.busy)
		body->refs++;
	job_want(body->folder->account, &body->job, class);
}

/* Lets waiter wait in list for the body's job, which is started if it does not run, or for what comes anyway. Lock held. */
static int wait_for_job(struct sync_body *body, struct list_node *list, struct sync_waiter *waiter)
{
	struct sync_account *account = body->folder->account;
	if (account->stopping)
		return -EIO;
	waiter->background = list == &body->keepers;
	waiter_add(account, list, waiter);
	bool coming = waiter->background ? body->feeds > 0 : ahead_is_coming(body, waiter);
	if (!coming)
		start_job(body, waiter->background ? JOB_BACKGROUND : JOB_DEMAND);
	return -EINPROGRESS;
}

void body_serve_rest(struct sync_body *body)
{
	if (body->folder->account->stopping)
		return;
	if (first_to_serve(body))
		start_job(body, JOB_DEMAND);
	else if (body->feeds == 0 && !list_empty(&body->keepers))
		start_job(body, JOB_BACKGROUND);
}

/*
 * With filled bytes that the store held. -EAGAIN: more has arrived since that was looked up. Lock held.
 */
static ssize_t read_or_wait(struct sync_body *body, const struct sync_waiter *want,
	unsigned arrivals, struct sync_waiter *waiter)
{
	/* Not ours to touch when it is not needed: a caller may pass NULL for what is known to be here. */
	struct sync_waiter probe = *want;
	feed(&probe, &body->recent, body->recent_start);
	bool served = is_served(body, &probe);
	if (!served && arrivals != atomic_load(&body->arrivals))
		return -EAGAIN;
	ahead_note(body, want->offset, want->len, served);
	if (served)
		return (ssize_t)probe.filled;
	if (is_spooled(body))
		return -EIO;
	waiter->buf = want->buf;
	waiter->len = want->len;
	waiter->filled = probe.filled;
	waiter->offset = want->offset;
	return wait_for_job(body, &body->waiters, waiter);
}

ssize_t sync_body_read(
	struct sync_body *body, void *buf, size_t len, uint64_t offset, struct sync_waiter *waiter)
{
	if (len > UINT64_MAX - offset)
		len = (size_t)(UINT64_MAX - offset);
	if (len == 0)
		return 0;
	ahead_prepare(body);
	ssize_t n = -EAGAIN;
	for (int tries = 0; n == -EAGAIN; tries++) {
		unsigned arrivals = atomic_load(&body->arrivals);
		struct sync_waiter want = {.buf = buf, .len = len, .offset = offset};
		want.filled = body_held_read(body, buf, len, offset);
		_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->folder->account->lock);
		if (tries == ARRIVALS_MAX)
			arrivals = atomic_load(&body->arrivals);
		n = read_or_wait(body, &want, arrivals, waiter);
	}
	return n;
}

int sync_body_size(struct sync_body *body, uint64_t *ret, struct sync_waiter *waiter)
{
	ahead_prepare(body);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->folder->account->lock);
	if (body->size_known) {
		*ret = body->bound;
		return 0;
	}
	if (is_spooled(body))
		return -EIO;
	ahead_note(body, 0, 0, false);
	waiter->buf = NULL;
	waiter->len = waiter->filled = 0;
	waiter->offset = 0;
	return wait_for_job(body, &body->waiters, waiter);
}

int body_download(struct sync_body *body, struct sync_waiter *waiter)
{
	uint64_t held = body->store ? store_body_held(body->store, 0) : 0;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->folder->account->lock);
	if (is_spooled(body) || (body->store && body->size_known && held >= body->bound))
		return 0;
	waiter->buf = NULL;
	waiter->len = waiter->filled = 0;
	waiter->offset = 0;
	return wait_for_job(body, &body->keepers, waiter);
}

/* The job's memory is not kept for a body that is merely open. Lock held. */
static void end_job(struct sync_body *body)
{
	body->job.busy = false;
	body->asked_end = 0;
	str_finish(&body->chunk);
	str_finish(&body->plain);
}

/* What is to be done next: for those who are blocked, then in the background; false: nobody waits, and the job is done. */
static bool next_want(struct sync_body *body, struct body_want *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->folder->account->lock);
	const struct sync_waiter *waiter = first_to_serve(body);
	bool blocked = waiter != NULL;
	if (!blocked && (list_empty(&body->keepers) || body->feeds > 0)) {
		end_job(body);
		return false;
	}
	body->job.class = blocked ? JOB_DEMAND : JOB_BACKGROUND;
	*ret = (struct body_want){.background = !blocked};
	if (!blocked)
		return true;
	/* Until it is known how much it asks for. */
	body->asked_end = UINT64_MAX;
	*ret = (struct body_want){.size = !waiter->buf,
		.offset = waiter->offset + waiter->filled,
		.len = waiter->len - waiter->filled};
	return true;
}

/* The job ends with an error for all who wait. */
static void fail_waiters(struct sync_body *body, int err, struct list_node *done)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->folder->account->lock);
	end_job(body);
	waiter_take_all(&body->waiters, err, done);
	waiter_take_all(&body->keepers, err, done);
}

/* Gives way to others after each step that nobody is blocked on. */
static int body_run(struct job *job, struct worker *worker)
{
	struct sync_body *body = container_of(job, struct sync_body, job);
	struct body_want want = {0};
	bool kept = false;
	int err = 0;

	carve_begin(body);
	while (err == 0 && next_want(body, &want)) {
		if (kept && want.background)
			return -EAGAIN;
		waiter_wake_all(&worker->done);
		kept = want.background;
		err = kept ? body_keep(body, worker) : body_serve(body, worker, &want);
	}
	if (err == -EAGAIN)
		return err;
	if (err < 0)
		fail_waiters(body, err, &worker->done);
	sync_body_close(body);
	return 0;
}

static void body_job_failed(struct job *job, int err)
{
	struct sync_body *body = container_of(job, struct sync_body, job);
	struct list_node done;
	list_init(&done);
	fail_waiters(body, err, &done);
	waiter_wake_all(&done);
	sync_body_close(body);
}
