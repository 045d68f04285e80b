/* SPDX-License-Identifier: MIT */
/*
 * What has changed in a folder: asks the server by the rung that ladder.c chooses, takes from the store no more than that rung needs, and
 * goes down the ladder where ladder.c doubts. On the upper rungs neither the wire nor memory sees more than what has changed; nor does
 * the disk, as long as that is little.
 */
#include <errno.h>
#include <string.h>

#include "listing.h"
#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"

/* What one SELECT may tell. More is asked for by other means, in slices. */
#define TOLD_MAX 500000
/* So many single rows are looked up; beyond it, the stored listing is read from one end to the other. */
#define LOOKUPS_MAX 5000

/* --- What SELECT tells --- */

static int on_told_row(void *arg, const struct source_row *row)
{
	struct listing *listing = arg;
	uint32_t flags = FLAGS_UNKNOWN;
	int err = 0;

	listing->flooded |= listing->told.count >= TOLD_MAX;
	if (listing->flooded)
		return 0;
	if (row->have & SOURCE_ROW_FLAGS)
		err = flag_table_add(&listing->flags, row->flags, &flags);
	return err < 0 ? err : diff_rows_add(&listing->told, row->uid, flags);
}

static int on_vanished(void *arg, uint32_t first, uint32_t last)
{
	struct listing *listing = arg;
	listing->flooded |= listing->vanished.count >= TOLD_MAX;
	return listing->flooded ? 0 : uid_ranges_add(&listing->vanished, first, last);
}

static unsigned abilities(const struct listing *listing)
{
	const struct source_ops *ops = listing->account->source->ops;
	const struct source_session *session = listing->worker->session;
	return session && ops->abilities ? ops->abilities(session) : 0;
}

static struct ladder_known known_of(const struct listing *listing, uint64_t messages)
{
	return (struct ladder_known){.messages = messages,
		.uidnext = listing->known.uidnext,
		.modseq = listing->known.modseq,
		.complete = listing->known.complete};
}

static const struct source_resync *begin_resync(
	struct session_resync *resync, struct worker *worker)
{
	struct listing *listing = container_of(resync, struct listing, resync);
	struct ladder_known known = known_of(listing, 0);
	(void)worker;
	listing->told.count = 0;
	listing->vanished.count = 0;
	listing->flooded = false;
	if (!listing->known.folder || !ladder_resyncs(&known, abilities(listing)))
		return NULL;
	listing->since = (struct source_resync){.uidvalidity = listing->known.uidvalidity,
		.modseq = listing->known.modseq,
		.row = on_told_row,
		.vanished = on_vanished,
		.arg = listing};
	return &listing->since;
}

int listing_select(struct listing *listing, bool resync, struct source_state *ret)
{
	listing->resync.begin = begin_resync;
	int err = session_select(listing->worker, listing->folder, resync ? &listing->resync : NULL,
		ret, &listing->error);
	if (err < 0 || ret->messages <= SOURCE_MESSAGES_MAX)
		return err;
	return session_fail(&listing->error, SOURCE_SCOPE_MAILBOX, -EIO,
		"the server says that there are %u messages in it, and no more than %u are listed",
		ret->messages, SOURCE_MESSAGES_MAX);
}

/* --- What is stored --- */

struct stored {
	struct diff_rows *rows;
	struct flag_table *flags;
	const struct uid_ranges *about; /* NULL: all */
	size_t at;
};

static int on_stored_row(void *arg, const struct source_row *row)
{
	struct stored *stored = arg;
	uint32_t flags;
	int err = flag_table_add(stored->flags, row->flags ? row->flags : "", &flags);
	return err < 0 ? err : diff_rows_add(stored->rows, row->uid, flags);
}

/* -ECANCELED: nothing that is looked for follows. */
static int on_passing_row(void *arg, const struct source_row *row)
{
	struct stored *stored = arg;
	const struct uid_ranges *about = stored->about;
	while (stored->at < about->count && about->items[stored->at].last < row->uid)
		stored->at++;
	if (stored->at == about->count)
		return -ECANCELED;
	return about->items[stored->at].first <= row->uid ? on_stored_row(arg, row) : 0;
}

