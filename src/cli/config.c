/* SPDX-License-Identifier: MIT */
/*
 * The config file, by libinih. inih is told about one line at a time by a reader of ours, which counts
 * the lines, so that a mistake can be named with its line; takes the indentation away, which inih would
 * take for the continuation of the line before; and finds what inih would cut silently: long lines and long names.
 */
#include "config.h"

#include <ctype.h>
#include <errno.h>
#include <ini.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mailfs/util/cleanup.h"
#include "url.h"

#define NAME_MAX_BYTES 49 /* inih cuts the names of sections and keys after that many bytes */

struct reading {
	FILE *file;
	const char *path, *account;
	unsigned line;
	struct options *options, scratch; /* scratch: of sections that are not asked for */
	char *source;
	char section[NAME_MAX_BYTES + 1]; /* the section of the keys in `keys` */
	struct str keys;                  /* "\nkey\n…": those that this section had so far */
	bool found;
	int err;
	struct str *why;
};

static void reading_finish(struct reading *reading)
{
	if (reading->file)
		fclose(reading->file);
	options_finish(&reading->scratch);
	str_finish(&reading->keys);
	free(reading->source);
}

static int fail(struct reading *reading, int err, const char *reason)
{
	if (reading->err < 0)
		return 0;
	reading->err = err;
	str_printf(reading->why, "%s:%u: %s", reading->path, reading->line, reason);
	return 0;
}

/* What inih would cut or ignore without a word. */
static const char *line_fault(const char *line)
{
	if (*line == '[') {
		size_t len = strcspn(line, "]");
		if (line[len] != ']')
			return "the ] after the account's name is missing";
		return len > 1 && len - 1 <= NAME_MAX_BYTES ? NULL
		                                            : "an account's name has 1 to 49 bytes";
	}
	if (!*line || *line == '#' || *line == ';')
		return NULL;
	return strcspn(line, "=:") < NAME_MAX_BYTES && line[strcspn(line, "=:")]
	               ? NULL
	               : "neither [ACCOUNT] nor OPTION = VALUE";
}

/* Reads one line as inih's reader must: at most size - 1 bytes, NULL at the end of the file, or to stop. */
static char *next_line(char *buf, int size, void *stream)
{
	struct reading *reading = stream;

	if (reading->err < 0 || !fgets(buf, size, reading->file))
		return NULL;
	reading->line++;
	size_t len = strlen(buf);
	if (len + 1 == (size_t)size && buf[len - 1] != '\n') {
		fail(reading, -EINVAL, "the line is too long");
		return NULL;
	}
	while (len > 0 && isspace((unsigned char)buf[len - 1]))
		buf[--len] = 0;
	size_t blanks = strspn(buf, " \t");
	memmove(buf, buf + blanks, len - blanks + 1);
	const char *fault = line_fault(buf);
	if (fault)
		fail(reading, -EINVAL, fault);
	return fault ? NULL : buf;
}

/* Remembers that the section has this key; false: it had it already. */
static bool first_time(struct reading *reading, const char *section, const char *key)
{
	char entry[NAME_MAX_BYTES + 3];

	if (strcmp(section, reading->section) != 0) {
		snprintf(reading->section, sizeof(reading->section), "%s", section);
		str_reset(&reading->keys);
		str_putc(&reading->keys, '\n');
	}
	snprintf(entry, sizeof(entry), "\n%s\n", key);
	if (strstr(str_cstr(&reading->keys), entry))
		return false;
	str_append_cstr(&reading->keys, entry + 1);
	return true;
}

static int take_source(struct reading *reading, const char *value, bool wanted)
{
	if (!url_is_address(value))
		return fail(reading, -EINVAL,
			"source= must be an address: imaps://[USER@]HOST[:PORT][/FOLDER], or pop3s://[USER@]HOST[:PORT]");
	if (!wanted)
		return 1;
	reading->source = strdup(value);
	return reading->source ? 1 : fail(reading, -ENOMEM, strerror(ENOMEM));
}

