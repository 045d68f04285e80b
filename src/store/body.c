/* SPDX-License-Identifier: MIT */
/*
 * A body: the bytes of a message or a section as far as they are here. Its map of ranges is in memory while it is open, and
 * in the database behind that: a range is put into the map once its bytes are in the file, and recorded when the
 * body is whole, after every 8 MiB, and on closing. So the database never promises a byte that the file does not hold; if the
 * process is killed it knows of a little less. Should the machine lose power, the file may lack what the database
 * promises: what lies past its end is forgotten on opening; a hole before its end is not noticed until bodies have checksums.
 *
 * Where the map in memory shrinks, the database must not go on promising what was held before, or a later
 * hole in the file would be taken for it. So a shrinking is recorded at once, and if that fails the body is disowned: its file loses
 * its name (a recorded body without a file holds nothing), the handle goes on with the nameless one.
 *
 * Recording is done as well as it can be: when it fails, the bytes are still served while the body is open.
 *
 * In a spool there are two kinds only. A message that is recorded there (spooled) is whole and never written here; where
 * its file is missing or too short, or has other bytes than were written, the message is lost, which is an error and never a hole. Everything else has a
 * file without a name and is never recorded (disowned from the start), so that nothing here opens a message's file to write.
 */
#include "private.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

#include "body_check.h"
#include "mailfs/util/log.h"
#include "ranges.h"

#define RECORD_EVERY_BYTES (8 << 20)

struct store_body {
	struct store *store;
	uint64_t id;
	struct list_node node; /* in store->open; guarded by store->lock */
	bool disowned;         /* written with store->lock and io (exclusive), read with either */
	bool spooled;          /* never changes, as little as what is known of it */
	struct spool_known known; /* of a spooled message */
	struct body_check check;

	pthread_rwlock_t
		io; /* shared: a pread or pwrite runs; exclusive: to exchange or cut the file */
	int fd;     /* guarded by io; -1: not opened yet */

	pthread_mutex_t lock; /* guards what follows; never held across I/O */
	struct ranges held;
	uint64_t size;
	bool size_known;
	bool dirty; /* differs from what is recorded */
	uint64_t unrecorded_bytes;
	bool lost; /* spooled, and not to be had */

	char section[];
};

static struct list_node *bucket(struct store *store, uint64_t id)
{
	return &store->open[(id ^ id >> 32) % STORE_OPEN_BUCKETS];
}

static bool is_whole(const struct store_body *body)
{
	return body->size_known && ranges_held(&body->held, 0) == body->size;
}

/* Cuts the map; body->lock is held. */
static void cut(struct store_body *body, uint64_t size)
{
	if (ranges_end(&body->held) <= size)
		return;
	ranges_truncate(&body->held, size);
	body->dirty = true;
}

/* ---- recording ---- */

/* Takes what is to be recorded; true: the body has neither bytes nor a size, and needs no row. */
static bool snapshot(struct store_body *body, struct str *map, uint64_t *size, bool *size_known)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	ranges_serialize(&body->held, map);
	*size = body->size;
	*size_known = body->size_known;
	body->dirty = false;
	body->unrecorded_bytes = 0;
	return body->held.count == 0 && !body->size_known;
}

static int put_row(struct store_body *body)
{
	struct db *db = &body->store->db;
	_cleanup_str_ struct str map = STR_INIT;
	uint64_t size;
	bool size_known;
	bool empty = snapshot(body, &map, &size, &size_known);
	if (str_error(&map) < 0)
		return -ENOMEM;
	_cleanup_statement_ sqlite3_stmt *statement =
		db_statement(db, empty ? DB_BODY_REMOVE : DB_BODY_PUT);
	bind_id(statement, 1, body->id);
	db_bind_text(db, statement, 2, body->section);
	if (!empty && size_known)
		sqlite3_bind_int64(statement, 3, (sqlite3_int64)size);
	if (!empty)
		db_bind_blob(db, statement, 4, map.data, map.len);
	return db_run(db, statement);
}

