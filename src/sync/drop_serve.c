/* SPDX-License-Identifier: MIT */
/*
 * The serving half of a maildrop: its one folder, whose listing is what the spool holds, and those who wait for messages that
 * are on their way. Nothing here asks the server.
 *
 * Invariants. A message is `fresh` from the moment it is said to be durable until the tree was told of it, and it stops being
 * expected in the same step in which it becomes fresh. So a message that is neither, after it was not found in the tree,
 * is found when it is looked for once more, or nobody knows of it. The first run of the listing job takes note of what is fresh, then
 * announces all that is stored, which holds these; every later round announces what is fresh then. The job ends, in one
 * step, only when nothing is. Rows go out before the folder's time moves: who sees the new time sees the new messages.
 *
 * In the mailbox's state modseq is the number of messages of which changed_s tells. Messages are never removed, so a
 * number that differs shows at the next mount that a crash came between a message and its folder's time.
 */
#include "drop.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "listing.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "mailfs/util/str.h"

/* Messages that are announced in one round, after which those who wait for them are woken. */
#define ROUND_MAX 256

/* --- What is expected. All of it with the lock held. --- */

static struct expected *find_expected(const struct drop_serve *serve, uint32_t uid)
{
	size_t low = 0, high = serve->expected_count;
	while (low < high) {
		size_t mid = low + (high - low) / 2;
		if (serve->expected[mid].uid < uid)
			low = mid + 1;
		else
			high = mid;
	}
	bool found = low < serve->expected_count && serve->expected[low].uid == uid;
	return found ? &serve->expected[low] : NULL;
}

static bool is_fresh(const struct drop_serve *serve, uint32_t uid)
{
	for (size_t i = 0; i < serve->fresh_count; i++)
		if (serve->fresh[i] == uid)
			return true;
	return false;
}

/* -EINPROGRESS: it is to be waited for; 0: it was announced, or nobody knows of it; else what keeps it away. */
static int standing(const struct drop_serve *serve, uint32_t uid)
{
	const struct expected *expected = find_expected(serve, uid);
	if (expected && expected->standing != 0)
		return expected->standing;
	return is_fresh(serve, uid) ? -EINPROGRESS : 0;
}

/* Takes those whose message need not be waited for any more. */
static void settle_waiters(struct drop_serve *serve, struct list_node *done)
{
	struct list_node *pos, *tmp;
	list_for_each(pos, tmp, &serve->waiters)
	{
		struct sync_waiter *waiter = container_of(pos, struct sync_waiter, node);
		int err = standing(serve, (uint32_t)waiter->offset);
		if (err != -EINPROGRESS)
			waiter_take(waiter, err, done);
	}
}

/* Somebody waits for it: it is to be fetched next. */
static void urge(struct drop_serve *serve, uint32_t uid)
{
	struct expected *expected = find_expected(serve, uid);
	if (!expected || expected->standing != -EINPROGRESS || expected->asked)
		return;
	expected->asked = true;
	serve->urgent[serve->urgent_count++] = uid;
}

/* Those who waited before this look go on waiting. */
static void urge_all(struct drop_serve *serve)
{
	struct list_node *pos, *tmp;
	list_for_each(pos, tmp, &serve->waiters)
		urge(serve, (uint32_t)container_of(pos, struct sync_waiter, node)->offset);
}

/* --- What the intake says --- */

static int compare_expected(const void *a, const void *b)
{
	const struct expected *x = a, *y = b;
	return (x->uid > y->uid) - (x->uid < y->uid);
}

/* Sorted, each once. NULL: no memory. */
static struct expected *make_expected(const uint32_t *uids, size_t count, size_t *ret_count)
{
	struct expected *expected = calloc(count + 1, sizeof(*expected));
	size_t kept = 0;
	if (!expected)
		return NULL;
	for (size_t i = 0; i < count; i++)
		expected[i] = (struct expected){.uid = uids[i], .standing = -EINPROGRESS};
	qsort(expected, count, sizeof(*expected), compare_expected);
	for (size_t i = 0; i < count; i++)
		if (kept == 0 || expected[kept - 1].uid != expected[i].uid)
			expected[kept++] = expected[i];
	*ret_count = kept;
	return expected;
}

