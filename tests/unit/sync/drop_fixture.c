/* SPDX-License-Identifier: MIT */
/* The account under test, its spool, and what is logged. The server itself is in drop_server.c. */
#include "drop_fixture.h"
#include "../scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "drop_server.h"
#include "intake.h"
#include "mailfs/util/log.h"

static struct fixture *current;

void __wrap_log_line(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

/* Warnings are kept, not printed. */
void __wrap_log_line(enum log_level level, const char *format, ...)
{
	char line[1200];
	va_list args;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	if (level > LOG_LEVEL_WARNING || !current)
		return;
	pthread_mutex_lock(&current->lock);
	current->warning_count++;
	strncat(current->warnings, line, sizeof(current->warnings) - strlen(current->warnings) - 2);
	strcat(current->warnings, "\n");
	pthread_mutex_unlock(&current->lock);
}

bool __real_intake_pause(struct intake *intake, int64_t ms);
bool __wrap_intake_pause(struct intake *intake, int64_t ms);

/* What an intake waits for passes ten times as fast. */
bool __wrap_intake_pause(struct intake *intake, int64_t ms)
{
	return __real_intake_pause(intake, ms / 10);
}

unsigned warnings(struct fixture *f)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&f->lock);
	return f->warning_count;
}

bool warned(struct fixture *f, const char *words)
{
	pthread_mutex_lock(&f->lock);
	bool found = strstr(f->warnings, words);
	pthread_mutex_unlock(&f->lock);
	return found;
}

static void on_progress(void *arg, const struct sync_progress *progress)
{
	struct fixture *f = arg;
	pthread_mutex_lock(&f->lock);
	f->progress = *progress;
	f->progress_calls++;
	pthread_mutex_unlock(&f->lock);
}

/* --- The tree, as far as it matters here --- */

static void on_reset(void *arg, struct sync_folder *folder, uint32_t number)
{
	(void)arg;
	(void)folder;
	(void)number;
}

static void on_rows(
	void *arg, struct sync_folder *folder, const struct source_row *rows, size_t count)
{
	struct fixture *f = arg;
	(void)folder;
	(void)rows;
	pthread_mutex_lock(&f->lock);
	f->announced += (unsigned)count;
	pthread_mutex_unlock(&f->lock);
}

static void on_gone(void *arg, struct sync_folder *folder, const uint32_t *uids, size_t count)
{
	(void)arg;
	(void)folder;
	(void)uids;
	(void)count;
}

static void on_size(void *arg, struct sync_folder *folder, uint32_t uid, uint64_t size)
{
	(void)arg;
	(void)folder;
	(void)uid;
	(void)size;
}

static void on_section_size(
	void *arg, struct sync_folder *folder, uint32_t uid, const char *section, uint64_t size)
{
	(void)section;
	on_size(arg, folder, uid, size);
}

static void on_changed(void *arg, struct sync_folder *folder, int64_t changed_s)
{
	(void)arg;
	(void)folder;
	(void)changed_s;
}

/* --- The account --- */

int fixture_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	assert_non_null(f);
	assert_non_null(scratch_make(f->directory, sizeof(f->directory), "drop"));
	pthread_mutex_init(&f->lock, NULL);
	server_init(&f->server, f);
	f->params = (struct sync_drop_params){.maildrop = &f->server.base,
		.account = "alice@test",
		.timeout_ms = 5000,
		.progress = on_progress,
		.progress_arg = f};
	current = f;
	*state = f;
	return 0;
}

static void open_store(struct fixture *f)
{
	_cleanup_str_ struct str why = STR_INIT;
	if (!f->store && store_open(f->directory, STORE_SPOOL, &f->store, &why) < 0)
		fail_msg("%s", str_cstr(&why));
}

int fixture_start(struct fixture *f)
{
	struct sync_events events = {.arg = f,
		.reset = on_reset,
		.rows = on_rows,
		.gone = on_gone,
		.size = on_size,
		.section_size = on_section_size,
		.changed = on_changed};
	open_store(f);
	f->params.store = f->store;
	assert_int_equal(sync_account_create_drop(&f->params, &f->account), 0);
	int err = sync_account_start(f->account, &f->error);
	if (err == 0)
		sync_account_set_events(f->account, &events);
	return err;
}

void fixture_end(struct fixture *f)
{
	sync_account_destroy(f->account);
	f->account = NULL;
	store_close(f->store);
	f->store = NULL;
}

