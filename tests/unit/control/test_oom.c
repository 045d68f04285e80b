/* SPDX-License-Identifier: MIT */
/*
 * Memory that is refused while a client is answered: a whole answer, a failure that says so, or a connection that ends; never half an answer, nor events that
 * lack one. Then all is as before. What jansson asks for is refused, too.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "fake.h"
#include "mailfs/util/cleanup.h"
#include "oom.h"

/* The test's own thread has memory, but where it plays the tree. */
static int setup(void **state)
{
	oom_hold();
	return fake_setup(state);
}

static int teardown(void **state)
{
	int r = fake_teardown(state);
	oom_release();
	return r;
}

static int try_create(void *arg, unsigned long nth, bool forever)
{
	struct str why = STR_INIT;
	struct control *before = fake.control;
	(void)arg;
	control_destroy(before);
	oom_release();
	oom_arm(nth, forever);
	int r = fake_create(&why);
	oom_disarm();
	oom_hold();
	str_finish(&why);
	if (r < 0)
		assert_int_equal(fake_create(&why), 0);
	json_decref(fake_ok("{\"command\":\"status\"}"));
	str_finish(&why);
	return r;
}

static void test_create(void **state)
{
	(void)state;
	oom_each("create", try_create, NULL);
}

/* The next line, or NULL where the other end has hung up. What it says in part was not said. */
static json_t *answer_of(int fd)
{
	_cleanup_free_ char *line = fake_line(fd);
	json_t *answer = line ? json_loads(line, 0, NULL) : NULL;
	if (line && !answer)
		fail_msg("no JSON: %s", line);
	return answer;
}

static int try_request(void *arg, unsigned long nth, bool forever)
{
	char request[200];
	json_t *want = fake_ok(arg);
	snprintf(request, sizeof(request), "%s\n", (const char *)arg);
	int r = -ENOMEM;
	oom_arm(nth, forever);
	_cleanup_close_ int fd = fake_connect();
	fake_send(fd, request);
	json_t *answer = answer_of(fd);
	oom_disarm();
	if (answer && json_is_true(json_object_get(answer, "ok"))) {
		assert_true(json_equal(answer, want));
		r = 0;
	} else if (answer) {
		assert_string_equal(json_string_value(json_object_get(answer, "code")), "ENOMEM");
	}
	json_decref(answer);
	answer = fake_ok(arg);
	assert_true(json_equal(answer, want));
	json_decref(answer);
	json_decref(want);
	return r;
}

static void test_requests(void **state)
{
	static const char *const requests[] = {
		"{\"command\":\"status\"}",
		"{\"command\":\"status\",\"path\":\"Archive\"}",
		"{\"command\":\"pin\",\"path\":\"Archive/2025\"}",
		"{\"command\":\"progress\",\"path\":\"\"}",
		"{\"command\":\"refresh\",\"path\":\"INBOX\"}",
		"{\"command\":\"clear\"}",
	};
	(void)state;
	fake.says = "Dovecot\nIMAP4rev1\nIDLE\n";
	fake.quirks = "sizes-wrong\n";
	fake.status.trouble[0] = '?';
	fake.missing_uid = 7;
	fake.folders[1].pinned = true;
	for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
		oom_each(requests[i], try_request, (void *)requests[i]);
}

/* Two events and the connection's: all, or the last line says that there were more, or the watch has ended before. */
static int try_watch(void *arg, unsigned long nth, bool forever)
{
	static const char *const paths[] = {"INBOX/a.1.eml", "INBOX/b.2.eml"};
	size_t told = 0;
	(void)arg;
	oom_arm(nth, forever);
	_cleanup_close_ int fd = fake_connect();
	fake_send(fd, "{\"command\":\"watch\",\"path\":\"INBOX\"}\n");
	json_t *answer = answer_of(fd);
	bool begun = answer && json_is_true(json_object_get(answer, "ok"));
	json_decref(answer);
	oom_release();
	for (size_t i = 0; begun && i < 2; i++)
		fake_new_message(paths[i]);
	oom_hold();
	while (begun && told < 2 && (answer = answer_of(fd))) {
		const char *path = json_string_value(json_object_get(answer, "path"));
		if (path)
			assert_string_equal(path, paths[told++]);
		else
			assert_string_equal(
				json_string_value(json_object_get(answer, "event")), "overflow");
		json_decref(answer);
	}
	oom_disarm();
	return told == 2 ? 0 : -ENOMEM;
}

static void test_watch(void **state)
{
	(void)state;
	oom_each("watch", try_watch, NULL);
}

static void *reluctant_malloc(size_t size)
{
	return malloc(size);
}

static void willing_free(void *data)
{
	free(data);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_create),
		TEST(test_requests),
		TEST(test_watch),
	};
	json_set_alloc_funcs(reluctant_malloc, willing_free);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
