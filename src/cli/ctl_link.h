/* SPDX-License-Identifier: MIT */
/* The connection to a mount's socket: a line of JSON each way. */
#ifndef CLI_CTL_LINK_H
#define CLI_CTL_LINK_H

#include <jansson.h>
#include <stdint.h>

#include "mailfs/util/str.h"

struct ctl_link {
	int fd; /* -1: not open */
	struct str in;
	size_t used; /* of in */
};
#define CTL_LINK_INIT                                                                              \
	{                                                                                          \
		.fd = -1                                                                           \
	}

/* CTL_EXIT_OK, or the exit code with one line in why. Blocks: until the mount takes it. */
int ctl_link_open(struct ctl_link *link, const char *socket, const char *root, struct str *why);
void ctl_link_close(struct ctl_link *link);
/*
 * The next line, without its end; valid until the next call. -EPIPE: the mount has ended; -ETIMEDOUT; -EINTR: a signal came; -EMSGSIZE;
 * -ENOTCONN: nobody reads what is written to stdout_fd any more (-1: not asked).
 */
int ctl_link_line(struct ctl_link *link, int64_t deadline_ms, int stdout_fd, const char **ret);
/*
 * Sends {"command": command, "path": path} and waits for the answer. CTL_EXIT_OK with *ret (json_decref(); ret NULL: not wanted), or the
 * exit code with one line in why; -EINTR: a signal came.
 */
int ctl_link_ask(struct ctl_link *link, const char *command, const char *path, json_t **ret,
	struct str *why);

#endif
