/* SPDX-License-Identifier: MIT */
/*
 * Dates of mail (RFC 5322 §3.3, obsolete forms §4.3) and those that programs write in their place: asctime()'s,
 * ISO 8601's, RFC 850's.
 *
 * A date is taken apart into words, and each word is known by its looks: so the order of year and zone, commas and a weekday
 * do not matter. Each piece may be there once; it is no date without day, month and year. Words behind a complete
 * date are ignored ("+0200 CEST"), since senders add names of zones to the numbers. The weekday is never checked.
 */
#include <errno.h>
#include <string.h>

#include "private.h"

#define TEXT_MAX  128 /* bytes, without comments; no date is that long */
#define WORDS_MAX 12
#define UNSET     (-1)

struct date {
	int year, month, day; /* UNSET; month from 1 */
	int hour, minute, second;
	int zone_s; /* seconds east of UTC */
	bool zone_set;
};

struct word {
	const char *p;
	size_t len;
	bool comma; /* behind it */
};

/* --- Words --- */

struct text {
	char data[TEXT_MAX];
	size_t len;
};

/* Skips a comment, nested ones and escapes in it. One that is not closed ends the text. */
static const char *skip_comment(const char *p, const char *end)
{
	size_t depth = 0;

	for (; p < end; p++) {
		if (*p == '(')
			depth++;
		else if (*p == ')' && --depth == 0)
			return p + 1;
		else if (*p == '\\' && p + 1 < end)
			p++;
	}
	return end;
}

/* Copies a date without its comments and with single blanks. -EINVAL: too long. */
static int text_fill(const char *value, size_t len, struct text *text)
{
	const char *p = value, *end = len > 0 ? value + len : value;

	while (p < end) {
		char c = *p;
		if (c == '(')
			p = skip_comment(p, end);
		else
			p++;
		if (c == '(' || ascii_is_space(c))
			c = ' ';
		if (c == ' ' && (text->len == 0 || text->data[text->len - 1] == ' '))
			continue;
		if (text->len == TEXT_MAX)
			return -EINVAL;
		text->data[text->len++] = c;
	}
	return 0;
}

/* Splits at blanks and commas. How many words; those beyond WORDS_MAX are left out. */
static size_t words_split(const struct text *text, struct word *words)
{
	size_t count = 0, start = 0;

	for (size_t i = 0; i <= text->len; i++) {
		char c = i < text->len ? text->data[i] : ' ';
		if (c == ',' && count > 0 && i == start)
			words[count - 1].comma = true;
		if (c != ' ' && c != ',')
			continue;
		if (i > start && count < WORDS_MAX)
			words[count++] = (struct word){text->data + start, i - start, c == ','};
		start = i + 1;
	}
	return count;
}

/* --- Numbers --- */

/* Takes 1 to max digits. UNSET: there is none, or there are more. */
static int digits_take(struct word *word, size_t max)
{
	size_t n = 0;
	int value = 0;

	for (; n < word->len && ascii_is_digit(word->p[n]); n++)
		value = n < max ? value * 10 + (word->p[n] - '0') : value;
	if (n == 0 || n > max)
		return UNSET;
	word->p += n;
	word->len -= n;
	return value;
}

static bool char_take(struct word *word, char c)
{
	if (word->len == 0 || *word->p != c)
		return false;
	word->p++;
	word->len--;
	return true;
}

static bool is_alphabetic(const struct word *word)
{
	for (size_t i = 0; i < word->len; i++)
		if (ascii_is_digit(word->p[i]) || !ascii_is_alnum(word->p[i]))
			return false;
	return word->len > 0;
}

/* --- Days --- */

/* 1 to 12 for a name of at least three letters, also one that is cut ("Sept"); 0: no month. */
static int month_of(const struct word *word)
{
	static const char *const names[] = {"january", "february", "march", "april", "may", "june",
		"july", "august", "september", "october", "november", "december"};
	size_t len = word->len > 0 && word->p[word->len - 1] == '.' ? word->len - 1 : word->len;

	for (int i = 0; i < 12; i++)
		if (len >= 3 && len <= strlen(names[i])) {
			size_t n = 0;
			while (n < len && ascii_lower(word->p[n]) == names[i][n])
				n++;
			if (n == len)
				return i + 1;
		}
	return 0;
}

/* RFC 5322 §4.3: of two digits below 50 this century, else the last; of three, since 1900. */
static bool year_set(struct date *date, int year, size_t digits)
{
	if (date->year != UNSET)
		return false;
	if (digits == 2)
		year += year < 50 ? 2000 : 1900;
	else if (digits == 3)
		year += 1900;
	date->year = year;
	return digits >= 2 && year >= 1;
}

