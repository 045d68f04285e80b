/* SPDX-License-Identifier: MIT */
/*
 * The serving half of a maildrop over a real spool, without an intake: a test stores messages itself. The parts of struct
 * fixture that are about the tree and the store are used, its source is not.
 */
#ifndef SYNC_SPOOL_FIXTURE_H
#define SYNC_SPOOL_FIXTURE_H

#include "drop.h"
#include "fixture.h"

struct spool_fixture {
	struct fixture *f;
	struct drop drop;
};

int spool_setup(void **state);
int spool_teardown(void **state);
/* Opens the spool if need be and starts; events NULL: those of the fixture, into s->f->told. */
void spool_start(struct spool_fixture *s, const struct sync_events *events);
/* Ends the account and the spool, as an unmount does. */
void spool_end(struct spool_fixture *s);
struct sync_folder *spool_folder(struct spool_fixture *s);

/* Commits messages, one or count of them in a group (uid, uid + 1, …), with their structure or without. */
void spool_put(struct spool_fixture *s, uint32_t uid, const char *data, size_t len, bool structure);
void spool_put_group(struct spool_fixture *s, uint32_t uid, size_t count);
/* As above, and says so to the serving half. */
void spool_bring(struct spool_fixture *s, uint32_t uid);
/* The path of the one file in the spool whose name is that of a message. */
void spool_path(struct spool_fixture *s, uint32_t uid, char path[256]);
/* Waits until the tree shows the message. */
void spool_await(struct spool_fixture *s, uint32_t uid);

#define SPOOL_SMALL "Subject: hello\r\nFrom: a@b.c\r\n\r\nbody\r\n"

#endif