/* Brings the row up to date with the map; store->lock is held, body->lock is not. */
static int record_locked(struct store_body *body)
{
	if (body->disowned)
		return 0;
	int rc = put_row(body);
	if (rc < 0) {
		_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
		body->dirty = true;
	}
	return rc;
}

static void record(struct store_body *body)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->store->lock);
	record_locked(body);
}

/* Whether it is time to record; body->lock is held. */
static bool due(const struct store_body *body)
{
	return body->dirty && (is_whole(body) || body->unrecorded_bytes >= RECORD_EVERY_BYTES);
}

/* ---- the file ---- */

/* One whose message was replaced has the old bytes, if it has opened its file, or none. */
static int open_spooled(struct store_body *body)
{
	int fd = body->disowned ? -ENOENT : body_file_open_whole(body->store, &body->known.place);
	if (fd < 0)
		return fd;
	body->fd = fd;
	return 0;
}

/* Opens the file and forgets what lies past its end. body->io is held exclusively. */
static int open_file(struct store_body *body)
{
	if (body->spooled)
		return open_spooled(body);
	pthread_mutex_lock(&body->lock);
	bool empty = body->held.count == 0;
	pthread_mutex_unlock(&body->lock);
	/* What an empty body finds in its file was never recorded. */
	int fd = body->disowned ? body_file_open_nameless(body->store)
	                        : body_file_open(body->store, body->id, body->section, empty);
	if (fd < 0)
		return fd;
	struct stat st;
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		close(fd);
		return -EIO;
	}
	body->fd = fd;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	cut(body, (uint64_t)st.st_size);
	return 0;
}

/* Takes body->io shared, with the file open. On failure nothing is taken. */
static int io_begin(struct store_body *body)
{
	for (;;) {
		pthread_rwlock_rdlock(&body->io);
		if (body->fd >= 0)
			return 0;
		pthread_rwlock_unlock(&body->io);
		pthread_rwlock_wrlock(&body->io);
		int rc = body->fd < 0 ? open_file(body) : 0;
		pthread_rwlock_unlock(&body->io);
		if (rc < 0)
			return rc;
	}
}

static void io_end(struct store_body *body)
{
	pthread_rwlock_unlock(&body->io);
}

