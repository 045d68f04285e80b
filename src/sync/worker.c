/* SPDX-License-Identifier: MIT */
/*
 * The worker threads and what they do next. A job goes to the idle worker that suits it best: one that has the
 * mailbox selected, else one that is connected, else one that would have to connect. So a quiet account has one
 * connection, a busy one as many as are allowed.
 *
 * Demand goes before bulk, and bulk never has the last worker, so that a reader does not wait behind a listing.
 * With one connection (allowed, or granted by the server) both share it. Who is blocked does not wait for a worker that has to connect where others
 * are connected: it connects, the job stays in the queue, and the first that is free takes it. The background has one worker at most, and never the last that is free for
 * the others, unless there is but one. What a job is about is not known here.
 *
 * Workers beyond those that the watchers leave over (watch.slots) get no job. An idle worker whose session may be dead tries it before it gets one.
 */
#include "private.h"

#include <errno.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/thread.h"

/* Lock held. */
static bool worker_rests(const struct worker *worker, int64_t now)
{
	return !worker->session && worker->resting_until_ms > now;
}

/* Whether the watchers have left it a connection. Lock held. */
static bool worker_allowed(const struct worker *worker)
{
	const struct sync_account *account = worker->account;
	return worker < account->workers + (account->connections - account->watch.slots);
}

/* Lock held. */
static bool worker_usable(const struct worker *worker, int64_t now)
{
	return worker->started && worker_allowed(worker) && !worker_rests(worker, now);
}

/* How well an idle worker suits a job; 0: not at all. Lock held. */
static int worker_fit(const struct worker *worker, const struct job *job, int64_t now)
{
	if (worker->job || worker->suspect || worker->testing || worker->connecting ||
		!worker_usable(worker, now))
		return 0;
	if (!worker->session)
		return 1;
	return worker->selected == job->folder ? 4 : worker->selected ? 2 : 3;
}

/* Whether one that can have jobs is connected. Lock held. */
static bool any_connected(const struct sync_account *account)
{
	for (unsigned i = 0; i < account->connections; i++)
		if (account->workers[i].session && worker_allowed(&account->workers[i]))
			return true;
	return false;
}

static bool is_patient(const struct job *job)
{
	return job->patient || job->class == JOB_BACKGROUND;
}

static struct worker *best_worker(struct sync_account *account, const struct job *job, int64_t now)
{
	struct worker *best = NULL;
	/* Any, or only one that is connected. */
	int best_fit = is_patient(job) && any_connected(account) ? 1 : 0;
	for (unsigned i = 0; i < account->connections; i++) {
		int fit = worker_fit(&account->workers[i], job, now);
		if (fit > best_fit) {
			best_fit = fit;
			best = &account->workers[i];
		}
	}
	return best;
}

/* Whether one more worker may be taken for a job of this class. Lock held. */
static bool class_allowed(const struct sync_account *account, enum job_class class, int64_t now)
{
	unsigned usable = 0, counts[JOB_CLASSES] = {0};
	for (unsigned i = 0; i < account->connections; i++) {
		const struct worker *worker = &account->workers[i];
		usable += worker_usable(worker, now);
		counts[worker->class] += worker->job != NULL;
	}
	unsigned bulk = counts[JOB_BULK] + counts[JOB_AHEAD], background = counts[JOB_BACKGROUND];
	/* One is left for who waits, unless there is only one. */
	if (class == JOB_BULK || class == JOB_AHEAD)
		return bulk + 1 < usable || bulk == 0;
	/* Many who are blocked are served sooner by one who fetches for all of them. */
	if (class == JOB_DEMAND && counts[JOB_AHEAD] == 0 &&
		!list_empty(&account->queues[JOB_AHEAD]))
		return usable < 2 || counts[JOB_DEMAND] + 1 < usable;
	if (class == JOB_BACKGROUND)
		return background == 0 && account->link.state != SYNC_LINK_OFFLINE &&
		       (bulk + 1 < usable || usable == 1);
	return true;
}

static unsigned count_connecting(const struct sync_account *account)
{
	unsigned count = 0;
	for (unsigned i = 0; i < account->connections; i++)
		count += account->workers[i].connecting && worker_allowed(&account->workers[i]);
	return count;
}

/* Lets the worker connect for a job that stays where it is, unless so many do already. Lock held. */
static void connect_for(struct worker *worker, unsigned jobs)
{
	if (count_connecting(worker->account) >= jobs)
		return;
	worker->connecting = true;
	pthread_cond_signal(&worker->wakeup);
}

