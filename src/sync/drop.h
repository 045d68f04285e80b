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

#define DROP_MAILBOX     "INBOX"
#define DROP_UIDVALIDITY 1
/* Workers: nothing blocks on a network here. */
#define DROP_WORKERS 2

/* The serving half. */
struct drop_serve {
	struct source source; /* reads the spool; account->source points here */
	struct sync_folder *folder;
	uint32_t number; /* store_number(FOLDER) of it */
	/* Stored and not announced yet. */
	uint32_t *fresh; /* lock */
	size_t fresh_count, fresh_cap;
	/* On their way: a table by uid (struct expected, drop_serve.c). */
	struct expected_table *expected; /* lock */
	struct list_node
		urgent; /* lock: those that somebody waits for and that were not asked for yet */
};

struct intake;

struct drop {
	struct sync_account *account;
	struct sync_drop_params params; /* account is not valid after create() */
	struct drop_serve serve;
	struct intake *intake;
};

/* --- The serving half, for the intake and for account.c --- */

/* Makes the folder, the source and what else is needed; the store is open. Blocks: disk. */
int drop_serve_init(struct drop *drop);
void drop_serve_finish(struct drop *drop);
/* These messages are durable: they are announced to the tree (if it has asked for the listing yet), and those who wait are woken after that. Any thread. */
void drop_stored(struct drop *drop, const uint32_t *uids, size_t count);
/* From now on these are on their way, and no others. -ENOMEM. Blocks: never. */
int drop_expect(struct drop *drop, const uint32_t *uids, size_t count);
/* One of them will not come in this look: who waits for it gets err. */
void drop_unexpect(struct drop *drop, uint32_t uid, int err);
/* None of the rest will: who waits gets err. */
void drop_expect_nothing(struct drop *drop, int err);
/* One that somebody waits for; each is given once. false: none. */
bool drop_urgent(struct drop *drop, uint32_t *ret_uid);

/* --- The intake, for account.c --- */

int intake_create(struct drop *drop);
/* The first look, in the calling thread; then the thread for what remains of it, and for poll. As sync_account_start(). */
int intake_start(struct drop *drop, struct source_error *error);
/* Cancels what runs and joins. Blocks: until what is being committed is on the disk. */
void intake_stop(struct drop *drop);
void intake_destroy(struct drop *drop);

#endif
