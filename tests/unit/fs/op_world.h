/* SPDX-License-Identifier: MIT */
/*
 * libfuse's requests, the tree's files and sync's waiters as a test says, with no threads, so that each order can be had. What fs calls is defined in op_world.c,
 * and only that.
 */
#ifndef TESTS_UNIT_FS_OP_WORLD_H
#define TESTS_UNIT_FS_OP_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "op.h"

struct fuse_req {
	fuse_interrupt_func_t func;
	void *data;
	bool interrupted;
	bool answering; /* the interrupt function runs: it is not to be taken out from within */
	unsigned answers;
	int err;
	size_t size;
	unsigned order; /* of the answer, among all */
	struct fuse_file_info fi;
};

struct tree_file {
	char dummy;
};

struct world {
	struct tree_file file;
	unsigned opened, closed;
	ssize_t result;
	struct fuse_req *interrupt_before; /* the waiter is registered */
	struct fuse_req *interrupt_after;
	struct sync_waiter *waiting[8];
	size_t waiting_count;
	ssize_t woken_with;
	unsigned finished;  /* calls */
	unsigned unsettled; /* files that were opened by a read */
	int open_err;
};

extern struct fs fs;
extern struct world world;
extern unsigned answers; /* to all requests */
extern int open_result;  /* what fuse_reply_open() says */

/* As a signal does, at this moment. */
void interrupt(struct fuse_req *req);
/* The so-manieth that waits. */
void wake(size_t which, ssize_t result);
/* A world in which file 5 was opened; and its end, after which nothing is left of it. */
struct fuse_file_info open_file(void);
void close_file(struct fuse_file_info *fi);
/* It was answered, once, with this. */
void expect(const struct fuse_req *req, int err, size_t size);

#endif
