/* SPDX-License-Identifier: MIT */
/*
 * See fake.h. The functions of sync and store that the tree calls are defined here, and only these.
 */
#include "fake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/list.h"
#include "mailfs/util/log.h"

struct fake fake;

struct sync_body {
	char dummy;
};

/* --- The world --- */

void fake_reset(void)
{
	fake = (struct fake){.made_up_s = 777};
	log_set_level(LOG_LEVEL_ERROR);
}

struct sync_folder *fake_folder(const char *name, char delimiter, unsigned flags)
{
	struct sync_folder *folder = &fake.folders[fake.folder_count++];
	assert_true(fake.folder_count <= FAKE_FOLDERS);
	folder->mailbox =
		(struct source_mailbox){.name = name, .delimiter = delimiter, .flags = flags};
	folder->directory = 100 + (uint32_t)fake.folder_count;
	folder->state.changed_s = 1000 + (int64_t)fake.folder_count;
	folder->current = true;
	return folder;
}

static int decode(const char *wire, struct str *out)
{
	str_append_cstr(out, wire);
	return str_error(out);
}

static void told_attributes(void *arg, uint64_t node)
{
	(void)arg;
	str_printf(&fake.told, "attributes %#jx\n", (uintmax_t)node);
}

static void told_directory(void *arg, uint64_t node)
{
	(void)arg;
	str_printf(&fake.told, "directory %#jx\n", (uintmax_t)node);
}

static void told_contents(void *arg, uint64_t node)
{
	(void)arg;
	str_printf(&fake.told, "contents %#jx\n", (uintmax_t)node);
}

static void told_gone(void *arg, uint64_t parent, const char *name)
{
	(void)arg;
	str_printf(&fake.told, "gone %#jx %s\n", (uintmax_t)parent, name);
}

static void told_appeared(void *arg, uint64_t parent, const char *name, bool directory)
{
	(void)arg;
	if (fake.tell_appeared)
		str_printf(&fake.told, "appeared %#jx %s%s\n", (uintmax_t)parent, name,
			directory ? "/" : "");
}

static void told_disappeared(
	void *arg, uint64_t parent, const char *name, uint64_t node, bool directory)
{
	(void)arg;
	if (fake.tell_appeared)
		str_printf(&fake.told, "disappeared %#jx %s%s %#jx\n", (uintmax_t)parent, name,
			directory ? "/" : "", (uintmax_t)node);
}

static const struct tree_observer observer = {.attributes = told_attributes,
	.directory = told_directory,
	.contents = told_contents,
	.gone = told_gone,
	.appeared = told_appeared,
	.disappeared = told_disappeared};

int fake_tree_params(const struct tree_params *params)
{
	int r = tree_create(params, &fake.tree);
	if (r == 0)
		tree_set_observer(fake.tree, &observer);
	return r;
}

struct tree_params fake_params(void)
{
	return (struct tree_params){
		.account_name = "me@example.org:993", .decode_name = decode, .umask = -1};
}

int fake_tree(const char *root)
{
	struct tree_params params = fake_params();
	params.root_folder = root;
	return fake_tree_params(&params);
}

void fake_finish(void)
{
	tree_call_finish(&fake.call);
	tree_destroy(fake.tree);
	str_finish(&fake.structure);
	str_finish(&fake.told);
	assert_int_equal(fake.bodies, 0);
}

void fake_announce(struct sync_folder *folder, uint32_t number)
{
	folder->state.folder = number;
	folder->state.uidvalidity = number * 10;
	folder->listing = SYNC_LISTING_RUNNING;
	fake.events.reset(fake.events.arg, folder, number);
	folder->seen++;
}

void fake_row(struct sync_folder *folder, const struct source_row *row)
{
	fake.events.rows(fake.events.arg, folder, row, 1);
	folder->seen++;
}

static void message_header(uint32_t uid, char header[64])
{
	snprintf(header, 64, "From: a@b.c\r\nSubject: s%u\r\n\r\n", uid);
}

