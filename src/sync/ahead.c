/* SPDX-License-Identifier: MIT */
/*
 * Fetching ahead of readers: what they read is noted (walk.c judges it), and as long as there is something before them to fetch, jobs of the class
 * JOB_AHEAD fetch it, each on a connection of its own, all from the same fronts. The first job begins at once; others follow when the window has
 * shown that readers keep up, and then a connection is made ready for who wants something else meanwhile.
 *
 * Invariant: a job ends when nothing is due, and each note of a read that makes something due starts one. Nothing is fetched ahead of a maildrop, of
 * parts, without a server, or for a store that does not take it.
 */
#include "ahead.h"

#include <errno.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

/* From this window on one connection is not enough. */
#define MANY_WINDOW (UINT64_C(1) << 20)
/* A large body is read on by who has read so much of it in a row. */
#define STREAM_RUN  (UINT64_C(384) << 10)
#define STREAM_NEAR (UINT64_C(1) << 20)
#define GAP_ROWS    32
#define GAP_MAX     1048576
#define SPARE_MS    10000
#define TROUBLE_MS  5000

/* --- What is read --- */

static bool applies(const struct sync_body *body)
{
	const struct sync_account *account = body->folder->account;
	return !body->section[0] && !account->drop && body->store && account->source->ops->bulk;
}

/* The distance between UIDs, from some messages that are missing on either side. */
static uint32_t measure_gap(const struct sync_body *body)
{
	struct store_missing missing[GAP_ROWS];
	struct store *store = body->folder->account->store;
	size_t count = 0;
	for (int up = 1; up >= 0 && count < GAP_ROWS / 4; up--)
		if (store_bodies_missing(
			    store, body->number, body->uid, up, missing, GAP_ROWS, &count) < 0)
			return 1;
	if (count < 2)
		return 1;
	uint32_t first = missing[0].uid, last = missing[count - 1].uid;
	uint32_t gap = (last > first ? last - first : first - last) / (uint32_t)(count - 1);
	return gap < 1 ? 1 : gap > GAP_MAX ? GAP_MAX : gap;
}

void ahead_prepare(struct sync_body *body)
{
	struct sync_folder *folder = body->folder;
	if (atomic_load_explicit(&folder->uid_gap, memory_order_relaxed) == 0 && applies(body))
		atomic_store(&folder->uid_gap, measure_gap(body));
}

/* --- Jobs --- */

static void kick(struct sync_folder *folder, uint64_t window);

static unsigned connected_idle(const struct sync_account *account)
{
	unsigned count = 0;
	for (unsigned i = 0; i < account->connections; i++)
		count += account->workers[i].session && !account->workers[i].job;
	return count;
}

static unsigned connected(const struct sync_account *account)
{
	unsigned count = 0;
	for (unsigned i = 0; i < account->connections; i++)
		count += account->workers[i].session != NULL;
	return count;
}

/* Lets somebody who wants another message find a connection. Lock held. */
static void want_spare(struct sync_folder *folder)
{
	struct ahead *ahead = &folder->account->ahead;
	int64_t now = clock_now_ms();
	if (ahead->spare.busy || connected_idle(folder->account) > 0 ||
		(ahead->spare_ms && now - ahead->spare_ms < SPARE_MS))
		return;
	ahead->spare_ms = now;
	ahead->spare.folder = folder;
	job_queue(folder->account, &ahead->spare);
}

/* Starts one more job for the folder where that is of use. Lock held. */
static void kick(struct sync_folder *folder, uint64_t window)
{
	struct sync_account *account = folder->account;
	struct job *idle = NULL;
	unsigned busy = 0;
	if (account->stopping || account->link.state == SYNC_LINK_OFFLINE ||
		!list_empty(&account->queues[JOB_AHEAD]))
		return;
	for (unsigned i = 0; i < account->connections; i++) {
		struct job *job = &account->ahead.jobs[i];
		busy += job->busy && job->folder == folder;
		idle = job->busy ? idle : job;
	}
	if (!idle || (busy > 0 && window < MANY_WINDOW))
		return;
	idle->folder = folder;
	/* A single reader's own connection is free in a moment. */
	idle->patient = busy == 0 && connected(account) < 2;
	job_queue(account, idle);
	if (busy > 0)
		want_spare(folder);
}

