/* SPDX-License-Identifier: MIT */
/*
 * A sync and a store that do what a test says: no threads, no disk. A call that has to wait leaves
 * its waiter in fake.waiter; the test changes the world and calls fake_wake(). The tree under test
 * is fake.tree.
 */
#ifndef TESTS_UNIT_TREE_FAKE_H
#define TESTS_UNIT_TREE_FAKE_H

#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "mailfs/tree.h"

#define FAKE_FOLDERS 40

struct sync_folder {
	struct source_mailbox mailbox;
	uint32_t directory;
	void *data;
	struct store_mailbox state;
	enum sync_listing listing;
	int err;
	uint64_t seen;
	atomic_bool gone;
	bool current;          /* a refresh need not wait */
	int refresh_err;       /* what a refresh that has to wait gives instead; 0: it waits */
	atomic_uint refreshes; /* that were asked for */
	uint64_t unseen;
};

struct fake_row {
	const char *flags, *labels, *header;
	uint32_t uid;
};

struct fake {
	struct tree *tree;
	struct sync_folder folders[FAKE_FOLDERS];
	size_t folder_count;
	struct sync_events events;
	struct source_quota quota;
	struct sync_waiter *waiter; /* who waits; NULL: nobody */
	struct fake_row row;        /* what the store has of one message */

	int scratch_err;   /* of store_scratch(); 0: it gives a file */
	bool survey_stale; /* the list of folders is to be waited for */
	atomic_uint surveys;
	bool distrusted;
	int64_t made_up_s;  /* of a mailbox that the store does not know */
	char kept_wire[64]; /* whose time was stored last */
	int64_t kept_s;

	/* a maildrop */
	bool drop;
	uint32_t expected;       /* a UID that is on its way; 0: none */
	int expected_err;        /* why it does not come; 0: it comes */
	uint32_t arriving;       /* comes when it is asked for */
	unsigned expected_calls; /* for any UID */
	const char *uidl;        /* of every message; NULL: none */
	unsigned uidl_calls;

	/* structures and bodies */
	bool structure_stored, structure_empty;
	unsigned structure_calls, structure_reads;
	struct str structure;
	const char *known_section; /* whose size the store knows */
	uint64_t known_size;
	bool size_settled;
	unsigned refuted; /* how often what was handed out was */
	int64_t refuted_ms;
	uint64_t true_size;
	uint64_t opened_size; /* what sync_body_open() was told */
	char opened_section[64];
	unsigned bodies; /* open ones */
	ssize_t read_result;

	/* what the observer was told, as text; of what appeared and disappeared if it is to be */
	struct str told;
	bool tell_appeared;

	/* the call that is made; woken: wake() was called with result */
	struct tree_call call;
	bool woken;
	ssize_t result;
};
extern struct fake fake;

/* A world with no folders. */
void fake_reset(void);
struct sync_folder *fake_folder(const char *name, char delimiter, unsigned flags);
/* Builds the tree; root: NULL for all. Returns what tree_create() does. */
int fake_tree(const char *root);
struct tree_params fake_params(void);
int fake_tree_params(const struct tree_params *params);
/* Ends it. */
void fake_finish(void);

/*
 * The folder announces an identity; then messages, with a date, a size and a subject made of their
 * UID.
 */
void fake_announce(struct sync_folder *folder, uint32_t number);
void fake_message(struct sync_folder *folder, uint32_t uid);
void fake_row(struct sync_folder *folder, const struct source_row *row);
/* The folder is listed: number, and messages with UIDs 1 to count. */
void fake_listed(struct sync_folder *folder, uint32_t number, uint32_t count);
/* The name of fake_message(uid). */
const char *fake_name(uint32_t uid);

/* A new call. */
struct tree_call *fake_call(void);
/* Wakes who waits. */
void fake_wake(ssize_t result);

/* The folder is there from now on (former: under another name before); it is gone. */
void fake_added(struct sync_folder *folder, struct sync_folder *former);
void fake_removed(struct sync_folder *folder);

/* Looks a path up, which must be there without waiting; its node. */
uint64_t fake_node(const char *path);
/* Reads a directory from offset on, in one go: "name|name|". The error, or 0. */
int fake_read_dir(struct tree_dir *dir, uint64_t offset, struct str *out);
/* Opens, reads and closes; nothing may have to wait. */
void fake_list(const char *path, struct str *out);
void fake_check_list(const char *path, const char *expected);

#endif
