/* SPDX-License-Identifier: MIT */
/*
 * A process that is killed while it fills the spool: what had been committed is recorded, what is recorded is there and right, and
 * cleaning takes nothing away but what was being written.
 */
#include "spool_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROUNDS    25
#define GROUP_MAX 40
/* Messages from here on are lost now and then, and replaced. */
#define FRAGILE     1000000
#define FRAGILE_MAX 8

/* What the child has got as far as; in memory that outlives it. */
struct progress {
	atomic_uint started;   /* UIDs up to here may be recorded */
	atomic_uint committed; /* UIDs up to here are */
	atomic_uint replaced;  /* replacements that were committed */
};

static struct progress *progress_create(void)
{
	struct progress *progress = mmap(
		NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(progress != MAP_FAILED);
	return progress;
}

static void put_group(struct store *store, struct progress *progress, uint64_t *seed)
{
	uint32_t first = atomic_load(&progress->committed) + 1;
	uint32_t count = 1 + random_next(seed) % GROUP_MAX;
	atomic_store(&progress->started, first + count - 1);
	if (spool_put_group(store, first, count) < 0)
		_exit(2);
	atomic_store(&progress->committed, first + count - 1);
}

static size_t fragile_length(uint32_t uid)
{
	return OWN_FILE + uid % 100;
}

/* Damages a message, has it noticed, and puts it there again. */
static void replace(
	const char *directory, struct store *store, struct progress *progress, uint64_t *seed)
{
	uint32_t uid = FRAGILE + random_next(seed) % FRAGILE_MAX;
	char path[256];
	snprintf(path, sizeof(path), "%s/bodies/00000005/%u", directory, (unsigned)uid);
	if (random_next(seed) % 2)
		unlink(path);
	else if (truncate(path, 5) < 0 && errno != ENOENT)
		_exit(3);
	int rc = store_spool_verify(store, FOLDER, uid);
	if (rc != -EBADMSG && rc != -ENOENT)
		_exit(4);
	if (spool_put(store, uid, uid, fragile_length(uid)) < 0)
		_exit(5);
	atomic_fetch_add(&progress->replaced, 1);
}

static void leave_unfinished(struct store *store, uint64_t *seed)
{
	struct store_spool_item item;
	if (spool_write(store, 7000000 + random_next(seed) % 100, 1, OWN_FILE, &item) < 0)
		_exit(6);
}

static void fill_for_ever(
	const struct fixture *fixture, struct progress *progress, uint64_t seed, int ready)
{
	struct store *store = fixture_open_in_child(fixture);
	/* What a child leaves unfinished it keeps open. */
	for (int i = 0;; i++) {
		if (i < 100)
			leave_unfinished(store, &seed);
		if (i == 0 && write(ready, "x", 1) != 1)
			_exit(7);
		put_group(store, progress, &seed);
		replace(fixture->directory, store, progress, &seed);
	}
}

static void kill_in_the_middle(struct fixture *fixture, struct progress *progress, int round)
{
	int ready[2];
	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		/* Nobody wants to read of what is lost on purpose. */
		if (!freopen("/dev/null", "w", stderr))
			_exit(8);
		fill_for_ever(fixture, progress, (uint64_t)round, ready[1]);
	}
	fixture_kill(pid, ready, 3100 * (unsigned)round);
}

struct seen {
	uint32_t uids[20000];
	bool lost[20000];
	size_t count;
};

static int take(void *arg, const struct store_spool *record)
{
	struct seen *seen = arg;
	assert_true(seen->count < 20000);
	seen->lost[seen->count] = record->lost;
	seen->uids[seen->count++] = record->uid;
	return 0;
}

static void check_recorded(struct fixture *fixture, uint32_t uid, bool lost)
{
	size_t len = uid >= FRAGILE ? fragile_length(uid) : spool_length(uid);
	int rc = store_spool_verify(fixture->store, FOLDER, uid);
	/* Between its damage and its replacement. */
	if (uid >= FRAGILE && rc == -EBADMSG) {
		assert_int_equal(spool_read(fixture->store, uid, uid, len), -EIO);
		return;
	}
	assert_false(lost);
	assert_int_equal(rc, 0);
	assert_int_equal(spool_read(fixture->store, uid, uid, len), 0);
}

struct content {
	uint64_t bytes;
	size_t files, unfinished, unnamed;
};

/* What lies in the folder: packs, UID, UID.oldN, and UID.newN, which is counted apart. */
static struct content content(struct fixture *fixture)
{
	struct content content = {0};
	DIR *dir = opendir(fixture_path(fixture, "bodies/00000005"));
	for (struct dirent *entry; dir && (entry = readdir(dir));) {
		struct stat st;
		unsigned a, b;
		char c;
		const char *name = entry->d_name;
		if (name[0] == '.')
			continue;
		if (sscanf(name, "%u.new%u%c", &a, &b, &c) == 2) {
			content.unfinished++;
			continue;
		}
		if (sscanf(name, "%u%c", &a, &c) != 1 && sscanf(name, "pack-%u%c", &a, &c) != 1 &&
			sscanf(name, "%u.old%u%c", &a, &b, &c) != 2)
			content.unnamed++;
		assert_int_equal(fstatat(dirfd(dir), name, &st, 0), 0);
		content.bytes += (uint64_t)st.st_size;
		content.files++;
	}
	if (dir)
		closedir(dir);
	return content;
}

static void check_clean(struct fixture *fixture)
{
	struct content before = content(fixture);
	assert_int_equal(store_spool_clean(fixture->store, FOLDER), 0);
	struct content after = content(fixture);
	assert_int_equal(after.unfinished, 0);
	assert_int_equal(after.unnamed, 0);
	assert_int_equal(after.files, before.files);
	assert_int_equal(after.bytes, before.bytes);
}

/* Every committed message, each group as a whole, and what is kept beside them. */
static void check_all(struct fixture *fixture, struct progress *progress)
{
	static struct seen seen;
	seen.count = 0;
	assert_int_equal(store_spool_load(fixture->store, FOLDER, take, &seen), 0);
	size_t numbered = 0;
	for (size_t i = 0; i < seen.count; i++) {
		if (seen.uids[i] < FRAGILE)
			assert_int_equal(seen.uids[i], ++numbered);
		check_recorded(fixture, seen.uids[i], seen.lost[i]);
	}
	assert_true(numbered == atomic_load(&progress->committed) ||
		    numbered == atomic_load(&progress->started));
	/* A group whose commit was done, and not told any more. */
	atomic_store(&progress->committed, (unsigned)numbered);
	check_clean(fixture);
}

static void test_kill(void **state)
{
	struct fixture *fixture = *state;
	struct progress *progress = progress_create();
	fixture_close(fixture);
	for (int round = 0; round < ROUNDS; round++) {
		kill_in_the_middle(fixture, progress, round);
		fixture_log_begin(fixture);
		fixture_reopen(fixture);
		check_all(fixture, progress);
		fixture_log_end(fixture);
		fixture_close(fixture);
	}
	fprintf(stderr, "# %u messages, %u replacements\n", atomic_load(&progress->committed),
		atomic_load(&progress->replaced));
	assert_true(atomic_load(&progress->committed) > ROUNDS);
	assert_true(atomic_load(&progress->replaced) > 0);
	munmap(progress, sizeof(*progress));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, spool_create_open, fixture_destroy)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_kill),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
