/* SPDX-License-Identifier: MIT */
/* A structure as the store gives it back, from a disk that was damaged. What is taken is what serialize would write, byte for byte. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "part.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = {data, size};
	struct mime_part *part = NULL;
	char *blob = fuzz_copy(in);
	int r = mime_part_parse(blob, size, &part);
	FUZZ_CHECK(r == 0 ? part != NULL : r == -EINVAL && !part);
	if (part) {
		_cleanup_str_ struct str again = STR_INIT;
		FUZZ_CHECK(mime_part_serialize(part, &again) == 0);
		FUZZ_CHECK(again.len == size && memcmp(again.data, blob, size) == 0);
		part_check_leaves(part);
	}
	mime_part_destroy(part);
	free(blob);
	return 0;
}
