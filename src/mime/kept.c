/* SPDX-License-Identifier: MIT */
/* The structure that was used last: see mime.h. Who takes it has it alone, so that nobody counts references. */
#include <stdlib.h>

#include "mailfs/mime.h"
#include "mailfs/util/cleanup.h"

void mime_kept_init(struct mime_kept *kept)
{
	*kept = (struct mime_kept){0};
	pthread_mutex_init(&kept->lock, NULL);
}

void mime_kept_finish(struct mime_kept *kept)
{
	mime_part_destroy(kept->part);
	pthread_mutex_destroy(&kept->lock);
}

bool mime_kept_has(struct mime_kept *kept, uint64_t id)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&kept->lock);
	return kept->part && kept->id == id;
}

struct mime_part *mime_kept_take(struct mime_kept *kept, uint64_t id)
{
	pthread_mutex_lock(&kept->lock);
	bool same = kept->id == id;
	struct mime_part *part = steal_ptr(kept->part);
	pthread_mutex_unlock(&kept->lock);
	if (same)
		return part;
	mime_part_destroy(part);
	return NULL;
}

void mime_kept_put(struct mime_kept *kept, uint64_t id, struct mime_part *part)
{
	pthread_mutex_lock(&kept->lock);
	struct mime_part *old = kept->part;
	kept->id = id;
	kept->part = part;
	pthread_mutex_unlock(&kept->lock);
	mime_part_destroy(old);
}
