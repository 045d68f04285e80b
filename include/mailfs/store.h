/* SPDX-License-Identifier: MIT */
/*
 * What is kept of an account on this machine: mailboxes, listings, structures, sizes (SQLite), and bodies
 * (sparse files beside it). In a STORE_CACHE everything can be had from the server again. A STORE_SPOOL also holds messages
 * that were downloaded for good (store_spool_*), which may be the only copies: they are never removed, and no message
 * of this module tells anybody to delete them. The only user of SQLite.
 *
 * All file names derive from numbers, never from server text. Any thread may call; calls serialise inside, but for the
 * reading and writing of bodies, which go side by side. Every call says Blocks: disk, unless it says never; every call can
 * fail with -EIO (damaged or unreadable), -ENOSPC (also a quota or a limit of file sizes), -ENOMEM; such a failure is
 * logged here, once for each kind. One process owns a store (lock file), and has a thread of the store's in it: it is
 * opened after the last fork(), not carried across one.
 */
#ifndef MAILFS_STORE_H
#define MAILFS_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "mailfs/source.h"
#include "mailfs/util/str.h"

struct store;
struct store_body;

enum store_kind { STORE_CACHE, STORE_SPOOL };

/*
 * Makes the directory of a store, as store_open() does, durably for a spool, and tells its true path (free() it): for who may not do that later.
 * Fails as store_open(). Blocks: disk.
 */
int store_directory_make(const char *directory, enum store_kind kind, char **ret, struct str *why);
/*
 * Opens, or creates, the store in directory (made with mode 0700, parents too). why receives one line for a person
 * on failure. -EBUSY: another process has it (why names its pid). -EPROTO: the schema is of a newer mailfs. A STORE_CACHE that is damaged is
 * set aside (store.db.damaged; of several the last) and begun anew, with a warning; a damaged STORE_SPOOL: -EIO. A directory
 * that is a symbolic link, or another user's, or that everybody may write: -EIO. Does not depend on the number of messages.
 */
int store_open(const char *directory, enum store_kind kind, struct store **ret, struct str *why);
/*
 * A file of the store's that has no name and ends with its descriptor: for what would take too much memory. The descriptor, for reading and
 * writing, which the caller closes. Its bytes are not counted. Fails also with -EROFS.
 */
int store_scratch(struct store *store);
/* Writes what is pending and closes; every body was closed before. NULL is allowed. */
void store_close(struct store *store);

/*
 * A 31-bit number, never 0, for (kind, mailbox, uidvalidity): a hash of (account, kind, mailbox, uidvalidity), the next
 * free number when another key has it; the same for ever. account: what identifies it (user@host:port). Where the disk is
 * full or read-only the number is given all the same, and not recorded.
 */
enum store_number_kind { STORE_NUMBER_DIRECTORY, STORE_NUMBER_FOLDER };
int store_number(struct store *store, const char *account, enum store_number_kind kind,
	const char *mailbox, uint32_t uidvalidity, uint32_t *ret);

/* What is known of a mailbox's listing. */
struct store_mailbox {
	uint32_t folder;      /* store_number(FOLDER); 0: never listed */
	uint32_t uidvalidity; /* 0: never listed */
	uint32_t uidnext;
	uint64_t modseq;
	bool complete; /* the listing is whole; false: cut off after the highest UID in it */
	int64_t changed_s; /* wall clock: when its set of messages was last seen to change; first seen: then */
	int64_t checked_s; /* wall clock: when the listing was last known to be the server's; 0: never */
	uint64_t mailbox_id; /* hash64 of MAILBOXID; 0: not known */
	uint32_t
		former; /* folder of the listing before UIDVALIDITY changed: its bodies may still be carried over; 0: none */
};
/* Finds the mailbox, or adds it as never listed with changed_s = now. */
int store_mailbox_get(struct store *store, const char *mailbox, struct store_mailbox *ret);
int store_mailbox_put(struct store *store, const char *mailbox, const struct store_mailbox *state);
/* Forgets the mailbox's state and pin; numbers, and what hangs on its folder number (store_folder_remove), stay. */
int store_mailbox_remove(struct store *store, const char *mailbox);

/* The account's mailboxes as LIST gave them last, for a mount without the server: replaces all of them, in one transaction. */
int store_roster_put(struct store *store, const struct source_mailbox *mailboxes, size_t count);
/* Calls fn for each, in the order of put; fn may not call the store. -ENOENT: none was ever put. */
int store_roster_load(struct store *store, source_mailbox_fn *fn, void *arg);

/*
 * Small facts about the account, by a key of letters and dots (sizes.wrong, server.capabilities, …): bytes of up to 64 KiB. get appends;
 * -ENOENT.
 */
