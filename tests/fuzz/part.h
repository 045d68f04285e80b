/* SPDX-License-Identifier: MIT */
/* What must hold of every structure of a message, wherever it comes from. */
#ifndef MAILFS_FUZZ_PART_H
#define MAILFS_FUZZ_PART_H

#include "fuzz.h"
#include "mailfs/mime.h"

/* Its limits, its names, and that it is the same when the store gives it back. message_bytes: of a located one. */
void part_check(const struct mime_part *root, uint64_t message_bytes);
/* What holds even of one that nobody vouches for: its leaves can be named and asked for. */
void part_check_leaves(const struct mime_part *root);
/* A name as the kernel is shown it. */
void part_check_name(const char *name, size_t len);

#endif
