/* SPDX-License-Identifier: MIT */
/* The parts of the sandbox. */
#ifndef SANDBOX_PRIVATE_H
#define SANDBOX_PRIVATE_H

#include "mailfs/sandbox.h"

/* Address and thread sanitizers ask for more, at the end of a process above all. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif
#ifndef SANDBOX_SANITIZED
#define SANDBOX_SANITIZED 0
#endif

/*
 * System calls are filtered on 64-bit machines only. On 32-bit ones the same has many names (fstat64, _llseek, the *_time64, socketcall, whose
 * arguments no filter sees), which were never tried, and a filter without one that the C library needs takes the mount with it. The line about
 * missing parts says so.
 */
#define SANDBOX_FILTERS_CALLS (sizeof(long) == 8)

/* Which parts a kernel with this version of Landlock has; 0: it has none. calls is left alone. */
void landlock_parts(long abi, struct sandbox_parts *ret);

/* Appends their names, with commas between. */
void sandbox_tell_missing(const struct sandbox_parts *parts, struct str *missing);

/*
 * Landlock. params NULL: nothing can be opened but directories as places (O_PATH), and names made and removed anywhere. Fills in what holds.
 * 0, also where the kernel has no Landlock, or a negative errno.
 */
int landlock_enter(const struct sandbox_mount *params, struct sandbox_parts *ret);

/* seccomp. 0, also where the kernel has none, or a negative errno. */
int calls_enter_mount(const struct sandbox_mount *params, struct sandbox_parts *ret);
int calls_enter_herald(struct sandbox_parts *ret);

#endif
