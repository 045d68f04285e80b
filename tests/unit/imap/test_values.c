/* SPDX-License-Identifier: MIT */
/* Small pure things: mailbox names, dates, sets of UIDs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "mailfs/util/quirk.h"
#include "mailfs/util/utf8.h"
#include "private.h"

/* --- Modified UTF-7 --- */

struct run {
	struct str *out;
	uint32_t bits;
	unsigned count;
};

static void put_digit(struct run *run, uint32_t value)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,";
	str_putc(run->out, digits[value & 63]);
}

static void put_unit(struct run *run, uint32_t unit)
{
	run->bits = run->bits << 16 | unit;
	for (run->count += 16; run->count >= 6; run->bits &= (1U << run->count) - 1) {
		run->count -= 6;
		put_digit(run, run->bits >> run->count);
	}
}

static void put_shifted(struct run *run, uint32_t c)
{
	if (c < 0x10000) {
		put_unit(run, c);
		return;
	}
	put_unit(run, 0xd800 + ((c - 0x10000) >> 10));
	put_unit(run, 0xdc00 + ((c - 0x10000) & 0x3ff));
}

static void end_run(struct run *run)
{
	if (run->count > 0)
		put_digit(run, run->bits << (6 - run->count));
	str_putc(run->out, '-');
}

/* The reference that decoding is held against: RFC 3501 §5.1.3 the other way round. */
static void encode(const char *utf8, struct str *out)
{
	size_t len = strlen(utf8), pos = 0;
	struct run run = {.out = out};
	bool open = false;
	while (pos < len) {
		uint32_t c = utf8_next(utf8, len, &pos);
		bool shifted = c < 0x20 || c > 0x7e;
		if (open && !shifted)
			end_run(&run);
		if (!open && shifted) {
			str_putc(out, '&');
			run = (struct run){.out = out};
		}
		open = shifted;
		if (shifted)
			put_shifted(&run, c);
		else
			str_append_cstr(out, c == '&' ? "&-" : (const char[]){(char)c, 0});
	}
	if (open)
		end_run(&run);
}

static void assert_decodes(const char *wire, const char *want)
{
	struct str out = STR_INIT;
	str_append_cstr(&out, "before/");
	assert_int_equal(imap_mailbox_decode(wire, &out), 0);
	assert_string_equal(out.data + 7, want);
	str_finish(&out);
}

static void test_mutf7_decodes(void **state)
{
	(void)state;
	assert_decodes("", "");
	assert_decodes("INBOX", "INBOX");
	assert_decodes("A &- B", "A & B");
	assert_decodes("&-&-", "&&");
	assert_decodes("Entw&APw-rfe", "Entw\xc3\xbcrfe");
	assert_decodes("~peter/mail/&U,BTFw-/&ZeVnLIqe-",
		"~peter/mail/\xe5\x8f\xb0\xe5\x8c\x97/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e");
	assert_decodes("&2D3eAA-", "\xf0\x9f\x98\x80");
	assert_decodes("&AAo-", "\n");
}

/* Anything but the one right form stays as it is: two names must never become one. */
static void test_mutf7_keeps_what_is_wrong(void **state)
{
	static const char *const names[] = {"&", "a&", "&APw", "&APw/-", "&A-", "&AP-", "&APx-",
		"&APwA-", "&AGE-", "&AAA-", "&APw-&APw-", "&2D0-", "&3gA-", "&2D0A,A-", "&2D3YPQ-",
		"caf\xc3\xa9", "\xff\xfe", "a\x7f", "a\nb", "&\xc3\xa9-", "&====-"};
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_decodes(names[i], names[i]);
}

static void test_mutf7_round_trip(void **state)
{
	static const char *const names[] = {"a", "&", "\xc3\xa9", "\xc3\xa9\xc3\xa8",
		"x\xc3\xa9y\xc3\xa9z", "\xf0\x9f\x98\x80!\xf0\x9f\x98\x81",
		"\xe6\x97\xa5\xe6\x9c\xac", "\x01\x02\x03", "a&\xc3\xa9&b",
		"\xef\xbf\xbd\xf0\x90\x80\x80\xe2\x82\xac"};
	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct str wire = STR_INIT;
		encode(names[i], &wire);
		assert_decodes(wire.data, names[i]);
		str_finish(&wire);
	}
}

static void assert_wire(const char *name, const char *want)
{
	struct str out = STR_INIT;
	assert_int_equal(imap_mailbox_to_wire(name, &out), 0);
	assert_string_equal(str_cstr(&out), want);
	str_finish(&out);
}

/* A name that is not in modified UTF-7 though it should be, as Dovecot's NOTIFY gives it. */
static void test_mutf7_to_wire(void **state)
{
	(void)state;
	quirk_forget();
	assert_wire("INBOX", "INBOX");
	assert_wire("A&B/100%", "A&-B/100%");
	assert_wire("A&-B", "A&-B");
	assert_wire(
		"Entw\xc3\xbcrfe/\xe6\x97\xa5\xe6\x9c\xac\xe8\xaa\x9e", "Entw&APw-rfe/&ZeVnLIqe-");
	assert_wire("Entw&APw-rfe/&ZeVnLIqe-", "Entw&APw-rfe/&ZeVnLIqe-");
	assert_wire("\xf0\x9f\x98\x80", "&2D3eAA-");
	assert_wire("caf\xe9", "caf\xe9");
	assert_int_equal(quirk_count(QUIRK_NAME_IN_UTF8), 3);
}

