/* SPDX-License-Identifier: MIT */
/* SHA-256 against FIPS 180's examples, in pieces and twice; APOP against its RFC, and greetings that are traps. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "mailfs/net.h"

static void expect_sha256(struct net_sha256 *digest, const char *want)
{
	unsigned char out[32];
	char text[65];
	assert_int_equal(net_sha256_final(digest, out), 0);
	for (size_t i = 0; i < sizeof(out); i++)
		snprintf(text + 2 * i, 3, "%02x", out[i]);
	assert_string_equal(text, want);
}

static void sha256_known_values(void **state)
{
	static const char *const pairs[][2] = {
		{"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
		{"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
			"248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1"},
	};
	(void)state;
	struct net_sha256 *digest = net_sha256_create();
	assert_non_null(digest);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		assert_int_equal(net_sha256_update(digest, pairs[i][0], strlen(pairs[i][0])), 0);
		expect_sha256(digest, pairs[i][1]);
	}
	net_sha256_destroy(digest);
	net_sha256_destroy(NULL);
}

/* A million times the letter a, in pieces of every length. */
static void sha256_in_pieces(void **state)
{
	char letters[1000];
	size_t left = 1000000;
	(void)state;
	memset(letters, 'a', sizeof(letters));
	struct net_sha256 *digest = net_sha256_create();
	assert_non_null(digest);
	for (size_t len = 0; left > 0; len = (len + 1) % sizeof(letters)) {
		size_t take = len < left ? len : left;
		assert_int_equal(net_sha256_update(digest, letters, take), 0);
		left -= take;
	}
	expect_sha256(digest, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
	net_sha256_destroy(digest);
}

static int apop(const char *timestamp, char out[33])
{
	struct secret *password = secret_create("tanstaaf", 8);
	int r = net_apop_digest(timestamp, password, out);
	secret_destroy(password);
	return r;
}

/* RFC 1939 §7. */
static void apop_example(void **state)
{
	char out[33];
	(void)state;
	assert_int_equal(apop("<1896.697170952@dbc.mtview.ca.us>", out), 0);
	assert_string_equal(out, "c4c9334bac560ecc979e58001b3e22fb");
}

static void apop_refuses_what_is_no_msg_id(void **state)
{
	static const char *const bad[] = {"", "<", "<>", "<@>", "<a@>", "<@b>", "<ab>", "a@b",
		"<a@b", "a@b>", "<a@b> ", " <a@b>", "<a@b>x", "<a b@c>", "<a@b\xff>", "<\x01@b>",
		"<a@b\x7f>", "<a@b\n>", "<a@b@c>", "<<a@b>", "<a@b>>", "<a>@<b>"};
	char out[33];
	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (apop(bad[i], out) != -EINVAL)
			fail_msg("accepted: %s", bad[i]);
	assert_int_equal(apop("<a@b>", out), 0);
	assert_int_equal(strlen(out), 32);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sha256_known_values),
		cmocka_unit_test(sha256_in_pieces),
		cmocka_unit_test(apop_example),
		cmocka_unit_test(apop_refuses_what_is_no_msg_id),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
