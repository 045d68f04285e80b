/* SPDX-License-Identifier: MIT */
/*
 * How fast a folder can be pulled over one connection: by bulk() of the IMAP source, and by a client that only drains the socket
 * (OpenSSL and nothing else). Prints seconds, MB/s and the CPU seconds of this process.
 *
 *   bulk-drain bulk|pieces|drain HOST PORT USER PASSWORD MAILBOX [CA-FILE [MESSAGES-IN-A-SET]]
 *
 * Without a CA file there is no TLS. pieces: each message of over 1 MiB in pieces of 1 MiB, the others whole.
 */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "mailfs/imap.h"
#include "mailfs/util/clock.h"

#define PIECE_BYTES (1 << 20)

struct config {
	const char *how, *host, *port, *user, *password, *mailbox, *ca;
	size_t set;
};

static void fail(const char *what, const char *why)
{
	fprintf(stderr, "bulk-drain: %s: %s\n", what, why);
	exit(1);
}

static double now_s(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu_s(void)
{
	struct rusage use;
	getrusage(RUSAGE_SELF, &use);
	return (double)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) +
	       (double)(use.ru_utime.tv_usec + use.ru_stime.tv_usec) / 1e6;
}

static void report(const char *how, uint64_t bytes, double seconds, double cpu)
{
	struct rusage use;
	getrusage(RUSAGE_SELF, &use);
	printf("%-6s %8.3f s %8.1f MB/s  cpu %6.3f s  rss %ld KiB  %llu bytes\n", how, seconds,
		(double)bytes / 1e6 / seconds, cpu, use.ru_maxrss, (unsigned long long)bytes);
}

/* --- By bulk() --- */

struct drain {
	const struct config *config;
	uint32_t *uids;
	uint64_t *sizes;
	size_t count, next;
	uint64_t offset; /* in the message at next, of which pieces are asked for */
	uint64_t bytes, messages, lost;
};

static int take_row(void *arg, const struct source_row *row)
{
	struct drain *drain = arg;
	if (drain->count % 1024 == 0) {
		drain->uids = realloc(drain->uids, (drain->count + 1024) * sizeof(uint32_t));
		drain->sizes = realloc(drain->sizes, (drain->count + 1024) * sizeof(uint64_t));
		if (!drain->uids || !drain->sizes)
			fail("rows", "out of memory");
	}
	drain->uids[drain->count] = row->uid;
	drain->sizes[drain->count++] = row->size_bytes;
	return 0;
}

static bool is_piecewise(const struct drain *drain, size_t index)
{
	return strcmp(drain->config->how, "pieces") == 0 && drain->sizes[index] > PIECE_BYTES;
}

static bool next_set(void *arg, struct source_bulk_set *ret)
{
	struct drain *drain = arg;
	size_t from = drain->next;
	if (from == drain->count)
		return false;
	*ret = (struct source_bulk_set){
		.uids = drain->uids + from, .count = 1, .limit_bytes = UINT64_C(1) << 30};
	if (is_piecewise(drain, from)) {
		ret->offset = drain->offset;
		ret->length = PIECE_BYTES;
		drain->offset += PIECE_BYTES;
		if (drain->offset >= drain->sizes[from]) {
			drain->offset = 0;
			drain->next++;
		}
		return true;
	}
	while (drain->next < drain->count && drain->next - from < drain->config->set &&
		!is_piecewise(drain, drain->next))
		drain->next++;
	ret->count = drain->next - from;
	return true;
}

static int begin(void *arg, uint32_t uid, uint64_t offset, uint64_t size_bytes)
{
	struct drain *drain = arg;
	(void)uid;
	(void)offset;
	(void)size_bytes;
	drain->messages++;
	return 0;
}

static void data(void *arg, const char *bytes, size_t len)
{
	(void)bytes;
	((struct drain *)arg)->bytes += len;
}

static void end(void *arg, bool whole)
{
	((struct drain *)arg)->lost += !whole;
}

static void answered(void *arg, int err)
{
	(void)arg;
	if (err < 0)
		fail("a set", strerror(-err));
}

static void run_bulk(const struct config *config, struct source *source)
{
	struct drain drain = {.config = config};
	struct source_session *session;
	struct source_state state;
	struct source_error error;
	unsigned skipped;
	const struct source_bulk calls = {&drain, next_set, begin, data, end, answered, NULL};
	if (source->ops->connect(source, clock_now_ms() + 30000, &session, &error) < 0 ||
		source->ops->select(session, config->mailbox, true, NULL, &state, &error) < 0 ||
		source->ops->rows(session, 1, UINT32_MAX, SOURCE_COLUMNS_ALL, take_row, &drain,
			&skipped, &error) < 0)
		fail("listing", error.text);
	double cpu = cpu_s(), start = now_s();
	if (source->ops->bulk(session, &calls, &error) < 0)
		fail("bulk", error.text);
	report(config->how, drain.bytes, now_s() - start, cpu_s() - cpu);
	if (drain.lost > 0 || drain.messages < drain.count)
		fail("bulk", "not all came");
	source->ops->disconnect(session, true);
	free(drain.uids);
	free(drain.sizes);
}

