/* SPDX-License-Identifier: MIT */
/*
 * What sync tells goes into the folder's index, and, where the kernel may have been told otherwise,
 * to the observer. The lock of a folder is held for single steps only; the observer is called
 * without it.
 *
 * A size that turns out smaller than announced is not told: the read that found it is answered
 * short, and the kernel cuts the file by itself; an invalidation that overtakes that answer would
 * make it keep the old size and fill up with zeros.
 */
#include <errno.h>
#include <string.h>

#include "mailfs/util/cleanup.h"
#include "mailfs/util/log.h"

#include "private.h"

void tell_attributes(struct tree *tree, uint64_t node)
{
	const struct tree_observer *observer = atomic_load(&tree->observer);
	if (observer)
		observer->attributes(observer->arg, node);
}

static void tell_contents(struct tree *tree, uint64_t node)
{
	const struct tree_observer *observer = atomic_load(&tree->observer);
	if (observer && observer->contents)
		observer->contents(observer->arg, node);
}

void tell_directory(struct tree *tree, const struct folder *folder)
{
	const struct tree_observer *observer = atomic_load(&tree->observer);
	if (!observer)
		return;
	observer->directory(observer->arg, folder_node(tree, folder, false));
	observer->directory(observer->arg, folder_node(tree, folder, true));
}

void tell_gone(struct tree *tree, const struct folder *folder, const char *name, unsigned shown)
{
	const struct tree_observer *observer = atomic_load(&tree->observer);
	char view_name[MIME_NAME_MAX + 1];
	if (!observer)
		return;
	if (shown & INDEX_SHOWN)
		observer->gone(observer->arg, folder_node(tree, folder, false), name);
	if (!(shown & INDEX_SHOWN_VIEW))
		return;
	size_t len = message_view_len(name);
	memcpy(view_name, name, len);
	view_name[len] = 0;
	observer->gone(observer->arg, folder_node(tree, folder, true), view_name);
}

static void tell_appeared(struct tree *tree, const struct folder *folder, const char *name)
{
	const struct tree_observer *observer = atomic_load(&tree->observer);
	if (observer && observer->appeared)
		observer->appeared(observer->arg, folder_node(tree, folder, false), name, false);
}

static void tell_disappeared(
	struct tree *tree, const struct folder *folder, const char *name, uint64_t node)
{
	const struct tree_observer *observer = atomic_load(&tree->observer);
	if (observer && observer->disappeared)
		observer->disappeared(
			observer->arg, folder_node(tree, folder, false), name, node, false);
}

/* --- rows --- */

enum { FIELD_FROM, FIELD_SUBJECT, FIELD_TO, FIELD_MESSAGE_ID, FIELDS };

static void find_fields(const struct source_row *row, struct mime_span fields[FIELDS])
{
	static const char *const names[FIELDS] = {"From", "Subject", "To", "Message-ID"};
	bool header = row->have & SOURCE_ROW_HEADER;
	mime_header_find(row->header, header ? row->header_len : 0, names, FIELDS, fields);
}

static struct index_entry row_entry(
	const struct source_row *row, const struct mime_span fields[FIELDS])
{
	static const unsigned facts[FIELDS] = {
		INDEX_FROM, INDEX_SUBJECT, INDEX_TO, INDEX_MESSAGE_ID};
	unsigned flags = 0;
	for (size_t i = 0; i < FIELDS; i++)
		flags |= fields[i].data ? facts[i] : 0;
	flags |= row->have & SOURCE_ROW_SIZE ? INDEX_SIZED : 0;
	flags |= row->have & SOURCE_ROW_DATE ? INDEX_DATED : 0;
	flags |= row->have & SOURCE_ROW_FLAGS ? INDEX_FLAGGED : 0;
	flags |= row->have & SOURCE_ROW_LABELS && row->labels ? INDEX_LABELLED : 0;
	uint64_t size = row->have & SOURCE_ROW_SIZE ? row->size_bytes : 0;
	return (struct index_entry){
		.size_bytes = (size < INDEX_SIZE_MAX ? size : INDEX_SIZE_MAX) & INDEX_SIZE_MAX,
		.flags = (uint16_t)flags,
		.date_s = row->have & SOURCE_ROW_DATE ? row->date_s : 0,
		.uid = row->uid,
	};
}

