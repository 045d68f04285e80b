/* SPDX-License-Identifier: MIT */
/*
 * The listing job: makes the store's and the tree's picture of a folder that of the server. Invariants: nothing
 * that is gone is shown (what is stored is compared before it is announced); nothing is taken for gone on an
 * answer that may have holes; and a crash at any point leaves a state that the next run repairs, because the
 * mailbox's state, which is what lets a run find "unchanged", is written last. UIDNEXT and MODSEQ are those of
 * the SELECT before the fetch, so what happens during it is found by the next run.
 *
 * The ladder's upper rungs (QRESYNC, CHANGEDSINCE) are left out: a changed folder costs one scan of UIDs and
 * flags.
 */
#include "listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

#define PAGE_ROWS 2000

static int save_state(struct listing *listing)
{
	struct sync_folder *folder = listing->folder;
	int err = store_mailbox_put(listing->account->store, folder->name, &listing->known);
	if (err < 0)
		return err;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&listing->account->lock);
	folder->state = listing->known;
	return 0;
}

/*
 * Notes that the set of messages is another one, before the store holds the new set: a crash must not hide it.
 */
static int note_change(struct listing *listing)
{
	listing->changed = true;
	listing->known.changed_s = changed_after(listing->known.changed_s);
	return save_state(listing);
}

/* Tells the tree under which identity rows are to come. A reader must never find the emptied folder whole. */
static void announce_identity(struct listing *listing)
{
	struct sync_account *account = listing->account;
	struct sync_folder *folder = listing->folder;

	pthread_mutex_lock(&account->lock);
	folder->listing = SYNC_LISTING_RUNNING;
	folder->listing_err = 0;
	folder->state = listing->known;
	pthread_mutex_unlock(&account->lock);
	/* Set by those who announce the rows: a run that fails half way must not leave the rest unannounced. */
	folder->announced = 0;
	account->events.reset(account->events.arg, folder, listing->known.folder);
}

struct page {
	struct listing *listing;
	uint32_t last;
};

static int on_stored_row(void *arg, const struct source_row *row)
{
	struct page *page = arg;
	int err = row_batch_add(&page->listing->batch, row);
	page->last = row->uid;
	if (err < 0)
		return err;
	return page->listing->batch.count < PAGE_ROWS ? 0 : -ECANCELED;
}

/* Page by page: the tree must not be called while the store is reading. */
int listing_announce_stored(struct listing *listing)
{
	struct page page = {.listing = listing};
	int err;

	announce_identity(listing);
	do {
		err = store_rows_load(listing->account->store, listing->known.folder, page.last + 1,
			on_stored_row, &page);
		if (err < 0 && err != -ECANCELED)
			return err;
		int flushed = listing_flush(listing, true);
		if (flushed < 0)
			return flushed;
	} while (err == -ECANCELED && page.last != UINT32_MAX);
	listing->folder->announced = listing->known.folder;
	return 0;
}

/* The rest of a listing, from a UID on. */
static int list_from(struct listing *listing, uint32_t first)
{
	listing->skipped = 0;
	if (listing->state.messages == 0)
		return 0;
	int err = listing_rows(listing, first, UINT32_MAX, SOURCE_COLUMNS_ALL);
	if (err < 0)
		return err;
	return listing_settle(listing, listing->seen.count >= listing->state.messages);
}

/* The folder was never listed, or the server has renumbered it. */
static int list_anew(struct listing *listing)
{
	struct store *store = listing->account->store;
	struct store_mailbox *known = &listing->known;
	uint32_t number;

	int err = store_number(store, listing->account->name, STORE_NUMBER_FOLDER,
		listing->folder->name, listing->state.uidvalidity, &number);
	if (err == 0 && known->folder)
		err = store_folder_remove(store, known->folder);
	if (err < 0)
		return err;
	if (known->complete) {
		listing->changed = true;
		known->changed_s = changed_after(known->changed_s);
	}
	*known = (struct store_mailbox){.folder = number,
		.uidvalidity = listing->state.uidvalidity,
		.changed_s = known->changed_s};
	err = store_mailbox_put(store, listing->folder->name, known);
	if (err < 0)
		return err;
	announce_identity(listing);
	/* Nothing is stored yet, so what is not announced now is announced as it comes. */
	listing->folder->announced = number;
	return list_from(listing, 1);
}

struct stored {
	struct diff_rows rows;
	struct flag_table *flags;
};

static int on_known_row(void *arg, const struct source_row *row)
{
	struct stored *stored = arg;
	uint32_t flags;
	int err = flag_table_add(stored->flags, row->flags ? row->flags : "", &flags);
	return err < 0 ? err : diff_rows_add(&stored->rows, row->uid, flags);
}

