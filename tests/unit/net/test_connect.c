/* SPDX-License-Identifier: MIT */
/* From a name to a connection: what is said when there is none, several addresses, slow resolvers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <semaphore.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mailfs/util/clock.h"
#include "names.h"
#include "peer.h"
#include "stream.h"

static sem_t resolver_may_end;
static atomic_int hung_resolvers_ended;

/* No assertions in these two: they run in the resolver's thread. */
static int two_addresses(const char *first, const char *second, const char *service,
	const struct addrinfo *hints, struct addrinfo **ret)
{
	struct addrinfo *list = NULL, *rest = NULL;
	int r = __real_getaddrinfo(first, service, hints, &list);
	if (r == 0)
		r = __real_getaddrinfo(second, service, hints, &rest);
	if (r != 0)
		return r;
	list->ai_next = rest;
	*ret = list;
	return 0;
}

int __wrap_getaddrinfo(
	const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
	if (hints->ai_flags & AI_NUMERICHOST)
		return __real_getaddrinfo(node, service, hints, ret);
	if (strcmp(node, "one.example") == 0)
		return __real_getaddrinfo("127.0.0.1", service, hints, ret);
	if (strcmp(node, "two.example") == 0)
		return two_addresses("127.0.0.3", "127.0.0.2", service, hints, ret);
	if (strcmp(node, "no-route.example") == 0)
		return two_addresses("127.0.0.3", "255.255.255.255", service, hints, ret);
	if (strcmp(node, "later.example") == 0)
		return EAI_AGAIN;
	if (strcmp(node, "hung.example") == 0) {
		sem_wait(&resolver_may_end);
		int r = __real_getaddrinfo("127.0.0.1", service, hints, ret);
		hung_resolvers_ended++;
		return r;
	}
	return EAI_NONAME;
}

static atomic_int connect_errno; /* 0: what the kernel says */

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len);
int __real_connect(int fd, const struct sockaddr *address, socklen_t len);

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t len)
{
	if (connect_errno == 0)
		return __real_connect(fd, address, len);
	errno = connect_errno;
	return -1;
}

static struct net_context *context_for(const char *host, uint16_t port)
{
	struct net_params params = {.host = host, .port = port, .tls = NET_TLS_NONE};
	struct net_context *context = NULL;
	struct source_error error;
	assert_int_equal(net_context_create(&params, &context, &error), 0);
	return context;
}

/* A connect that has to fail; the text that is expected begins with the host. */
static int connect_fails(
	const char *host, uint16_t port, int64_t patience_ms, struct source_error *error)
{
	struct net_context *context = context_for(host, port);
	struct net_stream *stream = NULL;
	int r = net_connect(context, clock_now_ms() + patience_ms, &stream, error);
	assert_true(r < 0);
	assert_null(stream);
	assert_int_equal(error->scope, SOURCE_SCOPE_ACCOUNT);
	net_context_destroy(context);
	return r;
}

static uint16_t unused_port(void)
{
	struct peer peer;
	peer_start(&peer, NULL, 0, peer_drain, NULL);
	peer_stop(&peer);
	return peer.port;
}

static void refused(void **state)
{
	(void)state;
	_cleanup_str_ struct str expected = STR_INIT;
	struct source_error error;
	uint16_t port = unused_port();
	assert_int_equal(connect_fails("127.0.0.1", port, 5000, &error), -ECONNREFUSED);
	assert_int_equal(error.cause, SOURCE_CAUSE_CONNECT);
	assert_int_equal(error.err, -EIO);
	str_printf(&expected, "127.0.0.1:%u: connection refused", port);
	assert_string_equal(error.text, expected.data);
}

/* By the sandbox, as torsocks sees it, or by a firewall: it is not the server. */
static void not_allowed(void **state)
{
	static const int errnos[] = {EACCES, EPERM};
	(void)state;
	for (size_t i = 0; i < 2; i++) {
		struct source_error error;
		connect_errno = errnos[i];
		int r = connect_fails("one.example", 993, 5000, &error);
		connect_errno = 0;
		assert_int_equal(r, -EIO);
		assert_int_equal(error.cause, SOURCE_CAUSE_CONNECT);
		assert_string_equal(error.text,
			"one.example:993: this machine does not allow the connection; behind torsocks or proxychains it needs -o sandbox=off");
	}
}

