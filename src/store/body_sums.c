/* SPDX-License-Identifier: MIT */
/*
 * The checksums of an open body: making and comparing them. See body.h and sums.h.
 *
 * Making one while others write: the piece is marked as pending, together with the taking of the map; whoever writes to it
 * takes that mark away after its bytes are in the file. So a mark that is still there means that the piece is as it was when the
 * map was taken, and the checksum is kept; else it serves this one recording, in which it is as true as the map is, or, if bytes were
 * written over, makes them be fetched again.
 */
#include "body.h"

#include <errno.h>

#include "mailfs/util/hash.h"
#include "mailfs/util/log.h"

/* Read at a time: on the stack of a thread of FUSE. The bytes of a run are hashed in steps of this, in every version. */
#define STEP_BYTES (UINT64_C(32) << 10)

/* Where the bytes to be hashed come from. */
struct origin {
	int fd;
	const struct body_bytes *bytes; /* some of them; NULL: none */
};

static int hash_file(int fd, uint64_t at, size_t len, uint64_t *hash)
{
	char buf[STEP_BYTES];
	if (body_read_fully(fd, buf, len, at) < (ssize_t)len)
		return -EIO;
	*hash = checksum64(*hash, buf, len);
	return 0;
}

static int hash_run(struct origin origin, struct range run, uint64_t *hash)
{
	const struct body_bytes *bytes = origin.bytes;
	int rc = 0;
	for (uint64_t at = run.start; rc == 0 && at < run.end;) {
		size_t len = run.end - at < STEP_BYTES ? (size_t)(run.end - at) : STEP_BYTES;
		if (bytes && at >= bytes->start && at + len <= bytes->end)
			*hash = checksum64(*hash, bytes->data + (at - bytes->start), len);
		else
			rc = hash_file(origin.fd, at, len, hash);
		at += len;
	}
	return rc;
}

/* Of a piece, of which held is the map, or has it in it. -EIO: it can not be read. */
static int hash_piece(
	struct origin origin, uint64_t piece, const struct ranges *held, uint64_t *ret)
{
	uint64_t start = piece * SUMS_PIECE_BYTES, end = start + SUMS_PIECE_BYTES, hash = 0;
	for (uint64_t at; (at = ranges_next(held, start)) < end;) {
		uint64_t len = ranges_held(held, at);
		struct range run = {at, len < end - at ? at + len : end};
		/* Where it lies: the same bytes elsewhere are others. */
		unsigned char place[8];
		for (int i = 0; i < 4; i++) {
			place[i] = (unsigned char)((run.start % SUMS_PIECE_BYTES) >> i * 8);
			place[i + 4] = (unsigned char)((run.end - run.start) >> i * 8);
		}
		hash = checksum64(hash, place, sizeof(place));
		int rc = hash_run(origin, run, &hash);
		if (rc < 0)
			return rc;
		start = run.end;
	}
	*ret = hash;
	return 0;
}

/* ---- what does not fit ---- */

/* Takes a piece out of the map; body->lock is held. */
static void take_out(struct store_body *body, uint64_t piece)
{
	uint64_t start = piece * SUMS_PIECE_BYTES, end = start + SUMS_PIECE_BYTES;
	/* Without memory for the rest behind it, that goes too. */
	if (ranges_remove(&body->held, start, end) < 0) {
		ranges_truncate(&body->held, start);
		end = UINT64_MAX;
	}
	sums_forget(&body->sums, start, end);
	body->cuts++;
	body->dirty = true;
	body_measure(body);
}

static void warn(struct store_body *body, uint64_t piece, int why)
{
	pthread_mutex_lock(&body->lock);
	bool warned = body->warned;
	body->warned = true;
	pthread_mutex_unlock(&body->lock);
	if (warned)
		return;
	log_warning(
		"the store in %s: bytes of message %u in bodies/%08x, at %llu, %s: they are fetched again",
		body->store->directory, (unsigned)(body->id & UINT32_MAX),
		(unsigned)(body->id >> 32), (unsigned long long)(piece * SUMS_PIECE_BYTES),
		why ? "can not be read" : "are not those that were written");
}

/* ---- comparing ---- */

struct comparison {
	struct sum sum;
	struct ranges held; /* of the piece */
};