/*
 * The difference between what is stored and what the server has up to UID last. Where the scan of flags may
 * have holes, UIDs alone are asked for too; where these have, nothing is taken for gone.
 */
static int find_changes(struct listing *listing, uint32_t last, const struct diff_rows *stored,
	struct diff_rows *server, struct diff *ret)
{
	_cleanup_(diff_rows_finish) struct diff_rows uids = {0};
	uint32_t messages = listing->state.messages;
	bool complete = listing->known.complete;

	int err = messages ? listing_scan(listing, last, SOURCE_COLUMNS_FLAGS, server) : 0;
	if (err < 0)
		return err;
	if (messages &&
		(listing->skipped || server->count == 0 || (complete && server->count < messages)))
		err = listing_scan(listing, last, SOURCE_COLUMNS_UID, &uids);
	for (size_t i = 0; err == 0 && i < uids.count; i++)
		err = diff_rows_add(server, uids.items[i].uid, FLAGS_UNKNOWN);
	if (err < 0)
		return err;
	if (complete && messages && server->count == 0)
		return session_fail(&listing->error, SOURCE_SCOPE_MAILBOX, -EIO,
			"the server says that there are %u messages, and lists none", messages);
	diff_rows_sort(server);
	err = diff_compute(stored, server, ret);
	if (err == 0 && listing->skipped)
		ret->gone_count = 0;
	return err;
}

static int put_flags(struct listing *listing, const struct diff *diff)
{
	if (diff->changed_count == 0)
		return 0;
	_cleanup_free_ struct store_flags *flags = calloc(diff->changed_count, sizeof(*flags));
	if (!flags)
		return -ENOMEM;
	for (size_t i = 0; i < diff->changed_count; i++)
		flags[i] = (struct store_flags){.uid = diff->changed[i].uid,
			.flags = flag_table_text(&listing->flags, diff->changed[i].flags)};
	return store_flags_put(
		listing->account->store, listing->known.folder, flags, diff->changed_count);
}

/* Brings what is stored up to date, and what is shown. */
static int apply_changes(struct listing *listing, const struct diff *diff)
{
	struct sync_account *account = listing->account;
	struct sync_folder *folder = listing->folder;
	bool shown = folder->announced == listing->known.folder;
	int err = 0;

	if (listing->known.complete && (diff->gone_count || diff->added_count))
		err = note_change(listing);
	if (err == 0 && diff->gone_count)
		err = store_rows_remove(
			account->store, listing->known.folder, diff->gone, diff->gone_count);
	if (err == 0)
		err = put_flags(listing, diff);
	if (err < 0)
		return err;
	if (!shown)
		return listing_announce_stored(listing);
	if (diff->gone_count)
		account->events.gone(account->events.arg, folder, diff->gone, diff->gone_count);
	return 0;
}

/* What is stored and not gone needs no row. */
static int remember_known(
	struct listing *listing, const struct diff_rows *stored, const struct diff *diff)
{
	size_t gone = 0;
	for (size_t i = 0; i < stored->count; i++) {
		uint32_t uid = stored->items[i].uid;
		if (gone < diff->gone_count && diff->gone[gone] == uid) {
			gone++;
			continue;
		}
		int added = uid_set_add(&listing->seen, uid);
		if (added < 0)
			return added;
	}
	return 0;
}

static bool all_seen(const struct listing *listing, const uint32_t *uids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!uid_set_has(&listing->seen, uids[i]))
			return false;
	return true;
}

/* Fetches the rows that are new; after a listing that was cut off, also all that lies beyond it. */
static int fetch_added(struct listing *listing, const struct diff *diff,
	const struct diff_rows *server, uint32_t highest)
{
	listing->skipped = 0;
	int err = listing_fetch(listing, diff->added, diff->added_count, server);
	if (err < 0)
		return err;
	if (!listing->known.complete && highest < UINT32_MAX)
		return list_from(listing, highest + 1);
	return listing_settle(listing, all_seen(listing, diff->added, diff->added_count));
}

static int list_changes(struct listing *listing)
{
	_cleanup_(diff_finish) struct diff diff = {0};
	_cleanup_(diff_rows_finish) struct diff_rows server = {0};
	struct stored stored = {.flags = &listing->flags};

	int err = store_rows_load(
		listing->account->store, listing->known.folder, 1, on_known_row, &stored);
	_cleanup_(diff_rows_finish) struct diff_rows rows = stored.rows;
	if (err < 0)
		return err;
	diff_rows_sort(&rows);
	uint32_t highest = rows.count ? rows.items[rows.count - 1].uid : 0;
	uint32_t last = listing->known.complete ? UINT32_MAX : highest;
	if (last > 0)
		err = find_changes(listing, last, &rows, &server, &diff);
	if (err == 0)
		err = remember_known(listing, &rows, &diff);
	if (err == 0)
		err = apply_changes(listing, &diff);
	return err < 0 ? err : fetch_added(listing, &diff, &server, highest);
}

