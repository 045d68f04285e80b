/* SPDX-License-Identifier: MIT */
/* The file of a body: opening, reading, writing. See body.h. */
#include "body.h"
#include "evict.h"

#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

int body_open_file(struct store_body *body)
{
	if (body->spooled)
		return body_spooled_open(body);
	pthread_mutex_lock(&body->lock);
	bool empty = body->held.count == 0;
	pthread_mutex_unlock(&body->lock);
	/* What an empty body finds in its file was never recorded. */
	int fd = body->disowned ? body_file_open_nameless(body->store)
	                        : body_file_open(body->store, body->id, body->section, empty);
	if (fd < 0)
		return fd;
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EIO;
	}
	body->fd = fd;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	body_cut(body, (uint64_t)st.st_size);
	return 0;
}

int body_io_begin(struct store_body *body)
{
	for (;;) {
		pthread_rwlock_rdlock(&body->io);
		if (body->fd >= 0)
			return 0;
		pthread_rwlock_unlock(&body->io);
		pthread_rwlock_wrlock(&body->io);
		int rc = body->fd < 0 ? body_open_file(body) : 0;
		pthread_rwlock_unlock(&body->io);
		if (rc < 0)
			return rc;
	}
}

void body_io_end(struct store_body *body)
{
	pthread_rwlock_unlock(&body->io);
}

/* -EFBIG apart: against that no room helps. */
static int write_fully(int fd, const char *data, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, data, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 && errno == EFBIG ? -EFBIG : store_errno(n < 0 ? errno : EIO);
		data += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

ssize_t body_read_fully(int fd, char *buf, size_t len, uint64_t offset)
{
	size_t done = 0;
	while (done < len) {
		ssize_t n = pread(fd, buf + done, len - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return store_errno(errno);
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* How much of [offset, offset + len) can be read: as store_body_read() returns it. */
static ssize_t readable(struct store_body *body, size_t len, uint64_t offset)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	if (body->lost)
		return -EIO;
	if (body->size_known && offset >= body->size)
		return 0;
	uint64_t held = ranges_held(&body->held, offset);
	if (held == 0)
		return -ENODATA;
	if (len > held)
		len = (size_t)held;
	return len > SSIZE_MAX ? SSIZE_MAX : (ssize_t)len;
}

/* A file that ends before its map does was cut by a stranger: what is missing is not held. */
static ssize_t read_cut(struct store_body *body, ssize_t n, uint64_t offset)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	body_cut(body, offset + (uint64_t)n);
	return n ? n : -ENODATA;
}

/*
 * As much as can be read, once those pieces were compared that it was read from: first read, because a piece that is in buf as a whole need
 * not be read again to be compared. *ret_bad: there is something to record.
 */
static ssize_t read_held(
	struct store_body *body, void *buf, size_t len, uint64_t offset, bool *ret_bad)
{
	ssize_t want = readable(body, len, offset);
	if (want <= 0)
		return want;
	ssize_t n = body_read_fully(body->fd, buf, (size_t)want, offset);
	if (n >= 0 && n < want)
		n = read_cut(body, n, offset);
	if (n <= 0)
		return n;
	const struct body_bytes bytes = {buf, offset, offset + (uint64_t)n};
	int rc = body_sums_check(body, bytes.start, bytes.end, &bytes);
	if (rc < 0)
		return rc;
	*ret_bad = rc > 0;
	/* Or less: never more than was compared. */
	return readable(body, (size_t)n, offset);
}

static ssize_t read_cached(struct store_body *body, void *buf, size_t len, uint64_t offset)
{
	bool bad = false;
	int rc = body_io_begin(body);
	if (rc < 0)
		return rc;
	ssize_t n = read_held(body, buf, len, offset, &bad);
	body_io_end(body);
	if (n > 0 && !atomic_load(&body->used))
		atomic_store(&body->used, true);
	if (bad)
		body_record(body);
	return n;
}

static ssize_t read_spooled(struct store_body *body, void *buf, size_t len, uint64_t offset)
{
	int rc = body_io_begin(body);
	if (rc < 0)
		return body_spooled_lose(body, rc);
	ssize_t n = readable(body, len, offset);
	ssize_t want = n;
	if (want > 0)
		n = body_read_fully(
			body->fd, buf, (size_t)want, body->known.place.position + offset);
	body_io_end(body);
	return n >= 0 && n < want ? body_spooled_lose(body, -EBADMSG)
	                          : body_spooled_check_read(body, buf, n, offset);
}

ssize_t store_body_read(struct store_body *body, void *buf, size_t len, uint64_t offset)
{
	/* First without the file, which need not exist as long as nothing is held. */
	ssize_t n = readable(body, len, offset);
	if (n <= 0)
		return n;
	return body->spooled ? read_spooled(body, buf, len, offset)
	                     : read_cached(body, buf, len, offset);
}

/* The bytes of [offset, offset + len) that lie before the known end. */
static size_t clip(const struct store_body *body, size_t len, uint64_t offset)
{
	if (!body->size_known)
		return len;
	if (offset >= body->size)
		return 0;
	return len < body->size - offset ? len : (size_t)(body->size - offset);
}

/* What [offset, offset + len) touches, in whole blocks. */
static uint64_t span(size_t len, uint64_t offset)
{
	uint64_t first = offset / USAGE_BLOCK_BYTES;
	uint64_t last = (offset + len - 1) / USAGE_BLOCK_BYTES;
	return (last - first + 1) * USAGE_BLOCK_BYTES;
}

/* What writing it takes on the disk beyond what the body has there already; body->lock is held. */
static uint64_t more_bytes(const struct store_body *body, size_t len, uint64_t offset)
{
	uint64_t start = offset - offset % USAGE_BLOCK_BYTES, all = span(len, offset);
	return all - ranges_blocks(&body->held, start, start + all, USAGE_BLOCK_BYTES);
}

static size_t writable(struct store_body *body, size_t len, uint64_t offset, uint64_t *ret_more)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	len = clip(body, len, offset);
	*ret_more = len ? more_bytes(body, len, offset) : 0;
	return len;
}

/*
 * Counts as held what was written; reserved: what was taken for it on the disk. *ret_due: it is time to record. The checksums
 * of what was there before are void, also where it was written over.
 */
static int count_held(
	struct store_body *body, size_t len, uint64_t offset, uint64_t reserved, bool *ret_due)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	len = clip(body, len, offset);
	uint64_t more = len ? more_bytes(body, len, offset) : 0;
	int rc = ranges_add(&body->held, offset, offset + len);
	sums_forget(&body->sums, offset, offset + len);
	if (rc < 0)
		more = 0;
	body->taken_bytes += more;
	usage_take(body->store, (int64_t)more - (int64_t)reserved);
	if (rc < 0 || len == 0)
		return rc;
	body->dirty = true;
	body->unrecorded_bytes += len;
	*ret_due = *ret_due || body_due(body);
	return 0;
}