int fixture_look(struct fixture *f)
{
	int err = fixture_start(f);
	fixture_end(f);
	return err;
}

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int fixture_teardown(void **state)
{
	struct fixture *f = *state;
	fixture_end(f);
	current = NULL;
	struct server_counts counts = server_counts(&f->server);
	server_finish(&f->server);
	nftw(f->directory, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
	pthread_mutex_destroy(&f->lock);
	free(f);
	if (counts.misuse || counts.not_durable)
		printf("# misuse %u, not durable %u\n", counts.misuse, counts.not_durable);
	return counts.misuse || counts.not_durable ? -1 : 0;
}

/* --- The spool --- */

static uint32_t number_of(struct fixture *f)
{
	uint32_t number;
	open_store(f);
	assert_int_equal(store_number(f->store, "alice@test", STORE_NUMBER_FOLDER, DROP_MAILBOX,
				 DROP_UIDVALIDITY, &number),
		0);
	return number;
}

struct copy {
	struct store_spool record;
	bool sound; /* its bytes are here */
};

struct copies {
	struct copy *items;
	size_t count, cap;
};

static int copy_record(void *arg, const struct store_spool *record)
{
	struct copies *copies = arg;
	assert_int_equal(
		array_grow(&copies->items, &copies->cap, copies->count + 1, sizeof(*copies->items)),
		0);
	copies->items[copies->count] = (struct copy){.record = *record};
	copies->items[copies->count++].record.uidl = NULL;
	return 0;
}

/* The one place here that knows how the bytes of a message are found. */
static int open_record(struct fixture *f, uint32_t uid)
{
	uint64_t offset;
	int fd = store_spool_open(f->store, number_of(f), uid, &offset);
	if (fd >= 0)
		assert_true(lseek(fd, (off_t)offset, SEEK_SET) >= 0);
	return fd;
}

bool record_sound(struct fixture *f, const struct store_spool *record)
{
	unsigned char digest[MAILDROP_DIGEST_BYTES];
	_cleanup_close_ int fd = open_record(f, record->uid);
	return fd >= 0 && file_digest(fd, record->size_bytes, digest) &&
	       memcmp(digest, record->sha256, sizeof(digest)) == 0;
}

/* All records but the lost. */
static struct copies spool_load(struct fixture *f, bool read_files)
{
	struct copies copies = {0};
	uint32_t folder = number_of(f);
	assert_int_equal(store_spool_load(f->store, folder, copy_record, &copies), 0);
	size_t kept = 0;
	for (size_t i = 0; i < copies.count; i++) {
		struct copy copy = copies.items[i];
		if (copy.record.lost)
			continue;
		copy.sound = read_files && record_sound(f, &copy.record);
		copies.items[kept++] = copy;
	}
	copies.count = kept;
	return copies;
}

size_t spool_count(struct fixture *f)
{
	struct copies copies = spool_load(f, false);
	free(copies.items);
	return copies.count;
}

static int digest_order(const void *a, const void *b)
{
	return memcmp(a, b, MAILDROP_DIGEST_BYTES);
}

void spool_check(struct fixture *f, bool gone)
{
	struct copies copies = spool_load(f, true);
	unsigned char(*here)[MAILDROP_DIGEST_BYTES] = calloc(copies.count + 1, sizeof(*here));
	unsigned char(*there)[MAILDROP_DIGEST_BYTES] = calloc(*f->server.count + 1, sizeof(*there));
	size_t count = 0;
	for (size_t i = 0; i < *f->server.count; i++)
		if (gone || !f->server.letters[i].gone)
			content_digest(&f->server.letters[i], there[count++]);
	for (size_t i = 0; i < copies.count; i++) {
		assert_true(copies.items[i].sound);
		memcpy(here[i], copies.items[i].record.sha256, sizeof(here[i]));
	}
	assert_int_equal(copies.count, count);
	qsort(here, count, sizeof(*here), digest_order);
	qsort(there, count, sizeof(*there), digest_order);
	assert_memory_equal(here, there, count * sizeof(*here));
	free(here);
	free(there);
	free(copies.items);
}

bool record_find(struct fixture *f, unsigned content, struct store_spool *ret)
{
	struct copies copies = spool_load(f, false);
	unsigned char digest[MAILDROP_DIGEST_BYTES];
	bool found = false;
	for (size_t i = 0; i < *f->server.count && !found; i++) {
		if (f->server.letters[i].content != content)
			continue;
		content_digest(&f->server.letters[i], digest);
		for (size_t j = 0; j < copies.count && !found; j++) {
			found = memcmp(copies.items[j].record.sha256, digest, sizeof(digest)) == 0;
			*ret = copies.items[j].record;
		}
	}
	free(copies.items);
	return found;
}

struct store_spool_state spool_state(struct fixture *f)
{
	struct store_spool_state state;
	uint32_t folder = number_of(f);
	assert_int_equal(store_spool_state_get(f->store, folder, &state), 0);
	return state;
}

void spool_damage(struct fixture *f, unsigned content)
{
	struct store_spool record;
	char path[64];
	assert_true(record_find(f, content, &record));
	_cleanup_close_ int fd = open_record(f, record.uid);
	assert_true(fd >= 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	_cleanup_close_ int writable = open(path, O_WRONLY);
	assert_true(writable >= 0);
	assert_int_equal(pwrite(writable, "damaged", 7, lseek(fd, 0, SEEK_CUR)), 7);
}
