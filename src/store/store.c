/* SPDX-License-Identifier: MIT */
/*
 * Opening and closing a store: its directory, its lock file, its database.
 *
 *   lock       flock()ed as long as the store is open, with the owner's pid in it; never removed
 *   store.db   and its -wal and -shm; damaged ones: see aside.c
 *   bodies/    the bytes, see body_file.c
 *   bodies.N/  in a spool: files that were there while the database was missing or empty; nobody touches them
 *
 * The lock comes first: nothing else is touched by a process that does not have it. flock() and not fcntl(), because an
 * fcntl() lock is lost when any descriptor of the file is closed, and would not keep out a second store in the same process.
 *
 * Where the disk is full or read-only, a cache is opened without writing: what is missing stays missing, and the database
 * is in memory, above what there is on the disk (spill.c).
 */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "mailfs/util/log.h"

/* SQLite's limit for a path is 512 bytes, with "/store.db-journal" in it. */
#define DIRECTORY_MAX 480

int store_errno(int err)
{
	switch (err) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return -ENOSPC;
	case ENOMEM:
		return -ENOMEM;
	default:
		return -EIO;
	}
}

static int fail(struct str *why, const char *what, const char *path, int err)
{
	str_printf(why, "%s %s: %s", what, path, strerror(err));
	return store_errno(err);
}

/* Makes one directory; its mode is 0700 whatever the umask is. One that exists is left as it is. */
static int make_directory(const char *path)
{
	if (mkdir(path, 0700) < 0)
		return errno == EEXIST ? 0 : -errno;
	return chmod(path, 0700) < 0 ? -errno : 0;
}

static int make_directories(const char *directory, struct str *why)
{
	_cleanup_free_ char *path = strdup(directory);
	if (!path)
		return -ENOMEM;
	/* A parent that can not be made may be there all the same: that shows at its child. */
	int first_rc = 0;
	for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
		*slash = 0;
		int rc = *path ? make_directory(path) : 0;
		first_rc = first_rc == 0 ? rc : first_rc;
		*slash = '/';
	}
	int rc = make_directory(path);
	if (rc < 0)
		return fail(why, "can not create the store's directory", directory,
			first_rc < 0 ? -first_rc : -rc);
	return 0;
}

/*
 * What is in it must be the user's own: whoever else can make names there could have other files written, or other mail shown. Only root takes a
 * cache that is another's, as a directory that was handed into a container is: nothing is lost with it, and links are not followed. False: not this, why not.
 */
static bool is_own(int fd, enum store_kind kind, struct str *why)
{
	struct stat st;
	if (fstat(fd, &st) < 0) {
		str_append_cstr(why, strerror(errno));
		return false;
	}
	bool foreign = st.st_uid != geteuid() && (geteuid() != 0 || kind != STORE_CACHE);
	if (foreign)
		str_printf(why,
			"it belongs to another user (uid %lu): mount as that user, or give it to yours (chown -R), or name another one",
			(unsigned long)st.st_uid);
	else if (st.st_mode & S_IWOTH)
		str_append_cstr(why,
			"everybody may write there: chmod 700 helps, or, where the file system has no modes (vfat, cifs), its mount "
			"options uid= and umask=077, or name another one");
	return !foreign && !(st.st_mode & S_IWOTH);
}

static int fail_use(const char *directory, const char *trouble, struct str *why)
{
	str_printf(why, "can not use the store's directory %s: %s", directory, trouble);
	return -EIO;
}

/* Links may lead to it, but it must be none itself. */
static int open_own(const char *directory, enum store_kind kind, int *ret_fd, struct str *why)
{
	struct stat st;
	_cleanup_str_ struct str trouble = STR_INIT;
	_cleanup_close_ int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int err = fd < 0 ? errno : 0;
	if (fd < 0 && lstat(directory, &st) == 0 && S_ISLNK(st.st_mode))
		return fail_use(directory, "it is a symbolic link", why);
	if (fd < 0)
		return fail(why, "can not open the store's directory", directory, err);
	if (!is_own(fd, kind, &trouble))
		return fail_use(directory, str_cstr(&trouble), why);
	*ret_fd = steal_fd(&fd);
	return 0;
}

