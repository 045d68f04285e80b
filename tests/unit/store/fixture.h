/* SPDX-License-Identifier: MIT */
/* A store in a directory of its own, which goes away with the test. Includes cmocka. */
#ifndef TEST_STORE_FIXTURE_H
#define TEST_STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <cmocka.h>

#include "mailfs/store.h"

struct fixture {
	char root[64];        /* a new directory */
	char directory[128];  /* of the store, below it, not made yet */
	enum store_kind kind; /* a cache, if nobody says otherwise */
	struct store *store;  /* NULL, or open */
	int stderr_fd;        /* the real one, while what is logged is collected */
};

/* Setups and teardown for cmocka: *state is the fixture. */
int fixture_create(void **state);
int fixture_create_open(void **state);
int fixture_destroy(void **state);

/* Opens the store, or closes and opens it again. */
void fixture_reopen(struct fixture *fixture);
/* Closes the store, if it is open. */
void fixture_close(struct fixture *fixture);
/* Opens it for a child, which ends where that fails. */
struct store *fixture_open_in_child(const struct fixture *fixture);
/* Waits for a child that is to be killed, and for nothing else. */
void fixture_expect_killed(pid_t pid);
/* Kills a child, us microseconds after it has written a byte into the pipe, whose ends are closed. */
void fixture_kill(pid_t pid, const int *ready, useconds_t us);
/* For tests of what may not be done, where it is root who runs them: from now on another user's, who owns the fixture. */
void fixture_drop_rights(const struct fixture *fixture);
void fixture_take_rights(void);
/* Opens the store, expecting rc; what is said must contain each of the words. */
void fixture_expect_refused(struct fixture *fixture, int rc, const char *const *words);
/* What is logged from now on, until it is asked for: all of it, valid until the next call. */
void fixture_log_begin(struct fixture *fixture);
const char *fixture_log_end(struct fixture *fixture);
/* The path of a file in the store's directory; valid until the next call. */
const char *fixture_path(const struct fixture *fixture, const char *name);
/* Runs SQL on the database behind the store's back. */
void fixture_sql(const struct fixture *fixture, const char *sql);
/* Opens a body that is expected to open. */
struct store_body *fixture_body(
	struct fixture *fixture, uint32_t folder, uint32_t uid, const char *section);

/* What every byte of the bodies in these tests is: a function of the UID and the offset. */
unsigned char byte_at(uint32_t uid, uint64_t offset);
void fill_bytes(unsigned char *buf, size_t len, uint32_t uid, uint64_t offset);
/* Writes the right bytes for [offset, offset + len). */
int write_bytes(struct store_body *body, uint32_t uid, size_t len, uint64_t offset);
/* Reads [offset, offset + len) and sees that it is all there and right. */
void check_bytes(struct store_body *body, uint32_t uid, size_t len, uint64_t offset);

/* A generator that gives the same sequence for the same seed on every machine. */
uint32_t random_next(uint64_t *state);

#endif