static int row_name(const struct tree *tree, const struct source_row *row,
	const struct mime_span fields[FIELDS], char *out)
{
	struct mime_name_facts facts = {
		.date_s = row->have & SOURCE_ROW_DATE ? row->date_s : 0,
		.uid = row->uid,
		.found = true,
		.from = fields[FIELD_FROM],
		.subject = fields[FIELD_SUBJECT],
	};
	return mime_name_message(tree->names, &facts, out) ? 0 : -ENOMEM;
}

/* What the kernel must forget of a message that was announced again. */
struct correction {
	unsigned shown; /* where the old name is known; 0: the name did not change */
	bool grown;
	char name[INDEX_NAME_SIZE];
};

/* The name follows from the facts; whoever was shown the old one must forget it. */
static int row_rename(struct folder *folder, size_t at, struct index_entry *entry, const char *name,
	struct correction *ret)
{
	int r = index_name(&folder->index, entry, ret->name);
	if (r < 0 || strcmp(ret->name, name) == 0)
		return r;
	ret->shown = entry->flags & (INDEX_SHOWN | INDEX_SHOWN_VIEW);
	entry->flags &= (uint16_t) ~(INDEX_SHOWN | INDEX_SHOWN_VIEW);
	folder->version++;
	return index_rename(&folder->index, at, entry, name);
}

/*
 * A message that is announced again is corrected in place, so that positions stay. A row that tells
 * less than is known changes nothing; name is then the one that stays.
 */
static int row_update(struct folder *folder, size_t at, const struct index_entry *fresh, char *name,
	struct correction *ret)
{
	struct index_entry entry;
	int r = index_revive(&folder->index, at);
	if (r == 0)
		r = index_get(&folder->index, at, &entry);
	if (r < 0)
		return r;
	if (entry.flags & INDEX_FACTS & ~fresh->flags)
		return index_name(&folder->index, &entry, name);
	r = row_rename(folder, at, &entry, name, ret);
	if (r < 0)
		return r;
	ret->grown = fresh->size_bytes > entry.size_bytes;
	entry.date_s = fresh->date_s;
	if (fresh->size_bytes != entry.size_bytes)
		entry.flags &= (uint16_t)~INDEX_TRUE_SIZE;
	entry.size_bytes = fresh->size_bytes;
	entry.flags |= fresh->flags;
	return index_put(&folder->index, at, &entry);
}

/* *ret_new: it was not there before. */
static int row_put(struct folder *folder, const struct index_entry *fresh, char *name,
	struct correction *ret, bool *ret_new)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	ssize_t at = index_find(&folder->index, fresh->uid);
	if (at >= 0) {
		size_t live = index_live(&folder->index);
		int r = row_update(folder, (size_t)at, fresh, name, ret);
		*ret_new = index_live(&folder->index) > live;
		folder->version += *ret_new ? 1 : 0;
		return r;
	}
	if (at != -ENOENT)
		return (int)at;
	folder->version++;
	at = index_append(&folder->index, fresh, name);
	*ret_new = at >= 0;
	return at < 0 ? (int)at : 0;
}

/* Said once: where memory is short it may be so for each message. */
static void make_incomplete(struct folder *folder, uint32_t uid, int err)
{
	pthread_mutex_lock(&folder->lock);
	bool again = folder->incomplete;
	folder->incomplete = true;
	pthread_mutex_unlock(&folder->lock);
	if (!again)
		log_error("%s: no room for message %u: its folder can not be listed: %s",
			folder->name, uid, strerror(-err));
}

