/* SPDX-License-Identifier: MIT */
/*
 * A TCP proxy on loopback that adds a round-trip time, because tc netem is not to be had everywhere:
 *
 *     proxy TARGET-PORT RTT-MS
 *
 * The first line that it prints is the port it listens on. Each piece that arrives is passed on half a round trip later, in either
 * direction; the bandwidth is not limited. When a connection has ended it prints one line: the bytes that the client received and sent,
 * and the round trips, which are the times that the server spoke after the client had. It ends with its standard input.
 *
 * One thread, poll(). A queue holds at most QUEUE_BYTES; then its source is left alone until there is room, as a full pipe would.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 64
#define PIECE_BYTES 65536
#define QUEUE_BYTES (64 << 20)

struct piece {
	struct piece *next;
	int64_t due_us;
	size_t len, done; /* len 0: the end of the stream */
	char data[];
};

/* What flows from one socket to the other. */
struct way {
	int from, to;
	struct piece *first, **last;
	size_t queued;
	uint64_t bytes;
	bool ended, closed; /* the source has ended; so has the sink been told */
};

struct connection {
	bool used, asked; /* the client has spoken, and not heard anything since */
	unsigned round_trips;
	struct way up, down; /* from the client, to the client */
};

static struct connection connections[CONNECTIONS];
static int64_t delay_us;

static int64_t now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in loopback(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return address;
}

static int listen_anywhere(void)
{
	struct sockaddr_in address = loopback(0);
	socklen_t len = sizeof(address);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, len) < 0 || listen(fd, 64) < 0 ||
		getsockname(fd, (struct sockaddr *)&address, &len) < 0)
		die("listen");
	printf("%d\n", ntohs(address.sin_port));
	fflush(stdout);
	return fd;
}

static void prepare(int fd)
{
	int on = 1;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void way_init(struct way *way, int from, int to)
{
	*way = (struct way){.from = from, .to = to};
	way->last = &way->first;
}

static void accept_one(int listener, int target)
{
	struct sockaddr_in address = loopback(target);
	struct connection *c = connections;
	while (c < connections + CONNECTIONS && c->used)
		c++;
	int client = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (client < 0)
		return;
	int server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (c == connections + CONNECTIONS || server < 0 ||
		connect(server, (struct sockaddr *)&address, sizeof(address)) < 0) {
		close(client);
		close(server);
		return;
	}
	prepare(client);
	prepare(server);
	*c = (struct connection){.used = true};
	way_init(&c->up, client, server);
	way_init(&c->down, server, client);
}

static void enqueue(struct way *way, const char *data, size_t len)
{
	struct piece *piece = malloc(sizeof(*piece) + len);
	if (!piece)
		die("malloc");
	*piece = (struct piece){.due_us = now_us() + delay_us, .len = len};
	memcpy(piece->data, data, len);
	*way->last = piece;
	way->last = &piece->next;
	way->queued += len;
	way->bytes += len;
}

/* Reads what there is. true: something came. */
static bool way_read(struct way *way)
{
	static char buffer[PIECE_BYTES];
	ssize_t n = read(way->from, buffer, sizeof(buffer));
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n > 0) {
		enqueue(way, buffer, (size_t)n);
		return true;
	}
	way->ended = true;
	enqueue(way, buffer, 0);
	return false;
}

static void drop_first(struct way *way)
{
	struct piece *piece = way->first;
	way->first = piece->next;
	if (!way->first)
		way->last = &way->first;
	way->queued -= piece->len;
	free(piece);
}

/* Writes what is due; false: the sink is gone. */
static bool way_write(struct way *way)
{
	while (way->first && way->first->due_us <= now_us()) {
		struct piece *piece = way->first;
		if (piece->len == 0) {
			shutdown(way->to, SHUT_WR);
			way->closed = true;
			drop_first(way);
			continue;
		}
		ssize_t n = send(
			way->to, piece->data + piece->done, piece->len - piece->done, MSG_NOSIGNAL);
		if (n < 0)
			return errno == EAGAIN || errno == EINTR;
		piece->done += (size_t)n;
		if (piece->done == piece->len)
			drop_first(way);
	}
	return true;
}

static void connection_end(struct connection *c)
{
	while (c->up.first)
		drop_first(&c->up);
	while (c->down.first)
		drop_first(&c->down);
	close(c->up.from);
	close(c->down.from);
	c->used = false;
	printf("received=%llu sent=%llu round_trips=%u\n", (unsigned long long)c->down.bytes,
		(unsigned long long)c->up.bytes, c->round_trips);
	fflush(stdout);
}

static void connection_move(struct connection *c, bool up, bool down)
{
	if (up && !c->up.ended && way_read(&c->up))
		c->asked = true;
	if (down && !c->down.ended && way_read(&c->down)) {
		c->round_trips += c->asked;
		c->asked = false;
	}
	bool alive = way_write(&c->up) && way_write(&c->down);
	if (!alive || (c->up.closed && c->down.closed))
		connection_end(c);
}

/* What to poll a source for: nothing once it has ended or its queue is full. */
static struct pollfd source_poll(const struct way *way)
{
	bool wanted = !way->ended && way->queued < QUEUE_BYTES;
	return (struct pollfd){.fd = wanted ? way->from : -1, .events = POLLIN};
}

/* Milliseconds, rounded up, until the first piece is due; a sink that is full is tried again soon. */
static int wait_ms(void)
{
	int64_t now = now_us(), first = now + 1000000;
	for (struct connection *c = connections; c < connections + CONNECTIONS; c++) {
		if (!c->used)
			continue;
		if (c->up.first && c->up.first->due_us < first)
			first = c->up.first->due_us;
		if (c->down.first && c->down.first->due_us < first)
			first = c->down.first->due_us;
	}
	return first <= now ? 1 : (int)((first - now + 999) / 1000);
}

static void serve(int listener, int target)
{
	struct pollfd fds[2 + 2 * CONNECTIONS] = {{.fd = 0}, {.fd = listener, .events = POLLIN}};
	for (;;) {
		for (int i = 0; i < CONNECTIONS; i++) {
			struct connection *c = &connections[i];
			fds[2 + 2 * i] = c->used ? source_poll(&c->up) : (struct pollfd){.fd = -1};
			fds[3 + 2 * i] =
				c->used ? source_poll(&c->down) : (struct pollfd){.fd = -1};
		}
		if (poll(fds, sizeof(fds) / sizeof(*fds), wait_ms()) < 0 && errno != EINTR)
			die("poll");
		if (fds[0].revents)
			return;
		for (int i = 0; i < CONNECTIONS; i++)
			if (connections[i].used)
				connection_move(&connections[i], fds[2 + 2 * i].revents,
					fds[3 + 2 * i].revents);
		if (fds[1].revents)
			accept_one(listener, target);
	}
}

int main(int argc, char **argv)
{
	if (argc != 3) {
		fputs("usage: proxy TARGET-PORT RTT-MS\n", stderr);
		return 1;
	}
	delay_us = (int64_t)(strtod(argv[2], NULL) * 500);
	serve(listen_anywhere(), atoi(argv[1]));
	return 0;
}
