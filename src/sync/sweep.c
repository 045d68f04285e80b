/* SPDX-License-Identifier: MIT */
/*
 * What is deleted on the server. Only what is durable here: recorded, and its file read and compared in this session, or
 * written in it. And only what is certain to be that message: by a unique-id beyond doubt, or because its whole content was
 * fetched and compared in this session. And only what has the size that the server lists. Nothing by a listing that contradicts itself.
 *
 * The server deletes at QUIT (RFC 1939 §6). It is believed when it has said +OK to DELE and to QUIT; in any other case the
 * message is looked at again the next time, wherever it then is.
 */
#include "intake.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"
#include "mailfs/util/log.h"

/* Files that are compared before the server hears of us again. */
#define SWEEP_BATCH 256

struct sweep {
	struct look *look;
	uint32_t numbers[SWEEP_BATCH];
	uint32_t uids[SWEEP_BATCH];
	size_t count;
	uint32_t *removed; /* numbers of ours that the server has marked */
	size_t removed_count;
};

static void complain(struct look *look, const char *words)
{
	struct look_report *report = &look->report;
	if (!report->unswept)
		snprintf(report->unswept_words, sizeof(report->unswept_words), "%.*s",
			WORDS_MAX - 1, words);
	report->unswept = true;
}

/* Who stops it need not be told. */
static void complain_of(struct look *look, const struct source_error *error)
{
	if (error->scope != SOURCE_SCOPE_CANCELLED)
		complain(look, error->text);
}

static void complain_unproven(struct look *look, size_t count)
{
	char words[WORDS_MAX];
	if (count == 0)
		return;
	snprintf(words, sizeof(words),
		"%zu stay there, because what came has not the size that the server lists, and so may not be the whole message",
		count);
	complain(look, words);
}

/* Whether it may be deleted and it is time to, if its file is sound. */
static bool is_due(const struct look *look, const struct plan_entry *entry, int64_t due_s)
{
	switch (entry->state) {
	case PLAN_STORED:
		return due_s == INT64_MAX;
	case PLAN_HERE:
	case PLAN_HERE_BY_CONTENT:
		return look->plan.records[entry->record].stored_s <= due_s;
	default:
		return false;
	}
}

/*
 * --- Sizes ---
 *
 * A message that was cut, or mixed up with another, mostly has another size than the listed one, so only what has that size is
 * proven to be whole and the right one. What differs is explained by nothing but line ends: that of the last line is added on the wire; servers count LF where they send CRLF, or
 * the other way round, and then the difference is the number of lines exactly. That a server's sizes are wrong throughout
 * proves nothing: so does one whose answers are one behind the questions, or that gives headers alone.
 */

struct ends {
	uint64_t crlf, bare; /* lines that end so */
};

