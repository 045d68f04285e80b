/* SPDX-License-Identifier: MIT */
/*
 * Memory that is refused while a mount is being prepared, and to mailfsctl: -ENOMEM, and nothing else; never an option that is left out, another file's
 * password, or a mistake that nobody has made.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "ctl_mount.h"
#include "ctl_text.h"
#include "files.h"
#include "home.h"
#include "netrc.h"
#include "oom.h"
#include "password.h"
#include "settings.h"

/* --- The command line and the config file --- */

static const char config[] =
	"[home]\nsource = imaps://alice%40x@imap.example.org:1993/Lists/a%20b\npassword_command = pass show x\n"
	"timeout = 10\ntls_ca = ~/ca.pem\noffline = INBOX,Archive\nnames = %d_%s.%u\n"
	"[work]\nsource = imap://bob@imap.example.com\nuser = robert\ncache_dir = /var/x\n";

static void check(const struct settings *settings)
{
	const struct options *options = &settings->options;
	assert_string_equal(settings->url.user, "alice@x");
	assert_string_equal(settings->url.host, "imap.example.org");
	assert_string_equal(settings->url.folder, "Lists/a b");
	assert_int_equal(settings->port, 1993);
	assert_string_equal(settings->fsname, "a,b");
	assert_string_equal(options->password_command, "pass show x");
	assert_int_equal(options->timeout_s, 7);
	assert_non_null(strstr(options->tls_ca, "/ca.pem"));
	assert_int_equal(options->offline_count, 3);
	assert_string_equal(options->cache_dir, "/tmp/x");
	assert_non_null(options->names);
	assert_null(options->user);
}

static int try_settings(void *arg, unsigned long nth, bool forever)
{
	char line[] =
		"mailfs home /mnt -o timeout=7,fsname=a\\,b -ocache_dir=/tmp/x -o offline=Sent,ro";
	char *words[20] = {0}, *rest = line;
	int count = 0;
	struct args args = {0};
	struct settings settings;
	struct str why = STR_INIT;
	(void)arg;
	while (rest)
		words[count++] = strsep(&rest, " ");
	oom_arm(nth, forever);
	int r = args_parse(&args, count, words, &why);
	bool loaded = r == 0 && (r = settings_load(&args, &settings, &why)) == 0;
	if (!oom_disarm() && r < 0)
		fail_msg("%s", str_cstr(&why));
	if (loaded)
		check(&settings);
	if (loaded)
		settings_finish(&settings);
	args_finish(&args);
	str_finish(&why);
	return r;
}

static void test_settings(void **state)
{
	(void)state;
	assert_int_equal(mkdir(files_at("mailfs"), 0700), 0);
	files_make("mailfs/config", config, strlen(config), 0600);
	setenv("XDG_CONFIG_HOME", files_directory, 1);
	setenv("HOME", files_directory, 1);
	oom_each("settings", try_settings, NULL);
	remove(files_at("mailfs/config"));
	remove(files_at("mailfs"));
}

static int try_home(void *arg, unsigned long nth, bool forever)
{
	(void)arg;
	oom_arm(nth, forever);
	char *path = home_expand("~/x"),
	     *other = home_xdg_path("XDG_NONE", "/.config", "mailfs/config");
	oom_disarm();
	if (path)
		assert_non_null(strstr(path, "/x"));
	if (other)
		assert_non_null(strstr(other, "/.config/mailfs/config"));
	int r = path && other ? 0 : -ENOMEM;
	free(path);
	free(other);
	return r;
}

static void test_home(void **state)
{
	(void)state;
	oom_each("paths", try_home, NULL);
}

/* --- Passwords --- */

