/* SPDX-License-Identifier: MIT */
/*
 * A section of a message that was downloaded is a range of its file: the structure says where it lies. It is the stored one where that
 * tells the places; else the file is walked, which any message survives. That of the last message is kept by the session,
 * because a part is read range by range.
 *
 * Invariant: bytes are given only of a file that is there and as long as what was recorded of it. Everything else is -EIO, never
 * -ENOENT and never a shorter answer: nobody may take the message for gone, or for another.
 */
#include "spool_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mailfs/mime.h"
#include "mailfs/util/cleanup.h"
#include "private.h"

#define WALK_BYTES 65536

/* Where a message lies. */
struct place {
	uint64_t start, size; /* in its file */
	struct stat file;
};

struct source_session {
	const struct spool_source *source;
	atomic_bool cancelled;
	/* Of the message that was asked for last; NULL: none. */
	struct mime_part *structure;
	uint32_t uid;
	struct place
		place; /* where it was then: one that was lost and fetched again is elsewhere */
	char buffer[WALK_BYTES];
};

/* --- A session --- */

static int spool_connect(struct source *base, int64_t deadline_ms, struct source_session **ret,
	struct source_error *error)
{
	struct source_session *session = calloc(1, sizeof(*session));
	(void)deadline_ms;
	if (!session)
		return session_fail(error, SOURCE_SCOPE_ACCOUNT, -ENOMEM, "out of memory");
	session->source = container_of(base, struct spool_source, base);
	*ret = session;
	return 0;
}

static void spool_disconnect(struct source_session *session, bool polite)
{
	(void)polite;
	mime_part_destroy(session->structure);
	free(session);
}

static void spool_cancel(struct source_session *session)
{
	atomic_store(&session->cancelled, true);
}

static void spool_set_timeout(struct source_session *session, int timeout_ms)
{
	(void)session;
	(void)timeout_ms;
}

static int check_cancelled(struct source_session *session, struct source_error *error)
{
	return atomic_load(&session->cancelled)
	               ? session_fail(error, SOURCE_SCOPE_CANCELLED, -EIO, "the mount ends")
	               : 0;
}

static int spool_list(struct source_session *session, source_mailbox_fn *fn, void *arg,
	struct source_error *error)
{
	const struct source_mailbox mailbox = {
		.name = session->source->mailbox, .flags = SOURCE_MAILBOX_PERSONAL};
	int err = fn(arg, &mailbox);
	return err < 0 ? session_fail(error, SOURCE_SCOPE_MAILBOX, err, "%s: %s", mailbox.name,
				 strerror(-err))
	               : 0;
}

static int spool_quota(
	struct source_session *session, struct source_quota *ret, struct source_error *error)
{
	(void)session;
	(void)error;
	*ret = (struct source_quota){0};
	return 0;
}

static int spool_select(struct source_session *session, const char *mailbox, bool readonly,
	const struct source_resync *resync, struct source_state *ret, struct source_error *error)
{
	(void)resync;
	const struct spool_source *source = session->source;
	uint64_t messages, unseen;
	(void)readonly;
	int err = check_cancelled(session, error);
	if (err < 0)
		return err;
	err = strcmp(mailbox, source->mailbox) == 0 ? 0 : -ENOENT;
	if (err == 0)
		err = store_folder_count(source->store, source->folder, &messages, &unseen);
	if (err < 0)
		return session_fail(
			error, SOURCE_SCOPE_MAILBOX, err, "%s: %s", mailbox, strerror(-err));
	*ret = (struct source_state){.uidvalidity = source->uidvalidity,
		.messages = messages < UINT32_MAX ? (uint32_t)messages : UINT32_MAX};
	return 0;
}

/* --- Rows --- */

struct rows {
	uint32_t last;
	source_row_fn *fn;
	void *arg;
	bool past;
};

static int on_row(void *arg, const struct source_row *row)
{
	struct rows *rows = arg;
	rows->past = row->uid > rows->last;
	return rows->past ? -ECANCELED : rows->fn(rows->arg, row);
}

static int spool_rows(struct source_session *session, uint32_t first, uint32_t last,
	enum source_columns columns, source_row_fn *fn, void *arg, unsigned *ret_skipped,
	struct source_error *error)
{
	struct rows rows = {.last = last, .fn = fn, .arg = arg};
	(void)columns; /* all are there */
	int err = check_cancelled(session, error);
	if (err < 0)
		return err;
	err = store_rows_load(
		session->source->store, session->source->folder, first, on_row, &rows);
	if (err < 0 && !rows.past)
		return session_fail(error, SOURCE_SCOPE_MAILBOX, err, "%s: %s",
			session->source->mailbox, strerror(-err));
	*ret_skipped = 0;
	return 0;
}

