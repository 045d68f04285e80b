/* SPDX-License-Identifier: MIT */
/* What must hold of a response before libetpan may see it. */
#ifndef MAILFS_IMAP_GATE_H
#define MAILFS_IMAP_GATE_H

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether libetpan may parse these bytes (a complete response without its line end, literals in place): an untagged
 * response, structurally sound, whose name is `name` (NULL: any but those that libetpan can not be trusted with).
 */
bool imap_gate_passes(const char *data, size_t len, const char *name);

#endif
