/* SPDX-License-Identifier: MIT */
/* Dates of mail: the forms that programs write, and what is none. The seconds of the first table are those that Python's email.utils gives. */
#include "helpers.h"

static int parse(const char *text, int64_t *ret)
{
	size_t len = strlen(text);
	char *copy =
		malloc(len ? len : 1); /* exact, so that a sanitizer sees a read beyond the end */

	assert_non_null(copy);
	memcpy(copy, text, len);
	int r = mime_date_parse(copy, len, ret);
	free(copy);
	return r;
}

struct date_case {
	const char *text;
	int64_t want;
};

static void assert_dates(const struct date_case *cases, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		int64_t found = 7;
		if (parse(cases[i].text, &found) < 0 || found != cases[i].want)
			fail_msg("\"%s\": %lld", cases[i].text, (long long)found);
	}
}

static void test_usual(void **state)
{
	static const struct date_case cases[] = {
		{"Sat, 21 Nov 2026 09:15:02 +0100", 1795248902},
		{"21 Nov 2026 09:15:02 +0100", 1795248902},
		{"Sat,21 Nov 2026 09:15:02 -0330", 1795265102},
		{"sat, 21 NOV 2026 9:15:02 +0000", 1795252502},
		{"Sat, 21 Nov 2026 09:15 -0500", 1795270500},
		{"Sat 21 Nov 2026 09:15:02 -0000", 1795252502},
		{"Sat, 1 Nov 2026 00:00:00 GMT", 1793491200},
		{"Sat, 21 November 2026 09:15:02 +0000", 1795252502},
		{"21-Nov-2026 09:15:02 +0100", 1795248902},
		{"Saturday, 21-Nov-26 09:15:02 GMT", 1795252502},
		{"Sat, 21 Nov 26 09:15:02 UT", 1795252502},
		{"Sat, 21 Nov 99 09:15:02 Z", 943175702},
		{"Sat Nov 21 09:15:02 2026", 1795252502},
		{"Sat Nov  1 09:15:02 2026", 1793524502},
		{"Sat, 21 Nov 2026 09:15:02 EST", 1795270502},
		{"Sat, 21 Nov 2026 09:15:02 EDT", 1795266902},
		{"Sat, 21 Nov 2026 09:15:02 CST", 1795274102},
		{"Sat, 21 Nov 2026 09:15:02 CDT", 1795270502},
		{"Sat, 21 Nov 2026 09:15:02 MST", 1795277702},
		{"Sat, 21 Nov 2026 09:15:02 MDT", 1795274102},
		{"Sat, 21 Nov 2026 09:15:02 PST", 1795281302},
		{"Sat, 21 Nov 2026 09:15:02 pdt", 1795277702},
		{"Sat, 21 Nov 2026 09:15:02 +0100 (CET)", 1795248902},
		{"Sat, 21 Nov 2026 09:15:02 +0200 CEST", 1795245302},
		{"Sat, 21 Nov 2026 09.15.02 +0100", 1795248902},
		{"Thu, 29 Feb 2024 23:59:60 +0000", 1709251200},
		{"Mon, 31 Dec 1900 23:59:59 +0000", -2177452801},
		{"Fri, 31 Dec 9999 23:59:59 +0000", 253402300799},
		{"Thu, 01 Jan 1970 00:00:00 +0000", 0},
		{"Wed, 31 Dec 1969 23:59:59 +0000", -1},
		{"Sat, 21 Nov 2026 09:15:02", 1795252502},
		{"Sat, 21 Nov 2026 09:15:02 +1400", 1795202102},
		{"Sat, 21 Nov 2026 09:15:02 -1200", 1795295702},
	};
	(void)state;
	assert_dates(cases, COUNT(cases));
}

/* All of them 2026-11-21 09:15:02 UTC, if nothing else is said. */
#define THEN 1795252502

