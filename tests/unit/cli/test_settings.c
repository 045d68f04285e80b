/* SPDX-License-Identifier: MIT */
/* The address, the account and the options, made one: precedence, ports, and what contradicts itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "files.h"
#include "settings.h"

static int load(const char *source, const char *options, struct settings *ret, struct str *why)
{
	struct args args = {.source = source, .mountpoint = "/mnt"};
	str_append_cstr(&args.options, options);
	int r = settings_load(&args, ret, why);
	args_finish(&args);
	return r;
}

static const struct {
	const char *source, *options;
	enum net_tls tls;
	unsigned port;
} goods[] = {
	{"imaps://h", "", NET_TLS_IMPLICIT, 993},
	{"imap://h", "", NET_TLS_STARTTLS, 143},
	{"imap://h", "tls=none", NET_TLS_NONE, 143},
	{"imap://h", "tls=starttls", NET_TLS_STARTTLS, 143},
	{"imap://h", "tls=implicit", NET_TLS_IMPLICIT, 993},
	{"imap://h:1430", "tls=none", NET_TLS_NONE, 1430},
	{"imaps://h:1", "tls=implicit,tls_ca=/x", NET_TLS_IMPLICIT, 1},
	{"imaps://h", "token_command=x,state_dir=/x,inotify=off", NET_TLS_IMPLICIT, 993},
	{"pop3s://h", "", NET_TLS_IMPLICIT, 995},
	{"pop3://h", "", NET_TLS_STARTTLS, 110},
	{"pop3://h", "tls=none", NET_TLS_NONE, 110},
	{"pop3://h", "tls=implicit", NET_TLS_IMPLICIT, 995},
	{"pop3://h:1100", "tls=starttls", NET_TLS_STARTTLS, 1100},
	{"pop3s://h/INBOX", "after=delete:7,background,poll=1,uidl=hash", NET_TLS_IMPLICIT, 995},
	/* What means nothing with POP3 does no harm. */
	{"pop3s://h", "ro,refresh=5,connections=2,cache_dir=/x,after=keep", NET_TLS_IMPLICIT, 995},
};

static void tls_and_port_follow_the_address(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(goods) / sizeof(*goods); i++) {
		_cleanup_str_ struct str why = STR_INIT;
		struct settings settings;
		if (load(goods[i].source, goods[i].options, &settings, &why) < 0)
			fail_msg("%s", str_cstr(&why));
		assert_int_equal(settings.tls, goods[i].tls);
		assert_int_equal(settings.port, goods[i].port);
		assert_string_equal(settings.fsname, goods[i].source);
		settings_finish(&settings);
	}
}

static const struct {
	const char *source, *options, *says;
} bads[] = {
	{"imaps://h", "tls=none", "contradicts tls=none"},
	{"imaps://h", "tls=starttls", "contradicts tls=starttls"},
	{"imap://h", "tls=none,tls_ca=/x", "checks no certificate"},
	{"imaps://h", "bogus", "unknown option `bogus'"},
	{"imaps://h:x", "", "port"},
	{"pop3s://h", "tls=starttls",
		"pop3s:// means TLS from the first byte, which contradicts tls=starttls; use pop3:// with it"},
	{"pop3s://h", "tls=none", "use pop3:// with it"},
	{"pop3://h/Sent", "", "no folders"},
	{"pop3s://h", "ro,after=delete", "contradicts after=delete"},
	{"imaps://h", "after=keep", "option after is for POP3 only; with imaps://"},
	{"imap://h", "background", "option background is for POP3 only; with imap://"},
	{"imaps://h", "poll=60", "option poll is for POP3 only"},
	{"imaps://h", "uidl=hash", "option uidl is for POP3 only"},
	{"pop3s://h", "offline=all", "option offline is for IMAP only; with pop3s://"},
	{"pop3://h", "cache_size=1G", "option cache_size is for IMAP only"},
	{"pop3://h", "watchdog=60", "option watchdog is for IMAP only"},
	{"pop3s://h", "token_command=x,password_command=y", "in the place of a password"},
	{"imaps://h", "token_command=x,password_file=/y", "in the place of a password"},
	{"imaps://h", "names=%f", "option names=%f: "},
	{"nosuch", "", "`nosuch' is not an address"},
};

