/* SPDX-License-Identifier: MIT */
/* Where passwords come from: the order, the permissions, and commands that fail. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "files.h"
#include "mailfs/util/clock.h"
#include "password.h"

static void assert_secret(int r, struct secret *secret, const char *expected)
{
	assert_int_equal(r, 0);
	assert_string_equal(secret_text(secret), expected);
	secret_destroy(secret);
}

static void the_first_line_of_a_file(void **state)
{
	static const struct {
		const char *text, *password;
	} cases[] = {
		{"hunter2\n", "hunter2"}, {"hunter2", "hunter2"}, {"a b \r\nsecond\n", "a b "}};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		_cleanup_str_ struct str why = STR_INIT;
		struct secret *secret = NULL;
		const char *path = files_make("secret", cases[i].text, strlen(cases[i].text), 0400);
		int r = password_from_file(path, &secret, &why);
		assert_secret(r, secret, cases[i].password);
		remove(path);
	}
}

static void assert_file_refused(const char *path, int err, const char *says)
{
	_cleanup_str_ struct str why = STR_INIT;
	struct secret *secret = NULL;
	assert_int_equal(password_from_file(path, &secret, &why), err);
	assert_null(secret);
	if (!strstr(str_cstr(&why), says))
		fail_msg("`%s' lacks `%s'", str_cstr(&why), says);
}

static void a_file_that_others_can_read_is_refused(void **state)
{
	static const mode_t modes[] = {0640, 0604, 0620, 0602, 0644, 0666};
	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++)
		assert_file_refused(files_make("secret", "x\n", 2, modes[i]), -EACCES, "chmod 600");
}

static void only_regular_files_are_read(void **state)
{
	(void)state;
	assert_file_refused(files_directory, -EACCES, "not a regular file");
	assert_int_equal(mkfifo(files_at("fifo"), 0600), 0);
	assert_file_refused(files_at("fifo"), -EACCES, "not a regular file");
	assert_file_refused("/dev/null", -EACCES, "not a regular file");
	assert_file_refused(files_at("none"), -ENOENT, "No such file");
	assert_file_refused(files_make("secret", "\nx\n", 3, 0600), -ENOENT, "first line is empty");
}

static void another_users_file_is_refused(void **state)
{
	(void)state;
	/* Who is not root can give no file away: one of root's will do, which is read by all, and so refused as well. */
	if (geteuid() != 0) {
		assert_file_refused("/etc/passwd", -EACCES, "refused");
		return;
	}
	const char *path = files_make("secret", "x\n", 2, 0600);
	assert_int_equal(chown(path, 65534, 65534), 0);
	assert_file_refused(path, -EACCES, "another user");
}