static void unknown_host(void **state)
{
	(void)state;
	struct source_error error;
	assert_int_equal(connect_fails("nobody.example", 993, 5000, &error), -EIO);
	assert_int_equal(error.cause, SOURCE_CAUSE_HOST);
	assert_string_equal(error.text, "nobody.example: host name unknown");
	assert_int_equal(connect_fails("later.example", 993, 5000, &error), -EIO);
	assert_int_equal(error.cause, SOURCE_CAUSE_HOST);
	assert_non_null(strstr(error.text, "later.example: host name unknown ("));
}

static int resolver_has_ended(void *arg, int64_t deadline_ms)
{
	(void)arg;
	(void)deadline_ms;
	return -EPIPE;
}

/* The process that looks up names: its end is not the server's. */
static void resolver_is_gone(void **state)
{
	(void)state;
	struct net_params params = {.host = "mail.example",
		.port = 993,
		.tls = NET_TLS_NONE,
		.resolve = resolver_has_ended};
	struct net_context *context = NULL;
	struct net_stream *stream = NULL;
	struct source_error error = {0};
	assert_int_equal(net_context_create(&params, &context, &error), 0);
	assert_int_equal(net_connect(context, clock_now_ms() + 5000, &stream, &error), -EIO);
	assert_null(stream);
	assert_int_equal(error.cause, SOURCE_CAUSE_HOST);
	assert_int_equal(error.retry, SOURCE_RETRY_LATER);
	assert_string_equal(error.text,
		"mail.example: the helper, which looks up host names, has ended: unmount, and mount again");
	net_context_destroy(context);
}

static void wait_for_resolvers(int count)
{
	for (int i = 0; i < count; i++)
		sem_post(&resolver_may_end);
	while (hung_resolvers_ended < count)
		usleep(1000);
	hung_resolvers_ended = 0;
	usleep(20000); /* its thread drops the last reference after that */
}

static void hung_resolver_meets_the_deadline(void **state)
{
	(void)state;
	struct source_error error;
	int64_t start = clock_now_ms();
	assert_int_equal(connect_fails("hung.example", 993, 100, &error), -ETIMEDOUT);
	assert_true(clock_now_ms() - start >= 99 && clock_now_ms() - start < 1500);
	assert_int_equal(error.cause, SOURCE_CAUSE_HOST);
	assert_string_equal(error.text, "hung.example: looking up the host name timed out");
	wait_for_resolvers(1);
}

static void *cancel_soon(void *context)
{
	usleep(100000);
	net_context_cancel(context);
	return NULL;
}

static void cancel_ends_a_connect(void **state)
{
	(void)state;
	struct net_context *context = context_for("hung.example", 993);
	struct net_stream *stream = NULL;
	struct source_error error;
	pthread_t thread;
	int64_t start = clock_now_ms();
	pthread_create(&thread, NULL, cancel_soon, context);
	assert_int_equal(net_connect(context, CLOCK_NEVER, &stream, &error), -ECANCELED);
	assert_true(clock_now_ms() - start < 1500);
	assert_int_equal(error.scope, SOURCE_SCOPE_CANCELLED);
	pthread_join(thread, NULL);
	/* And every later one. */
	assert_int_equal(net_connect(context, CLOCK_NEVER, &stream, &error), -ECANCELED);
	assert_null(stream);
	net_context_destroy(context);
	wait_for_resolvers(2);
}

/* A server that falls silent at the login does not keep anybody. */
static void cancel_ends_a_login(void **state)
{
	(void)state;
	struct peer peer;
	pthread_t thread;
	char byte;
	peer_start(&peer, NULL, 0, peer_drain, NULL);
	struct net_context *context = context_for("one.example", peer.port);
	struct net_stream *stream;
	struct source_error error;
	assert_int_equal(net_connect(context, CLOCK_NEVER, &stream, &error), 0);
	pthread_create(&thread, NULL, cancel_soon, context);
	assert_int_equal(net_read(stream, &byte, 1), -ECANCELED);
	pthread_join(thread, NULL);
	net_close(stream);
	net_context_destroy(context);
	peer_stop(&peer);
}

static void cancel_leaves_connections_alone(void **state)
{
	(void)state;
	struct peer peer;
	peer_start(&peer, NULL, 0, peer_drain, NULL);
	struct net_context *context = context_for("one.example", peer.port);
	struct net_stream *stream;
	struct source_error error;
	assert_int_equal(net_connect(context, clock_now_ms() + 5000, &stream, &error), 0);
	net_established(stream);
	net_context_cancel(context);
	assert_int_equal(net_write(stream, "x", 1), 0);
	net_close(stream);
	net_context_destroy(context);
	peer_stop(&peer);
}

