/* SPDX-License-Identifier: MIT */
/*
 * A whole session of which each allocation is refused in turn: -ENOMEM, what is told is true, nothing leaks; and where the session is said to go on, it
 * gives the right answers afterwards.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "oom.h"
#include "private.h"
#include "whole.h"

/* From a step on to the end, all must succeed. */
static void go_on(struct whole_session *session, int step)
{
	if (step > WHOLE_SELECT)
		assert_int_equal(whole_step(&world, session, WHOLE_SELECT), 0);
	for (; step < WHOLE_STEPS; step++)
		if (whole_step(&world, session, (enum whole_step)step) < 0)
			fail_msg("step %d after memory was short: %s", step, session->error.text);
}

static int try_session(void *arg, unsigned long nth, bool forever)
{
	struct whole_session session = {.session = NULL};
	int r = 0, step;
	(void)arg;
	oom_arm(nth, forever);
	for (step = 0; step < WHOLE_STEPS && r == 0; step++)
		r = whole_step(&world, &session, (enum whole_step)step);
	if (r == 0)
		whole_end(&world, &session, true);
	oom_disarm();
	if (r < 0 && r != -ENOMEM)
		fail_msg("step %d, allocation %lu%s: %s", step - 1, nth, forever ? " and on" : "",
			session.error.text);
	if (r < 0 && session.session && session.error.scope != SOURCE_SCOPE_ACCOUNT)
		go_on(&session, step - 1);
	whole_end(&world, &session, false);
	return r;
}

static void test_session(void **state)
{
	(void)state;
	oom_each("imap session", try_session, NULL);
}

static int try_name(void *arg, unsigned long nth, bool forever)
{
	struct str out = STR_INIT;
	oom_arm(nth, forever);
	int r = imap_mailbox_decode(arg, &out);
	oom_disarm();
	if (r == 0)
		assert_string_equal(str_cstr(&out), "Entw\xc3\xbcrfe");
	str_finish(&out);
	return r;
}

static void test_name(void **state)
{
	(void)state;
	oom_each("mailbox name", try_name, (char[]){"Entw&APw-rfe"});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_name),
		cmocka_unit_test(test_session),
	};
	return cmocka_run_group_tests(tests, whole_set_up, whole_tear_down);
}
