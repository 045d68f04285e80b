/* SPDX-License-Identifier: MIT */
/*
 * Writing back what a full disk has kept in memory (spill.c), so that a crash at any point leaves one state or the other.
 *
 * First all of it gets into the overlay of the database, by a checkpoint. Then:
 *
 *   1. the pages are appended to the log that is on the disk, behind its last commit, as one transaction, and synced
 *   2. they are written into the database, which is synced
 *   3. the log on the disk is emptied
 *
 * Whoever is killed in 1 leaves the older state; from then on the newer one, which SQLite takes from the log. The connections
 * that are open need not know: for them the log has been empty since the checkpoint, and from 3 on it is.
 *
 * The log's format: https://sqlite.org/fileformat2.html#the_write_ahead_log
 */
#include "spill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"

#define HEADER_BYTES       32
#define FRAME_HEADER_BYTES 24
#define FRAME_BYTES        (FRAME_HEADER_BYTES + OVERLAY_BLOCK)
/* Its last bit: the words that checksums are made of are big-endian. */
#define MAGIC   UINT32_C(0x377f0682)
#define VERSION UINT32_C(3007000)
#define SLACK   (512 << 10)

struct log {
	sqlite3_file *file;
	bool big_endian;
	uint32_t salt[2];
	uint32_t sum[2]; /* up to the end */
	uint64_t end;    /* behind the last commit */
};

