/* SPDX-License-Identifier: MIT */
/*
 * The limit that the wire sets: logs in over TLS, opens a folder, sends a FETCH and drops its answer as fast as it comes.
 *
 *     drain PORT CA-FILE USER PASSWORD FOLDER "(ITEMS)" [CONNECTIONS]
 *
 * The server is on loopback; the UIDs from 1 to UIDNEXT are split over the connections. Prints the seconds from the first command to
 * the end of the last answer, and the bytes of the answers.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define CONNECTIONS_MAX 16
#define LINE_BYTES      4096

struct drain {
	SSL *ssl;
	char command[LINE_BYTES];
	uint64_t bytes;
};

static void die(const char *what)
{
	fprintf(stderr, "drain: %s\n", what);
	ERR_print_errors_fp(stderr);
	exit(1);
}

static double now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int dial(int port)
{
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	return fd;
}

/* The certificate is verified, its host name is not: who measures knows whom it has started. */
static SSL *start_tls(int port, const char *ca)
{
	SSL_CTX *context = SSL_CTX_new(TLS_client_method());
	if (!context || SSL_CTX_load_verify_locations(context, ca, NULL) != 1)
		die(ca);
	SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
	SSL_CTX_set_read_ahead(context, 1);
	SSL_CTX_set_default_read_buffer_len(context, 256 << 10);
	SSL *ssl = SSL_new(context);
	if (!ssl || SSL_set_fd(ssl, dial(port)) != 1 || SSL_connect(ssl) != 1)
		die("TLS");
	return ssl;
}

/* Whether the last line of what came last is the tagged OK; anything else that is tagged so ends the program. */
static bool ended(const char *tail, size_t len)
{
	if (len < 2 || memcmp(tail + len - 2, "\r\n", 2) != 0)
		return false;
	size_t start = len - 2;
	while (start > 0 && tail[start - 1] != '\n')
		start--;
	if (len - start < 9 || memcmp(tail + start, "qz7Q", 4) != 0)
		return false;
	if (memcmp(tail + start, "qz7Q OK ", 8) != 0)
		die(tail + start);
	return true;
}

/* Sends a command and drops its answer, of which ret_first has the beginning, if wanted; the bytes of it. */
static uint64_t exchange(SSL *ssl, const char *command, char *ret_first, size_t first_size)
{
	char buffer[16384], line[LINE_BYTES + 16], tail[2 * LINE_BYTES + 1];
	size_t kept = 0, first = 0;
	uint64_t bytes = 0;
	int n = snprintf(line, sizeof(line), "qz7Q %s\r\n", command);
	if (SSL_write(ssl, line, n) != n)
		die("write");
	do {
		n = SSL_read(ssl, buffer, sizeof(buffer));
		if (n <= 0)
			die("the server hung up");
		bytes += (uint64_t)n;
		size_t add = (size_t)n < LINE_BYTES ? (size_t)n : LINE_BYTES;
		size_t old = kept < LINE_BYTES ? kept : LINE_BYTES;
		memmove(tail, tail + kept - old, old);
		memcpy(tail + old, buffer + n - add, add);
		kept = old + add;
		tail[kept] = '\0';
		for (int i = 0; ret_first && i < n && first + 1 < first_size; i++)
			ret_first[first++] = buffer[i];
	} while (!ended(tail, kept));
	if (ret_first)
		ret_first[first] = '\0';
	return bytes;
}

/* Logs in and opens the folder; its UIDNEXT. */
static uint32_t prepare(SSL *ssl, char **argv)
{
	char line[LINE_BYTES], answer[LINE_BYTES], password[200];
	size_t used = 0;
	for (const char *p = argv[4]; *p && used + 2 < sizeof(password); p++) {
		if (*p == '"' || *p == '\\')
			password[used++] = '\\';
		password[used++] = *p;
	}
	password[used] = '\0';
	if (SSL_read(ssl, line, sizeof(line)) <= 0)
		die("no greeting");
	snprintf(line, sizeof(line), "LOGIN %s \"%s\"", argv[3], password);
	exchange(ssl, line, NULL, 0);
	snprintf(line, sizeof(line), "EXAMINE %s", argv[5]);
	exchange(ssl, line, answer, sizeof(answer));
	const char *next = strstr(answer, "UIDNEXT ");
	if (!next)
		die("no UIDNEXT");
	return (uint32_t)strtoul(next + 8, NULL, 10);
}

static void *run(void *arg)
{
	struct drain *drain = arg;
	drain->bytes = exchange(drain->ssl, drain->command, NULL, 0);
	return NULL;
}

int main(int argc, char **argv)
{
	static struct drain drains[CONNECTIONS_MAX];
	pthread_t threads[CONNECTIONS_MAX];
	if (argc < 7) {
		fputs("usage: drain PORT CA-FILE USER PASSWORD FOLDER ITEMS [CONNECTIONS]\n",
			stderr);
		return 2;
	}
	unsigned count = argc > 7 ? (unsigned)atoi(argv[7]) : 1;
	if (count < 1 || count > CONNECTIONS_MAX)
		die("1 to 16 connections");
	for (unsigned i = 0; i < count; i++) {
		drains[i].ssl = start_tls(atoi(argv[1]), argv[2]);
		uint32_t uids = prepare(drains[i].ssl, argv) - 1;
		snprintf(drains[i].command, LINE_BYTES, "UID FETCH %u:%u %s", uids / count * i + 1,
			i + 1 == count ? uids : uids / count * (i + 1), argv[6]);
	}
	uint64_t bytes = 0;
	double begin = now();
	for (unsigned i = 0; i < count; i++)
		if (pthread_create(&threads[i], NULL, run, &drains[i]) != 0)
			die("pthread_create");
	for (unsigned i = 0; i < count; i++) {
		pthread_join(threads[i], NULL);
		bytes += drains[i].bytes;
	}
	printf("%.6f %llu\n", now() - begin, (unsigned long long)bytes);
	return 0;
}
