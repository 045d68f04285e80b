/* SPDX-License-Identifier: MIT */
/* What the tests of a session's calls share: being logged in, having a folder open, and shorter names for the calls. */
#ifndef MAILFS_TEST_IMAP_SESSION_H
#define MAILFS_TEST_IMAP_SESSION_H

#include "script.h"

/* The script's first steps: logged in, with these capabilities; then a folder with 3 messages open (tag C1). */
#define GREETING(caps) ">* PREAUTH [CAPABILITY IMAP4rev1" caps "] hi\r\n"
#define OPEN                                                                                       \
	"<C1 EXAMINE \"box\"",                                                                     \
		">* 3 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 10] x\r\nC1 OK [READ-ONLY] done\r\n"
#define SCRIPT(...) ((const char *const[]){__VA_ARGS__, NULL})

/* Connects, and fails the test if that fails. */
static inline void session_begin(struct peer *peer, const char *const *steps)
{
	peer_connect(peer, NET_TLS_NONE, steps);
	if (peer->result < 0)
		fail_msg("connect: %s", peer->error.text);
	peer->source->ops->set_timeout(peer->session, 5000);
}

static inline int session_select(struct peer *peer, const char *mailbox, struct source_state *ret)
{
	return peer->source->ops->select(peer->session, mailbox, true, NULL, ret, &peer->error);
}

/* Also opens the folder of OPEN. */
static inline void session_open(struct peer *peer, const char *const *steps)
{
	struct source_state state;
	session_begin(peer, steps);
	if (session_select(peer, "box", &state) < 0)
		fail_msg("select: %s", peer->error.text);
}

#endif
