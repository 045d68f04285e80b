/* SPDX-License-Identifier: MIT */
/*
 * What is made of a server's words, against models that are sets of bits: ranges of UIDs, differences of listings, the ladder, and what a POP3
 * listing means. The input is numbers; where it runs out they are 0.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "ladder.h"
#include "plan.h"

static uint64_t take_bits(struct fuzz_input *in)
{
	uint64_t bits = 0;
	for (int i = 0; i < 8; i++)
		bits = bits << 8 | fuzz_byte(in);
	return bits;
}

static uint64_t bit(uint32_t uid)
{
	FUZZ_CHECK(uid >= 1 && uid <= 64);
	return UINT64_C(1) << (uid - 1);
}

static unsigned count_bits(uint64_t bits)
{
	return (unsigned)__builtin_popcountll(bits);
}

/* --- Ranges --- */

static void check_ranges(struct fuzz_input *in)
{
	struct uid_ranges ranges = {0};
	bool model[257] = {false};
	uint64_t total = 0;
	for (unsigned n = fuzz_byte(in) % 16; n > 0; n--) {
		uint32_t first = fuzz_byte(in), last = fuzz_byte(in);
		uint32_t low = first < last ? first : last, high = first < last ? last : first;
		FUZZ_CHECK(uid_ranges_add(&ranges, first, last) == 0);
		for (uint32_t uid = low ? low : 1; uid <= high; uid++)
			model[uid] = true;
	}
	uid_ranges_sort(&ranges);
	for (uint32_t uid = 0; uid <= 256; uid++) {
		FUZZ_CHECK(uid_ranges_has(&ranges, uid) == model[uid]);
		total += model[uid];
	}
	FUZZ_CHECK(uid_ranges_total(&ranges) == total);
	for (size_t i = 1; i < ranges.count; i++)
		FUZZ_CHECK(ranges.items[i].first > ranges.items[i - 1].last + 1);
	uid_ranges_finish(&ranges);
}

/* --- Differences --- */

/* A listing: which UIDs there are, and whether each has its first flags or others. */
struct listing {
	uint64_t uids, flagged;
};

static struct listing take_listing(struct fuzz_input *in)
{
	uint64_t uids = take_bits(in);
	return (struct listing){uids, take_bits(in) & uids};
}

static void add_rows(struct diff_rows *rows, uint64_t uids, uint64_t flagged)
{
	for (uint32_t uid = 1; uid <= 64; uid++)
		if (uids & bit(uid))
			FUZZ_CHECK(diff_rows_add(rows, uid, flagged & bit(uid) ? 2 : 1) == 0);
	FUZZ_CHECK(diff_rows_sort(rows) == 0);
}

/* What the listing becomes by the difference, which must fit to it. */
static struct listing apply(struct listing stored, const struct diff *diff, uint64_t *ret_added)
{
	struct listing now = stored;
	uint64_t gone = 0, added = 0, changed = 0;
	for (size_t i = 0; i < diff->gone_count; i++) {
		FUZZ_CHECK(stored.uids & bit(diff->gone[i]) & ~gone);
		gone |= bit(diff->gone[i]);
	}
	for (size_t i = 0; i < diff->added_count; i++) {
		FUZZ_CHECK(bit(diff->added[i]) & ~stored.uids & ~added);
		added |= bit(diff->added[i]);
	}
	for (size_t i = 0; i < diff->changed_count; i++) {
		uint64_t one = bit(diff->changed[i].uid);
		FUZZ_CHECK(stored.uids & one & ~gone & ~changed);
		changed |= one;
		now.flagged = diff->changed[i].flags == 2 ? now.flagged | one : now.flagged & ~one;
	}
	now.uids = (now.uids & ~gone) | added;
	now.flagged &= now.uids;
	*ret_added = added;
	return now;
}

static void check_diff(struct listing stored, struct listing server)
{
	struct diff_rows a = {0}, b = {0};
	struct diff diff;
	uint64_t added;
	add_rows(&a, stored.uids, stored.flagged);
	add_rows(&b, server.uids, server.flagged);
	FUZZ_CHECK(diff_compute(&a, &b, &diff) == 0);
	struct listing now = apply(stored, &diff, &added);
	FUZZ_CHECK(now.uids == server.uids);
	FUZZ_CHECK(now.flagged == (server.flagged & ~added));
	diff_finish(&diff);
	diff_rows_finish(&a);
	diff_rows_finish(&b);
}

