/* SPDX-License-Identifier: MIT */
/* Error lines: cleaned, cut between characters, and the table of net_fail(). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "mailfs/util/clock.h"
#include "mailfs/util/utf8.h"
#include "stream.h"

static int fail_with(struct source_error *error, const char *text)
{
	return source_fail(error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_NEVER, SOURCE_CAUSE_MAILBOX,
		-ENOENT, "%s", text);
}

static void fills_every_member(void **state)
{
	(void)state;
	struct source_error error;
	memset(&error, 'x', sizeof(error));
	assert_int_equal(source_fail(&error, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_NEVER,
				 SOURCE_CAUSE_MAILBOX, -ENOENT, "%s: no %d", "a", 7),
		-ENOENT);
	assert_int_equal(error.scope, SOURCE_SCOPE_MAILBOX);
	assert_int_equal(error.retry, SOURCE_RETRY_NEVER);
	assert_int_equal(error.cause, SOURCE_CAUSE_MAILBOX);
	assert_int_equal(error.err, -ENOENT);
	assert_string_equal(error.text, "a: no 7");
	assert_int_equal(source_fail(NULL, SOURCE_SCOPE_MAILBOX, SOURCE_RETRY_NOW,
				 SOURCE_CAUSE_OTHER, -EIO, "%s", ""),
		-EIO);
}

static void may_quote_itself(void **state)
{
	(void)state;
	struct source_error error;
	fail_with(&error, "inner");
	source_fail(&error, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NOW, SOURCE_CAUSE_OTHER, -EIO,
		"outer: %s", error.text);
	assert_string_equal(error.text, "outer: inner");
}

static void replaces_what_is_no_text(void **state)
{
	static const char *const pairs[][2] = {
		{"a\r\nb\tc", "a  b c"},
		{"\x1b[31mred\x07\x7f", "?[31mred??"},
		{"\xc2\x9b"
		 "31m",
			"?31m"}, /* CSI as one C1 control */
		{"\xff\xfe ok \xc3", "?? ok ?"},
		{"\xe2\x80\xa8x", "?x"},                  /* LINE SEPARATOR */
		{"\xe2\x80\xaegnp\xe2\x81\xa9", "?gnp?"}, /* what turns the text */
		{"Gr\xc3\xbc\xc3\x9f"
		 "e \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x93\xac",
			"Gr\xc3\xbc\xc3\x9f"
			"e \xe6\x97\xa5\xe6\x9c\xac \xf0\x9f\x93\xac"},
	};
	(void)state;
	struct source_error error;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		fail_with(&error, pairs[i][0]);
		assert_string_equal(error.text, pairs[i][1]);
	}
}

/* At every length, with characters of 1 to 4 bytes across the cut. */
static void cuts_between_characters(void **state)
{
	static const char *const units[] = {
		"x", "\xc3\xbc", "\xe6\x97\xa5", "\xf0\x9f\x93\xac", "\xc2\x9b"};
	(void)state;
	struct source_error error;
	const size_t room = sizeof(error.text) - 1;
	for (size_t u = 0; u < sizeof(units) / sizeof(units[0]); u++) {
		_cleanup_str_ struct str text = STR_INIT;
		for (int n = 0; n < 1200; n++) {
			str_append_cstr(&text, units[u]);
			fail_with(&error, text.data);
			size_t len = strlen(error.text);
			size_t clean_len = u == 4 ? text.len / 2 : text.len;
			assert_true(len <= room);
			assert_true(utf8_valid(error.text, len));
			if (clean_len <= room)
				assert_int_equal(len, clean_len);
			else
				assert_true(
					len > room - 8 && strcmp(error.text + len - 3, "...") == 0);
		}
	}
}

static void net_fail_names_the_host(void **state)
{
	static const struct {
		int err, file_err;
		enum source_scope scope;
		enum source_retry retry;
		enum source_cause cause;
		const char *text;
	} rows[] = {
		{-ETIMEDOUT, -ETIMEDOUT, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER,
			SOURCE_CAUSE_CONNECT, "[::1]:993: connection timed out"},
		{-ECONNRESET, -EIO, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_NOW, SOURCE_CAUSE_CONNECT,
			"[::1]:993: connection closed by the server"},
		{-ECANCELED, -ECANCELED, SOURCE_SCOPE_CANCELLED, SOURCE_RETRY_NEVER,
			SOURCE_CAUSE_OTHER, "[::1]:993: cancelled"},
		{-EMSGSIZE, -EIO, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_PROTOCOL,
			"[::1]:993: the server's answer is larger than the limit"},
		{-EPROTO, -EIO, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_PROTOCOL,
			"[::1]:993: the server's answer can not be understood"},
		{-ENOBUFS, -EIO, SOURCE_SCOPE_ACCOUNT, SOURCE_RETRY_LATER, SOURCE_CAUSE_CONNECT,
			"[::1]:993: No buffer space available"},
	};
	(void)state;
	struct net_params params = {.host = "::1", .port = 993, .tls = NET_TLS_NONE};
	struct net_context *context;
	struct source_error error;
	assert_int_equal(net_context_create(&params, &context, &error), 0);
	struct net_stream *stream = net_stream_create(context, -1, CLOCK_NEVER);
	assert_non_null(stream);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(net_fail(stream, rows[i].err, &error), rows[i].err);
		assert_int_equal(error.err, rows[i].file_err);
		assert_int_equal(error.scope, rows[i].scope);
		assert_int_equal(error.retry, rows[i].retry);
		assert_int_equal(error.cause, rows[i].cause);
		assert_string_equal(error.text, rows[i].text);
	}
	net_close(stream);
	net_context_destroy(context);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(fills_every_member),
		cmocka_unit_test(may_quote_itself),
		cmocka_unit_test(replaces_what_is_no_text),
		cmocka_unit_test(cuts_between_characters),
		cmocka_unit_test(net_fail_names_the_host),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
