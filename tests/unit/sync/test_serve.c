/* SPDX-License-Identifier: MIT */
/* A maildrop served from its spool: the listing, what comes later, whole messages, and sections. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "spool_fixture.h"

#define ALL (SOURCE_ROW_FLAGS | SOURCE_ROW_DATE | SOURCE_ROW_SIZE | SOURCE_ROW_HEADER)

/* --- The listing --- */

static unsigned times(struct told *told, uint32_t uid)
{
	unsigned times = 0;
	pthread_mutex_lock(&told->lock);
	for (size_t i = 0; i < told->count; i++)
		if (told->messages[i].uid == uid)
			times += told->messages[i].times;
	pthread_mutex_unlock(&told->lock);
	return times;
}

static void test_listing(void **state)
{
	struct spool_fixture *s = *state;
	struct store_mailbox known;
	struct reader reader;
	unsigned have;
	spool_start(s, NULL);
	spool_bring(s, 4000000000);
	spool_bring(s, 7);
	spool_bring(s, 300);
	struct sync_folder *folder = spool_folder(s);
	/* Nobody has asked yet. */
	sleep_ms(30);
	assert_int_equal(s->f->told->resets, 0);
	assert_int_equal(told_shown(s->f->told), 0);
	assert_int_equal(refresh(folder), 0);
	assert_int_equal(s->f->told->resets, 1);
	assert_int_equal(s->f->told->number, s->drop.serve.number);
	assert_int_equal(told_shown(s->f->told), 3);
	assert_true(told_has(s->f->told, 4000000000, &have));
	assert_int_equal(have, ALL);
	assert_int_equal(times(s->f->told, 7), 1);
	assert_int_equal(s->f->told->changes, 0);
	/* It does not grow old. */
	reader_init(&reader, 1000);
	assert_int_equal(sync_folder_refresh(folder, &reader.waiter), 0);
	reader_finish(&reader);
	sync_folder_state(folder, &known);
	assert_int_equal(known.folder, s->drop.serve.number);
	assert_int_equal(known.uidvalidity, DROP_UIDVALIDITY);
	assert_true(known.complete);
	assert_true(sync_account_is_drop(s->f->account));
	assert_string_equal(sync_folder_mailbox(folder)->name, "INBOX");
}

static void test_an_empty_spool(void **state)
{
	struct spool_fixture *s = *state;
	spool_start(s, NULL);
	assert_int_equal(refresh(spool_folder(s)), 0);
	assert_int_equal(s->f->told->resets, 1);
	assert_int_equal(told_shown(s->f->told), 0);
}

static unsigned changes(struct told *told)
{
	_cleanup_unlock_ pthread_mutex_t *guard = lock(&told->lock);
	return (unsigned)told->changes;
}

static void test_what_comes_later(void **state)
{
	struct spool_fixture *s = *state;
	struct store_mailbox before, after, stored;
	spool_start(s, NULL);
	spool_bring(s, 7);
	struct sync_folder *folder = spool_folder(s);
	assert_int_equal(refresh(folder), 0);
	sync_folder_state(folder, &before);
	for (uint32_t uid = 10; uid > 7; uid--) {
		spool_bring(s, uid);
		spool_await(s, uid);
	}
	assert_int_equal(told_shown(s->f->told), 4);
	assert_int_equal(times(s->f->told, 7), 1);
	assert_int_equal(times(s->f->told, 8), 1);
	assert_int_equal(s->f->told->resets, 1);
	for (int i = 0; i < 5000 && changes(s->f->told) < 3; i++)
		sleep_ms(1);
	assert_int_equal(changes(s->f->told), 3);
	sync_folder_state(folder, &after);
	assert_true(after.changed_s > before.changed_s);
	assert_true(after.changed_s <= before.changed_s + 3);
	assert_int_equal(s->f->told->changed_s, after.changed_s);
	assert_int_equal(store_mailbox_get(s->f->store, "INBOX", &stored), 0);
	assert_int_equal(stored.changed_s, after.changed_s);
	assert_int_equal(stored.modseq, 4);
}

