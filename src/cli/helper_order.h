/* SPDX-License-Identifier: MIT */
/* What mailfs and its helper say to each other, one packet each. For helper.c and helper_main.c. */
#ifndef CLI_HELPER_ORDER_H
#define CLI_HELPER_ORDER_H

#include <stdint.h>
#include <sys/types.h>

#include "helper.h"

enum helper_kind {
	HELPER_RESOLVE = 1, /* with: a pipe for the answer */
	HELPER_TOKEN,       /* with: a pipe for the output, a pipe for the report */
	HELPER_MOUNT,       /* answered on the socket */
	HELPER_UNMOUNT,     /* with: a pipe for the report */
	HELPER_DETACH,      /* with: a pipe that is closed when it is done */
	HELPER_LOG,         /* with its line */
};

#define HELPER_LINE_MAX  520
#define HELPER_TIMEOUT_S 3600 /* as timeout= has it at the most */
#define HELPER_USUAL_S   60   /* where whoever orders sets none */
#define HELPER_FDS_MAX   2

struct helper_order {
	uint32_t kind;
	uint32_t timeout_ms;        /* 1 … HELPER_TIMEOUT_S */
	uint32_t level;             /* of a line */
	char line[HELPER_LINE_MAX]; /* sent as far as it goes */
};
#define HELPER_ORDER_MIN offsetof(struct helper_order, line)

/* The answer to HELPER_MOUNT, with the descriptor if err is 0. */
struct helper_mounted {
	int32_t err;
	char why[HELPER_LINE_MAX];
};

/* The process itself. */
_Noreturn void helper_main(int fd, pid_t starter, const struct helper_jobs *jobs);

/* Sends a packet with descriptors. 0 or a negative errno. Blocks: never, if flags say MSG_DONTWAIT. */
int helper_send(int fd, const void *data, size_t len, const int *fds, size_t count, int flags);
/*
 * Takes a packet; those of its descriptors that there is room for in fds (HELPER_FDS_MAX). Its length; 0: the other side has ended; a
 * negative errno.
 */
ssize_t helper_receive(int fd, void *data, size_t size, int *fds, size_t *ret_count);

#endif
