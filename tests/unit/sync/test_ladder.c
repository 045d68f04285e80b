/* SPDX-License-Identifier: MIT */
/* The ladder: which rung, what of an answer is believed, what follows from it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ladder.h"

enum { NONE = 0, CONDSTORE = SOURCE_CAN_CONDSTORE, QRESYNC = CONDSTORE | SOURCE_CAN_QRESYNC };

/* Stored: 10 messages, UIDNEXT 11, modseq 100. */
static const struct ladder_known whole = {
	.messages = 10, .uidnext = 11, .modseq = 100, .complete = true};

static void test_which_rung(void **state)
{
	static const struct {
		const char *what;
		unsigned abilities;
		uint32_t messages, uidnext;
		uint64_t modseq;
		bool resynced;
		enum ladder_rung first, second;
	} cases[] = {
		{"nothing changed", CONDSTORE, 10, 11, 100, false, LADDER_UNCHANGED,
			LADDER_CONDSTORE},
		{"HIGHESTMODSEQ is told though nothing was announced", NONE, 10, 11, 100, false,
			LADDER_UNCHANGED, LADDER_SCAN},
		{"told with SELECT", QRESYNC, 11, 12, 105, true, LADDER_QRESYNC, LADDER_CONDSTORE},
		{"told with SELECT that nothing changed", QRESYNC, 10, 11, 100, true,
			LADDER_QRESYNC, LADDER_CONDSTORE},
		{"SELECT did not take it", QRESYNC, 11, 12, 105, false, LADDER_CONDSTORE,
			LADDER_SCAN},
		{"one is gone", CONDSTORE, 9, 11, 100, false, LADDER_CONDSTORE, LADDER_SCAN},
		{"one is new", CONDSTORE, 11, 12, 101, false, LADDER_CONDSTORE, LADDER_SCAN},
		{"flags", CONDSTORE, 10, 11, 101, false, LADDER_CONDSTORE, LADDER_SCAN},
		{"modseq went back", QRESYNC, 10, 11, 99, true, LADDER_SCAN, LADDER_SCAN},
		{"modseq went back to nothing", QRESYNC, 10, 11, 0, false, LADDER_SCAN,
			LADDER_SCAN},
		{"modseq stands still", QRESYNC, 11, 12, 100, true, LADDER_SCAN, LADDER_SCAN},
		{"UIDNEXT went back", CONDSTORE, 10, 10, 101, false, LADDER_SCAN, LADDER_SCAN},
		{"no UIDNEXT", CONDSTORE, 10, 0, 101, false, LADDER_CONDSTORE, LADDER_SCAN},
		{"no UIDNEXT, the same modseq", CONDSTORE, 10, 0, 100, false, LADDER_CONDSTORE,
			LADDER_SCAN},
		{"no CONDSTORE", NONE, 10, 11, 0, false, LADDER_SCAN, LADDER_SCAN},
		{"CONDSTORE, but not for this mailbox", CONDSTORE, 10, 11, 0, false, LADDER_SCAN,
			LADDER_SCAN},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct source_state select = {.uidvalidity = 1,
			.messages = cases[i].messages,
			.uidnext = cases[i].uidnext,
			.modseq = cases[i].modseq,
			.resynced = cases[i].resynced};
		enum ladder_rung first = ladder_choose(&whole, cases[i].abilities, &select);
		enum ladder_rung second = ladder_below(first, &whole, cases[i].abilities, &select);
		if (first != cases[i].first || second != cases[i].second)
			fail_msg("%s: %s, then %s", cases[i].what, ladder_name(first),
				ladder_name(second));
		assert_int_equal(
			ladder_below(second, &whole, cases[i].abilities, &select), LADDER_SCAN);
	}
}