/* --- A message's file --- */

static int on_size(void *arg, const struct source_row *row)
{
	*(uint64_t *)arg = row->size_bytes;
	return 0;
}

/* Whether the file holds all of it. */
static bool fits(const struct place *place)
{
	uint64_t bytes = (uint64_t)place->file.st_size;
	return S_ISREG(place->file.st_mode) && place->start <= bytes &&
	       place->size <= bytes - place->start;
}

static int damaged(struct source_error *error, const char *why)
{
	return session_fail(error, SOURCE_SCOPE_MESSAGE, -EIO, "its file in the spool %s", why);
}

/* Opens the file of a message. -ENOENT: there is no such message. */
static int open_message(
	struct source_session *session, uint32_t uid, struct place *ret, struct source_error *error)
{
	const struct spool_source *source = session->source;
	struct place place = {0};
	int err = check_cancelled(session, error);
	if (err < 0)
		return err;
	err = store_row_get(source->store, source->folder, uid, on_size, &place.size);
	if (err < 0)
		return session_fail(error, SOURCE_SCOPE_MESSAGE, err, "%s", strerror(-err));
	_cleanup_close_ int fd = store_spool_open(source->store, source->folder, uid, &place.start);
	if (fd == -ENOMEM)
		return session_fail(error, SOURCE_SCOPE_MESSAGE, fd, "out of memory");
	if (fd < 0 || fstat(fd, &place.file) < 0)
		return damaged(error, "is missing, damaged, or can not be read");
	if (!fits(&place))
		return damaged(error, "has another length than what was written");
	*ret = place;
	return steal_fd(&fd);
}

