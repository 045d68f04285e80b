/* SPDX-License-Identifier: MIT */
/* Where the socket is, and whom it lets in. */
#include <errno.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "fake.h"
#include "mailfs/util/cleanup.h"

#define NOBODY 65534

static void assert_mode(const char *path, mode_t mode)
{
	struct stat st;
	assert_return_code(stat(path, &st), errno);
	assert_int_equal(st.st_mode & 07777, mode);
	assert_int_equal(st.st_uid, geteuid());
}

static void the_place_is_the_users_own(void **state)
{
	(void)state;
	char expected[200], directory[100];
	snprintf(directory, sizeof(directory), "%s/mailfs", fake.home);
	snprintf(expected, sizeof(expected), "%s/%ld.0", directory, (long)getpid());
	assert_string_equal(fake.socket, expected);
	assert_mode(directory, 0700);
}

/* Two mounts of one process, or what a dead one of the same number left. */
static void a_second_one_gets_another_name(void **state)
{
	(void)state;
	_cleanup_str_ struct str why = STR_INIT;
	_cleanup_free_ char *first = strdup(fake.socket);
	struct control *one = fake.control;
	assert_int_equal(fake_create(&why), 0);
	assert_string_not_equal(fake.socket, first);
	json_decref(fake_ok("{\"command\":\"refresh\"}"));
	control_destroy(one);
	json_decref(fake_ok("{\"command\":\"refresh\"}"));
}

/* Left by a kill: removed by the next; a living one and a stranger's file stay. */
static void dead_sockets_are_removed(void **state)
{
	(void)state;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_str_ struct str why = STR_INIT;
	struct control *one = fake.control;
	char stranger[100];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s/mailfs/1.0", fake.home);
	assert_return_code(bind(fd, (struct sockaddr *)&address, sizeof(address)), errno);
	close(fd);
	snprintf(stranger, sizeof(stranger), "%s/mailfs/notes.txt", fake.home);
	fclose(fopen(stranger, "w"));
	_cleanup_free_ char *living = strdup(fake.socket);
	assert_int_equal(fake_create(&why), 0);
	assert_int_equal(access(address.sun_path, F_OK), -1);
	assert_int_equal(access(living, F_OK), 0);
	assert_int_equal(access(stranger, F_OK), 0);
	control_destroy(one);
}

/* A directory that is too open is closed; one that is a link, or no directory, is not taken. */
static void a_place_that_is_not_ours_is_passed_over(void **state)
{
	(void)state;
	_cleanup_str_ struct str why = STR_INIT;
	char directory[100], other[100];
	control_destroy(fake.control);
	fake.control = NULL;
	snprintf(directory, sizeof(directory), "%s/mailfs", fake.home);
	snprintf(other, sizeof(other), "%s/other", fake.home);
	assert_return_code(chmod(directory, 0777), errno);
	assert_int_equal(fake_create(&why), 0);
	assert_mode(directory, 0700);
	control_destroy(fake.control);
	assert_return_code(rename(directory, other), errno);
	assert_return_code(symlink(other, directory), errno);
	assert_int_equal(fake_create(&why), 0);
	assert_null(strstr(fake.socket, fake.home));
	control_destroy(fake.control);
	unlink(directory);
	fclose(fopen(directory, "w"));
	assert_int_equal(fake_create(&why), 0);
	assert_null(strstr(fake.socket, fake.home));
}

/* A path that no socket address can hold. */
static void a_long_path_is_passed_over(void **state)
{
	(void)state;
	_cleanup_str_ struct str why = STR_INIT;
	char longer[200], *end = longer + snprintf(longer, sizeof(longer), "%s/", fake.home);
	control_destroy(fake.control);
	memset(end, 'x', 100);
	end[100] = 0;
	assert_return_code(mkdir(longer, 0700), errno);
	setenv("XDG_RUNTIME_DIR", longer, 1);
	assert_int_equal(fake_create(&why), 0);
	assert_null(strstr(fake.socket, "xxx"));
	json_decref(fake_ok("{\"command\":\"refresh\"}"));
}

static void a_failure_leaves_nothing(void **state)
{
	(void)state;
	_cleanup_str_ struct str why = STR_INIT;
	char path[120];
	control_destroy(fake.control);
	fake.control = NULL;
	fake.set_control_err = -ENOMEM;
	assert_int_equal(fake_create(&why), -ENOMEM);
	assert_true(why.len > 0);
	assert_null(fake.listener);
	snprintf(path, sizeof(path), "%s/mailfs/%ld.0", fake.home, (long)getpid());
	assert_int_equal(access(path, F_OK), -1);
}

/* In the child: 0 when it was turned away with the line, 2 when it was let in. */
static int try_as(uid_t uid)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	char line[200] = "";
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (setgroups(0, NULL) < 0 || setresuid(uid, uid, uid) < 0)
		return 3;
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", fake.socket);
	if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return 4;
	ssize_t ignored = send(fd, "{\"command\":\"refresh\"}\n", 22, MSG_NOSIGNAL);
	(void)ignored;
	if (recv(fd, line, sizeof(line) - 1, 0) <= 0)
		return 5;
	return strstr(line, "EACCES") && !strstr(line, "true") ? 0 : 2;
}

static int result_as(uid_t uid)
{
	int status = -1;
	pid_t child = fork();
	if (child == 0)
		_exit(try_as(uid));
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Even where the directory would let it: who asks is looked at. */
static void another_user_is_turned_away(void **state)
{
	(void)state;
	char directory[100];
	snprintf(directory, sizeof(directory), "%s/mailfs", fake.home);
	if (geteuid() != 0) {
		print_message("not root: can not become another user\n");
		return;
	}
	/* The first lock on the door. */
	assert_int_equal(result_as(NOBODY), 4);
	/* The second. */
	assert_return_code(chmod(fake.home, 0755), errno);
	assert_return_code(chmod(directory, 0755), errno);
	assert_return_code(chmod(fake.socket, 0777), errno);
	assert_int_equal(result_as(NOBODY), 0);
	assert_int_equal(fake.refreshes, 0);
	assert_int_equal(result_as(0), 2);
	assert_int_equal(fake.refreshes, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(the_place_is_the_users_own),
		TEST(a_second_one_gets_another_name),
		TEST(dead_sockets_are_removed),
		TEST(a_place_that_is_not_ours_is_passed_over),
		TEST(a_long_path_is_passed_over),
		TEST(a_failure_leaves_nothing),
		TEST(another_user_is_turned_away),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
