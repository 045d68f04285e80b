/* SPDX-License-Identifier: MIT */
/* Building structures for tests in a line. */
#ifndef MAILFS_TESTS_MIME_TREE_H
#define MAILFS_TESTS_MIME_TREE_H

#include "helpers.h"

/* A part of type "text/plain"; its parameters as they would stand in the header, or NULL. */
static inline struct mime_part *part_new(const char *type, const char *params,
	const char *disposition, const char *encoding, uint64_t size_bytes)
{
	struct mime_part *part = mime_part_create();
	const char *slash = strchr(type, '/');

	assert_non_null(part);
	part->type = strndup(type, (size_t)(slash - type));
	part->subtype = strdup(slash + 1);
	part->encoding = strdup(encoding);
	part->size_bytes = size_bytes;
	if (params) {
		assert_int_equal(mime_params_parse(params, strlen(params), &part->params), 0);
		assert_int_equal(mime_params_join(&part->params), 0);
	}
	if (disposition) {
		part->disposition = strdup("attachment");
		assert_int_equal(mime_params_parse(disposition, strlen(disposition),
					 &part->disposition_params),
			0);
		assert_int_equal(mime_params_join(&part->disposition_params), 0);
	}
	return part;
}

static inline struct mime_part *part_in(struct mime_part *parent, struct mime_part *child)
{
	assert_int_equal(mime_part_add_child(parent, child), 0);
	return child;
}

#endif