static int write_fully(int fd, const char *data, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t n = pwrite(fd, data, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return store_errno(n < 0 ? errno : EIO);
		data += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* The number of bytes read, fewer than len only at the end of the file. */
static ssize_t read_fully(int fd, char *buf, size_t len, uint64_t offset)
{
	size_t done = 0;
	while (done < len) {
		ssize_t n = pread(fd, buf + done, len - done, (off_t)(offset + done));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return store_errno(errno);
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

/* ---- disowning: store->lock is held ---- */

/* As body_disown_message() says; body->io is held exclusively. */
static void disown_locked(struct store_body *body)
{
	if (body->disowned)
		return;
	if (body->spooled) {
		body->disowned = true;
		return;
	}
	pthread_mutex_lock(&body->lock);
	bool empty = body->held.count == 0;
	pthread_mutex_unlock(&body->lock);
	if (body->fd < 0 && !empty && open_file(body) < 0) {
		_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
		ranges_truncate(&body->held, 0);
	}
	body_file_remove(body->store, body->id, body->section);
	body->disowned = true;
}

static void disown(struct store_body *body)
{
	pthread_rwlock_wrlock(&body->io);
	disown_locked(body);
	pthread_rwlock_unlock(&body->io);
}

void body_disown_message(struct store *store, uint64_t id)
{
	struct list_node *head = bucket(store, id), *pos, *tmp;
	list_for_each(pos, tmp, head)
	{
		struct store_body *body = container_of(pos, struct store_body, node);
		if (body->id == id)
			disown(body);
	}
}

void body_disown_folder(struct store *store, uint32_t folder)
{
	for (size_t i = 0; i < STORE_OPEN_BUCKETS; i++) {
		struct list_node *head = &store->open[i], *pos, *tmp;
		list_for_each(pos, tmp, head)
		{
			struct store_body *body = container_of(pos, struct store_body, node);
			if (body->id >> 32 == folder)
				disown(body);
		}
	}
}

/* ---- opening and closing ---- */

static struct store_body *create(struct store *store, uint64_t id, const char *section)
{
	size_t len = strlen(section) + 1;
	struct store_body *body = calloc(1, sizeof(*body) + len);
	if (!body)
		return NULL;
	body->store = store;
	body->id = id;
	body->fd = -1;
	memcpy(body->section, section, len);
	list_init(&body->node);
	pthread_rwlock_init(&body->io, NULL);
	pthread_mutex_init(&body->lock, NULL);
	body_check_init(&body->check);
	return body;
}

static void destroy(struct store_body *body)
{
	cleanup_close(&body->fd);
	ranges_finish(&body->held);
	body_check_finish(&body->check);
	pthread_mutex_destroy(&body->lock);
	pthread_rwlock_destroy(&body->io);
	free(body);
}

bool body_is_open(struct store *store, uint64_t id, const char *section)
{
	struct list_node *head = bucket(store, id), *pos, *tmp;
	list_for_each(pos, tmp, head)
	{
		struct store_body *body = container_of(pos, struct store_body, node);
		if (body->id == id && !body->disowned && strcmp(body->section, section) == 0)
			return true;
	}
	return false;
}

/* What a spool holds of it: all of a message, or nothing. */
static int load_spooled(struct store_body *body)
{
	struct spool_known known;
	int rc = *body->section ? 0 : spool_find(body->store, body->id, &known);
	if (rc < 0)
		return rc;
	body->spooled = rc > 0;
	body->disowned = rc == 0;
	if (rc == 0)
		return 0;
	body->lost = known.lost;
	body->known = known;
	body->size = known.place.size_bytes;
	body->size_known = true;
	return ranges_add(&body->held, 0, body->size);
}

/* Reads the map. One that can not be understood holds nothing. */
static int load(struct store_body *body)
{
	struct db *db = &body->store->db;
	if (body->store->kind == STORE_SPOOL)
		return load_spooled(body);
	_cleanup_statement_ sqlite3_stmt *statement = db_statement(db, DB_BODY_GET);
	bind_id(statement, 1, body->id);
	db_bind_text(db, statement, 2, body->section);
	int rc = db_step(db, statement);
	if (rc <= 0)
		return rc;
	const void *map = sqlite3_column_blob(statement, 1);
	rc = ranges_parse(map, map ? (size_t)sqlite3_column_bytes(statement, 1) : 0, &body->held);
	if (rc == -ENOMEM)
		return rc;
	if (sqlite3_column_type(statement, 0) != SQLITE_NULL) {
		body->size = (uint64_t)sqlite3_column_int64(statement, 0);
		body->size_known = true;
		ranges_truncate(&body->held, body->size);
	}
	return 0;
}

/* Loads and registers; -EBUSY: there is a handle already. */
static int attach(struct store_body *body)
{
	struct store *store = body->store;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&store->lock);
	if (body_is_open(store, body->id, body->section))
		return -EBUSY;
	int rc = load(body);
	if (rc == 0)
		list_push(bucket(store, body->id), &body->node);
	return rc;
}

/* A spooled message's file could not be had: if it is to blame, the message is lost from now on. No lock is held. */
static int note_lost(struct store_body *body, int rc)
{
	if (rc != -ENOENT && rc != -EBADMSG)
		return rc;
	pthread_mutex_lock(&body->lock);
	body->lost = true;
	pthread_mutex_unlock(&body->lock);
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->store->lock);
	if (!body->disowned)
		spool_lose(body->store, &body->known.place, rc);
	return -EIO;
}

/* Those in a pack are small: comparing all of the bytes costs little, and none that are wrong are served. */
static void check_spooled(struct store_body *body)
{
	int rc = 0;
	if (!body->lost)
		rc = body->known.place.pack
		             ? spool_compare(body->store, &body->known)
		             : body_file_check_whole(body->store, &body->known.place);
	if (rc < 0)
		note_lost(body, rc);
}

/* Forgets what is past the end of the file. Exclusively, because somebody may remove the message meanwhile. */
static void check_file(struct store_body *body)
{
	if (body->spooled)
		check_spooled(body);
	if (body->spooled || body->held.count == 0)
		return;
	pthread_rwlock_wrlock(&body->io);
	if (!body->disowned) {
		uint64_t size = body_file_size(body->store, body->id, body->section);
		_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
		cut(body, size);
	}
	pthread_rwlock_unlock(&body->io);
}

int store_body_open(struct store *store, uint32_t folder, uint32_t uid, const char *section,
	struct store_body **ret)
{
	if (!body_file_section_valid(section))
		return -EINVAL;
	struct store_body *body = create(store, store_id(folder, uid), section);
	if (!body)
		return -ENOMEM;
	int rc = attach(body);
	if (rc < 0) {
		destroy(body);
		return rc;
	}
	check_file(body);
	*ret = body;
	return 0;
}

void store_body_close(struct store_body *body)
{
	if (!body)
		return;
	pthread_mutex_lock(&body->store->lock);
	if (body->dirty)
		record_locked(body);
	list_remove(&body->node);
	pthread_mutex_unlock(&body->store->lock);
	destroy(body);
}

/* ---- reading and writing ---- */

/* How much of [offset, offset + len) can be read: as store_body_read() returns it. */
static ssize_t readable(struct store_body *body, size_t len, uint64_t offset)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	if (body->lost)
		return -EIO;
	if (body->size_known && offset >= body->size)
		return 0;
	uint64_t held = ranges_held(&body->held, offset);
	if (held == 0)
		return -ENODATA;
	if (len > held)
		len = (size_t)held;
	return len > SSIZE_MAX ? SSIZE_MAX : (ssize_t)len;
}

/* A file that ends before its map does was cut by a stranger: what is missing is not held. */
static ssize_t read_cut(struct store_body *body, ssize_t n, uint64_t offset)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	cut(body, offset + (uint64_t)n);
	return n ? n : -ENODATA;
}