static void test_what_is_asked_with_select(void **state)
{
	struct ladder_known known = whole;
	(void)state;
	assert_true(ladder_resyncs(&known, QRESYNC));
	assert_false(ladder_resyncs(&known, CONDSTORE));
	known.modseq = 0;
	assert_false(ladder_resyncs(&known, QRESYNC));
	known = whole;
	known.complete = false;
	assert_false(ladder_resyncs(&known, QRESYNC));
	/* A listing that was cut off is compared, whatever the numbers say. */
	struct source_state select = {.messages = 10, .uidnext = 11, .modseq = 100};
	assert_int_equal(ladder_choose(&known, QRESYNC, &select), LADDER_SCAN);
}

static void test_what_is_a_loss(void **state)
{
	static const struct {
		uint64_t messages, gone;
		bool loss;
	} cases[] = {{0, 0, false}, {10, 0, false}, {1, 1, true}, {10, 10, true}, {10, 9, false},
		{150, 100, false}, {150, 101, true}, {200, 101, true}, {1000, 500, false},
		{1000, 501, true}, {10, 11, true}, {UINT32_MAX, UINT32_MAX, true}};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		assert_int_equal(ladder_is_loss(cases[i].messages, cases[i].gone), cases[i].loss);
}

/* "1a 2b": UIDs with one letter for flags, - for unknown ones. */
static struct diff_rows rows_of(const char *text)
{
	struct diff_rows rows = {0};
	unsigned uid;
	char flags;
	int used;
	while (text && sscanf(text, " %u%c%n", &uid, &flags, &used) == 2) {
		assert_int_equal(
			diff_rows_add(&rows, uid, flags == '-' ? FLAGS_UNKNOWN : (uint32_t)flags),
			0);
		text += used;
	}
	assert_int_equal(diff_rows_sort(&rows), 0);
	return rows;
}

/* "1 3:7" */
static struct uid_ranges ranges_of(const char *text)
{
	struct uid_ranges ranges = {0};
	unsigned first, last;
	int used;
	while (text && sscanf(text, " %u%n", &first, &used) == 1) {
		text += used;
		last = first;
		if (sscanf(text, ":%u%n", &last, &used) == 1)
			text += used;
		assert_int_equal(uid_ranges_add(&ranges, first, last), 0);
	}
	uid_ranges_sort(&ranges);
	return ranges;
}

static void print_uids(struct str *out, char sign, const uint32_t *uids, size_t count)
{
	for (size_t i = 0; i < count; i++)
		str_printf(out, " %c%u", sign, uids[i]);
}

static void print_diff(struct str *out, const struct diff *diff)
{
	print_uids(out, '-', diff->gone, diff->gone_count);
	print_uids(out, '+', diff->added, diff->added_count);
	for (size_t i = 0; i < diff->changed_count; i++)
		str_printf(out, " %u%c", diff->changed[i].uid, (char)diff->changed[i].flags);
}

struct example {
	const char *what;
	const char *stored; /* all of it, of which those are looked up that are told of */
	uint32_t messages, uidnext;
	const char *told;
	const char *ranges; /* vanished, or what exists; NULL: not asked for */
	const char *expect; /* "-gone +added 5b"; NULL: doubt */
};

/* Of what is stored, those that the server has told of, as the store is asked for it. */
static struct diff_rows stored_of(const struct diff_rows *all, const struct diff_rows *told,
	const struct uid_ranges *vanished)
{
	struct diff_rows rows = {0};
	for (size_t i = 0; i < all->count; i++) {
		bool about = uid_ranges_has(vanished, all->items[i].uid);
		for (size_t k = 0; k < told->count; k++)
			about |= told->items[k].uid == all->items[i].uid;
		if (about)
			assert_int_equal(
				diff_rows_add(&rows, all->items[i].uid, all->items[i].flags), 0);
	}
	return rows;
}

