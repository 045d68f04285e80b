/* SPDX-License-Identifier: MIT */
/*
 * The socket's place: a directory that nobody but its owner can enter, which is the first lock on the door (the second is
 * SO_PEERCRED). In /tmp others may have made something of that name before us, so whatever is not a directory of our own is refused.
 *
 * A mailfs that was killed leaves its socket. Whoever makes the next one removes those on which nobody listens; a lock on the directory
 * keeps it from one that is bound but does not listen yet.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"

#include "private.h"

#define NUMBERS_MAX 1000 /* mounts of one process, and what older ones of its number left */
#define SWEEP_MAX   1000
#define LOCK_MS     1000

static int fill_address(const char *path, struct sockaddr_un *ret)
{
	*ret = (struct sockaddr_un){.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof(ret->sun_path))
		return -ENAMETOOLONG;
	memcpy(ret->sun_path, path, strlen(path) + 1);
	return 0;
}

/* --- The directory --- */

static int fail(struct str *why, const char *what, const char *path, int err)
{
	str_reset(why);
	str_printf(why, "%s %s: %s", what, path, strerror(err));
	return -err;
}

/* It is ours, and nobody else can enter it. */
static int enter(const char *directory, int *ret_fd, struct str *why)
{
	struct stat st;
	_cleanup_close_ int fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return fail(why, "can not open the directory", directory, errno);
	if (fstat(fd, &st) < 0)
		return fail(why, "can not look at", directory, errno);
	if (st.st_uid != geteuid())
		return fail(why, "does not belong to you:", directory, EPERM);
	if ((st.st_mode & 07777) != 0700 && fchmod(fd, 0700) < 0)
		return fail(why, "can not close to others", directory, errno);
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* parent NULL: anybody's. Else a directory of our own, such as /run/user/1000 is: after su or sudo the variable may name another's. */
static int make_directory(const char *parent, const char *directory, int *ret_fd, struct str *why)
{
	struct stat st;
	if (parent && stat(parent, &st) < 0)
		return fail(why, "can not look at", parent, errno);
	if (parent && st.st_uid != geteuid())
		return fail(why, "does not belong to you:", parent, EPERM);
	if (mkdir(directory, 0700) < 0 && errno != EEXIST)
		return fail(why, "can not make the directory", directory, errno);
	return enter(directory, ret_fd, why);
}

/* --- What dead ones left --- */

static bool is_ours(const char *name)
{
	size_t pid = strspn(name, "0123456789");
	size_t number = pid > 0 && name[pid] == '.' ? strspn(name + pid + 1, "0123456789") : 0;
	return number > 0 && !name[pid + 1 + number];
}

static bool is_dead(const char *path)
{
	struct sockaddr_un address;
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || fill_address(path, &address) < 0)
		return false;
	return connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 &&
	       errno == ECONNREFUSED;
}

static void sweep(const char *directory)
{
	DIR *dir = opendir(directory);
	if (!dir)
		return;
	for (unsigned i = 0; i < SWEEP_MAX; i++) {
		char path[sizeof(((struct sockaddr_un *)NULL)->sun_path)];
		const struct dirent *entry = readdir(dir);
		if (!entry)
			break;
		int len = snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		if (is_ours(entry->d_name) && (size_t)len < sizeof(path) && is_dead(path))
			unlink(path);
	}
	closedir(dir);
}

/* --- The socket --- */

static int bind_free(int fd, const char *directory, char **ret)
{
	for (unsigned number = 0; number < NUMBERS_MAX; number++) {
		struct sockaddr_un address;
		_cleanup_free_ char *path = NULL;
		if (asprintf(&path, "%s/%ld.%u", directory, (long)getpid(), number) < 0) {
			path = NULL;
			return -ENOMEM;
		}
		int r = fill_address(path, &address);
		if (r < 0)
			return r;
		if (bind(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
			*ret = steal_ptr(path);
			return 0;
		}
		if (errno != EADDRINUSE)
			return -errno;
	}
	return -EADDRINUSE;
}

static int make_socket(const char *directory, struct place *ret, struct str *why)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	_cleanup_free_ char *path = NULL;
	int r = fd < 0 ? -errno : bind_free(fd, directory, &path);
	if (r < 0)
		return fail(why, "can not make a socket in", directory, -r);
	if (listen(fd, CLIENTS_MAX) < 0) {
		r = fail(why, "can not listen on", path, errno);
		unlink(path);
		return r;
	}
	ret->directory = strdup(directory);
	ret->path = steal_ptr(path);
	ret->fd = steal_fd(&fd);
	return 0;
}

/* Others hold it for a moment only. */
static void lock_directory(int fd)
{
	int64_t give_up_ms = clock_now_ms() + LOCK_MS;
	while (flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK &&
		clock_now_ms() < give_up_ms)
		usleep(10000);
}

/* base/name */
static int try_place(const char *parent, const char *directory, struct place *ret, struct str *why)
{
	_cleanup_close_ int fd = -1;
	int r = make_directory(parent, directory, &fd, why);
	if (r < 0)
		return r;
	lock_directory(fd);
	sweep(directory);
	return make_socket(directory, ret, why);
}

static int try_runtime(const char *runtime, struct place *ret, struct str *why)
{
	_cleanup_free_ char *directory = NULL;
	if (asprintf(&directory, "%s/mailfs", runtime) < 0) {
		directory = NULL;
		return -ENOMEM;
	}
	return try_place(runtime, directory, ret, why);
}

int place_open(struct place *ret, struct str *why)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	char of_user[64], in_tmp[64];

	snprintf(of_user, sizeof(of_user), "/run/user/%lu", (unsigned long)geteuid());
	snprintf(in_tmp, sizeof(in_tmp), "/tmp/mailfs-%lu", (unsigned long)geteuid());
	if (runtime && *runtime == '/' && try_runtime(runtime, ret, why) == 0)
		return 0;
	if (try_runtime(of_user, ret, why) == 0)
		return 0;
	return try_place(NULL, in_tmp, ret, why);
}

void place_close(struct place *place)
{
	cleanup_close(&place->fd);
	place->fd = -1;
	if (place->path)
		unlink(place->path);
	free(place->path);
	free(place->directory);
	place->path = place->directory = NULL;
}

/* --- For who makes it early --- */

struct control_place {
	struct place place;
};

int control_place_open(struct control_place **ret, struct str *why)
{
	struct control_place *early = calloc(1, sizeof(*early));
	if (!early)
		return -ENOMEM;
	early->place.fd = -1;
	int r = place_open(&early->place, why);
	if (r < 0) {
		control_place_close(early);
		return r;
	}
	*ret = early;
	return 0;
}

const char *control_place_directory(const struct control_place *early)
{
	return early->place.directory ? early->place.directory : "";
}

void control_place_close(struct control_place *early)
{
	if (!early)
		return;
	place_close(&early->place);
	free(early);
}

void place_take(struct place *ret, struct control_place *early)
{
	*ret = early->place;
	free(early);
}
