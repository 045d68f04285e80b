/* SPDX-License-Identifier: MIT */
/*
 * Memory that is refused: an operation is repeated, and the first, the second, the third … of its allocations fails, until it is done
 * without a failure. Each is tried twice: that one alone fails, and all from there on fail.
 *
 * The linker puts these in the place of malloc() and its kin (oom_link_args), so that what the program itself asks for is refused, and what
 * libraries ask for is not. A test's own allocations count too, unless oom_hold() is called before.
 */
#ifndef MAILFS_TEST_OOM_H
#define MAILFS_TEST_OOM_H

#include <stdbool.h>
#include <stddef.h>

/* From now on the nth allocation of any thread fails (forever: and all later ones). */
void oom_arm(unsigned long nth, bool forever);
/* No more. Whether one has failed. */
bool oom_disarm(void);
/* While it is held, what this thread allocates neither counts nor fails; may be nested. */
void oom_hold(void);
void oom_release(void);
/* Counts as one of them: for the allocator of a library. Whether it is to fail. */
bool oom_refuse(void);

/*
 * Does the work once, between oom_arm() and oom_disarm(), which it calls itself, around what is tried and nothing else; looks at what came of it, and fails
 * the test if that is wrong. Returns 0 or a negative errno, which may be nothing but -ENOMEM, and that only if something was refused.
 */
typedef int oom_fn(void *arg, unsigned long nth, bool forever);
/* The number of failures tried, in both ways; printed, too. */
unsigned long oom_each(const char *what, oom_fn *fn, void *arg);
/*
 * As above, at most so many in each way, spread over all, other ones each day: for work with thousands of allocations. All of them with MAILFS_TEST_OOM=all in the
 * environment.
 */
unsigned long oom_some(const char *what, oom_fn *fn, void *arg, unsigned long most);

#endif
