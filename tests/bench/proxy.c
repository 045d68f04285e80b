/* SPDX-License-Identifier: MIT */
/*
 * A TCP proxy on loopback that adds a round-trip time and, if asked, a bandwidth, because tc netem is not to be had everywhere:
 *
 *     proxy TARGET-PORT RTT-MS [MBIT-PER-SECOND]
 *
 * The first line that it prints is the port it listens on. Each piece that arrives is passed on half a round trip later, in either
 * direction. The bandwidth is that of one line which all connections share, in each direction by itself: a token bucket says
 * how much may be read, so what does not fit stays with its sender, and the connections take turns. Only the handshake of TCP costs
 * no time.
 *
 * When a connection has ended it prints one line: the bytes that the client received and sent, and the round trips, which are the
 * times that the server spoke after the client had. Each line on its standard input is answered with a line "total …": the same of
 * all connections since the start. It ends with its standard input.
 *
 * One thread, ppoll(). A queue holds at most QUEUE_BYTES; then its source is left alone until there is room, as a full pipe would.
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
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS 64
#define PIECE_BYTES (256 << 10)
#define QUEUE_BYTES (64 << 20)
#define JOIN_US     100 /* what comes so soon after the last piece goes with it */
#define TURN_BYTES                                                                                 \
	8192 /* what a connection may read before the next one, on a line of limited bandwidth */
#define BURST_US 20000 /* what an idle line saves up; a loaded machine wakes us as late */

struct piece {
	struct piece *next;
	int64_t due_us;
	size_t len, done; /* len 0: the end of the stream */
	char data[PIECE_BYTES];
};

/* One direction of the line: how much may be read now. */
struct bucket {
	double tokens;
	int64_t filled_us;
};

/* What flows from one socket to the other. */
struct way {
	int from, to;
	struct bucket *line;
	struct piece *first, *last;
	size_t queued;
	uint64_t bytes;
	bool ended, closed; /* the source has ended; so has the sink been told */
	bool full;          /* the sink takes no more */
};

struct connection {
	bool used, asked; /* the client has spoken, and not heard anything since */
	unsigned round_trips;
	struct way up, down; /* from the client, to the client */
};

static struct connection connections[CONNECTIONS];
static struct piece
	*spare; /* pieces are used again: fresh memory costs more than what is done with it */
static struct bucket line_up, line_down;
static int64_t delay_us;
static double bytes_per_us; /* 0: no limit */
static struct {
	uint64_t received, sent;
	unsigned round_trips, connections;
} ended; /* by connections that are gone */

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
	c->up = (struct way){.from = client, .to = server, .line = &line_up};
	c->down = (struct way){.from = server, .to = client, .line = &line_down};
}

/* --- the line --- */

/* How many bytes may be read now. */
static size_t bucket_room(struct bucket *line)
{
	if (bytes_per_us == 0)
		return PIECE_BYTES;
	int64_t now = now_us();
	line->tokens += (double)(now - line->filled_us) * bytes_per_us;
	line->filled_us = now;
	double most = bytes_per_us * BURST_US + TURN_BYTES;
	if (line->tokens > most)
		line->tokens = most;
	return line->tokens < TURN_BYTES ? 0 : TURN_BYTES;
}

/* Microseconds until something may be read. */
static int64_t bucket_wait_us(const struct bucket *line)
{
	return (int64_t)((TURN_BYTES - line->tokens) / bytes_per_us) + 1;
}

/* --- pieces --- */

static struct piece *add_piece(struct way *way, int64_t due_us)
{
	struct piece *piece = spare ? spare : malloc(sizeof(*piece));
	if (!piece)
		die("malloc");
	if (spare)
		spare = spare->next;
	piece->next = NULL;
	piece->due_us = due_us;
	piece->len = piece->done = 0;
	if (way->first)
		way->last->next = piece;
	else
		way->first = piece;
	way->last = piece;
	return piece;
}

/* Appends to the last piece, if that is young and has room. */
static void enqueue(struct way *way, const char *data, size_t len)
{
	struct piece *piece = way->first ? way->last : NULL;
	int64_t due_us = now_us() + delay_us;
	if (!piece || PIECE_BYTES - piece->len < len || piece->due_us + JOIN_US < due_us)
		piece = add_piece(way, due_us);
	memcpy(piece->data + piece->len, data, len);
	piece->len += len;
	way->queued += len;
	way->bytes += len;
}

static void drop_first(struct way *way)
{
	struct piece *piece = way->first;
	way->first = piece->next;
	way->queued -= piece->len;
	piece->next = spare;
	spare = piece;
}

/* Reads what there is, and what the line lets through. true: something came. */
static bool way_read(struct way *way)
{
	static char buffer[PIECE_BYTES];
	size_t room = bucket_room(way->line);
	if (room == 0)
		return false;
	ssize_t n = read(way->from, buffer, room);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (n > 0) {
		way->line->tokens -= (double)n;
		enqueue(way, buffer, (size_t)n);
		return true;
	}
	way->ended = true;
	add_piece(way, now_us() + delay_us);
	return false;
}

