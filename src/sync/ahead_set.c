/* SPDX-License-Identifier: MIT */
/*
 * What is asked for next. Invariants: sets are made by one thread at a time (ahead.making), so that two never claim the same; a body is claimed when
 * it lacks bytes and nobody is fetching it: a job that has not begun yet is taken over with those who wait for it. What is too large to come
 * whole comes in pieces: those of one body on one connection, one after the other, each with some bytes before it that are known (range.c says why).
 */
#include "ahead.h"

#include <errno.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/number.h"

#define ROWS       256
#define SIZE_GUESS UINT64_C(65536)
#define PIECE_MIN  UINT64_C(262144)
#define PIECE_MAX  UINT64_C(2097152)

/* --- Claims --- */

static bool is_whole(const struct sync_body *body, uint64_t held)
{
	return body->size_known && held >= body->bound;
}

/* The job has not begun: what waits for it can be served by the set. Lock held. */
static bool take_over(struct sync_body *body)
{
	if (!body->job.busy)
		return true;
	if (!job_is_queued(body->folder->account, &body->job))
		return false;
	list_remove(&body->job.node);
	body->job.busy = false;
	/* Its reference: who claims has one, too. */
	body->refs--;
	return true;
}

static bool claim_whole(struct ahead_run *run, struct sync_body *body)
{
	uint64_t held = store_body_held(body->store, 0);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&run->worker->account->lock);
	if (body->feeds > 0 || held > 0 || is_whole(body, held) || !take_over(body))
		return false;
	body->feeds = 1;
	body->feeder = run;
	body->fed_to = 0;
	body->fed_end = UINT64_MAX;
	return true;
}

/* The body of a message, open; NULL: it is not to be had now. */
static struct sync_body *open_body(struct ahead_run *run, uint32_t uid, uint64_t size_bytes)
{
	struct sync_body *body;
	if (sync_body_open(run->folder, uid, "", NULL, size_bytes, &body) < 0)
		return NULL;
	if (body->number == run->number && body->store)
		return body;
	sync_body_close(body);
	return NULL;
}

static void add(struct ahead_set *set, struct sync_body *body)
{
	set->uids[set->count] = body->uid;
	set->bodies[set->count++] = body;
}

/* --- Pieces --- */

struct piece {
	uint64_t pos, len;
	bool known; /* what stands before it is, or it begins at 0 */
};

/* Where the next piece would begin, but for what is held; UINT64_MAX: that is about to be known. Lock held. */
static uint64_t piece_from(struct sync_body *body)
{
	uint64_t pos = body->stream_next;
	if (body->job.busy && body->asked_end > pos)
		pos = body->asked_end;
	return pos;
}

static uint64_t piece_start(struct ahead_run *run, struct sync_body *body)
{
	pthread_mutex_lock(&run->worker->account->lock);
	uint64_t pos = piece_from(body);
	pthread_mutex_unlock(&run->worker->account->lock);
	return pos == UINT64_MAX ? pos : pos + store_body_held(body->store, pos);
}

/* How far ahead of its reader a large message may be. Lock held. */
static uint64_t stream_window(const struct sync_body *body)
{
	return body->hot ? AHEAD_STREAM
	                 : u64_clamp(body->run_to - body->run_from, WALK_WINDOW_MIN, AHEAD_STREAM);
}

/* Lock held. false: no piece is due. */
static bool measure_piece(const struct ahead_run *run, struct sync_body *body, struct piece *piece)
{
	const struct walk *walk = &run->worker->account->ahead.walk;
	uint64_t window = stream_window(body);
	uint64_t reach = body->run_to + window;
	if (body->stream_off || body->announced == UINT64_MAX || piece->pos >= body->announced ||
		piece->pos >= reach || ahead_feeds_whole(body) ||
		(body->feeds > 0 && body->feeder != run))
		return false;
	/* Behind one that is under way it will be. Else it might come in vain. */
	if (body->feeds == 0 && !piece->known && !atomic_load(&body->proven))
		return false;
	uint64_t most = walk->rate ? u64_clamp(walk->rate / 8, PIECE_MIN, PIECE_MAX) : PIECE_MAX;
	piece->len = u64_clamp(window / 4, PIECE_MIN, most);
	if (body->announced - piece->pos <= piece->len)
		piece->len = body->announced - piece->pos + PACE_SLACK;
	return true;
}