/* Exchanges what is expected; the old tables go into the parameters. Lock held. */
static void exchange_expected(
	struct drop_serve *serve, struct expected **expected, uint32_t **urgent, size_t count)
{
	struct expected *old_expected = serve->expected;
	uint32_t *old_urgent = serve->urgent;
	serve->expected = *expected;
	serve->expected_count = count;
	serve->urgent = *urgent;
	serve->urgent_count = serve->urgent_taken = 0;
	*expected = old_expected;
	*urgent = old_urgent;
}

int drop_expect(struct drop *drop, const uint32_t *uids, size_t count)
{
	struct drop_serve *serve = &drop->serve;
	struct list_node done;
	size_t kept = 0;
	_cleanup_free_ struct expected *expected = make_expected(uids, count, &kept);
	_cleanup_free_ uint32_t *urgent = calloc(count + 1, sizeof(*urgent));
	if (!expected || !urgent)
		return -ENOMEM;
	list_init(&done);
	pthread_mutex_lock(&drop->account->lock);
	exchange_expected(serve, &expected, &urgent, kept);
	settle_waiters(serve, &done);
	urge_all(serve);
	pthread_mutex_unlock(&drop->account->lock);
	waiter_wake_all(&done);
	return 0;
}

void drop_unexpect(struct drop *drop, uint32_t uid, int err)
{
	struct list_node done;
	list_init(&done);
	pthread_mutex_lock(&drop->account->lock);
	struct expected *expected = find_expected(&drop->serve, uid);
	if (expected && expected->standing == -EINPROGRESS) {
		expected->standing = err;
		settle_waiters(&drop->serve, &done);
	}
	pthread_mutex_unlock(&drop->account->lock);
	waiter_wake_all(&done);
}

void drop_expect_nothing(struct drop *drop, int err)
{
	struct drop_serve *serve = &drop->serve;
	struct list_node done;
	list_init(&done);
	pthread_mutex_lock(&drop->account->lock);
	for (size_t i = 0; i < serve->expected_count; i++)
		if (serve->expected[i].standing == -EINPROGRESS)
			serve->expected[i].standing = err;
	settle_waiters(serve, &done);
	pthread_mutex_unlock(&drop->account->lock);
	waiter_wake_all(&done);
}

bool drop_urgent(struct drop *drop, uint32_t *ret_uid)
{
	struct drop_serve *serve = &drop->serve;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&drop->account->lock);
	while (serve->urgent_taken < serve->urgent_count) {
		uint32_t uid = serve->urgent[serve->urgent_taken++];
		const struct expected *expected = find_expected(serve, uid);
		if (expected && expected->standing == -EINPROGRESS) {
			*ret_uid = uid;
			return true;
		}
	}
	return false;
}

/* The set of messages has changed. A time that nobody was told need not move on: it would run ahead of the clock. Lock held. */
static void move_time(struct sync_folder *folder, size_t count)
{
	struct store_mailbox *state = &folder->state;
	if (folder->time_told || clock_wall_s() > state->changed_s)
		state->changed_s = changed_after(state->changed_s);
	state->modseq += count;
	folder->time_told = false;
}

/* Without memory for it, all is announced anew. Lock held. */
static void add_fresh(struct drop_serve *serve, const uint32_t *uids, size_t count)
{
	int err = array_grow(&serve->fresh, &serve->fresh_cap, serve->fresh_count + count,
		sizeof(*serve->fresh));
	serve->reload |= err < 0;
	for (size_t i = 0; i < count && err == 0; i++) {
		struct expected *expected = find_expected(serve, uids[i]);
		serve->fresh[serve->fresh_count++] = uids[i];
		if (expected)
			expected->standing = 0;
	}
}

void drop_stored(struct drop *drop, const uint32_t *uids, size_t count)
{
	struct drop_serve *serve = &drop->serve;
	struct sync_folder *folder = serve->folder;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&drop->account->lock);
	if (count == 0)
		return;
	add_fresh(serve, uids, count);
	/* Before anybody has seen the messages their time may move; later it moves behind them. */
	if (folder->listing == SYNC_LISTING_NONE || folder->listing == SYNC_LISTING_FAILED)
		move_time(folder, count);
	else if (!drop->account->stopping)
		folder_start_listing(folder);
}

