/* SPDX-License-Identifier: MIT */
/* What the files of mailfsctl share: its exit codes, its command line, its commands. */
#ifndef CLI_CTL_H
#define CLI_CTL_H

#include <jansson.h>
#include <stdbool.h>

#include "mailfs/util/str.h"

/* As mailfsctl(1) documents them: scripts rely on the numbers. */
enum ctl_exit {
	CTL_EXIT_OK = 0,
	CTL_EXIT_FAILED = 1, /* the mount could not do it, or not all of it */
	CTL_EXIT_USAGE = 2,  /* the command line */
	CTL_EXIT_MOUNT = 3,  /* no mailfs is mounted there, or it is gone */
};

struct ctl_args {
	const char *command; /* "status", …; NULL: only help or version */
	char **paths;        /* points into argv, NULL-terminated */
	size_t path_count;
	bool help, version;
	bool json, verbose, no_wait;
};
/* CTL_EXIT_OK or CTL_EXIT_USAGE with one line in why. Moves argv's members about. Blocks: never. */
int ctl_args_parse(struct ctl_args *args, int argc, char **argv, struct str *why);

/* Prints one line to stderr, safe for a terminal, and returns code, so that `return ctl_complain(…)` reads well. */
int ctl_complain(int code, const struct str *why);

/* Each returns an enum ctl_exit and has said what was wrong. Block: until it is done. */
int ctl_watch(const struct ctl_args *args);
int ctl_pin(const struct ctl_args *args);
int ctl_unpin(const struct ctl_args *args);

#endif