static void tell_foreign(struct store *store)
{
	struct stat st;
	store->foreign = fstat(store->dir_fd, &st) < 0 || st.st_uid != geteuid();
	if (store->foreign)
		log_warning(
			"%s belongs to another user (uid %lu), who can read and change what is kept there",
			store->directory, (unsigned long)st.st_uid);
}

static int open_directory(struct store *store, const char *directory, struct str *why)
{
	int rc = make_directories(directory, why);
	if (rc == 0)
		rc = open_own(directory, store->kind, &store->dir_fd, why);
	if (rc < 0)
		return rc;
	store->directory = realpath(directory, NULL);
	if (!store->directory)
		return fail(why, "can not open the store's directory", directory, errno);
	if (strlen(store->directory) > DIRECTORY_MAX)
		return fail(
			why, "can not use the store's directory", store->directory, ENAMETOOLONG);
	tell_foreign(store);
	return 0;
}

static bool has_another_name(int fd)
{
	struct stat st;
	return fstat(fd, &st) < 0 || (S_ISREG(st.st_mode) && st.st_nlink > 1);
}

int store_openat(const struct store *store, int dir_fd, const char *name, int flags)
{
	int cut = store->foreign ? flags & O_TRUNC : 0;
	int fd = openat(dir_fd, name, (flags & ~cut) | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || !store->foreign)
		return fd;
	int err = has_another_name(fd) ? EMLINK : 0;
	if (err == 0 && cut && ftruncate(fd, 0) < 0)
		err = errno;
	if (err == 0)
		return fd;
	close(fd);
	errno = err;
	return -1;
}

/* Opens, or makes with mode 0600, a file in the store's directory. The descriptor, or a negative errno. */
static int open_file(struct store *store, const char *name)
{
	int fd = store_openat(store, store->dir_fd, name, O_RDWR | O_CREAT);
	if (fd >= 0 && fchmod(fd, 0600) == 0)
		return fd;
	int err = errno;
	if (fd >= 0)
		close(fd);
	return -err;
}

static int fail_file(struct store *store, const char *name, int err, struct str *why)
{
	str_printf(why, "can not open %s in the store's directory %s: %s", name, store->directory,
		strerror(err));
	return store_errno(err);
}

/* Whether a failure is of a disk that takes nothing, which a cache can do without. */
static bool may_do_without(const struct store *store, int err)
{
	return store->kind == STORE_CACHE &&
	       (err == ENOSPC || err == EDQUOT || err == EFBIG || err == EROFS);
}

static int fail_locked(struct store *store, struct str *why)
{
	char pid[24] = "";
	ssize_t n = pread(store->lock_fd, pid, sizeof(pid) - 1, 0);
	pid[n < 0 ? 0 : n] = 0;
	pid[strspn(pid, "0123456789")] = 0;
	str_printf(why, "the store in %s is in use by another mailfs%s%s%s: unmount that one first",
		store->directory, *pid ? " (pid " : "", pid, *pid ? ")" : "");
	return -EBUSY;
}

