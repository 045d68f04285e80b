/* SPDX-License-Identifier: MIT */
/* The text block moves when it grows, so places in it are kept as offsets and become pointers at the end. */
#include "batch.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NO_TEXT SIZE_MAX

struct row_text {
	size_t flags, labels, header;
};

void row_batch_finish(struct row_batch *batch)
{
	free(batch->rows);
	free(batch->texts);
	str_finish(&batch->text);
	*batch = (struct row_batch){0};
}

void row_batch_reset(struct row_batch *batch)
{
	batch->count = 0;
	str_reset(&batch->text);
}

/* Copies len bytes and a NUL; where they lie. */
static size_t keep(struct str *text, const char *data, size_t len)
{
	if (!data)
		return NO_TEXT;
	size_t at = text->len;
	str_append(text, data, len);
	str_putc(text, 0);
	return at;
}

static size_t keep_cstr(struct str *text, const char *data)
{
	return keep(text, data, data ? strlen(data) : 0);
}

int row_batch_add(struct row_batch *batch, const struct source_row *row)
{
	size_t need = batch->count + 1;
	int err = array_grow(&batch->rows, &batch->rows_cap, need, sizeof(*batch->rows));
	if (err == 0)
		err = array_grow(&batch->texts, &batch->texts_cap, need, sizeof(*batch->texts));
	if (err < 0)
		return err;
	batch->rows[batch->count] = *row;
	batch->texts[batch->count] = (struct row_text){
		.flags = keep_cstr(&batch->text, row->flags),
		.labels = keep_cstr(&batch->text, row->labels),
		.header = keep(&batch->text, row->header, row->header_len),
	};
	err = str_error(&batch->text);
	if (err == 0)
		batch->count++;
	return err;
}

static const char *place(const struct str *text, size_t at)
{
	return at == NO_TEXT ? NULL : text->data + at;
}

const struct source_row *row_batch_rows(struct row_batch *batch)
{
	for (size_t i = 0; i < batch->count; i++) {
		batch->rows[i].flags = place(&batch->text, batch->texts[i].flags);
		batch->rows[i].labels = place(&batch->text, batch->texts[i].labels);
		batch->rows[i].header = place(&batch->text, batch->texts[i].header);
	}
	return batch->rows;
}
