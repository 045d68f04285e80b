/* SPDX-License-Identifier: MIT */
/*
 * The table of files. An ordinary mount has the kernel's handles in it, from open to release. In one that is read-only the kernel opens
 * nothing: a read names its node alone. What it needs stays here for the next read: as long as reads run, and then for a second, at most
 * 128 of them. So there is one for each node, which the order of answers depends on (file.c).
 *
 * Whoever takes one out of the table does so under the lock, and closes it after that: to close takes locks of sync and of the disk.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/thread.h"

#include "private.h"

static struct list_node *bucket_of(struct files *files, uint64_t inode)
{
	return &files->buckets[(inode ^ inode >> 8 ^ inode >> 32) % FILES_BUCKETS];
}

static struct fs_file *file_create(struct fs *fs, struct tree_file *file, uint64_t inode)
{
	struct fs_file *handle = calloc(1, sizeof(*handle));
	if (!handle)
		return NULL;
	handle->fs = fs;
	handle->inode = inode;
	atomic_init(&handle->file, file);
	atomic_init(&handle->references, 1);
	pthread_mutex_init(&handle->lock, NULL);
	list_init(&handle->bucket);
	list_init(&handle->kept);
	list_init(&handle->running);
	list_init(&handle->late);
	return handle;
}

struct fs_file *files_add(struct fs *fs, struct tree_file *file, uint64_t inode)
{
	struct fs_file *handle = file_create(fs, file, inode);
	if (!handle)
		return NULL;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&fs->files.lock);
	list_push(bucket_of(&fs->files, inode), &handle->bucket);
	return handle;
}

void files_unref(struct fs_file *handle)
{
	if (atomic_fetch_sub(&handle->references, 1) != 1)
		return;
	pthread_mutex_lock(&handle->fs->files.lock);
	list_remove(&handle->bucket);
	pthread_mutex_unlock(&handle->fs->files.lock);
	tree_file_close(atomic_load(&handle->file));
	pthread_mutex_destroy(&handle->lock);
	free(handle);
}

/* --- Those that are read by their node --- */

/* Lock held, as below. */
static struct fs_file *find_kept(struct files *files, uint64_t inode)
{
	const struct list_node *bucket = bucket_of(files, inode), *pos;
	for (pos = bucket->next; pos != bucket; pos = pos->next) {
		struct fs_file *file = container_of(pos, struct fs_file, bucket);
		if (file->by_node && file->inode == inode)
			return file;
	}
	return NULL;
}

static void keep(struct files *files, struct fs_file *file)
{
	list_push(bucket_of(files, file->inode), &file->bucket);
	list_push(&files->kept, &file->kept);
	if (files->kept_count++ == 0)
		pthread_cond_signal(&files->changed);
}

/* The table's reference is the caller's then. */
static void take_out(struct files *files, struct fs_file *file)
{
	list_remove(&file->bucket);
	list_remove(&file->kept);
	files->kept_count--;
}

struct fs_file *files_get(struct fs *fs, uint64_t inode)
{
	struct files *files = &fs->files;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&files->lock);
	struct fs_file *file = find_kept(files, inode);
	if (!file) {
		file = file_create(fs, NULL, inode);
		if (!file)
			return NULL;
		file->by_node = true;
		keep(files, file);
	}
	list_remove(&file->kept);
	list_push(&files->kept, &file->kept);
	file->used_ms = clock_now_ms();
	atomic_fetch_add(&file->references, 1);
	return file;
}

void files_drop(struct fs *fs, uint64_t inode)
{
	pthread_mutex_lock(&fs->files.lock);
	struct fs_file *file = find_kept(&fs->files, inode);
	if (file)
		take_out(&fs->files, file);
	pthread_mutex_unlock(&fs->files.lock);
	if (file)
		files_unref(file);
}

/*
 * One that can be closed: idle for long, or the first that is idle where there are too many. What is being read stays, because another of its
 * node would answer out of order. Lock held.
 */
static struct fs_file *pop_idle(struct files *files, int64_t now_ms)
{
	const struct list_node *pos;
	for (pos = files->kept.next; pos != &files->kept; pos = pos->next) {
		struct fs_file *file = container_of(pos, struct fs_file, kept);
		if (files->kept_count <= files->kept_max && now_ms - file->used_ms < FILES_IDLE_MS)
			return NULL;
		if (atomic_load(&file->references) > 1)
			continue;
		take_out(files, file);
		return file;
	}
	return NULL;
}

