/* SPDX-License-Identifier: MIT */
/*
 * A full disk, below SQLite. While there is room every call goes to the VFS of the system. When the write-ahead log can not be
 * written because the disk is full, over quota, at its limit of file sizes, or read-only, the files are frozen: database and log
 * stay on the disk as they are, and all later writes go to overlays in memory, checkpoints too. Nothing above notices.
 *
 * Why that is safe: at any moment the files on the disk are what a process that was killed at that moment would have left, and
 * from that SQLite finds back to the last commit that is in them. So the next opening finds an older state, never a mixed one: what it knows
 * of a mailbox is as old as its rows. spill_thaw() brings the disk up to date in one step.
 *
 * Reads are not locked where nothing is frozen, and neither are writes: SQLite does not read what it is writing; and a write
 * of the checkpointing thread that is under way when the writer freezes is one that came right before.
 *
 * The rest of the VFS is the system's. Where the file of the log's index (store.db-shm) can not grow, the part that is missing is in memory;
 * both connections are of this process.
 */
#include "spill.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/cleanup.h"

uint64_t spill_limit_bytes = UINT64_C(64) << 20;

static struct spill_file *as_file(sqlite3_file *file)
{
	return (struct spill_file *)file;
}

int spill_errno(int rc)
{
	int err = errno;
	switch (rc & 0xff) {
	case SQLITE_FULL:
		return ENOSPC;
	case SQLITE_READONLY:
		return EROFS;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
		return err == ENOSPC || err == EDQUOT || err == EFBIG || err == EROFS ? err : 0;
	default:
		return 0;
	}
}

static int from_errno(int rc)
{
	return rc == -ENOMEM ? SQLITE_IOERR_NOMEM : rc;
}

/* ---- freezing ---- */

static uint64_t base_size(const struct spill_file *file)
{
	sqlite3_int64 size = 0;
	if (!file->base || file->base->pMethods->xFileSize(file->base, &size) != SQLITE_OK)
		return 0;
	return (uint64_t)size;
}

struct spill_file *spill_find_file(struct spill *spill, const struct overlay *overlay)
{
	struct spill_file *file = spill->files;
	while (file && file->overlay != overlay)
		file = file->next;
	return file;
}

/* spill->lock is held. */
static void begin_overlay(struct spill *spill, struct overlay *overlay)
{
	struct spill_file *file = spill_find_file(spill, overlay);
	overlay_begin(overlay, file ? base_size(file) : 0);
}

/* Whether a database's pages are blocks of an overlay. None is not, unless a stranger has made it. */
static bool fits(const struct spill_file *db)
{
	unsigned char size[2];
	if (base_size(db) == 0)
		return true;
	return db->base->pMethods->xRead(db->base, size, 2, 16) == SQLITE_OK &&
	       (size[0] << 8 | size[1]) == OVERLAY_BLOCK;
}

/* false: that can not be. */
static bool freeze(struct spill *spill, int err)
{
	pthread_mutex_lock(&spill->lock);
	struct spill_file *db = spill_find_file(spill, &spill->db);
	bool may = db && fits(db);
	if (may) {
		begin_overlay(spill, &spill->db);
		begin_overlay(spill, &spill->wal);
		spill->err = err;
		atomic_store_explicit(&spill->frozen, true, memory_order_release);
	}
	pthread_mutex_unlock(&spill->lock);
	if (may && spill->fn)
		spill->fn(spill->arg);
	return may;
}

/* ---- a file ---- */

static int read_base(void *arg, void *buf, size_t len, uint64_t offset)
{
	struct spill_file *file = arg;
	if (!file->base) {
		memset(buf, 0, len);
		return 0;
	}
	int rc = file->base->pMethods->xRead(file->base, buf, (int)len, (sqlite3_int64)offset);
	return rc == SQLITE_IOERR_SHORT_READ ? 0 : rc;
}

