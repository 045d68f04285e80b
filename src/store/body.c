/* SPDX-License-Identifier: MIT */
/* Opening and closing bodies, the registry of those that are open, and taking them away from their files. See body.h. */
#include "body.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static struct list_node *bucket(struct store *store, uint64_t id)
{
	return &store->open[(id ^ id >> 32) % STORE_OPEN_BUCKETS];
}

void body_cut(struct store_body *body, uint64_t size)
{
	if (ranges_end(&body->held) <= size)
		return;
	const struct sum *sum = sums_find(&body->sums, size / SUMS_PIECE_BYTES);
	bool in_piece =
		ranges_next(&body->held, size) / SUMS_PIECE_BYTES == size / SUMS_PIECE_BYTES;
	if (in_piece && sum && sum->state == SUM_STORED)
		size -= size % SUMS_PIECE_BYTES;
	ranges_truncate(&body->held, size);
	sums_forget(&body->sums, size, UINT64_MAX);
	body->cuts++;
	body->dirty = true;
	body_measure(body);
}

void body_measure(struct store_body *body)
{
	uint64_t bytes = ranges_blocks(&body->held, 0, UINT64_MAX, USAGE_BLOCK_BYTES);
	usage_take(body->store, (int64_t)bytes - (int64_t)body->taken_bytes);
	body->taken_bytes = bytes;
}

/* ---- disowning: store->lock is held ---- */

void body_disown_locked(struct store_body *body)
{
	if (body->disowned)
		return;
	if (body->spooled) {
		body->disowned = true;
		return;
	}
	pthread_mutex_lock(&body->lock);
	bool empty = body->held.count == 0;
	pthread_mutex_unlock(&body->lock);
	if (body->fd < 0 && !empty && body_open_file(body) < 0) {
		_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
		body_cut(body, 0);
	}
	body_file_remove(body->store, body->id, body->section);
	body->disowned = true;
	body_forget_row(body);
}

static void disown(struct store_body *body)
{
	pthread_rwlock_wrlock(&body->io);
	body_disown_locked(body);
	pthread_rwlock_unlock(&body->io);
}

void body_disown_message(struct store *store, uint64_t id)
{
	struct list_node *head = bucket(store, id), *pos, *tmp;
	list_for_each(pos, tmp, head)
	{
		struct store_body *body = container_of(pos, struct store_body, node);
		if (body->id == id)
			disown(body);
	}
}

void body_disown_folder(struct store *store, uint32_t folder)
{
	for (size_t i = 0; i < STORE_OPEN_BUCKETS; i++) {
		struct list_node *head = &store->open[i], *pos, *tmp;
		list_for_each(pos, tmp, head)
		{
			struct store_body *body = container_of(pos, struct store_body, node);
			if (body->id >> 32 == folder)
				disown(body);
		}
	}
}

/* ---- rows that are lost: store->lock is held ---- */

/* What its row says now, of which usage.h counts the rest. */
static void look_at_row(struct store_body *body)
{
	struct db *db = &body->store->db;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_BODY_GET);
	bind_id(statement, 1, body->id);
	db_bind_text(db, statement, 2, body->section);
	bool has_row = db_step(db, statement) > 0;
	int64_t bytes = has_row ? sqlite3_column_int64(statement, 3) : 0;
	usage_take(body->store, body->row_bytes - bytes);
	body->has_row = has_row;
	body->row_bytes = bytes;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	body->dirty = true;
}

void body_rows_lost(void *arg)
{
	struct store *store = arg;
	for (size_t i = 0; i < STORE_OPEN_BUCKETS; i++) {
		struct list_node *head = &store->open[i], *pos, *tmp;
		list_for_each(pos, tmp, head)
		{
			struct store_body *body = container_of(pos, struct store_body, node);
			if (!body->disowned && !body->spooled)
				look_at_row(body);
		}
	}
	store->keeper.sweep = true;
	usage_recount(store);
}

/* ---- opening and closing ---- */

static struct store_body *create(struct store *store, uint64_t id, const char *section)
{
	size_t len = strlen(section) + 1;
	struct store_body *body = calloc(1, sizeof(*body) + len);
	if (!body)
		return NULL;
	body->store = store;
	body->id = id;
	body->fd = -1;
	memcpy(body->section, section, len);
	list_init(&body->node);
	pthread_rwlock_init(&body->io, NULL);
	pthread_mutex_init(&body->lock, NULL);
	pthread_mutex_init(&body->recording, NULL);
	body_check_init(&body->check);
	return body;
}

static void destroy(struct store_body *body)
{
	cleanup_close(&body->fd);
	ranges_finish(&body->held);
	sums_finish(&body->sums);
	body_check_finish(&body->check);
	pthread_mutex_destroy(&body->recording);
	pthread_mutex_destroy(&body->lock);
	pthread_rwlock_destroy(&body->io);
	free(body);
}

