/* SPDX-License-Identifier: MIT */
/*
 * A maildrop at work. Two halves, which meet here:
 *
 *   the intake   look.c, plan.c, intake.c, sweep.c, drop.c: a thread of its own that talks to the server through
 *                maildrop.h, writes what comes into the spool, and says drop_stored() once it is durable
 *   the serving  drop_serve.c, spool_source.c: the one folder, its listing, who waits for what is on its way; all from
 *                the spool, by the same jobs, workers and bodies as a mailbox, over a struct source that reads files
 *
 * Lock: account->lock, as everywhere in sync; "intake" marks what only the intake's thread (in start(): the caller's) touches.
 */
#ifndef SYNC_DROP_H
#define SYNC_DROP_H

#include "mailfs/maildrop.h"
#include "private.h"
#include "spool_source.h"

#define DROP_MAILBOX     "INBOX"
#define DROP_UIDVALIDITY 1
/* Workers: nothing blocks on a network here. */
#define DROP_WORKERS 2

/* What is said of a message that is, or was, on its way. */
struct expected {
	uint32_t uid;
	int standing; /* -EINPROGRESS: it comes; 0: it is durable here; else why it does not come */
	bool asked;   /* it was put into urgent */
};

/* The serving half (drop_serve.c). */
struct drop_serve {
	struct spool_source source; /* reads the spool; account->source points to it */
	struct sync_folder *folder; /* account->folders[0] */
	uint32_t number;            /* store_number(FOLDER) of it */
	/* Lock, from here on. Durable and not announced yet, the oldest first. */
	uint32_t *fresh;
	size_t fresh_count, fresh_cap;
	bool reload; /* fresh could not take all: everything that is stored is announced anew */
	/* What drop_expect() said, by ascending uid. */
	struct expected *expected;
	size_t expected_count;
	/* Those that somebody waits for, in that order; the first urgent_taken were given out. As large as expected. */
	uint32_t *urgent;
	size_t urgent_count, urgent_taken;
	/* Who waits for a message that is on its way; in a waiter, offset is the uid. */
	struct list_node waiters;
};

struct intake;

struct drop {
	struct sync_account *account;
	struct sync_drop_params params; /* account is not valid after create() */
	struct drop_serve serve;
	struct intake *intake;
};

/* --- The serving half, for the intake and for account.c --- */

/*
 * Makes the source and the folder, and puts them into the account, whose name, store and drop are set; before the workers
 * start. Blocks: disk.
 */
int drop_serve_init(struct drop *drop);
/* Frees what it holds (the folder is the account's); the workers have ended. */
void drop_serve_finish(struct drop *drop);
/*
 * These messages are durable: they are announced to the tree (if it has asked for the listing yet), and those who wait are
 * woken after that. Any thread. Blocks: never.
 */
void drop_stored(struct drop *drop, const uint32_t *uids, size_t count);
/* From now on these are on their way, and no others. -ENOMEM. Blocks: never. */
int drop_expect(struct drop *drop, const uint32_t *uids, size_t count);
/* One of them will not come in this look: who waits for it, or asks for it before the next drop_expect(), gets err. */
void drop_unexpect(struct drop *drop, uint32_t uid, int err);
/* None of the rest will; likewise. */
void drop_expect_nothing(struct drop *drop, int err);
/* One that somebody waits for and that has not come; each is given once. false: none. */
bool drop_urgent(struct drop *drop, uint32_t *ret_uid);

/* --- The intake, for account.c --- */

int intake_create(struct drop *drop);
/* The first look, in the calling thread; then the thread for what remains of it, and for poll. As sync_account_start(). */
int intake_start(struct drop *drop, struct source_error *error);
/* Cancels what runs and joins. Blocks: until what is being committed is on the disk. */
void intake_stop(struct drop *drop);
void intake_destroy(struct drop *drop);

#endif