/* A large one is compared when all of it was read, in order: who reads it then is told at the end of it. */
static ssize_t check_spooled_piece(
	struct store_body *body, const void *data, ssize_t n, uint64_t offset)
{
	const struct spool_known *known = &body->known;
	if (n <= 0 || known->place.pack)
		return n;
	int rc = body_check_piece(
		&body->check, data, (size_t)n, offset, known->place.size_bytes, known->checksum);
	return rc < 0 ? note_lost(body, rc) : n;
}

ssize_t store_body_read(struct store_body *body, void *buf, size_t len, uint64_t offset)
{
	/* First without the file, which need not exist as long as nothing is held. */
	ssize_t n = readable(body, len, offset);
	if (n <= 0)
		return n;
	int rc = io_begin(body);
	if (rc < 0)
		return body->spooled ? note_lost(body, rc) : rc;
	n = readable(body, len, offset);
	ssize_t want = n;
	if (want > 0)
		n = read_fully(body->fd, buf, (size_t)want, body->known.place.position + offset);
	bool was_cut = n >= 0 && n < want;
	if (was_cut && !body->spooled)
		n = read_cut(body, n, offset);
	io_end(body);
	if (!body->spooled)
		return n;
	return was_cut ? note_lost(body, -EBADMSG) : check_spooled_piece(body, buf, n, offset);
}

/* The bytes of [offset, offset + len) that lie before the known end. */
static size_t clip(const struct store_body *body, size_t len, uint64_t offset)
{
	if (!body->size_known)
		return len;
	if (offset >= body->size)
		return 0;
	return len < body->size - offset ? len : (size_t)(body->size - offset);
}

static size_t writable(struct store_body *body, size_t len, uint64_t offset)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	return clip(body, len, offset);
}

