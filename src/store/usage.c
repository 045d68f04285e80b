/* SPDX-License-Identifier: MIT */
/* See usage.h. */
#include "usage.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "body.h"
#include "keeper.h"
#include "private.h"

/* Rows that are counted before others get the lock. */
#define COUNT_ROWS 2048
/* Uses that are worth writing, those that are written before others get the lock, and those that wait at most: where nothing can be written they are not worth more. */
#define TOUCH_ROWS 1024
#define TOUCH_STEP 64
#define TOUCH_MAX  16384

void usage_place_finish(struct usage_place *place)
{
	str_finish(&place->section);
}

void usage_place_reset(struct usage_place *place)
{
	str_reset(&place->section);
	place->used = place->id = INT64_MIN;
}

void usage_init(struct store *store)
{
	struct usage *usage = &store->usage;
	bool cache = store->kind == STORE_CACHE;
	atomic_store(&usage->limit_bytes, UINT64_MAX);
	atomic_store(&usage->settled, !cache);
	usage_place_reset(&usage->counted);
	usage_place_reset(&usage->evicted);
	if (!cache)
		return;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_BODY_CLOCK);
	int rc = db_step(&store->db, statement);
	/* A number that is not ours would leave no next one. Without any, the order is not right, and the store is. */
	int64_t last = rc > 0 ? sqlite3_column_int64(statement, 0) : 0;
	usage->clock = last > 0 && last < INT64_MAX / 2 ? last : 0;
}

static void drop_touched(struct usage *usage)
{
	for (size_t i = 0; i < usage->touched_count; i++)
		free(usage->touched[i].section);
	usage->touched_count = usage->touched_done = 0;
}

void usage_finish(struct store *store)
{
	struct usage *usage = &store->usage;
	drop_touched(usage);
	free(usage->touched);
	usage_place_finish(&usage->counted);
	usage_place_finish(&usage->evicted);
}

/* ---- the total ---- */

void usage_take(struct store *store, int64_t bytes)
{
	if (store->kind == STORE_CACHE && bytes)
		atomic_fetch_add(&store->usage.taken_bytes, bytes);
}

bool usage_try_take(struct store *store, uint64_t bytes)
{
	struct usage *usage = &store->usage;
	uint64_t limit = atomic_load(&usage->limit_bytes);
	if (limit == UINT64_MAX || !atomic_load(&usage->settled)) {
		usage_take(store, (int64_t)bytes);
		return true;
	}
	uint64_t database = atomic_load(&usage->database_bytes);
	int64_t taken = atomic_load(&usage->taken_bytes);
	do {
		uint64_t others = database + (taken > 0 ? (uint64_t)taken : 0);
		if (others > limit || bytes > limit - others)
			return false;
	} while (
		!atomic_compare_exchange_weak(&usage->taken_bytes, &taken, taken + (int64_t)bytes));
	return true;
}

void usage_measure_database(struct store *store)
{
	static const char *const names[] = {"store.db", "store.db-wal", "store.db-shm"};
	uint64_t bytes = 0;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct stat st;
		if (fstatat(store->dir_fd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0)
			bytes += (uint64_t)st.st_size;
	}
	atomic_store(&store->usage.database_bytes, bytes);
}

/* As SQLite orders them. */
static bool is_counted(struct usage *usage, uint64_t id, const char *section)
{
	if (atomic_load(&usage->settled) || (int64_t)id != usage->counted.id)
		return atomic_load(&usage->settled) || (int64_t)id < usage->counted.id;
	return strcmp(section, str_cstr(&usage->counted.section)) <= 0;
}

static void add_rows(struct store *store, int64_t rows, int64_t bytes)
{
	store->usage.rows += (uint64_t)rows;
	store->usage.row_bytes += bytes;
	usage_take(store, bytes);
}

void usage_row_changed(
	struct store *store, uint64_t id, const char *section, const struct usage_change *change)
{
	if (is_counted(&store->usage, id, section))
		add_rows(store, change->is - change->was, change->is_bytes - change->was_bytes);
}

