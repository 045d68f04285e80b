/* SPDX-License-Identifier: MIT */
/* The table is whole, and what was seen is counted, named, and logged once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "mailfs/util/log.h"
#include "mailfs/util/quirk.h"
#include "mailfs/util/str.h"

static void test_rows_whole(void **state)
{
	(void)state;
	for (size_t i = 0; i < QUIRK_COUNT; i++) {
		const struct quirk_row *row = quirk_row((enum quirk)i);
		assert_non_null(row->name);
		assert_true(row->servers && row->what && row->done && row->file);
		/* A word of a list that blanks divide. */
		assert_int_equal(strspn(row->name, "abcdefghijklmnopqrstuvwxyz0123456789-"),
			strlen(row->name));
		for (size_t j = 0; j < i; j++)
			assert_string_not_equal(row->name, quirk_row((enum quirk)j)->name);
	}
}

/* What is written to standard error while fn runs. */
static void capture(void (*fn)(void), char *text, size_t size)
{
	FILE *file = tmpfile();
	assert_non_null(file);
	int before = dup(STDERR_FILENO);
	assert_true(before >= 0 && dup2(fileno(file), STDERR_FILENO) >= 0);
	fn();
	dup2(before, STDERR_FILENO);
	close(before);
	rewind(file);
	text[fread(text, 1, size - 1, file)] = 0;
	fclose(file);
}

static void see_some(void)
{
	quirk_seen(QUIRK_BELOW_INBOX);
	quirk_seen(QUIRK_SIZES_WRONG);
	quirk_seen(QUIRK_BELOW_INBOX);
	quirk_heeded(QUIRK_WATCH_STALE);
}

static void test_seen(void **state)
{
	char text[2000];
	_cleanup_str_ struct str names = STR_INIT;
	(void)state;
	quirk_names(&names);
	assert_string_equal(str_cstr(&names), "");
	log_set_level(LOG_LEVEL_INFO);
	capture(see_some, text, sizeof(text));
	log_set_level(LOG_LEVEL_WARNING);
	assert_int_equal(quirk_count(QUIRK_BELOW_INBOX), 2);
	assert_int_equal(quirk_count(QUIRK_SIZES_WRONG), 1);
	assert_int_equal(quirk_count(QUIRK_WATCH_STALE), 0);
	char *line = strstr(text, "below-inbox");
	assert_non_null(line);
	assert_null(strstr(line + 1, "below-inbox"));
	quirk_names(&names);
	assert_string_equal(str_cstr(&names), "below-inbox\nsizes-wrong\n");
}

/* At the default level nobody is bothered. */
static void see_another(void)
{
	quirk_seen(QUIRK_THROTTLED);
}

static void test_quiet(void **state)
{
	char text[500];
	(void)state;
	capture(see_another, text, sizeof(text));
	assert_string_equal(text, "");
	assert_int_equal(quirk_count(QUIRK_THROTTLED), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_rows_whole),
		cmocka_unit_test(test_seen),
		cmocka_unit_test(test_quiet),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
