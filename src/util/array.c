/* SPDX-License-Identifier: MIT */
/* Growth of plain arrays: doubling, with the multiplication checked. */
#include "mailfs/util/str.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int array_grow(void *array_ptr, size_t *cap, size_t need, size_t elem_size)
{
	if (need <= *cap)
		return 0;
	size_t new_cap = *cap < 8 ? 8 : *cap;
	while (new_cap < need) {
		if (new_cap > SIZE_MAX / 2)
			return -ENOMEM;
		new_cap *= 2;
	}
	if (new_cap > PTRDIFF_MAX / elem_size)
		return -ENOMEM;
	void *array;
	memcpy(&array, array_ptr, sizeof(array));
	array = realloc(array, new_cap * elem_size);
	if (!array)
		return -ENOMEM;
	memcpy(array_ptr, &array, sizeof(array));
	*cap = new_cap;
	return 0;
}
