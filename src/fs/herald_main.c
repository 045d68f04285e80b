/* SPDX-License-Identifier: MIT */
/*
 * The herald's own side: makes a name or takes it away, says how that went, and ends with the one
 * that started it. It shares nothing with it but the socket, and is in the mount only meanwhile.
 *
 * Who sends the orders may have been conquered. So nothing in them leads out of the mount point, a directory that was empty
 * when this process began, and names are all that it makes.
 *
 * The directory is opened, and seen to be the one that was meant, by device and inode, before
 * anything is done in it: a path alone could lead elsewhere once the mount has ended, and there the
 * name would be a true file. While it is open, the mount can not end.
 */
#include "herald.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mailfs/sandbox.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/process.h"

static void settle(int fd, pid_t starter)
{
	process_keep(fd);
	process_silence();
	setsid(); /* Ctrl-C is not for it */
	if (chdir("/") < 0)
		_exit(1);
	prctl(PR_SET_NAME, "mailfs-herald");
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != starter)
		_exit(0);
}

/* Asks nobody: what it tells of the device and the inode's number is always known. */
static bool is_meant(int directory, const struct herald_order *order)
{
	struct statx stx;
	return statx(directory, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &stx) == 0 &&
	       herald_device(stx.stx_dev_major, stx.stx_dev_minor) == order->device &&
	       stx.stx_ino == order->directory;
}

static int change(int directory, uint64_t kind, const char *name)
{
	switch (kind) {
	case HERALD_FILE_NEW:
		return mknodat(directory, name, S_IFREG | 0400, 0);
	case HERALD_FILE_GONE:
		return unlinkat(directory, name, 0);
	case HERALD_DIRECTORY_NEW:
		return mkdirat(directory, name, 0500);
	case HERALD_DIRECTORY_GONE:
		return unlinkat(directory, name, AT_REMOVEDIR);
	}
	errno = EPROTO;
	return -1;
}

/* Below the mount point, however the path is written and whatever lies on its way. */
static int open_below(const char *mountpoint, const char *path)
{
	const struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
	                   RESOLVE_NO_XDEV};
	_cleanup_close_ int root = open(mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
	long fd = root < 0 ? -1 : syscall(SYS_openat2, root, path, &how, sizeof(how));
	return fd < 0 ? -errno : (int)fd;
}

static int change_name(const char *mountpoint, const struct herald_order *order, const char *path,
	const char *name)
{
	_cleanup_close_ int directory = open_below(mountpoint, path);
	if (directory < 0)
		return directory;
	if (strchr(name, '/') || !is_meant(directory, order))
		return -ENODEV;
	return change(directory, order->kind, name) < 0 ? -errno : 0;
}

/* buf is ended by a NUL beyond its len bytes. */
static int obey(const char *mountpoint, const char *buf, size_t len)
{
	struct herald_order order;
	if (len <= sizeof(order))
		return -EPROTO;
	memcpy(&order, buf, sizeof(order));
	const char *path = buf + sizeof(order), *name = path + strlen(path) + 1;
	if (name >= buf + len)
		return -EPROTO;
	return change_name(mountpoint, &order, path, name);
}

_Noreturn void herald_main(int fd, pid_t starter, const char *mountpoint, bool sandbox)
{
	static char buf[HERALD_ORDER_MAX + 1];
	settle(fd, starter);
	if (sandbox && sandbox_enter_herald(NULL) < 0)
		_exit(1);
	for (;;) {
		ssize_t n = recv(PROCESS_SOCKET, buf, sizeof(buf) - 1, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0);
		buf[n] = 0;
		int32_t answer = obey(mountpoint, buf, (size_t)n);
		if (send(PROCESS_SOCKET, &answer, sizeof(answer), MSG_NOSIGNAL) < 0)
			_exit(0);
	}
}
