/* SPDX-License-Identifier: MIT */
/* What each command asks of the modules below, and what it makes of their answers. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fake.h"
#include "mailfs/util/cleanup.h"

static const char *string_at(const json_t *json, const char *object, const char *key)
{
	if (object)
		json = json_object_get(json, object);
	const char *text = json_string_value(json_object_get(json, key));
	return text ? text : "(none)";
}

static json_int_t number_at(const json_t *json, const char *object, const char *key)
{
	if (object)
		json = json_object_get(json, object);
	assert_true(json_is_integer(json_object_get(json, key)));
	return json_integer_value(json_object_get(json, key));
}

static void status_tells_of_the_account(void **state)
{
	(void)state;
	fake.status = (struct sync_status){.link = SYNC_LINK_OFFLINE,
		.push = SYNC_PUSH_IDLE,
		.since_s = 1795348801,
		.trouble = "host:993: refused\x9b",
		.connections = 2,
		.compressed = 1,
		.rate_bytes_s = 6000000,
		.bytes_in = UINT64_MAX,
		.background = 7};
	fake.usage = (struct store_usage){
		.limit_bytes = 1 << 20, .body_bytes = 4096, .full = true, .settled = true};
	json_t *json = fake_ok("{\"command\":\"status\"}");
	assert_string_equal(string_at(json, NULL, "mountpoint"), "/home/alice/Mail");
	assert_string_equal(string_at(json, NULL, "source"), "imaps://alice@host:993");
	assert_string_equal(string_at(json, NULL, "protocol"), "imap");
	assert_string_equal(string_at(json, "connection", "state"), "offline");
	assert_string_equal(string_at(json, "connection", "since"), "2026-11-22T12:00:01Z");
	assert_string_equal(
		string_at(json, "connection", "trouble"), "host:993: refused\xef\xbf\xbd");
	assert_string_equal(string_at(json, "connection", "push"), "idle");
	assert_true(json_is_null(json_object_get(json_object_get(json, "connection"), "retry")));
	assert_int_equal(number_at(json, "connection", "connections"), 2);
	assert_int_equal(number_at(json, "connection", "compressed"), 1);
	assert_int_equal(number_at(json, "traffic", "rate"), 6000000);
	/* More than JSON's integers can hold. */
	assert_true(number_at(json, "traffic", "bytes_in") == INT64_MAX);
	assert_int_equal(number_at(json, "jobs", "background"), 7);
	assert_int_equal(number_at(json, "store", "limit_bytes"), 1 << 20);
	assert_true(json_is_true(json_object_get(json_object_get(json, "store"), "full")));
	json_decref(json);
}

static void a_store_without_a_limit_has_none(void **state)
{
	(void)state;
	json_t *json = fake_ok("{\"command\":\"status\"}");
	assert_true(json_is_null(json_object_get(json_object_get(json, "store"), "limit_bytes")));
	assert_true(json_is_null(json_object_get(json_object_get(json, "traffic"), "rate")));
	json_decref(json);
}

static size_t words_at(const char *says, const char **ret_name, json_t **ret)
{
	fake.says = says;
	*ret = fake_ok("{\"command\":\"status\"}");
	const json_t *server = json_object_get(*ret, "server");
	*ret_name = json_string_value(json_object_get(server, "name"));
	return json_array_size(json_object_get(server, "capabilities"));
}

/* The server's name is a line of its own, if it told one. */
static void the_servers_words_are_taken_apart(void **state)
{
	(void)state;
	static const struct {
		const char *says, *name;
		size_t words;
	} cases[] = {
		{"", NULL, 0},
		{"IMAP4rev1 IDLE NOTIFY", NULL, 3},
		{"IMAP4rev1 IDLE NOTIFY\n", NULL, 3},
		{"Dovecot 2.3\nIMAP4rev1 IDLE\n", "Dovecot 2.3", 2},
		{"IMAP4 of ours\nIMAP4rev1 IDLE\n", "IMAP4 of ours", 2},
		{"\x1b]0;x\xff\nIMAP4rev1", "\x1b]0;x\xef\xbf\xbd", 1},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		const char *name;
		json_t *json;
		assert_int_equal(words_at(cases[i].says, &name, &json), cases[i].words);
		if (cases[i].name)
			assert_string_equal(name, cases[i].name);
		else
			assert_null(name);
		json_decref(json);
	}
	fake.quirks = "wrong-sizes\nno-partial\n";
	json_t *json = fake_ok("{\"command\":\"status\"}");
	assert_int_equal(
		json_array_size(json_object_get(json_object_get(json, "server"), "quirks")), 2);
	json_decref(json);
}

static void assert_paths(const char *request, const char *expected)
{
	_cleanup_str_ struct str paths = STR_INIT;
	json_t *json = fake_ok(request);
	const json_t *folders = json_object_get(json, "folders");
	for (size_t i = 0; i < json_array_size(folders); i++)
		str_printf(&paths, "%s ", string_at(json_array_get(folders, i), NULL, "path"));
	assert_string_equal(str_cstr(&paths), expected);
	json_decref(json);
}

static void a_path_limits_the_folders(void **state)
{
	(void)state;
	assert_paths("{\"command\":\"status\"}", "INBOX Archive Archive/2025 ");
	assert_paths("{\"command\":\"status\",\"path\":\"Archive\"}", "Archive Archive/2025 ");
	assert_paths("{\"command\":\"status\",\"path\":\"Archive/2025//\"}", "Archive/2025 ");
	assert_paths("{\"command\":\"status\",\"path\":\"Archive/2025/7.eml\"}", "Archive/2025 ");
	fake.folders[1].gone = true;
	assert_paths("{\"command\":\"status\"}", "INBOX Archive/2025 ");
	fake_refused("{\"command\":\"status\",\"path\":\"Nowhere\"}", "ENOENT", "No such");
}

