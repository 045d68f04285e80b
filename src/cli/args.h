/* SPDX-License-Identifier: MIT */
/* The command line, as people, mount(8) and mount.fuse3(8) write it. */
#ifndef CLI_ARGS_H
#define CLI_ARGS_H

#include <stdbool.h>

#include "mailfs/util/str.h"

struct args {
	bool help, version, foreground, debug;
	const char *source, *mountpoint; /* point into argv; NULL: not given */
	struct str options;              /* all -o, joined with commas */
};

/*
 * Sorts argv out; options may stand anywhere. -EINVAL: why says what can not be understood; whether
 * source and mount point are given is looked at only without help and version. -ENOMEM. Blocks: never.
 */
int args_parse(struct args *args, int argc, char **argv, struct str *why);
void args_finish(struct args *args);

#endif
