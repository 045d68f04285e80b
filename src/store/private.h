/* SPDX-License-Identifier: MIT */
/*
 * What the files of the store share.
 *
 * Locks, in the order in which they are taken: store->lock (database, registry of open bodies), body->io (shared while a
 * pread or pwrite runs, exclusive while the file is exchanged or cut), body->lock (the map; never across
 * disk I/O). A body's bytes go past the store's lock, so that a large copy does not stop the others.
 */
#ifndef MAILFS_STORE_PRIVATE_H
#define MAILFS_STORE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "db.h"
#include "mailfs/store.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/list.h"

#define STORE_OPEN_BUCKETS 256
/* Rows that are removed, or loaded, before others get the lock. */
#define STORE_BATCH_ROWS 2048

struct store {
	char *directory; /* absolute */
	enum store_kind kind;
	int dir_fd;
	int lock_fd;
	int bodies_fd;
	atomic_uint nameless; /* numbers the files of disowned bodies */
	pthread_mutex_t lock; /* guards what follows */
	struct db db;
	struct list_node open[STORE_OPEN_BUCKETS]; /* open bodies, by id */
};

/* The key of a message in every table; ids of a folder are a range. */
static inline uint64_t store_id(uint32_t folder, uint32_t uid)
{
	return (uint64_t)folder << 32 | uid;
}

static inline void bind_id(sqlite3_stmt *statement, int index, uint64_t id)
{
	sqlite3_bind_int64(statement, index, (sqlite3_int64)id);
}

/* A positive errno as a call of the store returns it: -ENOSPC, -ENOMEM or -EIO. */
int store_errno(int err);

/*
 * Takes the open bodies of a message, or of a whole folder, away from their files: the handles go on with their
 * bytes, nothing of them is recorded any more. store->lock is held.
 */
void body_disown_message(struct store *store, uint64_t id);
void body_disown_folder(struct store *store, uint32_t folder);

/* Whether section may be part of a file name: digits, dots, capital letters, not too long. */
bool body_file_section_valid(const char *section);
/* Opens a body's file, made where it does not exist; truncate: emptied. The descriptor, or an error of the store. */
int body_file_open(struct store *store, uint64_t id, const char *section, bool truncate);
/* Opens an empty file without a name. The descriptor, or an error of the store. */
int body_file_open_nameless(struct store *store);
/* The length of the file; 0 when there is none. */
uint64_t body_file_size(struct store *store, uint64_t id, const char *section);
/* Removes a file, or all files of a folder, or all files; 0 also when there is none. */
int body_file_remove(struct store *store, uint64_t id, const char *section);
int body_file_remove_folder(struct store *store, uint32_t folder);
int body_file_remove_all(struct store *store);

#endif