static int call_bulk(struct worker *worker, void *arg, struct source_error *error)
{
	struct ahead_run *run = arg;
	const struct source_bulk bulk = {.arg = run,
		.next = ahead_next,
		.begin = ahead_begin,
		.data = ahead_data,
		.end = ahead_end,
		.answered = ahead_answered,
		.again = ahead_again};
	run->made = 0;
	int err = worker->account->source->ops->bulk(worker->session, &bulk, error);
	ahead_release(run);
	return err;
}

/* Lock held. */
static bool has_stream(const struct sync_account *account, uint32_t number)
{
	const struct list_node *pos, *head = &account->ahead.streams;
	for (pos = head->next; pos != head; pos = pos->next)
		if (container_of(pos, const struct sync_body, stream)->number == number)
			return true;
	return false;
}

/* Whether there is more to be done by this job; else it is idle. */
static bool goes_on(struct ahead_run *run, struct job *job, int err)
{
	struct sync_account *account = run->worker->account;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	bool due = walk_due(&account->ahead.walk, run->number, clock_now_ms()) ||
	           has_stream(account, run->number);
	if (err == 0 && run->made > 0 && due && !run->gave_way && !account->stopping)
		return true;
	job->busy = err == -EAGAIN;
	return false;
}

static int run_bulk(struct ahead_run *run, struct job *job)
{
	struct source_error error;
	int err;
	do {
		err = session_call(
			run->worker, run->folder, run->uidvalidity, call_bulk, run, &error);
		if (err < 0 && err != -EAGAIN) {
			log_debug("%s: not fetched ahead: %s", run->folder->name, error.text);
			ahead_stop(run, TROUBLE_MS);
		}
		/* Without a connection of its own it is left to the others; it only waits when it gave way. */
		err = err == 0 && run->gave_way ? -EAGAIN : err == -EAGAIN ? -EBUSY : err;
	} while (goes_on(run, job, err));
	return err == -EAGAIN ? err : 0;
}

static int ahead_job_run(struct job *job, struct worker *worker)
{
	struct ahead_run *run = calloc(1, sizeof(*run));
	int err = 0;
	if (run) {
		*run = (struct ahead_run){.worker = worker, .folder = job->folder};
		folder_identity(run->folder, &run->number, &run->uidvalidity);
		err = run_bulk(run, job);
		str_finish(&run->buf);
		free(run);
		return err;
	}
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&worker->account->lock);
	job->busy = false;
	return 0;
}

static void ahead_job_fail(struct job *job, int err)
{
	struct sync_account *account = job->folder->account;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	(void)err;
	job->busy = false;
}

static int call_nothing(struct worker *worker, void *arg, struct source_error *error)
{
	(void)worker;
	(void)arg;
	(void)error;
	return 0;
}

/* Connects, and selects what is being read. */
static int spare_run(struct job *job, struct worker *worker)
{
	struct source_error error;
	uint32_t number, uidvalidity;
	folder_identity(job->folder, &number, &uidvalidity);
	(void)session_call(worker, job->folder, uidvalidity, call_nothing, NULL, &error);
	ahead_job_fail(job, 0);
	return 0;
}

void ahead_stop(struct ahead_run *run, int ms)
{
	struct sync_account *account = run->worker->account;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	walk_stop(&account->ahead.walk, clock_now_ms() + ms);
}

/* --- What is noted --- */

