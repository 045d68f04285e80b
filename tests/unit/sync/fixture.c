/* SPDX-License-Identifier: MIT */
/* The account under test, and the tree that listens. */
#include "fixture.h"
#include "../scratch.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* --- The tree --- */

static struct told *told_of(void *arg, struct sync_folder *folder)
{
	struct fixture *f = arg;
	return strcmp(sync_folder_mailbox(folder)->name, f->fake.mailboxes[0].name) == 0 ? f->told
	                                                                                 : NULL;
}

static void on_reset(void *arg, struct sync_folder *folder, uint32_t number)
{
	struct told *told = told_of(arg, folder);
	if (!told)
		return;
	pthread_mutex_lock(&told->lock);
	told->resets++;
	told->number = number;
	told->count = 0;
	pthread_mutex_unlock(&told->lock);
}

static size_t told_find(struct told *told, uint32_t uid)
{
	for (size_t i = told->count; i > 0; i--)
		if (told->messages[i - 1].uid == uid)
			return i - 1;
	return told->count;
}

static void on_rows(
	void *arg, struct sync_folder *folder, const struct source_row *rows, size_t count)
{
	struct told *told = told_of(arg, folder);
	if (!told)
		return;
	pthread_mutex_lock(&told->lock);
	told->batches++;
	for (size_t i = 0; i < count; i++) {
		bool ascending =
			told->count == 0 || told->messages[told->count - 1].uid < rows[i].uid;
		size_t at = ascending ? told->count : told_find(told, rows[i].uid);
		told->order_breaks += !ascending;
		if (at == told->count) {
			memset(&told->messages[at], 0, sizeof(told->messages[at]));
			told->count++;
		}
		told->messages[at].uid = rows[i].uid;
		told->messages[at].have = rows[i].have;
		told->messages[at].gone = false;
		told->messages[at].times++;
	}
	pthread_mutex_unlock(&told->lock);
}

static void on_gone(void *arg, struct sync_folder *folder, const uint32_t *uids, size_t count)
{
	struct told *told = told_of(arg, folder);
	if (!told)
		return;
	pthread_mutex_lock(&told->lock);
	for (size_t i = 0; i < count; i++) {
		size_t at = told_find(told, uids[i]);
		if (at < told->count)
			told->messages[at].gone = true;
	}
	pthread_mutex_unlock(&told->lock);
}

static void on_size(void *arg, struct sync_folder *folder, uint32_t uid, uint64_t size)
{
	struct told *told = told_of(arg, folder);
	(void)uid;
	if (!told)
		return;
	pthread_mutex_lock(&told->lock);
	told->sizes++;
	told->size = size;
	pthread_mutex_unlock(&told->lock);
}

static void on_section_size(
	void *arg, struct sync_folder *folder, uint32_t uid, const char *section, uint64_t size)
{
	struct told *told = told_of(arg, folder);
	(void)uid;
	if (!told)
		return;
	pthread_mutex_lock(&told->lock);
	told->section_sizes++;
	told->section_size = size;
	snprintf(told->section, sizeof(told->section), "%s", section);
	pthread_mutex_unlock(&told->lock);
}

static void on_refuted(void *arg, struct sync_folder *folder, uint32_t uid, const char *section)
{
	struct told *told = told_of(arg, folder);
	(void)uid, (void)section;
	if (!told)
		return;
	pthread_mutex_lock(&told->lock);
	told->refuted++;
	pthread_mutex_unlock(&told->lock);
}

static void on_changed(void *arg, struct sync_folder *folder, int64_t changed_s)
{
	struct told *told = told_of(arg, folder);
	if (!told)
		return;
	pthread_mutex_lock(&told->lock);
	told->changes++;
	told->changed_s = changed_s;
	pthread_mutex_unlock(&told->lock);
}

size_t told_shown(struct told *told)
{
	size_t shown = 0;
	pthread_mutex_lock(&told->lock);
	for (size_t i = 0; i < told->count; i++)
		shown += !told->messages[i].gone;
	pthread_mutex_unlock(&told->lock);
	return shown;
}

