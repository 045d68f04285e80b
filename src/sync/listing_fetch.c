/* SPDX-License-Identifier: MIT */
/*
 * The wire side of a listing: rows asked for in slices, taken in as they come, announced in batches. Invariant:
 * a UID is announced once in a run; and every UID that the server has told of is announced, with all its facts,
 * or after asking again with those that could be had.
 *
 * A slice is one command. It is large, because between two of them the line is empty for a round trip; on a slow line the deadline moves on with
 * what comes, and a connection that drops in the middle is retried from the highest UID that came, as often as much came before.
 */
#include "listing.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

/* What may come on top of EXISTS: mail that arrives meanwhile, rows that come twice. More is an attack. */
#define EXTRA_ROWS   100000
#define FIRST_ROWS   100
#define FIRST_MS     20
#define BATCH_ROWS   1000
#define BATCH_MS     250
#define BATCH_BYTES  (1 << 20)
#define SUSPECTS_MAX 100
#define RANGES_MAX   100
#define NEEDED       (SOURCE_ROW_DATE | SOURCE_ROW_SIZE)

uint32_t listing_slice_messages = 150000;

static bool lacks_facts(const struct source_row *row)
{
	return (row->have & NEEDED) != NEEDED;
}

/* Counts the announcement and wakes those who wait for any. */
static void announced(struct sync_folder *folder)
{
	struct list_node done;
	list_init(&done);
	pthread_mutex_lock(&folder->account->lock);
	folder->seen++;
	waiter_take_all(&folder->watchers, 0, &done);
	pthread_mutex_unlock(&folder->account->lock);
	waiter_wake_all(&done);
}

int listing_flush(struct listing *listing, bool from_store)
{
	struct sync_account *account = listing->account;
	size_t count = listing->batch.count;
	int err = 0;

	if (count == 0)
		return 0;
	const struct source_row *rows = row_batch_rows(&listing->batch);
	if (!from_store)
		err = store_rows_put(account->store, listing->known.folder, rows, count);
	if (err < 0)
		return err;
	account->events.rows(account->events.arg, listing->folder, rows, count);
	row_batch_reset(&listing->batch);
	listing->announced_any = true;
	announced(listing->folder);
	return 0;
}

/* Whether people would rather see what there is than wait for more. */
static bool batch_is_due(const struct listing *listing)
{
	bool first = !listing->announced_any;
	return listing->batch.count >= (first ? FIRST_ROWS : BATCH_ROWS) ||
	       listing->batch.text.len >= BATCH_BYTES ||
	       clock_now_ms() - listing->batch_since_ms >= (first ? FIRST_MS : BATCH_MS);
}

static int queue_row(struct listing *listing, const struct source_row *row)
{
	if (listing->batch.count == 0)
		listing->batch_since_ms = clock_now_ms();
	int err = row_batch_add(&listing->batch, row);
	if (err == 0 && batch_is_due(listing))
		err = listing_flush(listing, false);
	return err;
}

/* A row for a UID that came before: of interest only when that one was held back and this one knows more. */
static int improve_suspect(struct listing *listing, const struct source_row *row)
{
	struct row_batch *suspects = &listing->suspects;
	for (size_t i = 0; i < suspects->count; i++) {
		struct source_row *held = &suspects->rows[i];
		if (held->uid != row->uid ||
			__builtin_popcount(row->have) <= __builtin_popcount(held->have))
			continue;
		held->uid = 0;
		if (lacks_facts(row) && suspects->count < 2 * SUSPECTS_MAX)
			return row_batch_add(suspects, row);
		listing->bare += lacks_facts(row);
		return queue_row(listing, row);
	}
	return 0;
}

static int take_row(struct listing *listing, const struct source_row *row)
{
	if (listing->choosy && !uid_set_has(&listing->wanted, row->uid))
		return 0;
	int added = uid_set_add(&listing->seen, row->uid);
	if (added <= 0)
		return added < 0 ? added : improve_suspect(listing, row);
	if (lacks_facts(row) && listing->suspects.count < SUSPECTS_MAX)
		return row_batch_add(&listing->suspects, row);
	listing->bare += lacks_facts(row);
	return queue_row(listing, row);
}

static int scan_row(struct listing *listing, const struct source_row *row)
{
	uint32_t flags = FLAGS_UNKNOWN;
	int err = 0;
	if (row->have & SOURCE_ROW_FLAGS)
		err = flag_table_add(&listing->flags, row->flags, &flags);
	return err < 0 ? err : diff_rows_add(listing->into, row->uid, flags);
}

/* Whether what comes is more than there can be. */
static bool is_flood(struct listing *listing)
{
	return ++listing->row_count > (uint64_t)listing->state.messages + EXTRA_ROWS;
}

