/* SPDX-License-Identifier: MIT */
/* The file of a body: opening, reading, writing. See body.h. */
#include "body.h"

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

static int write_fully(int fd, const char *data, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, data, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return store_errno(n < 0 ? errno : EIO);
		data += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* The number of bytes read, fewer than len only at the end of the file. */
static ssize_t read_fully(int fd, char *buf, size_t len, uint64_t offset)
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

ssize_t store_body_read(struct store_body *body, void *buf, size_t len, uint64_t offset)
{
	/* First without the file, which need not exist as long as nothing is held. */
	ssize_t n = readable(body, len, offset);
	if (n <= 0)
		return n;
	int rc = body_io_begin(body);
	if (rc < 0)
		return body->spooled ? body_spooled_lose(body, rc) : rc;
	n = readable(body, len, offset);
	ssize_t want = n;
	if (want > 0)
		n = read_fully(body->fd, buf, (size_t)want, body->known.place.position + offset);
	bool was_cut = n >= 0 && n < want;
	if (was_cut && !body->spooled)
		n = read_cut(body, n, offset);
	body_io_end(body);
	if (!body->spooled)
		return n;
	return was_cut ? body_spooled_lose(body, -EBADMSG)
	               : body_spooled_check_read(body, buf, n, offset);
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

static size_t writable(struct store_body *body, size_t len, uint64_t offset)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	return clip(body, len, offset);
}

/* Counts as held what was written; *ret_due: it is time to record. */
static int count_held(struct store_body *body, size_t len, uint64_t offset, bool *ret_due)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	len = clip(body, len, offset);
	if (ranges_held(&body->held, offset) >= len)
		return 0;
	int rc = ranges_add(&body->held, offset, offset + len);
	if (rc < 0)
		return rc;
	body->dirty = true;
	body->unrecorded_bytes += len;
	*ret_due = body_due(body);
	return 0;
}

int store_body_write(struct store_body *body, const void *data, size_t len, uint64_t offset)
{
	if (body->spooled)
		return -EPERM;
	if (offset > INT64_MAX || len > INT64_MAX - offset)
		return -EINVAL;
	len = writable(body, len, offset);
	if (len == 0)
		return 0;
	int rc = body_io_begin(body);
	if (rc < 0)
		return rc;
	bool record_now = false;
	rc = write_fully(body->fd, data, len, offset);
	if (rc == 0)
		rc = count_held(body, len, offset, &record_now);
	body_io_end(body);
	if (record_now)
		body_record(body);
	return rc;
}
