/* SPDX-License-Identifier: MIT */
/*
 * SCRAM. The server learns nothing that it could use elsewhere, and has to prove that it knows the
 * password: login is not complete before that proof was seen. Left out: channel binding (the gs2 header
 * says "n": not supported), and SASLprep, which leaves ASCII as it is; other text is sent as it was given.
 */
#include "scram.h"

#include <errno.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>
#include <stdint.h>
#include <string.h>

#include "mailfs/net.h"
#include "mailfs/util/cleanup.h"
#include "mailfs/util/log.h"

#define NONCE_BYTES 18

/* A server decides how long we compute: 1,000,000 rounds are half a second. RFC 7677 asks for 4096 or more. */
#define ITERATIONS_MAX  1000000
#define ITERATIONS_FEW  4096
#define ATTRIBUTES_MAX  16
#define GS2_HEADER      "n,,"
#define GS2_HEADER_BASE "biws" /* base64 of it */

struct slice {
	const char *data;
	size_t len;
};

struct server_first {
	struct slice nonce;
	struct slice salt; /* base64 */
	int iterations;
};

/* The keys of one exchange; wiped after use. */
struct keys {
	unsigned char salted[SASL_SCRAM_DIGEST_MAX];
	unsigned char client[SASL_SCRAM_DIGEST_MAX];
	unsigned char stored[SASL_SCRAM_DIGEST_MAX];
	unsigned char signature[SASL_SCRAM_DIGEST_MAX];
	unsigned char server[SASL_SCRAM_DIGEST_MAX];
	unsigned char proof[SASL_SCRAM_DIGEST_MAX];
};

static void cleanup_keys(struct keys *keys)
{
	secret_wipe(keys, sizeof(*keys));
}

static int random_nonce(struct str *out)
{
	unsigned char bytes[NONCE_BYTES];
	if (RAND_bytes(bytes, sizeof(bytes)) != 1)
		return -EIO;
	return net_base64_encode(bytes, sizeof(bytes), out);
}

int sasl_scram_init(struct sasl_scram *scram, const char *digest, const char *nonce)
{
	*scram = (struct sasl_scram){.digest = digest};
	if (!nonce)
		return random_nonce(&scram->nonce);
	str_append_cstr(&scram->nonce, nonce);
	return str_error(&scram->nonce);
}

void sasl_scram_finish(struct sasl_scram *scram)
{
	str_finish(&scram->nonce);
	str_finish(&scram->first_bare);
	secret_wipe(scram->server_signature, sizeof(scram->server_signature));
}

void sasl_append_saslname(struct str *out, const char *name)
{
	for (; *name; name++) {
		if (*name == ',')
			str_append_cstr(out, "=2C");
		else if (*name == '=')
			str_append_cstr(out, "=3D");
		else
			str_putc(out, *name);
	}
}

int sasl_scram_first(struct sasl_scram *scram, const char *user, struct str *out)
{
	struct str *bare = &scram->first_bare;
	str_reset(bare);
	str_append_cstr(bare, "n=");
	sasl_append_saslname(bare, user);
	str_append_cstr(bare, ",r=");
	str_append(bare, scram->nonce.data, scram->nonce.len);
	str_append_cstr(out, GS2_HEADER);
	str_append(out, str_cstr(bare), bare->len);
	return str_error(bare) < 0 ? -ENOMEM : str_error(out);
}

/* Takes the attribute `name=value` and the comma after it from the front of text. False: it is another. */
static bool take_attribute(struct slice *text, char name, struct slice *ret_value)
{
	if (text->len < 2 || text->data[0] != name || text->data[1] != '=')
		return false;
	const char *value = text->data + 2;
	const char *end = text->data + text->len;
	const char *comma = memchr(value, ',', text->len - 2);
	*ret_value = (struct slice){value, (size_t)((comma ? comma : end) - value)};
	text->data = comma ? comma + 1 : end;
	text->len = (size_t)(end - text->data);
	return true;
}

/* 1 … ITERATIONS_MAX, or 0 when text is no such number. */
static int parse_iterations(struct slice text)
{
	int number = 0;
	for (size_t i = 0; i < text.len; i++) {
		if (text.data[i] < '0' || text.data[i] > '9')
			return 0;
		number = number * 10 + (text.data[i] - '0');
		if (number > ITERATIONS_MAX)
			return 0;
	}
	return number;
}

/* `m=`, an extension that must be understood, can only come first: it is refused with the rest of what is wrong. */
static int parse_server_first(struct slice text, struct server_first *ret)
{
	struct slice iterations;
	if (!take_attribute(&text, 'r', &ret->nonce) || !take_attribute(&text, 's', &ret->salt) ||
		!take_attribute(&text, 'i', &iterations))
		return -EPROTO;
	ret->iterations = parse_iterations(iterations);
	return ret->iterations > 0 ? 0 : -EPROTO;
}

