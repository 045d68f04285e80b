/* SPDX-License-Identifier: MIT */
/*
 * A small process that does for mailfs what mailfs gives up before it reads the first byte of a server (mailfs/sandbox.h): mounting and
 * unmounting, looking up the account's host, running token_command=, writing to the system's log.
 *
 * It is forked before there is a password or a thread, and never reads what a server sent. An order says which of these it is to do, and
 * nothing else: host, command and mount point are what they were when it began. Whoever has conquered mailfs can have the same
 * things done again, and no others.
 */
#ifndef CLI_HELPER_H
#define CLI_HELPER_H

#include <stdbool.h>
#include <stdint.h>

#include "mailfs/util/log.h"
#include "mailfs/util/str.h"

struct helper;

/* Each is called in a process of its own, which ends afterwards. */
struct helper_jobs {
	void *arg;
	/* Looks the host up and writes the answer to fd in one write(). */
	void (*resolve)(void *arg, int fd);
	/* Mounts; the descriptor of /dev/fuse, or a negative errno with one line in why. */
	int (*mount)(void *arg, struct str *why);
	void (*unmount)(void *arg);
	const char *token_command; /* NULL: none */
};

/*
 * Forks it. jobs, and what they use, are as they are now. It ends when the starter does, however that is. It keeps the first three descriptors,
 * and the terminal with them, until helper_detach(). -EAGAIN, -ENOMEM, -EMFILE. Blocks: never.
 */
int helper_start(const struct helper_jobs *jobs, struct helper **ret);
/* Ends it, and what it does. NULL is allowed. Blocks: 2 s at most. */
void helper_stop(struct helper *helper);

/*
 * Has the host looked up; any thread. A descriptor from which the answer can be read once it is readable; it ends without one at the
 * deadline (monotonic, CLOCK_NEVER: a minute from now). -EPIPE: the helper has ended; -EAGAIN: it has too much to do. Blocks: never.
 */
int helper_resolve(void *helper, int64_t deadline_ms);

/* How a command has ended; read from *ret_report. */
struct helper_report {
	int32_t status; /* as waitpid() tells it */
	int32_t late;   /* it was killed at the deadline */
};
/*
 * Runs token_command; any thread. *ret_output gets what it prints, *ret_report its end; the caller closes both. As helper_resolve().
 * The output never passes through the helper.
 */
int helper_run_token(struct helper *helper, int64_t deadline_ms, int *ret_output, int *ret_report);

/* Mounts; the thread that started the helper. The descriptor of /dev/fuse, or a negative errno and why. Blocks: disk. */
int helper_mount(struct helper *helper, struct str *why);
/* Unmounts what helper_mount() has mounted. Blocks: until that is done, 10 s at most. */
void helper_unmount(struct helper *helper);
/* The background: the helper lets go of terminal, standard files and directory, and log lines can be sent to it. Blocks: until it has, 2 s at most. */
void helper_detach(struct helper *helper);
/* Has a line written to the system's log; lost where the helper has too much to do. Any thread. Blocks: never. */
void helper_log(void *helper, enum log_level level, const char *line);

#endif
