/* SPDX-License-Identifier: MIT */
/* What people are shown, from given answers: exact, and safe for a terminal whatever a server said. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl_text.h"

#define NOW 1795348801 /* 2026-11-22T12:00:01Z */

static json_t *load(const char *text)
{
	json_error_t error;
	json_t *json = json_loads(text, 0, &error);
	if (!json)
		fail_msg("%s: %s", text, error.text);
	return json;
}

static void assert_size(uint64_t bytes, const char *expected)
{
	_cleanup_str_ struct str out = STR_INIT;
	ctl_text_size(bytes, &out);
	assert_string_equal(str_cstr(&out), expected);
}

static void sizes_have_units(void **state)
{
	(void)state;
	assert_size(0, "0 bytes");
	assert_size(1023, "1023 bytes");
	assert_size(1024, "1.0 KiB");
	assert_size(1536, "1.5 KiB");
	assert_size(1048575, "1.0 MiB");
	assert_size(UINT64_C(10) << 30, "10.0 GiB");
	assert_size(UINT64_C(5000) << 40, "5000.0 TiB");
}

static void assert_span(int64_t seconds, const char *expected)
{
	_cleanup_str_ struct str out = STR_INIT;
	ctl_text_span(seconds, &out);
	assert_string_equal(str_cstr(&out), expected);
}

static void spans_have_units(void **state)
{
	(void)state;
	assert_span(-5, "0 s");
	assert_span(119, "119 s");
	assert_span(120, "2 min");
	assert_span(7199, "119 min");
	assert_span(7200, "2 h");
	assert_span(172799, "47 h");
	assert_span(172800, "2 days");
	assert_span(INT64_MAX, "106751991167300 days");
}

static void times_are_read(void **state)
{
	(void)state;
	assert_int_equal(ctl_text_time("2026-11-22T12:00:01Z"), NOW);
	static const char *const bad[] = {
		"", "2026-11-22", "2026-11-22T12:00:01", "x", NULL, "2026-11-22T12:00:01Z "};
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(ctl_text_time(bad[i]), 0);
}

static void assert_safe(const char *text, const char *expected)
{
	_cleanup_str_ struct str out = STR_INIT;
	ctl_text_safe(text, &out);
	assert_string_equal(str_cstr(&out), expected);
}

static void nothing_reaches_the_terminal(void **state)
{
	(void)state;
	assert_safe("Entwürfe 会議 \xf0\x9f\x93\xa7", "Entwürfe 会議 \xf0\x9f\x93\xa7");
	assert_safe("a\x1b[2Jb\x07\r\n\tc\x7f", "a?[2Jb????c?");
	assert_safe("\xc2\x9b"
		    "31m\xc2\x85",
		"?31m?"); /* C1: CSI, NEL */
	assert_safe("\xe2\x80\xae"
		    "gpj.exe\xe2\x81\xa6",
		"?gpj.exe?"); /* RLO, LRI */
	assert_safe("\xff\xc3x", "??x");
	assert_safe("\xe2\x80\xa8", "?");
}

static void assert_event(const char *json_text, bool terminal, const char *expected)
{
	_cleanup_str_ struct str out = STR_INIT;
	json_t *json = load(json_text);
	ctl_text_event(json, terminal, &out);
	assert_string_equal(str_cstr(&out), expected);
	json_decref(json);
}

#define AT "\"time\":\"2026-11-22T12:00:01Z\""

static void events_are_lines(void **state)
{
	(void)state;
	assert_event("{" AT
		     ",\"event\":\"new\",\"path\":\"INBOX/a.1.eml\",\"uid\":1,\"flags\":\"\"}",
		false, "2026-11-22T12:00:01Z new INBOX/a.1.eml\n");
	assert_event(
		"{" AT
		",\"event\":\"flags\",\"path\":\"Sent Items/a.1.eml\",\"flags\":\"\\\\Seen x\"}",
		false, "2026-11-22T12:00:01Z flags Sent Items/a.1.eml\t\\Seen x\n");
	assert_event("{" AT ",\"event\":\"flags\",\"path\":\"a\",\"flags\":\"\"}", false,
		"2026-11-22T12:00:01Z flags a\t-\n");
	assert_event("{" AT ",\"event\":\"flags\",\"path\":\"a\"}", false,
		"2026-11-22T12:00:01Z flags a\n");
	assert_event("{" AT ",\"event\":\"folder-renamed\",\"path\":\"B\",\"former\":\"A\"}", false,
		"2026-11-22T12:00:01Z folder-renamed A → B\n");
	assert_event("{" AT ",\"event\":\"online\"}", false, "2026-11-22T12:00:01Z online\n");
	assert_event("{" AT ",\"event\":\"offline\",\"trouble\":\"no\\u001b route\"}", false,
		"2026-11-22T12:00:01Z offline no? route\n");
	assert_event("{\"event\":1}", false, "- -\n");
	assert_event("[]", false, "- -\n");
}