void fake_message(struct sync_folder *folder, uint32_t uid)
{
	char header[64];
	message_header(uid, header);
	const struct source_row row = {
		.uid = uid,
		.have = SOURCE_ROW_FLAGS | SOURCE_ROW_DATE | SOURCE_ROW_SIZE | SOURCE_ROW_HEADER,
		.size_bytes = 1000 + uid,
		.date_s = 1700000000 + (int64_t)uid * 60,
		.flags = "\\Seen",
		.header = header,
		.header_len = strlen(header),
	};
	fake_row(folder, &row);
}

const char *fake_name(uint32_t uid)
{
	static char name[MIME_NAME_MAX + 1];
	char header[64];
	message_header(uid, header);
	const struct mime_name_facts facts = {.date_s = 1700000000 + (int64_t)uid * 60,
		.uid = uid,
		.header = header,
		.header_len = strlen(header)};
	assert_true(mime_name_message(NULL, &facts, name) > 0);
	return name;
}

void fake_listed(struct sync_folder *folder, uint32_t number, uint32_t count)
{
	fake_announce(folder, number);
	for (uint32_t uid = 1; uid <= count; uid++)
		fake_message(folder, uid);
	folder->listing = SYNC_LISTING_WHOLE;
	folder->seen++;
}

void fake_added(struct sync_folder *folder, struct sync_folder *former)
{
	if (former)
		former->gone = true;
	folder->gone = false;
	fake.events.added(fake.events.arg, folder, former);
}

void fake_removed(struct sync_folder *folder)
{
	folder->gone = true;
	fake.events.removed(fake.events.arg, folder);
}

/* --- Calls --- */

static void wake(struct sync_waiter *waiter, ssize_t result)
{
	assert_ptr_equal(waiter, &fake.call.waiter);
	fake.woken = true;
	fake.result = result;
	if (result >= 0)
		tree_call_woken(&fake.call, result);
}

struct tree_call *fake_call(void)
{
	tree_call_finish(&fake.call);
	tree_call_init(&fake.call, wake, CLOCK_NEVER);
	fake.woken = false;
	assert_null(fake.waiter);
	return &fake.call;
}

static int wait_for(struct sync_waiter *waiter)
{
	assert_null(fake.waiter);
	fake.waiter = waiter;
	return -EINPROGRESS;
}

void fake_wake(ssize_t result)
{
	struct sync_waiter *waiter = fake.waiter;
	assert_non_null(waiter);
	fake.waiter = NULL;
	waiter->wake(waiter, result);
}

uint64_t fake_node(const char *path)
{
	struct tree_entry entry = {.node = TREE_NODE_ROOT};
	char *copy = strdup(path), *save = NULL;
	for (char *name = strtok_r(copy, "/", &save); name; name = strtok_r(NULL, "/", &save))
		assert_int_equal(tree_lookup(fake.tree, entry.node, name, &entry, fake_call()), 0);
	free(copy);
	return entry.node;
}

static bool fill(void *arg, const char *name, const struct tree_entry *entry, uint64_t next)
{
	(void)entry;
	(void)next;
	str_printf(arg, "%s|", name);
	return true;
}

int fake_read_dir(struct tree_dir *dir, uint64_t offset, struct str *out)
{
	return tree_dir_read(dir, offset, false, fill, out, fake_call());
}

void fake_list(const char *path, struct str *out)
{
	struct tree_dir *dir;
	uint64_t node = fake_node(path);
	assert_int_equal(tree_dir_open(fake.tree, node, &dir, fake_call()), 0);
	assert_int_equal(fake_read_dir(dir, 0, out), 0);
	tree_dir_close(dir);
}

void fake_check_list(const char *path, const char *expected)
{
	struct str names = STR_INIT;
	fake_list(path, &names);
	assert_string_equal(str_cstr(&names), expected);
	str_finish(&names);
}

/* --- sync --- */

size_t sync_account_folder_count(const struct sync_account *account)
{
	(void)account;
	return fake.folder_count;
}

