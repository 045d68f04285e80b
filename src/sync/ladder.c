/* SPDX-License-Identifier: MIT */
/*
 * Servers lie: VANISHED of messages that are there (iCloud), modification sequences that stand still or go back, EXISTS that is
 * another number than that of the messages that can be listed. So no answer counts that does not add up: what is stored, less
 * what is gone, with what is new must be as many as the server says there are. What does not add up on one rung is asked for by other
 * means on the next; what does not on the last is an error, or, when the server insists, its word, as far as SEARCH does not gainsay it.
 *
 * A rung tells of the mailbox as it was at the SELECT or later. What came meanwhile may make it add up wrongly, which costs a rung, and
 * never rightly: UIDs at or past SELECT's UIDNEXT are left for the next run.
 */
#include "ladder.h"

#include <errno.h>

/* More UIDs may exist than SELECT said: mail that has come since. Beyond this it is no list of UIDs. */
#define EXIST_EXTRA 100000
/* So many may go at once by one answer's word, as long as not all do. */
#define LOSS_MIN 100

bool ladder_resyncs(const struct ladder_known *known, unsigned abilities)
{
	return known->complete && known->modseq && abilities & SOURCE_CAN_QRESYNC;
}

/*
 * Whether modification sequences can be relied on: none goes back, nor does UIDNEXT, and new messages have a higher one
 * (RFC 7162 §3.1).
 */
static bool modseq_works(const struct ladder_known *known, const struct source_state *state)
{
	if (!known->complete || !known->modseq || state->modseq < known->modseq)
		return false;
	if (!state->uidnext || !known->uidnext)
		return true;
	return state->uidnext == known->uidnext ||
	       (state->uidnext > known->uidnext && state->modseq > known->modseq);
}

static bool is_unchanged(const struct ladder_known *known, const struct source_state *state)
{
	return modseq_works(known, state) && state->modseq == known->modseq && state->uidnext &&
	       state->uidnext == known->uidnext && state->messages == known->messages;
}

enum ladder_rung ladder_choose(
	const struct ladder_known *known, unsigned abilities, const struct source_state *state)
{
	if (state->resynced && modseq_works(known, state))
		return LADDER_QRESYNC;
	if (is_unchanged(known, state))
		return LADDER_UNCHANGED;
	return ladder_below(LADDER_QRESYNC, known, abilities, state);
}

enum ladder_rung ladder_below(enum ladder_rung rung, const struct ladder_known *known,
	unsigned abilities, const struct source_state *state)
{
	bool condstore = abilities & SOURCE_CAN_CONDSTORE && modseq_works(known, state);
	return rung < LADDER_CONDSTORE && condstore ? LADDER_CONDSTORE : LADDER_SCAN;
}

const char *ladder_name(enum ladder_rung rung)
{
	static const char *const names[] = {"unchanged", "qresync", "condstore", "scan"};
	return names[rung];
}

bool ladder_is_loss(uint64_t messages, uint64_t gone)
{
	return gone > 0 && (gone >= messages || (gone > LOSS_MIN && gone > messages / 2));
}

/* The row of a UID in sorted rows; NULL: none. */
static const struct diff_row *row_of(const struct diff_rows *rows, uint32_t uid)
{
	size_t low = 0, high = rows->count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (rows->items[middle].uid < uid)
			low = middle + 1;
		else
			high = middle;
	}
	return low < rows->count && rows->items[low].uid == uid ? &rows->items[low] : NULL;
}

static bool adds_up(const struct ladder_case *c, const struct diff *diff)
{
	if (c->exist)
		return uid_ranges_total(c->exist) == c->state->messages;
	return c->known->messages + diff->added_count ==
	       (uint64_t)c->state->messages + diff->gone_count;
}

/* What is said about one message that is, or is not, stored. Flags that are not readable can not be told from changed ones. */
static int take_told(const struct diff_row *told, const struct diff_row *stored, struct diff *diff)
{
	if (!stored)
		return diff_add_added(diff, told->uid);
	if (told->flags == FLAGS_UNKNOWN)
		return LADDER_DOUBT;
	return told->flags == stored->flags ? 0 : diff_add_changed(diff, told);
}

/*
 * What SELECT has told. A message that it gives flags of exists, though it be among the vanished ones: whether that is
 * so, or it went after its flags were told, the numbers show.
 */
