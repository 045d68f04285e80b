/* SPDX-License-Identifier: MIT */
/*
 * getaddrinfo() knows neither a deadline nor a cancel, so it runs in a thread of its own that nobody
 * waits for: whoever is last of the two, the thread or the asker, frees the request.
 */
#include "resolve.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/thread.h"

struct request {
	atomic_int refs;
	atomic_bool done; /* result and list may be read */
	int done_fd;      /* eventfd, readable once done */
	char *host;
	char port[8];
	int result; /* EAI_* or 0 */
	int sys_err;
	struct addrinfo *list;
};

static void request_unref(struct request *request)
{
	if (atomic_fetch_sub(&request->refs, 1) > 1)
		return;
	if (request->list)
		freeaddrinfo(request->list);
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
	snprintf(request->port, sizeof(request->port), "%u", (unsigned)params->port);
	if (request->done_fd < 0 || !request->host) {
		request_unref(request);
		return NULL;
	}
	return request;
}

static void look_up(struct request *request, int flags)
{
	struct addrinfo hints = {
		.ai_socktype = SOCK_STREAM,
		.ai_flags = AI_NUMERICSERV | flags,
	};
	request->result = getaddrinfo(request->host, request->port, &hints, &request->list);
	request->sys_err = errno;
}

static void *resolver(void *arg)
{
	struct request *request = arg;
	look_up(request, 0);
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

/* Addresses in figures are understood without asking anybody. */
static int run(struct net_stream *stream, struct request *request)
{
	look_up(request, AI_NUMERICHOST);
	if (request->result != EAI_NONAME)
		return 0;
	int r = start_resolver(request);
	while (r >= 0 && !request->done)
		r = net_stream_wait(stream, request->done_fd, POLLIN);
	return r < 0 ? r : 0;
}

static int look_up_fail(struct request *request, struct source_error *error)
{
	const char *host = request->host;
	switch (request->result) {
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
			request->result == EAI_SYSTEM ? strerror(request->sys_err)
						      : gai_strerror(request->result));
	}
}

int net_resolve(struct net_stream *stream, struct addrinfo **ret, struct source_error *error)
{
	_cleanup_(cleanup_request) struct request *request =
		request_create(&stream->context->params);
	if (!request)
		return net_fail(stream, -ENOMEM, error);
	int r = run(stream, request);
	if (r == -ETIMEDOUT)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_HOST, r, "%s: looking up the host name timed out",
			request->host);
	if (r < 0)
		return net_fail(stream, r, error);
	if (request->result != 0)
		return look_up_fail(request, error);
	*ret = steal_ptr(request->list);
	return 0;
}
