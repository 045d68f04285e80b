/* SPDX-License-Identifier: MIT */
/*
 * The life of a request that may have to wait for the network.
 *
 * Exactly one answers and frees it: its owner. That is the thread that runs it, until run() returns
 * -EINPROGRESS; from then on sync owns it, until it calls wake() (the waking thread is the owner)
 * or until somebody takes the waiter back with sync_waiter_cancel() (whoever gets true is). So
 * between wake(), an interrupt and the thread that started it there is no doubt.
 *
 * An interrupt may come at any time on any thread, libfuse holding the request's own lock. Its
 * function marks the request, then tries to take the waiter back. When it comes before the waiter
 * was registered, that fails, and the running thread finds the mark after it has registered; one of
 * the two always sees the other, because registering and taking back happen under sync's lock. To
 * look at the mark, the running thread needs a reference of its own: op may have been answered
 * meanwhile.
 *
 * libfuse may be about to call the interrupt function while another thread answers. So the function
 * is taken out before an answer: that waits until it has returned. The interrupt function itself
 * need not: a second call can not come while libfuse holds the request's lock, and after the answer
 * there is none. Answering from within it is allowed, since libfuse holds a reference to the
 * request then; it would not be from within the registration, where it is called at once for a
 * request already interrupted: but no waiter is registered then.
 */
#include "op.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "mailfs/util/clock.h"

/* In which the herald, once asked, is at the lock. */
#define HERALD_ARRIVES_MS 20

void op_ref(struct fs_op *op)
{
	atomic_fetch_add(&op->references, 1);
}

void op_unref(struct fs_op *op)
{
	if (atomic_fetch_sub(&op->references, 1) != 1)
		return;
	tree_call_finish(&op->call);
	str_finish(&op->out);
	free(op->buf);
	free(op);
}

/* The request waits. It may have been answered already: then nothing is told. false: it must not wait now. */
static bool hold_begin(struct fs_op *op)
{
	int none = OP_HOLD_NONE;
	return op->class->lock == OP_LOCK_NONE ||
	       !atomic_compare_exchange_strong(&op->hold, &none, OP_HOLD_TOLD) ||
	       notify_hold(&op->fs->notify, op->node, 1) || op->class->lock == OP_LOCK_STAYS;
}

static void hold_end(struct fs_op *op)
{
	if (atomic_exchange(&op->hold, OP_HOLD_OVER) == OP_HOLD_TOLD)
		notify_hold(&op->fs->notify, op->node, -1);
}

/* By the owner, in the interrupt function or after it was taken out. */
static void deliver(struct fs_op *op, int r)
{
	hold_end(op);
	op->result = r;
	if (r < 0 && op->class->failed)
		op->class->failed(op);
	if (r < 0)
		fuse_reply_err(op->req, -r);
	else
		op->class->reply(op);
	if (op->class->end)
		op->class->end(op);
	op_unref(op);
}

static void answer(struct fs_op *op, int r)
{
	fuse_req_interrupt_func(op->req, NULL, NULL);
	deliver(op, r);
}

static bool take_back(struct fs_op *op)
{
	return sync_waiter_cancel(op->fs->account, &op->call.waiter);
}

/*
 * The kernel lets go of the directory and asks once more, but not a third time: when the herald, who is on its way to the
 * directory's lock, stands in line for it, that second time comes after it.
 */
static void let_go(struct fs_op *op)
{
	usleep(HERALD_ARRIVES_MS * 1000);
	answer(op, -ESTALE);
}

static void run(struct fs_op *op)
{
	op_ref(op);
	int r = op->class->run(op);
	if (r != -EINPROGRESS)
		answer(op, r);
	else if (!hold_begin(op) && take_back(op))
		let_go(op);
	else if (atomic_load(&op->interrupted) && take_back(op))
		answer(op, -EINTR);
	op_unref(op);
}

static void woken(struct sync_waiter *waiter, ssize_t result)
{
	struct fs_op *op = container_of(waiter, struct fs_op, call.waiter);
	if (result < 0) {
		answer(op, (int)result);
		return;
	}
	tree_call_woken(&op->call, result);
	run(op);
}

static void interrupted(fuse_req_t req, void *data)
{
	struct fs_op *op = data;
	(void)req;
	atomic_store(&op->interrupted, true);
	if (take_back(op))
		deliver(op, -EINTR);
}

struct fs_op *op_create(
	fuse_req_t req, const struct fs_op_class *class, uint64_t node, const char *name)
{
	size_t name_size = name ? strlen(name) + 1 : 0;
	struct fs_op *op = calloc(1, sizeof(*op) + name_size);
	if (!op) {
		fuse_reply_err(req, ENOMEM);
		return NULL;
	}
	op->class = class;
	op->fs = fs_of(req);
	op->req = req;
	op->node = node;
	if (name)
		memcpy(op->name, name, name_size);
	atomic_init(&op->references, 1);
	tree_call_init(&op->call, woken, clock_now_ms() + op->fs->timeout_ms);
	return op;
}

void op_start(struct fs_op *op)
{
	fuse_req_interrupt_func(op->req, interrupted, op);
	run(op);
}

int op_buffer(struct fs_op *op)
{
	if (!op->buf)
		op->buf = malloc(op->size ? op->size : 1);
	return op->buf ? 0 : -ENOMEM;
}
