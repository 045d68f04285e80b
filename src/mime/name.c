/* SPDX-License-Identifier: MIT */
/*
 * Message names (DESIGN: "Message names"), written and read back. Only facts that never change go in: INTERNALDATE in UTC, the
 * first author, the subject, the UID. The sender's words are cut to fit; date, UID and ".eml" never are.
 */
#include <errno.h>
#include <string.h>

#include "name.h"

#define FROM_MAX 64
/* 0001-01-01 00:00:00 to 9999-12-31 23:59:59: years have four digits. */
#define DATE_MIN_S (-INT64_C(62135596800))
#define DATE_MAX_S INT64_C(253402300799)

struct date {
	unsigned year, month, day, hour, minute, second;
};

/* The civil date in UTC. Years are counted from March, so that the leap day is the last; 400 of them are an era. */
static struct date date_of(int64_t s)
{
	if (s < DATE_MIN_S)
		s = DATE_MIN_S;
	if (s > DATE_MAX_S)
		s = DATE_MAX_S;
	s += INT64_C(719468) * 86400; /* from 0000-03-01 on: never negative */
	unsigned days = (unsigned)(s / 86400), rest = (unsigned)(s % 86400);
	unsigned era = days / 146097, of_era = days % 146097;
	unsigned year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
	unsigned of_year = of_era - (365 * year + year / 4 - year / 100);
	unsigned march_month = (5 * of_year + 2) / 153;
	unsigned month = march_month < 10 ? march_month + 3 : march_month - 9;

	return (struct date){
		.year = year + era * 400 + (month <= 2),
		.month = month,
		.day = of_year - (153 * march_month + 2) / 5 + 1,
		.hour = rest / 3600,
		.minute = rest / 60 % 60,
		.second = rest % 60,
	};
}

/* --- Fields --- */

struct field {
	char text[MIME_NAME_MAX];
	size_t len;
};
struct fields {
	struct field from, subject;
};

/* How a field of the header becomes one of the name. */
struct reading {
	bool (*plain)(struct mime_span raw, size_t limit, char *out, size_t *ret_len);
	int (*decode)(const char *value, size_t len, struct str *out);
	const char *missing; /* when nothing is left of it */
};
static const struct reading author = {mime_name_plain_author, mime_author, "unknown"};
static const struct reading subject = {mime_name_plain_subject, mime_words_decode, "no-subject"};

static int read_any(
	struct mime_span raw, const struct reading *reading, size_t limit, struct field *field)
{
	_cleanup_str_ struct str value = STR_INIT;
	_cleanup_str_ struct str text = STR_INIT;
	_cleanup_str_ struct str out = STR_INIT;

	mime_unfold(raw, &value);
	int r = str_error(&value);
	if (r == 0)
		r = reading->decode(str_cstr(&value), value.len, &text);
	if (r == 0)
		r = mime_name_field(str_cstr(&text), text.len, limit, &out);
	if (r < 0)
		return r;
	memcpy(field->text, str_cstr(&out), out.len);
	field->len = out.len;
	return 0;
}

/* A header field as it is read, made fit for a name. limit: at most MIME_NAME_MAX. */
static int make_field(
	struct mime_span raw, const struct reading *reading, size_t limit, struct field *field)
{
	int r = 0;

	if (raw.data && !reading->plain(raw, limit, field->text, &field->len))
		r = read_any(raw, reading, limit, field);
	if (r == 0 && field->len == 0) {
		field->len = strlen(reading->missing);
		memcpy(field->text, reading->missing, field->len);
	}
	return r;
}

static size_t count_kind(const struct mime_name_template *t, enum piece_kind kind)
{
	size_t n = 0;

	for (size_t i = 0; i < t->count; i++)
		n += t->pieces[i].kind == kind;
	return n;
}

static size_t share(size_t room, size_t count, size_t most)
{
	size_t each = room / count;
	return each < most ? each : most;
}

static void find_fields(const struct mime_name_facts *facts, struct mime_span found[2])
{
	static const char *const names[] = {"From", "Subject"};

	found[0] = facts->from;
	found[1] = facts->subject;
	if (!facts->found)
		mime_header_find(
			facts->header, facts->header ? facts->header_len : 0, names, 2, found);
}

/* Fills what the template needs. FROM has its limit, SUBJECT what is left of the name. */
static int make_fields(const struct mime_name_template *t, const struct mime_name_facts *facts,
	size_t uid_len, struct fields *fields)
{
	size_t from_count = count_kind(t, PIECE_FROM), subject_count = count_kind(t, PIECE_SUBJECT);
	size_t room = MIME_NAME_MAX - uid_len;
	struct mime_span found[2];
	int r = 0;

	if (from_count + subject_count > 0)
		find_fields(facts, found);
	for (size_t i = 0; i < t->count; i++)
		room -= t->pieces[i].len;
	if (from_count > 0)
		r = make_field(found[0], &author, share(room, from_count + subject_count, FROM_MAX),
			&fields->from);
	room -= fields->from.len * from_count;
	if (subject_count > 0 && r == 0)
		r = make_field(found[1], &subject, share(room, subject_count, MIME_NAME_MAX),
			&fields->subject);
	return r;
}

