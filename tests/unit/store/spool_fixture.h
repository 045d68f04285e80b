/* SPDX-License-Identifier: MIT */
/* Messages for a spool. Children use this too: only check_*() is cmocka's. Their bytes are those of byte_at(seed, …). */
#ifndef TEST_STORE_SPOOL_FIXTURE_H
#define TEST_STORE_SPOOL_FIXTURE_H

#include "fixture.h"

#define FOLDER 5
/* The path of a file of its, for fixture_path(). */
#define FILE_OF(uid)    "bodies/00000005/" #uid
#define PACK_OF(number) "bodies/00000005/pack-" #number
/* A message of this length has a file of its own, a shorter one lies in a pack. */
#define OWN_FILE 65537

/* A fixture whose store is a spool, open. */
int spool_create_open(void **state);

/* Writes a message of len bytes, and what is to be recorded of it; its unique-id is "uidl-UID". Not committed. */
int spool_write(
	struct store *store, uint32_t uid, uint32_t seed, size_t len, struct store_spool_item *ret);
/* As above, one message, committed; where that fails it is discarded. */
int spool_put(struct store *store, uint32_t uid, uint32_t seed, size_t len);
/* count messages from uid first on, seeds and lengths from the uid, in one group. */
int spool_put_group(struct store *store, uint32_t first, size_t count);
/* The length that spool_put_group() gives. */
size_t spool_length(uint32_t uid);
/* Discards what a failed commit has left. */
void spool_discard_all(struct store_spool_item *items, size_t count);
/* Whether a body is all there and right, by store_body_read(): 0, or what failed; -EBADMSG: other bytes. */
int spool_read(struct store *store, uint32_t uid, uint32_t seed, size_t len);

struct spool_record {
	bool found;
	struct store_spool record; /* uidl is NULL */
};
/* What store_spool_load() says of one message. */
struct spool_record spool_record(struct store *store, uint32_t uid);
/* The number of recorded messages. */
size_t spool_count(struct store *store);
/* The number of entries in the folder's directory but for packs, and of packs. */
size_t spool_files(const struct fixture *fixture);
size_t spool_packs(const struct fixture *fixture);
/* The length that is recorded of a pack; 0: none is. */
int64_t spool_pack_length(const struct fixture *fixture, uint32_t pack);
/* What is there of it; -1: nothing. */
int64_t spool_pack_size(const struct fixture *fixture, uint32_t pack);

/* A callback for rows of messages that spool_write() made; arg: their record. */
int check_row(void *arg, const struct source_row *row);
/* All there is of a message that spool_write() made. */
void check_message(struct fixture *fixture, uint32_t uid, uint32_t seed, size_t len);

#endif
