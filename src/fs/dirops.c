/* SPDX-License-Identifier: MIT */
/*
 * Lookups and listings of one directory side by side. Without FUSE_PARALLEL_DIROPS the kernel sends them one after the
 * other: who waits for a message that is on its way would keep everybody else out of the directory. libfuse before 3.17 takes
 * our wish and does not pass it on (libfuse pull request 861), and Debian 12 has 3.14. So its first reply, the one to INIT, gets
 * the flag on its way to the kernel. From 3.17 on nothing is done here.
 */
#include "private.h"

#include <errno.h>
#include <linux/fuse.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define FIRST_RIGHT_VERSION 317

/* Of this process's one session: whether INIT has been answered. */
static atomic_bool answered;

static bool is_init_reply(const struct iovec *iov, int count)
{
	struct fuse_out_header header;
	if (count != 2 || iov[0].iov_len != sizeof(header) ||
		iov[1].iov_len < FUSE_COMPAT_22_INIT_OUT_SIZE)
		return false;
	memcpy(&header, iov[0].iov_base, sizeof(header));
	return header.error == 0;
}

static ssize_t reply_write(int fd, struct iovec *iov, int count, void *userdata)
{
	(void)userdata;
	if (!atomic_load(&answered) && is_init_reply(iov, count) &&
		!atomic_exchange(&answered, true)) {
		char *flags = (char *)iov[1].iov_base + offsetof(struct fuse_init_out, flags);
		uint32_t value;
		memcpy(&value, flags, sizeof(value));
		value |= FUSE_PARALLEL_DIROPS;
		memcpy(flags, &value, sizeof(value));
	}
	return writev(fd, iov, count);
}

static ssize_t request_read(int fd, void *buf, size_t len, void *userdata)
{
	(void)userdata;
	return read(fd, buf, len);
}

void dirops_make_parallel(struct fuse_session *session)
{
	static const struct fuse_custom_io io = {.writev = reply_write, .read = request_read};
	if (fuse_version() >= FIRST_RIGHT_VERSION)
		return;
	atomic_store(&answered, false);
	/* Without it directories are used by one at a time, which is slower and not wrong. */
	fuse_session_custom_io(session, &io, fuse_session_fd(session));
}
