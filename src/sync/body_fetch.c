/* SPDX-License-Identifier: MIT */
/*
 * What a body's readers miss is fetched by its one job: whole, by ranges, or part by part through a decoder.
 * Invariants: bytes are written to the store before the size that says they are all; a size is settled, stored
 * and told before a reader sees its effect; memory is one chunk, and what the decoder makes of it.
 *
 * Nothing is fetched here that nobody waits for: what comes ahead of readers comes by ahead.c.
 */
#include "body.h"

#include <errno.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

/* What is fetched whole may turn out to be larger than announced; past this it is read by ranges. */
#define WHOLE_MAX UINT64_C(1048576)
#define HELD_MAX  (size_t)(1 << 20)
/* What is held of what is fetched whole because the server's ranges are wrong, and does not come as a stream. */
#define DISTRUSTED_MAX (UINT64_C(4) << 20)
/* What the background fetches before it gives way, and how often it may get nothing new. */
#define KEEP_STEP   (size_t)(256 << 10)
#define KEEP_STALLS 4
#define UNKEPT_MS   60000

static int nonsense(const struct sync_body *body, uint64_t offset)
{
	log_warning(
		"%s: message %u, part '%s': the server contradicts itself about the bytes at %llu",
		body->folder->name, body->uid, body->section, (unsigned long long)offset);
	return -EIO;
}

void body_tell_unkept(struct sync_body *body, int err)
{
	/* cache_size= says so; who has pinned something hears it in pin.c. */
	if (err == -EDQUOT)
		return;
	struct sync_account *account = body->folder->account;
	int64_t now = clock_now_ms();
	pthread_mutex_lock(&account->lock);
	bool tell = account->unkept_ms == 0 || now - account->unkept_ms >= UNKEPT_MS;
	if (tell)
		account->unkept_ms = now;
	pthread_mutex_unlock(&account->lock);
	if (tell)
		log_warning("%s: message %u (and perhaps others) is not kept: %s",
			body->folder->name, body->uid, strerror(-err));
}

/* Writes to the store what it still takes; false: it was not taken. */
static bool save(struct sync_body *body, const struct str *data, uint64_t start)
{
	if (data->len == 0)
		return true;
	if (!body->store || body->unwritable < 0)
		return false;
	int err = body_write(body, data, start);
	if (err == 0)
		return true;
	body->unwritable = err;
	body_tell_unkept(body, err);
	return false;
}

bool body_keep_chunk(struct sync_body *body, uint64_t start)
{
	return save(body, &body->chunk, start);
}

bool body_is_current(const struct sync_body *body)
{
	uint32_t number, uidvalidity;
	folder_identity(body->folder, &number, &uidvalidity);
	return number == body->number;
}

/* The true size of a section, if the store has it otherwise. */
static void settle_section(struct sync_body *body, uint64_t size)
{
	struct sync_account *account = body->folder->account;
	uint64_t stored;
	int err = store_section_size_get(
		account->store, body->number, body->uid, body->section, &stored);
	if (err == 0 && stored == size)
		return;
	(void)store_section_size_put(account->store, body->number, body->uid, body->section, size);
	account->events.section_size(
		account->events.arg, body->folder, body->uid, body->section, size);
}

/*
 * The size is known. A store that can not note it costs a fetch later, nothing more. The listing is corrected
 * before the body is closed off: a crash in between leaves a body whose end is found again.
 */
void body_settle_size(struct sync_body *body, uint64_t size)
{
	struct sync_account *account = body->folder->account;
	bool current = body_is_current(body);

	if (current && body->section[0]) {
		settle_section(body, size);
	} else if (current && size != body->announced) {
		(void)store_size_put(account->store, body->number, body->uid, size);
		account->events.size(account->events.arg, body->folder, body->uid, size);
		if (body->announced != UINT64_MAX)
			sizes_wrong(account, body->number, body->uid);
	}
	if (body->store)
		(void)store_body_set_size(body->store, size);
}

bool body_is_hollow(const struct sync_body *body, uint64_t size)
{
	return size == 0 && body->announced != 0 && body->announced != UINT64_MAX &&
	       !body->section[0];
}

/* Hands out what the store holds; false: nothing of it. */
static bool serve_held(struct sync_body *body, struct worker *worker, const struct body_want *want)
{
	size_t len = want->len < HELD_MAX ? want->len : HELD_MAX;
	str_reset(&body->chunk);
	if (str_reserve(&body->chunk, len) < 0)
		return false;
	size_t held = body_held_read(body, body->chunk.data, len, want->offset);
	if (held == 0)
		return false;
	body->chunk.len = held;
	body_deliver(body, &body->chunk, want->offset, UINT64_MAX, false, false, &worker->done);
	return true;
}