/* Hands out jobs of a class as long as somebody can take them. Lock held. */
static void dispatch_class(struct sync_account *account, enum job_class class, int64_t now)
{
	struct list_node *pos, *tmp;
	unsigned left = 0;
	list_for_each(pos, tmp, &account->queues[class])
	{
		struct job *job = container_of(pos, struct job, node);
		struct worker *worker = best_worker(account, job, now);
		if (!worker && is_patient(job))
			continue;
		if (!worker || !class_allowed(account, class, now))
			return;
		if (class == JOB_DEMAND && !job->bound && !worker->session &&
			any_connected(account)) {
			connect_for(worker, ++left);
			continue;
		}
		list_remove(pos);
		worker->job = job;
		worker->class = job->class;
		pthread_cond_signal(&worker->wakeup);
	}
}

void job_dispatch(struct sync_account *account)
{
	int64_t now = clock_now_ms();
	/* When the account stops, nobody gets any. */
	for (int class = 0; class < JOB_CLASSES && !account->stopping; class ++)
		dispatch_class(account, class, now);
}

void job_queue(struct sync_account *account, struct job *job)
{
	job->busy = true;
	list_push(&account->queues[job->class], &job->node);
	job_dispatch(account);
}

void job_take_all(struct sync_account *account, struct list_node *list)
{
	struct list_node *node;
	for (int class = 0; class < JOB_CLASSES; class ++)
		while ((class != JOB_BACKGROUND || account->stopping) &&
			(node = list_pop(&account->queues[class])))
			list_push(list, node);
}

void job_fail_all(struct list_node *list, int err)
{
	struct list_node *node;
	while ((node = list_pop(list))) {
		struct job *job = container_of(node, struct job, node);
		job->fail(job, err);
	}
}

bool job_is_too_far_ahead(const struct worker *worker)
{
	struct sync_account *account = worker->account;
	int64_t now = clock_now_ms();
	unsigned usable = 0, ahead = 0;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	if (account->stopping || !list_empty(&account->queues[JOB_BULK]))
		return true;
	if (list_empty(&account->queues[JOB_DEMAND]))
		return false;
	for (unsigned i = 0; i < account->connections; i++) {
		const struct worker *other = &account->workers[i];
		usable += worker_usable(other, now);
		ahead += other->job && other->class == JOB_AHEAD;
	}
	return usable < 2 || ahead > 1;
}

bool job_is_queued(struct sync_account *account, const struct job *job)
{
	struct list_node *pos, *tmp;
	list_for_each(pos, tmp, &account->queues[job->class]) if (pos == &job->node) return true;
	return false;
}

void job_want(struct sync_account *account, struct job *job, enum job_class class)
{
	if (job->busy && class >= job->class)
		return;
	bool waits = !job->busy || job_is_queued(account, job);
	job->class = class;
	if (!waits)
		return;
	list_remove(&job->node);
	job_queue(account, job);
}

/* Waits for a signal; a worker that rests wakes when its rest is over, because there may be jobs that only it can take. */
static void worker_sleep(struct worker *worker)
{
	int64_t until = worker->resting_until_ms;
	struct timespec end = {.tv_sec = until / 1000, .tv_nsec = until % 1000 * 1000000};

	if (!worker_rests(worker, clock_now_ms())) {
		pthread_cond_wait(&worker->wakeup, &worker->account->lock);
		return;
	}
	(void)pthread_cond_timedwait(&worker->wakeup, &worker->account->lock, &end);
	if (!worker_rests(worker, clock_now_ms()))
		job_dispatch(worker->account);
}

/* What a worker is woken for. */
enum errand { ERRAND_END, ERRAND_JOB, ERRAND_TEST, ERRAND_CONNECT, ERRAND_DROP };

/* Lock held. */
static bool next_errand(struct worker *worker, enum errand *ret)
{
	*ret = ERRAND_END;
	if (worker->job)
		*ret = ERRAND_JOB;
	else if (worker->account->stopping)
		*ret = ERRAND_END;
	else if (worker->session && !worker_allowed(worker))
		*ret = ERRAND_DROP;
	else if (worker->session && worker->suspect)
		*ret = ERRAND_TEST;
	else if (worker->connecting)
		*ret = ERRAND_CONNECT;
	else
		return false;
	return true;
}

static enum errand worker_wait(struct worker *worker)
{
	enum errand errand;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&worker->account->lock);
	while (!next_errand(worker, &errand))
		worker_sleep(worker);
	worker->testing = errand == ERRAND_TEST;
	worker->suspect = false;
	return errand;
}

/*
 * The worker is free. again: a job to be put back at the head of its queue, NULL: none. false: too late for it.
 */
static bool worker_release(struct worker *worker, struct job *again)
{
	struct sync_account *account = worker->account;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	worker->job = NULL;
	worker->watched = false;
	if (again && account->stopping)
		return false;
	if (again)
		list_push(account->queues[again->class].next, &again->node);
	job_dispatch(account);
	return true;
}

