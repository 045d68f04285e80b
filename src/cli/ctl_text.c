/* SPDX-License-Identifier: MIT */
/* A member that is missing is shown as nothing, so that a newer mailfsctl can ask an older mailfs. */
#include "ctl_text.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "mailfs/util/utf8.h"

#define COLUMNS 79
#define INDENT  15 /* where values begin */

/* --- Single values --- */

/* Controls (C0, DEL, C1), line and paragraph separators, and what turns the direction of writing. */
static bool is_unsafe(uint32_t c)
{
	return c < 0x20 || c == 0x7f || utf8_misleads(c);
}

void ctl_text_safe(const char *text, struct str *out)
{
	size_t len = strlen(text);
	for (size_t at = 0; at < len;) {
		size_t start = at;
		if (is_unsafe(utf8_next(text, len, &at)))
			str_putc(out, '?');
		else
			str_append(out, text + start, at - start);
	}
}

void ctl_text_path(const char *path, bool terminal, struct str *out)
{
	if (terminal)
		ctl_text_safe(path, out);
	else
		str_append_cstr(out, path);
}

void ctl_text_size(uint64_t bytes, struct str *out)
{
	static const char *const units[] = {"KiB", "MiB", "GiB", "TiB"};
	double value = (double)bytes / 1024;
	size_t unit = 0;
	if (bytes < 1024) {
		str_printf(out, "%" PRIu64 " bytes", bytes);
		return;
	}
	/* Not 1024.0 KiB, which is what 1,048,570 bytes would round to. */
	for (; value >= 1023.95 && unit + 1 < sizeof(units) / sizeof(*units); unit++)
		value /= 1024;
	str_printf(out, "%.1f %s", value, units[unit]);
}

void ctl_text_span(int64_t seconds, struct str *out)
{
	static const struct {
		int64_t seconds, below; /* shown in this unit below so many of it */
		const char *name;
	} units[] = {{1, 120, "s"}, {60, 120, "min"}, {3600, 48, "h"}, {86400, INT64_MAX, "days"}};
	size_t unit = 0;
	if (seconds < 0)
		seconds = 0;
	while (seconds / units[unit].seconds >= units[unit].below)
		unit++;
	str_printf(out, "%" PRIi64 " %s", seconds / units[unit].seconds, units[unit].name);
}

int64_t ctl_text_time(const char *text)
{
	struct tm tm = {0};
	const char *end = text ? strptime(text, "%Y-%m-%dT%H:%M:%SZ", &tm) : NULL;
	return end && !*end ? (int64_t)timegm(&tm) : 0;
}

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static uint64_t number_of(const json_t *object, const char *key)
{
	json_int_t value = json_integer_value(json_object_get(object, key));
	return value > 0 ? (uint64_t)value : 0;
}

static bool is_true(const json_t *object, const char *key)
{
	return json_is_true(json_object_get(object, key));
}

static int64_t time_of(const json_t *object, const char *key)
{
	return ctl_text_time(text_of(object, key));
}

static void put_clock(int64_t time_s, struct str *out)
{
	char text[64];
	time_t time = (time_t)time_s;
	struct tm tm;
	if (localtime_r(&time, &tm) && strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &tm) > 0)
		str_append_cstr(out, text);
}

static void put_plural(uint64_t count, const char *noun, struct str *out)
{
	str_printf(out, "%" PRIu64 " %s%s", count, noun, count == 1 ? "" : "s");
}

/* --- The account --- */

static void begin_line(const char *name, struct str *out)
{
	str_printf(out, "%-*s", INDENT, name);
}

