/* SPDX-License-Identifier: MIT */
/* The life of one mount: everything between the password and the last LOGOUT. */
#ifndef CLI_SESSION_H
#define CLI_SESSION_H

#include "daemon.h"
#include "settings.h"

/*
 * Asks for the password, opens the store, connects, lists, mounts, goes to the background, serves until it is unmounted, and
 * ends cleanly. Prints one line for whatever goes wrong. The exit code (exit.h). Blocks: until unmounted.
 */
int session_run(const struct settings *settings, const char *mountpoint, struct daemon *daemon);

#endif