/* Keeps and hands out the chunk, which stands at pos. */
static int take_range(
	struct sync_body *body, struct worker *worker, uint64_t pos, enum reach_verdict verdict)
{
	uint64_t end = pos + body->chunk.len;
	if (verdict == REACH_END && body_is_hollow(body, end))
		return nonsense(body, 0);
	bool saved = save(body, &body->chunk, pos);
	if (verdict == REACH_END)
		body_settle_size(body, end);
	body_deliver(body, &body->chunk, pos, verdict == REACH_MORE ? UINT64_MAX : end,
		verdict == REACH_END, !saved, &worker->done);
	return 0;
}

/* Shorter than announced: believed when the server says so again, as of any range. */
static void expect_end(struct sync_body *body, uint64_t size)
{
	body->by_ranges = true;
	body->reach.existing = body->reach.short_end = size;
	body->search.high = size;
}

/* What is cut out of a message that is here does not come by ranges of the server. */
static bool is_distrusted(const struct sync_body *body)
{
	return body->distrusted && !body->carve.message;
}

/* It is found out once: each attempt brings as much as is held, for nothing. */
static int too_large(struct sync_body *body)
{
	if (!body->unheld)
		log_warning(
			"%s: message %u: too large to be had from a server whose ranges are wrong, and which does not send it in one piece",
			body->folder->name, body->uid);
	body->unheld = body->unstreamed;
	return -EIO;
}

/* A message of which no ranges can be had. -ENODATA: it is small enough to be held. */
static int serve_streamed(
	struct sync_body *body, struct worker *worker, const struct body_want *want)
{
	int err = -ENODATA;
	if (body->unwritable == 0)
		err = stream_message(body, worker, &body->unwritable);
	if (err != -ENODATA || body->announced <= DISTRUSTED_MAX)
		return err;
	/* Who wants it in the store is told that by the caller. */
	if (want->background && body->unwritable < 0)
		return 0;
	return stream_unkept(body, worker, want->size ? 0 : want->offset);
}

static int serve_whole(struct sync_body *body, struct worker *worker, const struct body_want *want)
{
	bool streamed = is_distrusted(body) && !body->section[0];
	int err = streamed ? serve_streamed(body, worker, want) : -ENODATA;
	if (err != -ENODATA)
		return err;
	if (streamed && body->unheld)
		return too_large(body);
	err = range_fetch(body, worker, 0, 0, is_distrusted(body) ? DISTRUSTED_MAX : WHOLE_MAX);
	if (err == -EFBIG && streamed) {
		err = stream_unkept(body, worker, want->size ? 0 : want->offset);
		return err == -ENODATA ? too_large(body) : err;
	}
	if (err == -EFBIG && !is_distrusted(body)) {
		body->by_ranges = true;
		return 0;
	}
	if (err < 0)
		return err;
	uint64_t size = body->chunk.len;
	if (body_is_hollow(body, size))
		return nonsense(body, 0);
	if (size < body->announced && body->announced != UINT64_MAX && !is_distrusted(body)) {
		expect_end(body, size);
		return take_range(body, worker, 0, REACH_MORE);
	}
	bool saved = save(body, &body->chunk, 0);
	body_settle_size(body, size);
	body_deliver(body, &body->chunk, 0, size, true, !saved, &worker->done);
	return 0;
}

/* What comes ahead of readers need not bring it too. */
static void note_asked(struct sync_body *body, uint64_t end)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->folder->account->lock);
	body->asked_end = end;
}

/* Fetches a chunk at pos and judges what it says about the end. */
static int fetch_chunk(struct sync_body *body, struct worker *worker, uint64_t pos, size_t len,
	enum reach_verdict *ret_verdict)
{
	uint64_t asked = pace_next(&body->pace, pos, len, body->announced);
	note_asked(body, pos + asked);
	int64_t since = clock_now_ms();
	int err = range_fetch_checked(body, worker, pos, asked);
	if (err < 0)
		return err;
	pace_done(&body->pace, pos + body->chunk.len, clock_now_ms() - since);
	*ret_verdict = reach_judge(&body->reach, pos, asked, body->chunk.len);
	return *ret_verdict == REACH_NONSENSE ? nonsense(body, pos) : 0;
}

/* Bytes that are in the store are known to exist. */
static void note_existing(struct sync_body *body, uint64_t pos)
{
	if (pos > body->reach.existing && body->store && store_body_held(body->store, pos - 1) > 0)
		body->reach.existing = pos;
}

