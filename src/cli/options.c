/* SPDX-License-Identifier: MIT */
/*
 * The table of options, and the setters that its rows point to. A row is all that an option needs to be
 * parsed, limited and explained in --help; the man page is held against the same table by a test.
 */
#include "options.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "home.h"
#include "mailfs/util/cleanup.h"

#define OFFLINE_DAYS_MAX 36500
#define CACHE_BYTES      (UINT64_C(10) << 30)
#define AFTER_DAYS_MAX   36500

struct request {
	struct options *options;
	const char *name, *value; /* value NULL: given without = */
	enum option_origin origin;
	struct str *why;
};

struct row;
typedef int setter_fn(const struct row *row, const struct request *request);

/* The words that a choice can have, and the number that is stored for each. */
struct choice {
	const char *word;
	unsigned value;
};

struct row {
	const char *name;
	setter_fn *set;
	size_t offset;     /* of the member in struct options */
	unsigned min, max; /* of a number */
	bool flag;         /* what a flag stores when it is given */
	const struct choice *choices;
	const char *value; /* how --help names the value; NULL: takes none */
	const char *help;  /* NULL: not explained in --help */
};

static setter_fn set_flag, set_text, set_path, set_number, set_choice, set_tls, set_after,
	set_octal, set_fingerprint, set_user_id, set_group_id, set_nothing, set_size, set_offline,
	set_compress, refuse_password;

static const struct choice views_choices[] = {{"hidden", false}, {"listed", true}, {0}};
static const struct choice uidl_choices[] = {{"server", false}, {"hash", true}, {0}};
static const struct choice on_choices[] = {{"on", true}, {"off", false}, {0}};

/* clang-format off */
#define AT(member) offsetof(struct options, member)
#define OPTION(word, setter, shown, text, ...) \
	{.name = word, .set = setter, .value = shown, .help = text, __VA_ARGS__}
#define FLAG(word, member, given, text) \
	OPTION(word, set_flag, NULL, text, .offset = AT(member), .flag = given)
#define TEXT(word, member, shown, text)  OPTION(word, set_text, shown, text, .offset = AT(member))
#define PATH(word, member, shown, text)  OPTION(word, set_path, shown, text, .offset = AT(member))
#define NUMBER(word, member, least, most, shown, text) \
	OPTION(word, set_number, shown, text, .offset = AT(member), .min = least, .max = most)
#define CHOICE(word, member, words, shown, text) \
	OPTION(word, set_choice, shown, text, .offset = AT(member), .choices = words)
#define OTHER(word, setter, shown, text) OPTION(word, setter, shown, text, .offset = 0)
#define IGNORED(word)                    OPTION(word, set_nothing, NULL, NULL, .offset = 0)

