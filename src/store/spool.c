/* SPDX-License-Identifier: MIT */
/*
 * What is recorded of the messages that were downloaded for good, and their files as they are now. A record is
 * written by spool_commit.c alone, and never removed but by a newer one of the same message.
 *
 * Whether a message is lost is noticed where its file is looked at: at the start (spool_clean.c), by a reader (body.c), and
 * here.
 */
#include "spool.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/hash.h"
#include "mailfs/util/log.h"

#define PIECE_BYTES (32 << 10)
#define BATCH_BYTES (1 << 20)
/* Lines about single lost messages, at most, in this time. */
#define LOST_LINES     3
#define LOST_PERIOD_MS 60000

/* ---- one record: store->lock is held ---- */

/* A digest, or damage. */
static int copy_digest(sqlite3_stmt *statement, int column, unsigned char *ret)
{
	const void *data = sqlite3_column_blob(statement, column);
	if (!data || sqlite3_column_bytes(statement, column) != STORE_DIGEST_BYTES)
		return -EIO;
	memcpy(ret, data, STORE_DIGEST_BYTES);
	return 0;
}

int spool_find(struct store *store, uint64_t id, struct spool_known *ret)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_SPOOL_FIND);
	bind_id(statement, 1, id);
	int rc = db_step(&store->db, statement);
	if (rc <= 0)
		return rc;
	ret->place = (struct spool_place){
		.id = id,
		.pack = (uint32_t)sqlite3_column_int64(statement, 4),
		.position = (uint64_t)sqlite3_column_int64(statement, 5),
		.size_bytes = (uint64_t)sqlite3_column_int64(statement, 0),
	};
	ret->checksum = (uint64_t)sqlite3_column_int64(statement, 1);
	ret->lost = sqlite3_column_int(statement, 2) != 0;
	rc = copy_digest(statement, 3, ret->sha256);
	return rc < 0 ? rc : 1;
}

int spool_any(struct store *store, uint32_t folder)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_SPOOL_ANY);
	bind_id(statement, 1, store_id(folder, 0));
	bind_id(statement, 2, store_id(folder, UINT32_MAX));
	return db_step(&store->db, statement);
}

int spool_set_lost(struct store *store, uint64_t id)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_SPOOL_LOSE);
	bind_id(statement, 1, id);
	return db_run(&store->db, statement);
}

void spool_tell_lost(struct store *store)
{
	struct spool_lost *lost = &store->lost;
	if (lost->untold)
		log_warning(
			"%llu more messages in %s/bodies/ are missing or damaged; they are fetched again at the next look if the server still has them",
			(unsigned long long)lost->untold, store->directory);
	*lost = (struct spool_lost){.since_ms = clock_now_ms()};
}

/* Where a whole pack is gone there may be thousands in a row: a few have lines of their own. */
static bool may_tell(struct store *store)
{
	struct spool_lost *lost = &store->lost;
	if (clock_now_ms() - lost->since_ms >= LOST_PERIOD_MS)
		spool_tell_lost(store);
	if (lost->lines < LOST_LINES) {
		lost->lines++;
		return true;
	}
	lost->untold++;
	return false;
}

int spool_lose(struct store *store, const struct spool_place *place, int why)
{
	int rc = db_begin_durable(&store->db);
	if (rc == 0)
		rc = spool_set_lost(store, place->id);
	bool now = rc == 0 && sqlite3_changes(store->db.handle) > 0;
	rc = db_end_durable(&store->db, rc);
	if (now && may_tell(store))
		log_warning(
			"message %u: its file %s/bodies/%s is %s; it is fetched again at the next look if the server still has it",
			(unsigned)(place->id & UINT32_MAX), store->directory,
			body_file_place_name(place).text, why == -ENOENT ? "missing" : "damaged");
	return rc;
}

/* ---- all records ---- */

struct batch {
	struct str bytes; /* the unique-ids, one behind the other */
	struct store_spool *records;
	size_t count, cap;
};

static void batch_finish(struct batch *batch)
{
	free(batch->records);
	str_finish(&batch->bytes);
}
#define _cleanup_batch_ _cleanup_(batch_finish)

