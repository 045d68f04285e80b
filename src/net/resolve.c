/* SPDX-License-Identifier: MIT */
/*
 * getaddrinfo() knows neither a deadline nor a cancel, so it runs elsewhere: in another process, which whoever made the context can
 * reach, or else in a thread of its own that nobody waits for: whoever is last of the two, the thread or the asker, frees the request.
 */
#include "resolve.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/thread.h"

/* --- getaddrinfo() --- */

static bool take_address(const struct addrinfo *info, struct net_address *ret)
{
	const struct sockaddr_in *v4 = (const void *)info->ai_addr;
	const struct sockaddr_in6 *v6 = (const void *)info->ai_addr;
	*ret = (struct net_address){.family = (uint16_t)info->ai_family};
	switch (info->ai_family) {
	case AF_INET:
		ret->port = ntohs(v4->sin_port);
		memcpy(ret->bytes, &v4->sin_addr, 4);
		return true;
	case AF_INET6:
		ret->port = ntohs(v6->sin6_port);
		ret->scope = v6->sin6_scope_id;
		memcpy(ret->bytes, &v6->sin6_addr, 16);
		return true;
	default:
		return false;
	}
}

static void look_up(const char *host, uint16_t port, int flags, struct net_answer *ret)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | flags,
	};
	struct addrinfo *list = NULL;
	char service[8];
	*ret = (struct net_answer){0};
	snprintf(service, sizeof(service), "%u", (unsigned)port);
	ret->result = getaddrinfo(host, service, &hints, &list);
	ret->system_err = errno;
	if (ret->result != 0)
		return;
	for (const struct addrinfo *at = list; at && ret->count < NET_ADDRESSES_MAX;
		at = at->ai_next)
		if (take_address(at, &ret->addresses[ret->count]))
			ret->count++;
	freeaddrinfo(list);
	if (ret->count == 0)
		ret->result = EAI_NONAME;
}

void net_look_up(const char *host, uint16_t port, struct net_answer *ret)
{
	look_up(host, port, 0, ret);
}

/* --- In a thread --- */

struct request {
	atomic_int refs;
	atomic_bool done; /* answer may be read */
	int done_fd;      /* eventfd, readable once done */
	char *host;
	uint16_t port;
	struct net_answer answer;
};

static void request_unref(struct request *request)
{
	if (atomic_fetch_sub(&request->refs, 1) > 1)
		return;
	cleanup_close(&request->done_fd);
	free(request->host);
	free(request);
}

static void cleanup_request(struct request **request)
{
	if (*request)
		request_unref(*request);
}

static struct request *request_create(const struct net_params *params)
{
	struct request *request = calloc(1, sizeof(*request));
	if (!request)
		return NULL;
	request->refs = 1;
	request->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	request->host = strdup(params->host);
	request->port = params->port;
	if (request->done_fd < 0 || !request->host) {
		request_unref(request);
		return NULL;
	}
	return request;
}

static void *resolver(void *arg)
{
	struct request *request = arg;
	look_up(request->host, request->port, 0, &request->answer);
	request->done = true;
	(void)!eventfd_write(request->done_fd, 1);
	request_unref(request);
	return NULL;
}

static int start_resolver(struct request *request)
{
	pthread_t thread;
	atomic_fetch_add(&request->refs, 1);
	int r = thread_start(&thread, resolver, request);
	if (r < 0)
		request_unref(request);
	else
		pthread_detach(thread);
	return r;
}

static int ask_thread(struct net_stream *stream, struct net_answer *ret)
{
	_cleanup_(cleanup_request) struct request *request =
		request_create(&stream->context->params);
	if (!request)
		return -ENOMEM;
	int r = start_resolver(request);
	while (r >= 0 && !request->done)
		r = net_stream_wait(stream, request->done_fd, POLLIN);
	if (r >= 0)
		*ret = request->answer;
	return r < 0 ? r : 0;
}

/* --- In another process --- */

static bool is_sound(const struct net_answer *answer)
{
	if (answer->result != 0)
		return true;
	for (uint32_t i = 0; i < answer->count && i < NET_ADDRESSES_MAX; i++)
		if (answer->addresses[i].family != AF_INET &&
			answer->addresses[i].family != AF_INET6)
			return false;
	return answer->count > 0 && answer->count <= NET_ADDRESSES_MAX;
}

static int ask_process(struct net_stream *stream, struct net_answer *ret)
{
	const struct net_params *params = &stream->context->params;
	_cleanup_close_ int fd = params->resolve(params->resolve_arg, stream->deadline_ms);
	if (fd < 0)
		return fd;
	int r = net_stream_wait(stream, fd, POLLIN);
	if (r < 0)
		return r;
	if (read(fd, ret, sizeof(*ret)) == sizeof(*ret) && is_sound(ret))
		return 0;
	*ret = (struct net_answer){.result = EAI_SYSTEM, .system_err = EIO};
	return 0;
}

/* --- All of it --- */

/* Addresses in figures are understood without asking anybody; but for those with a zone, whose name the kernel must be asked about. */
static int run(struct net_stream *stream, struct net_answer *ret)
{
	const struct net_params *params = &stream->context->params;
	*ret = (struct net_answer){.result = EAI_NONAME};
	if (!params->resolve || !strchr(params->host, '%'))
		look_up(params->host, params->port, AI_NUMERICHOST, ret);
	if (ret->result != EAI_NONAME)
		return 0;
	return params->resolve ? ask_process(stream, ret) : ask_thread(stream, ret);
}

static int look_up_fail(
	const char *host, const struct net_answer *answer, struct source_error *error)
{
	switch (answer->result) {
	case EAI_NONAME:
	case EAI_NODATA:
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_HOST, -EIO, "%s: host name unknown", host);
	case EAI_MEMORY:
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_OTHER, -ENOMEM, "%s: out of memory", host);
	default:
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_HOST, -EIO, "%s: host name unknown (%s)", host,
			answer->result == EAI_SYSTEM ? strerror(answer->system_err)
						     : gai_strerror(answer->result));
	}
}

int net_resolve(struct net_stream *stream, struct net_answer *ret, struct source_error *error)
{
	const char *host = stream->context->params.host;
	int r = run(stream, ret);
	if (r == -ETIMEDOUT)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_HOST, r, "%s: looking up the host name timed out", host);
	/* Not the server's end, nor one that is made good by trying again. */
	if (r == -EPIPE)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_HOST, -EIO,
			"%s: the helper, which looks up host names, has ended: unmount, and mount again",
			host);
	if (r < 0)
		return net_fail(stream, r, error);
	return ret->result == 0 ? 0 : look_up_fail(host, ret, error);
}
