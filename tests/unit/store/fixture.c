/* SPDX-License-Identifier: MIT */
#include "fixture.h"
#include "../scratch.h"

#include <fcntl.h>
#include <ftw.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

int fixture_create(void **state)
{
	struct fixture *fixture = calloc(1, sizeof(*fixture));
	assert_non_null(fixture);
	assert_non_null(scratch_make(fixture->root, sizeof(fixture->root), "store"));
	snprintf(fixture->directory, sizeof(fixture->directory), "%s/cache/mailfs/account",
		fixture->root);
	*state = fixture;
	return 0;
}

int fixture_create_open(void **state)
{
	fixture_create(state);
	fixture_reopen(*state);
	return 0;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int fixture_destroy(void **state)
{
	struct fixture *fixture = *state;
	store_close(fixture->store);
	nftw(fixture->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
	free(fixture);
	return 0;
}

void fixture_close(struct fixture *fixture)
{
	store_close(fixture->store);
	fixture->store = NULL;
}

void fixture_reopen(struct fixture *fixture)
{
	_cleanup_str_ struct str why = STR_INIT;
	fixture_close(fixture);
	int rc = store_open(fixture->directory, fixture->kind, &fixture->store, &why);
	if (rc < 0)
		fail_msg("store_open: %d %s", rc, str_cstr(&why));
	assert_string_equal(str_cstr(&why), "");
}

struct store *fixture_open_in_child(const struct fixture *fixture)
{
	_cleanup_str_ struct str why = STR_INIT;
	struct store *store;
	if (store_open(fixture->directory, fixture->kind, &store, &why) < 0)
		_exit(1);
	return store;
}

void fixture_expect_killed(pid_t pid)
{
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (!WIFSIGNALED(status))
		fail_msg("the child ended with %d", WEXITSTATUS(status));
}

void fixture_kill(pid_t pid, const int *ready, useconds_t us)
{
	char c;
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	usleep(us);
	kill(pid, SIGKILL);
	fixture_expect_killed(pid);
}

static int give_away(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return lchown(path, 65534, 65534);
}

static int take_back(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return lchown(path, getuid(), getgid());
}

static const char *given_away; /* the root of a fixture; NULL: none is */

void fixture_drop_rights(const struct fixture *fixture)
{
	if (getuid() != 0)
		return;
	assert_int_equal(nftw(fixture->root, give_away, 16, FTW_PHYS), 0);
	given_away = fixture->root;
	assert_int_equal(seteuid(65534), 0);
}

void fixture_take_rights(void)
{
	assert_int_equal(seteuid(getuid()), 0);
	if (given_away)
		assert_int_equal(nftw(given_away, take_back, 16, FTW_PHYS), 0);
	given_away = NULL;
}

void fixture_expect_refused(struct fixture *fixture, int rc, const char *const *words)
{
	_cleanup_str_ struct str why = STR_INIT;
	struct store *store = NULL;
	assert_int_equal(store_open(fixture->directory, fixture->kind, &store, &why), rc);
	assert_null(store);
	for (; *words; words++)
		if (!strstr(str_cstr(&why), *words))
			fail_msg("\"%s\" is not in: %s", *words, str_cstr(&why));
	assert_null(strchr(str_cstr(&why), '\n'));
}

static const char *log_path(const struct fixture *fixture)
{
	static char path[128];
	snprintf(path, sizeof(path), "%s/log", fixture->root);
	return path;
}

void fixture_log_begin(struct fixture *fixture)
{
	fflush(stderr);
	fixture->stderr_fd = dup(STDERR_FILENO);
	int fd = open(log_path(fixture), O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_true(fixture->stderr_fd >= 0 && fd >= 0);
	assert_true(dup2(fd, STDERR_FILENO) >= 0);
	close(fd);
}

const char *fixture_log_end(struct fixture *fixture)
{
	static char text[16384];
	fflush(stderr);
	assert_true(dup2(fixture->stderr_fd, STDERR_FILENO) >= 0);
	close(fixture->stderr_fd);
	int fd = open(log_path(fixture), O_RDONLY | O_CLOEXEC);
	ssize_t n = read(fd, text, sizeof(text) - 1);
	assert_true(n >= 0);
	text[n] = 0;
	close(fd);
	return text;
}

const char *fixture_path(const struct fixture *fixture, const char *name)
{
	static char path[256];
	snprintf(path, sizeof(path), "%s/%s", fixture->directory, name);
	return path;
}

void fixture_sql(const struct fixture *fixture, const char *sql)
{
	sqlite3 *handle;
	assert_int_equal(sqlite3_open(fixture_path(fixture, "store.db"), &handle), SQLITE_OK);
	sqlite3_busy_timeout(handle, 5000);
	char *text = NULL;
	if (sqlite3_exec(handle, sql, NULL, NULL, &text) != SQLITE_OK)
		fail_msg("%s: %s", sql, text);
	sqlite3_close(handle);
}

struct store_body *fixture_body(
	struct fixture *fixture, uint32_t folder, uint32_t uid, const char *section)
{
	struct store_body *body = NULL;
	assert_int_equal(store_body_open(fixture->store, folder, uid, section, &body), 0);
	assert_non_null(body);
	return body;
}

unsigned char byte_at(uint32_t uid, uint64_t offset)
{
	uint64_t x =
		(offset >> 3) * UINT64_C(0x9e3779b97f4a7c15) + uid * UINT64_C(0xbf58476d1ce4e5b9);
	x ^= x >> 29;
	/* Never 0, which is what a hole reads as. */
	return (unsigned char)((x >> (offset & 7) * 8) | 1);
}

void fill_bytes(unsigned char *buf, size_t len, uint32_t uid, uint64_t offset)
{
	for (size_t i = 0; i < len; i++)
		buf[i] = byte_at(uid, offset + i);
}

int write_bytes(struct store_body *body, uint32_t uid, size_t len, uint64_t offset)
{
	unsigned char *buf = malloc(len + 1);
	assert_non_null(buf);
	fill_bytes(buf, len, uid, offset);
	int rc = store_body_write(body, buf, len, offset);
	free(buf);
	return rc;
}

void check_bytes(struct store_body *body, uint32_t uid, size_t len, uint64_t offset)
{
	unsigned char *buf = malloc(len + 1);
	assert_non_null(buf);
	assert_int_equal(store_body_read(body, buf, len, offset), len);
	for (size_t i = 0; i < len; i++)
		if (buf[i] != byte_at(uid, offset + i))
			fail_msg("uid %u: wrong byte at %llu", uid,
				(unsigned long long)(offset + i));
	free(buf);
}

uint32_t random_next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*state >> 33);
}
