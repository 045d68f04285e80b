/* SPDX-License-Identifier: MIT */
#include "spool_fixture.h"

#include <dirent.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int spool_create_open(void **state)
{
	fixture_create(state);
	struct fixture *fixture = *state;
	fixture->kind = STORE_SPOOL;
	fixture_reopen(fixture);
	return 0;
}

/* In pieces of which some are larger than any buffer. */
static int append(struct store_spool_file *file, uint32_t seed, size_t len)
{
	unsigned char *bytes = malloc(len + 1);
	size_t piece = 1;
	int rc = bytes ? 0 : -ENOMEM;
	if (bytes)
		fill_bytes(bytes, len, seed, 0);
	for (size_t at = 0; rc == 0 && at < len; piece = piece * 5 + 1) {
		size_t n = piece < len - at ? piece : len - at;
		rc = store_spool_append(file, bytes + at, n);
		at += n;
	}
	free(bytes);
	return rc;
}

int spool_write(
	struct store *store, uint32_t uid, uint32_t seed, size_t len, struct store_spool_item *ret)
{
	static char uidls[512][24];
	char *uidl = uidls[uid % 512];
	snprintf(uidl, sizeof(uidls[0]), "uidl-%u", (unsigned)uid);
	*ret = (struct store_spool_item){
		.record = {.uid = uid,
			.uidl = uidl,
			.uidl_len = strlen(uidl),
			.listed_bytes = len + 7,
			.stored_s = 1700000000 + uid},
		.row = {.have = SOURCE_ROW_FLAGS | SOURCE_ROW_DATE | SOURCE_ROW_HEADER,
			.flags = "",
			.date_s = uid,
			.header = "Subject: x\r\n",
			.header_len = 12},
		.structure = "structure",
		.structure_len = 9,
	};
	fill_bytes(ret->record.sha256, STORE_DIGEST_BYTES, seed, len);
	int rc = store_spool_create(store, FOLDER, uid, &ret->file);
	return rc < 0 ? rc : append(ret->file, seed, len);
}

void spool_discard_all(struct store_spool_item *items, size_t count)
{
	for (size_t i = 0; i < count; i++)
		store_spool_discard(items[i].file);
}

int spool_put(struct store *store, uint32_t uid, uint32_t seed, size_t len)
{
	struct store_spool_item item;
	int rc = spool_write(store, uid, seed, len, &item);
	if (rc == 0)
		rc = store_spool_commit(store, FOLDER, &item, 1);
	if (rc < 0)
		store_spool_discard(item.file);
	return rc;
}

size_t spool_length(uint32_t uid)
{
	return uid % 7 == 0 ? 0 : uid % 11 == 0 ? 70000 + uid % 1000 : 1 + uid * 37 % 5000;
}

int spool_put_group(struct store *store, uint32_t first, size_t count)
{
	struct store_spool_item items[256];
	memset(items, 0, sizeof(items));
	int rc = 0;
	for (uint32_t i = 0; rc == 0 && i < count; i++)
		rc = spool_write(store, first + i, first + i, spool_length(first + i), &items[i]);
	if (rc == 0)
		rc = store_spool_commit(store, FOLDER, items, count);
	if (rc < 0)
		spool_discard_all(items, count);
	return rc;
}

static int compare(struct store_body *body, uint32_t seed, size_t len)
{
	unsigned char buf[4096];
	size_t at = 0;
	for (;;) {
		ssize_t n = store_body_read(body, buf, sizeof(buf), at);
		if (n <= 0)
			return n < 0 ? (int)n : at == len ? 0 : -EBADMSG;
		for (ssize_t i = 0; i < n; i++)
			if (buf[i] != byte_at(seed, at + (size_t)i))
				return -EBADMSG;
		at += (size_t)n;
	}
}

int spool_read(struct store *store, uint32_t uid, uint32_t seed, size_t len)
{
	struct store_body *body;
	int rc = store_body_open(store, FOLDER, uid, "", &body);
	if (rc < 0)
		return rc;
	uint64_t size = 0;
	rc = compare(body, seed, len);
	if (rc == 0 && (!store_body_size(body, &size) || size != len))
		rc = -EBADMSG;
	store_body_close(body);
	return rc;
}

struct finding {
	uint32_t uid;
	struct spool_record result;
	size_t count;
};

