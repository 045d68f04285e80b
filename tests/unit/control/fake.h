/* SPDX-License-Identifier: MIT */
/*
 * A tree, a sync and a store that say what a test says, and a client of the control over them. The functions that control calls are
 * defined in fake.c, and only these.
 */
#ifndef TESTS_UNIT_CONTROL_FAKE_H
#define TESTS_UNIT_CONTROL_FAKE_H

#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <jansson.h>

#include "mailfs/control.h"

#define FAKE_FOLDERS 8

struct sync_folder {
	const char *path; /* in the tree */
	struct source_mailbox mailbox;
	bool gone;
	struct sync_folder_status status;
	int status_err;
	bool pinned;
};

struct fake {
	char home[64]; /* a temporary directory, $XDG_RUNTIME_DIR */
	struct control *control;
	char *socket; /* as the tree was told */
	struct sync_folder folders[FAKE_FOLDERS];
	size_t folder_count;
	bool drop;
	struct sync_status status;
	const char *says, *quirks;
	struct store_usage usage;
	uint32_t missing_uid;   /* store_pinned_missing() */
	bool message_pinned;    /* store_is_pinned() of a message */
	int pin_err, clear_err; /* what sync_pin() and store_cache_clear() return */
	atomic_uint refreshes;
	struct str pins; /* what sync_pin() was called with */
	int set_control_err;

	pthread_mutex_t lock; /* listener: as tree_set_listener() promises */
	tree_news_fn *listener;
	void *listener_arg;
	pthread_mutex_t gate; /* store_cache_clear() waits for it */
};
extern struct fake fake;

/* A world with INBOX, Archive, Archive/2025 and a \Noselect folder, and a control that serves it. */
int fake_setup(void **state);
int fake_teardown(void **state);
/* What control_create() returns. */
int fake_create(struct str *why);
/* As the tree tells; any thread. */
void fake_news(const struct tree_news *news);
void fake_new_message(const char *path);

/* A connection; the test has failed if there is none. */
int fake_connect(void);
void fake_send(int fd, const char *text);
/* The next line, without its end; NULL: the end of the connection. free() it. Fails the test after 5 s. */
char *fake_line(int fd);
/* Sends a line and takes the answer; json_decref() it. */
json_t *fake_ask(int fd, const char *request);
/* … on a connection of its own; the answer must have ok: true. */
json_t *fake_ok(const char *request);
/* … the answer must be a failure with that code; its text is in the answer's error. */
void fake_refused(const char *request, const char *code, const char *says);

#endif