/* true: the set is a piece of the body, with a reference of its own. */
static bool claim_piece(struct ahead_run *run, struct ahead_set *set, struct sync_body *body)
{
	struct piece piece = {.pos = piece_start(run, body)};
	char before[RANGE_WITNESS_BYTES];
	piece.known = piece.pos == 0 || body_witness(body, piece.pos, before) > 0;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&run->worker->account->lock);
	/* All that follows is here: no note of a read is to start a job for it again. */
	if (body->feeds == 0 && piece.pos != UINT64_MAX && piece.pos >= body->announced)
		body->stream_next = piece.pos;
	/* Another may have asked for more since. */
	if (piece_from(body) > piece.pos || !measure_piece(run, body, &piece))
		return false;
	(void)take_over(body);
	if (body->feeds++ == 0) {
		body->feeder = run;
		body->fed_to = piece.pos;
	}
	body->fed_end = body->stream_next = piece.pos + piece.len;
	body->refs++;
	set->offset = piece.pos;
	set->length = piece.len;
	set->witness = piece.pos < RANGE_WITNESS_BYTES ? piece.pos : RANGE_WITNESS_BYTES;
	add(set, body);
	body_serve_rest(body);
	return true;
}

/* The first of the streams that is of this folder, with its reference; it is in the list no more. */
static struct sync_body *next_stream(struct ahead_run *run)
{
	struct ahead *ahead = &run->worker->account->ahead;
	struct list_node *pos, *tmp;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&run->worker->account->lock);
	if (walk_is_stopped(&ahead->walk, clock_now_ms()))
		return NULL;
	list_for_each(pos, tmp, &ahead->streams)
	{
		struct sync_body *body = container_of(pos, struct sync_body, stream);
		if (body->number != run->number || (body->feeds > 0 && body->feeder != run))
			continue;
		list_remove(pos);
		return body;
	}
	return NULL;
}

/* It stays in the list as long as pieces of it are due. */
static bool make_stream(struct ahead_run *run, struct ahead_set *set)
{
	struct sync_account *account = run->worker->account;
	struct sync_body *body;
	while ((body = next_stream(run))) {
		bool made = claim_piece(run, set, body);
		bool back = false;
		pthread_mutex_lock(&account->lock);
		if (made && list_empty(&body->stream)) {
			list_push(&account->ahead.streams, &body->stream);
			back = true;
		}
		pthread_mutex_unlock(&account->lock);
		if (!back)
			sync_body_close(body);
		if (made)
			return true;
	}
	return false;
}

/* --- The front of a walk --- */

/* What a set is made for, as it was when that began. */
struct plan {
	uint64_t id, budget, limit;
	uint32_t next;
	bool up;
	bool pieces; /* large messages may come in pieces */
};

static bool begin_plan(struct ahead_run *run, struct plan *plan)
{
	struct sync_account *account = run->worker->account;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	struct walk *walk = &account->ahead.walk;
	const struct walk_front *front = walk_due(walk, run->number, clock_now_ms());
	if (!front)
		return false;
	*plan = (struct plan){.id = front->id,
		.budget = walk_budget(walk, front),
		.limit = walk_limit(front),
		.next = walk_next(front),
		.up = front->direction == WALK_UP,
		.pieces = !atomic_load(&account->ranges_distrusted)};
	return true;
}

/* What became of it: the next place to look, and what was asked for. */
static void end_plan(
	struct ahead_run *run, const struct plan *plan, const struct ahead_set *set, uint64_t bytes)
{
	struct sync_account *account = run->worker->account;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	struct walk_front *front = walk_front(&account->ahead.walk, plan->id);
	if (!front || (front->direction == WALK_UP) != plan->up)
		return;
	uint32_t first = set->count ? set->uids[0] : 0;
	uint32_t last = set->count ? set->uids[set->count - 1] : 0;
	walk_asked(
		front, first < last ? first : last, first < last ? last : first, bytes, plan->next);
}

static uint64_t size_of(const struct store_missing *missing)
{
	return missing->size_bytes == UINT64_MAX ? SIZE_GUESS : missing->size_bytes;
}

/* Readers read large messages to their end: the next pieces follow before they are there. Lock held. */
static void go_on(struct sync_body *body)
{
	body->hot = true;
	if (!list_empty(&body->stream))
		return;
	body->refs++;
	list_push(&body->folder->account->ahead.streams, &body->stream);
}

/* The beginning of a large message; where readers leave such messages, the rest follows when somebody reads it. */
static bool add_piece(struct ahead_run *run, struct ahead_set *set,
	const struct store_missing *missing, bool whole)
{
	struct sync_body *body = open_body(run, missing->uid, missing->size_bytes);
	if (!body)
		return false;
	bool busy;
	pthread_mutex_lock(&run->worker->account->lock);
	busy = body->job.busy || body->feeds > 0 || body->noted;
	body->hot |= whole;
	pthread_mutex_unlock(&run->worker->account->lock);
	bool made = !busy && claim_piece(run, set, body);
	pthread_mutex_lock(&run->worker->account->lock);
	if (made && whole)
		go_on(body);
	pthread_mutex_unlock(&run->worker->account->lock);
	sync_body_close(body);
	return made;
}