static void socket_options(void **state)
{
	(void)state;
	struct peer peer;
	peer_start(&peer, NULL, 0, peer_drain, NULL);
	struct net_context *context = context_for("one.example", peer.port);
	struct net_stream *stream;
	struct source_error error;
	assert_int_equal(net_connect(context, clock_now_ms() + 5000, &stream, &error), 0);
	int value = 0;
	socklen_t len = sizeof(value);
	assert_int_equal(getsockopt(stream->fd, IPPROTO_TCP, TCP_NODELAY, &value, &len), 0);
	assert_int_not_equal(value, 0);
	value = 0;
	assert_int_equal(getsockopt(stream->fd, SOL_SOCKET, SO_KEEPALIVE, &value, &len), 0);
	assert_int_not_equal(value, 0);
	net_close(stream);
	net_context_destroy(context);
	peer_stop(&peer);
}

static void greet(struct peer_conn *conn)
{
	peer_puts(conn, "hi\r\n");
	peer_drain(conn);
}

static void expect_greeting(struct net_context *context, int64_t deadline_ms)
{
	_cleanup_str_ struct str line = STR_INIT;
	struct net_stream *stream;
	struct source_error error;
	if (net_connect(context, deadline_ms, &stream, &error) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(net_read_response(stream, &net_limits_default, &line), 0);
	assert_string_equal(line.data, "hi");
	net_close(stream);
}

static void second_address_is_tried(void **state)
{
	(void)state;
	struct peer peer;
	peer_start_at(&peer, 0x7f000002, 0, greet, NULL);
	struct net_context *context = context_for("two.example", peer.port);
	expect_greeting(context, clock_now_ms() + 5000);
	net_context_destroy(context);
	peer_stop(&peer);
}

/* A listener whose queue is full drops what comes, as a firewall does. */
static int black_hole(uint32_t address, uint16_t port, int fillers[3])
{
	struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons(port)};
	at.sin_addr.s_addr = htonl(address);
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
	assert_int_equal(listen(fd, 0), 0);
	for (int i = 0; i < 3; i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)!connect(fillers[i], (struct sockaddr *)&at, sizeof(at));
	}
	usleep(20000);
	return fd;
}

static void silent_address_leaves_time_for_the_next(void **state)
{
	(void)state;
	struct peer peer;
	int fillers[3];
	peer_start_at(&peer, 0x7f000002, 0, greet, NULL);
	int hole = black_hole(0x7f000003, peer.port, fillers);
	struct net_context *context = context_for("two.example", peer.port);
	int64_t start = clock_now_ms();
	expect_greeting(context, start + 1000);
	assert_true(clock_now_ms() - start >= 400);
	net_context_destroy(context);

	struct source_error error;
	assert_int_equal(connect_fails("127.0.0.3", peer.port, 200, &error), -ETIMEDOUT);
	assert_int_equal(error.cause, SOURCE_CAUSE_CONNECT);
	assert_int_equal(error.err, -ETIMEDOUT);
	assert_non_null(strstr(error.text, ": connection timed out"));
	close(hole);
	for (int i = 0; i < 3; i++)
		close(fillers[i]);
	peer_stop(&peer);
}

/* The refusal is told, not that the other address can not be used from here. */
static void telling_failure_wins(void **state)
{
	(void)state;
	struct source_error error;
	assert_int_equal(
		connect_fails("no-route.example", unused_port(), 5000, &error), -ECONNREFUSED);
}

static int set_up(void **state)
{
	(void)state;
	return sem_init(&resolver_may_end, 0, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(refused),
		cmocka_unit_test(not_allowed),
		cmocka_unit_test(unknown_host),
		cmocka_unit_test(resolver_is_gone),
		cmocka_unit_test(hung_resolver_meets_the_deadline),
		cmocka_unit_test(cancel_ends_a_connect),
		cmocka_unit_test(cancel_ends_a_login),
		cmocka_unit_test(cancel_leaves_connections_alone),
		cmocka_unit_test(socket_options),
		cmocka_unit_test(second_address_is_tried),
		cmocka_unit_test(silent_address_leaves_time_for_the_next),
		cmocka_unit_test(telling_failure_wins),
	};
	return cmocka_run_group_tests(tests, set_up, NULL);
}
