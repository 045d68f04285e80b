/* SPDX-License-Identifier: MIT */
/*
 * A body: the bytes of a message or a section as far as they are here. Its map of ranges is in memory while it is open, and
 * in the database behind that: a range is put into the map once its bytes are in the file, and recorded when the
 * body is whole, after every 8 MiB, and on closing. So the database never promises a byte that the file does not hold; if the
 * process is killed it knows of a little less. Should the machine lose power, the file may lack what the database
 * promises: what lies past its end is forgotten on opening; a hole before its end is not noticed until bodies have checksums.
 *
 * Where the map in memory shrinks, the database must not go on promising what was held before, or a later
 * hole in the file would be taken for it. So a shrinking is recorded at once, and if that fails the body is disowned: its file loses
 * its name (a recorded body without a file holds nothing), the handle goes on with the nameless one.
 *
 * Recording is done as well as it can be: when it fails, the bytes are still served while the body is open.
 *
 * In a spool there are two kinds only. A message that is recorded there (spooled) is whole and never written here; where
 * its file is missing or too short, or has other bytes than were written, the message is lost, which is an error and never a hole. Everything else has a
 * file without a name and is never recorded (disowned from the start), so that nothing here opens a message's file to write.
 */
#ifndef MAILFS_STORE_BODY_H
#define MAILFS_STORE_BODY_H

#include "body_check.h"
#include "private.h"
#include "ranges.h"

struct store_body {
	struct store *store;
	uint64_t id;
	struct list_node node; /* in store->open; guarded by store->lock */
	bool disowned;         /* written with store->lock and io (exclusive), read with either */
	bool spooled;          /* never changes, as little as what is known of it */
	struct spool_known known; /* of a spooled message */
	struct body_check check;

	pthread_rwlock_t
		io; /* shared: a pread or pwrite runs; exclusive: to exchange or cut the file */
	int fd;     /* guarded by io; -1: not opened yet */

	pthread_mutex_t lock; /* guards what follows; never held across I/O */
	struct ranges held;
	uint64_t size;
	bool size_known;
	bool dirty; /* differs from what is recorded */
	uint64_t unrecorded_bytes;
	bool lost; /* spooled, and not to be had */

	char section[];
};

/* Cuts the map; body->lock is held. */
void body_cut(struct store_body *body, uint64_t size);
/* As body_disown_message() says, of one handle; store->lock is held, body->io exclusively. */
void body_disown_locked(struct store_body *body);

/* Opens the file and forgets what lies past its end. body->io is held exclusively. */
int body_open_file(struct store_body *body);
/* Takes body->io shared, with the file open. On failure nothing is taken. */
int body_io_begin(struct store_body *body);
void body_io_end(struct store_body *body);

bool body_is_whole(const struct store_body *body);
/* Whether it is time to record; body->lock is held. */
bool body_due(const struct store_body *body);
/* Brings the row up to date with the map; store->lock is held, body->lock is not. */
int body_record_locked(struct store_body *body);
void body_record(struct store_body *body);

/* ---- bodies in a spool (body_spooled.c) ---- */

/* What a spool holds of it: all of a message, or nothing. store->lock is held. */
int body_spooled_load(struct store_body *body);
/* Sees that the message's file is there; of a small one, that it has the bytes that were written. No lock is held. */
void body_spooled_check(struct store_body *body);
/* Opens the message's file; body->io is held exclusively. */
int body_spooled_open(struct store_body *body);
/* Compares what was read, in order; n, or an error: the message is lost. No lock is held. */
ssize_t body_spooled_check_read(
	struct store_body *body, const void *data, ssize_t n, uint64_t offset);
/* A spooled message's file could not be had: if it is to blame, the message is lost from now on. No lock is held. */
int body_spooled_lose(struct store_body *body, int rc);

#endif
