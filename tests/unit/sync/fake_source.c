/* SPDX-License-Identifier: MIT */
/* The source in memory. One lock guards all; a call holds it but for delays and the caller's callbacks. */
#include "fake_private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mailfs/mime.h"

int fake_fail(struct source_error *error, enum source_scope scope, enum source_cause cause, int err,
	const char *text)
{
	error->scope = scope;
	error->cause = cause;
	error->err = err;
	snprintf(error->text, sizeof(error->text), "%s", text);
	return err;
}

int fake_die(struct source_session *session, struct source_error *error)
{
	session->dead = true;
	if (session->cancelled)
		return fake_fail(
			error, SOURCE_SCOPE_CANCELLED, SOURCE_CAUSE_OTHER, -EIO, "cancelled");
	return fake_fail(
		error, SOURCE_SCOPE_ACCOUNT, SOURCE_CAUSE_CONNECT, -EIO, "connection lost");
}

bool fake_is_cut(struct fake_source *fake)
{
	if (fake->cut_in[0] == 0 || --fake->cut_in[0] > 0)
		return false;
	fake->cut_in[0] = fake->cut_in[1];
	fake->cut_in[1] = 0;
	fake->abilities &= ~fake->lose_on_cut;
	if (fake->on_cut)
		fake->on_cut(fake);
	return true;
}

/* As if the answer had not come in time. Lock held. */
static int fake_time_out(struct source_session *session, struct source_error *error)
{
	session->dead = true;
	return fake_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_CAUSE_CONNECT, -ETIMEDOUT,
		"connection timed out");
}

int fake_enter(struct source_session *session, bool needs_mailbox, struct source_error *error)
{
	struct fake_source *fake = session->fake;
	pthread_mutex_lock(&fake->lock);
	fake->counts.misuse +=
		session->dead || session->busy || (needs_mailbox && !session->selected);
	bool lost = fake->drop_sessions && session->generation != fake->generation;
	if (session->dead || session->cancelled || lost || fake_is_cut(fake)) {
		int err = fake_die(session, error);
		pthread_mutex_unlock(&fake->lock);
		return err;
	}
	session->busy = true;
	session->watched[0] = 0;
	if (fake->blackhole) {
		int err = fake_wait_out(session) ? fake_time_out(session, error)
		                                 : fake_die(session, error);
		return fake_leave(session, err);
	}
	session->received += 50;
	return 0;
}

int fake_leave(struct source_session *session, int err)
{
	session->busy = false;
	pthread_mutex_unlock(&session->fake->lock);
	return err;
}

static int fake_connect(struct source *source, int64_t deadline_ms, struct source_session **ret,
	struct source_error *error)
{
	struct fake_source *fake = (struct fake_source *)source;
	pthread_mutex_lock(&fake->lock);
	fake->counts.connects++;
	int err = fake_connect_wait(fake, deadline_ms, error);
	if (err < 0) {
		pthread_mutex_unlock(&fake->lock);
		return err;
	}
	bool refused = fake->connect_failures != 0 ||
	               (fake->connections_max && fake->connected >= fake->connections_max);
	if (fake->connect_failures > 0)
		fake->connect_failures--;
	if (!refused) {
		struct source_session *session = calloc(1, sizeof(*session));
		session->fake = fake;
		session->generation = fake->generation;
		session->timeout_ms = 30000;
		fake->connected++;
		*ret = session;
	}
	enum source_cause cause = fake->connect_cause;
	pthread_mutex_unlock(&fake->lock);
	if (refused)
		return fake_fail(error, SOURCE_SCOPE_ACCOUNT, cause,
			cause == SOURCE_CAUSE_LOGIN ? -EACCES : -EIO,
			"connect refused by the script");
	return 0;
}

static void fake_disconnect(struct source_session *session, bool polite)
{
	struct fake_source *fake = session->fake;
	pthread_mutex_lock(&fake->lock);
	fake->counts.disconnects++;
	fake->counts.polite += polite;
	fake->counts.misuse += session->busy;
	fake->connected--;
	pthread_mutex_unlock(&fake->lock);
	free(session);
}

