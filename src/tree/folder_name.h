/* SPDX-License-Identifier: MIT */
/* From a mailbox name on the wire to the names of directories: a pure function. */
#ifndef MAILFS_TREE_FOLDER_NAME_H
#define MAILFS_TREE_FOLDER_NAME_H

#include <stddef.h>

#include "mailfs/util/str.h"

#define FOLDER_NAME_MAX  255 /* bytes of a component: NAME_MAX */
#define FOLDER_DEPTH_MAX 64  /* components; what follows stays in one piece */

typedef int folder_decode_fn(const char *wire, struct str *out);

struct folder_component {
	char *name;      /* as shown */
	size_t wire_len; /* the wire name up to the end of this component names the parent's mailbox */
};
struct folder_path {
	struct folder_component *items;
	size_t count;
};

/*
 * Splits at the delimiter (0: a flat name), decodes and escapes. At least one component. -ENOMEM.
 */
int folder_path_split(
	const char *wire, char delimiter, folder_decode_fn *decode, struct folder_path *ret);
void folder_path_finish(struct folder_path *path);

/*
 * Appends one component as it is shown: valid UTF-8 without '/' or control bytes, not beginning
 * with a dot, not ending in .eml, not empty, at most FOLDER_NAME_MAX bytes. Different components
 * give different names.
 */
int folder_name_escape(const char *raw, size_t len, struct str *out);
/* The component that folder_name_escape() was given, unless it was cut. */
int folder_name_unescape(const char *name, struct str *out);

#endif