static int file_read(sqlite3_file *opaque, void *buf, int len, sqlite3_int64 offset)
{
	struct spill_file *file = as_file(opaque);
	if (!spill_frozen(file->spill))
		return file->base->pMethods->xRead(file->base, buf, len, offset);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&file->spill->lock);
	int rc = overlay_read(file->overlay, buf, (size_t)len, (uint64_t)offset, read_base, file);
	if (rc == 0 && (uint64_t)offset + (uint64_t)len > file->overlay->size)
		return SQLITE_IOERR_SHORT_READ;
	return from_errno(rc);
}

/* Whether the log may take one page more. A checkpoint always may: it makes room in the log. */
static bool may_grow(const struct spill_file *file)
{
	const struct spill *spill = file->spill;
	return file->overlay == &spill->db ||
	       (uint64_t)(spill->db.count + spill->wal.count + 2) * OVERLAY_BLOCK <=
	               spill_limit_bytes;
}

static int write_overlay(struct spill_file *file, const void *data, int len, sqlite3_int64 offset)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&file->spill->lock);
	/* The log's header is written when all that it has is in the database: it begins anew. */
	if (file->overlay == &file->spill->wal && offset == 0)
		overlay_truncate(file->overlay, 0);
	if (!may_grow(file))
		return SQLITE_FULL;
	return from_errno(
		overlay_write(file->overlay, data, (size_t)len, (uint64_t)offset, read_base, file));
}

/* What was written while another thread froze is on the disk, and counts. */
static void note_end(struct spill_file *file, uint64_t end)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&file->spill->lock);
	struct overlay *overlay = file->overlay;
	if (overlay->base_size == overlay->size && overlay->size < end)
		overlay->base_size = overlay->size = end;
}

static int file_write(sqlite3_file *opaque, const void *data, int len, sqlite3_int64 offset)
{
	struct spill_file *file = as_file(opaque);
	struct spill *spill = file->spill;
	if (spill_frozen(spill))
		return write_overlay(file, data, len, offset);
	errno = 0;
	int rc = file->base->pMethods->xWrite(file->base, data, len, offset);
	if (rc == SQLITE_OK && spill_frozen(spill))
		note_end(file, (uint64_t)offset + (uint64_t)len);
	int err = rc == SQLITE_OK ? 0 : spill_errno(rc);
	/* A checkpoint that fails costs nothing: the log has it all. */
	if (!err || file->overlay != &spill->wal || !freeze(spill, err))
		return rc;
	return write_overlay(file, data, len, offset);
}

static int file_truncate(sqlite3_file *opaque, sqlite3_int64 size)
{
	struct spill_file *file = as_file(opaque);
	if (!spill_frozen(file->spill))
		return file->base->pMethods->xTruncate(file->base, size);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&file->spill->lock);
	overlay_truncate(file->overlay, (uint64_t)size);
	return SQLITE_OK;
}

static int file_sync(sqlite3_file *opaque, int flags)
{
	struct spill_file *file = as_file(opaque);
	if (spill_frozen(file->spill))
		return SQLITE_OK;
	return file->base->pMethods->xSync(file->base, flags);
}

static int file_size(sqlite3_file *opaque, sqlite3_int64 *ret)
{
	struct spill_file *file = as_file(opaque);
	if (!spill_frozen(file->spill))
		return file->base->pMethods->xFileSize(file->base, ret);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&file->spill->lock);
	*ret = (sqlite3_int64)file->overlay->size;
	return SQLITE_OK;
}

static int file_close(sqlite3_file *opaque)
{
	struct spill_file *file = as_file(opaque), **link;
	pthread_mutex_lock(&file->spill->lock);
	for (link = &file->spill->files; *link != file; link = &(*link)->next)
		;
	*link = file->next;
	pthread_mutex_unlock(&file->spill->lock);
	return file->base ? file->base->pMethods->xClose(file->base) : SQLITE_OK;
}

/* Nobody else has the database where it stands alone: the store's lock file sees to that. */
static int file_lock(sqlite3_file *opaque, int level)
{
	struct spill_file *file = as_file(opaque);
	return file->spill->alone ? SQLITE_OK : file->base->pMethods->xLock(file->base, level);
}

