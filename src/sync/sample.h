/* SPDX-License-Identifier: MIT */
/* Whether a message that is stored and one that the server has are the same: by their INTERNALDATE and the header fields that are listed. */
#ifndef SYNC_SAMPLE_H
#define SYNC_SAMPLE_H

#include "private.h"

struct sample {
	uint32_t uid;
	uint64_t stored, listed; /* hashes of what is known of it; 0: not enough */
};

/* 0; -ENODATA: too little of it is stored; or an error of the store. Blocks: disk. */
int sample_stored(struct store *store, uint32_t folder, struct sample *sample);
/* For session_call(): asks the server. arg: the sample; listed stays 0 where there is no such message. Blocks: network. */
int sample_call(struct worker *worker, void *arg, struct source_error *error);

#endif
