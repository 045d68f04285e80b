/* SPDX-License-Identifier: MIT */
/* How an intake waits. In a file of its own, so that a test may replace it (ld's --wrap) by one for which time passes faster. */
#include <errno.h>
#include <time.h>

#include "intake.h"
#include "mailfs/util/clock.h"

static struct timespec timespec_of(int64_t ms)
{
	return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
}

bool intake_pause(struct intake *intake, int64_t ms)
{
	pthread_mutex_t *mutex = &intake->drop->account->lock;
	struct timespec end = timespec_of(clock_now_ms() + ms);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(mutex);
	int err = 0;
	while (!intake->stopping && err != ETIMEDOUT)
		err = pthread_cond_timedwait(&intake->changed, mutex, &end);
	return intake->stopping;
}