static int file_unlock(sqlite3_file *opaque, int level)
{
	struct spill_file *file = as_file(opaque);
	return file->spill->alone ? SQLITE_OK : file->base->pMethods->xUnlock(file->base, level);
}

static int file_check_reserved(sqlite3_file *opaque, int *ret)
{
	struct spill_file *file = as_file(opaque);
	if (!file->spill->alone)
		return file->base->pMethods->xCheckReservedLock(file->base, ret);
	*ret = 0;
	return SQLITE_OK;
}

static int file_control(sqlite3_file *opaque, int op, void *arg)
{
	struct spill_file *file = as_file(opaque);
	/* The hint would make the file on the disk grow. */
	if (!file->base || (op == SQLITE_FCNTL_SIZE_HINT && spill_frozen(file->spill)))
		return SQLITE_NOTFOUND;
	return file->base->pMethods->xFileControl(file->base, op, arg);
}

static int file_sector_size(sqlite3_file *opaque)
{
	struct spill_file *file = as_file(opaque);
	return file->base ? file->base->pMethods->xSectorSize(file->base) : OVERLAY_BLOCK;
}

static int file_characteristics(sqlite3_file *opaque)
{
	struct spill_file *file = as_file(opaque);
	return file->base ? file->base->pMethods->xDeviceCharacteristics(file->base)
	                  : SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

/* ---- the log's index ---- */

static int file_shm_map(sqlite3_file *opaque, int region, int size, int extend, void volatile **ret)
{
	struct spill_file *file = as_file(opaque);
	struct spill *spill = file->spill;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&spill->lock);
	bool in_range = region > 0 && region < SPILL_SHM_REGIONS;
	if (in_range && spill->shm[region]) {
		*ret = spill->shm[region];
		return SQLITE_OK;
	}
	errno = 0;
	int rc = file->base->pMethods->xShmMap(file->base, region, size, extend, ret);
	/* The first one stays the disk's: by it another process would see that the database is in use. */
	if (rc != SQLITE_IOERR_SHMSIZE || !extend || !in_range)
		return rc;
	*ret = spill->shm[region] = calloc(1, (size_t)size);
	return *ret ? SQLITE_OK : SQLITE_NOMEM;
}

static int file_shm_lock(sqlite3_file *opaque, int offset, int n, int flags)
{
	struct spill_file *file = as_file(opaque);
	return file->base->pMethods->xShmLock(file->base, offset, n, flags);
}

static void file_shm_barrier(sqlite3_file *opaque)
{
	struct spill_file *file = as_file(opaque);
	file->base->pMethods->xShmBarrier(file->base);
}

static int file_shm_unmap(sqlite3_file *opaque, int delete)
{
	struct spill_file *file = as_file(opaque);
	return file->base->pMethods->xShmUnmap(file->base, delete);
}

static const sqlite3_io_methods file_methods = {
	.iVersion = 2,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = file_lock,
	.xUnlock = file_unlock,
	.xCheckReservedLock = file_check_reserved,
	.xFileControl = file_control,
	.xSectorSize = file_sector_size,
	.xDeviceCharacteristics = file_characteristics,
	.xShmMap = file_shm_map,
	.xShmLock = file_shm_lock,
	.xShmBarrier = file_shm_barrier,
	.xShmUnmap = file_shm_unmap,
};
/* A file that is not there has no index that could be shared. */
static const sqlite3_io_methods alone_methods = {
	.iVersion = 1,
	.xClose = file_close,
	.xRead = file_read,
	.xWrite = file_write,
	.xTruncate = file_truncate,
	.xSync = file_sync,
	.xFileSize = file_size,
	.xLock = file_lock,
	.xUnlock = file_unlock,
	.xCheckReservedLock = file_check_reserved,
	.xFileControl = file_control,
	.xSectorSize = file_sector_size,
	.xDeviceCharacteristics = file_characteristics,
};

/* ---- the VFS ---- */

