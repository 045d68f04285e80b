/* SPDX-License-Identifier: MIT */
/*
 * The listing job: makes the store's and the tree's picture of a folder that of the server. Invariants: nothing
 * that is gone is shown (what is stored is compared before it is announced); nothing is taken for gone on an
 * answer that may have holes; and a crash at any point leaves a state that the next run repairs, because the
 * mailbox's state, which is what the server is asked for changes since, is written last: what it told, and will not tell again, is
 * stored by then. UIDNEXT and MODSEQ are those of the SELECT before the fetch, so what happens during it is found by the next run.
 *
 * Without the server, a folder that was listed whole before is announced as it is stored; it is current again once it has been looked at.
 */
#include "listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

#define PAGE_ROWS 2000

int listing_save_state(struct listing *listing)
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
	return listing_save_state(listing);
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

/* --- What has changed --- */

/* Flags as the tree and the store want them; NULL: no memory. */
static struct store_flags *flags_of(const struct listing *listing, const struct diff *diff)
{
	struct store_flags *flags = calloc(diff->changed_count, sizeof(*flags));
	for (size_t i = 0; flags && i < diff->changed_count; i++)
		flags[i] = (struct store_flags){.uid = diff->changed[i].uid,
			.flags = flag_table_text(&listing->flags, diff->changed[i].flags)};
	return flags;
}

static int change_flags(struct listing *listing, const struct diff *diff, bool shown)
{
	const struct sync_events *events = &listing->account->events;
	if (diff->changed_count == 0)
		return 0;
	_cleanup_free_ struct store_flags *flags = flags_of(listing, diff);
	if (!flags)
		return -ENOMEM;
	int err = store_flags_put(
		listing->account->store, listing->known.folder, flags, diff->changed_count);
	if (err == 0 && shown && events->flags)
		events->flags(events->arg, listing->folder, flags, diff->changed_count);
	return err;
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
		err = change_flags(listing, diff, shown);
	if (err < 0)
		return err;
	if (!shown)
		return listing_announce_stored(listing);
	if (diff->gone_count)
		account->events.gone(account->events.arg, folder, diff->gone, diff->gone_count);
	return 0;
}

static bool all_seen(const struct listing *listing, const uint32_t *uids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (!uid_set_has(&listing->seen, uids[i]))
			return false;
	return true;
}

static int fetch_wanted(struct listing *listing, const uint32_t *uids, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int added = uid_set_add(&listing->wanted, uids[i]);
		if (added < 0)
			return added;
	}
	listing->skipped = 0;
	int err = listing_fetch(listing, uids, count);
	return err < 0 ? err
	               : listing_settle(
				 listing, uids[0], uids[count - 1], all_seen(listing, uids, count));
}

/* Fetches the rows that are new, and none else. */
static int fetch_added(struct listing *listing, const struct diff *diff)
{
	if (diff->added_count == 0)
		return 0;
	listing->choosy = true;
	int err = fetch_wanted(listing, diff->added, diff->added_count);
	listing->choosy = false;
	uid_set_finish(&listing->wanted);
	return err;
}

/* The listing is whole: only what has changed since is asked for. */
static int list_changes(struct listing *listing)
{
	_cleanup_(diff_finish) struct diff diff = {0};
	int err = listing_find(listing, &diff);
	if (err == 0)
		err = apply_changes(listing, &diff);
	return err < 0 ? err : fetch_added(listing, &diff);
}

/* --- The first listing --- */

/* From a UID on; before: how many there are below it. */
static int list_from(struct listing *listing, uint32_t first, size_t before)
{
	listing->skipped = 0;
	if (listing->state.messages == 0)
		return 0;
	int err = listing_rows(listing, first, UINT32_MAX, SOURCE_COLUMNS_ALL);
	if (err < 0)
		return err;
	return listing_settle(listing, first, UINT32_MAX,
		before + listing->seen.count >= listing->state.messages);
}

/* What it was before is dropped once the listing is whole: not for one that has nothing, or little of that many, by SELECT's word alone. */
static int confirm_renumbered(struct listing *listing)
{
	uint64_t count, unseen, now = listing->state.messages;
	if (!listing->known.former)
		return 0;
	int err =
		store_folder_count(listing->account->store, listing->known.former, &count, &unseen);
	if (err < 0)
		return err;
	bool loss = now == 0 || (now < count && ladder_is_loss(count, count - now));
	return loss ? listing_confirm_few(listing) : 0;
}

