/* SPDX-License-Identifier: MIT */
/*
 * See orphan.h. The ends of files that are longer than what is recorded of them go too.
 *
 * A body's file is made while the body is open, and open bodies are registered; its row, if it gets one, is
 * there before that ends. So a file is nobody's if its body is neither open nor recorded, and that stays so while
 * store->lock is held. The file of an open one is left to who closes it. What has no name of ours is left alone.
 */
#include "orphan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "mailfs/util/log.h"
#include "private.h"
#include "ranges.h"

#define BATCH_FILES 256

struct file {
	uint32_t uid;
	char *section;
};

struct sweep {
	struct store *store;
	uint32_t folder;
	struct file files[BATCH_FILES];
	size_t count;
	uint64_t removed;
};

/* Takes the name of a file apart; false: it is none of ours. */
static bool parse_name(const char *name, uint32_t *uid, const char **section)
{
	char number[16];
	size_t len = strcspn(name, "-");
	if (len >= sizeof(number))
		return false;
	memcpy(number, name, len);
	number[len] = 0;
	*uid = body_file_parse_uid(number);
	*section = name[len] ? name + len + 1 : "";
	return *uid != 0 && (!name[len] || **section) && body_file_section_valid(*section);
}

/* 1: recorded, up to *ret_end; 0: not. store->lock is held. */
static int find_recorded(struct store *store, uint64_t id, const char *section, uint64_t *ret_end)
{
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(&store->db, DB_BODY_GET);
	bind_id(statement, 1, id);
	db_bind_text(&store->db, statement, 2, section);
	int rc = db_step(&store->db, statement);
	if (rc <= 0)
		return rc;
	struct ranges held;
	const void *map = sqlite3_column_blob(statement, 1);
	rc = ranges_parse(map, map ? (size_t)sqlite3_column_bytes(statement, 1) : 0, &held);
	*ret_end = rc < 0 ? UINT64_MAX : ranges_end(&held);
	ranges_finish(&held);
	return 1;
}

/* store->lock is held. What can not be looked up stays. Bytes behind the recorded ones were written and not recorded any more. */
static void judge(struct sweep *sweep, const struct file *file)
{
	struct store *store = sweep->store;
	uint64_t id = store_id(sweep->folder, file->uid), end = 0;
	if (body_leave_open(store, id, file->section))
		return;
	int rc = find_recorded(store, id, file->section, &end);
	if (rc > 0)
		body_file_cut(store, id, file->section, end);
	if (rc == 0 && body_file_remove(store, id, file->section) == 0)
		sweep->removed++;
}

static void judge_all(struct sweep *sweep)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&sweep->store->lock);
	for (size_t i = 0; i < sweep->count; i++) {
		judge(sweep, &sweep->files[i]);
		free(sweep->files[i].section);
	}
	sweep->count = 0;
}

static int sweep_file(void *arg, int dir_fd, const char *name)
{
	(void)dir_fd;
	struct sweep *sweep = arg;
	uint32_t uid;
	const char *section;
	if (atomic_load(&sweep->store->keeper.stop) || !parse_name(name, &uid, &section))
		return 0;
	char *copy = strdup(section);
	if (!copy)
		return -ENOMEM;
	sweep->files[sweep->count++] = (struct file){uid, copy};
	if (sweep->count == BATCH_FILES)
		judge_all(sweep);
	return 0;
}

/* The number of a folder's directory; 0: it is none. */
static uint32_t parse_folder(const char *name)
{
	unsigned folder;
	int end = 0;
	if (strlen(name) != 8 || strspn(name, "0123456789abcdef") != 8 ||
		sscanf(name, "%8x%n", &folder, &end) != 1 || end != 8)
		return 0;
	return folder;
}

static int sweep_folder(void *arg, int dir_fd, const char *name)
{
	struct sweep *sweep = arg;
	sweep->folder = parse_folder(name);
	if (sweep->folder == 0 || atomic_load(&sweep->store->keeper.stop))
		return 0;
	int rc = body_file_for_each(sweep->store, name, sweep_file, sweep);
	judge_all(sweep);
	/* Where nothing is left. Who begins a body there makes it again. */
	unlinkat(dir_fd, name, AT_REMOVEDIR);
	return rc;
}

bool orphan_due(const struct store *store)
{
	/* On a full disk the database may lack what is on it. */
	return store->keeper.sweep && !db_spilling(&store->db);
}

static bool is_due(struct store *store)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	return orphan_due(store) && !atomic_load(&store->keeper.stop);
}

void orphan_sweep(struct store *store)
{
	if (!is_due(store))
		return;
	struct sweep sweep = {.store = store};
	body_file_remove_nameless(store);
	body_file_for_each(store, ".", sweep_folder, &sweep);
	if (sweep.removed)
		log_debug("store: %llu files in %s/bodies were of no body, and are removed",
			(unsigned long long)sweep.removed, store->directory);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	/* One that was interrupted is made again by the next owner. */
	if (!atomic_load(&store->keeper.stop))
		store->keeper.sweep = false;
}
