/* SPDX-License-Identifier: MIT */
/*
 * What a listing means: each rule in a table, then servers that do at random whatever a server may do, look after look,
 * against what must hold: everything that was listed is here, each in a record of its own, and nothing is stored twice.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mailfs/util/hash.h"
#include "plan.h"

/* --- A listing and records, by hand --- */

static void digest_of(unsigned content, unsigned char out[STORE_DIGEST_BYTES])
{
	memset(out, 0, STORE_DIGEST_BYTES);
	memcpy(out, &content, sizeof(content));
}

static void list_add(struct maildrop_listing *listing, const char *uidl, size_t len, uint64_t size)
{
	static size_t cap;
	if (!listing->entries)
		cap = 0;
	assert_int_equal(
		array_grow(&listing->entries, &cap, listing->count + 1, sizeof(*listing->entries)),
		0);
	listing->entries[listing->count] =
		(struct maildrop_entry){.number = (uint32_t)listing->count + 1,
			.uidl = (uint32_t)listing->uidls.len,
			.uidl_len = (uint32_t)len,
			.size_bytes = size};
	str_append(&listing->uidls, uidl, len);
	listing->count++;
}

/* What one record has of note. */
enum { DELETED = 1, LOST = 2, TOP = 4, STORED_LATE = 8 };

static void record_add(struct plan *plan, uint32_t uid, const char *uidl, uint64_t listed,
	unsigned content, unsigned what)
{
	struct store_spool record = {.uid = uid,
		.uidl = uidl,
		.uidl_len = strlen(uidl),
		.listed_bytes = listed,
		.stored_s = what & STORED_LATE ? 2000 : 1000,
		.deleted_s = what & DELETED ? 1500 : 0,
		.has_top = what & TOP,
		.lost = what & LOST};
	digest_of(content, record.sha256);
	digest_of(content + 1000, record.top);
	assert_int_equal(plan_add_record(plan, &record), 0);
}

struct row {
	const char *name;
	struct {
		uint32_t uid;
		const char *uidl;
		uint64_t listed;
		unsigned content, what;
	} records[3];
	struct {
		const char *uidl;
		uint64_t listed;
		unsigned content; /* 0: not asked */
		enum plan_state before, after;
		uint32_t uid; /* after; 0: any new one */
	} entries[3];
};

#define NONE UINT64_MAX