static int batch_add(struct batch *batch, sqlite3_stmt *statement)
{
	if (array_grow(&batch->records, &batch->cap, batch->count + 1, sizeof(*batch->records)) < 0)
		return -ENOMEM;
	struct store_spool *record = &batch->records[batch->count++];
	const void *uidl = sqlite3_column_blob(statement, 1);
	*record = (struct store_spool){
		.uid = (uint32_t)sqlite3_column_int64(statement, 0),
		.uidl_len = uidl ? (size_t)sqlite3_column_bytes(statement, 1) : 0,
		.size_bytes = (uint64_t)sqlite3_column_int64(statement, 2),
		.listed_bytes = UINT64_MAX,
		.has_top = sqlite3_column_type(statement, 5) != SQLITE_NULL,
		.stored_s = sqlite3_column_int64(statement, 6),
		.deleted_s = sqlite3_column_int64(statement, 7),
		.lost = sqlite3_column_int(statement, 8) != 0,
	};
	str_append(&batch->bytes, uidl, record->uidl_len);
	if (sqlite3_column_type(statement, 3) != SQLITE_NULL)
		record->listed_bytes = (uint64_t)sqlite3_column_int64(statement, 3);
	int rc = copy_digest(statement, 4, record->sha256);
	if (rc == 0 && record->has_top)
		rc = copy_digest(statement, 5, record->top);
	return rc < 0 ? rc : str_error(&batch->bytes);
}

static int batch_load(struct store *store, struct batch *batch, uint64_t first, uint64_t last)
{
	batch->count = 0;
	str_reset(&batch->bytes);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_SPOOL_LOAD);
	bind_id(statement, 1, first);
	bind_id(statement, 2, last);
	sqlite3_bind_int(statement, 3, STORE_BATCH_ROWS);
	int rc = 0;
	while (rc == 0 && batch->bytes.len < BATCH_BYTES &&
		(rc = db_step(&store->db, statement)) > 0)
		rc = batch_add(batch, statement);
	return rc;
}

static int batch_call(struct batch *batch, store_spool_fn *fn, void *arg)
{
	const char *bytes = str_cstr(&batch->bytes);
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < batch->count; i++) {
		batch->records[i].uidl = bytes;
		bytes += batch->records[i].uidl_len;
		rc = fn(arg, &batch->records[i]);
	}
	return rc;
}

int store_spool_load(struct store *store, uint32_t folder, store_spool_fn *fn, void *arg)
{
	_cleanup_batch_ struct batch batch = {0};
	uint64_t next = store_id(folder, 0), last = store_id(folder, UINT32_MAX);
	while (next <= last) {
		int rc = batch_load(store, &batch, next, last);
		if (rc < 0 || batch.count == 0)
			return rc;
		rc = batch_call(&batch, fn, arg);
		if (rc < 0)
			return rc;
		next = store_id(folder, batch.records[batch.count - 1].uid) + 1;
	}
	return 0;
}

/* ---- what is asked and noted of one ---- */

int store_spool_uidl(struct store *store, uint32_t folder, uint32_t uid, struct str *out)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_SPOOL_UIDL);
	bind_id(statement, 1, store_id(folder, uid));
	int rc = db_step(&store->db, statement);
	if (rc <= 0)
		return rc < 0 ? rc : -ENOENT;
	const void *uidl = sqlite3_column_blob(statement, 0);
	if (!uidl)
		return -ENODATA;
	str_append(out, uidl, (size_t)sqlite3_column_bytes(statement, 0));
	return str_error(out);
}

static int put_deleted(struct db *db, uint64_t id, int64_t when_s)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_SPOOL_DELETED);
	bind_id(statement, 1, id);
	sqlite3_bind_int64(statement, 2, when_s);
	return db_run(db, statement);
}

int store_spool_deleted(
	struct store *store, uint32_t folder, const uint32_t *uids, size_t count, int64_t when_s)
{
	if (count == 0)
		return 0;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	int rc = db_begin_durable(&store->db);
	for (size_t i = 0; rc == 0 && i < count; i++)
		rc = put_deleted(&store->db, store_id(folder, uids[i]), when_s);
	return db_end_durable(&store->db, rc);
}

