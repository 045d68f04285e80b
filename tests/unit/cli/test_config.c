/* SPDX-License-Identifier: MIT */
/* The config file: sections, mistakes with their lines, permissions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "files.h"

struct result {
	struct options options;
	char *source;
	struct str why;
};

static void result_finish(struct result *result)
{
	options_finish(&result->options);
	free(result->source);
	str_finish(&result->why);
}
#define _cleanup_result_ __attribute__((cleanup(result_finish)))

static int load(
	struct result *result, const char *text, size_t len, mode_t mode, const char *account)
{
	*result = (struct result){.why = STR_INIT};
	options_init(&result->options);
	const char *path = files_make("config", text, len, mode);
	return config_load(path, account, &result->options, &result->source, &result->why);
}

static const char good[] = "# accounts\n"
			   "[home]\n"
			   "source = imaps://alice@imap.example.org\n"
			   "    password_command = pass show mail/home\n"
			   "timeout=10\n"
			   "allow_other = yes\n"
			   "\n"
			   "; another\n"
			   "[work]\n"
			   "source = imap://bob@imap.example.com/Lists\n"
			   "\tuser = robert\n"
			   "allow_other = no\n"
			   "tls_ca = /etc/ssl/work.pem\n";

static void a_section_is_an_account(void **state)
{
	(void)state;
	_cleanup_result_ struct result home, work;
	assert_int_equal(load(&home, good, strlen(good), 0600, "home"), 0);
	assert_string_equal(home.source, "imaps://alice@imap.example.org");
	assert_string_equal(home.options.password_command, "pass show mail/home");
	assert_int_equal(home.options.timeout_s, 10);
	assert_true(home.options.allow_other);
	assert_null(home.options.user);
	assert_int_equal(load(&work, good, strlen(good), 0644, "work"), 0);
	assert_string_equal(work.source, "imap://bob@imap.example.com/Lists");
	assert_string_equal(work.options.user, "robert");
	assert_false(work.options.allow_other);
	assert_int_equal(work.options.timeout_s, 30);
}

static const struct {
	const char *text;
	int err;
	const char *says;
} bads[] = {
	{"[work]\nsource = imaps://h\n", -ENOENT, "no account [home]"},
	{"", -ENOENT, "no account [home]"},
	{"[home]\ntimeout = 3\n", -EINVAL, "no source="},
	{"[home]\nsource = imaps://h\nrefesh = 3\n", -EINVAL, ":3: unknown option `refesh'"},
	{"[home]\nsource = imaps://h\n\n\n[work]\n\nspeed = 3\n", -EINVAL,
		":7: unknown option `speed'"},
	{"[home]\nsource = imaps://h\n  timeout = never\n", -EINVAL, ":3: option timeout=never"},
	{"[home]\nsource = home\n", -EINVAL, ":2: source="},
	{"source = imaps://h\n", -EINVAL, ":1: an [ACCOUNT]"},
	{"[home\nsource = imaps://h\n", -EINVAL, ":1: the ]"},
	{"[]\nsource = imaps://h\n", -EINVAL, ":1: an account's name"},
	{"[home]\nsource = imaps://h\nro\n", -EINVAL, ":3: neither"},
	{"[home]\nsource = imaps://h\ntimeout = 1\ntimeout = 2\n", -EINVAL,
		":4: timeout is set twice"},
	{"[home]\nsource = imaps://h\n[work]\nsource = imaps://w\n[home]\nsource = imaps://i\n",
		-EINVAL, ":6: [home] stands twice"},
	{"[home]\nsource = imaps://h\ntls_ca = ca.pem\n", -EINVAL,
		":3: option tls_ca=ca.pem: a path in the config"},
	{"[home]\nsource = imaps://h\npassword = x\n", -EINVAL, ":3: option password="},
	{"[0123456789012345678901234567890123456789012345678901234567890]\na=b\n", -EINVAL,
		":1: an account's name"},
};

static void mistakes_are_named_with_their_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bads) / sizeof(*bads); i++) {
		_cleanup_result_ struct result result;
		assert_int_equal(load(&result, bads[i].text, strlen(bads[i].text), 0600, "home"),
			bads[i].err);
		if (!strstr(str_cstr(&result.why), bads[i].says))
			fail_msg("case %zu: `%s' lacks `%s'", i, str_cstr(&result.why),
				bads[i].says);
		assert_null(result.source);
	}
}

static void a_line_that_is_too_long_is_no_shorter_one(void **state)
{
	_cleanup_result_ struct result result;
	char text[6000];
	(void)state;
	int len = snprintf(text, sizeof(text), "[home]\nsource = imaps://h\nuser = %05000d\n", 1);
	assert_int_equal(load(&result, text, (size_t)len, 0600, "home"), -EINVAL);
	assert_non_null(strstr(str_cstr(&result.why), ":3: the line is too long"));
}

static void others_may_not_write_to_it(void **state)
{
	static const mode_t modes[] = {0620, 0602, 0666};
	(void)state;
	for (size_t i = 0; i < sizeof(modes) / sizeof(*modes); i++) {
		_cleanup_result_ struct result result;
		assert_int_equal(load(&result, good, strlen(good), modes[i], "home"), -EPERM);
		assert_non_null(strstr(str_cstr(&result.why), "chmod 600"));
	}
}

static void a_missing_file_says_what_was_looked_for(void **state)
{
	_cleanup_result_ struct result result = {.why = STR_INIT};
	(void)state;
	assert_int_equal(config_load("/nonexistent/config", "imap.example.org", &result.options,
				 &result.source, &result.why),
		-ENOENT);
	assert_non_null(
		strstr(str_cstr(&result.why), "`imap.example.org' is not an address (imaps://"));
	assert_int_equal(
		config_load("/", "x", &result.options, &result.source, &result.why), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_section_is_an_account),
		cmocka_unit_test(mistakes_are_named_with_their_line),
		cmocka_unit_test(a_line_that_is_too_long_is_no_shorter_one),
		cmocka_unit_test(others_may_not_write_to_it),
		cmocka_unit_test(a_missing_file_says_what_was_looked_for),
	};
	return cmocka_run_group_tests(tests, files_setup, files_teardown);
}
