/* SPDX-License-Identifier: MIT */
/* What happens reaches who watches: once, in order, filtered, and never at the cost of who tells it. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "fake.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/clock.h"

static int watch(const char *path)
{
	char request[200];
	int fd = fake_connect();
	snprintf(request, sizeof(request), "{\"command\":\"watch\",\"path\":\"%s\"}", path);
	json_t *answer = fake_ask(fd, request);
	assert_true(json_is_true(json_object_get(answer, "ok")));
	json_decref(answer);
	return fd;
}

static json_t *event(int fd)
{
	_cleanup_free_ char *line = fake_line(fd);
	assert_non_null(line);
	json_t *json = json_loads(line, 0, NULL);
	assert_non_null(json);
	return json;
}

static void assert_event(int fd, const char *kind, const char *path)
{
	json_t *json = event(fd);
	const char *said = json_string_value(json_object_get(json, "path"));
	assert_string_equal(json_string_value(json_object_get(json, "event")), kind);
	assert_string_equal(said ? said : "-", path);
	json_decref(json);
}

static void an_event_has_all_its_members(void **state)
{
	(void)state;
	_cleanup_close_ int fd = watch("");
	fake_new_message("INBOX/4711.eml");
	json_t *json = event(fd);
	assert_int_equal(json_integer_value(json_object_get(json, "uid")), 4711);
	assert_string_equal(json_string_value(json_object_get(json, "folder")), "INBOX");
	assert_string_equal(json_string_value(json_object_get(json, "flags")), "\\Seen");
	assert_int_equal(strlen(json_string_value(json_object_get(json, "time"))), 20);
	assert_null(json_object_get(json, "former"));
	json_decref(json);
}

static void every_kind_has_its_name(void **state)
{
	(void)state;
	static const struct {
		enum tree_news_kind kind;
		const char *name;
	} kinds[] = {{TREE_NEWS_NEW, "new"}, {TREE_NEWS_GONE, "gone"}, {TREE_NEWS_FLAGS, "flags"},
		{TREE_NEWS_FOLDER_NEW, "folder-new"}, {TREE_NEWS_FOLDER_GONE, "folder-gone"},
		{TREE_NEWS_FOLDER_RENAMED, "folder-renamed"},
		{TREE_NEWS_FOLDER_CHANGED, "folder-changed"}};
	_cleanup_close_ int fd = watch("");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct tree_news news = {.kind = kinds[i].kind, .path = "a", .folder = "a"};
		fake_news(&news);
		assert_event(fd, kinds[i].name, "a");
	}
}

/* What is said of the connection may be said again without having changed. */
static void the_connection_is_told_when_it_changes(void **state)
{
	(void)state;
	struct tree_news news = {.kind = TREE_NEWS_LINK};
	_cleanup_close_ int fd = watch("INBOX");
	fake_news(&news);
	fake.status.link = SYNC_LINK_CONNECTING;
	fake_news(&news);
	fake_news(&news);
	fake.status.link = SYNC_LINK_OFFLINE;
	strcpy(fake.status.trouble, "connection refused");
	fake_news(&news);
	assert_event(fd, "connecting", "-");
	json_t *json = event(fd);
	assert_string_equal(json_string_value(json_object_get(json, "event")), "offline");
	assert_string_equal(
		json_string_value(json_object_get(json, "trouble")), "connection refused");
	json_decref(json);
	fake.status = (struct sync_status){.link = SYNC_LINK_ONLINE};
	fake_news(&news);
	assert_event(fd, "online", "-");
}

/* A change that nobody watched is not told as new later. */
static void what_nobody_watched_is_forgotten(void **state)
{
	(void)state;
	struct tree_news news = {.kind = TREE_NEWS_LINK};
	fake_new_message("INBOX/1.eml");
	fake.status.link = SYNC_LINK_OFFLINE;
	fake_news(&news);
	_cleanup_close_ int fd = watch("");
	fake_news(&news);
	fake_new_message("INBOX/2.eml");
	assert_event(fd, "new", "INBOX/2.eml");
}

static void a_path_limits_by_components(void **state)
{
	(void)state;
	_cleanup_close_ int fd = watch("Archive");
	struct tree_news moved = {.kind = TREE_NEWS_FOLDER_RENAMED,
		.path = "Elsewhere",
		.former = "Archive/2024",
		.folder = "Elsewhere"};
	fake_new_message("INBOX/1.eml");
	fake_new_message("Archived/2.eml");
	fake_new_message("Archive/3.eml");
	fake_new_message("Archive/2025/4.eml");
	fake_news(&moved);
	fake_new_message("Archiv");
	fake_new_message("Archive");
	assert_event(fd, "new", "Archive/3.eml");
	assert_event(fd, "new", "Archive/2025/4.eml");
	assert_event(fd, "folder-renamed", "Elsewhere");
	assert_event(fd, "new", "Archive");
}