static void check(enum ladder_rung rung, const struct example *example)
{
	struct diff_rows all = rows_of(example->stored), told = rows_of(example->told);
	struct uid_ranges ranges = ranges_of(example->ranges), none = {0};
	bool partial = rung == LADDER_QRESYNC || (rung == LADDER_CONDSTORE && !example->ranges);
	struct diff_rows some = partial ? stored_of(&all, &told, &ranges) : (struct diff_rows){0};
	struct ladder_known known = {
		.messages = all.count, .uidnext = 11, .modseq = 100, .complete = true};
	struct source_state state = {.uidvalidity = 1,
		.messages = example->messages,
		.uidnext = example->uidnext,
		.modseq = 101};
	struct ladder_case c = {.rung = rung,
		.known = &known,
		.state = &state,
		.stored = partial ? &some : &all,
		.told = &told,
		.vanished = rung == LADDER_QRESYNC ? &ranges : &none,
		.exist = rung == LADDER_CONDSTORE && example->ranges ? &ranges : NULL};
	struct diff diff = {0};
	struct str out = STR_INIT;
	int err = ladder_changes(&c, &diff);
	print_diff(&out, &diff);
	const char *found = str_cstr(&out);
	found += *found == ' ';
	if (err != (example->expect ? 0 : LADDER_DOUBT))
		fail_msg("%s: %s: %d, %s", ladder_name(rung), example->what, err, found);
	if (example->expect && strcmp(found, example->expect) != 0)
		fail_msg("%s: %s: %s", ladder_name(rung), example->what, found);
	str_finish(&out);
	diff_finish(&diff);
	diff_rows_finish(&all);
	diff_rows_finish(&told);
	diff_rows_finish(&some);
	uid_ranges_finish(&ranges);
}

#define CHECK_ALL(rung, examples)                                                                  \
	for (size_t i_ = 0; i_ < sizeof(examples) / sizeof(*(examples)); i_++)                     \
	check(rung, &(examples)[i_])

static void test_told_with_select(void **state)
{
	static const struct example examples[] = {
		{"nothing", "1a 2a 3a", 3, 11, "", "", ""},
		{"an empty mailbox", "", 0, 11, "", "", ""},
		{"new", "1a 2a", 4, 13, "11b 12c", "", "+11 +12"},
		{"new, more than one UID apart", "1a 2a", 4, 5000, "11b 4999c", "", "+11 +4999"},
		{"flags", "1a 2a", 2, 11, "2b", "", "2b"},
		{"flags that were known", "1a 2a", 2, 11, "1a 2a", "", ""},
		{"gone", "1a 2a 3a 9a", 2, 11, "", "2:3", "-2 -3"},
		{"all of it", "1a 2a 9a", 0, 11, "", "1:10", "-1 -2 -9"},
		{"gone that never were", "1a 9a", 1, 11, "", "2:10 4000000000:4294967295", "-9"},
		{"all at once", "1a 2a 3a", 3, 13, "3b 11c 12d", "1:2", "-1 -2 +11 +12 3b"},
		{"came and went", "1a 2a", 2, 13, "", "11:12", ""},
		{"the same twice", "1a 2a", 3, 12, "11a 2b 11b 2c", "", "+11 2c"},
		{"twice, the second unreadable", "1a 2a", 2, 11, "2b 2-", "", "2b"},
		{"told and vanished: it is there", "1a 2a", 2, 11, "2b", "2", "2b"},
		{"told and vanished: it went", "1a 2a", 1, 11, "2b", "2", NULL},
		{"new, told, and gone by now", "1a 2a", 2, 12, "11a", "11", NULL},
		{"new, told, and not there", "1a 2a", 2, 12, "11a", "", NULL},
		{"gone that is there", "1a 2a 3a", 3, 11, "", "2", NULL},
		{"all gone, and there", "1a 2a 3a", 3, 11, "", "1:4294967295", NULL},
		{"gone, not told", "1a 2a 3a", 2, 11, "", "", NULL},
		{"new, not told", "1a 2a 3a", 4, 12, "", "", NULL},
		{"one gone, another told", "1a 2a 3a", 2, 11, "", "7", NULL},
		{"at UIDNEXT", "1a", 2, 11, "11a", "", NULL},
		{"past UIDNEXT", "1a", 2, 11, "4294967295a", "", NULL},
		{"no UIDNEXT", "1a", 2, 0, "4294967295a", "", "+4294967295"},
		{"flags of one that was not known", "1a 2a", 3, 11, "1b 7a", "", "+7 1b"},
		{"flags of one that is not there", "1a 2a", 2, 11, "1b 7a", "", NULL},
		{"unreadable flags", "1a 2a", 2, 11, "2-", "", NULL},
		{"new with unreadable flags", "1a 2a", 3, 12, "11-", "", "+11"},
	};
	(void)state;
	CHECK_ALL(LADDER_QRESYNC, examples);
}

