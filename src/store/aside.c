/* SPDX-License-Identifier: MIT */
/*
 * A damaged cache is set aside at its next opening and begun anew: all that was in it can be had from the server. It is kept, the last
 * one of several, for whoever wants to know what happened:
 *
 *   store.db.damaged       and its -wal
 *   damaged                an empty file: damage was met while the store was open
 *
 * A spool is never set aside by us.
 */
#include "private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "mailfs/util/log.h"

#define MARKER "damaged"

void store_note_damage(void *arg)
{
	struct store *store = arg;
	_cleanup_close_ int fd =
		openat(store->dir_fd, MARKER, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || fsync(fd) < 0 || fsync(store->dir_fd) < 0)
		log_debug("store: %s/" MARKER ": %s", store->directory, strerror(errno));
}

bool store_is_damaged(const struct store *store)
{
	return store->kind == STORE_CACHE && faccessat(store->dir_fd, MARKER, F_OK, 0) == 0;
}

static int move(struct store *store, const char *from, const char *to)
{
	int fd = store->dir_fd;
	int rc = to ? renameat(fd, from, fd, to) : unlinkat(fd, from, 0);
	return rc < 0 && errno != ENOENT ? -errno : 0;
}

/* The log goes first: beside a database it would be taken for that one's. The marker goes last: until then all of it is done again. */
static int move_all(struct store *store)
{
	static const char *const names[][2] = {
		{"store.db.damaged-wal", NULL},
		{"store.db-wal", "store.db.damaged-wal"},
		{"store.db-shm", NULL},
		{"store.db-journal", NULL},
		{"store.db", "store.db.damaged"},
		{MARKER, NULL},
	};
	int rc = 0;
	for (size_t i = 0; rc == 0 && i < sizeof(names) / sizeof(*names); i++)
		rc = move(store, names[i][0], names[i][1]);
	return rc;
}

int store_set_aside(struct store *store, struct str *why)
{
	int rc = move_all(store);
	if (rc < 0) {
		str_printf(why, "the store in %s is damaged, and can not be set aside: %s",
			store->directory, strerror(-rc));
		return store_errno(-rc);
	}
	log_warning(
		"the store in %s is damaged: it was set aside as store.db.damaged and is begun anew, from what the server has",
		store->directory);
	return 0;
}
