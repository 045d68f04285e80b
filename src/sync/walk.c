/* SPDX-License-Identifier: MIT */
/* Pure functions of what was read and asked for so far. */
#include "walk.h"

#include <stddef.h>
#include <string.h>

#include "mailfs/util/number.h"

/* In messages: how far from a front a read may lie, how far a single step may go before anything is known, and how many reads in no order begin a walk. */
#define NEAR         64
#define STEP         16
#define STEPS        2
#define SCATTERED    8
#define ASTRAY       3
#define BEGUN        4 /* reads */
#define BEYOND       4
#define VOTE         8
#define LEFT         2
#define SWEEP_AFTER  24
#define SWEEP_FACTOR 16
#define IDLE_MS      30000
#define FORGET_MS    60000
/* What one connection has under way, two sets, takes no longer than this. */
#define UNDER_WAY_MS 250

/* --- Which front --- */

/* What a front has read or asked for lies between these. */
static void reach_of(const struct walk_front *front, uint32_t *ret_low, uint32_t *ret_high)
{
	*ret_low = front->low;
	*ret_high = front->high;
	if (front->direction == WALK_NONE)
		return;
	if (front->next_down < *ret_low)
		*ret_low = front->next_down + 1;
	if (front->next_up == 0)
		*ret_high = front->direction == WALK_UP ? UINT32_MAX : *ret_high;
	else if (front->next_up > *ret_high)
		*ret_high = front->next_up - 1;
}

static uint32_t distance(const struct walk_front *front, uint32_t uid)
{
	uint32_t low, high;
	reach_of(front, &low, &high);
	return uid < low ? low - uid : uid > high ? uid - high : 0;
}

static struct walk_front *nearest(
	struct walk *walk, const struct walk_read *read, uint64_t tolerance)
{
	struct walk_front *best = NULL;
	uint64_t best_distance = tolerance;
	for (size_t i = 0; i < WALK_FRONTS; i++) {
		struct walk_front *front = &walk->fronts[i];
		if (front->id == 0 || front->folder != read->folder || front->sweep)
			continue;
		uint64_t far = distance(front, read->uid);
		/* Of two that have it behind them, the one that was there last. */
		bool closer = far < best_distance ||
		              (best && far == best_distance && front->used_ms > best->used_ms);
		if (!closer && (best || far > best_distance))
			continue;
		best = front;
		best_distance = far;
	}
	return best;
}

/* A free place, else that of the front that matters least: one that leads nowhere, the longest unused. */
static struct walk_front *place(struct walk *walk)
{
	struct walk_front *worst = &walk->fronts[0];
	for (size_t i = 0; i < WALK_FRONTS; i++) {
		struct walk_front *front = &walk->fronts[i];
		if (front->id == 0)
			return front;
		bool idle = front->direction == WALK_NONE,
		     worst_idle = worst->direction == WALK_NONE;
		if (idle != worst_idle ? idle : front->used_ms < worst->used_ms)
			worst = front;
	}
	return worst;
}

static void begin(struct walk *walk, struct walk_front *front, const struct walk_read *read)
{
	*front = (struct walk_front){.id = ++walk->ids,
		.folder = read->folder,
		.low = read->uid,
		.high = read->uid,
		.last = read->uid,
		.window = WALK_WINDOW_MIN};
}

/* --- What its reads say --- */

static void vote(unsigned *for_it, unsigned *against)
{
	*for_it = *for_it + VOTE > 8 * VOTE ? 8 * VOTE : *for_it + VOTE;
	*against -= (*against + 3) / 4;
}

static void note_ends(struct walk_front *front, uint32_t uid)
{
	if (uid > front->high) {
		front->high = uid;
		vote(&front->votes_up, &front->votes_down);
	} else if (uid < front->low) {
		front->low = uid;
		vote(&front->votes_down, &front->votes_up);
	}
}