static void test_changed_since(void **state)
{
	static const struct example examples[] = {
		{"nothing", "1a 2a 3a", 3, 11, "", NULL, ""},
		{"new", "1a 2a", 4, 13, "11b 12c", NULL, "+11 +12"},
		{"flags", "1a 2a", 2, 11, "2b", NULL, "2b"},
		{"the last in it", "1a 10a", 2, 11, "10b", NULL, "10b"},
		{"gone", "1a 2a", 1, 11, "", NULL, NULL},
		{"one new, one gone", "1a 2a", 2, 12, "11b", NULL, NULL},
		{"new, and one of them gone", "1a 2a", 3, 13, "12b", NULL, "+12"},
		{"no UIDNEXT", "1a 2a", 2, 0, "", NULL, NULL},
		{"unreadable flags", "1a 2a", 2, 11, "2-", NULL, NULL},
		{"flags of one that was not known", "1a 2a", 2, 11, "7b", NULL, NULL},
		/* With the UIDs that there are. */
		{"gone", "1a 2a 3a", 2, 11, "", "1 3", "-2"},
		{"all of it", "1a 2a 3a", 0, 11, "", "", "-1 -2 -3"},
		{"one new, one gone", "1a 2a", 2, 12, "11b", "1 11", "-2 +11"},
		{"many", "1a 2a 3a", 6, 18, "3b 11a 12a", "3 11:15",
			"-1 -2 +11 +12 +13 +14 +15 3b"},
		{"new that CHANGEDSINCE did not tell", "1a 2a", 3, 12, "", "1:2 11", "+11"},
		{"one that was not known", "1a 3a", 3, 11, "", "1:3", "+2"},
		{"flags of one that is gone", "1a 2a", 1, 11, "2b", "1", "-2"},
		{"flags of one that never was", "1a 2a", 2, 11, "7b", "1:2", ""},
		{"UIDs in disorder, and twice", "1a 2a 3a", 3, 11, "", "3 1:2 2:3", ""},
		{"no UIDNEXT", "1a 2a", 2, 0, "2b", "1:2", "2b"},
		{"fewer than there are", "1a 2a 3a", 3, 11, "", "1:2", NULL},
		{"none of those that there are", "1a 2a 3a", 3, 11, "", "", NULL},
		{"more than there are", "1a 2a", 2, 11, "", "1:3", NULL},
		{"all that there could be", "1a 2a", 2, 11, "", "1:4294967295", NULL},
		{"unreadable flags", "1a 2a", 2, 11, "2-", "1:2", NULL},
	};
	(void)state;
	CHECK_ALL(LADDER_CONDSTORE, examples);
}

