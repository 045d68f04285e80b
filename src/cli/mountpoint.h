/* SPDX-License-Identifier: MIT */
/* Whether something can be mounted there, asked before any password is typed and any server called. */
#ifndef CLI_MOUNTPOINT_H
#define CLI_MOUNTPOINT_H

#include <stdbool.h>

#include "mailfs/util/str.h"

/*
 * Checks the directory, in this order: it exists, is a directory, is not a mount already (dead ones are named as
 * such), is empty; and then FUSE: /dev/fuse can be opened, fusermount3 is there (unless root mounts), allow_other is
 * allowed. 0: *ret is its absolute path (free()). Else a negative errno, and why says in one line what is wrong
 * and what to do. Blocks: disk.
 */
int mountpoint_check(const char *path, bool allow_other, char **ret, struct str *why);

#endif