static void note_step(struct walk_front *front, const struct walk_read *read)
{
	uint64_t limit = (uint64_t)STEP * read->gap;
	bool up = read->uid > front->last && read->uid - front->last <= limit;
	bool down = read->uid < front->last && front->last - read->uid <= limit;
	front->steps_up = up ? front->steps_up + 1 : 0;
	front->steps_down = down ? front->steps_down + 1 : 0;
}

/* From where there is something to fetch on either side. What was left out between the reads is fetched too. */
static void set_out(struct walk_front *front, enum walk_direction direction)
{
	bool first = front->direction == WALK_NONE;
	front->direction = direction;
	if (!first)
		return;
	bool up = direction == WALK_UP;
	front->next_up = up ? front->low : front->high == UINT32_MAX ? 0 : front->high + 1;
	front->next_down = up ? front->low - 1 : front->high;
}

static void choose_direction(struct walk_front *front)
{
	if (front->direction == WALK_NONE) {
		if (front->steps_up >= STEPS)
			set_out(front, WALK_UP);
		else if (front->steps_down >= STEPS)
			set_out(front, WALK_DOWN);
		else if (front->reads >= SCATTERED)
			set_out(front, front->votes_down > front->votes_up ? WALK_DOWN : WALK_UP);
		return;
	}
	if (front->direction == WALK_UP && front->votes_down > front->votes_up + 2 * VOTE)
		set_out(front, WALK_DOWN);
	else if (front->direction == WALK_DOWN && front->votes_up > front->votes_down + 2 * VOTE)
		set_out(front, WALK_UP);
}

/* The first count sets are done with. */
static void retire(struct walk_front *front, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct walk_set *set = &front->sets[i];
		bool used = set->read >= set->bytes / 4;
		front->ahead -= u64_min(set->bytes, front->ahead);
		front->window = used ? u64_min(2 * front->window, WALK_WINDOW_MAX)
		                     : u64_max(front->window / 2, WALK_WINDOW_MIN);
	}
	front->set_count -= count;
	memmove(front->sets, front->sets + count, front->set_count * sizeof(front->sets[0]));
}

/* One that is well begun has left those before it behind; one that is read by three quarters is done with. */
static void note_set(struct walk_front *front, const struct walk_read *read)
{
	for (unsigned i = front->set_count; i > 0; i--) {
		struct walk_set *set = &front->sets[i - 1];
		if (read->uid < set->first || read->uid > set->last)
			continue;
		set->reads++;
		set->read += read->size_bytes == UINT64_MAX ? set->bytes / 4 : read->size_bytes;
		if (set->read >= set->bytes - set->bytes / 4)
			retire(front, i);
		else if (set->read >= set->bytes / 4 || set->reads >= BEGUN)
			retire(front, i - 1);
		return;
	}
}

static bool is_full(const struct walk_front *front)
{
	return front->set_count == WALK_SETS || front->ahead + WALK_SET_MIN > front->window;
}

/* Readers have gone past all that was fetched, and more of it would be of no use to them: on from where they are. */
static void note_beyond(struct walk_front *front, const struct walk_read *read)
{
	bool up = front->direction == WALK_UP, down = front->direction == WALK_DOWN;
	bool beyond = !read->here && is_full(front) &&
	              ((up && front->next_up && read->uid > front->next_up) ||
			      (down && read->uid < front->next_down));
	front->beyond = beyond ? front->beyond + 1 : 0;
	if (front->beyond < BEYOND)
		return;
	front->beyond = 0;
	retire(front, front->set_count);
	if (up)
		front->next_up = read->uid;
	else
		front->next_down = read->uid;
}

static bool is_behind(const struct walk_front *front, uint32_t uid)
{
	if (front->direction == WALK_UP)
		return front->next_up == 0 || uid < front->next_up;
	return front->direction == WALK_DOWN && (front->next_down == 0 || uid > front->next_down);
}