static void the_first_line_of_a_command(void **state)
{
	static const struct {
		const char *command, *password;
	} cases[] = {
		{"echo hunter2", "hunter2"},
		{"printf hunter2", "hunter2"},
		{"printf 'a b\\r\\nmore\\n'", "a b"},
		/* More than a pipe holds: the command must not die of SIGPIPE, nor block. */
		{"echo first; head -c 300000 /dev/zero", "first"},
		/* Something left behind that keeps the pipe open. */
		{"echo agent; sleep 30 2>/dev/null & exit 0", "agent"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		_cleanup_str_ struct str why = STR_INIT;
		struct secret *secret = NULL;
		int r = password_from_command(
			"token_command", cases[i].command, CLOCK_NEVER, -1, &secret, &why);
		assert_secret(r, secret, cases[i].password);
	}
}

static void a_command_that_fails_says_how(void **state)
{
	static const struct {
		const char *command, *says;
	} cases[] = {
		{"echo secret; exit 3",
			"token_command `echo secret; exit 3' failed with exit code 3"},
		{"exec /nonexistent/x 2>/dev/null", "failed with exit code 127"},
		{"kill -9 $$", "killed by signal 9"},
		{"true", "first line of its output is empty"},
		{"echo; echo x", "first line of its output is empty"},
		{"head -c 20000 /dev/zero | tr '\\0' x", "can not be a password"},
		{"printf 'a\\0b\\n'", "can not be a password"},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		_cleanup_str_ struct str why = STR_INIT;
		struct secret *secret = NULL;
		assert_int_equal(password_from_command("token_command", cases[i].command,
					 CLOCK_NEVER, -1, &secret, &why),
			-EACCES);
		assert_null(secret);
		if (!strstr(str_cstr(&why), cases[i].says))
			fail_msg("`%s' lacks `%s'", str_cstr(&why), cases[i].says);
	}
}

static void a_command_has_its_time(void **state)
{
	_cleanup_str_ struct str why = STR_INIT;
	struct secret *secret = NULL;
	(void)state;
	int64_t before_ms = clock_now_ms();
	assert_int_equal(password_from_command("token_command", "echo x; exec sleep 30",
				 before_ms + 200, -1, &secret, &why),
		-ETIMEDOUT);
	assert_null(secret);
	assert_true(clock_now_ms() - before_ms < 10000);
	assert_string_equal(
		str_cstr(&why), "token_command `echo x; exec sleep 30' did not end in time");
}

/* Seen by a pipe that it holds open. Without a terminal only. */
static void what_a_late_command_has_started_ends_with_it(void **state)
{
	_cleanup_str_ struct str why = STR_INIT;
	struct secret *secret = NULL;
	int ends[2], status;
	(void)state;
	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();
	if (pid == 0) {
		setsid();
		_exit(password_from_command("token_command", "sleep 30; echo x",
			      clock_now_ms() + 200, -1, &secret, &why) != -ETIMEDOUT);
	}
	close(ends[1]);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	struct pollfd end = {.fd = ends[0]};
	assert_int_equal(poll(&end, 1, 20000), 1);
	close(ends[0]);
}

static void a_command_can_be_cancelled(void **state)
{
	_cleanup_str_ struct str why = STR_INIT;
	struct secret *secret = NULL;
	int ends[2];
	(void)state;
	assert_int_equal(pipe(ends), 0);
	assert_int_equal(write(ends[1], "x", 1), 1);
	assert_int_equal(password_from_command("token_command", "echo x; exec sleep 30",
				 CLOCK_NEVER, ends[0], &secret, &why),
		-ECANCELED);
	assert_null(secret);
	close(ends[0]);
	close(ends[1]);
}

static void assert_got(struct password_request request, const char *user, const char *text)
{
	_cleanup_str_ struct str why = STR_INIT;
	struct password password = {0};
	int r = password_get(&request, &password, &why);
	if (r < 0)
		fail_msg("%s", str_cstr(&why));
	assert_false(password.token);
	assert_string_equal(password.user, user);
	assert_string_equal(secret_text(password.secret), text);
	password_finish(&password);
}

static const char netrc[] = "machine h login alice password fromnetrc\n";

static void the_order_is_command_file_netrc(void **state)
{
	char file[128], netrc_path[128];
	(void)state;
	snprintf(file, sizeof(file), "%s", files_make("secret", "fromfile\n", 9, 0600));
	snprintf(netrc_path, sizeof(netrc_path), "%s",
		files_make("netrc", netrc, strlen(netrc), 0600));
	struct password_request request = {
		.host = "h", .command = "echo fromcommand", .file = file, .netrc = netrc_path};
	assert_got(request, "alice", "fromcommand");
	request.user = "bob";
	assert_got(request, "bob", "fromcommand");
	request.command = NULL;
	assert_got(request, "bob", "fromfile");
	request.file = NULL;
	request.user = "alice";
	assert_got(request, "alice", "fromnetrc");
	request.user = NULL;
	assert_got(request, "alice", "fromnetrc");
}

static void a_token_has_no_password_beside_it(void **state)
{
	char netrc_path[128];
	(void)state;
	snprintf(netrc_path, sizeof(netrc_path), "%s",
		files_make("netrc", netrc, strlen(netrc), 0600));
	/* Longer than any password; ~/.netrc still tells who it is. */
	struct password_request request = {
		.host = "h", .token_command = "printf '%08000d' 7", .netrc = netrc_path};
	_cleanup_str_ struct str why = STR_INIT;
	struct password password = {0};
	int r = password_get(&request, &password, &why);
	if (r < 0)
		fail_msg("%s", str_cstr(&why));
	assert_true(password.token);
	assert_string_equal(password.user, "alice");
	assert_int_equal(secret_len(password.secret), 8000);
	password_finish(&password);
	request.token_command = "exit 1";
	assert_int_equal(password_get(&request, &password, &why), -EACCES);
	assert_non_null(strstr(str_cstr(&why), "token_command `exit 1' failed"));
}

static void the_local_user_is_the_default(void **state)
{
	(void)state;
	struct password_request request = {
		.host = "other", .command = "echo x", .netrc = files_at("netrc")};
	assert_got(request, getpwuid(getuid())->pw_name, "x");
}

static void what_is_named_and_fails_is_not_replaced(void **state)
{
	(void)state;
	char netrc_path[128];
	snprintf(netrc_path, sizeof(netrc_path), "%s",
		files_make("netrc", netrc, strlen(netrc), 0600));
	struct password_request request = {
		.host = "h", .user = "alice", .command = "exit 1", .netrc = netrc_path};
	_cleanup_str_ struct str why = STR_INIT;
	struct password password = {0};
	assert_int_equal(password_get(&request, &password, &why), -EACCES);
	request.command = NULL;
	request.file = "/nonexistent";
	assert_int_equal(password_get(&request, &password, &why), -ENOENT);
}

static void an_exposed_netrc_is_refused_only_when_it_is_needed(void **state)
{
	(void)state;
	char netrc_path[128];
	snprintf(netrc_path, sizeof(netrc_path), "%s",
		files_make("netrc", netrc, strlen(netrc), 0644));
	struct password_request request = {.host = "h", .command = "echo x", .netrc = netrc_path};
	assert_got(request, "alice", "x");
	request.command = NULL;
	_cleanup_str_ struct str why = STR_INIT;
	struct password password = {0};
	assert_int_equal(password_get(&request, &password, &why), -EACCES);
	assert_non_null(strstr(str_cstr(&why), "chmod 600"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_line_of_a_file),
		cmocka_unit_test(a_file_that_others_can_read_is_refused),
		cmocka_unit_test(only_regular_files_are_read),
		cmocka_unit_test(another_users_file_is_refused),
		cmocka_unit_test(the_first_line_of_a_command),
		cmocka_unit_test(a_command_that_fails_says_how),
		cmocka_unit_test(a_command_has_its_time),
		cmocka_unit_test(what_a_late_command_has_started_ends_with_it),
		cmocka_unit_test(a_command_can_be_cancelled),
		cmocka_unit_test(the_order_is_command_file_netrc),
		cmocka_unit_test(a_token_has_no_password_beside_it),
		cmocka_unit_test(the_local_user_is_the_default),
		cmocka_unit_test(what_is_named_and_fails_is_not_replaced),
		cmocka_unit_test(an_exposed_netrc_is_refused_only_when_it_is_needed),
	};
	return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