int store_scratch(struct store *store)
{
	(void)store;
	return fake.scratch_err ? fake.scratch_err
	                        : open("/tmp", O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
}

struct sync_folder *sync_account_folder(const struct sync_account *account, size_t index)
{
	(void)account;
	return &fake.folders[index];
}

void sync_account_set_events(struct sync_account *account, const struct sync_events *events)
{
	(void)account;
	fake.events = *events;
}

void sync_account_quota(struct sync_account *account, struct source_quota *ret)
{
	(void)account;
	*ret = fake.quota;
}

const struct source_mailbox *sync_folder_mailbox(const struct sync_folder *folder)
{
	return &folder->mailbox;
}

uint32_t sync_folder_directory_number(const struct sync_folder *folder)
{
	return folder->directory;
}

void sync_folder_state(struct sync_folder *folder, struct store_mailbox *ret)
{
	*ret = folder->state;
}

void sync_folder_set_data(struct sync_folder *folder, void *data)
{
	folder->data = data;
}

void *sync_folder_data(const struct sync_folder *folder)
{
	return folder->data;
}

int sync_account_survey(struct sync_account *account, struct sync_waiter *waiter)
{
	(void)account;
	fake.surveys++;
	return fake.survey_stale ? wait_for(waiter) : 0;
}

bool sync_account_sizes_distrusted(const struct sync_account *account)
{
	(void)account;
	return fake.distrusted;
}

int sync_folder_refresh(struct sync_folder *folder, struct sync_waiter *waiter)
{
	folder->refreshes++;
	if (folder->gone)
		return -ENOENT;
	if (folder->refresh_err)
		return folder->refresh_err;
	if (folder->listing == SYNC_LISTING_WHOLE && folder->current)
		return 0;
	if (folder->listing != SYNC_LISTING_WHOLE)
		folder->listing = SYNC_LISTING_RUNNING;
	return wait_for(waiter);
}

int sync_folder_wait(struct sync_folder *folder, uint64_t seen, struct sync_waiter *waiter)
{
	if (folder->seen != seen || folder->listing == SYNC_LISTING_WHOLE)
		return 0;
	if (folder->listing == SYNC_LISTING_NONE || folder->listing == SYNC_LISTING_FAILED)
		folder->listing = SYNC_LISTING_RUNNING;
	return wait_for(waiter);
}

enum sync_listing sync_folder_progress(struct sync_folder *folder, uint64_t *ret_seen, int *ret_err)
{
	*ret_seen = folder->seen;
	*ret_err = folder->err;
	return folder->listing;
}

bool sync_account_is_drop(const struct sync_account *account)
{
	(void)account;
	return fake.drop;
}

int sync_folder_expected(struct sync_folder *folder, uint32_t uid, struct sync_waiter *waiter)
{
	fake.expected_calls++;
	if (uid == fake.arriving)
		fake_message(folder, uid);
	if (uid != fake.expected)
		return 0;
	return fake.expected_err ? fake.expected_err : wait_for(waiter);
}

int sync_structure(struct sync_folder *folder, uint32_t uid, struct sync_waiter *waiter)
{
	(void)folder;
	(void)uid;
	fake.structure_calls++;
	return fake.structure_stored ? 0 : wait_for(waiter);
}

int sync_body_open(struct sync_folder *folder, uint32_t uid, const char *section,
	const struct mime_leaf *leaf, uint64_t size_bytes, struct sync_body **ret)
{
	(void)folder;
	(void)uid;
	assert_true(leaf == NULL || strcmp(leaf->section, section) == 0);
	snprintf(fake.opened_section, sizeof(fake.opened_section), "%s", section);
	fake.opened_size = size_bytes;
	fake.bodies++;
	*ret = malloc(sizeof(**ret));
	return 0;
}

void sync_body_close(struct sync_body *body)
{
	fake.bodies--;
	free(body);
}

unsigned sync_body_refuted(const struct sync_body *body, int64_t *ret_ms)
{
	(void)body;
	*ret_ms = fake.refuted_ms;
	return fake.refuted;
}

ssize_t sync_body_read(
	struct sync_body *body, void *buf, size_t len, uint64_t offset, struct sync_waiter *waiter)
{
	(void)body;
	(void)buf;
	(void)len;
	(void)offset;
	return fake.read_result == -EINPROGRESS ? wait_for(waiter) : fake.read_result;
}

int sync_body_size(struct sync_body *body, uint64_t *ret, struct sync_waiter *waiter)
{
	(void)body;
	if (!fake.size_settled)
		return wait_for(waiter);
	*ret = fake.true_size;
	return 0;
}

/* --- store --- */

int store_number(struct store *store, const char *account, enum store_number_kind kind,
	const char *mailbox, uint32_t uidvalidity, uint32_t *ret)
{
	(void)store;
	assert_string_equal(account, "me@example.org:993");
	assert_int_equal(kind, STORE_NUMBER_DIRECTORY);
	assert_int_equal(uidvalidity, 0);
	*ret = 1;
	for (const char *p = mailbox; *p; p++)
		*ret = (*ret * 31 + (unsigned char)*p) & 0x3fffffff;
	*ret += 1000;
	return 0;
}

int store_mailbox_get(struct store *store, const char *mailbox, struct store_mailbox *ret)
{
	(void)store;
	bool kept = fake.kept_wire[0] && strcmp(mailbox, fake.kept_wire) == 0;
	*ret = (struct store_mailbox){.changed_s = kept ? fake.kept_s : fake.made_up_s};
	return 0;
}

int store_mailbox_put(struct store *store, const char *mailbox, const struct store_mailbox *state)
{
	(void)store;
	snprintf(fake.kept_wire, sizeof(fake.kept_wire), "%s", mailbox);
	fake.kept_s = state->changed_s;
	return 0;
}

int store_row_get(struct store *store, uint32_t folder, uint32_t uid, source_row_fn *fn, void *arg)
{
	(void)store;
	(void)folder;
	if (uid != fake.row.uid)
		return -ENOENT;
	const struct source_row row = {
		.uid = uid,
		.have = SOURCE_ROW_FLAGS | SOURCE_ROW_HEADER |
	                (fake.row.labels ? SOURCE_ROW_LABELS : 0),
		.flags = fake.row.flags,
		.labels = fake.row.labels,
		.header = fake.row.header,
		.header_len = strlen(fake.row.header),
	};
	return fn(arg, &row);
}

int store_spool_uidl(struct store *store, uint32_t folder, uint32_t uid, struct str *out)
{
	(void)store;
	(void)folder;
	(void)uid;
	fake.uidl_calls++;
	if (!fake.uidl)
		return -ENODATA;
	str_append_cstr(out, fake.uidl);
	return str_error(out);
}

int store_folder_count(
	struct store *store, uint32_t folder, uint64_t *ret_messages, uint64_t *ret_unseen)
{
	(void)store;
	for (size_t i = 0; i < fake.folder_count; i++) {
		if (fake.folders[i].state.folder != folder)
			continue;
		*ret_messages = 0;
		*ret_unseen = fake.folders[i].unseen;
		return 0;
	}
	return -ENOENT;
}

int store_structure_get(struct store *store, uint32_t folder, uint32_t uid, struct str *out)
{
	(void)store;
	(void)folder;
	(void)uid;
	fake.structure_reads++;
	if (!fake.structure_stored)
		return -ENOENT;
	if (!fake.structure_empty)
		str_append(out, fake.structure.data, fake.structure.len);
	return str_error(out);
}

int store_section_size_get(
	struct store *store, uint32_t folder, uint32_t uid, const char *section, uint64_t *ret)
{
	(void)store;
	(void)folder;
	(void)uid;
	if (!fake.known_section || strcmp(fake.known_section, section) != 0)
		return -ENOENT;
	*ret = fake.known_size;
	return 0;
}