void files_trim(struct files *files)
{
	struct fs_file *file;
	int64_t now_ms = clock_now_ms();
	do {
		pthread_mutex_lock(&files->lock);
		file = pop_idle(files, now_ms);
		pthread_mutex_unlock(&files->lock);
		if (file)
			files_unref(file);
	} while (file);
}

/* --- Their closer --- */

/* Until there is something that may become idle, and then a while. false: the thread is to end. */
static bool wait_idle(struct files *files)
{
	struct timespec until;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&files->lock);
	while (!files->ending && files->kept_count == 0)
		pthread_cond_wait(&files->changed, &files->lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += FILES_IDLE_MS / 1000;
	while (!files->ending)
		if (pthread_cond_timedwait(&files->changed, &files->lock, &until) == ETIMEDOUT)
			break;
	return !files->ending;
}

static void *closer_main(void *arg)
{
	struct files *files = arg;
	while (wait_idle(files))
		files_trim(files);
	return NULL;
}

static int closer_start(struct files *files)
{
	int r = thread_start(&files->thread, closer_main, files);
	files->running = r == 0;
	return r;
}

/* Each may hold a descriptor: those that nobody reads just now leave three quarters to the rest. */
static size_t kept_max(void)
{
	struct rlimit limit;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= 4 * FILES_KEPT_MAX)
		return FILES_KEPT_MAX;
	return (size_t)limit.rlim_cur / 4;
}

int files_init(struct files *files, bool closer)
{
	*files = (struct files){.kept_max = kept_max()};
	for (size_t i = 0; i < FILES_BUCKETS; i++)
		list_init(&files->buckets[i]);
	list_init(&files->kept);
	pthread_mutex_init(&files->lock, NULL);
	cond_init_monotonic(&files->changed);
	return closer ? closer_start(files) : 0;
}

void files_finish(struct files *files)
{
	pthread_mutex_lock(&files->lock);
	files->ending = true;
	pthread_cond_signal(&files->changed);
	pthread_mutex_unlock(&files->lock);
	if (files->running)
		pthread_join(files->thread, NULL);
	for (size_t i = 0; i < FILES_BUCKETS; i++)
		while (!list_empty(&files->buckets[i])) {
			struct list_node *first = list_pop(&files->buckets[i]);
			files_unref(container_of(first, struct fs_file, bucket));
		}
	pthread_cond_destroy(&files->changed);
	pthread_mutex_destroy(&files->lock);
}

/* --- Attributes --- */

void files_told(struct fs *fs, uint64_t node, uint64_t size_bytes)
{
	if (atomic_load(&fs->files.reading) == 0)
		return;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&fs->files.lock);
	const struct list_node *bucket = bucket_of(&fs->files, node), *pos;
	for (pos = bucket->next; pos != bucket; pos = pos->next) {
		struct fs_file *file = container_of(pos, struct fs_file, bucket);
		if (file->inode == node)
			file_told(file, size_bytes);
	}
}

/* An opened file of the node, with a reference. NULL: there is none. */
static struct fs_file *find_opened(struct files *files, uint64_t node)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&files->lock);
	const struct list_node *bucket = bucket_of(files, node), *pos;
	for (pos = bucket->next; pos != bucket; pos = pos->next) {
		struct fs_file *file = container_of(pos, struct fs_file, bucket);
		/* One without references is on its way out. */
		unsigned references = atomic_load(&file->references);
		if (file->inode != node || !atomic_load(&file->file))
			continue;
		while (references > 0)
			if (atomic_compare_exchange_weak(
				    &file->references, &references, references + 1))
				return file;
	}
	return NULL;
}

/* Not under the lock: a directory that is being read holds that of its folder, and tells of files. */
bool files_attributes(struct fs *fs, uint64_t node, struct tree_entry *ret)
{
	struct fs_file *file = find_opened(&fs->files, node);
	if (!file)
		return false;
	tree_file_attributes(fs->tree, atomic_load(&file->file), ret);
	files_unref(file);
	return true;
}

void files_correct(struct fs *fs, struct tree_entry *entry)
{
	struct tree_entry open;
	if (files_attributes(fs, entry->node, &open))
		entry->attr = open.attr;
}