/* The next piece to be compared, from first to last: 1; 0: none. */
static int next_comparison(
	struct store_body *body, uint64_t first, uint64_t last, struct comparison *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	const struct sum *sum = sums_next_stored(&body->sums, first, last);
	if (!sum)
		return 0;
	ret->sum = *sum;
	uint64_t start = sum->piece * SUMS_PIECE_BYTES;
	int rc = ranges_slice(&body->held, start, start + SUMS_PIECE_BYTES, &ret->held);
	return rc < 0 ? rc : 1;
}

/* Notes how it came out; false: it does not fit. Somebody else may have done the same meanwhile. */
static bool conclude(struct store_body *body, const struct sum *sum, bool fits)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	struct sum *now = sums_find(&body->sums, sum->piece);
	if (!now || now->state != SUM_STORED)
		return true;
	if (fits)
		now->state = SUM_KNOWN;
	else
		take_out(body, sum->piece);
	return fits;
}

int body_sums_check(
	struct store_body *body, uint64_t start, uint64_t end, const struct body_bytes *bytes)
{
	if (start >= end)
		return 0;
	uint64_t piece = start / SUMS_PIECE_BYTES, last = (end - 1) / SUMS_PIECE_BYTES;
	const struct origin origin = {body->fd, bytes};
	bool bad = false;
	struct comparison next;
	int rc;
	for (; (rc = next_comparison(body, piece, last, &next)) > 0; piece = next.sum.piece + 1) {
		uint64_t value = 0;
		int why = hash_piece(origin, next.sum.piece, &next.held, &value);
		ranges_finish(&next.held);
		if (!conclude(body, &next.sum, why == 0 && value == next.sum.value)) {
			warn(body, next.sum.piece, why);
			bad = true;
		}
	}
	return rc < 0 ? rc : bad;
}

/* ---- making ---- */

void body_state_finish(struct body_state *state)
{
	ranges_finish(&state->held);
	str_finish(&state->sums);
}

bool body_sums_missing(struct store_body *body)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	for (uint64_t piece = 0; sums_next_piece(&body->held, &piece); piece++)
		if (!sums_find(&body->sums, piece))
			return true;
	return false;
}

static int take_map(struct store_body *body, struct body_state *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	*ret = (struct body_state){
		.size = body->size, .size_known = body->size_known, .cuts = body->cuts};
	int rc = ranges_slice(&body->held, 0, UINT64_MAX, &ret->held);
	for (uint64_t piece = 0; rc == 0 && sums_next_piece(&ret->held, &piece); piece++)
		if (!sums_find(&body->sums, piece))
			rc = sums_put(&body->sums, (struct sum){piece, 0, SUM_PENDING});
	if (rc < 0)
		return rc;
	body->dirty = false;
	body->unrecorded_bytes = 0;
	return 0;
}

/* The checksum of a piece, if it has one that is of the map as it was taken. */
static bool find_sum(struct store_body *body, uint64_t piece, uint64_t *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	const struct sum *sum = sums_find(&body->sums, piece);
	if (!sum || sum->state == SUM_PENDING)
		return false;
	*ret = sum->value;
	return true;
}

static void keep_sum(struct store_body *body, uint64_t piece, uint64_t value)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	struct sum *sum = sums_find(&body->sums, piece);
	if (sum && sum->state == SUM_PENDING)
		*sum = (struct sum){piece, value, SUM_KNOWN};
}

/* A piece that can not be read is not held, neither there nor here. */
static int lose_piece(struct store_body *body, uint64_t piece, struct body_state *state)
{
	uint64_t start = piece * SUMS_PIECE_BYTES;
	int rc = ranges_remove(&state->held, start, start + SUMS_PIECE_BYTES);
	if (rc < 0)
		return rc;
	pthread_mutex_lock(&body->lock);
	take_out(body, piece);
	state->cuts++;
	pthread_mutex_unlock(&body->lock);
	warn(body, piece, -EIO);
	return 0;
}

static int take_sum(struct store_body *body, uint64_t piece, struct body_state *state)
{
	uint64_t value;
	if (!find_sum(body, piece, &value)) {
		if (hash_piece((struct origin){.fd = body->fd}, piece, &state->held, &value) < 0)
			return lose_piece(body, piece, state);
		keep_sum(body, piece, value);
	}
	sums_serialize(value, &state->sums);
	return 0;
}

int body_sums_take(struct store_body *body, struct body_state *ret)
{
	int rc = take_map(body, ret);
	for (uint64_t piece = 0; rc == 0 && sums_next_piece(&ret->held, &piece); piece++)
		rc = take_sum(body, piece, ret);
	return rc < 0 ? rc : str_error(&ret->sums);
}