int store_fact_put(struct store *store, const char *key, const void *data, size_t len);
int store_fact_get(struct store *store, const char *key, struct str *out);

/* Adds or replaces rows (members as in `have`; absent ones are stored as absent), in one transaction. */
int store_rows_put(
	struct store *store, uint32_t folder, const struct source_row *rows, size_t count);
/* Calls fn for each row with UID ≥ first in ascending order; size_bytes as corrected by store_size_put. fn may not call the store. */
int store_rows_load(
	struct store *store, uint32_t folder, uint32_t first, source_row_fn *fn, void *arg);
/* As above for one row; -ENOENT. */
int store_row_get(struct store *store, uint32_t folder, uint32_t uid, source_row_fn *fn, void *arg);
/*
 * Removes rows and all that hangs on them: structures, sizes, bodies. A body that is open goes on with its bytes and is gone
 * when it is closed. Many are removed in batches; after a failure some may be left, and the call can be made again.
 */
int store_rows_remove(struct store *store, uint32_t folder, const uint32_t *uids, size_t count);
struct store_flags {
	uint32_t uid;
	const char *flags;
};
int store_flags_put(
	struct store *store, uint32_t folder, const struct store_flags *flags, size_t count);
/* The true size of a message, learned from its bytes: wins over what a row says, now and later. No-op for an unknown one. */
int store_size_put(struct store *store, uint32_t folder, uint32_t uid, uint64_t size_bytes);
/*
 * All that hangs on folder number from (rows, structures, sizes, bodies, pins of messages) hangs on to from now on, of which nothing was
 * stored; UIDs stay. Bodies that are open go on with their bytes, unrecorded. A crash in the middle may cost cached bodies, and never
 * mixes them up. For a mailbox that was renamed. -EEXIST: messages are listed under to; -EPERM: the store is a spool.
 */
int store_folder_move(struct store *store, uint32_t from, uint32_t to);
struct store_carry {
	uint32_t from_uid, to_uid;
};
/*
 * Moves what is known of single messages, which are the same under another number: true sizes, structures, section sizes, bodies, pins
 * of messages. What the new one has already stays. For a mailbox that was renumbered. As above.
 */
int store_messages_carry(struct store *store, uint32_t from, uint32_t to,
	const struct store_carry *pairs, size_t count);
/* Forgets all rows and bodies of a folder number (its UIDVALIDITY is gone), as above; the number itself is kept. */
int store_folder_remove(struct store *store, uint32_t folder);
/* Messages, and those without \Seen. */
int store_folder_count(
	struct store *store, uint32_t folder, uint64_t *ret_messages, uint64_t *ret_unseen);

/* The serialised structure of a message (mime_part_serialize); len 0: the server's could not be understood. get: appends; -ENOENT. */
int store_structure_put(
	struct store *store, uint32_t folder, uint32_t uid, const void *data, size_t len);
int store_structure_get(struct store *store, uint32_t folder, uint32_t uid, struct str *out);
/* Up to max UIDs ≥ first, ascending, whose structure is not stored. *count: how many. */
int store_structures_missing(struct store *store, uint32_t folder, uint32_t first, uint32_t *uids,
	size_t max, size_t *count);
/* The exact decoded size of a section as the .parts view shows it. get: -ENOENT. */
int store_section_size_put(struct store *store, uint32_t folder, uint32_t uid, const char *section,
	uint64_t size_bytes);
int store_section_size_get(
	struct store *store, uint32_t folder, uint32_t uid, const char *section, uint64_t *ret);

/*
 * The bytes of a message (section "") or of a decoded section, as far as they are here: a sparse file and
 * its map of ranges. section consists of digits, dots and capital letters, at most 200, else -EINVAL. One handle for each
 * body at a time (sync sees to it), else -EBUSY; its calls may come from several threads. A handle has no descriptor
 * before its first bytes are read or written. What is written is recorded for the next opening once the body is whole, after
 * each 8 MiB, and on closing; when that fails (a full disk) the bytes are still there until it is closed. Many small bodies are recorded in one
 * transaction, which is committed within a moment: a process that is killed before that loses them, as if they had never been here.
 */
int store_body_open(struct store *store, uint32_t folder, uint32_t uid, const char *section,
	struct store_body **ret);
/* Records the ranges and closes; NULL is allowed. */
void store_body_close(struct store_body *body);
/*
 * Reads up to len bytes at offset that are held without a gap. The number (0: offset is at or past the known end),
 * -ENODATA: the byte at offset is not held.
 */
