/* SPDX-License-Identifier: MIT */
/* Secrets in what servers say: wherever they stand, as they are and in base64; and what only looks like one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "mailfs/net.h"
#include "mailfs/util/secret.h"

static const char password[] = "Geheim-w0rt-77";

static void as_it_is(void **state)
{
	struct secret *secret = secret_create(password, strlen(password));
	(void)state;
	assert_true(net_tells_secret("bad password: Geheim-w0rt-77"));
	assert_true(net_tells_secret("LOGIN joe \"Geheim-w0rt-77\" failed"));
	assert_false(net_tells_secret("bad password: geheim-w0rt-77"));
	assert_false(net_tells_secret("bad password: Geheim-w0rt-7"));
	assert_false(net_tells_secret(""));
	secret_destroy(secret);
	assert_false(net_tells_secret("bad password: Geheim-w0rt-77"));
}

/* Whatever is encoded before it and behind it, and in whatever words that is put. */
static void in_base64(void **state)
{
	struct secret *secret = secret_create(password, strlen(password));
	(void)state;
	for (int before = 0; before < 10; before++)
		for (int behind = 0; behind < 4; behind++) {
			_cleanup_str_ struct str digits = STR_INIT;
			char raw[64], words[200];
			int len = snprintf(raw, sizeof(raw), "%.*s%s%.*s", before, "me@example",
				password, behind, "!!!");
			assert_int_equal(net_base64_encode(raw, (size_t)len, &digits), 0);
			snprintf(words, sizeof(words), "what is %s, please", digits.data);
			assert_true(net_tells_secret(words));
			/* Letters of the words before it are digits, too. */
			for (int more = 1; more < 5; more++) {
				snprintf(words, sizeof(words), "AUTH:%.*s%s.", more, "Qrst",
					digits.data);
				assert_true(net_tells_secret(words));
			}
			raw[before]++;
			assert_int_equal(net_base64_encode(raw, (size_t)len, &digits), 0);
			assert_false(net_tells_secret(digits.data));
		}
	secret_destroy(secret);
}

/* One of a few letters is in every other word. */
static void short_ones(void **state)
{
	struct secret *secret = secret_create("the", 3), *none = secret_create("", 0),
		      *other = secret_create("four", 4);
	(void)state;
	assert_false(net_tells_secret("the password is wrong"));
	assert_true(net_tells_secret("the password four is wrong"));
	secret_destroy(none);
	secret_destroy(other);
	secret_destroy(secret);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(as_it_is),
		cmocka_unit_test(in_base64),
		cmocka_unit_test(short_ones),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