/* A time that nobody was told of stays, or a long download would lead it away from the clock. */
static void test_the_time_does_not_run_ahead(void **state)
{
	struct spool_fixture *s = *state;
	struct store_mailbox known;
	spool_start(s, NULL);
	assert_int_equal(refresh(spool_folder(s)), 0);
	for (uint32_t uid = 1; uid <= 40; uid++) {
		spool_bring(s, uid);
		spool_await(s, uid);
	}
	sync_folder_state(spool_folder(s), &known);
	assert_true(known.changed_s <= clock_wall_s() + 1);
}

static void test_the_next_mount(void **state)
{
	struct spool_fixture *s = *state;
	struct store_mailbox first, same, moved, crashed;
	spool_start(s, NULL);
	spool_bring(s, 7);
	assert_int_equal(refresh(spool_folder(s)), 0);
	sync_folder_state(spool_folder(s), &first);
	spool_end(s);

	spool_start(s, NULL);
	sync_folder_state(spool_folder(s), &same);
	assert_int_equal(same.changed_s, first.changed_s);
	assert_int_equal(same.folder, first.folder);
	/* New mail before anybody looks: its folder's time is another than the one that was seen. */
	spool_bring(s, 8);
	sync_folder_state(spool_folder(s), &moved);
	assert_true(moved.changed_s > same.changed_s);
	assert_int_equal(refresh(spool_folder(s)), 0);
	assert_int_equal(told_shown(s->f->told), 2);
	sync_folder_state(spool_folder(s), &same);
	assert_int_equal(moved.changed_s, same.changed_s);
	/* A message counts, and the mount dies before it is said. */
	spool_put(s, 9, SPOOL_SMALL, sizeof(SPOOL_SMALL) - 1, true);
	spool_end(s);

	spool_start(s, NULL);
	sync_folder_state(spool_folder(s), &crashed);
	assert_true(crashed.changed_s > moved.changed_s);
	assert_int_equal(refresh(spool_folder(s)), 0);
	assert_int_equal(told_shown(s->f->told), 3);
}

static void test_many(void **state)
{
	struct spool_fixture *s = *state;
	enum { COUNT = 5000, MORE = 600 };
	static uint32_t uids[MORE];
	spool_start(s, NULL);
	spool_put_group(s, 1000, COUNT);
	assert_int_equal(refresh(spool_folder(s)), 0);
	assert_int_equal(told_shown(s->f->told), COUNT);
	spool_put_group(s, 1000 + COUNT, MORE);
	for (uint32_t i = 0; i < MORE; i++)
		uids[i] = 1000 + COUNT + MORE - 1 - i;
	drop_stored(&s->drop, uids, MORE);
	spool_await(s, 1000 + COUNT);
	assert_int_equal(told_shown(s->f->told), COUNT + MORE);
}

/* --- Whole messages --- */

static void test_whole(void **state)
{
	struct spool_fixture *s = *state;
	enum { LEN = 300000 };
	struct sync_body *body;
	struct reader reader;
	uint64_t size;
	char byte;
	const char *data = pattern(LEN);
	spool_start(s, NULL);
	spool_put(s, 7, data, LEN, false);
	struct sync_folder *folder = spool_folder(s);
	assert_int_equal(sync_body_open(folder, 7, "", NULL, LEN, &body), 0);
	/* Nobody has to wait. */
	reader_init(&reader, 1000);
	assert_int_equal(sync_body_size(body, &size, &reader.waiter), 0);
	assert_int_equal(size, LEN);
	assert_int_equal(sync_body_read(body, &byte, 1, LEN - 1, &reader.waiter), 1);
	assert_int_equal(byte, data[LEN - 1]);
	assert_int_equal(sync_body_read(body, &byte, 1, LEN, &reader.waiter), 0);
	assert_int_equal(sync_body_read(body, &byte, 1, UINT64_MAX - 1, &reader.waiter), 0);
	assert_int_equal(reader_wakes(&reader), 0);
	reader_finish(&reader);
	assert_read(body, data, 0, LEN);
	assert_read(body, data, 12345, 131072);
	char *end = malloc(1000);
	assert_int_equal(body_read(body, end, 1000, LEN - 10), 10);
	assert_memory_equal(end, data + LEN - 10, 10);
	free(end);
	sync_body_close(body);
	assert_int_equal(s->f->told->sizes, 0);
}

