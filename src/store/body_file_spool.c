/* SPDX-License-Identifier: MIT */
/*
 * The files of spooled messages: FOLDER/UID below bodies/, as of any message, or FOLDER/pack-N for small ones
 * together (spool_pack.c); never made by opening them to read, and never cut where a message lies. A message with a file of its own is
 * written as FOLDER/UID.newN, and gets its name when all of it is on the disk, so that what stood under that name is
 * not touched before.
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

/* A directory in a file's place can not be replaced: it is moved away, with what somebody has put into it. */
static int move_aside(struct store *store, const struct body_file_name *name)
{
	char aside[sizeof(name->text) + 32];
	snprintf(aside, sizeof(aside), "%s.aside%u", name->text,
		atomic_fetch_add(&store->spooling, 1));
	if (renameat(store->bodies_fd, name->text, store->bodies_fd, aside) < 0)
		return -errno;
	log_warning("%s/bodies/%s is a directory, where a message belongs: it is now %s",
		store->directory, name->text, aside);
	return 0;
}

int body_file_adopt(struct store *store, uint64_t id, const struct body_file_name *name)
{
	struct body_file_name to = body_file_name(id);
	int fd = store->bodies_fd;
	if (renameat(fd, name->text, fd, to.text) == 0)
		return 0;
	int err = errno;
	if (err == EISDIR && move_aside(store, &to) == 0)
		err = renameat(fd, name->text, fd, to.text) == 0 ? 0 : errno;
	return err ? store_errno(err) : 0;
}

/* ---- what is left over ---- */

static int compare_uids(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
	return x < y ? -1 : x > y;
}

/* A number as printf() writes it; 0: it is none. */
static uint32_t parse_number(const char *text)
{
	uint64_t number = 0;
	if (*text == '0')
		return 0;
	for (; *text; text++) {
		if (*text < '0' || *text > '9' || number > UINT32_MAX / 10)
			return 0;
		number = number * 10 + (unsigned)(*text - '0');
	}
	return number > UINT32_MAX ? 0 : (uint32_t)number;
}

static bool is_own_file(const struct body_file_keep *keep, const char *name)
{
	uint32_t uid = parse_number(name);
	return uid && keep->uid_count &&
	       bsearch(&uid, keep->uids, keep->uid_count, sizeof(uid), compare_uids);
}

static const struct body_file_pack *find_pack(const struct body_file_keep *keep, const char *name)
{
	static const char prefix[] = "pack-";
	if (strncmp(name, prefix, sizeof(prefix) - 1) != 0)
		return NULL;
	uint32_t number = parse_number(name + sizeof(prefix) - 1);
	for (size_t i = 0; i < keep->pack_count; i++)
		if (keep->packs[i].number == number)
			return &keep->packs[i];
	return NULL;
}

/* Where it is something else it is nothing that could be cut. */
static int cut_pack(int dir_fd, const char *name, uint64_t length)
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t)st.st_size <= length)
		return 0;
	return ftruncate(fd, (off_t)length) < 0 ? store_errno(errno) : 0;
}

static int remove_unless_kept(void *arg, int dir_fd, const char *name)
{
	const struct body_file_keep *keep = arg;
	const struct body_file_pack *pack = find_pack(keep, name);
	if (pack)
		return cut_pack(dir_fd, name, pack->length);
	if (is_own_file(keep, name))
		return 0;
	/* Directories are none of ours. */
	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT || errno == EISDIR || errno == EPERM)
		return 0;
	return store_errno(errno);
}

static int remove_if_nameless(void *arg, int dir_fd, const char *name)
{
	(void)arg;
	static const char prefix[] = "nameless-";
	if (strncmp(name, prefix, sizeof(prefix) - 1) == 0)
		unlinkat(dir_fd, name, 0);
	return 0;
}

int body_file_keep(struct store *store, uint32_t folder, const struct body_file_keep *keep)
{
	body_file_for_each(store, ".", remove_if_nameless, NULL);
	return body_file_for_each(
		store, body_file_folder_name(folder).text, remove_unless_kept, (void *)keep);
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
