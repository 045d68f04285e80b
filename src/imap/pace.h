/* SPDX-License-Identifier: MIT */
/* The deadline of an operation, which moves on as long as enough comes (limits.h says what is enough). Times are monotonic. */
#ifndef MAILFS_IMAP_PACE_H
#define MAILFS_IMAP_PACE_H

#include <stdbool.h>
#include <stdint.h>

struct imap_pace {
	int64_t deadline_ms; /* what holds */
	int64_t begun_ms;
	int64_t granted_ms; /* the deadline that the last window with enough has earned */
	int64_t window_ms;  /* since when window_bytes are counted */
	uint64_t window_bytes;
	bool flowing; /* something has come: there is a window */
	int timeout_ms;
};

void imap_pace_begin(struct imap_pace *pace, int64_t now_ms, int timeout_ms);
/* So much came of what counts. */
void imap_pace_came(struct imap_pace *pace, int64_t now_ms, uint64_t bytes);
/* A row that was asked for came, which is worth more than its bytes: a server may have to read a message for it. */
void imap_pace_row(struct imap_pace *pace);
/* Our own side took so long. */
void imap_pace_pause(struct imap_pace *pace, int64_t ms);

#endif
