/* SPDX-License-Identifier: MIT */
/*
 * INTERNALDATE as seconds since the epoch, by arithmetic alone: no locale, no time zone of this machine, no
 * year 2038. Pure.
 */
#include <strings.h>

#include "private.h"

/* Days from 1970-01-01 to a date of the proleptic Gregorian calendar; the year begins in March, so that the leap day is last. */
static int64_t days_from_date(int64_t year, unsigned month, unsigned day)
{
	year -= month <= 2;
	int64_t era = (year >= 0 ? year : year - 399) / 400;
	int64_t year_of_era = year - era * 400;
	int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
	return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
	       day_of_year - 719468;
}

static unsigned month_days(unsigned year, unsigned month)
{
	static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
	bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
	return month == 2 && leap ? 29 : days[month - 1];
}

/* Two or four digits at text; false for anything else. */
static bool digits(const char *text, size_t count, unsigned *ret)
{
	unsigned number = 0;
	for (size_t i = 0; i < count; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		number = number * 10 + (unsigned)(text[i] - '0');
	}
	*ret = number;
	return true;
}

static unsigned month_find(const char *text)
{
	static const char names[] = "JanFebMarAprMayJunJulAugSepOctNovDec";
	for (unsigned i = 0; i < 12; i++)
		if (strncasecmp(text, names + 3 * i, 3) == 0)
			return i + 1;
	return 0;
}

/* "+hhmm" as seconds east of UTC. */
static bool zone_parse(const char *text, int64_t *ret_s)
{
	unsigned hours, minutes;
	if ((text[0] != '+' && text[0] != '-') || !digits(text + 1, 2, &hours) ||
		!digits(text + 3, 2, &minutes) || hours > 23 || minutes > 59)
		return false;
	*ret_s = (int64_t)(hours * 60 + minutes) * 60 * (text[0] == '-' ? -1 : 1);
	return true;
}

static bool time_parse(const char *text, int64_t *ret_s)
{
	unsigned hours, minutes, seconds;
	if (!digits(text, 2, &hours) || text[2] != ':' || !digits(text + 3, 2, &minutes) ||
		text[5] != ':' || !digits(text + 6, 2, &seconds) || hours > 23 || minutes > 59 ||
		seconds > 60)
		return false;
	*ret_s = (int64_t)hours * 3600 + minutes * 60 + seconds;
	return true;
}

static bool day_parse(const char *text, int64_t *ret_days)
{
	unsigned day, month, year;
	bool one_digit = text[0] == ' ';
	if (!digits(text + one_digit, 2 - (size_t)one_digit, &day) || text[2] != '-' ||
		text[6] != '-' || !digits(text + 7, 4, &year))
		return false;
	month = month_find(text + 3);
	if (month == 0 || day == 0 || day > month_days(year, month))
		return false;
	*ret_days = days_from_date(year, month, day);
	return true;
}

/* " 1-Jan-2020 10:00:00 +0100"; a day of one digit without its blank is taken too. */
bool imap_date_parse(const char *text, size_t len, int64_t *ret_s)
{
	char padded[26] = " ";
	int64_t days, seconds, zone;
	if (len == 25) {
		for (size_t i = 0; i < len; i++)
			padded[i + 1] = text[i];
		text = padded;
	} else if (len != 26) {
		return false;
	}
	if (text[11] != ' ' || text[20] != ' ' || !day_parse(text, &days) ||
		!time_parse(text + 12, &seconds) || !zone_parse(text + 21, &zone))
		return false;
	*ret_s = days * 86400 + seconds - zone;
	return true;
}
