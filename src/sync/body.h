/* SPDX-License-Identifier: MIT */
/*
 * A body while somebody has it open: body.c keeps the handles and serves readers, body_fetch.c gets what they
 * miss, range.c asks the server, reach.c judges where a body ends and how much to ask for.
 */
#ifndef SYNC_BODY_H
#define SYNC_BODY_H

#include "private.h"
#include "reach.h"

/* Bytes that a range repeats of what is known, as its witness. */
#define RANGE_WITNESS_BYTES 256

/* Where a section lies in its message, which is here whole (carve.c). */
struct carve {
	struct sync_body *message; /* NULL: it is not cut out */
	uint64_t start, len;
};

enum body_life { BODY_OPENING, BODY_OPEN, BODY_CLOSING };

struct sync_body {
	struct sync_folder *folder;
	struct list_node link; /* lock: in account->bodies */
	unsigned refs;         /* lock: those who opened it, and its job */
	enum body_life life;   /* lock */

	uint32_t number, uidvalidity,
		uid; /* the folder's identity when it was opened, and the message's */
	char *section;
	uint64_t announced; /* as the server told it; of a part: encoded; UINT64_MAX: not told */
	bool decoded;       /* a part; false: bytes as they are on the server */
	enum mime_encoding encoding;
	bool to_utf8;
	char *charset;
	struct store_body
		*store; /* NULL: the store can not hold it; set under the lock, before it is open */
	atomic_bool store_broken; /* what it gave could not be read: asked no more */

	struct list_node waiters; /* lock: those who are blocked */
	struct list_node
		keepers; /* lock: those who want all of it in the store, in the background */
	struct job job;
	uint64_t bound;        /* lock: there are no bytes at or past it; UINT64_MAX: not known */
	bool size_known;       /* lock: bound is the true size */
	struct str recent;     /* lock: the last chunk, when the store could not take it */
	uint64_t recent_start; /* lock */

	/* What comes of it without a job (ahead.h); lock. */
	unsigned feeds;
	const void *feeder; /* whose sets these are */
	uint64_t fed_to, fed_end;
	/* How it is read, for that; lock. */
	bool noted, finished;
	uint64_t run_from, run_to; /* where a reader has gone on without a gap */
	uint64_t stream_next;      /* up to here it was asked for in pieces */
	struct list_node stream;   /* in account->ahead.streams */
	bool hot, stream_off;      /* pieces: from the first read on; none, ever */
	uint64_t asked_end;        /* lock: the job has asked for what lies before this */
	uint64_t
		short_end; /* lock: it came shorter than announced, and ended here; UINT64_MAX: it did not */
	atomic_uint arrivals; /* counts what was handed out */
	atomic_uint refuted;  /* how often that turned out to be wrong */
	_Atomic int64_t refuted_ms;
	atomic_bool doubted; /* what the store holds is given to nobody before it has come again */
	bool forgotten;      /* lock: what the job knows is not true any more */

	/* Job. */
	uint64_t doubt_pos, doubt_end; /* it has come again up to there; and has to */
	struct str chunk;              /* what the server sent, or the store held */
	struct str plain;              /* chunk, decoded */
	struct pace pace;
	struct reach reach;
	bool by_ranges; /* it is larger than what is fetched whole */
	int unwritable; /* why the store has refused a chunk: it is given no more; 0: it has not */
	struct search search; /* for the end */
	unsigned stalls;      /* background steps in a row that brought nothing */
	struct carve carve;
	struct mime_decoder *decoder;
	char tail[RANGE_WITNESS_BYTES]; /* the encoded bytes before raw_pos */
	size_t tail_len;
	atomic_bool
		proven; /* a range of this body has been held against bytes that were known, and was right */
	bool distrusted;      /* ranges are wrong: it is fetched whole */
	bool unstreamed;      /* the server was asked for it as a stream, and it did not come so */
	bool unheld;          /* and it is larger than what is held */
	uint64_t raw_pos;     /* encoded bytes that the decoder has taken */
	uint64_t decoded_pos; /* bytes that came out of it */
};

/* What the first of those who wait needs. */
struct body_want {
	bool size;       /* the true size */
	bool background; /* all of it, in the store */
	uint64_t offset; /* else bytes, from here */
	size_t len;
};

/*
 * Sees to it that all of it is in the store, in the background: 0: it is; -EINPROGRESS, and the result is 0 then. -EDQUOT, -ENOSPC: the
 * store does not take it. Blocks: disk.
 */
int body_download(struct sync_body *body, struct sync_waiter *waiter);
/*
 * Those who wait for what does not come by itself get a job. Lock held.
 */