/* What decodes to something else must encode to itself again. */
static void test_mutf7_is_injective(void **state)
{
	static const char letters[] = "&-AaPw+,DeY2/";
	unsigned seed = 3, decoded = 0;
	(void)state;
	for (int round = 0; round < 200000; round++) {
		char wire[9];
		struct str text = STR_INIT, again = STR_INIT;
		for (int i = 0; i < 8; i++) {
			seed = seed * 1103515245 + 12345;
			wire[i] = letters[(seed >> 16) % (sizeof(letters) - 1)];
		}
		wire[8] = 0;
		assert_int_equal(imap_mailbox_decode(wire, &text), 0);
		if (strcmp(str_cstr(&text), wire) != 0) {
			decoded++;
			encode(str_cstr(&text), &again);
			assert_string_equal(str_cstr(&again), wire);
		}
		str_finish(&text);
		str_finish(&again);
	}
	assert_true(decoded > 1000);
}

/* --- Dates --- */

static void test_dates(void **state)
{
	static const struct {
		const char *text;
		int64_t want;
	} cases[] = {
		{" 1-Jan-1970 00:00:00 +0000", 0},
		{"01-Jan-1970 00:00:00 +0000", 0},
		{"1-Jan-1970 00:00:00 +0000", 0},
		{"17-Jul-1996 02:44:25 -0700", 837596665},
		{" 1-Jan-2020 10:00:00 +0100", 1577869200},
		{"29-feb-2000 12:00:00 +0000", 951825600},
		{"29-FEB-2024 23:59:60 +0000", 1709251200},
		{"31-Dec-1969 23:59:59 +0000", -1},
		{"19-Jan-2038 03:14:08 +0000", 2147483648},
		{"31-Dec-9999 23:59:59 +0000", 253402300799},
		{" 1-Jan-0000 00:00:00 +0000", -62167219200},
		{" 1-Mar-1900 00:00:00 +1400", -2203941600},
		{" 1-Jan-1970 00:00:00 +0530", -19800},
	};
	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		int64_t s = 42;
		assert_true(imap_date_parse(cases[i].text, strlen(cases[i].text), &s));
		assert_true(s == cases[i].want);
	}
}

static void test_not_dates(void **state)
{
	static const char *const texts[] = {"", " ", " 1-Jan-2020", " 1-Jan-2020 10:00:00",
		" 1-Jan-2020 10:00:00 +010", " 1-Jan-2020 10:00:00 +01000",
		" 0-Jan-2020 10:00:00 +0100", "00-Jan-2020 10:00:00 +0100",
		"32-Jan-2020 10:00:00 +0100", "29-Feb-2023 10:00:00 +0100",
		"29-Feb-1900 10:00:00 +0100", "31-Apr-2020 10:00:00 +0100",
		" 1-Foo-2020 10:00:00 +0100", " 1-Jan-20 10:00:00 +0100  ",
		" 1-Jan-2020 24:00:00 +0100", " 1-Jan-2020 10:60:00 +0100",
		" 1-Jan-2020 10:00:61 +0100", " 1-Jan-2020 10:00:00 *0100",
		" 1-Jan-2020 10:00:00 +2400", " 1-Jan-2020 10:00:00 +0060",
		" 1 Jan 2020 10:00:00 +0100", " 1-Jan-2020T10:00:00 +0100",
		" 1-Jan--020 10:00:00 +0100", " 1-Jan-2020 -1:00:00 +0100",
		"  -Jan-2020 10:00:00 +0100"};
	int64_t s = 42;
	(void)state;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		if (imap_date_parse(texts[i], strlen(texts[i]), &s))
			fail_msg("taken: '%s'", texts[i]);
	assert_true(s == 42);
}

/* --- Sets of UIDs --- */

static void test_uid_sets(void **state)
{
	static const uint32_t uids[] = {1, 2, 3, 7, 9, 10, 4294967295};
	struct str out = STR_INIT;
	(void)state;
	assert_int_equal(imap_uid_set_append(&out, uids, 7), 7);
	assert_string_equal(out.data, "1:3,7,9:10,4294967295");
	str_reset(&out);
	assert_int_equal(imap_uid_set_append(&out, uids + 3, 1), 1);
	assert_string_equal(out.data, "7");
	str_finish(&out);
}

/* Every UID once, in sets that a command line has room for. */
static void test_uid_sets_are_split(void **state)
{
	enum { COUNT = 10000 };
	static uint32_t uids[COUNT];
	size_t done = 0, sets = 0;
	(void)state;
	for (size_t i = 0; i < COUNT; i++)
		uids[i] = 4000000000U + 2 * (uint32_t)i;
	while (done < COUNT) {
		struct str out = STR_INIT;
		size_t taken = imap_uid_set_append(&out, uids + done, COUNT - done);
		char want[32];
		assert_true(taken > 0);
		assert_true(out.len < 7950);
		snprintf(want, sizeof(want), "%u", uids[done]);
		assert_memory_equal(out.data, want, strlen(want));
		snprintf(want, sizeof(want), "%u", uids[done + taken - 1]);
		assert_string_equal(out.data + out.len - strlen(want), want);
		done += taken;
		sets++;
		str_finish(&out);
	}
	assert_int_equal(done, COUNT);
	assert_true(sets > 10);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_mutf7_decodes),
		cmocka_unit_test(test_mutf7_keeps_what_is_wrong),
		cmocka_unit_test(test_mutf7_to_wire),
		cmocka_unit_test(test_mutf7_round_trip),
		cmocka_unit_test(test_mutf7_is_injective),
		cmocka_unit_test(test_dates),
		cmocka_unit_test(test_not_dates),
		cmocka_unit_test(test_uid_sets),
		cmocka_unit_test(test_uid_sets_are_split),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