/* The server's nonce is ours and something of its own: this answer is to our message, and is no replay. */
static bool nonce_fits(const struct sasl_scram *scram, struct slice nonce)
{
	return nonce.len > scram->nonce.len &&
	       memcmp(nonce.data, scram->nonce.data, scram->nonce.len) == 0;
}

static int hmac(const EVP_MD *md, const unsigned char *key, const void *data, size_t len,
	unsigned char *ret)
{
	return HMAC(md, key, EVP_MD_get_size(md), data, len, ret, NULL) ? 0 : -EIO;
}

static int salt_password(const EVP_MD *md, const struct secret *password, struct slice salt_base64,
	int iterations, unsigned char *ret)
{
	_cleanup_str_ struct str salt = STR_INIT;
	int r = net_base64_decode(salt_base64.data, salt_base64.len, &salt);
	if (r < 0)
		return r;
	if (salt.len == 0 || salt.len > INT_MAX || secret_len(password) > INT_MAX)
		return -EPROTO;
	if (iterations < ITERATIONS_FEW)
		log_warning("the server protects this password with %d rounds of hashing only",
			iterations);
	return PKCS5_PBKDF2_HMAC(secret_text(password), (int)secret_len(password),
		       (const unsigned char *)salt.data, (int)salt.len, iterations, md,
		       EVP_MD_get_size(md), ret)
	               ? 0
	               : -EIO;
}

/* RFC 5802 §3: everything that follows from the salted password and the messages. */
static int compute(
	struct sasl_scram *scram, const EVP_MD *md, struct keys *keys, const struct str *message)
{
	size_t size = (size_t)EVP_MD_get_size(md);
	if (hmac(md, keys->salted, "Client Key", 10, keys->client) < 0 ||
		!EVP_Digest(keys->client, size, keys->stored, NULL, md, NULL) ||
		hmac(md, keys->stored, message->data, message->len, keys->signature) < 0 ||
		hmac(md, keys->salted, "Server Key", 10, keys->server) < 0 ||
		hmac(md, keys->server, message->data, message->len, scram->server_signature) < 0)
		return -EIO;
	for (size_t i = 0; i < size; i++)
		keys->proof[i] = keys->client[i] ^ keys->signature[i];
	return 0;
}

static void append_auth_message(struct str *out, const struct sasl_scram *scram, struct slice first,
	const struct str *without_proof)
{
	str_append(out, scram->first_bare.data, scram->first_bare.len);
	str_putc(out, ',');
	str_append(out, first.data, first.len);
	str_putc(out, ',');
	str_append(out, str_cstr(without_proof), without_proof->len);
}

static int append_proof(struct str *out, const struct keys *keys, size_t size)
{
	_cleanup_str_ struct str proof = STR_INIT;
	int r = net_base64_encode(keys->proof, size, &proof);
	if (r < 0)
		return r;
	str_append_cstr(out, ",p=");
	str_append(out, proof.data, proof.len);
	return str_error(out);
}

int sasl_scram_final(struct sasl_scram *scram, const struct secret *password, const char *challenge,
	size_t len, struct str *out)
{
	_cleanup_(cleanup_keys) struct keys keys;
	_cleanup_str_ struct str message = STR_INIT;
	struct slice text = {challenge, len};
	struct server_first first;
	const EVP_MD *md = EVP_get_digestbyname(scram->digest);
	int r = md ? parse_server_first(text, &first) : -EIO;
	if (r < 0)
		return r;
	if (!nonce_fits(scram, first.nonce))
		return -EPROTO;
	str_append_cstr(out, "c=" GS2_HEADER_BASE ",r=");
	str_append(out, first.nonce.data, first.nonce.len);
	append_auth_message(&message, scram, text, out);
	if (str_error(out) < 0 || str_error(&message) < 0)
		return -ENOMEM;
	r = salt_password(md, password, first.salt, first.iterations, keys.salted);
	if (r == 0)
		r = compute(scram, md, &keys, &message);
	return r < 0 ? r : append_proof(out, &keys, (size_t)EVP_MD_get_size(md));
}

int sasl_scram_verify(const struct sasl_scram *scram, const char *challenge, size_t len)
{
	_cleanup_str_ struct str signature = STR_INIT;
	struct slice text = {challenge, len}, value;
	const EVP_MD *md = EVP_get_digestbyname(scram->digest);
	if (take_attribute(&text, 'e', &value))
		return -EACCES;
	if (!md || !take_attribute(&text, 'v', &value))
		return -EPROTO;
	int r = net_base64_decode(value.data, value.len, &signature);
	if (r < 0)
		return r;
	size_t size = (size_t)EVP_MD_get_size(md);
	if (signature.len != size ||
		CRYPTO_memcmp(signature.data, scram->server_signature, size) != 0)
		return -EPROTO;
	return 0;
}
