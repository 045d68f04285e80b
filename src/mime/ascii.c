/* SPDX-License-Identifier: MIT */
/* Comparing and trimming ASCII, whatever the locale says. */
#include "private.h"

bool ascii_equal(const char *data, size_t len, const char *lower)
{
	for (size_t i = 0; i < len; i++)
		if (lower[i] == 0 || ascii_lower(data[i]) != lower[i])
			return false;
	return lower[len] == 0;
}

void ascii_trim(const char **data, size_t *len)
{
	while (*len > 0 && ascii_is_space(**data)) {
		*data += 1;
		*len -= 1;
	}
	while (*len > 0 && ascii_is_space((*data)[*len - 1]))
		*len -= 1;
}