static const struct row rows[] = {
	FLAG("ro", readonly, true, "read-only, on the server too (EXAMINE)"),
	FLAG("rw", readonly, false, "the default; writing is not there yet, it fails with EROFS"),
	TEXT("names", names, "TEMPLATE", "names of messages: %Y %m %d %H %M %f %s %u, or uid"),
	CHOICE("views", views_listed, views_choices, "listed|hidden", "whether ls -a shows .parts (hidden)"),
	NUMBER("refresh", refresh_s, 0, 86400, "SECONDS", "how old a listing may get before ls asks again (30)"),
	NUMBER("timeout", timeout_s, 1, 3600, "SECONDS", "after which an operation fails (30)"),
	NUMBER("connections", connections, 1, 16, "N", "connections to the server at most (4)"),
	NUMBER("watchdog", watchdog_s, 5, 3600, "SECONDS", "IMAP: after which a silent connection counts as dead (300)"),
	OTHER("cache_size", set_size, "SIZE", "IMAP: how much mail is kept here, in bytes, K, M, G or T (10G)"),
	OTHER("compress", set_compress, "auto|on|off", "IMAP: deflate what goes over the line: where it is slow (auto)"),
	OTHER("offline", set_offline, "all|DAYSd|FOLDER,...", "IMAP: what is downloaded, to be read without the server"),
	OTHER("after", set_after, "keep|delete[:DAYS]", "POP3: what becomes of downloaded mail on the server (keep)"),
	FLAG("background", background, true, "POP3: return when the mail is listed, download then"),
	NUMBER("poll", poll_s, 0, 86400, "SECONDS", "POP3: how often to look for new mail (0: at the start only)"),
	CHOICE("uidl", uidl_hash, uidl_choices, "server|hash", "POP3: how messages are told apart (server)"),
	TEXT("user", user, "NAME", "user name, instead of the one in SOURCE"),
	TEXT("password_command", password_command, "COMMAND", "shell command that prints the password"),
	PATH("password_file", password_file, "FILE", "file with the password, readable by its owner only"),
	TEXT("token_command", token_command, "COMMAND", "shell command that prints an OAuth 2 access token"),
	OTHER("tls", set_tls, "implicit|starttls|none", "instead of what the scheme of SOURCE says"),
	PATH("tls_ca", tls_ca, "FILE|DIR", "certificates to trust instead of the system's"),
	OTHER("tls_fingerprint", set_fingerprint, "sha256:HEX", "trust this server certificate and no other"),
	OTHER("uid", set_user_id, "ID", "owner of the files (you)"),
	OTHER("gid", set_group_id, "ID", "group of the files (yours)"),
	OTHER("umask", set_octal, "OCTAL", "permission bits to leave out (077)"),
	FLAG("allow_other", allow_other, true, "other users may enter the mount"),
	PATH("cache_dir", cache_dir, "DIR", "where what was fetched is kept (~/.cache/mailfs)"),
	PATH("state_dir", state_dir, "DIR", "where POP3 mail is kept for good (~/.local/state/mailfs)"),
	CHOICE("inotify", inotify, on_choices, "on|off", "tell programs that watch a folder of new mail (on)"),
	CHOICE("sandbox", sandbox, on_choices, "on|off", "give up all rights but those that are needed (on)"),
	TEXT("fsname", fsname, "NAME", "what df and mount show (SOURCE)"),
	FLAG("debug", debug, true, "as -d"),

	OPTION("password", refuse_password, NULL, NULL, .offset = 0),
	/* What mount(8), fstab and systemd pass on to every file system. */
	IGNORED("defaults"), IGNORED("auto"), IGNORED("noauto"), IGNORED("user"), IGNORED("nouser"),
	IGNORED("users"), IGNORED("owner"), IGNORED("group"), IGNORED("nofail"), IGNORED("_netdev"),
	IGNORED("dev"), IGNORED("nodev"), IGNORED("suid"), IGNORED("nosuid"), IGNORED("exec"),
	IGNORED("noexec"), IGNORED("atime"), IGNORED("noatime"), IGNORED("diratime"),
	IGNORED("nodiratime"), IGNORED("relatime"), IGNORED("norelatime"), IGNORED("strictatime"),
	IGNORED("nostrictatime"), IGNORED("lazytime"), IGNORED("nolazytime"), IGNORED("sync"),
	IGNORED("async"), IGNORED("dirsync"), IGNORED("comment"), IGNORED("subtype"),
};
/* clang-format on */

static const char *const pop3_only[] = {"after", "background", "poll", "uidl"};
static const char *const imap_only[] = {"watchdog", "cache_size", "offline", "compress"};

void options_init(struct options *options)
{
	*options = (struct options){
		.refresh_s = 30,
		.timeout_s = 30,
		.connections = 4,
		.watchdog_s = 300,
		.cache_bytes = CACHE_BYTES,
		.uid = getuid(),
		.gid = getgid(),
		.umask = 077,
		.inotify = true,
		.sandbox = true,
	};
}

void options_finish(struct options *options)
{
	free(options->names);
	free(options->user);
	free(options->password_command);
	free(options->password_file);
	free(options->token_command);
	free(options->tls_ca);
	free(options->cache_dir);
	free(options->state_dir);
	free(options->fsname);
	for (size_t i = 0; i < options->offline_count; i++)
		free(options->offline_folders[i]);
	free(options->offline_folders);
	*options = (struct options){0};
}

static void *member(const struct row *row, const struct request *request)
{
	return (char *)request->options + row->offset;
}

static int bad_value(const struct request *request, const char *expected)
{
	str_printf(request->why, "option %s=%s: %s", request->name,
		request->value ? request->value : "", expected);
	return -EINVAL;
}

static int set_nothing(const struct row *row, const struct request *request)
{
	(void)row;
	(void)request;
	return 0;
}

