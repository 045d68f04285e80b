/* SPDX-License-Identifier: MIT */
/* SASL against the examples of its RFCs, and against servers that cheat. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <string.h>

#include "mailfs/net.h"
#include "mailfs/util/log.h"
#include "scram.h"

static struct secret *pencil;

static int set_up(void **state)
{
	(void)state;
	log_set_level(LOG_LEVEL_ERROR);
	pencil = secret_create("pencil", 6);
	return pencil ? 0 : -1;
}

static int tear_down(void **state)
{
	(void)state;
	secret_destroy(pencil);
	return 0;
}

struct example {
	const char *digest, *nonce, *client_first, *server_first, *client_final, *server_final;
};

static const struct example examples[] = {
	/* RFC 5802 §5 */
	{"SHA1", "fyko+d2lbbFgONRv9qkxdawL", "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
		"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
		"c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
		"v=rmF9pqV8S7suAoZWja4dJRkFsKQ="},
	/* RFC 7677 §3 */
	{"SHA256", "rOprNGfwEbeRWgbNEkqO", "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
		"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
		"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
		"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
		"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="},
};

static void scram_examples(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(examples) / sizeof(examples[0]); i++) {
		const struct example *e = &examples[i];
		_cleanup_str_ struct str first = STR_INIT, final = STR_INIT;
		struct sasl_scram scram;
		assert_int_equal(sasl_scram_init(&scram, e->digest, e->nonce), 0);
		assert_int_equal(sasl_scram_first(&scram, "user", &first), 0);
		assert_string_equal(first.data, e->client_first);
		assert_int_equal(sasl_scram_final(&scram, pencil, e->server_first,
					 strlen(e->server_first), &final),
			0);
		assert_string_equal(final.data, e->client_final);
		assert_int_equal(
			sasl_scram_verify(&scram, e->server_final, strlen(e->server_final)), 0);
		sasl_scram_finish(&scram);
	}
}

