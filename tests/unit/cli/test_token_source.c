/* SPDX-License-Identifier: MIT */
/* When a token is asked for again, and which one a connection is made with. The IMAP source below it is made up, and so is the time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mailfs/util/clock.h"
#include "token_source.h"

#define MINUTE_MS (INT64_C(60) * 1000)

static int64_t later_ms;
static char good[32];  /* the token that the server takes */
static char tried[64]; /* those that it was shown */
static _Atomic int64_t told_deadline_ms;
static atomic_int sources;
static atomic_int asleep; /* who waits in connect(), which does not end before asleep is 0 again */
static atomic_bool sleepy;

int64_t __real_clock_now_ms(void);
int64_t __wrap_clock_now_ms(void);

int64_t __wrap_clock_now_ms(void)
{
	return __real_clock_now_ms() + later_ms;
}

/* --- The source below --- */

struct fake {
	struct source source;
	const struct secret *password;
};

static int fake_connect(struct source *source, int64_t deadline_ms, struct source_session **ret,
	struct source_error *error)
{
	static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
	const char *token = secret_text(((struct fake *)source)->password);
	told_deadline_ms = deadline_ms;
	if (sleepy) {
		asleep++;
		while (sleepy)
			usleep(1000);
	} else {
		pthread_mutex_lock(&one);
		snprintf(tried + strlen(tried), sizeof(tried) - strlen(tried), "%s ", token);
		pthread_mutex_unlock(&one);
	}
	*error = (struct source_error){0};
	if (strcmp(good, "down") == 0)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_CONNECT, -EIO, "down");
	if (strcmp(token, good) != 0)
		return source_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NEVER,
			SOURCE_CAUSE_LOGIN, -EACCES, "refused");
	*ret = (struct source_session *)source;
	return 0;
}

static void fake_destroy(struct source *source)
{
	sources--;
	free(source);
}

int imap_source_create(const struct imap_params *params, struct source **ret)
{
	static const struct source_ops ops = {.connect = fake_connect, .destroy = fake_destroy};
	struct fake *fake = calloc(1, sizeof(*fake));
	*fake = (struct fake){.source = {&ops}, .password = params->password};
	sources++;
	*ret = &fake->source;
	return 0;
}

/* --- What the command prints --- */

static char path[] = "/tmp/mailfs-token-XXXXXX";
static char command[128];
static struct source *source;
static struct net_context *net;
static int timeout_ms;

/* NULL: it fails. */
static void prints(const char *token)
{
	unlink(path);
	if (!token)
		return;
	FILE *file = fopen(path, "we");
	fputs(token, file);
	fclose(file);
}

static int size_of(const char *name)
{
	struct stat st;
	return stat(name, &st) < 0 ? -1 : (int)st.st_size;
}

static int create(void)
{
	struct imap_params params = {.net = net, .user = "me", .token = true};
	const struct token_asker asker = {NULL, command, net, timeout_ms};
	return token_source_create(&params, secret_create("t1", 2), &asker, &source);
}

static int set_up(void **state)
{
	const struct net_params to = {.host = "h", .port = 1, .tls = NET_TLS_NONE};
	(void)state;
	tried[0] = 0;
	later_ms = 0;
	timeout_ms = (int)MINUTE_MS;
	assert_int_equal(net_context_create(&to, &net, NULL), 0);
	snprintf(good, sizeof(good), "t1");
	prints("t2");
	snprintf(command, sizeof(command), "cat %s 2>/dev/null", path);
	return create();
}

static int tear_down(void **state)
{
	(void)state;
	source->ops->destroy(source);
	net_context_destroy(net);
	unlink(path);
	return sources != 0;
}

static int connects(struct source_error *error)
{
	struct source_session *session = NULL;
	int r = source->ops->connect(source, clock_now_ms() + MINUTE_MS, &session, error);
	assert_int_equal(r == 0, session != NULL);
	return r;
}

static void takes(const char *token)
{
	snprintf(good, sizeof(good), "%s", token);
}