static int resync_changes(const struct ladder_case *c, struct diff *diff)
{
	uint32_t uidnext = c->state->uidnext;
	int err = 0;

	for (size_t i = 0; err == 0 && i < c->told->count; i++) {
		const struct diff_row *told = &c->told->items[i];
		if (uidnext && told->uid >= uidnext)
			return LADDER_DOUBT;
		err = take_told(told, row_of(c->stored, told->uid), diff);
	}
	for (size_t i = 0; err == 0 && i < c->stored->count; i++) {
		uint32_t uid = c->stored->items[i].uid;
		if (uid_ranges_has(c->vanished, uid) && !row_of(c->told, uid))
			err = diff_add_gone(diff, uid);
	}
	return err;
}

/* Without the list of UIDs: enough where the numbers show that nothing went. */
static int changed_since(const struct ladder_case *c, struct diff *diff)
{
	int err = 0;
	if (!c->known->uidnext || !c->state->uidnext)
		return LADDER_DOUBT;
	for (size_t i = 0; err == 0 && i < c->told->count; i++) {
		const struct diff_row *told = &c->told->items[i];
		err = take_told(told, row_of(c->stored, told->uid), diff);
	}
	return err;
}

/* Adds those of first … last that are not stored; *at: the first stored one that is not below first. */
static int add_missing(const struct diff_rows *stored, size_t *at, const struct uid_range *range,
	struct diff *diff)
{
	for (uint64_t uid = range->first; uid <= range->last; uid++) {
		while (*at < stored->count && stored->items[*at].uid < uid)
			(*at)++;
		if (*at < stored->count && stored->items[*at].uid == uid)
			continue;
		int err = diff_add_added(diff, (uint32_t)uid);
		if (err < 0)
			return err;
	}
	return 0;
}

/* With it. Flags of a message that does not exist were told before it went. */
static int uids_changes(const struct ladder_case *c, struct diff *diff)
{
	size_t at = 0;
	int err = 0;

	if (uid_ranges_total(c->exist) > (uint64_t)c->state->messages + EXIST_EXTRA)
		return LADDER_DOUBT;
	for (size_t i = 0; err == 0 && i < c->exist->count; i++)
		err = add_missing(c->stored, &at, &c->exist->items[i], diff);
	for (size_t i = 0; err == 0 && i < c->stored->count; i++)
		if (!uid_ranges_has(c->exist, c->stored->items[i].uid))
			err = diff_add_gone(diff, c->stored->items[i].uid);
	for (size_t i = 0; err == 0 && i < c->told->count; i++) {
		const struct diff_row *told = &c->told->items[i];
		const struct diff_row *stored = row_of(c->stored, told->uid);
		if (stored && uid_ranges_has(c->exist, told->uid))
			err = take_told(told, stored, diff);
	}
	return err;
}

/*
 * The whole list. Where it may have holes nothing is taken for gone. Where it is shorter than the server says, nothing is missing
 * that was listed before (a server that counts one too many, always), or it is asked again, or it insists. That a mailbox that has messages lists
 * none is never believed.
 */
static int scan_changes(const struct ladder_case *c, struct diff *diff)
{
	int err = diff_compute(c->stored, c->told, diff);
	if (err < 0)
		return err;
	if (c->holes)
		diff->gone_count = 0;
	if (c->known->complete && c->told->count == 0 && c->state->messages > 0)
		return LADDER_DOUBT;
	if (!c->known->complete || diff->gone_count == 0)
		return 0;
	return c->told->count < c->state->messages && !c->again ? LADDER_DOUBT : 0;
}

static int find(const struct ladder_case *c, struct diff *diff)
{
	int err;
	if (c->rung == LADDER_SCAN)
		return scan_changes(c, diff);
	if (c->rung == LADDER_QRESYNC)
		err = resync_changes(c, diff);
	else
		err = c->exist ? uids_changes(c, diff) : changed_since(c, diff);
	return err == 0 && !adds_up(c, diff) ? LADDER_DOUBT : err;
}

int ladder_changes(const struct ladder_case *c, struct diff *ret)
{
	struct diff diff = {0};
	int err = c->rung == LADDER_UNCHANGED ? 0 : find(c, &diff);
	if (err == 0)
		*ret = diff;
	else
		diff_finish(&diff);
	return err;
}