/* On a disk that takes no new file: the one that is there, else the directory itself. */
static int open_lock_without(struct store *store)
{
	int fd = openat(store->dir_fd, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	store->lock_missing = fd < 0;
	if (fd < 0)
		fd = openat(store->dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static int take_lock(struct store *store, struct str *why)
{
	int fd = open_file(store, "lock");
	if (fd < 0 && may_do_without(store, -fd))
		fd = open_lock_without(store);
	if (fd < 0)
		return fail_file(store, "lock", -fd, why);
	store->lock_fd = fd;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return errno == EWOULDBLOCK
		               ? fail_locked(store, why)
		               : fail(why, "can not lock the store in", store->directory, errno);
	/* Whoever closes a cache takes its pid out of the file. */
	struct stat st;
	store->keeper.sweep = !store->lock_missing && fstat(fd, &st) == 0 && st.st_size > 0;
	/* The pid is for people: on a full disk the lock holds without it. */
	if (!store->lock_missing && ftruncate(fd, 0) == 0)
		dprintf(fd, "%ld\n", (long)getpid());
	return 0;
}

static int open_bodies(struct store *store, struct str *why)
{
	int made_err = mkdirat(store->dir_fd, "bodies", 0700) < 0 ? errno : 0;
	store->bodies_fd =
		openat(store->dir_fd, "bodies", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	int err = store->bodies_fd < 0 || fchmod(store->bodies_fd, 0700) < 0 ? errno : 0;
	if (err == ENOENT && made_err)
		err = made_err;
	if (err == 0 || may_do_without(store, err))
		return 0;
	return fail(why, "can not open the directory of bodies in", store->directory, err);
}

/* The first name bodies.N that is free. The lock keeps others out. */
static int free_name(struct store *store, char *name, size_t size)
{
	struct stat st;
	for (unsigned n = 1; n < UINT_MAX; n++) {
		snprintf(name, size, "bodies.%u", n);
		if (fstatat(store->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return errno == ENOENT ? 0 : -errno;
	}
	return -EEXIST;
}

/* Messages without a database are nobody's to remove: they may be the only copies. */
static int set_bodies_aside(struct store *store, struct str *why)
{
	char name[32];
	int rc = free_name(store, name, sizeof(name));
	if (rc == 0 && renameat(store->dir_fd, "bodies", store->dir_fd, name) < 0)
		rc = -errno;
	if (rc == 0 && fsync(store->dir_fd) < 0)
		rc = -errno;
	if (rc < 0)
		return fail(why, "can not set aside the messages in", store->directory, -rc);
	log_warning(
		"%s/store.db, which says what was downloaded, is missing or empty: the messages that are "
		"there are kept as plain files in %s/%s (small ones together, as mbox files), and what the "
		"server still has is downloaded anew",
		store->directory, store->directory, name);
	cleanup_close(&store->bodies_fd);
	store->bodies_fd = -1;
	return open_bodies(store, why);
}

/* Bodies of a database that is gone are not known to anybody. */
static int clear_bodies(void *arg, struct str *why)
{
	struct store *store = arg;
	if (store->kind != STORE_SPOOL) {
		body_file_remove_all(store);
		return 0;
	}
	int rc = body_file_any(store);
	if (rc < 0)
		return fail(why, "can not look through the messages in", store->directory, -rc);
	return rc > 0 ? set_bodies_aside(store, why) : 0;
}

/* Makes sure that the directory can be found after the power was lost. One that can not be opened was there before. */
static void sync_parents(const char *directory)
{
	_cleanup_free_ char *path = strdup(directory);
	while (path) {
		_cleanup_close_ int fd =
			open(*path ? path : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 && fsync(fd) < 0)
			log_debug("store: %s: %s", path, strerror(errno));
		char *slash = strrchr(path, '/');
		if (!slash)
			break;
		*slash = 0;
	}
}

/*
 * Makes the file where there is none: SQLite would make it readable as the umask allows; -wal and -shm take over its mode. It is
 * closed before SQLite opens it, whose locks on it would go with our descriptor. *ret_full: see db_open().
 */
static int make_database(struct store *store, int *ret_full, struct str *why)
{
	int fd = open_file(store, "store.db");
	if (fd < 0 && may_do_without(store, -fd)) {
		*ret_full = -fd;
		return 0;
	}
	if (fd < 0)
		return fail_file(store, "store.db", -fd, why);
	struct stat st;
	if (store->kind == STORE_SPOOL && fstat(fd, &st) == 0 && st.st_size == 0)
		sync_parents(store->directory);
	close(fd);
	return 0;
}

/* SQLite opens these itself, and would wait for ever for who writes into a FIFO. */
static int check_beside(struct store *store, struct str *why)
{
	struct stat st;
	static const char *const names[] = {"store.db-wal", "store.db-shm", "store.db-journal"};
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (fstatat(store->dir_fd, names[i], &st, AT_SYMLINK_NOFOLLOW) == 0 &&
			(S_ISFIFO(st.st_mode) || S_ISCHR(st.st_mode))) {
			str_printf(why,
				"%s in the store's directory %s is no plain file: remove it",
				names[i], store->directory);
			return -EIO;
		}
		if (!store->foreign)
			continue;
		_cleanup_close_ int fd = store_openat(
			store, store->dir_fd, names[i], O_RDONLY | O_NONBLOCK | O_NOCTTY);
		if (fd < 0 && errno != ENOENT)
			return fail_file(store, names[i], errno, why);
	}
	return 0;
}

static int open_once(struct store *store, int *full, struct str *why)
{
	int rc = make_database(store, full, why);
	if (rc == 0)
		rc = check_beside(store, why);
	if (rc < 0)
		return rc;
	char path[PATH_MAX];
	snprintf(path, sizeof(path), "%s/store.db", store->directory);
	const struct db_params params = {.path = path,
		.directory = store->directory,
		.spool = store->kind == STORE_SPOOL,
		.fresh = clear_bodies,
		.on_damage = store_note_damage,
		.on_lost = body_rows_lost,
		.full = store_on_full,
		.arg = store};
	return db_open(&store->db, &params, *full, why);
}

/* A cache gets a second chance without what is damaged, and one without a disk. */
static int open_database(struct store *store, struct str *why)
{
	size_t said = why->len;
	int full = 0;
	bool damaged = store_is_damaged(store);
	int rc = damaged ? store_set_aside(store, why) : 0;
	if (rc == 0)
		rc = open_once(store, &full, why);
	bool cache = store->kind == STORE_CACHE;
	if (rc < 0 && cache && store->db.full_err && !full) {
		str_truncate(why, said);
		full = store->db.full_err;
		rc = open_once(store, &full, why);
	}
	if (rc < 0 && cache && store->db.damaged && !damaged) {
		str_truncate(why, said);
		rc = store_set_aside(store, why);
		if (rc == 0)
			rc = open_once(store, &full, why);
	}
	return rc;
}

static struct store *create(void)
{
	struct store *store = calloc(1, sizeof(*store));
	if (!store)
		return NULL;
	store->dir_fd = store->lock_fd = store->bodies_fd = -1;
	pthread_mutex_init(&store->lock, NULL);
	pthread_mutex_init(&store->commit_lock, NULL);
	store->policy.newer_than_s = INT64_MAX;
	for (size_t i = 0; i < STORE_OPEN_BUCKETS; i++)
		list_init(&store->open[i]);
	return store;
}

static int start_threads(struct store *store, struct str *why)
{
	usage_init(store);
	int rc = recorder_start(store);
	if (rc == 0)
		rc = keeper_start(store);
	if (rc < 0)
		str_printf(why, "the store in %s can not be opened: %s", store->directory,
			strerror(-rc));
	return rc;
}

int store_directory_make(const char *directory, enum store_kind kind, char **ret, struct str *why)
{
	struct stat st;
	_cleanup_close_ int fd = -1;
	int rc = make_directories(directory, why);
	if (rc == 0)
		rc = open_own(directory, kind, &fd, why);
	if (rc < 0)
		return rc;
	_cleanup_free_ char *path = realpath(directory, NULL);
	if (!path)
		return fail(why, "can not open the store's directory", directory, errno);
	if (kind == STORE_SPOOL && fstatat(fd, "store.db", &st, 0) < 0)
		sync_parents(path);
	*ret = steal_ptr(path);
	return 0;
}

int store_open(const char *directory, enum store_kind kind, struct store **ret, struct str *why)
{
	struct store *store = create();
	if (!store)
		return -ENOMEM;
	store->kind = kind;
	int rc = open_directory(store, directory, why);
	if (rc == 0)
		rc = take_lock(store, why);
	if (rc == 0)
		rc = open_bodies(store, why);
	if (rc == 0)
		rc = open_database(store, why);
	if (rc == 0)
		rc = start_threads(store, why);
	if (rc < 0) {
		store_close(store);
		return rc;
	}
	atomic_store(&store->ready, true);
	if (db_spilling(&store->db))
		checkpoint_wake(&store->db.checkpoint);
	*ret = store;
	return 0;
}

void store_close(struct store *store)
{
	if (!store)
		return;
	keeper_stop(store);
	recorder_stop(store);
	if (store->lost.untold)
		spool_tell_lost(store);
	store_look_for_room(store);
	db_close(&store->db);
	cleanup_close(&store->bodies_fd);
	cleanup_close(&store->dir_fd);
	/* Last: whoever gets the lock next finds everything closed. */
	cleanup_close(&store->lock_fd);
	pthread_mutex_destroy(&store->commit_lock);
	pthread_mutex_destroy(&store->lock);
	usage_finish(store);
	pin_policy_finish(&store->policy);
	free(store->directory);
	free(store);
}
