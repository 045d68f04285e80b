/* SPDX-License-Identifier: MIT */
/*
 * Locals that clean up after themselves, and the handing on of what they own.
 *
 *   _cleanup_free_ char *name = strdup(x);
 *   _cleanup_close_ int fd = open(...);
 *   _cleanup_unlock_ pthread_mutex_t *guard = lock(&thing->lock);
 *   return steal_ptr(name);
 */
#ifndef MAILFS_UTIL_CLEANUP_H
#define MAILFS_UTIL_CLEANUP_H

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_unlock(pthread_mutex_t **mutex)
{
	if (*mutex)
		pthread_mutex_unlock(*mutex);
}

/* Locks mutex and returns it, for a _cleanup_unlock_ guard. Blocks: never for long (no lock is held across I/O). */
static inline pthread_mutex_t *lock(pthread_mutex_t *mutex)
{
	pthread_mutex_lock(mutex);
	return mutex;
}

#define _cleanup_(f)     __attribute__((cleanup(f)))
#define _cleanup_free_   _cleanup_(cleanup_free)
#define _cleanup_close_  _cleanup_(cleanup_close)
#define _cleanup_unlock_ __attribute__((cleanup(cleanup_unlock), unused))

/* Hands ownership on: the value of p, and p is NULL afterwards. */
#define steal_ptr(p)                                                                               \
	__extension__({                                                                            \
		__typeof__(p) steal_tmp_ = (p);                                                    \
		(p) = NULL;                                                                        \
		steal_tmp_;                                                                        \
	})

static inline int steal_fd(int *fd)
{
	int tmp = *fd;
	*fd = -1;
	return tmp;
}

#endif