/*
 * Whether SELECT alone shows that nothing has changed. Without CONDSTORE that is said of the set of messages only: flags are
 * looked at again when the set changes.
 */
static bool is_unchanged(const struct listing *listing, uint64_t stored_count)
{
	const struct store_mailbox *known = &listing->known;
	const struct source_state *state = &listing->state;
	return known->complete && state->messages == stored_count && state->uidnext &&
	       state->uidnext == known->uidnext &&
	       (state->modseq == 0 || state->modseq == known->modseq);
}

static int list_again(struct listing *listing)
{
	uint64_t count, unseen;
	int err =
		store_folder_count(listing->account->store, listing->known.folder, &count, &unseen);
	if (err < 0)
		return err;
	if (!is_unchanged(listing, count))
		return list_changes(listing);
	return listing->folder->announced == listing->known.folder
	               ? 0
	               : listing_announce_stored(listing);
}

/* Takes over what was noticed since the last run. */
static void begin(struct listing *listing)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&listing->account->lock);
	listing->changed = listing->folder->touched;
	listing->folder->touched = false;
	listing->folder->stale = listing->folder->dirty = false;
}

static int list(struct listing *listing)
{
	struct sync_folder *folder = listing->folder;
	struct store_mailbox *known = &listing->known;

	int err = store_mailbox_get(listing->account->store, folder->name, known);
	if (err == 0)
		err = session_select(
			listing->worker, folder, NULL, &listing->state, &listing->error);
	if (err < 0)
		return err;
	begin(listing);
	if (listing->changed)
		err = note_change(listing);
	if (err < 0)
		return err;
	bool same = known->folder && known->uidvalidity == listing->state.uidvalidity;
	err = same ? list_again(listing) : list_anew(listing);
	if (err < 0)
		return err;
	known->uidnext = listing->state.uidnext;
	known->modseq = listing->state.modseq;
	known->complete = true;
	return save_state(listing);
}

void listing_finish(struct listing *listing)
{
	uid_set_finish(&listing->seen);
	row_batch_finish(&listing->batch);
	row_batch_finish(&listing->suspects);
	flag_table_finish(&listing->flags);
}

/* What a run that failed leaves for the next: rows that came are not fetched again. */
static void remember_failure(struct listing *listing)
{
	if (listing->callback_err == 0)
		(void)listing_flush(listing, false);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&listing->account->lock);
	listing->folder->stale = true;
	listing->folder->touched |= listing->changed;
}

void listing_done(struct sync_folder *folder, int64_t checked_ms, int err, struct list_node *done)
{
	folder->listing_job.busy = false;
	if (err == 0) {
		folder->listing = SYNC_LISTING_WHOLE;
		folder->listing_err = 0;
		folder->checked_ms = checked_ms;
	} else if (folder->listing != SYNC_LISTING_WHOLE) {
		folder->listing = SYNC_LISTING_FAILED;
		folder->listing_err = err;
	}
	folder->seen++;
	waiter_take_all(&folder->refreshers, err, done);
	waiter_take_all(&folder->watchers, err, done);
}

static void job_done(
	struct sync_folder *folder, int64_t checked_ms, int err, struct list_node *done)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	listing_done(folder, checked_ms, err, done);
	folder_listing_ended(folder, err);
}

/* A lost connection was logged where it was lost. */
static void log_failure(const struct listing *listing, int err)
{
	const char *text = listing->error.text[0] ? listing->error.text : strerror(-err);
	if (listing->error.scope < SOURCE_SCOPE_ACCOUNT)
		log_warning("%s: %s", listing->folder->name, text);
}

static int listing_run(struct job *job, struct worker *worker)
{
	struct sync_folder *folder = job->folder;
	struct sync_account *account = folder->account;
	struct listing listing = {.account = account, .folder = folder, .worker = worker};
	int64_t now = clock_now_ms();

	int err = list(&listing);
	if (err < 0)
		remember_failure(&listing);
	if (err < 0 && err != -EAGAIN)
		log_failure(&listing, err);
	if (err == 0 && listing.changed)
		account->events.changed(account->events.arg, folder, listing.known.changed_s);
	listing_finish(&listing);
	if (err != -EAGAIN)
		job_done(folder, now, err, &worker->done);
	return err == -EAGAIN ? err : 0;
}

static void listing_fail(struct job *job, int err)
{
	struct list_node done;
	list_init(&done);
	job_done(job->folder, 0, err, &done);
	waiter_wake_all(&done);
}

void listing_job_init(struct sync_folder *folder)
{
	folder->listing_job = (struct job){
		.class = JOB_BULK, .folder = folder, .run = listing_run, .fail = listing_fail};
	list_init(&folder->listing_job.node);
}
