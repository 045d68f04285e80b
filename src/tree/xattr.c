/* SPDX-License-Identifier: MIT */
/*
 * Extended attributes. Which ones a message has is in the index, so that listing them (as newer
 * versions of ls do for every file) touches no disk, but for the unique-id of a maildrop's message,
 * which is asked for once; the values of those that the index does not hold come from the store.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "mailfs/util/cleanup.h"

#include "private.h"

#define PREFIX "user.mailfs."

/* --- Messages --- */

/* From the index alone. */
static int uid_value(const struct index_entry *message, struct str *out)
{
	str_printf(out, "%" PRIu32, message->uid);
	return str_error(out);
}

static int size_value(const struct index_entry *message, struct str *out)
{
	str_printf(out, "%" PRIu64, (uint64_t)message->size_bytes);
	return str_error(out);
}

static int date_value(const struct index_entry *message, struct str *out)
{
	time_t date = (time_t)message->date_s;
	char text[64];
	struct tm tm;
	if (date != message->date_s || !gmtime_r(&date, &tm) ||
		strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
		return -ENODATA;
	str_append_cstr(out, text);
	return str_error(out);
}

/* From the stored row. */
static int flags_value(const struct source_row *row, struct str *out)
{
	str_append_cstr(out, row->flags ? row->flags : "");
	return str_error(out);
}

static int labels_value(const struct source_row *row, struct str *out)
{
	str_append_cstr(out, row->labels ? row->labels : "");
	return str_error(out);
}

/*
 * What the kernel takes (XATTR_SIZE_MAX): a longer value would be an error to whoever copies the message with its attributes. It is for people,
 * and ends in an ellipsis where it was cut.
 */
#define VALUE_MAX 65536

static void value_limit(struct str *value)
{
	static const char ellipsis[] = "\xe2\x80\xa6";
	size_t len = VALUE_MAX - strlen(ellipsis);
	if (value->len <= VALUE_MAX)
		return;
	while (len > 0 && ((unsigned char)value->data[len] & 0xc0) == 0x80)
		len--;
	str_truncate(value, len);
	str_append_cstr(value, ellipsis);
}

static int field_value(const struct source_row *row, const char *field,
	int (*decode)(const char *, size_t, struct str *), struct str *out)
{
	_cleanup_str_ struct str raw = STR_INIT;
	int r = row->have & SOURCE_ROW_HEADER
	                ? mime_header_get(row->header, row->header_len, field, &raw)
	                : -ENOENT;
	if (r < 0)
		return r == -ENOENT ? -ENODATA : r;
	r = decode(str_cstr(&raw), raw.len, out);
	value_limit(out);
	return r;
}

static int from_value(const struct source_row *row, struct str *out)
{
	return field_value(row, "From", mime_addresses_decode, out);
}

static int to_value(const struct source_row *row, struct str *out)
{
	return field_value(row, "To", mime_addresses_decode, out);
}

static int subject_value(const struct source_row *row, struct str *out)
{
	return field_value(row, "Subject", mime_words_decode, out);
}

static int message_id_value(const struct source_row *row, struct str *out)
{
	return field_value(row, "Message-ID", mime_words_decode, out);
}

/* --- The server's unique-id of a message of a maildrop, from the record of its download --- */

#define UIDL_XATTR PREFIX "uidl"

/* Appends it; -ENODATA: it has none. What the store says is remembered: it never changes. */
static int uidl_value(struct tree *tree, struct node_number n, struct str *out)
{
	struct index_entry message;
	struct folder *folder;
	int r = message_get(tree, n.number, n.uid, &folder, &message);
	if (r < 0)
		return r;
	if (!tree->drop || message.flags & INDEX_NO_UIDL)
		return -ENODATA;
	r = store_spool_uidl(tree->store, n.number, n.uid, out);
	if (r == -ENOENT)
		return -ENODATA;
	if (r == 0 || r == -ENODATA)
		message_set_flags(tree, n.number, n.uid, r == 0 ? INDEX_UIDL : INDEX_NO_UIDL);
	return r;
}

static int uidl_list(
	struct tree *tree, struct node_number n, const struct index_entry *message, struct str *out)
{
	_cleanup_str_ struct str value = STR_INIT;
	bool has = message->flags & INDEX_UIDL || uidl_value(tree, n, &value) == 0;
	if (has)
		str_append(out, UIDL_XATTR, sizeof(UIDL_XATTR));
	return str_error(out);
}

/* --- The others --- */

static const struct message_xattr {
	const char *name;
	unsigned needs; /* enum index_flag; 0: every message has it */
	int (*of_index)(const struct index_entry *message, struct str *out);
	int (*of_row)(const struct source_row *row, struct str *out);
} message_xattrs[] = {
	{PREFIX "uid", 0, uid_value, NULL},
	{PREFIX "flags", INDEX_FLAGGED, NULL, flags_value},
	{PREFIX "date", INDEX_DATED, date_value, NULL},
	{PREFIX "from", INDEX_FROM, NULL, from_value},
	{PREFIX "to", INDEX_TO, NULL, to_value},
	{PREFIX "subject", INDEX_SUBJECT, NULL, subject_value},
	{PREFIX "message_id", INDEX_MESSAGE_ID, NULL, message_id_value},
	{PREFIX "size", INDEX_SIZED, size_value, NULL},
	{PREFIX "labels", INDEX_LABELLED, NULL, labels_value},
};
#define MESSAGE_XATTRS (sizeof(message_xattrs) / sizeof(message_xattrs[0]))

struct row_value {
	const struct message_xattr *xattr;
	struct str *out;
};

static int row_value(void *arg, const struct source_row *row)
{
	struct row_value *value = arg;
	return value->xattr->of_row(row, value->out);
}

static int message_value(
	struct tree *tree, struct node_number n, const struct message_xattr *xattr, struct str *out)
{
	struct index_entry message;
	struct folder *folder;
	int r = message_get(tree, n.number, n.uid, &folder, &message);
	if (r < 0)
		return r;
	if ((message.flags & xattr->needs) != xattr->needs)
		return -ENODATA;
	if (xattr->of_index)
		return xattr->of_index(&message, out);
	struct row_value value = {xattr, out};
	r = store_row_get(tree->store, n.number, n.uid, row_value, &value);
	return r == -ENOENT ? -ENODATA : r;
}

static int message_get_xattr(
	struct tree *tree, struct node_number n, const char *name, struct str *out)
{
	for (size_t i = 0; i < MESSAGE_XATTRS; i++)
		if (strcmp(message_xattrs[i].name, name) == 0)
			return message_value(tree, n, &message_xattrs[i], out);
	return strcmp(name, UIDL_XATTR) == 0 ? uidl_value(tree, n, out) : -ENODATA;
}

static int message_list(struct tree *tree, struct node_number n, struct str *out)
{
	struct index_entry message;
	struct folder *folder;
	int r = message_get(tree, n.number, n.uid, &folder, &message);
	for (size_t i = 0; i < MESSAGE_XATTRS && r == 0; i++)
		if ((message.flags & message_xattrs[i].needs) == message_xattrs[i].needs)
			str_append(out, message_xattrs[i].name, strlen(message_xattrs[i].name) + 1);
	return r < 0 ? r : uidl_list(tree, n, &message, out);
}

/* --- Folders --- */

static int mailbox_value(struct tree *tree, struct folder *folder, struct str *out)
{
	struct sync_folder *sync = folder_sync(folder);
	(void)tree;
	if (!sync)
		return -ENODATA;
	str_append_cstr(out, sync_folder_mailbox(sync)->name);
	return str_error(out);
}

static const char *special_use(const struct folder *folder)
{
	struct sync_folder *sync = folder_sync(folder);
	return sync ? sync_folder_mailbox(sync)->special_use : NULL;
}

static int special_use_value(struct tree *tree, struct folder *folder, struct str *out)
{
	const char *use = special_use(folder);
	(void)tree;
	if (!use)
		return -ENODATA;
	str_append_cstr(out, use);
	return str_error(out);
}

static int uidvalidity_value(struct tree *tree, struct folder *folder, struct str *out)
{
	struct store_mailbox state;
	struct sync_folder *sync = folder_messages(folder);
	(void)tree;
	if (!sync)
		return -ENODATA;
	sync_folder_state(sync, &state);
	str_printf(out, "%" PRIu32, state.uidvalidity);
	return str_error(out);
}

static int messages_value(struct tree *tree, struct folder *folder, struct str *out)
{
	(void)tree;
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&folder->lock);
	str_printf(out, "%zu", index_live(&folder->index));
	return str_error(out);
}

