/* SPDX-License-Identifier: MIT */
/* offline= and cache_size=: what of the account is kept on this machine. */
#ifndef CLI_OFFLINE_H
#define CLI_OFFLINE_H

#include "mailfs/store.h"
#include "mailfs/tree.h"
#include "options.h"

/*
 * Tells the store which mailboxes and messages the options want here, and how much it may keep, and has the download begin. A folder that
 * is not there is one warning. Before anything else is kept: what is over the limit goes, and what is wanted must not be among it. Blocks:
 * disk.
 */
void offline_begin(const struct options *options, struct tree *tree, struct store *store);

#endif
