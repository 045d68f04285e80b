/* SPDX-License-Identifier: MIT */
/*
 * Before an answer empties a folder, or takes most of it, the server is asked once more, by another command than the one that said so: SEARCH, or FETCH where
 * it was SEARCH. Only what both say is dropped, and nothing if they differ about most of it. Where the server refuses that question, STATUS must count as SELECT did. This costs a round trip,
 * and only then, and where it lists fewer than it counts; an answer that is lost, cut, or about another mailbox costs what has been fetched in years.
 */
#include "listing.h"

#include <errno.h>

#include "mailfs/util/log.h"

struct look {
	const char *name;
	struct source_state state;
};

static int call_status(struct worker *worker, void *arg, struct source_error *error)
{
	struct look *look = arg;
	const struct source_ops *ops = worker->account->source->ops;
	if (!ops->status)
		return session_fail(error, SOURCE_SCOPE_MAILBOX, -EOPNOTSUPP, "no STATUS");
	return ops->status(worker->session, look->name, &look->state, error);
}

/* Whether STATUS counts as many as SELECT did. That says nothing for a loss that SELECT did not count. */
static int confirm_count(struct listing *listing)
{
	struct look look = {.name = listing->folder->name};
	if (listing->fewer)
		return LADDER_DOUBT;
	int err = session_ask(listing->worker, call_status, &look, &listing->error);
	if (err < 0)
		return listing_doubt_refusal(listing, err);
	return look.state.messages == listing->state.messages &&
	                       look.state.uidvalidity == listing->state.uidvalidity
	               ? 0
	               : LADDER_DOUBT;
}

/* The UIDs that there are, into listing->exist, by FETCH. */
static int exist_by_fetch(struct listing *listing)
{
	_cleanup_(diff_rows_finish) struct diff_rows rows = {0};
	int err = listing_scan(listing, 1, UINT32_MAX, SOURCE_COLUMNS_UID, &rows);
	listing->exist.count = 0;
	for (size_t i = 0; err == 0 && i < rows.count; i++)
		err = uid_ranges_add(&listing->exist, rows.items[i].uid, rows.items[i].uid);
	return err == 0 && listing->skipped ? LADDER_DOUBT : err;
}

/*
 * Whether it contradicts itself about most of what is not known to be such a case. A server's index may have some that its mail has not, for good: they
 * would keep all the others, or, once these are gone, be most of what is left.
 */
static bool is_contradicted(const struct listing *listing, const struct diff *diff, bool last)
{
	size_t again = 0, anew = 0;
	for (size_t i = 0; i < diff->gone_count; i++) {
		bool there = uid_ranges_has(&listing->exist, diff->gone[i]);
		bool known = uid_ranges_has(&listing->folder->ghosts, diff->gone[i]);
		again += there && known;
		anew += there && !known;
	}
	return last ? anew > (diff->gone_count - again) / 2 : again + anew > 0;
}

/* They stay until somebody asks for them, or SEARCH does not give them any more, and the others, of which it says the same twice, go. */
static int keep_contradicted(const struct listing *listing, struct diff *diff)
{
	struct uid_ranges *ghosts = &listing->folder->ghosts;
	size_t kept = 0;
	ghosts->count = 0;
	for (size_t i = 0; i < diff->gone_count; i++) {
		uint32_t uid = diff->gone[i];
		int err = 0;
		if (uid_ranges_has(&listing->exist, uid))
			err = uid_ranges_add(ghosts, uid, uid);
		else
			diff->gone[kept++] = uid;
		if (err < 0)
			return err;
	}
	if (kept < diff->gone_count)
		log_debug("%s: %zu of them are there all the same", listing->folder->name,
			diff->gone_count - kept);
	diff->gone_count = kept;
	return 0;
}

int listing_confirm_loss(struct listing *listing, struct diff *diff, bool searched, bool last)
{
	log_debug("%s: %zu messages are said to be gone: asking again", listing->folder->name,
		diff->gone_count);
	int err = searched ? exist_by_fetch(listing) : listing_uids(listing, UINT32_MAX);
	err = listing_doubt_refusal(listing, err);
	if (err < 0)
		return err;
	/* Also of an answer that is not whole. */
	if (is_contradicted(listing, diff, last))
		return LADDER_DOUBT;
	int kept = last ? keep_contradicted(listing, diff) : 0;
	if (kept < 0)
		return kept;
	return err == LADDER_DOUBT ? confirm_count(listing) : 0;
}

static bool has_ghosts(const struct listing *listing, const struct diff *diff)
{
	for (size_t i = 0; i < diff->gone_count; i++)
		if (uid_ranges_has(&listing->folder->ghosts, diff->gone[i]))
			return true;
	return false;
}

/* What SEARCH gives stays, whatever it was before; unknown: it did not answer, and all does. */
static int keep_all(struct listing *listing, struct diff *diff, bool unknown)
{
	int err = 0;
	if (unknown)
		listing->exist.count = 0;
	for (size_t i = 0; err == 0 && unknown && i < diff->gone_count; i++)
		err = uid_ranges_add(&listing->exist, diff->gone[i], diff->gone[i]);
	return err < 0 ? err : keep_contradicted(listing, diff);
}

int listing_keep_ghosts(struct listing *listing, struct diff *diff)
{
	bool all = listing->fewer && diff->gone_count > 0;
	size_t gone = 0;
	if (!all && !has_ghosts(listing, diff))
		return 0;
	int err = listing_doubt_refusal(listing, listing_uids(listing, UINT32_MAX));
	if (err < 0)
		return err;
	if (all)
		return keep_all(listing, diff, err == LADDER_DOUBT);
	/* Where it does not answer they stay. */
	for (size_t i = 0; i < diff->gone_count; i++) {
		uint32_t uid = diff->gone[i];
		bool there = err == LADDER_DOUBT || uid_ranges_has(&listing->exist, uid);
		if (!there || !uid_ranges_has(&listing->folder->ghosts, uid))
			diff->gone[gone++] = uid;
	}
	diff->gone_count = gone;
	return 0;
}

int listing_loss_doubted(struct listing *listing, size_t gone)
{
	return session_fail(&listing->error, SOURCE_SCOPE_MAILBOX, -EIO,
		"the server says that %zu messages are gone, and does not stand by it when it is asked again",
		gone);
}

int listing_confirm_few(struct listing *listing)
{
	struct diff none = {0};
	uint64_t said = listing->state.messages;
	int err = listing_confirm_loss(listing, &none, false, true);
	uint64_t there = uid_ranges_total(&listing->exist);
	if (err == 0 && there > said && ladder_is_loss(there, there - said))
		err = LADDER_DOUBT;
	return err == LADDER_DOUBT
	               ? session_fail(&listing->error, SOURCE_SCOPE_MAILBOX, -EIO,
				 "the server says that there are %llu messages, and lists more",
				 (unsigned long long)said)
	               : err;
}
