/* SPDX-License-Identifier: MIT */
/* The server of drop_fixture.h, for its other half. */
#ifndef SYNC_DROP_SERVER_H
#define SYNC_DROP_SERVER_H

#include "drop_fixture.h"

void server_init(struct server *server, struct fixture *fixture);
void server_finish(struct server *server);
/* The digest of so many bytes of a file, from where it stands. false: there are fewer. */
bool file_digest(int fd, uint64_t len, unsigned char out[MAILDROP_DIGEST_BYTES]);

#endif