static void fake_cancel(struct source_session *session)
{
	struct fake_source *fake = session->fake;
	pthread_mutex_lock(&fake->lock);
	fake->counts.cancels++;
	session->cancelled = true;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
}

static void fake_set_timeout(struct source_session *session, int timeout_ms)
{
	session->timeout_ms = timeout_ms;
}

static int fake_list(struct source_session *session, source_mailbox_fn *fn, void *arg,
	struct source_error *error)
{
	struct fake_source *fake = session->fake;
	int err = fake_enter(session, false, error);
	if (err < 0)
		return err;
	fake->counts.lists++;
	if (fake->list_err)
		err = fake_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_CAUSE_OTHER, fake->list_err,
			"LIST refused by the script");
	for (size_t i = 0; err == 0 && i < fake->mailbox_count; i++) {
		const struct fake_mailbox *at = &fake->mailboxes[i];
		struct source_mailbox mailbox = {.name = at->name,
			.delimiter = at->delimiter ? at->delimiter : '/',
			.special_use = at->special_use,
			.flags = at->flags};
		err = at->unlisted || at->removed ? 0 : fn(arg, &mailbox);
	}
	return fake_leave(session, err);
}

static int fake_quota(
	struct source_session *session, struct source_quota *ret, struct source_error *error)
{
	int err = fake_enter(session, false, error);
	if (err < 0)
		return err;
	if (!session->fake->quota_known)
		return fake_leave(session, fake_fail(error, SOURCE_SCOPE_MAILBOX,
						   SOURCE_CAUSE_OTHER, -EIO, "no quota"));
	*ret = (struct source_quota){.known = true, .used_bytes = 1000, .limit_bytes = 5000};
	return fake_leave(session, 0);
}

struct fake_mailbox *fake_mailbox_named(struct fake_source *fake, const char *name)
{
	for (size_t i = 0; i < fake->mailbox_count; i++)
		if (!fake->mailboxes[i].removed && strcmp(fake->mailboxes[i].name, name) == 0)
			return &fake->mailboxes[i];
	return NULL;
}

static int fake_select(struct source_session *session, const char *name, bool readonly,
	const struct source_resync *resync, struct source_state *ret, struct source_error *error)
{
	int err = fake_enter(session, false, error);
	if (err < 0)
		return err;
	struct fake_mailbox *mailbox = fake_mailbox_named(session->fake, name);
	session->fake->counts.selects++;
	session->fake->counts.misuse += !readonly;
	session->selected = NULL;
	if (!mailbox || mailbox->select_err < 0)
		return fake_leave(
			session, fake_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_CAUSE_MAILBOX,
					 mailbox ? mailbox->select_err : -ENOENT,
					 "SELECT refused by the script"));
	session->selected = mailbox;
	session->uidvalidity = mailbox->uidvalidity;
	session->visible = UINT32_MAX;
	if (session->fake->session_views)
		session->visible = mailbox->count ? mailbox->messages[mailbox->count - 1].uid : 0;
	*ret = fake_state(mailbox);
	if (resync)
		err = fake_resync(session, resync, ret, error);
	return fake_leave(session, err);
}

static const char header[] = "From: Alice <alice@example.org>\r\nSubject: hello\r\n";

/* The row of a message, as the columns have it; false: it can not be understood. */
static bool make_row(
	struct fake_message *message, enum source_columns columns, struct source_row *row)
{
	unsigned have = columns == SOURCE_COLUMNS_UID ? 0 : SOURCE_ROW_FLAGS;
	if (columns != SOURCE_COLUMNS_ALL && message->scan_skips > 0) {
		message->scan_skips--;
		return false;
	}
	if (columns == SOURCE_COLUMNS_ALL && message->skip_once) {
		message->skip_once = false;
		return false;
	}
	if (columns == SOURCE_COLUMNS_ALL) {
		have = message->have_once ? message->have_once : message->have;
		message->have_once = 0;
		if (have == 0)
			return false;
	}
	*row = (struct source_row){.uid = message->uid,
		.have = have,
		.size_bytes = message->announced,
		.date_s = message->date_s ? message->date_s : 1700000000 + message->uid,
		.flags = message->flags,
		.header = message->header ? message->header : header,
		.header_len = strlen(message->header ? message->header : header)};
	return true;
}

