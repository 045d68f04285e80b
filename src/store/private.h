/* SPDX-License-Identifier: MIT */
/*
 * What the files of the store share.
 *
 * Locks, in the order in which they are taken: store->commit_lock (spool_commit.c), body->recording (one recording of a body at a time), store->lock (database,
 * registry of open bodies, accounts), body->io (shared while a pread or pwrite runs, exclusive while the file is exchanged or cut), body->lock (the map; never across
 * disk I/O). A body's bytes go past the store's lock, and so does the making of their checksums, so that a large copy does not stop the others.
 */
#ifndef MAILFS_STORE_PRIVATE_H
#define MAILFS_STORE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "db.h"
#include "keeper.h"
#include "mailfs/store.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/list.h"
#include "pin.h"
#include "recorder.h"
#include "usage.h"

#define STORE_OPEN_BUCKETS 256
/* Rows that are removed, or loaded, before others get the lock. */
#define STORE_BATCH_ROWS 2048

/* What was said of lost messages. */
struct spool_lost {
	int64_t since_ms; /* the minute that lines are counted in */
	unsigned lines;   /* in that minute */
	uint64_t untold;  /* messages without a line */
};

/* A disk that takes nothing. */
struct store_full {
	bool told;        /* a warning was said */
	int64_t tried_ms; /* when room was last looked for */
};

