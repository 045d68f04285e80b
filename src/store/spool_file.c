/* SPDX-License-Identifier: MIT */
/*
 * Messages on their way into the spool. Their bytes come in lines or pieces of any size. A small one is kept in memory until the
 * commit, which writes it into a pack; a larger one gets a file of its own and is written in pieces. The checksum is
 * taken of what was given, so that what a disk makes of it later is compared with that.
 *
 * Neither the database nor the store's lock is needed here: who downloads does not wait for who commits.
 */
#include "spool.h"

#include <errno.h>
#include <string.h>

#include "mailfs/util/hash.h"

int store_spool_create(
	struct store *store, uint32_t folder, uint32_t uid, struct store_spool_file **ret)
{
	if (store->kind != STORE_SPOOL)
		return -EINVAL;
	struct store_spool_file *file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	file->store = store;
	file->place.id = store_id(folder, uid);
	file->checksum = HASH64_INIT;
	file->fd = -1;
	*ret = file;
	return 0;
}

static int write_all(int fd, const char *data, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, data, len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return store_errno(n < 0 ? errno : EIO);
		data += n;
		len -= (size_t)n;
	}
	return 0;
}

static int make_file(struct store_spool_file *file)
{
	int fd = body_file_create_new(file->store, file->place.id, &file->name);
	if (fd < 0)
		return fd;
	file->fd = fd;
	return 0;
}

/* What has failed once has failed: after a part of a piece nobody knows what is in the file. */
static int write_piece(struct store_spool_file *file, const char *data, size_t len)
{
	if (file->err == 0 && file->fd < 0)
		file->err = make_file(file);
	if (file->err == 0)
		file->err = write_all(file->fd, data, len);
	return file->err;
}

int spool_file_flush(struct store_spool_file *file)
{
	size_t len = file->len;
	file->len = 0;
	return write_piece(file, file->buf, len);
}

/* Most messages are small: the buffer grows with them. */
static int reserve(struct store_spool_file *file, size_t need)
{
	if (need <= file->cap)
		return 0;
	size_t cap = file->cap ? file->cap : 1024;
	while (cap < need)
		cap *= 2;
	char *buf = realloc(file->buf, cap);
	if (!buf)
		return -ENOMEM;
	file->buf = buf;
	file->cap = cap;
	return 0;
}

static int append(struct store_spool_file *file, const char *data, size_t len)
{
	if (file->len + len > SPOOL_SMALL_BYTES && spool_file_flush(file) < 0)
		return file->err;
	if (len > SPOOL_SMALL_BYTES)
		return write_piece(file, data, len);
	int rc = reserve(file, file->len + len);
	if (rc < 0)
		return rc;
	memcpy(file->buf + file->len, data, len);
	file->len += len;
	return 0;
}

int store_spool_append(struct store_spool_file *file, const void *data, size_t len)
{
	if (len == 0 || file->err < 0)
		return file->err;
	int rc = append(file, data, len);
	if (rc < 0) {
		file->err = rc;
		return rc;
	}
	file->checksum = hash64(file->checksum, data, len);
	file->place.size_bytes += len;
	return 0;
}

void spool_file_free(struct store_spool_file *file)
{
	cleanup_close(&file->fd);
	free(file->buf);
	free(file);
}

void store_spool_discard(struct store_spool_file *file)
{
	if (!file)
		return;
	if (file->fd >= 0)
		body_file_remove_new(file->store, &file->name);
	spool_file_free(file);
}
