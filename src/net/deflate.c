/* SPDX-License-Identifier: MIT */
/*
 * COMPRESS=DEFLATE by zlib: raw deflate both ways. What arrives is inflated straight into the buffer of who reads, no further than that
 * has room, so memory is the two windows however much the peer lets a few bytes grow to. What does not fit stays in zlib: it is asked before
 * the wire, always. One piece is taken from the wire at a time, so that the clock is looked at between two, also where a peer
 * sends blocks without content for ever.
 *
 * It begins after the login, so that no password is ever deflated beside anything that others chose.
 */
#include "deflate.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#define ZLIB_CONST /* what is to be deflated stays as it is */
#include <zlib.h>

#include "mailfs/util/cleanup.h"

#define WINDOW_BITS (-15) /* negative: without a header, as RFC 4978 wants it */
/* What is sent is commands, short and soon flushed: the fast way, with small tables. */
#define MEMORY_LEVEL 5
#define OUTPUT_BYTES 8192

struct net_deflate {
	z_stream in, out;
	char *input; /* what came from the wire; the part that is not inflated yet is in.next_in */
	size_t input_cap;
	const char *reason; /* nothing comes any more, and why */
	int err;
	unsigned char output[OUTPUT_BYTES];
};

static struct net_deflate *deflate_create(void)
{
	struct net_deflate *deflate = calloc(1, sizeof(*deflate));
	if (!deflate)
		return NULL;
	if (inflateInit2(&deflate->in, WINDOW_BITS) != Z_OK) {
		free(deflate);
		return NULL;
	}
	if (deflateInit2(&deflate->out, Z_BEST_SPEED, Z_DEFLATED, WINDOW_BITS, MEMORY_LEVEL,
		    Z_DEFAULT_STRATEGY) != Z_OK) {
		inflateEnd(&deflate->in);
		free(deflate);
		return NULL;
	}
	return deflate;
}

void net_deflate_finish(struct net_stream *stream)
{
	struct net_deflate *deflate = steal_ptr(stream->deflate);
	if (!deflate)
		return;
	inflateEnd(&deflate->in);
	deflateEnd(&deflate->out);
	free(deflate->input);
	free(deflate);
}

/* What was received already is the beginning of the deflated stream: the buffer becomes the input as it is. */
static void take_buffer(struct net_stream *stream, struct net_deflate *deflate)
{
	deflate->input = steal_ptr(stream->buffer);
	deflate->input_cap = stream->buffer_cap;
	deflate->in.next_in = (unsigned char *)deflate->input + stream->buffer_begin;
	deflate->in.avail_in = (unsigned)net_buffered(stream);
	stream->buffer_begin = stream->buffer_end = stream->buffer_cap = 0;
}

int net_start_deflate(struct net_stream *stream)
{
	assert(!stream->deflate);
	struct net_deflate *deflate = deflate_create();
	if (!deflate)
		return stream->broken = -ENOMEM;
	stream->deflate = deflate;
	stream->deflated = true;
	if (stream->buffer) {
		take_buffer(stream, deflate);
		return 0;
	}
	deflate->input = malloc(STREAM_BUFFER_BYTES);
	deflate->input_cap = STREAM_BUFFER_BYTES;
	return deflate->input ? 0 : (stream->broken = -ENOMEM);
}

const char *net_deflate_reason(const struct net_stream *stream)
{
	return stream->deflate ? stream->deflate->reason : NULL;
}

/* --- In --- */

static void deflate_end(struct net_deflate *deflate, int err, const char *reason)
{
	deflate->err = err;
	deflate->reason = reason;
}

static void note_result(struct net_deflate *deflate, int result)
{
	if (result == Z_OK || result == Z_BUF_ERROR)
		return;
	if (result == Z_STREAM_END)
		deflate_end(deflate, -ECONNRESET, "the server ended the compressed stream");
	else if (result == Z_MEM_ERROR)
		deflate_end(deflate, -ENOMEM, "out of memory");
	else
		deflate_end(deflate, -EPROTO, "what the server sent is not compressed as agreed");
}

/* What can be had without the wire: some bytes, 0, or the end. What came before the end is given before it; before damage nothing counts. */
static ssize_t inflate_some(struct net_deflate *deflate, void *buf, size_t cap)
{
	unsigned room = cap < INT_MAX ? (unsigned)cap : INT_MAX;
	if (deflate->err < 0)
		return deflate->err;
	deflate->in.next_out = buf;
	deflate->in.avail_out = room;
	note_result(deflate, inflate(&deflate->in, Z_SYNC_FLUSH));
	size_t got = room - deflate->in.avail_out;
	return got > 0 && deflate->err != -EPROTO ? (ssize_t)got : deflate->err;
}

ssize_t net_deflate_read(struct net_stream *stream, void *buf, size_t cap, short *ret_events)
{
	struct net_deflate *deflate = stream->deflate;
	ssize_t n = inflate_some(deflate, buf, cap);
	if (n != 0)
		return n;
	n = net_stream_wire_read(stream, deflate->input, deflate->input_cap, ret_events);
	if (n < 0)
		return n;
	deflate->in.next_in = (unsigned char *)deflate->input;
	deflate->in.avail_in = (unsigned)n;
	n = inflate_some(deflate, buf, cap);
	if (n != 0)
		return n;
	*ret_events = 0;
	return -EAGAIN;
}

/* --- Out --- */

static int write_piece(struct net_stream *stream, const void *data, unsigned len)
{
	struct net_deflate *own = stream->deflate;
	z_stream *out = &own->out;
	out->next_in = data;
	out->avail_in = len;
	do {
		out->next_out = own->output;
		out->avail_out = OUTPUT_BYTES;
		if (deflate(out, Z_SYNC_FLUSH) == Z_STREAM_ERROR)
			return stream->broken = -EIO;
		int r = net_stream_wire_write(stream, own->output, OUTPUT_BYTES - out->avail_out);
		if (r < 0)
			return r;
	} while (out->avail_out == 0);
	return 0;
}

int net_deflate_write(struct net_stream *stream, const void *data, size_t len)
{
	const char *next = data;
	while (len > 0) {
		unsigned piece = len < INT_MAX ? (unsigned)len : INT_MAX;
		int r = write_piece(stream, next, piece);
		if (r < 0)
			return r;
		next += piece;
		len -= piece;
	}
	return 0;
}
