/* SPDX-License-Identifier: MIT */
/*
 * An account on a source in memory and a real store, with a tree that writes down what it is told. A test sets
 * up fixture.fake first, then calls fixture_start().
 */
#ifndef SYNC_FIXTURE_H
#define SYNC_FIXTURE_H

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "fake_source.h"
#include "mailfs/mime.h"
#include "mailfs/sync.h"
#include "mailfs/util/clock.h"

/* What the tree was told of one folder. */
struct told {
	pthread_mutex_t lock;
	unsigned resets;
	uint32_t number;
	struct {
		uint32_t uid;
		unsigned have, times; /* how often rows() gave it */
		bool gone;
	} messages[25000];
	size_t count;
	unsigned order_breaks; /* rows in descending order */
	unsigned batches;
	unsigned changes;
	int64_t changed_s;
	unsigned sizes, section_sizes, refuted;
	uint64_t size, section_size; /* the last one */
	char section[64];
};

struct fixture {
	char directory[64];
	struct fake_source fake;
	struct store *store;
	struct sync_account *account;
	struct sync_params params;
	struct told *told; /* of the first mailbox */
	/* Called when the account was made, before it is started, and what start() gave; NULL. */
	void (*prepare)(struct fixture *f);
	struct sync_events
		more; /* added, removed, attributes, link: given to the account as they are */
};

int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Opens the store if need be, makes the account and starts it. */
void fixture_start(struct fixture *f);
/* The tree that writes into f->told, which is of the first mailbox. */
struct sync_events fixture_events(struct fixture *f);
/* Ends the account and the store, as an unmount does; what the tree knew is forgotten. */
void fixture_end(struct fixture *f);
struct sync_folder *fixture_folder(struct fixture *f, const char *name);

/* INBOX, listed. */
struct sync_folder *fixture_inbox(struct fixture *f);
/* Starts with one message in INBOX, UID 5, which is announced with a size of its own. */
struct sync_folder *fixture_start_with(
	struct fixture *f, const char *data, size_t len, uint64_t announced);
/* Bytes of bodies that the source has sent. */
/* What a range repeats, and what it costs to prove that ranges are right where nothing is known before them. */
#define WITNESS 256
#define PROOF   (32768 + 2 * WITNESS)
/* That these bytes were fetched once, witnesses aside. */
void assert_fetched(struct fixture *f, uint64_t bytes, uint64_t spare);
uint64_t fixture_bytes(struct fixture *f);

/* Somebody who waits, in the test's thread. */
struct reader {
	struct sync_waiter waiter; /* first */
	pthread_mutex_t lock;
	pthread_cond_t woken;
	unsigned wakes;
	ssize_t result;
};
void reader_init(struct reader *reader, int timeout_ms);
/* Waits until it is woken; the result. */
ssize_t reader_wait(struct reader *reader);
unsigned reader_wakes(struct reader *reader);
void reader_finish(struct reader *reader);

/* Waits until something is so, up to 10 s. */
#define wait_for(condition)                                                                        \
	do {                                                                                       \
		int64_t until_ = clock_now_ms() + 10000;                                           \
		while (!(condition) && clock_now_ms() < until_)                                    \
			sleep_ms(1);                                                               \
		assert_true(condition);                                                            \
	} while (0)

/* Calls, and waits where need be, up to 20 s. */
int refresh(struct sync_folder *folder);
ssize_t body_read(struct sync_body *body, void *buf, size_t len, uint64_t offset);
/* Reads all of it as a program does, until 0. */
size_t body_read_all(struct sync_body *body, char *out, size_t cap);
int body_size(struct sync_body *body, uint64_t *ret);
int structure(struct sync_folder *folder, uint32_t uid);
/* How many messages the tree shows now. */
size_t told_shown(struct told *told);
/* Whether the tree shows it; the members of its row. */
bool told_has(struct told *told, uint32_t uid, unsigned *ret_have);
void sleep_ms(int ms);
/* Bytes that differ at every offset; freed with the fixture, when no worker can be sending them any more. */
char *pattern(size_t len);

#define assert_read(body, data, offset, len)                                                       \
	do {                                                                                       \
		char *buf_ = malloc((len) + 1);                                                    \
		assert_int_equal(body_read((body), buf_, (len), (offset)), (len));                 \
		assert_memory_equal(buf_, (data) + (offset), (len));                               \
		free(buf_);                                                                        \
	} while (0)

#endif
