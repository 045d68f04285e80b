/* SPDX-License-Identifier: MIT */
/* Base64 against its RFC, there and back at every length, and what is not base64. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "mailfs/net.h"

/* RFC 4648 §10. */
static void known_values(void **state)
{
	static const char *const pairs[][2] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="},
		{"foo", "Zm9v"}, {"foob", "Zm9vYg=="}, {"fooba", "Zm9vYmE="},
		{"foobar", "Zm9vYmFy"}, {"\xfb\xff\xbf", "+/+/"}};
	(void)state;
	_cleanup_str_ struct str out = STR_INIT;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		assert_int_equal(net_base64_encode(pairs[i][0], strlen(pairs[i][0]), &out), 0);
		assert_string_equal(str_cstr(&out), pairs[i][1]);
		assert_int_equal(net_base64_decode(pairs[i][1], strlen(pairs[i][1]), &out), 0);
		assert_string_equal(str_cstr(&out), pairs[i][0]);
	}
}

static void every_length_comes_back(void **state)
{
	(void)state;
	unsigned char bytes[300];
	_cleanup_str_ struct str text = STR_INIT, back = STR_INIT;
	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (unsigned char)(i * 37 + 11);
	for (size_t len = 0; len <= sizeof(bytes); len++) {
		assert_int_equal(net_base64_encode(bytes, len, &text), 0);
		assert_int_equal(net_base64_decode(str_cstr(&text), text.len, &back), 0);
		assert_int_equal(back.len, len);
		if (len > 0)
			assert_memory_equal(back.data, bytes, len);
	}
}

static void anything_else_is_refused(void **state)
{
	static const char *const bad[] = {"A", "AA", "AAA", "AAAAA", "=", "====", "A===", "AA=A",
		"Zg==Zg==", "Zg=", "Zm9v\r\n", "Zm 9", "Zm9-", "Zm9_", "Zh==", "Zm9=", "Zm\xc3\xa9",
		"Zm9v===="};
	(void)state;
	_cleanup_str_ struct str out = STR_INIT;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		if (net_base64_decode(bad[i], strlen(bad[i]), &out) != -EPROTO)
			fail_msg("accepted: %s", bad[i]);
	assert_int_equal(net_base64_decode("Zm\0v", 4, &out), -EPROTO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(known_values),
		cmocka_unit_test(every_length_comes_back),
		cmocka_unit_test(anything_else_is_refused),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