/* len bytes of the file, from where it lies on. */
static int count_ends(int fd, uint64_t offset, uint64_t len, struct ends *ret)
{
	char piece[16 << 10];
	char last = 0;
	*ret = (struct ends){0};
	while (len > 0) {
		size_t want = len < sizeof(piece) ? (size_t)len : sizeof(piece);
		ssize_t n = pread(fd, piece, want, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		for (ssize_t i = 0; i < n; last = piece[i++]) {
			ret->crlf += piece[i] == '\n' && last == '\r';
			ret->bare += piece[i] == '\n' && last != '\r';
		}
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* Whether the message has the listed size if all its lines end in LF, or in CRLF. */
static bool is_explained(const struct look *look, const struct plan_entry *entry, uint64_t listed)
{
	struct ends ends;
	uint64_t offset, size = entry->size_bytes;
	if (listed == UINT64_MAX || listed > 2 * size || listed < size / 2)
		return false;
	_cleanup_close_ int fd = store_spool_open(
		look->account->store, look->drop->serve.number, entry->uid, &offset);
	if (fd < 0 || count_ends(fd, offset, size, &ends) < 0)
		return false;
	/* The last line may have got its end on the way. */
	return listed == size - ends.crlf || listed + 1 == size - ends.crlf ||
	       listed == size + ends.bare;
}

/* Whether its size says that it is the message that the server lists. */
static bool is_proven(const struct look *look, size_t index)
{
	const struct plan_entry *entry = &look->plan.entries[index];
	uint64_t listed = look->listing.entries[index].size_bytes;
	return maildrop_fits(listed, entry->size_bytes) || is_explained(look, entry, listed);
}

/* 1: its file is what was downloaded. 0: it is not; it stays on the server, and the next look fetches it. */
static int is_sound(struct look *look, struct plan_entry *entry)
{
	if (entry->state == PLAN_STORED)
		return 1;
	int err = store_spool_verify(look->account->store, look->drop->serve.number, entry->uid);
	if (err == 0)
		return 1;
	if (err != -EBADMSG)
		return err;
	/* The store has said so. */
	entry->state = PLAN_PROBE;
	look->report.missing++;
	return 0;
}

static void on_removed(void *arg, uint32_t number, int err, const char *text)
{
	struct sweep *sweep = arg;
	if (err < 0) {
		complain(sweep->look, text ? text : strerror(-err));
		return;
	}
	for (size_t i = 0; i < sweep->count; i++) {
		if (sweep->numbers[i] != number)
			continue;
		sweep->removed[sweep->removed_count++] = sweep->uids[i];
		sweep->numbers[i] = 0;
		return;
	}
}

static int sweep_flush(struct sweep *sweep)
{
	struct look *look = sweep->look;
	struct source_error error = {0};
	if (sweep->count == 0)
		return 0;
	int err = look->drop->params.maildrop->ops->remove(
		look->session, sweep->numbers, sweep->count, on_removed, sweep, &error);
	if (err < 0)
		complain_of(look, &error);
	sweep->count = 0;
	return err;
}

static int sweep_entry(struct sweep *sweep, size_t index)
{
	struct look *look = sweep->look;
	struct plan_entry *entry = &look->plan.entries[index];
	int sound = is_sound(look, entry);
	/* A file that can not be read keeps its own message there, and no other. */
	if (sound < 0)
		complain(look, "a file here can not be read");
	if (sound <= 0)
		return 0;
	sweep->numbers[sweep->count] = look->listing.entries[index].number;
	sweep->uids[sweep->count++] = entry->uid;
	return sweep->count == SWEEP_BATCH ? sweep_flush(sweep) : 0;
}

static int sweep_all(struct sweep *sweep)
{
	struct look *look = sweep->look;
	int64_t due_s = look_due_s(look);
	size_t unproven = 0;
	int err = 0;
	for (size_t i = 0; err == 0 && i < look->listing.count; i++) {
		if (!is_due(look, &look->plan.entries[i], due_s))
			continue;
		if (!is_proven(look, i)) {
			unproven++;
			continue;
		}
		/* Files may take long to compare, and nobody else looks whether it is to end. */
		err = intake_pause(look->drop->intake, 0) ? -ECANCELED : sweep_entry(sweep, i);
	}
	complain_unproven(look, unproven);
	return err == 0 ? sweep_flush(sweep) : err;
}

/* Without it the server deletes nothing, and without its answer that is not believed. */
static void sweep_quit(struct sweep *sweep)
{
	struct look *look = sweep->look;
	const struct maildrop_ops *ops = look->drop->params.maildrop->ops;
	struct source_error error = {0};
	if (sweep->removed_count == 0) {
		ops->leave(look->session);
		return;
	}
	int err = ops->quit(look->session, &error);
	if (err < 0) {
		complain_of(look, &error);
		return;
	}
	err = store_spool_deleted(look->account->store, look->drop->serve.number, sweep->removed,
		sweep->removed_count, clock_wall_s());
	if (err < 0)
		complain(look, "it can not be recorded here");
	else
		log_info("%s: %zu messages deleted on the server", look->account->name,
			sweep->removed_count);
}

void sweep(struct look *look)
{
	struct sweep sweep = {.look = look};
	int err = 0;
	bool wanted = look->drop->params.after == SYNC_AFTER_DELETE;
	if (wanted && look->listing.doubtful) {
		complain(look, "its lists contradict each other");
	} else if (wanted) {
		sweep.removed = calloc(look->listing.count + 1, sizeof(*sweep.removed));
		err = sweep.removed ? sweep_all(&sweep) : -ENOMEM;
	}
	/* After an error there is no QUIT, and so nothing is deleted. */
	if (err == 0)
		sweep_quit(&sweep);
	free(sweep.removed);
}