void body_serve_rest(struct sync_body *body);
/* Settles the true size: stores it, and tells it. Blocks: disk. */
void body_settle_size(struct sync_body *body, uint64_t size);
/* No message is empty that was announced with a size: such an answer is an error, not an empty file. */
bool body_is_hollow(const struct sync_body *body, uint64_t size);
/* The bytes that stand directly before pos, up to RANGE_WITNESS_BYTES, where they are known; their number, 0: they are not. Blocks: disk. */
size_t body_witness(struct sync_body *body, uint64_t pos, char *buf);
/*
 * Bytes of a whole message are read, or are about to be (len 0: its size is asked for). here: they need not be fetched. What comes next is then
 * fetched ahead. Lock held. ahead.c
 */
void ahead_note(struct sync_body *body, uint64_t offset, size_t len, bool here);
/* Once for each folder, before that. No lock. Blocks: disk. */
void ahead_prepare(struct sync_body *body);
/* Whether what the waiter wants next comes by itself. Lock held. */
bool ahead_is_coming(const struct sync_body *body, const struct sync_waiter *waiter);
/* Gets some of what is wanted, from the store or the server, and hands it out. Blocks: network. */
int body_serve(struct sync_body *body, struct worker *worker, const struct body_want *want);
/* The same for those who want all of it: one step, after which others may be served. Blocks: network. */
int body_keep(struct sync_body *body, struct worker *worker);
/* Gives the chunk, which stands at start, to the store; false: it was not taken. */
bool body_keep_chunk(struct sync_body *body, uint64_t start);
/* That the store does not take it, but for want of room in its limit; said once a minute. */
void body_tell_unkept(struct sync_body *body, int err);
/* Fills body->chunk. length 0: all of it; -EFBIG: that is more than limit. Blocks: network. */
int range_fetch(struct sync_body *body, struct worker *worker, uint64_t offset, uint64_t length,
	uint64_t limit);
/* As above with a length, and -EBADE: the server gives other bytes than those asked for. */
int range_fetch_checked(
	struct sync_body *body, struct worker *worker, uint64_t pos, uint64_t asked);
/* The chunk is what the decoder takes next: its end is the witness of what follows. */
void range_remember(struct sync_body *body);
/* Ranges of this account are used no more. */
void range_distrust(struct sync_body *body);
/*
 * All of a message in one answer, into the store as it comes; handed to who waits for it, and its size settled. -ENODATA: it does not come in this way, or the
 * store does not take it: *ret_unkept says why. Blocks: network, disk. body_stream.c
 */
int stream_message(struct sync_body *message, struct worker *worker, int *ret_unkept);
/* The same of what can not be stored: what stands at from, some of it, is kept as a chunk is, and handed out. */
int stream_unkept(struct sync_body *message, struct worker *worker, uint64_t from);
/* The same of the message that a section is of. */
int stream_for_section(struct sync_body *body, struct worker *worker);
/* Whether the folder is still the one that it was opened in. */
bool body_is_current(const struct sync_body *body);
/* What has been handed out is not what the message has: it is dropped, and who has some of it is told. No lock. Blocks: disk. body_refute.c */
void body_refute(struct sync_body *body);
/* What is held is given to nobody until the same has come again by body_write(); if other bytes come it is refuted. Blocks: disk. */
void body_doubt(struct sync_body *body);
/* What is still in doubt is dropped. Blocks: disk. */
void body_doubt_end(struct sync_body *body);
/* Into the store, which there is. Where it holds other bytes there, all of it is refuted. Of the job; and of who brings what it has not asked for. */
int body_write(struct sync_body *body, const struct str *data, uint64_t start);
int body_write_ahead(struct sync_body *body, const struct str *data, uint64_t start);
/* The body of a whole message, its size as the store has it. Blocks: disk. */
int body_open_message(
	struct sync_folder *folder, uint32_t number, uint32_t uid, struct sync_body **ret);
/* Reads what the store holds at offset without a gap, up to len bytes. Blocks: disk. */
size_t body_held_read(struct sync_body *body, void *buf, size_t len, uint64_t offset);
/*
 * Hands bytes to all who wait for them; who has what it wants is put into done, to be woken. bound: there are
 * none at or past it, UINT64_MAX: not known; exact: it is the size. keep: the store has not taken data, which
 * is therefore kept and taken from the caller.
 */
void body_deliver(struct sync_body *body, struct str *data, uint64_t start, uint64_t bound,
	bool exact, bool keep, struct list_node *done);

/*
 * If the message is here whole, and its structure agrees with what is known of the section, range_fetch() takes the section's bytes from
 * there, without the server. Called at the start of a job. Blocks: disk.
 */
void carve_begin(struct sync_body *body);
/* As range_fetch(). -ENODATA: the message can not be read any more, and is given back. */
int carve_fetch(struct sync_body *body, uint64_t offset, uint64_t length, uint64_t limit);
/* Gives the message back; before the body is freed. */
void carve_end(struct sync_body *body);
/* The structure of a message that is here whole, from its bytes; all parts are located. -ENODATA: it is not here whole. Blocks: disk. */
int carve_structure(struct sync_folder *folder, uint32_t uid, struct mime_part **ret);

#endif
