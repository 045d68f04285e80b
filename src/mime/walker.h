/* SPDX-License-Identifier: MIT */
/* What a header says of its part, shared by the two files that walk through a message. */
#ifndef MAILFS_MIME_WALKER_H
#define MAILFS_MIME_WALKER_H

#include "private.h"

struct mime_content {
	/* What the part is in: */
	bool in_multipart, in_digest;
	size_t *fields_left; /* how many bytes of fields may be kept yet, in the whole message */
	/* What its header says: */
	struct str boundary; /* of a multipart; empty: none */
	bool cut;            /* more than is looked at */
};

/* No name of a field that counts here is longer. */
#define MIME_CONTENT_NAME_MAX 25
/* Whether the line, of which at least one byte more than that is here or all of it, begins a field that counts. */
bool mime_content_wants(const char *line, size_t len);

/* Fills in type, parameters, disposition and encoding of part from its header. -ENOMEM. */
int mime_content_read(
	const char *header, size_t len, struct mime_content *content, struct mime_part *part);

#endif