static int on_row(void *arg, const struct source_row *row)
{
	struct listing *listing = arg;
	/* What was not asked for is news of another session: its turn comes. */
	if (row->uid < listing->first || row->uid > listing->last)
		return 0;
	if (is_flood(listing))
		return listing->callback_err = -EIO;
	if (row->uid < listing->cursor)
		listing->unordered = true;
	else
		listing->cursor = row->uid;
	return listing->callback_err =
	               listing->into ? scan_row(listing, row) : take_row(listing, row);
}

static int on_range(void *arg, uint32_t first, uint32_t last)
{
	struct listing *listing = arg;
	first = first < listing->first ? listing->first : first;
	last = last > listing->last ? listing->last : last;
	if (first > last)
		return 0;
	if (is_flood(listing))
		return listing->callback_err = -EIO;
	return listing->callback_err = uid_ranges_add(&listing->exist, first, last);
}

static int call_uids(struct worker *worker, void *arg, struct source_error *error)
{
	struct listing *listing = arg;
	if (listing->callback_err < 0)
		return session_fail(error, SOURCE_SCOPE_MESSAGE, listing->callback_err,
			"the list of UIDs was given up");
	return worker->account->source->ops->uids(
		worker->session, listing->first, listing->last, on_range, listing, error);
}

/*
 * Where a call goes on that was cut off. The last row of a scan is asked for again: what was told of it may have been followed by its newer
 * flags. false: all has come.
 */
static bool next_uid(const struct listing *listing, uint32_t *ret)
{
	bool again = listing->into;
	*ret = listing->first;
	if (listing->unordered || listing->cursor < listing->first)
		return true;
	if (listing->cursor == listing->last && !again)
		return false;
	*ret = again ? listing->cursor : listing->cursor + 1;
	return true;
}

static int call_rows(struct worker *worker, void *arg, struct source_error *error)
{
	const struct source_ops *ops = worker->account->source->ops;
	struct listing *listing = arg;
	uint32_t from;
	unsigned skipped = 0;
	int err;

	if (listing->callback_err < 0)
		return session_fail(error, SOURCE_SCOPE_MESSAGE, listing->callback_err,
			"the listing was given up");
	if (!next_uid(listing, &from))
		return 0;
	if (listing->changed_since)
		err = ops->changed(worker->session, from, listing->last, listing->changed_since,
			on_row, listing, &skipped, error);
	else
		err = ops->rows(worker->session, from, listing->last, listing->columns, on_row,
			listing, &skipped, error);
	listing->skipped += skipped;
	return err;
}

static int call_slice(struct listing *listing, uint32_t first, uint32_t last, session_fn *fn)
{
	listing->first = first;
	listing->last = last;
	listing->cursor = 0;
	listing->unordered = false;
	listing->callback_err = 0;
	int err = session_call_long(listing->worker, listing->folder, listing->known.uidvalidity,
		fn, listing, &listing->row_count, &listing->error);
	return listing->callback_err < 0 ? listing->callback_err : err;
}

/* How many UIDs hold about as many messages as a slice. */
static uint64_t slice_span(const struct source_state *state)
{
	if (state->messages <= listing_slice_messages || state->uidnext == 0)
		return UINT32_MAX;
	uint64_t span = (uint64_t)state->uidnext * listing_slice_messages / state->messages;
	return span > listing_slice_messages ? span : listing_slice_messages;
}

static int call_slices(struct listing *listing, uint32_t first, uint32_t last, session_fn *fn)
{
	uint64_t uidnext = listing->state.uidnext;
	uint64_t span = slice_span(&listing->state);
	listing->row_count = 0;
	for (uint64_t from = first, to; from <= last; from = to + 1) {
		to = from + span - 1;
		if (to >= last || (uidnext && to + 1 >= uidnext))
			to = last;
		int err = call_slice(listing, (uint32_t)from, (uint32_t)to, fn);
		if (err < 0)
			return err;
	}
	return 0;
}

int listing_rows(
	struct listing *listing, uint32_t first, uint32_t last, enum source_columns columns)
{
	listing->columns = columns;
	listing->changed_since = 0;
	return call_slices(listing, first, last, call_rows);
}

int listing_scan(struct listing *listing, uint32_t first, uint32_t last,
	enum source_columns columns, struct diff_rows *rows)
{
	rows->count = 0;
	listing->skipped = 0;
	listing->into = rows;
	int err = listing_rows(listing, first, last, columns);
	listing->into = NULL;
	return err < 0 ? err : diff_rows_sort(rows);
}

int listing_changed(struct listing *listing, uint32_t last)
{
	listing->told.count = 0;
	listing->skipped = 0;
	listing->into = &listing->told;
	listing->changed_since = listing->known.modseq;
	int err = call_slices(listing, 1, last, call_rows);
	listing->into = NULL;
	return err < 0 ? err : diff_rows_sort(&listing->told);
}

int listing_uids(struct listing *listing, uint32_t last)
{
	listing->exist.count = 0;
	int err = call_slices(listing, 1, last, call_uids);
	if (err == 0)
		uid_ranges_sort(&listing->exist);
	return err;
}