/* --- The listing job --- */

/* What one round of the job announces: the first `count` of what is fresh. */
struct round {
	bool all; /* and everything that is stored */
	size_t count;
	uint32_t uids[ROUND_MAX]; /* unless all */
};

static void begin_round(struct drop_serve *serve, struct listing *listing, struct round *round)
{
	struct sync_folder *folder = serve->folder;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	listing->known = folder->state;
	folder->stale = false;
	round->all = folder->announced != serve->number || serve->reload;
	round->count = serve->fresh_count;
	serve->reload = false;
	if (round->all)
		return;
	if (round->count > ROUND_MAX)
		round->count = ROUND_MAX;
	if (round->count > 0)
		memcpy(round->uids, serve->fresh, round->count * sizeof(*round->uids));
}

static int on_row(void *arg, const struct source_row *row)
{
	struct listing *listing = arg;
	return row_batch_add(&listing->batch, row);
}

static int announce_fresh(struct listing *listing, const struct round *round)
{
	int err = 0;
	row_batch_reset(&listing->batch);
	for (size_t i = 0; i < round->count && err == 0; i++) {
		err = store_row_get(listing->account->store, listing->known.folder, round->uids[i],
			on_row, listing);
		if (err == -ENOENT) {
			log_error("%s: message %" PRIu32 " was stored and is not there",
				listing->folder->name, round->uids[i]);
			err = 0;
		}
	}
	return err < 0 ? err : listing_flush(listing, true);
}

/* Moves the folder's time, if that was not done when the messages came, and keeps it; tells of it those who know the old one. */
static void date_round(struct drop_serve *serve, struct listing *listing, const struct round *round)
{
	struct sync_account *account = listing->account;
	struct sync_folder *folder = serve->folder;
	pthread_mutex_lock(&account->lock);
	if (!round->all)
		move_time(folder, round->count);
	struct store_mailbox state = folder->state;
	pthread_mutex_unlock(&account->lock);
	/* If it fails, the next mount finds that the number of messages is another. */
	(void)store_mailbox_put(account->store, folder->name, &state);
	if (!round->all)
		account->events.changed(account->events.arg, folder, state.changed_s);
}

/* What was announced is not fresh any more; those who waited for it are put into done. */
static void end_round(struct drop_serve *serve, const struct round *round, struct list_node *done)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&serve->folder->account->lock);
	size_t left = serve->fresh_count - round->count;
	if (left > 0 && round->count > 0)
		memmove(serve->fresh, serve->fresh + round->count, left * sizeof(*serve->fresh));
	serve->fresh_count = left;
	settle_waiters(serve, done);
}

static int run_round(struct drop_serve *serve, struct listing *listing, struct list_node *done)
{
	struct round round;
	begin_round(serve, listing, &round);
	if (!round.all && round.count == 0)
		return 0;
	int err = round.all ? listing_announce_stored(listing) : announce_fresh(listing, &round);
	if (err < 0)
		return err;
	date_round(serve, listing, &round);
	end_round(serve, &round, done);
	return 0;
}

/* Those whose message could not be announced hear of it; the next refresh, or message, tries again. Lock held. */
static void give_up(struct drop_serve *serve, int err, struct list_node *done)
{
	struct list_node *pos, *tmp;
	serve->folder->stale = true;
	list_for_each(pos, tmp, &serve->waiters)
	{
		struct sync_waiter *waiter = container_of(pos, struct sync_waiter, node);
		if (is_fresh(serve, (uint32_t)waiter->offset))
			waiter_take(waiter, err, done);
	}
}

/* Whether the job is over: it is not while there is something to announce. */
static bool run_ends(struct drop_serve *serve, int err, struct list_node *done)
{
	struct sync_account *account = serve->folder->account;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	if (err == 0 && !account->stopping && (serve->fresh_count > 0 || serve->reload))
		return false;
	if (err < 0)
		give_up(serve, err, done);
	listing_done(serve->folder, clock_now_ms(), err, done);
	return true;
}

