/* SPDX-License-Identifier: MIT */
/*
 * Going to the background. The process forks first, before there are threads, connections or secrets; the child
 * does everything, and the parent, whom the shell waits for, exits with 0 only when the child says that the mail is there.
 */
#ifndef CLI_DAEMON_H
#define CLI_DAEMON_H

#include <stdbool.h>

struct daemon {
	int ready_fd; /* to the parent; -1: in the foreground */
};

/*
 * Forks, unless foreground. Returns in the child only: the parent waits and exits, with the child's code or from the
 * child's signal. -EAGAIN, -ENOMEM, -EMFILE. Blocks: never (in the child).
 */
int daemon_start(struct daemon *daemon, bool foreground);
static inline bool daemon_is_background(const struct daemon *daemon)
{
	return daemon->ready_fd >= 0;
}

/*
 * All is well: leaves session, working directory and standard files of the starter behind, logs to syslog from
 * here on, and lets the parent exit with 0. In the foreground: does nothing.
 */
void daemon_ready(struct daemon *daemon);

#endif
