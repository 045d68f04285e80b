/* SPDX-License-Identifier: MIT */
/* A file that holds a password, read only if nobody else can. */
#ifndef CLI_SECRETFILE_H
#define CLI_SECRETFILE_H

#include <stdbool.h>
#include <stddef.h>

#include "mailfs/util/str.h"

#define SECRETFILE_MAX_BYTES 65536

struct secretfile {
	char *text; /* NUL-terminated */
	size_t len, cap;
	bool foreign;  /* it belongs to another user */
	bool exposed;  /* somebody else can read or write it */
	unsigned mode; /* permission bits */
};

/*
 * Reads a whole file of at most SECRETFILE_MAX_BYTES. -ENOENT; -EACCES: not a regular file, or not readable;
 * -EFBIG; why says it in one line. Whether an exposed file is refused is the caller's matter. Blocks: disk.
 */
int secretfile_read(const char *path, struct secretfile *ret, struct str *why);
/* Says in why that path is exposed, and gives -EACCES. */
int secretfile_refuse(const char *path, const struct secretfile *file, struct str *why);
/* Wipes and frees. */
void secretfile_finish(struct secretfile *file);

#endif