static int try_netrc(void *arg, unsigned long nth, bool forever)
{
	char text[] =
		"machine a login eve password no\nmachine h login \"a b\" password \"q\\\" x\"\ndefault login z password no\n";
	struct netrc_entry entry = {0};
	(void)arg;
	oom_arm(nth, forever);
	int r = netrc_find(text, "h", NULL, &entry);
	oom_disarm();
	if (r == 0)
		assert_string_equal(entry.login, "a b");
	if (r == 0)
		assert_string_equal(entry.password, "q\" x");
	netrc_entry_finish(&entry);
	return r;
}

static int try_password(void *arg, unsigned long nth, bool forever)
{
	const struct password_request *request = arg;
	struct password password = {0};
	struct str why = STR_INIT;
	oom_arm(nth, forever);
	int r = password_get(request, &password, &why);
	oom_disarm();
	if (r == 0) {
		assert_string_equal(password.user, "alice");
		assert_string_equal(secret_text(password.secret), "hunter2");
		password_finish(&password);
	}
	str_finish(&why);
	return r;
}

static void test_passwords(void **state)
{
	char netrc[128], file[128];
	(void)state;
	snprintf(file, sizeof(file), "%s", files_make("secret", "hunter2\n", 8, 0600));
	static const char text[] = "machine h login alice password hunter2\n";
	snprintf(netrc, sizeof(netrc), "%s", files_make("netrc", text, strlen(text), 0600));
	oom_each("netrc", try_netrc, NULL);
	oom_each("password of netrc", try_password,
		&(struct password_request){.host = "h", .netrc = netrc});
	oom_each("password of a file", try_password,
		&(struct password_request){
			.host = "h", .user = "alice", .file = file, .netrc = netrc});
	oom_each("password of a command", try_password,
		&(struct password_request){
			.host = "h", .user = "alice", .command = "echo hunter2", .netrc = netrc});
}

/* --- mailfsctl --- */

static int try_mount(void *arg, unsigned long nth, bool forever)
{
	static const char table[] = "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
				    "41 22 0:51 / /home/al/My\\040Mail rw - fuse.mailfs a rw\n"
				    "44 22 0:51 /Archive /srv/old rw - fuse.mailfs a rw\n";
	struct ctl_mount mount = {0};
	(void)arg;
	oom_arm(nth, forever);
	int r = ctl_mount_match(table, "/srv/old/In box", makedev(0, 51), &mount);
	oom_disarm();
	if (r == 0)
		assert_string_equal(mount.path, "Archive/In box");
	ctl_mount_finish(&mount);
	return r;
}

static int try_text(void *arg, unsigned long nth, bool forever)
{
	struct str out = STR_INIT;
	static char want[2000];
	oom_arm(nth, forever);
	ctl_text_status(arg, true, 1795348801, true, &out);
	bool hit = oom_disarm();
	int r = str_error(&out);
	if (r == 0 && !*want)
		snprintf(want, sizeof(want), "%s", str_cstr(&out));
	/* A field of the table may be empty then. */
	if (!hit)
		assert_string_equal(str_cstr(&out), want);
	str_finish(&out);
	return r;
}

static void test_ctl(void **state)
{
	json_t *status = json_loads(
		"{\"ok\":true,\"mountpoint\":\"/m\",\"source\":\"imaps://h\",\"protocol\":\"imap\",\"connection\":{\"state\":\"online\","
		"\"connections\":2,\"push\":\"idle\"},\"traffic\":{\"bytes_in\":5,\"bytes_out\":6,\"rate\":7},\"server\":{\"name\":\"D\","
		"\"capabilities\":[\"IDLE\",\"X\"],\"quirks\":[\"q\"]},\"folders\":[{\"path\":\"IN\\u001bBOX\",\"known\":true,"
		"\"complete\":true,\"messages\":3,\"unseen\":1}]}",
		0, NULL);
	(void)state;
	assert_non_null(status);
	oom_each("mount of a path", try_mount, NULL);
	oom_each("status in words", try_text, status);
	json_decref(status);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_settings),
		cmocka_unit_test(test_home),
		cmocka_unit_test(test_passwords),
		cmocka_unit_test(test_ctl),
	};
	return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