/* Programs get the name as it is, a terminal what it can not act upon. */
static void a_name_is_exact_but_on_a_terminal(void **state)
{
	(void)state;
	const char *event = "{" AT ",\"event\":\"gone\",\"path\":\"a\\u009bb\"}";
	assert_event(event, false,
		"2026-11-22T12:00:01Z gone a\xc2\x9b"
		"b\n");
	assert_event(event, true, "2026-11-22T12:00:01Z gone a?b\n");
}

static const char online[] =
	"{\"version\":\"1\",\"protocol\":\"imap\",\"account\":\"alice@host:993\","
	"\"source\":\"imaps://alice@host:993\",\"mountpoint\":\"/home/alice/Mail\",\"pid\":1,"
	"\"connection\":{\"state\":\"online\",\"since\":\"2026-11-22T11:00:01Z\",\"trouble\":null,"
	"\"retry\":null,\"push\":\"notify\",\"connections\":2,\"compressed\":1,\"reconnects\":1},"
	"\"traffic\":{\"bytes_in\":1048576,\"bytes_out\":2048,\"rate\":6291456},"
	"\"jobs\":{\"demand\":0,\"bulk\":1,\"background\":3},"
	"\"pinning\":{\"messages\":2,\"messages_total\":5,\"bytes\":1024,\"bytes_total\":4096,\"done\":false},"
	"\"server\":{\"name\":\"Dovecot\\u001b\",\"capabilities\":[\"IMAP4rev1\",\"IDLE\"],"
	"\"quirks\":[\"wrong-sizes\"]},"
	"\"store\":{\"limit_bytes\":10737418240,\"bodies\":3,\"body_bytes\":1048576,"
	"\"pinned_bytes\":524288,\"database_bytes\":1048576,\"full\":false,\"settled\":true},"
	"\"folders\":["
	"{\"path\":\"INBOX\",\"known\":true,\"messages\":7,\"unseen\":2,\"watched\":true,"
	"\"listing\":\"whole\",\"checked\":null,\"cached\":3,\"cached_bytes\":4096,"
	"\"folder_pinned\":true,\"pinned\":7,\"pinned_missing\":4},"
	"{\"path\":\"Archive/Old stuff\",\"known\":true,\"messages\":100000,\"unseen\":0,"
	"\"watched\":false,\"listing\":\"none\",\"checked\":\"2026-11-22T11:57:01Z\",\"cached\":0,"
	"\"cached_bytes\":0,\"folder_pinned\":false,\"pinned\":0,\"pinned_missing\":0},"
	"{\"path\":\"Never\",\"known\":false,\"messages\":0,\"unseen\":0,\"watched\":false,"
	"\"listing\":\"none\",\"checked\":null,\"cached\":0,\"cached_bytes\":0,"
	"\"folder_pinned\":false,\"pinned\":0,\"pinned_missing\":0},"
	"{\"path\":\"Bad\",\"error\":\"Input/output error\"}]}";

