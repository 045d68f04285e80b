/* SPDX-License-Identifier: MIT */
/* The parsed form of a name template, shared by the two files that parse it and that write names by it. */
#ifndef MAILFS_MIME_NAME_H
#define MAILFS_MIME_NAME_H

#include "private.h"

#define PIECES_MAX MIME_NAME_MAX /* each is at least a byte of the name */

enum piece_kind {
	PIECE_CHAR,
	PIECE_YEAR,
	PIECE_YEAR_SHORT,
	PIECE_MONTH,
	PIECE_DAY,
	PIECE_HOUR,
	PIECE_MINUTE,
	PIECE_SECOND,
	PIECE_FROM,
	PIECE_SUBJECT,
	PIECE_UID,
};

struct piece {
	enum piece_kind kind;
	char c;            /* of PIECE_CHAR */
	unsigned char len; /* bytes, when they are always as many; 0 for fields and the UID */
};

struct mime_name_template {
	struct piece pieces[PIECES_MAX];
	size_t count;
	/* Where the UID is: in the chunk after so many '_'; so many bytes from its start, or from its end. */
	size_t uid_chunk, uid_before, uid_after;
	bool uid_from_start, uid_from_end;
};

/* name_template, or the default for NULL. */
const struct mime_name_template *mime_name_template_or_default(
	const struct mime_name_template *name_template);

/* --- name_plain.c: the fields of plain headers, into out[limit]; false: it is not plain --- */
bool mime_name_plain_subject(struct mime_span raw, size_t limit, char *out, size_t *ret_len);
bool mime_name_plain_author(struct mime_span raw, size_t limit, char *out, size_t *ret_len);

#endif
