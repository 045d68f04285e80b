/* SPDX-License-Identifier: MIT */
/*
 * Which folders there are: known from the store, or asked for, when the account starts, and looked at again by the survey job when the server tells of a change, when
 * enough time has passed, or when somebody looks. One survey runs at a time. The list of folders only grows, so that whoever has a folder keeps it; one that
 * comes back is in it already.
 */
#include "survey.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

#define PATIENT_MS 500
/* A look that failed is made again after this. */
#define RETRY_MS 5000

struct roster_job {
	struct job job;
	struct sync_account *account;
	bool again; /* lock: asked for while it ran */
};

/* --- What is known of a folder --- */

int roster_load_folder(struct sync_folder *folder)
{
	struct sync_account *account = folder->account;
	struct store_mailbox state;
	int err = store_number(account->store, account->name, STORE_NUMBER_DIRECTORY, folder->name,
		0, &folder->directory_number);
	/* Those that hold no messages too: a directory has a time. */
	if (err == 0)
		err = store_mailbox_get(account->store, folder->name, &state);
	if (err < 0)
		return err;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	folder->state = state;
	return 0;
}

struct sync_folder *roster_find(struct sync_account *account, const char *name)
{
	bool inbox = strcasecmp(name, "INBOX") == 0;
	for (size_t i = 0; i < account->folder_count; i++) {
		struct sync_folder *folder = account->folders[i];
		if (!folder->gone &&
			(inbox ? folder_is_inbox(folder) : strcmp(folder->name, name) == 0))
			return folder;
	}
	return NULL;
}

/* For the next mount without the server. What can not be kept was logged by the store. */
static void keep(struct sync_account *account)
{
	size_t count = sync_account_folder_count(account), kept = 0;
	_cleanup_free_ struct source_mailbox *mailboxes = calloc(count + 1, sizeof(*mailboxes));
	for (size_t i = 0; mailboxes && i < count; i++) {
		const struct sync_folder *folder = sync_account_folder(account, i);
		if (!sync_folder_is_gone(folder))
			mailboxes[kept++] = *sync_folder_mailbox(folder);
	}
	if (mailboxes)
		(void)store_roster_put(account->store, mailboxes, kept);
}

/* --- The start --- */

static int on_stored(void *arg, const struct source_mailbox *mailbox)
{
	struct sync_account *account = arg;
	int err = array_grow(&account->folders, &account->folder_cap, account->folder_count + 1,
		sizeof(struct sync_folder *));
	if (err == 0)
		err = folder_create(account, mailbox, &account->folders[account->folder_count]);
	if (err == 0) {
		account->folder_count++;
		account->roster.places++;
	}
	return err;
}

static void forget_all(struct sync_account *account)
{
	for (size_t i = 0; i < account->folder_count; i++)
		folder_destroy(account->folders[i]);
	account->folder_count = account->roster.places = 0;
}

int roster_restore(struct sync_account *account, struct source_error *error)
{
	forget_all(account);
	int err = store_roster_load(account->store, on_stored, account);
	for (size_t i = 0; err == 0 && i < account->folder_count; i++)
		err = roster_load_folder(account->folders[i]);
	if (err < 0) {
		forget_all(account);
		account_failed(error, err, "the store can not be used");
	}
	return err;
}

/* Nobody has them yet. */
static void drop_gone(struct sync_account *account, struct worker *worker)
{
	size_t kept = 0;
	for (size_t i = 0; i < account->folder_count; i++) {
		struct sync_folder *folder = account->folders[i];
		if (!folder->gone) {
			account->folders[kept++] = folder;
			continue;
		}
		if (worker->selected == folder)
			worker->selected = NULL;
		folder_destroy(folder);
	}
	account->folder_count = kept;
}

int roster_begin(struct sync_account *account, struct worker *worker, struct source_error *error)
{
	struct survey survey = {.account = account, .worker = worker, .quiet = true};
	int64_t now = clock_now_ms();
	int err = roster_restore(account, error);
	bool known = err == 0;
	if (err < 0 && err != -ENOENT)
		return error->err;
	err = survey_run(&survey);
	*error = survey.error;
	survey_finish(&survey);
	drop_gone(account, worker);
	if (err < 0) {
		forget_all(account);
		return err;
	}
	account->roster.asked_ms = account->roster.surveyed_ms = now;
	if (survey.changed || !known)
		keep(account);
	return 0;
}

/* --- The job --- */

