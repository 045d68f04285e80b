/* SPDX-License-Identifier: MIT */
/* An authority, a server's certificate by it, and a directory with the authority's PEM file. */
#ifndef TEST_NET_FIXTURE_H
#define TEST_NET_FIXTURE_H

#include <limits.h>

#include "peer.h"
#include "pki.h"

#define FIXTURE_HOST "mail.test.example"

struct fixture {
	char dir[64];
	char ca_file[96];
	struct pki_cert ca;
	struct pki_cert leaf; /* for FIXTURE_HOST and 127.0.0.1 */
};

extern struct fixture fixture;

/* For cmocka: a group's set-up and tear-down. */
int fixture_set_up(void **state);
int fixture_tear_down(void **state);

/* What a context is made of, beyond the port; NULL means none. */
struct net_context *fixture_context(const struct peer *peer, const char *host, enum net_tls tls,
	const char *ca_file, const unsigned char *fingerprint);

#endif
