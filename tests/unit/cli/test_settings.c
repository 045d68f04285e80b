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
	{"pop3://h", "", "POP3"},
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
		cmocka_unit_test(loopback_is_told_by_the_name_alone),
	};
	return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
