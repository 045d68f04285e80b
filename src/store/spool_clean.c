/* SPDX-License-Identifier: MIT */
/*
 * A folder's files compared with what is recorded of them, at the start.
 *
 * Nothing that was ever complete is removed or cut: the database may be older than the files (its -wal was lost, or it
 * was brought back from a backup), and then a message that is not recorded may be one that the server has
 * deleted. So what lies behind the recorded length of a pack stays (spool_pack.c), and so does a file
 * that nothing is recorded of; only what was never committed goes.
 *
 * Recorded messages whose file is missing or too short are recorded as lost, so that the first look fetches them again.
 * Every file is looked at once, none is opened: the bytes are compared by who reads them.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "mailfs/util/log.h"
#include "spool.h"

struct file {
	uint32_t number; /* of the pack, or the UID */
	uint64_t size_bytes;
	uint64_t recorded_bytes;
};

struct files {
	struct file *all; /* ascending */
	size_t count, cap;
};

struct clean {
	struct store *store;
	uint32_t folder;
	struct files packs, own, others;
	uint64_t *lost; /* ids */
	size_t lost_count, lost_cap;
	struct spool_place first;
	bool first_missing;
};

static void clean_finish(struct clean *clean)
{
	free(clean->packs.all);
	free(clean->own.all);
	free(clean->others.all);
	free(clean->lost);
}
#define _cleanup_clean_ _cleanup_(clean_finish)

/* ---- what is there ---- */

static int add_file(struct files *files, uint32_t number, uint64_t size_bytes)
{
	if (array_grow(&files->all, &files->cap, files->count + 1, sizeof(*files->all)) < 0)
		return -ENOMEM;
	files->all[files->count++] = (struct file){.number = number, .size_bytes = size_bytes};
	return 0;
}

/* What a process that was killed has not committed. Directories are none of ours. */
static int remove_new(int dir_fd, const char *name)
{
	if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT || errno == EISDIR || errno == EPERM)
		return 0;
	return store_errno(errno);
}

static int look_at(void *arg, int dir_fd, const char *name)
{
	struct clean *clean = arg;
	struct stat st;
	if (body_file_is_new(name))
		return remove_new(dir_fd, name);
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : store_errno(errno);
	/* Something else in a file's place is as good as no file. */
	if (!S_ISREG(st.st_mode))
		return 0;
	uint32_t pack = body_file_parse_pack(name), uid = body_file_parse_uid(name);
	struct files *files = pack ? &clean->packs : uid ? &clean->own : &clean->others;
	return add_file(files, pack ? pack : uid, (uint64_t)st.st_size);
}

static int compare(const void *a, const void *b)
{
	const struct file *x = a, *y = b;
	return x->number < y->number ? -1 : x->number > y->number;
}

static void sort(struct files *files)
{
	if (files->count)
		qsort(files->all, files->count, sizeof(*files->all), compare);
}

static struct file *find(const struct files *files, uint32_t number)
{
	const struct file key = {.number = number};
	return files->count ? bsearch(&key, files->all, files->count, sizeof(key), compare) : NULL;
}

static int look(struct clean *clean)
{
	body_file_remove_nameless(clean->store);
	int rc = body_file_for_each(
		clean->store, body_file_folder_name(clean->folder).text, look_at, clean);
	sort(&clean->packs);
	sort(&clean->own);
	return rc;
}

/* ---- what is recorded: store->lock is held ---- */

static int add_lost(struct clean *clean, const struct spool_place *place, bool missing)
{
	if (array_grow(&clean->lost, &clean->lost_cap, clean->lost_count + 1,
		    sizeof(*clean->lost)) < 0)
		return -ENOMEM;
	if (clean->lost_count == 0) {
		clean->first = *place;
		clean->first_missing = missing;
	}
	clean->lost[clean->lost_count++] = place->id;
	return 0;
}

static int judge(struct clean *clean, const struct spool_place *place, bool lost)
{
	struct file *file = place->pack ? find(&clean->packs, place->pack)
	                                : find(&clean->own, (uint32_t)place->id);
	if (file && place->pack == 0)
		file->recorded_bytes = file->size_bytes;
	if (lost || (file && file->size_bytes >= place->position + place->size_bytes))
		return 0;
	return add_lost(clean, place, !file);
}