int usage_forget(struct store *store, uint64_t first, uint64_t last)
{
	struct usage *usage = &store->usage;
	if (store->kind != STORE_CACHE)
		return 0;
	bool settled = atomic_load(&usage->settled);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_BODIES_SUM);
	bind_id(statement, 1, first);
	bind_id(statement, 2, last);
	sqlite3_bind_int64(statement, 3, settled ? INT64_MAX : usage->counted.id);
	db_bind_text(&store->db, statement, 4, str_cstr(&usage->counted.section));
	int rc = db_step(&store->db, statement);
	if (rc > 0)
		add_rows(store, -sqlite3_column_int64(statement, 0),
			-sqlite3_column_int64(statement, 1));
	return rc < 0 ? rc : 0;
}

/* ---- counting what earlier mounts have left ---- */

void usage_recount(struct store *store)
{
	struct usage *usage = &store->usage;
	if (store->kind != STORE_CACHE)
		return;
	add_rows(store, -(int64_t)usage->rows, -usage->row_bytes);
	usage_place_reset(&usage->counted);
	usage_place_reset(&usage->evicted);
	atomic_store(&usage->settled, false);
	keeper_wake(store);
}

/* The sum stays, but where it is being made some may have gone past each other. */
void usage_moved(struct store *store, int rc)
{
	usage_place_reset(&store->usage.evicted);
	if (rc < 0 || !atomic_load(&store->usage.settled))
		usage_recount(store);
}

/* A row of an older mailfs, which did not say what it takes. */
struct old_row {
	uint64_t id;
	char *section;
	int64_t bytes;
	bool whole;
};

struct counting {
	struct store *store;
	struct old_row *old;
	size_t old_count, old_cap;
	size_t rows;
	int64_t bytes;
};

static void counting_finish(struct counting *counting)
{
	for (size_t i = 0; i < counting->old_count; i++)
		free(counting->old[i].section);
	free(counting->old);
}

/* Works out what a row takes from its map. One that takes nothing stays as it is. */
static int judge_old(struct counting *counting, sqlite3_stmt *statement, const char *section)
{
	uint64_t id = (uint64_t)sqlite3_column_int64(statement, 0);
	const void *map = sqlite3_column_blob(statement, 4);
	struct ranges held;
	int rc = ranges_parse(map, map ? (size_t)sqlite3_column_bytes(statement, 4) : 0, &held);
	if (rc < 0)
		return rc == -ENOMEM ? rc : 0;
	struct old_row old = {.id = id,
		.bytes = (int64_t)ranges_blocks(&held, 0, UINT64_MAX, USAGE_BLOCK_BYTES),
		.whole = sqlite3_column_type(statement, 3) != SQLITE_NULL &&
	                 ranges_held(&held, 0) == (uint64_t)sqlite3_column_int64(statement, 3)};
	ranges_finish(&held);
	if (old.bytes == 0 && !old.whole)
		return 0;
	if (array_grow(&counting->old, &counting->old_cap, counting->old_count + 1, sizeof(old)) <
		0)
		return -ENOMEM;
	old.section = strdup(section);
	if (!old.section)
		return -ENOMEM;
	counting->old[counting->old_count++] = old;
	return 0;
}

static int count_row(struct counting *counting, sqlite3_stmt *statement)
{
	struct usage_place *counted = &counting->store->usage.counted;
	const char *section = (const char *)sqlite3_column_text(statement, 1);
	if (!section)
		return -ENOMEM;
	uint64_t id = (uint64_t)sqlite3_column_int64(statement, 0);
	counted->id = (int64_t)id;
	str_reset(&counted->section);
	str_append_cstr(&counted->section, section);
	counting->rows++;
	counting->bytes += sqlite3_column_int64(statement, 2);
	if (str_error(&counted->section) < 0)
		return -ENOMEM;
	/* What an open one takes is in the total already; it tells its row when it is closed. */
	if (sqlite3_column_int64(statement, 2) != 0 || sqlite3_column_int(statement, 5) ||
		body_is_open(counting->store, id, section))
		return 0;
	return judge_old(counting, statement, section);
}

static int count_rows(struct counting *counting)
{
	struct db *db = &counting->store->db;
	struct usage_place *counted = &counting->store->usage.counted;
	_cleanup_str_ struct str section = STR_INIT;
	str_append(&section, counted->section.data, counted->section.len);
	if (str_error(&section) < 0)
		return -ENOMEM;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_BODIES_AFTER);
	sqlite3_bind_int64(statement, 1, counted->id);
	db_bind_text(db, statement, 2, str_cstr(&section));
	sqlite3_bind_int(statement, 3, COUNT_ROWS);
	int rc;
	while ((rc = db_step(db, statement)) > 0) {
		rc = count_row(counting, statement);
		if (rc < 0)
			break;
	}
	return rc;
}