bool told_has(struct told *told, uint32_t uid, unsigned *ret_have)
{
	pthread_mutex_lock(&told->lock);
	size_t at = told_find(told, uid);
	bool has = at < told->count && !told->messages[at].gone;
	if (has && ret_have)
		*ret_have = told->messages[at].have;
	pthread_mutex_unlock(&told->lock);
	return has;
}

/* --- The account --- */

static void told_reset(struct told *told)
{
	pthread_mutex_destroy(&told->lock);
	memset(told, 0, sizeof(*told));
	pthread_mutex_init(&told->lock, NULL);
}

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	f->told = calloc(1, sizeof(*f->told));
	pthread_mutex_init(&f->told->lock, NULL);
	assert_non_null(scratch_make(f->directory, sizeof(f->directory), "sync"));
	fake_init(&f->fake);
	f->params = (struct sync_params){.source = &f->fake.base,
		.account = "alice@test:993",
		.readonly = true,
		.connections = 4,
		.timeout_ms = 5000,
		.refresh_ms = 0};
	*state = f;
	return 0;
}

struct sync_events fixture_events(struct fixture *f)
{
	return (struct sync_events){.arg = f,
		.reset = on_reset,
		.rows = on_rows,
		.gone = on_gone,
		.size = on_size,
		.section_size = on_section_size,
		.refuted = on_refuted,
		.changed = on_changed,
		.added = f->more.added,
		.removed = f->more.removed,
		.attributes = f->more.attributes,
		.link = f->more.link};
}

void fixture_start(struct fixture *f)
{
	struct source_error error;
	struct str why = STR_INIT;
	struct sync_events events = fixture_events(f);
	if (!f->store)
		assert_int_equal(store_open(f->directory, STORE_CACHE, &f->store, &why), 0);
	str_finish(&why);
	f->params.store = f->store;
	assert_int_equal(sync_account_create(&f->params, &f->account), 0);
	sync_account_set_events(f->account, &events);
	if (f->prepare)
		f->prepare(f);
	int err = sync_account_start(f->account, &error);
	if (err < 0)
		fail_msg("start: %s", error.text);
}

