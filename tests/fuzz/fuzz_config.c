/* SPDX-License-Identifier: MIT */
/*
 * What a person writes, or a script for him: the first byte says what the rest is. c: a config file; u: an address; o: a list of options; n: a netrc;
 * a: a command line, an argument for each line.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "args.h"
#include "config.h"
#include "fuzz.h"
#include "netrc.h"
#include "url.h"

#define ARGS_MAX 32

/* A refusal says why, in one line where the text is one. */
static void check_why(int r, const struct str *why, const char *text)
{
	FUZZ_CHECK(r <= 0);
	FUZZ_CHECK(r == 0 || r == -ENOMEM || why->len > 0);
	FUZZ_CHECK(!memchr(str_cstr(why), '\n', why->len) || strchr(text, '\n'));
}

static void run_url(const char *text)
{
	_cleanup_str_ struct str why = STR_INIT;
	struct url url;
	int r = url_parse(text, &url, &why);
	check_why(r, &why, text);
	if (r < 0)
		return;
	FUZZ_CHECK(url.host && url.host[0] && url_is_address(text));
	FUZZ_CHECK(!url.folder || (url.folder[0] && url.folder[0] != '/' &&
					  url.folder[strlen(url.folder) - 1] != '/'));
	FUZZ_CHECK(!url.folder || !url_is_pop3(url.scheme));
	url_finish(&url);
}

static void run_options(const char *text)
{
	_cleanup_str_ struct str why = STR_INIT;
	struct options options;
	options_init(&options);
	check_why(options_parse(&options, text, &why), &why, text);
	FUZZ_CHECK(options.connections >= 1 && options.connections <= 16);
	options_finish(&options);
}

static void run_netrc(char *text)
{
	struct netrc_entry entry = {0};
	char *second = strdup(text);
	size_t len = strlen(text);
	FUZZ_CHECK(second);
	int r = netrc_find(text, "imap.example.org", "alice", &entry);
	FUZZ_CHECK(r == 0 || r == -ENOENT);
	if (r == 0 && entry.password)
		FUZZ_CHECK(entry.password >= text && entry.password <= text + len);
	if (r == 0)
		FUZZ_CHECK(!entry.login || strcmp(entry.login, "alice") == 0);
	netrc_entry_finish(&entry);
	entry = (struct netrc_entry){0};
	r = netrc_find(second, "imap.example.org", NULL, &entry);
	FUZZ_CHECK(r == 0 || r == -ENOENT);
	netrc_entry_finish(&entry);
	free(second);
}

static void run_config(struct fuzz_input in)
{
	_cleanup_str_ struct str why = STR_INIT;
	struct options options;
	char path[64], *source = NULL;
	int fd = memfd_create("config", MFD_CLOEXEC);
	FUZZ_CHECK(fd >= 0 && fchmod(fd, 0600) == 0);
	FUZZ_CHECK(write(fd, in.data, in.len) == (ssize_t)in.len);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	options_init(&options);
	int r = config_load(path, "home", &options, &source, &why);
	check_why(r, &why, "");
	FUZZ_CHECK(r < 0 ? !source : source != NULL);
	if (r == 0)
		run_url(source);
	options_finish(&options);
	free(source);
	close(fd);
}

static void run_args(struct fuzz_input in)
{
	_cleanup_str_ struct str why = STR_INIT;
	char *argv[ARGS_MAX + 1] = {strdup("mailfs")};
	struct args args = {0};
	int argc = 1;
	while (in.len > 0 && argc < ARGS_MAX)
		argv[argc++] = fuzz_copy(fuzz_until(&in, '\n'));
	int r = args_parse(&args, argc, argv, &why);
	check_why(r, &why, "");
	if (r == 0)
		FUZZ_CHECK(args.help || args.version || (args.source && args.mountpoint));
	args_finish(&args);
	for (int i = 0; i < argc; i++)
		free(argv[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	uint8_t what = fuzz_byte(&in);
	char *text = fuzz_copy(in);
	if (what == 'c')
		run_config(in);
	else if (what == 'u')
		run_url(text);
	else if (what == 'o')
		run_options(text);
	else if (what == 'n')
		run_netrc(text);
	else if (what == 'a')
		run_args(in);
	free(text);
	return 0;
}