static int unseen_value(struct tree *tree, struct folder *folder, struct str *out)
{
	uint64_t messages, unseen;
	int r = store_folder_count(tree->store, folder_number(folder), &messages, &unseen);
	if (r < 0)
		return r;
	str_printf(out, "%" PRIu64, unseen);
	return str_error(out);
}

static bool has_mailbox(const struct tree *tree, const struct folder *folder)
{
	(void)tree;
	return folder_sync(folder);
}

static bool has_special_use(const struct tree *tree, const struct folder *folder)
{
	(void)tree;
	return special_use(folder);
}

/* POP3 has none, and so nothing that was seen. */
static bool has_flags(const struct tree *tree, const struct folder *folder)
{
	return folder_messages(folder) && !tree->drop;
}

static bool is_selectable(const struct tree *tree, const struct folder *folder)
{
	(void)tree;
	return folder_messages(folder);
}

static const struct folder_xattr {
	const char *name;
	bool (*has)(const struct tree *tree, const struct folder *folder);
	bool listed; /* the folder must have been listed */
	int (*value)(struct tree *tree, struct folder *folder, struct str *out);
} folder_xattrs[] = {
	{PREFIX "mailbox", has_mailbox, false, mailbox_value},
	{PREFIX "special_use", has_special_use, false, special_use_value},
	{PREFIX "uidvalidity", is_selectable, true, uidvalidity_value},
	{PREFIX "messages", is_selectable, true, messages_value},
	{PREFIX "unseen", has_flags, true, unseen_value},
};
#define FOLDER_XATTRS (sizeof(folder_xattrs) / sizeof(folder_xattrs[0]))