static int put_counted(struct store *store, const struct old_row *old)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_BODY_COUNTED);
	bind_id(statement, 1, old->id);
	db_bind_text(&store->db, statement, 2, old->section);
	sqlite3_bind_int64(statement, 3, old->bytes);
	sqlite3_bind_int(statement, 4, old->whole);
	return db_run(&store->db, statement);
}

static int put_old(struct counting *counting)
{
	struct store *store = counting->store;
	int64_t bytes = 0;
	int rc = db_begin(&store->db);
	for (size_t i = 0; rc == 0 && i < counting->old_count; i++) {
		rc = put_counted(store, &counting->old[i]);
		bytes += counting->old[i].bytes;
	}
	rc = db_end(&store->db, rc);
	if (rc == 0)
		add_rows(store, 0, bytes);
	return rc;
}

int usage_count(struct store *store)
{
	struct counting counting = {.store = store};
	/* Now, because what is lost begins the counting anew. */
	(void)db_flush(&store->db);
	int rc = count_rows(&counting);
	add_rows(store, (int64_t)counting.rows, counting.bytes);
	/* Rows that can not be written go on saying nothing, and are not counted. */
	if (counting.old_count && !db_spilling(&store->db))
		put_old(&counting);
	size_t rows = counting.rows;
	counting_finish(&counting);
	if (rc == 0 && rows == COUNT_ROWS)
		return 1;
	/* What can not be read can not be counted either, nor does anybody find it. */
	atomic_store(&store->usage.settled, true);
	usage_measure_database(store);
	store->keeper.trim = true;
	return 0;
}

/* ---- the order of use ---- */

int64_t usage_next(struct store *store)
{
	return ++store->usage.clock;
}

void usage_touch(struct store *store, uint64_t id, const char *section)
{
	struct usage *usage = &store->usage;
	if (usage->touched_count == TOUCH_MAX ||
		array_grow(&usage->touched, &usage->touched_cap, usage->touched_count + 1,
			sizeof(*usage->touched)) < 0)
		return;
	char *copy = *section ? strdup(section) : NULL;
	if (*section && !copy)
		return;
	usage->touched[usage->touched_count++] =
		(struct usage_touch){.id = id, .used = usage_next(store), .section = copy};
	if (usage_touched_due(store))
		keeper_wake(store);
}

bool usage_touched_due(const struct store *store)
{
	const struct usage *usage = &store->usage;
	return usage->touched_done > 0 || usage->touched_count >= TOUCH_ROWS;
}

static int write_touch(struct store *store, const struct usage_touch *touch)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_BODY_USED);
	bind_id(statement, 1, touch->id);
	db_bind_text(&store->db, statement, 2, touch->section ? touch->section : "");
	sqlite3_bind_int64(statement, 3, touch->used);
	return db_run(&store->db, statement);
}

/* Up to max; rc: of the transaction that they are in. */
static int write_touches(struct store *store, size_t max, int rc)
{
	struct usage *usage = &store->usage;
	for (size_t n = 0; rc == 0 && n < max && usage->touched_done < usage->touched_count; n++)
		rc = write_touch(store, &usage->touched[usage->touched_done++]);
	return rc;
}

/* Who can not be written is forgotten: the order is a guess of what will be wanted, and room is wanted now. */
static int conclude_touches(struct usage *usage, int rc)
{
	if (rc < 0 || usage->touched_done == usage->touched_count)
		drop_touched(usage);
	return rc;
}

int usage_write_some_touched(struct store *store)
{
	/* Memory is not spent on it. */
	int rc = db_spilling(&store->db) ? -ENOSPC : db_join(&store->db);
	if (rc == 0)
		rc = db_part(&store->db, write_touches(store, TOUCH_STEP, rc));
	recorder_wake(store);
	return conclude_touches(&store->usage, rc);
}

int usage_write_touched(struct store *store)
{
	if (store->usage.touched_count == 0)
		return 0;
	int rc = db_spilling(&store->db) ? -ENOSPC : db_begin(&store->db);
	if (rc == 0)
		rc = db_end(&store->db, write_touches(store, SIZE_MAX, rc));
	return conclude_touches(&store->usage, rc);
}