/* Waits while *hold, without the lock; false: cancelled. Lock held. */
static bool wait_held(struct source_session *session, const bool *hold)
{
	session->busy = false;
	while (*hold && !session->cancelled)
		pthread_cond_wait(&session->fake->changed, &session->fake->lock);
	session->busy = true;
	return !session->cancelled;
}

/* What goes over the wire for a listing, copied so that the callbacks run without the lock. */
struct answer {
	struct source_row rows[20000];
	size_t count;
	unsigned skipped;
};

static void collect(struct source_session *session, uint32_t first, uint32_t last,
	enum source_columns columns, struct answer *answer)
{
	struct fake_mailbox *mailbox = session->selected;
	for (size_t i = 0; i < mailbox->count; i++) {
		struct fake_message *message =
			&mailbox->messages[mailbox->reversed ? mailbox->count - 1 - i : i];
		if (message->uid < first || message->uid > last || message->uid > session->visible)
			continue;
		if (message->gone && !message->withheld && columns == SOURCE_COLUMNS_UID)
			continue;
		for (int times = message->twice ? 2 : 1; times > 0; times--) {
			if (make_row(message, columns, &answer->rows[answer->count]))
				answer->count++;
			else
				answer->skipped++;
		}
	}
}

static int fake_rows(struct source_session *session, uint32_t first, uint32_t last,
	enum source_columns columns, source_row_fn *fn, void *arg, unsigned *ret_skipped,
	struct source_error *error)
{
	struct fake_source *fake = session->fake;
	struct answer *answer = calloc(1, sizeof(*answer));
	int err = fake_enter(session, true, error);
	if (err < 0) {
		free(answer);
		return err;
	}
	unsigned total = fake->counts.rows[0] + fake->counts.rows[1] + fake->counts.rows[2];
	if (total < 64) {
		fake->row_ranges[total][0] = first;
		fake->row_ranges[total][1] = last;
	}
	fake->counts.rows[columns]++;
	if (fake->on_rows)
		fake->on_rows(fake);
	collect(session, first, last, columns, answer);
	bool drop = fake->drop_rows > 0;
	fake->drop_rows -= drop;
	size_t limit = drop && fake->drop_rows_after < answer->count ? fake->drop_rows_after
	                                                             : answer->count;
	unsigned floods = session->selected->floods;
	for (size_t i = 0; err == 0 && i<limit; i += floods == 0, floods -= floods> 0) {
		if (fake_is_cut(fake)) {
			err = fake_die(session, error);
			break;
		}
		fake->counts.sent[columns]++;
		pthread_mutex_unlock(&fake->lock);
		err = fn(arg, &answer->rows[i]);
		pthread_mutex_lock(&fake->lock);
		if (err == 0 && i >= fake->hold_rows_after && !wait_held(session, &fake->hold_rows))
			err = fake_die(session, error);
	}
	if (err == 0 && drop)
		err = fake_die(session, error);
	if (err == 0)
		*ret_skipped = answer->skipped;
	free(answer);
	return fake_leave(session, err);
}

/* NULL: no memory. */
static struct mime_part *make_part(uint64_t size)
{
	struct mime_part *part = mime_part_create();
	if (!part)
		return NULL;
	free(part->type);
	free(part->subtype);
	free(part->encoding);
	part->type = strdup("application");
	part->subtype = strdup("pdf");
	part->encoding = strdup("base64");
	part->size_bytes = size;
	return part;
}