/*
 * The next run of uids[*at …] to be asked for by one range. A gap of up to `gap` UIDs is bridged, and any where nothing is
 * stored: at worst something comes that is not wanted. false: there is none.
 */
static bool next_run(const struct listing *listing, const uint32_t *uids, size_t count,
	uint64_t gap, size_t *at, uint32_t *first, uint32_t *last)
{
	if (*at >= count)
		return false;
	*first = *last = uids[(*at)++];
	while (*at < count && (*last >= listing->fresh_from || uids[*at] - *last - 1 <= gap))
		*last = uids[(*at)++];
	return true;
}

static size_t count_runs(
	const struct listing *listing, const uint32_t *uids, size_t count, uint64_t gap)
{
	size_t at = 0, runs = 0;
	uint32_t first, last;
	while (next_run(listing, uids, count, gap, &at, &first, &last))
		runs++;
	return runs;
}

int listing_fetch(struct listing *listing, const uint32_t *uids, size_t count)
{
	uint64_t gap = 0;
	size_t at = 0;
	uint32_t first, last;
	int err = 0;

	while (count_runs(listing, uids, count, gap) > RANGES_MAX)
		gap = gap * 2 + 1;
	while (err == 0 && next_run(listing, uids, count, gap, &at, &first, &last))
		err = listing_rows(listing, first, last, SOURCE_COLUMNS_ALL);
	return err;
}

/* What one message answers must not spoil the others; a lost connection or a full disk ends the listing. */
static bool is_fatal(const struct listing *listing, int err)
{
	return err < 0 &&
	       (listing->callback_err < 0 || listing->error.scope >= SOURCE_SCOPE_ACCOUNT);
}

/* Asks once more for each row that was held back, then announces those that are no better. */
static int retry_suspects(struct listing *listing)
{
	struct row_batch *suspects = &listing->suspects;
	size_t count = suspects->count;
	int err = 0;

	for (size_t i = 0; i < count; i++) {
		uint32_t uid = suspects->rows[i].uid;
		if (uid)
			err = listing_rows(listing, uid, uid, SOURCE_COLUMNS_ALL);
		if (is_fatal(listing, err))
			return err;
	}
	const struct source_row *rows = row_batch_rows(suspects);
	for (size_t i = 0; i < suspects->count; i++) {
		if (rows[i].uid == 0)
			continue;
		listing->bare++;
		err = queue_row(listing, &rows[i]);
		if (err < 0)
			return err;
	}
	row_batch_reset(suspects);
	return 0;
}

/* The UIDs in all that are wanted and have not come; the number. */
static size_t missing_uids(
	const struct listing *listing, const struct diff_rows *all, uint32_t *uids)
{
	size_t count = 0;
	for (size_t i = 0; i < all->count; i++) {
		uint32_t uid = all->items[i].uid;
		if (listing->choosy && !uid_set_has(&listing->wanted, uid))
			continue;
		if (!uid_set_has(&listing->seen, uid))
			uids[count++] = uid;
	}
	return count;
}

/* Announces messages of which nothing is known but the UID. */
static int announce_bare(struct listing *listing, const uint32_t *uids, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct source_row row = {.uid = uids[i], .flags = ""};
		int added = uid_set_add(&listing->seen, uids[i]);
		int err = added < 0 ? added : queue_row(listing, &row);
		if (err < 0)
			return err;
	}
	listing->bare += (unsigned)count;
	return 0;
}

/* Fetches what is in all and has not come, and announces the rest by UID. */
static int fill_gaps(struct listing *listing, const struct diff_rows *all)
{
	_cleanup_free_ uint32_t *uids = calloc(all->count + 1, sizeof(*uids));
	if (!uids)
		return -ENOMEM;
	size_t count = missing_uids(listing, all, uids);
	int err = listing_fetch(listing, uids, count);
	if (is_fatal(listing, err))
		return err;
	err = retry_suspects(listing);
	if (err < 0)
		return err;
	count = missing_uids(listing, all, uids);
	return announce_bare(listing, uids, count);
}

static int find_missing(struct listing *listing, uint32_t first, uint32_t last)
{
	_cleanup_(diff_rows_finish) struct diff_rows all = {0};
	int err = listing_scan(listing, first, last, SOURCE_COLUMNS_UID, &all);
	if (err < 0)
		return err;
	if (listing->skipped)
		log_warning("%s: %u messages whose UID can not be read are not shown",
			listing->folder->name, listing->skipped);
	return fill_gaps(listing, &all);
}

int listing_settle(struct listing *listing, uint32_t first, uint32_t last, bool complete)
{
	bool unreadable = listing->skipped > 0;
	int err = retry_suspects(listing);
	if (err == 0 && (!complete || unreadable))
		err = find_missing(listing, first, last);
	if (err == 0)
		err = listing_flush(listing, false);
	if (err == 0 && listing->bare)
		log_warning(
			"%s: the server's listing of %u of %u messages can not be understood in full",
			listing->folder->name, listing->bare, listing->state.messages);
	return err;
}
