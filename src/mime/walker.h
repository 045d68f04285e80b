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

#define MIME_CONTENT_FIELDS 4
/* The fields that count. */
extern const char *const mime_content_fields[MIME_CONTENT_FIELDS];

/* Fills in type, parameters, disposition and encoding of part from its header. -ENOMEM. */
int mime_content_read(
	const char *header, size_t len, struct mime_content *content, struct mime_part *part);

#endif