static int folder_get_xattr(struct tree *tree, struct folder *folder, const char *name,
	struct str *out, struct tree_call *call)
{
	for (size_t i = 0; i < FOLDER_XATTRS; i++) {
		const struct folder_xattr *xattr = &folder_xattrs[i];
		if (strcmp(xattr->name, name) != 0)
			continue;
		if (!xattr->has(tree, folder))
			return -ENODATA;
		int r = xattr->listed ? folder_listed(folder, call) : 0;
		return r < 0 ? r : xattr->value(tree, folder, out);
	}
	return -ENODATA;
}

static int folder_list(const struct tree *tree, const struct folder *folder, struct str *out)
{
	for (size_t i = 0; i < FOLDER_XATTRS; i++)
		if (folder_xattrs[i].has(tree, folder))
			str_append(out, folder_xattrs[i].name, strlen(folder_xattrs[i].name) + 1);
	return str_error(out);
}

/* --- The root --- */

/* Where mailfsctl finds the mount's socket: nothing that a backup should keep, so it is in no list. */
#define CONTROL_XATTR PREFIX "control"

int tree_set_control(struct tree *tree, const char *path)
{
	char *copy = strdup(path);
	if (!copy)
		return -ENOMEM;
	pthread_rwlock_wrlock(&tree->folders_lock);
	char *old = tree->control;
	tree->control = copy;
	pthread_rwlock_unlock(&tree->folders_lock);
	free(old);
	return 0;
}

static int control_value(struct tree *tree, struct str *out)
{
	pthread_rwlock_rdlock(&tree->folders_lock);
	bool known = tree->control;
	if (known)
		str_append_cstr(out, tree->control);
	pthread_rwlock_unlock(&tree->folders_lock);
	return known ? str_error(out) : -ENODATA;
}

/* Also where the folder that it shows is gone. */
static bool is_root(const struct tree *tree, struct node_number n)
{
	return n.kind == NODE_ROOT || ((n.kind == NODE_DIRECTORY || n.kind == NODE_VIEW) &&
					      n.number == atomic_load(&tree->root->directory));
}

/* --- Both --- */

int tree_xattr_get(
	struct tree *tree, uint64_t node, const char *name, struct str *out, struct tree_call *call)
{
	struct node_number n = node_parse(node);
	if (strncmp(name, PREFIX, strlen(PREFIX)) != 0 || n.kind == NODE_INSIDE)
		return -ENODATA;
	if (n.kind == NODE_MESSAGE || n.kind == NODE_VIEW_MESSAGE)
		return message_get_xattr(tree, n, name, out);
	struct folder *folder;
	int r = folder_of_node(tree, n, &folder);
	if (is_root(tree, n) && strcmp(name, CONTROL_XATTR) == 0)
		return control_value(tree, out);
	return r < 0 ? r : folder_get_xattr(tree, folder, name, out, call);
}

int tree_xattr_list(struct tree *tree, uint64_t node, struct str *out)
{
	struct node_number n = node_parse(node);
	if (n.kind == NODE_INSIDE)
		return 0;
	if (n.kind == NODE_MESSAGE || n.kind == NODE_VIEW_MESSAGE)
		return message_list(tree, n, out);
	struct folder *folder;
	int r = folder_of_node(tree, n, &folder);
	return r < 0 ? r : folder_list(tree, folder, out);
}