/* --- The ladder --- */

static void add_ranges(struct uid_ranges *ranges, uint64_t uids)
{
	for (uint32_t uid = 1; uid <= 64; uid++)
		if (uids & bit(uid))
			FUZZ_CHECK(uid_ranges_add(ranges, uid, uid) == 0);
	uid_ranges_sort(ranges);
}

/* What a server says; honest: it is all true. */
struct words {
	uint64_t told, vanished, exist;
	uint32_t messages;
	bool asked_uids, holes, again;
};

static struct words take_words(
	struct fuzz_input *in, enum ladder_rung rung, struct listing stored, struct listing server)
{
	uint64_t changed = stored.uids & server.uids & (stored.flagged ^ server.flagged);
	struct words words = {
		.told = (server.uids & ~stored.uids) | changed | (take_bits(in) & server.uids),
		.vanished = (stored.uids & ~server.uids) | (take_bits(in) & ~server.uids),
		.exist = server.uids,
		.messages = count_bits(server.uids),
		.asked_uids = fuzz_byte(in) & 1,
	};
	if (rung == LADDER_SCAN)
		words.told = server.uids;
	return words;
}

static void lie(struct fuzz_input *in, struct words *words)
{
	words->told ^= take_bits(in);
	words->vanished ^= take_bits(in);
	words->exist ^= take_bits(in);
	words->messages += fuzz_byte(in) % 5;
	words->holes = fuzz_byte(in) & 1;
	words->again = fuzz_byte(in) & 1;
}

static int climb(enum ladder_rung rung, struct listing stored, struct listing server,
	const struct words *words, struct diff *ret)
{
	struct diff_rows rows = {0}, told = {0};
	struct uid_ranges vanished = {0}, exist = {0};
	const struct ladder_known known = {count_bits(stored.uids), 65, 100, true};
	const struct source_state state = {
		.uidvalidity = 7, .uidnext = 65, .messages = words->messages, .modseq = 101};
	const struct ladder_case c = {.rung = rung,
		.known = &known,
		.state = &state,
		.stored = &rows,
		.told = &told,
		.vanished = &vanished,
		.exist = words->asked_uids ? &exist : NULL,
		.holes = words->holes,
		.again = words->again};
	add_rows(&rows, stored.uids, stored.flagged);
	add_rows(&told, words->told, server.flagged);
	add_ranges(&vanished, words->vanished);
	add_ranges(&exist, words->exist);
	int r = ladder_changes(&c, ret);
	diff_rows_finish(&rows);
	diff_rows_finish(&told);
	uid_ranges_finish(&vanished);
	uid_ranges_finish(&exist);
	return r;
}

static void check_ladder(struct fuzz_input *in, struct listing stored, struct listing server)
{
	static const enum ladder_rung rungs[] = {LADDER_QRESYNC, LADDER_CONDSTORE, LADDER_SCAN};
	enum ladder_rung rung = rungs[fuzz_byte(in) % 3];
	bool honest = fuzz_byte(in) & 1;
	struct words words = take_words(in, rung, stored, server);
	struct diff diff = {0};
	uint64_t added;
	if (!honest)
		lie(in, &words);
	int r = climb(rung, stored, server, &words, &diff);
	FUZZ_CHECK(r == 0 || r == LADDER_DOUBT);
	/* CHANGEDSINCE alone does not tell what is gone. */
	bool enough = rung != LADDER_CONDSTORE || words.asked_uids;
	if (honest && enough)
		FUZZ_CHECK(r == 0);
	if (r == 0) {
		struct listing now = apply(stored, &diff, &added);
		if (honest)
			FUZZ_CHECK(now.uids == server.uids);
		if (honest)
			FUZZ_CHECK(((now.flagged ^ server.flagged) & ~added) == 0);
		if (words.holes && rung == LADDER_SCAN)
			FUZZ_CHECK(diff.gone_count == 0);
		diff_finish(&diff);
	}
}

/* --- What a POP3 listing means --- */

#define MESSAGES_MAX 12