/* One question of the search for the end. */
static int serve_size(struct sync_body *body, struct worker *worker)
{
	struct reach *reach = &body->reach;
	uint64_t pos, asked;

	note_existing(body, body->store ? store_body_held(body->store, 0) : 0);
	if (body->bound < body->search.high)
		body->search.high = body->bound;
	if (!search_next(&body->search, body->announced, reach->existing, &pos, &asked)) {
		body->search = (struct search){.high = UINT64_MAX};
		return nonsense(body, reach->existing);
	}
	int err = range_fetch_checked(body, worker, pos, asked);
	if (err < 0)
		return err;
	uint64_t end = pos + body->chunk.len;
	enum reach_verdict verdict = reach_judge(reach, pos, asked, body->chunk.len);
	bool ends = verdict == REACH_END;
	if (verdict == REACH_NONSENSE || (ends && body_is_hollow(body, end)))
		return nonsense(body, pos);
	search_answer(&body->search, reach->existing, pos, asked, body->chunk.len);
	if (ends)
		body_settle_size(body, end);
	body_deliver(body, &body->chunk, pos, ends ? end : UINT64_MAX, ends, false, &worker->done);
	return 0;
}

static int serve_range(struct sync_body *body, struct worker *worker, const struct body_want *want)
{
	enum reach_verdict verdict;

	note_existing(body, want->offset);
	body->pace.cap = want->background ? KEEP_STEP : 0;
	int err = fetch_chunk(body, worker, want->offset, want->len, &verdict);
	if (err < 0)
		return err;
	return take_range(body, worker, want->offset, verdict);
}

/* Begins to decode at the beginning of the part. */
static int decode_from_start(struct sync_body *body)
{
	mime_decoder_destroy(body->decoder);
	body->decoder = mime_decoder_create(body->encoding, body->to_utf8, body->charset);
	body->raw_pos = body->decoded_pos = 0;
	body->tail_len = 0;
	body->pace = (struct pace){0};
	body->reach = (struct reach){.announced = body->announced, .short_end = UINT64_MAX};
	return body->decoder ? 0 : -ENOMEM;
}

/* Decodes the chunk that has come into body->plain. */
static int decode_chunk(struct sync_body *body, bool end)
{
	str_reset(&body->plain);
	int err = mime_decoder_push(
		body->decoder, str_cstr(&body->chunk), body->chunk.len, &body->plain);
	if (err == 0 && end)
		err = mime_decoder_end(body->decoder, &body->plain);
	return err < 0 ? err : str_error(&body->plain);
}

/* Fetches what the decoder shall take next; *ret_end: it is the last. */
static int fetch_encoded(
	struct sync_body *body, struct worker *worker, const struct body_want *want, bool *ret_end)
{
	enum reach_verdict verdict = REACH_END;
	int err = 0;

	/* From one that is distrusted all of it comes at once; what was decoded so far came out of a stored message. */
	if (!body->decoder || (!want->size && want->offset < body->decoded_pos) ||
		(body->raw_pos > 0 && is_distrusted(body)))
		err = decode_from_start(body);
	if (err == 0 && is_distrusted(body))
		err = range_fetch(body, worker, 0, 0, DISTRUSTED_MAX);
	else if (err == 0)
		err = fetch_chunk(body, worker, body->raw_pos, want->len, &verdict);
	if (err == 0)
		range_remember(body);
	*ret_end = verdict != REACH_MORE;
	return err;
}

static int serve_decoded(
	struct sync_body *body, struct worker *worker, const struct body_want *want)
{
	bool end;
	int err = fetch_encoded(body, worker, want, &end);
	if (err < 0)
		return err;
	err = decode_chunk(body, end);
	if (err < 0) {
		/* Its state is lost. */
		mime_decoder_destroy(body->decoder);
		body->decoder = NULL;
		return err;
	}
	uint64_t start = body->decoded_pos;
	body->raw_pos += body->chunk.len;
	body->decoded_pos += body->plain.len;
	bool saved = save(body, &body->plain, start);
	if (end) {
		body_settle_size(body, body->decoded_pos);
		mime_decoder_destroy(body->decoder);
		body->decoder = NULL;
	}
	body_deliver(body, &body->plain, start, end ? body->decoded_pos : UINT64_MAX, end, !saved,
		&worker->done);
	return 0;
}