static int refuse_password(const struct row *row, const struct request *request)
{
	(void)row;
	str_append_cstr(request->why,
		"option password=: refused, for others could read it (ps, mount); use "
		"password_command= or password_file=");
	return -EINVAL;
}

/* A flag stands alone in -o, and as `flag = yes` in the config file, whose lines all have a value. */
static int set_flag(const struct row *row, const struct request *request)
{
	bool yes = !request->value || strcmp(request->value, "yes") == 0;

	if (!yes && strcmp(request->value, "no") != 0)
		return bad_value(request, "it takes no value (in the config file: yes or no)");
	*(bool *)member(row, request) = yes == row->flag;
	return 0;
}

static int replace(char **text, char *value)
{
	if (!value)
		return -ENOMEM;
	free(*text);
	*text = value;
	return 0;
}

static int set_text(const struct row *row, const struct request *request)
{
	const unsigned char *c = (const unsigned char *)request->value;

	while (*c >= 0x20 && *c != 0x7f)
		c++;
	if (*c || c == (const unsigned char *)request->value)
		return bad_value(request, "a value without control characters must follow the =");
	return replace(member(row, request), strdup(request->value));
}

static int set_path(const struct row *row, const struct request *request)
{
	const char *value = request->value;

	if (!*value)
		return bad_value(request, "a path must follow the =");
	if (request->origin == OPTION_ORIGIN_CONFIG && *value != '/' &&
		strncmp(value, "~/", 2) != 0)
		return bad_value(request, "a path in the config file begins with / or ~/");
	return replace(member(row, request), home_expand(value));
}

/* A number without sign or blank; false: it is none, or over max. */
static bool parse_number(const char *text, int base, unsigned long max, unsigned long *ret)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*ret = strtoul(text, &end, base);
	return errno == 0 && !*end && *ret <= max;
}

static int set_number(const struct row *row, const struct request *request)
{
	unsigned long number;

	if (!parse_number(request->value, 10, row->max, &number) || number < row->min) {
		char expected[64];
		snprintf(expected, sizeof(expected), "a number from %u to %u is expected", row->min,
			row->max);
		return bad_value(request, expected);
	}
	*(unsigned *)member(row, request) = (unsigned)number;
	return 0;
}

static int set_octal(const struct row *row, const struct request *request)
{
	unsigned long number;

	(void)row;
	if (!parse_number(request->value, 8, 0777, &number))
		return bad_value(request, "an octal number up to 777 is expected");
	request->options->umask = (mode_t)number;
	return 0;
}

/* The choice that the value names; NULL, and why says what there is, when it names none. */
static const struct choice *choose(
	const struct choice *choices, const struct row *row, const struct request *request)
{
	for (const struct choice *choice = choices; choice->word; choice++)
		if (strcmp(choice->word, request->value) == 0)
			return choice;
	str_printf(request->why, "option %s=%s: one of %s is expected", row->name, request->value,
		row->value);
	return NULL;
}

static int set_choice(const struct row *row, const struct request *request)
{
	const struct choice *choice = choose(row->choices, row, request);
	if (!choice)
		return -EINVAL;
	*(bool *)member(row, request) = choice->value;
	return 0;
}

static int set_tls(const struct row *row, const struct request *request)
{
	static const struct choice choices[] = {{"implicit", OPTION_TLS_IMPLICIT},
		{"starttls", OPTION_TLS_STARTTLS}, {"none", OPTION_TLS_NONE}, {0}};
	const struct choice *choice = choose(choices, row, request);
	if (!choice)
		return -EINVAL;
	request->options->tls = (enum option_tls)choice->value;
	return 0;
}

static int set_compress(const struct row *row, const struct request *request)
{
	static const struct choice choices[] = {{"auto", SYNC_COMPRESS_AUTO},
		{"on", SYNC_COMPRESS_ON}, {"off", SYNC_COMPRESS_OFF}, {0}};
	const struct choice *choice = choose(choices, row, request);
	if (!choice)
		return -EINVAL;
	request->options->compress = (enum sync_compress)choice->value;
	return 0;
}

/* delete or delete:DAYS; false: it is neither. */
static bool parse_delete(const char *text, unsigned long *ret_days)
{
	static const char word[] = "delete";

	*ret_days = 0;
	if (strncmp(text, word, sizeof(word) - 1) != 0)
		return false;
	text += sizeof(word) - 1;
	return !*text || (*text == ':' && parse_number(text + 1, 10, AFTER_DAYS_MAX, ret_days));
}

