/* SPDX-License-Identifier: MIT */
/*
 * A whole session that is cut off after each byte that the server sends, and after each that the client does: an error, of the account, at the step
 * that was cut; what was told before it is true.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "whole.h"

static unsigned runs; /* each is a connection */

static void fresh_source(void)
{
	struct imap_params params = {.net = world.net, .user = "alice", .password = world.password};
	world.source->ops->destroy(world.source);
	assert_int_equal(imap_source_create(&params, &world.source), 0);
}

/* The steps that succeeded. polite: with LOGOUT at the end. */
static int run(bool polite, struct source_error *ret_error)
{
	struct whole_session session = {.session = NULL};
	int step;
	runs++;
	for (step = 0; step < WHOLE_STEPS; step++) {
		int r = whole_step(&world, &session, (enum whole_step)step);
		if (r == 0)
			continue;
		assert_int_equal(r, -EIO);
		*ret_error = session.error;
		break;
	}
	assert_true(step < WHOLE_STEPS || session.named);
	whole_end(&world, &session, polite);
	return step;
}

/* needed: so many bytes must pass for all steps to succeed. */
static void cut(atomic_size_t *max, size_t at, size_t needed)
{
	struct source_error error;
	fresh_source();
	atomic_store(max, at);
	int steps = run(true, &error);
	atomic_store(max, WHOLE_ALL);
	if ((steps == WHOLE_STEPS) != (at >= needed))
		fail_msg("cut after %zu of %zu bytes: %d steps", at, needed, steps);
	if (steps == WHOLE_STEPS)
		return;
	assert_int_equal(error.scope, SOURCE_SCOPE_ACCOUNT);
	assert_int_equal(error.cause, SOURCE_CAUSE_CONNECT);
	assert_int_equal(error.retry, SOURCE_RETRY_NOW);
}

static size_t passing(atomic_size_t *passed, bool polite)
{
	struct source_error error;
	fresh_source();
	assert_int_equal(run(polite, &error), WHOLE_STEPS);
	while (atomic_load(&world.served) < runs)
		usleep(1000);
	return atomic_load(passed);
}

static void cut_each(const char *name, atomic_size_t *max, atomic_size_t *passed)
{
	size_t needed = passing(passed, false), all = passing(passed, true);
	assert_true(all > needed);
	for (size_t at = 0; at <= all; at++)
		cut(max, at, needed);
	assert_int_equal(passing(passed, true), all);
	printf("# cut %s after each of %zu bytes\n", name, all);
}

static void test_to_client(void **state)
{
	(void)state;
	cut_each("to the client", &world.to_client_max, &world.to_client);
}

static void test_to_server(void **state)
{
	(void)state;
	cut_each("to the server", &world.to_server_max, &world.to_server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_to_client),
		cmocka_unit_test(test_to_server),
	};
	return cmocka_run_group_tests(tests, whole_set_up, whole_tear_down);
}
