/* SPDX-License-Identifier: MIT */
/*
 * How much a server may say, in one place. What concerns an account as a whole (mailboxes, messages, sizes) is in source.h, the framing in net.h
 * (net_limits_default: 1 MiB line, 1 MiB literal, 4 MiB response), nesting and nodes in sexp.h.
 *
 * Memory: a session holds one response at a time, its tree (10 MiB at the most), and what the call that runs makes of it. So what may be held of a response,
 * times the connections (4 by default, 16 at most), is what an account can be made to take.
 *
 * Time: a command has one deadline. It moves on only in an exchange that is long by right (a listing, a search, a message that is streamed), and only for as long as
 * enough comes (RATE), for a day at the most; what comes in all is limited by responses and bytes. These are far beyond what is honest, because senders decide how long
 * some of it is, and because a slow line is no attack: a rate, not an end, tells who is working from who is holding us up. Whoever waits for a file or a listing
 * has a deadline of his own, whatever comes.
 */
#ifndef MAILFS_IMAP_LIMITS_H
#define MAILFS_IMAP_LIMITS_H

#include <stddef.h>
#include <stdint.h>

#include "mailfs/source.h"

#define IMAP_LIMIT_MIB ((uint64_t)1 << 20)

/*
 * In each window (or half the time-out, if that is less) a stream brings so many bytes a second, or its deadline stays where it is. The first window begins with the
 * first byte; one that has begun when the deadline comes may end (pace.c). A row that was asked for is worth so much, if it has less.
 */
#define IMAP_LIMIT_RATE_MS        5000
#define IMAP_LIMIT_RATE_BYTES_S   1024
#define IMAP_LIMIT_RATE_ROW_BYTES 1024
/* … and not for longer than this: in a day the slowest line of today brings all that may come. */
#define IMAP_LIMIT_LONGEST_MS (INT64_C(24) * 60 * 60 * 1000)

/* Of an exchange whose caller does not say otherwise. Untagged lines that nobody asked for are a few, as a rule. */
#define IMAP_LIMIT_RESPONSES 10000
#define IMAP_LIMIT_BYTES     (256 * IMAP_LIMIT_MIB)

/* --- Before and in the login --- */

#define IMAP_LIMIT_SASL_STEPS 16
/* While libetpan speaks; and of a line that it may see: it makes some 200 bytes of each word of a list. */
#define IMAP_LIMIT_ETPAN_RESPONSES 1000
#define IMAP_LIMIT_GATE_BYTES      ((size_t)64 << 10)
#define IMAP_LIMIT_GATE_DEPTH      64
/* A namespace's prefix goes into a command, with others. */
#define IMAP_LIMIT_PREFIX_BYTES 1000

/* --- Listings and structures: what is longer than may be held is cut (imap_long_limits()) --- */

/* Held of a response: the structure of a message of MIME_PARTS_MAX parts has some 3 MiB. */
#define IMAP_LIMIT_HELD_BYTES ((size_t)4 << 20)
/* Held of header fields: names are short, and the value of an xattr has 64 KiB at most. */
#define IMAP_LIMIT_HEADER_BYTES ((size_t)256 << 10)
/* … and of each of them, where they are longer. */
#define IMAP_LIMIT_FIELD_BYTES ((size_t)64 << 10)
/* Received of one literal, held or not, and how many there may be: file names as literals, thousands of them. */
#define IMAP_LIMIT_LITERAL_BYTES (64 * IMAP_LIMIT_MIB)
#define IMAP_LIMIT_LITERALS      100000
/* Received of one line. */
#define IMAP_LIMIT_ROW_LINE_BYTES       (16 * IMAP_LIMIT_MIB)
#define IMAP_LIMIT_STRUCTURE_LINE_BYTES (64 * IMAP_LIMIT_MIB)
/* Rows come once, some twice, and mail arrives meanwhile: four for each message, and so many. Headers of 10 MiB are mail, too. */
#define IMAP_LIMIT_ROWS_EXTRA       100000
#define IMAP_LIMIT_ROWS_BYTES       (1024 * IMAP_LIMIT_MIB)
#define IMAP_LIMIT_ROW_BYTES        ((uint64_t)256 << 10) /* and for each message */
#define IMAP_LIMIT_STRUCTURES_BYTES (1024 * IMAP_LIMIT_MIB)
/* More flags or labels on one message say nothing to people; texts of flags are held while a folder is compared. */
#define IMAP_LIMIT_FLAGS_BYTES  8192
#define IMAP_LIMIT_LABELS_BYTES 65536
/* Responses to LIST beyond SOURCE_MAILBOXES_MAX of each pattern; and bytes of each, beyond what any exchange may have. */
#define IMAP_LIMIT_LISTS_EXTRA 10000
#define IMAP_LIMIT_LIST_BYTES  (16 * IMAP_LIMIT_MIB)

/* --- Sets of UIDs: told in pieces, never held --- */

/* A million holes have some 20 MiB. */
#define IMAP_LIMIT_SET_LINE_BYTES (64 * IMAP_LIMIT_MIB)
#define IMAP_LIMIT_SET_SPILL      ((size_t)128 << 10)
/* No list has literals, and what else comes with it is short. */
#define IMAP_LIMIT_SET_LITERAL_BYTES (1 * IMAP_LIMIT_MIB)
#define IMAP_LIMIT_SET_LITERALS      4

/* --- Bodies: the limit is what was asked for, and around it --- */

#define IMAP_LIMIT_BODY_LINE_BYTES (1 * IMAP_LIMIT_MIB)
#define IMAP_LIMIT_BODY_SLACK      ((uint64_t)64 << 10)
/* In a pipeline literals are held until the response says whose they are. The pieces that are asked for have 2 MiB at the most. */
#define IMAP_LIMIT_BULK_HELD_BYTES ((size_t)2304 << 10)
#define IMAP_LIMIT_BULK_SLACK      ((uint64_t)512 << 10)
#define IMAP_LIMIT_BODY_LITERALS   64

/* --- Watches last for hours: each response has its time-out, and so many may come in a minute (and four for each message) --- */

#define IMAP_LIMIT_BURST_MS        60000
#define IMAP_LIMIT_BURST_RESPONSES 100000

#endif