/* Whether it goes anew where it has been: what was fetched then is here no more. */
static bool is_astray(struct walk_front *front, const struct walk_read *read)
{
	bool missing = !read->here && is_behind(front, read->uid);
	for (unsigned i = 0; missing && i < front->set_count; i++)
		missing = read->uid < front->sets[i].first || read->uid > front->sets[i].last;
	front->astray = missing ? front->astray + 1 : 0;
	return front->astray >= ASTRAY;
}

static void note_large(struct walk_front *front, const struct walk_read *read)
{
	if (read->size_bytes <= WALK_HEAD || read->size_bytes == UINT64_MAX)
		return;
	if (front->unfinished_count == WALK_UNFINISHED) {
		front->left++;
		front->unfinished_count--;
		memmove(front->unfinished, front->unfinished + 1,
			front->unfinished_count * sizeof(front->unfinished[0]));
	}
	front->unfinished[front->unfinished_count++] = read->uid;
}

/* --- Reads in no order --- */

static struct walk_front *sweep_of(struct walk *walk, uint32_t folder)
{
	for (size_t i = 0; i < WALK_FRONTS; i++)
		if (walk->fronts[i].id && walk->fronts[i].sweep && walk->fronts[i].folder == folder)
			return &walk->fronts[i];
	return NULL;
}

/* All of the folder that is missing, from its beginning on; not in the place of the front that was read just now. */
static void begin_sweep(
	struct walk *walk, struct walk_front *current, uint32_t folder, int64_t now_ms)
{
	int64_t used_ms = current->used_ms;
	current->used_ms = INT64_MAX;
	struct walk_front *sweep = place(walk);
	current->used_ms = used_ms;
	if (sweep == current)
		return;
	*sweep = (struct walk_front){.id = ++walk->ids,
		.folder = folder,
		.sweep = true,
		.direction = WALK_UP,
		.next_up = 1,
		.window = WALK_WINDOW_MIN,
		.used_ms = now_ms};
}

/*
 * A read that no front has led to. Where many of them miss, the folder is swept: the more of them find what the sweep has brought, the
 * faster, because then they will want the rest of it, too.
 */
static void note_scatter(
	struct walk *walk, struct walk_front *front, const struct walk_read *read, int64_t now_ms)
{
	if (front->direction != WALK_NONE && read->here)
		return;
	struct walk_front *sweep = sweep_of(walk, read->folder);
	uint64_t size = read->size_bytes == UINT64_MAX ? 0 : read->size_bytes;
	if (sweep) {
		uint64_t earned = read->here ? SWEEP_FACTOR * size : size;
		sweep->used_ms = now_ms;
		sweep->ahead -= u64_min(earned, sweep->ahead);
		sweep->window = u64_min(sweep->window + (read->here ? earned : 0), WALK_WINDOW_MAX);
		return;
	}
	if (walk->scattered_folder != read->folder || now_ms - walk->scattered_ms > IDLE_MS)
		walk->scattered = 0;
	walk->scattered_folder = read->folder;
	walk->scattered_ms = now_ms;
	if (!read->here)
		walk->scattered++;
	else if (walk->scattered > 0)
		walk->scattered--;
	if (walk->scattered >= SWEEP_AFTER)
		begin_sweep(walk, front, read->folder, now_ms);
}

static void forget_idle(struct walk *walk, int64_t now_ms)
{
	for (size_t i = 0; i < WALK_FRONTS; i++) {
		struct walk_front *front = &walk->fronts[i];
		if (front->id && now_ms - front->used_ms > FORGET_MS)
			front->id = 0;
	}
}

struct walk_front *walk_note(struct walk *walk, const struct walk_read *read, int64_t now_ms)
{
	forget_idle(walk, now_ms);
	struct walk_front *front = nearest(walk, read, (uint64_t)NEAR * read->gap);
	if (front && is_astray(front, read))
		front->id = 0;
	if (!front || front->id == 0) {
		front = front ? front : place(walk);
		begin(walk, front, read);
	}
	bool again = front->reads > 0 && front->last == read->uid;
	front->used_ms = now_ms;
	if (again)
		return front;
	bool grows = front->reads == 0 || read->uid < front->low || read->uid > front->high;
	front->reads += grows || !read->here;
	note_step(front, read);
	note_ends(front, read->uid);
	note_set(front, read);
	note_beyond(front, read);
	note_large(front, read);
	front->last = read->uid;
	choose_direction(front);
	note_scatter(walk, front, read, now_ms);
	return front;
}

