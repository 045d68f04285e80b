/* SPDX-License-Identifier: MIT */
/* A source whose server is the spool of a maildrop: the jobs of structures and bodies ask it as they ask a server. */
#ifndef SYNC_SPOOL_SOURCE_H
#define SYNC_SPOOL_SOURCE_H

#include "mailfs/source.h"
#include "mailfs/store.h"

struct spool_source {
	struct source base;
	struct store *store; /* borrowed */
	uint32_t folder;     /* store_number(FOLDER) */
	const char *mailbox; /* its name on the wire; borrowed */
	uint32_t uidvalidity;
};

/*
 * Fills the source; there is nothing to be freed. No call of it blocks on a network. rows() gives its rows while the store
 * is read: its callback may not call the store.
 */
void spool_source_init(struct spool_source *source, struct store *store, uint32_t folder,
	const char *mailbox, uint32_t uidvalidity);

#endif
