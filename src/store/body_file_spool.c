/* SPDX-License-Identifier: MIT */
/*
 * The files of spooled messages: FOLDER/UID below bodies/, as of any message, or FOLDER/pack-N for small ones
 * together (spool_pack.c); never made by opening them to read, and never cut where a message lies. A message with a file of its own is
 * written as FOLDER/UID.newN, and gets its name when all of it is on the disk. What stood under that name until then is
 * kept as FOLDER/UID.oldN.
 */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mailfs/util/log.h"

/* Leftovers of a process that was killed may have the names: no more of them than this. */
#define NAME_TRIES 100000

struct body_file_name body_file_folder_name(uint32_t folder)
{
	struct body_file_name name;
	snprintf(name.text, sizeof(name.text), "%08x", (unsigned)folder);
	return name;
}

struct body_file_name body_file_name(uint64_t id)
{
	struct body_file_name name;
	snprintf(name.text, sizeof(name.text), "%08x/%u", (unsigned)(id >> 32),
		(unsigned)(id & UINT32_MAX));
	return name;
}

struct body_file_name body_file_pack_name(uint32_t folder, uint32_t pack)
{
	struct body_file_name name;
	snprintf(name.text, sizeof(name.text), "%08x/pack-%u", (unsigned)folder, (unsigned)pack);
	return name;
}

struct body_file_name body_file_place_name(const struct spool_place *place)
{
	return place->pack ? body_file_pack_name((uint32_t)(place->id >> 32), place->pack)
	                   : body_file_name(place->id);
}

static int judge(const struct stat *st, const struct spool_place *place)
{
	if (!S_ISREG(st->st_mode))
		return -ENOENT;
	return (uint64_t)st->st_size < place->position + place->size_bytes ? -EBADMSG : 0;
}

/* Something that is no file of ours, where a file should be, is as good as no file. */
static int open_errno(int err)
{
	return err == ENOENT || err == ELOOP || err == ENOTDIR || err == EISDIR || err == ENXIO
	               ? -ENOENT
	               : store_errno(err);
}

