/* SPDX-License-Identifier: MIT */
/*
 * One client: bytes that come, lines that are requests, bytes that wait to be taken. While an answer waits nothing more is read, so
 * that a client that asks and does not listen costs one answer. What a watching client does not take is bounded (client_tell).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mailfs/util/clock.h"

#include "private.h"

#define CHUNK_BYTES 16384

void client_init(struct client *client, int fd)
{
	*client = (struct client){.fd = fd, .deadline_ms = clock_now_ms() + IDLE_MS};
}

void client_finish(struct client *client)
{
	close(client->fd);
	str_finish(&client->in);
	str_finish(&client->out);
	free(client->filter);
	*client = (struct client){.fd = -1};
}

static bool has_output(const struct client *client)
{
	return client->sent < client->out.len;
}

static bool listens(const struct client *client)
{
	return !client->ending && !client->silent && (client->watching || !has_output(client));
}

short client_interest(const struct client *client)
{
	return (short)((listens(client) ? POLLIN : 0) | (has_output(client) ? POLLOUT : 0));
}

void client_end(struct client *client)
{
	client->ending = true;
	client->deadline_ms = clock_now_ms() + LAST_WORDS_MS;
}

void client_bury(struct client *client)
{
	if (client->fd >= 0 && client->ending && !has_output(client))
		client_finish(client);
}

/* --- Output --- */

void client_send(struct client *client, json_t *object)
{
	if (answer_line(object, &client->out) < 0)
		client_end(client);
}

void client_overflow(struct client *client)
{
	client_send(client, json_pack("{s:s}", "event", "overflow"));
	client->watching = false;
	client_end(client);
}

void client_tell(struct client *client, const char *line, size_t len)
{
	if (client->out.len - client->sent + len > QUEUE_MAX_BYTES) {
		client_overflow(client);
		return;
	}
	str_append(&client->out, line, len);
	if (str_error(&client->out) < 0)
		client_end(client);
}

/* What was taken goes; the rest moves to the front once that is cheap. */
static void forget_sent(struct client *client)
{
	struct str *out = &client->out;
	if (client->sent == out->len)
		str_finish(out);
	else if (client->sent >= out->len / 2)
		memmove(out->data, out->data + client->sent, out->len - client->sent);
	else
		return;
	str_truncate(out, out->len - client->sent);
	client->sent = 0;
}

/* 0, or the client is gone. */
static int write_some(struct client *client)
{
	while (has_output(client)) {
		ssize_t n = send(client->fd, client->out.data + client->sent,
			client->out.len - client->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR ? 0 : -errno;
		client->sent += (size_t)n;
		if (!client->ending)
			client->deadline_ms = clock_now_ms() + IDLE_MS;
		forget_sent(client);
	}
	return 0;
}

/* --- Input --- */

static void refuse_line(struct client *client)
{
	client_send(client, json_pack("{s:b, s:s, s:s}", "ok", 0, "code", "E2BIG", "error",
				    "a request is one line of at most 64 KiB"));
	client_end(client);
}

/* Does what the next line asks for. false: there is no whole one. */
static bool run_line(struct control *control, struct client *client)
{
	struct str *in = &client->in;
	char *end = in->len > 0 ? memchr(in->data, '\n', in->len) : NULL;
	size_t len = end ? (size_t)(end - in->data) : in->len;
	if (client->ending || client->watching || (!end && len <= REQUEST_MAX_BYTES))
		return false;
	if (len > REQUEST_MAX_BYTES) {
		refuse_line(client);
		return true;
	}
	command_run(control, client, in->data, len);
	memmove(in->data, end + 1, in->len - len - 1);
	str_truncate(in, in->len - len - 1);
	return true;
}

/* 0, or the client is gone. One that only says nothing more still gets its answers. */
static int read_some(struct client *client)
{
	char chunk[CHUNK_BYTES];
	ssize_t n = recv(client->fd, chunk, sizeof(chunk), MSG_DONTWAIT);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0 && client->watching)
		return -EPIPE;
	client->silent = n == 0;
	client->deadline_ms = clock_now_ms() + IDLE_MS;
	if (!client->watching)
		str_append(&client->in, chunk, (size_t)n);
	return str_error(&client->in);
}

void client_serve(struct control *control, struct client *client, short revents)
{
	int r = revents & (POLLERR | POLLNVAL) ? -EPIPE : 0;
	if (r == 0 && listens(client) && revents & (POLLIN | POLLHUP))
		r = read_some(client);
	do
		r = r < 0 ? r : write_some(client);
	while (r == 0 && !has_output(client) && run_line(control, client));
	if (r < 0 || (!has_output(client) && (client->ending || client->silent)))
		client_finish(client);
}
