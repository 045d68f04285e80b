/* SPDX-License-Identifier: MIT */
/* Paths of the user's own files; no name from outside may choose one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "home.h"

static void assert_path(char *path, const char *expected)
{
	assert_string_equal(path, expected);
	free(path);
}

static void xdg_variables_count_when_they_are_absolute(void **state)
{
	(void)state;
	setenv("HOME", "/home/alice", 1);
	setenv("XDG_CONFIG_HOME", "/cfg", 1);
	assert_path(
		home_xdg_path("XDG_CONFIG_HOME", ".config", "mailfs/config"), "/cfg/mailfs/config");
	setenv("XDG_CONFIG_HOME", "cfg", 1);
	assert_path(home_xdg_path("XDG_CONFIG_HOME", ".config", "mailfs/config"),
		"/home/alice/.config/mailfs/config");
	unsetenv("XDG_CONFIG_HOME");
	assert_path(home_xdg_path("XDG_CONFIG_HOME", ".config", "mailfs/config"),
		"/home/alice/.config/mailfs/config");
}

static void without_home_the_user_database_is_asked(void **state)
{
	(void)state;
	unsetenv("HOME");
	const char *home = home_directory();
	assert_true(!home || *home == '/');
	setenv("HOME", "/home/alice", 1);
	assert_path(home_expand("~/x"), "/home/alice/x");
	assert_path(home_expand("/~/x"), "/~/x");
}

static void an_account_has_one_harmless_name(void **state)
{
	char a[200], b[200], c[200];
	(void)state;
	home_account_name("alice@h:993", "alice", "h", a, sizeof(a));
	home_account_name("alice@h:143", "alice", "h", b, sizeof(b));
	assert_int_equal(strncmp(a, "alice@h-", 8), 0);
	assert_int_equal(strlen(a), 8 + 16);
	assert_string_not_equal(a, b);
	home_account_name("../../etc@h:993", "../../etc", "h", c, sizeof(c));
	assert_null(strchr(c, '/'));
	assert_int_not_equal(c[0], '.');
	char user[500];
	memset(user, 'u', sizeof(user));
	user[sizeof(user) - 1] = 0;
	home_account_name("x", user, user, c, sizeof(c));
	assert_true(strlen(c) <= 40 + 1 + 60 + 1 + 16);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(xdg_variables_count_when_they_are_absolute),
		cmocka_unit_test(without_home_the_user_database_is_asked),
		cmocka_unit_test(an_account_has_one_harmless_name),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
