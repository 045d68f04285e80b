/* SPDX-License-Identifier: MIT */
/*
 * Asks the server for bytes of a body, and sees to it that they are those that were asked for. A partial FETCH is not
 * taken on trust: Dovecot 2.4.1 answers BODY[]<o.n> of a message that lies with CRLF in a Maildir with the bytes of o-1, o-2,
 * … as soon as o is past some 16 KiB, in the right number, so that nothing else betrays it. So a range begins a little
 * before what is wanted, with bytes that are known. Where none are, the end of the first 32 KiB is asked for twice.
 *
 * Invariant: what range_fetch_checked() leaves in body->chunk stands at pos, as far as the server can be held to its own
 * word; -EBADE says that it has broken it. A range that begins at 0 needs no witness, but proves no end that it has shown before. What was asked for as a proof is kept: whoever
 * reads from the beginning has it already.
 */
#include "body.h"

#include <errno.h>
#include <string.h>

#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"

#define PROOF_BYTES 32768

struct call {
	struct sync_body *body;
	uint64_t offset, length, limit;
};

static int call_body(struct worker *worker, void *arg, struct source_error *error)
{
	const struct call *call = arg;
	struct sync_body *body = call->body;
	str_reset(&body->chunk);
	return worker->account->source->ops->body(worker->session, body->uid, body->section,
		call->offset, call->length, call->limit, &body->chunk, error);
}

static int missing(struct sync_body *body, struct worker *worker)
{
	int err = folder_message_missing(
		body->folder, worker, body->number, body->uidvalidity, body->uid);
	if (err == -ENOENT && body->store)
		(void)store_body_drop(body->store);
	return err;
}

int range_fetch(struct sync_body *body, struct worker *worker, uint64_t offset, uint64_t length,
	uint64_t limit)
{
	struct call call = {.body = body, .offset = offset, .length = length, .limit = limit};
	struct source_error error;

	int err = body->carve.message ? carve_fetch(body, offset, length, limit) : -ENODATA;
	if (err != -ENODATA)
		return err;
	err = session_call(worker, body->folder, body->uidvalidity, call_body, &call, &error);
	if (err == 0)
		return str_error(&body->chunk);
	if (err == -ENOENT && error.scope == SOURCE_SCOPE_MESSAGE)
		err = missing(body, worker);
	else if (err != -EFBIG && error.scope < SOURCE_SCOPE_ACCOUNT)
		log_warning("%s: message %u: %s", body->folder->name, body->uid, error.text);
	return err;
}

size_t body_witness(struct sync_body *body, uint64_t pos, char *buf)
{
	size_t len = pos < RANGE_WITNESS_BYTES ? (size_t)pos : RANGE_WITNESS_BYTES;
	return len > 0 && body_held_read(body, buf, len, pos - len) == len ? len : 0;
}

/* The same of what is decoded, too. */
static size_t witness(struct sync_body *body, uint64_t pos, char *buf)
{
	size_t len = body->tail_len < RANGE_WITNESS_BYTES ? body->tail_len : RANGE_WITNESS_BYTES;

	if (!body->decoded)
		return body_witness(body, pos, buf);
	len = pos < len ? (size_t)pos : len;
	memcpy(buf, body->tail + body->tail_len - len, len);
	return len;
}

/* Takes len known bytes away from the front of the chunk; -EBADE: it does not begin with them. */
static int strip(struct sync_body *body, const char *known, size_t len)
{
	struct str *chunk = &body->chunk;
	if (chunk->len < len || memcmp(chunk->data, known, len) != 0)
		return -EBADE;
	memmove(chunk->data, chunk->data + len, chunk->len - len);
	str_truncate(chunk, chunk->len - len);
	if (len > 0)
		atomic_store(&body->proven, true);
	return 0;
}

/* Fetches from pos on, behind len bytes that are known. */
static int fetch_behind(struct sync_body *body, struct worker *worker, uint64_t pos, uint64_t asked,
	const char *known, size_t len)
{
	int err = range_fetch(body, worker, pos - len, asked + len, asked + len);
	return err < 0 ? err : strip(body, known, len);
}

/* Asks for the same bytes of this body in two ways. */
static int prove(struct sync_body *body, struct worker *worker)
{
	char known[RANGE_WITNESS_BYTES];
	size_t len = witness(body, PROOF_BYTES, known);
	if (len == 0) {
		int err = range_fetch(body, worker, 0, PROOF_BYTES, PROOF_BYTES);
		if (err < 0 || body->chunk.len < PROOF_BYTES)
			return err;
		len = sizeof(known);
		memcpy(known, body->chunk.data + PROOF_BYTES - len, len);
		body_keep_chunk(body, 0);
	}
	return fetch_behind(body, worker, PROOF_BYTES, 0, known, len);
}

static int fetch_proven(struct sync_body *body, struct worker *worker, uint64_t pos, uint64_t asked)
{
	char known[RANGE_WITNESS_BYTES];
	size_t len = witness(body, pos, known);
	int err = pos > 0 && len == 0 && !atomic_load(&body->proven) ? prove(body, worker) : 0;
	return err < 0 ? err : fetch_behind(body, worker, pos, asked, known, len);
}

/*
 * It seemed to end so near to its beginning that what follows, with its witness, would begin at 0: that is the question that was answered already, and
 * from a server that sends no more than so many bytes at a time the answer is the same. So the next byte is asked for alone; an end needs no
 * witness. Where there is one, there is more of it, too.
 */
static int fetch_end(struct sync_body *body, struct worker *worker, uint64_t pos, uint64_t asked)
{
	int err = range_fetch(body, worker, pos, 1, 1);
	if (err < 0 || body->chunk.len == 0)
		return err;
	err = fetch_proven(body, worker, pos, asked);
	if (err < 0 || body->chunk.len > 0)
		return err;
	log_warning("%s: message %u, part '%s': the server gives too few bytes", body->folder->name,
		body->uid, body->section);
	return -EIO;
}

int range_fetch_checked(struct sync_body *body, struct worker *worker, uint64_t pos, uint64_t asked)
{
	bool ends = pos > 0 && pos <= RANGE_WITNESS_BYTES && body->reach.short_end == pos;
	return ends ? fetch_end(body, worker, pos, asked) : fetch_proven(body, worker, pos, asked);
}

void range_remember(struct sync_body *body)
{
	const struct str *chunk = &body->chunk;
	if (chunk->len >= RANGE_WITNESS_BYTES) {
		memcpy(body->tail, chunk->data + chunk->len - RANGE_WITNESS_BYTES,
			RANGE_WITNESS_BYTES);
		body->tail_len = RANGE_WITNESS_BYTES;
		return;
	}
	size_t keep = RANGE_WITNESS_BYTES - chunk->len;
	keep = keep < body->tail_len ? keep : body->tail_len;
	memmove(body->tail, body->tail + body->tail_len - keep, keep);
	if (chunk->len > 0)
		memcpy(body->tail + keep, chunk->data, chunk->len);
	body->tail_len = keep + chunk->len;
}

void range_distrust(struct sync_body *body)
{
	struct sync_account *account = body->folder->account;
	quirk_seen(QUIRK_RANGES_WRONG);
	if (!atomic_exchange(&account->ranges_distrusted, true))
		log_warning(
			"%s: message %u: the server gives other bytes than those asked for (partial FETCH); from now on large messages are fetched whole",
			body->folder->name, body->uid);
	body->distrusted = true;
}
