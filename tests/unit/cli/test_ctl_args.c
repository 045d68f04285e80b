/* SPDX-License-Identifier: MIT */
/* The command line of mailfsctl. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <string.h>

#include "ctl.h"

#define WORDS_MAX 8

/* Takes a line apart at its blanks; the words live in buf. */
static int parse(const char *line, char buf[200], char *words[WORDS_MAX], struct ctl_args *args,
	struct str *why)
{
	int count = 0;
	char *rest = strcpy(buf, line), *word;
	while ((word = strsep(&rest, " ")))
		words[count++] = word;
	words[count] = NULL;
	return ctl_args_parse(args, count, words, why);
}

static void commands_and_options_are_taken(void **state)
{
	(void)state;
	static const struct {
		const char *line, *command, *first;
		size_t paths;
		bool json, verbose, no_wait;
	} cases[] = {
		{"mailfsctl status /m", "status", "/m", 1, false, false, false},
		{"mailfsctl --json status /m -v", "status", "/m", 1, true, true, false},
		{"mailfsctl watch --json /m", "watch", "/m", 1, true, false, false},
		{"mailfsctl pin /a /b --no-wait", "pin", "/a", 2, false, false, true},
		{"mailfsctl unpin /a /b /c", "unpin", "/a", 3, false, false, false},
		{"mailfsctl refresh .", "refresh", ".", 1, false, false, false},
		{"mailfsctl cache clear /m", "cache clear", "/m", 1, false, false, false},
		{"mailfsctl pin -- -odd", "pin", "-odd", 1, false, false, false},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		_cleanup_str_ struct str why = STR_INIT;
		char buf[200], *words[WORDS_MAX];
		struct ctl_args args;
		assert_int_equal(parse(cases[i].line, buf, words, &args, &why), CTL_EXIT_OK);
		assert_string_equal(args.command, cases[i].command);
		assert_string_equal(args.paths[0], cases[i].first);
		assert_int_equal(args.path_count, cases[i].paths);
		assert_int_equal(args.json, cases[i].json);
		assert_int_equal(args.verbose, cases[i].verbose);
		assert_int_equal(args.no_wait, cases[i].no_wait);
	}
}

static void what_makes_no_sense_is_refused(void **state)
{
	(void)state;
	static const struct {
		const char *line, *says;
	} cases[] = {
		{"mailfsctl", "command is missing"},
		{"mailfsctl stat /m", "unknown command stat"},
		{"mailfsctl cache /m", "unknown command cache"},
		{"mailfsctl cache", "unknown command cache"},
		{"mailfsctl cache clear", "PATH"},
		{"mailfsctl status", "PATH"},
		{"mailfsctl status /a /b", "one PATH too many: /b"},
		{"mailfsctl pin", "PATH"},
		{"mailfsctl pin --json /a", "--json"},
		{"mailfsctl refresh -v /a", "--verbose"},
		{"mailfsctl status --no-wait /a", "--no-wait"},
		{"mailfsctl --frob /a", "--frob"},
		{"mailfsctl -x status /a", "-x"},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		_cleanup_str_ struct str why = STR_INIT;
		char buf[200], *words[WORDS_MAX];
		struct ctl_args args;
		assert_int_equal(parse(cases[i].line, buf, words, &args, &why), CTL_EXIT_USAGE);
		if (!strstr(str_cstr(&why), cases[i].says))
			fail_msg("%s: `%s' lacks `%s'", cases[i].line, str_cstr(&why),
				cases[i].says);
	}
}

static void help_and_version_need_nothing_else(void **state)
{
	(void)state;
	static const char *const lines[] = {
		"mailfsctl --help", "mailfsctl pin -h", "mailfsctl -V", "mailfsctl --version x"};
	for (size_t i = 0; i < sizeof(lines) / sizeof(*lines); i++) {
		_cleanup_str_ struct str why = STR_INIT;
		char buf[200], *words[WORDS_MAX];
		struct ctl_args args;
		assert_int_equal(parse(lines[i], buf, words, &args, &why), CTL_EXIT_OK);
		assert_int_equal(args.help, i < 2);
		assert_int_equal(args.version, i >= 2);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(commands_and_options_are_taken),
		cmocka_unit_test(what_makes_no_sense_is_refused),
		cmocka_unit_test(help_and_version_need_nothing_else),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
