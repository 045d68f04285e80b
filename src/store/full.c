/* SPDX-License-Identifier: MIT */
/*
 * A disk that is full, or read-only: what to do about it, and what is said. That the database goes on in memory, and how it
 * gets back, is below: spill.c, thaw.c.
 *
 * When it becomes full, bodies make room. If that does not help one warning says so, and once a minute it is
 * seen whether there is room again.
 */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

#define RETRY_MS 60000
/* What is made room for beyond what is needed at once. */
#define AHEAD_BYTES (16 << 20)
#define PIECE_BYTES (64 << 10)

/* For file systems that can not set room aside. */
static int write_zeros(int fd, uint64_t bytes)
{
	static const char zeros[PIECE_BYTES];
	for (uint64_t at = 0; at < bytes;) {
		size_t len = bytes - at < sizeof(zeros) ? (size_t)(bytes - at) : sizeof(zeros);
		ssize_t n = pwrite(fd, zeros, len, (off_t)at);
		if (n < 0 && errno != EINTR)
			return -errno;
		at += n > 0 ? (uint64_t)n : 0;
	}
	return 0;
}

/* Whether the disk takes so much more, by trying: what a quota leaves can not be asked for. */
static int probe(struct store *store, uint64_t bytes)
{
	_cleanup_close_ int fd =
		store_openat(store, store->dir_fd, "room", O_RDWR | O_CREAT | O_TRUNC);
	if (fd < 0)
		return -errno;
	int rc = fallocate(fd, 0, 0, (off_t)bytes) < 0 ? -errno : 0;
	if (rc == -EOPNOTSUPP)
		rc = write_zeros(fd, bytes);
	unlinkat(store->dir_fd, "room", 0);
	return rc;
}

/* store->lock is held. */
static int write_back(struct store *store)
{
	/* Without the lock file another mailfs may have begun in the meantime. */
	if (store->lock_missing)
		return -ENOSPC;
	int rc = probe(store, spill_need_bytes(&store->db.spill));
	return rc < 0 ? rc : db_thaw(&store->db);
}

static int make_room(struct store *store)
{
	int rc = write_back(store);
	bool may_help = rc == -ENOSPC || rc == -EDQUOT;
	if (store->full.told || !may_help)
		return rc;
	if (store_make_room(store, spill_need_bytes(&store->db.spill) + AHEAD_BYTES) < 0)
		return rc;
	return write_back(store);
}

static void tell(struct store *store, int rc)
{
	bool told = store->full.told;
	store->full.told = rc < 0;
	if (rc < 0 && !told)
		log_warning(
			"nothing can be written to the store in %s (%s): messages are not kept, and what is learned of them only in memory, "
			"until there is room again",
			store->directory, strerror(store->db.spill.err));
	else if (rc == 0 && told)
		log_info("there is room again for the store in %s: messages are kept",
			store->directory);
}

void store_look_for_room(struct store *store)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	if (!db_spilling(&store->db))
		return;
	store->full.tried_ms = clock_now_ms();
	int rc = make_room(store);
	if (rc < 0)
		log_debug("store: %s: %s", store->directory, strerror(-rc));
	tell(store, rc);
}

void store_on_full(void *arg)
{
	struct store *store = arg;
	if (!atomic_load(&store->ready))
		return;
	pthread_mutex_lock(&store->lock);
	bool wait = store->full.told && clock_now_ms() - store->full.tried_ms < RETRY_MS;
	pthread_mutex_unlock(&store->lock);
	if (!wait)
		store_look_for_room(store);
}
