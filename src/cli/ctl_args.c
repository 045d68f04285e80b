/* SPDX-License-Identifier: MIT */
/* mailfsctl COMMAND [OPTION]... PATH...; `cache clear' is one command of two words. */
#include <getopt.h>
#include <string.h>

#include "ctl.h"

static int fail(struct str *why, const char *what, const char *subject)
{
	str_printf(why, "%s%s; mailfsctl --help tells what can be asked", what, subject);
	return CTL_EXIT_USAGE;
}

static int parse_flags(struct ctl_args *args, int argc, char **argv, struct str *why)
{
	static const struct option longs[] = {{"help", no_argument, NULL, 'h'},
		{"version", no_argument, NULL, 'V'}, {"json", no_argument, NULL, 'j'},
		{"verbose", no_argument, NULL, 'v'}, {"no-wait", no_argument, NULL, 'n'}, {0}};
	int c;

	opterr = 0;
	optind = 0; /* glibc: start anew */
	while ((c = getopt_long(argc, argv, "hVv", longs, NULL)) != -1) {
		char letter[] = {'-', (char)optopt, 0};
		if (c == 'h')
			args->help = true;
		else if (c == 'V')
			args->version = true;
		else if (c == 'j')
			args->json = true;
		else if (c == 'v')
			args->verbose = true;
		else if (c == 'n')
			args->no_wait = true;
		else
			return fail(why, "unknown option ", optopt ? letter : argv[optind - 1]);
	}
	return CTL_EXIT_OK;
}

static const struct command {
	const char *name;
	bool json, verbose, no_wait, many;
} commands[] = {
	{"status", .json = true, .verbose = true},
	{"watch", .json = true},
	{"pin", .no_wait = true, .many = true},
	{"unpin", .many = true},
	{"refresh", .many = false},
	{"cache clear", .many = false},
};

static const struct command *find(const char *name)
{
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return &commands[i];
	return NULL;
}

/* Takes the words of the command, and leaves the paths. */
static const struct command *take_command(struct ctl_args *args)
{
	bool cache = strcmp(args->paths[0], "cache") == 0;
	if (cache && (args->path_count < 2 || strcmp(args->paths[1], "clear") != 0))
		return NULL;
	const struct command *command = find(cache ? "cache clear" : args->paths[0]);
	args->paths += cache ? 2 : 1;
	args->path_count -= cache ? 2 : 1;
	return command;
}

static int check(const struct ctl_args *args, const struct command *command, struct str *why)
{
	const char *option = args->json && !command->json         ? "--json"
	                     : args->verbose && !command->verbose ? "--verbose"
	                     : args->no_wait && !command->no_wait ? "--no-wait"
	                                                          : NULL;
	if (option) {
		str_printf(why, "%s has no option ", command->name);
		return fail(why, option, "");
	}
	if (args->path_count == 0) {
		str_printf(why, "%s: ", command->name);
		return fail(why, "a PATH in a mounted mailbox is missing", "");
	}
	if (args->path_count > 1 && !command->many)
		return fail(why, "one PATH too many: ", args->paths[1]);
	return CTL_EXIT_OK;
}

int ctl_args_parse(struct ctl_args *args, int argc, char **argv, struct str *why)
{
	*args = (struct ctl_args){0};
	int code = parse_flags(args, argc, argv, why);
	if (code != CTL_EXIT_OK || args->help || args->version)
		return code;
	args->paths = argv + optind;
	args->path_count = (size_t)(argc - optind);
	if (args->path_count == 0)
		return fail(why, "a command is missing", "");
	const char *word = args->paths[0];
	const struct command *command = take_command(args);
	if (!command)
		return fail(why, "unknown command ", word);
	args->command = command->name;
	return check(args, command, why);
}
