/* SPDX-License-Identifier: MIT */
/*
 * The kernel's table of mounts (proc_pid_mountinfo(5)) says what is a mailfs and where it begins; the device number tells it from
 * whatever is mounted above or below. The socket is asked of the mount itself: user.mailfs.control of its root.
 */
#include "ctl_mount.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "ctl.h"
#include "mailfs/util/cleanup.h"

#define CONTROL_XATTR "user.mailfs.control"
#define VIEW_PARTS    ".parts"
#define FSTYPE        "fuse.mailfs"
#define FIELDS_MAX    64

void ctl_mount_finish(struct ctl_mount *mount)
{
	free(mount->root);
	free(mount->path);
	free(mount->socket);
	*mount = (struct ctl_mount){0};
}

/* --- The table --- */

struct entry {
	unsigned major, minor;
	char *root, *point; /* in the line */
};

/* Blanks, tabs, line ends and backslashes stand as \ and three octal digits. */
static void unescape(char *text)
{
	char *out = text;
	for (const char *in = text; *in; in++) {
		unsigned value = 0;
		int used = 0;
		if (*in == '\\' && sscanf(in + 1, "%3o%n", &value, &used) == 1 && used == 3) {
			*out++ = (char)value;
			in += 3;
		} else {
			*out++ = *in;
		}
	}
	*out = 0;
}

/* id parent major:minor root point options [optional]... - fstype source superoptions */
static bool parse_entry(char *line, struct entry *ret)
{
	char *fields[FIELDS_MAX], *rest = line, *field;
	size_t count = 0, dash = 0;

	while ((field = strsep(&rest, " ")) && count < FIELDS_MAX) {
		if (dash == 0 && count >= 6 && strcmp(field, "-") == 0)
			dash = count;
		fields[count++] = field;
	}
	if (dash == 0 || dash + 1 >= count || strcmp(fields[dash + 1], FSTYPE) != 0 ||
		sscanf(fields[2], "%u:%u", &ret->major, &ret->minor) != 2)
		return false;
	ret->root = fields[3];
	ret->point = fields[4];
	unescape(ret->root);
	unescape(ret->point);
	return true;
}

/* What of path lies behind top; NULL: it is not at or below it. */
static const char *below(const char *path, const char *top)
{
	size_t len = strcmp(top, "/") == 0 ? 0 : strlen(top);
	if (strncmp(path, top, len) != 0 || (path[len] && path[len] != '/'))
		return NULL;
	return path + len;
}

/* Whichever of two places a thing can be reached by: the longer one is where path is; of equal ones the later lies above. */
static int take(
	struct ctl_mount *mount, const struct entry *entry, const char *path, size_t *longest)
{
	const char *rest = below(path, entry->point);
	size_t len = strlen(entry->point);
	char *joined;

	if (strcmp(entry->root, "/") == 0) {
		char *root = strdup(entry->point);
		if (!root)
			return -ENOMEM;
		free(mount->root);
		mount->root = root;
	}
	if (!rest || len < *longest)
		return 0;
	*longest = len;
	if (asprintf(&joined, "%s%s", strcmp(entry->root, "/") == 0 ? "" : entry->root, rest) < 0)
		return -ENOMEM;
	free(mount->path);
	mount->path = joined;
	return 0;
}

static void trim_slashes(char *path)
{
	size_t begin = strspn(path, "/"), len = strlen(path + begin);
	memmove(path, path + begin, len + 1);
	while (len > 0 && path[len - 1] == '/')
		path[--len] = 0;
}

int ctl_mount_match(const char *mountinfo, const char *path, dev_t device, struct ctl_mount *ret)
{
	_cleanup_free_ char *text = strdup(mountinfo);
	__attribute__((cleanup(ctl_mount_finish))) struct ctl_mount mount = {0};
	char *rest = text, *line;
	size_t longest = 0;
	int r = text ? 0 : -ENOMEM;

	while (r == 0 && (line = strsep(&rest, "\n"))) {
		struct entry entry;
		if (parse_entry(line, &entry) && entry.major == major(device) &&
			entry.minor == minor(device))
			r = take(&mount, &entry, path, &longest);
	}
	if (r == 0 && (!mount.path || !mount.root))
		r = -ENOENT;
	if (r < 0)
		return r;
	trim_slashes(mount.path);
	*ret = mount;
	mount = (struct ctl_mount){0};
	return 0;
}

bool ctl_mount_leave_view(struct ctl_mount *mount)
{
	size_t len = strlen(VIEW_PARTS);
	for (char *part = mount->path; part; part = strchr(part, '/')) {
		char *name = part + (*part == '/' ? 1 : 0);
		if (strncmp(name, VIEW_PARTS, len) == 0 && (!name[len] || name[len] == '/')) {
			*part = 0;
			return true;
		}
		part = name;
	}
	return false;
}

/* --- The system --- */

static int fail_path(struct str *why, const char *path, int err)
{
	if (err == ENOTCONN || err == ECONNABORTED) {
		str_printf(why,
			"%s: the mailfs that was mounted there is gone; fusermount3 -u removes what is left of it",
			path);
		return CTL_EXIT_MOUNT;
	}
	str_printf(why, "can not look up %s: %s", path, strerror(err));
	return CTL_EXIT_FAILED;
}

static int read_table(struct str *ret)
{
	_cleanup_close_ int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	char chunk[16384];
	ssize_t n = fd < 0 ? -1 : 1;
	while (n > 0) {
		n = read(fd, chunk, sizeof(chunk));
		str_append(ret, chunk, n > 0 ? (size_t)n : 0);
	}
	return n < 0 ? -errno : str_error(ret);
}

static int find_socket(struct ctl_mount *mount, struct str *why)
{
	char socket[PATH_MAX];
	ssize_t n = getxattr(mount->root, CONTROL_XATTR, socket, sizeof(socket) - 1);
	if (n < 0 && (errno == ENODATA || errno == EOPNOTSUPP)) {
		str_printf(why,
			"%s: this mailfs does not answer mailfsctl; its log says why (journalctl -t mailfs)",
			mount->root);
		return CTL_EXIT_FAILED;
	}
	if (n < 0 && errno == EACCES) {
		str_printf(why, "%s: only the user who mounted it may ask: %s", mount->root,
			strerror(errno));
		return CTL_EXIT_FAILED;
	}
	if (n < 0)
		return fail_path(why, mount->root, errno);
	mount->socket = strndup(socket, (size_t)n);
	return mount->socket ? CTL_EXIT_OK : fail_path(why, mount->root, ENOMEM);
}

int ctl_mount_find(const char *path, struct ctl_mount *ret, struct str *why)
{
	__attribute__((cleanup(ctl_mount_finish))) struct ctl_mount mount = {0};
	_cleanup_str_ struct str table = STR_INIT;
	struct stat st;

	_cleanup_free_ char *absolute = realpath(path, NULL);
	if (!absolute || stat(absolute, &st) < 0)
		return fail_path(why, path, errno);
	int r = read_table(&table);
	if (r == 0)
		r = ctl_mount_match(str_cstr(&table), absolute, st.st_dev, &mount);
	if (r == -ENOENT) {
		str_printf(why,
			"%s does not lie in a mounted mailbox; `findmnt -t fuse.mailfs' shows those that there are",
			path);
		return CTL_EXIT_MOUNT;
	}
	if (r < 0)
		return fail_path(why, path, -r);
	int code = find_socket(&mount, why);
	if (code == CTL_EXIT_OK) {
		*ret = mount;
		mount = (struct ctl_mount){0};
	}
	return code;
}