static void test_unusual(void **state)
{
	static const struct date_case cases[] = {
		{"\r\n\tSat, 21 Nov\r\n 2026 09:15:02\t+0000 \r\n", THEN},
		{"(a) Sat (b), 21 (c(d)\\)) Nov(e)2026 09:15:02 +0000 (f", THEN},
		{"Samstag, 21 Nov 2026 09:15:02 +0000", THEN},
		{"mar., 21 Nov 2026 09:15:02 +0000", THEN}, /* mardi */
		{"\xe5\x9c\x9f, 21 Nov 2026 09:15:02 +0000", THEN},
		{"Sat, 21. Nov. 2026 09:15:02 +0000", THEN},
		{"Sat, 21 Nov 2026 10:15:02 +01:00", THEN},
		{"Sat, 21 Nov 2026 10:15:02+0100", THEN},
		{"Sat, 21 Nov 2026 10:15:02 +01", THEN},
		{"Sat, 21 Nov 2026 10:15:02 GMT+0100", THEN},
		{"Sat, 21 Nov 2026 09:15:02.250 +0000", THEN},
		/* Military letters and names that nobody knows say nothing. */
		{"Sat, 21 Nov 2026 09:15:02 A", THEN},
		{"Sat, 21 Nov 2026 09:15:02 y", THEN},
		{"Sat, 21 Nov 2026 09:15:02 CEST", THEN},
		{"Sat, 21 Nov 2026 09:15:02 utc", THEN},
		/* Of asctime(), the zone on either side of the year. */
		{"Sat Nov 21 10:15:02 +0100 2026", THEN},
		{"Sat Nov 21 10:15:02 2026 +0100", THEN},
		{"Sat Nov 21 04:15:02 EST 2026", THEN},
		{"Nov 21, 2026 09:15:02", THEN},
		/* ISO 8601 */
		{"2026-11-21T09:15:02Z", THEN},
		{"2026-11-21 10:15:02 +0100", THEN},
		{"2026-11-21T10:15:02.5+01:00", THEN},
		{"2026-11-21", THEN - 33302},
		{"21 Nov 2026", THEN - 33302},
		/* What follows a whole date is ignored. */
		{"Sat, 21 Nov 2026 09:15:02 +0000 12:00 foo ?", THEN},
		{"Sat, 21 Nov 2026 09:15:02 +00000", THEN},
		/* RFC 5322 section 4.3: years of two and three digits. */
		{"1 Jan 00 00:00:00 +0000", 946684800},
		{"1 Jan 49 00:00:00 +0000", 2493072000},
		{"1 Jan 50 00:00:00 +0000", -631152000},
		{"1 Jan 126 00:00:00 +0000", 1767225600},
		{"1 Jan 0001 00:00:00 +0000", -62135596800},
		{"28 Feb 1900 00:00:00 +0000", -2203977600},
		{"29 Feb 2000 00:00:00 +0000", 951782400},
	};
	(void)state;
	assert_dates(cases, COUNT(cases));
}

static void test_none(void **state)
{
	static const char *const cases[] = {
		"",
		" ",
		"()",
		"(Sat, 21 Nov 2026 09:15:02 +0000)",
		"now",
		"Sat",
		"21",
		"Sat, 21 Nov",
		"Nov 2026 09:15:02",
		"21 2026 09:15:02",
		"21 Nov 09:15:02 +0000",
		"09:15:02",
		"Sat, 21 Foo 2026 09:15:02 +0000",
		"Sat, 21 No 2026 09:15:02 +0000",
		"Sat, 21 Novembre 2026 09:15:02 +0000",
		"foo bar 21 Nov 2026 09:15:02",
		"Sat, 31 Nov 2026 09:15:02 +0000",
		"Sat, 29 Feb 2026 09:15:02 +0000",
		"Sat, 29 Feb 1900 09:15:02 +0000",
		"Sat, 0 Nov 2026 09:15:02 +0000",
		"Sat, 32 Dec 2026 09:15:02 +0000",
		"Sat, 121 Nov 2026 09:15:02 +0000",
		"Sat, 21 Nov 2026 24:00:00 +0000",
		"Sat, 21 Nov 2026 09:60:00 +0000",
		"Sat, 21 Nov 2026 09:15:61 +0000",
		"Sat, 21 Nov 2026 09: +0000",
		"Sat, 21 Nov 2026 09:15: +0000",
		"Sat, 21 Nov 2026 :15 +0000",
		"Sat, 21 Nov 2026 009:15:02 +0000",
		"Sat, 21 Nov 2026 0915 +0000",
		"Sat, 21 Nov 2026 foo",
		"Sat, 21 Nov 2 09:15:02 +0000",
		"Sat, 21 Nov 0 09:15:02 +0000",
		"Sat, 21 Nov 0000 09:15:02 +0000",
		"Sat, 21 Nov 20260 09:15:02 +0000",
		"Sat, 21 Nov 2026 2025 09:15:02 +0000",
		"Sat, 21 Nov Dec 2026 09:15:02 +0000",
		"Sat, -21 Nov 2026 09:15:02 +0000",
		"99999999999999999999 Nov 2026 09:15:02",
		"2026-13-01T00:00:00Z",
		"2026-00-01T00:00:00Z",
		"2026-11-21X09:15:02Z",
		"2026-11",
		"11/21/2026 09:15:02",
		"1795252502",
	};
	(void)state;

	for (size_t i = 0; i < COUNT(cases); i++) {
		int64_t found = 7;
		if (parse(cases[i], &found) != -EINVAL || found != 7)
			fail_msg("\"%s\": %lld", cases[i], (long long)found);
	}
}