static void test_scan(void **state)
{
	static const struct example examples[] = {
		{"nothing", "1a 2a", 2, 11, "1a 2a", NULL, ""},
		{"an empty mailbox", "", 0, 11, "", NULL, ""},
		{"flags alone", "1a 2a", 2, 11, "1a 2b", NULL, "2b"},
		{"all at once", "1a 2a 3a", 3, 13, "3b 11c 12d", NULL, "-1 -2 +11 +12 3b"},
		{"all gone", "1a 2a", 0, 11, "", NULL, "-1 -2"},
		{"mail that came after SELECT", "1a 2a", 2, 11, "1a 2a 11b", NULL, "+11"},
		{"unreadable flags", "1a 2a", 2, 11, "1- 2b", NULL, "2b"},
		{"one too many in EXISTS, as before", "1a 2a", 3, 11, "1a 2a", NULL, ""},
		{"one too many in EXISTS, and new", "1a 2a", 4, 12, "1a 2a 11a", NULL, "+11"},
		{"fewer than there are", "1a 2a", 2, 11, "1a", NULL, NULL},
		{"none of those that there are, as was stored", "", 2, 11, "", NULL, NULL},
		{"none of those that there are", "1a 2a", 2, 11, "", NULL, NULL},
		{"others than there were, and too few", "1a 2a", 3, 14, "12a 13a", NULL, NULL},
	};
	(void)state;
	CHECK_ALL(LADDER_SCAN, examples);
}

/* Holes are no deletions; a server that says the same twice is believed, unless it is that there is nothing. */
static void test_scan_in_doubt(void **state)
{
	struct diff_rows stored = rows_of("1a 2a 3a"), told = rows_of("1b");
	struct ladder_known known = {.messages = 3, .complete = true};
	struct source_state select = {.messages = 3};
	struct ladder_case c = {.rung = LADDER_SCAN,
		.known = &known,
		.state = &select,
		.stored = &stored,
		.told = &told,
		.holes = true};
	struct diff diff;
	(void)state;
	assert_int_equal(ladder_changes(&c, &diff), 0);
	assert_int_equal(diff.gone_count, 0);
	assert_int_equal(diff.changed_count, 1);
	diff_finish(&diff);
	c.holes = false;
	assert_int_equal(ladder_changes(&c, &diff), LADDER_DOUBT);
	c.again = true;
	assert_int_equal(ladder_changes(&c, &diff), 0);
	assert_int_equal(diff.gone_count, 2);
	diff_finish(&diff);
	told.count = 0;
	assert_int_equal(ladder_changes(&c, &diff), LADDER_DOUBT);
	/* What was cut off is listed again from where it ends: EXISTS is of more than was scanned. */
	known.complete = false;
	assert_int_equal(ladder_changes(&c, &diff), 0);
	assert_int_equal(diff.gone_count, 3);
	diff_finish(&diff);
	diff_rows_finish(&stored);
	diff_rows_finish(&told);
}

static void test_ranges(void **state)
{
	struct uid_ranges ranges = ranges_of("5:7 1 9:8 2:3 8 4294967295 4294967290:4294967293 0");
	(void)state;
	assert_int_equal(ranges.count, 4);
	assert_int_equal(uid_ranges_total(&ranges), 3 + 5 + 4 + 1);
	static const uint32_t in[] = {1, 3, 5, 9, 4294967290u, 4294967293u, 4294967295u};
	static const uint32_t out[] = {0, 4, 10, 4294967289u, 4294967294u};
	for (size_t i = 0; i < sizeof(in) / sizeof(*in); i++)
		assert_true(uid_ranges_has(&ranges, in[i]));
	for (size_t i = 0; i < sizeof(out) / sizeof(*out); i++)
		assert_false(uid_ranges_has(&ranges, out[i]));
	uid_ranges_finish(&ranges);
	ranges = ranges_of("0:4294967295 1");
	assert_int_equal(ranges.count, 1);
	assert_int_equal(uid_ranges_total(&ranges), UINT32_MAX);
	uid_ranges_finish(&ranges);
	assert_false(uid_ranges_has(&ranges, 1));
	/* What comes one by one takes one range. */
	for (uint32_t uid = 1; uid <= 1000; uid++)
		assert_int_equal(uid_ranges_add(&ranges, uid, uid), 0);
	assert_int_equal(ranges.count, 1);
	uid_ranges_finish(&ranges);
}

/*
 * Worlds at random: what an honest server tells is understood on every rung, and gives the world; what is told with one
 * lie in it is never taken for another world of the wrong size.
 */
enum { WORLD = 24, WORLDS = 4000 };

static uint64_t next_random(uint64_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 7;
	*seed ^= *seed << 17;
	return *seed;
}