static void test_an_empty_message(void **state)
{
	struct spool_fixture *s = *state;
	struct sync_body *body;
	uint64_t size = 1;
	char byte;
	spool_start(s, NULL);
	spool_put(s, 7, "", 0, true);
	assert_int_equal(sync_body_open(spool_folder(s), 7, "", NULL, 0, &body), 0);
	assert_int_equal(body_size(body, &size), 0);
	assert_int_equal(size, 0);
	assert_int_equal(body_read(body, &byte, 1, 0), 0);
	sync_body_close(body);
}

/* A message that is large enough to have a file of its own. */
enum { LARGE = 200000 };

static void put_large(struct spool_fixture *s, uint32_t uid, bool structure)
{
	_cleanup_str_ struct str mail = STR_INIT;
	str_append_cstr(&mail, SPOOL_SMALL);
	while (mail.len < LARGE)
		str_append_cstr(&mail, "line\r\n");
	str_truncate(&mail, LARGE);
	spool_put(s, uid, mail.data, mail.len, structure);
}

/* What is missing or damaged is an error, for all and everything of it, and never gone. */
static void check_damaged(struct spool_fixture *s, uint32_t uid)
{
	struct sync_folder *folder = spool_folder(s);
	struct sync_body *body;
	struct reader reader;
	char buf[100];
	assert_int_equal(sync_body_open(folder, uid, "", NULL, LARGE, &body), 0);
	reader_init(&reader, 1000);
	/* At once: nobody else is asked. */
	assert_int_equal(sync_body_read(body, buf, 5, 0, &reader.waiter), -EIO);
	assert_int_equal(sync_body_read(body, buf, sizeof(buf), 0, &reader.waiter), -EIO);
	reader_finish(&reader);
	sync_body_close(body);
	assert_int_equal(sync_body_open(folder, uid, "HEADER", NULL, UINT64_MAX, &body), 0);
	assert_int_equal(body_read(body, buf, sizeof(buf), 0), -EIO);
	sync_body_close(body);
	assert_true(told_has(s->f->told, uid, NULL));
	assert_int_equal(s->f->told->sizes, 0);
}