static void a_folder_that_can_not_be_asked_does_not_hide_the_others(void **state)
{
	(void)state;
	fake.folders[0].status_err = -EIO;
	fake.folders[1].status.usage.messages = 5;
	fake.folders[1].status.watched = true;
	json_t *json = fake_ok("{\"command\":\"status\"}");
	const json_t *folders = json_object_get(json, "folders");
	const json_t *second = json_array_get(folders, 1);
	assert_string_equal(string_at(json_array_get(folders, 0), NULL, "error"), strerror(EIO));
	assert_int_equal(number_at(second, NULL, "messages"), 5);
	assert_true(json_is_true(json_object_get(second, "watched")));
	assert_true(json_is_null(json_object_get(second, "checked")));
	json_decref(json);
}

static void a_message_says_whether_it_is_pinned(void **state)
{
	(void)state;
	fake.message_pinned = true;
	json_t *json = fake_ok("{\"command\":\"status\",\"path\":\"INBOX/9.eml\"}");
	assert_int_equal(number_at(json, "message", "uid"), 9);
	assert_true(json_is_true(json_object_get(json_object_get(json, "message"), "pinned")));
	json_decref(json);
}

static void pins_reach_what_was_named(void **state)
{
	(void)state;
	json_decref(fake_ok("{\"command\":\"pin\",\"path\":\"INBOX/12.eml\"}"));
	json_decref(fake_ok("{\"command\":\"pin\",\"path\":\"Archive\"}"));
	json_decref(fake_ok("{\"command\":\"unpin\",\"path\":\"\"}"));
	assert_string_equal(str_cstr(&fake.pins),
		"+INBOX/12 +Archive/0 +Archive/2025/0 -INBOX/0 -Archive/0 -Archive/2025/0 ");
	fake_refused("{\"command\":\"pin\",\"path\":\"Shared\"}", "ENOENT", "no folder");
	fake_refused("{\"command\":\"pin\",\"path\":\"Nowhere\"}", "ENOENT", "No such");
	fake.pin_err = -ENOSPC;
	fake_refused("{\"command\":\"pin\",\"path\":\"INBOX\"}", "ENOSPC", "No space");
}

static void an_unpinned_message_may_stay_pinned(void **state)
{
	(void)state;
	fake.message_pinned = true;
	json_t *json = fake_ok("{\"command\":\"unpin\",\"path\":\"INBOX/1.eml\"}");
	assert_true(json_is_true(json_object_get(json, "pinned")));
	json_decref(json);
}

static void progress_counts_what_is_missing(void **state)
{
	(void)state;
	fake.folders[1].status.usage.pinned = 10;
	fake.folders[1].status.usage.pinned_missing = 4;
	fake.folders[2].status.usage.pinned = 1;
	fake.folders[2].status.state.complete = false;
	json_t *json = fake_ok("{\"command\":\"progress\",\"path\":\"Archive\"}");
	assert_int_equal(number_at(json, NULL, "messages"), 11);
	assert_int_equal(number_at(json, NULL, "missing"), 4);
	assert_int_equal(number_at(json, NULL, "unlisted"), 1);
	assert_string_equal(string_at(json, NULL, "state"), "online");
	json_decref(json);
	fake.missing_uid = 8;
	json = fake_ok("{\"command\":\"progress\",\"path\":\"INBOX/8.eml\"}");
	assert_int_equal(number_at(json, NULL, "missing"), 1);
	json_decref(json);
	/* Another one is missing, not this. */
	json = fake_ok("{\"command\":\"progress\",\"path\":\"INBOX/7.eml\"}");
	assert_int_equal(number_at(json, NULL, "missing"), 0);
	json_decref(json);
}

static void clear_says_what_it_freed(void **state)
{
	(void)state;
	json_t *json = fake_ok("{\"command\":\"clear\"}");
	assert_int_equal(number_at(json, NULL, "freed_bytes"), 123456789);
	json_decref(json);
	fake.clear_err = -EIO;
	fake_refused("{\"command\":\"clear\"}", "EIO", "Input/output");
}

static void a_maildrop_is_no_cache(void **state)
{
	(void)state;
	fake.drop = true;
	fake_refused("{\"command\":\"clear\"}", "EOPNOTSUPP", "only copy");
	fake_refused("{\"command\":\"pin\",\"path\":\"INBOX\"}", "EOPNOTSUPP", "for good");
	json_t *json = fake_ok("{\"command\":\"status\"}");
	assert_string_equal(string_at(json, NULL, "protocol"), "pop3");
	json_decref(json);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(status_tells_of_the_account),
		TEST(a_store_without_a_limit_has_none),
		TEST(the_servers_words_are_taken_apart),
		TEST(a_path_limits_the_folders),
		TEST(a_folder_that_can_not_be_asked_does_not_hide_the_others),
		TEST(a_message_says_whether_it_is_pinned),
		TEST(pins_reach_what_was_named),
		TEST(an_unpinned_message_may_stay_pinned),
		TEST(progress_counts_what_is_missing),
		TEST(clear_says_what_it_freed),
		TEST(a_maildrop_is_no_cache),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
