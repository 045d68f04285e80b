/* SPDX-License-Identifier: MIT */
/* Which mount a path lies in, from the kernel's table. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "ctl.h"
#include "ctl_mount.h"

#define FUSE " rw,nosuid,nodev,relatime shared:5 - fuse.mailfs imaps://x rw,user_id=0\n"

static const char table[] =
	"22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
	"40 22 0:50 / /home/al/Mail" FUSE
	"41 22 0:51 / /home/al/My\\040Mail\\134x rw - fuse.mailfs a rw\n"
	"42 22 0:52 / /home/al/Mail2 rw master:1 propagate_from:2 - fuse.sshfs h: rw\n"
	"43 40 0:53 / /home/al/Mail/INBOX rw - tmpfs tmpfs rw\n"
	"44 22 0:50 /Archive/2025 /srv/old rw - fuse.mailfs imaps://x rw\n"
	"45 22 0:54 / /over rw - fuse.mailfs first rw\n"
	"46 22 0:55 / /over rw - fuse.mailfs second rw\n"
	"47 22 0:56 /only /part rw - fuse.mailfs lost rw\n"
	"48 22 0:57\n"
	"49 22 x:y / /bad rw - fuse.mailfs q rw\n"
	"\n"
	"50 22 0:58 / / rw - fuse.mailfs q rw";

static void assert_match(const char *path, unsigned device, const char *root, const char *below)
{
	struct ctl_mount mount = {0};
	int r = ctl_mount_match(table, path, makedev(0, device), &mount);
	if (!root) {
		assert_int_equal(r, -ENOENT);
		assert_null(mount.root);
		return;
	}
	assert_int_equal(r, 0);
	assert_string_equal(mount.root, root);
	assert_string_equal(mount.path, below);
	ctl_mount_finish(&mount);
}

static void a_path_is_found_in_its_mount(void **state)
{
	(void)state;
	assert_match("/home/al/Mail", 50, "/home/al/Mail", "");
	assert_match("/home/al/Mail/INBOX/a.eml", 50, "/home/al/Mail", "INBOX/a.eml");
	/* Blanks and backslashes stand escaped in the table. */
	assert_match("/home/al/My Mail\\x/In box", 51, "/home/al/My Mail\\x", "In box");
	assert_match("/INBOX", 58, "/", "INBOX");
}

static void what_is_no_mailfs_is_not_found(void **state)
{
	(void)state;
	assert_match("/home/al/Mail2/x", 52, NULL, NULL);
	assert_match("/home/al/Mail/INBOX/x", 53, NULL, NULL);
	assert_match("/etc/passwd", 99, NULL, NULL);
	/* A prefix of a name is not a directory above it. */
	assert_match("/home/al/Mail2", 50, NULL, NULL);
	/* The whole of it is nowhere to be asked. */
	assert_match("/part/x", 56, NULL, NULL);
}

static void a_bind_mount_of_a_part_leads_to_the_whole(void **state)
{
	(void)state;
	assert_match("/srv/old", 50, "/home/al/Mail", "Archive/2025");
	assert_match("/srv/old/7.eml", 50, "/home/al/Mail", "Archive/2025/7.eml");
}

static void of_two_in_one_place_the_device_decides(void **state)
{
	(void)state;
	assert_match("/over/a", 54, "/over", "a");
	assert_match("/over/a", 55, "/over", "a");
}

static void a_broken_table_does_no_harm(void **state)
{
	(void)state;
	static const char *const tables[] = {"", "\n", " ", "- fuse.mailfs", "1 2 0:50 / /m rw -",
		"1 2 0:50 / /m rw - fuse.mailfs\\", "1 2 0:50 - fuse.mailfs x y z a b c d - - -"};
	for (size_t i = 0; i < sizeof(tables) / sizeof(*tables); i++) {
		struct ctl_mount mount = {0};
		int r = ctl_mount_match(tables[i], "/m", makedev(0, 50), &mount);
		assert_int_equal(r, -ENOENT);
	}
}

static void assert_view(const char *path, const char *left)
{
	struct ctl_mount mount = {.path = strdup(path)};
	assert_int_equal(ctl_mount_leave_view(&mount), left != NULL);
	assert_string_equal(mount.path, left ? left : path);
	ctl_mount_finish(&mount);
}

static void a_view_leads_to_its_folder(void **state)
{
	(void)state;
	assert_view("", NULL);
	assert_view("INBOX", NULL);
	assert_view("INBOX/x.parts/a", NULL);
	assert_view("INBOX/.partsx/a", NULL);
	assert_view(".parts", "");
	assert_view(".parts/INBOX/m", "");
	assert_view("INBOX/.parts", "INBOX");
	assert_view("INBOX/.parts/m/1-text.txt", "INBOX");
}

/* On this machine, as it is. */
static void a_path_outside_is_said_to_be_outside(void **state)
{
	(void)state;
	_cleanup_str_ struct str why = STR_INIT;
	struct ctl_mount mount = {0};
	assert_int_equal(ctl_mount_find("/", &mount, &why), CTL_EXIT_MOUNT);
	assert_non_null(strstr(str_cstr(&why), "/ does not lie in a mounted mailbox"));
	str_reset(&why);
	assert_int_equal(ctl_mount_find("/no/such/thing", &mount, &why), CTL_EXIT_FAILED);
	assert_non_null(strstr(str_cstr(&why), "/no/such/thing: No such file"));
	assert_null(mount.root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_path_is_found_in_its_mount),
		cmocka_unit_test(what_is_no_mailfs_is_not_found),
		cmocka_unit_test(a_bind_mount_of_a_part_leads_to_the_whole),
		cmocka_unit_test(of_two_in_one_place_the_device_decides),
		cmocka_unit_test(a_broken_table_does_no_harm),
		cmocka_unit_test(a_view_leads_to_its_folder),
		cmocka_unit_test(a_path_outside_is_said_to_be_outside),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
