/* SPDX-License-Identifier: MIT */
/* Bodies that are spooled messages: whole, never written here, and compared with what was written to the spool. See body.h. */
#include "body.h"

#include <errno.h>

/* One whose message was replaced has the old bytes, if it has opened its file, or none. */
int body_spooled_open(struct store_body *body)
{
	int fd = body->disowned ? -ENOENT : body_file_open_whole(body->store, &body->known.place);
	if (fd < 0)
		return fd;
	body->fd = fd;
	return 0;
}

int body_spooled_load(struct store_body *body)
{
	struct spool_known known;
	int rc = *body->section ? 0 : spool_find(body->store, body->id, &known);
	if (rc < 0)
		return rc;
	body->spooled = rc > 0;
	body->disowned = rc == 0;
	if (rc == 0)
		return 0;
	body->lost = known.lost;
	body->known = known;
	body->size = known.place.size_bytes;
	body->size_known = true;
	return ranges_add(&body->held, 0, body->size);
}

int body_spooled_lose(struct store_body *body, int rc)
{
	if (rc != -ENOENT && rc != -EBADMSG)
		return rc;
	pthread_mutex_lock(&body->lock);
	body->lost = true;
	pthread_mutex_unlock(&body->lock);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->store->lock);
	if (!body->disowned)
		spool_lose(body->store, &body->known.place, rc);
	return -EIO;
}

/* Those in a pack are small: comparing all of the bytes costs little, and none that are wrong are served. */
void body_spooled_check(struct store_body *body)
{
	int rc = 0;
	if (!body->lost)
		rc = body->known.place.pack
		             ? spool_compare(body->store, &body->known)
		             : body_file_check_whole(body->store, &body->known.place);
	if (rc < 0)
		body_spooled_lose(body, rc);
}

/* A large one is compared when all of it was read, in order: who reads it then is told at the end of it. */
ssize_t body_spooled_check_read(
	struct store_body *body, const void *data, ssize_t n, uint64_t offset)
{
	const struct spool_known *known = &body->known;
	if (n <= 0 || known->place.pack)
		return n;
	int rc = body_check_piece(
		&body->check, data, (size_t)n, offset, known->place.size_bytes, known->checksum);
	return rc < 0 ? body_spooled_lose(body, rc) : n;
}