/* A number alone: the day first, unless it is too long for one; then the year. */
static bool number_read(struct word word, struct date *date)
{
	size_t digits = word.len;
	int value = digits_take(&word, 4);

	if (word.len == 1 && *word.p == '.' && digits <= 3) { /* "21." */
		word.len = 0;
		digits--;
	}
	if (value == UNSET || word.len > 0)
		return false;
	if (digits <= 2 && date->day == UNSET) {
		date->day = value;
		return true;
	}
	return year_set(date, value, digits);
}

static bool month_set(struct date *date, int month)
{
	if (month < 1 || month > 12 || date->month != UNSET)
		return false;
	date->month = month;
	return true;
}

/* "21-Nov-97", "21-Nov-1997" */
static bool dashed_read(struct word word, struct date *date)
{
	struct word month;

	if (date->day != UNSET || (date->day = digits_take(&word, 2)) == UNSET ||
		!char_take(&word, '-'))
		return false;
	month = word;
	while (word.len > 0 && *word.p != '-')
		char_take(&word, *word.p);
	month.len -= word.len;
	if (!month_set(date, month_of(&month)) || !char_take(&word, '-'))
		return false;
	size_t digits = word.len;
	int year = digits_take(&word, 4);
	return year != UNSET && word.len == 0 && year_set(date, year, digits);
}

static bool time_read(struct word word, struct date *date);

/* "2026-11-21", "2026-11-21T09:15:02Z" */
static bool iso_read(struct word word, struct date *date)
{
	if (date->year != UNSET || date->day != UNSET)
		return false;
	date->year = digits_take(&word, 4);
	if (date->year < 1 || !char_take(&word, '-') || !month_set(date, digits_take(&word, 2)) ||
		!char_take(&word, '-'))
		return false;
	date->day = digits_take(&word, 2);
	if (word.len == 0)
		return date->day != UNSET;
	return (char_take(&word, 'T') || char_take(&word, 't')) && time_read(word, date);
}

/* --- Times and zones --- */

struct zone {
	const char *name;
	int hours;
};

static const struct zone zones[] = {{"est", -5}, {"edt", -4}, {"cst", -6}, {"cdt", -5}, {"mst", -7},
	{"mdt", -6}, {"pst", -8}, {"pdt", -7}};

/* "+0100", "-01:00", "+01" */
static bool offset_read(struct word word, struct date *date)
{
	bool west = *word.p == '-';
	size_t digits = word.len - 1;

	char_take(&word, *word.p);
	int hours = digits_take(&word, 4), minutes = 0;
	if (char_take(&word, ':')) {
		digits = 2;
		minutes = digits_take(&word, 2);
	} else if (digits > 2) {
		minutes = hours % 100;
		hours /= 100;
	}
	if (hours < 0 || hours > 99 || minutes < 0 || minutes > 59 || word.len > 0)
		return false;
	date->zone_s = (hours * 3600 + minutes * 60) * (west ? -1 : 1);
	date->zone_set = true;
	return true;
}

/* A zone's name, and an offset that may follow at once ("GMT+0100"). One that is not known says nothing (RFC 5322 §4.3). */
static bool zone_name_read(struct word word, struct date *date)
{
	struct word name = word;

	while (word.len > 0 && *word.p != '+' && *word.p != '-')
		char_take(&word, *word.p);
	name.len -= word.len;
	if (!is_alphabetic(&name))
		return false;
	if (word.len > 0)
		return offset_read(word, date);
	for (size_t i = 0; i < sizeof(zones) / sizeof(*zones); i++)
		if (ascii_equal(name.p, name.len, zones[i].name))
			date->zone_s = zones[i].hours * 3600;
	date->zone_set = true;
	return true;
}

static bool zone_read(struct word word, struct date *date)
{
	if (date->zone_set)
		return false;
	return *word.p == '+' || *word.p == '-' ? offset_read(word, date)
	                                        : zone_name_read(word, date);
}

static bool separator_take(struct word *word)
{
	return char_take(word, ':') || char_take(word, '.');
}

/* "9:15", "09:15:02", "09.15.02", with a fraction, with a zone that follows at once */
static bool time_read(struct word word, struct date *date)
{
	if (date->hour != UNSET)
		return false;
	date->hour = digits_take(&word, 2);
	if (date->hour == UNSET || !separator_take(&word))
		return false;
	date->minute = digits_take(&word, 2);
	if (separator_take(&word))
		date->second = digits_take(&word, 2);
	if (date->minute == UNSET || date->second == UNSET)
		return false;
	if (char_take(&word, '.'))
		while (word.len > 0 && ascii_is_digit(*word.p))
			char_take(&word, *word.p);
	return word.len == 0 || zone_read(word, date);
}

