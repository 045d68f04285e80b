/* SPDX-License-Identifier: MIT */
/* ~/.netrc: the first entry that fits, quotes, macros, comments. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "netrc.h"

static void assert_entry(const char *text, const char *host, const char *user, const char *login,
	const char *password)
{
	char *copy = strdup(text);
	struct netrc_entry entry = {0};
	int r = netrc_find(copy, host, user, &entry);
	assert_int_equal(r, password || login ? 0 : -ENOENT);
	if (login)
		assert_string_equal(entry.login, login);
	else
		assert_null(entry.login);
	if (password)
		assert_string_equal(entry.password, password);
	else
		assert_null(entry.password);
	netrc_entry_finish(&entry);
	free(copy);
}

static const char many[] = "# my servers\n"
			   "machine a.example login alice password one\n"
			   "machine b.example\n\tlogin bob\n\tpassword two\n"
			   "machine b.example login eve password three\r\n"
			   "machine c.example password four account x\n"
			   "machine d.example login dora\n"
			   "default login anyone password five\n";

static void the_first_that_fits_is_taken(void **state)
{
	(void)state;
	assert_entry(many, "a.example", NULL, "alice", "one");
	assert_entry(many, "A.EXAMPLE", "alice", "alice", "one");
	assert_entry(many, "b.example", NULL, "bob", "two");
	assert_entry(many, "b.example", "eve", "eve", "three");
	assert_entry(many, "c.example", "carol", NULL, "four");
	assert_entry(many, "d.example", NULL, "dora", NULL);
	assert_entry(many, "z.example", NULL, "anyone", "five");
	assert_entry(many, "z.example", "anyone", "anyone", "five");
	assert_entry(many, "a.example", "bob", NULL, NULL);
	assert_entry(many, "z.example", "zoe", NULL, NULL);
}

static void tokens_are_unquoted(void **state)
{
	(void)state;
	assert_entry(
		"machine h login \"a b\" password \"q\\\"\\\\ x\"", "h", NULL, "a b", "q\"\\ x");
	assert_entry("machine h login u password a\\ b", "h", NULL, "u", "a b");
	assert_entry("machine h login u password #hash", "h", NULL, "u", "#hash");
	assert_entry("machine h login u password \"\"", "h", NULL, "u", "");
	assert_entry("machine h login u password \"open", "h", NULL, "u", "open");
}

static void macros_and_comments_hide_nothing_else(void **state)
{
	(void)state;
	assert_entry(
		"machine x login u password p\nmacdef init\nmachine h login evil password no\n\n"
		"machine h login u password p\n",
		"h", NULL, "u", "p");
	assert_entry("#machine h login evil password no\nmachine h # here\n login u password p",
		"h", NULL, "u", "p");
	assert_entry("macdef never ends\nmachine h login u password p", "h", NULL, NULL, NULL);
}

static void cut_off_files_are_no_trouble(void **state)
{
	static const char *const texts[] = {"", " ", "machine", "machine h", "machine h login",
		"machine h password", "default", "login x password y", "machine h password \"",
		"\\", "machine h login \\"};
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(*texts); i++) {
		char *copy = strdup(texts[i]);
		struct netrc_entry entry = {0};
		int r = netrc_find(copy, "h", NULL, &entry);
		assert_true(r == 0 || r == -ENOENT);
		netrc_entry_finish(&entry);
		free(copy);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_that_fits_is_taken),
		cmocka_unit_test(tokens_are_unquoted),
		cmocka_unit_test(macros_and_comments_hide_nothing_else),
		cmocka_unit_test(cut_off_files_are_no_trouble),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
