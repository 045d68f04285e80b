/* SPDX-License-Identifier: MIT */
/* The pure parts of a listing: the comparison, the table of flags, the set of UIDs, copies of rows. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "batch.h"
#include "diff.h"
#include "uidset.h"

/* "1a 2b": UIDs with one letter for flags, - for unknown ones. */
static struct diff_rows parse(const char *text)
{
	struct diff_rows rows = {0};
	unsigned uid;
	char flags;
	int used;
	while (sscanf(text, " %u%c%n", &uid, &flags, &used) == 2) {
		assert_int_equal(
			diff_rows_add(&rows, uid, flags == '-' ? FLAGS_UNKNOWN : (uint32_t)flags),
			0);
		text += used;
	}
	return rows;
}

/* Texts without end are an error, and memory does not follow them. */
static void test_flag_table_is_bounded(void **state)
{
	static char flags[8192];
	struct flag_table table = {0};
	uint32_t number;
	unsigned taken = 0;
	int err = 0;
	(void)state;
	for (; err == 0 && taken < 100000; taken++) {
		memset(flags, 'k', sizeof(flags) - 1);
		snprintf(flags, sizeof(flags), "%u", taken);
		flags[strlen(flags)] = 'k';
		err = flag_table_add(&table, flags, &number);
	}
	assert_int_equal(err, -EIO);
	assert_true(taken > 500);
	assert_true(table.text.len <= FLAG_TABLE_BYTES_MAX);
	/* What is there is found. */
	assert_int_equal(flag_table_add(&table, flag_table_text(&table, 1), &number), 0);
	assert_int_equal(number, 1);
	flag_table_finish(&table);
}

static void format_uids(struct str *out, const char *label, const uint32_t *uids, size_t count)
{
	str_append_cstr(out, label);
	for (size_t i = 0; i < count; i++)
		str_printf(out, " %u", uids[i]);
}

