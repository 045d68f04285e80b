/* SPDX-License-Identifier: MIT */
/*
 * A maildrop in memory that does what each test says, over a real store. Its letters lie in memory that children share,
 * so that what a child deleted before it was killed is deleted. It is strict: what is marked for deletion must be durable
 * in the spool at that moment; a session that is used after it died counts as misuse.
 */
#ifndef SYNC_DROP_FIXTURE_H
#define SYNC_DROP_FIXTURE_H

#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "drop.h"
#include "mailfs/maildrop.h"
#include "mailfs/store.h"
#include "mailfs/sync.h"

enum { LETTERS_MAX = 100000 };

struct letter {
	char uidl[24];    /* "": none */
	unsigned content; /* what is in it */
	uint64_t len;
	uint64_t listed;   /* what LIST says; 0: len */
	bool gone;         /* deleted, or taken away by somebody else */
	bool refused;      /* RETR is answered by -ERR */
	bool kept;         /* DELE is answered by -ERR */
	bool breaks;       /* the connection is cut in the middle of it, always */
	bool breaks_top;   /* … of its header */
	unsigned came_out; /* how often it was sent whole */
};

struct server_counts {
	unsigned connects, lists, tops, retrs, deles, quits, misuse;
	unsigned not_durable; /* DELE for what is not in the spool */
	unsigned callbacks;   /* data() and end() */
};

struct fixture;

struct server {
	struct maildrop base; /* first */
	struct fixture *fixture;
	struct letter *letters; /* shared */
	size_t *count;          /* shared */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct server_counts counts; /* lock */

	/* The script; changed with SERVER_SET() while something runs. */
	struct maildrop_abilities abilities;
	bool doubtful;
	uint64_t unlisted
		[3]; /* so many more messages than it lists says each answer, the last one all further ones */
	bool listless;  /* those that it has are not listed either */
	bool silent;    /* nothing is answered, not the list either */
	bool times_out; /* what breaks, breaks by a time-out */
	bool away;      /* connect fails */
	enum source_cause away_cause;
	enum source_retry away_retry;
	int sessions_left; /* connects that succeed; -1: all */
	unsigned
		cut_at; /* the connection is cut in place of this callback, counted over all; 0: never */
	unsigned cut_each;     /* … of this callback of each connection; 0: never */
	bool cut_quit;         /* QUIT is not answered … */
	bool cut_quit_deletes; /* … but done */
	bool cut_remove;       /* DELE is not answered */
	unsigned delay_us;     /* before each callback */
	bool hold;             /* before each message it waits until this is false, or cancel() */
	unsigned order[16];    /* contents of the first messages that were asked for */
};

struct fixture {
	char directory[64];
	struct server server;
	struct store *store;
	struct sync_account *account;
	struct sync_drop_params params;
	struct source_error error; /* of the last start */
	pthread_mutex_t lock;
	struct sync_progress progress;      /* lock: the last one */
	unsigned progress_calls, announced; /* lock */
	char warnings[4000];                /* lock: lines */
	unsigned warning_count;             /* lock */
};

int fixture_setup(void **state);
int fixture_teardown(void **state);
/* Opens the store and starts the account: what start() returns. */
int fixture_start(struct fixture *f);
/* As an unmount does. */
void fixture_end(struct fixture *f);
/* Starts and ends: one look in the foreground. */
int fixture_look(struct fixture *f);
struct letter *letter_add(struct fixture *f, const char *uidl, unsigned content, uint64_t len);
/* Adds so many with unique-ids and contents of their own, from first on. */
void letters_add(struct fixture *f, unsigned first, unsigned count);
struct server_counts server_counts(struct server *server);
void server_reset_counts(struct server *server);
/* How many messages are recorded, without the lost. */
size_t spool_count(struct fixture *f);
/*
 * That of each content as many are in the spool as letters have it (those included that are gone, if gone is set),
 * no more, and that the files hold it. The store is opened if need be.
 */
void spool_check(struct fixture *f, bool gone);
/* The record of a content: copies it. false: there is none. */
bool record_find(struct fixture *f, unsigned content, struct store_spool *ret);
/* Whether the bytes of a message are here, and its own. */
bool record_sound(struct fixture *f, const struct store_spool *record);
struct store_spool_state spool_state(struct fixture *f);
/* Writes over a message's file behind the store's back. */
void spool_damage(struct fixture *f, unsigned content);
size_t letters_gone(struct fixture *f);
unsigned warnings(struct fixture *f);
bool warned(struct fixture *f, const char *words);
/* How many lines it has; each ends in CRLF. */
uint64_t letter_lines(const struct letter *letter);
void content_digest(const struct letter *letter, unsigned char out[MAILDROP_DIGEST_BYTES]);

#define SERVER_SET(server, member, value)                                                          \
	do {                                                                                       \
		pthread_mutex_lock(&(server)->lock);                                               \
		(server)->member = (value);                                                        \
		pthread_cond_broadcast(&(server)->changed);                                        \
		pthread_mutex_unlock(&(server)->lock);                                             \
	} while (0)

#endif