ssize_t store_body_read(struct store_body *body, void *buf, size_t len, uint64_t offset);
/* Writes and, once all are written, counts them as held. Bytes past the known end are left out. -EINVAL: past what a file can be. */
int store_body_write(struct store_body *body, const void *data, size_t len, uint64_t offset);
/* The true length is known. Bytes past it are dropped. */
int store_body_set_size(struct store_body *body, uint64_t size_bytes);
/* The true length; false: not known yet. Blocks: never. */
bool store_body_size(const struct store_body *body, uint64_t *ret);
/* The number of bytes held from offset on without a gap. Blocks: never. */
uint64_t store_body_held(const struct store_body *body, uint64_t offset);
/* Forgets all bytes, and the true length. */
int store_body_drop(struct store_body *body);

/* A message whose body is not whole here. */
struct store_missing {
	uint32_t uid;
	uint64_t size_bytes; /* as listed, or as corrected; UINT64_MAX: not known */
};
/*
 * Up to max messages of the folder, from UID first on (ascending) or downwards from it, whose body (section "") is not whole; *count: how many. What
 * was written whole counts as such as soon as store_body_write() and store_body_set_size() have returned, recorded or not.
 */
int store_bodies_missing(struct store *store, uint32_t folder, uint32_t first, bool ascending,
	struct store_missing *ret, size_t max, size_t *count);

/*
 * --- How much is kept, in a STORE_CACHE ---
 *
 * Bodies that are recorded count with the blocks that their bytes take, and so does the database. Before bytes are written that would
 * bring the sum over the limit, the least recently used bodies go: never one that is pinned, nor one that is open. Where that is not
 * enough, store_body_write() returns -EDQUOT, and the caller does without.
 *
 * Each recorded body has checksums, of pieces of 128 KiB; a piece is compared when it is first read after the body was opened. One that does not
 * fit is not held any more (a line says so), so that it is fetched again.
 *
 * When the disk is full (or a quota, or read-only), bodies are evicted to make room; if that does not help, caching is off, one warning says
 * so, and the mount goes on: bodies are not kept (-ENOSPC), and what is put of rows, flags, sizes, structures, states and facts is kept in memory (up to
 * 64 MiB, beyond that -ENOSPC) and served from there until there is room again or the store is closed.
 */
/* bytes: the limit from now on; UINT64_MAX: none. Evicts at once what is over it. */
int store_set_limit(struct store *store, uint64_t bytes);
struct store_usage {
	uint64_t limit_bytes; /* UINT64_MAX: none */
	uint64_t bodies, body_bytes, pinned_bytes, database_bytes;
	bool full;    /* caching is off */
	bool settled; /* false: the bodies of earlier mounts are still being counted */
};
void store_usage(struct store *store, struct store_usage *ret);
/* Removes all bodies and structures but those that are pinned; open bodies go on. *ret_bytes: what became free. */
int store_cache_clear(struct store *store, uint64_t *ret_bytes);

/*
 * Pins: what is to be here without the server. A mailbox (all its messages, those that come later too) or a single message;
 * recorded, until unpinned. The policy is this mount's alone (offline=).
 */
int store_pin_mailbox(struct store *store, const char *mailbox, bool pin);
int store_pin_message(struct store *store, uint32_t folder, uint32_t uid, bool pin);
struct store_policy {
	bool all;
	int64_t newer_than_s;         /* messages whose date is at or past this; INT64_MAX: none */
	const char *const *mailboxes; /* NULL-terminated; NULL: none; copied */
};
int store_set_policy(struct store *store, const struct store_policy *policy);
/* Whether a mailbox (uid 0) or a message is pinned by itself, by its mailbox, or by the policy. */
bool store_is_pinned(struct store *store, const char *mailbox, uint32_t folder, uint32_t uid);
/*
 * Whether anything of a mailbox is pinned or may come to be: the mailbox, one of its messages, or by the policy (newer_than_s concerns each,
 * also one that was never listed).
 */
bool store_pins_any(struct store *store, const char *mailbox, uint32_t folder);
/*
 * Up to max UIDs ≥ first, ascending, of messages of the folder that are pinned (in any of the three ways) and whose body is not whole. *count: how
 * many.
 */
int store_pinned_missing(struct store *store, const char *mailbox, uint32_t folder, uint32_t first,
	uint32_t *uids, size_t max, size_t *count);
/* Of a folder: messages, those without \Seen, whole bodies, those that are pinned, and pinned ones whose body is not whole. */
struct store_folder_usage {
	uint64_t messages, unseen, cached, cached_bytes, pinned, pinned_missing;
	bool mailbox_pinned; /* by itself or the policy */
};
int store_folder_usage(
	struct store *store, const char *mailbox, uint32_t folder, struct store_folder_usage *ret);