int body_file_open_whole(struct store *store, const struct spool_place *place)
{
	struct body_file_name name = body_file_place_name(place);
	/* Not blocking: where a stranger has put a FIFO. */
	int fd = openat(store->bodies_fd, name.text,
		O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return open_errno(errno);
	struct stat st;
	int rc = fstat(fd, &st) < 0 ? store_errno(errno) : judge(&st, place);
	if (rc == 0)
		return fd;
	close(fd);
	return rc;
}

int body_file_check_whole(struct store *store, const struct spool_place *place)
{
	struct body_file_name name = body_file_place_name(place);
	struct stat st;
	if (fstatat(store->bodies_fd, name.text, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return open_errno(errno);
	return judge(&st, place);
}

int body_file_create_new(struct store *store, uint64_t id, struct body_file_name *ret)
{
	struct body_file_name name;
	int fd = -EEXIST;
	for (int i = 0; fd == -EEXIST && i < NAME_TRIES; i++) {
		snprintf(name.text, sizeof(name.text), "%08x/%u.new%u", (unsigned)(id >> 32),
			(unsigned)(id & UINT32_MAX), atomic_fetch_add(&store->spooling, 1));
		fd = body_file_open_in_folder(store, (uint32_t)(id >> 32), name.text, O_EXCL);
	}
	if (fd < 0)
		return store_errno(-fd);
	*ret = name;
	return fd;
}

void body_file_remove_new(struct store *store, const struct body_file_name *name)
{
	unlinkat(store->bodies_fd, name->text, 0);
}

/* The first name UID.oldN that is free. Whoever commits is alone. */
static int free_name(
	struct store *store, const struct body_file_name *name, struct body_file_name *ret)
{
	struct stat st;
	for (unsigned n = 1; n <= NAME_TRIES; n++) {
		snprintf(ret->text, sizeof(ret->text), "%.24s.old%u", name->text, n);
		if (fstatat(store->bodies_fd, ret->text, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return errno == ENOENT ? 0 : -errno;
	}
	return -EEXIST;
}

/*
 * What stands in a message's place may be all there is of another one, which an older store.db does not know of; and a
 * directory could not be replaced anyway. It is kept under another name. *ret is empty: there is nothing.
 */
static int move_aside(
	struct store *store, const struct body_file_name *name, struct body_file_name *ret)
{
	struct stat st;
	int fd = store->bodies_fd;
	ret->text[0] = 0;
	if (fstatat(fd, name->text, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	struct body_file_name aside;
	int rc = free_name(store, name, &aside);
	if (rc == 0 && renameat(fd, name->text, fd, aside.text) < 0)
		rc = -errno;
	if (rc < 0)
		return rc;
	log_line(S_ISDIR(st.st_mode) ? LOG_LEVEL_WARNING : LOG_LEVEL_INFO,
		"%s/bodies/%s is %s, where a message belongs: it is now %s", store->directory,
		name->text, S_ISDIR(st.st_mode) ? "a directory" : "there", aside.text);
	*ret = aside;
	return 0;
}

int body_file_adopt(struct store *store, uint64_t id, const struct body_file_name *name,
	struct body_file_name *ret_old)
{
	struct body_file_name to = body_file_name(id);
	int fd = store->bodies_fd;
	int rc = move_aside(store, &to, ret_old);
	if (rc == 0 && renameat(fd, name->text, fd, to.text) < 0) {
		rc = -errno;
		if (ret_old->text[0])
			renameat(fd, ret_old->text, fd, to.text);
	}
	return rc < 0 ? store_errno(-rc) : 0;
}

void body_file_take_back(struct store *store, uint64_t id, const struct body_file_name *old)
{
	struct body_file_name name = body_file_name(id);
	int fd = store->bodies_fd;
	/* At once, if that can be. */
	if (old->text[0] && renameat(fd, old->text, fd, name.text) == 0)
		return;
	unlinkat(fd, name.text, 0);
	if (old->text[0])
		renameat(fd, old->text, fd, name.text);
}

/* ---- which file is whose ---- */

/* A number as printf() writes it, up to max; 0: it is none. */
static uint32_t parse_number(const char *text, uint32_t max)
{
	uint64_t number = 0;
	if (*text == '0')
		return 0;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || number > UINT32_MAX / 10)
			return 0;
		number = number * 10 + (unsigned)(*text - '0');
	}
	return number > max ? 0 : (uint32_t)number;
}

uint32_t body_file_parse_uid(const char *name)
{
	return parse_number(name, UINT32_MAX);
}

uint32_t body_file_parse_pack(const char *name)
{
	static const char prefix[] = "pack-";
	if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
		return 0;
	/* So that there is always a next one. */
	return parse_number(name + sizeof(prefix) - 1, INT32_MAX);
}

bool body_file_is_new(const char *name)
{
	static const char digits[] = "0123456789", infix[] = ".new";
	size_t len = strspn(name, digits);
	if (len == 0 || strncmp(name + len, infix, sizeof(infix) - 1) != 0)
		return false;
	name += len + sizeof(infix) - 1;
	return *name && name[strspn(name, digits)] == 0;
}

static int remove_if_nameless(void *arg, int dir_fd, const char *name)
{
	(void)arg;
	static const char prefix[] = "nameless-";
	if (strncmp(name, prefix, sizeof(prefix) - 1) == 0)
		unlinkat(dir_fd, name, 0);
	return 0;
}

void body_file_remove_nameless(struct store *store)
{
	body_file_for_each(store, ".", remove_if_nameless, NULL);
}

static int count_file(void *arg, int dir_fd, const char *name)
{
	(void)dir_fd;
	(void)name;
	*(bool *)arg = true;
	return 0;
}

struct any {
	struct store *store;
	bool found;
};

static int look_into(void *arg, int dir_fd, const char *name)
{
	struct any *any = arg;
	struct stat st;
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return store_errno(errno);
	if (!S_ISDIR(st.st_mode)) {
		any->found = true;
		return 0;
	}
	return body_file_for_each(any->store, name, count_file, &any->found);
}

int body_file_any(struct store *store)
{
	struct any any = {.store = store};
	int rc = body_file_for_each(store, ".", look_into, &any);
	return any.found ? 1 : rc;
}
