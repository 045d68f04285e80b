/* SPDX-License-Identifier: MIT */
/* The length of a body: set, cut, forgotten. See body.h. */
#include "body.h"

#include <errno.h>
#include <string.h>

#include "mailfs/util/log.h"

/* Sets the size where that takes no bytes away; false: it does. *ret_due: it is time to record. */
static bool grow_to(struct store_body *body, uint64_t size, bool *ret_due)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	if (ranges_end(&body->held) > size)
		return false;
	if (!body->size_known || body->size != size)
		body->dirty = true;
	body->size = size;
	body->size_known = true;
	*ret_due = body_due(body);
	return true;
}

/* Sets the size and takes away what is held past it. */
static void shrink_to(struct store_body *body, uint64_t size)
{
	_cleanup_unlock_ pthread_mutex_t *store_guard = lock(&body->store->lock);
	pthread_rwlock_wrlock(&body->io);
	/* Where the file can not be cut it is too long, which nobody sees. */
	bool open = body->fd >= 0 || body_open_file(body) == 0;
	/* The rest of the piece that is cut gets a checksum of its own: not if it is not what was written. */
	if (open)
		(void)body_sums_check(body, size, size + 1, NULL);
	pthread_mutex_lock(&body->lock);
	body_cut(body, size);
	body->cuts++;
	body->size = size;
	body->size_known = true;
	body->dirty = true;
	pthread_mutex_unlock(&body->lock);
	if (open && ftruncate(body->fd, (off_t)size) < 0)
		log_debug("store: a body's file could not be cut: %s", strerror(errno));
	if (body_record_locked(body) < 0)
		body_disown_locked(body);
	pthread_rwlock_unlock(&body->io);
}

int store_body_set_size(struct store_body *body, uint64_t size_bytes)
{
	if (body->spooled)
		return size_bytes == body->size ? 0 : -EPERM;
	if (size_bytes > INT64_MAX)
		return -EINVAL;
	bool record_now = false;
	if (!grow_to(body, size_bytes, &record_now))
		shrink_to(body, size_bytes);
	else if (record_now)
		body_record(body);
	return 0;
}

bool store_body_size(const struct store_body *body, uint64_t *ret)
{
	/* The lock is not part of what const promises. */
	struct store_body *unconst = (struct store_body *)body;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&unconst->lock);
	if (body->size_known)
		*ret = body->size;
	return body->size_known;
}

uint64_t store_body_held(const struct store_body *body, uint64_t offset)
{
	struct store_body *unconst = (struct store_body *)body;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&unconst->lock);
	return body->lost ? 0 : ranges_held(&body->held, offset);
}

int store_body_drop(struct store_body *body)
{
	struct store *store = body->store;
	if (body->spooled)
		return -EPERM;
	_cleanup_unlock_ pthread_mutex_t *store_guard = lock(&store->lock);
	pthread_rwlock_wrlock(&body->io);
	pthread_mutex_lock(&body->lock);
	body_cut(body, 0);
	body->cuts++;
	body->size = 0;
	body->size_known = false;
	body->dirty = true;
	pthread_mutex_unlock(&body->lock);
	cleanup_close(&body->fd);
	body->fd = -1;
	int rc = body->disowned ? 0 : body_file_remove(store, body->id, body->section);
	if (body_record_locked(body) < 0) {
		body->disowned = true;
		body_forget_row(body);
	} else {
		rc = 0;
	}
	pthread_rwlock_unlock(&body->io);
	return rc;
}
