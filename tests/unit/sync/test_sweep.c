/* SPDX-License-Identifier: MIT */
/*
 * What is deleted on the server, and what is believed of it. That nothing is marked that is not in the spool is checked by the
 * server of the fixture at each DELE.
 */
#include "drop_fixture.h"
#include "mailfs/util/quirk.h"

#include <errno.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mailfs/util/clock.h"

static void set_after(struct fixture *f, unsigned days)
{
	f->params.after = SYNC_AFTER_DELETE;
	f->params.after_days = days;
}

static int count_deleted(void *arg, const struct store_spool *record)
{
	size_t *count = arg;
	*count += record->deleted_s != 0;
	return 0;
}

/* How many messages the server is believed to have deleted. */
static size_t believed(struct fixture *f)
{
	size_t count = 0;
	uint32_t folder;
	(void)spool_count(f);
	assert_int_equal(store_number(f->store, "alice@test", STORE_NUMBER_FOLDER, DROP_MAILBOX,
				 DROP_UIDVALIDITY, &folder),
		0);
	assert_int_equal(store_spool_load(f->store, folder, count_deleted, &count), 0);
	fixture_end(f);
	return count;
}

static void test_delete(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 300);
	set_after(f, 0);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 300);
	assert_int_equal(believed(f), 300);
	spool_check(f, true);
	fixture_end(f);
	letters_add(f, 400, 2);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 302);
	assert_int_equal(server_counts(&f->server).deles, 302);
	assert_int_equal(server_counts(&f->server).retrs, 302);
	spool_check(f, true);
	assert_int_equal(f->warning_count, 0);
}

/* What was downloaded in an earlier look is deleted as well, once that is wanted. */
static void test_delete_later(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 5);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).deles, 0);
	set_after(f, 0);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 5);
	assert_int_equal(server_counts(&f->server).retrs, 5);
	assert_int_equal(believed(f), 5);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 5);
	f->server.letters[1].kept = true;
	f->server.letters[2].refused = true;
	set_after(f, 0);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 3);
	assert_int_equal(believed(f), 3);
	assert_true(warned(f,
		"could be deleted on the server, which is tried again at the next look: -ERR no"));
	f->server.letters[1].kept = false;
	f->server.letters[2].refused = false;
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 5);
	assert_int_equal(believed(f), 5);
	spool_check(f, true);
}

/* A message of another size than the listed one may have been cut, or be another one: however many of them there are. */
static void test_sizes(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 10);
	f->server.letters[3].listed = f->server.letters[3].len + 7;
	set_after(f, 0);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 9);
	assert_false(f->server.letters[3].gone);
	assert_true(warned(
		f, "1 stay there, because what came has not the size that the server lists"));
	assert_int_equal(fixture_look(f), 0);
	assert_false(f->server.letters[3].gone);
	fixture_end(f);
	letters_add(f, 100, 10);
	for (size_t i = 10; i < 20; i++)
		f->server.letters[i].listed = f->server.letters[i].len + (i % 2 ? 1 : -1);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 9);
	assert_true(warned(f, "11 stay there"));
	spool_check(f, true);
}

/* LF counted for CRLF: to the byte, and no less. Also when they came in an earlier look. */
static void test_sizes_by_lines(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 10);
	for (size_t i = 0; i < 10; i++)
		f->server.letters[i].listed =
			f->server.letters[i].len - letter_lines(&f->server.letters[i]);
	f->server.letters[5].listed += 2;
	f->server.letters[6].listed -= 2;
	set_after(f, 1);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 0);
	set_after(f, 0);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 8);
	assert_false(f->server.letters[5].gone);
	assert_false(f->server.letters[6].gone);
	assert_int_equal(server_counts(&f->server).retrs, 10);
	letters_add(f, 20, 1);
	f->server.letters[10].listed =
		f->server.letters[10].len - letter_lines(&f->server.letters[10]);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 9);
}

/* Many that fit another's size, as answers do that are one behind the questions. */
static void test_sizes_of_others(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 10);
	for (size_t i = 0; i < 10; i++)
		f->server.letters[i].listed = f->server.letters[(i + 1) % 10].len;
	set_after(f, 0);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 0);
	assert_true(warned(f, "10 stay there"));
}

