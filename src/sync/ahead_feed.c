/* SPDX-License-Identifier: MIT */
/*
 * What comes ahead of readers goes into the store, and to those who wait for it, as it arrives: by the same rules as what they ask for
 * themselves (body_fetch.c). A message that is shorter than announced is not believed to be: its bytes are kept, and its end is for a job to judge. A
 * piece counts when it begins with the bytes that are known before it, or when its body has been proven to come by ranges. Servers may answer
 * what waits for the line in another order (RFC 9051 §5.5; Dovecot does): a piece that comes before the one before it is parked until that is here.
 */
#include "ahead.h"

#include <errno.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"
#include "mailfs/util/number.h"

/* The store does not take it. */
#define UNKEPT_MS   60000
#define REFUSED_MS  10000
#define MEASURE_MIN UINT64_C(65536)

void ahead_fed(struct sync_body *body)
{
	pthread_mutex_lock(&body->folder->account->lock);
	if (--body->feeds == 0) {
		body->fed_to = body->fed_end = 0;
		body->feeder = NULL;
	}
	body_serve_rest(body);
	pthread_mutex_unlock(&body->folder->account->lock);
	sync_body_close(body);
}

/* --- Which message it is --- */

static int find_uid(const struct ahead_set *set, uint32_t uid)
{
	size_t at = u32_lower_bound(set->uids, set->count, uid);
	return at < set->count && set->uids[at] == uid && set->bodies[at] ? (int)at : -1;
}

/* The oldest set that waits for it. */
static bool find(struct ahead_run *run, uint32_t uid, uint64_t offset)
{
	for (unsigned i = 0; i < run->count; i++) {
		struct ahead_set *set = &run->sets[(run->first + i) % AHEAD_UNDER_WAY];
		int index = set != run->parked && set->offset - set->witness == offset
		                    ? find_uid(set, uid)
		                    : -1;
		if (index < 0)
			continue;
		run->set = set;
		run->index = (size_t)index;
		run->body = set->bodies[index];
		return true;
	}
	return false;
}

/* The message, or a piece of it, is done with. */
static void finish(struct ahead_run *run)
{
	struct sync_body *body = steal_ptr(run->body);
	run->set->bodies[run->index] = NULL;
	str_reset(&run->buf);
	ahead_fed(body);
	waiter_wake_all(&run->worker->done);
}

/* --- Pieces --- */

static void end_stream(struct sync_body *body)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->folder->account->lock);
	body->stream_off = true;
}

/* What must stand at the beginning of the piece; false: nobody knows, and nothing says that ranges are right. */
static bool know_witness(struct ahead_run *run)
{
	const struct ahead_set *set = run->set;
	struct sync_body *body = run->body;
	run->known_len = set->length ? body_witness(body, set->offset, run->known) : 0;
	return set->offset == 0 || run->known_len == set->witness || atomic_load(&body->proven);
}

/* Whether the piece before the one in this set is still to come. */
static bool is_behind(const struct ahead_run *run, const struct ahead_set *set)
{
	const struct sync_body *body = set->bodies[0];
	for (unsigned i = 0; i < run->count; i++) {
		const struct ahead_set *other = &run->sets[(run->first + i) % AHEAD_UNDER_WAY];
		if (other->length > 0 && other->bodies[0] == body &&
			other->offset + other->length == set->offset)
			return true;
	}
	return false;
}

/* Takes the witness away from the front of what came; false: it is not what it must be. */
static bool strip(struct ahead_run *run)
{
	size_t len = run->set->witness;
	struct str *buf = &run->buf;
	if (run->start >= run->set->offset)
		return true;
	if (buf->len < len || (run->known_len == len && memcmp(buf->data, run->known, len) != 0))
		return false;
	if (run->known_len == len)
		atomic_store(&run->body->proven, true);
	memmove(buf->data, buf->data + len, buf->len - len);
	str_truncate(buf, buf->len - len);
	run->start = run->set->offset;
	return true;
}