/* inih's handler: nonzero to go on. */
static int take_key(void *arg, const char *section, const char *key, const char *value)
{
	struct reading *reading = arg;
	bool wanted = strcmp(section, reading->account) == 0;
	_cleanup_str_ struct str reason = STR_INIT;

	if (!*section)
		return fail(
			reading, -EINVAL, "an [ACCOUNT] line must stand before the first option");
	/* What it said first would be mixed with what it says now. */
	if (wanted && reading->found && strcmp(section, reading->section) != 0) {
		str_printf(&reason, "[%s] stands twice", section);
		return fail(reading, -EINVAL, str_cstr(&reason));
	}
	reading->found |= wanted;
	if (!first_time(reading, section, key)) {
		str_printf(&reason, "%s is set twice", key);
		return fail(reading, -EINVAL, str_cstr(&reason));
	}
	if (strcmp(key, "source") == 0)
		return take_source(reading, value, wanted);
	struct options *options = wanted ? reading->options : &reading->scratch;
	int r = options_set(options, key, value, OPTION_ORIGIN_CONFIG, &reason);
	return r < 0 ? fail(reading, r, str_cstr(&reason)) : 1;
}

static int check_permissions(struct reading *reading)
{
	struct stat st;

	if (fstat(fileno(reading->file), &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode)) {
		str_printf(reading->why, "%s: not a regular file", reading->path);
		return -EINVAL;
	}
	if (st.st_uid != geteuid() && st.st_uid != 0) {
		str_printf(reading->why,
			"%s: belongs to another user; its commands will not be run", reading->path);
		return -EPERM;
	}
	if (st.st_mode & (S_IWGRP | S_IWOTH)) {
		str_printf(reading->why,
			"%s: others can write to it (mode %04o), and it can name commands to run; chmod 600 %s",
			reading->path, st.st_mode & 07777, reading->path);
		return -EPERM;
	}
	return 0;
}

static int parse(struct reading *reading)
{
#ifdef MAILFS_INI_MAX_LINE
	/* Debian's inih lets the limit of 200 bytes be raised at run time; a password command may be longer. */
	ini_use_stack = false;
	ini_max_line = 4096;
	ini_initial_alloc = 4096;
#endif
	int line = ini_parse_stream(next_line, reading, take_key, reading);
	if (reading->err == 0 && ferror(reading->file))
		return fail(reading, -EIO, strerror(EIO)), -EIO;
	if (reading->err == 0 && line == -2) /* inih had no memory */
		return -ENOMEM;
	if (reading->err == 0 && line != 0) {
		reading->line = line > 0 ? (unsigned)line : reading->line;
		fail(reading, -EINVAL, "neither [ACCOUNT] nor OPTION = VALUE");
	}
	return reading->err;
}

int config_load(const char *path, const char *account, struct options *options, char **ret_source,
	struct str *why)
{
	__attribute__((cleanup(reading_finish))) struct reading reading = {
		.file = fopen(path, "re"),
		.path = path,
		.account = account,
		.options = options,
		.why = why};

	if (!reading.file) {
		int err = -errno;
		str_printf(why,
			"`%s' is not an address (imaps://…, pop3s://…), and the config file %s: %s",
			account, path, strerror(-err));
		return err;
	}
	int r = check_permissions(&reading);
	if (r < 0)
		return r;
	options_init(&reading.scratch);
	r = parse(&reading);
	if (r < 0)
		return r;
	if (!reading.found) {
		str_printf(why, "%s has no account [%s] (an address begins with " URL_SCHEMES ")",
			path, account);
		return -ENOENT;
	}
	if (!reading.source) {
		str_printf(why, "%s: the account [%s] has no source=", path, account);
		return -EINVAL;
	}
	*ret_source = steal_ptr(reading.source);
	return 0;
}