static void a_path_that_is_not_there_is_refused(void **state)
{
	(void)state;
	fake_refused("{\"command\":\"watch\",\"path\":\"Nowhere\"}", "ENOENT", "No such");
}

/* Bytes that are no UTF-8 make no line that is no JSON. */
static void what_is_no_utf8_is_replaced(void **state)
{
	(void)state;
	struct tree_news news = {.kind = TREE_NEWS_FLAGS,
		.path = "INBOX/\xff\xc3",
		.folder = "INBOX",
		.flags = "\\Seen \x1b[2J\xed\xa0\x80"};
	_cleanup_close_ int fd = watch("");
	fake_news(&news);
	json_t *json = event(fd);
	assert_string_equal(
		json_string_value(json_object_get(json, "path")), "INBOX/\xef\xbf\xbd\xef\xbf\xbd");
	assert_non_null(strstr(json_string_value(json_object_get(json, "flags")), "\x1b[2J"));
	json_decref(json);
}

/* One reads nothing: it is cut off, with a line that says so; the teller never waits, and the other misses nothing. */
static void a_slow_reader_is_cut_off(void **state)
{
	(void)state;
	char path[300];
	_cleanup_close_ int slow = watch("");
	_cleanup_close_ int fast = watch("");
	memset(path, 'x', sizeof(path) - 1);
	path[sizeof(path) - 1] = 0;
	int64_t longest_ms = 0;
	for (int i = 0; i < 12000; i++) {
		int64_t begin_ms = clock_now_ms();
		fake_new_message(path);
		if (clock_now_ms() - begin_ms > longest_ms)
			longest_ms = clock_now_ms() - begin_ms;
		assert_event(fast, "new", path);
	}
	assert_true(longest_ms < 1000);
	size_t count = 0;
	bool overflow = false;
	_cleanup_free_ char *line = NULL;
	while ((line = fake_line(slow))) {
		assert_false(overflow);
		overflow = strcmp(line, "{\"event\":\"overflow\"}") == 0;
		count++;
		free(steal_ptr(line));
	}
	assert_true(overflow);
	assert_in_range(count, 100, 11999);
}

/* While the thread is held up by the disk the queue is bounded, and who watches learns that it has missed something. */
static void a_flood_ends_the_watches(void **state)
{
	(void)state;
	_cleanup_close_ int fd = watch("");
	_cleanup_close_ int clearing = fake_connect();
	pthread_mutex_lock(&fake.gate);
	fake_send(clearing, "{\"command\":\"clear\"}\n");
	usleep(50000);
	for (int i = 0; i < 6000; i++)
		fake_new_message("INBOX/1.eml");
	pthread_mutex_unlock(&fake.gate);
	size_t count = 0;
	_cleanup_free_ char *line = NULL;
	bool overflow = false;
	while ((line = fake_line(fd))) {
		overflow = strstr(line, "overflow");
		count++;
		free(steal_ptr(line));
	}
	assert_true(overflow);
	assert_int_equal(count, 4097);
	/* A new watch starts afresh. */
	_cleanup_close_ int again = watch("");
	fake_new_message("INBOX/2.eml");
	assert_event(again, "new", "INBOX/2.eml");
}

static void *tell_many(void *arg)
{
	(void)arg;
	for (int i = 0; i < 500; i++)
		fake_new_message("INBOX/1.eml");
	return NULL;
}

static void thirty_watch_and_four_tell(void **state)
{
	(void)state;
	int fds[30];
	pthread_t threads[4];
	for (int i = 0; i < 30; i++)
		fds[i] = watch("");
	for (int i = 0; i < 4; i++)
		pthread_create(&threads[i], NULL, tell_many, NULL);
	for (int i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	for (int i = 0; i < 30; i++) {
		for (int n = 0; n < 2000; n += 400)
			assert_event(fds[i], "new", "INBOX/1.eml");
		close(fds[i]);
	}
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, fake_setup, fake_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_event_has_all_its_members),
		TEST(every_kind_has_its_name),
		TEST(the_connection_is_told_when_it_changes),
		TEST(what_nobody_watched_is_forgotten),
		TEST(a_path_limits_by_components),
		TEST(a_path_that_is_not_there_is_refused),
		TEST(what_is_no_utf8_is_replaced),
		TEST(a_slow_reader_is_cut_off),
		TEST(a_flood_ends_the_watches),
		TEST(thirty_watch_and_four_tell),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
