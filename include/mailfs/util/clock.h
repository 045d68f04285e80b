/* SPDX-License-Identifier: MIT */
/* Monotonic time in milliseconds, and deadlines on it. */
#ifndef MAILFS_UTIL_CLOCK_H
#define MAILFS_UTIL_CLOCK_H

#include <stdint.h>

#define CLOCK_NEVER INT64_MAX

/* CLOCK_MONOTONIC in ms: deadlines and intervals; a jump of the wall clock does not move it. */
int64_t clock_now_ms(void);
/* The same clock in microseconds, for what is added up. */
int64_t clock_now_us(void);
/* Wall clock, seconds since the epoch. */
int64_t clock_wall_s(void);
/* Milliseconds left until deadline_ms, for poll(): 0 when it has passed, -1 for CLOCK_NEVER, at most INT_MAX. */
int clock_left_ms(int64_t deadline_ms);

#endif
