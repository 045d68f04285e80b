/* SPDX-License-Identifier: MIT */
/*
 * What arrives. A message goes to its file as it comes, never whole into memory; on the way its header is kept (for its name
 * and its date) and its structure is found. When it has ended its content says whether it is new; what is new goes to the
 * committer, and counts when that is done with it.
 */
#include "intake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/clock.h"

#define PROGRESS_MS 100
/* For all that is around a message in memory. */
#define ARRIVAL_BYTES 512
/* So often a message is asked for again because what came for it is doubted. */
#define DOUBTS_MAX 2

/* Those of a row, then those that tell when it arrived. */
#define ROW_FIELDS 4
#define WANTED     (ROW_FIELDS + 2)
static const char *const wanted_fields[WANTED] = {
	"From", "To", "Subject", "Message-ID", "Received", "Date"};

static size_t index_of(const void *cookie)
{
	return (uintptr_t)cookie;
}

static void *cookie_of(size_t index)
{
	return (void *)(uintptr_t)index;
}

static struct maildrop_want want_of(const struct look *look, size_t index)
{
	const struct maildrop_entry *listed = &look->listing.entries[index];
	return (struct maildrop_want){.number = listed->number,
		.size_bytes = listed->size_bytes,
		.cookie = cookie_of(index),
		.before = look->plan.entries[index].before};
}

void progress_tell(struct look *look, bool done)
{
	const struct sync_drop_params *params = &look->drop->params;
	int64_t now = clock_now_ms();
	if (!look->first || !params->progress || (!done && now - look->told_ms < PROGRESS_MS))
		return;
	look->told_ms = now;
	struct sync_progress progress = {.messages = look->settled,
		.messages_total = look->messages_total,
		.bytes = look->bytes_done + look->received,
		.bytes_total = look->bytes_total,
		.done = done};
	pthread_mutex_lock(&look->account->lock);
	progress.messages += look->report.stored;
	pthread_mutex_unlock(&look->account->lock);
	params->progress(params->progress_arg, &progress);
}

/* --- Headers alone --- */

/* Uses look->at: those for content begin anew. */
static bool header_next(void *arg, struct maildrop_want *ret)
{
	struct look *look = arg;
	for (; look->at < look->listing.count; look->at++) {
		if (look->plan.entries[look->at].state != PLAN_PROBE)
			continue;
		*ret = want_of(look, look->at++);
		return true;
	}
	return false;
}

static int header_data(void *arg, void *cookie, const void *data, size_t len)
{
	(void)arg;
	(void)cookie;
	(void)data;
	(void)len;
	return 0;
}

static int header_end(void *arg, void *cookie, const struct maildrop_result *result)
{
	struct look *look = arg;
	/* Who refuses a header may give the message. */
	if (result->err < 0)
		return 0;
	int here = plan_top(&look->plan, index_of(cookie), result->sha256, look_due_s(look));
	return here < 0 ? look_store_failed(look, here, NULL) : 0;
}

int take_headers(struct look *look, struct source_error *error)
{
	struct maildrop_sink sink = {look, header_next, header_data, header_end};
	if (!look->plan.probes || !look->abilities.top || look->headers_failed == HEADER_TRIES)
		return 0;
	look->at = 0;
	int err = look->drop->params.maildrop->ops->retrieve(look->session, true, &sink, error);
	look->headers_failed += err < 0;
	return err;
}

/* --- What to ask for --- */

static bool is_wanted(const struct plan_entry *entry)
{
	return !entry->asked && (entry->state == PLAN_FETCH || entry->state == PLAN_PROBE);
}

static void ask(struct look *look, size_t index, struct maildrop_want *ret)
{
	look->plan.entries[index].asked = true;
	look->asked[look->asked_count++] = (uint32_t)index;
	*ret = want_of(look, index);
}

int wanted_compare(const void *left, const void *right)
{
	const struct wanted *a = left, *b = right;
	return (a->uid > b->uid) - (a->uid < b->uid);
}

/* Somebody waits for it. One over which a connection broke is not let in front of all others again. */
static bool urgent_next(struct look *look, struct maildrop_want *ret)
{
	struct wanted key;
	while (drop_urgent(look->drop, &key.uid)) {
		const struct wanted *found = bsearch(&key, look->wanted, look->wanted_count,
			sizeof(*look->wanted), wanted_compare);
		const struct plan_entry *entry = found ? &look->plan.entries[found->entry] : NULL;
		if (!entry || !is_wanted(entry) || entry->turn == TURN_STUCK)
			continue;
		ask(look, found->entry, ret);
		return true;
	}
	return false;
}

