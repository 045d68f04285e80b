/* SPDX-License-Identifier: MIT */
/* Transfer decoding and charsets as a stream: cut anywhere it gives what it gives in one piece. The first byte is the encoding, the first line the charset. */
#include <stdlib.h>
#include <string.h>

#include "fuzz.h"
#include "mailfs/mime.h"
#include "mailfs/util/utf8.h"

static void decode(enum mime_encoding encoding, const char *charset, struct fuzz_input in,
	size_t most, struct str *out)
{
	uint32_t random = (uint32_t)in.len;
	struct mime_decoder *decoder = mime_decoder_create(encoding, charset != NULL, charset);
	FUZZ_CHECK(decoder);
	while (in.len > 0) {
		size_t len = most > 1 ? 1 + fuzz_random(&random) % most : most;
		struct fuzz_input piece = {in.data, len > 0 && len < in.len ? len : in.len};
		char *copy = fuzz_copy(piece);
		FUZZ_CHECK(mime_decoder_push(decoder, copy, piece.len, out) == 0);
		free(copy);
		in.data += piece.len;
		in.len -= piece.len;
	}
	FUZZ_CHECK(mime_decoder_end(decoder, out) == 0);
	mime_decoder_destroy(decoder);
}

static void check(enum mime_encoding encoding, const char *charset, struct fuzz_input in)
{
	static const size_t pieces[] = {1, 7, 200};
	_cleanup_str_ struct str whole = STR_INIT;
	decode(encoding, charset, in, 0, &whole);
	FUZZ_CHECK(whole.len <= (charset ? 4 * in.len + 16 : in.len));
	for (size_t i = 0; i < sizeof(pieces) / sizeof(pieces[0]); i++) {
		_cleanup_str_ struct str cut = STR_INIT;
		decode(encoding, charset, in, pieces[i], &cut);
		FUZZ_CHECK(cut.len == whole.len);
		FUZZ_CHECK(memcmp(str_cstr(&cut), str_cstr(&whole), cut.len) == 0);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	enum mime_encoding encoding = (enum mime_encoding)(fuzz_byte(&in) % 3);
	char *charset = fuzz_copy(fuzz_until(&in, '\n'));
	check(encoding, NULL, in);
	check(encoding, charset, in);
	free(charset);
	return 0;
}
