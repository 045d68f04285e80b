/* SPDX-License-Identifier: MIT */
/*
 * Mounting. By libfuse in this process; or, where this process may not mount (a sandbox), by libfuse in another one, from which it gets the
 * descriptor of /dev/fuse. libfuse takes such a descriptor in place of a mount point, and then leaves the unmounting to others.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/log.h"

#include "capture.h"
#include "private.h"

/* --- Options --- */

/* Byte for byte, so that mount(8) finds what fstab says; a comma would begin another option. */
static void append_fsname(struct str *options, const char *fsname)
{
	for (const char *p = fsname; *p; p++) {
		if (*p == ',' || *p == '\\')
			str_putc(options, '\\');
		str_putc(options, (unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p);
	}
}

static int mount_options(const struct fs_params *params, struct str *options)
{
	str_append_cstr(options, "subtype=mailfs,nosuid,nodev,fsname=");
	append_fsname(options, params->fsname);
	if (params->readonly)
		str_append_cstr(options, ",ro");
	if (params->allow_other)
		str_append_cstr(options, ",allow_other,default_permissions");
	if (params->debug)
		str_append_cstr(options, ",debug");
	return str_error(options);
}

struct fuse_session *mount_session(
	const struct fs_params *params, const struct fuse_lowlevel_ops *ops, void *userdata)
{
	_cleanup_str_ struct str options = STR_INIT;
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	struct fuse_session *session = NULL;
	if (mount_options(params, &options) == 0 && fuse_opt_add_arg(&args, "mailfs") == 0 &&
		fuse_opt_add_arg(&args, "-o") == 0 && fuse_opt_add_arg(&args, options.data) == 0)
		session = fuse_session_new(&args, ops, sizeof(*ops), userdata);
	fuse_opt_free_args(&args);
	return session;
}

/* --- By libfuse --- */

static int explain(const char *mountpoint, const char *said, struct str *why)
{
	if (access("/dev/fuse", R_OK | W_OK) < 0) {
		int err = -errno;
		str_printf(why, "/dev/fuse can not be opened: %s", strerror(-err));
		return err;
	}
	str_printf(why, "can not mount on %s: ", mountpoint);
	size_t before = why->len;
	capture_line(said, why);
	if (why->len == before)
		str_append_cstr(why, "libfuse does not say why");
	return -EIO;
}

static int session_mount(struct fuse_session *session, const char *mountpoint, struct str *why)
{
	_cleanup_str_ struct str said = STR_INIT;
	struct capture capture;
	capture_begin(&capture);
	int r = fuse_session_mount(session, mountpoint);
	capture_end(&capture, &said);
	if (r != 0)
		return explain(mountpoint, str_cstr(&said), why);
	if (said.len)
		log_warning("%s", said.data);
	return 0;
}

int mount_here(struct fs *fs, const char *mountpoint, struct str *why)
{
	return session_mount(fs->session, mountpoint, why);
}

/* --- For another process --- */

int fs_mount_apart(const struct fs_params *params, const char *mountpoint, struct str *why)
{
	static const struct fuse_lowlevel_ops none;
	capture_libfuse_log();
	struct fuse_session *session = mount_session(params, &none, NULL);
	if (!session) {
		str_append_cstr(why, "libfuse does not take the mount options");
		return -EINVAL;
	}
	/* It is not destroyed: the descriptor is its own, and this process ends. */
	int r = session_mount(session, mountpoint, why);
	return r < 0 ? r : fuse_session_fd(session);
}

void fs_unmount_apart(const char *mountpoint)
{
	if (umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || errno != EPERM)
		return;
	char *args[] = {(char[]){"fusermount3"}, (char[]){"-u"}, (char[]){"-q"}, (char[]){"-z"},
		(char[]){"--"}, (char *)mountpoint, NULL};
	execv("/usr/bin/fusermount3", args);
	execvp("fusermount3", args);
}

/* --- By another process --- */

int mount_by_other(struct fs *fs, struct str *why)
{
	char place[32];
	int fd = fs->mount(fs->mount_arg, why);
	if (fd < 0)
		return fd;
	snprintf(place, sizeof(place), "/dev/fd/%d", fd);
	if (fuse_session_mount(fs->session, place) == 0)
		return 0;
	close(fd);
	fs->unmount(fs->mount_arg);
	str_append_cstr(why, "libfuse does not take the descriptor of /dev/fuse");
	return -EIO;
}

/* Somebody else's unmount, or the end of the connection. What is mounted there now is not ours. */
static bool is_unmounted(const struct fs *fs)
{
	struct pollfd fd = {.fd = fuse_session_fd(fs->session), .events = 0};
	return poll(&fd, 1, 0) == 1 && fd.revents & POLLERR;
}

/* The descriptor is closed before it is unmounted: or else unmounting would wait for answers of ours. */
void mount_end(struct fs *fs)
{
	bool unmounts = fs->mounted && fs->unmount && !is_unmounted(fs);
	fuse_session_destroy(fs->session);
	if (unmounts)
		fs->unmount(fs->mount_arg);
}
