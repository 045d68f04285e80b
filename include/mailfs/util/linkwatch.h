/* SPDX-License-Identifier: MIT */
/*
 * Tells when the machine's network changed or the machine woke up, by the kernel's word (rtnetlink(7), timerfd_create(2)), so that who has
 * connections can look after them at once. One thread at a time.
 */
#ifndef MAILFS_UTIL_LINKWATCH_H
#define MAILFS_UTIL_LINKWATCH_H

#include <stdint.h>

struct linkwatch;

enum linkwatch_event {
	LINKWATCH_GAINED =
		1
		<< 0, /* an interface came up, an address or a route was added: what failed may succeed */
	LINKWATCH_LOST = 1 << 1,    /* one went: what is connected may be dead */
	LINKWATCH_RESUMED = 1 << 2, /* the machine slept for more than a second */
};

/* 0, or why the kernel does not tell: -EPERM, -EMFILE, -ENOMEM, …. Blocks: never. */
int linkwatch_create(struct linkwatch **ret);
/* NULL is allowed. */
void linkwatch_destroy(struct linkwatch *watch);
/* For poll(): readable when linkwatch_read() may have something to tell. */
int linkwatch_fd(const struct linkwatch *watch);
/*
 * Takes what the kernel has told: enum linkwatch_event, or 0. The first change is told at once; those that follow within a second of it are told
 * together at its end: *ret_again_ms is then when to call again (monotonic), else CLOCK_NEVER. Blocks: never.
 */
unsigned linkwatch_read(struct linkwatch *watch, int64_t *ret_again_ms);

#endif