static int fake_structures(struct source_session *session, const uint32_t *uids, size_t count,
	source_structure_fn *fn, void *arg, struct source_error *error)
{
	struct fake_source *fake = session->fake;
	int err = fake_enter(session, true, error);
	if (err < 0)
		return err;
	fake->counts.structures++;
	fake->counts.structure_uids += (unsigned)count;
	for (size_t i = 0; err == 0 && i < count; i++) {
		struct fake_message *message = fake_message(session->selected, uids[i]);
		if (!message || message->gone || uids[i] > session->visible)
			continue;
		if (message->breaks) {
			err = fake_fail(error, SOURCE_SCOPE_ACCOUNT, SOURCE_CAUSE_CONNECT,
				-ECONNRESET, "the connection broke");
			break;
		}
		struct mime_part *part = message->nil_structure ? NULL : make_part(message->len);
		pthread_mutex_unlock(&fake->lock);
		err = part || message->nil_structure ? fn(arg, uids[i], part) : -ENOMEM;
		mime_part_destroy(part);
		pthread_mutex_lock(&fake->lock);
	}
	return fake_leave(session, err);
}

static void note_body(struct fake_source *fake, uint64_t offset, uint64_t length)
{
	unsigned n = fake->counts.bodies++;
	if (n >= 64)
		return;
	fake->offsets[n] = offset;
	fake->lengths[n] = length;
}

static int body_answer(struct source_session *session, uint32_t uid, uint64_t offset,
	uint64_t length, uint64_t limit, struct str *out, struct source_error *error)
{
	struct fake_message *message = fake_message(session->selected, uid);
	if (!message || message->gone || uid > session->visible ||
		session->uidvalidity != session->selected->uidvalidity)
		return fake_fail(error, SOURCE_SCOPE_MESSAGE, SOURCE_CAUSE_OTHER, -ENOENT,
			"no such message");
	uint64_t end = length ? offset + length : message->len;
	if (end > message->len)
		end = message->len;
	if (message->short_at && offset < message->short_at && end > message->short_at) {
		end = message->short_at;
		message->short_at = 0;
	}
	if (message->most && offset < end && end - offset > message->most)
		end = offset + message->most;
	message->sent++;
	if (offset < end) {
		if (end - offset > limit)
			return fake_fail(error, SOURCE_SCOPE_MESSAGE, SOURCE_CAUSE_PROTOCOL, -EFBIG,
				"over the limit");
		size_t shift = message->shifted_from && offset >= message->shifted_from;
		str_append(out, message->data + offset - shift, end - offset);
		session->fake->counts.bytes += end - offset;
	}
	return 0;
}

static void body_delay(struct fake_source *fake)
{
	struct timespec delay = {.tv_nsec = fake->body_delay_ms * 1000000L};
	pthread_mutex_unlock(&fake->lock);
	nanosleep(&delay, NULL);
	pthread_mutex_lock(&fake->lock);
}

static int fake_close(struct source_session *session, struct source_error *error)
{
	session->selected = NULL;
	error->retry = SOURCE_RETRY_NOW;
	return fake_fail(
		error, SOURCE_SCOPE_MAILBOX, SOURCE_CAUSE_MAILBOX, -EIO, "another identity");
}

static int fake_body(struct source_session *session, uint32_t uid, const char *section,
	uint64_t offset, uint64_t length, uint64_t limit, struct str *out,
	struct source_error *error)
{
	struct fake_source *fake = session->fake;
	int err = fake_enter(session, true, error);
	(void)section;
	if (err < 0)
		return err;
	note_body(fake, offset, length);
	if (++fake->counts.working > fake->counts.working_max)
		fake->counts.working_max = fake->counts.working;
	if (fake->on_body)
		fake->on_body(fake, uid);
	if (fake->body_delay_ms)
		body_delay(fake);
	if (!wait_held(session, &fake->hold_bodies) || fake->drop_bodies > 0) {
		fake->drop_bodies -= fake->drop_bodies > 0;
		/* What came before the connection was cut must never be seen. */
		str_append_cstr(out, "GARBAGE");
		err = fake_die(session, error);
	} else if (fake->close_bodies > 0) {
		fake->close_bodies--;
		err = fake_close(session, error);
	} else {
		err = body_answer(session, uid, offset, length, limit, out, error);
	}
	fake->counts.working--;
	return fake_leave(session, err);
}