/* --- Writing --- */

/* A name in the making; what does not fit makes it too long. */
struct name {
	char *text;
	size_t len;
	bool too_long;
};

static void write_text(const char *text, size_t len, struct name *name)
{
	if (len > MIME_NAME_MAX - name->len) {
		name->too_long = true;
		return;
	}
	memcpy(name->text + name->len, text, len);
	name->len += len;
}

/* Writes n with at least so many digits; names are written by the thousand, and printf would be most of it. */
static void write_number(uint32_t n, unsigned digits, struct name *name)
{
	char text[10];
	size_t at = sizeof(text);

	while (n > 0 || sizeof(text) - at < digits) {
		text[--at] = (char)('0' + n % 10);
		n /= 10;
	}
	write_text(text + at, sizeof(text) - at, name);
}

static void write_piece(const struct piece *piece, const struct date *date, uint32_t uid,
	const struct fields *fields, struct name *name)
{
	switch (piece->kind) {
	case PIECE_CHAR:
		write_text(&piece->c, 1, name);
		break;
	case PIECE_YEAR:
		write_number(date->year, 4, name);
		break;
	case PIECE_YEAR_SHORT:
		write_number(date->year % 100, 2, name);
		break;
	case PIECE_MONTH:
		write_number(date->month, 2, name);
		break;
	case PIECE_DAY:
		write_number(date->day, 2, name);
		break;
	case PIECE_HOUR:
		write_number(date->hour, 2, name);
		break;
	case PIECE_MINUTE:
		write_number(date->minute, 2, name);
		break;
	case PIECE_SECOND:
		write_number(date->second, 2, name);
		break;
	case PIECE_FROM:
		write_text(fields->from.text, fields->from.len, name);
		break;
	case PIECE_SUBJECT:
		write_text(fields->subject.text, fields->subject.len, name);
		break;
	case PIECE_UID:
		write_number(uid, 1, name);
		break;
	}
}

static int write_name(
	const struct mime_name_template *t, const struct mime_name_facts *facts, struct name *name)
{
	struct date date = date_of(facts->date_s);
	struct fields fields;
	size_t uid_len = 1;

	fields.from.len = fields.subject.len = 0;
	for (uint32_t rest = facts->uid; rest > 9; rest /= 10)
		uid_len++;
	if (make_fields(t, facts, uid_len, &fields) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < t->count; i++)
		write_piece(&t->pieces[i], &date, facts->uid, &fields, name);
	/* No message is hidden by its sender's words. */
	if (name->len > 0 && name->text[0] == '.')
		name->text[0] = '-';
	return name->too_long ? -ENAMETOOLONG : 0;
}

size_t mime_name_message(const struct mime_name_template *name_template,
	const struct mime_name_facts *facts, char *out)
{
	struct name name = {.text = out};

	if (write_name(mime_name_template_or_default(name_template), facts, &name) < 0)
		name.len = 0;
	out[name.len] = 0;
	return name.len;
}

/* --- Reading back --- */

/* The chunk of the name that holds the UID, between two '_'. */
static bool find_chunk(const struct mime_name_template *t, const char **start, const char **end)
{
	const char *p = *start;

	for (size_t i = 0; i < t->uid_chunk; i++) {
		p = strchr(p, '_');
		if (!p)
			return false;
		p++;
	}
	*start = p;
	*end = strchrnul(p, '_');
	return true;
}

/* A number without a leading zero that fits; else 0. */
static uint32_t parse_uid(const char *p, const char *end)
{
	uint64_t uid = 0;

	if (p == end || *p == '0' || end - p > 10)
		return 0;
	for (; p < end; p++) {
		if (!ascii_is_digit(*p))
			return 0;
		uid = uid * 10 + (unsigned)(*p - '0');
	}
	return uid <= UINT32_MAX ? (uint32_t)uid : 0;
}

uint32_t mime_name_uid(const struct mime_name_template *name_template, const char *name)
{
	const struct mime_name_template *t = mime_name_template_or_default(name_template);
	const char *start = name, *end;
	size_t len = strlen(name);

	if (len < 5 || len > MIME_NAME_MAX || strcmp(name + len - 4, ".eml") != 0 ||
		!find_chunk(t, &start, &end) ||
		(size_t)(end - start) < t->uid_before + t->uid_after)
		return 0;
	if (t->uid_from_start)
		start += t->uid_before;
	if (t->uid_from_end)
		end -= t->uid_after;
	if (!t->uid_from_start)
		for (const char *stop = start, *p = start = end; p > stop && ascii_is_digit(p[-1]);)
			start = --p;
	if (!t->uid_from_end)
		for (end = start; ascii_is_digit(*end);)
			end++;
	return parse_uid(start, end);
}
