/* SPDX-License-Identifier: MIT */
/* What mount(8) passes to helpers without a meaning for us (-n, -s, -v, -t TYPE) is taken and dropped. */
#include "args.h"

#include <errno.h>
#include <getopt.h>
#include <string.h>

void args_finish(struct args *args)
{
	str_finish(&args->options);
}

static int fail(struct str *why, const char *what, const char *subject)
{
	str_printf(why,
		"%s%s; usage: mailfs SOURCE MOUNTPOINT [-o OPTION,...] [-f] [-d], mailfs --help tells more",
		what, subject);
	return -EINVAL;
}

static int parse_flags(struct args *args, int argc, char **argv, struct str *why)
{
	static const struct option longs[] = {
		{"help", no_argument, NULL, 'h'}, {"version", no_argument, NULL, 'V'}, {0}};
	int c;

	opterr = 0;
	optind = 0; /* glibc: start anew */
	while ((c = getopt_long(argc, argv, ":o:fdhVnsvt:", longs, NULL)) != -1) {
		char letter[] = {'-', (char)optopt, 0};
		if (c == 'h')
			args->help = true;
		else if (c == 'V')
			args->version = true;
		else if (c == 'f')
			args->foreground = true;
		else if (c == 'd')
			args->debug = true;
		else if (c == 'o') {
			if (args->options.len > 0)
				str_putc(&args->options, ',');
			str_append_cstr(&args->options, optarg);
		} else if (c == ':')
			return fail(why, "a value is missing after ", letter);
		else if (c == '?')
			return fail(why, "unknown option ", optopt ? letter : argv[optind - 1]);
	}
	return str_error(&args->options);
}

/* fstab's older form has the program before the address: mailfs#imaps://… */
static const char *without_prefix(const char *source)
{
	static const char prefix[] = "mailfs#";
	return strncmp(source, prefix, sizeof(prefix) - 1) == 0 ? source + sizeof(prefix) - 1
	                                                        : source;
}

int args_parse(struct args *args, int argc, char **argv, struct str *why)
{
	int r = parse_flags(args, argc, argv, why);
	if (r < 0 || args->help || args->version)
		return r;
	int left = argc - optind;
	if (left < 2)
		return fail(why,
			left < 1 ? "SOURCE and MOUNTPOINT are missing" : "MOUNTPOINT is missing",
			"");
	if (left > 2)
		return fail(why, "one argument too many: ", argv[optind + 2]);
	args->source = without_prefix(argv[optind]);
	args->mountpoint = argv[optind + 1];
	return 0;
}
