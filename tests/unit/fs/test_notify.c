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

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/log.h"
#include "oom.h"
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

static atomic_int answer;   /* of the herald */
static atomic_int takes_ms; /* it, to give that */
static int64_t idle_ms;     /* the shortest time that it was left alone */
static int64_t ended_ms;    /* 0: not yet */

/* In the notifier's thread, as what it sets. */
static void take_time(void)
{
	int64_t now_ms = clock_now_ms();
	if (ended_ms && now_ms - ended_ms < idle_ms)
		idle_ms = now_ms - ended_ms;
	usleep((useconds_t)atomic_load(&takes_ms) * 1000);
	ended_ms = clock_now_ms();
}

int herald_announce(struct fs_herald *h, const struct herald_event *event)
{
	static const char kinds[] = {'+', '!', 'M', 'R'};
	assert_ptr_equal(h, herald);
	int r = atomic_load(&answer);
	take_time();
	if (atomic_fetch_add(&announced, 1) < 10)
		tell(kinds[event->kind], event->parent, event->name);
	return r;
}

/* --- */

static struct notify notify;

static void event(struct notify *to, enum herald_kind kind, uint64_t parent, const char *name)
{
	notify_event(to, &(struct herald_event){kind, parent, 100 + parent, name});
}

static void appeared(uint64_t parent, const char *name)
{
	event(&notify, HERALD_FILE_NEW, parent, name);
}

static void disappeared(uint64_t parent, const char *name)
{
	event(&notify, HERALD_FILE_GONE, parent, name);
}

static int set_up(void **state)
{
	(void)state;
	there = ready = true;
	held = false;
	announced = 0;
	answer = takes_ms = 0;
	ended_ms = 0;
	idle_ms = INT64_MAX;
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
	appeared(1, "a");
	appeared(2, "b");
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
	appeared(1, "a");
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
			appeared(1, "x");
		ready = true;
		expect_announced((size_t)round * NOTIFY_NAMES_MAX);
	}
	appeared(1, "y");
	expect_announced(2 * NOTIFY_NAMES_MAX + 1);
}

/* While it makes a name nobody can unmount: it leaves twice as long where it takes long, also of the last few. */
static void pauses_as_it_takes(void **state)
{
	(void)state;
	takes_ms = 5;
	for (int i = 0; i < 4; i++)
		appeared(1, (char[]){(char)('a' + i), 0});
	expect_told("+1a +1b +1c +1d ");
	notify_finish(&notify);
	assert_in_range(idle_ms, 10, INT64_MAX);
	assert_int_equal(notify_init(&notify, NULL, herald), 0);
}

static void a_herald_that_is_gone(void **state)
{
	(void)state;
	ready = false;
	appeared(1, "a");
	there = false;
	appeared(1, "b");
	notify_entry(&notify, 1, "z");
	expect_told("-1z ");
	usleep(50000);
	there = ready = true;
	appeared(1, "c"); /* what waited was dropped */
	expect_told("-1z +1c ");
}

static void quiet_is_quiet(void **state)
{
	(void)state;
	ready = false;
	appeared(1, "a");
	notify_quiesce(&notify, 0);
	ready = true;
	appeared(1, "b");
	notify_entry(&notify, 1, "z");
	expect_announced(0);
	expect_told("");
}

static void without_a_herald(void **state)
{
	struct notify none;
	(void)state;
	assert_int_equal(notify_init(&none, NULL, NULL), 0);
	event(&none, HERALD_FILE_NEW, 1, "a");
	notify_entry(&none, 1, "z");
	expect_told("-1z ");
	notify_finish(&none);
}

/* The herald would wait for the directory's lock, and everybody else behind it. */
static void waits_while_a_lookup_does(void **state)
{
	(void)state;
	notify_hold(&notify, 1, 1);
	notify_hold(&notify, 1, 1);
	appeared(1, "new");
	notify_inode(&notify, 7);
	expect_told("/7 ");
	notify_hold(&notify, 1, -1);
	usleep(50000);
	expect_told("/7 ");
	notify_hold(&notify, 1, -1);
	expect_told("/7 +1new ");
}

/* While a maildrop downloads, a lookup may begin to wait at any moment. */
static void waits_for_a_download(void **state)
{
	(void)state;
	expecting = true;
	notify.account = (struct sync_account *)&expecting;
	appeared(1, "new");
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
	appeared(1, "a");
	appeared(1, "b");
	usleep(20000);
	int64_t since = clock_now_ms();
	assert_false(notify_hold(&notify, 1, 1));
	notify_hold(&notify, 1, -1);
	held = false;
	expect_told("+1a +1b ");
	assert_true(clock_now_ms() - since >= 40);
	assert_true(notify_hold(&notify, 1, 1));
	notify_hold(&notify, 1, -1);
}

