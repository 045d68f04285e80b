/* SPDX-License-Identifier: MIT */
/*
 * How far the first download is, in one line on the terminal that is rewritten in place. What it says is a pure
 * function of numbers, progress_format(); who watches a pipe or a log sees nothing.
 */
#ifndef CLI_PROGRESS_H
#define CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "mailfs/sync.h"

#define PROGRESS_LINE_MAX 200

/*
 * Writes into out[PROGRESS_LINE_MAX] as much of the line as fits into so many columns, whole fields first. rate_bytes: in a second,
 * 0 when it is not known (then no time is given either). Its length.
 */
size_t progress_format(const struct sync_progress *progress, uint64_t rate_bytes, unsigned columns,
	char out[PROGRESS_LINE_MAX]);
/* The line that stays when all is here. As above. */
size_t progress_format_end(
	const struct sync_progress *progress, int64_t took_ms, char out[PROGRESS_LINE_MAX]);

/* The rate of the last seconds, from samples that are at least half a second apart. Zeroed, it is new. */
#define PROGRESS_SAMPLES 11
struct progress_rate {
	struct {
		int64_t at_ms;
		uint64_t bytes;
	} samples[PROGRESS_SAMPLES]; /* a ring, oldest first from `first` */
	unsigned first, count;
};
/* Bytes in a second as of now; 0: too early to say. bytes: all so far. */
uint64_t progress_rate(struct progress_rate *rate, int64_t now_ms, uint64_t bytes);

/* Shows the line on stderr from now on, if that is a terminal and this process is in its foreground; lines of the log take it away. Blocks: never, as all here. */
void progress_begin(void);
/* For sync_drop_params.progress. Any thread; before progress_begin() and after progress_end() it does nothing. */
void progress_show(void *arg, const struct sync_progress *progress);
/* Takes the line away for good. */
void progress_end(void);

#endif
