/* SPDX-License-Identifier: MIT */
/* getaddrinfo() for tests: names under .example are made up here, and the network is never asked. */
#ifndef TEST_NET_NAMES_H
#define TEST_NET_NAMES_H

#include <netdb.h>

int __wrap_getaddrinfo(
	const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret);
int __real_getaddrinfo(
	const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret);

#endif
