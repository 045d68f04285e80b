/* SPDX-License-Identifier: MIT */
/* The namespaces of a server (RFC 2342). */
#ifndef MAILFS_IMAP_NAMESPACE_H
#define MAILFS_IMAP_NAMESPACE_H

#include "engine.h"

/* For exchanges that NAMESPACE is a part of; arg: the struct imap_namespaces. */
int imap_namespaces_untagged(
	struct imap_engine *engine, const struct imap_response *response, void *arg);
/*
 * Asks for the namespaces, where the server has the command. A refusal or an answer that can not be understood: none. 0, or
 * the connection is lost. Blocks: network.
 */
int imap_namespaces_ask(
	struct imap_engine *engine, struct imap_namespaces *ret, struct source_error *error);
/* The kind of namespace that a mailbox name lies in: that of the longest prefix; personal if there is none. */
unsigned imap_namespaces_flag(const struct imap_namespaces *spaces, const char *name);

#endif
