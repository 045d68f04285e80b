/* SPDX-License-Identifier: MIT */
/*
 * The worker threads and what they do next. A job goes to the idle worker that suits it best: one that has the
 * mailbox selected, else one that is connected, else one that would have to connect. So a quiet account has one
 * connection, a busy one as many as are allowed.
 *
 * Demand goes before bulk, and bulk never has the last worker, so that a reader does not wait behind a listing.
 * With one connection (allowed, or granted by the server) both share it. What a job is about is not known here.
 */
#include "private.h"

#include <errno.h>
#include <signal.h>

#include "mailfs/util/clock.h"

/* Lock held. */
static bool worker_rests(const struct worker *worker, int64_t now)
{
	return !worker->session && worker->resting_until_ms > now;
}

/* How well an idle worker suits a job; 0: not at all. Lock held. */
static int worker_fit(const struct worker *worker, const struct job *job, int64_t now)
{
	if (!worker->started || worker->job || worker_rests(worker, now))
		return 0;
	if (!worker->session)
		return 1;
	return worker->selected == job->folder ? 4 : worker->selected ? 2 : 3;
}

static struct worker *best_worker(struct sync_account *account, const struct job *job, int64_t now)
{
	struct worker *best = NULL;
	int best_fit = 0;
	for (unsigned i = 0; i < account->connections; i++) {
		int fit = worker_fit(&account->workers[i], job, now);
		if (fit > best_fit) {
			best_fit = fit;
			best = &account->workers[i];
		}
	}
	return best;
}

/* Whether one more worker may be taken for bulk. Lock held. */
static bool bulk_allowed(const struct sync_account *account, int64_t now)
{
	unsigned usable = 0, bulk = 0;
	for (unsigned i = 0; i < account->connections; i++) {
		const struct worker *worker = &account->workers[i];
		usable += !worker_rests(worker, now);
		bulk += worker->job && worker->class == JOB_BULK;
	}
	return bulk + 1 < usable || bulk == 0;
}

/* Hands out queued jobs as long as somebody can take them; when the account stops, nobody does. Lock held. */
static void dispatch(struct sync_account *account)
{
	if (account->stopping)
		return;
	int64_t now = clock_now_ms();
	struct list_node *pos, *tmp;
	for (int class = 0; class < JOB_CLASSES; class ++) {
		list_for_each(pos, tmp, &account->queues[class])
		{
			struct job *job = container_of(pos, struct job, node);
			if (class == JOB_BULK && !bulk_allowed(account, now))
				return;
			struct worker *worker = best_worker(account, job, now);
			if (!worker)
				return;
			list_remove(pos);
			worker->job = job;
			worker->class = job->class;
			pthread_cond_signal(&worker->wakeup);
		}
	}
}

void job_queue(struct sync_account *account, struct job *job)
{
	job->busy = true;
	list_push(&account->queues[job->class], &job->node);
	dispatch(account);
}

void job_take_all(struct sync_account *account, struct list_node *list)
{
	struct list_node *node;
	for (int class = 0; class < JOB_CLASSES; class ++)
		while ((node = list_pop(&account->queues[class])))
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

/* Whether it waits in the queue of its class: one that was taken out to be failed does not. Lock held. */
static bool job_is_queued(struct sync_account *account, const struct job *job)
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

	if (!worker_rests(worker, clock_now_ms()))
		pthread_cond_wait(&worker->wakeup, &worker->account->lock);
	else if (pthread_cond_timedwait(&worker->wakeup, &worker->account->lock, &end) == ETIMEDOUT)
		dispatch(worker->account);
}

/* The next job; NULL: the account stops. */
static struct job *worker_wait(struct worker *worker)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&worker->account->lock);
	while (!worker->job && !worker->account->stopping)
		worker_sleep(worker);
	return worker->job;
}

/*
 * The worker is free. again: a job to be put back at the head of its queue, NULL: none. false: too late for it.
 */
static bool worker_release(struct worker *worker, struct job *again)
{
	struct sync_account *account = worker->account;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	worker->job = NULL;
	if (again && account->stopping)
		return false;
	if (again)
		list_push(account->queues[again->class].next, &again->node);
	dispatch(account);
	return true;
}

static void *worker_main(void *arg)
{
	struct worker *worker = arg;
	struct job *job;
	while ((job = worker_wait(worker))) {
		int err = job->run(job, worker);
		if (!worker_release(worker, err == -EAGAIN ? job : NULL))
			job->fail(job, -EIO);
		waiter_wake_all(&worker->done);
	}
	session_drop(worker, !worker->cancelled);
	return NULL;
}

static int worker_start(struct worker *worker)
{
	int err = pthread_create(&worker->thread, NULL, worker_main, worker);
	if (err)
		return -err;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&worker->account->lock);
	worker->started = true;
	return 0;
}

int workers_start(struct sync_account *account, struct source_session *session)
{
	sigset_t all, before;
	int err = 0;

	account->workers[0].session = session;
	account->workers[0].used_ms = clock_now_ms();
	/* Signals are for the main thread alone. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = reaper_start(account);
	for (unsigned i = 0; err == 0 && i < account->connections; i++)
		err = worker_start(&account->workers[i]);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return err;
}

/* Whoever is in the middle of a call is cancelled; the idle say LOGOUT, all at the same time. */
static void workers_interrupt(struct sync_account *account, struct list_node *queued)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	job_take_all(account, queued);
	for (unsigned i = 0; i < account->connections; i++) {
		struct worker *worker = &account->workers[i];
		if (worker->job && worker->session) {
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
	reaper_join(account);
}
