/* SPDX-License-Identifier: MIT */
/* The command line in all the orders in which people and mount(8) write it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "args.h"

#define WORDS_MAX 20

/* Parses a command line given as words between blanks. */
static int parse(const char *line, struct args *args, struct str *why)
{
	static char copy[400];
	char *words[WORDS_MAX] = {0}, *rest = copy;
	int count = 0;

	snprintf(copy, sizeof(copy), "%s", line);
	while (rest && count < WORDS_MAX - 1)
		words[count++] = strsep(&rest, " ");
	*args = (struct args){0};
	return args_parse(args, count, words, why);
}

static void options_stand_anywhere(void **state)
{
	static const char *const lines[] = {
		"mailfs imaps://h /mnt -o ro,user=x -o debug -f",
		"mailfs -o ro,user=x -f imaps://h -odebug /mnt",
		"mailfs -f imaps://h /mnt -n -s -v -t fuse.mailfs -o ro,user=x -o debug",
		"mailfs mailfs#imaps://h /mnt -fo ro,user=x -o debug",
		"mailfs -fo ro,user=x -o debug -- imaps://h /mnt",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		_cleanup_str_ struct str why = STR_INIT;
		struct args args;
		assert_int_equal(parse(lines[i], &args, &why), 0);
		assert_string_equal(args.source, "imaps://h");
		assert_string_equal(args.mountpoint, "/mnt");
		assert_string_equal(str_cstr(&args.options), "ro,user=x,debug");
		assert_true(args.foreground);
		assert_false(args.debug);
		args_finish(&args);
	}
}

static void help_and_version_need_nothing_else(void **state)
{
	_cleanup_str_ struct str why = STR_INIT;
	struct args args;
	(void)state;
	assert_int_equal(parse("mailfs --help", &args, &why), 0);
	assert_true(args.help);
	assert_int_equal(parse("mailfs -h", &args, &why), 0);
	assert_true(args.help);
	assert_int_equal(parse("mailfs --version", &args, &why), 0);
	assert_true(args.version);
	assert_int_equal(parse("mailfs -V x", &args, &why), 0);
	assert_true(args.version);
}

static void mistakes_are_named(void **state)
{
	static const struct {
		const char *line, *says;
	} cases[] = {
		{"mailfs", "SOURCE and MOUNTPOINT are missing"},
		{"mailfs imaps://h", "MOUNTPOINT is missing"},
		{"mailfs a b c", "one argument too many: c"},
		{"mailfs a b -x", "unknown option -x"},
		{"mailfs a b --bogus", "unknown option --bogus"},
		{"mailfs a b --bogus=3", "unknown option --bogus=3"},
		{"mailfs a b -o", "a value is missing after -o"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		_cleanup_str_ struct str why = STR_INIT;
		struct args args;
		assert_int_equal(parse(cases[i].line, &args, &why), -EINVAL);
		if (!strstr(str_cstr(&why), cases[i].says))
			fail_msg("%s: `%s' lacks `%s'", cases[i].line, str_cstr(&why),
				cases[i].says);
		assert_non_null(strstr(str_cstr(&why), "usage: mailfs SOURCE MOUNTPOINT"));
		args_finish(&args);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options_stand_anywhere),
		cmocka_unit_test(help_and_version_need_nothing_else),
		cmocka_unit_test(mistakes_are_named),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