struct world {
	char before[WORLD + 1], after[WORLD + 1]; /* flags by UID; 0: not there */
	uint32_t uidnext;
};

static void random_world(struct world *world, uint64_t *seed)
{
	*world = (struct world){.uidnext = WORLD + 1};
	uint32_t old = 1 + (uint32_t)(next_random(seed) % (WORLD - 1));
	for (uint32_t uid = 1; uid <= WORLD; uid++) {
		bool was = uid <= old && next_random(seed) % 3;
		bool fate = next_random(seed) % 4;
		world->before[uid] = was ? (char)('a' + next_random(seed) % 2) : 0;
		if (was ? fate : uid > old && fate)
			world->after[uid] = (char)('a' + next_random(seed) % 3);
	}
}

static size_t world_size(const char *world)
{
	size_t count = 0;
	for (uint32_t uid = 1; uid <= WORLD; uid++)
		count += world[uid] != 0;
	return count;
}

static struct diff_rows world_rows(const char *world)
{
	struct diff_rows rows = {0};
	for (uint32_t uid = 1; uid <= WORLD; uid++)
		if (world[uid])
			assert_int_equal(diff_rows_add(&rows, uid, (uint32_t)world[uid]), 0);
	return rows;
}

struct tale {
	struct diff_rows all, told, listed, some;
	struct uid_ranges vanished, exist;
};

static struct tale honest_tale(const struct world *world)
{
	struct tale tale = {.all = world_rows(world->before), .listed = world_rows(world->after)};
	for (uint32_t uid = 1; uid <= WORLD; uid++) {
		char was = world->before[uid], is = world->after[uid];
		if (is && is != was)
			assert_int_equal(diff_rows_add(&tale.told, uid, (uint32_t)is), 0);
		if (was && !is)
			assert_int_equal(uid_ranges_add(&tale.vanished, uid, uid), 0);
		if (is)
			assert_int_equal(uid_ranges_add(&tale.exist, uid, uid), 0);
	}
	return tale;
}

static void tale_finish(struct tale *tale)
{
	diff_rows_finish(&tale->all);
	diff_rows_finish(&tale->told);
	diff_rows_finish(&tale->listed);
	diff_rows_finish(&tale->some);
	uid_ranges_finish(&tale->vanished);
	uid_ranges_finish(&tale->exist);
}

/* What a tale makes of the world before. */
static int hear(
	const struct world *world, struct tale *tale, enum ladder_rung rung, bool exist, char *ret)
{
	struct ladder_known known = {.messages = world_size(world->before),
		.uidnext = 2,
		.modseq = 100,
		.complete = true};
	struct source_state select = {.messages = (uint32_t)world_size(world->after),
		.uidnext = world->uidnext,
		.modseq = 101};
	bool some = rung == LADDER_QRESYNC || (rung == LADDER_CONDSTORE && !exist);
	struct uid_ranges none = {0};
	const struct uid_ranges *vanished = rung == LADDER_QRESYNC ? &tale->vanished : &none;
	diff_rows_finish(&tale->some);
	tale->some = stored_of(&tale->all, &tale->told, vanished);
	struct ladder_case c = {.rung = rung,
		.known = &known,
		.state = &select,
		.stored = some ? &tale->some : &tale->all,
		.told = rung == LADDER_SCAN ? &tale->listed : &tale->told,
		.vanished = vanished,
		.exist = exist ? &tale->exist : NULL};
	struct diff diff = {0};
	int err = ladder_changes(&c, &diff);
	memcpy(ret, world->before, WORLD + 1);
	for (size_t i = 0; i < diff.gone_count; i++)
		ret[diff.gone[i]] = 0;
	for (size_t i = 0; i < diff.added_count; i++)
		ret[diff.added[i]] = world->after[diff.added[i]];
	for (size_t i = 0; i < diff.changed_count; i++)
		ret[diff.changed[i].uid] = (char)diff.changed[i].flags;
	diff_finish(&diff);
	return err;
}

