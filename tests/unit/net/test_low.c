/* SPDX-License-Identifier: MIT */
/* The low driver under a real libetpan stream. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <libetpan/mailstream.h>
#include <libetpan/mmapstring.h>
#include <string.h>

#include "mailfs/net.h"

struct script {
	const char *text; /* what is left to read */
	size_t step;      /* bytes per read */
	int end;          /* what a read gives after that */
	struct str written;
	int write_result;
};

static ssize_t script_read(void *arg, void *buf, size_t cap)
{
	struct script *script = arg;
	size_t n = strlen(script->text);
	if (n == 0)
		return script->end;
	if (n > script->step)
		n = script->step;
	if (n > cap)
		n = cap;
	memcpy(buf, script->text, n);
	script->text += n;
	return (ssize_t)n;
}

static int script_write(void *arg, const void *data, size_t len)
{
	struct script *script = arg;
	if (script->write_result == 0)
		str_append(&script->written, data, len);
	return script->write_result;
}

static const struct net_low_ops ops = {script_read, script_write};

static mailstream *open_stream(struct script *script)
{
	mailstream_low *low = net_low_create(&ops, script);
	assert_non_null(low);
	mailstream *stream = mailstream_new(low, 8192);
	assert_non_null(stream);
	return stream;
}

static void reads_lines_at_any_cut(void **state)
{
	(void)state;
	for (size_t step = 1; step < 40; step++) {
		struct script script = {.text = "* OK hello\r\nA1 OK done\r\n", .step = step};
		mailstream *stream = open_stream(&script);
		MMAPString *line = mmap_string_new("");
		assert_string_equal(mailstream_read_line_remove_eol(stream, line), "* OK hello");
		assert_string_equal(mailstream_read_line_remove_eol(stream, line), "A1 OK done");
		mmap_string_free(line);
		mailstream_close(stream);
	}
}

/* 0 would be read for ever. */
static void the_end_is_an_error(void **state)
{
	static const int ends[] = {0, -ECONNRESET, -ETIMEDOUT};
	(void)state;
	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++) {
		struct script script = {.text = "abc", .step = 8, .end = ends[i]};
		mailstream *stream = open_stream(&script);
		char buf[10];
		assert_int_equal(mailstream_read(stream, buf, 3), 3);
		assert_true(mailstream_read(stream, buf, 3) < 0);
		mailstream_close(stream);
	}
}

static void writes_all_or_fails(void **state)
{
	(void)state;
	struct script script = {.text = "", .step = 1};
	mailstream *stream = open_stream(&script);
	char big[20000];
	memset(big, 'x', sizeof(big));
	assert_int_equal(mailstream_write(stream, big, sizeof(big)), sizeof(big));
	assert_int_equal(mailstream_flush(stream), 0);
	assert_int_equal(script.written.len, sizeof(big));
	script.write_result = -EPIPE;
	assert_true(mailstream_write(stream, big, 5) < 0 || mailstream_flush(stream) < 0);
	mailstream_close(stream);
	str_finish(&script.written);
}

static void the_rest_of_the_table_is_harmless(void **state)
{
	(void)state;
	struct script script = {.text = "", .step = 1};
	mailstream *stream = open_stream(&script);
	mailstream_low *low = mailstream_get_low(stream);
	assert_int_equal(mailstream_low_get_fd(low), -1);
	assert_null(mailstream_low_get_cancel(low));
	assert_null(mailstream_low_get_certificate_chain(low));
	assert_int_equal(mailstream_low_setup_idle(low), -1);
	assert_int_equal(mailstream_low_unsetup_idle(low), -1);
	assert_int_equal(mailstream_low_interrupt_idle(low), -1);
	mailstream_low_cancel(low);
	mailstream_close(stream);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(reads_lines_at_any_cut),
		cmocka_unit_test(the_end_is_an_error),
		cmocka_unit_test(writes_all_or_fails),
		cmocka_unit_test(the_rest_of_the_table_is_harmless),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
