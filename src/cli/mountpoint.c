/* SPDX-License-Identifier: MIT */
/*
 * libfuse would find most of this out itself, but late, and in words about itself. What remains for it is
 * what only the mount(2) call can tell.
 */
#include "mountpoint.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"

static int fail(struct str *why, const char *path, int err, const char *reason)
{
	str_printf(why, "mount point %s: %s", path, reason);
	return err;
}

static int check_exists(const char *path, struct str *why)
{
	struct stat st;

	if (stat(path, &st) == 0)
		return S_ISDIR(st.st_mode) ? 0 : fail(why, path, -ENOTDIR, "not a directory");
	int err = -errno;
	if (err == -ENOTCONN) {
		str_printf(why,
			"mount point %s: a dead mount lies there, whose program has ended; fusermount3 -u %s removes it",
			path, path);
		return err;
	}
	if (err == -ENOENT)
		return fail(why, path, err, "no such directory; make it with mkdir");
	return fail(why, path, err, strerror(-err));
}

/* Whether the directory is the root of a mount. That of autofs (x-systemd.automount) is there to be mounted upon. */
static bool is_mount(const char *path)
{
	struct statfs fs;
	struct statx stx;

	if (statfs(path, &fs) == 0 && fs.f_type == AUTOFS_SUPER_MAGIC)
		return false;
	if (statx(AT_FDCWD, path, AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &stx) < 0)
		return false;
	return stx.stx_attributes & stx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT;
}

static void close_directory(DIR **directory)
{
	if (*directory)
		closedir(*directory);
}

static int check_empty(const char *path, struct str *why)
{
	__attribute__((cleanup(close_directory))) DIR *directory = opendir(path);
	const struct dirent *entry;

	if (!directory)
		return fail(why, path, -errno, strerror(errno));
	while ((entry = readdir(directory)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			return fail(
				why, path, -ENOTEMPTY, "not empty; an empty directory is needed");
	return 0;
}

static int check_device(struct str *why)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd >= 0)
		return 0;
	int err = -errno;
	str_printf(why, "/dev/fuse: %s; ", strerror(-err));
	if (err == -ENOENT || err == -ENODEV || err == -ENXIO)
		str_append_cstr(
			why, "`modprobe fuse' loads it; a container must be given the device");
	else
		str_append_cstr(
			why, "its permissions, or the container, must allow this user to open it");
	return err;
}

static bool in_path(const char *program)
{
	_cleanup_free_ char *list = strdup(getenv("PATH") ? getenv("PATH") : "/usr/bin:/bin");
	char *rest = list;

	for (char *directory; rest && (directory = strsep(&rest, ":"));) {
		_cleanup_free_ char *path = NULL;
		if (asprintf(&path, "%s/%s", directory, program) >= 0 && access(path, X_OK) == 0)
			return true;
	}
	return false;
}

static int check_fusermount(struct str *why)
{
	if (geteuid() == 0 || access("/usr/bin/fusermount3", X_OK) == 0 || in_path("fusermount3"))
		return 0;
	str_append_cstr(why,
		"fusermount3: not found, and only root can mount without it; install the package fuse3");
	return -ENOENT;
}

static bool allows_other(FILE *file)
{
	char line[256], word[256];

	while (fgets(line, sizeof(line), file))
		if (sscanf(line, "%255s", word) == 1 && strcmp(word, "user_allow_other") == 0)
			return true;
	return false;
}

/* fusermount3 reads the same file. One that can not be read is left for it to judge. */
static int check_allow_other(bool allow_other, struct str *why)
{
	if (!allow_other || geteuid() == 0)
		return 0;
	FILE *file = fopen("/etc/fuse.conf", "re");
	if (!file && errno != ENOENT)
		return 0;
	bool allowed = file && allows_other(file);
	if (file)
		fclose(file);
	if (allowed)
		return 0;
	str_append_cstr(why,
		"option allow_other: only root may use it, until user_allow_other stands in /etc/fuse.conf");
	return -EPERM;
}

int mountpoint_check(const char *path, bool allow_other, char **ret, struct str *why)
{
	int r = check_exists(path, why);
	if (r == 0 && is_mount(path))
		r = fail(why, path, -EBUSY, "something is mounted there already");
	if (r == 0)
		r = check_empty(path, why);
	if (r == 0)
		r = check_device(why);
	if (r == 0)
		r = check_fusermount(why);
	if (r == 0)
		r = check_allow_other(allow_other, why);
	if (r < 0)
		return r;
	*ret = realpath(path, NULL);
	return *ret ? 0 : fail(why, path, -errno, strerror(errno));
}
