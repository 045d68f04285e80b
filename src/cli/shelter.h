/* SPDX-License-Identifier: MIT */
/* The sandbox of a mount, and the helper that stays outside of it: what either needs, taken from the settings. For session.c. */
#ifndef CLI_SHELTER_H
#define CLI_SHELTER_H

#include "mailfs/fs.h"
#include "mailfs/util/str.h"
#include "protocol.h"

/* Makes session->helper; before the password and before threads. A negative errno. Blocks: never. */
int shelter_start_helper(struct session *session);
/*
 * Enters the sandbox; net, store_directory, place and herald are there. What the kernel lacks is logged. A negative errno with one line
 * in why. Blocks: disk.
 */
int shelter_enter(struct session *session, struct str *why);
/* How and by whom it is mounted. Tree, herald and time-out are left to the caller. */
struct fs_params shelter_mount_params(const struct session *session);

#endif
