/* SPDX-License-Identifier: MIT */
/*
 * A connection whose other end is the input of a fuzz target: recv() and send() of the process, in memory. Nothing waits: behind the last byte
 * the server has hung up.
 *
 * In the input, WIRE_PACKET ends what one recv() gives, and WIRE_TAG stands for the tag of the oldest IMAP command that was not answered in this way
 * yet, so that an answer stays one when something before it changes. It comes once that command was sent.
 */
#ifndef MAILFS_FUZZ_WIRE_H
#define MAILFS_FUZZ_WIRE_H

#include "fuzz.h"
#include "mailfs/net.h"

#define WIRE_PACKET 0x1e
#define WIRE_TAG    0x1f

/* What the server will say: first, then in. One wire at a time. packets false: WIRE_PACKET is passed over, all comes at once. */
void wire_open(const char *first, struct fuzz_input in, bool packets);
/* A stream on it, in place of net_connect(), which gives one as well. */
struct net_stream *wire_stream(void);
/* Of a host that is reached by this wire; made once for each kind of TLS, and lives as long as the process. */
struct net_context *wire_context(enum net_tls tls);
/* What the client has sent, the first 64 KiB of it. */
const struct str *wire_sent(void);
/* Whether these bytes are in it. */
bool wire_has_sent(const char *text);

#endif
