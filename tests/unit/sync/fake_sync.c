/* SPDX-License-Identifier: MIT */
/* What CONDSTORE, QRESYNC and SEARCH say of a mailbox in memory, and the lies that are told of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake_private.h"

/* What goes over the wire, copied so that the callbacks run without the lock. */
struct tale {
	struct source_row *rows;
	size_t row_count, row_cap;
	struct fake_gone *ranges;
	size_t range_count, range_cap;
};

static void tale_finish(struct tale *tale)
{
	free(tale->rows);
	free(tale->ranges);
}

static void tale_row(struct tale *tale, uint32_t uid, const char *flags)
{
	if (array_grow(&tale->rows, &tale->row_cap, tale->row_count + 1, sizeof(*tale->rows)) < 0)
		abort();
	tale->rows[tale->row_count++] =
		(struct source_row){.uid = uid, .have = SOURCE_ROW_FLAGS, .flags = flags};
}

static void tale_range(struct tale *tale, uint32_t first, uint32_t last)
{
	if (array_grow(&tale->ranges, &tale->range_cap, tale->range_count + 1,
		    sizeof(*tale->ranges)) < 0)
		abort();
	tale->ranges[tale->range_count++] = (struct fake_gone){first, last, 0};
}

/* Calls back; the lock is held before and after. */
static int tell(struct source_session *session, const struct tale *tale, source_row_fn *row,
	source_range_fn *range, void *arg, struct source_error *error)
{
	struct fake_source *fake = session->fake;
	int err = 0;
	for (size_t i = 0; err == 0 && i < tale->range_count + tale->row_count; i++) {
		if (fake_is_cut(fake))
			return fake_die(session, error);
		fake->counts.told++;
		pthread_mutex_unlock(&fake->lock);
		if (i < tale->range_count)
			err = range(arg, tale->ranges[i].first, tale->ranges[i].last);
		else
			err = row(arg, &tale->rows[i - tale->range_count]);
		pthread_mutex_lock(&fake->lock);
	}
	return err;
}

static void tell_changed(const struct fake_mailbox *mailbox, uint32_t first, uint32_t last,
	uint64_t modseq, struct tale *tale)
{
	for (size_t i = 0; i < mailbox->count; i++) {
		const struct fake_message *message =
			&mailbox->messages[mailbox->reversed ? mailbox->count - 1 - i : i];
		if (message->uid < first || message->uid > last || message->modseq <= modseq)
			continue;
		if (mailbox->lies & FAKE_LIE_TWICE)
			tale_row(tale, message->uid, "\\Draft");
		tale_row(tale, message->uid, message->flags);
	}
	if (mailbox->lies & FAKE_LIE_STRAY_FLAGS && mailbox->uidnext > 1)
		tale_row(tale, mailbox->stray, "\\Deleted");
	if (mailbox->lies & FAKE_LIE_UNTOLD && tale->row_count > 0)
		tale->row_count--;
}

static void tell_vanished(const struct fake_mailbox *mailbox, uint64_t modseq, struct tale *tale)
{
	for (size_t i = 0; i < mailbox->gone_count; i++)
		if (mailbox->gone[i].modseq > modseq)
			tale_range(tale, mailbox->gone[i].first, mailbox->gone[i].last);
	if (mailbox->lies & FAKE_LIE_VANISHED && mailbox->count > 0)
		tale_range(tale, mailbox->messages[0].uid, mailbox->messages[0].uid);
	if (mailbox->lies & FAKE_LIE_VANISHED_ALL)
		tale_range(tale, 1, UINT32_MAX);
	if (mailbox->lies & FAKE_LIE_GONE_UNTOLD && tale->range_count > 0)
		tale->range_count--;
}

struct source_state fake_state(const struct fake_mailbox *mailbox)
{
	uint64_t modseq = mailbox->lies & FAKE_LIE_MODSEQ_STANDS ? 1 : mailbox->modseq;
	return (struct source_state){.uidvalidity = mailbox->uidvalidity,
		.uidnext = mailbox->uidnext,
		.messages = mailbox->lies & FAKE_LIE_EMPTY ? 0
	                    : mailbox->exists              ? mailbox->exists
	                                                   : (uint32_t)mailbox->count,
		.modseq = modseq,
		.mailbox_id = mailbox->mailbox_id};
}

int fake_resync(struct source_session *session, const struct source_resync *resync,
	struct source_state *state, struct source_error *error)
{
	struct fake_mailbox *mailbox = session->selected;
	struct tale tale = {0};
	session->fake->counts.resyncs++;
	session->fake->counts.misuse +=
		!(session->fake->abilities & SOURCE_CAN_QRESYNC) || resync->modseq == 0;
	if (resync->uidvalidity != mailbox->uidvalidity || !mailbox->modseq)
		return 0;
	tell_vanished(mailbox, resync->modseq, &tale);
	tell_changed(mailbox, 1, UINT32_MAX, resync->modseq, &tale);
	int err = tell(session, &tale, resync->row, resync->vanished, resync->arg, error);
	tale_finish(&tale);
	state->resynced = true;
	return err;
}

