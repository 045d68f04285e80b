/* SPDX-License-Identifier: MIT */
/* Options: kinds, limits, escapes, and what mount(8) adds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "options.h"

static int setup(void **state)
{
	static struct options options;
	options_init(&options);
	*state = &options;
	return 0;
}

static int teardown(void **state)
{
	options_finish(*state);
	return 0;
}

static void assert_parses(struct options *options, const char *list)
{
	_cleanup_str_ struct str why = STR_INIT;
	int r = options_parse(options, list, &why);
	if (r < 0)
		fail_msg("%s: %s", list, str_cstr(&why));
}

static void assert_refused(struct options *options, const char *list, const char *says)
{
	_cleanup_str_ struct str why = STR_INIT;
	assert_int_equal(options_parse(options, list, &why), -EINVAL);
	if (!strstr(str_cstr(&why), says))
		fail_msg("%s: `%s' lacks `%s'", list, str_cstr(&why), says);
}

static void defaults_are_those_of_the_manual(void **state)
{
	const struct options *options = *state;
	assert_false(options->readonly);
	assert_int_equal(options->refresh_s, 30);
	assert_int_equal(options->timeout_s, 30);
	assert_int_equal(options->connections, 4);
	assert_int_equal(options->uid, getuid());
	assert_int_equal(options->umask, 077);
	assert_int_equal(options->tls, OPTION_TLS_SCHEME);
	assert_false(options->views_listed);
	assert_false(options->after_delete);
	assert_false(options->background);
	assert_int_equal(options->poll_s, 0);
	assert_false(options->uidl_hash);
	assert_true(options->inotify);
	assert_true(options->sandbox);
	assert_null(options->state_dir);
	assert_null(options->token_command);
	assert_null(options->pop3_only);
	assert_null(options->imap_only);
	assert_int_equal(options->compress, SYNC_COMPRESS_AUTO);
	assert_int_equal(options->watchdog_s, 300);
	assert_true(options->cache_bytes == UINT64_C(10) << 30);
	assert_false(options->offline_all);
	assert_int_equal(options->offline_days, 0);
	assert_int_equal(options->offline_count, 0);
}

static void every_kind_is_set(void **state)
{
	struct options *options = *state;
	assert_parses(options,
		"ro,refresh=0,timeout=3600,connections=16,names=uid,views=listed,user=al@x,"
		"password_command=pass show mail,tls=none,uid=0,gid=65534,umask=022,allow_other,debug,"
		"cache_dir=/var/cache/x,state_dir=/var/lib/x,token_command=get token,inotify=off,sandbox=off,tls_ca=/etc/ca.pem,fsname=m");
	assert_true(options->readonly);
	assert_int_equal(options->refresh_s, 0);
	assert_int_equal(options->timeout_s, 3600);
	assert_int_equal(options->connections, 16);
	assert_string_equal(options->names, "uid");
	assert_true(options->views_listed);
	assert_string_equal(options->user, "al@x");
	assert_string_equal(options->password_command, "pass show mail");
	assert_int_equal(options->tls, OPTION_TLS_NONE);
	assert_int_equal(options->uid, 0);
	assert_int_equal(options->gid, 65534);
	assert_int_equal(options->umask, 022);
	assert_true(options->allow_other);
	assert_true(options->debug);
	assert_string_equal(options->cache_dir, "/var/cache/x");
	assert_string_equal(options->state_dir, "/var/lib/x");
	assert_string_equal(options->token_command, "get token");
	assert_false(options->inotify);
	assert_false(options->sandbox);
	assert_null(options->pop3_only);
	assert_string_equal(options->tls_ca, "/etc/ca.pem");
	assert_string_equal(options->fsname, "m");
}

static void whether_it_compresses(void **state)
{
	struct options *options = *state;
	assert_parses(options, "compress=on");
	assert_int_equal(options->compress, SYNC_COMPRESS_ON);
	assert_string_equal(options->imap_only, "compress");
	assert_parses(options, "compress=off");
	assert_int_equal(options->compress, SYNC_COMPRESS_OFF);
	assert_parses(options, "compress=auto");
	assert_int_equal(options->compress, SYNC_COMPRESS_AUTO);
	assert_refused(options, "compress=yes", "auto|on|off");
	assert_refused(options, "compress", "needs a value: compress=auto|on|off");
}

static void what_becomes_of_mail_on_the_server(void **state)
{
	static const struct {
		const char *text;
		bool deletes;
		unsigned days;
	} goods[] = {{"after=keep", false, 0}, {"after=delete", true, 0},
		{"after=delete:0", true, 0}, {"after=delete:30", true, 30},
		{"after=delete:36500", true, 36500}, {"after=delete:30,after=delete", true, 0},
		{"after=delete:30,after=keep", false, 0}};
	static const char *const bads[] = {"after=", "after=Delete", "after=deleted",
		"after=delete:", "after=delete:-1", "after=delete:1x", "after=delete: 1",
		"after=delete:36501", "after=delete:99999999999999999999", "after=keep:3"};
	struct options *options = *state;
	for (size_t i = 0; i < sizeof(goods) / sizeof(*goods); i++) {
		assert_parses(options, goods[i].text);
		assert_int_equal(options->after_delete, goods[i].deletes);
		assert_int_equal(options->after_days, goods[i].days);
	}
	for (size_t i = 0; i < sizeof(bads) / sizeof(*bads); i++)
		assert_refused(options, bads[i], "keep, delete or delete:DAYS");
	assert_refused(options, "after", "needs a value: after=keep|delete[:DAYS]");
}

static void options_of_pop3_are_noted(void **state)
{
	static const char *const all[] = {"after=keep", "background", "poll=1", "uidl=hash"};
	struct options *options = *state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		options->pop3_only = NULL;
		assert_parses(options, all[i]);
		assert_non_null(options->pop3_only);
		assert_int_equal(
			strncmp(options->pop3_only, all[i], strlen(options->pop3_only)), 0);
	}
	assert_true(options->background);
	assert_int_equal(options->poll_s, 1);
	assert_true(options->uidl_hash);
	assert_parses(options, "uidl=server,poll=86400");
	assert_false(options->uidl_hash);
	assert_int_equal(options->poll_s, 86400);
}

static void options_of_imap_are_noted(void **state)
{
	static const char *const all[] = {
		"watchdog=5", "cache_size=0", "offline=all", "compress=on"};
	struct options *options = *state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		options->imap_only = NULL;
		assert_parses(options, all[i]);
		assert_non_null(options->imap_only);
		assert_null(options->pop3_only);
	}
	assert_int_equal(options->watchdog_s, 5);
	assert_true(options->offline_all);
}

static void a_size_may_have_a_unit(void **state)
{
	static const struct {
		const char *text;
		uint64_t bytes;
	} goods[] = {{"cache_size=0", 0}, {"cache_size=1", 1}, {"cache_size=4096", 4096},
		{"cache_size=3K", 3072}, {"cache_size=20m", UINT64_C(20) << 20},
		{"cache_size=7G", UINT64_C(7) << 30}, {"cache_size=2T", UINT64_C(2) << 40},
		{"cache_size=8388607T", UINT64_C(8388607) << 40}};
	static const char *const bads[] = {"cache_size=", "cache_size=G", "cache_size=-1",
		"cache_size= 1", "cache_size=1 ", "cache_size=1GB", "cache_size=1P",
		"cache_size=1.5G", "cache_size=8388608T", "cache_size=99999999999999999999",
		"cache_size=0x10", "cache_size=all"};
	struct options *options = *state;
	for (size_t i = 0; i < sizeof(goods) / sizeof(*goods); i++) {
		assert_parses(options, goods[i].text);
		assert_true(options->cache_bytes == goods[i].bytes);
	}
	for (size_t i = 0; i < sizeof(bads) / sizeof(*bads); i++)
		assert_refused(options, bads[i], "K, M, G or T");
}

static void assert_folders(const struct options *options, const char *expected)
{
	_cleanup_str_ struct str folders = STR_INIT;
	for (size_t i = 0; i < options->offline_count; i++)
		str_printf(&folders, "%s|", options->offline_folders[i]);
	assert_string_equal(str_cstr(&folders), expected);
}

/* In -o the commas between members have backslashes, and a comma of a folder's name two more. */
static void what_is_wanted_offline_adds_up(void **state)
{
	struct options *options = *state;
	assert_parses(options, "offline=30d");
	assert_int_equal(options->offline_days, 30);
	assert_parses(options, "offline=7d\\,INBOX\\, Sent Items ,offline=Archive/2025");
	assert_int_equal(options->offline_days, 30);
	assert_folders(options, "INBOX|Sent Items|Archive/2025|");
	assert_parses(options, "offline=a\\\\\\,b\\,/all\\,,offline=/30d");
	assert_folders(options, "INBOX|Sent Items|Archive/2025|a,b|/all|/30d|");
	assert_false(options->offline_all);
	assert_parses(options, "offline=all");
	assert_true(options->offline_all);
	_cleanup_str_ struct str why = STR_INIT;
	assert_int_equal(options_set(options, "offline", "x, 60d", OPTION_ORIGIN_CONFIG, &why), 0);
	assert_int_equal(options->offline_days, 60);
	assert_folders(options, "INBOX|Sent Items|Archive/2025|a,b|/all|/30d|x|");
}