static void test_diff_table(void **state)
{
	static const struct {
		const char *stored, *server, *expect;
	} cases[] = {
		{"", "", "gone; added; changed;"},
		{"", "1a 2a", "gone; added 1 2; changed;"},
		{"1a 2a", "", "gone 1 2; added; changed;"},
		{"1a 2a 3a", "1a 2a 3a", "gone; added; changed;"},
		{"1a 2a 3a", "1a 3a", "gone 2; added; changed;"},
		{"1a 3a", "1a 2a 3a", "gone; added 2; changed;"},
		{"1a 2a", "1a 2b", "gone; added; changed 2b;"},
		{"1a 2a", "1- 2-", "gone; added; changed;"},
		{"1a 5a 9a", "2b 5c 10b", "gone 1 9; added 2 10; changed 5c;"},
		{"4294967295a", "4294967294a 4294967295b",
			"gone; added 4294967294; changed 4294967295b;"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct diff_rows stored = parse(cases[i].stored), server = parse(cases[i].server);
		struct diff diff;
		struct str out = STR_INIT;
		assert_int_equal(diff_compute(&stored, &server, &diff), 0);
		format_uids(&out, "gone", diff.gone, diff.gone_count);
		format_uids(&out, "; added", diff.added, diff.added_count);
		str_append_cstr(&out, "; changed");
		for (size_t k = 0; k < diff.changed_count; k++)
			str_printf(&out, " %u%c", diff.changed[k].uid, (char)diff.changed[k].flags);
		str_putc(&out, ';');
		assert_string_equal(str_cstr(&out), cases[i].expect);
		str_finish(&out);
		diff_finish(&diff);
		diff_rows_finish(&stored);
		diff_rows_finish(&server);
	}
}

static void test_sort_keeps_known_flags(void **state)
{
	struct diff_rows rows = parse("7a 3- 7- 3b 5- 5- 1c");
	(void)state;
	diff_rows_sort(&rows);
	assert_int_equal(rows.count, 4);
	static const struct diff_row expect[] = {{1, 'c'}, {3, 'b'}, {5, FLAGS_UNKNOWN}, {7, 'a'}};
	for (size_t i = 0; i < 4; i++) {
		assert_int_equal(rows.items[i].uid, expect[i].uid);
		assert_int_equal(rows.items[i].flags, expect[i].flags);
	}
	diff_rows_finish(&rows);
	diff_rows_sort(&rows);
	assert_int_equal(rows.count, 0);
}

/* The first is the empty one. */
static void flags_text(char *text, size_t size, unsigned i)
{
	snprintf(text, size, "\\Seen key%u", i);
	if (i == 0)
		text[0] = 0;
}

static void test_flag_table(void **state)
{
	struct flag_table table = {0};
	uint32_t numbers[1000], again;
	char text[32];
	(void)state;
	for (unsigned i = 0; i < 1000; i++) {
		flags_text(text, sizeof(text), i);
		assert_int_equal(flag_table_add(&table, text, &numbers[i]), 0);
		assert_int_not_equal(numbers[i], FLAGS_UNKNOWN);
	}
	for (unsigned i = 0; i < 1000; i++) {
		flags_text(text, sizeof(text), i);
		assert_int_equal(flag_table_add(&table, text, &again), 0);
		assert_int_equal(again, numbers[i]);
		assert_string_equal(flag_table_text(&table, again), text);
	}
	assert_int_equal(table.count, 1000);
	flag_table_finish(&table);
}

static void test_uid_set(void **state)
{
	struct uid_set set = {0};
	(void)state;
	assert_false(uid_set_has(&set, 1));
	for (uint32_t i = 1; i <= 50000; i++)
		assert_int_equal(uid_set_add(&set, i * 4096), 1);
	for (uint32_t i = 1; i <= 50000; i++)
		assert_int_equal(uid_set_add(&set, i * 4096), 0);
	assert_int_equal(set.count, 50000);
	assert_true(uid_set_has(&set, 4096));
	assert_false(uid_set_has(&set, 4097));
	uid_set_finish(&set);
	assert_false(uid_set_has(&set, 4096));
}

/* In any order: each once, whether it lies in a run, in a gap, or before all. */
static void test_uid_set_unordered(void **state)
{
	static const uint32_t uids[] = {50, 51, 52, 60, 55, 49, 1, 53, 61, UINT32_MAX, 62, 60, 51};
	struct uid_set set = {0};
	(void)state;
	for (size_t i = 0; i < 11; i++)
		assert_int_equal(uid_set_add(&set, uids[i]), 1);
	for (size_t i = 0; i < 13; i++)
		assert_int_equal(uid_set_add(&set, uids[i]), 0);
	assert_int_equal(set.count, 11);
	for (size_t i = 0; i < 13; i++)
		assert_true(uid_set_has(&set, uids[i]));
	assert_false(uid_set_has(&set, 54));
	assert_false(uid_set_has(&set, 48));
	assert_false(uid_set_has(&set, 63));
	for (uint32_t uid = 3000; uid > 1000; uid--)
		assert_int_equal(uid_set_add(&set, uid), 1);
	for (uint32_t uid = 3000; uid > 1000; uid--)
		assert_int_equal(uid_set_add(&set, uid), 0);
	assert_int_equal(set.count, 2011);
	uid_set_finish(&set);
}

static void test_batch_copies(void **state)
{
	struct row_batch batch = {0};
	char flags[32], header[64];
	(void)state;
	for (uint32_t i = 1; i <= 500; i++) {
		snprintf(flags, sizeof(flags), "\\Seen k%u", i);
		size_t len = (size_t)snprintf(header, sizeof(header), "Subject: %u", i);
		header[3] = 0; /* a NUL is a byte as any other */
		struct source_row row = {.uid = i,
			.flags = flags,
			.labels = i % 2 ? NULL : "Inbox",
			.header = header,
			.header_len = len};
		assert_int_equal(row_batch_add(&batch, &row), 0);
	}
	const struct source_row *rows = row_batch_rows(&batch);
	for (uint32_t i = 1; i <= 500; i++) {
		snprintf(flags, sizeof(flags), "\\Seen k%u", i);
		size_t len = (size_t)snprintf(header, sizeof(header), "Subject: %u", i);
		header[3] = 0;
		assert_string_equal(rows[i - 1].flags, flags);
		assert_int_equal(rows[i - 1].header_len, len);
		assert_memory_equal(rows[i - 1].header, header, len);
		if (i % 2)
			assert_null(rows[i - 1].labels);
		else
			assert_string_equal(rows[i - 1].labels, "Inbox");
	}
	row_batch_reset(&batch);
	assert_int_equal(batch.count, 0);
	row_batch_finish(&batch);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_diff_table),
		cmocka_unit_test(test_flag_table_is_bounded),
		cmocka_unit_test(test_sort_keeps_known_flags),
		cmocka_unit_test(test_flag_table),
		cmocka_unit_test(test_uid_set),
		cmocka_unit_test(test_uid_set_unordered),
		cmocka_unit_test(test_batch_copies),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