int fake_changed(struct source_session *session, uint32_t first, uint32_t last, uint64_t modseq,
	source_row_fn *fn, void *arg, unsigned *ret_skipped, struct source_error *error)
{
	struct tale tale = {0};
	int err = fake_enter(session, true, error);
	if (err < 0)
		return err;
	struct fake_mailbox *mailbox = session->selected;
	session->fake->counts.changed++;
	session->fake->counts.misuse += !(session->fake->abilities & SOURCE_CAN_CONDSTORE) ||
	                                !mailbox->modseq || modseq == 0;
	if (mailbox->changed_err < 0)
		err = fake_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_CAUSE_OTHER,
			mailbox->changed_err, "CHANGEDSINCE refused by the script");
	if (err == 0) {
		tell_changed(mailbox, first, last, modseq, &tale);
		err = tell(session, &tale, fn, NULL, arg, error);
	}
	if (err == 0)
		*ret_skipped = mailbox->changed_skips;
	tale_finish(&tale);
	return fake_leave(session, err);
}

static void tell_uids(
	const struct fake_mailbox *mailbox, uint32_t first, uint32_t last, struct tale *tale)
{
	bool skip = mailbox->lies & FAKE_LIE_UIDS;
	for (size_t i = 0; i < mailbox->count; i++) {
		const struct fake_message *message =
			&mailbox->messages[mailbox->reversed ? mailbox->count - 1 - i : i];
		if (message->uid < first || message->uid > last)
			continue;
		if (!skip && i >= mailbox->unsearched)
			tale_range(tale, message->uid, message->uid);
		skip = false;
	}
	if (mailbox->lies & FAKE_LIE_UIDS_ALL)
		tale_range(tale, first, last);
	if (mailbox->ghosts_first && mailbox->ghosts_first >= first && mailbox->ghosts_last <= last)
		tale_range(tale, mailbox->ghosts_first, mailbox->ghosts_last);
}

int fake_uids(struct source_session *session, uint32_t first, uint32_t last, source_range_fn *fn,
	void *arg, struct source_error *error)
{
	struct tale tale = {0};
	int err = fake_enter(session, true, error);
	if (err < 0)
		return err;
	session->fake->counts.uids++;
	if (session->selected->uids_err < 0)
		return fake_leave(session,
			fake_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_CAUSE_OTHER,
				session->selected->uids_err, "SEARCH refused by the script"));
	tell_uids(session->selected, first, last, &tale);
	err = tell(session, &tale, NULL, fn, arg, error);
	tale_finish(&tale);
	return fake_leave(session, err);
}

int fake_status(struct source_session *session, const char *name, struct source_state *ret,
	struct source_error *error)
{
	int err = fake_enter(session, false, error);
	if (err < 0)
		return err;
	struct fake_mailbox *mailbox = fake_mailbox_named(session->fake, name);
	if (session->fake->ghosts && session->selected &&
		strcmp(session->selected->name, name) == 0)
		mailbox = session->selected;
	session->fake->counts.statuses++;
	if (!mailbox || mailbox->status_err)
		return fake_leave(session,
			fake_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_CAUSE_MAILBOX,
				mailbox ? mailbox->status_err : -ENOENT, "STATUS refused"));
	*ret = fake_state(mailbox);
	if (!(mailbox->lies & FAKE_LIE_EMPTY_STATUS))
		ret->messages = (uint32_t)mailbox->count;
	return fake_leave(session, 0);
}

unsigned fake_abilities(const struct source_session *session)
{
	struct fake_source *fake = session->fake;
	pthread_mutex_lock(&fake->lock);
	unsigned abilities = fake->abilities & ~session->unable;
	pthread_mutex_unlock(&fake->lock);
	return abilities;
}

/* --- What another client does --- */

static void note_gone(struct fake_mailbox *mailbox, uint32_t uid)
{
	if (array_grow(&mailbox->gone, &mailbox->gone_cap, mailbox->gone_count + 1,
		    sizeof(*mailbox->gone)) < 0)
		abort();
	mailbox->gone[mailbox->gone_count++] = (struct fake_gone){uid, uid, ++mailbox->modseq};
}

void fake_expunge(struct fake_source *fake, struct fake_mailbox *mailbox, uint32_t uid)
{
	fake_message_remove(fake, mailbox, uid);
	pthread_mutex_lock(&fake->lock);
	note_gone(mailbox, uid);
	pthread_mutex_unlock(&fake->lock);
}

void fake_flag(
	struct fake_source *fake, struct fake_mailbox *mailbox, uint32_t uid, const char *flags)
{
	pthread_mutex_lock(&fake->lock);
	struct fake_message *message = fake_message(mailbox, uid);
	message->flags = flags;
	message->modseq = ++mailbox->modseq;
	pthread_mutex_unlock(&fake->lock);
}

uint32_t fake_append(struct fake_source *fake, struct fake_mailbox *mailbox, const char *data,
	uint64_t len, const char *flags)
{
	pthread_mutex_lock(&fake->lock);
	uint32_t uid = mailbox->uidnext;
	struct fake_message *message = fake_message_add(mailbox, uid, data, len);
	message->flags = flags;
	message->modseq = ++mailbox->modseq;
	pthread_mutex_unlock(&fake->lock);
	return uid;
}

void fake_renumber(struct fake_source *fake, struct fake_mailbox *mailbox, uint32_t uidvalidity,
	uint32_t first_uid)
{
	pthread_mutex_lock(&fake->lock);
	mailbox->uidvalidity = uidvalidity;
	mailbox->gone_count = 0;
	mailbox->modseq++;
	for (size_t i = 0; i < mailbox->count; i++) {
		mailbox->messages[i].uid = first_uid++;
		mailbox->messages[i].modseq = mailbox->modseq;
	}
	mailbox->uidnext = first_uid;
	pthread_mutex_unlock(&fake->lock);
}