static void put_connection(const json_t *status, int64_t now_s, struct str *out)
{
	const json_t *connection = json_object_get(status, "connection");
	const char *state = text_of(connection, "state"), *trouble = text_of(connection, "trouble");
	int64_t since_s = time_of(connection, "since"), retry_s = time_of(connection, "retry");

	begin_line("connection", out);
	ctl_text_safe(state ? state : "unknown", out);
	if (since_s > 0) {
		str_append_cstr(out, " since ");
		put_clock(since_s, out);
		str_append_cstr(out, " (");
		ctl_text_span(now_s - since_s, out);
		str_putc(out, ')');
	}
	str_append_cstr(out, ", ");
	put_plural(number_of(connection, "connections"), "connection", out);
	if (number_of(connection, "compressed") > 0)
		str_printf(out, " (%llu compressed)",
			(unsigned long long)number_of(connection, "compressed"));
	if (number_of(connection, "reconnects") > 0) {
		str_append_cstr(out, ", ");
		put_plural(number_of(connection, "reconnects"), "reconnect", out);
	}
	str_putc(out, '\n');
	if (trouble) {
		begin_line("", out);
		ctl_text_safe(trouble, out);
		str_putc(out, '\n');
	}
	if (retry_s > 0) {
		begin_line("", out);
		str_append_cstr(out, "next attempt ");
		str_append_cstr(out, retry_s > now_s ? "in " : "now");
		if (retry_s > now_s)
			ctl_text_span(retry_s - now_s, out);
		str_putc(out, '\n');
	}
}

static void put_push(const json_t *status, struct str *out)
{
	static const struct {
		const char *name, *text;
	} kinds[] = {{"notify", "NOTIFY: the server tells of changes in all folders"},
		{"idle", "IDLE: the server tells of changes in the folders that are watched"},
		{"poll", "none: folders are looked at when they are opened"}};
	const char *push = text_of(json_object_get(status, "connection"), "push");
	const char *protocol = text_of(status, "protocol");

	if (!push || (protocol && strcmp(protocol, "pop3") == 0))
		return;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		if (strcmp(kinds[i].name, push) != 0)
			continue;
		begin_line("push", out);
		str_append_cstr(out, kinds[i].text);
		str_putc(out, '\n');
	}
}

/* Words in lines of a terminal's width. */
static void put_words(const char *name, const json_t *array, struct str *out)
{
	size_t count = json_array_size(array), column = INDENT;
	begin_line(name, out);
	for (size_t i = 0; i < count; i++) {
		const char *word = json_string_value(json_array_get(array, i));
		size_t len = word ? strlen(word) : 0;
		bool first = column == INDENT;
		if (!first && column + 1 + len > COLUMNS) {
			str_putc(out, '\n');
			begin_line("", out);
			column = INDENT;
			first = true;
		}
		if (!first)
			str_putc(out, ' ');
		ctl_text_safe(word ? word : "", out);
		column += len + (first ? 0 : 1);
	}
	str_putc(out, '\n');
}

static void put_server(const json_t *status, struct str *out)
{
	const json_t *server = json_object_get(status, "server");
	const json_t *quirks = json_object_get(server, "quirks");
	const json_t *capabilities = json_object_get(server, "capabilities");
	const char *name = text_of(server, "name");

	if (name) {
		begin_line("server", out);
		ctl_text_safe(name, out);
		str_putc(out, '\n');
	}
	if (json_array_size(capabilities) > 0)
		put_words("capabilities", capabilities, out);
	for (size_t i = 0; i < json_array_size(quirks); i++) {
		const char *quirk = json_string_value(json_array_get(quirks, i));
		begin_line(i == 0 ? "quirks" : "", out);
		ctl_text_safe(quirk ? quirk : "", out);
		str_putc(out, '\n');
	}
}

static void put_traffic(const json_t *status, struct str *out)
{
	const json_t *traffic = json_object_get(status, "traffic");
	begin_line("traffic", out);
	ctl_text_size(number_of(traffic, "bytes_in"), out);
	str_append_cstr(out, " received, ");
	ctl_text_size(number_of(traffic, "bytes_out"), out);
	str_append_cstr(out, " sent");
	if (number_of(traffic, "rate") > 0) {
		str_append_cstr(out, "; the line gives ");
		ctl_text_size(number_of(traffic, "rate"), out);
		str_append_cstr(out, " a second");
	}
	str_putc(out, '\n');
}

