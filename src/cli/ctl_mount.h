/* SPDX-License-Identifier: MIT */
/* From a path to the mount that it lies in, and to the socket on which that mount answers. */
#ifndef CLI_CTL_MOUNT_H
#define CLI_CTL_MOUNT_H

#include <sys/types.h>

#include "mailfs/util/str.h"

struct ctl_mount {
	char *root;   /* where all of it is mounted */
	char *path;   /* below the mount's root, "" is the root itself */
	char *socket; /* NULL: not asked for yet */
};

/*
 * Finds the mount of path, which is there, and its socket. CTL_EXIT_OK; else the exit code, with one line in why. Blocks: disk, and as long as
 * that mount takes to look up path.
 */
int ctl_mount_find(const char *path, struct ctl_mount *ret, struct str *why);
void ctl_mount_finish(struct ctl_mount *mount);
/* Cuts path at a hidden view: the folder that it is a view of. Whether it was in one. */
bool ctl_mount_leave_view(struct ctl_mount *mount);

/*
 * The pure half: finds in the text of /proc/self/mountinfo the mailfs of that device in which the absolute path lies, also through a
 * bind mount of a part of it. -ENOENT: there is none.
 */
int ctl_mount_match(const char *mountinfo, const char *path, dev_t device, struct ctl_mount *ret);

#endif
