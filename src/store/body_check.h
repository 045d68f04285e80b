/* SPDX-License-Identifier: MIT */
/*
 * The checksum of a body that is taken while it is read. Pieces that overlap what was taken already are gone on with, pieces that
 * lie ahead are left out: who reads all of it in order gets it checked, once for each handle.
 */
#ifndef MAILFS_STORE_BODY_CHECK_H
#define MAILFS_STORE_BODY_CHECK_H

#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

struct body_check {
	pthread_mutex_t lock; /* guards what follows; no other is taken inside, and no I/O done */
	uint64_t done_bytes;
	uint64_t checksum;
};

void body_check_init(struct body_check *check);
void body_check_finish(struct body_check *check);
/*
 * A piece was read of a body of size_bytes (> 0) with this checksum. 0, or -EBADMSG, once: it was the last one, and they were others.
 */
int body_check_piece(struct body_check *check, const void *data, size_t len, uint64_t offset,
	uint64_t size_bytes, uint64_t checksum);

#endif