/* body->io is held. What could be recorded in memory only is not written, but where nothing is recorded anyway. */
static int write_compared(
	struct store_body *body, const void *data, size_t len, uint64_t offset, bool *ret_record)
{
	if (!body->disowned && db_spilling(&body->store->db))
		return -ENOSPC;
	int rc = body_sums_check(body, offset, offset + len, NULL);
	if (rc < 0)
		return rc;
	*ret_record = rc > 0;
	return write_fully(body->fd, data, len, offset);
}

/* Writes and counts; what was reserved for it is taken, or given back. */
static int write_reserved(
	struct store_body *body, const void *data, size_t len, uint64_t offset, uint64_t reserved)
{
	bool record_now = false;
	int rc = body_io_begin(body);
	bool begun = rc == 0;
	if (rc == 0)
		rc = write_compared(body, data, len, offset, &record_now);
	if (rc == 0)
		rc = count_held(body, len, offset, reserved, &record_now);
	else
		usage_take(body->store, -(int64_t)reserved);
	if (begun)
		body_io_end(body);
	if (record_now)
		body_record(body);
	return rc;
}

static int try_write(struct store_body *body, const void *data, size_t len, uint64_t offset)
{
	uint64_t more;
	len = writable(body, len, offset, &more);
	if (len == 0)
		return 0;
	int rc = evict_reserve(body->store, more);
	return rc < 0 ? rc : write_reserved(body, data, len, offset, more);
}

int store_body_write(struct store_body *body, const void *data, size_t len, uint64_t offset)
{
	if (body->spooled)
		return -EPERM;
	if (offset > INT64_MAX || len > INT64_MAX - offset)
		return -EINVAL;
	atomic_store(&body->used, true);
	int rc = try_write(body, data, len, offset);
	if (rc == -ENOSPC && evict_for_disk(body->store, len))
		rc = try_write(body, data, len, offset);
	return rc == -EFBIG ? -ENOSPC : rc;
}