/* Counts as held what was written; *ret_due: it is time to record. */
static int count_held(struct store_body *body, size_t len, uint64_t offset, bool *ret_due)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	len = clip(body, len, offset);
	if (ranges_held(&body->held, offset) >= len)
		return 0;
	int rc = ranges_add(&body->held, offset, offset + len);
	if (rc < 0)
		return rc;
	body->dirty = true;
	body->unrecorded_bytes += len;
	*ret_due = due(body);
	return 0;
}

int store_body_write(struct store_body *body, const void *data, size_t len, uint64_t offset)
{
	if (body->spooled)
		return -EPERM;
	if (offset > INT64_MAX || len > INT64_MAX - offset)
		return -EINVAL;
	len = writable(body, len, offset);
	if (len == 0)
		return 0;
	int rc = io_begin(body);
	if (rc < 0)
		return rc;
	bool record_now = false;
	rc = write_fully(body->fd, data, len, offset);
	if (rc == 0)
		rc = count_held(body, len, offset, &record_now);
	io_end(body);
	if (record_now)
		record(body);
	return rc;
}

/* ---- size ---- */

/* Sets the size where that takes no bytes away; false: it does. *ret_due: it is time to record. */
static bool grow_to(struct store_body *body, uint64_t size, bool *ret_due)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&body->lock);
	if (ranges_end(&body->held) > size)
		return false;
	if (!body->size_known || body->size != size)
		body->dirty = true;
	body->size = size;
	body->size_known = true;
	*ret_due = due(body);
	return true;
}

/* Sets the size and takes away what is held past it. */
static void shrink_to(struct store_body *body, uint64_t size)
{
	_cleanup_unlock_ pthread_mutex_t *store_guard = lock(&body->store->lock);
	pthread_rwlock_wrlock(&body->io);
	pthread_mutex_lock(&body->lock);
	cut(body, size);
	body->size = size;
	body->size_known = true;
	body->dirty = true;
	pthread_mutex_unlock(&body->lock);
	/* Where the file can not be cut it is too long, which nobody sees. */
	if ((body->fd >= 0 || open_file(body) == 0) && ftruncate(body->fd, (off_t)size) < 0)
		log_debug("store: a body's file could not be cut: %s", strerror(errno));
	if (record_locked(body) < 0)
		disown_locked(body);
	pthread_rwlock_unlock(&body->io);
}

int store_body_set_size(struct store_body *body, uint64_t size_bytes)
{
	if (body->spooled)
		return size_bytes == body->size ? 0 : -EPERM;
	if (size_bytes > INT64_MAX)
		return -EINVAL;
	bool record_now = false;
	if (!grow_to(body, size_bytes, &record_now))
		shrink_to(body, size_bytes);
	else if (record_now)
		record(body);
	return 0;
}

bool store_body_size(const struct store_body *body, uint64_t *ret)
{
	/* The lock is not part of what const promises. */
	struct store_body *unconst = (struct store_body *)body;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&unconst->lock);
	if (body->size_known)
		*ret = body->size;
	return body->size_known;
}

uint64_t store_body_held(const struct store_body *body, uint64_t offset)
{
	struct store_body *unconst = (struct store_body *)body;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&unconst->lock);
	return body->lost ? 0 : ranges_held(&body->held, offset);
}

int store_body_drop(struct store_body *body)
{
	struct store *store = body->store;
	if (body->spooled)
		return -EPERM;
	_cleanup_unlock_ pthread_mutex_t *store_guard = lock(&store->lock);
	pthread_rwlock_wrlock(&body->io);
	pthread_mutex_lock(&body->lock);
	ranges_truncate(&body->held, 0);
	body->size = 0;
	body->size_known = false;
	body->dirty = true;
	pthread_mutex_unlock(&body->lock);
	cleanup_close(&body->fd);
	body->fd = -1;
	int rc = body->disowned ? 0 : body_file_remove(store, body->id, body->section);
	if (record_locked(body) < 0)
		body->disowned = true;
	else
		rc = 0;
	pthread_rwlock_unlock(&body->io);
	return rc;
}
