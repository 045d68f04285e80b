/* SPDX-License-Identifier: MIT */
/* SHA-256 as a stream, and the digest of APOP. */
#include <errno.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>

#include "mailfs/net.h"
#include "mailfs/util/cleanup.h"

/* --- SHA-256 --- */

struct net_sha256 {
	EVP_MD_CTX *context;
};

static int sha256_begin(struct net_sha256 *digest)
{
	return EVP_DigestInit_ex(digest->context, EVP_sha256(), NULL) == 1 ? 0 : -EIO;
}

struct net_sha256 *net_sha256_create(void)
{
	struct net_sha256 *digest = calloc(1, sizeof(*digest));
	if (!digest)
		return NULL;
	digest->context = EVP_MD_CTX_new();
	if (digest->context && sha256_begin(digest) == 0)
		return digest;
	net_sha256_destroy(digest);
	return NULL;
}

void net_sha256_destroy(struct net_sha256 *digest)
{
	if (!digest)
		return;
	EVP_MD_CTX_free(digest->context);
	free(digest);
}

int net_sha256_update(struct net_sha256 *digest, const void *data, size_t len)
{
	return EVP_DigestUpdate(digest->context, data, len) == 1 ? 0 : -EIO;
}

int net_sha256_final(struct net_sha256 *digest, unsigned char out[32])
{
	if (EVP_DigestFinal_ex(digest->context, out, NULL) != 1)
		return -EIO;
	return sha256_begin(digest);
}

/* --- APOP (RFC 1939 §7) --- */

#define MD5_BYTES 16

/* "<LEFT@RIGHT>", printable, without blanks; the sides are not empty. */
static bool is_msg_id(const char *text)
{
	size_t len = strlen(text), ats = 0;
	if (len < 5 || text[0] != '<' || text[len - 1] != '>')
		return false;
	for (size_t i = 1; i < len - 1; i++) {
		unsigned char c = (unsigned char)text[i];
		if (c <= 0x20 || c >= 0x7f || c == '<' || c == '>')
			return false;
		ats += c == '@';
	}
	return ats == 1 && text[1] != '@' && text[len - 2] != '@';
}

static int md5_of_both(EVP_MD_CTX *context, const char *timestamp, const struct secret *password,
	unsigned char ret[MD5_BYTES])
{
	if (EVP_DigestInit_ex(context, EVP_md5(), NULL) != 1 ||
		EVP_DigestUpdate(context, timestamp, strlen(timestamp)) != 1 ||
		EVP_DigestUpdate(context, secret_text(password), secret_len(password)) != 1 ||
		EVP_DigestFinal_ex(context, ret, NULL) != 1)
		return -EIO;
	return 0;
}

int net_apop_digest(const char *timestamp, const struct secret *password, char out[33])
{
	unsigned char digest[MD5_BYTES];
	if (!is_msg_id(timestamp))
		return -EINVAL;
	EVP_MD_CTX *context = EVP_MD_CTX_new();
	if (!context)
		return -ENOMEM;
	int r = md5_of_both(context, timestamp, password, digest);
	EVP_MD_CTX_free(context); /* wipes what it held of the password */
	if (r < 0)
		return r;
	for (size_t i = 0; i < MD5_BYTES; i++)
		snprintf(out + 2 * i, 3, "%02x", digest[i]);
	return 0;
}