static int look_up_each(struct listing *listing, struct stored *stored)
{
	const struct uid_ranges *about = stored->about;
	for (size_t i = 0; i < about->count; i++)
		for (uint64_t uid = about->items[i].first; uid <= about->items[i].last; uid++) {
			int err = store_row_get(listing->account->store, listing->known.folder,
				(uint32_t)uid, on_stored_row, stored);
			if (err < 0 && err != -ENOENT)
				return err;
		}
	return 0;
}

/* The stored rows among about, which is sorted. */
static int look_up(struct listing *listing, const struct uid_ranges *about, struct diff_rows *rows)
{
	struct stored stored = {.rows = rows, .flags = &listing->flags, .about = about};
	if (about->count == 0)
		return 0;
	if (uid_ranges_total(about) <= LOOKUPS_MAX)
		return look_up_each(listing, &stored);
	int err = store_rows_load(listing->account->store, listing->known.folder,
		about->items[0].first, on_passing_row, &stored);
	return err == -ECANCELED ? 0 : err;
}

/* The stored rows that the server has told of. */
static int look_up_told(struct listing *listing, struct diff_rows *rows)
{
	_cleanup_(uid_ranges_finish) struct uid_ranges about = {0};
	int err = 0;
	for (size_t i = 0; err == 0 && i < listing->told.count; i++)
		err = uid_ranges_add(
			&about, listing->told.items[i].uid, listing->told.items[i].uid);
	for (size_t i = 0; err == 0 && i < listing->vanished.count; i++)
		err = uid_ranges_add(
			&about, listing->vanished.items[i].first, listing->vanished.items[i].last);
	if (err < 0)
		return err;
	uid_ranges_sort(&about);
	return look_up(listing, &about, rows);
}

static int load_stored(struct listing *listing, struct diff_rows *rows)
{
	struct stored stored = {.rows = rows, .flags = &listing->flags};
	return store_rows_load(
		listing->account->store, listing->known.folder, 1, on_stored_row, &stored);
}

/* --- The rungs --- */

/* Where stored is all that is stored. */
static void note_fresh(struct listing *listing, const struct diff_rows *stored)
{
	uint32_t highest = stored->count ? stored->items[stored->count - 1].uid : 0;
	listing->fresh_from = highest < UINT32_MAX ? highest + 1 : highest;
}

/* The last UID that the SELECT knows of. */
static uint32_t last_known(const struct listing *listing)
{
	return listing->state.uidnext ? listing->state.uidnext - 1 : UINT32_MAX;
}

static int find_by_resync(struct listing *listing, struct ladder_case *c, struct diff *ret)
{
	_cleanup_(diff_rows_finish) struct diff_rows stored = {0};
	if (listing->flooded)
		return LADDER_DOUBT;
	int err = diff_rows_sort(&listing->told);
	if (err < 0)
		return err;
	uid_ranges_sort(&listing->vanished);
	err = look_up_told(listing, &stored);
	if (err < 0)
		return err;
	c->stored = &stored;
	c->told = &listing->told;
	c->vanished = &listing->vanished;
	return ladder_changes(c, ret);
}

/* What CHANGEDSINCE has told shows that nothing went. */
static int find_without_uids(struct listing *listing, struct ladder_case *c, struct diff *ret)
{
	_cleanup_(diff_rows_finish) struct diff_rows stored = {0};
	listing->vanished.count = 0;
	int err = look_up_told(listing, &stored);
	if (err < 0)
		return err;
	c->stored = &stored;
	return ladder_changes(c, ret);
}

int listing_doubt_refusal(const struct listing *listing, int err)
{
	bool refused = err < 0 && err != -EAGAIN && err != -ENOMEM &&
	               listing->error.scope < SOURCE_SCOPE_ACCOUNT;
	if (refused)
		log_debug("%s: %s", listing->folder->name, listing->error.text);
	return refused ? LADDER_DOUBT : err;
}

static int find_with_uids(struct listing *listing, struct ladder_case *c, struct diff *ret)
{
	_cleanup_(diff_rows_finish) struct diff_rows stored = {0};
	int err = listing->state.messages ? listing_uids(listing, last_known(listing)) : 0;
	err = listing_doubt_refusal(listing, err);
	if (err == 0)
		err = load_stored(listing, &stored);
	if (err != 0)
		return err;
	note_fresh(listing, &stored);
	c->stored = &stored;
	c->exist = &listing->exist;
	return ladder_changes(c, ret);
}