static int set_after(const struct row *row, const struct request *request)
{
	unsigned long days;
	bool deletes = parse_delete(request->value, &days);

	(void)row;
	if (!deletes && strcmp(request->value, "keep") != 0)
		return bad_value(
			request, "keep, delete or delete:DAYS with up to 36500 days is expected");
	request->options->after_delete = deletes;
	request->options->after_days = (unsigned)days;
	return 0;
}

/* Digits, and perhaps one letter: K, M, G, T, each 1024 times the one before. false: it is something else, or too much. */
static bool parse_size(const char *text, uint64_t *ret)
{
	static const char units[] = "KMGT";
	unsigned long long number;
	const char *unit;
	unsigned shift = 0;
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	number = strtoull(text, &end, 10);
	unit = *end ? strchr(units, toupper((unsigned char)*end)) : NULL;
	if (unit)
		shift = 10 * (unsigned)(unit - units + 1);
	if (errno != 0 || (*end && (!unit || end[1])) || number > (uint64_t)INT64_MAX >> shift)
		return false;
	*ret = (uint64_t)number << shift;
	return true;
}

static int set_size(const struct row *row, const struct request *request)
{
	(void)row;
	if (!parse_size(request->value, &request->options->cache_bytes))
		return bad_value(
			request, "a number is expected, of bytes or with K, M, G or T behind it");
	return 0;
}

/* The length of the member of the list that begins at text; appended to out without its backslashes. */
static size_t next_member(const char *text, struct str *out)
{
	size_t i = 0;

	for (; text[i] && text[i] != ','; i++) {
		if (text[i] == '\\' && text[i + 1])
			i++;
		str_putc(out, text[i]);
	}
	return i;
}

/* all, or days and a d, or a folder, which may begin with a slash so that it is not taken for one of those. */
static int add_offline(struct options *options, const char *member, const struct request *request)
{
	size_t digits = strspn(member, "0123456789");
	unsigned long days;

	if (strcmp(member, "all") == 0) {
		options->offline_all = true;
		return 0;
	}
	if (digits > 0 && strcmp(member + digits, "d") == 0) {
		char number[16];
		snprintf(number, sizeof(number), "%.*s", digits < 15 ? (int)digits : 15, member);
		if (!parse_number(number, 10, OFFLINE_DAYS_MAX, &days) || days == 0)
			return bad_value(request, "from 1d to 36500d is expected");
		if (days > options->offline_days)
			options->offline_days = (unsigned)days;
		return 0;
	}
	int r = array_grow(&options->offline_folders, &options->offline_cap,
		options->offline_count + 1, sizeof(*options->offline_folders));
	char *folder = r == 0 ? strdup(member) : NULL;
	if (!folder)
		return -ENOMEM;
	options->offline_folders[options->offline_count++] = folder;
	return 0;
}

/* Removes blanks at both ends: a config file has them behind its commas. */
static void trim(struct str *s)
{
	size_t begin = s->len > 0 ? strspn(s->data, " \t") : 0;
	while (s->len > begin && strchr(" \t", s->data[s->len - 1]))
		str_truncate(s, s->len - 1);
	if (begin == 0)
		return;
	memmove(s->data, s->data + begin, s->len - begin);
	str_truncate(s, s->len - begin);
}

/* Given again, it adds to what was given before. */
static int set_offline(const struct row *row, const struct request *request)
{
	_cleanup_str_ struct str member = STR_INIT;
	const char *rest = request->value;
	int r = 0;

	(void)row;
	if (!*rest)
		return bad_value(request, "all, DAYSd or folders are expected");
	while (*rest && r == 0) {
		str_reset(&member);
		rest += next_member(rest, &member);
		rest += *rest ? 1 : 0;
		trim(&member);
		if (str_error(&member) < 0)
			return -ENOMEM;
		if (member.len > 0)
			r = add_offline(request->options, member.data, request);
	}
	return r;
}