static void a_status_is_readable(void **state)
{
	(void)state;
	_cleanup_str_ struct str out = STR_INIT;
	json_t *json = load(online);
	ctl_text_status(json, false, NOW, true, &out);
	assert_string_equal(str_cstr(&out),
		"imaps://alice@host:993 on /home/alice/Mail\n"
		"connection     online since 2026-11-22 11:00:01 (60 min), 2 connections (1 compressed), 1 reconnect\n"
		"push           NOTIFY: the server tells of changes in all folders\n"
		"server         Dovecot?\n"
		"capabilities   IMAP4rev1 IDLE\n"
		"quirks         wrong-sizes\n"
		"traffic        1.0 MiB received, 2.0 KiB sent; the line gives 6.0 MiB a second\n"
		"in flight      1 of listings, 3 in the background\n"
		"store          2.0 MiB of 10.0 GiB: 1.0 MiB of mail (512.0 KiB pinned), 1.0 MiB of listings\n"
		"pinned         2 of 5 messages downloaded, 1.0 KiB of 4.0 KiB\n"
		"\n"
		"MESSAGES    UNSEEN       CHECKED                CACHED            PINNED  FOLDER\n"
		"       7         2       watched            3, 4.0 KiB    all, 4 missing  INBOX\n"
		"  100000         0     3 min ago                     0                 0  Archive/Old stuff\n"
		"Bad: Input/output error\n"
		"\n"
		"1 folder never opened; -v shows them\n");
	str_reset(&out);
	ctl_text_status(json, true, NOW, true, &out);
	assert_non_null(strstr(str_cstr(&out), "  Never\n"));
	json_decref(json);
}

static void a_lost_connection_says_why_and_when(void **state)
{
	(void)state;
	_cleanup_str_ struct str out = STR_INIT;
	json_t *json =
		load("{\"connection\":{\"state\":\"offline\",\"since\":\"2026-11-22T11:59:01Z\","
		     "\"trouble\":\"host: \\u009brefused\",\"retry\":\"2026-11-22T12:00:13Z\","
		     "\"connections\":0,\"push\":\"poll\"}}");
	ctl_text_status(json, false, NOW, true, &out);
	assert_non_null(strstr(str_cstr(&out),
		"connection     offline since 2026-11-22 11:59:01 (60 s), 0 connections\n"
		"               host: ?refused\n"
		"               next attempt in 12 s\n"));
	json_decref(json);
}

static void a_full_store_says_so(void **state)
{
	(void)state;
	_cleanup_str_ struct str out = STR_INIT;
	json_t *json = load("{\"store\":{\"limit_bytes\":null,\"full\":true}}");
	ctl_text_status(json, false, NOW, true, &out);
	assert_non_null(strstr(str_cstr(&out), "the disk is full"));
	assert_non_null(strstr(str_cstr(&out), "store          0 bytes: "));
	json_decref(json);
}

static void many_capabilities_are_wrapped(void **state)
{
	(void)state;
	_cleanup_str_ struct str out = STR_INIT;
	json_t *json = json_pack("{s:{s:[]}}", "server", "capabilities");
	json_t *words = json_object_get(json_object_get(json, "server"), "capabilities");
	for (int i = 0; i < 40; i++)
		json_array_append_new(words, json_string("CAPABILITY"));
	ctl_text_status(json, false, NOW, true, &out);
	char *rest = out.data, *line;
	size_t lines = 0;
	while ((line = strsep(&rest, "\n"))) {
		if (!strstr(line, "CAPABILITY"))
			continue;
		lines++;
		assert_true(strlen(line) < 80);
	}
	assert_int_equal(lines, 8);
	json_decref(json);
}

/* An answer of another version, or of nobody's. */
static void an_answer_without_anything_is_shown(void **state)
{
	(void)state;
	static const char *const answers[] = {"{}", "[]", "{\"folders\":{}}",
		"{\"folders\":[1,[],{}]}",
		"{\"connection\":[],\"store\":1,\"server\":{\"quirks\":[1],\"capabilities\":[{}]}}"};
	for (size_t i = 0; i < sizeof(answers) / sizeof(*answers); i++) {
		_cleanup_str_ struct str out = STR_INIT;
		json_t *json = load(answers[i]);
		ctl_text_status(json, true, NOW, true, &out);
		assert_int_equal(str_error(&out), 0);
		json_decref(json);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_have_units),
		cmocka_unit_test(spans_have_units),
		cmocka_unit_test(times_are_read),
		cmocka_unit_test(nothing_reaches_the_terminal),
		cmocka_unit_test(events_are_lines),
		cmocka_unit_test(a_name_is_exact_but_on_a_terminal),
		cmocka_unit_test(a_status_is_readable),
		cmocka_unit_test(a_lost_connection_says_why_and_when),
		cmocka_unit_test(a_full_store_says_so),
		cmocka_unit_test(many_capabilities_are_wrapped),
		cmocka_unit_test(an_answer_without_anything_is_shown),
	};
	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