/* whole: the folder had been shown whole before. */
static void row_announce(
	struct tree *tree, struct folder *folder, const struct source_row *row, bool whole)
{
	/* One that can not be listed can not be listed with more. */
	if (folder_is_incomplete(folder))
		return;
	char name[INDEX_NAME_SIZE];
	struct correction correction = {0};
	bool is_new = false;
	struct mime_span fields[FIELDS];
	find_fields(row, fields);
	struct index_entry fresh = row_entry(row, fields);
	int r = row_name(tree, row, fields, name);
	if (r == 0)
		r = row_put(folder, &fresh, name, &correction, &is_new);
	if (r < 0)
		make_incomplete(folder, fresh.uid, r);
	if (correction.grown)
		tell_attributes(tree, node_message(folder_number(folder), fresh.uid, false));
	if (correction.shown)
		tell_gone(tree, folder, correction.name, correction.shown);
	if (!is_new || !whole)
		return;
	tell_appeared(tree, folder, name);
	if (news_wanted(tree))
		news_message(tree, TREE_NEWS_NEW, folder, name, fresh.uid,
			row->have & SOURCE_ROW_FLAGS ? row->flags : NULL);
}

static bool is_whole(struct sync_folder *sync)
{
	uint64_t seen;
	int err;
	return sync_folder_progress(sync, &seen, &err) == SYNC_LISTING_WHOLE;
}

static void events_rows(
	void *arg, struct sync_folder *sync, const struct source_row *rows, size_t count)
{
	struct folder *folder = folder_of_sync(sync);
	if (!folder)
		return;
	bool whole = is_whole(sync);
	for (size_t i = 0; i < count; i++)
		row_announce(arg, folder, &rows[i], whole);
}

/* --- the others --- */

/* The folder begins anew: what the kernel knows of the old messages goes. */
void tell_all_gone(struct tree *tree, const struct folder *folder, struct index *old)
{
	for (size_t i = 0; i < old->count; i++) {
		struct index_entry entry;
		char name[INDEX_NAME_SIZE];
		if (index_get(old, i, &entry) == 0 && !(entry.flags & INDEX_GONE) &&
			index_name(old, &entry, name) == 0)
			tell_gone(tree, folder, name, entry.flags);
	}
}

static void events_reset(void *arg, struct sync_folder *sync, uint32_t number)
{
	struct tree *tree = arg;
	struct folder *folder = folder_of_sync(sync);
	if (!folder)
		return;
	pthread_mutex_lock(&folder->lock);
	struct index old = folder->index;
	uint32_t old_number = folder->number;
	index_init(&folder->index, old.pages);
	folder->number = number;
	folder->epoch++;
	folder->version++;
	folder->incomplete = false;
	pthread_mutex_unlock(&folder->lock);

	if (old_number && old_number != number)
		folder_set_number(tree, old_number, NULL);
	if (folder_set_number(tree, number, folder) < 0) {
		log_error("%s: no memory: its messages can not be opened", folder->name);
		pthread_mutex_lock(&folder->lock);
		folder->incomplete = true;
		pthread_mutex_unlock(&folder->lock);
	}
	tell_all_gone(tree, folder, &old);
	if (old.count > 0)
		tell_directory(tree, folder);
	index_finish(&old);
}

/* Where a message is that is there. Locked. -ENOENT. */
static ssize_t name_of(
	struct folder *folder, uint32_t uid, char ret[INDEX_NAME_SIZE], unsigned *ret_flags)
{
	struct index_entry entry;
	ssize_t at = index_find(&folder->index, uid);
	int r = at < 0 ? (int)at : index_get(&folder->index, (size_t)at, &entry);
	if (r == 0 && entry.flags & INDEX_GONE)
		return -ENOENT;
	if (r == 0)
		r = index_name(&folder->index, &entry, ret);
	if (r < 0)
		return r;
	*ret_flags = entry.flags;
	return at;
}

/* What is to be told of a message that is gone. */
struct buried {
	char name[INDEX_NAME_SIZE];
	unsigned flags;
	uint32_t number;
};