static uint32_t get32(const unsigned char *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static uint32_t get32_little(const unsigned char *p)
{
	return (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
}

static void put32(unsigned char *p, uint32_t value)
{
	for (int i = 0; i < 4; i++)
		p[i] = (unsigned char)(value >> (24 - 8 * i));
}

static void add_sum(const struct log *log, uint32_t sum[2], const unsigned char *data, size_t len)
{
	for (size_t i = 0; i + 8 <= len; i += 8) {
		const unsigned char *p = data + i;
		sum[0] += (log->big_endian ? get32(p) : get32_little(p)) + sum[1];
		sum[1] += (log->big_endian ? get32(p + 4) : get32_little(p + 4)) + sum[0];
	}
}

/* The code of a failed call as an errno. */
static int failed(int rc)
{
	int err = spill_errno(rc);
	if (rc == SQLITE_IOERR_NOMEM || rc == SQLITE_NOMEM)
		return -ENOMEM;
	return err ? -err : -EIO;
}

static int write_at(sqlite3_file *file, const void *data, size_t len, uint64_t offset)
{
	errno = 0;
	int rc = file->pMethods->xWrite(file, data, (int)len, (sqlite3_int64)offset);
	return rc == SQLITE_OK ? 0 : failed(rc);
}

static int sync_file(sqlite3_file *file)
{
	errno = 0;
	int rc = file->pMethods->xSync(file, SQLITE_SYNC_FULL);
	return rc == SQLITE_OK ? 0 : failed(rc);
}

static int truncate_file(sqlite3_file *file, uint64_t size)
{
	errno = 0;
	int rc = file->pMethods->xTruncate(file, (sqlite3_int64)size);
	return rc == SQLITE_OK ? 0 : failed(rc);
}

static bool read_at(sqlite3_file *file, void *buf, size_t len, uint64_t offset)
{
	return file->pMethods->xRead(file, buf, (int)len, (sqlite3_int64)offset) == SQLITE_OK;
}

/* ---- the log on the disk ---- */

static bool read_header(struct log *log)
{
	unsigned char header[HEADER_BYTES];
	if (!read_at(log->file, header, sizeof(header), 0))
		return false;
	log->big_endian = get32(header) & 1;
	uint32_t sum[2] = {0, 0};
	add_sum(log, sum, header, 24);
	if ((get32(header) & ~UINT32_C(1)) != MAGIC || get32(header + 4) != VERSION ||
		get32(header + 8) != OVERLAY_BLOCK || get32(header + 24) != sum[0] ||
		get32(header + 28) != sum[1])
		return false;
	log->salt[0] = get32(header + 16);
	log->salt[1] = get32(header + 20);
	memcpy(log->sum, sum, sizeof(sum));
	log->end = HEADER_BYTES;
	return true;
}

/* Goes to the end of the last commit, as SQLite would after a crash. */
static void find_end(struct log *log)
{
	unsigned char frame[FRAME_BYTES];
	uint32_t sum[2] = {log->sum[0], log->sum[1]};
	for (uint64_t at = log->end; read_at(log->file, frame, sizeof(frame), at);) {
		add_sum(log, sum, frame, 8);
		add_sum(log, sum, frame + FRAME_HEADER_BYTES, OVERLAY_BLOCK);
		if (get32(frame) == 0 || get32(frame + 8) != log->salt[0] ||
			get32(frame + 12) != log->salt[1] || get32(frame + 16) != sum[0] ||
			get32(frame + 20) != sum[1])
			return;
		at += sizeof(frame);
		if (get32(frame + 4) == 0)
			continue;
		log->end = at;
		memcpy(log->sum, sum, sizeof(sum));
	}
}

static int write_header(struct log *log)
{
	unsigned char header[HEADER_BYTES] = {0};
	uint32_t sum[2] = {0, 0};
	log->big_endian = false;
	sqlite3_randomness(sizeof(log->salt), log->salt);
	put32(header, MAGIC);
	put32(header + 4, VERSION);
	put32(header + 8, OVERLAY_BLOCK);
	put32(header + 16, log->salt[0]);
	put32(header + 20, log->salt[1]);
	add_sum(log, sum, header, 24);
	put32(header + 24, sum[0]);
	put32(header + 28, sum[1]);
	memcpy(log->sum, sum, sizeof(sum));
	log->end = HEADER_BYTES;
	return write_at(log->file, header, sizeof(header), 0);
}

/* commit_pages: 0, or the size of the database, in the last frame. */
static int append_frame(struct log *log, uint64_t at, uint32_t page, uint32_t commit_pages,
	const unsigned char *block)
{
	unsigned char frame[FRAME_BYTES];
	put32(frame, page);
	put32(frame + 4, commit_pages);
	put32(frame + 8, log->salt[0]);
	put32(frame + 12, log->salt[1]);
	memcpy(frame + FRAME_HEADER_BYTES, block, OVERLAY_BLOCK);
	add_sum(log, log->sum, frame, 8);
	add_sum(log, log->sum, block, OVERLAY_BLOCK);
	put32(frame + 16, log->sum[0]);
	put32(frame + 20, log->sum[1]);
	return write_at(log->file, frame, sizeof(frame), at);
}

static int append_all(struct log *log, const struct overlay *db)
{
	uint64_t at = log->end;
	size_t left = db->count;
	int rc = 0;
	for (size_t i = 0; rc == 0 && left > 0; i++) {
		if (!db->blocks[i])
			continue;
		uint32_t pages = --left ? 0 : (uint32_t)(db->size / OVERLAY_BLOCK);
		rc = append_frame(log, at, (uint32_t)i + 1, pages, db->blocks[i]);
		at += FRAME_BYTES;
	}
	return rc < 0 ? rc : sync_file(log->file);
}

static int log_pages(sqlite3_file *file, const struct overlay *db)
{
	struct log log = {.file = file};
	int rc = 0;
	if (read_header(&log))
		find_end(&log);
	else
		rc = write_header(&log);
	if (rc == 0)
		rc = append_all(&log, db);
	/* Whether the last frame got there or not: both are states that the database may be in. */
	if (rc < 0)
		truncate_file(file, log.end);
	return rc;
}

/* ---- the database ---- */

static int write_pages(sqlite3_file *file, const struct overlay *db, size_t first)
{
	int rc = 0;
	for (size_t i = first; rc == 0 && i < db->cap; i++)
		if (db->blocks[i])
			rc = write_at(
				file, db->blocks[i], OVERLAY_BLOCK, (uint64_t)i * OVERLAY_BLOCK);
	return rc < 0 ? rc : sync_file(file);
}

/* There was no database, so there is no state before: SQLite takes no log for an empty file. The first page makes it one. */
static int write_new(sqlite3_file *file, const struct overlay *db)
{
	int rc = write_pages(file, db, 1);
	if (rc == 0)
		rc = write_at(file, db->blocks[0], OVERLAY_BLOCK, 0);
	if (rc == 0)
		rc = sync_file(file);
	if (rc < 0)
		truncate_file(file, 0);
	return rc;
}

/* ---- all of it ---- */

/* A file that could not be opened to write, when the store was opened, perhaps can be now. */
static int open_again(struct spill_file *file, int flags)
{
	struct spill *spill = file->spill;
	if (file->base && !file->read_only)
		return 0;
	if (file->base)
		file->base->pMethods->xClose(file->base);
	file->base = NULL;
	sqlite3_file *base = (sqlite3_file *)(file + 1);
	int out = 0;
	errno = 0;
	int rc = spill->base->xOpen(spill->base, file->path, base,
		flags | SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &out);
	if (rc != SQLITE_OK)
		return failed(rc);
	file->base = base;
	file->read_only = (out & SQLITE_OPEN_READONLY) != 0;
	return file->read_only ? -EROFS : 0;
}

static int write_back(struct spill *spill, struct spill_file *db, struct spill_file *wal)
{
	int rc = open_again(db, SQLITE_OPEN_MAIN_DB);
	if (rc == 0)
		rc = open_again(wal, SQLITE_OPEN_WAL);
	if (rc < 0)
		return rc;
	/* What was checkpointed right before it was frozen is perhaps not synced. */
	if (spill->db.count == 0)
		return sync_file(db->base);
	sqlite3_int64 size = 0;
	if (db->base->pMethods->xFileSize(db->base, &size) != SQLITE_OK)
		return -EIO;
	if (size == 0)
		return write_new(db->base, &spill->db);
	rc = log_pages(wal->base, &spill->db);
	return rc < 0 ? rc : write_pages(db->base, &spill->db, 0);
}

/* All of the log into the database, in memory; the log is empty then. */
static int checkpoint(sqlite3 *handle)
{
	int rc = sqlite3_wal_checkpoint_v2(handle, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	return rc == SQLITE_OK ? 0 : (rc & 0xff) == SQLITE_BUSY ? -EBUSY : failed(rc);
}

int spill_thaw(struct spill *spill, sqlite3 *handle)
{
	int rc = checkpoint(handle);
	if (rc < 0)
		return rc;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&spill->lock);
	struct spill_file *db = spill_find_file(spill, &spill->db);
	struct spill_file *wal = spill_find_file(spill, &spill->wal);
	if (!db || !wal)
		return -EIO;
	rc = write_back(spill, db, wal);
	if (rc == 0)
		rc = truncate_file(wal->base, 0);
	if (rc < 0)
		return rc;
	overlay_finish(&spill->db);
	overlay_finish(&spill->wal);
	atomic_store_explicit(&spill->frozen, false, memory_order_release);
	return 0;
}

uint64_t spill_need_bytes(struct spill *spill)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&spill->lock);
	const struct overlay *db = &spill->db;
	uint64_t growth = db->size > db->base_size ? db->size - db->base_size : 0;
	return growth + (uint64_t)(db->count + spill->wal.count) * FRAME_BYTES + SLACK;
}