/* --- Bytes --- */

/* Writes what is in buf; false: the store does not take it. */
static bool save(struct ahead_run *run)
{
	const struct str *buf = &run->buf;
	if (buf->len == 0)
		return true;
	int err = body_write_ahead(run->body, buf, run->start);
	if (err == 0)
		return true;
	body_tell_unkept(run->body, err);
	end_stream(run->body);
	ahead_stop(run, UNKEPT_MS);
	return false;
}

/* Hands on what is in buf, which ends at `bound` if that is exact. */
static void hand_on(struct ahead_run *run, uint64_t bound, bool exact)
{
	bool saved = save(run);
	size_t len = run->buf.len;
	run->set->handed[run->index] |= len > 0;
	if (exact)
		body_settle_size(run->body, bound);
	body_deliver(run->body, &run->buf, run->start, bound, exact, !saved, &run->worker->done);
	run->start += len;
	str_reset(&run->buf);
}

static bool is_announced(const struct sync_body *body)
{
	return body->announced != UINT64_MAX;
}

static void note_short(struct sync_body *body, uint64_t end)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->folder->account->lock);
	body->short_end = end;
}

static void end_whole(struct ahead_run *run)
{
	struct sync_body *body = run->body;
	uint64_t end = run->start + run->buf.len;
	bool is_short = is_announced(body) && end < body->announced;
	hand_on(run, is_short ? UINT64_MAX : end, !is_short);
	if (is_short)
		note_short(body, end);
}

/* false: it is not what was asked for. */
static bool end_piece(struct ahead_run *run)
{
	const struct ahead_set *set = run->set;
	if (!strip(run))
		return false;
	uint64_t end = run->start + run->buf.len, asked = set->offset + set->length;
	if (end > asked)
		return false;
	bool exact = end < asked && end == run->body->announced;
	hand_on(run, exact ? end : UINT64_MAX, exact);
	return exact || end == asked;
}

static void park(struct ahead_run *run)
{
	str_finish(&run->parked_buf);
	run->parked_buf = run->buf;
	run->buf = (struct str){0};
	run->parked = run->set;
	run->body = NULL;
}

/* Goes on with the piece that is parked, as if it came now; false: there is none, or it has to wait. */
static bool unpark(struct ahead_run *run)
{
	struct ahead_set *set = run->parked;
	if (!set || is_behind(run, set))
		return false;
	run->parked = NULL;
	str_finish(&run->buf);
	run->buf = run->parked_buf;
	run->parked_buf = (struct str){0};
	run->set = set;
	run->index = 0;
	run->body = set->bodies[0];
	run->start = set->offset - set->witness;
	run->bad = !know_witness(run);
	return true;
}

/* All of it has come; whole: and is what it must be. body is NULL afterwards. */
static void take(struct ahead_run *run, bool whole)
{
	bool piece = run->set->length > 0;
	bool good = whole && !run->bad;
	if (good && piece)
		good = end_piece(run);
	else if (good)
		end_whole(run);
	if (piece && !good)
		end_stream(run->body);
	/* Who waits for more of it is told that before he is woken. */
	if (!whole && run->set->handed[run->index]) {
		run->set->handed[run->index] = false;
		body_refute(run->body);
	}
	finish(run);
}

static void resume(struct ahead_run *run)
{
	while (unpark(run))
		take(run, true);
}

/* --- Told by source.bulk() --- */

int ahead_begin(void *arg, uint32_t uid, uint64_t offset, uint64_t size_bytes)
{
	struct ahead_run *run = arg;
	if (!find(run, uid, offset))
		return -ENOENT;
	if (!run->set->begun_ms)
		run->set->begun_ms = clock_now_ms();
	run->start = offset;
	bool known = know_witness(run);
	run->early = !known && !run->parked && is_behind(run, run->set);
	run->bad = !known && !run->early;
	str_reset(&run->buf);
	if (!run->bad && (run->set->length > 0 || !body_is_hollow(run->body, size_bytes)))
		return 0;
	if (run->set->length > 0)
		end_stream(run->body);
	finish(run);
	resume(run);
	return -EBADMSG;
}

