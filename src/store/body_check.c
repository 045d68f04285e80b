/* SPDX-License-Identifier: MIT */
/* See body_check.h. */
#include "body_check.h"

#include <errno.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/hash.h"

void body_check_init(struct body_check *check)
{
	pthread_mutex_init(&check->lock, NULL);
	check->done_bytes = 0;
	check->checksum = HASH64_INIT;
}

void body_check_finish(struct body_check *check)
{
	pthread_mutex_destroy(&check->lock);
}

int body_check_piece(struct body_check *check, const void *data, size_t len, uint64_t offset,
	uint64_t size_bytes, uint64_t checksum)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&check->lock);
	if (offset > check->done_bytes || offset + len <= check->done_bytes)
		return 0;
	size_t known = (size_t)(check->done_bytes - offset);
	check->checksum = hash64(check->checksum, (const char *)data + known, len - known);
	check->done_bytes = offset + len;
	return check->done_bytes == size_bytes && check->checksum != checksum ? -EBADMSG : 0;
}
