/* SPDX-License-Identifier: MIT */
/*
 * From a host name to a connected (and, for implicit TLS, secured) stream. Addresses are tried one after
 * the other in the resolver's order; each but the last gets its share of the time that is left, so that
 * an address which swallows packets does not keep the next from being tried.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "resolve.h"
#include "stream.h"

static void cleanup_stream(struct net_stream **stream)
{
	net_close(*stream);
}

static void set_options(int fd)
{
	const int on = 1;
	/* Commands are short and written whole: waiting for more of them only costs time. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
}

static int finish_connect(struct net_stream *stream, int fd)
{
	int r = net_stream_wait(stream, fd, POLLOUT);
	if (r < 0)
		return r;
	int err = 0;
	socklen_t len = sizeof(err);
	if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) < 0)
		return -errno;
	return -err;
}

static socklen_t fill_address(const struct net_address *address, struct sockaddr_storage *ret)
{
	struct sockaddr_in *v4 = (void *)ret;
	struct sockaddr_in6 *v6 = (void *)ret;
	*ret = (struct sockaddr_storage){.ss_family = address->family};
	if (address->family == AF_INET) {
		v4->sin_port = htons(address->port);
		memcpy(&v4->sin_addr, address->bytes, 4);
		return sizeof(*v4);
	}
	v6->sin6_port = htons(address->port);
	v6->sin6_scope_id = address->scope;
	memcpy(&v6->sin6_addr, address->bytes, 16);
	return sizeof(*v6);
}

static int connect_one(struct net_stream *stream, const struct net_address *address)
{
	struct sockaddr_storage to;
	int type = SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK;
	_cleanup_close_ int fd = socket(address->family, type, IPPROTO_TCP);
	if (fd < 0)
		return -errno;
	set_options(fd);
	socklen_t len = fill_address(address, &to);
	if (connect(fd, (struct sockaddr *)&to, len) < 0) {
		int r = errno == EINPROGRESS || errno == EINTR ? finish_connect(stream, fd)
		                                               : -errno;
		if (r < 0)
			return r;
	}
	stream->fd = steal_fd(&fd);
	return 0;
}

/* Of addresses that are left to try. */
static int64_t share_of_time(int64_t deadline_ms, uint32_t addresses)
{
	int left = clock_left_ms(deadline_ms);
	return left < 0 ? CLOCK_NEVER : clock_now_ms() + left / (int)addresses;
}

/* Of the failures of two addresses, the one to tell. IPv6 is often listed and can not be used at all. */
static int more_telling(int earlier, int later)
{
	switch (earlier) {
	case 0:
	case -ENETUNREACH:
	case -EHOSTUNREACH:
	case -EADDRNOTAVAIL:
	case -EAFNOSUPPORT:
		return later;
	default:
		return earlier;
	}
}

static int connect_any(struct net_stream *stream, const struct net_answer *answer)
{
	int64_t deadline_ms = stream->deadline_ms;
	int failure = 0;
	for (uint32_t i = 0; i < answer->count; i++) {
		uint32_t left = answer->count - i;
		stream->deadline_ms = left > 1 ? share_of_time(deadline_ms, left) : deadline_ms;
		int r = connect_one(stream, &answer->addresses[i]);
		stream->deadline_ms = deadline_ms;
		if (r == 0 || r == -ECANCELED)
			return r;
		failure = more_telling(failure, r);
	}
	return failure;
}

static int establish(struct net_stream *stream, struct source_error *error)
{
	struct net_answer answer;
	int r = net_resolve(stream, &answer, error);
	if (r < 0)
		return r;
	r = connect_any(stream, &answer);
	/* No server says so, but Landlock does, to a library that connects elsewhere in our name; rarely a firewall of this machine. */
	if (r == -EACCES || r == -EPERM)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_CONNECT, -EIO,
			"%s: this machine does not allow the connection; behind torsocks or proxychains it needs -o sandbox=off",
			stream->context->label);
	if (r < 0)
		return net_fail(stream, r, error);
	if (stream->context->params.tls == NET_TLS_IMPLICIT)
		return net_start_tls(stream, error);
	return 0;
}

void net_established(struct net_stream *stream)
{
	stream->connecting = false;
}

int net_connect(struct net_context *context, int64_t deadline_ms, struct net_stream **ret,
	struct source_error *error)
{
	_cleanup_(cleanup_stream) struct net_stream *stream =
		net_stream_create(context, -1, deadline_ms);
	if (!stream)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_OTHER, -ENOMEM, "%s: out of memory", context->label);
	stream->connecting = true;
	int r = establish(stream, error);
	if (r < 0)
		return r;
	*ret = steal_ptr(stream);
	return 0;
}