/* Reads len bytes, all of them. */
static int read_all(int fd, char *buf, size_t len, uint64_t offset)
{
	while (len > 0) {
		ssize_t n = pread(fd, buf, len, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return -EIO;
		buf += n;
		offset += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* --- Structures --- */

static int walk_chunks(struct source_session *session, struct mime_walker *walker, int fd,
	const struct place *place, struct source_error *error)
{
	int err = 0;
	for (uint64_t pos = 0; pos < place->size && err == 0;) {
		uint64_t left = place->size - pos;
		size_t len = left < WALK_BYTES ? (size_t)left : WALK_BYTES;
		err = check_cancelled(session, error);
		if (err < 0)
			return err;
		err = read_all(fd, session->buffer, len, place->start + pos);
		if (err == 0)
			err = mime_walker_push(walker, session->buffer, len);
		pos += len;
	}
	return err < 0 ? session_fail(error, SOURCE_SCOPE_MESSAGE, err, "%s", strerror(-err)) : 0;
}

static int walk(struct source_session *session, int fd, const struct place *place,
	struct mime_part **ret, struct source_error *error)
{
	struct mime_walker *walker = mime_walker_create();
	if (!walker)
		return session_fail(error, SOURCE_SCOPE_MESSAGE, -ENOMEM, "out of memory");
	int err = walk_chunks(session, walker, fd, place, error);
	if (err == 0) {
		err = mime_walker_end(walker, ret);
		if (err < 0)
			session_fail(error, SOURCE_SCOPE_MESSAGE, err, "%s", strerror(-err));
	}
	mime_walker_destroy(walker);
	return err;
}

/* The structure that was stored with the message; NULL: there is none that helps. */
static struct mime_part *stored_structure(struct source_session *session, uint32_t uid)
{
	_cleanup_str_ struct str data = STR_INIT;
	struct mime_part *part = NULL;
	int err = store_structure_get(session->source->store, session->source->folder, uid, &data);
	if (err < 0 || mime_part_parse(str_cstr(&data), data.len, &part) < 0)
		return NULL;
	if (part->located)
		return part;
	mime_part_destroy(part);
	return NULL;
}

static bool same_place(const struct place *a, const struct place *b)
{
	const struct timespec *x = &a->file.st_mtim, *y = &b->file.st_mtim;
	return a->start == b->start && a->size == b->size && a->file.st_ino == b->file.st_ino &&
	       x->tv_sec == y->tv_sec && x->tv_nsec == y->tv_nsec;
}

/* session->structure becomes that of the message whose file is open. */
static int find_structure(struct source_session *session, uint32_t uid, int fd,
	const struct place *place, struct source_error *error)
{
	if (session->structure && session->uid == uid && same_place(&session->place, place))
		return 0;
	struct mime_part *structure = stored_structure(session, uid);
	int err = structure ? 0 : walk(session, fd, place, &structure, error);
	if (err < 0)
		return err;
	mime_part_destroy(session->structure);
	session->structure = structure;
	session->uid = uid;
	session->place = *place;
	return 0;
}

static int spool_structures(struct source_session *session, const uint32_t *uids, size_t count,
	source_structure_fn *fn, void *arg, struct source_error *error)
{
	int err = 0;
	for (size_t i = 0; i < count && err == 0; i++) {
		struct place place;
		_cleanup_close_ int fd = open_message(session, uids[i], &place, error);
		if (fd == -ENOENT)
			continue;
		err = fd < 0 ? fd : find_structure(session, uids[i], fd, &place, error);
		if (err < 0)
			return err;
		err = fn(arg, uids[i], session->structure);
		if (err < 0)
			session_fail(error, SOURCE_SCOPE_MESSAGE, err, "%s", strerror(-err));
	}
	return err;
}

/* --- Bytes --- */

/* Where a section lies in the message. */
static int find_section(struct source_session *session, uint32_t uid, const char *section, int fd,
	const struct place *place, uint64_t *ret_start, uint64_t *ret_len,
	struct source_error *error)
{
	uint64_t size = place->size;
	*ret_start = 0;
	*ret_len = size;
	if (!section[0])
		return 0;
	int err = find_structure(session, uid, fd, place, error);
	if (err < 0)
		return err;
	err = mime_part_locate(session->structure, section, ret_start, ret_len);
	if (err == 0 && (*ret_start > size || *ret_len > size - *ret_start))
		err = -ERANGE;
	return err < 0 ? session_fail(
				 error, SOURCE_SCOPE_MESSAGE, -EIO, "it has no part '%s'", section)
	               : 0;
}

/* Appends len bytes of the file at offset, or nothing. */
static int append_range(int fd, uint64_t offset, uint64_t len, struct str *out)
{
	if (len > SIZE_MAX / 2 || str_reserve(out, (size_t)len) < 0)
		return -ENOMEM;
	int err = read_all(fd, out->data + out->len, (size_t)len, offset);
	if (err < 0) {
		out->data[out->len] = 0;
		return err;
	}
	out->len += (size_t)len;
	out->data[out->len] = 0;
	return 0;
}

static int spool_body(struct source_session *session, uint32_t uid, const char *section,
	uint64_t offset, uint64_t length, uint64_t limit_bytes, struct str *out,
	struct source_error *error)
{
	struct place place;
	uint64_t start, len;
	_cleanup_close_ int fd = open_message(session, uid, &place, error);
	if (fd < 0)
		return fd;
	int err = find_section(session, uid, section, fd, &place, &start, &len, error);
	if (err < 0)
		return err;
	if (length == 0 && offset == 0 && limit_bytes > 0 && len > limit_bytes)
		return session_fail(
			error, SOURCE_SCOPE_MESSAGE, -EFBIG, "it is longer than it may be");
	uint64_t left = offset < len ? len - offset : 0;
	if (length > 0 && left > length)
		left = length;
	err = append_range(fd, place.start + start + (left > 0 ? offset : 0), left, out);
	if (err == -ENOMEM)
		return session_fail(error, SOURCE_SCOPE_MESSAGE, err, "out of memory");
	return err < 0 ? damaged(error, "can not be read") : 0;
}

static void spool_destroy(struct source *base)
{
	(void)base;
}

static const struct source_ops spool_ops = {
	.connect = spool_connect,
	.disconnect = spool_disconnect,
	.cancel = spool_cancel,
	.set_timeout = spool_set_timeout,
	.list = spool_list,
	.quota = spool_quota,
	.select = spool_select,
	.rows = spool_rows,
	.structures = spool_structures,
	.body = spool_body,
	.destroy = spool_destroy,
};

void spool_source_init(struct spool_source *source, struct store *store, uint32_t folder,
	const char *mailbox, uint32_t uidvalidity)
{
	*source = (struct spool_source){.base = {.ops = &spool_ops},
		.store = store,
		.folder = folder,
		.mailbox = mailbox,
		.uidvalidity = uidvalidity};
}