/* What only looks like days is a folder. */
static void days_have_limits(void **state)
{
	struct options *options = *state;
	assert_refused(options, "offline=", "all, DAYSd or folders");
	assert_refused(options, "offline", "needs a value");
	assert_refused(options, "offline=0d", "from 1d to 36500d");
	assert_refused(options, "offline=36501d", "from 1d to 36500d");
	assert_refused(options, "offline=99999999999999999999999d", "from 1d to 36500d");
	assert_parses(options, "offline=30\\,d\\,-1d\\,3 d");
	assert_folders(options, "30|d|-1d|3 d|");
}

static void the_last_one_wins(void **state)
{
	struct options *options = *state;
	assert_parses(options, "ro,rw,user=a,user=b,views=listed,views=hidden");
	assert_false(options->readonly);
	assert_string_equal(options->user, "b");
	assert_false(options->views_listed);
	assert_parses(options, "ro");
	assert_true(options->readonly);
}

static void users_and_groups_may_be_named(void **state)
{
	struct options *options = *state;
	assert_parses(options, "uid=root,gid=daemon");
	assert_int_equal(options->uid, 0);
	assert_int_equal(options->gid, 1);
	assert_refused(options, "uid=no-such-user-here", "no such user");
	assert_refused(options, "gid=", "no such group");
	assert_refused(options, "uid=4294967295", "no such user");
}