/* The listing was cut off, or nothing of it is there: what is stored is compared, then the rest is listed. */
static int list_rest(struct listing *listing)
{
	_cleanup_(diff_finish) struct diff diff = {0};
	uint32_t highest;
	size_t stored;
	int err = confirm_renumbered(listing);
	if (err == 0)
		err = listing_find_part(listing, &diff, &highest, &stored);
	if (err == 0)
		err = apply_changes(listing, &diff);
	if (err == 0)
		err = fetch_added(listing, &diff);
	return err < 0 || highest == UINT32_MAX ? err : list_from(listing, highest + 1, stored);
}

/*
 * What of the identities that the folder had is to be kept until the new listing is whole. Of two, because this one was not whole either,
 * the elder, which has what people have read; the other one goes. When the server takes an identity back, the roles change.
 */
static int change_identity(struct listing *listing, uint32_t number)
{
	struct store_mailbox *known = &listing->known;
	uint32_t former = known->former;
	uint32_t unwanted = former && former != number ? known->folder : 0;
	if (!unwanted)
		former = known->folder;
	listing->folder->ghosts.count = 0;
	if (unwanted && unwanted != number) {
		int err = store_folder_remove(listing->account->store, unwanted);
		if (err < 0)
			return err;
	}
	*known = (struct store_mailbox){.folder = number,
		.uidvalidity = listing->state.uidvalidity,
		.changed_s = known->changed_s,
		.former = former};
	return store_mailbox_put(listing->account->store, listing->folder->name, known);
}

/* Another mailbox has the name, with the same UIDVALIDITY by chance: its UIDs are other messages. */
static bool is_another(const struct listing *listing)
{
	const struct store_mailbox *known = &listing->known;
	uint64_t id = listing->state.mailbox_id;
	return known->uidvalidity == listing->state.uidvalidity && known->mailbox_id && id &&
	       known->mailbox_id != id;
}

/* The number of what the folder is now: one that no other messages have had, because the kernel may still have pages of those. */
static int new_number(struct listing *listing, uint32_t *ret)
{
	_cleanup_str_ struct str name = STR_INIT;
	str_append_cstr(&name, listing->folder->name);
	if (is_another(listing))
		str_printf(&name, "\1%016llx", (unsigned long long)listing->state.mailbox_id);
	else if (listing->made_again)
		str_printf(&name, "\2%u", listing->known.folder);
	if (str_error(&name) < 0)
		return -ENOMEM;
	return store_number(listing->account->store, listing->account->name, STORE_NUMBER_FOLDER,
		name.data, listing->state.uidvalidity, ret);
}

/* The folder was never listed, or the server has renumbered it. */
static int list_anew(struct listing *listing)
{
	struct store_mailbox *known = &listing->known;
	uint32_t number;

	int err = new_number(listing, &number);
	if (err < 0)
		return err;
	/* What was left to be carried into the numbers that end now. */
	if (known->complete && known->former)
		listing_carry(listing);
	if (known->complete) {
		listing->changed = true;
		known->changed_s = changed_after(known->changed_s);
	}
	err = change_identity(listing, number);
	return err < 0 ? err : list_rest(listing);
}

/* --- The job --- */

/* Takes over what was noticed since the last run. */
static void begin(struct listing *listing)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&listing->account->lock);
	listing->changed = listing->folder->touched;
	listing->folder->touched = false;
	listing->folder->stale = false;
}

static int list_selected(struct listing *listing)
{
	const struct store_mailbox *known = &listing->known;
	int err = listing_is_made_again(listing, &listing->made_again);
	if (err < 0)
		return err;
	if (!known->folder || known->uidvalidity != listing->state.uidvalidity ||
		is_another(listing) || listing->made_again)
		return list_anew(listing);
	return known->complete ? list_changes(listing) : list_rest(listing);
}

static int list(struct listing *listing)
{
	struct store_mailbox *known = &listing->known;
	int64_t now_s = clock_wall_s();

	int err = listing_select(listing, true, &listing->state);
	if (err < 0)
		return err;
	begin(listing);
	if (listing->changed)
		err = note_change(listing);
	if (err == 0)
		err = list_selected(listing);
	if (err < 0)
		return err;
	known->uidnext = listing->state.uidnext;
	known->modseq = listing->state.modseq;
	known->complete = true;
	known->checked_s = now_s;
	if (listing->state.mailbox_id)
		known->mailbox_id = listing->state.mailbox_id;
	err = listing_save_state(listing);
	if (err == 0 && known->former)
		listing_carry(listing);
	return err;
}