static const struct row rows[] = {
	{"nothing here", {{0}}, {{"a", 9, 1, PLAN_FETCH, PLAN_ON_ITS_WAY, 0}}},
	{"here", {{7, "a", 9, 1, 0}}, {{"a", 9, 0, PLAN_HERE, PLAN_HERE, 7}}},
	{"here, beside a new one", {{7, "a", 9, 1, 0}},
		{{"b", 9, 2, PLAN_FETCH, PLAN_ON_ITS_WAY, 0},
			{"a", 9, 0, PLAN_HERE, PLAN_HERE, 7}}},
	{"one that begins like another", {{7, "ab", 9, 1, 0}},
		{{"a", 9, 2, PLAN_FETCH, PLAN_ON_ITS_WAY, 0}}},
	{"here, its size was not listed", {{7, "a", NONE, 1, 0}},
		{{"a", 9, 0, PLAN_HERE, PLAN_HERE, 7}}},
	{"here, its size is not listed", {{7, "a", 9, 1, 0}},
		{{"a", NONE, 0, PLAN_HERE, PLAN_HERE, 7}}},
	{"lost, and the same again", {{7, "a", 9, 1, LOST}},
		{{"a", 9, 1, PLAN_FETCH, PLAN_ON_ITS_WAY, 7}}},
	{"lost, and another", {{7, "a", 9, 1, LOST}},
		{{"a", 9, 2, PLAN_FETCH, PLAN_ON_ITS_WAY, 0}}},
	{"another size, the same message", {{7, "a", 9, 1, 0}},
		{{"a", 10, 1, PLAN_PROBE, PLAN_HERE_BY_CONTENT, 7}}},
	{"another size, another message", {{7, "a", 9, 1, 0}},
		{{"a", 10, 2, PLAN_PROBE, PLAN_ON_ITS_WAY, 0}}},
	{"deleted, listed again", {{7, "a", 9, 1, DELETED}},
		{{"a", 9, 1, PLAN_PROBE, PLAN_HERE_BY_CONTENT, 7}}},
	{"deleted, its unique-id used again", {{7, "a", 9, 1, DELETED}},
		{{"a", 9, 2, PLAN_PROBE, PLAN_ON_ITS_WAY, 0}}},
	{"two in the listing, one here", {{7, "a", 9, 1, 0}},
		{{"a", 9, 2, PLAN_PROBE, PLAN_ON_ITS_WAY, 0},
			{"a", 9, 1, PLAN_PROBE, PLAN_HERE_BY_CONTENT, 7}}},
	{"two of the same in the listing, one here", {{7, "a", 9, 1, 0}},
		{{"a", 9, 1, PLAN_PROBE, PLAN_HERE_BY_CONTENT, 7},
			{"a", 9, 1, PLAN_PROBE, PLAN_ON_ITS_WAY, 0}}},
	{"two here, one in the listing", {{7, "a", 9, 1, 0}, {8, "a", 9, 2, 0}},
		{{"a", 9, 2, PLAN_PROBE, PLAN_HERE_BY_CONTENT, 8}}},
	{"two of the same here, one lost: the other is claimed first",
		{{7, "a", 9, 1, LOST}, {8, "a", 9, 1, 0}},
		{{"a", 9, 1, PLAN_PROBE, PLAN_HERE_BY_CONTENT, 8}}},
	{"two of the same here, one lost: it is made good",
		{{7, "a", 9, 1, LOST}, {8, "a", 9, 1, 0}},
		{{"a", 9, 1, PLAN_PROBE, PLAN_HERE_BY_CONTENT, 8},
			{"a", 9, 1, PLAN_PROBE, PLAN_ON_ITS_WAY, 7}}},
	{"no unique-id, nothing here", {{0}}, {{"", 9, 1, PLAN_PROBE, PLAN_ON_ITS_WAY, 0}}},
	{"no unique-id, here without", {{7, "", 9, 1, 0}},
		{{"", 9, 1, PLAN_PROBE, PLAN_HERE_BY_CONTENT, 7}}},
	{"no unique-id, here with one that is not listed", {{7, "a", 9, 1, 0}},
		{{"", 9, 1, PLAN_PROBE, PLAN_HERE_BY_CONTENT, 7}}},
	{"no unique-id, here with one that is another's", {{7, "a", 9, 1, 0}},
		{{"a", 9, 0, PLAN_HERE, PLAN_HERE, 7}, {"", 9, 1, PLAN_PROBE, PLAN_ON_ITS_WAY, 0}}},
	{"a new unique-id, here without", {{7, "", 9, 1, 0}},
		{{"a", 9, 1, PLAN_PROBE, PLAN_HERE_BY_CONTENT, 7}}},
	{"a new unique-id, the content is another's", {{7, "a", 9, 1, 0}},
		{{"b", 9, 1, PLAN_FETCH, PLAN_ON_ITS_WAY, 0},
			{"a", 9, 0, PLAN_HERE, PLAN_HERE, 7}}},
};

static bool is_new(const struct row *row, uint32_t uid)
{
	for (size_t i = 0; i < 3; i++)
		if (row->records[i].uid == uid)
			return false;
	return uid != UINT32_MAX;
}

static void run_row(const struct row *row)
{
	struct plan plan;
	struct maildrop_listing listing = {0};
	plan_init(&plan);
	for (size_t i = 0; i < 3 && row->records[i].uid; i++)
		record_add(&plan, row->records[i].uid, row->records[i].uidl, row->records[i].listed,
			row->records[i].content, row->records[i].what);
	for (size_t i = 0; i < 3 && row->entries[i].uidl; i++)
		list_add(&listing, row->entries[i].uidl, strlen(row->entries[i].uidl),
			row->entries[i].listed);
	assert_int_equal(plan_make(&plan, &listing), 0);
	for (size_t i = 0; i < listing.count; i++) {
		struct plan_entry *entry = &plan.entries[i];
		unsigned char sha256[STORE_DIGEST_BYTES];
		if (entry->state != row->entries[i].before)
			fail_msg("%s: entry %zu is %u at first", row->name, i, entry->state);
		digest_of(row->entries[i].content, sha256);
		if (row->entries[i].content)
			assert_true(plan_content(&plan, i, sha256) >= 0);
		if (entry->state != row->entries[i].after)
			fail_msg("%s: entry %zu is %u at last", row->name, i, entry->state);
		if (row->entries[i].uid ? entry->uid != row->entries[i].uid
					: !is_new(row, entry->uid))
			fail_msg("%s: entry %zu has uid %u", row->name, i, (unsigned)entry->uid);
	}
	plan_finish(&plan);
	maildrop_listing_finish(&listing);
}