/* Any byte of the server's proof wrong, missing or too much, and it is none. */
static void scram_wrong_signature(void **state)
{
	(void)state;
	const struct example *e = &examples[1];
	_cleanup_str_ struct str out = STR_INIT;
	struct sasl_scram scram;
	char proof[64];
	size_t len = strlen(e->server_final);
	assert_int_equal(sasl_scram_init(&scram, e->digest, e->nonce), 0);
	assert_int_equal(sasl_scram_first(&scram, "user", &out), 0);
	str_reset(&out);
	assert_int_equal(
		sasl_scram_final(&scram, pencil, e->server_first, strlen(e->server_first), &out),
		0);
	for (size_t at = 0; at < len; at++) {
		memcpy(proof, e->server_final, len);
		proof[at] = proof[at] == 'A' ? 'B' : 'A';
		assert_int_equal(sasl_scram_verify(&scram, proof, len), -EPROTO);
	}
	static const char *const bad[] = {"", "v=", "v", "v=6rri", "x=1", "=",
		"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=6rri"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(sasl_scram_verify(&scram, bad[i], strlen(bad[i])), -EPROTO);
	assert_int_equal(sasl_scram_verify(&scram, "e=invalid-proof", 15), -EACCES);
	assert_int_equal(sasl_scram_verify(&scram, e->server_final, len), 0);
	sasl_scram_finish(&scram);
}

static int answer(const char *server_first)
{
	_cleanup_str_ struct str out = STR_INIT;
	struct sasl_scram scram;
	assert_int_equal(sasl_scram_init(&scram, "SHA256", "abc"), 0);
	assert_int_equal(sasl_scram_first(&scram, "user", &out), 0);
	str_reset(&out);
	int r = sasl_scram_final(&scram, pencil, server_first, strlen(server_first), &out);
	sasl_scram_finish(&scram);
	return r;
}

static void scram_refuses_bad_challenges(void **state)
{
	static const char *const bad[] = {
		"",
		"r=abcdef",
		"r=abcdef,s=QSXC",
		"s=QSXC,r=abcdef,i=4096",
		"hello",
		"r=abc,s=QSXC,i=4096",          /* nothing of the server's in the nonce */
		"r=xbcdef,s=QSXC,i=4096",       /* not ours */
		"r=ab,s=QSXC,i=4096",           /* shorter than ours */
		"m=ext,r=abcdef,s=QSXC,i=4096", /* a mandatory extension */
		"r=abcdef,m=ext,s=QSXC,i=4096", /* out of place */
		"r=abcdef,s=,i=4096",
		"r=abcdef,s=Q,i=4096",
		"r=abcdef,s=QS C,i=4096",
		"r=abcdef,s=QSXC,i=0",
		"r=abcdef,s=QSXC,i=",
		"r=abcdef,s=QSXC,i=-1",
		"r=abcdef,s=QSXC,i=4096x",
		"r=abcdef,s=QSXC,i=1000001",
		"r=abcdef,s=QSXC,i=4294967297",
		"r=abcdef,s=QSXC,i=99999999999999999999999",
	};
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (answer(bad[i]) != -EPROTO)
			fail_msg("accepted: %s", bad[i]);
	assert_int_equal(answer("r=abcdef,s=QSXC,i=1"), 0);
	assert_int_equal(answer("r=abcdef,s=QSXC,i=4096,x=optional"), 0);
}

static void scram_escapes_names(void **state)
{
	(void)state;
	_cleanup_str_ struct str out = STR_INIT;
	struct sasl_scram scram;
	assert_int_equal(sasl_scram_init(&scram, "SHA1", "abc"), 0);
	assert_int_equal(sasl_scram_first(&scram, "a,b=c\xc3\xbc,", &out), 0);
	assert_string_equal(out.data, "n,,n=a=2Cb=3Dc\xc3\xbc=2C,r=abc");
	sasl_scram_finish(&scram);
}

/* --- A server of our own, for what has a random nonce --- */

static void server_hmac(const unsigned char *key, const char *text, size_t len, unsigned char *ret)
{
	assert_non_null(HMAC(EVP_sha256(), key, 32, (const unsigned char *)text, len, ret, NULL));
}

/* The server-final-message for a client that sent these messages, if the password is "pencil". */
static void server_final(
	const char *first_bare, const char *server_first, const char *client_final, struct str *out)
{
	unsigned char salted[32], key[32], signature[32];
	_cleanup_str_ struct str message = STR_INIT, base64 = STR_INIT;
	const char *proof = strstr(client_final, ",p=");
	assert_non_null(proof);
	str_printf(&message, "%s,%s,%.*s", first_bare, server_first, (int)(proof - client_final),
		client_final);
	assert_int_equal(PKCS5_PBKDF2_HMAC("pencil", 6, (const unsigned char *)"salt", 4, 4096,
				 EVP_sha256(), 32, salted),
		1);
	server_hmac(salted, "Server Key", 10, key);
	server_hmac(key, message.data, message.len, signature);
	assert_int_equal(net_base64_encode(signature, 32, &base64), 0);
	str_printf(out, "v=%s", base64.data);
}

static void scram_through_the_client(void **state)
{
	(void)state;
	_cleanup_str_ struct str first = STR_INIT, challenge = STR_INIT, out = STR_INIT,
				 last = STR_INIT;
	struct sasl_client *client = sasl_client_create("scram-sha-256", "user", pencil);
	assert_non_null(client);
	assert_true(sasl_client_sends_first(client));
	assert_int_equal(sasl_client_step(client, NULL, 0, &first), 0);
	assert_int_equal(strncmp(first.data, "n,,n=user,r=", 12), 0);
	assert_true(first.len >= 12 + 24);
	str_printf(&challenge, "r=%sSERVER,s=c2FsdA==,i=4096", first.data + 12);
	assert_int_equal(sasl_client_step(client, challenge.data, challenge.len, &out), 0);
	assert_false(sasl_client_done(client));
	server_final(first.data + 3, challenge.data, out.data, &last);
	assert_int_equal(sasl_client_step(client, last.data, last.len, &out), 0);
	assert_int_equal(out.len, 0);
	assert_true(sasl_client_done(client));
	assert_int_equal(sasl_client_step(client, last.data, last.len, &out), -EPROTO);
	sasl_client_destroy(client);
}

/* A server that knows no password is not believed, nor after a second try. */
static void scram_client_is_not_fooled(void **state)
{
	(void)state;
	_cleanup_str_ struct str challenge = STR_INIT, out = STR_INIT;
	struct sasl_client *client = sasl_client_create("SCRAM-SHA-256", "user", pencil);
	assert_int_equal(sasl_client_step(client, NULL, 0, &out), 0);
	str_printf(&challenge, "r=%sSERVER,s=c2FsdA==,i=4096", out.data + 12);
	assert_int_equal(sasl_client_step(client, challenge.data, challenge.len, &out), 0);
	static const char made_up[] = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";
	assert_int_equal(sasl_client_step(client, made_up, strlen(made_up), &out), -EPROTO);
	assert_false(sasl_client_done(client));
	assert_int_equal(sasl_client_step(client, made_up, strlen(made_up), &out), -EPROTO);
	assert_false(sasl_client_done(client));
	sasl_client_destroy(client);
}

static void nonces_differ(void **state)
{
	(void)state;
	_cleanup_str_ struct str a = STR_INIT, b = STR_INIT;
	struct sasl_client *one = sasl_client_create("SCRAM-SHA-1", "user", pencil);
	struct sasl_client *two = sasl_client_create("SCRAM-SHA-1", "user", pencil);
	assert_int_equal(sasl_client_step(one, NULL, 0, &a), 0);
	assert_int_equal(sasl_client_step(two, NULL, 0, &b), 0);
	assert_string_not_equal(a.data, b.data);
	sasl_client_destroy(one);
	sasl_client_destroy(two);
}

/* --- The simple ones --- */

/* RFC 2195 §2. */
static void cram_md5(void **state)
{
	static const char challenge[] = "<1896.697170952@postoffice.reston.mci.net>";
	(void)state;
	_cleanup_str_ struct str out = STR_INIT;
	struct secret *password = secret_create("tanstaaftanstaaf", 16);
	struct sasl_client *client = sasl_client_create("CRAM-MD5", "tim", password);
	assert_false(sasl_client_sends_first(client));
	assert_int_equal(sasl_client_step(client, challenge, strlen(challenge), &out), 0);
	assert_string_equal(out.data, "tim b913a602c7eda7a495b4e6e7334d3890");
	assert_true(sasl_client_done(client));
	assert_int_equal(sasl_client_step(client, challenge, strlen(challenge), &out), -EPROTO);
	sasl_client_destroy(client);
	client = sasl_client_create("CRAM-MD5", "tim", password);
	assert_int_equal(sasl_client_step(client, NULL, 0, &out), -EPROTO);
	assert_false(sasl_client_done(client));
	sasl_client_destroy(client);
	secret_destroy(password);
}

/* RFC 4616 §4. */
static void plain(void **state)
{
	(void)state;
	_cleanup_str_ struct str out = STR_INIT;
	struct secret *password = secret_create("tanstaaftanstaaf", 16);
	struct sasl_client *client = sasl_client_create("PLAIN", "tim", password);
	assert_true(sasl_client_sends_first(client));
	assert_false(sasl_client_done(client));
	assert_int_equal(sasl_client_step(client, NULL, 0, &out), 0);
	assert_int_equal(out.len, 21);
	assert_memory_equal(out.data, "\0tim\0tanstaaftanstaaf", 21);
	assert_true(sasl_client_done(client));
	assert_int_equal(sasl_client_step(client, "", 0, &out), -EPROTO);
	assert_int_equal(out.len, 0);
	sasl_client_destroy(client);
	/* A server without SASL-IR asks with an empty challenge; one that says something is not PLAIN. */
	client = sasl_client_create("PLAIN", "tim", password);
	assert_int_equal(sasl_client_step(client, "", 0, &out), 0);
	sasl_client_destroy(client);
	client = sasl_client_create("PLAIN", "tim", password);
	assert_int_equal(sasl_client_step(client, "x", 1, &out), -EPROTO);
	sasl_client_destroy(client);
	secret_destroy(password);
	password = secret_create("a\0b", 3);
	client = sasl_client_create("PLAIN", "tim", password);
	assert_int_equal(sasl_client_step(client, NULL, 0, &out), -EINVAL);
	sasl_client_destroy(client);
	secret_destroy(password);
}

/* --- An access token in the password's place --- */

static struct sasl_client *token_client(
	const char *mechanism, const char *user, const char *token, struct secret **ret)
{
	*ret = secret_create(token, strlen(token));
	struct sasl_client *client = sasl_client_create(mechanism, user, *ret);
	assert_non_null(client);
	assert_true(sasl_client_sends_first(client));
	assert_false(sasl_client_done(client));
	return client;
}

/* The initial response is want; a challenge after it, which is a refusal, is answered with reply, and then it is over. */
static void expect_token(const char *mechanism, const char *user, const char *token,
	const char *want, const char *reply)
{
	static const char refusal[] = "{\"status\":\"invalid_token\"}";
	_cleanup_str_ struct str out = STR_INIT;
	struct secret *secret;
	struct sasl_client *client = token_client(mechanism, user, token, &secret);
	assert_int_equal(sasl_client_step(client, NULL, 0, &out), 0);
	assert_string_equal(str_cstr(&out), want);
	assert_true(sasl_client_done(client));
	assert_int_equal(sasl_client_step(client, refusal, strlen(refusal), &out), 0);
	assert_string_equal(str_cstr(&out), reply);
	assert_int_equal(sasl_client_step(client, refusal, strlen(refusal), &out), -EPROTO);
	sasl_client_destroy(client);
	secret_destroy(secret);
}

/* RFC 7628 §4.1, without host and port. */
static void oauthbearer(void **state)
{
	(void)state;
	expect_token("OAUTHBEARER", "user@example.com",
		"vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==",
		"n,a=user@example.com,\1auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\1\1",
		"\1");
	expect_token("oauthbearer", "a,b=c\xc3\xbc", "t",
		"n,a=a=2Cb=3Dc\xc3\xbc,\1auth=Bearer t\1\1", "\1");
}

/* The example of Google's description. */
static void xoauth2(void **state)
{
	(void)state;
	expect_token("XOAUTH2", "someuser@example.com",
		"ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg",
		"user=someuser@example.com\1auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\1\1",
		"");
	expect_token("XOAUTH2", "a,b", "t", "user=a,b\1auth=Bearer t\1\1", "");
}

/* What could end a field early, or is no token at all. */
static void token_refuses_what_can_not_be_sent(void **state)
{
	static const char *const bad[][2] = {{"u", "a\1b"}, {"u", "a\n"}, {"u", "a b"}, {"u", ""},
		{"u", "a\x7f"}, {"u", "a\xc3\xbc"}, {"u\1", "t"}, {"u\n", "t"}, {"u\x7f", "t"}};
	(void)state;
	for (size_t m = 0; sasl_token_mechanisms[m]; m++)
		for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
			_cleanup_str_ struct str out = STR_INIT;
			struct secret *secret;
			struct sasl_client *client = token_client(
				sasl_token_mechanisms[m], bad[i][0], bad[i][1], &secret);
			assert_int_equal(sasl_client_step(client, NULL, 0, &out), -EINVAL);
			assert_int_equal(out.len, 0);
			assert_false(sasl_client_done(client));
			sasl_client_destroy(client);
			secret_destroy(secret);
		}
}

