/* SPDX-License-Identifier: MIT */
/*
 * Folders that were renamed elsewhere. IMAP does not tell of it (but in a LIST to those who asked by NOTIFY, which many servers leave out): one
 * folder is gone, another is there. They are the same if
 *
 *   - both have the same MAILBOXID (RFC 8474), which nothing but a rename brings about; or, where there are none,
 *   - UIDVALIDITY is the same, UIDNEXT not lower, at least half of the UIDs that are stored are there, and of those that are, a sample (all, where they are
 *     few) has the INTERNALDATE and the header fields that are stored; and no other folder fits
 *
 * UIDVALIDITY and UIDs alone prove nothing: servers give the same UIDVALIDITY to many folders, and every folder begins with UID 1.
 * A rename that is not recognised costs a listing and cached bodies. One that is taken for what it is not would show other people's mail,
 * so every doubt speaks against it.
 */
#include "sample.h"
#include "survey.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/hash.h"
#include "mailfs/util/log.h"

#define SAMPLES_MAX   16
#define RANGES_MAX    1000000
#define QUIET_MS      5000
#define QUIET_STEP_MS 20

/* --- UIDs --- */

struct uid_span {
	uint32_t first, last;
};

struct uids {
	uint32_t *stored; /* ascending */
	size_t count, cap;
	struct uid_span *ranges; /* on the server */
	size_t range_count, range_cap;
};

static void uids_finish(struct uids *uids)
{
	free(uids->stored);
	free(uids->ranges);
}

static int on_stored(void *arg, const struct source_row *row)
{
	struct uids *uids = arg;
	int err = array_grow(&uids->stored, &uids->cap, uids->count + 1, sizeof(*uids->stored));
	if (err == 0)
		uids->stored[uids->count++] = row->uid;
	return err;
}

static int on_range(void *arg, uint32_t first, uint32_t last)
{
	struct uids *uids = arg;
	if (uids->range_count >= RANGES_MAX)
		return -E2BIG;
	int err = array_grow(
		&uids->ranges, &uids->range_cap, uids->range_count + 1, sizeof(*uids->ranges));
	if (err == 0)
		uids->ranges[uids->range_count++] = (struct uid_span){first, last};
	return err;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct uid_span *x = a, *y = b;
	return (x->first > y->first) - (x->first < y->first);
}

/* Leaves of the stored UIDs those that the server has; what came is sorted first. */
static void keep_common(struct uids *uids)
{
	size_t kept = 0, at = 0;
	if (uids->range_count)
		qsort(uids->ranges, uids->range_count, sizeof(*uids->ranges), compare_ranges);
	for (size_t i = 0; i < uids->count; i++) {
		uint32_t uid = uids->stored[i];
		while (at < uids->range_count && uids->ranges[at].last < uid)
			at++;
		if (at < uids->range_count && uids->ranges[at].first <= uid)
			uids->stored[kept++] = uid;
	}
	uids->count = kept;
}

static int call_uids(struct worker *worker, void *arg, struct source_error *error)
{
	struct uids *uids = arg;
	const struct source_ops *ops = worker->account->source->ops;
	uids->range_count = 0;
	if (!ops->uids)
		return session_fail(error, SOURCE_SCOPE_MAILBOX, -EOPNOTSUPP, "no list of UIDs");
	return ops->uids(worker->session, 1, uids->stored[uids->count - 1], on_range, uids, error);
}

/* --- The proof --- */

struct trial {
	struct survey *survey;
	const struct departure *departure;
	const struct arrival *arrival;
};

/* 1: yes; 0: no, or the server refuses to tell; else the survey ends. */
static int verdict(const struct survey *survey, int err, bool yes)
{
	if (err == 0)
		return yes;
	if (err == -EAGAIN || err == -ENOMEM || survey->error.scope >= SOURCE_SCOPE_ACCOUNT)
		return err;
	return 0;
}