void walk_finished(struct walk *walk, uint32_t folder, uint32_t uid)
{
	for (size_t i = 0; i < WALK_FRONTS; i++) {
		struct walk_front *front = &walk->fronts[i];
		for (unsigned k = 0; k < front->unfinished_count; k++) {
			if (front->folder != folder || front->unfinished[k] != uid)
				continue;
			front->left = 0;
			front->unfinished[k] = front->unfinished[--front->unfinished_count];
			return;
		}
	}
}

/* --- What is asked for --- */

bool walk_is_due(const struct walk *walk, const struct walk_front *front, int64_t now_ms)
{
	if (front->id == 0 || front->direction == WALK_NONE || walk_next(front) == 0)
		return false;
	if (walk_is_stopped(walk, now_ms) || now_ms - front->used_ms > IDLE_MS)
		return false;
	return !is_full(front);
}

struct walk_front *walk_due(struct walk *walk, uint32_t folder, int64_t now_ms)
{
	struct walk_front *best = NULL;
	for (size_t i = 0; i < WALK_FRONTS; i++) {
		struct walk_front *front = &walk->fronts[i];
		if (front->folder == folder && walk_is_due(walk, front, now_ms) &&
			(!best || front->ahead < best->ahead))
			best = front;
	}
	return best;
}

struct walk_front *walk_front(struct walk *walk, uint64_t id)
{
	for (size_t i = 0; id && i < WALK_FRONTS; i++)
		if (walk->fronts[i].id == id)
			return &walk->fronts[i];
	return NULL;
}

uint64_t walk_budget(const struct walk *walk, const struct walk_front *front)
{
	uint64_t budget = u64_min(u64_max(front->window / 4, WALK_SET_MIN), WALK_SET_MAX);
	uint64_t left = front->window - u64_min(front->ahead, front->window);
	uint64_t timely = walk->rate * UNDER_WAY_MS / 1000 / 2;
	if (walk->rate > 0)
		budget = u64_min(budget, u64_max(timely, WALK_SET_MIN / 2));
	return u64_max(u64_min(budget, left), WALK_SET_MIN / 2);
}

uint32_t walk_next(const struct walk_front *front)
{
	return front->direction == WALK_DOWN ? front->next_down : front->next_up;
}

uint64_t walk_limit(const struct walk_front *front)
{
	return front->left >= LEFT ? WALK_HEAD : UINT64_MAX;
}

void walk_asked(
	struct walk_front *front, uint32_t first, uint32_t last, uint64_t bytes, uint32_t next)
{
	if (front->direction == WALK_DOWN)
		front->next_down = next;
	else
		front->next_up = next;
	if (front->sweep)
		front->ahead += bytes;
	if (bytes == 0 || front->sweep || front->set_count == WALK_SETS)
		return;
	front->sets[front->set_count++] =
		(struct walk_set){.first = first, .last = last, .bytes = bytes};
	front->ahead += bytes;
}

void walk_stop(struct walk *walk, int64_t until_ms)
{
	walk->stopped_until_ms = until_ms;
}

bool walk_is_stopped(const struct walk *walk, int64_t now_ms)
{
	return now_ms < walk->stopped_until_ms;
}

void walk_measured(struct walk *walk, uint64_t bytes, int64_t took_ms)
{
	uint64_t rate = bytes * 1000 / (uint64_t)(took_ms > 0 ? took_ms : 1);
	walk->rate = walk->rate ? (3 * walk->rate + rate) / 4 : rate;
}
