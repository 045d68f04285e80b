/* SPDX-License-Identifier: MIT */
/* SCRAM (RFC 5802, RFC 7677) without channel binding: the client's side of its four messages. */
#ifndef NET_SCRAM_H
#define NET_SCRAM_H

#include "mailfs/util/secret.h"
#include "mailfs/util/str.h"

#define SASL_SCRAM_DIGEST_MAX 32 /* bytes of SHA-256, the largest in use */

struct sasl_scram {
	const char *digest;    /* OpenSSL's name of the hash function */
	struct str nonce;      /* the client's */
	struct str first_bare; /* client-first-message-bare, part of what is signed */
	unsigned char server_signature[SASL_SCRAM_DIGEST_MAX]; /* what the server has to prove */
};

/* nonce: printable ASCII without a comma; NULL: a random one. 0, -ENOMEM, -EIO: no random bytes. */
int sasl_scram_init(struct sasl_scram *scram, const char *digest, const char *nonce);
void sasl_scram_finish(struct sasl_scram *scram);

/* Appends name as a saslname (RFC 5801 §4): the comma divides attributes, and the equals sign escapes. */
void sasl_append_saslname(struct str *out, const char *name);

/* client-first-message into out. */
int sasl_scram_first(struct sasl_scram *scram, const char *user, struct str *out);
/* client-final-message, the answer to server-first-message. -EPROTO when that is malformed. */
int sasl_scram_final(struct sasl_scram *scram, const struct secret *password, const char *challenge,
	size_t len, struct str *out);
/*
 * Whether server-final-message proves that the server knows the password. -EACCES: it says that our
 * proof was wrong; -EPROTO: malformed, or the signature is wrong.
 */
int sasl_scram_verify(const struct sasl_scram *scram, const char *challenge, size_t len);

#endif
