/* SPDX-License-Identifier: MIT */
/*
 * Sections of a message whose structure is located, numbered as by RFC 3501 §6.4.5: the parts of a multipart from 1; a message
 * whose body is no multipart has that body as part 1; the numbers below an attached message are those of its own body.
 */
#include <errno.h>
#include <string.h>

#include "private.h"

#define DIGITS_MAX 9

/*
 * Takes a number and the dot behind it. 0: there is none at *section, which is then left as it is; longer than
 * any message has parts: UINT32_MAX.
 */
static uint32_t number_take(const char **section)
{
	const char *p = *section;
	uint32_t n = 0;

	for (; ascii_is_digit(*p); p++)
		n = p - *section < DIGITS_MAX ? n * 10 + (uint32_t)(*p - '0') : UINT32_MAX;
	if (p == *section || **section == '0' || (*p != 0 && (*p != '.' || p[1] == 0)))
		return 0;
	*section = *p ? p + 1 : p;
	return n;
}

/* Part n of a message whose body part that is; NULL: it has none. */
static const struct mime_part *part_of_body(const struct mime_part *body, uint32_t n)
{
	if (mime_part_is_multipart(body))
		return n <= body->child_count ? body->children[n - 1] : NULL;
	return n == 1 ? body : NULL;
}

/* Part n below a part, which a multipart or a message may have. */
static const struct mime_part *part_below(const struct mime_part *part, uint32_t n)
{
	if (mime_part_is_message(part))
		return part_of_body(part->children[0], n);
	return mime_part_is_multipart(part) ? part_of_body(part, n) : NULL;
}

static int give_header(const struct mime_part *part, uint64_t *ret_offset, uint64_t *ret_len)
{
	*ret_offset = part->header_offset;
	*ret_len = part->header_bytes;
	return 0;
}

static int give_body(const struct mime_part *part, uint64_t *ret_offset, uint64_t *ret_len)
{
	*ret_offset = part->offset;
	*ret_len = part->size_bytes;
	return 0;
}

/* word: what is left behind the numbers. message: the body part of the message that HEADER and TEXT are of; NULL: none. */
static int give(const struct mime_part *part, const struct mime_part *message, const char *word,
	uint64_t *ret_offset, uint64_t *ret_len)
{
	bool header = strcmp(word, "HEADER") == 0, text = strcmp(word, "TEXT") == 0;

	if (part && *word == 0)
		return give_body(part, ret_offset, ret_len);
	if (part && strcmp(word, "MIME") == 0)
		return give_header(part, ret_offset, ret_len);
	if (!header && !text)
		return -EINVAL;
	if (!message)
		return -ENOENT;
	return header ? give_header(message, ret_offset, ret_len)
	              : give_body(message, ret_offset, ret_len);
}

/* The part that the numbers at *section, which are taken off, lead to; *ret is NULL where there are none. -ENOENT: it has no such part. */
static int go(const struct mime_part *message, const char **section, const struct mime_part **ret)
{
	const struct mime_part *part = NULL;

	for (uint32_t n = number_take(section); n > 0; n = number_take(section)) {
		part = part ? part_below(part, n) : part_of_body(message, n);
		if (!part)
			return -ENOENT;
	}
	*ret = part;
	return 0;
}

const struct mime_part *mime_message_at(const struct mime_part *message, const char *section)
{
	const struct mime_part *part = NULL;

	if (go(message, &section, &part) < 0 || !part || *section)
		return NULL;
	return mime_part_is_message(part) ? part : NULL;
}

int mime_part_locate(const struct mime_part *message, const char *section, uint64_t *ret_offset,
	uint64_t *ret_len)
{
	const struct mime_part *part = NULL;

	if (!message->located)
		return -ENODATA;
	int r = go(message, &section, &part);
	if (r < 0)
		return r;
	if (part && mime_part_is_message(part))
		message = part->children[0];
	else if (part)
		message = NULL;
	return give(part, message, section, ret_offset, ret_len);
}