/* Takes a message out. -ENOENT: it is not there. */
static int bury(struct folder *folder, uint32_t uid, struct buried *ret)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	ssize_t at = name_of(folder, uid, ret->name, &ret->flags);
	if (at < 0)
		return (int)at;
	ret->number = folder->number;
	folder->version++;
	return index_bury(&folder->index, (size_t)at);
}

/* whole: the folder had been shown whole before. */
static void message_gone(struct tree *tree, struct folder *folder, uint32_t uid, bool whole)
{
	struct buried buried;
	int r = bury(folder, uid, &buried);
	/* One that is gone and can not be taken out must not be shown. */
	if (r < 0 && r != -ENOENT)
		make_incomplete(folder, uid, r);
	if (r < 0)
		return;
	tell_gone(tree, folder, buried.name, buried.flags);
	if (!whole)
		return;
	tell_disappeared(tree, folder, buried.name, node_message(buried.number, uid, false));
	if (news_wanted(tree))
		news_message(tree, TREE_NEWS_GONE, folder, buried.name, uid, NULL);
}

static void events_gone(void *arg, struct sync_folder *sync, const uint32_t *uids, size_t count)
{
	struct folder *folder = folder_of_sync(sync);
	if (!folder)
		return;
	bool whole = is_whole(sync);
	for (size_t i = 0; i < count; i++)
		message_gone(arg, folder, uids[i], whole);
}

static void events_size(void *arg, struct sync_folder *sync, uint32_t uid, uint64_t size_bytes)
{
	struct folder *folder = folder_of_sync(sync);
	if (folder)
		message_set_size(arg, folder_number(folder), uid, size_bytes);
}

static void events_section_size(
	void *arg, struct sync_folder *sync, uint32_t uid, const char *section, uint64_t size_bytes)
{
	struct folder *folder = folder_of_sync(sync);
	if (folder)
		inside_set_size(arg, folder_number(folder), uid, section, size_bytes);
}

/* The parts of a message were cut out of it, or may have been. */
static void events_refuted(void *arg, struct sync_folder *sync, uint32_t uid, const char *section)
{
	struct tree *tree = arg;
	struct folder *folder = folder_of_sync(sync);
	uint64_t node = 0;
	if (!folder)
		return;
	uint32_t number = folder_number(folder);
	if (!section[0])
		tell_contents(tree, node_message(number, uid, false));
	while ((node = nodes_next(&tree->nodes, number, uid, section, node)))
		tell_contents(tree, node);
}

static void events_changed(void *arg, struct sync_folder *sync, int64_t changed_s)
{
	struct folder *folder = folder_of_sync(sync);
	(void)changed_s; /* asked for when attributes are */
	if (folder)
		tell_directory(arg, folder);
}

/* false: there is no such message, or it can not be told. */
static bool name_to_tell(struct folder *folder, uint32_t uid, char *ret)
{
	unsigned flags;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	return name_of(folder, uid, ret, &flags) >= 0;
}

/* The kernel knows nothing of flags. */
static void events_flags(
	void *arg, struct sync_folder *sync, const struct store_flags *flags, size_t count)
{
	struct folder *folder = folder_of_sync(sync);
	char name[INDEX_NAME_SIZE];
	for (size_t i = 0; folder && news_wanted(arg) && i < count; i++)
		if (name_to_tell(folder, flags[i].uid, name))
			news_message(
				arg, TREE_NEWS_FLAGS, folder, name, flags[i].uid, flags[i].flags);
}

static void events_link(void *arg)
{
	if (news_wanted(arg))
		news_link(arg);
}

struct sync_events events_of_tree(struct tree *tree)
{
	return (struct sync_events){
		.arg = tree,
		.reset = events_reset,
		.rows = events_rows,
		.gone = events_gone,
		.size = events_size,
		.section_size = events_section_size,
		.refuted = events_refuted,
		.changed = events_changed,
		.flags = events_flags,
		.added = roster_added,
		.removed = roster_removed,
		.attributes = roster_attributes,
		.link = events_link,
	};
}
