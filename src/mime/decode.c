/* SPDX-License-Identifier: MIT */
/*
 * The stream from the bytes of a section to the bytes of a file: transfer decoding, then, for text, the charset.
 * Both stages take their input cut anywhere and hold back no more than a kilobyte.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "private.h"

struct mime_decoder {
	enum mime_encoding encoding;
	struct mime_base64 base64;
	struct mime_quoted quoted;
	bool to_utf8;
	struct mime_converter converter;
	struct str bytes; /* between the stages */
};

enum mime_encoding mime_encoding_parse(const char *name)
{
	if (!name)
		return MIME_ENCODING_IDENTITY;
	size_t len = strlen(name);
	ascii_trim(&name, &len);
	if (ascii_equal(name, len, "base64"))
		return MIME_ENCODING_BASE64;
	if (ascii_equal(name, len, "quoted-printable"))
		return MIME_ENCODING_QUOTED_PRINTABLE;
	return MIME_ENCODING_IDENTITY;
}

struct mime_decoder *mime_decoder_create(
	enum mime_encoding encoding, bool to_utf8, const char *charset)
{
	const struct mime_charset *found =
		charset ? mime_charset_find(charset, strlen(charset)) : NULL;
	struct mime_decoder *decoder = calloc(1, sizeof(*decoder));

	if (!decoder)
		return NULL;
	decoder->encoding = encoding;
	decoder->converter.cd = (iconv_t)-1;
	if (!to_utf8 || !found)
		return decoder;
	int r = mime_converter_init(&decoder->converter, found);
	decoder->to_utf8 = r == 0;
	if (r == -ENOMEM) {
		mime_decoder_destroy(decoder);
		return NULL;
	}
	return decoder;
}

void mime_decoder_destroy(struct mime_decoder *decoder)
{
	if (!decoder)
		return;
	mime_converter_finish(&decoder->converter);
	str_finish(&decoder->bytes);
	free(decoder);
}

static void transfer_push(struct mime_decoder *d, const char *data, size_t len, struct str *out)
{
	switch (d->encoding) {
	case MIME_ENCODING_IDENTITY:
		str_append(out, data, len);
		break;
	case MIME_ENCODING_QUOTED_PRINTABLE:
		mime_quoted_push(&d->quoted, data, len, out);
		break;
	case MIME_ENCODING_BASE64:
		mime_base64_push(&d->base64, data, len, out);
		break;
	}
}

/* Hands what the first stage left in bytes to the second. */
static void bytes_convert(struct mime_decoder *d, struct str *out)
{
	mime_converter_push(&d->converter, str_cstr(&d->bytes), d->bytes.len, out);
	out->failed |= d->bytes.failed;
	str_reset(&d->bytes);
}

int mime_decoder_push(struct mime_decoder *decoder, const void *data, size_t len, struct str *out)
{
	if (len == 0)
		return str_error(out);
	if (!decoder->to_utf8) {
		transfer_push(decoder, data, len, out);
	} else if (decoder->encoding == MIME_ENCODING_IDENTITY) {
		mime_converter_push(&decoder->converter, data, len, out);
	} else {
		transfer_push(decoder, data, len, &decoder->bytes);
		bytes_convert(decoder, out);
	}
	return str_error(out);
}

static void transfer_end(struct mime_decoder *d, struct str *out)
{
	if (d->encoding == MIME_ENCODING_QUOTED_PRINTABLE)
		mime_quoted_end(&d->quoted, out);
	else if (d->encoding == MIME_ENCODING_BASE64)
		mime_base64_end(&d->base64, out);
}

int mime_decoder_end(struct mime_decoder *decoder, struct str *out)
{
	if (!decoder->to_utf8) {
		transfer_end(decoder, out);
		return str_error(out);
	}
	transfer_end(decoder, &decoder->bytes);
	bytes_convert(decoder, out);
	mime_converter_end(&decoder->converter, out);
	return str_error(out);
}