void ahead_data(void *arg, const char *data, size_t len)
{
	struct ahead_run *run = arg;
	run->set->taken += len;
	if (run->bad)
		return;
	str_append(&run->buf, data, len);
	if (str_error(&run->buf) < 0)
		run->bad = true;
	if (run->bad || run->early || run->buf.len < AHEAD_CHUNK)
		return;
	run->bad = !strip(run);
	if (run->bad)
		return;
	hand_on(run, UINT64_MAX, false);
	waiter_wake_all(&run->worker->done);
}

void ahead_end(void *arg, bool whole)
{
	struct ahead_run *run = arg;
	run->set->ended_ms = clock_now_ms();
	if (run->early && whole && !run->bad) {
		park(run);
		return;
	}
	take(run, whole);
	resume(run);
}

/* --- Sets --- */

static void leave(struct ahead_run *run)
{
	struct ahead_set *set = &run->sets[run->first];
	if (set == run->parked) {
		run->parked = NULL;
		str_finish(&run->parked_buf);
	}
	for (size_t i = 0; i < set->count; i++)
		if (set->bodies[i])
			ahead_fed(steal_ptr(set->bodies[i]));
	run->first = (run->first + 1) % AHEAD_UNDER_WAY;
	run->count--;
}

/* What was handed on of a message that is done with is taken back. */
static void refute(struct ahead_run *run, struct ahead_set *set, size_t index)
{
	struct sync_body *body;
	if (!set->handed[index])
		return;
	set->handed[index] = false;
	if (body_open_message(run->folder, run->number, set->uids[index], &body) < 0)
		return;
	body_refute(body);
	sync_body_close(body);
}

static void measure(struct ahead_run *run, const struct ahead_set *set)
{
	struct sync_account *account = run->worker->account;
	/* Not until the answer: servers hold that back until more is asked for. */
	if (set->taken < MEASURE_MIN || !set->ended_ms)
		return;
	int64_t took_ms = set->ended_ms - set->begun_ms;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&account->lock);
	walk_measured(&account->ahead.walk, set->taken, took_ms);
}

/*
 * A piece that waits for one that did not come is as good as any if its body has been proven meanwhile. Else who wants it gets a job, and does not wait for
 * the end of what is asked for.
 */
static void give_up_waiting(struct ahead_run *run)
{
	if (run->body || !unpark(run))
		return;
	if (run->bad)
		finish(run);
	else
		take(run, true);
}

void ahead_answered(void *arg, int err)
{
	struct ahead_run *run = arg;
	if (run->count == 0)
		return;
	measure(run, &run->sets[run->first]);
	for (size_t i = 0; err < 0 && i < run->sets[run->first].count; i++)
		refute(run, &run->sets[run->first], i);
	if (err < 0)
		ahead_stop(run, REFUSED_MS);
	leave(run);
	give_up_waiting(run);
	waiter_wake_all(&run->worker->done);
}

/* The oldest set in which it has come. */
void ahead_again(void *arg, uint32_t uid, uint64_t offset)
{
	struct ahead_run *run = arg;
	for (unsigned i = 0; i < run->count; i++) {
		struct ahead_set *set = &run->sets[(run->first + i) % AHEAD_UNDER_WAY];
		size_t at = u32_lower_bound(set->uids, set->count, uid);
		if (at == set->count || set->uids[at] != uid ||
			set->offset - set->witness != offset ||
			(!set->handed[at] && set != run->parked))
			continue;
		if (set == run->parked) {
			run->parked = NULL;
			str_finish(&run->parked_buf);
		}
		refute(run, set, at);
		return;
	}
}

void ahead_release(struct ahead_run *run)
{
	if (run->body)
		finish(run);
	while (run->count > 0)
		leave(run);
	waiter_wake_all(&run->worker->done);
}
