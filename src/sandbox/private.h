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
 * Landlock. params NULL: nothing can be opened but directories as places (O_PATH), and names made and removed anywhere. Fills in what holds.
 * 0, also where the kernel has no Landlock, or a negative errno.
 */
int landlock_enter(const struct sandbox_mount *params, struct sandbox_parts *ret);

/* seccomp. 0, also where the kernel has none, or a negative errno. */
int calls_enter_mount(const struct sandbox_mount *params, struct sandbox_parts *ret);
int calls_enter_herald(struct sandbox_parts *ret);

#endif
