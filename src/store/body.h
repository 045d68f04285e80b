/* SPDX-License-Identifier: MIT */
/*
 * A body: the bytes of a message or a section as far as they are here. Its map of ranges is in memory while it is open, and
 * in the database behind that: a range is put into the map once its bytes are in the file, and recorded when the
 * body is whole, after every 8 MiB, and on closing. So the database never promises a byte that the file does not hold; if the
 * process is killed it knows of a little less. Should the machine lose power, the file may lack what the database
 * promises: what lies past its end is forgotten on opening, a hole before its end does not fit the checksums.
 *
 * The rows of small bodies are gathered (db_join()), and committed by a thread (recorder.c): a commit for each costs twice as much as writing
 * it. Everybody sees them at once; after a crash the latest are missing, and their files are nobody's.
 *
 * Where the map in memory shrinks, the database must not go on promising what was held before, or a later
 * hole in the file would be taken for it. So a shrinking is recorded at once, and if that fails the body is disowned: its file loses
 * its name (a recorded body without a file holds nothing), the handle goes on with the nameless one.
 *
 * Recording is done as well as it can be: when it fails, the bytes are still served while the body is open.
 *
 * Each piece of a recorded body has a checksum (sums.h), made from the file when it is recorded. A piece that was recorded earlier
 * is compared before it is read the first time, and before it is written to, so that no checksum is ever made of bytes that were not
 * compared themselves. One that does not fit is taken out of the map. What is recorded is the map as it was when the making of
 * the checksums began; who cuts the map meanwhile makes that recording void (cuts).
 *
 * What a body takes on the disk is worked out from its map, in blocks (taken_bytes), and told to usage.h.
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
#include "sums.h"

struct store_body {
	struct store *store;
	uint64_t id;
	struct list_node node; /* in store->open; guarded by store->lock */
	bool disowned;         /* written with store->lock and io (exclusive), read with either */
	bool spooled;          /* never changes, as little as what is known of it */
	struct spool_known known; /* of a spooled message */
	struct body_check check;
	atomic_bool used; /* since its row was written */

	/* store->lock guards what follows. */
	bool may_have_file; /* it had a row when it was opened, or the sweep came upon its file */
	bool has_row;
	int64_t row_bytes; /* as its row says */

	pthread_mutex_t recording; /* held by who records, taken before store->lock */

	pthread_rwlock_t
		io; /* shared: a pread or pwrite runs; exclusive: to exchange or cut the file */
	int fd;     /* guarded by io; -1: not opened yet */

	pthread_mutex_t lock; /* guards what follows; never held across I/O */
	struct ranges held;
	struct sums sums;     /* of pieces of held */
	uint64_t taken_bytes; /* by held, in blocks */
	uint64_t cuts;        /* how often something was taken out of held */
	uint64_t size;
	bool size_known;
	bool dirty; /* differs from what is recorded */
	uint64_t unrecorded_bytes;
	bool lost;   /* spooled, and not to be had */
	bool warned; /* of pieces that do not fit */

	char section[];
};

/*
 * Cuts the map; body->lock is held. A piece that was not compared yet, and could not be any more, goes as a whole.
 */
void body_cut(struct store_body *body, uint64_t size);
/* The map has changed: works out what it takes. body->lock is held. */
void body_measure(struct store_body *body);
/* As body_disown_message() says, of one handle; store->lock is held, body->io exclusively. */
void body_disown_locked(struct store_body *body);
/* The row is gone, or will be, or is not this body's any more. store->lock is held. */
void body_forget_row(struct store_body *body);

/* Opens the file and forgets what lies past its end. body->io is held exclusively. */
int body_open_file(struct store_body *body);
/* Takes body->io shared, with the file open. On failure nothing is taken. */
int body_io_begin(struct store_body *body);
void body_io_end(struct store_body *body);
/* The number of bytes read, fewer than len only at the end of the file; or an error of the store. */
ssize_t body_read_fully(int fd, char *buf, size_t len, uint64_t offset);

bool body_is_whole(const struct store_body *body);
/* Whether it is time to record; body->lock is held. */
bool body_due(const struct store_body *body);
/* Brings the row up to date with the map; store->lock is held, body->io exclusively, body->lock is not. */
int body_record_locked(struct store_body *body);
/* The same; no lock is held. */
int body_record(struct store_body *body);
/* Ends the accounts of a body that is being closed: a file without a row goes. store->lock is held. */
void body_settle(struct store_body *body);

/* ---- checksums (body_sums.c); body->io is held, with the file open; body->lock is not ---- */

/* Bytes of the file that were just read; io is held since. */
struct body_bytes {
	const char *data;
	uint64_t start, end;
};
/*
 * Compares those pieces of [start, end) that were not compared yet. 0; 1: some do not fit, or can not be read, and
 * are not held any more: it is to be recorded; -ENOMEM. bytes: need not be read again; NULL: none.
 */
int body_sums_check(
	struct store_body *body, uint64_t start, uint64_t end, const struct body_bytes *bytes);

/* A map, and the checksums of its pieces. */
struct body_state {
	struct ranges held;
	struct str sums;
	uint64_t size, cuts;
	bool size_known;
};
/* Whether there are pieces without a checksum, for which the file is needed. */
bool body_sums_missing(struct store_body *body);
/* Takes the map as it is now, and makes the checksums that it lacks; what can not be read goes. ret is to be finished, also on failure. */
int body_sums_take(struct store_body *body, struct body_state *ret);
void body_state_finish(struct body_state *state);
#define _cleanup_body_state_ _cleanup_(body_state_finish)

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