static void use_source(const struct config *config)
{
	struct source_error error;
	struct net_context *net;
	struct source *source = NULL;
	struct net_params params = {.host = config->host,
		.port = (uint16_t)atoi(config->port),
		.tls = config->ca ? NET_TLS_IMPLICIT : NET_TLS_NONE,
		.ca_file = config->ca};
	if (net_context_create(&params, &net, &error) < 0)
		fail("context", error.text);
	struct secret *password = secret_create(config->password, strlen(config->password));
	struct imap_params imap = {.net = net, .user = config->user, .password = password};
	if (!password || imap_source_create(&imap, &source) < 0)
		fail("source", "out of memory");
	run_bulk(config, source);
	source->ops->destroy(source);
	secret_destroy(password);
	net_context_destroy(net);
}

/* --- By draining --- */

struct socket {
	int fd;
	SSL *ssl;
	char buffer[65536];
};

static size_t socket_read(struct socket *sock)
{
	long n = sock->ssl ? SSL_read(sock->ssl, sock->buffer, sizeof(sock->buffer))
	                   : recv(sock->fd, sock->buffer, sizeof(sock->buffer), 0);
	if (n <= 0)
		fail("drain", "the server hung up");
	return (size_t)n;
}

/* Sends a command and reads up to its answer, which is looked for at the end of what came. */
static uint64_t exchange(struct socket *sock, const char *tag, const char *command)
{
	char line[1000], want[20], tail[2048] = "\n";
	uint64_t bytes = 0;
	size_t kept = 1;
	int len = snprintf(line, sizeof(line), "%s %s\r\n", tag, command);
	snprintf(want, sizeof(want), "\n%s OK", tag);
	if ((sock->ssl ? SSL_write(sock->ssl, line, len) : send(sock->fd, line, (size_t)len, 0)) !=
		len)
		fail("drain", "can not write");
	for (;;) {
		size_t n = socket_read(sock), take = n < 1000 ? n : 1000;
		bytes += n;
		if (kept + take > sizeof(tail) - 1) {
			memmove(tail, tail + kept - 40, 40);
			kept = 40;
		}
		memcpy(tail + kept, sock->buffer + n - take, take);
		kept += take;
		const char *found = memmem(tail, kept, want, strlen(want));
		if (found && tail[kept - 1] == '\n' &&
			!memchr(found + 1, '\n', (size_t)(tail + kept - 1 - (found + 1))))
			return bytes;
	}
}

static void socket_secure(struct socket *sock, const struct config *config)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	if (!ctx || SSL_CTX_load_verify_locations(ctx, config->ca, NULL) != 1)
		fail("drain", "can not read the CA file");
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	sock->ssl = SSL_new(ctx);
	if (!sock->ssl || SSL_set_fd(sock->ssl, sock->fd) != 1 || SSL_connect(sock->ssl) != 1)
		fail("drain", "no TLS");
	SSL_CTX_free(ctx);
}

static void socket_open(struct socket *sock, const struct config *config)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	if (getaddrinfo(config->host, config->port, &hints, &found) != 0)
		fail("drain", "host unknown");
	sock->fd = socket(found->ai_family, SOCK_STREAM, 0);
	if (sock->fd < 0 || connect(sock->fd, found->ai_addr, found->ai_addrlen) < 0)
		fail("drain", strerror(errno));
	setsockopt(sock->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
	freeaddrinfo(found);
}

static void append_quoted(char *out, size_t cap, const char *text)
{
	size_t len = strlen(out);
	for (out[len++] = '"'; *text && len + 4 < cap; text++) {
		if (*text == '"' || *text == '\\')
			out[len++] = '\\';
		out[len++] = *text;
	}
	out[len++] = '"';
	out[len] = 0;
}

static void drain_socket(const struct config *config)
{
	static struct socket sock;
	char line[900] = "LOGIN ";
	socket_open(&sock, config);
	if (config->ca)
		socket_secure(&sock, config);
	socket_read(&sock); /* the greeting */
	append_quoted(line, sizeof(line), config->user);
	strcat(line, " ");
	append_quoted(line, sizeof(line), config->password);
	exchange(&sock, "a", line);
	strcpy(line, "EXAMINE ");
	append_quoted(line, sizeof(line), config->mailbox);
	exchange(&sock, "b", line);
	double cpu = cpu_s(), start = now_s();
	uint64_t bytes = exchange(&sock, "c", "UID FETCH 1:* (UID BODY.PEEK[])");
	report(config->how, bytes, now_s() - start, cpu_s() - cpu);
	SSL_free(sock.ssl);
	close(sock.fd);
}

int main(int argc, char **argv)
{
	if (argc < 7)
		fail("usage",
			"bulk|pieces|drain HOST PORT USER PASSWORD MAILBOX [CA-FILE|- [MESSAGES-IN-A-SET]]");
	struct config config = {argv[1], argv[2], argv[3], argv[4], argv[5], argv[6],
		argc > 7 && strcmp(argv[7], "-") != 0 ? argv[7] : NULL,
		argc > 8 ? (size_t)atoi(argv[8]) : 100};
	if (config.set == 0 || config.set > SOURCE_BULK_UIDS)
		fail("usage", "1 to 1000 messages in a set");
	if (strcmp(config.how, "drain") == 0)
		drain_socket(&config);
	else
		use_source(&config);
	return 0;
}
