/* SPDX-License-Identifier: MIT */
/*
 * A whole session, from the greeting to LOGOUT, against a server in a thread that answers by what is asked, one connection after the other. It is for faults
 * that may come anywhere: the server can cut the connection after so many bytes in either direction, and whatever of
 * the session succeeded is compared.
 */
#ifndef MAILFS_TEST_IMAP_WHOLE_H
#define MAILFS_TEST_IMAP_WHOLE_H

#include <pthread.h>
#include <stdatomic.h>

#include "mailfs/imap.h"

struct whole {
	int listener;
	atomic_int fd; /* of the connection that is served; -1 */
	uint16_t port;
	pthread_t thread;
	atomic_bool stopping;
	/* How many bytes of the next connections pass, in each direction; counted of the last one. */
	atomic_size_t to_client_max, to_server_max;
	atomic_size_t to_client, to_server;
	atomic_uint served; /* connections that have ended */
	struct net_context *net;
	struct secret *password;
	struct source *source;
};

#define WHOLE_ALL SIZE_MAX

extern struct whole world;
/* For cmocka: a group's set-up and tear-down. */
int whole_set_up(void **state);
int whole_tear_down(void **state);

/* The steps of a session; each is checked where it succeeds. */
enum whole_step {
	WHOLE_CONNECT,
	WHOLE_LIST,
	WHOLE_QUOTA,
	WHOLE_STATUS,
	WHOLE_SELECT,
	WHOLE_ROWS,
	WHOLE_UIDS,
	WHOLE_STRUCTURES,
	WHOLE_BODY,
	WHOLE_BULK,
	WHOLE_DESCRIBE,
	WHOLE_STEPS
};

struct whole_session {
	struct source_session *session; /* NULL: not connected */
	struct source_error error;
	bool named; /* WHOLE_DESCRIBE told the server's name */
};
/* Does one step. Nothing in it is allocated but by what is tested. 0, or the error; what is wrong fails the test. */
int whole_step(struct whole *whole, struct whole_session *session, enum whole_step step);
void whole_end(struct whole *whole, struct whole_session *session, bool polite);

#endif