/* full: there are more than can be shown. Lock held. */
static void done(struct roster_job *roster_job, int64_t began_ms, int err, bool full,
	struct list_node *woken)
{
	struct sync_account *account = roster_job->account;
	bool again = roster_job->again;
	roster_job->job.busy = false;
	roster_job->again = false;
	if (err == 0)
		account->roster.surveyed_ms = began_ms;
	/* Who waited was to see what there is: without the server, or its list, that is what is known; but not what can not be shown. */
	bool failed = account->stopping || full;
	waiter_take_all(&account->roster.waiters, failed ? err : 0, woken);
	if (again && err == 0)
		roster_request(account);
	else if (err < 0 && !failed)
		account->roster.due_ms = clock_now_ms() + RETRY_MS;
}

/* That there are too many folders does not pass by itself: it is said once. */
static void tell(struct sync_account *account, const struct survey *survey, int err)
{
	pthread_mutex_lock(&account->lock);
	bool known = account->roster.full && survey->full;
	if (err == 0 || survey->full)
		account->roster.full = survey->full;
	pthread_mutex_unlock(&account->lock);
	if (err < 0 && !known && survey->error.scope < SOURCE_SCOPE_ACCOUNT)
		log_warning("%s: %s", account->name, survey->error.text);
}

static int run(struct job *job, struct worker *worker)
{
	struct roster_job *roster_job = container_of(job, struct roster_job, job);
	struct sync_account *account = roster_job->account;
	struct survey survey = {.account = account, .worker = worker};
	int64_t now = clock_now_ms();

	int err = survey_run(&survey);
	bool changed = survey.changed;
	survey_finish(&survey);
	if (err == -EAGAIN)
		return err;
	tell(account, &survey, err);
	if (changed)
		keep(account);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	done(roster_job, now, err, survey.full, &worker->done);
	return 0;
}

static void fail(struct job *job, int err)
{
	struct roster_job *roster_job = container_of(job, struct roster_job, job);
	struct list_node woken;
	list_init(&woken);
	pthread_mutex_lock(&roster_job->account->lock);
	done(roster_job, 0, err, false, &woken);
	pthread_mutex_unlock(&roster_job->account->lock);
	waiter_wake_all(&woken);
}

int roster_init(struct sync_account *account)
{
	struct roster_job *roster_job = calloc(1, sizeof(*roster_job));
	list_init(&account->roster.waiters);
	account->roster.surveyed_ms = -1;
	account->roster.due_ms = account->roster.patient_ms = CLOCK_NEVER;
	if (!roster_job)
		return -ENOMEM;
	roster_job->account = account;
	roster_job->job = (struct job){.class = JOB_DEMAND, .run = run, .fail = fail};
	list_init(&roster_job->job.node);
	account->roster.job = roster_job;
	return 0;
}

void roster_finish(struct sync_account *account)
{
	free(account->roster.job);
}

void roster_request(struct sync_account *account)
{
	struct roster *roster = &account->roster;
	if (account->drop || account->stopping)
		return;
	roster->asked_ms = clock_now_ms();
	roster->due_ms = CLOCK_NEVER;
	/* What it finds could not be told, or it could find nothing: come_online() and set_events() ask again. */
	roster->wanted = !account->events.rows || account->link.state == SYNC_LINK_OFFLINE;
	if (roster->wanted)
		return;
	struct job *job = &roster->job->job;
	if (job->busy) {
		roster->job->again = true;
		return;
	}
	/* It is not worth a connection of its own, but to who waits for it. */
	job->patient = list_empty(&roster->waiters);
	if (job->patient) {
		roster->patient_ms = roster->asked_ms + PATIENT_MS;
		link_wake(account);
	}
	job_queue(account, job);
}

void roster_hurry(struct sync_account *account)
{
	struct job *job = &account->roster.job->job;
	account->roster.patient_ms = CLOCK_NEVER;
	if (!job->busy || !job->patient)
		return;
	job->patient = false;
	job_dispatch(account);
}

/* Whether the list need not be looked at. Lock held. */
static bool is_current(const struct sync_account *account)
{
	const struct roster *roster = &account->roster;
	if (account->drop || account->link.state == SYNC_LINK_OFFLINE || !account->events.rows)
		return true;
	if (roster->surveyed_ms < 0)
		return false;
	/* A survey that runs was asked for by the watch. */
	if (account->watch.all && roster->job->job.busy)
		return false;
	/* NOTIFY tells of folders, but Dovecot loses some of that where much happens within half a second. */
	return clock_now_ms() - roster->surveyed_ms < account->refresh_ms;
}

int sync_account_survey(struct sync_account *account, struct sync_waiter *waiter)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	if (account->stopping)
		return -EIO;
	if (is_current(account))
		return 0;
	struct job *job = &account->roster.job->job;
	waiter_add(account, &account->roster.waiters, waiter);
	waiter->lenient = true;
	if (!job->busy)
		roster_request(account);
	else
		roster_hurry(account);
	return -EINPROGRESS;
}