static void test_nul_and_length(void **state)
{
	static const char nul[] = "21 Nov\0 2026 09:15:02";
	char *blanks = repeated(" ", 100000), *words = repeated("a ", 100000),
	     *nested = repeated("(", 100000);
	int64_t found;
	(void)state;

	assert_int_equal(mime_date_parse(nul, sizeof(nul) - 1, &found), -EINVAL);
	assert_int_equal(mime_date_parse(NULL, 0, &found), -EINVAL);
	assert_int_equal(mime_date_parse(words, 100000, &found), -EINVAL);
	assert_int_equal(mime_date_parse(nested, 100000, &found), -EINVAL);
	memcpy(blanks + 99000, "21 Nov 2026 09:15:02", 20);
	assert_int_equal(mime_date_parse(blanks, 100000, &found), 0);
	assert_true(found == THEN);
	free(blanks);
	free(words);
	free(nested);
}

/* What is written as RFC 5322 has it is read as what it was. */
static void test_random(void **state)
{
	static const char *const months[] = {
		"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	const int64_t first = -62135596800 + 86400,
		      last = 253402300799 - 86400; /* years 1 to 9999 */
	uint64_t random = 5;
	(void)state;

	for (int round = 0; round < 10000; round++) {
		int64_t r = (int64_t)next_random(&random) << 31 | next_random(&random), found = 7;
		int64_t want = first + r % (last - first);
		int zone = (int)(next_random(&random) % 1600) - 800;
		int minutes = zone < 0 ? -zone : zone;
		time_t local = (time_t)(want + zone * 60);
		struct tm tm;
		char text[100];
		if (local != want + zone * 60)
			continue; /* a time_t of 32 bits */
		gmtime_r(&local, &tm);
		snprintf(text, sizeof(text), "%s, %d %s %04d %02d:%02d:%02d %c%02d%02d",
			days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900,
			tm.tm_hour, tm.tm_min, tm.tm_sec, zone < 0 ? '-' : '+', minutes / 60,
			minutes % 60);
		if (parse(text, &found) < 0 || found != want)
			fail_msg("\"%s\": %lld", text, (long long)found);
	}
}

/* Whatever it is: a date of the years that there are, or none. */
static void test_mutations(void **state)
{
	static const char *const seeds[] = {"Sat, 21 Nov 2026 09:15:02 +0100 (CET)",
		"Sat Nov 21 09:15:02 EST 2026", "2026-11-21T09:15:02.5+01:00",
		"21-Nov-26 9.15 GMT+01"};
	static const char bytes[] = "0123456789:.-+,; ()\\TZabcNov\xff";
	uint64_t random = 3;
	unsigned dates = 0;
	(void)state;

	for (int round = 0; round < 100000; round++) {
		char text[64];
		int64_t found = INT64_MAX;
		strcpy(text, seeds[next_random(&random) % COUNT(seeds)]);
		size_t len = strlen(text);
		for (unsigned n = next_random(&random) % 5; n > 0; n--)
			text[next_random(&random) % len] =
				bytes[next_random(&random) % (sizeof(bytes) - 1)];
		text[len - next_random(&random) % 3] = 0;
		if (parse(text, &found) == 0) {
			assert_true(found > -62136000000 && found < 253402700000);
			dates++;
		}
	}
	assert_true(dates > 20000 && dates < 90000);
}

/* --- The date of a message --- */

static void test_header(void **state)
{
	static const struct date_case cases[] = {
		{"Date: Sat, 21 Nov 2026 09:15:02 +0000\r\n\r\n", THEN},
		{"Received: from a by b; Sat, 21 Nov 2026 09:15:02 +0000\r\nDate: 1 Jan 2000 00:00 +0000\r\n\r\n",
			THEN},
		{"Date: 1 Jan 2000 00:00 +0000\nReceived: from a by b (c; d)\n\tfor <e;f@g>;\n\tSat, 21 Nov 2026\n\t09:15:02 +0000 (UTC)\n"
		 "Received: by x; 1 Jan 2001 00:00 +0000\n\n",
			THEN},
		/* A comment with a semicolon behind the date; no semicolon at all. */
		{"Received: by b; Sat, 21 Nov 2026 09:15:02 +0000 (a; b)\n\n", THEN},
		{"Received: by b with SMTP id c, Sat, 21 Nov 2026 09:15:02 +0000\n\n", THEN},
		{"Received: Sat, 21 Nov 2026 09:15:02 +0000\n\n", THEN},
		/* Only the last hop's is looked at, then what the sender says. */
		{"Received: by b; yesterday\nReceived: by c; 1 Jan 2000 00:00 +0000\nDate: 21 Nov 2026 09:15:02 +0000\n\n",
			THEN},
		{"Received:\nDate: 21 Nov 2026 09:15:02 +0000\n\n", THEN},
		{"Received: by b;\nDate: 21 Nov 2026 09:15:02 +0000\n\n", THEN},
	};
	static const char *const none[] = {"", "\r\n", "Subject: x\r\n\r\n", "Date: soon\r\n\r\n",
		"Date:\r\n\r\n",
		"Received: by b; soon\r\nReceived: by c; 1 Jan 2000 00:00 +0000\r\n\r\n",
		"Subject: x\r\n\r\nDate: 21 Nov 2026 09:15:02 +0000\r\n"};
	int64_t found = 7;
	(void)state;

	for (size_t i = 0; i < COUNT(cases); i++)
		if (mime_header_date(cases[i].text, strlen(cases[i].text), &found) < 0 ||
			found != cases[i].want)
			fail_msg("\"%s\": %lld", cases[i].text, (long long)found);
	found = 7;
	for (size_t i = 0; i < COUNT(none); i++)
		assert_int_equal(mime_header_date(none[i], strlen(none[i]), &found), -ENOENT);
	assert_int_equal(found, 7);
}

static int received_date(const char *value, size_t len, struct str *out)
{
	struct str header = STR_INIT;
	int64_t found;

	str_append_cstr(&header, "Received: ");
	str_append(&header, value, len);
	int r = mime_header_date(header.data, header.len, &found);
	str_finish(&header);
	(void)out;
	return r == -ENOENT ? 0 : -1;
}

static int date_none(const char *value, size_t len, struct str *out)
{
	int64_t found;
	(void)out;
	return mime_date_parse(value, len, &found) == -EINVAL ? 0 : -1;
}

static void test_linear(void **state)
{
	(void)state;
	assert_linear(received_date, "a ");
	assert_linear(received_date, "; ");
	assert_linear(received_date, "1 (");
	assert_linear(date_none, "(");
	assert_linear(date_none, "()");
	assert_linear(date_none, "\\(");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_usual),
		cmocka_unit_test(test_unusual),
		cmocka_unit_test(test_none),
		cmocka_unit_test(test_nul_and_length),
		cmocka_unit_test(test_random),
		cmocka_unit_test(test_mutations),
		cmocka_unit_test(test_header),
		cmocka_unit_test(test_linear),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