static struct spill *of_vfs(sqlite3_vfs *vfs)
{
	return (struct spill *)((char *)vfs - offsetof(struct spill, vfs));
}

/* Opens what is on the disk, as far as there is something. */
static int open_base(struct spill_file *file, int flags, int *ret_flags)
{
	struct spill *spill = file->spill;
	sqlite3_file *base = (sqlite3_file *)(file + 1);
	int rc = spill->base->xOpen(spill->base, file->path, base, flags, ret_flags);
	if (rc == SQLITE_OK) {
		file->base = base;
		file->read_only = (*ret_flags & SQLITE_OPEN_READONLY) != 0;
	}
	if (!spill_frozen(spill))
		return rc;
	/* Nothing of it is written. */
	*ret_flags = flags;
	return SQLITE_OK;
}

static int open_file(
	struct spill *spill, const char *name, struct spill_file *file, int flags, int *ret_flags)
{
	int out = flags;
	*file = (struct spill_file){
		.methods.pMethods = spill->alone ? &alone_methods : &file_methods,
		.spill = spill,
		.path = name,
		.overlay = flags & SQLITE_OPEN_WAL ? &spill->wal : &spill->db,
	};
	int rc = open_base(file, flags, &out);
	if (rc == SQLITE_OK && spill->alone && flags & SQLITE_OPEN_MAIN_DB && !fits(file)) {
		file->base->pMethods->xClose(file->base);
		rc = SQLITE_CANTOPEN;
	}
	if (rc != SQLITE_OK) {
		file->methods.pMethods = NULL;
		return rc;
	}
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&spill->lock);
	file->next = spill->files;
	spill->files = file;
	if (spill->alone && spill_frozen(spill))
		begin_overlay(spill, file->overlay);
	if (ret_flags)
		*ret_flags = out;
	return SQLITE_OK;
}

static int vfs_open(
	sqlite3_vfs *vfs, const char *name, sqlite3_file *file, int flags, int *ret_flags)
{
	struct spill *spill = of_vfs(vfs);
	if (!name || !(flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)))
		return spill->base->xOpen(spill->base, name, file, flags, ret_flags);
	return open_file(spill, name, as_file(file), flags, ret_flags);
}

/* What is frozen stays: the log of the disk is part of its older state. */
static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync_directory)
{
	struct spill *spill = of_vfs(vfs);
	if (spill_frozen(spill))
		return SQLITE_OK;
	return spill->base->xDelete(spill->base, name, sync_directory);
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *ret)
{
	struct spill *spill = of_vfs(vfs);
	return spill->base->xAccess(spill->base, name, flags, ret);
}

int spill_init(struct spill *spill, int alone_err, spill_frozen_fn *fn, void *arg)
{
	sqlite3_vfs *base = sqlite3_vfs_find(NULL);
	*spill = (struct spill){
		.base = base, .alone = alone_err != 0, .err = alone_err, .fn = fn, .arg = arg};
	if (!base)
		return SQLITE_ERROR;
	atomic_init(&spill->frozen, spill->alone);
	pthread_mutex_init(&spill->lock, NULL);
	sqlite3_snprintf(sizeof(spill->name), spill->name, "mailfs-%p", (void *)spill);
	spill->vfs = *base;
	spill->vfs.pNext = NULL;
	spill->vfs.zName = spill->name;
	spill->vfs.szOsFile = (int)sizeof(struct spill_file) + base->szOsFile;
	spill->vfs.xOpen = vfs_open;
	spill->vfs.xDelete = vfs_delete;
	spill->vfs.xAccess = vfs_access;
	return sqlite3_vfs_register(&spill->vfs, 0);
}

void spill_finish(struct spill *spill)
{
	if (!spill->base)
		return;
	sqlite3_vfs_unregister(&spill->vfs);
	overlay_finish(&spill->db);
	overlay_finish(&spill->wal);
	for (int i = 0; i < SPILL_SHM_REGIONS; i++)
		free(spill->shm[i]);
	pthread_mutex_destroy(&spill->lock);
	spill->base = NULL;
}