bool options_fingerprint(const char *text, unsigned char out[OPTION_FINGERPRINT_BYTES])
{
	size_t digits = 0;

	if (strncasecmp(text, "sha256:", 7) != 0)
		return false;
	for (text += 7; *text; text++) {
		if (*text == ':' && digits % 2 == 0 && digits > 0 && text[1])
			continue;
		if (!isxdigit((unsigned char)*text) || digits == 2 * OPTION_FINGERPRINT_BYTES)
			return false;
		unsigned value =
			(unsigned)(isdigit((unsigned char)*text) ? *text - '0'
								 : (*text | 0x20) - 'a' + 10);
		unsigned char *byte = &out[digits / 2];
		*byte = (unsigned char)(digits % 2 == 0 ? value << 4 : *byte | value);
		digits++;
	}
	return digits == 2 * OPTION_FINGERPRINT_BYTES;
}

static int set_fingerprint(const struct row *row, const struct request *request)
{
	unsigned char fingerprint[OPTION_FINGERPRINT_BYTES];

	(void)row;
	if (!options_fingerprint(request->value, fingerprint))
		return bad_value(
			request, "sha256: and 64 hex digits are expected (colons are allowed)");
	memcpy(request->options->fingerprint, fingerprint, sizeof(fingerprint));
	request->options->has_fingerprint = true;
	return 0;
}

static int set_user_id(const struct row *row, const struct request *request)
{
	unsigned long id;

	(void)row;
	if (!parse_number(request->value, 10, (uid_t)-2, &id)) {
		const struct passwd *entry = getpwnam(request->value);
		if (!entry)
			return bad_value(request, "there is no such user");
		id = entry->pw_uid;
	}
	request->options->uid = (uid_t)id;
	return 0;
}

static int set_group_id(const struct row *row, const struct request *request)
{
	unsigned long id;

	(void)row;
	if (!parse_number(request->value, 10, (gid_t)-2, &id)) {
		const struct group *entry = getgrnam(request->value);
		if (!entry)
			return bad_value(request, "there is no such group");
		id = entry->gr_gid;
	}
	request->options->gid = (gid_t)id;
	return 0;
}

/* user is two options: user=NAME is ours, the bare word is fstab's. */
static const struct row *find(const char *name, bool has_value)
{
	const struct row *found = NULL;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (strcmp(rows[i].name, name) != 0)
			continue;
		if (!found || (found->value && !has_value))
			found = &rows[i];
	}
	return found;
}

/* x-systemd.automount, x-gvfs-show, … are for those who read fstab. */
static bool is_for_others(const char *name)
{
	return strncmp(name, "x-", 2) == 0 || strncmp(name, "X-", 2) == 0;
}

int options_set(struct options *options, const char *name, const char *value,
	enum option_origin origin, struct str *why)
{
	const struct row *row = find(name, value);
	struct request request = {options, name, value, origin, why};

	if (!row && is_for_others(name))
		return 0;
	if (!row) {
		str_printf(why, "unknown option `%s'; mailfs --help lists them", name);
		return -EINVAL;
	}
	if (row->value && !value) {
		str_printf(why, "option %s needs a value: %s=%s", name, name, row->value);
		return -EINVAL;
	}
	for (size_t i = 0; i < sizeof(pop3_only) / sizeof(*pop3_only); i++)
		if (strcmp(row->name, pop3_only[i]) == 0)
			options->pop3_only = row->name;
	for (size_t i = 0; i < sizeof(imap_only) / sizeof(*imap_only); i++)
		if (strcmp(row->name, imap_only[i]) == 0)
			options->imap_only = row->name;
	return row->set(row, &request);
}

int options_parse(struct options *options, const char *list, struct str *why)
{
	_cleanup_str_ struct str item = STR_INIT;
	int r = 0;

	while (*list && r == 0) {
		str_reset(&item);
		list += next_member(list, &item);
		if (*list == ',')
			list++;
		if (str_error(&item) < 0)
			return -ENOMEM;
		if (item.len == 0)
			continue;
		char *value = strchr(item.data, '=');
		if (value)
			*value++ = 0;
		r = options_set(options, item.data, value, OPTION_ORIGIN_COMMAND, why);
	}
	return r;
}

void options_help(FILE *out)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char left[64];
		if (!rows[i].help)
			continue;
		snprintf(left, sizeof(left), "%s%s%s", rows[i].name, rows[i].value ? "=" : "",
			rows[i].value ? rows[i].value : "");
		fprintf(out, "  %-28s %s\n", left, rows[i].help);
	}
}