static int serve_run(struct job *job, struct worker *worker)
{
	struct sync_folder *folder = job->folder;
	struct drop_serve *serve = &folder->account->drop->serve;
	struct listing listing = {.account = folder->account, .folder = folder, .worker = worker};
	int err;
	do {
		waiter_wake_all(&worker->done);
		err = run_round(serve, &listing, &worker->done);
	} while (!run_ends(serve, err, &worker->done));
	if (err < 0)
		log_warning("%s: the messages in the spool can not be listed: %s", folder->name,
			strerror(-err));
	listing_finish(&listing);
	return 0;
}

/* --- For the tree --- */

int sync_folder_expected(struct sync_folder *folder, uint32_t uid, struct sync_waiter *waiter)
{
	struct sync_account *account = folder->account;
	struct drop_serve *serve;
	if (!account->drop)
		return 0;
	serve = &account->drop->serve;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	int err = standing(serve, uid);
	if (err != -EINPROGRESS)
		return err;
	if (account->stopping)
		return -EIO;
	waiter->offset = uid;
	waiter_add(account, &serve->waiters, waiter);
	urge(serve, uid);
	if (is_fresh(serve, uid))
		folder_start_listing(folder);
	return -EINPROGRESS;
}

bool sync_account_is_expecting(struct sync_account *account)
{
	if (!account->drop)
		return false;
	const struct drop_serve *serve = &account->drop->serve;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	for (size_t i = 0; i < serve->expected_count; i++)
		if (serve->expected[i].standing == -EINPROGRESS)
			return true;
	return false;
}

bool sync_account_is_drop(const struct sync_account *account)
{
	return account->drop;
}

/* --- Made and ended --- */

/* What the mailbox's state says of the folder, brought up to date with what is stored. */
static int load_state(struct sync_account *account, struct drop_serve *serve)
{
	struct store_mailbox *state = &serve->folder->state;
	uint64_t messages, unseen;
	int err = store_mailbox_get(account->store, DROP_MAILBOX, state);
	if (err == 0)
		err = store_folder_count(account->store, serve->number, &messages, &unseen);
	if (err < 0)
		return err;
	if (state->modseq != messages)
		state->changed_s = changed_after(state->changed_s);
	state->folder = serve->number;
	state->uidvalidity = DROP_UIDVALIDITY;
	state->modseq = messages;
	state->complete = true;
	/* A time that an earlier mount showed. */
	serve->folder->time_told = true;
	/* A full disk must not keep anybody from what is here; the next mount finds the same again. */
	(void)store_mailbox_put(account->store, DROP_MAILBOX, state);
	return 0;
}

static int make_folder(struct sync_account *account, struct drop_serve *serve)
{
	const struct source_mailbox mailbox = {
		.name = DROP_MAILBOX, .flags = SOURCE_MAILBOX_PERSONAL};
	int err = array_grow(
		&account->folders, &account->folder_cap, 1, sizeof(struct sync_folder *));
	if (err == 0)
		err = folder_create(account, &mailbox, &account->folders[0]);
	if (err < 0)
		return err;
	account->folder_count = 1;
	serve->folder = account->folders[0];
	serve->folder->listing_job.run = serve_run;
	return 0;
}

int drop_serve_init(struct drop *drop)
{
	struct sync_account *account = drop->account;
	struct drop_serve *serve = &drop->serve;
	*serve = (struct drop_serve){0};
	list_init(&serve->waiters);
	int err = make_folder(account, serve);
	if (err == 0)
		err = store_number(account->store, account->name, STORE_NUMBER_DIRECTORY,
			DROP_MAILBOX, 0, &serve->folder->directory_number);
	if (err == 0)
		err = store_number(account->store, account->name, STORE_NUMBER_FOLDER, DROP_MAILBOX,
			DROP_UIDVALIDITY, &serve->number);
	if (err == 0)
		err = load_state(account, serve);
	spool_source_init(
		&serve->source, account->store, serve->number, DROP_MAILBOX, DROP_UIDVALIDITY);
	account->source = &serve->source.base;
	return err;
}

void drop_serve_finish(struct drop *drop)
{
	struct drop_serve *serve = &drop->serve;
	free(serve->fresh);
	free(serve->expected);
	free(serve->urgent);
	serve->fresh = NULL;
	serve->expected = NULL;
	serve->urgent = NULL;
	serve->fresh_count = serve->expected_count = serve->urgent_count = 0;
}