static void test_damaged_files(void **state)
{
	struct spool_fixture *s = *state;
	char path[256];
	spool_start(s, NULL);
	for (uint32_t uid = 1; uid <= 4; uid++)
		put_large(s, uid, uid % 2);
	assert_int_equal(refresh(spool_folder(s)), 0);
	spool_path(s, 1, path);
	assert_int_equal(unlink(path), 0);
	check_damaged(s, 1);
	spool_path(s, 2, path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(structure(spool_folder(s), 2), -EIO);
	check_damaged(s, 2);
	spool_path(s, 3, path);
	assert_int_equal(truncate(path, 20), 0);
	check_damaged(s, 3);
	spool_path(s, 4, path);
	assert_int_equal(truncate(path, 20), 0);
	assert_int_equal(structure(spool_folder(s), 4), -EIO);
	check_damaged(s, 4);
	assert_int_equal(told_shown(s->f->told), 4);
}

static void test_a_file_that_goes_while_it_is_open(void **state)
{
	struct spool_fixture *s = *state;
	struct sync_body *body;
	char path[256], buf[10];
	uint64_t size;
	spool_start(s, NULL);
	put_large(s, 1, true);
	assert_int_equal(sync_body_open(spool_folder(s), 1, "", NULL, LARGE, &body), 0);
	spool_path(s, 1, path);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(body_read(body, buf, 10, 0), -EIO);
	assert_int_equal(body_read(body, buf, 10, 0), -EIO);
	assert_int_equal(body_size(body, &size), 0);
	sync_body_close(body);
}

static void test_no_such_message(void **state)
{
	struct spool_fixture *s = *state;
	struct sync_body *body;
	char buf[10];
	uint64_t size;
	spool_start(s, NULL);
	spool_put(s, 1, SPOOL_SMALL, sizeof(SPOOL_SMALL) - 1, true);
	assert_int_equal(sync_body_open(spool_folder(s), 9, "", NULL, UINT64_MAX, &body), 0);
	assert_int_equal(body_size(body, &size), -EIO);
	assert_int_equal(body_read(body, buf, 10, 0), -EIO);
	sync_body_close(body);
	assert_true(structure(spool_folder(s), 9) < 0);
}

/* --- Sections --- */

#define INNER                                                                                      \
	"Subject: inner\r\nContent-Type: multipart/alternative; boundary=in\r\n\r\n"               \
	"--in\r\nContent-Type: text/plain; charset=iso-8859-1\r\n"                                 \
	"Content-Transfer-Encoding: quoted-printable\r\n\r\ncaf=E9=\r\n!\r\n"                      \
	"--in\r\nContent-Type: text/html\r\n\r\n<b>x</b>\r\n--in--\r\n"

static const char parts_mail[] =
	"Subject: parts\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=out\r\n\r\n"
	"preamble\r\n"
	"--out\r\nContent-Type: text/plain\r\n\r\nplain\r\n"
	"--out\r\nContent-Type: application/octet-stream; name=a.bin\r\n"
	"Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n/w==\r\n"
	"--out\r\nContent-Type: message/rfc822\r\n\r\n" INNER "\r\n--out--\r\nepilogue\r\n";

#define CONTENT(text) text, sizeof(text) - 1

static const struct section {
	const char *section;
	bool leaf;
	const char *content;
	size_t len;
} sections[] = {
	{"HEADER", false,
		CONTENT("Subject: parts\r\nMIME-Version: 1.0\r\n"
			"Content-Type: multipart/mixed; boundary=out\r\n\r\n")},
	{"1", true, CONTENT("plain")},
	{"2", true, CONTENT("\0\1\2\377")},
	{"3.HEADER", false,
		CONTENT("Subject: inner\r\n"
			"Content-Type: multipart/alternative; boundary=in\r\n\r\n")},
	{"3.1", true, CONTENT("caf\303\251!")},
	{"3.2", true, CONTENT("<b>x</b>")},
};
#define SECTIONS (sizeof(sections) / sizeof(sections[0]))

/* The stored structure of a message, which sync has seen to. */
static struct mime_part *load_structure(struct spool_fixture *s, uint32_t uid)
{
	_cleanup_str_ struct str data = STR_INIT;
	struct mime_part *part;
	assert_int_equal(structure(spool_folder(s), uid), 0);
	assert_int_equal(store_structure_get(s->f->store, s->drop.serve.number, uid, &data), 0);
	assert_int_equal(mime_part_parse(data.data, data.len, &part), 0);
	assert_true(part->located);
	return part;
}

static const struct mime_leaf *find_leaf(const struct mime_leaves *leaves, const char *section)
{
	for (size_t i = 0; i < leaves->count; i++)
		if (strcmp(leaves->items[i].section, section) == 0)
			return &leaves->items[i];
	fail_msg("no part %s", section);
	return NULL;
}

static void check_section(struct spool_fixture *s, uint32_t uid, const struct section *section,
	const struct mime_leaf *leaf)
{
	struct sync_body *body;
	char buf[400];
	uint64_t size;
	assert_int_equal(
		sync_body_open(spool_folder(s), uid, section->section, leaf, UINT64_MAX, &body), 0);
	assert_int_equal(body_read(body, buf, 3, 1), 3);
	assert_memory_equal(buf, section->content + 1, 3);
	assert_int_equal(body_read_all(body, buf, sizeof(buf)), section->len);
	assert_memory_equal(buf, section->content, section->len);
	assert_int_equal(body_size(body, &size), 0);
	assert_int_equal(size, section->len);
	assert_int_equal(body_read(body, buf, 10, section->len), 0);
	sync_body_close(body);
	/* Its size is known from now on. */
	assert_int_equal(store_section_size_get(
				 s->f->store, s->drop.serve.number, uid, section->section, &size),
		0);
	assert_int_equal(size, section->len);
}

/* Opens all parts, then reads them, backwards. */
static void check_sections(struct spool_fixture *s, uint32_t uid)
{
	struct mime_part *part = load_structure(s, uid);
	struct mime_leaves outer, inner;
	assert_int_equal(mime_leaves(part, NULL, &outer), 0);
	const struct mime_leaf *message = find_leaf(&outer, "3");
	assert_true(message->is_message);
	assert_int_equal(mime_leaves(message->part, "3", &inner), 0);
	for (size_t i = SECTIONS; i-- > 0;) {
		bool deep = strlen(sections[i].section) > 1;
		const struct mime_leaf *leaf =
			sections[i].leaf ? find_leaf(deep ? &inner : &outer, sections[i].section)
					 : NULL;
		check_section(s, uid, &sections[i], leaf);
	}
	mime_leaves_finish(&outer);
	mime_leaves_finish(&inner);
	mime_part_destroy(part);
}

/* The files below bodies/. */
static size_t count_files(struct spool_fixture *s)
{
	char path[256];
	size_t count = 0;
	snprintf(path, sizeof(path), "%s/bodies/%08x", s->f->directory, s->drop.serve.number);
	DIR *dir = opendir(path);
	assert_non_null(dir);
	for (struct dirent *entry; (entry = readdir(dir));)
		count += entry->d_name[0] != '.';
	closedir(dir);
	return count;
}

static void test_sections(void **state)
{
	struct spool_fixture *s = *state;
	spool_start(s, NULL);
	/* With a stored structure, and without. */
	spool_put(s, 1, parts_mail, sizeof(parts_mail) - 1, true);
	spool_put(s, 2, parts_mail, sizeof(parts_mail) - 1, false);
	size_t files = count_files(s);
	check_sections(s, 1);
	check_sections(s, 2);
	check_sections(s, 1);
	/* Nothing that was decoded is kept. */
	assert_int_equal(count_files(s), files);
}

/* While somebody has it open it is decoded once. */
static void test_sections_are_kept_while_open(void **state)
{
	struct spool_fixture *s = *state;
	_cleanup_str_ struct str mail = STR_INIT;
	struct sync_body *body, *other;
	char path[256], buf[5];
	spool_start(s, NULL);
	/* Large enough to have a file of its own. */
	str_append_cstr(&mail, parts_mail);
	while (mail.len < LARGE)
		str_append_cstr(&mail, "epilogue\r\n");
	spool_put(s, 1, mail.data, mail.len, true);
	struct mime_part *part = load_structure(s, 1);
	struct mime_leaves leaves;
	assert_int_equal(mime_leaves(part, NULL, &leaves), 0);
	const struct mime_leaf *leaf = find_leaf(&leaves, "1");
	assert_int_equal(sync_body_open(spool_folder(s), 1, "1", leaf, UINT64_MAX, &body), 0);
	assert_int_equal(body_read(body, buf, 5, 0), 5);
	assert_int_equal(sync_body_open(spool_folder(s), 1, "1", leaf, UINT64_MAX, &other), 0);
	spool_path(s, 1, path);
	assert_int_equal(unlink(path), 0);
	sync_body_close(body);
	assert_int_equal(body_read(other, buf, 5, 0), 5);
	assert_memory_equal(buf, "plain", 5);
	sync_body_close(other);
	assert_int_equal(sync_body_open(spool_folder(s), 1, "1", leaf, UINT64_MAX, &body), 0);
	assert_int_equal(body_read(body, buf, 5, 0), -EIO);
	sync_body_close(body);
	mime_leaves_finish(&leaves);
	mime_part_destroy(part);
}

/* A structure that does not say where the parts lie is of no use here. */
static void test_structures_of_no_use(void **state)
{
	struct spool_fixture *s = *state;
	static const char *const useless[] = {"", "neither this nor that"};
	struct str data = STR_INIT;
	spool_start(s, NULL);
	spool_put(s, 1, parts_mail, sizeof(parts_mail) - 1, true);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(store_structure_put(s->f->store, s->drop.serve.number, 1,
					 useless[i], strlen(useless[i])),
			0);
		check_sections(s, 1);
	}
	struct mime_part *part = mime_part_create();
	part->type = strdup("text");
	part->subtype = strdup("plain");
	assert_int_equal(mime_part_serialize(part, &data), 0);
	mime_part_destroy(part);
	assert_int_equal(
		store_structure_put(s->f->store, s->drop.serve.number, 1, data.data, data.len), 0);
	check_sections(s, 1);
	str_finish(&data);
}