static bool add_whole(
	struct ahead_run *run, struct ahead_set *set, const struct store_missing *missing)
{
	struct sync_body *body = open_body(run, missing->uid, missing->size_bytes);
	if (!body)
		return false;
	if (!claim_whole(run, body)) {
		sync_body_close(body);
		return false;
	}
	add(set, body);
	return true;
}

/*
 * Takes the message into the set, or leaves it to its readers. false: the set is made without it.
 */
static bool consider(struct ahead_run *run, struct ahead_set *set, const struct plan *plan,
	const struct store_missing *missing, uint64_t *bytes)
{
	uint64_t size = size_of(missing);
	if (size > plan->limit)
		return true;
	if (set->count > 0 && (*bytes + size > plan->budget || size > AHEAD_WHOLE))
		return false;
	if (size <= AHEAD_WHOLE) {
		if (add_whole(run, set, missing))
			*bytes += size;
	} else if (plan->pieces && add_piece(run, set, missing, plan->limit == UINT64_MAX)) {
		*bytes += set->length;
	}
	return true;
}

static uint32_t after(uint32_t uid, bool up)
{
	if (!up)
		return uid - 1;
	return uid == UINT32_MAX ? 0 : uid + 1;
}

static bool is_full(const struct ahead_set *set, const struct plan *plan, uint64_t bytes)
{
	return set->count == AHEAD_UIDS || bytes >= plan->budget || set->length > 0;
}

/* From a part of what is missing. false: there is no more, or the set is made. */
static bool fill(struct ahead_run *run, struct ahead_set *set, struct plan *plan, uint64_t *bytes)
{
	struct store_missing rows[ROWS];
	size_t count = 0;
	if (store_bodies_missing(run->worker->account->store, run->number, plan->next, plan->up,
		    rows, ROWS, &count) < 0)
		count = 0;
	for (size_t i = 0; i < count; i++) {
		if (is_full(set, plan, *bytes) || !consider(run, set, plan, &rows[i], bytes))
			return false;
		plan->next = after(rows[i].uid, plan->up);
	}
	if (count < ROWS)
		plan->next = 0;
	return plan->next != 0;
}

/* Ascending, as they are asked for. */
static void reverse(struct ahead_set *set)
{
	for (size_t i = 0, k = set->count; i + 1 < k; i++) {
		k--;
		uint32_t uid = set->uids[i];
		struct sync_body *body = set->bodies[i];
		set->uids[i] = set->uids[k];
		set->bodies[i] = set->bodies[k];
		set->uids[k] = uid;
		set->bodies[k] = body;
	}
}

static bool make_front(struct ahead_run *run, struct ahead_set *set)
{
	struct plan plan;
	while (set->count == 0 && begin_plan(run, &plan)) {
		uint64_t bytes = 0;
		bool more = true;
		while (more && !is_full(set, &plan, bytes))
			more = fill(run, set, &plan, &bytes);
		if (!plan.up)
			reverse(set);
		end_plan(run, &plan, set, bytes);
	}
	return set->count > 0;
}

static bool make(struct ahead_run *run, struct ahead_set *set)
{
	set->count = 0;
	set->offset = set->length = set->witness = set->taken = 0;
	set->begun_ms = set->ended_ms = 0;
	memset(set->handed, 0, sizeof(set->handed));
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&run->worker->account->ahead.making);
	return make_stream(run, set) || make_front(run, set);
}

bool ahead_next(void *arg, struct source_bulk_set *ret)
{
	struct ahead_run *run = arg;
	if (run->count == AHEAD_UNDER_WAY)
		return false;
	run->gave_way = job_is_too_far_ahead(run->worker);
	if (run->gave_way)
		return false;
	/* The line turned out to be slow: the next call deflates it. */
	if (run->made > 0 && rate_due(run->worker))
		return false;
	struct ahead_set *set = &run->sets[(run->first + run->count) % AHEAD_UNDER_WAY];
	if (!make(run, set))
		return false;
	run->count++;
	run->made++;
	*ret = (struct source_bulk_set){.uids = set->uids,
		.count = set->count,
		.offset = set->offset - set->witness,
		.length = set->length ? set->length + set->witness : 0,
		.limit_bytes = AHEAD_LIMIT};
	return true;
}