/* What is on its way, if anything is. */
static void put_jobs(const json_t *status, struct str *out)
{
	const json_t *jobs = json_object_get(status, "jobs");
	static const char *const kinds[][2] = {{"demand", "that somebody waits for"},
		{"bulk", "of listings"}, {"ahead", "ahead of readers"},
		{"background", "in the background"}};
	bool first = true;
	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		uint64_t count = number_of(jobs, kinds[i][0]);
		if (count == 0)
			continue;
		if (first)
			begin_line("in flight", out);
		str_printf(out, "%s%" PRIu64 " %s", first ? "" : ", ", count, kinds[i][1]);
		first = false;
	}
	if (!first)
		str_putc(out, '\n');
}

static void put_store(const json_t *status, struct str *out)
{
	const json_t *store = json_object_get(status, "store");
	const json_t *limit = json_object_get(store, "limit_bytes");

	begin_line("store", out);
	ctl_text_size(number_of(store, "body_bytes") + number_of(store, "database_bytes"), out);
	if (json_is_integer(limit)) {
		str_append_cstr(out, " of ");
		ctl_text_size(number_of(store, "limit_bytes"), out);
	}
	str_append_cstr(out, ": ");
	ctl_text_size(number_of(store, "body_bytes"), out);
	str_append_cstr(out, " of mail (");
	ctl_text_size(number_of(store, "pinned_bytes"), out);
	str_append_cstr(out, " pinned), ");
	ctl_text_size(number_of(store, "database_bytes"), out);
	str_append_cstr(out, " of listings");
	str_append_cstr(out, is_true(store, "settled") ? "\n" : "; still being counted\n");
	if (is_true(store, "full")) {
		begin_line("", out);
		str_append_cstr(
			out, "the disk is full: nothing more is kept until there is room again\n");
	}
}

static void put_pinning(const json_t *status, struct str *out)
{
	const json_t *pinning = json_object_get(status, "pinning");
	uint64_t total = number_of(pinning, "messages_total");
	if (is_true(pinning, "done") || total == 0)
		return;
	begin_line("pinned", out);
	str_printf(out, "%" PRIu64 " of ", number_of(pinning, "messages"));
	put_plural(total, "message", out);
	str_append_cstr(out, " downloaded, ");
	ctl_text_size(number_of(pinning, "bytes"), out);
	str_append_cstr(out, " of ");
	ctl_text_size(number_of(pinning, "bytes_total"), out);
	str_putc(out, '\n');
}

/* --- Folders --- */

static void put_cell(int width, const struct str *cell, struct str *out)
{
	str_printf(out, "%*s  ", width, str_cstr(cell));
}

static void put_checked(const json_t *folder, int64_t now_s, struct str *out)
{
	_cleanup_str_ struct str cell = STR_INIT;
	int64_t checked_s = time_of(folder, "checked");
	const char *listing = text_of(folder, "listing");
	if (is_true(folder, "watched")) {
		str_append_cstr(&cell, "watched");
	} else if (listing && strcmp(listing, "running") == 0) {
		str_append_cstr(&cell, "now");
	} else if (checked_s > 0) {
		ctl_text_span(now_s - checked_s, &cell);
		str_append_cstr(&cell, " ago");
	} else {
		str_append_cstr(&cell, "never");
	}
	put_cell(12, &cell, out);
}

static void put_cached(const json_t *folder, struct str *out)
{
	_cleanup_str_ struct str cell = STR_INIT;
	uint64_t cached = number_of(folder, "cached");
	str_printf(&cell, "%" PRIu64, cached);
	if (cached > 0) {
		str_append_cstr(&cell, ", ");
		ctl_text_size(number_of(folder, "cached_bytes"), &cell);
	}
	put_cell(20, &cell, out);
}

static void put_pinned(const json_t *folder, struct str *out)
{
	_cleanup_str_ struct str cell = STR_INIT;
	uint64_t missing = number_of(folder, "pinned_missing");
	if (is_true(folder, "folder_pinned"))
		str_append_cstr(&cell, "all");
	else
		str_printf(&cell, "%" PRIu64, number_of(folder, "pinned"));
	if (missing > 0)
		str_printf(&cell, ", %" PRIu64 " missing", missing);
	put_cell(16, &cell, out);
}

