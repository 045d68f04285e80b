/* SPDX-License-Identifier: MIT */
/* Threads are started with every signal blocked, and conditions wait by the monotonic clock. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <signal.h>
#include <time.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/thread.h"

static int refusal;

int __real_pthread_create(
	pthread_t *ret, const pthread_attr_t *attr, void *(*run)(void *), void *arg);
int __wrap_pthread_create(
	pthread_t *ret, const pthread_attr_t *attr, void *(*run)(void *), void *arg);

int __wrap_pthread_create(
	pthread_t *ret, const pthread_attr_t *attr, void *(*run)(void *), void *arg)
{
	return refusal ? refusal : __real_pthread_create(ret, attr, run, arg);
}

static void *read_mask(void *arg)
{
	pthread_sigmask(SIG_SETMASK, NULL, arg);
	return arg;
}

/* Whether this thread has blocked what block_usr1() blocks, and no more. */
static void assert_own_mask(void)
{
	sigset_t mask;
	pthread_sigmask(SIG_SETMASK, NULL, &mask);
	for (int signal = 1; signal < 32; signal++)
		assert_int_equal(sigismember(&mask, signal), signal == SIGUSR1);
}

static int block_usr1(void **state)
{
	(void)state;
	sigset_t mask;
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	return pthread_sigmask(SIG_SETMASK, &mask, NULL);
}

static void a_thread_has_every_signal_blocked(void **state)
{
	(void)state;
	sigset_t mask;
	pthread_t thread;
	void *result = NULL;
	sigemptyset(&mask);
	assert_int_equal(thread_start(&thread, read_mask, &mask), 0);
	assert_own_mask();
	assert_int_equal(pthread_join(thread, &result), 0);
	assert_ptr_equal(result, &mask);
	for (int signal = 1; signal < 32; signal++)
		if (signal != SIGKILL && signal != SIGSTOP)
			assert_int_equal(sigismember(&mask, signal), 1);
}

static void a_refused_thread_leaves_the_signals_as_they_were(void **state)
{
	(void)state;
	pthread_t thread;
	refusal = EAGAIN;
	int r = thread_start(&thread, read_mask, NULL);
	refusal = 0;
	assert_int_equal(r, -EAGAIN);
	assert_own_mask();
}

/* By the wall clock the time would have passed long ago. */
static void a_condition_waits_by_the_monotonic_clock(void **state)
{
	(void)state;
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	pthread_cond_t cond;
	int64_t until_ms = clock_now_ms() + 20;
	struct timespec until = {until_ms / 1000, until_ms % 1000 * 1000000};
	int r;
	cond_init_monotonic(&cond);
	pthread_mutex_lock(&lock);
	do
		r = pthread_cond_timedwait(&cond, &lock, &until);
	while (r == 0);
	pthread_mutex_unlock(&lock);
	assert_int_equal(r, ETIMEDOUT);
	assert_true(clock_now_ms() >= until_ms);
	pthread_cond_destroy(&cond);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(a_thread_has_every_signal_blocked, block_usr1),
		cmocka_unit_test_setup(
			a_refused_thread_leaves_the_signals_as_they_were, block_usr1),
		cmocka_unit_test(a_condition_waits_by_the_monotonic_clock),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