struct store {
	char *directory; /* absolute */
	enum store_kind kind;
	int dir_fd;
	int lock_fd;
	atomic_bool ready; /* it is open: a full disk may be seen to */
	bool foreign;      /* the directory belongs to another user */
	bool lock_missing; /* the disk had no room for the lock file: the directory itself is locked */
	int bodies_fd;
	atomic_uint nameless; /* numbers the files of disowned bodies */
	atomic_uint spooling; /* numbers the files of messages that are being written */
	/* Held by the one who commits messages to the spool, for as long as that takes; taken before lock. */
	pthread_mutex_t commit_lock;
	bool sync_failed;        /* and that was logged; guarded by commit_lock */
	uint32_t durable_folder; /* whose directory's name is on the disk; guarded by commit_lock */
	pthread_mutex_t lock;    /* guards what follows */
	struct db db;
	struct store_full full;
	struct spool_lost lost;
	struct list_node open[STORE_OPEN_BUCKETS]; /* open bodies, by id */
	struct pin_policy policy;
	struct usage usage;
	struct keeper keeper;
	struct recorder recorder;
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
 * openat() of a file of ours, links not followed, mode 0600; -1 and errno. In a directory that is another user's a file that has a second name is refused
 * (EMLINK) before anything of it is changed: it may be any file of the system.
 */
int store_openat(const struct store *store, int dir_fd, const char *name, int flags);

/*
 * Makes room on a full disk by evicting bodies, if that can be; bytes: how much is wanted. 0: something was freed. Called with
 * store->lock, while no transaction is begun and no statement used; what it writes to the database is in memory at first.
 */
int store_make_room(struct store *store, uint64_t bytes);
/* If the disk is full: looks whether there is room, and writes back what is in memory. No lock is held. */
void store_look_for_room(struct store *store);
/* The same, no more than once a minute; arg: the store. */
void store_on_full(void *arg);

/* Notes that the database is damaged, for the next opening; arg: the store. */
void store_note_damage(void *arg);
/* Whether that was noted. */
bool store_is_damaged(const struct store *store);
/* Sets the database aside, so that a new one can be made. why: one line on failure. */
int store_set_aside(struct store *store, struct str *why);

/* Adds or replaces one row, or structure; store->lock is held. */
int row_put(struct store *store, uint32_t folder, const struct source_row *row);
int row_size_put(struct store *store, uint32_t folder, uint32_t uid, uint64_t size_bytes);
int structure_put(struct store *store, uint64_t id, const void *data, size_t len);
/* Puts a fact, or appends one (-ENOENT); store->lock is held. */
int fact_put(struct store *store, const char *key, const void *data, size_t len);
int fact_get(struct store *store, const char *key, struct str *out);
/* Removes what hangs on messages beside their rows and what the spool records of them. store->lock is held. */
int remove_attached(struct store *store, uint64_t first, uint64_t last);

/* Where a spooled message lies. */
struct spool_place {
	uint64_t id;
	uint32_t
		pack; /* the number of the file that it shares with others; 0: it has one of its own */
	uint64_t position; /* in the file */
	uint64_t size_bytes;
};
/* What is recorded of its bytes. */
struct spool_known {
	struct spool_place place;
	uint64_t checksum;
	bool lost;
	unsigned char sha256[STORE_DIGEST_BYTES];
};
/* 1: *ret is filled; 0: no such message. store->lock is held. */
int spool_find(struct store *store, uint64_t id, struct spool_known *ret);
/* 1: messages of the folder are in the spool. store->lock is held. */
int spool_any(struct store *store, uint32_t folder);
/* Records that a message is lost; the caller has begun a transaction. store->lock is held. */
int spool_set_lost(struct store *store, uint64_t id);
/* Records, durably, that a message is lost, and says so when that is new (of many in a row: how many). why: -ENOENT: its file is missing; else damaged. store->lock is held. */
int spool_lose(struct store *store, const struct spool_place *place, int why);
/* Says how many more were lost than was said. store->lock is held, or nobody else is there. */
void spool_tell_lost(struct store *store);
/* Compares a message's bytes with what is known: 0; -ENOENT: missing; -EBADMSG: others. No lock is held. */
int spool_compare(struct store *store, const struct spool_known *known);

/*
 * Takes the open bodies of a message, or of a whole folder, away from their files: the handles go on with their
 * bytes, nothing of them is recorded any more. store->lock is held.
 */
void body_disown_message(struct store *store, uint64_t id);
void body_disown_folder(struct store *store, uint32_t folder);
/* What was recorded of bodies lately is lost: open ones look what their rows say, the others' files are nobody's. store->lock is held; arg: the store. */
void body_rows_lost(void *arg);
/* Whether somebody has a body open that is recorded under its name. store->lock is held. */
bool body_is_open(struct store *store, uint64_t id, const char *section);
/* The same; an open one then counts as used. */
bool body_skip_open(struct store *store, uint64_t id, const char *section);
/* The same, for who has found a file of it: an open one removes the file when it is closed and not recorded. */
bool body_leave_open(struct store *store, uint64_t id, const char *section);

/* Whether the body is whole, as its handle knows: 1, 0; -ENOENT: nobody has it open. store->lock is held. */
int body_open_whole(struct store *store, uint64_t id, const char *section);

/* Whether section may be part of a file name: digits, dots, capital letters, not too long. */
bool body_file_section_valid(const char *section);
/* Opens a body's file, made where it does not exist; truncate: emptied. The descriptor, or an error of the store. */
int body_file_open(struct store *store, uint64_t id, const char *section, bool truncate);
/*
 * Opens for reading the file in which a spooled message lies. The descriptor; -ENOENT: there is none, or something else
 * stands in its place; -EBADMSG: it ends before the message does; or an error of the store. Never makes one.
 */
int body_file_open_whole(struct store *store, const struct spool_place *place);
/* 0, or an error as above, without opening. */
int body_file_check_whole(struct store *store, const struct spool_place *place);
/* A path below bodies/: of the file of a message, of a pack, of a folder. */
struct body_file_name {
	char text[48];
};
struct body_file_name body_file_name(uint64_t id);
struct body_file_name body_file_pack_name(uint32_t folder, uint32_t pack);
struct body_file_name body_file_place_name(const struct spool_place *place);
struct body_file_name body_file_folder_name(uint32_t folder);
/* Makes a new file for the bytes of a message, with a name that no body has. The descriptor, or an error of the store. */
int body_file_create_new(struct store *store, uint64_t id, struct body_file_name *ret);
/*
 * Gives a file made by the above the name of its message's. What stands there is kept as *ret_old, UID.oldN; empty: nothing does.
 * commit_lock is held, as below.
 */
int body_file_adopt(struct store *store, uint64_t id, const struct body_file_name *name,
	struct body_file_name *ret_old);
/* Removes the file again, and puts back what stood there. */
void body_file_take_back(struct store *store, uint64_t id, const struct body_file_name *old);
/* Removes a file made by body_file_create_new(). */
void body_file_remove_new(struct store *store, const struct body_file_name *name);
/* The UID, or the number of the pack, that the name of a file in a folder stands for; 0: none. */
uint32_t body_file_parse_uid(const char *name);
uint32_t body_file_parse_pack(const char *name);
/* Whether it is that of a file made by body_file_create_new(). */
bool body_file_is_new(const char *name);
/* Removes what body_file_open_nameless() of a killed process has left. */
void body_file_remove_nameless(struct store *store);
/* 1: there are files; 0: none, or nothing but empty directories. */
int body_file_any(struct store *store);
/* Opens, or makes, a file in a folder that is made where it does not exist. The descriptor, or a negative errno. */
int body_file_open_in_folder(struct store *store, uint32_t folder, const char *path, int flags);
/* Calls fn for each entry of a directory below bodies/; goes on after a failure and returns the first one. */
typedef int body_file_fn(void *arg, int dir_fd, const char *name);
int body_file_for_each(struct store *store, const char *directory, body_file_fn *fn, void *arg);
/* Opens an empty file without a name. The descriptor, or an error of the store. */
int body_file_open_nameless(struct store *store);
/* The length of the file; 0 when there is none. */
uint64_t body_file_size(struct store *store, uint64_t id, const char *section);
/* Gives a body's file the name of another message's. 0, or an error of the store: also where there is none. */
int body_file_rename(struct store *store, uint64_t from, uint64_t to, const char *section);
/* Cuts a file that is longer. */
void body_file_cut(struct store *store, uint64_t id, const char *section, uint64_t size);
/* Removes a file, or all files of a folder, or all files; 0 also when there is none. */
int body_file_remove(struct store *store, uint64_t id, const char *section);
int body_file_remove_folder(struct store *store, uint32_t folder);
int body_file_remove_all(struct store *store);

#endif