/* A part that is read range by range, and a header that is longer than what is fetched whole. */
static void test_large_sections(void **state)
{
	struct spool_fixture *s = *state;
	enum { HEADER = 1500000, LEN = 3000000 };
	struct str mail = STR_INIT;
	struct sync_body *body;
	struct mime_leaves leaves;
	str_append_cstr(&mail, "X-Long: ");
	for (int i = 0; i < HEADER / 50; i++)
		str_printf(&mail, "%048d\r\n ", i);
	str_append_cstr(&mail, "end\r\n\r\n");
	size_t start = mail.len;
	for (int i = 0; i < LEN / 50; i++)
		str_printf(&mail, "%048d\r\n", i);
	spool_start(s, NULL);
	spool_put(s, 1, mail.data, mail.len, false);
	struct mime_part *part = load_structure(s, 1);
	assert_int_equal(mime_leaves(part, NULL, &leaves), 0);
	char *got = malloc(mail.len);
	assert_int_equal(sync_body_open(spool_folder(s), 1, "HEADER", NULL, UINT64_MAX, &body), 0);
	assert_int_equal(body_read(body, got, 100, start - 50), 50);
	assert_int_equal(body_read_all(body, got, mail.len), start);
	assert_memory_equal(got, mail.data, start);
	sync_body_close(body);
	assert_int_equal(
		sync_body_open(spool_folder(s), 1, "1", find_leaf(&leaves, "1"), UINT64_MAX, &body),
		0);
	assert_int_equal(body_read(body, got, 1000, 2000000), 1000);
	assert_memory_equal(got, mail.data + start + 2000000, 1000);
	assert_int_equal(body_read_all(body, got, mail.len), LEN);
	assert_memory_equal(got, mail.data + start, LEN);
	sync_body_close(body);
	free(got);
	mime_leaves_finish(&leaves);
	mime_part_destroy(part);
	str_finish(&mail);
}

static void test_no_such_section(void **state)
{
	struct spool_fixture *s = *state;
	struct sync_body *body;
	char buf[10];
	spool_start(s, NULL);
	spool_put(s, 1, parts_mail, sizeof(parts_mail) - 1, true);
	assert_int_equal(refresh(spool_folder(s)), 0);
	assert_int_equal(sync_body_open(spool_folder(s), 1, "7", NULL, UINT64_MAX, &body), 0);
	assert_int_equal(body_read(body, buf, 10, 0), -EIO);
	sync_body_close(body);
	assert_true(told_has(s->f->told, 1, NULL));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, spool_setup, spool_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_listing),
		TEST(test_an_empty_spool),
		TEST(test_what_comes_later),
		TEST(test_the_time_does_not_run_ahead),
		TEST(test_the_next_mount),
		TEST(test_many),
		TEST(test_whole),
		TEST(test_an_empty_message),
		TEST(test_damaged_files),
		TEST(test_a_file_that_goes_while_it_is_open),
		TEST(test_no_such_message),
		TEST(test_sections),
		TEST(test_sections_are_kept_while_open),
		TEST(test_structures_of_no_use),
		TEST(test_large_sections),
		TEST(test_no_such_section),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
