/* SPDX-License-Identifier: MIT */
/* A spool that a test fills, and the half of a maildrop that serves it. */
#include "spool_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int spool_setup(void **state)
{
	struct spool_fixture *s = calloc(1, sizeof(*s));
	void *f;
	fixture_setup(&f);
	s->f = f;
	/* What the tree is told of INBOX is written down. */
	fake_mailbox_add(&s->f->fake, "INBOX", 1);
	*state = s;
	return 0;
}

void spool_start(struct spool_fixture *s, const struct sync_events *events)
{
	struct fixture *f = s->f;
	struct sync_events own = fixture_events(f);
	struct str why = STR_INIT;
	if (!f->store)
		assert_int_equal(store_open(f->directory, STORE_SPOOL, &f->store, &why), 0);
	str_finish(&why);
	f->params.store = f->store;
	f->params.connections = DROP_WORKERS;
	assert_int_equal(sync_account_create(&f->params, &f->account), 0);
	sync_account_set_events(f->account, events ? events : &own);
	s->drop = (struct drop){.account = f->account};
	f->account->drop = &s->drop;
	assert_int_equal(drop_serve_init(&s->drop), 0);
	f->account->started = true;
	assert_int_equal(workers_start(f->account), 0);
}

void spool_end(struct spool_fixture *s)
{
	struct sync_account *account = s->f->account;
	if (account) {
		sync_account_stop(account);
		drop_serve_finish(&s->drop);
		account->drop = NULL;
	}
	fixture_end(s->f);
}

int spool_teardown(void **state)
{
	struct spool_fixture *s = *state;
	void *f = s->f;
	spool_end(s);
	free(s);
	return fixture_teardown(&f);
}

struct sync_folder *spool_folder(struct spool_fixture *s)
{
	return sync_account_folder(s->f->account, 0);
}

/* The header's end, or that of the data. */
static size_t header_len(const char *data, size_t len)
{
	const char *end = memmem(data, len, "\r\n\r\n", 4);
	return end ? (size_t)(end - data) + 4 : len;
}

static void make_structure(const char *data, size_t len, struct str *out)
{
	struct mime_walker *walker = mime_walker_create();
	struct mime_part *part;
	assert_int_equal(mime_walker_push(walker, data, len), 0);
	assert_int_equal(mime_walker_end(walker, &part), 0);
	mime_walker_destroy(walker);
	assert_int_equal(mime_part_serialize(part, out), 0);
	mime_part_destroy(part);
}

static struct store_spool_item make_item(
	struct spool_fixture *s, uint32_t uid, const char *data, size_t len)
{
	struct store_spool_item item = {.record = {.uid = uid,
						.uidl = "id",
						.uidl_len = 2,
						.size_bytes = len,
						.listed_bytes = len,
						.stored_s = 1700000000}};
	memcpy(item.record.sha256, &uid, sizeof(uid));
	item.row = (struct source_row){.uid = uid,
		.have = SOURCE_ROW_FLAGS | SOURCE_ROW_DATE | SOURCE_ROW_SIZE | SOURCE_ROW_HEADER,
		.size_bytes = len,
		.date_s = 1700000000,
		.flags = "",
		.header = data,
		.header_len = header_len(data, len)};
	assert_int_equal(store_spool_create(s->f->store, s->drop.serve.number, uid, &item.file), 0);
	assert_int_equal(store_spool_append(item.file, data, len), 0);
	return item;
}

void spool_put(struct spool_fixture *s, uint32_t uid, const char *data, size_t len, bool structure)
{
	_cleanup_str_ struct str part = STR_INIT;
	struct store_spool_item item = make_item(s, uid, data, len);
	if (structure) {
		make_structure(data, len, &part);
		item.structure = part.data;
		item.structure_len = part.len;
	}
	assert_int_equal(store_spool_commit(s->f->store, s->drop.serve.number, &item, 1), 0);
}

void spool_put_group(struct spool_fixture *s, uint32_t uid, size_t count)
{
	struct store_spool_item *items = calloc(count, sizeof(*items));
	for (size_t i = 0; i < count; i++)
		items[i] = make_item(s, uid + (uint32_t)i, SPOOL_SMALL, sizeof(SPOOL_SMALL) - 1);
	assert_int_equal(store_spool_commit(s->f->store, s->drop.serve.number, items, count), 0);
	free(items);
}

void spool_bring(struct spool_fixture *s, uint32_t uid)
{
	spool_put(s, uid, SPOOL_SMALL, sizeof(SPOOL_SMALL) - 1, true);
	drop_stored(&s->drop, &uid, 1);
}

void spool_path(struct spool_fixture *s, uint32_t uid, char path[256])
{
	snprintf(path, 256, "%s/bodies/%08x/%u", s->f->directory, s->drop.serve.number, uid);
	assert_int_equal(access(path, F_OK), 0);
}

void spool_await(struct spool_fixture *s, uint32_t uid)
{
	for (int i = 0; i < 20000 && !told_has(s->f->told, uid, NULL); i++)
		sleep_ms(1);
	assert_true(told_has(s->f->told, uid, NULL));
}