/* At once, so that it is soon known whether sizes mean anything. */
static bool again_next(struct look *look, struct maildrop_want *ret)
{
	while (look->again_taken < look->again_count) {
		uint32_t index = look->again[look->again_taken++];
		if (!is_wanted(&look->plan.entries[index]))
			continue;
		ask(look, index, ret);
		return true;
	}
	return false;
}

static bool message_next(void *arg, struct maildrop_want *ret)
{
	struct look *look = arg;
	if (again_next(look, ret) || urgent_next(look, ret))
		return true;
	for (; look->turn <= TURN_STUCK; look->turn++, look->at = 0)
		for (; look->at < look->listing.count; look->at++) {
			const struct plan_entry *entry = &look->plan.entries[look->at];
			if (!is_wanted(entry) || entry->turn != look->turn)
				continue;
			ask(look, look->at++, ret);
			return true;
		}
	return false;
}

/* --- A message --- */

static void message_drop(struct look *look)
{
	arrival_destroy(steal_ptr(look->arrival));
	mime_walker_destroy(steal_ptr(look->walker));
	mime_fields_reset(&look->fields);
	look->received = 0;
}

static int message_begin(struct look *look, size_t index)
{
	if (look->arrival)
		return 0;
	look->arrival = calloc(1, sizeof(*look->arrival));
	/* Without a walker there is no structure, and the message is still a message. */
	look->walker = mime_walker_create();
	if (!look->arrival)
		return look_store_failed(look, -ENOMEM, NULL);
	look->arrival->entry = index;
	int err = store_spool_create(look->account->store, look->drop->serve.number,
		look->plan.entries[index].uid, &look->arrival->item.file);
	return err < 0 ? look_store_failed(look, err, NULL) : 0;
}

static int message_data(void *arg, void *cookie, const void *data, size_t len)
{
	struct look *look = arg;
	int err = message_begin(look, index_of(cookie));
	if (err == 0)
		err = mime_fields_push(&look->fields, data, len);
	if (err < 0)
		return look_store_failed(look, err, NULL);
	if (look->walker && mime_walker_push(look->walker, data, len) < 0)
		mime_walker_destroy(steal_ptr(look->walker));
	err = store_spool_append(look->arrival->item.file, data, len);
	if (err < 0)
		return look_store_failed(look, err, NULL);
	look->received += len;
	progress_tell(look, false);
	return 0;
}

static int row_header(const struct str *header, struct str *out)
{
	for (size_t i = 0; header->len && i < ROW_FIELDS; i++) {
		int err = mime_header_copy(header->data, header->len, wanted_fields[i], out);
		if (err < 0 && err != -ENOENT)
			return err;
	}
	return str_error(out);
}

static int message_row(struct look *look, struct arrival *arrival)
{
	struct source_row *row = &arrival->item.row;
	const struct str *header = &look->fields.text;
	int err = mime_fields_end(&look->fields);
	if (err == 0)
		err = row_header(header, &arrival->fields);
	*row = (struct source_row){.uid = arrival->item.record.uid,
		.have = SOURCE_ROW_FLAGS | SOURCE_ROW_SIZE | SOURCE_ROW_HEADER | SOURCE_ROW_DATE,
		.size_bytes = look->received,
		.flags = "",
		.header = str_cstr(&arrival->fields),
		.header_len = arrival->fields.len};
	if (mime_header_date(str_cstr(header), header->len, &row->date_s) < 0)
		row->date_s = 0;
	return err;
}

/* As far as it can be found. */
static void message_structure(struct look *look, struct arrival *arrival)
{
	struct mime_part *part = NULL;
	if (!look->walker || mime_walker_end(look->walker, &part) < 0)
		return;
	if (mime_part_serialize(part, &arrival->structure) == 0) {
		arrival->item.structure = arrival->structure.data;
		arrival->item.structure_len = arrival->structure.len;
	}
	mime_part_destroy(part);
}

