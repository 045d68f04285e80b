/* SPDX-License-Identifier: MIT */
/* The thread: waits for clients and for news, and lets in who may come. */
#include <errno.h>
#include <poll.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

#include "private.h"

#define TIRED_MS 100 /* no descriptor is left for who wants to come in */

void loop_wake(struct control *control)
{
	uint64_t one = 1;
	/* It fails only when the counter is full, and then it is awake. */
	ssize_t ignored = write(control->wake_fd, &one, sizeof(one));
	(void)ignored;
}

void loop_count_watchers(struct control *control)
{
	unsigned count = 0;
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		count += control->clients[i].watching ? 1 : 0;
	atomic_store(&control->watchers, count);
}

/* --- Who may come in --- */

static bool is_allowed(int fd)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       (peer.uid == geteuid() || peer.uid == 0);
}

/* One line, if it can be said at once. */
static void turn_away(int fd, const char *line)
{
	ssize_t ignored = send(fd, line, strlen(line), MSG_NOSIGNAL | MSG_DONTWAIT);
	(void)ignored;
	close(fd);
}

static struct client *free_client(struct control *control)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		if (control->clients[i].fd < 0)
			return &control->clients[i];
	return NULL;
}

static void welcome(struct control *control, int fd)
{
	struct client *client = free_client(control);
	if (!is_allowed(fd))
		turn_away(fd,
			"{\"ok\":false,\"code\":\"EACCES\",\"error\":\"only the user who mounted it, and root, may ask\"}\n");
	else if (!client)
		turn_away(fd,
			"{\"ok\":false,\"code\":\"EBUSY\",\"error\":\"too many ask at the same time; try again later\"}\n");
	else
		client_init(client, fd);
}

static void accept_all(struct control *control)
{
	for (unsigned i = 0; i < CLIENTS_MAX; i++) {
		int fd = accept4(control->place.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
		if (fd >= 0)
			welcome(control, fd);
		else if (errno != EINTR && errno != ECONNABORTED)
			break;
	}
	if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
		usleep(TIRED_MS * 1000);
}

/* --- The round --- */

/* A client that watches has all the time in the world, until it is to end. */
static bool is_timed(const struct client *client)
{
	return client->fd >= 0 && (!client->watching || client->ending);
}

static int64_t next_deadline(const struct control *control)
{
	int64_t next_ms = CLOCK_NEVER;
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		const struct client *client = &control->clients[i];
		if (is_timed(client) && client->deadline_ms < next_ms)
			next_ms = client->deadline_ms;
	}
	return next_ms;
}

/* Only who was asked and said nothing: while the disk kept this thread others may have said something in time. */
static void expire(struct client *client, short revents)
{
	if (is_timed(client) && revents == 0 && client->deadline_ms <= clock_now_ms())
		client_finish(client);
}

static void drain(int fd)
{
	uint64_t count;
	ssize_t ignored = read(fd, &count, sizeof(count));
	(void)ignored;
}

static void serve_all(struct control *control, const struct pollfd *fds)
{
	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		struct client *client = &control->clients[i];
		if (client->fd >= 0 && client->fd == fds[i].fd && fds[i].revents)
			client_serve(control, client, fds[i].revents);
		else if (client->fd >= 0 && client->fd == fds[i].fd)
			expire(client, fds[i].revents);
	}
}

static void round_once(struct control *control)
{
	struct pollfd fds[CLIENTS_MAX + 2];
	struct pollfd *door = &fds[CLIENTS_MAX], *bell = &fds[CLIENTS_MAX + 1];

	for (size_t i = 0; i < CLIENTS_MAX; i++) {
		const struct client *client = &control->clients[i];
		fds[i] = (struct pollfd){
			.fd = client->fd, .events = client->fd >= 0 ? client_interest(client) : 0};
	}
	*door = (struct pollfd){.fd = control->place.fd, .events = POLLIN};
	*bell = (struct pollfd){.fd = control->wake_fd, .events = POLLIN};
	if (poll(fds, CLIENTS_MAX + 2, clock_left_ms(next_deadline(control))) < 0)
		return;
	if (bell->revents)
		drain(control->wake_fd);
	if (atomic_load(&control->stopping))
		return;
	serve_all(control, fds);
	news_deliver(control);
	for (size_t i = 0; i < CLIENTS_MAX; i++)
		client_bury(&control->clients[i]);
	loop_count_watchers(control);
	if (door->revents)
		accept_all(control);
}

void *loop_main(void *arg)
{
	struct control *control = arg;
	while (!atomic_load(&control->stopping))
		round_once(control);
	return NULL;
}