/* Writes what is due; false: the sink is gone. */
static bool way_write(struct way *way)
{
	way->full = false;
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
		way->full = n < 0 && errno == EAGAIN;
		if (n < 0)
			return way->full || errno == EINTR;
		piece->done += (size_t)n;
		if (piece->done == piece->len)
			drop_first(way);
	}
	return true;
}

/* --- connections --- */

static void connection_end(struct connection *c)
{
	while (c->up.first)
		drop_first(&c->up);
	while (c->down.first)
		drop_first(&c->down);
	close(c->up.from);
	close(c->down.from);
	c->used = false;
	ended.received += c->down.bytes;
	ended.sent += c->up.bytes;
	ended.round_trips += c->round_trips;
	ended.connections++;
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

static void print_total(void)
{
	unsigned long long received = ended.received, sent = ended.sent;
	unsigned round_trips = ended.round_trips, count = ended.connections;
	for (struct connection *c = connections; c < connections + CONNECTIONS; c++) {
		if (!c->used)
			continue;
		received += c->down.bytes;
		sent += c->up.bytes;
		round_trips += c->round_trips;
		count++;
	}
	printf("total received=%llu sent=%llu round_trips=%u connections=%u\n", received, sent,
		round_trips, count);
	fflush(stdout);
}

/* Answers what was asked on the standard input; false: that has ended. */
static bool answer(void)
{
	char line[256];
	ssize_t n = read(STDIN_FILENO, line, sizeof(line));
	for (ssize_t i = 0; i < n; i++)
		if (line[i] == '\n')
			print_total();
	return n > 0;
}

/* What to poll a socket for: as a source, unless it has ended or nothing more may come of it, and as the other way's sink. */
static struct pollfd socket_poll(const struct way *way, const struct way *other)
{
	bool wanted = !way->ended && way->queued < QUEUE_BYTES && bucket_room(way->line) > 0;
	short events = (short)((wanted ? POLLIN : 0) | (other->full ? POLLOUT : 0));
	return (struct pollfd){.fd = events ? way->from : -1, .events = events};
}

/* When a way wants attention next, whatever its sockets do. */
static int64_t way_next_us(const struct way *way, int64_t now, int64_t next)
{
	if (way->first && !way->full && way->first->due_us < next)
		next = way->first->due_us;
	if (!way->ended && bytes_per_us > 0 && way->line->tokens < TURN_BYTES &&
		now + bucket_wait_us(way->line) < next)
		next = now + bucket_wait_us(way->line);
	return next;
}

static struct timespec wait_time(void)
{
	int64_t now = now_us(), next = now + 1000000;
	for (struct connection *c = connections; c < connections + CONNECTIONS; c++)
		if (c->used)
			next = way_next_us(&c->down, now, way_next_us(&c->up, now, next));
	int64_t wait = next > now ? next - now : 0;
	return (struct timespec){.tv_sec = wait / 1000000, .tv_nsec = wait % 1000000 * 1000};
}

static void serve(int listener, int target)
{
	struct pollfd fds[2 + 2 * CONNECTIONS] = {
		{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = listener, .events = POLLIN}};
	for (int turn = 0;; turn = (turn + 1) % CONNECTIONS) {
		for (int i = 0; i < CONNECTIONS; i++) {
			struct connection *c = &connections[i];
			fds[2 + 2 * i] = fds[3 + 2 * i] = (struct pollfd){.fd = -1};
			if (!c->used)
				continue;
			fds[2 + 2 * i] = socket_poll(&c->up, &c->down);
			fds[3 + 2 * i] = socket_poll(&c->down, &c->up);
		}
		struct timespec wait = wait_time();
		if (ppoll(fds, sizeof(fds) / sizeof(*fds), &wait, NULL) < 0 && errno != EINTR)
			die("ppoll");
		if (fds[0].revents && !answer())
			return;
		for (int n = 0; n < CONNECTIONS; n++) {
			int i = (turn + n) % CONNECTIONS;
			short up = fds[2 + 2 * i].revents, down = fds[3 + 2 * i].revents;
			if (connections[i].used)
				connection_move(&connections[i], up & ~POLLOUT, down & ~POLLOUT);
		}
		if (fds[1].revents)
			accept_one(listener, target);
	}
}

int main(int argc, char **argv)
{
	if (argc < 3) {
		fputs("usage: proxy TARGET-PORT RTT-MS [MBIT-PER-SECOND]\n", stderr);
		return 1;
	}
	delay_us = (int64_t)(strtod(argv[2], NULL) * 500);
	bytes_per_us = argc > 3 ? strtod(argv[3], NULL) / 8 : 0;
	prctl(PR_SET_TIMERSLACK, 1);
	serve(listen_anywhere(), atoi(argv[1]));
	return 0;
}
