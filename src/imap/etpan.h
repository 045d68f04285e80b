/* SPDX-License-Identifier: MIT */
/* The commands that libetpan speaks for us. Errors as in engine.h. */
#ifndef MAILFS_IMAP_ETPAN_H
#define MAILFS_IMAP_ETPAN_H

#include "engine.h"

/* CAPABILITY: engine->caps. Blocks: network. */
int imap_etpan_capability(struct imap_engine *engine, struct source_error *error);
/*
 * LOGIN. user and password must be printable ASCII and not empty, else -EINVAL at once, without error filled in: they would
 * have to go as literals, which libetpan can not send. A refusal is in engine->answer. Blocks: network.
 */
int imap_etpan_login(struct imap_engine *engine, const char *user, const char *password,
	struct source_error *error);

#endif
