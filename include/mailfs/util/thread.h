/* SPDX-License-Identifier: MIT */
/* Threads that no signal reaches, and conditions that wait by the clock that does not jump. */
#ifndef MAILFS_UTIL_THREAD_H
#define MAILFS_UTIL_THREAD_H

#include <pthread.h>

/*
 * Starts run(arg) on a thread in which every signal is blocked: those of the process go to the threads that expect them.
 * *ret is to be joined, or detached. A negative errno, -EAGAIN for one, where there is no thread. Blocks: never.
 */
int thread_start(pthread_t *ret, void *(*run)(void *), void *arg);
/* Makes a condition whose timed waits take a time of CLOCK_MONOTONIC. Blocks: never. */
void cond_init_monotonic(pthread_cond_t *cond);

#endif