static void commas_are_escaped(void **state)
{
	struct options *options = *state;
	assert_parses(options, "password_command=echo a\\,b\\\\c,user=x");
	assert_string_equal(options->password_command, "echo a,b\\c");
	assert_string_equal(options->user, "x");
	assert_parses(options, ",,user=y,,");
	assert_string_equal(options->user, "y");
	assert_parses(options, "");
	assert_parses(options, "user=z\\");
	assert_string_equal(options->user, "z\\");
}

static void an_equals_sign_may_be_in_a_value(void **state)
{
	struct options *options = *state;
	assert_parses(options, "password_command=a=b=c");
	assert_string_equal(options->password_command, "a=b=c");
}

static void mount_adds_words_that_do_nothing(void **state)
{
	struct options *options = *state;
	assert_parses(options,
		"defaults,auto,noauto,user,nouser,users,nofail,_netdev,dev,nodev,suid,nosuid,exec,noexec,"
		"atime,noatime,relatime,sync,async,x-systemd.automount,x-systemd.idle-timeout=60,comment=x,"
		"subtype=mailfs");
	assert_null(options->user);
}

static void what_is_unknown_is_named(void **state)
{
	struct options *options = *state;
	assert_refused(options, "ro,refesh=3", "unknown option `refesh'; mailfs --help");
	assert_refused(options, "=", "unknown option");
	assert_refused(options, "tls", "needs a value: tls=implicit|starttls|none");
	assert_refused(options, "allow_other=1", "takes no value");
	assert_refused(options, "user=", "must follow");
	assert_refused(options, "user=a\nb", "control characters");
	assert_refused(options, "tls_ca=", "must follow");
	assert_refused(options, "password=x", "password_command=");
}

