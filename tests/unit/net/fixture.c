/* SPDX-License-Identifier: MIT */
/* What the TLS tests share. Names under .example are 127.0.0.1: this file also answers for getaddrinfo(). */
#include "fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "names.h"

struct fixture fixture;

int __wrap_getaddrinfo(
	const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
	size_t len = strlen(node), dot = len && node[len - 1] == '.';
	if (len > 8 + dot && strncmp(node + len - dot - 8, ".example", 8) == 0)
		node = hints->ai_flags & AI_NUMERICHOST ? "name" : "127.0.0.1";
	return __real_getaddrinfo(node, service, hints, ret);
}

int fixture_set_up(void **state)
{
	(void)state;
	snprintf(fixture.dir, sizeof(fixture.dir), "/tmp/mailfs-test-net-XXXXXX");
	if (!mkdtemp(fixture.dir))
		return -1;
	snprintf(fixture.ca_file, sizeof(fixture.ca_file), "%s/ca.pem", fixture.dir);
	fixture.ca = pki_create(&(struct pki_spec){.name = "mailfs test CA", .ca = true});
	fixture.leaf = pki_create(&(struct pki_spec){.name = "server",
		.san = "DNS:" FIXTURE_HOST ",IP:127.0.0.1",
		.issuer = &fixture.ca});
	pki_write(&fixture.ca, fixture.ca_file);
	return 0;
}

int fixture_tear_down(void **state)
{
	(void)state;
	pki_destroy(&fixture.ca);
	pki_destroy(&fixture.leaf);
	unlink(fixture.ca_file);
	return rmdir(fixture.dir);
}

struct net_context *fixture_context(const struct peer *peer, const char *host, enum net_tls tls,
	const char *ca_file, const unsigned char *fingerprint)
{
	struct net_params params = {.host = host,
		.port = peer->port,
		.tls = tls,
		.ca_file = ca_file,
		.fingerprint = fingerprint};
	struct net_context *context = NULL;
	struct source_error error;
	if (net_context_create(&params, &context, &error) < 0)
		fail_msg("%s", error.text);
	return context;
}