static void take_records(struct fuzz_input *in, struct plan *plan)
{
	for (unsigned i = 1, n = fuzz_byte(in) % MESSAGES_MAX; i <= n; i++) {
		uint8_t what = fuzz_byte(in);
		char uidl = (char)('a' + what % 4);
		struct store_spool record = {.uid = i,
			.uidl = &uidl,
			.uidl_len = what & 16 ? 0 : 1,
			.size_bytes = 10 + (what >> 5) % 2,
			.listed_bytes = 10 + (what >> 5) % 2,
			.has_top = what & 64,
			.stored_s = 1,
			.deleted_s = what & 128 ? 2 : 0};
		record.sha256[0] = record.top[0] = fuzz_byte(in) % 4;
		FUZZ_CHECK(plan_add_record(plan, &record) == 0);
	}
}

static void take_entries(struct fuzz_input *in, struct maildrop_listing *listing)
{
	listing->count = fuzz_byte(in) % MESSAGES_MAX;
	listing->entries = calloc(MESSAGES_MAX, sizeof(*listing->entries));
	FUZZ_CHECK(listing->entries);
	for (size_t i = 0; i < listing->count; i++) {
		uint8_t what = fuzz_byte(in);
		listing->entries[i] = (struct maildrop_entry){.number = (uint32_t)i + 1,
			.uidl = (uint32_t)listing->uidls.len,
			.uidl_len = what & 16 ? 0 : 1,
			.size_bytes = what & 64 ? UINT64_MAX : (uint64_t)(10 + (what >> 5) % 2)};
		str_putc(&listing->uidls, (char)('a' + what % 4));
	}
	listing->messages = listing->count;
}

/* Each record is claimed once, by an entry that points to it; no number is given twice. */
static void check_claims(const struct plan *plan)
{
	for (size_t i = 0; i < plan->listing->count; i++) {
		const struct plan_entry *a = &plan->entries[i];
		FUZZ_CHECK(a->record == PLAN_NO_RECORD || a->record < plan->record_count);
		FUZZ_CHECK(a->record == PLAN_NO_RECORD || plan->records[a->record].claimed);
		FUZZ_CHECK(!plan_entry_here(a) || a->record != PLAN_NO_RECORD);
		FUZZ_CHECK(a->state != PLAN_FETCH || a->uid != 0);
		for (size_t k = 0; k < i; k++) {
			const struct plan_entry *b = &plan->entries[k];
			FUZZ_CHECK(a->record == PLAN_NO_RECORD || a->record != b->record);
			FUZZ_CHECK(a->uid == 0 || a->uid != b->uid);
		}
	}
}

static void check_plan(struct fuzz_input *in)
{
	struct plan plan;
	struct maildrop_listing listing = {0};
	plan_init(&plan);
	plan.random = 1;
	take_records(in, &plan);
	take_entries(in, &listing);
	FUZZ_CHECK(plan_make(&plan, &listing) == 0);
	check_claims(&plan);
	for (size_t i = 0; i < listing.count; i++) {
		unsigned char digest[STORE_DIGEST_BYTES] = {(unsigned char)(fuzz_byte(in) % 4)};
		if (plan.entries[i].state == PLAN_PROBE && fuzz_byte(in) & 1)
			(void)plan_top(&plan, i, digest, INT64_MIN);
		if (plan.entries[i].state != PLAN_PROBE && plan.entries[i].state != PLAN_FETCH)
			continue;
		int r = plan_content(&plan, i, digest);
		const struct plan_entry *entry = &plan.entries[i];
		FUZZ_CHECK(r == 0 || r == 1);
		if (r == 1)
			FUZZ_CHECK(entry->record != PLAN_NO_RECORD &&
				   plan.records[entry->record].sha256[0] == digest[0]);
		else
			FUZZ_CHECK(entry->uid != 0 && entry->state == PLAN_ON_ITS_WAY);
		check_claims(&plan);
	}
	plan_finish(&plan);
	maildrop_listing_finish(&listing);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	check_ranges(&in);
	struct listing stored = take_listing(&in), server = take_listing(&in);
	check_diff(stored, server);
	check_ladder(&in, stored, server);
	check_plan(&in);
	return 0;
}