int store_spool_listed(struct store *store, uint32_t folder, uint32_t uid, uint64_t listed_bytes,
	const unsigned char *top)
{
	struct db *db = &store->db;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_SPOOL_LISTED);
	bind_id(statement, 1, store_id(folder, uid));
	if (listed_bytes != UINT64_MAX)
		sqlite3_bind_int64(statement, 2, (sqlite3_int64)listed_bytes);
	if (top)
		db_bind_blob(db, statement, 3, top, STORE_DIGEST_BYTES);
	return db_run(db, statement);
}

/* ---- files ---- */

/* Hashes len bytes at offset. -EBADMSG: the file ends before. */
static int hash_range(int fd, uint64_t offset, uint64_t len, uint64_t *ret_checksum)
{
	char piece[PIECE_BYTES];
	uint64_t checksum = HASH64_INIT;
	while (len > 0) {
		size_t want = len < sizeof(piece) ? (size_t)len : sizeof(piece);
		ssize_t n = pread(fd, piece, want, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? store_errno(errno) : -EBADMSG;
		checksum = hash64(checksum, piece, (size_t)n);
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	*ret_checksum = checksum;
	return 0;
}

int spool_compare(struct store *store, const struct spool_known *known)
{
	const struct spool_place *place = &known->place;
	_cleanup_close_ int fd = body_file_open_whole(store, place);
	if (fd < 0)
		return fd;
	/* A file of its own is not longer than the message either. */
	struct stat st;
	if (fstat(fd, &st) < 0)
		return store_errno(errno);
	if (place->pack == 0 && (uint64_t)st.st_size != place->size_bytes)
		return -EBADMSG;
	uint64_t checksum;
	int rc = hash_range(fd, place->position, place->size_bytes, &checksum);
	if (rc < 0)
		return rc;
	return checksum == known->checksum ? 0 : -EBADMSG;
}

static int find(struct store *store, uint64_t id, struct spool_known *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	int rc = spool_find(store, id, ret);
	return rc == 0 ? -ENOENT : rc < 0 ? rc : 0;
}

/* The bytes were not what the record says; if it still says so, the message is lost. */
static void lose(struct store *store, const struct spool_known *known, int why)
{
	struct spool_known now;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	if (spool_find(store, known->place.id, &now) > 0 && now.place.pack == known->place.pack &&
		now.place.position == known->place.position && now.checksum == known->checksum)
		spool_lose(store, &known->place, why);
}

int store_spool_verify(struct store *store, uint32_t folder, uint32_t uid)
{
	struct spool_known known;
	int rc = find(store, store_id(folder, uid), &known);
	if (rc < 0)
		return rc;
	rc = known.lost ? -EBADMSG : spool_compare(store, &known);
	if (rc != -ENOENT && rc != -EBADMSG)
		return rc;
	lose(store, &known, rc);
	return -EBADMSG;
}

int store_spool_open(struct store *store, uint32_t folder, uint32_t uid, uint64_t *ret_offset)
{
	struct spool_known known;
	int rc = find(store, store_id(folder, uid), &known);
	if (rc < 0)
		return rc;
	if (known.lost)
		return -EIO;
	rc = body_file_open_whole(store, &known.place);
	if (rc == -ENOENT || rc == -EBADMSG)
		lose(store, &known, rc);
	if (rc >= 0)
		*ret_offset = known.place.position;
	return rc == -EBADMSG ? -EIO : rc;
}

/* ---- how the last looks ended ---- */

int store_spool_state_get(struct store *store, uint32_t folder, struct store_spool_state *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_SPOOL_STATE_GET);
	sqlite3_bind_int64(statement, 1, folder);
	int rc = db_step(&store->db, statement);
	if (rc < 0)
		return rc;
	*ret = (struct store_spool_state){0};
	if (rc > 0)
		*ret = (struct store_spool_state){
			.complete_s = sqlite3_column_int64(statement, 0),
			.missing = (uint64_t)sqlite3_column_int64(statement, 1),
		};
	return 0;
}

int store_spool_state_put(
	struct store *store, uint32_t folder, const struct store_spool_state *state)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	/* A look has ended. */
	if (store->lost.untold)
		spool_tell_lost(store);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_SPOOL_STATE_PUT);
	sqlite3_bind_int64(statement, 1, folder);
	sqlite3_bind_int64(statement, 2, state->complete_s);
	sqlite3_bind_int64(statement, 3, (sqlite3_int64)state->missing);
	return db_run(&store->db, statement);
}
