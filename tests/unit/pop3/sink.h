/* SPDX-License-Identifier: MIT */
/* A sink that keeps what it is given, for tests of retrieve(). */
#ifndef MAILFS_TEST_POP3_SINK_H
#define MAILFS_TEST_POP3_SINK_H

#include <string.h>

#include "script.h"

#define SINK_MAX 4096

struct sink_message {
	struct str data;
	int err; /* of end(); 1: it was not called */
	char text[200];
	unsigned char sha256[MAILDROP_DIGEST_BYTES];
};

struct sink {
	struct maildrop_sink ops;
	const struct maildrop_want *wants; /* NULL: 1, 2, … of want_bytes each */
	uint64_t want_bytes;
	size_t count; /* how many to ask for */
	size_t asked, ended;
	bool discard;  /* keeps nothing */
	bool mismatch; /* size or digest are not those of the data, or the order is wrong */
	int data_err;  /* returned by data() */
	size_t step; /* 0: all at once; else next() names one only when step × (ended + 1) were not asked for */
	size_t pause;      /* 0: none; else so many have to end before more are asked for */
	unsigned sleep_ms; /* in data() */
	uint64_t bytes;
	struct sink_message messages[SINK_MAX];
};

void sink_init(struct sink *sink, size_t count);
void sink_finish(struct sink *sink);
/* retrieve() with this sink. */
int sink_run(struct sink *sink, struct client *client, bool header);

#endif