static void test_fresh(void **state)
{
	struct source_error error;
	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(connects(&error), 0);
	later_ms = 4 * MINUTE_MS;
	assert_int_equal(connects(NULL), 0);
	assert_string_equal(tried, "t1 t1 t1 t1 ");
}

static void test_old(void **state)
{
	struct source_error error;
	(void)state;
	assert_int_equal(connects(&error), 0);
	later_ms = 6 * MINUTE_MS;
	takes("t2");
	assert_int_equal(connects(&error), 0);
	prints("t3");
	later_ms = 10 * MINUTE_MS;
	assert_int_equal(connects(&error), 0);
	later_ms = 12 * MINUTE_MS;
	takes("t3");
	assert_int_equal(connects(&error), 0);
	assert_string_equal(tried, "t1 t2 t2 t3 ");
	assert_int_equal(sources, 1);
}

/* Old, and there is no newer one: it may live for longer. */
static void test_command_fails(void **state)
{
	struct source_error error;
	(void)state;
	prints(NULL);
	later_ms = 6 * MINUTE_MS;
	assert_int_equal(connects(&error), 0);
	/* Not by each connection. */
	prints("t2");
	assert_int_equal(connects(&error), 0);
	assert_string_equal(tried, "t1 t1 ");
	/* When it is refused, what there is to say is why there is no other. */
	prints(NULL);
	takes("t2");
	assert_int_equal(connects(&error), -EACCES);
	assert_non_null(strstr(error.text, "token_command `cat "));
	assert_int_equal(error.retry, SOURCE_RETRY_LATER);
	/* It is not shown again, however often it is tried and how late: servers lock accounts. */
	for (int i = 0; i < 4; i++) {
		later_ms += 2 * MINUTE_MS;
		assert_int_equal(connects(&error), -EACCES);
		assert_non_null(strstr(error.text, "token_command `cat "));
	}
	assert_string_equal(tried, "t1 t1 t1 ");
	prints("t2");
	assert_int_equal(connects(&error), 0);
	assert_string_equal(tried, "t1 t1 t1 t2 ");
}

/* It has its own time, whatever the connection has, and the connection has all of its own afterwards. */
static void test_command_hangs(void **state)
{
	struct source_session *session = NULL;
	struct source_error error;
	(void)state;
	source->ops->destroy(source);
	snprintf(command, sizeof(command), "exec sleep 30");
	timeout_ms = 300;
	later_ms = -6 * MINUTE_MS;
	assert_int_equal(create(), 0);
	later_ms = 0;
	int64_t begun_ms = clock_now_ms();
	assert_int_equal(source->ops->connect(source, begun_ms + 100, &session, &error), 0);
	assert_in_range(clock_now_ms() - begun_ms, 300, 25000);
	assert_string_equal(tried, "t1 ");
	assert_true(told_deadline_ms >= begun_ms + 400);
}

static void test_command_is_slow(void **state)
{
	struct source_session *session = NULL;
	struct source_error error;
	(void)state;
	snprintf(command, sizeof(command), "sleep .3; echo t2");
	takes("t2");
	later_ms = 6 * MINUTE_MS;
	assert_int_equal(source->ops->connect(source, clock_now_ms() + 100, &session, &error), 0);
	assert_string_equal(tried, "t2 ");
}

/* It says nothing of the account that there is no descriptor. */
static void test_can_not_be_run(void **state)
{
	struct rlimit before;
	struct source_error error;
	(void)state;
	takes("t2");
	assert_int_equal(connects(&error), -EACCES); /* so that t1 is no way out */
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &(struct rlimit){0, before.rlim_max}), 0);
	int r = connects(&error);
	setrlimit(RLIMIT_NOFILE, &before);
	assert_int_equal(r, -EIO);
	assert_int_equal(error.cause, SOURCE_CAUSE_OTHER);
	assert_int_equal(error.retry, SOURCE_RETRY_LATER);
	assert_non_null(strstr(error.text, "Too many open files"));
	assert_int_equal(connects(&error), 0);
}