static void values_have_limits(void **state)
{
	struct options *options = *state;
	assert_refused(options, "connections=0", "from 1 to 16");
	assert_refused(options, "connections=17", "from 1 to 16");
	assert_refused(options, "timeout=0", "from 1 to 3600");
	assert_refused(options, "refresh=-1", "from 0");
	assert_refused(options, "refresh= 1", "from 0");
	assert_refused(options, "refresh=1x", "from 0");
	assert_refused(options, "refresh=99999999999999999999999", "from 0");
	assert_refused(options, "watchdog=4", "from 5 to 3600");
	assert_refused(options, "watchdog=3601", "from 5 to 3600");
	assert_refused(options, "umask=8", "octal");
	assert_refused(options, "umask=1777", "octal");
	assert_refused(options, "tls=yes", "implicit|starttls|none");
	assert_refused(options, "views=all", "listed|hidden");
	assert_refused(options, "uidl=yes", "server|hash");
	assert_refused(options, "inotify=yes", "on|off");
	assert_refused(options, "poll=86401", "from 0 to 86400");
	assert_refused(options, "poll=", "from 0 to 86400");
	assert_refused(options, "background=1", "takes no value");
	assert_int_equal(options->connections, 4);
}

static void a_password_is_never_taken_nor_repeated(void **state)
{
	_cleanup_str_ struct str why = STR_INIT;
	assert_int_equal(options_parse(*state, "password=hunter2", &why), -EINVAL);
	assert_null(strstr(str_cstr(&why), "hunter2"));
}

static void paths_become_absolute(void **state)
{
	struct options *options = *state;
	char expected[4200];
	setenv("HOME", "/home/alice", 1);
	assert_parses(options, "password_file=~/.secret,tls_ca=ca.pem,state_dir=~/mail");
	assert_string_equal(options->state_dir, "/home/alice/mail");
	assert_string_equal(options->password_file, "/home/alice/.secret");
	_cleanup_str_ struct str why = STR_INIT;
	char *here = getcwd(NULL, 0);
	snprintf(expected, sizeof(expected), "%s/ca.pem", here);
	free(here);
	assert_string_equal(options->tls_ca, expected);
	assert_int_equal(
		options_set(options, "tls_ca", "ca.pem", OPTION_ORIGIN_CONFIG, &why), -EINVAL);
	assert_int_equal(options_set(options, "tls_ca", "~/ca.pem", OPTION_ORIGIN_CONFIG, &why), 0);
}

#define HEX "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"

static void fingerprints_with_and_without_colons(void **state)
{
	struct options *options = *state;
	assert_parses(options, "tls_fingerprint=sha256:" HEX);
	assert_true(options->has_fingerprint);
	assert_int_equal(options->fingerprint[0], 0x00);
	assert_int_equal(options->fingerprint[1], 0x11);
	assert_int_equal(options->fingerprint[31], 0xff);
	unsigned char out[OPTION_FINGERPRINT_BYTES];
	assert_true(options_fingerprint("SHA256:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:"
					"00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff",
		out));
	assert_memory_equal(out, options->fingerprint, sizeof(out));
	static const char *const bad[] = {HEX, "sha1:" HEX, "sha256:", "sha256:" HEX "0",
		"sha256:" HEX "00", "sha256:0:" HEX, "sha256::" HEX, "sha256:" HEX ":",
		"sha256:0:0112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF",
		"sha256:g0112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_false(options_fingerprint(bad[i], out));
	assert_refused(options, "tls_fingerprint=sha256:00", "64 hex digits");
}

int main(void)
{
#define test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		test(defaults_are_those_of_the_manual),
		test(every_kind_is_set),
		test(what_becomes_of_mail_on_the_server),
		test(whether_it_compresses),
		test(options_of_pop3_are_noted),
		test(options_of_imap_are_noted),
		test(a_size_may_have_a_unit),
		test(what_is_wanted_offline_adds_up),
		test(days_have_limits),
		test(the_last_one_wins),
		test(users_and_groups_may_be_named),
		test(commas_are_escaped),
		test(an_equals_sign_may_be_in_a_value),
		test(mount_adds_words_that_do_nothing),
		test(what_is_unknown_is_named),
		test(values_have_limits),
		test(a_password_is_never_taken_nor_repeated),
		test(paths_become_absolute),
		test(fingerprints_with_and_without_colons),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
