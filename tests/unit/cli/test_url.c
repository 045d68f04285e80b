/* SPDX-License-Identifier: MIT */
/* Addresses: what people type, and what must be refused with a reason. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "url.h"

struct good {
	const char *text;
	enum url_scheme scheme;
	const char *user, *host;
	unsigned port;
	const char *folder;
};

static const struct good goods[] = {
	{"imaps://imap.example.org", URL_IMAPS, NULL, "imap.example.org", 0, NULL},
	{"imaps://alice@imap.example.org/", URL_IMAPS, "alice", "imap.example.org", 0, NULL},
	{"imap://alice@imap.example.org:1143", URL_IMAP, "alice", "imap.example.org", 1143, NULL},
	{"IMAPS://h:993/INBOX", URL_IMAPS, NULL, "h", 993, "INBOX"},
	{"imaps://alice%40example.org@h", URL_IMAPS, "alice@example.org", "h", 0, NULL},
	{"imaps://alice@example.org@h/a/b", URL_IMAPS, "alice@example.org", "h", 0, "a/b"},
	{"imaps://h/a@b", URL_IMAPS, NULL, "h", 0, "a@b"},
	{"imaps://h//Lists/2026//", URL_IMAPS, NULL, "h", 0, "Lists/2026"},
	{"imaps://h/%2fLists/2026%2F/", URL_IMAPS, NULL, "h", 0, "Lists/2026"},
	{"imaps://h/%2F", URL_IMAPS, NULL, "h", 0, NULL},
	{"imaps://h/Entw%C3%BCrfe%20x", URL_IMAPS, NULL, "h", 0, "Entw\xc3\xbcrfe x"},
	{"imaps://a%3Ab%25@h", URL_IMAPS, "a:b%", "h", 0, NULL},
	{"imaps://[::1]", URL_IMAPS, NULL, "::1", 0, NULL},
	{"imaps://u@[2001:db8::7]:9930/x", URL_IMAPS, "u", "2001:db8::7", 9930, "x"},
	{"imaps://[fe80::1%25eth0]:1", URL_IMAPS, NULL, "fe80::1%eth0", 1, NULL},
	{"imaps://[fe80::1%eth0]", URL_IMAPS, NULL, "fe80::1%eth0", 0, NULL},
	{"imaps://[::ffff:192.0.2.1]", URL_IMAPS, NULL, "::ffff:192.0.2.1", 0, NULL},
	{"imaps://127.0.0.1:65535", URL_IMAPS, NULL, "127.0.0.1", 65535, NULL},
	{"pop3s://alice@example.org@pop.example.org", URL_POP3S, "alice@example.org",
		"pop.example.org", 0, NULL},
	{"POP3://u@h:1100/", URL_POP3, "u", "h", 1100, NULL},
	{"pop3s://Alice@Pop.EXAMPLE.org", URL_POP3S, "Alice", "pop.example.org", 0, NULL},
	{"imaps://Alice@Imap.EXAMPLE.org", URL_IMAPS, "Alice", "Imap.EXAMPLE.org", 0, NULL},
	{"pop3s://h/INBOX", URL_POP3S, NULL, "h", 0, NULL},
	{"pop3s://h//inbox/", URL_POP3S, NULL, "h", 0, NULL},
	{"pop3s://[::1]:9950", URL_POP3S, NULL, "::1", 9950, NULL},
};

static void assert_text(const char *got, const char *expected)
{
	if (!expected)
		assert_null(got);
	else
		assert_string_equal(got, expected);
}

static void good_addresses_are_taken_apart(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(goods) / sizeof(*goods); i++) {
		_cleanup_str_ struct str why = STR_INIT;
		struct url url;
		assert_int_equal(url_parse(goods[i].text, &url, &why), 0);
		assert_int_equal(url.scheme, goods[i].scheme);
		assert_text(url.user, goods[i].user);
		assert_text(url.host, goods[i].host);
		assert_int_equal(url.port, goods[i].port);
		assert_text(url.folder, goods[i].folder);
		assert_int_equal(why.len, 0);
		url_finish(&url);
	}
}

static const struct {
	const char *text;
	int err;
	const char *says;
} bads[] = {
	{"imap.example.org", -EINVAL, "begins with imaps://, imap://, pop3s:// or pop3://"},
	{"://h", -EPROTONOSUPPORT, "imaps://"},
	{"http://h", -EPROTONOSUPPORT, "http:// is not supported"},
	{"pop3x://h", -EPROTONOSUPPORT, "pop3x:// is not supported"},
	{"pop://h", -EPROTONOSUPPORT, "pop:// is not supported; an address begins with"},
	{"pop3s://h/Archive", -EINVAL, "has no folders: leave /Archive out"},
	{"pop3://u@h/INBOX/x", -EINVAL, "has no folders: leave /INBOX/x out"},
	{"pop3s://u:hunter2@h", -EINVAL, "password has no place"},
	{"pop3s:///", -EINVAL, "host name is missing"},
	{"imaps://", -EINVAL, "host name is missing"},
	{"imaps:///INBOX", -EINVAL, "host name is missing"},
	{"imaps://u@", -EINVAL, "host name is missing"},
	{"imaps://@h", -EINVAL, "no user name"},
	{"imaps://u:hunter2@h", -EINVAL, "password has no place"},
	{"imaps://u:hunter2@x@h", -EINVAL, "password has no place"},
	{"imaps://h:", -EINVAL, "port"},
	{"imaps://h:0", -EINVAL, "port"},
	{"imaps://h:65536", -EINVAL, "port"},
	{"imaps://h:-1", -EINVAL, "port"},
	{"imaps://h:99 ", -EINVAL, "port"},
	{"imaps://::1", -EINVAL, "brackets"},
	{"imaps://h h", -EINVAL, "not a host name"},
	{"imaps://-h", -EINVAL, "not a host name"},
	{"imaps://m\xc3\xbcller.example", -EINVAL, "not a host name"},
	{"imaps://[::1", -EINVAL, "]"},
	{"imaps://[::1]x", -EINVAL, "may follow the ]"},
	{"imaps://[localhost]", -EINVAL, "IPv6"},
	{"imaps://[]", -EINVAL, "IPv6"},
	{"imaps://[::1%]", -EINVAL, "IPv6"},
	{"imaps://u%4@h", -EINVAL, "two hex digits"},
	{"imaps://u%zz@h", -EINVAL, "two hex digits"},
	{"imaps://h/%", -EINVAL, "two hex digits"},
	{"imaps://u%00@h", -EINVAL, "control characters"},
	{"imaps://u%0d%0aA1@h", -EINVAL, "control characters"},
	{"imaps://h/a%0ab", -EINVAL, "control characters"},
	{"imaps://h/%ff", -EINVAL, "UTF-8"},
};

static void bad_addresses_are_refused_with_a_reason(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(bads) / sizeof(*bads); i++) {
		_cleanup_str_ struct str why = STR_INIT;
		struct url url = {.port = 77};
		assert_int_equal(url_parse(bads[i].text, &url, &why), bads[i].err);
		if (!strstr(str_cstr(&why), bads[i].says))
			fail_msg("%s: `%s' lacks `%s'", bads[i].text, str_cstr(&why), bads[i].says);
		assert_int_equal(url.port, 77);
	}
}

static void a_password_is_not_repeated(void **state)
{
	(void)state;
	_cleanup_str_ struct str why = STR_INIT;
	struct url url;
	assert_int_equal(url_parse("imaps://u:hunter2@h", &url, &why), -EINVAL);
	assert_null(strstr(str_cstr(&why), "hunter2"));
}

static void an_account_name_is_not_an_address(void **state)
{
	(void)state;
	assert_true(url_is_address("imaps://h"));
	assert_false(url_is_address("work"));
	assert_false(url_is_address("imap.example.org:993"));
}

static void schemes_have_names(void **state)
{
	static const struct {
		enum url_scheme scheme;
		const char *name;
		bool pop3, implicit;
	} all[] = {{URL_IMAPS, "imaps", false, true}, {URL_IMAP, "imap", false, false},
		{URL_POP3S, "pop3s", true, true}, {URL_POP3, "pop3", true, false}};
	(void)state;
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		assert_string_equal(url_scheme_name(all[i].scheme), all[i].name);
		assert_int_equal(url_is_pop3(all[i].scheme), all[i].pop3);
		assert_int_equal(url_is_implicit(all[i].scheme), all[i].implicit);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(good_addresses_are_taken_apart),
		cmocka_unit_test(bad_addresses_are_refused_with_a_reason),
		cmocka_unit_test(a_password_is_not_repeated),
		cmocka_unit_test(an_account_name_is_not_an_address),
		cmocka_unit_test(schemes_have_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
