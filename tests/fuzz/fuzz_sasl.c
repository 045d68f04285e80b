/* SPDX-License-Identifier: MIT */
/*
 * Logins: the first line is a mechanism, each further one a challenge in base64. What is random in SCRAM is fixed here, so that an input can hold an
 * exchange that succeeds, and its iterations are few.
 */
#include <errno.h>
#include <openssl/evp.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "mailfs/net.h"

#define STEPS_MAX 8

int __wrap_RAND_bytes(unsigned char *buf, int num);
int __wrap_RAND_bytes(unsigned char *buf, int num)
{
	memset(buf, 'r', (size_t)num);
	return 1;
}

int __real_PKCS5_PBKDF2_HMAC(const char *pass, int passlen, const unsigned char *salt, int saltlen,
	int iter, const EVP_MD *digest, int keylen, unsigned char *out);
int __wrap_PKCS5_PBKDF2_HMAC(const char *pass, int passlen, const unsigned char *salt, int saltlen,
	int iter, const EVP_MD *digest, int keylen, unsigned char *out);
int __wrap_PKCS5_PBKDF2_HMAC(const char *pass, int passlen, const unsigned char *salt, int saltlen,
	int iter, const EVP_MD *digest, int keylen, unsigned char *out)
{
	FUZZ_CHECK(iter > 0);
	return __real_PKCS5_PBKDF2_HMAC(
		pass, passlen, salt, saltlen, iter < 4096 ? iter : 4096, digest, keylen, out);
}

static void check_base64(const char *text, size_t len, const struct str *raw)
{
	_cleanup_str_ struct str again = STR_INIT, back = STR_INIT;
	(void)text;
	FUZZ_CHECK(raw->len <= len / 4 * 3 + 3);
	FUZZ_CHECK(net_base64_encode(str_cstr(raw), raw->len, &again) == 0);
	FUZZ_CHECK(net_base64_decode(str_cstr(&again), again.len, &back) == 0);
	FUZZ_CHECK(back.len == raw->len && memcmp(str_cstr(&back), str_cstr(raw), raw->len) == 0);
}

/* A step that fails satisfies nobody; one too many takes nothing back. */
static int do_step(struct sasl_client *client, const void *challenge, size_t len, struct str *reply)
{
	bool done = sasl_client_done(client);
	int r = sasl_client_step(client, challenge, len, reply);
	FUZZ_CHECK(r == 0 || r == -EPROTO || r == -EACCES || r == -EINVAL || r == -EIO);
	FUZZ_CHECK(r == 0 || done || !sasl_client_done(client));
	return r;
}

static void run_exchange(struct sasl_client *client, struct fuzz_input in)
{
	_cleanup_str_ struct str reply = STR_INIT;
	int r = 0;
	if (sasl_client_sends_first(client))
		r = do_step(client, NULL, 0, &reply);
	for (unsigned step = 0; r == 0 && in.len > 0 && step < STEPS_MAX; step++) {
		_cleanup_str_ struct str raw = STR_INIT;
		struct fuzz_input part = fuzz_until(&in, '\n');
		char *line = fuzz_copy(part);
		r = net_base64_decode(line, part.len, &raw);
		FUZZ_CHECK(r == 0 || r == -EPROTO);
		if (r == 0) {
			check_base64(line, part.len, &raw);
			r = do_step(client, str_cstr(&raw), raw.len, &reply);
		}
		free(line);
	}
}

static void check_apop(const char *timestamp, const struct secret *password)
{
	char digest[33];
	int r = net_apop_digest(timestamp, password, digest);
	FUZZ_CHECK(r == -EINVAL || (r == 0 && strspn(digest, "0123456789abcdef") == 32));
	if (r == 0)
		FUZZ_CHECK(timestamp[0] == '<' && strchr(timestamp, '@'));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct secret *password;
	struct fuzz_input in = {data, size};
	if (!password)
		password = secret_create("pencil", 6);
	char *mechanism = fuzz_copy(fuzz_until(&in, '\n'));
	struct sasl_client *client = sasl_client_create(mechanism, "user", password);
	if (client)
		run_exchange(client, in);
	sasl_client_destroy(client);
	check_apop(mechanism, password);
	free(mechanism);
	return 0;
}
