/* SPDX-License-Identifier: MIT */
/* The checks of a mount point that need neither FUSE nor rights. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "mountpoint.h"

static void assert_refused(const char *path, int err, const char *says)
{
	_cleanup_str_ struct str why = STR_INIT;
	char *absolute = NULL;
	assert_int_equal(mountpoint_check(path, false, &absolute, &why), err);
	assert_null(absolute);
	if (!strstr(str_cstr(&why), says))
		fail_msg("`%s' lacks `%s'", str_cstr(&why), says);
	assert_non_null(strstr(str_cstr(&why), path));
}

static void what_can_not_be_mounted_upon(void **state)
{
	(void)state;
	assert_refused(files_at("none"), -ENOENT, "no such directory");
	assert_refused(files_make("secret", "", 0, 0600), -ENOTDIR, "not a directory");
	assert_refused(files_directory, -ENOTEMPTY, "not empty");
	assert_refused("/proc", -EBUSY, "mounted there already");
}

static void an_empty_directory_gives_its_absolute_path(void **state)
{
	_cleanup_str_ struct str why = STR_INIT;
	char *absolute = NULL;
	(void)state;
	assert_int_equal(mkdir(files_at("sub"), 0700), 0);
	assert_int_equal(chdir(files_directory), 0);
	int r = mountpoint_check("sub/../sub", false, &absolute, &why);
	if (access("/dev/fuse", R_OK | W_OK) < 0) {
		assert_true(r < 0);
		assert_non_null(strstr(str_cstr(&why), "/dev/fuse"));
		assert_int_equal(chdir("/"), 0);
		return;
	}
	if (r < 0)
		fail_msg("%s", str_cstr(&why));
	assert_string_equal(absolute, files_at("sub"));
	free(absolute);
	assert_int_equal(chdir("/"), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_can_not_be_mounted_upon),
		cmocka_unit_test(an_empty_directory_gives_its_absolute_path),
	};
	return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