static void test_rules(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		run_row(&rows[i]);
}

/* --- TOP --- */

static int top_of(const char *uidl, uint64_t listed, unsigned what, uint64_t listed_then,
	unsigned content, int64_t prove_until_s)
{
	struct plan plan;
	struct maildrop_listing listing = {0};
	unsigned char digest[STORE_DIGEST_BYTES];
	plan_init(&plan);
	record_add(&plan, 7, "", listed_then, 1, what);
	list_add(&listing, uidl, strlen(uidl), listed);
	assert_int_equal(plan_make(&plan, &listing), 0);
	assert_int_equal(plan.entries[0].state, PLAN_PROBE);
	digest_of(content + 1000, digest);
	int here = plan_top(&plan, 0, digest, prove_until_s);
	assert_int_equal(plan.entries[0].state, here ? PLAN_HERE_BY_TOP : PLAN_PROBE);
	assert_int_equal(plan.entries[0].uid, here ? 7 : 0);
	plan_finish(&plan);
	maildrop_listing_finish(&listing);
	return here;
}

static void test_top(void **state)
{
	(void)state;
	assert_true(top_of("", 9, TOP, 9, 1, INT64_MIN));
	assert_true(top_of("a", 9, TOP, 9, 1, INT64_MIN));
	/* Another header, another size, none listed, none noted, a file that is lost. */
	assert_false(top_of("", 9, TOP, 9, 2, INT64_MIN));
	assert_false(top_of("", 9, TOP, 10, 1, INT64_MIN));
	assert_false(top_of("", NONE, TOP, NONE, 1, INT64_MIN));
	assert_false(top_of("", 9, 0, 9, 1, INT64_MIN));
	assert_false(top_of("", 9, TOP | LOST, 9, 1, INT64_MIN));
	/* One that is due to be deleted is proven by its content. */
	assert_false(top_of("", 9, TOP, 9, 1, 1000));
	assert_true(top_of("", 9, TOP, 9, 1, 999));
	assert_true(top_of("", 9, TOP | STORED_LATE, 9, 1, 1000));
}

/* Two with one header: each claims one, and what is over is fetched. */
static void test_top_counts(void **state)
{
	(void)state;
	struct plan plan;
	struct maildrop_listing listing = {0};
	unsigned char digest[STORE_DIGEST_BYTES];
	plan_init(&plan);
	record_add(&plan, 7, "", 9, 1, TOP);
	record_add(&plan, 8, "", 9, 1, TOP);
	for (int i = 0; i < 3; i++)
		list_add(&listing, "", 0, 9);
	assert_int_equal(plan_make(&plan, &listing), 0);
	digest_of(1001, digest);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(plan_top(&plan, i, digest, INT64_MIN), i < 2);
	digest_of(1, digest);
	assert_int_equal(plan_content(&plan, 2, digest), 0);
	assert_true(plan.entries[0].uid != plan.entries[1].uid);
	/* Those that are probably here come after the one that is not. */
	assert_int_equal(plan.entries[0].turn, 1);
	assert_int_equal(plan.entries[2].turn, 0);
	plan_finish(&plan);
	maildrop_listing_finish(&listing);
}

/* --- Numbers --- */

static uint32_t number_of(const char *uidl)
{
	return (uint32_t)hash64_finish(hash64(HASH64_INIT, uidl, strlen(uidl)));
}

/* Made of the unique-id, in the order of the listing; where one is taken, the next that is free; where many are, any. */
static void test_numbers(void **state)
{
	(void)state;
	for (uint32_t taken = 0; taken < 20; taken++) {
		struct plan plan;
		struct maildrop_listing listing = {0};
		plan_init(&plan);
		for (uint32_t i = 0; i < taken; i++)
			record_add(&plan, number_of("odd \x01\xff") + i, "x", 9, 1, 0);
		list_add(&listing, "odd \x01\xff", 6, 9);
		assert_int_equal(plan_make(&plan, &listing), 0);
		uint32_t uid = plan.entries[0].uid, first = number_of("odd \x01\xff");
		if (taken < 16)
			assert_int_equal(uid, first + taken);
		else
			assert_true(uid - first >= taken);
		plan_finish(&plan);
		maildrop_listing_finish(&listing);
	}
}