static int same_message(const struct trial *trial, uint32_t uid)
{
	struct survey *survey = trial->survey;
	struct sample sample = {.uid = uid};
	if (sample_stored(survey->account->store, trial->departure->state.folder, &sample) < 0)
		return 0;
	survey->looks++;
	int err = session_call(survey->worker, trial->arrival->folder,
		trial->arrival->state.uidvalidity, sample_call, &sample, &survey->error);
	return verdict(survey, err, sample.listed == sample.stored);
}

/* A few, from all over the folder, the first and the last among them. */
static int same_messages(const struct trial *trial, const struct uids *uids)
{
	size_t count = uids->count < SAMPLES_MAX ? uids->count : SAMPLES_MAX;
	for (size_t i = 0; i < count; i++) {
		size_t at = count > 1 ? i * (uids->count - 1) / (count - 1) : 0;
		int same = same_message(trial, uids->stored[at]);
		if (same != 1)
			return same;
	}
	return 1;
}

/* 1: they are the same. */
static int prove(const struct trial *trial)
{
	struct survey *survey = trial->survey;
	_cleanup_(uids_finish) struct uids uids = {0};
	int err = store_rows_load(
		survey->account->store, trial->departure->state.folder, 1, on_stored, &uids);
	if (err < 0)
		return err == -ENOMEM ? err : 0;
	size_t stored = uids.count;
	if (stored == 0)
		return 0;
	survey->looks++;
	err = session_call(survey->worker, trial->arrival->folder,
		trial->arrival->state.uidvalidity, call_uids, &uids, &survey->error);
	if (err < 0)
		return verdict(survey, err, false);
	keep_common(&uids);
	if (uids.count == 0 || uids.count < stored - stored / 2)
		return 0;
	return same_messages(trial, &uids);
}

/* --- Who is who --- */

static bool is_selectable(const struct sync_folder *folder)
{
	return !(sync_folder_mailbox(folder)->flags & SOURCE_MAILBOX_NOSELECT);
}

/* Asks once what an arrival is. */
static int look(struct survey *survey, struct arrival *arrival)
{
	if (arrival->looked || !is_selectable(arrival->folder))
		return 0;
	int err = survey_status(survey, arrival->folder->name, &arrival->state);
	if (err == 0)
		arrival->there = true;
	else if (verdict(survey, err, false) < 0)
		return err;
	arrival->looked = true;
	return 0;
}

static bool same_id(const struct departure *departure, const struct arrival *arrival)
{
	return departure->state.mailbox_id &&
	       departure->state.mailbox_id == arrival->state.mailbox_id;
}

/* Whether a proof is worth the asking. */
static bool may_be(const struct departure *departure, const struct arrival *arrival)
{
	bool ids = departure->state.mailbox_id && arrival->state.mailbox_id;
	return arrival->there && !arrival->former && !ids &&
	       arrival->state.uidvalidity == departure->state.uidvalidity &&
	       (arrival->state.uidnext == 0 || arrival->state.uidnext >= departure->state.uidnext);
}

static void marry(struct departure *departure, struct arrival *arrival)
{
	departure->heir = arrival;
	arrival->former = departure;
}

/* The arrival with its MAILBOXID, which is one mailbox's alone. */
static void find_by_id(struct survey *survey, struct departure *departure)
{
	struct arrival *found = NULL;
	for (size_t i = 0; i < survey->arrival_count; i++) {
		struct arrival *arrival = &survey->arrivals[i];
		if (!arrival->there || !same_id(departure, arrival))
			continue;
		if (found || arrival->former)
			return;
		found = arrival;
	}
	if (found)
		marry(departure, found);
}

/* The one arrival of which it can be proven; two are none. */
static int find_by_proof(struct survey *survey, struct departure *departure)
{
	struct arrival *found = NULL;
	for (size_t i = 0; i < survey->arrival_count; i++) {
		struct arrival *arrival = &survey->arrivals[i];
		const struct trial trial = {survey, departure, arrival};
		if (!may_be(departure, arrival))
			continue;
		if (survey->looks >= SURVEY_LOOKS_MAX)
			return 0;
		int proven = prove(&trial);
		if (proven < 0)
			return proven;
		if (proven && found)
			return 0;
		if (proven)
			found = arrival;
	}
	if (found)
		marry(departure, found);
	return 0;
}