static void fake_destroy(struct source *source)
{
	(void)source;
}

static const struct source_ops ops = {
	.connect = fake_connect,
	.disconnect = fake_disconnect,
	.cancel = fake_cancel,
	.set_timeout = fake_set_timeout,
	.list = fake_list,
	.quota = fake_quota,
	.select = fake_select,
	.status = fake_status,
	.rows = fake_rows,
	.changed = fake_changed,
	.uids = fake_uids,
	.abilities = fake_abilities,
	.describe = fake_describe,
	.traffic = fake_traffic,
	.watch = fake_watch,
	.poke = fake_poke,
	.structures = fake_structures,
	.body = fake_body,
	.destroy = fake_destroy,
};

void fake_can_bulk(struct fake_source *fake)
{
	static struct source_ops with_bulk;
	with_bulk = ops;
	with_bulk.bulk = fake_bulk;
	fake->base.ops = &with_bulk;
}

void fake_init(struct fake_source *fake)
{
	*fake = (struct fake_source){.base.ops = &ops, .connect_cause = SOURCE_CAUSE_CONNECT};
	pthread_mutex_init(&fake->lock, NULL);
	pthread_cond_init(&fake->changed, NULL);
}

void fake_finish(struct fake_source *fake)
{
	for (size_t i = 0; i < fake->mailbox_count; i++)
		free(fake->mailboxes[i].messages);
	for (size_t i = 0; i < fake->mailbox_count; i++)
		free(fake->mailboxes[i].gone);
	pthread_cond_destroy(&fake->changed);
	pthread_mutex_destroy(&fake->lock);
}

struct fake_mailbox *fake_mailbox_add(
	struct fake_source *fake, const char *name, uint32_t uidvalidity)
{
	struct fake_mailbox *mailbox = &fake->mailboxes[fake->mailbox_count++];
	*mailbox = (struct fake_mailbox){.name = name, .uidvalidity = uidvalidity, .uidnext = 1};
	return mailbox;
}

struct fake_message *fake_message_add(
	struct fake_mailbox *mailbox, uint32_t uid, const char *data, uint64_t len)
{
	if (array_grow(&mailbox->messages, &mailbox->cap, mailbox->count + 1,
		    sizeof(*mailbox->messages)) < 0)
		abort();
	struct fake_message *message = &mailbox->messages[mailbox->count++];
	*message = (struct fake_message){.uid = uid,
		.flags = "\\Seen",
		.announced = len,
		.data = data,
		.len = len,
		.have = SOURCE_ROW_FLAGS | SOURCE_ROW_DATE | SOURCE_ROW_SIZE | SOURCE_ROW_HEADER};
	if (mailbox->uidnext && mailbox->uidnext <= uid)
		mailbox->uidnext = uid + 1;
	return message;
}

struct fake_message *fake_message(struct fake_mailbox *mailbox, uint32_t uid)
{
	for (size_t i = 0; i < mailbox->count; i++)
		if (mailbox->messages[i].uid == uid)
			return &mailbox->messages[i];
	return NULL;
}

void fake_message_remove(struct fake_source *fake, struct fake_mailbox *mailbox, uint32_t uid)
{
	pthread_mutex_lock(&fake->lock);
	struct fake_message *message = fake_message(mailbox, uid);
	size_t at = (size_t)(message - mailbox->messages);
	memmove(message, message + 1, (mailbox->count - at - 1) * sizeof(*message));
	mailbox->count--;
	pthread_mutex_unlock(&fake->lock);
}

struct fake_counts fake_counts(struct fake_source *fake)
{
	pthread_mutex_lock(&fake->lock);
	struct fake_counts counts = fake->counts;
	pthread_mutex_unlock(&fake->lock);
	return counts;
}
