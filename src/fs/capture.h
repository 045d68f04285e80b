/* SPDX-License-Identifier: MIT */
/* What libfuse and fusermount3 say while they mount, as one line for a person. */
#ifndef MAILFS_FS_CAPTURE_H
#define MAILFS_FS_CAPTURE_H

#include "mailfs/util/str.h"

struct capture {
	int saved; /* the real stderr; -1: nothing is captured */
	int file;
};

/* From now on libfuse's log lines go to the log. */
void capture_libfuse_log(void);
/* Between these two, what anybody in this process or a child writes to stderr is kept back. */
void capture_begin(struct capture *capture);
/* Appends it to out. */
void capture_end(struct capture *capture, struct str *out);
/* Appends the first line of text that says something, without libfuse's own name in front. */
void capture_line(const char *text, struct str *out);

#endif