static void put_folder(const json_t *folder, int64_t now_s, bool terminal, struct str *out)
{
	const char *path = text_of(folder, "path"), *error = text_of(folder, "error");
	_cleanup_str_ struct str shown = STR_INIT;

	ctl_text_path(path ? path : "", terminal, &shown);
	if (shown.len == 0)
		str_append_cstr(&shown, ".");
	if (error) {
		str_printf(out, "%s: ", str_cstr(&shown));
		ctl_text_safe(error, out);
		str_putc(out, '\n');
		return;
	}
	str_printf(out, "%8" PRIu64 "  %8" PRIu64 "  ", number_of(folder, "messages"),
		number_of(folder, "unseen"));
	put_checked(folder, now_s, out);
	put_cached(folder, out);
	put_pinned(folder, out);
	str_printf(out, "%s\n", str_cstr(&shown));
}

/* Of a hundred folders most were never opened, and nothing can be said of them. */
static bool is_worth_a_line(const json_t *folder)
{
	return is_true(folder, "known") || is_true(folder, "folder_pinned") ||
	       text_of(folder, "error");
}

static void put_folders(
	const json_t *status, bool verbose, int64_t now_s, bool terminal, struct str *out)
{
	const json_t *folders = json_object_get(status, "folders");
	size_t count = json_array_size(folders), left_out = 0;

	for (size_t i = 0, shown = 0; i < count; i++) {
		const json_t *folder = json_array_get(folders, i);
		if (!verbose && count > 1 && !is_worth_a_line(folder)) {
			left_out++;
			continue;
		}
		if (shown++ == 0)
			str_printf(out, "\n%8s  %8s  %12s  %20s  %16s  %s\n", "MESSAGES", "UNSEEN",
				"CHECKED", "CACHED", "PINNED", "FOLDER");
		put_folder(folder, now_s, terminal, out);
	}
	if (left_out == 0)
		return;
	str_append_cstr(out, "\n");
	put_plural(left_out, "folder", out);
	str_append_cstr(out, " never opened; -v shows them\n");
}

static void put_message(const json_t *status, bool terminal, struct str *out)
{
	const json_t *message = json_object_get(status, "message");
	const char *path = text_of(message, "path");
	if (!path)
		return;
	begin_line("message", out);
	ctl_text_path(path, terminal, out);
	str_append_cstr(out, is_true(message, "pinned") ? ", pinned\n" : ", not pinned\n");
}

void ctl_text_status(
	const json_t *status, bool verbose, int64_t now_s, bool terminal, struct str *out)
{
	const char *source = text_of(status, "source"), *where = text_of(status, "mountpoint");

	ctl_text_safe(source ? source : "", out);
	str_append_cstr(out, " on ");
	ctl_text_path(where ? where : "", terminal, out);
	str_putc(out, '\n');
	put_connection(status, now_s, out);
	put_push(status, out);
	put_server(status, out);
	put_traffic(status, out);
	put_jobs(status, out);
	put_store(status, out);
	put_pinning(status, out);
	put_message(status, terminal, out);
	put_folders(status, verbose, now_s, terminal, out);
}

/* --- Events --- */

void ctl_text_event(const json_t *event, bool terminal, struct str *out)
{
	const char *time = text_of(event, "time"), *kind = text_of(event, "event");
	const char *path = text_of(event, "path"), *former = text_of(event, "former");
	const char *flags = text_of(event, "flags"), *trouble = text_of(event, "trouble");

	ctl_text_safe(time ? time : "-", out);
	str_putc(out, ' ');
	ctl_text_safe(kind ? kind : "-", out);
	if (former) {
		str_putc(out, ' ');
		ctl_text_path(former, terminal, out);
		str_append_cstr(out, " \xe2\x86\x92");
	}
	if (path) {
		str_putc(out, ' ');
		ctl_text_path(path, terminal, out);
	}
	/* A path has no tab, so that what is behind it can be told from it. */
	if (flags && kind && strcmp(kind, "flags") == 0) {
		str_putc(out, '\t');
		ctl_text_safe(*flags ? flags : "-", out);
	}
	if (trouble) {
		str_putc(out, ' ');
		ctl_text_safe(trouble, out);
	}
	str_putc(out, '\n');
}
