/* SPDX-License-Identifier: MIT */
#include "fuzz.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mailfs/util/log.h"
#include "mailfs/util/utf8.h"

/* What a hostile server says is worth a warning to people; here it is all there is. */
__attribute__((constructor)) static void fuzz_quiet(void)
{
	log_set_level(LOG_LEVEL_ERROR);
}

_Noreturn void fuzz_fail(const char *file, int line, const char *what)
{
	fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
	abort();
}

uint8_t fuzz_byte(struct fuzz_input *in)
{
	if (in->len == 0)
		return 0;
	in->len--;
	return *in->data++;
}

struct fuzz_input fuzz_until(struct fuzz_input *in, uint8_t end)
{
	struct fuzz_input part = *in;
	const uint8_t *at = in->len > 0 ? memchr(in->data, end, in->len) : NULL;
	part.len = at ? (size_t)(at - in->data) : in->len;
	in->data += at ? part.len + 1 : part.len;
	in->len -= at ? part.len + 1 : part.len;
	return part;
}

char *fuzz_copy(struct fuzz_input in)
{
	char *copy = malloc(in.len + 1);
	FUZZ_CHECK(copy);
	if (in.len > 0)
		memcpy(copy, in.data, in.len);
	copy[in.len] = 0;
	return copy;
}

uint32_t fuzz_random(uint32_t *state)
{
	*state = *state * 1664525 + 1013904223;
	return *state >> 8;
}

void fuzz_check_text(const char *data, size_t len)
{
	for (size_t pos = 0; pos < len;) {
		uint32_t c = utf8_next(data, len, &pos);
		FUZZ_CHECK(c != UTF8_INVALID);
		FUZZ_CHECK(c >= 0x20 && !(c >= 0x7f && c <= 0x9f));
	}
}
