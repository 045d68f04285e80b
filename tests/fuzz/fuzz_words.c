/* SPDX-License-Identifier: MIT */
/*
 * What a sender writes into a header: encoded words, addresses, parameters, dates, and the charsets that they name. The first line names a
 * charset, the rest is the value.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "mailfs/mime.h"
#include "mailfs/util/utf8.h"

/* No more comes out than a character for each byte that went in. */
static void check_growth(const struct str *out, size_t in)
{
	FUZZ_CHECK(out->len <= 4 * in + 16);
}

static void check_values(const char *value, size_t len)
{
	typedef int decode_fn(const char *, size_t, struct str *);
	static decode_fn *const decoders[] = {
		mime_words_decode, mime_author, mime_addresses_decode};
	for (size_t i = 0; i < sizeof(decoders) / sizeof(decoders[0]); i++) {
		_cleanup_str_ struct str out = STR_INIT;
		FUZZ_CHECK(decoders[i](value, len, &out) == 0);
		fuzz_check_text(str_cstr(&out), out.len);
		check_growth(&out, len);
	}
}

static void check_params(const char *value, size_t len)
{
	struct mime_params params = {0};
	FUZZ_CHECK(mime_params_parse(value, len, &params) == 0);
	FUZZ_CHECK(params.count <= 1000);
	FUZZ_CHECK(mime_params_join(&params) == 0);
	for (size_t i = 0; i < params.count; i++) {
		const struct mime_param *param = &params.items[i];
		fuzz_check_text(param->value, strlen(param->value));
		for (const char *p = param->name; *p; p++)
			FUZZ_CHECK(*p < 'A' || *p > 'Z');
		/* It is the only one of its name. */
		FUZZ_CHECK(mime_params_get(&params, param->name) == param->value);
	}
	mime_params_finish(&params);
}

static void check_charset(const char *charset, const char *value, size_t len)
{
	_cleanup_str_ struct str out = STR_INIT;
	FUZZ_CHECK(mime_charset_decode(charset, value, len, &out) == 0);
	FUZZ_CHECK(utf8_valid(str_cstr(&out), out.len));
	check_growth(&out, len);
}

static void check_header(const char *value, size_t len)
{
	static const char *const fields[] = {"From", "Subject"};
	struct mime_span found[2];
	_cleanup_str_ struct str got = STR_INIT, copied = STR_INIT;
	int64_t date;
	mime_header_find(value, len, fields, 2, found);
	for (size_t i = 0; i < 2; i++) {
		int r = mime_header_get(value, len, fields[i], &got);
		FUZZ_CHECK(r == (found[i].data ? 0 : -ENOENT));
		FUZZ_CHECK(mime_header_copy(value, len, fields[i], &copied) == r);
		if (found[i].data)
			FUZZ_CHECK(found[i].data >= value && found[i].len <= len);
	}
	FUZZ_CHECK(got.len <= copied.len && copied.len <= 2 * len);
	(void)mime_header_date(value, len, &date);
	(void)mime_date_parse(value, len, &date);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	char *charset = fuzz_copy(fuzz_until(&in, '\n'));
	char *value = fuzz_copy(in);
	check_values(value, in.len);
	check_params(value, in.len);
	check_charset(charset, value, in.len);
	check_charset(NULL, value, in.len);
	check_header(value, in.len);
	free(value);
	free(charset);
	return 0;
}