/* Whether more of a large body is to come before its reader asks. Lock held. */
static bool wants_stream(const struct sync_body *body)
{
	const struct sync_account *account = body->folder->account;
	uint64_t run = body->run_to - body->run_from;
	uint64_t window = run > WALK_WINDOW_MIN ? run : WALK_WINDOW_MIN;
	window = body->hot || window > AHEAD_STREAM ? AHEAD_STREAM : window;
	return !body->stream_off && !ahead_feeds_whole(body) &&
	       !atomic_load(&account->ranges_distrusted) && (body->hot || run >= STREAM_RUN) &&
	       body->announced != UINT64_MAX && body->stream_next < body->announced &&
	       body->bound >= body->announced && body->stream_next < body->run_to + window / 2;
}

static void note_large(struct sync_body *body, uint64_t offset, size_t len, bool here)
{
	struct sync_account *account = body->folder->account;
	bool near = offset <= body->run_to + STREAM_NEAR && offset + STREAM_NEAR >= body->run_to;
	if (!near || len == 0) {
		body->run_from = body->run_to = offset;
		body->stream_next = near ? body->stream_next : offset;
	}
	if (offset + len > body->run_to)
		body->run_to = offset + len;
	if (!body->finished && body->run_to >= body->announced) {
		body->finished = true;
		walk_finished(&account->ahead.walk, body->number, body->uid);
	}
	(void)here;
	if (!wants_stream(body) || walk_is_stopped(&account->ahead.walk, clock_now_ms()))
		return;
	if (list_empty(&body->stream)) {
		body->refs++;
		list_push(&account->ahead.streams, &body->stream);
	}
	kick(body->folder, 0);
}

void ahead_note(struct sync_body *body, uint64_t offset, size_t len, bool here)
{
	struct sync_account *account = body->folder->account;
	if (!applies(body) || account->link.state == SYNC_LINK_OFFLINE)
		return;
	if (!body->noted) {
		body->noted = true;
		int64_t now = clock_now_ms();
		uint32_t gap = atomic_load(&body->folder->uid_gap);
		struct walk_read read = {.folder = body->number,
			.uid = body->uid,
			.gap = gap ? gap : 1,
			.size_bytes = body->announced,
			.here = here || body->feeds > 0};
		struct walk_front *front = walk_note(&account->ahead.walk, &read, now);
		body->hot = front->direction != WALK_NONE && walk_limit(front) == UINT64_MAX;
		if (walk_is_due(&account->ahead.walk, front, now))
			kick(body->folder, front->window);
	}
	if (body->announced > AHEAD_WHOLE / 4)
		note_large(body, offset, len, here);
	else if (body->announced > WALK_HEAD && offset + len >= body->announced)
		walk_finished(&account->ahead.walk, body->number, body->uid);
}

bool ahead_is_coming(const struct sync_body *body, const struct sync_waiter *waiter)
{
	if (body->feeds == 0)
		return false;
	if (!waiter->buf)
		return body->fed_end > body->announced;
	uint64_t pos = waiter->offset + waiter->filled;
	return pos >= body->fed_to && pos < body->fed_end;
}

/* --- With the account --- */

void ahead_init(struct sync_account *account)
{
	struct ahead *ahead = &account->ahead;
	pthread_mutex_init(&ahead->making, NULL);
	list_init(&ahead->streams);
	for (unsigned i = 0; i < SYNC_CONNECTIONS_MAX; i++) {
		ahead->jobs[i] = (struct job){
			.class = JOB_AHEAD, .run = ahead_job_run, .fail = ahead_job_fail};
		list_init(&ahead->jobs[i].node);
	}
	ahead->spare = (struct job){
		.class = JOB_DEMAND, .run = spare_run, .fail = ahead_job_fail, .bound = true};
	list_init(&ahead->spare.node);
}

void ahead_finish(struct sync_account *account)
{
	pthread_mutex_destroy(&account->ahead.making);
}

void ahead_forget(struct sync_account *account)
{
	struct list_node streams, *node;
	list_init(&streams);
	pthread_mutex_lock(&account->lock);
	while ((node = list_pop(&account->ahead.streams)))
		list_push(&streams, node);
	pthread_mutex_unlock(&account->lock);
	while ((node = list_pop(&streams)))
		sync_body_close(container_of(node, struct sync_body, stream));
}