static int find_by_condstore(struct listing *listing, struct ladder_case *c, struct diff *ret)
{
	int err = 0;
	listing->told.count = 0;
	listing->exist.count = 0;
	listing->skipped = 0;
	if (listing->state.messages && listing->state.modseq != listing->known.modseq)
		err = listing_doubt_refusal(listing, listing_changed(listing, last_known(listing)));
	if (err != 0)
		return err;
	if (listing->skipped)
		return LADDER_DOUBT;
	c->told = &listing->told;
	err = find_without_uids(listing, c, ret);
	return err == LADDER_DOUBT ? find_with_uids(listing, c, ret) : err;
}

/*
 * UIDs and flags up to last. Where they may have holes, UIDs alone are asked for too; where these have, *holes.
 */
static int scan(struct listing *listing, uint32_t last, struct diff_rows *rows, bool *holes)
{
	_cleanup_(diff_rows_finish) struct diff_rows uids = {0};
	uint32_t messages = listing->state.messages;
	*holes = false;
	if (messages == 0)
		return 0;
	int err = listing_scan(listing, 1, last, SOURCE_COLUMNS_FLAGS, rows);
	if (err < 0)
		return err;
	if (listing->skipped || rows->count == 0 ||
		(listing->known.complete && rows->count < messages))
		err = listing_scan(listing, 1, last, SOURCE_COLUMNS_UID, &uids);
	for (size_t i = 0; err == 0 && i < uids.count; i++)
		err = diff_rows_add(rows, uids.items[i].uid, FLAGS_UNKNOWN);
	*holes = listing->skipped;
	return err < 0 ? err : diff_rows_sort(rows);
}

/* Whether the server says what it said at the run before, which was not believed. Then SEARCH decides about what it does not list. */
static bool insists(struct listing *listing, size_t listed)
{
	struct sync_folder *folder = listing->folder;
	bool again = listed && folder->doubted_messages == listing->state.messages &&
	             folder->doubted_listed == listed;
	if (again)
		log_warning("%s: the server says that there are %u messages, and lists %zu: of the "
			    "others those stay that SEARCH gives",
			folder->name, listing->state.messages, listed);
	return again;
}

/* Whether it counts as many too many as when that was believed: what its index has and its mail has not stays so. */
static bool has_usual_excess(const struct listing *listing, size_t listed)
{
	uint32_t excess = listing->folder->excess, messages = listing->state.messages;
	return excess && messages > listed && messages - listed == excess;
}

static int find_by_scan(
	struct listing *listing, struct ladder_case *c, bool last_word, struct diff *ret)
{
	_cleanup_(diff_rows_finish) struct diff_rows stored = {0}, listed = {0};
	int err = scan(listing, UINT32_MAX, &listed, &c->holes);
	if (err == 0)
		err = load_stored(listing, &stored);
	if (err < 0)
		return err;
	note_fresh(listing, &stored);
	c->stored = &stored;
	c->told = &listed;
	c->again = has_usual_excess(listing, listed.count);
	err = ladder_changes(c, ret);
	if (err == 0 && listed.count >= listing->state.messages)
		listing->folder->excess = 0;
	if (err != LADDER_DOUBT || !last_word)
		return err;
	c->again = insists(listing, listed.count);
	listing->folder->doubted_messages = listing->state.messages;
	listing->folder->doubted_listed = listed.count;
	if (c->again) {
		quirk_seen(QUIRK_COUNT_WRONG);
		listing->folder->excess = listing->state.messages - (uint32_t)listed.count;
		err = ladder_changes(c, ret);
	}
	if (err != LADDER_DOUBT)
		return err;
	return session_fail(&listing->error, SOURCE_SCOPE_MAILBOX, -EIO,
		"the server says that there are %u messages, and lists %zu",
		listing->state.messages, listed.count);
}