static struct store_body *find(struct store *store, uint64_t id, const char *section)
{
	struct list_node *head = bucket(store, id), *pos, *tmp;
	list_for_each(pos, tmp, head)
	{
		struct store_body *body = container_of(pos, struct store_body, node);
		if (body->id == id && !body->disowned && strcmp(body->section, section) == 0)
			return body;
	}
	return NULL;
}

bool body_is_open(struct store *store, uint64_t id, const char *section)
{
	return find(store, id, section) != NULL;
}

bool body_leave_open(struct store *store, uint64_t id, const char *section)
{
	struct store_body *body = find(store, id, section);
	if (body)
		body->may_have_file = true;
	return body != NULL;
}

bool body_skip_open(struct store *store, uint64_t id, const char *section)
{
	struct store_body *body = find(store, id, section);
	if (body)
		atomic_store(&body->used, true);
	return body != NULL;
}

int body_open_whole(struct store *store, uint64_t id, const char *section)
{
	struct store_body *body = find(store, id, section);
	if (!body)
		return -ENOENT;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	return body_is_whole(body);
}

/* The map, and its checksums; where they can not be understood, or do not fit together, nothing is held. */
static int parse(struct store_body *body, sqlite3_stmt *statement)
{
	const void *map = sqlite3_column_blob(statement, 1);
	int rc = ranges_parse(
		map, map ? (size_t)sqlite3_column_bytes(statement, 1) : 0, &body->held);
	if (rc < 0 || sqlite3_column_type(statement, 2) == SQLITE_NULL)
		return rc == -EINVAL ? 0 : rc;
	const void *sums = sqlite3_column_blob(statement, 2);
	rc = sums_parse(sums, sums ? (size_t)sqlite3_column_bytes(statement, 2) : 0, &body->held,
		&body->sums);
	if (rc == -EINVAL)
		ranges_truncate(&body->held, 0);
	return rc == -EINVAL ? 0 : rc;
}

static int load(struct store_body *body)
{
	struct db *db = &body->store->db;
	if (body->store->kind == STORE_SPOOL)
		return body_spooled_load(body);
	db_look(db);
	recorder_wake(body->store);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_BODY_GET);
	bind_id(statement, 1, body->id);
	db_bind_text(db, statement, 2, body->section);
	int rc = db_step(db, statement);
	if (rc <= 0)
		return rc;
	rc = parse(body, statement);
	if (rc < 0)
		return rc;
	body->may_have_file = body->has_row = true;
	body->row_bytes = sqlite3_column_int64(statement, 3);
	usage_take(body->store, -body->row_bytes);
	body_measure(body);
	if (sqlite3_column_type(statement, 0) != SQLITE_NULL) {
		body->size = (uint64_t)sqlite3_column_int64(statement, 0);
		body->size_known = true;
		body_cut(body, body->size);
	}
	return 0;
}

/* Loads and registers; -EBUSY: there is a handle already. */
static int attach(struct store_body *body)
{
	struct store *store = body->store;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	if (body_is_open(store, body->id, body->section))
		return -EBUSY;
	int rc = load(body);
	if (rc == 0)
		list_push(bucket(store, body->id), &body->node);
	return rc;
}

/* Forgets what is past the end of the file. Exclusively, because somebody may remove the message meanwhile. */
static void check_file(struct store_body *body)
{
	if (body->spooled)
		body_spooled_check(body);
	if (body->spooled || body->held.count == 0)
		return;
	pthread_rwlock_wrlock(&body->io);
	if (!body->disowned) {
		uint64_t size = body_file_size(body->store, body->id, body->section);
		_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
		body_cut(body, size);
	}
	pthread_rwlock_unlock(&body->io);
}

int store_body_open(struct store *store, uint32_t folder, uint32_t uid, const char *section,
	struct store_body **ret)
{
	if (!body_file_section_valid(section))
		return -EINVAL;
	struct store_body *body = create(store, store_id(folder, uid), section);
	if (!body)
		return -ENOMEM;
	int rc = attach(body);
	if (rc < 0) {
		destroy(body);
		return rc;
	}
	check_file(body);
	*ret = body;
	return 0;
}

void store_body_close(struct store_body *body)
{
	if (!body)
		return;
	struct store *store = body->store;
	/* Nobody else uses it any more. */
	if (body->dirty)
		body_record(body);
	pthread_mutex_lock(&store->lock);
	body_settle(body);
	if (body->has_row && atomic_load(&body->used))
		usage_touch(store, body->id, body->section);
	list_remove(&body->node);
	pthread_mutex_unlock(&store->lock);
	destroy(body);
}
