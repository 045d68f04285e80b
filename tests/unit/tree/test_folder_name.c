/* SPDX-License-Identifier: MIT */
/*
 * The names of folders: what is escaped, that it can be turned back, and where a mailbox name is
 * split.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <string.h>

#include "mailfs/util/utf8.h"

#include "folder_name.h"

static void check(const char *raw, const char *shown)
{
	struct str out = STR_INIT, back = STR_INIT;
	assert_int_equal(folder_name_escape(raw, strlen(raw), &out), 0);
	assert_string_equal(str_cstr(&out), shown);
	assert_int_equal(folder_name_unescape(str_cstr(&out), &back), 0);
	assert_string_equal(str_cstr(&back), raw);
	str_finish(&out);
	str_finish(&back);
}

static void test_escape(void **state)
{
	(void)state;
	check("Archive", "Archive");
	check("two words", "two words");
	check("Entwürfe", "Entwürfe");
	check("a.b", "a.b");
	check("", "%00");
	check(".", "%2E");
	check("..", "%2E%2E");
	check("...", "%2E..");
	check(".hidden", "%2Ehidden");
	check("a/b", "a%2Fb");
	check("tab\there", "tab%09here");
	check("\x01\x7f", "%01%7F");
	check("old.eml", "old%2Eeml");
	check("OLD.EML", "OLD%2EEML");
	check(".eml", "%2Eeml");
	check("a.eml.b", "a.eml.b");
	check("\xff", "%FF");
	check("a\xc3", "a%C3");
	check("\xed\xa0\x80", "%ED%A0%80");
	check("\xc2\x9b"
	      "31m",
		"%C2%9B31m");
	check("\xe2\x80\xae"
	      "gpj.exe",
		"%E2%80%AEgpj.exe");
}

static void test_percent_is_escaped_only_where_it_would_mislead(void **state)
{
	(void)state;
	check("50%", "50%");
	check("100% mine", "100% mine");
	check("%41", "%2541");
	check("%4g", "%4g");
	check("%%41", "%%2541");
	check("%2F", "%252F");
	check("%ab%AB", "%25ab%25AB");
	check("%/", "%%2F");
	check("%2/", "%2%2F");
	check("%00", "%2500");
}

/* Every string of three from an alphabet of what is special: shown safely, and turned back. */
static void test_reversible(void **state)
{
	static const char *const pieces[] = {
		"%", "2", "F", ".", "/", ".eml", "\xc3", "\xc3\xa4", "\x80", "g", "\x1f", ""};
	enum { N = sizeof(pieces) / sizeof(pieces[0]) };
	(void)state;
	for (unsigned i = 0; i < N * N * N; i++) {
		struct str raw = STR_INIT, out = STR_INIT, back = STR_INIT;
		str_append_cstr(&raw, pieces[i % N]);
		str_append_cstr(&raw, pieces[i / N % N]);
		str_append_cstr(&raw, pieces[i / N / N]);
		assert_int_equal(folder_name_escape(str_cstr(&raw), raw.len, &out), 0);
		assert_int_equal(folder_name_unescape(str_cstr(&out), &back), 0);
		assert_int_equal(back.len, raw.len);
		assert_memory_equal(str_cstr(&back), str_cstr(&raw), raw.len);
		assert_true(utf8_valid(out.data, out.len));
		assert_null(strchr(out.data, '/'));
		assert_int_not_equal(out.data[0], '.');
		assert_true(out.len > 0 &&
			    (out.len < 4 || strcmp(out.data + out.len - 4, ".eml") != 0));
		str_finish(&raw);
		str_finish(&out);
		str_finish(&back);
	}
}

static void check_cut(const char *raw, size_t len)
{
	struct str out = STR_INIT;
	assert_int_equal(folder_name_escape(raw, len, &out), 0);
	assert_true(out.len <= FOLDER_NAME_MAX && out.len > FOLDER_NAME_MAX - 24);
	assert_true(utf8_valid(out.data, out.len));
	assert_int_equal(out.data[out.len - 17], '~');
	/* no half of an escape before the hash */
	assert_true(out.data[out.len - 18] != '%' || raw[0] == '%');
	str_finish(&out);
}

