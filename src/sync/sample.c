/* SPDX-License-Identifier: MIT */
#include "sample.h"

#include <errno.h>

#include "mailfs/util/hash.h"

/* Without the size: the one that is stored may have been corrected since. */
static uint64_t row_hash(const struct source_row *row)
{
	const unsigned needed = SOURCE_ROW_DATE | SOURCE_ROW_HEADER;
	if ((row->have & needed) != needed || row->header_len == 0)
		return 0;
	uint64_t hash = hash64(HASH64_INIT, &row->date_s, sizeof(row->date_s));
	hash = hash64_finish(hash64(hash, row->header, row->header_len));
	return hash ? hash : 1;
}

static int on_stored(void *arg, const struct source_row *row)
{
	((struct sample *)arg)->stored = row_hash(row);
	return 0;
}

static int on_listed(void *arg, const struct source_row *row)
{
	struct sample *sample = arg;
	if (row->uid == sample->uid)
		sample->listed = row_hash(row);
	return 0;
}

int sample_stored(struct store *store, uint32_t folder, struct sample *sample)
{
	int err = store_row_get(store, folder, sample->uid, on_stored, sample);
	return err < 0 ? err : sample->stored ? 0 : -ENODATA;
}

int sample_call(struct worker *worker, void *arg, struct source_error *error)
{
	struct sample *sample = arg;
	unsigned skipped;
	return worker->account->source->ops->rows(worker->session, sample->uid, sample->uid,
		SOURCE_COLUMNS_ALL, on_listed, sample, &skipped, error);
}