static void test_honest_worlds(void **state)
{
	uint64_t seed = 0x9e3779b97f4a7c15u;
	(void)state;
	for (int i = 0; i < WORLDS; i++) {
		struct world world;
		char found[WORLD + 1];
		random_world(&world, &seed);
		struct tale tale = honest_tale(&world);
		assert_int_equal(hear(&world, &tale, LADDER_QRESYNC, false, found), 0);
		assert_memory_equal(found, world.after, WORLD + 1);
		assert_int_equal(hear(&world, &tale, LADDER_CONDSTORE, true, found), 0);
		assert_memory_equal(found, world.after, WORLD + 1);
		assert_int_equal(hear(&world, &tale, LADDER_SCAN, false, found), 0);
		assert_memory_equal(found, world.after, WORLD + 1);
		int err = hear(&world, &tale, LADDER_CONDSTORE, false, found);
		assert_int_equal(err, tale.vanished.count ? LADDER_DOUBT : 0);
		if (err == 0)
			assert_memory_equal(found, world.after, WORLD + 1);
		tale_finish(&tale);
	}
}

static void drop_row(struct diff_rows *rows, uint64_t *seed)
{
	if (rows->count == 0)
		return;
	size_t at = next_random(seed) % rows->count;
	memmove(&rows->items[at], &rows->items[at + 1],
		(--rows->count - at) * sizeof(*rows->items));
}

static void tell_a_lie(struct tale *tale, uint64_t *seed)
{
	uint32_t uid = 1 + (uint32_t)(next_random(seed) % WORLD);
	switch (next_random(seed) % 4) {
	case 0:
		assert_int_equal(uid_ranges_add(&tale->vanished, uid, uid), 0);
		assert_int_equal(uid_ranges_add(&tale->exist, uid, uid), 0);
		break;
	case 1:
		assert_int_equal(diff_rows_add(&tale->told, uid, 'b'), 0);
		break;
	case 2:
		drop_row(&tale->told, seed);
		drop_row(&tale->listed, seed);
		break;
	default:
		if (tale->exist.count)
			tale->exist.count--;
		if (tale->vanished.count)
			tale->vanished.count--;
	}
	uid_ranges_sort(&tale->vanished);
	uid_ranges_sort(&tale->exist);
	assert_int_equal(diff_rows_sort(&tale->told), 0);
}

static void test_one_lie_makes_no_hole(void **state)
{
	static const struct {
		enum ladder_rung rung;
		bool exist;
	} rungs[] = {{LADDER_QRESYNC, false}, {LADDER_CONDSTORE, true}, {LADDER_SCAN, false}};
	uint64_t seed = 0x2545f4914f6cdd1du;
	unsigned doubts = 0;
	(void)state;
	for (int i = 0; i < WORLDS; i++) {
		struct world world;
		char found[WORLD + 1];
		random_world(&world, &seed);
		struct tale tale = honest_tale(&world);
		tell_a_lie(&tale, &seed);
		for (size_t k = 0; k < 3; k++) {
			int err = hear(&world, &tale, rungs[k].rung, rungs[k].exist, found);
			doubts += err == LADDER_DOUBT;
			for (uint32_t uid = 1; err == 0 && uid <= WORLD; uid++)
				if (world.after[uid] && world.before[uid])
					assert_true(found[uid]);
		}
		tale_finish(&tale);
	}
	assert_true(doubts > WORLDS / 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_which_rung),
		cmocka_unit_test(test_what_is_a_loss),
		cmocka_unit_test(test_what_is_asked_with_select),
		cmocka_unit_test(test_told_with_select),
		cmocka_unit_test(test_changed_since),
		cmocka_unit_test(test_scan),
		cmocka_unit_test(test_scan_in_doubt),
		cmocka_unit_test(test_ranges),
		cmocka_unit_test(test_honest_worlds),
		cmocka_unit_test(test_one_lie_makes_no_hole),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