/* Two that look at the same content give the same numbers, whatever else they hold. */
static void test_numbers_by_content(void **state)
{
	(void)state;
	uint32_t uids[2][5];
	for (int round = 0; round < 2; round++) {
		struct plan plan;
		struct maildrop_listing listing = {0};
		unsigned char digest[STORE_DIGEST_BYTES];
		plan_init(&plan);
		if (round)
			record_add(&plan, 12345, "", 9, 77, 0);
		for (int i = 0; i < 5; i++)
			list_add(&listing, "", 0, 9);
		assert_int_equal(plan_make(&plan, &listing), 0);
		digest_of(5, digest);
		for (size_t i = 0; i < 5; i++) {
			assert_int_equal(plan_content(&plan, i, digest), 0);
			uids[round][i] = plan.entries[i].uid;
			for (size_t j = 0; j < i; j++)
				assert_true(uids[round][i] != uids[round][j]);
		}
		plan_finish(&plan);
		maildrop_listing_finish(&listing);
	}
	assert_memory_equal(uids[0], uids[1], sizeof(uids[0]));
}

/* --- Servers at random --- */

static uint64_t seed;

static unsigned below(unsigned limit)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (unsigned)((seed >> 33) % limit);
}

enum { MESSAGES = 40, RECORDS = 4000, CONTENTS = 6000 };

/* What kind of server. */
enum flavour { SOUND, NAMELESS, CHAOS };

struct letter {
	unsigned name; /* 0: no unique-id */
	unsigned content;
	bool listed; /* once */
};

struct world {
	enum flavour flavour;
	struct letter letters[MESSAGES];
	size_t letter_count;
	unsigned next_name, next_content;
	struct {
		struct store_spool record;
		char uidl[16];
		unsigned content;
	} spool[RECORDS];
	size_t spool_count;
	unsigned seen
		[CONTENTS]; /* the most that were listed at once (NAMELESS), or in all (SOUND) */
};

/* Where unique-ids are used again, sizes differ: else nobody could tell. */
static uint64_t size_of(const struct world *world, unsigned content)
{
	return 100 + (world->flavour == CHAOS ? content : content % 7);
}

static void put_letter(struct world *world)
{
	struct letter letter = {0};
	if (world->letter_count == MESSAGES)
		return;
	bool same = world->next_content > 0 && below(4) == 0;
	letter.content = same ? below(world->next_content) : world->next_content++;
	if (world->flavour != NAMELESS)
		letter.name = ++world->next_name;
	if (world->flavour == CHAOS && below(4) == 0 && world->letter_count)
		letter.name = world->letters[below((unsigned)world->letter_count)].name;
	if (world->flavour == CHAOS && below(6) == 0)
		letter.name = 0;
	world->letters[world->letter_count++] = letter;
}

static void take_letter(struct world *world)
{
	if (world->letter_count == 0)
		return;
	size_t i = below((unsigned)world->letter_count);
	world->letters[i] = world->letters[--world->letter_count];
}

static struct store_spool *record_by(struct world *world, unsigned name)
{
	struct store_spool *found = NULL;
	char uidl[16];
	snprintf(uidl, sizeof(uidl), "%u", name);
	for (size_t i = 0; i < world->spool_count; i++)
		if (strcmp(world->spool[i].uidl, uidl) == 0)
			found = &world->spool[i].record;
	return found;
}

/* The unique-id of one that is gone, or confirmed to be deleted, stands for another. */
static void reuse_name(struct world *world)
{
	if (world->flavour != CHAOS || world->letter_count == 0 || world->next_content == CONTENTS)
		return;
	struct letter *letter = &world->letters[below((unsigned)world->letter_count)];
	struct store_spool *record = letter->name ? record_by(world, letter->name) : NULL;
	if (!record)
		return;
	if (below(2))
		record->deleted_s = 1;
	letter->content = world->next_content++;
}

static void lose_file(struct world *world)
{
	if (world->spool_count)
		world->spool[below((unsigned)world->spool_count)].record.lost = true;
}

