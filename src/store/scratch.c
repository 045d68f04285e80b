/* SPDX-License-Identifier: MIT */
/* A file without a name. Where the file system has none (NFS has not), one whose name is taken away at once. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "private.h"

#define NAME "scratch"

static int make_named(const struct store *store)
{
	unlinkat(store->dir_fd, NAME, 0);
	int fd = openat(
		store->dir_fd, NAME, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	unlinkat(store->dir_fd, NAME, 0);
	return fd;
}

int store_scratch(struct store *store)
{
	int fd = openat(store->dir_fd, ".", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	return fd < 0 ? make_named(store) : fd;
}