/* Where the server must ask for the initial response, it asks with nothing. */
static void token_before_the_first_step(void **state)
{
	(void)state;
	for (size_t m = 0; sasl_token_mechanisms[m]; m++) {
		_cleanup_str_ struct str out = STR_INIT;
		struct secret *secret;
		struct sasl_client *client =
			token_client(sasl_token_mechanisms[m], "u", "t", &secret);
		assert_int_equal(sasl_client_step(client, "x", 1, &out), -EPROTO);
		assert_false(sasl_client_done(client));
		sasl_client_destroy(client);
		secret_destroy(secret);
	}
}

static void mechanisms(void **state)
{
	static const char *const order[] = {"SCRAM-SHA-256", "SCRAM-SHA-1", "CRAM-MD5", "PLAIN"};
	(void)state;
	size_t i;
	for (i = 0; sasl_mechanisms[i]; i++) {
		assert_true(i < 4);
		assert_string_equal(sasl_mechanisms[i], order[i]);
		struct sasl_client *client = sasl_client_create(order[i], "u", pencil);
		assert_non_null(client);
		sasl_client_destroy(client);
	}
	assert_int_equal(i, 4);
	assert_string_equal(sasl_token_mechanisms[0], "OAUTHBEARER");
	assert_string_equal(sasl_token_mechanisms[1], "XOAUTH2");
	assert_null(sasl_token_mechanisms[2]);
	assert_null(sasl_client_create("GSSAPI", "u", pencil));
	assert_null(sasl_client_create("", "u", pencil));
	sasl_client_destroy(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scram_examples),
		cmocka_unit_test(scram_wrong_signature),
		cmocka_unit_test(scram_refuses_bad_challenges),
		cmocka_unit_test(scram_escapes_names),
		cmocka_unit_test(scram_through_the_client),
		cmocka_unit_test(scram_client_is_not_fooled),
		cmocka_unit_test(nonces_differ),
		cmocka_unit_test(cram_md5),
		cmocka_unit_test(plain),
		cmocka_unit_test(oauthbearer),
		cmocka_unit_test(xoauth2),
		cmocka_unit_test(token_refuses_what_can_not_be_sent),
		cmocka_unit_test(token_before_the_first_step),
		cmocka_unit_test(mechanisms),
	};
	return cmocka_run_group_tests(tests, set_up, tear_down);
}