void listing_finish(struct listing *listing)
{
	diff_rows_finish(&listing->told);
	uid_ranges_finish(&listing->vanished);
	uid_ranges_finish(&listing->exist);
	uid_set_finish(&listing->wanted);
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
		if (checked_ms >= 0)
			folder->checked_ms = checked_ms;
	} else if (folder->listing != SYNC_LISTING_WHOLE) {
		folder->listing = SYNC_LISTING_FAILED;
		folder->listing_err = err;
	}
	folder->seen++;
	waiter_take_all(&folder->refreshers, err, done);
	waiter_take_all(&folder->watchers, err, done);
}

/* What was heard of while it ran is looked for by a run of its own. */
static void job_done(
	struct sync_folder *folder, int64_t checked_ms, int err, struct list_node *done)
{
	struct sync_account *account = folder->account;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
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

/* Whether it is the connection that failed, not the login, nor what the server said. */
static bool is_cut_off(const struct source_error *error)
{
	return error->scope == SOURCE_SCOPE_CANCELLED ||
	       (error->scope == SOURCE_SCOPE_ACCOUNT && error->cause != SOURCE_CAUSE_LOGIN &&
		       error->cause != SOURCE_CAUSE_PROTOCOL);
}

/* What is stored has to do: 0, or err where the folder was never listed whole. */
static int serve_stored(struct listing *listing, int err)
{
	if (!listing->known.complete || account_stopping(listing->account))
		return err;
	if (listing->folder->announced == listing->known.folder)
		return 0;
	return listing_announce_stored(listing);
}

/* *ret_checked: the listing is the server's. */
static int list_or_serve(struct listing *listing, bool *ret_checked)
{
	struct sync_account *account = listing->account;
	*ret_checked = false;
	int err = store_mailbox_get(account->store, listing->folder->name, &listing->known);
	if (err < 0)
		return err;
	if (link_is_offline(account)) {
		session_fail(&listing->error, SOURCE_SCOPE_ACCOUNT, -EHOSTUNREACH, "offline");
		return serve_stored(listing, -EHOSTUNREACH);
	}
	err = list(listing);
	*ret_checked = err == 0;
	if (err < 0)
		remember_failure(listing);
	return err < 0 && err != -EAGAIN && is_cut_off(&listing->error) ? serve_stored(listing, err)
	                                                                : err;
}

static void begin_run(struct sync_folder *folder)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->account->lock);
	folder->dirty = false;
}

static int listing_run(struct job *job, struct worker *worker)
{
	struct sync_folder *folder = job->folder;
	struct sync_account *account = folder->account;
	struct listing listing = {.account = account, .folder = folder, .worker = worker};
	int64_t now = clock_now_ms();
	bool checked;

	begin_run(folder);
	int err = list_or_serve(&listing, &checked);
	if (err < 0 && err != -EAGAIN)
		log_failure(&listing, err);
	if (checked && listing.changed)
		account->events.changed(account->events.arg, folder, listing.known.changed_s);
	listing_finish(&listing);
	if (checked)
		pins_folder_listed(folder);
	if (err != -EAGAIN)
		job_done(folder, checked ? now : -1, err, &worker->done);
	return err == -EAGAIN ? err : 0;
}

/* The connection for it could not be had: as if it had been lost in the middle. */
static int serve_failed(struct sync_folder *folder, int err)
{
	struct sync_account *account = folder->account;
	struct listing listing = {.account = account, .folder = folder};
	if (account->drop || err == -EACCES)
		return err;
	if (store_mailbox_get(account->store, folder->name, &listing.known) == 0)
		err = serve_stored(&listing, err);
	listing_finish(&listing);
	return err;
}

static void listing_fail(struct job *job, int err)
{
	struct list_node done;
	list_init(&done);
	err = serve_failed(job->folder, err);
	job_done(job->folder, -1, err, &done);
	waiter_wake_all(&done);
}

void listing_job_init(struct sync_folder *folder)
{
	folder->listing_job = (struct job){
		.class = JOB_BULK, .folder = folder, .run = listing_run, .fail = listing_fail};
	list_init(&folder->listing_job.node);
}