static int take(void *arg, const struct store_spool *record)
{
	struct finding *finding = arg;
	finding->count++;
	if (record->uid != finding->uid)
		return 0;
	finding->result.found = true;
	finding->result.record = *record;
	finding->result.record.uidl = NULL;
	return 0;
}

struct spool_record spool_record(struct store *store, uint32_t uid)
{
	struct finding finding = {.uid = uid};
	store_spool_load(store, FOLDER, take, &finding);
	return finding.result;
}

size_t spool_count(struct store *store)
{
	struct finding finding = {0};
	return store_spool_load(store, FOLDER, take, &finding) < 0 ? SIZE_MAX : finding.count;
}

static size_t count_entries(const struct fixture *fixture, bool packs)
{
	DIR *dir = opendir(fixture_path(fixture, "bodies/00000005"));
	size_t count = 0;
	for (struct dirent *entry; dir && (entry = readdir(dir));)
		count += entry->d_name[0] != '.' &&
		         (strncmp(entry->d_name, "pack-", 5) == 0) == packs;
	if (dir)
		closedir(dir);
	return count;
}

size_t spool_files(const struct fixture *fixture)
{
	return count_entries(fixture, false);
}

size_t spool_packs(const struct fixture *fixture)
{
	return count_entries(fixture, true);
}

int64_t spool_pack_length(const struct fixture *fixture, uint32_t pack)
{
	sqlite3 *handle;
	sqlite3_stmt *statement;
	int64_t length = 0;
	if (sqlite3_open(fixture_path(fixture, "store.db"), &handle) == SQLITE_OK &&
		sqlite3_prepare_v2(handle,
			"SELECT length FROM spool_pack WHERE folder = 5 AND pack = ?1", -1,
			&statement, NULL) == SQLITE_OK) {
		sqlite3_bind_int64(statement, 1, pack);
		if (sqlite3_step(statement) == SQLITE_ROW)
			length = sqlite3_column_int64(statement, 0);
		sqlite3_finalize(statement);
	}
	sqlite3_close(handle);
	return length;
}

int64_t spool_pack_size(const struct fixture *fixture, uint32_t pack)
{
	char name[64];
	struct stat st;
	snprintf(name, sizeof(name), "bodies/00000005/pack-%u", (unsigned)pack);
	return lstat(fixture_path(fixture, name), &st) < 0 ? -1 : (int64_t)st.st_size;
}

int check_row(void *arg, const struct source_row *row)
{
	const struct store_spool *record = arg;
	assert_int_equal(row->uid, record->uid);
	assert_int_equal(row->size_bytes, record->size_bytes);
	assert_int_equal(row->date_s, record->uid);
	assert_int_equal(row->header_len, 12);
	return 0;
}

/* All there is of a message that spool_write() made. */
void check_message(struct fixture *fixture, uint32_t uid, uint32_t seed, size_t len)
{
	_cleanup_str_ struct str uidl = STR_INIT, structure = STR_INIT;
	unsigned char sha256[STORE_DIGEST_BYTES];
	char expected[24];
	struct spool_record found = spool_record(fixture->store, uid);
	assert_true(found.found);
	assert_false(found.record.lost);
	assert_false(found.record.has_top);
	assert_int_equal(found.record.size_bytes, len);
	assert_int_equal(found.record.listed_bytes, len + 7);
	assert_int_equal(found.record.stored_s, 1700000000 + uid);
	assert_int_equal(found.record.deleted_s, 0);
	fill_bytes(sha256, sizeof(sha256), seed, len);
	assert_memory_equal(found.record.sha256, sha256, sizeof(sha256));
	assert_int_equal(store_row_get(fixture->store, FOLDER, uid, check_row, &found.record), 0);
	assert_int_equal(store_structure_get(fixture->store, FOLDER, uid, &structure), 0);
	assert_string_equal(str_cstr(&structure), "structure");
	snprintf(expected, sizeof(expected), "uidl-%u", (unsigned)uid);
	assert_int_equal(store_spool_uidl(fixture->store, FOLDER, uid, &uidl), 0);
	assert_string_equal(str_cstr(&uidl), expected);
	assert_int_equal(store_spool_verify(fixture->store, FOLDER, uid), 0);
	assert_int_equal(spool_read(fixture->store, uid, seed, len), 0);
}
