/* SPDX-License-Identifier: MIT */
/* A message that is being written to the spool, between spool_file.c, which writes it, and spool_commit.c, which makes it count. */
#ifndef MAILFS_STORE_SPOOL_H
#define MAILFS_STORE_SPOOL_H

#include "private.h"

/* Messages up to this size share files, and are in memory until then. */
#define SPOOL_SMALL_BYTES (64 << 10)

struct store_spool_file {
	struct store *store;
	struct spool_place place; /* pack and position: from the commit on */
	int fd;                   /* of its own file; -1: it has none, and all of it is in buf */
	int err;                  /* what has failed already */
	struct body_file_name name;
	uint64_t checksum;
	char *buf; /* not written yet */
	size_t len, cap;

	/* During the commit: */
	bool recorded;             /* a lost one is recorded, which it replaces */
	bool adopted;              /* its own file has its name */
	struct body_file_name old; /* what had that name before */
};

/* Writes what is buffered. */
int spool_file_flush(struct store_spool_file *file);
/* Closes and frees; the file stays. */
void spool_file_free(struct store_spool_file *file);

/* The file that a group's small messages are appended to; commit_lock is held from opening to closing. */
struct spool_pack {
	struct store *store;
	uint32_t folder, number;
	int fd;          /* -1: none is open */
	bool fresh;      /* made by this group */
	uint64_t before; /* its length at first */
	uint64_t length;
};
/* Opens the last one, if it has room and is as it was left, or makes one. */
int spool_pack_open(struct spool_pack *pack, struct store *store, uint32_t folder);
/* Writes the small ones among count messages, and notes their places. */
int spool_pack_append(struct spool_pack *pack, struct store_spool_item *items, size_t count);
/* Records its length. store->lock is held. */
int spool_pack_record(const struct spool_pack *pack);
/* As if nothing had been appended; for what did not get recorded. */
void spool_pack_take_back(struct spool_pack *pack);
void spool_pack_close(struct spool_pack *pack);

#endif
