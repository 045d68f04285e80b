/* SPDX-License-Identifier: MIT */
/*
 * Small messages lie together in packs, because a file of its own for each of 2,000 messages costs the kernel more than all
 * else that is done with them. A pack only grows, to 64 MiB, by one group at a time; what the database has as its length is
 * what counts.
 *
 * A pack whose file has another length is closed: it is never written to again, and the next group begins a new one. In a longer
 * one lies what is not recorded, left by a process that was killed before its commit, or recorded in a newer
 * store.db than the one that is there now (its -wal was lost, or it came from a backup). The server may have deleted those
 * messages, so they stay; they are cut off only where they were written and failed to be recorded by this process. One that is shorter was cut
 * by a stranger: a hole would take the place of what is missing.
 *
 * Each message has a line "From " before it and an empty one behind: a pack is an mbox file, which a person can open without
 * mailfs. Nothing here reads those lines.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "spool.h"

#define PACK_BYTES (64 << 20)
#define NAME_TRIES 100000
/* Messages that are written by one call, with three pieces each. */
#define WRITE_MESSAGES 256

static const char separator[] = "From mailfs@localhost Thu Jan  1 00:00:00 1970\n";
#define SEPARATOR_LEN (sizeof(separator) - 1)

/* ---- opening ---- */

/* The number and length of the last one; number 0: there is none yet. */
static int find_last(struct spool_pack *pack)
{
	struct store *store = pack->store;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_PACKS);
	sqlite3_bind_int64(statement, 1, pack->folder);
	int rc = db_step(&store->db, statement);
	if (rc > 0) {
		pack->number = (uint32_t)sqlite3_column_int64(statement, 0);
		pack->length = (uint64_t)sqlite3_column_int64(statement, 1);
	}
	return rc < 0 ? rc : 0;
}

/* Opens the last one to go on with it. false: it is full, or closed. */
static bool open_last(struct spool_pack *pack)
{
	struct stat st;
	if (pack->number == 0 || pack->length >= PACK_BYTES)
		return false;
	pack->fd =
		openat(pack->store->bodies_fd, body_file_pack_name(pack->folder, pack->number).text,
			O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY);
	if (pack->fd < 0)
		return false;
	if (fstat(pack->fd, &st) == 0 && S_ISREG(st.st_mode) &&
		(uint64_t)st.st_size == pack->length)
		return true;
	spool_pack_close(pack);
	return false;
}

static int note_number(void *arg, int dir_fd, const char *name)
{
	(void)dir_fd;
	uint32_t *last = arg, number = body_file_parse_pack(name);
	if (number > *last)
		*last = number;
	return 0;
}

/* Its number is higher than that of any there is, or was when the database was newer. */
static int make_next(struct spool_pack *pack)
{
	int rc = body_file_for_each(
		pack->store, body_file_folder_name(pack->folder).text, note_number, &pack->number);
	if (rc < 0)
		return rc;
	int fd = -EEXIST;
	for (int i = 0; fd == -EEXIST && i < NAME_TRIES; i++) {
		pack->number++;
		fd = body_file_open_in_folder(pack->store, pack->folder,
			body_file_pack_name(pack->folder, pack->number).text, O_EXCL);
	}
	if (fd < 0)
		return store_errno(-fd);
	pack->fd = fd;
	pack->length = 0;
	pack->fresh = true;
	return 0;
}

int spool_pack_open(struct spool_pack *pack, struct store *store, uint32_t folder)
{
	*pack = (struct spool_pack){.store = store, .folder = folder, .fd = -1};
	int rc = find_last(pack);
	if (rc == 0 && !open_last(pack))
		rc = make_next(pack);
	pack->before = pack->length;
	return rc;
}

void spool_pack_close(struct spool_pack *pack)
{
	cleanup_close(&pack->fd);
	pack->fd = -1;
}

/* ---- writing ---- */

/* Writes all pieces at offset; they are used up. */
static int write_pieces(int fd, struct iovec *pieces, size_t count, uint64_t offset)
{
	while (count > 0) {
		ssize_t n = pwritev(fd, pieces, (int)count, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return store_errno(n < 0 ? errno : EIO);
		offset += (uint64_t)n;
		for (; count > 0 && (size_t)n >= pieces->iov_len; pieces++, count--)
			n -= (ssize_t)pieces->iov_len;
		if (count > 0) {
			pieces->iov_base = (char *)pieces->iov_base + n;
			pieces->iov_len -= (size_t)n;
		}
	}
	return 0;
}

/* The pieces of one message, which will lie at the end. */
static void place(struct spool_pack *pack, struct store_spool_file *file, struct iovec *pieces)
{
	pieces[0] = (struct iovec){(void *)separator, SEPARATOR_LEN};
	pieces[1] = (struct iovec){file->buf, file->len};
	pieces[2] = (struct iovec){(void *)"\n", 1};
	file->place.pack = pack->number;
	file->place.position = pack->length + SEPARATOR_LEN;
	pack->length += SEPARATOR_LEN + file->len + 1;
}

int spool_pack_append(struct spool_pack *pack, struct store_spool_item *items, size_t count)
{
	struct iovec pieces[3 * WRITE_MESSAGES];
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < count;) {
		uint64_t offset = pack->length;
		size_t used = 0;
		for (; i < count && used < 3 * WRITE_MESSAGES; i++)
			if (items[i].file->fd < 0) {
				place(pack, items[i].file, &pieces[used]);
				used += 3;
			}
		rc = write_pieces(pack->fd, pieces, used, offset);
	}
	return rc;
}

int spool_pack_record(const struct spool_pack *pack)
{
	struct db *db = &pack->store->db;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_PACK_PUT);
	sqlite3_bind_int64(statement, 1, pack->folder);
	sqlite3_bind_int64(statement, 2, pack->number);
	sqlite3_bind_int64(statement, 3, (sqlite3_int64)pack->length);
	return db_run(db, statement);
}

void spool_pack_take_back(struct spool_pack *pack)
{
	if (pack->fd < 0)
		return;
	/* Where this fails the pack is closed. */
	if (pack->fresh)
		unlinkat(pack->store->bodies_fd,
			body_file_pack_name(pack->folder, pack->number).text, 0);
	else if (ftruncate(pack->fd, (off_t)pack->before) < 0)
		return;
}
