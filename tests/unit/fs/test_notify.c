/* SPDX-License-Identifier: MIT */
/*
 * In what order the kernel is told, and what becomes of names when the herald is late, gone, or
 * flooded.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/log.h"
#include "private.h"

/* --- The kernel and the herald: what each was told, in order --- */

static struct fs_herald *const herald = (struct fs_herald *)&herald;
static atomic_bool there, ready, held;
static atomic_size_t announced;
static pthread_mutex_t told_lock = PTHREAD_MUTEX_INITIALIZER;
static char told[1000];

static void tell(char kind, uint64_t inode, const char *name)
{
	while (atomic_load(&held))
		usleep(1000);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&told_lock);
	size_t len = strlen(told);
	snprintf(told + len, sizeof(told) - len, "%c%d%s ", kind, (int)inode, name);
}

int fuse_lowlevel_notify_inval_entry(
	struct fuse_session *session, fuse_ino_t parent, const char *name, size_t len)
{
	(void)session;
	assert_int_equal(len, strlen(name));
	tell('-', parent, name);
	return 0;
}

int fuse_lowlevel_notify_inval_inode(
	struct fuse_session *session, fuse_ino_t inode, off_t offset, off_t len)
{
	(void)session;
	(void)len;
	tell(offset < 0 ? '#' : '/', inode, "");
	return 0;
}

static atomic_bool expecting;

bool sync_account_is_expecting(struct sync_account *account)
{
	(void)account;
	return atomic_load(&expecting);
}

bool herald_is_there(struct fs_herald *h)
{
	return h && atomic_load(&there);
}

bool herald_is_late(struct fs_herald *h)
{
	return herald_is_there(h) && !atomic_load(&ready);
}

bool herald_ready(struct fs_herald *h)
{
	return herald_is_there(h) && atomic_load(&ready);
}

void herald_announce(struct fs_herald *h, uint64_t parent, const char *name)
{
	assert_ptr_equal(h, herald);
	if (atomic_fetch_add(&announced, 1) < 10)
		tell('+', parent, name);
}

/* --- */

static struct notify notify;

static int set_up(void **state)
{
	(void)state;
	there = ready = true;
	held = false;
	announced = 0;
	told[0] = 0;
	return notify_init(&notify, NULL, herald);
}

static int tear_down(void **state)
{
	(void)state;
	held = false;
	notify_finish(&notify);
	return 0;
}

static void expect_told(const char *want)
{
	int64_t until = clock_now_ms() + 5000;
	for (;;) {
		pthread_mutex_lock(&told_lock);
		bool same = strcmp(told, want) == 0;
		if (!same && clock_now_ms() > until)
			assert_string_equal(told, want);
		pthread_mutex_unlock(&told_lock);
		if (same)
			return;
		usleep(1000);
	}
}

static void expect_announced(size_t want)
{
	int64_t until = clock_now_ms() + 5000;
	while (atomic_load(&announced) < want && clock_now_ms() < until)
		usleep(1000);
	usleep(20000);
	assert_int_equal(atomic_load(&announced), want);
}

static void forgets_first(void **state)
{
	(void)state;
	held = true;
	notify_inode(&notify, 1); /* the thread is busy with it */
	usleep(20000);
	notify_appeared(&notify, 1, "a");
	notify_appeared(&notify, 2, "b");
	notify_inode(&notify, 1);
	notify_entry(&notify, 1, "z");
	held = false;
	expect_told("/1 /1 -1z +1a +2b ");
}

/* It answers at some time, without anything else happening. */
static void waits_for_a_late_herald(void **state)
{
	(void)state;
	ready = false;
	notify_appeared(&notify, 1, "a");
	notify_entry(&notify, 1, "z");
	expect_told("-1z ");
	ready = true;
	expect_told("-1z +1a ");
}

static void drops_a_flood(void **state)
{
	(void)state;
	notify.pace_ms = 0;
	for (int round = 1; round <= 2; round++) {
		ready = false;
		for (int i = 0; i < NOTIFY_NAMES_MAX + 1000; i++)
			notify_appeared(&notify, 1, "x");
		ready = true;
		expect_announced((size_t)round * NOTIFY_NAMES_MAX);
	}
	notify_appeared(&notify, 1, "y");
	expect_announced(2 * NOTIFY_NAMES_MAX + 1);
}

static void a_herald_that_is_gone(void **state)
{
	(void)state;
	ready = false;
	notify_appeared(&notify, 1, "a");
	there = false;
	notify_appeared(&notify, 1, "b");
	notify_entry(&notify, 1, "z");
	expect_told("-1z ");
	usleep(50000);
	there = ready = true;
	notify_appeared(&notify, 1, "c"); /* what waited was dropped */
	expect_told("-1z +1c ");
}

static void quiet_is_quiet(void **state)
{
	(void)state;
	ready = false;
	notify_appeared(&notify, 1, "a");
	notify_quiesce(&notify, 0);
	ready = true;
	notify_appeared(&notify, 1, "b");
	notify_entry(&notify, 1, "z");
	expect_announced(0);
	expect_told("");
}

static void without_a_herald(void **state)
{
	struct notify none;
	(void)state;
	assert_int_equal(notify_init(&none, NULL, NULL), 0);
	notify_appeared(&none, 1, "a");
	notify_entry(&none, 1, "z");
	expect_told("-1z ");
	notify_finish(&none);
}

/* The herald would wait for the directory's lock, and everybody else behind it. */
static void waits_while_a_lookup_does(void **state)
{
	(void)state;
	notify_hold(&notify, 1);
	notify_hold(&notify, 1);
	notify_appeared(&notify, 1, "new");
	notify_inode(&notify, 7);
	expect_told("/7 ");
	notify_hold(&notify, -1);
	usleep(50000);
	expect_told("/7 ");
	notify_hold(&notify, -1);
	expect_told("/7 +1new ");
}

/* While a maildrop downloads, a lookup may begin to wait at any moment. */
static void waits_for_a_download(void **state)
{
	(void)state;
	expecting = true;
	notify.account = (struct sync_account *)&expecting;
	notify_appeared(&notify, 1, "new");
	notify_inode(&notify, 7);
	expect_told("/7 ");
	usleep(150000);
	expect_told("/7 ");
	expecting = false;
	expect_told("/7 +1new ");
}

/* A lookup that comes while a name is being made lets go, and is expected again before the next name. */
static void a_lookup_meets_the_herald(void **state)
{
	(void)state;
	held = true;
	notify_appeared(&notify, 1, "a");
	notify_appeared(&notify, 1, "b");
	usleep(20000);
	int64_t since = clock_now_ms();
	assert_false(notify_hold(&notify, 1));
	notify_hold(&notify, -1);
	held = false;
	expect_told("+1a +1b ");
	assert_true(clock_now_ms() - since >= 40);
	assert_true(notify_hold(&notify, 1));
	notify_hold(&notify, -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(forgets_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(waits_for_a_late_herald, set_up, tear_down),
		cmocka_unit_test_setup_teardown(waits_while_a_lookup_does, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_lookup_meets_the_herald, set_up, tear_down),
		cmocka_unit_test_setup_teardown(waits_for_a_download, set_up, tear_down),
		cmocka_unit_test_setup_teardown(drops_a_flood, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_herald_that_is_gone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(quiet_is_quiet, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_a_herald, set_up, tear_down),
	};
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
