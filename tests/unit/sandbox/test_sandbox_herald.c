/* SPDX-License-Identifier: MIT */
/* The herald's sandbox: names, and nothing else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fixture.h"

static int makes_names(void)
{
	int directory = open(scene.outside, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = directory < 0 ? errno : 0;
	if (r == 0)
		r = told(mknodat(directory, "made", S_IFREG | 0400, 0));
	if (r == 0)
		r = told(unlinkat(directory, "made", 0));
	if (r == 0)
		r = told(mkdirat(directory, "folder", 0500));
	if (r == 0)
		r = told(unlinkat(directory, "folder", AT_REMOVEDIR));
	return r;
}

/* root's herald, where the mount belongs to another user (uid=). */
static int makes_names_of_others(void)
{
	return told(mknod(at(scene.shown, "closed/made"), S_IFREG | 0400, 0));
}

static int changes_owners(void)
{
	int fd = open(at(scene.shown, "closed/file"), O_PATH | O_CLOEXEC);
	return told(fchownat(fd, "", 0, 0, AT_EMPTY_PATH));
}

static int reads(void)
{
	return told(open("/etc/passwd", O_RDONLY | O_CLOEXEC));
}

static int writes(void)
{
	return told(open(at(scene.outside, "file"), O_WRONLY | O_CLOEXEC));
}

static int lists(void)
{
	return told(open(scene.outside, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
}

static int links(void)
{
	return told(symlink("/etc/passwd", at(scene.outside, "symbolic")));
}

static int renames(void)
{
	return told(rename(at(scene.outside, "file"), at(scene.outside, "other")));
}

static int connects(void)
{
	return told(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int starts_program(void)
{
	char name[] = "true", *args[] = {name, NULL};
	execv("/bin/true", args);
	return errno;
}

static int kills(void)
{
	return told(kill(scene.killable, SIGCONT));
}

static void test_names(void **state)
{
	(void)state;
	assert_int_equal(in_herald(makes_names), 0);
	assert_int_equal(in_herald(makes_names_of_others), 0);
}

static void test_nothing_else(void **state)
{
	static const struct {
		const char *name;
		attempt_fn *fn;
		bool by_landlock;
	} cases[] = {{"reads", reads, true}, {"writes", writes, true}, {"lists", lists, true},
		{"links", links, false}, {"connects", connects, false},
		{"starts a program", starts_program, false}, {"kills", kills, false},
		{"renames", renames, false}, {"changes owners", changes_owners, false}};
	struct sandbox_parts parts = parts_here();
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int r = in_herald(cases[i].fn);
		if ((r == 0 || r >= 250) && (cases[i].by_landlock ? parts.files : parts.calls))
			fail_msg("it %s: %d", cases[i].name, r);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		cmocka_unit_test(test_nothing_else),
	};
	scene_begin();
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	scene_end();
	return failed;
}
