/* SPDX-License-Identifier: MIT */
/* An account whose folders come and go, and what the tree is told of that. */
#ifndef SYNC_ROSTER_FIXTURE_H
#define SYNC_ROSTER_FIXTURE_H

#include "fixture.h"

#define LEN 5000

/* What the tree was told, one word after the other: "+Name ", "Old>New ", "-Name ", "~Name ". */
extern char said[1000];
bool has_said(const char *text);

int roster_setup(void **state);
void start(struct fixture *f);
/* Messages whose headers and dates are their own. */
struct fake_mailbox *add(
	struct fixture *f, const char *name, uint32_t first, uint32_t count, const char *data);
int survey(struct fixture *f);
/* How many messages the store has of it. */
uint64_t stored(struct fixture *f, const char *name);
int read_uid(struct sync_folder *folder, uint32_t uid);
/* The living one of that name. */
struct sync_folder *living(struct fixture *f, const char *name);

/* A survey under the fake's lock has seen all that was changed before. */
#define CHANGE(f, what)                                                                            \
	do {                                                                                       \
		pthread_mutex_lock(&(f)->fake.lock);                                               \
		what;                                                                              \
		pthread_mutex_unlock(&(f)->fake.lock);                                             \
	} while (0)

#endif
