/* SPDX-License-Identifier: MIT */
/* Rows that are kept longer than the callback that brought them: copies, with their text in one block. */
#ifndef SYNC_BATCH_H
#define SYNC_BATCH_H

#include <stddef.h>

#include "mailfs/source.h"
#include "mailfs/util/str.h"

struct row_text;

struct row_batch {
	struct source_row *rows; /* their pointers are valid after row_batch_rows() only */
	struct row_text *texts;
	size_t count, rows_cap, texts_cap;
	struct str text;
};

void row_batch_finish(struct row_batch *batch);
/* Empties it and keeps its memory. */
void row_batch_reset(struct row_batch *batch);
/* Copies row. 0 or -ENOMEM. */
int row_batch_add(struct row_batch *batch, const struct source_row *row);
/* The rows, complete; valid until the next call for the batch. */
const struct source_row *row_batch_rows(struct row_batch *batch);

#endif