static void test_cut_remove(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 5);
	set_after(f, 0);
	f->server.cut_remove = true;
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).quits, 0);
	assert_int_equal(letters_gone(f), 0);
	assert_int_equal(believed(f), 0);
	assert_int_equal(f->warning_count, 1);
	f->server.cut_remove = false;
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 5);
	assert_int_equal(server_counts(&f->server).retrs, 5);
}

/* QUIT was sent, and nobody knows what came of it. */
static void cut_quit(struct fixture *f, bool deletes)
{
	letters_add(f, 1, 5);
	set_after(f, 0);
	f->server.cut_quit = true;
	f->server.cut_quit_deletes = deletes;
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), deletes ? 5 : 0);
	assert_int_equal(believed(f), 0);
	assert_int_equal(f->warning_count, 1);
	f->server.cut_quit = false;
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 5);
	assert_int_equal(believed(f), deletes ? 0 : 5);
	assert_int_equal(server_counts(&f->server).retrs, 5);
	spool_check(f, true);
}

static void test_cut_quit(void **state)
{
	cut_quit(*state, false);
}

static void test_cut_quit_deletes(void **state)
{
	cut_quit(*state, true);
}

/* A server that has said that it deletes, and lists them again: they are the same, and are not stored twice. */
static void test_listed_again(void **state)
{
	struct fixture *f = *state;
	quirk_forget();
	letters_add(f, 1, 5);
	set_after(f, 0);
	assert_int_equal(fixture_look(f), 0);
	for (size_t i = 0; i < 5; i++)
		f->server.letters[i].gone = false;
	assert_int_equal(quirk_count(QUIRK_POP3_UNDELETED), 0);
	/* One is another now. */
	f->server.letters[4].content = 77;
	f->params.after = SYNC_AFTER_KEEP;
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(believed(f), 1);
	assert_int_equal(quirk_count(QUIRK_POP3_UNDELETED), 1);
	assert_int_equal(spool_count(f), 6);
	fixture_end(f);
	set_after(f, 0);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 5);
	assert_int_equal(spool_count(f), 6);
}

/* And once more: their headers are known by now, which is no leave to delete them by their unique-ids again. */
static void test_listed_again_top(void **state)
{
	struct fixture *f = *state;
	f->server.abilities.top = true;
	test_listed_again(state);
	fixture_end(f);
	for (size_t i = 0; i < 4; i++)
		f->server.letters[i].gone = false;
	f->params.after = SYNC_AFTER_KEEP;
	server_reset_counts(&f->server);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).retrs, 0);
	assert_int_equal(believed(f), 6);
	set_after(f, 0);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).retrs, 4);
	assert_int_equal(letters_gone(f), 5);
	assert_int_equal(spool_count(f), 6);
}

/* All messages were stored so long ago. */
static void set_stored(struct fixture *f, int64_t ago_s)
{
	char path[128], sql[128];
	sqlite3 *handle;
	snprintf(path, sizeof(path), "%s/store.db", f->directory);
	snprintf(sql, sizeof(sql), "UPDATE spool SET stored_s = %lld",
		(long long)(clock_wall_s() - ago_s));
	assert_int_equal(sqlite3_open(path, &handle), SQLITE_OK);
	assert_int_equal(sqlite3_exec(handle, sql, NULL, NULL, NULL), SQLITE_OK);
	sqlite3_close(handle);
}

static void test_days(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 5);
	set_after(f, 3);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).deles, 0);
	set_stored(f, 3 * 86400 - 600);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).deles, 0);
	/* The clock went back. */
	set_stored(f, -400 * 86400);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).deles, 0);
	set_stored(f, 3 * 86400 + 5);
	letters_add(f, 10, 1);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 5);
	assert_int_equal(server_counts(&f->server).retrs, 6);
}

/* A file that is not what was downloaded: it stays on the server, is fetched again, and then goes. */
static void test_damaged(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 5);
	assert_int_equal(fixture_look(f), 0);
	spool_damage(f, 3);
	fixture_end(f);
	set_after(f, 0);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 4);
	assert_false(f->server.letters[2].gone);
	assert_int_equal(spool_state(f).missing, 1);
	fixture_end(f);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 5);
	assert_int_equal(server_counts(&f->server).retrs, 6);
	spool_check(f, true);
}