static void message_record(struct look *look, size_t index, const unsigned char *sha256)
{
	const struct maildrop_entry *listed = &look->listing.entries[index];
	const struct plan_entry *entry = &look->plan.entries[index];
	struct store_spool *record = &look->arrival->item.record;
	*record = (struct store_spool){.uid = entry->uid,
		.uidl = listed->uidl_len ? look->listing.uidls.data + listed->uidl : "",
		.uidl_len = listed->uidl_len,
		.size_bytes = look->received,
		.listed_bytes = listed->size_bytes,
		.has_top = entry->has_top,
		.stored_s = clock_wall_s()};
	memcpy(record->sha256, sha256, sizeof(record->sha256));
	if (entry->has_top)
		memcpy(record->top, look->plan.tops[index], sizeof(record->top));
}

static int message_store(struct look *look, size_t index, const unsigned char *sha256)
{
	struct arrival *arrival = look->arrival;
	message_record(look, index, sha256);
	int err = message_row(look, arrival);
	if (err < 0)
		return look_store_failed(look, err, NULL);
	message_structure(look, arrival);
	arrival->bytes =
		look->received + arrival->fields.cap + arrival->structure.cap + ARRIVAL_BYTES;
	err = committer_push(&look->committer, steal_ptr(look->arrival));
	return err < 0 ? look_store_failed(look, err, NULL) : 0;
}

/* The same content is here: what the server says of it now is noted. */
static int message_known(struct look *look, size_t index)
{
	const struct plan_entry *entry = &look->plan.entries[index];
	const struct plan_record *record = &look->plan.records[entry->record];
	const unsigned char *top = entry->has_top ? look->plan.tops[index] : NULL;
	uint64_t listed = look->listing.entries[index].size_bytes;
	look->settled++;
	if (listed == record->listed_bytes &&
		(!top || (record->has_top && memcmp(top, record->top, sizeof(record->top)) == 0)))
		return 0;
	int err = store_spool_listed(
		look->account->store, look->drop->serve.number, record->uid, listed, top);
	return err < 0 ? look_store_failed(look, err, NULL) : 0;
}

/*
 * 1: the content is here. 0: it is to be stored, also where its file here turns out to be damaged: now is the time, for there are servers
 * that delete what was fetched (EXPIRE 0).
 */
static int message_is_here(struct look *look, size_t index, const unsigned char *sha256)
{
	struct plan_entry *entry = &look->plan.entries[index];
	int here = plan_content(&look->plan, index, sha256);
	if (here <= 0 || store_spool_verify(look->account->store, look->drop->serve.number,
				 entry->uid) != -EBADMSG)
		return here;
	entry->state = PLAN_ON_ITS_WAY;
	return 0;
}

static int message_whole(struct look *look, size_t index, const unsigned char *sha256)
{
	uint32_t expected = look->plan.entries[index].uid;
	int here = message_is_here(look, index, sha256);
	if (here < 0)
		return look_store_failed(look, here, NULL);
	/* What was expected under this number is another message. */
	if (expected && expected != look->plan.entries[index].uid)
		drop_unexpect(look->drop, expected, -EIO);
	return here ? message_known(look, index) : message_store(look, index, sha256);
}

static void message_refused(struct look *look, size_t index, const struct maildrop_result *result)
{
	struct plan_entry *entry = &look->plan.entries[index];
	struct look_report *report = &look->report;
	if (report->refused++ == 0)
		snprintf(report->refused_words, sizeof(report->refused_words), "%.*s",
			WORDS_MAX - 1,
			result->error ? result->error->text : strerror(-result->err));
	entry->state = PLAN_REFUSED;
	look->messages_total -= look->messages_total > 0;
	if (entry->uid)
		drop_unexpect(look->drop, entry->uid, -EIO);
}

/* What came for it may be another message: it is asked for again. If only its size does not fit, the same bytes are believed then. */
static void message_doubted(struct look *look, size_t index, const struct maildrop_result *result)
{
	struct plan_entry *entry = &look->plan.entries[index];
	uint64_t listed = look->listing.entries[index].size_bytes;
	if (entry->doubts == DOUBTS_MAX) {
		message_refused(look, index, result);
		return;
	}
	entry->doubts++;
	entry->asked = false;
	entry->before =
		listed == 0 || listed == UINT64_MAX || maildrop_fits(listed, result->size_bytes)
			? 0
			: maildrop_mark(result->sha256);
	look->again[look->again_count++] = (uint32_t)index;
}

