/* SPDX-License-Identifier: MIT */
/* Many messages at a time: the sets that are under way (bulk.c), and what a response says of a message (bulk_message.c). */
#ifndef MAILFS_IMAP_BULK_H
#define MAILFS_IMAP_BULK_H

#include "private.h"

/*
 * So many sets lack messages at a time, so that the line stays full while the server goes from one to the next, also where all of their messages
 * take less time than a round trip. More than BULK_LACKING_MIN only as long as their commands are short: a write must never wait for a server
 * that is itself waiting to write, so what may be unread by the server (a set has 16 KiB at most) must fit into what two sockets hold.
 */
#define BULK_LACKING_MIN  2
#define BULK_LACKING_MAX  4
#define BULK_UNREAD_BYTES ((size_t)12 << 10)
/* So many wait for their answers: Dovecot may hold that of a set back until it is done with the next ones. */
#define BULK_SETS 8

struct bulk_set {
	uint32_t uids[SOURCE_BULK_UIDS];
	bool done[SOURCE_BULK_UIDS]; /* begin() was told of it */
	size_t count, missing;       /* in all; not told yet */
	uint64_t offset, length;     /* length 0: whole messages */
	uint64_t limit_bytes;
	unsigned commands; /* that are not answered */
	size_t bytes;      /* of its commands */
	int err;           /* of the first that was refused, or why none was sent */
};

/* The response that is being read. */
struct bulk_message {
	uint32_t uid; /* whose content has come as a literal, to be handed on; 0: none has */
	struct bulk_set *set; /* that it is of */
	bool told;            /* begin() took it: end() is owed */
	bool receiving;       /* the literal that comes now is its content */
	bool dropped;         /* of a literal nothing was kept */
	size_t held;          /* bytes of literals that were kept in the response */
	bool finished;        /* a message was told, or passed over */
};

struct bulk {
	struct imap_engine *engine;
	const struct source_bulk *calls;
	struct bulk_set sets[BULK_SETS];
	unsigned first, count;
	int stop; /* negative errno: nothing more is asked for */
	struct bulk_message message;
	/* How the lines of a VANISHED, which may be of any length, are taken out of the way. */
	struct imap_set dropped;
	int (*spill)(void *arg, struct str *line);
};

/* The nth set that is under way, 0 the one that is answered next; NULL: there is none. */
struct bulk_set *bulk_set_at(struct bulk *bulk, unsigned n);

/* Asked of each literal of a response (net_limits.pass, passed); arg: the bulk. */
bool bulk_pass(void *arg, const char *head, size_t len, uint64_t size);
void bulk_passed(void *arg, const char *data, size_t len);
/* The response is complete: ends the message that has begun, or tells one that was held. */
void bulk_message_read(struct bulk *bulk, const struct imap_response *response);
/* No more responses are read: what has begun is ended if it was not the connection that ended it. */
void bulk_message_abandon(struct bulk *bulk, const struct source_error *error);

#endif
