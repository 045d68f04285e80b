/* SPDX-License-Identifier: MIT */
/*
 * The files below bodies/: FOLDER/UID or FOLDER/UID-SECTION, FOLDER as eight hexadecimal digits. Names consist of
 * numbers and of sections that were checked, so that a server has no say in them; directories are 0700, files 0600, and
 * symbolic links are not followed. The files of spooled messages: body_file_spool.c.
 */
#include "private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "mailfs/util/log.h"

#define SECTION_MAX 200

struct body_path {
	char text[SECTION_MAX + 32];
};

/* By hand, because printf() takes as long as a system call. A section is no longer than SECTION_MAX. */
static struct body_path body_path(uint64_t id, const char *section)
{
	struct body_path path;
	char *at = path.text;
	for (int shift = 60; shift >= 32; shift -= 4)
		*at++ = "0123456789abcdef"[id >> shift & 15];
	*at++ = '/';
	char digits[10];
	size_t count = 0;
	for (uint32_t uid = (uint32_t)id; count == 0 || uid; uid /= 10)
		digits[count++] = (char)('0' + uid % 10);
	while (count > 0)
		*at++ = digits[--count];
	size_t len = strlen(section);
	if (len)
		*at++ = '-';
	memcpy(at, section, len + 1);
	return path;
}

bool body_file_section_valid(const char *section)
{
	size_t len = strspn(section, "0123456789.ABCDEFGHIJKLMNOPQRSTUVWXYZ");
	return section[len] == 0 && len <= SECTION_MAX;
}

static int open_in_bodies(struct store *store, const char *path, int flags)
{
	return store_openat(store, store->bodies_fd, path, O_RDWR | O_CREAT | flags);
}

int body_file_open_in_folder(struct store *store, uint32_t folder, const char *path, int flags)
{
	char name[16];
	snprintf(name, sizeof(name), "%08x", (unsigned)folder);
	int fd = open_in_bodies(store, path, flags);
	/* More than once, because the folder may be removed at the same time. */
	for (int i = 0; fd < 0 && errno == ENOENT && i < 16; i++) {
		if (mkdirat(store->bodies_fd, name, 0700) < 0 && errno != EEXIST)
			break;
		fd = open_in_bodies(store, path, flags);
	}
	return fd < 0 ? -errno : fd;
}

int body_file_open(struct store *store, uint64_t id, const char *section, bool truncate)
{
	struct body_path path = body_path(id, section);
	int fd = -1;
	/* Whoever may make a file keeps others out of its directory. */
	if (!truncate)
		fd = store_openat(store, store->bodies_fd, path.text, O_RDWR);
	if (fd < 0)
		fd = body_file_open_in_folder(
			store, (uint32_t)(id >> 32), path.text, truncate ? O_TRUNC : 0);
	/* What was kept can be read where nothing can be written. */
	if (fd == -EROFS && !truncate) {
		fd = store_openat(store, store->bodies_fd, path.text, O_RDONLY);
		fd = fd < 0 ? -errno : fd;
	}
	return fd < 0 ? store_errno(-fd) : fd;
}

int body_file_open_nameless(struct store *store)
{
	char name[32];
	snprintf(name, sizeof(name), "nameless-%u", atomic_fetch_add(&store->nameless, 1));
	int fd = open_in_bodies(store, name, O_TRUNC);
	if (fd < 0)
		return store_errno(errno);
	unlinkat(store->bodies_fd, name, 0);
	return fd;
}

uint64_t body_file_size(struct store *store, uint64_t id, const char *section)
{
	struct body_path path = body_path(id, section);
	struct stat st;
	if (fstatat(store->bodies_fd, path.text, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		!S_ISREG(st.st_mode))
		return 0;
	return (uint64_t)st.st_size;
}

void body_file_cut(struct store *store, uint64_t id, const char *section, uint64_t size)
{
	struct body_path path = body_path(id, section);
	if (size > INT64_MAX || body_file_size(store, id, section) <= size)
		return;
	_cleanup_close_ int fd =
		store_openat(store, store->bodies_fd, path.text, O_WRONLY | O_NONBLOCK);
	if (fd >= 0 && ftruncate(fd, (off_t)size) < 0)
		log_debug("store: bodies/%s: %s", path.text, strerror(errno));
}

static int remove_at(int dir_fd, const char *name)
{
	if (unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
		return store_errno(errno);
	return 0;
}

int body_file_remove(struct store *store, uint64_t id, const char *section)
{
	struct body_path path = body_path(id, section);
	return remove_at(store->bodies_fd, path.text);
}

int body_file_rename(struct store *store, uint64_t from, uint64_t to, const char *section)
{
	struct body_path old = body_path(from, section), new = body_path(to, section);
	struct body_file_name folder = body_file_folder_name((uint32_t)(to >> 32));
	int fd = store->bodies_fd;
	if (renameat(fd, old.text, fd, new.text) == 0)
		return 0;
	/* Its folder may be missing, or the file itself. */
	if (errno != ENOENT || mkdirat(fd, folder.text, 0700) < 0 ||
		renameat(fd, old.text, fd, new.text) < 0)
		return store_errno(errno);
	return 0;
}

int body_file_for_each(struct store *store, const char *directory, body_file_fn *fn, void *arg)
{
	int fd = openat(
		store->bodies_fd, directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : store_errno(errno);
	DIR *dir = fdopendir(fd);
	if (!dir) {
		close(fd);
		return -ENOMEM;
	}
	int rc = 0;
	for (struct dirent *entry; errno = 0, (entry = readdir(dir));) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		int err = fn(arg, fd, entry->d_name);
		rc = rc == 0 ? err : rc;
	}
	if (rc == 0 && errno)
		rc = store_errno(errno);
	closedir(dir);
	return rc;
}

static int remove_file(void *arg, int dir_fd, const char *name)
{
	(void)arg;
	return remove_at(dir_fd, name);
}

static int remove_folder(struct store *store, const char *name)
{
	int rc = body_file_for_each(store, name, remove_file, NULL);
	/* It stays where somebody has begun a new body meanwhile; an empty one does no harm. */
	unlinkat(store->bodies_fd, name, AT_REMOVEDIR);
	return rc;
}

int body_file_remove_folder(struct store *store, uint32_t folder)
{
	char name[16];
	snprintf(name, sizeof(name), "%08x", (unsigned)folder);
	return remove_folder(store, name);
}

/* A directory of bodies, or a nameless file that a killed process left its name. */
static int remove_any(void *arg, int dir_fd, const char *name)
{
	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	return remove_folder(arg, name);
}

int body_file_remove_all(struct store *store)
{
	return body_file_for_each(store, ".", remove_any, store);
}