static void contradictions_are_refused(void **state)
{
	(void)state;
	setenv("XDG_CONFIG_HOME", "/nonexistent", 1);
	for (size_t i = 0; i < sizeof(bads) / sizeof(*bads); i++) {
		_cleanup_str_ struct str why = STR_INIT;
		struct settings settings;
		assert_true(load(bads[i].source, bads[i].options, &settings, &why) < 0);
		if (!strstr(str_cstr(&why), bads[i].says))
			fail_msg("%s: `%s' lacks `%s'", bads[i].source, str_cstr(&why),
				bads[i].says);
	}
}

static void the_command_line_comes_before_the_account(void **state)
{
	static const char text[] = "[home]\nsource = imap://a@h/F\ntimeout = 5\nrefresh = 6\n";
	_cleanup_str_ struct str why = STR_INIT;
	struct settings settings;
	(void)state;
	assert_int_equal(mkdir(files_at("mailfs"), 0700), 0);
	files_make("mailfs/config", text, strlen(text), 0600);
	setenv("XDG_CONFIG_HOME", files_directory, 1);
	int r = load("home", "timeout=7,fsname=x", &settings, &why);
	remove(files_at("mailfs/config"));
	remove(files_at("mailfs"));
	if (r < 0)
		fail_msg("%s", str_cstr(&why));
	assert_int_equal(settings.options.timeout_s, 7);
	assert_int_equal(settings.options.refresh_s, 6);
	assert_string_equal(settings.url.folder, "F");
	assert_string_equal(settings.fsname, "x");
	settings_finish(&settings);
}

static void an_account_may_be_a_pop3_one(void **state)
{
	static const char text[] =
		"[old]\nsource = pop3s://a@h\nafter = delete:30\nbackground = yes\n"
		"poll = 300\nuidl = hash\n[new]\nsource = imaps://a@h\n";
	_cleanup_str_ struct str why = STR_INIT;
	struct settings settings;
	(void)state;
	assert_int_equal(mkdir(files_at("mailfs"), 0700), 0);
	files_make("mailfs/config", text, strlen(text), 0600);
	setenv("XDG_CONFIG_HOME", files_directory, 1);
	int r = load("old", "background,after=delete:3", &settings, &why);
	if (r < 0)
		fail_msg("%s", str_cstr(&why));
	assert_int_equal(settings.url.scheme, URL_POP3S);
	assert_int_equal(settings.port, 995);
	assert_true(settings.options.background && settings.options.after_delete);
	assert_int_equal(settings.options.after_days, 3);
	assert_int_equal(settings.options.poll_s, 300);
	assert_true(settings.options.uidl_hash);
	settings_finish(&settings);
	/* Another account's options are its own. */
	r = load("new", "", &settings, &why);
	remove(files_at("mailfs/config"));
	remove(files_at("mailfs"));
	if (r < 0)
		fail_msg("%s", str_cstr(&why));
	settings_finish(&settings);
}

static void loopback_is_told_by_the_name_alone(void **state)
{
	static const char *const here[] = {
		"localhost", "LOCALHOST", "mail.localhost", "127.0.0.1", "127.9.9.9", "::1"};
	static const char *const elsewhere[] = {"h", "localhost.example.org", "notlocalhost",
		"127.0.0.1.example", "128.0.0.1", "::2", ".localhos"};
	(void)state;
	for (size_t i = 0; i < sizeof(here) / sizeof(*here); i++)
		assert_true(settings_is_loopback(here[i]));
	for (size_t i = 0; i < sizeof(elsewhere) / sizeof(*elsewhere); i++)
		assert_false(settings_is_loopback(elsewhere[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tls_and_port_follow_the_address),
		cmocka_unit_test(contradictions_are_refused),
		cmocka_unit_test(the_command_line_comes_before_the_account),
		cmocka_unit_test(an_account_may_be_a_pop3_one),
		cmocka_unit_test(loopback_is_told_by_the_name_alone),
	};
	return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
