/* SPDX-License-Identifier: MIT */
/*
 * Bytes in and out, with a deadline and a cancel. The socket never blocks: all waiting is one poll() on
 * the socket and the eventfds of cancel and poke. The deadline is looked at before each step and not only in poll(),
 * so that a peer who sends one byte after the other can not keep an operation alive past it.
 *
 * A write that has to wait also reads, into the buffer: a server whose own sending is stuck would never
 * take our bytes (both sides writing is a deadlock).
 */
#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "deflate.h"
#include "tls.h"
#include "trust.h"

struct net_stream *net_stream_create(struct net_context *context, int fd, int64_t deadline_ms)
{
	_cleanup_close_ int cancel_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	_cleanup_close_ int poke_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct net_stream *stream =
		cancel_fd < 0 || poke_fd < 0 ? NULL : calloc(1, sizeof(*stream));
	if (!stream) {
		cleanup_close(&fd);
		return NULL;
	}
	stream->context = context;
	stream->fd = fd;
	stream->cancel_fd = steal_fd(&cancel_fd);
	stream->poke_fd = steal_fd(&poke_fd);
	stream->deadline_ms = deadline_ms;
	return stream;
}

void net_close(struct net_stream *stream)
{
	if (!stream)
		return;
	net_tls_finish(stream);
	net_deflate_finish(stream);
	net_verdict_finish(&stream->verdict);
	cleanup_close(&stream->fd);
	cleanup_close(&stream->cancel_fd);
	cleanup_close(&stream->poke_fd);
	free(stream->buffer);
	free(stream);
}

void net_set_deadline(struct net_stream *stream, int64_t deadline_ms)
{
	stream->deadline_ms = deadline_ms;
}

void net_on_arrival(struct net_stream *stream, void (*fn)(void *arg, size_t bytes), void *arg)
{
	stream->on_arrival = fn;
	stream->on_arrival_arg = arg;
}

void net_cancel(struct net_stream *stream)
{
	stream->cancelled = true;
	/* An eventfd whose counter is full is readable already. */
	(void)!eventfd_write(stream->cancel_fd, 1);
}

void net_poke(struct net_stream *stream)
{
	stream->poked = true;
	(void)!eventfd_write(stream->poke_fd, 1);
}

bool net_secured(const struct net_stream *stream)
{
	return stream->secured;
}

void net_traffic(const struct net_stream *stream, uint64_t *ret_in, uint64_t *ret_out)
{
	*ret_in = atomic_load_explicit(&stream->bytes_in, memory_order_relaxed);
	*ret_out = atomic_load_explicit(&stream->bytes_out, memory_order_relaxed);
}

void net_flow(const struct net_stream *stream, struct source_flow *ret)
{
	ret->content_bytes = atomic_load_explicit(&stream->content_bytes, memory_order_relaxed);
	ret->waited_us = atomic_load_explicit(&stream->waited_us, memory_order_relaxed);
	ret->deflated = stream->deflated;
}

/* --- Waiting --- */

int net_stream_check(const struct net_stream *stream)
{
	if (stream->cancelled || (stream->connecting && stream->context->cancelled))
		return -ECANCELED;
	return clock_left_ms(stream->deadline_ms) == 0 ? -ETIMEDOUT : 0;
}

int net_stream_wait(struct net_stream *stream, int fd, short events)
{
	struct pollfd fds[] = {
		{.fd = fd, .events = events},
		{.fd = stream->cancel_fd, .events = POLLIN},
		{.fd = stream->connecting ? stream->context->cancel_fd : -1, .events = POLLIN},
	};
	for (;;) {
		int r = net_stream_check(stream);
		if (r < 0)
			return r;
		r = poll(fds, 3, clock_left_ms(stream->deadline_ms));
		if (r < 0 && errno != EINTR)
			return -errno;
		if (r > 0 && fds[0].revents)
			return fds[0].revents;
	}
}

/* --- The socket --- */