/* Messages may have gone between the SELECT and the scan: one more SELECT tells. */
static int select_again(struct listing *listing)
{
	struct source_state state;
	int err = listing_select(listing, false, &state);
	if (err < 0)
		return err;
	if (state.uidvalidity != listing->known.uidvalidity)
		return session_fail(&listing->error, SOURCE_SCOPE_MAILBOX, -EIO,
			"the server renumbered the messages while they were listed");
	listing->state = state;
	return 0;
}

static int find_by_scans(struct listing *listing, struct ladder_case *c, struct diff *ret)
{
	int err = find_by_scan(listing, c, false, ret);
	if (err != LADDER_DOUBT)
		return err;
	err = select_again(listing);
	return err < 0 ? err : find_by_scan(listing, c, true, ret);
}

static int find_by(struct listing *listing, struct ladder_case *c, struct diff *ret)
{
	switch (c->rung) {
	case LADDER_UNCHANGED:
		*ret = (struct diff){0};
		return 0;
	case LADDER_QRESYNC:
		return find_by_resync(listing, c, ret);
	case LADDER_CONDSTORE:
		return find_by_condstore(listing, c, ret);
	case LADDER_SCAN:
		return find_by_scans(listing, c, ret);
	}
	return -EIO;
}

/* What takes all, or most, is asked for again. Below the last rung there is none that could be right. */
static int confirm(struct listing *listing, const struct ladder_case *c, struct diff *diff)
{
	bool last = c->rung == LADDER_SCAN,
	     loss = ladder_is_loss(c->known->messages, diff->gone_count);
	/* Where SELECT counts none it was not. */
	bool searched = c->exist && listing->state.messages;
	int err = 0;
	listing->fewer = c->again;
	if (loss)
		err = listing_confirm_loss(listing, diff, searched, last);
	else if (last)
		err = listing_keep_ghosts(listing, diff);
	if (err == LADDER_DOUBT && last)
		err = listing_loss_doubted(listing, diff->gone_count);
	if (err != 0)
		diff_finish(diff);
	return err;
}

int listing_find(struct listing *listing, struct diff *ret)
{
	uint64_t count, unseen;
	int err =
		store_folder_count(listing->account->store, listing->known.folder, &count, &unseen);
	if (err < 0)
		return err;
	struct ladder_known known = known_of(listing, count);
	listing->fresh_from = known.uidnext ? known.uidnext : UINT32_MAX;
	unsigned can = abilities(listing);
	enum ladder_rung rung = ladder_choose(&known, can, &listing->state);
	for (;;) {
		struct ladder_case c = {.rung = rung, .known = &known, .state = &listing->state};
		err = find_by(listing, &c, ret);
		if (err == 0)
			err = confirm(listing, &c, ret);
		if (err != LADDER_DOUBT)
			break;
		quirk_seen(QUIRK_CHANGES_WRONG);
		log_debug("%s: what %s tells does not add up", listing->folder->name,
			ladder_name(rung));
		rung = ladder_below(rung, &known, can, &listing->state);
	}
	if (err < 0)
		return err;
	listing->folder->doubted_messages = 0;
	log_debug("%s: %s: %zu gone, %zu new, %zu with other flags", listing->folder->name,
		ladder_name(rung), ret->gone_count, ret->added_count, ret->changed_count);
	return 0;
}

int listing_find_part(
	struct listing *listing, struct diff *ret, uint32_t *ret_highest, size_t *ret_stored)
{
	_cleanup_(diff_rows_finish) struct diff_rows stored = {0}, listed = {0};
	struct ladder_known known = {0};
	struct ladder_case c = {.rung = LADDER_SCAN,
		.known = &known,
		.state = &listing->state,
		.stored = &stored,
		.told = &listed};
	int err = load_stored(listing, &stored);
	if (err < 0)
		return err;
	uint32_t highest = stored.count ? stored.items[stored.count - 1].uid : 0;
	if (highest)
		err = scan(listing, highest, &listed, &c.holes);
	known.messages = stored.count;
	if (err == 0)
		err = ladder_changes(&c, ret);
	if (err == 0)
		err = confirm(listing, &c, ret);
	if (err < 0)
		return err;
	*ret_highest = highest;
	*ret_stored = stored.count - ret->gone_count;
	listing->fresh_from = UINT32_MAX;
	return 0;
}
