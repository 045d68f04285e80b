/* SPDX-License-Identifier: MIT */
/* The namespaces of a server (RFC 2342). */
#ifndef MAILFS_IMAP_NAMESPACE_H
#define MAILFS_IMAP_NAMESPACE_H

#include "engine.h"

#define IMAP_NAMESPACES_MAX 64

struct imap_namespace {
	char *prefix;
	char delimiter; /* 0: none */
	unsigned flag;  /* SOURCE_MAILBOX_PERSONAL, _OTHER or _SHARED */
};
struct imap_namespaces {
	struct imap_namespace items[IMAP_NAMESPACES_MAX];
	size_t count;
};

/*
 * Asks for the namespaces, where the server has the command. A refusal or an answer that can not be understood: none. 0, or
 * the connection is lost. Blocks: network.
 */
int imap_namespaces_ask(
	struct imap_engine *engine, struct imap_namespaces *ret, struct source_error *error);
void imap_namespaces_finish(struct imap_namespaces *spaces);
/* The kind of namespace that a mailbox name lies in: that of the longest prefix; personal if there is none. */
unsigned imap_namespaces_flag(const struct imap_namespaces *spaces, const char *name);

#endif