static bool has_past(const struct departure *departure)
{
	return departure->leaves && departure->confirmed && departure->state.folder &&
	       departure->state.uidvalidity;
}

int renames_find(struct survey *survey)
{
	int err = 0;
	bool any = false;
	for (size_t i = 0; i < survey->departure_count; i++)
		any |= has_past(&survey->departures[i]);
	for (size_t i = 0; any && err == 0 && i < survey->arrival_count; i++)
		if (survey->looks < SURVEY_LOOKS_MAX)
			err = look(survey, &survey->arrivals[i]);
	for (size_t i = 0; err == 0 && i < survey->departure_count; i++)
		if (has_past(&survey->departures[i]))
			find_by_id(survey, &survey->departures[i]);
	for (size_t i = 0; err == 0 && i < survey->departure_count; i++) {
		struct departure *departure = &survey->departures[i];
		if (has_past(departure) && !departure->heir)
			err = find_by_proof(survey, departure);
	}
	return err;
}

/* --- What is stored --- */

/* Takes a listing that waits out of its queue. Lock held; true: it is to be failed. */
static bool unqueue(struct sync_folder *folder)
{
	if (!folder->listing_job.busy || !job_is_queued(folder->account, &folder->listing_job))
		return false;
	list_remove(&folder->listing_job.node);
	return true;
}

bool rename_quiet(struct sync_folder *folder)
{
	struct sync_account *account = folder->account;
	int64_t until_ms = clock_now_ms() + QUIET_MS;
	const struct timespec step = {.tv_nsec = QUIET_STEP_MS * 1000000L};
	for (;;) {
		pthread_mutex_lock(&account->lock);
		bool queued = unqueue(folder), busy = folder->listing_job.busy;
		pthread_mutex_unlock(&account->lock);
		if (queued)
			folder->listing_job.fail(&folder->listing_job, -ENOENT);
		if (queued || !busy)
			return true;
		if (clock_now_ms() >= until_ms || account_stopping(account))
			return false;
		nanosleep(&step, NULL);
	}
}

static int move_rows(
	struct survey *survey, const struct arrival *arrival, struct store_mailbox *state)
{
	struct store *store = survey->account->store;
	uint32_t number;
	/* Under another UIDVALIDITY the listing carries over what it can. */
	if (arrival->state.uidvalidity != state->uidvalidity)
		return 0;
	int err = store_number(store, survey->account->name, STORE_NUMBER_FOLDER,
		arrival->folder->name, state->uidvalidity, &number);
	/* A folder of that name may have been there before, and left something. */
	if (err == 0)
		err = store_folder_remove(store, number);
	if (err == 0)
		err = store_folder_move(store, state->folder, number);
	if (err == 0)
		state->folder = number;
	return err;
}

static void move_pin(
	struct survey *survey, const struct departure *departure, const struct arrival *arrival)
{
	struct store *store = survey->account->store;
	const char *former = departure->folder->name, *name = arrival->folder->name;
	if (store_is_pinned(store, former, departure->state.folder, 0) &&
		!store_is_pinned(store, name, departure->state.folder, 0))
		(void)store_pin_mailbox(store, name, true);
}

int rename_store(struct survey *survey, struct arrival *arrival)
{
	struct store *store = survey->account->store;
	const struct departure *departure = arrival->former;
	struct store_mailbox state = departure->state;
	if (!rename_quiet(departure->folder))
		return -EBUSY;
	int err = move_rows(survey, arrival, &state);
	if (err < 0)
		return err;
	/* Renamed is changed, for who looks at the folder's time. */
	state.changed_s = changed_after(state.changed_s);
	move_pin(survey, departure, arrival);
	err = store_mailbox_put(store, arrival->folder->name, &state);
	if (err == 0)
		err = store_mailbox_remove(store, departure->folder->name);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&survey->account->lock);
	arrival->folder->state = state;
	return err;
}