void fixture_end(struct fixture *f)
{
	sync_account_destroy(f->account);
	f->account = NULL;
	store_close(f->store);
	f->store = NULL;
	told_reset(f->told);
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

enum { PATTERNS = 64 };
static char *patterns[PATTERNS];

static void patterns_free(void)
{
	for (size_t i = 0; i < PATTERNS; i++) {
		free(patterns[i]);
		patterns[i] = NULL;
	}
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	fixture_end(f);
	struct fake_counts counts = fake_counts(&f->fake);
	nftw(f->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	fake_finish(&f->fake);
	patterns_free();
	pthread_mutex_destroy(&f->told->lock);
	free(f->told);
	free(f);
	/* Every session ended once, and none was used as a session must not be. */
	return counts.misuse == 0 && counts.disconnects <= counts.connects ? 0 : -1;
}

struct sync_folder *fixture_folder(struct fixture *f, const char *name)
{
	for (size_t i = 0; i < sync_account_folder_count(f->account); i++) {
		struct sync_folder *folder = sync_account_folder(f->account, i);
		if (strcmp(sync_folder_mailbox(folder)->name, name) == 0)
			return folder;
	}
	fail_msg("no folder %s", name);
	return NULL;
}

/* --- Those who wait --- */

static void on_wake(struct sync_waiter *waiter, ssize_t result)
{
	struct reader *reader = (struct reader *)waiter;
	pthread_mutex_lock(&reader->lock);
	reader->wakes++;
	reader->result = result;
	pthread_cond_signal(&reader->woken);
	pthread_mutex_unlock(&reader->lock);
}

void reader_init(struct reader *reader, int timeout_ms)
{
	*reader = (struct reader){
		.waiter = {.wake = on_wake, .deadline_ms = clock_now_ms() + timeout_ms}};
	pthread_mutex_init(&reader->lock, NULL);
	pthread_cond_init(&reader->woken, NULL);
}

ssize_t reader_wait(struct reader *reader)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 60;
	pthread_mutex_lock(&reader->lock);
	while (reader->wakes == 0 &&
		pthread_cond_timedwait(&reader->woken, &reader->lock, &until) == 0)
		;
	ssize_t result = reader->result;
	unsigned wakes = reader->wakes;
	pthread_mutex_unlock(&reader->lock);
	assert_int_equal(wakes, 1);
	return result;
}

unsigned reader_wakes(struct reader *reader)
{
	pthread_mutex_lock(&reader->lock);
	unsigned wakes = reader->wakes;
	pthread_mutex_unlock(&reader->lock);
	return wakes;
}

void reader_finish(struct reader *reader)
{
	pthread_cond_destroy(&reader->woken);
	pthread_mutex_destroy(&reader->lock);
}

static ssize_t settle(struct reader *reader, ssize_t result)
{
	if (result == -EINPROGRESS)
		result = reader_wait(reader);
	reader_finish(reader);
	return result;
}

int refresh(struct sync_folder *folder)
{
	struct reader reader;
	reader_init(&reader, 20000);
	return (int)settle(&reader, sync_folder_refresh(folder, &reader.waiter));
}

ssize_t body_read(struct sync_body *body, void *buf, size_t len, uint64_t offset)
{
	struct reader reader;
	reader_init(&reader, 20000);
	return settle(&reader, sync_body_read(body, buf, len, offset, &reader.waiter));
}

int body_size(struct sync_body *body, uint64_t *ret)
{
	struct reader reader;
	reader_init(&reader, 20000);
	ssize_t err = sync_body_size(body, ret, &reader.waiter);
	bool waited = err == -EINPROGRESS;
	err = settle(&reader, err);
	if (!waited || err < 0)
		return (int)err;
	/* Asked again, it is known. */
	return sync_body_size(body, ret, &reader.waiter);
}

int structure(struct sync_folder *folder, uint32_t uid)
{
	struct reader reader;
	reader_init(&reader, 20000);
	return (int)settle(&reader, sync_structure(folder, uid, &reader.waiter));
}

void sleep_ms(int ms)
{
	struct timespec delay = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
	nanosleep(&delay, NULL);
}

char *pattern(size_t len)
{
	char *data = malloc(len + 1);
	size_t slot = 0;
	while (slot < PATTERNS && patterns[slot])
		slot++;
	assert_true(slot < PATTERNS);
	patterns[slot] = data;
	uint64_t x = 88172645463325252u;
	for (size_t i = 0; i < len; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		data[i] = (char)x;
	}
	return data;
}

struct sync_folder *fixture_inbox(struct fixture *f)
{
	struct sync_folder *folder = fixture_folder(f, "INBOX");
	assert_int_equal(refresh(folder), 0);
	return folder;
}

struct sync_folder *fixture_start_with(
	struct fixture *f, const char *data, size_t len, uint64_t announced)
{
	struct fake_mailbox *inbox = fake_mailbox_add(&f->fake, "INBOX", 77);
	fake_message_add(inbox, 5, data, len)->announced = announced;
	fixture_start(f);
	return fixture_inbox(f);
}

uint64_t fixture_bytes(struct fixture *f)
{
	return fake_counts(&f->fake).bytes;
}

void assert_fetched(struct fixture *f, uint64_t bytes, uint64_t spare)
{
	struct fake_counts counts = fake_counts(&f->fake);
	assert_in_range(counts.bytes, bytes, bytes + (uint64_t)counts.bodies * WITNESS + spare);
}

size_t body_read_all(struct sync_body *body, char *out, size_t cap)
{
	size_t pos = 0;
	ssize_t n;
	while (pos < cap &&
		(n = body_read(body, out + pos, cap - pos < 100000 ? cap - pos : 100000, pos)) > 0)
		pos += (size_t)n;
	return pos;
}