/* Another directory's lock is nobody's business, that of the folder that goes is. */
static void only_those_in_the_way_wait(void **state)
{
	(void)state;
	notify_hold(&notify, 2, 1);
	appeared(1, "a");
	expect_told("+1a ");
	notify_hold(&notify, 103, 1); /* the node of what goes */
	event(&notify, HERALD_DIRECTORY_GONE, 3, "d");
	usleep(50000);
	expect_told("+1a ");
	notify_hold(&notify, 103, -1);
	expect_told("+1a R3d ");
	notify_hold(&notify, 2, -1);
	held = true;
	event(&notify, HERALD_DIRECTORY_GONE, 3, "e");
	usleep(20000);
	assert_true(notify_hold(&notify, 2, 1));
	assert_false(notify_hold(&notify, 103, 1));
	assert_false(notify_hold(&notify, 3, 1));
	notify_named(&notify);
	assert_true(notify_hold(&notify, 3, 1));
}

static void in_their_order(void **state)
{
	(void)state;
	ready = false;
	event(&notify, HERALD_DIRECTORY_NEW, 1, "d");
	disappeared(1, "a");
	appeared(2, "b");
	event(&notify, HERALD_DIRECTORY_GONE, 2, "e");
	notify_entry(&notify, 1, "a");
	expect_told("-1a ");
	ready = true;
	expect_told("-1a M1d !1a +2b R2e ");
}

/* What takes each other back is not told; what only looks like it is. */
static void pairs_are_dropped(void **state)
{
	(void)state;
	ready = false;
	appeared(1, "a");
	disappeared(1, "b");
	event(&notify, HERALD_DIRECTORY_NEW, 1, "c");
	appeared(2, "x");
	disappeared(1, "a"); /* came and went */
	appeared(1, "b");    /* went and came */
	disappeared(1, "c"); /* another kind */
	disappeared(3, "x"); /* another directory */
	event(&notify, HERALD_DIRECTORY_GONE, 1, "c");
	disappeared(1, "b"); /* and went again */
	ready = true;
	expect_told("+2x !1c !3x !1b ");
	assert_int_equal(notify.name_count, 0);
	assert_int_equal(notify.gone_count, 0);
}

/* The first was on its way when it stopped being true: its opposite is dropped, whether it waits already or comes later. */
static void what_was_not_told_is_not_taken_back(void **state)
{
	(void)state;
	answer = -ENOENT;
	held = true;
	appeared(1, "a");
	usleep(20000);
	disappeared(1, "a");
	held = false;
	expect_told("+1a ");
	appeared(1, "b");
	expect_told("+1a +1b ");
	usleep(20000);
	answer = 0;
	disappeared(1, "b");
	disappeared(1, "c");
	expect_told("+1a +1b !1c ");
	appeared(1, "b"); /* that was once only */
	expect_told("+1a +1b !1c +1b ");
}

/* What there is no memory for is not told, and nothing else for it. */
static void without_memory(void **state)
{
	(void)state;
	oom_arm(1, true);
	notify_entry(&notify, 1, "lost");
	appeared(1, "lost");
	disappeared(1, "lost, too");
	assert_true(oom_disarm());
	notify_entry(&notify, 1, "z");
	appeared(1, "lost");
	disappeared(1, "a");
	expect_told("-1z +1lost !1a ");
	assert_int_equal(notify.name_count, 0);
	assert_int_equal(notify.gone_count, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(forgets_first, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_those_in_the_way_wait, set_up, tear_down),
		cmocka_unit_test_setup_teardown(in_their_order, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pairs_are_dropped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(
			what_was_not_told_is_not_taken_back, set_up, tear_down),
		cmocka_unit_test_setup_teardown(waits_for_a_late_herald, set_up, tear_down),
		cmocka_unit_test_setup_teardown(waits_while_a_lookup_does, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_lookup_meets_the_herald, set_up, tear_down),
		cmocka_unit_test_setup_teardown(waits_for_a_download, set_up, tear_down),
		cmocka_unit_test_setup_teardown(drops_a_flood, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pauses_as_it_takes, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_herald_that_is_gone, set_up, tear_down),
		cmocka_unit_test_setup_teardown(quiet_is_quiet, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_a_herald, set_up, tear_down),
		cmocka_unit_test_setup_teardown(without_memory, set_up, tear_down),
	};
	log_set_level(LOG_LEVEL_ERROR);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