/* Fetched because only its content tells what it is: its damaged file is replaced by that, at once. */
static void test_damaged_hash(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 5);
	f->server.abilities.uidl = f->server.abilities.top = false;
	f->params.uidl_hash = true;
	assert_int_equal(fixture_look(f), 0);
	spool_damage(f, 3);
	fixture_end(f);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).retrs, 10);
	assert_int_equal(spool_state(f).missing, 0);
	spool_check(f, false);
	/* The store says that it was. */
	assert_int_equal(f->warning_count, 1);
}

static void test_doubtful(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 5);
	set_after(f, 0);
	f->server.doubtful = true;
	assert_int_equal(fixture_look(f), 0);
	spool_check(f, false);
	assert_int_equal(server_counts(&f->server).deles, 0);
	assert_true(warned(f, "contradict"));
}

/* Known by content: only what was fetched and compared in this session. */
static void hash_mode(struct fixture *f, bool top)
{
	letters_add(f, 1, 5);
	f->server.abilities.uidl = false;
	f->server.abilities.top = top;
	f->params.uidl_hash = true;
	assert_int_equal(fixture_look(f), 0);
	set_after(f, 3);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).retrs, top ? 5 : 10);
	assert_int_equal(server_counts(&f->server).deles, 0);
	set_stored(f, 4 * 86400);
	server_reset_counts(&f->server);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(server_counts(&f->server).retrs, 5);
	assert_int_equal(letters_gone(f), 5);
	spool_check(f, true);
}

static void test_hash(void **state)
{
	hash_mode(*state, false);
}

static void test_hash_top(void **state)
{
	hash_mode(*state, true);
}

/* --- A full disk --- */

static void limit_files(rlim_t bytes)
{
	struct rlimit limit;
	signal(SIGXFSZ, SIG_IGN);
	getrlimit(RLIMIT_FSIZE, &limit);
	limit.rlim_cur = bytes;
	setrlimit(RLIMIT_FSIZE, &limit);
}

#define check(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "# line %d: %s: %s\n", __LINE__, #condition,               \
				f->error.text);                                                    \
			_exit(1);                                                                  \
		}                                                                                  \
	} while (0)

/* In a child: the limit stays. */
static void look_at_full_disk(struct fixture *f)
{
	limit_files(1 << 20);
	check(fixture_start(f) < 0);
	check(strstr(f->error.text, "can not be stored: No space left on device"));
	check(f->server.counts.deles == 0);
	check(f->server.counts.connects == 1);
	check(f->server.counts.quits == 0);
	fixture_end(f);
	/* Now something is here from before: it is shown, with a warning. */
	check(fixture_start(f) == 0);
	check(warned(f, "can not be stored"));
	check(f->server.counts.deles == 0);
	_exit(0);
}

static void test_no_space(void **state)
{
	struct fixture *f = *state;
	letters_add(f, 1, 5);
	letter_add(f, "large", 90, 3 << 20);
	letters_add(f, 10, 5);
	set_after(f, 0);
	/* A group of its own for the first ones. */
	f->server.delay_us = 2000;
	fflush(NULL);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		look_at_full_disk(f);
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	f->server.delay_us = 0;
	assert_int_equal(letters_gone(f), 0);
	assert_int_equal(fixture_look(f), 0);
	assert_int_equal(letters_gone(f), 11);
	spool_check(f, true);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_delete),
		TEST(test_delete_later),
		TEST(test_refused),
		TEST(test_sizes),
		TEST(test_sizes_by_lines),
		TEST(test_sizes_of_others),
		TEST(test_cut_remove),
		TEST(test_cut_quit),
		TEST(test_cut_quit_deletes),
		TEST(test_listed_again),
		TEST(test_listed_again_top),
		TEST(test_days),
		TEST(test_damaged),
		TEST(test_damaged_hash),
		TEST(test_doubtful),
		TEST(test_hash),
		TEST(test_hash_top),
		TEST(test_no_space),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