static void worker_run(struct worker *worker)
{
	struct job *job = worker->job;
	int err = job->run(job, worker);
	if (!worker_release(worker, err == -EAGAIN ? job : NULL))
		job->fail(job, -EIO);
	waiter_wake_all(&worker->done);
}

/* Asks something small; a session that does not answer soon is dead. */
static void worker_test(struct worker *worker)
{
	struct sync_account *account = worker->account;
	const struct source_ops *ops = account->source->ops;
	struct source_error error = {0};
	struct source_state state;

	ops->set_timeout(worker->session, account->link.sign_ms);
	int err = ops->status ? ops->status(worker->session, "INBOX", &state, &error) : 0;
	bool dead = err < 0 && error.scope >= SOURCE_SCOPE_ACCOUNT;
	if (dead)
		session_drop(worker, false);
	else
		ops->set_timeout(worker->session, account->timeout_ms);
	worker->used_ms = clock_now_ms();
	if (dead && error.scope == SOURCE_SCOPE_ACCOUNT)
		link_lost(account, &error, false);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	worker->testing = false;
	job_dispatch(account);
}

/* For whoever is the first in the queue by then. */
static void worker_connect(struct worker *worker)
{
	struct sync_account *account = worker->account;
	struct source_error error;
	(void)session_connect(worker, &error);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	worker->connecting = false;
	job_dispatch(account);
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	for (enum errand errand; (errand = worker_wait(worker)) != ERRAND_END;) {
		if (errand == ERRAND_JOB)
			worker_run(worker);
		else if (errand == ERRAND_TEST)
			worker_test(worker);
		else if (errand == ERRAND_CONNECT)
			worker_connect(worker);
		else
			session_drop(worker, true);
	}
	session_drop(worker, !worker->cancelled);
	return NULL;
}

static int worker_start(struct worker *worker)
{
	int err = thread_start(&worker->thread, worker_main, worker);
	if (err < 0)
		return err;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&worker->account->lock);
	worker->started = true;
	return 0;
}

int workers_start(struct sync_account *account)
{
	int err = reaper_start(account);
	for (unsigned i = 0; err == 0 && i < account->connections; i++)
		err = worker_start(&account->workers[i]);
	if (err == 0 && !account->drop)
		err = link_start(account);
	if (err == 0 && !account->drop)
		err = watch_start(account);
	return err;
}

/* Whoever is in the middle of a call is cancelled; the idle say LOGOUT, all at the same time. */
static void workers_interrupt(struct sync_account *account, struct list_node *queued)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	job_take_all(account, queued);
	for (unsigned i = 0; i < account->connections; i++) {
		struct worker *worker = &account->workers[i];
		if ((worker->job || worker->testing || worker->connecting) && worker->session) {
			account->source->ops->cancel(worker->session);
			worker->cancelled = true;
		}
		pthread_cond_signal(&worker->wakeup);
	}
}

void workers_stop(struct sync_account *account)
{
	struct list_node queued;
	list_init(&queued);
	watch_interrupt(account);
	workers_interrupt(account, &queued);
	job_fail_all(&queued, -EIO);
	for (unsigned i = 0; i < account->connections; i++) {
		struct worker *worker = &account->workers[i];
		if (worker->started)
			pthread_join(worker->thread, NULL);
		else
			session_drop(worker, true);
		worker->started = false;
	}
	watch_stop(account);
	link_stop(account);
	reaper_join(account);
}

bool workers_adopt(struct sync_account *account, struct source_session *session)
{
	for (unsigned i = 0; i < account->connections; i++) {
		struct worker *worker = &account->workers[i];
		if (!worker->started || worker->job || worker->testing || worker->connecting ||
			worker->session || !worker_allowed(worker))
			continue;
		worker->session = session;
		worker->selected = NULL;
		worker->suspect = worker->watched = worker->cut = false;
		worker->used_ms = clock_now_ms();
		return true;
	}
	return false;
}

void workers_suspect(struct sync_account *account)
{
	for (unsigned i = 0; i < account->connections; i++) {
		struct worker *worker = &account->workers[i];
		uint64_t out;
		if (!worker->session || worker->testing)
			continue;
		worker->watched = worker->job;
		worker->suspect = !worker->job;
		link_traffic(account, worker->session, &worker->mark, &out);
		pthread_cond_signal(&worker->wakeup);
	}
}

void workers_cut(struct sync_account *account)
{
	/* Without figures nothing can be said of those who are busy. */
	for (unsigned i = 0; account->source->ops->traffic && i < account->connections; i++) {
		struct worker *worker = &account->workers[i];
		uint64_t in, out;
		if (!worker->watched || !worker->session || account->stopping)
			continue;
		worker->watched = false;
		link_traffic(account, worker->session, &in, &out);
		if (in != worker->mark)
			continue;
		worker->cut = true;
		account->source->ops->cancel(worker->session);
	}
}
