/* SPDX-License-Identifier: MIT */
/*
 * A whole message as it comes, into the store and to those who wait for it: for servers whose ranges are wrong, so that they do not cost memory. A part
 * that is too large to be held is then cut out of its message (carve.c).
 */
#include <errno.h>

#include "body.h"
#include "mailfs/util/log.h"

#define CHUNK_BYTES ((size_t)256 << 10)
/* More than any server takes; one that sends on and on is left. */
#define MESSAGE_MAX (UINT64_C(1) << 30)

/* A call. All of it belongs to the worker's thread. */
struct stream {
	struct sync_body *message;
	struct worker *worker;
	struct str buf;
	uint64_t start; /* where buf begins */
	bool asked, came, whole;
	int err; /* nothing more is taken */
};

static void hand_on(struct stream *stream, bool last)
{
	struct sync_body *message = stream->message;
	struct str *buf = &stream->buf;
	uint64_t end = stream->start + buf->len;
	if (buf->len > 0)
		stream->err = store_body_write(message->store, buf->data, buf->len, stream->start);
	if (stream->err < 0) {
		body_tell_unkept(message, stream->err);
		return;
	}
	if (last)
		body_settle_size(message, end);
	body_deliver(message, buf, stream->start, last ? end : UINT64_MAX, last, false,
		&stream->worker->done);
	waiter_wake_all(&stream->worker->done);
	stream->start = end;
	str_reset(buf);
}

static bool next(void *arg, struct source_bulk_set *ret)
{
	struct stream *stream = arg;
	*ret = (struct source_bulk_set){
		.uids = &stream->message->uid, .count = 1, .limit_bytes = MESSAGE_MAX};
	bool more = !stream->asked;
	stream->asked = true;
	return more;
}

static int begin(void *arg, uint32_t uid, uint64_t offset, uint64_t size_bytes)
{
	struct stream *stream = arg;
	(void)uid, (void)offset;
	stream->came = true;
	return body_is_hollow(stream->message, size_bytes) ? -EBADMSG : 0;
}

static void data(void *arg, const char *bytes, size_t len)
{
	struct stream *stream = arg;
	if (stream->err < 0)
		return;
	str_append(&stream->buf, bytes, len);
	stream->err = str_error(&stream->buf);
	if (stream->err == 0 && stream->buf.len >= CHUNK_BYTES)
		hand_on(stream, false);
}

static void end(void *arg, bool whole)
{
	struct stream *stream = arg;
	stream->whole = whole;
	if (whole && stream->err == 0)
		hand_on(stream, true);
}

static void answered(void *arg, int err)
{
	(void)arg, (void)err;
}

static int call(struct worker *worker, void *arg, struct source_error *error)
{
	struct stream *stream = arg;
	const struct source_bulk bulk = {stream, next, begin, data, end, answered};
	stream->start = 0;
	stream->asked = stream->came = stream->whole = false;
	stream->err = 0;
	str_reset(&stream->buf);
	return worker->account->source->ops->bulk(worker->session, &bulk, error);
}

int stream_message(struct sync_body *message, struct worker *worker)
{
	struct stream stream = {.message = message, .worker = worker};
	struct source_error error;
	if (!message->store || !worker->account->source->ops->bulk)
		return -ENODATA;
	int err =
		session_call(worker, message->folder, message->uidvalidity, call, &stream, &error);
	str_finish(&stream.buf);
	if (err < 0)
		return err;
	if (!stream.came || stream.err < 0)
		return -ENODATA;
	if (stream.whole)
		return 0;
	/* The server was of two minds about what it was. */
	(void)store_body_drop(message->store);
	return -EIO;
}

static int on_size(void *arg, const struct source_row *row)
{
	if (row->have & SOURCE_ROW_SIZE)
		*(uint64_t *)arg = row->size_bytes;
	return 0;
}

int stream_for_section(struct sync_body *body, struct worker *worker)
{
	uint64_t size = UINT64_MAX;
	struct sync_body *message;
	int err = store_row_get(
		body->folder->account->store, body->number, body->uid, on_size, &size);
	if (err == 0)
		err = sync_body_open(body->folder, body->uid, "", NULL, size, &message);
	if (err < 0)
		return err;
	err = message->number == body->number ? stream_message(message, worker) : -ENODATA;
	sync_body_close(message);
	return err;
}