static int serve_missing(
	struct sync_body *body, struct worker *worker, const struct body_want *want)
{
	if (body->decoded)
		return serve_decoded(body, worker, want);
	if (is_distrusted(body) || body->section[0] || body->announced <= PACE_WHOLE) {
		if (!body->by_ranges)
			return serve_whole(body, worker, want);
	}
	return want->size ? serve_size(body, worker) : serve_range(body, worker, want);
}

static void forget_progress(struct sync_body *body)
{
	body->by_ranges = false;
	body->search = (struct search){.high = UINT64_MAX};
	mime_decoder_destroy(body->decoder);
	body->decoder = NULL;
	body->raw_pos = body->decoded_pos = 0;
}

/* A section that is too large to be held: its message is fetched, and the section cut out of it. */
static int serve_carved(struct sync_body *body, struct worker *worker, const struct body_want *want)
{
	int err = stream_for_section(body, worker);
	if (err == 0 && !body->decoded)
		body_doubt_end(body);
	forget_progress(body);
	if (err == 0)
		carve_begin(body);
	if (err == 0 && body->carve.message)
		return serve_missing(body, worker, want);
	log_warning(
		"%s: message %u, part '%s': too large to be had from a server whose ranges are wrong; the whole message can be read",
		body->folder->name, body->uid, body->section);
	return -EIO;
}

static int serve_distrusted(
	struct sync_body *body, struct worker *worker, const struct body_want *want)
{
	int err = serve_missing(body, worker, want);
	bool large = err == -EFBIG && is_distrusted(body) && body->section[0];
	return large ? serve_carved(body, worker, want) : err;
}

/* What came ahead of its reader and was too short is the first answer about its end. */
static void take_short_end(struct sync_body *body)
{
	pthread_mutex_lock(&body->folder->account->lock);
	uint64_t end = body->short_end;
	body->short_end = UINT64_MAX;
	pthread_mutex_unlock(&body->folder->account->lock);
	if (end != UINT64_MAX && body->store && store_body_held(body->store, 0) >= end)
		expect_end(body, end);
}

/* What the job has found out was told by bytes that are refuted. */
static void notice_forgotten(struct sync_body *body)
{
	pthread_mutex_lock(&body->folder->account->lock);
	bool forgotten = body->forgotten;
	body->forgotten = false;
	pthread_mutex_unlock(&body->folder->account->lock);
	if (!forgotten)
		return;
	forget_progress(body);
	body->reach = (struct reach){.announced = body->announced, .short_end = UINT64_MAX};
}

/*
 * The server's ranges are wrong, or what is here of the body is: it is fetched whole; a part is decoded anew. Where what is here does not come again, nobody
 * knows what of it is right.
 */
static int serve_again(struct sync_body *body, struct worker *worker, const struct body_want *want)
{
	range_distrust(body);
	body_doubt(body);
	notice_forgotten(body);
	bool doubted = atomic_load(&body->doubted);
	int err = serve_distrusted(body, worker, want);
	if (err < 0 && doubted)
		body_refute(body);
	return err;
}

int body_serve(struct sync_body *body, struct worker *worker, const struct body_want *want)
{
	notice_forgotten(body);
	take_short_end(body);
	if (!want->size && !want->background && serve_held(body, worker, want))
		return 0;
	int err = serve_distrusted(body, worker, want);
	return err == -EBADE ? serve_again(body, worker, want) : err;
}

/* --- In the background --- */

static uint64_t held(const struct sync_body *body)
{
	return body->store ? store_body_held(body->store, 0) : 0;
}

/* Only the job changes bound and size_known. */
static bool is_whole(const struct sync_body *body)
{
	return body->store && body->size_known && held(body) >= body->bound;
}

/* Those who want all of it have it, or the store does not take it, which concerns nobody else. */
static void end_keepers(struct sync_body *body, struct worker *worker, int result)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->folder->account->lock);
	waiter_take_all(&body->keepers, result, &worker->done);
}

int body_keep(struct sync_body *body, struct worker *worker)
{
	uint64_t before = held(body);
	bool known = body->size_known;
	const struct body_want want = {.background = true, .offset = before, .len = KEEP_STEP};

	int err = body->unwritable < 0 || is_whole(body) ? 0 : body_serve(body, worker, &want);
	if (err < 0)
		return err;
	if (body->unwritable < 0 || is_whole(body)) {
		end_keepers(body, worker, body->unwritable);
		return 0;
	}
	bool moved = held(body) > before || body->size_known != known;
	body->stalls = moved ? 0 : body->stalls + 1;
	return body->stalls > KEEP_STALLS ? nonsense(body, before) : 0;
}
