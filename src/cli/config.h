/* SPDX-License-Identifier: MIT */
/* The config file: a section for each account, whose keys are the options and `source`. */
#ifndef CLI_CONFIG_H
#define CLI_CONFIG_H

#include "options.h"

/*
 * Reads the account's section of the file at path into options, and its address into *ret_source (free()).
 * Every other section is checked too. -ENOENT: no such file or section; -EINVAL: something in it is wrong;
 * -EPERM: others could write to it, and it can name a command to be run; -EIO. why says it in one line, with the line number. Blocks: disk.
 */
int config_load(const char *path, const char *account, struct options *options, char **ret_source,
	struct str *why);

#endif