/* --- The whole --- */

static bool digit_word_read(const struct word *word, struct date *date)
{
	size_t digits = 0;

	while (digits < word->len && ascii_is_digit(word->p[digits]))
		digits++;
	char next = digits < word->len ? word->p[digits] : 0;
	if (next == ':' || (next == '.' && digits + 1 < word->len))
		return time_read(*word, date);
	if (next == '-')
		return digits == 4 ? iso_read(*word, date) : dashed_read(*word, date);
	return number_read(*word, date);
}

static bool has_day(const struct date *date)
{
	return date->year != UNSET && date->month != UNSET && date->day != UNSET;
}

static bool is_complete(const struct date *date)
{
	return has_day(date) && date->hour != UNSET;
}

/* Reads a word; whether it means something. first: a weekday may stand there, in whatever language. */
static bool word_read(const struct word *word, bool first, struct date *date)
{
	if (ascii_is_digit(*word->p))
		return digit_word_read(word, date);
	if (!(first && word->comma) && month_set(date, month_of(word)))
		return true;
	if (first)
		return *word->p != '+' && *word->p != '-';
	return date->hour != UNSET && zone_read(*word, date);
}

static int days_in_month(int year, int month)
{
	static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return month == 2 && leap ? 29 : days[month - 1];
}

static bool in_range(const struct date *date)
{
	return date->day >= 1 && date->day <= days_in_month(date->year, date->month) &&
	       date->hour <= 23 && date->minute <= 59 && date->second <= 60;
}

/* Days since 1970-01-01 of the Gregorian calendar, carried on to the year 1. */
static int64_t days_since_epoch(const struct date *date)
{
	int64_t before = date->year - 1;
	int64_t days = before * 365 + before / 4 - before / 100 + before / 400;

	for (int month = 1; month < date->month; month++)
		days += days_in_month(date->year, month);
	return days + date->day - 1 - 719162;
}

int mime_date_parse(const char *value, size_t len, int64_t *ret)
{
	struct date date = {.year = UNSET, .month = UNSET, .day = UNSET, .hour = UNSET};
	struct text text = {.len = 0};
	struct word words[WORDS_MAX];

	if (text_fill(value, len, &text) < 0)
		return -EINVAL;
	size_t count = words_split(&text, words);
	for (size_t i = 0; i < count; i++) {
		bool complete = is_complete(&date);
		if (word_read(&words[i], i == 0, &date))
			continue;
		if (!complete)
			return -EINVAL;
		break;
	}
	if (!has_day(&date))
		return -EINVAL;
	if (date.hour == UNSET)
		date.hour = 0;
	if (!in_range(&date))
		return -EINVAL;
	*ret = days_since_epoch(&date) * 86400 + date.hour * 3600 + date.minute * 60 + date.second -
	       date.zone_s;
	return 0;
}

/* --- Of a message --- */

#define TAIL_MAX                                                                                   \
	200 /* bytes of a Received field in which a date without ';' before it is looked for */

/* The longest tail that begins with a word and is a date. */
static int tail_parse(const char *value, size_t len, int64_t *ret)
{
	size_t i = len > TAIL_MAX ? len - TAIL_MAX : 0;

	for (; i < len; i++) {
		bool begins = !ascii_is_space(value[i]) &&
		              (i == 0 || ascii_is_space(value[i - 1]) || value[i - 1] == ';');
		if (begins && mime_date_parse(value + i, len - i, ret) == 0)
			return 0;
	}
	return -EINVAL;
}

/* "from … by … ; date" (RFC 5321 §4.4) */
static int received_parse(const char *value, size_t len, int64_t *ret)
{
	const char *semicolon = memrchr(value, ';', len);

	if (semicolon) {
		const char *date = semicolon + 1;
		if (mime_date_parse(date, (size_t)(value + len - date), ret) == 0)
			return 0;
	}
	return tail_parse(value, len, ret);
}

int mime_header_date(const char *header, size_t len, int64_t *ret)
{
	_cleanup_str_ struct str value = STR_INIT;

	if (mime_header_get(header, len, "Received", &value) == 0 && value.len > 0 &&
		received_parse(value.data, value.len, ret) == 0)
		return 0;
	str_reset(&value);
	if (mime_header_get(header, len, "Date", &value) == 0 &&
		mime_date_parse(str_cstr(&value), value.len, ret) == 0)
		return 0;
	return -ENOENT;
}
