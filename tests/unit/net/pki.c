/* SPDX-License-Identifier: MIT */
/* Certificates for tests. Anything that fails here is a broken test machine: it aborts. */
#include "pki.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>

#define DAY (24L * 60 * 60)

static void must(bool ok, const char *what)
{
	if (ok)
		return;
	fprintf(stderr, "pki: %s failed\n", what);
	abort();
}

static void add_extension(X509 *cert, X509 *issuer, int nid, const char *value)
{
	X509V3_CTX context;
	X509V3_set_ctx_nodb(&context);
	X509V3_set_ctx(&context, issuer, cert, NULL, NULL, 0);
	X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	must(extension && X509_add_ext(cert, extension, -1), value);
	X509_EXTENSION_free(extension);
}

struct pki_cert pki_create(const struct pki_spec *spec)
{
	static long serial = 1;
	struct pki_cert made = {
		.key = spec->rsa_bits ? EVP_RSA_gen(spec->rsa_bits) : EVP_EC_gen("P-256"),
		.cert = X509_new()};
	must(made.key && made.cert, "key");
	X509 *issuer = spec->issuer ? spec->issuer->cert : made.cert;
	X509_set_version(made.cert, X509_VERSION_3);
	ASN1_INTEGER_set(X509_get_serialNumber(made.cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(made.cert), spec->early ? DAY : -10 * DAY);
	X509_gmtime_adj(X509_getm_notAfter(made.cert), spec->expired ? -DAY : 10 * DAY);
	X509_set_pubkey(made.cert, made.key);
	X509_NAME *name = X509_NAME_new();
	X509_NAME_add_entry_by_txt(
		name, "CN", MBSTRING_UTF8, (const unsigned char *)spec->name, -1, -1, 0);
	X509_set_subject_name(made.cert, name);
	X509_NAME_free(name);
	X509_set_issuer_name(made.cert, X509_get_subject_name(issuer));
	add_extension(made.cert, issuer, NID_basic_constraints,
		spec->ca ? "critical,CA:TRUE" : "CA:FALSE");
	if (spec->san)
		add_extension(made.cert, issuer, NID_subject_alt_name, spec->san);
	must(X509_sign(made.cert, spec->issuer ? spec->issuer->key : made.key,
		     spec->sha1 ? EVP_sha1() : EVP_sha256()) > 0,
		"signing");
	return made;
}

void pki_destroy(struct pki_cert *cert)
{
	EVP_PKEY_free(cert->key);
	X509_free(cert->cert);
}

void pki_write(const struct pki_cert *cert, const char *path)
{
	FILE *file = fopen(path, "w");
	must(file && PEM_write_X509(file, cert->cert), path);
	fclose(file);
}

void pki_fingerprint(const struct pki_cert *cert, unsigned char digest[32])
{
	must(X509_digest(cert->cert, EVP_sha256(), digest, NULL), "digest");
}