ssize_t net_stream_recv(struct net_stream *stream, void *buf, size_t cap)
{
	ssize_t n;
	do
		n = recv(stream->fd, buf, cap, MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	atomic_fetch_add_explicit(&stream->bytes_in, (uint64_t)n, memory_order_relaxed);
	return n;
}

ssize_t net_stream_send(struct net_stream *stream, const void *data, size_t len)
{
	ssize_t n;
	do
		n = send(stream->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	atomic_fetch_add_explicit(&stream->bytes_out, (uint64_t)n, memory_order_relaxed);
	return n;
}

/* --- The wire: the socket, or TLS on it --- */

ssize_t net_stream_wire_read(struct net_stream *stream, void *buf, size_t cap, short *ret_events)
{
	if (stream->ssl)
		return net_tls_read(stream, buf, cap, ret_events);
	*ret_events = POLLIN;
	ssize_t n = net_stream_recv(stream, buf, cap);
	return n == 0 ? -ECONNRESET : n;
}

static ssize_t wire_write(
	struct net_stream *stream, const void *data, size_t len, short *ret_events)
{
	if (stream->ssl)
		return net_tls_write(stream, data, len, ret_events);
	*ret_events = POLLOUT;
	return net_stream_send(stream, data, len);
}

/* --- The transport: the wire, or deflate on it --- */

static ssize_t transport_read(struct net_stream *stream, void *buf, size_t cap, short *ret_events)
{
	ssize_t n = stream->deflate ? net_deflate_read(stream, buf, cap, ret_events)
	                            : net_stream_wire_read(stream, buf, cap, ret_events);
	if (n <= 0)
		return n;
	atomic_fetch_add_explicit(&stream->content_bytes, (uint64_t)n, memory_order_relaxed);
	if (stream->on_arrival)
		stream->on_arrival(stream->on_arrival_arg, (size_t)n);
	return n;
}

/* Waits for bytes to come, and counts for how long. */
static int transport_wait(struct net_stream *stream, short events)
{
	int64_t began_us = clock_now_us();
	int r = net_stream_wait(stream, stream->fd, events);
	atomic_fetch_add_explicit(
		&stream->waited_us, (uint64_t)(clock_now_us() - began_us), memory_order_relaxed);
	return r;
}

/* At least one byte from the transport, past the buffer. */
static ssize_t transport_wait_read(struct net_stream *stream, void *buf, size_t cap)
{
	for (;;) {
		int r = net_stream_check(stream);
		if (r < 0)
			return r;
		if (stream->broken)
			return stream->broken;
		short events = 0;
		ssize_t n = transport_read(stream, buf, cap, &events);
		if (n > 0)
			return n;
		if (n != -EAGAIN)
			return stream->broken = (int)n;
		r = events ? transport_wait(stream, events) : 0;
		if (r < 0)
			return r;
	}
}

/* --- The buffer --- */

/* Room for at least one byte at its end. -ENOBUFS when it is as large as it may get. */
static int buffer_make_room(struct net_stream *stream)
{
	size_t used = stream->buffer_end - stream->buffer_begin;
	if (stream->buffer_begin > 0) {
		memmove(stream->buffer, stream->buffer + stream->buffer_begin, used);
		stream->buffer_begin = 0;
		stream->buffer_end = used;
	}
	if (used < stream->buffer_cap)
		return 0;
	if (stream->buffer_cap >= STREAM_BUFFER_MAX_BYTES)
		return -ENOBUFS;
	size_t cap = stream->buffer_cap ? stream->buffer_cap * 2 : STREAM_BUFFER_BYTES;
	char *buffer = realloc(stream->buffer, cap);
	if (!buffer)
		return -ENOMEM;
	stream->buffer = buffer;
	stream->buffer_cap = cap;
	return 0;
}

/* What a stuck write made of the buffer is given back once it has been read. */
static void buffer_shrink(struct net_stream *stream)
{
	stream->buffer_begin = stream->buffer_end = 0;
	if (stream->buffer_cap == STREAM_BUFFER_BYTES)
		return;
	free(steal_ptr(stream->buffer));
	stream->buffer_cap = 0;
}

size_t net_buffered(const struct net_stream *stream)
{
	return stream->buffer_end - stream->buffer_begin;
}

bool net_line_buffered(const struct net_stream *stream)
{
	size_t len = net_buffered(stream);
	return len > 0 && memchr(stream->buffer + stream->buffer_begin, '\n', len);
}

static int buffer_fill(struct net_stream *stream)
{
	int r = buffer_make_room(stream);
	if (r < 0)
		return r;
	ssize_t n = transport_wait_read(stream, stream->buffer + stream->buffer_end,
		stream->buffer_cap - stream->buffer_end);
	if (n < 0)
		return (int)n;
	stream->buffer_end += (size_t)n;
	return 0;
}

/* What is in the buffer has come in time, and is read without the clock: a listing asks three times for each of its rows. */
int net_stream_peek(struct net_stream *stream, const char **ret_data, size_t *ret_len)
{
	int r = stream->cancelled ? -ECANCELED : 0;
	if (r == 0 && net_buffered(stream) == 0)
		r = buffer_fill(stream);
	if (r < 0)
		return r;
	*ret_data = stream->buffer + stream->buffer_begin;
	*ret_len = net_buffered(stream);
	return 0;
}

void net_stream_consume(struct net_stream *stream, size_t len)
{
	stream->buffer_begin += len;
	if (stream->buffer_begin == stream->buffer_end)
		buffer_shrink(stream);
}

/* --- Reading and writing --- */

ssize_t net_read(struct net_stream *stream, void *buf, size_t cap)
{
	if (stream->out_of_step)
		return -EPROTO;
	/* A large read spares the copy; a small one would cost a system call for a few bytes. */
	if (net_buffered(stream) == 0 && cap >= STREAM_BUFFER_BYTES / 4)
		return transport_wait_read(stream, buf, cap);
	const char *data;
	size_t len;
	int r = net_stream_peek(stream, &data, &len);
	if (r < 0)
		return r;
	if (len > cap)
		len = cap;
	memcpy(buf, data, len);
	net_stream_consume(stream, len);
	return (ssize_t)len;
}

/* Takes into the buffer what has arrived, if anything has. *ret_events: what to wait for if nothing has. */
static int buffer_arrived(struct net_stream *stream, short *ret_events)
{
	int r = buffer_make_room(stream);
	if (r < 0)
		return r == -ENOBUFS ? -EPROTO : r;
	ssize_t n = transport_read(stream, stream->buffer + stream->buffer_end,
		stream->buffer_cap - stream->buffer_end, ret_events);
	if (n < 0)
		return n == -EAGAIN ? 0 : (int)n;
	stream->buffer_end += (size_t)n;
	return 0;
}

static int wait_to_write(struct net_stream *stream, short events)
{
	int seen = net_stream_wait(stream, stream->fd, (short)(events | POLLIN));
	if (seen < 0 || seen & events)
		return seen < 0 ? seen : 0;
	return buffer_arrived(stream, &events);
}

/* One step: some bytes sent (> 0), waited (0), or an error. */
static ssize_t write_some(struct net_stream *stream, const void *data, size_t len)
{
	int r = net_stream_check(stream);
	if (r < 0)
		return r;
	short events = 0;
	ssize_t n = wire_write(stream, data, len, &events);
	return n == -EAGAIN ? wait_to_write(stream, events) : n;
}

int net_stream_wire_write(struct net_stream *stream, const void *data, size_t len)
{
	const char *next = data;
	while (len > 0) {
		ssize_t n = write_some(stream, next, len);
		/* Given up in the middle, so the peer would take what follows for the rest of it. */
		if (n < 0)
			return stream->broken = (int)n;
		next += n;
		len -= (size_t)n;
	}
	return 0;
}

int net_write(struct net_stream *stream, const void *data, size_t len)
{
	int r = stream->broken ? stream->broken : net_stream_check(stream);
	if (r < 0)
		return r;
	return stream->deflate ? net_deflate_write(stream, data, len)
	                       : net_stream_wire_write(stream, data, len);
}

/* --- Waiting for what the peer says by itself --- */

/* Whether somebody has poked since this was last asked. A poke of which only the flag was seen leaves its eventfd readable: once. */
static bool take_poke(struct net_stream *stream)
{
	eventfd_t count;
	if (!atomic_exchange(&stream->poked, false))
		return false;
	(void)!eventfd_read(stream->poke_fd, &count);
	return true;
}

static int wait_news(struct net_stream *stream, short events, int64_t until_ms)
{
	eventfd_t count;
	struct pollfd fds[] = {
		{.fd = stream->fd, .events = events},
		{.fd = stream->cancel_fd, .events = POLLIN},
		{.fd = stream->poke_fd, .events = POLLIN},
	};
	int r = poll(fds, 3, clock_left_ms(until_ms));
	if (r < 0 && errno != EINTR)
		return -errno;
	if (r > 0 && fds[2].revents)
		(void)!eventfd_read(stream->poke_fd, &count);
	return 0;
}

/* TLS and deflate may hold bytes that no poll() on the socket tells of: they are asked first, always. */
int net_wait(struct net_stream *stream, int64_t until_ms)
{
	if (stream->out_of_step)
		return -EPROTO;
	for (;;) {
		short events = POLLIN;
		if (stream->cancelled)
			return -ECANCELED;
		if (take_poke(stream) || clock_left_ms(until_ms) == 0)
			return 0;
		if (net_buffered(stream) > 0)
			return 1;
		int r = stream->broken ? stream->broken : buffer_arrived(stream, &events);
		if (r < 0)
			return stream->broken = r;
		if (net_buffered(stream) > 0)
			return 1;
		r = events ? wait_news(stream, events, until_ms) : 0;
		if (r < 0)
			return r;
	}
}
