/* SPDX-License-Identifier: MIT */
/* Where tests write. contrib/check lets it be in memory: what is written durably takes a second on a disk that is busy. */
#ifndef TESTS_SCRATCH_H
#define TESTS_SCRATCH_H

#include <stdio.h>
#include <stdlib.h>

/* A new directory for a test; mkdtemp()'s path goes to path, which has size bytes. NULL: there is none. */
static inline char *scratch_make(char *path, size_t size, const char *name)
{
	const char *dir = getenv("MAILFS_TEST_DIR");
	int len = snprintf(path, size, "%s/mailfs-%s-XXXXXX", dir ? dir : "/tmp", name);
	return len > 0 && (size_t)len < size ? mkdtemp(path) : NULL;
}

#endif
