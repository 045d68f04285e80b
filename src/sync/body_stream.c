/* SPDX-License-Identifier: MIT */
/*
 * A whole message as it comes, into the store and to those who wait for it: for servers whose ranges are wrong, so that they do not cost memory. A part
 * that is too large to be held is then cut out of its message (carve.c). Where the store does not take it, a window of it is held, from where somebody
 * reads: a message of some windows comes that many times, but can be read.
 */
#include <errno.h>

#include "body.h"
#include "mailfs/util/log.h"

#define CHUNK_BYTES  ((size_t)256 << 10)
#define WINDOW_BYTES ((size_t)4 << 20)
/* More than any server takes; one that sends on and on is left. */
#define MESSAGE_MAX (UINT64_C(1) << 30)

/* A call. All of it belongs to the worker's thread. */
struct stream {
	struct sync_body *message;
	struct worker *worker;
	struct str buf;
	uint64_t start; /* where buf begins */
	bool asked, came, whole;
	bool ended;  /* end() said whether it is */
	bool broken; /* the server was of two minds about what it was */
	int err;     /* nothing more is taken */
	int unkept;  /* why the store did not take it */
	bool window; /* nothing is given to the store: buf is to begin at from */
	bool handed; /* and was handed out */
	uint64_t from, came_bytes;
};

static void hand_on(struct stream *stream, bool last)
{
	struct sync_body *message = stream->message;
	struct str *buf = &stream->buf;
	uint64_t end = stream->start + buf->len;
	if (buf->len > 0)
		stream->err = body_write(message, buf, stream->start);
	stream->unkept = stream->err;
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

/* last: all of the message has come. */
static void hand_window(struct stream *stream, bool last)
{
	struct sync_body *message = stream->message;
	uint64_t end = stream->came_bytes;
	if (last)
		body_settle_size(message, end);
	if (!stream->handed)
		body_deliver(message, &stream->buf, stream->from, last ? end : UINT64_MAX, last,
			true, &stream->worker->done);
	else if (last)
		body_deliver(message, &stream->buf, end, end, true, false, &stream->worker->done);
	waiter_wake_all(&stream->worker->done);
	stream->handed = true;
	str_reset(&stream->buf);
}

static void take_into_window(struct stream *stream, const char *bytes, size_t len)
{
	uint64_t pos = stream->came_bytes;
	stream->came_bytes += len;
	if (stream->handed || stream->came_bytes <= stream->from)
		return;
	size_t before = pos < stream->from ? (size_t)(stream->from - pos) : 0;
	size_t room = WINDOW_BYTES - stream->buf.len;
	str_append(&stream->buf, bytes + before, len - before < room ? len - before : room);
	stream->err = str_error(&stream->buf);
	if (stream->err == 0 && stream->buf.len == WINDOW_BYTES)
		hand_window(stream, false);
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
	if (stream->window) {
		take_into_window(stream, bytes, len);
		return;
	}
	str_append(&stream->buf, bytes, len);
	stream->err = str_error(&stream->buf);
	if (stream->err == 0 && stream->buf.len >= CHUNK_BYTES)
		hand_on(stream, false);
}

static void end(void *arg, bool whole)
{
	struct stream *stream = arg;
	stream->whole = whole;
	stream->ended = true;
}

static void answered(void *arg, int err)
{
	struct stream *stream = arg;
	/* A refusal may be for now. */
	if (err == 0 && !stream->came)
		stream->message->unstreamed = true;
	stream->whole = stream->whole && err == 0;
}

static void again(void *arg, uint32_t uid, uint64_t offset)
{
	struct stream *stream = arg;
	(void)uid, (void)offset;
	stream->whole = false;
}

/* The server has said OK: no reader comes to the end of a message before. */
static void hand_last(struct stream *stream)
{
	if (!stream->whole || stream->err < 0)
		return;
	if (stream->window)
		hand_window(stream, true);
	else
		hand_on(stream, true);
}

static int call(struct worker *worker, void *arg, struct source_error *error)
{
	struct stream *stream = arg;
	const struct source_bulk bulk = {stream, next, begin, data, end, answered, again};
	stream->start = stream->came_bytes = 0;
	stream->asked = stream->came = stream->whole = stream->handed = stream->ended = false;
	stream->err = stream->unkept = 0;
	str_reset(&stream->buf);
	return worker->account->source->ops->bulk(worker->session, &bulk, error);
}

static int run(struct stream *stream)
{
	struct sync_body *message = stream->message;
	struct source_error error;
	if (!stream->worker->account->source->ops->bulk || message->unstreamed)
		return -ENODATA;
	int err = session_call(
		stream->worker, message->folder, message->uidvalidity, call, stream, &error);
	if (err == 0)
		hand_last(stream);
	if (err == 0 && stream->err == -ENOMEM && stream->unkept == 0)
		return -ENOMEM;
	if (err == 0 && (!stream->came || stream->err < 0))
		err = -ENODATA;
	/* Also where the server could not be understood any more: but not where the connection was cut. */
	stream->broken = (err == 0 || stream->ended) && !stream->whole;
	return stream->broken && err == 0 ? -EIO : err;
}

int stream_message(struct sync_body *message, struct worker *worker, int *ret_unkept)
{
	struct stream stream = {.message = message, .worker = worker};
	if (!message->store)
		return -ENODATA;
	int err = run(&stream);
	str_finish(&stream.buf);
	if (stream.unkept < 0)
		*ret_unkept = stream.unkept;
	if (stream.broken && stream.start > 0)
		body_refute(message);
	return err;
}

int stream_unkept(struct sync_body *message, struct worker *worker, uint64_t from)
{
	struct stream stream = {.message = message, .worker = worker, .window = true, .from = from};
	int err = run(&stream);
	if (stream.broken && stream.handed)
		body_refute(message);
	str_finish(&stream.buf);
	return err;
}

int stream_for_section(struct sync_body *body, struct worker *worker)
{
	struct sync_body *message;
	int err = body_open_message(body->folder, body->number, body->uid, &message);
	if (err < 0)
		return err;
	int unkept = 0;
	err = stream_message(message, worker, &unkept);
	sync_body_close(message);
	return err;
}