static void live(struct world *world)
{
	for (unsigned steps = below(12); steps > 0; steps--)
		switch (below(8)) {
		case 0:
			take_letter(world);
			break;
		case 1:
			lose_file(world);
			break;
		case 2:
			reuse_name(world);
			break;
		default:
			put_letter(world);
		}
	/* Other numbers than before. */
	for (size_t i = world->letter_count; i > 1; i--) {
		size_t j = below((unsigned)i);
		struct letter letter = world->letters[j];
		world->letters[j] = world->letters[i - 1];
		world->letters[i - 1] = letter;
	}
	unsigned listed[CONTENTS] = {0};
	for (size_t i = 0; i < world->letter_count; i++) {
		unsigned *seen = &world->seen[world->letters[i].content];
		unsigned now = ++listed[world->letters[i].content];
		if (world->flavour == NAMELESS && now > *seen)
			*seen = now;
		if (world->flavour == SOUND && !world->letters[i].listed)
			++*seen;
		world->letters[i].listed = true;
	}
}

static void list_world(struct world *world, struct maildrop_listing *listing)
{
	for (size_t i = 0; i < world->letter_count; i++) {
		char uidl[16] = "";
		if (world->letters[i].name)
			snprintf(uidl, sizeof(uidl), "%u", world->letters[i].name);
		list_add(listing, uidl, strlen(uidl), size_of(world, world->letters[i].content));
	}
}

static void store_letter(struct world *world, const struct maildrop_listing *listing,
	const struct plan *plan, size_t i)
{
	const struct plan_entry *entry = &plan->entries[i];
	size_t at = 0;
	while (at < world->spool_count && world->spool[at].record.uid != entry->uid)
		at++;
	/* A number is never given twice, unless what it stood for was lost and is the same. */
	if (at < world->spool_count) {
		assert_true(world->spool[at].record.lost);
		assert_int_equal(world->spool[at].content, world->letters[i].content);
	} else {
		assert_true(world->spool_count++ < RECORDS);
	}
	snprintf(world->spool[at].uidl, sizeof(world->spool[at].uidl), "%.*s",
		(int)listing->entries[i].uidl_len,
		str_cstr(&listing->uidls) + listing->entries[i].uidl);
	world->spool[at].content = world->letters[i].content;
	struct store_spool *record = &world->spool[at].record;
	*record = (struct store_spool){.uid = entry->uid,
		.uidl = world->spool[at].uidl,
		.uidl_len = strlen(world->spool[at].uidl),
		.listed_bytes = listing->entries[i].size_bytes,
		.has_top = entry->has_top};
	digest_of(world->letters[i].content, record->sha256);
	digest_of(world->letters[i].content + 1000000, record->top);
}

/* What look.c notes of a message that turned out to be here. */
static void note_letter(struct world *world, const struct maildrop_listing *listing,
	const struct plan *plan, size_t i)
{
	const struct plan_entry *entry = &plan->entries[i];
	struct store_spool *record = &world->spool[entry->record].record;
	assert_int_equal(record->uid, entry->uid);
	record->deleted_s = 0;
	if (entry->state != PLAN_HERE_BY_CONTENT)
		return;
	record->listed_bytes = listing->entries[i].size_bytes;
	record->has_top = record->has_top || entry->has_top;
	digest_of(world->letters[i].content + 1000000, record->top);
}

/* That each entry has a record of its own, with its content in it. */
static void check_claims(const struct world *world, const struct plan *plan)
{
	for (size_t i = 0; i < world->letter_count; i++) {
		size_t at = 0;
		while (at < world->spool_count &&
			world->spool[at].record.uid != plan->entries[i].uid)
			at++;
		assert_true(at < world->spool_count);
		assert_false(world->spool[at].record.lost);
		assert_int_equal(world->spool[at].content, world->letters[i].content);
		for (size_t j = 0; j < i; j++)
			assert_true(plan->entries[i].uid != plan->entries[j].uid);
	}
}