static void test_long_names_are_cut(void **state)
{
	char raw[4000], other[4000];
	struct str a = STR_INIT, b = STR_INIT;
	(void)state;
	memset(raw, 'x', sizeof(raw));
	check_cut(raw, 256);
	check_cut(raw, sizeof(raw));
	for (size_t lead = 0; lead < 4; lead++) {
		for (size_t i = 0; i + 1 < sizeof(raw); i += 2)
			memcpy(raw + i, "\xc3\xa4", 2);
		memset(raw, 'y', lead);
		check_cut(raw, 1001);
		memset(raw, '\n', sizeof(raw));
		memset(raw, 'y', lead);
		check_cut(raw, 300);
	}
	memset(raw, 'x', sizeof(raw));
	memcpy(other, raw, sizeof(raw));
	other[3999] = 'y';
	folder_name_escape(raw, sizeof(raw), &a);
	folder_name_escape(other, sizeof(other), &b);
	assert_string_not_equal(a.data, b.data);
	str_finish(&a);
	str_finish(&b);
	memset(raw, 'x', 255);
	raw[255] = 0;
	check(raw, raw);
}

/* Stands for modified UTF-7: upper case, and "!" becomes the delimiter. */
static int decode(const char *wire, struct str *out)
{
	for (; *wire; wire++)
		str_putc(out, *wire == '!' ? '/' : *wire);
	return str_error(out);
}

static void check_path(const char *wire, char delimiter, const char *expected)
{
	struct folder_path path;
	struct str joined = STR_INIT;
	assert_int_equal(folder_path_split(wire, delimiter, decode, &path), 0);
	for (size_t i = 0; i < path.count; i++)
		str_printf(&joined, "%s%s[%zu]", i ? "/" : "", path.items[i].name,
			path.items[i].wire_len);
	assert_string_equal(str_cstr(&joined), expected);
	str_finish(&joined);
	folder_path_finish(&path);
}

static void test_split(void **state)
{
	(void)state;
	check_path("Work", '/', "Work[4]");
	check_path("a/b/c", '/', "a[1]/b[3]/c[5]");
	check_path("a.b/c", '.', "a[1]/b%2Fc[5]");
	check_path("a/b", 0, "a%2Fb[3]");
	check_path("a!b/c", '/', "a%2Fb[3]/c[5]");
	check_path("", '/', "%00[0]");
	check_path("a//b", '/', "a[1]/%00[2]/b[4]");
	check_path("/a", '/', "%00[0]/a[2]");
	check_path("a/", '/', "a[1]/%00[2]");
	check_path("../..", '/', "%2E%2E[2]/%2E%2E[5]");
}

static void test_inbox(void **state)
{
	(void)state;
	check_path("inbox", '/', "INBOX[5]");
	check_path("Inbox.Sent", '.', "INBOX[5]/Sent[10]");
	check_path("Work/inbox", '/', "Work[4]/inbox[10]");
	check_path("inboxes", '/', "inboxes[7]");
}

static void test_depth_is_limited(void **state)
{
	char wire[20001];
	struct folder_path path;
	(void)state;
	for (size_t i = 0; i < 20000; i++)
		wire[i] = i % 2 ? '/' : 'a';
	wire[20000] = 0;
	assert_int_equal(folder_path_split(wire, '/', decode, &path), 0);
	assert_int_equal(path.count, FOLDER_DEPTH_MAX);
	assert_int_equal(strncmp(path.items[FOLDER_DEPTH_MAX - 1].name, "a%2Fa%2F", 8), 0);
	assert_int_equal(path.items[FOLDER_DEPTH_MAX - 1].wire_len, 20000);
	folder_path_finish(&path);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_percent_is_escaped_only_where_it_would_mislead),
		cmocka_unit_test(test_reversible),
		cmocka_unit_test(test_long_names_are_cut),
		cmocka_unit_test(test_split),
		cmocka_unit_test(test_inbox),
		cmocka_unit_test(test_depth_is_limited),
	};
	return cmocka_run_group_tests_name("tree/folder_name", tests, NULL, NULL);
}
