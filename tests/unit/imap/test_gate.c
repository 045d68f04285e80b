/* SPDX-License-Identifier: MIT */
/* The gate: what may never reach libetpan, and that what passes is parsed by it without harm. */
#include <libetpan/mailimap.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "gate.h"
#include "limits.h"
#include "mailfs/util/str.h"

/* Exported by libetpan, in none of its installed headers. */
int mailimap_response_data_parse(mailstream *fd, MMAPString *buffer,
	struct mailimap_parser_context *context, size_t *index,
	struct mailimap_response_data **result, size_t progr_rate, progress_function *progr_fun);

static bool passes(const char *line)
{
	return imap_gate_passes(line, strlen(line), NULL);
}

static void test_sound_lines_pass(void **state)
{
	static const char *const lines[] = {
		"* CAPABILITY IMAP4rev1 AUTH=PLAIN",
		"* LIST (\\HasNoChildren) \"/\" \"a \\\" b\"",
		"* LIST () NIL {5}\r\na(b\"c",
		"* 12 FETCH (UID 5 FLAGS (\\Seen))",
		"* STATUS x (UIDVALIDITY 18446744073709551615)",
		"* ID (\"name\" \"x\" \"v\" NIL)",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_true(passes(lines[i]));
}

static void test_hostile_lines_do_not(void **state)
{
	static const char *const lines[] = {
		"",
		"*",
		"* ",
		"C1 OK done",
		"+ go on",
		"*  SEARCH two blanks",
		"*\tSEARCH a tab",
		"* SEARCH [PERMANENTFLAGS (",
		"* SEARCH [PERMANENTFLAGS (\\Seen)] x",
		"* SEARCH  [permanentflags ()] x",
		"* SEARCH [\tPERMANENTFLAGS (",
		"* ANNOTATION \"message\" \"x*",
		"* annotation \"message\" \"x\"",
		"* BYE go away",
		"* OK hello",
		"* NO [ALERT]",
		"* bad x",
		"* PREAUTH [CAPABILITY IMAP4rev1] x",
		"* CAPABILITY",
		"* CAPABILITY   ",
		"* LIST () \"/\" \"not closed",
		"* LIST () \"/\" \"closed by a backslash\\\"",
		"* LIST ( \"/\" x",
		"* LIST ) \"/\" x",
		"* SEARCH [not closed",
		"* SEARCH a]",
		"* LIST () \"/\" {4294967295}\r\nx",
		"* LIST () \"/\" {4294967301}\r\nabcde",
		"* LIST () \"/\" {5}\r\nabcd",
		"* LIST () \"/\" {}\r\n",
		"* LIST () \"/\" {1}",
		"* SEARCH 100000000000000000000000",
		"* SEARCH control \x07",
		"* SEARCH line\r\n* ANNOTATION",
		"* SEARCH \x7f",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		if (passes(lines[i]))
			fail_msg("passed: %s", lines[i]);
	assert_false(imap_gate_passes("* SEARCH a\0b", 12, NULL));
	assert_false(imap_gate_passes("* LIST () \"/\" {3}\r\na\0b", 22, NULL));
}

static void test_name(void **state)
{
	static const char line[] = "* capability IMAP4rev1";
	(void)state;
	assert_true(imap_gate_passes(line, strlen(line), "CAPABILITY"));
	assert_false(imap_gate_passes(line, strlen(line), "CAPABILIT"));
	assert_false(imap_gate_passes(line, strlen(line), "LIST"));
	assert_true(imap_gate_passes("* CAPABILITY x", 14, "CAPABILITY"));
}

static void test_depth(void **state)
{
	(void)state;
	for (unsigned depth = 1; depth < 200; depth++) {
		struct str line = STR_INIT;
		str_append_cstr(&line, "* 1 FETCH ");
		for (unsigned i = 0; i < depth; i++)
			str_putc(&line, '(');
		for (unsigned i = 0; i < depth; i++)
			str_putc(&line, ')');
		assert_int_equal(imap_gate_passes(line.data, line.len, NULL),
			depth <= IMAP_LIMIT_GATE_DEPTH);
		str_finish(&line);
	}
}

/* A list of words without end is sound, and too long all the same. */
static void test_length(void **state)
{
	struct str line = STR_INIT;
	(void)state;
	str_append_cstr(&line, "* CAPABILITY");
	while (line.len + 2 <= IMAP_LIMIT_GATE_BYTES)
		str_append_cstr(&line, " A");
	assert_true(imap_gate_passes(line.data, line.len, "CAPABILITY"));
	str_append_cstr(&line, " A");
	assert_false(imap_gate_passes(line.data, line.len, "CAPABILITY"));
	str_finish(&line);
}

/* Lets libetpan parse a line that has passed, as it would in a session. */
static void let_parse(const struct str *line)
{
	struct mailimap_response_data *data = NULL;
	MMAPString *buffer = mmap_string_new_len(line->data, line->len);
	size_t index = 2;
	assert_non_null(buffer);
	mmap_string_append(buffer, "\r\n");
	if (mailimap_response_data_parse(NULL, buffer, NULL, &index, &data, 0, NULL) ==
		MAILIMAP_NO_ERROR)
		mailimap_response_data_free(data);
	mmap_string_free(buffer);
}

/* What the module really shows it, in shapes from a fixed generator: no crash, no leak. */
static void test_libetpan_parses_what_passes(void **state)
{
	static const char *const pieces[] = {"IMAP4rev1", "AUTH=PLAIN", "AUTH=", " ", "  ", "(",
		")", "\"x\"", "\"", "{2}\r\nab", "NIL", "[", "]", "=", "CAPABILITY", "1234567890",
		"\xff", "\\", "\r\n"};
	unsigned seed = 7, passed = 0;
	(void)state;
	for (int round = 0; round < 20000; round++) {
		struct str line = STR_INIT;
		str_append_cstr(&line, "* CAPABILITY ");
		for (int i = 0; i < 8; i++) {
			seed = seed * 1103515245 + 12345;
			str_append_cstr(
				&line, pieces[(seed >> 16) % (sizeof(pieces) / sizeof(pieces[0]))]);
		}
		if (imap_gate_passes(line.data, line.len, "CAPABILITY")) {
			passed++;
			let_parse(&line);
		}
		str_finish(&line);
	}
	assert_true(passed > 100);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_sound_lines_pass),
		cmocka_unit_test(test_hostile_lines_do_not),
		cmocka_unit_test(test_name),
		cmocka_unit_test(test_depth),
		cmocka_unit_test(test_length),
		cmocka_unit_test(test_libetpan_parses_what_passes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