/* One look; the connection is cut after so many messages. What was stored. */
static size_t look_at(struct world *world, bool top, size_t cut_after)
{
	struct plan plan;
	struct maildrop_listing listing = {0};
	unsigned char digest[STORE_DIGEST_BYTES];
	size_t stored = 0;
	bool cut = false;
	plan_init(&plan);
	for (size_t i = 0; i < world->spool_count; i++) {
		world->spool[i].record.uidl = world->spool[i].uidl;
		assert_int_equal(plan_add_record(&plan, &world->spool[i].record), 0);
	}
	list_world(world, &listing);
	assert_int_equal(plan_make(&plan, &listing), 0);
	for (size_t i = 0; top && i < listing.count; i++) {
		digest_of(world->letters[i].content + 1000000, digest);
		if (plan.entries[i].state == PLAN_PROBE)
			assert_true(plan_top(&plan, i, digest, INT64_MIN) >= 0);
	}
	for (size_t i = 0; i < listing.count && !cut; i++) {
		if (plan_entry_here(&plan.entries[i]))
			continue;
		cut = cut_after-- == 0;
		if (cut)
			break;
		digest_of(world->letters[i].content, digest);
		int here = plan_content(&plan, i, digest);
		assert_true(here >= 0);
		if (!here)
			store_letter(world, &listing, &plan, i);
		stored += !here;
	}
	for (size_t i = 0; i < listing.count; i++)
		if (plan_entry_here(&plan.entries[i]))
			note_letter(world, &listing, &plan, i);
	if (!cut)
		check_claims(world, &plan);
	plan_finish(&plan);
	maildrop_listing_finish(&listing);
	return stored;
}

/* Of each content as many as there must be, those included whose file is lost and that are not listed any more. */
static void check_counts(const struct world *world)
{
	unsigned here[CONTENTS] = {0};
	for (size_t i = 0; i < world->spool_count; i++)
		here[world->spool[i].content]++;
	if (world->flavour != CHAOS)
		assert_memory_equal(here, world->seen, sizeof(here));
}

static void run_world(enum flavour flavour, uint64_t with_seed)
{
	struct world *world = calloc(1, sizeof(*world));
	world->flavour = flavour;
	seed = with_seed;
	for (int round = 0; round < 60; round++) {
		live(world);
		bool top = below(3) == 0;
		while (below(2))
			look_at(world, top, below(6));
		look_at(world, top, SIZE_MAX);
		assert_int_equal(look_at(world, below(2), SIZE_MAX), 0);
		check_counts(world);
	}
	free(world);
}

static void test_random(void **state)
{
	(void)state;
	for (uint64_t i = 1; i <= 40; i++) {
		run_world(SOUND, i);
		run_world(NAMELESS, i);
		run_world(CHAOS, i);
	}
}

/* --- Time --- */

static double cpu_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

enum { MANY = 100000 };

/* kind 0: all different; 1: one unique-id for all; 2: none at all, and one content. */
static double time_many(int kind, bool here)
{
	struct plan plan;
	struct maildrop_listing listing = {0};
	unsigned char digest[STORE_DIGEST_BYTES];
	double begin = cpu_s();
	plan_init(&plan);
	for (unsigned i = 0; i < MANY; i++) {
		char uidl[80];
		snprintf(uidl, sizeof(uidl), "%064u%u", 0u, kind == 0 ? i : 0);
		if (here)
			record_add(&plan, i + 1, kind == 2 ? "" : uidl, 9, kind == 2 ? 1 : i, 0);
		list_add(&listing, uidl, kind == 2 ? 0 : strlen(uidl), 9);
	}
	assert_int_equal(plan_make(&plan, &listing), 0);
	for (unsigned i = 0; i < MANY; i++) {
		digest_of(kind == 2 ? 1 : i, digest);
		if (plan.entries[i].state == PLAN_PROBE)
			assert_int_equal(plan_content(&plan, i, digest), here);
	}
	plan_finish(&plan);
	maildrop_listing_finish(&listing);
	return cpu_s() - begin;
}

static void test_many(void **state)
{
	(void)state;
	for (int kind = 0; kind < 3; kind++)
		for (int here = 0; here < 2; here++) {
			double seconds = time_many(kind, here);
			printf("# %d messages, kind %d, %s: %.3f s\n", MANY, kind,
				here ? "here" : "new", seconds);
			/* What is quadratic takes minutes. */
			assert_true(seconds < 10);
		}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rules),
		cmocka_unit_test(test_top),
		cmocka_unit_test(test_top_counts),
		cmocka_unit_test(test_numbers),
		cmocka_unit_test(test_numbers_by_content),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_many),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