static int judge_all(struct clean *clean)
{
	struct db *db = &clean->store->db;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_SPOOL_PLACES);
	bind_id(statement, 1, store_id(clean->folder, 0));
	bind_id(statement, 2, store_id(clean->folder, UINT32_MAX));
	int rc;
	while ((rc = db_step(db, statement)) > 0) {
		const struct spool_place place = {
			.id = (uint64_t)sqlite3_column_int64(statement, 0),
			.size_bytes = (uint64_t)sqlite3_column_int64(statement, 1),
			.pack = (uint32_t)sqlite3_column_int64(statement, 2),
			.position = (uint64_t)sqlite3_column_int64(statement, 3),
		};
		rc = judge(clean, &place, sqlite3_column_int(statement, 4) != 0);
		if (rc < 0)
			return rc;
	}
	return rc;
}

static int load_packs(struct clean *clean)
{
	struct db *db = &clean->store->db;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_PACKS);
	sqlite3_bind_int64(statement, 1, clean->folder);
	int rc;
	while ((rc = db_step(db, statement)) > 0) {
		struct file *file =
			find(&clean->packs, (uint32_t)sqlite3_column_int64(statement, 0));
		if (file)
			file->recorded_bytes = (uint64_t)sqlite3_column_int64(statement, 1);
	}
	return rc;
}

/* Bodies that are not in the spool, which no spool of this version records. */
static int remove_bodies(struct clean *clean)
{
	struct db *db = &clean->store->db;
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_REMOVE_BODIES);
	bind_id(statement, 1, store_id(clean->folder, 0));
	bind_id(statement, 2, store_id(clean->folder, UINT32_MAX));
	return db_run(db, statement);
}

static int set_lost(struct clean *clean)
{
	if (clean->lost_count == 0)
		return 0;
	struct store *store = clean->store;
	int rc = db_begin_durable(&store->db);
	for (size_t i = 0; rc == 0 && i < clean->lost_count; i++)
		rc = spool_set_lost(store, clean->lost[i]);
	return db_end_durable(&store->db, rc);
}

static int compare_records(struct clean *clean)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&clean->store->lock);
	int rc = judge_all(clean);
	if (rc == 0)
		rc = load_packs(clean);
	if (rc == 0)
		rc = set_lost(clean);
	return rc < 0 ? rc : remove_bodies(clean);
}

/* ---- what is said ---- */

static void tell_lost(const struct clean *clean)
{
	if (clean->lost_count)
		log_warning(
			"messages that are missing or damaged: %zu, the first of them message %u, whose file %s/bodies/%s is %s; "
			"they are fetched again at the next look if the server still has them",
			clean->lost_count, (unsigned)(clean->first.id & UINT32_MAX),
			clean->store->directory, body_file_place_name(&clean->first).text,
			clean->first_missing ? "missing" : "damaged");
}

static void add_kept(const struct files *files, size_t *count, uint64_t *bytes)
{
	for (size_t i = 0; i < files->count; i++) {
		const struct file *file = &files->all[i];
		if (file->size_bytes <= file->recorded_bytes)
			continue;
		*count += 1;
		*bytes += file->size_bytes - file->recorded_bytes;
	}
}

static void tell_kept(const struct clean *clean)
{
	size_t count = 0;
	uint64_t bytes = 0;
	add_kept(&clean->packs, &count, &bytes);
	add_kept(&clean->own, &count, &bytes);
	add_kept(&clean->others, &count, &bytes);
	if (count)
		log_info(
			"%s/bodies/%s: %llu bytes in %zu files are not recorded in store.db, and are kept as they are "
			"(an interrupted download has left them, or a newer store.db)",
			clean->store->directory, body_file_folder_name(clean->folder).text,
			(unsigned long long)bytes, count);
}

int store_spool_clean(struct store *store, uint32_t folder)
{
	if (store->kind != STORE_SPOOL)
		return -EINVAL;
	_cleanup_clean_ struct clean clean = {.store = store, .folder = folder};
	/* Nothing is committed meanwhile. */
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->commit_lock);
	/* Where the directory can not be read nothing is lost. */
	int rc = look(&clean);
	if (rc == 0)
		rc = compare_records(&clean);
	if (rc < 0)
		return rc;
	tell_lost(&clean);
	tell_kept(&clean);
	return 0;
}