static int message_end(void *arg, void *cookie, const struct maildrop_result *result)
{
	struct look *look = arg;
	size_t index = index_of(cookie);
	int err = 0;
	look->ended_count++;
	if (result->err == -EAGAIN) {
		message_doubted(look, index, result);
	} else if (result->err < 0) {
		message_refused(look, index, result);
	} else {
		look->plan.entries[index].size_bytes = result->size_bytes;
		err = message_begin(look, index);
		if (err == 0)
			err = message_whole(look, index, result->sha256);
		look->bytes_done += look->received;
	}
	message_drop(look);
	if (err == 0)
		progress_tell(look, false);
	return err;
}

/* --- All of them --- */

static void count_wanted(struct look *look)
{
	look->messages_total = look->report.stored + look->settled;
	look->bytes_total = look->bytes_done;
	for (size_t i = 0; i < look->listing.count; i++) {
		uint64_t size = look->listing.entries[i].size_bytes;
		if (!is_wanted(&look->plan.entries[i]))
			continue;
		look->messages_total++;
		look->bytes_total += size == UINT64_MAX ? 0 : size;
	}
}

/* The connection broke over this one, or before it: next time the others come first. What did not fit was the first that went wrong. */
static void note_stuck(struct look *look)
{
	if (look->again_count > 0)
		look_stuck(look, look->again[0]);
	else if (look->ended_count < look->asked_count)
		look_stuck(look, look->asked[look->ended_count]);
}

/* So far apart two questions are whose answers may have been mixed up. */
#define NEIGHBOURS 4

/* Whether one that was asked for beside it has the same size, so that sizes do not tell them apart. */
static bool is_like_neighbour(const struct look *look, size_t at)
{
	const struct maildrop_entry *entries = look->listing.entries;
	for (size_t i = at > NEIGHBOURS ? at - NEIGHBOURS : 0;
		i <= at + NEIGHBOURS && i < look->asked_count; i++)
		if (look->asked[i] != look->asked[at] &&
			entries[look->asked[i]].size_bytes == entries[look->asked[at]].size_bytes)
			return true;
	return false;
}

/*
 * The answers ran out of step, or one did not come: where sizes do not tell, what was stored may be its neighbour. It is recorded as of
 * another listed size, so that only its content will say what it is. Where there was one answer too many, the first was none of those.
 */
static void unprove(struct look *look, const struct source_error *error)
{
	if (error->cause != SOURCE_CAUSE_PROTOCOL && error->err != -ETIMEDOUT)
		return;
	for (size_t i = error->err != -ETIMEDOUT; i < look->ended_count && i < look->asked_count;
		i++) {
		const struct plan_entry *entry = &look->plan.entries[look->asked[i]];
		uint64_t listed = look->listing.entries[look->asked[i]].size_bytes;
		bool here = entry->state == PLAN_STORED || entry->state == PLAN_HERE_BY_CONTENT;
		if (here && is_like_neighbour(look, i))
			(void)store_spool_listed(look->account->store, look->drop->serve.number,
				entry->uid, listed == 0 ? 1 : 0, NULL);
	}
}

int take_messages(struct look *look, struct source_error *error)
{
	struct maildrop_sink sink = {look, message_next, message_data, message_end};
	mime_fields_init(&look->fields, wanted_fields, WANTED, FIELD_BYTES_MAX);
	count_wanted(look);
	if (look->messages_total == look->report.stored + look->settled)
		return 0;
	look->turn = 0;
	look->at = 0;
	/* Each once, and once more each time that it was doubted. */
	look->asked = calloc(look->listing.count, (1 + DOUBTS_MAX) * sizeof(*look->asked));
	look->again = calloc(look->listing.count, DOUBTS_MAX * sizeof(*look->again));
	int err = look->asked && look->again ? committer_start(&look->committer, look) : -ENOMEM;
	if (err < 0)
		return look_store_failed(look, err, error);
	progress_tell(look, false);
	err = look->drop->params.maildrop->ops->retrieve(look->session, false, &sink, error);
	message_drop(look);
	mime_fields_finish(&look->fields);
	int store_err = committer_finish(&look->committer);
	if (store_err < 0 || look->store_err < 0)
		return look_store_failed(look, store_err < 0 ? store_err : look->store_err, error);
	if (err < 0) {
		note_stuck(look);
		unprove(look, error);
	}
	return err;
}