/* The mount ends: then there is neither a command nor a connection. */
static void test_cancelled(void **state)
{
	struct source_error error;
	(void)state;
	char ran[64];
	snprintf(ran, sizeof(ran), "%s.asked", path);
	snprintf(command, sizeof(command), "echo >>%s", ran);
	later_ms = 6 * MINUTE_MS;
	net_context_cancel(net);
	assert_int_equal(connects(&error), -ECANCELED);
	assert_int_equal(error.scope, SOURCE_SCOPE_CANCELLED);
	assert_int_equal(size_of(ran), -1);
	assert_string_equal(tried, "");
}

static void test_expired(void **state)
{
	struct source_error error;
	(void)state;
	assert_int_equal(connects(&error), 0);
	takes("t2");
	assert_int_equal(connects(&error), 0);
	assert_int_equal(connects(&error), 0);
	assert_string_equal(tried, "t1 t1 t2 t2 ");
	/* Once for a connection. */
	takes("none");
	prints("t3");
	assert_int_equal(connects(&error), -EACCES);
	assert_string_equal(error.text, "refused");
	assert_int_equal(error.retry, SOURCE_RETRY_NEVER);
	assert_string_equal(tried, "t1 t1 t2 t2 t2 t3 ");
}

/* One that has never been good is shown once; nor does what is no refusal cost a token. */
static void test_never_good(void **state)
{
	struct source_error error;
	(void)state;
	takes("t2");
	assert_int_equal(connects(&error), -EACCES);
	assert_string_equal(tried, "t1 ");
	/* Whoever tries again asks for another one first. */
	assert_int_equal(connects(&error), 0);
	takes("down");
	assert_int_equal(connects(&error), -EIO);
	assert_string_equal(tried, "t1 t2 t2 ");
}

static void *connects_slowly(void *arg)
{
	struct source_error error;
	struct source_session *session;
	*(int *)arg = source->ops->connect(source, clock_now_ms() + MINUTE_MS, &session, &error);
	return NULL;
}

/* While some connect with the old token, others get a newer one: the old one stays as long as it is used. */
static void test_side_by_side(void **state)
{
	pthread_t threads[4];
	int results[4];
	struct source_error error;
	(void)state;
	assert_int_equal(connects(&error), 0);
	sleepy = true;
	asleep = 0;
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, connects_slowly, &results[i]);
	while (asleep < 4)
		usleep(1000);
	takes("t2");
	sleepy = false;
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 4; i++)
		assert_int_equal(results[i], 0);
	assert_int_equal(sources, 1);
}

static void start_slowly(pthread_t threads[4], int results[4])
{
	for (int i = 0; i < 4; i++)
		assert_int_equal(
			pthread_create(&threads[i], NULL, connects_slowly, &results[i]), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
}

/* One asks, and the others wait for what it gets: a refresh token must not be spent twice. */
static void test_asked_once(void **state)
{
	pthread_t threads[4];
	int results[4];
	char count[64];
	struct source_error error;
	(void)state;
	assert_int_equal(connects(&error), 0);
	tried[0] = 0;
	snprintf(count, sizeof(count), "%s.asked", path);
	snprintf(command, sizeof(command), "echo>>%s.asked;sleep .5;cat %s", path, path);
	later_ms = 6 * MINUTE_MS;
	takes("t2");
	start_slowly(threads, results);
	for (int i = 0; i < 4; i++)
		assert_int_equal(results[i], 0);
	assert_string_equal(tried, "t2 t2 t2 t2 ");
	assert_int_equal(size_of(count), 1);
	/* In vain: all hear why. */
	takes("none");
	prints(NULL);
	assert_int_equal(connects(&error), -EACCES);
	tried[0] = 0;
	unlink(count);
	start_slowly(threads, results);
	for (int i = 0; i < 4; i++)
		assert_int_equal(results[i], -EACCES);
	assert_string_equal(tried, "");
	assert_int_equal(size_of(count), 1);
	unlink(count);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fresh, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_old, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_command_fails, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_command_hangs, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_command_is_slow, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_can_not_be_run, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cancelled, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_expired, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_never_good, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_asked_once, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_side_by_side, set_up, tear_down),
	};
	close(mkstemp(path));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