/*
 * --- Messages that were downloaded for good (a maildrop's), in a STORE_SPOOL ---
 *
 * The calls above leave such a message alone: what would remove or change it is refused with -EPERM, and a read of one whose file
 * is missing or cut is -EIO, and so is one of up to 64 KiB whose bytes are not those that were written (they are
 * compared when it is opened). Those of a larger one are compared once they have been read in order from 0 to the end: then the read of the last
 * ones is -EIO, and the message is lost. The calls below are refused with -EINVAL by a STORE_CACHE.
 *
 * No file that was ever complete is removed, replaced or cut, even if nothing is recorded of it: the database may be older than the
 * files. What stands in the place of a new one is kept beside it.
 */

#define STORE_DIGEST_BYTES 32 /* SHA-256 */

/* What is recorded of such a message, beside its row. uid is a number of our own, the same for ever. */
struct store_spool {
	uint32_t uid;
	const char *uidl;      /* the server's unique-id: any bytes; valid during a callback only */
	size_t uidl_len;       /* 0: it had none */
	uint64_t size_bytes;   /* of the file */
	uint64_t listed_bytes; /* as the server's LIST said; UINT64_MAX: it did not */
	unsigned char sha256[STORE_DIGEST_BYTES]; /* of the message */
	bool has_top;
	unsigned char top[STORE_DIGEST_BYTES]; /* of what TOP n 0 answered */
	int64_t stored_s;                      /* wall clock: when it was downloaded */
	int64_t deleted_s; /* when the server confirmed that it has deleted it; 0: it did not */
	bool lost;         /* its file is missing or damaged: it is to be fetched again */
};

/*
 * A message being written. One thread at a time; uid is where its place will probably be. It does not count before store_spool_commit(): a
 * crash leaves a file that store_spool_clean() removes, or, if it comes in the midst of the commit, keeps. It is committed or
 * discarded before store_close().
 */
struct store_spool_file;
int store_spool_create(
	struct store *store, uint32_t folder, uint32_t uid, struct store_spool_file **ret);
int store_spool_append(struct store_spool_file *file, const void *data, size_t len);
/* Removes what was written, and frees; NULL is allowed. */
void store_spool_discard(struct store_spool_file *file);

struct store_spool_item {
	struct store_spool_file *file;
	struct store_spool record;
	struct source_row row; /* of the listing; uid and size are the record's */
	const char *structure; /* mime_part_serialize(); NULL: none */
	size_t structure_len;
};
/*
 * Makes the bytes of all files durable (they survive the loss of power), then records all of them in one durable transaction.
 * 0: they count, and the files are freed. Else none counts: the caller discards them. A uid that is recorded already is
 * replaced if it was lost, else -EEXIST. record.uid counts; record.size_bytes is taken from the file. Blocks: disk, for long; the store can be used meanwhile.
 */
int store_spool_commit(
	struct store *store, uint32_t folder, struct store_spool_item *items, size_t count);

typedef int store_spool_fn(void *arg, const struct store_spool *record);
/* Calls fn for each recorded message, ascending. fn may not call the store. */
int store_spool_load(struct store *store, uint32_t folder, store_spool_fn *fn, void *arg);
/* Appends the unique-id of a message. -ENOENT: no such message; -ENODATA: it had none. */
int store_spool_uidl(struct store *store, uint32_t folder, uint32_t uid, struct str *out);
/* Notes, durably, that the server has deleted these messages (when_s), or that it still has them (0). */
int store_spool_deleted(
	struct store *store, uint32_t folder, const uint32_t *uids, size_t count, int64_t when_s);
/* Notes what LIST and TOP say of a message now. top NULL: as before. */
int store_spool_listed(struct store *store, uint32_t folder, uint32_t uid, uint64_t listed_bytes,
	const unsigned char *top);
/*
 * Reads a message's file and compares it with what was written: 0; -EBADMSG: it is another one, or missing, and is
 * from now on recorded as lost.
 */
int store_spool_verify(struct store *store, uint32_t folder, uint32_t uid);
/*
 * Opens for reading the file in which a message lies, perhaps among others: a descriptor that the caller closes. *ret_offset: where
 * it begins; its length is the record's. -ENOENT: not recorded, or its file is missing; -EIO: also a lost one.
 */
int store_spool_open(struct store *store, uint32_t folder, uint32_t uid, uint64_t *ret_offset);
/*
 * For the start. Removes the files of messages that were being written when the process died; files and ends of files that nothing is
 * recorded of are kept, and one line (info) counts them. Messages whose file is missing or too short are from now on
 * recorded as lost, and one line (warning) counts them.
 */
int store_spool_clean(struct store *store, uint32_t folder);

/* How the last looks at the server ended. */
struct store_spool_state {
	int64_t complete_s; /* wall clock: when all that the server had was here; 0: never yet */
	uint64_t missing; /* messages that the server had at the last look and that are not here */
};
int store_spool_state_get(struct store *store, uint32_t folder, struct store_spool_state *ret);
int store_spool_state_put(
	struct store *store, uint32_t folder, const struct store_spool_state *state);

#endif
