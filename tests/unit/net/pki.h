/* SPDX-License-Identifier: MIT */
/* Keys and certificates for tests, made on the spot. */
#ifndef TEST_NET_PKI_H
#define TEST_NET_PKI_H

#include <openssl/ssl.h>
#include <stdbool.h>

struct pki_cert {
	EVP_PKEY *key;
	X509 *cert;
};

struct pki_spec {
	const char *name;              /* common name */
	const char *san;               /* "DNS:a.example,IP:127.0.0.1"; NULL: none */
	const struct pki_cert *issuer; /* NULL: itself */
	bool ca;
	bool expired, early; /* over; not begun */
	unsigned rsa_bits;   /* 0: an elliptic curve */
	bool sha1;
};

struct pki_cert pki_create(const struct pki_spec *spec);
void pki_destroy(struct pki_cert *cert);
/* Writes the certificate as PEM to path. */
void pki_write(const struct pki_cert *cert, const char *path);
void pki_fingerprint(const struct pki_cert *cert, unsigned char digest[32]);

#endif
